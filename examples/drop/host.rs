//! Names under which the page may be requested.
//!
//! A foreign page can let its own name stand for the address of this machine (DNS rebinding). A browser then treats
//! content that it fetches here as belonging to that page, the ticket included. The request still carries the name that
//! was asked for.

use std::net::IpAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::http::header::HOST;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};

const REFUSAL: &str = "The page is not served under this name: open it by this machine's address, or start the service with --host NAME.\n";

/// Names that are this machine's.
#[derive(Clone)]
pub(crate) struct Hosts(Arc<[String]>);

impl Hosts {
    pub(crate) fn new(names: impl IntoIterator<Item = String>) -> Self {
        Self(names.into_iter().map(|name| canonical(&name)).collect())
    }

    /// Answers requests for other names with 421.
    pub(crate) fn guard(self, router: Router) -> Router {
        router.layer(from_fn(move |request: Request, next: Next| {
            let hosts = self.clone();
            async move { hosts.answer(request, next).await }
        }))
    }

    async fn answer(&self, request: Request, next: Next) -> Response {
        if self.may_ask(request.uri(), request.headers()) {
            next.run(request).await
        } else {
            (StatusCode::MISDIRECTED_REQUEST, REFUSAL).into_response()
        }
    }

    /// True if each name in the request is allowed, and there is one.
    fn may_ask(&self, uri: &Uri, headers: &HeaderMap) -> bool {
        let mut named = headers.get_all(HOST).iter().map(|host| host.to_str().unwrap_or_default()).peekable();
        let in_uri = uri.authority().map(Authority::as_str);
        (named.peek().is_some() || in_uri.is_some()) && named.chain(in_uri).all(|name| self.is_allowed(name))
    }

    /// Any IP address is allowed: no name stands for it, so a foreign page cannot have it.
    fn is_allowed(&self, authority: &str) -> bool {
        let Ok(authority) = authority.parse::<Authority>() else { return false };
        let name = canonical(authority.host());
        let address = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(&name);
        address.parse::<IpAddr>().is_ok()
            || name == "localhost"
            || name.ends_with(".localhost")
            || self.0.contains(&name)
    }
}

/// Names are the same in capitals, and with the dot of the root.
fn canonical(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn l07_only_this_machines_names_are_answered() {
        let hosts = Hosts::new(["Boat.local".to_owned()]);
        for (host, expected) in [
            ("127.0.0.1:8080", true),
            ("192.168.1.7", true),
            ("[::1]:8080", true),
            ("[2001:db8::7]", true),
            ("localhost:8080", true),
            ("LOCALHOST.", true),
            ("boat.localhost:8080", true),
            ("boat.local:8080", true),
            ("BOAT.local.", true),
            ("evil.example", false),
            ("evil.example:8080", false),
            ("localhost.evil.example", false),
            ("127.0.0.1.evil.example", false),
            ("evil.example@127.0.0.1.evil.example", false),
            ("notlocalhost", false),
            ("x.boat.local", false),
            ("", false),
            ("a b", false),
        ] {
            let headers = HeaderMap::from_iter([(HOST, host.parse().unwrap())]);
            assert_eq!(hosts.may_ask(&Uri::from_static("/"), &headers), expected, "{host}");
        }
    }

    #[test]
    fn l07_each_name_in_a_request_counts() {
        let hosts = Hosts::new([]);
        let own = HeaderMap::from_iter([(HOST, "127.0.0.1".parse().unwrap())]);
        assert!(!hosts.may_ask(&Uri::from_static("http://evil.example/"), &own));
        assert!(hosts.may_ask(&Uri::from_static("http://127.0.0.1/"), &own));
        let mut two = own.clone();
        two.append(HOST, "evil.example".parse().unwrap());
        assert!(!hosts.may_ask(&Uri::from_static("/"), &two));
        assert!(!hosts.may_ask(&Uri::from_static("/"), &HeaderMap::new()));
    }
}
