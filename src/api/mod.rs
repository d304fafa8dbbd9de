//! Heartbeat's own sockets for local programs, as they have always found them (spec/api.md).
//!
//! | file | holds |
//! |---|---|
//! | [`client`] | the client interface: `/run/heartbeat/register` |
//! | [`ipc`] | the transport under every one of them: frames, credentials, queues with an end |
//! | [`membership`] | who belongs to the cluster, agreed with every other node's `ccm` |

pub mod client;
pub mod ipc;
pub mod membership;
