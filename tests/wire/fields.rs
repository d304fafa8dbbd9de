//! Authentic messages with odd fields: what is taken, what is refused, what is merely ignored (spec/wire.md sections 6
//! to 8, spec/resources.md section 7).

use super::{ALPHA, Node, UUIDS, decode, reject};
use nullbeat::core::ids::{Generation, GroupSet, Seq};
use nullbeat::core::message::{Body, Holds, Message, NodeStatus, ResourceInfo, StandbyWord};
use nullbeat::wire::heartbeat::{Codec, Method, Reject};

const STANDARD: &str = "src=beta\nseq=1f\nhg=5\nts=6b031869";

fn codec() -> Codec {
    Node::new(ALPHA, (1, Method::Crc, "")).codec()
}

fn crc(bytes: &[u8]) -> String {
    format!("1 {:x}", crc::Crc::<u32>::new(&crc::CRC_32_CKSUM).checksum(bytes))
}

/// Signs fields given with their type digits, as a datagram.
pub(super) fn netstring(fields: &[&[u8]]) -> Vec<u8> {
    let mut bytes = b"###\n".to_vec();
    for field in fields {
        bytes.extend_from_slice(format!("{}:", field.len()).as_bytes());
        bytes.extend_from_slice(field);
        bytes.push(b',');
    }
    bytes.extend_from_slice(b"%%%\n");
    let signature = crc(&bytes);
    bytes.extend_from_slice(format!("{}:{signature},", signature.len()).as_bytes());
    bytes
}

/// Signs lines, as serial text.
pub(super) fn text(lines: &[u8]) -> Vec<u8> {
    [b">>>\n", lines, format!("auth={}\n<<<\n", crc(lines)).as_bytes()].concat()
}

/// The same string fields in both forms.
fn both(fields: &str) -> [Vec<u8>; 2] {
    let typed: Vec<Vec<u8>> = fields.lines().map(|line| format!("(0){line}").into_bytes()).collect();
    let typed: Vec<&[u8]> = typed.iter().map(Vec::as_slice).collect();
    [netstring(&typed), text(format!("{fields}\n").as_bytes())]
}

fn expect_reject(fields: &str, expected: Reject) {
    for bytes in both(fields) {
        assert_eq!(reject(&codec(), &bytes), Some(expected), "{fields}");
    }
}

fn look_both<T>(fields: &str, look: impl Fn(&Message<'_>) -> T) -> T {
    let [one, other] = both(fields);
    decode(&codec(), &one, |_| ()).unwrap();
    decode(&codec(), &other, look).unwrap()
}

fn expect_body(own: &str, expected: Body<'_>) {
    for bytes in both(&format!("{own}\n{STANDARD}")) {
        let look = decode(&codec(), &bytes, |message| assert_eq!(message.body, expected, "{own}"));
        assert_eq!(look, Ok(()), "{own}");
    }
}

#[test]
fn missing_standard_fields_are_named() {
    expect_reject("t=x\nseq=1\nts=1", Reject::Missing("src"));
    expect_reject("src=a\nseq=1\nts=1", Reject::Missing("t"));
    expect_reject("t=x\nsrc=a\nseq=1", Reject::Missing("ts"));
    expect_reject("t=x\nsrc=a\nts=1", Reject::Missing("seq"));
}

#[test]
fn standard_numbers_must_be_numbers() {
    for ts in ["0", "", "x", "100000000", "-1"] {
        expect_reject(&format!("t=x\nsrc=a\nseq=1\nts={ts}"), Reject::BadValue("ts"));
    }
    for seq in ["0", "", "x", "10000000000000000", "1 "] {
        expect_reject(&format!("t=x\nsrc=a\nts=1\nseq={seq}"), Reject::BadValue("seq"));
    }
    expect_reject("t=x\nsrc=a\nts=1\nseq=1\nhg=x", Reject::BadValue("hg"));
    expect_reject("t=NS_ackmsg\nsrc=a\nts=1", Reject::Missing("ackseq"));
    expect_reject("t=NS_ackmsg\nsrc=a\nts=1\nackseq=0", Reject::BadValue("ackseq"));
    // Decimal here, and hex nowhere else (spec/wire.md 8.4).
    expect_reject("t=NS_rexmit\nsrc=a\nts=1\nfirstseq=1a\nlastseq=26", Reject::BadValue("firstseq"));
    expect_reject("t=NS_rexmit\nsrc=a\nts=1\nfirstseq=1", Reject::Missing("lastseq"));
}

#[test]
fn absent_generation_is_zero_and_unsequenced_types_have_no_sequence() {
    assert_eq!(look_both("t=x\nsrc=a\nts=1\nseq=1", |message| message.generation), Generation(0));
    assert_eq!(look_both("t=NS_ackmsg\nsrc=a\nts=1\nseq=1\nackseq=2", |message| message.seq), None);
    assert!(look_both("t=NS_new\nsrc=a\nts=1", |message| message.body == Body::Other { kind: "NS_new" }));
}

#[test]
fn order_and_repetition_of_fields() {
    let fields = "dest=alpha\nts=1\nnodelist=alpha \nsrc=beta\nseq=2\nt=repnodes\ndest=beta\nt=starting";
    look_both(fields, |message| {
        assert_eq!((message.src, message.dest, message.seq), ("beta", Some("alpha"), Some(Seq(2))));
        assert_eq!(message.body, Body::RepNodes { nodes: "alpha ", deleted: "" });
    });
    // A daemon writes its own fields over those that are there: two of them were forged.
    expect_reject("t=x\nsrc=a\nts=1\nseq=1\nsrc=b", Reject::Doubled("src"));
    expect_reject("t=x\nsrc=a\nts=1\nseq=1\nseq=1", Reject::Doubled("seq"));
}

#[test]
fn other_types_and_wrong_types_are_passed_over() {
    let uuid: Vec<u8> = [b"(1)srcuuid=", &UUIDS[1].0[..]].concat();
    let bytes = netstring(&[
        b"(0)t=starting",
        b"(2)sub=###\n9:(0)src=xx,%%%\n",
        b"(3)lst=3:abc,4:defg,",
        b"(4)small=\x00\x01,\n%%%\n",
        b"(3)dest=4:beta,",
        b"(0)destuuid=not binary 16 b",
        b"(1)bin=\x00\x01\x02",
        b"(0)src=beta",
        &uuid,
        b"(0)seq=1f",
        b"(0)ts=1",
    ]);
    let look = decode(&codec(), &bytes, |message| {
        assert_eq!((message.src, message.src_uuid), ("beta", Some(UUIDS[1])));
        assert_eq!((message.dest, message.dest_uuid), (None, None));
        assert_eq!(message.body, Body::Starting);
    });
    assert_eq!(look, Ok(()));
    let bytes = text(b"t=starting\n(2)sub=>>>\x14x=1\x14<<<\x14\n(3)lst=3:abc,\n(1)src=AAAA\nseq=1\nts=1\n");
    assert_eq!(reject(&codec(), &bytes), Some(Reject::Missing("src")));
}

#[test]
fn odd_bytes_in_strings() {
    let bytes = netstring(&[b"(0)t=x", b"(0)src=\xff\xfe", b"(0)ts=1", b"(0)seq=1"]);
    assert_eq!(reject(&codec(), &bytes), Some(Reject::BadValue("src")));
    let bytes = netstring(&[b"(0)t=x", b"(0)src=be\0ta", b"(0)ts=1", b"(0)seq=1"]);
    assert_eq!(reject(&codec(), &bytes), Some(Reject::Malformed { offset: 13 }));
    // Nobody reads this one, so its bytes are its own business.
    let bytes = netstring(&[b"(0)t=x", b"(0)src=beta", b"(0)cargo=\xff\xfe\n", b"(0)ts=1", b"(0)seq=1"]);
    assert_eq!(reject(&codec(), &bytes), None);
    // A newline travels as 0x13 in text and as itself in netstrings.
    let bytes = text(b"t=stonith\nnode=a\x13b\nresult=OK\nsrc=beta\nts=1\nseq=1\n");
    let look = decode(&codec(), &bytes, |message| matches!(message.body, Body::Stonith { node: "a\nb", .. }));
    assert_eq!(look, Ok(true));
    assert_eq!(codec().decode(&bytes, &mut []).err(), None, "no scratch: the node is not understood, the message is");
    let bytes = text(b"t=stonith\nsrc=a\x13b\nts=1\nseq=1\n");
    assert_eq!(codec().decode(&bytes, &mut []), Err(Reject::ScratchFull));
}

#[test]
fn compressed_messages_are_refused_by_name() {
    let bytes = netstring(&[b"(1)_compressed_payload=\x78\x9c", b"(0)_compression_algorithm=zlib"]);
    assert_eq!(reject(&codec(), &bytes), Some(Reject::Compressed));
}

#[test]
fn status_takes_any_word_and_any_dead_time() {
    let status =
        |status, dead_ms| Body::Status { status, dead_ms, has_protocol: false, is_nullbeat: false, extension: None };
    expect_body("t=status\nst=active\ndt=fa0", status(Some(NodeStatus::Active), Some(4000)));
    expect_body("t=status\nst=happy\ndt=0", status(None, Some(0)));
    expect_body("t=status\nst=up", status(Some(NodeStatus::Up), None));
    expect_body("t=status\nst=up\ndt=soon", status(Some(NodeStatus::Up), None));
    expect_body("t=status\nst=up\ndt=100000000", status(Some(NodeStatus::Up), None));
    // Without `st` the original ignores it (spec/wire.md section 7); so must the core, but the number counts.
    expect_body("t=status\ndt=fa0", Body::Other { kind: "status" });
}

#[test]
fn holdings_follow_the_original_rules() {
    let resource = |holds, is_full, is_stable, info| Body::Resource { holds, is_full, is_stable, info };
    expect_body(
        "t=resource\nrsc_hold=foreign\ninfo=mach_down",
        resource(Holds::FOREIGN, false, None, ResourceInfo::MachDown),
    );
    expect_body(
        "t=resource\nrsc_hold=everything\nrtype=full\nisstable=1\ninfo=hello",
        resource(Holds::NONE, true, Some(true), ResourceInfo::Other),
    );
    expect_body("t=resource\nrtype=full", Body::Other { kind: "resource" });
    let ask = |set, word| Body::AskResources { set, word, only: None, after_failure: false };
    expect_body("t=ask_resources\ninfo=me", ask(Holds::ALL, StandbyWord::Me));
    expect_body("t=ask_resources\ninfo=other\nrsc_hold=failback", ask(Holds::FOREIGN, StandbyWord::Other));
    expect_body("t=ask_resources\ninfo=done\nrsc_hold=odd", ask(Holds::NONE, StandbyWord::Done));
    expect_body("t=ask_resources\nrsc_hold=all", Body::Other { kind: "ask_resources" });
    expect_body("t=ask_resources\nrsc_hold=all\ninfo=please", Body::Other { kind: "ask_resources" });
    expect_body("t=hb_takeover", Body::Takeover { set: None });
    expect_body("t=hb_takeover\nrsc_hold=failback", Body::Takeover { set: None });
    expect_body("t=hb_takeover\nrsc_hold=local", Body::Takeover { set: Some(Holds::LOCAL) });
    expect_body("t=hb_takeover\nrsc_hold=odd", Body::Other { kind: "hb_takeover" });
    expect_body("t=ip-request", Body::Other { kind: "ip-request" });
    expect_body("t=ip-request-resp\nipaddr=k", Body::IpRequestResp { key: "k", group: None, is_ok: false });
    expect_body("t=stonith\nnode=beta\nresult=maybe", Body::Other { kind: "stonith" });
    expect_body("t=num_ping_nodes\nnum_ping=2", Body::Other { kind: "num_ping_nodes" });
}

#[test]
fn fields_of_ours_that_make_no_sense_are_counted() {
    let codec = codec();
    let status = &both(&format!("t=status\nst=up\nnbv=1\nnbg=R\n{STANDARD}"))[0];
    let look = decode(&codec, status, |message| {
        matches!(message.body, Body::Status { status: Some(NodeStatus::Up), extension: None, .. })
    });
    assert_eq!(look, Ok(true));
    assert_eq!(codec.extension_errors(), 1);
    for odd in ["nb_only=x", "nb_only=", "nb_why=bored", "nb_only=10000000000000000"] {
        let bytes = &both(&format!("t=ask_resources\ninfo=me\n{odd}\n{STANDARD}"))[1];
        let look = decode(&codec, bytes, |message| message.body == Body::Other { kind: "ask_resources" });
        assert_eq!(look, Ok(true), "{odd}");
    }
    assert_eq!(codec.extension_errors(), 5);
    expect_body(
        "t=ask_resources\ninfo=me\nnb_only=5",
        Body::AskResources { set: Holds::ALL, word: StandbyWord::Me, only: Some(GroupSet(5)), after_failure: false },
    );
}

#[test]
fn sizes_nesting_and_numbers_of_fields_are_bounded_by_the_datagram_alone() {
    let few: Vec<Vec<u8>> = STANDARD.lines().map(|line| format!("(0){line}").into_bytes()).collect();
    let kind = b"(0)t=any".to_vec();
    let with = |more: Vec<Vec<u8>>| {
        let all: Vec<&[u8]> = [&kind].into_iter().chain(&few).chain(&more).map(Vec::as_slice).collect();
        netstring(&all)
    };
    let many = with(vec![b"(0)x=".to_vec(); 8_000]);
    let nested = with(vec![[b"(2)x=".to_vec(), b"###\n9:(2)y=###\n".repeat(4_000)].concat()]);
    let lists = with(vec![[b"(3)x=".to_vec(), b"1:a,".repeat(10_000)].concat()]);
    let packed = with(vec![b"(0)_compression_algorithm=zlib".to_vec(), [&b"(4)x="[..], &[0xff; 20_000]].concat()]);
    let longest = with(vec![[&b"(0)x="[..], &[b'x'; 65_507 - 100]].concat()]);
    for bytes in [&many, &nested, &lists, &packed, &longest] {
        assert!(bytes.len() <= 65_507, "{}", bytes.len());
        assert_eq!(decode(&codec(), bytes, |message| message.body == Body::Other { kind: "any" }), Ok(true));
    }
    assert_eq!(longest.len(), 65_507);
    let too_long = with(vec![[&b"(0)x="[..], &[b'x'; 65_507]].concat()]);
    assert_eq!(reject(&codec(), &too_long), Some(Reject::TooLong));
}
