//! The bytes of the records.

use super::{BadRecord, MAGIC_TO_ENGINE, MAGIC_TO_GUARDIAN, RECORD_LEN, Record, ToEngine, ToGuardian};
use crate::core::ids::{CheckId, Generation, GroupId, JobId, LinkId, PingId, RequestId, ShotId};
use crate::core::limits::{CHECKS_MAX, FENCE_METHODS_MAX, GROUPS_MAX, LINKS_MAX, NODES_MAX, PING_NODES_MAX};
use crate::core::message::GroupState;
use crate::core::{Cause, FenceOutcome, Health, InputLine, JobOutcome, Order};
use crate::hardware::gpio::LineRow;

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
}
