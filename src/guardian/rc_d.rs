//! A site's own files in `rc.d` (spec/resources.md section 5): which there are, and what each is told.
//!
//! | file | runs |
//! |---|---|
//! | `status`, `ip-request`, `ip-request-resp`, `hb_takeover`, `ask_resources` | never: done by this daemon itself |
//! | `ifstat` | when a link to a node, or a ping node, comes up or dies |
//! | any other plain lower-case name | for each message of that type which a node of the cluster has signed |
//!
//! Listed once, as Heartbeat does, and again at a reload. A script gets the type as its argument, and of the message
//! each string field `F` as `HA_F`. Heartbeat lets a message replace any variable of its scripts that way, up to the
//! file of functions that they run; here none that is set otherwise can be (spec/resources.md section 22, number 12), and
//! none in capitals: those are for programs and directories, and a script's own functions look at some that nobody sets.

use std::ffi::CStr;
use std::fs;
use std::path::{Path, PathBuf};

use super::lookup::is_plain_name;

/// The message type of a link's change.
pub const LINK_TYPE: &str = "ifstat";
/// Files of Heartbeat's packages.
const PACKAGED: &[&str] = &["status", "ip-request", "ip-request-resp", "hb_takeover", "ask_resources"];
/// Types that Heartbeat's daemon takes itself, and a file that only a packaged one calls: no script runs for them.
const NEVER_PASSED_ON: &[&str] = &[
    "starting",
    "resource",
    "shutdone",
    "reqnodes",
    "repnodes",
    "addnode",
    "delnode",
    "setweight",
    "setsite",
    "hbapi-clstat",
    "query-cstatus",
    "respond-cstatus",
    "local_giveip",
];

/// What there is.
#[derive(Debug, Default)]
pub struct RcDirectory {
    path: PathBuf,
    /// Types with a script.
    types: Vec<String>,
}

impl RcDirectory {
    /// Looks into `path` and says what of it is not run.
    pub fn list(path: &Path) -> Self {
        let mut names: Vec<String> = fs::read_dir(path)
            .into_iter()
            .flatten()
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter(|name| !name.starts_with('.') && is_plain_name(name))
            .collect();
        crate::order::sort(&mut names, |a, b| a < b);
        let (packaged, own): (Vec<_>, Vec<_>) = names.into_iter().partition(|name| PACKAGED.contains(&name.as_str()));
        if !packaged.is_empty() {
            log::info!("{}: never run, done by this daemon itself: {}", path.display(), packaged.join(" "));
        }
        let (types, others): (Vec<_>, Vec<_>) = own.into_iter().partition(|name| is_type(name));
        if !others.is_empty() {
            let others = others.join(" ");
            log::warn!("{}: never run, as no message of such a type is passed on: {others}", path.display());
        }
        if !types.is_empty() {
            log::info!("{}: run for messages of their name: {}", path.display(), types.join(" "));
        }
        Self { path: path.to_owned(), types }
    }

    /// The script for messages of this type.
    pub fn script(&self, kind: &str) -> Option<PathBuf> {
        self.types.iter().find(|known| *known == kind).map(|name| self.path.join(name))
    }

    /// Types of messages between nodes that have a script.
    pub fn message_types(&self) -> impl Iterator<Item = &String> {
        self.types.iter().filter(|name| *name != LINK_TYPE)
    }
}

/// Heartbeat compares the type with the names as they are, but runs the name in lower case.
fn is_type(name: &str) -> bool {
    !NEVER_PASSED_ON.contains(&name) && !name.bytes().any(|byte| byte.is_ascii_uppercase() || byte.is_ascii_control())
}

/// The variables that a message's fields become: the first of each name, none that is in `environment`, none in capitals.
pub fn variables(fields: &[(String, String)], environment: &[impl AsRef<CStr>]) -> Vec<(String, String)> {
    let mut variables: Vec<(String, String)> = Vec::new();
    for (name, value) in fields {
        let is_word = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        let is_in_capitals = !name.bytes().any(|byte| byte.is_ascii_lowercase());
        let name = format!("HA_{name}");
        let is_set =
            |set: &CStr| set.to_bytes().strip_prefix(name.as_bytes()).is_some_and(|rest| rest.starts_with(b"="));
        if is_word
            && !is_in_capitals
            && !environment.iter().any(|set| is_set(set.as_ref()))
            && !variables.iter().any(|(known, _)| *known == name)
        {
            variables.push((name, value.clone()));
        }
    }
    variables
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_plain_lower_case_and_nobody_elses() {
        for name in ["mytype", "stonith", "my-type.2", "ifstat"] {
            assert!(is_type(name), "{name}");
        }
        for name in ["MyType", "resource", "shutdone", "local_giveip", "a\nb"] {
            assert!(!is_type(name), "{name}");
        }
    }

    #[test]
    fn fields_become_variables_unless_these_are_ours_or_no_words() {
        let pairs = [
            ("t", "mytype"),
            ("FUNCS", "/tmp/evil"),
            ("OSTATUS", "dead"),
            ("x", "1"),
            ("x", "2"),
            ("a b", "1"),
            ("a=", "1"),
            ("", "1"),
            ("SBIN_DIR", "/tmp/evil"),
            ("_", "1"),
            ("Func", "fine"),
        ];
        let fields: Vec<_> = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let variables = variables(&fields, &[c"HA_FUNCS=/etc/ha.d/shellfuncs"]);
        let variables: Vec<_> = variables.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(variables, [("HA_t", "mytype"), ("HA_x", "1"), ("HA_Func", "fine")]);
    }
}
