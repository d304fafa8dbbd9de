//! Heartbeat's logging daemon as the place for all lines (`use_logd`, spec/api.md 8.5). It is never waited for: while it
//! does not read, lines wait up to a number, then they are dropped and counted; while it is not there, the caller writes
//! them to the places of its own.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::api::ipc::{self, Connection, Full, Peer, QUEUE_MAX, Rooms};
use crate::api::logd::message::{ENCODED_MAX, Message};
use crate::daemon::log_pipe::{Level, LogLine};

/// Bytes of lines that wait: as many of the longest ones of this daemon as may wait.
const OUTPUT: usize = QUEUE_MAX * 640;
/// Room that must be there again before dropped lines are told, and before debug lines are taken after a drop.
const SPARE: usize = 10;
/// For so long after its beginning the daemon may be about to be started: nothing is said, and it is tried more often.
const GRACE: Duration = Duration::from_secs(10);
const GRACE_RETRY: Duration = Duration::from_millis(50);
/// Nobody is asked who serves the socket.
const ANYBODY: Peer = Peer { pid: 0, uid: 0, gid: 0 };

/// What became of a line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// On its way, or counted as dropped.
    Taken,
    /// The daemon is not there: the line is for the caller's own places, behind these news if there are any.
    Refused(Option<(Level, String)>),
}

/// The connection, when there is one.
pub(super) struct LogdOutlet {
    path: PathBuf,
    /// From one try to connect to the next.
    retry: Duration,
    connection: Option<Connection>,
    rooms: Option<Rooms>,
    next_try: Option<Instant>,
    /// Until when it may be about to be started.
    grace_until: Instant,
    /// That it is not there has been said.
    is_told: bool,
    dropped: u64,
}

impl LogdOutlet {
    pub(super) fn new(path: PathBuf, retry: Duration, now: Instant) -> Self {
        let (rooms, grace_until) = (Some(Rooms::new(0, OUTPUT)), now + GRACE);
        Self { path, retry, connection: None, rooms, next_try: None, grace_until, is_told: false, dropped: 0 }
    }

    /// Whether something waits: [`flush`](Self::flush) is to be called again before long.
    pub(super) fn is_waiting(&self) -> bool {
        self.connection.as_ref().is_some_and(Connection::is_output_waiting)
    }

    /// Takes a line; `entity` is the tag of lines without one of their own.
    pub(super) fn put(&mut self, line: &LogLine<'_>, entity: &str, now: Instant) -> Fate {
        if self.connection.is_none() && !self.connect(now) {
            let is_first = now >= self.grace_until && !std::mem::replace(&mut self.is_told, true);
            let news = "Initializing connection to logging daemon failed. Logging daemon may not be running";
            return Fate::Refused(is_first.then(|| (Level::Warn, news.to_owned())));
        }
        if self.has_room(QUEUE_MAX - SPARE) && self.dropped > 0 {
            let text = format!("cl_log: {} messages were dropped", self.dropped);
            match self.send(&LogLine { level: Level::Error, text: &text, ..*line }, entity) {
                Ok(()) => self.dropped = 0,
                Err(Full::Queue(_)) => {}
                Err(Full::Failed(_)) => return self.lost(now, 1),
            }
        }
        let is_early_end = self.dropped > 0 && line.level == Level::Debug && !self.has_room(QUEUE_MAX - SPARE);
        if is_early_end {
            self.dropped += 1;
            return Fate::Taken;
        }
        match self.send(line, entity) {
            Ok(()) => Fate::Taken,
            Err(Full::Queue(_)) => {
                self.dropped += 1;
                Fate::Taken
            }
            Err(Full::Failed(_)) => self.lost(now, 1),
        }
    }

    /// Sends what waits; the news when it has gone.
    pub(super) fn flush(&mut self, now: Instant) -> Option<(Level, String)> {
        let is_gone = self.connection.as_mut().is_some_and(|connection| connection.flush().is_err());
        if !is_gone {
            return None;
        }
        match self.lost(now, 0) {
            Fate::Refused(news) => news,
            Fate::Taken => None,
        }
    }

    fn has_room(&self, limit: usize) -> bool {
        self.connection.as_ref().is_some_and(|connection| connection.frames() < limit)
    }

    fn send(&mut self, line: &LogLine<'_>, entity: &str) -> Result<(), Full> {
        let message = Message {
            priority: line.level as u8,
            is_worded: line.is_worded,
            pid: line.pid.cast_signed(),
            entity: line.entity.unwrap_or(entity).as_bytes(),
            seconds: line.seconds,
            text: line.text.as_bytes(),
        };
        let mut room = [0; ENCODED_MAX];
        let body = message.encode(&mut room);
        self.connection.as_mut().map_or(Ok(()), |connection| connection.send(body))
    }

    /// It has gone, and with it what waited but for so many lines, which the caller still has.
    fn lost(&mut self, now: Instant, kept: usize) -> Fate {
        if let Some(connection) = self.connection.take() {
            self.dropped += u64::try_from(connection.frames().saturating_sub(kept)).unwrap_or(0);
            self.rooms = Some(connection.close());
        }
        self.next_try = Some(now + self.retry);
        let count = std::mem::take(&mut self.dropped);
        let news = || (Level::Error, format!("cl_log: {count} messages were dropped : channel destroyed"));
        Fate::Refused((count > 0).then(news))
    }

    fn connect(&mut self, now: Instant) -> bool {
        if self.next_try.is_some_and(|next| now < next) {
            return false;
        }
        let retry = if now < self.grace_until { self.retry.min(GRACE_RETRY) } else { self.retry };
        self.next_try = Some(now + retry);
        let Ok(socket) = ipc::connect(&self.path) else { return false };
        let rooms = self.rooms.take().unwrap_or_else(|| Rooms::new(0, OUTPUT));
        self.connection = Some(Connection::new(socket, ANYBODY, rooms, QUEUE_MAX));
        self.is_told = false;
        true
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::{UnixListener, UnixStream};

    use super::*;
    use crate::api::ipc::Taken;

    struct Place(PathBuf);

    impl Place {
        fn new(name: &str) -> Self {
            Self(std::env::temp_dir().join(format!("nullbeat-logd-{}-{name}", std::process::id())))
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            let _ = std::fs::remove_file(&self.0);
        }
    }

    fn line(level: Level, text: &str) -> LogLine<'_> {
        let (pid, process, seconds, micros, dropped) = (12, "engine", 1, 0, 0);
        LogLine { level, pid, process, entity: None, is_worded: true, seconds, micros, dropped, text }
    }

    /// Texts that arrive at the other end.
    fn texts(stream: UnixStream) -> Vec<String> {
        stream.set_nonblocking(true).unwrap();
        let mut reader = Connection::new(stream.into(), ANYBODY, Rooms::new(ENCODED_MAX, 0), 0);
        let mut texts = Vec::new();
        while let Taken::Frame(body) = reader.take() {
            let message = Message::decode(body).unwrap();
            assert_eq!((message.entity, message.pid, message.is_worded), (&b"heartbeat"[..], 12, true));
            texts.push(String::from_utf8(message.text.to_vec()).unwrap());
        }
        texts
    }

    #[test]
    fn logd_that_is_not_there_is_told_once_and_found_later() {
        let place = Place::new("later");
        let mut logd = LogdOutlet::new(place.0.clone(), Duration::from_secs(60), Instant::now());
        let begin = Instant::now();
        let start = begin + GRACE;
        let absent = "Initializing connection to logging daemon failed. Logging daemon may not be running";
        let put = |logd: &mut LogdOutlet, after| logd.put(&line(Level::Info, "one"), "heartbeat", start + after);
        assert_eq!(
            logd.put(&line(Level::Info, "one"), "heartbeat", begin),
            Fate::Refused(None),
            "it may be on its way"
        );
        assert_eq!(put(&mut logd, Duration::ZERO), Fate::Refused(Some((Level::Warn, absent.to_owned()))));
        let listener = UnixListener::bind(&place.0).unwrap();
        assert_eq!(put(&mut logd, Duration::from_secs(59)), Fate::Refused(None), "it is not tried yet");
        assert_eq!(put(&mut logd, Duration::from_secs(60)), Fate::Taken);
        assert_eq!(texts(listener.accept().unwrap().0), ["one"]);
        drop(listener);
        assert_eq!(put(&mut logd, Duration::from_secs(61)), Fate::Refused(None), "it has gone");
    }

    #[test]
    fn logd_that_does_not_read_costs_lines_that_are_counted() {
        let place = Place::new("full");
        let listener = UnixListener::bind(&place.0).unwrap();
        let mut logd = LogdOutlet::new(place.0.clone(), Duration::from_secs(60), Instant::now());
        let now = Instant::now();
        let text = "x".repeat(400);
        for _ in 0..5000 {
            assert_eq!(logd.put(&line(Level::Info, &text), "heartbeat", now), Fate::Taken);
        }
        let dropped = logd.dropped;
        assert!(dropped > 0 && logd.is_waiting());
        let stream = listener.accept().unwrap().0;
        let first = texts(stream.try_clone().unwrap());
        assert_eq!(logd.flush(now), None);
        assert!(!logd.is_waiting());
        assert_eq!(logd.put(&line(Level::Debug, "again"), "heartbeat", now), Fate::Taken);
        let second = texts(stream);
        assert_eq!(first.len() + second.len(), 5000 - usize::try_from(dropped).unwrap() + 2);
        let end = [format!("cl_log: {dropped} messages were dropped"), "again".to_owned()];
        assert_eq!(second[second.len() - 2..], end);
    }

    #[test]
    fn what_waits_when_logd_goes_is_counted_as_well() {
        let place = Place::new("gone");
        let listener = UnixListener::bind(&place.0).unwrap();
        let mut logd = LogdOutlet::new(place.0.clone(), Duration::from_secs(60), Instant::now());
        let now = Instant::now();
        let text = "x".repeat(400);
        while logd.dropped == 0 {
            logd.put(&line(Level::Info, &text), "heartbeat", now);
        }
        drop(listener);
        let lost = format!("cl_log: {} messages were dropped : channel destroyed", QUEUE_MAX + 1);
        assert_eq!(logd.flush(now), Some((Level::Error, lost)));
    }
}
