//! The rights of root that a process keeps (capabilities(7)).

use std::io;

use nix::errno::Errno;
use nix::libc;

/// `_LINUX_CAPABILITY_VERSION_3`: two words of each set.
const VERSION: u32 = 0x2008_0522;
/// Signals to processes of other users.
const KILL: u32 = 5;
/// What a process keeps that is to write logs and, at the very end, to stop groups and reset the board. A program that it
/// executes as root has all of root's rights again.
/// - `CAP_SYS_BOOT`: to reset the board;
/// - `CAP_DAC_OVERRIDE`, `CAP_DAC_READ_SEARCH`: logs and scripts that root does not own;
/// - `CAP_CHOWN`, `CAP_FOWNER`: the history is given to its readers;
/// - `CAP_SETGID`, `CAP_SETUID`: a program may be somebody else;
/// - `CAP_SYS_RESOURCE`: a program gets the ordinary score of the kernel's out-of-memory killer, and it has its own again.
const FOR_THE_END: [u32; 9] = [KILL, 22, 1, 2, 0, 3, 6, 7, 24];

#[repr(C)]
struct Header {
    version: u32,
    pid: libc::c_int,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
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
    keep(if keeps_signals { 1 << KILL } else { 0 })
}

/// Gives up what a process of root does not need that is the last one to stop groups: of what it has, it keeps signals, files,
/// identities of what it executes, and the reset.
///
/// # Errors
/// What capget(2) and capset(2) say.
pub fn keep_for_the_end() -> io::Result<()> {
    let header = Header { version: VERSION, pid: 0 };
    let mut sets = [Sets::default(); 2];
    // SAFETY: version 3 reads a header and writes two sets, which are here.
    let result = unsafe { libc::syscall(libc::SYS_capget, &raw const header, sets.as_mut_ptr()) };
    Errno::result(result)?;
    let wanted = FOR_THE_END.iter().fold(0, |mask, number| mask | 1 << number);
    keep(sets[0].permitted & wanted)
}

/// Of the first 32 these, of the others none.
fn keep(kept: u32) -> io::Result<()> {
    let header = Header { version: VERSION, pid: 0 };
    let sets = [Sets { effective: kept, permitted: kept, inheritable: 0 }, Sets::default()];
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
    fn rights_for_the_end_are_some_of_those_that_were_there() {
        let child = fork_child(|| {
            let had = u64::from_str_radix(&effective(), 16).unwrap();
            keep_for_the_end().unwrap();
            assert_eq!(u64::from_str_radix(&effective(), 16).unwrap(), had & 0x0140_00ef);
            give_up(false).unwrap();
            keep_for_the_end().unwrap();
            assert_eq!(effective(), "0000000000000000", "nothing comes back");
            0
        })
        .unwrap();
        poll(&mut [PollFd::new(child.pidfd.as_fd(), PollFlags::POLLIN)], PollTimeout::NONE).unwrap();
        assert!(matches!(child.try_wait().unwrap(), Some(WaitStatus::Exited(_, 0))));
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
