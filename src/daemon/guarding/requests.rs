//! What the engine asks for, and what it is told.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Instant;

use nix::libc;
use nix::unistd::Pid;

use super::{CHANNEL, Guarding, LEAVE_LIMIT};
use crate::core::ids::{GroupId, LinkId};
use crate::core::time;
use crate::daemon::fifo;
use crate::daemon::identity::state_directory;
use crate::daemon::watch::nanos;
use crate::guardian::fence::ShotOrder;
use crate::guardian::lease::{self, ProcessKey};
use crate::guardian::protocol::{ToEngine, ToGuardian};
use crate::links;

/// Records taken in one turn: an engine that never stops asking, because somebody has taken it over, must not keep the guardian
/// from looking at its stamps.
const RECORDS_MAX: usize = 64;
/// Messages for `rc.d` taken in one turn.
const MESSAGES_MAX: usize = 32;

impl Guarding {
    /// Takes records that have arrived.
    pub(super) fn serve_engine(&mut self, now: u64) {
        for _ in 0..RECORDS_MAX {
            let Some(engine) = &self.engine else { return };
            let incoming = match engine.channel.receive() {
                Ok(Some(incoming)) => incoming,
                Ok(None) => return,
                Err(error) => {
                    // The end of the channel is the end of the engine: its pidfd tells how. It must not wake us again.
                    if error.kind() != io::ErrorKind::UnexpectedEof {
                        log::error!("the engine's channel cannot be read: {error}");
                    }
                    let _ = self.reactor.remove(&engine.channel);
                    return;
                }
            };
            match ToGuardian::decode(incoming.bytes()) {
                Ok((request, digest)) if digest == self.digest => self.serve(now, request),
                Ok(_) => {
                    self.refuse_record(format_args!("a request with another table's digest"));
                    self.send(ToEngine::Stale);
                }
                Err(error) => self.refuse_record(format_args!("{error}")),
            }
        }
    }

    /// Takes messages for `rc.d`, a few in one turn: what keeps coming must not keep the stamps waiting.
    pub(super) fn take_messages(&mut self) {
        for _ in 0..MESSAGES_MAX {
            let Some(engine) = &self.engine else { return };
            match engine.messages.receive() {
                Ok(Some(Some(message))) if message.digest == self.digest => {
                    self.runner.notify_message(Instant::now(), &message);
                }
                Ok(Some(_)) => self.refuse_record(format_args!("a message that makes no sense")),
                Ok(None) => return,
                Err(_) => {
                    // The end of the engine: its pidfd tells how. It must not wake us again.
                    let _ = self.reactor.remove(&engine.messages);
                    return;
                }
            }
        }
    }

    /// Counts what no engine of ours would say, and says so now and then.
    fn refuse_record(&mut self, what: std::fmt::Arguments<'_>) {
        if let Some(count) = self.refusals.note(time::Instant::from_micros(lease::now() / 1000)) {
            log::error!("the engine sent {what}: refused ({count} so far)");
        }
    }

    fn serve(&mut self, now: u64, request: ToGuardian) {
        match request {
            ToGuardian::Run { order, .. } if self.is_against_stop(order) => {
                self.refuse_record(format_args!("an order to start something, while everything is to stop"));
            }
            ToGuardian::Run { job, group, order } => self.runner.request(Instant::now(), job, group, order),
            ToGuardian::OpenLink { link } => self.open_link(link),
            ToGuardian::OpenControl => {
                let opened = self.directory.open_control();
                self.answer_with(opened, |errno| ToEngine::Control { errno });
            }
            ToGuardian::KeepNodes => self.keep_nodes(),
            ToGuardian::OpenFifo => {
                let opened = self.open_fifo();
                self.answer_with(opened, |errno| ToEngine::Fifo { errno });
            }
            ToGuardian::OpenClients => {
                let opened = self.directory.open_clients();
                self.answer_with(opened, |errno| ToEngine::Clients { errno });
            }
            ToGuardian::OpenMembership => {
                let opened = self.directory.open_membership();
                self.answer_with(opened, |errno| ToEngine::Membership { errno });
            }
            ToGuardian::OpenLines => self.pass_lines(),
            ToGuardian::SetOwner { is_owner } => self.set_owner(is_owner),
            ToGuardian::NotifyGroup { group, old, new, cause } => {
                self.runner.notify_group(Instant::now(), group, old, new, cause);
            }
            ToGuardian::NotifyNode { node, status } => self.runner.notify_node(Instant::now(), node, status),
            ToGuardian::NotifyLink { node, link, is_up } => self.runner.notify_link(Instant::now(), node, link, is_up),
            ToGuardian::NotifyPing { ping, is_alive } => self.runner.notify_ping(Instant::now(), ping, is_alive),
            ToGuardian::Reload { request, is_binary: false } => self.begin_reload(now, Some(request)),
            ToGuardian::Reload { request, is_binary: true } => self.begin_binary_reload(now, request),
            ToGuardian::Fence { shot, method, generation } => {
                self.fence(now, ShotOrder { shot, method, generation });
            }
            ToGuardian::CancelFence { shot } => self.cancel_fence(shot),
            ToGuardian::NoteFencings { count } => self.note_fencings(count),
            ToGuardian::Outrun { known } => self.begin_anew_above(now, known),
            ToGuardian::Ready => {
                self.service.ready();
                self.runner.check_fences(Instant::now());
            }
            ToGuardian::Stopping => {
                self.service.stopping();
                self.want_stop(now);
            }
            ToGuardian::CommunicationUp => self.clients.communication_up(Instant::now()),
            ToGuardian::StopClients => self.stop_clients(),
            ToGuardian::Exit => {
                self.service.stopping();
                self.leave(now, now.saturating_add(nanos(LEAVE_LIMIT)));
            }
        }
    }

    /// Opened once: what is written while no engine lives waits for the next one.
    fn open_fifo(&mut self) -> io::Result<OwnedFd> {
        if self.fifo.is_none() {
            self.fifo = Some(fifo::open(&state_directory(&self.config.paths))?);
        }
        self.fifo.as_ref().ok_or(io::ErrorKind::NotFound)?.try_clone()
    }

    fn open_link(&mut self, link: LinkId) {
        let opened = match self.config.media.get(usize::from(link.0)) {
            Some(medium) => links::open(medium),
            None => Err(io::Error::from_raw_os_error(libc::ENODEV)),
        };
        let detail = opened.as_ref().map_or(0, |opened| opened.detail);
        let opened = opened.map(|opened| opened.descriptor);
        self.answer_with(opened, |errno| ToEngine::Link { link, errno, detail });
    }

    /// Sends a descriptor, or why there is none.
    fn answer_with<D: AsFd>(&mut self, opened: io::Result<D>, answer: impl Fn(i32) -> ToEngine) {
        let Some(engine) = &self.engine else { return };
        let result = match &opened {
            Ok(descriptor) => engine.channel.send_with(&answer(0).encode(), descriptor.as_fd()),
            Err(error) => engine.channel.send(&answer(error.raw_os_error().unwrap_or(libc::EIO)).encode()),
        };
        // An engine that does not read is about to be found out by its stamps; it asks again when it lives.
        if let Err(error) = result {
            log::warn!("the engine does not take a descriptor: {error}");
        }
    }

    /// One record, at once or never: for what the engine asks again or the operator repeats.
    pub(super) fn send(&mut self, answer: ToEngine) {
        if let Some(engine) = &self.engine
            && let Err(error) = engine.channel.send(&answer.encode())
        {
            log::warn!("the engine does not listen: {error}");
        }
    }

    /// Hands on what the runner has to report. A report that does not fit waits; it is never lost while its engine
    /// lives.
    pub(super) fn relay_reports(&mut self, now: u64) {
        while let Some(report) = self.unsent.take().or_else(|| self.runner.poll_report()) {
            if self.take_own_report(now, report) {
                continue;
            }
            let Some(engine) = &self.engine else { continue };
            match engine.channel.send(&report.encode()) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.unsent = Some(report);
                    break;
                }
                Err(_) => {}
            }
        }
        let is_waiting = self.unsent.is_some();
        if let Some(engine) = &mut self.engine
            && engine.is_waiting_to_write != is_waiting
        {
            engine.is_waiting_to_write = is_waiting;
            let _ = self.reactor.watch_writable(&engine.channel, CHANNEL, is_waiting);
        }
    }

    /// Keeps in the lease what has been started, and which scripts run, so that whoever comes after a killed guardian knows
    /// of it and can end them first.
    pub(super) fn note_scripts(&mut self) {
        self.lease.set_left(self.runner.held());
        let program = self.runner.fence_program();
        if program != self.noted_fence {
            self.lease.set_fence_program(program.and_then(|pid| ProcessKey::of(pid).ok()));
            self.noted_fence = program;
        }
        let running: Vec<(GroupId, Pid)> = self.runner.scripts().collect();
        if running == self.noted {
            return;
        }
        for (group, _) in self.noted.iter().filter(|noted| !running.contains(noted)) {
            self.lease.set_script(*group, None);
        }
        for (group, pid) in running.iter().filter(|script| !self.noted.contains(script)) {
            self.lease.set_script(*group, ProcessKey::of(*pid).ok());
        }
        self.noted = running;
    }
}
