//! The walk: faults by the plan, healing, and what must hold before and after it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{Read as _, Seek as _, Write as _};
use std::time::{Duration, Instant};

use crate::bench::{Bench, DEADTIME};
use crate::inflict::{self, Tormentor};
use crate::judge::{self, Stalls};
use crate::lab::{PATIENCE, is_long_lane};
use crate::plan::{Blow, Episode, Pair, Planner};

/// So long everything must stay as it is before the next faults.
const CALM: Duration = Duration::from_secs(1);
/// How often a service manager looks.
const RESTART: Duration = Duration::from_secs(1);

/// After this it ends a guardian that stands still (`WatchdogSec` in dist/nullbeat.service).
const MANAGERS_PATIENCE: Duration = Duration::from_secs(5);

type Outcome = Result<(), String>;

/// One pair's walk.
struct Walk {
    bench: Bench,
    tormentor: Tormentor,
    began: Instant,
    notes: Vec<(Instant, String)>,
    /// By kind: inflicted, and nothing there to inflict it on.
    faults: BTreeMap<String, [u32; 2]>,
    episodes: u32,
    /// Longest time from a heal to one owner of each group.
    slowest: Duration,
    /// Where the logs of this episode begin.
    logs: [u64; 2],
    stalls: Stalls,
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}

/// The seed of this run: the same one each time, but a fresh one in the long lane.
fn seed() -> u64 {
    let fresh = || std::time::SystemTime::UNIX_EPOCH.elapsed().map_or(1, |time| time.as_secs());
    number("CHAOS_SEED").unwrap_or_else(|| if is_long_lane() { fresh() } else { 1 })
}

/// Walks with a pair; fails when a rule is broken.
pub(crate) fn run(pair: Pair) {
    let seed = seed();
    let time = Duration::from_secs(number("CHAOS_SECONDS").unwrap_or(if is_long_lane() { 600 } else { 50 }));
    say(&format!("chaos {pair:?}: CHAOS_SEED={seed} CHAOS_SECONDS={}\n", time.as_secs()));
    let mut walk = Walk::new(pair);
    let outcome = walk.walk(&mut Planner::new(seed, pair), time);
    let report = walk.report(seed);
    let story = walk.story();
    let place = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("chaos-{pair:?}.log").to_lowercase());
    std::fs::write(place, format!("{story}\n{report}")).expect("the story's file");
    if let Err(error) = outcome {
        panic!("{error}\n\n{story}\n{report}");
    }
    say(&report);
}

/// Seen also when the test passes.
fn say(text: &str) {
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}

impl Walk {
    fn new(pair: Pair) -> Self {
        let mut bench = Bench::new(pair);
        for board in &mut bench.lab.boards {
            board.start();
        }
        Self {
            bench,
            tormentor: Tormentor::default(),
            began: Instant::now(),
            notes: Vec::new(),
            faults: BTreeMap::new(),
            episodes: 0,
            slowest: Duration::ZERO,
            logs: [0; 2],
            stalls: Stalls::watch(),
        }
    }

    fn walk(&mut self, planner: &mut Planner, time: Duration) -> Outcome {
        self.await_owners("at the start")?;
        let start = Instant::now();
        while start.elapsed() < time {
            let episode = planner.episode();
            self.play(&episode)?;
            if episode.is_one_sided {
                self.await_owners("with one board well and a path")?;
            }
            self.heal();
            let healed = Instant::now();
            self.await_owners("after everything was healed")?;
            self.slowest = self.slowest.max(healed.elapsed());
            self.keep_calm(CALM)?;
            self.episodes += 1;
        }
        self.keep_calm(DEADTIME * 2)?;
        self.await_whole()
    }

    fn note(&mut self, text: String) {
        self.notes.push((Instant::now(), text));
    }

    /// Serves the switches and looks whether a rule is broken; at least every 10 ms.
    fn turn(&mut self) -> Outcome {
        self.bench.serve();
        for text in std::mem::take(&mut self.bench.news) {
            self.note(text);
        }
        self.tormentor.has_verbs();
        judge::exclusive(&self.bench, &self.stalls)?;
        self.bench.lab.observer.wait_for_more(Duration::from_millis(10));
        Ok(())
    }

    /// All blows at their times, each taken back at its end or at that of the episode.
    fn play(&mut self, episode: &Episode) -> Outcome {
        self.logs = [0, 1].map(|index| std::fs::metadata(self.log(index)).map_or(0, |it| it.len()));
        let sides = if episode.is_one_sided { "one-sided, " } else { "" };
        self.note(format!("==== episode {}: {sides}{:?}", self.episodes, episode.ends));
        let mut events: Vec<(Duration, bool, Blow)> = Vec::new();
        for blow in &episode.blows {
            events.push((blow.begins, true, *blow));
            if blow.ends < episode.ends {
                events.push((blow.ends, false, *blow));
            }
        }
        events.sort_by_key(|event| event.0);
        let start = Instant::now();
        for (at, is_begin, blow) in events {
            self.pass(start + at)?;
            if is_begin {
                let is_done = self.tormentor.inflict(&mut self.bench, &blow);
                let counts = self.faults.entry(blow.fault.kind()).or_default();
                counts[usize::from(!is_done)] += 1;
                self.note(format!("{blow}{}", if is_done { "" } else { ": nothing there" }));
            } else {
                self.tormentor.take_back(&mut self.bench, &blow);
                self.note(format!("over: {:?} on {}", blow.fault, self.bench.lab.boards[blow.board].name));
            }
        }
        self.pass(start + episode.ends)
    }

    fn pass(&mut self, until: Instant) -> Outcome {
        while Instant::now() < until {
            self.turn()?;
        }
        Ok(())
    }

    fn heal(&mut self) {
        self.note("everything is healed".to_owned());
        self.tormentor.heal(&mut self.bench);
    }

    /// Waits until each group is used by exactly one board, and runs there. A service manager looks after both daemons.
    fn await_owners(&mut self, when: &str) -> Outcome {
        self.await_with_manager(&format!("one owner of each group {when}"), judge::is_served)
    }

    fn await_with_manager(&mut self, what: &str, is_so: impl Fn(&Bench) -> bool) -> Outcome {
        let (start, mut looked) = (Instant::now(), Instant::now());
        while !is_so(&self.bench) {
            if start.elapsed() >= PATIENCE {
                return Err(format!("not within {PATIENCE:?}: {what}"));
            }
            if looked.elapsed() >= RESTART {
                looked = Instant::now();
                self.manage(start.elapsed() >= MANAGERS_PATIENCE);
            }
            self.turn()?;
        }
        self.note(what.to_owned());
        Ok(())
    }

    /// Starts what is gone, and ends what has stood still for too long.
    fn manage(&mut self, is_too_long: bool) {
        for index in [0, 1] {
            let name = self.bench.lab.boards[index].name.clone();
            if is_too_long && inflict::end_hung_guardian(&self.bench, index) {
                self.note(format!("the guardian of {name} is ended by its service manager"));
            } else if inflict::restart(&mut self.bench, index) {
                self.note(format!("{name} is started again"));
            }
        }
    }

    /// Groups may go home meanwhile.
    fn keep_calm(&mut self, time: Duration) -> Outcome {
        self.pass(Instant::now() + time)?;
        self.await_owners("when it is calm")
    }

    /// Waits until both daemons are whole and at rest.
    fn await_whole(&mut self) -> Outcome {
        self.await_with_manager("all processes there and at rest", |bench| {
            judge::is_served(bench) && (0..2).all(|index| judge::is_whole(bench, index))
        })
    }

    fn log(&self, index: usize) -> std::path::PathBuf {
        let board = &self.bench.lab.boards[index];
        board.dir.join(if board.runs_heartbeat() { "ha-debug" } else { "log/ha-debug" })
    }

    /// What was inflicted and what came of it.
    fn report(&self, seed: u64) -> String {
        let lab = &self.bench.lab;
        let records = lab.observer.records();
        let mut text = format!("chaos {:?}, seed {seed}: {} episodes", self.bench.pair, self.episodes);
        let sum: u32 = self.faults.values().map(|counts| counts[0]).sum();
        let starts = records.iter().filter(|record| record.what == "start-end").count();
        let happened = |word: &str| self.notes.iter().filter(|(_, note)| note.ends_with(word)).count();
        let _ = writeln!(
            text,
            ", {sum} faults, {starts} starts, {} shots, {} resets, {} overlaps; one owner at most {:.1} s after a heal, \
             longest without any {:.1} s, the machine itself stood still for {:.1} s at most",
            happened(" is shot"),
            happened(" resets itself"),
            lab.observer.overlaps(),
            self.slowest.as_secs_f32(),
            judge::longest_gap(&records).as_secs_f32(),
            self.stalls.longest().as_secs_f32(),
        );
        let kinds = self.faults.iter().map(|(kind, [done, missed])| match missed {
            0 => format!("{kind} {done}"),
            _ => format!("{kind} {done} (+{missed} on nothing)"),
        });
        let _ = writeln!(text, "  {}", kinds.collect::<Vec<_>>().join(", "));
        text
    }

    /// The walk beside what the observer saw, and the logs since the last episode began.
    fn story(&mut self) -> String {
        let ms = |at: Instant| at.saturating_duration_since(self.began).as_millis();
        let notes = self.notes.iter().map(|(at, note)| (*at, note.clone()));
        let records = self.bench.lab.observer.records();
        let seen = records.iter().map(|it| (it.at, format!("        {:<6} {:<5} {}", it.node, it.group, it.what)));
        let mut lines: Vec<(Instant, String)> = notes.chain(seen).collect();
        lines.sort_by_key(|line| line.0);
        let mut text = String::new();
        for (at, line) in lines {
            let _ = writeln!(text, "{:>8} ms  {line}", ms(at));
        }
        let _ = writeln!(text, "now {} ms, which is {:?}", ms(Instant::now()), std::time::SystemTime::now());
        for index in [0, 1] {
            let _ = writeln!(text, "---- {} ----\n{}", self.bench.lab.boards[index].name, self.log_tail(index));
            let stderr = std::fs::read(self.bench.lab.boards[index].dir.join("stderr")).unwrap_or_default();
            let tail = stderr.len().saturating_sub(4_096);
            let _ = writeln!(text, "-- its stderr --\n{}", String::from_utf8_lossy(&stderr[tail..]));
            if self.bench.is_on(index) && !self.bench.lab.boards[index].runs_heartbeat() {
                let _ = writeln!(text, "-- its status --\n{}", judge::status(&self.bench, index));
            }
        }
        text
    }

    fn log_tail(&self, index: usize) -> String {
        let mut bytes = Vec::new();
        if let Ok(mut file) = std::fs::File::open(self.log(index)) {
            let _ = file.seek(std::io::SeekFrom::Start(self.logs[index]));
            let _ = file.read_to_end(&mut bytes);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }
}
