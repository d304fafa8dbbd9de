//! `hb_addnode`, `hb_delnode`, `hb_setweight`, `hb_setsite` (spec/resources.md section 20): one message into the FIFO, as
//! the original's scripts write it, but in one piece. What became of it stands in the log.

use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};

use nix::errno::Errno;
use nix::libc::O_NONBLOCK;

use crate::cli::exit;
use crate::config::Paths;
use crate::daemon::fifo::FIFO_NAME;
use crate::daemon::identity::state_directory;

use super::split_places;

/// `Permission denied` of the original.
const DENIED: u8 = 2;

/// `hb_addnode NODE…`.
pub(super) fn add(args: &[String]) -> u8 {
    list("hb_addnode", "addnode", args)
}

/// `hb_delnode NODE…`.
pub(super) fn delete(args: &[String]) -> u8 {
    list("hb_delnode", "delnode", args)
}

/// `hb_setweight NODE WEIGHT`.
pub(super) fn set_weight(args: &[String]) -> u8 {
    pair("hb_setweight", "setweight", "weight", args)
}

/// `hb_setsite NODE SITE`.
pub(super) fn set_site(args: &[String]) -> u8 {
    pair("hb_setsite", "setsite", "site", args)
}

fn list(tool: &str, kind: &str, args: &[String]) -> u8 {
    let (paths, names) = split_places(args);
    if names.is_empty() || names.iter().any(|name| name == "--help") {
        eprintln!("usage: {tool} <node> <node> ...");
        return exit::FAILURE;
    }
    tell(tool, &paths, &[("t", kind), ("nodelist", &names.join(" "))])
}

fn pair(tool: &str, kind: &str, what: &str, args: &[String]) -> u8 {
    let (paths, words) = split_places(args);
    match words.as_slice() {
        [node, value] if node != "--help" => tell(tool, &paths, &[("t", kind), ("node", node), (what, value)]),
        _ => {
            eprintln!("usage: {tool} <node> <{what}>");
            exit::FAILURE
        }
    }
}

fn tell(tool: &str, paths: &Paths, fields: &[(&str, &str)]) -> u8 {
    let mut message = String::from(">>>\n");
    for (name, value) in fields {
        if value.contains('\n') {
            eprintln!("{tool}: a line break in {}", value.escape_debug());
            return exit::FAILURE;
        }
        let _ = writeln!(message, "{name}={value}");
    }
    message.push_str("<<<\n");
    match write(paths, message.as_bytes()) {
        Ok(()) => exit::OK,
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            eprintln!("{tool}: Permission denied");
            DENIED
        }
        Err(error) if error.raw_os_error() == Some(Errno::ENXIO as i32) || error.kind() == io::ErrorKind::NotFound => {
            // The original would wait, and a daemon started much later would do it.
            eprintln!("{tool}: no daemon runs here");
            exit::FAILURE
        }
        Err(error) => {
            eprintln!("{tool}: {error}");
            exit::FAILURE
        }
    }
}

/// In one piece: what fits into the pipe's atomic unit never mixes with what others write.
fn write(paths: &Paths, message: &[u8]) -> io::Result<()> {
    let path = state_directory(paths).join(FIFO_NAME);
    let mut fifo = OpenOptions::new().write(true).custom_flags(O_NONBLOCK).open(path)?;
    if !fifo.metadata()?.file_type().is_fifo() {
        return Err(io::ErrorKind::NotFound.into());
    }
    fifo.write_all(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misuse_and_a_daemon_that_is_not_there_are_failures() {
        let nowhere = format!("--state-dir={}/nullbeat-nowhere", std::env::temp_dir().display());
        let with = |tool: fn(&[String]) -> u8, words: &[&str]| {
            let words = words.iter().copied().chain([nowhere.as_str()]);
            tool(&words.map(str::to_owned).collect::<Vec<_>>())
        };
        for words in [&["--help"][..], &[], &["a"], &["a", "b"], &["a\nb"]] {
            assert_eq!(with(add, words), exit::FAILURE, "{words:?}");
            assert_eq!(with(delete, words), exit::FAILURE, "{words:?}");
            assert_eq!(with(set_weight, words), exit::FAILURE, "{words:?}");
            assert_eq!(with(set_site, words), exit::FAILURE, "{words:?}");
        }
    }
}
