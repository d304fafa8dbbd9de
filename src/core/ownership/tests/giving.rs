//! Beta gives alpha's group home.

use super::*;
use crate::core::message::StandbyWord;

/// Beta, which runs both groups, has given group 0 up, and alpha has beaten since.
fn given() -> Bench {
    let mut bench = Bench::clean();
    bench.live(1000, |bench| bench.tell(holding_all()));
    for word in [StandbyWord::Me, StandbyWord::Done] {
        bench.hear(Body::AskResources { set: Holds::FOREIGN, word, only: None, after_failure: false });
    }
    bench.live(KEEPALIVE - 20, |_| {});
    assert!(!bench.waits_for(HOME, Order::Start), "beta has not said since that it still stands");
    bench
}

fn holding_guest() -> Extension {
    let guest = holding(GroupSet::only(GUEST), [GroupState::Stopped, GroupState::Running]);
    Extension { is_stable: false, ..guest }
}

#[test]
fn giver_that_repeats_it_in_answer_is_believed() {
    let mut bench = given();
    bench.tell(holding_guest());
    assert!(bench.waits_for(HOME, Order::Start));
}

#[test]
fn giver_whose_words_come_in_a_heap_is_asked_once_more() {
    // Alpha's board stood still, and its clock with it: beta may have taken everything back meanwhile.
    let mut bench = given();
    bench.beat();
    bench.beat();
    bench.tell(holding_guest());
    assert!(!bench.waits_for(HOME, Order::Start));
    bench.live(20, |_| {});
    assert!(bench.said().is_asking && !bench.waits_for(HOME, Order::Start));
    bench.tell(holding_guest());
    assert!(bench.waits_for(HOME, Order::Start));
}

#[test]
fn giver_that_has_taken_it_back_behind_a_heap_keeps_it() {
    let mut bench = given();
    bench.beat();
    bench.beat();
    bench.tell(holding_guest());
    bench.live(20, |_| {});
    bench.tell(holding_all());
    bench.live(1000, |bench| bench.tell(holding_all()));
    assert!(!bench.waits_for(HOME, Order::Start));
}

/// How often alpha has agreed to take over.
fn agreed(bench: &Bench) -> usize {
    let is_agreed = |packet: &&Packet| matches!(packet.body, Body::AskResources { word: StandbyWord::Other, .. });
    bench.packets.iter().filter(is_agreed).count()
}

#[test]
fn heartbeat_that_passes_on_a_second_request_is_answered_once() {
    let me = |set| Body::AskResources { set, word: StandbyWord::Me, only: None, after_failure: false };
    let mut bench = Bench::clean();
    bench.is_nullbeat = false;
    bench.beat();
    bench.hear(Body::Resource { holds: Holds::ALL, is_full: true, is_stable: Some(true), info: ResourceInfo::None });
    bench.live(400, Bench::beat);
    bench.hear(me(Holds::ALL));
    bench.hear(me(Holds::LOCAL));
    assert_eq!(agreed(&bench), 1, "it would release twice at once");
    let mut bench = Bench::clean();
    bench.live(1000, |bench| bench.tell(holding_all()));
    bench.hear(me(Holds::ALL));
    bench.hear(me(Holds::LOCAL));
    assert_eq!(agreed(&bench), 2, "a nullbeat asks anew only when it has broken off");
}

#[test]
fn request_that_was_lost_and_comes_after_done_is_old() {
    let mut bench = given();
    // The number that was missing: beta had asked a second time before alpha's answer reached it.
    let last = core::mem::replace(&mut bench.seq, 1000);
    bench.hear(Body::AskResources { set: Holds::FOREIGN, word: StandbyWord::Done, only: None, after_failure: false });
    bench.seq = last;
    let before = agreed(&bench);
    bench.hear(Body::AskResources { set: Holds::FOREIGN, word: StandbyWord::Me, only: None, after_failure: false });
    assert_eq!(agreed(&bench), before);
    bench.seq = 1000;
    bench.live(KEEPALIVE, |bench| bench.tell(holding_guest()));
    assert!(bench.waits_for(HOME, Order::Start), "the hand-over goes on");
}

/// A Heartbeat that holds everything and calls itself stable; this many of its numbers have not been heard.
fn heartbeat_holding_all(missing: u64) -> Bench {
    let mut bench = Bench::clean();
    bench.is_nullbeat = false;
    bench.beat();
    bench.seq += missing;
    bench.hear(announcement(Holds::ALL, ResourceInfo::None));
    bench.live(400, Bench::beat);
    bench
}

fn announcement(holds: Holds, info: ResourceInfo) -> Body<'static> {
    Body::Resource { holds, is_full: true, is_stable: (info == ResourceInfo::None).then_some(true), info }
}

fn foreign(word: StandbyWord) -> Body<'static> {
    Body::AskResources { set: Holds::FOREIGN, word, only: None, after_failure: false }
}

#[test]
fn heartbeat_that_answers_while_it_releases_has_broken_nothing_off() {
    let mut bench = heartbeat_holding_all(0);
    bench.hear(foreign(StandbyWord::Me));
    bench.hear(announcement(Holds::LOCAL, ResourceInfo::Standby));
    // To what alpha had said before it agreed. Its stop still runs.
    bench.hear(announcement(Holds::LOCAL, ResourceInfo::None));
    bench.live(30_000, Bench::beat);
    assert!(!bench.waits_for(HOME, Order::Start), "its stop still runs");
    bench.hear(foreign(StandbyWord::Done));
    assert!(bench.waits_for(HOME, Order::Start));
}

#[test]
fn heartbeat_that_claims_again_what_it_was_to_give_has_broken_it_off() {
    let mut bench = heartbeat_holding_all(0);
    bench.hear(foreign(StandbyWord::Me));
    bench.hear(announcement(Holds::LOCAL, ResourceInfo::Standby));
    bench.hear(announcement(Holds::ALL, ResourceInfo::None));
    bench.hear(foreign(StandbyWord::Me));
    assert_eq!(agreed(&bench), 2, "nothing is under way");
}

#[test]
fn word_of_a_hand_over_that_ended_long_ago_gives_nothing() {
    let mut bench = heartbeat_holding_all(40);
    let last = bench.seq;
    for (number, word) in [(10, StandbyWord::Me), (12, StandbyWord::Done)] {
        bench.seq = number - 1;
        bench.hear(foreign(word));
    }
    bench.seq = last;
    bench.live(1000, Bench::beat);
    assert!(!bench.waits_for(HOME, Order::Start), "that hand-over is over");
    bench.hear(foreign(StandbyWord::Done));
    assert!(bench.waits_for(HOME, Order::Start), "said after alpha had agreed");
}
