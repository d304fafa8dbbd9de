//! Health checks in virtual time: services that die while they run, upstreams that are dead, checks that lie. See
//! `timetable` for the cluster; checks are told within 500 ms, the hold-off is 1.2 s, two restarts in place are allowed.

mod timetable;

use nullbeat::core::{Outcome, Request};
use nullbeat::sim::Plan;
use nullbeat::sim::fault::Fault;
use nullbeat::sim::plan::HealthPlan;
use timetable::{ALPHA, BETA, FOR_EVER, MS, S, Timetable, power_loss};

fn checked(plan: &mut Plan) {
    plan.health = Some(HealthPlan { interval: 500 * MS, holdoff: 1_200 * MS, restarts: 2 });
}

fn service_dies(node: usize, lasts: u64) -> Fault {
    Fault::ServiceDies { node, group: Some(0), lasts }
}

#[test]
fn service_that_dies_once_is_restarted_where_it_is() {
    let mut table = Timetable::settled(checked);
    table.inflict(service_dies(ALPHA, MS));
    // Told within 500 ms, 50 stop, 10 status, 50 start.
    table.at(2_800).expect_running(ALPHA);
    table.at(60_000).expect_running(ALPHA);
    assert_eq!(table.world.moves(), 0);
}

#[test]
fn service_that_keeps_dying_moves_after_its_restarts_and_stays() {
    let mut table = Timetable::settled(checked);
    table.inflict(service_dies(ALPHA, 20 * S));
    // Three times told, two restarts, a hand-over.
    table.at(5_000).expect_running(BETA);
    // Well again at home: it failed there within the hour.
    table.at(120_000).expect_running(BETA);
    assert_eq!(table.world.moves(), 1);
    table.operator(ALPHA, Request::Takeover(nullbeat::core::message::Holds::ALL));
    table.at(121_000).expect_running(ALPHA);
    table.at(180_000).expect_running(ALPHA);
}

#[test]
fn engines_that_die_meanwhile_do_not_begin_to_count_anew() {
    let mut table = Timetable::settled(checked);
    table.inflict(service_dies(ALPHA, 60 * S));
    for ms in [2_700, 3_500, 4_300, 5_100, 5_900, 6_700, 7_500] {
        table.at(ms).inflict(Fault::EngineCrash { node: ALPHA, respawn_after: 30 * MS });
    }
    table.at(12_000).expect_running(BETA);
    assert_eq!(table.world.moves(), 1, "{}", table.story());
    // It stays there, too: at home it failed within the hour.
    table.at(120_000).expect_running(BETA);
}

#[test]
fn service_that_dies_on_both_moves_once_and_tries_again_when_somebody_says_so() {
    let mut table = Timetable::settled(checked);
    table.inflict(service_dies(ALPHA, 30 * S)).inflict(service_dies(BETA, 30 * S));
    table.at(30_000).expect(&[BETA]);
    assert_eq!(table.world.moves(), 1, "{}", table.story());
    table.at(40_000).operator(BETA, Request::Resume);
    table.at(42_000).expect_running(BETA);
    assert_eq!(table.world.outcomes(), [(BETA, Outcome::Done)]);
}

#[test]
fn service_stays_when_nobody_is_there_to_take_it() {
    let mut table = Timetable::settled(checked);
    table.inflict(power_loss(BETA, FOR_EVER)).at(4_000).inflict(service_dies(ALPHA, 10 * S));
    table.at(20_000).expect(&[ALPHA]);
}

#[test]
fn held_node_restarts_nothing() {
    let mut table = Timetable::settled(checked);
    table.operator(ALPHA, Request::Hold).at(2_500).inflict(service_dies(ALPHA, MS));
    table.at(20_000).expect(&[ALPHA]);
    assert!(!table.world.runs(0, ALPHA));
    table.operator(ALPHA, Request::Resume);
    table.at(21_500).expect_running(ALPHA);
    assert_eq!(table.world.moves(), 0);
}

#[test]
fn upstream_dead_for_one_moves_the_group_and_its_return_brings_it_home() {
    let mut table = Timetable::settled(checked);
    table.inflict(Fault::UpstreamDead { node: Some(ALPHA), lasts: 10 * S });
    // Within 500 ms told, 1.2 s hold-off, 110 ms scripts.
    table.at(3_100).expect_running(ALPHA);
    table.at(4_500).expect_running(BETA);
    table.at(12_000).expect_running(BETA);
    table.at(14_500).expect_running(ALPHA);
    assert_eq!(table.world.moves(), 2);
}

#[test]
fn moves_for_health_count_for_the_latch() {
    let mut table = Timetable::settled(|plan| {
        checked(plan);
        plan.moves_per_hour = 3;
    });
    for round in 0..5 {
        table.at(2_000 + round * 20_000).inflict(Fault::UpstreamDead { node: Some(ALPHA), lasts: 10 * S });
    }
    table.at(110_000).expect_at_most_one();
    // There and back would be ten.
    assert!((3..=4).contains(&table.world.moves()), "{} moves\n{}", table.world.moves(), table.story());
}

#[test]
fn upstream_dead_for_both_moves_nothing() {
    let mut table = Timetable::settled(checked);
    table.inflict(Fault::UpstreamDead { node: None, lasts: 60 * S });
    for second in 3..80 {
        table.at(second * 1_000).expect_running(ALPHA);
    }
    assert_eq!(table.world.moves(), 0);
}

#[test]
fn upstream_dead_beside_a_partner_whose_checks_say_nothing_moves_nothing() {
    let mut table = Timetable::settled(checked);
    table.inflict(Fault::CheckerGone { node: BETA, lasts: 30 * S });
    table.at(3_000).inflict(Fault::UpstreamDead { node: Some(ALPHA), lasts: 20 * S });
    table.at(40_000).expect_running(ALPHA);
    assert_eq!(table.world.moves(), 0);
}

#[test]
fn check_that_flaps_faster_than_the_hold_off_moves_nothing() {
    let mut table = Timetable::settled(checked);
    table.inflict(Fault::CheckLies { node: ALPHA, group: None, period: 600 * MS, lasts: 60 * S });
    table.at(90_000).expect_running(ALPHA);
    assert_eq!(table.world.moves(), 0);
}

#[test]
fn check_that_lies_costs_the_restarts_and_one_move() {
    let mut table = Timetable::settled(checked);
    table.inflict(Fault::CheckLies { node: ALPHA, group: Some(0), period: 0, lasts: FOR_EVER });
    table.at(120_000).expect_running(BETA);
    assert_eq!(table.world.moves(), 1);
}

#[test]
fn checker_that_is_gone_changes_nothing() {
    let mut table = Timetable::settled(checked);
    table.inflict(Fault::CheckerGone { node: ALPHA, lasts: 20 * S });
    table.at(60_000).expect_running(ALPHA);
    assert_eq!(table.world.moves(), 0);
}
