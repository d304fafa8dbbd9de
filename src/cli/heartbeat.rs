//! The names that Heartbeat's scripts and operators know: `heartbeat`, `cl_status`, `hb_standby`, `apphbd` and others, with
//! Heartbeat's options, output and exit codes (spec/config.md section 4, spec/resources.md section 20, spec/api.md
//! section 3), over our control socket and our signals.
//!
//! Beside Heartbeat's own options each takes `--config-dir`, `--run-dir` and `--state-dir`.
//!
//! `heartbeat` knows a daemon by its pid file, as the original does, and not by its socket: an engine whose guardian was
//! killed still answers there, and is adopted by the next start.

mod apphbd;
mod cl_status;
mod ha_logd;
mod ha_logger;
mod library;
pub(crate) mod membership;
mod node_tools;
mod options;
mod service;
mod tables;
mod tools;

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nix::sys::wait::WaitStatus;
use nix::unistd::Pid;

use crate::config::{Config, LoadOptions, Loaded, Paths, Purpose, Severity, load};
use crate::daemon::control::client::Client;
use crate::daemon::log_pipe::Level;
use crate::daemon::report::Report;
use crate::daemon::run_directory::{LockError, RunDirectory};
use crate::daemon::{logger, pid_file};
use crate::sys::pidfd;
use crate::sys::process::{fork_child, ignore_interrupt, signal_process};
use crate::sys::time::local_time;

use super::{exit, orders, print_out};
use options::{Wish, split_places};

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
/// As long as it takes: Heartbeat has no limit for a stop.
const STOP_LIMIT: Duration = Duration::from_secs(365 * 24 * 3600);
const PAUSE: Duration = Duration::from_millis(20);

/// The program behind one of Heartbeat's names, or `None` for ours.
pub(super) fn program(called: &str) -> Option<fn(&[String]) -> u8> {
    match called {
        "heartbeat" => Some(main),
        "apphbd" => Some(apphbd::main),
        "cl_status" => Some(cl_status::main),
        "ha_logd" => Some(ha_logd::main),
        "ha_logger" => Some(ha_logger::main),
        "hb_standby" => Some(tools::standby),
        "hb_takeover" => Some(tools::takeover),
        "hb_addnode" => Some(node_tools::add),
        "hb_delnode" => Some(node_tools::delete),
        "hb_setweight" => Some(node_tools::set_weight),
        "hb_setsite" => Some(node_tools::set_site),
        _ => None,
    }
}

/// `heartbeat [OPTIONS]`.
fn main(args: &[String]) -> u8 {
    let (paths, rest) = split_places(args);
    let wish = Wish::parse(&rest);
    if wish.is_misuse() {
        let name = std::env::args().next().unwrap_or_else(|| "heartbeat".to_owned());
        for complaint in &wish.complaints {
            eprintln!("{name}: {complaint}");
        }
        eprint!("{USAGE}");
        return code::USAGE;
    }
    // The first of these that was given, whatever the order on the command line.
    if wish.has('V') {
        print_out(VERSION)
    } else if wish.has('D') {
        print_out(&if wish.has('W') { tables::wiki() } else { tables::defaults() })
    } else if wish.has('k') {
        stop(&paths)
    } else if wish.has('s') {
        status(&paths)
    } else if wish.has('R') {
        restart(&paths)
    } else if wish.has('r') {
        reload(&paths, &wish)
    } else {
        start(&paths, &wish)
    }
}

/// The daemon that runs here: ours, or Heartbeat itself, which a board that is being moved to nullbeat may still run.
fn daemon_pid(paths: &Paths) -> Option<i32> {
    let files = [Some(paths.run.join("pid")), pid_file::of_heartbeat(&paths.run)];
    files.into_iter().flatten().filter_map(|file| pid_file::read(&file)).find(|pid| pid_file::is_daemon(*pid))
}

/// `-s`.
fn status(paths: &Paths) -> u8 {
    let Some(pid) = daemon_pid(paths) else {
        let printed = print_out("heartbeat is stopped. No process\n");
        // A pid file that nobody removed tells of a daemon that was killed.
        let is_left =
            paths.run.join("pid").exists() || pid_file::of_heartbeat(&paths.run).is_some_and(|it| it.exists());
        return if printed != exit::OK || is_left { exit::FAILURE } else { code::STOPPED };
    };
    let host = hostname();
    let text = status_text(paths);
    let node = Report::parse(&text).ok().and_then(|report| node_name(&report)).unwrap_or_else(|| host.to_lowercase());
    print_out(&format!("heartbeat OK [pid {pid} et al] is running on {host} [{node}]...\n"))
}

/// What the daemon tells of itself, when it may be asked and answers.
fn status_text(paths: &Paths) -> String {
    let ask = |client: Client| client.ask("status", Some(Duration::from_secs(2)));
    Client::connect(&paths.run).and_then(ask).map_or_else(|_| String::new(), |answer| answer.body)
}

/// The name under which it takes part.
fn node_name(report: &Report) -> Option<String> {
    report.first("node")?.text("name").map(str::to_owned)
}

/// `-k`: SIGTERM, and wait without limit, as Heartbeat does. What a killed daemon has left running is stopped too.
fn stop(paths: &Paths) -> u8 {
    let Some(pid) = daemon_or_none_starting(paths) else {
        let released = if paths.run.join("lease").exists() { nullbeat("release", paths, &[]) } else { exit::OK };
        eprintln!("INFO: Heartbeat already stopped.");
        return released.min(exit::FAILURE);
    };
    match signal(pid, Signal::SIGTERM) {
        Ok(daemon) => {
            let is_gone = orders::await_end(&daemon, Instant::now() + STOP_LIMIT);
            if is_gone { exit::OK } else { exit::FAILURE }
        }
        Err(refused) => refused,
    }
}

/// The daemon that runs here; one that is just starting is waited for until it has its pid file.
fn daemon_or_none_starting(paths: &Paths) -> Option<i32> {
    let deadline = Instant::now() + START_LIMIT;
    loop {
        let pid = daemon_pid(paths);
        let is_starting =
            || paths.run.join("lease").exists() && matches!(RunDirectory::lock(&paths.run), Err(LockError::Held(_)));
        if pid.is_some() || !is_starting() || Instant::now() >= deadline {
            return pid;
        }
        std::thread::sleep(PAUSE);
    }
}

/// Sends a signal to the daemon. The descriptor is readable when that daemon, and no other, has ended.
fn signal(pid: i32, signal: Signal) -> Result<OwnedFd, u8> {
    let sent = pidfd::open(Pid::from_raw(pid)).and_then(|daemon| {
        signal_process(daemon.as_fd(), signal)?;
        Ok(daemon)
    });
    sent.map_err(|error| {
        let reason =
            error.raw_os_error().map_or(error.to_string(), |errno| nix::Error::from_raw(errno).desc().to_owned());
        eprintln!("ERROR: Could not kill pid {pid} : {reason}");
        if error.kind() == std::io::ErrorKind::PermissionDenied { code::PERMISSION } else { exit::FAILURE }
    })
}

/// `-R`: with it the original executes itself; nullbeat has no use for it.
fn restart(paths: &Paths) -> u8 {
    if let Some(pid) = daemon_pid(paths) {
        eprintln!("ERROR: Heartbeat already running [pid {pid}].");
        exit::FAILURE
    } else {
        eprintln!("ERROR: heartbeat is not running.");
        code::NOT_CONFIGURED
    }
}

/// `-r`: checks the files, then SIGHUP; a plain start when nothing runs.
fn reload(paths: &Paths, wish: &Wish) -> u8 {
    let Some(pid) = daemon_pid(paths) else { return start(paths, wish) };
    let text = status_text(paths);
    let report = Report::parse(&text).unwrap_or_default();
    let options = LoadOptions {
        node: node_name(&report),
        is_without_resources: orders::is_without_resources(&report),
        ..LoadOptions::new(Purpose::Run)
    };
    let config = match validated(paths, &options) {
        Ok(config) => config,
        Err(code) => {
            say(Level::Info, &format!("Config errors: Heartbeat pid {pid} NOT restarted"));
            return if code == code::PERMISSION { code } else { exit::FAILURE };
        }
    };
    let text = format!("Signalling heartbeat pid {pid} to reread config files");
    say(Level::Info, &text);
    say_in_files(&config, &text);
    signal(pid, Signal::SIGHUP).map_or_else(|code| code, |_| exit::OK)
}

/// Reads the files and says what is wrong or doubtful.
fn validated(paths: &Paths, options: &LoadOptions<'_>) -> Result<Config, u8> {
    let Loaded { config, findings } = load(paths, options);
    for finding in findings.iter().filter(|finding| finding.severity != Severity::Note) {
        eprintln!("{finding}");
    }
    config.ok_or_else(|| {
        let has_error = |name: &str| {
            let path = paths.config.join(name);
            findings.iter().any(|finding| finding.severity == Severity::Error && finding.file == path)
        };
        if has_error("ha.cf") {
            say(Level::Error, "Heartbeat not started: configuration error.");
        }
        if has_error("authkeys") {
            say(Level::Error, "Authentication configuration error.");
        }
        let is_unreadable = |name| {
            fs::File::open(paths.config.join(name))
                .is_err_and(|error| error.kind() == std::io::ErrorKind::PermissionDenied)
        };
        if ["ha.cf", "authkeys", "haresources"].into_iter().any(is_unreadable) {
            code::PERMISSION
        } else {
            code::NOT_CONFIGURED
        }
    })
}

/// Without `-k`, `-s` or `-r`: check, go into the background unless `-f` is given, run.
fn start(paths: &Paths, wish: &Wish) -> u8 {
    let options = LoadOptions { is_without_resources: wish.has('M'), ..LoadOptions::new(Purpose::Run) };
    let config = match validated(paths, &options) {
        Ok(config) => config,
        Err(code) => {
            say(Level::Error, "Configuration error, heartbeat not started.");
            return code;
        }
    };
    say(Level::Info, "**************************");
    say(Level::Info, "Configuration validated. Starting heartbeat 3.0.6");
    if wish.has('v') {
        print_out(&tables::configuration(&hostname(), &config, wish.debug()));
    }
    if let Some(pid) = daemon_pid(paths) {
        return already_running(pid);
    }
    let ended = if wish.has('f') {
        run(paths, &[&wish.for_run()[..], &["--foreground".to_owned()]].concat())
    } else {
        in_background(paths, wish)
    };
    match ended {
        exit::CONFIGURATION => code::NOT_CONFIGURED,
        exit::TRY_AGAIN => daemon_pid(paths).map_or(exit::FAILURE, already_running),
        other => other,
    }
}

fn already_running(pid: i32) -> u8 {
    say(Level::Info, &format!("heartbeat: already running [pid {pid}]."));
    exit::OK
}

/// The daemon itself.
fn run(paths: &Paths, words: &[String]) -> u8 {
    // As the original; its children are spawned with every signal at its default.
    ignore_interrupt();
    nullbeat("run", paths, words)
}

/// A verb of ours, in this process.
fn nullbeat(verb: &str, paths: &Paths, words: &[String]) -> u8 {
    let place = |name: &str, path: &Path| format!("{name}={}", path.display());
    let own = [
        verb.to_owned(),
        place("--config-dir", &paths.config),
        place("--run-dir", &paths.run),
        place("--state-dir", &paths.state),
    ];
    super::dispatch("nullbeat", &[&own[..], words].concat())
}

/// Starts the daemon and waits until it answers, or has ended.
fn in_background(paths: &Paths, wish: &Wish) -> u8 {
    let child = match fork_child(|| i32::from(detached(paths, wish))) {
        Ok(child) => child,
        Err(error) => {
            say(Level::Error, &format!("Cannot fork: {error}"));
            return exit::FAILURE;
        }
    };
    let deadline = Instant::now() + START_LIMIT;
    loop {
        match child.try_wait() {
            Ok(None) => {}
            Ok(Some(WaitStatus::Exited(_, end))) => {
                let code = u8::try_from(end).unwrap_or(exit::FAILURE);
                if code != exit::TRY_AGAIN {
                    say(Level::Error, &format!("heartbeat ended with code {code}: the log tells more."));
                }
                return code;
            }
            Ok(Some(_)) | Err(_) => return exit::FAILURE,
        }
        // An engine that an earlier guardian left behind may answer until this one has replaced it.
        let is_in_charge = pid_file::read(&paths.run.join("pid")) == Some(child.pid.as_raw());
        if (is_in_charge && Client::connect(&paths.run).is_ok()) || Instant::now() >= deadline {
            return exit::OK;
        }
        std::thread::sleep(PAUSE);
    }
}

/// The child's part: a session of its own, nothing of the terminal, the daemon.
fn detached(paths: &Paths, wish: &Wish) -> u8 {
    match service::leave_terminal() {
        Ok(()) => run(paths, &wish.for_run()),
        Err(error) => {
            say(Level::Error, &format!("Cannot detach: {error}"));
            exit::FAILURE
        }
    }
}

/// Takes the long option `name`, which has a value, out of a command line of Heartbeat's.
fn split_option(args: &[String], name: &str) -> (Option<String>, Vec<String>) {
    let (mut value, mut rest) = (None, Vec::new());
    let mut words = args.iter();
    while let Some(word) = words.next() {
        if word == name {
            value = words.next().cloned();
        } else if let Some(given) = word.strip_prefix(name).and_then(|given| given.strip_prefix('=')) {
            value = Some(given.to_owned());
        } else {
            rest.push(word.clone());
        }
    }
    (value, rest)
}

/// `uname -n`.
fn hostname() -> String {
    nix::unistd::gethostname().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// `YYYY/MM/DD_HH:MM:SS`, as Heartbeat's shell tools write a moment.
fn moment() -> String {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    local_time(since.as_secs()).map_or_else(String::new, |time| {
        format!(
            "{:04}/{:02}/{:02}_{:02}:{:02}:{:02}",
            time.year, time.month, time.day, time.hour, time.minute, time.second
        )
    })
}

/// The same line in the daemon's log files, where sites look for it.
fn say_in_files(config: &Config, text: &str) {
    let line = logger::present_line(&hostname().to_lowercase(), Level::Info, text);
    let files: BTreeSet<_> = [&config.log.logfile, &config.log.debugfile].into_iter().flatten().collect();
    for path in files {
        let written =
            fs::OpenOptions::new().append(true).open(path).and_then(|mut file| file.write_all(line.as_bytes()));
        if let Err(error) = written {
            eprintln!("{}: {error}", path.display());
        }
    }
}

/// A line on standard error, as Heartbeat writes it before it detaches.
fn say(level: Level, text: &str) {
    eprint!("{}", logger::present_line(&hostname().to_lowercase(), level, text));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_those_of_heartbeat() {
        let nowhere = format!("--run-dir={}/nullbeat-nowhere", std::env::temp_dir().display());
        let with = |option: &str| main(&[option.to_owned(), nowhere.clone()]);
        assert_eq!(with("-V"), exit::OK);
        assert_eq!(with("-D"), exit::OK);
        assert_eq!(with("-s"), code::STOPPED);
        assert_eq!(with("-k"), exit::OK);
        assert_eq!(with("-z"), code::USAGE);
        assert_eq!(with("-Call"), code::USAGE);
        assert_eq!(with("-R"), code::NOT_CONFIGURED);
    }
}
