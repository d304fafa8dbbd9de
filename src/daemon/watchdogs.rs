//! The guardian's watchdogs: opened and set before anything is held, kept open over all engines, stopped after an orderly
//! end only. The engine kicks them through copies of their descriptors ([`super::kicker`]).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;

use crate::config::{Config, ResetWith};
use crate::guardian::lease::Lease;
use crate::hardware::watchdog::{Armed, Device, Facts, ResetCause, Watchdog, arm, set_timeout};

/// How long a device may stay busy: a guardian that was killed closes its descriptors one after another, and the lock
/// perhaps before the watchdog.
const BUSY_LIMIT: Duration = Duration::from_secs(1);
/// Between two tries: nobody tells when a device is free.
const BUSY_PAUSE: Duration = Duration::from_millis(20);

/// One that is open and set.
#[derive(Debug)]
pub struct HeldWatchdog<W> {
    /// As in ha.cf.
    pub path: PathBuf,
    /// The open device.
    pub device: W,
    /// What has been set.
    pub armed: Armed,
    /// The shortest timeout that it takes, seconds, where the kernel tells it.
    pub shortest: Option<u32>,
    /// It cannot be stopped.
    pub is_nowayout: bool,
}

impl<W> HeldWatchdog<W> {
    /// How long after the last kick the board is reset.
    pub const fn timeout(&self) -> Duration {
        Duration::from_secs(self.armed.timeout as u64)
    }
}

/// Those that were opened and are not in use yet: dropped, they are stopped again.
#[derive(Debug, Default)]
pub struct Opened(Vec<HeldWatchdog<Device>>);

impl Drop for Opened {
    fn drop(&mut self) {
        for held in self.0.drain(..) {
            stop(held);
        }
    }
}

/// All watchdogs of this board.
#[derive(Debug, Default)]
pub struct Watchdogs(Vec<HeldWatchdog<Device>>);

impl Watchdogs {
    /// Opens what `config` names; `is_unfenced`: goes without those that do not work, and says so. From here on somebody
    /// has to kick them.
    ///
    /// # Errors
    /// With a sentence: which one does not work, and why. None is left running then.
    pub fn open(config: &mut Config, is_unfenced: bool) -> io::Result<Self> {
        let mut this = Self::default();
        for path in &config.watchdog.devices {
            match this.open_one(config, path) {
                Ok(held) => this.0.push(held),
                Err(error) if is_unfenced => {
                    log::error!("{error}; going without it, because of --unfenced");
                }
                Err(error) => {
                    drop(Opened(this.0));
                    return Err(error);
                }
            }
        }
        this.note(config);
        for held in &this.0 {
            held.tell();
        }
        Ok(this)
    }

    /// Opens those of `config` that are not held yet, for a reload.
    ///
    /// # Errors
    /// As [`Watchdogs::open`].
    pub fn open_further(&self, config: &Config) -> io::Result<Opened> {
        let mut opened = Opened::default();
        for path in config.watchdog.devices.iter().filter(|path| !self.0.iter().any(|held| held.path == **path)) {
            opened.0.push(self.open_one(config, path)?);
        }
        Ok(opened)
    }

    fn open_one(&self, config: &Config, path: &Path) -> io::Result<HeldWatchdog<Device>> {
        let cannot = |why: &dyn std::fmt::Display| io::Error::other(format!("watchdog {}: {why}", path.display()));
        let facts = Facts::of(path);
        let device = open_device(path).map_err(|error| match error.raw_os_error() {
            Some(code) if code == Errno::EBUSY as i32 => cannot(&busy(path, &error)),
            _ => cannot(&error),
        })?;
        let armed = arm(&device, config.watchdog_seconds(facts.as_ref())).map_err(|why| cannot(&why))?;
        let (shortest, is_nowayout) = facts.map_or((None, false), |facts| (facts.shortest, facts.is_nowayout));
        Ok(HeldWatchdog { path: path.to_owned(), device, armed, shortest, is_nowayout })
    }

    /// The files were read again: holds what they name. Their timeouts are set by [`Watchdogs::set`].
    pub fn replace(&mut self, config: &Config, mut opened: Opened) {
        self.0.append(&mut opened.0);
        let (kept, gone) = self.0.drain(..).partition(|held| config.watchdog.devices.contains(&held.path));
        self.0 = kept;
        for held in Vec::from_iter::<Vec<_>>(gone) {
            log::warn!("Watchdog {} is not used any more", held.path.display());
            stop(held);
        }
    }

    /// Sets the timeouts anew, for each new engine, and when a reset was called off. That restarts the countdowns: where no
    /// kick is allowed (`may_kick`) they stay as they are.
    pub fn set(&mut self, config: &mut Config, may_kick: bool) {
        for held in self.0.iter_mut().filter(|_| may_kick) {
            let seconds = config.watchdog_seconds(Facts::of(&held.path).as_ref());
            let support = held.device.support().map_err(|error| error.to_string());
            match support.and_then(|support| set_timeout(&held.device, &support, seconds)) {
                Ok(timeout) => held.armed.timeout = timeout,
                Err(error) => log::error!("Watchdog {} keeps its timeout: {error}", held.path.display()),
            }
        }
        self.note(config);
    }

    /// What is in force decides what our beats announce.
    fn note(&self, config: &mut Config) {
        // The shortest resets the board first, if it works. Both what we announce and what a lease promises hold as long
        // as one of them works: so the longest counts.
        config.watchdog.in_force = self.0.iter().map(HeldWatchdog::timeout).max();
        if config.reset_with == ResetWith::Watchdog && self.0.is_empty() {
            log::error!("`reset_with watchdog`, and no watchdog works: an ordinary reboot is in its place");
            config.reset_with = ResetWith::Reboot;
        }
        let announced = config.announced_deadtime();
        if announced > config.deadtime
            && let Some(sum) = config.watchdog_arithmetic()
        {
            log::warn!(
                "Our beats announce a dead time of {} ms, not {} ms: the watchdog needs it ({sum})",
                announced.as_millis(),
                config.deadtime.as_millis()
            );
        }
    }

    /// Why this board last started: what each device remembers, with its identity.
    pub fn reset_causes(&self) -> impl Iterator<Item = (&str, ResetCause)> {
        self.0.iter().map(|held| (held.armed.identity.as_str(), held.armed.cause))
    }

    /// Copies for the engine.
    ///
    /// # Errors
    /// What fcntl(2) says.
    pub fn copies(&self) -> io::Result<Vec<HeldWatchdog<Device>>> {
        let copy = |held: &HeldWatchdog<Device>| -> io::Result<_> {
            let (path, device, armed) = (held.path.clone(), held.device.try_clone()?, held.armed.clone());
            Ok(HeldWatchdog { path, device, armed, shortest: held.shortest, is_nowayout: held.is_nowayout })
        };
        self.0.iter().map(copy).collect()
    }

    /// The same once more, to stop them if a start comes to nothing. Dropped it changes nothing.
    ///
    /// # Errors
    /// What fcntl(2) says.
    pub fn spare(&self) -> io::Result<Self> {
        self.copies().map(Self)
    }

    fn disarm(&mut self) {
        for held in self.0.drain(..) {
            stop(held);
        }
    }

    /// Whether there is any.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The orderly end, or a start of which nothing came: stops them, or leaves them running when part of the groups may
    /// be in use here. Every copy must be closed by then.
    pub fn end(&mut self, lease: &Lease) {
        if lease.in_use().is_empty() {
            self.disarm();
        } else {
            self.tell_left_running();
        }
    }

    /// Left running on purpose: says so.
    fn tell_left_running(&self) {
        for held in &self.0 {
            log::error!(
                target: "EMERG",
                "Watchdog {} is left running: it resets this board within {} s.",
                held.path.display(),
                held.armed.timeout
            );
        }
    }
}

impl HeldWatchdog<Device> {
    fn tell(&self) {
        log::info!(target: "notice", "Using watchdog device: {}", self.path.display());
        let Armed { identity, timeout, cause, .. } = &self.armed;
        log::info!("Watchdog {} ({identity}) resets this board {timeout} s after the last kick", self.path.display());
        if cause.is_watchdog() {
            log::warn!("This board was reset by its watchdog ({identity})");
        } else if cause.bits() != 0 {
            log::warn!("{identity} tells why this board started: {}", cause.word());
        }
        if self.is_nowayout {
            log::warn!("Watchdog {} has `nowayout`: it cannot be stopped", self.path.display());
        }
    }
}

fn stop(held: HeldWatchdog<Device>) {
    if held.is_nowayout {
        log::warn!(
            "Watchdog {} cannot be stopped (`nowayout`): it resets this board within {} s unless somebody kicks it",
            held.path.display(),
            held.armed.timeout
        );
    }
    if let Err(error) = held.device.disarm() {
        log::error!("Watchdog {} cannot be stopped: {error}", held.path.display());
    }
}

fn open_device(path: &Path) -> io::Result<Device> {
    let limit = Instant::now() + BUSY_LIMIT;
    loop {
        match Device::open(path) {
            Err(error) if error.raw_os_error() == Some(Errno::EBUSY as i32) && Instant::now() < limit => {
                std::thread::sleep(BUSY_PAUSE);
            }
            result => return result,
        }
    }
}

fn busy(path: &Path, error: &io::Error) -> String {
    let who = holder(path).map_or_else(|| "somebody else has it".to_owned(), |who| format!("{who} has it"));
    format!("{error}: {who}; a watchdog serves one program (systemd: `RuntimeWatchdogSec=0` in system.conf)")
}

/// The process that has the device open, as far as it may be looked for.
fn holder(path: &Path) -> Option<String> {
    let is_it = |target: &Path| target == path || (is_first(target) && is_first(path));
    for process in fs::read_dir("/proc").ok()?.flatten() {
        // Beside the processes there are `self` and `thread-self`.
        if !process.file_name().to_string_lossy().starts_with(|first: char| first.is_ascii_digit()) {
            continue;
        }
        let Ok(descriptors) = fs::read_dir(process.path().join("fd")) else { continue };
        let has_it = descriptors.flatten().any(|entry| fs::read_link(entry.path()).is_ok_and(|target| is_it(&target)));
        if has_it {
            let name = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            return Some(format!("process {} ({})", process.file_name().to_string_lossy(), name.trim()));
        }
    }
    None
}

/// Two names of one device.
fn is_first(path: &Path) -> bool {
    path == Path::new("/dev/watchdog") || path == Path::new("/dev/watchdog0")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::sample;

    #[test]
    fn device_that_is_missing_or_no_watchdog_is_named() {
        let mut config = sample::config(Path::new("/x"), &[]);
        config.watchdog.devices = vec![PathBuf::from("/dev/nullbeat-none")];
        let error = Watchdogs::open(&mut config, false).unwrap_err().to_string();
        assert_eq!(error, "watchdog /dev/nullbeat-none: No such file or directory (os error 2)");
        config.watchdog.devices = vec![PathBuf::from("/dev/null")];
        let error = Watchdogs::open(&mut config, false).unwrap_err().to_string();
        assert_eq!(error, "watchdog /dev/null: it is no watchdog (Inappropriate ioctl for device (os error 25))");
    }

    #[test]
    fn unfenced_goes_without_and_announces_nothing_more() {
        let mut config = sample::config(Path::new("/x"), &[]);
        config.watchdog.devices = vec![PathBuf::from("/dev/null")];
        config.watchdog.in_force = Some(Duration::from_secs(4));
        config.reset_with = ResetWith::Watchdog;
        assert!(Watchdogs::open(&mut config, true).unwrap().is_empty());
        assert_eq!((config.watchdog.in_force, config.announced_deadtime()), (None, config.deadtime));
        assert_eq!(config.reset_with, ResetWith::Reboot, "nothing else would reset it");
    }

    #[test]
    fn holder_of_a_device_is_found_by_its_descriptor() {
        let path = std::env::temp_dir().join(format!("nullbeat-holder-{}", std::process::id()));
        let file = fs::File::create(&path).unwrap();
        let found = holder(&path).unwrap();
        assert!(found.starts_with(&format!("process {} (", std::process::id())), "{found}");
        drop(file);
        assert_eq!(holder(&path), None);
        fs::remove_file(&path).unwrap();
    }
}
