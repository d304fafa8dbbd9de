//! Heartbeat's own sockets for local programs, as they have always found them (spec/api.md).
//!
//! | file | holds |
//! |---|---|
//! | [`apphb`] | application heartbeats: requests, and who has missed which |
//! | [`client`] | the client interface: `/run/heartbeat/register` |
//! | [`ipc`] | the transport under every one of them: frames, credentials, queues with an end |
//! | [`logd`] | the logging daemon: lines, and what waits for the disk |
//! | [`membership`] | who belongs to the cluster, agreed with every other node's `ccm` |

pub mod apphb;
pub mod client;
pub mod ipc;
pub mod logd;
pub mod membership;
