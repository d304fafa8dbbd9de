//! Waits for descriptors and for one deadline: epoll and a timerfd. Knows no protocol.
//!
//! Everything is level-triggered: what a turn leaves unread wakes the next one.

use std::io;
use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

use crate::core::time::{Duration, Instant};

/// Descriptors that one wake-up can report; more are reported by the next one.
const EVENTS_MAX: usize = 32;

/// What a descriptor is to its owner; returned with each event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Token(pub u32);

/// The reactor's own.
const TIMER: u64 = u64::MAX;

/// One descriptor that is ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ready {
    /// As given with it.
    pub token: Token,
    /// Something can be read, or the end.
    pub is_readable: bool,
    /// Something can be written.
    pub is_writable: bool,
}

/// The one place where a process sleeps.
#[derive(Debug)]
pub struct Reactor {
    epoll: Epoll,
    timer: TimerFd,
    /// What the timer is set to; `None` when it is off.
    armed: Option<Instant>,
    /// The timer has rung and says so until it is set again.
    is_ringing: bool,
    events: [EpollEvent; EVENTS_MAX],
    count: usize,
}

impl Reactor {
    /// A reactor that waits for nothing yet. Instants are microseconds of CLOCK_BOOTTIME.
    ///
    /// # Errors
    /// What epoll_create1(2) and timerfd_create(2) say.
    pub fn new() -> io::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let timer = TimerFd::new(ClockId::CLOCK_BOOTTIME, TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK)?;
        epoll.add(&timer, EpollEvent::new(EpollFlags::EPOLLIN, TIMER))?;
        Ok(Self { epoll, timer, armed: None, is_ringing: false, events: [EpollEvent::empty(); EVENTS_MAX], count: 0 })
    }

    /// Watches a descriptor for reading.
    ///
    /// # Errors
    /// What epoll_ctl(2) says.
    pub fn add(&self, descriptor: impl AsFd, token: Token) -> io::Result<()> {
        self.epoll.add(descriptor, EpollEvent::new(EpollFlags::EPOLLIN, u64::from(token.0)))?;
        Ok(())
    }

    /// Watches it for writing as well, or no longer.
    ///
    /// # Errors
    /// What epoll_ctl(2) says.
    pub fn watch_writable(&self, descriptor: impl AsFd, token: Token, is_wanted: bool) -> io::Result<()> {
        let mut flags = EpollFlags::EPOLLIN;
        flags.set(EpollFlags::EPOLLOUT, is_wanted);
        self.epoll.modify(descriptor, &mut EpollEvent::new(flags, u64::from(token.0)))?;
        Ok(())
    }

    /// Forgets a descriptor. To be called before it is closed: a copy elsewhere would keep it alive here.
    ///
    /// # Errors
    /// What epoll_ctl(2) says.
    pub fn remove(&self, descriptor: impl AsFd) -> io::Result<()> {
        self.epoll.delete(descriptor)?;
        Ok(())
    }

    /// Sleeps until a descriptor is ready or `deadline` has come, whichever is first. It may wake up earlier: the timer
    /// is only set again when it would ring too late, which saves a system call for each deadline that moves away.
    ///
    /// # Errors
    /// What epoll_wait(2) and timerfd_settime(2) say. A signal is no error.
    pub fn wait(&mut self, deadline: Option<Instant>) -> io::Result<()> {
        self.arm(deadline)?;
        self.poll(EpollTimeout::NONE)
    }

    /// Looks which descriptors are ready, without sleeping.
    ///
    /// # Errors
    /// What epoll_wait(2) says.
    pub fn look(&mut self) -> io::Result<()> {
        self.poll(EpollTimeout::ZERO)
    }

    /// What the last [`Reactor::wait`] or [`Reactor::look`] has found.
    pub fn ready(&self) -> impl Iterator<Item = Ready> + use<> {
        let (events, count) = (self.events, self.count);
        (0..count).filter_map(move |index| {
            let event = events[index];
            let flags = event.events();
            let ends = EpollFlags::EPOLLIN | EpollFlags::EPOLLHUP | EpollFlags::EPOLLERR | EpollFlags::EPOLLRDHUP;
            u32::try_from(event.data()).ok().map(|token| Ready {
                token: Token(token),
                is_readable: flags.intersects(ends),
                is_writable: flags.contains(EpollFlags::EPOLLOUT),
            })
        })
    }

    fn poll(&mut self, timeout: EpollTimeout) -> io::Result<()> {
        self.count = 0;
        match self.epoll.wait(&mut self.events, timeout) {
            Ok(count) => self.count = count,
            Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        if self.events[..self.count].iter().any(|event| event.data() == TIMER) {
            self.is_ringing = true;
        }
        Ok(())
    }

    fn arm(&mut self, deadline: Option<Instant>) -> io::Result<()> {
        let rings_in_time = match (self.armed, deadline) {
            (Some(armed), Some(deadline)) => armed <= deadline,
            (_, None) => true,
            (None, Some(_)) => false,
        };
        if rings_in_time && !self.is_ringing {
            return Ok(());
        }
        match deadline {
            Some(at) => {
                // Zero would switch the timer off.
                let moment = Duration::from_micros(at.as_micros().max(1));
                self.timer.set(Expiration::OneShot(TimeSpec::from(moment)), TimerSetTimeFlags::TFD_TIMER_ABSTIME)?;
            }
            None => self.timer.unset()?,
        }
        self.armed = deadline;
        self.is_ringing = false;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;
    use crate::guardian::lease;

    fn now() -> Instant {
        Instant::from_micros(lease::now() / 1000)
    }

    #[test]
    fn reactor_wakes_at_the_deadline_and_not_before() {
        let mut reactor = Reactor::new().unwrap();
        let deadline = now() + Duration::from_millis(20);
        while now() < deadline {
            reactor.wait(Some(deadline)).unwrap();
            assert_eq!(reactor.ready().count(), 0, "the timer is nobody's token");
        }
    }

    #[test]
    fn reactor_earlier_deadline_replaces_later_one() {
        let mut reactor = Reactor::new().unwrap();
        let start = now();
        reactor.arm(Some(start + Duration::from_secs(3600))).unwrap();
        let deadline = start + Duration::from_millis(5);
        reactor.wait(Some(deadline)).unwrap();
        assert!(now() >= deadline && now() < start + Duration::from_secs(600));
    }

    #[test]
    fn reactor_deadline_that_has_passed_wakes_at_once_each_time() {
        let mut reactor = Reactor::new().unwrap();
        for past in [Instant::ZERO, now(), Instant::ZERO] {
            reactor.wait(Some(past)).unwrap();
        }
    }

    #[test]
    fn reactor_moved_away_deadline_costs_no_call_and_is_kept() {
        let mut reactor = Reactor::new().unwrap();
        let first = now() + Duration::from_millis(5);
        let second = first + Duration::from_millis(5);
        reactor.arm(Some(first)).unwrap();
        reactor.arm(Some(second)).unwrap();
        assert_eq!(reactor.armed, Some(first));
        while now() < second {
            reactor.wait(Some(second)).unwrap();
        }
        assert_eq!(reactor.armed, Some(second));
    }

    #[test]
    fn reactor_tells_reading_writing_and_the_end() {
        let mut reactor = Reactor::new().unwrap();
        let (mut here, mut there) = std::os::unix::net::UnixStream::pair().unwrap();
        reactor.add(&here, Token(7)).unwrap();
        reactor.look().unwrap();
        assert_eq!(reactor.ready().count(), 0);

        there.write_all(b"x").unwrap();
        reactor.wait(None).unwrap();
        let readable = Ready { token: Token(7), is_readable: true, is_writable: false };
        assert_eq!(reactor.ready().collect::<Vec<_>>(), [readable]);

        reactor.watch_writable(&here, Token(7), true).unwrap();
        reactor.wait(None).unwrap();
        assert_eq!(reactor.ready().collect::<Vec<_>>(), [Ready { is_writable: true, ..readable }]);

        reactor.watch_writable(&here, Token(7), false).unwrap();
        here.read_exact(&mut [0]).unwrap();
        drop(there);
        reactor.wait(None).unwrap();
        assert_eq!(reactor.ready().collect::<Vec<_>>(), [readable]);

        reactor.remove(&here).unwrap();
        reactor.look().unwrap();
        assert_eq!(reactor.ready().count(), 0);
    }
}
