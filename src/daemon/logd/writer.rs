//! The process that writes.

use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::time::Instant;

use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::socket::{MsgFlags, recv};

use crate::api::logd::message::{ENCODED_MAX, Message};
use crate::daemon::log_pipe::{Level, LogLine, clean};
use crate::daemon::logger::{Destinations, Logger, ignore_requests_to_end};
use crate::sys::process::{Child, close_descriptors_but, fork_child};

/// In place of a line: the files are to be opened anew.
pub(super) const REOPEN: &[u8] = b"R";
/// Lines that are written out together.
const BATCH: usize = 64;

/// Forks the process; it ends when nobody can send any more and everything is written.
pub(super) fn fork(to: &Destinations, socket: &OwnedFd) -> io::Result<Child> {
    let socket = socket.try_clone()?;
    fork_child(move || {
        let _ = prctl::set_name(c"ha_logd:writer");
        ignore_requests_to_end();
        if close_descriptors_but(&mut [socket.as_raw_fd()]).is_err() {
            return 1;
        }
        Writer { logger: Logger::new(to), socket }.live()
    })
}

struct Writer {
    logger: Logger,
    socket: OwnedFd,
}

impl Writer {
    fn live(&mut self) -> i32 {
        loop {
            let mut flags = MsgFlags::empty();
            for _ in 0..BATCH {
                match self.take(flags) {
                    Ok(true) => flags = MsgFlags::MSG_DONTWAIT,
                    Ok(false) => {
                        self.logger.flush(Instant::now());
                        return 0;
                    }
                    Err(Errno::EAGAIN) => break,
                    Err(Errno::EINTR) => {}
                    Err(_) => return 1,
                }
            }
            self.logger.flush(Instant::now());
        }
    }

    /// Takes one line; false at the end.
    fn take(&mut self, flags: MsgFlags) -> Result<bool, Errno> {
        let mut body = [0; ENCODED_MAX];
        let length = recv(self.socket.as_raw_fd(), &mut body, flags)?;
        if length == 0 {
            return Ok(false);
        }
        let body = &body[..length];
        if body == REOPEN {
            self.logger.reopen();
            self.logger.say(Level::Info, "SIGHUP received, re-opened log files");
        } else if let Some(message) = Message::decode(body) {
            self.write(&message);
        }
        Ok(true)
    }

    fn write(&mut self, message: &Message<'_>) {
        let (entity, text) = (clean(message.entity), clean(message.text));
        let line = LogLine {
            level: Level::of_number(message.priority),
            pid: message.pid.cast_unsigned(),
            process: "client",
            entity: Some(&entity),
            is_worded: message.is_worded,
            seconds: message.seconds,
            micros: 0,
            dropped: 0,
            text: &text,
        };
        self.logger.put(&line);
    }
}
