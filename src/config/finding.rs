//! What is wrong or doubtful in a file: collected, never one at a time.

use std::fmt;
use std::path::{Path, PathBuf};

/// Findings kept for one file. What comes after is counted, and said in one last finding.
const FINDINGS_MAX: usize = 200;
/// Characters of a word that a message repeats.
const QUOTE_MAX: usize = 48;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// The daemon does not start with it.
    Error,
    /// It starts, but probably not as meant.
    Warning,
    /// Worth knowing.
    Note,
}

impl Severity {
    /// `error`, `warning`, `note`.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
        }
    }
}

/// A place in a file. Lines and columns count from 1, columns in characters; a byte that is no UTF-8 counts as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct At {
    /// Zero: the file as a whole.
    pub line: u32,
    /// Zero: the line as a whole.
    pub column: u32,
}

impl At {
    /// The file as a whole.
    pub const FILE: Self = Self { line: 0, column: 0 };
}

/// One thing to tell the person who wrote the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How bad.
    pub severity: Severity,
    /// Which file.
    pub file: PathBuf,
    /// Where in it.
    pub at: At,
    /// What stands there.
    pub found: String,
    /// What should stand there; empty where nothing else is expected.
    pub expected: String,
    /// What it leads to or how to mend it; may be empty.
    pub hint: String,
}

impl Finding {
    /// Adds what was expected.
    pub(super) fn expected(&mut self, expected: impl Into<String>) -> &mut Self {
        self.expected = expected.into();
        self
    }

    /// Adds what it leads to or how to mend it.
    pub(super) fn hint(&mut self, hint: impl Into<String>) -> &mut Self {
        self.hint = hint.into();
        self
    }

    /// Adds the nearest of the words that would have been right, unless a hint is there already.
    pub(super) fn nearest<'a>(&mut self, word: &str, known: impl IntoIterator<Item = &'a str>) -> &mut Self {
        if self.hint.is_empty()
            && let Some(near) = nearest(word, known)
        {
            self.hint = format!("did you mean `{near}`?");
        }
        self
    }
}

impl fmt::Display for Finding {
    /// `FILE:LINE:COLUMN: error: found …; expected …; hint`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if self.at.line > 0 {
            write!(f, ":{}", self.at.line)?;
        }
        if self.at.column > 0 {
            write!(f, ":{}", self.at.column)?;
        }
        write!(f, ": {}: found {}", self.severity.word(), self.found)?;
        if !self.expected.is_empty() {
            write!(f, "; expected {}", self.expected)?;
        }
        if !self.hint.is_empty() {
            write!(f, "; {}", self.hint)?;
        }
        Ok(())
    }
}

/// The findings of one file while it is read.
#[derive(Debug)]
pub(super) struct Findings {
    file: PathBuf,
    list: Vec<Finding>,
    /// Where those go that are only counted.
    spare: Finding,
    errors: usize,
    left_out: usize,
    errors_left_out: usize,
}

impl Findings {
    pub(super) fn new(file: &Path) -> Self {
        let spare = Finding {
            severity: Severity::Note,
            file: file.to_owned(),
            at: At::FILE,
            found: String::new(),
            expected: String::new(),
            hint: String::new(),
        };
        Self { file: file.to_owned(), list: Vec::new(), spare, errors: 0, left_out: 0, errors_left_out: 0 }
    }

    /// Notes one; the caller may add to what is returned.
    pub(super) fn add(&mut self, severity: Severity, at: At, found: impl Into<String>) -> &mut Finding {
        let is_error = usize::from(severity == Severity::Error);
        self.errors += is_error;
        if self.list.len() == FINDINGS_MAX {
            self.left_out += 1;
            self.errors_left_out += is_error;
            // A hint stands there already: nobody looks for the nearest word.
            "-".clone_into(&mut self.spare.hint);
            return &mut self.spare;
        }
        self.list.push(Finding {
            severity,
            file: self.file.clone(),
            at,
            found: found.into(),
            expected: String::new(),
            hint: String::new(),
        });
        self.list.last_mut().expect("just pushed")
    }

    pub(super) fn error(&mut self, at: At, found: impl Into<String>) -> &mut Finding {
        self.add(Severity::Error, at, found)
    }

    /// An error that needs no hint.
    pub(super) fn refuse(&mut self, at: At, found: impl Into<String>, expected: impl Into<String>) {
        self.error(at, found).expected(expected);
    }

    pub(super) fn warning(&mut self, at: At, found: impl Into<String>) -> &mut Finding {
        self.add(Severity::Warning, at, found)
    }

    pub(super) fn note(&mut self, at: At, found: impl Into<String>) -> &mut Finding {
        self.add(Severity::Note, at, found)
    }

    /// How many errors so far.
    pub(super) fn errors(&self) -> usize {
        self.errors
    }

    pub(super) fn has_error(&self) -> bool {
        self.errors() > 0
    }

    /// All of them, in the order of the file.
    pub(super) fn into_sorted(mut self) -> Vec<Finding> {
        crate::order::sort(&mut self.list, |a, b| a.at < b.at);
        if self.left_out > 0 {
            let severity = if self.errors_left_out > 0 { Severity::Error } else { Severity::Warning };
            let found =
                format!("{} further findings, {} of them errors, not shown", self.left_out, self.errors_left_out);
            self.list.push(Finding { severity, found, hint: String::new(), expected: String::new(), ..self.spare });
        }
        self.list
    }
}

/// A word as messages show it: in backquotes, control characters spelt out, long ones cut.
pub(super) fn quote(word: &str) -> String {
    let mut shown = String::from("`");
    for (index, character) in word.chars().enumerate() {
        if index == QUOTE_MAX {
            shown.push('…');
            break;
        }
        if character.is_control() || character == '\u{feff}' {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
    }
    shown.push('`');
    shown
}

/// The known word that differs least from `word`, if it differs little.
pub(super) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = Letters::of(word);
    let limit = (word.length / 3).max(1);
    known
        .into_iter()
        .filter_map(|candidate| {
            let letters = Letters::of(candidate);
            let is_possible = letters.length.abs_diff(word.length) <= limit;
            let apart = if is_possible { distance(&word, &letters) } else { usize::MAX };
            (apart <= limit && apart < letters.length).then_some((apart, candidate))
        })
        .min_by_key(|(apart, _)| *apart)
        .map(|(_, candidate)| candidate)
}

/// The first letters of a word, in lower case.
struct Letters {
    letters: [char; QUOTE_MAX],
    length: usize,
}

impl Letters {
    fn of(word: &str) -> Self {
        let mut letters = Self { letters: ['\0'; QUOTE_MAX], length: 0 };
        for (slot, letter) in letters.letters.iter_mut().zip(word.chars()) {
            *slot = letter.to_ascii_lowercase();
            letters.length += 1;
        }
        letters
    }

    fn as_slice(&self) -> &[char] {
        &self.letters[..self.length]
    }
}

/// Letters to insert, remove, replace, or swap with their neighbour.
fn distance(left: &Letters, right: &Letters) -> usize {
    let (left, right) = (left.as_slice(), right.as_slice());
    // Rows of the table: two above, one above, this one.
    let mut before = [0; QUOTE_MAX + 1];
    let mut above: [usize; QUOTE_MAX + 1] = std::array::from_fn(|column| column);
    for (i, a) in left.iter().enumerate() {
        let mut row = [i + 1; QUOTE_MAX + 1];
        for (j, b) in right.iter().enumerate() {
            let mut best = (above[j + 1] + 1).min(row[j] + 1).min(above[j] + usize::from(a != b));
            if i > 0 && j > 0 && *a == right[j - 1] && left[i - 1] == *b {
                best = best.min(before[j - 1] + 1);
            }
            row[j + 1] = best;
        }
        (before, above) = (above, row);
    }
    above[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_word_is_found_and_distant_ones_are_not() {
        let known = ["keepalive", "deadtime", "deadping", "node"];
        assert_eq!(nearest("keepalvie", known), Some("keepalive"));
        assert_eq!(nearest("KEEPALIVE", known), Some("keepalive"));
        assert_eq!(nearest("nod", known), Some("node"));
        assert_eq!(nearest("deadtim", known), Some("deadtime"));
        assert_eq!(nearest("xyz", known), None);
        assert_eq!(nearest("", known), None);
    }

    #[test]
    fn quote_spells_out_control_characters_and_cuts_long_words() {
        assert_eq!(quote("a\0b\u{1b}"), "`a\\u{0}b\\u{1b}`");
        assert_eq!(quote(&"x".repeat(100)), format!("`{}…`", "x".repeat(QUOTE_MAX)));
    }

    #[test]
    fn findings_beyond_the_limit_are_counted_and_keep_their_weight() {
        let mut findings = Findings::new(Path::new("f"));
        for line in 1..=250 {
            findings.warning(At { line, column: 1 }, "x").expected("y").hint("z");
        }
        assert!(!findings.has_error());
        findings.error(At { line: 251, column: 1 }, "x");
        assert!(findings.has_error());
        let list = findings.into_sorted();
        assert_eq!(list.len(), FINDINGS_MAX + 1);
        assert_eq!(list[FINDINGS_MAX].to_string(), "f: error: found 51 further findings, 1 of them errors, not shown");
    }
}
