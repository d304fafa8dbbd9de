//! The programs of `respawn` and `failfast` under real daemons: whom they run as, when they are started again, and that
//! there is never a second one, whatever becomes of the daemon.

mod lab;

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lab::{AT_HOME, Board, Lab};
use nix::sys::signal::Signal;

const OURS: usize = 0;
const THEIRS: usize = 1;

/// A client which writes a line for each of its runs into this file of the board's folder, then waits for ever.
const RUNS: &str = "client-runs";

fn script(board: &Board, name: &str, text: &str) -> PathBuf {
    let path = board.dir.join(name);
    lab::write_script(&path, &format!("#!/bin/sh\ncd {}\n{text}\n", board.dir.display()));
    path
}

fn open_to_all(path: &Path) {
    std::fs::write(path, "").expect("file");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o666)).expect("mode");
}

/// The usual pair; `lines` gives what is added to each board's ha.cf.
fn lab(lines: impl Fn(&Board) -> String) -> Lab {
    let mut lab = Lab::new(["alpha", "beta"]);
    for board in &lab.boards {
        std::fs::set_permissions(&board.dir, std::fs::Permissions::from_mode(0o755)).expect("mode");
        open_to_all(&board.dir.join(RUNS));
        board.configure(&lab.usual_ha_cf(board, &lines(board)), AT_HOME);
    }
    lab.start_both();
    lab.wait_at_home();
    lab
}

/// The runs so far.
fn runs(lab: &Lab) -> Vec<String> {
    let text = std::fs::read_to_string(lab.boards[OURS].dir.join(RUNS)).expect("runs");
    text.lines().map(str::to_owned).collect()
}

#[track_caller]
fn await_runs(lab: &Lab, count: usize) -> String {
    lab.wait(&format!("run {count}"), |lab| runs(lab).len() >= count);
    runs(lab)[count - 1].clone()
}

/// How many of them live.
fn living(lab: &Lab) -> usize {
    let pids = runs(lab).iter().map(|run| run.split(' ').next().expect("its number").to_owned()).collect::<Vec<_>>();
    pids.iter().filter(|pid| lab.boards[OURS].on_board(&["kill", "-0", pid]).status.success()).count()
}

fn kill_last(lab: &Lab) {
    let last = runs(lab).pop().expect("a run");
    let pid = last.split(' ').next().expect("its number");
    assert!(lab.boards[OURS].on_board(&["kill", "-9", pid]).status.success());
}

#[track_caller]
fn await_log(lab: &Lab, text: &str) {
    lab.wait(text, |lab| lab.boards[OURS].log().contains(text));
}

#[test]
fn respawned_client_is_one_through_deaths_of_it_and_of_every_process() {
    let mut lab = lab(|board| {
        let client = script(
            board,
            "client",
            &format!("echo \"$$ $(id -un) $(id -gn) $HA_COLOUR $1\" >> {RUNS}; exec sleep 9999"),
        );
        format!("env COLOUR=green\nrespawn nobody {} 'a  b'", client.display())
    });
    let first = await_runs(&lab, 1);
    assert!(first.ends_with(" nobody nogroup green a  b"), "{first}");
    let client = format!("{}/client 'a  b'", lab.boards[OURS].dir.display());
    await_log(&lab, &format!("info: Starting child client \"{client}\" (65534,65534)"));
    await_log(&lab, &format!("info: Starting \"{client}\" as uid 65534  gid 65534 (pid "));

    kill_last(&lab);
    await_runs(&lab, 2);
    await_log(
        &lab,
        &format!(
            "WARN: Managed {client} process {} killed by signal 9 [SIGKILL - Kill, unblockable].",
            first.split(' ').next().expect("pid")
        ),
    );
    await_log(&lab, &format!("ERROR: Respawning client \"{client}\":"));
    assert_eq!(living(&lab), 1);

    // It has lost whom it spoke to.
    lab.boards[OURS].signal("engine", Signal::SIGKILL);
    await_runs(&lab, 3);
    assert_eq!(living(&lab), 1);
    lab.boards[OURS].reload();
    await_runs(&lab, 4);
    assert_eq!(living(&lab), 1);
    assert_eq!(lab.boards[OURS].nullbeat(&["reload", "--binary"]).status.code(), Some(0));
    await_runs(&lab, 5);
    assert_eq!(living(&lab), 1);
    lab.boards[OURS].signal("guardian", Signal::SIGKILL);
    lab.boards[OURS].await_end();
    assert_eq!(living(&lab), 1, "the engine goes on without a guardian, and so does its client");
    lab.boards[OURS].start();
    await_runs(&lab, 6);
    assert_eq!(living(&lab), 1);
    lab.assert_stays(OURS, &["web"], Duration::from_secs(1));

    lab.boards[OURS].stop();
    assert_eq!(living(&lab), 0, "nothing stays behind an orderly end");
    await_log(&lab, &format!("info: killing {client} process group "));
    assert_eq!(runs(&lab).len(), 6);
    lab.wait_owner(THEIRS, &["web", "mail"]);

    lab.boards[OURS].start();
    await_runs(&lab, 7);
    lab.wait_at_home();
    for role in ["logger", "guardian", "engine"] {
        lab.boards[OURS].signal(role, Signal::SIGKILL);
    }
    assert_eq!(living(&lab), 1, "nobody was there to end it");
    let output = lab.boards[OURS].nullbeat(&["release"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(living(&lab), 0, "`release` is the last one");
    lab.assert_exclusive();
}

#[test]
fn failfast_client_that_dies_resets_its_board_and_the_peer_takes_over() {
    let lab = lab(|board| {
        let client = script(board, "client", &format!("echo \"$$\" >> {RUNS}; exec sleep 9999"));
        format!("failfast root {}", client.display())
    });
    await_runs(&lab, 1);
    assert_eq!(lab.boards[OURS].resets(), 0);
    kill_last(&lab);
    await_log(&lab, &format!("EMERG: Rebooting system.  Reason: {}/client", lab.boards[OURS].dir.display()));
    lab.wait("the reset", |lab| lab.boards[OURS].resets() > 0);
    lab.wait_owner(THEIRS, &["web", "mail"]);
    lab.assert_exclusive();
}

#[test]
fn daemon_does_not_start_without_a_client_or_its_user() {
    let mut lab = Lab::usual("", AT_HOME);
    let board = &lab.boards[OURS];
    let text = lab.usual_ha_cf(board, "respawn nobody-here /bin/true\nfailfast root /nonexistent/program");
    lab.boards[OURS].configure(&text, AT_HOME);
    lab.boards[OURS].power_on();
    let output = lab.boards[OURS].nullbeat(&["run"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("found `nobody-here`, who is no user here"), "{said}");
    assert!(said.contains("found `/nonexistent/program`, which is no executable file here"), "{said}");
    assert_eq!(output.status.code(), Some(78));
}

#[test]
fn coredumps_switch_and_directory_are_what_clients_have() {
    let mut lab = Lab::usual("", AT_HOME);
    for (board, switch) in lab.boards.iter().zip(["off", "on"]) {
        std::fs::set_permissions(&board.dir, std::fs::Permissions::from_mode(0o755)).expect("mode");
        open_to_all(&board.dir.join(RUNS));
        let client = board.dir.join("client");
        let words = format!("echo \"$(ulimit -Sc) $(ulimit -Hc) $(pwd)\" >> {}", board.dir.join(RUNS).display());
        lab::write_script(&client, &format!("#!/bin/sh\n{words}\nexit 100\n"));
        let root = board.dir.join("cores");
        let lines = format!("coredumps {switch}\ncoreroot {}\nrespawn nobody {}", root.display(), client.display());
        board.configure(&lab.usual_ha_cf(board, &lines), AT_HOME);
    }
    lab.start_both();
    let report = |lab: &Lab, index: usize| {
        std::fs::read_to_string(lab.boards[index].dir.join(RUNS)).expect("runs").trim().to_owned()
    };
    lab.wait("both clients have looked", |lab| [OURS, THEIRS].iter().all(|index| !report(lab, *index).is_empty()));
    for (index, is_on) in [(OURS, false), (THEIRS, true)] {
        let said = report(&lab, index);
        let [soft, hard, place] = said.split(' ').collect::<Vec<_>>()[..] else { panic!("{said}") };
        assert_eq!(soft, if is_on { hard } else { "0" }, "{said}");
        assert!(place.ends_with("/cores/nobody"), "{said}");
    }
}
