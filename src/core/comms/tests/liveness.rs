//! Death, restart, return, communication up (spec/wire.md 8.3 step 5 and section 9).

use super::*;

const RESTARTED: Happening = Happening::Restarted { node: BETA, was_dead: false };

fn told_status(status: NodeStatus) -> Happening {
    Happening::Status { node: BETA, status }
}

fn next_run(message: Message<'static>) -> Message<'static> {
    Message { generation: Generation(6), ..message }
}

#[test]
fn peer_first_heard_brings_communication_up() {
    let mut bench = Bench::new();
    bench.run_to(300);
    assert_eq!(bench.told(), []);
    assert!(!bench.comms.is_up());
    bench.said();
    bench.hear(300, ETH, status(1, Some(NodeStatus::Up), 3000));
    let first = Happening::Restarted { node: BETA, was_dead: true };
    assert_eq!(bench.told(), [first, told_status(NodeStatus::Up), Happening::CommUp]);
    assert_eq!(bench.events(), [link_event(ETH, true), node_event(NodeStatus::Up)]);
    assert_eq!(bench.said(), [Body::ReqNodes]);
    assert!(bench.comms.is_up() && bench.is_alive());
    bench.hear(500, ETH, status(2, Some(NodeStatus::Up), 3000));
    assert_eq!((bench.told(), bench.said()), (vec![], vec![]), "once");
}

#[test]
fn peer_never_heard_dies_after_initdead() {
    let mut bench = Bench::new();
    bench.run_to(3999);
    assert_eq!(bench.told(), []);
    bench.run_to(4000);
    assert_eq!(bench.told(), [dead(false), Happening::CommUp]);
    assert_eq!(bench.events(), [node_event(NodeStatus::Dead)]);
    assert_eq!(bench.said(), [], "nobody to ask for nodes");
    bench.run_to(20_000);
    assert_eq!(bench.told(), [], "once");
}

#[test]
fn peer_heard_but_silent_about_its_status_dies_as_one_that_was_heard() {
    let mut bench = Bench::new();
    bench.run_to(100);
    bench.hear(100, ETH, message(0, Body::Ack { acked: Seq(1) }));
    bench.run_to(4000);
    assert_eq!(bench.told(), [dead(true), Happening::CommUp]);
}

#[test]
fn peer_of_three_initdead_holds_for_all_until_the_last_is_heard() {
    let mut bench = Bench::with(settings(&["alpha", "beta", "gamma"]));
    bench.hear(0, ETH, beat(1));
    bench.told();
    bench.run_to(3900);
    assert_eq!(bench.told(), [], "beta has been silent for longer than its 1000 ms");
    bench.hear(3900, ETH, Message { src: "gamma", src_uuid: None, ..beat(1) });
    assert_eq!(bench.told().last(), Some(&Happening::CommUp));
    bench.run_to(3900);
    assert_eq!(bench.told(), [dead(true)], "now its own dead time counts");
}

#[test]
fn peer_silent_dies_exactly_when_it_announced() {
    let mut bench = Bench::met();
    bench.run_to(200);
    bench.hear_on_both(200, status(4, Some(NodeStatus::Active), 1500));
    bench.run_to(1699);
    assert!(bench.is_alive());
    assert_eq!(bench.events(), []);
    bench.run_to(1700);
    assert_eq!(bench.told(), [dead(true)]);
    let expected = [node_event(NodeStatus::Dead), link_event(ETH, false), link_event(TTY, false)];
    assert_eq!(bench.events(), expected, "the node first, then its links");
    bench.run_to(60_000);
    assert_eq!((bench.told(), bench.events()), (vec![], vec![]), "reported once");
}

#[test]
fn peer_that_announces_no_dead_time_keeps_the_last() {
    let mut bench = Bench::met();
    let body = Body::Status {
        status: Some(NodeStatus::Active),
        dead_ms: None,
        has_protocol: true,
        is_nullbeat: false,
        extension: None,
    };
    bench.hear(0, ETH, message(4, body));
    assert_eq!(bench.comms.peer(BETA).deadtime, Duration::from_millis(1000));
}

#[test]
fn peer_that_announces_zero_is_dead_at_once_and_back_with_the_next_beat() {
    let mut bench = Bench::met();
    bench.run_to(100);
    bench.hear(100, ETH, status(4, Some(NodeStatus::Active), 0));
    bench.run_to(100);
    assert_eq!(bench.told(), [dead(true)]);
    bench.run_to(300);
    bench.hear(300, ETH, beat(5));
    bench.run_to(300);
    assert_eq!(bench.told(), [Happening::Returned { node: BETA }, told_status(NodeStatus::Active)]);
    assert!(bench.is_alive());
}

#[test]
fn peer_heard_in_the_last_millisecond_lives() {
    let mut bench = Bench::met();
    bench.run_to(999);
    bench.hear(999, TTY, beat(4));
    bench.run_to(1998);
    assert!(bench.is_alive(), "one link is enough");
    assert_eq!(bench.told(), []);
}

#[test]
fn peer_with_other_messages_but_no_status_dies_its_link_lives() {
    let mut bench = Bench::met();
    for step in 1..=10_u64 {
        bench.run_to(step * 100);
        bench.hear(step * 100, ETH, message(3 + step, Body::Starting));
    }
    bench.run_to(1000);
    assert_eq!(bench.told(), [dead(true)]);
    assert_eq!(bench.has_links(), (true, false));
}

#[test]
fn peer_status_word_is_told_when_it_changes() {
    let mut bench = Bench::new();
    bench.hear(0, ETH, status(1, Some(NodeStatus::Init), 1000));
    bench.told();
    bench.hear(10, ETH, status(2, Some(NodeStatus::Up), 1000));
    bench.hear(20, ETH, status(3, Some(NodeStatus::Up), 1000));
    bench.hear(30, ETH, status(4, Some(NodeStatus::Active), 1000));
    assert_eq!(bench.told(), [told_status(NodeStatus::Up), told_status(NodeStatus::Active)]);
}

#[test]
fn peer_status_word_unknown_or_dead_only_keeps_it_alive() {
    let mut bench = Bench::met();
    bench.run_to(900);
    bench.hear(900, ETH, status(4, None, 1000));
    bench.run_to(1800);
    bench.hear(1800, ETH, status(5, Some(NodeStatus::Dead), 1000));
    bench.run_to(2799);
    assert_eq!(bench.comms.peer(BETA).status, NodeStatus::Active);
    assert_eq!(bench.told(), []);
    bench.run_to(2800);
    assert_eq!(bench.told(), [dead(true)]);
    // Back with a word that we do not know: it is what it said before it died.
    bench.hear(3000, ETH, status(6, None, 1000));
    assert_eq!(bench.told(), [Happening::Returned { node: BETA }, told_status(NodeStatus::Active)]);
}

#[test]
fn restart_within_the_dead_time_is_no_death() {
    let mut bench = Bench::met();
    bench.run_to(800);
    bench.hear(800, ETH, next_run(status(1, Some(NodeStatus::Init), 3000)));
    assert_eq!(bench.told(), [RESTARTED, told_status(NodeStatus::Init)]);
    bench.hear(810, ETH, next_run(status(2, Some(NodeStatus::Up), 3000)));
    assert_eq!(bench.told(), [told_status(NodeStatus::Up)]);
    assert_eq!(bench.events().iter().filter(|event| matches!(event, Event::Link { .. })).count(), 0);
    bench.run_to(3809);
    assert!(bench.is_alive(), "810 + 3000");
    assert_eq!(bench.comms.peer(BETA).generation, Generation(6));
}

#[test]
fn restart_tells_the_word_even_when_it_is_the_same() {
    let mut bench = Bench::met();
    bench.run_to(100);
    // Its statuses init and up were lost.
    bench.hear(100, ETH, next_run(beat(7)));
    assert_eq!(bench.told(), [RESTARTED, told_status(NodeStatus::Active)]);
    assert_eq!(bench.events(), []);
}

#[test]
fn restart_begins_numbers_anew_and_old_messages_are_replays() {
    let mut bench = Bench::met();
    bench.hear(0, ETH, message(40, Body::Starting));
    bench.hear_on_both(10, next_run(beat(1)));
    assert_eq!(bench.hear_on_both(20, next_run(message(2, Body::Starting))), Some(BETA));
    assert_eq!(bench.hear(30, ETH, message(41, Body::ShutDone)), None);
    assert_eq!(bench.comms.counters().replays, 1);
    bench.said();
    bench.run_to(900);
    assert_eq!(bench.said(), [], "what was missing of the old run is not asked for");
}

#[test]
fn restart_of_a_dead_peer_is_told_as_such() {
    let mut bench = Bench::met();
    bench.run_to(1000);
    assert_eq!(bench.told(), [dead(true)]);
    bench.run_to(9000);
    bench.hear(9000, ETH, next_run(status(1, Some(NodeStatus::Init), 3000)));
    let restarted = Happening::Restarted { node: BETA, was_dead: true };
    assert_eq!(bench.told(), [restarted, told_status(NodeStatus::Init)]);
}

#[test]
fn return_after_partition_same_generation() {
    let mut bench = Bench::met();
    bench.run_to(1000);
    assert_eq!(bench.told(), [dead(true)]);
    bench.events();
    bench.run_to(9000);
    bench.said();
    // Beta went on counting: 45 beats were lost. None of them is asked for.
    bench.hear(9000, TTY, beat(49));
    assert_eq!(bench.told(), [Happening::Returned { node: BETA }, told_status(NodeStatus::Active)]);
    assert_eq!(bench.events(), [link_event(TTY, true), node_event(NodeStatus::Active)]);
    bench.run_to(9900);
    assert!(!bench.said().iter().any(|body| matches!(body, Body::RexmitRequest { .. })));
    bench.run_to(10_000);
    assert_eq!(bench.told(), [dead(true)], "and it can die again");
}

#[test]
fn return_is_not_believed_of_an_old_status() {
    let mut bench = Bench::met();
    bench.hear(0, ETH, message(4, Body::Starting));
    bench.run_to(1000);
    bench.told();
    bench.events();
    // A line that buffers lets go what it held, or somebody plays it back: numbers 2 to 4 again, one of another type.
    bench.run_to(1500);
    for old in [beat(2), beat(3), beat(4), message(3, Body::ShutDone), message(4, Body::ShutDone)] {
        assert_eq!(bench.hear(1500, TTY, old), None);
    }
    assert_eq!((bench.told(), bench.events()), (vec![], vec![]));
    assert!(!bench.is_alive());
    assert_eq!(bench.comms.counters().stale, 5);
}

#[test]
fn return_announced_by_another_type_wakes_the_link_only() {
    let mut bench = Bench::met();
    bench.run_to(1000);
    bench.forget();
    assert_eq!(bench.hear(1100, ETH, message(9, Body::Starting)), Some(BETA));
    assert_eq!(bench.events(), [link_event(ETH, true)]);
    assert!(!bench.is_alive());
    bench.hear(1200, ETH, beat(10));
    assert_eq!(bench.told(), [Happening::Returned { node: BETA }, told_status(NodeStatus::Active)]);
}

#[test]
fn alone_in_the_cluster_communication_is_up_at_once() {
    let mut bench = Bench::with(settings(&["alpha"]));
    bench.run_to(0);
    assert_eq!(bench.told(), [Happening::CommUp]);
    assert!(bench.comms.is_alive(ALPHA));
}

#[test]
fn peer_whose_status_is_overtaken_by_another_message_returns_with_it() {
    let mut bench = Bench::met();
    bench.run_to(1000);
    assert_eq!(bench.told(), [dead(true)]);
    bench.run_to(1100);
    // Of two messages said after its death the later one, which is no status, arrives first.
    bench.hear(1100, ETH, message(5, Body::Starting));
    assert!(!bench.is_alive(), "only a status tells that it lives");
    bench.hear(1101, ETH, beat(4));
    assert!(bench.is_alive());
    assert_eq!(bench.told(), [Happening::Returned { node: BETA }, told_status(NodeStatus::Active)]);
}

#[test]
fn node_carried_as_dead_and_heard_since_has_its_own_dead_time() {
    // Gamma is still waited for, so that communication is not up.
    let mut bench = Bench::with(settings(&["alpha", "beta", "gamma"]));
    let known = CarriedPartner { is_dead: true, has_left: false };
    let settings = bench.settings.clone();
    bench.comms.state_mut(BETA).carry(&settings, known);
    bench.hear(100, ETH, beat(1));
    bench.run_to(1_050);
    assert!(bench.is_alive(), "two keepalives were for one that nobody had heard");
    bench.run_to(1_100);
    assert!(!bench.is_alive());
}
