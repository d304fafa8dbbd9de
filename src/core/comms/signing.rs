//! With which key our messages are signed.
//!
//! A nullbeat verifies each message with the key that the message names. Heartbeat 3.0.6 does so on a serial line only:
//! in a datagram it takes the method of that number and the key that it signs with itself (spec/wire.md 4.4). While keys
//! are rolled over it hears only who signs with its own key. So we follow it:
//!
//! * The newest status of a Heartbeat says which key it signs with; what is newer is decided by generation and sequence
//!   number, so that nothing that was recorded before can turn us back. Messages without a number never count.
//! * A node whose status carries the extension is a nullbeat: nobody needs to follow it, and two never chase each other.
//! * All nodes get the same packet. When several Heartbeats differ, they do not hear each other either: our own key
//!   stands if one of them signs with it, else that of the first in the order of ha.cf. Living ones go before dead ones.
//! * A dead one still counts, when there is no living one: perhaps it hears us although we do not hear it.

use super::{Comms, PeerState};
use crate::core::ids::KeyNumber;
use crate::core::settings::Settings;

impl Comms {
    /// The key that shall sign. Only a key that has verified a message is ever answered, or the one of the `auth` line.
    pub fn signing_key(&self, settings: &Settings) -> KeyNumber {
        let own = settings.signing_key;
        let heartbeats = |is_alive| {
            let states = self.others().map(|node| self.state(node));
            states.filter(move |state| state.is_alive() == is_alive).filter_map(PeerState::heartbeat_key)
        };
        let choose = |is_alive| heartbeats(is_alive).find(|key| *key == own).or_else(|| heartbeats(is_alive).next());
        choose(true).or_else(|| choose(false)).unwrap_or(own)
    }
}

impl PeerState {
    /// The key that it verifies with, when it is one that knows only one.
    const fn heartbeat_key(&self) -> Option<KeyNumber> {
        if self.peer.extension.is_some() { None } else { self.key }
    }
}
