//! Kicks the watchdogs as long as everything lives that must: the end of the chain that keeps this board from being reset.
//!
//! | link of the chain | how it is seen |
//! |---|---|
//! | the engine's loop turns | a kick comes at the end of a full turn only |
//! | beats leave | the lease's stamp is not older than a keepalive |
//! | the guardian's loop turns, and the script runner in it sees to its time limits | its stamp in the lease is fresh |
//! | the watchdog lease | the core says so (`Node::may_kick`) |
//! | health checks with `watchdog on` | the core says so (`Node::vital_check_failed`) |
//!
//! One that is missing, and no watchdog is kicked: the board is reset a timeout after the last kick. A script that takes
//! long within its time limit is no missing link.

use crate::config::watchdog::WATCHDOGS_MAX;
use crate::core::time::{Duration, Instant};
use crate::hardware::watchdog::Watchdog;

use super::watchdogs::HeldWatchdog;

/// How much later than due a beat may be, part of the second that [`MARGIN`](crate::config::watchdog::MARGIN) leaves.
const BEAT_SLACK: Duration = Duration::from_millis(250);
/// A watchdog is kicked when this part of its timeout has passed.
const KICK_AFTER: u32 = 4;
/// Nothing else wakes the engine: it wakes by itself when this part has passed.
const WAKE_AFTER: u32 = 2;

/// What the engine knows of everybody at the end of a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chain {
    /// Guardian and script runner are at work.
    pub is_guardian_present: bool,
    /// Since our last beat left.
    pub since_beat: Duration,
    /// The core allows it.
    pub is_allowed: bool,
    /// No check that the watchdogs wait for fails.
    pub is_healthy: bool,
}

/// Why nothing is kicked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Withheld {
    /// Guardian or script runner is gone or hangs.
    Guardian,
    /// Our beats do not leave.
    Beats,
    /// The partner does not acknowledge our beats (watchdog lease).
    Lease,
    /// A health check with `watchdog on` fails.
    Check,
}

impl Withheld {
    /// For reports.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Guardian => "guardian",
            Self::Beats => "beats",
            Self::Lease => "lease",
            Self::Check => "check",
        }
    }

    const fn sentence(self) -> &'static str {
        match self {
            Self::Guardian => "the guardian is gone or hangs",
            Self::Beats => "no beat leaves this board",
            Self::Lease => "the partner does not acknowledge our beats (watchdog lease)",
            Self::Check => "a health check with `watchdog on` fails",
        }
    }
}

/// One watchdog as the engine has it.
#[derive(Debug)]
pub struct Kicked<W> {
    /// The device.
    pub held: HeldWatchdog<W>,
    /// When it was last kicked.
    pub kicked_at: Option<Instant>,
    /// Kicks that the device has refused.
    pub failures: u64,
    tried_at: Option<Instant>,
}

impl<W> Kicked<W> {
    /// When this part of the timeout has passed since the last try.
    fn after(&self, part: u32) -> Instant {
        self.tried_at.map_or(Instant::from_micros(0), |at| at + self.held.timeout() / part)
    }
}

/// All watchdogs of this board.
#[derive(Debug)]
pub struct Kicker<W> {
    watchdogs: heapless::Vec<Kicked<W>, WATCHDOGS_MAX>,
    keepalive: Duration,
    withheld: Option<Withheld>,
    /// That nothing is kicked has been said.
    is_told: bool,
    started: Instant,
}

impl<W: Watchdog> Kicker<W> {
    /// Begins with these, none of them kicked by us yet.
    pub fn new(held: Vec<HeldWatchdog<W>>, keepalive: Duration, now: Instant) -> Self {
        let kicked = |held| Kicked { held, kicked_at: None, failures: 0, tried_at: None };
        let watchdogs = held.into_iter().take(WATCHDOGS_MAX).map(kicked).collect();
        Self { watchdogs, keepalive, withheld: None, is_told: false, started: now }
    }

    /// Whether there is any.
    pub fn is_empty(&self) -> bool {
        self.watchdogs.is_empty()
    }

    /// For reports.
    pub fn watchdogs(&self) -> impl Iterator<Item = &Kicked<W>> {
        self.watchdogs.iter()
    }

    /// Why nothing is kicked at the moment.
    pub const fn withheld(&self) -> Option<Withheld> {
        self.withheld
    }

    /// The end of a full turn: kicks the watchdog that has waited longest, if one is due and the chain is whole. At most
    /// one system call.
    pub fn turn(&mut self, now: Instant, chain: Chain) {
        if self.watchdogs.is_empty() {
            return;
        }
        self.withheld = self.missing_link(chain);
        self.tell(now);
        if self.withheld.is_none() {
            self.kick_one(now);
        }
    }

    /// At the end, when everything is released and the last words are on their way: nothing else counts any more.
    pub fn kick_one(&mut self, now: Instant) {
        let due = self.watchdogs.iter_mut().filter(|watchdog| watchdog.after(KICK_AFTER) <= now);
        let Some(watchdog) = due.min_by_key(|watchdog| watchdog.after(KICK_AFTER)) else { return };
        watchdog.tried_at = Some(now);
        match watchdog.held.device.kick() {
            Ok(()) => watchdog.kicked_at = Some(now),
            Err(error) => {
                if watchdog.failures == 0 {
                    log::error!(target: "CRIT", "Watchdog write failure: {}: {error}", watchdog.held.path.display());
                }
                watchdog.failures += 1;
            }
        }
    }

    /// When to wake for the next kick although nothing else is to be done.
    pub fn deadline(&self) -> Option<Instant> {
        if self.withheld.is_some() {
            // Waking does not mend the chain.
            return None;
        }
        self.watchdogs.iter().map(|watchdog| watchdog.after(WAKE_AFTER)).min()
    }

    fn missing_link(&self, chain: Chain) -> Option<Withheld> {
        if !chain.is_guardian_present {
            Some(Withheld::Guardian)
        } else if chain.since_beat > self.keepalive + BEAT_SLACK {
            Some(Withheld::Beats)
        } else if !chain.is_allowed {
            Some(Withheld::Lease)
        } else if !chain.is_healthy {
            Some(Withheld::Check)
        } else {
            None
        }
    }

    /// Says that nothing is kicked when half of a timeout has passed so: a busy board misses a turn now and then.
    fn tell(&mut self, now: Instant) {
        let Some(why) = self.withheld else {
            if std::mem::take(&mut self.is_told) {
                log::info!("The watchdog is kicked again.");
            }
            return;
        };
        let rest = |watchdog: &Kicked<W>| now.since(watchdog.kicked_at.unwrap_or(self.started));
        let is_grave = |watchdog: &Kicked<W>| rest(watchdog) >= watchdog.held.timeout() / WAKE_AFTER;
        if !self.is_told && self.watchdogs.iter().any(is_grave) {
            self.is_told = true;
            let left = |watchdog: &Kicked<W>| watchdog.held.timeout().saturating_sub(rest(watchdog));
            let left = self.watchdogs.iter().map(left).min().unwrap_or_default();
            let (why, ms) = (why.sentence(), left.as_millis());
            log::error!(target: "EMERG", "No more kicks for the watchdog: {why}. It resets this board within {ms} ms.");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::hardware::watchdog::fake::FakeWatchdog;
    use crate::hardware::watchdog::{Armed, ResetCause};

    const WHOLE: Chain =
        Chain { is_guardian_present: true, since_beat: Duration::from_millis(200), is_allowed: true, is_healthy: true };

    fn held(device: &FakeWatchdog, timeout: u32) -> HeldWatchdog<&FakeWatchdog> {
        let armed = Armed { identity: "fake".into(), timeout, cause: ResetCause::default(), has_magic_close: true };
        HeldWatchdog { path: PathBuf::from("/dev/watchdog"), device, armed, shortest: None, is_nowayout: false }
    }

    fn at(ms: u64) -> Instant {
        // Long after boot.
        Instant::from_millis(100_000 + ms)
    }

    fn kicker(devices: &[(&'static FakeWatchdog, u32)]) -> Kicker<&'static FakeWatchdog> {
        let held = devices.iter().map(|(device, timeout)| held(device, *timeout)).collect();
        Kicker::new(held, Duration::from_millis(200), at(0))
    }

    fn leaked() -> &'static FakeWatchdog {
        Box::leak(Box::default())
    }

    #[test]
    fn whole_chain_kicks_at_once_then_every_quarter_of_the_timeout() {
        let fake = leaked();
        let mut kicker = kicker(&[(fake, 4)]);
        for ms in (0..4000).step_by(200) {
            kicker.turn(at(ms), WHOLE);
        }
        assert_eq!(fake.kicks.get(), 4, "at 0, 1000, 2000, 3000 ms");
        assert_eq!(kicker.watchdogs().next().unwrap().kicked_at, Some(at(3000)));
        assert_eq!(kicker.deadline(), Some(at(5000)), "with nothing else to do: half the timeout after the last");
    }

    #[test]
    fn any_missing_link_stops_the_kicks_until_it_is_mended() {
        let broken = [
            (Chain { is_guardian_present: false, ..WHOLE }, Withheld::Guardian),
            (Chain { since_beat: Duration::from_millis(451), ..WHOLE }, Withheld::Beats),
            (Chain { is_allowed: false, ..WHOLE }, Withheld::Lease),
            (Chain { is_healthy: false, ..WHOLE }, Withheld::Check),
        ];
        for (chain, why) in broken {
            let fake = leaked();
            let mut kicker = kicker(&[(fake, 4)]);
            kicker.turn(at(0), WHOLE);
            for ms in (200..6000).step_by(200) {
                kicker.turn(at(ms), chain);
                assert_eq!(kicker.is_told, ms >= 2000, "a missed turn is no reason to cry");
            }
            assert_eq!((fake.kicks.get(), kicker.withheld()), (1, Some(why)));
            assert_eq!(kicker.deadline(), None, "and the engine does not spin");
            kicker.turn(at(6000), WHOLE);
            assert_eq!((fake.kicks.get(), kicker.withheld()), (2, None));
        }
    }

    #[test]
    fn engine_that_does_not_turn_kicks_nothing() {
        let fake = leaked();
        let mut kicker = kicker(&[(fake, 4)]);
        kicker.turn(at(0), WHOLE);
        // There is no other way to a kick than the end of a turn.
        assert_eq!(fake.kicks.get(), 1);
        kicker.turn(at(60_000), WHOLE);
        assert_eq!(fake.kicks.get(), 2);
    }

    #[test]
    fn several_watchdogs_take_turns() {
        let (one, other) = (leaked(), leaked());
        let mut kicker = kicker(&[(one, 4), (other, 40)]);
        kicker.turn(at(0), WHOLE);
        assert_eq!((one.kicks.get(), other.kicks.get()), (1, 0), "one system call a turn");
        assert!(kicker.deadline().unwrap() <= at(0), "the next turn follows at once");
        kicker.turn(at(0), WHOLE);
        assert_eq!((one.kicks.get(), other.kicks.get()), (1, 1));
        for ms in (200..=10_000).step_by(200) {
            kicker.turn(at(ms), WHOLE);
        }
        // Both are due at 10 s.
        assert_eq!((one.kicks.get(), other.kicks.get()), (11, 1));
        kicker.turn(at(10_000), WHOLE);
        assert_eq!((one.kicks.get(), other.kicks.get()), (11, 2));
    }

    #[test]
    fn device_that_refuses_a_kick_is_tried_again_and_counted() {
        let fake = leaked();
        fake.kick_error.set(Some(nix::libc::EIO));
        let mut kicker = kicker(&[(fake, 4)]);
        for ms in (0..=2000).step_by(200) {
            kicker.turn(at(ms), WHOLE);
        }
        let watchdog = kicker.watchdogs().next().unwrap();
        assert_eq!((watchdog.failures, watchdog.kicked_at), (3, None));
        fake.kick_error.set(None);
        kicker.turn(at(3000), WHOLE);
        assert_eq!(kicker.watchdogs().next().unwrap().kicked_at, Some(at(3000)));
    }
}
