//! Every case of the main job with Debian's agents, a mount and a web server: real scripts take a second where those of the
//! other tests take none, and leave real things behind. A traced resource, started first and stopped last, tells the
//! observer when the group is in use.

use std::time::Duration;

use nix::sys::signal::Signal::{self, SIGKILL, SIGSTOP};
use nix::sys::signal::kill;
use nix::unistd::Pid;

use crate::bench::{HARESOURCES, Tutorial};
use crate::lab::{self, write_script};

/// Scripts need longer than a dead time of a second to stop what runs: then the board is reset, which has tests of its own.
const LONG_DEADTIME: Duration = Duration::from_secs(8);
/// How long it is watched that nothing moves, beyond the dead time.
const MORE: Duration = Duration::from_secs(2);

impl Tutorial {
    /// Both boards with the short times, at home; `change` alters ha.cf.
    fn at_home(extra: &str) -> Self {
        let mut tutorial = Self::new();
        tutorial.configure_walk(extra);
        tutorial.begin(0);
        tutorial.begin(1);
        tutorial.wait_runs_on(0);
        tutorial
    }

    fn configure_walk(&self, extra: &str) {
        self.configure_quick(&HARESOURCES.replace("Rserver1 ", "Rserver1 trace::web "), extra);
    }

    /// Power and the daemon, or after an orderly stop the daemon.
    fn begin(&mut self, index: usize) {
        if !self.lab.boards[index].is_on() {
            self.boot(index);
        }
        self.lab.boards[index].start();
    }

    /// Everything of the group runs on this board and nothing on the other, the client sees the page, and both have settled.
    #[track_caller]
    fn wait_runs_on(&self, index: usize) {
        self.lab.wait_owner(index, &["web"]);
        self.wait_served_by(index, lab::PATIENCE);
        let is_at_rest = |board: &lab::Board| !board.is_on() || board.pids(ENGINE).is_empty() || board.is_settled();
        self.lab.wait("the boards have settled", |lab| lab.boards.iter().all(is_at_rest));
    }

    #[track_caller]
    fn assert_stays(&self, index: usize, time: Duration) {
        self.lab.assert_stays(index, &["web"], time);
        assert!(self.holds_address(index) && !self.holds_address(1 - index));
        assert!(self.fetches());
    }

    #[track_caller]
    fn verb(&self, index: usize, words: &[&str]) {
        let output = self.lab.boards[index].nullbeat(words);
        assert!(output.status.success(), "{words:?}: {output:?}");
    }

    fn lose_power(&mut self, index: usize) {
        self.lab.power_off(index);
    }

    fn cables(&self, are_plugged: bool) {
        self.lab.modem.cut(!are_plugged);
        self.lab.ethernet(0, are_plugged);
    }

    #[track_caller]
    fn wait_log(&self, index: usize, words: &str) {
        self.lab.wait(words, |lab| lab.boards[index].log().contains(words));
    }
}

#[test]
#[ignore = "2 minutes: tests/run --all"]
fn stop_power_loss_and_operators_with_real_agents() {
    let mut tutorial = Tutorial::at_home("script_timeout 20");
    // The owner is stopped, and comes back.
    tutorial.lab.boards[0].stop();
    tutorial.wait_runs_on(1);
    tutorial.begin(0);
    tutorial.wait_runs_on(0);
    // It loses power, and comes back.
    tutorial.lose_power(0);
    tutorial.wait_runs_on(1);
    tutorial.begin(0);
    tutorial.wait_runs_on(0);
    // Operators.
    tutorial.verb(0, &["standby"]);
    tutorial.wait_runs_on(1);
    tutorial.verb(0, &["takeover"]);
    tutorial.wait_runs_on(0);
    // Without auto_failback it stays where it is until somebody sends it home.
    tutorial.configure_walk("auto_failback off");
    for board in &tutorial.lab.boards {
        board.reload();
    }
    tutorial.wait_runs_on(0);
    tutorial.lose_power(0);
    tutorial.wait_runs_on(1);
    tutorial.begin(0);
    tutorial.wait_runs_on(1);
    tutorial.assert_stays(1, MORE);
    tutorial.verb(1, &["failback"]);
    tutorial.wait_runs_on(0);
    tutorial.lab.assert_exclusive();
}

#[test]
#[ignore = "2 minutes: tests/run --all"]
fn start_that_fails_and_stop_that_hangs_with_real_agents() {
    let mut tutorial = Tutorial::new();
    tutorial.configure_walk("script_timeout 5\nenv STOPRETRYMAX=1");
    tutorial.boot(0);
    // The server of the files is not there for this board.
    let helper = tutorial.lab.boards[0].dir.join("sbin/mount.nfs");
    let works = std::fs::read_to_string(&helper).expect("the stand-in");
    write_script(&helper, "#!/bin/sh\necho 'mount.nfs: Connection refused' >&2\nexit 32\n");
    tutorial.begin(0);
    tutorial.begin(1);
    tutorial.wait_runs_on(1);
    tutorial.assert_stays(1, MORE);
    assert_eq!(tutorial.lab.observer.count("rserver1", "web", "start-begin"), 1, "offered once");
    write_script(&helper, &works);
    tutorial.verb(0, &["takeover"]);
    tutorial.wait_runs_on(0);

    // The web server does not even die of SIGTERM.
    let board = &tutorial.lab.boards[0];
    let is_server = |pid: &i32| {
        std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim_end() == "lighttpd")
    };
    let servers: Vec<i32> = board.residents().into_iter().filter(is_server).collect();
    assert!(!servers.is_empty());
    for pid in servers {
        kill(Pid::from_raw(pid), SIGSTOP).expect("it is there");
    }
    let output = board.nullbeat(&["standby", "local", "--timeout", "50"]);
    assert!(!output.status.success(), "{output:?}");
    tutorial.lab.wait("the board would have been reset", |lab| lab.boards[0].resets() > 0);
    assert_eq!(tutorial.lab.owners("web"), [0], "not given away");
    tutorial.lose_power(0);
    tutorial.wait_runs_on(1);
    tutorial.begin(0);
    tutorial.wait_runs_on(0);
    tutorial.lab.assert_exclusive();
}

#[test]
#[ignore = "2 minutes: tests/run --all"]
fn cables_cut_and_healed_with_real_agents() {
    let mut tutorial = Tutorial::at_home("");
    let serial = tutorial.lab.boards[0].serial.display().to_string();
    tutorial.lab.modem.cut(true);
    tutorial.wait_log(1, &format!("Link rserver1:{} dead.", tutorial.lab.boards[1].serial.display()));
    tutorial.assert_stays(0, MORE);
    tutorial.lab.modem.cut(false);
    tutorial.lab.wait("the serial link is back", |lab| {
        lab.boards[0].log().matches(&format!("Link rserver2:{serial} up.")).count() >= 2
    });
    // With the owner's network the client's way to the page is gone, too; that is for `check` and `ping` to notice.
    tutorial.lab.ethernet(0, false);
    tutorial.wait_log(1, "Link rserver1:ens33 dead.");
    tutorial.lab.assert_stays(0, &["web"], MORE);
    tutorial.lab.ethernet(0, true);
    tutorial.wait_runs_on(0);
    tutorial.lab.assert_exclusive();

    // Both: both own, as Heartbeat has it without a fence; after the heal the fixed loser releases.
    tutorial.cables(false);
    tutorial.lab.wait("both own it", |lab| lab.runners("web") == [0, 1]);
    tutorial.cables(true);
    tutorial.wait_runs_on(0);
    assert_eq!(tutorial.lab.observer.count("rserver1", "web", "stop-begin"), 0);

    // Both started with the cables out.
    for board in &mut tutorial.lab.boards {
        board.stop();
    }
    tutorial.cables(false);
    tutorial.begin(0);
    tutorial.begin(1);
    tutorial.lab.wait("both own it after initdead", |lab| lab.runners("web") == [0, 1]);
    let stands = |board: &lab::Board| board.status_json().contains("\"unfenced\"");
    tutorial.lab.wait("both have an alarm for it", |lab| lab.boards.iter().all(stands));
    tutorial.cables(true);
    tutorial.wait_runs_on(0);
    tutorial.lab.wait("the alarms are over", |lab| !lab.boards.iter().any(stands));
    assert_eq!(tutorial.lab.observer.overlaps(), 2, "each time with all cables out, and never else");
}

#[test]
#[ignore = "a minute: tests/run --all"]
fn started_apart_and_safe_with_real_agents() {
    let mut tutorial = Tutorial::new();
    tutorial.configure_walk("takeover_policy safe");
    tutorial.lab.modem.cut(true);
    tutorial.boot(0);
    tutorial.boot(1);
    tutorial.lab.ethernet(0, false);
    tutorial.begin(0);
    tutorial.begin(1);
    for index in [0, 1] {
        tutorial.wait_log(index, "takeover_policy is safe");
    }
    assert!(tutorial.lab.owners("web").is_empty());
    tutorial.verb(0, &["takeover"]);
    tutorial.lab.wait_owner(0, &["web"]);
    tutorial.cables(true);
    tutorial.wait_runs_on(0);
    tutorial.lab.assert_exclusive();
}

/// Signals for the owner's processes, and whether its group stays.
type Case = (&'static [(&'static str, Signal)], bool);

const ENGINE: &str = "engine";
const GUARDIAN: &str = "guardian";
const LOGGER: &str = "logger";

const CASES: &[Case] = &[
    (&[(ENGINE, SIGKILL)], true),
    (&[(ENGINE, SIGSTOP)], true),
    (&[(GUARDIAN, SIGKILL)], true),
    (&[(GUARDIAN, SIGSTOP)], true),
    (&[(LOGGER, SIGKILL)], true),
    (&[(LOGGER, SIGSTOP)], true),
    (&[(ENGINE, SIGKILL), (LOGGER, SIGKILL)], true),
    (&[(ENGINE, SIGSTOP), (LOGGER, SIGSTOP)], true),
    (&[(GUARDIAN, SIGKILL), (LOGGER, SIGKILL)], true),
    (&[(GUARDIAN, SIGSTOP), (LOGGER, SIGSTOP)], true),
    (&[(ENGINE, SIGKILL), (GUARDIAN, SIGKILL)], false),
    (&[(ENGINE, SIGSTOP), (GUARDIAN, SIGSTOP)], false),
];

#[test]
#[ignore = "5 minutes: tests/run --all"]
fn processes_killed_and_stopped_with_real_agents() {
    let mut tutorial = Tutorial::new();
    for board in &tutorial.lab.boards {
        let ha_cf = tutorial.lab.usual_ha_cf(board, "");
        let ha_cf = ha_cf.replace("deadtime 1\n", &format!("deadtime {}\n", LONG_DEADTIME.as_secs()));
        let haresources = HARESOURCES.replace("Rserver1 ", "Rserver1 trace::web ");
        board.configure(&ha_cf.replace("initdead 4\n", "initdead 16\n"), &haresources);
    }
    tutorial.begin(0);
    tutorial.begin(1);
    tutorial.wait_runs_on(0);
    for &(faults, stays) in CASES {
        eprintln!("{faults:?}");
        play(&mut tutorial, faults, stays);
    }
    all_killed(&mut tutorial);
}

fn play(tutorial: &mut Tutorial, faults: &[(&str, Signal)], stays: bool) {
    let owner = &tutorial.lab.boards[0];
    let victims: Vec<(i32, Signal)> =
        faults.iter().flat_map(|&(role, signal)| owner.pids(role).into_iter().map(move |pid| (pid, signal))).collect();
    assert_eq!(victims.len(), faults.len());
    // All are stopped before any goes, so that none sees another one go.
    for (pid, signal) in victims.iter().map(|&(pid, _)| (pid, SIGSTOP)).chain(victims.iter().copied()) {
        kill(Pid::from_raw(pid), signal).expect("it is there");
    }
    if stays {
        tutorial.assert_stays(0, LONG_DEADTIME + MORE);
    } else {
        tutorial.lab.wait_owner(1, &["web"]);
        tutorial.wait_served_by(1, lab::PATIENCE);
    }
    let owner = &mut tutorial.lab.boards[0];
    owner.thaw();
    if owner.pids(GUARDIAN).is_empty() {
        owner.start();
    }
    tutorial.wait_runs_on(0);
    for role in [ENGINE, GUARDIAN, LOGGER] {
        tutorial.lab.wait(role, |lab| lab.boards[0].pids(role).len() == 1);
    }
    tutorial.lab.assert_exclusive();
    assert_eq!(tutorial.lab.boards[0].resets(), 0, "{faults:?}");
}

/// All three at once with the board alive: started again in time nothing moves; too late, it runs twice, which nothing but
/// a watchdog or a service manager can prevent (docs/guarding.md), and one is left.
fn all_killed(tutorial: &mut Tutorial) {
    let kill_all = |tutorial: &Tutorial| {
        for signal in [SIGSTOP, SIGKILL] {
            for role in [LOGGER, GUARDIAN, ENGINE] {
                tutorial.lab.boards[0].signal(role, signal);
            }
        }
        tutorial.lab.wait("all are gone", |lab| {
            [LOGGER, GUARDIAN, ENGINE].iter().all(|role| lab.boards[0].pids(role).is_empty())
        });
    };
    let starts = tutorial.lab.observer.count("rserver1", "web", "start-begin");
    kill_all(tutorial);
    tutorial.lab.boards[0].start();
    tutorial.assert_stays(0, LONG_DEADTIME + MORE);
    tutorial.wait_runs_on(0);
    assert_eq!(tutorial.lab.observer.count("rserver1", "web", "start-begin"), starts);
    tutorial.lab.assert_exclusive();
    kill_all(tutorial);
    tutorial.lab.wait("it runs twice", |lab| lab.runners("web") == [0, 1]);
    tutorial.lab.boards[0].start();
    tutorial.wait_runs_on(0);
    assert_eq!(tutorial.lab.observer.overlaps(), 1, "once, which nobody could prevent");
}
