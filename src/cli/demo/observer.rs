//! The outside observer: hears from the service itself where it runs, and takes the time.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::Instant;

use nix::libc;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use super::board::Side;

/// Longest line that a script sends.
const LINE_MAX: usize = 64;

/// What can happen to a board as seen from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// The service runs there.
    Started,
    /// It was stopped there.
    Stopped,
    /// The board lost its power while the service ran there.
    Lost,
    /// The node wanted its board reset.
    Reset,
}

/// One change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Event {
    /// When it was heard of.
    pub(super) at: Instant,
    /// Where.
    pub(super) side: Side,
    /// What.
    pub(super) change: Change,
}

/// Listens to a FIFO. What scripts say arrives in the order in which they said it.
#[derive(Debug)]
pub(super) struct Observer {
    fifo: File,
    partial: Vec<u8>,
    owns: [bool; 2],
    events: Vec<Event>,
}

impl Observer {
    /// Makes the FIFO.
    ///
    /// # Errors
    /// What mkfifo(3) says.
    pub(super) fn new(path: &Path) -> io::Result<Self> {
        mkfifo(path, Mode::S_IRUSR | Mode::S_IWUSR)?;
        // Open for writing as well, so that it never ends.
        let fifo = OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK).open(path)?;
        Ok(Self { fifo, partial: Vec::new(), owns: [false; 2], events: Vec::new() })
    }

    /// To wait for.
    pub(super) fn descriptor(&self) -> BorrowedFd<'_> {
        self.fifo.as_fd()
    }

    /// Takes in what was said; `Err` with a line that makes no sense.
    pub(super) fn listen(&mut self, now: Instant) -> Result<(), String> {
        let mut chunk = [0; 512];
        while let Ok(count @ 1..) = self.fifo.read(&mut chunk) {
            self.partial.extend_from_slice(&chunk[..count]);
            while let Some(end) = self.partial.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.partial.drain(..=end).collect();
                self.hear(now, &String::from_utf8_lossy(&line[..end]))?;
            }
            if self.partial.len() > LINE_MAX {
                return Err(String::from_utf8_lossy(&self.partial).into_owned());
            }
        }
        Ok(())
    }

    fn hear(&mut self, now: Instant, line: &str) -> Result<(), String> {
        let mut words = line.split(' ');
        let side = Side::BOTH.into_iter().find(|side| words.clone().next() == Some(side.name()));
        let change = match words.nth(1) {
            Some("started") => Some(Change::Started),
            Some("stopped") => Some(Change::Stopped),
            Some("reset") => Some(Change::Reset),
            _ => None,
        };
        let (Some(side), Some(change), None) = (side, change, words.next()) else { return Err(line.to_owned()) };
        self.note(Event { at: now, side, change });
        Ok(())
    }

    /// A board lost its power: nothing runs there any more.
    pub(super) fn lost_power(&mut self, at: Instant, side: Side) {
        if self.owns(side) {
            self.note(Event { at, side, change: Change::Lost });
        }
    }

    fn note(&mut self, event: Event) {
        match event.change {
            Change::Started => self.owns[event.side.index()] = true,
            Change::Stopped | Change::Lost => self.owns[event.side.index()] = false,
            Change::Reset => {}
        }
        self.events.push(event);
    }

    /// Whether the service runs on this board.
    pub(super) const fn owns(&self, side: Side) -> bool {
        self.owns[side.index()]
    }

    /// The boards on which it runs.
    pub(super) fn owners(&self) -> Vec<Side> {
        Side::BOTH.into_iter().filter(|side| self.owns(*side)).collect()
    }

    /// All changes so far.
    pub(super) fn events(&self) -> &[Event] {
        &self.events
    }

    /// When this last happened.
    pub(super) fn last(&self, side: Side, change: Change) -> Option<Instant> {
        self.events.iter().rev().find(|event| event.side == side && event.change == change).map(|event| event.at)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::super::stage::Stage;
    use super::*;

    fn observer() -> (Stage, Observer, File) {
        let stage = Stage::new().unwrap();
        let observer = Observer::new(&stage.observer()).unwrap();
        let script = OpenOptions::new().read(true).write(true).open(stage.observer()).unwrap();
        (stage, observer, script)
    }

    #[test]
    fn observer_follows_the_service_and_keeps_the_order() {
        let (_stage, mut observer, mut script) = observer();
        let now = Instant::now();
        script.write_all(b"alpha started\nalpha stopped\nbeta sta").unwrap();
        observer.listen(now).unwrap();
        assert_eq!(observer.owners(), []);
        script.write_all(b"rted\nalpha started\n").unwrap();
        observer.listen(now).unwrap();
        assert_eq!(observer.owners(), Side::BOTH);
        observer.lost_power(now, Side::Beta);
        observer.lost_power(now, Side::Beta);
        assert_eq!(observer.owners(), [Side::Alpha]);
        let changes: Vec<Change> = observer.events().iter().map(|event| event.change).collect();
        use Change::{Lost, Started, Stopped};
        assert_eq!(changes, [Started, Stopped, Started, Started, Lost]);
        assert_eq!(observer.last(Side::Beta, Lost), Some(now));
        assert_eq!(observer.last(Side::Beta, Stopped), None);
    }

    #[test]
    fn observer_refuses_what_makes_no_sense() {
        for line in ["gamma started\n", "alpha\n", "alpha jumped\n", "alpha started twice\n", "\n", &"x".repeat(100)] {
            let (_stage, mut observer, mut script) = observer();
            script.write_all(line.as_bytes()).unwrap();
            assert!(observer.listen(Instant::now()).is_err(), "{line:?}");
        }
    }
}
