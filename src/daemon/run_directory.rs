//! The run directory of one node: the lock that makes its daemon the only one, the pid file, the control socket.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, Flock, FlockArg, fcntl};
use nix::unistd::{Group, Uid, chown};

use crate::guardian::lease;
use crate::sys::process::inherited_descriptor;

/// The lock's file.
const LOCK: &str = "lock";
/// The guardian's number, in Heartbeat's format (spec/config.md section 6).
const PID: &str = "pid";
/// The control socket, for `status` and the other verbs.
pub const CONTROL: &str = "control";
/// Members of this group may read the state.
const READERS: &str = "haclient";

/// Why the lock could not be had.
#[derive(Debug)]
pub enum LockError {
    /// A daemon holds it; its number, when the pid file has one.
    Held(Option<u32>),
    /// Something else.
    Io(io::Error),
}

impl From<io::Error> for LockError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// The locked run directory. The lock goes with the process: children close it.
#[derive(Debug)]
pub struct RunDirectory {
    path: PathBuf,
    lock: Flock<File>,
}

impl RunDirectory {
    /// Makes the directory when it is absent and takes its lock.
    ///
    /// # Errors
    /// [`LockError::Held`] while a daemon runs here.
    pub fn lock(path: &Path) -> Result<Self, LockError> {
        DirBuilder::new().recursive(true).mode(0o755).create(path)?;
        let file = fs::OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path.join(LOCK))?;
        Self::take(path, file)
    }

    /// Takes the lock over that this process held before it executed a new program ([`RunDirectory::bequeath`]).
    ///
    /// # Errors
    /// As [`RunDirectory::lock`].
    pub fn inherit(path: &Path, lock: RawFd) -> Result<Self, LockError> {
        let file = File::from(inherited_descriptor(lock)?);
        fcntl(&file, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).map_err(io::Error::from)?;
        Self::take(path, file)
    }

    fn take(path: &Path, file: File) -> Result<Self, LockError> {
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => Ok(Self { path: path.to_owned(), lock }),
            Err((_, Errno::EWOULDBLOCK)) => Err(LockError::Held(running_pid(path))),
            Err((_, error)) => Err(LockError::Io(error.into())),
        }
    }

    /// Leaves the lock open for the program that this process is about to execute, and gives its number.
    ///
    /// # Errors
    /// What fcntl(2) says.
    pub fn bequeath(&self) -> io::Result<RawFd> {
        fcntl(self.lock.as_fd(), FcntlArg::F_SETFD(FdFlag::empty()))?;
        Ok(self.lock.as_raw_fd())
    }

    /// The execution failed: the lock is closed on exec again.
    pub fn keep(&self) {
        // Cannot fail for an open descriptor.
        let _ = fcntl(self.lock.as_fd(), FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC));
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes this process's number.
    ///
    /// # Errors
    /// What writing says.
    pub fn write_pid(&self) -> io::Result<()> {
        let mut file =
            fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o644).open(self.path.join(PID))?;
        writeln!(file, "{:>10}", std::process::id())
    }

    /// A fresh listening control socket, in place of any old one: for root, and readable for the group `haclient` when
    /// there is one.
    ///
    /// # Errors
    /// What binding says.
    pub fn open_control(&self) -> io::Result<OwnedFd> {
        let path = self.path.join(CONTROL);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(&path)?;
        listener.set_nonblocking(true)?;
        if Uid::effective().is_root()
            && let Ok(Some(group)) = Group::from_name(READERS)
        {
            chown(&path, None, Some(group.gid))?;
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o660))?;
        Ok(listener.into())
    }

    /// Removes what is only there while a daemon runs: after an orderly end nothing is held, and nobody needs a lease.
    pub fn clear(&self) {
        for name in [PID, CONTROL, lease::FILE_NAME] {
            let _ = fs::remove_file(self.path.join(name));
        }
    }
}

fn running_pid(path: &Path) -> Option<u32> {
    fs::read_to_string(path.join(PID)).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Scratch(PathBuf);

    impl Scratch {
        fn new() -> Self {
            Self(nix::unistd::mkdtemp(&std::env::temp_dir().join("nullbeat-run-XXXXXX")).unwrap())
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }

    #[test]
    fn run_directory_has_one_daemon() {
        let scratch = Scratch::new();
        let path = scratch.0.join("a/b");
        let first = RunDirectory::lock(&path).unwrap();
        first.write_pid().unwrap();
        assert_eq!(fs::read_to_string(path.join(PID)).unwrap().len(), 11, "ten columns and a newline");
        match RunDirectory::lock(&path) {
            Err(LockError::Held(Some(pid))) => assert_eq!(pid, std::process::id()),
            other => panic!("{other:?}"),
        }
        drop(first);
        RunDirectory::lock(&path).unwrap();
    }

    #[test]
    fn run_directory_lock_outlives_an_exec() {
        let scratch = Scratch::new();
        let first = RunDirectory::lock(&scratch.0).unwrap();
        let number = first.bequeath().unwrap();
        assert!(
            !FdFlag::from_bits_retain(fcntl(first.lock.as_fd(), FcntlArg::F_GETFD).unwrap())
                .contains(FdFlag::FD_CLOEXEC)
        );
        first.keep();
        assert!(
            FdFlag::from_bits_retain(fcntl(first.lock.as_fd(), FcntlArg::F_GETFD).unwrap())
                .contains(FdFlag::FD_CLOEXEC)
        );
        // What exec leaves over: the same open file under the same number, and no owner in the new program.
        let copy = nix::unistd::dup(first.lock.as_fd()).unwrap();
        let copy = std::os::fd::IntoRawFd::into_raw_fd(copy);
        assert!(number >= 3 && copy != number);
        let second = RunDirectory::inherit(&scratch.0, copy).unwrap();
        assert!(matches!(RunDirectory::lock(&scratch.0), Err(LockError::Held(_))));
        std::mem::forget(first);
        drop(second);
    }

    #[test]
    fn run_directory_inherits_nothing_from_a_closed_number() {
        let scratch = Scratch::new();
        assert!(matches!(RunDirectory::inherit(&scratch.0, 1_000_000), Err(LockError::Io(_))));
    }

    #[test]
    fn run_directory_control_socket_replaces_an_old_one() {
        let scratch = Scratch::new();
        let directory = RunDirectory::lock(&scratch.0).unwrap();
        let old = directory.open_control().unwrap();
        let _new = directory.open_control().unwrap();
        let mode = fs::metadata(scratch.0.join(CONTROL)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o660);
        std::os::unix::net::UnixStream::connect(scratch.0.join(CONTROL)).unwrap();
        drop(old);
        directory.clear();
        assert!(!scratch.0.join(CONTROL).exists());
    }
}
