//! Where the services beside the daemon, `apphbd` and `ha_logd`, have their things. Beside the usual run directory that is
//! where Heartbeat's programs look; one that was moved, of which there may be many on a machine, holds everything itself.

use std::path::{Path, PathBuf};

use super::pid_file;

/// Of one service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    /// Its socket.
    pub socket: PathBuf,
    /// Its pid file.
    pub pid_file: PathBuf,
}

impl Places {
    /// Those of `apphbd`, with this run directory or with the usual one.
    pub fn of_apphbd(run_directory: Option<&Path>) -> Self {
        let usual = Path::new("/run/heartbeat/apphb.comm");
        Self::new(run_directory, usual, "/run/apphbd.pid")
    }

    /// Those of `ha_logd`.
    pub fn of_logd(run_directory: Option<&Path>) -> Self {
        Self::new(run_directory, Path::new("/var/lib/heartbeat/log_daemon"), "/run/logd.pid")
    }

    fn new(run_directory: Option<&Path>, socket: &Path, pid_file: &str) -> Self {
        let moved = run_directory.filter(|directory| pid_file::of_heartbeat(directory).is_none());
        let place = |usual: &Path| match (moved, usual.file_name()) {
            (Some(directory), Some(name)) => directory.join(name),
            _ => usual.to_owned(),
        };
        Self { socket: place(socket), pid_file: place(Path::new(pid_file)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moved_run_directory_holds_everything_itself() {
        let usual = Places::of_apphbd(None);
        assert_eq!(usual.socket, Path::new("/run/heartbeat/apphb.comm"));
        assert_eq!(Places::of_apphbd(Some(Path::new("/run/nullbeat"))), usual);
        let moved = Places::of_logd(Some(Path::new("/elsewhere")));
        assert_eq!(moved.socket, Path::new("/elsewhere/log_daemon"));
        assert_eq!(moved.pid_file, Path::new("/elsewhere/logd.pid"));
    }
}
