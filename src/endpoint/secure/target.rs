//! Targets of outgoing connections that name a certificate.

use crate::webrtc::{Ticket, TicketError};

/// A target that is a ticket, or begins like one.
#[expect(unnameable_types, reason = "only this crate makes targets")]
#[derive(Clone, Debug)]
pub enum SecureTarget {
    /// The peer that has the ticket's certificate.
    Ticket(Ticket),
    /// No peer: the text begins like a ticket, and is not one.
    NoTicket(TicketError),
}

impl SecureTarget {
    /// Reads a text; `None` if it does not begin like a ticket.
    pub(in crate::endpoint) fn parse(text: &str) -> Option<Self> {
        match text.parse() {
            Ok(ticket) => Some(Self::Ticket(ticket)),
            Err(TicketError::Spelling) => None,
            Err(error) => Some(Self::NoTicket(error)),
        }
    }
}
