//! What the names of services (`apphbd`, `ha_logd`) have in common: one-letter options, a pid file, lines before there is a
//! log, the background.
//!
//! Ours are the options `--foreground`, for service managers, `--socket PATH` and `--pid-file PATH` for boards on which these
//! have moved, and `--stand-by`, by which the guardian starts them: while another one serves they wait for its end.

use std::ffi::CString;
use std::fs::{File, OpenOptions};
use std::io::{self, PipeWriter, Read as _, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::sys::wait::WaitStatus;
use nix::unistd::Pid;

use super::split_option;
use crate::cli::exit;
use crate::daemon::log_pipe::Level;
use crate::daemon::logger::{Destinations, present_line_of};
use crate::daemon::pid_file;
use crate::daemon::places::Places;
use crate::sys::pidfd;
use crate::sys::process::{fork_child, signal_process};

/// How long a service may take to end once it was asked to.
const STOP_LIMIT: Duration = Duration::from_secs(60);

/// Options as getopt(3) takes them: letters, of which some have a value, and words that are no options.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Options {
    pub(super) letters: Vec<char>,
    pub(super) values: Vec<(char, String)>,
    pub(super) words: Vec<String>,
    /// In getopt's words, behind the program's name.
    pub(super) complaints: Vec<String>,
    /// `--foreground`, ours: not into the background, whatever the original does.
    pub(super) is_foreground: bool,
    /// `--stand-by`, ours, in the foreground as well.
    pub(super) is_standby: bool,
}

impl Options {
    /// `spec` as for getopt(3): each letter that has a value is followed by a colon.
    pub(super) fn parse(spec: &str, args: &[String]) -> Self {
        let mut options = Self::default();
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            if arg == "--" {
                options.words.extend(args.cloned());
                break;
            }
            if arg == "--foreground" {
                options.is_foreground = true;
                continue;
            }
            if arg == "--stand-by" {
                (options.is_foreground, options.is_standby) = (true, true);
                continue;
            }
            let Some(cluster) = arg.strip_prefix('-').filter(|rest| !rest.is_empty()) else {
                options.words.push(arg.clone());
                continue;
            };
            let mut letters = cluster.chars();
            while let Some(letter) = letters.next() {
                let place = spec.find(letter).filter(|_| letter != ':');
                let Some(place) = place else {
                    options.complaints.push(format!("invalid option -- '{letter}'"));
                    continue;
                };
                if !spec[place + letter.len_utf8()..].starts_with(':') {
                    options.letters.push(letter);
                    continue;
                }
                let rest = letters.as_str();
                let value = if rest.is_empty() { args.next().cloned() } else { Some(rest.to_owned()) };
                match value {
                    Some(value) => options.values.push((letter, value)),
                    None => options.complaints.push(format!("option requires an argument -- '{letter}'")),
                }
                break;
            }
        }
        options
    }

    pub(super) fn has(&self, letter: char) -> bool {
        self.letters.contains(&letter)
    }

    /// The last value that was given.
    pub(super) fn value(&self, letter: char) -> Option<&str> {
        self.values.iter().rev().find(|(known, _)| *known == letter).map(|(_, value)| value.as_str())
    }

    /// Says what is wrong with them, if anything; whether something is.
    pub(super) fn complain(&self) -> bool {
        let name = std::env::args().next().unwrap_or_default();
        for complaint in &self.complaints {
            eprintln!("{name}: {complaint}");
        }
        !self.complaints.is_empty()
    }
}

/// A service that is known by its pid file.
pub(super) struct Service {
    pub(super) name: &'static str,
    /// The tag of its lines.
    pub(super) tag: &'static str,
    pub(super) places: Places,
}

impl Service {
    /// One with its things in the usual places, unless `args` say otherwise; the other arguments come back.
    pub(super) fn placed(name: &'static str, tag: &'static str, usual: Places, args: &[String]) -> (Self, Vec<String>) {
        let (socket, args) = split_option(args, "--socket");
        let (pid_file, args) = split_option(&args, "--pid-file");
        let places = Places {
            socket: socket.map_or(usual.socket, Into::into),
            pid_file: pid_file.map_or(usual.pid_file, Into::into),
        };
        (Self { name, tag, places }, args)
    }

    /// A line on standard error, before there is a log.
    pub(super) fn say(&self, level: Level, text: &str) {
        eprint!("{}", self.line(level, text));
    }

    fn line(&self, level: Level, text: &str) -> String {
        present_line_of(&Destinations::of_service(self.tag, true), level, text)
    }

    /// Opens the service and has it serve, in the background unless told otherwise. Gives the exit code.
    pub(super) fn start<S>(
        self,
        is_foreground: bool,
        open: impl FnOnce(Places) -> Result<S, String>,
        serve: impl FnOnce(S) -> u8,
    ) -> u8 {
        run(is_foreground, |ready| match open(self.places.clone()) {
            Ok(service) => {
                ready.tell();
                serve(service)
            }
            Err(complaint) => {
                ready.complain(&self.line(Level::Error, &complaint));
                exit::FAILURE
            }
        })
    }

    /// Waits until no other one serves here.
    ///
    /// # Errors
    /// What opening and awaiting its process say.
    pub(super) fn stand_by(&self) -> io::Result<()> {
        // Not by its name: who looks for the service does not mean this process.
        let _ = CString::new(format!("{}:standby", self.name)).map(|name| prctl::set_name(&name));
        while let Some(pid) = self.pid() {
            await_end(pid, None, |_| Ok(()))?;
        }
        Ok(())
    }

    /// Its process, when it runs: ours or the packaged one.
    pub(super) fn pid(&self) -> Option<i32> {
        pid_file::read(&self.places.pid_file).filter(|pid| pid_file::is_called(*pid, self.name))
    }

    /// SIGTERM, and waits for the end of the process.
    ///
    /// # Errors
    /// What the signal's system call says, `TimedOut` when it does not end.
    pub(super) fn stop(&self, pid: i32) -> io::Result<()> {
        await_end(pid, Some(STOP_LIMIT), |process| signal_process(process, Signal::SIGTERM))
    }
}

/// Does something to a process, and waits for its end.
fn await_end(
    pid: i32,
    limit: Option<Duration>,
    before: impl FnOnce(BorrowedFd<'_>) -> io::Result<()>,
) -> io::Result<()> {
    let process = match pidfd::open(Pid::from_raw(pid)) {
        Err(error) if error.raw_os_error() == Some(Errno::ESRCH as i32) => return Ok(()),
        process => process?,
    };
    before(process.as_fd())?;
    let deadline = limit.map(|limit| Instant::now() + limit);
    loop {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let timeout = left.map_or(PollTimeout::NONE, |left| PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX));
        match poll(&mut [PollFd::new(process.as_fd(), PollFlags::POLLIN)], timeout) {
            Ok(0) => return Err(io::ErrorKind::TimedOut.into()),
            Ok(_) => return Ok(()),
            Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// How a service that starts talks to whoever has started it.
struct Ready(Option<Starter>);

/// The other side of one in the background.
struct Starter {
    waiting: PipeWriter,
    stderr: File,
}

impl Ready {
    /// The service is open: clients find it. What goes wrong from here on is in its log.
    fn tell(self) {
        if let Some(mut starter) = self.0 {
            let _ = starter.waiting.write_all(b"\n");
        }
    }

    /// It cannot start; `line` says why, with its newline.
    fn complain(self, line: &str) {
        match self.0 {
            Some(mut starter) => {
                let _ = starter.stderr.write_all(line.as_bytes());
            }
            None => eprint!("{line}"),
        }
    }
}

/// Runs `run` in the background and waits until it has called [`Ready::tell`] or ended; or right here, when
/// `is_foreground`. Gives the exit code.
fn run(is_foreground: bool, run: impl FnOnce(Ready) -> u8) -> u8 {
    if is_foreground {
        return run(Ready(None));
    }
    let forked = io::pipe().and_then(|(reader, waiting)| {
        let stderr = File::from(io::stderr().as_fd().try_clone_to_owned()?);
        // The terminal, or a pipe that somebody reads to its end, must not stay open in what the service forks.
        let child = fork_child(move || match leave_terminal() {
            Ok(()) => i32::from(run(Ready(Some(Starter { waiting, stderr })))),
            Err(_) => i32::from(exit::FAILURE),
        })?;
        Ok((reader, child))
    });
    let (mut reader, child) = match forked {
        Ok(forked) => forked,
        Err(error) => {
            eprintln!("Cannot go into the background: {error}");
            return exit::FAILURE;
        }
    };
    if reader.read_exact(&mut [0]).is_ok() {
        return exit::OK;
    }
    match nix::sys::wait::waitpid(child.pid, None) {
        Ok(WaitStatus::Exited(_, code)) => u8::try_from(code).unwrap_or(exit::FAILURE),
        _ => exit::FAILURE,
    }
}

/// A session of its own, nothing of the terminal, no directory that somebody wants to unmount.
pub(super) fn leave_terminal() -> io::Result<()> {
    nix::unistd::setsid()?;
    let null = OpenOptions::new().read(true).write(true).open("/dev/null")?;
    nix::unistd::dup2_stdin(&null)?;
    nix::unistd::dup2_stdout(&null)?;
    nix::unistd::dup2_stderr(&null)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(spec: &str, text: &str) -> Options {
        Options::parse(spec, &text.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn options_are_taken_as_getopt_does() {
        let options = parse("dksc:", "-dk -c one -ctwo word - --foreground -- --stand-by");
        assert_eq!(options.letters, ['d', 'k']);
        assert_eq!(options.value('c'), Some("two"));
        assert_eq!(options.words, ["word", "-", "--stand-by"]);
        assert!(options.has('d') && !options.has('s') && options.is_foreground && options.complaints.is_empty());
        assert!(!options.is_standby && parse("", "--stand-by").is_standby);
    }

    #[test]
    fn what_is_wrong_is_said_in_the_words_of_getopt() {
        let options = parse("dc:", "-z -: -c");
        let expected = ["invalid option -- 'z'", "invalid option -- ':'", "option requires an argument -- 'c'"];
        assert_eq!(options.complaints, expected);
    }

    #[test]
    fn background_gives_the_code_of_what_failed_before_it_was_ready() {
        assert_eq!(run(false, |_| 6), 6);
        assert_eq!(
            run(false, |ready| {
                ready.tell();
                9
            }),
            exit::OK
        );
        assert_eq!(
            run(true, |ready| {
                ready.tell();
                7
            }),
            7
        );
    }
}
