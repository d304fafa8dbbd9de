//! New files and a new program under a running daemon.

use std::fs;
use std::path::Path;
use std::process::Command;

use nix::sys::signal::Signal::{SIGHUP, SIGTERM};

use super::node::{self, DEADTIME, Node, eventually};
use super::{ONE, silence};

#[test]
fn reload_without_a_change_touches_nothing() {
    let mut node = Node::new(ONE, "");
    node.run_until_running("a");
    let (guardian, old, asked) = (node.guardian(), node.generation(), node.text("calls"));
    Node::signal(guardian, SIGHUP);
    eventually("nothing has changed", || node.text("log").contains("Configuration unchanged."));
    assert_eq!(node.generation(), old);
    node.touch_ha_cf();
    Node::signal(guardian, SIGHUP);
    node.hear_new_generation(old);
    eventually("settled", || node.verb(&["status"]) == 0);
    assert_eq!(node.guardian(), guardian);
    assert_eq!(node.text("calls"), asked);
}

#[test]
fn reload_moves_only_what_changed() {
    let mut node = Node::new("alpha svc::a\nalpha svc::b\n", "");
    node.run_until_running("b");
    let old = node.generation();
    node.write_resources("alpha svc::c\nalpha svc::a\n");
    Node::signal(node.guardian(), SIGHUP);
    node.hear_new_generation(old);
    eventually("the new group runs", || node.is_running("c"));
    assert!(node.is_running("a") && !node.is_running("b"));
    assert_eq!(node.calls(), ["start a", "start b", "stop b", "start c"]);
}

#[test]
fn reload_starts_a_changed_group_again() {
    let mut node = Node::new(ONE, "");
    node.run_until_running("a");
    let old = node.generation();
    node.write_resources("alpha svc::a svc::b\n");
    assert_eq!(node.verb(&["reload"]), 0);
    assert!(node.generation() > old);
    eventually("it runs again", || node.is_running("b") && node.has_lease_settled());
    assert_eq!(node.calls(), ["start a", "stop a", "start a", "start b"]);
}

#[test]
fn reload_with_an_error_changes_nothing() {
    let mut node = Node::new(ONE, "");
    node.run_until_running("a");
    let engine = node.engine();
    node.write_config("keepalivee 1");
    assert_eq!(node.verb(&["reload"]), 78);
    assert_eq!(node.engine(), engine);
    node.write_config("");
    let old = node.generation();
    assert_eq!(node.verb(&["reload"]), 0);
    assert!(node.generation() > old);
    assert_eq!(node.calls(), ["start a"]);
}

/// Not written by this process: what another test starts just then would hold it open, and busy.
fn copy_program(to: &Path) {
    assert!(Command::new("cp").arg(Node::program()).arg(to).status().unwrap().success());
}

#[test]
fn reload_of_the_program_moves_nothing() {
    let mut node = Node::new(ONE, "");
    let program = node.root.join("nullbeat");
    copy_program(&program);
    node.run_program(&program, &[]);
    eventually("the group runs", || node.is_running("a") && node.has_lease_settled());
    let (guardian, engine, old, asked) = (node.guardian(), node.engine(), node.generation(), node.text("calls"));
    // A package's way to replace a program: another file under the same name.
    copy_program(&node.root.join("new"));
    fs::rename(node.root.join("new"), &program).unwrap();
    assert_eq!(node.verb(&["reload", "--binary"]), 0);
    assert!(node.generation() > old);
    assert_eq!(node.guardian(), guardian, "the same process");
    assert!(Node::is_gone(engine));
    let running = fs::read_link(format!("/proc/{guardian}/exe")).unwrap();
    assert_eq!(running, program, "not the deleted one");
    eventually("settled", || node.verb(&["status"]) == 0);
    assert_eq!(node.text("calls"), asked);
    assert!(silence(&node) < DEADTIME / 2);
    Node::signal(guardian, SIGTERM);
    assert_eq!(node.exit_code(), Some(0));
    assert_eq!(node.calls(), ["start a", "stop a"]);
}

#[test]
fn reload_of_a_program_that_does_not_work_changes_nothing() {
    let mut node = Node::new(ONE, "");
    let program = node.root.join("nullbeat");
    copy_program(&program);
    node.run_program(&program, &[]);
    eventually("the group runs", || node.is_running("a") && node.has_lease_settled());
    let engine = node.engine();
    fs::remove_file(&program).unwrap();
    fs::write(&program, "#!/bin/sh\nexit 1\n").unwrap();
    fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    assert_eq!(node.verb(&["reload", "--binary"]), 1);
    fs::remove_file(&program).unwrap();
    assert_eq!(node.verb(&["reload", "--binary"]), 1);
    assert_eq!(node.engine(), engine);
    assert_eq!(node.calls(), ["start a"]);
}

#[test]
fn reload_of_the_program_is_refused_for_what_the_new_one_would_not_start_with() {
    let mut node = Node::new(ONE, "");
    node.run_until_running("a");
    let engine = node.engine();
    // Only a warning of `check`: an adapter that is unplugged at this moment.
    node.write_config("serial /dev/nullbeat-unplugged");
    assert_eq!(node.verb(&["reload", "--binary"]), 78);
    assert_eq!(node.engine(), engine);
    assert_eq!(node.calls(), ["start a"]);
    node.write_config("");
    assert_eq!(node.verb(&["reload", "--binary"]), 0);
    assert_eq!(node.calls(), ["start a"]);
}

/// A node whose program is replaced by one that says that it would start, and then does not: what it needs has gone
/// in between. Its standard error is `stderr`.
fn node_with_a_program_that_breaks_its_word(stderr: &str) -> Node {
    let mut node = Node::new(ONE, "");
    let program = node.root.join("nullbeat");
    copy_program(&program);
    node.run_program(&program, &[]);
    eventually("the group runs", || node.is_running("a") && node.has_lease_settled());
    let real = Node::program().display();
    let lie =
        format!("#!/bin/sh\ncase \" $* \" in *\" --only-check \"*) exit 0 ;; esac\nexec {real} \"$@\" {stderr}\n");
    node::write_program(&node.root.join("new"), &lie);
    fs::rename(node.root.join("new"), &program).unwrap();
    node.write_config("serial /dev/nullbeat-unplugged");
    node
}

#[test]
fn program_that_cannot_go_on_after_all_stops_what_it_inherited() {
    // Nor can it say so.
    let mut node = node_with_a_program_that_breaks_its_word("2>/dev/full");
    assert_ne!(node.verb(&["reload", "--binary", "--timeout", "1"]), 0);
    assert_eq!(node.exit_code(), Some(78));
    assert_eq!(node.calls(), ["start a", "stop a"]);
    assert!(!node.is_running("a"));
    assert!(node.lease().in_use().is_empty());
    assert_eq!(node.text("was-reset"), "");
}

#[test]
fn program_that_cannot_go_on_nor_stop_what_it_inherited_resets_the_board() {
    let mut node = node_with_a_program_that_breaks_its_word("");
    node.touch("hang-stop");
    assert_ne!(node.verb(&["reload", "--binary", "--timeout", "1"]), 0);
    assert_eq!(node.exit_code(), Some(78));
    eventually("the reset", || !node.text("was-reset").is_empty());
    assert_eq!(node.text("was-reset"), "not-stopped\n");
    assert!(node.is_running("a"));
}
