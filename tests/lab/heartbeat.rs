//! The packaged Heartbeat 3.0.6 as the daemon of a board.
//!
//! It uses fixed paths and may reboot its machine, so it only ever runs in a board's own namespaces: with its own
//! `/etc/ha.d`, `/var/lib` and `/run`, and with everything that could end the machine replaced by `true`.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Output;

use super::{Board, Lab, run};

/// First words of a board's process 1, `$1` being the board's folder. A failure leaves the board off.
pub(super) const MOUNTS: &str = r#"set -e
for program in reboot halt poweroff shutdown init; do
    target=$(readlink -f /sbin/$program) || continue
    [ -e "$target" ] || continue
    [ "$target" -ef /bin/true ] || mount --bind /bin/true "$target"
    [ /sbin/$program -ef /bin/true ]
done
mkdir -p "$1/memory"
mount -t tmpfs tmpfs "$1/memory"
mkdir "$1/memory/up" "$1/memory/work"
mount -t overlay -o "lowerdir=/var/lib,upperdir=$1/memory/up,workdir=$1/memory/work" overlay /var/lib
mount --bind "$1/ha.d" /etc/ha.d
mount --bind "$1/state" /var/lib/heartbeat
mount -t tmpfs tmpfs /run
mkdir -p /run/lock /run/heartbeat/ccm /run/heartbeat/crm /run/heartbeat/dopd
chown -R hacluster:haclient /run/heartbeat
chmod -R 0750 /run/heartbeat
set +e
"#;

/// Its program, as the package has installed it.
fn program() -> PathBuf {
    let output = std::process::Command::new("dpkg").args(["-L", "heartbeat"]).output().expect("dpkg");
    let files = String::from_utf8_lossy(&output.stdout).into_owned();
    let found = files.lines().find(|path| path.ends_with("/heartbeat/heartbeat") && !path.starts_with("/etc"));
    PathBuf::from(found.expect("Debian's package heartbeat is installed"))
}

impl Board {
    /// From the next power-on this board runs Heartbeat: with the packaged files and our own traced script.
    pub(crate) fn use_heartbeat(&mut self) {
        let copy = |from: &str, to: &Path| run("cp", &["-a", from, &to.to_string_lossy()]);
        copy("/etc/ha.d/.", &self.config_dir());
        copy("/var/lib/heartbeat/.", &self.dir.join("state"));
        // An installation that has run keeps its identity there; a board has its own.
        run("find", &[&self.dir.join("state").to_string_lossy(), "-type", "f", "-delete"]);
        // Its log files are handed over to its own user.
        std::fs::set_permissions(&self.dir, std::fs::Permissions::from_mode(0o755)).expect("mode");
        self.heartbeat = Some(program());
    }

    /// Puts nullbeat in the place of Heartbeat's program, and of `cl_status`, until the power goes.
    pub(crate) fn swap_program(&self) {
        for path in [program(), PathBuf::from("/usr/bin/cl_status")] {
            let output = self.on_board(&["mount", "--bind", super::NULLBEAT, &path.to_string_lossy()]);
            assert!(output.status.success(), "{output:?}");
        }
    }

    /// Heartbeat's program, or what has taken its place.
    pub(crate) fn heartbeat(&self, words: &[&str]) -> Output {
        let path = program();
        let all: Vec<&str> = [path.to_str().expect("UTF-8")].into_iter().chain(words.iter().copied()).collect();
        self.on_board(&all)
    }

    /// The next daemon started here is ours: the board keeps the files of Heartbeat, and its power.
    pub(crate) fn swap_to_nullbeat(&mut self) {
        assert!(self.heartbeat.take().is_some(), "{} does not run Heartbeat", self.name);
    }

    /// The next daemon started here is Heartbeat again.
    pub(crate) fn swap_to_heartbeat(&mut self) {
        self.heartbeat = Some(program());
    }

    /// Whether the board's daemon is Heartbeat.
    pub(crate) fn runs_heartbeat(&self) -> bool {
        self.heartbeat.is_some()
    }

    /// One of Heartbeat's own tools, on this board.
    pub(crate) fn heartbeat_tool(&self, name: &str, words: &[&str]) -> Output {
        let path = format!("/usr/share/heartbeat/{name}");
        let all: Vec<&str> = [path.as_str()].into_iter().chain(words.iter().copied()).collect();
        self.on_board(&all)
    }
}

impl Lab {
    /// alpha runs nullbeat, beta runs Heartbeat; the same ha.cf but for what Heartbeat would refuse.
    pub(crate) fn mixed(haresources: &str) -> Self {
        Self::with_heartbeats(&[1], haresources)
    }

    /// The same with Heartbeat on these boards.
    pub(crate) fn with_heartbeats(which: &[usize], haresources: &str) -> Self {
        let mut lab = Self::new(["alpha", "beta"]);
        which.iter().for_each(|index| lab.boards[*index].use_heartbeat());
        for board in &lab.boards {
            let mut ha_cf = lab.shared_ha_cf(board);
            if board.heartbeat.is_none() {
                ha_cf += &format!("reset_with hook {}\n", board.reset_hook().display());
            }
            board.configure(&ha_cf, haresources);
        }
        lab
    }

    /// Both boards have Heartbeat's package and power. On alpha its program has been swapped for nullbeat; nothing runs.
    pub(crate) fn swapped(haresources: &str) -> Self {
        let mut lab = Self::new(["alpha", "beta"]);
        for index in [0, 1] {
            lab.boards[index].use_heartbeat();
            let board = &lab.boards[index];
            let mut ha_cf = lab.shared_ha_cf(board);
            if index == 0 {
                ha_cf += &format!("reset_with hook {}\n", board.reset_hook().display());
            }
            board.configure(&ha_cf, haresources);
            lab.boards[index].power_on();
        }
        lab.boards[0].swap_program();
        lab
    }

    /// ha.cf of the mixed pair: what both programs understand.
    pub(crate) fn shared_ha_cf(&self, board: &Board) -> String {
        let peer = &self.boards[1 - board.index];
        format!(
            "logfile {dir}/ha-log\ndebugfile {dir}/ha-debug\nuse_logd off\nkeepalive 200ms\nwarntime 1\ndeadtime 3\n\
             initdead 10\nudpport 694\nbaud 115200\nserial {serial}\nucast ens33 {peer}\nauto_failback on\n\
             node {first}\nnode {second}\n",
            dir = board.dir.display(),
            serial = board.serial.display(),
            peer = peer.address,
            first = self.boards[0].name,
            second = self.boards[1].name,
        )
    }
}
