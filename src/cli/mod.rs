//! Talks to people and scripts: the verbs of the multi-call binary, and Heartbeat's names for them.
//!
//! A verb is a function from its arguments to an exit code (see [`exit`]). The name the program is called by
//! (`heartbeat`, `cl_status`, `hb_standby`, `hb_takeover`) or else the first word picks the verb.

pub mod arguments;
mod ask;
mod board;
mod cable;
pub mod check;
mod demo;
pub mod exit;
mod fence;
pub(crate) mod heartbeat;
mod help;
mod json;
mod orders;
mod show;
#[cfg(feature = "sim")]
mod sim;
mod table;

use std::ffi::OsString;
use std::process::ExitCode;

use crate::checks;
use crate::daemon::log_pipe::Level;
use crate::daemon::{release, run};

/// One word that the program understands.
struct Verb {
    name: &'static str,
    /// For the overview.
    summary: &'static str,
    /// For `help VERB`; its first line begins with `nullbeat VERB`.
    help: &'static str,
    run: fn(&[String]) -> u8,
}

/// The verbs, in the order of the overview.
const VERBS: &[Verb] = &[
    Verb { name: "run", summary: "the daemon", help: run::HELP, run: run::main },
    Verb { name: "check", summary: "say what is wrong or doubtful in the files", help: check::HELP, run: check::main },
    Verb { name: "board", summary: "what this machine has; check a board file", help: board::HELP, run: board::main },
    Verb { name: "status", summary: "what this node knows and does", help: show::STATUS_HELP, run: show::status },
    Verb { name: "links", summary: "each path to the other node", help: show::LINKS_HELP, run: show::links },
    Verb { name: "cable", summary: "what is the matter with a serial cable", help: cable::HELP, run: cable::main },
    Verb { name: "history", summary: "what happened lately, and why", help: show::HISTORY_HELP, run: show::history },
    Verb { name: "standby", summary: "give groups to the partner", help: orders::STANDBY_HELP, run: orders::standby },
    Verb { name: "takeover", summary: "take groups over", help: orders::TAKEOVER_HELP, run: orders::takeover },
    Verb { name: "failback", summary: "send groups home", help: orders::FAILBACK_HELP, run: orders::failback },
    Verb { name: "hold", summary: "freeze decisions for maintenance", help: orders::HOLD_HELP, run: orders::hold },
    Verb { name: "resume", summary: "end of hold; retry what failed", help: orders::RESUME_HELP, run: orders::resume },
    Verb { name: "fence", summary: "how the partner is made sure to be off", help: fence::HELP, run: fence::main },
    Verb { name: "reload", summary: "read the files again", help: orders::RELOAD_HELP, run: orders::reload },
    Verb { name: "stop", summary: "release everything, say goodbye, end", help: orders::STOP_HELP, run: orders::stop },
    Verb { name: "release", summary: "stop what killed daemons left running", help: release::HELP, run: release::main },
    Verb { name: "demo", summary: "the main job, shown on this machine", help: demo::HELP, run: demo::main },
    #[cfg(feature = "sim")]
    Verb { name: "sim", summary: "play faults through two nodes in virtual time", help: sim::HELP, run: sim::main },
    Verb { name: "help", summary: "this text; `help VERB` for more about one", help: help::HELP, run: help::main },
    Verb { name: "version", summary: "which nullbeat this is", help: help::VERSION, run: version },
];

/// Other spellings of verbs.
const ALIASES: &[(&str, &str)] = &[("--help", "help"), ("-h", "help"), ("--version", "version"), ("-V", "version")];

/// The whole program: picks the verb and runs it.
pub fn main() -> ExitCode {
    let mut words = Vec::new();
    for word in std::env::args_os() {
        match OsString::into_string(word) {
            Ok(word) => words.push(word),
            Err(word) => {
                eprintln!("nullbeat: argument {:?} is not UTF-8", word.display());
                return ExitCode::from(exit::USAGE);
            }
        }
    }
    let called = words.first().map_or("nullbeat", |path| path.rsplit('/').next().unwrap_or(path));
    ExitCode::from(dispatch(called, words.get(1..).unwrap_or_default()))
}

/// Runs what was asked for under the program name `called` and gives the exit code.
fn dispatch(called: &str, args: &[String]) -> u8 {
    if checks::NAMES.contains(&called) {
        return checks::main(args);
    }
    if let Some(program) = heartbeat::program(called) {
        return program(args);
    }
    let Some((word, rest)) = args.split_first() else {
        eprint!("{}", help::overview());
        return exit::USAGE;
    };
    let name = ALIASES.iter().find(|(alias, _)| alias == word).map_or(word.as_str(), |(_, name)| name);
    let Some(verb) = VERBS.iter().find(|verb| verb.name == name) else {
        let hint = arguments::nearest(name, VERBS.iter().map(|verb| verb.name));
        let hint = hint.map_or_else(|| "see `nullbeat help`".to_string(), |near| format!("did you mean `{near}`?"));
        eprintln!("nullbeat: unknown verb `{word}`; {hint}");
        return exit::USAGE;
    };
    if verb.name != "help" && rest.iter().any(|word| word == "--help" || word == "-h") {
        return help::main(std::slice::from_ref(&verb.name.to_string()));
    }
    match verb.name {
        // These have logs of their own.
        "run" | "sim" => {}
        "release" => log_to_stderr("info"),
        _ => log_to_stderr("warn"),
    }
    (verb.run)(rest)
}

/// Shows what the rooms below have to say; the environment variable `NULLBEAT_LOG` (such as `debug` or
/// `nullbeat::config=debug`) asks for more or less than `filter`.
fn log_to_stderr(filter: &str) {
    use std::io::Write as _;
    let environment = env_logger::Env::new().filter_or("NULLBEAT_LOG", filter);
    let mut builder = env_logger::Builder::from_env(environment);
    builder.format(|out, record| writeln!(out, "{}: {}", Level::of(record.metadata()).word(), record.args()));
    // Among unit tests it stays for all of them, and their lines belong to the test that is running.
    builder.is_test(cfg!(test));
    // A logger that is in place already, in tests, stays.
    let _ = builder.try_init();
}

fn version(_: &[String]) -> u8 {
    print_out(&format!("nullbeat {}\n", env!("CARGO_PKG_VERSION")))
}

/// Writes `text` to standard output; a reader that went away (`| head`) is no failure.
pub(crate) fn print_out(text: &str) -> u8 {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => exit::OK,
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => exit::OK,
        Err(error) => {
            eprintln!("nullbeat: cannot write to standard output: {error}");
            exit::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_string).collect()
    }

    #[test]
    fn unknown_verb_is_a_usage_error() {
        assert_eq!(dispatch("nullbeat", &words("verison")), exit::USAGE);
        assert_eq!(dispatch("nullbeat", &[]), exit::USAGE);
    }

    #[test]
    fn version_and_help_have_the_customary_spellings() {
        for spelling in ["version", "--version", "-V", "help", "--help", "-h", "help version", "version --help"] {
            assert_eq!(dispatch("nullbeat", &words(spelling)), exit::OK, "{spelling}");
        }
    }

    #[test]
    fn every_verb_has_a_help_text_that_begins_with_its_name() {
        for verb in VERBS {
            let text = verb.help;
            assert!(text.starts_with(&format!("nullbeat {}", verb.name)), "{text}");
            assert!(text.ends_with('\n') && text.lines().all(|line| line.chars().count() <= 120), "{text}");
            assert!(help::overview().contains(&format!("\n  {} ", verb.name)), "{} is not in the overview", verb.name);
        }
    }
}
