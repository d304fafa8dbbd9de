//! Heartbeat's own directives, `stonith` and `stonith_host`: one device, asked through the packaged `stonith`.

use std::path::{Path, PathBuf};

use super::super::Purpose;
use super::super::draft::Draft;
use super::super::finding::{At, quote};
use super::super::load::TextFile;
use super::super::machine::StonithType;
use super::super::token::Word;
use super::{DraftFence, FenceHow, FenceMethod, StonithParameters, find, meatware};

/// Where cluster-glue has its program.
const PROGRAM_FOLDERS: &[&str] = &["/usr/sbin", "/usr/bin", "/usr/local/sbin", "/sbin"];

/// `stonith TYPE CONFIGFILE`.
pub(crate) fn read_stonith(draft: &mut Draft<'_>, words: &[Word]) {
    let [kind, file, rest @ ..] = words else {
        let found =
            if words.is_empty() { "`stonith` without a type" } else { "`stonith` without a configuration file" };
        draft.findings.error(draft.here.1, found).expected("`stonith TYPE CONFIGFILE`");
        return;
    };
    if let Some(extra) = rest.first() {
        let finding = draft.findings.warning(extra.at, extra.quoted()).expected("nothing behind the file");
        finding.hint("it is ignored");
    }
    let path = PathBuf::from(&file.text);
    let Some(text) = parameter_line(draft, file) else { return };
    read_device(draft, kind, &text, StonithParameters::File(path));
}

/// The first line of the file that is not empty and no remark (spec/resources.md 14.1).
fn parameter_line(draft: &mut Draft<'_>, file: &Word) -> Option<String> {
    const EXPECTED: &str = "the file with the parameters of the device";
    let text = match TextFile::read(Path::new(&file.text)) {
        Ok(text) => text,
        Err(error) => {
            let found = format!("{}, which cannot be read ({error})", file.quoted());
            draft.missing_here(file.at, found).expected(EXPECTED);
            // Where only the machine is missing the line counts.
            return Some(String::new()).filter(|_| draft.purpose == Purpose::Check);
        }
    };
    if text.mode & 0o044 != 0 {
        let found = format!("{}, which others may read", file.quoted());
        let hint = format!("chmod 600 {}", file.text);
        draft.findings.warning(file.at, found).expected("a file of mode 0600, if there is a password in it").hint(hint);
    }
    let text = String::from_utf8_lossy(&text.bytes).into_owned();
    let line = text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#'));
    if line.is_none() {
        draft.findings.refuse(file.at, format!("nothing in {}", file.quoted()), EXPECTED);
    }
    line.map(str::to_owned)
}

/// `stonith_host HOST|* TYPE PARAMETERS…`: a line for another host is skipped unchecked, as in Heartbeat.
pub(crate) fn read_stonith_host(draft: &mut Draft<'_>, words: &[Word]) {
    let (_, at) = draft.here;
    let [host, rest @ ..] = words else {
        draft.findings.error(at, "`stonith_host` without a host").expected("`stonith_host HOST TYPE PARAMETERS`");
        return;
    };
    if host.text != "*" && !host.text.eq_ignore_ascii_case(&draft.local) {
        let note = draft.findings.note(at, format!("`stonith_host` for {}", host.quoted()));
        note.hint(format!("it is not looked at on `{}`", draft.local));
        return;
    }
    let [kind, parameters @ ..] = rest else {
        draft.findings.error(host.at, "`stonith_host` without a type").expected("`stonith_host HOST TYPE PARAMETERS`");
        return;
    };
    let text = as_written(parameters);
    read_device(draft, kind, &text, StonithParameters::Text(text.clone()));
}

/// Words with the blanks between them: the last parameter takes the rest of the line as it stands.
fn as_written(words: &[Word]) -> String {
    let mut text = String::new();
    let mut column = words.first().map_or(0, |first| first.at.column);
    for word in words {
        text.extend((column..word.at.column).map(|_| ' '));
        text.push_str(&word.text);
        column = word.at.column.saturating_add(u32::try_from(word.text.chars().count()).unwrap_or(u32::MAX));
    }
    text
}

/// Takes the device of a line. Heartbeat keeps one: the last valid line counts.
fn read_device(draft: &mut Draft<'_>, kind: &Word, text: &str, parameters: StonithParameters) {
    let is_name = kind.text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._+/-".contains(&byte));
    if !is_name || kind.text.starts_with(['-', '/', '.']) {
        draft.findings.refuse(kind.at, kind.quoted(), "a type, as `stonith -L` lists them");
        return;
    }
    let method = if kind.text == "meatware" {
        let note = draft.findings.note(kind.at, "`meatware`, where a person confirms");
        note.hint("with `nullbeat fence --confirm NODE`; meatclient is not listened to");
        meatware()
    } else {
        let errors = draft.findings.errors();
        let program = stonith_program(draft, kind.at);
        check_values(draft, kind, text);
        if draft.findings.errors() > errors {
            return;
        }
        let how = FenceHow::Stonith { program, kind: kind.text.clone(), parameters };
        FenceMethod { name: kind.text.clone(), how, limit: super::DEFAULT_TIMEOUT }
    };
    warn_of_pretence(draft, kind);
    let at = draft.here.1;
    if let Some(DraftFence { at: before, .. }) = draft.classic_fence.replace(DraftFence { method, at, limit: None }) {
        let finding = draft.findings.warning(at, "a further STONITH device").expected("one");
        let hint = format!("this one counts, the one in line {} does not; several are given with `fence`", before.line);
        finding.hint(hint);
    }
}

/// Devices that prove nothing.
fn warn_of_pretence(draft: &mut Draft<'_>, kind: &Word) {
    let hint = match kind.text.as_str() {
        "null" => "it confirms everything and does nothing: two owners are possible",
        "ssh" | "external/ssh" => "it needs a peer that answers, and a peer to be fenced mostly does not",
        "suicide" => "it can only reset this node, never the peer",
        _ => return,
    };
    let finding = draft.findings.warning(kind.at, format!("{}, a device for tests", kind.quoted()));
    finding.expected("a device that turns the peer off").hint(hint);
}

fn stonith_program(draft: &mut Draft<'_>, at: At) -> PathBuf {
    find(draft, PROGRAM_FOLDERS, "stonith").unwrap_or_else(|| {
        let finding = draft.missing_here(at, "no program `stonith`");
        finding.expected("the package cluster-glue, or a `fence` line in its place");
        Path::new(PROGRAM_FOLDERS[0]).join("stonith")
    })
}

/// What the plugin wants to know, by position. Only for a check: a daemon's start does not wait for plugins.
fn check_values(draft: &mut Draft<'_>, kind: &Word, text: &str) {
    match names(draft, kind) {
        StonithType::Untold => {}
        StonithType::Unknown => {
            draft.findings.refuse(
                kind.at,
                format!("{}, which is no type here", kind.quoted()),
                "a type of `stonith -L`",
            );
        }
        StonithType::Known(names) if !text.is_empty() || draft.here.0 == "stonith_host" => {
            let count = text.split_whitespace().count();
            if count < names.len() {
                let found = format!("{count} of {} parameters for {}", names.len(), kind.quoted());
                draft.findings.refuse(kind.at, found, format!("values for {}", names.join(", ")));
            }
        }
        StonithType::Known(_) => {}
    }
}

fn names(draft: &Draft<'_>, kind: &Word) -> StonithType {
    match find(draft, PROGRAM_FOLDERS, "stonith") {
        Some(program) if draft.purpose == Purpose::Check => draft.machine.stonith_type(&program, &kind.text),
        _ => StonithType::Untold,
    }
}

/// Compares the parameters of `fence external/NAME` with those that the plugin knows.
pub(super) fn compare_names(draft: &mut Draft<'_>, kind: &Word, given: &[(String, String)]) {
    let StonithType::Known(names) = names(draft, kind) else { return };
    let is_given = |name: &String| given.iter().any(|(known, _)| known == name);
    let missing: Vec<&str> =
        names.iter().filter(|name| !is_given(name) && *name != "hostlist").map(String::as_str).collect();
    if !missing.is_empty() {
        let found = format!("{} without {}", kind.quoted(), missing.join(", "));
        draft.findings.warning(kind.at, found).expected("every parameter that the plugin asks for");
    }
    for (name, _) in given.iter().filter(|(name, _)| !names.contains(name)) {
        let found = format!("{}, which {} does not ask for", quote(name), kind.text);
        let finding = draft.findings.warning(kind.at, found);
        finding.nearest(name, names.iter().map(String::as_str));
    }
}
