//! Ping nodes: asked with the beats, alive while they answer, waited for before communication is up.

use super::*;
use crate::core::ids::PingId;
use crate::core::settings::UpstreamSettings;

const GATEWAY: PingId = PingId(0);
const SERVER: PingId = PingId(1);

/// Two ping nodes, deadping 600 ms, and no word of anybody yet.
fn bench() -> Bench {
    let mut settings = settings(&["alpha", "beta"]);
    settings.upstream = UpstreamSettings {
        ping_nodes: ["10.0.0.9", "server"].into_iter().map(|name| name.try_into().unwrap()).collect(),
        deadping: Duration::from_millis(600),
        has_failover: true,
        holdoff: Duration::from_millis(400),
    };
    Bench::with(settings)
}

fn answer(bench: &mut Bench, ms: u64, ping: PingId) {
    bench.run_to(ms);
    bench.handle(ms, |comms, settings, at, outbox, happenings| {
        comms.ping_answered(settings, at, ping, outbox, happenings);
    });
}

fn states(bench: &Bench) -> [PingStatus; 2] {
    [GATEWAY, SERVER].map(|ping| bench.comms.ping_node(ping).unwrap().status)
}

fn event(ping: PingId, is_alive: bool) -> Event {
    Event::Ping { ping, is_alive }
}

/// The same with beta heard and both answering at 0 ms.
fn met() -> Bench {
    let mut bench = bench();
    for seq in 1..=3 {
        bench.hear_on_both(0, beat(seq));
    }
    answer(&mut bench, 0, GATEWAY);
    answer(&mut bench, 0, SERVER);
    bench.forget();
    bench
}

#[test]
fn pings_are_asked_once_with_each_beat_and_not_with_every_word() {
    let mut bench = bench();
    bench.run_to(1000);
    assert_eq!(bench.asked, [0, 200, 400, 600, 800, 1000]);
    bench.handle(1010, |comms, settings, at, outbox, _| comms.set_status(settings, at, NodeStatus::Up, outbox));
    assert_eq!(bench.asked.len(), 6, "a status right after a beat");
}

#[test]
fn no_ping_nodes_no_questions() {
    let mut bench = Bench::new();
    bench.run_to(1000);
    assert!(bench.asked.is_empty());
    assert_eq!(bench.comms.pings_alive(), Some(0));
    answer(&mut bench, 1000, GATEWAY);
    assert!(bench.events().iter().all(|event| !matches!(event, Event::Ping { .. })));
}

#[test]
fn comm_is_up_when_each_has_answered_or_is_dead() {
    let mut bench = bench();
    for seq in 1..=3 {
        bench.hear_on_both(0, beat(seq));
    }
    answer(&mut bench, 100, GATEWAY);
    bench.run_with_beats(200, 3900, 4);
    assert!(!bench.comms.is_up());
    assert_eq!((states(&bench), bench.comms.pings_alive()), ([PingStatus::Ping, PingStatus::Init], None));
    bench.run_with_beats(4000, 4200, 23);
    assert!(bench.comms.is_up(), "initdead has passed");
    assert_eq!(bench.comms.pings_alive(), Some(0), "nor has the first one answered since");
}

#[test]
fn comm_is_up_with_the_last_first_answer() {
    let mut bench = bench();
    for seq in 1..=3 {
        bench.hear_on_both(0, beat(seq));
    }
    answer(&mut bench, 100, GATEWAY);
    assert!(!bench.comms.is_up());
    bench.told();
    answer(&mut bench, 130, SERVER);
    assert_eq!(bench.told(), [Happening::CommUp]);
    assert_eq!(bench.comms.pings_alive(), Some(2));
}

#[test]
fn ping_node_silent_for_deadping_is_dead_until_it_answers() {
    let mut bench = met();
    for (ms, seq) in (200..=600).step_by(200).zip(4..) {
        bench.run_to(ms);
        bench.hear_on_both(ms, beat(seq));
        answer(&mut bench, ms, GATEWAY);
    }
    assert_eq!(bench.events(), [event(SERVER, false)]);
    assert_eq!((states(&bench), bench.comms.pings_alive()), ([PingStatus::Ping, PingStatus::Dead], Some(1)));
    answer(&mut bench, 650, SERVER);
    assert_eq!(bench.events(), [event(SERVER, true)]);
    let node = bench.comms.ping_node(SERVER).unwrap();
    assert_eq!((node.answers, node.deaths), (2, 1));
    assert!(bench.is_alive(), "peers have a life of their own");
}

#[test]
fn late_node_does_not_take_its_ping_nodes_for_dead() {
    let mut bench = met();
    bench.tick(900);
    assert_eq!(
        states(&bench),
        [PingStatus::Ping, PingStatus::Ping],
        "asleep for 700 ms, it hears out a keepalive first"
    );
    answer(&mut bench, 950, GATEWAY);
    bench.run_to(1100);
    assert_eq!(states(&bench), [PingStatus::Ping, PingStatus::Dead]);
}

#[test]
fn engine_that_goes_on_does_not_wait_for_ping_nodes() {
    let mut bench = bench();
    let known = CarriedPartner { is_dead: false, has_left: false };
    let settings = bench.settings.clone();
    bench.comms.state_mut(BETA).carry(&settings, known);
    bench.comms.pings.wait_for_none();
    for seq in 1..=3 {
        bench.hear_on_both(0, beat(seq));
    }
    assert!(bench.comms.is_up());
    assert_eq!(bench.comms.pings_alive(), None, "but knows that it knows nothing of them");
    bench.run_with_beats(200, 600, 4);
    assert_eq!(bench.comms.pings_alive(), Some(0));
}
