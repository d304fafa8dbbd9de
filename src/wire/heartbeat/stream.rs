//! Messages out of a serial line's bytes (spec/wire.md 11.3).

use super::{TEXT_FRAME_MAX, text};

const START_LINE: &[u8] = b">>>";
const END_LINE: &[u8] = b"<<<";

/// What a serial line brought beside messages. All of them wrap.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StreamCounters {
    /// Frames handed out.
    pub frames: u32,
    /// Bytes that belonged to no frame: noise, banners, the rest of something torn.
    pub garbage_bytes: u32,
    /// Frames that another one's beginning cut off.
    pub torn: u32,
    /// Frames longer than [`TEXT_FRAME_MAX`], thrown away.
    pub oversize: u32,
}

/// Finds the `>>>` … `<<<` frames in a stream of bytes and survives whatever else comes down a cable: the banner of a
/// login, a modem's answers, NULs from a break, frames that lost their middle.
///
/// A frame is only *likely* to be a message; [`Codec::decode`](super::Codec::decode) knows.
///
/// The original looks for `>>>` at the beginning of a line, and a lost end costs it the next message, too. Here
/// `>>>` on a line of its own always begins afresh. A line that merely ends with it may be a beginning behind
/// half a line of rubbish, or a field: then both readings are handed out, the longer one first.
///
/// ```
/// use nullbeat::wire::heartbeat::TextStream;
///
/// let mut stream = TextStream::new();
/// let mut bytes = &b"login: >>>\nt=status\n<<<\n>>>\n"[..];
/// while let Some(frame) = stream.next(&mut bytes) {
///     assert_eq!(frame, b">>>\nt=status\n<<<\n");
/// }
/// assert_eq!((bytes.len(), stream.counters().garbage_bytes), (0, 7));
/// ```
#[derive(Debug, Clone)]
pub struct TextStream {
    buffer: [u8; TEXT_FRAME_MAX],
    len: usize,
    /// Where the current line begins in `buffer`.
    line: usize,
    state: State,
    counters: StreamCounters,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// No frame has begun; the buffer holds at most the last bytes of the current line.
    Outside,
    /// The buffer holds a frame that has begun, and perhaps where another one may have begun inside it.
    Inside { inner: Option<usize> },
    /// The buffer holds a frame that has been handed out; perhaps the next one began on its last line.
    Complete { inner: Option<usize>, is_next_begun: bool },
}

impl Default for TextStream {
    fn default() -> Self {
        Self::new()
    }
}

impl TextStream {
    /// Nothing received yet.
    pub const fn new() -> Self {
        Self {
            buffer: [0; TEXT_FRAME_MAX],
            len: 0,
            line: 0,
            state: State::Outside,
            counters: StreamCounters { frames: 0, garbage_bytes: 0, torn: 0, oversize: 0 },
        }
    }

    /// Forgets what has begun, for a line that was closed and opened again. Counters stay.
    pub fn reset(&mut self) {
        if !matches!(self.state, State::Complete { .. }) {
            self.discard(self.len);
        }
        self.leave();
    }

    /// What was thrown away so far.
    pub fn counters(&self) -> StreamCounters {
        self.counters
    }

    /// The next frame, taking bytes off the front of `bytes` as far as needed; `None` when all are taken. Call it until
    /// then: a frame stays valid until the next call.
    pub fn next(&mut self, bytes: &mut &[u8]) -> Option<&[u8]> {
        if let State::Complete { inner, is_next_begun } = self.state {
            if let Some(start) = inner {
                self.state = State::Complete { inner: None, is_next_begun };
                self.count_frame();
                return self.buffer.get(start..self.len);
            }
            if is_next_begun { self.enter() } else { self.leave() }
        }
        while let Some((byte, rest)) = bytes.split_first() {
            *bytes = rest;
            if self.take(*byte) {
                self.count_frame();
                return self.buffer.get(..self.len);
            }
        }
        None
    }

    fn count_frame(&mut self) {
        self.counters.frames = self.counters.frames.wrapping_add(1);
    }

    /// Takes one byte; true when it completed a frame.
    fn take(&mut self, byte: u8) -> bool {
        if byte == 0 {
            // A break on the line; no text has NULs.
            self.discard(1);
            return false;
        }
        match self.state {
            State::Outside => {
                self.take_outside(byte);
                false
            }
            State::Inside { .. } | State::Complete { .. } => self.take_inside(byte),
        }
    }

    fn take_outside(&mut self, byte: u8) {
        if byte == b'\n' {
            if self.trimmed_line().ends_with(START_LINE) {
                self.discard(self.trimmed_line().len() - START_LINE.len());
                self.enter();
            } else {
                self.discard(self.len + 1);
                self.leave();
            }
            return;
        }
        // Only a line's end matters here: a long one keeps its last half.
        if self.len == self.buffer.len() {
            let half = self.len / 2;
            self.buffer.copy_within(half.., 0);
            self.len -= half;
            self.discard(half);
        }
        self.push(byte);
    }

    fn take_inside(&mut self, byte: u8) -> bool {
        if !self.push(byte) {
            self.counters.oversize = self.counters.oversize.wrapping_add(1);
            self.discard(self.len + 1);
            self.leave();
            return false;
        }
        if byte != b'\n' {
            return false;
        }
        self.len -= 1;
        let line = self.trimmed_line();
        let (length, is_start, is_end) = (line.len(), line.ends_with(START_LINE), line.starts_with(END_LINE));
        if is_end {
            return self.complete(is_start);
        }
        if is_start && length == START_LINE.len() {
            self.counters.torn = self.counters.torn.wrapping_add(1);
            self.discard(self.line);
            self.enter();
            return false;
        }
        self.len = self.line + length;
        if is_start {
            self.state = State::Inside { inner: Some(self.len - START_LINE.len()) };
        }
        self.push(b'\n');
        self.line = self.len;
        false
    }

    /// The current line without the carriage returns that a terminal may have put behind it.
    fn trimmed_line(&self) -> &[u8] {
        let mut line = self.buffer.get(self.line..self.len).unwrap_or_default();
        while let [rest @ .., b'\r'] = line {
            line = rest;
        }
        line
    }

    /// The current line is the end, whatever follows the marker on it: when its newline was lost that is the next start.
    fn complete(&mut self, is_next_begun: bool) -> bool {
        let State::Inside { inner } = self.state else { return false };
        self.len = self.line;
        let is_whole = text::END.iter().all(|byte| self.push(*byte));
        self.state = State::Complete { inner, is_next_begun };
        is_whole
    }

    fn push(&mut self, byte: u8) -> bool {
        match self.buffer.get_mut(self.len) {
            Some(slot) => {
                *slot = byte;
                self.len += 1;
                true
            }
            None => false,
        }
    }

    /// Begins a frame: the buffer becomes just the start line.
    fn enter(&mut self) {
        self.leave();
        for byte in text::START {
            self.push(*byte);
        }
        self.line = self.len;
        self.state = State::Inside { inner: None };
    }

    fn leave(&mut self) {
        self.state = State::Outside;
        self.len = 0;
        self.line = 0;
    }

    fn discard(&mut self, bytes: usize) {
        self.counters.garbage_bytes =
            self.counters.garbage_bytes.wrapping_add(u32::try_from(bytes).unwrap_or(u32::MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(stream: &mut TextStream, mut bytes: &[u8]) -> Vec<Vec<u8>> {
        let mut frames = Vec::new();
        while let Some(frame) = stream.next(&mut bytes) {
            frames.push(frame.to_vec());
        }
        assert!(bytes.is_empty());
        frames
    }

    #[test]
    fn frames_come_out_as_they_went_in() {
        let mut stream = TextStream::new();
        let line = b">>>\nt=a\n<<<\n>>>\nt=b\n\nauth=1 2\n<<<\n";
        assert_eq!(frames(&mut stream, line), [&b">>>\nt=a\n<<<\n"[..], b">>>\nt=b\n\nauth=1 2\n<<<\n"]);
        assert_eq!(stream.counters(), StreamCounters { frames: 2, ..StreamCounters::default() });
    }

    #[test]
    fn bytes_behind_a_frame_wait_for_the_next_call() {
        let mut stream = TextStream::new();
        let mut bytes = &b">>>\nt=a\n<<<\n>>>\nt=b\n"[..];
        assert_eq!(stream.next(&mut bytes), Some(&b">>>\nt=a\n<<<\n"[..]));
        assert_eq!(bytes, b">>>\nt=b\n");
        assert_eq!(stream.next(&mut bytes), None);
        assert_eq!(frames(&mut stream, b"<<<\n"), [b">>>\nt=b\n<<<\n"]);
    }

    #[test]
    fn new_start_cuts_off_what_was_open() {
        let mut stream = TextStream::new();
        assert_eq!(frames(&mut stream, b">>>\nt=a\nx\n>>>\nt=b\n<<<\n"), [b">>>\nt=b\n<<<\n"]);
        let expected = StreamCounters { frames: 1, garbage_bytes: 10, torn: 1, oversize: 0 };
        assert_eq!(stream.counters(), expected);
    }

    #[test]
    fn start_behind_half_a_line_gives_both_readings() {
        let mut stream = TextStream::new();
        let out = frames(&mut stream, b">>>\nts=6b0>>>\nt=b\n<<<\n");
        assert_eq!(out, [&b">>>\nts=6b0>>>\nt=b\n<<<\n"[..], b">>>\nt=b\n<<<\n"]);
    }

    #[test]
    fn end_and_start_on_one_line_are_both_seen() {
        let mut stream = TextStream::new();
        let out = frames(&mut stream, b">>>\nt=a\n<<<>>>\nt=b\n<<< \xff\n");
        assert_eq!(out, [b">>>\nt=a\n<<<\n", b">>>\nt=b\n<<<\n"]);
    }

    #[test]
    fn longest_frame_fits_and_a_longer_one_is_dropped() {
        let frame = |length: usize| {
            let mut frame = b">>>\nt=".to_vec();
            frame.resize(length - 5, b'x');
            frame.extend_from_slice(b"\n<<<\n");
            frame
        };
        let mut stream = TextStream::new();
        assert_eq!(frames(&mut stream, &frame(TEXT_FRAME_MAX)), [frame(TEXT_FRAME_MAX)]);
        let line = [frame(TEXT_FRAME_MAX + 1), frame(20)].concat();
        assert_eq!(frames(&mut stream, &line), [frame(20)]);
        assert_eq!((stream.counters().oversize, stream.counters().frames), (1, 2));
    }

    #[test]
    fn endless_line_is_thrown_away_and_its_end_still_seen() {
        let mut stream = TextStream::new();
        let mut line = vec![0xa5; 3 * TEXT_FRAME_MAX];
        line.extend_from_slice(b">>>\nt=a\n<<<\n");
        assert_eq!(frames(&mut stream, &line), [b">>>\nt=a\n<<<\n"]);
        assert_eq!(stream.counters().garbage_bytes as usize, 3 * TEXT_FRAME_MAX);
    }

    #[test]
    fn reset_forgets_half_a_frame() {
        let mut stream = TextStream::new();
        assert!(frames(&mut stream, b">>>\nt=a\n").is_empty());
        stream.reset();
        assert!(frames(&mut stream, b"t=b\n<<<\n").is_empty());
        assert_eq!(stream.counters().garbage_bytes, 8 + 8);
    }
}
