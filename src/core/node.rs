//! One node: communication and ownership behind one door.

use super::comms::Outbox;
use super::settings::{Carried, Identity, Settings};
use super::time::{Instant, Stamp};
use super::{Action, Input};

/// The state machine of one node. See the [module](super) for the contract.
#[derive(Debug)]
pub struct Node {
    settings: Settings,
    outbox: Outbox,
}

impl Node {
    /// A node that has just started. It says nothing until the first [`Node::handle`].
    pub fn new(settings: Settings, _identity: Identity, _carried: Option<Carried>, _at: Stamp) -> Self {
        Self { settings, outbox: Outbox::new() }
    }

    /// Takes one input.
    pub fn handle(&mut self, _at: Stamp, _input: Input<'_>) {
        let _ = &self.settings;
    }

    /// The next thing to do; drain until `None` after every input.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.outbox.pop_front()
    }

    /// When to call again with [`Input::Tick`] at the latest.
    pub fn poll_timeout(&self) -> Option<Instant> {
        None
    }
}
