//! Two boards that can reset each other, in virtual time: who shoots when, what counts as proof, and when nobody shoots.

mod timetable;

use nullbeat::core::ids::GroupSet;
use nullbeat::core::message::Holds;
use nullbeat::core::settings::{AutoFailback, FenceKind, TakeoverPolicy};
use nullbeat::core::{Outcome, Refusal, Request};
use nullbeat::sim::Plan;
use nullbeat::sim::fault::{DeviceFault, Fault};
use nullbeat::sim::plan::{FencePlan, GroupPlan, LeasePlan};
use timetable::{ALPHA, BETA, BOTH, FOR_EVER, MS, S, Timetable, cut, power_loss};

const DEVICE: FencePlan = FencePlan { kind: FenceKind::Device, limit: S };
const MANUAL: FencePlan = FencePlan { kind: FenceKind::Manual, limit: 0 };

/// A device that answers within 0.63 s and has 1 s to do so; a slot is 1.4 s long.
fn fenced(plan: &mut Plan) {
    plan.fence = vec![DEVICE];
    plan.auto_failback = AutoFailback::Off;
}

fn device(node: usize, kind: DeviceFault, lasts: u64) -> Fault {
    Fault::Device { node, method: None, kind, lasts }
}

/// Two groups, one at home on each board.
fn active_active(plan: &mut Plan) {
    fenced(plan);
    let group = plan.groups[0];
    plan.groups.push(GroupPlan { preferred: BETA, ..group });
}

trait Told {
    fn has_told(&self, what: &str) -> bool;
}

impl Told for Timetable {
    fn has_told(&self, what: &str) -> bool {
        self.world.trace().lines().iter().any(|line| line.contains(what))
    }
}

#[test]
fn dead_owner_is_fenced_before_anything_is_taken() {
    for policy in [TakeoverPolicy::Available, TakeoverPolicy::Safe] {
        let mut table = Timetable::settled(|plan| {
            fenced(plan);
            plan.policy = policy;
        });
        table.inflict(power_loss(ALPHA, FOR_EVER));
        // Dead between 2.8 and 3.0 s; the node that holds nothing leaves the first slot of 1.4 s to the other.
        table.at(4_200).expect(&[]);
        assert_eq!(table.world.shots(), [0, 0, 0]);
        table.at(5_300).expect_running(BETA);
        assert_eq!(table.world.shots(), [1, 1, 0]);
    }
}

#[test]
fn partition_ends_with_one_owner_and_one_shot() {
    let mut table = Timetable::settled(fenced);
    table.inflict(cut(BOTH, 4_500 * MS));
    for ms in (2_000..30_000).step_by(20) {
        table.at(ms).expect_at_most_one();
    }
    table.expect_running(BETA);
    assert_eq!(table.world.shots(), [1, 1, 0]);
}

#[test]
fn partition_that_stays_ends_with_both_latched_and_one_owner() {
    let mut table = Timetable::settled(fenced);
    table.inflict(cut(BOTH, FOR_EVER));
    for ms in (2_000..120_000).step_by(100) {
        table.at(ms).expect_at_most_one();
    }
    // Each board counts its fencings on flash: three of each at most, whatever resets them.
    assert!(table.world.shots()[0] <= 6, "{:?}", table.world.shots());
    assert!(table.has_told("FenceLatched, is_raised: true"), "{}", table.story());
    let shots = table.world.shots();
    table.at(600_000).expect_at_most_one();
    assert_eq!(table.world.shots(), shots);
}

#[test]
fn standby_that_dies_is_not_shot_by_an_owner_of_everything() {
    let mut table = Timetable::settled(fenced);
    table.inflict(power_loss(BETA, FOR_EVER));
    table.at(30_000).expect_running(ALPHA);
    assert_eq!(table.world.shots(), [0, 0, 0]);
}

#[test]
fn partner_that_said_goodbye_is_not_shot() {
    let mut table = Timetable::settled(fenced);
    table.operator(ALPHA, Request::Stop);
    table.at(30_000).expect_running(BETA);
    assert_eq!(table.world.shots(), [0, 0, 0]);
}

#[test]
fn node_that_is_told_to_end_breaks_its_shot_off() {
    let mut table = Timetable::settled(active_active);
    table.inflict(cut(BOTH, FOR_EVER));
    // Dead between 2.8 and 3.0 s; alpha holds something and comes first.
    for ms in (2_800..3_300).step_by(5) {
        table.at(ms);
        if table.world.shots()[0] > 0 {
            break;
        }
    }
    assert_eq!(table.world.shots(), [1, 0, 0]);
    table.operator(ALPHA, Request::Stop);
    assert_eq!(table.world.shots(), [1, 0, 1], "it takes nothing any more");
}

#[test]
fn lonely_node_fences_the_partner_it_never_heard() {
    let mut table = Timetable::new(|plan| {
        fenced(plan);
        plan.power_on = vec![FOR_EVER, 0];
    });
    // 500 boot, 4000 initdead, three slots of 1400
    table.at(8_600).expect(&[]);
    table.at(10_000).expect_running(BETA);
    assert_eq!(table.world.shots(), [1, 1, 0]);
}

#[test]
fn partner_that_is_back_is_never_shot_and_a_running_shot_is_broken_off() {
    // Heard again before the shot.
    let mut table = Timetable::settled(fenced);
    table.inflict(cut(BOTH, 2 * S));
    table.at(20_000).expect_running(ALPHA);
    assert_eq!(table.world.shots(), [0, 0, 0]);
    // While the device hangs; then another silence: no shot before the first one has settled, 3 s.
    let mut table = Timetable::settled(fenced);
    table.inflict(device(BETA, DeviceFault::Hangs, 4 * S));
    table.inflict(cut(BOTH, 2_600 * MS));
    table.at(4_700);
    assert_eq!(table.world.shots(), [1, 0, 1], "{}", table.story());
    table.inflict(cut(BOTH, 2_700 * MS));
    table.at(30_000).expect_running(ALPHA);
    assert_eq!(table.world.shots(), [1, 0, 1], "{}", table.story());
    assert_eq!(table.world.moves(), 0);
}

#[test]
fn next_method_follows_a_failed_one() {
    let mut table = Timetable::settled(|plan| {
        fenced(plan);
        plan.fence = vec![DEVICE, DEVICE];
    });
    table.inflict(Fault::Device { node: BETA, method: Some(0), kind: DeviceFault::Fails, lasts: FOR_EVER });
    table.inflict(power_loss(ALPHA, FOR_EVER));
    // Dead at 3.0 s at the latest, a slot of 2.4 s, two shots of 0.63 s.
    table.at(6_900).expect_running(BETA);
    assert_eq!(table.world.shots(), [2, 1, 0]);
    assert!(table.has_told("method: 1, step: Confirmed"), "{}", table.story());
}

#[test]
fn next_shot_after_a_lost_result_waits_until_it_has_settled() {
    let mut table = Timetable::settled(|plan| {
        fenced(plan);
        plan.fence_settle = 10 * S;
    });
    table.inflict(device(BETA, DeviceFault::Hangs, 6 * S));
    table.inflict(power_loss(ALPHA, FOR_EVER));
    // The shot of 4.4 s is given up at 5.4 s.
    table.at(15_200).expect(&[]);
    assert_eq!(table.world.shots(), [1, 0, 0]);
    table.at(19_500).expect_running(BETA);
    assert_eq!(table.world.shots(), [2, 1, 0]);
}

#[test]
fn fence_that_fails_is_tried_three_times_and_then_calls_for_a_person() {
    let mut table = Timetable::settled(fenced);
    table.inflict(device(BETA, DeviceFault::Fails, FOR_EVER));
    table.inflict(power_loss(ALPHA, FOR_EVER));
    table.at(120_000).expect(&[]);
    assert_eq!(table.world.shots(), [3, 0, 0]);
    assert!(table.has_told("NeedsOperator, is_raised: true") && table.has_told("FenceLatched, is_raised: true"));
    table.operator(BETA, Request::ConfirmFence);
    table.at(120_500).expect_running(BETA);
    assert_eq!(table.world.outcomes(), [(BETA, Outcome::Done)]);
    assert_eq!(table.world.shots(), [3, 0, 0]);
}

#[test]
fn latched_fence_shoots_again_when_an_operator_resumes() {
    let mut table = Timetable::settled(fenced);
    table.inflict(device(BETA, DeviceFault::Fails, 100 * S));
    table.inflict(power_loss(ALPHA, FOR_EVER));
    table.at(120_000).expect(&[]);
    table.operator(BETA, Request::Resume);
    table.at(124_000).expect_running(BETA);
    assert_eq!(table.world.outcomes(), [(BETA, Outcome::Done)]);
}

#[test]
fn device_that_lies_is_noticed_and_not_used_again() {
    let mut table = Timetable::settled(fenced);
    table.inflict(device(BETA, DeviceFault::Lies, FOR_EVER));
    table.inflict(cut(BOTH, 5 * S));
    table.at(6_500).expect(&[ALPHA, BETA]);
    table.at(20_000).expect_running(ALPHA);
    assert!(table.has_told("FenceLied, is_raised: true") && table.has_told("step: Lied"), "{}", table.story());
    // Its next confirmation would be worth as much.
    table.inflict(cut(BOTH, 10 * S));
    table.at(29_000).expect_running(ALPHA);
    assert_eq!(table.world.shots(), [1, 1, 0]);
    table.at(40_000).expect_running(ALPHA);
    table.operator(BETA, Request::Resume);
    table.at(40_100);
    assert!(table.has_told("FenceLied, is_raised: false"));
}

#[test]
fn manual_fence_waits_for_the_operators_word() {
    let mut table = Timetable::settled(|plan| {
        fenced(plan);
        plan.fence = vec![MANUAL];
    });
    table.operator(BETA, Request::ConfirmFence);
    table.inflict(power_loss(ALPHA, FOR_EVER));
    table.at(60_000).expect(&[]);
    assert!(table.has_told("FencePending, is_raised: true") && table.has_told("NeedsOperator, is_raised: true"));
    table.operator(BETA, Request::ConfirmFence);
    table.operator(BETA, Request::ConfirmFence);
    table.at(60_500).expect_running(BETA);
    let outcomes = [Outcome::Refused(Refusal::PartnerAlive), Outcome::Done, Outcome::Nothing];
    assert_eq!(table.world.outcomes(), outcomes.map(|outcome| (BETA, outcome)));
    assert_eq!(table.world.shots(), [0, 0, 0]);
}

#[test]
fn operators_takeover_does_without_a_shot() {
    let mut table = Timetable::settled(fenced);
    table.inflict(device(BETA, DeviceFault::Hangs, FOR_EVER));
    table.inflict(power_loss(ALPHA, FOR_EVER));
    table.at(4_800).operator(BETA, Request::Takeover(Holds::ALL));
    table.at(5_300).expect_running(BETA);
    table.at(60_000).expect_running(BETA);
    assert_eq!(table.world.shots(), [1, 0, 1]);
}

#[test]
fn two_owners_that_lose_each_other_do_not_shoot_at_once() {
    let mut table = Timetable::settled(active_active);
    assert_eq!((table.world.users(0), table.world.users(1)), (vec![ALPHA], vec![BETA]));
    table.inflict(cut(BOTH, 3 * S));
    for ms in (2_000..30_000).step_by(20) {
        table.at(ms);
        assert!(table.world.users(1).len() <= 1 && table.world.users(0).len() <= 1, "{}", table.story());
    }
    assert!(table.world.violations().is_empty(), "{:?}", table.world.violations());
    // The first node of ha.cf shot first, and its board lived on.
    assert_eq!((table.world.users(0), table.world.users(1)), (vec![ALPHA], vec![ALPHA]));
    assert_eq!(table.world.shots(), [1, 1, 0]);
}

#[test]
fn engine_replaced_in_the_middle_of_a_shot_does_not_shoot_again_at_once() {
    let mut table = Timetable::settled(|plan| {
        fenced(plan);
        plan.fence_settle = 8 * S;
    });
    table.inflict(device(BETA, DeviceFault::Hangs, 5 * S));
    table.inflict(power_loss(ALPHA, FOR_EVER));
    table.at(4_600);
    assert_eq!(table.world.shots(), [1, 0, 0]);
    table.inflict(Fault::EngineCrash { node: BETA, respawn_after: 30 * MS });
    table.at(12_500).expect(&[]);
    assert_eq!(table.world.shots(), [1, 0, 0]);
    table.at(17_500).expect_running(BETA);
    assert_eq!(table.world.shots(), [2, 1, 0]);
}

#[test]
fn confirmation_outlives_the_engine() {
    let mut table = Timetable::settled(|plan| {
        fenced(plan);
        plan.groups[0].start = S;
        plan.groups[0].status = S;
    });
    table.at(4_000).expect_running(ALPHA);
    table.inflict(power_loss(ALPHA, FOR_EVER));
    // Shot at 6.4 s at the latest, confirmed 0.63 s later; the start takes up to 2 s.
    table.at(7_100);
    assert_eq!(table.world.shots(), [1, 1, 0]);
    for changed in [GroupSet::EMPTY, GroupSet::first(1)] {
        table.inflict(Fault::EngineCrash { node: BETA, respawn_after: 30 * MS });
        let now = table.world.now() / MS;
        table.at(now + 6_000).expect_running(BETA);
        table.inflict(Fault::Reload { node: BETA, changed });
        table.at(now + 16_000).expect_running(BETA);
    }
    assert_eq!(table.world.shots(), [1, 1, 0]);
}

/// No device: kicks go on for 1 s after what was acknowledged, the watchdog bites 1 s later, 20 ms on top are promised.
fn leased(plan: &mut Plan) {
    plan.fence = vec![FencePlan { kind: FenceKind::WatchdogLease, limit: 0 }];
    plan.lease = Some(LeasePlan { kick_for: S, timeout: S });
    plan.auto_failback = AutoFailback::Off;
}

#[test]
fn owner_of_a_short_lease_is_not_reset_while_its_standby_hears_it() {
    let mut table = Timetable::settled(leased);
    // Unasked the standby acknowledges with every tenth beat only, 2 s.
    table.at(60_000).expect_running(ALPHA);
    assert!(!table.has_told("reset by its own watchdog"));
}

#[test]
fn standby_rests_on_the_dead_owners_lease() {
    let mut table = Timetable::settled(leased);
    table.inflict(power_loss(ALPHA, FOR_EVER));
    // Heard between 1.8 and 2.0 s; 2.02 s, one percent and a keepalive later.
    table.at(4_000).expect(&[]);
    table.at(4_600).expect_running(BETA);
    table.at(60_000).expect_running(BETA);
}

#[test]
fn owner_behind_cut_cables_is_reset_before_its_standby_takes_over() {
    let mut table = Timetable::settled(leased);
    table.inflict(cut(BOTH, 30 * S));
    for ms in (2_000..60_000).step_by(10) {
        table.at(ms).expect_at_most_one();
    }
    table.expect_running(BETA);
    assert!(table.has_told("reset by its own watchdog"));
    assert_eq!(table.world.moves(), 1);
}

#[test]
fn dead_standby_costs_the_owner_a_reset_and_a_goodbye_does_not() {
    let mut table = Timetable::settled(leased);
    table.inflict(power_loss(BETA, FOR_EVER));
    // The price of a lease. After its reset it has no proof about a node that it never heard.
    table.at(30_000).expect(&[]);
    assert!(table.has_told("reset by its own watchdog") && table.has_told("NeedsOperator, is_raised: true"));
    table.operator(ALPHA, Request::ConfirmFence);
    table.at(31_000).expect_running(ALPHA);
    let mut table = Timetable::settled(leased);
    table.operator(BETA, Request::Stop);
    table.at(60_000).expect_running(ALPHA);
    assert!(!table.has_told("reset by its own watchdog"));
}

#[test]
fn board_held_in_reset_by_a_stuck_line_is_taken_from_once_somebody_confirms_it() {
    let mut table = Timetable::settled(|plan| {
        fenced(plan);
        plan.fence = vec![DEVICE, MANUAL];
    });
    table.inflict(device(BETA, DeviceFault::Fails, FOR_EVER));
    table.inflict(power_loss(ALPHA, FOR_EVER));
    table.at(20_000).expect(&[]);
    table.operator(BETA, Request::ConfirmFence);
    table.at(20_500).expect_running(BETA);
}
