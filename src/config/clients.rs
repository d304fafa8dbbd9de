//! Directives about clients and Pacemaker (spec/config.md 2.5): checked, though nothing comes of them yet.

use std::path::Path;

use super::draft::Draft;
use super::machine::FileKind;
use super::token::Word;
use super::value;

/// Longest user name in `respawn` and `failfast`.
const USER_MAX: usize = 63;
/// What `crm on` leads to.
pub(super) const NO_CRM: &str = "no Pacemaker is started; the groups are managed here, from haresources";
/// Values of `crm` which ask for what happens anyway.
pub(super) const CRM_OFF: &[&str] = &["false", "off", "no", "n", "0"];

/// `respawn USER /path args…`. Heartbeat's ipfail is not started: its judgement is built in, and switched on by the line.
pub(super) fn read_respawn(draft: &mut Draft<'_>, words: &[Word]) {
    let is_ipfail = |program: &Word| Path::new(&program.text).file_name().is_some_and(|name| name == "ipfail");
    if let [_, program, ..] = words
        && program.text.starts_with('/')
        && is_ipfail(program)
    {
        draft.ipfail = Some(program.at);
        let note = draft.findings.note(program.at, format!("`respawn` of {}", program.quoted()));
        note.hint("the program is not started: nullbeat judges ping nodes itself, as with `upstream_failover on`");
        return;
    }
    let errors = draft.findings.errors();
    read_failfast(draft, words);
    if draft.findings.errors() == errors {
        let finding = draft.findings.warning(draft.here.1, "`respawn`, which has no effect yet");
        finding.hint("the program is not started");
    }
}

/// `failfast USER /path args…`.
pub(super) fn read_failfast(draft: &mut Draft<'_>, words: &[Word]) {
    let (word, at) = draft.here;
    let [user, program, ..] = words else {
        let found = if words.is_empty() { "a user and a program" } else { "a program" };
        draft
            .findings
            .error(at, format!("`{word}` without {found}"))
            .expected(format!("`{word} USER /PATH ARGUMENTS`"));
        return;
    };
    if user.text.len() > USER_MAX {
        let found = format!("a user name of {} bytes", user.text.len());
        draft.findings.error(user.at, found).expected(format!("at most {USER_MAX}"));
    } else if !draft.machine.has_user(&user.text) {
        let found = format!("{}, who is no user here", user.quoted());
        draft.findings.warning(user.at, found).expected("a user name");
    }
    if !program.text.starts_with('/') {
        draft.findings.error(program.at, program.quoted()).expected("the full path of a program");
    } else if draft.machine.file(Path::new(&program.text)) != FileKind::Executable {
        let found = format!("{}, which is no executable file here", program.quoted());
        draft.findings.warning(program.at, found).expected("a program");
    }
}

/// `apiauth CLIENT [uid=a,b] [gid=c,d]`.
pub(super) fn read_apiauth(draft: &mut Draft<'_>, words: &[Word]) {
    const EXPECTED: &str = "`apiauth CLIENT [uid=USERS] [gid=GROUPS]`";
    let [client, lists @ ..] = words else {
        draft.findings.error(draft.here.1, "`apiauth` without a client").expected(EXPECTED);
        return;
    };
    if draft.api_clients.contains(&client.text) {
        let found = format!("a second `apiauth` for {}", client.quoted());
        draft.findings.error(client.at, found).expected("one for each client");
    } else {
        draft.api_clients.push(client.text.clone());
    }
    for list in lists {
        match list.text.split_once('=') {
            Some(("uid", names)) => look_for_names(draft, list, names, "user"),
            Some(("gid", names)) => look_for_names(draft, list, names, "group"),
            _ => {
                let finding = draft.findings.error(list.at, list.quoted()).expected(EXPECTED);
                finding.nearest(list.text.split('=').next().unwrap_or_default(), ["uid", "gid"]);
            }
        }
    }
}

fn look_for_names(draft: &mut Draft<'_>, list: &Word, names: &str, kind: &str) {
    for name in names.split(',').filter(|name| !name.is_empty()) {
        let is_known = name.bytes().all(|byte| byte.is_ascii_digit())
            || if kind == "user" { draft.machine.has_user(name) } else { draft.machine.has_group(name) };
        if !is_known {
            let found = format!("{}, which is no {kind} here", super::finding::quote(name));
            draft.findings.warning(list.at, found).expected(format!("a {kind} name"));
        }
    }
}

/// `crm`, `pacemaker`. They are one directive: both together are two.
pub(super) fn read_crm(draft: &mut Draft<'_>, word: &Word) -> bool {
    let is_on = match value::boolean(&word.text) {
        Some(is_on) => is_on,
        None if matches!(word.text.as_str(), "minimal" | "manual" | "respawn" | "ccm-only" | "valgrind") => true,
        None => {
            let known =
                ["on", "off", "yes", "no", "true", "false", "minimal", "manual", "respawn", "ccm-only", "valgrind"];
            let finding = draft.findings.error(word.at, word.quoted());
            finding.expected("`on`, `off`, `respawn`, `minimal` or `manual`").nearest(&word.text, known);
            return false;
        }
    };
    if let Some((_, before)) = draft.crm
        && before.line != word.at.line
    {
        let found = format!("`{}` beside an earlier `crm` or `pacemaker`", draft.here.0);
        draft.findings.error(draft.here.1, found).expected(format!("only the one in line {}", before.line));
    }
    draft.crm = Some((is_on, word.at));
    true
}

/// `crm_daemon_dir`, `crmd_spawns_pengine`: only above `crm`.
pub(super) fn read_before_crm(draft: &mut Draft<'_>, word: &Word) -> bool {
    if let Some((_, before)) = draft.crm {
        let found = format!("`{}` below `crm` or `pacemaker`", draft.here.0);
        draft.findings.error(draft.here.1, found).expected(format!("it above line {}", before.line));
    }
    match draft.here.0 {
        "crmd_spawns_pengine" => draft.boolean(word, |draft| &mut draft.unused_bool),
        _ => draft.path(word, |draft| &mut draft.unused_text),
    }
}
