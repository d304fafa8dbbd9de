//! A shot through wires with faults: the rows of the fault table in docs/wiring.md that are about its two lines.

use std::time::{Duration, Instant};

use super::PinShot;
use super::pins::HalPins;
use crate::config::FenceLine;
use crate::core::FenceOutcome::{self, Confirmed, Failed};
use crate::core::LineLevel;
use crate::hardware::gpio::level_of;
use crate::hardware::gpio::wire::{Wire, WireFault, WireInput, WireOutput};

const PULSE: Duration = Duration::from_millis(100);
const LIMIT: Duration = Duration::from_millis(300);
const STEP: Duration = Duration::from_millis(5);

/// The wire to the other board, and the one back.
struct Bench {
    fence: Wire,
    sense: Wire,
    has_sense: bool,
}

/// What came of a shot.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    outcome: FenceOutcome,
    /// The other board was really down.
    was_down: bool,
    after: Duration,
}

impl Bench {
    fn new() -> Self {
        // An open fence line does nothing, an open sense line says that the board has power.
        Self { fence: Wire::new(false), sense: Wire::new(true), has_sense: true }
    }

    /// The other board: held down while its end of the line is active, and its supply tells it.
    fn is_down(&self) -> bool {
        let is_down = level_of(&mut self.fence.input()) == LineLevel::Active;
        self.sense.drive(Some(!is_down));
        is_down
    }

    /// Fires, and follows the shot to its end.
    fn shoot(&self, line: FenceLine) -> Seen {
        let out = || self.fence.output();
        let mut pins: HalPins<WireOutput, WireInput> = HalPins {
            reset: (line == FenceLine::Reset).then(out),
            power: (line == FenceLine::Power).then(out),
            sense: self.has_sense.then(|| self.sense.input()),
        };
        let start = Instant::now();
        let mut was_down = self.is_down();
        let Ok(mut shot) = PinShot::begin(&mut pins, line, start, PULSE, LIMIT, true) else {
            return Seen { outcome: Failed, was_down, after: Duration::ZERO };
        };
        let mut now = start;
        let mut told = None;
        while now <= start + 2 * LIMIT && !shot.is_over() {
            was_down |= self.is_down();
            if let Some(outcome) = shot.turn(&mut pins, now) {
                assert!(told.is_none(), "an outcome is told once");
                told = Some((outcome, now - start));
            }
            now += STEP;
        }
        assert!(shot.is_over() && self.fence.driven() != Some(true), "the line is let go");
        let (outcome, after) = told.expect("an outcome within the limit");
        Seen { outcome, was_down, after }
    }

    #[track_caller]
    fn expect(&self, outcome: FenceOutcome, was_down: bool) {
        for line in [FenceLine::Reset, FenceLine::Power] {
            let seen = self.shoot(line);
            assert_eq!((seen.outcome, seen.was_down), (outcome, was_down), "{line:?}: {seen:?}");
            assert!(seen.after <= LIMIT, "{line:?}: {seen:?}");
        }
    }
}

#[test]
fn whole_wires_confirm_a_board_that_is_down_and_let_it_come_back() {
    let bench = Bench::new();
    bench.expect(Confirmed, true);
    assert!(bench.shoot(FenceLine::Power).after < PULSE, "the sense line is believed at once");
    assert!(!bench.is_down(), "let go, it comes back");
}

#[test]
fn sense_line_that_is_stuck_active_or_open_fails_every_shot() {
    for fault in [WireFault::StuckActive, WireFault::Open] {
        let bench = Bench::new();
        bench.sense.set_fault(fault);
        bench.expect(Failed, true);
    }
}

#[test]
fn sense_line_that_is_stuck_inactive_is_as_good_as_none() {
    let bench = Bench::new();
    bench.sense.set_fault(WireFault::StuckInactive);
    bench.expect(Confirmed, true);
    assert!(bench.shoot(FenceLine::Reset).after >= PULSE, "the whole pulse, as without one");
    // The second fault makes it a lie.
    bench.fence.set_fault(WireFault::Open);
    bench.expect(Confirmed, false);
}

#[test]
fn fence_line_that_is_stuck_inactive_or_open_is_found_out_by_the_sense_line() {
    for fault in [WireFault::StuckInactive, WireFault::Open] {
        let bench = Bench::new();
        bench.fence.set_fault(fault);
        bench.expect(Failed, false);
    }
}

#[test]
fn fence_line_without_a_sense_line_is_believed_whatever_is_wrong_with_it() {
    for (fault, was_down) in [(WireFault::None, true), (WireFault::StuckInactive, false), (WireFault::Open, false)] {
        let bench = Bench { has_sense: false, ..Bench::new() };
        bench.fence.set_fault(fault);
        bench.expect(Confirmed, was_down);
        assert_eq!(bench.shoot(FenceLine::Reset).after, PULSE);
    }
}

#[test]
fn fence_line_that_is_stuck_active_is_confirmed_by_the_sense_line() {
    let bench = Bench::new();
    bench.fence.set_fault(WireFault::StuckActive);
    assert!(bench.is_down(), "before anybody shoots");
    bench.expect(Confirmed, true);
    assert!(bench.is_down(), "and afterwards");
}

#[test]
fn pin_that_does_not_answer_fails_the_shot() {
    let bench = Bench::new();
    bench.sense.set_fault(WireFault::Dead);
    bench.expect(Failed, true);
    let bench = Bench::new();
    bench.fence.set_fault(WireFault::Dead);
    bench.expect(Failed, false);
    assert_eq!(bench.shoot(FenceLine::Reset).after, Duration::ZERO);
}
