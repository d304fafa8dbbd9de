//! What an operator does to two real nodes: verbs with their sets, hold and resume, reloads; a daemon with fewer rights.

mod lab;

use std::process::{Command, Output};
use std::time::Duration;

use lab::{AT_HOME, Lab, NULLBEAT};

const NOBODY: &str = "65534";

/// Gives an order that must be carried out, and expects the groups there when it returns.
#[track_caller]
fn order(lab: &Lab, index: usize, words: &[&str], web: usize, mail: usize) {
    let output = lab.boards[index].nullbeat(words);
    if !output.status.success() {
        lab.dump();
        panic!("{words:?} on {index}: {output:?}");
    }
    assert_eq!((lab.runners("web"), lab.runners("mail")), (vec![web], vec![mail]), "{words:?} on {index}");
    lab.wait("both have settled", |lab| lab.boards.iter().all(lab::Board::is_settled));
}

#[test]
fn verbs_move_the_sets_that_they_name() {
    let lab = Lab::at_home("");
    order(&lab, 0, &["standby", "local"], 1, 1);
    order(&lab, 0, &["takeover", "local"], 0, 1);
    order(&lab, 0, &["takeover", "foreign"], 0, 0);
    order(&lab, 0, &["standby", "foreign"], 0, 1);
    order(&lab, 1, &["takeover", "foreign"], 1, 1);
    order(&lab, 1, &["failback"], 0, 1);
    order(&lab, 0, &["standby", "all"], 1, 1);
    order(&lab, 0, &["takeover", "all"], 0, 0);
    order(&lab, 0, &["failback", "foreign"], 0, 1);
    // Nothing is left to do.
    order(&lab, 0, &["failback"], 0, 1);
    order(&lab, 0, &["standby", "foreign"], 0, 1);
    lab.assert_exclusive();
}

#[test]
fn held_node_takes_nothing_from_a_dead_one_until_resumed() {
    let mut lab = Lab::at_home("");
    assert!(lab.boards[1].nullbeat(&["hold"]).status.success());
    lab.power_off(0);
    lab.wait("the death is seen", |lab| lab.boards[1].log().contains("node alpha: is dead"));
    lab.assert_stays(1, &["mail"], Duration::from_secs(3));
    assert_eq!(lab.owners("web"), Vec::<usize>::new(), "decisions are frozen");
    assert!(lab.boards[1].nullbeat(&["resume"]).status.success());
    lab.wait_owner(1, &["web", "mail"]);
    lab.assert_exclusive();
}

/// How often a script was asked to start or stop something.
fn asked(lab: &Lab) -> usize {
    lab.observer.records().len()
}

fn generation(lab: &Lab, index: usize) -> u64 {
    number(&lab.boards[index].status_json(), "generation").expect("the node's own comes first")
}

/// The first number of this name in a report.
fn number(json: &str, name: &str) -> Option<u64> {
    let rest = json.split(&format!("\"{name}\": ")).nth(1)?;
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

#[test]
fn reload_starts_what_is_new_and_leaves_the_rest_alone() {
    let lab = Lab::at_home("");
    let before = asked(&lab);
    for board in &lab.boards {
        let more = format!("{AT_HOME}alpha trace::extra\n");
        std::fs::write(board.config_dir().join("haresources"), more).expect("haresources");
    }
    for board in &lab.boards {
        let output = board.nullbeat(&["reload"]);
        assert!(output.status.success(), "{output:?}");
    }
    lab.wait_owner(0, &["extra"]);
    lab.wait_at_home();
    lab.assert_stays(0, &["web", "extra"], Duration::from_secs(2));
    let others = lab.observer.records().into_iter().skip(before).filter(|record| record.group != "extra").count();
    assert_eq!(others, 0, "{}", lab.observer.describe());
    lab.assert_exclusive();
}

#[test]
fn new_program_on_both_boards_moves_nothing() {
    let lab = Lab::at_home("");
    let before = asked(&lab);
    for index in [0, 1] {
        let old = generation(&lab, index);
        let output = lab.boards[index].nullbeat(&["reload", "--binary"]);
        assert!(output.status.success(), "{output:?}");
        assert!(generation(&lab, index) > old, "a new engine");
        lab.assert_stays(0, &["web"], Duration::from_millis(1500));
        lab.assert_stays(1, &["mail"], Duration::from_millis(1));
    }
    lab.wait_at_home();
    assert_eq!(asked(&lab), before, "{}", lab.observer.describe());
}

/// A copy of the program in the bench's folder, where everybody may read it.
fn copy_program(lab: &Lab) -> String {
    let copy = lab.dir.join("nullbeat");
    // Not written by this process: what another test starts just then would hold it open, and busy.
    assert!(Command::new("cp").arg(NULLBEAT).arg(&copy).status().expect("cp").success());
    copy.to_string_lossy().into_owned()
}

#[test]
fn new_program_that_cannot_start_leaves_one_owner() {
    let lab = Lab::at_home("");
    let board = &lab.boards[0];
    // The adapter is unplugged: `run` does not start without it. So nothing changes.
    board.configure(&lab.usual_ha_cf(board, "serial /dev/nullbeat-unplugged"), AT_HOME);
    let output = board.nullbeat(&["reload", "--binary"]);
    assert_eq!(output.status.code(), Some(78), "{output:?}");
    lab.assert_stays(0, &["web"], Duration::from_secs(2));
    // A program that says that it would start, and does not: it was unplugged in between.
    let lie = lab.dir.join("lie");
    let real = copy_program(&lab);
    lab::write_script(
        &lie,
        &format!("#!/bin/sh\ncase \" $* \" in *\" --only-check \"*) exit 0 ;; esac\nexec {real} \"$@\"\n"),
    );
    let mounted = board.on_board(&["mount", "--bind", &lie.to_string_lossy(), NULLBEAT]);
    assert!(mounted.status.success(), "{mounted:?}");
    let output = board.nullbeat(&["reload", "--binary", "--timeout", "1"]);
    assert_ne!(output.status.code(), Some(0), "{output:?}");
    lab.wait_owner(1, &["web", "mail"]);
    lab.assert_stays(1, &["web", "mail"], Duration::from_secs(2));
    lab.assert_exclusive();
}

/// A verb on a board, given by somebody who is not root.
fn as_nobody(lab: &Lab, index: usize, verb: &str) -> Output {
    as_member(lab, index, NOBODY, verb)
}

/// The same by a member of a group.
fn as_member(lab: &Lab, index: usize, group: &str, verb: &str) -> Output {
    let copy = copy_program(lab);
    let run = lab.boards[index].dir.join("run");
    let (reuid, regid) = (format!("--reuid={NOBODY}"), format!("--regid={group}"));
    let run = run.to_string_lossy();
    lab.boards[index].on_board(&["setpriv", &reuid, &regid, "--clear-groups", &copy, verb, "--run-dir", &run])
}

#[test]
fn members_of_the_readers_group_read_and_do_nothing_else() {
    let lab = Lab::at_home("");
    for verb in ["status", "links"] {
        let output = as_member(&lab, 0, "haclient", verb);
        assert_eq!(output.status.code(), Some(0), "{verb}: {output:?}");
        assert!(String::from_utf8_lossy(&output.stdout).contains("beta"), "{verb}: {output:?}");
    }
    for verb in ["standby", "hold", "stop"] {
        let output = as_member(&lab, 0, "haclient", verb);
        assert_eq!(output.status.code(), Some(77), "{verb}: {output:?}");
    }
    lab.assert_stays(0, &["web"], Duration::from_millis(1));
}

#[test]
fn exit_codes_tell_why_nothing_was_done() {
    let mut lab = Lab::at_home("");
    for verb in ["status", "standby", "hold"] {
        let output = as_nobody(&lab, 0, verb);
        assert_eq!(output.status.code(), Some(77), "{verb}: {output:?}");
    }
    lab.power_off(0);
    lab.wait_owner(1, &["web", "mail"]);
    let output = lab.boards[1].nullbeat(&["standby"]);
    assert_eq!(output.status.code(), Some(75), "nobody to give anything to: {output:?}");
    lab.boards[1].stop();
    for verb in ["status", "standby", "resume"] {
        let output = lab.boards[1].nullbeat(&[verb]);
        assert_eq!(output.status.code(), Some(69), "{verb}: {output:?}");
    }
    lab.assert_exclusive();
}

#[test]
fn status_tells_how_long_the_phases_of_a_takeover_took() {
    let mut lab = Lab::at_home("");
    lab.power_off(0);
    lab.wait_owner(1, &["web", "mail"]);
    lab.wait("it has settled", |lab| lab.boards[1].is_settled());
    let json = lab.boards[1].status_json();
    let last = json.split("\"last_move\": ").nth(1).unwrap_or_else(|| panic!("no move: {json}"));
    assert!(last.starts_with("{\"cause\": \"death\""), "{last}");
    let phase = |name: &str| number(last, name).unwrap_or_else(|| panic!("no {name}: {last}"));
    let (detect, decide, total) = (phase("detect_us"), phase("decide_us"), phase("total_us"));
    assert!((700_000..10_000_000).contains(&detect), "deadtime is 1 s, a beat is due every 200 ms: {detect} us");
    assert!(decide < 5_000_000, "{decide} us");
    let scripts = last.split("\"last_move_scripts\": ").nth(1).unwrap_or_else(|| panic!("no scripts: {last}"));
    assert!(scripts.contains("\"group\": \"trace::web\", \"resource\": \"trace::web\""), "{scripts}");
    let script = number(scripts, "us").unwrap_or_else(|| panic!("no time: {scripts}"));
    assert!(script > 0 && total >= detect + decide + script, "{detect} + {decide} + {script} > {total} us");
}

/// The four user numbers of a process.
fn uids(pid: i32) -> Vec<String> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("status");
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:")).expect("Uid");
    line.split_whitespace().map(str::to_owned).collect()
}

#[test]
fn engine_that_became_nobody_takes_over_and_gives_back() {
    let mut lab = Lab::at_home("user nobody");
    for index in [0, 1] {
        assert_eq!(uids(lab.boards[index].pids("engine")[0]), [NOBODY; 4]);
        assert_eq!(uids(lab.boards[index].pids("guardian")[0]), ["0"; 4]);
    }
    lab.power_off(0);
    lab.wait_owner(1, &["web", "mail"]);
    lab.boards[0].power_on();
    lab.boards[0].start();
    lab.wait_at_home();
    lab.assert_exclusive();
}

#[test]
fn guardian_and_engine_run_in_the_real_time_class_with_locked_memory() {
    let lab = Lab::at_home("");
    for board in &lab.boards {
        for role in ["guardian", "engine"] {
            let pids = board.pids(role);
            assert_eq!(pids.len(), 1, "{} of {}", role, board.name);
            let pid = pids[0].to_string();
            let class = Command::new("chrt").args(["-p", &pid]).output().expect("chrt").stdout;
            let class = String::from_utf8_lossy(&class).into_owned();
            assert!(class.contains("SCHED_FIFO") || class.contains("SCHED_RR"), "{role} of {}: {class}", board.name);
            let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
            let locked = status.lines().find_map(|line| line.strip_prefix("VmLck:")).expect("VmLck");
            let kilobytes: u64 = locked.trim().trim_end_matches(" kB").parse().expect("a number");
            assert!(kilobytes > 100, "{role} of {}: {locked}", board.name);
        }
    }
}

#[test]
fn limits_that_forbid_real_time_and_locked_memory_are_a_warning() {
    let mut lab = Lab::usual("", AT_HOME);
    for board in &mut lab.boards {
        board.power_on();
        // Root is bound by limits only without these capabilities.
        let bounds = "--bounding-set=-sys_nice,-ipc_lock,-sys_resource";
        board.start_through(&["setpriv", bounds, "--", "prlimit", "--rtprio=0", "--memlock=65536"]);
    }
    lab.wait_at_home();
    for text in ["Cannot use real-time scheduling:", "Cannot lock ourselves into memory:"] {
        lab.wait(text, |lab| {
            lab.boards.iter().all(|board| board.log().lines().any(|line| line.contains("WARN") && line.contains(text)))
        });
    }
    lab.power_off(0);
    lab.wait_owner(1, &["web", "mail"]);
    lab.assert_exclusive();
}
