//! nullbeat called as `heartbeat`: the packaged program on beta and ours in its place on alpha get the same command
//! lines, the same signals, and are called by the same init script.

mod lab;

use std::process::Output;
use std::time::Duration;

use lab::evidence::saw;
use lab::{Lab, NULLBEAT};
use nix::sys::signal::Signal;

const RESOURCES: &str = "alpha trace::web\nbeta trace::mail\n";
/// The board on which nullbeat has taken the place of Heartbeat's program.
const OURS: usize = 0;
const THEIRS: usize = 1;
const PROGRAM: &str = "/usr/libexec/heartbeat/heartbeat";
const PID_FILE: &str = "/run/heartbeat.pid";

/// What a command line came to, with what differs from run to run taken out: numbers, and the names of the boards.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    code: Option<i32>,
    stdout: String,
    stderr: Vec<String>,
}

fn without_numbers(text: &str) -> String {
    let mut out = String::new();
    for character in text.chars() {
        if !character.is_ascii_digit() {
            out.push(character);
        } else if !out.ends_with('N') {
            out.push('N');
        }
    }
    out
}

/// The lines of standard error that Heartbeat has and we have too. The rest is what each finds in ha.cf, in words of its
/// own.
fn is_shared(line: &str) -> bool {
    const SHARED: [&str; 12] = [
        "invalid option",
        "requires an argument",
        "Usage",
        "only valid with",
        "exclusive with",
        "already",
        "not running",
        "Signalling",
        "NOT restarted",
        "not started",
        "Configuration validated",
        "Authentication configuration error",
    ];
    SHARED.iter().any(|part| line.contains(part))
}

fn heartbeat(lab: &Lab, index: usize, words: &[&str]) -> Outcome {
    let Output { status, stdout, stderr } = lab.boards[index].heartbeat(words);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace("alpha", "NODE").replace("beta", "NODE");
    // Some of its words on standard error have no end of line.
    let stderr = text(&stderr).replace("media statements", "media statements\n");
    let lines = stderr.lines().filter(|line| is_shared(line)).map(without_numbers);
    let stdout = without_numbers(&text(&stdout));
    Outcome { code: status.code(), stdout, stderr: lines.collect() }
}

/// Gives both programs the same words and asserts that they do the same with the same exit code.
#[track_caller]
fn assert_same(lab: &Lab, words: &str, code: i32) {
    let words: Vec<&str> = words.split_whitespace().collect();
    let (ours, theirs) = (heartbeat(lab, OURS, &words), heartbeat(lab, THEIRS, &words));
    assert_eq!(ours, theirs, "heartbeat {words:?}: ours, then theirs");
    assert_eq!(ours.code, Some(code), "heartbeat {words:?}: {ours:?}");
    let told = |outcome: &Outcome| format!("exit code {}", outcome.code.unwrap_or(-1));
    let words = [&["heartbeat"], &words[..]].concat().join(" ");
    let what = format!("nullbeat in its place, in the same words: `{words}` with exit code {code}");
    saw(PROGRAM, &what, &told(&theirs), &told(&ours));
}

fn text_on(lab: &Lab, index: usize, path: &str) -> String {
    String::from_utf8(lab.boards[index].on_board(&["cat", path]).stdout).expect("text")
}

fn signal(lab: &Lab, index: usize, name: &str) {
    let pid = text_on(lab, index, PID_FILE);
    let output = lab.boards[index].on_board(&["kill", &format!("-{name}"), pid.trim()]);
    assert!(output.status.success(), "{output:?}");
}

fn append(lab: &Lab, index: usize, file: &str, text: &str) {
    let path = lab.boards[index].config_dir().join(file);
    let before = std::fs::read_to_string(&path).expect("the file");
    std::fs::write(&path, before + text).expect("the file");
}

#[track_caller]
fn wait_home(lab: &Lab) {
    lab.wait_owner(OURS, &["web"]);
    lab.wait_owner(THEIRS, &["mail"]);
}

/// Both daemons in the background, each with its own group.
fn both_at_home() -> Lab {
    let lab = Lab::swapped(RESOURCES);
    for board in &lab.boards {
        let output = board.heartbeat(&[]);
        assert!(output.status.success(), "{output:?}");
    }
    wait_home(&lab);
    lab
}

#[test]
fn command_lines_do_what_those_of_the_packaged_program_do() {
    let lab = Lab::swapped(RESOURCES);
    for (words, code) in [
        ("-s", 3),
        ("-k", 0),
        ("-x", 2),
        ("--help", 2),
        ("-C", 2),
        ("-C all", 2),
        ("-C local -s", 2),
        ("-R", 6),
        ("-r -R", 6),
        ("-D", 0),
        ("-DW", 0),
        ("-D extra words", 0),
    ] {
        assert_same(&lab, words, code);
    }
    assert_same(&lab, "-v", 0);
    let pid_file = |index: usize| text_on(&lab, index, PID_FILE);
    assert!([OURS, THEIRS].iter().all(|&index| pid_file(index).len() == 11 && pid_file(index).ends_with('\n')));
    assert_eq!(without_numbers(&pid_file(OURS)).trim(), "N");
    let mode = |index: usize| lab.boards[index].on_board(&["stat", "-c", "%a %U", PID_FILE]).stdout;
    assert_eq!(mode(OURS), mode(THEIRS));
    for (words, code) in [("-s", 0), ("-sV -s extra", 0), ("-R -C all", 1), ("-R -C bogus", 1)] {
        // The version has what it really is behind it.
        if words.contains('V') {
            let version = |index: usize| heartbeat(&lab, index, &["-s", "-V"]).stdout;
            assert!(version(OURS).starts_with("N.N.N (nullbeat") && version(THEIRS).starts_with("N.N.N (node"));
        } else {
            assert_same(&lab, words, code);
        }
    }
    for words in ["", "-f", "-M", "-l"] {
        assert_same(&lab, words, 0);
    }
    wait_home(&lab);
    assert_same(&lab, "-r", 0);
    for index in [OURS, THEIRS] {
        lab.wait("nothing has changed", |lab| lab.boards[index].log().contains("Configuration unchanged."));
        append(&lab, index, "ha.cf", "keepalive 1x\n");
    }
    assert_same(&lab, "-r", 1);
    assert_same(&lab, "-s", 0);
    assert_same(&lab, "-k", 0);
    lab.wait("both have ended", |lab| ["web", "mail"].iter().all(|group| lab.owners(group).is_empty()));
    for words in ["", "-f", "-r"] {
        assert_same(&lab, words, 6);
    }
    // It leaves its pid file behind, and takes that for a daemon that was killed.
    assert_eq!(heartbeat(&lab, OURS, &["-s"]).code, Some(3));
    assert_eq!(heartbeat(&lab, THEIRS, &["-s"]).code, Some(1));
    for board in &lab.boards {
        assert!(board.on_board(&["sh", "-c", "echo '   4194300' >/run/heartbeat.pid"]).status.success());
    }
    assert_same(&lab, "-s", 1);
    assert_same(&lab, "-k", 0);
    lab.assert_exclusive();
}

#[test]
fn somebody_without_the_right_gets_the_codes_of_the_packaged_program() {
    let lab = both_at_home();
    let program = |index: usize, option: &str| {
        let find = "dpkg -L heartbeat | grep '^/usr/.*/heartbeat/heartbeat$'";
        let words = format!("exec $({find}) {option}");
        let output =
            lab.boards[index].on_board(&["setpriv", "--reuid=hacluster", "--clear-groups", "sh", "-c", &words]);
        output.status.code()
    };
    for (option, code) in [("-s", 0), ("-k", 4), ("-r", 4), ("", 4)] {
        assert_eq!(program(OURS, option), program(THEIRS, option), "{option}");
        assert_eq!(program(OURS, option), Some(code), "{option}");
    }
    lab.assert_stays(OURS, &["web"], Duration::from_millis(500));
}

#[test]
fn signals_do_what_they_do_to_the_packaged_program() {
    let lab = both_at_home();
    for index in [OURS, THEIRS] {
        let mode = lab.boards[index].on_board(&["stat", "-c", "%a %F", "/run/heartbeat/rsctmp"]).stdout;
        assert_eq!(String::from_utf8_lossy(&mode), "1755 directory\n", "what scripts keep their notes in");
        let says = |text: &str| lab.wait(text, |lab| lab.boards[index].log().contains(text));
        signal(&lab, index, "USR1");
        says("debug: debug now set to 1 [pid ");
        signal(&lab, index, "USR1");
        says("debug: debug now set to 2 [pid ");
        signal(&lab, index, "USR2");
        signal(&lab, index, "USR2");
        lab.wait("it is set back", |lab| lab.boards[index].log().matches("debug now set to 1 [pid ").count() == 2);
        signal(&lab, index, "INT");
        signal(&lab, index, "PIPE");
        signal(&lab, index, "ALRM");
        says("ERROR: Unexpected alarm in process ");
        signal(&lab, index, "HUP");
        says("info: Configuration unchanged.");
    }
    wait_home(&lab);
    assert_same(&lab, "-s", 0);

    // Keys that nobody can use stay out; the packaged program ends itself over them.
    let ours = &lab.boards[OURS];
    let says = |text: &str| lab.wait(text, |lab| lab.boards[OURS].log().contains(text));
    let pid = text_on(&lab, OURS, PID_FILE);
    ours.authkeys("auth 7\n1 sha1 a-key-for-the-lab\n");
    signal(&lab, OURS, "HUP");
    says("info: Rereading authentication file.");
    says("everything stays as it was");
    // New ones that the peer has as well.
    ours.authkeys("auth 1\n1 sha1 a-key-for-the-lab\n2 md5 another\n");
    signal(&lab, OURS, "HUP");
    says("info: Configuration reloaded.");
    // A changed ha.cf: the peer sees a restart, and nobody die.
    append(&lab, OURS, "ha.cf", "warntime 1500ms\n");
    let output = ours.heartbeat(&["-r"]);
    assert!(output.status.success(), "{output:?}");
    says("info: Heartbeat restart triggered.");
    lab.wait("it is done", |lab| lab.boards[OURS].log().matches("info: Configuration reloaded.").count() == 2);
    assert_eq!(text_on(&lab, OURS, PID_FILE), pid);
    lab.assert_stays(OURS, &["web"], Duration::from_secs(4));
    lab.assert_stays(THEIRS, &["mail"], Duration::from_millis(100));
    assert!(!lab.boards[THEIRS].log().contains("node alpha: is dead"), "{}", lab.boards[THEIRS].log());

    signal(&lab, OURS, "TERM");
    lab.wait_owner(THEIRS, &["web", "mail"]);
    lab.wait("its pid file is gone", |lab| text_on(lab, OURS, PID_FILE).is_empty());
    assert!(lab.boards[THEIRS].log().contains("Received shutdown notice from 'alpha'."));
    lab.assert_exclusive();
}

#[test]
fn two_daemons_never_run_on_one_board() {
    let lab = both_at_home();
    // The packaged program finds our pid file. What it does not know has to leave ha.cf first, as before any way back.
    let path = lab.boards[OURS].config_dir().join("ha.cf");
    let text = std::fs::read_to_string(&path).expect("ha.cf");
    let known: Vec<&str> = text.lines().filter(|line| !line.starts_with("reset_with")).collect();
    std::fs::write(&path, known.join("\n") + "\n").expect("ha.cf");
    let ours = &lab.boards[OURS];
    let find = "dpkg -L heartbeat | grep '^/usr/.*/heartbeat/heartbeat$'";
    let original = format!("umount -l $({find}) && $({find}); echo $?; $({find}) -s");
    let output = ours.on_board(&["sh", "-c", &original]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("heartbeat: already running [pid "), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stdout).starts_with("0\nheartbeat OK [pid "), "{output:?}");
    // Ours finds that of the packaged one.
    let theirs = lab.boards[THEIRS].on_board(&[NULLBEAT, "run"]);
    assert_eq!(theirs.status.code(), Some(75), "{theirs:?}");
    assert!(String::from_utf8_lossy(&theirs.stderr).contains("Heartbeat runs on this board"), "{theirs:?}");
    // After the swap, with the original still at work: status tells of it, a start leaves it alone, a stop stops it.
    lab.boards[THEIRS].swap_program();
    for (option, code) in [("-s", 0), ("-f", 0), ("-k", 0)] {
        let output = lab.boards[THEIRS].heartbeat(&[option]);
        assert_eq!(output.status.code(), Some(code), "{option}: {output:?}");
    }
    lab.wait_owner(OURS, &["web", "mail"]);
    // And the other way: the original stops ours.
    let output = ours.on_board(&["sh", "-c", &format!("$({find}) -k")]);
    assert!(output.status.success(), "{output:?}");
    lab.wait("nothing runs", |lab| ["web", "mail"].iter().all(|group| lab.owners(group).is_empty()));
    lab.assert_exclusive();
}

#[test]
fn killed_daemon_is_told_adopted_and_released() {
    let lab = both_at_home();
    let ours = &lab.boards[OURS];
    let code = |option: &str| ours.heartbeat(&[option]).status.code();
    signal(&lab, OURS, "KILL");
    lab.wait("it is told", |_| code("-s") == Some(1));
    lab.assert_stays(OURS, &["web"], Duration::from_millis(500));
    assert!(ours.heartbeat(&[]).status.success());
    assert_eq!(code("-s"), Some(0));
    lab.assert_stays(OURS, &["web"], Duration::from_secs(4));
    assert!(!lab.boards[THEIRS].log().contains("node alpha: is dead"), "{}", lab.boards[THEIRS].log());

    // All of them at once: what they held runs on, until somebody says `-k`.
    for role in ["logger", "engine"] {
        ours.signal(role, Signal::SIGSTOP);
    }
    signal(&lab, OURS, "KILL");
    for role in ["logger", "engine"] {
        ours.signal(role, Signal::SIGKILL);
    }
    lab.wait("it is told", |_| code("-s") == Some(1));
    assert_eq!(lab.owners("web"), [OURS]);
    assert_eq!(code("-k"), Some(0));
    assert!(!lab.owners("web").contains(&OURS));
    lab.wait_owner(THEIRS, &["web", "mail"]);
    assert_eq!(code("-s"), Some(3));
    lab.assert_exclusive();
}

#[test]
fn option_m_brings_communication_alone_and_option_l_no_realtime_class() {
    let lab = Lab::swapped(RESOURCES);
    // No resource management on either node: nobody needs haresources.
    for board in &lab.boards {
        std::fs::remove_file(board.config_dir().join("haresources")).expect("it is there");
        let output = board.heartbeat(&["-M", "-l"]);
        assert!(output.status.success(), "{output:?}");
    }
    for (index, peer) in [(OURS, "beta"), (THEIRS, "alpha")] {
        let line = format!("Status update for node {peer}: status active");
        lab.wait(&line, |lab| lab.boards[index].log().contains(&line));
    }
    let class = |index: usize| {
        let pid = text_on(&lab, index, PID_FILE);
        String::from_utf8_lossy(&lab.boards[index].on_board(&["chrt", "-p", pid.trim()]).stdout).into_owned()
    };
    assert!(class(OURS).contains("SCHED_OTHER"), "{}", class(OURS));
    assert_same(&lab, "-k", 0);
    assert!(["web", "mail"].iter().all(|group| lab.owners(group).is_empty()));
}
