//! The shortest times that a busy machine can keep: four busy loops and a memory churner beside two beating boards.

use std::fmt::Write as _;
use std::fs;
use std::hint::black_box;
use std::io;
use std::path::Path;
use std::thread::{self, sleep};
use std::time::Duration;

use super::board::now;
use super::cable::{Helper, serial};
use super::contender::{Contender, Timing, cables};
use super::lab::{Lab, NAMES};
use super::steady::Rest;

/// The word by which this program knows that it is the load.
pub(crate) const LOAD_WORD: &str = "--load";

const BUSY_LOOPS: usize = 4;
const CHURNED_BYTES: usize = 64 << 20;
/// Speed of the line.
const BAUD: u32 = 115_200;
/// Lines of each board's log that are shown at the most.
const COMPLAINTS_MAX: usize = 20;
/// Upper ends of the classes of lateness, in milliseconds.
const CLASSES: [f64; 8] = [0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, f64::INFINITY];

/// What one case showed.
pub(crate) struct Case {
    pub(crate) name: String,
    time: Duration,
    /// The moments of the false ones, as the log has them.
    pub(crate) deaths: Vec<String>,
    /// Of each beat of alpha: how much later it left than a keepalive after the one before, in milliseconds.
    lateness: Vec<f64>,
}

/// Keepalives to try, the one to reach first; the dead time is five of them.
const KEEPALIVES_MS: [(bool, &[u64]); 2] = [(false, &[20, 10, 5, 3, 2]), (true, &[50, 40, 35, 30])];
/// How long the search tries each.
const PROBE: Duration = Duration::from_secs(20);

/// The times to reach and the shortest ones that hold, each for `time`, and the first ones that do not; with the
/// real-time class, without it, or both.
pub(crate) fn measure(
    nullbeat: &Path,
    marker: &Path,
    time: Duration,
    class: Option<bool>,
    medium: Option<bool>,
) -> io::Result<Vec<Case>> {
    let mut cases = Vec::new();
    for (is_serial, keepalives) in KEEPALIVES_MS {
        for is_realtime in [true, false] {
            if medium.is_some_and(|is_wanted| is_wanted != is_serial) || class.is_some_and(|class| class != is_realtime)
            {
                continue;
            }
            let try_it = |keepalive_ms: u64, time| {
                let links = if is_serial { serial::<BAUD> } else { cables(1).links };
                let baud = is_serial.then_some(BAUD);
                let timing =
                    Timing { keepalive_ms, deadtime_ms: 5 * keepalive_ms, is_realtime, links, cables: 1, baud };
                run(nullbeat, marker, &timing, is_serial, time)
            };
            let mut shortest = keepalives[0];
            for &keepalive_ms in &keepalives[1..] {
                match try_it(keepalive_ms, PROBE.min(time)) {
                    Ok(case) if case.has_held(keepalive_ms) => shortest = keepalive_ms,
                    Ok(case) => {
                        cases.push(case);
                        break;
                    }
                    // Times that the program itself refuses.
                    Err(error) => {
                        eprintln!("stress with keepalive {keepalive_ms} ms: {error}");
                        break;
                    }
                }
            }
            if shortest != keepalives[0] {
                cases.insert(cases.len().saturating_sub(1), try_it(shortest, time)?);
            }
            cases.push(try_it(keepalives[0], time)?);
        }
    }
    Ok(cases)
}

fn run(nullbeat: &Path, marker: &Path, timing: &Timing, is_serial: bool, time: Duration) -> io::Result<Case> {
    let rest = Rest::begin("x", Contender::Nullbeat, nullbeat, marker, timing)?;
    let name = format!(
        "{}, keepalive {} ms, dead time {} ms, real-time class {}",
        if is_serial { "serial line paced at 115200 baud" } else { "UDP" },
        timing.keepalive_ms,
        timing.deadtime_ms,
        if timing.is_realtime { "on" } else { "off" },
    );
    let cases = side_by_side(&[(&rest, name, timing.keepalive_ms)], time)?;
    cases.into_iter().next().ok_or_else(|| io::Error::other("no case"))
}

/// What becomes of pairs of boards, each with its name and its keepalive in milliseconds, that beat side by side beside one
/// load.
pub(crate) fn side_by_side(pairs: &[(&Rest, String, u64)], time: Duration) -> io::Result<Vec<Case>> {
    let observers =
        pairs.iter().map(|(rest, ..)| rest.observer(Contender::Nullbeat)).collect::<io::Result<Vec<_>>>()?;
    let (from, early) = (now(), pairs.iter().map(|(rest, ..)| deaths(&rest.lab).len()).collect::<Vec<_>>());
    {
        let _load = Helper::start(&[LOAD_WORD])?;
        sleep(time);
    }
    let mut cases = Vec::new();
    for (((rest, name, keepalive_ms), observer), early) in pairs.iter().zip(observers).zip(early) {
        let deaths = deaths(&rest.lab).split_off(early);
        complain(&rest.lab);
        let beats: Vec<u64> = observer.beats()?.into_iter().filter(|at| *at >= from).collect();
        let late = |pair: &[u64]| ((pair[1] - pair[0]) as f64 / 1e6 - *keepalive_ms as f64).max(0.0);
        let lateness = beats.windows(2).map(late).collect();
        cases.push(Case { name: name.clone(), time, deaths, lateness });
    }
    Ok(cases)
}

/// Shows what the boards found worth a warning: why somebody was late or silent.
fn complain(lab: &Lab) {
    for (node, name) in NAMES.iter().enumerate() {
        let log = fs::read_to_string(lab.board_directory(node).join("ha.d/log")).unwrap_or_default();
        // What scripts say is none of the load's doing.
        let is_complaint = |line: &&str| {
            !line.contains("resource.d") && ["WARN", "ERROR", "CRIT", "EMERG"].iter().any(|word| line.contains(word))
        };
        log.lines().filter(is_complaint).take(COMPLAINTS_MAX).for_each(|line| eprintln!("{name}: {line}"));
    }
}

/// When a board has said that the other one is dead, in the order of time.
fn deaths(lab: &Lab) -> Vec<String> {
    let said = |node: usize| fs::read_to_string(lab.board_directory(node).join("ha.d/log")).unwrap_or_default();
    let logs: String = (0..NAMES.len()).map(said).collect();
    let time = |line: &str| line.split_whitespace().nth(2).unwrap_or_default().to_owned();
    let mut all: Vec<String> = logs.lines().filter(|line| line.contains(": is dead")).map(time).collect();
    all.sort_unstable();
    all
}

impl Case {
    /// Nobody was declared dead, and nobody fell silent for good.
    fn has_held(&self, keepalive_ms: u64) -> bool {
        let beats = self.time.as_millis() / u128::from(keepalive_ms);
        self.deaths.is_empty() && self.lateness.len() as u128 * 10 > beats * 9
    }

    /// By which a row of an older table is known to be of the same case.
    pub(crate) fn key(&self) -> String {
        format!("| {} |", self.name)
    }

    /// Head line of the table that [`Case::describe`] writes lines of.
    pub(crate) fn head() -> String {
        let mut head = "| case | time | false deaths | beats |".to_string();
        let mut rule = "|---|---|---|---|".to_string();
        let mut from = 0.0;
        for class in CLASSES {
            let _ = if class.is_finite() { write!(head, " {from}–{class} ms |") } else { write!(head, " more |") };
            rule.push_str("---|");
            from = class;
        }
        format!("{head} latest |\n{rule}---|\n")
    }

    pub(crate) fn describe(&self, text: &mut String) {
        let Self { name, time, deaths, lateness } = self;
        let _ = write!(text, "| {name} | {} s | {} | {} |", time.as_secs(), deaths.len(), lateness.len() + 1);
        let mut from = -1.0;
        for class in CLASSES {
            let _ = write!(text, " {} |", lateness.iter().filter(|late| **late > from && **late <= class).count());
            from = class;
        }
        let _ = writeln!(text, " {:.1} ms |", lateness.iter().copied().fold(0.0, f64::max));
    }
}

/// Busy loops and the churner, until killed.
pub(crate) fn load() -> io::Result<()> {
    for _ in 0..BUSY_LOOPS {
        thread::spawn(|| {
            loop {
                black_box(0);
            }
        });
    }
    loop {
        let mut memory = vec![0_u8; CHURNED_BYTES];
        memory.iter_mut().step_by(4096).for_each(|byte| *byte = 1);
        black_box(&memory);
    }
}
