//! Boards with a real systemd as their process 1, in namespaces of their own: a cgroup namespace and hierarchy too.
//!
//! systemd sees only the units that the test gives it and the targets that services want by default. `/etc`, `/proc/sys`
//! and the machine's own cgroups are out of its reach; what it writes goes to file systems in memory.

use std::path::Path;
use std::process::{Command, Stdio};

use super::{Board, Lab, NULLBEAT};

/// Targets that a unit with default dependencies wants, and those that are found wherever systemd runs.
const TARGETS: [&str; 7] = ["sysinit", "basic", "multi-user", "shutdown", "local-fs", "network", "umount"];

/// A cgroup of the board's own; then what `unshare` starts has no other one. `$1` is the board's folder, `$2` its name.
const CGROUP: &str = r#"set -e
mkdir -p "$1/cgroup"
mount -t cgroup2 cgroup2 "$1/cgroup"
mkdir "$1/cgroup/$2"
echo $$ >"$1/cgroup/$2/cgroup.procs"
shift 2
exec "$@""#;

/// First words of process 1, `$0` being the board's name and `$1` its folder.
const BOOT: &str = r#"
set -e
hostname "$0"; ip link set lo up
# Masked where Heartbeat could call them; in a PID namespace of its own systemd ends nothing but that.
for masked in "$(readlink -f /sbin/init)" "$(readlink -f /sbin/reboot)"; do
    while umount "$masked" 2>/dev/null; do :; done
done
mount -t tmpfs tmpfs "$1/memory"
for place in usr/sbin var/lib; do
    mkdir -p "$1/memory/$place/up" "$1/memory/$place/work"
    mount -t overlay -o "lowerdir=/$place,upperdir=$1/memory/$place/up,workdir=$1/memory/$place/work" overlay "/$place"
done
mount --bind "$1/state" /var/lib/heartbeat
cp "$2" /usr/sbin/nullbeat
mount -t tmpfs tmpfs /var/log
mkdir "$1/memory/etc"; mkdir "$1/memory/etc/up" "$1/memory/etc/work"
mount -t overlay -o "lowerdir=/etc,upperdir=$1/memory/etc/up,workdir=$1/memory/etc/work" overlay /etc
echo "$0" >/etc/hostname
mount --bind "$1/ha.d" /etc/ha.d
umount -l "$1/cgroup"
while umount -l /sys/fs/cgroup 2>/dev/null; do :; done
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount --bind /proc/sys /proc/sys
mount -o remount,ro,bind /proc/sys
echo up
exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin container=bench SYSTEMD_UNIT_PATH="$1/units" \
    SYSTEMD_GENERATOR_PATH="$1/none" SYSTEMD_ENVIRONMENT_GENERATOR_PATH="$1/none" \
    /lib/systemd/systemd --system --unit=multi-user.target --log-target=null --show-status=no </dev/null >/dev/null 2>&1
"#;

impl Board {
    /// From the next power-on its process 1 is systemd, with these unit files.
    pub(crate) fn use_systemd(&mut self, units: &[&Path]) {
        let folder = self.dir.join("units");
        for name in [&folder, &self.dir.join("memory")] {
            std::fs::create_dir_all(name).expect("folder");
        }
        for target in TARGETS {
            let text = format!("[Unit]\nDescription={target}\nDefaultDependencies=no\n");
            std::fs::write(folder.join(format!("{target}.target")), text).expect("unit");
        }
        for unit in units {
            std::fs::copy(unit, folder.join(unit.file_name().expect("a name"))).expect("unit");
        }
        self.has_systemd = true;
    }

    /// The command that becomes this board's systemd.
    pub(super) fn systemd(&self, mounts: &str) -> Command {
        let mut command = Command::new("setsid");
        command.args(["ip", "netns", "exec", &self.netns, "sh", "-c", CGROUP, "sh"]).arg(&self.dir).arg(self.cgroup());
        command.args(["unshare", "--pid", "--fork", "--kill-child=KILL", "--mount-proc", "--mount", "--uts", "--ipc"]);
        command
            .args(["--cgroup", "--", "sh", "-c", &format!("{mounts}{BOOT}"), &self.name])
            .arg(&self.dir)
            .arg(NULLBEAT);
        command
    }

    fn cgroup(&self) -> String {
        format!("bench-{}", self.netns)
    }

    /// Removes the cgroups that a board without power has left.
    pub(super) fn remove_cgroups(&self) {
        let words = r#"mount -t cgroup2 cgroup2 "$1/cgroup" && find "$1/cgroup/$2" -depth -type d -exec rmdir {} +"#;
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", words, "sh"]).arg(&self.dir).arg(self.cgroup());
        let _ = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
    }

    /// `systemctl WORDS` on this board: exit code and what it prints.
    pub(crate) fn systemctl(&self, words: &[&str]) -> (Option<i32>, String) {
        let all: Vec<&str> = ["systemctl", "--no-pager"].into_iter().chain(words.iter().copied()).collect();
        let output = self.on_board(&all);
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8_lossy(&text).into_owned())
    }

    /// A property of a unit.
    pub(crate) fn property(&self, unit: &str, name: &str) -> String {
        self.systemctl(&["show", "--value", "-p", name, unit]).1.trim().to_owned()
    }
}

impl Lab {
    /// Waits until systemd has booted on this board.
    pub(crate) fn wait_booted(&self, index: usize) {
        self.wait("systemd has booted", |lab| {
            lab.boards[index].systemctl(&["is-system-running"]).1.trim() == "running"
        });
    }
}
