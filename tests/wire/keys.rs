//! Whose messages are believed.

use super::{ALPHA, BETA, Node, datagram, packet, reject, serial};
use nullbeat::core::ids::KeyNumber;
use nullbeat::core::message::Body;
use nullbeat::wire::heartbeat::{Codec, Keys, Method, Reject};

fn codec(signing: u8, keys: &[(u8, Method, &str)]) -> Codec {
    let mut all = Keys::new(signing);
    for (number, method, key) in keys {
        all.add(*number, *method, key.as_bytes()).unwrap();
    }
    Node::new(ALPHA, (signing, Method::Crc, "")).codec_with(all)
}

fn both_forms(codec: &Codec) -> [Vec<u8>; 2] {
    let packet = packet(Some(BETA), Some(1), Body::ReqNodes);
    [datagram(codec, &packet), serial(codec, &packet)]
}

#[test]
fn wrong_key_unknown_key_and_wrong_method_are_told_apart() {
    let sender = codec(1, &[(1, Method::Sha1, "right")]);
    for bytes in both_forms(&sender) {
        assert_eq!(reject(&sender, &bytes), None);
        let wrong = codec(1, &[(1, Method::Sha1, "wrong")]);
        assert_eq!(reject(&wrong, &bytes), Some(Reject::BadDigest { number: 1 }));
        let method = codec(1, &[(1, Method::Md5, "right")]);
        assert_eq!(reject(&method, &bytes), Some(Reject::BadDigest { number: 1 }));
        let crc = codec(1, &[(1, Method::Crc, "")]);
        assert_eq!(reject(&crc, &bytes), Some(Reject::BadDigest { number: 1 }));
        let unknown = codec(2, &[(2, Method::Sha1, "right")]);
        assert_eq!(reject(&unknown, &bytes), Some(Reject::UnknownKey { number: 1 }));
    }
}

#[test]
fn a_checksum_does_not_pass_for_a_signature() {
    let forger = codec(1, &[(1, Method::Crc, "")]);
    let receiver = codec(1, &[(1, Method::Sha1, "secret")]);
    for bytes in both_forms(&forger) {
        assert_eq!(reject(&receiver, &bytes), Some(Reject::BadDigest { number: 1 }));
    }
}

#[test]
fn keys_roll_over_one_node_at_a_time() {
    // Both keys on both nodes, one already signs with the new one: 3.0.6 fails here (spec/wire.md 4.4).
    let keys = [(1, Method::Sha1, "old"), (2, Method::Sha1, "new")];
    let (before, after) = (codec(1, &keys), codec(2, &keys));
    for bytes in both_forms(&before) {
        assert_eq!(reject(&after, &bytes), None);
    }
    for bytes in both_forms(&after) {
        assert_eq!(reject(&before, &bytes), None);
    }
    // Then the old one goes.
    let done = codec(2, &keys[1..]);
    for bytes in both_forms(&before) {
        assert_eq!(reject(&done, &bytes), Some(Reject::UnknownKey { number: 1 }));
    }
}

#[test]
fn inner_signature_of_a_datagram_does_not_matter() {
    let receiver = codec(1, &[(1, Method::Crc, "")]);
    let fields: [&[u8]; 5] = [b"(0)t=starting", b"(0)src=beta", b"(0)seq=1", b"(0)ts=1", b"(0)auth=9 nonsense"];
    assert_eq!(reject(&receiver, &super::fields::netstring(&fields)), None);
}

#[test]
fn text_without_signature_is_refused() {
    let receiver = codec(1, &[(1, Method::Crc, "")]);
    for lines in ["t=starting\nsrc=beta\nseq=1\nts=1\n", "t=starting\nauth=\n", "t=starting\nauth=1\n", "auth=1 \n"] {
        let bytes = format!(">>>\n{lines}<<<\n");
        assert_eq!(reject(&receiver, bytes.as_bytes()), Some(Reject::Unsigned), "{lines}");
    }
}

#[test]
fn signing_key_can_be_changed_to_one_that_exists_and_each_verifies_by_its_own_entry() {
    let keys = [(1, Method::Sha1, "old"), (2, Method::Md5, "new")];
    let (mut sender, receiver) = (codec(1, &keys), codec(2, &keys));
    for number in [1, 2, 1] {
        assert!(sender.sign_with(KeyNumber(number)));
        assert_eq!(sender.signing_key(), KeyNumber(number));
        for bytes in both_forms(&sender) {
            assert_eq!(receiver.decode(&bytes, &mut []).unwrap().key, KeyNumber(number));
        }
    }
    for unknown in [0, 3, 15, 16, 255] {
        assert!(!sender.sign_with(KeyNumber(unknown)));
        assert_eq!(sender.signing_key(), KeyNumber(1));
    }
}
