//! Messages through a bad cable.

use super::{ALPHA, BETA, Node, Random, decode, packet, serial};
use nullbeat::core::ids::Seq;
use nullbeat::core::message::{Body, NodeStatus};
use nullbeat::wire::heartbeat::{Codec, Method, TextStream};

fn codec() -> Codec {
    Node::new(BETA, (1, Method::Sha1, "serialkey")).codec()
}

fn message(codec: &Codec, seq: u64) -> Vec<u8> {
    let status = Body::Status {
        status: Some(NodeStatus::Active),
        dead_ms: Some(4000),
        has_protocol: true,
        is_nullbeat: false,
        extension: None,
    };
    serial(codec, &packet(Some(ALPHA), Some(seq), status))
}

/// Sequence numbers of the messages that survive, fed in pieces of `step` bytes.
fn survivors(codec: &Codec, line: &[u8], step: usize) -> Vec<u64> {
    let mut stream = TextStream::new();
    let mut seqs = Vec::new();
    for mut piece in line.chunks(step) {
        while let Some(frame) = stream.next(&mut piece) {
            if let Ok(Some(Seq(seq))) = decode(codec, frame, |message| message.seq) {
                seqs.push(seq);
            }
        }
        assert!(piece.is_empty());
    }
    seqs
}

#[test]
fn every_noise_between_messages_is_survived() {
    let codec = codec();
    for noise in [
        &b""[..],
        b"\n\n",
        b"\r\n\r\nDebian GNU/Linux 12 board ttyS0\r\n\r\nboard login: ",
        b"AT&F E0 V1\r\r\nOK\r\nATDT\rNO CARRIER\r\n",
        b"\0\0\0",
        b"\xff\xfe\x80\xbe\xbe\xbe\x8a",
        b">>",
        b">>>",
        b">>>\n",
        b">>>\nt=status\nst=act",
        b"<<<\n",
        b"<<<",
        b"t=status\nauth=1 00\n<<<\n",
        b"[  12.345] usb 1-1: new device >>>\n",
        b"%%%\n10:1 25b6e592,",
    ] {
        let mut line = Vec::new();
        for seq in 1..=3 {
            line.extend_from_slice(noise);
            line.extend_from_slice(&message(&codec, seq));
        }
        for step in [1, 7, line.len()] {
            assert_eq!(survivors(&codec, &line, step), [1, 2, 3], "{}", noise.escape_ascii());
        }
    }
}

#[test]
fn message_cut_anywhere_costs_only_itself() {
    let codec = codec();
    let (first, second) = (message(&codec, 1), message(&codec, 2));
    let end = first.len() - 1;
    for cut in 0..end {
        let line = [&first[..cut], &second[..]].concat();
        assert_eq!(survivors(&codec, &line, 64), [2], "cut at {cut}");
        // The same with a break on the line, and with the beginning gone instead of the end.
        let line = [&first[..cut], &b"\0"[..], &second[..]].concat();
        assert_eq!(survivors(&codec, &line, 64), [2], "cut at {cut}");
        if cut > 0 {
            let line = [&first[cut..], &second[..]].concat();
            assert_eq!(survivors(&codec, &line, 64), [2], "begun at {cut}");
        }
    }
    // Of the last newline alone nothing depends.
    assert_eq!(survivors(&codec, &[&first[..end], &second[..]].concat(), 64), [1, 2]);
}

#[test]
fn terminals_that_add_carriage_returns_are_forgiven() {
    let codec = codec();
    let line: Vec<u8> = message(&codec, 1)
        .into_iter()
        .flat_map(|byte| if byte == b'\n' { vec![b'\r', b'\n'] } else { vec![byte] })
        .collect();
    assert_eq!(survivors(&codec, &line, 10), [1]);
}

#[test]
fn random_noise_between_messages_costs_none_of_them() {
    let mut random = Random(0xbad_cab1e);
    let codec = codec();
    for _ in 0..300 {
        let mut line = Vec::new();
        for seq in 1..=5 {
            for _ in 0..random.below(40) {
                line.push(random.byte());
            }
            line.extend_from_slice(&message(&codec, seq));
        }
        let step = 1 + random.below(100);
        assert_eq!(survivors(&codec, &line, step), [1, 2, 3, 4, 5], "{}", line.escape_ascii());
    }
}

#[test]
fn dropped_bytes_cost_only_the_messages_they_hit() {
    let mut random = Random(3);
    let codec = codec();
    for _ in 0..300 {
        let mut line = Vec::new();
        let mut whole = Vec::new();
        for seq in 1..=6 {
            let mut bytes = message(&codec, seq);
            if random.below(3) == 0 {
                let from = random.below(bytes.len());
                let to = (from + 1 + random.below(16)).min(bytes.len());
                bytes.drain(from..to);
            }
            // The last newline may be among the lost.
            if message(&codec, seq).strip_suffix(b"\n").is_some_and(|needed| bytes.starts_with(needed)) {
                whole.push(seq);
            }
            line.extend_from_slice(&bytes);
        }
        assert_eq!(survivors(&codec, &line, 16), whole, "{}", line.escape_ascii());
    }
}
