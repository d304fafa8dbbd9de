//! The main job: two boards, a null-modem cable and a network; the owner dies, is stopped, comes back.

mod lab;

use std::time::Duration;

use lab::Lab;

const RESOURCES: &str = "alpha trace::web\nbeta trace::mail\n";
const BOTH: [&str; 2] = ["web", "mail"];

fn at_home(extra: &str) -> Lab {
    let mut lab = Lab::usual(extra, RESOURCES);
    lab.start_both();
    lab.wait_owner(0, &["web"]);
    lab.wait_owner(1, &["mail"]);
    lab
}

#[test]
fn both_start_and_each_runs_its_own() {
    let lab = at_home("");
    lab.assert_stays(0, &["web"], Duration::from_secs(2));
    lab.assert_exclusive();
}

#[test]
fn owner_loses_power_and_gets_its_group_back_on_return() {
    let mut lab = at_home("");
    lab.power_off(0);
    lab.wait_owner(1, &BOTH);
    lab.boards[0].power_on();
    lab.boards[0].start();
    lab.wait_owner(0, &["web"]);
    lab.wait_owner(1, &["mail"]);
    lab.assert_exclusive();
}

#[test]
fn owner_is_stopped_and_the_other_takes_over_at_once() {
    let mut lab = at_home("");
    lab.boards[0].stop();
    lab.wait_owner(1, &BOTH);
    lab.assert_exclusive();
}

#[test]
fn returning_node_waits_with_auto_failback_off() {
    let mut lab = at_home("auto_failback off");
    lab.power_off(0);
    lab.wait_owner(1, &BOTH);
    lab.boards[0].power_on();
    lab.boards[0].start();
    lab.wait("alpha is a member again", |lab| {
        lab.boards[1].log().contains("Status update for node alpha: status active")
    });
    lab.assert_stays(1, &BOTH, Duration::from_secs(3));
    let output = lab.boards[1].nullbeat(&["failback"]);
    assert!(output.status.success(), "{output:?}");
    lab.wait_owner(0, &["web"]);
    lab.wait_owner(1, &["mail"]);
    lab.assert_exclusive();
}

#[test]
fn owner_that_comes_back_with_an_old_generation_is_heard_again() {
    let mut lab = at_home("");
    lab.power_off(0);
    lab.wait_owner(1, &BOTH);
    // An old copy of the flash: its partner has heard much higher numbers, and takes all it says for a replay.
    for name in ["hb_generation", "hb_generation.copy"] {
        std::fs::write(lab.boards[0].dir.join("state").join(name), "              5\n").expect("a file");
    }
    // What outlives a daemon does not outlive its board.
    std::fs::remove_file(lab.boards[0].dir.join("run/lease")).expect("a file");
    lab.boards[0].power_on();
    lab.boards[0].start();
    lab.wait_owner(0, &["web"]);
    lab.wait_owner(1, &["mail"]);
    let log = lab.boards[0].log();
    assert!(log.contains("The file of the generation was lost or is an old one"), "{log}");
    lab.assert_exclusive();
}

#[test]
fn owner_that_has_lost_both_copies_of_its_generation_begins_unheard_above_what_is_known_of_it() {
    let mut lab = Lab::usual("", RESOURCES);
    // Far above the clock, as after years with a clock that ran ahead.
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs();
    let files = ["hb_generation", "hb_generation.copy"].map(|name| lab.boards[0].dir.join("state").join(name));
    std::fs::create_dir_all(lab.boards[0].dir.join("state")).expect("a folder");
    for file in &files {
        std::fs::write(file, format!("{:>15}\n", now + 10_000_000)).expect("a file");
    }
    lab.start_both();
    lab.wait_owner(0, &["web"]);
    lab.wait_owner(1, &["mail"]);
    lab.power_off(0);
    lab.wait_owner(1, &BOTH);
    for file in &files {
        std::fs::remove_file(file).expect("a file");
    }
    std::fs::remove_file(lab.boards[0].dir.join("run/lease")).expect("a file");
    lab.boards[0].power_on();
    lab.boards[0].start();
    lab.wait_owner(0, &["web"]);
    lab.wait_owner(1, &["mail"]);
    let log = lab.boards[0].log();
    assert!(log.contains("No Previous generation") && log.contains("going on above"), "{log}");
    let peer = lab.boards[1].log();
    assert!(!peer.contains("attempted replay attack"), "something was said under the guess: {peer}");
    lab.assert_exclusive();
}

#[test]
fn either_cable_alone_may_be_cut_and_nothing_moves() {
    let lab = at_home("");
    lab.modem.cut(true);
    lab.wait("the serial link is dead on both", |lab| {
        lab.boards.iter().enumerate().all(|(index, board)| {
            let peer = &lab.boards[1 - index].name;
            board.log().contains(&format!("Link {peer}:{} dead.", board.serial.display()))
        })
    });
    lab.assert_stays(0, &["web"], Duration::from_secs(2));
    lab.wait("status tells of the last link", |lab| status(lab, 0).contains("only one link to the partner is left"));
    lab.modem.cut(false);
    lab.wait("the serial link is back", |lab| {
        lab.boards[0].log().matches(&format!("Link beta:{} up.", lab.boards[0].serial.display())).count() >= 2
    });
    lab.ethernet(0, false);
    lab.wait("the Ethernet link is dead", |lab| lab.boards[1].log().contains("Link alpha:ens33 dead."));
    lab.assert_stays(0, &["web"], Duration::from_secs(2));
    lab.assert_stays(1, &["mail"], Duration::from_millis(100));
    lab.ethernet(0, true);
    lab.wait("the Ethernet link is back", |lab| lab.boards[1].log().matches("Link alpha:ens33 up.").count() >= 2);
    lab.assert_exclusive();
}

fn status(lab: &Lab, index: usize) -> String {
    String::from_utf8_lossy(&lab.boards[index].nullbeat(&["status"]).stdout).into_owned()
}

fn cables(lab: &Lab, are_plugged: bool) {
    lab.modem.cut(!are_plugged);
    lab.ethernet(0, are_plugged);
}

/// A program of `reassert` on each board, which writes down what it is told.
fn with_reassert() -> Lab {
    let mut lab = Lab::usual("", RESOURCES);
    for board in &lab.boards {
        let (hook, told) = (board.dir.join("reassert"), board.dir.join("reasserted"));
        let text = "echo \"$* $NULLBEAT_EVENT $NULLBEAT_NAME $NULLBEAT_GROUP $HA_CURHOST\"";
        lab::write_script(&hook, &format!("#!/bin/sh\n{text} >>{}\n", told.display()));
        board.configure(&lab.usual_ha_cf(board, &format!("reassert {}", hook.display())), RESOURCES);
    }
    lab.start_both();
    lab.wait_at_home();
    lab
}

fn reasserted(lab: &Lab, index: usize) -> String {
    std::fs::read_to_string(lab.boards[index].dir.join("reasserted")).unwrap_or_default()
}

#[test]
fn both_cables_cut_both_own_and_after_the_heal_the_fixed_loser_releases() {
    let lab = with_reassert();
    cables(&lab, false);
    lab.wait("both own everything", |lab| BOTH.iter().all(|group| lab.runners(group) == [0, 1]));
    cables(&lab, true);
    lab.wait_owner(0, &["web"]);
    lab.wait_owner(1, &["mail"]);
    // Each group was stopped once, by its loser, and nobody else moved.
    assert_eq!(lab.observer.count("alpha", "web", "stop-begin"), 0);
    assert_eq!(lab.observer.count("beta", "mail", "stop-begin"), 0);
    assert!(lab.boards[0].log().contains("Cluster node beta returning after partition."));
    // The winner of each group says once more where it is, when the loser has let go; the loser says nothing.
    lab.wait("both winners have said so", |lab| (0..2).all(|index| !reasserted(lab, index).is_empty()));
    assert_eq!(reasserted(&lab, 0), "trace::web trace::web reassert trace::web trace::web alpha\n");
    assert_eq!(reasserted(&lab, 1), "trace::mail trace::mail reassert trace::mail trace::mail beta\n");
}

#[test]
fn started_apart_both_take_and_one_releases_when_the_cables_are_plugged_in() {
    let mut lab = Lab::usual("", RESOURCES);
    lab.modem.cut(true);
    lab.start_both();
    lab.ethernet(0, false);
    lab.wait("both took everything after initdead", |lab| BOTH.iter().all(|group| lab.runners(group) == [0, 1]));
    let stands = |board: &lab::Board| board.status_json().contains("\"unfenced\"");
    lab.wait("both have an alarm for it", |lab| lab.boards.iter().all(stands));
    cables(&lab, true);
    lab.wait_owner(0, &["web"]);
    lab.wait_owner(1, &["mail"]);
    lab.wait("the alarms are over", |lab| !lab.boards.iter().any(stands));
}

#[test]
fn started_apart_and_safe_neither_takes_until_an_operator_says_so() {
    let mut lab = Lab::usual("takeover_policy safe", RESOURCES);
    lab.modem.cut(true);
    for board in &mut lab.boards {
        board.power_on();
    }
    lab.ethernet(0, false);
    for board in &mut lab.boards {
        board.start();
    }
    lab.wait("both have given up waiting", |lab| {
        lab.boards.iter().all(|board| board.log().contains("takeover_policy is safe"))
    });
    assert!(BOTH.iter().all(|group| lab.owners(group).is_empty()));
    let output = lab.boards[0].nullbeat(&["takeover"]);
    assert!(output.status.success(), "{output:?}");
    lab.wait_owner(0, &BOTH);
    cables(&lab, true);
    lab.wait("beta has heard alpha", |lab| lab.boards[1].log().contains("Status update for node alpha"));
    lab.wait("every group has one owner", |lab| BOTH.iter().all(|group| lab.runners(group).len() == 1));
    lab.assert_exclusive();
}

#[test]
fn standby_and_takeover_move_the_groups_and_wait_for_the_outcome() {
    let lab = at_home("");
    let output = lab.boards[0].nullbeat(&["standby"]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(lab.runners("web"), [1], "the verb returned after the move");
    lab.assert_stays(1, &BOTH, Duration::from_secs(2));
    let output = lab.boards[0].nullbeat(&["takeover", "local"]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(lab.runners("web"), [0]);
    lab.wait_owner(1, &["mail"]);
    lab.assert_exclusive();
}

#[test]
fn failed_start_is_offered_to_the_peer_once() {
    let mut lab = Lab::usual("", RESOURCES);
    std::fs::write(lab.boards[0].dir.join("fail-start-web"), "").expect("a file");
    lab.start_both();
    lab.wait_owner(1, &BOTH);
    lab.assert_stays(1, &BOTH, Duration::from_secs(3));
    assert_eq!(lab.observer.count("alpha", "web", "start-begin"), 1);
    lab.assert_exclusive();
}

#[test]
fn hanging_stop_resets_the_board_before_anybody_takes_over() {
    let lab = at_home("script_timeout 2\nenv STOPRETRYMAX=1");
    std::fs::write(lab.boards[0].dir.join("hang-stop-web"), "").expect("a file");
    let output = lab.boards[0].nullbeat(&["standby", "local", "--timeout", "50"]);
    assert!(!output.status.success(), "{output:?}");
    lab.wait("the board would have been reset", |lab| lab.boards[0].resets() > 0);
    assert_eq!(lab.runners("mail"), [1]);
    assert_eq!(lab.owners("web"), [0], "not given away");
    lab.assert_exclusive();
}

#[test]
fn link_that_works_one_way_is_named() {
    let lab = at_home("");
    // What alpha sends on the serial line is lost; what beta sends arrives.
    lab.modem.cut_from(0, true);
    lab.wait("alpha says that it is not heard on the serial line", |lab| {
        status(lab, 0).contains("the partner does not hear us on this link")
    });
    lab.assert_stays(0, &["web"], Duration::from_secs(1));
    lab.modem.cut_from(0, false);
    lab.wait("the alarm is over", |lab| !status(lab, 0).contains("the partner does not hear us on this link"));
    lab.assert_exclusive();
}
