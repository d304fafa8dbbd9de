//! `nullbeat check` as a person or a script runs it: the real program, its words and its exit codes.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

/// A configuration directory, removed at the end.
struct Directory(PathBuf);

impl Directory {
    /// With the tutorial in it.
    fn tutorial(name: &str) -> Self {
        let directory = Self(std::env::temp_dir().join(format!("nullbeat-check-{}-{name}", std::process::id())));
        std::fs::create_dir_all(&directory.0).expect("temporary directory");
        for file in ["ha.cf", "haresources", "authkeys"] {
            let source = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/tutorial").join(file);
            directory.write(file, &std::fs::read_to_string(source).expect("tutorial"));
        }
        directory
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.0.join(name);
        std::fs::write(&path, text).expect("write");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("chmod");
    }

    /// Standard output without the directory, and the exit code.
    fn check(&self, options: &[&str]) -> (String, Option<i32>) {
        let output = Command::new(env!("CARGO_BIN_EXE_nullbeat"))
            .args(["check", "--config-dir"])
            .arg(&self.0)
            .args(options)
            .output()
            .expect("runs");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "");
        let text = String::from_utf8(output.stdout).expect("UTF-8");
        (text.replace(&format!("{}/", self.0.display()), ""), output.status.code())
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn tutorial_passes_and_is_told_in_words() {
    let directory = Directory::tutorial("passes");
    let (text, code) = directory.check(&["--node", "Rserver2"]);
    assert_eq!(code, Some(0), "{text}");
    for line in [
        "node rserver2 of rserver1, rserver2; groups are exchanged with rserver1\n",
        "a beat every 2 s; the peer is called late 10 s after its last beat, and declared dead 30 s after it (15 beats)\n",
        "group of rserver1: IPaddr::192.168.231.111/24/ens33 Filesystem::192.168.231.129:/webroot::/var/www/html::nfs httpd\n",
    ] {
        assert!(text.contains(line), "{text}");
    }
    assert!(text.ends_with(", 2 notes: the configuration can be used\n"), "{text}");
    assert_eq!(directory.check(&["--node", "Rserver2", "--strict"]).1, Some(1));
}

#[test]
fn foreign_configuration_is_checked_as_its_first_node() {
    let (text, code) = Directory::tutorial("foreign").check(&["--node", "nobody"]);
    let warning = "ha.cf: warning: found no `node` line for the local node `nobody`; expected `rserver1` or `rserver2`; checked as `rserver1`; --node NAME says which one this is\n";
    assert!(text.starts_with(warning), "{text}");
    assert_eq!(code, Some(0));
}

#[test]
fn mistakes_in_all_files_are_told_at_once() {
    let directory = Directory::tutorial("mistakes");
    directory.write("ha.cf", "keepalvie 1\nserial ttyS0\nnode a b\n");
    directory.write("haresources", "c httpd\n");
    directory.write("authkeys", "auth 1\n2 sha1 x\n");
    let (text, code) = directory.check(&["--node", "a", "--strict"]);
    for line in [
        "ha.cf:1:1: error: found `keepalvie`, an unknown directive; expected a directive of ha.cf; did you mean `keepalive`?\n",
        "ha.cf:2:8: error: found `ttyS0`; expected the full path of a device, `baud N`, `flow none|rtscts` or `keepalive TIME`; did you mean `/dev/ttyS0`?\n",
        "haresources:1:1: error: found `c`, which is no node; expected a node of ha.cf\n",
        "authkeys:1:1: error: found `auth 1`; expected a line `1 METHOD KEY` below it; the only key is number 2\n",
        "4 errors, ",
        ": the configuration cannot be used\n",
    ] {
        assert!(text.contains(line), "{text}");
    }
    assert_eq!(code, Some(78));
}

#[test]
fn pacemaker_and_missing_clients_are_named() {
    let directory = Directory::tutorial("clients");
    let text = std::fs::read_to_string(directory.0.join("ha.cf")).expect("read");
    directory.write("ha.cf", &format!("failfast root /nonexistent\n{text}"));
    let (said, code) = directory.check(&["--node", "rserver1"]);
    assert!(said.contains("found `/nonexistent`, which is no executable file here; expected a program\n"), "{said}");
    assert_eq!(code, Some(0), "here it may be another board's file");
    directory.write("ha.cf", &format!("crm yes\n{text}"));
    let (said, code) = directory.check(&["--node", "rserver1"]);
    assert!(
        said.contains("error: found `crm yes`; expected `off`, or no such line; with it Heartbeat leaves"),
        "{said}"
    );
    assert_eq!(code, Some(78));
}
