//! What local programs are told, as bytes (spec/api.md 6.4): whole numbers of four bytes in the machine's order.

use super::{Local, View};
use crate::core::limits::NODES_MAX;

const NEW_MEMBERSHIP: u32 = 2;
const INFLUX: u32 = 3;
const NODE_LIST: u32 = 4;
/// A name, its NUL, and what fills it up.
const NAME_ROOM: usize = 256;

/// Bytes of the longest body.
pub const BODY_MAX: usize = 12 + NODES_MAX * (4 + NAME_ROOM);

/// The bodies of frames; built in a room of its own.
#[derive(Debug)]
pub struct Frames {
    body: heapless::Vec<u8, BODY_MAX>,
}

impl Default for Frames {
    fn default() -> Self {
        Self { body: heapless::Vec::new() }
    }
}

impl Frames {
    /// `LLM`: every normal node, whether a member or not. What a program sees first, and again before each membership.
    pub fn node_list(&mut self, local: &Local) -> &[u8] {
        self.body.clear();
        self.number(NODE_LIST);
        self.number(count(local.names().len()));
        self.number(local.place().0.into());
        for (id, name) in (0..).zip(local.names()) {
            self.number(id);
            let start = self.body.len();
            self.bytes(name.as_bytes());
            // A name is shorter than its room by more than the NUL (NODE_NAME_MAX).
            let _ = self.body.resize(start + NAME_ROOM, 0);
        }
        &self.body
    }

    /// `NEW_MEMBERSHIP`: a membership in force.
    pub fn membership(&mut self, view: &View) -> &[u8] {
        self.body.clear();
        self.number(NEW_MEMBERSHIP);
        self.number(count(view.members.len()));
        self.number(view.instance);
        self.number(view.has_quorum.into());
        for (member, born_on) in view.by_age() {
            self.number(member.0.into());
            self.number(born_on);
        }
        &self.body
    }

    /// `INFLUX`: the last one is no longer sure.
    pub fn influx(&mut self) -> &[u8] {
        self.body.clear();
        self.number(INFLUX);
        &self.body
    }

    fn number(&mut self, number: u32) {
        self.bytes(&number.to_ne_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        // BODY_MAX is what all of them together take.
        let _ = self.body.extend_from_slice(bytes);
    }
}

fn count(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}
