//! A board whose clock jumps.

use std::time::Duration;

use crate::bench::{Bench, GROUPS, Outcome};
use crate::lab::clock;

const A_WHILE: Duration = Duration::from_secs(5);
const DAY: i64 = 86_400;

/// A day forward, a day back; then, a day ahead, the other board dies and this one must take over.
pub(crate) fn step(bench: &mut Bench, index: usize) -> Outcome {
    let library = clock::library(&bench.lab.dir);
    let (clock, through) = clock::of_board(&bench.lab.boards[index], &library);
    bench.lab.boards[index].through = through;
    bench.come_home()?;
    for offset in [DAY, 0] {
        clock.set(offset);
        bench.stays(A_WHILE)?;
    }
    for board in 0..2 {
        bench.assert_not_logged(board, "is dead")?;
    }
    clock.set(DAY);
    bench.lab.power_off(1 - index);
    bench.wait_owner(index, &GROUPS)?;
    let tomorrow = bench.lab.boards[index].on_board(&["date", "-u", "-d", "tomorrow", "+%b %e"]);
    bench.wait_logged(index, String::from_utf8_lossy(&tomorrow.stdout).trim())?;
    bench.switch_on(1 - index);
    bench.wait_home()?;
    bench.wait_settled().map(drop)
}
