//! The name `ha_logd` (spec/api.md 8.3): the logging daemon, with the original's options, output and codes.
//!
//! Ours are `--foreground`, which is what the original does without `-d`, and `--socket PATH`, `--pid-file PATH`.

use std::path::{Path, PathBuf};

use super::service::{self, Options, Ready, Service};
use super::{code, split_option};
use crate::cli::{exit, print_out};
use crate::config::services::logd::LogdConfig;
use crate::daemon::apphbd::Places;
use crate::daemon::log_pipe::Level;
use crate::daemon::logd::{Logd, NAME};
use crate::daemon::logger::{Destinations, present_line_of};

const CONFIG: &str = "/etc/logd.cf";
const SOCKET: &str = "/var/lib/heartbeat/log_daemon";
const PID_FILE: &str = "/run/logd.pid";

/// `ha_logd [OPTIONS]`.
pub(super) fn main(args: &[String]) -> u8 {
    let (socket, args) = split_option(args, "--socket");
    let (pid_file, args) = split_option(&args, "--pid-file");
    let path = |given: Option<String>, usual: &str| given.map_or_else(|| PathBuf::from(usual), PathBuf::from);
    let places = Places { socket: path(socket, SOCKET), pid_file: path(pid_file, PID_FILE) };
    let options = Options::parse("dksvhc:", &args);
    if options.complain() || options.has('h') {
        print_out(&usage());
        return exit::FAILURE;
    }
    let service = Service { name: NAME, pid_file: places.pid_file.clone() };
    if options.has('s') {
        return status(&service);
    }
    if options.has('k') {
        return stop(&service);
    }
    let file = options.value('c').unwrap_or(CONFIG).to_owned();
    let config = match LogdConfig::read(Path::new(&file)) {
        Ok(config) => config,
        Err(complaint) => {
            eprintln!("{complaint}");
            return code::NOT_CONFIGURED;
        }
    };
    if let Some(pid) = service.pid() {
        eprintln!("{}: already running [pid {pid}].", program());
        return exit::OK;
    }
    let is_foreground = options.is_foreground || !options.has('d');
    service::run(is_foreground, move |ready| start(config, places, &file, ready))
}

fn program() -> String {
    std::env::args().next().unwrap_or_else(|| NAME.to_owned())
}

fn usage() -> String {
    format!(
        "usage: \n{} [options]\n\noptions: \n-d\tmake the program a daemon\n-k\tstop the logging daemon if it is already \
         running\n-s\treturn logging daemon status \n-c\tuse this config file\n-v\tverbosely print debug messages\
         -h\tprint out this message\n\n",
        program(),
    )
}

fn status(service: &Service) -> u8 {
    if let Some(pid) = service.pid() {
        print_out(&format!("logging daemon is running [pid = {pid}].\n"))
    } else if service.pid_file.exists() {
        print_out(&format!("logging daemon is stopped: {} exists.\n", service.pid_file.display()));
        exit::FAILURE
    } else {
        print_out("logging daemon is stopped.\n");
        code::STOPPED
    }
}

fn stop(service: &Service) -> u8 {
    let Some(pid) = service.pid() else {
        eprintln!("ha_logd already stopped.");
        say(Level::Info, "ha_logd already stopped.");
        return exit::OK;
    };
    say(Level::Debug, &format!("Stopping ha_logd with pid {pid}"));
    say(Level::Info, &format!("Waiting for pid={pid} to exit"));
    match service.stop(pid) {
        Ok(()) => {
            say(Level::Info, &format!("Pid {pid} exited"));
            exit::OK
        }
        Err(error) => {
            say(Level::Error, &format!("cannot stop pid {pid}: {error}"));
            exit::FAILURE
        }
    }
}

fn start(config: LogdConfig, places: Places, file: &str, ready: Ready) -> u8 {
    match Logd::open(config, places) {
        Ok(mut logd) => {
            logd.say(Level::Info, &format!("logd started with {file}."));
            ready.tell();
            logd.serve()
        }
        Err(complaint) => {
            ready.complain(&line(Level::Error, &complaint));
            exit::FAILURE
        }
    }
}

/// A line on standard error.
fn say(level: Level, text: &str) {
    eprint!("{}", line(level, text));
}

fn line(level: Level, text: &str) -> String {
    present_line_of(&Destinations::of_service("logd", true), level, text)
}
