//! The watchdog lease, both sides: when this node lets its own watchdog reset it, and when the partner must have been
//! reset by its own.
//!
//! A node P with a lease kicks its watchdog only until `kick_for` after it *sent* the newest of its messages that the
//! partner Q has acknowledged, by the number in Q's extension. Its board is off `reset_within` after that sending at the
//! latest, and it announces that time. What Q may conclude from it:
//!
//! - P takes a message for acknowledged only if Q has heard it. P had sent it before Q heard it.
//! - So when R is the time at which Q last heard anything of P, everything that P can ever take for acknowledged was sent
//!   before R, whatever of Q's words still reaches P and however late.
//! - So P is reset before R + `reset_within`, as long as P's clock and its watchdog's do not stand still, and Q's clock
//!   measures that time with a margin for both crystals (`margin_of`).
//!
//! P owes this only for what it has in use, and announces its lease only while it has something in use.
//!
//! - It owes from the first acknowledgement on while anything is in use, and after that until Q has acknowledged the very
//!   beat that announced no lease any more. So when Q's last word of P is a lease, P is reset unless it has been freed.
//! - It is freed by Q's goodbye and by proof that Q is off.
//! - Whoever owes does not rest on the other's lease: it will be reset itself.
//!
//! So of two that lost each other never both rest on the other's lease: the first to do so finds the other reset. A node
//! that had nothing in use is not reset, and nobody rests on it.
//!
//! A later run of P's daemon on the same boot carries on with the time of the run before ([`Carried::kicks_until`]); a
//! later boot has nothing in use and needs a proof of its own before it starts anything.

use super::{Context, Ownership};
use crate::core::ids::{Generation, Seq};
use crate::core::planted::{Bug, is_planted};
use crate::core::settings::{Carried, Settings};
use crate::core::time::{Duration, Instant};

/// What this node owes by its lease, and what the partner has promised by its own.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Lease {
    is_armed: bool,
    /// The watchdog is kicked until then; `None`: nobody has acknowledged anything yet.
    kicks_until: Option<Instant>,
    /// Something is in use here, or the partner may believe so.
    is_owing: bool,
    /// Since nothing is in use any more: the number of the first beat that said so, and of this and the 63 after it, which
    /// said so too.
    released: (Seq, u64),
    /// The partner's run that announced a lease with its last word about it, and how long it is.
    promised: Option<(Generation, Duration)>,
}

impl Lease {
    pub(super) fn new(carried: Option<&Carried>) -> Self {
        let kicks_until = carried.and_then(|carried| carried.kicks_until);
        // What the run before had in use, and had told of, is owed on.
        Self { kicks_until, is_owing: kicks_until.is_some(), ..Self::default() }
    }
}

impl Lease {
    fn tell_released(&mut self, seq: Seq) {
        let (first, told) = self.released;
        let place = seq.0.saturating_sub(first.0);
        self.released = if told == 0 || place >= 64 { (seq, 1) } else { (first, told | 1 << place) };
    }

    fn has_released(&self, answered: Seq) -> bool {
        let (first, told) = self.released;
        answered >= first && answered.0 - first.0 < 64 && told & 1 << (answered.0 - first.0) != 0
    }
}

/// For the drift of two clocks that run free, and for the turns of two loops.
fn margin_of(settings: &Settings, lease: Duration) -> Duration {
    lease / 100 + settings.keepalive
}

impl Ownership {
    /// The watchdog is armed, or no longer.
    pub(in crate::core) const fn watchdog(&mut self, is_armed: bool) {
        self.lease.is_armed = is_armed;
        self.wants_extension = true;
    }

    /// What is announced, milliseconds; zero: nothing that the partner could rest on.
    pub(super) fn lease_ms(&self, cx: &Context<'_>) -> u32 {
        let lease = cx.settings.lease.filter(|_| self.owes_lease() && self.holds_any());
        lease.map_or(0, |lease| u32::try_from(lease.reset_within.as_millis()).unwrap_or(u32::MAX))
    }

    /// Takes in what the partner has acknowledged of ours, and what it promises.
    pub(super) fn note_lease(&mut self, cx: &Context<'_>) {
        let Some(partner) = cx.settings.partner else { return };
        let told_before = self.lease_ms(cx);
        if self.holds_any() {
            self.lease.is_owing = true;
            self.lease.released = (Seq(0), 0);
        }
        let peer = cx.comms.peer(partner);
        if let Some(extension) = peer.extension.as_ref() {
            let promised = Duration::from_millis(extension.lease_ms.into());
            self.lease.promised = (!promised.is_zero()).then_some((peer.generation, promised));
            if let Some(lease) = cx.settings.lease
                && extension.echo_generation == cx.identity.generation
                && extension.echo_seq > Seq(0)
                && let Some(sent) = cx.comms.sent_at(extension.echo_seq)
            {
                let until = sent + lease.kick_for;
                self.lease.kicks_until = Some(self.lease.kicks_until.map_or(until, |before| before.max(until)));
                if self.lease.has_released(extension.echo_seq) {
                    self.lease.is_owing = false;
                }
            }
        }
        if self.is_freed() {
            // When the partner is there again, it owes nothing before the first new acknowledgement.
            self.lease.kicks_until = None;
        }
        self.wants_extension |= self.lease_ms(cx) != told_before;
    }

    /// The partner cannot be resting on us.
    const fn is_freed(&self) -> bool {
        self.partner.has_left || self.is_partner_off()
    }

    const fn owes_lease(&self) -> bool {
        self.lease.is_armed && self.lease.is_owing && !self.is_freed() && self.lease.kicks_until.is_some()
    }

    /// Whether an answer of the partner is needed before it gives one unasked, with its tenth beat: one that frees us, or one
    /// that allows further kicks when half of what the last one allowed is over.
    pub(super) fn is_lease_asking(&self, settings: &Settings, now: Instant) -> bool {
        let Some(lease) = settings.lease.filter(|_| self.owes_lease()) else { return false };
        let is_due = |until: Instant| now + lease.kick_for / 2 >= until;
        !self.holds_any() || self.lease.kicks_until.is_some_and(is_due)
    }

    /// A beat of this number has told everything.
    pub(in crate::core) fn told_extension(&mut self, seq: Seq) {
        if self.lease.is_owing && !self.holds_any() {
            self.lease.tell_released(seq);
        }
    }

    /// Whether the watchdog may be kicked at `now`.
    pub(in crate::core) fn may_kick(&self, settings: &Settings, now: Instant) -> bool {
        let is_owed = settings.lease.is_some() && self.owes_lease();
        !is_owed || self.lease.kicks_until.is_none_or(|until| now < until) || is_planted(Bug::KickWithoutLease)
    }

    /// Until when the lease allows kicks, if this node owes one: the next engine owes it on.
    pub(in crate::core) fn kicks_until(&self) -> Option<Instant> {
        self.lease.kicks_until.filter(|_| self.lease.is_owing)
    }

    /// When the partner must have been reset by its own watchdog, if it was silent until then; `None`: with its last word it
    /// promised nothing, or this node is about to be reset by its own.
    pub(super) fn partner_reset_at(&self, cx: &Context<'_>) -> Option<Instant> {
        if cx.settings.lease.is_some() && self.owes_lease() {
            return None;
        }
        let peer = cx.comms.peer(cx.settings.partner?);
        let (generation, lease) = self.lease.promised?;
        let heard = self.partner_heard_at(cx)?;
        (generation == peer.generation).then(|| heard + lease + margin_of(cx.settings, lease))
    }
}
