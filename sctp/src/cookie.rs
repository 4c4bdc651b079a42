//! State Cookies.
/// Keys that authenticate State Cookies; cheap to clone, shared by the associations of an endpoint.
#[derive(Clone, Debug)]
pub struct CookieKeys {
    _private: (),
}
impl CookieKeys {
    /// Keys drawn from `seed`; `now` is the zero of the time stamps in cookies.
    #[must_use]
    pub fn new(_now: std::time::Instant, _seed: [u8; 32]) -> Self { todo!() }
}
