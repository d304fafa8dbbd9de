//! Which scripts run, in which order, and what is reported.

use super::*;

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
    // Another test of this process may hold a copy of a descriptor for as long as it takes to start its own script.
    drive(&mut runner, |_| yard.outputs().is_empty());
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
    // The third is through while the first still waits.
    drive(&mut runner, |runner| runner.busy() == GroupSet::first(2));
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
