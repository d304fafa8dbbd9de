//! What this node takes for proof that its partner is off, and what it promises so that the partner can.

use super::*;
use crate::core::ids::ShotId;
use crate::core::ownership::FenceStage;
use crate::core::settings::{FenceKind, FenceMethod, LeaseSettings};
use crate::core::{Alarm, FenceOutcome, InputLine, LineLevel};

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
    let device = FenceMethod { kind: FenceKind::Device, limit: Duration::from_secs(30), is_sensed: false };
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

/// Whoever beats has power: a sense line that says otherwise would confirm every shot.
#[test]
fn sense_line_that_contradicts_the_beats_confirms_nothing() {
    for (level, is_sensed, is_shot) in
        [(LineLevel::Inactive, true, false), (LineLevel::Inactive, false, true), (LineLevel::Active, true, true)]
    {
        let mut settings = settings();
        let device = FenceMethod { kind: FenceKind::Device, limit: Duration::from_secs(1), is_sensed };
        settings.fence.methods.push(device).unwrap();
        let mut bench = Bench::new(settings, None);
        bench.end_all(Order::Probe, JobOutcome::NoneRunning);
        bench.give(Input::Line { line: InputLine::PeerPower, level });
        bench.live(5000, |bench| bench.tell(holding_all()));
        let is_named = bench.node.ownership().alarms().contains(Alarm::LineStuck(InputLine::PeerPower));
        assert_eq!(is_named, level == LineLevel::Inactive);
        bench.live(5000, |_| {});
        assert_eq!(bench.shot().is_some(), is_shot, "{level:?} {is_sensed}");
        let needs_person = bench.node.ownership().fence().need().is_some_and(|need| need.needs_person);
        assert_eq!(needs_person, !is_shot);
    }
}

/// Power that is lost and the beats' end are one thing: the line is not doubted for being faster.
#[test]
fn sense_line_that_is_faster_than_the_beats_is_believed() {
    let mut bench = Bench::clean();
    bench.live(3000, |bench| bench.tell(holding_all()));
    bench.give(Input::Line { line: InputLine::PeerPower, level: LineLevel::Inactive });
    bench.live(20_000, |_| {});
    assert!(!bench.node.ownership().alarms().contains(Alarm::LineStuck(InputLine::PeerPower)));
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
