//! The files of the services beside the daemon: `apphbd.cf` and `logd.cf`, a directive and a value in each line
//! (spec/api.md 7.3, 8.3). Complaints begin with the original's words, which scripts look for, and end with the place and
//! what was expected.

pub mod apphbd;
pub mod logd;

use std::path::Path;

/// One line that says something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Line<'a> {
    file: &'a Path,
    number: usize,
    /// The directive, and its column.
    word: (&'a str, usize),
    /// What stands behind it, without blanks around it; perhaps nothing. And its column.
    value: (&'a str, usize),
}

impl Line<'_> {
    /// The complaint `what` about the directive.
    fn refuse(&self, what: &str, expected: &str) -> String {
        complaint(what, self.file, self.number, self.word.1, expected)
    }

    /// The same about its value.
    fn refuse_value(&self, what: &str, expected: &str) -> String {
        complaint(what, self.file, self.number, self.value.1, expected)
    }
}

fn complaint(what: &str, file: &Path, number: usize, column: usize, expected: &str) -> String {
    format!("{what}: {}:{number}:{column}: expected {expected}", file.display())
}

/// The lines of a file but for comments and empty ones. Columns count bytes from one.
fn lines<'a>(file: &'a Path, text: &'a str) -> impl Iterator<Item = Line<'a>> {
    text.lines().enumerate().filter_map(move |(index, line)| {
        let word = line.split('#').next().unwrap_or_default().split_whitespace().next()?;
        let column = |part: &str| part.as_ptr().addr() - line.as_ptr().addr() + 1;
        let rest = line.split('#').next().unwrap_or_default();
        let value = rest.trim_start().strip_prefix(word).unwrap_or_default().trim();
        Some(Line { file, number: index + 1, word: (word, column(word)), value: (value, column(value)) })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_have_a_word_a_value_and_places() {
        let file = Path::new("f");
        let text = "# comment\n\n  word  two words  # more\nalone\n#\n";
        let found: Vec<_> = lines(file, text).map(|line| (line.number, line.word, line.value.0)).collect();
        assert_eq!(found, [(3, ("word", 3), "two words"), (4, ("alone", 1), "")]);
        let line = lines(file, "word  value").next().unwrap();
        assert_eq!(line.refuse_value("bad", "good"), "bad: f:1:7: expected good");
    }
}
