//! The cable, the network, the FIFO: `src/wire` and the sockets for pings.

use std::cell::RefCell;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::choice;
use crate::core::ids::{Generation, NodeId, RelayId, Seq, Uuid};
use crate::core::limits::RELAYED_LEN_MAX;
use crate::core::message::{Body, Message, Packet, PingKind, ResourceInfo};
use crate::core::settings::Identity;
use crate::links::Received;
use crate::links::ping::PingSocket;
use crate::wire::heartbeat::{
    ClientMessage, Codec, ENCODED_MAX, Expander, FIFO_MESSAGE_MAX, FifoMessage, FifoStream, Keys, Method, PACKET_MAX,
    Reject, Setup, TextStream, pack, to_client,
};

const NODES: [&str; 2] = ["alpha", "beta"];
/// What the node says of itself and of whom it speaks to.
const SENDER: (Option<Uuid>, Option<&str>, Option<Uuid>) = (Some(Uuid([7; 16])), Some("beta"), Some(Uuid([8; 16])));
/// A message that every stream must find, whatever came before it.
const FRAME: &[u8] = b">>>\nt=starting\nsrc=beta\n<<<\n";

thread_local! {
    static CODEC: Codec = codec();
    static EXPANDER: RefCell<Box<Expander>> = RefCell::new(Box::new(Expander::new()));
}

fn codec() -> Codec {
    // The first is no secret: a fuzzer can get past it by itself.
    let mut keys = Keys::new(1);
    for (number, method) in [(1, Method::Crc), (2, Method::Md5), (3, Method::Sha1)] {
        keys.add(number, method, b"key").unwrap_or_else(|error| panic!("{error:?}"));
    }
    let nodes = NODES.map(|name| name.try_into().unwrap_or_default());
    let setup = Setup {
        keys,
        nodes: &nodes,
        local: NodeId(0),
        identity: Identity { uuid: Uuid([7; 16]), generation: Generation(5) },
        group_keys: &["IPaddr::10.0.0.1", "web"],
        hopfudge: 1,
        is_netstring: false,
    };
    let mut codec = Codec::new(setup).unwrap_or_else(|error| panic!("{error:?}"));
    codec.set_uuid(NodeId(1), Uuid([8; 16]));
    codec
}

/// One packet in either form: as it came, and with the signature that it should have. What is understood is said again.
pub(super) fn packet(data: &[u8]) {
    CODEC.with(|codec| {
        let mut scratch = vec![0; data.len() + 64];
        let _ = codec.decode(data, &mut scratch);
        Codec::strings(data, &mut |name, _| assert_ne!(name, "auth", "signatures are not passed on"));
        let Some(sealed) = codec.seal(data) else { return };
        match codec.decode(&sealed, &mut scratch) {
            Ok(message) => say_again(codec, &message),
            Err(Reject::BadDigest { .. } | Reject::Unsigned | Reject::UnknownKey { .. } | Reject::ScratchFull) => {
                panic!("{:?}", sealed.escape_ascii().to_string());
            }
            Err(_) => {}
        }
    });
}

/// Says a message as if it were ours, in each form; each must be understood as the same.
fn say_again(codec: &Codec, message: &Message<'_>) {
    let Some(packet) = packet_of(message) else { return };
    let mut out = [0; ENCODED_MAX];
    let mut room = [0; 2 * ENCODED_MAX];
    let mut scratch = [0; ENCODED_MAX];
    let len = codec.encode_datagram(&packet, &mut out).expect("what was said can be said");
    compare(message, &packet, codec.decode(&out[..len], &mut scratch));
    let len = codec.encode_serial(&packet, &mut out).expect("on a serial line as well");
    compare(message, &packet, codec.decode(&out[..len], &mut scratch));
    let len = codec.encode_compressed(&packet, &mut room, &mut out).expect("and packed");
    assert_eq!(codec.decode(&out[..len], &mut []), Err(Reject::Compressed));
    EXPANDER.with_borrow_mut(|expander| {
        let expanded = codec.expand(&out[..len], expander).expect("our own packing");
        compare(message, &packet, codec.decode_expanded(&expanded, &mut scratch));
    });
}

fn compare(before: &Message<'_>, packet: &Packet, after: Result<Message<'_>, Reject>) {
    let after = after.expect("what we say is understood");
    assert_eq!((after.src, after.generation, after.ts), (NODES[0], Generation(5), before.ts));
    assert_eq!((after.seq, after.dest), (before.seq, packet.to.map(|node| NODES[usize::from(node.0)])));
    assert_eq!(after.body, before.body);
}

/// The packet that says the same. `None` for what is only received, and for words that the encoder does not take from it.
fn packet_of(message: &Message<'_>) -> Option<Packet> {
    let mut group = None;
    let body = match message.body {
        Body::Status { status: Some(status), dead_ms, has_protocol, is_nullbeat, extension } => {
            Body::Status { status: Some(status), dead_ms, has_protocol, is_nullbeat, extension }
        }
        Body::Resource { holds, is_full, is_stable, info } if info != ResourceInfo::Other => {
            Body::Resource { holds, is_full, is_stable, info }
        }
        Body::Ack { acked } => Body::Ack { acked },
        Body::RexmitRequest { first, last } => Body::RexmitRequest { first, last },
        Body::RexmitNak { first, too_low } => Body::RexmitNak { first, too_low },
        Body::AskResources { set, word, only, after_failure } => Body::AskResources { set, word, only, after_failure },
        Body::Takeover { set } => Body::Takeover { set },
        Body::IpRequest { group: Some(known), .. } => {
            group = Some(known);
            Body::IpRequest { key: "", group: None }
        }
        Body::IpRequestResp { group: Some(known), is_ok, .. } => {
            group = Some(known);
            Body::IpRequestResp { key: "", group: None, is_ok }
        }
        Body::ReqNodes => Body::ReqNodes,
        Body::Starting => Body::Starting,
        Body::ShutDone => Body::ShutDone,
        Body::Ipfail(word) => Body::Ipfail(word),
        Body::ClientAnswer { client, asker, is_online } => Body::ClientAnswer { client, asker, is_online },
        _ => return None,
    };
    let to = message.dest.and_then(|name| NODES.iter().position(|node| *node == name));
    let to = to.and_then(|node| u8::try_from(node).ok()).map(NodeId);
    Some(Packet { to, seq: message.seq, ts: message.ts, body, about: None, group })
}

/// A serial line, cut anywhere; then a good message, which must be found.
pub(super) fn serial_line(data: &[u8]) {
    let (size, line) = choice(data);
    let frames = |size: usize| {
        let mut stream = TextStream::new();
        let mut frames = Vec::new();
        for mut chunk in line.chunks(size.max(1)) {
            while let Some(frame) = stream.next(&mut chunk) {
                assert!(frame.starts_with(b">>>\n") && frame.ends_with(b"<<<\n"));
                frames.push(frame.to_vec());
            }
            assert!(chunk.is_empty());
        }
        (frames, stream)
    };
    let (whole, mut stream) = frames(line.len());
    assert_eq!(whole, frames(size % 16 + 1).0, "it does not matter how the bytes are cut");
    CODEC.with(|codec| {
        whole.iter().for_each(|frame| assert!(codec.decode(frame, &mut vec![0; frame.len()]) != Err(Reject::TooLong)));
    });
    let tail = [b"\n", FRAME].concat();
    let mut rest = &tail[..];
    let mut is_found = false;
    while let Some(frame) = stream.next(&mut rest) {
        is_found |= frame == FRAME;
    }
    assert!(is_found, "the line is not in step again");
}

/// Packed content: as it came under each algorithm's name, and packed by us.
pub(super) fn compressed(data: &[u8]) {
    let (choice, payload) = choice(data);
    let algorithm = ["zlib", "bz2", "lzma"][choice % 3];
    CODEC.with(|codec| {
        EXPANDER.with_borrow_mut(|expander| {
            let mut scratch = vec![0; PACKET_MAX + 1];
            if let Some(bytes) = codec.seal_payload(payload, algorithm)
                && let Ok(expanded) = codec.expand(&bytes, expander)
            {
                assert!(expanded.bytes().len() <= PACKET_MAX + 1);
                let _ = codec.decode_expanded(&expanded, &mut scratch);
                Codec::strings(expanded.bytes(), &mut |_, _| {});
            }
            let Some(packed) = pack(payload) else { return };
            let bytes = codec.seal_payload(&packed, "zlib").expect("room enough");
            if bytes.len() > PACKET_MAX {
                return;
            }
            let expanded = codec.expand(&bytes, expander).expect("our own packing");
            assert_eq!(expanded.bytes(), payload, "what was packed comes out");
            let _ = codec.decode_expanded(&expanded, &mut scratch);
        });
    });
}

/// What comes back from a ping node: an IP packet, an echo, the signed data in it.
pub(super) fn ping_echo(data: &[u8]) {
    let (choice, packet) = choice(data);
    CODEC.with(|codec| {
        for kind in [PingKind::Ping, PingKind::Group, PingKind::Ping6] {
            let _ = codec.check_ping(packet, "gw", kind);
            if let Some(sealed) = codec.seal(packet) {
                let _ = codec.check_ping(&sealed, "gw", kind);
            }
        }
    });
    let (host, kind): (IpAddr, _) = if choice.is_multiple_of(2) {
        (Ipv4Addr::LOCALHOST.into(), PingKind::Ping)
    } else {
        (Ipv6Addr::LOCALHOST.into(), PingKind::Ping6)
    };
    let mut socket = PingSocket::asked_twice(host, kind, 7);
    let from = SocketAddr::from((host, 0)).into();
    let mut echoes = 0;
    for _ in 0..3 {
        if let Received::Echo { start, end } = socket.look_at(packet, &from) {
            assert!(packet.get(start..end).is_some(), "data is inside the packet");
            echoes += 1;
        }
    }
    assert!(echoes <= 1, "each answer counts once");
}

/// The FIFO of the shell tools, cut anywhere; then a good message.
pub(super) fn fifo(data: &[u8]) {
    let (size, bytes) = choice(data);
    let messages = |size: usize| {
        let mut stream = FifoStream::new();
        let mut messages = Vec::new();
        for mut chunk in bytes.chunks(size.max(1)) {
            while let Some(message) = stream.next(&mut chunk) {
                let _ = FifoMessage::parse(message);
                messages.push(message.to_vec());
            }
        }
        (messages, stream)
    };
    let (whole, mut stream) = messages(bytes.len());
    // A netstring's length is trusted only as far as bytes are there: a mark inside of its value begins a new message.
    if !bytes.windows(4).any(|window| window == b"###\n") {
        assert_eq!(whole, messages(size % 16 + 1).0, "it does not matter how the bytes are cut");
    }
    // What waits for the rest of a message gives up when there is no room for more of it.
    let tail = [&[b'x'; FIFO_MESSAGE_MAX], &b"\n"[..], FRAME, FRAME].concat();
    let mut rest = &tail[..];
    let mut is_found = false;
    while let Some(message) = stream.next(&mut rest) {
        is_found |= message == FRAME;
    }
    assert!(is_found, "the FIFO is not in step again");
}

/// What a client says: read, passed on to the cluster, shown to other clients.
pub(super) fn client_message(data: &[u8]) {
    let mut lines = vec![0; RELAYED_LEN_MAX];
    let mut out = vec![0; PACKET_MAX];
    if let Ok(message) = ClientMessage::parse(data) {
        let _ =
            (message.kind(), message.decimal("seq"), message.hex("fmask"), message.dest_uuid(), message.query_uuid());
        message.each_value(|name, value| assert!(name.len() + value.len() < data.len()));
        if let Ok(len) = message.write_lines(&mut lines) {
            pass_on(&lines[..len], &mut out);
        }
    }
    let Some(len) = to_client(data, &mut out) else { return };
    let shown = out[..len].to_vec();
    let len = to_client(&shown, &mut out).expect("no longer than before");
    assert_eq!(shown, &out[..len], "the form for clients is one");
}

/// What is relayed must be taken by the other node, with all its fields and the sender's own.
fn pass_on(lines: &[u8], out: &mut [u8]) {
    let body = Body::Relayed { id: RelayId(1) };
    let packet = Packet { to: Some(NodeId(1)), seq: Some(Seq(9)), ts: 1, body, about: None, group: None };
    CODEC.with(|codec| {
        let mut scratch = vec![0; out.len()];
        for is_serial in [false, true] {
            let encode = if is_serial { Codec::encode_serial_with } else { Codec::encode_datagram_with };
            let Some(len) = encode(codec, &packet, lines, out) else { continue };
            if is_serial {
                let mut stream = TextStream::new();
                assert_eq!(stream.next(&mut &out[..len]), Some(&out[..len]), "nothing inside ends or begins a message");
            }
            let again = ClientMessage::parse(&out[..len]).expect("a message");
            let mut known = vec![0; lines.len()];
            let known_len = again.write_lines(&mut known).expect("what is relayed can be relayed again");
            assert_eq!(lines, &known[..known_len], "nothing is lost or changed on the way");
            let message = codec.decode(&out[..len], &mut scratch).expect("what is relayed is understood");
            assert_eq!((message.src, message.seq, message.ts), (NODES[0], Some(Seq(9)), 1));
            assert_eq!((message.src_uuid, message.dest, message.dest_uuid), SENDER);
        }
    });
}
