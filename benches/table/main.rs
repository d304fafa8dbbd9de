//! `cargo bench --bench table`: nullbeat beside the packages it replaces, on the same boards, in the same run. Prints
//! the table and writes `docs/performance.md`. Needs root and Linux; nothing that it does leaves its own namespaces.
//!
//! A board is a network, PID, mount and UTS namespace (`board`), two cables join them (`lab`), and an observer outside
//! listens on the cables (`tap`). The resource script writes down when it was called (`marker`). No time is asserted.

mod bare;
mod board;
mod cable;
mod compact;
mod contender;
mod cycle;
mod document;
mod fence;
mod kick;
mod lab;
mod machine;
mod mixed;
mod sample;
mod stalls;
mod steady;
mod stress;
mod tap;

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use contender::Contender;
use document::Results;
use steady::Rest;

const RUNS: usize = 5;
const HELP: &str = "\
cargo bench --bench table [-- OPTIONS]

  --only NAME      nullbeat, heartbeat or keepalived alone; docs/performance.md is left as it is
  --program PATH   measure this file instead of building one
  --runs N         instead of 5
  --long SECONDS   beat beside a heavy load as well, so long in each case
  --stress-only    only that; the other parts of docs/performance.md are left as they are
  --day            only count page frames before and after a day's beats, made in a quarter of an hour
  --fence          only from a confirmed fence to the first script; the other parts of docs/performance.md are left as
                   they are
  --kick           only what a watchdog's kick costs in system calls, in the same way
  --mixed          only one nullbeat beside one Heartbeat; the other parts of docs/performance.md are left as they are
  --compact        only takeovers over one path alone in the compact format, 20 on each; with --long SECONDS instead what
                   beating at such times costs, and whether it holds so long beside a heavy load
  --class on|off   of that, only with or without the real-time class; the other rows are left as they are
  --medium udp|serial  of that, only this one
";

struct Options {
    only: Option<String>,
    program: Option<PathBuf>,
    runs: usize,
    long: Option<u64>,
    is_stress_only: bool,
    class: Option<bool>,
    is_serial: Option<bool>,
    is_day: bool,
    is_mixed: bool,
    is_compact: bool,
    is_fence: bool,
    is_kick: bool,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let result = match arguments.split_first() {
        Some((word, rest)) if word == board::WORD => board::process_one(rest),
        Some((word, rest)) if word == bare::WORD => bare::beat(rest),
        Some((word, rest)) if word == cable::WORD => cable::carry(rest),
        Some((word, rest)) if word == kick::WORD => kick::turn(rest),
        Some((word, _)) if word == stress::LOAD_WORD => stress::load(),
        Some((word, rest)) if word == stalls::WORD => stalls::run(rest),
        _ => parse(&arguments).and_then(|options| options.map_or_else(help, |options| table(&options))),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("table: {error}");
            ExitCode::FAILURE
        }
    }
}

fn help() -> io::Result<()> {
    print!("{HELP}");
    Ok(())
}

fn parse(arguments: &[String]) -> io::Result<Option<Options>> {
    let mut options = Options {
        only: None,
        program: None,
        runs: RUNS,
        long: None,
        is_stress_only: false,
        class: None,
        is_serial: None,
        is_day: false,
        is_mixed: false,
        is_compact: false,
        is_fence: false,
        is_kick: false,
    };
    let mut words = arguments.iter();
    let misuse = |word: &str| io::Error::other(format!("what is `{word}`? See --help"));
    let number =
        |word: Option<&String>| word.and_then(|word| word.parse().ok()).ok_or_else(|| misuse("a missing number"));
    while let Some(word) = words.next() {
        match word.as_str() {
            // What `cargo bench` adds.
            "--bench" => {}
            "--only" => options.only = words.next().cloned(),
            "--program" => options.program = words.next().map(PathBuf::from),
            "--runs" => options.runs = number(words.next())?,
            "--long" => options.long = Some(number(words.next())? as u64),
            "--stress-only" => options.is_stress_only = true,
            "--medium" => options.is_serial = Some(words.next().is_some_and(|word| word == "serial")),
            "--day" => options.is_day = true,
            "--mixed" => options.is_mixed = true,
            "--compact" => options.is_compact = true,
            "--fence" => options.is_fence = true,
            "--kick" => options.is_kick = true,
            "--class" => options.class = Some(words.next().is_some_and(|word| word == "on")),
            "--help" => return Ok(None),
            other => return Err(misuse(other)),
        }
    }
    Ok(Some(options))
}

fn table(options: &Options) -> io::Result<()> {
    if !nix::unistd::Uid::effective().is_root() {
        return Err(io::Error::other("boards are made of namespaces: this needs root"));
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let begin = Instant::now();
    let machine = machine::words();
    if options.is_fence || options.is_kick {
        // These two measure what was built together with this program, not what ships.
        if cfg!(debug_assertions) {
            return Err(io::Error::other(
                "this program was built with the profile dev: use `cargo bench`, without --profile",
            ));
        }
    }
    if options.is_kick {
        return kick_line(root);
    }
    say(begin, "building");
    let marker = machine::build_marker(root)?;
    if options.is_fence {
        return fence_line(root, &marker);
    }
    let nullbeat = options.program.clone().map_or_else(|| machine::build(root), Ok)?;
    let mut results = Results { machine, runs: options.runs, ..Results::default() };
    results.binary = std::fs::metadata(&nullbeat)?.len();
    let page = root.join("docs/performance.md");
    if options.is_day {
        let old = std::fs::read_to_string(&page)?;
        let text = document::with_day(&old, steady::day(&nullbeat, &marker)?);
        return std::fs::write(page, text);
    }
    if options.is_mixed {
        let line = mixed::measure(&nullbeat, &marker, options.runs)?.to_string();
        println!("{line}");
        let text = document::with_mixed(&std::fs::read_to_string(&page)?, &line);
        return std::fs::write(page, text);
    }
    if options.is_compact {
        return compact_part(options, &page, &nullbeat, &marker, &results.machine);
    }
    if !options.is_stress_only {
        contest(options, begin, &nullbeat, &marker, &mut results)?;
    }
    if let Some(seconds) = options.long {
        say(begin, "stress");
        results.stress =
            stress::measure(&nullbeat, &marker, Duration::from_secs(seconds), options.class, options.is_serial)?;
    }
    results.took = begin.elapsed();
    // As it is now: two of these may run side by side.
    let old = std::fs::read_to_string(&page).unwrap_or_default();
    let text = if options.is_stress_only { results.render_stress_into(&old) } else { results.render(&old) };
    println!("{text}");
    if options.only.is_none() {
        std::fs::create_dir_all(root.join("docs"))?;
        std::fs::write(page, text)?;
    }
    Ok(())
}

/// The section about the compact format, or what belongs to it.
fn compact_part(options: &Options, page: &Path, nullbeat: &Path, marker: &Path, machine: &str) -> io::Result<()> {
    let text = match options.long {
        None => {
            let rows = compact::measure(nullbeat, marker, options.runs.max(20))?;
            document::with_compact(&std::fs::read_to_string(page)?, &rows, machine)
        }
        Some(seconds) => {
            let costs = compact::costs(nullbeat, marker, options.runs)?;
            let held = compact::endure(nullbeat, marker, Duration::from_secs(seconds))?;
            let text = document::with_costs(&std::fs::read_to_string(page)?, &costs, machine);
            document::with_endurance(&text, &held, machine)
        }
    };
    std::fs::write(page, text)
}

/// The one line about a confirmed fence.
fn fence_line(root: &Path, marker: &Path) -> io::Result<()> {
    let sample = fence::measure(marker)?;
    println!("{sample} ms");
    let page = root.join("docs/performance.md");
    let text = document::with_fence(&std::fs::read_to_string(&page)?, &sample, &machine::words());
    std::fs::write(page, text)
}

/// The one line about kicks.
fn kick_line(root: &Path) -> io::Result<()> {
    let calls = kick::measure()?;
    println!("{calls} system calls");
    let page = root.join("docs/performance.md");
    std::fs::write(&page, document::with_kick(&std::fs::read_to_string(&page)?, calls))
}

fn contest(options: &Options, begin: Instant, nullbeat: &Path, marker: &Path, results: &mut Results) -> io::Result<()> {
    results.limit = machine::fork_and_exec(marker)?;
    results.bare = bare::measure(marker, bare::TEXT, options.runs)?;
    // At rest from here to the end: what a long time does to its memory.
    let rest = Rest::begin("r", Contender::Nullbeat, nullbeat, marker, &contender::cables(1))?;
    let rested = Instant::now();
    let early = rest.memory()?;
    let contenders = [Contender::Nullbeat, Contender::Heartbeat, Contender::Keepalived(200), Contender::Keepalived(10)];
    for contender in contenders {
        let name = document::name(contender);
        if options.only.as_ref().is_some_and(|only| !name.starts_with(only.as_str())) {
            continue;
        }
        if !contender.is_installed() {
            return Err(io::Error::other(format!("{name} is not installed; apt-get install heartbeat keepalived")));
        }
        say(begin, &format!("{name}: power cuts, returns, stops"));
        results.times.push((contender, cycle::measure(contender, nullbeat, marker, options.runs)?));
        if contender != Contender::Keepalived(10) {
            say(begin, &format!("{name}: at rest"));
            results.costs.push((contender, steady::measure(contender, nullbeat, marker, options.runs)?));
        }
    }
    for name in ["heartbeat", "keepalived"] {
        results.packages.push(machine::package(name)?);
    }
    results.memory_later = Some((early, rest.memory()?, rested.elapsed()));
    Ok(())
}

fn say(begin: Instant, what: &str) {
    eprintln!("{:4} s  {what}", begin.elapsed().as_secs());
}
