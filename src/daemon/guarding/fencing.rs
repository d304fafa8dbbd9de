//! Shots at the partner, and on disk the number of fencings that count: it outlives the board's own resets, so that two
//! boards that hear nothing of each other do not reset each other for ever.

use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use super::{FENCE_COUNT, Guarding};
use crate::config::FenceMethod;
use crate::core::FenceOutcome;
use crate::core::ids::ShotId;
use crate::daemon::identity::state_directory;
use crate::daemon::state_file::replace;
use crate::daemon::watch::nanos;
use crate::guardian::fence::ShotOrder;
use crate::guardian::protocol::ToEngine;
use crate::sys::process::{Child, close_descriptors_but, fork_child};

/// In the state directory.
const FILE: &str = "fencings";
/// How long a shot waits at most for the number to be on disk. A disk that takes longer shall not keep the service down.
const WRITE_LIMIT: Duration = Duration::from_secs(1);

/// A shot that waits for the disk.
#[derive(Debug, Clone, Copy)]
struct Waiting {
    order: ShotOrder,
    asked_at: Instant,
    /// It is fired then at the latest, a stamp of the lease's clock.
    due: u64,
}

/// How long a shot may wait. That is part of its time limit, and so of this board's turn to shoot; most of the time is left
/// to the device.
fn patience(method: &FenceMethod) -> Duration {
    (method.limit.saturating_sub(method.least_time()) / 4).min(WRITE_LIMIT)
}

/// The number and the process that is writing it.
#[derive(Debug, Default)]
pub(super) struct FenceCount {
    count: u8,
    writer: Option<Child>,
    /// It has changed since that process began.
    is_old: bool,
    /// What is fired when it is on disk, or at that time at the latest.
    waiting: Option<Waiting>,
}

impl FenceCount {
    /// What an earlier daemon has left; nothing readable is none.
    pub(super) fn read(directory: &Path) -> Self {
        let text = fs::read_to_string(directory.join(FILE)).unwrap_or_default();
        Self { count: text.trim().parse().unwrap_or(0), ..Self::default() }
    }

    /// Fencings that an engine which starts now counts as just taken.
    pub(super) fn count(&self) -> u8 {
        self.count
    }

    /// When a shot is fired although the number is not on disk.
    pub(super) fn due(&self) -> Option<u64> {
        self.waiting.map(|waiting| waiting.due)
    }

    /// There is no engine any more that would wait for a shot's outcome.
    pub(super) fn forget_engine(&mut self) {
        self.waiting = None;
    }
}

/// The file is the old one or the new one at every moment.
fn write(directory: &Path, count: u8) -> io::Result<()> {
    replace(&directory.join(FILE), format!("{count}\n").as_bytes())
}

impl Guarding {
    pub(super) fn fence(&mut self, now: u64, order: ShotOrder) {
        let asked_at = Instant::now();
        if self.fencings.writer.is_some() {
            let method = self.config.fence.methods.get(usize::from(order.method));
            let due = now.saturating_add(nanos(method.map_or(Duration::ZERO, patience)));
            self.fencings.waiting = Some(Waiting { order, asked_at, due });
        } else {
            self.runner.fence(asked_at, order, asked_at);
        }
    }

    pub(super) fn cancel_fence(&mut self, shot: ShotId) {
        if self.fencings.waiting.take_if(|waiting| waiting.order.shot == shot).is_some() {
            self.send(ToEngine::FenceDone { shot, outcome: FenceOutcome::Failed, ms: 0 });
        }
        self.runner.cancel_fence(Instant::now(), shot);
    }

    /// Fires what has waited too long.
    pub(super) fn fire_overdue(&mut self, now: u64) {
        if let Some(Waiting { order, asked_at, .. }) = self.fencings.waiting.take_if(|waiting| now >= waiting.due) {
            log::warn!("the number of fencings is not on disk yet: firing all the same");
            self.runner.fence(Instant::now(), order, asked_at);
        }
    }

    /// Keeps the number, by a process of its own: this one waits for no disk.
    pub(super) fn note_fencings(&mut self, count: u8) {
        self.fencings.count = count;
        if self.fencings.writer.is_some() {
            self.fencings.is_old = true;
            return;
        }
        self.fencings.is_old = false;
        let directory = state_directory(&self.config.paths);
        let started = fork_child(|| {
            let _ = close_descriptors_but(&mut []);
            i32::from(write(&directory, count).is_err())
        });
        match started {
            Ok(child) if self.reactor.add(&child.pidfd, FENCE_COUNT).is_ok() => self.fencings.writer = Some(child),
            Ok(_) => {}
            Err(error) => log::warn!("the number of fencings cannot be kept: {error}"),
        }
    }

    pub(super) fn fencings_kept(&mut self) {
        let Some(child) = &self.fencings.writer else { return };
        if matches!(child.try_wait(), Ok(None)) {
            return;
        }
        let _ = self.reactor.remove(&child.pidfd);
        self.fencings.writer = None;
        if self.fencings.is_old {
            self.note_fencings(self.fencings.count);
        } else if let Some(Waiting { order, asked_at, .. }) = self.fencings.waiting.take() {
            self.runner.fence(Instant::now(), order, asked_at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{FenceHow, FenceLine};

    #[test]
    fn shot_waits_for_the_disk_within_its_own_time_limit() {
        let (ms, hook) = (Duration::from_millis, || FenceHow::Hook("/bin/true".into()));
        let reset = || FenceHow::Gpio { line: FenceLine::Reset, pulse: ms(500), is_sensed: true };
        for (how, limit, expected) in
            [(hook(), 30_000, 1000), (hook(), 900, 200), (reset(), 2500, 500), (reset(), 501, 0)]
        {
            let waits = patience(&FenceMethod { name: "x".into(), how, limit: ms(limit) });
            assert_eq!(waits.as_millis(), expected, "{limit} ms");
        }
    }

    #[test]
    fn number_comes_back_and_garbage_is_none() {
        let directory = std::env::temp_dir().join(format!("nullbeat-shots-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        assert_eq!(FenceCount::read(&directory).count(), 0);
        write(&directory, 3).unwrap();
        assert_eq!(FenceCount::read(&directory).count(), 3);
        fs::write(directory.join(FILE), "300 shots").unwrap();
        assert_eq!(FenceCount::read(&directory).count(), 0);
        fs::remove_dir_all(&directory).unwrap();
    }
}
