//! The compact format on the links where the partner speaks it: frames in and out. The core does not notice: they are
//! another coding of the same messages.

use super::Driver;
use super::receiving::{Desk, Ears, Origin, read};
use crate::core::ids::{LinkId, Seq};
use crate::core::message::{Body, Packet};
use crate::core::{Cause, Event};
use crate::links::Cargo;
use crate::links::serial::SerialLine;
use crate::wire::compact::{
    BODY_MAX, LINE_MAX, PIECED_MAX, PIECES_MAX, Received, Reject, Speech, Telling, TextNote, Unsaid, to_line,
};
use crate::wire::heartbeat;

/// Bit of the first byte that Heartbeat's messages have, and compact frames have not.
const TEXT_BIT: u8 = 0x20;

/// Whether a datagram is a compact frame.
pub(super) fn is_frame(datagram: &[u8]) -> bool {
    datagram.first().is_some_and(|first| first & TEXT_BIT == 0)
}

/// What beats tell beside what the core says.
#[derive(Debug, Default)]
pub(super) struct Moment {
    /// How long this node was last late.
    stalled_ms: u16,
    /// Why its holdings changed last.
    cause: Option<Cause>,
    /// The newest beat.
    beat: Option<Packet>,
}

impl Moment {
    /// Whether it is a copy of the newest beat, which is said again.
    pub(super) fn is_copy(&self, packet: &Packet) -> bool {
        matches!(packet.body, Body::Status { .. }) && self.beat.is_some_and(|beat| beat.seq == packet.seq)
    }

    /// Something leaves.
    pub(super) fn note(&mut self, packet: &Packet) {
        let is_newer = |beat: Packet| beat.seq < packet.seq;
        if matches!(packet.body, Body::Status { .. }) && self.beat.is_none_or(is_newer) {
            self.beat = Some(*packet);
        }
    }

    /// Something has happened.
    pub(super) fn tell(&mut self, event: Event) {
        match event {
            Event::Late { ms } => self.stalled_ms = u16::try_from(ms).unwrap_or(u16::MAX),
            Event::Group { cause, .. } => self.cause = Some(cause),
            _ => {}
        }
    }
}

/// What becomes of a frame.
enum Heard {
    Message(Result<Origin, heartbeat::Reject>),
    Reply(usize),
    Opened,
    Refused(Reject),
}

impl Heard {
    /// Takes what has come on a link.
    fn new(received: Result<Received<'_>, Reject>, link: LinkId, with: Desk<'_>, ears: &mut Ears<'_>) -> Self {
        match received {
            Ok(Received::Message(message)) => {
                let message = with.codec.with_group(message);
                // Written out in Heartbeat's format only for those who read that.
                let len =
                    if ears.reads_plain(&message) { with.codec.retell(&message, with.text).unwrap_or(0) } else { 0 };
                Self::Message(Ok(ears.hear(link, &message, with.text.get(..len).unwrap_or_default())))
            }
            Ok(Received::Piece(piece)) if piece.is_whole() => {
                Self::Message(read(with.codec, piece.bytes, (with.scratch, with.expander), |message, plain| {
                    ears.hear_client(link, piece.number, message, plain)
                }))
            }
            Ok(Received::Piece(_)) => Self::Message(Ok(Origin::Other)),
            Ok(Received::Reply(len)) => Self::Reply(len),
            Ok(Received::Opened) => Self::Opened,
            Err(reject) => Self::Refused(reject),
        }
    }
}

impl Driver<'_> {
    /// Our newest number and wall clock, for calls and answers.
    fn own_numbers(&self) -> (Seq, u32) {
        (self.node.comms().own_seq().max(Seq(1)), self.now.wall.max(1))
    }

    /// A datagram that is a frame.
    pub(super) fn take_frame(&mut self, link: LinkId, frame: &[u8]) {
        let (own, mut reply) = (self.own_numbers(), [0; BODY_MAX]);
        let (this, mut ears) = self.split();
        let Some(end) = this.links.get_mut(link).and_then(|slot| slot.compact()) else { return };
        let received = end.take(frame, own, ears.now.now, &mut reply);
        let heard = Heard::new(received, link, this.desk, &mut ears);
        self.settle_frame(link, frame.len(), (heard, &reply));
    }

    /// What a serial line has brought, for both readers.
    pub(super) fn take_bytes(&mut self, link: LinkId, bytes: &[u8]) {
        if self.links.get_mut(link).is_some_and(|slot| slot.takes_text()) {
            self.take_stream(link, bytes);
        }
        let mut rest = bytes;
        loop {
            let (own, mut reply) = (self.own_numbers(), [0; BODY_MAX]);
            let (this, mut ears) = self.split();
            let Some(end) = this.links.get_mut(link).and_then(|slot| slot.compact()) else { return };
            let Some((len, received)) = end.next(&mut rest, own, ears.now.now, &mut reply) else {
                return this.links.await_frame(link);
            };
            *this.has_heard = true;
            let heard = Heard::new(received, link, this.desk, &mut ears);
            self.settle_frame(link, len, (heard, &reply));
        }
    }

    fn settle_frame(&mut self, link: LinkId, len: usize, (heard, reply): (Heard, &[u8])) {
        match heard {
            Heard::Message(outcome) => self.settle(link, len, outcome),
            Heard::Reply(len) => self.send_frame(link, reply.get(..len).unwrap_or_default(), Cargo::Call),
            Heard::Opened => {
                if let Some(beat) = self.moment.beat {
                    self.stamp();
                    self.say_compact(link, &beat, true);
                }
            }
            Heard::Refused(Reject::Reflected) => {
                self.node.count_own_copy();
                if let Some(slot) = self.links.get_mut(link) {
                    slot.count_echo();
                }
            }
            Heard::Refused(reject) => self.refuse_frame(link, len, reject),
        }
    }

    fn refuse_frame(&mut self, link: LinkId, len: usize, reject: Reject) {
        let now = self.now.now;
        let Some(slot) = self.links.get_mut(link) else { return };
        let is_attack = matches!(reject, Reject::BadTag | Reject::UnknownKey { .. } | Reject::Stranger);
        if !is_attack || !self.config.log_badpack {
            log::debug!("compact frame of {len} bytes on {} dropped: {reject:?}", slot.name());
        } else if let Some(hidden) = slot.may_complain(now) {
            let name = slot.name();
            log::warn!("compact frame of {len} bytes on {name} dropped: {reject:?} ({hidden} more were not logged)");
        }
    }

    /// What a status in Heartbeat's format tells of the partner's run.
    pub(super) fn note_text(&mut self, note: Option<TextNote>) {
        let Some(note) = note else { return };
        for link in self.links.note_text(note, self.now.now).iter() {
            if let Some(slot) = self.links.get_mut(link) {
                log::info!("Link {}: the other side has started anew; back to Heartbeat's messages", slot.name());
            }
        }
    }

    /// Says a packet on a link in the compact format, as far as that is spoken there. Returns whether Heartbeat's message has
    /// to be said, too.
    pub(super) fn speak(&mut self, link: LinkId, packet: &Packet) -> bool {
        let is_beat = matches!(packet.body, Body::Status { .. });
        if is_beat {
            self.call(link);
        }
        let now = self.now.now;
        match self.links.get_mut(link).map_or(Speech::Heartbeat, |slot| slot.speech(now)) {
            Speech::Heartbeat => true,
            Speech::Calls => false,
            // What clients say goes once.
            Speech::Both if matches!(packet.body, Body::Relayed { .. }) => true,
            Speech::Both => {
                self.say_compact(link, packet, false);
                true
            }
            Speech::Compact => {
                let is_idle = is_beat && self.is_idle(link) && self.cargo(packet) == Cargo::Beat;
                let is_said = self.say_compact(link, packet, false);
                if is_beat {
                    self.say_news(link);
                }
                if is_idle && self.codec.news().is_empty() {
                    self.say_piece(link);
                }
                let takes_text = self.links.get_mut(link).is_some_and(|slot| slot.takes_text());
                !is_said && takes_text
            }
        }
    }

    /// Calls the partner, when that is due.
    fn call(&mut self, link: LinkId) {
        let (own, now, mut frame) = (self.own_numbers(), self.now.now, [0; BODY_MAX]);
        let end = self.links.get_mut(link).and_then(|slot| slot.compact());
        if let Some(len) = end.and_then(|end| end.poll_call(own, now, &mut frame)) {
            self.send_frame(link, &frame[..len], Cargo::Call);
        }
    }

    /// Says a packet in the compact format. `false`: it has no frame there.
    fn say_compact(&mut self, link: LinkId, packet: &Packet, is_all: bool) -> bool {
        let mut frame = [0; BODY_MAX];
        let cargo = match self.cargo(packet) {
            Cargo::Beat => Cargo::ShortBeat,
            cargo => cargo,
        };
        let said = match packet.body {
            Body::Status { status, dead_ms, extension, .. } => {
                let telling = Telling {
                    status,
                    dead_ms: dead_ms.unwrap_or(0),
                    ts: packet.ts.max(1),
                    stalled_ms: self.moment.stalled_ms,
                    cause: self.moment.cause,
                    extension: extension.unwrap_or_else(|| self.node.extension()),
                };
                let Some(end) = self.links.get_mut(link).and_then(|slot| slot.compact()) else { return false };
                let seq = packet.seq.unwrap_or_default();
                end.beat(seq, &telling, is_all, &mut frame)
            }
            Body::Relayed { .. } => return self.say_pieces(link, packet),
            _ => {
                let (links, numbers) = (&mut self.links, (packet.seq, packet.ts.max(1)));
                let Some(end) = links.get_mut(link).and_then(|slot| slot.compact()) else { return false };
                let is_addressed = packet.to.is_some();
                let said =
                    self.codec.with_texts(packet, |body| end.link().say(numbers, is_addressed, body, &mut frame));
                said.unwrap_or(Err(Unsaid::NotOurs))
            }
        };
        match said {
            Ok(len) => self.send_frame(link, &frame[..len], cargo),
            Err(unsaid) => log::debug!("{:?} has no compact frame: {unsaid:?}", packet.body),
        }
        said.is_ok()
    }

    /// Says what a client says. `false`: it is too long for that, or there is no session.
    fn say_pieces(&mut self, link: LinkId, packet: &Packet) -> bool {
        let len = self.codec.encode_serial_with(packet, self.clients.said(packet), &mut self.text);
        let (Some(total), Some(seq)) = (len.filter(|len| *len <= PIECED_MAX), packet.seq) else { return false };
        let Some(slot) = self.links.get_mut(link) else { return false };
        let waiting = slot.link().line().map_or(0, SerialLine::of_clients);
        let Some(end) = slot.compact() else { return false };
        let Some(piece_len) = end.piece_len() else {
            end.say_slowly(seq, &self.text[..total]);
            return true;
        };
        if waiting + total.div_ceil(piece_len) > PIECES_MAX {
            // It is missed and asked for.
            return true;
        }
        let mut at = 0;
        while at < total {
            let Some(end) = self.links.get_mut(link).and_then(|slot| slot.compact()) else { return false };
            let piece = &self.text[at..total.min(at + piece_len)];
            let (step, mut frame) = (piece.len(), [0; BODY_MAX]);
            let Ok(len) = end.link().piece(seq, (at, total), piece, &mut frame) else { return false };
            self.send_frame(link, &frame[..len], Cargo::Client);
            at += step;
        }
        true
    }

    /// Whether a serial line has nothing to do.
    fn is_idle(&mut self, link: LinkId) -> bool {
        let now = self.now.now;
        self.links.get_mut(link).and_then(|slot| slot.link().line()).is_some_and(|line| line.is_idle(now))
    }

    /// A piece of what a client says, behind a beat, where pieces must not wait.
    fn say_piece(&mut self, link: LinkId) {
        let mut frame = [0; BODY_MAX];
        let end = self.links.get_mut(link).and_then(|slot| slot.compact());
        if let Some(len) = end.and_then(|end| end.poll_piece(&mut frame)) {
            self.send_frame(link, &frame[..len], Cargo::Client);
        }
    }

    /// What this beat tells the partner's history goes behind it: a beat stays short.
    fn say_news(&mut self, link: LinkId) {
        let Some(beat) = self.moment.beat.filter(|_| !self.codec.news().is_empty()) else { return };
        let Some(end) = self.links.get_mut(link).and_then(|slot| slot.compact()) else { return };
        // Whoever has lost the beat gets no status out of this.
        let telling = Telling { status: None, ts: beat.ts.max(1), ..Telling::default() };
        let mut frame = [0; BODY_MAX];
        if let Ok(len) = end.tell_news(beat.seq.unwrap_or_default(), &telling, self.codec.news(), &mut frame) {
            self.send_frame(link, &frame[..len], Cargo::Daemon);
        }
    }

    fn send_frame(&mut self, link: LinkId, frame: &[u8], cargo: Cargo) {
        if self.losses.loses_transmitted() {
            return;
        }
        let now = self.now.now;
        let Some(slot) = self.links.get_mut(link) else { return };
        let mut line = [0; LINE_MAX];
        let sent = if slot.link().is_text() {
            let len = to_line(frame, &mut line).unwrap_or(0);
            slot.link().send(&line[..len], cargo, now)
        } else {
            slot.link().send(frame, cargo, now)
        };
        if let Err(error) = sent {
            self.lose_link(link, &error);
        }
    }
}
