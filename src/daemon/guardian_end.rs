//! The engine's end of the channel to the guardian: what waits to be sent, and whether anybody is there to read it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use crate::core::time::{Duration, Instant};
use crate::guardian::channel::{Channel, Incoming};
use crate::guardian::protocol::{Record, ToGuardian};

/// Records that wait while the guardian does not read. The core has at most a few jobs a group under way.
const WAITING_MAX: usize = 512;
/// Of these, news for `notify` programs. One more is dropped and counted: jobs come first.
const NEWS_WAITING_MAX: usize = 128;
/// How long a guardian that starts may take to its first turn beside this engine, at least: it reads its own text from a slow
/// flash to lock it.
const START_LIMIT: Duration = Duration::from_secs(5);

/// Requests that could not be queued although they must not be lost: the guardian has not read for a very long time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Overflow;

/// The engine's end.
#[derive(Debug)]
pub struct GuardianEnd {
    channel: Channel,
    digest: u64,
    waiting: Box<heapless::Deque<Record, WAITING_MAX>>,
    /// The other end was closed. It never comes back: a new guardian brings a new engine.
    is_gone: bool,
    /// What was last found by [`GuardianEnd::judge`].
    is_present: bool,
    /// Since when we have been running without a pause.
    awake_since: Instant,
    /// When this engine began.
    born: Instant,
    limit: Duration,
    /// News that were dropped.
    pub news_dropped: u64,
}

impl GuardianEnd {
    /// `digest` goes with each request; a guardian whose stamp is older than `limit` counts as absent.
    pub fn new(channel: Channel, digest: u64, limit: Duration, now: Instant) -> Self {
        Self {
            channel,
            digest,
            waiting: Box::new(heapless::Deque::new()),
            is_gone: false,
            is_present: true,
            awake_since: now,
            born: now,
            limit,
            news_dropped: 0,
        }
    }

    /// Whether scripts can be run.
    pub const fn is_present(&self) -> bool {
        self.is_present
    }

    /// Whether the channel is still open.
    pub const fn is_gone(&self) -> bool {
        self.is_gone
    }

    /// Whether records wait for the channel to become writable.
    pub fn is_output_waiting(&self) -> bool {
        !self.is_gone && !self.waiting.is_empty()
    }

    /// Sends a request now or as soon as the guardian reads.
    ///
    /// # Errors
    /// [`Overflow`]: neither is possible.
    pub fn send(&mut self, request: ToGuardian) -> Result<(), Overflow> {
        if self.is_gone {
            return Ok(());
        }
        let record = request.encode(self.digest);
        if self.waiting.is_empty() && self.try_send(&record) {
            return Ok(());
        }
        let is_news = matches!(
            request,
            ToGuardian::NotifyGroup { .. }
                | ToGuardian::NotifyNode { .. }
                | ToGuardian::NotifyLink { .. }
                | ToGuardian::NotifyPing { .. }
        );
        if is_news && self.waiting.len() >= NEWS_WAITING_MAX {
            self.news_dropped += 1;
            return Ok(());
        }
        self.waiting.push_back(record).map_err(|_| Overflow)
    }

    /// Sends what waits, as far as the guardian reads.
    pub fn flush(&mut self) {
        while let Some(record) = self.waiting.front().copied()
            && !self.is_gone
            && self.try_send(&record)
        {
            self.waiting.pop_front();
        }
    }

    /// True when the record need not be kept: it left, or nobody will ever read it.
    fn try_send(&mut self, record: &Record) -> bool {
        match self.channel.send(record) {
            Ok(()) => true,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => false,
            Err(_) => {
                self.is_gone = true;
                true
            }
        }
    }

    /// The next record from the guardian, `None` when there is none, or never again ([`GuardianEnd::is_gone`]).
    pub fn receive(&mut self) -> Option<Incoming> {
        if self.is_gone {
            return None;
        }
        self.channel.receive().unwrap_or_else(|_| {
            self.is_gone = true;
            None
        })
    }

    /// Looks at the guardian's stamp (`None`: it has not stamped yet) and tells when the answer differs from the last
    /// one. `lateness` is by how much we woke up too late ourselves: time in which perhaps nobody on this board ran is
    /// not held against the guardian.
    pub fn judge(&mut self, now: Instant, lateness: Duration, stamp: Option<Instant>) -> Option<bool> {
        if lateness > self.limit / 2 {
            self.awake_since = now;
        }
        let is_starting = stamp.is_some_and(|stamp| stamp < self.born);
        let limit = if is_starting { self.limit.max(START_LIMIT) } else { self.limit };
        let is_silent = stamp.is_some_and(|stamp| now.since(stamp.max(self.awake_since)) > limit);
        // A stamp from before our sleep proves nothing either way.
        let is_fresh = stamp.is_none_or(|stamp| now.since(stamp) <= limit);
        let is_present = if self.is_gone || is_silent { false } else { self.is_present || is_fresh };
        (is_present != self.is_present).then(|| {
            self.is_present = is_present;
            is_present
        })
    }
}

impl AsFd for GuardianEnd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.channel.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::Order;
    use crate::core::ids::{GroupId, JobId, LinkId};

    const LIMIT: Duration = Duration::from_millis(100);
    const NOT_LATE: Duration = Duration::from_millis(3);

    fn at(ms: u64) -> Instant {
        Instant::from_millis(ms)
    }

    fn pair() -> (GuardianEnd, Channel) {
        let (engine, guardian) = Channel::pair().unwrap();
        (GuardianEnd::new(engine, 7, LIMIT, at(0)), guardian)
    }

    fn drain(guardian: &Channel) -> Vec<ToGuardian> {
        std::iter::from_fn(|| guardian.receive().unwrap())
            .map(|incoming| ToGuardian::decode(incoming.bytes()).unwrap().0)
            .collect()
    }

    #[test]
    fn guardian_that_does_not_read_gets_everything_in_order_later() {
        let (mut end, guardian) = pair();
        let job = |n| ToGuardian::Run { job: JobId(n), group: GroupId(0), order: Order::Probe };
        let mut sent = 0;
        while end.waiting.len() < 100 {
            end.send(job(sent)).unwrap();
            sent += 1;
        }
        assert!(end.is_output_waiting());
        let mut received = drain(&guardian);
        end.flush();
        received.extend(drain(&guardian));
        assert!(!end.is_output_waiting());
        assert_eq!(received, (0..sent).map(job).collect::<Vec<_>>());
    }

    #[test]
    fn guardian_asleep_news_are_dropped_jobs_overflow_at_last() {
        let (mut end, _guardian) = pair();
        let news = ToGuardian::NotifyLink { node: 1, link: LinkId(0), is_up: true };
        while end.news_dropped < 5 {
            end.send(news).unwrap();
        }
        assert_eq!(end.waiting.len(), NEWS_WAITING_MAX);
        for _ in NEWS_WAITING_MAX..WAITING_MAX {
            end.send(ToGuardian::OpenControl).unwrap();
        }
        assert_eq!(end.send(ToGuardian::OpenControl), Err(Overflow));
    }

    #[test]
    fn guardian_silent_then_back_is_told_once_each() {
        let (mut end, _guardian) = pair();
        for ms in (0..=100).step_by(20) {
            assert_eq!(end.judge(at(ms), NOT_LATE, Some(at(0))), None);
        }
        assert_eq!(end.judge(at(120), NOT_LATE, Some(at(0))), Some(false));
        assert_eq!(end.judge(at(140), NOT_LATE, Some(at(0))), None);
        assert_eq!(end.judge(at(160), NOT_LATE, Some(at(150))), Some(true));
        assert_eq!(end.judge(at(180), NOT_LATE, Some(at(150))), None);
    }

    #[test]
    fn guardian_is_not_blamed_for_our_own_sleep() {
        let (mut end, _guardian) = pair();
        assert_eq!(end.judge(at(10_000), Duration::from_secs(9), Some(at(0))), None, "the whole board slept");
        assert_eq!(end.judge(at(10_040), NOT_LATE, Some(at(0))), None);
        assert_eq!(end.judge(at(10_080), NOT_LATE, Some(at(0))), None);
        assert_eq!(end.judge(at(10_120), NOT_LATE, Some(at(0))), Some(false), "it had its time");
        assert_eq!(
            end.judge(at(20_000), Duration::from_secs(9), Some(at(0))),
            None,
            "and does not come back by our sleeping"
        );
    }

    #[test]
    fn guardian_that_is_slow_to_its_first_turn_is_not_missed() {
        let (engine, _guardian) = Channel::pair().unwrap();
        let mut end = GuardianEnd::new(engine, 7, LIMIT, at(1000));
        // It has stamped before it started this engine.
        let first = Some(at(950));
        assert_eq!(end.judge(at(1500), NOT_LATE, first), None);
        assert_eq!(end.judge(at(5999), NOT_LATE, first), None);
        assert_eq!(end.judge(at(6001), NOT_LATE, first), Some(false), "that is a guardian which hangs");
        assert_eq!(end.judge(at(6100), NOT_LATE, Some(at(6050))), Some(true));
        assert_eq!(
            end.judge(at(6151), NOT_LATE, Some(at(6050))),
            Some(false),
            "once it turns the usual limit is in force"
        );
    }

    #[test]
    fn guardian_that_is_gone_never_comes_back() {
        let (mut end, guardian) = pair();
        drop(guardian);
        assert!(end.receive().is_none());
        assert!(end.is_gone());
        assert_eq!(end.judge(at(10), NOT_LATE, Some(at(10))), Some(false));
        assert_eq!(end.judge(at(20), NOT_LATE, Some(at(20))), None);
        end.send(ToGuardian::Exit).unwrap();
    }
}
