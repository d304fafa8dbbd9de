//! haresources: who owns what (spec/resources.md section 2).
//!
//! Two programs read this file in the original, and the shell reads each word again and again. Here it is read once,
//! words are what they say, and where that visibly differs a finding tells.

use std::path::{Path, PathBuf};

use super::draft::Draft;
use super::finding::{At, Findings, quote};
use super::machine::{FileKind, Machine};
use super::names::is_unit_name;
use super::token::{self, Word};
use super::{Group, Resource, TextFile};
use crate::core::limits::GROUPS_MAX;
use crate::wire::heartbeat::GROUP_KEYS_MAX;

/// What the shell of the original would not take literally.
const SHELL_CHARACTERS: &[char] = &['$', '`', ';', '&', '|', '<', '>', '(', ')', '*', '?', '[', ']', '"', '\'', '\\'];
/// Where the original looks for a script after the configuration directory.
const INIT_DIRECTORY: &str = "/etc/init.d";
/// How systemd is spoken to, and where it keeps what is enabled.
const SYSTEMCTL: &str = "/usr/bin/systemctl";
const UNITS: &str = "/etc/systemd/system";
/// Where OCF agents live, in a directory for each provider.
const OCF_DIRECTORY: &str = "/usr/lib/ocf/resource.d";

/// One logical line: the groups keep their places for findings.
struct Entry {
    node: Word,
    words: Vec<Word>,
}

/// Reads haresources against what ha.cf says. Groups are returned even when findings forbid to use them.
pub(super) fn read(text: &TextFile, directory: &Path, draft: &Draft<'_>, findings: &mut Findings) -> Vec<Group> {
    let mut entries = logical_lines(&text.bytes, findings);
    for entry in &entries {
        check_node(entry, draft, findings);
        check_words(entry, findings);
    }
    entries.retain(|entry| !entry.words.is_empty());
    check_sharing(&entries, findings);
    check_owners(&entries, draft, findings);
    if let Some(entry) = entries.get(GROUPS_MAX) {
        findings.error(entry.node.at, "one group too many").expected(format!("at most {GROUPS_MAX}"));
    }
    let key_bytes: usize = entries.iter().map(|entry| entry.words[0].text.len()).sum();
    if key_bytes > GROUP_KEYS_MAX {
        let finding = findings.error(At::FILE, format!("{key_bytes} bytes of first resources"));
        finding.expected(format!("at most {GROUP_KEYS_MAX} in all lines together"));
    }
    if entries.is_empty() && !findings.has_error() {
        findings
            .warning(At::FILE, "no resource group")
            .expected("a line `NODE RESOURCE…`")
            .hint("nothing is ever moved");
    }
    let groups: Vec<Group> = entries.iter().map(group).collect();
    for (entry, group) in entries.iter().zip(&groups).take(GROUPS_MAX) {
        for (word, resource) in entry.words.iter().zip(&group.resources) {
            check_resource(word, resource, directory, draft.machine, findings);
        }
    }
    groups
}

/// Remarks cut, continued lines joined, as the original's shell side does it: a remark ends a line only on the first
/// of the physical lines that are joined (spec/resources.md 2.2, rule 1).
fn logical_lines(text: &[u8], findings: &mut Findings) -> Vec<Entry> {
    let mut entries = Vec::new();
    tell_returns(text, findings);
    let lines: Vec<(u32, &[u8])> = token::lines(text, findings).collect();
    let mut lines = lines.into_iter().map(|(number, line)| (number, line.strip_suffix(b"\r").unwrap_or(line)));
    while let Some((number, line)) = lines.next() {
        let mut piece = (number, cut_remark(number, line, findings));
        let mut pieces = Vec::new();
        while let [start @ .., b'\\'] = piece.1 {
            pieces.push((piece.0, start));
            match lines.next() {
                Some(line) => piece = line,
                None => {
                    let at = At { line: piece.0, column: token::column_of(piece.1, start.len()) };
                    findings
                        .warning(at, "`\\` at the end of the file")
                        .expected("a further line")
                        .hint("it is ignored");
                    piece.1 = b"";
                }
            }
        }
        pieces.push(piece);
        if let Some(entry) = entry(&pieces, findings) {
            entries.push(entry);
        }
    }
    entries
}

/// Says once that the lines end as in DOS.
fn tell_returns(text: &[u8], findings: &mut Findings) {
    let ends_in_return = |line: &&[u8]| line.ends_with(b"\r");
    let Some((number, line)) = (1..).zip(text.split(|byte| *byte == b'\n')).find(|(_, line)| ends_in_return(line))
    else {
        return;
    };
    let at = At { line: number, column: token::column_of(line, line.len() - 1) };
    let hint = "it is ignored here; Heartbeat's scripts take it for a part of the last word";
    findings.warning(at, "a carriage return at the end of a line").expected("Unix line ends").hint(hint);
}

fn cut_remark<'l>(number: u32, line: &'l [u8], findings: &mut Findings) -> &'l [u8] {
    let Some(start) = line.iter().position(|byte| *byte == b'#') else { return line };
    let is_blank_before = line[..start].iter().all(|byte| matches!(byte, b' ' | b'\t'));
    if line.ends_with(b"\\") && !is_blank_before {
        let at = At { line: number, column: token::column_of(line, line.len() - 1) };
        let hint = "a remark is not continued, and neither is its line: the next one stands for itself";
        findings.warning(at, "`\\` at the end of a remark").expected("it before the remark, or not at all").hint(hint);
    }
    &line[..start]
}

fn entry(pieces: &[(u32, &[u8])], findings: &mut Findings) -> Option<Entry> {
    let mut words = token::split(pieces, |character| matches!(character, ' ' | '\t')).into_iter();
    let node = words.next()?;
    let words: Vec<Word> = words.collect();
    for word in std::iter::once(&node).chain(&words) {
        word.is_sound(findings);
        if word.at.line > pieces[0].0 && word.text.starts_with('#') {
            let hint = "on a continued line it does not begin a remark: it and what follows are resources";
            findings.warning(word.at, word.quoted()).expected("a resource").hint(hint);
        }
    }
    Some(Entry { node, words })
}

fn check_node(entry: &Entry, draft: &Draft<'_>, findings: &mut Findings) {
    let word = &entry.node;
    let name = word.text.to_ascii_lowercase();
    if entry.words.is_empty() {
        let hint = "the line has no effect";
        findings.warning(word.at, format!("node {} without resources", word.quoted())).expected("resources").hint(hint);
    }
    if draft.nodes.is_empty() || draft.nodes.iter().any(|(node, _)| *node == name) {
        return;
    }
    if draft.pings.iter().any(|ping| ping.name == name) {
        let finding = findings.error(word.at, format!("{}, a ping node", word.quoted())).expected("a node of ha.cf");
        finding.hint("a ping node cannot own resources");
        return;
    }
    let finding = findings.error(word.at, format!("{}, which is no node", word.quoted())).expected("a node of ha.cf");
    finding.nearest(&name, draft.nodes.iter().map(|(node, _)| node.as_str()));
}

/// What the shell would do to a word, which is not done here.
fn check_words(entry: &Entry, findings: &mut Findings) {
    for word in &entry.words {
        let special = word.text.chars().find(|character| SHELL_CHARACTERS.contains(character));
        let special = special.or_else(|| word.text.starts_with('~').then_some('~'));
        if let Some(special) = special {
            let found = format!("`{special}` in {}", word.quoted());
            let hint = "it stands for itself here; Heartbeat's scripts hand it to the shell, which interprets it";
            findings.warning(word.at, found).expected("plain words").hint(hint);
        }
    }
}

/// Words that stand in several places. The first word of a group is its name, and has to be unique.
fn check_sharing(entries: &[Entry], findings: &mut Findings) {
    use std::collections::HashMap;
    let mut keys: HashMap<&str, At> = HashMap::new();
    for entry in entries {
        let key = &entry.words[0];
        match keys.get(key.text.as_str()) {
            Some(before) => {
                let found = format!("group {}, a second time", key.quoted());
                let hint = format!("a group is known by its first resource, and line {} has the same", before.line);
                findings.error(key.at, found).expected("a first resource that is unique").hint(hint);
            }
            None => _ = keys.insert(&key.text, key.at),
        }
    }
    let mut seen: HashMap<&str, (At, usize)> = HashMap::new();
    for (number, entry) in entries.iter().enumerate() {
        for (position, word) in entry.words.iter().enumerate() {
            let is_double_key = position == 0 && keys.get(word.text.as_str()) != Some(&word.at);
            if let Some((before, owner)) = seen.get(word.text.as_str())
                && !is_double_key
            {
                tell_shared(word, *before, *owner == number, keys.contains_key(word.text.as_str()), findings);
            } else {
                seen.entry(&word.text).or_insert((word.at, number));
            }
        }
    }
    check_patterns(entries, findings);
}

fn tell_shared(word: &Word, before: At, is_same_group: bool, is_key: bool, findings: &mut Findings) {
    let found = format!("resource {}, a second time", word.quoted());
    let hint = match (is_same_group, is_key) {
        (true, _) => "it is started once and stopped twice".to_owned(),
        (false, true) => {
            format!(
                "it also stands in line {}; Heartbeat takes the lines of a group's first resource for one",
                before.line
            )
        }
        (false, false) => format!("it also stands in line {}, and stopping either group stops it", before.line),
    };
    findings.warning(word.at, found).expected("each resource once").hint(hint);
}

/// The original looks keys up as regular expressions, in which a point is any character.
fn check_patterns(entries: &[Entry], findings: &mut Findings) {
    for entry in entries.iter().take(GROUPS_MAX).filter(|entry| entry.words[0].text.contains('.')) {
        let key = &entry.words[0];
        let matches = |word: &&Word| word.text != key.text && matches_with_points(&key.text, &word.text);
        if let Some(other) = entries.iter().flat_map(|entry| &entry.words).find(matches) {
            let found = format!("{} beside {} in line {}", key.quoted(), other.quoted(), other.at.line);
            let hint = "they are told apart here; Heartbeat's scripts take a point for any character";
            findings.warning(key.at, found).expected("names that differ in more than a point").hint(hint);
        }
    }
}

fn matches_with_points(pattern: &str, word: &str) -> bool {
    pattern.len() == word.len() && pattern.bytes().zip(word.bytes()).all(|(p, w)| p == w || p == b'.')
}

/// Ownership moves between exactly two nodes.
fn check_owners(entries: &[Entry], draft: &Draft<'_>, findings: &mut Findings) {
    let mut owners: Vec<String> = Vec::new();
    for entry in entries {
        let name = entry.node.text.to_ascii_lowercase();
        if owners.contains(&name) {
            continue;
        }
        if owners.len() == 2 {
            let found =
                format!("{}, a third node beside {} and {}", entry.node.quoted(), quote(&owners[0]), quote(&owners[1]));
            findings.error(entry.node.at, found).expected("two: ownership moves between exactly two nodes");
            return;
        }
        owners.push(name);
    }
    if let ([owner], true) = (owners.as_slice(), draft.nodes.len() > 2) {
        let found = format!("only {}, while ha.cf has {} nodes", quote(owner), draft.nodes.len());
        let finding =
            findings.error(entries[0].node.at, found).expected("two: ownership moves between exactly two nodes");
        finding.hint("give the partner a line with a group of its own, so that it is known");
    }
}

fn group(entry: &Entry) -> Group {
    let words: Vec<&str> = entry.words.iter().map(|word| word.text.as_str()).collect();
    Group {
        node: entry.node.text.to_ascii_lowercase(),
        text: words.join(" "),
        resources: words.iter().map(|word| resource(word)).collect(),
    }
}

/// Splits a word into script and arguments; a bare address is `IPaddr::address` (spec/resources.md 2.2). Empty arguments
/// vanish, as the shell of the original makes them (seen).
fn resource(word: &str) -> Resource {
    let mut parts = word.split("::");
    let script = if is_address(word) { "IPaddr" } else { parts.next().unwrap_or_default() };
    let arguments = parts.filter(|part| !part.is_empty()).map(str::to_owned).collect();
    Resource { word: word.to_owned(), script: script.to_owned(), arguments }
}

/// The shell pattern `[0-9]*.[0-9]*.[0-9]*.[0-9]*`.
fn is_address(word: &str) -> bool {
    let bytes = word.as_bytes();
    let points = bytes.windows(2).filter(|pair| pair[0] == b'.' && pair[1].is_ascii_digit()).count();
    bytes.first().is_some_and(u8::is_ascii_digit) && points >= 3
}

fn check_resource(word: &Word, resource: &Resource, directory: &Path, machine: &dyn Machine, findings: &mut Findings) {
    if resource.script.is_empty() {
        findings.error(word.at, word.quoted()).expected("the name of a script before `::`");
        return;
    }
    if word.text.split("::").skip(1).any(str::is_empty) {
        let found = format!("an empty argument in {}", word.quoted());
        findings.warning(word.at, found).expected("text after each `::`").hint("it is left out, as in Heartbeat");
    }
    check_arguments(word, resource, findings);
    if resource.script == "systemd" && is_built_in(resource, directory, machine) {
        return check_unit(word, resource, machine, findings);
    }
    let agents = agents(resource, machine);
    if let Some(agent) = agents.iter().find(|agent| machine.file(agent) == FileKind::Executable) {
        return warn_of_writers(word, agent, machine, findings);
    }
    if let [first, others @ ..] = agents.as_slice() {
        let nor =
            if others.is_empty() { String::new() } else { format!(", nor with {} other providers", others.len()) };
        let found = format!("OCF agent {}, which does not exist here{nor}", quote(&first.display().to_string()));
        findings.warning(word.at, found).hint("the group cannot be started here");
        return;
    }
    let places =
        [directory.join("resource.d").join(&resource.script), Path::new(INIT_DIRECTORY).join(&resource.script)];
    let kinds = places.each_ref().map(|place| machine.file(place));
    if let Some(place) = kinds.iter().position(|kind| *kind == FileKind::Executable) {
        return warn_of_writers(word, &places[place], machine, findings);
    }
    let script = quote(&resource.script);
    match kinds.iter().position(|kind| *kind == FileKind::Plain) {
        Some(place) => {
            let found = format!("resource script {script}, which is not executable here");
            findings.warning(word.at, found).hint(format!("chmod +x {}", places[place].display()));
        }
        None => {
            let found = format!("resource script {script}, which does not exist here");
            let expected = format!("it in {} or {INIT_DIRECTORY}", directory.join("resource.d").display());
            findings.warning(word.at, found).expected(expected).hint("the group cannot be started here");
        }
    }
}

/// Scripts run as root.
fn warn_of_writers(word: &Word, script: &Path, machine: &dyn Machine, findings: &mut Findings) {
    if machine.is_writable_by_all(script) {
        let found = format!("script {}, which everybody may write", quote(&script.display().to_string()));
        findings.warning(word.at, found).hint(format!("chmod go-w {}", script.display()));
    }
}

/// Whether no script takes the place of what is built in.
fn is_built_in(resource: &Resource, directory: &Path, machine: &dyn Machine) -> bool {
    let places =
        [directory.join("resource.d").join(&resource.script), Path::new(INIT_DIRECTORY).join(&resource.script)];
    !places.iter().any(|place| machine.file(place) == FileKind::Executable)
}

/// `systemd::UNIT`.
fn check_unit(word: &Word, resource: &Resource, machine: &dyn Machine, findings: &mut Findings) {
    let Some(unit) = resource.arguments.first().filter(|unit| is_unit_name(unit) && resource.arguments.len() == 1)
    else {
        findings.error(word.at, word.quoted()).expected("`systemd::UNIT`");
        return;
    };
    if machine.file(Path::new(SYSTEMCTL)) != FileKind::Executable {
        let found = format!("{} without {SYSTEMCTL}", word.quoted());
        findings.warning(word.at, found).hint("the group cannot be started here");
    }
    let name = if unit.contains('.') { unit.clone() } else { format!("{unit}.service") };
    let units = Path::new(UNITS);
    let mut directories = machine.directories(units);
    directories.retain(|directory| directory.ends_with(".wants") || directory.ends_with(".requires"));
    if let Some(wanted_by) =
        directories.iter().find(|by| machine.file(&units.join(by).join(&name)) != FileKind::Missing)
    {
        let found = format!("{}, which is started at boot (by {})", word.quoted(), quote(wanted_by));
        let finding = findings.warning(word.at, found).expected("a unit that nobody else starts");
        finding.hint(format!("systemctl disable {unit}"));
    }
}

/// The files that may be behind `OCF::TYPE::INSTANCE` (of each provider, Heartbeat's own first) and
/// `ocf:PROVIDER:TYPE::…`; none for other resources.
fn agents(resource: &Resource, machine: &dyn Machine) -> Vec<PathBuf> {
    let root = Path::new(OCF_DIRECTORY);
    if resource.script == "OCF" {
        let Some(kind) = resource.arguments.first() else { return Vec::new() };
        let mut providers = machine.directories(root);
        providers.retain(|provider| provider != "heartbeat");
        crate::order::sort(&mut providers, |a, b| a < b);
        providers.insert(0, "heartbeat".to_owned());
        return providers.iter().map(|provider| root.join(provider).join(kind)).collect();
    }
    let direct = resource.script.strip_prefix("ocf:").and_then(|agent| agent.split_once(':'));
    direct.map(|(provider, kind)| root.join(provider).join(kind)).into_iter().collect()
}

/// Arguments that are known to be wrong for the scripts that everybody uses.
fn check_arguments(word: &Word, resource: &Resource, findings: &mut Findings) {
    match (resource.script.as_str(), resource.arguments.as_slice()) {
        ("IPaddr" | "IPaddr2", [first, ..]) => {
            let address = first.split('/').next().unwrap_or_default();
            if address.parse::<std::net::Ipv4Addr>().is_err() {
                let found = format!("{} in {}", quote(address), word.quoted());
                findings.warning(word.at, found).expected("an IPv4 address").hint("the script will refuse it");
            }
        }
        ("IPv6addr", [_, _, ..]) => {
            let hint = "`::` separates arguments: write the address in full, with `0:0`";
            findings.warning(word.at, format!("`::` inside the address of {}", word.quoted())).hint(hint);
        }
        ("IPaddr" | "IPaddr2" | "IPv6addr", []) => {
            findings.warning(word.at, format!("{} without an address", word.quoted())).expected("`::` and an address");
        }
        ("OCF", arguments) if arguments.len() != 2 => {
            findings.warning(word.at, word.quoted()).expected("`OCF::TYPE::INSTANCE`");
        }
        (script, _) if script.starts_with("ocf:") && script.split(':').filter(|part| !part.is_empty()).count() != 3 => {
            findings
                .warning(word.at, word.quoted())
                .expected("`ocf:PROVIDER:TYPE`, then `::name=value` as often as needed");
        }
        _ => {}
    }
}
