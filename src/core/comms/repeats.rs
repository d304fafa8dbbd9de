//! Saying a beat again while the partner is hard to hear, or we are.
//!
//! A path that loses two messages of five loses five beats in a row about every hundred beats, and with a dead time of five
//! keepalives that is a death. So between two nullbeats the newest beat is said again, under its number, from a third of
//! the dead time on (not before a quarter of a keepalive more than the usual time has passed):
//!
//! | known | until |
//! |---|---|
//! | the partner has told that it lacks a beat which had time to arrive | it tells that it has heard a newer one |
//! | the partner is silent: it may not know that we do not hear it | it is heard |
//!
//! Both end with the partner's death. A copy under the same number is news to whoever has lost the others, and nothing to
//! everybody else: no gap, no request for what is missing. How many copies a link carries is its own budget
//! ([`LinkPace::repeat`](crate::core::settings::LinkPace)).

use super::{Comms, Outbox};
use crate::core::ids::{NodeId, Seq};
use crate::core::message::Extension;
use crate::core::settings::Settings;
use crate::core::time::{Duration, Instant, Stamp};

/// The part of a dead time after which the beats are repeated.
const DEADTIME_PART: u32 = 3;
/// Beats that go on telling what was heard, after one was late: in Heartbeat's text only some do.
const TELLING_BEATS: u32 = 16;

/// When the newest beat is said again.
#[derive(Debug, Clone, Default)]
pub(super) struct Repeats {
    /// The next copy, if nothing is heard before.
    at: Option<Instant>,
    /// What the partner has told: from when on, because it does not hear us.
    unheard: Option<Instant>,
    /// So many beats more tell what was heard.
    telling: u32,
}

impl Repeats {
    pub(super) const fn next_deadline(&self) -> Option<Instant> {
        self.at
    }

    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }

    /// Whether the next beat tells what was heard.
    pub(super) const fn is_telling(&self) -> bool {
        self.telling > 0
    }

    /// A beat leaves: the next copy is one of that.
    pub(super) fn note_beat(&mut self, now: Instant, pause: Option<Duration>) {
        self.telling = self.telling.saturating_sub(1);
        self.at = self.at.zip(pause).map(|(at, pause)| at.max(now + pause));
    }
}

/// Silence of so long is one beat too many.
fn missed(interval: Duration) -> Duration {
    interval + interval / 4
}

impl Comms {
    /// A status of the partner's has come, after so long.
    pub(super) fn await_partner(&mut self, settings: &Settings, now: Instant, node: NodeId, after: Duration) {
        let peer = self.peer(node);
        if settings.partner != Some(node) || !peer.is_nullbeat {
            return;
        }
        let interval = self.beat_interval(now);
        let silent = now + missed(interval).max(peer.deadtime / DEADTIME_PART);
        let repeats = &mut self.repeats;
        repeats.at = Some(repeats.unheard.map_or(silent, |unheard| unheard.max(now).min(silent)));
        if after > missed(interval) {
            repeats.telling = TELLING_BEATS;
        }
        self.limit_repeats(now);
    }

    /// The partner tells which of our numbers it has heard last.
    pub(super) fn note_echo(&mut self, settings: &Settings, now: Instant, node: NodeId, echo: Seq) {
        if settings.partner != Some(node) {
            return;
        }
        let interval = self.beat_interval(now);
        // What has left only just cannot have been heard when this was said.
        let on_the_way = interval / 4 + self.state(node).round_trips.quickest();
        let next = self.ring.sent_at(Seq(echo.0.saturating_add(1))).filter(|left| now.since(*left) >= on_the_way);
        let patience = missed(interval).max(self.announced_deadtime() / DEADTIME_PART);
        self.repeats.unheard = next.map(|next| self.ring.sent_at(echo).unwrap_or(next) + patience);
    }

    /// Not more than any link has room for.
    fn limit_repeats(&mut self, now: Instant) {
        let pause = self.lanes.shortest_repeat(self.open_links);
        let last = self.beats.last_said().map(|(left, _)| left);
        let soonest = last.zip(pause).map(|(last, pause)| (last + pause).max(now));
        self.repeats.at = self.repeats.at.zip(soonest).map(|(at, soonest)| at.max(soonest));
    }

    /// Whether the newest beat is to be said again now.
    pub fn is_repeat_due(&self, at: Stamp) -> bool {
        self.repeats.at.is_some_and(|due| at.now >= due)
    }

    /// Says the newest beat again.
    pub fn repeat_beat(&mut self, at: Stamp, extension: &Extension, outbox: &mut Outbox) {
        self.repeats.telling = TELLING_BEATS;
        let links = self.lanes.with_room(self.open_links, at.now);
        if !links.is_empty() {
            self.say_again(at, extension, links, outbox);
        }
        let pause = self.lanes.shortest_repeat(self.open_links);
        self.repeats.at = pause.map(|pause| at.now + pause);
    }
}
