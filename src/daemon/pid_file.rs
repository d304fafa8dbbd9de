//! Heartbeat's pid file (spec/config.md section 6): what its scripts look for, and what keeps its daemon and ours from
//! running on one board together.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// Heartbeat's place for it.
const HEARTBEAT: &str = "/run/heartbeat.pid";
/// Beside this run directory, the usual one, it is kept.
const USUAL_RUN_DIRECTORY: &str = "/run/nullbeat";
/// What a guardian's process is called: by the name of the program it was started as.
const NAMES: [&str; 2] = ["nullbeat", "heartbeat"];

/// Where Heartbeat's pid file belongs for a daemon with this run directory; nowhere for one that was moved, of which there
/// may be many on a machine.
pub fn of_heartbeat(run_directory: &Path) -> Option<PathBuf> {
    (run_directory == Path::new(USUAL_RUN_DIRECTORY)).then(|| PathBuf::from(HEARTBEAT))
}

/// The number in a pid file.
pub fn read(path: &Path) -> Option<i32> {
    fs::read_to_string(path).ok()?.trim().parse().ok().filter(|pid| *pid > 0)
}

/// Whether a process of this number is a daemon of ours or Heartbeat's.
pub fn is_daemon(pid: i32) -> bool {
    // Not its program file: only root may see that of others.
    fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| NAMES.contains(&name.trim_end()))
}

/// Whether a process of this number is called so in lists of processes.
pub fn is_called(pid: i32, name: &str) -> bool {
    fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|found| found.trim_end() == name)
}

/// Writes this process's number: right-aligned in ten columns, complete from the moment on at which it can be seen.
///
/// # Errors
/// What writing and renaming say.
pub fn write(path: &Path) -> io::Result<()> {
    let pid = std::process::id();
    let mut own = path.as_os_str().to_owned();
    own.push(format!(".{pid}"));
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o644).open(&own)?;
    writeln!(file, "{pid:>10}").and_then(|()| fs::rename(&own, path)).inspect_err(|_| {
        let _ = fs::remove_file(&own);
    })
}

/// Removes the file unless it is that of another daemon.
pub fn remove(path: &Path) {
    let is_ours = read(path).is_none_or(|pid| u32::try_from(pid) == Ok(std::process::id()) || !is_daemon(pid));
    if is_ours {
        let _ = fs::remove_file(path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pid_file_has_the_format_of_heartbeat() {
        let dir = nix::unistd::mkdtemp(&std::env::temp_dir().join("nullbeat-pid-XXXXXX")).unwrap();
        let path = dir.join("heartbeat.pid");
        write(&path).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text, format!("{:>10}\n", std::process::id()));
        assert_eq!(read(&path).map(i32::cast_unsigned), Some(std::process::id()));
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 1, "nothing else stays");
        remove(&path);
        assert!(!path.exists());
        fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn pid_file_of_something_else_is_stale() {
        assert!(!is_daemon(1_000_000_000) && !is_daemon(1));
        assert_eq!(of_heartbeat(Path::new("/elsewhere")), None);
    }
}
