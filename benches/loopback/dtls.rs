//! Cost of the cryptography alone: records of the size that associations send, encrypted and decrypted by the same
//! library, with nothing around it.

use std::sync::Arc;
use std::time::Instant;

use dimpl::{Config, Dtls, DtlsCertificate, Output};
use narrowboat::Identity;

use crate::process::Mark;
use crate::scenario::Result;

/// Bytes of an SCTP packet whose record, in DTLS 1.2 or 1.3, fits a datagram of 1,200 bytes.
const PACKET: usize = 1160;
/// Bytes of the application in a packet: without the header of the packet and of one DATA chunk.
const PAYLOAD: usize = PACKET - 12 - 16;
/// Packets at once, as a socket is given them.
const BATCH: usize = 32;

/// Measures the processor seconds for a GiB of payload, over this number of batches.
pub(crate) fn seconds_a_gib(batches: usize) -> Result<f64> {
    let (mut sender, mut receiver) = connected()?;
    let packet = vec![7; PACKET];
    let (mut buffer, mut datagrams) = (vec![0; 2048], Vec::new());
    let mut received = 0;
    let mark = Mark::now()?;
    for _ in 0..batches {
        datagrams.clear();
        for _ in 0..BATCH {
            sender.send_application_data(&packet)?;
            drain(&mut sender, &mut buffer, |output| {
                if let Output::Packet(datagram) = output {
                    datagrams.push(datagram.to_vec());
                }
            });
        }
        for datagram in &datagrams {
            receiver.handle_packet(datagram)?;
            drain(&mut receiver, &mut buffer, |output| {
                if let Output::ApplicationData(packet) = output {
                    received += packet.len();
                }
            });
        }
    }
    let cpu = mark.elapsed()?.cpu();
    if received != batches * BATCH * PACKET {
        return Err("not all packets have come".into());
    }
    Ok(cpu.as_secs_f64() / ((batches * BATCH * PAYLOAD) as f64 / (1_u64 << 30) as f64))
}

fn connected() -> Result<(Dtls, Dtls)> {
    let config = Arc::new(Config::builder().mtu(1200).max_queue_tx(64).build()?);
    let now = Instant::now();
    let mut ends = (Dtls::new_auto(config.clone(), certificate()?, now), Dtls::new_auto(config, certificate()?, now));
    ends.0.set_active(true);
    ends.0.handle_timeout(now)?;
    ends.1.handle_timeout(now)?;
    let mut buffer = vec![0; 4096];
    let mut up = 0;
    for turn in 0..20 {
        let (from, to) = if turn % 2 == 0 { (&mut ends.0, &mut ends.1) } else { (&mut ends.1, &mut ends.0) };
        let mut flight = Vec::new();
        drain(from, &mut buffer, |output| match output {
            Output::Packet(datagram) => flight.push(datagram.to_vec()),
            Output::Connected => up += 1,
            _ => {}
        });
        for datagram in flight {
            to.handle_packet(&datagram)?;
        }
    }
    if up == 2 { Ok(ends) } else { Err("the DTLS handshake was not finished".into()) }
}

fn drain(end: &mut Dtls, buffer: &mut Vec<u8>, mut each: impl FnMut(Output<'_>)) {
    loop {
        match end.poll_output(buffer) {
            Output::BufferTooSmall { needed } => buffer.resize(needed, 0),
            Output::Timeout(_) => return,
            output => each(output),
        }
    }
}

/// The key of an identity as the library takes it: in PEM, alone.
fn certificate() -> Result<DtlsCertificate> {
    const END: &str = "-----END PRIVATE KEY-----";
    let identity = Identity::generate()?;
    let pem = identity.to_pem()?;
    let start = pem.find("-----BEGIN PRIVATE KEY-----").ok_or("no key")?;
    let end = pem.find(END).ok_or("no key")? + END.len();
    let private_key = pem.get(start..end).ok_or("no key")?.as_bytes().to_vec();
    Ok(DtlsCertificate { certificate: identity.certificate_der().to_vec(), private_key })
}
