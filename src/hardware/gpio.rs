//! GPIO lines over the kernel's character device (uAPI v2, Linux 5.10), behind `embedded-hal`'s pins.
//!
//! The guardian opens all lines ([`Lines::open`]), drives the outputs and passes each request of inputs to the engine,
//! which waits for edges with a [`LineReader`] and reads levels through its pins. "High" of `embedded-hal` means *active*
//! here: the kernel turns the level round where the line is active low.
//!
//! | file | holds |
//! |---|---|
//! | `open` | board file to lines of the kernel, and what can be wrong |
//! | `reader` | the engine's end: edges and pins, without allocation |
//! | `wire` | pins without hardware, with faults, for tests |

mod open;
mod reader;
pub mod wire;

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::rc::Rc;

use embedded_hal::digital::{self, ErrorKind, ErrorType, InputPin, OutputPin};
use gpiocdev::Request;
use gpiocdev::line::{Offset, Value};
use nix::errno::Errno;

use crate::config::{GpioLine, LineUse, OutputLine};
use crate::core::{InputLine, LineLevel};

pub use open::{LineError, Trouble};
pub use reader::{LINES_MAX, LineReader, LineRow, WatchedLine};

/// Why a pin could not be set or read.
#[derive(Debug)]
pub struct PinError(pub io::Error);

impl std::fmt::Display for PinError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for PinError {}

impl digital::Error for PinError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Other
    }
}

/// The errno in what `gpiocdev` says; `EIO` where there is none.
fn os_error(error: &gpiocdev::Error) -> io::Error {
    match error {
        gpiocdev::Error::Os(errno) => io::Error::from_raw_os_error(errno.0),
        gpiocdev::Error::Uapi(_, error) => uapi_error(error),
        _ => Errno::EIO.into(),
    }
}

/// The same for what `gpiocdev-uapi` says.
fn uapi_error(error: &gpiocdev_uapi::Error) -> io::Error {
    match error {
        gpiocdev_uapi::Error::Os(errno) => io::Error::from_raw_os_error(errno.0),
        _ => Errno::EIO.into(),
    }
}

/// An output of the board.
#[derive(Debug)]
pub struct DrivenLine {
    request: Request,
    offset: Offset,
}

impl ErrorType for DrivenLine {
    type Error = PinError;
}

impl OutputPin for DrivenLine {
    fn set_low(&mut self) -> Result<(), PinError> {
        self.request.set_value(self.offset, Value::Inactive).map_err(|error| PinError(os_error(&error)))
    }

    fn set_high(&mut self) -> Result<(), PinError> {
        self.request.set_value(self.offset, Value::Active).map_err(|error| PinError(os_error(&error)))
    }
}

/// An input of the board, read by whoever opened it. The engine has the same line; both may read.
#[derive(Debug, Clone)]
pub struct SensedLine {
    request: Rc<Request>,
    offset: Offset,
}

impl ErrorType for SensedLine {
    type Error = PinError;
}

impl InputPin for SensedLine {
    fn is_high(&mut self) -> Result<bool, PinError> {
        let value = self.request.value(self.offset).map_err(|error| PinError(os_error(&error)))?;
        Ok(value == Value::Active)
    }

    fn is_low(&mut self) -> Result<bool, PinError> {
        self.is_high().map(|is_high| !is_high)
    }
}

/// What is read from a pin; a failed read is [`LineLevel::Unknown`].
pub fn level_of<P: InputPin>(pin: &mut P) -> LineLevel {
    match pin.is_high() {
        Ok(true) => LineLevel::Active,
        Ok(false) => LineLevel::Inactive,
        Err(_) => LineLevel::Unknown,
    }
}

/// The inputs on one chip: one descriptor.
#[derive(Debug)]
pub struct InputGroup {
    request: Rc<Request>,
    lines: Vec<(Offset, InputLine)>,
    row: LineRow,
}

impl InputGroup {
    /// Which line each place of the request is, and how it is read.
    pub const fn row(&self) -> LineRow {
        self.row
    }
}

impl AsFd for InputGroup {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.request.as_fd()
    }
}

/// All lines of a board file, open.
#[derive(Debug, Default)]
pub struct Lines {
    outputs: Vec<(OutputLine, DrivenLine)>,
    groups: Vec<InputGroup>,
}

impl Lines {
    /// Opens all lines. An output has the level `is_active` from the first moment.
    ///
    /// # Errors
    /// Everything that is wrong, not only the first; no line stays open then.
    pub fn open(lines: &[GpioLine], is_active: impl Fn(OutputLine) -> bool) -> Result<Self, Vec<LineError>> {
        open::all(lines, is_active)
    }

    /// Opens the outputs of `wanted` alone.
    ///
    /// # Errors
    /// As [`Lines::open`].
    pub fn open_outputs(
        lines: &[GpioLine],
        wanted: &[OutputLine],
        is_active: impl Fn(OutputLine) -> bool,
    ) -> Result<Self, Vec<LineError>> {
        let is_wanted = |line: &&GpioLine| matches!(line.usage, LineUse::Output(usage) if wanted.contains(&usage));
        let lines: Vec<GpioLine> = lines.iter().filter(is_wanted).cloned().collect();
        open::all(&lines, is_active)
    }

    /// An output, for whoever drives it from now on; `None`: there is no such line, or it is taken.
    pub fn take_output(&mut self, output: OutputLine) -> Option<DrivenLine> {
        let at = self.outputs.iter().position(|(known, _)| *known == output)?;
        Some(self.outputs.swap_remove(at).1)
    }

    /// An input, to be read at any time.
    pub fn input(&self, input: InputLine) -> Option<SensedLine> {
        self.groups.iter().find_map(|group| {
            let (offset, _) = group.lines.iter().find(|(_, known)| *known == input)?;
            Some(SensedLine { request: Rc::clone(&group.request), offset: *offset })
        })
    }

    /// The inputs by chip, to be passed to the engine.
    pub fn groups(&self) -> &[InputGroup] {
        &self.groups
    }
}
