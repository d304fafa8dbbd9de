//! A watchdog without hardware, for unit tests.

use std::cell::Cell;
use std::io;

use nix::libc;

use super::{PRETIMEOUT, ResetCause, SET_TIMEOUT, Support, Watchdog};

/// Notes what it is told.
#[derive(Debug)]
pub(crate) struct FakeWatchdog {
    /// Longest timeout that it takes.
    pub(crate) longest: u32,
    /// It rounds up to multiples of this.
    pub(crate) step: u32,
    pub(crate) is_timeout_fixed: bool,
    pub(crate) has_pretimeout: bool,
    pub(crate) timeout: Cell<u32>,
    pub(crate) pretimeout: Cell<Option<u32>>,
    pub(crate) kicks: Cell<u32>,
    pub(crate) is_disarmed: Cell<bool>,
    /// What each kick comes to.
    pub(crate) kick_error: Cell<Option<i32>>,
}

impl Default for FakeWatchdog {
    fn default() -> Self {
        Self {
            longest: 2046,
            step: 1,
            is_timeout_fixed: false,
            has_pretimeout: false,
            timeout: Cell::new(30),
            pretimeout: Cell::new(None),
            kicks: Cell::new(0),
            is_disarmed: Cell::new(false),
            kick_error: Cell::new(None),
        }
    }
}

impl Watchdog for &FakeWatchdog {
    fn support(&self) -> io::Result<Support> {
        (**self).support()
    }
    fn reset_cause(&self) -> io::Result<ResetCause> {
        (**self).reset_cause()
    }
    fn set_timeout(&self, seconds: u32) -> io::Result<u32> {
        (**self).set_timeout(seconds)
    }
    fn timeout(&self) -> io::Result<u32> {
        (**self).timeout()
    }
    fn set_pretimeout(&self, seconds: u32) -> io::Result<()> {
        (**self).set_pretimeout(seconds)
    }
    fn kick(&self) -> io::Result<()> {
        (**self).kick()
    }
    fn disarm(&self) -> io::Result<()> {
        (**self).disarm()
    }
}

impl Watchdog for FakeWatchdog {
    fn support(&self) -> io::Result<Support> {
        let timeout = if self.is_timeout_fixed { 0 } else { SET_TIMEOUT };
        Ok(Support::new("fake timer", timeout | if self.has_pretimeout { PRETIMEOUT } else { 0 }))
    }

    fn reset_cause(&self) -> io::Result<ResetCause> {
        Ok(ResetCause::default())
    }

    fn set_timeout(&self, seconds: u32) -> io::Result<u32> {
        if seconds > self.longest {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
        self.timeout.set(seconds.next_multiple_of(self.step));
        Ok(self.timeout.get())
    }

    fn timeout(&self) -> io::Result<u32> {
        Ok(self.timeout.get())
    }

    fn set_pretimeout(&self, seconds: u32) -> io::Result<()> {
        self.pretimeout.set(Some(seconds));
        Ok(())
    }

    fn kick(&self) -> io::Result<()> {
        self.kicks.set(self.kicks.get() + 1);
        self.is_disarmed.set(false);
        self.kick_error.get().map_or(Ok(()), |error| Err(io::Error::from_raw_os_error(error)))
    }

    fn disarm(&self) -> io::Result<()> {
        self.is_disarmed.set(true);
        Ok(())
    }
}
