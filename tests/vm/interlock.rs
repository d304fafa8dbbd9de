//! The interlock on real pins: `owner` is up while scripts may be at work, and `peer-owner` forbids what beats would allow.

use std::time::{Duration, Instant};

use super::bench::{Bench, NAMES, Plan};
use super::board::Board;
use super::wires::Fault;

/// The boards' own file: `owner` and `peer-owner` active low, so that a wire which nobody drives says "the peer owns".
const BOARD: &str = "\
gpio owner gpiochip0 0 active-low
gpio alive gpiochip0 1
gpio peer-owner gpiochip0 5 active-low external-pull-down
gpio peer-alive gpiochip0 6 external-pull-down
gpio peer-power gpiochip0 7 external-pull-up
";

/// Levels of the `owner` wires.
const OWNS: bool = false;
const OWNS_NOT: bool = true;

/// Pins and reports reach the harness by different ways.
const SLACK: Duration = Duration::from_secs(1);
/// Between raising `owner` and reading `peer-owner`: well above that.
const SETTLE: Duration = Duration::from_millis(2500);
/// How long a stop takes: far above it.
const STOP_SECONDS: u64 = 3;
/// For what must not happen though nothing else stands in its way any more.
const A_WHILE: Duration = Duration::from_millis(1500);

fn plan() -> Plan {
    Plan::usual()
        .open("owner", OWNS)
        .ha_cf("board own\ninterlock gpio\ninterlock_settle 2500ms")
        .file("/etc/ha.d/boards/own.conf", 0o644, BOARD)
        .file("/etc/slow-stop", 0o644, format!("{STOP_SECONDS}\n"))
        .start("cp /etc/slow-stop /run/slow-stop-web; exec nullbeat run --foreground")
}

/// When this was last said of the group `web` on the board.
#[track_caller]
fn last_said(bench: &Bench, index: usize, what: &str) -> Instant {
    let is_it = |node: &str, said: &str| node == NAMES[index] && said == what;
    let records = bench.observer.records();
    let record = records.iter().rev().find(|record| is_it(&record.node, &record.what));
    record.unwrap_or_else(|| panic!("no {what} on {}", NAMES[index])).at
}

/// When the wire came to this level last.
#[track_caller]
fn last_level(bench: &Bench, wire: &str, is_high: bool) -> Instant {
    let changes = bench.wires.changes();
    let change = changes.iter().rev().find(|change| change.wire == wire && change.is_high == is_high);
    change.unwrap_or_else(|| panic!("{wire} never came to {is_high}: {changes:?}")).at
}

#[track_caller]
fn assert_raised_before_the_start(bench: &Bench, index: usize) {
    let (raised, begun) = (last_level(bench, &format!("{index}.owner"), OWNS), last_said(bench, index, "start-begin"));
    assert!(raised + SETTLE <= begun + SLACK, "raised {:?} before the start", begun.saturating_duration_since(raised));
}

/// The line of `from` went down after its last stop, and before the other board's first start.
#[track_caller]
fn assert_lowered_between(bench: &Bench, from: usize) {
    let lowered = last_level(bench, &format!("{from}.owner"), OWNS_NOT);
    let (stopped, begun) = (last_said(bench, from, "stop-end"), last_said(bench, 1 - from, "start-begin"));
    assert!(stopped <= lowered + SLACK, "lowered {:?} before the stop's end", stopped - lowered);
    assert!(lowered <= begun + SLACK, "lowered {:?} after the other's start", lowered - begun);
}

/// Waits until `status` has these words in one line.
#[track_caller]
fn await_told(board: &Board, words: [&str; 2]) {
    let has = |status: &str| status.lines().any(|line| words.iter().all(|word| line.contains(word)));
    let start = Instant::now();
    loop {
        let status = board.run("nullbeat status");
        if has(&status) {
            return;
        }
        assert!(start.elapsed() < super::PATIENCE, "{}: no {words:?} in\n{status}", board.name());
    }
}

const FORBIDS: [&str; 2] = ["ALARM", "`peer-owner` forbids"];
const IS_STUCK: [&str; 2] = ["peer-owner: ", "contradicts the partner's beats"];

#[test]
fn owner_line_frames_the_scripts_and_a_cut_wire_permits_nothing() {
    let bench = Bench::start(plan());
    let [alpha, beta] = &bench.boards[..] else { panic!("two boards") };
    bench.await_owner(0, "web");
    assert_raised_before_the_start(&bench, 0);
    bench.wires.await_level("1.owner", OWNS_NOT);

    // A hand-over: the one line is down before the other board's first script, and its line is up.
    alpha.run("nullbeat standby");
    bench.await_owner(1, "web");
    assert_lowered_between(&bench, 0);
    assert_raised_before_the_start(&bench, 1);
    bench.wires.await_level("0.owner", OWNS_NOT);

    // Both cables cut: beats say that beta is dead, its line says that it owns.
    bench.cut_serial();
    bench.cut_ethernet();
    await_told(alpha, FORBIDS);
    bench.assert_stays(1, "web", A_WHILE);
    bench.heal_serial();
    bench.heal_ethernet();
    bench.wait("alpha hears beta again", |_| !alpha.run("nullbeat status").contains(FORBIDS[1]));
    bench.assert_stays(1, "web", A_WHILE);

    // No power at the other end of cut wires: that it has none is not known, so nothing is permitted.
    bench.set_fault("1.owner", Some(Fault::Open));
    bench.set_fault("0.peer-power", Some(Fault::Open));
    bench.power_cut(1);
    await_told(alpha, FORBIDS);
    let end = Instant::now() + A_WHILE;
    while Instant::now() < end {
        assert_eq!(bench.owners("web"), [0; 0], "a cut wire permitted a takeover");
        bench.observer.wait_for_more(Duration::from_millis(20));
    }
    // The sense line tells that the power is gone.
    bench.set_fault("0.peer-power", None);
    bench.await_owner(0, "web");

    // A cut `owner` wire of a board that lives and owns nothing is named.
    beta.power_on();
    beta.await_boot(2);
    beta.await_settled();
    await_told(alpha, IS_STUCK);
    bench.assert_stays(0, "web", A_WHILE);
    bench.set_fault("1.owner", None);
    bench.wait("the line is believed again", |_| !alpha.run("nullbeat status").contains(IS_STUCK[1]));

    // One that is stuck inactive while its board owns is named too, and nothing is taken for it.
    bench.set_fault("0.owner", Some(Fault::StuckHigh));
    await_told(beta, IS_STUCK);
    bench.assert_stays(0, "web", A_WHILE);
    bench.set_fault("0.owner", None);
    bench.wait("the line is believed again", |_| !beta.run("nullbeat status").contains(IS_STUCK[1]));

    // Guardian and engine killed: who stops the group lowers the line after it, and only then beta starts.
    let engine = "nullbeat status --json | sed -n 's/.*\"engine_pid\": \\([0-9]*\\).*/\\1/p'";
    alpha.run(&format!("rm /run/slow-stop-web; engine=$({engine}); kill -9 $(cat /run/nullbeat/pid) $engine"));
    bench.await_owner(1, "web");
    assert_lowered_between(&bench, 0);
    assert_raised_before_the_start(&bench, 1);
    bench.assert_exclusive();
}
