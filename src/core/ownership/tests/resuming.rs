//! An engine that replaces another one in the middle of a hand-over.

use super::*;
use crate::core::message::StandbyWord;
use crate::core::settings::{CarriedHandover, CarriedPartner, HandoverStep};

/// Beta's last message that the engine before had heard.
const HEARD: u64 = 40;

fn carried(step: HandoverStep, set: Holds) -> Carried {
    let open = CarriedHandover { step, set, after_failure: false, generation: Generation(3), heard: Seq(HEARD) };
    Carried {
        states: [GroupState::Stopped; GROUPS_MAX],
        is_certain: true,
        handover: Some(open),
        partner: Some(CarriedPartner::default()),
        ..Carried::nothing()
    }
}

/// Beside beta, a Heartbeat, of which nothing was missed and which goes on beating.
fn beside_heartbeat(carried: Carried) -> Bench {
    let mut bench = Bench::new(settings(), Some(carried));
    (bench.is_nullbeat, bench.seq) = (false, HEARD);
    bench.beat();
    bench
}

fn holds(holds: Holds) -> Body<'static> {
    // To a node that starts a Heartbeat calls itself stable, whatever its scripts do.
    Body::Resource { holds, is_full: true, is_stable: Some(true), info: ResourceInfo::None }
}

fn says(set: Holds, word: StandbyWord) -> Body<'static> {
    Body::AskResources { set, word, only: None, after_failure: false }
}

fn words(bench: &Bench) -> Vec<(Holds, StandbyWord)> {
    let word = |packet: &Packet| match packet.body {
        Body::AskResources { set, word, .. } => Some((set, word)),
        _ => None,
    };
    bench.packets.iter().filter_map(word).collect()
}

fn is_open(bench: &Bench) -> bool {
    bench.node.open_handover().is_some()
}

#[test]
fn group_given_to_a_heartbeat_is_not_started_while_its_starts_run() {
    let endings = [holds(Holds::ALL), says(Holds::LOCAL, StandbyWord::Done)];
    for ending in endings {
        let mut bench = beside_heartbeat(carried(HandoverStep::Released, Holds::LOCAL));
        bench.hear(holds(Holds::LOCAL));
        bench.live(60_000, Bench::beat);
        assert!(!bench.waits_for(HOME, Order::Start) && is_open(&bench));
        bench.hear(ending);
        assert!(!is_open(&bench));
        bench.hear(holds(Holds::ALL));
        bench.live(2000, Bench::beat);
        assert!(!bench.waits_for(HOME, Order::Start));
    }
}

#[test]
fn group_that_a_heartbeat_still_stops_is_started_after_its_word() {
    let mut bench = beside_heartbeat(carried(HandoverStep::Agreed, Holds::FOREIGN));
    bench.hear(holds(Holds::LOCAL));
    bench.live(60_000, Bench::beat);
    assert!(!bench.waits_for(HOME, Order::Start));
    bench.hear(says(Holds::FOREIGN, StandbyWord::Done));
    assert!(bench.waits_for(HOME, Order::Start));
    assert_eq!(words(&bench), []);
    bench.end_all(Order::Start, JobOutcome::Done);
    assert_eq!(words(&bench), [(Holds::FOREIGN, StandbyWord::Done)]);
    assert!(bench.runs(HOME) && !is_open(&bench));
}

#[test]
fn word_that_came_while_no_engine_ran_is_asked_for() {
    let mut bench = Bench::new(settings(), Some(carried(HandoverStep::Agreed, Holds::FOREIGN)));
    // Beta's `done` was 41.
    (bench.is_nullbeat, bench.seq) = (false, HEARD + 1);
    bench.beat();
    bench.live(1000, Bench::beat);
    let is_asked = |packet: &Packet| matches!(packet.body, Body::RexmitRequest { first: Seq(41), last: Seq(41) });
    assert!(bench.packets.iter().any(is_asked));
    bench.hear(holds(Holds::LOCAL));
    bench.live(1000, Bench::beat);
    assert!(!bench.waits_for(HOME, Order::Start));
    let newest = std::mem::replace(&mut bench.seq, HEARD);
    bench.hear(says(Holds::FOREIGN, StandbyWord::Done));
    bench.seq = newest;
    assert!(bench.waits_for(HOME, Order::Start));
}

#[test]
fn word_that_comes_before_anything_may_be_decided_counts() {
    let mut bench = beside_heartbeat(carried(HandoverStep::Agreed, Holds::FOREIGN));
    bench.hear(says(Holds::FOREIGN, StandbyWord::Done));
    assert!(!bench.waits_for(HOME, Order::Start), "what beta holds is not known");
    assert_eq!(bench.node.open_handover().map(|open| open.step), Some(HandoverStep::Given));
    bench.hear(holds(Holds::LOCAL));
    assert!(bench.waits_for(HOME, Order::Start));
}

#[test]
fn heartbeat_that_never_heard_the_agreement_keeps_what_it_holds() {
    let mut bench = beside_heartbeat(carried(HandoverStep::Agreed, Holds::FOREIGN));
    bench.hear(holds(Holds::ALL));
    bench.live(2000, Bench::beat);
    assert!(!is_open(&bench) && !bench.waits_for(HOME, Order::Start));
    bench.hear(says(Holds::FOREIGN, StandbyWord::Me));
    bench.hear(says(Holds::FOREIGN, StandbyWord::Done));
    assert_eq!(words(&bench), [(Holds::FOREIGN, StandbyWord::Other)], "asked anew, it is agreed upon anew");
    assert!(bench.waits_for(HOME, Order::Start));
}

#[test]
fn starts_of_an_engine_before_are_ended_and_told() {
    let mut left = carried(HandoverStep::Acquiring, Holds::FOREIGN);
    (left.claims, left.states[0]) = (GroupSet::only(HOME), GroupState::Unknown);
    let mut bench = beside_heartbeat(left);
    bench.end_all(Order::Probe, JobOutcome::SomeRunning);
    bench.hear(holds(Holds::LOCAL));
    assert!(bench.waits_for(HOME, Order::Start));
    assert_eq!(words(&bench), []);
    bench.end_all(Order::Start, JobOutcome::Done);
    assert_eq!(words(&bench), [(Holds::FOREIGN, StandbyWord::Done)]);
    assert!(bench.runs(HOME) && !is_open(&bench));
}

#[test]
fn nothing_is_started_by_an_old_word_of_a_heartbeat_that_may_have_taken_over() {
    for step in [HandoverStep::Given, HandoverStep::Acquiring] {
        let mut left = carried(step, Holds::FOREIGN);
        left.handover = left.handover.map(CarriedHandover::after_silence);
        let mut bench = beside_heartbeat(left);
        // What it announces while it takes over, and at the end of it.
        bench.hear(holds(Holds::LOCAL));
        bench.live(60_000, Bench::beat);
        assert!(!bench.waits_for(HOME, Order::Start));
        bench.hear(holds(Holds::ALL));
        assert!(!is_open(&bench) && !bench.waits_for(HOME, Order::Start));
    }
}

#[test]
fn stops_of_an_engine_before_are_ended_and_told() {
    let mut left = carried(HandoverStep::Releasing, Holds::LOCAL);
    (left.claims, left.states[0]) = (GroupSet::only(HOME), GroupState::Unknown);
    let mut bench = beside_heartbeat(left);
    bench.end_all(Order::Probe, JobOutcome::SomeRunning);
    bench.hear(holds(Holds::LOCAL));
    assert!(bench.waits_for(HOME, Order::Stop) && !bench.waits_for(HOME, Order::Start));
    bench.end_all(Order::Stop, JobOutcome::Done);
    bench.live(2000, Bench::beat);
    assert_eq!(words(&bench), [(Holds::LOCAL, StandbyWord::Done)]);
    assert!(!bench.waits_for(HOME, Order::Start));
    bench.hear(says(Holds::LOCAL, StandbyWord::Done));
    assert!(!is_open(&bench));
}

#[test]
fn group_that_was_to_be_released_and_runs_is_released() {
    let mut left = carried(HandoverStep::Asked, Holds::LOCAL);
    (left.claims, left.states[0]) = (GroupSet::only(HOME), GroupState::Running);
    let mut bench = beside_heartbeat(left);
    bench.hear(says(Holds::LOCAL, StandbyWord::Other));
    bench.hear(holds(Holds::LOCAL));
    assert!(bench.waits_for(HOME, Order::Stop));
}

#[test]
fn another_run_of_the_partner_knows_of_no_hand_over() {
    let mut bench = Bench::new(settings(), Some(carried(HandoverStep::Released, Holds::LOCAL)));
    (bench.is_nullbeat, bench.generation) = (false, 4);
    bench.beat();
    bench.hear(holds(Holds::NONE));
    assert!(bench.waits_for(HOME, Order::Start));
}

#[test]
fn dead_partner_has_no_hand_over() {
    let mut bench = Bench::new(settings(), Some(carried(HandoverStep::Released, Holds::LOCAL)));
    bench.live(DEADTIME - 100, |_| {});
    assert!(!bench.waits_for(HOME, Order::Start));
    bench.live(400, |_| {});
    assert!(bench.waits_for(HOME, Order::Start) && !is_open(&bench));
}

#[test]
fn nullbeat_that_has_heard_of_the_new_start_tells_what_it_holds() {
    let mut bench = Bench::new(settings(), Some(carried(HandoverStep::Released, Holds::LOCAL)));
    bench.seq = HEARD;
    bench.live(1000, |bench| {
        let other_run = Extension { echo_generation: Generation(6), ..holding_nothing() };
        bench.status(Some(other_run));
    });
    assert!(!bench.waits_for(HOME, Order::Start) && is_open(&bench));
    bench.live(1000, |bench| bench.tell(holding_nothing()));
    assert!(bench.waits_for(HOME, Order::Start) && !is_open(&bench));
}

#[test]
fn sleeper_yields_over_engines() {
    for is_yielding in [false, true] {
        let mut left = Carried { handover: None, is_yielding, ..carried(HandoverStep::Asked, Holds::LOCAL) };
        (left.claims, left.states[0]) = (GroupSet::only(HOME), GroupState::Running);
        let mut bench = Bench::new(settings(), Some(left));
        bench.live(1000, |bench| {
            let mut theirs = holding_all();
            theirs.is_stable = false;
            bench.tell(theirs);
        });
        assert_eq!(bench.waits_for(HOME, Order::Stop), is_yielding, "else the preferred node keeps it");
    }
}
