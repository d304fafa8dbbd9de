//! The names that Heartbeat's scripts and operators know: `heartbeat`, `cl_status`, `hb_standby`, `hb_takeover`, with
//! Heartbeat's options, output and exit codes (spec/config.md section 4, spec/resources.md section 20, spec/api.md
//! section 3), over our control socket.
//!
//! Beside Heartbeat's own options each takes `--config-dir`, `--run-dir` and `--state-dir`.
//!
//! Of `heartbeat`'s options these have no counterpart and are refused with the usage code: `-D` and `-W` (table of
//! defaults: `nullbeat check` tells what is in force), `-l` (`realtime no` in ha.cf), `-v`, `-R` and `-C` (internal to the original).

mod cl_status;
mod tools;

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nix::sys::wait::WaitStatus;
use nix::unistd::Pid;

use crate::config::{LoadOptions, Paths, Purpose, load};
use crate::daemon::control::client::{Client, NoAnswer};
use crate::daemon::report::Report;
use crate::sys::pidfd;
use crate::sys::process::{fork_child, signal_process};
use crate::sys::time::local_time;

use super::arguments::{Arguments, PLACES};
use super::{ask, exit, orders, print_out};

/// Heartbeat's exit codes.
mod code {
    pub(super) const USAGE: u8 = 2;
    pub(super) const STOPPED: u8 = 3;
    pub(super) const PERMISSION: u8 = 4;
    pub(super) const NOT_CONFIGURED: u8 = 6;
}

/// The version of Heartbeat that this stands in for, and its own.
const VERSION: &str = concat!("3.0.6 (nullbeat ", env!("CARGO_PKG_VERSION"), ")\n");
const USAGE: &str = "
Usage: heartbeat [-dDkMrRsvWlVf] [-C Current-resource-state]
\t-C only valid with -R
\t-r is mutually exclusive with -R
";
/// How long a daemon in the background may take until it answers.
const START_LIMIT: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(20);

/// The program behind one of Heartbeat's names, or `None` for ours.
pub(super) fn program(called: &str) -> Option<fn(&[String]) -> u8> {
    match called {
        "heartbeat" => Some(main),
        "cl_status" => Some(cl_status::main),
        "hb_standby" => Some(tools::standby),
        "hb_takeover" => Some(tools::takeover),
        _ => None,
    }
}

/// Takes our directory options out of a command line of Heartbeat's.
fn split_places(args: &[String]) -> (Paths, Vec<String>) {
    let (mut places, mut rest) = (Vec::new(), Vec::new());
    let mut words = args.iter();
    while let Some(word) = words.next() {
        let name = word.split_once('=').map_or(word.as_str(), |(name, _)| name);
        if PLACES.iter().any(|place| place.name() == name) {
            places.push(word.clone());
            if name == word {
                places.extend(words.next().cloned());
            }
        } else {
            rest.push(word.clone());
        }
    }
    (Arguments::parse(&places, &PLACES).unwrap_or_default().paths(), rest)
}

/// What `heartbeat`'s options ask for.
#[derive(Debug, Default, PartialEq, Eq)]
struct Wish {
    letters: Vec<char>,
    /// An option that Heartbeat does not know, or one without its value.
    unknown: Option<char>,
}

fn parse(args: &[String]) -> Wish {
    let mut wish = Wish::default();
    let mut words = args.iter();
    while let Some(word) = words.next() {
        // Words that are no option are ignored, as Heartbeat does.
        let Some(cluster) = word.strip_prefix('-') else { continue };
        let mut letters = cluster.chars();
        while let Some(letter) = letters.next() {
            match letter {
                'd' | 'D' | 'k' | 'M' | 'r' | 'R' | 's' | 'v' | 'W' | 'l' | 'V' | 'f' => wish.letters.push(letter),
                'C' => {
                    wish.letters.push(letter);
                    if letters.as_str().is_empty() && words.next().is_none() {
                        wish.unknown.get_or_insert(letter);
                    }
                    break;
                }
                _ => {
                    wish.unknown.get_or_insert(letter);
                }
            }
        }
    }
    wish
}

/// `heartbeat [OPTIONS]`.
fn main(args: &[String]) -> u8 {
    let (paths, rest) = split_places(args);
    let wish = parse(&rest);
    let has = |letter| wish.letters.contains(&letter);
    if let Some(letter) = wish.unknown {
        eprint!("heartbeat: invalid option -- '{letter}'\n{USAGE}");
        return code::USAGE;
    }
    if let Some(letter) = wish.letters.iter().find(|letter| "DWlvRC".contains(**letter)) {
        eprint!("heartbeat: option -{letter} has no counterpart in nullbeat\n{USAGE}");
        return code::USAGE;
    }
    if has('V') {
        print_out(VERSION)
    } else if has('s') {
        status(&paths)
    } else if has('k') {
        stop(&paths)
    } else if has('r') {
        reload(&paths, has('M'))
    } else if has('f') {
        run(&paths, has('M'))
    } else {
        start(&paths, has('M'))
    }
}

/// The guardian of a running daemon.
fn daemon_pid(paths: &Paths) -> Option<i32> {
    let client = ask::connect(&paths.run).ok()?;
    client.daemon_pid().or_else(|| ask::pid_file(&paths.run))
}

/// `-s`.
fn status(paths: &Paths) -> u8 {
    let Some(pid) = daemon_pid(paths) else {
        let printed = print_out("heartbeat is stopped. No process\n");
        // A pid file that nobody removed tells of a daemon that was killed.
        return if printed != exit::OK || paths.run.join("pid").exists() { exit::FAILURE } else { code::STOPPED };
    };
    let host = nix::unistd::gethostname().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let node = node_name(paths).unwrap_or_else(|| host.to_lowercase());
    print_out(&format!("heartbeat OK [pid {pid} et al] is running on {host} [{node}]...\n"))
}

fn status_report(paths: &Paths) -> Option<String> {
    Some(ask::connect(&paths.run).ok()?.ask("status", Some(Duration::from_secs(2))).ok()?.body)
}

fn node_name(paths: &Paths) -> Option<String> {
    let text = status_report(paths)?;
    let report = Report::parse(&text).ok()?;
    report.first("node")?.text("name").map(str::to_owned)
}

/// `-k`: SIGTERM, and wait without limit, as Heartbeat does.
fn stop(paths: &Paths) -> u8 {
    let Some(pid) = daemon_pid(paths) else {
        eprintln!("INFO: Heartbeat already stopped.");
        return exit::OK;
    };
    let sent = pidfd::open(Pid::from_raw(pid)).and_then(|daemon| {
        use std::os::fd::AsFd as _;
        signal_process(daemon.as_fd(), Signal::SIGTERM)?;
        Ok(daemon)
    });
    match sent {
        Ok(daemon) => {
            let far = Instant::now() + Duration::from_secs(365 * 24 * 3600);
            if orders::await_end(&daemon, far) { exit::OK } else { exit::FAILURE }
        }
        Err(error) => {
            eprintln!("ERROR: Could not kill pid {pid}: {error}");
            if error.kind() == std::io::ErrorKind::PermissionDenied { code::PERMISSION } else { exit::FAILURE }
        }
    }
}

/// `-r`: checks the files first; a plain start when nothing runs.
fn reload(paths: &Paths, is_without_resources: bool) -> u8 {
    let Some(pid) = daemon_pid(paths) else { return start(paths, is_without_resources) };
    let report = status_report(paths).unwrap_or_default();
    let report = Report::parse(&report).unwrap_or_default();
    let options = LoadOptions {
        node: report.first("node").and_then(|node| node.text("name")).map(str::to_owned),
        is_unfenced: true,
        is_without_resources: orders::is_without_resources(&report),
        ..LoadOptions::new(Purpose::Check)
    };
    let loaded = load(paths, &options);
    if loaded.config.is_none() {
        for finding in &loaded.findings {
            eprintln!("{finding}");
        }
        log_line("info", &format!("Config errors: Heartbeat pid {pid} NOT restarted"));
        return exit::FAILURE;
    }
    log_line("info", &format!("Signalling heartbeat pid {pid} to reread config files"));
    match ask::connect(&paths.run).and_then(|client| client.ask("reload", None)) {
        // Answered only when it is refused.
        Err(NoAnswer::Cut) => exit::OK,
        Ok(answer) => {
            let code = ask::say("reload", &answer);
            if code == exit::NOT_PERMITTED { code::PERMISSION } else { code.min(exit::FAILURE) }
        }
        Err(error) => {
            eprintln!("ERROR: {error}");
            exit::FAILURE
        }
    }
}

/// `-f`.
fn run(paths: &Paths, is_without_resources: bool) -> u8 {
    match super::dispatch("nullbeat", &run_arguments(paths, is_without_resources)) {
        exit::CONFIGURATION => code::NOT_CONFIGURED,
        other => other,
    }
}

fn run_arguments(paths: &Paths, is_without_resources: bool) -> Vec<String> {
    let place = |name: &str, path: &Path| format!("{name}={}", path.display());
    let mut words = vec![
        "run".to_owned(),
        place("--config-dir", &paths.config),
        place("--run-dir", &paths.run),
        place("--state-dir", &paths.state),
    ];
    words.extend(is_without_resources.then(|| "--no-resources".to_owned()));
    words
}

/// Without options: check, go into the background, run.
fn start(paths: &Paths, is_without_resources: bool) -> u8 {
    if let Some(pid) = daemon_pid(paths) {
        log_line("info", &format!("heartbeat: already running [pid {pid}]."));
        return exit::OK;
    }
    let loaded = load(paths, &LoadOptions { is_without_resources, ..LoadOptions::new(Purpose::Run) });
    for finding in &loaded.findings {
        eprintln!("{finding}");
    }
    if loaded.config.is_none() {
        log_line("ERROR", "Configuration error, heartbeat not started.");
        return code::NOT_CONFIGURED;
    }
    let child = match fork_child(|| i32::from(in_background(paths, is_without_resources))) {
        Ok(child) => child,
        Err(error) => {
            log_line("ERROR", &format!("Cannot fork: {error}"));
            return exit::FAILURE;
        }
    };
    let deadline = Instant::now() + START_LIMIT;
    loop {
        match child.try_wait() {
            Ok(None) => {}
            Ok(Some(WaitStatus::Exited(_, end))) => return u8::try_from(end).unwrap_or(exit::FAILURE),
            Ok(Some(_)) | Err(_) => return exit::FAILURE,
        }
        if Client::connect(&paths.run).is_ok() || Instant::now() >= deadline {
            return exit::OK;
        }
        std::thread::sleep(PAUSE);
    }
}

/// The child's part: a session of its own, nothing of the terminal, the daemon.
fn in_background(paths: &Paths, is_without_resources: bool) -> u8 {
    let detached = nix::unistd::setsid().map_err(std::io::Error::from).and_then(|_| {
        let null = fs::OpenOptions::new().read(true).write(true).open("/dev/null")?;
        nix::unistd::dup2_stdin(&null)?;
        nix::unistd::dup2_stdout(&null)?;
        nix::unistd::dup2_stderr(&null)?;
        Ok(())
    });
    match detached {
        Ok(()) => run(paths, is_without_resources),
        Err(error) => {
            log_line("ERROR", &format!("Cannot detach: {error}"));
            exit::FAILURE
        }
    }
}

/// `YYYY/MM/DD_HH:MM:SS`, Heartbeat's way of writing a moment.
fn moment() -> String {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    local_time(since.as_secs()).map_or_else(String::new, |time| {
        format!(
            "{:04}/{:02}/{:02}_{:02}:{:02}:{:02}",
            time.year, time.month, time.day, time.hour, time.minute, time.second
        )
    })
}

fn log_line(level: &str, text: &str) {
    eprintln!("heartbeat[{}]: {} {level}: {text}", std::process::id(), moment());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn options_come_in_clusters_and_words_are_ignored() {
        let wish = parse(&words("-df extra -s"));
        assert_eq!((wish.letters.as_slice(), wish.unknown), (&['d', 'f', 's'][..], None));
        assert_eq!(parse(&words("-rz")).unknown, Some('z'));
        assert_eq!(parse(&words("-C")).unknown, Some('C'));
        assert_eq!(parse(&words("-R -C all -d")).letters, ['R', 'C', 'd']);
        assert_eq!(parse(&words("-Call -d")).letters, ['C', 'd']);
    }

    #[test]
    fn directories_may_stand_anywhere() {
        let (paths, rest) = split_places(&words("-s --run-dir=/a --config-dir /b x"));
        assert_eq!((paths.run.to_str(), paths.config.to_str()), (Some("/a"), Some("/b")));
        assert_eq!(paths.state.to_str(), Some("/var/lib/nullbeat"));
        assert_eq!(rest, ["-s", "x"]);
    }

    #[test]
    fn codes_are_those_of_heartbeat() {
        let nowhere = format!("--run-dir={}/nullbeat-nowhere", std::env::temp_dir().display());
        let with = |option: &str| main(&[option.to_owned(), nowhere.clone()]);
        assert_eq!(with("-V"), exit::OK);
        assert_eq!(with("-s"), code::STOPPED);
        assert_eq!(with("-k"), exit::OK);
        assert_eq!(with("-z"), code::USAGE);
        assert_eq!(with("-D"), code::USAGE);
    }
}
