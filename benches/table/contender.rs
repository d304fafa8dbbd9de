//! The three programs, each set up for the same two boards.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::lab::{CABLES, Lab, NAMES, address, copy_tree};
use super::tap::{self, IsBeat};

const HEARTBEAT: &str = "/usr/libexec/heartbeat/heartbeat";
const KEEPALIVED: &str = "/usr/sbin/keepalived";

/// Scripts of the group that belongs on alpha.
pub(crate) const FEW: usize = 3;
/// Scripts of the group that belongs on beta.
pub(crate) const MANY: usize = 50;
/// The first of those; the others follow.
pub(crate) const MANY_FROM: usize = 10;

/// Dead time of the scenario with keepalive 200 ms, in milliseconds.
pub(crate) const DEADTIME_MS: u64 = 1000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Contender {
    Nullbeat,
    Heartbeat,
    /// With this advertisement interval in milliseconds.
    Keepalived(u64),
}

/// What goes into ha.cf beside the names.
#[derive(Debug, Clone)]
pub(crate) struct Timing {
    pub(crate) keepalive_ms: u64,
    pub(crate) deadtime_ms: u64,
    pub(crate) is_realtime: bool,
    /// Lines that name the links of a node.
    pub(crate) links: fn(usize, usize) -> String,
    /// How many of them.
    pub(crate) cables: usize,
    /// There is a serial line of this speed.
    pub(crate) baud: Option<u32>,
}

impl Default for Timing {
    fn default() -> Self {
        Self { keepalive_ms: 200, deadtime_ms: DEADTIME_MS, is_realtime: true, links: udp, cables: 1, baud: None }
    }
}

/// A `ucast` line for a cable.
fn udp(node: usize, cable: usize) -> String {
    format!("ucast eth{cable} {}\n", address(cable, 1 - node))
}

impl Contender {
    pub(crate) const fn is_beat(self) -> IsBeat {
        match self {
            Self::Nullbeat | Self::Heartbeat => tap::is_status,
            Self::Keepalived(_) => tap::is_advert,
        }
    }

    /// From the last beat received to the verdict, in nanoseconds, on a node of `priority` for VRRP.
    pub(crate) fn deadtime_ns(self) -> u64 {
        match self {
            Self::Nullbeat | Self::Heartbeat => DEADTIME_MS * 1_000_000,
            // RFC 5798: three intervals and the skew.
            Self::Keepalived(advert) => advert * 1_000_000 * 3 + advert * 1_000_000 * (256 - PRIORITY[1]) / 256,
        }
    }

    pub(crate) fn pid_file(self) -> &'static str {
        match self {
            Self::Heartbeat => "/run/heartbeat.pid",
            Self::Nullbeat | Self::Keepalived(_) => "/run/started.pid",
        }
    }

    /// The mark that says that the group of alpha, or of beta, is complete.
    pub(crate) fn complete(self, group: usize) -> String {
        match (self, group) {
            (Self::Keepalived(_), _) => "1 start".into(),
            (_, 0) => format!("{FEW} start"),
            _ => format!("{} start", MANY_FROM + MANY - 1),
        }
    }

    /// The mark of the last script to be stopped when `group` is released.
    pub(crate) fn released(self, group: usize) -> String {
        match (self, group) {
            (Self::Keepalived(_), _) | (_, 0) => "1 stop".into(),
            _ => format!("{MANY_FROM} stop"),
        }
    }

    /// Fills the directory of each board.
    pub(crate) fn prepare(self, lab: &Lab, marker: &Path, timing: &Timing) -> io::Result<()> {
        for node in 0..NAMES.len() {
            let directory = lab.board_directory(node);
            let files = directory.join("ha.d");
            fs::create_dir_all(directory.join("state"))?;
            if self == Self::Heartbeat {
                copy_tree(Path::new("/etc/ha.d"), &files)?;
                // Of another run, should one have ended badly.
                let _ = fs::remove_file(files.join("marks"));
            }
            fs::create_dir_all(files.join("resource.d"))?;
            fs::copy(marker, files.join("resource.d/n"))?;
            if let Self::Keepalived(advert) = self {
                fs::write(files.join("keepalived.conf"), keepalived_conf(node, advert))?;
                continue;
            }
            fs::write(files.join("ha.cf"), ha_cf(node, timing))?;
            fs::write(files.join("haresources"), haresources())?;
            fs::write(files.join("authkeys"), "auth 1\n1 sha1 of-a-bench\n")?;
            fs::set_permissions(files.join("authkeys"), fs::Permissions::from_mode(0o600))?;
        }
        Ok(())
    }

    /// Program and arguments.
    pub(crate) fn command(self, nullbeat: &Path) -> Vec<String> {
        let words = |text: &str| text.split(' ').map(str::to_string).collect();
        match self {
            Self::Nullbeat => [nullbeat.display().to_string()]
                .into_iter()
                .chain(words("run --run-dir /run/nullbeat --state-dir /run/nullbeat-state"))
                .collect(),
            Self::Heartbeat => vec![HEARTBEAT.into()],
            Self::Keepalived(_) => {
                let mut command = vec![KEEPALIVED.into()];
                command.extend::<Vec<_>>(words("--dont-fork --vrrp --use-file /etc/ha.d/keepalived.conf"));
                command
            }
        }
    }

    /// Whether it can be measured on this machine.
    pub(crate) fn is_installed(self) -> bool {
        match self {
            Self::Nullbeat => true,
            Self::Heartbeat => PathBuf::from(HEARTBEAT).exists(),
            Self::Keepalived(_) => PathBuf::from(KEEPALIVED).exists(),
        }
    }
}

fn ha_cf(node: usize, timing: &Timing) -> String {
    let Timing { keepalive_ms, deadtime_ms, is_realtime, links, cables, .. } = timing;
    let links: String = (0..*cables).map(|cable| links(node, cable)).collect();
    format!(
        "logfile /etc/ha.d/log\nkeepalive {keepalive_ms}ms\nwarntime {}ms\ndeadtime {deadtime_ms}ms\ninitdead 4\n\
         realtime {}\nauto_failback on\n{links}node {} {}\n",
        deadtime_ms / 2,
        if *is_realtime { "on" } else { "off" },
        NAMES[0],
        NAMES[1],
    )
}

fn haresources() -> String {
    let group = |from: usize, count: usize| (from..from + count).map(|n| format!(" n::{n}")).collect::<String>();
    format!("{}{}\n{}{}\n", NAMES[0], group(1, FEW), NAMES[1], group(MANY_FROM, MANY))
}

/// VRRP priorities of the boards.
const PRIORITY: [u64; 2] = [150, 100];

fn keepalived_conf(node: usize, advert: u64) -> String {
    let script = "/etc/ha.d/resource.d/n 1";
    format!(
        "global_defs {{\n  vrrp_version 3\n  script_user root\n}}\nvrrp_instance V {{\n  state BACKUP\n  \
         interface eth0\n  virtual_router_id 51\n  priority {}\n  advert_int {}.{:03}\n  virtual_ipaddress {{\n    \
         10.77.0.100/24 dev eth0\n  }}\n  notify_master \"{script} start\"\n  notify_backup \"{script} stop\"\n  \
         notify_stop \"{script} stop\"\n}}\n",
        PRIORITY[node],
        advert / 1000,
        advert % 1000,
    )
}

/// Plain UDP on the first `cables` cables.
pub(crate) const fn cables(count: usize) -> Timing {
    Timing { keepalive_ms: 200, deadtime_ms: DEADTIME_MS, is_realtime: true, links: udp, cables: count, baud: None }
}

const _: () = assert!(CABLES == 2, "one link, and one further link");
