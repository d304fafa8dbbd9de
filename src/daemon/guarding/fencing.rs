//! Shots at the partner, and how many there were since it was last heard: that number outlives the board's own resets,
//! so that two boards that hear nothing of each other do not reset each other for ever.

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
pub(super) struct ShotCount {
    shots: u8,
    writer: Option<Child>,
    /// It has changed since that process began.
    is_old: bool,
}

impl ShotCount {
    /// What an earlier daemon has left; nothing readable is none.
    pub(super) fn read(directory: &Path) -> Self {
        let text = fs::read_to_string(directory.join(FILE)).unwrap_or_default();
        let shots: u8 = text.trim().parse().unwrap_or(0);
        if shots > 0 {
            log::warn!("The partner was fenced {shots} times and has not been heard since");
        }
        Self { shots, ..Self::default() }
    }

    /// Shots that an engine which starts now counts as taken.
    pub(super) fn shots(&self) -> u8 {
        self.shots
    }
}

/// The file is the old one or the new one at every moment.
fn write(directory: &Path, shots: u8) -> io::Result<()> {
    let temporary = directory.join(format!("{FILE}.tmp"));
    let mut file = fs::File::create(&temporary)?;
    writeln!(file, "{shots}")?;
    file.sync_all()?;
    fs::rename(&temporary, directory.join(FILE))
}

impl Guarding {
    pub(super) fn fence(&mut self, order: ShotOrder) {
        self.runner.fence(Instant::now(), order);
        self.shots.shots = self.shots.shots.saturating_add(1);
        self.keep_shots();
    }

    pub(super) fn notify_node(&mut self, node: u8, status: u8) {
        self.runner.notify_node(Instant::now(), node, status);
        let is_partner = self.config.nodes.get(usize::from(node)).map(String::as_str) == self.config.partner();
        if is_partner && status != b'd' && self.shots.shots > 0 {
            self.shots.shots = 0;
            self.keep_shots();
        }
    }

    /// Writes the number, in a process of its own: this one waits for no disk.
    fn keep_shots(&mut self) {
        if self.shots.writer.is_some() {
            self.shots.is_old = true;
            return;
        }
        self.shots.is_old = false;
        let (directory, shots) = (state_directory(&self.config.paths), self.shots.shots);
        let started = fork_child(|| {
            let _ = close_descriptors_but(&mut []);
            i32::from(write(&directory, shots).is_err())
        });
        match started {
            Ok(child) if self.reactor.add(&child.pidfd, FENCE_COUNT).is_ok() => self.shots.writer = Some(child),
            Ok(_) => {}
            Err(error) => log::warn!("the number of fencings cannot be kept: {error}"),
        }
    }

    pub(super) fn shots_kept(&mut self) {
        let Some(child) = &self.shots.writer else { return };
        if matches!(child.try_wait(), Ok(None)) {
            return;
        }
        let _ = self.reactor.remove(&child.pidfd);
        self.shots.writer = None;
        if self.shots.is_old {
            self.keep_shots();
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
        assert_eq!(ShotCount::read(&directory).shots(), 0);
        write(&directory, 3).unwrap();
        assert_eq!(ShotCount::read(&directory).shots(), 3);
        fs::write(directory.join(FILE), "300 shots").unwrap();
        assert_eq!(ShotCount::read(&directory).shots(), 0);
        fs::remove_dir_all(&directory).unwrap();
    }
}
