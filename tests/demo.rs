//! `nullbeat demo` as a user starts it: piped, on a terminal, without root, interrupted, and with a node that dies.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};

/// Nobody, on every system.
const NOBODY: u32 = 65_534;
/// What the demo may take.
const LIMIT: Duration = Duration::from_secs(30);

/// A directory that everybody may use, with a copy of the program that everybody may run.
struct Place(PathBuf);

impl Place {
    fn new() -> Self {
        let root = nix::unistd::mkdtemp(&std::env::temp_dir().join("nullbeat-demo-test-XXXXXX")).unwrap();
        fs::set_permissions(&root, fs::Permissions::from_mode(0o1777)).unwrap();
        let program = root.join("nullbeat");
        // By another process: a child that another test forks at this moment would inherit the open copy, and a file
        // that is open for writing cannot be run.
        let copy = Command::new("cp").arg(env!("CARGO_BIN_EXE_nullbeat")).arg(&program).status().unwrap();
        assert!(copy.success());
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        fs::create_dir(root.join("tmp")).unwrap();
        fs::set_permissions(root.join("tmp"), fs::Permissions::from_mode(0o1777)).unwrap();
        Self(root)
    }

    /// The demo, with a directory for temporary files that is empty before.
    fn demo(&self) -> Command {
        let mut command = Command::new(self.0.join("nullbeat"));
        command.arg("demo").env("TMPDIR", self.tmp()).env("TERM", "xterm").stdin(Stdio::null()).current_dir("/");
        command
    }

    fn tmp(&self) -> PathBuf {
        self.0.join("tmp")
    }

    /// What the demo has left behind.
    fn left(&self) -> Vec<PathBuf> {
        fs::read_dir(self.tmp()).unwrap().map(|entry| entry.unwrap().path()).collect()
    }

    /// Processes that run this copy of the program. It is asked when none may be left, and there may be a moment
    /// between the end of the demo and that of a process which it has killed.
    fn assert_nothing_runs(&self) {
        let deadline = Instant::now() + LIMIT;
        while !self.running().is_empty() {
            assert!(Instant::now() < deadline, "still running: {:?}", self.running());
            std::thread::yield_now();
        }
    }

    fn running(&self) -> Vec<i32> {
        let program = self.0.join("nullbeat");
        let processes = fs::read_dir("/proc").unwrap().flatten();
        let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
        pids.filter(|pid| fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe == program)).collect()
    }

    /// The first process of a node of the running demo.
    fn guardian(&self, demo: &Child, node: &str) -> Option<Pid> {
        self.running().into_iter().find_map(|pid| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            let parent: u32 = stat[stat.rfind(')')? + 1..].split_ascii_whitespace().nth(1)?.parse().ok()?;
            let is_node = line.split(|byte| *byte == 0).any(|word| word == node.as_bytes());
            (is_node && parent == demo.id()).then(|| Pid::from_raw(pid))
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The lines of the time line: milliseconds, who, what.
fn time_line(text: &str) -> Vec<(u64, String)> {
    let mut lines = text.lines().skip_while(|line| !line.starts_with("time line"));
    assert!(lines.next().is_some(), "no time line in:\n{text}");
    lines
        .take_while(|line| !line.is_empty())
        .map(|line| {
            let mut words = line.split_ascii_whitespace();
            let at = words.next().unwrap().parse().unwrap_or_else(|_| panic!("no time in `{line}`"));
            (at, words.collect::<Vec<_>>().join(" "))
        })
        .collect()
}

/// What has to stand in the time line, in this order.
const STORY: &[&str] = &[
    "power alpha on",
    "alpha web started",
    "plug serial cable pulled",
    "plug serial cable plugged in",
    "plug network pulled",
    "plug network plugged in",
    "alpha told `standby all`",
    "alpha web stopped",
    "beta web started",
    "beta told `failback`",
    "beta web stopped",
    "alpha web started",
    "power alpha cut off",
    "beta web started",
    "power alpha on",
    "beta web stopped",
    "alpha web started",
    "plug serial cable pulled",
    "plug network pulled",
    "beta web started",
    "observer two owners, as announced",
    "plug serial cable plugged in",
    "plug network plugged in",
    "beta web stopped",
    "alpha told `stop`",
    "alpha web stopped",
    "beta web started",
    "alpha all processes gone",
    "beta told `stop`",
    "beta web stopped",
    "beta all processes gone",
];

/// And at the end of it: what comes between depends on how busy the machine is.
const RACE: &[&str] = &[
    "plug network pulled",
    "power alpha on",
    "alpha web started",
    "power alpha cut off",
    "alpha web lost with the power",
    "beta web started",
    "beta told `stop`",
    "beta web stopped",
    "beta all processes gone",
];

/// The service never moved but where the story says so.
fn assert_story(text: &str) {
    let mut line = time_line(text);
    assert!(line.is_sorted_by_key(|(at, _)| *at), "{text}");
    let race = line.iter().rposition(|(_, what)| what == RACE[0]).expect("a race");
    let race = line.split_off(race);
    let mut rest = race.iter();
    let missing = RACE.iter().find(|what| !rest.any(|(_, said)| said == *what));
    assert_eq!(missing, None, "{text}");
    let mut story = STORY.iter();
    let mut next = story.next();
    for (_, what) in &line {
        if next == Some(&what.as_str()) {
            next = story.next();
        } else {
            assert!(!what.contains(" web st"), "`{what}` where {next:?} is expected:\n{text}");
        }
    }
    assert_eq!(next, None, "{text}");
}

#[test]
fn demo_piped_tells_the_whole_story_with_and_without_root() {
    let users = if geteuid().is_root() { vec![None, Some(NOBODY)] } else { vec![None] };
    for user in users {
        let place = Place::new();
        let mut command = place.demo();
        if let Some(user) = user {
            command.uid(user).gid(user);
        }
        let began = Instant::now();
        let output = command.output().unwrap();
        let (text, errors) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
        assert!(output.status.success(), "as {user:?}: {}\n{text}\n{errors}", output.status);
        assert!(began.elapsed() < LIMIT, "{:?}", began.elapsed());
        assert_eq!(errors, "");
        assert!(!text.contains('\x1b'), "plain lines only");
        assert!(text.contains("permits two owners"), "{text}");
        assert_eq!(text.matches("\n    ok: ").count(), 13, "{text}");
        assert_story(&text);
        assert!(place.left().is_empty(), "left behind: {:?}", place.left());
        place.assert_nothing_runs();
    }
}

/// A terminal of 80 columns, the demo on it, and what it has drawn so far.
struct Terminal {
    master: File,
    demo: Child,
    text: String,
}

impl Terminal {
    fn start(mut command: Command) -> Self {
        let size = nix::pty::Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
        let pty = nix::pty::openpty(Some(&size), None).unwrap();
        let demo = command.stdout(pty.slave).env("LC_ALL", "C.UTF-8").stderr(Stdio::piped()).spawn().unwrap();
        Self { master: pty.master.into(), demo, text: String::new() }
    }

    /// Reads until this is on the screen; the end of the demo before that is a failure.
    fn until(&mut self, what: &str) {
        let mut chunk = [0; 4096];
        while !self.text.contains(what) {
            let count = self.master.read(&mut chunk).unwrap_or(0);
            assert!(count > 0, "it ended before it drew `{what}`:\n{}", self.text);
            self.text.push_str(&String::from_utf8_lossy(&chunk[..count]));
        }
    }

    /// Reads to the end.
    fn end(mut self) -> (ExitStatus, String, String) {
        let mut chunk = [0; 4096];
        // The end of a terminal is an error: nobody has the other side open any more.
        while let Ok(count @ 1..) = self.master.read(&mut chunk) {
            self.text.push_str(&String::from_utf8_lossy(&chunk[..count]));
        }
        let mut errors = String::new();
        self.demo.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
        (self.demo.wait().unwrap(), self.text, errors)
    }
}

#[test]
fn demo_on_a_terminal_draws_and_gives_it_back_when_interrupted() {
    let place = Place::new();
    let mut terminal = Terminal::start(place.demo());
    terminal.until("● runs web");
    terminal.until("✗ pulled");
    kill(Pid::from_raw(i32::try_from(terminal.demo.id()).unwrap()), Signal::SIGINT).unwrap();
    let (status, text, errors) = terminal.end();
    assert_eq!(status.code(), Some(1));
    assert!(errors.contains("interrupted"), "{errors}");
    let (enter, leave) = (text.find("\x1b[?1049h").unwrap(), text.find("\x1b[?1049l").unwrap());
    assert!(enter < leave && text[leave..].contains("time line") && text[leave..].contains("not finished"), "{text}");
    assert!(place.left().is_empty(), "left behind: {:?}", place.left());
    place.assert_nothing_runs();
}

#[test]
fn demo_with_a_node_that_dies_fails_and_keeps_the_logs() {
    let place = Place::new();
    let mut demo = place.demo().stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut text = String::new();
    let mut out = demo.stdout.take().unwrap();
    let mut chunk = [0; 4096];
    while !text.contains("ok: alpha runs web") {
        let count = out.read(&mut chunk).unwrap();
        assert!(count > 0, "it ended early:\n{text}");
        text.push_str(&String::from_utf8_lossy(&chunk[..count]));
    }
    kill(place.guardian(&demo, "beta").unwrap(), Signal::SIGKILL).unwrap();
    out.read_to_string(&mut text).unwrap();
    let output = demo.wait_with_output().unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(errors.contains("FAILED: beta has ended by itself"), "{errors}");
    let left = place.left();
    let [root] = left.as_slice() else { panic!("one directory is kept: {left:?}") };
    assert!(errors.contains(&format!("files and logs: {}", root.display())), "{errors}");
    assert!(contains(&root.join("alpha/log"), "alpha"), "with the log");
    place.assert_nothing_runs();
}

fn contains(file: &Path, what: &str) -> bool {
    fs::read_to_string(file).unwrap().contains(what)
}

#[test]
fn demo_refuses_what_it_does_not_know_and_a_place_that_files_cannot_name() {
    let place = Place::new();
    let output = place.demo().arg("--kep").output().unwrap();
    assert_eq!(output.status.code(), Some(64));
    assert!(String::from_utf8(output.stderr).unwrap().contains("did you mean `--keep`?"));

    let odd = place.tmp().join("with blank");
    fs::create_dir(&odd).unwrap();
    let output = place.demo().env("TMPDIR", &odd).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr).unwrap().contains("TMPDIR names another place"));
    assert_eq!(fs::read_dir(&odd).unwrap().count(), 0);

    let mut help = place.demo();
    let output = help.arg("--help").output().unwrap();
    assert!(output.status.success() && output.stdout.starts_with(b"nullbeat demo "));
}
