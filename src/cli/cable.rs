//! `cable`: what is the matter with a serial cable.

use std::collections::hash_map::RandomState;
use std::fmt::Write as _;
use std::hash::{BuildHasher, Hasher};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::config::{LoadOptions, Medium, Purpose, load};
use crate::daemon::report::{Line, Report, VERSION};
use crate::links::cable::{Diagnosis, judge};
use crate::links::probe::{TtyPort, observe};
use crate::links::{lock, serial};

use super::arguments::{Arguments, Flag, Misuse, PLACES};
use super::{ask, exit, json, print_out};

/// Help text of `cable`.
pub(super) const HELP: &str = "\
nullbeat cable PORT [--baud N] [--time SECONDS] [--json] [--config-dir DIR] [--run-dir DIR]

Tells what is the matter with the null-modem cable at PORT, such as /dev/ttyS0, and what that rests on:

  ok   no-cable   peer-off   peer-daemon-closed   silent   noise   wrong-baud   one-way   echo

While the daemon has the port, the daemon is asked. Else the port is opened, for nobody else to use, and watched:
messages, garbage, the UART's errors, the modem lines, and whether what is sent comes back. Run it at both ends at once,
and each tells whether the other hears it.

  --baud N            speed; else that of the port's line in ha.cf, else 19200
  --time SECONDS      how long to watch (4)
  --json              for programs: verdict, advice, grounds

`silent`: nothing comes, and with all modem lines off a missing cable, a peer that is off and a port that is closed
there look the same. With 3 wires that is all that a silent cable can tell.

Exit codes: 0 the cable is ok, 1 it is not, 64 usage, 69 the port cannot be opened, 75 another program has it.
";

/// How long a port is watched.
const TIME: Duration = Duration::from_secs(4);
/// Heartbeat's default.
const BAUD: u32 = 19_200;

/// `nullbeat cable`.
pub(super) fn main(args: &[String]) -> u8 {
    match show(args) {
        Ok((text, code)) => match print_out(&text) {
            exit::OK => code,
            failed => failed,
        },
        Err(code) => code,
    }
}

fn show(args: &[String]) -> Result<(String, u8), u8> {
    let misused = |misuse: Misuse| misuse.report("cable");
    let flags = [&PLACES[..], &[Flag::Switch("--json"), Flag::Value("--baud"), Flag::Value("--time")]].concat();
    let args = Arguments::parse(args, &flags).map_err(misused)?;
    args.at_most(1).map_err(misused)?;
    let Some(port) = args.words.first().map(PathBuf::from) else {
        return Err(misused(Misuse("a port is needed, such as `/dev/ttyS0`".to_owned())));
    };
    let baud = args.value("--baud").map(str::parse).transpose();
    let baud = baud.map_err(|_| misused(Misuse("option `--baud` expects a number".to_owned())))?;
    let time = args.seconds("--time").map_err(misused)?.unwrap_or(TIME);
    let speed = || baud.or_else(|| configured_speed(&args, &port)).unwrap_or(BAUD);
    let text = match watch(&port, speed(), time) {
        Ok(diagnosis) => report(&port, &diagnosis),
        Err(error) if error.raw_os_error() == Some(nix::libc::EBUSY) => ask_daemon(&args, &port)?,
        Err(error) => {
            eprintln!("nullbeat cable: {}: {error}", port.display());
            return Err(exit::NOT_RUNNING);
        }
    };
    render(&text, &port, args.has("--json"))
}

/// The speed of the port's line in ha.cf.
fn configured_speed(args: &Arguments, port: &Path) -> Option<u32> {
    let config = load(&args.paths(), &LoadOptions::new(Purpose::Check)).config?;
    config.media.iter().find_map(|medium| match medium {
        Medium::Serial { device, baud, .. } if device == port => Some(*baud),
        _ => None,
    })
}

/// Opens the port for nobody else to use, and watches it. Without flow control: ours shall go out whatever the wires.
fn watch(port: &Path, baud: u32, time: Duration) -> io::Result<Diagnosis> {
    let locks = Path::new(lock::DEFAULT_DIRECTORY);
    let mut terminal = TtyPort(serial::open(port, baud, false, locks)?);
    let own = RandomState::new().build_hasher().finish();
    let seen = observe(&mut terminal, u32::try_from(own >> 32).unwrap_or(1), time);
    lock::release(locks, port);
    Ok(judge(&seen?))
}

/// The same lines as the daemon's report has.
fn report(port: &Path, diagnosis: &Diagnosis) -> String {
    let Diagnosis { verdict, grounds } = diagnosis;
    let (port, word, advice) = (port.display(), verdict.word(), verdict.advice());
    format!("report\tversion={VERSION}\ncable\tname={port}\tverdict={word}\tadvice={advice}\tgrounds={grounds}\n")
}

/// The port is in use: by the daemon, or by somebody about whom nothing can be told.
fn ask_daemon(args: &Arguments, port: &Path) -> Result<String, u8> {
    let text = ask::question("cable", &args.paths().run, "status", ask::QUESTION_LIMIT).map_err(|code| {
        eprintln!("nullbeat cable: {} is in use, and no daemon that has it answers", port.display());
        if code == exit::NOT_RUNNING { exit::TRY_AGAIN } else { code }
    })?;
    let has_it = Report::parse(&text).is_ok_and(|report| line(&report, port).is_some());
    if has_it {
        return Ok(text);
    }
    eprintln!("nullbeat cable: {} is in use, and not by the daemon", port.display());
    Err(exit::TRY_AGAIN)
}

fn line<'r, 'a>(report: &'r Report<'a>, port: &Path) -> Option<&'r Line<'a>> {
    let name = port.display().to_string();
    report.lines("cable").find(|line| line.text("name") == Some(name.as_str()))
}

fn render(text: &str, port: &Path, is_json: bool) -> Result<(String, u8), u8> {
    let report = Report::parse(text).map_err(|bad| {
        eprintln!("nullbeat cable: {bad}");
        exit::FAILURE
    })?;
    let Some(line) = line(&report, port) else { return Err(exit::FAILURE) };
    let code = if line.text("verdict") == Some("ok") { exit::OK } else { exit::FAILURE };
    if is_json {
        return Ok((json::object(&report, &["cables"]), code));
    }
    let mut out = format!("{}: {}: {}\n", port.display(), line.or_dash("verdict"), line.or_dash("advice"));
    for ground in line.or_dash("grounds").split("; ") {
        let _ = writeln!(out, "  {ground}");
    }
    Ok((out, code))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::links::cable::Observation;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_string).collect()
    }

    #[test]
    fn verdict_and_its_grounds_are_shown_and_decide_the_code() {
        let port = Path::new("/dev/ttyS0");
        let silent = report(port, &judge(&Observation { time: TIME, ..Observation::default() }));
        let (text, code) = render(&silent, port, false).unwrap();
        assert_eq!(
            text,
            "/dev/ttyS0: silent: nothing comes, and this end cannot tell a missing cable from a peer that is off or closed\n  \
             in 4.0 s 0 messages, 0 bytes of which 0 belong to none\n  the driver counts no errors\n  \
             the port has no modem lines\n"
        );
        assert_eq!(code, exit::FAILURE);
        let fine = report(port, &judge(&Observation { messages: 9, bytes: 900, ..Observation::default() }));
        let (text, code) = render(&fine, port, true).unwrap();
        assert!(
            text.contains("{\"name\": \"/dev/ttyS0\", \"verdict\": \"ok\", \"advice\": \"the line works\""),
            "{text}"
        );
        assert_eq!(code, exit::OK);
    }

    #[test]
    fn misuse_and_ports_that_are_none_have_codes_of_their_own() {
        assert_eq!(main(&words("")), exit::USAGE);
        assert_eq!(main(&words("/dev/a /dev/b")), exit::USAGE);
        assert_eq!(main(&words("/dev/ttyS0 --baud fast")), exit::USAGE);
        assert_eq!(main(&words("/dev/null --time 0.1")), exit::NOT_RUNNING);
    }
}
