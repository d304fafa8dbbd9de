//! Packets captured from Heartbeat 3.0.6 (spec/wire.md 4.6, 11.6).

use super::{ALPHA, BETA, Node, UUIDS, datagram, decode, packet, reject, serial};
use nullbeat::core::ids::{Generation, Seq};
use nullbeat::core::message::Body;
use nullbeat::wire::heartbeat::{Method, Reject};

/// `crc`, key 1, `msgfmt classic`, from beta.
const V1: &[u8] = b"###\n14:(0)t=NS_ackmsg,13:(0)dest=alpha,12:(0)ackseq=10,\
    28:(1)destuuid=]\x8b\xf2\x11\xe1\xbcE\x9f\xb1\xc4\x9b \x0d\x17\xe7d,11:(0)src=beta,\
    27:(1)srcuuid=\x17\xfd\x1f\x17\x907M%\xb5\xc5P\xe17\xbac\x03,14:(0)hg=6b031868,14:(0)ts=6b031869,\
    8:(0)ttl=3,18:(0)auth=1 7f1eceb2,%%%\n10:1 25b6e592,";

/// `md5`, key 3, `msgfmt netstring`, from alpha.
const V2: &[u8] = b"###\n14:(0)t=NS_ackmsg,12:(0)dest=beta,11:(0)ackseq=9,\
    28:(1)destuuid=\x17\xfd\x1f\x17\x907M%\xb5\xc5P\xe17\xbac\x03,12:(0)src=alpha,\
    27:(1)srcuuid=]\x8b\xf2\x11\xe1\xbcE\x9f\xb1\xc4\x9b \x0d\x17\xe7d,14:(0)hg=6b031867,\
    14:(0)ts=6b0318e6,8:(0)ttl=3,%%%\n34:3 1066510edcc3b6406d756631f1425b29,";

/// `md5`, key 3, `msgfmt classic`, from beta.
const V3: &[u8] = b"###\n14:(0)t=NS_ackmsg,13:(0)dest=alpha,11:(0)ackseq=4,\
    28:(1)destuuid=]\x8b\xf2\x11\xe1\xbcE\x9f\xb1\xc4\x9b \x0d\x17\xe7d,11:(0)src=beta,\
    27:(1)srcuuid=\x17\xfd\x1f\x17\x907M%\xb5\xc5P\xe17\xbac\x03,14:(0)hg=6b031869,14:(0)ts=6b0318e5,\
    8:(0)ttl=3,42:(0)auth=3 a6e5ed469d8f46a1b257ade19cea863a,%%%\n34:3 062cf463ae7f0af62553d8be6e21426b,";

/// `sha1`, key 2, `msgfmt classic`, from alpha.
const V4: &[u8] = b"###\n14:(0)t=NS_ackmsg,12:(0)dest=beta,11:(0)ackseq=5,\
    28:(1)destuuid=\x17\xfd\x1f\x17\x907M%\xb5\xc5P\xe17\xbac\x03,12:(0)src=alpha,\
    27:(1)srcuuid=]\x8b\xf2\x11\xe1\xbcE\x9f\xb1\xc4\x9b \x0d\x17\xe7d,14:(0)hg=6b031868,\
    14:(0)ts=6b0318fc,8:(0)ttl=3,50:(0)auth=2 e0a84ef7d72133fe9b3e97b7aa6e1855f94dbc61,%%%\n\
    42:2 90ad1d245318d80e0686297309eaa766fda90660,";

/// `sha1`, key 1, serial text, from alpha.
const V5: &[u8] = b">>>\nt=NS_ackmsg\ndest=beta\nackseq=d\n(1)destuuid=F/0fF5A3TSW1xVDhN7pjAw==\nsrc=alpha\n\
    (1)srcuuid=XYvyEeG8RZ+xxJsgDRfnZA==\nhg=6b03186a\nts=6b031946\nttl=3\n\
    auth=1 7cf351760c16f620a2394a7fef68bccfffe312d9\n<<<\n";

/// An answer to a ping: `crc`, key 1 (spec/wire.md 11.6).
const PING: &[u8] = b"###\n10:(0)t=NS_st,10:(0)st=ping,12:(0)info=ping,16:(0)src=10.77.0.2,14:(0)ts=6b031d0b,\
    18:(0)auth=1 4c459eb2,%%%\n10:1 72021afd,";

/// One of them, and what it was made from.
pub(super) struct Captured {
    pub(super) bytes: &'static [u8],
    pub(super) sender: Node,
    acked: u64,
    ts: u32,
}

impl Captured {
    fn is_serial(&self) -> bool {
        self.bytes.starts_with(b">>>")
    }
}

pub(super) fn captured() -> [Captured; 5] {
    let crc = Node::new(BETA, (1, Method::Crc, ""));
    let md5 = Node::new(BETA, (3, Method::Md5, "secret-key"));
    let sha1 = Node::new(ALPHA, (2, Method::Sha1, "another-key"));
    let serial = Node::new(ALPHA, (1, Method::Sha1, "serialkey"));
    let md5_netstring = Node { id: ALPHA, generation: 0x6b03_1867, is_netstring: true, ..md5 };
    [
        Captured { bytes: V1, sender: crc, acked: 0x10, ts: 0x6b03_1869 },
        Captured { bytes: V2, sender: md5_netstring, acked: 9, ts: 0x6b03_18e6 },
        Captured { bytes: V3, sender: Node { generation: 0x6b03_1869, ..md5 }, acked: 4, ts: 0x6b03_18e5 },
        Captured { bytes: V4, sender: sha1, acked: 5, ts: 0x6b03_18fc },
        Captured { bytes: V5, sender: Node { generation: 0x6b03_186a, ..serial }, acked: 0xd, ts: 0x6b03_1946 },
    ]
}

#[test]
fn captured_packets_are_understood() {
    for vector in captured() {
        let (from, to) = (usize::from(vector.sender.id.0), usize::from(1 - vector.sender.id.0));
        let look = decode(&vector.sender.codec(), vector.bytes, |message| {
            assert_eq!(message.src, ["alpha", "beta"][from]);
            assert_eq!(message.dest, Some(["alpha", "beta"][to]));
            assert_eq!(message.src_uuid, Some(UUIDS[from]));
            assert_eq!(message.dest_uuid, Some(UUIDS[to]));
            assert_eq!(message.seq, None);
            assert_eq!(message.generation, Generation(vector.sender.generation));
            assert_eq!(message.ts, vector.ts);
            assert_eq!(message.body, Body::Ack { acked: Seq(vector.acked) });
        });
        assert_eq!(look, Ok(()));
    }
}

#[test]
fn captured_packets_are_written_byte_for_byte() {
    for vector in captured() {
        let to = if vector.sender.id == ALPHA { BETA } else { ALPHA };
        let mut packet = packet(Some(to), None, Body::Ack { acked: Seq(vector.acked) });
        packet.ts = vector.ts;
        let encode = if vector.is_serial() { serial } else { datagram };
        let written = encode(&vector.sender.codec(), &packet);
        assert_eq!(written.escape_ascii().to_string(), vector.bytes.escape_ascii().to_string());
    }
}

#[test]
fn captured_ping_answer_is_an_unsequenced_message() {
    let codec = Node::new(ALPHA, (1, Method::Crc, "")).codec();
    let look = decode(&codec, PING, |message| {
        assert_eq!((message.src, message.seq, message.src_uuid), ("10.77.0.2", None, None));
        assert_eq!(message.generation, Generation(0));
        assert_eq!(message.body, Body::Other { kind: "NS_st" });
    });
    assert_eq!(look, Ok(()));
}

#[test]
fn every_truncation_is_refused() {
    for vector in captured() {
        let codec = vector.sender.codec();
        for length in 0..vector.bytes.len() {
            assert!(reject(&codec, &vector.bytes[..length]).is_some(), "{length}");
        }
    }
}

#[test]
fn bytes_behind_the_end_are_ignored() {
    for vector in captured() {
        for tail in [&b"\0"[..], b"\n", b"more", b"%%%\n10:1 00000000,", b">>>\n"] {
            assert_eq!(reject(&vector.sender.codec(), &[vector.bytes, tail].concat()), None);
        }
    }
}

#[test]
fn every_other_byte_anywhere_is_refused() {
    for vector in captured() {
        let codec = vector.sender.codec();
        let mut bytes = vector.bytes.to_vec();
        for at in 0..bytes.len() {
            for flip in 1..=255 {
                bytes[at] ^= flip;
                let reason = reject(&codec, &bytes);
                assert!(reason.is_some_and(|reason| !reason.is_authentic()), "byte {at} with {flip:#x}: {reason:?}");
                bytes[at] ^= flip;
            }
        }
    }
}

#[test]
fn datagrams_are_refused_by_reason() {
    let vector = &captured()[3];
    let codec = vector.sender.codec();
    let mut long = vector.bytes.to_vec();
    long.resize(65_508, 0);
    assert_eq!(reject(&codec, &long), Some(Reject::TooLong));
    assert_eq!(reject(&codec, &long[..65_507]), None);
    assert_eq!(reject(&codec, b"###"), Some(Reject::TooShort));
    assert_eq!(reject(&codec, b"#!/bin/sh\n"), Some(Reject::BadMarker));
    let end = vector.bytes.windows(4).position(|window| window == b"%%%\n").unwrap() + 4;
    assert_eq!(reject(&codec, &vector.bytes[..end]), Some(Reject::Unsigned));
    assert_eq!(reject(&codec, &[&vector.bytes[..end], b"5:hello,"].concat()), Some(Reject::Unsigned));
}
