//! Directives about clients and Pacemaker (spec/config.md 2.5).

use std::path::Path;

use super::draft::Draft;
use super::finding::{At, quote};
use super::machine::FileKind;
use super::names;
use super::token::Word;
use super::value;
use crate::core::limits::CLIENT_LINES_MAX;

/// Longest user name in `respawn` and `failfast`.
const USER_MAX: usize = 63;
/// Longest name of a client in `apiauth`.
const API_NAME_MAX: usize = 31;
/// What `crm on` would have to do.
const NO_CRM: &str = "with it Heartbeat leaves the groups to Pacemaker, which nullbeat does not start; remove the line to have \
                      nullbeat run the groups of haresources";

/// One line `respawn` or `failfast`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientLine {
    /// Whom it runs as.
    pub user: names::User,
    /// The further groups of that user.
    pub groups: Vec<u32>,
    /// The command as it stands on the line, for the shell.
    pub command: String,
    /// `failfast`: the board is reset when it dies.
    pub is_failfast: bool,
}

impl ClientLine {
    /// The program's path: the first word of the command.
    pub fn program(&self) -> &Path {
        Path::new(self.command.split_ascii_whitespace().next().unwrap_or_default())
    }

    /// Whether it starts Heartbeat's own judge of ping nodes.
    fn is_ipfail(&self) -> bool {
        self.program().file_name().is_some_and(|name| name == "ipfail")
    }

    /// Whether it starts Heartbeat's own membership service.
    fn is_membership(&self) -> bool {
        self.program().file_name().is_some_and(|name| name == "ccm")
    }
}

/// Such a line while ha.cf is read.
#[derive(Debug, Clone)]
pub(super) struct DraftClient {
    pub(super) line: ClientLine,
    user_at: At,
    program_at: At,
}

/// One line `apiauth`: who may sign on to the client interface under that name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiAuth {
    /// Name of the client, `anon` or `default`.
    pub client: String,
    /// Users who may.
    pub uids: Vec<u32>,
    /// Groups whose members may; only the primary group counts.
    pub gids: Vec<u32>,
}

/// `respawn USER /path args…`. Heartbeat's ipfail is started only with `upstream_failover off`: its judgement is built
/// in, and switched on by the line.
pub(super) fn read_respawn(draft: &mut Draft<'_>, words: &[Word]) {
    read_line(draft, words, false);
}

/// `failfast USER /path args…`.
pub(super) fn read_failfast(draft: &mut Draft<'_>, words: &[Word]) {
    read_line(draft, words, true);
}

fn read_line(draft: &mut Draft<'_>, words: &[Word], is_failfast: bool) {
    let (word, at) = draft.here;
    let [user, command @ ..] = words else { return refuse_short(draft, "a user and a program") };
    let [program, ..] = command else { return refuse_short(draft, "a program") };
    if user.text.len() > USER_MAX {
        let found = format!("a user name of {} bytes", user.text.len());
        draft.findings.error(user.at, found).expected(format!("at most {USER_MAX}"));
        return;
    }
    if !program.text.starts_with('/') {
        draft.findings.error(program.at, program.quoted()).expected("the full path of a program");
        return;
    }
    if draft.clients.len() == CLIENT_LINES_MAX {
        let found = format!("a further `{word}`");
        draft
            .findings
            .error(at, found)
            .expected(format!("at most {CLIENT_LINES_MAX} lines of `respawn` and `failfast`"));
        return;
    }
    let unknown = names::User { name: user.text.clone(), uid: u32::MAX, gid: u32::MAX };
    let line = ClientLine { user: unknown, groups: Vec::new(), command: as_written(command), is_failfast };
    draft.clients.push(DraftClient { line, user_at: user.at, program_at: program.at });
}

fn refuse_short(draft: &mut Draft<'_>, missing: &str) {
    let (word, at) = draft.here;
    let found = format!("`{word}` without {missing}");
    draft.findings.error(at, found).expected(format!("`{word} USER /PATH ARGUMENTS`"));
}

/// The words with the blanks that stand between them on the line: the shell may find them within quotes.
fn as_written(words: &[Word]) -> String {
    let mut text = String::new();
    let mut column = words.first().map_or(0, |word| word.at.column);
    for word in words {
        text.extend((column..word.at.column).map(|_| ' '));
        text.push_str(&word.text);
        column = word.at.column.saturating_add(u32::try_from(word.text.chars().count()).unwrap_or(u32::MAX));
    }
    text
}

/// Sense across directives, once all lines are read: of an ipfail line either the program is started or what it does is
/// done here. What is started must be there.
pub(super) fn check(draft: &mut Draft<'_>) {
    let has_ipfail_started = matches!(draft.upstream_failover, Some((false, _)));
    for mut client in std::mem::take(&mut draft.clients) {
        if client.line.is_ipfail() && !has_ipfail_started {
            let found = format!("`respawn` of {}", quote(&client.line.program().to_string_lossy()));
            let hint = "the program is not started: nullbeat judges ping nodes itself, as with `upstream_failover on`";
            draft.findings.note(client.program_at, found).hint(hint);
            draft.ipfail.get_or_insert(client.program_at);
            continue;
        }
        if client.line.is_membership() && matches!(draft.membership, Some((true, _))) {
            let found = format!("`respawn` of {}", quote(&client.line.program().to_string_lossy()));
            let hint = "the program is not started: with `membership on` its service is built in";
            draft.findings.note(client.program_at, found).hint(hint);
            continue;
        }
        look_for(draft, &mut client);
        draft.clients.push(client);
    }
}

/// Finds user and program on this machine. Without one of them Heartbeat does not start either.
fn look_for(draft: &mut Draft<'_>, client: &mut DraftClient) {
    let line = &mut client.line;
    match draft.machine.user(&line.user.name) {
        Some(user) => {
            line.groups = draft.machine.groups_of(&user);
            line.user = user;
        }
        None => {
            let found = format!("{}, who is no user here", quote(&line.user.name));
            draft.missing_here(client.user_at, found).expected("a user name");
        }
    }
    if draft.machine.file(line.program()) != FileKind::Executable {
        let found = format!("{}, which is no executable file here", quote(&line.program().to_string_lossy()));
        draft.missing_here(client.program_at, found).expected("a program");
    }
}

/// `apiauth CLIENT [uid=a,b] [gid=c,d]`.
pub(super) fn read_apiauth(draft: &mut Draft<'_>, words: &[Word]) {
    const EXPECTED: &str = "`apiauth CLIENT [uid=USERS] [gid=GROUPS]`";
    let [client, lists @ ..] = words else {
        draft.findings.error(draft.here.1, "`apiauth` without a client").expected(EXPECTED);
        return;
    };
    if client.text.len() > API_NAME_MAX {
        let found = format!("a client name of {} bytes", client.text.len());
        draft.findings.error(client.at, found).expected(format!("at most {API_NAME_MAX}"));
        return;
    }
    if draft.api_auth.iter().any(|known| known.client == client.text) {
        let found = format!("a second `apiauth` for {}", client.quoted());
        draft.findings.error(client.at, found).expected("one for each client");
        return;
    }
    if lists.is_empty() {
        draft.findings.error(client.at, format!("{} without users and groups", client.quoted())).expected(EXPECTED);
    }
    let mut auth = ApiAuth { client: client.text.clone(), uids: Vec::new(), gids: Vec::new() };
    let mut seen: Vec<&str> = Vec::new();
    for list in lists {
        match list.text.split_once('=') {
            Some((kind @ ("uid" | "gid"), _)) if seen.contains(&kind) => {
                draft.findings.error(list.at, format!("a second `{kind}=`")).expected(EXPECTED);
            }
            Some(("uid", names)) => {
                seen.push("uid");
                auth.uids = numbers(draft, list, names, "user");
            }
            Some(("gid", names)) => {
                seen.push("gid");
                auth.gids = numbers(draft, list, names, "group");
            }
            _ => {
                let finding = draft.findings.error(list.at, list.quoted()).expected(EXPECTED);
                finding.nearest(list.text.split('=').next().unwrap_or_default(), ["uid", "gid"]);
            }
        }
    }
    draft.api_auth.push(auth);
}

fn numbers(draft: &mut Draft<'_>, list: &Word, names: &str, kind: &str) -> Vec<u32> {
    let mut numbers = Vec::new();
    for name in names.split(',').filter(|name| !name.is_empty()) {
        let of_name =
            if kind == "user" { draft.machine.user(name).map(|user| user.uid) } else { draft.machine.group(name) };
        match of_name.or_else(|| name.parse().ok()) {
            Some(number) => numbers.push(number),
            None => {
                let found = format!("{}, which is no {kind} here", quote(name));
                draft.findings.warning(list.at, found).expected(format!("a {kind} name"));
            }
        }
    }
    numbers
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
        return true;
    }
    draft.crm = Some((is_on, word.at));
    if is_on {
        let found = format!("`{} {}`", draft.here.0, word.text);
        draft.findings.error(draft.here.1, found).expected("`off`, or no such line").hint(NO_CRM);
    }
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
