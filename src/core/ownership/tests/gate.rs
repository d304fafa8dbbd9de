//! The interlock: what opens and closes the gate.

use super::*;
use crate::core::ids::CheckId;
use crate::core::message::HealthReport;
use crate::core::ownership::Gate;
use crate::core::settings::{CheckSettings, InterlockSettings};
use crate::core::{Health, InputLine, LineLevel};

/// Alpha, beside an idle beta with its line low; each is told of the other.
fn interlocked() -> Bench {
    interlocked_with(settings())
}

fn interlocked_with(settings: Settings) -> Bench {
    let interlock = InterlockSettings { settle: Duration::from_millis(40) };
    let deadtime = Duration::from_millis(2 * DEADTIME);
    let mut bench = Bench::new(Settings { interlock: Some(interlock), deadtime, ..settings }, None);
    bench.give(Input::Line { line: InputLine::PeerOwner, level: LineLevel::Inactive });
    bench.end_all(Order::Probe, JobOutcome::NoneRunning);
    bench
}

/// Alpha has never heard beta, finds its line low, and starts everything.
fn alone(settings: Settings) -> Bench {
    let mut bench = interlocked_with(settings);
    bench.live(8000, |_| {});
    bench.give(Input::OwnerSet { is_owner: true, is_ok: true });
    bench.live(1000, |_| {});
    assert!(bench.waits_for(HOME, Order::Start) && bench.waits_for(GUEST, Order::Start));
    bench
}

#[test]
fn failed_start_waits_while_the_line_of_a_silent_partner_says_taken() {
    let mut bench = alone(settings());
    bench.give(Input::Line { line: InputLine::PeerPower, level: LineLevel::Active });
    bench.give(Input::Line { line: InputLine::PeerOwner, level: LineLevel::Active });
    bench.end_all(Order::Start, JobOutcome::Failed);
    // The pause is over after 10 s.
    bench.live(15_000, |_| {});
    assert!(!bench.waits_for(HOME, Order::Start));
    // Nobody drives the line of a board without power.
    bench.give(Input::Line { line: InputLine::PeerPower, level: LineLevel::Inactive });
    bench.live(20, |_| {});
    assert!(bench.waits_for(HOME, Order::Start));
}

#[test]
fn service_is_restarted_in_place_beside_a_board_without_power() {
    for (power, is_restarted) in [(LineLevel::Active, false), (LineLevel::Inactive, true)] {
        let mut settings = settings();
        let check = CheckSettings { name: "web".try_into().unwrap(), group: Some(HOME), restarts: 1, is_vital: false };
        settings.health.checks.push(check).unwrap();
        let mut bench = alone(settings);
        bench.end_all(Order::Start, JobOutcome::Done);
        bench.give(Input::Line { line: InputLine::PeerPower, level: power });
        bench.give(Input::Line { line: InputLine::PeerOwner, level: LineLevel::Active });
        bench.give(Input::Health { check: CheckId(0), health: Health::Failed, from: 0 });
        bench.live(1000, |_| {});
        assert_eq!(bench.waits_for(HOME, Order::Restart { from: 0 }), is_restarted, "{power:?}");
    }
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

#[test]
fn line_that_could_not_be_lowered_without_a_guardian_is_lowered_when_it_is_back() {
    let mut bench = interlocked();
    bench.live(2000, |bench| bench.tell(holding_nothing()));
    bench.give(Input::OwnerSet { is_owner: true, is_ok: true });
    assert!(matches!(bench.node.ownership().gate(), Gate::Settling { .. }));
    bench.give(Input::Guardian { is_present: false });
    // Beta has everything by now.
    bench.live(2000, |bench| bench.tell(holding_all()));
    assert_eq!(bench.node.ownership().gate(), Gate::Down);
    assert_eq!(bench.asked.last().map(String::as_str), Some("owner true"));
    bench.asked.clear();
    bench.give(Input::Guardian { is_present: true });
    assert_eq!(bench.asked, ["owner false"]);
    // Unconfirmed, it is asked for again; confirmed, no more.
    for (is_confirmed, expected) in [(false, 1), (true, 0)] {
        if is_confirmed {
            bench.give(Input::OwnerSet { is_owner: false, is_ok: true });
        }
        bench.asked.clear();
        bench.live(3000, |bench| bench.tell(holding_all()));
        assert_eq!(bench.asked.len(), expected, "{:?}", bench.asked);
    }
}

#[test]
fn group_that_fails_its_checks_stays_when_another_one_may_not_go_with_it() {
    for (spent_there, is_offered) in [(GroupSet::only(GUEST), false), (GroupSet::EMPTY, true)] {
        let mut settings = settings();
        let check = CheckSettings { name: "web".try_into().unwrap(), group: Some(HOME), restarts: 0, is_vital: false };
        settings.health.checks.push(check).unwrap();
        let mut bench = alone(settings);
        let theirs = Extension {
            health: Some(HealthReport { failing: 0, unknown: 0, spent: spent_there }),
            ..holding_nothing()
        };
        bench.end_all(Order::Start, JobOutcome::Done);
        assert!(bench.runs(HOME) && bench.runs(GUEST));
        bench.live(1000, |bench| bench.tell(theirs));
        bench.give(Input::Health { check: CheckId(0), health: Health::Failed, from: 0 });
        bench.live(1000, |bench| bench.tell(theirs));
        let offers = |packet: &Packet| matches!(packet.body, Body::AskResources { .. });
        assert_eq!(bench.packets.iter().any(offers), is_offered, "{spent_there:?}");
    }
}

/// Both groups are at home on that node; alpha has held so many of them since an earlier engine.
fn with_part(home: NodeId, held: GroupSet) -> Bench {
    let interlock = InterlockSettings { settle: Duration::from_millis(40) };
    let groups = [home; 2].into_iter().map(|preferred| GroupSettings { preferred }).collect();
    let mut states = [GroupState::Unknown; GROUPS_MAX];
    states[..2].fill(GroupState::Stopped);
    held.iter().for_each(|id| states[usize::from(id.0)] = GroupState::Running);
    let carried = Carried { claims: held, states, is_certain: true, ..Carried::nothing() };
    Bench::new(Settings { interlock: Some(interlock), groups, ..settings() }, Some(carried))
}

/// The guardian sets the line as it is asked to, while beta tells this.
fn live_with_line(bench: &mut Bench, ms: u64, theirs: Extension) {
    let end = bench.now + ms;
    while bench.now < end {
        bench.live(KEEPALIVE, |bench| bench.tell(theirs));
        for asked in std::mem::take(&mut bench.asked) {
            if let Some(level) = asked.strip_prefix("owner ") {
                bench.give(Input::OwnerSet { is_owner: level == "true", is_ok: true });
            }
        }
    }
}

#[test]
fn board_that_holds_a_part_takes_what_nobody_holds_and_the_other_one_leaves_it_alone() {
    let of_home = holding(GroupSet::only(HOME), [GroupState::Running, GroupState::Stopped]);
    let (alpha, beta) = (NodeId(0), NodeId(1));
    for (home, held, theirs, their_line, is_taken) in [
        (beta, GroupSet::only(HOME), holding_nothing(), LineLevel::Inactive, true),
        // Its line may still be up, or be taken for it.
        (beta, GroupSet::only(HOME), holding_nothing(), LineLevel::Active, true),
        (alpha, GroupSet::EMPTY, of_home, LineLevel::Active, false),
        // Even if the line lets it.
        (alpha, GroupSet::EMPTY, of_home, LineLevel::Inactive, false),
        (alpha, GroupSet::EMPTY, holding_nothing(), LineLevel::Inactive, true),
        (beta, GroupSet::EMPTY, holding_nothing(), LineLevel::Inactive, false),
    ] {
        let mut bench = with_part(home, held);
        bench.give(Input::Line { line: InputLine::PeerOwner, level: their_line });
        let theirs = Extension { owner_line: their_line, ..theirs };
        live_with_line(&mut bench, 6000, theirs);
        assert_eq!(bench.waits_for(GUEST, Order::Start), is_taken, "{home:?} {held:?} {their_line:?}");
    }
}

#[test]
fn rest_of_a_partner_that_fell_silent_is_taken_only_when_its_line_is_low() {
    let mut bench = with_part(NodeId(0), GroupSet::only(HOME));
    let rest = holding(GroupSet::only(GUEST), [GroupState::Stopped, GroupState::Running]);
    bench.give(Input::Line { line: InputLine::PeerOwner, level: LineLevel::Active });
    live_with_line(&mut bench, 2000, Extension { owner_line: LineLevel::Active, ..rest });
    // Every path is cut; both lines are whole.
    bench.live(10_000, |_| {});
    assert!(bench.runs(HOME) && !bench.waits_for(GUEST, Order::Start));
    bench.give(Input::Line { line: InputLine::PeerOwner, level: LineLevel::Inactive });
    bench.live(1000, |_| {});
    assert!(bench.waits_for(GUEST, Order::Start));
}
