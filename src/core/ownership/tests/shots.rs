//! Whose turn it is to shoot, and what becomes of a shot when its engine is replaced.

use super::*;
use crate::core::ids::ShotId;
use crate::core::message::StonithResult;
use crate::core::ownership::FenceStage;
use crate::core::settings::{CarriedFencing, CarriedPartner, CarriedShot, FenceKind, FenceMethod};
use crate::core::{Alarm, FenceOutcome};

/// A slot is 1.4 s long: with two keepalives.
const LIMIT: u64 = 1000;
const SHOT: ShotId = ShotId(9);
/// The run of beta that the earlier engine knew, and that the bench plays.
const THEIRS: Generation = Generation(3);

fn fenced() -> Settings {
    let mut settings = settings();
    let device = FenceMethod { kind: FenceKind::Device, limit: Duration::from_millis(LIMIT), is_sensed: false };
    settings.fence.methods.push(device).unwrap();
    settings.fence.per_hour_max = 0;
    settings
}

/// Beta falls silent after its last word; how long after it alpha shoots first.
fn first_shot(bench: &mut Bench, last_word: Extension) -> u64 {
    bench.tell(last_word);
    let since = bench.now;
    while !matches!(bench.node.ownership().fence().stage(), FenceStage::Shooting { .. }) {
        assert!(bench.now < since + 300_000, "no shot");
        bench.live(20, |_| {});
    }
    bench.now - since
}

#[test]
fn turns_count_from_the_longer_of_both_dead_times() {
    // Beta says 1 s in its beats.
    for (extra, expected) in [(0, 1000), (4000, 5000)] {
        let settings = Settings { announced_extra: Duration::from_millis(extra), ..fenced() };
        let mut bench = Bench::new(settings, None);
        bench.end_all(Order::Probe, JobOutcome::NoneRunning);
        let guest = holding(GroupSet::only(GUEST), [GroupState::Stopped, GroupState::Running]);
        bench.live(3000, |bench| bench.tell(guest));
        bench.end_all(Order::Start, JobOutcome::Done);
        assert!(bench.runs(HOME));
        let took = first_shot(&mut bench, guest);
        assert!((expected..expected + 100).contains(&took), "{extra} ms more: {took} ms");
    }
}

#[test]
fn first_node_that_holds_nothing_leaves_the_others_turn_to_it_whatever_that_held() {
    for last_word in [holding_all(), holding(GroupSet::only(HOME), [GroupState::Running, GroupState::Stopped])] {
        let mut bench = Bench::new(fenced(), None);
        bench.end_all(Order::Probe, JobOutcome::NoneRunning);
        bench.live(3000, |bench| bench.tell(holding_all()));
        assert!(!bench.waits_for(HOME, Order::Start) && !bench.waits_for(GUEST, Order::Start));
        let took = first_shot(&mut bench, last_word);
        // Beta may have lost something since, and shoots in the second slot.
        assert!((3800..4000).contains(&took), "{took} ms");
    }
}

/// What an engine leaves that held the group at home here and was shooting at beta for the other.
fn carried(shot: CarriedShot) -> Carried {
    let mut states = [GroupState::Unknown; GROUPS_MAX];
    states[..2].copy_from_slice(&[GroupState::Running, GroupState::Stopped]);
    Carried {
        claims: GroupSet::only(HOME),
        states,
        is_certain: true,
        partner: Some(CarriedPartner { is_dead: true, has_left: false }),
        shot: Some(shot),
        turns_from: Some(Instant::from_millis(0)),
        ..Carried::nothing()
    }
}

const PENDING: CarriedShot = CarriedShot::Pending { shot: SHOT, method: 0, generation: THEIRS };

#[test]
fn confirmation_of_the_shot_of_an_earlier_engine_counts() {
    for after in [20, 300, 900] {
        let mut bench = Bench::new(fenced(), Some(carried(PENDING)));
        bench.live(after, |_| {});
        assert_eq!(bench.node.ownership().fence().shot(), Some(SHOT), "awaited, not broken off");
        assert!(!bench.waits_for(GUEST, Order::Start));
        bench.give(Input::FenceDone { shot: SHOT, outcome: FenceOutcome::Confirmed });
        bench.live(2000, |_| {});
        assert!(bench.waits_for(GUEST, Order::Start), "{after} ms");
        assert_eq!(bench.node.ownership().fence().shot(), None);
    }
}

#[test]
fn confirmation_of_the_shot_of_an_earlier_engine_is_void_once_the_partner_is_heard() {
    let mut bench = Bench::new(fenced(), Some(carried(PENDING)));
    bench.live(1000, |_| {});
    bench.tell(holding_nothing());
    bench.give(Input::FenceDone { shot: SHOT, outcome: FenceOutcome::Confirmed });
    assert_eq!(bench.node.ownership().fence().confirmed(), None);
}

#[test]
fn shot_of_which_nobody_knows_what_came_settles_first() {
    let mut bench = Bench::new(fenced(), Some(carried(CarriedShot::Lost)));
    bench.live(59_900, |_| {});
    assert_eq!((bench.node.ownership().fence().shot(), bench.waits_for(GUEST, Order::Start)), (None, false));
    bench.live(4000, |_| {});
    assert!(bench.node.ownership().fence().shot().is_some());
}

#[test]
fn lost_result_settles_on_in_the_next_engine() {
    let settled_at = Some(Instant::from_millis(30_000));
    let fencing = CarriedFencing { settled_at, ..CarriedFencing::default() };
    let mut bench = Bench::new(fenced(), Some(Carried { shot: None, fencing, ..carried(PENDING) }));
    bench.live(29_900, |_| {});
    assert_eq!(bench.node.ownership().fence().shot(), None);
    bench.live(4000, |_| {});
    assert!(bench.node.ownership().fence().shot().is_some());
    assert_eq!(bench.node.ownership().fence().memory().settled_at, settled_at);
}

#[test]
fn device_that_lied_is_not_believed_by_the_next_engine() {
    let fencing = CarriedFencing { lied: 1, ..CarriedFencing::default() };
    let mut bench = Bench::new(fenced(), Some(Carried { shot: None, fencing, ..carried(PENDING) }));
    // Less than a shot needs to be given up.
    bench.live(9000, |_| {});
    let fence = bench.node.ownership().fence();
    assert_eq!((fence.shot(), fence.memory().lied), (None, 1));
    assert!(bench.node.ownership().alarms().contains(Alarm::FenceLied));
    bench.give(Input::Request { id: RequestId(1), request: Request::Resume });
    bench.live(9000, |_| {});
    assert!(bench.node.ownership().fence().shot().is_some(), "an operator has repaired it");
}

#[test]
fn device_whose_confirmation_an_earlier_engine_took_is_found_out_by_the_next_one() {
    for (confirmed_by, lied) in [(Some(0), 1), (None, 0)] {
        let fencing = CarriedFencing { confirmed_by, ..CarriedFencing::default() };
        let left = Carried { shot: None, confirmed: Some(THEIRS), fencing, ..carried(PENDING) };
        let mut bench = Bench::new(fenced(), Some(left));
        bench.live(1000, |_| {});
        assert_eq!(bench.node.ownership().fence().memory().confirmed_by, confirmed_by);
        bench.tell(holding_nothing());
        assert_eq!(bench.node.ownership().fence().memory().lied, lied);
    }
}

#[test]
fn what_is_remembered_of_methods_follows_them_to_other_places() {
    let memory = CarriedFencing { confirmed_by: Some(2), settled_at: None, lied: 0b101 };
    let place = |method: u8| [Some(3), None, Some(0)][usize::from(method)];
    let expected = CarriedFencing { confirmed_by: Some(0), settled_at: None, lied: 0b1001 };
    assert_eq!(memory.renumbered(place), expected);
    let gone = CarriedFencing { confirmed_by: Some(1), settled_at: None, lied: 0b10 };
    assert_eq!(gone.renumbered(place), CarriedFencing::default());
}

#[test]
fn device_that_does_not_know_the_partner_is_told_as_such() {
    for (outcome, told) in [(FenceOutcome::Failed, StonithResult::Bad), (FenceOutcome::BadHost, StonithResult::BadHost)]
    {
        let mut bench = Bench::new(fenced(), Some(carried(PENDING)));
        bench.live(900, |_| {});
        bench.give(Input::FenceDone { shot: SHOT, outcome });
        let results = bench.packets.iter().filter_map(|packet| match packet.body {
            Body::Stonith { result, .. } => Some(result),
            _ => None,
        });
        assert_eq!(results.collect::<Vec<_>>(), [told]);
    }
}
