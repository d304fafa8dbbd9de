//! Frames with anything in them, signed as they should be: for fuzzers, which cannot guess a digest.

use super::Link;
use super::bytes::Writer;
use super::pages::{echo_low, has_echo};

impl Link {
    /// Writes a frame with this payload behind the header, for `receiver` at the other end. `None`: no session, no room.
    pub(crate) fn seal(&mut self, first: u8, payload: &[u8], receiver: &Self, out: &mut [u8]) -> Option<usize> {
        let base = receiver.session()?.echo_base();
        let session = self.session_mut()?;
        let is_beat = matches!(first & super::kind::MASK, super::kind::BEAT | super::kind::ALL);
        let echo = match echo_low(payload) {
            Some(low) if is_beat && has_echo(payload) => super::bytes::nearest(base, low),
            _ => 0,
        };
        let len = out.len().min(super::BODY_MAX);
        session.seal(first, payload, echo, Writer::new(out.get_mut(..len)?))
    }
}
