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
//! It holds for whatever P had in use when Q heard it last: a later run of P's daemon on the same boot carries on with
//! the time of the run before ([`Carried::kicks_until`]), and a later boot has nothing in use and needs a proof of its own
//! before it starts anything. P owes this to nobody when Q has never acknowledged anything, when nothing is in use at P,
//! when Q has said goodbye, and when Q's own fencing is confirmed: then Q cannot be resting on it, and P announces no
//! lease. Else Q, back and not heard by P, would take for a promise what P does not keep.

use super::{Context, Group, Ownership};
use crate::core::ids::{Generation, Seq};
use crate::core::settings::{Carried, Settings};
use crate::core::time::{Duration, Instant};

/// What this node owes by its lease, and what the partner has promised by its own.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Lease {
    is_armed: bool,
    /// The watchdog is kicked until then; `None`: nobody has acknowledged anything yet.
    kicks_until: Option<Instant>,
    /// The partner's run that announced a lease, and how long it is.
    promised: Option<(Generation, Duration)>,
}

impl Lease {
    pub(super) fn new(carried: Option<&Carried>) -> Self {
        Self { kicks_until: carried.and_then(|carried| carried.kicks_until), ..Self::default() }
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

    /// Until when the watchdog is kicked, while the partner may rest on its not being kicked longer.
    fn promise(&self) -> Option<Instant> {
        let is_owed = self.lease.is_armed && !self.partner.has_left && !self.is_partner_off();
        self.lease.kicks_until.filter(|_| is_owed)
    }

    /// What is announced, milliseconds; zero: no lease.
    pub(super) fn lease_ms(&self, cx: &Context<'_>) -> u32 {
        let lease = cx.settings.lease.filter(|_| self.promise().is_some());
        lease.map_or(0, |lease| u32::try_from(lease.reset_within.as_millis()).unwrap_or(u32::MAX))
    }

    /// Takes in what the partner has acknowledged of ours, and what it promises.
    pub(super) fn note_lease(&mut self, cx: &Context<'_>) {
        let Some(partner) = cx.settings.partner else { return };
        let peer = cx.comms.peer(partner);
        let Some(extension) = peer.extension.as_ref() else { return };
        let promised = Duration::from_millis(extension.lease_ms.into());
        self.lease.promised = (!promised.is_zero()).then_some((peer.generation, promised));
        let Some(lease) = cx.settings.lease else { return };
        if extension.echo_generation == cx.identity.generation
            && extension.echo_seq > Seq(0)
            && let Some(sent) = cx.comms.sent_at(extension.echo_seq)
        {
            let until = sent + lease.kick_for;
            // The first one makes it a promise.
            self.wants_extension |= self.lease.kicks_until.is_none();
            self.lease.kicks_until = Some(self.lease.kicks_until.map_or(until, |before| before.max(until)));
        }
    }

    /// Whether the watchdog may be kicked at `now`.
    pub(in crate::core) fn may_kick(&self, settings: &Settings, now: Instant) -> bool {
        let is_free = settings.lease.is_none() || !self.groups.iter().any(Group::is_held);
        is_free || self.promise().is_none_or(|until| now < until)
    }

    /// Until when the lease allows kicks.
    pub(in crate::core) const fn kicks_until(&self) -> Option<Instant> {
        self.lease.kicks_until
    }

    /// When the partner must have been reset by its own watchdog, if it was silent until then; `None`: it has promised
    /// nothing in the run that was heard last.
    pub(super) fn partner_reset_at(&self, cx: &Context<'_>) -> Option<Instant> {
        let peer = cx.comms.peer(cx.settings.partner?);
        let (generation, lease) = self.lease.promised?;
        let links = peer.links.iter().filter_map(|link| link.last_heard);
        let heard = links.chain(peer.last_status).max()?;
        (generation == peer.generation).then(|| heard + lease + margin_of(cx.settings, lease))
    }
}
