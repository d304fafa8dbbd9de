//! Programs and files that a fence line names.

use std::path::{Path, PathBuf};

use super::super::draft::Draft;
use super::super::finding::{At, quote};
use super::super::load::TextFile;
use super::super::machine::FileKind;
use super::super::token::Word;
use super::find;

/// Where cluster-glue has its external plugins.
const PLUGINS: &[&str] = &[
    "/usr/lib/stonith/plugins/external",
    "/usr/lib64/stonith/plugins/external",
    "/usr/local/lib/stonith/plugins/external",
];
/// Where fence-agents are.
const AGENTS: &[&str] = &["/usr/sbin", "/usr/bin", "/usr/local/sbin", "/sbin"];
/// Bits of a mode by which group or others get at a file.
const OF_OTHERS: u32 = 0o077;

/// A plugin of cluster-glue; where it should be, when it is not there.
pub(super) fn plugin_path(draft: &mut Draft<'_>, at: At, name: &str) -> PathBuf {
    let path = find(draft, PLUGINS, name).unwrap_or_else(|| Path::new(PLUGINS[0]).join(name));
    look_at_program(draft, at, &path, "a plugin of cluster-glue (its package installs them)");
    path
}

/// An agent of fence-agents likewise.
pub(super) fn agent_path(draft: &mut Draft<'_>, at: At, name: &str) -> PathBuf {
    let path = find(draft, AGENTS, name).unwrap_or_else(|| Path::new(AGENTS[0]).join(name));
    look_at_program(draft, at, &path, "an agent of fence-agents (its package installs them)");
    path
}

/// It must be there, be executable, and nobody but root may have written it: cluster-glue refuses others, too.
pub(super) fn look_at_program(draft: &mut Draft<'_>, at: At, path: &Path, expected: &str) {
    let shown = quote(&path.display().to_string());
    match draft.machine.file(path) {
        FileKind::Executable if draft.machine.is_writable_by_others(path) => {
            let hint = format!("chmod go-w {}", path.display());
            let finding = draft.missing_here(at, format!("{shown}, which others may write"));
            finding.expected("a program that only its owner may write").hint(hint);
        }
        FileKind::Executable => {}
        FileKind::Missing => {
            draft.missing_here(at, format!("{shown}, which is not here")).expected(expected);
        }
        _ => {
            draft.missing_here(at, format!("{shown}, which is no executable file here")).expected(expected);
        }
    }
}

/// Lines `NAME=VALUE` of a file of which nobody else may know. Messages show no values.
pub(super) fn read_secrets(draft: &mut Draft<'_>, path: &Word) -> Vec<(String, String)> {
    const EXPECTED: &str = "a file of mode 0600 with lines NAME=VALUE";
    if !path.text.starts_with('/') {
        draft.findings.error(path.at, path.quoted()).expected("the path of a file, beginning with `/`");
        return Vec::new();
    }
    let file = match TextFile::read(Path::new(&path.text)) {
        Ok(file) => file,
        Err(error) => {
            let found = format!("{}, which cannot be read ({error})", path.quoted());
            draft.missing_here(path.at, found).expected(EXPECTED);
            return Vec::new();
        }
    };
    if file.mode & OF_OTHERS != 0 {
        let found = format!("{} of mode {:04o}", path.quoted(), file.mode & 0o7777);
        let hint = format!("chmod 600 {}", path.text);
        draft.findings.error(path.at, found).expected(EXPECTED).hint(hint);
        return Vec::new();
    }
    let Ok(text) = std::str::from_utf8(&file.bytes).map(str::to_owned) else {
        draft.findings.refuse(path.at, format!("{}, which is not UTF-8", path.quoted()), EXPECTED);
        return Vec::new();
    };
    let mut secrets = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim_end_matches('\r');
        match line.split_once('=') {
            _ if line.trim().is_empty() || line.starts_with('#') => {}
            Some((name, value)) if !value.contains(char::is_control) => {
                secrets.push((name.trim().to_owned(), value.to_owned()));
            }
            _ => draft.findings.refuse(path.at, format!("line {number} of {}", path.quoted()), "NAME=VALUE"),
        }
    }
    secrets
}
