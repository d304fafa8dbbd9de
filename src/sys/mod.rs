//! The only room with `unsafe`: system calls that `nix` does not wrap, each behind a safe function.
#![expect(unsafe_code, reason = "this is the room for it")]

pub mod capabilities;
pub mod child_setup;
pub mod descriptors;
pub mod epoll;
pub mod holders;
pub mod landlock;
pub mod mapping;
pub mod memory;
pub mod packet;
pub mod pidfd;
pub mod process;
pub mod scheduler;
pub mod seccomp;
pub mod socket;
pub mod spawn;
pub mod time;
pub mod tty;
pub mod udp;
pub mod watchdog;
