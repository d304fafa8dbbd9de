//! The owner's whole tree is killed while one path joins the boards, which speak the compact format: how long until the
//! partner's first script starts.

use std::fmt::Write as _;
use std::io;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use super::board::{Board, now};
use super::contender::{Contender, Timing, cables};
use super::lab::Lab;
use super::sample::{Sample, number};
use super::stress::{Cable, serial};

/// Longer than anything moves after a start.
const REST: Duration = Duration::from_millis(700);

/// One path and its times.
struct Way {
    name: &'static str,
    baud: Option<u32>,
    timing: Timing,
    limit_ms: u32,
    /// Heartbeat 3.0.6 at its best on the same path.
    original: &'static str,
}

fn line<const BAUD: u32>(node: usize, _: usize) -> String {
    format!("protocol compact\n{}", serial::<BAUD>(node, 0))
}

fn udp(node: usize, cable: usize) -> String {
    format!("protocol compact\n{}", (cables(1).links)(node, cable))
}

fn paths() -> [Way; 4] {
    let timing = |keepalive_ms, links| Timing {
        keepalive_ms,
        deadtime_ms: 3 * keepalive_ms,
        is_realtime: true,
        links,
        cables: 1,
    };
    let path = |name, baud, timing, limit_ms, original| Way { name, baud, timing, limit_ms, original };
    let fast = "about 53 ms dead time at 100 % line load, plus 234 ms";
    [
        path("serial alone, 115200 baud", Some(115_200), timing(10, line::<115_200>), 45, fast),
        path("serial alone, 19200 baud", Some(19_200), timing(25, line::<19_200>), 100, "317 ms plus 234 ms"),
        path("serial alone, 9600 baud", Some(9_600), timing(45, line::<9_600>), 180, "634 ms plus 234 ms"),
        path("UDP", None, timing(10, udp), 35, "does not run stably"),
    ]
}

/// The table, measured `runs` times on each path.
pub(crate) fn measure(nullbeat: &Path, marker: &Path, runs: usize) -> io::Result<String> {
    let mut text =
        "| path | kill → first script's `start` | to reach | Heartbeat 3.0.6 at its best on the same path |\n\
                    |---|---|---|---|\n"
            .to_owned();
    for path in paths() {
        let sample = run(nullbeat, marker, &path, runs)?;
        let Timing { keepalive_ms, deadtime_ms, .. } = path.timing;
        let _ = writeln!(
            text,
            "| {}, keepalive {keepalive_ms} ms, dead time {deadtime_ms} ms | {} ms, at most {} ms | ≤ {} ms | {} |",
            path.name,
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
    let _cable = path.baud.map(Cable::lay).transpose()?;
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
