//! Who else has a file open.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::libc;

/// From the kernel's `asm-generic/fcntl.h`; the libc crate does not have it.
const F_SETSIG: libc::c_int = 10;

/// Whether `file` is open somewhere else too, in this process or another.
///
/// Asks for a write lease and gives it back at once. `file` must be the only descriptor of the caller's own opening of
/// a regular file. `Err` where the file system has no leases.
///
/// # Errors
/// What fcntl(2) says when it cannot be told.
pub fn is_open_elsewhere(file: BorrowedFd<'_>) -> io::Result<bool> {
    let raw = file.as_raw_fd();
    // Somebody may open the file while we have the lease; the kernel then tells us by a signal whose default is not
    // to end the process.
    fcntl(raw, F_SETSIG, libc::SIGURG)?;
    match fcntl(raw, libc::F_SETLEASE, libc::F_WRLCK) {
        Ok(()) => {
            fcntl(raw, libc::F_SETLEASE, libc::F_UNLCK)?;
            Ok(false)
        }
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(true),
        Err(error) => Err(error),
    }
}

fn fcntl(raw: i32, command: libc::c_int, argument: libc::c_int) -> io::Result<()> {
    // SAFETY: these commands take an integer; no memory of ours is touched.
    let result = unsafe { libc::fcntl(raw, command, argument) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn second_opening_is_noticed_and_its_end_too() {
        let path = std::env::temp_dir().join(format!("nullbeat-holders-{}", std::process::id()));
        let ours = File::options().read(true).write(true).create_new(true).open(&path).unwrap();
        assert!(!is_open_elsewhere(ours.as_fd()).unwrap());
        let other = File::options().append(true).open(&path).unwrap();
        assert!(is_open_elsewhere(ours.as_fd()).unwrap());
        drop(other);
        assert!(!is_open_elsewhere(ours.as_fd()).unwrap());
        std::fs::remove_file(&path).unwrap();
    }
}
