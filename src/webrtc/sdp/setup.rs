//! Roles in the DTLS handshake (RFC 8842 §5, RFC 4145 §4).

use super::error::SdpProblem;
use crate::webrtc::dtls::SetupRole;

/// Value of `a=setup`, the role of its sender in the DTLS handshake.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Setup {
    /// Either; the answerer chooses.
    ActPass,
    /// It sends the ClientHello.
    Active,
    /// It waits for one.
    Passive,
}

impl Setup {
    /// Reads the value, in upper or lower case. `holdconn`, which postpones the connection, makes no sense for one that
    /// begins.
    pub(super) fn read(value: &str) -> Result<Self, SdpProblem> {
        let words = [("actpass", Self::ActPass), ("active", Self::Active), ("passive", Self::Passive)];
        let found = words.into_iter().find(|(word, _)| value.eq_ignore_ascii_case(word));
        found.map(|(_, setup)| setup).ok_or_else(|| SdpProblem::Setup(value.chars().take(20).collect()))
    }

    /// Returns our role in our answer to an offer with this value: the one that the offer leaves, or `preferred` if it
    /// leaves both.
    pub(crate) fn answered(self, preferred: SetupRole) -> SetupRole {
        match self {
            Self::ActPass => preferred,
            Self::Active => SetupRole::Passive,
            Self::Passive => SetupRole::Active,
        }
    }

    /// Returns our role if the answer to our offer, which said `actpass`, has this value.
    pub(super) fn chosen(self) -> Result<SetupRole, SdpProblem> {
        match self {
            Self::ActPass => Err(SdpProblem::SetupUndecided),
            Self::Active => Ok(SetupRole::Passive),
            Self::Passive => Ok(SetupRole::Active),
        }
    }

    /// Returns the value of `a=setup` for our role.
    pub(super) fn word(role: SetupRole) -> &'static str {
        match role {
            SetupRole::Active => "active",
            SetupRole::Passive => "passive",
        }
    }
}
