//! Help texts: one for each verb, and the overview.

use super::{arguments, exit, print_out};

/// What `nullbeat help` and an empty command line say.
pub(super) const OVERVIEW: &str = "\
nullbeat: failover for two boards joined by a null-modem cable

usage: nullbeat VERB [OPTION…]

  check       says what is wrong or doubtful in the configuration
  help        this text; `help VERB` for more about one of them
  sim         play faults through the decisions of two nodes, in virtual time
  version     which nullbeat this is

options of most verbs:
  --config-dir DIR   ha.cf, haresources, authkeys   (/etc/ha.d)
  --run-dir DIR      sockets, pid file, lease       (/run/nullbeat)
  --state-dir DIR    generation, uuid, history      (/var/lib/nullbeat)

exit codes: 0 ok, 1 failure, 64 usage, 69 daemon not running, 75 try again, 77 not permitted, 78 configuration
";

const TEXTS: &[(&str, &str)] =
    &[("check", super::check::HELP), ("help", HELP), ("sim", super::sim::HELP), ("version", VERSION)];

const HELP: &str = "\
nullbeat help [VERB]

Says what the program can do, or more about one verb; `nullbeat VERB --help` is the same.
";

const VERSION: &str = "\
nullbeat version

Prints the name and the version of this program. Also --version, -V.
";

/// The text about one verb.
pub(super) fn text(verb: &str) -> Option<&'static str> {
    TEXTS.iter().find(|(name, _)| *name == verb).map(|(_, text)| *text)
}

/// `nullbeat help [VERB]`.
pub(super) fn main(args: &[String]) -> u8 {
    let Some(verb) = args.iter().find(|word| !word.starts_with('-')) else { return print_out(OVERVIEW) };
    if let Some(text) = text(verb) {
        return print_out(text);
    }
    let hint = arguments::nearest(verb, TEXTS.iter().map(|(name, _)| *name));
    let hint = hint.map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
    eprintln!("nullbeat help: no verb is called `{verb}`{hint}");
    exit::USAGE
}
