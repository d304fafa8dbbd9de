//! Two real daemons for a long time: what they have of memory after a while is what they have at the end.
//!
//! How long is up to SOAK_SECONDS; an hour without it.

mod lab;

use std::collections::{BTreeMap, HashSet};
use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::time::{Duration, Instant};

use lab::{Board, Lab};

/// Between two looks.
const PAUSE: Duration = Duration::from_secs(5);
/// Before the first look that counts: everything has been said and asked for once.
const WARM_UP: Duration = Duration::from_secs(60);
/// The processes of a board.
const ROLES: [&str; 3] = ["guardian", "engine", "logger"];
/// Pages of the program's file that may come: code for what is rare. They are the kernel's to take away again.
const FILE_PAGES_MAX: usize = 64;
const PAGE: u64 = 4096;

/// What a process has, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Size {
    /// All mappings, whether there is memory behind them or not: nothing is allocated without that growing some time.
    mapped: u64,
    /// Memory of its own that has been written.
    written: u64,
}

impl Size {
    fn of(pid: i32) -> Self {
        let smaps = fs::read_to_string(format!("/proc/{pid}/smaps")).expect("smaps of a process that runs");
        let sum = |name: &str| -> u64 {
            let values = smaps.lines().filter_map(|line| line.strip_prefix(name)?.split_whitespace().next());
            values.map(|value| value.parse::<u64>().expect("kilobytes") * 1024).sum()
        };
        Self { mapped: sum("Size:"), written: sum("Anonymous:") }
    }
}

/// Page frames that these processes have between them, each once; what the kernel maps into every process is left out.
fn frames(pids: &[i32]) -> usize {
    let mut frames = HashSet::new();
    for pid in pids {
        let maps = fs::read_to_string(format!("/proc/{pid}/maps")).expect("maps");
        let pagemap = File::open(format!("/proc/{pid}/pagemap")).expect("pagemap");
        for line in maps.lines().filter(|line| !line.contains("[v")) {
            let (from, to) = line.split(' ').next().and_then(|range| range.split_once('-')).expect("a range");
            let page = |text| u64::from_str_radix(text, 16).expect("an address") / PAGE;
            let (from, to) = (page(from), page(to));
            let mut entries = vec![0; usize::try_from((to - from) * 8).expect("a length")];
            let count = pagemap.read_at(&mut entries, from * 8).expect("entries");
            let entries = entries[..count].as_chunks::<8>().0.iter().map(|entry| u64::from_ne_bytes(*entry));
            // Bit 63: present. Bits 0–54: the frame.
            frames.extend(entries.filter(|entry| entry >> 63 == 1).map(|entry| entry & ((1 << 55) - 1)));
        }
    }
    frames.len()
}

/// One look at a board.
#[derive(Debug)]
struct Look {
    pids: Vec<i32>,
    sizes: Vec<Size>,
    frames: usize,
}

impl Look {
    fn at(board: &Board) -> Self {
        let pids: Vec<i32> = ROLES.iter().flat_map(|role| board.pids(role)).collect();
        assert_eq!(pids.len(), ROLES.len(), "{}: one process for each role", board.name);
        let frames = frames(&pids);
        assert!(frames > 100, "only root sees the numbers of page frames");
        Self { sizes: pids.iter().map(|pid| Size::of(*pid)).collect(), frames, pids }
    }
}

fn length() -> Duration {
    let text = std::env::var("SOAK_SECONDS").unwrap_or_else(|_| "3600".into());
    Duration::from_secs(text.parse().expect("SOAK_SECONDS is a number"))
}

#[test]
#[ignore = "an hour (SOAK_SECONDS): tests/run --all"]
fn memory_of_all_processes_is_flat_for_an_hour() {
    let (length, lab) = (length(), Lab::at_home(""));
    assert!(length > WARM_UP + PAUSE, "the first minute does not count");
    let start = Instant::now();
    let mut first: BTreeMap<&str, Look> = BTreeMap::new();
    let (mut looks, mut most, mut heard) = (0, 0, 0);
    while start.elapsed() < length {
        std::thread::sleep(PAUSE);
        for board in &lab.boards {
            // Somebody always looks on.
            assert!(board.nullbeat(&["status"]).status.success());
            let look = Look::at(board);
            let Some(first) = first.get(board.name.as_str()) else { continue };
            looks += 1;
            most = most.max(look.frames.saturating_sub(first.frames));
            assert_eq!(look.pids, first.pids, "{}: no process was replaced", board.name);
            for ((role, now), then) in ROLES.iter().zip(&look.sizes).zip(&first.sizes) {
                assert!(
                    now.mapped <= then.mapped && now.written <= then.written,
                    "the {role} of {} has grown from {then:?} to {now:?} after {:?}",
                    board.name,
                    start.elapsed()
                );
            }
            assert!(
                look.frames <= first.frames + FILE_PAGES_MAX,
                "{}: {} page frames, {} at first",
                board.name,
                look.frames,
                first.frames
            );
        }
        if first.is_empty() && start.elapsed() >= WARM_UP {
            first = lab.boards.iter().map(|board| (board.name.as_str(), Look::at(board))).collect();
            heard = lab.boards[0].received().iter().sum();
        }
    }
    let beats = lab.boards[0].received().iter().sum::<u64>() - heard;
    // Five a second; a busy machine says less.
    assert!(beats > (length - WARM_UP).as_secs() * 2, "only {beats} messages were heard");
    let frames: Vec<usize> = first.values().map(|look| look.frames).collect();
    println!(
        "{looks} looks in {:?}, {beats} messages heard: {frames:?} page frames, {most} more at the most",
        start.elapsed()
    );
    lab.assert_exclusive();
}
