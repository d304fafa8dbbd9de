//! Garbage and damage, by the hundred thousand, from fixed seeds. Whatever comes out, it comes out.

use super::captured::captured;
use super::fields::{netstring, text};
use super::{ALPHA, BETA, Node, Random, datagram, packet, reject, serial};
use nullbeat::core::message::{Body, Extension, NodeStatus};
use nullbeat::wire::heartbeat::{Method, Reject, TextStream};

fn status() -> Body<'static> {
    let extension = Some(Extension { group_count: 3, link_count: 2, ..Extension::EMPTY });
    Body::Status {
        status: Some(NodeStatus::Active),
        dead_ms: Some(4000),
        has_protocol: true,
        is_nullbeat: extension.is_some(),
        extension,
    }
}

/// Bytes that mean something somewhere.
const TELLING: &[u8] = b"(0123)=,:\n\x13<>%#\0-";

fn mutate(random: &mut Random, bytes: &mut Vec<u8>) {
    for _ in 0..=random.below(3) {
        let at = random.below(bytes.len().max(1)).min(bytes.len());
        match random.below(5) {
            0 if at < bytes.len() => bytes[at] = random.byte(),
            1 if at < bytes.len() => drop(bytes.remove(at)),
            2 => bytes.insert(at, random.byte()),
            3 => bytes.insert(at, TELLING[random.below(TELLING.len())]),
            _ => {
                let piece = bytes[at..(at + random.below(20)).min(bytes.len())].to_vec();
                let to = random.below(bytes.len() + 1);
                bytes.splice(to..to, piece);
            }
        }
    }
}

#[test]
fn random_bytes_are_refused() {
    let mut random = Random(0x6e75_6c6c_6265_6174);
    let codec = Node::new(ALPHA, (1, Method::Sha1, "key")).codec();
    let starts: [&[u8]; 4] = [b"", b"###\n", b">>>\n", b"###\n5:(0)a=,"];
    for round in 0..200_000 {
        let mut bytes = starts[round % 4].to_vec();
        for _ in 0..random.below(120) {
            let byte = if round % 2 == 0 { random.byte() } else { TELLING[random.below(TELLING.len())] };
            bytes.push(byte);
        }
        assert!(reject(&codec, &bytes).is_some());
    }
}

#[test]
fn damaged_packets_do_not_pass_a_secret_key() {
    let mut random = Random(42);
    let codec = Node::new(ALPHA, (1, Method::Sha1, "key")).codec();
    let originals =
        [datagram(&codec, &packet(Some(BETA), Some(5), status())), serial(&codec, &packet(None, Some(5), status()))];
    for _ in 0..50_000 {
        for original in &originals {
            let mut bytes = original.clone();
            mutate(&mut random, &mut bytes);
            // What was cut off by the end marker, or fell out between lines, does not change the message.
            let is_same = bytes.starts_with(original) || only_blank_lines_differ(&bytes, original);
            assert!(is_same || reject(&codec, &bytes).is_some(), "{}", bytes.escape_ascii());
        }
    }
}

/// Empty lines in text mean nothing (spec/wire.md 2.2).
fn only_blank_lines_differ(bytes: &[u8], original: &[u8]) -> bool {
    let lines = |bytes: &[u8]| -> Vec<Vec<u8>> {
        let end = bytes.windows(5).position(|window| window == b"\n<<<\n").map_or(bytes.len(), |at| at + 4);
        bytes[..end].split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).map(<[u8]>::to_vec).collect()
    };
    original.starts_with(b">>>\n") && bytes.starts_with(b">>>\n") && lines(bytes) == lines(original)
}

/// Damage *inside* the signature: the second door alone must hold.
#[test]
fn signed_nonsense_is_survived() {
    let mut random = Random(7);
    let codec = Node::new(ALPHA, (1, Method::Crc, "")).codec();
    let good: [&[u8]; 9] = [
        b"(0)t=status",
        b"(0)st=active",
        b"(0)nbe=1:2:ps--",
        b"(0)nbg=RsF",
        b"(0)src=beta",
        b"(1)srcuuid=0123456789abcdef",
        b"(0)seq=1f",
        b"(0)hg=5",
        b"(0)ts=6b031869",
    ];
    let mut seen = [0u32; Reject::NAMES.len() + 1];
    for _ in 0..100_000 {
        let mut fields: Vec<Vec<u8>> = good.iter().map(|field| field.to_vec()).collect();
        let at = random.below(fields.len());
        mutate(&mut random, &mut fields[at]);
        let fields: Vec<&[u8]> = fields.iter().map(Vec::as_slice).collect();
        let lines: Vec<u8> =
            fields.iter().flat_map(|field| [field.strip_prefix(b"(0)").unwrap_or(field), b"\n"].concat()).collect();
        for bytes in [netstring(&fields), text(&lines)] {
            seen[reject(&codec, &bytes).map_or(Reject::NAMES.len(), Reject::index)] += 1;
        }
    }
    // The damage reached what it was meant to reach.
    for reason in [Reject::Malformed { offset: 0 }, Reject::Missing(""), Reject::BadValue("")] {
        assert!(seen[reason.index()] > 100, "{reason:?}: {seen:?}");
    }
    assert!(seen[Reject::NAMES.len()] > 1000, "{seen:?}");
}

#[test]
fn stream_takes_anything() {
    let mut random = Random(99);
    let codec = Node::new(ALPHA, (1, Method::Sha1, "serialkey")).codec();
    let mut stream = TextStream::new();
    let mut frames = 0;
    for _ in 0..20_000 {
        let mut bytes = captured()[4].bytes.to_vec();
        if random.below(2) == 0 {
            mutate(&mut random, &mut bytes);
        }
        let mut rest = &bytes[..];
        while let Some(frame) = stream.next(&mut rest) {
            frames += u32::from(reject(&codec, frame).is_none());
        }
    }
    assert!(frames > 9_000, "{frames}");
}
