//! The name `apphbd` (spec/api.md 7.3): the application heartbeat daemon, with the original's options, output and codes.
//!
//! Ours, beside those of every service, is `--reset-with WORDS`: as `reset_with` in a file that does not say it.

use std::path::Path;

use super::service::{Options, Service};
use super::{code, split_option};
use crate::cli::exit;
use crate::config::ResetWith;
use crate::config::services::apphbd::ApphbdConfig;
use crate::daemon::apphbd::{Apphbd, NAME};
use crate::daemon::log_pipe::Level;
use crate::daemon::places::Places;

const USAGE: &str = "usage: apphbd [-srkh][-c configure file]
\t-d\tsets debug level
\t-s\tgets daemon status
\t-r\trestarts daemon
\t-k\tstops daemon
\t-h\thelp message
";
/// In the directory that it is started from, as in the original.
const CONFIG: &str = "./apphbd.cf";

/// `apphbd [OPTIONS]`.
pub(super) fn main(args: &[String]) -> u8 {
    let (service, args) = Service::placed(NAME, NAME, Places::of_apphbd(None), args);
    let (reset_with, args) = split_option(&args, "--reset-with");
    let options = Options::parse("skrdhc:", &args);
    if options.complain() {
        eprint!("{USAGE}");
        return exit::FAILURE;
    }
    if options.has('h') {
        eprint!("{USAGE}");
        return exit::OK;
    }
    if options.has('s') {
        return status(&service);
    }
    let pid = service.pid();
    if (options.has('k') || options.has('r'))
        && let Some(pid) = pid
        && let Err(error) = service.stop(pid)
    {
        service.say(Level::Error, &format!("cannot stop pid {pid}: {error}"));
        return exit::FAILURE;
    }
    if options.has('k') {
        return exit::OK;
    }
    if options.is_standby
        && let Err(error) = service.stand_by()
    {
        service.say(Level::Error, &format!("cannot await the end of another one: {error}"));
        return exit::FAILURE;
    }
    let config = match read(&options, reset_with.as_deref()) {
        Ok(config) => config,
        Err(complaint) => {
            service.say(Level::Error, &complaint);
            return code::NOT_CONFIGURED;
        }
    };
    if let Some(pid) = service.pid() {
        service.say(Level::Crit, &format!("already running: [pid {pid}]."));
        return exit::OK;
    }
    let raised = options.letters.iter().filter(|letter| **letter == 'd').count();
    let debug = config.debug.saturating_add(u8::try_from(raised).unwrap_or(u8::MAX));
    let config = ApphbdConfig { debug, ..config };
    service.start(options.is_foreground, |places| Apphbd::open(config, places), Apphbd::serve)
}

/// The file; the guardian's service does without one.
fn read(options: &Options, reset_with: Option<&str>) -> Result<ApphbdConfig, String> {
    let mut usual = ApphbdConfig::default();
    if let Some(words) = reset_with {
        usual.reset_with = ResetWith::parse(words).ok_or_else(|| format!("invalid --reset-with [{words}]"))?;
    }
    let file = Path::new(options.value('c').unwrap_or(CONFIG));
    if options.is_standby && !file.exists() {
        return Ok(usual);
    }
    ApphbdConfig::read(file, usual)
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
