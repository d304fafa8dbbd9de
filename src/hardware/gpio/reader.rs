//! The engine's end of a request of inputs: a descriptor, which line stands where, and a pin for each.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use embedded_hal::digital::{ErrorType, InputPin};
use gpiocdev_uapi::v2::{LineEdgeEvent, LineValues, get_line_values};

use super::{PinError, uapi_error};
use crate::core::InputLine;

/// Inputs that one request can hold: each use there is.
pub const LINES_MAX: usize = InputLine::ALL.len();
/// Words of memory for one edge.
const EDGE_WORDS: usize = size_of::<LineEdgeEvent>() / size_of::<u64>();
/// Edges taken in one read.
const EDGES: usize = 16;

/// Which line each place of a request is, in the order of the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LineRow {
    /// `None` behind the last one.
    pub lines: [Option<InputLine>; LINES_MAX],
    /// The chip tells no edges of these: they have to be read now and then.
    pub is_polled: bool,
}

/// Takes edges, and has a pin for each line. Allocates nothing.
#[derive(Debug)]
pub struct LineReader {
    file: File,
    row: LineRow,
}

impl LineReader {
    /// From what the guardian has passed.
    pub fn new(descriptor: OwnedFd, row: LineRow) -> Self {
        Self { file: descriptor.into(), row }
    }

    /// Whether edges do not wake the reader.
    pub const fn is_polled(&self) -> bool {
        self.row.is_polled
    }

    /// Which lines it reads.
    pub fn lines(&self) -> impl Iterator<Item = InputLine> + use<> {
        self.row.lines.into_iter().flatten()
    }

    /// Takes the edges that have come, so that the descriptor is not readable any more. What they say is not needed:
    /// the levels are read after them. An edge that comes meanwhile makes the descriptor readable again.
    pub fn take_edges(&self) {
        let mut buffer = [0u64; EDGES * EDGE_WORDS];
        while gpiocdev_uapi::read_event(&self.file, &mut buffer).is_ok_and(|words| words >= buffer.len()) {}
    }

    /// The pin of each line, in the order of the request.
    pub fn pins(&self) -> impl Iterator<Item = (InputLine, WatchedLine<'_>)> {
        (0..).zip(self.lines()).map(|(place, line)| (line, WatchedLine { file: &self.file, place }))
    }
}

/// One of the lines that a [`LineReader`] waits for. One system call for each look.
#[derive(Debug)]
pub struct WatchedLine<'r> {
    file: &'r File,
    /// Its place in the request.
    place: u32,
}

impl ErrorType for WatchedLine<'_> {
    type Error = PinError;
}

impl InputPin for WatchedLine<'_> {
    fn is_high(&mut self) -> Result<bool, PinError> {
        let mut values = LineValues { bits: 0, mask: 1 << self.place };
        get_line_values(self.file, &mut values).map_err(|error| PinError(uapi_error(&error)))?;
        Ok(values.bits & values.mask != 0)
    }

    fn is_low(&mut self) -> Result<bool, PinError> {
        self.is_high().map(|is_high| !is_high)
    }
}

impl AsFd for LineReader {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::super::level_of;
    use super::*;
    use crate::core::LineLevel;

    #[test]
    fn descriptor_that_is_no_line_reads_as_unknown_and_never_blocks() {
        let (ours, _theirs) = nix::unistd::pipe2(nix::fcntl::OFlag::O_NONBLOCK).unwrap();
        let lines = [Some(InputLine::PeerOwner), Some(InputLine::PeerPower), None, None];
        let reader = LineReader::new(ours, LineRow { lines, is_polled: false });
        reader.take_edges();
        let levels: Vec<_> = reader.pins().map(|(line, mut pin)| (line, level_of(&mut pin))).collect();
        let unknown = LineLevel::Unknown;
        assert_eq!(levels, [(InputLine::PeerOwner, unknown), (InputLine::PeerPower, unknown)]);
    }
}
