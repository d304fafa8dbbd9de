//! The main job on emulated hardware.

use super::bench::{Bench, Plan};

#[test]
fn owner_loses_its_power_the_other_takes_over() {
    let bench = Bench::start(Plan::usual().haresources("alpha 192.168.7.10/24/eth0 trace::web\n"));
    bench.await_owner(0, "web");
    assert!(bench.boards[0].run("ip -4 addr show dev eth0").contains("192.168.7.10/24"));
    bench.power_cut(0);
    bench.await_owner(1, "web");
    assert!(bench.boards[1].run("ip -4 addr show dev eth0").contains("192.168.7.10/24"));
    bench.assert_exclusive();
}
