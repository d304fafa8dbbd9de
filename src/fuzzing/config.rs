//! The files that people write: `src/config`.

use std::cell::RefCell;
use std::fs;
use std::path::{Path, PathBuf};

use super::scratch;
use crate::config::services::apphbd::ApphbdConfig;
use crate::config::services::logd::LogdConfig;
use crate::config::{FakeMachine, Finding, LoadOptions, Paths, Purpose, load};
use crate::core::ids::{Generation, Uuid};
use crate::core::settings::Identity;
use crate::core::time::{Instant, Stamp};
use crate::core::{Input, Node};

const HA_CF: &[u8] = b"keepalive 200ms\ndeadtime 2\nserial /dev/ttyS0\nucast eth0 10.0.0.2\nnode alpha beta\n\
    auto_failback on\ntakeover_policy available\n";
const HARESOURCES: &[u8] = b"alpha IPaddr::10.0.0.9 httpd\n";
const AUTHKEYS: &[u8] = b"auth 1\n1 sha1 secret\n";

/// A configuration directory with good files, removed at the end.
struct Directory(PathBuf, FakeMachine);

thread_local! {
    static DIRECTORY: RefCell<Directory> = RefCell::new(Directory::new());
}

impl Directory {
    fn new() -> Self {
        let path = scratch("ha.d");
        fs::create_dir_all(path.join("boards")).expect("a directory");
        let directory = Self(path, FakeMachine::complete("alpha"));
        for (name, text) in [("ha.cf", HA_CF), ("haresources", HARESOURCES), ("authkeys", AUTHKEYS)] {
            directory.write(name, text);
        }
        directory
    }

    fn write(&self, name: &str, text: &[u8]) {
        // A new file waits for no disk; one that is truncated and written again may.
        let path = self.0.join(name);
        let _ = fs::remove_file(&path);
        fs::write(path, text).expect("a file");
    }

    fn load(&self, purpose: Purpose) -> crate::config::Loaded {
        let paths = Paths { config: self.0.clone(), run: "/run/nullbeat".into(), state: "/var/lib/nullbeat".into() };
        load(&paths, &LoadOptions { machine: &self.1, ..LoadOptions::new(purpose) })
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Reads all three files, one of them this; then puts the good one back.
fn with(name: &str, data: &[u8], good: &[u8]) {
    DIRECTORY.with_borrow(|directory| {
        directory.write(name, data);
        let loaded = directory.load(Purpose::Run);
        check_places(&loaded.findings, &directory.0.join(name), data);
        assert_eq!(loaded, directory.load(Purpose::Run), "the same files say the same");
        let _ = directory.load(Purpose::Check);
        directory.write(name, good);
        // What the files permit the core must be able to begin with. It is large: now and then is often enough.
        if let Some(config) = loaded.config.as_ref().filter(|_| data.len().is_multiple_of(8)) {
            let identity = Identity { uuid: Uuid([7; 16]), generation: Generation(1) };
            let at = Stamp { now: Instant::from_millis(1000), wall: 1_800_000_000 };
            let mut node = Box::new(Node::new(config.settings(1), identity, None, at));
            node.handle(at, Input::Tick);
            while node.poll_action().is_some() {}
            let _ = (config.table_digest(), config.line_times());
        }
    });
}

/// Every finding stands where there is something, and is one line.
fn check_places(findings: &[Finding], file: &Path, data: &[u8]) {
    let lines = data.split(|byte| *byte == b'\n').count();
    for finding in findings {
        let text = finding.to_string();
        assert!(!text.chars().any(|letter| letter.is_control() && letter != '\n'), "{}", text.escape_debug());
        if finding.file == file {
            assert!(usize::try_from(finding.at.line).is_ok_and(|line| line <= lines), "{text}");
        }
    }
}

/// `ha.cf`
pub(super) fn ha_cf(data: &[u8]) {
    with("ha.cf", data, HA_CF);
}

/// `haresources`
pub(super) fn haresources(data: &[u8]) {
    with("haresources", data, HARESOURCES);
}

/// `authkeys`
pub(super) fn authkeys(data: &[u8]) {
    with("authkeys", data, AUTHKEYS);
}

/// A board's file: alone, and with a configuration that names its ports.
pub(super) fn board(data: &[u8]) {
    DIRECTORY.with_borrow(|directory| {
        directory.write("boards/fuzz.conf", data);
        let path = directory.0.join("boards/fuzz.conf");
        let (_, findings) = crate::config::board::check_file(&path, &directory.1);
        check_places(&findings, &path, data);
    });
    with("ha.cf", &[b"board fuzz\nserial link\n", HA_CF].concat(), HA_CF);
}

/// `logd.cf`
pub(super) fn logd_cf(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Err(error) = LogdConfig::parse(Path::new("logd.cf"), text) {
        assert!(error.contains("logd.cf"), "{error}");
    }
}

/// `apphbd.cf`
pub(super) fn apphbd_cf(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Err(error) = ApphbdConfig::parse(Path::new("apphbd.cf"), text, ApphbdConfig::default()) {
        assert!(error.contains("apphbd.cf"), "{error}");
    }
}
