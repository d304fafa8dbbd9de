//! The other ways in which a board resets itself: `reboot` and `sysrq`.

use super::bench::{Bench, Plan};
use super::watchdog::assert_reset_first;

#[test]
fn reset_with_reboot_and_with_sysrq_reset_a_board_whose_stop_fails() {
    let lines = "reset_with reboot\nscript_timeout 2\nenv STOPRETRYMAX=1";
    let other = "[ \"$(hostname)\" = alpha ] || sed -i \"s/^reset_with reboot/reset_with sysrq/\" /etc/ha.d/ha.cf; \
                 exec nullbeat run --foreground";
    let bench = Bench::start(Plan::usual().ha_cf(lines).start(other));
    assert!(bench.boards[1].run("nullbeat check --node beta; cat /etc/ha.d/ha.cf").contains("\nreset_with sysrq\n"));
    for owner in [0, 1] {
        let board = &bench.boards[owner];
        bench.await_owner(owner, "web");
        let (events, boots) = (board.event_count(), board.boots());
        board.run("echo 60 >/run/slow-stop-web");
        // What the daemon says last is lost with the reset.
        board.type_line("until nullbeat standby; do sleep 1; done");
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
