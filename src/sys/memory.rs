//! Keeping pages where they are: a daemon that must answer within milliseconds waits for no disk.

use std::hint::black_box;
use std::io;

use nix::sys::mman::{MlockAllFlags, mlockall};
use nix::sys::resource::{RLIM_INFINITY, Resource, setrlimit};

/// Stack that is touched in advance: more than any path of engine or guardian needs.
const STACK_RESERVE: usize = 48 * 1024;

/// Locks what is mapped now and what will be mapped later, and touches the stack that will be needed.
///
/// Where the limit may be raised it is raised first: a process that gives up its privileges afterwards would else be
/// refused its next page (MCL_FUTURE with a small RLIMIT_MEMLOCK turns every allocation into a failure). Where it may
/// not be raised only what is mapped now is locked.
///
/// # Errors
/// `PermissionDenied` or `OutOfMemory` where the limits forbid it: nothing is locked then.
pub fn lock() -> io::Result<()> {
    touch_stack();
    let is_unlimited = setrlimit(Resource::RLIMIT_MEMLOCK, RLIM_INFINITY, RLIM_INFINITY).is_ok();
    let later = if is_unlimited { MlockAllFlags::MCL_FUTURE } else { MlockAllFlags::empty() };
    mlockall(MlockAllFlags::MCL_CURRENT | later)?;
    Ok(())
}

#[inline(never)]
fn touch_stack() {
    let mut reserve = [0u8; STACK_RESERVE];
    for byte in reserve.iter_mut().step_by(1024) {
        *byte = 1;
    }
    black_box(&reserve);
}
