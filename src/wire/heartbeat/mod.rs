//! The wire protocol of Heartbeat 3.0.6 (spec/wire.md).
