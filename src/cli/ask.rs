//! Asking a running daemon, with the exit codes for everything that can go wrong.

use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::Pid;

use crate::daemon::control::client::{Answer, Client, NoAnswer};
use crate::daemon::pid_file;

use super::exit;

/// How long a question may take.
pub(super) const QUESTION_LIMIT: Duration = Duration::from_secs(10);
/// How long a daemon whose engine is being replaced is given to listen again.
const REPLACEMENT_LIMIT: Duration = Duration::from_secs(5);
/// Pause between two tries.
const PAUSE: Duration = Duration::from_millis(20);

/// Connects. While the daemon's first process lives, nobody listening means that its engine is being replaced: that is
/// waited for.
///
/// # Errors
/// As [`Client::connect`].
pub(super) fn connect(run_dir: &Path) -> Result<Client, NoAnswer> {
    let deadline = Instant::now() + REPLACEMENT_LIMIT;
    loop {
        match Client::connect(run_dir) {
            Err(NoAnswer::NotRunning(_)) if is_alive(run_dir) && Instant::now() < deadline => std::thread::sleep(PAUSE),
            result => return result,
        }
    }
}

/// The number in the pid file of a daemon; it is removed at an orderly end only.
pub(super) fn pid_file(run_dir: &Path) -> Option<i32> {
    pid_file::read(&run_dir.join("pid"))
}

fn is_alive(run_dir: &Path) -> bool {
    let exists = |pid| kill(Pid::from_raw(pid), None) != Err(Errno::ESRCH);
    pid_file(run_dir).is_some_and(exists)
}

/// Asks for a report. An engine that is being replaced cuts the connection; the next one is asked again.
///
/// # Errors
/// The exit code, after the reason was printed.
pub(super) fn question(verb: &str, run_dir: &Path, request: &str, limit: Duration) -> Result<String, u8> {
    let deadline = Instant::now() + limit;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match connect(run_dir).and_then(|client| client.ask(request, Some(left))) {
            Ok(answer) if answer.code == exit::OK => return Ok(answer.body),
            Ok(answer) => return Err(say(verb, &answer)),
            Err(NoAnswer::Cut) if Instant::now() < deadline => std::thread::sleep(PAUSE),
            Err(NoAnswer::TimedOut) => {
                eprintln!("nullbeat {verb}: the daemon does not answer");
                return Err(exit::NOT_RUNNING);
            }
            Err(error) => return Err(fail(verb, &error)),
        }
    }
}

/// Prints what the daemon has to say beside its code: good news to standard output, others to standard error.
pub(super) fn say(verb: &str, answer: &Answer) -> u8 {
    for line in answer.body.lines() {
        if answer.code == exit::OK {
            println!("{line}");
        } else {
            eprintln!("nullbeat {verb}: {line}");
        }
    }
    answer.code
}

/// Says why there is no answer.
pub(super) fn fail(verb: &str, error: &NoAnswer) -> u8 {
    eprintln!("nullbeat {verb}: {error}");
    match error {
        NoAnswer::NotRunning(_) => exit::NOT_RUNNING,
        NoAnswer::NotPermitted(_) => exit::NOT_PERMITTED,
        NoAnswer::TimedOut => exit::TRY_AGAIN,
        NoAnswer::Cut | NoAnswer::Garbled | NoAnswer::Io(_) => exit::FAILURE,
    }
}
