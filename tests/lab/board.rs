//! One board: namespaces, a reaper as process 1, a configuration directory, a daemon.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Instant;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{NULLBEAT, PATIENCE, heartbeat, in_netns, run, write_script};

/// Process 1 of a board: reaps what loses its parent, like any init.
const REAPER: &str = "hostname \"$0\"; ip link set lo up; echo up; while :; do sleep 1000 & wait $!; done";

/// One board.
pub(crate) struct Board {
    pub(crate) name: String,
    pub(crate) index: usize,
    pub(crate) dir: PathBuf,
    pub(crate) address: String,
    /// Link-local, on its Ethernet.
    pub(crate) address6: String,
    pub(crate) serial: PathBuf,
    /// The board's port at the switch.
    pub(crate) switch_port: String,
    /// Heartbeat's program, on a board that runs it instead of nullbeat.
    pub(crate) heartbeat: Option<PathBuf>,
    /// Words before each daemon's own: a program that starts it.
    pub(crate) through: Vec<String>,
    /// Its process 1 is systemd.
    pub(super) has_systemd: bool,
    pub(super) netns: String,
    lan: String,
    observer: PathBuf,
    init: Option<Child>,
    daemons: Vec<Child>,
}

impl Board {
    pub(super) fn new(
        name: &str,
        index: usize,
        id: &str,
        lab: &Path,
        lan: &str,
        serial: PathBuf,
        observer: PathBuf,
    ) -> Self {
        let netns = format!("nb{index}{id}");
        let dir = lab.join(name);
        for folder in ["ha.d/resource.d", "ha.d/rc.d", "run", "state", "marks"] {
            std::fs::create_dir_all(dir.join(folder)).expect("folder");
        }
        let switch_port = format!("port{index}");
        let address = format!("192.168.231.{}", 131 + index);
        let board = Self {
            name: name.to_lowercase(),
            index,
            dir,
            address,
            address6: format!("fe80::231:{}", 131 + index),
            serial,
            switch_port,
            heartbeat: None,
            has_systemd: false,
            through: Vec::new(),
            netns,
            lan: lan.to_owned(),
            observer,
            init: None,
            daemons: Vec::new(),
        };
        board.add_traced_script("trace");
        write_script(&board.reset_hook(), &format!("#!/bin/sh\necho \"$@\" >> {}/resets\n", board.dir.display()));
        board
    }

    /// The configuration directory.
    pub(crate) fn config_dir(&self) -> PathBuf {
        self.dir.join("ha.d")
    }

    /// The name of the board's network namespace.
    pub(crate) fn netns(&self) -> &str {
        &self.netns
    }

    /// What a reset of the board runs instead.
    pub(crate) fn reset_hook(&self) -> PathBuf {
        self.dir.join("reset-hook")
    }

    /// How often this board would have been reset.
    pub(crate) fn resets(&self) -> usize {
        std::fs::read_to_string(self.dir.join("resets")).map_or(0, |text| text.lines().count())
    }

    /// Writes the three files.
    pub(crate) fn configure(&self, ha_cf: &str, haresources: &str) {
        let config = self.config_dir();
        std::fs::write(config.join("ha.cf"), ha_cf).expect("ha.cf");
        std::fs::write(config.join("haresources"), haresources).expect("haresources");
        self.authkeys("auth 1\n1 sha1 a-key-for-the-lab\n");
    }

    /// Writes authkeys with its proper mode.
    pub(crate) fn authkeys(&self, text: &str) {
        use std::os::unix::fs::PermissionsExt as _;
        let path = self.config_dir().join("authkeys");
        std::fs::write(&path, text).expect("authkeys");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("mode");
    }

    /// A resource script `NAME::GROUP` that tells the observer and remembers with a mark whether it runs. Files in the
    /// board's folder change it: `fail-start-GROUP`, `fail-stop-GROUP`, `hang-stop-GROUP`, `slow-GROUP` (seconds).
    pub(crate) fn add_traced_script(&self, name: &str) {
        let text = format!(
            r#"#!/bin/sh
group=$1; action=$2; dir={dir}
tell() {{ echo "{node} $group $1" > {fifo}; }}
[ -e $dir/slow-$group ] && sleep "$(cat $dir/slow-$group)"
case $action in
start) tell start-begin
       if [ -e $dir/fail-start-$group ]; then tell start-failed; exit 1; fi
       touch $dir/marks/$group; tell start-end;;
stop)  [ -e $dir/marks/$group ] || exit 0
       tell stop-begin
       if [ -e $dir/hang-stop-$group ]; then trap '' TERM; while :; do sleep 1; done; fi
       if [ -e $dir/fail-stop-$group ]; then tell stop-failed; exit 1; fi
       rm -f $dir/marks/$group; tell stop-end;;
status) if [ -e $dir/marks/$group ]; then echo running; else echo stopped; exit 3; fi;;
esac
exit 0
"#,
            dir = self.dir.display(),
            node = self.name,
            fifo = self.observer.display(),
        );
        write_script(&self.config_dir().join("resource.d").join(name), &text);
    }

    /// Power: namespaces, a network interface, no daemon.
    pub(crate) fn power_on(&mut self) {
        assert!(self.init.is_none(), "{} is on", self.name);
        run("ip", &["netns", "add", &self.netns]);
        self.add_ethernet();
        let mounts = if self.heartbeat.is_some() { heartbeat::MOUNTS } else { "" };
        let mut init = if self.has_systemd { self.systemd(mounts) } else { self.reaper(mounts) };
        init.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut init = init.spawn().expect("a board");
        let mut line = String::new();
        let stdout = init.stdout.take().expect("piped");
        std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut line).expect("its first word");
        assert_eq!(line.trim(), "up");
        self.init = Some(init);
    }

    /// Its interface `ens33`, a port at the switch, both addresses.
    pub(crate) fn add_ethernet(&self) {
        self.add_ethernet_numbered(None);
    }

    /// The same with this number for the interface.
    pub(crate) fn add_ethernet_numbered(&self, number: Option<&str>) {
        let mut words = vec!["ip", "link", "add", &self.switch_port, "type", "veth", "peer", "name", "ens33"];
        words.extend(["netns", &self.netns]);
        if let Some(number) = number {
            words.extend(["index", number]);
        }
        in_netns(&self.lan, &words);
        in_netns(&self.lan, &["ip", "link", "set", &self.switch_port, "master", "br0", "up"]);
        in_netns(&self.netns, &["ip", "link", "set", "ens33", "up"]);
        self.add_addresses();
    }

    /// The addresses of its Ethernet.
    pub(crate) fn add_addresses(&self) {
        in_netns(&self.netns, &["ip", "addr", "add", &format!("{}/24", self.address), "brd", "+", "dev", "ens33"]);
        // Usable at once, without a search for duplicates.
        in_netns(&self.netns, &["ip", "addr", "add", &format!("{}/64", self.address6), "dev", "ens33", "nodad"]);
    }

    /// Runs a command that must succeed in its network.
    #[track_caller]
    pub(crate) fn in_network(&self, words: &[&str]) {
        in_netns(&self.netns, words);
    }

    /// The command that becomes a plain board's process 1.
    fn reaper(&self, mounts: &str) -> Command {
        let mut init = Command::new("setsid");
        init.arg("ip")
            .args(["netns", "exec", &self.netns, "unshare", "--pid", "--fork", "--kill-child=KILL", "--mount-proc"])
            .args(["--mount", "--uts", "--", "sh", "-c", &format!("{mounts}{REAPER}"), &self.name])
            .arg(&self.dir);
        init
    }

    /// The pid, out here, of the board's process 1.
    fn init_pid(&self) -> i32 {
        let init = self.init.as_ref().unwrap_or_else(|| panic!("{} is off", self.name));
        // `unshare --fork` stays as the parent of process 1.
        let id = init.id();
        let children = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children")).expect("its children");
        children.split_whitespace().next().expect("process 1").parse().expect("a pid")
    }

    /// A command on this board.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        // In a session of its own: a process that is stopped and one that ends on a board would otherwise make the kernel
        // hang up on the test's whole process group, when that has lost its shell (POSIX's orphaned process groups).
        let mut command = Command::new("setsid");
        command.arg("nsenter");
        command.args(["-t", &self.init_pid().to_string(), "-p", "-m", "-n", "-u", "--"]).args(words);
        command.stdin(Stdio::null());
        command
    }

    /// Runs a command on this board to its end.
    pub(crate) fn on_board(&self, words: &[&str]) -> Output {
        self.command(words).output().expect("nsenter")
    }

    /// The options that say where everything is.
    pub(crate) fn directories(&self) -> [String; 6] {
        let dir = self.dir.display();
        [
            "--config-dir".to_owned(),
            format!("{dir}/ha.d"),
            "--run-dir".to_owned(),
            format!("{dir}/run"),
            "--state-dir".to_owned(),
            format!("{dir}/state"),
        ]
    }

    /// Starts the daemon; returns at once.
    pub(crate) fn start(&mut self) {
        self.start_with(&[]);
    }

    /// Starts the daemon by way of these words, as `prlimit --rtprio=0`; returns at once.
    pub(crate) fn start_through(&mut self, words: &[&str]) {
        let directories = self.directories();
        let all = words.iter().copied().chain([NULLBEAT, "run"]).chain(directories.iter().map(String::as_str));
        self.spawn(&all.collect::<Vec<_>>());
    }

    /// Starts the daemon with more options.
    pub(crate) fn start_with(&mut self, options: &[&str]) {
        let mut words = match &self.heartbeat {
            Some(program) => vec![program.display().to_string(), "-f".to_owned()],
            None => [NULLBEAT, "run"].map(str::to_owned).into_iter().chain(self.directories()).collect(),
        };
        words.extend(options.iter().map(|option| (*option).to_owned()));
        self.spawn(&words.iter().map(String::as_str).collect::<Vec<_>>());
    }

    /// Starts the daemon with no option at all: every directory at its default place.
    pub(crate) fn start_plain(&mut self) {
        self.spawn(&[NULLBEAT, "run"]);
    }

    fn spawn(&mut self, words: &[&str]) {
        let stderr =
            std::fs::OpenOptions::new().create(true).append(true).open(self.dir.join("stderr")).expect("a file");
        let through = self.through.iter().map(String::as_str);
        let words: Vec<&str> = through.chain(words.iter().copied()).collect();
        let daemon = self.command(&words).stdout(Stdio::null()).stderr(stderr).spawn().expect("the daemon");
        self.daemons.push(daemon);
    }

    /// Whether it has power.
    pub(crate) fn is_on(&self) -> bool {
        self.init.is_some()
    }

    /// A verb of the command line on this board.
    pub(crate) fn nullbeat(&self, words: &[&str]) -> Output {
        let directories = self.directories();
        let all: Vec<&str> = [NULLBEAT, words[0]]
            .into_iter()
            .chain(directories.iter().map(String::as_str))
            .chain(words[1..].iter().copied())
            .collect();
        self.on_board(&all)
    }

    /// Our program under another of its names, such as `cl_status`, on this board.
    pub(crate) fn nullbeat_as(&self, name: &str, words: &[&str]) -> Output {
        let link = self.dir.join("names").join(name);
        std::fs::create_dir_all(self.dir.join("names")).expect("folder");
        let _ = std::os::unix::fs::symlink(NULLBEAT, &link);
        let all: Vec<&str> = [link.to_str().expect("UTF-8")].into_iter().chain(words.iter().copied()).collect();
        self.on_board(&all)
    }

    /// What `status --json` prints; nothing when no daemon answers.
    pub(crate) fn status_json(&self) -> String {
        let output = self.nullbeat(&["status", "--json"]);
        if output.status.success() { String::from_utf8_lossy(&output.stdout).into_owned() } else { String::new() }
    }

    /// Messages that it has heard on each of its links.
    pub(crate) fn received(&self) -> Vec<u64> {
        let json = self.status_json();
        let links = json.split("\"links\"").nth(1).and_then(|rest| rest.split(']').next()).expect("links");
        let number = |text: &str| text.split(|c: char| !c.is_ascii_digit()).next().and_then(|text| text.parse().ok());
        links.split("\"received\": ").skip(1).filter_map(number).collect()
    }

    /// Whether a daemon answers and no group moves.
    pub(crate) fn is_settled(&self) -> bool {
        // The first one is the node's own; peers tell theirs further down.
        self.status_json().split("\"is_settled\": ").nth(1).is_some_and(|rest| rest.starts_with("true"))
    }

    /// Stops the daemon with its verb; it must succeed.
    #[track_caller]
    pub(crate) fn stop(&mut self) {
        let output = match &self.heartbeat {
            Some(program) => self.on_board(&[&program.to_string_lossy(), "-k"]),
            None => self.nullbeat(&["stop"]),
        };
        assert!(output.status.success(), "stop: {}", String::from_utf8_lossy(&output.stderr));
        self.await_end();
    }

    /// Makes the daemon read its files again; that must succeed, once no script runs and no hand-over is under way.
    #[track_caller]
    pub(crate) fn reload(&self) {
        let start = Instant::now();
        loop {
            let output = match &self.heartbeat {
                Some(program) => self.on_board(&[&program.to_string_lossy(), "-r"]),
                None => self.nullbeat(&["reload"]),
            };
            let is_too_early = output.status.code() == Some(75) && start.elapsed() < PATIENCE;
            if !is_too_early {
                return assert!(output.status.success(), "reload: {output:?}");
            }
        }
    }

    /// Waits until every daemon started here has ended.
    #[track_caller]
    pub(crate) fn await_end(&mut self) {
        let start = Instant::now();
        for daemon in &mut self.daemons {
            while daemon.try_wait().expect("a child").is_none() {
                assert!(start.elapsed() < PATIENCE, "{} does not end", self.name);
                std::thread::yield_now();
            }
        }
        self.daemons.clear();
    }

    /// Exit code of the last daemon started, when it ends.
    #[track_caller]
    pub(crate) fn exit_code(&mut self) -> Option<i32> {
        self.daemons.last_mut().and_then(|daemon| daemon.wait().expect("a child").code())
    }

    /// Pids, out here, of this board's process of this role: `guardian`, `engine`, `logger`, or each of `heartbeat`.
    pub(crate) fn pids(&self, role: &str) -> Vec<i32> {
        let wanted = match role {
            "guardian" => "nullbeat",
            "engine" => "nullbeat:engine",
            "logger" => "nullbeat:logger",
            "heartbeat" => "heartbeat",
            other => panic!("no role {other}"),
        };
        self.residents().into_iter().filter(|&pid| is_alive(pid) && is_called(pid, wanted)).collect()
    }

    /// Pids, out here, of everything that runs on this board.
    pub(crate) fn residents(&self) -> Vec<i32> {
        let namespace = std::fs::read_link(format!("/proc/{}/ns/pid", self.init_pid())).expect("its namespace");
        let is_here = |pid: &i32| std::fs::read_link(format!("/proc/{pid}/ns/pid")).is_ok_and(|ns| ns == namespace);
        let entries = std::fs::read_dir("/proc").expect("proc").flatten();
        entries.filter_map(|entry| entry.file_name().to_string_lossy().parse().ok()).filter(is_here).collect()
    }

    /// Thaws every process of this board that has been stopped.
    pub(crate) fn thaw(&self) {
        for role in ["engine", "guardian", "logger"] {
            for pid in self.pids(role) {
                let _ = kill(Pid::from_raw(pid), Signal::SIGCONT);
            }
        }
        // nsenter stops together with what it started, and does not thaw by itself.
        for daemon in &self.daemons {
            let _ = kill(Pid::from_raw(i32::try_from(daemon.id()).expect("a pid")), Signal::SIGCONT);
        }
    }

    /// Sends a signal to this board's process of this role; it must be there.
    #[track_caller]
    pub(crate) fn signal(&self, role: &str, signal: Signal) {
        let pids = self.pids(role);
        assert!(!pids.is_empty(), "{} has no {role}", self.name);
        for pid in pids {
            kill(Pid::from_raw(pid), signal).expect("it is there");
        }
    }

    /// Power loss: every process at once, then the interface and the mounts.
    pub(crate) fn power_off(&mut self) {
        if self.is_on() {
            self.kill_everything();
            self.take_away();
        }
    }

    /// The first half of a power loss; nothing runs here when it returns.
    pub(super) fn kill_everything(&mut self) {
        let init = self.init_pid();
        let residents = self.residents();
        kill(Pid::from_raw(init), Signal::SIGKILL).expect("process 1");
        let start = Instant::now();
        // Process 1 itself stays until every other one has been collected.
        while residents.iter().any(|&pid| pid != init && is_alive(pid)) {
            assert!(start.elapsed() < PATIENCE, "{} does not die", self.name);
            std::thread::yield_now();
        }
    }

    /// The other half, which takes longer than a takeover: the kernel's cleaning of a namespace alone may.
    pub(super) fn take_away(&mut self) {
        // nsenter may have stopped together with what it started: the namespace ends once nothing in it is a zombie.
        for daemon in &mut self.daemons {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
        self.daemons.clear();
        if let Some(mut init) = self.init.take() {
            let _ = init.wait();
        }
        let _ = Command::new("ip").args(["netns", "exec", &self.lan, "ip", "link", "del", &self.switch_port]).output();
        let _ = Command::new("ip").args(["netns", "del", &self.netns]).output();
        if self.has_systemd {
            self.remove_cgroups();
        }
        for mark in std::fs::read_dir(self.dir.join("marks")).into_iter().flatten().flatten() {
            let _ = std::fs::remove_file(mark.path());
        }
    }

    pub(super) fn remove(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.netns]).output();
    }

    /// Everything logged so far.
    pub(crate) fn log(&self) -> String {
        // Heartbeat prints the packets that it refuses as they came.
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        let read = |name: &str| std::fs::read(self.dir.join(name)).map(text).unwrap_or_default();
        // Heartbeat in the foreground says everything twice.
        let stderr = if self.heartbeat.is_some() { String::new() } else { read("stderr") };
        format!("{stderr}{}{}", read("ha-debug"), read("log/ha-debug"))
    }
}

/// A field of the process's status; nothing when it is gone.
fn field(pid: i32, name: &str) -> Option<String> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix(name)).map(|value| value.trim().to_owned())
}

/// Whether the process has not ended, collected or not.
fn is_alive(pid: i32) -> bool {
    field(pid, "State:").is_some_and(|state| !state.starts_with(['Z', 'X']))
}

fn is_called(pid: i32, name: &str) -> bool {
    field(pid, "Name:").is_some_and(|it| it == name)
}
