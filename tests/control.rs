//! The verbs of the real binary against a control server, and without one.

use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nullbeat::core::time::Instant;
use nullbeat::core::{Outcome, Refusal, Request};
use nullbeat::daemon::control::{Command as Order, ControlServer, SOCKET_NAME};

const REPORT: &str = "report\tversion=1\nnode\tplace=0\tname=rsa\tstatus=active\tholds=local\tgeneration=7\n";
/// Somebody who is not us: nobody.
const STRANGER: u32 = 65534;

/// A run directory with a server that a thread turns, until dropped.
struct Node {
    directory: PathBuf,
}

impl Node {
    fn new(name: &str) -> Self {
        let directory = std::env::temp_dir().join(format!("nullbeat-verbs-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&directory);
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::set_permissions(&directory, PermissionsExt::from_mode(0o755)).unwrap();
        Self { directory }
    }

    /// Runs `body` while a server answers orders with `outcome`.
    fn serve(&self, outcome: impl Fn(Request) -> Outcome + Sync, body: impl FnOnce()) {
        let path = self.directory.join(SOCKET_NAME);
        let _ = std::fs::remove_file(&path);
        let listener = UnixListener::bind(&path).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o666)).unwrap();
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut server = ControlServer::new(listener.into()).unwrap();
                while !is_over.load(Ordering::Relaxed) {
                    wait(&server);
                    server.turn(Instant::from_millis(1), &mut |_, sheet| sheet.write_str(REPORT).unwrap());
                    while let Some((id, order)) = server.poll_request() {
                        if let Order::Node(request) = order {
                            server.reply_outcome(id, outcome(request), |_| "10.0.0.1");
                        }
                    }
                }
            });
            let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(body));
            is_over.store(true, Ordering::Relaxed);
            if let Err(panic) = result {
                std::panic::resume_unwind(panic);
            }
        });
    }

    fn command(&self, program: &str, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_nullbeat"));
        command.arg0(program).args(args).arg(format!("--run-dir={}", self.directory.display()));
        command
    }

    fn run(&self, program: &str, args: &[&str]) -> Output {
        self.command(program, args).output().unwrap()
    }

    fn code(&self, program: &str, args: &[&str]) -> i32 {
        self.run(program, args).status.code().unwrap()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// Until something is to be done, or 50 ms.
fn wait(server: &ControlServer) {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    use std::os::fd::AsFd as _;
    let _ = poll(&mut [PollFd::new(server.as_fd(), PollFlags::POLLIN)], PollTimeout::from(50_u8));
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn without_a_daemon_every_verb_says_69() {
    let node = Node::new("none");
    for verb in ["status", "links", "standby", "takeover", "failback", "hold", "resume", "stop", "reload"] {
        let output = node.run("nullbeat", &[verb]);
        assert_eq!(output.status.code(), Some(69), "{verb}: {}", stderr(&output));
        assert!(stderr(&output).contains("no daemon listens at "), "{}", stderr(&output));
    }
}

#[test]
fn a_socket_that_nobody_listens_at_is_no_daemon() {
    let node = Node::new("stale");
    drop(UnixListener::bind(node.directory.join(SOCKET_NAME)).unwrap());
    assert_eq!(node.code("nullbeat", &["status"]), 69);
    assert_eq!(node.code("heartbeat", &["-s"]), 3);
    assert_eq!(node.code("cl_status", &["hbstatus"]), 1);
}

#[test]
fn misuse_says_64() {
    let node = Node::new("misuse");
    for args in [&["standby", "none"][..], &["standby", "all", "x"], &["hold", "x"], &["status", "--jsno"], &["stpo"]] {
        assert_eq!(node.code("nullbeat", args), 64, "{args:?}");
    }
}

#[test]
fn outcomes_become_exit_codes_and_words() {
    let node = Node::new("outcomes");
    let outcome = |request| match request {
        Request::Standby(_) => Outcome::Refused(Refusal::PartnerAbsent),
        Request::Takeover(_) => Outcome::Failed(nullbeat::core::Failure::Start(nullbeat::core::ids::GroupId(0))),
        Request::Failback(_) => Outcome::Nothing,
        _ => Outcome::Done,
    };
    node.serve(outcome, || {
        let output = node.run("nullbeat", &["standby", "local"]);
        assert_eq!(output.status.code(), Some(75));
        assert_eq!(stderr(&output), "nullbeat standby: the partner is dead or not yet a full member\n");
        let output = node.run("nullbeat", &["takeover"]);
        assert_eq!(output.status.code(), Some(1));
        assert!(stderr(&output).contains("group 10.0.0.1 could not be started"));
        let output = node.run("nullbeat", &["failback", "foreign"]);
        assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(0), "nothing had to be done\n"));
        assert_eq!(node.code("nullbeat", &["hold"]), 0);
        assert_eq!(node.code("nullbeat", &["resume"]), 0);
    });
}

#[test]
fn reports_are_shown_for_people_and_programs() {
    let node = Node::new("reports");
    node.serve(
        |_| Outcome::Done,
        || {
            let text = stdout(&node.run("nullbeat", &["status"]));
            assert!(text.starts_with("rsa: active, -, holds local; generation 7"), "{text}");
            assert!(!text.contains('\x1b'), "no colour when piped");
            let json = stdout(&node.run("nullbeat", &["status", "--json"]));
            assert!(json.starts_with("{\n  \"schema_version\": 1,\n") && json.contains("\"generation\": 7"), "{json}");
            // What Heartbeat's options ask is who runs, and this process stands in for the daemon.
            let own = std::process::id();
            std::fs::write(format!("/proc/{own}/comm"), "nullbeat").unwrap();
            std::fs::write(node.directory.join("pid"), format!("{own:>10}\n")).unwrap();
            let text = stdout(&node.run("heartbeat", &["-s"]));
            assert!(
                text.starts_with(&format!("heartbeat OK [pid {} et al] is running on ", std::process::id())),
                "{text}"
            );
            assert!(text.ends_with(" [rsa]...\n"), "{text}");
            assert_eq!(node.code("hb_standby", &["local"]), 0);
        },
    );
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let node = Node::new("head");
    node.serve(
        |_| Outcome::Done,
        || {
            let mut child = node.command("nullbeat", &["status"]).stdout(std::process::Stdio::piped()).spawn().unwrap();
            drop(child.stdout.take());
            assert_eq!(child.wait().unwrap().code(), Some(0));
        },
    );
}

/// Where the kernel lets us be somebody else, that somebody may read and not command; where it does not, we are the
/// user who started the server and may do both.
#[test]
fn strangers_may_read_and_not_command() {
    let node = Node::new("stranger");
    let copy = node.directory.join("nullbeat");
    // Not written by this process: what another test starts just then would hold it open, and busy.
    assert!(Command::new("cp").arg(env!("CARGO_BIN_EXE_nullbeat")).arg(&copy).status().unwrap().success());
    let is_root = nix::unistd::geteuid().is_root();
    let run = |called: &str, args: &[&str]| {
        let mut command = Command::new(&copy);
        command.arg0(called).args(args).arg(format!("--run-dir={}", node.directory.display()));
        if is_root {
            command.uid(STRANGER).gid(STRANGER);
        }
        command.output().unwrap()
    };
    node.serve(
        |_| Outcome::Done,
        || {
            assert_eq!(run("nullbeat", &["status"]).status.code(), Some(0));
            let expected = |denied| if is_root { denied } else { 0 };
            for verb in ["standby", "takeover", "failback", "hold", "resume"] {
                let output = run("nullbeat", &[verb]);
                assert_eq!(output.status.code(), Some(expected(77)), "{verb}: {}", stderr(&output));
            }
            assert_eq!(run("hb_standby", &[]).status.code(), Some(expected(2)));
        },
    );
    std::fs::remove_file(node.directory.join(SOCKET_NAME)).unwrap();
    node.serve_closed(|| assert_eq!(run("nullbeat", &["status"]).status.code(), Some(if is_root { 77 } else { 69 })));
}

impl Node {
    /// Runs `body` while a socket exists that only its owner may connect to; a plain user finds it gone.
    fn serve_closed(&self, body: impl FnOnce()) {
        if !nix::unistd::geteuid().is_root() {
            return body();
        }
        let path = self.directory.join(SOCKET_NAME);
        let _listener = UnixListener::bind(&path).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
        body();
    }
}

#[test]
fn a_server_that_does_not_answer_is_left_after_the_limit() {
    let node = Node::new("mute");
    let _mute = UnixListener::bind(node.directory.join(SOCKET_NAME)).unwrap();
    assert_eq!(node.code("nullbeat", &["status", "--timeout", "0.2"]), 69);
    assert_eq!(node.code("nullbeat", &["standby", "--timeout=0.2"]), 75);
    let begun = std::time::Instant::now();
    assert_eq!(node.code("hb_standby", &[]), 0, "on its way, as with the original");
    assert!(begun.elapsed() < Duration::from_secs(20));
}
