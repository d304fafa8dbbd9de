//! `nullbeat demo`: the main job, shown on one machine with real nodes, without root and without any set-up.
//!
//! ```text
//!   alpha = nullbeat run                                      beta = nullbeat run
//!   guardian, engine, logger                                  guardian, engine, logger
//!        │ /dev/pts/A ────── cable: pseudo-terminals ────── /dev/pts/B │
//!        │ 127.0.0.1 ──── network: 127.0.0.3 ⇄ 127.0.0.4 ──── 127.0.0.2 │
//!        └ script `web` ──────────▶ observer (a FIFO) ◀────────── script `web` ┘
//! ```
//!
//! This process is the cable, the network, the power supply and the outside observer, in one loop ([`world`]). The
//! [`show`] pulls plugs and waits for what has to come of it; the [`picture`] shows it.

mod board;
mod cable;
mod network;
mod observer;
mod picture;
mod question;
mod reading;
mod screen;
mod show;
mod stage;
mod story;
mod world;

use std::io::IsTerminal as _;

use super::arguments::{Arguments, Flag};
use super::{exit, print_out};
use screen::Output;
use stage::Stage;
use story::Story;
use world::{Trouble, World};

/// Help text.
pub(super) const HELP: &str = "\
nullbeat demo [--plain] [--keep]

Shows the main job on this machine in less than half a minute, without root and without any set-up: two real nodes,
joined by a null-modem cable (two pseudo-terminals) and a network (UDP on loopback), share one service. Cables are
pulled, the service is handed over, the power of its owner is cut. An observer outside both nodes takes the times.

  --plain   plain lines, as when the output is no terminal; else a picture that redraws
  --keep    leave the nodes' files and logs in place; after a failure they stay anyway

exit codes: 0 every step ended with exactly one owner, 1 one did not, or it was interrupted
";

const FLAGS: &[Flag] = &[Flag::Switch("--plain"), Flag::Switch("--keep")];

/// The verb.
pub(super) fn main(args: &[String]) -> u8 {
    let parsed = Arguments::parse(args, FLAGS).and_then(|parsed| parsed.at_most(0).map(|()| parsed));
    let parsed = match parsed {
        Ok(parsed) => parsed,
        Err(misuse) => return misuse.report("demo"),
    };
    let is_dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
    let is_picture = std::io::stdout().is_terminal() && !parsed.has("--plain") && !is_dumb;
    let mut stage = match Stage::new() {
        Ok(stage) => stage,
        Err(error) => {
            eprintln!("nullbeat demo: {error}");
            return exit::FAILURE;
        }
    };
    if parsed.has("--keep") {
        stage.keep();
    }
    perform(stage, is_picture)
}

fn perform(stage: Stage, is_picture: bool) -> u8 {
    let root = stage.root().to_owned();
    let output = if is_picture { Output::screen() } else { Output::plain() };
    let mut world = match World::new(stage, output) {
        Ok(world) => world,
        Err(error) => {
            eprintln!("nullbeat demo: cannot set the stage: {error}");
            return exit::FAILURE;
        }
    };
    let result = show::perform(&mut world);
    if matches!(result, Err(Trouble::Failed(_))) {
        world.keep_files();
    }
    let is_kept = world.are_files_kept();
    // Switches both boards off and gives the terminal back.
    let story = world.end();
    let is_told = print_out(&ending(&story, is_picture));
    let where_files = if is_kept { format!("files and logs: {}\n", root.display()) } else { String::new() };
    match result {
        Ok(()) => print_out(&format!("\n{}{where_files}", story.verdict())).max(is_told),
        Err(Trouble::Interrupted) => {
            eprint!("\nnullbeat demo: interrupted\n{where_files}");
            exit::FAILURE
        }
        Err(Trouble::Failed(why)) => {
            eprint!("\nnullbeat demo: FAILED: {why}\n{where_files}");
            exit::FAILURE
        }
    }
}

/// What is printed below everything else: after the picture the steps as well, which are gone with it.
fn ending(story: &Story, is_picture: bool) -> String {
    let steps = if is_picture { story.summary() } else { String::new() };
    format!("{steps}\n{}", story.time_line())
}
