//! The change-over between Heartbeat's format and the compact one, simulated: the shipped ends of two nodes' links, every
//! mixture of `protocol` and of Heartbeat 3.0.6, and faults on all of it. The rules stand in `oracle.rs`.
//!
//! `CHANGEOVER_SEEDS=FROM..TO` plays other seeds, and a single one tells what was drawn for it.

mod node;
mod oracle;
mod plan;
mod world;

use std::collections::BTreeMap;
use std::ops::Range;
use std::panic::catch_unwind;

use oracle::END;
use plan::Fault;
use world::World;

/// Seeds that each run of the tests plays.
const SEEDS: Range<u64> = 0..4_000;
const THREADS: usize = 2;

/// What a seed has come to.
#[cfg_attr(feature = "planted", expect(dead_code, reason = "with planted bugs only what is broken counts"))]
struct Outcome {
    seed: u64,
    /// The rule that was broken.
    broken: Option<String>,
    faults: Vec<Fault>,
    sessions: u32,
    longest_silence: u64,
}

fn play(seed: u64) -> Outcome {
    let outcome = catch_unwind(|| {
        let mut world = World::new(seed);
        let broken = world.run(END).err();
        let mut faults: Vec<Fault> = world.hits.iter().map(|index| world.plan.spells[*index].fault).collect();
        faults.sort_by_key(|fault| Fault::ALL.iter().position(|other| other == fault));
        faults.dedup();
        let (sessions, longest_silence) = (world.oracle.sessions, world.oracle.longest_silence);
        Outcome { seed, broken, faults, sessions, longest_silence }
    });
    outcome.unwrap_or_else(|_| {
        let broken = Some("panic".to_owned());
        Outcome { seed, broken, faults: Vec::new(), sessions: 0, longest_silence: 0 }
    })
}

fn play_all(seeds: Range<u64>) -> Vec<Outcome> {
    let part = |first: usize| seeds.clone().skip(first).step_by(THREADS).map(play).collect::<Vec<_>>();
    std::thread::scope(|scope| {
        let part = &part;
        let threads: Vec<_> = (0..THREADS).map(|first| scope.spawn(move || part(first))).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("a thread of seeds")).collect()
    })
}

/// Those that were broken, the lowest seed first.
fn broken(outcomes: &[Outcome]) -> Vec<(u64, &str)> {
    let mut broken: Vec<_> =
        outcomes.iter().filter_map(|outcome| Some((outcome.seed, outcome.broken.as_deref()?))).collect();
    broken.sort_unstable();
    broken
}

#[cfg(not(feature = "planted"))]
#[test]
fn change_over_holds_under_every_fault() {
    let seeds = std::env::var("CHANGEOVER_SEEDS").ok().map_or(SEEDS, |text| {
        let (from, to) = text.split_once("..").expect("FROM..TO");
        from.parse().expect("a number")..to.parse().expect("a number")
    });
    if seeds.end - seeds.start == 1 {
        println!("{:#?}", plan::Plan::draw(seeds.start));
    }
    let outcomes = play_all(seeds.clone());
    let broken = broken(&outcomes);
    let total = outcomes.len();
    println!("{total} seeds, {} broken", broken.len());
    let mut counts = BTreeMap::new();
    outcomes
        .iter()
        .flat_map(|outcome| &outcome.faults)
        .for_each(|fault| *counts.entry(format!("{fault:?}")).or_insert(0) += 1);
    counts.iter().for_each(|(fault, count)| println!("{fault:14} in {:3} % of them", count * 100 / total));
    println!("sessions opened or ended: {}", outcomes.iter().map(|outcome| u64::from(outcome.sessions)).sum::<u64>());
    println!("longest silence: {} ms", outcomes.iter().map(|outcome| outcome.longest_silence).max().unwrap_or(0));
    assert_eq!(broken.iter().take(9).collect::<Vec<_>>(), Vec::<&(u64, &str)>::new());
    if seeds == SEEDS {
        assert_eq!(counts.len(), Fault::ALL.len(), "a fault never came");
        assert!(counts.values().all(|count| count * 20 >= total), "a fault in less than 5 % of the seeds");
    }
}

#[cfg(feature = "planted")]
#[test]
fn each_planted_bug_is_found() {
    use nullbeat::core::planted::{Bug, plant};

    // A panic counts as found; its backtrace would only hide the table.
    std::panic::set_hook(Box::new(|_| {}));
    let mut missed = Vec::new();
    for bug in Bug::CHANGE_OVER {
        plant(Some(bug));
        let parts = SEEDS.step_by(200).map(|first| first..first + 200);
        let mut found = parts.filter_map(|part| play_all(part).into_iter().find(|outcome| outcome.broken.is_some()));
        match found.next() {
            Some(Outcome { seed, broken, .. }) => println!("{bug:?}: seed {seed}: {}", broken.unwrap_or_default()),
            None => missed.push(bug),
        }
    }
    plant(None);
    assert_eq!(broken(&play_all(0..200)), [], "without any of them");
    assert_eq!(missed, [], "not found in {SEEDS:?}");
}
