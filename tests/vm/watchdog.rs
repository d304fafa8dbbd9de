//! A hung owner is reset by its hardware watchdog, and only then does the other board take over.

use std::time::Instant;

use super::bench::{Bench, NAMES, Plan};

/// Stops every process of the daemon at once, as nothing in software can do better.
const HANG: &str =
    "for p in /proc/[0-9]*; do [ \"$(readlink $p/exe)\" = /usr/sbin/nullbeat ] && kill -STOP ${p#/proc/}; done; true";

/// The two outside facts: the watchdog fired on `owner`, and the first script of `other` began after it.
#[track_caller]
fn assert_reset_before_takeover(bench: &Bench, owner: usize, events: usize, since: Instant) {
    let other = 1 - owner;
    let fired = bench.boards[owner].await_event(events, "WATCHDOG");
    bench.await_owner(other, "web");
    let records = bench.observer.records();
    let is_start = |node: &str, what: &str| node == NAMES[other] && what == "start-begin";
    let start = records.iter().find(|record| record.at > since && is_start(&record.node, &record.what));
    assert!(start.expect("it runs there").at > fired.at, "the takeover began before the reset");
    bench.assert_exclusive();
}

#[test]
fn hung_owner_is_reset_by_its_watchdog_before_the_other_takes_over() {
    let plan = Plan::usual().ha_cf("deadtime 5\nwatchdog /dev/watchdog").kernel("panic=0");
    let bench = Bench::start(plan);
    let [alpha, beta] = &bench.boards[..] else { panic!("two boards") };

    // Every process stopped: nobody kicks any more.
    let (events, since) = (alpha.event_count(), Instant::now());
    alpha.run(HANG);
    assert_reset_before_takeover(&bench, 0, events, since);
    alpha.await_boot(2);
    alpha.await_log("i6300ESB timer");
    alpha.await_settled();
    beta.await_settled();
    bench.await_owner(1, "web");

    // A crashed kernel that stays where it is (panic=0).
    let (events, since) = (beta.event_count(), Instant::now());
    beta.type_line("echo c >/proc/sysrq-trigger");
    assert_reset_before_takeover(&bench, 1, events, since);
    beta.await_boot(2);
    beta.await_settled();
    bench.await_owner(0, "web");

    // An orderly stop disarms: nothing resets the board afterwards.
    let events = beta.event_count();
    beta.run("nullbeat stop");
    bench.assert_stays(0, "web", std::time::Duration::from_secs(6));
    assert_eq!(beta.event_count(), events, "{:?}", beta.boots());
    bench.assert_exclusive();
}
