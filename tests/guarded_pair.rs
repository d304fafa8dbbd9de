//! Every process of the owner's daemon killed and stopped, alone and in pairs, with a real partner on the other board:
//! a group is never in use on both boards, and on exactly one in the end (design.md section 3, docs/guarding.md).

mod lab;

use std::sync::Mutex;
use std::time::Duration;

use lab::{AT_HOME, Lab};
use nix::sys::signal::Signal::{self, SIGKILL, SIGSTOP};

/// Longer than the lab's: a disk that is busy holds the logger up, and it has to stop the groups within this time.
const DEADTIME: Duration = Duration::from_secs(2);
/// Labs at a time in one test.
const CREWS: usize = 3;

const ENGINE: &str = "engine";
const GUARDIAN: &str = "guardian";
const LOGGER: &str = "logger";

/// What becomes of the owner's group, before anybody repairs anything.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End {
    /// It stays; its script is asked nothing.
    Stays,
    /// The owner's board stops it in time, and the partner takes it.
    Leaves,
}

type Case = (&'static [(&'static str, Signal)], End);

const ONE: &[Case] = &[
    (&[(ENGINE, SIGKILL)], End::Stays),
    (&[(ENGINE, SIGSTOP)], End::Stays),
    (&[(GUARDIAN, SIGKILL)], End::Stays),
    (&[(GUARDIAN, SIGSTOP)], End::Stays),
    (&[(LOGGER, SIGKILL)], End::Stays),
    (&[(LOGGER, SIGSTOP)], End::Stays),
];

const ENGINE_AND_GUARDIAN: &[Case] = &[
    (&[(ENGINE, SIGKILL), (GUARDIAN, SIGKILL)], End::Leaves),
    (&[(ENGINE, SIGKILL), (GUARDIAN, SIGSTOP)], End::Leaves),
    (&[(ENGINE, SIGSTOP), (GUARDIAN, SIGKILL)], End::Leaves),
    (&[(ENGINE, SIGSTOP), (GUARDIAN, SIGSTOP)], End::Leaves),
];

const ONE_AND_LOGGER: &[Case] = &[
    (&[(ENGINE, SIGKILL), (LOGGER, SIGKILL)], End::Stays),
    (&[(ENGINE, SIGKILL), (LOGGER, SIGSTOP)], End::Stays),
    (&[(ENGINE, SIGSTOP), (LOGGER, SIGKILL)], End::Stays),
    (&[(ENGINE, SIGSTOP), (LOGGER, SIGSTOP)], End::Stays),
    (&[(GUARDIAN, SIGKILL), (LOGGER, SIGKILL)], End::Stays),
    (&[(GUARDIAN, SIGKILL), (LOGGER, SIGSTOP)], End::Stays),
    (&[(GUARDIAN, SIGSTOP), (LOGGER, SIGKILL)], End::Stays),
    (&[(GUARDIAN, SIGSTOP), (LOGGER, SIGSTOP)], End::Stays),
];

/// Plays every case, each on a bench of its own, a few at a time.
fn play_all(cases: &'static [Case]) {
    let left = Mutex::new(cases.iter());
    let next = || left.lock().expect("not poisoned").next();
    std::thread::scope(|scope| {
        for _ in 0..CREWS {
            scope.spawn(|| {
                while let Some(case) = next() {
                    play(case);
                }
            });
        }
    });
}

/// Both at home, with the dead time above.
fn at_home() -> Lab {
    let mut lab = Lab::usual("", AT_HOME);
    for board in &lab.boards {
        let deadtime = format!("deadtime {}\n", DEADTIME.as_secs());
        board.configure(&lab.usual_ha_cf(board, "").replace("deadtime 1\n", &deadtime), AT_HOME);
    }
    lab.start_both();
    lab.wait_at_home();
    lab
}

fn play(&(faults, end): &Case) {
    let mut lab = at_home();
    eprintln!("{faults:?}: {end:?}");
    // The first signal may change who is there: all are looked up before any is sent.
    let victims: Vec<(i32, Signal)> = faults
        .iter()
        .flat_map(|&(role, signal)| {
            lab.wait(&format!("one {role}"), |lab| lab.boards[0].pids(role).len() == 1);
            lab.boards[0].pids(role).into_iter().map(move |pid| (pid, signal))
        })
        .collect();
    // All are stopped before any goes: else a guardian may replace the engine before it is stopped itself.
    for (pid, signal) in victims.iter().map(|&(pid, _)| (pid, SIGSTOP)).chain(victims.iter().copied()) {
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), signal).expect("it is there");
    }
    match end {
        End::Stays => lab.assert_stays(0, &["web"], DEADTIME * 3),
        End::Leaves => {
            lab.wait_owner(1, &["web", "mail"]);
        }
    }
    lab.assert_exclusive();
    let moves = lab.observer.count("alpha", "web", "start-begin");
    lab.boards[0].thaw();
    // What thaws must not take back what it has lost, nor give up what it has kept.
    lab.assert_stays(usize::from(end == End::Leaves), &["web"], DEADTIME * 3 / 2);
    assert_eq!(lab.observer.count("alpha", "web", "start-begin"), moves, "{faults:?}");
    if lab.boards[0].pids(GUARDIAN).is_empty() {
        lab.boards[0].start();
    }
    lab.wait_at_home();
    lab.assert_exclusive();
    if end == End::Stays {
        assert_eq!(lab.observer.count("alpha", "web", "start-begin"), 1, "{faults:?}: asked to start again");
        assert_eq!(lab.observer.count("alpha", "web", "stop-begin"), 0, "{faults:?}: asked to stop");
    }
    assert_eq!(lab.observer.count("beta", "mail", "stop-begin"), 0, "{faults:?}: the partner's own group");
    for role in [ENGINE, GUARDIAN, LOGGER] {
        lab.wait(&format!("one {role} in the end"), |lab| lab.boards[0].pids(role).len() == 1);
    }
    assert_eq!((lab.boards[0].resets(), lab.boards[1].resets()), (0, 0), "{faults:?}");
}

#[test]
fn one_process_killed_or_stopped() {
    play_all(ONE);
}

#[test]
fn engine_and_guardian_killed_or_stopped() {
    play_all(ENGINE_AND_GUARDIAN);
}

#[test]
fn logger_and_another_killed_or_stopped() {
    play_all(ONE_AND_LOGGER);
}

/// Stops all three before anything else, so that none sees another one go.
fn signal_all(lab: &Lab, signal: Signal) {
    for signal in [SIGSTOP, signal] {
        for role in [LOGGER, GUARDIAN, ENGINE] {
            lab.boards[0].signal(role, signal);
        }
    }
}

fn wait_gone(lab: &Lab) {
    lab.wait("all are gone", |lab| [LOGGER, GUARDIAN, ENGINE].iter().all(|role| lab.boards[0].pids(role).is_empty()));
}

#[test]
fn engine_killed_and_its_guardian_behind_it_leaves_one_owner() {
    let heard = |lab: &Lab| lab.boards[1].log().contains("Heartbeat restart on node alpha");
    // The next engine is there, or it has beaten already.
    for has_beaten in [false, true] {
        let mut lab = Lab::at_home("");
        let old = lab.boards[0].pids(ENGINE);
        lab.boards[0].signal(ENGINE, SIGKILL);
        lab.wait("another engine", |lab| lab.boards[0].pids(ENGINE).iter().any(|pid| !old.contains(pid)));
        if has_beaten {
            lab.wait("its first beat", heard);
        }
        lab.boards[0].signal(GUARDIAN, SIGKILL);
        if has_beaten {
            lab.assert_stays(0, &["web"], DEADTIME * 3);
        } else {
            lab.wait("one owner", |lab| heard(lab) || lab.owners("web") == [1]);
        }
        lab.assert_exclusive();
        lab.boards[0].start();
        lab.wait_at_home();
        lab.assert_exclusive();
        assert_eq!((lab.boards[0].resets(), lab.boards[1].resets()), (0, 0), "{has_beaten}");
    }
}

#[test]
fn all_killed_and_restarted_within_the_dead_time_nothing_moves() {
    let mut lab = Lab::usual("", AT_HOME);
    // Long enough for a slow machine to start a program within half of it.
    for board in &lab.boards {
        let ha_cf = lab.usual_ha_cf(board, "").replace("deadtime 1\n", "deadtime 6\n");
        board.configure(&ha_cf.replace("initdead 4\n", "initdead 12\n"), AT_HOME);
    }
    lab.start_both();
    lab.wait_at_home();
    signal_all(&lab, SIGKILL);
    wait_gone(&lab);
    lab.boards[0].start();
    lab.wait_at_home();
    lab.assert_stays(0, &["web"], Duration::from_secs(7));
    lab.assert_exclusive();
    assert_eq!(lab.observer.count("alpha", "web", "start-begin"), 1);
    assert_eq!(lab.observer.count("alpha", "web", "stop-begin"), 0);
}

#[test]
fn all_killed_and_restarted_after_the_dead_time_one_is_left() {
    let mut lab = at_home();
    signal_all(&lab, SIGKILL);
    wait_gone(&lab);
    // Nobody is left to stop it: docs/guarding.md says so.
    lab.wait("it runs twice", |lab| lab.runners("web") == [0, 1]);
    assert_eq!(lab.observer.overlaps(), 1);
    lab.boards[0].start();
    lab.wait_at_home();
    lab.assert_stays(0, &["web"], DEADTIME * 2);
    lab.assert_stays(1, &["mail"], Duration::from_millis(1));
    assert_eq!(lab.observer.overlaps(), 1, "once more than nobody could prevent");
}

#[test]
fn all_killed_and_released_the_partner_is_the_only_owner() {
    let mut lab = at_home();
    signal_all(&lab, SIGKILL);
    wait_gone(&lab);
    let output = lab.boards[0].nullbeat(&["release"]);
    assert!(output.status.success(), "{output:?}");
    lab.wait_owner(1, &["web", "mail"]);
    lab.boards[0].start();
    lab.wait_at_home();
    lab.assert_exclusive();
}

#[test]
fn all_stopped_and_thawed_one_is_left() {
    let lab = at_home();
    signal_all(&lab, SIGSTOP);
    lab.wait("the partner has taken over", |lab| lab.runners("web") == [0, 1]);
    lab.boards[0].thaw();
    lab.wait("one releases", |lab| lab.owners("web").len() == 1 && lab.owners("mail").len() == 1);
    lab.wait_at_home();
    lab.assert_stays(0, &["web"], DEADTIME * 2);
    assert_eq!(lab.observer.overlaps(), 1, "once more than nobody could prevent");
}
