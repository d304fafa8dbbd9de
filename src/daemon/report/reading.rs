//! The reader's side of a report.

use std::fmt;

use super::VERSION;

/// A report that is not one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BadReport {
    /// Its first line is not `report version=…`.
    NoVersion,
    /// It is of a version that this program does not know.
    Version(u32),
    /// A line is not made of `name=value`, counted from 1.
    Line(usize),
}

impl fmt::Display for BadReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoVersion => f.write_str("the daemon's report has no version line"),
            Self::Version(found) => write!(f, "the daemon's report has version {found}, this program knows {VERSION}"),
            Self::Line(line) => write!(f, "line {line} of the daemon's report makes no sense"),
        }
    }
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line<'a> {
    /// What it is about.
    pub kind: &'a str,
    fields: Vec<(&'a str, &'a str)>,
}

impl<'a> Line<'a> {
    /// A value, when it is known.
    pub fn text(&self, name: &str) -> Option<&'a str> {
        self.fields.iter().find(|(field, _)| *field == name).map(|(_, value)| *value)
    }

    /// A value, `-` when it is not known.
    pub fn or_dash(&self, name: &str) -> &'a str {
        self.text(name).unwrap_or("-")
    }

    /// A number, when it is known.
    pub fn number(&self, name: &str) -> Option<u64> {
        self.text(name)?.parse().ok()
    }

    /// Whether a flag is known and set.
    pub fn is_set(&self, name: &str) -> bool {
        self.text(name) == Some("1")
    }
}

/// A whole report.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report<'a> {
    lines: Vec<Line<'a>>,
    /// The daemon had more to say than fits into an answer.
    pub is_truncated: bool,
}

impl<'a> Report<'a> {
    /// Takes a report apart.
    ///
    /// # Errors
    /// See [`BadReport`].
    pub fn parse(text: &'a str) -> Result<Self, BadReport> {
        let mut report = Self { lines: Vec::new(), is_truncated: false };
        for (at, line) in text.lines().enumerate() {
            if line == "truncated" {
                report.is_truncated = true;
                continue;
            }
            let mut parts = line.split('\t');
            let kind = parts.next().unwrap_or_default();
            let fields = parts.map(|part| part.split_once('=')).collect::<Option<_>>();
            report.lines.push(Line { kind, fields: fields.ok_or(BadReport::Line(at + 1))? });
        }
        let version = report.first("report").and_then(|line| line.number("version")).ok_or(BadReport::NoVersion)?;
        if version == u64::from(VERSION) {
            Ok(report)
        } else {
            Err(BadReport::Version(u32::try_from(version).unwrap_or(u32::MAX)))
        }
    }

    /// The lines of one kind.
    pub fn lines<'s>(&'s self, kind: &'s str) -> impl Iterator<Item = &'s Line<'a>> {
        self.lines.iter().filter(move |line| line.kind == kind)
    }

    /// The first line of a kind.
    pub fn first(&self, kind: &str) -> Option<&Line<'a>> {
        self.lines.iter().find(|line| line.kind == kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_fields_and_the_unknown() {
        let report =
            Report::parse("report\tversion=1\nnode\tname=rsa\tis_held=1\tnew=a=b\nfuture\tx=1\ntruncated\n").unwrap();
        let node = report.first("node").unwrap();
        assert_eq!((node.text("name"), node.text("new"), node.or_dash("uuid")), (Some("rsa"), Some("a=b"), "-"));
        assert!(node.is_set("is_held") && !node.is_set("is_settled") && report.is_truncated);
        assert_eq!(node.number("name"), None);
        assert_eq!(report.lines("future").count(), 1);
    }

    #[test]
    fn what_is_no_report_is_refused() {
        assert_eq!(Report::parse(""), Err(BadReport::NoVersion));
        assert_eq!(Report::parse("node\tname=x\n"), Err(BadReport::NoVersion));
        assert_eq!(Report::parse("report\tversion=2\n"), Err(BadReport::Version(2)));
        assert_eq!(Report::parse("report\tversion=1\nnode\tname\n"), Err(BadReport::Line(2)));
    }
}
