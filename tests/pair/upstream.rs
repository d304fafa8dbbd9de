//! Ping nodes.

use super::*;

#[test]
fn upstream_of_one_lost_groups_go_to_the_other_and_home_when_it_is_back() {
    let mut table = Table::at_home(with_upstream);
    table.reaches[0][1] = false;
    let took = table.until(3_000, |table| table.owners() == all_on(1));
    assert!((900..=1_500).contains(&took), "deadping and hold-off: {took} ms");
    table.run(70_000);
    assert_eq!(table.owners(), all_on(1), "nothing goes home to a node that is behind");
    table.reaches[0][1] = true;
    let took = table.until(3_000, |table| table.owners() == HOME());
    assert!(took >= 500, "{took} ms: a returned upstream is mistrusted for the hold-off");
    table.run(70_000);
    assert_eq!((table.owners(), table.overlaps), (HOME(), 0));
}

#[test]
fn upstream_back_without_auto_failback_groups_stay() {
    let mut table = Table::at_home(|settings| {
        with_upstream(settings);
        settings.auto_failback = AutoFailback::Off;
    });
    table.reaches[0] = [false; 2];
    table.until(3_000, |table| table.owners() == all_on(1));
    table.reaches[0] = [true; 2];
    table.run(70_000);
    assert_eq!((table.owners(), table.overlaps), (all_on(1), 0));
}

#[test]
fn upstream_of_both_lost_nothing_moves() {
    let mut table = Table::at_home(with_upstream);
    table.reaches[1] = [false; 2];
    table.run(150);
    table.reaches[0] = [false; 2];
    table.run(70_000);
    assert_eq!(table.owners(), HOME());
    // Nor when one of two is lost by each, nor when they come back one after the other within the hold-off.
    table.reaches[0] = [true; 2];
    table.run(300);
    table.reaches[1] = [true; 2];
    table.run(70_000);
    table.reaches = [[true, false], [false, true]];
    table.run(70_000);
    assert_eq!(table.owners(), HOME());
    assert_eq!(table.core(0).ownership().last_move(), None);
}

#[test]
fn upstream_off_or_without_ping_nodes_nothing_moves() {
    let mut table = Table::at_home(|settings| {
        with_upstream(settings);
        settings.upstream.has_failover = false;
    });
    table.reaches[0] = [false; 2];
    table.run(10_000);
    assert_eq!((table.owners(), table.ipfail.len()), (HOME(), 0));
}

#[test]
fn upstream_lost_while_held_moves_after_resume() {
    let mut table = Table::at_home(with_upstream);
    table.request(0, Request::Hold);
    table.reaches[0] = [false; 2];
    table.run(10_000);
    assert_eq!(table.owners(), HOME());
    table.request(0, Request::Resume);
    table.until(1_000, |table| table.owners() == all_on(1));
    table.reaches[0] = [true; 2];
    table.request(1, Request::Hold);
    table.run(10_000);
    assert_eq!(table.owners(), all_on(1));
    table.request(1, Request::Resume);
    table.until(1_000, |table| table.owners() == HOME());
    assert_eq!(table.overlaps, 0);
}

#[test]
fn upstream_moves_count_for_the_latch() {
    let mut table = Table::at_home(|settings| {
        with_upstream(settings);
        settings.moves_per_hour = 3;
    });
    let mut seen = Vec::new();
    for _ in 0..4 {
        table.reaches[0] = [false; 2];
        table.run(5_000);
        seen.push(table.owners());
        table.reaches[0] = [true; 2];
        table.run(5_000);
        seen.push(table.owners());
    }
    assert_eq!(seen[..3], [all_on(1), HOME(), all_on(1)]);
    assert!(seen[4..].windows(2).all(|pair| pair[0] == pair[1]), "{seen:?}");
    assert!((0..2).any(|node| table.core(node).ownership().alarms().contains(Alarm::MovesLatched)));
}

#[test]
fn returning_node_without_upstream_gets_nothing_until_it_has_it() {
    let mut table = Table::at_home(with_upstream);
    table.power_off(0);
    table.reaches[0] = [false; 2];
    table.until(2_000, |table| table.owners() == all_on(1));
    table.boot(0);
    table.run(20_000);
    assert_eq!(table.owners(), all_on(1), "no visit at home either");
    assert_eq!(table.core(1).ownership().last_move().map(|last| last.cause), Some(nullbeat::core::Cause::Death));
    table.reaches[0] = [true; 2];
    table.until(3_000, |table| table.owners() == HOME());
    assert_eq!(table.overlaps, 0);
}

#[test]
fn group_that_failed_to_start_at_the_better_node_stays_at_the_worse_one() {
    let mut table = Table::at_home(with_upstream);
    table.fails[1][0] = true;
    table.reaches[0] = [false; 2];
    table.run(30_000);
    assert_eq!(table.owners(), [vec![0], vec![1], vec![1]]);
    assert_eq!(table.overlaps, 0);
}

#[test]
fn operator_puts_groups_on_the_worse_node_they_come_back() {
    let mut table = Table::at_home(with_upstream);
    table.reaches[0] = [false; 2];
    table.until(3_000, |table| table.owners() == all_on(1));
    table.run(1_000);
    table.request(1, Request::Standby(Holds::ALL));
    table.until(1_000, |table| table.owners() == all_on(0));
    table.until(3_000, |table| table.owners() == all_on(1));
    assert_eq!(table.overlaps, 0);
}

/// Each takes the other for a Heartbeat, and what it says for ipfail's words.
#[test]
fn partner_without_extension_is_told_to_give_up() {
    let mut table = Table::new(with_upstream);
    table.is_plain = true;
    table.boot(0);
    table.boot(1);
    table.until(12_000, |table| table.owners() == HOME());
    table.run(500);
    assert!(table.ipfail.contains(&(1, IpfailWord::Join)) && table.ipfail.contains(&(1, IpfailWord::Count(2))));
    table.ipfail.clear();
    table.reaches[0] = [true, false];
    table.until(5_000, |table| table.owners() == all_on(1));
    assert_eq!(table.ipfail[0], (0, IpfailWord::Count(1)), "who loses one asks");
    assert!(table.ipfail.contains(&(1, IpfailWord::YouAreDead)));
    table.run(1_000);
    table.ipfail.clear();
    table.run(200_000);
    assert_eq!(table.ipfail, [], "who has given up is not asked again");
    table.reaches[0] = [true, true];
    table.until(5_000, |table| table.owners() == HOME());
    assert!(table.ipfail.contains(&(1, IpfailWord::AbortGiveup)));
    assert_eq!(table.overlaps, 0);
}
