//! A wire between two pins of this process, with the faults that real ones have: for tests without hardware.

use std::cell::Cell;
use std::io;
use std::rc::Rc;

use embedded_hal::digital::{ErrorType, InputPin, OutputPin};

use super::PinError;

/// What is wrong with a wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WireFault {
    /// Nothing.
    #[default]
    None,
    /// The input reads active whatever is driven.
    StuckActive,
    /// The input reads inactive whatever is driven.
    StuckInactive,
    /// Cut: the input reads its bias.
    Open,
    /// Neither end answers: each call is an error.
    Dead,
}

#[derive(Debug)]
struct State {
    /// `None`: nobody drives it.
    driven: Cell<Option<bool>>,
    /// What an open wire reads.
    open: bool,
    fault: Cell<WireFault>,
}

/// The wire, as the test holds it. Levels are logical: high is active.
#[derive(Debug, Clone)]
pub struct Wire(Rc<State>);

impl Wire {
    /// A wire that reads `open` while nobody drives it.
    pub fn new(open: bool) -> Self {
        Self(Rc::new(State { driven: Cell::new(None), open, fault: Cell::new(WireFault::None) }))
    }

    /// The end that drives.
    pub fn output(&self) -> WireOutput {
        WireOutput(Rc::clone(&self.0))
    }

    /// The end that reads.
    pub fn input(&self) -> WireInput {
        WireInput(Rc::clone(&self.0))
    }

    /// From now on this is wrong with it.
    pub fn set_fault(&self, fault: WireFault) {
        self.0.fault.set(fault);
    }

    /// Drives the wire from outside; `None`: nobody does.
    pub fn drive(&self, level: Option<bool>) {
        self.0.driven.set(level);
    }

    /// What its output end was set to, whatever is wrong with the wire.
    pub fn driven(&self) -> Option<bool> {
        self.0.driven.get()
    }
}

fn check(state: &State) -> Result<(), PinError> {
    match state.fault.get() {
        WireFault::Dead => Err(PinError(io::Error::from_raw_os_error(nix::libc::EIO))),
        _ => Ok(()),
    }
}

/// One end of a [`Wire`].
#[derive(Debug)]
pub struct WireOutput(Rc<State>);

impl ErrorType for WireOutput {
    type Error = PinError;
}

impl OutputPin for WireOutput {
    fn set_low(&mut self) -> Result<(), PinError> {
        check(&self.0)?;
        self.0.driven.set(Some(false));
        Ok(())
    }

    fn set_high(&mut self) -> Result<(), PinError> {
        check(&self.0)?;
        self.0.driven.set(Some(true));
        Ok(())
    }
}

/// The other end of a [`Wire`].
#[derive(Debug)]
pub struct WireInput(Rc<State>);

impl ErrorType for WireInput {
    type Error = PinError;
}

impl InputPin for WireInput {
    fn is_high(&mut self) -> Result<bool, PinError> {
        check(&self.0)?;
        Ok(match self.0.fault.get() {
            WireFault::StuckActive => true,
            WireFault::StuckInactive => false,
            WireFault::Open => self.0.open,
            WireFault::None | WireFault::Dead => self.0.driven.get().unwrap_or(self.0.open),
        })
    }

    fn is_low(&mut self) -> Result<bool, PinError> {
        self.is_high().map(|is_high| !is_high)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::LineLevel;
    use crate::hardware::gpio::level_of;

    #[test]
    fn wire_carries_levels_until_it_has_a_fault() {
        let wire = Wire::new(true);
        let (mut output, mut input) = (wire.output(), wire.input());
        assert_eq!(level_of(&mut input), LineLevel::Active, "nobody drives it");
        output.set_low().unwrap();
        assert_eq!(level_of(&mut input), LineLevel::Inactive);
        output.set_high().unwrap();
        assert!(input.is_high().unwrap());
        for (fault, level) in [
            (WireFault::StuckInactive, LineLevel::Inactive),
            (WireFault::StuckActive, LineLevel::Active),
            (WireFault::Dead, LineLevel::Unknown),
        ] {
            wire.set_fault(fault);
            assert_eq!(level_of(&mut input), level, "{fault:?}");
        }
        assert!(output.set_low().is_err());
        assert_eq!(wire.driven(), Some(true));
        wire.set_fault(WireFault::None);
        output.set_low().unwrap();
        wire.set_fault(WireFault::Open);
        assert_eq!(level_of(&mut input), LineLevel::Active, "the bias");
        assert!(input.is_low().is_ok_and(|is_low| !is_low));
    }
}
