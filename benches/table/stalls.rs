//! How long the machine itself stood still: a guest whose host is busy does, and no program can beat meanwhile. A loop on
//! each core that only sleeps, of a class above all daemons and cables, tells when.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use super::board::now;

/// The word by which this program knows that it is such a loop.
pub(crate) const WORD: &str = "--stalls";
const PAUSE: Duration = Duration::from_millis(1);
/// Shorter ones are not told.
const SHORTEST: Duration = Duration::from_millis(5);

/// The loops; killed when dropped.
pub(crate) struct Stalls {
    loops: Vec<Child>,
    files: Vec<PathBuf>,
}

impl Stalls {
    pub(crate) fn watch() -> io::Result<Self> {
        let program = std::env::current_exe()?;
        let mut stalls = Self { loops: Vec::new(), files: Vec::new() };
        for core in 0..thread::available_parallelism()?.get() {
            let file = std::env::temp_dir().join(format!("bench-stalls-{}-{core}", std::process::id()));
            let mut command = Command::new("chrt");
            command
                .args(["--fifo", "80", "taskset", "--cpu-list", &core.to_string()])
                .arg(&program)
                .arg(WORD)
                .arg(&file);
            stalls.loops.push(command.stdin(Stdio::null()).stdout(Stdio::null()).spawn()?);
            stalls.files.push(file);
        }
        Ok(stalls)
    }

    /// What they have seen, as a sentence.
    pub(crate) fn tell(&self) -> io::Result<String> {
        let mut seen = Vec::new();
        for (core, file) in self.files.iter().enumerate() {
            for line in fs::read_to_string(file)?.lines() {
                let (at, late) = line.split_once(' ').ok_or_else(|| io::Error::other("half a line"))?;
                seen.push((at.parse::<u64>().map_err(io::Error::other)?, core, late.to_owned()));
            }
        }
        seen.sort_unstable();
        let mut text = format!(
            "Meanwhile the machine itself stood still {} times for {} ms or longer, by a loop on each core that only sleeps",
            seen.len(),
            SHORTEST.as_millis(),
        );
        for (place, (at, core, late)) in seen.iter().enumerate() {
            let of_day = at / 1_000_000_000 % 86_400;
            let (hours, minutes, seconds) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
            let before = if place == 0 { ": " } else { ", " };
            let _ = write!(text, "{before}{hours:02}:{minutes:02}:{seconds:02} UTC on core {core} {late} ms");
        }
        text.push_str(".\n");
        Ok(text)
    }
}

impl Drop for Stalls {
    fn drop(&mut self) {
        for child in &mut self.loops {
            let _ = child.kill();
            let _ = child.wait();
        }
        for file in &self.files {
            let _ = fs::remove_file(file);
        }
    }
}

/// Sleeps and writes down, until killed, when that took too long.
pub(crate) fn run(files: &[String]) -> io::Result<()> {
    let [file] = files else { return Err(io::Error::other("--stalls FILE")) };
    let mut file = File::create(file)?;
    loop {
        let start = Instant::now();
        sleep(PAUSE);
        let late = start.elapsed().saturating_sub(PAUSE);
        if late >= SHORTEST {
            writeln!(file, "{} {:.1}", now(), late.as_secs_f64() * 1e3)?;
        }
    }
}
