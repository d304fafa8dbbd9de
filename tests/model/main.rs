//! The rules of hand-over and takeover, checked in every order of what can happen, within bounds.
//!
//! The model is the shipped code: two [`nullbeat::core::Node`]s, between them a path on which each message may come at any
//! moment, late, twice, out of order or never; scripts that end at any moment and may fail; boards that lose power at any
//! moment and return; operators who ask for anything at any moment. All of it as often as a bound says, in every
//! combination and order, for some seconds of virtual time; then nothing goes wrong any more, and it must come in order.
#![cfg(feature = "planted")]

mod explore;
mod identity;
mod jobs;
mod world;

use std::sync::Mutex;

use nullbeat::core::planted::{Bug, plant};
use nullbeat::core::settings::{FenceKind, TakeoverPolicy};
use nullbeat::sim::Plan;
use nullbeat::sim::plan::{FencePlan, GroupPlan};

use explore::{Report, explore};
use world::{Budget, MS, World};

/// A frame of the search is small, but a node that is made passes through the stack.
const STACK: usize = 256 << 20;

fn plan() -> Plan {
    Plan { links: Plan::quiet().links[..1].to_vec(), deadtime: 800 * MS, initdead: 1_600 * MS, ..Plan::quiet() }
}

/// Both have met, the group runs at home.
fn settled(plan: Plan) -> World {
    let mut world = World::new(plan);
    world.start(0);
    world.start(1);
    let until = world.now + 2_000 * MS;
    while world.now < until {
        world.take(world.calm_step());
    }
    assert!(world.is_in_order(), "{}", world.story());
    world
}

/// One part of the model: where it begins, what may happen, for how long.
struct Part {
    name: &'static str,
    begin: fn() -> World,
    budget: Budget,
    /// Virtual time, milliseconds.
    lasts: u64,
}

const NONE: Budget = Budget {
    losses: 0,
    copies: 0,
    delays: 0,
    overtakings: 0,
    crashes: 0,
    requests: 0,
    failures: 0,
    cuts: 0,
    freezes: 0,
};

fn available() -> World {
    settled(plan())
}

fn safe() -> World {
    settled(Plan { policy: TakeoverPolicy::Safe, ..plan() })
}

fn fenced() -> World {
    let device = FencePlan { kind: FenceKind::Device, limit: 200 * MS };
    settled(Plan { fence: vec![device], fence_settle: 300 * MS, ..plan() })
}

fn two_groups() -> World {
    let home = plan().groups[0];
    settled(Plan { groups: vec![home, GroupPlan { preferred: 1, ..home }], ..plan() })
}

/// Both boards get power.
fn starting() -> World {
    let mut world = World::new(plan());
    world.start(0);
    world.start(1);
    world
}

fn parts() -> Vec<Part> {
    let part = |name, begin, budget, lasts| Part { name, begin, budget, lasts };
    let mut parts = vec![
        part("an operator asks", available as fn() -> World, Budget { requests: 1, ..NONE }, 300),
        part("asked, a message lost", available, Budget { requests: 1, losses: 1, ..NONE }, 60),
        part("asked, a script fails", available, Budget { requests: 1, failures: 1, ..NONE }, 150),
        part("two groups, asked", two_groups, Budget { requests: 1, ..NONE }, 120),
        part("both start, something is late", starting, Budget { delays: 1, ..NONE }, 60),
        part("a board loses its power", available, Budget { crashes: 1, ..NONE }, 1_200),
        part("safe: cut, or not scheduled", safe, Budget { cuts: 1, freezes: 1, ..NONE }, 1_600),
        part("fence: cut, or not scheduled", fenced, Budget { cuts: 1, freezes: 1, ..NONE }, 1_600),
    ];
    if std::env::var("TEST_LANE").is_ok_and(|lane| lane == "all") {
        parts.extend([
            part("all: asked, a message lost", available, Budget { requests: 1, losses: 1, ..NONE }, 150),
            part("all: asked, a message twice", available, Budget { requests: 1, copies: 1, ..NONE }, 60),
            part("all: asked, out of order", available, Budget { requests: 1, overtakings: 1, ..NONE }, 60),
        ]);
    }
    parts
}

/// Explores one part on a thread of its own. A panic of the core is a broken rule like any other.
fn run(part: Part) -> Report {
    let Part { name, begin, budget, lasts } = part;
    let began = std::time::Instant::now();
    let search = std::thread::Builder::new().stack_size(STACK).spawn(move || explore(begin(), budget, lasts * MS));
    let report = search.expect("threads can be started").join();
    let report = report.unwrap_or_else(|_| Report { broken: Some("panic".to_owned()), ..Report::default() });
    println!("{name}, {lasts} ms: {report} ({:.1} s)", began.elapsed().as_secs_f32());
    report
}

/// All parts, on two threads.
fn run_all(parts: Vec<Part>) -> Vec<Report> {
    let parts = Mutex::new(parts.into_iter());
    let work = || {
        let mut reports = Vec::new();
        loop {
            let part = parts.lock().expect("no panic inside").next();
            let Some(part) = part else { return reports };
            reports.push(run(part));
        }
    };
    std::thread::scope(|scope| {
        let workers = [scope.spawn(work), scope.spawn(work)];
        workers.into_iter().flat_map(|worker| worker.join().expect("no panic outside of the search")).collect()
    })
}

/// One test, as bugs are planted for the whole process.
#[test]
fn no_order_of_events_breaks_a_rule_unless_a_bug_is_planted() {
    let reports = run_all(parts());
    let broken: Vec<_> = reports.iter().filter_map(|report| report.broken.as_deref()).collect();
    assert!(broken.is_empty(), "{}", broken.join("\n\n"));
    let (states, steps) = reports.iter().fold((0, 0), |sum, report| (sum.0 + report.states, sum.1 + report.steps));
    println!("altogether {states} states, {steps} steps, no rule broken");

    for (bug, name) in FOUND {
        plant(Some(bug));
        let part = parts().into_iter().find(|part| part.name == name).expect("one of the parts");
        let report = run(part);
        plant(None);
        let what = report.broken.unwrap_or_else(|| panic!("{bug:?} is not found"));
        println!("{bug:?} found: {}", what.lines().next().unwrap_or_default());
    }
}

/// Bugs, and the part of the model that finds them.
const FOUND: [(Bug, &str); 3] = [
    (Bug::StartBeforeDone, "an operator asks"),
    (Bug::IgnoreStopFailure, "asked, a script fails"),
    (Bug::SkipFence, "fence: cut, or not scheduled"),
];
