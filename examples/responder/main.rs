//! A supervisor microcontroller at the end of a serial line that speaks the compact format (docs/protocol.md): it answers
//! the board's beats with its own and knows when the board has fallen silent. `responder.rs` is that, for any machine;
//! `firmware.rs` ties it to a chip.
//!
//! With an operating system this program shows the dialogue of the two instead: `cargo run --example responder`.
#![cfg_attr(target_os = "none", no_std, no_main)]

mod responder;

#[cfg(target_os = "none")]
mod firmware;

#[cfg(not(target_os = "none"))]
mod dialogue;

#[cfg(not(target_os = "none"))]
fn main() {
    dialogue::show();
}
