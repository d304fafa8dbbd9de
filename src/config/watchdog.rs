//! `watchdog` and `watchdog_timeout`: which watchdogs reset this board, and how soon.
//!
//! The peer takes over when the dead time has passed that our last beat announced. A hung owner must have been reset by
//! then:
//!
//! ```text
//!   last beat          last kick                       reset      the peer takes over
//!      ├── keepalive ────┤├───────── timeout ────────────┤├─ 1 s ─┤
//!      0                                                          announced dead time
//! ```
//!
//! The last kick comes at most one keepalive after the last beat, because kicks stop when beats do. Where the device
//! cannot be set short enough, the beats announce a longer dead time.

use std::path::PathBuf;
use std::time::Duration;

use super::draft::Draft;
use super::finding::At;
use super::machine::FileKind;
use super::sense::Timing;
use super::token::Word;
use super::value::spoken;
use super::{Config, Purpose, ResetWith};
use crate::hardware::watchdog::Facts;

/// Watchdogs of one board.
pub const WATCHDOGS_MAX: usize = 4;
/// Between the reset that a watchdog is set for and the peer's takeover: for a kick that came late, and for the reset.
pub const MARGIN: Duration = Duration::from_secs(1);
/// A dead time that is announced longer than configured is a multiple of this.
const STEP_MS: u128 = 100;

/// `watchdog_timeout`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WatchdogTimeout {
    /// Not given: the longest with which a hung owner is reset before its peer takes over.
    #[default]
    Safe,
    /// As given; devices know whole seconds.
    Given(Duration),
    /// Heartbeat's: the dead time and a second more. The peer takes over first.
    Heartbeat,
}

/// What resets this board when it hangs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WatchdogConfig {
    /// `watchdog`: the devices in order.
    pub devices: Vec<PathBuf>,
    /// `watchdog_timeout`.
    pub timeout: WatchdogTimeout,
    /// The longest timeout in force, or expected while nobody has armed them; `None`: nothing will reset this board.
    pub in_force: Option<Duration>,
}

/// Both times that a timeout depends on.
#[derive(Debug, Clone, Copy)]
struct Times {
    keepalive: Duration,
    deadtime: Duration,
}

impl WatchdogTimeout {
    /// Seconds to ask of a device about which this is known.
    fn seconds(self, times: Times, facts: Option<&Facts>) -> u32 {
        let shortest = facts.and_then(|facts| facts.shortest).unwrap_or(1).max(1);
        let longest = facts.and_then(|facts| facts.longest).unwrap_or(u32::MAX).max(shortest);
        let whole = |time: Duration| u32::try_from(time.as_millis().div_ceil(1000)).unwrap_or(u32::MAX);
        match self {
            // Of the times with which it works the longest, so that a busy board is not reset.
            Self::Safe => {
                let room = times.deadtime.saturating_sub(times.keepalive + MARGIN);
                let below = whole(room).saturating_sub(1);
                below.clamp(shortest, longest)
            }
            Self::Given(time) => whole(time).max(shortest),
            // spec/resources.md section 15.
            Self::Heartbeat => whole(times.deadtime + Duration::from_millis(10)).max(shortest),
        }
    }

    /// The dead time to announce when the board is reset `timeout` after the last kick.
    fn announced(self, times: Times, timeout: Duration) -> Duration {
        let needed = needed(times, timeout);
        if self == Self::Heartbeat || needed < times.deadtime {
            return times.deadtime;
        }
        let millis = (needed.as_millis() / STEP_MS + 1) * STEP_MS;
        Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX))
    }
}

impl Config {
    const fn times(&self) -> Times {
        Times { keepalive: self.keepalive, deadtime: self.deadtime }
    }

    /// Seconds to ask of a watchdog about which the kernel tells these facts.
    pub fn watchdog_seconds(&self, facts: Option<&Facts>) -> u32 {
        self.watchdog.timeout.seconds(self.times(), facts)
    }

    /// The dead time that our beats announce: more than `deadtime` when the watchdog needs it.
    pub fn announced_deadtime(&self) -> Duration {
        let announced = |timeout| self.watchdog.timeout.announced(self.times(), timeout);
        self.watchdog.in_force.map_or(self.deadtime, announced)
    }

    /// By how much that is more.
    pub(super) fn announced_extra(&self) -> Duration {
        self.announced_deadtime().saturating_sub(self.deadtime)
    }

    /// When the watchdogs have reset a board for sure on which nobody kicks, after its last beat and before its peer takes over.
    /// `None` where nothing does that: without one, and with `watchdog_timeout heartbeat`.
    pub fn reset_by_watchdog(&self) -> Option<Duration> {
        let timeout = self.watchdog.in_force.filter(|_| self.watchdog.timeout != WatchdogTimeout::Heartbeat)?;
        Some(needed(self.times(), timeout))
    }

    /// `1 s keepalive + 8 s + 1 s = 10 s`: when the board has been reset for sure, after its last beat. `None` without a
    /// watchdog.
    pub fn watchdog_arithmetic(&self) -> Option<String> {
        self.watchdog.in_force.map(|timeout| arithmetic(self.times(), timeout))
    }
}

/// From the last beat to the reset.
fn needed(times: Times, timeout: Duration) -> Duration {
    times.keepalive + timeout + MARGIN
}

fn arithmetic(times: Times, timeout: Duration) -> String {
    let [beat, reset, margin, sum] = [times.keepalive, timeout, MARGIN, needed(times, timeout)].map(spoken);
    format!("keepalive {beat} + timeout {reset} + {margin} = {sum}")
}

/// `watchdog PATH`, or a name of the board file.
pub(super) fn read_device(draft: &mut Draft<'_>, word: &Word) -> bool {
    let named = draft.watchdog_devices.iter().find(|device| device.name == word.text).map(|device| device.path.clone());
    let Some(path) = named.or_else(|| word.text.starts_with('/').then(|| PathBuf::from(&word.text))) else {
        let names = draft.watchdog_devices.iter().map(|device| device.name.as_str());
        let finding = draft.findings.error(word.at, word.quoted());
        finding.expected("the path of a device, such as `/dev/watchdog`, or its name in the board file");
        finding.nearest(&word.text, names);
        return false;
    };
    if let Some((_, before)) = draft.watchdogs.iter().find(|(known, _)| *known == path) {
        let found = format!("{} a second time", word.quoted());
        let hint = format!("it stands in line {} already; a watchdog can be opened once only", before.line);
        draft.findings.error(word.at, found).expected("each watchdog once").hint(hint);
        return false;
    }
    if draft.watchdogs.len() == WATCHDOGS_MAX {
        let found = format!("{}, one watchdog too many", word.quoted());
        draft.findings.error(word.at, found).expected(format!("at most {WATCHDOGS_MAX}"));
        return false;
    }
    draft.watchdogs.push((path, word.at));
    true
}

/// `watchdog_timeout TIME` or `watchdog_timeout heartbeat`.
pub(super) fn read_timeout(draft: &mut Draft<'_>, word: &Word) -> bool {
    if word.text == "heartbeat" {
        draft.watchdog_timeout = Some((WatchdogTimeout::Heartbeat, word.at));
        return true;
    }
    if !draft.time(word, false, |draft| &mut draft.unused_time) {
        return false;
    }
    if let Some((time, at)) = draft.unused_time {
        if !time.as_millis().is_multiple_of(1000) {
            let found = format!("a watchdog timeout of {}", spoken(time));
            let rounded = Duration::from_secs(time.as_secs() + 1);
            let hint = format!("the next longer one, {}, is asked for", spoken(rounded));
            draft.findings.warning(at, found).expected("whole seconds: devices know no others").hint(hint);
        }
        draft.watchdog_timeout = Some((WatchdogTimeout::Given(time), at));
    }
    true
}

/// Sense across directives. What the kernel tells of the devices is that of this machine.
pub(super) fn check(draft: &mut Draft<'_>) {
    if draft.watchdogs.is_empty() {
        check_absence(draft);
        return;
    }
    let times = times_of(draft);
    for (path, at) in draft.watchdogs.clone() {
        let facts = draft.machine.watchdog(&path);
        if draft.purpose == Purpose::Check && draft.machine.file(&path) != FileKind::CharacterDevice {
            let finding = draft.findings.warning(at, format!("`{}`, which is no device here", path.display()));
            finding.expected("a watchdog of this board").hint("`nullbeat run` does not start without it");
        }
        if let Some(facts) = facts {
            check_facts(draft, at, times, &facts);
        }
    }
    let (timeout, timeout_at) = draft.watchdog_timeout.unwrap_or((WatchdogTimeout::Safe, draft.watchdogs[0].1));
    let Some(in_force) = expected(draft) else { return };
    let announced = timeout.announced(times, in_force);
    let sum = arithmetic(times, in_force);
    if timeout == WatchdogTimeout::Heartbeat {
        let late = (times.keepalive + in_force).saturating_sub(times.deadtime);
        let finding = draft.findings.warning(timeout_at, "`watchdog_timeout heartbeat`");
        finding.expected("no `watchdog_timeout`: then a hung owner is reset before its peer takes over").hint(format!(
            "as with Heartbeat the peer takes over after {} and the board is reset up to {} later; until then both run \
             the service",
            spoken(times.deadtime),
            spoken(late)
        ));
    } else if announced > times.deadtime {
        let found = format!("a watchdog timeout of {} with a deadtime of {}", spoken(in_force), spoken(times.deadtime));
        let finding = draft.findings.warning(timeout_at, found);
        finding.expected(format!("{sum} to be less than the deadtime")).hint(format!(
            "so that this board is reset before its peer takes over, its beats announce a dead time of {}",
            spoken(announced)
        ));
    }
}

fn check_absence(draft: &mut Draft<'_>) {
    // A line that was refused has said what is wrong with it.
    if draft.attempted.contains("watchdog") {
        return;
    }
    if let Some((_, at)) = draft.watchdog_timeout {
        let finding = draft.findings.warning(at, "`watchdog_timeout` without a watchdog");
        finding.expected("a line such as `watchdog /dev/watchdog`").hint("it has no effect");
    }
    if let Some((ResetWith::Watchdog, at)) = draft.reset_with {
        let finding = draft.findings.error(at, "`reset_with watchdog` without a watchdog");
        finding.expected("a line such as `watchdog /dev/watchdog`");
    }
}

fn check_facts(draft: &mut Draft<'_>, at: At, times: Times, facts: &Facts) {
    let identity = facts.identity.as_deref().unwrap_or("a watchdog");
    let timeout = draft.watchdog_timeout.map_or(WatchdogTimeout::Safe, |(timeout, _)| timeout);
    let seconds = timeout.seconds(times, Some(facts));
    if let Some(longest) = facts.longest.filter(|longest| seconds > *longest) {
        let found = format!("a watchdog timeout of {seconds} s for {identity}");
        let place = draft.watchdog_timeout.map_or(at, |(_, at)| at);
        draft.missing_here(place, found).expected(format!("at most {longest} s, which is all that it can"));
    }
    if facts.is_nowayout {
        let finding = draft.findings.warning(at, format!("{identity} with `nowayout`"));
        finding.expected("a driver that may be stopped").hint(format!(
            "after an orderly stop of the daemon this board is reset within {seconds} s unless somebody else kicks it"
        ));
    }
}

fn times_of(draft: &Draft<'_>) -> Times {
    let timing = Timing::of(draft);
    Times { keepalive: timing.keepalive, deadtime: timing.deadtime }
}

/// The longest timeout that the devices will have, by what the kernel tells of them.
fn expected(draft: &Draft<'_>) -> Option<Duration> {
    let times = times_of(draft);
    let timeout = draft.watchdog_timeout.map_or(WatchdogTimeout::Safe, |(timeout, _)| timeout);
    let seconds = |path: &PathBuf| timeout.seconds(times, draft.machine.watchdog(path).as_ref());
    let longest = draft.watchdogs.iter().map(|(path, _)| seconds(path)).max()?;
    Some(Duration::from_secs(longest.into()))
}

/// What the lines come to.
pub(super) fn build(draft: &Draft<'_>) -> WatchdogConfig {
    WatchdogConfig {
        devices: draft.watchdogs.iter().map(|(path, _)| path.clone()).collect(),
        timeout: draft.watchdog_timeout.map_or(WatchdogTimeout::Safe, |(timeout, _)| timeout),
        in_force: expected(draft),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(keepalive_ms: u64, deadtime_ms: u64) -> Times {
        Times { keepalive: Duration::from_millis(keepalive_ms), deadtime: Duration::from_millis(deadtime_ms) }
    }

    fn facts(shortest: Option<u32>, longest: Option<u32>) -> Facts {
        Facts { shortest, longest, ..Facts::default() }
    }

    #[test]
    fn safe_timeout_is_the_longest_that_resets_before_the_takeover() {
        // 1 s + 28 s + 1 s is not less than 30 s.
        assert_eq!(WatchdogTimeout::Safe.seconds(times(1000, 30_000), None), 27);
        assert_eq!(WatchdogTimeout::Safe.seconds(times(999, 30_000), None), 28);
        assert_eq!(WatchdogTimeout::Safe.seconds(times(200, 2500), None), 1);
        assert_eq!(WatchdogTimeout::Safe.seconds(times(200, 2000), None), 1, "no device knows less");
    }

    #[test]
    fn safe_timeout_keeps_the_rule_for_any_times() {
        for deadtime in (500..40_000).step_by(37) {
            for keepalive in [50, 200, 500, 1000, 2000].into_iter().filter(|keepalive| keepalive * 2 < deadtime) {
                let times = times(keepalive, deadtime);
                let timeout = Duration::from_secs(WatchdogTimeout::Safe.seconds(times, None).into());
                let announced = WatchdogTimeout::Safe.announced(times, timeout);
                assert!(times.keepalive + timeout + MARGIN < announced, "{times:?}");
                assert!(
                    announced == times.deadtime || timeout == Duration::from_secs(1),
                    "{times:?} raised needlessly"
                );
                let longer = timeout + Duration::from_secs(1);
                assert!(times.keepalive + longer + MARGIN >= times.deadtime, "{times:?}: it could be longer");
            }
        }
    }

    #[test]
    fn device_with_long_seconds_raises_what_is_announced() {
        let times = times(200, 2000);
        let slow = facts(Some(10), None);
        assert_eq!(WatchdogTimeout::Safe.seconds(times, Some(&slow)), 10);
        assert_eq!(WatchdogTimeout::Safe.announced(times, Duration::from_secs(10)), Duration::from_millis(11_300));
        assert_eq!(WatchdogTimeout::Safe.announced(times, Duration::from_secs(1)), Duration::from_millis(2300));
    }

    #[test]
    fn device_that_cannot_wait_long_is_given_what_it_can() {
        let quick = facts(Some(1), Some(16));
        assert_eq!(WatchdogTimeout::Safe.seconds(times(1000, 30_000), Some(&quick)), 16);
    }

    #[test]
    fn given_timeout_is_rounded_up_and_heartbeats_is_its_own() {
        let times = times(1000, 30_000);
        assert_eq!(WatchdogTimeout::Given(Duration::from_millis(2500)).seconds(times, None), 3);
        assert_eq!(WatchdogTimeout::Given(Duration::from_secs(3)).seconds(times, Some(&facts(Some(5), None))), 5);
        // ceil((deadtime_ms + 10) / 1000)
        assert_eq!(WatchdogTimeout::Heartbeat.seconds(times, None), 31);
        assert_eq!(WatchdogTimeout::Heartbeat.announced(times, Duration::from_secs(31)), times.deadtime);
        assert_eq!(
            WatchdogTimeout::Given(Duration::from_secs(40)).announced(times, Duration::from_secs(40)),
            Duration::from_millis(42_100)
        );
    }
}
