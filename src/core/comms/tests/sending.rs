//! Beats, own status, numbers (spec/wire.md sections 7, 9.2, 13, 14.1).

use super::*;

fn set_status(bench: &mut Bench, ms: u64, status: NodeStatus) {
    bench.handle(ms, |comms, settings, at, outbox, _| comms.set_status(settings, at, status, outbox));
}

fn words(beats: &[Packet]) -> Vec<(u64, &'static str, u32)> {
    let word = |packet: &Packet| match packet.body {
        Body::Status { status: Some(status), dead_ms: Some(ms), .. } => (packet.seq.unwrap().0, status.word(), ms),
        _ => panic!("not a status of ours"),
    };
    beats.iter().map(word).collect()
}

#[test]
fn start_says_init_up_up() {
    let mut bench = Bench::new();
    bench.handle(0, |comms, settings, at, outbox, _| {
        comms.set_status(settings, at, NodeStatus::Init, outbox);
        comms.set_status(settings, at, NodeStatus::Up, outbox);
    });
    // As captured (spec/wire.md section 13): 1 init, 2 up, 3 the first beat; but dt = deadtime from the first on.
    assert_eq!(words(&bench.beats()), [(1, "init", 1000), (2, "up", 1000), (3, "up", 1000)]);
    assert_eq!(bench.comms.status(), NodeStatus::Up);
    bench.run_to(199);
    assert_eq!(bench.beats(), []);
    bench.run_to(200);
    assert_eq!(words(&bench.beats()), [(4, "up", 1000)]);
}

#[test]
fn dead_time_changed_by_a_reload_is_announced_at_once() {
    let mut bench = Bench::met();
    bench.run_to(600);
    bench.beats();
    bench.settings.deadtime = Duration::from_millis(3000);
    bench.tick(650);
    assert_eq!(words(&bench.beats()).iter().map(|(_, _, ms)| *ms).collect::<Vec<_>>(), [3000]);
    bench.run_to(849);
    assert_eq!(bench.beats(), []);
    bench.run_to(850);
    assert_eq!(bench.beats().len(), 1, "one keepalive after the extra one");
}

#[test]
fn watchdog_that_needs_longer_raises_what_is_announced_only() {
    let mut bench = Bench::met();
    bench.settings.announced_extra = Duration::from_millis(1300);
    bench.run_to(600);
    assert_eq!(words(&bench.beats()).last().map(|(_, _, ms)| *ms), Some(2300));
    assert_eq!(bench.comms.announced_deadtime(), Duration::from_millis(2300));
    assert_eq!(bench.comms.peer(BETA).deadtime, Duration::from_millis(1000), "the peer is judged by its own word");
}

#[test]
fn restart_announced_raises_the_dead_time_by_30_seconds() {
    let mut bench = Bench::met();
    set_status(&mut bench, 100, NodeStatus::Active);
    bench.run_to(6000);
    bench.forget();
    let said = |bench: &mut Bench| words(&bench.beats()).iter().map(|(_, word, ms)| (*word, *ms)).collect::<Vec<_>>();
    bench.handle(6050, |comms, settings, at, outbox, _| comms.announce_restart(settings, at, true, outbox));
    assert_eq!(said(&mut bench), [("active", 31_000)]);
    bench.handle(6100, |comms, settings, at, outbox, _| comms.announce_restart(settings, at, false, outbox));
    assert_eq!(said(&mut bench), [("active", 1000)], "it did not come to pass");
}

#[test]
fn beat_delayed_a_little_does_not_shift_the_next() {
    let mut bench = Bench::met();
    for (ms, next) in [(230, 400), (400, 600), (690, 800), (1500, 1700)] {
        bench.tick(ms);
        let due = (ms..).find(|ms| bench.comms.is_beat_due(stamp(*ms))).unwrap();
        assert_eq!(due, next, "after the beat at {ms}");
    }
}

#[test]
fn extension_is_wanted_with_every_tenth_beat() {
    let mut bench = Bench::met();
    bench.beats();
    bench.run_to(200 * 40);
    let beats = bench.beats();
    let with: Vec<_> = beats.iter().map(|p| matches!(p.body, Body::Status { extension: Some(_), .. })).collect();
    let places: Vec<_> = with.iter().enumerate().filter(|(_, has)| **has).map(|(place, _)| place).collect();
    assert_eq!(places.len(), 4, "40 beats");
    assert!(places.windows(2).all(|pair| pair[1] == pair[0] + 10), "{places:?}");
}

#[test]
fn extension_is_wanted_at_once_by_a_peer_that_is_new_restarted_or_back() {
    let mut bench = Bench::new();
    bench.run_to(50);
    let carried = |bench: &mut Bench| {
        let beats = bench.beats();
        (beats.len(), beats.iter().filter(|p| matches!(p.body, Body::Status { extension: Some(_), .. })).count())
    };
    carried(&mut bench);
    bench.hear(50, ETH, beat(1));
    assert_eq!(carried(&mut bench), (1, 1), "first heard");
    bench.hear(60, ETH, beat(2));
    assert_eq!(carried(&mut bench), (0, 0));
    bench.hear(70, ETH, Message { generation: Generation(6), ..beat(1) });
    assert_eq!(carried(&mut bench), (1, 1), "restarted");
    bench.run_to(3000);
    assert!(!bench.is_alive());
    carried(&mut bench);
    bench.hear(3010, ETH, Message { generation: Generation(6), ..beat(20) });
    assert_eq!(carried(&mut bench), (1, 1), "back");
}

#[test]
fn numbers_are_given_to_all_but_the_ns_types() {
    let mut bench = Bench::met();
    let first = bench.comms.own_seq().0 + 1;
    let bodies = [
        Body::Starting,
        Body::Ack { acked: Seq(1) },
        Body::RexmitRequest { first: Seq(1), last: Seq(1) },
        Body::RexmitNak { first: Seq(1), too_low: false },
        Body::Other { kind: "NS_whatever" },
        Body::ShutDone,
    ];
    for body in bodies {
        bench.handle(10, |comms, settings, at, outbox, _| comms.send(settings, at, None, body, outbox));
    }
    let numbers: Vec<_> = bench.packets.iter().map(|packet| packet.seq).collect();
    assert_eq!(numbers, [Some(Seq(first)), None, None, None, None, Some(Seq(first + 1))]);
}

#[test]
fn sent_at_remembers_the_first_sending() {
    let mut bench = Bench::met();
    bench.run_to(140);
    bench.handle(140, |comms, settings, at, outbox, _| comms.send(settings, at, None, Body::Starting, outbox));
    let seq = bench.comms.own_seq();
    assert_eq!(bench.comms.sent_at(seq), Some(Instant::from_millis(140)));
    let again = Body::RexmitRequest { first: seq, last: seq };
    bench.hear(190, ETH, Message { dest: Some("alpha"), ..message(0, again) });
    assert_eq!(bench.comms.sent_at(seq), Some(Instant::from_millis(140)), "not the copy");
    assert_eq!(bench.comms.sent_at(Seq(seq.0 + 1)), None);
}

#[test]
fn stonith_and_ip_request_resp_name_what_they_are_about() {
    let mut bench = Bench::met();
    let group = crate::core::ids::GroupId(2);
    let body = Body::IpRequestResp { key: "", group: None, is_ok: true };
    bench.handle(10, |comms, settings, at, outbox, _| {
        comms.send_about(settings, at, Some(BETA), body, (None, Some(group)), outbox);
    });
    let packet = bench.packets[0];
    assert_eq!((packet.to, packet.about, packet.group), (Some(BETA), None, Some(group)));
}

#[test]
fn reqnodes_is_answered_with_repnodes() {
    let mut bench = Bench::met();
    assert_eq!(bench.hear(10, ETH, Message { dest: Some("alpha"), ..message(4, Body::ReqNodes) }), None);
    assert_eq!(
        bench.packets.last().map(|p| (p.to, p.body)),
        Some((Some(BETA), Body::RepNodes { nodes: "", deleted: "" }))
    );
    bench.forget();
    bench.hear(10, ETH, message(5, Body::ReqNodes));
    assert_eq!(bench.said().len(), 1, "also without addressee");
    bench.hear(10, ETH, Message { dest: Some("ALPHA"), ..message(6, Body::ReqNodes) });
    assert_eq!(bench.said(), [], "names are compared exactly");
}

#[test]
fn repnodes_ends_here() {
    let mut bench = Bench::met();
    assert_eq!(bench.hear(10, ETH, message(4, Body::RepNodes { nodes: "alpha beta ", deleted: " " })), None);
    assert_eq!(bench.hear(10, ETH, message(5, Body::RepNodes { nodes: "beta delta ", deleted: " " })), None);
    assert_eq!(bench.told(), []);
}

/// We are the second node, beta is the first and a nullbeat: at which milliseconds we beat within `range`, when its beats come at
/// `theirs`.
fn beats_beside_a_leader(theirs: impl Iterator<Item = u64>, range: core::ops::Range<u64>) -> Vec<u64> {
    let mut settings = settings(&["beta", "alpha"]);
    settings.local = NodeId(1);
    settings.partner = Some(NodeId(0));
    let mut bench = Bench::with(settings);
    let mut theirs = theirs.zip(1..).peekable();
    let mut said = Vec::new();
    for ms in 0..range.end {
        let before = bench.comms.own_seq();
        bench.tick(ms);
        if let Some((_, seq)) = theirs.next_if(|(at, _)| *at == ms) {
            let body = Body::Status {
                status: Some(NodeStatus::Active),
                dead_ms: Some(1000),
                has_protocol: true,
                is_nullbeat: true,
                extension: Some(extension(0)),
            };
            bench.hear(ms, ETH, Message { ..message(seq, body) });
            bench.handle(ms, |comms, settings, at, outbox, _| {
                if comms.is_beat_due(at) {
                    comms.beat(settings, at, None, outbox);
                }
            });
        }
        // A copy of the last one is no beat of its own.
        if bench.beats().iter().any(|beat| beat.seq > Some(before)) && range.contains(&ms) {
            said.push(ms);
        }
    }
    said
}

#[test]
fn beat_of_the_second_nullbeat_moves_to_the_first_one_s_and_stays_there() {
    for offset in [0, 1, 40, 100, 101, 160, 199] {
        let theirs = (0..100).map(|n| n * 200 + offset);
        let expected: Vec<u64> = (50..60).map(|n| n * 200 + offset).collect();
        let range = 50 * 200 + offset..60 * 200 + offset;
        assert_eq!(beats_beside_a_leader(theirs, range), expected, "{offset}");
    }
}

#[test]
fn beat_that_waits_in_vain_for_the_other_one_leaves_a_trifle_later() {
    // The leader falls silent after 50 * 200.
    let said = beats_beside_a_leader((0..=50).map(|n| n * 200), 10_000..10_700);
    assert_eq!(said, [10_000, 10_204, 10_404, 10_604], "keepalive / 64, once");
}
