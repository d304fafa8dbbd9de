//! Shots at the partner, and how many fencings there were in the last hour, as the core counts them: that number outlives
//! the board's own resets, so that two boards that hear nothing of each other do not reset each other for ever.

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;
use std::time::Instant;

use super::{FENCE_COUNT, Guarding};
use crate::daemon::identity::state_directory;
use crate::guardian::fence::ShotOrder;
use crate::sys::process::{Child, close_descriptors_but, fork_child};

/// In the state directory.
const FILE: &str = "fences";

/// The number and the process that is writing it.
#[derive(Debug, Default)]
pub(super) struct FencingCount {
    count: u8,
    writer: Option<Child>,
    /// It has changed since that process began.
    is_old: bool,
}

impl FencingCount {
    /// What an earlier daemon has left; nothing readable is none.
    pub(super) fn read(directory: &Path) -> Self {
        let text = fs::read_to_string(directory.join(FILE)).unwrap_or_default();
        let count: u8 = text.trim().parse().unwrap_or(0);
        if count > 0 {
            log::warn!("The partner was fenced {count} times in the hour before this board or its daemon ended");
        }
        Self { count, ..Self::default() }
    }

    /// Fencings that an engine which starts now counts.
    pub(super) fn count(&self) -> u8 {
        self.count
    }
}

/// The file is the old one or the new one at every moment.
fn write(directory: &Path, count: u8) -> io::Result<()> {
    let temporary = directory.join(format!("{FILE}.tmp"));
    let mut file = fs::File::create(&temporary)?;
    writeln!(file, "{count}")?;
    file.sync_all()?;
    fs::rename(&temporary, directory.join(FILE))
}

impl Guarding {
    pub(super) fn fence(&mut self, order: ShotOrder) {
        self.runner.fence(Instant::now(), order);
    }

    pub(super) fn notify_node(&mut self, node: u8, status: u8) {
        self.runner.notify_node(Instant::now(), node, status);
    }

    pub(super) fn note_fencings(&mut self, count: u8) {
        if self.fencings.count != count {
            self.fencings.count = count;
            self.keep_fencings();
        }
    }

    /// Writes the number, in a process of its own: this one waits for no disk.
    fn keep_fencings(&mut self) {
        if self.fencings.writer.is_some() {
            self.fencings.is_old = true;
            return;
        }
        self.fencings.is_old = false;
        let (directory, count) = (state_directory(&self.config.paths), self.fencings.count);
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
            self.keep_fencings();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn number_comes_back_and_garbage_is_none() {
        let directory = std::env::temp_dir().join(format!("nullbeat-shots-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        assert_eq!(FencingCount::read(&directory).count(), 0);
        write(&directory, 3).unwrap();
        assert_eq!(FencingCount::read(&directory).count(), 3);
        fs::write(directory.join(FILE), "300 shots").unwrap();
        assert_eq!(FencingCount::read(&directory).count(), 0);
        fs::remove_dir_all(&directory).unwrap();
    }
}
