//! Windows that grow and shrink, to the byte.

use super::*;
use crate::recv::demand::PERIOD;

const WINDOW: usize = 100_000;

fn window() -> ReceiveWindow {
    sized(100_000)
}

/// Returns a window that has promised nothing.
fn sized(receive_window: u32) -> ReceiveWindow {
    let window = ReceiveWindow::new(&AssociationConfig { receive_window, mtu: 1200, ..AssociationConfig::default() });
    ReceiveWindow { promise: Promise { payload: 0, limit: 0 }, ..window }
}

fn payload(payload: usize) -> Cost {
    Cost { payload, overhead: 0 }
}

impl std::ops::Add<Cost> for HeldBytes {
    type Output = Self;

    fn add(self, unread: Cost) -> Self {
        Self { unread: self.unread + unread, ..self }
    }
}

fn unread(bytes: usize) -> HeldBytes {
    HeldBytes { unread: payload(bytes), ..HeldBytes::default() }
}

/// Returns a partial message in sequence, and `others` bytes that wait for others.
fn partial(bytes: usize, others: usize) -> HeldBytes {
    HeldBytes { in_order_partial: payload(bytes), waiting: payload(bytes + others), ..HeldBytes::default() }
}

#[test]
fn a_window_and_a_quarter_fits_to_the_byte() {
    let (window, limit) = (window(), WINDOW + WINDOW / 4);
    assert!(window.fits(unread(limit - 100), payload(100)));
    assert!(!window.fits(unread(limit - 100), payload(101)));
    // Bytes that wait count like unread ones.
    assert!(window.fits(partial(0, limit - 100), payload(100)));
    assert!(!window.fits(partial(0, limit - 100), payload(101)));
}

#[test]
fn memory_bounds_the_window_and_a_chunk_that_is_larger_than_the_window() {
    let mut window = window();
    window.set_memory(WINDOW, true);
    assert!(window.fits(unread(WINDOW - 100), payload(100)));
    assert!(!window.fits(unread(WINDOW - 100), payload(101)));
    window.set_memory(2 * WINDOW, true);
    assert!(window.fits(HeldBytes::default(), payload(2 * WINDOW)), "nothing else is held");
    assert!(!window.fits(HeldBytes::default(), payload(2 * WINDOW + 1)));
    assert!(!window.fits(unread(1), payload(2 * WINDOW - 1)), "something is held that can be read");
}

/// Only its later fragments can complete it.
#[test]
fn the_partial_message_in_sequence_does_not_count_unless_something_can_be_read() {
    let (mut window, limit) = (window(), WINDOW + WINDOW / 4);
    window.set_memory(4 * WINDOW, true);
    assert!(window.fits(partial(3 * WINDOW, 0), payload(WINDOW)));
    assert!(!window.fits(partial(3 * WINDOW, 0), payload(WINDOW + 1)), "memory is the limit");
    let mut held = partial(2 * WINDOW, limit - 1000);
    assert!(window.fits(held, payload(1000)));
    assert!(!window.fits(held, payload(1001)), "what waits beside it counts");
    held.unread = payload(400);
    assert!(window.fits(held, payload(200)));
    assert!(!window.fits(held, payload(201)), "what is unread counts, and as much of the partial message");
}

/// RFC 9260 §6.2: a window of less than a packet, or of less than half of a small window, is closed.
#[test]
fn the_advertised_window_is_what_is_left_by_payload_and_by_memory() {
    for (receive_window, closed_below) in [(100_000, 1200), (2000, 1000)] {
        let (window, size) = (sized(receive_window), receive_window as usize);
        assert_eq!(window.a_rwnd(unread(0)), receive_window);
        assert_eq!(window.a_rwnd(unread(size - closed_below)) as usize, closed_below);
        assert_eq!(window.a_rwnd(unread(size - closed_below + 1)), 0);
    }
    // Overheads take the room that the payload leaves. A fifth of it is left to them.
    let overhead = WINDOW + WINDOW / 4 - 1000 - 5000;
    let held = HeldBytes { unread: Cost { payload: 1000, overhead }, ..HeldBytes::default() };
    assert_eq!(window().a_rwnd(held), 4000);
}

fn large(start: Instant) -> ReceiveWindow {
    let mut window = ReceiveWindow::new(&AssociationConfig { receive_window: 1 << 20, ..Default::default() });
    window.set_round_trip(Duration::from_millis(100));
    window.on_packet_end(start, unread(0));
    window
}

#[test]
fn the_window_is_four_times_what_arrives_and_is_read_in_a_round_trip() {
    let start = crate::testing::some_time();
    let mut window = large(start);
    let mut round = |at: u64, arrived: usize, held: usize, expected: usize| {
        window.on_arrival(payload(arrived));
        window.on_packet_end(start + Duration::from_millis(at), unread(held));
        window.on_advertised(0, unread(0));
        assert_eq!(window.a_rwnd(unread(0)) as usize, expected, "at {at} ms");
    };
    let initial = INITIAL_WINDOW as usize;
    round(10, initial / 4, 0, initial);
    round(20, 10_000, 0, initial + 40_000);
    round(30, 40_000, 50_000, initial + 40_000);
    round(110, 0, 40_000, initial + 40_000);
    // Another round. Its first bytes are those that were held.
    round(120, 50_000, 90_000, initial + 40_000);
    // The application has read all of it.
    round(210, 0, 0, 360_000);
    round(220, 100_000, 0, 400_000);
    round(230, 1 << 20, 0, 1 << 20);
    round(330, 1 << 20, 0, 1 << 20);
}

#[test]
fn a_window_does_not_grow_without_memory_or_for_a_slow_reader() {
    let at = crate::testing::some_time();
    let mut window = large(at);
    window.set_memory(usize::MAX, false);
    window.on_arrival(payload(1 << 19));
    window.on_packet_end(at, unread(0));
    assert_eq!(window.a_rwnd(unread(0)), INITIAL_WINDOW);
    let mut window = large(at);
    // A sixteenth of what is unread.
    window.on_read(1_000_000 / 16);
    for held in 1..=10 {
        window.on_arrival(payload(100_000));
        window.on_packet_end(at, unread(100_000 * held));
    }
    assert_eq!(window.a_rwnd(unread(0)), INITIAL_WINDOW);
}

#[test]
fn a_window_that_small_messages_have_crowded_is_told_as_what_fits_of_them() {
    let mut window = sized(1 << 20);
    let small = Cost { payload: 10, overhead: 128 };
    (0..200).for_each(|_| window.on_arrival(small));
    let messages = |count: usize| HeldBytes {
        unread: Cost { payload: 10 * count, overhead: 128 * count },
        ..HeldBytes::default()
    };
    // 256 KiB, and a quarter of a mebibyte for overheads.
    let fit = (512 << 10) / 138;
    assert_eq!(
        window.a_rwnd(messages(fit / 4)) as usize,
        (256 << 10) - 10 * (fit / 4),
        "the application may just read"
    );
    let told = window.a_rwnd(messages(fit / 4 + 1)) as usize;
    let left = 10 * (fit - fit / 4 - 1);
    assert!(told.abs_diff(left) <= left / 20, "{told} of {left} bytes that fit");
    assert_eq!(window.a_rwnd(messages(fit - 100)), 0, "less than a packet");
    // Larger messages are told of at once.
    (0..50).for_each(|_| window.on_arrival(Cost { payload: 1000, overhead: 128 }));
    assert!(window.a_rwnd(messages(fit - 100)) > 1200);
}

/// It may be about to read. Messages of the protocol above are read at once, and are no sign of it.
#[test]
fn a_window_grows_to_a_mebibyte_for_an_application_that_has_not_begun_to_read() {
    let at = crate::testing::some_time();
    for (receive_window, expected) in [(32 << 20, 1 << 20), (700_000, 700_000)] {
        let mut window = ReceiveWindow::new(&AssociationConfig { receive_window, ..Default::default() });
        window.on_packet_end(at, unread(0));
        window.on_read(200);
        let mut offered = Vec::new();
        for held in (50_000..1_100_000).step_by(50_000) {
            window.on_arrival(payload(50_000));
            window.on_packet_end(at, unread(held));
            offered.push(window.a_rwnd(unread(0)) as usize);
        }
        assert_eq!(offered[1], INITIAL_WINDOW as usize);
        let held = (50_000..).step_by(50_000);
        assert!(offered.iter().zip(held).all(|(offered, held)| *offered >= (2 * held).min(expected)), "{offered:?}");
        assert_eq!(offered.last(), Some(&expected));
        // It reads now, and the window is that of its speed once a period is over.
        window.on_read(1 << 20);
        window.on_packet_end(at + PERIOD - Duration::from_millis(1), unread(1 << 20));
        window.on_packet_end(at + PERIOD, unread(1 << 20));
        window.on_advertised(0, unread(0));
        assert_eq!(window.a_rwnd(unread(0)), INITIAL_WINDOW);
    }
}

#[test]
fn a_window_that_is_not_used_becomes_smaller_as_the_promise_is_used_up() {
    let start = crate::testing::some_time();
    for pause in [PERIOD, 100 * PERIOD] {
        let mut window = large(start);
        window.on_arrival(payload(1 << 18));
        window.on_packet_end(start, unread(0));
        window.on_advertised(window.a_rwnd(unread(0)), unread(0));
        assert_eq!(window.advertised, 1 << 20);
        window.on_arrival(payload(10_000));
        window.on_packet_end(start + pause, unread(0));
        // The peer may still send what the last SACK has told it.
        assert_eq!(window.a_rwnd(unread(0)) as usize, (1 << 20) - 10_000);
        let left = (1 << 20) - 10_000;
        assert!(window.fits(unread(1 << 18), payload(left)) && !window.fits(unread(1 << 18), payload(left + 1)));
        for _ in 0..20 {
            window.on_advertised(window.a_rwnd(unread(0)), unread(0));
            window.on_arrival(payload(50_000));
        }
        assert_eq!(window.a_rwnd(unread(0)), INITIAL_WINDOW);
    }
    // A lower rate counts after two periods.
    let mut window = large(start);
    let mut offered = Vec::new();
    for second in 0..31 {
        window.on_arrival(payload(if second < 5 { 1 << 18 } else { 100_000 }));
        window.on_packet_end(start + Duration::from_secs(second), unread(0));
        window.on_advertised(0, unread(0));
        offered.push(window.a_rwnd(unread(0)));
    }
    assert_eq!((offered[5], offered[19], offered[20], offered[30]), (1 << 20, 1 << 20, 400_000, 400_000));
}

#[test]
fn what_the_peer_was_told_is_taken_though_a_large_message_waits_for_the_application() {
    let mut window = window();
    // A message whose end has not come yet does not count against the window.
    window.on_advertised(30_000, partial(10 * WINDOW, 0));
    let message = unread(10 * WINDOW);
    assert!(window.fits(message, payload(30_000)) && !window.fits(message, payload(30_001)));
    assert_eq!(window.a_rwnd(message), 30_000);
    for _ in 0..3 {
        window.on_advertised(window.a_rwnd(message), message);
    }
    window.on_arrival(Cost { payload: 10_000, overhead: 352 });
    let mut held = message + Cost { payload: 10_000, overhead: 352 };
    assert_eq!(window.a_rwnd(held), 20_000, "not a byte beyond that");
    for _ in 0..70 {
        let small = Cost { payload: 1, overhead: 352 };
        window.on_arrival(small);
        held = held + small;
    }
    assert!(!window.fits(held, payload(5_000)), "a promise of payload is none of hundreds of times as much overhead");
}

#[test]
fn only_a_chunk_that_a_closed_window_has_no_room_for_is_a_probe() {
    let mut window = window();
    let held = unread(WINDOW - 1000);
    assert!(!window.is_probe(held, 1001), "the window was not closed");
    window.on_advertised(0, unread(0));
    assert!(!window.is_probe(held, 1000));
    assert!(window.is_probe(held, 1001));
}

/// A quarter of a datagram while little is held, three quarters while an eighth of the window is.
#[test]
fn payloads_are_copied_out_of_datagrams_that_are_much_larger() {
    let window = window();
    for (held, enough) in [(0, 300), (WINDOW / 8, 300), (WINDOW / 8 + 1, 900)] {
        assert!(!window.should_copy(unread(held), enough, 1200), "{held} bytes are held");
        assert!(window.should_copy(unread(held), enough - 1, 1200), "{held} bytes are held");
    }
}

/// RFC 9260 §6.2.
#[test]
fn an_update_is_due_when_the_window_opens_by_a_quarter_or_by_two_packets_from_closed() {
    let mut window = window();
    for (advertised, opened) in [(50_000, 75_000), (0, 2400), (2399, 2400), (2400, 27_400)] {
        window.on_advertised(advertised, unread(0));
        assert!(!window.is_update_due(unread(WINDOW - opened + 1)), "{advertised} to {opened}");
        assert!(window.is_update_due(unread(WINDOW - opened)), "{advertised} to {opened}");
    }
    // Two packets are half of a small window at most.
    let mut small = sized(4000);
    small.on_advertised(1500, unread(0));
    assert!(!small.is_update_due(unread(2001)));
    assert!(small.is_update_due(unread(2000)));
}

#[test]
fn a_window_closes_once() {
    let mut window = window();
    assert!(!window.has_closed(unread(WINDOW - 1200)));
    assert!(window.has_closed(unread(WINDOW - 1199)));
    window.on_advertised(0, unread(0));
    assert!(!window.has_closed(unread(WINDOW)));
}

/// Fragments of 128 bytes with their overhead, whatever the window.
#[test]
fn a_partial_message_may_cost_one_and_a_half_messages_and_a_window() {
    let config = AssociationConfig { receive_window: 100_000, receive_message_size_max: 10_000, ..Default::default() };
    let window = ReceiveWindow::new(&config);
    assert!(!window.is_above_message_max(payload(115_000)));
    assert!(window.is_above_message_max(payload(115_001)));
}

#[test]
fn what_can_be_evicted_makes_room_and_the_partial_message_in_sequence_does_not() {
    let (mut window, limit) = (window(), WINDOW + WINDOW / 4);
    assert!(window.could_fit(partial(0, limit), payload(limit)));
    assert!(window.could_fit(partial(0, limit), payload(limit + 1)), "nothing is held then");
    window.set_memory(2 * WINDOW, true);
    assert!(window.could_fit(partial(WINDOW, limit), payload(WINDOW)));
    assert!(!window.could_fit(partial(WINDOW, limit), payload(WINDOW + 1)));
    assert!(!window.could_fit(unread(limit), payload(1)));
}
