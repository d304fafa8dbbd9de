//! What waits to go out on a slow line: whole messages in a buffer of fixed size.
//!
//! When the line is slow or the cable is out, news beats completeness: a beat that has not begun to leave is replaced
//! by the next one, and when the buffer is full the oldest message that has not begun to leave is dropped and counted.
//! Dropped sequence numbers come again over retransmission; a stale "I am alive" is worth nothing.

/// Bytes that can wait. At 9600 baud this is more than fifteen seconds.
pub const BYTES_MAX: usize = 16 * 1024;
/// Messages that can wait.
pub const MESSAGES_MAX: usize = 64;

#[derive(Debug, Clone, Copy)]
struct Waiting {
    len: usize,
    is_beat: bool,
}

/// The buffer of one line. Allocates once, when made.
#[derive(Debug)]
pub struct Output {
    /// The waiting messages, one behind the other, oldest first.
    bytes: Box<[u8; BYTES_MAX]>,
    messages: heapless::Deque<Waiting, MESSAGES_MAX>,
    used: usize,
    /// How much of the first message has left.
    written: usize,
    /// Messages that will never leave.
    pub dropped: u64,
}

impl Default for Output {
    fn default() -> Self {
        Self { bytes: Box::new([0; BYTES_MAX]), messages: heapless::Deque::new(), used: 0, written: 0, dropped: 0 }
    }
}

impl Output {
    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// Puts one whole message behind the others.
    pub fn push(&mut self, message: &[u8], is_beat: bool) {
        if message.len() > BYTES_MAX {
            self.dropped += 1;
            return;
        }
        if is_beat {
            self.drop_waiting_beat();
        }
        while self.used + message.len() > BYTES_MAX || self.messages.is_full() {
            if !self.drop_oldest() {
                self.dropped += 1;
                return;
            }
        }
        let end = self.used + message.len();
        self.bytes[self.used..end].copy_from_slice(message);
        self.used = end;
        let _ = self.messages.push_back(Waiting { len: message.len(), is_beat });
    }

    /// The bytes to write next, of several messages at once.
    pub fn pending(&self) -> &[u8] {
        &self.bytes[self.written..self.used]
    }

    /// `count` bytes of [`Output::pending`] have left. Returns the number of messages of which the last byte is out.
    pub fn advance(&mut self, count: usize) -> u64 {
        self.written += count;
        let (mut done, mut gone) = (0, 0);
        while let Some(first) = self.messages.front().copied()
            && self.written >= first.len
        {
            self.written -= first.len;
            gone += first.len;
            self.messages.pop_front();
            done += 1;
        }
        self.bytes.copy_within(gone..self.used, 0);
        self.used -= gone;
        done
    }

    /// Gives up everything that waits. Returns whether a message was cut in two by that.
    pub fn clear(&mut self) -> bool {
        let was_cut = self.written > 0;
        self.dropped += self.messages.len() as u64;
        self.messages.clear();
        self.used = 0;
        self.written = 0;
        was_cut
    }

    fn drop_waiting_beat(&mut self) {
        let begun = usize::from(self.written > 0);
        if let Some(at) = self.messages.iter().skip(begun).position(|waiting| waiting.is_beat) {
            self.remove(begun + at);
        }
    }

    /// Drops the oldest message that has not begun to leave.
    fn drop_oldest(&mut self) -> bool {
        let at = usize::from(self.written > 0);
        if at >= self.messages.len() {
            return false;
        }
        self.remove(at);
        true
    }

    fn remove(&mut self, at: usize) {
        let start: usize = self.messages.iter().take(at).map(|waiting| waiting.len).sum();
        let mut len = 0;
        // A ring has no removal from the middle: turn it once around and leave that one out.
        for index in 0..self.messages.len() {
            if let Some(waiting) = self.messages.pop_front() {
                if index == at {
                    len = waiting.len;
                } else {
                    let _ = self.messages.push_back(waiting);
                }
            }
        }
        self.bytes.copy_within(start + len..self.used, start);
        self.used -= len;
        self.dropped += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(output: &Output) -> String {
        String::from_utf8(output.pending().to_vec()).unwrap()
    }

    #[test]
    fn output_newer_beat_replaces_waiting_one_and_goes_last() {
        let mut output = Output::default();
        output.push(b"[beat 1]", true);
        output.push(b"[ack]", false);
        output.push(b"[beat 2]", true);
        assert_eq!(text(&output), "[ack][beat 2]");
        assert_eq!(output.dropped, 1);
    }

    #[test]
    fn output_beat_that_has_begun_is_finished() {
        let mut output = Output::default();
        output.push(b"[beat 1]", true);
        assert_eq!(output.advance(3), 0);
        output.push(b"[beat 2]", true);
        output.push(b"[beat 3]", true);
        assert_eq!(text(&output), "at 1][beat 3]");
        assert_eq!(output.advance(5), 1);
        assert_eq!(text(&output), "[beat 3]");
        assert_eq!(output.advance(8), 1);
        assert!(output.is_empty());
        assert_eq!(output.dropped, 1);
    }

    #[test]
    fn output_full_drops_oldest_that_has_not_begun() {
        let mut output = Output::default();
        let message = |n: usize| format!("[{n:>6}]");
        output.push(message(0).as_bytes(), false);
        output.advance(2);
        for n in 1..=MESSAGES_MAX {
            output.push(message(n).as_bytes(), false);
        }
        assert_eq!(output.dropped, 1);
        assert!(text(&output).starts_with(&format!("{}{}", &message(0)[2..], message(2))));
        assert!(text(&output).ends_with(&message(MESSAGES_MAX)));
    }

    #[test]
    fn output_bytes_full_drops_as_many_as_needed() {
        let mut output = Output::default();
        for _ in 0..4 {
            output.push(&[b'a'; BYTES_MAX / 4], false);
        }
        output.push(&[b'b'; BYTES_MAX / 2], false);
        assert_eq!(output.dropped, 2);
        assert_eq!(output.pending().len(), BYTES_MAX);
        output.push(&[b'c'; BYTES_MAX], false);
        assert_eq!(output.pending(), [b'c'; BYTES_MAX]);
        output.push(&[b'd'; BYTES_MAX + 1], false);
        assert_eq!(output.pending(), [b'c'; BYTES_MAX]);
        output.advance(1);
        output.push(&[b'd'; BYTES_MAX], false);
        assert_eq!(output.pending(), [b'c'; BYTES_MAX - 1], "what has begun cannot be dropped: the new one is");
    }

    #[test]
    fn output_advance_over_several_counts_each() {
        let mut output = Output::default();
        for part in ["one", "two", "three"] {
            output.push(part.as_bytes(), false);
        }
        assert_eq!(output.advance(8), 2);
        assert_eq!(text(&output), "ree");
        assert!(output.clear());
        assert!(output.is_empty());
        assert!(!output.clear());
        assert_eq!(output.dropped, 1);
    }
}
