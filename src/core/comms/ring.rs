//! The last messages that we sent, kept to be sent again (spec/wire.md 8.4).

use crate::core::ids::{RelayId, Seq};
use crate::core::limits::{RELAYED_MAX, REXMIT_SLOTS};
use crate::core::message::{Body, Packet};
use crate::core::time::{Duration, Instant};

/// One message kept.
#[derive(Debug, Clone, Copy)]
struct Slot {
    packet: Packet,
    seq: Seq,
    sent: Instant,
    resent: Option<Instant>,
}

/// Answer to "send number N again".
#[derive(Debug, Clone, Copy, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "moved straight into the outbox, never kept")]
pub(super) enum Resend {
    /// Here it is.
    Packet(Packet),
    /// It was sent again a moment ago; that copy is on its way.
    JustSent,
    /// It has been overwritten.
    TooLow,
    /// We have not got that far.
    TooHigh,
}

/// A fixed ring: a new message overwrites the oldest, whether or not anybody acknowledged it.
#[derive(Debug, Clone)]
pub(super) struct Ring {
    /// The message with number N at place `place(N)`.
    slots: heapless::Vec<Slot, REXMIT_SLOTS>,
    highest: Seq,
    /// The newest of clients' messages: the caller keeps that and those with [`RELAYED_MAX`] - 1 numbers below.
    relayed: RelayId,
}

impl Ring {
    pub(super) fn new() -> Self {
        Self { slots: heapless::Vec::new(), highest: Seq(0), relayed: RelayId(0) }
    }

    /// Highest number given out; zero before the first.
    pub(super) const fn highest(&self) -> Seq {
        self.highest
    }

    /// Lowest number that can still be had.
    pub(super) const fn lowest(&self) -> Seq {
        Seq(self.highest.0.saturating_sub(REXMIT_SLOTS as u64) + 1)
    }

    /// Index of the newest message: `lastmsg` in Heartbeat's log.
    pub(super) fn newest_slot(&self) -> usize {
        usize::try_from(self.highest.0 % REXMIT_SLOTS as u64).unwrap_or(0)
    }

    /// Gives `packet` the next number, keeps it, and returns the number.
    ///
    /// A status is kept without its extension: what a nullbeat adds describes the moment, and a copy sent later would
    /// tell of a state that is gone. It is repeated with later beats anyway.
    pub(super) fn keep(&mut self, packet: Packet, now: Instant) -> Seq {
        let seq = Seq(self.highest.0 + 1);
        let mut kept = Packet { seq: Some(seq), ..packet };
        match &mut kept.body {
            Body::Status { extension, .. } => *extension = None,
            Body::Relayed { id } => self.relayed = *id,
            _ => {}
        }
        let slot = Slot { packet: kept, seq, sent: now, resent: None };
        match self.slots.get_mut(place(seq)) {
            Some(oldest) => *oldest = slot,
            None => {
                let is_full = self.slots.push(slot).is_err();
                debug_assert!(!is_full);
            }
        }
        self.highest = seq;
        seq
    }

    /// When the message of this number first left; `None` when it is not kept any more or was never sent.
    pub(super) fn sent_at(&self, seq: Seq) -> Option<Instant> {
        self.slot(seq).map(|slot| slot.sent)
    }

    /// Takes the message of this number out for sending again, unless that happened less than `pause` ago.
    pub(super) fn resend(&mut self, seq: Seq, now: Instant, pause: Duration) -> Resend {
        if seq > self.highest {
            return Resend::TooHigh;
        }
        let Some(slot) = self.slots.get_mut(place(seq)).filter(|slot| slot.seq == seq) else {
            return Resend::TooLow;
        };
        if let Body::Relayed { id } = slot.packet.body
            && self.relayed.0.wrapping_sub(id.0) >= RELAYED
        {
            return Resend::TooLow;
        }
        if slot.resent.is_some_and(|last| now.since(last) < pause) {
            return Resend::JustSent;
        }
        slot.resent = Some(now);
        Resend::Packet(slot.packet)
    }

    fn slot(&self, seq: Seq) -> Option<&Slot> {
        self.slots.get(place(seq)).filter(|slot| slot.seq == seq)
    }
}

/// Where the message of this number is kept: numbers begin with 1.
fn place(seq: Seq) -> usize {
    // Smaller than REXMIT_SLOTS, so the conversion cannot fail even where `usize` has 16 bits.
    usize::try_from(seq.0.wrapping_sub(1) % REXMIT_SLOTS as u64).unwrap_or(0)
}

/// [`RELAYED_MAX`] as a difference of numbers.
#[expect(clippy::cast_possible_truncation, reason = "114")]
const RELAYED: u32 = RELAYED_MAX as u32;

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(ts: u32) -> Packet {
        Packet { to: None, seq: None, ts, body: Body::Starting, about: None, group: None }
    }

    #[test]
    fn ring_full_overwrites_the_oldest_only() {
        let mut ring = Ring::new();
        let pause = Duration::from_millis(240);
        for number in 1..=501_u32 {
            assert_eq!(ring.keep(packet(number), Instant::from_millis(number.into())), Seq(number.into()));
        }
        assert_eq!((ring.lowest(), ring.highest()), (Seq(2), Seq(501)));
        assert_eq!(ring.resend(Seq(1), Instant::from_millis(600), pause), Resend::TooLow);
        let Resend::Packet(second) = ring.resend(Seq(2), Instant::from_millis(600), pause) else { panic!("kept") };
        assert_eq!((second.seq, second.ts), (Some(Seq(2)), 2));
        assert_eq!(ring.resend(Seq(502), Instant::from_millis(600), pause), Resend::TooHigh);
        assert_eq!(ring.sent_at(Seq(1)), None);
        assert_eq!(ring.sent_at(Seq(2)), Some(Instant::from_millis(2)));
    }

    #[test]
    fn ring_asked_twice_within_the_pause_sends_once() {
        let mut ring = Ring::new();
        let pause = Duration::from_millis(240);
        ring.keep(packet(1), Instant::ZERO);
        assert!(matches!(ring.resend(Seq(1), Instant::from_millis(1000), pause), Resend::Packet(_)));
        assert_eq!(ring.resend(Seq(1), Instant::from_millis(1239), pause), Resend::JustSent);
        assert!(matches!(ring.resend(Seq(1), Instant::from_millis(1240), pause), Resend::Packet(_)));
    }

    #[test]
    fn ring_zero_was_never_sent() {
        let mut ring = Ring::new();
        assert_eq!(ring.sent_at(Seq(0)), None);
        assert_eq!(ring.resend(Seq(0), Instant::ZERO, Duration::ZERO), Resend::TooLow);
    }
}
