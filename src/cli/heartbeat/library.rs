//! The client interface from the other side, for `cl_status`: one question at a time, and the answer awaited.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::api::ipc::{self, BODY_MAX, HEADER_LEN, header, parse_header};
use crate::wire::heartbeat::ClientMessage;

/// While as many wait to be taken as may.
const CONNECT_PAUSE: Duration = Duration::from_millis(10);

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Silence {
    /// Nobody listens.
    NotRunning,
    /// It cannot be seen whether anybody does: the directory is for root and a group.
    NotPermitted,
    /// The daemon refuses, with this reason.
    Refused(String),
    /// The time is over.
    TimedOut,
    /// It has closed the connection, or says what cannot be understood.
    Broken(String),
}

/// One message, its fields in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer(String);

impl Answer {
    /// The first value of this name.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
    }

    /// Whether what was asked for was done.
    pub(super) fn is_ok(&self) -> bool {
        self.get("result") == Some("OK")
    }
}

/// The bodies of frames, one after the other.
#[derive(Debug)]
pub(super) struct FrameStream {
    socket: UnixStream,
    arrived: Vec<u8>,
}

impl FrameStream {
    /// Connects, and waits while as many others wait as may.
    pub(super) fn connect(path: &Path, limit: Instant) -> Result<Self, Silence> {
        let socket = loop {
            match ipc::connect(path) {
                Ok(socket) => break UnixStream::from(socket),
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock if Instant::now() < limit => std::thread::sleep(CONNECT_PAUSE),
                    ErrorKind::WouldBlock => return Err(Silence::TimedOut),
                    ErrorKind::PermissionDenied => return Err(Silence::NotPermitted),
                    _ => return Err(Silence::NotRunning),
                },
            }
        };
        let left = limit.saturating_duration_since(Instant::now()).max(CONNECT_PAUSE);
        socket.set_nonblocking(false).map_err(|error| broken(&error))?;
        socket.set_write_timeout(Some(left)).map_err(|error| broken(&error))?;
        Ok(Self { socket, arrived: Vec::new() })
    }

    /// The next body; one that has arrived already comes even when the time is over.
    pub(super) fn next(&mut self, limit: Instant) -> Result<Vec<u8>, Silence> {
        loop {
            if let Some(body) = self.arrived_body()? {
                return Ok(body);
            }
            let left = limit.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Silence::TimedOut);
            }
            self.socket.set_read_timeout(Some(left)).map_err(|error| broken(&error))?;
            let mut chunk = [0; 4096];
            match self.socket.read(&mut chunk) {
                Ok(0) => return Err(broken(&ErrorKind::UnexpectedEof.into())),
                Ok(count) => self.arrived.extend_from_slice(&chunk[..count]),
                Err(error) => match error.kind() {
                    ErrorKind::Interrupted => {}
                    ErrorKind::WouldBlock | ErrorKind::TimedOut => return Err(Silence::TimedOut),
                    _ => return Err(broken(&error)),
                },
            }
        }
    }

    fn arrived_body(&mut self) -> Result<Option<Vec<u8>>, Silence> {
        let Some(header) = self.arrived.first_chunk::<HEADER_LEN>() else { return Ok(None) };
        let Ok(len) = parse_header(*header, BODY_MAX) else {
            return Err(Silence::Broken("the answer is not understood".to_owned()));
        };
        if self.arrived.len() < HEADER_LEN + len {
            return Ok(None);
        }
        Ok(Some(self.arrived.drain(..HEADER_LEN + len).skip(HEADER_LEN).collect()))
    }
}

/// A daemon that has taken our sign-on.
#[derive(Debug)]
pub(super) struct Library {
    stream: FrameStream,
    limit: Instant,
    signon: Answer,
}

impl Library {
    /// Signs on without a name.
    pub(super) fn sign_on(socket: &Path, limit: Duration) -> Result<Self, Silence> {
        let limit = Instant::now() + limit;
        let stream = FrameStream::connect(socket, limit)?;
        let mut library = Self { stream, limit, signon: Answer(String::new()) };
        let (uid, gid) = (nix::unistd::geteuid(), nix::unistd::getegid());
        library.signon = library.ask("signon", &[("uid", &uid.to_string()), ("gid", &gid.to_string())])?;
        if library.signon.is_ok() {
            Ok(library)
        } else {
            Err(Silence::Refused(library.signon.get("info").unwrap_or_default().to_owned()))
        }
    }

    /// Until when everything must have been asked.
    pub(super) const fn limit(&self) -> Instant {
        self.limit
    }

    /// What the daemon told at sign-on.
    pub(super) const fn signon(&self) -> &Answer {
        &self.signon
    }

    /// One question, one answer.
    pub(super) fn ask(&mut self, kind: &str, fields: &[(&str, &str)]) -> Result<Answer, Silence> {
        self.send(kind, fields)?;
        let limit = self.limit;
        self.await_message(limit, |answer| answer.get("t") == Some("hbapi-resp"))
    }

    /// One question, answers until the last.
    pub(super) fn list(&mut self, kind: &str, fields: &[(&str, &str)]) -> Result<Vec<Answer>, Silence> {
        let mut answers = vec![self.ask(kind, fields)?];
        let limit = self.limit;
        while answers.last().and_then(|answer| answer.get("result")) == Some("ok/more") {
            answers.push(self.await_message(limit, |answer| answer.get("t") == Some("hbapi-resp"))?);
        }
        Ok(answers)
    }

    /// A question that is answered here or by another node, in this time or not at all.
    pub(super) fn ask_status(&mut self, node: &str, client: &str, patience: Duration) -> Result<Answer, Silence> {
        const ANSWER: Option<&str> = Some("respond-cstatus");
        self.send("clientstatus", &[("node", node), ("cn", client)])?;
        let limit = self.limit.min(Instant::now() + patience);
        self.await_message(limit, |answer| answer.get("t") == ANSWER || answer.get("subt") == ANSWER)
    }

    fn send(&mut self, kind: &str, fields: &[(&str, &str)]) -> Result<(), Silence> {
        let pid = std::process::id();
        let host = nix::unistd::gethostname().map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default();
        let mut body = format!(">>>\nt=hbapi-req\nreqtype={kind}\ndest={host}\npid={pid}\nfrom_id={pid}\n");
        for (name, value) in fields {
            body += &format!("{name}={value}\n");
        }
        body += "<<<\n\0";
        let frame = [&header(body.len())[..], body.as_bytes()].concat();
        self.stream.socket.write_all(&frame).map_err(|error| match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => Silence::TimedOut,
            _ => broken(&error),
        })
    }

    fn await_message(&mut self, limit: Instant, is_it: impl Fn(&Answer) -> bool) -> Result<Answer, Silence> {
        loop {
            let body = self.stream.next(limit)?;
            if ClientMessage::parse(&body).is_err() {
                return Err(Silence::Broken("the answer is not understood".to_owned()));
            }
            let answer = Answer(String::from_utf8_lossy(&body).into_owned());
            if is_it(&answer) {
                return Ok(answer);
            }
        }
    }
}

impl Drop for Library {
    fn drop(&mut self) {
        let _ = self.send("signoff", &[]);
    }
}

fn broken(error: &io::Error) -> Silence {
    Silence::Broken(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn daemon_that_takes_nobody_is_waited_for_no_longer_than_told() {
        let path = std::env::temp_dir().join(format!("nullbeat-library-{}", std::process::id()));
        let _listener = ipc::listen(&path, 0o600).unwrap();
        let mut waiting = Vec::new();
        while let Ok(socket) = ipc::connect(&path) {
            waiting.push(socket);
        }
        let connected = FrameStream::connect(&path, Instant::now() + Duration::from_millis(50));
        assert!(matches!(connected, Err(Silence::TimedOut)), "{connected:?}");
        let signed_on = Library::sign_on(&path, Duration::ZERO);
        assert!(matches!(signed_on, Err(Silence::TimedOut)), "{signed_on:?}");
        std::fs::remove_file(&path).unwrap();
        let connected = FrameStream::connect(&path, Instant::now());
        assert!(matches!(connected, Err(Silence::NotRunning)), "{connected:?}");
    }
}
