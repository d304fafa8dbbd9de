//! The matrix: one nullbeat and one packaged Heartbeat 3.0.6 over every medium, in every scenario; makes docs/interop.md.
//!
//! ```text
//! cargo test --test matrix -- [WORD…] [--all] [--list] [--write] [--labs N] [--shard I/N]
//! ```
//!
//! Without words the default lane; with words all cells whose names contain one of them; `--all` all cells, and two
//! Heartbeats in the same scenarios, to compare with. `--write` updates docs/interop.md. `--labs N` laboratories run side by
//! side (`--test-threads` means the same), `--shard 2/3` runs the second third. Logs of red cells: target/matrix.

#[path = "../lab/mod.rs"]
mod lab;

mod bench;
mod cell;
mod deaths;
mod document;
mod identity;
mod list;
mod measure;
mod medium;
mod network;
mod operators;
mod pool;
mod scenario;
mod starts;
mod wall_clock;

use std::path::Path;
use std::process::{Command, ExitCode};

use cell::Cell;
use document::Document;

/// What the command line asks for.
#[derive(Default)]
struct Wish {
    words: Vec<String>,
    is_all: bool,
    is_list: bool,
    is_write: bool,
    labs: Option<usize>,
    /// Which part of how many.
    shard: Option<(usize, usize)>,
}

fn parse(mut words: impl Iterator<Item = String>) -> Result<Wish, String> {
    let mut wish = Wish::default();
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or_else(|| format!("{word} needs a value"));
        match word.as_str() {
            "--all" => wish.is_all = true,
            "--list" => wish.is_list = true,
            "--write" => wish.is_write = true,
            "--labs" | "--test-threads" => wish.labs = Some(value()?.parse().map_err(|_| "not a number of labs")?),
            "--shard" => {
                let text = value()?;
                let parts = text.split_once('/').and_then(|(i, n)| Some((i.parse().ok()?, n.parse().ok()?)));
                let is_sound = |&(part, parts): &(usize, usize)| (1..=parts).contains(&part);
                wish.shard = Some(parts.filter(is_sound).ok_or("--shard is I/N")?);
            }
            // What `cargo test` hands to every test program.
            "--quiet" | "-q" | "--nocapture" | "--no-capture" => {}
            option if option.starts_with('-') => return Err(format!("unknown option {option}")),
            _ => wish.words.push(word),
        }
    }
    Ok(wish)
}

fn select(wish: &Wish) -> Vec<Cell> {
    let mut cells = list::originals();
    cells.extend(list::mixed());
    if !wish.words.is_empty() {
        cells.retain(|cell| wish.words.iter().any(|word| cell.name().contains(word.as_str())));
    } else if !wish.is_all {
        cells.retain(|cell| list::is_default(*cell));
    }
    if let Some((part, parts)) = wish.shard {
        cells = cells.into_iter().skip(part - 1).step_by(parts).collect();
    }
    cells
}

fn today() -> String {
    let output = Command::new("date").args(["-u", "+%F"]).output().expect("date");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

fn main() -> ExitCode {
    let wish = match parse(std::env::args().skip(1)).and_then(|wish| list::check().map(|()| wish)) {
        Ok(wish) => wish,
        Err(complaint) => {
            eprintln!("matrix: {complaint}");
            return ExitCode::from(64);
        }
    };
    let cells = select(&wish);
    if wish.is_list {
        cells.iter().for_each(|cell| println!("{}", cell.name()));
        return ExitCode::SUCCESS;
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = root.join("docs/interop.md");
    let known = Document::parse(&std::fs::read_to_string(&path).unwrap_or_default());
    let logs = Path::new(env!("CARGO_TARGET_TMPDIR")).join("matrix");
    std::fs::create_dir_all(&logs).expect("a folder for logs");
    println!("{} cells", cells.len());
    let mut done = pool::run(&cells, wish.labs.unwrap_or(4), &today(), &logs, |done, took| {
        let verdict = if done.row.is_green { "green" } else { "RED  " };
        let time = done.row.time.map_or(String::new(), |time| format!("{:.2} s ", time.as_secs_f64()));
        println!("{verdict} {:<45} {time}{} [{:.0} s]", done.cell.name(), done.row.remark, took.as_secs_f64());
    });
    let mut document = known;
    for one in done.iter().filter(|one| one.cell.pair == cell::Pair::Original) {
        document.put(one.cell, one.row.clone());
    }
    for one in &mut done {
        if let Some(complaint) = one.row.time.and_then(|time| document.too_long(one.cell, time)) {
            one.row.is_green = false;
            one.row.remark = complaint;
        }
        document.put(one.cell, one.row.clone());
    }
    if wish.is_write {
        std::fs::write(&path, document.text()).expect("docs/interop.md");
    }
    let failures: Vec<_> = done.iter().filter(|one| one.is_failure()).collect();
    for one in &failures {
        println!("FAILED {}: {}", one.cell.name(), one.row.remark);
    }
    println!(
        "{} green, {} red; logs of red cells in {}",
        done.iter().filter(|one| one.row.is_green).count(),
        failures.len(),
        logs.display()
    );
    if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
