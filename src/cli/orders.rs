//! `standby`, `takeover`, `failback`, `hold`, `resume`, `stop`, `reload`: orders to a running node. Each waits for the
//! outcome.

use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::Pid;

use crate::config::{Config, LoadOptions, Purpose, Severity, load};
use crate::daemon::control::client::{Client, NoAnswer};
use crate::daemon::report::Report;
use crate::sys::pidfd;

use super::arguments::{Arguments, Flag, Misuse, PLACES};
use super::{ask, exit};

/// How long an order may take when `--timeout` does not say.
const ORDER_LIMIT: Duration = Duration::from_secs(3600);
/// How long a new engine may take until it answers.
const SUCCESSOR_LIMIT: Duration = Duration::from_secs(30);
/// Pause between two looks at something that cannot be waited for.
const PAUSE: Duration = Duration::from_millis(10);

/// Help text of `standby`.
pub(super) const STANDBY_HELP: &str = "\
nullbeat standby [all|local|foreign] [--run-dir DIR] [--timeout SECONDS]

Gives resource groups to the partner and stays up: all (the default), only those that prefer this node (local), or only
those that prefer the partner (foreign). Returns when the partner runs them.

  --timeout SECONDS   how long to wait for the outcome (3600); the hand-over itself goes on

exit codes: 0 done, or nothing had to be done; 1 begun and failed; 75 refused: the partner is absent or busy
";

/// Help text of `takeover`.
pub(super) const TAKEOVER_HELP: &str = "\
nullbeat takeover [all|local|foreign] [--run-dir DIR] [--timeout SECONDS]

Takes resource groups from the partner: all (the default), only those that prefer this node (local), or only those that
prefer the partner (foreign). Returns when they run here.

When the partner is dead and `takeover_policy safe` keeps the groups down, this is your word that it is really off:
look first.

  --timeout SECONDS   how long to wait for the outcome (3600); the move itself goes on

exit codes: 0 done, or nothing had to be done; 1 begun and failed; 75 refused: the partner is busy
";

/// Help text of `failback`.
pub(super) const FAILBACK_HELP: &str = "\
nullbeat failback [all|local|foreign] [--run-dir DIR] [--timeout SECONDS]

Sends groups home that run away from the node they prefer: all (the default), only those that prefer this node (local),
or only those that prefer the partner (foreign).

  --timeout SECONDS   how long to wait for the outcome (3600); the move itself goes on

exit codes: 0 done, or nothing had to be done; 1 begun and failed; 75 refused: the partner is absent or busy
";

/// Help text of `hold`.
pub(super) const HOLD_HELP: &str = "\
nullbeat hold [--run-dir DIR] [--timeout SECONDS]

Freezes decisions for maintenance: heartbeats go on, nothing moves except on request. `nullbeat resume` ends it.
";

/// Help text of `resume`.
pub(super) const RESUME_HELP: &str = "\
nullbeat resume [--run-dir DIR] [--timeout SECONDS]

Ends `hold`, allows moves again after too many of them in an hour, and retries failed starts at once.
";

/// Help text of `stop`.
pub(super) const STOP_HELP: &str = "\
nullbeat stop [--run-dir DIR] [--timeout SECONDS]

Releases every group, says goodbye to the partner, which takes over at once, and ends the daemon. Returns when the
daemon is gone.

  --timeout SECONDS   how long to wait for that (3600); the daemon goes on stopping
";

/// Help text of `reload`.
pub(super) const RELOAD_HELP: &str = "\
nullbeat reload [--binary] [--config-dir DIR] [--run-dir DIR] [--timeout SECONDS]

Checks ha.cf, haresources and authkeys, then has the daemon read them again: all or nothing, groups that did not change
are not touched. With an error in the files nothing is asked of the daemon.

  --binary            also start the program's new version in place of the running one; no group moves

exit codes: 0 the new configuration is in force; 75 try again; 78 the files have errors
";

/// `nullbeat standby`.
pub(super) fn standby(args: &[String]) -> u8 {
    with_set("standby", args)
}

/// `nullbeat takeover`.
pub(super) fn takeover(args: &[String]) -> u8 {
    with_set("takeover", args)
}

/// `nullbeat failback`.
pub(super) fn failback(args: &[String]) -> u8 {
    with_set("failback", args)
}

/// `nullbeat hold`.
pub(super) fn hold(args: &[String]) -> u8 {
    plain("hold", args)
}

/// `nullbeat resume`.
pub(super) fn resume(args: &[String]) -> u8 {
    plain("resume", args)
}

/// Options of every order, `extra` beside them.
fn parse(args: &[String], extra: &[Flag]) -> Result<(Arguments, Duration), Misuse> {
    let mut flags = vec![Flag::Value("--timeout")];
    flags.extend(PLACES);
    flags.extend(extra);
    let args = Arguments::parse(args, &flags)?;
    let limit = args.seconds("--timeout")?.unwrap_or(ORDER_LIMIT);
    Ok((args, limit))
}

fn with_set(verb: &'static str, args: &[String]) -> u8 {
    let parsed = parse(args, &[]).and_then(|(args, limit)| {
        args.at_most(1)?;
        match args.words.first().map_or("all", String::as_str) {
            set @ ("all" | "local" | "foreign") => Ok((format!("{verb} {set}"), args, limit)),
            other => Err(Misuse(format!("expects all, local or foreign, found `{other}`"))),
        }
    });
    match parsed {
        Ok((request, args, limit)) => give(verb, &args.paths().run, &request, limit),
        Err(misuse) => misuse.report(verb),
    }
}

fn plain(verb: &'static str, args: &[String]) -> u8 {
    match parse(args, &[]).and_then(|(args, limit)| args.at_most(0).map(|()| (args, limit))) {
        Ok((args, limit)) => give(verb, &args.paths().run, verb, limit),
        Err(misuse) => misuse.report(verb),
    }
}

/// Gives an order and waits for the outcome.
pub(super) fn give(verb: &str, run_dir: &Path, request: &str, limit: Duration) -> u8 {
    match ask::connect(run_dir).and_then(|client| client.ask(request, Some(limit))) {
        Ok(answer) => ask::say(verb, &answer),
        Err(error) => ask::fail(verb, &error),
    }
}

/// `nullbeat stop`.
pub(super) fn stop(args: &[String]) -> u8 {
    match parse(args, &[]).and_then(|(args, limit)| args.at_most(0).map(|()| (args, limit))) {
        Ok((args, limit)) => stop_daemon("stop", &args.paths().run, limit),
        Err(misuse) => misuse.report("stop"),
    }
}

/// Stops the daemon of `run_dir` and waits until it is gone.
pub(super) fn stop_daemon(verb: &str, run_dir: &Path, limit: Duration) -> u8 {
    let deadline = Instant::now() + limit;
    let client = match ask::connect(run_dir) {
        Ok(client) => client,
        Err(error) => return ask::fail(verb, &error),
    };
    // Opened while it runs for sure: afterwards its number may belong to somebody else.
    let daemon = client.daemon_pid().and_then(|pid| pidfd::open(Pid::from_raw(pid)).ok());
    match client.ask("stop", Some(limit)) {
        // The end of the engine may be faster than its answer.
        Err(NoAnswer::Cut) => {}
        Ok(answer) if answer.code == exit::OK => {}
        Ok(answer) => return ask::say(verb, &answer),
        Err(error) => return ask::fail(verb, &error),
    }
    let is_gone = daemon.map_or_else(|| await_refusal(run_dir, deadline), |daemon| await_end(&daemon, deadline));
    if is_gone {
        exit::OK
    } else {
        eprintln!("nullbeat {verb}: the daemon has not ended in time");
        exit::TRY_AGAIN
    }
}

/// Waits until a process has ended.
pub(super) fn await_end(process: &OwnedFd, deadline: Instant) -> bool {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        match poll(&mut [PollFd::new(process.as_fd(), PollFlags::POLLIN)], timeout) {
            Ok(0) if Instant::now() >= deadline => return false,
            Ok(0) | Err(nix::errno::Errno::EINTR) => {}
            Ok(_) => return true,
            Err(_) => return false,
        }
    }
}

/// Waits until nobody listens any more: for a daemon whose processes are not visible from here.
fn await_refusal(run_dir: &Path, deadline: Instant) -> bool {
    loop {
        if matches!(Client::connect(run_dir), Err(NoAnswer::NotRunning(_))) {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        std::thread::sleep(PAUSE);
    }
}

/// `nullbeat reload`.
pub(super) fn reload(args: &[String]) -> u8 {
    let parsed =
        parse(args, &[Flag::Switch("--binary")]).and_then(|(args, limit)| args.at_most(0).map(|()| (args, limit)));
    match parsed {
        Ok((args, limit)) => reload_daemon(&args, limit),
        Err(misuse) => misuse.report("reload"),
    }
}

fn reload_daemon(args: &Arguments, limit: Duration) -> u8 {
    let paths = args.paths();
    let running = match identity(&paths.run, limit.min(SUCCESSOR_LIMIT)) {
        Ok(running) => running,
        Err(code) => return code,
    };
    let options = LoadOptions {
        node: Some(running.node),
        is_without_resources: running.is_without_resources,
        ..LoadOptions::new(Purpose::Check)
    };
    let loaded = load(&paths, &options);
    for finding in loaded.findings.iter().filter(|finding| finding.severity != Severity::Note) {
        eprintln!("{finding}");
    }
    let Some(config) = &loaded.config else {
        eprintln!("nullbeat reload: nothing was changed");
        return exit::CONFIGURATION;
    };
    let wanted = Digests::of(config);
    let request = if args.has("--binary") { "reload binary" } else { "reload" };
    match ask::connect(&paths.run).and_then(|client| client.ask(request, Some(limit))) {
        Ok(answer) => ask::say("reload", &answer),
        // The engine that was asked has been replaced.
        Err(NoAnswer::Cut) => await_successor(&paths.run, running.generation, &wanted),
        Err(error) => ask::fail("reload", &error),
    }
}

/// Which engine answers.
struct Running {
    node: String,
    generation: u64,
    digests: Digests,
    is_without_resources: bool,
}

/// What it has read: any engine is replaced when it dies, only a reload brings other files.
#[derive(PartialEq)]
struct Digests {
    config: String,
    resources: String,
}

impl Digests {
    fn of(config: &Config) -> Self {
        let settings = config.settings(0);
        let text = |digest: u32| format!("{digest:08x}");
        Self { config: text(settings.config_digest), resources: text(settings.resources_digest) }
    }
}

fn identity(run_dir: &Path, limit: Duration) -> Result<Running, u8> {
    let text = ask::question("reload", run_dir, "status", limit)?;
    let identity = Report::parse(&text).map_err(|bad| bad.to_string()).and_then(|report| {
        let node = report.first("node");
        let fields = node.and_then(|node| {
            let text = |name| node.text(name).map(str::to_owned);
            let digests = Digests { config: text("config_digest")?, resources: text("resources_digest")? };
            Some(Running {
                node: text("name")?,
                generation: node.number("generation")?,
                digests,
                is_without_resources: is_without_resources(&report),
            })
        });
        Ok(fields.ok_or("the daemon does not tell its name, generation and digests")?)
    });
    identity.map_err(|error| {
        eprintln!("nullbeat reload: {error}");
        exit::FAILURE
    })
}

/// Whether the daemon was started with `--no-resources`.
pub(super) fn is_without_resources(report: &Report) -> bool {
    report
        .first("settings")
        .is_some_and(|settings| settings.text("has_resources").is_some() && !settings.is_set("has_resources"))
}

fn await_successor(run_dir: &Path, before: u64, wanted: &Digests) -> u8 {
    let deadline = Instant::now() + SUCCESSOR_LIMIT;
    while Instant::now() < deadline {
        match identity(run_dir, deadline.saturating_duration_since(Instant::now())) {
            Ok(running) if running.generation != before && running.digests == *wanted => {
                println!("reloaded; generation {}", running.generation);
                return exit::OK;
            }
            Ok(_) => std::thread::sleep(PAUSE),
            Err(code) => return code,
        }
    }
    eprintln!("nullbeat reload: the new configuration is not in force; the log tells more");
    exit::TRY_AGAIN
}
