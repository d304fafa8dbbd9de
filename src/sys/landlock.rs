//! Landlock (Linux 5.13): this process opens nothing more by a name, whoever it runs as. A second wall behind the list of
//! system calls. Three calls with fixed numbers: a crate for rules that we have none of would be larger than they.

use std::io;

use nix::errno::Errno;
use nix::libc::{self, c_long};

/// `struct landlock_ruleset_attr` of Linux 6.12; an older kernel takes the beginning of it.
#[repr(C)]
#[derive(Debug, Default)]
struct Handled {
    files: u64,
    network: u64,
    scoped: u64,
}

/// `LANDLOCK_CREATE_RULESET_VERSION`.
const ASK_VERSION: libc::c_uint = 1;
/// All rights to files that a version knows (`linux/landlock.h`): 13 bits at first, then a link from elsewhere, truncation
/// and ioctl(2) on devices that are opened later.
const FILE_RIGHTS: [(c_long, u64); 4] =
    [(5, (1 << 16) - 1), (3, (1 << 15) - 1), (2, (1 << 14) - 1), (1, (1 << 13) - 1)];
/// TCP: bind and connect.
const NETWORK: (c_long, u64) = (4, 0b11);
/// Sockets with an abstract name that others have made. Signals are not: clients may ask for them.
const SCOPED: (c_long, u64) = (6, 0b01);

/// Nothing is opened, made, or removed by a name any more, no TCP connection made; what is open stays. For ever, and for
/// children. `no_new_privs` has to be set. Returns the version that the kernel has.
///
/// # Errors
/// What landlock_create_ruleset(2) says: ENOSYS where the kernel has none, EOPNOTSUPP where it is switched off.
pub fn forbid_all() -> io::Result<c_long> {
    let nothing: *const Handled = std::ptr::null();
    // SAFETY: with this flag the call takes a null pointer and only answers with a number.
    let asked = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, nothing, 0usize, ASK_VERSION) };
    let version = Errno::result(asked)?;
    let known = |(since, bits): (c_long, u64)| if version >= since { bits } else { 0 };
    let files = FILE_RIGHTS.into_iter().map(known).find(|bits| *bits != 0).unwrap_or_default();
    let handled = Handled { files, network: known(NETWORK), scoped: known(SCOPED) };
    let len = if version >= SCOPED.0 {
        size_of::<Handled>()
    } else if version >= NETWORK.0 {
        2 * size_of::<u64>()
    } else {
        size_of::<u64>()
    };
    // SAFETY: the kernel reads `len` bytes of `handled`, which is at least as long.
    let ruleset = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, &raw const handled, len, 0) };
    let ruleset = Errno::result(ruleset)?;
    // SAFETY: the number of the descriptor that the kernel has just made.
    let restricted = unsafe { libc::syscall(libc::SYS_landlock_restrict_self, ruleset, 0) };
    let restricted = Errno::result(restricted);
    // SAFETY: nobody else owns it.
    unsafe { libc::syscall(libc::SYS_close, ruleset) };
    restricted?;
    Ok(version)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Read as _;

    use super::*;
    use crate::sys::process::fork_child;
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    use nix::sys::prctl;
    use nix::sys::wait::WaitStatus;
    use std::os::fd::AsFd as _;

    #[test]
    fn nothing_is_opened_any_more_and_what_is_open_stays() {
        let child = fork_child(|| {
            let mut open = File::open("/proc/self/stat").unwrap();
            prctl::set_no_new_privs().unwrap();
            match forbid_all() {
                Err(error) if matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EOPNOTSUPP)) => return 0,
                result => assert!(result.unwrap() >= 1),
            }
            assert!(open.read(&mut [0; 8]).unwrap() > 0);
            let refused = File::open("/proc/self/stat").unwrap_err();
            i32::from(refused.kind() != io::ErrorKind::PermissionDenied)
        })
        .unwrap();
        poll(&mut [PollFd::new(child.pidfd.as_fd(), PollFlags::POLLIN)], PollTimeout::NONE).unwrap();
        assert!(matches!(child.try_wait().unwrap(), Some(WaitStatus::Exited(_, 0))));
    }
}
