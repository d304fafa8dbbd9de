//! How two ends of a link change over: `src/wire/compact/end.rs`.

use std::collections::BTreeSet;

use super::choice;
use crate::core::ids::{Generation, KeyNumber, Seq, Uuid};
use crate::core::message::Body;
use crate::core::settings::Identity;
use crate::core::time::{Duration, Instant};
use crate::wire::compact::{BODY_MAX, CompactEnd, Received, Secrets, Speaker, Speech, Telling, TextNote};

const TS: u32 = 1_700_000_000;
const KEY: KeyNumber = KeyNumber(1);
const DEAD_MS: u64 = 1_000;
const STEP_MS: u64 = 100;
/// The dead time, the longest pause between two calls, and beats.
const SETTLED_AFTER: u64 = (DEAD_MS + 1_600 + 5 * STEP_MS) / STEP_MS;

/// One end, with the run and the number that it is at.
struct Side {
    end: CompactEnd,
    index: u8,
    is_strict: bool,
    generation: u32,
    seq: u64,
    taken: BTreeSet<usize>,
}

/// What is on its way, or has been.
#[derive(Clone)]
enum Wire {
    Text(TextNote),
    Frame(Vec<u8>),
}

struct Table {
    sides: [Side; 2],
    now: u64,
    /// All that was said, and to whom.
    said: Vec<(usize, Wire)>,
}

impl Side {
    fn new(index: u8, generation: u32, is_strict: bool) -> Self {
        let mut secrets = Secrets::new(KEY);
        assert!(secrets.add(KEY, b"key"));
        let name = |index: u8| ["alpha", "beta"][usize::from(index)].try_into().unwrap_or_default();
        let speaker = Speaker {
            secrets,
            identity: Identity { uuid: Uuid([index + 1; 16]), generation: Generation(generation) },
            name: name(index),
            partner: name(1 - index),
            is_strict,
            patience: Duration::from_millis(DEAD_MS),
        };
        let mut seed = [index; 32];
        seed[..4].copy_from_slice(&generation.to_be_bytes());
        let end = CompactEnd::new(&speaker, seed, None, Instant::from_millis(0));
        Self { end, index, is_strict, generation, seq: 0, taken: BTreeSet::new() }
    }

    fn beat(&mut self, now: Instant) -> Vec<Wire> {
        self.seq += 1;
        let (mut said, mut frame) = (Vec::new(), [0; BODY_MAX]);
        if let Some(len) = self.end.poll_call((Seq(self.seq), TS), now, &mut frame) {
            said.push(Wire::Frame(frame[..len].to_vec()));
        }
        let speech = self.end.speech(now);
        assert!(!self.is_strict || matches!(speech, Speech::Calls | Speech::Compact), "{speech:?}");
        if matches!(speech, Speech::Both | Speech::Compact) {
            let len = self.end.beat(Seq(self.seq), &telling(), false, &mut frame).expect("a session");
            said.push(Wire::Frame(frame[..len].to_vec()));
        }
        if matches!(speech, Speech::Both | Speech::Heartbeat) {
            said.push(Wire::Text(self.note(true)));
        }
        said
    }

    const fn note(&self, is_offering: bool) -> TextNote {
        TextNote { generation: Generation(self.generation), key: KEY, is_offering }
    }

    /// What can be seen of it.
    fn state(&self, now: Instant) -> (Speech, u32, Option<Generation>) {
        (self.end.speech(now), self.end.sessions(), self.end.generation())
    }
}

fn telling() -> Telling {
    Telling { dead_ms: 1_000, ts: TS, ..Telling::default() }
}

impl Table {
    fn at(&self) -> Instant {
        Instant::from_millis(self.now)
    }

    fn beat(&mut self, index: usize) {
        let now = self.at();
        let said = self.sides[index].beat(now);
        self.said.extend(said.into_iter().map(|wire| (1 - index, wire)));
    }

    /// Something that was said comes, for the first time or once more.
    fn deliver(&mut self, id: usize) {
        let Some((to, wire)) = self.said.get(id).cloned() else { return };
        let now = self.at();
        let side = &mut self.sides[to];
        match wire {
            Wire::Text(note) if side.end.takes_text() => {
                let known = side.end.generation();
                let is_over = side.end.note_text(note, now);
                assert!(!is_over || known.is_some_and(|known| note.generation > known), "ended by an old status");
            }
            Wire::Text(_) => assert!(side.is_strict),
            Wire::Frame(frame) => {
                let mut reply = [0; BODY_MAX];
                let said = match side.end.take(&frame, (Seq(side.seq.max(1)), TS), now, &mut reply) {
                    Ok(Received::Reply(len)) => Some(len),
                    Ok(Received::Opened) => side.end.beat(Seq(side.seq.max(1)), &telling(), true, &mut reply).ok(),
                    Ok(Received::Message(message)) => {
                        assert!(matches!(message.body, Body::Status { .. }));
                        assert!(side.taken.insert(id), "taken twice");
                        None
                    }
                    Ok(Received::Piece(_)) => panic!("nobody has said that"),
                    Err(_) => None,
                };
                if let Some(len) = said {
                    self.said.push((1 - to, Wire::Frame(reply[..len].to_vec())));
                }
            }
        }
    }

    /// Something that nobody has said.
    fn forge(&mut self, to: usize, frame: &[u8]) {
        let (now, mut reply) = (self.at(), [0; BODY_MAX]);
        let side = &mut self.sides[to];
        let before = side.state(now);
        assert!(side.end.take(frame, (Seq(1), TS), now, &mut reply).is_err(), "nobody has said that");
        assert_eq!(side.state(now), before);
    }

    fn restart(&mut self, index: usize) {
        let side = &mut self.sides[index];
        *side = Side::new(side.index, side.generation + 1, side.is_strict);
    }
}

/// Any order of beats, arrivals, copies, losses, restarts and forgeries; then both get along.
pub(super) fn change_over(data: &[u8]) {
    let (first, steps) = choice(data);
    let side = |index: u8| Side::new(index, 1, first >> index & 1 == 1);
    let mut table = Table { sides: [side(0), side(1)], now: 0, said: Vec::new() };
    for step in steps.chunks(2).take(200) {
        let (what, which) = (usize::from(step[0]), usize::from(step.get(1).copied().unwrap_or(0)));
        let newest = table.said.len().saturating_sub(1);
        match what % 8 {
            0 | 1 => table.beat(what % 8),
            2 => table.deliver(newest),
            3 => table.deliver(newest.saturating_sub(which)),
            4 => table.now += which as u64 * 10,
            5 => table.restart(which % 2),
            6 => table.forge(which % 2, steps),
            _ => {
                // Whoever has the key and says another thing about itself.
                let (index, is_offering) = (which % 2, which & 2 != 0);
                let note = table.sides[index].note(is_offering);
                table.said.push((1 - index, Wire::Text(note)));
                table.deliver(table.said.len() - 1);
            }
        }
    }
    for _ in 0..SETTLED_AFTER {
        table.now += STEP_MS;
        let mut next = table.said.len();
        (0..2).for_each(|index| table.beat(index));
        while next < table.said.len() {
            table.deliver(next);
            next += 1;
        }
    }
    let now = table.at();
    for side in &table.sides {
        assert_eq!(side.end.speech(now), Speech::Compact, "{:?} of {}", side.state(now), side.index);
    }
}
