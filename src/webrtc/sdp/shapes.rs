//! Offers as other stacks write them and as pages edit them: each is answered, and what it says is read right.

use super::setup::Setup;
use super::tests::{answer_to, with_local};
use super::vectors::{CHROMIUM_OFFER, FIREFOX_OFFER, MAX_BUNDLE_OFFER};
use super::*;
use crate::webrtc::CertificateHash;
use crate::webrtc::dtls::SetupRole;

const SHA_384: &str = "a=fingerprint:SHA-384 38:B0:60:A7:51:AC:96:38:4C:D9:32:7E:B1:B1:E3:6A:21:FD:B7:11:14:BE:07:43:4C:\
    0C:C7:BF:63:F6:E1:DA:27:4E:DE:BF:E7:6F:65:FB:D5:1A:D2:F1:48:98:B9:5B\n";
const SHA_512: &str = "a=fingerprint:sha-512 CF:83:E1:35:7E:EF:B8:BD:F1:54:28:50:D6:6D:80:07:D6:20:E4:05:0B:57:15:DC:83:\
    F4:A9:21:D3:6C:E9:CE:47:D0:D1:3C:5D:85:F2:B0:FF:83:18:D2:87:7E:EC:2F:63:B9:31:BD:47:41:7A:81:A5:38:32:7A:F9:27:DA:\
    3E\n";

/// Returns the Chromium offer with a text replaced that is there once.
fn edited(from: &str, to: &str) -> String {
    assert_eq!(CHROMIUM_OFFER.matches(from).count(), 1, "{from:?} is there once");
    CHROMIUM_OFFER.replace(from, to)
}

fn read(text: &str) -> OfferDescription {
    OfferDescription::parse(text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// Returns the line with the fingerprint of the Chromium offer.
fn sha_256() -> String {
    let line = CHROMIUM_OFFER.lines().find(|line| line.starts_with("a=fingerprint")).expect("a fingerprint");
    format!("{line}\n")
}

#[test]
fn what_is_not_needed_refuses_nothing() {
    let original = read(CHROMIUM_OFFER);
    // The replaced text, its replacement, and the number of lines that are counted as ignored.
    for (from, to, ignored) in [
        ("s=-\n", "", 0),
        ("t=0 0\n", "", 0),
        ("s=-\n", "a=x\ns=-\n", 0),
        ("t=0 0\na=group:BUNDLE 0\n", "a=group:BUNDLE 0\nt=0 0\n", 0),
        ("a=mid:0\n", "a=mid:0\nb=AS:30\nc=IN IP4 0.0.0.0\n", 0),
        ("a=mid:0\n", "a=mid:0\ns=-\n", 0),
        ("s=-\n", "s=-\nx=y\n", 1),
        ("a=setup:actpass\n", "a=setup:actpass  \n", 0),
        ("a=setup:actpass\n", "", 0),
        ("a=setup:actpass\n", "a=setup:ACTPASS\n", 0),
        ("a=setup:actpass\n", "a=setup:actpass\na=setup:actpass\n", 0),
        ("a=sctp-port:5000\n", "", 0),
        ("a=sctp-port:5000\n", "a=sctp-port:05000 \t\n", 0),
        ("size:262144\n", "size:262144\n\n", 0),
        ("size:262144\n", "size:262144\r\n\r\n  \r\n", 0),
        ("size:262144\n", "size:0262144\n", 0),
        ("size:262144\n", "size:262144\na=candidate:\na=ssrc:x\na=ice-options\n", 0),
        ("size:262144\n", "size:262144\na=sctp-init:\n", 1),
        ("size:262144\n", "size:262144\na=sctp-init:AQ AA\n", 1),
        ("size:262144\n", "size:262144\na=sctp-init:AQAAH===\n", 1),
        ("size:262144\n", "size:262144\na=sctp-init:{\"chunk\":1}\n", 1),
        ("a=setup", "a=fingerprint:sha-256 AA:BB\na=setup", 1),
        ("a=setup", "a=fingerprint:md5 AA:BB\na=setup", 1),
        ("webrtc-datachannel\n", "webrtc-datachannel \n", 0),
        ("m=application 9 ", "m=application  9 ", 0),
        ("9 UDP/DTLS/SCTP", "9 TCP/DTLS/SCTP", 0),
        ("9 UDP/DTLS/SCTP webrtc-datachannel", "9 udp/dtls/sctp WebRTC-DataChannel", 0),
    ] {
        let mut offer = read(&edited(from, to));
        let count = std::mem::take(&mut offer.remote.ignored).len();
        assert_eq!(count, ignored, "lines ignored, {from:?} replaced by {to:?}");
        offer.sections.clone_from(&original.sections);
        assert_eq!(offer, original, "{from:?} replaced by {to:?}");
        let answer = answer_to(&edited(from, to), SetupRole::Passive);
        assert!(answer.contains("m=application 46153 UDP/DTLS/SCTP webrtc-datachannel\r\n"), "{answer}");
    }
}

#[test]
fn the_hashes_of_one_function_count_the_preferred_one_that_is_there() {
    let line = sha_256();
    let hash = |line: &str| CertificateHash::parse(line.trim().trim_start_matches("a=fingerprint:")).expect("a hash");
    for (lines, expected) in [
        (SHA_384.to_owned(), vec![hash(SHA_384)]),
        (SHA_512.to_owned(), vec![hash(SHA_512)]),
        (format!("{SHA_512}{SHA_384}"), vec![hash(SHA_384)]),
        (format!("{SHA_512}{line}{SHA_384}"), vec![hash(&line)]),
        (format!("{SHA_512}{}", line.replace("sha-256", "sha-1")), vec![hash(SHA_512)]),
    ] {
        assert_eq!(read(&edited(&line, &lines)).remote.fingerprints, expected, "{lines}");
    }
}

#[test]
fn an_offer_in_the_form_of_old_drafts_is_answered_in_that_form() {
    let m = "m=application 9 UDP/DTLS/SCTP webrtc-datachannel";
    let old = edited(m, "m=application 9 DTLS/SCTP 5001")
        .replace("a=sctp-port:5000\n", "a=sctpmap:5001 webrtc-datachannel 1024\n");
    assert_eq!(read(&old).remote.sctp_port, 5001);
    let answer = answer_to(&old, SetupRole::Passive);
    assert!(answer.contains("\r\nm=application 46153 DTLS/SCTP 5000\r\n"), "{answer}");
    assert!(answer.contains("\r\na=sctpmap:5000 webrtc-datachannel 65535\r\n"), "{answer}");
    assert!(!answer.contains("sctp-port"), "{answer}");
    // Another map, or none, is another application.
    for map in ["", "a=sctpmap:5001 other 1024\n", "a=sctpmap:5000 webrtc-datachannel 1024\n"] {
        let error =
            OfferDescription::parse(&old.replace("a=sctpmap:5001 webrtc-datachannel 1024\n", map)).expect_err("no map");
        assert_eq!(error.problem(), &SdpProblem::Protocol("DTLS/SCTP 5001".to_owned()), "{map}");
    }
}

#[test]
fn a_rejected_section_for_data_channels_gives_way_to_the_next() {
    let (session, section) = CHROMIUM_OFFER.split_at(CHROMIUM_OFFER.find("m=").expect("a section"));
    let rejected = "m=application 0 UDP/DTLS/SCTP webrtc-datachannel\nc=IN IP4 0.0.0.0\na=mid:old\n";
    let old_form = "m=application 9 DTLS/SCTP 5000\nc=IN IP4 0.0.0.0\na=mid:old\n";
    for first in [rejected, old_form] {
        let answer = answer_to(&format!("{session}{first}{section}"), SetupRole::Passive);
        let (first, second) = answer.split_at(answer.rfind("m=application").expect("a section"));
        assert!(first.contains("m=application 0 ") && first.contains("a=mid:old\r\n"), "{answer}");
        assert!(first.contains("a=group:BUNDLE 0\r\n"), "{answer}");
        assert!(second.starts_with("m=application 46153 ") && second.contains("a=mid:0\r\n"), "{answer}");
    }
    // Two that could be taken: the first is, and the other one is rejected.
    let twice = format!("{CHROMIUM_OFFER}{}", section.replace("mid:0", "mid:1"));
    let answer = answer_to(&twice, SetupRole::Passive);
    assert!(answer.find("m=application 46153").expect("taken") < answer.find("m=application 0").expect("rejected"));
    let none = OfferDescription::parse(&format!("{session}{rejected}")).expect_err("rejected");
    assert_eq!(none.problem(), &SdpProblem::Rejected);
}

#[test]
fn credentials_may_have_characters_that_the_grammar_does_not_know() {
    let odd = edited("EJ/U", "ä_-:=").replace("6vVQ0Sf26fAsetCtwoo+QJrd", "~!@#$%^&*()_{}|:<>?-=.,");
    let credentials = read(&odd).remote.credentials;
    assert_eq!((credentials.ufrag(), credentials.pwd()), ("ä_-:=", "~!@#$%^&*()_{}|:<>?-=.,"));
    assert_eq!(
        read(&edited("mid:0", "mid:{\"é\"}").replace("a=group:BUNDLE 0\n", "")).sections[0].mid.as_deref(),
        Some("{\"é\"}")
    );
}

#[test]
fn an_answer_that_does_not_say_who_begins_is_active() {
    let ours = with_local(&["127.0.0.1:1"], None, offer);
    assert!(ours.contains("a=setup:actpass\r\n"));
    for setup in ["", "a=setup:ACTIVE\n"] {
        let answer = CHROMIUM_OFFER.replace("a=setup:actpass\n", setup);
        assert_eq!(AnswerDescription::parse(&answer).expect("an answer").role, SetupRole::Passive, "{setup:?}");
    }
}

#[test]
fn a_session_is_known_by_the_origin_without_its_version() {
    let session = |origin: &str| read(&edited("3710104770252722952 2", origin)).remote.session;
    assert!(session("3710104770252722952 2").is_some());
    assert_eq!(session("3710104770252722952 3"), session("3710104770252722952 2"));
    assert_ne!(session("3710104770252722953 2"), session("3710104770252722952 2"));
    for handwritten in ["0 0", "1 2", "65535 1", "x 1", "-1 1", "3710104770252722952"] {
        let address = if handwritten.contains(' ') { "" } else { "\ns=" };
        assert_eq!(session(&format!("{handwritten}{address}")), None, "{handwritten}");
    }
    assert_eq!(read(&CHROMIUM_OFFER.replace("o=", "i=")).remote.session, None);
}

/// Returns the first line of every section of an answer, each with marks of these attributes.
fn sections(answer: &str) -> Vec<&str> {
    answer.split("\r\nm=").skip(1).collect()
}

#[test]
fn the_section_whose_transport_is_shared_is_accepted_without_media() {
    let answer = answer_to(MAX_BUNDLE_OFFER, SetupRole::Passive);
    assert!(answer.contains("\r\na=group:BUNDLE 0 1\r\n"), "{answer}");
    let [audio, data] = sections(&answer)[..] else { panic!("{answer}") };
    assert!(audio.starts_with("audio 9 UDP/TLS/RTP/SAVPF 111\r\n"), "{audio}");
    for line in
        ["a=mid:0", "a=rtpmap:111 opus/48000/2", "a=rtcp-mux", "a=inactive", "a=setup:passive", "a=end-of-candidates"]
    {
        assert!(audio.lines().any(|found| found == line), "{line} is not in {audio}");
    }
    for name in ["a=ice-ufrag:", "a=ice-pwd:", "a=fingerprint:", "a=candidate:1 "] {
        let of = |section: &str| section.lines().find(|line| line.starts_with(name)).map(str::to_owned);
        assert_eq!(of(audio), of(data), "{name}");
        assert!(of(data).is_some(), "{name}");
    }
    assert!(data.starts_with("application 46153 UDP/DTLS/SCTP webrtc-datachannel\r\n"), "{data}");
    let offer = read(MAX_BUNDLE_OFFER);
    assert_eq!((offer.remote.credentials.ufrag(), offer.setup), ("mde+", Setup::ActPass), "the group's transport");
}

#[test]
fn other_media_are_rejected_in_their_places_and_stay_out_of_the_group() {
    let video = "m=video 0 UDP/TLS/RTP/SAVPF 96\nc=IN IP4 0.0.0.0\na=bundle-only\na=mid:v\na=rtpmap:96 VP8/90000\n";
    let at = MAX_BUNDLE_OFFER.find("m=application").expect("a section");
    let (before, after) = MAX_BUNDLE_OFFER.split_at(at);
    for (offer, data) in [
        (format!("{before}{video}{after}").replace("BUNDLE 0 1", "BUNDLE 0 v 1"), 2),
        (format!("{before}{after}{video}").replace("BUNDLE 0 1", "BUNDLE 0 1 v"), 1),
        (format!("{before}{video}{after}"), 2),
    ] {
        let answer = answer_to(&offer, SetupRole::Passive);
        assert!(answer.contains("\r\na=group:BUNDLE 0 1\r\n"), "{answer}");
        let sections = sections(&answer);
        assert!(sections[data].starts_with("application 46153"), "{answer}");
        let video = sections[3 - data];
        assert!(video.starts_with("video 0 UDP/TLS/RTP/SAVPF 96\r\n") && video.contains("a=mid:v\r\n"), "{answer}");
        assert!(!video.contains("ice-ufrag"), "{answer}");
    }
}

#[test]
fn a_group_whose_first_section_is_for_data_channels_has_no_other() {
    let audio = "m=audio 9 UDP/TLS/RTP/SAVPF 111\nc=IN IP4 0.0.0.0\na=mid:a\na=rtpmap:111 opus/48000/2\n";
    for offer in [
        format!("{}{audio}", CHROMIUM_OFFER.replace("BUNDLE 0", "BUNDLE 0 a")),
        format!("{}{audio}", FIREFOX_OFFER.replace("BUNDLE 0", "BUNDLE 0 a")),
        // A first section that is rejected has no transport to share, nor has one that is not there.
        format!("{}{}", CHROMIUM_OFFER.replace("BUNDLE 0", "BUNDLE a 0"), audio.replace(" 9 ", " 0 ")),
        CHROMIUM_OFFER.replace("BUNDLE 0", "BUNDLE a 0"),
        // Not in one group: each has a transport of its own.
        format!("{}{audio}", CHROMIUM_OFFER.replace("BUNDLE 0", "BUNDLE 0\na=group:BUNDLE a")),
    ] {
        let answer = answer_to(&offer, SetupRole::Passive);
        assert!(answer.contains("\r\na=group:BUNDLE 0\r\n"), "{answer}");
        assert!(!answer.contains("m=audio 9"), "{answer}");
    }
}
