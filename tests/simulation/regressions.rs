//! Seeds that failed once, each with what was wrong. They replay with the options of [`Options::draw`], of
//! [`Options::draw_all`], of [`Options::draw_whole`], of [`Options::draw_streams`], of [`Options::draw_idle`] or of
//! [`Options::draw_policies`], which draw the same for a seed for ever.

use crate::options::Options;
use crate::runner::check;

fn replay(seed: u64) {
    check(&Options::draw(seed));
}

fn replay_all(seed: u64) {
    check(&Options::draw_all(seed));
}

fn replay_whole(seed: u64) {
    check(&Options::draw_whole(seed));
}

fn replay_streams(seed: u64) {
    check(&Options::draw_streams(seed));
}

fn replay_idle(seed: u64) {
    check(&Options::draw_idle(seed));
}

fn replay_policies(seed: u64) {
    check(&Options::draw_policies(seed));
}

/// The service has no room for the client's channel, and the client's program shuts down before the reset that reports
/// this is sent: the channel ended without an error, its messages unread.
#[test]
fn seed_7264_a_shutdown_overtakes_the_refusal_of_a_channel() {
    replay(7264);
}

/// A tail loss probe was lost, and repaired in the recovery that followed. Its acknowledgement reduced the congestion
/// window a second time.
#[test]
fn seed_15716_a_probe_is_repaired_by_the_recovery_after_it() {
    replay(15_716);
}

#[test]
fn seed_45454_a_probe_is_repaired_by_the_recovery_after_it() {
    replay(45_454);
}

/// The eavesdropper did not understand an INIT with padding that is not zero, which a receiver ignores (RFC 9260 §3.2).
#[test]
fn seed_16230_a_forged_bit_in_the_padding_of_an_init() {
    replay(16_230);
}

#[test]
fn seed_24999_a_forged_bit_in_the_padding_of_an_init() {
    replay(24_999);
}

/// The last acknowledgement was still on its way when the heap at rest was measured.
#[test]
fn seed_48130_a_forgotten_channel_is_still_sending() {
    replay(48_130);
}

/// Channels that were opened before the association was up, on streams above the peer's limit, left the entries of
/// their streams behind.
#[test]
fn seed_56541_streams_that_the_handshake_takes_away_leave_nothing() {
    replay(56_541);
}

/// The peer vanished when no channel could be opened and no HEARTBEAT was configured: nothing waited for an answer.
#[test]
fn seed_53850_nobody_asks_a_peer_that_has_vanished() {
    replay(53_850);
}

/// An end gave its reset up after a second without an answer, while the peer had performed it and used the stream
/// again: the new channel was never seen.
#[test]
fn seed_14045_a_reset_that_is_not_answered_for_long() {
    replay(14_045);
}

/// As above, and the other end's channel ended with an error.
#[test]
fn seed_33377_a_reset_that_is_not_answered_for_long() {
    replay(33_377);
}

/// A SACK acknowledged chunks that had been marked as lost, and the congestion window grew by them before the same SACK
/// found another loss: the bound of the cut counted only the bytes in flight.
#[test]
fn seed_1373_the_window_grows_by_chunks_that_were_marked_lost() {
    replay(1373);
}

/// The client died at an address that it had for a while only. The service kept sending there, and had not given it up
/// by the time at which everything has to have ended.
#[test]
fn seed_32383_a_process_dies_behind_an_address_that_it_has_left() {
    replay(32_383);
}

/// Thousands of messages of a byte waited for a receive window of 8 KiB, which counts 352 bytes more for each: the time
/// for them was reckoned by their bytes.
#[test]
fn seed_37548_a_small_window_takes_few_tiny_messages_in_a_round_trip() {
    replay_all(37_548);
}

/// A COOKIE ECHO found no room, and was answered by an ABORT with the tag in its cookie. The eavesdropper looked for
/// the tag of the last INIT, which somebody else had sent.
#[test]
fn seed_50318_a_cookie_is_refused_after_an_init_of_somebody_else() {
    replay_all(50_318);
}

/// The answer to a reset was altered on its way, so the reset was done over, and the id stayed in use meanwhile.
#[test]
fn seed_6144_an_altered_answer_to_a_reset_keeps_the_id_in_use() {
    replay(6144);
}

/// The send buffer was so small that it does not count the streams in use, of which there were many: neither end could
/// reset one.
#[test]
fn seed_77575_streams_that_are_never_reset_fill_a_small_buffer() {
    replay_all(77_575);
}

/// A shutdown waited for a message that was found to have expired while the answer was written, so that SHUTDOWN left
/// in a packet after it.
#[test]
fn seed_93869_a_shutdown_goes_on_while_the_answer_is_written() {
    replay_all(93_869);
}

/// A reset was retransmitted because the peer had answered "in progress", and was performed by the next datagram of the
/// same batch: the retransmission left afterwards.
#[test]
fn seed_2932_a_reset_is_repeated_in_the_batch_that_performs_it() {
    replay_whole(2932);
}

/// The link's queue has room for less than two packets, and the peer acknowledges 200 ms late: a packet a round trip is
/// all that can be hoped for.
#[test]
fn seed_81322_a_queue_of_one_packet_before_a_peer_that_acknowledges_late() {
    replay_whole(81_322);
}

/// A time-out of a HEARTBEAT counted, and the peer answered. T3, which was older, was then taken for the same silence
/// and did not count, so that a peer that had vanished was given up one time-out late.
#[test]
fn seeds_5927_12371_and_75197_an_answer_ends_a_silence() {
    replay_whole(5927);
    replay_whole(12_371);
    replay_whole(75_197);
}

/// A message was abandoned while a loss was repaired, which made room in a full congestion window. The packet that the
/// pause without a SACK had earned was due at once, and nothing woke the sender.
#[test]
fn seed_28007_an_abandoned_message_makes_room_during_a_repair() {
    replay_whole(28_007);
}

/// The path had become faster, so that each acknowledgement of a retransmission was taken for one of an earlier
/// transmission, and nothing else was sent: the peer's window was full behind the gap. One small chunk was
/// retransmitted for each probe.
#[test]
fn seed_54086_a_path_that_has_become_faster_does_not_hide_losses() {
    replay_whole(54_086);
}

/// An outage took the SACKs first, so that the first one afterwards reported data of a minute ago. The SRTT became six
/// seconds, the pacer spread packets over it, and retransmissions brought no newer round-trip time.
#[test]
fn seed_14820_an_outage_is_no_round_trip_time() {
    replay_streams(14_820);
}

/// Counters of abandoned messages filled a small send buffer until their streams were reset.
#[test]
fn seed_269_counters_of_streams_leave_room_to_send() {
    replay_idle(269);
}

/// A packet that was lost on the old path was counted on the new one, so that the peer was given up early.
#[test]
fn seed_1880_a_new_path_gives_the_peer_the_whole_time() {
    replay_idle(1880);
}

/// A channel whose stream was not granted left its threshold to the next channel on it.
#[test]
fn seed_2601_a_stream_that_was_never_used_has_its_defaults() {
    replay_idle(2601);
}

/// A channel waited for its stream, and its priority was changed before DATA_CHANNEL_OPEN could be sent.
#[test]
fn seed_7044_a_priority_may_change_before_the_peer_learns_of_it() {
    replay_policies(7044);
}

/// The last message of a stream was sent once, in a packet that the path did not take a moment later. It was sent again
/// before the reset of the stream, larger than the packets of then.
#[test]
fn seeds_8441_and_19996_a_chunk_for_larger_packets_is_not_repeated() {
    replay_policies(8441);
    replay_policies(19_996);
}
