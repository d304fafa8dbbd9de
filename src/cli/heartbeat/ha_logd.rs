//! The name `ha_logd` (spec/api.md 8.3): the logging daemon, with the original's options, output and codes.
//!
//! Ours are those of every service; `--foreground` is what the original does without `-d`.

use std::path::Path;

use super::code;
use super::service::{Options, Service};
use crate::cli::{exit, print_out};
use crate::config::services::logd::LogdConfig;
use crate::daemon::log_pipe::Level;
use crate::daemon::logd::{Logd, NAME};
use crate::daemon::places::Places;

const CONFIG: &str = "/etc/logd.cf";
/// The tag of its own lines before a file says otherwise.
const TAG: &str = "logd";

/// `ha_logd [OPTIONS]`.
pub(super) fn main(args: &[String]) -> u8 {
    let (service, args) = Service::placed(NAME, TAG, Places::of_logd(None), args);
    let options = Options::parse("dksvhc:", &args);
    if options.complain() || options.has('h') {
        print_out(&usage());
        return exit::FAILURE;
    }
    if options.has('s') {
        return status(&service);
    }
    if options.has('k') {
        return stop(&service);
    }
    if options.is_standby
        && let Err(error) = service.stand_by()
    {
        service.say(Level::Error, &format!("cannot await the end of another one: {error}"));
        return exit::FAILURE;
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
    let open = |places| {
        let mut logd = Logd::open(config, places)?;
        logd.say(Level::Info, &format!("logd started with {file}."));
        Ok(logd)
    };
    service.start(is_foreground, open, Logd::serve)
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
    } else if service.places.pid_file.exists() {
        print_out(&format!("logging daemon is stopped: {} exists.\n", service.places.pid_file.display()));
        exit::FAILURE
    } else {
        print_out("logging daemon is stopped.\n");
        code::STOPPED
    }
}

fn stop(service: &Service) -> u8 {
    let Some(pid) = service.pid() else {
        eprintln!("ha_logd already stopped.");
        service.say(Level::Info, "ha_logd already stopped.");
        return exit::OK;
    };
    service.say(Level::Debug, &format!("Stopping ha_logd with pid {pid}"));
    service.say(Level::Info, &format!("Waiting for pid={pid} to exit"));
    match service.stop(pid) {
        Ok(()) => {
            service.say(Level::Info, &format!("Pid {pid} exited"));
            exit::OK
        }
        Err(error) => {
            service.say(Level::Error, &format!("cannot stop pid {pid}: {error}"));
            exit::FAILURE
        }
    }
}
