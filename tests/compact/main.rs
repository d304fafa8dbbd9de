//! The compact format from outside (src/wire/compact, docs/protocol.md). No daemon is started.

mod beats;
mod dissector;
mod document;
mod frames;
mod pair;
#[path = "../../examples/responder/responder.rs"]
mod responder;
mod supervisor;
