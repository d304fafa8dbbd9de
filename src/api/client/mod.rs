//! The client interface of Heartbeat (spec/api.md section 2): what `cl_status`, `ipfail`, `ccm` and programs linked with
//! its library ask, hear and say.
//!
//! The [`Server`] knows who is signed on and what each wants to hear. The state that it tells is the core's own, read when
//! it is asked for; what clients say to other nodes goes back to the caller as an [`Order`], and to the core from there.
//!
//! | file | holds |
//! |---|---|
//! | `authority` | who may sign on (`apiauth`) |
//! | `server` | connections: taking, serving, dropping; what every client hears |
//! | `server/words` | what clients say: signing on, words for other nodes, how one ends |
//! | `session` | one client: signing on |
//! | `requests` | what a client asks |
//!
//! * At most [`CLIENTS_MAX`](crate::core::limits::CLIENTS_MAX) connections. For one more the oldest that has not signed on
//!   makes room; when all have, it is told `too many clients` as any refusal. A user other than root gets half of them.
//! * A turn takes a bounded number of connections and frames; what is left is for the next turn.
//! * A client that does not read is dropped with Heartbeat's reason, when the system's buffer and 64 frames of ours are full.
//! * A message for other nodes that is longer than 60 KiB, or than 6 KiB where there is a serial line, is of a type that only
//!   daemons use, or cannot be carried by one of the links, is the end of its client, which is told so: nothing that it said
//!   is missing silently. On a slow serial line a longer one would keep the beats waiting.
//! * While other nodes do not acknowledge, no client is read from, as in the original.
//!
//! Nothing is allocated after [`Server::new`].

mod authority;
mod requests;
mod server;
mod session;

pub use authority::Authority;
pub use server::{ClientCounters, ClientRooms, Order, Server, SignedOn};

use crate::config::Config;
use crate::core::Node;
use crate::core::ids::{Generation, NodeId, Seq};

/// The name of the socket in its directory.
pub const SOCKET_NAME: &str = "register";
/// What `hbversion` says: programs look at the number in front.
pub const HB_VERSION: &str = concat!("3.0.6 (nullbeat ", env!("CARGO_PKG_VERSION"), ")");

/// What can be asked for.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// The files.
    pub config: &'a Config,
    /// The state.
    pub node: &'a Node,
    /// What `logfacility` of the reply to a sign-on says: a number of syslog.h, or -1.
    pub log_facility: i32,
}

/// What a message is to clients; each says which it wants (spec/api.md 2.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hearing {
    /// It tells something new.
    News,
    /// A beat that changes nothing.
    NoChange,
    /// A message that counts for nothing here, an acknowledgement, a question that the daemon answers itself.
    Dropped,
    /// A copy of one that has come on another link.
    Duplicate,
    /// What another client asks the daemon.
    Request,
    /// Requests for retransmission.
    Protocol,
}

impl Hearing {
    /// Its bit in a filter.
    pub(super) const fn bit(self) -> u64 {
        match self {
            Self::News => 0x01,
            Self::NoChange => 0x02,
            Self::Dropped => 0x04,
            Self::Duplicate => 0x08,
            Self::Request => 0x10,
            Self::Protocol => 0x20,
        }
    }
}

/// Which message of the cluster one is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sent {
    /// Who has sent it.
    pub node: NodeId,
    /// In which run.
    pub generation: Generation,
    /// Its number in that.
    pub seq: Seq,
}

#[cfg(test)]
mod tests;
