//! Two boards at rest: what beating costs in time, memory and system calls.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::board::Board;
use super::cable::Cable;
use super::contender::{Contender, Timing, cables};
use super::lab::{CABLES, Lab};
use super::sample::Sample;
use super::tap::{Seen, Tap};

pub(crate) const CPU_WINDOW: Duration = Duration::from_secs(5);
pub(crate) const TRACE_WINDOW: Duration = Duration::from_secs(3);

/// Which board is looked at: alpha, the owner in VRRP.
const NODE: usize = 0;

/// What [`measure`] finds.
#[derive(Debug, Default)]
pub(crate) struct Costs {
    /// Milliseconds of processor time a minute, all processes.
    pub(crate) cpu: Sample,
    /// Megabytes (10^6) in distinct page frames, all processes.
    pub(crate) memory: Sample,
    /// System calls of all processes for each own beat, with one link.
    pub(crate) calls: Sample,
    /// And with two.
    pub(crate) calls_on_two: Sample,
}

/// Two boards that have settled.
pub(crate) struct Rest {
    boards: [Board; 2],
    pub(crate) lab: Lab,
    cable: Option<Cable>,
}

/// Sees alpha's beats on the first cable, or on the serial line if that is what the boards have.
pub(crate) enum Observer<'r> {
    Packets(Tap),
    Line(&'r Cable),
}

impl Observer<'_> {
    /// The moments of all beats so far, in nanoseconds since 1970.
    pub(crate) fn beats(&self) -> io::Result<Vec<u64>> {
        match self {
            Self::Packets(tap) => Ok(tap.beats().iter().filter(|seen| is_own(seen)).map(|seen| seen.at).collect()),
            Self::Line(cable) => cable.beats(),
        }
    }
}

impl Rest {
    /// Starts both, waits until each group is home and nothing moves any more.
    pub(crate) fn begin(
        tag: &str,
        contender: Contender,
        nullbeat: &Path,
        marker: &Path,
        timing: &Timing,
    ) -> io::Result<Self> {
        let cable = timing.baud.map(Cable::lay).transpose()?;
        let lab = Lab::build(tag)?;
        contender.prepare(&lab, marker, timing)?;
        let mut boards = [Board::boot(&lab, 0)?, Board::boot(&lab, 1)?];
        for board in &mut boards {
            board.start(&contender.command(nullbeat))?;
        }
        boards[0].await_mark(&contender.complete(0))?;
        if !matches!(contender, Contender::Keepalived(_)) {
            boards[1].await_mark(&contender.complete(1))?;
        }
        sleep(Duration::from_secs(3));
        Ok(Self { boards, lab, cable })
    }

    /// Sees beats from now on.
    pub(crate) fn observer(&self, contender: Contender) -> io::Result<Observer<'_>> {
        match &self.cable {
            Some(cable) => Ok(Observer::Line(cable)),
            None => Tap::open(&self.lab.namespace(NODE), contender.is_beat()).map(Observer::Packets),
        }
    }

    /// Memory of one board's processes in bytes of distinct page frames.
    pub(crate) fn memory(&self) -> io::Result<f64> {
        frames(&self.boards[NODE].processes()?)
    }

    /// Milliseconds of processor time in a minute, of which this is a short part.
    pub(crate) fn processor_time(&self) -> io::Result<f64> {
        let spent = || -> io::Result<BTreeMap<u32, u64>> {
            self.boards[NODE].processes()?.into_iter().map(|process| Ok((process, processor_ns(process)?))).collect()
        };
        let (before, start) = (spent()?, Instant::now());
        sleep(CPU_WINDOW);
        let since = |(process, now): (u32, u64)| now - before.get(&process).copied().unwrap_or_default();
        let spent: u64 = spent()?.into_iter().map(since).sum();
        Ok(spent as f64 / 1e6 * 60.0 / start.elapsed().as_secs_f64())
    }

    /// System calls for each own beat in so long a time.
    pub(crate) fn calls_per_beat(&self, contender: Contender, window: Duration) -> io::Result<f64> {
        let observer = self.observer(contender)?;
        let file = self.lab.directory.join("trace");
        let mut strace = Command::new("strace");
        strace.args(["-f", "-ttt", "-qq", "-e", "signal=none", "-o"]).arg(&file);
        for process in self.boards[NODE].processes()? {
            strace.args(["-p", &process.to_string()]);
        }
        let mut strace = strace.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        sleep(Duration::from_millis(500));
        let from = super::board::now();
        sleep(window);
        let to = super::board::now();
        kill(Pid::from_raw(strace.id().cast_signed()), Signal::SIGINT)?;
        strace.wait()?;
        let beats: Vec<u64> = observer.beats()?.into_iter().filter(|at| (from..to).contains(at)).collect();
        let (Some(&first), Some(&last)) = (beats.first(), beats.last()) else {
            return Err(io::Error::other("no beat while tracing"));
        };
        let trace = fs::read_to_string(&file)?;
        let calls = trace.lines().filter_map(began_at).filter(|at| (first..last).contains(at)).count();
        Ok(calls as f64 / (beats.len() - 1) as f64)
    }
}

fn is_own(seen: &Seen) -> bool {
    seen.node == NODE && seen.cable == 0
}

/// When the call in this line of strace(1) began, in nanoseconds; `None` for the second half of a line cut in two.
fn began_at(line: &str) -> Option<u64> {
    let mut words = line.split_ascii_whitespace().skip(1);
    let (seconds, micros) = words.next()?.split_once('.')?;
    let call = words.next()?;
    if call.starts_with('<') || call.starts_with('+') {
        return None;
    }
    Some(seconds.parse::<u64>().ok()? * 1_000_000_000 + micros.parse::<u64>().ok()? * 1000)
}

/// Beats of a day at keepalive 200 ms.
const DAY_BEATS: u32 = 5 * 24 * 3600;

/// Bytes in page frames before and after as many beats as a board makes in a day, made in a quarter of an hour.
pub(crate) fn day(nullbeat: &Path, marker: &Path) -> io::Result<(f64, f64, u32)> {
    let timing = Timing { keepalive_ms: 2, deadtime_ms: 200, ..Timing::default() };
    let rest = Rest::begin("d", Contender::Nullbeat, nullbeat, marker, &timing)?;
    let observer = rest.observer(Contender::Nullbeat)?;
    let early = rest.memory()?;
    let mut beats = 0;
    while beats < DAY_BEATS as usize {
        sleep(CPU_WINDOW);
        let more = observer.beats()?.len();
        if more == beats {
            return Err(io::Error::other(format!("the board fell silent after {beats} beats")));
        }
        beats = more;
    }
    Ok((early, rest.memory()?, DAY_BEATS))
}

/// All rows of one contender.
pub(crate) fn measure(contender: Contender, nullbeat: &Path, marker: &Path, runs: usize) -> io::Result<Costs> {
    let mut costs = Costs::default();
    let rest = Rest::begin("s", contender, nullbeat, marker, &cables(1))?;
    for _ in 0..runs {
        costs.cpu.push(rest.processor_time()?);
        costs.memory.push(rest.memory()? / 1e6);
    }
    for _ in 0..runs {
        costs.calls.push(rest.calls_per_beat(contender, TRACE_WINDOW)?);
    }
    drop(rest);
    if !matches!(contender, Contender::Keepalived(_)) {
        let rest = Rest::begin("t", contender, nullbeat, marker, &cables(CABLES))?;
        for _ in 0..runs {
            costs.calls_on_two.push(rest.calls_per_beat(contender, TRACE_WINDOW)?);
        }
    }
    Ok(costs)
}

/// Processor time of all threads of a process.
pub(crate) fn processor_ns(process: u32) -> io::Result<u64> {
    let mut sum = 0;
    for task in fs::read_dir(format!("/proc/{process}/task"))? {
        let text = fs::read_to_string(task?.path().join("schedstat"))?;
        sum += text.split(' ').next().and_then(|word| word.parse::<u64>().ok()).unwrap_or_default();
    }
    Ok(sum)
}

/// Bytes in the page frames that these processes have between them, each frame once; what the kernel maps into every
/// process is left out.
fn frames(processes: &BTreeSet<u32>) -> io::Result<f64> {
    let page = 4096;
    let mut frames = HashSet::new();
    for process in processes {
        let maps = fs::read_to_string(format!("/proc/{process}/maps"))?;
        let pagemap = File::open(format!("/proc/{process}/pagemap"))?;
        for line in maps.lines().filter(|line| !line.contains("[v")) {
            let Some((from, to)) = line.split(' ').next().and_then(|range| range.split_once('-')) else { continue };
            let number = |text| u64::from_str_radix(text, 16).map_err(io::Error::other);
            let (from, to) = (number(from)? / page, number(to)? / page);
            let mut entries = vec![0; usize::try_from((to - from) * 8).map_err(io::Error::other)?];
            let count = pagemap.read_at(&mut entries, from * 8)?;
            for entry in entries[..count].as_chunks::<8>().0 {
                let entry = u64::from_ne_bytes(*entry);
                // Bit 63: present. Bits 0–54: the frame, zero for those who may not know.
                if entry >> 63 == 1 && entry & ((1 << 55) - 1) != 0 {
                    frames.insert(entry & ((1 << 55) - 1));
                }
            }
        }
    }
    Ok((frames.len() as u64 * page) as f64)
}
