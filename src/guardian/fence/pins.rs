//! Fencing by a line: to the peer's reset or to its power, and where it is wired a line back that tells whether the
//! peer is on.
//!
//! ```text
//!            begin             pulse over, sense inactive twice          (or no sense line)
//!   idle ──────────▶ driven ──────────────────────────────────▶ confirmed, line let go
//!                       │ limit, or the line cannot be driven or read
//!                       └──────────────────────────────────────▶ failed, line let go
//! ```
//!
//! Power that is held off is confirmed as soon as the sense line says so, and let go when the pulse is over.

use std::fmt::Debug;
use std::time::{Duration, Instant};

use embedded_hal::digital::{InputPin, OutputPin};

use crate::config::FenceLine;
use crate::core::FenceOutcome;

/// Between two looks at the sense line.
const LOOK: Duration = Duration::from_millis(5);
/// So many looks in a row must agree: one alone may be a glitch.
const LOOKS: u32 = 2;

/// A line that there is not, or that does not obey.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PinFault;

/// The lines that fencing needs.
pub trait FencePins: Debug {
    /// Drives a line (`true`) or lets it go.
    ///
    /// # Errors
    /// When there is no such line, or it cannot be set.
    fn drive(&mut self, line: FenceLine, is_active: bool) -> Result<(), PinFault>;
    /// Whether the peer is on; `None` without a sense line.
    ///
    /// # Errors
    /// When the line cannot be read.
    fn is_peer_on(&mut self) -> Result<Option<bool>, PinFault>;
    /// Whether this line is there.
    fn has(&self, line: FenceLine) -> bool;
}

/// Lines from embedded-hal. High is active: which level that is on the wire, the board file says further down.
#[derive(Debug)]
pub struct HalPins<O, I> {
    /// `fence-reset`.
    pub reset: Option<O>,
    /// `fence-power`.
    pub power: Option<O>,
    /// `peer-power`.
    pub sense: Option<I>,
}

impl<O: OutputPin + Debug, I: InputPin + Debug> FencePins for HalPins<O, I> {
    fn drive(&mut self, line: FenceLine, is_active: bool) -> Result<(), PinFault> {
        let pin = match line {
            FenceLine::Reset => &mut self.reset,
            FenceLine::Power => &mut self.power,
        };
        let pin = pin.as_mut().ok_or(PinFault)?;
        let done = if is_active { pin.set_high() } else { pin.set_low() };
        done.map_err(|_| PinFault)
    }

    fn is_peer_on(&mut self) -> Result<Option<bool>, PinFault> {
        self.sense.as_mut().map(InputPin::is_high).transpose().map_err(|_| PinFault)
    }

    fn has(&self, line: FenceLine) -> bool {
        match line {
            FenceLine::Reset => self.reset.is_some(),
            FenceLine::Power => self.power.is_some(),
        }
    }
}

/// One shot through a line.
#[derive(Debug)]
pub(super) struct PinShot {
    line: FenceLine,
    let_go_at: Instant,
    give_up_at: Instant,
    look_at: Instant,
    /// Looks in a row at which the peer was off.
    off: u32,
    has_sense: bool,
    has_told: bool,
    is_over: bool,
}

impl PinShot {
    /// Drives the line.
    ///
    /// # Errors
    /// When that is impossible; the line is let go as far as it can be.
    pub(super) fn begin(
        pins: &mut dyn FencePins,
        line: FenceLine,
        now: Instant,
        pulse: Duration,
        limit: Duration,
        is_sensed: bool,
    ) -> Result<Self, PinFault> {
        if pins.drive(line, true).is_err() {
            let _ = pins.drive(line, false);
            return Err(PinFault);
        }
        let has_sense = is_sensed && !matches!(pins.is_peer_on(), Ok(None));
        let let_go_at = now + pulse;
        let give_up_at = now + limit.max(pulse);
        Ok(Self { line, let_go_at, give_up_at, look_at: now, off: 0, has_sense, has_told: false, is_over: false })
    }

    /// Goes on; the outcome once, when it is known.
    pub(super) fn turn(&mut self, pins: &mut dyn FencePins, now: Instant) -> Option<FenceOutcome> {
        if self.has_told {
            self.let_go_when_due(pins, now);
            return None;
        }
        let is_pulse_over = now >= self.let_go_at;
        let peer = if self.has_sense { pins.is_peer_on() } else { Ok(None) };
        let outcome = match peer {
            Ok(None) => is_pulse_over.then_some(FenceOutcome::Confirmed),
            Ok(Some(is_on)) => {
                if now >= self.look_at {
                    self.off = if is_on { 0 } else { self.off + 1 };
                    self.look_at = now + LOOK;
                }
                let is_off = self.off >= LOOKS && (is_pulse_over || self.line == FenceLine::Power);
                let is_late = now >= self.give_up_at;
                if is_off { Some(FenceOutcome::Confirmed) } else { is_late.then_some(FenceOutcome::Failed) }
            }
            Err(PinFault) => Some(FenceOutcome::Failed),
        }?;
        self.has_told = true;
        if outcome == FenceOutcome::Failed {
            self.let_go_at = now;
        }
        self.let_go_when_due(pins, now);
        Some(outcome)
    }

    fn let_go_when_due(&mut self, pins: &mut dyn FencePins, now: Instant) {
        if !self.is_over && now >= self.let_go_at {
            self.let_go(pins);
        }
    }

    /// Lets the line go at once.
    pub(super) fn let_go(&mut self, pins: &mut dyn FencePins) {
        self.is_over = true;
        if pins.drive(self.line, false).is_err() {
            log::error!(target: "CRIT", "The line fence-{} cannot be let go.", self.line.word());
        }
    }

    /// Whether the line has been let go and the outcome told.
    pub(super) fn is_over(&self) -> bool {
        self.is_over && self.has_told
    }

    /// When [`turn`](Self::turn) is due.
    pub(super) fn next_deadline(&self) -> Instant {
        if self.has_sense && !self.has_told { self.look_at.min(self.give_up_at) } else { self.let_go_at }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::convert::Infallible;
    use std::rc::Rc;

    use embedded_hal::digital::ErrorType;

    use super::*;

    /// A wire: what was written, and what is read.
    #[derive(Debug, Clone, Default)]
    struct Wire(Rc<RefCell<(Vec<bool>, bool)>>);

    impl ErrorType for Wire {
        type Error = Infallible;
    }

    impl OutputPin for Wire {
        fn set_low(&mut self) -> Result<(), Infallible> {
            self.0.borrow_mut().0.push(false);
            Ok(())
        }
        fn set_high(&mut self) -> Result<(), Infallible> {
            self.0.borrow_mut().0.push(true);
            Ok(())
        }
    }

    impl InputPin for Wire {
        fn is_high(&mut self) -> Result<bool, Infallible> {
            Ok(self.0.borrow().1)
        }
        fn is_low(&mut self) -> Result<bool, Infallible> {
            Ok(!self.0.borrow().1)
        }
    }

    const PULSE: Duration = Duration::from_millis(100);
    const LIMIT: Duration = Duration::from_millis(300);

    struct Bench {
        pins: HalPins<Wire, Wire>,
        out: Wire,
        sense: Wire,
        start: Instant,
        shot: PinShot,
    }

    impl Bench {
        fn begin(line: FenceLine, has_sense: bool) -> Self {
            let (out, sense) = (Wire::default(), Wire::default());
            sense.0.borrow_mut().1 = true;
            let mut pins = HalPins {
                reset: (line == FenceLine::Reset).then(|| out.clone()),
                power: (line == FenceLine::Power).then(|| out.clone()),
                sense: has_sense.then(|| sense.clone()),
            };
            let start = Instant::now();
            let shot = PinShot::begin(&mut pins, line, start, PULSE, LIMIT, true).expect("there is such a line");
            Self { pins, out, sense, start, shot }
        }

        fn turn(&mut self, ms: u64) -> Option<FenceOutcome> {
            self.shot.turn(&mut self.pins, self.start + Duration::from_millis(ms))
        }

        fn written(&self) -> Vec<bool> {
            self.out.0.borrow().0.clone()
        }

        fn peer(&self, is_on: bool) {
            self.sense.0.borrow_mut().1 = is_on;
        }
    }

    #[test]
    fn line_without_a_sense_line_is_believed_when_the_pulse_is_over() {
        let mut bench = Bench::begin(FenceLine::Reset, false);
        assert_eq!(bench.turn(99), None);
        assert_eq!(bench.written(), [true]);
        assert_eq!(bench.turn(100), Some(FenceOutcome::Confirmed));
        assert_eq!(bench.written(), [true, false]);
        assert!(bench.shot.is_over());
    }

    #[test]
    fn unsensed_reset_is_believed_although_the_sense_line_stays_up() {
        let mut bench = Bench::begin(FenceLine::Reset, true);
        bench.shot = PinShot::begin(&mut bench.pins, FenceLine::Reset, bench.start, PULSE, LIMIT, false).unwrap();
        assert_eq!(bench.turn(99), None);
        assert_eq!(bench.shot.next_deadline(), bench.start + PULSE, "nothing is looked at");
        assert_eq!(bench.turn(100), Some(FenceOutcome::Confirmed));
        assert_eq!(bench.written(), [true, true, false]);
    }

    #[test]
    fn reset_is_confirmed_by_the_sense_line_alone() {
        let mut bench = Bench::begin(FenceLine::Reset, true);
        assert_eq!((bench.turn(0), bench.turn(150)), (None, None));
        assert_eq!(bench.written(), [true, false][..1], "held until the sense line answers");
        bench.peer(false);
        assert_eq!(bench.turn(160), None, "one look may be a glitch");
        assert_eq!(bench.turn(165), Some(FenceOutcome::Confirmed));
        assert_eq!(bench.written(), [true, false]);
    }

    #[test]
    fn glitch_of_the_sense_line_confirms_nothing_and_the_limit_fails_the_shot() {
        let mut bench = Bench::begin(FenceLine::Reset, true);
        bench.peer(false);
        assert_eq!(bench.turn(110), None);
        bench.peer(true);
        assert_eq!(bench.turn(120), None);
        bench.peer(false);
        assert_eq!(bench.turn(130), None);
        bench.peer(true);
        assert_eq!(bench.turn(299), None);
        assert_eq!(bench.turn(300), Some(FenceOutcome::Failed));
        assert_eq!(bench.written(), [true, false]);
    }

    #[test]
    fn power_is_confirmed_at_once_and_stays_off_for_the_pulse() {
        let mut bench = Bench::begin(FenceLine::Power, true);
        bench.peer(false);
        assert_eq!(bench.turn(5), None);
        assert_eq!(bench.turn(10), Some(FenceOutcome::Confirmed));
        assert_eq!(bench.turn(99), None);
        assert_eq!(bench.written(), [true]);
        assert!(!bench.shot.is_over());
        assert_eq!(bench.turn(100), None);
        assert_eq!(bench.written(), [true, false]);
        assert!(bench.shot.is_over());
    }

    #[test]
    fn line_that_is_not_there_is_a_fault() {
        let mut pins: HalPins<Wire, Wire> = HalPins { reset: None, power: None, sense: None };
        let now = Instant::now();
        assert!(PinShot::begin(&mut pins, FenceLine::Reset, now, PULSE, LIMIT, true).is_err());
        assert!(!pins.has(FenceLine::Power));
    }
}
