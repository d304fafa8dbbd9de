//! What engine and guardian say to each other: fixed-size records over one SOCK_SEQPACKET pair (design.md section 3).
//!
//! Never a command line: the engine names groups by number, the guardian looks them up in its own reading of the files.
//! Every request carries the digest of the table that both read; a stale one is refused.

use crate::core::ids::{GroupId, JobId, LinkId, RequestId};
use crate::core::message::GroupState;
use crate::core::{Cause, JobOutcome, Order};

/// Bytes of a record in either direction.
pub const RECORD_LEN: usize = 32;

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
    /// Tell the `notify` programs and site `rc.d` scripts: a group changed.
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
    /// Read the files again (or start the new program), replace the engine. Answered only on failure.
    Reload {
        /// Comes back.
        request: RequestId,
        /// Also the program.
        is_binary: bool,
    },
    /// Negotiated, settled: the service manager may be told.
    Ready,
    /// All released and said: end everything.
    Exit,
}

/// Guardian to engine. `Link` and `Control` carry a descriptor beside the record (SCM_RIGHTS) when they succeed.
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
    },
    /// The control socket.
    Control {
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
    /// A request with a stale digest was refused.
    Stale,
    /// SIGTERM or SIGHUP reached the guardian: please stop.
    StopRequested,
}
