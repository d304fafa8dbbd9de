//! Descriptors that must not reach the programs we start.

use std::fs;
use std::io;

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::libc;
use std::os::fd::BorrowedFd;

/// From `linux/close_range.h`; the libc crate does not have it everywhere.
const CLOSE_RANGE_CLOEXEC: libc::c_uint = 4;

/// Marks every descriptor of this process from 3 upwards close-on-exec: also those that we were started with.
///
/// # Errors
/// Before Linux 5.11, when /proc is not there.
pub fn close_all_on_exec() -> io::Result<()> {
    // SAFETY: three integers go in; no memory of ours is touched.
    let result = unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, CLOSE_RANGE_CLOEXEC) };
    if result == 0 {
        return Ok(());
    }
    let numbers: Vec<i32> = fs::read_dir("/proc/self/fd")?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|&number| number > 2)
        .collect();
    for number in numbers {
        // SAFETY: borrowed for one fcntl; a number that has been closed meanwhile only gives EBADF.
        let descriptor = unsafe { BorrowedFd::borrow_raw(number) };
        let _ = fcntl(descriptor, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn open_descriptor_becomes_close_on_exec() {
        let file = File::open("/dev/null").unwrap();
        fcntl(file.as_fd(), FcntlArg::F_SETFD(FdFlag::empty())).unwrap();
        close_all_on_exec().unwrap();
        let flags = fcntl(file.as_fd(), FcntlArg::F_GETFD).unwrap();
        assert_eq!(FdFlag::from_bits_truncate(flags), FdFlag::FD_CLOEXEC);
    }
}
