//! Whose message, for whom (spec/wire.md section 7, 10.2).

use super::*;

#[test]
fn unknown_node_is_dropped_and_counted() {
    let mut bench = Bench::met();
    let stranger = Message { src: "delta", src_uuid: Some(Uuid([0xde; 16])), ..beat(1) };
    for ms in 0..100 {
        assert_eq!(bench.hear(ms, ETH, stranger), None);
    }
    assert_eq!(bench.comms.counters().unknown_node, 100);
    assert_eq!((bench.told(), bench.events()), (vec![], vec![]));
}

#[test]
fn name_in_capitals_without_known_uuid_is_unknown() {
    let mut bench = Bench::met();
    assert_eq!(bench.hear(0, ETH, Message { src: "BETA", src_uuid: None, ..beat(4) }), None);
    assert_eq!(bench.comms.counters().unknown_node, 1);
}

#[test]
fn known_uuid_under_a_new_name_is_still_that_node() {
    let mut bench = Bench::met();
    assert_eq!(bench.hear(0, ETH, Message { src: "BETA", ..message(4, Body::Starting) }), Some(BETA));
    assert_eq!(bench.settings.nodes[1], "beta", "our name for it stays");
    assert_eq!(bench.hear(0, ETH, message(5, Body::Starting)), Some(BETA));
}

#[test]
fn known_uuid_under_another_configured_name_is_the_other_node() {
    let mut bench = Bench::with(settings(&["alpha", "beta", "gamma"]));
    bench.hear(0, ETH, beat(1));
    // Gamma's card was copied from beta's, uuid and all, and it is in its ninth run.
    let gamma = |seq, body| Message { src: "gamma", generation: Generation(9), ..message(seq, body) };
    bench.hear(0, ETH, gamma(1, beat(1).body));
    assert_eq!(bench.comms.peer(GAMMA).generation, Generation(9));
    assert_eq!((bench.comms.peer(BETA).uuid, bench.comms.peer(GAMMA).uuid), (BETA_UUID, Uuid::default()));
    // Both go on undisturbed.
    assert_eq!(bench.hear(10, ETH, message(2, Body::Starting)), Some(BETA));
    assert_eq!(bench.hear(10, ETH, gamma(2, Body::Starting)), Some(GAMMA));
    assert_eq!(bench.comms.counters().replays, 0);
}

#[test]
fn peer_flashed_with_our_own_uuid_is_heard_all_the_same() {
    let mut bench = Bench::new();
    let twin = |message| Message { src_uuid: Some(ALPHA_UUID), ..message };
    bench.hear(0, ETH, twin(beat(1)));
    assert!(bench.is_alive(), "or both boards would take over from each other");
    assert_eq!(bench.comms.peer(BETA).uuid, Uuid::default());
    // Its messages for itself or a third node carry the uuid that is also ours: the name decides.
    let to = |dest| Message { dest: Some(dest), dest_uuid: Some(ALPHA_UUID), ..twin(message(2, Body::Starting)) };
    assert_eq!(bench.hear(0, ETH, to("beta")), None);
    assert_eq!(bench.hear(0, ETH, Message { seq: Some(Seq(3)), ..to("alpha") }), Some(BETA));
}

#[test]
fn peer_with_a_new_uuid_is_the_same_peer() {
    let mut bench = Bench::met();
    let new = Uuid([0x77; 16]);
    assert_eq!(bench.hear(0, ETH, Message { src_uuid: Some(new), ..message(4, Body::Starting) }), Some(BETA));
    assert_eq!(bench.comms.peer(BETA).uuid, new);
    // But not on the word of a replay.
    let replay = Message { generation: Generation(1), ..message(5, Body::Starting) };
    bench.hear(0, ETH, replay);
    assert_eq!(bench.comms.peer(BETA).uuid, new);
}

#[test]
fn own_messages_looped_back_are_counted_and_change_nothing() {
    let mut bench = Bench::met();
    let own = Message { src: "alpha", src_uuid: Some(ALPHA_UUID), generation: Generation(3), ..beat(1) };
    assert_eq!(bench.hear(0, ETH, own), None);
    assert_eq!((bench.comms.counters().own, bench.comms.counters().impostors), (1, 0));
    // The same name with another uuid, or in a run that we have not had: another daemon.
    bench.hear(0, ETH, Message { src_uuid: Some(Uuid([9; 16])), ..own });
    bench.hear(0, ETH, Message { generation: Generation(4), ..own });
    assert_eq!((bench.comms.counters().own, bench.comms.counters().impostors), (1, 2));
    assert_eq!((bench.told(), bench.events()), (vec![], vec![]));
}

#[test]
fn later_run_of_ours_that_a_peer_knows_is_told_once() {
    let mut bench = Bench::met();
    let knowing = |seq, known| {
        let extension = Extension { echo_generation: Generation(known), ..extension(0) };
        let (status, dead_ms) = (Some(NodeStatus::Active), Some(1000));
        message(
            seq,
            Body::Status { status, dead_ms, has_protocol: true, is_nullbeat: true, extension: Some(extension) },
        )
    };
    for known in 0..=3 {
        bench.hear(0, ETH, knowing(4 + u64::from(known), known));
    }
    assert_eq!(bench.outrun, [], "ours is 3");
    // Not on the word of a replay.
    bench.hear(0, ETH, Message { generation: Generation(1), ..knowing(9, 50) });
    assert_eq!(bench.outrun, []);
    // Ours is 3, but it has heard numbers that this run of ours has not come to: there was another one.
    let mut copied = Bench::met();
    let other_run = Extension { echo_generation: Generation(3), echo_seq: Seq(1000), ..extension(0) };
    let Body::Status { status, dead_ms, has_protocol, is_nullbeat, .. } = knowing(4, 3).body else {
        panic!("a status")
    };
    let said = Body::Status { status, dead_ms, has_protocol, is_nullbeat, extension: Some(other_run) };
    copied.hear(0, ETH, message(4, said));
    assert_eq!(copied.outrun, [Generation(3)]);
    bench.hear(0, ETH, knowing(10, 9));
    bench.hear(0, ETH, knowing(11, 12));
    assert_eq!(bench.outrun, [Generation(9)]);
}

#[test]
fn addressing_by_uuid_first_then_by_name() {
    let mut bench = Bench::met();
    let other = Some(Uuid([0xcc; 16]));
    let cases = [
        (None, None, true),
        (Some("alpha"), None, true),
        (Some("gamma"), None, false),
        (Some("alpha"), Some(ALPHA_UUID), true),
        (None, Some(ALPHA_UUID), true),
        (Some("oldname"), Some(ALPHA_UUID), true),
        (Some("alpha"), other, false),
        (Some("alpha"), Some(Uuid::default()), true),
        (Some("gamma"), Some(Uuid::default()), false),
    ];
    for (seq, (dest, dest_uuid, is_ours)) in (4..).zip(cases) {
        let heard = bench.hear(0, ETH, Message { dest, dest_uuid, ..message(seq, Body::Starting) });
        assert_eq!(heard, is_ours.then_some(BETA), "dest {dest:?} uuid {dest_uuid:?}");
    }
}

#[test]
fn ns_messages_are_addressed_by_name_alone() {
    let mut bench = Bench::met();
    let kind = Body::Other { kind: "NS_st" };
    assert_eq!(bench.hear(0, ETH, Message { dest_uuid: Some(BETA_UUID), ..message(0, kind) }), Some(BETA));
    assert_eq!(bench.hear(0, ETH, Message { dest: Some("beta"), ..message(0, kind) }), None);
}

/// Alpha has lost its generation, and begins with 3.
fn guessing() -> Bench {
    Bench::with(Settings { is_generation_guessed: true, ..settings(&["alpha", "beta"]) })
}

/// A beat of beta, a nullbeat, which knows this generation of alpha.
fn knowing(seq: u64, known: u32) -> Message<'static> {
    let extension = Some(Extension { echo_generation: Generation(known), ..extension(0) });
    let (status, dead_ms) = (Some(NodeStatus::Active), Some(1000));
    message(seq, Body::Status { status, dead_ms, has_protocol: true, is_nullbeat: true, extension })
}

/// A beat of a nullbeat that does not say what it knows.
fn plain(seq: u64) -> Message<'static> {
    let (status, dead_ms) = (Some(NodeStatus::Active), Some(1000));
    message(seq, Body::Status { status, dead_ms, has_protocol: true, is_nullbeat: true, extension: None })
}

#[test]
fn node_without_generation_says_nothing_before_it_is_told_of_its_runs() {
    for known in [0, 2] {
        let mut bench = guessing();
        bench.hear(100, ETH, plain(1));
        bench.run_to(900);
        assert_eq!(bench.beats(), []);
        bench.hear(900, ETH, knowing(2, known));
        assert!(!bench.beats().is_empty(), "beta knows {known}: ours is above");
        assert_eq!(bench.outrun, []);
    }
}

#[test]
fn node_without_generation_begins_unheard_above_what_its_partner_knows() {
    let mut bench = guessing();
    bench.hear(100, ETH, knowing(1, 7));
    assert_eq!(bench.outrun, [Generation(7)]);
    bench.run_to(900);
    assert_eq!(bench.beats(), [], "the next engine is above 7");
}

#[test]
fn run_that_an_earlier_engine_has_heard_is_told_once_the_node_is_dead_or_heard_in_a_lower_one() {
    let mut bench = Bench::with(settings(&["alpha", "beta"]));
    bench.comms.state_mut(BETA).resume(Generation(40), Seq(7));
    assert_eq!(bench.comms.echo_of(BETA).0, Generation(0), "it may go on in that run");
    let mut silent = Bench::with(settings(&["alpha", "beta"]));
    silent.comms.state_mut(BETA).resume(Generation(40), Seq(7));
    silent.run_to(60_000);
    assert_eq!(silent.comms.echo_of(BETA), (Generation(40), Seq(0)));
    // Beta has lost its generation, and is not heard below the run that is known.
    bench.hear(100, ETH, beat(1));
    assert_eq!((bench.comms.peer(BETA).last_status, bench.comms.counters().replays), (None, 1));
    assert_ne!(bench.comms.peer(BETA).status, NodeStatus::Dead);
    assert_eq!(bench.comms.echo_of(BETA), (Generation(40), Seq(0)));
}

#[test]
fn node_without_generation_beside_a_heartbeat_waits_for_nothing() {
    let mut bench = guessing();
    bench.run_to(50);
    assert_eq!(bench.beats(), []);
    bench.hear(100, ETH, beat(1));
    assert!(!bench.beats().is_empty());
}

#[test]
fn node_without_generation_and_without_partner_speaks_in_time_to_be_heard() {
    let mut bench = guessing();
    let half = u64::try_from(bench.settings.initdead.as_millis() / 2).unwrap();
    bench.run_to(half - 1);
    assert_eq!(bench.beats(), []);
    bench.run_to(half);
    assert!(!bench.beats().is_empty());
    assert!(bench.told().is_empty(), "beta is not dead before initdead");
}
