//! The guardian's records, and whether it is there.

use nix::errno::Errno;

use super::{Driver, Job, StopRequest};
use crate::cli::exit;
use crate::core::ids::JobId;
use crate::core::ownership::Phase;
use crate::core::time::{Duration, Instant};
use crate::core::{Input, JobOutcome, Order};
use crate::daemon::driver::End;
use crate::daemon::guardian_end::Overflow;
use crate::daemon::history::words::What;
use crate::daemon::last_move::Script;
use crate::daemon::log_pipe;
use crate::daemon::reactor::Ready;
use crate::guardian::channel::Incoming;
use crate::guardian::protocol::{ToEngine, ToGuardian};
use crate::hardware::gpio::LineReader;

/// Records of the guardian taken in one turn.
const RECORDS_MAX: usize = 128;

impl Driver<'_> {
    pub(super) fn serve_guardian(&mut self, ready: Ready) {
        if ready.is_writable {
            self.guardian.flush();
        }
        for _ in 0..RECORDS_MAX {
            let Some(incoming) = self.guardian.receive() else { break };
            self.take_record(incoming);
        }
        if self.guardian.is_gone() {
            log::error!(target: "CRIT", "The guardian is gone: beating on, nothing can be started or stopped here");
            let _ = self.reactor.remove(&self.guardian);
        }
    }

    pub(super) fn take_record(&mut self, incoming: Incoming) {
        let Ok(record) = ToEngine::decode(incoming.bytes()) else {
            log::error!("A record of {} bytes from the guardian makes no sense", incoming.bytes().len());
            return;
        };
        match record {
            ToEngine::JobDone { job, outcome, resource: _, ms } => self.finish_job(job, outcome, ms),
            ToEngine::JobStep { job, resource, micros } => {
                if let Some(Job { group, order: Order::Start, .. }) = self.jobs.iter().find(|known| known.job == job) {
                    self.moves.note_script(Script { group: *group, resource, micros });
                }
            }
            ToEngine::Link { link, errno, detail } => match incoming.descriptor {
                Some(descriptor) if errno == 0 => self.open_link(link, descriptor, detail),
                _ => self.refuse_link(link, errno),
            },
            ToEngine::Control { errno } => match incoming.descriptor {
                Some(listener) if errno == 0 => self.open_control(listener),
                _ => log::error!("No control socket: {}", Errno::from_raw(errno).desc()),
            },
            ToEngine::Fifo { errno } => match incoming.descriptor {
                Some(descriptor) if errno == 0 => self.open_fifo(descriptor),
                _ => log::warn!("No FIFO for the tools hb_standby and the like: {}", Errno::from_raw(errno).desc()),
            },
            ToEngine::Clients { errno } => match incoming.descriptor {
                Some(listener) if errno == 0 => self.open_clients(listener),
                _ => log::error!("No socket for Heartbeat's clients: {}", Errno::from_raw(errno).desc()),
            },
            ToEngine::Membership { errno } => match incoming.descriptor {
                Some(listener) if errno == 0 => self.open_membership(listener),
                _ => {
                    log::error!("No socket for programs that follow the membership: {}", Errno::from_raw(errno).desc());
                }
            },
            ToEngine::Lines { row } => {
                if let Some(descriptor) = incoming.descriptor {
                    self.add_lines(LineReader::new(descriptor, row));
                }
            }
            ToEngine::OwnerSet { is_owner, is_ok } => self.feed(Input::OwnerSet { is_owner, is_ok }),
            ToEngine::ReloadRefused { request, code } => {
                if let Some(control) = &mut self.control {
                    let why = match code {
                        exit::TRY_AGAIN => "scripts run or a hand-over is under way; try again",
                        _ => "the reasons are in the log",
                    };
                    control.reply(request, code, format_args!("not reloaded: {why}\n"));
                }
            }
            ToEngine::FenceDone { shot, outcome, ms } => {
                self.fences.note_end(ms);
                self.feed(Input::FenceDone { shot, outcome });
            }
            ToEngine::FenceChecked { method, is_ok } => self.fences.note_check(self.now.now, method, is_ok),
            ToEngine::Health { check, health, from } => self.feed(Input::Health { check, health, from }),
            ToEngine::Services { is_down } => self.feed(Input::Services { is_down }),
            ToEngine::Stale => {
                log::error!(target: "CRIT", "The guardian has read other files than this engine");
                self.end = Some(End::Broken);
            }
            ToEngine::ClientsStopped if self.is_awaiting_clients => self.end = Some(End::Finished),
            ToEngine::ClientsStopped => {}
            ToEngine::Debug { level } => log_pipe::set_debug(level),
            ToEngine::StopRequested => {
                if self.stop == StopRequest::None {
                    self.stop = StopRequest::Wanted;
                }
            }
        }
    }

    pub(super) fn finish_job(&mut self, job: JobId, outcome: JobOutcome, ms: u32) {
        if let Some(at) = self.jobs.iter().position(|known| known.job == job) {
            let Job { group, order, .. } = self.jobs.swap_remove(at);
            if order == Order::Start {
                self.moves.note_job_end(self.now.now, outcome);
            }
            self.record(What::Job { group, order, outcome, ms });
        }
        self.feed(Input::JobDone { job, outcome });
    }

    /// A request that must not be lost.
    pub(super) fn ask(&mut self, request: ToGuardian) {
        if self.guardian.send(request) == Err(Overflow) {
            log::error!(target: "CRIT", "The guardian has not read its requests for too long");
            self.end = Some(End::Broken);
        }
    }

    pub(super) fn judge_guardian(&mut self, lateness: Duration) {
        // That of its script runner, which comes after each of its own turns.
        let stamp = match self.lease.runner_stamp() {
            0 => None,
            ns => Some(Instant::from_micros(ns / 1000)),
        };
        if let Some(is_present) = self.guardian.judge(self.now.now, lateness, stamp) {
            if is_present {
                log::info!("The guardian answers again");
            } else {
                log::error!("The guardian is silent: no script can be run");
            }
            self.feed(Input::Guardian { is_present });
        }
    }

    /// Before the first script of a stop is asked for.
    pub(super) fn tell_stopping(&mut self) {
        if !self.is_stopping_told && matches!(self.node.ownership().phase(), Phase::Leaving(_)) {
            self.is_stopping_told = true;
            self.ask(ToGuardian::Stopping);
        }
    }

    /// Communication is up: what uses it can be started.
    pub(super) fn tell_up(&mut self) {
        if !self.is_up_told && self.node.comms().is_up() {
            self.is_up_told = true;
            if !self.config.clients.is_empty() {
                self.ask(ToGuardian::CommunicationUp);
            }
        }
        if self.is_awaiting_clients && !self.guardian.is_present() {
            // Nobody is there to end them.
            self.end = Some(End::Finished);
        }
    }

    /// All is released and said. The clients that the guardian runs end before this engine, which they talk to.
    pub(super) fn finish(&mut self) {
        self.end_membership();
        if self.is_up_told && !self.config.clients.is_empty() && self.guardian.is_present() {
            self.is_awaiting_clients = true;
            self.ask(ToGuardian::StopClients);
        } else {
            self.end = Some(End::Finished);
        }
    }

    pub(super) fn tell_ready(&mut self) {
        if !self.is_ready_told && self.node.ownership().is_settled() {
            self.is_ready_told = true;
            self.ask(ToGuardian::Ready);
        }
    }
}
