//! Real-time scheduling: `nix` has no wrapper for sched_setscheduler(2).
//!
//! The kernel is asked directly: in musl, which the static binary is linked with, the functions of these names do nothing
//! but fail with ENOSYS.

use std::io;
use std::ops::RangeInclusive;

use nix::errno::Errno;
use nix::libc;

/// For the kernel: the caller.
const THIS_THREAD: libc::pid_t = 0;

/// The kernel's `struct sched_param`. (musl's has more in it.)
#[repr(C)]
struct KernelSchedParam {
    priority: libc::c_int,
}

/// Priorities of the real-time class that we use (SCHED_FIFO; 1–99 on Linux).
///
/// # Errors
/// What sched_get_priority_min(2) says.
pub fn priority_range() -> io::Result<RangeInclusive<i32>> {
    // SAFETY: both calls take a plain number and touch no memory of ours.
    let (min, max) =
        unsafe { (libc::sched_get_priority_min(libc::SCHED_FIFO), libc::sched_get_priority_max(libc::SCHED_FIFO)) };
    Ok(Errno::result(min)?..=Errno::result(max)?)
}

/// Puts the calling process into the real-time class with this priority. Its children start in the ordinary class
/// again (SCHED_RESET_ON_FORK): no script ever runs in real time.
///
/// # Errors
/// `PermissionDenied` without CAP_SYS_NICE or a large enough RLIMIT_RTPRIO.
pub fn set_real_time(priority: i32) -> io::Result<()> {
    set(libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK, priority)
}

/// Puts the calling process back into the ordinary class.
///
/// # Errors
/// `PermissionDenied` where a reset-on-fork flag may not be cleared.
pub fn set_ordinary() -> io::Result<()> {
    set(libc::SCHED_OTHER, 0)
}

/// The scheduling policy of the calling process is a real-time one.
pub fn is_real_time() -> bool {
    // SAFETY: takes a plain number and touches no memory of ours.
    let policy = unsafe { libc::syscall(libc::SYS_sched_getscheduler, THIS_THREAD) };
    let policy = policy & !libc::c_long::from(libc::SCHED_RESET_ON_FORK);
    [libc::SCHED_FIFO, libc::SCHED_RR].iter().any(|class| libc::c_long::from(*class) == policy)
}

fn set(policy: i32, priority: i32) -> io::Result<()> {
    let parameters = KernelSchedParam { priority };
    // SAFETY: the kernel reads the structure during the call only.
    let result =
        unsafe { libc::syscall(libc::SYS_sched_setscheduler, THIS_THREAD, policy, std::ptr::from_ref(&parameters)) };
    Errno::result(result)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn priority_range_is_that_of_linux() {
        assert_eq!(priority_range().unwrap(), 1..=99);
    }

    #[test]
    fn priority_out_of_range_is_refused() {
        assert_eq!(set_real_time(0).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        assert!(!is_real_time());
    }
}
