//! epoll_pwait2(2): a wait that ends on the microsecond without a timer of its own to be set each time.

use std::io;
use std::os::fd::AsRawFd;
use std::time::Duration;

use nix::errno::Errno;
use nix::libc;
use nix::sys::epoll::{Epoll, EpollEvent, EpollTimeout};

/// The kernel's `__kernel_timespec`: 64 bits each on every machine.
#[repr(C)]
struct KernelTimespec {
    seconds: i64,
    nanoseconds: i64,
}

/// Waits until something in `epoll` is ready or `timeout` has passed; `None`: for ever. Returns how many of `events` were
/// filled in.
///
/// The time passes on CLOCK_MONOTONIC, which stands still while a board is suspended: callers compare with their own
/// clock after waking.
///
/// # Errors
/// What epoll_pwait2(2) says; `Unsupported` on kernels before 5.11, see [`wait_millis`].
pub fn wait_precisely(epoll: &Epoll, events: &mut [EpollEvent], timeout: Option<Duration>) -> io::Result<usize> {
    let limit = timeout.map(|timeout| KernelTimespec {
        seconds: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
        nanoseconds: i64::from(timeout.subsec_nanos()),
    });
    let limit_pointer = limit.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    let room = libc::c_int::try_from(events.len()).unwrap_or(libc::c_int::MAX);
    let no_mask: *const libc::sigset_t = std::ptr::null();
    // SAFETY: `events` is writable for `room` entries, each of which is the kernel's structure and nothing else
    // (`repr(transparent)`); the time is only read; without a mask its size is not looked at.
    let count = unsafe {
        libc::syscall(
            libc::SYS_epoll_pwait2,
            epoll.0.as_raw_fd(),
            events.as_mut_ptr(),
            room,
            limit_pointer,
            no_mask,
            0usize,
        )
    };
    Ok(usize::try_from(Errno::result(count)?).unwrap_or(0))
}

/// The same in whole milliseconds, rounded up, for older kernels.
///
/// # Errors
/// What epoll_wait(2) says.
pub fn wait_millis(epoll: &Epoll, events: &mut [EpollEvent], timeout: Option<Duration>) -> io::Result<usize> {
    let millis = timeout.map_or(EpollTimeout::NONE, |timeout| {
        let rounded = timeout.as_nanos().div_ceil(1_000_000);
        EpollTimeout::try_from(i32::try_from(rounded).unwrap_or(i32::MAX)).unwrap_or(EpollTimeout::MAX)
    });
    Ok(epoll.wait(events, millis)?)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;
    use std::time::Instant;

    use nix::sys::epoll::{EpollCreateFlags, EpollFlags};

    use super::*;

    type Wait = fn(&Epoll, &mut [EpollEvent], Option<Duration>) -> io::Result<usize>;

    fn check(wait: Wait) {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).unwrap();
        let (reader, writer) = io::pipe().unwrap();
        epoll.add(reader.as_fd(), EpollEvent::new(EpollFlags::EPOLLIN, 7)).unwrap();
        let mut events = [EpollEvent::empty(); 4];
        assert_eq!(wait(&epoll, &mut events, Some(Duration::ZERO)).unwrap(), 0);
        let start = Instant::now();
        assert_eq!(wait(&epoll, &mut events, Some(Duration::from_micros(2500))).unwrap(), 0);
        assert!(start.elapsed() >= Duration::from_micros(2500));
        nix::unistd::write(&writer, b"x").unwrap();
        assert_eq!(wait(&epoll, &mut events, None).unwrap(), 1);
        assert_eq!((events[0].data(), events[0].events()), (7, EpollFlags::EPOLLIN));
    }

    #[test]
    fn wait_precise_tells_what_is_ready_and_ends_in_time() {
        check(wait_precisely);
    }

    #[test]
    fn wait_in_milliseconds_tells_what_is_ready_and_ends_in_time() {
        check(wait_millis);
    }
}
