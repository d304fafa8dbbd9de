//! `nullbeat cable`: on a line without daemons, and asked of the daemon that has the port. Pseudo-terminals have no modem
//! lines and count no errors: what those tell is tried in the unit tests of `links::cable` and `links::probe`.

mod lab;

use std::io::{Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::pty::{PtyMaster, grantpt, posix_openpt, ptsname_r, unlockpt};

use lab::{AT_HOME, Lab, NullModem};

fn probe(port: &Path, seconds: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nullbeat"));
    command.arg("cable").arg(port).args(["--time", seconds, "--config-dir", "/nonexistent"]);
    command
}

#[track_caller]
fn assert_says(output: &Output, verdict: &str, code: i32) -> String {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains(&format!(": {verdict}: ")), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{text}");
    text
}

#[test]
fn silence_and_noise_without_a_daemon() {
    let modem = NullModem::new();
    let text = assert_says(&probe(&modem.device(0), "1").output().unwrap(), "silent", 1);
    assert!(text.contains("  the port has no modem lines\n"), "{text}");
    let child = probe(&modem.device(0), "2").stdout(std::process::Stdio::piped()).spawn().unwrap();
    let is_over = Arc::new(AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                modem.inject(0, b"login: \x07garbage\x1b[31m of a console\n");
                std::thread::yield_now();
            }
        });
        let output = child.wait_with_output().unwrap();
        is_over.store(true, Ordering::Relaxed);
        assert_says(&output, "noise", 1);
    });
}

#[test]
fn probes_at_both_ends_hear_each_other_or_one_of_them_does() {
    let modem = NullModem::new();
    let both = |seconds| {
        let start = |end| probe(&modem.device(end), seconds).stdout(std::process::Stdio::piped()).spawn().unwrap();
        [start(0), start(1)].map(|child| child.wait_with_output().unwrap())
    };
    for output in both("6") {
        let text = assert_says(&output, "ok", 0);
        assert!(text.contains("  the peer hears us here\n"), "{text}");
    }
    modem.cut_from(0, true);
    let [hearing, deaf] = both("6");
    assert_says(&hearing, "one-way", 1);
    assert_says(&deaf, "silent", 1);
}

/// A port on which everything comes back.
fn loopback() -> (PtyMaster, PathBuf) {
    let far = posix_openpt(OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC).unwrap();
    grantpt(&far).unwrap();
    unlockpt(&far).unwrap();
    let name = ptsname_r(&far).unwrap();
    (far, PathBuf::from(name))
}

#[test]
fn loopback_plug_is_an_echo() {
    let (mut far, port) = loopback();
    let is_over = Arc::new(AtomicBool::new(false));
    let over = Arc::clone(&is_over);
    let plug = std::thread::spawn(move || {
        let mut buffer = [0; 256];
        while !over.load(Ordering::Relaxed) {
            let _ = poll(&mut [PollFd::new(far.as_fd(), PollFlags::POLLIN)], PollTimeout::from(20u8));
            if let Ok(count) = far.read(&mut buffer) {
                let _ = far.write_all(&buffer[..count]);
            }
        }
    });
    let output = probe(&port, "2").arg("--json").output().unwrap();
    is_over.store(true, Ordering::Relaxed);
    plug.join().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("\"verdict\": \"echo\"") && text.contains("of our own words came back"), "{text}");
}

#[test]
fn daemon_that_has_the_port_is_asked_and_knows_more() {
    let mut lab = Lab::usual("", AT_HOME);
    lab.start_both();
    lab.wait_at_home();
    let port = lab.boards[0].serial.display().to_string();
    let ask = |lab: &Lab| lab.boards[0].nullbeat(&["cable", &port]);
    lab.wait("the partner tells that it hears us", |lab| {
        String::from_utf8_lossy(&ask(lab).stdout).contains("the peer hears us here")
    });
    assert_says(&ask(&lab), "ok", 0);
    // Its Ethernet is there: it lives.
    lab.modem.cut(true);
    lab.wait("the cable is missed", |lab| String::from_utf8_lossy(&ask(lab).stdout).contains(": no-cable: "));
    assert_says(&ask(&lab), "no-cable", 1);
    let status = String::from_utf8_lossy(&lab.boards[0].nullbeat(&["status"]).stdout).into_owned();
    assert!(status.contains(&format!("cable at {port}: no-cable: ")), "{status}");
    lab.boards[1].power_off();
    lab.wait("the partner is missed", |lab| String::from_utf8_lossy(&ask(lab).stdout).contains(": peer-off: "));
}
