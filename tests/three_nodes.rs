//! Three nodes in one cluster, for communication and membership: nullbeats without resource management and packaged
//! Heartbeats 3.0.6 with `-M`, in either majority.

mod lab;

use lab::{Board, Lab};

const NAMES: [&str; 3] = ["alpha", "beta", "gamma"];

/// Three boards on one network; those at `heartbeats` run Heartbeat. `extra` stands in every ha.cf.
fn bench(heartbeats: &[usize], extra: &str) -> Lab {
    let mut lab = Lab::with_boards(&NAMES);
    for &index in heartbeats {
        lab.boards[index].use_heartbeat();
    }
    for board in &lab.boards {
        board.configure(&ha_cf(&lab, board, &NAMES, extra), "");
    }
    lab
}

fn ha_cf(lab: &Lab, board: &Board, nodes: &[&str], extra: &str) -> String {
    let dir = board.dir.display();
    let mut text = format!(
        "logfile {dir}/ha-log\ndebugfile {dir}/ha-debug\nuse_logd off\nkeepalive 200ms\nwarntime 1\ndeadtime 3\n\
         initdead 10\nudpport 694\nauto_failback off\n"
    );
    for other in lab.boards.iter().filter(|other| other.index != board.index) {
        text += &format!("ucast ens33 {}\n", other.address);
    }
    text += &format!("node {}\n{extra}\n", nodes.join(" "));
    if board.heartbeat.is_none() {
        text += &format!("reset_with hook {}\n", board.reset_hook().display());
    }
    text
}

fn power_on(lab: &mut Lab, index: usize) {
    let board = &mut lab.boards[index];
    board.power_on();
    board.start_with(&[if board.heartbeat.is_some() { "-M" } else { "--no-resources" }]);
}

/// What the board of this index thinks of a node.
fn status_of(lab: &Lab, index: usize, node: &str) -> String {
    let board = &lab.boards[index];
    if board.heartbeat.is_some() {
        let output = board.on_board(&["cl_status", "nodestatus", node]);
        return String::from_utf8_lossy(&output.stdout).trim().to_owned();
    }
    let directory = board.dir.join("run").display().to_string();
    let output = board.nullbeat_as("cl_status", &["nodestatus", node, &format!("--run-dir={directory}")]);
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// Waits until every board of `alive` has this opinion of all `nodes`.
#[track_caller]
fn wait_seen(lab: &Lab, alive: &[usize], nodes: &[&str], status: &str) {
    for &index in alive {
        for node in nodes {
            lab.wait(&format!("{} sees {node} {status}", NAMES[index]), |lab| status_of(lab, index, node) == status);
        }
    }
}

/// All come up; one loses power and comes back; one is stopped.
fn live_through_losses(heartbeats: &[usize]) {
    let mut lab = bench(heartbeats, "");
    for index in 0..3 {
        power_on(&mut lab, index);
    }
    wait_seen(&lab, &[0, 1, 2], &NAMES, "active");
    lab.power_off(2);
    wait_seen(&lab, &[0, 1], &["gamma"], "dead");
    wait_seen(&lab, &[0, 1], &NAMES[..2], "active");
    power_on(&mut lab, 2);
    wait_seen(&lab, &[0, 1, 2], &NAMES, "active");
    lab.boards[0].stop();
    wait_seen(&lab, &[1, 2], &["alpha"], "dead");
    wait_seen(&lab, &[1, 2], &NAMES[1..], "active");
    for board in lab.boards.iter().filter(|board| board.heartbeat.is_none()) {
        let log = board.log();
        assert!(!log.contains("ERROR"), "{log}");
        assert_eq!(board.resets(), 0);
    }
    for board in lab.boards.iter().filter(|board| board.heartbeat.is_some()) {
        let log = board.log();
        let unknown = ["bad node", "missing seqno", "authtoken", "replay", "Irretrievably"];
        assert!(unknown.iter().all(|complaint| !log.contains(complaint)), "{log}");
    }
}

#[test]
fn two_heartbeats_and_a_nullbeat_see_each_other_and_live_through_losses() {
    live_through_losses(&[0, 2]);
}

#[test]
fn a_heartbeat_and_two_nullbeats_see_each_other_and_live_through_losses() {
    live_through_losses(&[1]);
}
