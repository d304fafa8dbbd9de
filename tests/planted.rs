//! Bugs switched on one after another: the simulator finds each of them.
#![cfg(feature = "planted")]

use nullbeat::core::planted::{Bug, plant};
use nullbeat::sim::run_many;

/// Within so many seeds each bug must show itself: what `tests/run` plays by default.
const SEEDS: u64 = 10_000;

#[test]
fn each_planted_bug_is_found() {
    // A panic of the core counts as found; its backtrace would only hide the table.
    std::panic::set_hook(Box::new(|_| {}));
    let mut missed = Vec::new();
    for bug in Bug::ALL {
        plant(Some(bug));
        let totals = run_many(0, SEEDS, 2, true);
        match totals.examples.first() {
            Some((seed, violation)) => println!("{bug:?}: seed {seed}: {violation}"),
            None => missed.push(bug),
        }
    }
    plant(None);
    println!("{} of {} bugs found", Bug::ALL.len() - missed.len(), Bug::ALL.len());
    assert_eq!(missed, [], "not found in {SEEDS} seeds");
}
