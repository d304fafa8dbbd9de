//! The two boards: their configuration, small disks, scripts, clocks, and the switches by which they cut each other's power.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};

use crate::lab::{AT_HOME, Board, Lab, clock, write_script};
use crate::plan::Pair;

/// Longer than a noisy machine stands still.
pub(crate) const DEADTIME: Duration = Duration::from_secs(3);
/// How long a board that was shot or reset stays off.
const OFF: Duration = Duration::from_millis(1500);
/// What nullbeat writes to: small, so that it can be filled.
const DISKS: [(&str, &str); 3] = [("state", "size=1m"), ("log", "size=32m"), ("run", "size=1m")];

/// The boards and what stands around them.
pub(crate) struct Bench {
    pub(crate) lab: Lab,
    pub(crate) pair: Pair,
    /// Power comes back then.
    off_until: [Option<Instant>; 2],
    pub(crate) clocks: [clock::Clock; 2],
    /// What happened of itself: shots, resets, power that is back.
    pub(crate) news: Vec<String>,
}

impl Bench {
    /// Both boards have power, no daemon runs.
    pub(crate) fn new(pair: Pair) -> Self {
        // Disks are mounted for this thread and what it starts only.
        unshare(CloneFlags::CLONE_NEWNS).expect("a mount namespace");
        let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
        mount(None::<&str>, "/", None::<&str>, private, None::<&str>).expect("mounts of our own");
        let mut lab = Lab::new(["alpha", "beta"]);
        if pair == Pair::Mixed {
            lab.boards[1].use_heartbeat();
        }
        let library = clock::library(&lab.dir);
        let clocks = [0, 1].map(|index| {
            let (clock, through) = clock::of_board(&lab.boards[index], &library);
            lab.boards[index].through = through;
            clock
        });
        for board in &lab.boards {
            if !board.runs_heartbeat() {
                for (name, size) in DISKS {
                    let place = board.dir.join(name);
                    fs::create_dir_all(&place).expect("folder");
                    let flags = MsFlags::empty();
                    mount(Some("tmpfs"), &place, Some("tmpfs"), flags, Some(size)).expect("a small disk");
                }
            }
            write_script(&board.config_dir().join("resource.d/trace"), &service(&lab, board));
            write_script(&board.reset_hook(), &reset(&lab, board));
            write_script(&board.dir.join("shoot"), &shoot(&lab, board));
            board.configure(&ha_cf(&lab, board, pair), AT_HOME);
        }
        for board in &mut lab.boards {
            board.power_on();
        }
        Self { lab, pair, off_until: [None; 2], clocks, news: Vec::new() }
    }

    /// Everything that the switches were asked for; power that is due. Call it often.
    pub(crate) fn serve(&mut self) {
        for index in [0, 1] {
            let name = self.lab.boards[index].name.clone();
            let (cut, reset) = (self.lab.dir.join(format!("cut-{name}")), self.lab.dir.join(format!("reset-{name}")));
            if cut.exists() {
                self.news.push(format!("{name} is shot"));
                self.power_off(index, Instant::now() + OFF);
                fs::remove_file(&cut).expect("a request");
                fs::write(self.is_off(index), "").expect("an answer");
            }
            if reset.exists() {
                self.news.push(format!("{name} resets itself"));
                self.power_off(index, Instant::now() + OFF);
                fs::remove_file(&reset).expect("a request");
            }
            if self.off_until[index].is_some_and(|until| until <= Instant::now()) {
                self.power_on(index);
            }
        }
    }

    /// What tells whoever shoots at this board that it is off.
    fn is_off(&self, index: usize) -> PathBuf {
        self.lab.dir.join(format!("is-off-{}", self.lab.boards[index].name))
    }

    /// Cuts the power until then, or later when somebody wanted that before.
    pub(crate) fn power_off(&mut self, index: usize, until: Instant) {
        self.off_until[index] = self.off_until[index].max(Some(until));
        if self.lab.boards[index].is_on() {
            self.lab.power_off(index);
            // What it remembers of this boot is in memory.
            empty(&self.lab.boards[index].dir.join("run"));
        }
    }

    /// Power, and the daemon as at boot.
    pub(crate) fn power_on(&mut self, index: usize) {
        if self.off_until[index].take().is_some() {
            let _ = fs::remove_file(self.is_off(index));
            let board = &mut self.lab.boards[index];
            board.power_on();
            board.start();
            self.news.push(format!("{} has power again", board.name));
        }
    }

    pub(crate) fn is_on(&self, index: usize) -> bool {
        self.lab.boards[index].is_on()
    }

    /// Whether a daemon is there that a service manager would not start again.
    pub(crate) fn has_daemon(&self, index: usize) -> bool {
        let board = &self.lab.boards[index];
        let role = if board.runs_heartbeat() { "heartbeat" } else { "guardian" };
        board.is_on() && !board.pids(role).is_empty()
    }

    /// Uses up these disks of a board, or gives the room back.
    pub(crate) fn fill(&self, index: usize, disks: &[&str], is_full: bool) {
        for name in disks {
            let filler = self.lab.boards[index].dir.join(name).join("filler");
            // A disk that is full already has no room for a file, and one that is not has none to remove.
            let _ = if is_full { fill(&filler) } else { fs::remove_file(filler) };
        }
    }

    /// Writes ha.cf again, with this line at its end.
    pub(crate) fn write_ha_cf(&self, index: usize, line: &str) {
        let board = &self.lab.boards[index];
        let path = board.config_dir().join("ha.cf");
        fs::write(path, ha_cf(&self.lab, board, self.pair) + line).expect("ha.cf");
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        for board in &mut self.lab.boards {
            board.power_off();
            for (name, _) in DISKS {
                let _ = umount2(&board.dir.join(name), MntFlags::MNT_DETACH);
            }
        }
    }
}

/// Removes what is in a folder, which may be a mount point.
fn empty(folder: &Path) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }.expect("removed");
    }
}

/// Writes zeros until there is no more room, byte by byte in the end.
fn fill(path: &Path) -> std::io::Result<()> {
    use std::io::Write as _;
    let mut file = fs::File::create(path)?;
    let zeros = [0; 65_536];
    for size in [zeros.len(), 1] {
        while file.write(&zeros[..size]).is_ok_and(|count| count > 0) {}
    }
    Ok(())
}

fn ha_cf(lab: &Lab, board: &Board, pair: Pair) -> String {
    let text = match pair {
        Pair::Mixed => lab.shared_ha_cf(board),
        Pair::Fenced | Pair::Plain => lab
            .usual_ha_cf(board, "")
            .replace("deadtime 1\n", &format!("deadtime {}\n", DEADTIME.as_secs()))
            .replace("initdead 4\n", "initdead 7\n"),
    };
    if board.runs_heartbeat() {
        return text;
    }
    let dir = board.dir.display();
    let mut text = text.replace(&format!("{dir}/ha-"), &format!("{dir}/log/ha-"));
    if pair == Pair::Mixed {
        text += &format!("reset_with hook {}\n", board.reset_hook().display());
    }
    if pair == Pair::Fenced {
        text += &format!("fence hook {dir}/shoot limit 3\nfence_settle 3\nfences_per_hour 16\n");
    }
    text
}

/// A resource script. It takes a moment, so that it is hit in the middle, and says what can be relied upon: whatever has
/// been begun leaves a mark, and a stop always ends with a word.
fn service(lab: &Lab, board: &Board) -> String {
    format!(
        r#"#!/bin/sh
group=$1; action=$2; mark={dir}/marks/$1
tell() {{ echo "{node} $group $1" > {fifo}; }}
case $action in
start) : >"$mark" || exit 1
       tell start-begin; sleep 0.1; tell start-end;;
stop)  if [ -e "$mark" ]; then tell stop-begin; sleep 0.1; fi
       rm -f "$mark" || exit 1
       tell stop-end;;
status) if [ -e "$mark" ]; then echo running; else echo stopped; exit 3; fi;;
esac
exit 0
"#,
        dir = board.dir.display(),
        node = board.name,
        fifo = lab.observer.fifo().display(),
    )
}

/// A board that resets itself: everything on it is gone at once, whoever sees to the rest.
fn reset(lab: &Lab, board: &Board) -> String {
    format!(
        "#!/bin/sh\necho \"$@\" >>{dir}/resets\n: >{lab}/reset-{node}\nkill -s KILL -- -1\necho '{node} * off' >{fifo}\n",
        dir = board.dir.display(),
        lab = lab.dir.display(),
        node = board.name,
        fifo = lab.observer.fifo().display(),
    )
}

/// What a board shoots with: asks for the partner's power to be cut, and waits for that.
fn shoot(lab: &Lab, board: &Board) -> String {
    format!(
        r#"#!/bin/sh
case $(cat {dir}/shoot-mode 2>/dev/null) in
fail) exit 1;;
hang) trap '' TERM; while :; do sleep 1; done;;
esac
: >{lab}/cut-{partner}
while ! [ -e {lab}/is-off-{partner} ]; do sleep 0.02; done
"#,
        dir = board.dir.display(),
        lab = lab.dir.display(),
        partner = lab.boards[1 - board.index].name,
    )
}
