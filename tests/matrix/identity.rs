//! Boards that change their program, clusters that change their key.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use crate::bench::{Bench, GROUPS, Outcome};

/// What a node is to others: the bytes of its uuid, its generation.
#[derive(Debug)]
struct Identity {
    uuid: Vec<u8>,
    generation: u64,
}

fn identity(bench: &Bench, index: usize) -> Result<Identity, String> {
    let state: PathBuf = bench.lab.boards[index].dir.join("state");
    let read = |name: &str| std::fs::read(state.join(name)).map_err(|e| format!("{name}: {e}"));
    let text = String::from_utf8_lossy(&read("hb_generation")?).trim().to_owned();
    let generation = text.parse().map_err(|_| format!("hb_generation: {text:?}"))?;
    Ok(Identity { uuid: read("hb_uuid")?, generation })
}

/// Two Heartbeats become two nullbeats, one board at a time; the first one goes back once in between.
pub(crate) fn move_over(bench: &mut Bench) -> Outcome {
    bench.come_home()?;
    for (index, to_nullbeat) in [(0, true), (0, false), (0, true), (1, true)] {
        let before = identity(bench, index)?;
        bench.stop(index);
        bench.wait_owner(1 - index, &GROUPS)?;
        if to_nullbeat {
            bench.lab.boards[index].swap_to_nullbeat();
        } else {
            bench.lab.boards[index].swap_to_heartbeat();
        }
        bench.configure(index);
        bench.lab.boards[index].start();
        bench.wait_home()?;
        bench.wait_settled()?;
        let after = identity(bench, index)?;
        if before.uuid != after.uuid || before.generation >= after.generation {
            return Err(format!("{index}: {before:?} became {after:?}"));
        }
        for (words, other) in [("changed its uuid", 1 - index), ("uuid changed to", 1 - index), ("replay", 1 - index)] {
            bench.assert_not_logged(other, words)?;
        }
    }
    Ok(())
}

/// From key 1 to key 2 without a gap, as spec/wire.md 4.4 says that it can be done: Heartbeat's active key leads.
pub(crate) fn key_rollover(bench: &mut Bench) -> Outcome {
    const FIRST: &str = "1 sha1 a-key-for-the-lab\n";
    const SECOND: &str = "2 sha1 another-key\n";
    bench.come_home()?;
    let files = [
        (0, format!("auth 1\n{FIRST}{SECOND}")),
        (1, format!("auth 1\n{FIRST}{SECOND}")),
        (1, format!("auth 2\n{FIRST}{SECOND}")),
        (0, format!("auth 2\n{FIRST}{SECOND}")),
        (1, format!("auth 2\n{SECOND}")),
        (0, format!("auth 2\n{SECOND}")),
    ];
    for (step, (index, text)) in (1..).zip(files) {
        let board = &bench.lab.boards[index];
        board.authkeys(&text);
        // Heartbeat looks at whole seconds.
        let file = std::fs::File::open(board.config_dir().join("authkeys")).expect("authkeys");
        file.set_modified(SystemTime::now() + Duration::from_secs(10 * step)).expect("its time");
        board.reload();
        bench.stays(Duration::from_secs(4))?;
    }
    for index in 0..2 {
        bench.assert_not_logged(index, "is dead")?;
    }
    Ok(())
}
