//! Scripts that are missing, hang, print or leave something behind.

use super::*;

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
fn script_that_leaves_its_process_group_is_killed_all_the_same() {
    let yard = Yard::new();
    // The leader joins the group of a child of its own.
    let perl = "perl -e 'my $c = fork; if (!$c) { setpgrp(0, 0); sleep 5; exit } select(undef, undef, undef, 0.1); \
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
fn service_in_the_background_does_not_hold_up_its_script_and_survives_us() {
    let yard = Yard::new();
    yard.script(
        "a",
        "test $A = start || exit 0\n(echo $$ >$W/pid; while test ! -e $W/end; do echo tick || exit; done; : >$W/ended) &\n",
    );
    let mut runner = yard.runner(&yard.config(&[("alpha", "a")]));
    ask(&mut runner, 1, G0, Order::Start);
    assert_eq!(finish(&mut runner), [(1, JobOutcome::Done, 255)]);
    // That of `status` goes when nobody has it; what another test has forked meanwhile may for a moment.
    let start = Instant::now();
    let mut later = start;
    while yard.outputs().len() > 1 {
        assert!(start.elapsed() < PATIENCE);
        later += Duration::from_secs(11);
        runner.turn(later);
    }
    let [file] = yard.outputs().try_into().unwrap();
    drop(runner);
    // It goes on writing with nobody there to read.
    let length = |path: &Path| fs::metadata(path).unwrap().len();
    let before = length(&file);
    while length(&file) <= before + 4096 {
        assert!(start.elapsed() < PATIENCE);
        std::thread::yield_now();
    }
    // The next guardian takes the file over, keeps it short, and removes it in the end.
    let mut next = yard.runner(&yard.config(&[("alpha", "a")]));
    while length(&file) <= 2 * crate::guardian::output::FILE_BYTES_MAX {
        assert!(start.elapsed() < PATIENCE);
        std::thread::yield_now();
    }
    next.turn(Instant::now() + Duration::from_secs(11));
    assert!(length(&file) < 2 * crate::guardian::output::FILE_BYTES_MAX);
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
