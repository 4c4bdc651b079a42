//! Descriptions: the data channels of an offer or answer.

use super::error::{SdpError, SdpProblem};
use super::lines::{Block, Blocks};
use super::section::{Bundle, Form, Head, Section, Tagged};
use super::setup::Setup;
use super::{MID, SCTP_PORT_DEFAULT, attribute};
use crate::webrtc::dtls::SetupRole;
use crate::webrtc::ice::{Credentials, CredentialsError};
use crate::webrtc::{CertificateHash, CertificateHashError, FingerprintError};

/// Parameters of the peer in its description.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Remote {
    /// The peer's session, if its description names one that nobody else has.
    pub(crate) session: Option<SessionId>,
    /// Its ICE credentials.
    pub(crate) credentials: Credentials,
    /// Its certificate has one of these hashes, all of one function; at least one (RFC 8122 §5).
    pub(crate) fingerprints: Vec<CertificateHash>,
    /// Its SCTP port.
    pub(crate) sctp_port: u16,
    /// The largest message that it takes, in bytes.
    pub(crate) max_message_size: u64,
    /// Its INIT chunk, if it would rather not send one (draft-hancke-tsvwg-snap). SCTP says whether it is valid.
    pub(crate) sctp_init: Option<Vec<u8>>,
    /// Parts of the description that could not be read, and are not needed.
    pub(crate) ignored: Vec<SdpError>,
}

/// The `o=` line without its version: equal in all descriptions of one peer connection (RFC 8866 §5.2, RFC 8829
/// §5.2.2).
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct SessionId(String);

impl SessionId {
    /// The least number that is taken for one that was drawn. Browsers draw 62 bits (RFC 8829 §5.2.1); handwritten
    /// descriptions have 0 or 1, which would make one session of all of them.
    const NUMBER_MIN: u64 = 1 << 16;

    fn read(session: &Block<'_>) -> Option<Self> {
        let mut words = session.line('o')?.split_ascii_whitespace();
        let (user, number, _version) = (words.next()?, words.next()?, words.next()?);
        let is_drawn = number.parse::<u64>().is_ok_and(|number| number >= Self::NUMBER_MIN);
        let address = words.collect::<Vec<_>>().join(" ");
        is_drawn.then(|| Self(format!("{user} {number} {address}")))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// A peer's offer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct OfferDescription {
    /// Parameters of the peer.
    pub(crate) remote: Remote,
    /// The peer's role in the DTLS handshake, or the choice that it leaves.
    pub(crate) setup: Setup,
    /// The DTLS association that the peer means (RFC 8842 §4), if it names it.
    pub(crate) tls_id: Option<String>,
    /// Every section in order, for the answer.
    pub(super) sections: Vec<Section>,
    /// Which of them is for data channels.
    pub(super) data: usize,
    /// Form of the `m=` line for data channels.
    pub(super) form: Form,
    /// True if that section is in a BUNDLE group.
    pub(super) is_bundled: bool,
    /// The section whose transport the group uses, if it is another one (RFC 9143 §7.2).
    pub(super) tagged: Option<Tagged>,
}

/// A peer's answer to an offer of ours.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct AnswerDescription {
    /// Parameters of the peer.
    pub(crate) remote: Remote,
    /// Our role in the DTLS handshake.
    pub(crate) role: SetupRole,
    /// The peer's name for the DTLS association (RFC 8842 §4), if it has one.
    pub(crate) tls_id: Option<String>,
}

impl OfferDescription {
    /// Reads an offer that a full ICE agent made, a browser's for example.
    pub(crate) fn parse(text: &str) -> Result<Self, SdpError> {
        let blocks = Blocks::read(text)?;
        let data = Data::find(&blocks)?;
        let remote = data.remote(&blocks)?;
        // RFC 8842 §5.2 demands `actpass` of an offer: what an offer without the line means.
        let setup = data.setup()?.map_or(Setup::ActPass, |(_, setup)| setup);
        let sections = blocks.sections.iter().map(Section::read).collect::<Result<_, _>>()?;
        let tls_id = data.attribute("tls-id")?.map(|(_, id)| id.to_owned());
        let is_bundled = data.bundle.is_some();
        let tagged = data.bundle.and_then(|bundle| bundle.tagged);
        Ok(Self { remote, setup, tls_id, sections, data: data.index, form: data.form, is_bundled, tagged })
    }
}

impl AnswerDescription {
    /// Reads the answer to an offer that [`offer`](super::offer) wrote.
    pub(crate) fn parse(text: &str) -> Result<Self, SdpError> {
        let blocks = Blocks::read(text)?;
        let data = Data::find(&blocks)?;
        let mid = Section::read(data.block)?.mid;
        if blocks.sections.len() != 1 || mid.as_deref() != Some(MID) {
            return Err(data.error(SdpProblem::NotOurs(MID)));
        }
        let remote = data.remote(&blocks)?;
        // An answerer is the one that begins, unless it says otherwise (RFC 8842 §5.3).
        let (number, setup) = data.setup()?.unwrap_or_else(|| (data.block.number(), Setup::Active));
        let role = setup.chosen().map_err(|problem| SdpError::new(number, problem))?;
        let tls_id = data.attribute("tls-id")?.map(|(_, id)| id.to_owned());
        Ok(Self { remote, role, tls_id })
    }
}

/// The section for data channels, and where its attributes may stand.
struct Data<'a, 'b> {
    index: usize,
    block: &'b Block<'a>,
    form: Form,
    bundle: Option<Bundle>,
    /// The blocks that an attribute of the transport may stand in, the first that has it counts: the section whose
    /// transport a bundled section shares (RFC 9143 §7.1.3), the section itself, the session.
    levels: Vec<&'b Block<'a>>,
}

impl<'a, 'b> Data<'a, 'b> {
    /// Finds the first section for data channels that is not rejected.
    fn find(blocks: &'b Blocks<'a>) -> Result<Self, SdpError> {
        let mut first_error = None;
        for (index, block) in blocks.sections.iter().enumerate() {
            let head = Head::read(block)?;
            if !head.is_sctp() {
                continue;
            }
            match Form::read(&head, block) {
                Ok(form) => {
                    let mid = block.attribute("mid")?.map(|(_, mid)| mid);
                    let bundle = mid.and_then(|mid| Bundle::read(blocks, mid));
                    let tagged = bundle.as_ref().and_then(|bundle| bundle.tagged.as_ref());
                    let tagged = tagged.and_then(|tagged| blocks.sections.get(tagged.index));
                    let levels = [tagged, Some(block), Some(&blocks.session)].into_iter().flatten().collect();
                    return Ok(Self { index, block, form, bundle, levels });
                }
                Err(problem) => first_error = first_error.or_else(|| Some(SdpError::new(block.number(), problem))),
            }
        }
        Err(first_error.unwrap_or_else(|| SdpError::new(blocks.last, SdpProblem::NoDataChannels)))
    }

    fn error(&self, problem: SdpProblem) -> SdpError {
        SdpError::new(self.block.number(), problem)
    }

    /// Returns an attribute of the transport.
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

    fn setup(&self) -> Result<Option<(usize, Setup)>, SdpError> {
        let Some((number, value)) = self.attribute("setup")? else { return Ok(None) };
        let setup = Setup::read(value).map_err(|problem| SdpError::new(number, problem))?;
        Ok(Some((number, setup)))
    }

    fn remote(&self, blocks: &Blocks<'_>) -> Result<Remote, SdpError> {
        if let Some((number, _)) = blocks.session.attributes("ice-lite").next() {
            return Err(SdpError::new(number, SdpProblem::BothLite));
        }
        let mut ignored = blocks.ignored.clone();
        let at = |(number, _): (usize, &str)| move |problem| SdpError::new(number, problem);
        // These belong to the section alone (RFC 8841 §5.1, §6.1).
        let sctp_port = match (self.form, self.block.attribute("sctp-port")?) {
            (Form::Sctpmap(port), _) => port,
            (Form::Current, None) => SCTP_PORT_DEFAULT,
            (Form::Current, Some(port)) => attribute::sctp_port(port.1).map_err(at(port))?,
        };
        let size = self.block.attribute("max-message-size")?;
        Ok(Remote {
            session: SessionId::read(&blocks.session),
            credentials: self.credentials()?,
            fingerprints: self.fingerprints(&mut ignored)?,
            sctp_port,
            max_message_size: attribute::max_message_size(size.map(|(_, value)| value))
                .map_err(at(size.unwrap_or_default()))?,
            sctp_init: self.sctp_init(&mut ignored),
            ignored,
        })
    }

    /// Returns the signalled INIT. It is optional, and of a draft: without it there is an ordinary handshake.
    fn sctp_init(&self, ignored: &mut Vec<SdpError>) -> Option<Vec<u8>> {
        let (number, value) = self.block.attributes("sctp-init").next()?;
        let init = attribute::sctp_init(value);
        if init.is_none() {
            ignored.push(SdpError::new(number, SdpProblem::SctpInit));
        }
        init
    }

    fn credentials(&self) -> Result<Credentials, SdpError> {
        let (ufrag, pwd) = (self.required("ice-ufrag")?, self.required("ice-pwd")?);
        Credentials::new(ufrag.1, pwd.1).map_err(|error| match error {
            CredentialsError::Ufrag => SdpError::new(ufrag.0, SdpProblem::IceUfrag),
            CredentialsError::Pwd => SdpError::new(pwd.0, SdpProblem::IcePwd),
        })
    }

    /// Returns the fingerprints of the first level that has any: those of one function, as RFC 8122 §5 demands, the
    /// preferred one that is there. Those of unknown functions and unreadable ones are left out, but one must be left.
    fn fingerprints(&self, ignored: &mut Vec<SdpError>) -> Result<Vec<CertificateHash>, SdpError> {
        let level = self.levels.iter().find(|level| level.attributes("fingerprint").next().is_some());
        let level = level.ok_or_else(|| self.error(SdpProblem::Missing("fingerprint")))?;
        let mut known: Vec<CertificateHash> = Vec::new();
        let mut problems = Vec::new();
        for (number, value) in level.attributes("fingerprint") {
            match CertificateHash::parse(value) {
                Ok(hash) => known.push(hash),
                Err(CertificateHashError::Spelling) => {
                    problems.push(SdpError::new(number, SdpProblem::Fingerprint(FingerprintError::Spelling)));
                }
                Err(CertificateHashError::Function) => {
                    problems.push(SdpError::new(number, SdpProblem::NoKnownFingerprint));
                }
            }
        }
        let Some(preferred) = known.iter().map(CertificateHash::preference).min() else {
            let is_spelling = |error: &SdpError| matches!(error.problem(), SdpProblem::Fingerprint(_));
            let at = problems.iter().position(is_spelling).unwrap_or_else(|| problems.len().saturating_sub(1));
            return Err(problems.into_iter().nth(at).unwrap_or_else(|| self.error(SdpProblem::NoKnownFingerprint)));
        };
        known.retain(|hash| hash.preference() == preferred);
        ignored.append(&mut problems);
        Ok(known)
    }
}
