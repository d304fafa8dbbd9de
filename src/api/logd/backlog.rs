//! Lines that wait for the process which writes to the disk: a queue with an end for each client, so that neither a slow
//! disk nor a client that floods keeps anybody waiting. What does not fit is dropped, counted, and said in the client's
//! own place in the order.

use std::collections::VecDeque;

use super::message::{ENCODED_MAX, Message};

/// Clients at a time. One more is refused at once.
pub const CLIENTS_MAX: usize = 64;
/// Bytes of one client's lines that may wait, whatever their number is.
const BYTES_MAX: usize = 64 * 1024;

/// Place of a client in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot(pub usize);

/// One client's lines.
#[derive(Debug, Default)]
struct Queue {
    /// Each with its number in the order of arrival.
    lines: VecDeque<(u64, Box<[u8]>)>,
    bytes: usize,
    /// Dropped and not said yet.
    dropped: u64,
    /// Who that was, as in its last line: tag and process.
    who: (Vec<u8>, i32),
    is_connected: bool,
}

impl Queue {
    /// A free place, whose last client's lines are all out.
    fn is_free(&self) -> bool {
        !self.is_connected && self.lines.is_empty() && self.dropped == 0
    }

    fn push(&mut self, number: &mut u64, body: &[u8]) {
        self.bytes += body.len();
        self.lines.push_back((*number, body.into()));
        *number += 1;
    }
}

/// The lines of all clients.
#[derive(Debug)]
pub struct Backlog {
    queues: Vec<Queue>,
    /// Lines of one client that may wait.
    limit: usize,
    /// The number of the next line.
    number: u64,
    /// Whose line is the next one to be written.
    turn: usize,
    /// Tag and process for what is said here.
    own: (Vec<u8>, i32),
}

impl Backlog {
    /// Up to `limit` lines of each client wait (at least one). What is said of dropped ones has this tag and process.
    pub fn new(limit: usize, entity: &[u8], pid: i32) -> Self {
        Self { queues: Vec::new(), limit: limit.max(1), number: 0, turn: 0, own: (entity.to_vec(), pid) }
    }

    /// A client has connected. `None`: the table is full.
    pub fn connect(&mut self) -> Option<Slot> {
        let free = self.queues.iter().position(Queue::is_free);
        let index = free.or_else(|| {
            let has_room = self.queues.len() < CLIENTS_MAX;
            has_room.then(|| self.queues.push(Queue::default()))?;
            Some(self.queues.len() - 1)
        })?;
        self.queues[index].is_connected = true;
        Some(Slot(index))
    }

    /// Its connection has ended; its lines stay until they are out.
    pub fn disconnect(&mut self, slot: Slot) {
        if let Some(queue) = self.queues.get_mut(slot.0) {
            queue.is_connected = false;
        }
    }

    /// A line of a client, to be written in order, or to be dropped and counted when too many wait.
    pub fn put(&mut self, slot: Slot, message: &Message<'_>) {
        let (limit, seconds) = (self.limit, message.seconds);
        let Some(queue) = self.queues.get_mut(slot.0) else { return };
        let mut room = [0; ENCODED_MAX];
        let body = message.encode(&mut room);
        let is_full = queue.lines.len() >= limit || queue.bytes + body.len() > BYTES_MAX;
        if is_full {
            queue.dropped += 1;
            queue.who = (message.entity.to_vec(), message.pid);
            return;
        }
        let own = (&self.own.0[..], self.own.1);
        report(queue, &mut self.number, own, seconds);
        queue.push(&mut self.number, body);
    }

    /// A line of the daemon itself, in the place of a client that is always there: the first one.
    pub fn say(&mut self, slot: Slot, seconds: u64, priority: u8, text: &str) {
        let (entity, pid) = self.own.clone();
        let text = text.as_bytes();
        self.put(slot, &Message { priority, is_worded: true, pid, entity: &entity, seconds, text });
    }

    /// The line that is to be written next: the one that came first of all. It stays until [`written`](Self::written).
    pub fn next(&mut self, seconds: u64) -> Option<&[u8]> {
        let own = (&self.own.0[..], self.own.1);
        for queue in self.queues.iter_mut().filter(|queue| queue.lines.is_empty()) {
            // Nobody may ever come again behind whose line it could be said.
            report(queue, &mut self.number, own, seconds);
        }
        let fronts = self.queues.iter().enumerate();
        let fronts =
            fronts.filter_map(|(index, queue)| queue.lines.front().map(|(number, body)| (*number, index, body)));
        let (_, index, body) = fronts.min_by_key(|(number, ..)| *number)?;
        self.turn = index;
        Some(body)
    }

    /// What [`next`](Self::next) gave is on its way.
    pub fn written(&mut self) {
        let Some(queue) = self.queues.get_mut(self.turn) else { return };
        if let Some((_, body)) = queue.lines.pop_front() {
            queue.bytes -= body.len();
        }
    }

    /// Whether anything is still to be written.
    pub fn is_empty(&self) -> bool {
        self.queues.iter().all(|queue| queue.lines.is_empty() && queue.dropped == 0)
    }
}

/// Says how many lines of a client were dropped, if any.
fn report(queue: &mut Queue, number: &mut u64, own: (&[u8], i32), seconds: u64) {
    if queue.dropped == 0 {
        return;
    }
    let (entity, pid) = (String::from_utf8_lossy(&queue.who.0), queue.who.1);
    let count = queue.dropped;
    let text = format!("{count} messages of {entity}[{pid}] were dropped: they came faster than they could be written");
    queue.dropped = 0;
    let (entity, pid) = own;
    let mut room = [0; ENCODED_MAX];
    let message = Message { priority: 3, is_worded: true, pid, entity, seconds, text: text.as_bytes() };
    queue.push(number, message.encode(&mut room));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line<'a>(entity: &'a str, text: &'a str) -> Message<'a> {
        let (entity, text) = (entity.as_bytes(), text.as_bytes());
        Message { priority: 6, is_worded: false, pid: 7, entity, seconds: 1, text }
    }

    fn drain(backlog: &mut Backlog) -> Vec<String> {
        let mut texts = Vec::new();
        while let Some(body) = backlog.next(9) {
            let message = Message::decode(body).unwrap();
            texts.push(String::from_utf8(message.text.to_vec()).unwrap());
            backlog.written();
        }
        assert!(backlog.is_empty());
        texts
    }

    #[test]
    fn lines_of_all_clients_keep_the_order_of_their_arrival() {
        let mut backlog = Backlog::new(10, b"logd", 1);
        let (first, second) = (backlog.connect().unwrap(), backlog.connect().unwrap());
        for (slot, text) in [(second, "b1"), (first, "a1"), (first, "a2"), (second, "b2"), (first, "a3")] {
            backlog.put(slot, &line("e", text));
        }
        let before = backlog.next(0).map(<[u8]>::to_vec);
        assert_eq!(backlog.next(0), before.as_deref(), "until it is written");
        assert_eq!(drain(&mut backlog), ["b1", "a1", "a2", "b2", "a3"]);
        assert_eq!(backlog.next(0), None);
    }

    #[test]
    fn what_does_not_fit_is_dropped_and_said_in_its_place() {
        let mut backlog = Backlog::new(2, b"logd", 1);
        let (flood, quiet) = (backlog.connect().unwrap(), backlog.connect().unwrap());
        for number in 0..7 {
            backlog.put(flood, &line("flood", &number.to_string()));
        }
        backlog.put(quiet, &line("quiet", "still here"));
        assert!(backlog.next(0).is_some());
        backlog.written();
        backlog.put(flood, &line("flood", "again"));
        let dropped = "5 messages of flood[7] were dropped: they came faster than they could be written";
        assert_eq!(drain(&mut backlog), ["1", "still here", dropped, "again"]);
    }

    #[test]
    fn drops_are_said_although_the_client_has_gone() {
        let mut backlog = Backlog::new(1, b"logd", 1);
        let slot = backlog.connect().unwrap();
        backlog.put(slot, &line("gone", "one"));
        backlog.put(slot, &line("gone", "two"));
        backlog.disconnect(slot);
        assert_ne!(backlog.connect(), Some(slot), "its place is taken until it is said");
        let dropped = "1 messages of gone[7] were dropped: they came faster than they could be written";
        assert_eq!(drain(&mut backlog), ["one", dropped]);
        assert_eq!(backlog.connect(), Some(slot));
    }

    #[test]
    fn everything_has_an_end() {
        let mut backlog = Backlog::new(usize::MAX, b"logd", 1);
        let slots: Vec<_> = std::iter::from_fn(|| backlog.connect()).take(1000).collect();
        assert_eq!(slots.len(), CLIENTS_MAX);
        let long = "x".repeat(2000);
        for _ in 0..1000 {
            backlog.put(slots[3], &line("e", &long));
        }
        assert!(backlog.queues[3].bytes <= BYTES_MAX);
        let texts = drain(&mut backlog);
        assert!(texts.last().unwrap().contains("messages of e[7] were dropped"), "{:?}", texts.last());
        let kept = texts.len() - 1;
        assert!(texts.last().unwrap().starts_with(&format!("{} ", 1000 - kept)));
        assert_eq!(backlog.queues[3].bytes, 0);
        backlog.put(Slot(99), &line("e", "nobody"));
        backlog.disconnect(Slot(99));
    }
}
