//! One path joins two boards, which speak the compact format: how long until the partner's first script starts when the
//! owner's whole tree is killed, what beating at such times costs, and whether it holds beside a heavy load.

use std::fmt::Write as _;
use std::io;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use nullbeat::wire::compact::BEAT_LEN;

use super::bare;
use super::board::{Board, now};
use super::cable::{Cable, serial};
use super::contender::{Contender, Timing, cables};
use super::lab::Lab;
use super::sample::{Sample, number};
use super::stalls::Stalls;
use super::steady::{Rest, TRACE_WINDOW};
use super::stress::{self, Case};

/// Longer than anything moves after a start.
const REST: Duration = Duration::from_millis(700);

/// Fewer beats tell too little.
const TRACED_BEATS: u64 = 10;

/// One path and its times.
struct Way {
    name: &'static str,
    timing: Timing,
    limit_ms: u32,
    /// Heartbeat 3.0.6 at its best on the same path.
    original: &'static str,
    /// A keepalive at which Heartbeat's messages fit as well, and the line that asks for them.
    text_keepalive_ms: u64,
    text_links: fn(usize, usize) -> String,
}

fn line<const BAUD: u32>(node: usize, _: usize) -> String {
    format!("protocol compact\n{}", serial::<BAUD>(node, 0))
}

fn text_line<const BAUD: u32>(node: usize, _: usize) -> String {
    format!("protocol heartbeat\n{}", serial::<BAUD>(node, 0))
}

fn udp(node: usize, cable: usize) -> String {
    format!("protocol compact\n{}", (cables(1).links)(node, cable))
}

fn text_udp(node: usize, cable: usize) -> String {
    format!("protocol heartbeat\n{}", (cables(1).links)(node, cable))
}

impl Way {
    /// As in the table's head column.
    fn words(&self) -> String {
        let Timing { keepalive_ms, deadtime_ms, .. } = self.timing;
        format!("{}, keepalive {keepalive_ms} ms, dead time {deadtime_ms} ms", self.name)
    }
}

fn serial_way<const BAUD: u32>(name: &'static str, keepalive_ms: u64, limit_ms: u32, original: &'static str) -> Way {
    Way {
        name,
        timing: timing(keepalive_ms, line::<BAUD>, Some(BAUD)),
        limit_ms,
        original,
        // Three times what the 330 bytes of a nullbeat's take.
        text_keepalive_ms: u64::from(10_000_000 / BAUD),
        text_links: text_line::<BAUD>,
    }
}

const fn timing(keepalive_ms: u64, links: fn(usize, usize) -> String, baud: Option<u32>) -> Timing {
    Timing { keepalive_ms, deadtime_ms: 3 * keepalive_ms, is_realtime: true, links, cables: 1, baud }
}

fn ways() -> [Way; 4] {
    let fast = "about 53 ms dead time at 100 % line load, plus 234 ms";
    let original = "does not run stably";
    let timing = timing(10, udp, None);
    [
        serial_way::<115_200>("serial alone, 115200 baud", 10, 45, fast),
        serial_way::<19_200>("serial alone, 19200 baud", 25, 100, "317 ms plus 234 ms"),
        serial_way::<9_600>("serial alone, 9600 baud", 45, 180, "634 ms plus 234 ms"),
        Way { name: "UDP", timing, limit_ms: 35, original, text_keepalive_ms: 10, text_links: text_udp },
    ]
}

/// The table, measured `runs` times on each path.
pub(crate) fn measure(nullbeat: &Path, marker: &Path, runs: usize) -> io::Result<String> {
    let mut text =
        "| path | kill → first script's `start` | to reach | Heartbeat 3.0.6 at its best on the same path |\n\
                    |---|---|---|---|\n"
            .to_owned();
    for path in ways() {
        let sample = run(nullbeat, marker, &path, runs)?;
        let _ = writeln!(
            text,
            "| {} | {} ms, at most {} ms | ≤ {} ms | {} |",
            path.words(),
            number(sample.median()),
            number(sample.max()),
            path.limit_ms,
            path.original
        );
        eprint!("{text}");
    }
    Ok(text)
}

fn run(nullbeat: &Path, marker: &Path, path: &Way, runs: usize) -> io::Result<Sample> {
    let contender = Contender::Nullbeat;
    let _cable = path.timing.baud.map(Cable::lay).transpose()?;
    let lab = Lab::build("k")?;
    contender.prepare(&lab, marker, &path.timing)?;
    let boot = |node: usize| -> io::Result<Board> {
        let mut board = Board::boot(&lab, node)?;
        board.start(&contender.command(nullbeat))?;
        Ok(board)
    };
    let (mut alpha, mut beta) = (boot(0)?, boot(1)?);
    alpha.await_mark(&contender.complete(0))?;
    beta.await_mark(&contender.complete(1))?;
    let mut sample = Sample::default();
    for run in 0..runs {
        // At every phase of the keepalive.
        sleep(REST + Duration::from_micros(3_700 * (run as u64 % 20)));
        beta.forget_marks();
        let cut = now();
        alpha.cut_power()?;
        beta.await_mark(&contender.complete(0))?;
        let first = beta.marks().into_iter().find(|mark| mark.text.ends_with(" start"));
        let first = first.ok_or_else(|| io::Error::other("no script was started"))?;
        sample.push((first.at as f64 - cut as f64) / 1e6);
        alpha = boot(0)?;
        alpha.await_mark(&contender.complete(0))?;
    }
    Ok(sample)
}

/// What beating costs on each way, on a machine that does nothing else.
pub(crate) fn costs(nullbeat: &Path, marker: &Path, runs: usize) -> io::Result<String> {
    let mut text =
        "| path | processor time of one node | a bare loop of datagrams | to reach | system calls per own beat | at a \
                    keepalive that Heartbeat's messages can keep | Heartbeat's messages at that one |\n\
                    |---|---|---|---|---|---|---|\n"
            .to_owned();
    let contender = Contender::Nullbeat;
    for way in ways() {
        let calls = |timing: &Timing| -> io::Result<Sample> {
            let rest = Rest::begin("c", contender, nullbeat, marker, timing)?;
            let window = Duration::from_millis(TRACED_BEATS * timing.keepalive_ms).max(TRACE_WINDOW);
            (0..runs).map(|_| rest.calls_per_beat(contender, window)).collect()
        };
        let rest = Rest::begin("c", contender, nullbeat, marker, &way.timing)?;
        // A minute's milliseconds in per cent.
        let share = |milliseconds: f64| milliseconds / 600.0;
        let spent: Sample = (0..runs).map(|_| rest.processor_time().map(share)).collect::<io::Result<_>>()?;
        drop(rest);
        let bare = share(bare::measure(marker, (way.timing.keepalive_ms, BEAT_LEN), runs)?.median());
        let keepalive_ms = way.text_keepalive_ms;
        let slow = timing(keepalive_ms, way.timing.links, way.timing.baud);
        let like_it = Timing { links: way.text_links, ..slow.clone() };
        let _ = writeln!(
            text,
            "| {} | {spent} % of a core | {} % | < 1 % | {} | {}, keepalive {keepalive_ms} ms | {} |",
            way.words(),
            number(bare),
            calls(&way.timing)?,
            calls(&slow)?,
            calls(&like_it)?
        );
        eprint!("{text}");
    }
    Ok(text)
}

/// All ways at once beside one heavy load.
pub(crate) fn endure(nullbeat: &Path, marker: &Path, time: Duration) -> io::Result<String> {
    let ways = ways();
    let rests = ways
        .iter()
        .enumerate()
        .map(|(number, way)| Rest::begin(&format!("e{number}"), Contender::Nullbeat, nullbeat, marker, &way.timing))
        .collect::<io::Result<Vec<_>>>()?;
    let pairs: Vec<_> =
        ways.iter().zip(&rests).map(|(way, rest)| (rest, way.words(), way.timing.keepalive_ms)).collect();
    let mut text = Case::head();
    let stalls = Stalls::watch()?;
    let cases = stress::side_by_side(&pairs, time)?;
    cases.iter().for_each(|case| case.describe(&mut text));
    let _ = write!(text, "\n{}", stalls.tell()?);
    for case in cases.iter().filter(|case| !case.deaths.is_empty()) {
        let _ = writeln!(text, "{}: nodes called dead at {}.", case.name, case.deaths.join(", "));
    }
    eprint!("{text}");
    Ok(text)
}
