//! Bytes to lines and words with their places: the one tokenizer of ha.cf, haresources and authkeys.

use super::finding::{At, Findings, quote};
use crate::sys::memory;

/// One word of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Word {
    /// The text; each byte that is no UTF-8 is U+FFFD here.
    pub(super) text: String,
    /// The bytes as they stand in the file.
    pub(super) bytes: Vec<u8>,
    /// Where it begins.
    pub(super) at: At,
    /// The first byte that cannot be meant, and where: NUL, another control character, no UTF-8.
    pub(super) flaw: Option<(u8, At)>,
}

impl Word {
    /// An empty word that begins at `at`, with room for so many bytes: what grows leaves copies, and it may be a key.
    fn starting(at: At, room: usize) -> Self {
        Self { text: String::with_capacity(room), bytes: Vec::with_capacity(room), at, flaw: None }
    }

    /// Overwrites it.
    pub(super) fn wipe(&mut self) {
        memory::wipe(&mut self.bytes);
        memory::wipe(&mut std::mem::take(&mut self.text).into_bytes());
    }

    fn push(&mut self, unit: &Unit) {
        match unit.character {
            Ok(character) => {
                self.text.push(character);
                self.bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                if character.is_ascii_control() {
                    self.flaw.get_or_insert((u8::try_from(u32::from(character)).unwrap_or(0), unit.at));
                }
            }
            Err(byte) => {
                self.text.push(char::REPLACEMENT_CHARACTER);
                self.bytes.push(byte);
                self.flaw.get_or_insert((byte, unit.at));
            }
        }
    }

    /// The parts between commas, without empty ones.
    pub(super) fn split_commas(&self) -> Vec<Self> {
        if !self.text.contains(',') {
            return vec![self.clone()];
        }
        let mut column = self.at.column;
        let mut parts = Vec::new();
        let mut rest = self.bytes.as_slice();
        for text in self.text.split(',') {
            let at = At { line: self.at.line, column };
            let length = rest.iter().position(|byte| *byte == b',').unwrap_or(rest.len());
            let bytes = rest[..length].to_vec();
            rest = rest.get(length + 1..).unwrap_or_default();
            let width = u32::try_from(text.chars().count()).unwrap_or(u32::MAX);
            column = column.saturating_add(width).saturating_add(1);
            let flaw = self.flaw.filter(|(_, flaw)| (at.column..column).contains(&flaw.column));
            if !text.is_empty() {
                parts.push(Self { text: text.to_owned(), bytes, at, flaw });
            }
        }
        parts
    }

    /// As messages show it.
    pub(super) fn quoted(&self) -> String {
        quote(&self.text)
    }

    /// Reports a byte that no value can hold; true when the word is sound.
    pub(super) fn is_sound(&self, findings: &mut Findings) -> bool {
        let Some((byte, at)) = self.flaw else { return true };
        if byte < 0x80 {
            findings.error(at, format!("the control character 0x{byte:02x}")).expected("text");
        } else {
            let hint = "if the file was written in another encoding, `iconv -t UTF-8` converts it";
            findings.error(at, format!("the byte 0x{byte:02x}, which is not UTF-8")).expected("UTF-8 text").hint(hint);
        }
        false
    }
}

/// One character or stray byte.
#[derive(Debug, Clone, Copy)]
struct Unit {
    character: Result<char, u8>,
    at: At,
}

/// The characters of one line with their places; each byte that is no UTF-8 stands alone.
fn units(bytes: &[u8], line: u32) -> impl Iterator<Item = Unit> {
    let mut column = 0;
    bytes
        .utf8_chunks()
        .flat_map(|chunk| chunk.valid().chars().map(Ok).chain(chunk.invalid().iter().copied().map(Err)))
        .map(move |character| {
            column += 1;
            Unit { character, at: At { line, column } }
        })
}

/// Splits physical lines, joined as if nothing stood between them, into words. `pieces` are line numbers and bytes.
pub(super) fn split(pieces: &[(u32, &[u8])], is_separator: fn(char) -> bool) -> Vec<Word> {
    let mut words = Vec::new();
    let mut open: Option<Word> = None;
    let room = pieces.iter().map(|(_, bytes)| bytes.len()).sum();
    for unit in pieces.iter().flat_map(|(line, bytes)| units(bytes, *line)) {
        if unit.character.is_ok_and(is_separator) {
            words.extend(open.take());
        } else {
            open.get_or_insert_with(|| Word::starting(unit.at, room)).push(&unit);
        }
    }
    words.extend(open);
    words
}

/// Blank space of ha.cf and authkeys.
pub(super) fn is_blank(character: char) -> bool {
    matches!(character, ' ' | '\t' | '\r' | '\n' | '\x0c')
}

/// The physical lines of a file with their numbers, without the line feed. A byte order mark is reported and skipped.
pub(super) fn lines<'a>(text: &'a [u8], findings: &mut Findings) -> impl Iterator<Item = (u32, &'a [u8])> {
    let text = match text.strip_prefix(b"\xef\xbb\xbf") {
        Some(rest) => {
            let hint = "save the file as UTF-8 without it";
            findings.error(At { line: 1, column: 1 }, "a byte order mark").expected("text").hint(hint);
            rest
        }
        None => text,
    };
    let body = text.strip_suffix(b"\n").unwrap_or(text);
    (1..).zip(body.split(|byte| *byte == b'\n'))
}

/// The column of the character that begins at byte `offset` of a line.
pub(super) fn column_of(line: &[u8], offset: usize) -> u32 {
    u32::try_from(units(&line[..offset], 0).count()).unwrap_or(u32::MAX).saturating_add(1)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn places(text: &[u8]) -> Vec<(String, u32)> {
        split(&[(1, text)], is_blank).into_iter().map(|word| (word.text, word.at.column)).collect()
    }

    #[test]
    fn columns_count_characters_and_stray_bytes() {
        let found = places("ä\tnode ü".as_bytes());
        assert_eq!(found, [("ä".into(), 1), ("node".into(), 3), ("ü".into(), 8)]);
        let found = places(b"\xe4\xf6 node\xff x");
        assert_eq!(found, [("\u{fffd}\u{fffd}".into(), 1), ("node\u{fffd}".into(), 4), ("x".into(), 10)]);
    }

    #[test]
    fn words_keep_their_bytes_and_first_flaw() {
        let words = split(&[(3, b"a\xe4\0b ok")], is_blank);
        assert_eq!(words[0].bytes, b"a\xe4\0b");
        assert_eq!(words[0].flaw, Some((0xe4, At { line: 3, column: 2 })));
        assert_eq!(words[1].flaw, None);
        let mut findings = Findings::new(Path::new("f"));
        assert!(!words[0].is_sound(&mut findings));
        assert!(words[1].is_sound(&mut findings));
        let list = findings.into_sorted();
        assert_eq!(list.len(), 1);
        assert!(list[0].to_string().starts_with("f:3:2: error: found the byte 0xe4"), "{}", list[0]);
    }

    #[test]
    fn commas_split_with_places_and_without_empty_parts() {
        let words = split(&[(1, "ä,b,,c\u{1},".as_bytes())], is_blank);
        let parts = words[0].split_commas();
        let shown: Vec<_> = parts.iter().map(|part| (part.text.as_str(), part.at.column)).collect();
        assert_eq!(shown, [("ä", 1), ("b", 3), ("c\u{1}", 6)]);
        assert_eq!(parts[0].bytes, "ä".as_bytes());
        assert_eq!(parts[0].flaw, None);
        assert_eq!(parts[2].flaw, Some((1, At { line: 1, column: 7 })));
    }

    #[test]
    fn joined_lines_join_words() {
        let words = split(&[(1, b"a"), (2, b"b c")], is_blank);
        let shown: Vec<_> = words.iter().map(|word| (word.text.as_str(), word.at.line, word.at.column)).collect();
        assert_eq!(shown, [("ab", 1, 1), ("c", 2, 3)]);
    }

    #[test]
    fn lines_are_numbered_and_the_byte_order_mark_is_reported() {
        let mut findings = Findings::new(Path::new("f"));
        let found: Vec<_> = lines(b"\xef\xbb\xbfa\n\nb\n", &mut findings).collect();
        assert_eq!(found, [(1, &b"a"[..]), (2, b""), (3, b"b")]);
        assert!(findings.has_error());
        assert_eq!(column_of("äb".as_bytes(), 2), 2);
    }
}
