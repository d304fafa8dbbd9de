//! The main job with the packaged Heartbeat 3.0.6 as the other node: alpha runs nullbeat, beta runs Heartbeat.

mod lab;

use std::time::Duration;

use lab::Lab;

const RESOURCES: &str = "alpha trace::web\nbeta trace::mail\n";
const BOTH: [&str; 2] = ["web", "mail"];
const NULLBEAT: usize = 0;
const HEARTBEAT: usize = 1;

fn at_home() -> Lab {
    let mut lab = Lab::mixed(RESOURCES);
    lab.start_both();
    wait_home(&lab);
    lab
}

#[track_caller]
fn wait_home(lab: &Lab) {
    lab.wait_owner(NULLBEAT, &["web"]);
    lab.wait_owner(HEARTBEAT, &["mail"]);
}

fn power_on(lab: &mut Lab, index: usize) {
    lab.boards[index].power_on();
    lab.boards[index].start();
}

/// Lines of Heartbeat's log that complain of something.
fn complaints(lab: &Lab) -> Vec<String> {
    let log = lab.boards[HEARTBEAT].log();
    // What the machine that the tests run on does not allow.
    let is_known = |line: &&str| line.contains("Cannot lock ourselves into memory");
    let errors = log.lines().filter(|line| line.contains("ERROR") || line.contains("CRIT"));
    // A terminal keeps the first words of a line for whoever opens it later; what followed them is missed then.
    let (_, after_start) = log.split_once("Comm_now_up").expect("it has started");
    let losses = after_start.lines().filter(|line| line.contains("lost packet") || line.contains("Late heartbeat"));
    errors.filter(|line| !is_known(line)).chain(losses).map(str::to_owned).collect()
}

/// Asserts that the board of this index has logged `first`, and `second` only later or never.
#[track_caller]
fn assert_logged_before(lab: &Lab, index: usize, first: &str, second: &str) {
    let log = lab.boards[index].log();
    let at = log.find(first).unwrap_or_else(|| panic!("{first} is missing in\n{log}"));
    assert!(log.find(second).is_none_or(|other| at < other), "{second} came first in\n{log}");
}

#[test]
fn both_start_and_heartbeat_finds_nothing_to_complain_about() {
    let lab = at_home();
    for board in &lab.boards {
        let peer = &lab.boards[1 - board.index].name;
        for link in ["ens33", &board.serial.to_string_lossy()] {
            let line = format!("Link {peer}:{link} up.");
            lab.wait(&line, |lab| lab.boards[board.index].log().contains(&line));
        }
    }
    lab.assert_stays(NULLBEAT, &["web"], Duration::from_secs(5));
    lab.assert_stays(HEARTBEAT, &["mail"], Duration::from_millis(100));
    assert_eq!(complaints(&lab), Vec::<String>::new());
    lab.assert_exclusive();
}

#[test]
fn heartbeat_loses_power_and_gets_its_group_back_on_return() {
    let mut lab = at_home();
    lab.power_off(HEARTBEAT);
    lab.wait_owner(NULLBEAT, &BOTH);
    power_on(&mut lab, HEARTBEAT);
    wait_home(&lab);
    lab.assert_exclusive();
}

#[test]
fn nullbeat_loses_power_and_gets_its_group_back_on_return() {
    let mut lab = at_home();
    lab.power_off(NULLBEAT);
    lab.wait_owner(HEARTBEAT, &BOTH);
    power_on(&mut lab, NULLBEAT);
    wait_home(&lab);
    lab.assert_exclusive();
}

#[test]
fn clean_stop_of_either_makes_the_other_take_over_at_once() {
    let mut lab = at_home();
    lab.boards[NULLBEAT].stop();
    lab.wait_owner(HEARTBEAT, &BOTH);
    assert_logged_before(&lab, HEARTBEAT, "Received shutdown notice from 'alpha'.", "node alpha: is dead");
    lab.boards[NULLBEAT].start();
    wait_home(&lab);
    lab.boards[HEARTBEAT].stop();
    lab.wait_owner(NULLBEAT, &BOTH);
    assert_logged_before(&lab, NULLBEAT, "Received shutdown notice from 'beta'.", "node beta: is dead");
    lab.boards[HEARTBEAT].start();
    wait_home(&lab);
    lab.assert_exclusive();
}

#[test]
fn groups_move_by_the_tools_of_either_and_stay_there() {
    let lab = at_home();
    // Exit code 75 says that the last move has not ended on both sides yet.
    let verb = |words: &[&str]| {
        lab.wait("nullbeat does as it is told", |lab| {
            let output = lab.boards[NULLBEAT].nullbeat(words);
            assert!([Some(0), Some(75)].contains(&output.status.code()), "{words:?}: {output:?}");
            output.status.success()
        });
    };
    let tool = |name: &str, words: &[&str]| {
        lab.wait("Heartbeat is ready for a request", is_settled);
        let output = lab.boards[HEARTBEAT].heartbeat_tool(name, words);
        assert!(output.status.success(), "{name} {words:?}: {output:?}");
    };
    verb(&["standby"]);
    assert_eq!(lab.runners("web"), [HEARTBEAT], "the verb returned after the move");
    lab.assert_stays(HEARTBEAT, &BOTH, Duration::from_secs(3));
    tool("hb_standby", &["foreign"]);
    wait_home(&lab);
    tool("hb_standby", &["all"]);
    lab.wait_owner(NULLBEAT, &BOTH);
    lab.assert_stays(NULLBEAT, &BOTH, Duration::from_secs(3));
    tool("hb_takeover", &["local"]);
    wait_home(&lab);
    verb(&["takeover"]);
    lab.wait_owner(NULLBEAT, &BOTH);
    tool("hb_takeover", &["all"]);
    lab.wait_owner(HEARTBEAT, &BOTH);
    verb(&["takeover", "local"]);
    wait_home(&lab);
    lab.assert_exclusive();
}

#[test]
fn legacy_pair_gives_each_group_back_to_its_node_when_that_returns() {
    let mut lab = Lab::mixed(RESOURCES);
    for board in &lab.boards {
        let path = board.config_dir().join("ha.cf");
        let text = std::fs::read_to_string(&path).expect("ha.cf").replace("auto_failback on", "auto_failback legacy");
        std::fs::write(&path, text).expect("ha.cf");
    }
    lab.start_both();
    wait_home(&lab);
    let output = lab.boards[NULLBEAT].nullbeat(&["standby"]);
    assert_eq!(output.status.code(), Some(75), "{output:?}");
    lab.power_off(HEARTBEAT);
    lab.wait_owner(NULLBEAT, &BOTH);
    power_on(&mut lab, HEARTBEAT);
    wait_home(&lab);
    lab.boards[NULLBEAT].stop();
    lab.wait_owner(HEARTBEAT, &BOTH);
    lab.boards[NULLBEAT].start();
    wait_home(&lab);
    lab.power_off(NULLBEAT);
    lab.wait_owner(HEARTBEAT, &BOTH);
    power_on(&mut lab, NULLBEAT);
    wait_home(&lab);
    lab.assert_exclusive();
}

/// Whether nothing moves on Heartbeat's side; it ignores requests while something does.
fn is_settled(lab: &Lab) -> bool {
    let output = lab.boards[HEARTBEAT].on_board(&["cl_status", "rscstatus"]);
    let word = String::from_utf8_lossy(&output.stdout);
    output.status.success() && ["none", "local", "foreign", "all"].contains(&word.trim())
}

/// Asserts that this has not happened to the group on nullbeat's board.
#[track_caller]
fn assert_never(lab: &Lab, group: &str, what: &str) {
    if lab.observer.count("alpha", group, what) > 0 {
        lab.dump();
        panic!("alpha: {what} of {group}");
    }
}

#[test]
fn after_a_partition_heartbeat_drops_everything_and_nullbeat_keeps_its_own() {
    let lab = at_home();
    lab.modem.cut(true);
    lab.ethernet(NULLBEAT, false);
    lab.wait("both own everything", |lab| BOTH.iter().all(|group| lab.runners(group) == [NULLBEAT, HEARTBEAT]));
    lab.ethernet(NULLBEAT, true);
    lab.modem.cut(false);
    lab.wait("Heartbeat drops everything", |lab| BOTH.iter().all(|group| lab.runners(group) == [NULLBEAT]));
    assert_never(&lab, "mail", "stop-begin");
    lab.wait("Heartbeat restarts itself", |lab| {
        lab.boards[HEARTBEAT].log().contains("Performing heartbeat restart exec.")
    });
    wait_home(&lab);
    assert_never(&lab, "web", "stop-begin");
    assert_eq!(lab.observer.count("alpha", "web", "start-begin"), 1);
    assert_eq!(lab.boards[NULLBEAT].log().matches("Local status now set to: 'up'").count(), 1, "nor restarts itself");
}

#[test]
fn message_from_heartbeats_own_tools_runs_the_script_of_both() {
    let lab = Lab::mixed(RESOURCES);
    let fields = ["t", "src", "x", "OSTATUS", "NICEFAILBACK", "CURHOST", "LOGD"];
    let each: String = fields.iter().map(|name| format!("{name}=$HA_{name} ")).collect();
    for board in &lab.boards {
        let told = board.dir.join("told");
        let text = format!("#!/bin/sh\necho \"${{0##*/}} $# $1 {each}\" >> {}\n", told.display());
        lab::write_script(&board.config_dir().join("rc.d/mytype"), &text);
    }
    let mut lab = lab;
    lab.start_both();
    wait_home(&lab);
    lab.wait("Heartbeat is ready for a request", is_settled);
    let output = lab.boards[HEARTBEAT].on_board(&[
        "sh",
        "-c",
        "printf '>>>\\nt=mytype\\nx=1 2\\n<<<\\n' > /var/lib/heartbeat/fifo",
    ]);
    assert!(output.status.success(), "{output:?}");
    let told = |index: usize| std::fs::read_to_string(lab.boards[index].dir.join("told")).unwrap_or_default();
    lab.wait("both have run it", |_| (0..2).all(|index| told(index).ends_with('\n')));
    assert_eq!(told(NULLBEAT).replace("CURHOST=alpha", "CURHOST=beta"), told(HEARTBEAT));
    assert_eq!(
        told(NULLBEAT),
        "mytype 1 mytype t=mytype src=beta x=1 2 OSTATUS=active NICEFAILBACK=yes CURHOST=alpha LOGD=no \n"
    );
}

#[test]
fn lonely_start_tells_the_first_script_of_an_own_group_that_nobody_is_asked_as_heartbeat_does() {
    let mut lab = Lab::mixed("alpha noted::web noted::db\nbeta noted::mail noted::spool\n");
    for board in &lab.boards {
        let text = format!(
            "#!/bin/sh\necho \"$1 $2 $HA_DONTASK\" >> {dir}/noted\nexec {dir}/ha.d/resource.d/trace \"$@\"\n",
            dir = board.dir.display()
        );
        lab::write_script(&board.config_dir().join("resource.d/noted"), &text);
    }
    lab.modem.cut(true);
    for board in &mut lab.boards {
        board.power_on();
    }
    lab.ethernet(0, false);
    for board in &mut lab.boards {
        board.start();
    }
    lab.wait("both take everything", |lab| {
        ["web", "db", "mail", "spool"].iter().all(|group| lab.runners(group) == [NULLBEAT, HEARTBEAT])
    });
    // Nullbeat looks once before that, at what an earlier daemon may have left.
    let noted = |index: usize| std::fs::read_to_string(lab.boards[index].dir.join("noted")).unwrap_or_default();
    let unasked = |index: usize| -> Vec<String> {
        noted(index).lines().filter(|line| line.ends_with(" yes")).map(str::to_owned).collect()
    };
    assert_eq!(unasked(NULLBEAT), ["web status yes"], "{}", noted(NULLBEAT));
    assert_eq!(unasked(HEARTBEAT), ["mail status yes"], "{}", noted(HEARTBEAT));
}
