//! The watchdog lease, both sides.

use super::*;
use crate::core::settings::{FenceKind, FenceMethod, LeaseSettings};

const KICK_FOR: u64 = 1_000;
const RESET_WITHIN: u64 = 3_000;

fn leased() -> Settings {
    let method = FenceMethod { kind: FenceKind::WatchdogLease, limit: Duration::ZERO, is_sensed: false };
    let lease =
        LeaseSettings { kick_for: Duration::from_millis(KICK_FOR), reset_within: Duration::from_millis(RESET_WITHIN) };
    let fence = FenceSettings { methods: [method].into_iter().collect(), ..FenceSettings::NONE };
    Settings { fence, lease: Some(lease), ..settings() }
}

/// Beta holds everything, and promises this.
fn promising(lease_ms: u32) -> Extension {
    Extension { lease_ms, ..holding_all() }
}

/// Alpha has started beside an owner that tells this.
fn standby(extension: Extension) -> Bench {
    let mut bench = Bench::new(leased(), None);
    bench.give(Input::Watchdog { is_armed: true });
    bench.end_all(Order::Probe, JobOutcome::NoneRunning);
    bench.live(2000, |bench| bench.tell(extension));
    bench
}

/// Alpha runs everything, beta acknowledges that.
fn owner() -> Bench {
    let mut bench = Bench::new(leased(), None);
    bench.give(Input::Watchdog { is_armed: true });
    bench.end_all(Order::Probe, JobOutcome::NoneRunning);
    bench.live(1000, |bench| bench.tell(holding_nothing()));
    // Beta's own group, once it is known to be off.
    bench.live(1400, |_| {});
    bench.give(Input::Request { id: RequestId(1), request: Request::ConfirmFence });
    bench.live(200, |_| {});
    bench.end_all(Order::Start, JobOutcome::Done);
    bench.live(1000, |bench| bench.tell(holding_nothing()));
    assert!(bench.runs(HOME) && bench.runs(GUEST));
    bench
}

fn may_kick(bench: &Bench) -> bool {
    bench.node.may_kick(Instant::from_millis(bench.now))
}

#[test]
fn owner_stops_its_kicks_in_time_when_nothing_is_acknowledged_any_more() {
    let mut bench = owner();
    assert_eq!(u64::from(bench.said().lease_ms), RESET_WITHIN);
    let heard = bench.now;
    // The beat that was acknowledged last had left one keepalive before at the earliest.
    bench.live(KICK_FOR - KEEPALIVE - 20, |_| {});
    assert!(may_kick(&bench));
    bench.live(heard + KICK_FOR - bench.now, |_| {});
    assert!(!may_kick(&bench));
    bench.live(60_000, |_| {});
    assert!(!may_kick(&bench));
}

#[test]
fn being_heard_is_not_enough_for_kicks() {
    let mut bench = owner();
    let echo_seq = bench.node.comms().own_seq();
    // Beta talks, and hears nothing of us.
    bench.live(KICK_FOR, |bench| {
        bench.status(Some(Extension { echo_generation: OURS, echo_seq, ..holding_nothing() }));
    });
    assert!(!may_kick(&bench));
    // It hears us again.
    bench.tell(holding_nothing());
    assert!(may_kick(&bench));
}

#[test]
fn goodbye_of_the_standby_frees_the_owner() {
    let mut bench = owner();
    bench.hear(Body::ShutDone);
    bench.live(60_000, |_| {});
    assert!(may_kick(&bench) && bench.runs(HOME));
    assert_eq!(bench.said().lease_ms, 0, "nobody shall rest on it");
}

#[test]
fn standby_owes_nothing_and_announces_nothing() {
    let mut bench = standby(promising(0));
    assert_eq!(bench.said().lease_ms, 0);
    bench.live(60_000, |_| {});
    assert!(may_kick(&bench));
}

#[test]
fn partner_is_off_when_its_lease_and_a_margin_are_over_and_not_before() {
    let mut bench = standby(promising(3_000));
    // One percent and a keepalive.
    bench.live(3_000 + 30 + KEEPALIVE - 20, |_| {});
    assert!(!bench.waits_for(HOME, Order::Start));
    bench.live(100, |_| {});
    assert!(bench.waits_for(HOME, Order::Start) && bench.waits_for(GUEST, Order::Start));
    // It is off: what it does not acknowledge is not owed to it.
    bench.end_all(Order::Start, JobOutcome::Done);
    bench.live(60_000, |_| {});
    assert!(may_kick(&bench) && bench.runs(GUEST));
}

/// Two minutes of silence prove nothing: a person is called.
fn assert_proves_nothing(mut bench: Bench) {
    bench.live(120_000, |_| {});
    assert!(!bench.waits_for(HOME, Order::Start) && !bench.waits_for(GUEST, Order::Start));
    assert!(bench.node.ownership().fence().need().is_some_and(|need| need.needs_person));
}

#[test]
fn waiting_proves_nothing_of_who_promised_nothing() {
    assert_proves_nothing(standby(promising(0)));
}

#[test]
fn waiting_proves_nothing_of_who_took_its_promise_back() {
    let mut bench = standby(promising(3_000));
    bench.tell(promising(0));
    assert_proves_nothing(bench);
}

#[test]
fn waiting_proves_nothing_of_a_heartbeat_or_of_who_was_never_heard() {
    for has_heartbeat in [true, false] {
        let mut bench = Bench::new(leased(), None);
        bench.end_all(Order::Probe, JobOutcome::NoneRunning);
        bench.is_nullbeat = false;
        if has_heartbeat {
            bench.live(3_000, Bench::beat);
        }
        assert_proves_nothing(bench);
    }
}

#[test]
fn owner_that_owes_its_lease_does_not_rest_on_the_partners() {
    let mut bench = Bench::new(leased(), None);
    bench.give(Input::Watchdog { is_armed: true });
    bench.end_all(Order::Probe, JobOutcome::NoneRunning);
    let beta =
        Extension { lease_ms: 2_000, ..holding(GroupSet::only(GUEST), [GroupState::Stopped, GroupState::Running]) };
    bench.live(2_000, |bench| bench.tell(beta));
    bench.end_all(Order::Start, JobOutcome::Done);
    bench.live(1_000, |bench| bench.tell(beta));
    assert!(bench.runs(HOME));
    bench.live(60_000, |_| {});
    assert!(!may_kick(&bench) && !bench.waits_for(GUEST, Order::Start));
}
