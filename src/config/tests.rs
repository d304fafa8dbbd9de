//! Every kind of mistake in each file, with the words it is answered with; and the three files together.

mod authkeys;
mod board;
mod checks;
mod clients;
mod fence;
mod ha_cf;
mod haresources;
mod media;
mod membership;
mod pings;
mod together;
mod watchdog;

use std::net::Ipv4Addr;
use std::path::PathBuf;

use super::*;

/// The lines that a tested ha.cf needs to be complete, by their directive.
const BASE: [&str; 5] =
    ["node alpha beta", "ucast eth0 10.0.0.2", "logfacility local0", "auto_failback on", "takeover_policy available"];

/// A configuration directory of its own, removed at the end.
struct Directory(PathBuf);

impl Directory {
    /// One with a complete configuration.
    fn new() -> Self {
        use std::sync::atomic::{AtomicU32, Ordering};
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("nullbeat-config-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).expect("temporary directory");
        let directory = Self(path);
        directory.write("ha.cf", complete(b""));
        directory.write("haresources", "alpha IPaddr::10.0.0.9 httpd\n");
        directory.write("authkeys", "auth 1\n1 sha1 secret-of-both-nodes\n");
        directory
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        std::fs::write(self.0.join(name), text).expect("write");
        self.permit(name, 0o600);
    }

    fn permit(&self, name: &str, mode: u32) {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(self.0.join(name), std::fs::Permissions::from_mode(mode)).expect("chmod");
    }

    fn load(&self, options: &LoadOptions<'_>) -> Loaded {
        let paths = Paths { config: self.0.clone(), run: "/run/nullbeat".into(), state: "/var/lib/nullbeat".into() };
        load(&paths, options)
    }

    /// Findings without the directory in front.
    fn messages(&self, loaded: &Loaded) -> Vec<String> {
        let prefix = format!("{}/", self.0.display());
        loaded.findings.iter().map(|finding| finding.to_string().replace(&prefix, "")).collect()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Loads it as this node, as `run` would.
fn load_as(directory: &Directory, node: &str, machine: &FakeMachine) -> Config {
    let options = LoadOptions { node: Some(node.into()), machine, ..LoadOptions::new(Purpose::Run) };
    let loaded = directory.load(&options);
    loaded.config.unwrap_or_else(|| panic!("{:?}", loaded.findings))
}

/// `tested`, and below it those base lines whose directive it does not have.
fn complete(tested: &[u8]) -> Vec<u8> {
    let mut text = tested.to_vec();
    let shown = String::from_utf8_lossy(tested).into_owned();
    for line in BASE {
        let word = line.split(' ').next().unwrap_or_default();
        if !shown.lines().any(|tested| tested.split_whitespace().next() == Some(word)) {
            text.extend_from_slice(b"\n");
            text.extend_from_slice(line.as_bytes());
        }
    }
    text
}

/// The board `alpha`, on which a few things are missing.
fn board() -> FakeMachine {
    let mut machine = FakeMachine::complete("alpha");
    machine.addresses = vec![Ipv4Addr::new(10, 0, 0, 1).into(), "2001:db8::1".parse().expect("address")];
    machine.other_files = Some(FileKind::Executable);
    machine.files.extend([
        ("/dev/ttyS9".into(), FileKind::Missing),
        ("/dev/null0".into(), FileKind::Plain),
        ("/none".into(), FileKind::Missing),
        ("/etc/init.d/plain".into(), FileKind::Missing),
        ("/etc/init.d/missing".into(), FileKind::Missing),
        ("/usr/lib/ocf/resource.d/own/Dummy".into(), FileKind::Missing),
        ("/usr/lib/ocf/resource.d/heartbeat/Ours".into(), FileKind::Missing),
        ("/usr/lib/ocf/resource.d/heartbeat/None".into(), FileKind::Missing),
        ("/usr/lib/ocf/resource.d/own/None".into(), FileKind::Missing),
    ]);
    machine.directories.insert("/usr/lib/ocf/resource.d".into(), vec!["own".into(), "heartbeat".into()]);
    machine
}

/// What is said, as `purpose`, when the file `name` holds `text`.
fn said(purpose: Purpose, name: &str, text: &[u8]) -> Vec<String> {
    let directory = Directory::new();
    let mut machine = board();
    for (script, kind) in [("plain", FileKind::Plain), ("missing", FileKind::Missing)] {
        machine.files.insert(directory.0.join("resource.d").join(script), kind);
    }
    directory.write(name, text);
    let loaded = directory.load(&LoadOptions { machine: &machine, ..LoadOptions::new(purpose) });
    assert_eq!(loaded.config.is_none(), loaded.count(Severity::Error) > 0);
    directory
        .messages(&loaded)
        .iter()
        .map(|line| line.replace(directory.0.to_str().unwrap_or_default(), "/etc/ha.d"))
        .collect()
}

/// Compares what is said with a table of texts and messages.
fn expect(purpose: Purpose, name: &str, table: &[(&[u8], &[&str])]) {
    for (text, expected) in table {
        let whole = if name == "ha.cf" { complete(text) } else { text.to_vec() };
        let said = said(purpose, name, &whole);
        assert_eq!(said, *expected, "\n{}", String::from_utf8_lossy(text));
    }
}
