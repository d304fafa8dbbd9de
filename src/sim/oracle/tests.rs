use super::*;

const IN_USE: Use = Use { is_in_use: true, is_complete: true, is_up: true, is_stuck: false, ordered_at: 0, excused: 0 };
const FREE: Use =
    Use { is_in_use: false, is_complete: false, is_up: false, is_stuck: false, ordered_at: 0, excused: 0 };

fn oracle(policy: TakeoverPolicy) -> Oracle {
    let mut oracle = Oracle::new(&Plan { policy, ..Plan::quiet() });
    for node in 0..2 {
        oracle.engine_began(node, 0, 4 * S, false);
        oracle.heard(node, 1 - node, Generation(1), Seq(1), 0, 0);
    }
    oracle
}

fn rules(oracle: &Oracle) -> Vec<&'static str> {
    oracle.violations.iter().map(|violation| violation.rule).collect()
}

fn view<'a>(now: u64, uses: [&'a [Use]; 2]) -> View<'a> {
    let nodes = uses.map(|uses| Seen {
        is_healthy: true,
        is_present: true,
        left_at: None,
        since: 0,
        is_held: false,
        is_stopping: false,
        uses,
        start_failed: 0,
        needs_person: false,
    });
    View { now, nodes, is_disturbed: false, is_script_trouble: false, is_tidy: false }
}

#[test]
fn overlap_is_excused_after_the_dead_time_and_not_before() {
    for (own, expected) in [(990 * MS, vec!["exclusive"]), (1000 * MS, vec![])] {
        let mut oracle = oracle(TakeoverPolicy::Available);
        let excused = oracle.excused(1, own, false);
        let mine = Use { ordered_at: own, excused, ..IN_USE };
        oracle.use_began(own, 1, 0, &[&[IN_USE], &[mine]]);
        assert_eq!(rules(&oracle), expected);
    }
}

#[test]
fn safe_policy_needs_an_operators_word_given_while_silent() {
    let mut oracle = oracle(TakeoverPolicy::Safe);
    assert_eq!(oracle.excused(1, 2 * S, false), 0);
    oracle.vouched(1, S / 2);
    assert_eq!(oracle.excused(1, 2 * S, false), 0, "the partner was there when he spoke");
    oracle.vouched(1, 2 * S);
    assert_eq!(oracle.excused(1, 2 * S, false), 1);
    oracle.heard(1, 0, Generation(1), Seq(2), 2 * S, 2 * S);
    assert_eq!(oracle.excused(1, 4 * S, false), 0, "it was heard again: his word is spent");
}

#[test]
fn late_node_must_hear_out_one_keepalive() {
    let mut oracle = oracle(TakeoverPolicy::Available);
    oracle.woke(1, 3 * S, 2 * S);
    oracle.declared_dead(3 * S, 3 * S, 1, 0);
    assert_eq!(rules(&oracle), ["judge"]);
    assert!(oracle.is_deaf(1, 0, 3 * S + 200 * MS));
}

#[test]
fn old_messages_are_no_sign_of_life() {
    let mut oracle = oracle(TakeoverPolicy::Available);
    oracle.heard(1, 0, Generation(2), Seq(9), 100 * MS, 100 * MS);
    oracle.heard(1, 0, Generation(2), Seq(8), S, S);
    oracle.heard(1, 0, Generation(1), Seq(99), S, S);
    assert!(oracle.is_deaf(1, 0, 1100 * MS));
}

#[test]
fn order_given_before_a_legitimate_takeover_is_excused_by_it() {
    let mut oracle = oracle(TakeoverPolicy::Available);
    // Node 1 took over at 5 s, deaf; node 0 was frozen with an order of 1 s in its lane.
    let theirs = Use { ordered_at: 5 * S, excused: 1, ..IN_USE };
    let mine = Use { ordered_at: S, ..IN_USE };
    oracle.use_began(6 * S, 0, 0, &[&[mine], &[theirs]]);
    assert_eq!(rules(&oracle), [""; 0]);
}

#[test]
fn overlap_must_end_once_they_meet() {
    let mut oracle = oracle(TakeoverPolicy::Available);
    for beat in 0..40 {
        let now = beat * 200 * MS;
        oracle.heard(0, 1, Generation(1), Seq(beat + 2), now, now);
        oracle.disturbed(now);
        oracle.check(&view(now, [&[IN_USE], &[IN_USE]]));
    }
    assert_eq!(rules(&oracle), ["healed"]);
}

#[test]
fn group_that_nobody_runs_is_reported_after_the_bound() {
    let mut oracle = oracle(TakeoverPolicy::Available);
    for second in 0..25 {
        oracle.check(&view(second * S, [&[FREE], &[FREE]]));
    }
    assert_eq!(rules(&oracle), ["live"]);
}

#[test]
fn requests_have_one_answer() {
    let mut oracle = oracle(TakeoverPolicy::Available);
    oracle.asked(0, 0, RequestId(1));
    oracle.asked(0, 0, RequestId(2));
    oracle.replied(1, 0, RequestId(1));
    oracle.replied(1, 0, RequestId(1));
    oracle.finish(2);
    assert_eq!(rules(&oracle), ["answered", "answered"]);
}

#[test]
fn end_with_a_group_in_use_is_not_clean() {
    let mut oracle = oracle(TakeoverPolicy::Available);
    oracle.exited(0, 0, &[FREE]);
    assert!(oracle.violations.is_empty());
    oracle.exited(0, 0, &[IN_USE]);
    assert_eq!(rules(&oracle), ["clean end"]);
}

#[test]
fn moves_are_counted_against_disturbances() {
    let mut oracle = oracle(TakeoverPolicy::Available);
    for turn in 0..4 {
        let node = turn % 2;
        let mut boards = [[FREE], [FREE]];
        boards[node] = [IN_USE];
        oracle.use_began(0, node, 0, &[&boards[0], &boards[1]]);
    }
    assert_eq!(oracle.moves(), 3);
    assert_eq!(rules(&oracle), ["steady"]);
}

#[test]
fn who_has_slept_lets_go_and_nobody_else() {
    for (sleepers, node, expected) in [
        ([true, false], 1, vec!["slept"]),
        ([true, false], 0, vec![]),
        ([true, true], 1, vec![]),
        ([false; 2], 1, vec![]),
    ] {
        let mut oracle = oracle(TakeoverPolicy::Available);
        (0..2).filter(|node| sleepers[*node]).for_each(|node| oracle.overslept(0, node));
        oracle.let_go(100 * MS, node, 0, [IN_USE; 2]);
        assert_eq!(rules(&oracle), expected, "{sleepers:?} {node}");
    }
    let mut oracle = oracle(TakeoverPolicy::Available);
    oracle.overslept(0, 0);
    oracle.check(&view(100 * MS, [&[IN_USE], &[FREE]]));
    oracle.let_go(200 * MS, 1, 0, [IN_USE; 2]);
    assert_eq!(rules(&oracle), [""; 0], "it had found out that nobody else had it");
}

#[test]
fn message_of_an_older_run_is_no_sign_of_life_once_a_newer_one_spoke() {
    let mut oracle = oracle(TakeoverPolicy::Available);
    oracle.met(0, 1, Generation(2));
    // Played back.
    oracle.heard(0, 1, Generation(1), Seq(9), 900 * MS, 900 * MS);
    oracle.declared_dead(S, S, 0, 1);
    assert_eq!(rules(&oracle), [""; 0]);
    oracle.heard(0, 1, Generation(2), Seq(1), 2 * S, 2 * S);
    oracle.declared_dead(2 * S, 2 * S, 0, 1);
    assert_eq!(rules(&oracle), ["judge"]);
}
