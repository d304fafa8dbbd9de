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
