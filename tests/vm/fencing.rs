//! GPIO fencing over real pins: a board pulls the other one's reset line, and its sense line proves it.

use std::time::Instant;

use super::bench::{Bench, Plan};
use super::observer::Record;
use super::watchdog::HANG;

/// The usual wires as lines of ha.cf; their resistors are the harness's.
const LINES: &str = "\
gpio fence-reset gpiochip0 2
gpio peer-power gpiochip0 7 active-high external-pull-up";

#[test]
fn silent_owner_is_reset_over_its_line_seen_off_and_comes_back_as_standby() {
    let plan = Plan::usual().ha_cf(LINES).ha_cf("fence gpio reset\nfence_settle 5");
    let bench = Bench::start(plan);
    let [alpha, beta] = &bench.boards[..] else { panic!("two boards") };

    // Alpha hangs, and no watchdog looks after it.
    let events = alpha.event_count();
    alpha.run(HANG);
    let pulled = bench.wires.await_level("1.fence-reset", true);
    let sensed = bench.wires.await_level("1.peer-power", false);
    alpha.await_event(events, "RESET");
    bench.await_owner(1, "web");
    let records = bench.observer.records();
    let start =
        records.iter().find(|record| record.node == "beta" && record.what == "start-begin").expect("it runs there");
    assert!(pulled <= sensed && sensed < start.at, "beta started before it saw alpha off");
    bench.wires.await_level("1.fence-reset", false);
    alpha.await_boot(2);
    alpha.await_settled();
    beta.await_settled();
    bench.await_owner(1, "web");
    bench.assert_exclusive();

    // All cables cut between two healthy boards: the one that has nothing makes sure of the other one.
    let (events, since) = (beta.event_count(), Instant::now());
    bench.cut_serial();
    bench.cut_ethernet();
    let pulled = bench.wires.await_level("0.fence-reset", true);
    let sensed = bench.wires.await_level("0.peer-power", false);
    beta.await_event(events, "RESET");
    bench.await_owner(0, "web");
    let records = bench.observer.records();
    let is_start = |record: &&Record| record.at > since && record.node == "alpha" && record.what == "start-begin";
    let start = records.iter().find(is_start).expect("it runs there");
    assert!(pulled <= sensed && sensed < start.at, "alpha started before it saw beta off");
    bench.heal_serial();
    bench.heal_ethernet();
    beta.await_boot(2);
    beta.await_settled();
    alpha.await_settled();
    bench.await_owner(0, "web");
    bench.assert_exclusive();
}
