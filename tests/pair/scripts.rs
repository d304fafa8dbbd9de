//! Scripts that fail, and partners that tell less.

use super::*;

#[test]
fn failed_start_is_offered_once_and_never_played_as_ping_pong() {
    let mut table = Table::at_home(|_| {});
    table.power_off(0);
    table.until(2_000, |table| table.owners() == [vec![1], vec![1], vec![1]]);
    table.fails[0][0] = true;
    table.boot(0);
    // Group 0 comes home, does not start, goes back; group 1 stays at home.
    table.until(1_000, |table| table.owners() == [vec![1], vec![0], vec![1]]);
    table.run(60_000);
    assert_eq!((table.overlaps, table.owners()), (0, [vec![1], vec![0], vec![1]]));
}

#[test]
fn start_that_fails_on_both_is_retried_with_growing_pauses() {
    let mut table = Table::new(|_| {});
    table.fails[0][0] = true;
    table.fails[1][0] = true;
    table.boot(0);
    table.boot(1);
    table.run(5_000);
    assert_eq!(table.state(1, 0), GroupState::StartFailed);
    assert_eq!(table.owners(), [vec![], vec![0], vec![1]]);
    table.fails[1][0] = false;
    table.until(90_000, |table| table.owners() == [vec![1], vec![0], vec![1]]);
    assert_eq!(table.overlaps, 0);
}

/// Neither is told that the other could not start them.
#[test]
fn starts_that_fail_on_both_do_not_go_to_and_fro_between_two_that_take_each_other_for_heartbeats() {
    let mut table = Table::new(|_| {});
    table.is_plain = true;
    table.fails = [[true, true, false]; 2];
    table.boot(0);
    table.boot(1);
    table.until(20_000, |table| table.orders.contains(&(1, 1, Order::Start)));
    table.run(5_000);
    for group in [0, 1] {
        let starts = table.orders.iter().filter(|order| (order.1, order.2) == (group, Order::Start)).count();
        assert_eq!(starts, 3, "at home, at the other, and at home again: {:?}", table.orders);
    }
    table.fails = [[false; 3]; 2];
    table.until(90_000, |table| table.owners() == HOME());
    assert_eq!(table.overlaps, 0);
}

#[test]
fn failed_stop_is_never_given_away() {
    let mut table = Table::at_home(|_| {});
    table.stuck[0][0] = true;
    table.request(0, Request::Standby(Holds::ALL));
    table.until(1_000, |table| !table.replies.is_empty());
    assert!(matches!(table.replies[0].1, Outcome::Failed(_)));
    table.run(5_000);
    assert_eq!((table.overlaps, table.owners()), (0, [vec![0], vec![0], vec![1]]));
    assert!(table.core(0).ownership().alarms().contains(Alarm::StopFailed(GroupId(0))));
}

#[test]
fn unanswered_offers_are_no_moves_and_are_not_repeated_at_once() {
    let mut table = Table::at_home(|settings| settings.moves_per_hour = 4);
    table.power_off(0);
    table.until(5_000, |table| table.owners() == [vec![1], vec![1], vec![1]]);
    table.boot(0);
    table.request(0, Request::Hold);
    table.run(200_000);
    assert_eq!(table.owners(), [vec![1], vec![1], vec![1]]);
    table.request(0, Request::Resume);
    table.until(70_000, |table| table.owners() == [vec![0], vec![0], vec![1]]);
    assert_eq!(table.overlaps, 0);
}

/// What node 1 gives up is announced before it is done, and then it dies (spec/resources.md section 22, number 1).
#[test]
fn partner_that_dies_in_the_middle_of_a_release_has_not_given_up() {
    for request in [Request::Stop, Request::Standby(Holds::ALL)] {
        let mut table = Table::new(|settings| settings.takeover_policy = TakeoverPolicy::Safe);
        table.is_plain = true;
        table.boot(0);
        table.boot(1);
        table.until(20_000, |table| table.owners() == [vec![0], vec![0], vec![1]]);
        table.run(2_000);
        table.request(1, request);
        table.until(2_000, |table| table.jobs.iter().any(|job| job.1 == 1 && job.4 == Order::Stop));
        // Its words have arrived, its scripts have not ended.
        for job in table.jobs.iter_mut().filter(|job| job.1 == 1) {
            job.0 += 5_000;
        }
        table.until(1_000, |table| table.core(0).ownership().partner_announced() == Holds::NONE);
        table.power_off(1);
        table.run(5_000);
        assert_eq!(table.owners()[2], [], "{request:?}: nobody vouches for its being off");
        assert!(table.core(0).ownership().alarms().contains(Alarm::NeedsOperator), "{request:?}");
    }
}

#[test]
fn node_calls_itself_stable_only_when_its_scripts_are_done() {
    let mut table = Table::at_home(|_| {});
    table.power_off(1);
    table.until(3_000, |table| table.running[0] == [true; 3]);
    table.run(1_000);
    table.boot(1);
    table.until(3_000, |table| table.owners() == [vec![0], vec![0], vec![1]]);
    table.run(1_000);
    table.request(0, Request::Standby(Holds::ALL));
    table.until(3_000, |table| table.running[1] == [true; 3]);
    table.run(1_000);
    assert_eq!(table.stable_too_early, 0);
}

#[test]
fn partner_without_extension_that_cannot_start_a_group_is_not_given_it_again_and_again() {
    let mut table = Table::new(with_upstream);
    table.is_plain = true;
    table.boot(0);
    table.boot(1);
    table.until(12_000, |table| table.owners() == HOME());
    table.run(500);
    table.fails[1][0] = true;
    table.reaches[0] = [false; 2];
    table.until(5_000, |table| !table.running[0][0]);
    table.until(30_000, |table| table.running[0][0]);
    let since = table.now;
    let took = table.until(1_200_000, |table| !table.running[0][0]);
    assert!(took >= 599_000, "offered again after {took} ms");
    assert!(table.now - since < 700_000, "and not never");
    assert_eq!(table.overlaps, 0);
}
