//! Starts programs in the way that all of them are started: environment, directory, output, out-of-memory score.

use std::collections::BTreeSet;
use std::ffi::{CStr, CString};
use std::fs::{DirBuilder, File};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{DirBuilderExt, FileExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::libc;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use nix::unistd::Pid;

use super::environment::Environment;
use super::lookup::{self, Places, c_path};
use super::output::{Output, Outputs};
use super::script::{Ending, Script};
use crate::config::Config;
use crate::sys;

/// Scripts stuck in the kernel that are remembered to be reaped one day; with that many no new one is started.
const STUCK_MAX: usize = 64;
const DONT_ASK: &CStr = c"HA_DONTASK=yes";

/// What to start.
#[derive(Debug)]
pub struct Launch<'a> {
    /// Program.
    pub path: &'a Path,
    /// Arguments after the path.
    pub arguments: &'a [&'a str],
    /// `NAME=value` beyond the environment of all scripts.
    pub variables: &'a [CString],
    /// With what Heartbeat sets for scripts that acquire.
    pub is_acquiring: bool,
    /// With `HA_DONTASK=yes`: the `status` of a group's first resource before one of our own groups is started while no
    /// other node is active. That is the only script which Heartbeat runs below its `req_resource` (spec/resources.md
    /// 3.3 and section 6).
    pub is_unasked: bool,
    /// Whether the text on stdout is wanted rather than logged.
    pub is_status: bool,
    /// The script's name, for the log.
    pub name: &'a str,
    /// Becomes its standard input; without it there is none.
    pub input: Option<BorrowedFd<'a>>,
    /// It dies with this process: nobody would know what came of it.
    pub is_bound: bool,
    /// Its time limit, where that of all scripts does not hold.
    pub limit: Option<Duration>,
}

/// A program that runs.
#[derive(Debug)]
pub struct Run {
    script: Script,
    output: Option<Output>,
}

impl Run {
    /// When [`Launcher::check`] is due.
    pub fn next_deadline(&self) -> Option<Instant> {
        let look = self.output.as_ref().and_then(Output::next_deadline);
        [self.script.deadline(), look].into_iter().flatten().min()
    }

    /// Its process number, also that of its group.
    pub fn pid(&self) -> Pid {
        self.script.pid()
    }

    /// Its time is up: it is asked to end, then killed.
    pub fn cut(&mut self, now: Instant) {
        self.script.cut(now);
    }

    /// Kills it and its whole group.
    pub fn kill(&self) {
        self.script.kill();
    }
}

/// How a run ended.
#[derive(Debug)]
pub struct Ended {
    /// Exit.
    pub ending: Ending,
    /// The beginning of stdout, if it was wanted.
    pub text: Vec<u8>,
}

/// What every start of a program needs.
#[derive(Debug)]
pub struct Launcher {
    /// Where resource scripts are.
    pub places: Places,
    environment: Environment,
    limit: Duration,
    node: String,
    /// No other node is active.
    is_alone: bool,
    directory: CString,
    epoll: Epoll,
    outputs: Option<Outputs>,
    null: File,
    score: Option<File>,
    stuck: Vec<Script>,
    /// Programs that have been complained about.
    distrusted: BTreeSet<PathBuf>,
}

impl Launcher {
    /// For the scripts of `config`.
    ///
    /// # Errors
    /// When /dev/null or an epoll descriptor cannot be had. A run directory that cannot be used only costs the output.
    pub fn new(config: &Config, places: Places, now: Instant) -> io::Result<Self> {
        // Whoever started us may have left something open for us, but not for services.
        sys::descriptors::close_all_on_exec()?;
        let outputs = Outputs::open(&config.paths.run, now);
        if let Err(error) = &outputs {
            log::warn!("output of scripts is lost: {}/output: {error}", config.paths.run.display());
        }
        Ok(Self {
            environment: environment(config, &places),
            places,
            limit: config.script_timeout,
            node: config.node.clone(),
            is_alone: true,
            directory: working_directory(&config.paths.state),
            epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?,
            outputs: outputs.ok(),
            null: File::options().read(true).write(true).open("/dev/null")?,
            score: File::options().read(true).write(true).open("/proc/self/oom_score_adj").ok(),
            stuck: Vec::new(),
            distrusted: BTreeSet::new(),
        })
    }

    /// Other files, other values.
    pub fn replace_config(&mut self, config: &Config) {
        self.environment = environment(config, &self.places);
        self.limit = config.script_timeout;
        self.node.clone_from(&config.node);
    }

    /// Whether no other node is active.
    pub fn set_alone(&mut self, is_alone: bool) {
        self.is_alone = is_alone;
    }

    /// Whether nobody has to be asked for a group of this node: it is ours, and no other node is active.
    pub fn is_unasked(&self, node: &str) -> bool {
        self.is_alone && node == self.node
    }

    /// Starts a program.
    ///
    /// # Errors
    /// When it cannot be started; nothing runs then.
    pub fn launch(&mut self, now: Instant, launch: &Launch<'_>) -> io::Result<Run> {
        if self.stuck.len() >= STUCK_MAX {
            return Err(io::Error::other(format!("{STUCK_MAX} scripts are stuck in the kernel")));
        }
        self.warn_once(launch.path);
        let (output, stdout) = self.open_output(launch);
        let stdout = stdout.as_ref().unwrap_or(&self.null);
        // What `status` says on stderr is for nobody (spec/resources.md 3.2).
        let stderr = if launch.is_status { &self.null } else { stdout };
        let exposed = Exposed::new(self.score.as_ref());
        let started = self.spawn(launch, stdout.as_fd(), stderr.as_fd());
        drop(exposed);
        let watched = started.and_then(|pid| Script::watch(pid, now, launch.limit.unwrap_or(self.limit)));
        let watched =
            watched.and_then(|script| match self.epoll.add(&script, EpollEvent::new(EpollFlags::EPOLLIN, 0)) {
                Ok(()) => Ok(script),
                Err(error) => {
                    script.end();
                    Err(error.into())
                }
            });
        match watched {
            Ok(script) => {
                let mut run = Run { script, output };
                if let Some(output) = &mut run.output {
                    output.begin(now);
                }
                Ok(run)
            }
            Err(error) => {
                self.close_output(now, output);
                Err(error)
            }
        }
    }

    fn open_output(&mut self, launch: &Launch<'_>) -> (Option<Output>, Option<File>) {
        let Some(outputs) = &mut self.outputs else { return (None, None) };
        match outputs.create(launch.name, launch.is_status) {
            Ok((output, file)) => (Some(output), Some(file)),
            Err(error) => {
                log::warn!("output of {} is lost: {error}", launch.path.display());
                (None, None)
            }
        }
    }

    fn close_output(&mut self, now: Instant, output: Option<Output>) -> Vec<u8> {
        match (&mut self.outputs, output) {
            (Some(outputs), Some(output)) => outputs.finish(now, output),
            _ => Vec::new(),
        }
    }

    fn spawn(&self, launch: &Launch<'_>, stdout: BorrowedFd<'_>, stderr: BorrowedFd<'_>) -> io::Result<Pid> {
        let path = c_path(launch.path);
        let words = c_words(launch.arguments)?;
        let environment = self.variables(launch);
        let arguments: Vec<&CStr> =
            std::iter::once(path.as_c_str()).chain(words.iter().map(CString::as_c_str)).collect();
        let program = sys::spawn::Program {
            path: &path,
            arguments: &arguments,
            environment: &environment,
            directory: &self.directory,
            stdin: launch.input,
            stdout,
            stderr,
        };
        let spawn = if launch.is_bound { sys::spawn::spawn_bound } else { sys::spawn::spawn };
        match spawn(&program) {
            // No `#!` line: Heartbeat ran scripts through the shell, which takes such a file for its own.
            Err(error) if error.raw_os_error() == Some(libc::ENOEXEC) => {
                let arguments: Vec<&CStr> = std::iter::once(c"/bin/sh").chain(arguments.iter().copied()).collect();
                spawn(&sys::spawn::Program { path: c"/bin/sh", arguments: &arguments, ..program })
            }
            // The working directory was removed under our feet: no reason to leave the service down.
            Err(error) if error.kind() == io::ErrorKind::NotFound && launch.path.exists() => {
                spawn(&sys::spawn::Program { directory: c"/", ..program })
            }
            result => result,
        }
    }

    fn variables<'a>(&'a self, launch: &'a Launch<'_>) -> Vec<&'a CStr> {
        let base = if launch.is_acquiring { self.environment.acquiring() } else { self.environment.base() };
        let unasked = launch.is_unasked.then_some(DONT_ASK);
        // Of two variables of one name some programs see the first, others the last.
        let is_replaced = |entry: &&CString| {
            let name = name_of(entry);
            launch.variables.iter().any(|own| name_of(own) == name)
        };
        let base = base.iter().filter(|entry| !is_replaced(entry));
        base.chain(launch.variables).map(CString::as_c_str).chain(unasked).collect()
    }

    /// Whether `run` is over; also reads what it has printed and sees to its time limit.
    pub fn check(&mut self, now: Instant, run: &mut Option<Run>) -> Option<Ended> {
        let running = run.as_mut()?;
        if let Some(output) = &mut running.output {
            output.turn(now);
        }
        let ending = running.script.check(now)?;
        let Run { script, output } = run.take()?;
        let text = self.close_output(now, output);
        if ending == Ending::Unkillable {
            self.stuck.push(script);
        }
        Some(Ended { ending, text })
    }

    /// Becomes readable when a program has ended.
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.0.as_fd()
    }

    /// When [`turn`](Self::turn) is due.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.outputs.as_ref()?.next_deadline()
    }

    /// Chores: stuck scripts that have ended after all, files of services.
    pub fn turn(&mut self, now: Instant) {
        self.stuck.retain_mut(|script| !script.is_gone());
        if let Some(outputs) = &mut self.outputs {
            outputs.turn(now);
        }
    }

    /// What every program gets: `NAME=value`.
    pub fn base_environment(&self) -> &[CString] {
        self.environment.base()
    }

    /// Time limit of a run.
    pub fn limit(&self) -> Duration {
        self.limit
    }

    fn warn_once(&mut self, path: &Path) {
        if self.distrusted.contains(path) {
            return;
        }
        if let Some(reason) = lookup::distrust(path) {
            log::warn!("{} runs as root although {reason}", path.display());
            self.distrusted.insert(path.to_owned());
        }
    }
}

fn environment(config: &Config, places: &Places) -> Environment {
    Environment::new(config, &places.ocf_root.display().to_string(), std::env::vars_os())
}

/// What stands before the first `=`.
fn name_of(entry: &CStr) -> &[u8] {
    entry.to_bytes().split(|byte| *byte == b'=').next().unwrap_or_default()
}

fn c_words(words: &[&str]) -> io::Result<Vec<CString>> {
    words.iter().map(|word| CString::new(*word).map_err(io::Error::from)).collect()
}

/// `cores/root` in the state directory, where scripts have always been run; else the root directory.
fn working_directory(state: &Path) -> CString {
    let directory = state.join("cores/root");
    match DirBuilder::new().recursive(true).mode(0o700).create(&directory) {
        Ok(()) => c_path(&directory),
        Err(error) => {
            log::info!("scripts run in /: {}: {error}", directory.display());
            c"/".to_owned()
        }
    }
}

/// While this lives, what is started is no better protected from the out-of-memory killer than any other process.
struct Exposed<'a>(Option<(&'a File, Vec<u8>)>);

impl<'a> Exposed<'a> {
    fn new(score: Option<&'a File>) -> Self {
        let Some(file) = score else { return Self(None) };
        let mut text = [0; 16];
        let length = file.read_at(&mut text, 0).unwrap_or(0);
        // Only a protection of ours is taken back, not what the administrator has set for the whole service.
        if !text[..length].starts_with(b"-") || file.write_at(b"0", 0).is_err() {
            return Self(None);
        }
        Self(Some((file, text[..length].to_vec())))
    }
}

impl Drop for Exposed<'_> {
    fn drop(&mut self) {
        if let Some((file, text)) = &self.0
            && let Err(error) = file.write_at(text, 0)
        {
            log::error!("the guardian's own oom_score_adj cannot be set again: {error}");
        }
    }
}
