//! The machine in words, what it can do at best, and what the peers' packages weigh.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::board::Board;
use super::contender::{Contender, cables};
use super::lab::{Lab, run};
use super::sample::Sample;

/// Processor, cores, memory, kernel; no names.
pub(crate) fn words() -> String {
    let field = |path: &str, name: &str| -> String {
        let text = fs::read_to_string(path).unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        line.split_once(':').map_or_else(|| "unknown".into(), |(_, value)| value.trim().to_string())
    };
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let memory = field("/proc/meminfo", "MemTotal").trim_end_matches(" kB").parse().unwrap_or(0) / 1_000_000;
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let version = kernel.trim().split('-').next().unwrap_or_default();
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or_default();
    format!(
        "{cores} cores ({}), {memory} GB, Linux {version}, load average {load} when the bench began",
        field("/proc/cpuinfo", "model name")
    )
}

/// Builds what ships. Returns its path.
pub(crate) fn build(root: &Path) -> io::Result<PathBuf> {
    let built = run(&root.join("dist/build-static").display().to_string(), &[])?;
    Ok(root.join(built.trim()))
}

/// Builds the boards' resource script. Returns its path.
pub(crate) fn build_marker(root: &Path) -> io::Result<PathBuf> {
    let marker = root.join("target/bench-marker");
    let source = root.join("benches/table/marker.rs").display().to_string();
    let output = format!("-o{}", marker.display());
    let options =
        ["--edition=2024", "-O", "-Cpanic=abort", "-Cstrip=symbols", "-Ctarget-feature=+crt-static", &output, &source];
    run("rustc", &options)?;
    Ok(marker)
}

/// From before fork to the script's first instruction, in milliseconds: what no daemon can do without.
pub(crate) fn fork_and_exec(marker: &Path) -> io::Result<Sample> {
    let lab = Lab::build("l")?;
    Contender::Nullbeat.prepare(&lab, marker, &cables(1))?;
    let mut board = Board::boot(&lab, 0)?;
    board.order("limit /etc/ha.d/resource.d/n")?;
    board.await_mark("board limits")?;
    let marks = board.marks();
    let starts = marks.iter().filter(|mark| mark.text == "board fork");
    let script = marks.iter().filter(|mark| mark.text == "1 start");
    Ok(starts.zip(script).map(|(fork, script)| (script.at - fork.at) as f64 / 1e6).collect())
}

/// Installed size in bytes and number of a Debian package with all that it depends on beyond the essential packages and
/// libc.
pub(crate) fn package(name: &str) -> io::Result<(u64, usize)> {
    let format = "${Package}\t${Installed-Size}\t${Essential}\t${Pre-Depends},${Depends}\t${Provides}\n";
    let listing = run("dpkg-query", &["-W", "-f", format])?;
    let mut packages = BTreeMap::new();
    let mut providers: BTreeMap<&str, &str> = BTreeMap::new();
    for line in listing.lines() {
        let fields: Vec<&str> = line.split('\t').collect();
        let [package, size, essential, needs, provides] = fields.as_slice() else { continue };
        packages.insert(*package, (size.parse::<u64>().unwrap_or(0) * 1024, *essential == "yes", *needs));
        providers.extend(provides.split(',').map(|other| (bare(other), *package)));
    }
    let known = |wanted: &str| -> Option<&str> {
        packages.get_key_value(wanted).map(|(name, _)| *name).or_else(|| providers.get(wanted).copied())
    };
    let closure = |root: &str| -> BTreeSet<String> {
        let mut found: BTreeSet<String> = BTreeSet::new();
        let mut open = vec![root.to_string()];
        while let Some(package) = open.pop() {
            let Some((_, _, needs)) = packages.get(package.as_str()) else { continue };
            if found.insert(package) {
                let first = |choice: &str| choice.split('|').find_map(|word| known(bare(word))).map(str::to_string);
                open.extend(needs.split(',').filter_map(first));
            }
        }
        found
    };
    let essential = packages.iter().filter(|(_, (_, is_essential, _))| *is_essential).map(|(name, _)| *name);
    let mut base = BTreeSet::from(["libc6".to_string()]);
    for name in essential {
        base.extend(closure(name));
    }
    let needed: Vec<String> = closure(name).difference(&base).cloned().collect();
    let size = needed.iter().filter_map(|name| packages.get(name.as_str())).map(|(size, ..)| size).sum();
    Ok((size, needed.len()))
}

/// A package's name without version and architecture.
fn bare(text: &str) -> &str {
    let word = text.trim().split([' ', '(']).next().unwrap_or_default();
    word.split(':').next().unwrap_or_default()
}
