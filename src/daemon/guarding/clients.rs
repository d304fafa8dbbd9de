//! The long-lived children: the programs of `respawn` and `failfast`, and the guardian's own services.

use std::io;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, poll};
use nix::unistd::Pid;

use super::{CLIENTS, Guarding, Stage, beside, health, poll_time};
use crate::config::Config;
use crate::core::limits::CHILDREN_MAX;
use crate::daemon::reactor::Reactor;
use crate::daemon::reset::Reason;
use crate::guardian::clients::{Clients, Service};
use crate::guardian::jobs::Runner;
use crate::guardian::lease::{self, Lease, ProcessKey};
use crate::guardian::protocol::ToEngine;

/// What all of them together may take to end when the guardian does, whatever their number.
const END_LIMIT: Duration = Duration::from_secs(30);

/// The table for `config`. What an earlier guardian of this boot has left is on its way out.
pub(super) fn open(config: &Config, runner: &Runner, lease: &Lease, reactor: &Reactor) -> io::Result<Clients> {
    let mut clients = Clients::new(config, services(config), runner.environment())?;
    for process in lease.children() {
        clients.end_leftover(process);
    }
    reactor.add(clients.as_fd(), CLIENTS)?;
    Ok(clients)
}

/// The guardian's own services, as the files ask for them.
pub(super) fn services(config: &Config) -> Vec<Service> {
    // Those that others log through first: they end last.
    beside::services(config).into_iter().chain(health::services(config)).collect()
}

impl Guarding {
    /// Deaths, starts and ends of them.
    pub(super) fn turn_clients(&mut self, now: u64) {
        self.clients.turn(Instant::now());
        while let Some((name, channel)) = self.clients.poll_channel() {
            self.checker_started(name, channel);
        }
        self.instruct_checkers();
        if let Some(failure) = self.clients.poll_failure()
            && !self.is_stop_wanted()
            && !matches!(self.stage, Stage::Resetting { .. } | Stage::Over(_))
        {
            log::error!(target: "EMERG", "Rebooting system.  Reason: {}", failure.name);
            self.reset_board(now, Reason::ClientDied);
        }
        if self.is_end_of_clients_awaited && self.clients.is_stopped() {
            self.is_end_of_clients_awaited = false;
            self.send(ToEngine::ClientsStopped);
        }
        self.note_children();
        let is_down = self.clients.is_service_down();
        if self.engine.is_some() && is_down != std::mem::replace(&mut self.is_service_down_told, is_down) {
            self.send(ToEngine::Services { is_down });
        }
    }

    /// The engine has released everything.
    pub(super) fn stop_clients(&mut self) {
        self.clients.stop_clients();
        self.is_end_of_clients_awaited = true;
    }

    /// Keeps in the lease which ones there are, so that whoever comes after a killed guardian can end them first.
    fn note_children(&mut self) {
        if self.clients.processes().eq(self.noted_children.iter().copied()) {
            return;
        }
        self.noted_children = self.clients.processes().collect();
        let key = |pid: &Pid| ProcessKey::of(*pid).ok();
        let keys: Vec<ProcessKey> = self.noted_children.iter().filter_map(key).take(CHILDREN_MAX).collect();
        self.lease.set_children(&keys);
    }

    /// At the end of this process: nothing of it stays behind.
    pub(super) fn end_clients(&mut self) {
        self.clients.stop_all();
        let limit = Instant::now() + END_LIMIT;
        loop {
            self.clients.turn(Instant::now());
            if self.clients.is_stopped() || Instant::now() >= limit {
                return self.note_children();
            }
            self.lease.stamp_guardian(lease::now());
            let tick = Instant::now() + Duration::from_nanos(self.watch.limits().tick());
            let at = self.clients.next_deadline().into_iter().chain([limit, tick]).min().unwrap_or(limit);
            let _ = poll(&mut [PollFd::new(self.clients.as_fd(), PollFlags::POLLIN)], poll_time(at));
        }
    }
}
