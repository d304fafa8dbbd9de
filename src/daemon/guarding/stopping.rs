//! A stop that was asked for: the engine ends everything in good order, and one that does not, because it hangs without being
//! silent or because somebody has taken it over, is ended itself.

use std::time::{Duration, Instant};

use super::{Guarding, Stage};
use crate::core::Order;
use crate::daemon::history::Entry;
use crate::daemon::watch::nanos;
use crate::guardian::lease;

/// How long an engine may go on that is to end everything and has nothing to wait for: it says its last words, on a slow
/// line too. At least; see [`Guarding::stop_limit`].
const IDLE_MAX: Duration = Duration::from_secs(10);
/// Within this time it has read that it is to stop, or is found to be silent: from then on it starts nothing.
const READ_MAX: Duration = Duration::from_secs(1);

/// A stop that is under way.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stopping {
    asked: Instant,
    /// Since when there has been nothing to wait for, by the lease's clock.
    idle_since: u64,
}

impl Guarding {
    /// From now on the end of everything is wanted.
    pub(super) fn want_stop(&mut self, now: u64) {
        self.stopping.get_or_insert(Stopping { asked: Instant::now(), idle_since: now });
    }

    /// Whether the end of everything is wanted.
    pub(super) const fn is_stop_wanted(&self) -> bool {
        self.stopping.is_some()
    }

    /// How long the engine may go on without a reason: twice the dead time, in which it hears from its partner or does not,
    /// but no less than ten seconds.
    fn stop_limit(&self) -> u64 {
        nanos(IDLE_MAX.max(self.config.deadtime * 2))
    }

    /// When an engine that is to end everything has had its time.
    pub(super) fn stop_due(&self) -> Option<u64> {
        let stopping = self.stopping.filter(|_| self.is_engine_to_stop())?;
        Some(stopping.idle_since.saturating_add(self.stop_limit()))
    }

    fn is_engine_to_stop(&self) -> bool {
        let decides = matches!(self.stage, Stage::Guarding | Stage::Reloading(_) | Stage::Checking(_));
        decides && self.engine.is_some()
    }

    /// An engine that is to end everything and does not, is ended; what it held is stopped as after a death.
    pub(super) fn watch_stop(&mut self, now: u64) {
        let Some(Stopping { asked, .. }) = self.stopping else { return };
        // What failed to stop is tried again and again, by the files' own rule; programs of ha.cf have their own limits.
        let is_waiting = self.runner.is_stopping_since(asked + READ_MAX)
            || !self.runner.stop_failures().is_empty()
            || self.is_end_of_clients_awaited;
        if is_waiting && let Some(stopping) = &mut self.stopping {
            stopping.idle_since = now;
        }
        if self.stop_due().is_none_or(|due| now < due) {
            return;
        }
        let limit = Duration::from_nanos(self.stop_limit()).as_secs();
        log::error!(
            target: "CRIT",
            "The engine was told to stop, and goes on for {limit} s without a reason: killing it."
        );
        self.untold.emit(Entry::new("engine").field("to", "killed").field("cause", "does not stop"));
        self.kill_engine();
        self.engine_lost(now);
    }

    /// Whether an order of the engine's is one that it cannot mean: it starts nothing while it ends everything.
    pub(super) fn is_against_stop(&self, order: Order) -> bool {
        let is_start = !matches!(order, Order::Stop | Order::Probe | Order::Announce);
        is_start && self.stopping.is_some_and(|stopping| stopping.asked.elapsed() > READ_MAX)
    }

    /// An engine that has just been started has a time of its own.
    pub(super) fn begin_stop_anew(&mut self) {
        if let Some(stopping) = &mut self.stopping {
            stopping.idle_since = lease::now();
        }
    }
}
