//! The sections of a description: their `m=` lines, and the group that shares one transport (RFC 9143).

use super::attribute;
use super::error::{SdpError, SdpProblem};
use super::lines::{Block, Blocks};

/// As much of a section as is repeated in an answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Section {
    pub(super) media: String,
    pub(super) protocol: String,
    pub(super) formats: String,
    pub(super) mid: Option<String>,
}

impl Section {
    pub(super) fn read(block: &Block<'_>) -> Result<Self, SdpError> {
        let head = Head::read(block)?;
        let mid = block.attribute("mid")?;
        let mid = mid.map(|(number, value)| attribute::mid(value).map_err(|problem| SdpError::new(number, problem)));
        Ok(Self {
            media: head.media.to_owned(),
            protocol: head.protocol.to_owned(),
            formats: head.formats,
            mid: mid.transpose()?.map(str::to_owned),
        })
    }
}

/// An `m=` line (RFC 8866 §5.14): medium, port, protocol, formats.
pub(super) struct Head<'a> {
    media: &'a str,
    /// `None` if it is not a number below 65,536, which matters to the section for data channels alone.
    port: Option<u16>,
    protocol: &'a str,
    /// With one space between two.
    formats: String,
}

impl<'a> Head<'a> {
    pub(super) fn read(block: &Block<'a>) -> Result<Self, SdpError> {
        let mut words = block.head().split_ascii_whitespace();
        let head = (|| {
            let (media, port, protocol) = (words.next()?, words.next()?, words.next()?);
            // Several ports, "9/2", are for media that data channels are not.
            let port = port.split('/').next()?.parse().ok();
            Some(Self { media, port, protocol, formats: words.collect::<Vec<_>>().join(" ") })
        })();
        head.ok_or_else(|| SdpError::new(block.number(), SdpProblem::Media))
    }

    /// True if it is for data channels, whatever they go over.
    pub(super) fn is_sctp(&self) -> bool {
        self.media.eq_ignore_ascii_case("application") && self.protocol.to_ascii_uppercase().contains("SCTP")
    }

    /// True if the section is rejected. A port of 0 rejects it (RFC 3264 §6), unless the section has no transport of
    /// its own (RFC 9143 §6).
    fn is_rejected(&self, block: &Block<'_>) -> bool {
        self.port == Some(0) && block.attributes("bundle-only").next().is_none()
    }
}

/// Form of the `m=` line for data channels.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Form {
    /// `webrtc-datachannel` and `a=sctp-port` (RFC 8841 §4).
    Current,
    /// The SCTP port and `a=sctpmap`, as drafts before RFC 8841 had it. What goes over the wire is the same.
    Sctpmap(u16),
}

impl Form {
    /// Reads the form of a section that is for data channels. The protocol may be `TCP/DTLS/SCTP`: it describes the
    /// default candidate, and ICE may choose another (RFC 8841 §12.1).
    pub(super) fn read(head: &Head<'_>, block: &Block<'_>) -> Result<Self, SdpProblem> {
        let is_known = |known: &&str| head.protocol.eq_ignore_ascii_case(known);
        let is_known = ["UDP/DTLS/SCTP", "TCP/DTLS/SCTP", "DTLS/SCTP"].iter().any(is_known);
        let form = match head.formats.split(' ').next().unwrap_or_default() {
            format if format.eq_ignore_ascii_case("webrtc-datachannel") => Some(Self::Current),
            format => sctpmap_port(format, block).map(Self::Sctpmap),
        };
        let Some(form) = form.filter(|_| is_known) else {
            let line = format!("{} {}", head.protocol, head.formats);
            return Err(SdpProblem::Protocol(line.chars().take(40).collect()));
        };
        if head.port.is_none() {
            return Err(SdpProblem::Media);
        }
        if head.is_rejected(block) { Err(SdpProblem::Rejected) } else { Ok(form) }
    }
}

/// Returns the port that the old form has as its format, if `a=sctpmap` says that data channels are there.
fn sctpmap_port(format: &str, block: &Block<'_>) -> Option<u16> {
    let port = attribute::sctp_port(format).ok()?;
    let is_map = |value: &str| {
        let mut words = value.split_ascii_whitespace();
        words.next() == Some(format) && words.next().is_some_and(|app| app.eq_ignore_ascii_case("webrtc-datachannel"))
    };
    block.attributes("sctpmap").any(|(_, value)| is_map(value)).then_some(port)
}

/// The BUNDLE group of the section for data channels (RFC 9143 §7.1).
pub(super) struct Bundle {
    /// The section whose transport the group uses, if it is another one than that for data channels.
    pub(super) tagged: Option<Tagged>,
}

/// The section whose transport a group uses: the offerer-tagged one (RFC 9143 §7.2). Rejecting it would leave the group
/// without a transport, so it is accepted without being used (§7.3.3).
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Tagged {
    pub(super) index: usize,
    /// The only one of its formats that is accepted.
    pub(super) format: String,
    /// Attributes that describe the format, for the answer: `rtpmap:111 opus/48000/2`.
    pub(super) attributes: Vec<String>,
}

impl Bundle {
    /// Finds the group that has this member.
    pub(super) fn read(blocks: &Blocks<'_>, mid: &str) -> Option<Self> {
        let groups = blocks.session.attributes("group").filter_map(|(_, value)| value.strip_prefix("BUNDLE "));
        let mut groups = groups.map(|members| members.split_ascii_whitespace());
        let members = groups.find(|members| members.clone().any(|member| member == mid))?;
        // The first that is not rejected, as long as it comes before the section for data channels.
        let mut others = members.take_while(|member| *member != mid);
        Some(Self { tagged: others.find_map(|member| Tagged::find(blocks, member)) })
    }
}

impl Tagged {
    fn find(blocks: &Blocks<'_>, mid: &str) -> Option<Self> {
        let is_it = |block: &Block<'_>| block.attributes("mid").any(|(_, found)| found == mid);
        let (index, block) = blocks.sections.iter().enumerate().find(|(_, block)| is_it(block))?;
        let head = Head::read(block).ok().filter(|head| !head.is_rejected(block))?;
        let format = head.formats.split(' ').next().filter(|format| !format.is_empty())?;
        let of_format = |name: &'static str| {
            let values = block.attributes(name).map(|(_, value)| value);
            let values = values.filter(|value| value.split_ascii_whitespace().next() == Some(format));
            values.map(|value| format!("{name}:{value}")).collect::<Vec<_>>()
        };
        Some(Self { index, format: format.to_owned(), attributes: [of_format("rtpmap"), of_format("fmtp")].concat() })
    }
}
