//! A node: the shipped ends of its links, and what the daemon does with them (src/daemon/driver/compact_side.rs).

use std::collections::BTreeSet;

use nullbeat::core::ids::{Generation, KeyNumber, Seq, Uuid};
use nullbeat::core::message::{Body, NodeStatus};
use nullbeat::core::settings::Identity;
use nullbeat::core::time::{Duration, Instant};
use nullbeat::sim::rng::Rng;
use nullbeat::wire::compact::{BODY_MAX, CompactEnd, Received, Secrets, Speaker, Speech, Telling, TextNote};

use super::plan::{Kind, LINKS, Ms};

pub(super) const KEEPALIVE: Ms = 200;
pub(super) const DEAD: Ms = 1_000;

/// Of authkeys: the one that signs, and one of the method `crc`.
pub(super) const KEY: KeyNumber = KeyNumber(1);
pub(super) const CRC_KEY: KeyNumber = KeyNumber(2);

const NAMES: [&str; 2] = ["alpha", "beta"];
const WALL: u32 = 1_700_000_000;

/// A status in Heartbeat's format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Text {
    pub(super) note: TextNote,
    pub(super) seq: u64,
    /// The digest fits.
    pub(super) is_signed: bool,
}

/// What goes over a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wire {
    Text(Text),
    Frame(Vec<u8>),
}

/// Run and number of a beat.
pub(super) type Number = (u32, u64);

/// What a node has to show to the outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct State {
    pub(super) speech: [Speech; LINKS],
    /// How many were opened, and with which run the last one is.
    pub(super) sessions: [(u32, Option<u32>); LINKS],
    pub(super) known: Option<Number>,
    /// Frames taken.
    pub(super) taken: [u32; LINKS],
}

/// What somebody has made of what came.
#[derive(Debug, Default)]
pub(super) struct Heard {
    /// The beat that was in it, whether new or not.
    pub(super) beat: Option<Number>,
    /// A frame of a session.
    pub(super) is_frame: bool,
    /// To be said on the same link, with the number of the beat in it if it is one.
    pub(super) reply: Option<(Wire, Option<u64>)>,
}

pub(super) struct Node {
    index: usize,
    pub(super) kind: Kind,
    pub(super) generation: u32,
    pub(super) born: Ms,
    pub(super) is_up: bool,
    pub(super) frozen_until: Ms,
    ends: Vec<CompactEnd>,
    pub(super) seq: u64,
    /// The newest beat of the partner that was accepted, and when.
    pub(super) known: Option<Number>,
    pub(super) accepted_at: Ms,
    /// What was taken in this run, by the numbers of the originals.
    pub(super) taken: BTreeSet<u64>,
}

pub(super) fn at(now: Ms) -> Instant {
    Instant::from_millis(now)
}

/// The ends of a node's links.
pub(super) fn speaker(index: usize, generation: u32, is_strict: bool, secret: &[u8]) -> Speaker {
    let mut secrets = Secrets::new(KEY);
    assert!(secrets.add(KEY, secret));
    let byte = u8::try_from(index + 1).expect("two nodes");
    Speaker {
        secrets,
        identity: Identity { uuid: Uuid([byte; 16]), generation: Generation(generation) },
        name: NAMES[index].try_into().expect("short"),
        partner: NAMES[1 - index].try_into().expect("short"),
        is_strict,
        patience: Duration::from_millis(DEAD),
    }
}

pub(super) fn seed(rng: &mut Rng) -> [u8; 32] {
    std::array::from_fn(|_| rng.draw().to_le_bytes()[0])
}

impl Node {
    pub(super) fn new(index: usize) -> Self {
        Self {
            index,
            kind: Kind::Original,
            generation: 100,
            born: 0,
            is_up: false,
            frozen_until: 0,
            ends: Vec::new(),
            seq: 0,
            known: None,
            accepted_at: 0,
            taken: BTreeSet::new(),
        }
    }

    /// A new run.
    pub(super) fn start(&mut self, kind: Kind, now: Ms, rng: &mut Rng) {
        let generation = self.generation + 1;
        *self = Self { kind, generation, born: now, is_up: true, accepted_at: now, ..Self::new(self.index) };
        self.seq = rng.below(100);
        if kind.is_able() {
            let speaker = speaker(self.index, generation, kind == Kind::Compact, b"secret");
            self.ends = (0..LINKS).map(|_| CompactEnd::new(&speaker, seed(rng), None, at(now))).collect();
        }
    }

    pub(super) const fn is_awake(&self, now: Ms) -> bool {
        self.is_up && now >= self.frozen_until
    }

    pub(super) fn state(&self, now: Ms) -> State {
        let mut state = State {
            speech: [Speech::Heartbeat; LINKS],
            sessions: [(0, None); LINKS],
            known: self.known,
            taken: [0; LINKS],
        };
        for (link, end) in self.ends.iter().enumerate() {
            state.speech[link] = end.speech(at(now));
            state.sessions[link] = (end.sessions(), end.generation().map(|generation| generation.0));
            state.taken[link] = end.taken().0;
        }
        state
    }

    const fn own(&self) -> (Seq, u32) {
        (Seq(if self.seq == 0 { 1 } else { self.seq }), WALL)
    }

    fn telling(&self) -> Telling {
        let mut telling = Telling { status: Some(NodeStatus::Active), dead_ms: 1_000, ts: WALL, ..Telling::default() };
        if let Some((generation, seq)) = self.known {
            telling.extension.echo_generation = Generation(generation);
            telling.extension.echo_seq = Seq(seq);
        }
        telling
    }

    /// What a beat is said with on each link; `Some` is its number, `None` is a call.
    pub(super) fn beat(&mut self, now: Ms) -> Vec<(usize, Wire, Option<u64>)> {
        self.seq += 1;
        let (own, telling, seq) = (self.own(), self.telling(), self.seq);
        let is_offering = self.kind == Kind::Auto;
        let note = TextNote { generation: Generation(self.generation), key: KEY, is_offering };
        let text = Wire::Text(Text { note, seq, is_signed: true });
        let mut said = Vec::new();
        for link in 0..LINKS {
            let Some(end) = self.ends.get_mut(link) else {
                said.push((link, text.clone(), Some(seq)));
                continue;
            };
            let mut frame = [0; BODY_MAX];
            if let Some(len) = end.poll_call(own, at(now), &mut frame) {
                said.push((link, Wire::Frame(frame[..len].to_vec()), None));
            }
            let speech = end.speech(at(now));
            if matches!(speech, Speech::Both | Speech::Compact) {
                let len = end.beat(Seq(seq), &telling, false, &mut frame).expect("a session");
                said.push((link, Wire::Frame(frame[..len].to_vec()), Some(seq)));
            }
            if matches!(speech, Speech::Both | Speech::Heartbeat) {
                said.push((link, text.clone(), Some(seq)));
            }
        }
        said
    }

    /// Takes what has come on a link.
    pub(super) fn receive(&mut self, link: usize, wire: &Wire, now: Ms) -> Heard {
        match wire {
            Wire::Text(text) => self.receive_text(link, text, now),
            Wire::Frame(frame) => self.receive_frame(link, frame, now),
        }
    }

    fn receive_text(&mut self, link: usize, text: &Text, now: Ms) -> Heard {
        let is_crc = text.note.key == CRC_KEY;
        let takes_text = self.ends.get(link).is_none_or(CompactEnd::takes_text);
        if !takes_text || !(text.is_signed || is_crc) {
            return Heard::default();
        }
        for end in &mut self.ends {
            end.note_text(text.note, at(now));
        }
        // Whoever has `crc` in authkeys lets everybody beat; that is not asked here.
        let number = (text.note.generation.0, text.seq);
        if is_crc { Heard::default() } else { self.hear(number, now) }
    }

    fn hear(&mut self, number: Number, now: Ms) -> Heard {
        if self.known.is_none_or(|known| known < number) {
            self.known = Some(number);
            self.accepted_at = now;
        }
        Heard { beat: Some(number), ..Heard::default() }
    }

    fn receive_frame(&mut self, link: usize, frame: &[u8], now: Ms) -> Heard {
        let (own, telling, mut reply) = (self.own(), self.telling(), [0; BODY_MAX]);
        let Some(end) = self.ends.get_mut(link) else { return Heard::default() };
        match end.take(frame, own, at(now), &mut reply) {
            Ok(Received::Message(message)) => {
                assert!(matches!(message.body, Body::Status { .. }), "nothing else is said");
                let number = (message.generation.0, message.seq.expect("a beat has a number").0);
                Heard { is_frame: true, ..self.hear(number, now) }
            }
            Ok(Received::Reply(len)) => {
                Heard { reply: Some((Wire::Frame(reply[..len].to_vec()), None)), ..Heard::default() }
            }
            Ok(Received::Piece(_)) => panic!("there are no clients"),
            Ok(Received::Opened) => {
                let Ok(len) = end.beat(own.0, &telling, true, &mut reply) else { panic!("a session that is none") };
                let said = (Wire::Frame(reply[..len].to_vec()), Some(own.0.0));
                Heard { reply: (self.seq > 0).then_some(said), ..Heard::default() }
            }
            Err(_) => Heard::default(),
        }
    }
}
