//! What this node takes for proof that its partner is off, and what it promises so that the partner can.

use super::*;
use crate::core::FenceOutcome;
use crate::core::ids::ShotId;
use crate::core::ownership::FenceStage;
use crate::core::settings::{FenceKind, FenceMethod, LeaseSettings};

impl Bench {
    fn shot(&self) -> Option<ShotId> {
        match self.node.ownership().fence().stage() {
            FenceStage::Shooting { shot, .. } => Some(shot),
            _ => None,
        }
    }

    /// Waits for the next shot; how long that took, milliseconds.
    fn await_shot(&mut self) -> (ShotId, u64) {
        let since = self.now;
        loop {
            if let Some(shot) = self.shot() {
                return (shot, self.now - since);
            }
            assert!(self.now < since + 300_000, "no shot");
            self.live(20, |_| {});
        }
    }
}

#[test]
fn shot_that_had_to_be_ended_at_its_limit_may_still_come_true() {
    let mut settings = settings();
    let device = FenceMethod { kind: FenceKind::Device, limit: Duration::from_secs(30) };
    settings.fence.methods.push(device).unwrap();
    settings.fence.per_hour_max = 0;
    // One that the sense line denies fails at its limit, and nothing of it can come true later.
    for (took, outcome) in [(27_300, FenceOutcome::Lost), (5_000, FenceOutcome::Failed), (30_000, FenceOutcome::Failed)]
    {
        let mut bench = Bench::new(settings.clone(), None);
        bench.end_all(Order::Probe, JobOutcome::NoneRunning);
        let (shot, _) = bench.await_shot();
        bench.live(took, |_| {});
        bench.give(Input::FenceDone { shot, outcome });
        let (_, pause) = bench.await_shot();
        let is_lost = outcome == FenceOutcome::Lost;
        assert_eq!(pause >= 60_000, is_lost, "{took} ms, then a pause of {pause} ms");
    }
}

#[test]
fn lease_is_announced_only_while_it_is_kept() {
    let times = LeaseSettings { kick_for: Duration::from_secs(5), reset_within: Duration::from_secs(12) };
    let mut bench = Bench::new(Settings { lease: Some(times), ..settings() }, None);
    bench.give(Input::Watchdog { is_armed: true });
    bench.end_all(Order::Probe, JobOutcome::NoneRunning);
    // Beta hears nothing of alpha, so alpha kicks on: beta must not rest on the contrary.
    let deaf = Extension { hears_partner: false, ..holding_nothing() };
    bench.live(2000, |bench| bench.status(Some(deaf)));
    assert_eq!(bench.said().lease_ms, 0);
    bench.live(600, |bench| bench.tell(holding_nothing()));
    assert_eq!(bench.said().lease_ms, 12_000);
}
