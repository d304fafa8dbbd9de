//! A stop that is wanted stays wanted, whatever dies meanwhile.

use std::process::{Child, Stdio};

use nix::sys::signal::Signal::{SIGHUP, SIGKILL, SIGTERM};

use super::node::{Node, eventually, write_program};

const ONE: &str = "alpha svc::a\n";

fn begin(node: &Node, verb: &str) -> Child {
    let mut command = node.command(Node::program(), &[verb]);
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

fn starts(node: &Node) -> usize {
    node.calls().iter().filter(|call| call.starts_with("start")).count()
}

#[test]
fn stop_that_comes_during_a_reload_is_not_forgotten() {
    let mut node = Node::new(ONE, "");
    node.run_until_running("a");
    node.touch("hang-stop");
    node.write_resources("alpha svc::b\n");
    Node::signal(node.guardian(), SIGHUP);
    eventually("the old group is being stopped", || node.calls().last().is_some_and(|call| call == "stop a"));
    Node::signal(node.guardian(), SIGTERM);
    eventually("the engine goes down", || node.text("log").contains("Heartbeat shutdown in progress."));
    node.remove("hang-stop");
    assert_eq!(node.exit_code(), Some(0));
    assert!(!node.is_running("a") && !node.is_running("b"));
    assert_eq!(starts(&node), 1, "{:?}", node.calls());
}

#[test]
fn stop_goes_on_when_the_engine_that_began_it_is_killed() {
    let mut node = Node::new(ONE, "");
    node.run_until_running("a");
    let guardian = node.guardian();
    node.touch("hang-stop");
    let mut stop = begin(&node, "stop");
    eventually("the group is being stopped", || node.calls().last().is_some_and(|call| call == "stop a"));
    Node::signal(node.engine(), SIGKILL);
    eventually("the guardian goes on alone", || node.text("log").contains("No engine: giving up all HA resources."));
    node.remove("hang-stop");
    assert_eq!(node.exit_code(), Some(0));
    assert!(Node::is_gone(guardian));
    assert!(!node.is_running("a"));
    assert_eq!(starts(&node), 1, "{:?}", node.calls());
    stop.wait().unwrap();
}

#[test]
fn stop_that_works_only_after_a_reset_that_did_not_happen_is_the_end() {
    let mut node = Node::new(ONE, "");
    node.run_until_running("a");
    let engine = node.engine();
    node.touch("fail-stop");
    Node::signal(node.guardian(), SIGTERM);
    eventually("the reset is asked for", || node.root.join("was-reset").exists());
    eventually("the engine is silent", || Node::is_gone(engine));
    node.remove("fail-stop");
    Node::signal(node.guardian(), SIGTERM);
    assert_eq!(node.exit_code(), Some(0));
    assert!(!node.is_running("a"));
    assert_eq!(starts(&node), 1, "{:?}", node.calls());
}

#[test]
fn stop_that_has_to_wait_fills_no_log() {
    let mut node = Node::new(ONE, "on_stop_failure hold");
    node.run_until_running("a");
    node.touch("fail-stop");
    Node::signal(node.guardian(), SIGTERM);
    eventually("it is told", || node.text("log").contains("Cannot stop yet"));
    let mut beats = 0;
    eventually("some beats", || {
        beats += usize::from(node.heard().is_some());
        beats > 8
    });
    assert_eq!(node.text("log").matches("Cannot stop yet").count(), 1);
    node.remove("fail-stop");
    assert_eq!(node.exit_code(), Some(0));
    assert!(!node.is_running("a"));
}

#[test]
fn reload_starts_a_changed_group_at_once_beside_a_dead_partner() {
    let mut node = Node::new(ONE, "");
    node.run_until_running("a");
    let config = node.text("ha.d/ha.cf").replace("initdead 2\n", "initdead 3600\n");
    std::fs::write(node.root.join("ha.d/ha.cf"), config).unwrap();
    node.write_resources("alpha svc::a svc::b\n");
    assert_eq!(node.verb(&["reload"]), 0);
    eventually("it runs again", || node.is_running("b"));
    assert_eq!(node.calls(), ["start a", "stop a", "start a", "start b"]);
}

#[test]
fn news_of_the_stop_reach_their_programs() {
    let mut node = Node::new(ONE, "");
    let program = node.root.join("news");
    write_program(&program, "#!/bin/sh\nsleep 0.1\necho \"$NULLBEAT_EVENT $*\" >> \"$0.told\"\n");
    node.write_config(&format!("notify {}", program.display()));
    node.run_until_running("a");
    eventually("the start is told", || node.text("news.told").contains("running"));
    Node::signal(node.guardian(), SIGTERM);
    assert_eq!(node.exit_code(), Some(0));
    let told = node.text("news.told");
    assert!(told.lines().last().is_some_and(|line| line.contains("stopped")), "{told}");
}

#[test]
fn reload_survives_the_engine_that_asked_for_it() {
    let mut node = Node::new("alpha svc::a\nalpha svc::b\n", "");
    node.run_until_running("b");
    node.touch("hang-stop");
    node.write_resources("alpha svc::c\nalpha svc::a\n");
    let mut reload = begin(&node, "reload");
    eventually("the old group is being stopped", || node.calls().last().is_some_and(|call| call == "stop b"));
    let old = node.generation();
    Node::signal(node.engine(), SIGKILL);
    node.hear_new_generation(old);
    node.remove("hang-stop");
    assert_eq!(reload.wait().unwrap().code(), Some(0));
    eventually("the new group runs", || node.is_running("c") && node.has_lease_settled());
    assert!(node.is_running("a") && !node.is_running("b"));
    assert_eq!(node.calls(), ["start a", "start b", "stop b", "start c"]);
}
