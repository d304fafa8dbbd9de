//! UUCP lock files: how programs that use serial lines (terminal programs, fax, getty) tell each other that one is
//! taken (spec/wire.md 11.3).

use std::fs;
use std::io;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::Pid;

use crate::sys::process::process_start;

/// Where the files live on Debian and most others.
pub const DEFAULT_DIRECTORY: &str = "/var/lock";

/// The lock file of a device: `LCK..ttyS0` for `/dev/ttyS0`, `LCK..pts0` for `/dev/pts/0`.
pub fn path(directory: &Path, device: &Path) -> PathBuf {
    let text = device.to_string_lossy();
    let name: String =
        text.strip_prefix("/dev/").unwrap_or(&text).chars().filter(char::is_ascii_alphanumeric).collect();
    directory.join(format!("LCK..{name}"))
}

/// Takes the lock for this process; a stale one is removed. Taking it again is fine.
///
/// A directory that is absent or not ours to write in is no obstacle: the lock on the device itself still stands.
///
/// # Errors
/// `ResourceBusy` when a living process holds it.
pub fn acquire(directory: &Path, device: &Path) -> io::Result<()> {
    let target = path(directory, device);
    let own = Pid::this();
    let draft = directory.join(format!("tmp{own}-{}", target.file_name().unwrap_or_default().to_string_lossy()));
    match write_draft(&draft, own) {
        Ok(()) => {}
        Err(error) => {
            log::debug!("No lock file for {}: {}: {error}", device.display(), directory.display());
            return if is_held_by_other(&target) { Err(io::ErrorKind::ResourceBusy.into()) } else { Ok(()) };
        }
    }
    let result = link_draft(&draft, &target);
    let _ = fs::remove_file(&draft);
    result
}

/// Removes the lock when it is this process's own.
pub fn release(directory: &Path, device: &Path) {
    let target = path(directory, device);
    if read_holder(&target).is_some_and(|holder| holder.pid == Pid::this()) {
        let _ = fs::remove_file(target);
    }
}

fn write_draft(draft: &Path, own: Pid) -> io::Result<()> {
    let _ = fs::remove_file(draft);
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o644).open(draft)?;
    // The second line is ours: numbers of dead processes are given to new ones, sooner in a PID namespace than
    // elsewhere, and a lock must not outlive its owner because of that. Others read the first number only.
    match process_start(own) {
        Ok(start) => write!(file, "{:>10}\n{start}\n", own.as_raw()),
        Err(_) => writeln!(file, "{:>10}", own.as_raw()),
    }
}

/// Linking is atomic and fails when the target exists.
fn link_draft(draft: &Path, target: &Path) -> io::Result<()> {
    for _ in 0..3 {
        match fs::hard_link(draft, target) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                if is_held_by_other(target) {
                    return Err(io::ErrorKind::ResourceBusy.into());
                }
                if let Err(error) = fs::remove_file(target)
                    && error.kind() != io::ErrorKind::NotFound
                {
                    // Another user's leftover in a sticky directory.
                    log::info!("Stale lock {} stays: {error}", target.display());
                    return Ok(());
                }
            }
            Err(error) => {
                log::debug!("No lock file {}: {error}", target.display());
                return Ok(());
            }
        }
    }
    // Removed and made again under our eyes: somebody else wants the line just now.
    Err(io::ErrorKind::ResourceBusy.into())
}

struct Holder {
    pid: Pid,
    start: Option<u64>,
}

fn read_holder(target: &Path) -> Option<Holder> {
    let text = fs::read_to_string(target).ok()?;
    let mut words = text.split_ascii_whitespace();
    let pid = words.next()?.parse().ok().filter(|pid| *pid > 0)?;
    Some(Holder { pid: Pid::from_raw(pid), start: words.next().and_then(|word| word.parse().ok()) })
}

/// A lock that cannot be read or holds no number is stale.
fn is_held_by_other(target: &Path) -> bool {
    let Some(holder) = read_holder(target) else { return false };
    if holder.pid == Pid::this() || kill(holder.pid, None) == Err(Errno::ESRCH) {
        return false;
    }
    match (holder.start, process_start(holder.pid)) {
        (Some(then), Ok(now)) => then == now,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory of its own, removed at the end.
    struct Directory(PathBuf);

    impl Directory {
        fn new() -> Self {
            let template = std::env::temp_dir().join("lock-XXXXXX");
            Self(nix::unistd::mkdtemp(&template).unwrap())
        }
    }

    impl Drop for Directory {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    const DEVICE: &str = "/dev/pts/17";

    #[test]
    fn path_keeps_letters_and_digits_only() {
        assert_eq!(path(Path::new("/var/lock"), Path::new("/dev/ttyS0")), Path::new("/var/lock/LCK..ttyS0"));
        assert_eq!(path(Path::new("/x"), Path::new("/dev/pts/0")), Path::new("/x/LCK..pts0"));
        assert_eq!(path(Path::new("/x"), Path::new("/tmp/a-b.c")), Path::new("/x/LCK..tmpabc"));
    }

    #[test]
    fn lock_taken_holds_pid_in_ten_columns_and_is_released() {
        let directory = Directory::new();
        let device = Path::new(DEVICE);
        acquire(&directory.0, device).unwrap();
        acquire(&directory.0, device).unwrap();
        let text = fs::read_to_string(directory.0.join("LCK..pts17")).unwrap();
        assert_eq!(text.lines().next().unwrap(), format!("{:>10}", std::process::id()));
        assert_eq!(fs::read_dir(&directory.0).unwrap().count(), 1, "no draft is left");
        release(&directory.0, device);
        assert_eq!(fs::read_dir(&directory.0).unwrap().count(), 0);
    }

    #[test]
    fn lock_of_living_process_refuses_and_is_not_released() {
        let directory = Directory::new();
        let file = directory.0.join("LCK..pts17");
        fs::write(&file, format!("{:>10}\n", std::os::unix::process::parent_id())).unwrap();
        let error = acquire(&directory.0, Path::new(DEVICE)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ResourceBusy);
        release(&directory.0, Path::new(DEVICE));
        assert!(file.exists());
    }

    #[test]
    fn lock_of_dead_or_reborn_process_or_garbage_is_replaced() {
        let directory = Directory::new();
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let dead = child.id();
        child.wait().unwrap();
        let reborn = format!("{:>10}\n1\n", std::os::unix::process::parent_id());
        for text in [format!("{dead:>10}\n"), reborn, "garbage".to_owned(), String::new(), "-1\n".to_owned()] {
            fs::write(directory.0.join("LCK..pts17"), &text).unwrap();
            acquire(&directory.0, Path::new(DEVICE)).unwrap();
            let holder = read_holder(&directory.0.join("LCK..pts17")).unwrap();
            assert_eq!(holder.pid, Pid::this(), "{text:?}");
        }
    }

    #[test]
    fn lock_directory_absent_is_no_obstacle() {
        acquire(Path::new("/nonexistent/lock"), Path::new(DEVICE)).unwrap();
    }
}
