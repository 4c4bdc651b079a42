//! Signalling by HTTP for pages: one request, one answer, as in WHIP (RFC 9725).

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use axum::body::Bytes;
use axum::extract::{ConnectInfo, DefaultBodyLimit, OriginalUri, Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, post};
use axum::{Extension, Router};
use narrowboat_sctp::AssociationHandle;
use rand::TryRng;
use rand::rngs::SysRng;

use crate::association::Shared;
use crate::endpoint::{AnsweredOffer, Endpoint};
use crate::error::SignalError;

/// Bytes of an offer at most. A browser's has some 600 for each of its candidates' hundred.
const OFFER_SIZE_MAX: usize = 64 << 10;

/// Media type of an offer and of an answer in HTTP.
const SDP: &str = "application/sdp";

/// Associations that were made here, for DELETE, after which dead ones are looked for.
const SWEPT_LEN_MIN: usize = 64;

/// Routes that answer the offers of browsers: `POST /` takes an offer as `application/sdp`, and answers 201 with the
/// answer and a `Location`; `DELETE` on that ends the association. The associations come out of
/// [`Endpoint::accept`](crate::Endpoint::accept) when they are connected.
///
/// Every client that may send requests here may connect: put your own authentication in front, as a layer, if that
/// matters. It guards the endpoint as long as no other way in is open: an endpoint with
/// [`accept_direct`](crate::EndpointBuilder::accept_direct) also accepts every peer that has seen the hash of its
/// certificate, which is in every answer. [`Incoming::way`](crate::Incoming::way) tells the two apart.
///
/// Serve the routes with axum's `into_make_service_with_connect_info::<SocketAddr>()`: then a client that posts offers
/// without end displaces only its own answers; see [`Endpoint::answer_from`](crate::Endpoint::answer_from). Without
/// that all clients count as one. A reverse proxy hides the addresses of the clients: behind one, add a layer that puts
/// [`ConnectInfo`](axum::extract::ConnectInfo) with the client's address, as the proxy reports it, into the request's
/// extensions, and limit requests in the proxy.
///
/// Another offer on a connection that was answered here is answered with 200 and the same `Location`.
///
/// A rejected request is answered with one sentence in the body: 415 for another content type, 400 for an offer that is
/// invalid or not supported, 409 for one that restarts a connection or comes after its end, 404 for an association that
/// does not exist, 503 when the endpoint can accept no more.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// # use narrowboat::{Endpoint, Identity};
/// let endpoint = Endpoint::builder().bind("0.0.0.0:4433").identity(Identity::load_or_create("id.pem")?).build()?;
/// let app = axum::Router::new().nest("/channels", narrowboat::signalling(endpoint.clone()));
/// // For `axum::serve`.
/// let service = app.into_make_service_with_connect_info::<std::net::SocketAddr>();
/// # let _ = service;
/// # Ok(())
/// # }
/// ```
pub fn signalling(endpoint: Endpoint) -> Router {
    let service = Arc::new(Service { endpoint, made: Mutex::default() });
    Router::new()
        .route("/", post(answer))
        .route("/{id}", delete(end))
        .layer(DefaultBodyLimit::max(OFFER_SIZE_MAX))
        .with_state(service)
}

struct Service {
    endpoint: Endpoint,
    made: Mutex<Made>,
}

/// Associations by their unguessable names.
#[derive(Default)]
struct Made {
    by_id: HashMap<String, Weak<Shared>>,
    /// The name of each, by its handle.
    ids: HashMap<AssociationHandle, String>,
    swept_len: usize,
}

impl Made {
    fn insert(&mut self, id: String, shared: &Arc<Shared>) {
        if self.by_id.len() >= SWEPT_LEN_MIN.max(2 * self.swept_len) {
            self.by_id.retain(|_, shared| shared.strong_count() > 0);
            self.swept_len = self.by_id.len();
            let Self { by_id, ids, .. } = self;
            ids.retain(|_, id| by_id.contains_key(id));
        }
        if let Some(secure) = shared.secure() {
            self.ids.insert(secure.handle(), id.clone());
        }
        self.by_id.insert(id, Arc::downgrade(shared));
    }

    /// Returns the name of an association that was made here and has not ended.
    fn id_of(&self, shared: &Shared) -> Option<String> {
        let id = self.ids.get(&shared.secure()?.handle())?;
        self.by_id.contains_key(id).then(|| id.clone())
    }
}

async fn answer(
    State(service): State<Arc<Service>>,
    OriginalUri(uri): OriginalUri,
    client: Option<Extension<ConnectInfo<SocketAddr>>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    if !is_sdp(&headers) {
        return refuse(StatusCode::UNSUPPORTED_MEDIA_TYPE, "send the offer with the content type application/sdp");
    }
    let Ok(offer) = std::str::from_utf8(&body) else {
        return refuse(StatusCode::BAD_REQUEST, "the offer is not UTF-8: send the browser's own description");
    };
    let client = client.map(|Extension(ConnectInfo(address))| address.ip());
    let AnsweredOffer { sdp, shared, is_new } = match service.endpoint.make_answer_for_accept(client, offer) {
        Ok(answered) => answered,
        Err(error) => return refuse(status(&error), error.to_string()),
    };
    let known = service.made.lock().unwrap_or_else(PoisonError::into_inner).id_of(&shared);
    let Some(id) = known.clone().or_else(draw_id) else {
        if is_new {
            shared.command(|inner, _| inner.abort("the system gives no random numbers"));
        }
        return refuse(StatusCode::INTERNAL_SERVER_ERROR, "the system gives no random numbers: try again");
    };
    let location = format!("{}/{id}", uri.path().trim_end_matches('/'));
    if known.is_none() {
        service.made.lock().unwrap_or_else(PoisonError::into_inner).insert(id, &shared);
    }
    let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    (status, [(header::CONTENT_TYPE, SDP.to_owned()), (header::LOCATION, location)], sdp).into_response()
}

async fn end(State(service): State<Arc<Service>>, Path(id): Path<String>) -> Response {
    let shared = service.made.lock().unwrap_or_else(PoisonError::into_inner).by_id.remove(&id);
    match shared.and_then(|shared| shared.upgrade()) {
        Some(shared) => {
            shared.command(|inner, now| inner.begin_shutdown(now));
            StatusCode::OK.into_response()
        }
        None => refuse(StatusCode::NOT_FOUND, "there is no such association: it has ended, or never was"),
    }
}

/// Returns true if the media type is that of SDP. Its parameters, such as a character set, do not matter.
fn is_sdp(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(SDP)
}

fn status(error: &SignalError) -> StatusCode {
    match error {
        SignalError::SctpInit(_) | SignalError::Description(_) => StatusCode::BAD_REQUEST,
        SignalError::Restart | SignalError::SessionEnded => StatusCode::CONFLICT,
        SignalError::TooManyPending
        | SignalError::TooManyAssociations
        | SignalError::OutOfMemory
        | SignalError::EndpointClosed => StatusCode::SERVICE_UNAVAILABLE,
        SignalError::IdentityNeeded
        | SignalError::DirectNotAccepted
        | SignalError::Interfaces(_)
        | SignalError::NoAddress => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

fn refuse(status: StatusCode, why: impl Into<String>) -> Response {
    let mut why = why.into();
    why.push('\n');
    (status, [(header::CONTENT_TYPE, "text/plain; charset=utf-8")], why).into_response()
}

/// Draws an id of 128 bits, in hexadecimal. Only a client that knows the id can end the association.
fn draw_id() -> Option<String> {
    let mut bytes = [0; 16];
    SysRng.try_fill_bytes(&mut bytes).ok()?;
    Some(format!("{:032x}", u128::from_be_bytes(bytes)))
}
