//! One nullbeat, one Heartbeat: what either's beats cost in the same run, and how fast the one takes over from the other.

use std::fmt;
use std::io;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use super::board::{Board, now};
use super::contender::{Contender, MANY_FROM, cables};
use super::lab::Lab;
use super::sample::Sample;
use super::steady::{CPU_WINDOW, processor_ns};
use super::tap::Tap;

/// Who runs on alpha and on beta.
const PAIR: [Contender; 2] = [Contender::Nullbeat, Contender::Heartbeat];
/// Longer than Heartbeat moves anything after a start.
const REST: Duration = Duration::from_secs(4);

/// What [`measure`] finds.
#[derive(Debug, Default)]
pub(crate) struct Mixed {
    /// Heartbeat's power cut: dead time expired → nullbeat's first start, in milliseconds.
    detect: Sample,
    /// Processor time of all processes for each own beat, in microseconds: nullbeat's, Heartbeat's.
    per_beat: [Sample; 2],
}

impl fmt::Display for Mixed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "dead time expired → nullbeat's first `start` {} ms after the cut of Heartbeat's power; processor time for each \
             own beat {} µs in nullbeat, {} µs in Heartbeat, at the same time.",
            self.detect, self.per_beat[0], self.per_beat[1]
        )
    }
}

/// Beats and power cuts of the Heartbeat, `runs` times.
pub(crate) fn measure(nullbeat: &Path, marker: &Path, runs: usize) -> io::Result<Mixed> {
    let lab = Lab::build("m")?;
    // Heartbeat's files suit both.
    Contender::Heartbeat.prepare(&lab, marker, &cables(1))?;
    let boot = |node: usize| -> io::Result<Board> {
        let mut board = Board::boot(&lab, node)?;
        board.start(&PAIR[node].command(nullbeat))?;
        Ok(board)
    };
    let mut alpha = boot(0)?;
    let mut beta = boot(1)?;
    alpha.await_mark(&PAIR[0].complete(0))?;
    beta.await_mark(&PAIR[1].complete(1))?;
    let mut mixed = Mixed::default();
    for run in 0..runs {
        sleep(REST);
        let tap = Tap::open(&lab.namespace(0), PAIR[0].is_beat())?;
        cost_of_beats([&alpha, &beta], &tap, &mut mixed.per_beat)?;
        sleep(Duration::from_millis(37 * (run as u64 % 5)));
        alpha.forget_marks();
        beta.cut_power()?;
        alpha.await_mark(&PAIR[1].complete(1))?;
        let first = alpha.marks().into_iter().find(|mark| mark.text.ends_with(" start"));
        let beat = tap.last_beat(1, now()).zip(first.filter(|mark| mark.text == format!("{MANY_FROM} start")));
        let (beat, first) = beat.ok_or_else(|| io::Error::other("no beat was seen"))?;
        mixed.detect.push((first.at as f64 - (beat + PAIR[0].deadtime_ns()) as f64) / 1e6);
        beta = boot(1)?;
        beta.await_mark(&PAIR[1].complete(1))?;
    }
    Ok(mixed)
}

fn cost_of_beats(boards: [&Board; 2], tap: &Tap, per_beat: &mut [Sample; 2]) -> io::Result<()> {
    let spent = |board: &Board| -> io::Result<u64> { board.processes()?.into_iter().map(processor_ns).sum() };
    let sent = |node: usize| tap.beats().iter().filter(|seen| seen.node == node).count();
    let before = [(spent(boards[0])?, sent(0)), (spent(boards[1])?, sent(1))];
    sleep(CPU_WINDOW);
    for node in 0..2 {
        let beats = sent(node) - before[node].1;
        let nanos = spent(boards[node])? - before[node].0;
        per_beat[node].push(nanos as f64 / 1e3 / beats.max(1) as f64);
    }
    Ok(())
}
