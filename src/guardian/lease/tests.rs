//! What the page says to whom.

use std::os::fd::AsFd as _;
use std::path::PathBuf;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use nix::sys::wait::WaitStatus;

use super::unfinished::STEPS;
use super::*;
use crate::config::sample;
use crate::core::ids::{GroupId, GroupSet, Seq, ShotId};
use crate::core::message::{GroupState, Holds};
use crate::core::settings::{CarriedFencing, CarriedHandover, CarriedPartner, CarriedShot, GroupHealth};
use crate::sys::process::fork_child;

/// A directory of its own, removed at the end of the test.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        let template = std::env::temp_dir().join("nullbeat-lease-XXXXXX");
        Self(nix::unistd::mkdtemp(&template).unwrap())
    }

    fn lease(&self) -> Lease {
        Lease::open_or_create(&self.0).unwrap()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

const A: GroupId = GroupId(0);
const B: GroupId = GroupId(1);

#[test]
fn lease_fresh_page_says_nothing() {
    let scratch = Scratch::new();
    let lease = scratch.lease();
    assert_eq!((lease.engine_stamp(), lease.guardian_stamp(), lease.generation()), (0, 0, Generation(0)));
    assert_eq!((lease.engine(), lease.guardian(), lease.logger()), (None, None, None));
    assert!(!lease.has_table());
    assert_eq!(lease.in_use(), GroupSet::EMPTY);
    assert_eq!(lease.carried(&sample::config(&scratch.0, &[("alpha", "a")])), None);
}

#[test]
fn lease_opened_again_in_the_same_boot_keeps_all() {
    let scratch = Scratch::new();
    let config = sample::config(&scratch.0, &[("alpha", "a"), ("beta", "b")]);
    let lease = scratch.lease();
    lease.set_table(&config, None);
    assert_eq!(lease.in_use(), GroupSet::EMPTY, "nobody has looked yet, nobody has started anything");
    lease.stamp_engine(11);
    lease.stamp_guardian(12);
    lease.set_deadtime(Duration::from_millis(1500));
    lease.set_generation(Generation(7));
    lease.set_claims(GroupSet::only(A));
    lease.set_group(A, GroupState::Running);
    lease.set_group(B, GroupState::Stopped);
    drop(lease);
    let lease = scratch.lease();
    assert_eq!((lease.engine_stamp(), lease.guardian_stamp()), (11, 12));
    assert_eq!((lease.deadtime(), lease.generation()), (Duration::from_millis(1500), Generation(7)));
    let carried = lease.carried(&config).unwrap();
    assert_eq!(carried.claims, GroupSet::only(A));
    assert_eq!(carried.states[..2], [GroupState::Running, GroupState::Stopped]);
    assert!(!carried.is_certain);
    assert_eq!(lease.in_use(), GroupSet::only(A));
}

#[test]
fn lease_of_another_boot_is_emptied() {
    let scratch = Scratch::new();
    let lease = scratch.lease();
    lease.set_table(&sample::config(&scratch.0, &[("alpha", "a")]), None);
    lease.stamp_engine(11);
    lease.store(BOOT_AT, 1);
    drop(lease);
    let lease = scratch.lease();
    assert!(!lease.has_table());
    assert_eq!(lease.engine_stamp(), 0);
}

#[test]
fn lease_what_was_on_its_way_is_unknown() {
    let scratch = Scratch::new();
    let config = sample::config(&scratch.0, &[("alpha", "a"), ("alpha", "b")]);
    let lease = scratch.lease();
    lease.set_table(&config, None);
    lease.set_group(A, GroupState::Starting);
    lease.set_group(B, GroupState::Stopping);
    assert_eq!(lease.carried(&config).unwrap().states[..2], [GroupState::Unknown; 2]);
}

#[test]
fn lease_group_that_nobody_has_looked_at_is_carried_as_such() {
    let scratch = Scratch::new();
    let config = sample::config(&scratch.0, &[("alpha", "a"), ("alpha", "b"), ("alpha", "c")]);
    let lease = scratch.lease();
    lease.set_table(&config, None);
    lease.set_group(B, GroupState::Starting);
    lease.set_claims(GroupSet::only(GroupId(2)));
    for _ in 0..3 {
        let carried = lease.carried(&config).unwrap();
        assert_eq!(carried.states[..3], [GroupState::Unknown; 3]);
        lease.set_table(&config, Some(&carried));
        assert_eq!(lease.in_use(), GroupSet::only(B) | GroupSet::only(GroupId(2)), "b was on its way, c is claimed");
    }
}

#[test]
fn lease_groups_are_matched_by_words_not_by_place() {
    let scratch = Scratch::new();
    let lease = scratch.lease();
    lease.set_table(&sample::config(&scratch.0, &[("alpha", "a::1 x"), ("beta", "b"), ("alpha", "c")]), None);
    lease.set_claims(GroupSet::first(3));
    lease.set_guests(GroupSet::only(B));
    lease.set_stuck_lines(4);
    lease.set_held(true);
    for group in GroupSet::first(3).iter() {
        lease.set_group(group, GroupState::Running);
    }
    let changed = sample::config(&scratch.0, &[("beta", "b"), ("alpha", "a::2 x"), ("beta", "c")]);
    assert_eq!(lease.unmatched(&changed), GroupSet::only(A) | GroupSet::only(GroupId(2)));
    let carried = lease.carried(&changed).unwrap();
    assert_eq!(carried.claims, GroupSet::only(A), "only b is the same: a has another argument, c another node");
    assert_eq!(carried.states[..3], [GroupState::Running, GroupState::Unknown, GroupState::Unknown]);
    assert!(carried.is_held);
    assert_eq!((carried.guests, carried.stuck_lines), (GroupSet::only(A), 4));

    lease.set_table(&changed, Some(&carried));
    assert_eq!(lease.carried(&changed).map(|again| (again.guests, again.stuck_lines)), Some((GroupSet::only(A), 4)));
    assert_eq!(lease.claims(), GroupSet::only(A));
    assert_eq!(lease.group(A), GroupState::Running);
    assert!(lease.is_held());
    assert_eq!(lease.table_digest(), table_digest(&changed));
}

#[test]
fn lease_new_table_leaves_the_old_one_alone_until_it_is_in_force() {
    let scratch = Scratch::new();
    let lease = scratch.lease();
    let one = sample::config(&scratch.0, &[("alpha", "a")]);
    let two = sample::config(&scratch.0, &[("alpha", "a"), ("alpha", "b")]);
    for config in [&one, &two, &one, &two] {
        lease.set_table(config, lease.carried(config).as_ref());
        assert_eq!(lease.group_count(), config.groups.len());
        assert_eq!(lease.table_digest(), table_digest(config));
        lease.set_group(A, GroupState::Running);
    }
    assert_eq!(lease.carried(&one).unwrap().states[0], GroupState::Running);
}

#[test]
fn lease_keeps_what_is_unfinished_for_the_next_engine() {
    let scratch = Scratch::new();
    let config = sample::config(&scratch.0, &[("alpha", "a")]);
    let lease = scratch.lease();
    lease.set_table(&config, None);
    lease.set_partner(&config, CarriedPartner::default());
    assert_eq!((lease.handover(), lease.carried(&config).unwrap().is_yielding), (None, false));
    for (number, step) in (0..).zip(STEPS) {
        for (set, is_yielding) in [(Holds::LOCAL, false), (Holds::FOREIGN, true), (Holds::ALL, true)] {
            let generation = Generation(u32::MAX - number);
            let heard = Seq(u64::MAX - u64::from(number));
            let open = CarriedHandover { step, set, after_failure: is_yielding, generation, heard };
            lease.set_unfinished(Some(open), is_yielding);
            let carried = lease.carried(&config).unwrap();
            assert_eq!((carried.handover, carried.is_yielding), (Some(open), is_yielding));
            lease.set_table(&config, Some(&carried));
            assert_eq!(lease.handover(), Some(open));
        }
    }
    let mut other = sample::config(&scratch.0, &[("alpha", "a")]);
    other.nodes.push("gamma".into());
    assert_eq!(lease.carried(&other).unwrap().handover, None, "it was with another node");
    lease.set_unfinished(None, true);
    assert_eq!((lease.handover(), lease.carried(&config).unwrap().is_yielding), (None, true));
    lease.set_table(&config, None);
    assert!(!lease.carried(&config).unwrap().is_yielding);
}

#[test]
fn lease_keeps_what_was_done_about_health_with_its_group() {
    let scratch = Scratch::new();
    let config = sample::config(&scratch.0, &[("alpha", "a"), ("alpha", "b")]);
    let lease = scratch.lease();
    lease.set_table(&config, None);
    let at = |second: u64| Some(Instant::from_micros(second * 1_000_000));
    let health = GroupHealth {
        restarts: 255,
        restarted_at: at(0),
        spent_at: at(200_000_000),
        handed_at: at(7),
        is_retried: true,
    };
    lease.set_health(A, health);
    let turned = sample::config(&scratch.0, &[("alpha", "b"), ("alpha", "a"), ("alpha", "c")]);
    let carried = lease.carried(&turned).unwrap();
    assert_eq!(carried.health[..3], [GroupHealth::default(), health, GroupHealth::default()]);
    lease.set_table(&turned, Some(&carried));
    assert_eq!(lease.carried(&config).unwrap().health[..2], [health, GroupHealth::default()]);
}

fn method() -> crate::config::FenceMethod {
    let how = crate::config::FenceHow::Meatware;
    crate::config::FenceMethod { name: "meatware".into(), how, limit: Duration::ZERO }
}

#[test]
fn lease_keeps_what_is_known_of_the_partner_while_it_is_the_same() {
    let scratch = Scratch::new();
    let lease = scratch.lease();
    let config = sample::config(&scratch.0, &[("alpha", "a")]);
    lease.set_table(&config, None);
    assert_eq!(lease.carried(&config).unwrap().partner, None, "nobody has said anything");
    for (is_dead, has_left) in [(true, false), (false, false), (true, true), (false, true)] {
        let known = CarriedPartner { is_dead, has_left };
        lease.set_partner(&config, known);
        assert_eq!(lease.carried(&config).unwrap().partner, Some(known));
    }
    let (shot, from) = (Some(ShotId(u32::MAX)), Some(Instant::from_micros(0)));
    let told = [(Some(Generation(0)), None, from), (Some(Generation(u32::MAX)), shot, None), (None, shot, from)];
    for (confirmed, shot, from) in told {
        let by = confirmed.map(|_| 7);
        let fencing = CarriedFencing { confirmed_by: by, settled_at: from, lied: 0x81 };
        lease.set_fencing(confirmed, shot, from, fencing);
        let carried = lease.carried(&config).unwrap();
        assert_eq!(carried.fencing, fencing);
        let mut fenced = sample::config(&scratch.0, &[("alpha", "a")]);
        fenced.fence.methods.push(method());
        let unknown = CarriedFencing { confirmed_by: None, lied: 0, ..fencing };
        assert_eq!(lease.carried(&fenced).unwrap().fencing, unknown, "these are other methods");
        lease.set_table(&config, Some(&carried));
        assert_eq!(lease.carried(&config).unwrap().fencing, fencing);
        assert_eq!((carried.confirmed, lease.shot(), carried.turns_from), (confirmed, shot, from));
        assert_eq!(carried.shot, shot.map(|_| CarriedShot::Lost), "a page knows no more");
    }
    let mut other = sample::config(&scratch.0, &[("alpha", "a")]);
    other.nodes.push("gamma".into());
    let carried = lease.carried(&other).unwrap();
    assert_eq!((carried.partner, carried.shot, carried.turns_from), (None, None, None), "it may be about another node");
}

#[test]
fn lease_what_the_guardian_knows_to_run_is_in_use_whatever_the_engine_says() {
    let scratch = Scratch::new();
    let config = sample::config(&scratch.0, &[("alpha", "a"), ("alpha", "b")]);
    let lease = scratch.lease();
    lease.set_left(GroupSet::only(A));
    assert_eq!(lease.in_use(), GroupSet::EMPTY, "there is no table yet");
    lease.set_table(&config, None);
    lease.set_left(GroupSet::only(A));
    // All words of an engine in other hands.
    for at in PAGE_WORDS..2 * PAGE_WORDS {
        lease.store(at, 0);
    }
    assert_eq!(lease.in_use(), GroupSet::only(A));
    let turned = sample::config(&scratch.0, &[("alpha", "b"), ("alpha", "a"), ("alpha", "c")]);
    let carried = lease.carried(&turned).unwrap();
    assert_eq!(carried.states[1], GroupState::Unknown);
    lease.set_table(&turned, Some(&carried));
    assert_eq!(lease.in_use(), GroupSet::only(B), "by its new number");
    lease.set_left(GroupSet::EMPTY);
    assert_eq!(lease.in_use(), GroupSet::EMPTY);
}

#[test]
fn lease_left_to_the_guardian_is_read_only_for_the_engine_but_for_its_own_page() {
    let scratch = Scratch::new();
    let config = sample::config(&scratch.0, &[("alpha", "a")]);
    let lease = scratch.lease();
    lease.set_table(&config, None);
    let own = ProcessKey::of(Pid::this()).unwrap();
    // Each by itself: the first one ends the process.
    let forgeries: [fn(&Lease, ProcessKey); 7] = [
        |lease, _| lease.stamp_guardian(0),
        |lease, _| lease.stamp_runner(0),
        |lease, own| lease.set_guardian(Some(own)),
        |lease, own| lease.set_script(A, Some(own)),
        |lease, own| lease.set_fence_program(Some(own)),
        |lease, own| lease.set_children(&[own]),
        |lease, _| lease.set_left(GroupSet::EMPTY),
    ];
    let engine = |act: &dyn Fn(&Lease)| {
        let child = fork_child(|| {
            lease.leave_to_guardian().unwrap();
            act(&lease);
            0
        })
        .unwrap();
        poll(&mut [PollFd::new(child.pidfd.as_fd(), PollFlags::POLLIN)], PollTimeout::NONE).unwrap();
        child.try_wait().unwrap().unwrap()
    };
    for (number, forge) in forgeries.into_iter().enumerate() {
        let status = engine(&|lease| forge(lease, own));
        assert!(matches!(status, WaitStatus::Signaled(_, Signal::SIGSEGV, _)), "{number}: {status:?}");
    }
    let status = engine(&|lease| {
        lease.stamp_engine(7);
        lease.set_claims(GroupSet::only(A));
        lease.set_group(A, GroupState::Running);
        lease.set_health(A, GroupHealth::default());
        lease.set_guests(GroupSet::only(A));
        lease.set_stuck_lines(1);
        lease.set_held(true);
        lease.set_unfinished(None, true);
        lease.set_partner(&config, CarriedPartner::default());
        lease.set_fencing(None, Some(ShotId(1)), None, CarriedFencing::default());
        lease.set_kicks_until(Some(Instant::from_micros(1)));
        assert_eq!(lease.group_count(), 1);
    });
    assert!(matches!(status, WaitStatus::Exited(_, 0)), "{status:?}");
    assert_eq!((lease.engine_stamp(), lease.claims()), (7, GroupSet::only(A)), "the guardian sees it");
    lease.stamp_guardian(8);
    assert_eq!(lease.guardian_stamp(), 8, "the guardian itself writes on");
}

#[test]
fn lease_stamp_that_is_still_to_come_counts_as_now() {
    let scratch = Scratch::new();
    let lease = scratch.lease();
    lease.stamp_engine(u64::MAX);
    let before = now();
    let stamp = lease.engine_stamp();
    assert!((before..=now()).contains(&stamp));
}

#[test]
fn lease_shared_stays_one_page_when_its_file_is_removed() {
    let scratch = Scratch::new();
    let lease = scratch.lease();
    std::fs::remove_file(scratch.0.join(FILE_NAME)).unwrap();
    lease.share().stamp_engine(7);
    assert_eq!(lease.engine_stamp(), 7);
}

#[test]
fn lease_process_is_found_while_it_lives() {
    let scratch = Scratch::new();
    let lease = scratch.lease();
    let own = ProcessKey::of(Pid::this()).unwrap();
    lease.set_engine(Some(own));
    assert_eq!(lease.engine(), Some(own));
    assert!(own.open().is_some());
    let other = ProcessKey { start: own.start + 1, ..own };
    assert!(other.open().is_none(), "same number, another process");
    lease.set_engine(None);
    assert_eq!(lease.engine(), None);
    lease.set_logger(Some(own));
    assert_eq!(lease.dismissed_logger(), None);
    lease.dismiss_logger();
    assert_eq!((lease.logger(), lease.dismissed_logger()), (None, Some(own)));
}

#[test]
fn lease_process_that_is_killed_is_gone_before_it_is_collected() {
    let child = fork_child(|| {
        loop {
            nix::unistd::pause();
        }
    })
    .unwrap();
    let key = ProcessKey::of(child.pid).unwrap();
    assert!(key.open().is_some());
    assert!(key.kill(Duration::from_secs(60)));
    assert!(key.open().is_none());
    assert!(key.kill(Duration::ZERO), "nothing to do");
    child.try_wait().unwrap().unwrap();
}

#[test]
fn lease_script_is_forgotten_once_its_leader_is_gone() {
    let scratch = Scratch::new();
    let lease = scratch.lease();
    lease.set_table(&sample::config(&scratch.0, &[("alpha", "a")]), None);
    let own = ProcessKey::of(Pid::this()).unwrap();
    lease.set_script(A, Some(own));
    assert_eq!(lease.script(A), Some(own.pid));
    lease.set_script(A, Some(ProcessKey { start: own.start + 1, ..own }));
    assert_eq!(lease.script(A), None);
    lease.set_script(A, None);
    assert_eq!(lease.script(A), None);
}

#[test]
fn lease_store_by_a_forked_child_is_seen_here() {
    let scratch = Scratch::new();
    let lease = scratch.lease();
    let child = fork_child(|| {
        lease.stamp_engine(now());
        0
    })
    .unwrap();
    nix::sys::wait::waitpid(child.pid, None).unwrap();
    let age = now() - lease.engine_stamp();
    assert!(lease.engine_stamp() > 0 && age < 60_000_000_000);
}
