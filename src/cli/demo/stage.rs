//! The temporary directory: both nodes' configuration, the script of the service, logs.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::unistd::{AccessFlags, access, mkdtemp};

use super::board::Side;

/// The one resource group's only resource.
pub(super) const SERVICE: &str = "web";
/// How often the nodes beat.
pub(super) const KEEPALIVE: Duration = Duration::from_millis(100);
/// After how much silence a node is dead.
pub(super) const DEADTIME: Duration = Duration::from_millis(500);

/// Speed of the serial line meanwhile.
pub(super) const BAUD: u32 = 115_200;
/// Its speed while it is all that there is.
pub(super) const SLOW_BAUD: u32 = 19_200;

/// How fast two nodes beat that have nothing but the serial line.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    /// `keepalive`, milliseconds.
    pub(super) keepalive_ms: u32,
    /// `deadtime`.
    pub(super) deadtime_ms: u32,
}

/// Where everything is. Removed at the end unless it is to be kept.
#[derive(Debug)]
pub(super) struct Stage {
    root: PathBuf,
    is_kept: bool,
}

/// How a node reaches the other one.
#[derive(Debug)]
pub(super) struct Wiring {
    /// Its end of the cable.
    pub(super) serial: PathBuf,
    /// UDP port of all four addresses.
    pub(super) port: u16,
}

impl Stage {
    /// Makes the directory.
    ///
    /// # Errors
    /// When there is no place for it where scripts may be run.
    pub(super) fn new() -> io::Result<Self> {
        let place = std::env::temp_dir();
        let about = |what: String| io::Error::other(format!("{what}; TMPDIR names another place"));
        // ha.cf separates values at blanks and commas, and the script is written without any quoting.
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-+".contains(&byte);
        if !place.to_string_lossy().bytes().all(is_plain) {
            return Err(about(format!("{} has a character that configuration files cannot hold", place.display())));
        }
        let root = mkdtemp(&place.join("nullbeat-demo-XXXXXX"))
            .map_err(|error| about(format!("cannot make a directory in {}: {error}", place.display())))?;
        let stage = Self { root, is_kept: false };
        let probe = stage.root.join("probe");
        write(&probe, 0o700, "#!/bin/sh\n")?;
        access(&probe, AccessFlags::X_OK)
            .map_err(|error| about(format!("scripts cannot be run in {}: {error}", place.display())))?;
        fs::remove_file(probe)?;
        Ok(stage)
    }

    /// The directory of everything.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Leaves it in place at the end.
    pub(super) const fn keep(&mut self) {
        self.is_kept = true;
    }

    /// Whether it stays.
    pub(super) const fn is_kept(&self) -> bool {
        self.is_kept
    }

    /// The FIFO that the observer listens to.
    pub(super) fn observer(&self) -> PathBuf {
        self.root.join("observer")
    }

    /// A node's own directory.
    pub(super) fn of(&self, side: Side) -> PathBuf {
        self.root.join(side.name())
    }

    /// What is gone with the power: the marks of what runs on the board.
    pub(super) fn memory(&self, side: Side) -> PathBuf {
        self.of(side).join("memory")
    }

    /// Writes a node's files.
    ///
    /// # Errors
    /// When the disk says no.
    pub(super) fn furnish(&self, side: Side, wiring: &Wiring) -> io::Result<()> {
        let board = self.of(side);
        let config = board.join("ha.d");
        for directory in [&config.join("resource.d"), &self.memory(side), &board.join("run"), &board.join("state")] {
            DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        }
        let (times, links) = Self::usual(side, wiring);
        write(&config.join("ha.cf"), 0o600, &self.ha_cf(side, &times, &links))?;
        write(&config.join("haresources"), 0o600, &format!("{} {SERVICE}\n", Side::Alpha.name()))?;
        write(&config.join("authkeys"), 0o600, "auth 1\n1 sha1 a-secret-for-half-a-minute\n")?;
        write(&config.join("resource.d").join(SERVICE), 0o700, &self.script(side))?;
        write(&board.join("reset"), 0o700, &format!("#!/bin/sh\n{}tell reset\n", self.tell(side)))
    }

    /// Takes the network away from a node, and makes it beat at this pace.
    ///
    /// # Errors
    /// When the disk says no.
    pub(super) fn refit(&self, side: Side, wiring: &Wiring, pace: Pace) -> io::Result<()> {
        let Pace { keepalive_ms, deadtime_ms } = pace;
        let links = format!("protocol compact\nbaud {SLOW_BAUD}\nserial {}\n", wiring.serial.display());
        let times = format!("keepalive {keepalive_ms}ms\ndeadtime {deadtime_ms}ms\n");
        fs::write(self.of(side).join("ha.d/ha.cf"), self.ha_cf(side, &times, &links))
    }

    fn usual(side: Side, wiring: &Wiring) -> (String, String) {
        let (keepalive, deadtime) = (KEEPALIVE.as_millis(), DEADTIME.as_millis());
        let (serial, port) = (wiring.serial.display(), wiring.port);
        let (relay, own) = (side.relay_address(), side.address());
        let links = format!("baud {BAUD}\nserial {serial}\nudpport {port}\nucast lo {relay} bind {own}\n");
        (format!("keepalive {keepalive}ms\ndeadtime {deadtime}ms\n"), links)
    }

    fn ha_cf(&self, side: Side, times: &str, links: &str) -> String {
        let board = self.of(side);
        let board = board.display();
        let (alpha, beta) = (Side::Alpha.name(), Side::Beta.name());
        format!(
            "# {side}'s configuration, written by `nullbeat demo`\n\
             node {alpha} {beta}\n\
             {times}\
             initdead 2\n\
             auto_failback on\n\
             takeover_policy available\n\
             {links}\
             logfile {board}/log\n\
             reset_with hook {board}/reset\n"
        )
    }

    /// The service: a mark that says "runs here". The observer is told of every change.
    fn script(&self, side: Side) -> String {
        let mark = self.memory(side).join(SERVICE);
        let mark = mark.display();
        let tell = self.tell(side);
        format!(
            "#!/bin/sh\n\
             {tell}\
             case $1 in\n\
             start)  : > {mark} && tell started ;;\n\
             stop)   [ ! -e {mark} ] || {{ rm {mark} && tell stopped; }} ;;\n\
             status) if [ -e {mark} ]; then echo running; else echo stopped; fi ;;\n\
             *)      exit 64 ;;\n\
             esac\n"
        )
    }

    /// A shell function. Opened for both directions the FIFO keeps nobody waiting, even when nobody listens.
    fn tell(&self, side: Side) -> String {
        format!("tell() {{ echo \"{side} $1\" 1<> {}; }}\n", self.observer().display())
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if !self.is_kept
            && let Err(error) = fs::remove_dir_all(&self.root)
        {
            eprintln!("nullbeat demo: {} stays: {error}", self.root.display());
        }
    }
}

fn write(path: &Path, mode: u32, text: &str) -> io::Result<()> {
    OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?.write_all(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Output};

    use super::*;
    use crate::config::{LoadOptions, Paths, Purpose, Severity, load};

    fn stage() -> Stage {
        let stage = Stage::new().unwrap();
        let wiring = Wiring { serial: "/dev/null".into(), port: 40_000 };
        stage.furnish(Side::Alpha, &wiring).unwrap();
        stage
    }

    #[test]
    fn stage_configuration_has_no_error_and_the_timing_of_the_show() {
        let stage = stage();
        let board = stage.of(Side::Alpha);
        let paths = Paths { config: board.join("ha.d"), run: board.join("run"), state: board.join("state") };
        let options = LoadOptions { node: Some("alpha".into()), ..LoadOptions::new(Purpose::Run) };
        let loaded = load(&paths, &options);
        assert_eq!(loaded.count(Severity::Error), 0, "{:?}", loaded.findings);
        let config = loaded.config.unwrap();
        assert_eq!((config.keepalive, config.deadtime), (KEEPALIVE, DEADTIME));
        assert_eq!((config.media.len(), config.groups[0].key()), (2, SERVICE));
        let wiring = Wiring { serial: "/dev/null".into(), port: 40_000 };
        stage.refit(Side::Alpha, &wiring, Pace { keepalive_ms: 25, deadtime_ms: 75 }).unwrap();
        let loaded = load(&paths, &options);
        assert_eq!(loaded.count(Severity::Error), 0, "{:?}", loaded.findings);
        assert_eq!(loaded.config.unwrap().media.len(), 1);
    }

    #[test]
    fn stage_script_marks_tells_and_stops_twice() {
        let stage = stage();
        // A plain file instead of the FIFO: `<>` overwrites from its beginning.
        fs::write(stage.observer(), "").unwrap();
        let script = stage.of(Side::Alpha).join("ha.d/resource.d").join(SERVICE);
        let run = |action: &str| -> Output { Command::new(&script).arg(action).output().unwrap() };
        let told = || fs::read_to_string(stage.observer()).unwrap();
        assert_eq!(run("status").stdout, b"stopped\n");
        assert!(run("start").status.success());
        assert_eq!((run("status").stdout, told()), (b"running\n".to_vec(), "alpha started\n".to_owned()));
        assert!(run("stop").status.success());
        assert_eq!(told(), "alpha stopped\n");
        fs::write(stage.observer(), "").unwrap();
        assert!(run("stop").status.success(), "a second stop succeeds");
        assert_eq!((run("status").stdout, told()), (b"stopped\n".to_vec(), String::new()), "and tells nobody");
        assert_eq!(run("frobnicate").status.code(), Some(64));
    }

    #[test]
    fn stage_is_removed_unless_kept() {
        let stage = stage();
        let root = stage.root().to_owned();
        drop(stage);
        assert!(!root.exists());
        let mut kept = Stage::new().unwrap();
        kept.keep();
        let root = kept.root().to_owned();
        drop(kept);
        assert!(root.exists());
        fs::remove_dir(root).unwrap();
    }
}
