//! The line `owner` of a board without an interlock: it tells, and gates nothing.

use super::*;

fn with_line() -> Settings {
    Settings { has_owner_line: true, ..settings() }
}

#[test]
fn line_is_up_from_before_the_first_start_until_after_the_last_stop() {
    let mut bench = Bench::new(with_line(), None);
    bench.end_all(Order::Probe, JobOutcome::NoneRunning);
    bench.asked.retain(|asked| asked != "Probe");
    assert_eq!(bench.asked, ["owner false"], "whatever it was before");
    bench.give(Input::OwnerSet { is_owner: false, is_ok: true });
    bench.asked.clear();
    bench.live(5000, |_| {});
    assert_eq!(bench.asked[..3], ["owner true", "Start", "Start"]);
    bench.give(Input::OwnerSet { is_owner: true, is_ok: true });
    bench.end_all(Order::Start, JobOutcome::Done);
    bench.live(5000, |_| {});
    bench.asked.clear();
    bench.give(Input::Request { id: RequestId(1), request: Request::Stop });
    assert_eq!(bench.asked, ["Stop", "Stop"]);
    let (job, ..) = bench.jobs.remove(0);
    bench.give(Input::JobDone { job, outcome: JobOutcome::Done });
    assert_eq!(bench.asked, ["Stop", "Stop"], "one still runs");
    bench.end_all(Order::Stop, JobOutcome::Done);
    assert_eq!(bench.asked, ["Stop", "Stop", "owner false"]);
}

#[test]
fn line_that_could_not_be_set_is_set_again() {
    let mut bench = Bench::new(with_line(), None);
    bench.end_all(Order::Probe, JobOutcome::NoneRunning);
    bench.live(5000, |_| {});
    bench.end_all(Order::Start, JobOutcome::Done);
    bench.give(Input::OwnerSet { is_owner: true, is_ok: false });
    bench.asked.clear();
    bench.live(2000, |_| {});
    assert_eq!(bench.asked, ["owner true"]);
    bench.give(Input::OwnerSet { is_owner: true, is_ok: true });
    bench.live(10_000, |_| {});
    assert_eq!(bench.asked, ["owner true"]);
}

#[test]
fn board_without_the_line_is_asked_for_nothing() {
    let bench = Bench::owner(settings());
    assert!(bench.asked.iter().all(|asked| !asked.starts_with("owner")), "{:?}", bench.asked);
}
