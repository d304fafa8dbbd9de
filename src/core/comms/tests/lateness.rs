//! A late node does not judge (design.md rule 4).

use super::*;

fn late(ms: u64) -> Happening {
    Happening::Late { by: Duration::from_millis(ms) }
}

/// Met, and punctual up to 6 s with a beat of beta every 200 ms. Returns the number of beta's next beat.
fn settled() -> (Bench, u64) {
    let mut bench = Bench::met();
    let seq = bench.run_with_beats(200, 6000, 4);
    bench.forget();
    (bench, seq)
}

#[test]
fn late_by_less_than_half_a_keepalive_is_on_time() {
    let (mut bench, seq) = settled();
    assert_eq!(bench.comms.next_deadline(), Instant::from_millis(6200));
    bench.hear(6300, ETH, beat(seq));
    assert_eq!((bench.told(), bench.comms.counters().late), (vec![], 0));
}

#[test]
fn late_node_hears_out_one_keepalive_before_it_judges() {
    let (mut bench, _) = settled();
    // Both slept; beta's last beat came at 6000 and would be overdue at 7000. We wake at 7100, asked for 6200.
    bench.tick(7100);
    assert_eq!(bench.told(), [late(900), Happening::Overslept]);
    assert!(bench.is_alive());
    bench.run_to(7299);
    assert!(bench.is_alive());
    assert_eq!((bench.told(), bench.events()), (vec![], vec![]), "links are not judged either");
    bench.run_to(7300);
    assert_eq!(bench.told(), [dead(true)]);
}

#[test]
fn late_node_finds_a_living_peer_in_what_has_arrived() {
    let (mut bench, mut seq) = settled();
    // Frozen from 6000 to 9000; the driver hands over what the sockets held, then the tick.
    for _ in 0..14 {
        bench.hear_on_both(9000, beat(seq));
        seq += 1;
    }
    bench.tick(9000);
    assert_eq!(bench.told(), [late(2800), Happening::Overslept], "one delay, told once");
    assert_eq!(bench.comms.counters().late, 1);
    bench.run_with_beats(9200, 12_000, seq);
    assert_eq!((bench.told(), bench.events()), (vec![], vec![]));
}

#[test]
fn late_twice_in_a_row_is_two_delays() {
    let (mut bench, seq) = settled();
    bench.hear(6400, ETH, beat(seq));
    bench.hear(6800, ETH, beat(seq + 1));
    assert_eq!(bench.told(), [late(200), late(200)], "asked for 6200 and 6600");
    assert_eq!((bench.comms.counters().late, bench.comms.counters().late_max_ms), (2, 200));
    bench.tick(6999);
    assert!(bench.is_alive());
}

#[test]
fn late_but_within_the_dead_time_did_not_oversleep() {
    let (mut bench, _) = settled();
    bench.tick(6999);
    assert_eq!(bench.told(), [late(799)], "last own beat at 6000, dead time 1000");
}

#[test]
fn overslept_counts_the_dead_time_that_was_announced() {
    let (mut bench, _) = settled();
    bench.handle(6100, |comms, settings, at, outbox, _| comms.announce_restart(settings, at, true, outbox));
    bench.tick(6100 + 30_999);
    assert!(!bench.told().contains(&Happening::Overslept), "1000 + 30000 announced at 6100");
    let (mut bench, _) = settled();
    bench.handle(6100, |comms, settings, at, outbox, _| comms.announce_restart(settings, at, true, outbox));
    bench.tick(6100 + 31_000);
    assert!(bench.told().contains(&Happening::Overslept));
}

#[test]
fn late_start_is_no_lateness_but_does_not_judge_either() {
    let mut bench = Bench::new();
    bench.tick(60_000);
    assert_eq!(bench.told(), [], "nothing was asked for or announced yet");
    bench.run_to(60_199);
    assert_eq!(bench.told(), []);
    bench.run_to(60_200);
    assert_eq!(bench.told(), [dead(false), Happening::CommUp], "initdead, after one keepalive");
}

#[test]
fn late_tolerance_is_20_ms_with_a_short_keepalive() {
    let mut fast = settings(&["alpha", "beta"]);
    fast.keepalive = Duration::from_millis(20);
    let mut bench = Bench::with(fast);
    bench.run_to(0);
    bench.tick(40);
    assert_eq!(bench.told(), [], "asked for 20");
    bench.tick(81);
    assert_eq!(bench.told(), [late(21)], "asked for 60");
}
