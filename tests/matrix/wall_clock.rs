//! A board whose clock jumps.
//!
//! The kernel has one wall clock for all namespaces, so the board's programs are shown another one by a small library
//! that they are made to load (`clock.c`). Monotonic clocks are left alone, as a real step leaves them.

use std::path::PathBuf;
use std::time::Duration;

use crate::bench::{Bench, GROUPS, Outcome};
use crate::lab::run;

const A_WHILE: Duration = Duration::from_secs(5);
const DAY: i64 = 86_400;

/// The library, compiled into the laboratory's folder.
fn library(bench: &Bench) -> PathBuf {
    let built = bench.lab.dir.join("clock.so");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/matrix/clock.c");
    run("cc", &["-shared", "-fPIC", "-O1", "-o", &built.to_string_lossy(), source]);
    built
}

/// A day forward, a day back; then, a day ahead, the other board dies and this one must take over.
pub(crate) fn step(bench: &mut Bench, index: usize) -> Outcome {
    use std::os::unix::fs::FileExt as _;
    let path = bench.lab.boards[index].dir.join("clock");
    let file = std::fs::File::create(&path).expect("clock");
    // Written in place: whoever has mapped the file sees it at once.
    let set = |offset: i64| file.write_all_at(&offset.to_ne_bytes(), 0).expect("clock");
    set(0);
    bench.lab.boards[index].through = [
        "env".to_owned(),
        format!("LD_PRELOAD={}", library(bench).display()),
        format!("CLOCK_OFFSET={}", path.display()),
    ]
    .to_vec();
    bench.come_home()?;
    for offset in [DAY, 0] {
        set(offset);
        bench.stays(A_WHILE)?;
    }
    for board in 0..2 {
        bench.assert_not_logged(board, "is dead")?;
    }
    set(DAY);
    bench.lab.power_off(1 - index);
    bench.wait_owner(index, &GROUPS)?;
    let tomorrow = bench.lab.boards[index].on_board(&["date", "-u", "-d", "tomorrow", "+%b %e"]);
    bench.wait_logged(index, String::from_utf8_lossy(&tomorrow.stdout).trim())?;
    bench.switch_on(1 - index);
    bench.wait_home()?;
    bench.wait_settled().map(drop)
}
