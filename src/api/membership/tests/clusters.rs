//! Clusters of two to sixteen nodes: starts, leaves, crashes, cuts, heals, lost messages.

use super::world::{KEEPALIVE, World};
use crate::core::ids::{MemberId, MemberSet};
use crate::core::time::Duration;

const SOON: Duration = Duration::from_secs(1);
/// Deadtime and a little.
const AFTER_DEATH: Duration = Duration::from_secs(3);
/// For what needs tries and time limits: a message was lost.
const LATE: Duration = Duration::from_secs(120);

fn set(members: impl IntoIterator<Item = u8>) -> MemberSet {
    members.into_iter().map(MemberId).collect()
}

/// All services started, one after another, each when the one before is in.
fn started(count: u8, seed: u64) -> World {
    let mut world = World::new(count.into(), seed);
    for node in 0..count {
        world.start(node);
        world.await_agreement(set(0..=node), SOON * 3);
    }
    world
}

fn view(world: &World, node: usize) -> (u32, Vec<(u8, u32)>, bool) {
    let view = world.told[node].expect("a membership");
    (view.instance, view.by_age().map(|(member, born_on)| (member.0, born_on)).collect(), view.has_quorum)
}

#[test]
fn two_nodes_as_the_original_counts_them() {
    let mut world = World::new(2, 1);
    // In the original 8.8 seconds: nobody runs on the other node.
    world.start(1);
    world.await_agreement(set([1]), SOON);
    assert_eq!(view(&world, 1), (1, vec![(1, 1)], true));
    world.start(0);
    world.await_agreement(set([0, 1]), SOON);
    assert_eq!(view(&world, 0), (2, vec![(1, 1), (0, 2)], true));
    // The younger one leaves.
    world.stop(0);
    world.await_agreement(set([1]), SOON);
    assert_eq!(view(&world, 1), (3, vec![(1, 3)], true));
    world.start(0);
    world.await_agreement(set([0, 1]), SOON);
    assert_eq!(view(&world, 1), (4, vec![(1, 1), (0, 4)], true));
    // The older one leaves: the other was told to be unsure first.
    world.stop(1);
    world.await_agreement(set([0]), SOON);
    assert_eq!(view(&world, 0), (5, vec![(0, 5)], true));
    world.start(1);
    world.await_agreement(set([0, 1]), SOON);
    assert_eq!(view(&world, 0), (6, vec![(0, 4), (1, 6)], true));
    // Cut, healed: both begin anew.
    world.split(set([0]), true);
    world.run(AFTER_DEATH);
    assert_eq!(view(&world, 0), (7, vec![(0, 7)], true));
    assert_eq!(view(&world, 1), (7, vec![(1, 7)], true));
    world.split(set([0]), false);
    world.await_agreement(set([0, 1]), SOON);
    assert_eq!(view(&world, 0), (2, vec![(1, 1), (0, 2)], true));
}

#[test]
fn all_start_at_once_the_last_by_name_leads() {
    for count in [2, 3, 5, 16] {
        let mut world = World::new(count.into(), u64::from(count));
        for node in 0..count {
            world.start(node);
        }
        let took = world.await_agreement(set(0..count), SOON);
        println!("{count} nodes: {took:?}");
        let (instance, ages, has_quorum) = view(&world, 0);
        assert_eq!(ages[0], (count - 1, 1), "of {count}: {ages:?}");
        assert!(instance >= 2 && has_quorum);
    }
}

#[test]
fn members_come_and_go_one_by_one() {
    for count in [2, 3, 5, 16] {
        let mut world = started(count, 7);
        assert_eq!(view(&world, 0).0, u32::from(count), "one instance for each");
        for node in 0..count - 1 {
            world.stop(node);
            world.await_agreement(set(node + 1..count), Duration::from_secs(2));
        }
        assert_eq!(view(&world, usize::from(count - 1)).0, u32::from(2 * count - 1));
    }
}

#[test]
fn three_nodes_lose_one_without_a_full_round() {
    let mut world = started(3, 3);
    world.stop(2);
    world.await_agreement(set([0, 1]), SOON);
    assert_eq!(view(&world, 1), (4, vec![(0, 1), (1, 2)], true));
    world.start(2);
    world.await_agreement(set([0, 1, 2]), SOON);
    // The leader dies: a full round, in which the oldest leads.
    world.stop(0);
    world.await_agreement(set([1, 2]), SOON);
    assert_eq!(view(&world, 2), (6, vec![(1, 2), (2, 5)], true));
}

#[test]
fn halves_go_on_alone_and_meet_again() {
    for (count, seed) in [(2, 1), (3, 2), (5, 3), (16, 4), (16, 5)] {
        let mut world = started(count, seed);
        let part = set(0..count / 2);
        let rest = set(count / 2..count);
        world.split(part, true);
        world.await_agreement(part, AFTER_DEATH * 3);
        world.await_agreement(rest, AFTER_DEATH * 3);
        let has_quorum = |world: &World, part: MemberSet| view(world, part.iter().next().unwrap().0.into()).2;
        assert_eq!(has_quorum(&world, part), count == 2, "{count} nodes, the smaller half or an equal one");
        assert_eq!(has_quorum(&world, rest), count % 2 == 1 || count == 2, "{count} nodes, the other half");
        world.split(part, false);
        let took = world.await_agreement(set(0..count), Duration::from_secs(10));
        // Two agree in 25 ms, 16 in 5.1 s.
        assert!(count == 16 || took < SOON, "{count} nodes met within {took:?}");
    }
}

#[test]
fn a_node_that_two_of_three_do_not_hear_is_left_out() {
    let mut world = started(3, 9);
    // 0 and 2 do not hear each other, 1 hears both.
    world.reach(0, 2, false);
    world.run(AFTER_DEATH * 3);
    let told: Vec<_> = world.told.iter().flatten().map(|view| view.members).collect();
    assert!(told.iter().any(|members| members.len() == 2 && members.contains(MemberId(1))), "{told:?}");
    assert!(!told.contains(&set([0, 1, 2])), "{told:?}");
    world.reach(0, 2, true);
    world.await_agreement(set([0, 1, 2]), Duration::from_secs(10));
}

#[test]
fn a_service_that_nobody_saw_end_is_let_in_again() {
    for restarted in [0, 1, 2] {
        let mut world = started(3, 11);
        world.services[usize::from(restarted)] = None;
        world.told[usize::from(restarted)] = None;
        world.start(restarted);
        world.await_agreement(set([0, 1, 2]), Duration::from_secs(5));
        let age = view(&world, 0).1.into_iter().find(|(member, _)| *member == restarted).unwrap();
        assert!(age.1 > 3, "{restarted} is younger than it was: {:?}", view(&world, 0));
    }
}

#[test]
fn a_silent_service_is_waited_for_no_longer_than_the_original_does() {
    let mut world = World::new(2, 13);
    // Node 0 says nothing although its daemon says that a service runs there.
    world.loss_percent = 100;
    world.start(0);
    world.start(1);
    let took = world.await_agreement(set([1]), KEEPALIVE * 40);
    assert!(took >= KEEPALIVE * 35, "{took:?}");
}

/// One run at random: services start and end, ways are cut and mended, messages are lost for good; then all is whole.
fn storm(seed: u64) {
    let counts = [2, 3, 5, 16];
    let mut world = World::new(counts[usize::try_from(seed % 4).unwrap()], seed);
    let count = world.count();
    for _ in 0..30 {
        let node = u8::try_from(world.random(count.into())).unwrap();
        let other = u8::try_from(world.random(count.into())).unwrap();
        match world.random(6) {
            0 | 1 if world.services[usize::from(node)].is_none() => world.start(node),
            2 if world.services[usize::from(node)].is_some() => world.stop(node),
            3 => world.split(set([node, other]), true),
            4 => world.split(set([node, other]), false),
            5 => (world.loss_percent, world.late_percent) = (world.random(4) * 3, world.random(3) * 5),
            _ => {}
        }
        let pause = world.random(4000);
        world.run(Duration::from_millis(pause));
    }
    (world.loss_percent, world.late_percent) = (0, 5);
    for one in 0..count {
        if world.services[usize::from(one)].is_none() {
            world.start(one);
        }
        for other in 0..one {
            world.reach(one, other, true);
        }
    }
    world.await_agreement(set(0..count), LATE);
    world.run(Duration::from_secs(20));
    assert!(world.agree(set(0..count)), "seed {seed} does not stay: {:#?}", world.summary());
}

#[test]
fn all_agree_in_the_end_whatever_happened() {
    let seeds = std::env::var("MEMBERSHIP_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(40);
    for seed in 0..seeds {
        storm(seed);
    }
}
