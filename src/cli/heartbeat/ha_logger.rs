//! The name `ha_logger` (spec/api.md 8.4): each word becomes a line of the logging daemon's, for boards without the
//! package that brings the original.

use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::time::{SystemTime, UNIX_EPOCH};

use super::service::Options;
use super::split_option;
use crate::api::ipc::header;
use crate::api::logd::message::{ENCODED_MAX, Message};
use crate::cli::exit;

const USAGE: &str = "usage: ha_logger [-t tag] [-D <ha-log/ha-debug>] [message]\n";
const SOCKET: &str = "/var/lib/heartbeat/log_daemon";
/// The tag without `-t`.
const TAG: &str = "cluster";
/// Bytes of one line; a longer word becomes several.
const LINE_MAX: usize = 1024;
const INFO: u8 = 6;
const DEBUG: u8 = 7;

/// `ha_logger [OPTIONS] [WORDS]`.
pub(super) fn main(args: &[String]) -> u8 {
    let (socket, args) = split_option(args, "--socket");
    let options = Options::parse("t:D:h", &args);
    let priority = match options.value('D') {
        None | Some("ha-log") => Some(INFO),
        Some("ha-debug") => Some(DEBUG),
        Some(_) => None,
    };
    let Some(priority) = priority.filter(|_| !options.complain() && !options.has('h')) else {
        eprint!("{USAGE}");
        return exit::FAILURE;
    };
    let entity = options.value('t').unwrap_or(TAG);
    match log(socket.as_deref().unwrap_or(SOCKET), priority, entity, &options.words) {
        Ok(()) => exit::OK,
        Err(_) => {
            eprint!("logd is not running");
            exit::FAILURE
        }
    }
}

fn log(socket: &str, priority: u8, entity: &str, words: &[String]) -> std::io::Result<()> {
    let mut logd = UnixStream::connect(socket)?;
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let (pid, entity) = (std::process::id().cast_signed(), entity.as_bytes());
    for text in words.iter().flat_map(|word| word.as_bytes().chunks(LINE_MAX)) {
        let message = Message { priority, is_worded: false, pid, entity, seconds, text };
        let mut room = [0; ENCODED_MAX];
        let body = message.encode(&mut room);
        logd.write_all(&header(body.len()))?;
        logd.write_all(body)?;
    }
    Ok(())
}
