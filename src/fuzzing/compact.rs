//! The compact format: `src/wire/compact`.

use std::cell::RefCell;

use super::choice;
use crate::core::ids::{Generation, KeyNumber, Seq, Uuid};
use crate::core::message::{Body, Message};
use crate::core::settings::Identity;
use crate::wire::compact::{BODY_MAX, LINE_MAX, LineStream, Link, Order, Received, Secrets, Setup, Telling, to_line};

const TS: u32 = 1_700_000_000;
const SEQ: Seq = Seq(5);
/// A frame that every stream must find, whatever came before it.
const FRAME: &[u8] = b"\x03ab\0cd";

thread_local! {
    static PAIR: (Link, Link) = pair();
    static CLOSED: RefCell<Link> = RefCell::new(link("beta", "alpha", 2));
}

fn link(name: &str, partner: &str, byte: u8) -> Link {
    let mut secrets = Secrets::new(KeyNumber(1));
    assert!(secrets.add(KeyNumber(1), b"key"));
    Link::new(Setup {
        secrets,
        identity: Identity { uuid: Uuid([byte; 16]), generation: Generation(5) },
        name: name.try_into().unwrap_or_default(),
        partner: partner.try_into().unwrap_or_default(),
        seed: [byte; 32],
        order: Order::Loose,
    })
}

/// Both ends of an open link.
fn pair() -> (Link, Link) {
    let (mut alpha, mut beta) = (link("alpha", "beta", 1), link("beta", "alpha", 2));
    let (mut there, mut back) = ([0; BODY_MAX], [0; BODY_MAX]);
    let len = alpha.call(SEQ, TS, &mut there).expect("a key");
    let Ok(Received::Reply(len)) = beta.receive(&there[..len], SEQ, TS, &mut back) else { panic!("no answer") };
    assert_eq!(alpha.receive(&back[..len], SEQ, TS, &mut there), Ok(Received::Opened));
    let len = alpha.beat(SEQ, &Telling::default(), &mut there).expect("open");
    assert!(beta.receive(&there[..len], SEQ, TS, &mut back).is_ok());
    (alpha, beta)
}

/// A serial line, cut anywhere; then a good frame, which must be found.
pub(super) fn line(data: &[u8]) {
    let (size, line) = choice(data);
    let frames = |stream: &mut LineStream, mut bytes: &[u8]| {
        std::iter::from_fn(|| stream.next(&mut bytes).map(<[u8]>::to_vec)).collect::<Vec<_>>()
    };
    let mut stream = LineStream::new();
    let whole = frames(&mut stream, line);
    let mut other = LineStream::new();
    let pieces: Vec<Vec<u8>> = line.chunks(size % 16 + 1).flat_map(|piece| frames(&mut other, piece)).collect();
    assert_eq!(whole, pieces, "it does not matter how the bytes are cut");
    assert_eq!(stream.counters(), other.counters());
    let mut out = [0; LINE_MAX];
    for frame in &whole {
        let len = to_line(frame, &mut out).expect("what came over the line fits on it");
        assert_eq!(frames(&mut LineStream::new(), &out[..len]), [&frame[..]]);
        let stretch = &out[1..len - 1];
        assert!(line.split(|byte| *byte == 0).any(|part| part == stretch), "there is one way to write it");
    }
    let len = to_line(FRAME, &mut out).expect("short");
    assert_eq!(frames(&mut stream, &out[..len]).last().map(Vec::as_slice), Some(FRAME), "not in step again");
}

/// One frame: as it came, which nobody takes, and sealed as the partner would. What is understood is said again.
pub(super) fn frame(data: &[u8]) {
    let mut reply = [0; BODY_MAX];
    CLOSED.with_borrow_mut(|link| assert!(link.receive(data, SEQ, TS, &mut reply).is_err()));
    let (mut alpha, mut beta) = PAIR.with(Clone::clone);
    assert!(beta.receive(data, SEQ, TS, &mut reply).is_err(), "nobody has sealed it");
    let (first, payload) = choice(data);
    let mut out = [0; BODY_MAX];
    let first = u8::try_from(first).unwrap_or_default();
    let Some(len) = alpha.seal(first, payload, &beta, &mut out) else { return };
    let Ok(Received::Message(message)) = beta.receive(&out[..len], SEQ, TS, &mut reply) else { return };
    say_again(&mut alpha, &message);
}

/// Says a message with the other end of the link, in a session of its own; it must be understood as the same.
fn say_again(alpha: &mut Link, message: &Message<'_>) {
    let (mut fresh, mut beta) = PAIR.with(Clone::clone);
    let (mut out, mut reply) = ([0; BODY_MAX], [0; BODY_MAX]);
    let seq = Seq(6);
    let len = match message.body {
        Body::Status { status, dead_ms, extension: Some(extension), .. } => {
            let telling =
                Telling { status, dead_ms: dead_ms.unwrap_or(0), ts: message.ts, extension, ..Telling::default() };
            fresh.tell_all(seq, &telling, message.news.unwrap_or_default(), &mut out).expect("what was said fits")
        }
        // Half of a node's state cannot be said alone.
        Body::Status { .. } => return assert!(alpha.is_open()),
        body => {
            let number = message.seq.map(|_| seq);
            fresh.say((number, message.ts), message.dest.is_some(), &body, &mut out).expect("what was said fits")
        }
    };
    let again = beta.receive(&out[..len], SEQ, TS, &mut reply);
    let Ok(Received::Message(again)) = again else { panic!("{again:?}") };
    assert_eq!((again.ts, again.dest, again.body), (message.ts, message.dest, message.body));
    assert_eq!(again.news, message.news);
}
