//! The package's own checks, run on a board where nullbeat has taken the place of Heartbeat's program and of `cl_status`:
//! TestHeartbeatComm (spec/api.md 10.4).

mod lab;

use std::process::Output;

use lab::Lab;

/// The board on which nullbeat has taken the place of Heartbeat's program.
const OURS: usize = 0;
const THEIRS: usize = 1;

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// The package's TestHeartbeatComm on our board.
#[track_caller]
fn comm(lab: &Lab, words: &[&str]) -> String {
    let output = lab.boards[OURS].heartbeat_tool("TestHeartbeatComm", words);
    assert_eq!(output.status.code(), Some(0), "{words:?}: {}", text(&output));
    text(&output)
}

/// Waits for these lines behind what was in the log before.
#[track_caller]
fn await_log(lab: &Lab, from: usize, lines: &[&str]) {
    for line in lines {
        lab.wait(line, |lab| lab.boards[OURS].log().get(from..).is_some_and(|log| log.contains(line)));
    }
}

#[track_caller]
fn await_partner(lab: &Lab, status: &str) {
    lab.wait(status, |lab| {
        let output = lab.boards[OURS].on_board(&["/usr/bin/cl_status", "nodestatus", "beta"]);
        String::from_utf8_lossy(&output.stdout).trim() == status
    });
}

#[test]
fn test_heartbeat_comm_cuts_communication_and_mends_it() {
    // No group: both sides would own it.
    let mut lab = Lab::swapped("");
    assert_eq!(lab.boards[OURS].heartbeat(&[]).status.code(), Some(0));
    lab.boards[THEIRS].start();
    await_partner(&lab, "active");

    let before = lab.boards[OURS].log().len();
    comm(&lab, &["break-communication", "alpha"]);
    let told = [
        "WARNING: Enabling Test Code",
        "Receive loss probability = 1.000",
        "Xmit loss probability = 1.000",
        "Allow nodes = alpha;",
        "WARNING: Above Options Now Enabled.",
        "node beta: is dead",
    ];
    await_log(&lab, before, &told);
    await_partner(&lab, "dead");

    let before = lab.boards[OURS].log().len();
    assert!(comm(&lab, &["fix-communication"]).contains("DeleteTestFileOK"));
    await_log(&lab, before, &["Test Code Now disabled."]);
    await_partner(&lab, "active");

    let before = lab.boards[OURS].log().len();
    comm(&lab, &["reduce-communication", "0.125", "0.25", "beta"]);
    let told = ["Receive loss probability = 0.250", "Xmit loss probability = 0.125", "Allow nodes = beta;"];
    await_log(&lab, before, &told);
    await_partner(&lab, "active");
    assert_eq!(lab.boards[OURS].heartbeat(&["-k"]).status.code(), Some(0));
}
