//! The stacks and controllers that are compared: a column each.

use std::time::Instant;

use narrowboat_peers::{Narrowboat, Peer, Settings, Stack};
use narrowboat_sctp::{AssociationConfig, CongestionControl, Valid};

/// A stack, and its controller if there is a choice.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Contender {
    /// This project's, with a controller.
    Ours(&'static str, CongestionControl),
    /// Another one.
    Other(Stack),
}

/// The chunk type of user data.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum UserData {
    Data,
    /// Messages interleave, if the stack can do that (RFC 8260).
    #[default]
    IData,
}

/// Differences to the default configuration.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Choices {
    /// Size of the receive window.
    pub(crate) window: Option<u32>,
    pub(crate) chunks: UserData,
}

impl Contender {
    pub(crate) const ALL: [Self; 6] = [
        Self::Ours("cubic", CongestionControl::Cubic),
        Self::Ours("bbr", CongestionControl::Bbr),
        Self::Ours("newreno", CongestionControl::NewReno),
        Self::Other(Stack::Dcsctp),
        Self::Other(Stack::SctpProto),
        Self::Other(Stack::RtcSctp),
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ours(name, _) => name,
            Self::Other(stack) => stack.name(),
        }
    }

    pub(crate) fn is_ours(self) -> bool {
        matches!(self, Self::Ours(..))
    }

    /// Creates both ends. Ours has its default configuration, but for the window if there is one, and for interleaving;
    /// the others have the same window, or room for two and a half bandwidth-delay products.
    pub(crate) fn peers(
        self,
        now: Instant,
        Choices { window, chunks }: Choices,
        product: u64,
        seed: u64,
    ) -> Result<[Box<dyn Peer>; 2], String> {
        let mut ends = Vec::new();
        for end in [1, 2] {
            let seed = seed * 4 + end;
            ends.push(match self {
                Self::Ours(_, congestion_control) => {
                    let default = AssociationConfig { congestion_control, ..AssociationConfig::default() };
                    let receive_window = window.unwrap_or(default.receive_window);
                    let message_interleaving = chunks == UserData::IData;
                    let config = AssociationConfig { receive_window, message_interleaving, ..default };
                    let config = Valid::new(config);
                    let config = config.map_err(|error| error.to_string())?;
                    let seed = [u8::try_from(seed % 251).unwrap_or_default(); 32];
                    Box::new(Narrowboat::with_config(now, config, seed)) as Box<dyn Peer>
                }
                Self::Other(stack) => {
                    let wide = u32::try_from((product * 5 / 2).max(8 << 20)).unwrap_or(1 << 30);
                    let receive_window = window.unwrap_or(wide);
                    stack.peer(now, &Settings { receive_window, ..Settings::default() }, seed)
                }
            });
        }
        let [Some(first), Some(second)] = [ends.pop(), ends.pop()] else { return Err("two ends".into()) };
        Ok([first, second])
    }
}
