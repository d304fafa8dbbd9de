//! The interlock: what opens and closes the gate.

use super::*;
use crate::core::ownership::Gate;
use crate::core::settings::InterlockSettings;
use crate::core::{InputLine, LineLevel};

/// Alpha, beside an idle beta with its line low; each is told of the other.
fn interlocked() -> Bench {
    let interlock = InterlockSettings { settle: Duration::from_millis(40) };
    let deadtime = Duration::from_millis(2 * DEADTIME);
    let mut bench = Bench::new(Settings { interlock: Some(interlock), deadtime, ..settings() }, None);
    bench.give(Input::Line { line: InputLine::PeerOwner, level: LineLevel::Inactive });
    bench.end_all(Order::Probe, JobOutcome::NoneRunning);
    bench
}

#[test]
fn line_stays_up_while_a_slow_line_brings_the_answer() {
    let mut bench = interlocked();
    // Beta hears every word, and its answers are on their way for three keepalives.
    let mut answers = std::collections::VecDeque::new();
    let mut is_raised = false;
    for _ in 0..20 {
        bench.live(KEEPALIVE, |bench| {
            answers.push_back(bench.node.comms().own_seq());
            if answers.len() > 3 {
                let echo_seq = answers.pop_front().unwrap_or_default();
                bench.status(Some(Extension { echo_generation: OURS, echo_seq, ..holding_nothing() }));
            }
        });
        match bench.node.ownership().gate() {
            Gate::Raising { .. } => {
                is_raised = true;
                bench.give(Input::OwnerSet { is_owner: true, is_ok: true });
            }
            Gate::Down | Gate::BackingOff { .. } => assert!(!is_raised, "lowered at {} ms", bench.now),
            Gate::Settling { .. } | Gate::Open => {}
        }
    }
    assert!(is_raised && bench.waits_for(HOME, Order::Start));
}
