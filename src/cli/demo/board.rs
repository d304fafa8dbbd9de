//! A board: power for one node. Cutting it ends every process of the node at once.

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::time::Instant;

use nix::sys::prctl;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, setsid};

use super::stage::Stage;
use crate::sys::process::{Child, fork_child};

/// One of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    /// Where the service belongs.
    Alpha,
    /// The other one.
    Beta,
}

impl Side {
    /// Both, in the order of their index.
    pub(super) const BOTH: [Self; 2] = [Self::Alpha, Self::Beta];

    /// The node's name.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Alpha => "alpha",
            Self::Beta => "beta",
        }
    }

    /// Place in arrays of two.
    pub(super) const fn index(self) -> usize {
        self as usize
    }

    /// The other one.
    pub(super) const fn other(self) -> Self {
        match self {
            Self::Alpha => Self::Beta,
            Self::Beta => Self::Alpha,
        }
    }

    /// The node's address.
    pub(super) const fn address(self) -> Ipv4Addr {
        Ipv4Addr::new(127, 0, 0, if matches!(self, Self::Alpha) { 1 } else { 2 })
    }

    /// The network's address on the node's side: what the node takes for its peer.
    pub(super) const fn relay_address(self) -> Ipv4Addr {
        Ipv4Addr::new(127, 0, 0, if matches!(self, Self::Alpha) { 3 } else { 4 })
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The power supply of a node. Dropping it cuts the power.
#[derive(Debug)]
pub(super) struct Board {
    side: Side,
    guardian: Option<Child>,
    /// While any process of the node may be left.
    session: Option<Pid>,
}

impl Board {
    /// A board without power.
    pub(super) const fn new(side: Side) -> Self {
        Self { side, guardian: None, session: None }
    }

    /// Whether its node runs.
    pub(super) const fn is_on(&self) -> bool {
        self.guardian.is_some()
    }

    /// Readable when the node's first process has ended.
    pub(super) fn ended(&self) -> Option<BorrowedFd<'_>> {
        self.guardian.as_ref().map(|guardian| guardian.pidfd.as_fd())
    }

    /// Starts the node: `nullbeat run`, this very program, in a session of its own.
    ///
    /// # Errors
    /// What fork(2) says.
    pub(super) fn power_on(&mut self, stage: &Stage) -> io::Result<()> {
        let mut command = self.command(stage)?;
        let guardian = fork_child(|| {
            // Should the demo be killed, its nodes stop in an orderly way.
            let _ = prctl::set_pdeathsig(Signal::SIGTERM);
            let _ = setsid();
            eprintln!("cannot execute this program again: {}", command.exec());
            127
        })?;
        self.session = Some(guardian.pid);
        self.guardian = Some(guardian);
        Ok(())
    }

    fn command(&self, stage: &Stage) -> io::Result<Command> {
        let board = stage.of(self.side);
        let console = OpenOptions::new().append(true).create(true).open(board.join("console"))?;
        let mut command = Command::new("/proc/self/exe");
        command.arg0("nullbeat").args(["run", "--node", self.side.name()]);
        for (option, place) in [("--config-dir", "ha.d"), ("--run-dir", "run"), ("--state-dir", "state")] {
            command.arg(option).arg(board.join(place));
        }
        // The service manager, if there is one, waits for the demo and not for its nodes.
        for name in ["NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC", "LISTEN_PID", "LISTEN_FDS"] {
            command.env_remove(name);
        }
        command.current_dir("/").stdin(Stdio::null()).stdout(console.try_clone()?).stderr(console);
        Ok(command)
    }

    /// How the node's first process has ended, when it has; then the board counts as off.
    pub(super) fn try_wait(&mut self) -> Option<WaitStatus> {
        let status = self.guardian.as_ref()?.try_wait().ok()??;
        self.guardian = None;
        Some(status)
    }

    /// Whether no process of the node has outlived the first one. Those that have ended are collected.
    pub(super) fn is_gone(&self) -> bool {
        let left = self.session.map_or_else(Vec::new, processes_of);
        // Orphans are our children now (PR_SET_CHILD_SUBREAPER).
        let is_collected =
            |pid: &Pid| matches!(waitpid(*pid, Some(WaitPidFlag::WNOHANG)), Ok(status) if status.pid().is_some());
        self.guardian.is_none() && left.iter().all(is_collected)
    }

    /// Nothing of the node is left: from now on its session's number may be somebody else's.
    pub(super) const fn forget(&mut self) {
        self.session = None;
    }

    /// Cuts the power: all processes of the node are stopped in one go, then killed, and what a board forgets without
    /// power is removed. Returns the moment of the cut.
    pub(super) fn power_off(&mut self, stage: &Stage) -> Instant {
        let cut = self.kill_all();
        let memory = stage.memory(self.side);
        if let Ok(marks) = fs::read_dir(memory) {
            marks.flatten().for_each(|mark| drop(fs::remove_file(mark.path())));
        }
        cut
    }

    fn kill_all(&mut self) -> Instant {
        let Some(session) = self.session.take() else { return Instant::now() };
        self.guardian = None;
        let mut found = processes_of(session);
        let cut = Instant::now();
        for pid in &found {
            let _ = kill(*pid, Signal::SIGSTOP);
        }
        // A child that was made while we looked is stopped as well. One that cannot be stopped makes no more.
        loop {
            let late: Vec<Pid> = processes_of(session).into_iter().filter(|pid| !found.contains(pid)).collect();
            if late.is_empty() {
                break;
            }
            for pid in &late {
                let _ = kill(*pid, Signal::SIGSTOP);
            }
            found.extend(late);
        }
        for pid in &found {
            let _ = kill(*pid, Signal::SIGKILL);
        }
        // Parents come first: when one has ended its children are ours (PR_SET_CHILD_SUBREAPER) and can be waited for.
        for pid in &found {
            let _ = waitpid(*pid, None);
        }
        cut
    }
}

impl Drop for Board {
    fn drop(&mut self) {
        self.kill_all();
    }
}

/// A line of the process table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    pid: i32,
    parent: i32,
    session: i32,
}

/// The processes of a session and all that descend from them, parents before their children. Orphans belong to the
/// session still.
fn processes_of(session: Pid) -> Vec<Pid> {
    let table: Vec<Entry> = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|directory| directory.file_name().to_str()?.parse::<i32>().ok())
        .filter_map(|pid| parse_stat(pid, &fs::read_to_string(format!("/proc/{pid}/stat")).ok()?))
        .collect();
    members(&table, session.as_raw()).into_iter().map(Pid::from_raw).collect()
}

/// Fields 4 and 6 of `/proc/PID/stat`; the name in brackets before them may contain anything.
fn parse_stat(pid: i32, text: &str) -> Option<Entry> {
    let mut fields = text[text.rfind(')')? + 1..].split_ascii_whitespace().skip(1);
    let parent = fields.next()?.parse().ok()?;
    let session = fields.nth(1)?.parse().ok()?;
    Some(Entry { pid, parent, session })
}

fn members(table: &[Entry], session: i32) -> Vec<i32> {
    let mut found: Vec<i32> = Vec::new();
    loop {
        let is_new = |entry: &&Entry| !found.contains(&entry.pid);
        let is_in = |pid: i32| table.iter().any(|entry| entry.pid == pid && entry.session == session);
        let next: Vec<i32> = table
            .iter()
            .filter(is_new)
            .filter(|entry| {
                let is_child = found.contains(&entry.parent);
                // One of the session whose parent is in it too waits for its parent's turn.
                is_child || (entry.session == session && !is_in(entry.parent))
            })
            .map(|entry| entry.pid)
            .collect();
        if next.is_empty() {
            return found;
        }
        found.extend(next);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(pid: i32, parent: i32, session: i32) -> Entry {
        Entry { pid, parent, session }
    }

    #[test]
    fn board_members_are_session_and_descendants_parents_first() {
        let table = [
            entry(1, 0, 1),
            entry(9, 20, 20),  // its child, listed before it
            entry(20, 2, 20),  // the guardian
            entry(30, 9, 30),  // a grandchild with a session of its own
            entry(31, 30, 30), // and its child
            entry(40, 2, 20),  // an orphan
            entry(50, 2, 50),  // the other board
        ];
        assert_eq!(members(&table, 20), [20, 40, 9, 30, 31]);
        assert_eq!(members(&table, 77), [0; 0]);
    }

    #[test]
    fn board_stat_line_with_a_wild_name() {
        let line = "12 (a) b) (c) S 7 12 5 0 -1 4194560 1 0";
        assert_eq!(parse_stat(12, line), Some(entry(12, 7, 5)));
        assert_eq!(parse_stat(12, "garbage"), None);
        assert_eq!(parse_stat(12, "12 (x) S"), None);
    }
}
