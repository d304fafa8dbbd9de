//! Reports as JSON, by the schema of [`crate::daemon::report`].

use std::fmt::Write as _;

use crate::daemon::report::{Kind, Line, Report, SCHEMA, Section, Shape, VERSION};

/// The sections of `report` that are named, as one JSON object with `schema_version` first. Everything in the schema is
/// there; what is not known is `null`.
pub(super) fn object(report: &Report<'_>, names: &[&str]) -> String {
    let mut out = format!("{{\n  \"schema_version\": {VERSION},\n  \"is_truncated\": {}", report.is_truncated);
    for section in SCHEMA.iter().filter(|section| names.contains(&section.name)) {
        let _ = write!(out, ",\n  \"{}\": ", section.name);
        write_section(report, section, &mut out);
    }
    out.push_str("\n}\n");
    out
}

fn write_section(report: &Report<'_>, section: &Section, out: &mut String) {
    match section.shape {
        Shape::One => match report.first(section.kind) {
            Some(line) => fields(line, section, out),
            None => out.push_str("null"),
        },
        Shape::List => items(report, section, '[', ']', out, |line, out| fields(line, section, out)),
        Shape::Map => items(report, section, '{', '}', out, |line, out| {
            string(line.or_dash("name"), out);
            out.push_str(": ");
            value(line.text("value"), Kind::Number, out);
        }),
    }
}

fn items(
    report: &Report<'_>,
    section: &Section,
    open: char,
    close: char,
    out: &mut String,
    mut item: impl FnMut(&Line<'_>, &mut String),
) {
    out.push(open);
    for (at, line) in report.lines(section.kind).enumerate() {
        out.push_str(if at == 0 { "\n    " } else { ",\n    " });
        item(line, out);
    }
    if report.first(section.kind).is_some() {
        out.push_str("\n  ");
    }
    out.push(close);
}

fn fields(line: &Line<'_>, section: &Section, out: &mut String) {
    out.push('{');
    for (at, (name, kind)) in section.fields.iter().enumerate() {
        if at > 0 {
            out.push_str(", ");
        }
        string(name, out);
        out.push_str(": ");
        value(line.text(name), *kind, out);
    }
    out.push('}');
}

fn value(text: Option<&str>, kind: Kind, out: &mut String) {
    match (text, kind) {
        (Some(text), Kind::Text) => string(text, out),
        (Some("1"), Kind::Flag) => out.push_str("true"),
        (Some("0"), Kind::Flag) => out.push_str("false"),
        (Some(text), Kind::Number) if text.parse::<u64>().is_ok() => out.push_str(text),
        (None, _) | (_, Kind::Flag | Kind::Number) => out.push_str("null"),
    }
}

/// A JSON string (RFC 8259 section 7).
fn string(text: &str, out: &mut String) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\0'..='\u{1f}' | '\u{7f}' => {
                let _ = write!(out, "\\u{:04x}", u32::from(character));
            }
            _ => out.push(character),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_escaped() {
        let mut out = String::new();
        string("a\"b\\c/\n\t\r\u{1}\u{7f}ü\u{1f600}", &mut out);
        assert_eq!(out, "\"a\\\"b\\\\c/\\n\\t\\r\\u0001\\u007fü\u{1f600}\"");
    }

    #[test]
    fn an_object_has_every_field_of_its_sections() {
        let text = "report\tversion=1\n\
            alarm\tname=held\ttext=a \"b\"\n\
            counter\tname=late\tvalue=3\ncounter\tname=lost\tvalue=0\n\
            script\tgroup=g\tresource=r\tus=12\nscript\tgroup=g\tresource=s\tus=oops\n";
        let report = Report::parse(text).unwrap();
        let json = object(&report, &["alarms", "counters", "last_move", "last_move_scripts"]);
        let expected = r#"{
  "schema_version": 1,
  "is_truncated": false,
  "alarms": [
    {"name": "held", "subject": null, "text": "a \"b\""}
  ],
  "last_move": null,
  "last_move_scripts": [
    {"group": "g", "resource": "r", "us": 12},
    {"group": "g", "resource": "s", "us": null}
  ],
  "counters": {
    "late": 3,
    "lost": 0
  }
}
"#;
        assert_eq!(json, expected);
    }

    #[test]
    fn empty_lists_are_lists() {
        let report = Report::parse("report\tversion=1\ntruncated\n").unwrap();
        assert_eq!(
            object(&report, &["events"]),
            "{\n  \"schema_version\": 1,\n  \"is_truncated\": true,\n  \"events\": []\n}\n"
        );
    }
}
