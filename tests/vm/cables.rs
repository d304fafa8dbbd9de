//! Cables that are cut, pulled and plugged in again.

use std::time::Duration;

use super::bench::{Bench, Plan};

/// A dead time through which no emulated board of a busy machine stands still, and more than that.
const DEADTIME: &str = "deadtime 8";
const PAST_DEADTIME: Duration = Duration::from_secs(9);

/// Waits until both boards have logged this about a link of the other one.
#[track_caller]
fn await_link(bench: &Bench, since: [usize; 2], link: &str, what: &str) {
    for (index, peer) in [(0, "beta"), (1, "alpha")] {
        bench.boards[index].await_log_after(since[index], &format!("Link {peer}:{link} {what}"));
    }
}

fn now(bench: &Bench) -> [usize; 2] {
    [0, 1].map(|index| bench.boards[index].log_lines())
}

#[test]
fn one_cable_cut_while_the_other_is_whole_nothing_moves() {
    let bench = Bench::start(Plan::usual().ha_cf(DEADTIME));
    let mut since = now(&bench);
    bench.cut_serial();
    await_link(&bench, since, "/dev/ttyS0", "dead");
    bench.assert_stays(0, "web", PAST_DEADTIME);
    since = now(&bench);
    bench.heal_serial();
    await_link(&bench, since, "/dev/ttyS0", "up");

    since = now(&bench);
    bench.cut_ethernet();
    await_link(&bench, since, "eth0", "dead");
    bench.assert_stays(0, "web", PAST_DEADTIME);
    since = now(&bench);
    bench.heal_ethernet();
    await_link(&bench, since, "eth0", "up");

    // A carrier that goes, as the kernel sees a pulled plug, is no other thing.
    since = now(&bench);
    bench.boards[0].qmp("set_link", "\"name\": \"nic0\", \"up\": false");
    await_link(&bench, since, "eth0", "dead");
    bench.assert_stays(0, "web", PAST_DEADTIME);
    bench.assert_exclusive();
    assert_eq!(bench.observer.count("beta", "web", "start-begin"), 0);
}

#[test]
fn noisy_null_modem_loses_messages_and_moves_nothing() {
    let bench = Bench::start(Plan::usual().ha_cf(DEADTIME).breaks());
    // The UART's driver counts them (TIOCGICOUNT), and the daemon tells them. QEMU's UARTs have no other error, and their
    // modem lines follow nothing.
    bench.modem.send_break(0);
    bench.wait("alpha tells of the break", |bench| {
        // Its exit code says whether the line is good, which that of a busy machine's emulated board is not always.
        bench.boards[0].shell("nullbeat cable /dev/ttyS0").1.contains(", 1 breaks\n")
    });
    // A turned bit in every second message or so.
    bench.flip_bits(2);
    bench.cut_ethernet();
    bench.boards[1].await_log("failed authentication");
    bench.assert_stays(0, "web", PAST_DEADTIME);
    bench.assert_exclusive();
}

#[test]
fn usb_adapter_is_pulled_and_plugged_in_again() {
    let wait_for_it = "until [ -c /dev/ttyUSB0 ]; do sleep 0.1; done; exec nullbeat run --foreground";
    let plan = Plan::usual().ha_cf(DEADTIME).usb_adapter().ha_cf("serial /dev/ttyUSB0 baud 115200").start(wait_for_it);
    let bench = Bench::power_on(plan);
    bench.plug_usb(0);
    bench.plug_usb(1);
    bench.settle(&["web"]);
    let mut since = now(&bench);
    bench.unplug_usb(0);
    await_link(&bench, since, "/dev/ttyUSB0", "dead");
    bench.assert_stays(0, "web", PAST_DEADTIME);
    since = now(&bench);
    bench.plug_usb(0);
    await_link(&bench, since, "/dev/ttyUSB0", "up");
    // It carries by itself again.
    bench.cut_serial();
    bench.cut_ethernet();
    bench.assert_stays(0, "web", PAST_DEADTIME);
    bench.assert_exclusive();
}
