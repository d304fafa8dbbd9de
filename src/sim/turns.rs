//! Turns of an engine: what has arrived, what it asks for, what it sends.

use std::borrow::Cow;
use std::rc::Rc;

use super::board::Arrived;
use super::brain::{Letter, encode};
use super::fault::Fault;
use super::happening::{Happening, Timer};
use super::plan::{MS, Medium};
use super::world::{World, uuid};
use crate::core::ids::{Generation, LinkId, LinkSet, PingId, RelayId};
use crate::core::message::{Body, Packet};
use crate::core::time::Stamp;
use crate::core::{Action, Input, Request};
use crate::wire::heartbeat::TextStream;

/// Turns in a row that a node may ask for without time passing.
const SPIN_MAX: u32 = 200;
/// From a question to the ping node's answer, microseconds.
const ECHO_TIME: u64 = 700;
/// Letters kept per node for a replay.
const RECORDED: usize = 100;

/// What a board reads bytes with, beside the decoder. Large: one serves all, one message after another.
#[derive(Default)]
pub(super) struct Reader {
    stream: TextStream,
    scratch: Vec<u8>,
}

impl World {
    /// A ping node answers whom it can hear.
    fn ask_ping_node(&mut self, node: usize) {
        let is_cut = |index: &usize| matches!(self.plan.faults[*index].1, Fault::UpstreamLost { node: other, .. } if other == node);
        if !self.standing.iter().any(is_cut) {
            let engine = self.boards[node].engine_life;
            self.after(ECHO_TIME, Happening::Echo { node, engine });
        }
    }

    pub(super) fn arrive(&mut self, to: usize, link: LinkId, letter: Rc<Letter>, is_corrupt: bool) {
        if !self.net.carries(letter.src, to, link, self.now) {
            return;
        }
        self.boards[to].receive(Arrived::Letter(link, letter, is_corrupt));
        self.turn(to);
    }

    /// One turn of a node's engine.
    pub(super) fn turn(&mut self, node: usize) {
        while self.boards[node].is_awake() {
            let engine = self.boards[node].engine.as_mut().expect("awake");
            let Some(arrived) = engine.inbox.pop_front() else { break };
            self.hand_over(node, &arrived);
        }
        let mut spins = 0;
        while self.boards[node].is_awake() {
            let stamp = self.boards[node].stamp(self.now);
            let engine = self.boards[node].engine.as_mut().expect("awake");
            let Some(timeout) = engine.brain.poll_timeout() else { break };
            if timeout > stamp.now {
                self.set_timer(node, timeout.as_micros());
                break;
            }
            spins += 1;
            if spins > SPIN_MAX {
                self.oracle.accuse(self.now, "calm", format!("node {node} spins without time passing"));
                break;
            }
            self.handle(node, stamp, Input::Tick);
            self.oracle.turned(self.now, node, 1, 0);
        }
        self.kick(node);
    }

    fn set_timer(&mut self, node: usize, own: u64) {
        let jitter = if self.rng.chance(20) { self.rng.below(4 * MS) } else { self.rng.below(100) };
        let at = self.boards[node].true_time(own, self.now) + jitter;
        self.planned += 1;
        let number = self.planned;
        if let Some(engine) = &mut self.boards[node].engine {
            engine.timer = number;
        }
        self.timers[node] = Some(Timer { at: at.max(self.now), number });
    }

    fn hand_over(&mut self, node: usize, arrived: &Arrived) {
        let stamp = self.boards[node].stamp(self.now);
        match *arrived {
            Arrived::Letter(link, ref letter, is_corrupt) => self.deliver(node, stamp, link, letter, is_corrupt),
            Arrived::Job(job, outcome) => self.handle(node, stamp, Input::JobDone { job, outcome }),
            Arrived::Device(link, is_open) => self.handle(node, stamp, Input::LinkDevice { link, is_open }),
            Arrived::Fence(shot, outcome) => self.handle(node, stamp, Input::FenceDone { shot, outcome }),
            Arrived::OwnerSet(is_owner) => self.handle(node, stamp, Input::OwnerSet { is_owner, is_ok: true }),
            Arrived::Line(line, level) => self.handle(node, stamp, Input::Line { line, level }),
            Arrived::Watchdog => self.handle(node, stamp, Input::Watchdog { is_armed: true }),
            Arrived::Health(check, health) => self.handle(node, stamp, Input::Health { check, health, from: 0 }),
            Arrived::Echo => self.handle(node, stamp, Input::PingAnswer { ping: PingId(0) }),
            Arrived::Slip => self.handle(node, stamp, Input::Relay { to: None, id: RelayId(0) }),
            Arrived::Guardian(is_present) => self.handle(node, stamp, Input::Guardian { is_present }),
            Arrived::Request(id, request) => {
                if matches!(request, Request::Takeover(_) | Request::ConfirmFence) {
                    self.oracle.vouched(node, stamp.now.as_micros());
                }
                self.handle(node, stamp, Input::Request { id, request });
            }
        }
    }

    fn deliver(&mut self, node: usize, stamp: Stamp, link: LinkId, letter: &Letter, is_corrupt: bool) {
        if letter.bytes.is_some() {
            return self.deliver_bytes(node, stamp, link, letter, is_corrupt);
        }
        if is_corrupt {
            // The signature does not fit: the decoder drops it and counts.
            return;
        }
        self.note_heard(node, stamp, letter);
        let names = Rc::clone(&self.names);
        let message = letter.open(&names);
        self.handle(node, stamp, Input::Received { link, message: &message });
    }

    fn note_heard(&mut self, node: usize, stamp: Stamp, letter: &Letter) {
        let Some(seq) = letter.packet.seq else { return };
        self.oracle.met(node, letter.src, letter.generation);
        if let Body::Status { .. } = letter.packet.body {
            self.oracle.heard(node, letter.src, letter.generation, seq, self.now, stamp.now.as_micros());
        }
    }

    /// The same through the real decoder, which must take what is whole and nothing else.
    fn deliver_bytes(&mut self, node: usize, stamp: Stamp, link: LinkId, letter: &Letter, is_corrupt: bool) {
        let is_serial = self.is_serial(link);
        let Some(forms) = &letter.bytes else { return };
        let mut bytes = Cow::Borrowed(forms[usize::from(is_serial)].as_slice());
        if is_corrupt {
            let place = self.rng.index(bytes.len());
            bytes.to_mut()[place] ^= 1 << self.rng.below(8);
        }
        let Some(codec) = self.boards[node].engine.as_ref().and_then(|engine| engine.codec.clone()) else { return };
        let mut reader = self.reader.take().unwrap_or_default();
        let mut rest = &*bytes;
        let frame = if is_serial { reader.stream.next(&mut rest).unwrap_or_default() } else { &*bytes };
        reader.scratch.resize(bytes.len().max(reader.scratch.len()), 0);
        match codec.decode(frame, &mut reader.scratch) {
            Ok(message) if !is_corrupt => {
                self.note_heard(node, stamp, letter);
                self.handle(node, stamp, Input::Received { link, message: &message });
            }
            Err(reject) if !is_corrupt => {
                self.oracle.accuse(self.now, "wire", format!("{:?} was not taken: {reject:?}", letter.packet));
            }
            // A flipped bit outside of what is signed, such as the case of a digit of the digest, may do no harm.
            Ok(_) | Err(_) => {}
        }
        reader.stream.reset();
        self.reader = Some(reader);
    }

    fn is_serial(&self, link: LinkId) -> bool {
        matches!(self.plan.links[usize::from(link.0)], Medium::Serial { .. })
    }

    fn handle(&mut self, node: usize, stamp: Stamp, input: Input<'_>) {
        self.trace.set_clock(self.now, node);
        let board = &mut self.boards[node];
        let Some(engine) = &mut board.engine else { return };
        engine.brain.handle(stamp, input);
        // Claims grow before the first script is asked for, and shrink after everything is said.
        let claims = engine.brain.claims();
        board.lease.claims = board.lease.claims | claims;
        let life = board.engine_life;
        while let Some(action) = self.boards[node].engine.as_mut().and_then(|engine| engine.brain.poll_action()) {
            self.perform(node, action);
        }
        let board = &mut self.boards[node];
        if board.engine.is_some() && board.engine_life == life {
            board.lease.claims = claims;
        }
    }

    fn perform(&mut self, node: usize, action: Action) {
        match action {
            Action::Transmit { links, packet } => self.transmit(node, links, packet),
            Action::Ping { .. } => self.ask_ping_node(node),
            Action::Run { job, group, order } => self.run_job(node, job, group, order),
            Action::Event(event) => self.note_event(node, event),
            Action::Reply { id, outcome } => {
                self.note(node, format_args!("answers request {}: {outcome:?}", id.0));
                self.outcomes.push((node, id, outcome));
                self.oracle.replied(self.now, node, id);
            }
            Action::Exit => self.exit(node),
            Action::Fence { shot, method } => self.fence(node, shot, method),
            Action::CancelFence { shot } => self.cancel_shot(node, shot),
            Action::NoteFencings { count } => self.boards[node].fencings = count,
            Action::Outrun { known } => self.begin_anew_above(node, known),
            Action::SetOwner { is_owner } => self.set_owner(node, is_owner),
        }
    }

    fn transmit(&mut self, node: usize, links: LinkSet, packet: Packet) {
        let board = &mut self.boards[node];
        if matches!(packet.body, Body::Status { .. }) {
            board.lease.stamp = self.now;
        }
        let mut packet = packet;
        if let Body::Relayed { .. } = packet.body {
            packet.body = board.slip.take().unwrap_or(packet.body);
        }
        let generation = Generation(board.generation);
        let mut letter = Letter { src: node, generation, uuid: uuid(node), sent_at: self.now, packet, bytes: None };
        if self.plan.is_stripped {
            letter.strip();
        }
        if let Some(codec) = self.boards[node].engine.as_ref().and_then(|engine| engine.codec.as_ref()) {
            // What is recorded may be said again on the first link.
            let again = self.is_recording.then_some(LinkId(0));
            let is_said = |is_serial| links.iter().chain(again).any(|link| self.is_serial(link) == is_serial);
            letter.bytes = encode(codec, &letter.packet, [false, true].map(is_said));
            if letter.bytes.is_none() {
                self.oracle.accuse(self.now, "wire", format!("{:?} cannot be said", letter.packet));
            }
        }
        let letter = Rc::new(letter);
        if self.is_recording {
            let recorded = &mut self.recorded[node][0];
            if recorded.len() == RECORDED {
                recorded.pop_front();
            }
            recorded.push_back(Rc::clone(&letter));
        }
        for link in links.iter() {
            self.sent += 1;
            let size = letter.size(self.is_serial(link));
            let mut copies = std::mem::take(&mut self.copies);
            self.net.send(node, link, size, self.now, &mut copies);
            for copy in copies.drain(..) {
                let letter = Rc::clone(&letter);
                self.at(copy.at, Happening::Arrive { to: copy.to, link, letter, is_corrupt: copy.is_corrupt });
            }
            self.copies = copies;
        }
        self.oracle.turned(self.now, node, 0, 1);
    }

    /// A node says something that it would not say by itself.
    pub(super) fn say(&mut self, node: usize, word: Body<'static>) {
        self.boards[node].slip = Some(word);
        self.boards[node].receive(Arrived::Slip);
        self.turn(node);
    }

    /// Sends recorded messages of other nodes to `to` again: those of an older generation if there are any.
    pub(super) fn replay(&mut self, to: usize, count: usize) {
        let mut letters = Vec::new();
        for src in (0..self.plan.nodes).filter(|src| *src != to) {
            let [present, old] = &self.recorded[src];
            let source = if old.is_empty() { present } else { old };
            letters.extend(source.iter().skip(source.len().saturating_sub(count)).cloned());
        }
        for (index, letter) in letters.into_iter().enumerate() {
            let arrive = Happening::Arrive { to, link: LinkId(0), letter, is_corrupt: false };
            self.after(index as u64 * MS, arrive);
        }
    }
}
