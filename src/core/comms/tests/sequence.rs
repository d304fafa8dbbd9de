//! Acceptance: duplicates, gaps, generations, replays (spec/wire.md 8.3).

use super::*;

#[test]
fn duplicate_over_two_links_first_copy_wins_each_counts_for_its_link() {
    let mut bench = Bench::met();
    bench.run_to(100);
    assert_eq!(bench.hear(100, ETH, message(4, Body::Starting)), Some(BETA));
    assert_eq!(bench.hear(140, TTY, message(4, Body::Starting)), None, "the serial line is slower");
    let links = bench.comms.peer(BETA).links;
    assert_eq!((links[0].received, links[0].duplicates), (4, 0));
    assert_eq!((links[1].received, links[1].duplicates), (4, 4), "3 beats and this one came by eth0 first");
    assert_eq!(links[1].last_heard, Some(Instant::from_millis(140)));
}

#[test]
fn duplicate_lagging_by_two_beats_keeps_its_link_alive() {
    let mut bench = Bench::met();
    // 20 beats by eth0; by the slow line each arrives 450 ms later, when two newer ones are known already.
    for step in 1..=20_u64 {
        let ms = step * 200;
        bench.run_to(ms);
        bench.hear(ms, ETH, beat(3 + step));
        if let Some(lagging) = step.checked_sub(2).filter(|lagging| *lagging > 0) {
            bench.run_to(ms + 50);
            assert_eq!(bench.hear(ms + 50, TTY, beat(3 + lagging)), None);
        }
    }
    assert_eq!(bench.has_links(), (true, true));
    assert_eq!(bench.comms.peer(BETA).links[1].deaths, 0);
}

#[test]
fn duplicate_played_back_on_one_link_does_not_keep_it_alive() {
    let mut bench = Bench::met();
    // Beta goes on by eth0; on ttyS0 somebody repeats number 3 (last real packet there at 0 ms).
    for step in 1..=5_u64 {
        bench.run_to(step * 200);
        bench.hear(step * 200, ETH, beat(3 + step));
        bench.hear(step * 200, TTY, beat(3));
    }
    bench.run_to(1000);
    assert_eq!(bench.has_links(), (true, false), "dead at 0 + 1000");
    assert_eq!(bench.comms.counters().stale, 5);
}

#[test]
fn gap_is_accepted_and_its_numbers_when_they_come() {
    let mut bench = Bench::met();
    bench.run_to(100);
    assert_eq!(bench.hear(100, ETH, message(6, Body::Starting)), Some(BETA));
    assert_eq!(bench.comms.counters().lost, 2, "4 and 5");
    assert_eq!(bench.hear(110, ETH, message(5, Body::ShutDone)), Some(BETA), "no order is restored");
    assert_eq!(bench.hear(110, TTY, message(5, Body::ShutDone)), None);
    assert_eq!(bench.hear(120, ETH, message(4, Body::ShutDone)), Some(BETA));
    assert_eq!(bench.comms.peer(BETA).highest_seq, Seq(6));
}

#[test]
fn gap_of_251_starts_afresh_and_asks_for_nothing() {
    let mut bench = Bench::met();
    bench.run_to(100);
    assert_eq!(bench.hear(100, ETH, message(255, Body::Starting)), Some(BETA), "3 to 255: 251 in between");
    assert_eq!((bench.comms.counters().lost, bench.comms.counters().irretrievable), (251, 251));
    bench.run_to(900);
    assert_eq!(bench.said(), []);
    assert_eq!(bench.hear(900, ETH, message(256, Body::Starting)), Some(BETA));
    assert_eq!(bench.hear(900, ETH, message(100, Body::ShutDone)), None, "too late");
}

#[test]
fn generation_lower_is_a_replay_of_any_type() {
    let mut bench = Bench::met();
    let old = |seq, body| Message { generation: Generation(4), ..message(seq, body) };
    bench.run_to(100);
    assert_eq!(bench.hear(100, ETH, old(4, Body::ShutDone)), None);
    assert_eq!(bench.hear(100, ETH, old(0, Body::Ack { acked: Seq(1) })), None);
    assert_eq!(bench.hear(100, ETH, old(4, beat(4).body)), None);
    assert_eq!(bench.comms.counters().replays, 3);
    assert_eq!(bench.comms.peer(BETA).acked, Seq(0));
    assert_eq!(bench.comms.peer(BETA).links[0].last_heard, Some(Instant::ZERO), "not even the link is refreshed");
    assert_eq!(bench.told(), []);
}

#[test]
fn generation_higher_in_another_type_is_accepted_without_changing_it() {
    let mut bench = Bench::met();
    bench.run_to(100);
    let next = |message| Message { generation: Generation(6), ..message };
    assert_eq!(bench.hear_on_both(100, next(message(4, Body::Starting))), Some(BETA));
    assert_eq!((bench.comms.peer(BETA).generation, bench.comms.peer(BETA).highest_seq), (G5, Seq(3)));
    assert_eq!(bench.told(), []);
    // The run before is over all the same.
    assert_eq!(bench.hear(110, ETH, message(5, Body::ShutDone)), None);
    assert_eq!(bench.comms.counters().replays, 1);
}

#[test]
fn generation_first_status_overtaken_restarts_and_delivers_nothing_twice() {
    let mut bench = Bench::met();
    bench.run_to(100);
    let next = |message| Message { generation: Generation(6), ..message };
    assert_eq!(bench.hear(100, ETH, next(message(3, Body::Starting))), Some(BETA));
    bench.hear(110, ETH, next(status(2, Some(NodeStatus::Up), 1000)));
    let restarted = Happening::Restarted { node: BETA, was_dead: false };
    assert_eq!(bench.told(), [restarted, Happening::Status { node: BETA, status: NodeStatus::Up }]);
    assert_eq!(bench.comms.peer(BETA).highest_seq, Seq(3));
    assert_eq!(bench.hear(160, TTY, next(status(2, Some(NodeStatus::Up), 1000))), None);
    assert_eq!(bench.hear(170, TTY, next(message(3, Body::Starting))), None, "had it by eth0");
    assert_eq!(bench.told(), []);
    assert!(bench.is_alive());
}

#[test]
fn seq_missing_or_zero_is_dropped_and_counted() {
    let mut bench = Bench::met();
    assert_eq!(bench.hear(0, ETH, message(0, Body::Starting)), None);
    assert_eq!(bench.hear(0, ETH, Message { seq: Some(Seq(0)), ..message(1, Body::Starting) }), None);
    assert_eq!(bench.comms.counters().bad_seq, 2);
}

#[test]
fn status_overtaken_by_a_newer_one_says_nothing() {
    let mut bench = Bench::met();
    bench.run_to(100);
    bench.hear(100, ETH, status(5, Some(NodeStatus::Active), 1000));
    // Number 4 was said before beta became active, with a long dead time and an extension.
    let mut late = status(4, Some(NodeStatus::Up), 30_000);
    if let Body::Status { extension: old, .. } = &mut late.body {
        *old = Some(extension(7));
    }
    assert_eq!(bench.hear(300, ETH, late), None);
    let peer = bench.comms.peer(BETA);
    assert_eq!((peer.status, peer.deadtime), (NodeStatus::Active, Duration::from_millis(1000)));
    assert_eq!((peer.last_status, peer.extension), (Some(Instant::from_millis(100)), None));
    assert_eq!(bench.told(), []);
}

#[test]
fn extension_stands_until_a_newer_one_comes() {
    let mut bench = Bench::met();
    let with = |seq, groups| {
        let mut beat = beat(seq);
        if let Body::Status { extension: slot, .. } = &mut beat.body {
            *slot = Some(extension(groups));
        }
        beat
    };
    bench.hear(10, ETH, with(4, 1));
    assert_eq!(bench.told(), [Happening::Extension { node: BETA }]);
    bench.hear(20, ETH, beat(5));
    assert_eq!(bench.told(), []);
    assert_eq!(bench.comms.peer(BETA).extension, Some(extension(1)), "a plain beat leaves it");
    bench.hear(30, ETH, with(6, 2));
    assert_eq!(bench.comms.peer(BETA).extension, Some(extension(2)));
    // A Heartbeat was installed over it: a new generation without extension.
    bench.hear(40, ETH, Message { generation: Generation(6), ..beat(1) });
    assert_eq!(bench.comms.peer(BETA).extension, None);
}

#[test]
fn watchers_are_told_what_became_of_each_message() {
    let mut bench = Bench::met();
    let mut reception = |message, link| {
        bench.hear(10, link, message);
        let is_missing = bench.comms.is_missing_before(BETA, Seq(7));
        assert_eq!(bench.comms.newest_beyond_gap(BETA), is_missing.then_some(Seq(6)));
        (bench.comms.reception(), is_missing)
    };
    assert_eq!(reception(beat(4), ETH), (Reception::Taken, false));
    assert_eq!(reception(beat(4), TTY), (Reception::Copy, false));
    assert_eq!(reception(beat(6), ETH), (Reception::Taken, true), "5 is missing");
    let ack = Message { dest: Some("alpha"), ..message(0, Body::Ack { acked: Seq(1) }) };
    assert_eq!(reception(ack, ETH), (Reception::Protocol, true));
    assert_eq!(reception(Message { dest: Some("gamma"), ..ack }, ETH), (Reception::Dropped, true));
    assert_eq!(reception(Message { generation: Generation(4), ..beat(7) }, ETH), (Reception::Dropped, true));
    assert_eq!(reception(Message { src: "nobody", src_uuid: None, ..beat(7) }, ETH), (Reception::Dropped, true));
    assert_eq!(reception(beat(5), ETH), (Reception::Taken, false), "none is missing any more");
    let other = Message { dest: Some("gamma"), ..message(7, Body::Starting) };
    assert_eq!(reception(other, ETH), (Reception::Dropped, false));
}
