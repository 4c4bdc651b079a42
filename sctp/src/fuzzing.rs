//! Entry functions of fuzz targets for what is private. Only tests and fuzzers compile them.

use crate::cookie::{Binding, Cookie, CookieKeys};
use crate::message::StreamId;
use crate::reset::{DueRequest, OwnRequests, PeerRequests, RequestDecision, RequestOutcome};
use crate::serial::{RequestSn, Tsn, UnwrappedTsn};
use crate::time::{Duration, Instant};
use crate::wire::{Extensions, ResetResult};

#[cfg(test)]
#[path = "../../fuzz/replay.rs"]
mod replay;

const LIFETIME: Duration = Duration::from_secs(60);

fn word(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |word| u32::from_be_bytes(*word))
}

/// Opens State Cookies: refuses arbitrary bytes, and opens a cookie that was made if and only if nothing of it has
/// changed.
pub fn cookie(now: Instant, bytes: &[u8]) {
    let keys = CookieKeys::new(now, [7; 32]);
    let binding = Binding { local_port: 5000, remote_port: 5000, address: bytes.get(48..).unwrap_or_default() };
    assert!(keys.open(now, LIFETIME, bytes, binding).is_none(), "a cookie that nobody made is opened");
    let made = Cookie {
        local_tag: word(bytes, 0),
        peer_tag: word(bytes, 4),
        tie_tags: (word(bytes, 8), word(bytes, 12)),
        local_initial_tsn: Tsn(word(bytes, 16)),
        peer_initial_tsn: Tsn(word(bytes, 20)),
        peer_rwnd: word(bytes, 24),
        outbound_streams: bytes.get(28).map_or(0, |byte| u16::from(*byte) * 257),
        inbound_streams: bytes.get(29).map_or(0, |byte| u16::from(*byte) * 257),
        extensions: Extensions::from_bits(bytes.get(30).copied().unwrap_or_default()),
        peer_accepts_zero_checksum: bytes.get(30).is_some_and(|byte| byte % 2 == 1),
    };
    let made_at = now + Duration::from_millis(u64::from(word(bytes, 32)) << (word(bytes, 36) % 9));
    let mut sealed = keys.seal(made_at, LIFETIME, &made, binding);
    let late = Duration::from_millis(u64::from(word(bytes, 40)) % 120_000);
    let opened = keys.open(made_at + late, LIFETIME, &sealed, binding);
    assert!(opened.is_some_and(|opened| opened.cookie == made), "a cookie of ours is not opened");
    let is_stale = opened.is_some_and(|opened| opened.staleness.is_some());
    assert!(is_stale == (late > LIFETIME), "after {late:?} a cookie is stale: {is_stale}");
    let (at, change) = (word(bytes, 44) as usize % sealed.len(), bytes.get(31).copied().unwrap_or_default());
    if let Some(byte) = sealed.get_mut(at) {
        *byte ^= change;
    }
    let opened = keys.open(made_at, LIFETIME, &sealed, binding);
    assert!(opened.is_some() == (change == 0), "byte {at} of a cookie may change by {change:#x}");
}

/// Runs stream resets in both directions, two bytes an operation. Each requested reset must end once, and each request
/// of the peer must be performed once.
pub fn reset(now: Instant, script: &[u8]) {
    let mut machine = Machine {
        now,
        outgoing: OwnRequests::new(RequestSn(u32::MAX - 2), 4, Duration::from_secs(5)),
        incoming: PeerRequests::new(RequestSn(u32::MAX - 2)),
        wanted: [false; 16],
        cumulative: UnwrappedTsn::first(Tsn(u32::MAX)),
        executed: Vec::new(),
        last: RequestSn(0),
    };
    for operation in script.chunks_exact(2).take(256) {
        if let [what, how] = operation {
            machine.operate(*what, *how);
        }
        machine.outgoing.check_consistency();
        machine.incoming.check_consistency();
    }
}

struct Machine {
    now: Instant,
    outgoing: OwnRequests,
    incoming: PeerRequests,
    /// Streams that wait for the end of their reset.
    wanted: [bool; 16],
    cumulative: UnwrappedTsn,
    executed: Vec<RequestSn>,
    /// Number of the last request that left.
    last: RequestSn,
}

impl Machine {
    fn operate(&mut self, what: u8, how: u8) {
        match what % 8 {
            0 => {
                let stream = u16::from(how % 16);
                if let Some(wanted) = self.wanted.get_mut(usize::from(stream)).filter(|wanted| !**wanted) {
                    *wanted = true;
                    self.outgoing.enqueue(StreamId(stream), self.cumulative.add(u64::from(how >> 4)));
                }
            }
            1 => {
                self.cumulative = self.cumulative.add(u64::from(how));
                self.outgoing.on_acknowledged(self.cumulative);
            }
            2 => {
                let last_assigned = self.cumulative.add(u64::from(how));
                let due = self.outgoing.take_due(self.now, usize::from(how % 4), last_assigned);
                if let Some(DueRequest::ResetOutgoing { number, streams, .. }) = due {
                    self.last = number;
                    let asked = streams.iter().all(|stream| self.wanted.get(usize::from(stream.0)) == Some(&true));
                    assert!(asked && !streams.is_empty(), "a reset of {streams:?} that nobody asked for");
                }
            }
            3 => {
                self.outgoing.on_timeout();
            }
            4 => {
                self.now += Duration::from_millis(u64::from(how) * 20);
                self.outgoing.on_heard(self.now, Duration::from_millis(400));
            }
            5 => {
                let number = RequestSn(self.last.0.wrapping_add(u32::from(how >> 4)).wrapping_sub(1));
                let result = ResetResult::from(u32::from(how % 8));
                match self.outgoing.on_response(self.now, number, result, self.cumulative) {
                    RequestOutcome::Performed(streams) => self.end(&streams),
                    // The association ends, and with it all resets.
                    RequestOutcome::Failed => {
                        self.outgoing.clear();
                        self.wanted = [false; 16];
                    }
                    RequestOutcome::Nothing
                    | RequestOutcome::InProgress
                    | RequestOutcome::Other(..)
                    | RequestOutcome::Retry => {}
                }
            }
            6 => self.request(how),
            _ => {
                self.now += Duration::from_millis(u64::from(how) * 50);
                let _ = self.incoming.on_deferred_performed();
            }
        }
    }

    fn request(&mut self, how: u8) {
        let number = RequestSn(self.incoming.last_request().0.wrapping_add(u32::from(how >> 4)).wrapping_sub(3));
        match self.incoming.decide(number) {
            RequestDecision::Execute => {
                assert!(!self.executed.contains(&number), "request {number:?} is executed twice");
                self.executed.push(number);
                let results = [ResetResult::Performed, ResetResult::InProgress, ResetResult::Denied];
                let result = results.get(usize::from(how % 4)).copied().unwrap_or(ResetResult::NothingToDo);
                // One at a time waits for data, as the association has it.
                let is_waiting = matches!(
                    self.incoming.decide(self.incoming.last_request()),
                    RequestDecision::Repeat(ResetResult::InProgress)
                );
                let result = if is_waiting && result == ResetResult::InProgress { ResetResult::Denied } else { result };
                self.incoming.answer(number, result);
                assert_eq!(self.incoming.decide(number), RequestDecision::Repeat(result));
            }
            RequestDecision::Repeat(_) => assert!(self.executed.contains(&number), "an answer to what was never asked"),
            RequestDecision::OutOfSequence => {}
        }
    }

    fn end(&mut self, streams: &[StreamId]) {
        for stream in streams {
            let wanted = self.wanted.get_mut(usize::from(stream.0)).map(std::mem::take);
            assert_eq!(wanted, Some(true), "the reset of stream {stream} ends twice, or was not asked for");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::replay::replay;

    #[test]
    fn the_corpora_of_cookie_and_reset_pass_what_their_fuzz_targets_check() {
        #[expect(clippy::disallowed_methods, reason = "the zero of a clock that only the script moves")]
        fn zero() -> std::time::Instant {
            std::time::Instant::now()
        }
        replay("cookie", 5, |bytes| super::cookie(zero(), bytes));
        replay("reset", 5, |script| super::reset(zero(), script));
    }
}
