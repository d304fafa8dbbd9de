//! `nullbeat run`: from the command line to a guardian that guards.
//!
//! Order: files, lock, what an earlier daemon of this boot left, log, identity, reset path; then logger and engine are
//! forked; only then does this process lock its memory and become real-time, which no engine has to wait for.

use std::fs;
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;

use nix::sys::stat::{Mode, umask};
use nix::unistd::Pid;

use super::guarding::{BoardLines, Guarding, LogProcess, Start, block_signals};
use super::history::Entry;
use super::history::news::Untold;
use super::identity::IdentityStore;
use super::release::{abandon, end_leftovers};
use super::reset::ResetPath;
use super::reset_causes;
use super::run_directory::{Inheritance, LockError, RunDirectory};
use super::watch::Limits;
use super::watchdogs::Watchdogs;
use crate::cli::arguments::{Arguments, Flag, Misuse, PLACES};
use crate::cli::exit;
use crate::config::watchdog::MARGIN;
use crate::config::{self, Config, FileStamps, LoadOptions, Loaded, Paths, Purpose};
use crate::core::settings::Carried;
use crate::core::time::{Duration, Instant};
use crate::guardian::lease::{self, Lease, ProcessKey};
use crate::hardware::watchdog::Facts;
use crate::sys::{child_setup, memory, scheduler};

/// Option by which a guardian that executes a new program hands it what it holds; not for people.
pub const INHERIT: &str = "--inherit";

/// Option by which a guardian asks a new program, before it executes it, whether it would start; not for people.
pub const ONLY_CHECK: &str = "--only-check";

/// What `nullbeat help run` says.
pub const HELP: &str = "\
nullbeat run [--node NAME] [--unfenced] [--foreground] [--debug N] [--no-realtime] [--no-resources]
             [--config-dir DIR] [--run-dir DIR] [--state-dir DIR]

The daemon: joins the cluster that ha.cf describes and runs the groups of haresources that belong here. It stays in the
foreground until SIGTERM or `nullbeat stop`, which release everything in good order. SIGHUP reads the files again if
they have changed, SIGUSR1 and SIGUSR2 raise and lower the debug level. It tells the service manager (sd_notify) when it
is settled.

  --node NAME    this node's name, instead of nodeinfo or `uname -n`
  --unfenced     run although a watchdog of ha.cf cannot be armed
  --no-resources only tell who is alive: haresources is not read and no group is started (`heartbeat -M`)
  --foreground   the log on standard error as well, also when that is no terminal
  --debug N      raise the debug level of ha.cf by N
  --no-realtime  ordinary scheduling, memory not locked, whatever ha.cf says

Exit codes: 0 after an orderly stop, 1 failure, 75 a daemon runs already in this run directory, 78 configuration.
";

/// How `nullbeat run` was called.
#[derive(Debug, Clone)]
pub struct RunOptions {
    /// Where things are.
    pub paths: Paths,
    /// `--node`.
    pub node: Option<String>,
    /// `--unfenced`.
    pub is_unfenced: bool,
    /// `--no-resources`.
    pub is_without_resources: bool,
    /// `--foreground`: the log on standard error as well.
    pub is_foreground: bool,
    /// `--debug`: added to the level of ha.cf.
    pub debug: u8,
    /// `--no-realtime`.
    pub is_realtime_off: bool,
    /// The program's own file, as it was found at start: where an update will be.
    pub program: PathBuf,
    /// The command line for a new program: its name, `run` and the options.
    pub arguments: Vec<String>,
    is_only_check: bool,
    inheritance: Option<Inheritance>,
}

impl RunOptions {
    /// Takes the command line behind the verb apart.
    ///
    /// # Errors
    /// When it makes no sense.
    pub fn parse(args: &[String]) -> Result<Self, Misuse> {
        let known = [
            &PLACES[..],
            &[Flag::Value("--node"), Flag::Switch("--unfenced"), Flag::Switch("--foreground")],
            &[Flag::Value("--debug"), Flag::Switch("--no-realtime"), Flag::Switch("--no-resources")],
            &[Flag::Value(INHERIT), Flag::Switch(ONLY_CHECK)],
        ]
        .concat();
        let parsed = Arguments::parse(args, &known)?;
        parsed.at_most(0)?;
        let inheritance = parsed.value(INHERIT).map(str::parse).transpose();
        let debug = parsed.value("--debug").map_or(Ok(0), str::parse);
        let is_inheriting = |word: &&String| word.starts_with(INHERIT);
        let own = args.iter().filter(|word| !is_inheriting(word)).cloned();
        Ok(Self {
            paths: parsed.paths(),
            node: parsed.value("--node").map(str::to_owned),
            is_unfenced: parsed.has("--unfenced"),
            is_without_resources: parsed.has("--no-resources"),
            is_foreground: parsed.has("--foreground"),
            debug: debug.map_err(|_| Misuse("option `--debug` expects a number from 0 to 255".to_owned()))?,
            is_realtime_off: parsed.has("--no-realtime"),
            program: std::env::current_exe().unwrap_or_else(|_| PathBuf::from("/proc/self/exe")),
            arguments: ["nullbeat".to_owned(), "run".to_owned()].into_iter().chain(own).collect(),
            is_only_check: parsed.has(ONLY_CHECK),
            inheritance: inheritance.map_err(|_| Misuse(format!("`{INHERIT}` expects numbers")))?,
        })
    }

    /// How to read the files with them.
    pub fn load_options(&self) -> LoadOptions<'static> {
        LoadOptions {
            node: self.node.clone(),
            is_without_resources: self.is_without_resources,
            ..LoadOptions::new(Purpose::Run)
        }
    }

    /// Reads the files; the command line has the last word.
    pub fn load(&self) -> Loaded {
        let mut loaded = config::load(&self.paths, &self.load_options());
        if let Some(config) = &mut loaded.config {
            config.log.debug = config.log.debug.saturating_add(self.debug);
            config.is_realtime &= !self.is_realtime_off;
        }
        loaded
    }
}

/// Why there is no guardian: for standard error, and the exit code.
struct Refusal {
    code: u8,
    texts: Vec<String>,
}

impl Refusal {
    fn new(code: u8, text: impl Into<String>) -> Self {
        Self { code, texts: vec![text.into()] }
    }
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        Self::new(exit::FAILURE, error.to_string())
    }
}

/// `nullbeat run`.
pub fn main(args: &[String]) -> u8 {
    let options = match RunOptions::parse(args) {
        Ok(options) => options,
        Err(misuse) => return misuse.report("run"),
    };
    if options.is_only_check {
        return load(&options).map_or(exit::CONFIGURATION, |_| exit::OK);
    }
    umask(Mode::from_bits_truncate(0o022));
    match start(&options) {
        // From here on the sentinel stands behind it.
        Ok(mut guarding) => guarding.run().unwrap_or_else(|error| complain(exit::FAILURE, &error.to_string())),
        Err(refusal) => {
            if options.inheritance.is_some() {
                // The guardian that has become this program held groups, and nobody else is left to stop them.
                abandon(&options);
            }
            for text in &refusal.texts {
                complain(refusal.code, text);
            }
            refusal.code
        }
    }
}

fn start(options: &RunOptions) -> Result<Guarding, Refusal> {
    let stamps = FileStamps::of(&options.paths);
    let inherited = options.inheritance.map(|left| RunDirectory::inherit(&options.paths.run, left));
    let Some(config) = load(options) else {
        return Err(Refusal::new(exit::CONFIGURATION, "Configuration error, not started."));
    };
    let directory = match inherited.unwrap_or_else(|| RunDirectory::lock(&options.paths.run)) {
        Ok(directory) => directory,
        Err(LockError::Held(pid)) => {
            let pid = pid.map_or_else(String::new, |pid| format!(" (process {pid})"));
            let text = format!("already running in {}{pid}", options.paths.run.display());
            return Err(Refusal::new(exit::TRY_AGAIN, text));
        }
        Err(LockError::Io(error)) => {
            return Err(Refusal::new(exit::FAILURE, format!("{}: {error}", options.paths.run.display())));
        }
    };
    if let Some(pid) = directory.heartbeat() {
        let text = format!("Heartbeat runs on this board (process {pid}): stop it first");
        return Err(Refusal::new(exit::TRY_AGAIN, text));
    }
    guard(options.clone(), config, stamps, directory)
}

fn complain(code: u8, text: &str) -> u8 {
    tell(format_args!("nullbeat run: {text}"));
    code
}

/// A line on standard error, if that takes it: what has to be done after it must not depend on a full disk or on a reader
/// that is gone.
pub(super) fn tell(line: std::fmt::Arguments<'_>) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// Reads the files; says everything that is wrong or doubtful.
fn load(options: &RunOptions) -> Option<Config> {
    let loaded = options.load();
    let mut stderr = io::stderr().lock();
    for finding in &loaded.findings {
        // Where nobody reads standard error the log does not have it either: it is not open yet.
        let _ = writeln!(stderr, "{finding}");
    }
    loaded.config
}

/// An error that says what could not be done.
fn cannot(what: &str) -> impl FnOnce(io::Error) -> io::Error {
    move |error| io::Error::new(error.kind(), format!("{what}: {error}"))
}

fn guard(
    options: RunOptions,
    mut config: Config,
    stamps: FileStamps,
    directory: RunDirectory,
) -> Result<Guarding, Refusal> {
    block_signals()?;
    let lease = Lease::open_or_create(directory.path()).map_err(cannot("the lease"))?;
    let is_on_stderr = options.is_foreground || io::stderr().is_terminal();
    let logs = LogProcess::open(&config, is_on_stderr)?;
    log::info!("Configuration validated. Starting nullbeat {}", env!("CARGO_PKG_VERSION"));
    allow_core_dumps(&config);
    let mut untold = Untold::default();
    untold.emit(Entry::new("daemon").field("to", "started").field("subject", env!("CARGO_PKG_VERSION")));
    lease.stamp_guardian(lease::now());
    lease.set_guardian(ProcessKey::of(Pid::this()).ok());
    if is_about_to_be_reset(&config, &lease) {
        let text = "the watchdog lease is over: this board is about to be reset by its watchdog";
        return Err(Refusal::new(exit::FAILURE, text));
    }
    let carried = adopt(&config, &lease)?;
    // An engine that was left had the inputs: it is gone now.
    let is_beating = carried.is_some_and(|carried| carried.is_certain);
    let lines = BoardLines::open(&config, !lease.in_use().is_empty(), is_beating).map_err(|errors| Refusal {
        code: exit::CONFIGURATION,
        texts: errors.iter().map(ToString::to_string).collect(),
    })?;
    let identity = IdentityStore::open(&config, lease.generation()).map_err(cannot("the node's identity"))?;
    protect_from_oom_killer();

    directory.write_pid().map_err(cannot("the pid file"))?;
    if let Err(error) = directory.make_script_directory() {
        log::warn!("no directory for the notes of resource scripts: {error}");
    }
    let is_realtime = config.is_realtime;
    // Sooner than watchdogs and engine: on a slow board that boots, a guardian in the ordinary class may get no turn for
    // seconds; until it has an engine, and beside it while it is silent, nobody kicks.
    if is_realtime {
        enter_realtime(config.rtprio);
    }
    // Before anything is held here: what cannot be armed is found out now.
    let mut watchdogs = Watchdogs::open(&mut config, options.is_unfenced)?;
    let boot = lease::boot_id().unwrap_or_default();
    reset_causes::untold(directory.path(), boot, watchdogs.reset_causes()).iter().for_each(|entry| untold.emit(entry));
    let reset = watchdogs.copies().and_then(|copies| ResetPath::prepare(&config.reset_with, copies));
    let reset = reset.inspect_err(|_| watchdogs.end(&lease)).map_err(cannot("reset_with"))?;
    let mut spare = watchdogs.spare().inspect_err(|_| watchdogs.end(&lease))?;
    let page = lease.share();
    let start =
        Start { options, config, stamps, directory, lease, identity, reset, watchdogs, untold, logs, lines, carried };
    // With an error everything else that it had is closed by now.
    let guarding = Guarding::begin(start).inspect_err(|_| spare.end(&page))?;
    drop(spare);
    // What starting has needed is over: it is not to be locked.
    if is_realtime {
        lock_memory();
    }
    Ok(guarding)
}

/// Applies `coredumps`. Says as Heartbeat does when core files may be overwritten.
pub fn allow_core_dumps(config: &Config) {
    let Some(is_allowed) = config.core_dumps else { return };
    if let Err(error) = child_setup::allow_core_dumps(is_allowed) {
        log::warn!("coredumps: {error}");
    }
    let is_file = |path: &str, text: &str| fs::read_to_string(path).is_ok_and(|found| found.trim() == text);
    let (pattern, uses_pid) = ("/proc/sys/kernel/core_pattern", "/proc/sys/kernel/core_uses_pid");
    if is_allowed && is_file(pattern, "core") && is_file(uses_pid, "0") {
        log::warn!("Core dumps could be lost if multiple dumps occur.");
        log::warn!("Consider setting non-default value in {pattern} (or equivalent) for maximum supportability");
        log::warn!("Consider setting {uses_pid} (or equivalent) to 1 for maximum supportability");
    }
}

/// Whether an earlier daemon of this boot has stopped kicking because of its watchdog lease. Opening a watchdog is a kick,
/// and the partner rests a takeover on the reset. One that has not come by when it must have will not come.
fn is_about_to_be_reset(config: &Config, lease: &Lease) -> bool {
    let seconds = |path: &PathBuf| config.watchdog_seconds(Facts::of(path).as_ref());
    let longest = config.watchdog.devices.iter().map(seconds).max();
    let (Some(until), Some(longest)) = (lease.kicks_until(), longest) else { return false };
    let now = Instant::from_micros(lease::now() / 1000);
    until <= now && now < until + Duration::from_secs(longest.into()) + MARGIN
}

/// What an earlier engine of this boot held. One that lives (its guardian was killed) ends here: its successor is
/// there within milliseconds, which the peer takes as a quick restart (spec/wire.md 14.1).
fn adopt(config: &Config, lease: &Lease) -> io::Result<Option<Carried>> {
    if lease.engine().is_some_and(|engine| engine.open().is_some()) {
        log::warn!("an engine whose guardian is gone still runs: replacing it, its holdings stay");
    }
    if !end_leftovers(lease) {
        return Err(io::Error::other("the old engine does not end; is it stuck in the kernel?"));
    }
    let lost = lease.unmatched(config);
    if !lost.is_empty() {
        log::error!(
            target: "CRIT",
            "{} resource groups that an earlier daemon left running are not in haresources any more: stop them by hand",
            lost.len()
        );
    }
    let Some(mut carried) = lease.carried(config) else { return Ok(None) };
    // Within half the dead time nobody has taken over, and nothing but our own scripts has touched the groups.
    let limits = Limits::new(config.keepalive, lease.deadtime());
    carried.is_certain = lease.engine_stamp() > 0
        && !lease.is_stamp_forged()
        && lease::now() < limits.role_kept_until(lease.engine_stamp());
    if !carried.is_certain {
        carried.note_silence();
    }
    if !carried.claims.is_empty() {
        let how = if carried.is_certain { "keeping" } else { "looking at" };
        log::info!("{how} {} resource groups of an earlier daemon of this boot", carried.claims.len());
    }
    Ok(Some(carried))
}

/// Whom the kernel kills when memory runs out: not this process and not its engine. Scripts get the ordinary score.
fn protect_from_oom_killer() {
    if let Err(error) = fs::write("/proc/self/oom_score_adj", "-1000") {
        log::warn!("not protected from the kernel's out-of-memory killer: {error}");
    }
}

/// A warning where the limits do not allow it.
fn lock_memory() {
    if let Err(error) = memory::lock() {
        log::warn!("the guardian's memory is not locked: {error}");
    }
}

/// One step below the engine (design.md section 3). A warning where the limits do not allow it.
fn enter_realtime(priority: Option<i32>) {
    let engine = priority.or_else(|| scheduler::priority_range().ok().map(|range| range.start() + 1));
    let own = engine.unwrap_or(1).saturating_sub(1).max(1);
    if let Err(error) = scheduler::set_real_time(own) {
        log::warn!("the guardian is not real-time: {error}");
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::sample;
    use crate::core::ids::Generation;
    use crate::core::settings::{CarriedFencing, CarriedPartner};

    #[test]
    fn proof_of_the_partners_being_off_does_not_outlive_a_pause_of_the_daemon() {
        let directory = std::env::temp_dir().join(format!("nullbeat-adopt-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let config = sample::config(Path::new("/x"), &[("alpha", "a")]);
        let lease = Lease::open_or_create(&directory).unwrap();
        lease.set_deadtime(Duration::from_secs(3600));
        lease.set_table(&config, None);
        lease.set_partner(&config, CarriedPartner { is_dead: true, has_left: true });
        lease.set_fencing(Some(Generation(7)), None, None, CarriedFencing::default());
        let confirmed = || {
            let carried = adopt(&config, &lease).unwrap().unwrap();
            assert_eq!(carried.partner.unwrap().has_left, carried.confirmed.is_some(), "nor does its goodbye");
            carried.confirmed
        };
        lease.stamp_engine(lease::now());
        assert_eq!(confirmed(), Some(Generation(7)), "a guardian that was killed and started at once");
        lease.stamp_engine(u64::MAX);
        assert_eq!(confirmed(), None, "a stamp for ever, of an engine in other hands");
        lease.set_deadtime(Duration::from_millis(1));
        lease.stamp_engine(1);
        assert_eq!(confirmed(), None);
        fs::remove_dir_all(&directory).unwrap();
    }

    #[test]
    fn board_that_is_about_to_be_reset_by_its_lease_is_left_alone() {
        let directory = std::env::temp_dir().join(format!("nullbeat-over-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let mut config = sample::config(Path::new("/x"), &[("alpha", "a")]);
        let lease = Lease::open_or_create(&directory).unwrap();
        let ago = |ms: u64| Instant::from_micros(lease::now() / 1000 - ms * 1000);
        lease.set_kicks_until(Some(ago(10)));
        assert!(!is_about_to_be_reset(&config, &lease), "nothing would reset it");
        config.watchdog.devices = vec!["/dev/nullbeat-none".into()];
        assert!(is_about_to_be_reset(&config, &lease));
        let longest = u64::from(config.watchdog_seconds(None)) * 1000;
        lease.set_kicks_until(Some(ago(longest + 1001)));
        assert!(!is_about_to_be_reset(&config, &lease), "it has not come and will not come");
        lease.set_kicks_until(Some(Instant::from_micros(lease::now() / 1000 + 3_600_000_000)));
        assert!(!is_about_to_be_reset(&config, &lease));
        lease.set_kicks_until(None);
        assert!(!is_about_to_be_reset(&config, &lease));
        fs::remove_dir_all(&directory).unwrap();
    }

    fn parse(line: &str) -> Result<RunOptions, Misuse> {
        RunOptions::parse(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn run_options_survive_an_exec_without_the_old_lock() {
        let options = parse("--run-dir /r --inherit=7,9 --node Alpha --unfenced").unwrap();
        assert_eq!(options.inheritance, Some("7,9".parse().unwrap()));
        assert_eq!(options.arguments, ["nullbeat", "run", "--run-dir", "/r", "--node", "Alpha", "--unfenced"]);
        assert!(!options.is_only_check);
    }

    #[test]
    fn run_options_that_make_no_sense_are_refused() {
        assert!(parse("--inherit=x").is_err());
        assert!(parse("alpha").is_err());
        assert!(parse("--nod alpha").is_err());
    }
}
