//! Fencing between real daemons: shots by real programs, an observer outside both boards, cables that are cut, and a peer
//! whose board really loses its power when it is shot (docs/fencing.md).

mod lab;

use std::path::PathBuf;
use std::time::Duration;

use lab::evidence::saw;
use lab::{AT_HOME, Board, Lab, write_script};
use nix::sys::signal::Signal::{SIGKILL, SIGSTOP};

const ALPHA: usize = 0;
const BETA: usize = 1;
const BOTH: [&str; 2] = ["web", "mail"];

/// A fence program of the lab, the same for every method: it tells the observer when it begins and ends, and does what
/// the file `mode-NAME` in the board's folder says: `ok` (the default), `fail`, `hang`, `shoot` (asks for the partner's
/// power to be cut and waits for that), `wait` (for the file `go` in the lab's folder), `fork` (a child of it waits so),
/// `garbage`.
fn program(lab: &Lab, board: &Board, name: &str) -> String {
    format!(
        r#"#!/bin/sh
dir={dir}; lab={lab}
tell() {{ echo "{node} {name} $1" >{fifo}; }}
case $0 in
*fence_*) cat >$dir/input; action=$(sed -n 's/^action=//p' $dir/input); case $action in monitor) exit 0;; status) exit 2;; esac;;
*external*) case $1 in
    getconfignames) echo hostlist; exit 0;;
    gethosts) echo $hostlist | tr , ' '; exit 0;;
    status|getinfo-*) exit 0;;
    reset) ;;
    *) exit 1;;
    esac;;
esac
echo "$*" >>$dir/shots-{name}
tell begin
trap 'tell ended; exit 1' TERM
case $(cat $dir/mode-{name} 2>/dev/null) in
fail) tell end; exit 1;;
hang) trap '' TERM; while :; do sleep 0.1; done;;
fork) (tell waits; while ! [ -e $lab/go ]; do sleep 0.02; done; tell fired); tell end; exit 1;;
slow) while :; do sleep 0.1; done;;
wait) while ! [ -e $lab/go ]; do sleep 0.02; done;;
shoot) : >$lab/cut-{partner}; while ! [ -e $lab/is-off-{partner} ]; do sleep 0.02; done;;
garbage) head -c 2000000 /dev/urandom; printf '\033[31m\0' >&2; tell end; exit 1;;
esac
tell end
exit 0
"#,
        dir = board.dir.display(),
        lab = lab.dir.display(),
        node = board.name,
        partner = lab.boards[1 - board.index].name,
        fifo = lab.observer.fifo().display(),
    )
}

/// Where a hook of this name is.
fn hook(board: &Board, name: &str) -> PathBuf {
    board.dir.join(format!("hook-{name}"))
}

/// The usual bench with these lines in both files; `HOOK(name)` stands for the path of a hook of that name, `DIR` for the
/// board's folder. Powered, no daemon yet, with a plugin `external/lab` and an agent `fence_lab`.
fn bench(lines: &str) -> Lab {
    let mut lab = Lab::new(["alpha", "beta"]);
    for index in [ALPHA, BETA] {
        let ha_cf = {
            let board = &lab.boards[index];
            for name in ["one", "two"] {
                write_script(&hook(board, name), &program(&lab, board, name));
            }
            let lines = lines
                .replace("HOOK(one)", &hook(board, "one").display().to_string())
                .replace("HOOK(two)", &hook(board, "two").display().to_string())
                .replace("DIR", &board.dir.display().to_string());
            lab.usual_ha_cf(board, &lines)
        };
        lab.boards[index].configure(&ha_cf, AT_HOME);
        power_on(&mut lab, index);
    }
    lab
}

/// Cuts a board's power. What it remembers of this boot is in memory.
fn power_off(lab: &mut Lab, index: usize) {
    lab.power_off(index);
    let run = lab.boards[index].dir.join("run");
    std::fs::remove_dir_all(&run).and_then(|()| std::fs::create_dir(&run)).expect("an empty /run");
}

/// Power and programs for a board.
fn power_on(lab: &mut Lab, index: usize) {
    lab.boards[index].power_on();
    install(lab, index);
}

/// The plugin and the agent at their places, seen by this board alone.
fn install(lab: &Lab, index: usize) {
    let board = &lab.boards[index];
    for (folder, file, place) in
        [("external", "lab", "/usr/lib/stonith/plugins/external"), ("sbin", "fence_lab", "/usr/local/sbin")]
    {
        write_script(&board.dir.join(folder).join(file), &program(lab, board, file));
        let from = board.dir.join(folder).display().to_string();
        let output = board.on_board(&["mount", "--bind", &from, place]);
        assert!(output.status.success(), "{output:?}");
    }
}

/// The bench with both daemons at work, each with its own group.
fn at_home(lines: &str) -> Lab {
    let mut lab = bench(lines);
    for board in &mut lab.boards {
        board.start();
    }
    lab.wait_at_home();
    lab
}

fn set_mode(lab: &Lab, index: usize, name: &str, mode: &str) {
    std::fs::write(lab.boards[index].dir.join(format!("mode-{name}")), mode).expect("a file");
}

/// How often a board has fired by this program.
fn shots(lab: &Lab, index: usize, name: &str) -> usize {
    let path = lab.boards[index].dir.join(format!("shots-{name}"));
    std::fs::read_to_string(path).map_or(0, |text| text.lines().count())
}

/// Processes of a fence program that are at work on a board.
fn programs(lab: &Lab, index: usize, name: &str) -> usize {
    let found = lab.boards[index].on_board(&["pgrep", "-c", "-f", &format!("[h]ook-{name}")]).stdout;
    String::from_utf8_lossy(&found).trim().parse().expect("a number")
}

/// Pulls or plugs every cable between the boards.
fn cut_all(lab: &Lab, is_cut: bool) {
    lab.modem.cut(is_cut);
    lab.ethernet(BETA, !is_cut);
}

/// Waits until a board's status shows this.
#[track_caller]
fn wait_shown(lab: &Lab, index: usize, words: &str) {
    lab.wait(words, |lab| lab.boards[index].status_json().contains(words));
}

/// Asserts that the observer saw these, of which `board` did the first, in this order; each the first of its kind.
#[track_caller]
fn assert_order(lab: &Lab, steps: &[(&str, &str, &str)]) {
    let records = lab.observer.records();
    let mut last = 0;
    for (node, group, what) in steps {
        let is_it = |record: &lab::observer::Record| {
            (record.node.as_str(), record.group.as_str(), record.what.as_str()) == (*node, *group, *what)
        };
        let at = records.iter().position(is_it);
        assert!(at.is_some_and(|at| at >= last), "{node} {group} {what} at {at:?}, after {last}:\n{}", lab.describe());
        last = at.unwrap_or(0);
    }
}

/// Does as the power switch of a board when somebody shoots it.
#[track_caller]
fn serve_switch(lab: &mut Lab, index: usize) {
    let name = lab.boards[index].name.clone();
    let asked = lab.dir.join(format!("cut-{name}"));
    lab.wait("somebody shoots it", |_| asked.exists());
    power_off(lab, index);
    std::fs::write(lab.dir.join(format!("is-off-{name}")), "").expect("a file");
}

#[test]
fn owner_without_power_is_fenced_before_its_group_moves() {
    let mut lab = at_home("fence hook HOOK(one) limit 5");
    power_off(&mut lab, ALPHA);
    lab.wait_owner(BETA, &BOTH);
    assert_order(
        &lab,
        &[("alpha", "web", "off"), ("beta", "one", "begin"), ("beta", "one", "end"), ("beta", "web", "start-begin")],
    );
    wait_shown(&lab, BETA, "\"last\": \"confirmed\"");
    power_on(&mut lab, ALPHA);
    lab.boards[ALPHA].start();
    lab.wait_at_home();
    lab.assert_stays(ALPHA, &["web"], Duration::from_millis(1500));
    assert_eq!((shots(&lab, BETA, "one"), shots(&lab, ALPHA, "one")), (1, 0));
    // What was confirmed was about an earlier run of it: this one has to be fenced anew.
    set_mode(&lab, BETA, "one", "fail");
    power_off(&mut lab, ALPHA);
    lab.wait("it is shot at again", |lab| shots(lab, BETA, "one") == 2);
    wait_shown(&lab, BETA, "\"last\": \"failed\"");
    lab.assert_stays(BETA, &["mail"], Duration::from_secs(1));
    assert_eq!(lab.owners("web"), [0; 0], "taken without a confirmation");
    lab.assert_exclusive();
}

#[test]
fn method_that_fails_or_hangs_leads_to_the_next() {
    let mut lab = bench(
        "fence hook HOOK(one) limit 3\nfence hook HOOK(two) limit 1\nfence fence_lab passwd=secret action=off limit 3\nfence meatware\nfence_settle 2",
    );
    set_mode(&lab, ALPHA, "one", "garbage");
    set_mode(&lab, ALPHA, "two", "hang");
    for board in &mut lab.boards {
        board.start();
    }
    lab.wait_at_home();
    wait_shown(&lab, ALPHA, "\"is_answering\": true");
    power_off(&mut lab, BETA);
    lab.wait_owner(ALPHA, &BOTH);
    assert_order(
        &lab,
        &[
            ("alpha", "one", "end"),
            ("alpha", "two", "begin"),
            ("alpha", "fence_lab", "begin"),
            ("alpha", "fence_lab", "end"),
            ("alpha", "mail", "start-begin"),
        ],
    );
    assert_eq!(lab.observer.count("alpha", "two", "end"), 0, "it was killed");
    let input = std::fs::read_to_string(lab.boards[ALPHA].dir.join("input")).expect("what the agent read");
    assert_eq!(
        input, "action=status\npasswd=secret\nnodename=beta\nplug=beta\n",
        "it was asked whether the node is off"
    );
    let log = std::fs::read(lab.boards[ALPHA].dir.join("ha-debug")).expect("a log");
    assert!(log.len() < 600_000, "{} bytes of garbage", log.len());
    assert!(!log.contains(&0x1b) && !log.contains(&0), "control characters in the log");
    let text = String::from_utf8_lossy(&log);
    assert!(!text.contains("secret"), "a secret in the log");
    for line in ["took too long: killed", "node beta now reset."] {
        assert!(text.contains(line), "{line} is missing in\n{text}");
    }
    // What follows right after the garbage may not fit into the log pipe; then that is said.
    let is_told = text.contains("exited with return code 1") || text.contains("log lines of the guardian were dropped");
    assert!(is_told, "neither the failure nor what was dropped is told in\n{text}");
    lab.assert_exclusive();
}

#[test]
fn person_confirms_and_only_of_the_silent_partner() {
    let mut lab = at_home("fence meatware");
    let refused = lab.boards[ALPHA].nullbeat(&["fence", "--confirm", "beta"]);
    assert_eq!(refused.status.code(), Some(75), "it is alive: {refused:?}");
    power_off(&mut lab, BETA);
    wait_shown(&lab, ALPHA, "\"fence_pending\"");
    lab.wait("a person is called", |lab| lab.boards[ALPHA].log().contains("nullbeat fence --confirm beta"));
    lab.assert_stays(ALPHA, &["web"], Duration::from_secs(2));
    assert_eq!(lab.owners("mail"), [0; 0], "nothing is taken before");
    let page = lab.boards[ALPHA].nullbeat(&["fence"]);
    assert!(String::from_utf8_lossy(&page.stdout).contains("meatware"), "{page:?}");
    let wrong = lab.boards[ALPHA].nullbeat(&["fence", "--confirm", "alpha"]);
    assert_eq!(wrong.status.code(), Some(1), "{wrong:?}");
    let confirmed = lab.boards[ALPHA].nullbeat(&["fence", "--confirm", "beta"]);
    assert_eq!(confirmed.status.code(), Some(0), "{confirmed:?}");
    lab.wait_owner(ALPHA, &BOTH);
    lab.assert_exclusive();
}

#[test]
fn peer_that_returns_ends_the_shot() {
    let lab = at_home("fence hook HOOK(one) limit 30");
    for index in [ALPHA, BETA] {
        set_mode(&lab, index, "one", "slow");
    }
    cut_all(&lab, true);
    lab.wait("the shot has begun", |lab| lab.observer.count("alpha", "one", "begin") == 1);
    wait_shown(&lab, ALPHA, "\"last\": \"begun\"");
    cut_all(&lab, false);
    lab.wait("it was ended", |lab| lab.observer.count("alpha", "one", "ended") == 1);
    wait_shown(&lab, ALPHA, "\"last\": \"cancelled\"");
    lab.assert_stays(ALPHA, &["web"], Duration::from_secs(2));
    lab.assert_stays(BETA, &["mail"], Duration::from_millis(1));
    assert_eq!((shots(&lab, ALPHA, "one"), shots(&lab, BETA, "one")), (1, 0), "nothing more is fired");
    lab.assert_exclusive();
}

#[test]
fn cut_cables_kill_one_board_and_there_are_never_two_owners() {
    let mut lab = at_home("fence hook HOOK(one) limit 10");
    for index in [ALPHA, BETA] {
        set_mode(&lab, index, "one", "shoot");
    }
    cut_all(&lab, true);
    serve_switch(&mut lab, BETA);
    lab.wait_owner(ALPHA, &BOTH);
    assert_order(
        &lab,
        &[
            ("alpha", "one", "begin"),
            ("beta", "mail", "off"),
            ("alpha", "one", "end"),
            ("alpha", "mail", "start-begin"),
        ],
    );
    // Its Ethernet comes with its power.
    lab.modem.cut(false);
    power_on(&mut lab, BETA);
    lab.boards[BETA].start();
    lab.wait_at_home();
    assert_eq!(
        (shots(&lab, ALPHA, "one"), shots(&lab, BETA, "one")),
        (1, 0),
        "the other one waited and was off by then"
    );
    lab.assert_exclusive();
}

#[test]
fn device_that_lies_is_found_out_and_not_believed_again() {
    let lab = at_home("fence hook HOOK(one) limit 5");
    cut_all(&lab, true);
    // It says that beta is off, which is not so: no program can know better.
    lab.wait("alpha believes it", |lab| lab.runners("mail").contains(&ALPHA));
    cut_all(&lab, false);
    wait_shown(&lab, ALPHA, "\"fence_lied\"");
    assert!(lab.boards[ALPHA].log().contains("fencing cannot be trusted"), "{}", lab.boards[ALPHA].log());
    lab.wait_at_home();
    // Beta has to hear that alpha has let go: cut off before, it knows of two owners and of one that does not hear it.
    let heard = || lab.boards[BETA].received().iter().sum::<u64>();
    let before = heard();
    lab.wait("beta hears what alpha holds", |_| heard() > before + 10);
    let before = shots(&lab, ALPHA, "one");
    cut_all(&lab, true);
    wait_shown(&lab, ALPHA, "\"fence_pending\"");
    lab.assert_stays(BETA, &["mail"], Duration::from_secs(3));
    assert_eq!(shots(&lab, ALPHA, "one"), before, "it is not asked again");
    cut_all(&lab, false);
}

#[test]
fn confirmation_outlives_the_engine() {
    let mut lab = at_home("fence hook HOOK(one) limit 5");
    std::fs::write(lab.boards[ALPHA].dir.join("slow-mail"), "2").expect("a file");
    power_off(&mut lab, BETA);
    lab.wait("it is confirmed", |lab| lab.observer.count("alpha", "one", "end") == 1);
    wait_shown(&lab, ALPHA, "\"last\": \"confirmed\"");
    lab.boards[ALPHA].signal("engine", SIGKILL);
    lab.wait_owner(ALPHA, &BOTH);
    assert_eq!(shots(&lab, ALPHA, "one"), 1, "no second shot");
    lab.assert_exclusive();
}

#[test]
fn shot_under_way_is_taken_over_by_the_next_engine() {
    let mut lab = at_home("fence hook HOOK(one) limit 20\nfence_settle 600");
    set_mode(&lab, ALPHA, "one", "wait");
    power_off(&mut lab, BETA);
    lab.wait("the shot has begun", |lab| lab.observer.count("alpha", "one", "begin") == 1);
    let old = lab.boards[ALPHA].pids("engine");
    lab.boards[ALPHA].signal("engine", SIGKILL);
    lab.wait("another engine", |lab| {
        let new = lab.boards[ALPHA].pids("engine");
        new.len() == 1 && new != old
    });
    wait_shown(&lab, ALPHA, "\"dead\"");
    std::fs::write(lab.dir.join("go"), "").expect("a file");
    lab.wait_owner(ALPHA, &BOTH);
    assert_eq!(shots(&lab, ALPHA, "one"), 1, "no second shot");
    lab.assert_exclusive();
}

#[test]
fn shot_whose_engine_and_guardian_died_counts_as_failed_and_the_next_one_waits() {
    let mut lab = at_home("fence hook HOOK(one) limit 5\nfence_settle 4");
    set_mode(&lab, ALPHA, "one", "fork");
    power_off(&mut lab, BETA);
    lab.wait("the shot has begun", |lab| lab.observer.count("alpha", "one", "waits") == 1);
    let begun = std::time::Instant::now();
    for signal in [SIGSTOP, SIGKILL] {
        for role in ["logger", "guardian", "engine"] {
            lab.boards[ALPHA].signal(role, signal);
        }
    }
    set_mode(&lab, ALPHA, "one", "ok");
    lab.wait("the program has died with its guardian, and not its child", |lab| programs(lab, ALPHA, "one") == 1);
    lab.wait("the run directory is free", |lab| lab.boards[ALPHA].pids("engine").is_empty());
    lab.boards[ALPHA].start();
    lab.wait_owner(ALPHA, &BOTH);
    assert!(begun.elapsed() >= Duration::from_secs(4), "{:?}: too early\n{}", begun.elapsed(), lab.describe());
    assert_eq!(shots(&lab, ALPHA, "one"), 2);
    assert_eq!(programs(&lab, ALPHA, "one"), 0, "its child would have fired yet");
    assert_eq!(lab.observer.count("alpha", "one", "fired"), 0);
    lab.assert_exclusive();
}

#[test]
fn failing_fences_end_with_an_alarm_until_somebody_resumes() {
    let mut lab = at_home("fence hook HOOK(one) limit 1\nfences_per_hour 1");
    set_mode(&lab, ALPHA, "one", "fail");
    power_off(&mut lab, BETA);
    wait_shown(&lab, ALPHA, "\"fence_latched\"");
    assert_eq!(shots(&lab, ALPHA, "one"), 1);
    // The number outlives the board's own reset.
    power_off(&mut lab, ALPHA);
    power_on(&mut lab, ALPHA);
    lab.boards[ALPHA].start();
    wait_shown(&lab, ALPHA, "\"fence_latched\"");
    assert_eq!(shots(&lab, ALPHA, "one"), 1, "no fence loop");
    set_mode(&lab, ALPHA, "one", "ok");
    let output = lab.boards[ALPHA].nullbeat(&["resume"]);
    assert!(output.status.success(), "{output:?}");
    lab.wait_owner(ALPHA, &BOTH);
    assert_eq!(shots(&lab, ALPHA, "one"), 2);
}

#[test]
fn plugin_of_cluster_glue_runs_with_its_parameters() {
    let mut lab = at_home("fence external/lab hostlist=beta,alpha extra=1 limit 5");
    wait_shown(&lab, ALPHA, "\"is_answering\": true");
    power_off(&mut lab, BETA);
    lab.wait_owner(ALPHA, &BOTH);
    assert_order(&lab, &[("alpha", "lab", "begin"), ("alpha", "lab", "end"), ("alpha", "mail", "start-begin")]);
    let words = std::fs::read_to_string(lab.boards[ALPHA].dir.join("shots-lab")).expect("its words");
    assert_eq!(words, "reset beta\n");
    let what = "run by nullbeat for `fence external/lab`: what its plugin is told, what is started then";
    let started = lab.observer.count("alpha", "mail", "start-begin");
    saw("/usr/sbin/stonith", what, "reset beta; 1 start", &format!("{}; {started} start", words.trim_end()));
    lab.assert_exclusive();
}

/// Agents as Debian's fence-agents has them. The switch of `fence_dummy` is a file; `fence_ipmilan` finds nobody to talk to.
#[test]
fn packaged_agents_are_asked_fail_and_confirm() {
    let mut lab = bench(
        "fence fence_ipmilan ip=127.0.0.1 username=admin password=hush-hush action=off limit 20\n\
         fence fence_dummy type=file status_file=DIR/switch action=off limit 20",
    );
    let switch = lab.boards[ALPHA].dir.join("switch");
    std::fs::write(&switch, "on").expect("a file");
    for board in &mut lab.boards {
        board.start();
    }
    lab.wait_at_home();
    // `monitor` of both.
    wait_shown(&lab, ALPHA, "\"is_answering\": false");
    wait_shown(&lab, ALPHA, "\"is_answering\": true");
    wait_shown(&lab, ALPHA, "\"fence_device\"");
    power_off(&mut lab, BETA);
    lab.wait_owner(ALPHA, &BOTH);
    assert_eq!(std::fs::read_to_string(&switch).expect("the switch"), "off");
    let log = lab.boards[ALPHA].log();
    let place = |text: &str| log.find(text).unwrap_or_else(|| panic!("no `{text}` in\n{log}"));
    let failed = place("Resetting node beta with [fence_ipmilan]");
    assert!(failed < place("Resetting node beta with [fence_dummy]"));
    assert!(place("Success: Powered OFF") < place("node beta now reset."), "it says what it did");
    assert!(!log.contains("hush-hush"), "a secret in the log");
    lab.assert_exclusive();
}

#[test]
fn stonith_host_works_as_it_stands_beside_a_real_heartbeat() {
    let mut lab = Lab::mixed(AT_HOME);
    let ha_cf = lab.shared_ha_cf(&lab.boards[ALPHA])
        + &format!("reset_with hook {}\n", lab.boards[ALPHA].reset_hook().display())
        + "stonith_host * external/lab beta\n";
    lab.boards[ALPHA].configure(&ha_cf, AT_HOME);
    power_on(&mut lab, ALPHA);
    lab.boards[BETA].power_on();
    for board in &mut lab.boards {
        board.start();
    }
    lab.wait_owner(ALPHA, &["web"]);
    lab.wait_owner(BETA, &["mail"]);
    wait_shown(&lab, ALPHA, "\"is_answering\": true");
    power_off(&mut lab, BETA);
    lab.wait_owner(ALPHA, &BOTH);
    assert_order(&lab, &[("alpha", "lab", "begin"), ("alpha", "lab", "end"), ("alpha", "mail", "start-begin")]);
    lab.wait("the result is told", |lab| {
        let said = lab.modem.said(ALPHA);
        let said = String::from_utf8_lossy(&said);
        let is_it =
            |message: &str| ["t=stonith\n", "node=beta\n", "result=OK\n"].iter().all(|line| message.contains(line));
        said.split("###").any(is_it)
    });
    lab.boards[BETA].power_on();
    lab.boards[BETA].start();
    lab.wait_owner(BETA, &["mail"]);
    assert_eq!(shots(&lab, ALPHA, "lab"), 1);
    lab.assert_exclusive();
}
