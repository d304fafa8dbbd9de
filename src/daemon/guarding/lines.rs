//! The GPIO lines in the guardian's hand: it drives the outputs, so that they obey somebody when an engine is killed.

use std::fmt::Display;
use std::os::fd::AsFd;

use embedded_hal::digital::OutputPin;

use super::{Guarding, Stage};
use crate::config::{Config, OutputLine};
use crate::core::InputLine;
use crate::guardian::fence::{FencePins, HalPins};
use crate::guardian::protocol::ToEngine;
use crate::hardware::gpio::{DrivenLine, LineError, Lines};

/// An output and the level it has.
#[derive(Debug)]
struct Output<P> {
    line: OutputLine,
    pin: P,
    /// `None`: unknown, since setting it has failed.
    is_active: Option<bool>,
}

impl<P: OutputPin<Error: Display>> Output<P> {
    /// Sets it unless it has that level; whether it has it now.
    fn set(&mut self, is_active: bool) -> bool {
        if self.is_active == Some(is_active) {
            return true;
        }
        let was_known = self.is_active.is_some();
        let result = if is_active { self.pin.set_high() } else { self.pin.set_low() };
        self.is_active = result.is_ok().then_some(is_active);
        if let Err(error) = result
            && was_known
        {
            log::error!(target: "CRIT", "The line `{}` cannot be set: {error}", self.line.name());
        }
        self.is_active.is_some()
    }
}

/// The lines of the board file.
#[derive(Debug)]
pub struct BoardLines {
    lines: Lines,
    owner: Option<Output<DrivenLine>>,
    alive: Option<Output<DrivenLine>>,
}

impl BoardLines {
    /// Opens all lines. `owner` is active from the first moment when groups are `in_use` here, `alive` when an engine
    /// was beating just now: neither blinks when a guardian takes over from another.
    ///
    /// # Errors
    /// Everything that is wrong.
    pub fn open(config: &Config, is_holding: bool, is_alive: bool) -> Result<Self, Vec<LineError>> {
        let is_active = |line: OutputLine| match line {
            OutputLine::Owner => is_holding,
            OutputLine::Alive => is_alive,
            OutputLine::FenceReset | OutputLine::FencePower => false,
        };
        let mut lines = Lines::open(&config.gpio, is_active)?;
        let mut take = |line| {
            let pin = lines.take_output(line)?;
            Some(Output { line, pin, is_active: Some(is_active(line)) })
        };
        let (owner, alive) = (take(OutputLine::Owner), take(OutputLine::Alive));
        Ok(Self { lines, owner, alive })
    }

    /// The lines for fencing, once.
    pub(super) fn take_fence_pins(&mut self) -> Box<dyn FencePins> {
        Box::new(HalPins {
            reset: self.lines.take_output(OutputLine::FenceReset),
            power: self.lines.take_output(OutputLine::FencePower),
            sense: self.lines.input(InputLine::PeerPower),
        })
    }

    /// Whether `owner` has that level now; a board without the line has nothing to set.
    pub(super) fn set_owner(&mut self, is_owner: bool) -> bool {
        self.owner.as_mut().is_none_or(|owner| owner.set(is_owner))
    }

    pub(super) fn set_alive(&mut self, is_alive: bool) {
        if let Some(alive) = &mut self.alive {
            alive.set(is_alive);
        }
    }
}

impl Guarding {
    /// The engine wants `owner` at this level.
    pub(super) fn set_owner(&mut self, is_owner: bool) {
        let is_ok = self.lines.set_owner(is_owner);
        self.send(ToEngine::OwnerSet { is_owner, is_ok });
    }

    /// Hands the inputs over, one descriptor for each chip.
    pub(super) fn pass_lines(&mut self) {
        let Some(engine) = &self.engine else { return };
        for group in self.lines.lines.groups() {
            let record = ToEngine::Lines { row: group.row() }.encode();
            if let Err(error) = engine.channel.send_with(&record, group.as_fd()) {
                log::error!("the engine does not take the GPIO lines: {error}");
            }
        }
    }

    /// `alive` says that an engine decides here and stamps in time.
    pub(super) fn tell_alive(&mut self, now: u64) {
        let is_guarding = matches!(self.stage, Stage::Guarding | Stage::Reloading(_) | Stage::Checking(_));
        let stamp = self.lease.engine_stamp();
        let is_fresh = stamp > 0 && !self.watch.is_stale(now, stamp);
        self.lines.set_alive(is_guarding && self.engine.is_some() && is_fresh);
    }

    /// Without an engine: nothing is in use here any more.
    pub(super) fn lower_owner(&mut self) {
        if self.in_use().is_empty() {
            self.lines.set_owner(false);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guardian::channel::Channel;
    use crate::guardian::protocol::ToGuardian;
    use crate::hardware::gpio::wire::{Wire, WireFault};

    /// One request over the channel, as the engine sends it and the guardian serves it; the answer that the engine reads.
    fn ask(is_owner: bool, output: &mut Output<impl OutputPin<Error: Display>>) -> ToEngine {
        let (engine, guardian) = Channel::pair().unwrap();
        engine.send(&ToGuardian::SetOwner { is_owner }.encode(7)).unwrap();
        let incoming = guardian.receive().unwrap().unwrap();
        let (request, digest) = ToGuardian::decode(incoming.bytes()).unwrap();
        assert_eq!(digest, 7);
        let ToGuardian::SetOwner { is_owner } = request else { panic!("{request:?}") };
        let is_ok = output.set(is_owner);
        guardian.send(&ToEngine::OwnerSet { is_owner, is_ok }.encode()).unwrap();
        ToEngine::decode(engine.receive().unwrap().unwrap().bytes()).unwrap()
    }

    #[test]
    fn owner_is_set_on_the_wire_and_the_answer_says_whether_it_is_there() {
        let wire = Wire::new(true);
        let mut output = Output { line: OutputLine::Owner, pin: wire.output(), is_active: Some(false) };
        let told = |is_owner, is_ok| ToEngine::OwnerSet { is_owner, is_ok };
        assert_eq!(ask(true, &mut output), told(true, true));
        assert_eq!(wire.driven(), Some(true));
        // A pin that does not obey is at a level that nobody knows: it is set anew, whatever it was.
        wire.set_fault(WireFault::Dead);
        assert_eq!(ask(false, &mut output), told(false, false));
        assert_eq!(wire.driven(), Some(true));
        assert_eq!(ask(true, &mut output), told(true, false));
        wire.set_fault(WireFault::None);
        assert_eq!(ask(false, &mut output), told(false, true));
        assert_eq!(wire.driven(), Some(false));
        // One that is there already is not touched: a second guardian's pin must not blink.
        wire.drive(Some(true));
        assert_eq!(ask(false, &mut output), told(false, true));
        assert_eq!(wire.driven(), Some(true));
    }
}
