//! Real scripts in a temporary directory.

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

#[test]
fn start_goes_left_to_right_and_stop_right_to_left() {
    let yard = Yard::new();
    yard.switches(&["a", "b", "c"]);
    fs::write(yard.root.join("b.on"), "").unwrap();
    let mut runner = yard.runner(&yard.config(&[("alpha", "a::1::2 b c")]));
    ask(&mut runner, 7, G0, Order::Start);
    assert_eq!(finish(&mut runner), [(7, JobOutcome::Done, 255)]);
    assert_eq!(yard.runs(), ["a 1 2 status", "a 1 2 start", "b status", "c status", "c start"]);
    fs::remove_file(yard.root.join("runs")).unwrap();
    ask(&mut runner, 8, G0, Order::Stop);
    assert_eq!(finish(&mut runner), [(8, JobOutcome::Done, 255)]);
    assert_eq!(yard.runs(), ["c stop", "b stop", "a 1 2 stop"]);
    assert_eq!(yard.outputs(), Vec::<PathBuf>::new());
}

#[test]
fn steps_are_reported_once_per_resource() {
    let yard = Yard::new();
    yard.switches(&["a", "b"]);
    fs::write(yard.root.join("a.on"), "").unwrap();
    let mut runner = yard.runner(&yard.config(&[("alpha", "a b")]));
    ask(&mut runner, 1, G0, Order::Start);
    ask(&mut runner, 2, G0, Order::Stop);
    drive(&mut runner, Runner::is_idle);
    let mut steps = Vec::new();
    while let Some(report) = runner.poll_report() {
        if let ToEngine::JobStep { job, resource, micros } = report {
            assert!(micros > 0);
            steps.push((job.0, resource));
        }
    }
    assert_eq!(steps, [(1, 0), (1, 1), (2, 1), (2, 0)]);
}

#[test]
fn failed_start_stops_the_whole_group() {
    let yard = Yard::new();
    yard.switches(&["a", "c"]);
    yard.script("b", "test $A != start");
    let mut runner = yard.runner(&yard.config(&[("alpha", "a b c")]));
    ask(&mut runner, 1, G0, Order::Start);
    assert_eq!(finish(&mut runner), [(1, JobOutcome::Failed, 1)]);
    assert_eq!(yard.runs(), ["a status", "a start", "b status", "b start", "c stop", "b stop", "a stop"]);
    assert!(!yard.has("a.on"));
    assert!(runner.stop_failures().is_empty());
}

#[test]
fn failing_stop_is_retried_then_doubted() {
    let yard = Yard::new();
    yard.switch("a");
    yard.script("b", "test $A != stop");
    let mut config = yard.config(&[("alpha", "a b")]);
    config.stop_retries = 2;
    let mut runner = yard.runner(&config);
    ask(&mut runner, 1, G0, Order::Stop);
    // `status` says nothing: not running, so the reboot is narrowly avoided.
    assert_eq!(finish(&mut runner), [(1, JobOutcome::Done, 255)]);
    assert_eq!(yard.runs(), ["b stop", "b stop", "b stop", "b status", "a stop"]);
}

#[test]
fn failing_stop_of_a_running_resource_is_reported_at_once_before_a_reboot() {
    let yard = Yard::new();
    yard.switch("a");
    yard.script("b", "test $A = status && echo running");
    let mut config = yard.config(&[("alpha", "a b")]);
    config.stop_retries = 1;
    let mut runner = yard.runner(&config);
    ask(&mut runner, 1, G0, Order::Stop);
    assert_eq!(finish(&mut runner), [(1, JobOutcome::StopFailed, 1)]);
    assert_eq!(yard.runs(), ["b stop", "b stop", "b status"]);
    assert_eq!(runner.stop_failures(), GroupSet::only(G0));
}

#[test]
fn failing_stop_with_hold_goes_on_with_the_others() {
    let yard = Yard::new();
    yard.switch("a");
    yard.script("b", "test $A = status && echo running");
    let mut config = yard.config(&[("alpha", "a b")]);
    config.stop_retries = 1;
    config.on_stop_failure = OnStopFailure::Hold;
    let mut runner = yard.runner(&config);
    ask(&mut runner, 1, G0, Order::Stop);
    assert_eq!(finish(&mut runner), [(1, JobOutcome::StopFailed, 1)]);
    assert_eq!(yard.runs().last().unwrap(), "a stop");
    // A stop that works clears it.
    yard.switch("b");
    ask(&mut runner, 2, G0, Order::Stop);
    assert_eq!(finish(&mut runner), [(2, JobOutcome::Done, 255)]);
    assert!(runner.stop_failures().is_empty());
}

#[test]
fn failed_start_whose_stop_fails_is_a_stop_failure() {
    let yard = Yard::new();
    yard.script("a", "case $A in start|stop) exit 1;; esac; test -e $W/asked && echo running; : >$W/asked");
    let mut config = yard.config(&[("alpha", "a")]);
    config.stop_retries = 1;
    let mut runner = yard.runner(&config);
    ask(&mut runner, 1, G0, Order::Start);
    assert_eq!(finish(&mut runner), [(1, JobOutcome::StopFailed, 0)]);
}

#[test]
fn probe_counts_and_changes_nothing() {
    let yard = Yard::new();
    yard.switches(&["a", "b"]);
    let mut runner = yard.runner(&yard.config(&[("alpha", "a b missing"), ("alpha", "a b")]));
    ask(&mut runner, 1, G0, Order::Probe);
    assert_eq!(finish(&mut runner), [(1, JobOutcome::NoneRunning, 255)]);
    fs::write(yard.root.join("a.on"), "").unwrap();
    ask(&mut runner, 2, G1, Order::Probe);
    assert_eq!(finish(&mut runner), [(2, JobOutcome::SomeRunning, 255)]);
    fs::write(yard.root.join("b.on"), "").unwrap();
    ask(&mut runner, 3, G1, Order::Probe);
    assert_eq!(finish(&mut runner), [(3, JobOutcome::AllRunning, 255)]);
    assert!(yard.runs().iter().all(|run| run.ends_with("status")));
}

#[test]
fn script_over_its_time_is_terminated_then_killed() {
    let yard = Yard::new();
    // Ignores TERM, and so does its child.
    yard.script("a", "test $A = start || exit 0\ntrap '' TERM\necho $$ >$W/pid\nsleep 1000\n");
    let mut config = yard.config(&[("alpha", "a")]);
    config.script_timeout = Duration::from_millis(300);
    let mut runner = yard.runner(&config);
    ask(&mut runner, 1, G0, Order::Start);
    assert_eq!(finish(&mut runner), [(1, JobOutcome::Failed, 0)]);
    assert_eq!(yard.runs(), ["a status", "a start", "a stop"]);
    let group = Pid::from_raw(yard.text("pid").trim().parse().unwrap());
    // The orphaned `sleep` is reaped by whoever is init here.
    drive(&mut runner, |_| nix::sys::signal::killpg(group, None).is_err());
}

#[test]
fn stop_over_its_time_is_not_tried_again() {
    let yard = Yard::new();
    yard.script("a", "test $A = status || exec sleep 1000\necho running\n");
    let mut config = yard.config(&[("alpha", "a")]);
    config.script_timeout = Duration::from_millis(200);
    let mut runner = yard.runner(&config);
    ask(&mut runner, 1, G0, Order::Stop);
    assert_eq!(finish(&mut runner), [(1, JobOutcome::StopFailed, 0)]);
    assert_eq!(yard.runs(), ["a stop", "a status"]);
}

#[test]
fn status_over_its_time_fails_a_start_and_a_probe() {
    let yard = Yard::new();
    yard.script("a", "test $A != status || exec sleep 1000\n");
    let mut config = yard.config(&[("alpha", "a")]);
    config.script_timeout = Duration::from_millis(200);
    let mut runner = yard.runner(&config);
    ask(&mut runner, 1, G0, Order::Probe);
    ask(&mut runner, 2, G0, Order::Start);
    assert_eq!(finish(&mut runner), [(1, JobOutcome::Failed, 255), (2, JobOutcome::Failed, 0)]);
    assert_eq!(yard.runs(), ["a status", "a status", "a stop"]);
}

#[test]
fn missing_script_fails_a_start_and_not_a_stop() {
    let yard = Yard::new();
    yard.switch("a");
    let mut runner = yard.runner(&yard.config(&[("alpha", "a gone")]));
    ask(&mut runner, 1, G0, Order::Start);
    assert_eq!(finish(&mut runner), [(1, JobOutcome::Failed, 1)]);
    assert!(!yard.has("a.on"));
    ask(&mut runner, 2, G0, Order::Stop);
    assert_eq!(finish(&mut runner), [(2, JobOutcome::Done, 255)]);
}

#[test]
fn script_that_vanished_after_the_start_is_a_stop_failure() {
    let yard = Yard::new();
    yard.switch("a");
    let config = yard.config(&[("alpha", "a")]);
    let mut runner = yard.runner(&config);
    ask(&mut runner, 1, G0, Order::Start);
    finish(&mut runner);
    fs::remove_file(yard.root.join("ha.d/resource.d/a")).unwrap();
    ask(&mut runner, 2, G0, Order::Stop);
    assert_eq!(finish(&mut runner), [(2, JobOutcome::StopFailed, 0)]);
    // The next guardian learns it from the lease.
    let mut next = yard.runner(&config);
    next.assume_started(GroupSet::only(G0));
    ask(&mut next, 3, G0, Order::Stop);
    assert_eq!(finish(&mut next), [(3, JobOutcome::StopFailed, 0)]);
}

#[test]
fn init_d_is_the_second_place_and_only_executables_count() {
    let yard = Yard::new();
    let path = yard.script("a", SWITCH);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let root = yard.root.display();
    yard.write("init.d/a", &format!("#!/bin/sh\necho \"$0 $*\" >>{root}/runs\n"));
    let mut runner = yard.runner(&yard.config(&[("alpha", "a::x")]));
    ask(&mut runner, 1, G0, Order::Start);
    assert_eq!(finish(&mut runner), [(1, JobOutcome::Done, 255)]);
    assert_eq!(yard.runs(), [format!("{root}/init.d/a x status"), format!("{root}/init.d/a x start")]);
}

#[test]
fn script_that_is_not_executable_or_leaves_its_directory_is_missing() {
    let yard = Yard::new();
    let path = yard.script("a", SWITCH);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    yard.write("ha.d/evil", "#!/bin/sh\n");
    let mut runner = yard.runner(&yard.config(&[("alpha", "a"), ("alpha", "../evil")]));
    ask(&mut runner, 1, G0, Order::Start);
    ask(&mut runner, 2, G1, Order::Start);
    assert_eq!(finish(&mut runner), [(1, JobOutcome::Failed, 0), (2, JobOutcome::Failed, 0)]);
    assert_eq!(yard.runs(), Vec::<String>::new());
}

#[test]
fn script_without_interpreter_line_is_run_by_the_shell() {
    let yard = Yard::new();
    let root = yard.root.display();
    yard.write("ha.d/resource.d/a", &format!("echo \"$0 $*\" >>{root}/runs\n"));
    yard.write("ha.d/resource.d/b", "#!/no/such/interpreter\n");
    let mut runner = yard.runner(&yard.config(&[("alpha", "a"), ("alpha", "b")]));
    ask(&mut runner, 1, G0, Order::Stop);
    ask(&mut runner, 2, G1, Order::Start);
    assert_eq!(finish(&mut runner), [(1, JobOutcome::Done, 255), (2, JobOutcome::Failed, 0)]);
    assert_eq!(yard.runs(), [format!("{root}/ha.d/resource.d/a stop")]);
}

#[test]
fn one_node_one_lane_two_nodes_two_lanes() {
    let yard = Yard::new();
    // Each start waits for a file; nothing else could begin behind it in its lane.
    yard.script("slow", "test $A = start && { : >$W/began; while test ! -e $W/go; do sleep 0.01; done; }; exit 0");
    yard.switches(&["a", "b"]);
    let mut runner = yard.runner(&yard.config(&[("alpha", "slow"), ("alpha", "a"), ("beta", "b")]));
    ask(&mut runner, 1, G0, Order::Start);
    ask(&mut runner, 2, G1, Order::Start);
    ask(&mut runner, 3, G2, Order::Start);
    await_file(&mut runner, &yard.root.join("began"));
    await_file(&mut runner, &yard.root.join("b.on"));
    assert!(!yard.runs().iter().any(|run| run.starts_with("a ")));
    assert_eq!(runner.scripts().next().unwrap().0, G0);
    // The file of the third is there, its script may not have been reaped yet.
    assert_eq!(runner.busy() - GroupSet::only(G2), GroupSet::first(2));
    fs::write(yard.root.join("go"), "").unwrap();
    assert_eq!(
        finish(&mut runner),
        [(3, JobOutcome::Done, 255), (1, JobOutcome::Done, 255), (2, JobOutcome::Done, 255)]
    );
}

#[test]
fn stop_takes_back_a_start_that_has_not_begun() {
    let yard = Yard::new();
    yard.script("slow", "test $A = start && { : >$W/began; while test ! -e $W/go; do sleep 0.01; done; }; exit 0");
    yard.switch("a");
    let mut runner = yard.runner(&yard.config(&[("alpha", "slow"), ("alpha", "a")]));
    ask(&mut runner, 1, G0, Order::Start);
    ask(&mut runner, 2, G1, Order::Start);
    ask(&mut runner, 3, G1, Order::Stop);
    // One that runs is waited for.
    ask(&mut runner, 4, G0, Order::Stop);
    await_file(&mut runner, &yard.root.join("began"));
    fs::write(yard.root.join("go"), "").unwrap();
    assert_eq!(
        finish(&mut runner),
        [
            (2, JobOutcome::Cancelled, 255),
            (1, JobOutcome::Done, 255),
            (3, JobOutcome::Done, 255),
            (4, JobOutcome::Done, 255)
        ]
    );
    assert_eq!(yard.runs(), ["slow status", "slow start", "a stop", "slow stop"]);
}

#[test]
fn stop_all_recalls_a_start_and_reports_to_nobody() {
    let yard = Yard::new();
    yard.script("slow", "test $A = start && { : >$W/began; while test ! -e $W/go; do sleep 0.01; done; }; exit 0");
    yard.switches(&["a", "b"]);
    yard.script("stubborn", "test $A = status && echo running");
    let mut config = yard.config(&[("alpha", "slow a"), ("alpha", "b"), ("beta", "stubborn")]);
    config.stop_retries = 1;
    let mut runner = yard.runner(&config);
    ask(&mut runner, 1, G0, Order::Start);
    ask(&mut runner, 2, G1, Order::Start);
    await_file(&mut runner, &yard.root.join("began"));
    runner.stop_all(Instant::now(), GroupSet::first(3));
    assert_eq!(runner.unstopped(), GroupSet::first(3));
    fs::write(yard.root.join("go"), "").unwrap();
    assert_eq!(finish(&mut runner), []);
    assert_eq!(runner.unstopped(), GroupSet::only(G2));
    assert_eq!(runner.stop_failures(), GroupSet::only(G2));
    assert!(!yard.runs().iter().any(|run| run == "a start" || run == "b start"));
}

#[test]
fn stop_under_way_is_not_done_twice_by_stop_all() {
    let yard = Yard::new();
    yard.script("slow", "test $A = stop && { : >$W/began; while test ! -e $W/go; do sleep 0.01; done; }; exit 0");
    yard.switch("a");
    let mut runner = yard.runner(&yard.config(&[("alpha", "slow"), ("alpha", "a")]));
    ask(&mut runner, 1, G0, Order::Stop);
    ask(&mut runner, 2, G1, Order::Stop);
    await_file(&mut runner, &yard.root.join("began"));
    runner.stop_all(Instant::now(), GroupSet::first(2));
    fs::write(yard.root.join("go"), "").unwrap();
    assert_eq!(finish(&mut runner), []);
    assert!(runner.unstopped().is_empty());
    assert_eq!(yard.runs(), ["slow stop", "a stop"]);
}

#[test]
fn script_that_leaves_its_process_group_is_killed_all_the_same() {
    let yard = Yard::new();
    // The leader joins the group of a child of its own.
    let perl = "perl -e 'my $c = fork; if (!$c) { setpgrp(0, 0); sleep 1000 } select(undef, undef, undef, 0.1); \
                setpgrp(0, $c); open F, \">$ARGV[0]\"; close F; sleep 1000' $W/left";
    yard.script("a", &format!("test $A = start || exit 0\nexec {perl}\n"));
    let mut config = yard.config(&[("alpha", "a")]);
    config.script_timeout = Duration::from_secs(2);
    let mut runner = yard.runner(&config);
    ask(&mut runner, 1, G0, Order::Start);
    await_file(&mut runner, &yard.root.join("left"));
    assert_eq!(finish(&mut runner), [(1, JobOutcome::Failed, 0)]);
}

#[test]
fn forgotten_engine_gets_no_report_of_old_jobs() {
    let yard = Yard::new();
    yard.script("slow", "test $A = start && { : >$W/began; while test ! -e $W/go; do sleep 0.01; done; }; exit 0");
    let mut runner = yard.runner(&yard.config(&[("alpha", "slow")]));
    ask(&mut runner, 1, G0, Order::Start);
    await_file(&mut runner, &yard.root.join("began"));
    runner.forget_engine();
    ask(&mut runner, 1, G0, Order::Probe);
    fs::write(yard.root.join("go"), "").unwrap();
    assert_eq!(finish(&mut runner), [(1, JobOutcome::NoneRunning, 255)]);
}

#[test]
fn service_in_the_background_does_not_hold_up_its_script_and_survives_us() {
    let yard = Yard::new();
    yard.script(
        "a",
        "test $A = start || exit 0\n(echo $$ >$W/pid; while test ! -e $W/end; do echo tick || exit; done; : >$W/ended) &\n",
    );
    let mut runner = yard.runner(&yard.config(&[("alpha", "a")]));
    ask(&mut runner, 1, G0, Order::Start);
    assert_eq!(finish(&mut runner), [(1, JobOutcome::Done, 255)]);
    let [file] = yard.outputs().try_into().unwrap();
    drop(runner);
    // It goes on writing with nobody there to read.
    let length = |path: &Path| fs::metadata(path).unwrap().len();
    let before = length(&file);
    let start = Instant::now();
    while length(&file) <= before + 4096 {
        assert!(start.elapsed() < PATIENCE);
        std::thread::yield_now();
    }
    // The next guardian takes the file over, keeps it short, and removes it in the end.
    let mut next = yard.runner(&yard.config(&[("alpha", "a")]));
    while length(&file) <= 2 * super::super::output::FILE_BYTES_MAX {
        assert!(start.elapsed() < PATIENCE);
        std::thread::yield_now();
    }
    next.turn(Instant::now() + Duration::from_secs(11));
    assert!(length(&file) < 2 * super::super::output::FILE_BYTES_MAX);
    fs::write(yard.root.join("end"), "").unwrap();
    await_file(&mut next, &yard.root.join("ended"));
    let mut later = Instant::now() + Duration::from_secs(11);
    while file.exists() {
        assert!(start.elapsed() < PATIENCE);
        later += Duration::from_secs(11);
        next.turn(later);
    }
}

#[test]
fn fifty_megabytes_of_output_neither_block_nor_stay() {
    let yard = Yard::new();
    yard.script("a", "test $A = stop && exit 0; dd if=/dev/zero bs=1M count=50 2>/dev/null; echo running");
    let mut runner = yard.runner(&yard.config(&[("alpha", "a")]));
    ask(&mut runner, 1, G0, Order::Start);
    // What counts of `status` is at the end, beyond what is looked at.
    assert_eq!(finish(&mut runner), [(1, JobOutcome::Done, 255)]);
    assert_eq!(yard.runs(), ["a status", "a start"]);
    assert_eq!(yard.outputs(), Vec::<PathBuf>::new());
}

#[test]
fn nothing_of_ours_leaks_into_a_script() {
    let yard = Yard::new();
    yard.script(
        "a",
        "test $A = start || exit 0\nexec /usr/bin/env sh -c 'ls -l /proc/self/fd; grep ^Sig /proc/self/status; \
         cat /proc/self/oom_score_adj; pwd; readlink /proc/self/fd/0; ps -o pgid= -p $$; echo $$' >$W/seen",
    );
    let mut blocked = nix::sys::signal::SigSet::empty();
    blocked.add(nix::sys::signal::Signal::SIGTERM);
    blocked.thread_block().unwrap();
    let mut runner = yard.runner(&yard.config(&[("alpha", "a")]));
    ask(&mut runner, 1, G0, Order::Start);
    assert_eq!(finish(&mut runner), [(1, JobOutcome::Done, 255)]);
    let seen = yard.text("seen");
    let descriptors: Vec<&str> = seen
        .lines()
        .filter_map(|line| line.split_once(" -> "))
        .map(|(left, _)| left.rsplit(' ').next().unwrap())
        .collect();
    // 3 is the directory that `ls` itself reads, 10 what the shell keeps of stdout while `exec` replaces it.
    assert!(descriptors.iter().all(|number| ["0", "1", "2", "3", "10"].contains(number)), "{seen}");
    for mask in ["SigBlk", "SigIgn"] {
        let line = seen.lines().find_map(|line| line.strip_prefix(mask)).unwrap();
        let bits = u64::from_str_radix(line[1..].trim(), 16).unwrap();
        // 32 and 33 belong to the C library.
        assert_eq!(bits & 0x7fff_ffff, 0, "{seen}");
    }
    assert!(seen.contains(&format!("{}\n/dev/null\n", yard.root.join("state/cores/root").display())), "{seen}");
    let mut tail = seen.lines().rev();
    assert_eq!(tail.next().unwrap().trim(), tail.next().unwrap().trim(), "a process group of its own");
    blocked.thread_unblock().unwrap();
}

#[test]
fn environment_is_heartbeats() {
    let yard = Yard::new();
    yard.script("a", "test $A = stop || env >$W/env.$A");
    let mut config = yard.config(&[("alpha", "a")]);
    config.directives = vec![("keepalive".into(), "200ms".into()), ("debug".into(), "1".into())];
    config.environment = vec![("STOPRETRYMAX".into(), "3".into()), ("DIR".into(), "/forged".into())];
    config.log.debug = 1;
    config.log.facility = Some("local0".into());
    let mut runner = yard.runner(&config);
    ask(&mut runner, 1, G0, Order::Start);
    finish(&mut runner);
    let text = yard.text("env.start");
    let value = |name: &str| text.lines().find_map(|line| line.strip_prefix(&format!("{name}=")));
    let etc = yard.root.join("ha.d").display().to_string();
    let expected = [
        ("HA_CURHOST", "alpha".to_owned()),
        ("HA_DIR", etc.clone()),
        ("HA_FUNCS", format!("{etc}/shellfuncs")),
        ("HA_RCDIR", format!("{etc}/rc.d")),
        ("HA_RESOURCEDIR", format!("{etc}/resource.d")),
        ("HA_FIFO", "/var/lib/heartbeat/fifo".to_owned()),
        ("HA_BIN", "/usr/libexec/heartbeat".to_owned()),
        ("HA_DOCDIR", "/usr/share/doc/heartbeat".to_owned()),
        ("HA_DATEFMT", "%Y/%m/%d_%T\t".to_owned()),
        ("HA_LOGFILE", "/dev/null".to_owned()),
        ("HA_DEBUGLOG", "/dev/null".to_owned()),
        ("HA_LOGFACILITY", "local0".to_owned()),
        ("HA_LOGD", "no".to_owned()),
        ("HA_debug", "1".to_owned()),
        ("HA_keepalive", "200ms".to_owned()),
        ("HA_STOPRETRYMAX", "3".to_owned()),
        ("HA_NICEFAILBACK", "yes".to_owned()),
        ("OCF_ROOT", yard.root.join("ocf").display().to_string()),
        ("OCF_AGENTS", yard.root.join("ocf/resource.d/heartbeat/").display().to_string()),
        ("LC_ALL", "C".to_owned()),
    ];
    for (name, wanted) in expected {
        assert_eq!(value(name), Some(wanted.as_str()), "{name}");
    }
    let path = value("PATH").unwrap();
    assert!(path.starts_with("/usr/libexec/heartbeat:/usr/sbin:/usr/share/heartbeat:"), "{path}");
    assert!(path.ends_with(":/sbin:/bin:/usr/sbin:/usr/bin:/usr/ucb"), "{path}");
    assert_eq!(value("LANG"), None);
    ask(&mut runner, 2, G0, Order::Probe);
    finish(&mut runner);
    assert!(!yard.text("env.status").contains("HA_NICEFAILBACK"));
}

#[test]
fn ocf_agents_are_spoken_to_natively() {
    let yard = Yard::new();
    let root = yard.root.display();
    let body = format!(
        "#!/bin/sh\necho \"$* $OCF_RESKEY_ip $OCF_RESOURCE_INSTANCE\" >>{root}/runs\n\
         case $1 in monitor) test -e {root}/on && exit 0; exit 7;; start) : >{root}/on;; stop) rm -f {root}/on;; esac\n"
    );
    yard.write("ocf/resource.d/heartbeat/Addr", &body);
    fs::create_dir_all(yard.root.join("ha.d/conf/OCF/Addr")).unwrap();
    fs::write(yard.root.join("ha.d/conf/OCF/Addr/one"), "OCF_RESKEY_ip=10.0.0.1\n").unwrap();
    yard.script("OCF", "exit 1");
    let groups = [("alpha", "OCF::Addr::one"), ("alpha", "ocf:heartbeat:Addr::ip=fe80::1")];
    let mut runner = yard.runner(&yard.config(&groups));
    ask(&mut runner, 1, G0, Order::Start);
    ask(&mut runner, 2, G0, Order::Probe);
    ask(&mut runner, 3, G0, Order::Stop);
    ask(&mut runner, 4, G1, Order::Start);
    assert_eq!(
        finish(&mut runner),
        [
            (1, JobOutcome::Done, 255),
            (2, JobOutcome::AllRunning, 255),
            (3, JobOutcome::Done, 255),
            (4, JobOutcome::Done, 255)
        ]
    );
    assert_eq!(
        yard.runs(),
        [
            "monitor 10.0.0.1 one",
            "start 10.0.0.1 one",
            "monitor 10.0.0.1 one",
            "stop 10.0.0.1 one",
            "monitor fe80::1 Addr_fe80::1",
            "start fe80::1 Addr_fe80::1"
        ]
    );
}

#[test]
fn no_op_script_costs_two_processes() {
    let yard = Yard::new();
    let words: Vec<String> = (0..50).map(|number| format!("s{number}")).collect();
    for word in &words {
        yard.write(&format!("ha.d/resource.d/{word}"), "#!/bin/sh\n");
    }
    let mut runner = yard.runner(&yard.config(&[("alpha", &words.join(" "))]));
    // Numbers of processes are given out one after another: with nothing else running this is exact, so look at the
    // smallest of several differences.
    let number = || Command::new("/bin/true").spawn().map(|mut child| (child.id(), child.wait())).unwrap().0;
    let mut least = u32::MAX;
    for job in 0..5 {
        let before = number();
        let start = Instant::now();
        ask(&mut runner, job, G0, Order::Start);
        assert_eq!(finish(&mut runner), [(job, JobOutcome::Done, 255)]);
        println!("{:?} a script", start.elapsed() / 50);
        least = least.min(number().wrapping_sub(before) - 1);
    }
    assert!((100..300).contains(&least), "{least} processes for 50 starts");
}

#[test]
fn notify_programs_get_words_and_variables() {
    let yard = Yard::new();
    let root = yard.root.display();
    let program = yard.write(
        "tell",
        &format!(
            "#!/bin/sh\necho \"$* ($NULLBEAT_EVENT $NULLBEAT_NEW $NULLBEAT_GROUP$NULLBEAT_LINK)\" >>{root}/told\n"
        ),
    );
    let mut config = yard.config(&[("beta", "a::1 b")]);
    config.notify = vec![program];
    let mut runner = yard.runner(&config);
    runner.notify_group(Instant::now(), G0, GroupState::Stopped, GroupState::Starting, Cause::Death);
    runner.notify_node(Instant::now(), 1, b'a');
    runner.notify_node(Instant::now(), 1, b'd');
    runner.notify_link(Instant::now(), 1, LinkId(0), false);
    drive(&mut runner, Runner::has_notified);
    assert_eq!(
        yard.text("told").lines().collect::<Vec<_>>(),
        [
            "group a::1 stopped starting death (group starting a::1 b)",
            "node beta init active - (node active )",
            "node beta active dead - (node dead )",
            "link beta:lo up dead - (link dead lo)",
        ]
    );
}

#[test]
fn packaged_rc_d_files_never_run_and_a_sites_ifstat_does() {
    let yard = Yard::new();
    let root = yard.root.display();
    for name in ["status", "ip-request", "ip-request-resp", "hb_takeover", "ask_resources", "custom", "ifstat"] {
        let body =
            format!("#!/bin/sh\necho \"${{0##*/}} $* $HA_t $HA_node $HA_ifname $HA_st $HA_OSTATUS\" >>{root}/told\n");
        yard.write(&format!("ha.d/rc.d/{name}"), &body);
    }
    let mut runner = yard.runner(&yard.config(&[("beta", "a")]));
    runner.notify_node(Instant::now(), 1, b'd');
    runner.notify_group(Instant::now(), G0, GroupState::Stopped, GroupState::Starting, Cause::Death);
    runner.notify_link(Instant::now(), 1, LinkId(0), true);
    drive(&mut runner, Runner::has_notified);
    assert_eq!(yard.text("told"), "ifstat ifstat ifstat beta lo up active\n");
}

#[test]
fn notifications_are_bounded_and_do_not_delay_jobs() {
    let yard = Yard::new();
    let root = yard.root.display();
    let body = format!("#!/bin/sh\necho \"$2 $4\" >>{root}/told\nwhile test ! -e {root}/go; do sleep 0.01; done\n");
    let mut config = yard.config(&[("alpha", "a")]);
    config.notify = vec![yard.write("tell", &body)];
    yard.switch("a");
    let mut runner = yard.runner(&config);
    for _ in 0..150 {
        runner.notify_node(Instant::now(), 0, b'a');
    }
    runner.notify_node(Instant::now(), 1, b'd');
    // One runs, 128 wait.
    assert_eq!(runner.notifications_dropped(), 151 - 129);
    ask(&mut runner, 1, G0, Order::Start);
    assert_eq!(finish(&mut runner), [(1, JobOutcome::Done, 255)]);
    assert!(!runner.has_notified());
    fs::write(yard.root.join("go"), "").unwrap();
    drive(&mut runner, Runner::has_notified);
    assert_eq!(yard.text("told").lines().count(), 129);
    assert_eq!(yard.text("told").lines().last(), Some("beta dead"));
}

#[test]
fn reload_keeps_jobs_under_way_and_what_is_known_of_unchanged_groups() {
    let yard = Yard::new();
    yard.script("slow", "test $A = start && { : >$W/began; while test ! -e $W/go; do sleep 0.01; done; }; exit 0");
    yard.switches(&["a", "b"]);
    let mut runner = yard.runner(&yard.config(&[("alpha", "a"), ("alpha", "slow")]));
    ask(&mut runner, 1, G0, Order::Start);
    ask(&mut runner, 2, G1, Order::Start);
    await_file(&mut runner, &yard.root.join("began"));
    // Another group in front: the numbers change.
    runner.replace_table(&yard.config(&[("alpha", "b"), ("alpha", "a"), ("alpha", "slow")]));
    ask(&mut runner, 3, G0, Order::Start);
    fs::write(yard.root.join("go"), "").unwrap();
    fs::remove_file(yard.root.join("ha.d/resource.d/a")).unwrap();
    // That it was started under its old number is not forgotten.
    ask(&mut runner, 4, G1, Order::Stop);
    let done = [(1, JobOutcome::Done, 255), (2, JobOutcome::Done, 255), (3, JobOutcome::Done, 255)];
    assert_eq!(finish(&mut runner), [&done[..], &[(4, JobOutcome::StopFailed, 0)]].concat());
}

/// Runs `ip` in the network namespace of this thread.
fn ip(words: &str) {
    let status = Command::new("ip").args(words.split(' ')).status().unwrap();
    assert!(status.success(), "ip {words}");
}

#[test]
fn addresses_are_announced_to_the_other_end_of_the_wire() {
    use nix::sched::{CloneFlags, unshare};
    use nix::sys::socket::{AddressFamily, LinkAddr, SockFlag, SockProtocol, SockType, recvfrom, socket};
    use std::os::fd::{AsFd, AsRawFd};

    // Ends with this thread. Without root there is nothing to be tried.
    if unshare(CloneFlags::CLONE_NEWNET).is_err() {
        eprintln!("no network namespace without root");
        return;
    }
    for words in [
        "link set lo up",
        "link add nb0 type veth peer name nb1",
        "link set nb0 address 02:00:00:00:00:09 up",
        "link set nb1 up",
        "addr add 10.9.9.1/24 dev nb0 label nb0:7",
        "addr add fd09::1/64 dev nb0 nodad",
        "addr add 10.9.9.2/32 dev lo",
    ] {
        ip(words);
    }
    let ear = socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::EthAll).unwrap();
    let other_end = nix::net::if_::if_nametoindex("nb1").unwrap();

    let yard = Yard::new();
    yard.switches(&["IPaddr", "IPv6addr"]);
    let words = "IPaddr::10.9.9.1/24/nb0 IPv6addr::fd09:0:0:0:0:0:0:1/64 IPaddr::10.9.9.2 IPaddr::10.9.9.3";
    let mut runner = yard.runner(&yard.config(&[("alpha", words)]));
    ask(&mut runner, 1, G0, Order::Announce);
    assert_eq!(finish(&mut runner), [(1, JobOutcome::Done, 255)]);
    let begin = Instant::now();
    while runner.announcer.next_deadline().is_some() {
        wait(&mut runner);
    }
    assert!(begin.elapsed() > Duration::from_millis(1900), "spread over two seconds");

    let (mut requests, mut replies, mut advertisements) = (0, 0, 0);
    let mut frame = [0; 2048];
    while poll(&mut [PollFd::new(ear.as_fd(), PollFlags::POLLIN)], PollTimeout::ZERO).unwrap() > 0 {
        let (length, from) = recvfrom::<LinkAddr>(ear.as_raw_fd(), &mut frame).unwrap();
        let from = from.unwrap();
        if from.ifindex() != other_end as usize || from.pkttype() == 4 {
            continue;
        }
        let frame = &frame[..length];
        match (&frame[12..14], frame.get(20..22), frame.get(54)) {
            ([8, 6], Some(&[0, operation]), _) => {
                assert_eq!(frame[..12], [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 9]);
                assert_eq!((&frame[28..32], &frame[38..42]), (&[10, 9, 9, 1][..], &[10, 9, 9, 1][..]));
                if operation == 1 { requests += 1 } else { replies += 1 }
            }
            ([0x86, 0xdd], _, Some(136)) if frame[58] & 0x20 != 0 && frame[62..64] == [0xfd, 9] => advertisements += 1,
            _ => {}
        }
    }
    assert_eq!((requests, replies, advertisements), (5, 5, 5));
}

#[test]
fn start_announces_and_stop_takes_back() {
    let yard = Yard::new();
    yard.switch("IPaddr");
    let mut runner = yard.runner(&yard.config(&[("alpha", "IPaddr::192.0.2.77")]));
    ask(&mut runner, 1, G0, Order::Start);
    finish(&mut runner);
    assert!(runner.announcer.next_deadline().is_some());
    ask(&mut runner, 2, G0, Order::Stop);
    assert!(runner.announcer.next_deadline().is_none());
    finish(&mut runner);
}
