//! Restarts in place, monitored groups, units of systemd.

use super::*;
use crate::checks::{ToChecker, Trouble};
use crate::config::{CheckConfig, CheckKind, Question};
use crate::core::Health;
use crate::core::ids::CheckId;

fn check(kind: CheckKind, group: usize) -> CheckConfig {
    CheckConfig {
        is_vital: false,
        name: "test".into(),
        kind,
        group: Some(group),
        every: Duration::from_millis(20),
        timeout: Duration::from_secs(20),
        rise: 1,
        fall: 2,
        restarts: 2,
        from: 0,
        user: None,
    }
}

fn monitored(yard: &Yard, groups: &[(&str, &str)]) -> Runner {
    let mut config = yard.config(groups);
    config.checks = vec![check(CheckKind::Monitor, 0)];
    yard.runner(&config)
}

/// Turns until the engine is told of a check.
fn await_health(runner: &mut Runner) -> (Health, u8) {
    let mut told = None;
    drive(runner, |_| true);
    let start = Instant::now();
    while told.is_none() {
        assert!(start.elapsed() < PATIENCE, "nothing is told");
        wait(runner);
        while let Some(report) = runner.poll_report() {
            if let ToEngine::Health { check: CheckId(0), health, from } = report {
                told = Some((health, from));
            }
        }
    }
    told.unwrap()
}

#[test]
fn restart_takes_along_what_follows_and_leaves_what_comes_before() {
    let yard = Yard::new();
    yard.switches(&["a", "b", "c"]);
    let mut runner = yard.runner(&yard.config(&[("alpha", "a b c")]));
    ask(&mut runner, 1, G0, Order::Start);
    ask(&mut runner, 2, G0, Order::Restart { from: 1 });
    assert_eq!(finish(&mut runner), [(1, JobOutcome::Done, 255), (2, JobOutcome::Done, 255)]);
    let restart = ["c stop", "b stop", "a status", "b status", "b start", "c status", "c start"];
    assert_eq!(yard.runs()[6..], restart);
    ask(&mut runner, 3, G0, Order::Restart { from: 9 });
    assert_eq!(finish(&mut runner), [(3, JobOutcome::Done, 255)], "nothing is stopped, what does not run is started");
}

#[test]
fn monitored_group_is_asked_while_it_runs_and_tells_which_resource_does_not() {
    let yard = Yard::new();
    yard.switches(&["a", "b"]);
    let mut runner = monitored(&yard, &[("alpha", "a b")]);
    for _ in 0..5 {
        wait(&mut runner);
    }
    assert_eq!(yard.runs(), [""; 0], "it does not run here");
    ask(&mut runner, 1, G0, Order::Start);
    assert_eq!(await_health(&mut runner), (Health::Healthy, 0));
    fs::remove_file(yard.root.join("b.on")).unwrap();
    assert_eq!(await_health(&mut runner), (Health::Failed, 1));
    runner.forget_engine();
    assert_eq!(await_health(&mut runner), (Health::Failed, 1), "the next engine is told again");
    ask(&mut runner, 2, G0, Order::Restart { from: 1 });
    assert_eq!(await_health(&mut runner).0, Health::Unknown);
    assert_eq!(await_health(&mut runner).0, Health::Healthy);
    ask(&mut runner, 3, G0, Order::Stop);
    assert_eq!(await_health(&mut runner).0, Health::Unknown);
    finish(&mut runner);
    let runs = yard.runs().len();
    for _ in 0..5 {
        wait(&mut runner);
    }
    assert_eq!(yard.runs().len(), runs, "it does not run any more");
}

#[test]
fn status_that_hangs_delays_no_stop_and_no_other_group() {
    let yard = Yard::new();
    // The first `status`, that of the start, answers.
    let body = "F=$W/a.on\ncase $A in\nstart) : >$F;;\nstop) rm $F;;\n\
                status) test -e $F || { echo stopped; exit 3; }; echo $$ >$W/pid; mv $W/pid $W/hung; exec sleep 1000;;\nesac\n";
    yard.script("a", body);
    yard.switch("b");
    let mut runner = monitored(&yard, &[("alpha", "a"), ("alpha", "b")]);
    ask(&mut runner, 1, G0, Order::Start);
    await_file(&mut runner, &yard.root.join("hung"));
    ask(&mut runner, 2, G1, Order::Start);
    ask(&mut runner, 3, G0, Order::Stop);
    let done = |job| (job, JobOutcome::Done, 255);
    assert_eq!(finish(&mut runner), [done(1), done(2), done(3)]);
    let hung = Pid::from_raw(yard.text("hung").trim().parse().unwrap());
    drive(&mut runner, |_| nix::sys::signal::killpg(hung, None).is_err());
}

#[test]
fn findings_of_a_checker_count_while_the_group_runs_as_it_did() {
    let yard = Yard::new();
    yard.switch("a");
    let mut config = yard.config(&[("alpha", "a")]);
    config.checks = vec![check(CheckKind::Ask(Question::Ping([127, 0, 0, 1].into())), 0)];
    let mut runner = yard.runner(&config);
    runner.health().found(Instant::now(), 0, Health::Failed, Trouble::Silence, 0);
    assert!(runner.poll_report().is_none());
    ask(&mut runner, 1, G0, Order::Start);
    finish(&mut runner);
    let Some(ToChecker::Watch { group: 0, is_running: true, epoch }) = runner.health().poll_order() else {
        panic!("the checker is told nothing");
    };
    assert_eq!(runner.health().orders_for_new().count(), 1);
    runner.health().found(Instant::now(), 0, Health::Failed, Trouble::Code(500), epoch);
    assert_eq!(await_health(&mut runner).0, Health::Failed);
    runner.health().lost(crate::core::ids::CheckSet::first(32));
    assert_eq!(await_health(&mut runner).0, Health::Unknown);
    ask(&mut runner, 2, G0, Order::Restart { from: 0 });
    finish(&mut runner);
    runner.health().found(Instant::now(), 0, Health::Failed, Trouble::Silence, epoch);
    assert!(runner.poll_report().is_none(), "that was before the restart");
}

#[test]
fn unit_of_systemd_is_started_stopped_and_asked_by_systemctl() {
    let yard = Yard::new();
    let root = yard.root.display();
    let body = format!(
        "#!/bin/sh\nW={root}\necho \"$*\" >>$W/runs\ncase $2 in\nstart) echo active >$W/unit;;\nstop) rm $W/unit;;\n\
         is-active) cat $W/unit 2>/dev/null || {{ echo inactive; exit 3; }};;\nesac\n"
    );
    yard.write("systemctl", &body);
    let mut runner = yard.runner(&yard.config(&[("alpha", "systemd::web@1")]));
    ask(&mut runner, 1, G0, Order::Start);
    ask(&mut runner, 2, G0, Order::Probe);
    finish(&mut runner);
    fs::write(yard.root.join("unit"), "deactivating\n").unwrap();
    ask(&mut runner, 3, G0, Order::Probe);
    ask(&mut runner, 4, G0, Order::Stop);
    ask(&mut runner, 5, G0, Order::Probe);
    let done = |job, outcome| (job, outcome, 255);
    let expected = [done(3, JobOutcome::Failed), done(4, JobOutcome::Done), done(5, JobOutcome::NoneRunning)];
    assert_eq!(finish(&mut runner), expected);
    let line = |word: &str| format!("--no-ask-password {word} web@1");
    let runs = ["is-active", "start", "is-active", "is-active", "stop", "is-active"].map(line);
    assert_eq!(yard.runs(), runs);
}

#[test]
fn script_called_systemd_takes_the_place_of_what_is_built_in() {
    let yard = Yard::new();
    yard.switch("systemd");
    let mut runner = yard.runner(&yard.config(&[("alpha", "systemd::web")]));
    ask(&mut runner, 1, G0, Order::Start);
    assert_eq!(finish(&mut runner), [(1, JobOutcome::Done, 255)]);
    assert_eq!(yard.runs(), ["systemd web status", "systemd web start"]);
}

#[test]
fn unit_names_are_no_options() {
    let yard = Yard::new();
    yard.write("systemctl", "#!/bin/sh\n");
    for word in ["systemd::--force", "systemd", "systemd::a::b", "systemd::a/b"] {
        let mut runner = yard.runner(&yard.config(&[("alpha", word)]));
        ask(&mut runner, 1, G0, Order::Start);
        assert_eq!(finish(&mut runner), [(1, JobOutcome::Failed, 0)], "{word}");
    }
}
