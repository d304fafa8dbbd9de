//! Starts.

use std::time::{Duration, Instant};

use crate::bench::{Bench, GROUPS, Outcome};

/// Longer than anything that a start leaves behind takes to show.
const A_WHILE: Duration = Duration::from_secs(3);

/// Both at once.
pub(crate) fn together(bench: &mut Bench) -> Outcome {
    let start = Instant::now();
    bench.pull();
    bench.switch_on(0);
    bench.switch_on(1);
    bench.wait_home()?;
    bench.time = Some(start.elapsed());
    bench.wait_settled()?;
    bench.stays(A_WHILE)?;
    for index in 0..2 {
        bench.assert_not_logged(index, "is dead")?;
    }
    Ok(())
}

/// One takes everything, then the other comes.
pub(crate) fn one_first(bench: &mut Bench, first: usize) -> Outcome {
    bench.pull();
    bench.switch_on(first);
    bench.wait_owner(first, &GROUPS)?;
    bench.begin();
    bench.switch_on(1 - first);
    bench.wait_home()?;
    bench.wait_settled()?;
    bench.stays(A_WHILE)
}
