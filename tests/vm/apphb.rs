//! A supervised application and the board's watchdog: kicked only while the application beats.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::bench::{Bench, Plan};
use super::board::Board;
use super::watchdog::assert_reset_first;

/// Far above what a check and a slow board take to notice that the application beats again.
const TIMEOUT: Duration = Duration::from_secs(12);

/// Checks run as `nobody`, and the folder of `apphbd`'s socket is for Heartbeat's user and its group.
const USERS: &str = "root:x:0:0:root:/:/bin/sh\n\
                     hacluster:x:901:900:cluster:/:/bin/false\n\
                     nobody:x:65534:65534:nobody:/:/bin/false\n";
const GROUPS: &str = "root:x:0:\nhaclient:x:900:\nnogroup:x:65534:\n";

/// `apphb.c` for an arm64 board.
fn application(directory: &Path) -> Vec<u8> {
    let built = directory.join(format!("nullbeat-apphb-{}", std::process::id()));
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vm/apphb.c");
    let mut compiler = Command::new("aarch64-linux-gnu-gcc");
    compiler.args(["-static", "-Os", "-s", "-Wall", "-Werror", "-o"]).arg(&built).arg(source);
    let output = compiler.output().expect("aarch64-linux-gnu-gcc");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let program = std::fs::read(&built).expect("a program");
    std::fs::remove_file(built).expect("its own file");
    program
}

/// Waits, on the board itself, until its watchdog is kicked (`null`) or why it is not; then runs the line.
fn when_withheld(board: &Board, why: &str, line: &str) {
    let is_so = format!("nullbeat status --json | grep -q '\"withheld\": {why}'");
    board.run(&format!("until {is_so}; do sleep 0.1; done; {line}"));
}

#[test]
fn watchdog_is_kicked_only_while_the_supervised_application_beats() {
    let lines = "deadtime 16\nwatchdog /dev/watchdog\nwatchdog_timeout 12\nuse_apphbd on\n\
                 check apphb shop every 1s timeout 1s rise 1 fall 2 watchdog on name shop";
    let plan = Plan::usual().ha_cf(lines).file("/usr/sbin/shop", 0o755, application(&std::env::temp_dir()));
    let plan = plan.file("/etc/passwd", 0o644, USERS).file("/etc/group", 0o644, GROUPS);
    let bench = Bench::start(plan);
    let [alpha, beta] = &bench.boards[..] else { panic!("two boards") };

    // Nobody has registered anywhere yet: a check that never was good keeps no watchdog waiting. Which board has the group
    // depends on whose check looked first; it comes to the one on which the application beats.
    let events = alpha.event_count();
    alpha.run("shop shop </dev/null >/dev/null 2>&1 & echo $! >/run/shop.pid");
    alpha.run("until nullbeat status | grep -q '^shop.* healthy'; do sleep 0.1; done");
    bench.await_owner(0, "web");
    for board in [alpha, beta] {
        when_withheld(board, "null", "true");
    }

    // It stands still for a while, and goes on in time: kicked again, for longer than the timeout.
    alpha.run("kill -STOP $(cat /run/shop.pid)");
    when_withheld(alpha, "\"check\"", "kill -CONT $(cat /run/shop.pid)");
    when_withheld(alpha, "null", "true");
    bench.assert_stays(0, "web", TIMEOUT + TIMEOUT / 4);
    assert!(alpha.boots() == 1 && beta.boots() == 1, "it was back in time");

    // It is gone: no kick, the board is reset, and only then beta takes over.
    alpha.run("kill -KILL $(cat /run/shop.pid)");
    alpha.await_log("No more kicks for the watchdog: a health check with `watchdog on` fails.");
    assert_reset_first(&bench, 0, events, "WATCHDOG");

    // Nobody starts it there after the boot, as on beta all the time: their watchdogs are kicked all the same.
    alpha.await_boot(2);
    alpha.await_settled();
    for board in [alpha, beta] {
        when_withheld(board, "null", "true");
    }
    bench.await_owner(1, "web");
    assert!(alpha.boots() == 2 && beta.boots() == 1, "{} and {} boots", alpha.boots(), beta.boots());
    bench.assert_exclusive();
}
