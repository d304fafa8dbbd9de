//! The rights of root that a process keeps (capabilities(7)).

use std::io;

use nix::errno::Errno;
use nix::libc;

/// `_LINUX_CAPABILITY_VERSION_3`: two words of each set.
const VERSION: u32 = 0x2008_0522;
/// Signals to processes of other users.
const KILL: u32 = 5;

#[repr(C)]
struct Header {
    version: u32,
    pid: libc::c_int,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Sets {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// Gives all of them up for good, or all but the right to send signals to others.
///
/// # Errors
/// What capset(2) says: the right to keep is not there.
pub fn give_up(keeps_signals: bool) -> io::Result<()> {
    let header = Header { version: VERSION, pid: 0 };
    let kept = if keeps_signals { 1 << KILL } else { 0 };
    let low = Sets { effective: kept, permitted: kept, inheritable: 0 };
    let sets = [low, Sets { effective: 0, permitted: 0, inheritable: 0 }];
    // SAFETY: version 3 reads a header and two sets, which are here; nothing is written but the header, on an unknown
    // version only, and the version is one that every kernel since 2.6.26 knows.
    let result = unsafe { libc::syscall(libc::SYS_capset, &raw const header, sets.as_ptr()) };
    Errno::result(result)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    use nix::sys::wait::WaitStatus;
    use std::os::fd::AsFd as _;

    use super::*;
    use crate::sys::process::fork_child;

    fn effective() -> String {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        status.lines().find_map(|line| line.strip_prefix("CapEff:")).unwrap().trim().to_owned()
    }

    #[test]
    fn rights_of_root_are_given_up() {
        let child = fork_child(|| {
            if give_up(true).is_ok() {
                assert_eq!(effective(), "0000000000000020");
            }
            give_up(false).unwrap();
            assert_eq!(effective(), "0000000000000000");
            assert!(give_up(true).is_err(), "for good");
            0
        })
        .unwrap();
        poll(&mut [PollFd::new(child.pidfd.as_fd(), PollFlags::POLLIN)], PollTimeout::NONE).unwrap();
        assert!(matches!(child.try_wait().unwrap(), Some(WaitStatus::Exited(_, 0))));
    }
}
