//! Checkers: whom they run as, and what one in other hands can do to the log and to the engine.

use std::fs;
use std::os::fd::AsRawFd as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::time::Instant;

use nix::sys::socket::{MsgFlags, send};
use nix::unistd::Pid;
use nullbeat::checks::{ToGuardian, Trouble};
use nullbeat::core::Health;
use nullbeat::sys::pidfd;

use super::ONE;
use super::node::{Node, eventually};

/// The node with one checker, which asks nothing of anybody else.
fn node(more: &str) -> (Node, Pid) {
    let mut node = Node::new(ONE, &format!("check exec /bin/true every 200ms timeout 1\n{more}"));
    node.run_until_running("a");
    let mut checker = None;
    eventually("there is a checker", || {
        checker = node.named("nullbeat:check").first().copied();
        checker.is_some()
    });
    (node, checker.unwrap())
}

/// The user of a process.
fn user(pid: Pid) -> u32 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

#[test]
fn checker_is_another_user_than_the_engine_and_cannot_signal_it() {
    for more in ["", "user nobody", "user daemon", "user root"] {
        let (node, checker) = node(more);
        let (engine, own) = (node.engine(), user(checker));
        assert_ne!(own, 0, "{more}");
        assert_ne!(own, user(engine), "{more}");
        let reaches = |target: Pid| {
            let mut kill = Command::new("kill");
            kill.args(["-s", "CONT", &target.to_string()]).uid(own).gid(own).stderr(Stdio::null());
            kill.status().unwrap().success()
        };
        assert!(reaches(checker), "{more}");
        assert!(!reaches(engine), "{more}");
    }
}

/// Sends these on the checker's channel, over and over, as fast as they are taken.
fn flood(checker: Pid, records: &[&[u8]]) {
    let channel = pidfd::copy_descriptor(pidfd::open(checker).unwrap(), 0).unwrap();
    let mut sent = 0;
    while sent < FLOOD {
        for record in records {
            // It is full at times.
            sent += usize::from(send(channel.as_raw_fd(), record, MsgFlags::MSG_NOSIGNAL).is_ok());
        }
    }
}

const FLOOD: usize = 20_000;

#[test]
fn flood_of_bad_findings_is_counted_and_does_not_fill_the_log() {
    let (node, checker) = node("");
    let (generation, refused) = (node.generation(), "a checker sent what makes no sense: refused (");
    // Too short, and with nothing in it that there is.
    flood(checker, &[b"?", &[0xff; 12], &[0; 64]]);
    eventually("it is told", || node.text("log").contains(refused));
    // Good ones, and all a lie.
    let begun = Instant::now();
    let found = |health| ToGuardian::Finding { check: 0, health, trouble: Trouble::Silence, epoch: 0 }.encode();
    flood(checker, &[&found(Health::Failed), &found(Health::Healthy)]);
    eventually("it is told", || node.text("log").contains("no answer in time"));
    assert_eq!(node.verb(&["status"]), 0);
    let (log, seconds) = (node.text("log"), usize::try_from(begun.elapsed().as_secs()).unwrap());
    assert_eq!(log.matches(refused).count(), 1, "once a minute at the most: {log}");
    assert!(log.matches("no answer in time").count() <= seconds + 2, "once a second at the most: {log}");
    assert_eq!(node.generation(), generation, "no engine was held up");
    assert_eq!(node.calls(), ["start a"]);
}
