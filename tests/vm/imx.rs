//! A SoC's own drivers: the armv7 program on an i.MX6UL, with its UARTs, its watchdog, its GPIO banks, and a chip that tells
//! no edges.

use super::bench::{Bench, Plan};
use super::board::Machine;
use super::watchdog::{HANG, assert_reset_first};
use super::wires::Fault;

/// Two chips, by label and offset and by the names of the lines.
const BOARD: &str = "\
gpio owner 20a0000.gpio 0
gpio alive ALIVE_OUT
gpio peer-owner 20a0000.gpio 5 external-pull-up
gpio peer-alive ALIVE_IN external-pull-down
gpio peer-power SUPPLY_OK external-pull-up
";
/// The byte that the chip without interrupts shows, and `SUPPLY_OK` in it.
const SUPPLIES: u32 = 0x92_8000;
const SUPPLY_OK: u8 = 1 << 2;

#[test]
fn imx6ul_beats_over_its_uart_drives_and_reads_its_lines_and_is_reset_by_its_watchdog() {
    let plan = Plan::usual()
        .machine(Machine::Imx6ul)
        .ha_cf("deadtime 10\nwatchdog /dev/watchdog0\nwatchdog_timeout 5\nboard own")
        .file("/etc/ha.d/boards/own.conf", 0o644, BOARD);
    let bench = Bench::start(plan);
    let [alpha, beta] = &bench.boards[..] else { panic!("two boards") };
    bench.await_owner(0, "web");
    // Its list of system calls, on this processor.
    alpha.await_log("The engine is confined: ");

    // What boards/imx6ul.conf says.
    let found = alpha.run("nullbeat board");
    for part in ["/dev/ttymxc0 ", "/dev/ttymxc1 ", "/dev/watchdog0", "imx2+ watchdog"] {
        assert!(found.contains(part), "{part}:\n{found}");
    }
    for bank in ["209c000", "20a0000", "20a4000", "20a8000", "20ac000"] {
        assert!(found.contains(&format!(" ({bank}.gpio), 32 lines")), "{bank}:\n{found}");
    }
    alpha.run("nullbeat board --check /usr/share/nullbeat/boards/imx6ul.conf");

    // An edge wakes the daemon.
    bench.wires.await_level("1.alive", true);
    alpha.await_log("line peer-alive: Active");
    let seen = alpha.log_lines();
    bench.set_fault("1.alive", Some(Fault::Open));
    alpha.await_log_after(seen, "line peer-alive: Inactive");
    // No edge tells of this one: it is looked at.
    for (byte, told) in [(SUPPLY_OK, "Active"), (0, "Inactive"), (SUPPLY_OK, "Active")] {
        let seen = alpha.log_lines();
        alpha.poke(SUPPLIES, byte);
        alpha.await_log_after(seen, &format!("line peer-power: {told}"));
    }

    let events = alpha.event_count();
    alpha.type_line(HANG);
    assert_reset_first(&bench, 0, events, "WATCHDOG");
    alpha.await_boot(2);
    alpha.await_settled();
    beta.await_settled();
    bench.await_owner(1, "web");
    bench.assert_exclusive();
}
