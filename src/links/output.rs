//! What waits to go out on a slow line: whole messages in a buffer of fixed size.
//!
//! ```text
//!   line <- driver's queue <- [begun] [short beat] [call] [beat] [requests] [daemons' messages ...] [clients' messages ...]
//! ```
//!
//! When the line is slow or the cable is out, news beats completeness: a beat goes before all that has not begun to leave,
//! in the place of an older one; what clients say goes last, and only so much of it waits. What finds no room is dropped
//! and counted: its sequence number comes again over retransmission, while a stale "I am alive" is worth nothing. Of requests
//! for retransmission few wait: the missing numbers come again in the next one, and a queue of old ones would ask, seconds
//! later, for what has long come.
//!
//! The terminal driver has a queue of its own, some seconds long at 9600 baud. Nothing new is put into it before it is nearly
//! empty, neither a beat: so no beat ever waits for more than one other message, and one that has waited so long that the
//! next one is there never leaves.

use super::Cargo;

/// Bytes that can wait. At 9600 baud this is more than fifteen seconds.
pub const BYTES_MAX: usize = 16 * 1024;
/// Messages that can wait.
pub const MESSAGES_MAX: usize = 64;
/// Bytes of clients' messages that can wait; one alone may always.
pub const CLIENT_BYTES_MAX: usize = BYTES_MAX / 2;
/// Requests for retransmission that can wait; one names a run of numbers.
pub const REQUESTS_MAX: usize = 2;

#[derive(Debug, Clone, Copy)]
struct Waiting {
    len: usize,
    /// `None`: the line end that goes before everything else.
    cargo: Option<Cargo>,
}

impl Waiting {
    fn is(&self, cargo: Cargo) -> bool {
        self.cargo == Some(cargo)
    }
}

/// The buffer of one line. Allocates once, when made.
#[derive(Debug)]
pub struct Output {
    /// The waiting messages, one behind the other, the next one first.
    bytes: Box<[u8; BYTES_MAX]>,
    messages: heapless::Vec<Waiting, MESSAGES_MAX>,
    used: usize,
    /// How much of the first message has left.
    written: usize,
    /// Messages that will never leave.
    pub dropped: u64,
}

impl Default for Output {
    fn default() -> Self {
        Self { bytes: Box::new([0; BYTES_MAX]), messages: heapless::Vec::new(), used: 0, written: 0, dropped: 0 }
    }
}

impl Output {
    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// Bytes that wait.
    pub const fn waiting(&self) -> usize {
        self.used - self.written
    }

    /// Ends whatever line the other side is in the middle of, before anything else is said. For a buffer that is empty.
    pub fn end_line(&mut self) {
        self.insert(0, b"\n", None);
    }

    /// How many messages of clients wait.
    pub fn of_clients(&self) -> usize {
        self.messages.iter().filter(|waiting| waiting.is(Cargo::Client)).count()
    }

    /// Puts one whole message to its place.
    pub fn push(&mut self, message: &[u8], cargo: Cargo) {
        if message.len() > BYTES_MAX || (cargo == Cargo::Client && !self.takes_of_client(message)) {
            self.dropped += 1;
            return;
        }
        let may_wait = match cargo {
            Cargo::ShortBeat | Cargo::Call | Cargo::Beat => 1,
            Cargo::Request => REQUESTS_MAX,
            Cargo::Daemon | Cargo::Client => MESSAGES_MAX,
        };
        if self.count(cargo) >= may_wait
            && let Some(at) = self.find(cargo)
        {
            self.drop_message(at);
        }
        while self.used + message.len() > BYTES_MAX || self.messages.is_full() {
            let Some(at) = self.victim(cargo) else {
                self.dropped += 1;
                return;
            };
            self.drop_message(at);
        }
        let is_behind = |at: &usize| self.messages[*at].cargo > Some(cargo);
        let at = (self.begun()..self.messages.len()).find(is_behind).unwrap_or(self.messages.len());
        self.insert(at, message, Some(cargo));
    }

    /// The bytes to write next; none: wait until the driver's queue is nearly empty.
    pub fn pending(&self, is_driver_free: bool) -> &[u8] {
        let Some(first) = self.messages.first() else { return &[] };
        if self.begun() > 0 || is_driver_free { &self.bytes[self.written..first.len] } else { &[] }
    }

    /// Whether a frame of the compact format is next: its delimiter stands in front, which no text has.
    pub fn is_frame_next(&self) -> bool {
        self.messages.first().is_some_and(|first| first.cargo.is_some() && self.bytes[..first.len].first() == Some(&0))
    }

    /// `count` bytes of [`Output::pending`] have left. Returns the number of messages of which the last byte is out.
    pub fn advance(&mut self, count: usize) -> u64 {
        self.written += count;
        let mut done = 0;
        while let Some(first) = self.messages.first().copied()
            && self.written >= first.len
        {
            self.written -= first.len;
            self.remove(0);
            done += 1;
        }
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

    /// How many messages there are that nothing can go before.
    fn begun(&self) -> usize {
        usize::from(self.written > 0 || self.messages.first().is_some_and(|first| first.cargo.is_none()))
    }

    /// The first message of its kind that has not begun to leave.
    fn find(&self, cargo: Cargo) -> Option<usize> {
        (self.begun()..self.messages.len()).find(|at| self.messages[*at].is(cargo))
    }

    /// How many of its kind have not begun to leave.
    fn count(&self, cargo: Cargo) -> usize {
        self.messages.iter().skip(self.begun()).filter(|waiting| waiting.is(cargo)).count()
    }

    /// Whether there is room in the clients' part; a copy of what waits already, asked for once more, needs none.
    fn takes_of_client(&self, message: &[u8]) -> bool {
        let (mut start, mut used) = (0, 0);
        for waiting in self.messages.iter().filter(|waiting| waiting.is(Cargo::Client)) {
            used += waiting.len;
        }
        for waiting in &self.messages {
            if waiting.is(Cargo::Client) && self.bytes[start..start + waiting.len] == *message {
                return false;
            }
            start += waiting.len;
        }
        used == 0 || used + message.len() <= CLIENT_BYTES_MAX
    }

    /// Which one goes when there is no room: the clients' newest, as the older ones have waited longer for their turn; then
    /// the daemons' oldest. None makes room for a client.
    fn victim(&self, cargo: Cargo) -> Option<usize> {
        if cargo == Cargo::Client {
            return None;
        }
        let newest = (self.begun()..self.messages.len()).rfind(|at| self.messages[*at].is(Cargo::Client));
        newest.or_else(|| self.find(Cargo::Daemon))
    }

    fn drop_message(&mut self, at: usize) {
        self.remove(at);
        self.dropped += 1;
    }

    fn insert(&mut self, at: usize, message: &[u8], cargo: Option<Cargo>) {
        if self.messages.insert(at, Waiting { len: message.len(), cargo }).is_err() {
            return;
        }
        let start = self.start(at);
        self.bytes.copy_within(start..self.used, start + message.len());
        self.bytes[start..start + message.len()].copy_from_slice(message);
        self.used += message.len();
    }

    fn remove(&mut self, at: usize) {
        let start = self.start(at);
        let len = self.messages.remove(at).len;
        self.bytes.copy_within(start + len..self.used, start);
        self.used -= len;
    }

    /// Where a message begins.
    fn start(&self, at: usize) -> usize {
        self.messages.iter().take(at).map(|waiting| waiting.len).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(output: &Output) -> String {
        String::from_utf8(output.bytes[output.written..output.used].to_vec()).unwrap()
    }

    #[test]
    fn output_newer_beat_replaces_waiting_one_and_goes_first() {
        let mut output = Output::default();
        output.push(b"[beat 1]", Cargo::Beat);
        output.push(b"[ack]", Cargo::Daemon);
        output.push(b"[beat 2]", Cargo::Beat);
        assert_eq!(text(&output), "[beat 2][ack]");
        assert_eq!(output.dropped, 1);
    }

    #[test]
    fn output_beat_that_has_begun_is_finished() {
        let mut output = Output::default();
        output.push(b"[beat 1]", Cargo::Beat);
        assert_eq!(output.advance(3), 0);
        output.push(b"[beat 2]", Cargo::Beat);
        output.push(b"[beat 3]", Cargo::Beat);
        assert_eq!(text(&output), "at 1][beat 3]");
        assert_eq!(output.advance(5), 1);
        assert_eq!(text(&output), "[beat 3]");
        assert_eq!(output.advance(8), 1);
        assert!(output.is_empty());
        assert_eq!(output.dropped, 1);
    }

    #[test]
    fn output_goes_by_kind_and_then_by_age() {
        let mut output = Output::default();
        output.end_line();
        output.push(b"[client 1]", Cargo::Client);
        output.push(b"[ack 1]", Cargo::Daemon);
        output.push(b"[client 2]", Cargo::Client);
        output.push(b"[ack 2]", Cargo::Daemon);
        output.push(b"[beat]", Cargo::Beat);
        output.push(b"[client 1]", Cargo::Client);
        assert_eq!(text(&output), "\n[beat][ack 1][ack 2][client 1][client 2]");
        assert_eq!(output.dropped, 1, "it waits already");
        // One at a time, and not before the driver's queue is short; the end of the line at once.
        assert_eq!(output.pending(false), b"\n");
        output.advance(1);
        assert_eq!(output.pending(false), b"", "a beat that would be stale waits, too");
        assert_eq!(output.pending(true), b"[beat]");
        output.advance(6);
        assert_eq!(output.pending(false), b"");
        assert_eq!(output.pending(true), b"[ack 1]");
        output.advance(2);
        assert_eq!(output.pending(false), b"ck 1]", "what has begun is finished");
    }

    #[test]
    fn output_short_beat_goes_before_a_call_and_that_before_a_long_beat() {
        let mut output = Output::default();
        for (message, cargo) in [
            (&b"[long 1]"[..], Cargo::Beat),
            (b"[ack]", Cargo::Daemon),
            (b"[call 1]", Cargo::Call),
            (b"[short 1]", Cargo::ShortBeat),
            (b"[short 2]", Cargo::ShortBeat),
            (b"[call 2]", Cargo::Call),
            (b"[long 2]", Cargo::Beat),
        ] {
            output.push(message, cargo);
        }
        assert_eq!(text(&output), "[short 2][call 2][long 2][ack]");
        assert_eq!(output.dropped, 3);
    }

    #[test]
    fn output_keeps_the_newest_requests_behind_the_beats() {
        let mut output = Output::default();
        output.push(b"[ack]", Cargo::Daemon);
        for request in [&b"[ask 1]"[..], b"[ask 2]", b"[ask 3]"] {
            output.push(request, Cargo::Request);
        }
        output.push(b"[beat]", Cargo::ShortBeat);
        assert_eq!(text(&output), "[beat][ask 2][ask 3][ack]");
        assert_eq!(output.dropped, 1);
    }

    #[test]
    fn output_full_drops_oldest_that_has_not_begun() {
        let mut output = Output::default();
        let message = |n: usize| format!("[{n:>6}]");
        output.push(message(0).as_bytes(), Cargo::Daemon);
        output.advance(2);
        for n in 1..=MESSAGES_MAX {
            output.push(message(n).as_bytes(), Cargo::Daemon);
        }
        assert_eq!(output.dropped, 1);
        assert!(text(&output).starts_with(&format!("{}{}", &message(0)[2..], message(2))));
        assert!(text(&output).ends_with(&message(MESSAGES_MAX)));
    }

    #[test]
    fn output_bytes_full_drops_as_many_as_needed() {
        let mut output = Output::default();
        for _ in 0..4 {
            output.push(&[b'a'; BYTES_MAX / 4], Cargo::Daemon);
        }
        output.push(&[b'b'; BYTES_MAX / 2], Cargo::Daemon);
        assert_eq!(output.dropped, 2);
        assert_eq!(output.waiting(), BYTES_MAX);
        output.push(&[b'c'; BYTES_MAX], Cargo::Daemon);
        assert_eq!(output.pending(true), [b'c'; BYTES_MAX]);
        output.push(&[b'd'; BYTES_MAX + 1], Cargo::Daemon);
        assert_eq!(output.pending(true), [b'c'; BYTES_MAX]);
        output.advance(1);
        output.push(&[b'd'; BYTES_MAX], Cargo::Daemon);
        assert_eq!(output.pending(true), [b'c'; BYTES_MAX - 1], "what has begun cannot be dropped: the new one is");
    }

    #[test]
    fn output_keeps_a_part_of_its_room_from_clients() {
        let mut output = Output::default();
        output.push(&[b'a'; CLIENT_BYTES_MAX + 1], Cargo::Client);
        assert_eq!(output.waiting(), CLIENT_BYTES_MAX + 1, "one alone may always");
        output.push(b"[client]", Cargo::Client);
        assert_eq!((output.waiting(), output.dropped), (CLIENT_BYTES_MAX + 1, 1));
        output.push(&[b'b'; BYTES_MAX - CLIENT_BYTES_MAX], Cargo::Daemon);
        assert_eq!((output.waiting(), output.dropped), (BYTES_MAX - CLIENT_BYTES_MAX, 2), "it makes room for daemons");
        output.push(&[b'c'; CLIENT_BYTES_MAX], Cargo::Client);
        output.push(b"[beat]", Cargo::Beat);
        assert!(text(&output).starts_with("[beat]b"));
        assert_eq!(output.dropped, 3);
    }

    #[test]
    fn output_advance_over_several_counts_each() {
        let mut output = Output::default();
        for part in ["one", "two", "three"] {
            output.push(part.as_bytes(), Cargo::Daemon);
        }
        assert_eq!(output.advance(8), 2);
        assert_eq!(text(&output), "ree");
        assert!(output.clear());
        assert!(output.is_empty());
        assert!(!output.clear());
        assert_eq!(output.dropped, 1);
    }

    /// A line of 9600 baud behind a driver's queue of 4 KiB, millisecond by millisecond.
    #[test]
    fn flood_of_clients_delays_no_beat_by_more_than_one_message() {
        const DRIVER_MAX: usize = 4096;
        const KEEPALIVE: usize = 500;
        const MESSAGE: usize = 1000;
        const BEAT: usize = 250;
        const DRIVER_FREE: usize = 32;
        // 960 bytes a second: what is in the driver's queue, one message that has begun, and the beat itself.
        let slowest = (DRIVER_FREE + MESSAGE + BEAT) * 1000 / 960 + KEEPALIVE / 2;
        let mut output = Output::default();
        let mut driver: std::collections::VecDeque<u8> = std::collections::VecDeque::new();
        let (mut sent, mut credit, mut said, mut arrived) = (0, 0, 0_usize, Vec::new());
        for ms in 0..120_000 {
            if ms % KEEPALIVE == 0 {
                output.push(&[b'b'; BEAT], Cargo::Beat);
                output.push(&[b'a'; 40], Cargo::Daemon);
            }
            if ms % 20 == 0 {
                said += 1;
                output.push(format!("{said:>width$}", width = MESSAGE).as_bytes(), Cargo::Client);
            }
            loop {
                let bytes = output.pending(driver.len() <= DRIVER_FREE);
                let count = bytes.len().min(DRIVER_MAX - driver.len());
                driver.extend(&bytes[..count]);
                if count == 0 {
                    break;
                }
                sent += output.advance(count);
            }
            credit += 960;
            while credit >= 1000 {
                credit -= 1000;
                if driver.pop_front() == Some(b'b') {
                    arrived.push(ms);
                }
            }
        }
        let ends: Vec<usize> = arrived.chunks(BEAT).filter_map(|beat| beat.last().copied()).collect();
        let longest = ends.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap();
        assert!(longest <= slowest + KEEPALIVE, "{longest} ms between two beats");
        assert!(ends.len() > 60, "{} beats in two minutes", ends.len());
        assert!(sent > 100, "clients are heard, too");
    }
}
