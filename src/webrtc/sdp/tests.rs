//! Browsers' descriptions read, ours written and read back, and the table of what is refused.

use std::net::SocketAddr;

use narrowboat_sctp::testing::Random;

use super::setup::Setup;
use super::vectors::{
    CHROMIUM_ANSWER, CHROMIUM_OFFER, CHROMIUM_OFFER_SNAP, FIREFOX_ANSWER, FIREFOX_OFFER, MAX_BUNDLE_OFFER,
};
use super::*;
use crate::webrtc::dtls::SetupRole;
use crate::webrtc::ice::Credentials;
use crate::webrtc::{CertificateHash, FingerprintError};

const FINGERPRINT: &str =
    "sha-256 02:C7:55:E0:75:35:17:65:A7:A4:CD:59:73:8D:13:5F:0C:91:67:D0:6F:C1:7A:C7:41:7E:F5:5A:39:2F:89:13";

/// Calls with what we say in these tests.
pub(super) fn with_local<T>(addresses: &[&str], sctp_init: Option<&[u8]>, call: impl Fn(&Local<'_>) -> T) -> T {
    let addresses: Vec<SocketAddr> = addresses.iter().map(|text| text.parse().expect("an address")).collect();
    let credentials = Credentials::new("L49BtKw2", "Z4l9G5Vi5hsBo6rfUfzT1RRM").expect("valid");
    call(&Local {
        credentials: &credentials,
        fingerprint: FINGERPRINT.parse().expect("a fingerprint"),
        addresses: &addresses,
        sctp_port: 5000,
        max_message_size: 262_144,
        sctp_init,
        nonce: [0xFF; 16],
        version: 1,
    })
}

pub(super) fn answer_to(offer: &str, role: SetupRole) -> String {
    let offer = OfferDescription::parse(offer).expect("an offer");
    with_local(&["127.0.0.1:46153"], None, |local| answer(&offer, role, local))
}

#[test]
fn the_browsers_offers_are_read() {
    for (text, ufrag, pwd, max_message_size) in [
        (CHROMIUM_OFFER, "EJ/U", "6vVQ0Sf26fAsetCtwoo+QJrd", 262_144),
        (FIREFOX_OFFER, "b3738f1f", "185ea99d8876ea6b74fdee825a085f2c", 1_073_741_823),
    ] {
        let offer = OfferDescription::parse(text).expect("an offer");
        assert_eq!(
            OfferDescription::parse(&text.replace('\n', "\r\n")).as_ref(),
            Ok(&offer),
            "with the line ends of the wire"
        );
        assert_eq!((offer.remote.credentials.ufrag(), offer.remote.credentials.pwd()), (ufrag, pwd));
        assert_eq!((offer.remote.sctp_port, offer.remote.max_message_size), (5000, max_message_size));
        assert_eq!((offer.setup, offer.remote.sctp_init), (Setup::ActPass, None));
        let written = text.lines().find_map(|line| line.strip_prefix("a=fingerprint:")).expect("a fingerprint");
        assert_eq!(offer.remote.fingerprints, [CertificateHash::parse(written).expect("a hash")]);
        assert!(offer.is_bundled && offer.tagged.is_none() && offer.sections.len() == 1);
        assert!(offer.remote.session.is_some() && offer.remote.ignored.is_empty());
    }
}

#[test]
fn the_browsers_answers_are_read() {
    // They answered offers whose section was called 0, as ours is.
    for (text, ufrag) in [(CHROMIUM_ANSWER, "mde+"), (FIREFOX_ANSWER, "123b5c63")] {
        let answer = AnswerDescription::parse(text).expect("an answer");
        assert_eq!((answer.remote.credentials.ufrag(), answer.role), (ufrag, SetupRole::Passive));
        let passive = AnswerDescription::parse(&text.replace("setup:active", "setup:passive")).expect("an answer");
        assert_eq!(passive.role, SetupRole::Active);
    }
}

#[test]
fn the_init_chunk_of_snap_is_read_and_written_back() {
    let offer = OfferDescription::parse(CHROMIUM_OFFER_SNAP).expect("an offer");
    let init = offer.remote.sctp_init.clone().expect("an INIT");
    assert_eq!(init[..8], [1, 0, 0, 30, 0x98, 0x47, 0x93, 0x89]);
    let written = with_local(&[], Some(&init), |local| answer(&offer, SetupRole::Passive, local));
    assert!(written.contains("\r\na=sctp-init:AQAAHphHk4kAUAAA/////yqjr1fAAAAEgAgABoLA\r\n"), "{written}");
    // Of other lengths base64 may be padded, or not.
    for (text, len) in [("AQAAHpg=", 5), ("AQAAHpg", 5), ("AQAAHg==", 4), ("AQAAHg", 4)] {
        let text = CHROMIUM_OFFER_SNAP.replace("AQAAHphHk4kAUAAA/////yqjr1fAAAAEgAgABoLA", text);
        let offer = OfferDescription::parse(&text).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(offer.remote.sctp_init.map(|init| init.len()), Some(len));
    }
}

#[test]
fn our_answer_is_what_a_browser_took_from_a_lite_server() {
    let expected = "v=0
o=- 9223372036854775807 1 IN IP4 127.0.0.1
s=-
t=0 0
a=ice-lite
a=ice-options:ice2
a=group:BUNDLE 0
m=application 46153 UDP/DTLS/SCTP webrtc-datachannel
c=IN IP4 127.0.0.1
a=mid:0
a=ice-ufrag:L49BtKw2
a=ice-pwd:Z4l9G5Vi5hsBo6rfUfzT1RRM
a=fingerprint:sha-256 02:C7:55:E0:75:35:17:65:A7:A4:CD:59:73:8D:13:5F:0C:91:67:D0:6F:C1:7A:C7:41:7E:F5:5A:39:2F:89:13
a=setup:passive
a=sctp-port:5000
a=max-message-size:262144
a=candidate:1 1 udp 2130706431 127.0.0.1 46153 typ host
a=end-of-candidates
";
    assert_eq!(answer_to(CHROMIUM_OFFER, SetupRole::Passive).replace("\r\n", "\n"), expected);
    let active = answer_to(FIREFOX_OFFER, SetupRole::Active);
    assert_eq!(active.replace("\r\n", "\n"), expected.replace("setup:passive", "setup:active"));
    assert!(active.lines().count() == active.matches("\r\n").count(), "every line ends with CR LF");
}

#[test]
fn every_address_is_a_candidate_and_the_default_one_is_ipv4() {
    let addresses = ["[2001:db8::1]:4433", "192.0.2.1:4433", "127.0.0.1:4433"];
    let sdp = with_local(&addresses, None, offer);
    let candidates: Vec<&str> = sdp.lines().filter(|line| line.starts_with("a=candidate:")).collect();
    assert_eq!(
        candidates,
        [
            "a=candidate:1 1 udp 2130706431 2001:db8::1 4433 typ host",
            "a=candidate:2 1 udp 2130706175 192.0.2.1 4433 typ host",
            "a=candidate:3 1 udp 2130705919 127.0.0.1 4433 typ host",
        ]
    );
    assert!(sdp.contains("m=application 4433 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 192.0.2.1\r\n"));
    let sdp = with_local(&addresses[..1], None, offer);
    assert!(sdp.contains("m=application 4433 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP6 2001:db8::1\r\n"));
    let sdp = with_local(&[], None, offer);
    assert!(sdp.contains("m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\n"));
}

#[test]
fn our_offer_and_answer_read_back_as_they_were_meant() {
    let init = [1, 0, 0, 20];
    let text = with_local(&["127.0.0.1:1"], Some(&init), |local| {
        offer(&Local { max_message_size: MAX_MESSAGE_SIZE_ANY, ..local.clone() })
    });
    assert!(text.contains("a=setup:actpass\r\n") && text.contains("a=max-message-size:0\r\n"), "{text}");
    assert!(text.contains("a=tls-id:ffffffffffffffffffffffffffffffff\r\n"), "{text}");
    // Nobody reads his own; without `ice-lite` it could be anybody's.
    let read = OfferDescription::parse(&text.replace("a=ice-lite\r\n", "")).expect("an offer");
    assert_eq!(read.setup, Setup::ActPass);
    assert_eq!(read.remote.max_message_size, MAX_MESSAGE_SIZE_ANY);
    assert_eq!(read.remote.sctp_init.as_deref(), Some(&init[..]));
    let reply = with_local(&["127.0.0.1:1"], None, |local| answer(&read, SetupRole::Active, local));
    assert!(reply.contains("a=tls-id:"), "{reply}");
    let reply = AnswerDescription::parse(&reply.replace("a=ice-lite\r\n", "")).expect("an answer");
    assert_eq!((reply.role, reply.remote.max_message_size), (SetupRole::Passive, 262_144));
    assert_eq!(reply.remote.credentials.ufrag(), "L49BtKw2");
}

#[test]
fn the_answerer_takes_the_role_that_the_offer_leaves() {
    for (setup, preferred, expected) in [
        ("actpass", SetupRole::Passive, SetupRole::Passive),
        ("actpass", SetupRole::Active, SetupRole::Active),
        ("active", SetupRole::Active, SetupRole::Passive),
        ("passive", SetupRole::Passive, SetupRole::Active),
    ] {
        let offer = OfferDescription::parse(&CHROMIUM_OFFER.replace("actpass", setup)).expect("an offer");
        assert_eq!(offer.setup.answered(preferred), expected, "{setup}");
    }
}

#[test]
fn without_a_bundle_or_a_mid_the_answer_has_none_either() {
    let no_bundle = CHROMIUM_OFFER.replace("a=group:BUNDLE 0\n", "");
    assert!(!answer_to(&no_bundle, SetupRole::Passive).contains("BUNDLE"));
    let no_mid = no_bundle.replace("a=mid:0\n", "");
    assert!(!answer_to(&no_mid, SetupRole::Passive).contains("a=mid"));
    let named = CHROMIUM_OFFER.replace("mid:0", "mid:data").replace("BUNDLE 0", "BUNDLE data");
    let sdp = answer_to(&named, SetupRole::Passive);
    assert!(sdp.contains("a=mid:data\r\n") && sdp.contains("a=group:BUNDLE data\r\n"));
}

#[test]
fn credentials_and_fingerprints_may_stand_for_the_session_and_those_of_the_section_count_first() {
    let lines = ["a=ice-ufrag:EJ/U\n", "a=ice-pwd:6vVQ0Sf26fAsetCtwoo+QJrd\n"];
    let mut moved = CHROMIUM_OFFER.to_owned();
    for line in lines {
        moved = moved.replace(line, "").replace("t=0 0\n", &format!("t=0 0\n{line}"));
    }
    assert_eq!(OfferDescription::parse(&moved), OfferDescription::parse(CHROMIUM_OFFER));
    let both = CHROMIUM_OFFER.replace("t=0 0\n", "t=0 0\na=ice-ufrag:else\n");
    assert_eq!(OfferDescription::parse(&both), OfferDescription::parse(CHROMIUM_OFFER));
}

#[test]
fn several_fingerprints_are_kept_and_those_of_unknown_functions_left_out() {
    let sha_1 = "a=fingerprint:sha-1 4A:AD:B9:B1:3F:82:18:3B:54:02:12:DF:3E:5D:49:6B:19:E5:7C:AB\n";
    let more = CHROMIUM_OFFER.replace("a=setup", &format!("a=fingerprint:{FINGERPRINT}\n{sha_1}a=setup"));
    let offer = OfferDescription::parse(&more).expect("an offer");
    assert_eq!(offer.remote.fingerprints.len(), 2);
    assert_eq!(offer.remote.fingerprints[1], CertificateHash::parse(FINGERPRINT).expect("a hash"));
    assert_eq!(offer.remote.ignored.len(), 1);
}

#[test]
fn a_message_size_that_is_not_given_is_64_kib_and_zero_is_any() {
    let size = |line: &str| {
        let text = CHROMIUM_OFFER.replace("a=max-message-size:262144\n", line);
        OfferDescription::parse(&text).map(|offer| offer.remote.max_message_size)
    };
    assert_eq!(size(""), Ok(65_536));
    assert_eq!(size("a=max-message-size:0\n"), Ok(MAX_MESSAGE_SIZE_ANY));
    assert_eq!(size("a=max-message-size:1\n"), Ok(1));
    assert_eq!(size("a=max-message-size:18446744073709551614\n"), Ok(u64::MAX - 1));
}

#[test]
fn candidates_are_not_read_so_late_foreign_and_broken_ones_do_no_harm() {
    let more =
        "a=candidate:1 1 udp 1 4d1a3b2c.local 5 typ host\na=candidate:nonsense\na=end-of-candidates\na=unknown\n";
    assert_eq!(OfferDescription::parse(&format!("{CHROMIUM_OFFER}{more}")), OfferDescription::parse(CHROMIUM_OFFER));
}

/// A change to the Chromium offer, the line that the error names, and the error.
#[test]
fn what_is_wrong_is_named_with_its_line() {
    use SdpProblem as P;
    let short = FINGERPRINT.replace("02:C7:", "");
    let sha_1 = "a=fingerprint:sha-1 4A:AD:B9:B1:3F:82:18:3B:54:02:12:DF:3E:5D:49:6B:19:E5:7C:AB";
    let print =
        "sha-256 CF:D4:37:5D:70:14:36:99:5C:80:5B:75:C4:CB:6A:DD:0C:48:2C:6D:EF:EA:E1:58:63:E8:E1:6D:3D:78:83:72";
    let m = "m=application 9 UDP/DTLS/SCTP webrtc-datachannel";
    for (from, to, line, problem) in [
        ("v=0", "v=1", 1, P::Version),
        ("v=0\n", "", 1, P::MissingVersion),
        ("v=0\n", "\nv=0\n", 1, P::NotALine),
        ("v=0\n", "{\"sdp\":\"v=0\n", 1, P::NotALine),
        ("s=-\n", "s=-\n\n", 4, P::NotALine),
        ("s=-\n", "s=-\n =x\n", 4, P::NotALine),
        ("s=-\n", "s=-\nS=x\n", 4, P::NotALine),
        ("s=-\n", "s=a\rb\n", 3, P::NotALine),
        ("v=0\n", "s=-\nv=0\n", 1, P::MissingVersion),
        (m, "m=application", 8, P::Media),
        (m, "m=application 70000 UDP/DTLS/SCTP webrtc-datachannel", 8, P::Media),
        (m, "m=audio 9 UDP/TLS/RTP/SAVPF 111", 17, P::NoDataChannels),
        (m, "m=application 9 SCTP webrtc-datachannel", 8, P::Protocol("SCTP webrtc-datachannel".to_owned())),
        (m, "m=application 9 DTLS/SCTP 5000", 8, P::Protocol("DTLS/SCTP 5000".to_owned())),
        (m, "m=application 9 UDP/DTLS/SCTP other", 8, P::Protocol("UDP/DTLS/SCTP other".to_owned())),
        (m, "m=application 9 UDP/DTLS/SCTP", 8, P::Protocol("UDP/DTLS/SCTP ".to_owned())),
        (m, "m=application 0 UDP/DTLS/SCTP webrtc-datachannel", 8, P::Rejected),
        ("a=ice-ufrag:EJ/U\n", "", 8, P::Missing("ice-ufrag")),
        ("a=ice-ufrag:EJ/U\n", "a=ice-ufrag:EJ/U\na=ice-ufrag:EJ/V\n", 11, P::Twice("ice-ufrag")),
        ("EJ/U", "EJ/", 10, P::IceUfrag),
        ("EJ/U", "EJ U", 10, P::IceUfrag),
        ("6vVQ0Sf26fAsetCtwoo+QJrd", "6vVQ0Sf26fAsetCtwoo+Q", 11, P::IcePwd),
        ("t=0 0\n", "t=0 0\na=ice-lite\n", 5, P::BothLite),
        ("a=fingerprint:", "a=finger:", 8, P::Missing("fingerprint")),
        (print, &short, 13, P::Fingerprint(FingerprintError::Spelling)),
        (print, "sha-256", 13, P::Fingerprint(FingerprintError::Spelling)),
        (&format!("a=fingerprint:{print}"), sha_1, 13, P::NoKnownFingerprint),
        ("actpass", "holdconn", 14, P::Setup("holdconn".to_owned())),
        ("mid:0", "mid:", 15, P::Mid),
        ("mid:0", "mid:0 1", 15, P::Mid),
        ("sctp-port:5000", "sctp-port:0", 16, P::SctpPort),
        ("sctp-port:5000", "sctp-port:", 16, P::SctpPort),
        ("sctp-port:5000", "sctp-port:65536", 16, P::SctpPort),
        ("sctp-port:5000", "sctp-port:+5000", 16, P::SctpPort),
        ("size:262144", "size:", 17, P::MaxMessageSize),
        ("size:262144", "size:-1", 17, P::MaxMessageSize),
        ("size:262144", "size:18446744073709551616", 17, P::MaxMessageSize),
    ] {
        assert_eq!(CHROMIUM_OFFER.matches(from).count(), 1, "{from:?} is there once");
        let text = CHROMIUM_OFFER.replace(from, to);
        let error = OfferDescription::parse(&text).expect_err(to);
        assert_eq!((error.line(), error.problem()), (line, &problem), "{from:?} replaced by {to:?}");
        assert!(error.to_string().starts_with(&format!("line {line} of the SDP: ")), "{error}");
    }
}

#[test]
fn an_answer_that_is_not_one_to_our_offer_is_refused() {
    for (from, to, line, problem) in [
        ("mid:0", "mid:1", 7, SdpProblem::NotOurs("0")),
        ("a=mid:0\n", "", 7, SdpProblem::NotOurs("0")),
        ("m=application 9", "m=application 0", 7, SdpProblem::Rejected),
        ("setup:active", "setup:actpass", 13, SdpProblem::SetupUndecided),
        ("5000\n", "5000\nm=audio 0 UDP/TLS/RTP/SAVPF 0\n", 7, SdpProblem::NotOurs("0")),
    ] {
        let error = AnswerDescription::parse(&CHROMIUM_ANSWER.replace(from, to)).expect_err(to);
        assert_eq!((error.line(), error.problem()), (line, &problem), "{from:?} replaced by {to:?}");
    }
}

#[test]
fn a_description_that_is_empty_or_too_long_is_refused() {
    assert_eq!(OfferDescription::parse("").expect_err("empty").problem(), &SdpProblem::NotALine);
    assert_eq!(OfferDescription::parse("v=0").expect_err("short").problem(), &SdpProblem::NoDataChannels);
    let fits = format!("{CHROMIUM_OFFER}a={}\n", "x".repeat(LEN_MAX - CHROMIUM_OFFER.len() - 3));
    assert!(fits.len() == LEN_MAX && OfferDescription::parse(&fits).is_ok());
    assert_eq!(OfferDescription::parse(&format!("{fits}\n")).expect_err("long").problem(), &SdpProblem::TooLong);
}

/// Applies damage that can happen to a text on its way, drawn from a seed. The result is an error or an offer that can
/// be answered.
#[test]
fn damaged_descriptions_never_panic_and_what_is_taken_can_be_answered() {
    let mut numbers = Random(1);
    let mut random = |below| numbers.index(below);
    let originals = [CHROMIUM_OFFER, CHROMIUM_OFFER_SNAP, FIREFOX_OFFER, MAX_BUNDLE_OFFER, CHROMIUM_ANSWER];
    let (mut taken, mut refused) = (0, 0);
    for round in 0..4_000 {
        let mut lines: Vec<String> = originals[round % originals.len()].lines().map(str::to_owned).collect();
        for _ in 0..=random(3) {
            let (at, other) = (random(lines.len()), random(lines.len()));
            match random(6) {
                0 => drop(lines.remove(at)),
                1 => lines.insert(at, lines[other].clone()),
                2 => lines.swap(at, other),
                3 => {
                    let len = random(lines[at].len() + 1);
                    lines[at].truncate(len);
                }
                4 => {
                    let position = random(lines[at].len() + 1);
                    let character = ['\0', ' ', ':', '=', '0', '-', 'é', '\r', '/', 'a'][random(10)];
                    lines[at].insert(position, character);
                }
                _ => lines[at] = lines[at].replace(char::from(b'0' + u8::try_from(random(10)).expect("a digit")), ""),
            }
            if lines.is_empty() || lines.iter().any(|line| !line.is_ascii()) {
                break;
            }
        }
        let text = lines.join("\n");
        AnswerDescription::parse(&text).ok();
        match OfferDescription::parse(&text) {
            Ok(offer) => {
                taken += 1;
                let reply = with_local(&["127.0.0.1:1"], None, |local| answer(&offer, SetupRole::Passive, local));
                assert_eq!(reply.matches("\r\nm=").count(), text.matches("\nm=").count(), "{text}");
            }
            Err(error) => {
                refused += 1;
                assert!((1..=lines.len().max(1) + 1).contains(&error.line()), "{error}");
            }
        }
    }
    assert!(taken > 500 && refused > 500, "{taken} taken, {refused} refused");
}
