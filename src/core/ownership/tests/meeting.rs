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
