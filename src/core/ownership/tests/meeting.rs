//! Two holders meet: exactly one of them lets go.

use super::*;
use crate::core::Alarm;
use crate::core::settings::SplitBrainLoser;

/// Alpha owned everything, slept for longer than its dead time, and finds that beta has taken over.
fn overslept() -> Bench {
    let mut bench = Bench::owner(settings());
    bench.now += 3 * DEADTIME;
    bench.give(Input::Tick);
    bench.live(KEEPALIVE, |bench| bench.tell(holding_all()));
    bench.live(KEEPALIVE, |bench| bench.tell(holding_all()));
    assert!(bench.waits_for(HOME, Order::Stop) && bench.waits_for(GUEST, Order::Stop));
    bench
}

#[test]
fn yielding_is_told_until_the_claims_are_gone() {
    let mut bench = overslept();
    bench.live(1000, |bench| bench.tell(holding_all()));
    let said = bench.said();
    assert_eq!(said.claims, BOTH, "their stops have not ended");
    assert!(said.is_yielding, "else beta takes alpha for a second holder that stays");
    bench.end_all(Order::Stop, JobOutcome::Done);
    bench.live(1000, |bench| bench.tell(holding_all()));
    let said = bench.said();
    assert_eq!((said.claims, said.is_yielding), (GroupSet::EMPTY, false));
}

#[test]
fn group_that_the_other_holder_stops_already_is_kept() {
    let mut bench = Bench::owner(settings());
    let leaving = holding(BOTH, [GroupState::Stopping; 2]);
    bench.live(5000, |bench| bench.tell(leaving));
    assert!(!bench.waits_for(HOME, Order::Stop) && !bench.waits_for(GUEST, Order::Stop));
    bench.live(1000, |bench| bench.tell(holding_nothing()));
    assert!(bench.runs(HOME) && bench.runs(GUEST));
    // Its stop fails: then it is a holder like any other, and group 1 is at home there.
    bench.live(1000, |bench| bench.tell(holding(BOTH, [GroupState::StopFailed; 2])));
    assert!(!bench.waits_for(HOME, Order::Stop) && bench.waits_for(GUEST, Order::Stop));
}

#[test]
fn alarm_of_the_loser_ends_when_it_has_let_go() {
    let alarm = Alarm::SplitBrain(GUEST);
    let mut bench = Bench::owner(settings());
    bench.live(1000, |bench| bench.tell(holding(GroupSet::only(GUEST), [GroupState::Stopped, GroupState::Running])));
    assert!(bench.waits_for(GUEST, Order::Stop), "it is at home there");
    assert!(bench.node.ownership().alarms().contains(alarm));
    bench.end_all(Order::Stop, JobOutcome::Done);
    bench.live(1000, |bench| bench.tell(holding(GroupSet::only(GUEST), [GroupState::Stopped, GroupState::Running])));
    assert!(!bench.node.ownership().alarms().contains(alarm));
    assert!(bench.runs(HOME));
}

#[test]
fn named_loser_lets_go_of_what_is_at_home_there_as_well() {
    for (loser, lets_go) in [(NodeId(0), true), (NodeId(1), false)] {
        let mut bench = Bench::owner(Settings { split_brain_loser: SplitBrainLoser::Node(loser), ..settings() });
        bench.live(1000, |bench| bench.tell(holding_all()));
        for group in [HOME, GUEST] {
            assert_eq!(bench.waits_for(group, Order::Stop), lets_go, "{group:?}, loser {loser:?}");
        }
    }
}

/// Alpha owns everything and hears that beta claims it too, and does not hear alpha.
fn beside_a_deaf_one() -> Bench {
    let mut bench = Bench::owner(settings());
    bench.tell(Extension { hears_partner: false, ..holding_all() });
    bench
}

fn lets_go(bench: &Bench) -> bool {
    bench.waits_for(HOME, Order::Stop) && bench.waits_for(GUEST, Order::Stop)
}

#[test]
fn deaf_holder_that_goes_on_is_left_what_it_claims() {
    let mut bench = beside_a_deaf_one();
    bench.live(3 * KEEPALIVE - 20, Bench::beat);
    assert!(!lets_go(&bench));
    bench.live(KEEPALIVE, Bench::beat);
    assert!(lets_go(&bench));
}

#[test]
fn deaf_holder_that_is_heard_no_more_takes_nothing() {
    let mut bench = beside_a_deaf_one();
    // What came with those words is all: dead after 1000 ms.
    bench.live(DEADTIME - 20, |_| {});
    assert_eq!(bench.node.comms().peer(NodeId(1)).status, NodeStatus::Active);
    bench.live(5 * DEADTIME, |_| {});
    assert!(!bench.waits_for(HOME, Order::Stop) && !bench.waits_for(GUEST, Order::Stop));
    assert!(bench.runs(HOME) && bench.runs(GUEST));
}

#[test]
fn words_of_a_deaf_holder_that_lay_in_a_queue_are_not_its_last() {
    // While alpha slept: 900 ms are less than its dead time.
    let mut bench = beside_a_deaf_one();
    bench.now += 900;
    bench.beat();
    assert!(!lets_go(&bench));
    bench.live(2 * KEEPALIVE, Bench::beat);
    assert!(lets_go(&bench));
    // While its clock stood still: all come at once.
    let mut bench = beside_a_deaf_one();
    bench.live(3 * KEEPALIVE, |_| {});
    for _ in 0..4 {
        bench.arrive(bench.status_of(None));
    }
    bench.give(Input::Tick);
    assert!(!lets_go(&bench));
    bench.live(KEEPALIVE, Bench::beat);
    assert!(lets_go(&bench));
}

#[test]
fn deaf_holder_whose_newest_words_are_missing_is_waited_for() {
    let mut bench = beside_a_deaf_one();
    bench.seq += 1;
    bench.live(4 * KEEPALIVE, Bench::beat);
    assert!(!lets_go(&bench), "the one that is missing may say that it lets go");
    bench.live(DEADTIME, Bench::beat);
    assert!(lets_go(&bench));
}
