//! Numbers from what the observer saw.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use crate::lab::observer::Record;

/// Longest time, after `from`, in which the group had run somewhere before and now ran nowhere; up to the last record.
pub(crate) fn longest_gap(records: &[Record], group: &str, from: Instant) -> Duration {
    let mut runners = HashSet::new();
    let mut since: Option<Instant> = None;
    let mut longest = Duration::ZERO;
    for record in records.iter().filter(|record| record.group == group) {
        let was_running = !runners.is_empty();
        match record.what.as_str() {
            "start-end" => runners.insert(&record.node),
            "stop-begin" | "stop-end" | "start-failed" | "off" => runners.remove(&record.node),
            _ => continue,
        };
        match (was_running, runners.is_empty()) {
            (true, true) => since = Some(record.at),
            (false, false) => {
                if let Some(began) = since.take() {
                    longest = longest.max(record.at.saturating_duration_since(began.max(from)));
                }
            }
            _ => {}
        }
    }
    longest
}
