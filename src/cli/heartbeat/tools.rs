//! `hb_standby` and `hb_takeover` (spec/resources.md section 20).

use std::time::Duration;

use crate::cli::{ask, exit};
use crate::daemon::control::client::NoAnswer;

use super::{moment, split_places};

/// The original exits as soon as its message is on its way; a refusal that comes at once is worth this wait.
const REFUSAL_LIMIT: Duration = Duration::from_millis(300);
/// `Permission denied` of the original.
const DENIED: u8 = 2;

/// `hb_standby [all|foreign|local|failback] [--wait]`.
pub(super) fn standby(args: &[String]) -> u8 {
    give("hb_standby", args, |set| match set {
        "failback" => "standby foreign".to_owned(),
        set => format!("standby {set}"),
    })
}

/// `hb_takeover [all|foreign|local|failback] [--wait]`.
pub(super) fn takeover(args: &[String]) -> u8 {
    give("hb_takeover", args, |set| match set {
        // The original's own reading: the other node's script takes it as all.
        "failback" => "takeover all".to_owned(),
        set => format!("takeover {set}"),
    })
}

fn usage(tool: &str, complaint: &str) -> u8 {
    if !complaint.is_empty() {
        println!("{tool}: {complaint}");
    }
    println!("usage:");
    eprintln!("{tool} [all|foreign|local|failback]");
    exit::FAILURE
}

fn give(tool: &str, args: &[String], request: impl Fn(&str) -> String) -> u8 {
    let (paths, mut rest) = split_places(args);
    let is_waiting = rest.iter().any(|word| word == "--wait");
    rest.retain(|word| word != "--wait");
    let set = match rest.as_slice() {
        [] => "all",
        [word] => match word.as_str() {
            "--help" => return usage(tool, ""),
            word @ ("all" | "foreign" | "local" | "failback") => word,
            word => return usage(tool, &format!("wrong resources({word}).")),
        },
        _ => return usage(tool, "too many arguments"),
    };
    let limit = (!is_waiting).then_some(REFUSAL_LIMIT);
    let client = match ask::connect(&paths.run) {
        Ok(client) => client,
        Err(error) => return complain(tool, &error),
    };
    if tool == "hb_standby" {
        eprintln!("{}\tGoing standby [{set}].", moment());
    }
    match client.ask(&request(set), limit) {
        Ok(answer) if answer.code == exit::NOT_PERMITTED => {
            eprintln!("{tool}: Permission denied");
            DENIED
        }
        Ok(answer) => {
            for line in answer.body.lines() {
                eprintln!("{tool}: {line}");
            }
            if is_waiting { answer.code } else { exit::OK }
        }
        // Under way.
        Err(NoAnswer::TimedOut) => exit::OK,
        Err(error) => complain(tool, &error),
    }
}

fn complain(tool: &str, error: &NoAnswer) -> u8 {
    match error {
        NoAnswer::NotPermitted(_) => {
            eprintln!("{tool}: Permission denied");
            DENIED
        }
        error => {
            eprintln!("{tool}: {error}");
            exit::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misuse_and_a_daemon_that_is_not_there_are_failures() {
        let nowhere = format!("--run-dir={}/nullbeat-nowhere", std::env::temp_dir().display());
        for args in [vec!["--help"], vec!["bogus"], vec!["all", "local"], vec![], vec!["failback"]] {
            let mut args: Vec<String> = args.into_iter().map(str::to_owned).collect();
            args.push(nowhere.clone());
            assert_eq!(standby(&args), exit::FAILURE, "{args:?}");
            assert_eq!(takeover(&args), exit::FAILURE, "{args:?}");
        }
    }
}
