//! Every process of a real daemon killed and stopped, alone and together: the service stays where it is, or is gone
//! from this board before a peer may start it (design.md section 3).

mod checkers;
#[cfg(target_arch = "x86_64")]
mod hijack;
mod node;
mod reloads;
mod stops;

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal::{SIGCONT, SIGHUP, SIGKILL, SIGSTOP, SIGTERM};
use nix::unistd::Pid;
use node::{DEADTIME, Node, PATIENCE, eventually};
use nullbeat::guardian::lease;

const ONE: &str = "alpha svc::a\n";

/// Time since the engine's last stamp: the peer counts at least from there.
fn silence(node: &Node) -> Duration {
    Duration::from_nanos(lease::now().saturating_sub(node.lease().engine_stamp()))
}

#[test]
fn start_runs_the_group_and_stop_releases_everything() {
    let mut node = Node::new(ONE, "");
    node.run_until_running("a");
    let processes = [node.engine(), node.guardian(), node.logger()];
    assert_eq!(node.text("run/pid").trim().parse::<i32>().unwrap(), node.lease().guardian().unwrap().pid.as_raw());
    Node::signal(node.guardian(), SIGTERM);
    assert_eq!(node.exit_code(), Some(0));
    assert_eq!(node.calls(), ["start a", "stop a"]);
    for process in processes {
        assert!(Node::is_gone(process));
    }
    for name in ["run/lease", "run/pid", "run/control"] {
        assert!(!node.root.join(name).exists(), "{name} is left over");
    }
    assert!(node.text("log").contains("Heartbeat shutdown complete."), "the last line is written");
}

#[test]
fn second_daemon_in_the_same_place_is_refused() {
    let mut node = Node::new(ONE, "");
    node.run_until_running("a");
    assert_eq!(node.verb(&["run", "--node", "alpha"]), 75);
    assert_eq!(node.verb(&["release", "--node", "alpha"]), 75);
    assert!(node.is_running("a"));
}

#[test]
fn engine_killed_is_replaced_and_nothing_moves() {
    let mut node = Node::new(ONE, "");
    node.run_until_running("a");
    let (engine, old) = (node.engine(), node.generation());
    let asked = node.text("calls");
    Node::signal(engine, SIGKILL);
    node.hear_new_generation(old);
    assert!(silence(&node) < DEADTIME / 2);
    assert_ne!(node.engine(), engine);
    eventually("the new engine has settled", || node.verb(&["status"]) == 0);
    assert_eq!(node.text("calls"), asked, "no script was asked anything");
}

/// A line of `/proc/PID/status`.
fn proc_status(pid: i32, name: &str) -> String {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap();
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn engine_has_no_rights_and_a_filter() {
    let mut node = Node::new(ONE, "");
    node.run_until_running("a");
    let engine = node.engine().as_raw();
    for (name, value) in
        [("CapEff", "0000000000000000"), ("CapPrm", "0000000000000000"), ("NoNewPrivs", "1"), ("Seccomp", "2")]
    {
        assert_eq!(proc_status(engine, name), value, "{name}");
    }
    assert!(proc_status(engine, "Uid").split(' ').all(|uid| uid != "0"));
    assert_eq!(proc_status(engine, "Groups"), "");
}

#[test]
fn logger_has_only_the_rights_that_it_needs_and_its_scripts_have_all() {
    let mut node = Node::new(ONE, "");
    node.run_until_running("a");
    let rights = |name: &str, pid: i32| u64::from_str_radix(&proc_status(pid, name), 16).unwrap();
    let (guardian, engine, logger) = (node.guardian(), node.engine(), node.logger().as_raw());
    let all = rights("CapEff", guardian.as_raw());
    // Signals, files, identities, the score of the out-of-memory killer, the reset.
    let kept = all & 0x0140_00ef;
    assert!(kept < all && kept & 1 << 5 != 0);
    for name in ["CapEff", "CapPrm"] {
        assert_eq!(rights(name, logger), kept, "{name}");
    }
    assert_eq!(rights("CapInh", logger), 0);
    Node::signal(guardian, SIGKILL);
    Node::signal(engine, SIGKILL);
    eventually("the group is stopped", || !node.is_running("a"));
    assert_eq!(node.text("rights").trim(), format!("CapEff:\t{all:016x}"), "the script has what it always had");
}

#[test]
fn engine_without_filter_is_warned_of() {
    let mut node = Node::new(ONE, "seccomp off\n");
    node.run_until_running("a");
    assert_eq!(proc_status(node.engine().as_raw(), "Seccomp"), "0");
    eventually("it is told", || node.text("log").contains("runs without a filter of system calls"));
}

#[test]
fn keys_that_were_replaced_are_nowhere_in_memory() {
    const OLD: &str = "the-old-key-that-nobody-may-find";
    let keys = |key: &str| format!("auth 1\n1 sha1 {key}\n");
    let mut node = Node::new(ONE, "");
    node.write_keys(&keys(OLD));
    node.run_until_running("a");
    assert!(Node::has_in_memory(node.guardian(), OLD.as_bytes()), "the search finds what is there");
    let old = node.generation();
    node.write_keys(&keys("the-new-key-that-is-in-use-now"));
    assert_eq!(node.verb(&["reload"]), 0);
    node.hear_new_generation(old);
    eventually("nobody has the old key", || {
        [node.guardian(), node.engine(), node.logger()].iter().all(|pid| !Node::has_in_memory(*pid, OLD.as_bytes()))
    });
}

#[test]
fn engine_stopped_is_killed_and_replaced() {
    let mut node = Node::new(ONE, "");
    node.run_until_running("a");
    let (engine, old) = (node.engine(), node.generation());
    Node::signal(engine, SIGSTOP);
    node.hear_new_generation(old);
    assert!(Node::is_gone(engine), "it will never thaw and beat again");
    assert_eq!(node.calls(), ["start a"]);
}

#[test]
fn engine_that_keeps_dying_gives_its_groups_up_in_time() {
    let mut node = Node::new(ONE, "");
    node.run_until_running("a");
    for _ in 0..3 {
        let (engine, old) = (node.engine(), node.generation());
        Node::signal(engine, SIGKILL);
        node.hear_new_generation(old);
    }
    assert!(node.is_running("a"));
    Node::signal(node.engine(), SIGKILL);
    eventually("the group is stopped", || !node.is_running("a"));
    assert!(silence(&node) < DEADTIME);
    assert!(!node.root.join("was-reset").exists());
    eventually("somebody is told", || node.text("log").contains("EMERG: Engines keep failing"));
    Node::signal(node.guardian(), SIGTERM);
    assert_eq!(node.exit_code(), Some(0), "nothing is left to do");
}

#[test]
fn engine_that_keeps_dying_with_a_hanging_stop_resets_the_board_in_time() {
    let mut node = Node::new(ONE, "");
    node.run_until_running("a");
    node.touch("hang-stop");
    for _ in 0..3 {
        let old = node.generation();
        Node::signal(node.engine(), SIGKILL);
        node.hear_new_generation(old);
    }
    Node::signal(node.engine(), SIGKILL);
    eventually("the board is reset", || !node.text("was-reset").is_empty());
    assert!(silence(&node) < DEADTIME);
    assert_eq!(node.text("was-reset"), "not-stopped\n");
    // This reset did nothing. What can be stopped after all is stopped, and the node comes back.
    node.remove("hang-stop");
    eventually("the group is stopped", || !node.is_running("a"));
    eventually("it is logged", || node.text("log").contains("Everything is stopped after all."));
}

#[test]
fn engine_that_keeps_dying_before_it_has_started_anything_has_nothing_stopped() {
    let mut node = Node::new(ONE, "initdead 60");
    node.run();
    let mut old = 0;
    for _ in 0..4 {
        old = node.hear_new_generation(old);
        Node::signal(node.engine(), SIGKILL);
    }
    eventually("it is given up", || node.text("log").contains("EMERG: Engines keep failing"));
    assert_eq!(node.calls(), Vec::<String>::new());
    assert!(!node.root.join("was-reset").exists());
}

#[test]
fn stop_that_fails_resets_the_board() {
    let mut node = Node::new(ONE, "env STOPRETRYMAX=1");
    node.run_until_running("a");
    node.touch("fail-stop");
    let engine = node.engine();
    assert_eq!(node.calls(), ["start a"]);
    Node::signal(node.guardian(), SIGTERM);
    eventually("the board is reset", || node.text("was-reset") == "stop-failed\n");
    assert!(Node::is_gone(engine), "no beat after the decision");
    let log = node.text("log");
    assert!(log.contains("CRIT: Resource STOP failure. Reboot required!"), "{log}");
    assert!(log.contains("CRIT: Killing heartbeat ungracefully!"), "{log}");
}

#[test]
fn guardian_killed_the_engine_goes_on_and_a_new_guardian_takes_over() {
    let mut node = Node::new(ONE, "");
    node.run_until_running("a");
    let (engine, old) = (node.engine(), node.generation());
    Node::signal(node.guardian(), SIGKILL);
    let start = Instant::now();
    while start.elapsed() < DEADTIME * 2 {
        node.heard();
        eventually("the engine beats on", || node.heard() == Some(old));
    }
    assert!(!Node::is_gone(engine));
    node.run();
    node.hear_new_generation(old);
    eventually("the old engine is gone", || Node::is_gone(engine));
    eventually("settled", || node.has_lease_settled() && node.verb(&["status"]) == 0);
    assert_eq!(node.calls(), ["start a"]);
    Node::signal(node.guardian(), SIGTERM);
    assert_eq!(node.exit_code(), Some(0));
    assert_eq!(node.calls(), ["start a", "stop a"]);
}

#[test]
fn guardian_stopped_and_thawed_changes_nothing() {
    let mut node = Node::new(ONE, "");
    node.run_until_running("a");
    let (engine, guardian) = (node.engine(), node.guardian());
    Node::signal(guardian, SIGSTOP);
    let start = Instant::now();
    while start.elapsed() < DEADTIME * 2 {
        eventually("the engine beats on", || node.heard().is_some());
    }
    Node::signal(guardian, SIGCONT);
    eventually("the guardian stamps again", || {
        lease::now().saturating_sub(node.lease().guardian_stamp()) < 1_000_000_000
    });
    assert_eq!(node.engine(), engine, "a late guardian does not judge");
    assert_eq!(node.calls(), ["start a"]);
    Node::signal(guardian, SIGTERM);
    assert_eq!(node.exit_code(), Some(0));
}

#[test]
fn logger_killed_another_one_writes() {
    let mut node = Node::new(ONE, "");
    node.run_until_running("a");
    let logger = node.logger();
    Node::signal(logger, SIGKILL);
    eventually("a new logger", || node.has_other_logger(logger));
    eventually("it writes", || node.text("log").contains("The logger process has ended."));
    assert_eq!(node.calls(), ["start a"]);
}

#[test]
fn logger_stopped_holds_nobody_up() {
    let mut node = Node::new(ONE, "");
    node.run_until_running("a");
    let (logger, engine, old) = (node.logger(), node.engine(), node.generation());
    Node::signal(logger, SIGSTOP);
    Node::signal(engine, SIGKILL);
    node.hear_new_generation(old);
    assert!(silence(&node) < DEADTIME / 2);
    Node::signal(logger, SIGCONT);
    eventually("what was said meanwhile", || node.text("log").contains("was killed by SIGKILL"));
    assert_eq!(node.calls(), ["start a"]);
}

#[test]
fn engine_and_logger_killed_nothing_moves() {
    let mut node = Node::new(ONE, "");
    node.run_until_running("a");
    let old = node.generation();
    let (engine, logger) = (node.engine(), node.logger());
    Node::signal(logger, SIGKILL);
    Node::signal(engine, SIGKILL);
    node.hear_new_generation(old);
    assert_eq!(node.calls(), ["start a"]);
}

#[test]
fn guardian_and_logger_killed_a_new_guardian_takes_over() {
    let mut node = Node::new(ONE, "");
    node.run_until_running("a");
    let old = node.generation();
    let (guardian, logger) = (node.guardian(), node.logger());
    Node::signal(guardian, SIGKILL);
    Node::signal(logger, SIGKILL);
    node.heard();
    eventually("the engine beats on", || node.heard() == Some(old));
    node.run();
    node.hear_new_generation(old);
    eventually("settled", || node.has_lease_settled() && node.verb(&["status"]) == 0);
    assert_eq!(node.calls(), ["start a"]);
}

#[test]
fn engine_and_guardian_killed_the_sentinel_stops_the_groups_in_time() {
    let mut node = Node::new(ONE, "");
    node.run_until_running("a");
    let (engine, guardian, logger) = (node.engine(), node.guardian(), node.logger());
    Node::signal(guardian, SIGKILL);
    Node::signal(engine, SIGKILL);
    eventually("the group is stopped", || !node.is_running("a"));
    assert!(silence(&node) < DEADTIME);
    eventually("it is logged", || node.text("log").contains("Engine and guardian are gone or silent"));
    assert!(!node.root.join("was-reset").exists());
    eventually("the sentinel leaves the run directory to others", || Node::is_gone(logger));
    node.run_until_running("a");
    assert_eq!(node.calls(), ["start a", "stop a", "start a"]);
}

#[test]
fn engine_and_guardian_stopped_the_sentinel_stops_the_groups_in_time() {
    let mut node = Node::new(ONE, "");
    node.run_until_running("a");
    let (engine, guardian) = (node.engine(), node.guardian());
    Node::signal(guardian, SIGSTOP);
    Node::signal(engine, SIGSTOP);
    eventually("the group is stopped", || !node.is_running("a"));
    assert!(silence(&node) < DEADTIME);
    assert!(Node::is_gone(engine) && Node::is_gone(guardian), "neither will ever thaw");
}

/// Holds a process up: at its next system call, and when it is killed, at its end, as a driver does that does not come back.
/// Let go by the end of the tracer.
struct Tracer(Child);

impl Tracer {
    fn hold(pid: Pid) -> Self {
        let mut tracer = Command::new("strace");
        tracer.args(["-qq", "-e", "trace=none", "-o", "/dev/null", "-p", &pid.to_string()]);
        let tracer = Self(tracer.stderr(Stdio::null()).spawn().expect("strace"));
        eventually("it is traced", || proc_status(pid.as_raw(), "TracerPid") == tracer.0.id().to_string());
        Node::signal(Pid::from_raw(i32::try_from(tracer.0.id()).unwrap()), SIGSTOP);
        tracer
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn engine_and_guardian_stuck_in_the_kernel_the_sentinel_stops_the_groups_in_time() {
    // They are waited for: a busy machine needs what is left then.
    let deadtime = Duration::from_secs(6);
    let mut node = Node::new(ONE, "deadtime 6\ninitdead 6");
    node.run_until_running("a");
    let (engine, guardian) = (node.engine(), node.guardian());
    let _stuck = [Tracer::hold(guardian), Tracer::hold(engine)];
    eventually("the group is stopped", || !node.is_running("a"));
    assert!(silence(&node) < deadtime);
    assert!(!Node::is_gone(guardian), "it is held up still");
    let stuck = "CRIT: The killed guardian is stuck in the kernel: going on without its lock.";
    eventually("it is told", || node.text("log").contains(stuck));
}

#[test]
fn engine_stopped_and_guardian_killed_the_sentinel_stops_the_groups_in_time() {
    let mut node = Node::new(ONE, "");
    node.run_until_running("a");
    let (engine, guardian) = (node.engine(), node.guardian());
    Node::signal(engine, SIGSTOP);
    Node::signal(guardian, SIGKILL);
    eventually("the group is stopped", || !node.is_running("a"));
    assert!(silence(&node) < DEADTIME);
    assert!(Node::is_gone(engine));
}

#[test]
fn whole_board_frozen_and_thawed_is_nobodys_fault() {
    let mut node = Node::new(ONE, "");
    node.run_until_running("a");
    let all = [node.engine(), node.guardian(), node.logger()];
    for process in all {
        Node::signal(process, SIGSTOP);
    }
    eventually("well over the dead time", || silence(&node) > DEADTIME * 2);
    node.heard();
    for process in all {
        Node::signal(process, SIGCONT);
    }
    eventually("the engine beats again", || node.heard().is_some());
    // What the engine makes of having overslept is its own affair; it must end with the service running here, for
    // there is no peer.
    eventually("the group runs", || node.is_running("a") && node.has_lease_settled());
    assert_eq!([node.engine(), node.guardian(), node.logger()], all, "nobody was killed");
    assert!(!node.root.join("was-reset").exists());
}

#[test]
fn sentinel_resets_the_board_when_a_stop_hangs() {
    let mut node = Node::new(ONE, "");
    node.run_until_running("a");
    node.touch("hang-stop");
    let (engine, guardian) = (node.engine(), node.guardian());
    Node::signal(guardian, SIGKILL);
    Node::signal(engine, SIGKILL);
    eventually("the board is reset", || node.text("was-reset") == "not-stopped\n");
    assert!(silence(&node) < DEADTIME);
    node.remove("hang-stop");
}

fn kill_all(node: &Node) {
    // All are stopped first, so that none of them sees another one die.
    let all = [node.logger(), node.guardian(), node.engine()];
    for process in all {
        Node::signal(process, SIGSTOP);
    }
    for process in all {
        Node::signal(process, SIGKILL);
    }
    eventually("all are gone", || all.into_iter().all(Node::is_gone));
}

#[test]
fn all_killed_and_restarted_at_once_nothing_moves() {
    let mut node = Node::new(ONE, "");
    node.run_until_running("a");
    let old = node.generation();
    kill_all(&node);
    node.run();
    node.hear_new_generation(old);
    eventually("settled", || node.has_lease_settled() && node.verb(&["status"]) == 0);
    assert_eq!(node.calls(), ["start a"]);
    assert!(node.is_running("a"));
}

#[test]
fn all_killed_and_restarted_after_the_dead_time_the_group_is_adopted() {
    let mut node = Node::new(ONE, "");
    node.run_until_running("a");
    kill_all(&node);
    eventually("the dead time", || silence(&node) > DEADTIME * 2);
    assert!(node.is_running("a"), "nobody was left to stop it");
    node.run_until_running("a");
    eventually("settled", || node.has_lease_settled() && node.verb(&["status"]) == 0);
    assert!(node.is_running("a"));
    let starts = node.calls().iter().filter(|call| *call == "start a").count();
    let stops = node.calls().iter().filter(|call| *call == "stop a").count();
    assert_eq!(starts, stops + 1, "either adopted or stopped before it is started again: {:?}", node.calls());
}

#[test]
fn all_killed_release_stops_what_is_left() {
    let mut node = Node::new("alpha svc::a\nalpha svc::b\n", "");
    node.run_until_running("b");
    kill_all(&node);
    assert!(node.is_running("a") && node.is_running("b"));
    assert_eq!(node.verb(&["release", "--node", "alpha"]), 0);
    assert!(!node.is_running("a") && !node.is_running("b"));
    assert_eq!(node.verb(&["release", "--node", "alpha"]), 0, "nothing is left to do");
    assert_eq!(node.calls().len(), 4);
}

#[test]
fn guardian_killed_release_ends_the_engine_first() {
    let mut node = Node::new(ONE, "");
    node.run_until_running("a");
    let (engine, guardian) = (node.engine(), node.guardian());
    Node::signal(guardian, SIGKILL);
    eventually("the guardian is gone", || Node::is_gone(guardian));
    assert_eq!(node.verb(&["release", "--node", "alpha"]), 0);
    assert!(Node::is_gone(engine));
    assert!(!node.is_running("a"));
}

#[test]
fn script_of_a_killed_guardian_is_ended_by_the_next_one() {
    let mut node = Node::new(ONE, "");
    node.touch("hang-start");
    node.run();
    eventually("the start hangs", || node.calls() == ["start a"]);
    let guardian = node.guardian();
    Node::signal(guardian, SIGKILL);
    eventually("the guardian is gone", || Node::is_gone(guardian));
    node.run();
    eventually("started again", || node.calls().len() > 1);
    node.remove("hang-start");
    eventually("it runs", || node.is_running("a") && node.has_lease_settled());
    assert!(node.text("log").contains("a script of an earlier guardian is still at work"));
}

#[test]
fn service_manager_is_told() {
    let mut node = Node::new(ONE, "");
    let path = node.root.join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    node.run_program(Node::program(), &[("NOTIFY_SOCKET", path.to_str().unwrap())]);
    let heard = |wanted: &str| {
        let mut buffer = [0; 512];
        loop {
            let len = socket.recv(&mut buffer).unwrap();
            if String::from_utf8_lossy(&buffer[..len]).contains(wanted) {
                return;
            }
        }
    };
    heard("READY=1");
    eventually("the lease", || node.lease().guardian().is_some());
    node.touch_ha_cf();
    Node::signal(node.guardian(), SIGHUP);
    heard("RELOADING=1");
    heard("READY=1");
    Node::signal(node.guardian(), SIGTERM);
    heard("STOPPING=1");
    assert_eq!(node.exit_code(), Some(0));
}

#[test]
fn generations_are_set_aside_again_when_the_disk_takes_them() {
    let mut node = Node::new(ONE, "");
    node.run_until_running("a");
    let files = ["state/hb_generation", "state/hb_generation.copy"];
    for file in files {
        // Neither replaced nor written to.
        fs::remove_file(node.root.join(file)).expect("a file");
        fs::create_dir_all(node.root.join(file).join("full")).expect("a folder");
    }
    // Then one of those set aside at the start is left, and more are wanted.
    for _ in 0..3 {
        let (engine, old) = (node.engine(), node.generation());
        Node::signal(engine, SIGKILL);
        node.hear_new_generation(old);
        eventually("the new engine has settled", || node.has_lease_settled() && node.verb(&["status"]) == 0);
    }
    eventually("it is said", || node.text("log").contains("no generation could be set aside; trying on"));
    for file in files {
        fs::remove_dir_all(node.root.join(file)).expect("a folder");
    }
    eventually("it is done", || node.text("log").contains("generations are set aside again"));
    let number = |file: &str| node.text(file).trim().parse::<u32>().expect("a number");
    assert!(files.iter().all(|file| number(file) > node.generation()));
    assert!(node.is_running("a"));
    assert_eq!(node.calls(), ["start a"]);
}

#[test]
fn status_whose_text_and_code_disagree_counts_by_its_text_and_is_told_once() {
    let mut node = Node::new("alpha odd::x\n", "");
    let script = "#!/bin/sh\necho $2 >> ${0%/*}/../../asked\n[ $2 = status ] && { echo running; exit 3; }\nexit 0\n";
    node::write_program(&node.root.join("ha.d/resource.d/odd"), script);
    node.run();
    let told = "the text says running, the exit code 3; the text counts";
    eventually("it is told", || node.text("log").contains(told));
    eventually("settled", || node.has_lease_settled() && node.verb(&["status"]) == 0);
    assert_eq!(node.verb(&["stop"]), 0);
    assert_eq!(node.text("log").matches(told).count(), 1);
    assert!(!node.text("asked").contains("start"), "it was said to run: {}", node.text("asked"));
}

#[test]
fn history_and_last_move_survive_a_killed_engine_and_a_reload() {
    let mut node = Node::new(ONE, "");
    node.run_until_running("a");
    let report = |verb: &str| {
        let output = node.command(Node::program(), &[verb]).output().expect("it runs");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let is_known = || {
        report("history").contains("starting -> running") && report("status").contains("last move to this node: death")
    };
    eventually("history tells of the start", is_known);
    let old = node.generation();
    Node::signal(node.engine(), SIGKILL);
    node.hear_new_generation(old);
    eventually("so does the next engine", is_known);
    let old = node.generation();
    node.write_resources("alpha svc::b\nalpha svc::a\n");
    assert_eq!(node.verb(&["reload"]), 0);
    node.hear_new_generation(old);
    eventually("and the one with new files", || {
        let told = report("history");
        node.is_running("b") && told.lines().any(|line| line.contains("svc::a") && line.contains("starting -> running"))
    });
    let output = node.command(Node::program(), &["history", "--json"]).output().expect("it runs");
    let json = String::from_utf8_lossy(&output.stdout).into_owned();
    let numbers: Vec<u64> = json
        .split("\"number\": ")
        .skip(1)
        .filter_map(|rest| rest.split(|letter: char| !letter.is_ascii_digit()).next()?.parse().ok())
        .collect();
    assert!(numbers.len() > 10 && numbers.is_sorted_by(|one, next| one < next), "{numbers:?}");
    assert_eq!(node.verb(&["stop"]), 0);
    assert!(!node.root.join("run/last_move").exists());
}
