//! Shots with real programs.

use super::*;
use crate::config::{FenceConfig, FenceHow, FenceLine, FenceMethod, Parameters, StonithParameters};
use crate::core::FenceOutcome::{self, Confirmed, Failed, Lost};
use crate::core::ids::Generation;
use crate::guardian::fence::HalPins;
use crate::hardware::gpio::wire::{Wire, WireInput};

/// The partner's run.
const GENERATION: Generation = Generation(7);

impl Yard {
    fn fencing(&self, methods: Vec<FenceMethod>) -> Runner {
        let mut config = self.config(&[("alpha", "web")]);
        config.fence = FenceConfig { methods, settle: Duration::from_secs(60), per_hour: 3 };
        self.runner(&config)
    }

    fn hook(&self, name: &str, body: &str, limit: Duration) -> FenceMethod {
        let path = self.script(name, body);
        FenceMethod { name: format!("hook {name}"), how: FenceHow::Hook(path), limit }
    }
}

fn fire(runner: &mut Runner, shot: u32, method: u8) {
    let now = Instant::now();
    runner.fence(now, order(shot, method), now);
}

fn order(shot: u32, method: u8) -> ShotOrder {
    ShotOrder { shot: ShotId(shot), method, generation: GENERATION }
}

/// Turns until the engine is told how a shot ended.
fn outcome(runner: &mut Runner) -> (u32, FenceOutcome) {
    let start = Instant::now();
    loop {
        assert!(start.elapsed() < PATIENCE, "no outcome");
        while let Some(report) = runner.poll_report() {
            if let ToEngine::FenceDone { shot, outcome, .. } = report {
                return (shot.0, outcome);
            }
        }
        wait(runner);
    }
}

#[test]
fn hook_confirms_by_its_exit_code_and_the_confirmation_is_kept() {
    let yard = Yard::new();
    let methods = vec![yard.hook("good", "", PATIENCE), yard.hook("bad", "exit 3", PATIENCE)];
    let mut runner = yard.fencing(methods);
    fire(&mut runner, 1, 1);
    assert_eq!(outcome(&mut runner), (1, Failed));
    assert_eq!((runner.confirmed_fence(), runner.pending_fence()), (None, None));
    fire(&mut runner, 2, 0);
    assert_eq!(outcome(&mut runner), (2, Confirmed));
    assert_eq!(yard.runs(), ["bad beta", "good beta"]);
    runner.forget_engine();
    assert_eq!(runner.confirmed_fence(), Some(order(2, 0)), "for the next engine");
    runner.notify_node(Instant::now(), 1, b'd');
    assert_eq!(runner.confirmed_fence(), Some(order(2, 0)));
    runner.notify_node(Instant::now(), 1, b'u');
    assert_eq!(runner.confirmed_fence(), None, "it is back");
}

#[test]
fn line_that_the_files_do_not_have_and_program_that_is_not_there_fail_at_once() {
    let yard = Yard::new();
    let missing = FenceMethod { name: "hook".into(), how: FenceHow::Hook("/nonexistent".into()), limit: PATIENCE };
    let gpio = FenceHow::Gpio { line: FenceLine::Reset, pulse: Duration::from_millis(1), is_sensed: true };
    let mut runner = yard.fencing(vec![missing, FenceMethod { name: "gpio".into(), how: gpio, limit: PATIENCE }]);
    for method in 0..3 {
        fire(&mut runner, u32::from(method), method);
        assert_eq!(outcome(&mut runner), (u32::from(method), Failed));
    }
    assert_eq!(runner.pending_fence(), None);
}

#[test]
fn hanging_agent_and_its_children_are_killed_at_the_limit() {
    let yard = Yard::new();
    let body = "trap '' TERM\n(trap '' TERM; while :; do sleep 0.1; : >$W/child; done) &\nwhile :; do sleep 0.1; done";
    let limit = Duration::from_secs(1);
    let mut runner = yard.fencing(vec![yard.hook("hang", body, limit)]);
    let start = Instant::now();
    fire(&mut runner, 1, 0);
    assert_eq!(outcome(&mut runner), (1, Lost), "nobody knows what it has done");
    assert!(start.elapsed() >= Duration::from_millis(900), "{:?}", start.elapsed());
    await_silence(&yard, "child");
}

/// Waits until nobody makes the file again.
fn await_silence(yard: &Yard, name: &str) {
    let start = Instant::now();
    loop {
        let _ = fs::remove_file(yard.root.join(name));
        std::thread::sleep(Duration::from_millis(400));
        if !yard.has(name) {
            return;
        }
        assert!(start.elapsed() < PATIENCE, "it lives on");
    }
}

#[test]
fn cancelled_agent_is_ended_and_its_result_is_lost_and_the_next_shot_waits_for_its_end() {
    let yard = Yard::new();
    let slow = yard.hook(
        "slow",
        "trap 'sleep 0.3; : >$W/ended; exit 0' TERM\n: >$W/begun\nwhile :; do sleep 0.05; done",
        PATIENCE,
    );
    let next = yard.hook("next", "test -e $W/ended", PATIENCE);
    let mut runner = yard.fencing(vec![slow, next]);
    fire(&mut runner, 1, 0);
    await_file(&mut runner, &yard.root.join("begun"));
    runner.cancel_fence(Instant::now(), ShotId(1));
    fire(&mut runner, 2, 1);
    assert_eq!(runner.pending_fence(), None, "nothing that another engine could count on");
    assert_eq!(outcome(&mut runner), (1, Lost), "although it exits with 0");
    assert_eq!(outcome(&mut runner), (2, Confirmed), "it began after the first one's end");
}

/// The two boards take turns as long as the limits: whatever a shot waits for, it is over in time.
#[test]
fn time_limit_counts_from_when_the_shot_was_asked_for() {
    let yard = Yard::new();
    let slow = yard.hook("slow", ": >$W/begun\nwhile :; do sleep 0.05; done", PATIENCE);
    let mut runner = yard.fencing(vec![slow]);
    let now = Instant::now();
    let Some(asked_at) = now.checked_sub(PATIENCE * 95 / 100) else { return };
    runner.fence(now, order(1, 0), asked_at);
    await_file(&mut runner, &yard.root.join("begun"));
    assert_eq!(outcome(&mut runner), (1, Lost));
    assert!(now.elapsed() < PATIENCE / 2, "{:?}", now.elapsed());
    // Nothing of its time is left: nothing is begun.
    let Some(asked_at) = now.checked_sub(PATIENCE) else { return };
    runner.fence(Instant::now(), order(2, 0), asked_at);
    assert_eq!(outcome(&mut runner), (2, Failed));
    assert_eq!(yard.runs(), ["slow beta"]);
}

#[test]
fn shot_whose_engine_is_gone_is_told_to_the_next_one() {
    let yard = Yard::new();
    let mut runner = yard.fencing(vec![yard.hook("slow", "while ! test -e $W/go; do sleep 0.02; done", PATIENCE)]);
    fire(&mut runner, 1, 0);
    runner.forget_engine();
    assert_eq!(runner.pending_fence(), Some(order(1, 0)));
    fs::write(yard.root.join("go"), "").unwrap();
    assert_eq!(outcome(&mut runner), (1, Confirmed));
    assert_eq!((runner.confirmed_fence(), runner.pending_fence()), (Some(order(1, 0)), None));
}

#[test]
fn shot_under_way_is_judged_by_the_files_that_it_was_fired_by() {
    let yard = Yard::new();
    let slow = |name: &str| yard.hook(name, "while ! test -e $W/go; do sleep 0.02; done; exit 4", PATIENCE);
    let how = FenceHow::Stonith {
        program: yard.script("stonith", "exit 4"),
        kind: "apc".into(),
        parameters: StonithParameters::Text("x".into()),
    };
    let stonith = FenceMethod { name: "stonith apc".into(), how, limit: PATIENCE };
    let table = |methods: Vec<FenceMethod>| {
        let mut config = yard.config(&[("alpha", "web")]);
        config.fence = FenceConfig { methods, settle: Duration::from_secs(60), per_hour: 3 };
        config
    };
    for (methods, pending) in [
        // In the place of the hook there is another program, whose exit code 4 means something else.
        (vec![stonith.clone(), slow("one")], Some(order(1, 1))),
        (vec![stonith.clone()], None),
        (vec![], None),
    ] {
        let _ = fs::remove_file(yard.root.join("go"));
        let mut runner = yard.runner(&table(vec![slow("one"), stonith.clone()]));
        fire(&mut runner, 1, 0);
        runner.replace_table(&table(methods));
        assert_eq!(runner.pending_fence(), pending, "by its new number, if it has one");
        fs::write(yard.root.join("go"), "").unwrap();
        assert_eq!(outcome(&mut runner), (1, Failed));
    }
    // What was confirmed is about a method too.
    let good = || yard.hook("good", "", PATIENCE);
    let mut runner = yard.runner(&table(vec![good()]));
    fire(&mut runner, 1, 0);
    assert_eq!(outcome(&mut runner), (1, Confirmed));
    runner.replace_table(&table(vec![stonith.clone(), good()]));
    assert_eq!(runner.confirmed_fence(), Some(order(1, 1)));
    runner.replace_table(&table(vec![stonith]));
    assert_eq!(runner.confirmed_fence(), None);
}

#[test]
fn host_that_stonith_does_not_know_is_told_as_such() {
    let yard = Yard::new();
    let how = FenceHow::Stonith {
        program: yard.script("stonith", "exit 4"),
        kind: "apc".into(),
        parameters: StonithParameters::Text("x".into()),
    };
    let stonith = FenceMethod { name: "stonith apc".into(), how, limit: PATIENCE };
    let mut runner = yard.fencing(vec![stonith, yard.hook("other", "exit 4", PATIENCE)]);
    fire(&mut runner, 1, 0);
    assert_eq!(outcome(&mut runner), (1, FenceOutcome::BadHost));
    fire(&mut runner, 2, 1);
    assert_eq!(outcome(&mut runner), (2, Failed), "exit codes of other programs mean nothing");
}

#[test]
fn agent_gets_its_secrets_on_standard_input_and_off_is_verified() {
    let yard = Yard::new();
    let body = "cat >$W/input.$$\naction=$(sed -n s/^action=//p $W/input.$$)\necho \"$action\" >>$W/actions\n\
                cp $W/input.$$ $W/input\ncase $action in status) exit $(cat $W/status);; esac";
    let path = yard.script("fence_x", body);
    let parameters = Parameters::new([("passwd".into(), "pa ss#word".into())]);
    let agent = |is_off| FenceMethod {
        name: "fence_x".into(),
        how: FenceHow::Agent { path: path.clone(), parameters: parameters.clone(), is_off },
        limit: PATIENCE,
    };
    let mut runner = yard.fencing(vec![agent(true), agent(false)]);
    fs::write(yard.root.join("status"), "2").unwrap();
    fire(&mut runner, 1, 0);
    assert_eq!(outcome(&mut runner), (1, Confirmed));
    assert_eq!(yard.text("input"), "action=status\npasswd=pa ss#word\nnodename=beta\nplug=beta\n");
    fs::write(yard.root.join("status"), "0").unwrap();
    fire(&mut runner, 2, 0);
    assert_eq!(outcome(&mut runner), (2, Failed), "it lies: the node is on");
    fire(&mut runner, 3, 1);
    assert_eq!(outcome(&mut runner), (3, Confirmed));
    assert_eq!(yard.text("actions"), "off\nstatus\noff\nstatus\nreboot\n");
    assert_eq!(yard.runs(), ["fence_x "; 5], "no word on the command line");
}

/// The shot was fired: what does not say whether it has hit leaves that unknown, and no other shot may come on top of it.
#[test]
fn shot_whose_end_nobody_can_tell_is_lost_and_not_failed() {
    let yard = Yard::new();
    let killed = "kill -KILL $$";
    let agent = |name: &str, body: &str| {
        let path = yard.script(name, &format!("action=$(sed -n s/^action=//p)\n{body}"));
        let how = FenceHow::Agent { path, parameters: Parameters::default(), is_off: true };
        FenceMethod { name: name.to_owned(), how, limit: PATIENCE }
    };
    let methods = vec![
        agent("fence_gone", "rm $0"),
        agent("fence_blind", "[ $action = off ] || exit 1"),
        agent("fence_shot", &format!("[ $action = off ] || {killed}")),
        yard.hook("killed", killed, PATIENCE),
        agent("fence_on", ""),
        agent("fence_weak", "exit 1"),
    ];
    let mut runner = yard.fencing(methods);
    for (method, expected) in [(0, Lost), (1, Lost), (2, Lost), (3, Lost), (4, Failed), (5, Failed)] {
        fire(&mut runner, u32::from(method), method);
        assert_eq!(outcome(&mut runner), (u32::from(method), expected));
        assert_eq!((runner.confirmed_fence(), runner.pending_fence()), (None, None));
    }
}

#[test]
fn plugin_sees_its_parameters_and_no_second_path() {
    let yard = Yard::new();
    let path = yard.script("own", "env >$W/env\ntest \"$1 $2\" = \"reset beta\"");
    let parameters = Parameters::new([("ipaddr".into(), "10.0.0.7".into())]);
    let how = FenceHow::External { path, parameters };
    let mut runner = yard.fencing(vec![FenceMethod { name: "external/own".into(), how, limit: PATIENCE }]);
    fire(&mut runner, 1, 0);
    assert_eq!(outcome(&mut runner), (1, Confirmed));
    let environment = yard.text("env");
    let of = |name: &str| environment.lines().filter(|line| line.starts_with(name)).collect::<Vec<_>>();
    assert_eq!(of("ipaddr="), ["ipaddr=10.0.0.7"]);
    assert_eq!(of("hostlist="), ["hostlist=beta"]);
    assert_eq!(of("HA_LOGTAG="), ["HA_LOGTAG=external/own"]);
    assert!(matches!(of("PATH=")[..], [path] if path.starts_with("PATH=/usr/share/cluster-glue:")), "{environment}");
}

#[test]
fn devices_are_asked_in_turn_and_a_shot_comes_first() {
    let yard = Yard::new();
    let plugin = |name: &str, body: &str| {
        let how = FenceHow::External { path: yard.script(name, body), parameters: Parameters::default() };
        FenceMethod { name: format!("external/{name}"), how, limit: PATIENCE }
    };
    let dead = plugin("dead", "test $1 = status && exit 1; exit 0");
    let stonith = FenceMethod {
        name: "null".into(),
        how: FenceHow::Stonith {
            program: yard.script("stonith", "test \"$(cat $4)\" = 'a b' && test $5 = -S"),
            kind: "null".into(),
            parameters: StonithParameters::Text("a b".into()),
        },
        limit: PATIENCE,
    };
    let hanging = plugin("hanging", "test $1 = status || exit 0; : >$W/asked; while :; do sleep 0.05; done");
    let mut runner = yard.fencing(vec![dead, yard.hook("hook", "", PATIENCE), stonith, hanging]);
    runner.check_fences(Instant::now());
    await_file(&mut runner, &yard.root.join("asked"));
    let mut told = Vec::new();
    while let Some(report) = runner.poll_report() {
        told.push(report);
    }
    let checked = |method, is_ok| ToEngine::FenceChecked { method, is_ok };
    assert_eq!(told, [checked(0, false), checked(2, true)], "the hook cannot be asked");
    fire(&mut runner, 1, 3);
    assert_eq!(outcome(&mut runner), (1, Confirmed), "the question was broken off");
    assert_eq!(
        yard.runs(),
        ["dead status", "stonith -t null -F /dev/stdin -S", "hanging status", "hanging reset beta"]
    );
}

#[test]
fn question_that_a_long_shot_broke_off_is_not_left_lying() {
    let yard = Yard::new();
    let body = "test $1 = status && { echo $$ >$W/new; mv $W/new $W/asked; exec sleep 600; }\n\
                while ! test -e $W/go; do sleep 0.02; done";
    let how = FenceHow::External { path: yard.script("slow", body), parameters: Parameters::default() };
    let mut runner = yard.fencing(vec![FenceMethod { name: "external/slow".into(), how, limit: PATIENCE }]);
    runner.check_fences(Instant::now());
    await_file(&mut runner, &yard.root.join("asked"));
    let process = PathBuf::from("/proc").join(yard.text("asked").trim());
    assert!(process.exists());
    fire(&mut runner, 1, 0);
    // Its process keeps whoever waits awake until it is reaped.
    drive(&mut runner, |_| !process.exists());
    assert!(runner.pending_fence().is_some());
    fs::write(yard.root.join("go"), "").unwrap();
    assert_eq!(outcome(&mut runner), (1, Confirmed));
}

#[test]
fn line_is_let_go_when_the_guardian_ends_during_a_pulse() {
    let yard = Yard::new();
    let how = FenceHow::Gpio { line: FenceLine::Power, pulse: PATIENCE, is_sensed: true };
    let mut runner = yard.fencing(vec![FenceMethod { name: "gpio power".into(), how, limit: 2 * PATIENCE }]);
    let wire = Wire::new(false);
    let (reset, sense) = (None, None::<WireInput>);
    runner.set_fence_pins(Box::new(HalPins { reset, power: Some(wire.output()), sense }));
    fire(&mut runner, 1, 0);
    assert_eq!(wire.driven(), Some(true));
    drop(runner);
    assert_eq!(wire.driven(), Some(false));
}

#[test]
fn node_without_a_partner_has_nothing_to_ask_and_is_never_late_with_it() {
    let yard = Yard::new();
    let mut config = yard.config(&[("alpha", "web")]);
    config.nodes = vec!["alpha".into()];
    assert_eq!(config.partner(), None);
    let mut runner = yard.runner(&config);
    let now = Instant::now();
    runner.check_fences(now);
    runner.turn(now);
    assert!(runner.is_on_time(now + PATIENCE));
}

#[test]
fn garbage_that_an_agent_prints_is_bounded() {
    let yard = Yard::new();
    let body = "head -c 3000000 /dev/urandom\nprintf 'a\\033[31m\\0b\\n' >&2";
    let mut runner = yard.fencing(vec![yard.hook("loud", body, PATIENCE)]);
    fire(&mut runner, 1, 0);
    assert_eq!(outcome(&mut runner), (1, Confirmed));
    assert!(yard.outputs().is_empty(), "its file is gone");
}
