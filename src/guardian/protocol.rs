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

mod encoding;

pub use self::encoding::{CAUSES, FENCE_OUTCOMES, ORDERS, OUTCOMES};
use crate::core::ids::{CheckId, Generation, GroupId, JobId, LinkId, PingId, RequestId, ShotId};
use crate::core::message::GroupState;
use crate::core::{Cause, FenceOutcome, Health, JobOutcome, Order};
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

impl ToEngine {
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
mod tests;
