//! The way in with signalling: offers and answers as browsers make them (RFC 8829), carried by the application.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use narrowboat_sctp::{SignalledInit, Source};

use super::associate::PeerSide;
use super::part::SecurePart;
use crate::association::Shared;
use crate::endpoint::Endpoint;
use crate::error::SignalError;
use crate::handle::Association;
use crate::webrtc::dtls::{ExpectedPeer, SetupRole};
use crate::webrtc::ice::FIRST_CHECK_TIMEOUT;
use crate::webrtc::sdp::{self, Local, Remote, SdpProblem};
use crate::webrtc::{ExpectedFor, LocalParameters, SessionKey, TransportKey};

/// Time that an offer may wait for its answer, and for the first check: people may carry both by hand.
const OFFER_LIFETIME: Duration = Duration::from_secs(300);

/// Answer for the peer, and the association that results from it.
#[non_exhaustive]
pub struct Answer {
    /// The answer, for the peer's `setRemoteDescription`.
    pub sdp: String,
    /// The association. Channels can be opened on it at once; [`connected`](Association::connected) waits until the
    /// peer has connected. If the peer does not connect, the association is given up after 40 seconds.
    pub association: Association,
    /// True if the offer began the association; false if it is another offer on a connection that was answered before,
    /// and the association is the same.
    pub is_new: bool,
}

/// An offer that waits for its answer. Dropping it withdraws the offer.
pub struct Offer {
    endpoint: Endpoint,
    sdp: String,
    parameters: LocalParameters,
    /// Seed of the association whose INIT is in the offer.
    seed: [u8; 32],
    shared: Option<Arc<Shared>>,
}

/// An answer that was made, and its association.
pub(crate) struct AnsweredOffer {
    pub(crate) sdp: String,
    pub(crate) shared: Arc<Shared>,
    /// True if the offer began the association.
    pub(crate) is_new: bool,
}

/// End that begins the DTLS handshake, if the peer leaves the choice (RFC 8842 §5).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum DtlsRole {
    /// The peer begins: one message less on the way to a server. The default.
    #[default]
    Server,
    /// This end begins.
    Client,
}

/// Request for an answer to an offer: the sender of the offer, and the role in DTLS.
#[derive(Clone, Copy, Debug)]
struct OfferRequest {
    /// IP address from which the offer has come, if known.
    client: Option<IpAddr>,
    role: DtlsRole,
}

impl Endpoint {
    /// Answers an offer of a browser, or of another full ICE agent. The application carries the offer and the answer;
    /// `narrowboat::signalling`, of the feature `axum`, is one way.
    ///
    /// The peer is held to its offer: it must show the certificate that the offer names, and gets no larger messages
    /// than the offer allows. Candidates in the offer are not needed, and later candidates need not be reported: the
    /// peer finds this end.
    ///
    /// Media in the offer are rejected. The peer may offer again on the same connection, for example because its page
    /// has added a camera: an offer that leaves ICE and DTLS as they are is answered as before, and the answer has
    /// another handle of the same association ([`Answer::is_new`]). Restarts (RFC 8445 §9) are refused, and leave the
    /// connection as it is.
    ///
    /// If offers come from several clients, [`answer_from`](Self::answer_from) keeps the clients from displacing each
    /// other.
    ///
    /// # Errors
    ///
    /// The offer is invalid or not supported, with the line that is the reason; the offer restarts a connection that
    /// lives, or belongs to one that has ended; the endpoint has no identity, is closed or full, or has made 1,024
    /// offers of its own that wait; or this machine has no address.
    pub fn answer(&self, offer: &str) -> Result<Answer, SignalError> {
        self.answer_as(offer, DtlsRole::default())
    }

    /// Answers an offer like [`answer`](Self::answer), with a choice of the end that begins the DTLS handshake, if the
    /// offer leaves that choice.
    ///
    /// # Errors
    ///
    /// As [`answer`](Self::answer).
    pub fn answer_as(&self, offer: &str, role: DtlsRole) -> Result<Answer, SignalError> {
        self.answer_to(offer, OfferRequest { client: None, role })
    }

    /// Answers an offer like [`answer`](Self::answer), for an offer that came from this IP address, as the
    /// application's signalling knows it.
    ///
    /// Up to 1,024 peers may have an answer or offer of this end without being connected yet. Beyond that a new answer
    /// displaces an older one that has led to no connection, and the association of the older answer ends. The older
    /// answer is one of the client that has most of them, so a client that asks for answers without end displaces only
    /// its own. An IPv6 network of 64 bits is one client. Without the address, as with [`answer`](Self::answer), all
    /// clients count as one.
    ///
    /// Give the address of the client, not that of a reverse proxy in front of this program. A header that names the
    /// client is trustworthy only if the proxy sets it.
    ///
    /// # Errors
    ///
    /// As [`answer`](Self::answer).
    pub fn answer_from(&self, client: IpAddr, offer: &str) -> Result<Answer, SignalError> {
        self.answer_to(offer, OfferRequest { client: Some(client), role: DtlsRole::default() })
    }

    fn answer_to(&self, offer: &str, request: OfferRequest) -> Result<Answer, SignalError> {
        let AnsweredOffer { sdp, shared, is_new } = self.make_answer(offer, request)?;
        Ok(Answer { sdp, association: Association::new(shared), is_new })
    }

    /// Answers an offer like [`answer`](Self::answer), but [`accept`](Self::accept) returns the association when it is
    /// connected.
    ///
    /// # Errors
    ///
    /// As [`answer`](Self::answer).
    pub fn answer_for_accept(&self, offer: &str) -> Result<String, SignalError> {
        self.make_answer_for_accept(None, offer).map(|made| made.sdp)
    }

    /// Answers an offer like [`answer_for_accept`](Self::answer_for_accept), for an offer of this client; see
    /// [`answer_from`](Self::answer_from).
    ///
    /// # Errors
    ///
    /// As [`answer`](Self::answer).
    pub fn answer_for_accept_from(&self, client: IpAddr, offer: &str) -> Result<String, SignalError> {
        self.make_answer_for_accept(Some(client), offer).map(|made| made.sdp)
    }

    /// Creates an offer for a browser, or another full ICE agent, to answer. The offer is valid for five minutes.
    ///
    /// It carries this end's INIT (`a=sctp-init`, draft-hancke-tsvwg-snap-00). If the answer has one, too, the
    /// association is established as soon as DTLS is, two round trips earlier; others ignore it.
    ///
    /// # Errors
    ///
    /// The endpoint has no identity, is closed or full; too many expected peers have not connected yet; or this machine
    /// has no address.
    pub fn offer(&self) -> Result<Offer, SignalError> {
        let part = self.core.secure.as_ref().ok_or(SignalError::IdentityNeeded)?;
        let addresses = self.candidates(part)?;
        // The role is the answerer's to choose.
        let (shared, parameters) = self.core.expect_peer(OFFER_LIFETIME, ExpectedFor::Offer)?;
        // The association of the answer gets the same seed, so it has the tag and the TSN of this INIT.
        let seed = self.core.draw_seed()?;
        let sctp_init = self.core.signalled_init(part, &shared, seed);
        let parameters = LocalParameters { sctp_init, ..parameters };
        let sdp = sdp::offer(&self.local(part, &parameters, &addresses));
        Ok(Offer { endpoint: self.clone(), sdp, parameters, seed, shared: Some(shared) })
    }

    pub(crate) fn make_answer_for_accept(
        &self,
        client: Option<IpAddr>,
        offer: &str,
    ) -> Result<AnsweredOffer, SignalError> {
        let made = self.make_answer(offer, OfferRequest { client, role: DtlsRole::default() })?;
        if made.is_new {
            self.core.accept_when_connected(&made.shared);
        }
        Ok(made)
    }

    fn make_answer(&self, offer: &str, request: OfferRequest) -> Result<AnsweredOffer, SignalError> {
        let part = self.core.secure.as_ref().ok_or(SignalError::IdentityNeeded)?;
        let offer = sdp::OfferDescription::parse(offer)?;
        part.count_ignored(&offer.remote);
        let addresses = self.candidates(part)?;
        let session = SessionKey::of(&offer.remote);
        let transport = TransportKey::of(&offer.remote, offer.tls_id.as_deref());
        let known = session.map(|key| self.core.find_session(key, transport)).transpose()?.flatten();
        let is_new = known.is_none();
        let (shared, parameters) = match known {
            Some(known) => known,
            None => self.begin(part, &offer, request)?,
        };
        // The roles of a DTLS association stay (RFC 8842 §5.5).
        if offer.setup.answered(parameters.role) != parameters.role {
            return Err(SignalError::Restart);
        }
        let sdp = sdp::answer(&offer, parameters.role, &self.local(part, &parameters, &addresses));
        if let Some(key) = session.filter(|_| is_new) {
            self.core.remember_session(&shared, key, transport, parameters);
        }
        Ok(AnsweredOffer { sdp, shared, is_new })
    }

    /// Creates the association that an offer begins.
    fn begin(
        &self,
        part: &SecurePart,
        offer: &sdp::OfferDescription,
        request: OfferRequest,
    ) -> Result<(Arc<Shared>, LocalParameters), SignalError> {
        let signalled_init = offer.remote.sctp_init.as_deref().and_then(|init| part.read_init(init));
        let (shared, parameters) =
            self.core.expect_peer(FIRST_CHECK_TIMEOUT, ExpectedFor::Answer(request.client.map(Source::of_ip)))?;
        let preferred = match request.role {
            DtlsRole::Server => SetupRole::Passive,
            DtlsRole::Client => SetupRole::Active,
        };
        let role = offer.setup.answered(preferred);
        let peer = PeerSide { signalled_init, ..peer_side(&offer.remote, role) };
        let seed = self.core.draw_seed()?;
        let sctp_init = self.core.describe_peer(&shared, peer, seed);
        Ok((shared, LocalParameters { sctp_init, role, ..parameters }))
    }

    /// Returns the parameters of this end for a description.
    fn local<'a>(
        &self,
        part: &SecurePart,
        parameters: &'a LocalParameters,
        addresses: &'a [std::net::SocketAddr],
    ) -> Local<'a> {
        Local {
            credentials: &parameters.credentials,
            fingerprint: part.identity.fingerprint(),
            addresses,
            sctp_port: self.core.config.association.local_port,
            max_message_size: self.core.config.channels.message_size_max as u64,
            sctp_init: parameters.sctp_init.as_deref(),
            nonce: parameters.nonce,
            version: parameters.version,
        }
    }
}

impl SecurePart {
    /// Counts and logs what was unreadable in a description, and not needed.
    fn count_ignored(&self, remote: &Remote) {
        if let Some(first) = remote.ignored.first() {
            let count = remote.ignored.len();
            self.context.counters.ignored_in_descriptions.fetch_add(count as u64, Ordering::Relaxed);
            tracing::debug!(count, %first, "parts of the peer's description were ignored");
        }
    }

    /// Reads the INIT chunk of an offer. It is optional, and a draft: without it there is an ordinary handshake.
    fn read_init(&self, init: &[u8]) -> Option<SignalledInit> {
        let read = SignalledInit::parse(init);
        if let Err(error) = &read {
            self.context.counters.ignored_in_descriptions.fetch_add(1, Ordering::Relaxed);
            tracing::debug!(%error, "the INIT chunk in the offer was ignored");
        }
        read.ok()
    }
}

impl Offer {
    /// Returns the offer, for the peer's `setRemoteDescription`.
    #[must_use]
    pub fn sdp(&self) -> &str {
        &self.sdp
    }

    /// Accepts the peer's answer. Channels can be opened on the association at once;
    /// [`connected`](Association::connected) waits until the peer has connected.
    ///
    /// # Errors
    ///
    /// The answer is invalid or not supported, with the line that is the reason, or its INIT cannot be used. The offer
    /// is withdrawn then.
    pub fn accept_answer(mut self, answer: &str) -> Result<Association, SignalError> {
        let answer = sdp::AnswerDescription::parse(answer)?;
        if let Some(part) = &self.endpoint.core.secure {
            part.count_ignored(&answer.remote);
        }
        let signalled_init = answered_init(&answer.remote)?;
        let shared = self.shared.take().ok_or(SignalError::EndpointClosed)?;
        let core = &self.endpoint.core;
        let peer = PeerSide { signalled_init, ..peer_side(&answer.remote, answer.role) };
        let sctp_init = core.describe_peer(&shared, peer, self.seed);
        debug_assert!(sctp_init.is_none() || sctp_init == self.parameters.sctp_init, "the offered INIT is that in use");
        if let Some(key) = SessionKey::of(&answer.remote) {
            let transport = TransportKey::of(&answer.remote, answer.tls_id.as_deref());
            let parameters = LocalParameters { sctp_init, role: answer.role, ..self.parameters.clone() };
            core.remember_session(&shared, key, transport, parameters);
        }
        Ok(Association::new(shared))
    }
}

/// Without the description, which has the password of the peer's checks in it.
impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer").field("association", &self.association).finish_non_exhaustive()
    }
}

impl fmt::Debug for Offer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Offer").finish_non_exhaustive()
    }
}

impl Drop for Offer {
    fn drop(&mut self) {
        if let Some(shared) = self.shared.take() {
            shared.command(|inner, _| inner.abort("the offer was taken back"));
        }
    }
}

fn peer_side(remote: &Remote, role: SetupRole) -> PeerSide {
    PeerSide {
        role,
        expected: ExpectedPeer::Fingerprints(remote.fingerprints.clone()),
        credentials: remote.credentials.clone(),
        sctp_port: remote.sctp_port,
        // No message of this end is anywhere near what does not fit.
        message_size_max: usize::try_from(remote.max_message_size).unwrap_or(0),
        signalled_init: None,
    }
}

/// Returns the INIT chunk of an answer. An unreadable one is an error (draft-hancke-tsvwg-snap-00 §5.5): a peer that
/// answers with an INIT takes the association as established, so an ordinary handshake would be out of place.
fn answered_init(remote: &Remote) -> Result<Option<SignalledInit>, SignalError> {
    if let Some(error) = remote.ignored.iter().find(|error| *error.problem() == SdpProblem::SctpInit) {
        return Err(error.clone().into());
    }
    remote.sctp_init.as_deref().map(SignalledInit::parse).transpose().map_err(SignalError::SctpInit)
}
