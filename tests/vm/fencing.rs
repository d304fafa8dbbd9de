//! GPIO fencing over real pins: a board pulls the other one's reset line, and its sense line proves it.

use std::time::{Duration, Instant};

use super::bench::{Bench, Plan};
use super::observer::Record;
use super::watchdog::HANG;
use super::wires::Fault;

/// The usual wires as lines of ha.cf; their resistors are the harness's.
const LINES: &str = "\
gpio fence-reset gpiochip0 2
gpio fence-power gpiochip0 4
gpio peer-power gpiochip0 7 active-high external-pull-up";

/// How long the power is held off, and how late the harness may see it.
const PULSE: Duration = Duration::from_secs(3);
const SLACK: Duration = Duration::from_secs(2);

#[test]
fn silent_owner_is_reset_or_switched_off_over_its_line_seen_off_and_comes_back_as_standby() {
    let plan = Plan::usual().ha_cf(LINES).ha_cf("fence gpio reset\nfence gpio power pulse 3\nfence_settle 5");
    let bench = Bench::start(plan);
    let [alpha, beta] = &bench.boards[..] else { panic!("two boards") };

    // All cables cut between two healthy boards: the one that has nothing pulls the other one's reset line.
    bench.await_owner(0, "web");
    let (events, since) = (alpha.event_count(), Instant::now());
    bench.cut_serial();
    bench.cut_ethernet();
    let pulled = bench.wires.await_change(since, "1.fence-reset", true);
    let sensed = bench.wires.await_change(pulled, "1.peer-power", false);
    alpha.await_event(events, "RESET");
    bench.await_owner(1, "web");
    let start = first_start(&bench, "beta", pulled);
    assert!(pulled <= sensed && sensed < start, "beta started before it saw alpha off");
    bench.wires.await_level("1.fence-reset", false);
    bench.heal_serial();
    bench.heal_ethernet();
    alpha.await_boot(2);
    alpha.await_settled();
    beta.await_settled();
    bench.await_owner(1, "web");
    bench.assert_exclusive();

    // Beta hangs, no watchdog looks after it, and the wire of the reset is cut: alpha switches its power off, and sees that
    // it is off.
    let (boots, since) = (beta.boots(), Instant::now());
    bench.set_fault("0.fence-reset", Some(Fault::Open));
    beta.type_line(HANG);
    let opened = bench.wires.await_change(since, "0.fence-power", true);
    let sensed = bench.wires.await_change(opened, "0.peer-power", false);
    bench.await_owner(0, "web");
    let start = first_start(&bench, "alpha", since);
    assert!(opened <= sensed && sensed < start, "alpha started before it saw beta off");
    alpha.await_log("Host beta not reset!");
    alpha.await_log("node beta now reset.");
    // Held for its three seconds, then the relay falls back.
    let closed = bench.wires.await_change(opened, "0.fence-power", false);
    assert!(closed - opened >= PULSE - SLACK, "off for {:?} only", closed - opened);
    beta.await_boot(boots + 1);
    beta.await_settled();
    alpha.await_settled();
    bench.await_owner(0, "web");
    bench.assert_exclusive();
}

/// Guardian and engine, and not the logger, which outlives them.
const KILL: &str = "pids=; for p in /proc/[0-9]*; do [ \"$(readlink $p/exe)\" = /usr/sbin/nullbeat ] && \
    [ \"$(cat $p/comm)\" != nullbeat:logger ] && pids=\"$pids ${p#/proc/}\"; done; kill -KILL $pids; true";

#[test]
#[ignore = "40 s: the turn of the board that shoots is as long as its pulse"]
fn line_is_let_go_when_the_guardian_of_a_board_that_holds_nothing_is_killed_during_a_pulse() {
    // Its turn comes after one that is as long: longer than a slow board takes to be killed, and not more.
    let pulse = Duration::from_secs(20);
    let bench = Bench::start(Plan::usual().ha_cf(LINES).ha_cf("fence gpio power pulse 20 limit 21"));
    let [alpha, beta] = &bench.boards[..] else { panic!("two boards") };
    bench.await_owner(0, "web");
    // Its sense line confirms nothing, so beta takes nothing.
    bench.set_fault("1.peer-power", Some(Fault::StuckHigh));
    let since = Instant::now();
    alpha.type_line(HANG);
    let opened = bench.wires.await_change(since, "1.fence-power", true);
    beta.run(KILL);
    let closed = bench.wires.await_change(opened, "1.fence-power", false);
    assert!(closed - opened < pulse, "held for {:?}: the pulse was over by itself", closed - opened);
    alpha.await_boot(2);
    bench.assert_exclusive();
}

/// When the board began to start a group for the first time after `since`.
#[track_caller]
fn first_start(bench: &Bench, node: &str, since: Instant) -> Instant {
    let is_it = |record: &&Record| record.at > since && record.node == node && record.what == "start-begin";
    bench.observer.records().iter().find(is_it).expect("it runs there").at
}
