//! Asking a node over its control socket without waiting for it: whoever waits cannot be the cable.

use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Instant;

use crate::daemon::control::SOCKET_NAME;
use crate::daemon::control::client::{Answer, NoAnswer};

/// Longest answer that is read.
const ANSWER_MAX: usize = 1 << 20;

/// A request on its way.
#[derive(Debug)]
pub(super) struct Question {
    stream: UnixStream,
    answer: Vec<u8>,
    /// When it was asked.
    pub(super) asked_at: Instant,
}

impl Question {
    /// Sends a request line to the daemon of `run_dir`.
    ///
    /// # Errors
    /// When nobody listens there.
    pub(super) fn ask(run_dir: &Path, request: &str, now: Instant) -> io::Result<Self> {
        let mut stream = UnixStream::connect(run_dir.join(SOCKET_NAME))?;
        stream.set_nonblocking(true)?;
        // A line of this length always fits into a new socket.
        stream.write_all(format!("{request}\n").as_bytes())?;
        Ok(Self { stream, answer: Vec::new(), asked_at: now })
    }

    /// To wait for.
    pub(super) fn descriptor(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }

    /// The answer once it is whole, or why there will be none.
    pub(super) fn try_answer(&mut self) -> Option<Result<Answer, NoAnswer>> {
        let mut chunk = [0; 4096];
        loop {
            match self.stream.read(&mut chunk) {
                Ok(0) => return Some(Answer::parse(&self.answer)),
                Ok(count) => self.answer.extend_from_slice(&chunk[..count]),
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => return None,
                    io::ErrorKind::Interrupted => {}
                    io::ErrorKind::ConnectionReset => return Some(Answer::parse(&self.answer)),
                    _ => return Some(Err(NoAnswer::Io(error))),
                },
            }
            if self.answer.len() > ANSWER_MAX {
                return Some(Err(NoAnswer::Garbled));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::super::stage::Stage;
    use super::*;

    #[test]
    fn question_is_answered_bit_by_bit_or_cut_short() {
        let stage = Stage::new().unwrap();
        assert!(Question::ask(stage.root(), "status", Instant::now()).is_err(), "nobody listens yet");
        let listener = UnixListener::bind(stage.root().join(SOCKET_NAME)).unwrap();
        for (rest, is_whole) in [(&b"hello\nend\n"[..], true), (b"hel", false)] {
            let mut question = Question::ask(stage.root(), "status", Instant::now()).unwrap();
            let (mut daemon, _) = listener.accept().unwrap();
            let mut line = [0; 7];
            daemon.read_exact(&mut line).unwrap();
            assert_eq!(&line, b"status\n");
            assert!(question.try_answer().is_none());
            daemon.write_all(b"code 75\n").unwrap();
            assert!(question.try_answer().is_none());
            daemon.write_all(rest).unwrap();
            drop(daemon);
            match question.try_answer().unwrap() {
                Ok(answer) => assert_eq!((answer.code, answer.body.as_str(), is_whole), (75, "hello\n", true)),
                Err(error) => assert!(matches!(error, NoAnswer::Cut) && !is_whole),
            }
        }
    }
}
