//! States of an association.

/// The states of RFC 9260 §4.
///
/// ```text
///                        CLOSED
///          connect │                │ COOKIE ECHO of the peer
///                  ▼                │
///            COOKIE-WAIT            │
///         INIT ACK │                │
///                  ▼   COOKIE ACK   ▼
///           COOKIE-ECHOED ─────▶ ESTABLISHED
///                       shutdown │        │ SHUTDOWN of the peer
///                                ▼        ▼
///                 SHUTDOWN-PENDING        SHUTDOWN-RECEIVED
///                all sent and     │        │ all sent and
///                acknowledged     ▼        ▼ acknowledged
///                     SHUTDOWN-SENT        SHUTDOWN-ACK-SENT
///               SHUTDOWN ACK      │        │ SHUTDOWN COMPLETE
///                                 ▼        ▼
///                                   CLOSED
/// ```
///
/// An ABORT, a violation or too many time-outs lead to `Closed` from everywhere.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum State {
    /// Nothing yet, or no longer.
    Closed,
    /// INIT sent.
    CookieWait,
    /// COOKIE ECHO sent.
    CookieEchoed,
    /// Data flows both ways.
    Established,
    /// `shutdown` was called; what was accepted is still being delivered.
    ShutdownPending,
    /// SHUTDOWN sent.
    ShutdownSent,
    /// SHUTDOWN received; what was accepted is still being delivered.
    ShutdownReceived,
    /// SHUTDOWN ACK sent.
    ShutdownAckSent,
}

impl State {
    /// Every state.
    pub const ALL: [Self; 8] = [
        Self::Closed,
        Self::CookieWait,
        Self::CookieEchoed,
        Self::Established,
        Self::ShutdownPending,
        Self::ShutdownSent,
        Self::ShutdownReceived,
        Self::ShutdownAckSent,
    ];

    /// Returns `true` if the application may send messages (RFC 9260 §9.2: not after a shutdown by either end).
    #[must_use]
    pub fn can_accept_messages(self) -> bool {
        matches!(self, Self::Closed | Self::CookieWait | Self::CookieEchoed | Self::Established)
    }

    /// Returns `true` if DATA, new or retransmitted, may be sent (RFC 9260 §6, §9.2).
    pub(crate) fn can_send_data(self) -> bool {
        matches!(self, Self::Established | Self::ShutdownPending | Self::ShutdownReceived)
    }

    /// Returns `true` if DATA from the peer is accepted (RFC 9260 §6, §9.2).
    pub(crate) fn can_receive_data(self) -> bool {
        matches!(self, Self::Established | Self::ShutdownPending | Self::ShutdownSent)
    }

    /// Returns `true` if both ends have established the association and it has not ended.
    #[must_use]
    pub fn is_up(self) -> bool {
        !matches!(self, Self::Closed | Self::CookieWait | Self::CookieEchoed)
    }

    /// Returns true if there is a Transmission Control Block (RFC 9260 §14.2): both ends have agreed.
    pub(crate) fn has_tcb(self) -> bool {
        self.is_up()
    }

    /// Returns `true` if the diagram has an edge from this state to `next`.
    pub(crate) fn can_become(self, next: Self) -> bool {
        use State as S;
        match next {
            S::Closed => true,
            S::CookieWait => matches!(self, S::Closed | S::CookieEchoed),
            S::CookieEchoed => self == S::CookieWait,
            // A restarted peer takes an association back from everywhere but SHUTDOWN-ACK-SENT (§5.2.4 A).
            S::Established => self != S::ShutdownAckSent,
            S::ShutdownPending => self == S::Established,
            S::ShutdownSent => self == S::ShutdownPending,
            S::ShutdownReceived => matches!(self, S::Established | S::ShutdownPending),
            S::ShutdownAckSent => matches!(self, S::ShutdownReceived | S::ShutdownSent),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_transitions_is_the_diagram() {
        let edges = |from: State| State::ALL.into_iter().filter(move |to| from.can_become(*to)).collect::<Vec<_>>();
        use State as S;
        assert_eq!(edges(S::Closed), [S::Closed, S::CookieWait, S::Established]);
        assert_eq!(edges(S::CookieWait), [S::Closed, S::CookieEchoed, S::Established]);
        assert_eq!(edges(S::CookieEchoed), [S::Closed, S::CookieWait, S::Established]);
        assert_eq!(edges(S::Established), [S::Closed, S::Established, S::ShutdownPending, S::ShutdownReceived]);
        assert_eq!(edges(S::ShutdownPending), [S::Closed, S::Established, S::ShutdownSent, S::ShutdownReceived]);
        assert_eq!(edges(S::ShutdownSent), [S::Closed, S::Established, S::ShutdownAckSent]);
        assert_eq!(edges(S::ShutdownReceived), [S::Closed, S::Established, S::ShutdownAckSent]);
        assert_eq!(edges(S::ShutdownAckSent), [S::Closed]);
    }
}
