//! Wires between the pins of two boards, and what hangs on them: a reset line, a power relay, a sense line.
//!
//! A wire has the level of the pin at its start while that pin is an output of a board that has power; else its `open`
//! level, which stands for the pull resistor at the other end. Faults put it elsewhere.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::PATIENCE;
use super::board::Board;
use super::qtest::Edge;

/// Lines of `gpiochip0` in the usual wiring; these four are outputs.
pub(crate) const OWNER: u8 = 0;
pub(crate) const ALIVE: u8 = 1;
pub(crate) const FENCE_RESET: u8 = 2;
pub(crate) const FENCE_POWER: u8 = 4;
/// These are inputs.
pub(crate) const MAINTENANCE: u8 = 3;
pub(crate) const PEER_OWNER: u8 = 5;
pub(crate) const PEER_ALIVE: u8 = 6;
pub(crate) const PEER_POWER: u8 = 7;

/// How long a pin that stops being driven, without an edge, may go unseen.
const LOOK_AGAIN: Duration = Duration::from_millis(25);

/// Where a wire begins.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Source {
    /// A board and its line.
    Pin(usize, u8),
    /// The supply of a board: high while it has power and is not held in reset.
    Supply(usize),
    /// A switch that a person turns: [`Wires::set_fault`] with `StuckHigh`; open otherwise.
    Switch,
}

/// Where it ends.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Target {
    Pin(usize, u8),
    /// The board is held in reset while the wire is high.
    Reset(usize),
    /// A relay: the board has no power while the wire is high.
    Relay(usize),
}

/// One wire.
#[derive(Debug, Clone)]
pub(crate) struct Wire {
    /// `BOARD.what`, board by index: `0.owner`.
    pub(crate) name: String,
    pub(crate) source: Source,
    pub(crate) target: Target,
    /// Its level when nothing drives it.
    pub(crate) open: bool,
}

/// What is wrong with a wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    StuckHigh,
    Open,
}

/// The usual wiring: every output of a board at its input of the other.
///
/// Names: `N.owner`, `N.alive`, `N.fence-reset`, `N.fence-power` with the board that drives, `N.peer-power` (the sense
/// line) and `N.maintenance` with the board that reads. An open `owner` is high, "the peer owns", an open sense line is
/// high, "it has power", all others are low: as `boards/qemu-virt-arm64.conf` says.
pub(crate) fn crossed() -> Vec<Wire> {
    let mut wires = Vec::new();
    for board in 0..2 {
        let peer = 1 - board;
        let mut add = |what: &str, source, target, open| {
            wires.push(Wire { name: format!("{board}.{what}"), source, target, open });
        };
        add("owner", Source::Pin(board, OWNER), Target::Pin(peer, PEER_OWNER), true);
        add("alive", Source::Pin(board, ALIVE), Target::Pin(peer, PEER_ALIVE), false);
        add("fence-reset", Source::Pin(board, FENCE_RESET), Target::Reset(peer), false);
        add("fence-power", Source::Pin(board, FENCE_POWER), Target::Relay(peer), false);
        add("peer-power", Source::Supply(peer), Target::Pin(board, PEER_POWER), true);
        add("maintenance", Source::Switch, Target::Pin(board, MAINTENANCE), false);
    }
    wires
}

/// A change of a wire's level.
#[derive(Debug, Clone)]
pub(crate) struct Change {
    pub(crate) at: Instant,
    pub(crate) wire: String,
    pub(crate) is_high: bool,
}

#[derive(Default)]
struct Seen {
    changes: Vec<Change>,
    faults: Vec<(String, Fault)>,
    is_over: bool,
}

/// All wires of a bench and the thread that is their copper.
pub(crate) struct Wires {
    names: Vec<String>,
    seen: Arc<(Mutex<Seen>, Condvar)>,
    thread: Option<JoinHandle<()>>,
}

impl Wires {
    /// Where boards report edges, and what [`Self::new`] reads.
    pub(crate) fn edges() -> (Sender<Edge>, Receiver<Edge>) {
        channel()
    }

    pub(crate) fn new(wires: Vec<Wire>, boards: Vec<Board>, edges: Receiver<Edge>) -> Self {
        let seen = Arc::<(Mutex<Seen>, Condvar)>::default();
        let names = wires.iter().map(|wire| wire.name.clone()).collect();
        let mut copper = Copper {
            levels: vec![None; wires.len()],
            driven: vec![[false; 8]; boards.len()],
            wires,
            boards,
            seen: Arc::clone(&seen),
        };
        let thread = (!copper.wires.is_empty()).then(|| std::thread::spawn(move || copper.run(&edges)));
        Self { names, seen, thread }
    }

    /// Breaks a wire, or mends it.
    #[track_caller]
    pub(crate) fn set_fault(&self, wire: &str, fault: Option<Fault>) {
        assert!(self.names.iter().any(|name| name == wire), "no wire {wire}: {:?}", self.names);
        let mut seen = self.seen.0.lock().expect("no panic");
        seen.faults.retain(|(name, _)| name != wire);
        seen.faults.extend(fault.map(|fault| (wire.to_owned(), fault)));
    }

    /// All changes so far, in their order; the first of each wire is its level at the start.
    pub(crate) fn changes(&self) -> Vec<Change> {
        self.seen.0.lock().expect("no panic").changes.clone()
    }

    /// Waits until a wire has this level, for one that keeps it; when it came to it.
    #[track_caller]
    pub(crate) fn await_level(&self, wire: &str, is_high: bool) -> Instant {
        self.wait(wire, is_high, |changes| {
            let last = changes.iter().rev().find(|change| change.wire == wire);
            last.filter(|change| change.is_high == is_high).map(|change| change.at)
        })
    }

    /// Waits until a wire has come to this level after `since`, even if it has left it again; when it came to it first.
    #[track_caller]
    pub(crate) fn await_change(&self, since: Instant, wire: &str, is_high: bool) -> Instant {
        self.wait(wire, is_high, |changes| {
            let mut young = changes.iter().filter(|change| change.at > since && change.wire == wire);
            young.find(|change| change.is_high == is_high).map(|change| change.at)
        })
    }

    #[track_caller]
    fn wait(&self, wire: &str, is_high: bool, find: impl Fn(&[Change]) -> Option<Instant>) -> Instant {
        assert!(self.names.iter().any(|name| name == wire), "no wire {wire}: {:?}", self.names);
        let start = Instant::now();
        let mut seen = self.seen.0.lock().expect("no panic");
        loop {
            if let Some(at) = find(&seen.changes) {
                return at;
            }
            let Some(left) = PATIENCE.checked_sub(start.elapsed()) else {
                drop(seen);
                panic!("not within {PATIENCE:?}: {wire} {}", if is_high { "high" } else { "low" });
            };
            seen = self.seen.1.wait_timeout(seen, left).expect("no panic").0;
        }
    }
}

impl Drop for Wires {
    fn drop(&mut self) {
        if let Ok(mut seen) = self.seen.0.lock() {
            seen.is_over = true;
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What the thread knows.
struct Copper {
    wires: Vec<Wire>,
    boards: Vec<Board>,
    /// Of each wire, once it is known.
    levels: Vec<Option<bool>>,
    /// The last edge of each line.
    driven: Vec<[bool; 8]>,
    seen: Arc<(Mutex<Seen>, Condvar)>,
}

impl Copper {
    fn run(&mut self, edges: &Receiver<Edge>) {
        loop {
            let is_tick = match edges.recv_timeout(LOOK_AGAIN) {
                Ok(edge) => {
                    self.driven[edge.board][usize::from(edge.line)] = edge.is_high;
                    false
                }
                Err(RecvTimeoutError::Timeout) => true,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            if self.seen.0.lock().expect("no panic").is_over {
                return;
            }
            self.settle(is_tick);
        }
    }

    /// Puts every wire to its level. With `is_tick` inputs are driven anew: a reset of their board forgets them.
    fn settle(&mut self, is_tick: bool) {
        let outputs: Vec<Option<u8>> = self.boards.iter().map(Board::outputs).collect();
        for (board, outputs) in outputs.iter().enumerate() {
            if outputs.is_none() {
                self.driven[board] = [false; 8];
            }
        }
        for index in 0..self.wires.len() {
            let is_high = self.level(&self.wires[index], &outputs);
            let before = self.levels[index];
            let is_new = before != Some(is_high);
            if is_new {
                self.levels[index] = Some(is_high);
                let change = Change { at: Instant::now(), wire: self.wires[index].name.clone(), is_high };
                self.seen.0.lock().expect("no panic").changes.push(change);
                self.seen.1.notify_all();
            }
            match self.wires[index].target {
                Target::Pin(board, line) if is_new || is_tick => self.boards[board].drive(line, is_high),
                Target::Reset(board) if is_new => self.boards[board].hold_in_reset(is_high),
                Target::Relay(board) if is_new && is_high => self.boards[board].power_cut(),
                // Whoever made the bench switches it on for the first time.
                Target::Relay(board) if before == Some(true) && !is_high => self.boards[board].power_on(),
                Target::Pin(..) | Target::Reset(_) | Target::Relay(_) => {}
            }
        }
    }

    fn level(&self, wire: &Wire, outputs: &[Option<u8>]) -> bool {
        let seen = self.seen.0.lock().expect("no panic");
        let fault = seen.faults.iter().find(|(name, _)| *name == wire.name).map(|(_, fault)| *fault);
        drop(seen);
        match (fault, wire.source) {
            (Some(Fault::StuckHigh), _) => true,
            (Some(Fault::Open), _) | (None, Source::Switch) => wire.open,
            (None, Source::Supply(board)) => self.boards[board].is_powered(),
            (None, Source::Pin(board, line)) => {
                let is_driven = outputs[board].is_some_and(|mask| mask & (1 << line) != 0);
                if is_driven { self.driven[board][usize::from(line)] } else { wire.open }
            }
        }
    }
}
