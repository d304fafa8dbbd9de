//! A bench for real daemons: boards in namespaces of their own, a null-modem cable, a network, an outside observer.
//!
//! A board is a network, PID, mount and UTS namespace with a reaper as its process 1; killing that process is power
//! loss. Every configuration sets `reset_with hook`: nothing here can reset the machine that the tests run on.

// Each test binary uses a part of the bench.
#![allow(dead_code, reason = "shared by several test binaries, each of which uses a part")]

mod board;
pub(crate) mod clock;
pub(crate) mod evidence;
mod heartbeat;
mod null_modem;
pub(crate) mod observer;
pub(crate) mod programs;
mod systemd;
pub(crate) mod tap;

pub(crate) use board::Board;
pub(crate) use null_modem::NullModem;
pub(crate) use observer::Observer;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Longest wait for anything: machines are slow and noisy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// haresources of the usual bench: one group for each board.
pub(crate) const AT_HOME: &str = "alpha trace::web\nbeta trace::mail\n";

/// Whether `tests/run --all` asked for the long lane.
pub(crate) fn is_long_lane() -> bool {
    std::env::var_os("TEST_LANE").is_some_and(|lane| lane == "all")
}

/// The program under test.
pub(crate) const NULLBEAT: &str = env!("CARGO_BIN_EXE_nullbeat");

/// Two boards, a cable, a network, an observer.
pub(crate) struct Lab {
    pub(crate) dir: PathBuf,
    pub(crate) boards: Vec<Board>,
    pub(crate) modem: NullModem,
    pub(crate) observer: Observer,
    lan: String,
}

impl Lab {
    /// A bench with two boards of these names and a client in a network 192.168.231.0/24; nothing runs yet.
    pub(crate) fn new(names: [&str; 2]) -> Self {
        Self::with_boards(&names)
    }

    /// The same with any number of boards: the cable joins the first two, the network all.
    pub(crate) fn with_boards(names: &[&str]) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let id = format!("{}x{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let dir = std::env::temp_dir().join(format!("nullbeat-lab-{id}"));
        std::fs::create_dir_all(&dir).expect("temporary directory");
        let lan = format!("nbl{id}");
        run("ip", &["netns", "add", &lan]);
        in_netns(&lan, &["ip", "link", "add", "br0", "type", "bridge"]);
        in_netns(&lan, &["ip", "addr", "add", "192.168.231.200/24", "dev", "br0"]);
        in_netns(&lan, &["ip", "addr", "add", "192.168.231.129/24", "dev", "br0"]);
        in_netns(&lan, &["ip", "link", "set", "br0", "up"]);
        in_netns(&lan, &["ip", "link", "set", "lo", "up"]);
        let modem = NullModem::new();
        let observer = Observer::new(&dir);
        let serial = |index: usize| if index < 2 { modem.device(index) } else { PathBuf::new() };
        let boards = (0..names.len())
            .map(|index| Board::new(names[index], index, &id, &dir, &lan, serial(index), observer.fifo()))
            .collect();
        Self { dir, boards, modem, observer, lan }
    }

    /// Both boards with the usual configuration: serial and ucast, keepalive 200 ms, deadtime 1 s, initdead 4 s.
    pub(crate) fn usual(extra: &str, haresources: &str) -> Self {
        let lab = Self::new(["alpha", "beta"]);
        for board in &lab.boards {
            board.configure(&lab.usual_ha_cf(board, extra), haresources);
        }
        lab
    }

    /// The usual bench with both daemons at work: the group `web` on the first board, `mail` on the second.
    pub(crate) fn at_home(extra: &str) -> Self {
        let mut lab = Self::usual(extra, AT_HOME);
        lab.start_both();
        lab.wait_at_home();
        lab
    }

    /// Waits until each board runs its own group and both nodes have settled.
    #[track_caller]
    pub(crate) fn wait_at_home(&self) {
        self.wait_owner(0, &["web"]);
        self.wait_owner(1, &["mail"]);
        self.wait("both have settled", |lab| lab.boards.iter().all(Board::is_settled));
    }

    /// ha.cf of the usual configuration.
    pub(crate) fn usual_ha_cf(&self, board: &Board, extra: &str) -> String {
        let peer = &self.boards[1 - board.index];
        format!(
            "logfile {dir}/ha-log\ndebugfile {dir}/ha-debug\nkeepalive 200ms\nwarntime 500ms\ndeadtime 1\ninitdead 4\n\
             udpport 694\nserial {serial} baud 115200 flow none\nucast ens33 {peer}\nauto_failback on\n\
             node {first}\nnode {second}\nreset_with hook {hook}\n{extra}\n",
            dir = board.dir.display(),
            serial = board.serial.display(),
            peer = peer.address,
            first = self.boards[0].name,
            second = self.boards[1].name,
            hook = board.reset_hook().display(),
        )
    }

    /// The same with the cable alone.
    pub(crate) fn serial_ha_cf(&self, board: &Board, extra: &str) -> String {
        let ha_cf = self.usual_ha_cf(board, extra);
        let (links, rest) = ha_cf.split_once("ucast ").expect("a second link");
        let (_, rest) = rest.split_once('\n').expect("more lines");
        format!("{links}{rest}")
    }

    /// Powers both boards and starts both daemons.
    pub(crate) fn start_both(&mut self) {
        for board in &mut self.boards {
            board.power_on();
            board.start();
        }
    }

    /// Cuts a board's power: everything on it is gone at once.
    pub(crate) fn power_off(&mut self, index: usize) {
        self.boards[index].kill_everything();
        self.observer.board_off(&self.boards[index].name);
        self.boards[index].take_away();
    }

    /// The client's network namespace.
    pub(crate) fn lan(&self) -> &str {
        &self.lan
    }

    /// Runs a command on the client.
    pub(crate) fn on_client(&self, words: &[&str]) -> std::process::Output {
        let all: Vec<&str> = ["netns", "exec", &self.lan].into_iter().chain(words.iter().copied()).collect();
        Command::new("ip").args(all).output().expect("ip netns exec")
    }

    /// Plugs a board's Ethernet in or out, at the switch.
    pub(crate) fn ethernet(&self, index: usize, is_plugged: bool) {
        let state = if is_plugged { "up" } else { "down" };
        in_netns(&self.lan, &["ip", "link", "set", &self.boards[index].switch_port, state]);
    }

    /// Boards that use the group now, as the observer saw it.
    pub(crate) fn owners(&self, group: &str) -> Vec<usize> {
        (0..self.boards.len()).filter(|index| self.observer.is_in_use(&self.boards[*index].name, group)).collect()
    }

    /// Boards on which the group has been started completely and not begun to stop.
    pub(crate) fn runners(&self, group: &str) -> Vec<usize> {
        (0..self.boards.len()).filter(|index| self.observer.is_running(&self.boards[*index].name, group)).collect()
    }

    /// Waits until `what` holds; looks again after each event that the observer sees, and every 5 ms.
    #[track_caller]
    pub(crate) fn wait(&self, why: &str, what: impl Fn(&Self) -> bool) -> Duration {
        let start = Instant::now();
        while !what(self) {
            if start.elapsed() >= PATIENCE {
                self.dump();
                panic!("not within {PATIENCE:?}: {why}");
            }
            self.observer.wait_for_more(Duration::from_millis(5));
        }
        start.elapsed()
    }

    /// Waits until this text is as wanted, and gives it back.
    #[track_caller]
    pub(crate) fn wait_text(
        &self,
        why: &str,
        text: impl Fn(&Self) -> String,
        is_wanted: impl Fn(&str) -> bool,
    ) -> String {
        let last = std::cell::RefCell::default();
        self.wait(why, |lab| {
            let now = text(lab);
            let is_it = is_wanted(&now);
            *last.borrow_mut() = now;
            is_it
        });
        last.into_inner()
    }

    /// Waits until just this board runs all these groups.
    #[track_caller]
    pub(crate) fn wait_owner(&self, index: usize, groups: &[&str]) -> Duration {
        self.wait(&format!("{} owns {groups:?}", self.boards[index].name), |lab| {
            groups.iter().all(|group| lab.runners(group) == [index] && lab.owners(group) == [index])
        })
    }

    /// Asserts that nothing moves for a while: the set of owners stays as it is.
    #[track_caller]
    pub(crate) fn assert_stays(&self, index: usize, groups: &[&str], time: Duration) {
        let start = Instant::now();
        while start.elapsed() < time {
            for group in groups {
                if self.owners(group) != [index] {
                    self.dump();
                    panic!("{group} did not stay on {}: {:?}", self.boards[index].name, self.owners(group));
                }
            }
            self.observer.wait_for_more(Duration::from_millis(20));
        }
    }

    /// Asserts that no group was ever in use on two boards.
    #[track_caller]
    pub(crate) fn assert_exclusive(&self) {
        if self.observer.overlaps() > 0 {
            self.dump();
            panic!("a group was in use on two boards");
        }
    }

    /// Prints what a failed test needs.
    pub(crate) fn dump(&self) {
        eprintln!("{}", self.describe());
    }

    /// What the observer saw and what the daemons logged.
    pub(crate) fn describe(&self) -> String {
        let logs = self.boards.iter().map(|board| format!("---- {} ----\n{}\n", board.name, board.log()));
        logs.fold(self.observer.describe() + "\n", |text, log| text + &log)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        // Whatever a test is about: what its engines needed from the kernel stands in src/daemon/confinement.rs.
        let has_refused = self.boards.iter().any(|board| board.log().contains("was refused system call"));
        if has_refused && !std::thread::panicking() {
            self.dump();
        }
        for board in &mut self.boards {
            board.power_off();
            board.remove();
        }
        let _ = Command::new("ip").args(["netns", "del", &self.lan]).output();
        let _ = std::fs::remove_dir_all(&self.dir);
        assert!(!has_refused || std::thread::panicking(), "an engine was refused a system call that it needed");
    }
}

/// Runs a command that must succeed.
#[track_caller]
pub(crate) fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output().unwrap_or_else(|e| panic!("{program}: {e}"));
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Runs a command that must succeed in a network namespace.
#[track_caller]
pub(crate) fn in_netns(netns: &str, words: &[&str]) {
    let all: Vec<&str> = ["netns", "exec", netns].into_iter().chain(words.iter().copied()).collect();
    run("ip", &all);
}

/// Writes an executable script.
pub(crate) fn write_script(path: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::create_dir_all(path.parent().expect("has a folder")).expect("folder");
    std::fs::write(path, text).expect("script");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).expect("mode");
}
