//! `nullbeat sim`: the core in a virtual world full of faults.

use std::time::Instant;

use super::arguments::{Arguments, Flag, Misuse};
use super::{exit, print_out};
use crate::sim::coverage::Coverage;
use crate::sim::runner::COVERED_SEEDS;
use crate::sim::{Trace, plan::Plan, run_many, run_plan, trace};

const FLAGS: &[Flag] = &[
    Flag::Value("--seed"),
    Flag::Value("--seeds"),
    Flag::Value("--from"),
    Flag::Value("--threads"),
    Flag::Value("--planted"),
    Flag::Switch("--quiet"),
    Flag::Switch("--plain"),
];

/// Help text.
pub(super) const HELP: &str = "\
nullbeat sim --seed N [--quiet] [--plain]
nullbeat sim --seeds N [--from M] [--threads T]

Drives the decisions of two nodes through faults in virtual time, watched by a judge who knows the truth.
--seed replays one run and prints what happens: virtual ms, node, state letters of the groups on both boards
(s stopped, S starting, R running, x stopping, f start failed, F stop failed, ? unknown, - no power), event.
--plain leaves out what later versions added to the world: the seed is played as it was.
--seeds runs many and prints which faults they met. --planted B switches on a bug of core/planted.rs, in a build with
the feature `planted`.

exit codes: 0 all rules held, 1 a rule was broken, or of 10000 seeds and more fewer than 5 % saw some kind of fault, or
they had fewer than 2 moves each
";

/// The verb.
pub(super) fn main(args: &[String]) -> u8 {
    match parse(args) {
        Ok(request) => request.run(),
        Err(misuse) => misuse.report("sim"),
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Request {
    One { seed: u64, is_quiet: bool, is_plain: bool },
    Many { from: u64, count: u64, threads: usize },
}

fn parse(args: &[String]) -> Result<Request, Misuse> {
    let args = Arguments::parse(args, FLAGS)?;
    args.at_most(0)?;
    if let Some(bug) = number(&args, "--planted")? {
        plant(bug)?;
    }
    match (number(&args, "--seed")?, number(&args, "--seeds")?) {
        (Some(seed), None) => Ok(Request::One { seed, is_quiet: args.has("--quiet"), is_plain: args.has("--plain") }),
        (None, Some(count)) => {
            let cores = std::thread::available_parallelism().map_or(1, usize::from);
            let threads = number(&args, "--threads")?.and_then(|threads| usize::try_from(threads).ok());
            let from = number(&args, "--from")?.unwrap_or(0);
            Ok(Request::Many { from, count, threads: threads.unwrap_or(cores) })
        }
        _ => Err(Misuse("expects either `--seed N` or `--seeds N`".to_owned())),
    }
}

#[cfg(feature = "planted")]
fn plant(bug: u64) -> Result<(), Misuse> {
    let bug = crate::core::planted::Bug::ALL.into_iter().find(|known| u64::from(*known as u8) == bug);
    let bug =
        bug.ok_or_else(|| Misuse("option `--planted` expects the number of a bug in core/planted.rs".to_owned()))?;
    crate::core::planted::plant(Some(bug));
    Ok(())
}

#[cfg(not(feature = "planted"))]
fn plant(_: u64) -> Result<(), Misuse> {
    Err(Misuse("option `--planted` needs a build with `--features planted`".to_owned()))
}

fn number(args: &Arguments, name: &str) -> Result<Option<u64>, Misuse> {
    let Some(text) = args.value(name) else { return Ok(None) };
    text.parse().map(Some).map_err(|_| Misuse(format!("option `{name}` expects a number, found `{text}`")))
}

impl Request {
    fn run(&self) -> u8 {
        match *self {
            Self::One { seed, is_quiet, is_plain } => {
                replay(if is_plain { Plan::generate_plain(seed) } else { Plan::generate(seed) }, is_quiet)
            }
            Self::Many { from, count, threads } => search(from, count, threads),
        }
    }
}

fn replay(plan: Plan, is_quiet: bool) -> u8 {
    // A second logger cannot be installed; then the core's own lines go where the first one sends them.
    if !is_quiet && log::set_logger(&CoreLog).is_ok() {
        log::set_max_level(log::LevelFilter::Debug);
    }
    let seed = plan.seed;
    print_out(&plan.to_string());
    let report = run_plan(plan, if is_quiet { Trace::Off } else { Trace::Print });
    let broken: String = report.violations.iter().map(|violation| format!("BROKEN {violation}\n")).collect();
    let moves = report.moves;
    print_out(&format!("{broken}seed {seed}: {} rules broken, {moves} moves\n", report.violations.len()));
    if report.violations.is_empty() { exit::OK } else { exit::FAILURE }
}

fn search(from: u64, count: u64, threads: usize) -> u8 {
    let began = Instant::now();
    // A panic is reported with its seed; the default hook would only repeat it without.
    std::panic::set_hook(Box::new(|_| {}));
    let totals = run_many(from, count, threads, false);
    let tenths = began.elapsed().as_millis().max(100) / 100;
    let rate = u128::from(totals.seeds) * 10 / tenths;
    let pairs = Coverage::of_process();
    print_out(&pairs.as_ref().map_or_else(String::new, Coverage::to_string));
    print_out(&format!("{totals}, {}.{} s, {rate} seeds/s\n", tenths / 10, tenths % 10));
    let mut gaps: Vec<String> = totals.gaps().into_iter().map(str::to_owned).collect();
    if let Some(pairs) = pairs {
        gaps.extend(pairs.wrong);
        gaps.extend(pairs.missing.into_iter().filter(|_| count >= COVERED_SEEDS));
    }
    if !gaps.is_empty() {
        print_out(&format!("too rare, the seeds do not test it: {}\n", gaps.join(", ")));
    }
    if totals.broken == 0 && gaps.is_empty() { exit::OK } else { exit::FAILURE }
}

/// Prints the core's own log lines between those of the trace.
struct CoreLog;

impl log::Log for CoreLog {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        let (now, node) = trace::clock();
        let line =
            format!("{:>8}.{:03} node {node}     {} {}\n", now / 1000, now % 1000, record.level(), record.args());
        print_out(&line);
    }

    fn flush(&self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn one_seed_or_many() {
        assert_eq!(parse(&words("--seed 7")), Ok(Request::One { seed: 7, is_quiet: false, is_plain: false }));
        let many = Request::Many { from: 5, count: 10, threads: 3 };
        assert_eq!(parse(&words("--seeds 10 --from 5 --threads 3")), Ok(many));
        for bad in ["", "--seed", "--seed x", "--seed 1 --seeds 2", "--seed 1 more"] {
            assert!(parse(&words(bad)).is_err(), "{bad}");
        }
    }
}
