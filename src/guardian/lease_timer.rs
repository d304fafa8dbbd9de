//! Goes off when the engine has not stamped its lease for a while, so that nobody has to wake up now and then to look.
//!
//! One timerfd(2) for the three processes: the engine sets it anew with each stamp, guardian and logger wait for it among
//! their other descriptors. In quiet times it never goes off. It only says when to look; the stamp decides.
//!
//! Nobody reads it: what is read by one would be missed by the other. It stays ready until the engine sets it again;
//! [`LeaseTimer::is_armed`] tells those who wait whether to wait for it or to look by their own clock.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::rc::Rc;
use std::time::Duration;

use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

/// The timer. Copies, and those of children made by fork, are one.
#[derive(Debug, Clone)]
pub struct LeaseTimer(Rc<TimerFd>);

impl LeaseTimer {
    /// A timer that is not set. It counts what a suspended board has slept, as stamps do.
    ///
    /// # Errors
    /// What timerfd_create(2) says.
    pub fn new() -> io::Result<Self> {
        let flags = TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK;
        Ok(Self(Rc::new(TimerFd::new(ClockId::CLOCK_BOOTTIME, flags)?)))
    }

    /// The engine has stamped: look when it has not done so again after this time.
    pub fn arm(&self, after: Duration) {
        let once = Expiration::OneShot(TimeSpec::from_duration(after));
        // It cannot fail with a timer of ours; if it did, the others would look by their own clocks.
        let _ = self.0.set(once, TimerSetTimeFlags::empty());
    }

    /// Whether it is running: set, and not gone off yet.
    pub fn is_armed(&self) -> bool {
        matches!(self.0.get(), Ok(Some(_)))
    }
}

impl AsFd for LeaseTimer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for LeaseTimer {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

    use super::*;

    fn is_ready(timer: &LeaseTimer, limit: PollTimeout) -> bool {
        poll(&mut [PollFd::new(timer.as_fd(), PollFlags::POLLIN)], limit).unwrap() == 1
    }

    #[test]
    fn lease_timer_goes_off_and_stays_so_until_it_is_set_again() {
        let timer = LeaseTimer::new().unwrap();
        assert!(!timer.is_armed());
        timer.arm(Duration::from_millis(1));
        assert!(is_ready(&timer, PollTimeout::NONE));
        assert!(is_ready(&timer.clone(), PollTimeout::ZERO), "nobody takes it from another");
        assert!(!timer.is_armed());
        timer.arm(Duration::from_secs(3600));
        assert!(timer.is_armed());
        assert!(!is_ready(&timer, PollTimeout::ZERO));
    }
}
