//! authkeys: which keys exist and which one signs (spec/config.md section 3).
//!
//! No word of the file but numbers is repeated in a finding: where the method was forgotten it would be the key.

use super::finding::{At, Findings};
use super::load::warn_of_writers;
use super::token::{self, Word, is_blank};
use super::{AuthKey, AuthMethod, TextFile};

/// Highest key number.
const NUMBER_MAX: u8 = 15;
/// Shorter keys, bytes, can be found by trying.
const KEY_MIN: usize = 16;
/// Bits of the file mode that give the keys away.
const READABLE_BY_OTHERS: u32 = 0o044;
/// Bits by which a group may replace them; those for everybody are looked at for each file.
const WRITABLE_BY_GROUP: u32 = 0o020;

/// What the file says: all keys, and the number of the one that signs.
pub(super) struct Keys {
    pub(super) keys: Vec<AuthKey>,
    pub(super) signing: u8,
    /// Where the signing key was selected.
    pub(super) at: At,
}

/// Words that are overwritten when they are dropped.
struct Secret(Vec<Word>);

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.iter_mut().for_each(Word::wipe);
    }
}

/// Reads authkeys; `None` when findings forbid to use it.
pub(super) fn read(text: &TextFile, findings: &mut Findings) -> Option<Keys> {
    check_mode(text, findings);
    let mut keys: Vec<AuthKey> = Vec::new();
    // A later `auth` line selects only what follows it.
    let mut selected: Option<(u8, At)> = None;
    let mut is_found = false;
    let mut is_refused = false;
    let lines: Vec<(u32, &[u8])> = token::lines(&text.bytes, findings).collect();
    for (number, line) in lines {
        let words = Secret(token::split(&[(number, line)], is_blank));
        let words = &words.0;
        let Some(first) = words.first() else { continue };
        if first.text.starts_with('#') {
            continue;
        }
        if first.text.starts_with('a') {
            match read_auth(words, findings) {
                Some(number) => (selected, is_found) = (Some((number, first.at)), false),
                None => is_refused = true,
            }
            continue;
        }
        let Some(key) = read_key(words, findings) else {
            is_refused = true;
            continue;
        };
        is_found |= selected.is_some_and(|(number, _)| number == key.number);
        if keys.iter().any(|known| known.number == key.number) {
            let finding = findings.warning(first.at, format!("key {} a second time", key.number));
            finding.expected("each number once").hint("the last one counts");
            keys.retain(|known| known.number != key.number);
        }
        keys.push(key);
    }
    // A line that was refused may be the one that is missing.
    if !is_found && !is_refused {
        tell_missing(selected, &keys, findings);
    }
    let (signing, at) = selected.filter(|_| is_found)?;
    (!findings.has_error()).then_some(Keys { keys, signing, at })
}

fn check_mode(text: &TextFile, findings: &mut Findings) {
    if text.mode & 0o002 == 0 {
        warn_of_writers(text, WRITABLE_BY_GROUP, findings);
    }
    if text.mode & READABLE_BY_OTHERS != 0 {
        let found = format!("a file that others may read (mode {:04o})", text.mode & 0o7777);
        let hint = format!("chmod 600 {}", text.path.display());
        findings.error(At::FILE, found).expected("mode 0600").hint(hint);
    }
}

fn tell_missing(selected: Option<(u8, At)>, keys: &[AuthKey], findings: &mut Findings) {
    match selected {
        None => {
            findings.error(At::FILE, "no `auth` line").expected("a line `auth N` above the key N that signs");
        }
        Some((number, at)) => {
            let finding = findings
                .error(at, format!("`auth {number}`"))
                .expected(format!("a line `{number} METHOD KEY` below it"));
            if keys.iter().any(|key| key.number == number) {
                finding.hint("the `auth` line has to stand above the key that it selects");
            } else if let [key] = keys {
                finding.hint(format!("the only key is number {}", key.number));
            }
        }
    }
}

/// `auth N`: any line that begins with `a` is taken as this.
fn read_auth(words: &[Word], findings: &mut Findings) -> Option<u8> {
    let first = &words[0];
    if first.text != "auth" {
        let finding = findings.error(first.at, "an unknown word").expected("`auth N` or `N METHOD KEY`");
        finding.nearest(&first.text, ["auth"]);
        return None;
    }
    let Some(word) = words.get(1) else {
        findings.error(first.at, "`auth` without a number").expected("`auth N`");
        return None;
    };
    let number = number(word, findings)?;
    ignore_rest(words.get(2), findings);
    Some(number)
}

/// `N METHOD [KEY]`.
fn read_key(words: &[Word], findings: &mut Findings) -> Option<AuthKey> {
    let first = &words[0];
    let [_, method, rest @ ..] = words else {
        findings.error(first.at, "a line of one word").expected("`auth N` or `N METHOD KEY`");
        return None;
    };
    if !first.text.bytes().all(|byte| byte.is_ascii_digit()) {
        let finding = findings.error(first.at, "an unknown word").expected("`auth N` or `N METHOD KEY`");
        finding.nearest(&first.text, ["auth"]);
        return None;
    }
    let number = number(first, findings)?;
    let kind = match method.text.as_str() {
        "crc" => AuthMethod::Crc,
        "md5" => AuthMethod::Md5,
        "sha1" => AuthMethod::Sha1,
        _ => {
            let finding = findings.error(method.at, "an unknown method").expected("`crc`, `md5` or `sha1`");
            finding.nearest(&method.text, ["crc", "md5", "sha1"]);
            return None;
        }
    };
    let key = match (kind, rest) {
        (AuthMethod::Crc, []) => Vec::new(),
        (AuthMethod::Crc, [remark, ..]) => {
            findings.error(remark.at, "a key for `crc`").expected("`crc` alone, or `sha1` before the key");
            return None;
        }
        (_, []) => {
            let found = format!("`{}` without a key", method.text);
            findings.error(method.at, found).expected(format!("`{number} {} KEY`", method.text));
            return None;
        }
        (_, [key, rest @ ..]) => {
            ignore_rest(rest.first(), findings);
            key.bytes.clone()
        }
    };
    if key.contains(&0) {
        findings.error(rest[0].at, "a NUL byte in a key").expected("text");
        return None;
    }
    if kind != AuthMethod::Crc && key.len() < KEY_MIN {
        // Whoever has heard one packet tries keys at home, millions in a second.
        let finding = findings.warning(rest[0].at, format!("a key of {} bytes", key.len()));
        finding.expected(format!("{KEY_MIN} or more")).hint("`head -c 24 /dev/urandom | base64` makes a good one");
    }
    Some(AuthKey { number, method: kind, key })
}

fn number(word: &Word, findings: &mut Findings) -> Option<u8> {
    let number = word.text.parse().ok().filter(|number| *number <= NUMBER_MAX);
    if number.is_none() {
        let is_number = word.text.bytes().all(|byte| byte.is_ascii_digit());
        let found = if is_number { word.quoted() } else { "a word that is no number".to_owned() };
        findings.error(word.at, found).expected(format!("a key number from 0 to {NUMBER_MAX}"));
    }
    number
}

/// Further words are ignored as in Heartbeat; a key cannot contain a blank, which surprises.
fn ignore_rest(word: Option<&Word>, findings: &mut Findings) {
    if let Some(word) = word.filter(|word| !word.text.starts_with('#')) {
        let finding =
            findings.warning(word.at, "a further word").expected("nothing more, as a key ends at the first blank");
        finding.hint("it is ignored");
    }
}
