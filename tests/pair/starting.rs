//! How a node starts, ends, dies and comes back.

use super::*;

#[test]
fn both_start_each_takes_its_own_within_300_ms() {
    let mut table = Table::new(|_| {});
    table.boot(0);
    table.boot(1);
    let took = table.until(1_000, |table| table.owners() == [vec![0], vec![0], vec![1]]);
    assert!(took <= 300, "{took} ms");
    table.run(5_000);
    assert_eq!(table.overlaps, 0);
    assert!(table.core(0).ownership().is_settled());
}

#[test]
fn lonely_start_takes_everything_after_initdead_with_an_alarm() {
    let mut table = Table::new(|_| {});
    table.boot(0);
    table.run(3_900);
    assert_eq!(table.owners(), [vec![], vec![], vec![]]);
    table.until(300, |table| table.owners() == [vec![0], vec![0], vec![0]]);
    assert!(table.core(0).ownership().alarms().contains(Alarm::Unfenced));
}

#[test]
fn owner_loses_power_the_other_takes_over_after_its_deadtime() {
    let mut table = Table::at_home(|_| {});
    table.power_off(0);
    let took = table.until(2_000, |table| table.owners() == [vec![1], vec![1], vec![1]]);
    assert!((800..=1_030).contains(&took), "{took} ms");
    assert_eq!(table.overlaps, 0);
}

#[test]
fn owner_is_stopped_the_other_takes_over_at_once() {
    let mut table = Table::at_home(|_| {});
    table.request(0, Request::Stop);
    let took = table.until(200, |table| table.exited[0]);
    assert!(took <= 40, "{took} ms");
    table.until(100, |table| table.owners() == [vec![1], vec![1], vec![1]]);
    assert_eq!((table.overlaps, &table.replies[..]), (0, &[(0, Outcome::Done)][..]));
}

#[test]
fn goodbye_is_said_once_to_a_heartbeat_which_takes_over_for_each() {
    let mut table = Table::new(|_| {});
    table.is_plain = true;
    table.boot(0);
    table.boot(1);
    let took = table.until(12_000, |table| table.owners() == [vec![0], vec![0], vec![1]]);
    assert!(took >= 10_000, "{took} ms: no Heartbeat would be ready sooner");
    table.run(500);
    table.request(0, Request::Stop);
    table.until(200, |table| table.owners() == [vec![1], vec![1], vec![1]]);
    table.until(1_000, |table| table.exited[0]);
    assert_eq!((table.overlaps, table.goodbyes), (0, [1, 0]));
}

#[test]
fn returning_node_gets_its_groups_back() {
    let mut table = Table::at_home(|_| {});
    table.power_off(0);
    table.until(2_000, |table| table.owners() == [vec![1], vec![1], vec![1]]);
    table.boot(0);
    let took = table.until(1_000, |table| table.owners() == [vec![0], vec![0], vec![1]]);
    assert!(took <= 300, "{took} ms");
    table.run(3_000);
    assert_eq!((table.overlaps, table.owners()), (0, [vec![0], vec![0], vec![1]]));
}

#[test]
fn returning_node_waits_with_auto_failback_off() {
    let mut table = Table::at_home(|settings| settings.auto_failback = AutoFailback::Off);
    table.power_off(0);
    table.until(2_000, |table| table.owners() == [vec![1], vec![1], vec![1]]);
    table.boot(0);
    table.run(5_000);
    assert_eq!((table.overlaps, table.owners()), (0, [vec![1], vec![1], vec![1]]));
    table.request(1, Request::Failback(Holds::ALL));
    table.until(500, |table| !table.replies.is_empty());
    assert_eq!(table.owners(), [vec![0], vec![0], vec![1]]);
    assert_eq!((table.overlaps, &table.replies[..]), (0, &[(1, Outcome::Done)][..]));
}

#[test]
fn failback_delay_holds_the_groups_back() {
    let mut table = Table::at_home(|settings| settings.failback_delay = Duration::from_secs(3));
    table.power_off(0);
    table.until(2_000, |table| table.owners() == [vec![1], vec![1], vec![1]]);
    table.boot(0);
    table.run(2_900);
    assert_eq!(table.owners(), [vec![1], vec![1], vec![1]]);
    table.until(700, |table| table.owners() == [vec![0], vec![0], vec![1]]);
}

#[test]
fn leftovers_of_an_unknown_past_are_stopped_before_anything_is_said() {
    let mut table = Table::new(|_| {});
    table.running[1][0] = true;
    table.boot(1);
    table.until(100, |table| !table.running[1][0]);
    table.boot(0);
    table.until(1_000, |table| table.owners() == [vec![0], vec![0], vec![1]]);
    assert_eq!(table.overlaps, 0);
}

#[test]
fn both_stopped_at_once_nobody_takes_over() {
    let mut table = Table::at_home(|_| {});
    table.request(0, Request::Stop);
    table.request(1, Request::Stop);
    table.until(3_000, |table| table.exited == [true, true]);
    assert_eq!((table.overlaps, table.owners()), (0, [vec![], vec![], vec![]]));
}

#[test]
fn lonely_starting_node_stops_at_once() {
    let mut table = Table::new(|_| {});
    table.boot(0);
    table.run(500);
    table.request(0, Request::Stop);
    table.until(50, |table| table.exited[0]);
}

#[test]
fn leftover_that_would_not_stop_is_stopped_again_after_the_repair() {
    let mut table = Table::new(|_| {});
    table.running[0][2] = true;
    table.stuck[0][2] = true;
    table.boot(0);
    table.boot(1);
    table.run(5_000);
    assert_eq!(table.state(0, 2), GroupState::StopFailed);
    table.stuck[0][2] = false;
    table.until(700_000, |table| table.owners() == [vec![0], vec![0], vec![1]]);
    table.request(0, Request::Stop);
    table.until(3_000, |table| table.exited[0]);
}

#[test]
fn replaced_engine_judges_its_partner_by_deadtime_not_by_initdead() {
    let mut table = Table::at_home(|settings| settings.initdead = Duration::from_secs(60));
    table.power_off(0);
    table.generation[1] += 1;
    let identity = Identity { uuid: Uuid([2; 16]), generation: Generation(table.generation[1]) };
    let mut states = [GroupState::Stopped; GROUPS_MAX];
    states[2] = GroupState::Running;
    let carried = Carried {
        claims: GroupSet::only(GroupId(2)),
        states,
        is_certain: true,
        partner: Some(CarriedPartner::default()),
        ..Carried::nothing()
    };
    table.nodes[1] = Some(Box::new(Node::new(table.settings[1].clone(), identity, Some(carried), table.stamp())));
    table.give(1, Input::Tick);
    let took = table.until(100_000, |table| table.owners() == [vec![1], vec![1], vec![1]]);
    assert!(took <= 1_300, "{took} ms");
    assert_eq!(table.overlaps, 0);
}
