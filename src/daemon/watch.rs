//! Judges the engine by its stamps in the lease, and says by when what must have happened.
//!
//! ```text
//!   last stamp                                                             peer may take over
//!      ├──── stale_after ────┬────────────────┬──────────────────┬── margin ──┤
//!      0                killed, replaced   role kept until    stopped by    deadtime
//!                                          (deadtime / 2)     or reset
//! ```
//!
//! Pure: times are nanoseconds of CLOCK_BOOTTIME that the caller passes in.

use std::time::Duration;

/// How often an engine is replaced within [`RESPAWN_WINDOW`] before its groups are stopped instead.
pub const RESPAWNS_MAX: usize = 3;
/// See [`RESPAWNS_MAX`].
pub const RESPAWN_WINDOW: Duration = Duration::from_secs(60);
/// How late a healthy engine may be on a busy machine.
const LATENESS: Duration = Duration::from_millis(50);
/// The shortest time between two stamps of a guardian that nothing else wakes.
const REST_MIN: Duration = Duration::from_secs(1);
/// What a reset may take from the decision to the silence of the board, at the least and at the most.
const MARGIN_MIN: Duration = Duration::from_millis(10);
const MARGIN_MAX: Duration = Duration::from_secs(2);
/// What a killed process may take to end, at the least and at the most.
const END_MIN: Duration = Duration::from_millis(100);
const END_MAX: Duration = Duration::from_secs(1);

/// Nanoseconds of a duration, saturating.
pub fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// The limits that follow from the configured times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    keepalive: u64,
    deadtime: u64,
}

impl Limits {
    /// For these times.
    pub fn new(keepalive: Duration, deadtime: Duration) -> Self {
        Self { keepalive: nanos(keepalive), deadtime: nanos(deadtime) }
    }

    /// How late a look may be, and how soon one follows that did not settle it.
    pub const fn tick(self) -> u64 {
        self.deadtime / 8
    }

    /// How long a killed process is waited for before it counts as stuck in the kernel. Where nobody is real-time it waits for
    /// its turn to end like everybody: who judges too soon takes a busy board for a broken one.
    pub fn end_limit(self) -> Duration {
        Duration::from_nanos(self.tick()).clamp(END_MIN, END_MAX)
    }

    /// How long the guardian may sleep: its own stamp counts as old after twice that. A guardian that dies is noticed at
    /// once; this is for one that is stopped, and wake-ups cost.
    pub fn rest(self) -> u64 {
        (self.deadtime / 4).max(nanos(REST_MIN))
    }

    /// When the guardian looks again after `now` by its own clock: when the engine's `stamp` would be stale, or when its
    /// own is due. Nobody else would tell it, so a stamp that is stale already is looked at every tick.
    pub fn next_look(self, now: u64, stamp: u64) -> u64 {
        let stale_at = stamp.saturating_add(self.stale_after());
        let pause = if stale_at > now { (stale_at - now).min(self.rest()) } else { self.tick() };
        now.saturating_add(pause)
    }

    /// Age of a stamp at which the engine counts as stuck: deadtime/4, but no less than a keepalive and a tick, for an
    /// engine stamps when it beats; and no less than what a busy machine makes of anybody's lateness, as long as that is
    /// within half the dead time: an engine that is merely late does its work sooner than a new one could.
    pub fn stale_after(self) -> u64 {
        let late = nanos(LATENESS).min(self.deadtime / 2);
        (self.deadtime / 4).max(self.keepalive.saturating_add(self.tick())).max(late)
    }

    /// Until when a new engine may go on in the role of the one that stamped last.
    pub const fn role_kept_until(self, stamp: u64) -> u64 {
        stamp.saturating_add(self.deadtime / 2)
    }

    /// When the stamps of two processes count as silence (`daemon::sentinel`): the guardian is given its chance first.
    pub fn silent_after(self) -> u64 {
        (self.deadtime / 2).max(self.stale_after())
    }

    /// Until when groups must have been stopped: nobody else starts them before the dead time after the last stamp,
    /// and a reset takes a while.
    pub fn stop_by(self, stamp: u64) -> u64 {
        let margin = (self.deadtime / 8).clamp(nanos(MARGIN_MIN), nanos(MARGIN_MAX));
        stamp.saturating_add(self.deadtime.saturating_sub(margin))
    }
}

/// Looks at stamps and forgives what the looker itself has slept through.
#[derive(Debug)]
pub struct Watch {
    limits: Limits,
    planned: u64,
    forgiven: Option<(u64, u64)>,
}

impl Watch {
    /// Begins at `now`.
    pub fn new(limits: Limits, now: u64) -> Self {
        Self { limits, planned: now.saturating_add(limits.tick()), forgiven: None }
    }

    /// The limits it judges by.
    pub const fn limits(&self) -> Limits {
        self.limits
    }

    /// The caller intends to be back at this time.
    pub fn plan(&mut self, at: u64) {
        self.planned = at;
    }

    /// Whether the engine's `stamp` is too old at `now`. A watcher that is late itself does not judge (design.md rule
    /// 4): the engine slept through the same, and gets one keepalive to stamp again; but once only for one stamp.
    pub fn is_stale(&mut self, now: u64, stamp: u64) -> bool {
        if now < stamp.saturating_add(self.limits.stale_after()) {
            return false;
        }
        // Something else than its own clock may have been meant to wake it, when the stamp became stale.
        let due = self.planned.min(stamp.saturating_add(self.limits.stale_after()));
        let is_late = now > due.saturating_add(self.limits.tick());
        match self.forgiven {
            Some((forgiven, until)) if forgiven == stamp => now >= until,
            _ if is_late => {
                let until = now.saturating_add(self.limits.keepalive.saturating_add(self.limits.tick()));
                self.forgiven = Some((stamp, until));
                false
            }
            _ => true,
        }
    }
}

/// When engines were replaced lately.
#[derive(Debug, Default)]
pub struct Respawns {
    at: [Option<u64>; RESPAWNS_MAX],
}

impl Respawns {
    /// Whether one more is allowed at `now`; if so it is counted.
    pub fn allow(&mut self, now: u64) -> bool {
        let window = nanos(RESPAWN_WINDOW);
        let slot = self.at.iter_mut().find(|at| at.is_none_or(|at| now.saturating_sub(at) >= window));
        slot.map(|at| *at = Some(now)).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn limits(keepalive_ms: u64, deadtime_ms: u64) -> Limits {
        Limits::new(Duration::from_millis(keepalive_ms), Duration::from_millis(deadtime_ms))
    }

    #[test]
    fn limits_follow_the_dead_time() {
        let limits = limits(2000, 30_000);
        assert_eq!(limits.tick(), 3750 * MS);
        assert_eq!(limits.stale_after(), 7500 * MS, "deadtime / 4");
        assert_eq!(limits.role_kept_until(5 * MS), 15_005 * MS);
        assert_eq!(limits.silent_after(), 15_000 * MS);
        assert_eq!(limits.stop_by(0), 28_000 * MS, "at most two seconds for the reset");
        assert_eq!(limits.end_limit(), Duration::from_secs(1));
    }

    #[test]
    fn limits_wait_for_the_end_of_a_killed_process_and_still_keep_its_role() {
        for (keepalive_ms, deadtime_ms) in [(200, 2000), (500, 4000), (1000, 10_000), (2000, 30_000)] {
            let limits = limits(keepalive_ms, deadtime_ms);
            let end = nanos(limits.end_limit());
            assert!(end >= 250 * MS, "a busy board takes that long without being broken");
            assert!(limits.stale_after() + end < limits.role_kept_until(0), "{keepalive_ms}/{deadtime_ms}");
            assert!(limits.silent_after() + end < limits.stop_by(0), "{keepalive_ms}/{deadtime_ms}");
        }
    }

    #[test]
    fn limits_wait_for_the_next_beat_of_a_slow_engine() {
        // keepalive 200 ms, deadtime 1 s: the stamp of a healthy engine is up to 200 ms old, deadtime / 4 is 250 ms.
        assert_eq!(limits(200, 1000).stale_after(), 325 * MS);
        // deadtime must be more than twice keepalive; then there is still time to stop.
        let tight = limits(1000, 2001);
        assert!(tight.stale_after() < tight.stop_by(0));
        assert!(tight.silent_after() < tight.stop_by(0));
    }

    #[test]
    fn limits_leave_time_to_stop_at_any_accepted_configuration() {
        for deadtime_ms in [41, 100, 250, 1000, 4000, 30_000, 600_000] {
            for keepalive_ms in [1, deadtime_ms / 8, deadtime_ms / 3, (deadtime_ms - 1) / 2] {
                let limits = limits(keepalive_ms.max(1), deadtime_ms);
                assert!(limits.stale_after() <= limits.silent_after());
                assert!(limits.silent_after() < limits.stop_by(0), "{keepalive_ms}/{deadtime_ms}");
                assert!(limits.stop_by(0) < deadtime_ms * MS);
            }
        }
    }

    #[test]
    fn looks_come_when_a_stamp_may_have_become_stale() {
        let limits = limits(200, 1000);
        assert_eq!(limits.next_look(0, 0), 325 * MS, "stale then");
        assert_eq!(limits.next_look(500 * MS, 200 * MS), 525 * MS);
        assert_eq!(limits.next_look(500 * MS, 9000 * MS), 1500 * MS, "its own stamp is due");
        assert_eq!(limits.next_look(525 * MS, 200 * MS), 650 * MS, "forgiven, or there is no engine");
    }

    #[test]
    fn watch_fresh_stamp_is_fine_old_one_is_stale() {
        let mut watch = Watch::new(limits(200, 1000), 0);
        watch.plan(325 * MS);
        assert!(!watch.is_stale(324 * MS, 0));
        assert!(watch.is_stale(325 * MS, 0));
        assert!(!watch.is_stale(325 * MS, 100 * MS));
    }

    #[test]
    fn watch_late_itself_hears_out_one_keepalive_then_judges() {
        let mut watch = Watch::new(limits(200, 1000), 0);
        watch.plan(125 * MS);
        // Everything on the board slept for ten seconds.
        assert!(!watch.is_stale(10_000 * MS, 0));
        watch.plan(10_125 * MS);
        assert!(!watch.is_stale(10_125 * MS, 0));
        watch.plan(10_325 * MS);
        assert!(watch.is_stale(10_325 * MS, 0), "it has had keepalive and a tick");
    }

    #[test]
    fn watch_forgives_one_stamp_only_once() {
        let mut watch = Watch::new(limits(200, 1000), 0);
        // An overloaded board: the watcher is late each time, and the engine hangs.
        let mut now = 0;
        let mut looks = 0;
        loop {
            watch.plan(now + 125 * MS);
            now += 400 * MS;
            looks += 1;
            if watch.is_stale(now, 0) {
                break;
            }
        }
        assert_eq!(looks, 2);
    }

    #[test]
    fn watch_forgives_again_after_a_new_stamp() {
        let mut watch = Watch::new(limits(200, 1000), 0);
        assert!(!watch.is_stale(10_000 * MS, 0));
        watch.plan(20_000 * MS);
        assert!(!watch.is_stale(30_000 * MS, 15_000 * MS), "late again, another stamp");
    }

    #[test]
    fn respawns_are_limited_within_a_minute() {
        let mut respawns = Respawns::default();
        let second = 1000 * MS;
        assert!(respawns.allow(second));
        assert!(respawns.allow(10 * second));
        assert!(respawns.allow(20 * second));
        assert!(!respawns.allow(60 * second));
        assert!(respawns.allow(61 * second), "the first one is a minute ago");
        assert!(!respawns.allow(62 * second));
    }
}
