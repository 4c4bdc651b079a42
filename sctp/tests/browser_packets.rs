//! Packets that Chromium and Firefox have sent, decrypted: each is read, and written again to the same bytes.
#![expect(clippy::expect_used, reason = "a test fails by panicking")]
#![expect(clippy::let_underscore_must_use, reason = "some results make no difference to a test")]
#![expect(clippy::unwrap_used, reason = "a test may fail this way")]

mod round_trip;

use narrowboat_sctp::testing::wire::{self, ChunkType, Chunks, PacketHeader};

/// A packet a line: `CHUNK CHUNK: hexadecimal`.
const PACKETS: &str = include_str!("browser_packets.txt");

#[test]
fn packets_of_browsers_are_read_whole() {
    for (names, packet) in packets() {
        assert!(wire::is_checksum_valid(&packet), "{names}: checksum");
        assert_eq!(PacketHeader::decode(&packet).unwrap().source_port, 5000);
        let kinds: Vec<String> = Chunks::new(&packet).map(|chunk| format!("{:?}", chunk.unwrap().kind)).collect();
        assert_eq!(kinds.join(" "), names);
        round_trip::check_datagram(&packet);
    }
}

#[test]
fn a_chunk_of_a_browser_is_written_as_the_browser_has_written_it() {
    for (names, packet) in packets() {
        for chunk in Chunks::new(&packet) {
            let chunk = chunk.unwrap();
            let Some(reading) = round_trip::read(chunk.kind, chunk.flags, chunk.value_in(&packet)) else {
                assert_eq!(chunk.kind, ChunkType::COOKIE_ACK, "{names}: {chunk:?} is not read");
                continue;
            };
            let end = chunk.start + wire::padded(chunk.whole_in(&packet).len());
            let (mut ours, mut theirs) = (reading.encoded, packet[chunk.start..end].to_vec());
            if matches!(chunk.kind, ChunkType::INIT | ChunkType::INIT_ACK) {
                // usrsctp lists the same parameters and extensions in another order, which means nothing.
                ours.sort_unstable();
                theirs.sort_unstable();
            }
            assert_eq!(ours, theirs, "{names}: {:?}", chunk.kind);
        }
    }
}

fn packets() -> impl Iterator<Item = (&'static str, Vec<u8>)> {
    PACKETS.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).map(|line| {
        let (names, digits) = line.split_once(": ").unwrap();
        let byte = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).unwrap();
        (names, (0..digits.len()).step_by(2).map(byte).collect())
    })
}
