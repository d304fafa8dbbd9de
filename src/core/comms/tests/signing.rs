//! Which key signs.

use super::*;

const OWN: KeyNumber = KeyNumber(1);
const OTHER: KeyNumber = KeyNumber(2);

fn signed(key: KeyNumber, message: Message<'static>) -> Message<'static> {
    Message { key, ..message }
}

fn key_of(bench: &Bench) -> KeyNumber {
    bench.comms.signing_key(&bench.settings)
}

fn of_nullbeat(seq: u64) -> Message<'static> {
    let body = Body::Status {
        status: Some(NodeStatus::Active),
        dead_ms: Some(1000),
        has_protocol: true,
        is_nullbeat: true,
        extension: Some(extension(0)),
    };
    message(seq, body)
}

#[test]
fn key_of_the_auth_line_signs_until_a_heartbeat_signs_with_another_one() {
    let mut bench = Bench::new();
    assert_eq!(key_of(&bench), OWN);
    bench.hear(0, ETH, signed(OTHER, message(0, Body::Ack { acked: Seq(1) })));
    bench.hear(0, ETH, signed(OTHER, message(1, Body::Starting)));
    assert_eq!(key_of(&bench), OWN, "only a status counts");
    bench.hear(10, ETH, signed(OTHER, beat(2)));
    assert_eq!(key_of(&bench), OTHER);
    bench.hear(20, ETH, signed(OWN, beat(3)));
    assert_eq!(key_of(&bench), OWN, "its keys have been rolled over");
}

#[test]
fn nothing_that_is_old_turns_the_key_back() {
    let mut bench = Bench::new();
    for seq in [1, 2, 4, 5] {
        bench.hear(seq, ETH, signed(OWN, beat(seq)));
    }
    bench.hear(10, ETH, signed(OTHER, beat(6)));
    for (why, message) in [
        ("a copy", beat(5)),
        ("late, and wanted", beat(3)),
        ("no number", message(0, Body::Ack { acked: Seq(1) })),
        ("an earlier run", Message { generation: Generation(4), ..beat(90) }),
        ("a stranger", Message { src: "delta", src_uuid: None, ..beat(91) }),
        ("our own name", Message { src: "alpha", src_uuid: None, ..beat(92) }),
    ] {
        bench.hear(20, ETH, signed(OWN, message));
        assert_eq!(key_of(&bench), OTHER, "{why}");
    }
    bench.run_to(5_000);
    assert_eq!(bench.comms.peer(BETA).status, NodeStatus::Dead);
    bench.hear(5_010, ETH, signed(OWN, beat(5)));
    assert_eq!(key_of(&bench), OTHER, "from before its death; and it may hear us although we do not hear it");
}

#[test]
fn nullbeat_is_not_followed_nor_one_that_has_become_one() {
    let mut bench = Bench::new();
    bench.hear(0, ETH, signed(OTHER, of_nullbeat(1)));
    bench.hear(10, ETH, signed(OTHER, beat(2)));
    assert_eq!(key_of(&bench), OWN, "not each of its statuses has the extension");
    let next = |generation, message| signed(OTHER, Message { generation: Generation(generation), ..message });
    bench.hear(20, ETH, next(6, beat(1)));
    assert_eq!(key_of(&bench), OTHER, "replaced by a Heartbeat");
    bench.hear(30, ETH, next(7, of_nullbeat(1)));
    assert_eq!(key_of(&bench), OWN, "and back");
}

#[test]
fn of_several_heartbeats_one_with_our_key_decides_then_the_first_and_the_living_before_the_dead() {
    let mut bench = Bench::with(settings(&["alpha", "beta", "gamma"]));
    let gamma = |key, seq| signed(key, Message { src: "gamma", src_uuid: None, ..beat(seq) });
    let third = KeyNumber(3);
    bench.hear(0, ETH, gamma(third, 1));
    assert_eq!(key_of(&bench), third);
    bench.hear(0, ETH, signed(OTHER, beat(1)));
    assert_eq!(key_of(&bench), OTHER, "beta stands first");
    bench.hear(10, ETH, gamma(OWN, 2));
    assert_eq!(key_of(&bench), OWN);
    bench.hear(20, ETH, gamma(third, 3));
    for seq in 2..20 {
        bench.run_to(seq * 500);
        bench.hear(seq * 500, ETH, gamma(third, seq + 2));
    }
    assert_eq!(bench.comms.peer(BETA).status, NodeStatus::Dead);
    assert_eq!(key_of(&bench), third, "beta is dead");
}
