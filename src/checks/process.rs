//! The checker's process: waits for answers and for what the guardian says, and ends when that is gone.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Instant;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use super::ask::{Answer, Asking, ping_socket};
use super::record::{ToChecker, ToGuardian, Trouble};
use super::schedule::Timetable;
use super::spec::Spec;
use crate::cli::exit;
use crate::config::Question;
use crate::core::Health;
use crate::guardian::channel::Channel;
use crate::guardian::script::Script;
use crate::links::ping::PingSocket;

/// What a list of processes shows.
const PROCESS_NAME: &std::ffi::CStr = c"nullbeat:check";

/// One check, and the question that is open.
#[derive(Debug)]
struct Row {
    spec: Spec,
    table: Timetable,
    epoch: u32,
    asking: Option<Asking>,
    ping: Option<PingSocket>,
}

impl Row {
    fn new(spec: Spec) -> Self {
        let ping = match spec.question {
            Question::Ping(host) => Some(ping_socket(host)),
            _ => None,
        };
        Self { table: Timetable::new(spec.pace), epoch: 0, asking: None, ping, spec }
    }

    /// Whose readiness to wait for.
    fn interest(&self) -> Option<(BorrowedFd<'_>, PollFlags)> {
        match self.asking.as_ref()? {
            Asking::Echo { .. } => Some((self.ping.as_ref()?.descriptor()?, PollFlags::POLLIN)),
            other => other.interest(),
        }
    }

    fn next_deadline(&self) -> Option<Instant> {
        match &self.asking {
            Some(asking) if !asking.ends_by_clock() => asking.next_deadline(),
            _ => self.table.next_deadline(),
        }
    }

    /// Begins, goes on, ends. What the check has come to, if that is new.
    fn turn(&mut self, now: Instant) -> Option<(Health, Trouble)> {
        if self.table.begin(now) {
            match Asking::begin(now, &self.spec, self.ping.as_mut()) {
                Ok(asking) => self.asking = Some(asking),
                Err(Some(trouble)) => return self.answered(now, Err(trouble)),
                Err(None) => {
                    // This very process lacks something: that says nothing about what it looks at.
                    self.table.give_back(now);
                    return None;
                }
            }
        }
        let asking = self.asking.as_mut()?;
        let answer = match asking.go_on(now, self.ping.as_mut()) {
            Some(answer) => answer,
            None if asking.ends_by_clock() && self.table.is_over_time(now) => Err(Trouble::Silence),
            None => return None,
        };
        self.asking = None;
        self.answered(now, answer)
    }

    fn answered(&mut self, now: Instant, answer: Answer) -> Option<(Health, Trouble)> {
        let health = self.table.answer(now, answer.is_ok())?;
        Some((health, answer.err().unwrap_or(Trouble::None)))
    }
}

impl Drop for Checker {
    /// Nothing that it has started outlives it.
    fn drop(&mut self) {
        for row in &mut self.rows {
            self.abandoned.extend(row.asking.take().and_then(Asking::abandon));
        }
    }
}

/// The checker.
#[derive(Debug)]
struct Checker {
    channel: Channel,
    rows: Vec<Row>,
    /// Programs that nobody waits for, until they are gone.
    abandoned: Vec<Script>,
    /// Findings that the guardian has not taken yet, the newest of each check.
    unsent: Vec<ToGuardian>,
}

/// The whole life of the process; the words after the name are the checks.
pub fn main(words: &[String]) -> u8 {
    let Some(specs) = Spec::read_all(words) else {
        eprintln!("the checker is started by nullbeat's guardian, not by hand");
        return exit::USAGE;
    };
    match run(specs) {
        // The guardian is gone.
        Ok(()) => exit::OK,
        Err(_) => exit::FAILURE,
    }
}

fn run(specs: Vec<Spec>) -> io::Result<()> {
    // Whatever a check runs gets no more rights than this process has.
    prctl::set_no_new_privs()?;
    prctl::set_name(PROCESS_NAME)?;
    let mut ends = SigSet::empty();
    ends.add(Signal::SIGTERM);
    ends.thread_block()?;
    let signals = SignalFd::with_flags(&ends, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
    let channel = Channel::from(io::stdin().as_fd().try_clone_to_owned()?);
    let mut checker =
        Checker { channel, rows: specs.into_iter().map(Row::new).collect(), abandoned: Vec::new(), unsent: Vec::new() };
    let now = Instant::now();
    for row in checker.rows.iter_mut().filter(|row| row.spec.group.is_none()) {
        row.table.set_on(now, true);
    }
    loop {
        if !checker.take_orders()? || signals.read_signal()?.is_some() {
            return Ok(());
        }
        checker.turn(Instant::now());
        checker.report()?;
        checker.sleep(signals.as_fd())?;
    }
}

impl Checker {
    /// Takes what the guardian says; false: it is gone.
    fn take_orders(&mut self) -> io::Result<bool> {
        loop {
            let incoming = match self.channel.receive() {
                Ok(Some(incoming)) => incoming,
                Ok(None) => return Ok(true),
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
                Err(error) => return Err(error),
            };
            match (ToChecker::decode(incoming.bytes()), incoming.descriptor) {
                (Ok(ToChecker::Watch { group, is_running, epoch }), _) => self.watch(group, is_running, epoch),
                (Ok(ToChecker::Socket { check }), Some(socket)) => self.attach(check, socket),
                _ => return Err(io::ErrorKind::InvalidData.into()),
            }
        }
    }

    fn watch(&mut self, group: u8, is_running: bool, epoch: u32) {
        let now = Instant::now();
        for row in self.rows.iter_mut().filter(|row| row.spec.group == Some(group)) {
            self.abandoned.extend(row.asking.take().and_then(Asking::abandon));
            row.table.set_on(now, is_running);
            row.epoch = epoch;
        }
    }

    fn attach(&mut self, check: u8, socket: OwnedFd) {
        for row in self.rows.iter_mut().filter(|row| row.spec.number == check) {
            if let Some(ping) = &mut row.ping {
                ping.attach(socket);
                return;
            }
        }
    }

    fn turn(&mut self, now: Instant) {
        self.abandoned.retain_mut(|script| !script.is_gone());
        for row in &mut self.rows {
            if let Some((health, trouble)) = row.turn(now) {
                let check = row.spec.number;
                self.unsent.retain(|ToGuardian::Finding { check: other, .. }| *other != check);
                self.unsent.push(ToGuardian::Finding { check, health, trouble, epoch: row.epoch });
            }
        }
    }

    fn report(&mut self) -> io::Result<()> {
        while let Some(finding) = self.unsent.first() {
            match self.channel.send(&finding.encode()) {
                Ok(()) => _ = self.unsent.remove(0),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn sleep(&self, signals: BorrowedFd<'_>) -> io::Result<()> {
        let wanted = if self.unsent.is_empty() { PollFlags::POLLIN } else { PollFlags::POLLIN | PollFlags::POLLOUT };
        let mut descriptors = vec![PollFd::new(self.channel.as_fd(), wanted), PollFd::new(signals, PollFlags::POLLIN)];
        let interests = self.rows.iter().filter_map(Row::interest);
        descriptors.extend(interests.map(|(descriptor, flags)| PollFd::new(descriptor, flags)));
        descriptors.extend(self.abandoned.iter().map(|script| PollFd::new(script.as_fd(), PollFlags::POLLIN)));
        let timeout = match self.rows.iter().filter_map(Row::next_deadline).min() {
            // Rounded up, or it would spin.
            Some(at) => {
                let left = at.saturating_duration_since(Instant::now()) + std::time::Duration::from_millis(1);
                PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
            }
            None => PollTimeout::NONE,
        };
        match poll(&mut descriptors, timeout) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}
