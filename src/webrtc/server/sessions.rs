//! Lookup of the association that an offer belongs to, if the peer has offered before (RFC 3264 §8, RFC 8829 §5.2.2).
//!
//! A page offers again on a connection that lives when it adds a camera for somebody else's use, or restarts ICE. A new
//! association would be wrong then: the page's DTLS and SCTP go on with the old one, and ICE, answered with new
//! credentials, would report a connection on which every message vanishes. So the session that an offer belongs to is
//! looked up, by what a peer connection keeps for its life and no other has: its `o=` line without the version, and the
//! hash of its certificate. Neither is enough alone: a page may use one certificate for several connections, and an
//! `o=` line is no secret.
//!
//! | the offer | is |
//! | --- | --- |
//! | of an unknown session | the first: it begins an association |
//! | with the same ICE credentials and DTLS association | answered like the one before |
//! | with others, before the handshake is done | the first, again: nothing depends on the old association |
//! | with others, after that | refused: restarts are not supported |
//! | of a session whose association has ended after its handshake | refused: the page's DTLS cannot begin again |

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};

use bytes::Bytes;
use narrowboat_sctp::AssociationHandle;
use sha2::{Digest, Sha256};

use crate::webrtc::CertificateHash;
use crate::webrtc::dtls::SetupRole;
use crate::webrtc::ice::Credentials;
use crate::webrtc::sdp::Remote;

/// Sessions that are remembered when their association has ended, the oldest are forgotten first. A page that is not
/// told of the end, by its connection or by its application, offers again within seconds.
const ENDED_MAX: usize = 1024;

/// A session of a peer: a hash of its `o=` line without the version, and of its fingerprints.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct SessionKey([u8; 32]);

/// The values that an offer must repeat to change nothing: the ICE credentials, `a=tls-id` and the SCTP port, by their
/// hash, and the INIT.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct TransportKey {
    hash: [u8; 32],
    /// Hash of the INIT that the description brings (SNAP).
    init: Option<[u8; 32]>,
}

/// Parameters of this end in all descriptions of one association.
#[derive(Clone, Debug)]
pub(crate) struct LocalParameters {
    pub(crate) credentials: Credentials,
    /// Names the session and the DTLS association.
    pub(crate) nonce: [u8; 16],
    /// Counts the descriptions.
    pub(crate) version: u64,
    pub(crate) role: SetupRole,
    /// This end's INIT, if it is not sent (draft-hancke-tsvwg-snap).
    pub(crate) sctp_init: Option<Bytes>,
}

/// The sessions of an endpoint's associations that were made by signalling: one for each at most, of fixed size.
#[derive(Debug, Default)]
pub(crate) struct SignalledSessions {
    by_key: HashMap<SessionKey, SignalledSession>,
    by_handle: HashMap<AssociationHandle, SessionKey>,
    /// The sessions that have ended, the oldest first.
    ended: VecDeque<SessionKey>,
}

#[derive(Debug)]
enum SignalledSession {
    Alive { handle: AssociationHandle, transport: TransportKey, local: Box<LocalParameters> },
    Ended,
}

/// Reason for which an offer on a connection that exists cannot be answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum SessionConflict {
    /// The offer restarts a connection that lives.
    Restart,
    /// The connection of the offer has ended.
    Ended,
}

impl SessionKey {
    /// Returns the session of a description, or `None` if the description does not identify one.
    pub(crate) fn of(remote: &Remote) -> Option<Self> {
        let mut hash = Sha256::new();
        hash.update(remote.session.as_ref()?.as_str());
        for fingerprint in &remote.fingerprints {
            // After the text of the session comes a byte that no text has.
            hash.update([0xFF]);
            hash.update(match fingerprint {
                CertificateHash::Sha256(hash) => &hash[..],
                CertificateHash::Sha384(hash) => &hash[..],
                CertificateHash::Sha512(hash) => &hash[..],
            });
        }
        Some(Self(hash.finalize().into()))
    }
}

impl TransportKey {
    pub(crate) fn of(remote: &Remote, tls_id: Option<&str>) -> Self {
        let mut hash = Sha256::new();
        for text in [remote.credentials.ufrag(), remote.credentials.pwd(), tls_id.unwrap_or_default()] {
            hash.update(text);
            hash.update([0xFF]);
        }
        hash.update(remote.sctp_port.to_be_bytes());
        let init = remote.sctp_init.as_ref().map(|init| Sha256::digest(init).into());
        Self { hash: hash.finalize().into(), init }
    }

    /// Returns true if a description with this key leaves the transport as it is. An INIT that is new, or another one,
    /// is for another association (draft-hancke-tsvwg-snap-00 §5.6). A description may leave the INIT out, though §5.6
    /// wants it again: nothing depends on it any more.
    fn continues(self, known: Self) -> bool {
        self.hash == known.hash && (self.init.is_none() || self.init == known.init)
    }
}

impl SignalledSessions {
    /// Finds the association that an offer belongs to, and what to say in the next answer. `None` if the offer begins
    /// one. `is_connected` says whether an association's handshake is done.
    ///
    /// # Errors
    ///
    /// The offer wants what is not supported on a connection that exists.
    pub(crate) fn find(
        &mut self,
        key: SessionKey,
        transport: TransportKey,
        is_connected: impl FnOnce(AssociationHandle) -> bool,
    ) -> Result<Option<(AssociationHandle, LocalParameters)>, SessionConflict> {
        match self.by_key.get_mut(&key) {
            None => Ok(None),
            Some(SignalledSession::Ended) => Err(SessionConflict::Ended),
            Some(SignalledSession::Alive { handle, transport: known, local }) if transport.continues(*known) => {
                local.version = local.version.saturating_add(1);
                Ok(Some((*handle, LocalParameters::clone(local))))
            }
            Some(SignalledSession::Alive { handle, .. }) if is_connected(*handle) => Err(SessionConflict::Restart),
            Some(SignalledSession::Alive { .. }) => Ok(None),
        }
    }

    /// Inserts the association that was made for this session. It replaces one whose handshake was never completed.
    pub(crate) fn insert(
        &mut self,
        key: SessionKey,
        handle: AssociationHandle,
        transport: TransportKey,
        local: LocalParameters,
    ) {
        let session = SignalledSession::Alive { handle, transport, local: Box::new(local) };
        if let Some(SignalledSession::Alive { handle, .. }) = self.by_key.insert(key, session) {
            self.by_handle.remove(&handle);
        }
        self.by_handle.insert(handle, key);
        self.check_consistency();
    }

    /// Removes an association that has ended.
    pub(crate) fn remove(&mut self, handle: AssociationHandle, was_connected: bool) {
        let Some(key) = self.by_handle.remove(&handle) else { return };
        if !was_connected {
            self.by_key.remove(&key);
        } else {
            self.by_key.insert(key, SignalledSession::Ended);
            self.ended.push_back(key);
            if self.ended.len() > ENDED_MAX
                && let Some(oldest) = self.ended.pop_front()
                && let Entry::Occupied(entry) = self.by_key.entry(oldest)
                && matches!(entry.get(), SignalledSession::Ended)
            {
                entry.remove();
            }
        }
        self.check_consistency();
    }

    /// Recounts the table.
    fn check_consistency(&self) {
        #[cfg(test)]
        {
            let is_alive = |session: &&SignalledSession| matches!(session, SignalledSession::Alive { .. });
            let alive = self.by_key.values().filter(is_alive).count();
            assert_eq!(self.by_handle.len(), alive);
            assert_eq!(self.ended.len(), self.by_key.len() - alive);
            assert!(self.ended.len() <= ENDED_MAX);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: usize) -> SessionKey {
        SessionKey(Sha256::digest(number.to_be_bytes()).into())
    }

    const SAME: TransportKey = TransportKey { hash: [1; 32], init: None };
    const OTHER: TransportKey = TransportKey { hash: [2; 32], init: None };

    fn local() -> LocalParameters {
        let credentials = Credentials::new("ours", "ourpasswordourpassword").expect("valid");
        LocalParameters { credentials, nonce: [7; 16], version: 1, role: SetupRole::Passive, sctp_init: None }
    }

    #[test]
    fn an_offer_that_changes_nothing_is_answered_with_the_same_words_and_the_next_version() {
        for is_connected in [false, true] {
            let mut sessions = SignalledSessions::default();
            assert!(matches!(sessions.find(key(1), SAME, |_| is_connected), Ok(None)));
            sessions.insert(key(1), AssociationHandle(5), SAME, local());
            for version in 2..5 {
                let found = sessions.find(key(1), SAME, |_| is_connected).expect("no error");
                let (handle, local) = found.expect("known");
                assert_eq!((handle, local.version, local.nonce), (AssociationHandle(5), version, [7; 16]));
                assert_eq!(local.credentials.ufrag(), "ours");
            }
            assert!(matches!(sessions.find(key(2), SAME, |_| is_connected), Ok(None)), "another session");
        }
    }

    #[test]
    fn a_restart_is_refused_once_the_handshake_is_done_and_begins_anew_before() {
        let mut sessions = SignalledSessions::default();
        sessions.insert(key(1), AssociationHandle(5), SAME, local());
        assert!(matches!(sessions.find(key(1), OTHER, |_| false), Ok(None)));
        assert!(matches!(sessions.find(key(1), OTHER, |handle| handle.0 == 5), Err(SessionConflict::Restart)));
        sessions.insert(key(1), AssociationHandle(6), OTHER, local());
        // The one that was given up ends without a trace.
        sessions.remove(AssociationHandle(5), false);
        let found = sessions.find(key(1), OTHER, |_| true).expect("no error").expect("known");
        assert_eq!(found.0, AssociationHandle(6));
        sessions.remove(AssociationHandle(6), false);
        assert!(matches!(sessions.find(key(1), SAME, |_| true), Ok(None)), "it was never connected");
    }

    #[test]
    fn an_init_that_is_new_or_another_one_is_for_another_association() {
        let [with, other] = [1, 2].map(|byte| TransportKey { init: Some([byte; 32]), ..SAME });
        for (first, again, is_same) in [
            (with, with, true),
            (with, SAME, true),
            (SAME, SAME, true),
            (with, other, false),
            (SAME, with, false),
            (with, TransportKey { init: with.init, ..OTHER }, false),
        ] {
            let mut sessions = SignalledSessions::default();
            sessions.insert(key(1), AssociationHandle(5), first, local());
            let result = sessions.find(key(1), again, |_| true);
            assert_eq!(matches!(result, Ok(Some((AssociationHandle(5), _)))), is_same, "{first:?}, {again:?}");
            assert_eq!(matches!(result, Err(SessionConflict::Restart)), !is_same, "{first:?}, {again:?}");
        }
    }

    #[test]
    fn a_session_that_has_ended_is_refused_and_forgotten_after_a_thousand_others() {
        let mut sessions = SignalledSessions::default();
        for number in 0..=ENDED_MAX {
            let handle = AssociationHandle(number as u64);
            sessions.insert(key(number), handle, SAME, local());
            sessions.remove(handle, true);
            let again = sessions.find(key(number), SAME, |_| true);
            assert!(matches!(again, Err(SessionConflict::Ended)));
        }
        assert!(matches!(sessions.find(key(0), SAME, |_| true), Ok(None)), "the oldest is forgotten");
        assert!(matches!(sessions.find(key(1), OTHER, |_| true), Err(SessionConflict::Ended)));
        assert_eq!((sessions.by_key.len(), sessions.by_handle.len()), (ENDED_MAX, 0));
    }
}
