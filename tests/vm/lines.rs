//! GPIO lines of real chips: opened by name of the board file, driven, read at each edge, and refused when they are taken.

use super::bench::{Bench, Plan};
use super::board::Board;
use super::wires::Fault;

const BOARD: &str = include_str!("../../boards/qemu-virt-arm64.conf");

fn plan() -> Plan {
    let file = "/etc/ha.d/boards/qemu-virt-arm64.conf";
    Plan::usual().ha_cf("board qemu-virt-arm64").file(file, 0o644, BOARD)
}

/// What `nullbeat status` says of a line.
fn level(board: &Board, line: &str) -> String {
    let status = board.run("nullbeat status");
    let row = status.lines().find(|row| row.split_whitespace().next() == Some(line));
    row.and_then(|row| row.split_whitespace().last()).unwrap_or("missing").to_owned()
}

#[test]
fn lines_are_driven_and_every_edge_is_read() {
    let bench = Bench::start(plan());
    let [alpha, beta] = &bench.boards[..] else { panic!("two boards") };
    bench.wires.await_level("0.alive", true);
    bench.wires.await_level("1.alive", true);
    bench.wait("alpha sees beta's alive", |_| level(alpha, "peer-alive") == "active");
    assert_eq!(level(alpha, "peer-power"), "active");
    assert_eq!(level(alpha, "maintenance"), "inactive");

    for (fault, told) in [(Some(Fault::StuckHigh), "Active"), (None, "Inactive")] {
        let seen = alpha.log_lines();
        bench.set_fault("0.maintenance", fault);
        alpha.await_log_after(seen, &format!("line maintenance: {told}"));
    }

    // A cut wire reads what the board file says that it does.
    let seen = alpha.log_lines();
    bench.set_fault("1.alive", Some(Fault::Open));
    alpha.await_log_after(seen, "line peer-alive: Inactive");
    bench.set_fault("1.alive", None);
    bench.wait("the wire is mended", |_| level(alpha, "peer-alive") == "active");

    // An orderly end lowers what says that the daemon is healthy; without power nothing says anything.
    let seen = alpha.log_lines();
    beta.run("nullbeat stop");
    bench.wires.await_level("1.alive", false);
    alpha.await_log_after(seen, "line peer-alive: Inactive");
    let seen = alpha.log_lines();
    bench.power_cut(1);
    alpha.await_log_after(seen, "line peer-power: Inactive");
}

#[test]
fn board_is_shown_and_lines_that_are_taken_or_missing_are_named() {
    let bench = Bench::start(plan());
    let alpha = &bench.boards[0];
    let found = alpha.run("nullbeat board");
    for part in ["/dev/ttyS0 ", "16550A", "i6300ESB timer", "1 to 2046 s", "gpiochip0 (9030000.pl061), 8 lines"] {
        assert!(found.contains(part), "{part}:\n{found}");
    }
    let row = |offset: &str| {
        let is_it = |line: &&str| line.strip_prefix("# ").and_then(|row| row.split_whitespace().next()) == Some(offset);
        found.lines().find(is_it).unwrap_or("").to_owned()
    };
    assert!(row("0").ends_with("nullbeat owner") && row("0").contains(" out "), "{found}");
    assert!(row("5").ends_with("nullbeat") && row("5").contains(" in "), "{found}");

    let (code, said) = alpha.shell("nullbeat run --run-dir /tmp/run --state-dir /tmp/state 2>&1");
    assert_eq!(code, 78, "{said}");
    for line in ["the line `owner` (gpiochip0 0): taken by `nullbeat owner`", "(gpiochip0 7): taken by `nullbeat`"] {
        assert!(said.contains(line), "{line}:\n{said}");
    }

    alpha.run("cp -r /etc/ha.d /tmp/other && sed -i 's/gpiochip0 0/gpiochip0 8/' /tmp/other/boards/*.conf");
    let (code, said) =
        alpha.shell("nullbeat run --config-dir /tmp/other --run-dir /tmp/run --state-dir /tmp/state 2>&1");
    assert_eq!(code, 78, "{said}");
    assert!(said.contains("the line `owner` (gpiochip0 8): the chip has the lines 0 to 7"), "{said}");

    // One line by two names, which the words of the file do not show; both lines are free.
    let names = r"gpio owner gpiochip0 3\ngpio alive 9030000.pl061 3\ngpio fence-reset gpiochip7 1\n";
    alpha.run("nullbeat stop; until ! nullbeat status >/dev/null 2>&1; do sleep 0.1; done");
    alpha.run(&format!("printf '{names}' >/tmp/other/boards/qemu-virt-arm64.conf"));
    let (code, said) =
        alpha.shell("nullbeat run --config-dir /tmp/other --run-dir /tmp/run --state-dir /tmp/state 2>&1");
    assert_eq!(code, 78, "{said}");
    assert!(said.contains("(9030000.pl061 3): it is the line of `owner` too; each line has one use"), "{said}");
    assert!(said.contains("(gpiochip7 1): no GPIO chip `gpiochip7`"), "{said}");
    bench.assert_exclusive();
}
