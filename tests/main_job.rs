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

fn power_off(lab: &mut Lab, index: usize) {
    lab.boards[index].power_off();
    let name = lab.boards[index].name.clone();
    lab.observer.board_off(&name);
}

#[test]
fn both_start_and_each_runs_its_own() {
    let lab = at_home("");
    lab.assert_stays(0, &["web"], Duration::from_secs(2));
    assert_eq!(lab.observer.overlaps(), 0);
}

#[test]
fn owner_loses_power_and_gets_its_group_back_on_return() {
    let mut lab = at_home("");
    power_off(&mut lab, 0);
    lab.wait_owner(1, &BOTH);
    lab.boards[0].power_on();
    lab.boards[0].start();
    lab.wait_owner(0, &["web"]);
    lab.wait_owner(1, &["mail"]);
    assert_eq!(lab.observer.overlaps(), 0);
}

#[test]
fn owner_is_stopped_and_the_other_takes_over_at_once() {
    let mut lab = at_home("");
    lab.boards[0].stop();
    lab.wait_owner(1, &BOTH);
    assert_eq!(lab.observer.overlaps(), 0);
}
