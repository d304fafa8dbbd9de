//! The name `apphbd` (spec/api.md 7.3): the application heartbeat daemon, with the original's options, output and codes.
//!
//! Two options of ours: `--foreground`, for service managers, and `--socket PATH`, `--pid-file PATH` for boards on which
//! these have moved.

use std::path::{Path, PathBuf};

use super::service::{self, Options, Ready, Service};
use super::{code, split_option};
use crate::cli::exit;
use crate::config::services::apphbd::ApphbdConfig;
use crate::daemon::apphbd::{Apphbd, NAME, Places};
use crate::daemon::log_pipe::Level;
use crate::daemon::logger::{Destinations, present_line_of};

const USAGE: &str = "usage: apphbd [-srkh][-c configure file]
\t-d\tsets debug level
\t-s\tgets daemon status
\t-r\trestarts daemon
\t-k\tstops daemon
\t-h\thelp message
";
/// In the directory that it is started from, as in the original.
const CONFIG: &str = "./apphbd.cf";
const SOCKET: &str = "/run/heartbeat/apphb.comm";
const PID_FILE: &str = "/run/apphbd.pid";

/// `apphbd [OPTIONS]`.
pub(super) fn main(args: &[String]) -> u8 {
    let (socket, args) = split_option(args, "--socket");
    let (pid_file, args) = split_option(&args, "--pid-file");
    let path = |given: Option<String>, usual: &str| given.map_or_else(|| PathBuf::from(usual), PathBuf::from);
    let places = Places { socket: path(socket, SOCKET), pid_file: path(pid_file, PID_FILE) };
    let options = Options::parse("skrdhc:", &args);
    if options.complain() {
        eprint!("{USAGE}");
        return exit::FAILURE;
    }
    if options.has('h') {
        eprint!("{USAGE}");
        return exit::OK;
    }
    let service = Service { name: NAME, pid_file: places.pid_file.clone() };
    if options.has('s') {
        return status(&service);
    }
    let pid = service.pid();
    if (options.has('k') || options.has('r'))
        && let Some(pid) = pid
        && let Err(error) = service.stop(pid)
    {
        say(Level::Error, &format!("cannot stop pid {pid}: {error}"));
        return exit::FAILURE;
    }
    if options.has('k') {
        return exit::OK;
    }
    let file = options.value('c').unwrap_or(CONFIG);
    let config = match ApphbdConfig::read(Path::new(file)) {
        Ok(config) => config,
        Err(complaint) => {
            say(Level::Error, &complaint);
            return code::NOT_CONFIGURED;
        }
    };
    if let Some(pid) = service.pid() {
        say(Level::Crit, &format!("already running: [pid {pid}]."));
        return exit::OK;
    }
    let raised = options.letters.iter().filter(|letter| **letter == 'd').count();
    let debug = config.debug.saturating_add(u8::try_from(raised).unwrap_or(u8::MAX));
    let config = ApphbdConfig { debug, ..config };
    service::run(options.is_foreground, move |ready| start(config, places, ready))
}

fn status(service: &Service) -> u8 {
    if let Some(pid) = service.pid() {
        eprintln!("{NAME} is running [pid: {pid}]");
        exit::OK
    } else {
        eprintln!("{NAME} is stopped.");
        code::STOPPED
    }
}

fn start(config: ApphbdConfig, places: Places, ready: Ready) -> u8 {
    match Apphbd::open(config, places) {
        Ok(apphbd) => {
            ready.tell();
            apphbd.serve()
        }
        Err(complaint) => {
            ready.complain(&line(Level::Error, &complaint));
            exit::FAILURE
        }
    }
}

/// A line on standard error, before there is a log.
fn say(level: Level, text: &str) {
    eprint!("{}", line(level, text));
}

fn line(level: Level, text: &str) -> String {
    present_line_of(&Destinations::of_service(NAME, true), level, text)
}
