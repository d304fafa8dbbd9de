//! The files of `dist/`: resource scripts and init scripts, run by busybox with nothing but busybox in the path.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

/// A directory with busybox's applets in `bin`, removed at the end.
struct Board {
    root: PathBuf,
}

impl Board {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("nullbeat-dist-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let root = std::env::temp_dir().join(name);
        fs::create_dir_all(root.join("bin")).unwrap();
        let applets = Command::new("busybox").args(["--install", "-s"]).arg(root.join("bin")).status();
        assert!(applets.expect("busybox is installed (tests/run does it)").success());
        Self { root }
    }

    /// Namespaces of this thread's own; `None` without root, where there is nothing to be tried.
    fn isolated() -> Option<Self> {
        if unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS).is_err() {
            eprintln!("no namespaces without root");
            return None;
        }
        mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>).unwrap();
        Some(Self::new())
    }

    fn path(&self, name: &str) -> String {
        self.root.join(name).display().to_string()
    }

    fn write(&self, name: &str, body: &str) -> String {
        let path = self.root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, body).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path.display().to_string()
    }

    /// `sh FILE WORDS…` with busybox's shell. Its stdout is a file, as with the guardian: a service keeps it open.
    fn sh(&self, file: &str, words: &[&str]) -> i32 {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("dist").join(file);
        let status = Command::new(self.root.join("bin/sh"))
            .arg(&file)
            .args(words)
            .env_clear()
            .env("PATH", self.root.join("bin"))
            .env("NULLBEAT_SERVICE_DIR", self.root.join("service"))
            .env("NULLBEAT_INIT_DIR", self.root.join("init.d"))
            .env("NULLBEAT_DEFAULTS", self.root.join("defaults"))
            .stdin(Stdio::null())
            .stdout(fs::File::create(self.root.join("stdout")).unwrap())
            .stderr(fs::File::create(self.root.join("stderr")).unwrap())
            .status()
            .unwrap();
        eprintln!("{} {words:?}: {}", file.display(), fs::read_to_string(self.root.join("stderr")).unwrap());
        status.code().unwrap()
    }

    /// Exit code and first line of stdout.
    fn run(&self, file: &str, words: &[&str]) -> (i32, String) {
        let code = self.sh(file, words);
        let text = fs::read_to_string(self.root.join("stdout")).unwrap();
        (code, text.lines().next().unwrap_or_default().to_owned())
    }

    fn addresses(&self, interface: &str) -> String {
        let output = Command::new("ip").args(["-o", "-4", "addr", "show", "dev", interface]).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

impl Drop for Board {
    fn drop(&mut self) {
        // What a failed test has left running.
        for file in fs::read_dir(self.root.join("service")).into_iter().flatten() {
            let noted = file.and_then(|file| fs::read_to_string(file.path())).unwrap_or_default();
            let pid = noted.split(' ').next().and_then(|pid| pid.parse().ok());
            if let Some(pid) = pid {
                let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL);
            }
        }
        let _ = fs::remove_dir_all(&self.root);
    }
}

fn ip(words: &str) {
    assert!(Command::new("ip").args(words.split(' ')).status().unwrap().success(), "ip {words}");
}

fn running() -> (i32, String) {
    (0, "running".to_owned())
}

fn stopped() -> (i32, String) {
    (3, "stopped".to_owned())
}

fn done() -> (i32, String) {
    (0, String::new())
}

const ADDRESS: &str = "resource.d/IPaddr";
const MOUNT: &str = "resource.d/Filesystem";
const SERVICE: &str = "resource.d/service";

#[test]
fn address_comes_and_goes() {
    let Some(board) = Board::isolated() else { return };
    for words in ["link add nd0 type veth peer name nd1", "link set nd0 up", "link set nd1 up"] {
        ip(words);
    }
    ip("addr add 10.1.2.3/16 dev nd0");
    ip("addr add 10.1.9.3/24 dev nd1");

    // With nothing said: the smallest network around it.
    assert_eq!(board.run(ADDRESS, &["10.1.9.77", "status"]), stopped());
    assert_eq!(board.run(ADDRESS, &["10.1.9.77", "start"]), done());
    assert!(board.addresses("nd1").contains("inet 10.1.9.77/24 brd 10.1.9.255 "), "{}", board.addresses("nd1"));
    assert_eq!(board.run(ADDRESS, &["10.1.9.77", "status"]), running());
    assert_eq!(board.run(ADDRESS, &["10.1.9.77", "start"]), done());
    // Another address that begins or ends alike is not ours.
    assert_eq!(board.run(ADDRESS, &["10.1.9.7", "status"]), stopped());
    assert_eq!(board.run(ADDRESS, &["10.1.9.77", "stop"]), done());
    assert_eq!(board.run(ADDRESS, &["10.1.9.77", "stop"]), done());
    assert_eq!(board.run(ADDRESS, &["10.1.9.77", "status"]), stopped());

    // With everything said.
    let full = "192.0.2.1/255.255.255.128/nd0/192.0.2.99";
    assert_eq!(board.run(ADDRESS, &[full, "start"]), done());
    assert!(board.addresses("nd0").contains("inet 192.0.2.1/25 brd 192.0.2.99 "), "{}", board.addresses("nd0"));
    assert_eq!(board.run(ADDRESS, &[full, "stop"]), done());
    assert!(!board.addresses("nd0").contains("192.0.2.1"));

    // A third part that begins with a digit is the broadcast address.
    assert_eq!(board.run(ADDRESS, &["10.1.9.5/28/10.1.9.42", "start"]), done());
    assert!(board.addresses("nd1").contains("inet 10.1.9.5/28 brd 10.1.9.42 "), "{}", board.addresses("nd1"));
}

#[test]
fn address_that_cannot_be_is_refused() {
    let Some(board) = Board::isolated() else { return };
    for word in
        ["300.1.1.1", "1.2.3", "1.2.3.4.5", "name", "10.0.0.1/33", "10.0.0.1/255.0.255.0", "10.0.0.1", "010.0.0.1"]
    {
        assert_eq!(board.run(ADDRESS, &[word, "start"]).0, 1, "{word}");
    }
    assert_eq!(board.run(ADDRESS, &["10.0.0.1", "restart"]).0, 2);
    assert_eq!(board.run(ADDRESS, &["start"]).0, 2);
}

#[test]
fn mount_comes_and_goes_even_when_busy() {
    let Some(board) = Board::isolated() else { return };
    let directory = board.path("mnt");
    fs::create_dir(&directory).unwrap();
    let words = |action| ["none", directory.as_str(), "tmpfs", "size=64k", action];
    assert_eq!(board.run(MOUNT, &words("status")), stopped());
    assert_eq!(board.run(MOUNT, &words("start")), done());
    assert_eq!(board.run(MOUNT, &words("start")), done());
    assert_eq!(board.run(MOUNT, &words("status")), running());

    // Something mounted below it, and somebody at home.
    let below = format!("{directory}/below");
    fs::create_dir(&below).unwrap();
    assert_eq!(board.run(MOUNT, &["none", &below, "tmpfs", "start"]), done());
    let mut tenant = Command::new("sleep").arg("1000").current_dir(&below).spawn().unwrap();
    let (code, line) = board.run(MOUNT, &words("stop"));
    assert_eq!((code, line), (0, format!("{} uses {directory}: sending TERM", tenant.id())));
    assert!(!tenant.wait().unwrap().success());
    assert_eq!(board.run(MOUNT, &words("status")), stopped());
    assert_eq!(board.run(MOUNT, &words("stop")), done());
}

#[test]
fn bind_mount_and_bad_mounts() {
    let Some(board) = Board::isolated() else { return };
    let (source, directory) = (board.path("source"), board.path("mnt"));
    fs::create_dir(&source).unwrap();
    assert_eq!(board.run(MOUNT, &[&source, &directory, "none", "bind", "start"]).0, 1, "there is no directory");
    fs::create_dir(&directory).unwrap();
    fs::write(format!("{source}/here"), "").unwrap();
    assert_eq!(board.run(MOUNT, &[&source, &directory, "none", "bind", "start"]), done());
    assert!(Path::new(&directory).join("here").exists());
    // With a slash at the end it is the same.
    assert_eq!(board.run(MOUNT, &[&source, &format!("{directory}/"), "none", "bind", "status"]), running());
    assert_eq!(board.run(MOUNT, &[&source, &directory, "none", "bind", "stop"]), done());
    assert_eq!(board.run(MOUNT, &["/dev/nonexistent", &directory, "ext4", "start"]).0, 1);
    assert_eq!(board.run(MOUNT, &[&directory, "start"]).0, 2);
}

#[test]
fn program_is_kept_in_the_background() {
    let board = Board::new();
    let program = board.write("daemon", &format!("#!/bin/sh\necho \"$*\" >{}\nexec sleep 1000\n", board.path("seen")));
    let words = |action| [program.as_str(), "-p", "a", action];
    assert_eq!(board.run(SERVICE, &words("status")), stopped());
    assert_eq!(board.run(SERVICE, &words("start")).0, 0);
    assert_eq!(board.run(SERVICE, &words("status")), running());
    assert_eq!(fs::read_to_string(board.path("seen")).unwrap(), "-p a\n");
    // With other arguments it is another service.
    assert_eq!(board.run(SERVICE, &[&program, "-p", "b", "status"]), stopped());
    assert_eq!(board.run(SERVICE, &words("stop")).0, 0);
    assert_eq!(board.run(SERVICE, &words("status")), stopped());
    assert_eq!(board.run(SERVICE, &words("stop")).0, 0);
    assert_eq!(board.run(SERVICE, &["/nonexistent", "start"]).0, 1);
    let short = board.write("short", "#!/bin/sh\nexit 0\n");
    assert_eq!(board.run(SERVICE, &[&short, "start"]).0, 1, "it ended at once");
}

#[test]
fn number_of_a_dead_program_that_was_given_to_another_is_not_running() {
    let board = Board::new();
    let program = board.write("daemon", "#!/bin/sh\nexec sleep 1000\n");
    assert_eq!(board.run(SERVICE, &[&program, "start"]).0, 0);
    let file = fs::read_dir(board.path("service")).unwrap().next().unwrap().unwrap().path();
    let noted = fs::read_to_string(&file).unwrap();
    let (pid, since) = noted.trim().split_once(' ').unwrap();
    fs::write(&file, format!("{pid} {}\n", since.parse::<u64>().unwrap() - 1)).unwrap();
    assert_eq!(board.run(SERVICE, &[&program, "status"]), stopped());
    fs::write(&file, &noted).unwrap();
    assert_eq!(board.run(SERVICE, &[&program, "stop"]).0, 0);
}

#[test]
fn init_script_is_asked_by_its_exit_code() {
    let board = Board::new();
    let on = board.path("on");
    let body =
        format!("#!/bin/sh\ncase $1 in start) : >{on};; stop) rm -f {on};; status) test -e {on};; *) exit 9;; esac\n");
    board.write("init.d/web", &body);
    assert_eq!(board.run(SERVICE, &["web", "status"]), stopped());
    assert_eq!(board.run(SERVICE, &["web", "start"]).0, 0);
    assert_eq!(board.run(SERVICE, &["web", "status"]), running());
    assert_eq!(board.run(SERVICE, &["web", "stop"]).0, 0);
    assert_eq!(board.run(SERVICE, &["web", "status"]), stopped());
    assert_eq!(board.run(SERVICE, &["gone", "start"]).0, 1);
    assert_eq!(board.run(SERVICE, &["../web", "start"]).0, 2);
}

/// A stand-in for the program: notes its words; `status` answers by the file `answers`, `run` goes on until `stop`.
fn stand_in(board: &Board) {
    let root = board.root.display();
    let program = board.write(
        "nullbeat",
        &format!(
            "#!/bin/sh\necho \"$*\" >>{root}/words\ncase $1 in\nstatus) test -e {root}/alive || exit 69;;\n\
             run) : >{root}/alive; while test -e {root}/alive; do sleep 0.05; done;;\nstop) rm -f {root}/alive;;\nesac\n"
        ),
    );
    let defaults = format!("NULLBEAT={program}\nNULLBEAT_RUN_DIR={root}/run\nNULLBEAT_OPTIONS='--run-dir x'\n");
    board.write("defaults", &defaults);
}

const INIT: &str = "sysvinit/nullbeat";

#[test]
fn init_script_has_the_codes_of_lsb() {
    let board = Board::new();
    stand_in(&board);
    assert_eq!(board.run(INIT, &["status"]).0, 3);
    fs::create_dir(board.path("run")).unwrap();
    fs::write(board.path("run/pid"), "1").unwrap();
    assert_eq!(board.run(INIT, &["status"]).0, 1);
    // Killed: what it held is released.
    assert_eq!(board.run(INIT, &["stop"]).0, 0);
    assert!(fs::read_to_string(board.path("words")).unwrap().lines().any(|line| line == "release"));
    fs::remove_file(board.path("run/pid")).unwrap();

    assert_eq!(board.run(INIT, &["reload"]).0, 7);
    assert_eq!(board.run(INIT, &["start"]).0, 0);
    assert!(fs::read_to_string(board.path("words")).unwrap().contains("run --run-dir x\n"));
    assert_eq!(board.run(INIT, &["status"]).0, 0);
    assert_eq!(board.run(INIT, &["start"]).0, 0);
    assert_eq!(board.run(INIT, &["reload"]).0, 0);
    assert_eq!(board.run(INIT, &["stop"]).0, 0);
    assert_eq!(board.run(INIT, &["status"]).0, 3);
    assert_eq!(board.run(INIT, &["stop"]).0, 0);
    assert_eq!(board.run(INIT, &["nonsense"]).0, 2);
}

#[test]
fn init_script_tells_why_a_start_failed() {
    let board = Board::new();
    board.write(
        "nullbeat",
        "#!/bin/sh\ncase $1 in status) exit 69;; check) echo wrong; exit 78;; run) exit 78;; esac\n",
    );
    board.write("defaults", &format!("NULLBEAT={}\n", board.path("nullbeat")));
    let begin = Instant::now();
    assert_eq!(board.run(INIT, &["start"]), (6, "wrong".to_owned()));
    assert!(begin.elapsed() < Duration::from_secs(9), "it waited for a daemon that had ended");
}

/// What `/etc/rc.common` does with a script that sets USE_PROCD, as OpenWrt documents it, with functions that note their
/// words instead of talking to procd. A stand-in: procd itself is not there to be run.
const RC_COMMON: &str = r#"#!/bin/sh
script=$1 action=${2:-help}
note() { echo "$*" >>"$NOTES"; }
procd_open_instance() { note open "$@"; }
procd_close_instance() { note close; }
procd_set_param() { note set "$@"; }
procd_append_param() { note append "$@"; }
procd_kill() { note kill "$@"; }
service_stopped() { :; }
reload_service() { start; }
start() { start_service "$@"; note registered; }
stop() { stop_service "$@"; procd_kill nullbeat; service_stopped; }
reload() { reload_service "$@"; }
restart() { stop "$@"; start "$@"; }
. "$script"
[ "$USE_PROCD" = 1 ] || exit 90
case " start stop reload restart $EXTRA_COMMANDS " in
*" $action "*) "$action" ;;
*) exit 91 ;;
esac
"#;

#[test]
fn procd_script_registers_one_instance_and_asks_the_program_for_the_rest() {
    let board = Board::new();
    stand_in(&board);
    let common = board.write("rc.common", RC_COMMON);
    let notes = board.path("notes");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("dist/procd/nullbeat");
    assert!(fs::read_to_string(&script).unwrap().starts_with("#!/bin/sh /etc/rc.common\n"));
    let run = |action: &str| {
        let _ = fs::remove_file(&notes);
        let _ = fs::remove_file(board.path("words"));
        let status = Command::new(board.root.join("bin/sh"))
            .args([common.as_str(), script.to_str().unwrap(), action])
            .env_clear()
            .envs([
                ("PATH", board.path("bin")),
                ("NOTES", notes.clone()),
                ("NULLBEAT_DEFAULTS", board.path("defaults")),
            ])
            .status()
            .unwrap();
        let text = |path: &str| fs::read_to_string(path).unwrap_or_default().lines().map(str::to_owned).collect();
        let (notes, words): (Vec<String>, Vec<String>) = (text(&notes), text(&board.path("words")));
        (status.code(), notes, words)
    };
    let (code, noted, words) = run("start");
    assert_eq!((code, words.len()), (Some(0), 0), "procd starts the program, not the script");
    assert_eq!((noted[0].as_str(), noted[noted.len() - 2].as_str()), ("open", "close"));
    assert_eq!(noted.last().unwrap(), "registered");
    let program = board.path("nullbeat");
    for line in [
        format!("set command {program} run --run-dir x"),
        // For ever: a guardian that was killed is replaced, and takes over from its engine.
        "set respawn 3600 5 0".to_owned(),
        "set term_timeout 1800".to_owned(),
        "set file /etc/ha.d/ha.cf /etc/ha.d/haresources /etc/ha.d/authkeys".to_owned(),
        "set limits memlock=unlimited unlimited rtprio=99 99".to_owned(),
    ] {
        assert!(noted.contains(&line), "{line} is missing in {noted:?}");
    }
    // The program has stopped before procd is told, and then what is left is released.
    fs::write(board.path("alive"), "").unwrap();
    assert_eq!(run("stop"), (Some(0), vec!["kill nullbeat".to_owned()], vec!["stop".to_owned(), "release".to_owned()]));
    assert_eq!(run("reload"), (Some(0), vec![], vec!["reload".to_owned()]));
    assert_eq!(run("check"), (Some(0), vec![], vec!["check".to_owned()]));
}

#[test]
fn every_script_is_plain_shell() {
    let board = Board::new();
    let dist = Path::new(env!("CARGO_MANIFEST_DIR")).join("dist");
    let mut count = 0;
    for room in ["resource.d", "sysvinit", "procd"] {
        for entry in fs::read_dir(dist.join(room)).unwrap() {
            let path = entry.unwrap().path();
            assert!(fs::metadata(&path).unwrap().permissions().mode() & 0o111 == 0o111, "{}", path.display());
            let parsed = Command::new(board.root.join("bin/sh")).arg("-n").arg(&path).status().unwrap();
            assert!(parsed.success(), "{}", path.display());
            count += 1;
        }
    }
    assert!(count >= 5);
}
