//! What engine and guardian say to each other: fixed-size records over one SOCK_SEQPACKET pair (design.md section 3).
//!
//! Never a command line: the engine names groups by number, the guardian looks them up in its own reading of the files.
//! Every request carries the digest of the table that both read; a stale one is refused.

//!
//! ```text
//!   offset  0      1     2..4    4     5     6     7     8..12    12..16   16..24   24..32
//!           magic  kind  zero    a     b     c     d     number   extra    zero     digest of the table (requests)
//! ```
//!
//! Numbers are little endian. A field that a kind does not use is zero; anything else is refused, so that a record is
//! either exactly what one of the variants below says or nothing at all.

use crate::core::ids::{CheckId, Generation, GroupId, JobId, LinkId, PingId, RequestId, ShotId};
use crate::core::limits::{CHECKS_MAX, FENCE_METHODS_MAX, GROUPS_MAX, LINKS_MAX, NODES_MAX, PING_NODES_MAX};
use crate::core::message::GroupState;
use crate::core::{Cause, FenceOutcome, Health, InputLine, JobOutcome, Order};
use crate::hardware::gpio::LineRow;

/// Bytes of a record in either direction.
pub const RECORD_LEN: usize = 32;

/// One record as it travels.
pub type Record = [u8; RECORD_LEN];

/// First byte of a request and of an answer; a record that runs the wrong way is refused.
const MAGIC_TO_GUARDIAN: u8 = 0xe6;
const MAGIC_TO_ENGINE: u8 = 0x6e;

/// Engine to guardian.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ToGuardian {
    /// Do this with that group; answered by [`ToEngine::JobDone`].
    Run {
        /// Comes back.
        job: JobId,
        /// Which.
        group: GroupId,
        /// What.
        order: Order,
    },
    /// Open this link's device or socket; answered by [`ToEngine::Link`].
    OpenLink {
        /// Which.
        link: LinkId,
    },
    /// Hand over the listening control socket; answered by [`ToEngine::Control`].
    OpenControl,
    /// The roster has changed: write its files.
    KeepNodes,
    /// Hand over the FIFO of the shell tools; answered by [`ToEngine::Fifo`].
    OpenFifo,
    /// Hand over the listening socket of the client interface; answered by [`ToEngine::Clients`].
    OpenClients,
    /// Hand over the listening socket of the membership service; answered by [`ToEngine::Membership`].
    OpenMembership,
    /// Hand over the GPIO inputs; answered by one [`ToEngine::Lines`] for each chip that has some.
    OpenLines,
    /// Set the line `owner`; answered by [`ToEngine::OwnerSet`].
    SetOwner {
        /// Active?
        is_owner: bool,
    },
    /// Tell the `notify` programs: a group changed.
    NotifyGroup {
        /// Which.
        group: GroupId,
        /// From.
        old: GroupState,
        /// To.
        new: GroupState,
        /// Why.
        cause: Cause,
    },
    /// Tell them: a node's status changed (`status` is a [`NodeStatus`](crate::core::message::NodeStatus) letter `iuad`).
    NotifyNode {
        /// Index in the order of ha.cf.
        node: u8,
        /// First letter of the word.
        status: u8,
    },
    /// Tell them: a link changed.
    NotifyLink {
        /// Index of the node.
        node: u8,
        /// Which link.
        link: LinkId,
        /// Up?
        is_up: bool,
    },
    /// Tell the site's `ifstat`: a ping node, and so the link of its name, has come back or died.
    NotifyPing {
        /// Which.
        ping: PingId,
        /// Does it answer?
        is_alive: bool,
    },
    /// Read the files again (or start the new program), replace the engine. Answered only on failure.
    Reload {
        /// Comes back.
        request: RequestId,
        /// Also the program.
        is_binary: bool,
    },
    /// Negotiated, settled: the service manager may be told.
    Ready,
    /// Communication is up: the programs of `respawn` and `failfast` are started.
    CommunicationUp,
    /// All is released: stop these programs; answered by [`ToEngine::ClientsStopped`].
    StopClients,
    /// All released and said: end everything.
    Exit,
    /// A stop has begun, whoever asked for it; it is never taken back. Should the engine be lost, the guardian goes on
    /// with it.
    Stopping,
    /// Fence the partner; answered by [`ToEngine::FenceDone`].
    Fence {
        /// Comes back.
        shot: ShotId,
        /// Index of the fence line.
        method: u8,
        /// The run of the partner that is to end; zero when it was never heard.
        generation: Generation,
    },
    /// Keep this number on disk, before a shot that follows is fired.
    NoteFencings {
        /// Fencings that count for the limit of an hour.
        count: u8,
    },
    /// A peer is deaf to this run, because it knows a later one: start again above that.
    Outrun {
        /// The highest generation that it knows.
        known: Generation,
    },
    /// Break that shot off. It is answered all the same, and a confirmation that is kept counts no more.
    CancelFence {
        /// Which.
        shot: ShotId,
    },
}

/// Guardian to engine. `Link`, `Control` and `Fifo` carry a descriptor beside the record (SCM_RIGHTS) when they succeed,
/// `Lines` always.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ToEngine {
    /// A job ended.
    JobDone {
        /// Which.
        job: JobId,
        /// How.
        outcome: JobOutcome,
        /// The resource at which it failed, by its place in the group; 255: none.
        resource: u8,
        /// From request to end, milliseconds.
        ms: u32,
    },
    /// One script of a job ended well.
    JobStep {
        /// Which.
        job: JobId,
        /// Place in the group.
        resource: u8,
        /// Duration, microseconds.
        micros: u32,
    },
    /// A link's descriptor, or why there is none.
    Link {
        /// Which.
        link: LinkId,
        /// errno; zero: a descriptor comes with this record.
        errno: i32,
        /// As [`Opened`](crate::links::Opened) has it; zero without a descriptor.
        detail: u32,
    },
    /// The control socket.
    Control {
        /// errno; zero: a descriptor comes with this record.
        errno: i32,
    },
    /// The listening socket of the membership service.
    Membership {
        /// Zero with a descriptor; else why there is none.
        errno: i32,
    },
    /// The listening socket of the client interface.
    Clients {
        /// Zero with a descriptor; else why there is none.
        errno: i32,
    },
    /// The FIFO.
    Fifo {
        /// errno; zero: a descriptor comes with this record.
        errno: i32,
    },
    /// A reload was refused: the reasons are in the log.
    ReloadRefused {
        /// As given.
        request: RequestId,
        /// Exit code for the operator: 78, or 1.
        code: u8,
    },
    /// A shot has ended.
    FenceDone {
        /// Which.
        shot: ShotId,
        /// How.
        outcome: FenceOutcome,
        /// From its begin to its end, milliseconds.
        ms: u32,
    },
    /// A fence device was asked whether it answers.
    FenceChecked {
        /// Index of the fence line.
        method: u8,
        /// Whether it does.
        is_ok: bool,
    },
    /// The inputs of one chip.
    Lines {
        /// Which line stands where in the request.
        row: LineRow,
    },
    /// The line `owner` was to be set.
    OwnerSet {
        /// As asked.
        is_owner: bool,
        /// Whether it worked.
        is_ok: bool,
    },
    /// The programs of `respawn` and `failfast` have ended.
    ClientsStopped,
    /// What a health check says.
    Health {
        /// Which.
        check: CheckId,
        /// What.
        health: Health,
        /// Place of the first resource that a restart takes along.
        from: u8,
    },
    /// Whether one of the guardian's own services, the checkers among them, does not stay alive.
    Services {
        /// Whether it is so.
        is_down: bool,
    },
    /// A request with a stale digest was refused.
    Stale,
    /// SIGTERM reached the guardian: please stop.
    StopRequested,
    /// SIGUSR1 or SIGUSR2 reached the guardian: how much is logged from now on.
    Debug {
        /// As ha.cf's `debug`.
        level: u8,
    },
}

/// Bytes that are no record of this direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadRecord;

impl std::fmt::Display for BadRecord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("not a record of the guardian's protocol")
    }
}

impl std::error::Error for BadRecord {}

/// Orders by the number that stands for each; behind them comes the restart, with its place.
pub const ORDERS: [Order; 4] = [Order::Start, Order::Stop, Order::Probe, Order::Announce];
const RESTART: u8 = 4;
/// Causes likewise.
pub const CAUSES: [Cause; 11] = [
    Cause::Startup,
    Cause::Death,
    Cause::Goodbye,
    Cause::Failback,
    Cause::Operator,
    Cause::StartFailure,
    Cause::SplitBrain,
    Cause::Shutdown,
    Cause::Script,
    Cause::Upstream,
    Cause::Health,
];
/// Outcomes likewise.
pub const OUTCOMES: [JobOutcome; 7] = [
    JobOutcome::Done,
    JobOutcome::Failed,
    JobOutcome::StopFailed,
    JobOutcome::NoneRunning,
    JobOutcome::SomeRunning,
    JobOutcome::AllRunning,
    JobOutcome::Cancelled,
];
/// How shots end likewise.
pub const FENCE_OUTCOMES: [FenceOutcome; 4] =
    [FenceOutcome::Failed, FenceOutcome::Confirmed, FenceOutcome::BadHost, FenceOutcome::Lost];

const fn fence_code(outcome: FenceOutcome) -> u8 {
    match outcome {
        FenceOutcome::Failed => 0,
        FenceOutcome::Confirmed => 1,
        FenceOutcome::BadHost => 2,
        FenceOutcome::Lost => 3,
    }
}

const fn order_code(order: Order) -> [u8; 2] {
    match order {
        Order::Start => [0, 0],
        Order::Stop => [1, 0],
        Order::Probe => [2, 0],
        Order::Announce => [3, 0],
        Order::Restart { from } => [RESTART, from],
    }
}

fn order([code, from]: [u8; 2]) -> Result<Order, BadRecord> {
    if code == RESTART { Ok(Order::Restart { from }) } else { pick(&ORDERS, code) }
}

const fn cause_code(cause: Cause) -> u8 {
    match cause {
        Cause::Startup => 0,
        Cause::Death => 1,
        Cause::Goodbye => 2,
        Cause::Failback => 3,
        Cause::Operator => 4,
        Cause::StartFailure => 5,
        Cause::SplitBrain => 6,
        Cause::Shutdown => 7,
        Cause::Script => 8,
        Cause::Upstream => 9,
        Cause::Health => 10,
    }
}

const fn outcome_code(outcome: JobOutcome) -> u8 {
    match outcome {
        JobOutcome::Done => 0,
        JobOutcome::Failed => 1,
        JobOutcome::StopFailed => 2,
        JobOutcome::NoneRunning => 3,
        JobOutcome::SomeRunning => 4,
        JobOutcome::AllRunning => 5,
        JobOutcome::Cancelled => 6,
    }
}

/// The fields of a record before they mean anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Fields {
    kind: u8,
    small: [u8; 4],
    number: u32,
    extra: u32,
    digest: u64,
}

impl Fields {
    const fn new(kind: u8) -> Self {
        Self { kind, small: [0; 4], number: 0, extra: 0, digest: 0 }
    }

    fn pack(self, magic: u8) -> Record {
        let mut record = [0; RECORD_LEN];
        record[0] = magic;
        record[1] = self.kind;
        record[4..8].copy_from_slice(&self.small);
        record[8..12].copy_from_slice(&self.number.to_le_bytes());
        record[12..16].copy_from_slice(&self.extra.to_le_bytes());
        record[24..32].copy_from_slice(&self.digest.to_le_bytes());
        record
    }

    fn unpack(magic: u8, bytes: &[u8]) -> Result<Self, BadRecord> {
        let record: &Record = bytes.try_into().map_err(|_| BadRecord)?;
        let word = |at: usize| u32::from_le_bytes([record[at], record[at + 1], record[at + 2], record[at + 3]]);
        let fields = Self {
            kind: record[1],
            small: [record[4], record[5], record[6], record[7]],
            number: word(8),
            extra: word(12),
            digest: u64::from(word(28)) << 32 | u64::from(word(24)),
        };
        // Packing again proves that the magic is right and that the unused bytes are zero.
        if fields.pack(magic) == *record { Ok(fields) } else { Err(BadRecord) }
    }
}

fn group(byte: u8) -> Result<GroupId, BadRecord> {
    if usize::from(byte) < GROUPS_MAX { Ok(GroupId(byte)) } else { Err(BadRecord) }
}

fn ping(byte: u8) -> Result<PingId, BadRecord> {
    if usize::from(byte) < PING_NODES_MAX { Ok(PingId(byte)) } else { Err(BadRecord) }
}

fn link(byte: u8) -> Result<LinkId, BadRecord> {
    if usize::from(byte) < LINKS_MAX { Ok(LinkId(byte)) } else { Err(BadRecord) }
}

fn node(byte: u8) -> Result<u8, BadRecord> {
    if usize::from(byte) < NODES_MAX { Ok(byte) } else { Err(BadRecord) }
}

fn method(byte: u8) -> Result<u8, BadRecord> {
    if usize::from(byte) < FENCE_METHODS_MAX { Ok(byte) } else { Err(BadRecord) }
}

fn check(byte: u8) -> Result<CheckId, BadRecord> {
    if usize::from(byte) < CHECKS_MAX { Ok(CheckId(byte)) } else { Err(BadRecord) }
}

fn flag(byte: u8) -> Result<bool, BadRecord> {
    match byte {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(BadRecord),
    }
}

fn state(byte: u8) -> Result<GroupState, BadRecord> {
    GroupState::from_letter(byte).ok_or(BadRecord)
}

/// Inputs count from one; zero is no line.
fn line_code(line: Option<InputLine>) -> u8 {
    line.map_or(0, |line| line as u8 + 1)
}

fn row(fields: Fields) -> Result<LineRow, BadRecord> {
    let mut row = LineRow::default();
    for (place, code) in row.lines.iter_mut().zip(fields.small) {
        *place = code.checked_sub(1).map(|line| pick(&InputLine::ALL, line)).transpose()?;
    }
    row.is_polled = flag(u8::try_from(fields.number).map_err(|_| BadRecord)?)?;
    Ok(row)
}

fn pick<T: Copy>(table: &[T], byte: u8) -> Result<T, BadRecord> {
    table.get(usize::from(byte)).copied().ok_or(BadRecord)
}

impl ToGuardian {
    /// The bytes of this request, with the digest of the table that the engine read.
    pub fn encode(self, digest: u64) -> Record {
        let mut fields = match self {
            Self::Run { job, group, order } => {
                let [code, from] = order_code(order);
                Fields { small: [group.0, code, from, 0], number: job.0, ..Fields::new(1) }
            }
            Self::OpenLink { link } => Fields { small: [link.0, 0, 0, 0], ..Fields::new(2) },
            Self::OpenControl => Fields::new(3),
            Self::NotifyGroup { group, old, new, cause } => {
                Fields { small: [group.0, old.letter(), new.letter(), cause_code(cause)], ..Fields::new(4) }
            }
            Self::NotifyNode { node, status } => Fields { small: [node, status, 0, 0], ..Fields::new(5) },
            Self::NotifyLink { node, link, is_up } => {
                Fields { small: [node, link.0, u8::from(is_up), 0], ..Fields::new(6) }
            }
            Self::NotifyPing { ping, is_alive } => {
                Fields { small: [ping.0, u8::from(is_alive), 0, 0], ..Fields::new(42) }
            }
            Self::Reload { request, is_binary } => {
                Fields { small: [u8::from(is_binary), 0, 0, 0], number: request.0, ..Fields::new(7) }
            }
            Self::Ready => Fields::new(8),
            Self::Exit => Fields::new(9),
            Self::Stopping => Fields::new(10),
            Self::CommunicationUp => Fields::new(30),
            Self::StopClients => Fields::new(31),
            Self::OpenFifo => Fields::new(11),
            Self::OpenClients => Fields::new(40),
            Self::OpenMembership => Fields::new(41),
            Self::OpenLines => Fields::new(17),
            Self::SetOwner { is_owner } => Fields { small: [u8::from(is_owner), 0, 0, 0], ..Fields::new(16) },
            Self::KeepNodes => Fields::new(12),
            Self::Fence { shot, method, generation } => {
                Fields { small: [method, 0, 0, 0], number: shot.0, extra: generation.0, ..Fields::new(13) }
            }
            Self::CancelFence { shot } => Fields { number: shot.0, ..Fields::new(14) },
            Self::NoteFencings { count } => Fields { small: [count, 0, 0, 0], ..Fields::new(15) },
            Self::Outrun { known } => Fields { number: known.0, ..Fields::new(18) },
        };
        fields.digest = digest;
        fields.pack(MAGIC_TO_GUARDIAN)
    }

    /// The request in these bytes and the digest that came with it. Whether the digest is the right one is for the
    /// caller to say ([`ToEngine::Stale`]).
    ///
    /// # Errors
    /// [`BadRecord`] for anything that [`ToGuardian::encode`] does not write.
    pub fn decode(bytes: &[u8]) -> Result<(Self, u64), BadRecord> {
        let fields = Fields::unpack(MAGIC_TO_GUARDIAN, bytes)?;
        let [a, b, c, d] = fields.small;
        let request = match fields.kind {
            1 => Self::Run { job: JobId(fields.number), group: group(a)?, order: order([b, c])? },
            2 => Self::OpenLink { link: link(a)? },
            3 => Self::OpenControl,
            4 => Self::NotifyGroup { group: group(a)?, old: state(b)?, new: state(c)?, cause: pick(&CAUSES, d)? },
            5 if b"iuad".contains(&b) => Self::NotifyNode { node: node(a)?, status: b },
            6 => Self::NotifyLink { node: node(a)?, link: link(b)?, is_up: flag(c)? },
            42 => Self::NotifyPing { ping: ping(a)?, is_alive: flag(b)? },
            7 => Self::Reload { request: RequestId(fields.number), is_binary: flag(a)? },
            8 => Self::Ready,
            9 => Self::Exit,
            10 => Self::Stopping,
            30 => Self::CommunicationUp,
            31 => Self::StopClients,
            11 => Self::OpenFifo,
            40 => Self::OpenClients,
            41 => Self::OpenMembership,
            17 => Self::OpenLines,
            16 => Self::SetOwner { is_owner: flag(a)? },
            12 => Self::KeepNodes,
            13 => Self::Fence { shot: ShotId(fields.number), method: method(a)?, generation: Generation(fields.extra) },
            14 => Self::CancelFence { shot: ShotId(fields.number) },
            15 => Self::NoteFencings { count: a },
            18 => Self::Outrun { known: Generation(fields.number) },
            _ => return Err(BadRecord),
        };
        if request.encode(fields.digest) == bytes { Ok((request, fields.digest)) } else { Err(BadRecord) }
    }
}

impl ToEngine {
    /// The bytes of this answer. `Link` and `Control` without an errno travel together with a descriptor.
    pub fn encode(self) -> Record {
        match self {
            Self::JobDone { job, outcome, resource, ms } => {
                Fields { small: [outcome_code(outcome), resource, 0, 0], number: job.0, extra: ms, ..Fields::new(1) }
            }
            Self::JobStep { job, resource, micros } => {
                Fields { small: [resource, 0, 0, 0], number: job.0, extra: micros, ..Fields::new(2) }
            }
            Self::Link { link, errno, detail } => {
                Fields { small: [link.0, 0, 0, 0], number: errno.cast_unsigned(), extra: detail, ..Fields::new(3) }
            }
            Self::Control { errno } => Fields { number: errno.cast_unsigned(), ..Fields::new(4) },
            Self::ReloadRefused { request, code } => {
                Fields { small: [code, 0, 0, 0], number: request.0, ..Fields::new(5) }
            }
            Self::Stale => Fields::new(6),
            Self::Health { check, health, from } => {
                Fields { small: [check.0, health as u8, from, 0], ..Fields::new(20) }
            }
            Self::Services { is_down } => Fields { small: [u8::from(is_down), 0, 0, 0], ..Fields::new(21) },
            Self::StopRequested => Fields::new(7),
            Self::ClientsStopped => Fields::new(30),
            Self::Debug { level } => Fields { small: [level, 0, 0, 0], ..Fields::new(8) },
            Self::Membership { errno } => Fields { number: errno.cast_unsigned(), ..Fields::new(41) },
            Self::Clients { errno } => Fields { number: errno.cast_unsigned(), ..Fields::new(40) },
            Self::Fifo { errno } => Fields { number: errno.cast_unsigned(), ..Fields::new(9) },
            Self::Lines { row } => {
                Fields { small: row.lines.map(line_code), number: u32::from(row.is_polled), ..Fields::new(12) }
            }
            Self::OwnerSet { is_owner, is_ok } => {
                Fields { small: [u8::from(is_owner), u8::from(is_ok), 0, 0], ..Fields::new(13) }
            }
            Self::FenceDone { shot, outcome, ms } => {
                Fields { small: [fence_code(outcome), 0, 0, 0], number: shot.0, extra: ms, ..Fields::new(10) }
            }
            Self::FenceChecked { method, is_ok } => {
                Fields { small: [method, u8::from(is_ok), 0, 0], ..Fields::new(11) }
            }
        }
        .pack(MAGIC_TO_ENGINE)
    }

    /// The answer in these bytes.
    ///
    /// # Errors
    /// [`BadRecord`] for anything that [`ToEngine::encode`] does not write.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadRecord> {
        let fields = Fields::unpack(MAGIC_TO_ENGINE, bytes)?;
        let [a, b, c, _] = fields.small;
        let answer = match fields.kind {
            1 => {
                Self::JobDone { job: JobId(fields.number), outcome: pick(&OUTCOMES, a)?, resource: b, ms: fields.extra }
            }
            2 => Self::JobStep { job: JobId(fields.number), resource: a, micros: fields.extra },
            3 => Self::Link { link: link(a)?, errno: fields.number.cast_signed(), detail: fields.extra },
            4 => Self::Control { errno: fields.number.cast_signed() },
            5 => Self::ReloadRefused { request: RequestId(fields.number), code: a },
            6 => Self::Stale,
            20 => Self::Health { check: check(a)?, health: pick(&Health::ALL, b)?, from: c },
            21 => Self::Services { is_down: flag(a)? },
            7 => Self::StopRequested,
            30 => Self::ClientsStopped,
            8 => Self::Debug { level: a },
            41 => Self::Membership { errno: fields.number.cast_signed() },
            40 => Self::Clients { errno: fields.number.cast_signed() },
            9 => Self::Fifo { errno: fields.number.cast_signed() },
            12 => Self::Lines { row: row(fields)? },
            13 => Self::OwnerSet { is_owner: flag(a)?, is_ok: flag(b)? },
            10 => {
                let outcome = pick(&FENCE_OUTCOMES, a)?;
                Self::FenceDone { shot: ShotId(fields.number), outcome, ms: fields.extra }
            }
            11 => Self::FenceChecked { method: method(a)?, is_ok: flag(b)? },
            _ => return Err(BadRecord),
        };
        if answer.encode() == bytes { Ok(answer) } else { Err(BadRecord) }
    }

    /// Whether a descriptor travels with this record.
    pub const fn has_descriptor(self) -> bool {
        matches!(
            self,
            Self::Link { errno: 0, .. }
                | Self::Control { errno: 0 }
                | Self::Fifo { errno: 0 }
                | Self::Clients { errno: 0 }
                | Self::Membership { errno: 0 }
                | Self::Lines { .. }
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: u64 = 0x0123_4567_89ab_cdef;

    fn requests() -> Vec<ToGuardian> {
        let mut all = vec![
            ToGuardian::OpenControl,
            ToGuardian::OpenFifo,
            ToGuardian::OpenClients,
            ToGuardian::OpenMembership,
            ToGuardian::OpenLines,
            ToGuardian::SetOwner { is_owner: true },
            ToGuardian::SetOwner { is_owner: false },
            ToGuardian::KeepNodes,
            ToGuardian::Ready,
            ToGuardian::Exit,
            ToGuardian::Stopping,
            ToGuardian::CommunicationUp,
            ToGuardian::StopClients,
        ];
        for order in ORDERS {
            all.push(ToGuardian::Run { job: JobId(0xfedc_ba98), group: GroupId(63), order });
        }
        all.push(ToGuardian::Run { job: JobId(1), group: GroupId(0), order: Order::Restart { from: 9 } });
        for cause in CAUSES {
            for old in GroupState::ALL {
                for new in GroupState::ALL {
                    all.push(ToGuardian::NotifyGroup { group: GroupId(7), old, new, cause });
                }
            }
        }
        for status in *b"iuad" {
            all.push(ToGuardian::NotifyNode { node: 15, status });
        }
        for bit in [false, true] {
            all.push(ToGuardian::NotifyLink { node: 1, link: LinkId(15), is_up: bit });
            all.push(ToGuardian::NotifyPing { ping: PingId(3), is_alive: bit });
            all.push(ToGuardian::Reload { request: RequestId(u32::MAX), is_binary: bit });
        }
        all.push(ToGuardian::OpenLink { link: LinkId(3) });
        all.push(ToGuardian::Fence { shot: ShotId(0xfedc_ba98), method: 7, generation: Generation(u32::MAX) });
        all.push(ToGuardian::CancelFence { shot: ShotId(1) });
        all.push(ToGuardian::NoteFencings { count: 16 });
        all.push(ToGuardian::Outrun { known: Generation(0xfedc_ba98) });
        all
    }

    fn answers() -> Vec<ToEngine> {
        let mut all =
            vec![ToEngine::Stale, ToEngine::StopRequested, ToEngine::ClientsStopped, ToEngine::Debug { level: 255 }];
        for outcome in OUTCOMES {
            all.push(ToEngine::JobDone { job: JobId(9), outcome, resource: 255, ms: u32::MAX });
        }
        for errno in [0, 13, i32::MAX] {
            all.push(ToEngine::Link { link: LinkId(15), errno, detail: u32::MAX });
            all.push(ToEngine::Control { errno });
            all.push(ToEngine::Fifo { errno });
            all.push(ToEngine::Clients { errno });
            all.push(ToEngine::Membership { errno });
            all.push(ToEngine::OwnerSet { is_owner: errno == 0, is_ok: true });
            all.push(ToEngine::Services { is_down: errno == 0 });
        }
        all.push(ToEngine::JobStep { job: JobId(1), resource: 4, micros: 1_500_000 });
        all.push(ToEngine::ReloadRefused { request: RequestId(5), code: 78 });
        for outcome in FENCE_OUTCOMES {
            all.push(ToEngine::FenceDone { shot: ShotId(u32::MAX), outcome, ms: 7 });
        }
        all.push(ToEngine::FenceChecked { method: 7, is_ok: true });
        for health in Health::ALL {
            all.push(ToEngine::Health { check: CheckId(31), health, from: 255 });
        }
        all
    }

    #[test]
    fn request_every_kind_round_trips() {
        for request in requests() {
            assert_eq!(ToGuardian::decode(&request.encode(DIGEST)), Ok((request, DIGEST)));
        }
    }

    #[test]
    fn answer_every_kind_round_trips() {
        for answer in answers() {
            assert_eq!(ToEngine::decode(&answer.encode()), Ok(answer));
        }
    }

    #[test]
    fn record_of_other_direction_or_length_is_refused() {
        for request in requests() {
            let record = request.encode(DIGEST);
            assert_eq!(ToEngine::decode(&record), Err(BadRecord));
            for len in 0..RECORD_LEN {
                assert_eq!(ToGuardian::decode(&record[..len]), Err(BadRecord));
            }
            let mut longer = record.to_vec();
            longer.push(0);
            assert_eq!(ToGuardian::decode(&longer), Err(BadRecord));
        }
        for answer in answers() {
            assert_eq!(ToGuardian::decode(&answer.encode()), Err(BadRecord));
        }
    }

    #[test]
    fn record_with_any_byte_changed_is_refused_or_means_something_else() {
        for request in requests() {
            let record = request.encode(DIGEST);
            for at in 0..RECORD_LEN {
                for value in 0..=u8::MAX {
                    let mut other = record;
                    other[at] = value;
                    if let Ok((decoded, digest)) = ToGuardian::decode(&other) {
                        assert_eq!(decoded.encode(digest), other, "{request:?} byte {at}");
                    }
                }
            }
        }
    }

    #[test]
    fn record_out_of_range_is_refused() {
        let mut record = ToGuardian::OpenLink { link: LinkId(0) }.encode(0);
        record[4] = 16;
        assert_eq!(ToGuardian::decode(&record), Err(BadRecord));
        let mut record = ToGuardian::Run { job: JobId(0), group: GroupId(0), order: Order::Probe }.encode(0);
        record[4] = 64;
        assert_eq!(ToGuardian::decode(&record), Err(BadRecord));
        let mut record = ToGuardian::Ready.encode(0);
        record[20] = 1;
        assert_eq!(ToGuardian::decode(&record), Err(BadRecord));
    }
}
