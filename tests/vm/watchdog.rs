//! A hung owner is reset by its hardware watchdog, and only then does the other board take over.

use std::time::Duration;

use super::bench::{Bench, NAMES, Plan};
use super::board::Board;

/// Stops every process of the daemon at once, as nothing in software can do better. To be typed: a slow board may lose its
/// power before the line has come to its end.
pub(crate) const HANG: &str =
    "for p in /proc/[0-9]*; do [ \"$(readlink $p/exe)\" = /usr/sbin/nullbeat ] && kill -STOP ${p#/proc/}; done; true";

/// Engine and guardian alone: the third process of the daemon goes on.
const HANG_TWO: &str = "kill -STOP $(nullbeat status --json | sed -n 's/.*\"engine_pid\": \\([0-9]*\\).*/\\1/p') \
                        $(cat /run/nullbeat/pid)";

/// The owner is reset, as this event tells that was not among the first `count`, and only then the other board begins to
/// start its group. Its boot is held up until then: one that boots within the dead time of its last beat keeps its group.
#[track_caller]
pub(crate) fn assert_reset_first(bench: &Bench, owner: usize, count: usize, event: &str) {
    let reset = bench.boards[owner].await_event(count, event).at;
    bench.freeze(owner);
    bench.await_owner(1 - owner, "web");
    bench.thaw(owner);
    let is_start = |node: &str, what: &str| node == NAMES[1 - owner] && what == "start-begin";
    let records = bench.observer.records();
    let begun = records.iter().rev().find(|it| is_start(&it.node, &it.what)).expect("the other one has started it");
    assert!(begun.at > reset, "it began {:?} before the reset", reset.duration_since(begun.at));
    bench.assert_exclusive();
}

/// What the device told at the start stands in the history on the disk.
#[track_caller]
pub(crate) fn assert_reset_is_in_history(board: &Board, identity: &str) {
    let history = board.run("nullbeat history");
    let is_it = |line: &str| ["reset cause", identity, "watchdog"].iter().all(|word| line.contains(word));
    assert!(history.lines().any(is_it), "{history}");
}

#[test]
fn hung_owner_is_reset_by_its_watchdog_before_the_other_takes_over() {
    // The third process leaves them to the watchdog, whose timeout of 7 s is more than half the dead time.
    let plan = Plan::usual().ha_cf("deadtime 12\nwatchdog /dev/watchdog\nwatchdog_timeout 7").kernel("panic=0");
    let bench = Bench::start(plan);
    let [alpha, beta] = &bench.boards[..] else { panic!("two boards") };
    bench.await_owner(0, "web");

    // Its list of system calls, on this processor.
    alpha.await_log("The engine is confined: ");
    // Engine and guardian stand still: nobody kicks any more, and nobody stops the group.
    let events = alpha.event_count();
    alpha.type_line(HANG_TWO);
    assert_reset_first(&bench, 0, events, "WATCHDOG");
    alpha.await_boot(2);
    alpha.await_log("This board was reset by its watchdog (i6300ESB timer)");
    alpha.await_settled();
    let status = alpha.run("nullbeat status --json");
    assert!(status.contains("\"reset_cause\": \"watchdog\""), "{status}");
    assert_reset_is_in_history(alpha, "i6300ESB timer");
    // Another daemon in the same boot has nothing to add.
    alpha.run("nullbeat stop; (nullbeat run --foreground </dev/null >/dev/report 2>&1 &)");
    alpha.run("until nullbeat status >/dev/null 2>&1; do sleep 0.1; done");
    alpha.await_settled();
    assert_eq!(alpha.run("nullbeat history").matches("reset cause").count(), 1);
    beta.await_settled();
    bench.await_owner(1, "web");

    // A crashed kernel that stays where it is (panic=0).
    let events = beta.event_count();
    beta.type_line("echo c >/proc/sysrq-trigger");
    assert_reset_first(&bench, 1, events, "WATCHDOG");
    beta.await_boot(2);
    beta.await_settled();
    bench.await_owner(0, "web");

    // An orderly stop disarms: nothing resets the board afterwards.
    let events = beta.event_count();
    beta.run("nullbeat stop");
    bench.assert_stays(0, "web", Duration::from_secs(8));
    assert_eq!(beta.event_count(), events, "{:?}", beta.boots());
    bench.assert_exclusive();
}

/// The reset comes well before the dead time is over, also on an emulated board that stood still for a while.
fn watched() -> Plan {
    Plan::usual().ha_cf("deadtime 10\nwatchdog /dev/watchdog\nwatchdog_timeout 5")
}

/// No fence device: the owner that nobody acknowledges stops kicking after 2 s, and the other one rests on that.
#[test]
fn owner_behind_cut_cables_ends_its_watchdog_lease_before_the_other_takes_over() {
    let bench = Bench::start(watched().ha_cf("fence watchdog-lease 2"));
    let [alpha, beta] = &bench.boards[..] else { panic!("two boards") };
    bench.await_owner(0, "web");
    let events = alpha.event_count();
    bench.cut_serial();
    bench.cut_ethernet();
    assert_reset_first(&bench, 0, events, "WATCHDOG");
    bench.heal_serial();
    bench.heal_ethernet();
    alpha.await_boot(2);
    alpha.await_settled();
    beta.await_settled();
    bench.await_owner(1, "web");
    bench.assert_exclusive();
}

#[test]
fn guardian_that_is_gone_and_not_replaced_is_a_reset() {
    let bench = Bench::start(watched());
    bench.await_owner(0, "web");
    let count = bench.boards[0].event_count();
    bench.boards[0].run("kill -9 $(cat /run/nullbeat/pid)");
    bench.boards[0].await_log("No more kicks for the watchdog: the guardian is gone or hangs.");
    assert_reset_first(&bench, 0, count, "WATCHDOG");
}

/// Two watchdogs; one timeout is longer than what fits, so that the beats announce 0.2 + 4 + 1 s and a little.
#[test]
#[ignore = "a minute: twice the longest timeout after each of four changes"]
fn watchdogs_run_on_over_new_engines_and_stop_at_the_orderly_end_only() {
    let lines = "deadtime 3\nwatchdog /dev/watchdog0\nwatchdog /dev/watchdog1\nwatchdog_timeout 4";
    let bench = Bench::start(Plan::usual().module("softdog").ha_cf(lines));
    let owner = &bench.boards[0];
    bench.await_owner(0, "web");
    bench.boards[1].run("nullbeat status --json | grep -q '\"deadtime_ms\": 5300'");
    owner.run("touch /run/same-boot");
    let engine = "nullbeat status --json | sed -n 's/.*\"engine_pid\": \\([0-9]*\\).*/\\1/p'";
    for change in [format!("kill -9 $({engine})"), "nullbeat reload".to_owned(), "nullbeat reload --binary".to_owned()]
    {
        let before = owner.run(engine);
        owner.run(&change);
        let is_new = format!(
            "until now=$({engine}) && [ -n \"$now\" ] && [ \"$now\" != {} ]; do sleep 0.1; done",
            before.trim()
        );
        owner.run(&is_new);
        // Twice the timeout.
        bench.assert_stays(0, "web", Duration::from_secs(8));
        let status = owner.run("nullbeat status --json");
        assert_eq!(status.matches("\"withheld\": null").count(), 2, "after `{change}`: {status}");
    }
    owner.run("nullbeat stop");
    bench.await_owner(1, "web");
    bench.assert_stays(1, "web", Duration::from_secs(8));
    owner.run("test -e /run/same-boot");
    assert_eq!(owner.boots(), 1, "it was stopped in good order");
    bench.assert_exclusive();
}

#[test]
fn watchdog_with_nowayout_is_named_and_resets_after_the_end() {
    let start = "rmmod i6300esb; insmod /lib/modules/i6300esb.ko nowayout=1; exec nullbeat run --foreground";
    let bench = Bench::start(watched().start(start));
    bench.boards[0].await_log("Watchdog /dev/watchdog has `nowayout`: it cannot be stopped");
    assert!(bench.boards[0].run("nullbeat check --node alpha").contains("i6300ESB timer with `nowayout`"));
    let count = bench.boards[0].event_count();
    bench.boards[0].type_line("nullbeat stop");
    bench.boards[0].await_log("cannot be stopped (`nowayout`): it resets this board within 5 s");
    bench.boards[0].await_event(count, "WATCHDOG");
    bench.await_owner(1, "web");
    bench.assert_exclusive();
}

#[test]
fn watchdog_that_somebody_has_is_named_and_only_unfenced_starts_without_it() {
    // Its watchdog is not to end the test.
    let start = "rmmod i6300esb; insmod /lib/modules/i6300esb.ko heartbeat=600; sleep 1000 >/dev/watchdog & \
                 until [ -e /dev/watchdog ] && ls -l /proc/$!/fd | grep -q watchdog; do sleep 0.1; done; \
                 exec nullbeat run --foreground";
    let bench = Bench::power_on(watched().start(start));
    let board = &bench.boards[0];
    board.await_boot(1);
    board.await_log("watchdog /dev/watchdog: Device or resource busy (os error 16): process");
    let (code, said) = board.shell("nullbeat run 2>&1");
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("(sleep) has it; a watchdog serves one program"), "{said}");
    board.run("(nullbeat run --foreground --unfenced </dev/null >/dev/report 2>&1 &)");
    board.await_log("(sleep) has it; a watchdog serves one program (systemd: `RuntimeWatchdogSec=0` in system.conf); going without it, because of --unfenced");
    board.run("until nullbeat status --json >/run/status; do sleep 0.1; done");
    assert!(board.run("cat /run/status").contains("\"watchdogs\": []"));
}

#[test]
fn reset_with_watchdog_resets_a_board_whose_stop_fails() {
    let lines = "reset_with watchdog\nscript_timeout 5\nenv STOPRETRYMAX=1";
    let bench = Bench::start(watched().ha_cf(lines));
    let alpha = &bench.boards[0];
    bench.await_owner(0, "web");
    let count = alpha.event_count();
    alpha.run("echo 60 >/run/slow-stop-web");
    alpha.type_line("nullbeat standby");
    assert_reset_first(&bench, 0, count, "WATCHDOG");
}
