//! Sizes of datagrams with records, and the sizes of packets that follow from them.

use narrowboat_sctp::LowerLayerLimits;

use crate::net::Route;
use crate::webrtc::dtls::PACKET_LEN_MAX;

/// Sizes of datagrams, in bytes: of their payload, the headers of UDP and IP not included.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct DatagramSizes {
    /// Size to start with.
    pub(crate) first: usize,
    /// Largest size to search for.
    pub(crate) max: usize,
}

impl DatagramSizes {
    /// Returns the sizes of packets whose datagrams are `record_overhead` bytes longer, and take this route.
    pub(super) fn limits(self, route: Route, record_overhead: usize) -> LowerLayerLimits {
        let packet_len = |datagram: usize| datagram.saturating_sub(record_overhead);
        LowerLayerLimits {
            mtu: Some(packet_len(self.first)),
            packet_max: packet_len(self.max.max(self.first)).min(PACKET_LEN_MAX),
            overhead: route.headers_len() + record_overhead,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::time::Instant;

    use dimpl::crypto::Dtls12CipherSuite;
    use narrowboat_sctp::AssociationHandle;

    use super::*;
    use crate::webrtc::SecureSession;
    use crate::webrtc::dtls::Versions;
    use crate::webrtc::dtls::tests::link::{ACTIVE, adjusted, connected_to};
    use crate::webrtc::session::tests::context;

    #[test]
    fn packets_are_shorter_than_datagrams_by_the_overhead_and_no_longer_than_a_record() {
        let sizes = DatagramSizes { first: 1172, max: 2048 };
        let limits = |sizes: DatagramSizes, remote: &str, overhead| {
            let remote: SocketAddr = remote.parse().unwrap();
            let LowerLayerLimits { mtu, packet_max, overhead } = sizes.limits(Route { remote, local: None }, overhead);
            (mtu, packet_max, overhead)
        };
        assert_eq!(limits(sizes, "192.0.2.1:1", 22), (Some(1150), 2026, 50));
        assert_eq!(limits(sizes, "[::ffff:192.0.2.1]:1", 37), (Some(1135), 2011, 65));
        assert_eq!(limits(sizes, "[2001:db8::1]:1", 37), (Some(1135), 2011, 85));
        let large = DatagramSizes { first: 9000, max: 65_507 };
        assert_eq!(limits(large, "192.0.2.1:1", 22), (Some(8978), 16_384, 50));
        let falling = DatagramSizes { first: 9000, max: 2048 };
        assert_eq!(limits(falling, "192.0.2.1:1", 22).1, 8978, "what is configured to start with may be sent");
    }

    /// RFC 6347 §4.1, RFC 9147 §4: the bytes around a packet depend on the version and the cipher.
    #[test]
    fn the_association_is_told_once_what_the_records_of_its_connection_leave() {
        const AES: Dtls12CipherSuite = Dtls12CipherSuite::ECDHE_ECDSA_AES128_GCM_SHA256;
        const CHACHA: Dtls12CipherSuite = Dtls12CipherSuite::ECDHE_ECDSA_CHACHA20_POLY1305_SHA256;
        let now = Instant::now();
        for (versions, cipher, overhead) in [
            (Versions::Only12, AES, 13 + 8 + 16),
            (Versions::Only12, CHACHA, 13 + 16),
            (Versions::Only13, AES, 5 + 1 + 16),
        ] {
            let client = adjusted(ACTIVE, versions, |builder| builder.dtls12_cipher_suites(&[cipher]));
            let route = Route { remote: "192.0.2.1:1".parse().unwrap(), local: None };
            let dtls = Box::new(connected_to(client));
            let mut session = SecureSession::direct(now, AssociationHandle(1), context(now), route, dtls);
            let mut records = Vec::new();
            let batch = session.seal(&[7; 2500], 1000, &mut records).unwrap();
            assert_eq!((batch.record_size, records.len()), (1000 + overhead, 2500 + 3 * overhead));
            let limits = batch.new_limits.unwrap();
            assert_eq!((limits.mtu, limits.packet_max), (Some(1172 - overhead), 2048 - overhead));
            assert_eq!(limits.overhead, 28 + overhead);
            records.clear();
            assert_eq!(session.seal(&[7; 1500], 1500, &mut records).unwrap().new_limits, None, "nothing has changed");
            records.clear();
            session.state.route = Some(Route { remote: "[2001:db8::1]:1".parse().unwrap(), local: None });
            let limits = session.seal(&[7; 12], 12, &mut records).unwrap().new_limits.unwrap();
            assert_eq!(limits.overhead, 48 + overhead, "another family of addresses");
        }
    }
}
