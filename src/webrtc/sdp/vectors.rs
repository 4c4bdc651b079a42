//! Offers and answers that browsers made for one data channel, as they were. Lines end with LF here, with CR LF there.

/// Chromium 156.
pub(super) const CHROMIUM_OFFER: &str = "\
v=0
o=- 3710104770252722952 2 IN IP4 127.0.0.1
s=-
t=0 0
a=group:BUNDLE 0
a=extmap-allow-mixed
a=msid-semantic: WMS
m=application 9 UDP/DTLS/SCTP webrtc-datachannel
c=IN IP4 0.0.0.0
a=ice-ufrag:EJ/U
a=ice-pwd:6vVQ0Sf26fAsetCtwoo+QJrd
a=ice-options:trickle
a=fingerprint:sha-256 CF:D4:37:5D:70:14:36:99:5C:80:5B:75:C4:CB:6A:DD:0C:48:2C:6D:EF:EA:E1:58:63:E8:E1:6D:3D:78:83:72
a=setup:actpass
a=mid:0
a=sctp-port:5000
a=max-message-size:262144
";

/// Chromium 156.
pub(super) const CHROMIUM_ANSWER: &str = "\
v=0
o=- 8427082768759173308 2 IN IP4 127.0.0.1
s=-
t=0 0
a=group:BUNDLE 0
a=msid-semantic: WMS
m=application 9 UDP/DTLS/SCTP webrtc-datachannel
c=IN IP4 0.0.0.0
a=ice-ufrag:mde+
a=ice-pwd:GiAzW8Ed5lINHbyYe5iXI9rd
a=ice-options:trickle
a=fingerprint:sha-256 BE:EC:B5:67:E4:AE:DB:E2:F5:44:12:8E:07:08:7E:06:86:BB:3F:DD:BB:F7:06:D4:B6:5A:0B:20:50:72:BB:21
a=setup:active
a=mid:0
a=sctp-port:5000
a=max-message-size:262144
";

/// Chromium 156 with its field trial of SNAP.
pub(super) const CHROMIUM_OFFER_SNAP: &str = "\
v=0
o=- 1324433789441212214 2 IN IP4 127.0.0.1
s=-
t=0 0
a=group:BUNDLE 0
a=extmap-allow-mixed
a=msid-semantic: WMS
m=application 9 UDP/DTLS/SCTP webrtc-datachannel
c=IN IP4 0.0.0.0
a=ice-ufrag:PHc9
a=ice-pwd:eqlK/dUeMqSetCP8ysDsZDV5
a=ice-options:trickle
a=fingerprint:sha-256 A0:34:BC:04:01:D7:39:54:C3:B1:89:13:30:B1:34:EC:13:A8:8A:7D:76:9A:C3:6A:24:01:79:8E:81:92:5E:A8
a=setup:actpass
a=mid:0
a=sctp-port:5000
a=max-message-size:262144
a=sctp-init:AQAAHphHk4kAUAAA/////yqjr1fAAAAEgAgABoLA
";

/// Firefox ESR 153.
pub(super) const FIREFOX_OFFER: &str = "\
v=0
o=mozilla...THIS_IS_SDPARTA-99.0 69825134188361907 0 IN IP4 0.0.0.0
s=-
t=0 0
a=sendrecv
a=fingerprint:sha-256 4D:EF:E9:9B:37:B8:C7:63:88:D1:13:C5:99:F4:2D:D6:0B:34:7B:1C:0C:3C:D3:E0:6C:62:1C:28:BA:ED:6E:ED
a=group:BUNDLE 0
a=ice-options:trickle
a=msid-semantic:WMS *
m=application 49036 UDP/DTLS/SCTP webrtc-datachannel
c=IN IP4 127.0.0.1
a=candidate:0 1 UDP 2122187007 127.0.0.1 49036 typ host
a=candidate:1 1 UDP 2122252543 ::1 39980 typ host
a=candidate:2 1 TCP 2105458943 127.0.0.1 9 typ host tcptype active
a=candidate:3 1 TCP 2105524479 ::1 9 typ host tcptype active
a=sendrecv
a=end-of-candidates
a=ice-pwd:185ea99d8876ea6b74fdee825a085f2c
a=ice-ufrag:b3738f1f
a=mid:0
a=setup:actpass
a=sctp-port:5000
a=max-message-size:1073741823
";

/// Firefox ESR 153.
pub(super) const FIREFOX_ANSWER: &str = "\
v=0
o=mozilla...THIS_IS_SDPARTA-99.0 8954080124414743212 0 IN IP4 0.0.0.0
s=-
t=0 0
a=sendrecv
a=fingerprint:sha-256 44:23:91:A8:06:ED:DC:7C:92:30:39:63:60:E6:4B:20:76:BE:6F:9F:A6:79:F2:3E:55:DB:70:FE:D8:45:88:7A
a=group:BUNDLE 0
a=ice-options:trickle
a=msid-semantic:WMS *
m=application 54617 UDP/DTLS/SCTP webrtc-datachannel
c=IN IP4 127.0.0.1
a=candidate:0 1 UDP 2122187007 127.0.0.1 54617 typ host
a=candidate:1 1 UDP 2122252543 ::1 57190 typ host
a=candidate:2 1 TCP 2105458943 127.0.0.1 9 typ host tcptype active
a=candidate:3 1 TCP 2105524479 ::1 9 typ host tcptype active
a=sendrecv
a=end-of-candidates
a=ice-pwd:d9e121cf233726914da3345170192d12
a=ice-ufrag:123b5c63
a=mid:0
a=setup:active
a=sctp-port:5000
a=max-message-size:1073741823
";

/// Offer of a browser that has a camera, too, and puts everything into one bundle: the section for data channels shares
/// the transport of the first.
pub(super) const MAX_BUNDLE_OFFER: &str = "\
v=0
o=- 4611731400430051336 2 IN IP4 127.0.0.1
s=-
t=0 0
a=group:BUNDLE 0 1
m=audio 9 UDP/TLS/RTP/SAVPF 111 63
c=IN IP4 0.0.0.0
a=rtcp:9 IN IP4 0.0.0.0
a=ice-ufrag:mde+
a=ice-pwd:GiAzW8Ed5lINHbyYe5iXI9rd
a=fingerprint:sha-256 BE:EC:B5:67:E4:AE:DB:E2:F5:44:12:8E:07:08:7E:06:86:BB:3F:DD:BB:F7:06:D4:B6:5A:0B:20:50:72:BB:21
a=setup:actpass
a=mid:0
a=sendrecv
a=rtpmap:111 opus/48000/2
m=application 0 UDP/DTLS/SCTP webrtc-datachannel
c=IN IP4 0.0.0.0
a=bundle-only
a=mid:1
a=sctp-port:5000
a=max-message-size:262144
";
