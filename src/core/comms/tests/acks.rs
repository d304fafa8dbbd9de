//! Acknowledgements and flow control (spec/wire.md 8.5).

use super::*;

fn ack(number: u64) -> Message<'static> {
    Message { dest: Some("alpha"), ..message(0, Body::Ack { acked: Seq(number) }) }
}

fn acked(said: &[Body<'_>]) -> Vec<u64> {
    said.iter().filter_map(|body| if let Body::Ack { acked } = body { Some(acked.0) } else { None }).collect()
}

#[test]
fn ack_leaves_with_every_tenth_number() {
    let mut bench = Bench::new();
    bench.run_with_beats(0, 200 * 39, 1);
    let numbers = acked(&bench.said());
    assert_eq!(numbers.len(), 4, "40 beats");
    assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 10), "{numbers:?}");
}

#[test]
fn ack_is_addressed_and_has_no_number() {
    let mut bench = Bench::new();
    bench.run_with_beats(0, 200 * 9, 1);
    let ack = bench.packets.iter().find(|packet| matches!(packet.body, Body::Ack { .. })).expect("ten beats");
    assert_eq!((ack.to, ack.seq), (Some(BETA), None));
}

#[test]
fn ack_counts_messages_for_others_too() {
    let mut bench = Bench::met();
    for seq in 4..=23 {
        assert_eq!(bench.hear(0, ETH, Message { dest: Some("gamma"), ..message(seq, Body::Starting) }), None);
    }
    assert_eq!(acked(&bench.said()).len(), 2);
    assert_eq!(bench.comms.counters().not_for_us, 20);
}

#[test]
fn ack_received_grows_only() {
    let mut bench = Bench::met();
    bench.run_to(1900);
    assert!(bench.comms.own_seq() >= Seq(9));
    for (ms, number, expected, since) in
        [(1910, 4, 4, 1910), (1920, 3, 4, 1910), (1930, 4, 4, 1910), (1940, 9, 9, 1940)]
    {
        bench.hear(ms, ETH, ack(number));
        let peer = bench.comms.peer(BETA);
        assert_eq!((peer.acked, peer.acked_at), (Seq(expected), Some(Instant::from_millis(since))), "at {ms}");
    }
}

#[test]
fn ack_of_what_was_never_said_is_refused() {
    let mut bench = Bench::met();
    let beyond = bench.comms.own_seq().0 + 1;
    bench.hear(10, ETH, ack(beyond));
    assert_eq!(bench.comms.peer(BETA).acked, Seq(0));
    bench.hear(10, ETH, Message { dest: Some("gamma"), ..ack(1) });
    assert_eq!(bench.comms.peer(BETA).acked, Seq(0), "for somebody else");
}

#[test]
fn global_ack_is_the_minimum_over_the_living() {
    let mut bench = Bench::with(settings(&["alpha", "beta", "gamma"]));
    let gamma = |seq, body| Message { src: "gamma", src_uuid: None, ..message(seq, body) };
    bench.hear(0, ETH, beat(1));
    bench.hear(0, ETH, gamma(1, beat(1).body));
    bench.run_to(100);
    for _ in 0..30 {
        bench.handle(100, |comms, settings, at, outbox, _| comms.send(settings, at, None, Body::Starting, outbox));
    }
    bench.hear(110, ETH, ack(25));
    bench.hear(110, ETH, Message { dest: Some("alpha"), ..gamma(0, Body::Ack { acked: Seq(12) }) });
    assert_eq!(bench.comms.global_ack(), Seq(12));
    // Beta goes on, gamma dies at 1000.
    bench.run_with_beats(200, 1000, 2);
    assert!(!bench.comms.is_alive(GAMMA));
    assert_eq!(bench.comms.global_ack(), Seq(25));
    bench.run_to(2100);
    assert!(!bench.is_alive());
    assert_eq!(bench.comms.global_ack(), bench.comms.own_seq(), "nobody left to wait for");
}

#[test]
fn flow_control_is_off_towards_a_peer_without_protocol() {
    let mut bench = Bench::new();
    for seq in 1..=30 {
        let body = Body::Status {
            status: Some(NodeStatus::Active),
            dead_ms: Some(1000),
            has_protocol: false,
            is_nullbeat: false,
            extension: None,
        };
        bench.hear(0, ETH, message(seq, body));
    }
    // The number that came before its first status was read may have been acknowledged.
    assert!(acked(&bench.said()).iter().all(|number| *number == 1));
    assert_eq!(bench.comms.global_ack(), bench.comms.own_seq());
}

#[test]
fn mute_peer_nothing_grows_and_nothing_stops() {
    let mut bench = Bench::met();
    // An hour of beats to a peer that hears nothing: it beats, and never acknowledges or answers.
    let mut seq = 4;
    for ms in (200..3_600_000).step_by(200) {
        bench.run_to(ms);
        bench.hear(ms, ETH, beat(seq));
        // Every seventh beat of it is lost for good.
        seq += if seq % 7 == 0 { 2 } else { 1 };
        bench.forget();
    }
    assert!(bench.is_alive());
    assert!(bench.comms.own_seq() > Seq(17_990), "one beat every 200 ms");
    assert!(bench.comms.counters().irretrievable > 2000, "given up as the window moved on");
}
