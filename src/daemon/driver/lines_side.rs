//! GPIO inputs: edges wake the loop, levels go to the core.

use super::Driver;
use crate::config::OutputLine;
use crate::core::{Input, LineLevel};
use crate::daemon::reactor::{Ready, Token};
use crate::guardian::protocol::ToGuardian;
use crate::hardware::gpio::{LINES_MAX, LineReader, level_of};

/// Tokens of line readers begin here, far behind those of the links.
const READERS: u32 = 1 << 17;

/// The readers of the inputs, one for each chip.
pub(super) type LineReaders = heapless::Vec<LineReader, LINES_MAX>;

impl Driver<'_> {
    /// One more chip's inputs, with their levels.
    // Not inlined: its frame would be part of one that every turn of the loop touches.
    #[inline(never)]
    pub(super) fn add_lines(&mut self, reader: LineReader) {
        let place = self.readers.len();
        let token = Token(READERS + u32::try_from(place).unwrap_or(0));
        // Woken once for each edge: the end of a chip that is unplugged does not keep us awake.
        if let Err(error) = self.reactor.add_edge(&reader, token) {
            return log::error!("GPIO lines cannot be waited for: {error}");
        }
        if self.readers.push(reader).is_err() {
            return log::error!("More GPIO lines than there are uses");
        }
        self.read_lines(place);
    }

    pub(super) fn serve_lines_of(&mut self, ready: Ready) {
        let Some(place) = ready.token.0.checked_sub(READERS).and_then(|place| usize::try_from(place).ok()) else {
            return;
        };
        if let Some(reader) = self.readers.get(place) {
            reader.take_edges();
            self.read_lines(place);
        }
    }

    /// Lines whose edges nobody tells, and those that could not be read, are looked at with each tick.
    pub(super) fn poll_lines(&mut self) {
        for place in 0..self.readers.len() {
            let lines = self.node.ownership().lines();
            let is_unknown = |line| lines.level(line) == LineLevel::Unknown;
            if self.readers[place].is_polled() || self.readers[place].lines().any(is_unknown) {
                self.read_lines(place);
            }
        }
    }

    fn read_lines(&mut self, place: usize) {
        // By place: feeding the core needs all of `self`.
        for at in 0..LINES_MAX {
            let Some((line, mut pin)) = self.readers[place].pins().nth(at) else { return };
            let level = level_of(&mut pin);
            if self.node.ownership().lines().level(line) != level {
                self.feed(Input::Line { line, level });
            }
        }
    }

    /// The core wants `owner` set.
    pub(super) fn set_owner(&mut self, is_owner: bool) {
        let has_line = self.config.has_output(OutputLine::Owner);
        if has_line && !self.guardian.is_gone() {
            self.ask(ToGuardian::SetOwner { is_owner });
        } else {
            // Without the line there is nothing to set; without a guardian nobody can.
            self.feed(Input::OwnerSet { is_owner, is_ok: !has_line });
        }
    }
}
