//! One real node in a PID namespace of its own, watched from outside: what its scripts did, what its beats say, which
//! of its processes live. Everything ends with the value.

use std::fs;
use std::net::{Ipv4Addr, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, Uid, mkdtemp};
use nullbeat::guardian::lease::{Lease, ProcessKey};

/// No event in these tests takes this long, on any machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// As configured below.
pub(crate) const DEADTIME: Duration = Duration::from_secs(2);

/// The script behind every resource: writes down what it is asked, keeps its state in a file, misbehaves on demand.
const SCRIPT: &str = r#"#!/bin/sh
cd "$(dirname "$0")/../.." || exit 1
echo "$2 $1" >> calls
case $2 in
start) while [ -e hang-start ]; do sleep 0.05; done
       : > "running.$1" ;;
stop)  grep CapEff /proc/self/status >> rights
       while [ -e hang-stop ]; do sleep 0.05; done
       [ -e fail-stop ] && exit 1
       rm -f "running.$1" ;;
status) if [ -e "running.$1" ]; then echo running; else echo stopped; exit 3; fi ;;
esac
exit 0
"#;

/// The hook in the place of a reset: writes down that it was called.
const RESET: &str = r#"#!/bin/sh
cd "$(dirname "$0")" || exit 1
echo "$1" >> was-reset
"#;

/// Waits for something to become true; `what` names it when it does not.
pub(crate) fn eventually(what: &str, mut is_true: impl FnMut() -> bool) -> Duration {
    let start = Instant::now();
    while !is_true() {
        assert!(start.elapsed() < PATIENCE, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
    start.elapsed()
}

/// The node `alpha`; its peer is a socket of this test.
pub(crate) struct Node {
    pub(crate) root: PathBuf,
    namespace: Child,
    init: Pid,
    daemon: Option<Child>,
    peer: UdpSocket,
    port: u16,
}

impl Node {
    /// Writes the files and starts nothing. `groups` is haresources, `more` is added to ha.cf.
    pub(crate) fn new(groups: &str, more: &str) -> Self {
        static PORTS: AtomicU16 = AtomicU16::new(0);
        let port =
            20_000 + u16::try_from(std::process::id() % 400).unwrap() * 100 + PORTS.fetch_add(1, Ordering::Relaxed);
        let root = mkdtemp(&std::env::temp_dir().join("nullbeat-guarding-XXXXXX")).unwrap();
        let peer = UdpSocket::bind((Ipv4Addr::new(127, 0, 0, 2), port)).unwrap();
        peer.set_nonblocking(true).unwrap();
        fs::create_dir_all(root.join("ha.d/resource.d")).unwrap();
        write_program(&root.join("ha.d/resource.d/svc"), SCRIPT);
        write_program(&root.join("reset"), RESET);
        fs::write(root.join("ha.d/authkeys"), "auth 1\n1 crc\n").unwrap();
        fs::set_permissions(root.join("ha.d/authkeys"), fs::Permissions::from_mode(0o600)).unwrap();
        let namespace = namespace();
        let init = only_child(namespace.id());
        let node = Self { root, namespace, init, daemon: None, peer, port };
        node.write_resources(groups);
        node.write_config(more);
        node
    }

    pub(crate) fn write_config(&self, more: &str) {
        let (port, root) = (self.port, self.root.display());
        let text = format!(
            "node alpha beta\nkeepalive 200ms\nwarntime 1\ndeadtime 2\ninitdead 2\nudpport {port}\n\
             ucast lo 127.0.0.2 bind 127.0.0.1\nlogfile {root}/log\nauto_failback on\nrealtime off\n\
             takeover_policy available\nreset_with hook {root}/reset\n{more}\n"
        );
        fs::write(self.root.join("ha.d/ha.cf"), text).unwrap();
    }

    pub(crate) fn write_keys(&self, text: &str) {
        fs::write(self.root.join("ha.d/authkeys"), text).unwrap();
    }

    /// Whether these bytes stand anywhere in the writable memory of a process.
    pub(crate) fn has_in_memory(pid: Pid, secret: &[u8]) -> bool {
        use std::os::unix::fs::FileExt as _;
        let Ok(maps) = fs::read_to_string(format!("/proc/{pid}/maps")) else { return false };
        let Ok(memory) = fs::File::open(format!("/proc/{pid}/mem")) else { return false };
        maps.lines().filter(|line| line.contains(" rw")).any(|line| {
            let (range, _) = line.split_once(' ').unwrap();
            let (start, end) = range.split_once('-').unwrap();
            let address = |text| u64::from_str_radix(text, 16).unwrap();
            let mut bytes = vec![0; usize::try_from(address(end) - address(start)).unwrap()];
            // What cannot be read is no memory of its own.
            memory.read_exact_at(&mut bytes, address(start)).is_ok()
                && bytes.windows(secret.len()).any(|at| at == secret)
        })
    }

    pub(crate) fn write_resources(&self, groups: &str) {
        fs::write(self.root.join("ha.d/haresources"), groups).unwrap();
    }

    /// ha.cf is written anew, without a change in it.
    pub(crate) fn touch_ha_cf(&self) {
        let path = self.root.join("ha.d/ha.cf");
        let file = fs::File::options().write(true).open(path).unwrap();
        file.set_modified(std::time::SystemTime::now()).unwrap();
    }

    /// `nullbeat VERB` inside the namespace, with this node's directories.
    pub(crate) fn command(&self, program: &Path, words: &[&str]) -> Command {
        let mut command = Command::new("setsid");
        // In a session of its own: see `lab::Board::command`.
        command.arg("nsenter");
        command.arg("--target").arg(self.init.to_string()).args(["--pid", "--mount"]);
        if !Uid::effective().is_root() {
            command.args(["--user", "--preserve-credentials"]);
        }
        command.arg("--").arg(program).args(words);
        let places = [("--run-dir", "run"), ("--config-dir", "ha.d"), ("--state-dir", "state")];
        // The other verbs only talk to the daemon.
        let count = match words[0] {
            "run" | "release" | "history" => 3,
            "reload" => 2,
            _ => 1,
        };
        for (option, directory) in &places[..count] {
            command.arg(option).arg(self.root.join(directory));
        }
        command.stdin(Stdio::null());
        command
    }

    pub(crate) fn program() -> &'static Path {
        Path::new(env!("CARGO_BIN_EXE_nullbeat"))
    }

    /// Starts the daemon.
    pub(crate) fn run(&mut self) {
        self.run_program(Self::program(), &[]);
    }

    pub(crate) fn run_program(&mut self, program: &Path, environment: &[(&str, &str)]) {
        let mut command = self.command(program, &["run", "--node", "alpha"]);
        let errors = fs::File::options().append(true).create(true).open(self.root.join("stderr")).unwrap();
        command.stdout(Stdio::null()).stderr(errors).envs(environment.iter().copied());
        self.end_daemon_handle();
        self.daemon = Some(command.spawn().unwrap());
    }

    /// Starts the daemon and waits until `group`'s service runs.
    pub(crate) fn run_until_running(&mut self, group: &str) {
        self.run();
        eventually("the group runs", || self.is_running(group));
        eventually("the start is over", || self.has_lease_settled());
    }

    /// No group is on its way, and an engine beats.
    pub(crate) fn has_lease_settled(&self) -> bool {
        use nullbeat::core::ids::GroupSet;
        use nullbeat::core::message::GroupState;
        let lease = self.lease();
        let states = GroupSet::first(lease.group_count()).iter().map(|group| lease.group(group));
        lease.engine().is_some()
            && states.into_iter().all(|state| matches!(state, GroupState::Running | GroupState::Stopped))
    }

    /// Runs another verb to its end and gives its exit code.
    pub(crate) fn verb(&self, words: &[&str]) -> i32 {
        let status = self.command(Self::program(), words).stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
        status.code().unwrap()
    }

    /// Waits for the end of the daemon's first process.
    pub(crate) fn exit_code(&mut self) -> Option<i32> {
        let daemon = self.daemon.as_mut().unwrap();
        // nsenter stops together with what it started, and does not thaw by itself.
        Self::signal(Pid::from_raw(i32::try_from(daemon.id()).unwrap()), Signal::SIGCONT);
        let mut status = None;
        eventually("the daemon ends", || {
            status = daemon.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap().code()
    }

    pub(crate) fn lease(&self) -> Lease {
        Lease::open_or_create(&self.root.join("run")).unwrap()
    }

    fn outside(&self, key: Option<ProcessKey>) -> Pid {
        let key = key.expect("the lease names the process");
        self.find(key.pid).unwrap_or_else(|| panic!("no process {} in the namespace", key.pid))
    }

    pub(crate) fn engine(&self) -> Pid {
        self.outside(self.lease().engine())
    }

    pub(crate) fn guardian(&self) -> Pid {
        self.outside(self.lease().guardian())
    }

    pub(crate) fn logger(&self) -> Pid {
        self.outside(self.lease().logger())
    }

    /// Whether the lease names a living logger other than `old`.
    pub(crate) fn has_other_logger(&self, old: Pid) -> bool {
        let key = self.lease().logger();
        key.and_then(|key| self.find(key.pid)).is_some_and(|pid| pid != old && !Self::is_gone(pid))
    }

    /// The processes of the namespace, by their numbers outside.
    fn own_processes(&self) -> impl Iterator<Item = Pid> {
        let space = fs::read_link(format!("/proc/{}/ns/pid", self.init)).unwrap();
        let is_ours = move |pid: &Pid| fs::read_link(format!("/proc/{pid}/ns/pid")).is_ok_and(|link| link == space);
        processes().into_iter().filter(is_ours)
    }

    /// Those with this name in a list of processes.
    pub(crate) fn named(&self, name: &str) -> Vec<Pid> {
        let is_it = |pid: &Pid| fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|found| found.trim() == name);
        self.own_processes().filter(is_it).collect()
    }

    /// The number outside of a process that has this number inside.
    fn find(&self, inside: Pid) -> Option<Pid> {
        self.own_processes().find(|&pid| {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            let number = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
            number.and_then(|line| line.split_whitespace().last()) == Some(&inside.to_string())
        })
    }

    /// Whether a process (by its number outside) is gone, collected or not.
    pub(crate) fn is_gone(pid: Pid) -> bool {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        status.is_empty() || status.lines().any(|line| line.starts_with("State:") && line.contains(['Z', 'X']))
    }

    pub(crate) fn signal(pid: Pid, signal: Signal) {
        kill(pid, signal).unwrap();
    }

    pub(crate) fn touch(&self, name: &str) {
        fs::write(self.root.join(name), "").unwrap();
    }

    pub(crate) fn remove(&self, name: &str) {
        fs::remove_file(self.root.join(name)).unwrap();
    }

    pub(crate) fn is_running(&self, group: &str) -> bool {
        self.root.join(format!("running.{group}")).exists()
    }

    pub(crate) fn text(&self, name: &str) -> String {
        fs::read_to_string(self.root.join(name)).unwrap_or_default()
    }

    /// What the scripts were asked so far, `status` left out: `start a`, `stop a`, …
    pub(crate) fn calls(&self) -> Vec<String> {
        let text = self.text("calls");
        text.lines().filter(|line| !line.starts_with("status")).map(str::to_owned).collect()
    }

    pub(crate) fn generation(&self) -> u32 {
        self.lease().generation().0
    }

    /// Generation of the newest beat that has arrived at the peer since the last call; `None`: no beat.
    pub(crate) fn heard(&self) -> Option<u32> {
        let mut newest = None;
        let mut buffer = [0; 4096];
        while let Ok(len) = self.peer.recv(&mut buffer) {
            let text = String::from_utf8_lossy(&buffer[..len]);
            let generation = text.split("hg=").nth(1).map(|rest| {
                let digits: String = rest.chars().take_while(char::is_ascii_hexdigit).collect();
                u32::from_str_radix(&digits, 16).unwrap()
            });
            newest = generation.or(newest);
        }
        newest
    }

    /// Waits until the peer hears an engine of another generation than `old`, and gives its generation.
    pub(crate) fn hear_new_generation(&self, old: u32) -> u32 {
        let mut new = 0;
        eventually("a beat of a new generation", || {
            new = self.heard().unwrap_or(0);
            new > old && self.generation() == new && self.lease().engine().is_some()
        });
        new
    }

    fn end_daemon_handle(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            // nsenter, which may have stopped together with what it started.
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.namespace.kill();
        let _ = self.namespace.wait();
        self.end_daemon_handle();
        if std::thread::panicking() {
            eprintln!(
                "--- calls\n{}--- log\n{}--- stderr\n{}",
                self.text("calls"),
                self.text("log"),
                self.text("stderr")
            );
        }
        let _ = fs::remove_dir_all(&self.root);
    }
}

pub(crate) fn write_program(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// A namespace that lives as long as its first process, which does nothing.
fn namespace() -> Child {
    let mut command = Command::new("unshare");
    if !Uid::effective().is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    command.args(["--pid", "--fork", "--kill-child", "--mount-proc", "--", "sleep", "infinity"]);
    command.spawn().expect("unshare from util-linux")
}

fn processes() -> Vec<Pid> {
    let entries = fs::read_dir("/proc").unwrap();
    let numbers = entries.filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
    numbers.map(Pid::from_raw).collect()
}

/// The one child of a process, once it is there and has executed `sleep`.
fn only_child(parent: u32) -> Pid {
    let mut found = None;
    eventually("the namespace's first process", || {
        found = processes().into_iter().find(|pid| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
            fields.get(1) == Some(&parent.to_string().as_str()) && stat.contains("(sleep)")
        });
        found.is_some()
    });
    found.unwrap()
}
