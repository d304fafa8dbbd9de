//! The shortest times that a busy machine can keep: four busy loops and a memory churner beside two beating boards.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::hint::black_box;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use nix::pty::openpty;
use nix::sys::termios::{SetArg, cfmakeraw, tcgetattr, tcsetattr};
use nix::unistd::ttyname;

use super::board::{Board, now};
use super::contender::{Contender, Timing, cables};
use super::lab::{Lab, NAMES};
use super::tap::{Tap, is_compact_beat};

/// The word by which this program knows that it is a null-modem cable.
pub(crate) const CABLE_WORD: &str = "--cable";
/// And that it is the load.
pub(crate) const LOAD_WORD: &str = "--load";

const BUSY_LOOPS: usize = 4;
const CHURNED_BYTES: usize = 64 << 20;
/// Speed of the line.
const BAUD: u32 = 115_200;
/// On the line, for each byte: start, eight, stop.
const BITS_PER_BYTE: u32 = 10;
/// Bytes handed over at once: a FIFO's worth.
const PORTION: usize = 16;
/// Lines of each board's log that are shown at the most.
const COMPLAINTS_MAX: usize = 20;
/// Upper ends of the classes of lateness, in milliseconds.
const CLASSES: [f64; 8] = [0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, f64::INFINITY];

/// What one case showed.
pub(crate) struct Case {
    name: String,
    time: Duration,
    deaths: usize,
    /// Of each beat of alpha: how much later it left than a keepalive after the one before, in milliseconds.
    lateness: Vec<f64>,
}

/// The line that names a serial link, once the cable has told its ends.
pub(crate) fn serial<const BAUD: u32>(node: usize, _: usize) -> String {
    let end = fs::read_to_string(cable_file(NAMES[node])).unwrap_or_default();
    format!("baud {BAUD}\nserial {}\n", end.trim())
}

fn cable_file(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("bench-cable-{}-{name}", std::process::id()))
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
                let timing = Timing { keepalive_ms, deadtime_ms: 5 * keepalive_ms, is_realtime, links, cables: 1 };
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
    let contender = Contender::Nullbeat;
    let _cable = is_serial.then(|| Cable::lay(BAUD)).transpose()?;
    let lab = Lab::build("x")?;
    contender.prepare(&lab, marker, timing)?;
    let mut boards = [Board::boot(&lab, 0)?, Board::boot(&lab, 1)?];
    for board in &mut boards {
        board.start(&contender.command(nullbeat))?;
    }
    boards[0].await_mark(&contender.complete(0))?;
    boards[1].await_mark(&contender.complete(1))?;
    sleep(Duration::from_secs(2));
    let tap = Tap::open(&lab.namespace(0), contender.is_beat())?;
    let (from, early) = (now(), deaths(&lab));
    {
        let _load = Helper::start(&[LOAD_WORD])?;
        sleep(time);
    }
    let deaths = deaths(&lab) - early;
    complain(&lab);
    let beats: Vec<u64> = if is_serial {
        let text = fs::read_to_string(cable_file("beats"))?;
        text.lines().filter_map(|line| line.parse().ok()).filter(|at| *at >= from).collect()
    } else {
        tap.beats().iter().filter(|seen| seen.node == 0).map(|seen| seen.at).collect()
    };
    let keepalive = timing.keepalive_ms as f64;
    let lateness = beats.windows(2).map(|pair| ((pair[1] - pair[0]) as f64 / 1e6 - keepalive).max(0.0)).collect();
    let name = format!(
        "{}, keepalive {} ms, dead time {} ms, real-time class {}",
        if is_serial { "serial line paced at 115200 baud" } else { "UDP" },
        timing.keepalive_ms,
        timing.deadtime_ms,
        if timing.is_realtime { "on" } else { "off" },
    );
    Ok(Case { name, time, deaths, lateness })
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

/// How often a board has said that the other one is dead.
fn deaths(lab: &Lab) -> usize {
    let count = |node| {
        let log = fs::read_to_string(lab.board_directory(node).join("ha.d/log")).unwrap_or_default();
        log.lines().filter(|line| line.contains(": is dead")).count()
    };
    (0..NAMES.len()).map(count).sum()
}

impl Case {
    /// Nobody was declared dead, and nobody fell silent for good.
    fn has_held(&self, keepalive_ms: u64) -> bool {
        let beats = self.time.as_millis() / u128::from(keepalive_ms);
        self.deaths == 0 && self.lateness.len() as u128 * 10 > beats * 9
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
        let _ = write!(text, "| {name} | {} s | {deaths} | {} |", time.as_secs(), lateness.len() + 1);
        let mut from = -1.0;
        for class in CLASSES {
            let _ = write!(text, " {} |", lateness.iter().filter(|late| **late > from && **late <= class).count());
            from = class;
        }
        let _ = writeln!(text, " {:.1} ms |", lateness.iter().copied().fold(0.0, f64::max));
    }
}

/// This program in another role; killed when dropped.
struct Helper(Child);

impl Helper {
    fn start(words: &[&str]) -> io::Result<Self> {
        let program = std::env::current_exe()?;
        Ok(Self(Command::new(program).args(words).stdin(Stdio::null()).stdout(Stdio::null()).spawn()?))
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
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

/// The cable's process and what it left.
pub(crate) struct Cable(#[expect(dead_code, reason = "killed when dropped")] Helper);

impl Cable {
    /// A cable does not wait for a processor: it runs above everything else.
    pub(crate) fn lay(baud: u32) -> io::Result<Self> {
        let files = [NAMES[0], NAMES[1], "beats"].map(cable_file);
        files.iter().for_each(|file| drop(fs::remove_file(file)));
        let program = std::env::current_exe()?;
        let child = Command::new("chrt")
            .args(["--fifo", "60"])
            .arg(program)
            .arg(CABLE_WORD)
            .args(&files)
            .arg(baud.to_string())
            .stdin(Stdio::null())
            .spawn()?;
        let cable = Self(Helper(child));
        let start = Instant::now();
        while !files[2].exists() {
            if start.elapsed() > Duration::from_secs(10) {
                return Err(io::Error::other("no pseudo-terminals"));
            }
            sleep(Duration::from_millis(10));
        }
        Ok(cable)
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        for name in [NAMES[0], NAMES[1], "beats"] {
            let _ = fs::remove_file(cable_file(name));
        }
    }
}

/// A null-modem cable of so many baud between two pseudo-terminals whose names go into two files; into the third go the
/// moments at which a status left alpha.
pub(crate) fn carry(files: &[String]) -> io::Result<()> {
    let [alpha, beta, beats, baud] = files else { return Err(io::Error::other("--cable ALPHA BETA BEATS BAUD")) };
    let speed = baud.parse::<u32>().map_err(io::Error::other)? / BITS_PER_BYTE;
    let (left, right) = (openpty(None, None)?, openpty(None, None)?);
    // The slaves stay open here, so that a daemon's absence is silence and no hang-up.
    for (slave, file) in [(&left.slave, alpha), (&right.slave, beta)] {
        let mut settings = tcgetattr(slave)?;
        cfmakeraw(&mut settings);
        tcsetattr(slave, SetArg::TCSANOW, &settings)?;
        fs::write(file, ttyname(slave.as_fd())?.display().to_string())?;
    }
    let beats = File::create(beats)?;
    let (from_right, to_left) = (right.master.try_clone()?, left.master.try_clone()?);
    thread::spawn(move || direction(from_right, to_left, None, speed));
    direction(left.master, right.master, Some(beats), speed)
}

/// Whether a status begins in these bytes: Heartbeat's, or a compact beat, whose first byte stands behind a delimiter and the
/// first code of its stuffing.
fn is_beat(bytes: &[u8]) -> bool {
    let is_compact = |window: &[u8]| matches!(window, [0, code, kind] if *code > 0 && is_compact_beat(*kind));
    bytes.windows(8).any(|bytes| bytes == b"t=status") || bytes.windows(3).any(is_compact)
}

/// `speed`: bytes a second.
fn direction(from: OwnedFd, to: OwnedFd, mut beats: Option<File>, speed: u32) -> io::Result<()> {
    let (mut from, mut to) = (File::from(from), File::from(to));
    let mut buffer = [0; 4096];
    let mut free_at = Instant::now();
    loop {
        let count = from.read(&mut buffer)?;
        if let Some(beats) = &mut beats
            && is_beat(&buffer[..count])
        {
            writeln!(beats, "{}", now())?;
        }
        for portion in buffer[..count].chunks(PORTION) {
            let bytes = u32::try_from(portion.len()).map_err(io::Error::other)?;
            free_at = free_at.max(Instant::now()) + Duration::from_secs(1) * bytes / speed;
            sleep(free_at.saturating_duration_since(Instant::now()));
            to.write_all(portion)?;
        }
    }
}
