//! Two boards joined by lines that gate acquiring, in virtual time: the fault table of `docs/wiring.md`, row by row.

mod timetable;

use nullbeat::core::message::Holds;
use nullbeat::core::settings::{AutoFailback, TakeoverPolicy};
use nullbeat::core::{InputLine, LineLevel, Outcome, Request};
use nullbeat::sim::Plan;
use nullbeat::sim::fault::{Fault, ScriptFault};
use timetable::{ALPHA, BETA, BOTH, FOR_EVER, MS, S, Timetable, cut, power_loss};

fn interlocked(plan: &mut Plan) {
    plan.interlock_settle = Some(50 * MS);
}

fn stuck(node: usize, line: InputLine, level: LineLevel) -> Fault {
    Fault::Line { node, line, level, lasts: FOR_EVER }
}

fn has_told(table: &Timetable, what: &str) -> bool {
    table.world.trace().lines().iter().any(|line| line.contains(what))
}

const STUCK: &str = "LineStuck(PeerOwner), is_raised: true";

#[test]
fn whole_lines_start_move_and_take_over_as_without() {
    let mut table = Timetable::settled(interlocked);
    table.operator(ALPHA, Request::Standby(Holds::ALL));
    table.at(3_000).expect_running(BETA);
    table.operator(ALPHA, Request::Takeover(Holds::ALL));
    table.at(4_500).expect_running(ALPHA);
    // No power at the other board: `peer-power` says so.
    table.inflict(power_loss(ALPHA, FOR_EVER));
    table.at(6_000).expect_running(BETA);
    assert!(!has_told(&table, STUCK));
}

#[test]
fn partition_moves_nothing_and_never_has_two_owners() {
    for policy in [TakeoverPolicy::Available, TakeoverPolicy::Safe] {
        let mut table = Timetable::settled(|plan| {
            interlocked(plan);
            plan.policy = policy;
        });
        table.inflict(cut(BOTH, 20 * S));
        for ms in (2_000..40_000).step_by(50) {
            table.at(ms).expect_running(ALPHA);
        }
        assert!(has_told(&table, "Interlocked, is_raised: true"));
    }
}

#[test]
fn two_that_start_apart_end_with_the_preferred_one() {
    let mut table = Timetable::new(interlocked);
    table.inflict(cut(BOTH, FOR_EVER));
    for ms in (500..20_000).step_by(20) {
        table.at(ms).expect_at_most_one();
    }
    table.expect_running(ALPHA);
}

#[test]
fn peer_owner_open_or_stuck_active_is_named_and_not_obeyed_while_the_partner_lives() {
    let mut table = Timetable::settled(interlocked);
    table.inflict(stuck(BETA, InputLine::PeerOwner, LineLevel::Active));
    // It says the same as the owner's beats until the owner gives the service away.
    table.at(8_000).expect_running(ALPHA);
    table.operator(ALPHA, Request::Standby(Holds::ALL));
    table.at(20_000).expect_running(BETA);
    assert!(has_told(&table, STUCK), "{}", table.story());
}

#[test]
fn peer_owner_open_is_no_permission_when_the_partner_is_silent() {
    let mut table = Timetable::settled(interlocked);
    table.inflict(stuck(BETA, InputLine::PeerOwner, LineLevel::Active));
    table.inflict(cut(BOTH, 20 * S));
    table.at(20_000).expect_running(ALPHA);
    // But a board without power holds nothing.
    table.at(30_000).inflict(power_loss(ALPHA, FOR_EVER));
    table.at(33_000).expect_running(BETA);
}

#[test]
fn peer_owner_stuck_inactive_is_named_and_no_permission_afterwards() {
    let mut table = Timetable::settled(interlocked);
    table.inflict(stuck(BETA, InputLine::PeerOwner, LineLevel::Inactive));
    table.at(8_000).expect_running(ALPHA);
    assert!(has_told(&table, STUCK), "{}", table.story());
    table.inflict(cut(BOTH, 10 * S));
    for ms in (8_000..30_000).step_by(50) {
        table.at(ms).expect_running(ALPHA);
    }
}

#[test]
fn owner_of_a_stuck_own_line_keeps_what_it_runs() {
    // The other reads its line; its own is whole. Line and beats do not agree that somebody else holds the service.
    for level in [LineLevel::Active, LineLevel::Inactive] {
        let mut table = Timetable::settled(interlocked);
        table.inflict(stuck(ALPHA, InputLine::PeerOwner, level));
        table.at(20_000).expect_running(ALPHA);
        assert_eq!(has_told(&table, STUCK), level == LineLevel::Active);
    }
}

#[test]
fn peer_power_stuck_active_or_open_needs_a_person_for_a_dead_board() {
    let mut table = Timetable::settled(interlocked);
    table.inflict(stuck(BETA, InputLine::PeerPower, LineLevel::Active));
    table.inflict(power_loss(ALPHA, FOR_EVER));
    table.at(20_000).expect(&[]);
    assert!(has_told(&table, "Interlocked, is_raised: true"));
    table.operator(BETA, Request::ConfirmFence);
    table.at(22_000).expect_running(BETA);
    assert_eq!(table.world.outcomes(), [(BETA, Outcome::Done)]);
}

#[test]
fn line_that_one_engine_has_named_is_no_permission_for_the_next() {
    for line in [InputLine::PeerOwner, InputLine::PeerPower] {
        let mut table = Timetable::settled(interlocked);
        table.inflict(stuck(BETA, line, LineLevel::Inactive));
        table.at(8_000).expect_running(ALPHA);
        table.inflict(cut(BOTH, 10 * S)).inflict(Fault::EngineCrash { node: BETA, respawn_after: 30 * MS });
        for ms in (8_000..30_000).step_by(50) {
            table.at(ms).expect_running(ALPHA);
        }
    }
}

#[test]
fn peer_power_stuck_inactive_is_named_and_no_permission_afterwards() {
    let mut table = Timetable::settled(interlocked);
    table.inflict(stuck(BETA, InputLine::PeerPower, LineLevel::Inactive));
    table.at(8_000).expect_running(ALPHA);
    assert!(has_told(&table, "LineStuck(PeerPower), is_raised: true"), "{}", table.story());
    table.inflict(cut(BOTH, 10 * S));
    for ms in (8_000..30_000).step_by(50) {
        table.at(ms).expect_running(ALPHA);
    }
    assert_eq!(table.world.moves(), 0);
}

#[test]
fn peer_power_that_drops_before_the_beats_is_believed() {
    let mut table = Timetable::settled(interlocked);
    table.inflict(power_loss(ALPHA, FOR_EVER));
    table.at(3_500).expect_running(BETA);
    assert!(!has_told(&table, "LineStuck(PeerPower), is_raised: true"), "{}", table.story());
}

#[test]
fn peer_alive_is_never_permission() {
    for level in [LineLevel::Active, LineLevel::Inactive] {
        let mut table = Timetable::settled(interlocked);
        table.inflict(stuck(BETA, InputLine::PeerAlive, level));
        table.at(10_000).expect_running(ALPHA);
        table.inflict(cut(BOTH, 10 * S));
        table.at(20_000).expect_running(ALPHA);
        assert_eq!(table.world.moves(), 0);
    }
}

#[test]
fn maintenance_holds_and_lets_go() {
    let mut table = Timetable::settled(interlocked);
    table.inflict(Fault::Line { node: BETA, line: InputLine::Maintenance, level: LineLevel::Active, lasts: 20 * S });
    table.inflict(power_loss(ALPHA, FOR_EVER));
    table.at(20_000).expect(&[]);
    assert!(has_told(&table, "Maintenance, is_raised: true"));
    table.at(24_000).expect_running(BETA);
}

#[test]
fn maintenance_stuck_inactive_leaves_the_board_as_one_without_a_switch() {
    let mut table = Timetable::settled(interlocked);
    table.inflict(stuck(BETA, InputLine::Maintenance, LineLevel::Inactive));
    table.at(10_000).expect_running(ALPHA);
    table.inflict(power_loss(ALPHA, FOR_EVER));
    table.at(14_000).expect_running(BETA);
    assert!(!has_told(&table, "Maintenance, is_raised: true"));
}

#[test]
fn all_groups_move_together() {
    let mut table = Timetable::settled(|plan| {
        interlocked(plan);
        plan.groups = vec![plan.groups[0]; 3];
        plan.auto_failback = AutoFailback::Off;
    });
    let users = |table: &Timetable| [0, 1, 2].map(|group| table.world.users(group));
    assert_eq!(users(&table), [[ALPHA]; 3]);
    table.operator(ALPHA, Request::Standby(Holds::LOCAL));
    table.at(6_000).expect_running(BETA);
    assert_eq!(users(&table), [[BETA]; 3]);
    // One that does not start takes the others along: the line between the boards knows no groups.
    table.inflict(Fault::Scripts { node: ALPHA, group: Some(2), kind: ScriptFault::StartFails, lasts: FOR_EVER });
    table.operator(ALPHA, Request::Takeover(Holds::ALL));
    table.at(30_000).expect_running(BETA);
    assert_eq!(users(&table), [[BETA]; 3]);
}
