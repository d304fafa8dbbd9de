//! Text to values: ha.cf, haresources, authkeys. Reads files, touches nothing else.
//!
//! [`load()`] reads all three, says everything that is wrong or doubtful at once, and gives a [`Config`] when nothing is
//! wrong. `nullbeat check` and the daemon's start both call it, so that they cannot disagree.
//!
//! ```text
//!   token ─▶ draft (directives, media, clients) ─┐
//!   token ─▶ authkeys ───────────────────────────┼─▶ sense ─▶ Config ─▶ settings (for the core)
//!   token ─▶ haresources ────────────────────────┘
//! ```

mod authkeys;
pub mod board;
pub mod checks;
mod clients;
mod digest;
mod directives;
mod draft;
mod exported;
mod fence;
mod finding;
mod gpio;
mod haresources;
mod line_time;
mod load;
mod machine;
mod media;
mod membership;
pub mod names;
mod pings;
mod sense;
pub mod services;
mod settings;
mod stamps;
mod testing;
mod token;
mod value;
pub mod watchdog;

#[cfg(any(test, fuzzing))]
pub(crate) mod sample;

use std::path::PathBuf;
use std::time::Duration;

use crate::core::message::PingKind;
use crate::core::quorum::Quorum;
use crate::core::settings::{AutoFailback, Autojoin, TakeoverPolicy};
use crate::sys::memory;

pub use checks::{CHECKERS_MAX, CheckConfig, CheckKind, Question, word as question_word};
pub use clients::{ApiAuth, ClientLine};
pub use fence::{FenceConfig, FenceHow, FenceLine, FenceMethod, Parameters, StonithParameters};
pub use finding::{At, Finding, Severity};
pub use gpio::{Bias, Drive, GpioLine, LinePlace, LineUse, OutputLine};
pub use line_time::{LineTime, MessageBytes};
use load::TextFile;
pub use load::{LoadOptions, Loaded, Purpose, load, serial_links};
pub use machine::{FileKind, Machine, StonithType, ThisMachine};
pub use stamps::{Change, FileStamps};
pub use testing::{CERTAIN, TestLosses};
pub use value::spoken;
pub(crate) use value::time;
pub use watchdog::{WatchdogConfig, WatchdogTimeout};

#[cfg(any(test, fuzzing))]
pub(crate) use machine::fake::FakeMachine;

/// Where a node keeps its things. Every directory can be moved, so that many nodes run on one machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paths {
    /// `ha.cf`, `haresources`, `authkeys`, `resource.d`, `rc.d`, `conf/OCF`: default `/etc/ha.d`.
    pub config: PathBuf,
    /// Sockets, pid file, lease: default `/run/nullbeat`.
    pub run: PathBuf,
    /// Generation, uuid: default `/var/lib/nullbeat`; with the default, generation and uuid are those in
    /// `/var/lib/heartbeat`, so that a migrated node keeps its identity.
    pub state: PathBuf,
}

/// Everything the three files say, checked, defaults filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Where it came from.
    pub paths: Paths,
    /// For each ping node, how many nodes are mentioned before it: lists of all nodes are in the order of ha.cf.
    pub ping_places: Vec<usize>,
    /// Local node name, lower case.
    pub node: String,
    /// All nodes in order, lower case, each once.
    pub nodes: Vec<String>,
    /// Longest time from one beat to the next: that of the link with the longest `keepalive`.
    pub keepalive: Duration,
    /// `keepalive` of each medium, in the order of `media`; of those that are not named here the one above.
    pub keepalives: Vec<Duration>,
    /// `warntime`.
    pub warntime: Duration,
    /// `deadtime`.
    pub deadtime: Duration,
    /// `initdead`.
    pub initdead: Duration,
    /// `max_rexmit_delay`.
    pub max_rexmit_delay: Duration,
    /// `hopfudge`: enters `ttl` only.
    pub hopfudge: u8,
    /// Media in order, those of ping nodes behind the others.
    pub media: Vec<Medium>,
    /// `deadping`.
    pub deadping: Duration,
    /// `upstream_failover`, or a line that would start Heartbeat's ipfail.
    pub has_upstream_failover: bool,
    /// `upstream_holdoff`.
    pub upstream_holdoff: Duration,
    /// `membership on`, with the rules of `env quorum=RULES`.
    pub membership: Option<Quorum>,
    /// `protocol`.
    pub protocol: Protocol,
    /// `msgfmt netstring`.
    pub is_netstring: bool,
    /// With `traditional_compression on`: datagrams of more bytes than this are packed (`compression_threshold`).
    pub compress_above: Option<usize>,
    /// `hbgenmethod time`.
    pub is_generation_from_time: bool,
    /// `uuidfrom nodename`.
    pub is_uuid_from_name: bool,
    /// authkeys.
    pub keys: Vec<AuthKey>,
    /// Number of the key that signs.
    pub signing_key: u8,
    /// `log_badpack`.
    pub log_badpack: bool,
    /// Logging.
    pub log: LogConfig,
    /// `use_apphbd`: the service of application heartbeats runs here, and the daemon itself beats for it.
    pub has_apphbd: bool,
    /// `auto_failback`.
    pub auto_failback: AutoFailback,
    /// `failback_delay`.
    pub failback_delay: Duration,
    /// The UDP port of lines that do not say one, and who says it.
    pub udp_port: (u16, PortSource),
    /// `moves_per_hour`, zero: no limit.
    pub moves_per_hour: u16,
    /// `check` and `monitor`, one for each monitored group.
    pub checks: Vec<CheckConfig>,
    /// `takeover_policy`; default `available`.
    pub takeover_policy: TakeoverPolicy,
    /// `fence`, `stonith`, `stonith_host`: how a silent peer is made sure to be off.
    pub fence: FenceConfig,
    /// `split_brain_loser NODE`; `None`: the node that is not preferred.
    pub split_brain_loser: Option<String>,
    /// Groups in the order of haresources.
    pub groups: Vec<Group>,
    /// `script_timeout`: limit for each script run.
    pub script_timeout: Duration,
    /// `HA_STOPRETRYMAX` (ha.cf `env STOPRETRYMAX=N`), default 10; `u32::MAX`: for ever.
    pub stop_retries: u32,
    /// `on_stop_failure`.
    pub on_stop_failure: OnStopFailure,
    /// `reset_with`.
    pub reset_with: ResetWith,
    /// `watchdog`, `watchdog_timeout`.
    pub watchdog: WatchdogConfig,
    /// `notify PATH`: programs that get every change.
    pub notify: Vec<PathBuf>,
    /// `reassert PATH`: programs that are run for a group whose addresses are announced once more.
    pub reassert: Vec<PathBuf>,
    /// `user`: whom the engine becomes after start.
    pub user: Option<String>,
    /// `seccomp`: the engine makes only listed system calls.
    pub is_filtered: bool,
    /// `realtime`.
    pub is_realtime: bool,
    /// `rtprio`; `None`: lowest of the policy plus one (the guardian is one below).
    pub rtprio: Option<i32>,
    /// Directives as recorded and defaulted, for `HA_<directive>` (spec/resources.md 3.3), in order.
    pub directives: Vec<(String, String)>,
    /// ha.cf `env NAME=VALUE`.
    pub environment: Vec<(String, String)>,
    /// `respawn` and `failfast`, in order.
    pub clients: Vec<ClientLine>,
    /// `apiauth`, each client once.
    pub api_auth: Vec<ApiAuth>,
    /// `coredumps`: whether a process of ours that crashes leaves a core file; `None`: by the limits of this process.
    pub core_dumps: Option<bool>,
    /// `coreroot`: each user has a directory below it, which its processes run in. `None`: `cores` in the state directory.
    pub core_root: Option<PathBuf>,
    /// Digest of what must be equal in both nodes' ha.cf.
    pub config_digest: u32,
    /// Digest of haresources after normalisation.
    pub resources_digest: u32,
    /// Groups are managed here; without (`--no-resources`) there are none and haresources was not read.
    pub has_resources: bool,
    /// `autojoin`.
    pub autojoin: Autojoin,
    /// `OnlyForTesting`: messages that are lost on purpose.
    pub test_losses: Option<TestLosses>,
    /// The file that `board` read.
    pub board: Option<PathBuf>,
    /// `gpio` of ha.cf and the board file; each use once, each line once.
    pub gpio: Vec<GpioLine>,
    /// `interlock gpio`, with `interlock_settle`; the lines `owner` and `peer-owner` are there then.
    pub interlock: Option<Duration>,
}

/// What two nullbeats say to each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Protocol {
    /// Heartbeat's messages until the partner has told that it speaks the compact format, too.
    #[default]
    Auto,
    /// Heartbeat's messages.
    Heartbeat,
    /// The compact format, and nothing else is taken.
    Compact,
}

/// Where the UDP port comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PortSource {
    /// `udpport`.
    Directive,
    /// `ha-cluster`/udp among the services of this machine.
    Service,
    /// Nowhere: the one that is registered for it.
    BuiltIn,
}

/// One medium line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Medium {
    /// `serial DEV [baud N] [flow none|rtscts]`.
    Serial {
        /// Device path, also the link's name.
        device: PathBuf,
        /// Bits per second.
        baud: u32,
        /// Hardware flow control; the old form has it on.
        is_rtscts: bool,
    },
    /// `ucast DEV HOST [bind ADDRESS]`.
    Ucast {
        /// Interface, also the link's name.
        interface: String,
        /// Peer's address, resolved.
        peer: std::net::Ipv4Addr,
        /// Local address to bind to; `None`: any.
        bind: Option<std::net::Ipv4Addr>,
        /// UDP port.
        port: u16,
    },
    /// `bcast DEV`: to the interface's broadcast address, whatever it is when the link is opened.
    Bcast {
        /// Interface, also the link's name.
        interface: String,
        /// UDP port.
        port: u16,
    },
    /// `mcast DEV GROUP PORT TTL LOOP`.
    Mcast {
        /// Interface, also the link's name.
        interface: String,
        /// Group.
        group: std::net::Ipv4Addr,
        /// UDP port.
        port: u16,
        /// Routers that a datagram may pass, 0 to 4; 1 is none.
        ttl: u8,
        /// Whether we hear ourselves.
        is_looped: bool,
    },
    /// `ucast6 DEV ADDRESS`.
    Ucast6 {
        /// Interface, also the link's name, and the scope of a link-local address.
        interface: String,
        /// Peer's address.
        peer: std::net::Ipv6Addr,
        /// UDP port.
        port: u16,
    },
    /// `mcast6 DEV GROUP PORT HOPS LOOP`.
    Mcast6 {
        /// Interface, also the link's name.
        interface: String,
        /// Group.
        group: std::net::Ipv6Addr,
        /// UDP port.
        port: u16,
        /// Routers that a datagram may pass, 0 to 4; 1 is none.
        hops: u8,
        /// Whether we hear ourselves.
        is_looped: bool,
    },
    /// A host of `ping` or `ping6`, or a `ping_group`: no link to a peer.
    Ping {
        /// The ping node's name, lower case.
        name: String,
        /// Which directive.
        kind: PingKind,
        /// Addresses, resolved; of a group any one is enough.
        hosts: Vec<std::net::IpAddr>,
    },
}

impl Medium {
    /// Whether it asks a ping node, and leads to no peer.
    pub const fn is_ping(&self) -> bool {
        matches!(self, Self::Ping { .. })
    }

    /// The link's name.
    pub fn name(&self) -> String {
        match self {
            Self::Serial { device, .. } => device.display().to_string(),
            Self::Ping { name, .. } => name.clone(),
            _ => self.interface().to_owned(),
        }
    }

    /// The interface of a network medium; nothing for a serial line.
    pub const fn interface(&self) -> &str {
        match self {
            Self::Serial { .. } | Self::Ping { .. } => "",
            Self::Ucast { interface, .. }
            | Self::Bcast { interface, .. }
            | Self::Mcast { interface, .. }
            | Self::Ucast6 { interface, .. }
            | Self::Mcast6 { interface, .. } => interface.as_str(),
        }
    }

    /// The directive that makes it.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Serial { .. } => "serial",
            Self::Ucast { .. } => "ucast",
            Self::Bcast { .. } => "bcast",
            Self::Mcast { .. } => "mcast",
            Self::Ucast6 { .. } => "ucast6",
            Self::Mcast6 { .. } => "mcast6",
            Self::Ping { kind, .. } => kind.word(),
        }
    }

    /// Whether messages travel as datagrams over a network.
    pub const fn is_network(&self) -> bool {
        !matches!(self, Self::Serial { .. } | Self::Ping { .. })
    }
}

/// One line of authkeys.
#[derive(Clone, PartialEq, Eq)]
pub struct AuthKey {
    /// 0–15.
    pub number: u8,
    /// Method.
    pub method: AuthMethod,
    /// Key bytes; empty for crc.
    pub key: Vec<u8>,
}

impl Drop for AuthKey {
    fn drop(&mut self) {
        memory::wipe(&mut self.key);
    }
}

impl std::fmt::Debug for AuthKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Keys stay out of logs.
        write!(f, "AuthKey {{ {} {:?} }}", self.number, self.method)
    }
}

/// How a message is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthMethod {
    /// Checksum, no secret.
    Crc,
    /// HMAC-MD5.
    Md5,
    /// HMAC-SHA1.
    Sha1,
}

/// Where log lines go.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LogConfig {
    /// `logfile`; everything but debug.
    pub logfile: Option<PathBuf>,
    /// `debugfile`; everything.
    pub debugfile: Option<PathBuf>,
    /// `logfacility`, a syslog facility name; `None`: no syslog.
    pub facility: Option<String>,
    /// `debug`, 0–255.
    pub debug: u8,
    /// `syslogmsgfmt`.
    pub is_syslog_format: bool,
    /// `log_format structured`: key=value lines.
    pub is_structured: bool,
    /// `use_logd`: everything goes to Heartbeat's logging daemon, which is looked for so often (`conn_logd_time`) while it
    /// is not there and the other places serve.
    pub logd_retry: Option<Duration>,
}

/// One haresources line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Preferred node, lower case.
    pub node: String,
    /// The normalised line without the node: all words joined by one blank.
    pub text: String,
    /// Members in start order; the first one's word is the group's key.
    pub resources: Vec<Resource>,
}

impl Group {
    /// The first resource word, verbatim.
    pub fn key(&self) -> &str {
        self.resources.first().map_or("", |resource| resource.word.as_str())
    }
}

/// One resource word (spec/resources.md 2.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource {
    /// As written.
    pub word: String,
    /// Script name: before the first `::`; `IPaddr` for a bare address.
    pub script: String,
    /// Arguments.
    pub arguments: Vec<String>,
}

/// `on_stop_failure`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnStopFailure {
    /// Heartbeat's: reset this board so that the peer may take over.
    Reboot,
    /// Keep the claim, raise the alarm, wait for a person.
    Hold,
}

/// `reset_with`: the one way in which this board is reset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ResetWith {
    /// reboot(2), forced, without sync of anything that may hang.
    Reboot,
    /// `/proc/sysrq-trigger`, `b`.
    Sysrq,
    /// A program, opened at start.
    Hook(PathBuf),
    /// No more kicks, and the shortest timeout that the watchdog takes.
    Watchdog,
}

impl ResetWith {
    /// What the value of a `reset_with` says.
    pub fn parse(text: &str) -> Option<Self> {
        Some(match (text, text.strip_prefix("hook").map(str::trim_start)) {
            ("reboot", _) => Self::Reboot,
            ("sysrq", _) => Self::Sysrq,
            ("watchdog", _) => Self::Watchdog,
            (_, Some(program)) if program.starts_with('/') => Self::Hook(program.into()),
            _ => return None,
        })
    }

    /// The value that says it.
    pub fn text(&self) -> String {
        match self {
            Self::Reboot => "reboot".to_owned(),
            Self::Sysrq => "sysrq".to_owned(),
            Self::Watchdog => "watchdog".to_owned(),
            Self::Hook(program) => format!("hook {}", program.display()),
        }
    }
}

#[cfg(test)]
mod tests;
