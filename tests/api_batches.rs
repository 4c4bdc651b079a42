//! The number of datagrams that the socket reads at once makes no difference to the peer: it sees the same answers.
#![expect(clippy::expect_used, reason = "a test fails by panicking")]
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail this way")]

use std::net::SocketAddr;
use std::time::Duration;

use narrowboat::{Config, Endpoint};
use narrowboat_sctp::testing::wire::{self, ChunkType, Chunks, DataChunk, Init, PacketHeader, Sack};
use narrowboat_sctp::{Ppid, Ssn, StreamId, Tsn};
use tokio::net::UdpSocket;

const TAG: u32 = 0x7065_6572;
const FIRST_TSN: u32 = 1000;

/// A peer made of packets.
struct Peer {
    socket: UdpSocket,
    /// The tag that the endpoint wants to see.
    tag: u32,
}

impl Peer {
    /// Completes a handshake.
    async fn connect(server: SocketAddr) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        socket.connect(server).await.unwrap();
        socket.writable().await.unwrap();
        let mut peer = Self { socket, tag: 0 };
        let init = Init::new(TAG, 1 << 20, 100, 100, Tsn(FIRST_TSN));
        peer.send(|out| init.encode(ChunkType::INIT, &[], out));
        let (kind, ack) = peer.receive().await;
        assert_eq!(kind, ChunkType::INIT_ACK);
        let ack = Init::decode(&ack).unwrap();
        peer.tag = ack.initiate_tag;
        peer.send(|out| wire::encode_cookie_echo(ack.cookie.unwrap(), out));
        assert_eq!(peer.receive().await.0, ChunkType::COOKIE_ACK);
        peer
    }

    /// Sends one packet without letting anyone else run.
    fn send(&self, write: impl FnOnce(&mut Vec<u8>)) {
        let mut packet = Vec::new();
        PacketHeader { source_port: 5000, destination_port: 5000, verification_tag: self.tag }.encode(&mut packet);
        write(&mut packet);
        wire::seal(&mut packet);
        assert_eq!(self.socket.try_send(&packet).unwrap(), packet.len());
    }

    /// A message on stream 1, `number` chunks after the first TSN.
    fn send_data(&self, number: u16) {
        let chunk = DataChunk {
            tsn: Tsn(FIRST_TSN + u32::from(number)),
            stream: StreamId(1),
            ssn: Ssn(number),
            ppid: Ppid(53),
            unordered: false,
            beginning: true,
            ending: true,
            immediate: false,
        };
        self.send(|out| chunk.encode(&[7; 100], out));
    }

    /// The only chunk of the next packet.
    async fn receive(&self) -> (ChunkType, Vec<u8>) {
        let mut packet = [0; 2048];
        let received = tokio::time::timeout(Duration::from_secs(20), self.socket.recv(&mut packet)).await;
        let len = received.expect("an answer").unwrap();
        let mut chunks = Chunks::new(&packet[..len]).map(Result::unwrap);
        let chunk = chunks.next().unwrap();
        assert!(chunks.next().is_none(), "a packet with several chunks");
        (chunk.kind, chunk.value_in(&packet).to_vec())
    }
}

/// Returns the answers to packets behind a gap, in bursts of this number of datagrams.
async fn answers(burst: usize) -> Vec<Vec<u8>> {
    // A window that may grow does so by the rate at which data arrives, and the two runs differ in that.
    let mut config = Config::default();
    config.association.receive_window = 256 << 10;
    let server = Endpoint::builder().bind("127.0.0.1:0").config(config).accept_plain().build().unwrap();
    let peer = Peer::connect(server.local_address()).await;
    let mut answers = Vec::new();
    let mut receive = async |count| {
        for _ in 0..count {
            let (kind, value) = peer.receive().await;
            assert_eq!(kind, ChunkType::SACK);
            answers.push(value);
        }
    };
    // The first is missing, and every sixteenth. The endpoint's tasks run on this thread, so each burst is in the
    // socket before it reads.
    let numbers: Vec<u16> = (1..384).filter(|number| number % 16 > 0).collect();
    for burst in numbers.chunks(burst) {
        burst.iter().for_each(|number| peer.send_data(*number));
        receive(burst.len()).await;
    }
    answers
}

#[tokio::test]
async fn each_packet_behind_a_gap_is_acknowledged_however_many_are_read_at_once() {
    let expected = answers(1).await;
    let last = Sack::decode(expected.last().unwrap()).unwrap();
    assert_eq!((expected.len(), last.gap_blocks().count()), (360, 24));
    for burst in [2, 16, 128] {
        assert!(answers(burst).await == expected, "bursts of {burst}");
    }
}
