//! What an offer or answer says about its data channels.

use super::error::{SdpError, SdpProblem};
use super::lines::{Block, Blocks};
use super::setup::Setup;
use super::{attribute, write};
use crate::webrtc::Fingerprint;
use crate::webrtc::dtls::Role;
use crate::webrtc::ice::{Credentials, CredentialsError};

/// What the peer's description says about the peer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Remote {
    /// Its ICE credentials.
    pub(crate) credentials: Credentials,
    /// Its certificate has one of these hashes; at least one (RFC 8122 §5).
    pub(crate) fingerprints: Vec<Fingerprint>,
    /// Its SCTP port.
    pub(crate) sctp_port: u16,
    /// The largest message that it takes, in bytes.
    pub(crate) max_message_size: u64,
    /// Its INIT chunk, if it would rather not send one (draft-hancke-tsvwg-snap). Whether it is one, SCTP must say.
    pub(crate) sctp_init: Option<Vec<u8>>,
}

/// A peer's offer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Offer {
    /// What it says about the peer.
    pub(crate) remote: Remote,
    /// Who may begin the DTLS handshake.
    pub(crate) setup: Setup,
    /// Every section in order, for the answer.
    pub(super) sections: Vec<Section>,
    /// Which of them is for data channels.
    pub(super) data: usize,
    /// Whether that one is in a BUNDLE group.
    pub(super) is_bundled: bool,
    /// Whether the peer tells DTLS associations apart by `a=tls-id` (RFC 8842 §4).
    pub(super) has_tls_id: bool,
}

/// A peer's answer to an offer of ours.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Answer {
    /// What it says about the peer.
    pub(crate) remote: Remote,
    /// What we are in the DTLS handshake.
    pub(crate) role: Role,
}

/// As much of a section as is repeated in an answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Section {
    pub(super) media: String,
    pub(super) protocol: String,
    pub(super) formats: String,
    pub(super) mid: Option<String>,
}

impl Offer {
    /// Reads an offer that a full ICE agent made, a browser's for example.
    pub(crate) fn parse(text: &str) -> Result<Self, SdpError> {
        let blocks = Blocks::read(text)?;
        let data = Data::find(&blocks)?;
        // A port of 0 rejects a section, unless it is there for the bundle only (RFC 9143 §6).
        if data.head.port == 0 && data.block.attribute("bundle-only")?.is_none() {
            return Err(data.error(SdpProblem::Rejected));
        }
        let remote = data.remote(&blocks)?;
        let setup = data.setup()?.1;
        let sections = blocks.sections.iter().map(Section::read).collect::<Result<_, _>>()?;
        let has_tls_id = data.block.attribute("tls-id")?.is_some();
        Ok(Self { remote, setup, sections, data: data.index, is_bundled: data.is_bundled, has_tls_id })
    }
}

impl Answer {
    /// Reads the answer to an offer that [`offer`](super::offer) wrote.
    pub(crate) fn parse(text: &str) -> Result<Self, SdpError> {
        let blocks = Blocks::read(text)?;
        let data = Data::find(&blocks)?;
        let mid = Section::read(data.block)?.mid;
        if blocks.sections.len() != 1 || mid.as_deref() != Some(write::MID) {
            return Err(data.error(SdpProblem::NotOurs(write::MID)));
        }
        if data.head.port == 0 {
            return Err(data.error(SdpProblem::Rejected));
        }
        let remote = data.remote(&blocks)?;
        let (number, setup) = data.setup()?;
        let role = setup.chosen().map_err(|problem| SdpError::new(number, problem))?;
        Ok(Self { remote, role })
    }
}

impl Section {
    fn read(block: &Block<'_>) -> Result<Self, SdpError> {
        let head = Head::read(block)?;
        let mid = block.attribute("mid")?;
        let mid = mid.map(|(number, value)| attribute::mid(value).map_err(|problem| SdpError::new(number, problem)));
        Ok(Self {
            media: head.media.to_owned(),
            protocol: head.protocol.to_owned(),
            formats: head.formats.to_owned(),
            mid: mid.transpose()?.map(str::to_owned),
        })
    }
}

/// An `m=` line (RFC 8866 §5.14): medium, port, protocol, formats.
struct Head<'a> {
    media: &'a str,
    port: u16,
    protocol: &'a str,
    formats: &'a str,
}

impl<'a> Head<'a> {
    fn read(block: &Block<'a>) -> Result<Self, SdpError> {
        let mut words = block.head().splitn(4, ' ');
        let mut word = || words.next().filter(|word| !word.is_empty() && !word.starts_with(' '));
        let head = (|| {
            let (media, port, protocol, formats) = (word()?, word()?, word()?, word()?);
            // Several ports, "9/2", are for media that data channels are not.
            let port = port.split('/').next()?.parse().ok()?;
            Some(Self { media, port, protocol, formats })
        })();
        head.ok_or_else(|| SdpError::new(block.number(), SdpProblem::Media))
    }

    /// Whether it is for data channels at all; over what, is another question.
    fn is_sctp(&self) -> bool {
        self.media == "application" && self.protocol.contains("SCTP")
    }
}

/// The section for data channels, and where its attributes may stand.
struct Data<'a, 'b> {
    index: usize,
    block: &'b Block<'a>,
    head: Head<'a>,
    is_bundled: bool,
    /// The section itself, the session, and the section that stands for the whole bundle (RFC 9143 §7.1), whose
    /// transport a section that is there for the bundle only shares.
    levels: Vec<&'b Block<'a>>,
}

impl<'a, 'b> Data<'a, 'b> {
    fn find(blocks: &'b Blocks<'a>) -> Result<Self, SdpError> {
        for (index, block) in blocks.sections.iter().enumerate() {
            let head = Head::read(block)?;
            if !head.is_sctp() {
                continue;
            }
            let error = |problem| SdpError::new(block.number(), problem);
            if head.protocol != "UDP/DTLS/SCTP" || head.formats != "webrtc-datachannel" {
                let protocol: String = head.protocol.chars().take(40).collect();
                return Err(error(SdpProblem::Protocol(protocol)));
            }
            let mid = block.attribute("mid")?.map(|(_, mid)| mid);
            let bundle = bundle_of(&blocks.session, mid);
            let tagged = bundle.and_then(|tag| {
                let is_tagged = |section: &&Block<'_>| section.attributes("mid").any(|(_, mid)| mid == tag);
                blocks.sections.iter().find(is_tagged)
            });
            let levels = [Some(block), Some(&blocks.session), tagged].into_iter().flatten().collect();
            return Ok(Self { index, block, head, is_bundled: bundle.is_some(), levels });
        }
        Err(SdpError::new(blocks.last, SdpProblem::NoDataChannels))
    }

    fn error(&self, problem: SdpProblem) -> SdpError {
        SdpError::new(self.block.number(), problem)
    }

    /// An attribute of the section, or else of the session, or else of the bundle.
    fn attribute(&self, name: &'static str) -> Result<Option<(usize, &'a str)>, SdpError> {
        for level in &self.levels {
            if let Some(found) = level.attribute(name)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    fn required(&self, name: &'static str) -> Result<(usize, &'a str), SdpError> {
        self.attribute(name)?.ok_or_else(|| self.error(SdpProblem::Missing(name)))
    }

    fn setup(&self) -> Result<(usize, Setup), SdpError> {
        let (number, value) = self.required("setup")?;
        let setup = Setup::read(value).map_err(|problem| SdpError::new(number, problem))?;
        Ok((number, setup))
    }

    fn remote(&self, blocks: &Blocks<'_>) -> Result<Remote, SdpError> {
        if let Some((number, _)) = blocks.session.attribute("ice-lite")? {
            return Err(SdpError::new(number, SdpProblem::BothLite));
        }
        let at = |(number, _): (usize, &str)| move |problem| SdpError::new(number, problem);
        // These belong to the section alone (RFC 8841 §5.1, §6.1).
        let port = self.block.attribute("sctp-port")?.ok_or_else(|| self.error(SdpProblem::Missing("sctp-port")))?;
        let size = self.block.attribute("max-message-size")?;
        let init = self.block.attribute("sctp-init")?;
        Ok(Remote {
            credentials: self.credentials()?,
            fingerprints: self.fingerprints()?,
            sctp_port: attribute::sctp_port(port.1).map_err(at(port))?,
            max_message_size: attribute::max_message_size(size.map(|(_, value)| value))
                .map_err(at(size.unwrap_or_default()))?,
            sctp_init: init.map(|init| attribute::sctp_init(init.1).map_err(at(init))).transpose()?,
        })
    }

    fn credentials(&self) -> Result<Credentials, SdpError> {
        let (ufrag, pwd) = (self.required("ice-ufrag")?, self.required("ice-pwd")?);
        Credentials::new(ufrag.1, pwd.1).map_err(|error| match error {
            CredentialsError::Ufrag => SdpError::new(ufrag.0, SdpProblem::IceUfrag),
            CredentialsError::Pwd => SdpError::new(pwd.0, SdpProblem::IcePwd),
        })
    }

    /// All fingerprints of the first level that has any (RFC 8122 §5): those of functions that we do not know are left
    /// out, but one must be left.
    fn fingerprints(&self) -> Result<Vec<Fingerprint>, SdpError> {
        for level in &self.levels {
            let mut known = Vec::new();
            let mut last = None;
            for (number, value) in level.attributes("fingerprint") {
                last = Some(number);
                known.extend(attribute::fingerprint(value).map_err(|problem| SdpError::new(number, problem))?);
            }
            if let Some(number) = last {
                let is_checkable = !known.is_empty();
                return is_checkable.then_some(known).ok_or(SdpError::new(number, SdpProblem::NoKnownFingerprint));
            }
        }
        Err(self.error(SdpProblem::Missing("fingerprint")))
    }
}

/// The first member of the BUNDLE group that a section is in (RFC 9143 §7.1), if it is in one.
fn bundle_of<'a>(session: &Block<'a>, mid: Option<&str>) -> Option<&'a str> {
    let groups = session.attributes("group").filter_map(|(_, value)| value.strip_prefix("BUNDLE "));
    let mut groups = groups.filter(|members| members.split(' ').any(|member| Some(member) == mid));
    groups.next()?.split(' ').next()
}
