//! The core of the example for a supervisor microcontroller, against a board that speaks the format.

use nullbeat::core::ids::{Generation, Seq};
use nullbeat::core::message::Body;
use nullbeat::core::settings::Identity;
use nullbeat::sim::rng::Rng;
use nullbeat::wire::compact::{BODY_MAX, LINE_MAX, LineStream, Link, Order, Received, Telling, to_line};

use super::pair::{ALPHA, SECRET, TS, setup};
use super::responder::{Provision, Responder};

/// Of a chip with 16 KiB of RAM, what the responder may take beside its stack: most of it are two sessions.
const STATE_MAX: usize = 3072;

fn responder(generation: u32) -> Responder {
    let provision = Provision { secret: SECRET, number: 2, uuid: [9; 16], generation, seed: [9; 32] };
    Responder::new("supervisor", "alpha", &provision).expect("provisioned")
}

struct Board {
    link: Link,
    seq: u64,
}

impl Board {
    fn new() -> Self {
        Self { link: Link::new(setup("alpha", "supervisor", ALPHA, 1, Order::Kept)), seq: 1 }
    }

    fn call(&mut self) -> Vec<u8> {
        let mut frame = [0; BODY_MAX];
        let len = self.link.call(Seq(self.seq), TS, &mut frame).expect("a key");
        on_line(&frame[..len])
    }

    fn beat(&mut self, dead_ms: u32) -> Vec<u8> {
        self.seq += 1;
        let (mut frame, telling) = ([0; BODY_MAX], Telling { dead_ms, ts: TS, ..Telling::default() });
        let len = self.link.beat(Seq(self.seq), &telling, &mut frame).expect("open");
        on_line(&frame[..len])
    }

    /// What comes of an answer: opened, or the number that is echoed.
    fn hear(&mut self, line: &[u8]) -> Vec<Option<Seq>> {
        let (mut stream, mut bytes, mut heard) = (LineStream::new(), line, Vec::new());
        while let Some(frame) = stream.next(&mut bytes) {
            let mut reply = [0; BODY_MAX];
            heard.push(match self.link.receive(frame, Seq(self.seq), TS, &mut reply).expect("of the responder") {
                Received::Opened => None,
                Received::Message(message) => match message.body {
                    // Four pages decide nothing of this node's; the others rotate.
                    Body::Status { extension, .. } => extension.map(|extension| extension.echo_seq),
                    other => panic!("{other:?}"),
                },
                Received::Reply(_) | Received::Piece(_) => panic!("it calls, or has clients"),
            });
        }
        heard
    }
}

fn on_line(frame: &[u8]) -> Vec<u8> {
    let mut out = [0; LINE_MAX];
    let len = to_line(frame, &mut out).expect("a frame");
    out[..len].to_vec()
}

fn feed(responder: &mut Responder, now_ms: u32, line: &[u8]) -> Vec<u8> {
    let mut answer = Vec::new();
    for byte in line {
        let mut out = [0; LINE_MAX];
        let len = responder.byte(now_ms, *byte, &mut out);
        answer.extend(&out[..len]);
    }
    answer
}

#[test]
fn responder_answers_a_call_and_every_beat_between_noise() {
    let (mut responder, mut board, mut rng) = (responder(1), Board::new(), Rng::new(3, 0));
    let answer = feed(&mut responder, 0, &board.call());
    assert_eq!(board.hear(&answer), [None]);
    for round in 0..200 {
        let noise: Vec<u8> = (0..rng.below(40)).map(|_| rng.draw().to_le_bytes()[0]).collect();
        assert!(feed(&mut responder, round, &noise).is_empty());
        let beat = board.beat(100);
        let answer = feed(&mut responder, round, &beat);
        assert_eq!((beat.len(), answer.len()), (28, 28), "round {round}");
        let heard = board.hear(&answer);
        let is_whole = round >= 10;
        assert!(!is_whole || heard == [Some(Seq(board.seq))], "round {round}: {heard:?}");
        // Again, as an echo of the line would bring it.
        assert!(feed(&mut responder, round, &beat).is_empty());
    }
}

#[test]
fn responder_knows_when_the_board_falls_silent_and_when_it_is_back() {
    let (mut responder, mut board) = (responder(1), Board::new());
    assert!(!responder.is_board_silent(u32::MAX), "it was never heard");
    let answer = feed(&mut responder, 0, &board.call());
    board.hear(&answer);
    let mut now = u32::MAX - 500;
    for _ in 0..20 {
        now = now.wrapping_add(50);
        feed(&mut responder, now, &board.beat(300));
        assert!(!responder.is_board_silent(now));
    }
    assert!(!responder.is_board_silent(now.wrapping_add(300)) && responder.is_board_silent(now.wrapping_add(301)));
    // A board that has started again.
    let mut reborn = Board::new();
    let identity = Identity { generation: Generation(ALPHA.generation.0 + 1), ..ALPHA };
    reborn.link = Link::new(setup("alpha", "supervisor", identity, 4, Order::Kept));
    let answer = feed(&mut responder, now, &reborn.call());
    assert_eq!(reborn.hear(&answer), [None]);
    assert_eq!(feed(&mut responder, now.wrapping_add(900), &reborn.beat(300)).len(), 28);
    assert!(!responder.is_board_silent(now.wrapping_add(901)));
    assert!(feed(&mut responder, now, &board.beat(300)).is_empty(), "of a session that is over");
}

#[test]
fn responder_needs_a_secret_and_little_memory() {
    let provision = Provision { secret: b"", number: 2, uuid: [9; 16], generation: 1, seed: [9; 32] };
    assert!(Responder::new("supervisor", "alpha", &provision).is_none());
    assert!(size_of::<Responder>() <= STATE_MAX, "{}", size_of::<Responder>());
    let page = include_str!("../../docs/protocol.md");
    assert!(page.contains(&format!("{STATE_MAX} bytes of RAM")), "docs/protocol.md tells another number");
}
