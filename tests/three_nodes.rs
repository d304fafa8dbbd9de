//! Three nodes in one cluster, for communication and membership: nullbeats without resource management and packaged
//! Heartbeats 3.0.6 with `-M`, in either majority.

mod lab;

use lab::evidence::saw;
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

/// A packaged tool on a board of either kind; its exit code.
fn tool(lab: &Lab, index: usize, name: &str, words: &[&str]) -> Option<i32> {
    let board = &lab.boards[index];
    if board.heartbeat.is_some() {
        return board.heartbeat_tool(name, words).status.code();
    }
    let state = board.dir.join("state").display().to_string();
    let words: Vec<&str> = words.iter().copied().chain(["--state-dir", state.as_str()]).collect();
    board.nullbeat_as(name, &words).status.code()
}

/// A file of the board's state, empty when it is not there.
fn state_file(lab: &Lab, index: usize, name: &str) -> String {
    std::fs::read_to_string(lab.boards[index].dir.join("state").join(name)).unwrap_or_default()
}

/// First column of each line.
fn names_in(text: &str) -> Vec<&str> {
    let mut names: Vec<&str> = text.lines().filter_map(|line| line.split('\t').next()).collect();
    names.sort_unstable();
    names
}

#[track_caller]
fn wait_kept(lab: &Lab, index: usize, kept: &[&str], deleted: &[&str]) {
    lab.wait(&format!("{} keeps {kept:?} and {deleted:?}", NAMES[index]), |lab| {
        names_in(&state_file(lab, index, "hostcache")) == kept
            && names_in(&state_file(lab, index, "delhostcache")) == deleted
    });
}

/// Three boards of which the first two know each other; the third is added by hand, deleted when it is dead, added again.
fn add_and_delete(heartbeats: &[usize], asked: [usize; 2]) {
    let mut lab = bench(heartbeats, "");
    for board in &lab.boards {
        board.configure(&ha_cf(&lab, board, &NAMES[..2], ""), "");
    }
    lab.boards[2].configure(&ha_cf(&lab, &lab.boards[2], &NAMES, ""), "");
    power_on(&mut lab, 0);
    power_on(&mut lab, 1);
    wait_seen(&lab, &[0, 1], &NAMES[..2], "active");
    assert_eq!(tool(&lab, asked[0], "hb_addnode", &["Gamma"]), Some(0));
    for index in [0, 1] {
        wait_kept(&lab, index, &NAMES, &[]);
    }
    power_on(&mut lab, 2);
    wait_seen(&lab, &[0, 1, 2], &NAMES, "active");
    // Alive it stays; dead it goes, and the other two agree on that.
    assert_eq!(tool(&lab, asked[1], "hb_delnode", &["gamma"]), Some(0));
    let refused = "deletion failed: node gamma is not dead";
    lab.wait(refused, |lab| lab.boards[asked[1]].log().contains(refused));
    lab.power_off(2);
    wait_seen(&lab, &[0, 1], &["gamma"], "dead");
    assert_eq!(tool(&lab, asked[1], "hb_setweight", &["beta", "50"]), Some(0));
    assert_eq!(tool(&lab, asked[1], "hb_setsite", &["beta", "cellar"]), Some(0));
    assert_eq!(tool(&lab, asked[1], "hb_delnode", &["gamma"]), Some(0));
    for index in [0, 1] {
        wait_kept(&lab, index, &NAMES[..2], &["gamma"]);
        lab.wait("weight and site are known", |lab| {
            state_file(lab, index, "hostcache").lines().any(|line| line.ends_with("\t50\tcellar"))
        });
    }
    if lab.boards[asked[1]].runs_heartbeat() {
        let other = (0..2).find(|index| !lab.boards[*index].runs_heartbeat()).expect("a nullbeat");
        let files = ["hostcache", "delhostcache"].map(|name| state_file(&lab, other, name));
        let seen = files.each_ref().map(|text| names_in(text).join(" ")).join("; deleted: ");
        let what = "`hb_delnode gamma` on a Heartbeat: the names in the nullbeat's files";
        saw("/usr/share/heartbeat/hb_delnode", what, "alpha beta; deleted: gamma", &seen);
    }
    // What was deleted is not heard, until it is added again.
    power_on(&mut lab, 2);
    for index in [0, 1] {
        lab.wait("it is refused", |lab| lab.boards[index].log().contains("bad node [gamma]"));
    }
    assert_eq!(tool(&lab, asked[0], "hb_addnode", &["gamma"]), Some(0));
    wait_seen(&lab, &[0, 1], &["gamma"], "active");
    if lab.boards[asked[0]].runs_heartbeat() {
        note_tools(&lab);
    }
}

/// The packaged tools have run on the board of the Heartbeat: what each kind of node makes of it.
fn note_tools(lab: &Lab) {
    let line = |index: usize, node: &str| -> String {
        let cache = state_file(lab, index, "hostcache");
        let line = cache.lines().find(|line| line.starts_with(node)).unwrap_or_default();
        // Without the uuid.
        line.split('\t').enumerate().filter(|(column, _)| *column != 1).map(|(_, word)| format!("{word} ")).collect()
    };
    for (name, command, node, expected) in [
        ("hb_addnode", "hb_addnode gamma", "gamma", "gamma 100  "),
        ("hb_setweight", "hb_setweight beta 50", "beta", "beta 50 cellar "),
        ("hb_setsite", "hb_setsite beta cellar", "beta", "beta 50 cellar "),
    ] {
        let other = (0..2).find(|index| !lab.boards[*index].runs_heartbeat()).expect("a nullbeat");
        let what = format!("`{command}` on a Heartbeat: the line of the nullbeat's hostcache");
        saw(&format!("/usr/share/heartbeat/{name}"), &what, expected.trim_end(), line(other, node).trim_end());
    }
}

#[test]
fn nodes_are_added_and_deleted_by_the_tools_of_nullbeat() {
    add_and_delete(&[1], [0, 0]);
}

#[test]
fn nodes_are_added_and_deleted_by_the_tools_of_heartbeat() {
    add_and_delete(&[0], [0, 0]);
}

/// Nobody is named but oneself; all find each other, and remember it.
fn join(heartbeats: &[usize]) {
    let mut lab = bench(heartbeats, "");
    for board in &lab.boards {
        board.configure(&ha_cf(&lab, board, &[NAMES[board.index]], "autojoin other"), "");
    }
    for index in 0..3 {
        power_on(&mut lab, index);
    }
    wait_seen(&lab, &[0, 1, 2], &NAMES, "active");
    for index in 0..3 {
        wait_kept(&lab, index, &NAMES, &[]);
    }
    // The next daemon knows them from the file, and tells that they are dead without ever having heard them.
    let last = (0..3).find(|index| !heartbeats.contains(index)).expect("a nullbeat");
    for index in (0..3).filter(|index| *index != last) {
        lab.power_off(index);
    }
    lab.boards[last].stop();
    lab.boards[last].start_with(&["--no-resources"]);
    let others: Vec<&str> = NAMES.iter().copied().filter(|name| *name != NAMES[last]).collect();
    wait_seen(&lab, &[last], &others, "dead");
}

#[test]
fn nodes_that_nobody_has_named_join() {
    join(&[2]);
}

#[test]
fn a_silent_node_that_is_added_makes_nobody_take_anything() {
    let lab = Lab::at_home("auto_failback off");
    assert_eq!(tool(&lab, 0, "hb_addnode", &["rsx"]), Some(0));
    let refused = "hb_addnode: with haresources the nodes are those of the `node` lines";
    lab.wait(refused, |lab| lab.boards[0].log().contains(refused));
    lab.assert_stays(0, &["web"], std::time::Duration::from_secs(3));
    lab.assert_stays(1, &["mail"], std::time::Duration::from_millis(100));
    for board in &lab.boards {
        assert!(!board.log().contains("rsx: is dead") && !board.status_json().contains("rsx"), "{}", board.log());
    }
    lab.assert_exclusive();
}

#[test]
fn too_many_nodes_and_odd_names_are_refused() {
    let mut lab = bench(&[], "");
    power_on(&mut lab, 0);
    wait_seen(&lab, &[0], &["beta"], "dead");
    let long = "n".repeat(100);
    for bad in ["a\u{7f}b", "\u{fc}ber", long.as_str()] {
        assert_eq!(tool(&lab, 0, "hb_addnode", &[bad]), Some(0));
    }
    lab.wait("three refusals", |lab| lab.boards[0].log().matches("hb_addnode: this can be no name").count() == 3);
    let many: Vec<String> = (0..14).map(|number| format!("more{number}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert_eq!(tool(&lab, 0, "hb_addnode", &many), Some(0));
    lab.wait("a refusal", |lab| lab.boards[0].log().contains("hb_addnode: the table of nodes is full"));
    assert_eq!(tool(&lab, 0, "hb_addnode", &many[..13]), Some(0));
    lab.wait("all of these", |lab| state_file(lab, 0, "hostcache").lines().count() == 16);
    assert_eq!(tool(&lab, 0, "hb_addnode", &[]), Some(1));
    assert_eq!(tool(&lab, 0, "hb_delnode", &["--help"]), Some(1));
    assert_eq!(tool(&lab, 0, "hb_delnode", &["nobody"]), Some(0));
    lab.wait("a refusal", |lab| lab.boards[0].log().contains("hb_delnode: there is no such node"));
    assert!(!lab.boards[0].log().contains("panicked"));
}
