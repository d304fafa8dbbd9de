//! Owner loses power, comes back, stops cleanly, comes back: the times of each.

use std::io;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use super::board::{Board, Mark, now};
use super::contender::{Contender, MANY, MANY_FROM, cables};
use super::lab::{Lab, NAMES};
use super::sample::Sample;
use super::tap::Tap;

/// What [`measure`] finds, in milliseconds where it is a time.
#[derive(Debug, Default)]
pub(crate) struct Times {
    /// Dead time expired → first script's start.
    pub(crate) detect: Sample,
    /// First to last start of a group of many scripts, for each script.
    pub(crate) per_script: Sample,
    /// Processes made for each script.
    pub(crate) processes: Sample,
    /// exec → last resource started.
    pub(crate) start: Sample,
    /// Last stop script → no process left.
    pub(crate) stop: Sample,
}

struct Pair<'a> {
    lab: &'a Lab,
    contender: Contender,
    command: Vec<String>,
    boards: [Option<Board>; 2],
}

/// Runs the whole cycle `runs` times.
pub(crate) fn measure(contender: Contender, nullbeat: &Path, marker: &Path, runs: usize) -> io::Result<Times> {
    let lab = Lab::build("c")?;
    contender.prepare(&lab, marker, &cables(1))?;
    let mut pair = Pair { lab: &lab, contender, command: contender.command(nullbeat), boards: [None, None] };
    let mut times = Times::default();
    pair.begin()?;
    for _ in 0..runs {
        pair.run_once(&mut times)?;
    }
    Ok(times)
}

impl Pair<'_> {
    fn boot(&mut self, node: usize) -> io::Result<&mut Board> {
        let mut board = Board::boot(self.lab, node)?;
        board.start(&self.command)?;
        Ok(self.boards[node].insert(board))
    }

    fn board(&mut self, node: usize) -> &mut Board {
        self.boards[node].as_mut().unwrap_or_else(|| panic!("{} has no power", NAMES[node]))
    }

    /// Everything that is under way has come to rest.
    fn settle(&self) {
        sleep(match self.contender {
            Contender::Heartbeat => Duration::from_millis(2500),
            Contender::Nullbeat | Contender::Keepalived(_) => Duration::from_millis(800),
        });
    }

    fn begin(&mut self) -> io::Result<()> {
        self.boot(0)?;
        self.boot(1)?;
        self.await_all_home()
    }

    /// Each group is where it belongs. VRRP has one group, alpha's.
    fn await_all_home(&mut self) -> io::Result<()> {
        let complete = [0, 1].map(|group| self.contender.complete(group));
        self.board(0).await_mark(&complete[0])?;
        if !self.is_vrrp() {
            self.board(1).await_mark(&complete[1])?;
        }
        self.settle();
        Ok(())
    }

    const fn is_vrrp(&self) -> bool {
        matches!(self.contender, Contender::Keepalived(_))
    }

    fn run_once(&mut self, times: &mut Times) -> io::Result<()> {
        // Beta's group is the long one; VRRP's only group is alpha's.
        let victim = usize::from(!self.is_vrrp());
        self.lose_power(victim, times)?;
        self.settle();
        self.return_of(victim)?;
        if !self.is_vrrp() {
            self.stop_cleanly(0, times)?;
            self.settle();
        }
        let started = self.return_of(0)?;
        times.start.push(started);
        if self.is_vrrp() {
            self.stop_cleanly(0, times)?;
            self.settle();
            self.return_of(0)?;
        }
        Ok(())
    }

    fn lose_power(&mut self, victim: usize, times: &mut Times) -> io::Result<()> {
        let survivor = 1 - victim;
        let tap = Tap::open(&self.lab.namespace(survivor), self.contender.is_beat())?;
        // So that the last beat before the cut has surely been seen, whatever the phase.
        sleep(Duration::from_millis(500 + 37 * (times.detect.count() as u64 % 5)));
        self.board(survivor).forget_marks();
        let complete = self.contender.complete(victim);
        let Some(board) = self.boards[victim].take() else { return Ok(()) };
        board.cut_power()?;
        self.board(survivor).await_mark(&complete)?;
        let marks = self.board(survivor).marks();
        let starts: Vec<&Mark> = marks.iter().filter(|mark| mark.text.ends_with(" start")).collect();
        let (Some(first), Some(last)) = (starts.first(), starts.last()) else { return Ok(()) };
        let beat = tap.last_beat(victim, now()).ok_or_else(|| io::Error::other("no beat was seen"))?;
        times.detect.push(ms(beat + self.contender.deadtime_ns(), first.at));
        let many_first = format!("{MANY_FROM} start");
        if !self.is_vrrp() && first.text == many_first && starts.len() == MANY {
            let gaps = (MANY - 1) as f64;
            times.per_script.push(ms(first.at, last.at) / gaps);
            times.processes.push((last.pid - first.pid) as f64 / gaps);
        }
        Ok(())
    }

    /// A board comes back and takes its group back; how long that took from exec(2), in milliseconds.
    fn return_of(&mut self, node: usize) -> io::Result<f64> {
        self.boot(node)?;
        let complete = self.contender.complete(node);
        let last = self.board(node).await_mark(&complete)?;
        let exec = self.board(node).await_mark("board exec")?;
        self.settle();
        Ok(ms(exec.at, last.at))
    }

    fn stop_cleanly(&mut self, node: usize, times: &mut Times) -> io::Result<()> {
        let pid_file = self.contender.pid_file();
        let released = self.contender.released(node);
        self.board(node).forget_marks();
        self.board(node).terminate(pid_file)?;
        let empty = self.board(node).await_mark("board empty")?;
        let stop = self.board(node).await_mark(&released)?;
        times.stop.push(ms(stop.at, empty.at));
        self.boards[node] = None;
        Ok(())
    }
}

#[expect(clippy::cast_precision_loss, reason = "times of a few seconds in nanoseconds")]
fn ms(from: u64, to: u64) -> f64 {
    (to as f64 - from as f64) / 1e6
}
