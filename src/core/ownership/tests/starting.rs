//! What a node that has just started believes, and what it tells.

use super::*;
use crate::core::message::StandbyWord;

#[test]
fn announcement_of_a_nullbeat_that_has_not_told_per_group_proves_nothing() {
    let mut bench = Bench::clean();
    // From the queue of a slow line: beta said it before it took over and before this start.
    bench.beat();
    bench.hear_of_nothing();
    bench.live(600, |bench| bench.beat());
    assert!(!bench.waits_for(HOME, Order::Start));
    bench.tell(holding_all());
    bench.live(20_000, |bench| bench.tell(holding_all()));
    assert!(!bench.waits_for(HOME, Order::Start));
}

#[test]
fn announcement_of_a_heartbeat_is_all_there_is() {
    let mut bench = Bench::clean();
    bench.is_nullbeat = false;
    bench.beat();
    bench.hear_of_nothing();
    assert!(bench.waits_for(HOME, Order::Start));
    assert!(!bench.waits_for(GUEST, Order::Start));
}

#[test]
fn goodbye_said_before_the_partner_heard_of_this_start_is_none() {
    let mut bench = Bench::clean();
    // Beta may have started again, and taken our own last goodbye for true.
    bench.status(Some(Extension { hears_partner: false, ..holding_nothing() }));
    bench.hear(Body::ShutDone);
    assert!(!bench.waits_for(HOME, Order::Start));
    bench.live(DEADTIME - KEEPALIVE, |_| {});
    assert!(!bench.waits_for(HOME, Order::Start));
    bench.live(2 * KEEPALIVE, |_| {});
    assert!(bench.waits_for(HOME, Order::Start), "it is dead, for all we know");
}

#[test]
fn goodbye_of_somebody_never_heard_is_none() {
    for is_nullbeat in [false, true] {
        let mut bench = Bench::clean();
        bench.is_nullbeat = is_nullbeat;
        bench.hear(Body::ShutDone);
        bench.beat();
        assert!(!bench.waits_for(HOME, Order::Start) && !bench.waits_for(GUEST, Order::Start));
        assert!(!bench.node.ownership().partner_has_left());
    }
}

#[test]
fn goodbye_of_a_later_run_of_a_partner_that_had_heard_us_hands_over() {
    let mut bench = Bench::clean();
    bench.live(1000, |bench| bench.tell(holding_all()));
    // It starts again, and is told to end before it hears anything.
    bench.generation = 4;
    bench.status(Some(Extension { hears_partner: false, ..holding_nothing() }));
    bench.hear(Body::ShutDone);
    assert!(bench.waits_for(HOME, Order::Start) && bench.waits_for(GUEST, Order::Start));
}

#[test]
fn goodbye_of_a_partner_that_hears_us_hands_over_at_once() {
    let mut bench = Bench::clean();
    bench.tell(holding_all());
    bench.hear(Body::ShutDone);
    assert!(bench.waits_for(HOME, Order::Start) && bench.waits_for(GUEST, Order::Start));
}

#[test]
fn start_that_a_heartbeat_does_not_answer_is_told_again() {
    let said = |bench: &Bench| bench.packets.iter().filter(|packet| packet.body == Body::Starting).count();
    let mut bench = Bench::clean();
    bench.is_nullbeat = false;
    bench.beat();
    assert_eq!(said(&bench), 1);
    // It was overtaken by a later message of ours, with which beta began to listen.
    bench.live(9_900, Bench::beat);
    assert_eq!(said(&bench), 1, "its scripts may take a while");
    bench.live(200, Bench::beat);
    assert_eq!(said(&bench), 2);
    bench.live(10_000, Bench::beat);
    assert_eq!(said(&bench), 3);
    bench.hear_of_nothing();
    assert!(bench.waits_for(HOME, Order::Start));
    bench.live(20_000, Bench::beat);
    assert_eq!(said(&bench), 3, "it has answered");
}

/// Two daemons that were killed come back, each with something left over, each not knowing the other for a nullbeat.
#[test]
fn left_over_group_is_told_to_a_heartbeat_that_waits_for_it() {
    let mut carried = Carried { claims: BOTH, ..Carried::nothing() };
    carried.states[0] = GroupState::Running;
    let mut bench = Bench::new(settings(), Some(carried));
    bench.is_nullbeat = false;
    bench.beat();
    bench.hear(Body::Starting);
    assert_eq!(bench.announced(), None, "nobody has looked yet");
    bench.end_all(Order::Probe, JobOutcome::Failed);
    bench.live(100, |_| {});
    assert_eq!(bench.announced(), Some(Holds::ALL), "both may be in use");
    assert!(!bench.waits_for(HOME, Order::Start), "its holdings are not known");
    bench.hear_of_nothing();
    assert!(bench.waits_for(HOME, Order::Start) && bench.waits_for(GUEST, Order::Start));
}

/// An engine that dies before it knows what runs here leaves the claims of the one before to the next.
#[test]
fn claims_that_nobody_has_looked_into_are_carried_on() {
    let mut carried = Carried { claims: BOTH, is_certain: true, ..Carried::nothing() };
    carried.states[0] = GroupState::Running;
    let mut bench = Bench::new(settings(), Some(carried));
    let claims = |bench: &Bench| (bench.node.ownership().claims(), bench.node.ownership().claims_to_carry());
    assert_eq!(claims(&bench), (GroupSet::only(HOME), BOTH), "the other one's script is still under way");
    bench.end_all(Order::Probe, JobOutcome::NoneRunning);
    assert_eq!(claims(&bench), (GroupSet::only(HOME), GroupSet::only(HOME)));
}

/// The last of alpha's words in a hand-over.
fn last_word(bench: &Bench) -> Option<(Holds, StandbyWord)> {
    bench.packets.iter().rev().find_map(|packet| match packet.body {
        Body::AskResources { set, word, .. } => Some((set, word)),
        _ => None,
    })
}

/// Beta, a Heartbeat, released for a standby, and alpha started anew before it had taken over.
fn beside_heartbeat_without_its_group() -> Bench {
    let mut bench = Bench::clean();
    bench.is_nullbeat = false;
    bench.beat();
    bench.hear_of_nothing();
    bench.end_all(Order::Start, JobOutcome::Done);
    bench.live(8000, Bench::beat);
    assert!(bench.runs(HOME) && last_word(&bench).is_none());
    bench
}

#[test]
fn heartbeat_that_rests_without_its_group_is_given_it() {
    let mut bench = beside_heartbeat_without_its_group();
    // It may be about to start it: its time begins anew.
    let busy = Body::Resource { holds: Holds::NONE, is_full: true, is_stable: Some(false), info: ResourceInfo::None };
    bench.hear(busy);
    bench.live(400, Bench::beat);
    bench.hear_of_nothing();
    bench.live(8000, Bench::beat);
    assert_eq!(last_word(&bench), None);
    bench.live(4000, Bench::beat);
    assert_eq!(last_word(&bench), Some((Holds::FOREIGN, StandbyWord::Me)));
    let only = None;
    bench.hear(Body::AskResources { set: Holds::FOREIGN, word: StandbyWord::Other, only, after_failure: false });
    assert_eq!(last_word(&bench), Some((Holds::FOREIGN, StandbyWord::Done)));
    assert!(bench.runs(HOME) && !bench.waits_for(GUEST, Order::Start));
}

/// It calls itself stable to a node that starts even while its scripts run.
#[test]
fn heartbeat_that_passes_over_every_offer_leaves_its_group_to_us_after_ten_minutes() {
    let mut bench = beside_heartbeat_without_its_group();
    bench.live(580_000, Bench::beat);
    assert!(last_word(&bench).is_some() && !bench.waits_for(GUEST, Order::Start));
    bench.live(20_000, Bench::beat);
    assert!(bench.waits_for(GUEST, Order::Start));
}

#[test]
fn heartbeat_that_holds_its_group_keeps_it() {
    let mut bench = Bench::clean();
    bench.is_nullbeat = false;
    bench.beat();
    let local = Body::Resource { holds: Holds::LOCAL, is_full: true, is_stable: Some(true), info: ResourceInfo::None };
    bench.hear(local);
    bench.live(60_000, Bench::beat);
    assert!(bench.waits_for(HOME, Order::Start) && !bench.waits_for(GUEST, Order::Start));
}

#[test]
fn resume_after_the_clock_stood_still_asks_before_it_starts_what_had_failed() {
    // It does not start on beta either, and so is not offered.
    let beta = holding(GroupSet::EMPTY, [GroupState::StartFailed, GroupState::Stopped]);
    let mut bench = Bench::clean();
    bench.live(1000, |bench| bench.tell(beta));
    bench.end_all(Order::Start, JobOutcome::Failed);
    bench.live(400, |bench| bench.tell(beta));
    assert!(!bench.waits_for(HOME, Order::Start));
    bench.now += 20;
    bench.give(Input::Request { id: RequestId(1), request: Request::Resume });
    bench.give(Input::Tick);
    assert!(!bench.waits_for(HOME, Order::Start), "nothing tells that the board has not slept");
    assert!(bench.said().is_asking);
    bench.tell(beta);
    assert!(bench.waits_for(HOME, Order::Start));
}
