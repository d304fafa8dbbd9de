//! The boards of one cell, and what its scenario does with them. Nothing here panics for a red cell: it says why.

use std::time::{Duration, Instant};

use crate::cell::{Cell, Pair};
use crate::lab::{Board, Lab, NULLBEAT, PATIENCE, run};
use crate::measure;
use crate::medium::Medium;
use crate::scenario::Scenario;

/// Nothing, or why the cell is red.
pub(crate) type Outcome = Result<(), String>;

/// Both groups.
pub(crate) const GROUPS: [&str; 2] = ["web", "mail"];

/// A laboratory set up for one cell.
pub(crate) struct Bench {
    pub(crate) lab: Lab,
    pub(crate) cell: Cell,
    /// The scenario begins: what the observer saw before does not count as a gap.
    began: Instant,
    /// Overlaps that the configuration permits, because every path was cut.
    pub(crate) permitted: usize,
    /// What the scenario measured itself, where that is not the longest gap.
    pub(crate) time: Option<Duration>,
    /// What the medium says is pulled.
    is_pulled: bool,
}

impl Bench {
    pub(crate) fn new(cell: Cell) -> Self {
        let mut lab = Lab::new(["alpha", "beta"]);
        if cell.pair == Pair::Original || cell.scenario == Scenario::MoveOver {
            lab.boards[0].use_heartbeat();
        }
        lab.boards[1].use_heartbeat();
        std::fs::create_dir_all(lab.dir.join("bin")).expect("folder");
        for tool in ["hb_standby", "hb_takeover"] {
            std::os::unix::fs::symlink(NULLBEAT, lab.dir.join("bin").join(tool)).expect("link");
        }
        let bench = Self { lab, cell, began: Instant::now(), permitted: 0, time: None, is_pulled: false };
        if bench.is_by_fifo() {
            for file in ["shellfuncs", "harc", "rc.d"] {
                run("cp", &["-a", &format!("/etc/ha.d/{file}"), &bench.lab.boards[0].config_dir().to_string_lossy()]);
            }
        }
        for index in 0..2 {
            bench.configure(index);
        }
        bench
    }

    /// Writes the three files of the board for the program that it runs next.
    pub(crate) fn configure(&self, index: usize) {
        let board = &self.lab.boards[index];
        let scenario = self.cell.scenario;
        let mut ha_cf = format!(
            "logfile {dir}/ha-log\ndebugfile {dir}/ha-debug\nuse_logd off\n{timing}{format}udpport 694\nbaud 115200\n\
             {media}auto_failback {failback}\nnode alpha\nnode beta\n",
            dir = board.dir.display(),
            timing = scenario.timing(),
            format = self.cell.format.lines(),
            media = self.cell.medium.lines(&self.lab, index),
            failback = scenario.auto_failback(),
        );
        if !board.runs_heartbeat() {
            ha_cf += &format!("reset_with hook {}\n", board.reset_hook().display());
        }
        board.configure(&ha_cf, scenario.haresources());
        board.authkeys(self.cell.digest.authkeys());
    }

    /// Whether both boards run Heartbeat.
    pub(crate) fn is_original(&self) -> bool {
        self.cell.pair == Pair::Original
    }

    /// Whether orders on nullbeat's board are given by the package's own scripts.
    pub(crate) const fn is_by_fifo(&self) -> bool {
        matches!(self.cell.scenario, Scenario::StandbyByFifo | Scenario::TakeoverByFifo)
    }

    /// Powers the board and starts its daemon.
    pub(crate) fn switch_on(&mut self, index: usize) {
        self.lab.boards[index].power_on();
        if self.is_pulled {
            self.pull();
        }
        self.lab.boards[index].start();
    }

    /// Starts both and waits until each group is where it belongs; then pulls what the medium says. The scenario proper
    /// begins when this returns.
    pub(crate) fn come_home(&mut self) -> Outcome {
        self.switch_on(0);
        self.switch_on(1);
        self.wait_home()?;
        self.wait_settled()?;
        self.pull();
        self.begin();
        Ok(())
    }

    /// From here on gaps count.
    pub(crate) fn begin(&mut self) {
        self.began = Instant::now();
    }

    /// Pulls what the medium says, for as long as the cell lasts.
    pub(crate) fn pull(&mut self) {
        self.is_pulled = true;
        match self.cell.medium {
            Medium::SerialCut => self.lab.modem.cut(true),
            // A board that is off has no port yet.
            Medium::UcastCut if self.lab.boards[0].is_on() => self.lab.ethernet(0, false),
            _ => {}
        }
    }

    /// Cuts everything, or heals it.
    pub(crate) fn cut(&self, is_cut: bool) {
        self.lab.modem.cut(is_cut || self.cell.medium == Medium::SerialCut);
        self.lab.ethernet(0, !is_cut && self.cell.medium != Medium::UcastCut);
    }

    /// Waits for something.
    pub(crate) fn wait(&self, why: &str, what: impl Fn(&Lab) -> bool) -> Result<Duration, String> {
        let start = Instant::now();
        while !what(&self.lab) {
            if start.elapsed() >= PATIENCE {
                return Err(format!("not within {PATIENCE:?}: {why}"));
            }
            self.lab.observer.wait_for_more(Duration::from_millis(10));
        }
        Ok(start.elapsed())
    }

    /// Waits until the board, and only it, runs these groups.
    pub(crate) fn wait_owner(&self, index: usize, groups: &[&str]) -> Result<Duration, String> {
        self.wait(&format!("{} runs {groups:?}", self.lab.boards[index].name), |lab| {
            groups.iter().all(|group| lab.runners(group) == [index] && lab.owners(group) == [index])
        })
    }

    /// Waits until each group runs where it belongs.
    pub(crate) fn wait_home(&self) -> Result<Duration, String> {
        let home = self.cell.scenario.home();
        self.wait("each group runs where it belongs", |lab| {
            home.iter().all(|(group, index)| lab.runners(group) == [*index] && lab.owners(group) == [*index])
        })
    }

    /// Waits until neither daemon has anything under way: each ignores requests while something moves.
    pub(crate) fn wait_settled(&self) -> Result<Duration, String> {
        self.wait("neither daemon has a move under way", |lab| lab.boards.iter().all(is_settled))
    }

    /// Fails unless the groups stay where they are for a while.
    pub(crate) fn stays(&self, time: Duration) -> Outcome {
        let before = GROUPS.map(|group| self.lab.owners(group));
        let start = Instant::now();
        while start.elapsed() < time {
            for (group, owners) in GROUPS.iter().zip(&before) {
                let now = self.lab.owners(group);
                if now != *owners {
                    return Err(format!("{group} moved from {owners:?} to {now:?} without a reason"));
                }
            }
            self.lab.observer.wait_for_more(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Stops the daemon of the board and waits for its end.
    pub(crate) fn stop(&mut self, index: usize) {
        self.lab.boards[index].stop();
    }

    /// Fails when this stands in the board's log.
    pub(crate) fn assert_not_logged(&self, index: usize, words: &str) -> Outcome {
        let board = &self.lab.boards[index];
        match board.log().lines().find(|line| line.contains(words)) {
            Some(line) => Err(format!("{} says: {line}", board.name)),
            None => Ok(()),
        }
    }

    /// Waits until this stands in the board's log.
    pub(crate) fn wait_logged(&self, index: usize, words: &str) -> Outcome {
        let name = &self.lab.boards[index].name;
        self.wait(&format!("{name} logs: {words}"), |lab| lab.boards[index].log().contains(words)).map(drop)
    }

    /// Overlaps that nothing permits.
    pub(crate) fn overlaps(&self) -> usize {
        self.lab.observer.overlaps() - self.permitted
    }

    /// What the table shows as the cell's time: the longest time in which a group ran nowhere, unless the scenario has
    /// measured something else.
    pub(crate) fn measured(&self) -> Duration {
        let records = self.lab.observer.records();
        let gap = |group: &&str| measure::longest_gap(&records, group, self.began);
        self.time.unwrap_or_else(|| GROUPS.iter().map(gap).max().unwrap_or_default())
    }
}

/// Whether a daemon answers there and says that nothing moves.
pub(crate) fn is_settled(board: &Board) -> bool {
    if !board.runs_heartbeat() {
        return board.is_settled();
    }
    let output = board.on_board(&["cl_status", "rscstatus"]);
    let word = String::from_utf8_lossy(&output.stdout);
    output.status.success() && ["none", "local", "foreign", "all"].contains(&word.trim())
}
