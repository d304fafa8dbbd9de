//! What nodes say to each other, by meaning. The bytes are `wire`'s business (spec/wire.md sections 6 and 7,
//! spec/resources.md section 7).

use super::LineLevel;
use super::ids::{Generation, GroupId, GroupSet, KeyNumber, NodeId, NodeSet, RelayId, Seq, Uuid};
use super::limits::{CLIENT_NAME_MAX, GROUPS_MAX, LINKS_MAX};

/// Status word of a node (spec/wire.md 9.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NodeStatus {
    /// Configured, never heard; and the first word a starting node says.
    Init,
    /// Listening.
    Up,
    /// Full member.
    Active,
    /// Silent for its announced dead time; on the wire only inside `shutdone`.
    Dead,
}

impl NodeStatus {
    /// The wire word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Init => "init",
            Self::Up => "up",
            Self::Active => "active",
            Self::Dead => "dead",
        }
    }
}

/// How a ping node is asked (`info` of its answers, spec/wire.md 11.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PingKind {
    /// One host, IPv4.
    Ping,
    /// One host, IPv6.
    Ping6,
    /// Several hosts, of which one is enough.
    Group,
}

impl PingKind {
    /// The wire word, and the word of ha.cf.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Ping => "ping",
            Self::Ping6 => "ping6",
            Self::Group => "ping_group",
        }
    }
}

/// What `ipfail` and its like here say to each other (spec/resources.md 17.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum IpfailWord {
    /// `num_ping_nodes`: so many ping nodes answer the sender. It asks the receiver to compare.
    Count(u32),
    /// `you_are_dead`: the sender reaches more ping nodes than the receiver.
    YouAreDead,
    /// `abort_giveup`: both reach the same number.
    AbortGiveup,
    /// `hbapi-clstat`: the sender's ipfail has begun.
    Join,
    /// `hbapi-clstat`: it has ended.
    Leave,
}

/// A client's name, copied out of a question about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientName {
    len: u8,
    bytes: [u8; CLIENT_NAME_MAX],
}

impl ClientName {
    /// `None` when it is longer than [`CLIENT_NAME_MAX`], or has something in it that ends a field or its name: a control
    /// character, `=`.
    pub fn new(name: &str) -> Option<Self> {
        if name.bytes().any(|byte| byte.is_ascii_control() || byte == b'=') {
            return None;
        }
        let mut bytes = [0; CLIENT_NAME_MAX];
        bytes.get_mut(..name.len())?.copy_from_slice(name.as_bytes());
        Some(Self { len: u8::try_from(name.len()).ok()?, bytes })
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        core::str::from_utf8(&self.bytes[..usize::from(self.len)]).unwrap_or_default()
    }
}

/// Holdings as the two bits of the wire, from the *sender's* view (`rsc_hold`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Holds {
    /// The groups whose preferred node is the sender.
    pub local: bool,
    /// All other groups.
    pub foreign: bool,
}

impl Holds {
    /// `none`.
    pub const NONE: Self = Self { local: false, foreign: false };
    /// `local`.
    pub const LOCAL: Self = Self { local: true, foreign: false };
    /// `foreign`.
    pub const FOREIGN: Self = Self { local: false, foreign: true };
    /// `all`.
    pub const ALL: Self = Self { local: true, foreign: true };

    /// The wire word.
    pub const fn word(self) -> &'static str {
        match (self.local, self.foreign) {
            (false, false) => "none",
            (true, false) => "local",
            (false, true) => "foreign",
            (true, true) => "all",
        }
    }

    /// The holdings that a wire word names; `failback` is a spelling of `foreign` (spec/resources.md 11.3).
    pub fn from_word(word: &str) -> Option<Self> {
        Some(match word {
            "none" => Self::NONE,
            "local" => Self::LOCAL,
            "foreign" | "failback" => Self::FOREIGN,
            "all" => Self::ALL,
            _ => return None,
        })
    }

    /// The same groups seen from the other node.
    #[must_use]
    pub const fn swapped(self) -> Self {
        Self { local: self.foreign, foreign: self.local }
    }

    /// Both together.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self { local: self.local || other.local, foreign: self.foreign || other.foreign }
    }

    /// What is left of `self` without `other`.
    #[must_use]
    pub const fn minus(self, other: Self) -> Self {
        Self { local: self.local && !other.local, foreign: self.foreign && !other.foreign }
    }
}

/// Word of the standby handshake (`info` of `ask_resources`, spec/resources.md section 11).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StandbyWord {
    /// "I want to give these up."
    Me,
    /// "I can take them."
    Other,
    /// "Released" from the giver, "acquired" from the taker.
    Done,
    /// The word `not`: never sent by the original, logged and ignored.
    Not,
}

/// Why holdings are announced (`info` of `resource`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ResourceInfo {
    /// No `info` field.
    None,
    /// A release for a standby begins.
    Standby,
    /// A release for a shutdown begins.
    Shutdown,
    /// A takeover has finished (short form, additive).
    MachDown,
    /// The acquisition of the own groups has finished.
    ReqOurResources,
    /// Any other text: no meaning to us.
    Other,
}

/// State of one group on one node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[repr(u8)]
pub enum GroupState {
    /// Not probed since this daemon started: scripts may have left it running.
    #[default]
    Unknown,
    /// Not running here.
    Stopped,
    /// Being started here.
    Starting,
    /// Running here.
    Running,
    /// Being stopped here.
    Stopping,
    /// A start failed, what had been started was stopped again.
    StartFailed,
    /// A stop failed: it may still be running here.
    StopFailed,
}

impl Extension {
    /// An extension that tells nothing yet.
    pub const EMPTY: Self = Self {
        version: 1,
        group_count: 0,
        groups: [GroupState::Unknown; GROUPS_MAX],
        claims: GroupSet::EMPTY,
        echo_generation: Generation(0),
        echo_seq: Seq(0),
        hears_partner: false,
        is_stable: false,
        is_held: false,
        is_yielding: false,
        is_asking: false,
        link_count: 0,
        links: [LinkEcho { age_ms: u32::MAX }; LINKS_MAX],
        config_digest: 0,
        resources_digest: 0,
        lease_ms: 0,
        owner_line: LineLevel::Unknown,
        health: None,
    };
}

impl GroupState {
    /// Every state, in the order of the wire letters.
    pub const ALL: [Self; 7] = [
        Self::Unknown,
        Self::Stopped,
        Self::Starting,
        Self::Running,
        Self::Stopping,
        Self::StartFailed,
        Self::StopFailed,
    ];

    /// One letter for the wire and for logs: `?sSRxfF`.
    pub const fn letter(self) -> u8 {
        match self {
            Self::Unknown => b'?',
            Self::Stopped => b's',
            Self::Starting => b'S',
            Self::Running => b'R',
            Self::Stopping => b'x',
            Self::StartFailed => b'f',
            Self::StopFailed => b'F',
        }
    }

    /// The state a letter stands for.
    pub fn from_letter(letter: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.letter() == letter)
    }

    /// For people: `stopped`, `starting`, `running`, `stopping`, `start failed`, `stop failed`, `unknown`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Stopped => "stopped",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Stopping => "stopping",
            Self::StartFailed => "start failed",
            Self::StopFailed => "stop failed",
        }
    }

    /// Whether some part of the group may be in use on the node that reports this state.
    pub const fn is_in_use(self) -> bool {
        match self {
            Self::Unknown | Self::Starting | Self::Running | Self::Stopping | Self::StopFailed => true,
            Self::Stopped | Self::StartFailed => false,
        }
    }
}

/// What the sender last heard from the addressee on one of the sender's links.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LinkEcho {
    /// Age of the newest packet, milliseconds; `u32::MAX` when never heard.
    pub age_ms: u32,
}

/// What only a nullbeat says: extra fields of `status` that the original ignores. Sent on change and with every
/// tenth beat; a `status` without it leaves the last one standing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extension {
    /// Version of these fields: 1.
    pub version: u8,
    /// Number of groups in the sender's haresources.
    pub group_count: u8,
    /// State of each group at the sender, in the order of haresources.
    pub groups: [GroupState; GROUPS_MAX],
    /// Groups the sender has claimed: running, or going to run, there.
    pub claims: GroupSet,
    /// Highest generation of the partner that the sender knows; zero when it knows none.
    pub echo_generation: Generation,
    /// Highest sequence number of the partner, in that generation, that the sender has heard.
    pub echo_seq: Seq,
    /// Whether the sender counts the partner as alive.
    pub hears_partner: bool,
    /// Whether the sender's negotiation is over and no move of groups is under way there.
    pub is_stable: bool,
    /// Whether an operator holds the sender's decisions.
    pub is_held: bool,
    /// Whether the sender lets go when two holders meet, whoever the fixed loser is: it overslept the dead time that it
    /// had announced (design.md rule 1c).
    pub is_yielding: bool,
    /// Whether the sender waits for an extension that was said after this one had been heard, before it starts anything.
    pub is_asking: bool,
    /// Number of valid entries in `links`.
    pub link_count: u8,
    /// The partner as heard on each of the sender's links, in the order of the sender's ha.cf.
    pub links: [LinkEcho; LINKS_MAX],
    /// Digest of what must be equal in both ha.cf files.
    pub config_digest: u32,
    /// Digest of haresources after normalisation.
    pub resources_digest: u32,
    /// Watchdog lease in force at the sender: its board is reset within so many milliseconds of the sending of the newest
    /// beat that the partner has acknowledged. Zero: none.
    pub lease_ms: u32,
    /// The sender's own line `owner`, as it was set last.
    pub owner_line: LineLevel,
    /// What the sender's health checks say; `None`: it has none.
    pub health: Option<HealthReport>,
}

/// What a node tells its partner of its health.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HealthReport {
    /// How many checks of the node fail.
    pub failing: u8,
    /// How many of them say nothing.
    pub unknown: u8,
    /// Groups whose service failed here, lately, although it was restarted as often as allowed.
    pub spent: GroupSet,
}

impl HealthReport {
    /// How many checks of the node cannot be counted on.
    pub const fn doubtful(&self) -> u8 {
        self.failing.saturating_add(self.unknown)
    }
}

/// The typed part of a message. `'a` borrows from the received bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body<'a> {
    /// `status`, the heartbeat.
    Status {
        /// `st`; a word outside the four is `None` and only refreshes liveness.
        status: Option<NodeStatus>,
        /// `dt`: the sender's dead time in milliseconds, when given.
        dead_ms: Option<u32>,
        /// Whether `protocol` was given: without it flow control is off (spec/wire.md 8.5).
        has_protocol: bool,
        /// The sender is a nullbeat: what it holds is told by an extension, in this message or in one to come.
        is_nullbeat: bool,
        /// What only a nullbeat says.
        extension: Option<Extension>,
    },
    /// `NS_ackmsg`.
    Ack {
        /// `ackseq`.
        acked: Seq,
    },
    /// `NS_rexmit`: please send these again.
    RexmitRequest {
        /// First wanted (decimal on the wire).
        first: Seq,
        /// Last wanted.
        last: Seq,
    },
    /// `NS_nak_rexmit`: this one cannot be had again.
    RexmitNak {
        /// The number (hex on the wire).
        first: Seq,
        /// `seqno too low` (true) or `seqno not found` (false).
        too_low: bool,
    },
    /// `reqnodes`.
    ReqNodes,
    /// `repnodes`. When sending, both lists are filled in by the wire from the configuration.
    RepNodes {
        /// Names, each followed by a blank.
        nodes: &'a str,
        /// Deleted names, each followed by a blank.
        deleted: &'a str,
    },
    /// `addnode`: these belong to the cluster from now on.
    AddNodes {
        /// Names with blanks between them; empty when sending.
        names: &'a str,
        /// When sending: which.
        nodes: NodeSet,
    },
    /// `delnode`: these do not any more.
    DelNodes {
        /// Names with blanks between them; empty when sending.
        names: &'a str,
        /// When sending: which.
        nodes: NodeSet,
    },
    /// `setweight`.
    SetWeight {
        /// Whose; when sending, [`Packet::about`].
        node: &'a str,
        /// Which.
        weight: u32,
    },
    /// `setsite`.
    SetSite {
        /// Whose; when sending, [`Packet::about`].
        node: &'a str,
        /// Which; filled in by the encoder.
        site: &'a str,
    },
    /// `starting`: tell me what you hold.
    Starting,
    /// `resource`: what the sender holds.
    Resource {
        /// `rsc_hold`.
        holds: Holds,
        /// `rtype=full`: replaces what was known; else adds to it.
        is_full: bool,
        /// `isstable`, when given.
        is_stable: Option<bool>,
        /// `info`.
        info: ResourceInfo,
    },
    /// `ask_resources`: the standby handshake. Sets are always from the view of the node that gives up.
    AskResources {
        /// `rsc_hold`.
        set: Holds,
        /// `info`.
        word: StandbyWord,
        /// Only these groups of the set (a nullbeat's extra field `nb_only`); `None`: the whole set.
        only: Option<GroupSet>,
        /// The giver could not start them (`nb_why=failed`): the taker does not offer them back.
        after_failure: bool,
    },
    /// `hb_takeover`: asks the receiver to go standby.
    Takeover {
        /// `rsc_hold`, from the sender's view; `None` for `failback` or none at all, which the original takes as all.
        set: Option<Holds>,
    },
    /// `ip-request`: legacy request to release the group of this key.
    IpRequest {
        /// `ipaddr`: the group's key.
        key: &'a str,
        /// The group of that key in our haresources.
        group: Option<GroupId>,
    },
    /// `ip-request-resp`.
    IpRequestResp {
        /// `ipaddr`: the group's key.
        key: &'a str,
        /// The group of that key in our haresources.
        group: Option<GroupId>,
        /// `ok=OK`.
        is_ok: bool,
    },
    /// `shutdone`: everything is released.
    ShutDone,
    /// `stonith`: outcome of fencing, for observers.
    Stonith {
        /// `node`.
        node: &'a str,
        /// `result`.
        result: StonithResult,
    },
    /// A word between `ipfail` and its like here.
    Ipfail(IpfailWord),
    /// `query-cstatus`: whether a client is signed on at the receiver.
    ClientQuery {
        /// `cn`: which.
        client: &'a str,
        /// `from_id`: the client that asks.
        asker: &'a str,
    },
    /// `respond-cstatus`: the answer.
    ClientAnswer {
        /// `cn`.
        client: ClientName,
        /// `to_id`.
        asker: ClientName,
        /// `cs`.
        is_online: bool,
    },
    /// What a client of this node says to its like on other nodes: fields that mean nothing to the core. Only sent.
    Relayed {
        /// Where the caller keeps it.
        id: RelayId,
    },
    /// Any other type: counted, and delivered to clients.
    Other {
        /// `t`.
        kind: &'a str,
    },
}

/// `result` of a `stonith` message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StonithResult {
    /// `OK`: the node was reset.
    Ok,
    /// `bad`: the reset failed.
    Bad,
    /// `badhost`: the device does not know the node.
    BadHost,
    /// `n_stnth`: nothing configured.
    NotConfigured,
    /// `unneeded`: the node had given up its resources.
    Unneeded,
}

/// One authenticated message as received, parsed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message<'a> {
    /// `src`.
    pub src: &'a str,
    /// `srcuuid`.
    pub src_uuid: Option<Uuid>,
    /// `dest`.
    pub dest: Option<&'a str>,
    /// `destuuid`, when binary and 16 bytes.
    pub dest_uuid: Option<Uuid>,
    /// `seq`; `None` in the `NS_` types. Other messages without it never get here.
    pub seq: Option<Seq>,
    /// `hg`; zero when absent.
    pub generation: Generation,
    /// `ts`: the sender's wall clock in seconds, never zero.
    pub ts: u32,
    /// The key that signed it.
    pub key: KeyNumber,
    /// What a nullbeat tells its partner's history; nothing that the core looks at.
    pub news: Option<&'a str>,
    /// The version of the compact format that a `status` in Heartbeat's format offers; nothing that the core looks at.
    pub compact: Option<u8>,
    /// The rest.
    pub body: Body<'a>,
}

/// One message to send: everything that the wire needs beside the node's own identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet {
    /// Addressee; `None`: everybody.
    pub to: Option<NodeId>,
    /// `None` in the `NS_` types.
    pub seq: Option<Seq>,
    /// `ts`: wall clock at the first sending, kept when sent again.
    pub ts: u32,
    /// What to say. Text that the core does not keep is left empty here and filled in by the encoder: the node lists
    /// of `repnodes`, the node of `stonith` (see `about`), the key of `ip-request` and
    /// `ip-request-resp` (see `group`).
    pub body: Body<'static>,
    /// The node that a `stonith`, `setweight` or `setsite` message is about.
    pub about: Option<NodeId>,
    /// The group whose key an `ip-request` or `ip-request-resp` carries.
    pub group: Option<GroupId>,
}
