//! Messages compressed as a whole (spec/wire.md section 5).

use super::fields::{netstring, text};
use super::{ALPHA, BETA, Node, UUIDS, datagram, packet};
use nullbeat::core::ids::{KeyNumber, Seq};
use nullbeat::core::message::Body;
use nullbeat::wire::heartbeat::{Codec, ENCODED_MAX, Expander, Method, Reject, TEXT_FRAME_MAX};

/// What a Heartbeat 3.0.6 called beta said with `traditional_compression on` and `compression_threshold 1`: type
/// `bigtest`, eight fields of 448 bytes.
const LAB: (u8, Method, &str) = (1, Method::Sha1, "a-key-for-the-lab");
/// Captured, `compression zlib`, `msgfmt classic`.
const ZLIB: &str = "\
    2323230a3235333a2831295f636f6d707265737365645f7061796c6f61643d789cedd14d6ac3301086e1aee7145eb68b2692471e59e03164\
    514a56a5f404d68f7fc081a49637397d0dea2504da0cdf3bdba7ef7b886c9729862dc2b884d50b1eacf3619ce677216b540d95ceab93a32c\
    8e997772ac8b63e69d1cb13866dec95115c7cc3b3936c531f34e8e541c33efe4a88b63e60ddbaf631be200aff2edd8fbbe78be7f082f2ffe\
    fc33efebd7b57d3c3fafb7fb37336ce1c12ac03c315981848d83b8fd6f6a61f52ce5a9d6d5714954ed89a8927856e6f810428c2b230c7b9c\
    595636683336d86874ce3be76450c11a576b4f029511ad190725b586aeebe0e50fa3e4651e2c33303a2830295f636f6d7072657373696f6e\
    5f616c676f726974686d3d7a6c69622c2525250a34323a312037383338643839613765363666383338363162326436623664353332643837\
    3561356539306138652c";
/// Captured, `compression bz2`, `msgfmt netstring`.
const BZ2: &str = "\
    2323230a3239363a2831295f636f6d707265737365645f7061796c6f61643d425a6831314159265359288d75ca0000045ff600104a67fff2\
    003000417ff43e00000409102000042000033000eb69094a6d2687aa64d1900000006990495329e90c8683d4c4c9a34340190d0152a4d4d9\
    34d100f42611934326869934556c3450f2101b1004a0908929a9b5ea7777a265fdc8004499b39156928358009567089ce9f6cef8c004a56b\
    4871bd80024d631b8705fcc092c5aab3d8092a1a2cc32aa444946916d6a540441202c66474f0a09006922a807431cee57b4dd7b74f0f8eb6\
    6a6f75f869d1b7deec7fd7eb122750a1e8092f2f7d6a04945d0e1f18c125a0929175b83e4126e1b78024af380447fa78125934c042261551\
    55ce95ea4b3db6fdb2eb2db6efe2ee48a70a120511aeb9402c32393a2830295f636f6d7072657373696f6e5f616c676f726974686d3d627a\
    322c2525250a34323a3120633063313839303838346332666166356562323430343764666136353464346465386262633538632c";

fn unhex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks(2);
    digits.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

fn crc() -> Codec {
    Node::new(ALPHA, (1, Method::Crc, "")).codec()
}

/// Decodes as an engine does; says who sent what with which number.
fn look(codec: &Codec, expander: &mut Expander, bytes: &[u8]) -> Result<(String, String, Option<Seq>), Reject> {
    let mut scratch = vec![0; TEXT_FRAME_MAX];
    assert_eq!(codec.decode(bytes, &mut scratch), Err(Reject::Compressed));
    let expanded = codec.expand(bytes, expander)?;
    let message = codec.decode_expanded(&expanded, &mut scratch)?;
    assert_eq!(message.key, KeyNumber(1));
    let kind = match message.body {
        Body::Other { kind } => kind.to_owned(),
        body => format!("{body:?}"),
    };
    Ok((message.src.to_owned(), kind, message.seq))
}

/// A packed message, signed with the checksum, in both forms.
fn wrapped(payload: &[u8], algorithm: &str) -> [Vec<u8>; 2] {
    use base64::Engine as _;
    let binary = [b"(1)_compressed_payload=", payload].concat();
    let mut base64 = vec![0; payload.len() * 4 / 3 + 4];
    let len = base64::engine::general_purpose::STANDARD.encode_slice(payload, &mut base64).unwrap();
    let base64 = String::from_utf8(base64[..len].to_vec()).unwrap();
    let lines = format!("(1)_compressed_payload={base64}\n_compression_algorithm={algorithm}\n");
    [netstring(&[&binary, format!("(0)_compression_algorithm={algorithm}").as_bytes()]), text(lines.as_bytes())]
}

/// One literal byte, then so many copies of it, 258 at a time: 13 bits for each.
fn zlib_bomb(copies: usize) -> Vec<u8> {
    let mut bits = String::from("110" /* the last block, fixed codes */) + "00110000";
    bits += &("11000101".to_owned() + "00000").repeat(copies);
    let bytes = bits.as_bytes().chunks(8).map(|eight| eight.iter().rev().fold(0, |byte, bit| byte << 1 | (bit - b'0')));
    [0x78, 0x9c].into_iter().chain(bytes).collect()
}

#[test]
fn both_kinds_of_a_real_heartbeat_are_unpacked() {
    let codec = Node::new(ALPHA, LAB).codec();
    let mut expander = Box::new(Expander::new());
    for hex in [ZLIB, BZ2, ZLIB] {
        let (src, kind, seq) = look(&codec, &mut expander, &unhex(hex)).unwrap();
        assert_eq!((src.as_str(), kind.as_str()), ("beta", "bigtest"));
        assert!(seq.is_some());
    }
}

#[test]
fn damaged_ones_are_never_unpacked() {
    let codec = Node::new(ALPHA, LAB).codec();
    let mut expander = Box::new(Expander::new());
    let whole = unhex(ZLIB);
    for at in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[at] ^= 4;
        let reject = codec.expand(&damaged, &mut expander).unwrap_err();
        assert!(!reject.is_authentic(), "byte {at}: {reject}");
    }
}

#[test]
fn our_own_long_messages_are_packed_and_understood() {
    let names = ["a", "b"].map(|letter| letter.repeat(90));
    for is_netstring in [false, true] {
        let nodes = names.each_ref().map(|name| name.as_str().try_into().unwrap());
        let mut keys = nullbeat::wire::heartbeat::Keys::new(1);
        keys.add(1, Method::Sha1, b"secret").unwrap();
        let codec = Codec::new(nullbeat::wire::heartbeat::Setup {
            keys,
            nodes: &nodes,
            local: BETA,
            identity: nullbeat::core::settings::Identity {
                uuid: UUIDS[1],
                generation: nullbeat::core::ids::Generation(7),
            },
            group_keys: &[],
            hopfudge: 1,
            is_netstring,
        })
        .unwrap();
        let packet = packet(Some(ALPHA), Some(9), Body::RepNodes { nodes: "", deleted: "" });
        let mut out = vec![0; ENCODED_MAX];
        let len = codec.encode_compressed(&packet, &mut vec![0; 2 * ENCODED_MAX], &mut out).unwrap();
        assert!(len < datagram(&codec, &packet).len(), "{len}");
        let (src, kind, seq) = look(&codec, &mut Box::new(Expander::new()), &out[..len]).unwrap();
        assert_eq!((src, seq), (names[1].clone(), Some(Seq(9))));
        assert!(kind.starts_with("RepNodes") && kind.contains(&names[0]), "{kind}");
        for room in [0, 100, 1000] {
            assert_eq!(codec.encode_compressed(&packet, &mut vec![0; room], &mut out), None);
        }
        assert_eq!(codec.encode_compressed(&packet, &mut vec![0; 2 * ENCODED_MAX], &mut out[..len - 1]), None);
    }
}

#[test]
fn bombs_and_nonsense_are_refused_one_by_one_and_the_next_message_is_read() {
    let codec = crc();
    let mut expander = Box::new(Expander::new());
    let bomb = zlib_bomb(10_000);
    let too_long = zlib_bomb(254);
    for (payload, algorithm) in [
        (&bomb[..], "zlib"),
        (&too_long, "zlib"),
        (b"", "zlib"),
        (b"", "bz2"),
        (b"no stream at all", "zlib"),
        (b"no stream at all", "bz2"),
        (b"BZh9", "bz2"),
        (b"x", "lzma"),
        (b"x", ""),
    ] {
        for bytes in wrapped(payload, algorithm) {
            assert_eq!(look(&codec, &mut expander, &bytes), Err(Reject::BadCompression), "{algorithm}");
        }
    }
    for fields in [
        &[&b"(1)_compressed_payload=x"[..]][..],
        &[b"(0)_compressed_payload=x", b"(0)_compression_algorithm=zlib"],
        &[b"(1)_compressed_payload=x", b"(1)_compression_algorithm=zlib"],
    ] {
        assert_eq!(look(&codec, &mut expander, &netstring(fields)), Err(Reject::BadCompression));
    }
    let plain = netstring(&[b"(0)t=status"]);
    assert_eq!(codec.expand(&plain, &mut expander).unwrap_err(), Reject::BadCompression);
    let codec = Node::new(ALPHA, LAB).codec();
    assert!(look(&codec, &mut expander, &unhex(BZ2)).is_ok());
}
