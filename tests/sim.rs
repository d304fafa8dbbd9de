//! Scenarios of two nodes in virtual time, written like timetables, and the seeds that once broke a rule.

mod timetable;

use nullbeat::core::ids::{GroupSet, LinkSet};
use nullbeat::core::message::{GroupState, Holds, NodeStatus};
use nullbeat::core::ownership::transitions::{Event, Stage, Step};
use nullbeat::core::settings::{AutoFailback, TakeoverPolicy};
use nullbeat::core::{Outcome, Refusal, Request};
use nullbeat::sim::coverage::Coverage;
use nullbeat::sim::fault::{Fault, ScriptFault};
use nullbeat::sim::plan::Medium;
use nullbeat::sim::{Plan, Trace, run_many, run_plan, run_seed};
use timetable::{ALPHA, BETA, BOTH, FOR_EVER, MS, S, Timetable, UDP, cut, power_loss};

#[test]
fn start_of_both_runs_the_group_at_home_without_waiting_for_initdead() {
    let mut table = Timetable::new(|_| {});
    table.at(499).expect(&[]);
    table.at(1_500).expect_running(ALPHA);
    table.at(20_000).expect_running(ALPHA);
    assert_eq!(table.world.moves(), 0);
}

#[test]
fn start_of_one_takes_everything_after_initdead() {
    let mut table = Timetable::new(|plan| plan.power_on = vec![FOR_EVER, 0]);
    // 500 boot + 4000 initdead
    table.at(4_400).expect(&[]);
    table.at(5_000).expect_running(BETA);
}

#[test]
fn stop_of_the_owner_hands_over_without_waiting_for_deadtime() {
    let mut table = Timetable::settled(|_| {});
    table.operator(ALPHA, Request::Stop);
    // 50 stop, 60 status and start, some milliseconds on the way
    table.at(2_400).expect_running(BETA);
    assert_eq!(table.world.outcomes(), [(ALPHA, Outcome::Done)]);
}

#[test]
fn power_loss_of_the_owner_moves_the_group_after_deadtime() {
    let mut table = Timetable::settled(|_| {});
    table.inflict(power_loss(ALPHA, FOR_EVER));
    // the last beat may have been 200 ms ago: dead between 2800 and 3000
    table.at(2_790).expect(&[]);
    table.at(3_100).expect_running(BETA);
    assert_eq!(table.world.status(BETA, ALPHA), Some(NodeStatus::Dead));
}

#[test]
fn return_with_auto_failback_brings_the_group_home() {
    let mut table = Timetable::settled(|_| {});
    table.inflict(power_loss(ALPHA, 2 * S));
    table.at(4_000).expect_running(BETA);
    // power 4000, boot 4500, then a hand-over
    table.at(6_000).expect_running(ALPHA);
    assert_eq!(table.world.moves(), 2);
}

#[test]
fn return_without_auto_failback_leaves_the_group() {
    let mut table = Timetable::settled(|plan| plan.auto_failback = AutoFailback::Off);
    table.inflict(power_loss(ALPHA, 2 * S));
    table.at(4_000).expect_running(BETA);
    table.at(30_000).expect_running(BETA);
    assert_eq!(table.world.moves(), 1);
}

#[test]
fn engine_that_was_replaced_knows_what_goes_home() {
    let mut table = Timetable::settled(|plan| plan.failback_delay = 5 * S);
    table.inflict(power_loss(ALPHA, 2 * S));
    table.at(4_000).expect_running(BETA);
    // alpha is back and stable at 5 s or so
    table.at(7_000).inflict(Fault::EngineCrash { node: BETA, respawn_after: 30 * MS });
    table.at(9_000).expect_running(BETA);
    table.at(15_000).expect_running(ALPHA);
}

#[test]
fn standby_and_takeover_move_the_group_and_answer() {
    let mut table = Timetable::settled(|_| {});
    table.operator(ALPHA, Request::Standby(Holds::ALL));
    table.at(3_000).expect_running(BETA);
    table.operator(ALPHA, Request::Takeover(Holds::ALL));
    table.at(4_000).expect_running(ALPHA);
    assert_eq!(table.world.outcomes(), [(ALPHA, Outcome::Done), (ALPHA, Outcome::Done)]);
}

#[test]
fn one_link_cut_moves_nothing() {
    for link in [1, 2] {
        let mut table = Timetable::settled(|_| {});
        table.inflict(cut(LinkSet(link), 10 * S));
        table.at(5_000).expect_running(ALPHA);
        table.at(20_000).expect_running(ALPHA);
        assert_eq!(table.world.moves(), 0);
    }
}

#[test]
fn both_links_cut_and_healed_available_ends_with_one_owner() {
    let mut table = Timetable::settled(|_| {});
    table.inflict(cut(BOTH, 5 * S));
    table.at(3_500).expect(&[ALPHA, BETA]);
    // healed at 7000: the loser, who is not at home, lets go at once
    table.at(8_000).expect_running(ALPHA);
    table.at(30_000).expect_running(ALPHA);
}

/// The loser has just said that it does not hear the winner, hears it, and lets go; that it does is not heard any more.
#[test]
fn links_healed_and_cut_at_once_leave_the_group_with_the_winner() {
    // What is said with every tenth beat comes within 2 s; 30 ms there, 30 ms back, and less than 30 ms until it is told.
    for heals_at in (7_000..9_000).step_by(10) {
        let mut table = Timetable::settled(|plan| plan.links = vec![Medium::Udp { min: 30 * MS, max: 30 * MS }]);
        table.inflict(cut(UDP, (heals_at - 2_000) * MS));
        table.at(3_500).expect(&[ALPHA, BETA]);
        table.at(heals_at + 80).inflict(cut(UDP, 5 * S));
        for ms in (heals_at + 80..heals_at + 5_000).step_by(20) {
            table.at(ms);
            assert!(table.world.runs(0, ALPHA), "healed at {heals_at} ms, {}", table.story());
        }
        table.at(heals_at + 8_000).expect_running(ALPHA);
    }
}

#[test]
fn both_links_cut_and_healed_safe_never_has_two_owners() {
    let mut table = Timetable::settled(|plan| plan.policy = TakeoverPolicy::Safe);
    table.inflict(cut(BOTH, 5 * S));
    for ms in (2_000..12_000).step_by(100) {
        table.at(ms).expect_running(ALPHA);
    }
}

#[test]
fn safe_takes_over_on_an_operators_word() {
    let mut table = Timetable::settled(|plan| plan.policy = TakeoverPolicy::Safe);
    table.inflict(power_loss(ALPHA, FOR_EVER));
    table.at(6_000).expect(&[]);
    table.operator(BETA, Request::Takeover(Holds::ALL));
    table.at(6_500).expect_running(BETA);
    assert_eq!(table.world.outcomes(), [(BETA, Outcome::Done)]);
}

#[test]
fn reload_starts_a_changed_group_again_where_it_ran() {
    let mut table = Timetable::settled(|_| {});
    table.inflict(Fault::Reload { node: ALPHA, changed: GroupSet::first(1) });
    // 50 stop, 30 for the new engine, 60 status and start
    table.at(2_200).expect_running(ALPHA);
    table.at(10_000).expect_running(ALPHA);
    assert_eq!(table.world.moves(), 0);
}

fn upstream_lost(node: usize, lasts: u64) -> Fault {
    Fault::UpstreamLost { node, lasts }
}

#[test]
fn upstream_lost_moves_the_group_and_its_return_brings_it_home() {
    let mut table = Timetable::settled(|plan| plan.has_upstream = true);
    table.inflict(upstream_lost(ALPHA, 10 * S));
    // Dead 1 s after the last answer, 0.4 s hold-off, 50 ms stop, 60 ms status and start.
    table.at(2_900).expect_running(ALPHA);
    table.at(4_000).expect_running(BETA);
    table.at(12_000).expect_running(BETA);
    table.at(13_500).expect_running(ALPHA);
    assert_eq!(table.world.moves(), 2);
}

#[test]
fn upstream_lost_by_both_moves_nothing() {
    let mut table = Timetable::settled(|plan| plan.has_upstream = true);
    table.inflict(upstream_lost(ALPHA, 10 * S));
    table.at(2_150).inflict(upstream_lost(BETA, 10 * S));
    table.at(30_000).expect_running(ALPHA);
    assert_eq!(table.world.moves(), 0);
}

#[test]
fn upstream_lost_by_the_node_that_takes_over_alone_moves_nothing_more() {
    let mut table = Timetable::settled(|plan| plan.has_upstream = true);
    table.inflict(upstream_lost(BETA, FOR_EVER)).at(4_000).inflict(power_loss(ALPHA, 6 * S));
    table.at(6_000).expect_running(BETA);
    table.at(14_000).expect_running(ALPHA);
}

#[test]
fn reload_without_a_changed_group_touches_nothing() {
    let mut table = Timetable::settled(|_| {});
    table.inflict(Fault::Reload { node: ALPHA, changed: GroupSet::EMPTY });
    for ms in (2_000..4_000).step_by(20) {
        table.at(ms).expect_running(ALPHA);
    }
}

#[test]
fn daemon_started_again_at_once_knows_that_its_partner_was_dead() {
    let mut table = Timetable::settled(|_| {});
    table.inflict(power_loss(BETA, FOR_EVER));
    table.at(4_000).expect_running(ALPHA);
    table.inflict(Fault::KillAll { node: ALPHA, back_after: 60 * MS, has_stop_action: true });
    table.at(4_100).expect(&[]);
    // two keepalives, not the four seconds of initdead
    table.at(4_700).expect_running(ALPHA);
}

#[test]
fn start_failure_is_offered_to_the_partner() {
    let mut table = Timetable::new(|_| {});
    table.inflict(Fault::Scripts { node: ALPHA, group: None, kind: ScriptFault::StartFails, lasts: FOR_EVER });
    table.at(3_000).expect_running(BETA);
    table.at(20_000).expect_running(BETA);
}

#[test]
fn stop_failure_keeps_the_group_where_it_may_be_in_use() {
    let mut table = Timetable::settled(|_| {});
    table.inflict(Fault::Scripts { node: ALPHA, group: None, kind: ScriptFault::StopFails, lasts: FOR_EVER });
    table.operator(ALPHA, Request::Standby(Holds::ALL));
    for ms in (2_000..20_000).step_by(500) {
        table.at(ms).expect(&[ALPHA]);
    }
    assert!(matches!(table.world.outcomes()[..], [(ALPHA, Outcome::Failed(_))]));
}

#[test]
fn frozen_owner_lets_go_when_it_thaws() {
    for is_clock_running in [false, true] {
        let mut table = Timetable::settled(|_| {});
        table.inflict(Fault::Freeze { node: ALPHA, lasts: 3 * S, is_clock_running, keeps_arrivals: false });
        table.at(3_500).expect(&[ALPHA, BETA]);
        // thaws at 5000
        table.at(6_500);
        assert_eq!(table.world.users(0).len(), 1, "{}", table.story());
        assert!(table.world.violations().is_empty(), "{:?}", table.world.violations());
    }
}

#[test]
fn owner_that_overslept_lets_go_and_not_who_took_over() {
    let mut table = Timetable::settled(|plan| plan.auto_failback = AutoFailback::Off);
    table.inflict(Fault::Freeze { node: ALPHA, lasts: 3 * S, is_clock_running: true, keeps_arrivals: false });
    table.at(4_900).expect(&[ALPHA, BETA]);
    for ms in (4_900..15_000).step_by(20) {
        table.at(ms);
        assert!(table.world.runs(0, BETA), "{}", table.story());
    }
    table.expect_running(BETA);
}

#[test]
fn taker_whose_clock_stood_still_does_not_believe_an_old_done() {
    let mut table = Timetable::settled(|_| {});
    table.operator(ALPHA, Request::Standby(Holds::ALL));
    // The stop takes 19 ms: `done` and what follows it wait in front of a board that does not know that it sleeps.
    table.at(2_010).expect(&[ALPHA]);
    let freeze = Fault::Freeze { node: BETA, lasts: 3 * S, is_clock_running: false, keeps_arrivals: true };
    table.inflict(freeze);
    for ms in (3_500..10_000).step_by(20) {
        table.at(ms).expect_running(ALPHA);
    }
}

/// Both take the other for a Heartbeat, and both have `auto_failback legacy`.
fn legacy(plan: &mut Plan) {
    plan.auto_failback = AutoFailback::Legacy;
    plan.is_stripped = true;
}

#[test]
fn legacy_nodes_start_their_own_groups_when_the_other_has_let_go() {
    let mut table = Timetable::new(legacy);
    // 500 boot, two seconds to see that nothing nicer is spoken, a request and its answer
    table.at(2_000).expect(&[]);
    table.at(4_000).expect_running(ALPHA);
    table.at(30_000).expect_running(ALPHA);
    assert_eq!(table.world.moves(), 0);
}

#[test]
fn legacy_node_that_returns_asks_for_its_group_and_gets_it() {
    for fault in [power_loss(ALPHA, 3 * S), Fault::operator(ALPHA, Request::Stop)] {
        let mut table = Timetable::new(legacy);
        table.at(4_000).expect_running(ALPHA);
        table.inflict(fault);
        table.at(5_500);
        assert_eq!(table.world.users(0), [BETA], "{}", table.story());
        for ms in (5_500..15_000).step_by(100) {
            table.at(ms);
            assert!(table.world.violations().is_empty(), "{:?}\n{}", table.world.violations(), table.story());
        }
        table.expect_running(ALPHA);
        assert_eq!(table.world.moves(), 2);
    }
}

#[test]
fn pairs_of_state_and_event_are_counted() {
    let totals = run_many(1, 40, 2, false);
    assert_eq!(totals.broken, 0, "{totals}");
    let pairs = Coverage::of_process().expect("tests are built with debug assertions");
    assert!(pairs.wrong.is_empty() && pairs.visited > 80, "{pairs}");
    let all = Stage::ALL.len() * Event::ALL.len() + GroupState::ALL.len() * Step::ALL.len();
    assert_eq!(pairs.visited + pairs.impossible + pairs.missing.len() + pairs.rare.len(), all);
}

#[test]
fn node_that_has_lost_its_generation_goes_on_above_what_its_partner_knows() {
    for by in [1, 20, 1000] {
        let mut table = Timetable::settled(|_| {});
        table.inflict(Fault::GenerationLost { node: ALPHA, off_for: 3 * S, by });
        table.at(4_500).expect_running(BETA);
        // Back at 5500 as an earlier run of itself, which its partner does not hear.
        for ms in (4_500..12_000).step_by(50) {
            table.at(ms).expect_at_most_one();
        }
        table.expect_running(ALPHA);
        assert_eq!(table.world.status(BETA, ALPHA), Some(NodeStatus::Active));
    }
}

#[test]
fn legacy_node_that_returns_waits_for_failback_delay() {
    let mut table = Timetable::new(|plan| {
        legacy(plan);
        plan.failback_delay = 6 * S;
    });
    table.at(4_000).expect_running(ALPHA);
    table.inflict(power_loss(ALPHA, 3 * S));
    table.at(5_500).expect_running(BETA);
    // back at 7500 after its boot; without the delay its group would be home 2 s later
    table.at(13_400).expect_running(BETA);
    table.at(16_000).expect_running(ALPHA);
    assert_eq!(table.world.moves(), 2);
}

#[test]
fn legacy_node_that_returns_gets_nothing_after_too_many_moves_until_somebody_resumes() {
    let mut table = Timetable::new(|plan| {
        legacy(plan);
        plan.moves_per_hour = 1;
    });
    table.at(4_000).expect_running(ALPHA);
    table.inflict(power_loss(ALPHA, 3 * S));
    table.at(5_500).expect_running(BETA);
    table.at(30_000).expect_running(BETA);
    assert!(table.story().contains("MovesLatched"), "{}", table.story());
    table.operator(BETA, Request::Resume);
    table.at(33_000).expect_running(ALPHA);
    assert_eq!(table.world.moves(), 2);
}

#[test]
fn legacy_node_refuses_to_hand_over() {
    let mut table = Timetable::new(legacy);
    table.at(4_000).expect_running(ALPHA);
    table.operator(ALPHA, Request::Standby(Holds::ALL));
    table.at(20_000).expect_running(ALPHA);
    assert_eq!(table.world.outcomes(), [(ALPHA, Outcome::Refused(Refusal::Legacy))]);
}

#[test]
fn preferred_node_whose_clock_stood_still_does_not_believe_an_old_word() {
    // Frozen at each moment around its start, it wakes up to words of a partner that has taken over meanwhile.
    for ms in (500..700).step_by(5) {
        let mut table = Timetable::new(|_| {});
        table.at(ms).expect_at_most_one();
        let freeze = Fault::Freeze { node: ALPHA, lasts: 6 * S, is_clock_running: false, keeps_arrivals: true };
        table.inflict(freeze);
        table.at(12_000).expect_at_most_one();
    }
}

#[test]
fn late_node_does_not_judge() {
    let mut table = Timetable::settled(|_| {});
    // Whatever came meanwhile is lost: the partner seems silent for twice its dead time.
    let freeze = Fault::Freeze { node: BETA, lasts: 2 * S, is_clock_running: true, keeps_arrivals: false };
    table.inflict(freeze);
    table.at(10_000).expect_running(ALPHA);
    assert_eq!(table.world.moves(), 0);
    assert_eq!(table.world.status(BETA, ALPHA), Some(NodeStatus::Active));
}

#[test]
fn one_way_loss_ends_with_one_owner() {
    for from in [ALPHA, BETA] {
        let mut table = Timetable::settled(|_| {});
        table.inflict(Fault::Cut { links: BOTH, from: Some(from), lasts: FOR_EVER });
        table.at(10_000);
        assert_eq!(table.world.users(0).len(), 1, "{}", table.story());
        assert!(table.world.violations().is_empty(), "{:?}", table.world.violations());
    }
    let mut table = Timetable::settled(|_| {});
    table.inflict(Fault::Cut { links: UDP, from: Some(ALPHA), lasts: FOR_EVER });
    table.at(10_000).expect_running(ALPHA);
}

#[test]
fn engine_respawn_keeps_the_role() {
    let mut table = Timetable::settled(|_| {});
    table.inflict(Fault::EngineCrash { node: ALPHA, respawn_after: 30 * MS });
    for ms in (2_000..10_000).step_by(100) {
        table.at(ms).expect_running(ALPHA);
    }
    assert_eq!(table.world.status(BETA, ALPHA), Some(NodeStatus::Active));
}

#[test]
fn engine_that_cannot_be_respawned_in_time_leaves_nothing_behind() {
    let mut table = Timetable::settled(|_| {});
    table.inflict(Fault::EngineCrash { node: ALPHA, respawn_after: 5 * S });
    table.at(2_500).expect(&[]);
    table.at(3_500).expect_running(BETA);
    table.at(15_000).expect_running(ALPHA);
}

#[test]
fn daemon_killed_and_started_again_in_time_adopts_its_services() {
    let mut table = Timetable::settled(|_| {});
    table.inflict(Fault::KillAll { node: ALPHA, back_after: 300 * MS, has_stop_action: false });
    for ms in (2_000..10_000).step_by(100) {
        table.at(ms).expect_running(ALPHA);
    }
}

/// These broke a rule before boards could fence each other, and are played as they were.
fn clean(seed: u64) {
    play_out(Plan::generate_plain(seed));
}

/// To the end, however soon all is in order: who knows when the rule was broken.
fn play_out(plan: Plan) {
    let report = run_plan(Plan { is_played_out: true, ..plan }, Trace::Off);
    assert!(report.violations.is_empty(), "seed {}: {}", report.seed, report.violations[0]);
}

#[test]
fn seed_done_of_a_hand_over_sent_again_after_the_giver_took_everything_back() {
    clean(462);
    clean(4759);
}

#[test]
fn seed_giver_whose_stop_failed_tells_the_taker() {
    clean(402);
    clean(914);
}

#[test]
fn seed_start_that_could_not_be_undone_is_started_again_later() {
    clean(423);
}

#[test]
fn seed_respawned_engine_does_not_start_what_was_being_stopped() {
    clean(1987);
    clean(5289);
    clean(5388);
}

#[test]
fn seed_hand_over_broken_off_leaves_alone_what_the_partner_uses() {
    clean(4582);
    clean(5148);
}

#[test]
fn seed_slow_line_recovers_from_a_full_queue() {
    clean(285);
    clean(2355);
}

#[test]
fn seed_left_over_group_of_a_side_is_taken() {
    clean(5265);
    clean(7849);
}

#[test]
fn seed_giver_whose_stop_failed_and_whose_words_are_a_heartbeats_tells_the_taker() {
    clean(11956);
    clean(19547);
}

/// Its partner had been misled by a stuck line, and shows that it holds the service.
#[test]
fn seed_board_restarts_nothing_while_the_partners_line_says_taken() {
    play_out(Plan::generate(86300));
}

/// A stuck line had let the partner take the service in the pause after a start that had failed, or this board.
#[test]
fn seed_failed_start_waits_while_the_line_of_a_silent_partner_says_taken() {
    all_clean(&[830_997, 837_286]);
}

/// Communication was not up: no ping node answered.
#[test]
fn seed_left_over_group_is_stopped_for_its_holder_before_anything_is_decided() {
    all_clean(&[846_612]);
}

#[test]
fn seed_board_whose_clock_stood_still_asks_before_it_believes_a_done() {
    clean(16200);
    clean(16777);
    clean(20704);
}

#[test]
fn seed_status_overtaken_by_the_first_message_of_a_run_is_a_sign_of_life() {
    clean(10345);
}

#[test]
fn seed_failed_start_waits_while_the_partner_lets_go() {
    clean(22254);
}

#[test]
fn seed_late_node_does_not_act_on_an_old_verdict() {
    clean(32110);
    clean(38305);
    clean(39364);
}

#[test]
fn seed_respawned_engine_does_not_announce_what_it_has_not_looked_at() {
    clean(39630);
}

#[test]
fn seed_left_over_group_is_stopped_for_a_partner_that_is_deaf() {
    clean(27756);
}

#[test]
fn seed_failback_is_no_word_for_the_partner_being_off() {
    clean(41743);
}

#[test]
fn seed_takeover_of_which_the_partner_took_back_a_part_is_answered() {
    clean(32965);
}

#[test]
fn seed_yielding_is_told_until_the_claims_are_gone() {
    clean(511_020);
}

#[test]
fn seed_left_over_group_and_a_starting_partner_do_not_wait_for_each_other() {
    clean(515_988);
    clean(522_921);
    clean(568_021);
}

#[test]
fn seed_old_announcement_in_the_queue_of_a_slow_line_proves_nothing_to_a_new_daemon() {
    clean(507_664);
    clean(508_872);
}

#[test]
fn seed_old_goodbye_in_the_queue_of_a_slow_line_proves_nothing_to_a_new_daemon() {
    clean(519_529);
    clean(586_154);
}

#[test]
fn seed_resume_after_the_clock_stood_still_starts_nothing_unasked() {
    clean(527_392);
}

#[test]
fn seed_status_overtaken_after_a_death_brings_its_sender_back() {
    clean(582_570);
}

/// As [`clean`], played as they are today.
fn all_clean(seeds: &[u64]) {
    for seed in seeds {
        play_out(Plan::generate(*seed));
    }
}

/// It had started, and taken over, while the other board slept; what it had said at its start was heard first.
#[test]
fn seed_old_words_of_a_nullbeat_do_not_end_yielding() {
    all_clean(&[758_649, 758_898, 791_272]);
}

#[test]
fn seed_start_overtaken_by_the_first_message_that_is_heard_is_told_again() {
    all_clean(&[756_217, 759_300]);
}

#[test]
fn seed_request_sent_again_behind_its_own_done_breaks_nothing_off() {
    all_clean(&[789_760]);
}

/// Both had a start that hung under way.
#[test]
fn seed_second_engine_that_dies_leaves_the_claims_of_the_first() {
    all_clean(&[826_924]);
}

/// They showed what the oracle had asked too much of.
#[test]
fn seed_nobody_is_judged_by_what_he_cannot_know() {
    all_clean(&[719_910, 736_394, 764_349, 792_177, 797_995, 827_318, 828_966, 837_089]);
}

#[test]
fn seed_node_that_leaves_breaks_its_shot_off() {
    all_clean(&[3_015_324]);
}

#[test]
fn seed_starts_that_fail_on_both_do_not_go_to_and_fro() {
    all_clean(&[3_019_858]);
}

/// It had come back with a lower one; the other board's engine had been replaced in a hand-over and knew it from there only.
#[test]
fn seed_node_that_has_lost_its_generation_is_told_what_an_earlier_engine_has_heard() {
    all_clean(&[3_009_971, 3_018_013]);
}

/// The same: it was told only after it had been called dead, although it was heard all the while.
#[test]
fn seed_node_that_has_lost_its_generation_is_told_before_it_is_called_dead() {
    all_clean(&[77_008_792]);
}

/// It came back while nobody was there to hear it, and took everything; then its links were down.
#[test]
fn seed_goodbye_of_the_partner_does_not_outlive_a_silence_of_this_node() {
    all_clean(&[77_006_998]);
}

/// The simulated daemon kept it; the real one had always dropped it.
#[test]
fn seed_proof_of_the_partners_being_off_does_not_outlive_a_pause_of_the_daemon() {
    all_clean(&[3_008_200]);
}

/// A start that failed once more after a resume: the alarm stood all the while, and the oracle had forgotten it.
#[test]
fn seed_start_that_fails_again_after_a_resume_waits_for_somebody_again() {
    all_clean(&[3_004_090]);
}

#[test]
fn same_seed_same_run() {
    let runs = [(); 2].map(|()| {
        let report = run_seed(11, Trace::Off);
        (report.moves, report.sent, report.virtual_time)
    });
    assert_eq!(runs[0], runs[1]);
}

#[test]
fn seed_heartbeat_that_answers_an_older_message_while_it_releases_gives_nothing_yet() {
    all_clean(&[88_035_122]);
}

#[test]
fn seed_words_of_an_old_hand_over_that_a_new_engine_asks_for_give_nothing() {
    all_clean(&[88_042_626]);
}
