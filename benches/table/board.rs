//! A board: its own processes, mounts, host name and network. Losing power is SIGKILL to its process 1.
//!
//! Process 1 is this same program: it sets the board up, starts what it is told to, collects every process that ends,
//! and marks the moment at which none is left.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, BufRead, Write};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::wait;
use nix::unistd::{Pid, User, sethostname};

use super::lab::{Lab, NAMES};

/// The word by which this program knows that it is process 1 of a board.
pub(crate) const WORD: &str = "--board";
/// What can reset a machine; a board has none of it.
const MASKED: [&str; 6] = ["reboot", "halt", "poweroff", "shutdown", "init", "telinit"];
/// How often fork and exec are tried for what they cost.
const LIMITS: usize = 100;
/// Nothing that is awaited takes longer on a machine that can be measured on.
const LIMIT: Duration = Duration::from_secs(60);

/// A line of `marks`.
#[derive(Debug, Clone)]
pub(crate) struct Mark {
    /// Nanoseconds since 1970.
    pub(crate) at: u64,
    /// Process number inside the board.
    pub(crate) pid: u64,
    /// `NUMBER start`, or `board exec`, `board empty`.
    pub(crate) text: String,
}

/// A board with power.
pub(crate) struct Board {
    outside: Child,
    orders: ChildStdin,
    marks: PathBuf,
    /// Process 1, by its number outside.
    first: Pid,
    /// Marks before this one are of an earlier life.
    known: usize,
}

impl Board {
    /// Switches a board on. Its directory has been filled.
    pub(crate) fn boot(lab: &Lab, node: usize) -> io::Result<Self> {
        let directory = lab.board_directory(node);
        let program = std::env::current_exe()?;
        let mut outside = Command::new("ip")
            .args(["netns", "exec", &lab.namespace(node), "unshare", "--pid", "--fork", "--mount-proc"])
            .args(["--mount", "--uts", "--ipc"])
            .arg(program)
            .args([WORD.as_ref(), directory.as_os_str(), NAMES[node].as_ref()])
            .stdin(Stdio::piped())
            .spawn()?;
        let orders = outside.stdin.take().ok_or_else(|| io::Error::other("no pipe"))?;
        let marks = directory.join("ha.d/marks");
        let known = read_marks(&marks).len();
        let mut board = Self { outside, orders, marks, first: Pid::from_raw(0), known };
        board.await_mark("board ready")?;
        let children = format!("/proc/{0}/task/{0}/children", board.outside.id());
        let first = fs::read_to_string(children)?;
        board.first = Pid::from_raw(first.trim().parse().map_err(io::Error::other)?);
        Ok(board)
    }

    /// Has process 1 start a program.
    pub(crate) fn start(&mut self, command: &[String]) -> io::Result<()> {
        self.known = read_marks(&self.marks).len();
        self.order(&format!("run {}", command.join(" ")))
    }

    /// Gives process 1 an order.
    pub(crate) fn order(&mut self, text: &str) -> io::Result<()> {
        writeln!(self.orders, "{text}")
    }

    /// Has process 1 send SIGTERM to the process in this file.
    pub(crate) fn terminate(&mut self, pid_file: &str) -> io::Result<()> {
        self.order(&format!("term {pid_file}"))
    }

    /// Marks of this life.
    pub(crate) fn marks(&self) -> Vec<Mark> {
        read_marks(&self.marks).split_off(self.known)
    }

    /// Only marks from now on count.
    pub(crate) fn forget_marks(&mut self) {
        self.known = read_marks(&self.marks).len();
    }

    /// The last mark that says `text`.
    pub(crate) fn mark(&self, text: &str) -> Option<Mark> {
        self.marks().into_iter().rfind(|mark| mark.text == text)
    }

    /// Waits for a mark that says `text`.
    pub(crate) fn await_mark(&self, text: &str) -> io::Result<Mark> {
        let start = Instant::now();
        while start.elapsed() < LIMIT {
            if let Some(mark) = self.mark(text) {
                return Ok(mark);
            }
            thread::sleep(Duration::from_millis(5));
        }
        Err(io::Error::new(io::ErrorKind::TimedOut, format!("no `{text}` in {}", self.marks.display())))
    }

    /// The plug is pulled.
    pub(crate) fn cut_power(mut self) -> io::Result<()> {
        kill(self.first, Signal::SIGKILL)?;
        self.outside.wait()?;
        Ok(())
    }

    /// All processes but process 1, by their numbers outside.
    pub(crate) fn processes(&self) -> io::Result<BTreeSet<u32>> {
        let space = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
        let own = space(&self.first.to_string());
        let mut found = BTreeSet::new();
        for entry in fs::read_dir("/proc")? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            if let Ok(pid) = name.parse()
                && pid != self.first.as_raw().unsigned_abs()
                && own.is_some()
                && space(&name) == own
            {
                found.insert(pid);
            }
        }
        Ok(found)
    }
}

impl Drop for Board {
    fn drop(&mut self) {
        if self.first.as_raw() > 0 {
            let _ = kill(self.first, Signal::SIGKILL);
        } else {
            let _ = self.outside.kill();
        }
        let _ = self.outside.wait();
    }
}

fn read_marks(path: &Path) -> Vec<Mark> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines()
        .filter_map(|line| {
            let mut words = line.splitn(3, ' ');
            let at = words.next()?.parse().ok()?;
            let pid = words.next()?.parse().ok()?;
            Some(Mark { at, pid, text: words.next()?.to_string() })
        })
        .collect()
}

/// Nanoseconds since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_nanos()).unwrap_or_default())
}

/// Process 1 of a board: never returns to the observer's code.
pub(crate) fn process_one(arguments: &[String]) -> io::Result<()> {
    let [directory, name] = arguments else { return Err(io::Error::other("--board DIRECTORY NAME")) };
    let directory = Path::new(directory);
    sethostname(name)?;
    set_up(directory)?;
    mark(now(), "ready")?;
    for order in io::stdin().lock().lines() {
        let order = order?;
        let words: Vec<&str> = order.split(' ').collect();
        match words.as_slice() {
            ["run", program, arguments @ ..] => {
                let log = fs::File::options().create(true).append(true).open(directory.join("output"))?;
                let mut command = Command::new(program);
                command.args(arguments).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
                let at = now();
                let child = command.spawn()?;
                mark(at, "exec")?;
                fs::write("/run/started.pid", child.id().to_string())?;
                thread::spawn(collect);
            }
            ["limit", program] => {
                for _ in 0..LIMITS {
                    let at = now();
                    Command::new(program).args(["1", "start"]).stdin(Stdio::null()).status()?;
                    mark(at, "fork")?;
                }
                mark(now(), "limits")?;
            }
            ["term", file] => {
                let pid = fs::read_to_string(file)?;
                kill(Pid::from_raw(pid.trim().parse().map_err(io::Error::other)?), Signal::SIGTERM)?;
            }
            _ => return Err(io::Error::other(format!("unknown order `{order}`"))),
        }
    }
    Ok(())
}

/// Collects children until there is none.
fn collect() {
    while wait() != Err(Errno::ECHILD) {}
    let _ = mark(now(), "empty");
}

fn mark(at: u64, text: &str) -> io::Result<()> {
    let mut marks = fs::File::options().create(true).append(true).open("/etc/ha.d/marks")?;
    marks.write_all(format!("{at} 1 board {text}\n").as_bytes())
}

fn set_up(directory: &Path) -> io::Result<()> {
    for name in MASKED {
        for place in ["/sbin", "/usr/sbin", "/bin", "/usr/bin"] {
            let path = Path::new(place).join(name);
            if path.exists() {
                bind(Path::new("/bin/true"), &path)?;
            }
        }
    }
    let trigger = Path::new("/proc/sysrq-trigger");
    if trigger.exists() {
        bind(Path::new("/dev/null"), trigger)?;
    }
    fresh("/run")?;
    bind(&directory.join("ha.d"), Path::new("/etc/ha.d"))?;
    let state = directory.join("state");
    fs::create_dir_all(state.join("cores/root"))?;
    fs::create_dir_all("/run/lock")?;
    fs::create_dir_all("/run/resource-agents")?;
    let Some(user) = User::from_name("hacluster")? else { return Ok(()) };
    let (uid, gid) = (Some(user.uid.as_raw()), Some(user.gid.as_raw()));
    for place in ["/run/heartbeat", "/run/heartbeat/ccm", "/run/heartbeat/crm", "/run/heartbeat/dopd", "/run/crm"] {
        fs::create_dir_all(place)?;
        chown(place, uid, gid)?;
    }
    fs::create_dir_all("/run/heartbeat/rsctmp")?;
    fs::set_permissions("/run/heartbeat/rsctmp", fs::Permissions::from_mode(0o1755))?;
    if Path::new("/var/lib/heartbeat").exists() {
        bind(&state, Path::new("/var/lib/heartbeat"))?;
    }
    Ok(())
}

fn bind(from: &Path, to: &Path) -> io::Result<()> {
    Ok(mount(Some(from), to, None::<&str>, MsFlags::MS_BIND, None::<&str>)?)
}

fn fresh(place: &str) -> io::Result<()> {
    Ok(mount(Some("tmpfs"), place, Some("tmpfs"), MsFlags::empty(), None::<&str>)?)
}
