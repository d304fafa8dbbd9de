//! Boards that stop, die and return.

use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::bench::{Bench, GROUPS, Outcome, is_settled};
use crate::scenario::Scenario;

const A_WHILE: Duration = Duration::from_secs(3);

/// One says goodbye and returns.
pub(crate) fn clean_stop(bench: &mut Bench, index: usize) -> Outcome {
    bench.come_home()?;
    bench.stop(index);
    bench.wait_owner(1 - index, &GROUPS)?;
    bench.wait_logged(1 - index, "Received shutdown notice from")?;
    bench.lab.boards[index].start();
    bench.wait_home()?;
    bench.wait_settled()?;
    bench.stays(A_WHILE)
}

/// Each of these loses its power, and returns.
pub(crate) fn power_loss(bench: &mut Bench, order: &[usize]) -> Outcome {
    bench.come_home()?;
    for &index in order {
        bench.lab.power_off(index);
        bench.wait_owner(1 - index, &GROUPS)?;
        bench.wait("the survivor has settled", |lab| is_settled(&lab.boards[1 - index]))?;
        bench.switch_on(index);
        if bench.cell.scenario == Scenario::ReturnOff {
            bench.wait_settled()?;
            bench.stays(A_WHILE)?;
        } else {
            bench.wait_home()?;
            bench.wait_settled()?;
        }
    }
    bench.stays(A_WHILE)
}

/// The daemon dies, with all of its processes; the board and its services do not. It is back before anybody knows.
pub(crate) fn fast_restart(bench: &mut Bench, index: usize) -> Outcome {
    bench.come_home()?;
    let roles: &[&str] =
        if bench.lab.boards[index].runs_heartbeat() { &["heartbeat"] } else { &["guardian", "engine", "logger"] };
    // At once, and again until none is left: who sees the others die begins to stop the services.
    loop {
        let pids: Vec<i32> = roles.iter().flat_map(|role| bench.lab.boards[index].pids(role)).collect();
        if pids.is_empty() {
            break;
        }
        for pid in pids {
            // It may have ended by itself.
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
    bench.lab.boards[index].await_end();
    bench.lab.boards[index].start();
    bench.wait("it is back", |lab| {
        lab.boards[1 - index].log().contains(&format!("Heartbeat restart on node {}", lab.boards[index].name))
    })?;
    bench.wait_settled()?;
    bench.wait_home()?;
    bench.stays(A_WHILE)?;
    bench.assert_not_logged(1 - index, "is dead")
}
