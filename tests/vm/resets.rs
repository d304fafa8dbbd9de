//! The other ways in which a board resets itself: `reboot`, `sysrq`, and an application that the watchdog waits for.

use std::process::Command;

use super::bench::{Bench, Plan};
use super::watchdog::assert_reset_first;

#[test]
fn reset_with_reboot_and_with_sysrq_reset_a_board_whose_stop_fails() {
    let lines = "reset_with reboot\nscript_timeout 5\nenv STOPRETRYMAX=1";
    let other = "[ \"$(hostname)\" = alpha ] || sed -i \"s/^reset_with reboot/reset_with sysrq/\" /etc/ha.d/ha.cf; \
                 exec nullbeat run --foreground";
    let bench = Bench::start(Plan::usual().ha_cf(lines).start(other));
    assert!(bench.boards[1].run("nullbeat check --node beta; cat /etc/ha.d/ha.cf").contains("\nreset_with sysrq\n"));
    for owner in [0, 1] {
        let board = &bench.boards[owner];
        bench.await_owner(owner, "web");
        let (events, boots) = (board.event_count(), board.boots());
        board.run("echo 60 >/run/slow-stop-web");
        board.type_line("nullbeat standby");
        board.await_log("Resetting this board (stop-failed).");
        assert_reset_first(&bench, owner, events, "RESET");
        // It comes back by itself and leaves the group where it is.
        board.await_boot(boots + 1);
        board.await_settled();
        bench.boards[1 - owner].await_settled();
        bench.await_owner(1 - owner, "web");
        assert_eq!(board.boots(), boots + 1);
    }
    bench.assert_exclusive();
}

/// The program of `app.c` for the boards.
fn application() -> Vec<u8> {
    let directory = std::env::temp_dir().join(format!("nullbeat-app-{}", std::process::id()));
    std::fs::create_dir_all(&directory).expect("a temporary directory");
    let program = directory.join("app");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vm/app.c");
    let mut compiler = Command::new("aarch64-linux-gnu-gcc");
    let output = compiler.args(["-static", "-O1", "-Wall", "-Werror", "-o"]).arg(&program).arg(source).output();
    let output = output.expect("aarch64-linux-gnu-gcc");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let bytes = std::fs::read(&program).expect("a program");
    let _ = std::fs::remove_dir_all(&directory);
    bytes
}

/// The application hangs, so that its group is to go to the other board, and cannot be stopped: the watchdog ends it.
#[test]
fn supervised_application_that_misses_its_beats_and_does_not_stop_is_ended_by_the_watchdog() {
    let lines = "deadtime 4\nwatchdog /dev/watchdog\nuse_apphbd on\n\
                 check apphb shop every 1s rise 1 fall 2 group trace::web restarts 0 watchdog on";
    let start = "shop shop & exec nullbeat run --foreground";
    let plan = Plan::usual().ha_cf(lines).start(start).file("/usr/bin/shop", 0o755, application());
    let bench = Bench::start(plan);
    let [alpha, beta] = &bench.boards[..] else { panic!("two boards") };
    let is_healthy = "until nullbeat status | grep -q \"^shop.* healthy\"; do sleep 0.1; done";
    alpha.run(is_healthy);
    let events = alpha.event_count();
    alpha.run("echo 600 >/run/slow-stop-web; killall -STOP shop");
    alpha.await_log("No more kicks for the watchdog: a health check with `watchdog on` fails.");
    assert_reset_first(&bench, 0, events, "WATCHDOG");
    alpha.await_boot(2);
    alpha.await_settled();
    bench.await_owner(1, "web");

    // One that beats on, and one that goes where its group can be stopped, costs no reset.
    beta.run(is_healthy);
    let (events, boots) = (beta.event_count(), beta.boots());
    beta.run("killall -STOP shop");
    bench.await_owner(0, "web");
    bench.assert_stays(0, "web", std::time::Duration::from_secs(3));
    assert_eq!((beta.event_count(), beta.boots()), (events, boots), "it was stopped, so that nothing had to be reset");
    bench.assert_exclusive();
}
