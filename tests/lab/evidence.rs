//! What tests have seen of Heartbeat's packaged programs. Each writes it down; `tests/run` compares all of it with
//! docs/compatibility.md, which is made of nothing else.

use std::path::PathBuf;

/// Where it stands.
pub(crate) fn directory() -> PathBuf {
    std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("compatibility")
}

fn write(name: &str, text: &str) {
    let directory = directory();
    std::fs::create_dir_all(&directory).expect("the folder of what is seen");
    std::fs::write(directory.join(name), text).expect("what is seen");
}

/// In a cell of a table: ⏎ ends a line, → is a tabulator.
pub(crate) fn cell(text: &str) -> String {
    text.trim_end_matches('\n').replace('\n', "⏎").replace('\t', "→").replace('|', "\\|")
}

/// What was expected of a program in this situation, and what was seen: written down, then compared.
#[track_caller]
pub(crate) fn saw(program: &str, what: &str, expected: &str, seen: &str) {
    let name: String = format!("{program} {what}").chars().map(|c| if c.is_alphanumeric() { c } else { '-' }).collect();
    let (expected, seen) = (cell(expected), cell(seen));
    write(&format!("program{name}"), &format!("{program}\n{what}\n{expected}\n{seen}\n"));
    assert_eq!(seen, expected, "{program}, {what}");
}

/// The same of a text in which all these parts are looked for.
#[track_caller]
pub(crate) fn saw_parts(program: &str, what: &str, parts: &[&str], text: &str) {
    let found: Vec<&str> = parts.iter().copied().filter(|part| text.contains(part)).collect();
    saw(program, what, &parts.join("\n"), &found.join("\n"));
}

/// A whole section of the page, by its name.
pub(crate) fn saw_section(name: &str, rows: &[String]) {
    write(&format!("section-{name}"), &rows.concat());
}
