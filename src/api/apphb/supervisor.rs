//! What is known of each application that beats, and what follows when its beats stay away (spec/api.md 7.1, 7.2).
//!
//! The caller passes time in, hands over each frame, and after it has read everything that has arrived it calls
//! [`Supervisor::expire`]: a daemon that was not scheduled itself then finds the beats that came meanwhile, and nobody has
//! failed only because it was late.

use core::time::Duration;

use heapless::Vec;

use super::message::{Registration, Reply, Request, decode};
use crate::core::time::Instant;

/// Applications at a time. One more is refused at once.
pub const CLIENTS_MAX: usize = 64;
/// Bytes of a name that are kept and logged; the rest is cut.
pub const NAME_MAX: usize = 64;
/// How long one may be silent that has not said anything about it.
const TIMEOUT: Duration = Duration::from_millis(600_000);

/// A name as it is logged: printable ASCII, others replaced by `?`.
pub type Name = heapless::String<NAME_MAX>;

/// Who is at the other end of a connection, as the kernel says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// Its process.
    pub pid: i32,
    /// Its effective user.
    pub uid: u32,
    /// Its effective group.
    pub gid: u32,
    /// It may have the board reset: the superuser or Heartbeat's own user.
    pub may_reset: bool,
}

/// Place of a connection in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot(pub usize);

/// An application, for events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Application {
    /// Name of the program; empty before it has registered.
    pub name: Name,
    /// Which of several.
    pub instance: Name,
    /// Its process.
    pub pid: i32,
    /// Its user and group, as it registered them.
    pub ids: (u32, u32),
    /// The board is to be reset when it fails.
    pub is_critical: bool,
}

/// What has happened to an application.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// It has registered.
    Registered,
    /// A beat came later than it wished to be warned of: milliseconds since the one before.
    Late(u64),
    /// No beat within its interval. Once, until it beats again.
    Failed,
    /// It beats again.
    Resumed,
    /// Its connection has ended without a word.
    HungUp,
    /// It has signed off.
    Unregistered,
}

/// What to do with the connection after a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// To be sent, if anything.
    pub reply: Option<Reply>,
    /// The reply is the last word.
    pub is_over: bool,
}

const SILENT: Outcome = Outcome { reply: None, is_over: false };

/// One connection.
#[derive(Debug)]
struct Client {
    peer: Peer,
    application: Application,
    is_registered: bool,
    /// Zero: none.
    timeout: Duration,
    /// Zero: none.
    warning: Duration,
    /// Since when `timeout` counts; `None`: it has failed, and that was told.
    beaten_at: Option<Instant>,
    /// Since when the time of the next beat is measured.
    measured_from: Instant,
}

impl Client {
    fn new(now: Instant, peer: Peer) -> Self {
        let application = Application {
            name: Name::new(),
            instance: Name::new(),
            pid: peer.pid,
            ids: (peer.uid, peer.gid),
            is_critical: false,
        };
        Self {
            peer,
            application,
            is_registered: false,
            timeout: TIMEOUT,
            warning: Duration::ZERO,
            beaten_at: Some(now),
            measured_from: now,
        }
    }

    fn deadline(&self) -> Option<Instant> {
        self.beaten_at.filter(|_| !self.timeout.is_zero()).map(|at| at + self.timeout)
    }

    fn register(&mut self, request: Option<Registration<'_>>) -> Reply {
        if self.is_registered {
            return Reply::Registered;
        }
        let Some(said) = request else { return Reply::Invalid };
        let is_true =
            said.pid > 1 && said.pid == self.peer.pid && (said.uid == self.peer.uid || said.gid == self.peer.gid);
        if !is_true {
            return Reply::Invalid;
        }
        self.is_registered = true;
        self.application.name = printable(said.application);
        self.application.instance = printable(said.instance);
        self.application.ids = (said.uid, said.gid);
        Reply::Ok
    }

    fn beat(&mut self, now: Instant, tell: &mut impl FnMut(&Application, Event)) {
        if self.beaten_at.replace(now).is_none() {
            tell(&self.application, Event::Resumed);
        }
        let since = now.since(self.measured_from);
        if !self.warning.is_zero() && since > self.warning {
            tell(&self.application, Event::Late(u64::try_from(since.as_millis()).unwrap_or(u64::MAX)));
        }
        self.measured_from = now;
    }
}

/// All of them.
#[derive(Debug, Default)]
pub struct Supervisor {
    clients: Vec<Option<Client>, CLIENTS_MAX>,
}

impl Supervisor {
    /// Nobody is there yet.
    pub const fn new() -> Self {
        Self { clients: Vec::new() }
    }

    /// Somebody has connected. `None`: the table is full, the connection is to be closed.
    pub fn connect(&mut self, now: Instant, peer: Peer) -> Option<Slot> {
        let free = self.clients.iter().position(Option::is_none);
        let index = free.or_else(|| self.clients.push(None).is_ok().then(|| self.clients.len() - 1))?;
        self.clients[index] = Some(Client::new(now, peer));
        Some(Slot(index))
    }

    /// The process behind a connection, for the log.
    pub fn pid(&self, slot: Slot) -> Option<i32> {
        self.get(slot).map(|client| client.peer.pid)
    }

    /// A frame has come. `tell` is called for everything that follows, in order.
    pub fn handle(
        &mut self,
        now: Instant,
        slot: Slot,
        body: &[u8],
        tell: &mut impl FnMut(&Application, Event),
    ) -> Outcome {
        let Some(request) = decode(body) else { return SILENT };
        if let Request::State(question) = request {
            let reply = question.map_or(Reply::Invalid, |(name, instance)| self.state(name, instance));
            return Outcome { reply: self.get(slot).map(|_| reply), is_over: false };
        }
        let Some(client) = self.clients.get_mut(slot.0).and_then(Option::as_mut) else { return SILENT };
        let reply = match request {
            Request::Heartbeat => {
                if client.is_registered {
                    client.beat(now, tell);
                }
                return SILENT;
            }
            Request::Unknown | Request::State(_) => Reply::Invalid,
            Request::Register(said) => {
                let reply = client.register(said);
                if reply == Reply::Ok {
                    tell(&client.application, Event::Registered);
                }
                reply
            }
            _ if !client.is_registered => Reply::NotRegistered,
            Request::SetInterval(Some(ms)) => {
                client.timeout = Duration::from_millis(ms);
                client.beat(now, tell);
                Reply::Ok
            }
            Request::SetWarning(Some(ms)) => {
                client.warning = Duration::from_millis(ms);
                client.measured_from = now;
                Reply::Ok
            }
            Request::SetBoot(Some(true)) if !client.peer.may_reset => Reply::NotPermitted,
            Request::SetBoot(Some(is_critical)) => {
                client.application.is_critical = is_critical;
                Reply::Ok
            }
            Request::SetInterval(None) | Request::SetWarning(None) | Request::SetBoot(None) => Reply::Invalid,
            Request::Unregister => {
                tell(&client.application, Event::Unregistered);
                self.clients[slot.0] = None;
                return Outcome { reply: Some(Reply::Ok), is_over: true };
            }
        };
        Outcome { reply: Some(reply), is_over: false }
    }

    /// The connection has ended; after `unreg` that is no event. Returns whether one was known.
    pub fn hang_up(&mut self, slot: Slot, tell: &mut impl FnMut(&Application, Event)) -> bool {
        let Some(client) = self.clients.get_mut(slot.0).and_then(Option::take) else { return false };
        if client.is_registered {
            tell(&client.application, Event::HungUp);
        }
        true
    }

    /// Finds who has failed by now. Call it when everything that has arrived is read. Returns connections to be closed,
    /// which are forgotten already: those that never registered, so that nobody fills the table by saying nothing.
    pub fn expire(&mut self, now: Instant, tell: &mut impl FnMut(&Application, Event)) -> Vec<Slot, CLIENTS_MAX> {
        let mut closed = Vec::new();
        for (index, place) in self.clients.iter_mut().enumerate() {
            let Some(client) = place.as_mut().filter(|client| client.deadline().is_some_and(|at| at <= now)) else {
                continue;
            };
            if client.is_registered {
                client.beaten_at = None;
                tell(&client.application, Event::Failed);
            } else {
                *place = None;
                let is_kept = closed.push(Slot(index)).is_ok();
                debug_assert!(is_kept, "as many slots as clients");
            }
        }
        closed
    }

    /// When [`expire`](Self::expire) has something to do next.
    pub fn deadline(&self) -> Option<Instant> {
        self.clients.iter().flatten().filter_map(Client::deadline).min()
    }

    /// Whether all applications of this name (and instance, when that is not empty) beat.
    fn state(&self, name: &[u8], instance: &[u8]) -> Reply {
        let (name, instance) = (printable(name), printable(instance));
        let is_meant = |client: &&Client| {
            let Application { name: known, instance: which, .. } = &client.application;
            client.is_registered && *known == name && (instance.is_empty() || *which == instance)
        };
        let mut meant = self.clients.iter().flatten().filter(is_meant).peekable();
        if meant.peek().is_none() {
            Reply::NotRegistered
        } else if meant.all(|client| client.beaten_at.is_some()) {
            Reply::Ok
        } else {
            Reply::Failed
        }
    }

    fn get(&self, slot: Slot) -> Option<&Client> {
        self.clients.get(slot.0).and_then(Option::as_ref)
    }
}

/// For a line of the log, where a name must not forge another one.
fn printable(name: &[u8]) -> Name {
    let shown = |byte: &u8| if byte.is_ascii_graphic() || *byte == b' ' { char::from(*byte) } else { '?' };
    name.iter().take(NAME_MAX).map(shown).collect()
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::super::message::written;
    use super::*;

    const PEER: Peer = Peer { pid: 70, uid: 5, gid: 6, may_reset: false };

    /// A supervisor with a clock and a notebook.
    #[derive(Default)]
    struct Bench {
        supervisor: Supervisor,
        seen: Vec<Event>,
    }

    impl Bench {
        fn registered(at: u64) -> (Self, Slot) {
            let mut bench = Self::default();
            let slot = bench.supervisor.connect(Instant::from_millis(at), PEER).unwrap();
            assert_eq!(bench.say(at, slot, &written::registration("app", "one", (70, 5, 6))), Some(Reply::Ok));
            assert_eq!(bench.events(), [Event::Registered]);
            (bench, slot)
        }

        fn say(&mut self, at: u64, slot: Slot, body: &[u8]) -> Option<Reply> {
            let mut note = |_: &Application, event| self.seen.push(event);
            self.supervisor.handle(Instant::from_millis(at), slot, body, &mut note).reply
        }

        fn beat(&mut self, at: u64, slot: Slot) -> Vec<Event> {
            assert_eq!(self.say(at, slot, &written::plain("hb")), None);
            self.events()
        }

        fn expire(&mut self, at: u64) -> Vec<Event> {
            let mut note = |_: &Application, event| self.seen.push(event);
            assert!(self.supervisor.expire(Instant::from_millis(at), &mut note).is_empty());
            self.events()
        }

        fn events(&mut self) -> Vec<Event> {
            std::mem::take(&mut self.seen)
        }
    }

    #[test]
    fn beats_in_time_are_silent_and_missing_ones_are_told_once() {
        let (mut bench, slot) = Bench::registered(0);
        assert_eq!(bench.say(0, slot, &written::number("setint", 500)), Some(Reply::Ok));
        assert_eq!(bench.supervisor.deadline(), Some(Instant::from_millis(500)));
        assert_eq!(bench.beat(400, slot), []);
        assert_eq!(bench.expire(899), []);
        assert_eq!(bench.expire(900), [Event::Failed]);
        assert_eq!(bench.expire(5_000), []);
        assert_eq!(bench.supervisor.deadline(), None);
        assert_eq!(bench.beat(5_000, slot), [Event::Resumed]);
        assert_eq!(bench.supervisor.deadline(), Some(Instant::from_millis(5_500)));
    }

    #[test]
    fn beat_that_was_there_in_time_counts_for_a_daemon_that_was_late() {
        let (mut bench, slot) = Bench::registered(0);
        bench.say(0, slot, &written::number("setint", 500));
        // Nothing was scheduled from 100 to 3 000; the beats of that time are read first.
        assert_eq!(bench.beat(3_000, slot), []);
        assert_eq!(bench.expire(3_000), []);
    }

    #[test]
    fn late_beats_are_told_as_the_original_does() {
        let (mut bench, slot) = Bench::registered(0);
        bench.say(0, slot, &written::number("setint", 500));
        bench.say(0, slot, &written::number("setwarn", 300));
        assert_eq!(bench.beat(300, slot), []);
        assert_eq!(bench.beat(700, slot), [Event::Late(400)]);
        assert_eq!(bench.expire(1_200), [Event::Failed]);
        assert_eq!(bench.beat(1_900, slot), [Event::Resumed, Event::Late(1_200)]);
        // It counts as a beat.
        assert_eq!(bench.say(2_300, slot, &written::number("setint", 0)), Some(Reply::Ok));
        assert_eq!(bench.events(), [Event::Late(400)]);
        assert_eq!(bench.expire(1_000_000), [], "zero is no timer");
        // It restarts the measuring, and is no beat.
        bench.say(1_000_000, slot, &written::number("setwarn", 100));
        assert_eq!(bench.beat(1_000_100, slot), []);
    }

    #[test]
    fn anybody_may_ask_who_beats() {
        let (mut bench, slot) = Bench::registered(0);
        let asking = bench.supervisor.connect(Instant::ZERO, Peer { pid: 0, ..PEER }).unwrap();
        let state = |bench: &mut Bench, name, instance| bench.say(0, asking, &written::question(name, instance));
        bench.say(0, slot, &written::number("setint", 500));
        assert_eq!(state(&mut bench, "app", ""), Some(Reply::Ok));
        assert_eq!(state(&mut bench, "app", "one"), Some(Reply::Ok));
        assert_eq!(state(&mut bench, "app", "two"), Some(Reply::NotRegistered));
        assert_eq!(state(&mut bench, "other", ""), Some(Reply::NotRegistered));
        assert_eq!(state(&mut bench, "", ""), Some(Reply::Invalid));
        assert_eq!(bench.expire(500), [Event::Failed]);
        assert_eq!(state(&mut bench, "app", ""), Some(Reply::Failed));
        assert_eq!(bench.beat(600, slot), [Event::Resumed]);
        assert_eq!(state(&mut bench, "app", "one"), Some(Reply::Ok));
        assert_eq!(Reply::Failed.number(), 62);
    }

    #[test]
    fn a_warning_does_not_wake_who_has_failed() {
        let (mut bench, slot) = Bench::registered(0);
        bench.say(0, slot, &written::number("setint", 500));
        assert_eq!(bench.expire(500), [Event::Failed]);
        assert_eq!(bench.say(600, slot, &written::number("setwarn", 100)), Some(Reply::Ok));
        assert_eq!(bench.events(), []);
        assert_eq!(bench.say(650, slot, &written::number("setint", 700)), Some(Reply::Ok));
        assert_eq!(bench.events(), [Event::Resumed]);
    }

    #[test]
    fn replies_are_those_of_the_original() {
        let mut bench = Bench::default();
        let slot = bench.supervisor.connect(Instant::ZERO, PEER).unwrap();
        let number = |name| written::number(name, 1);
        for (body, reply) in [
            (written::plain("unreg"), Some(Reply::NotRegistered)),
            (number("setint"), Some(Reply::NotRegistered)),
            (written::plain("setboot"), Some(Reply::NotRegistered)),
            (written::plain("bogus"), Some(Reply::Invalid)),
            (written::plain("hb"), None),
            (b"hb".to_vec(), None),
            (Vec::new(), None),
            (written::plain("reg"), Some(Reply::Invalid)),
            (written::registration("", "one", (70, 5, 6)), Some(Reply::Invalid)),
            (written::registration("app", "one", (1, 5, 6)), Some(Reply::Invalid)),
            (written::registration("app", "one", (71, 5, 6)), Some(Reply::Invalid)),
            (written::registration("app", "one", (-70, 5, 6)), Some(Reply::Invalid)),
            (written::registration("app", "one", (70, 7, 7)), Some(Reply::Invalid)),
            // Either of the two will do.
            (written::registration("app", "one", (70, 7, 6)), Some(Reply::Ok)),
            (written::registration("app", "one", (70, 5, 6)), Some(Reply::Registered)),
            (written::plain("reg"), Some(Reply::Registered)),
            (written::plain("setint"), Some(Reply::Invalid)),
            (written::plain("setwarn"), Some(Reply::Invalid)),
            (written::plain("setboot"), Some(Reply::Invalid)),
            (number("setboot"), Some(Reply::NotPermitted)),
            (written::number("setboot", 0), Some(Reply::Ok)),
            (written::plain("unreg"), Some(Reply::Ok)),
            // The connection is forgotten.
            (written::plain("unreg"), None),
        ] {
            assert_eq!(bench.say(0, slot, &body), reply, "{}", super::super::message::name(&body));
        }
        assert_eq!(bench.events(), [Event::Registered, Event::Unregistered]);
        let numbers = [Reply::Ok, Reply::NotPermitted, Reply::NotRegistered, Reply::Registered, Reply::Invalid];
        assert_eq!(numbers.map(Reply::number), [0, 1, 3, 17, 22]);
    }

    #[test]
    fn hangup_is_told_once_and_only_of_who_had_registered() {
        let (mut bench, slot) = Bench::registered(0);
        let mut told = Vec::new();
        let mut note = |who: &Application, event| told.push((who.name.clone(), who.is_critical, event));
        assert!(bench.supervisor.hang_up(slot, &mut note));
        assert!(!bench.supervisor.hang_up(slot, &mut note), "once");
        let silent = bench.supervisor.connect(Instant::ZERO, PEER).unwrap();
        assert!(bench.supervisor.hang_up(silent, &mut note));
        assert_eq!(told, [(Name::try_from("app").unwrap(), false, Event::HungUp)]);
    }

    #[test]
    fn who_may_reset_makes_its_failure_critical() {
        let mut supervisor = Supervisor::new();
        let slot = supervisor.connect(Instant::ZERO, Peer { may_reset: true, ..PEER }).unwrap();
        let mut told = Vec::new();
        let mut note = |who: &Application, event| told.push((who.is_critical, event));
        for body in [
            written::registration("app", "one", (70, 5, 6)),
            written::number("setboot", 1),
            written::number("setint", 100),
        ] {
            assert_eq!(supervisor.handle(Instant::ZERO, slot, &body, &mut note).reply, Some(Reply::Ok));
        }
        supervisor.expire(Instant::from_millis(100), &mut note);
        assert_eq!(told, [(false, Event::Registered), (true, Event::Failed)]);
    }

    #[test]
    fn table_is_bounded_and_silent_strangers_leave_it() {
        let mut supervisor = Supervisor::new();
        let mut note = |_: &Application, event| panic!("{event:?}");
        for index in 0..CLIENTS_MAX {
            assert_eq!(supervisor.connect(Instant::ZERO, PEER), Some(Slot(index)));
        }
        assert_eq!(supervisor.connect(Instant::ZERO, PEER), None);
        assert!(supervisor.hang_up(Slot(3), &mut note));
        assert_eq!(supervisor.connect(Instant::from_millis(1), PEER), Some(Slot(3)));
        assert_eq!(supervisor.expire(Instant::from_millis(600_000), &mut note).len(), CLIENTS_MAX - 1);
        assert_eq!(supervisor.deadline(), Some(Instant::from_millis(600_001)));
    }

    #[test]
    fn names_cannot_forge_lines() {
        let (_, slot) = Bench::registered(0);
        assert_eq!(slot, Slot(0));
        assert_eq!(printable(b"a\nb\x1b'\xff"), "a?b?'?");
        assert_eq!(printable(&[b'x'; 255]).len(), NAME_MAX);
    }

    #[test]
    fn any_bytes_from_any_client_are_survived() {
        // xorshift: the same bytes in every run.
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut random = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        let good = [
            written::registration("app", "one", (70, 5, 6)),
            written::number("setint", u64::MAX),
            written::number("setwarn", 1),
            written::plain("hb"),
            written::plain("unreg"),
        ];
        let mut supervisor = Supervisor::new();
        let mut note = |_: &Application, _| {};
        for round in 0..20_000_u64 {
            let now = Instant::from_millis(round);
            let slot = supervisor.connect(now, PEER).unwrap_or(Slot(usize::try_from(random() % 70).unwrap()));
            let mut body = good[usize::try_from(random() % 5).unwrap()].clone();
            for _ in 0..random() % 4 {
                let at = usize::try_from(random()).unwrap() % body.len();
                body[at] = random().to_le_bytes()[0];
            }
            body.truncate(usize::try_from(random()).unwrap() % (body.len() + 1));
            supervisor.handle(now, slot, &body, &mut note);
            if random().is_multiple_of(7) {
                supervisor.hang_up(slot, &mut note);
            }
            supervisor.expire(now, &mut note);
        }
    }
}
