//! Help texts: the overview, and the way to the text of each verb.

use std::fmt::Write as _;

use super::{VERBS, arguments, exit, print_out};

const HEAD: &str = "\
nullbeat: failover for two boards joined by a null-modem cable

usage: nullbeat VERB [OPTION…]

";

const TAIL: &str = "
options of most verbs:
  --config-dir DIR   ha.cf, haresources, authkeys   (/etc/ha.d)
  --run-dir DIR      sockets, pid file, lease       (/run/nullbeat)
  --state-dir DIR    generation, uuid               (/var/lib/nullbeat)

called as heartbeat, cl_status, hb_standby, hb_takeover, hb_addnode, hb_delnode, hb_setweight, hb_setsite, apphbd,
ha_logd or ha_logger (links) it has the options, output and exit codes of those

exit codes: 0 ok, 1 failure, 64 usage, 69 daemon not running, 75 try again, 77 not permitted, 78 configuration
";

/// Help text of `help`.
pub(super) const HELP: &str = "\
nullbeat help [VERB]

Says what the program can do, or more about one verb; `nullbeat VERB --help` is the same.
";

/// Help text of `version`.
pub(super) const VERSION: &str = "\
nullbeat version

Prints the name and the version of this program. Also --version, -V.
";

/// What `nullbeat help` and an empty command line say.
pub(super) fn overview() -> String {
    let mut text = HEAD.to_owned();
    for verb in VERBS {
        let _ = writeln!(text, "  {:10}  {}", verb.name, verb.summary);
    }
    text.push_str(TAIL);
    text
}

/// `nullbeat help [VERB]`.
pub(super) fn main(args: &[String]) -> u8 {
    let Some(word) = args.iter().find(|word| !word.starts_with('-')) else { return print_out(&overview()) };
    if let Some(verb) = VERBS.iter().find(|verb| verb.name == word) {
        return print_out(verb.help);
    }
    let hint = arguments::nearest(word, VERBS.iter().map(|verb| verb.name));
    let hint = hint.map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
    eprintln!("nullbeat help: no verb is called `{word}`{hint}");
    exit::USAGE
}
