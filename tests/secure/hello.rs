//! ClientHellos, as strangers may repeat them.

use narrowboat::Ticket;

use super::relay::{Direction, Relay};
use super::{Pair, bind, soon};

/// The first ClientHello of a client of ours.
pub async fn recorded_hello() -> Vec<u8> {
    let server = bind();
    let relay = Relay::to(server.local_address()).await;
    let ticket = Ticket::new([relay.address], server.identity().unwrap().fingerprint()).unwrap();
    let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
    relay.rule(move |direction, datagram| {
        if direction == Direction::ToServer && datagram[0] == 22 {
            let _ = sender.send(datagram.to_vec());
        }
        true
    });
    let _pair = Pair::by(bind(), server, &ticket).await;
    soon(receiver.recv()).await.unwrap()
}

/// The first half of a hello that fits a datagram, in a datagram of its own.
pub fn halved(hello: &[u8]) -> Vec<u8> {
    let half = (hello.len() - 25) / 2;
    let mut piece = hello[..25 + half].to_vec();
    piece[11..13].copy_from_slice(&u16::try_from(12 + half).unwrap().to_be_bytes());
    piece[22..25].copy_from_slice(&u32::try_from(half).unwrap().to_be_bytes()[1..]);
    piece
}
