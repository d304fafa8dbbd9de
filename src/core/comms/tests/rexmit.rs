//! Asking for lost messages and answering those who ask (spec/wire.md 8.4).

use super::*;
use crate::core::limits::REXMIT_SLOTS;

fn request(first: u64, last: u64) -> Body<'static> {
    Body::RexmitRequest { first: Seq(first), last: Seq(last) }
}

fn nak(number: u64) -> Body<'static> {
    Body::RexmitNak { first: Seq(number), too_low: true }
}

#[test]
fn gap_is_asked_for_after_50_to_250_ms_then_after_250_then_less_and_less_often() {
    let mut bench = Bench::met();
    bench.run_to(100);
    bench.hear(100, ETH, beat(6));
    bench.run_to(149);
    assert_eq!(bench.said(), [], "a copy may have been overtaken only");
    let first_at = (150..=350).find(|ms| {
        bench.run_to(*ms);
        bench.packets.iter().any(|packet| matches!(packet.body, Body::RexmitRequest { .. }))
    });
    let first_at = first_at.expect("between 100 + 50 and 100 + 250");
    assert_eq!(bench.packets.iter().find(|p| p.body == request(4, 5)).map(|p| (p.to, p.seq)), Some((Some(BETA), None)));
    bench.said();
    bench.run_to(first_at + 249);
    assert_eq!(bench.said(), []);
    bench.run_to(first_at + 250);
    assert_eq!(bench.said(), [request(4, 5)]);
    bench.run_to(first_at + 749);
    assert_eq!(bench.said(), [], "a slow line may need the time");
    bench.run_to(first_at + 750);
    assert_eq!(bench.said(), [request(4, 5)], "250 + 500");
    bench.hear(first_at + 751, ETH, message(4, Body::Starting));
    bench.hear(first_at + 752, ETH, beat(7));
    bench.run_to(first_at + 1300);
    bench.hear(first_at + 1300, ETH, beat(8));
    bench.run_to(first_at + 1750);
    assert_eq!(bench.said(), [request(5, 5)], "only what is still missing, 750 + 1000");
    bench.run_to(first_at + 2000);
    assert_eq!(bench.said(), [request(5, 5)], "news: the pause begins anew, 1750 + 250");
    bench.hear(first_at + 2001, ETH, message(5, Body::Starting));
    bench.run_to(first_at + 6000);
    assert_eq!(bench.said(), []);
    assert_eq!(bench.comms.counters().rexmit_requested, 2 + 2 + 2 + 1 + 1);
}

#[test]
fn gap_filled_by_the_slower_link_is_never_asked_for() {
    let mut bench = Bench::met();
    bench.run_to(100);
    bench.hear(100, ETH, beat(5));
    assert_eq!(bench.hear(140, TTY, message(4, Body::Starting)), Some(BETA));
    bench.run_to(900);
    assert_eq!(bench.said(), []);
}

#[test]
fn gap_of_250_is_asked_for_in_growing_runs_of_at_most_50() {
    let mut bench = Bench::met();
    bench.run_to(100);
    bench.hear(100, ETH, beat(254));
    let mut asked = Vec::new();
    for ms in 101..1000 {
        bench.run_to(ms);
        for body in bench.said() {
            let Body::RexmitRequest { first, last } = body else { continue };
            asked.push((first.0, last.0));
            // The line is quick: all that is asked for comes at once.
            for seq in first.0..=last.0 {
                bench.hear(ms, ETH, message(seq, Body::Starting));
            }
        }
    }
    assert_eq!(asked, [(4, 11), (12, 27), (28, 59), (60, 109), (110, 159), (160, 209), (210, 253)]);
}

#[test]
fn gap_of_a_starting_peer_is_asked_for_once_it_is_up() {
    let mut bench = Bench::new();
    bench.hear(0, ETH, status(1, Some(NodeStatus::Init), 1000));
    bench.hear(0, ETH, status(3, Some(NodeStatus::Init), 1000));
    bench.run_to(400);
    bench.said();
    bench.run_to(700);
    assert_eq!(bench.said(), [], "its word is init");
    bench.hear(700, ETH, status(4, Some(NodeStatus::Up), 1000));
    bench.run_to(950);
    assert_eq!(bench.said(), [request(2, 2)]);
}

#[test]
fn gap_of_a_dead_peer_is_forgotten() {
    let mut bench = Bench::met();
    bench.run_to(100);
    bench.hear(100, ETH, beat(5));
    bench.run_to(1100);
    assert!(!bench.is_alive(), "100 + 1000");
    bench.said();
    bench.run_to(3000);
    assert_eq!(bench.said(), []);
}

#[test]
fn nak_ends_the_asking_whoever_it_is_addressed_to() {
    let mut bench = Bench::met();
    bench.run_to(40);
    bench.hear(40, ETH, beat(6));
    bench.hear(50, ETH, Message { dest: Some("alpha"), ..message(0, nak(4)) });
    bench.hear(60, ETH, Message { dest: Some("gamma"), ..message(0, nak(5)) });
    bench.hear(70, ETH, Message { dest: Some("alpha"), ..message(0, nak(700)) });
    bench.run_to(900);
    assert_eq!(bench.said(), []);
    assert_eq!(bench.comms.counters().irretrievable, 2);
    assert_eq!(bench.hear(900, ETH, message(4, Body::Starting)), None, "given up is given up");
}

#[test]
fn request_is_answered_with_the_same_number_time_and_text() {
    let mut bench = Bench::met();
    bench.handle(100, |comms, settings, at, outbox, _| comms.send(settings, at, Some(BETA), Body::Starting, outbox));
    let original = *bench.packets.last().unwrap();
    let number = original.seq.unwrap();
    bench.forget();
    bench.hear(1900, ETH, Message { dest: Some("alpha"), ..message(0, request(number.0, number.0)) });
    assert!(bench.packets.contains(&original), "ts is that of 100 ms too");
    assert_eq!(bench.comms.counters().rexmit_sent, 1);
}

#[test]
fn request_repeated_within_240_ms_is_answered_once() {
    let mut bench = Bench::met();
    let ask = Message { dest: Some("alpha"), ..message(0, request(1, 1)) };
    // 250 - 10: the asker's next request will find a copy on its way.
    for (ms, sent) in [(100, 1), (200, 1), (339, 1), (340, 2)] {
        bench.hear(ms, ETH, ask);
        assert_eq!(bench.comms.counters().rexmit_sent, sent, "at {ms}");
    }
}

#[test]
fn request_for_a_status_gets_it_without_extension_and_a_new_extension() {
    let mut bench = Bench::met();
    // The first beat after the meeting carried the extension; find its number.
    bench.handle(100, |comms, settings, at, outbox, _| {
        comms.beat(settings, at, Some(&extension(1)), outbox);
    });
    let told = bench.packets.last().unwrap().seq.unwrap();
    assert!(!bench.comms.wants_extension());
    bench.forget();
    bench.hear(150, ETH, Message { dest: Some("alpha"), ..message(0, request(told.0, told.0)) });
    let Body::Status { extension: again, .. } = bench.packets[0].body else { panic!("a status") };
    assert_eq!((bench.packets[0].seq, again), (Some(told), None));
    assert!(bench.comms.wants_extension(), "the peer has missed it: the next beat tells it again");
}

#[test]
fn request_for_overwritten_messages_is_refused_for_the_rest_answered() {
    let mut bench = Bench::met();
    while bench.comms.own_seq() < Seq(502) {
        bench.handle(10, |comms, settings, at, outbox, _| comms.send(settings, at, None, Body::Starting, outbox));
    }
    bench.forget();
    assert_eq!(REXMIT_SLOTS, 500, "3 to 502 are kept");
    bench.hear(20, ETH, Message { dest: Some("alpha"), ..message(0, request(1, 3)) });
    let said: Vec<_> = bench.packets.iter().map(|p| (p.seq, p.to)).collect();
    assert_eq!(bench.packets[0].body, nak(1));
    assert_eq!(bench.packets[1].body, nak(2));
    assert_eq!(said, [(None, Some(BETA)), (None, Some(BETA)), (Some(Seq(3)), None)]);
    assert_eq!((bench.comms.counters().rexmit_refused, bench.comms.counters().rexmit_sent), (2, 1));
}

#[test]
fn request_played_back_without_end_gets_50_refusals_in_250_ms() {
    let mut bench = Bench::met();
    while bench.comms.own_seq() < Seq(503) {
        bench.handle(10, |comms, settings, at, outbox, _| comms.send(settings, at, None, Body::Starting, outbox));
    }
    bench.forget();
    let refusals = |bench: &mut Bench| bench.said().iter().filter(|body| **body == nak(1)).count();
    for (ms, sent) in [(300, 50), (549, 0), (550, 50)] {
        for _ in 0..1000 {
            bench.hear(ms, ETH, Message { dest: Some("alpha"), ..message(0, request(1, 1)) });
        }
        assert_eq!(refusals(&mut bench), sent, "at {ms}");
    }
    assert_eq!(bench.comms.counters().rexmit_refused, 3000, "all are counted");
}

#[test]
fn request_for_acknowledged_messages_gets_silence() {
    let mut bench = Bench::met();
    for _ in 0..600 {
        bench.handle(10, |comms, settings, at, outbox, _| comms.send(settings, at, None, Body::Starting, outbox));
    }
    bench.hear(20, ETH, Message { dest: Some("alpha"), ..message(0, Body::Ack { acked: Seq(600) }) });
    bench.forget();
    bench.hear(30, ETH, Message { dest: Some("alpha"), ..message(0, request(1, 600)) });
    assert_eq!(bench.said(), []);
    assert_eq!(bench.comms.counters().rexmit_refused, 0);
}

#[test]
fn request_that_makes_no_sense_or_is_for_another_is_ignored() {
    let mut bench = Bench::met();
    let high = bench.comms.own_seq().0 + 1;
    for body in [request(0, 3), request(3, 2), request(high, high), request(high, u64::MAX)] {
        bench.hear(50, ETH, Message { dest: Some("alpha"), ..message(0, body) });
    }
    bench.hear(50, ETH, Message { dest: Some("gamma"), ..message(0, request(1, 1)) });
    assert!(bench.packets.is_empty());
}

#[test]
fn request_for_everything_gets_50_packets() {
    let mut bench = Bench::met();
    for _ in 0..100 {
        bench.handle(10, |comms, settings, at, outbox, _| comms.send(settings, at, None, Body::Starting, outbox));
    }
    bench.forget();
    bench.hear(20, ETH, Message { dest: Some("alpha"), ..message(0, request(1, u64::MAX)) });
    assert_eq!(bench.packets.len(), 50);
}
