//! Real scripts in a temporary directory.

mod fencing;
mod health;
mod moves;
mod scripts;
mod surroundings;

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::*;
use crate::config::{OnStopFailure, sample};

/// Far longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A directory with scripts, removed at the end.
struct Yard {
    root: PathBuf,
}

impl Yard {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("nullbeat-jobs-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let root = std::env::temp_dir().join(name);
        for directory in ["ha.d/resource.d", "ha.d/conf/OCF", "init.d", "ocf/resource.d/heartbeat", "state", "run"] {
            fs::create_dir_all(root.join(directory)).unwrap();
        }
        Self { root }
    }

    fn config(&self, groups: &[(&str, &str)]) -> Config {
        sample::config(&self.root, groups)
    }

    fn adjust(&self) -> Adjust {
        Adjust {
            init_d: Some(self.root.join("init.d")),
            ocf_root: Some(self.root.join("ocf")),
            systemctl: Some(self.root.join("systemctl")),
            stop_pause: Some(Duration::from_millis(5)),
        }
    }

    fn runner(&self, config: &Config) -> Runner {
        Runner::with(config, self.adjust()).unwrap()
    }

    fn write(&self, place: &str, body: &str) -> PathBuf {
        let path = self.root.join(place);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        // By another process: a program that another test starts at this very moment would hold our writing descriptor
        // for an instant, and a file that somebody writes to cannot be executed.
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", "cat >\"$0\" && chmod 755 \"$0\""]).arg(&path).stdin(Stdio::piped());
        let mut child = shell.spawn().unwrap();
        child.stdin.take().unwrap().write_all(body.as_bytes()).unwrap();
        assert!(child.wait().unwrap().success());
        path
    }

    /// A script; `$W` is the root of the yard, each run is written down first.
    fn script(&self, name: &str, body: &str) -> PathBuf {
        let root = self.root.display();
        let head = format!("#!/bin/sh\nW={root}\necho \"${{0##*/}} $*\" >>$W/runs\nfor A in \"$@\"; do :; done\n");
        self.write(&format!("ha.d/resource.d/{name}"), &(head + body))
    }

    /// Well-behaved: its state is the file `NAME.on`.
    fn switch(&self, name: &str) {
        self.script(name, SWITCH);
    }

    fn switches(&self, names: &[&str]) {
        for name in names {
            self.switch(name);
        }
    }

    fn runs(&self) -> Vec<String> {
        self.text("runs").lines().map(str::to_owned).collect()
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.root.join(name)).unwrap_or_default()
    }

    fn has(&self, name: &str) -> bool {
        self.root.join(name).exists()
    }

    fn outputs(&self) -> Vec<PathBuf> {
        fs::read_dir(self.root.join("run/output")).unwrap().map(|entry| entry.unwrap().path()).collect()
    }
}

const SWITCH: &str = "F=$W/${0##*/}.on
case $A in
start) : >$F;;
stop) rm -f $F;;
status) if test -e $F; then echo running; else echo stopped; exit 3; fi;;
esac
";

impl Drop for Yard {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.root);
    }
}

const G0: GroupId = GroupId(0);
const G1: GroupId = GroupId(1);
const G2: GroupId = GroupId(2);

/// One turn; now and then also without a reason, for those who wait for a file.
fn wait(runner: &mut Runner) {
    let now = Instant::now();
    let now_and_then = now + Duration::from_millis(20);
    let until = runner.next_deadline().unwrap_or(now_and_then).min(now_and_then);
    let millis = u16::try_from(until.saturating_duration_since(now).as_millis() + 1).unwrap();
    let mut fds = [PollFd::new(runner.as_fd(), PollFlags::POLLIN)];
    poll(&mut fds, PollTimeout::from(millis)).unwrap();
    runner.turn(Instant::now());
}

/// Turns until `is_done`.
fn drive(runner: &mut Runner, mut is_done: impl FnMut(&Runner) -> bool) {
    let start = Instant::now();
    while !is_done(runner) {
        assert!(start.elapsed() < PATIENCE, "nothing happens");
        wait(runner);
    }
}

/// Turns until nothing is left to do; the reports without the durations.
fn finish(runner: &mut Runner) -> Vec<(u32, JobOutcome, u8)> {
    drive(runner, Runner::is_idle);
    let mut ends = Vec::new();
    while let Some(report) = runner.poll_report() {
        if let ToEngine::JobDone { job, outcome, resource, .. } = report {
            ends.push((job.0, outcome, resource));
        }
    }
    ends
}

fn ask(runner: &mut Runner, job: u32, group: GroupId, order: Order) {
    runner.request(Instant::now(), JobId(job), group, order);
}

/// Turns until the file is there.
fn await_file(runner: &mut Runner, path: &Path) {
    drive(runner, |_| path.exists());
}
