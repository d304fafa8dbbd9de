//! Many seeds, one after another, on as many threads as asked for.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use super::fault::KINDS;
use super::oracle::Violation;
use super::plan::Plan;
use super::trace::Trace;
use super::world::World;

/// Stack of a worker: a node is a large value and passes through it.
const STACK_BYTES: usize = 32 << 20;
/// Broken seeds that are remembered with their reason.
const REMEMBERED: usize = 20;

/// From so many seeds on their coverage is judged: the share of a kind is known to half a percent then.
pub const COVERED_SEEDS: u64 = 10_000;

/// What came of one seed.
#[derive(Debug, Clone)]
pub struct Report {
    /// Which.
    pub seed: u64,
    /// Broken rules.
    pub violations: Vec<Violation>,
    /// Moves of groups between boards.
    pub moves: u32,
    /// Messages sent.
    pub sent: u64,
    /// Virtual time, microseconds.
    pub virtual_time: u64,
    /// Which kinds of faults happened: indices into [`KINDS`].
    pub inflicted: Vec<usize>,
    /// Shots at the other board: asked for, confirmed, broken off.
    pub shots: [u64; 3],
}

/// Runs one seed. A panic of the core is a broken rule like any other.
pub fn run_seed(seed: u64, trace: Trace) -> Report {
    run_plan(Plan::generate(seed), trace)
}

/// Runs one plan.
pub fn run_plan(plan: Plan, trace: Trace) -> Report {
    let seed = plan.seed;
    let mut world = World::new(plan, trace);
    let panic = catch_unwind(AssertUnwindSafe(|| world.finish())).err();
    if let Some(panic) = panic {
        let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
        let now = world.now;
        world.oracle.accuse(now, "panic", text.unwrap_or("without a text").to_owned());
    }
    Report {
        seed,
        violations: world.violations().to_vec(),
        moves: world.moves(),
        sent: world.sent(),
        virtual_time: world.now(),
        inflicted: std::mem::take(&mut world.inflicted),
        shots: world.shots,
    }
}

/// What came of many.
#[derive(Debug, Clone)]
pub struct Totals {
    /// Seeds run.
    pub seeds: u64,
    /// Seeds with a violation.
    pub broken: u64,
    /// The first of them, with what was seen.
    pub examples: Vec<(u64, Violation)>,
    /// How many seeds saw each kind of fault.
    pub coverage: [u64; KINDS.len()],
    /// Shots altogether: asked for, confirmed, broken off.
    pub shots: [u64; 3],
    /// Moves altogether.
    pub moves: u64,
    /// Messages altogether.
    pub sent: u64,
    /// Virtual time altogether, seconds.
    pub virtual_seconds: u64,
}

impl Default for Totals {
    fn default() -> Self {
        Self {
            seeds: 0,
            broken: 0,
            examples: Vec::new(),
            coverage: [0; KINDS.len()],
            shots: [0; 3],
            moves: 0,
            sent: 0,
            virtual_seconds: 0,
        }
    }
}

impl Totals {
    fn add(&mut self, report: &Report) {
        self.seeds += 1;
        self.moves += u64::from(report.moves);
        self.sent += report.sent;
        for (total, shots) in self.shots.iter_mut().zip(report.shots) {
            *total += shots;
        }
        self.virtual_seconds += report.virtual_time / 1_000_000;
        for (kind, count) in self.coverage.iter_mut().enumerate() {
            *count += u64::from(report.inflicted.contains(&kind));
        }
        if let Some(first) = report.violations.first() {
            self.broken += 1;
            if self.examples.len() < REMEMBERED {
                self.examples.push((report.seed, first.clone()));
            }
        }
    }

    /// What too few of the seeds saw: kinds of faults in fewer than 5 % of them, fewer than 2 moves a seed. Of all seeds
    /// alike, also for kinds that only some worlds have (fences, checks): a plan that cannot draw one tests nothing of it.
    /// Percents are rounded, and fewer seeds than [`COVERED_SEEDS`] say nothing: that is chance.
    pub fn gaps(&self) -> Vec<&'static str> {
        if self.seeds < COVERED_SEEDS {
            return Vec::new();
        }
        let is_rare = |count: u64| (count * 100 + self.seeds / 2) / self.seeds < 5;
        let kinds = KINDS.iter().zip(self.coverage).filter(|(_, count)| is_rare(*count)).map(|(kind, _)| *kind);
        kinds.chain((self.moves < 2 * self.seeds).then_some("moves")).collect()
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seeds = self.seeds.max(1);
        for (kind, count) in KINDS.iter().zip(&self.coverage) {
            writeln!(f, "  {kind:<28} {:>3}.{} % of seeds", count * 100 / seeds, count * 1000 / seeds % 10)?;
        }
        writeln!(f, "  moves a seed {}.{:02}", self.moves / seeds, self.moves * 100 / seeds % 100)?;
        let [shots, confirmed, cancelled] = self.shots;
        writeln!(f, "  shots {shots}, confirmed {confirmed}, broken off {cancelled}")?;
        writeln!(f, "  messages {}, virtual hours {}", self.sent, self.virtual_seconds / 3600)?;
        for (seed, violation) in &self.examples {
            writeln!(f, "  seed {seed}: {violation}")?;
        }
        write!(f, "{} seeds, {} broken", self.seeds, self.broken)
    }
}

/// Runs the seeds from `from` on, `count` of them, on `threads` threads; `until_broken`: only up to the first that
/// breaks a rule.
pub fn run_many(from: u64, count: u64, threads: usize, until_broken: bool) -> Totals {
    let next = AtomicU64::new(from);
    let totals = Mutex::new(Totals::default());
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            let worker = std::thread::Builder::new().stack_size(STACK_BYTES);
            let spawned = worker.spawn_scoped(scope, || {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= from + count {
                        break;
                    }
                    let report = run_seed(seed, Trace::Off);
                    let is_broken = !report.violations.is_empty();
                    totals.lock().expect("no panic inside").add(&report);
                    if is_broken && until_broken {
                        next.store(from + count, Ordering::Relaxed);
                    }
                }
            });
            spawned.expect("threads can be started");
        }
    });
    let mut totals = totals.into_inner().expect("no panic inside");
    crate::order::sort(&mut totals.examples, |(a, _), (b, _)| a < b);
    totals
}

#[cfg(test)]
mod tests {
    use super::*;

    /// For whoever changes the core and runs its tests alone; `tests/run sim` plays fifty times as many.
    #[test]
    fn first_seeds_break_no_rule() {
        let totals = run_many(0, 200, 2, true);
        assert_eq!(totals.broken, 0, "{totals}");
    }

    #[test]
    fn coverage_is_judged_from_ten_thousand_seeds_on() {
        let mut totals = Totals {
            seeds: COVERED_SEEDS,
            moves: 2 * COVERED_SEEDS,
            coverage: [500; KINDS.len()],
            ..Totals::default()
        };
        assert!(totals.gaps().is_empty());
        totals.coverage[3] = 449;
        assert_eq!(totals.gaps(), [KINDS[3]]);
        totals.moves -= 1;
        assert_eq!(totals.gaps(), [KINDS[3], "moves"]);
        totals.seeds -= 1;
        assert!(totals.gaps().is_empty(), "too few to tell");
    }
}
