//! Rate limit for log lines that a stranger or a broken peer could cause without end.

use crate::core::time::{Duration, Instant};

/// After one line of a kind, further ones of that kind are only counted for this long.
const QUIET_FOR: Duration = Duration::from_secs(10);

/// What can be complained about. One limit for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Complaint {
    BadNode,
    Replay,
    BadSeq,
    OwnName,
    UuidClash,
    Renamed,
    UuidChanged,
    BadRexmit,
    RexmitTooHigh,
    CannotRexmit,
    CorruptAck,
    QueueFilling,
    QueueNearlyFull,
    Late,
    NodeList,
}

const KINDS: usize = Complaint::NodeList as usize + 1;

/// When each kind may be logged again, and how many were not.
#[derive(Debug, Clone, Default)]
pub(super) struct Complaints {
    quiet_until: [Option<Instant>; KINDS],
    suppressed: [u32; KINDS],
}

impl Complaints {
    /// Whether to write this one now: `Some` with the number of those swallowed since the last line of its kind.
    pub(super) fn admit(&mut self, kind: Complaint, now: Instant) -> Option<Swallowed> {
        let kind = kind as usize;
        if self.quiet_until[kind].is_some_and(|until| now < until) {
            self.suppressed[kind] = self.suppressed[kind].saturating_add(1);
            return None;
        }
        self.quiet_until[kind] = Some(now + QUIET_FOR);
        Some(Swallowed(core::mem::take(&mut self.suppressed[kind])))
    }
}

/// How many lines of one kind were not written. Prints as nothing when there were none, so that Heartbeat's texts stay
/// as they are; else as a remark behind the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Swallowed(u32);

impl core::fmt::Display for Swallowed {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self.0 {
            0 => Ok(()),
            count => write!(f, " ({count} more like this before)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complaint_repeated_is_counted_and_told_with_the_next() {
        let mut complaints = Complaints::default();
        let at = Instant::from_millis;
        assert_eq!(complaints.admit(Complaint::Replay, at(0)), Some(Swallowed(0)));
        assert_eq!(complaints.admit(Complaint::Replay, at(1)), None);
        assert_eq!(complaints.admit(Complaint::Replay, at(9_999)), None);
        assert_eq!(complaints.admit(Complaint::BadNode, at(9_999)), Some(Swallowed(0)), "each kind for itself");
        assert_eq!(complaints.admit(Complaint::Replay, at(10_000)), Some(Swallowed(2)));
    }
}
