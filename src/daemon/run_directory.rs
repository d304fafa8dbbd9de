//! The run directory of one node: the lock that makes its daemon the only one, the pid file, the control socket.

use std::fmt;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::num::ParseIntError;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, FcntlArg, FdFlag, Flock, FlockArg, OFlag, fcntl, open};
use nix::sys::stat::Mode;
use nix::unistd::{Gid, Uid, fchownat};

use super::{move_page, pid_file};
use crate::api::client::SOCKET_NAME;
use crate::api::ipc;
use crate::api::membership::server;
use crate::config::names;
use crate::guardian::directory::{self, Existing};
use crate::guardian::lease;
use crate::sys::process::inherited_descriptor;

/// The lock's file.
const LOCK: &str = "lock";
/// The guardian's number, in Heartbeat's format (spec/config.md section 6).
const PID: &str = "pid";
/// The control socket, for `status` and the other verbs.
pub const CONTROL: &str = "control";
/// Where resource scripts of Heartbeat's keep their notes.
const SCRIPT_DIRECTORY: &str = "/run/heartbeat/rsctmp";
/// Members of this group may read the state.
pub const READERS: &str = "haclient";

/// Where Heartbeat's clients look.
const HEARTBEAT_DIRECTORY: &str = "/run/heartbeat";
/// Its owner and group.
const HEARTBEAT_USER: &str = "hacluster";
/// Of the socket of the client interface.
const CLIENTS_MODE: u32 = 0o777;
/// Of the control socket.
const CONTROL_MODE: u32 = 0o660;

/// Where the daemon of this run directory serves Heartbeat's clients.
pub fn clients_socket(run_directory: &Path) -> PathBuf {
    client_directory(run_directory).join(SOCKET_NAME)
}

/// Where programs learn of the membership, be it of this daemon's service or of a packaged one that it runs.
pub fn membership_socket(run_directory: &Path) -> PathBuf {
    client_directory(run_directory).join(server::SOCKET_NAME)
}

/// Where the sockets of Heartbeat's clients are.
fn client_directory(run_directory: &Path) -> &Path {
    let is_usual = pid_file::of_heartbeat(run_directory).is_some();
    if is_usual { Path::new(HEARTBEAT_DIRECTORY) } else { run_directory }
}

/// Heartbeat's user and group; numbers.
fn heartbeat_owner() -> Option<(u32, u32)> {
    names::user(HEARTBEAT_USER).map(|user| user.uid).zip(names::group(READERS))
}

/// Heartbeat's directories with the owner and the mode that its start script gives them (spec/api.md 1.1): only its user's
/// and its group's programs come in, however open a socket is, and some of them have sockets of their own in there. A run
/// directory that was moved keeps its own mode.
fn make_client_directories(path: &Path) -> io::Result<()> {
    let top = (path == Path::new(HEARTBEAT_DIRECTORY)).then(|| path.to_owned());
    for directory in top.into_iter().chain([path.join("ccm"), path.join("dopd")]) {
        directory::make(&directory, 0o750, heartbeat_owner(), Existing::Repaired)?;
    }
    Ok(())
}

/// The directory of a service's socket, for a service that no start script has made one for.
///
/// # Errors
/// What making it says.
pub(super) fn make_socket_directory(path: &Path) -> io::Result<()> {
    if path == Path::new(HEARTBEAT_DIRECTORY) {
        return make_client_directories(path);
    }
    DirBuilder::new().recursive(true).mode(0o755).create(path)
}

/// Gives a socket to its user and group: this very socket, whatever else is put in its place.
fn give_socket(path: &Path, user: Option<u32>, group: u32) -> io::Result<()> {
    // Not by `OpenOptions`: with musl's headers it takes O_PATH for a way of access, and leaves it out.
    let socket = File::from(open(path, OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC, Mode::empty())?);
    let found = socket.metadata()?;
    if !found.file_type().is_socket() || found.nlink() != 1 {
        return Err(io::Error::other(format!("{} was replaced by something else", path.display())));
    }
    fchownat(&socket, c"", user.map(Uid::from_raw), Some(Gid::from_raw(group)), AtFlags::AT_EMPTY_PATH)?;
    Ok(())
}

/// Why the lock could not be had.
#[derive(Debug)]
pub enum LockError {
    /// A daemon holds it; its number, when the pid file has one.
    Held(Option<i32>),
    /// Something else.
    Io(io::Error),
}

impl From<io::Error> for LockError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Descriptors that a program leaves open for the one it executes, on the command line as `LOCK` or `LOCK,CONTROL`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Inheritance {
    lock: RawFd,
    control: Option<RawFd>,
}

impl fmt::Display for Inheritance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.lock)?;
        self.control.map_or(Ok(()), |control| write!(f, ",{control}"))
    }
}

impl FromStr for Inheritance {
    type Err = ParseIntError;

    fn from_str(text: &str) -> Result<Self, ParseIntError> {
        let (lock, control) = text.split_once(',').map_or((text, None), |(lock, control)| (lock, Some(control)));
        Ok(Self { lock: lock.parse()?, control: control.map(str::parse).transpose()? })
    }
}

/// The locked run directory. The lock goes with the process: children close it.
#[derive(Debug)]
pub struct RunDirectory {
    path: PathBuf,
    lock: Flock<File>,
    control: Option<OwnedFd>,
    clients: Option<OwnedFd>,
    membership: Option<OwnedFd>,
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

    /// Takes over what this process held before it executed a new program ([`RunDirectory::bequeath`]).
    ///
    /// # Errors
    /// As [`RunDirectory::lock`].
    pub fn inherit(path: &Path, left: Inheritance) -> Result<Self, LockError> {
        let take_over = |number| -> io::Result<OwnedFd> {
            let descriptor = inherited_descriptor(number)?;
            fcntl(&descriptor, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
            Ok(descriptor)
        };
        let mut directory = Self::take(path, File::from(take_over(left.lock)?))?;
        directory.control = left.control.map(take_over).transpose()?;
        Ok(directory)
    }

    fn take(path: &Path, file: File) -> Result<Self, LockError> {
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => Ok(Self { path: path.to_owned(), lock, control: None, clients: None, membership: None }),
            Err((_, Errno::EWOULDBLOCK)) => Err(LockError::Held(pid_file::read(&path.join(PID)))),
            Err((_, error)) => Err(LockError::Io(error.into())),
        }
    }

    /// Leaves lock and control socket open for the program that this process is about to execute.
    ///
    /// # Errors
    /// What fcntl(2) says.
    pub fn bequeath(&self) -> io::Result<Inheritance> {
        self.set_close_on_exec(FdFlag::empty())?;
        Ok(Inheritance { lock: self.lock.as_raw_fd(), control: self.control.as_ref().map(AsRawFd::as_raw_fd) })
    }

    /// The execution failed: both are closed on exec again.
    pub fn keep(&self) {
        // Cannot fail for open descriptors.
        let _ = self.set_close_on_exec(FdFlag::FD_CLOEXEC);
    }

    fn set_close_on_exec(&self, flag: FdFlag) -> io::Result<()> {
        fcntl(self.lock.as_fd(), FcntlArg::F_SETFD(flag))?;
        if let Some(control) = &self.control {
            fcntl(control, FcntlArg::F_SETFD(flag))?;
        }
        Ok(())
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes this process's number, in the usual place also for Heartbeat's scripts.
    ///
    /// # Errors
    /// What writing says.
    pub fn write_pid(&self) -> io::Result<()> {
        pid_file::write(&self.path.join(PID))?;
        pid_file::of_heartbeat(&self.path).map_or(Ok(()), |path| pid_file::write(&path))
    }

    /// Makes Heartbeat's directory for what resource scripts note (spec/config.md section 6), beside the usual run
    /// directory only. Unlike the original's it is not emptied at a start: services may be running whose notes are in it.
    ///
    /// # Errors
    /// What mkdir(2) and chmod(2) say.
    pub fn make_script_directory(&self) -> io::Result<()> {
        if pid_file::of_heartbeat(&self.path).is_none() {
            return Ok(());
        }
        make_client_directories(Path::new(HEARTBEAT_DIRECTORY))?;
        directory::make(Path::new(SCRIPT_DIRECTORY), 0o1755, Some((0, 0)), Existing::Repaired)
    }

    /// Another daemon that Heartbeat's pid file names: Heartbeat itself, on this very board.
    pub fn heartbeat(&self) -> Option<i32> {
        let pid = pid_file::of_heartbeat(&self.path).and_then(|path| pid_file::read(&path))?;
        (pid.cast_unsigned() != std::process::id() && pid_file::is_daemon(pid)).then_some(pid)
    }

    /// The listening control socket: for root, and readable for the group `haclient` when there is one. It stays open
    /// here while engines come and go, so that who connects in between waits for the next one.
    ///
    /// # Errors
    /// What binding says.
    pub fn open_control(&mut self) -> io::Result<OwnedFd> {
        let path = self.path.join(CONTROL);
        if let Some(listener) = self.control.as_ref().filter(|_| path.exists()) {
            return listener.try_clone();
        }
        let listener = ipc::listen(&path, CONTROL_MODE)?;
        if Uid::effective().is_root()
            && let Some(group) = names::group(READERS)
        {
            give_socket(&path, None, group)?;
        }
        self.control.insert(listener.into()).try_clone()
    }

    /// The listening socket of Heartbeat's client interface: in `/run/heartbeat` beside the usual run directory, else in
    /// this one. Open to all; who may do what is decided when a client signs on. It stays open here as the control socket does.
    ///
    /// # Errors
    /// What binding says, and making Heartbeat's directory.
    pub fn open_clients(&mut self) -> io::Result<OwnedFd> {
        let path = clients_socket(&self.path);
        if let Some(listener) = self.clients.as_ref().filter(|_| path.exists()) {
            return listener.try_clone();
        }
        if let Some(parent) = path.parent().filter(|parent| *parent != self.path) {
            make_client_directories(parent)?;
        }
        self.clients.insert(ipc::listen(&path, CLIENTS_MODE)?.into()).try_clone()
    }

    /// The listening socket of the membership service, in a directory beside that of the client interface; its owner is the
    /// one that Heartbeat's service runs as.
    ///
    /// # Errors
    /// What binding says, and making the directories.
    pub fn open_membership(&mut self) -> io::Result<OwnedFd> {
        let path = membership_socket(&self.path);
        if let Some(listener) = self.membership.as_ref().filter(|_| path.exists()) {
            return listener.try_clone();
        }
        make_client_directories(client_directory(&self.path))?;
        let listener = ipc::listen(&path, CLIENTS_MODE)?;
        if let Some((user, group)) = heartbeat_owner() {
            give_socket(&path, Some(user), group)?;
        }
        self.membership.insert(listener.into()).try_clone()
    }

    /// No engine is going to listen soon: who connects is refused, not kept waiting.
    pub fn close_control(&mut self) {
        self.control = None;
        self.clients = None;
        self.membership = None;
    }

    /// Removes what is only there while a daemon runs: after an orderly end nothing is held, and nobody needs a lease.
    pub fn clear(&self) {
        for name in [PID, CONTROL, lease::FILE_NAME, move_page::FILE_NAME] {
            let _ = fs::remove_file(self.path.join(name));
        }
        let _ = fs::remove_file(clients_socket(&self.path));
        if self.membership.is_some() {
            let _ = fs::remove_file(membership_socket(&self.path));
        }
        if let Some(path) = pid_file::of_heartbeat(&self.path) {
            pid_file::remove(&path);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::net::UnixListener;

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
            Err(LockError::Held(Some(pid))) => assert_eq!(pid.cast_unsigned(), std::process::id()),
            other => panic!("{other:?}"),
        }
        drop(first);
        RunDirectory::lock(&path).unwrap();
    }

    fn is_closed_on_exec(descriptor: impl AsFd) -> bool {
        FdFlag::from_bits_retain(fcntl(descriptor, FcntlArg::F_GETFD).unwrap()).contains(FdFlag::FD_CLOEXEC)
    }

    #[test]
    fn run_directory_outlives_an_exec() {
        let scratch = Scratch::new();
        let mut first = RunDirectory::lock(&scratch.0).unwrap();
        drop(first.open_control().unwrap());
        first.bequeath().unwrap();
        assert!(!is_closed_on_exec(&*first.lock) && !is_closed_on_exec(first.control.as_ref().unwrap()));
        first.keep();
        assert!(is_closed_on_exec(&*first.lock) && is_closed_on_exec(first.control.as_ref().unwrap()));

        // What exec leaves over: the same open files, and no owner in the new program.
        let copy = |descriptor| std::os::fd::IntoRawFd::into_raw_fd(nix::unistd::dup(descriptor).unwrap());
        let lock = copy(first.lock.as_fd());
        let control = copy(first.control.as_ref().unwrap().as_fd());
        let line = Inheritance { lock, control: Some(control) }.to_string();
        let mut second = RunDirectory::inherit(&scratch.0, line.parse().unwrap()).unwrap();
        assert!(matches!(RunDirectory::lock(&scratch.0), Err(LockError::Held(_))));
        assert!(is_closed_on_exec(&*second.lock));
        first.close_control();
        drop(second.open_control().unwrap());
        std::os::unix::net::UnixStream::connect(scratch.0.join(CONTROL)).unwrap();
        // Its end would unlock the file for both.
        std::mem::forget(first);
    }

    #[test]
    fn run_directory_inherits_nothing_from_a_closed_number() {
        let scratch = Scratch::new();
        let left = Inheritance { lock: 1_000_000, control: None };
        assert!(matches!(RunDirectory::inherit(&scratch.0, left), Err(LockError::Io(_))));
        assert!("7,x".parse::<Inheritance>().is_err());
        assert_eq!("7".parse(), Ok(Inheritance { lock: 7, control: None }));
    }

    #[test]
    fn run_directory_control_socket_replaces_that_of_a_killed_daemon() {
        use std::os::unix::net::UnixStream;
        let scratch = Scratch::new();
        let path = scratch.0.join(CONTROL);
        drop(UnixListener::bind(&path).unwrap());
        assert!(UnixStream::connect(&path).is_err());
        let mut directory = RunDirectory::lock(&scratch.0).unwrap();
        drop(directory.open_control().unwrap());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
        UnixStream::connect(&path).expect("waits for the next engine");
        directory.close_control();
        assert!(UnixStream::connect(&path).is_err());
        directory.open_control().unwrap();
        directory.clear();
        assert!(!path.exists());
    }

    #[test]
    fn run_directory_control_socket_that_was_removed_is_made_again() {
        let scratch = Scratch::new();
        let mut directory = RunDirectory::lock(&scratch.0).unwrap();
        let _first = directory.open_control().unwrap();
        fs::remove_file(scratch.0.join(CONTROL)).unwrap();
        let _second = directory.open_control().unwrap();
        std::os::unix::net::UnixStream::connect(scratch.0.join(CONTROL)).unwrap();
    }
}
