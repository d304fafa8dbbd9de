//! Waits for descriptors and for one deadline: epoll, and nothing else. Knows no protocol.
//!
//! Everything that is read is level-triggered: what a turn leaves unread wakes the next one.

use std::io;
use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};

use super::clock;
use crate::core::time::{Duration, Instant};
use crate::sys::epoll::{wait_millis, wait_precisely};

/// Descriptors that one wake-up can report; more are reported by the next one.
const EVENTS_MAX: usize = 32;

/// What a descriptor is to its owner; returned with each event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Token(pub u32);

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
    /// The kernel can wait more precisely than to the millisecond.
    is_precise: bool,
    events: [EpollEvent; EVENTS_MAX],
    count: usize,
}

impl Reactor {
    /// A reactor that waits for nothing yet. Instants are those of [`clock::stamp`].
    ///
    /// # Errors
    /// What epoll_create1(2) says.
    pub fn new() -> io::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        Ok(Self { epoll, is_precise: true, events: [EpollEvent::empty(); EVENTS_MAX], count: 0 })
    }

    /// Watches a descriptor for reading.
    ///
    /// # Errors
    /// What epoll_ctl(2) says.
    pub fn add(&self, descriptor: impl AsFd, token: Token) -> io::Result<()> {
        self.epoll.add(descriptor, EpollEvent::new(EpollFlags::EPOLLIN, u64::from(token.0)))?;
        Ok(())
    }

    /// Watches a descriptor that nobody reads: becoming ready is told once.
    ///
    /// # Errors
    /// What epoll_ctl(2) says.
    pub fn add_edge(&self, descriptor: impl AsFd, token: Token) -> io::Result<()> {
        self.epoll.add(descriptor, EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLET, u64::from(token.0)))?;
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

    /// Sleeps until a descriptor is ready or `deadline` has come, whichever is first. It may wake up for nothing. On a
    /// kernel before 5.11 a deadline is met up to a millisecond late.
    ///
    /// # Errors
    /// What epoll_wait(2) says. A signal is no error.
    pub fn wait(&mut self, deadline: Option<Instant>) -> io::Result<()> {
        // Rounded up: the caller looks at a clock that counts microseconds, and waking early would spin.
        let limit = deadline.map(|at| at.since(clock::stamp().now) + Duration::from_micros(1));
        self.poll(limit)
    }

    /// Looks which descriptors are ready, without sleeping.
    ///
    /// # Errors
    /// What epoll_wait(2) says.
    pub fn look(&mut self) -> io::Result<()> {
        self.poll(Some(Duration::ZERO))
    }

    /// What the last [`Reactor::wait`] or [`Reactor::look`] has found.
    pub fn ready(&self) -> impl Iterator<Item = Ready> + use<> {
        let (events, count) = (self.events, self.count);
        (0..count).map(move |index| {
            let event = events[index];
            let flags = event.events();
            let ends = EpollFlags::EPOLLIN | EpollFlags::EPOLLHUP | EpollFlags::EPOLLERR | EpollFlags::EPOLLRDHUP;
            Ready {
                // It was made from 32 bits.
                token: Token(u32::try_from(event.data()).unwrap_or(u32::MAX)),
                is_readable: flags.intersects(ends),
                is_writable: flags.contains(EpollFlags::EPOLLOUT),
            }
        })
    }

    fn poll(&mut self, limit: Option<Duration>) -> io::Result<()> {
        self.count = 0;
        if self.is_precise {
            match wait_precisely(&self.epoll, &mut self.events, limit) {
                Err(error) if error.raw_os_error() == Some(Errno::ENOSYS as i32) => self.is_precise = false,
                result => return self.found(result),
            }
        }
        let result = wait_millis(&self.epoll, &mut self.events, limit);
        self.found(result)
    }

    fn found(&mut self, result: io::Result<usize>) -> io::Result<()> {
        match result {
            Ok(count) => self.count = count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    fn now() -> Instant {
        clock::stamp().now
    }

    #[test]
    fn reactor_wakes_at_the_deadline_and_not_before() {
        let mut reactor = Reactor::new().unwrap();
        let deadline = now() + Duration::from_millis(20);
        while now() < deadline {
            reactor.wait(Some(deadline)).unwrap();
            assert_eq!(reactor.ready().count(), 0);
        }
    }

    #[test]
    fn reactor_on_an_older_kernel_wakes_in_time_as_well() {
        let mut reactor = Reactor::new().unwrap();
        reactor.is_precise = false;
        let start = now();
        for deadline in [start, start + Duration::from_millis(5), Instant::ZERO] {
            while now() < deadline {
                reactor.wait(Some(deadline)).unwrap();
            }
        }
        assert!(now() < start + Duration::from_secs(600));
    }

    #[test]
    fn reactor_deadline_that_has_passed_wakes_at_once() {
        let mut reactor = Reactor::new().unwrap();
        for past in [Instant::ZERO, now(), Instant::ZERO] {
            reactor.wait(Some(past)).unwrap();
        }
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
