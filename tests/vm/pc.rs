//! The program for amd64 on an emulated PC.

use super::bench::{Bench, Plan};
use super::board::Machine;

#[test]
fn pc_owner_loses_its_power_the_other_takes_over_and_the_first_returns_as_standby() {
    let plan = Plan::usual().machine(Machine::QemuPc).haresources("alpha 192.168.7.10/24/eth0 trace::web\n");
    let bench = Bench::start(plan);
    bench.await_owner(0, "web");
    // Its list of system calls, on this processor.
    bench.boards[0].await_log("The engine is confined: ");
    // What boards/qemu-pc.conf says.
    let found = bench.boards[0].run("nullbeat board");
    for part in ["/dev/ttyS0 ", "/dev/ttyS1 ", "16550A", "/dev/watchdog0", "i6300ESB timer", "1 to 2046 s"] {
        assert!(found.contains(part), "{part}:\n{found}");
    }
    assert!(!found.contains("gpiochip"), "{found}");
    bench.boards[0].run("nullbeat board --check /usr/share/nullbeat/boards/qemu-pc.conf");
    bench.power_cut(0);
    bench.await_owner(1, "web");
    assert!(bench.boards[1].run("ip -4 addr show dev eth0").contains("192.168.7.10/24"));
    bench.boards[0].power_on();
    bench.boards[0].await_boot(2);
    bench.boards[0].await_settled();
    bench.await_owner(1, "web");
    bench.assert_exclusive();
}
