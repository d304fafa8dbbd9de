//! Heartbeat's own sockets for local programs, as they have always found them (spec/api.md).
//!
//! | file | holds |
//! |---|---|
//! | [`ipc`] | the transport under every one of them: frames, credentials, queues with an end |

pub mod ipc;
