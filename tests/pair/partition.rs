//! Cut links, and what becomes of two holders.

use super::*;

#[test]
fn one_link_cut_moves_nothing() {
    let mut table = Table::at_home(|_| {});
    for link in 0..2 {
        table.cut[0][link] = true;
        table.cut[1][link] = true;
        table.run(4_000);
        assert_eq!(table.owners(), [vec![0], vec![0], vec![1]]);
        assert!(table.core(0).ownership().alarms().contains(Alarm::LastLink));
        table.cut_all(false);
        table.run(1_000);
    }
    assert_eq!(table.overlaps, 0);
    assert!(!table.core(0).ownership().alarms().contains(Alarm::LastLink));
}

#[test]
fn both_links_cut_and_healed_the_fixed_loser_of_each_group_releases() {
    let mut table = Table::at_home(|_| {});
    table.cut_all(true);
    table.until(2_000, |table| table.owners() == [vec![0, 1], vec![0, 1], vec![0, 1]]);
    table.cut_all(false);
    let took = table.until(1_000, |table| table.owners() == [vec![0], vec![0], vec![1]]);
    assert!(took <= 300, "{took} ms");
    table.run(3_000);
    assert_eq!(table.owners(), [vec![0], vec![0], vec![1]]);
}

#[test]
fn heartbeat_that_is_back_after_a_partition_gets_nothing_before_it_has_dropped_everything() {
    let mut table = Table::new(|_| {});
    table.is_plain = true;
    table.boot(0);
    table.boot(1);
    table.until(12_000, |table| table.owners() == [vec![0], vec![0], vec![1]]);
    table.run(500);
    table.power_off(1);
    table.until(2_000, |table| table.running[0] == [true; 3]);
    let status = Body::Status {
        status: Some(NodeStatus::Active),
        dead_ms: Some(1_000),
        has_protocol: true,
        is_nullbeat: false,
        extension: None,
    };
    table.say(1, 1_000, status);
    // Its takeover of our groups has just ended there.
    let info = ResourceInfo::MachDown;
    table.say(1, 1_001, Body::Resource { holds: Holds::FOREIGN, is_full: false, is_stable: None, info });
    for seq in 1_002..1_012 {
        table.run(200);
        table.say(1, seq, status);
        assert_eq!((table.core(0).ownership().handover().name(), table.running[0]), ("none", [true; 3]));
    }
}

#[test]
fn split_brain_loser_names_the_node_that_releases() {
    let mut table = Table::at_home(|settings| settings.split_brain_loser = SplitBrainLoser::Node(NodeId(0)));
    table.cut_all(true);
    table.until(2_000, |table| table.owners() == [vec![0, 1], vec![0, 1], vec![0, 1]]);
    table.cut_all(false);
    table.until(1_000, |table| table.owners() == [vec![1], vec![1], vec![1]]);
}

#[test]
fn safe_policy_never_takes_from_a_silent_peer_without_a_word() {
    let mut table = Table::at_home(|settings| settings.takeover_policy = TakeoverPolicy::Safe);
    table.power_off(0);
    table.run(10_000);
    assert_eq!(table.owners(), [vec![], vec![], vec![1]]);
    assert!(table.core(1).ownership().alarms().contains(Alarm::NeedsOperator));
    table.request(1, Request::Takeover(Holds::ALL));
    table.until(100, |table| table.owners() == [vec![1], vec![1], vec![1]]);
    assert_eq!(table.replies, [(1, Outcome::Done)]);
}

#[test]
fn safe_policy_both_start_apart_neither_takes_then_they_meet() {
    let mut table = Table::new(|settings| settings.takeover_policy = TakeoverPolicy::Safe);
    table.cut_all(true);
    table.boot(0);
    table.boot(1);
    table.run(8_000);
    assert_eq!(table.owners(), [vec![], vec![], vec![]]);
    table.cut_all(false);
    table.until(1_000, |table| table.owners() == [vec![0], vec![0], vec![1]]);
}

#[test]
fn one_way_cut_the_deaf_node_takes_over_and_the_heard_one_releases() {
    let mut table = Table::at_home(|_| {});
    table.cut[0] = [true, true];
    // Beta no longer hears alpha; alpha hears beta claim everything and knows that it is not heard.
    table.until(4_000, |table| table.owners() == [vec![1], vec![1], vec![1]]);
}

#[test]
fn losers_that_contradict_give_way_to_the_rule_that_both_know() {
    let mut table = Table::new(|_| {});
    table.settings[0].split_brain_loser = SplitBrainLoser::Node(NodeId(1));
    table.settings[1].split_brain_loser = SplitBrainLoser::Node(NodeId(0));
    table.settings[1].config_digest = 2;
    table.cut_all(true);
    table.boot(0);
    table.boot(1);
    table.run(8_000);
    table.cut_all(false);
    table.until(1_000, |table| table.owners() == [vec![0], vec![0], vec![1]]);
    assert!(table.core(0).ownership().alarms().contains(Alarm::ConfigDiffers));
}

#[test]
fn holders_with_other_haresources_part_at_once_too() {
    let mut table = Table::new(|_| {});
    table.settings[1].resources_digest = 2;
    table.boot(0);
    table.boot(1);
    table.until(30_000, |table| table.owners() == [vec![0], vec![0], vec![1]]);
    table.cut_all(true);
    table.until(5_000, |table| table.owners() == [vec![0, 1], vec![0, 1], vec![0, 1]]);
    table.cut_all(false);
    table.until(2_000, |table| table.owners().iter().all(|owners| owners.len() == 1));
}
