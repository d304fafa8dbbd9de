//! The other end of the control socket: asks once, waits with a limit.

use std::fmt;
use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::socket::getsockopt;
use nix::sys::socket::sockopt::PeerCredentials;

use super::SOCKET_NAME;

/// Longest answer that is read; a daemon never says more.
const ANSWER_MAX: u64 = 1 << 20;

/// What the daemon said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Exit code of design.md section 7.
    pub code: u8,
    /// The lines between `code` and `end`.
    pub body: String,
}

impl Answer {
    /// Takes everything apart that came before the end of the connection.
    ///
    /// # Errors
    /// [`NoAnswer::Cut`] when it is not whole, [`NoAnswer::Garbled`] when it is no answer.
    pub fn parse(bytes: &[u8]) -> Result<Self, NoAnswer> {
        let text = std::str::from_utf8(bytes).map_err(|_| NoAnswer::Garbled)?;
        let Some((code, rest)) = text.split_once('\n') else { return Err(NoAnswer::Cut) };
        let code = code.strip_prefix("code ").and_then(|code| code.parse().ok()).ok_or(NoAnswer::Garbled)?;
        let body = rest.strip_suffix("end\n").filter(|body| body.is_empty() || body.ends_with('\n'));
        body.map(|body| Self { code, body: body.to_string() }).ok_or(NoAnswer::Cut)
    }
}

/// Why there is no answer.
#[derive(Debug)]
pub enum NoAnswer {
    /// Nobody listens at this path.
    NotRunning(PathBuf),
    /// The socket's file mode, or a directory's, forbids it.
    NotPermitted(PathBuf),
    /// The time is over; what was asked may still happen.
    TimedOut,
    /// The connection ended before the answer was whole; normal for a `reload` that succeeds.
    Cut,
    /// The answer is not one.
    Garbled,
    /// Anything else.
    Io(io::Error),
}

impl fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotRunning(path) => write!(f, "no daemon listens at {}", path.display()),
            Self::NotPermitted(path) => write!(f, "not permitted to connect to {}", path.display()),
            Self::TimedOut => f.write_str("no answer in time; what was asked for may still happen"),
            Self::Cut => f.write_str("the daemon ended the connection in mid-answer"),
            Self::Garbled => f.write_str("the answer is not understood: is the daemon of another version?"),
            Self::Io(error) => write!(f, "the control socket fails: {error}"),
        }
    }
}

/// A connection to a running daemon.
#[derive(Debug)]
pub struct Client {
    stream: UnixStream,
}

impl Client {
    /// Connects to the daemon of `run_dir`.
    ///
    /// # Errors
    /// [`NoAnswer::NotRunning`], [`NoAnswer::NotPermitted`], or what connect(2) says.
    pub fn connect(run_dir: &Path) -> Result<Self, NoAnswer> {
        let path = run_dir.join(SOCKET_NAME);
        match UnixStream::connect(&path) {
            Ok(stream) => Ok(Self { stream }),
            Err(error) => Err(match error.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused | io::ErrorKind::NotADirectory => {
                    NoAnswer::NotRunning(path)
                }
                io::ErrorKind::PermissionDenied => NoAnswer::NotPermitted(path),
                _ => NoAnswer::Io(error),
            }),
        }
    }

    /// The process that opened the listening socket: the daemon's first process, the guardian. `None` when it is not
    /// visible from here (another PID namespace).
    pub fn daemon_pid(&self) -> Option<i32> {
        getsockopt(&self.stream, PeerCredentials).ok().map(|credentials| credentials.pid()).filter(|pid| *pid > 0)
    }

    /// Asks and waits for the whole answer, `None`: as long as it takes.
    ///
    /// # Errors
    /// See [`NoAnswer`].
    pub fn ask(mut self, request: &str, timeout: Option<Duration>) -> Result<Answer, NoAnswer> {
        let deadline = timeout.map(|timeout| Instant::now() + timeout);
        self.stream.set_write_timeout(timeout).map_err(NoAnswer::Io)?;
        // A server that has no place for us answers without reading: then the write may fail, and the answer counts.
        let sent = self.stream.write_all(format!("{request}\n").as_bytes());
        let mut bytes = Vec::new();
        let mut chunk = [0; 4096];
        loop {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return Err(NoAnswer::TimedOut);
            }
            self.stream.set_read_timeout(left).map_err(NoAnswer::Io)?;
            match self.stream.read(&mut chunk) {
                Ok(0) => break,
                Ok(count) => bytes.extend_from_slice(&chunk[..count]),
                Err(error) => match error.kind() {
                    io::ErrorKind::Interrupted => {}
                    io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => return Err(NoAnswer::TimedOut),
                    io::ErrorKind::ConnectionReset => break,
                    _ => return Err(NoAnswer::Io(error)),
                },
            }
            if bytes.len() as u64 > ANSWER_MAX {
                return Err(NoAnswer::Garbled);
            }
        }
        if bytes.is_empty() {
            return Err(sent
                .err()
                .filter(|error| error.kind() != io::ErrorKind::BrokenPipe)
                .map_or(NoAnswer::Cut, NoAnswer::Io));
        }
        Answer::parse(&bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_whole_or_none() {
        let parsed = |text: &str| Answer::parse(text.as_bytes());
        assert_eq!(parsed("code 0\nend\n").unwrap(), Answer { code: 0, body: String::new() });
        assert_eq!(parsed("code 75\nwhy\nend\n").unwrap(), Answer { code: 75, body: "why\n".into() });
        for cut in ["code 0", "code 0\n", "code 0\nbody\n", "code 0\nbody end\n"] {
            assert!(matches!(parsed(cut), Err(NoAnswer::Cut)), "{cut:?}");
        }
        for bad in ["hello\nend\n", "code x\nend\n", "code 300\nend\n"] {
            assert!(matches!(parsed(bad), Err(NoAnswer::Garbled)), "{bad:?}");
        }
    }
}
