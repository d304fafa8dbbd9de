//! An engine that is killed in the middle of a hand-over with the packaged Heartbeat 3.0.6, which takes the new start for
//! nothing that concerns it: the next engine goes on with it.

mod lab;

use std::thread;

use lab::Lab;
use nix::sys::signal::Signal::SIGKILL;

const NULLBEAT: usize = 0;
const HEARTBEAT: usize = 1;
/// Longer than a new engine needs to have heard everything that it can hear.
const SLOW: &str = "6";

#[track_caller]
fn wait_handover(lab: &Lab, step: &str) {
    let words = format!("\"handover\": \"{step}\"");
    lab.wait(&words, |lab| lab.boards[NULLBEAT].status_json().contains(&words));
}

/// Has `verb` begun on the board with nullbeat, and its engine killed when the hand-over has come as far as `step`.
fn kill_engine_at(lab: &Lab, verb: &[&str], step: &str) {
    let board = &lab.boards[NULLBEAT];
    thread::scope(|scope| {
        // Its answer is lost with the engine.
        scope.spawn(|| board.nullbeat(verb));
        wait_handover(lab, step);
        let refused = board.nullbeat(&["reload"]);
        assert_eq!(refused.status.code(), Some(75), "{refused:?}");
        let text = [refused.stdout.as_slice(), refused.stderr.as_slice()].concat();
        assert!(String::from_utf8_lossy(&text).contains("a hand-over is under way"), "{refused:?}");
        let engine = board.pids("engine");
        board.signal("engine", SIGKILL);
        lab.wait("a new engine", |lab| lab.boards[NULLBEAT].pids("engine").iter().any(|pid| !engine.contains(pid)));
    });
    wait_handover(lab, step);
}

#[test]
#[ignore = "half a minute: tests/run --all"]
fn hand_over_with_heartbeat_outlives_the_engine() {
    let mut lab = Lab::mixed("alpha trace::web\nbeta trace::mail\n");
    lab.start_both();
    lab.wait_owner(NULLBEAT, &["web"]);
    lab.wait_owner(HEARTBEAT, &["mail"]);
    lab.wait("nullbeat has settled", |lab| lab.boards[NULLBEAT].is_settled());
    let slow = lab.boards[HEARTBEAT].dir.join("slow-web");
    std::fs::write(&slow, SLOW).expect("the mark");

    // Heartbeat starts it, and tells nobody before it is done.
    kill_engine_at(&lab, &["standby", "local"], "released");
    lab.wait_owner(HEARTBEAT, &["web", "mail"]);
    wait_handover(&lab, "none");
    assert_eq!(lab.observer.count("alpha", "web", "start-begin"), 1, "it was not started beside Heartbeat's script");

    // Heartbeat stops it, and has told that it holds it no more.
    lab.wait("nullbeat has settled", |lab| lab.boards[NULLBEAT].is_settled());
    kill_engine_at(&lab, &["takeover", "local"], "agreed");
    lab.wait_owner(NULLBEAT, &["web"]);
    wait_handover(&lab, "none");
    lab.wait_owner(HEARTBEAT, &["mail"]);
    lab.assert_exclusive();
}
