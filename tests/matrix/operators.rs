//! What operators type on either board.

use std::process::Output;
use std::time::{Duration, Instant};

use crate::bench::{Bench, Outcome};
use crate::lab::{Board, PATIENCE};

/// Board, word, and where web and mail are afterwards. A standby gives up what the word means *there*.
type Order = (usize, &'static str, [usize; 2]);

const STANDBY: [Order; 8] = [
    (0, "all", [1, 1]),
    (1, "foreign", [0, 1]),
    (1, "local", [0, 0]),
    (0, "failback", [0, 1]),
    (1, "all", [0, 0]),
    (0, "foreign", [0, 1]),
    (0, "local", [1, 1]),
    (1, "failback", [0, 1]),
];

/// `failback` means `all` here: that is what the other board's script makes of it (spec/resources.md section 20).
const TAKEOVER: [Order; 9] = [
    (0, "all", [0, 0]),
    (1, "local", [0, 1]),
    (1, "foreign", [1, 1]),
    (0, "local", [0, 1]),
    (0, "foreign", [0, 0]),
    (1, "all", [1, 1]),
    (0, "failback", [0, 0]),
    (1, "failback", [1, 1]),
    (0, "local", [0, 1]),
];

/// Everything that can be typed.
pub(crate) fn play(bench: &mut Bench, tool: &str) -> Outcome {
    bench.come_home()?;
    let orders: &[Order] = if tool == "hb_standby" { &STANDBY } else { &TAKEOVER };
    for (index, word, places) in orders {
        bench.wait_settled()?;
        give(bench, *index, tool, word)?;
        bench
            .wait("it has moved", |lab| {
                lab.runners("web") == [places[0]]
                    && lab.runners("mail") == [places[1]]
                    && lab.owners("web") == [places[0]]
                    && lab.owners("mail") == [places[1]]
            })
            .map_err(|_| format!("{tool} {word} on {} does not do it", bench.lab.boards[*index].name))?;
    }
    bench.wait_settled()?;
    bench.stays(Duration::from_secs(3))
}

/// Types one order; ours says when it cannot be followed now.
fn give(bench: &Bench, index: usize, tool: &str, word: &str) -> Outcome {
    let board = &bench.lab.boards[index];
    let start = Instant::now();
    loop {
        let output = if board.runs_heartbeat() {
            board.heartbeat_tool(tool, &[word])
        } else if bench.is_by_fifo() {
            packaged(board, tool, word)
        } else {
            let program = bench.lab.dir.join("bin").join(tool);
            let run_dir = format!("--run-dir={}/run", board.dir.display());
            board.on_board(&[&program.to_string_lossy(), word, &run_dir])
        };
        let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
        let is_refused = complaint.lines().any(|line| line.contains("try again") || line.contains("refused"));
        if output.status.success() && !is_refused {
            return Ok(());
        }
        if start.elapsed() > PATIENCE {
            return Err(format!("{tool} {word} on {}: {complaint}", board.name));
        }
        std::thread::yield_now();
    }
}

/// The package's own script on a board that runs nullbeat: the places that it knows are bound over the machine's while it
/// runs.
fn packaged(board: &Board, tool: &str, word: &str) -> Output {
    let script = "mount --bind \"$1/ha.d\" /etc/ha.d && mount --bind \"$1/state\" /var/lib/heartbeat || exit 99\n\
                  shift; exec \"$@\"";
    let path = format!("/usr/share/heartbeat/{tool}");
    board.on_board(&["unshare", "--mount", "sh", "-c", script, "sh", &board.dir.to_string_lossy(), &path, word])
}
