//! Links: each lives and dies for itself, and is reported once.

use super::*;

fn device(bench: &mut Bench, ms: u64, link: LinkId, is_open: bool) {
    bench.handle(ms, |comms, settings, at, _, _| comms.link_device(settings, at, link, is_open));
}

#[test]
fn link_cut_alone_dies_once_and_returns_once() {
    let mut bench = Bench::met();
    // eth0 goes on, ttyS0 was last heard at 0.
    for step in 1..=20_u64 {
        bench.run_to(step * 200);
        bench.hear(step * 200, ETH, beat(3 + step));
        let expected = if step == 5 { vec![link_event(TTY, false)] } else { vec![] };
        bench.run_to(step * 200);
        assert_eq!(bench.events(), expected, "at {}", step * 200);
    }
    assert_eq!(bench.comms.peer(BETA).links[1].deaths, 1);
    for step in 21..=30_u64 {
        bench.run_to(step * 200);
        bench.hear_on_both(step * 200, beat(3 + step));
    }
    assert_eq!(bench.events(), [link_event(TTY, true)]);
    assert_eq!(bench.told(), [], "no word of it to ownership");
}

#[test]
fn link_dies_by_the_dead_time_of_its_own_peer() {
    // The original takes that of the node listed last.
    let mut bench = Bench::with(settings(&["alpha", "beta", "gamma"]));
    let gamma = |seq| Message { src: "gamma", src_uuid: None, ..status(seq, Some(NodeStatus::Active), 8000) };
    bench.hear_on_both(0, beat(1));
    bench.hear_on_both(0, gamma(1));
    bench.run_to(0);
    bench.events();
    for step in 1..=5_u64 {
        bench.run_to(step * 200);
        bench.hear(step * 200, ETH, beat(1 + step));
        bench.hear(step * 200, ETH, gamma(1 + step));
    }
    bench.run_to(1000);
    assert_eq!(bench.events(), [link_event(TTY, false)], "gamma's has 7 seconds left");
    assert!(bench.comms.links_up(GAMMA).contains(TTY));
}

#[test]
fn link_without_device_is_dead_at_once_and_not_sent_on() {
    let mut bench = Bench::met();
    bench.run_to(100);
    device(&mut bench, 100, TTY, false);
    assert_eq!(bench.comms.next_deadline(), Instant::from_millis(100));
    bench.run_to(100);
    assert_eq!(bench.events(), [link_event(TTY, false)]);
    let before = (bench.comms.transmitted(ETH), bench.comms.transmitted(TTY));
    bench.run_to(400);
    assert_eq!((bench.comms.transmitted(ETH), bench.comms.transmitted(TTY)), (before.0 + 2, before.1));
    device(&mut bench, 500, TTY, true);
    bench.run_to(600);
    assert_eq!(bench.comms.transmitted(TTY), before.1 + 1);
    assert_eq!(bench.events(), [], "open is not up: nothing was heard yet");
}

#[test]
fn link_that_reads_is_open_whatever_was_said() {
    let mut bench = Bench::met();
    device(&mut bench, 50, ETH, false);
    bench.run_to(50);
    bench.events();
    bench.hear(90, ETH, beat(4));
    bench.run_to(200);
    assert_eq!(bench.events(), [link_event(ETH, true)]);
    assert!(bench.comms.open_links().contains(ETH));
}

#[test]
fn link_all_devices_gone_nothing_is_sent_and_numbers_go_on() {
    let mut bench = Bench::met();
    device(&mut bench, 50, ETH, false);
    device(&mut bench, 50, TTY, false);
    bench.run_to(50);
    bench.forget();
    let before = bench.comms.own_seq();
    bench.run_to(600);
    assert!(bench.packets.is_empty());
    assert_eq!(bench.comms.own_seq().0, before.0 + 3, "beats of 200, 400 and 600 wait in the ring");
}
