//! What operators ask for.

use super::*;

#[test]
fn standby_moves_everything_and_it_stays_there() {
    let mut table = Table::at_home(|_| {});
    table.request(0, Request::Standby(Holds::ALL));
    table.until(500, |table| !table.replies.is_empty());
    assert_eq!(table.replies, [(0, Outcome::Done)]);
    assert_eq!(table.owners(), [vec![1], vec![1], vec![1]]);
    table.run(5_000);
    assert_eq!((table.overlaps, table.owners()), (0, [vec![1], vec![1], vec![1]]));
}

#[test]
fn takeover_moves_everything_here() {
    let mut table = Table::at_home(|_| {});
    table.request(1, Request::Takeover(Holds::ALL));
    table.until(500, |table| !table.replies.is_empty());
    assert_eq!(table.replies, [(1, Outcome::Done)]);
    assert_eq!((table.overlaps, table.owners()), (0, [vec![1], vec![1], vec![1]]));
}

#[test]
fn standby_without_a_partner_is_refused() {
    let mut table = Table::at_home(|_| {});
    table.power_off(1);
    table.run(1_500);
    table.request(0, Request::Standby(Holds::ALL));
    assert_eq!(table.replies, [(0, Outcome::Refused(Refusal::PartnerAbsent))]);
}

#[test]
fn hold_freezes_takeovers_until_resume() {
    let mut table = Table::at_home(|_| {});
    table.request(1, Request::Hold);
    table.power_off(0);
    table.run(5_000);
    assert_eq!(table.owners(), [vec![], vec![], vec![1]]);
    table.request(1, Request::Resume);
    table.until(100, |table| table.owners() == [vec![1], vec![1], vec![1]]);
}

#[test]
fn moves_latch_after_so_many_an_hour() {
    let mut table = Table::at_home(|settings| settings.moves_per_hour = 4);
    for _ in 0..2 {
        table.power_off(0);
        table.until(2_000, |table| table.owners() == [vec![1], vec![1], vec![1]]);
        table.boot(0);
        table.until(1_000, |table| table.owners() == [vec![0], vec![0], vec![1]]);
        table.run(1_000);
    }
    table.power_off(0);
    table.until(2_000, |table| table.owners() == [vec![1], vec![1], vec![1]]);
    table.boot(0);
    table.run(5_000);
    assert_eq!(table.owners(), [vec![1], vec![1], vec![1]], "latched");
    table.request(1, Request::Resume);
    table.until(1_000, |table| table.owners() == [vec![0], vec![0], vec![1]]);
    assert_eq!(table.replies, [(1, Outcome::Done)], "the latch was lifted");
}

#[test]
fn what_an_operator_sends_home_does_not_count_for_the_latch() {
    let mut table = Table::at_home(|settings| {
        settings.moves_per_hour = 2;
        settings.auto_failback = AutoFailback::Off;
    });
    table.power_off(0);
    table.until(2_000, |table| table.owners() == [vec![1], vec![1], vec![1]]);
    table.boot(0);
    table.run(5_000);
    table.request(1, Request::Failback(Holds::ALL));
    table.until(2_000, |table| table.owners() == HOME());
    table.run(5_000);
    assert_eq!(table.replies, [(1, Outcome::Done)]);
    assert!(!table.core(1).ownership().alarms().contains(Alarm::MovesLatched), "only the death counts");
}

#[test]
fn crossing_standby_requests_end_both_with_an_answer() {
    let mut table = Table::at_home(|_| {});
    table.request(0, Request::Standby(Holds::LOCAL));
    table.request(1, Request::Standby(Holds::LOCAL));
    table.until(12_000, |table| table.replies.len() == 2);
    table.run(1_000);
    assert_eq!(table.overlaps, 0);
    for owners in table.owners() {
        assert_eq!(owners.len(), 1);
    }
}

#[test]
fn takeover_without_a_guardian_is_refused_and_stop_never_for_want_of_room() {
    let mut table = Table::at_home(|settings| settings.takeover_policy = TakeoverPolicy::Safe);
    table.give(1, Input::Guardian { is_present: false });
    table.power_off(0);
    table.run(5_000);
    table.request(1, Request::Takeover(Holds::ALL));
    assert_eq!(table.replies, [(1, Outcome::Refused(Refusal::NoGuardian))]);
    table.give(1, Input::Guardian { is_present: true });
    for _ in 0..12 {
        table.request(1, Request::Stop);
    }
    table.until(3_000, |table| table.exited[1]);
    assert_eq!(table.replies.len(), 13, "each is answered once");
}

#[test]
fn takeover_of_one_side_from_a_dead_partner_takes_that_side() {
    let mut table = Table::at_home(|settings| settings.takeover_policy = TakeoverPolicy::Safe);
    table.request(0, Request::Takeover(Holds::ALL));
    table.until(1_000, |table| table.owners() == [vec![0], vec![0], vec![0]]);
    table.power_off(0);
    table.run(5_000);
    table.request(1, Request::Takeover(Holds::LOCAL));
    table.run(5_000);
    assert_eq!(table.owners(), [vec![], vec![], vec![1]]);
}

#[test]
fn stop_and_standby_run_no_script_of_groups_that_are_not_held() {
    let mut table = Table::at_home(|_| {});
    table.orders.clear();
    table.request(0, Request::Standby(Holds::LOCAL));
    table.until(2_000, |table| table.running[1] == [true; 3]);
    table.run(500);
    let stops = |table: &Table, node: usize| -> Vec<u8> {
        table.orders.iter().filter(|order| order.0 == node && order.2 == Order::Stop).map(|order| order.1).collect()
    };
    assert_eq!((stops(&table, 0), stops(&table, 1)), (vec![0, 1], vec![]));
    table.orders.clear();
    table.request(0, Request::Stop);
    table.until(2_000, |table| table.exited[0]);
    assert_eq!(table.orders, [], "it held nothing");
}

/// A tool had written it while the other daemon was down (spec/resources.md 21 G11).
#[test]
fn stale_request_for_a_standby_locks_nobody_for_long() {
    let mut table = Table::new(|_| {});
    table.is_plain = true;
    table.boot(0);
    table.boot(1);
    table.until(20_000, |table| table.owners() == [vec![0], vec![0], vec![1]]);
    table.run(2_000);
    let seq = table.core(1).comms().own_seq().0 + 1;
    let (set, word) = (Holds::FOREIGN, StandbyWord::Me);
    table.say(1, seq, Body::AskResources { set, word, only: None, after_failure: false });
    assert_ne!(table.core(0).ownership().handover().name(), "none", "it has answered");
    let took = table.until(15_000, |table| table.core(0).ownership().handover().name() == "none");
    assert!(took <= 12_000, "{took} ms");
    table.request(0, Request::Standby(Holds::ALL));
    table.until(15_000, |table| table.running[1] == [true; 3]);
}
