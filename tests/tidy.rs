//! House rules that no linter knows (style.md, design.md section 4).

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All files below a directory of the package, with their paths from its root.
fn files(directory: &str) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut left = vec![root().join(directory)];
    while let Some(path) = left.pop() {
        for entry in fs::read_dir(&path).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                left.push(path);
            } else if let Ok(text) = fs::read_to_string(&path) {
                found.push((path.strip_prefix(root()).unwrap().to_owned(), text));
            }
        }
    }
    assert!(!found.is_empty(), "{directory} is empty");
    found
}

/// Lines of code with their numbers: no comments, nothing from `#[cfg(test)]` on, which is the end of a file here.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = text.lines().enumerate().map(|(index, line)| (index + 1, line));
    let code = lines.take_while(|(_, line)| line.trim() != "#[cfg(test)]");
    code.map(|(number, line)| (number, line.split("//").next().unwrap_or(line)))
}

/// Whether `word` stands in `line` as a word of its own.
fn has_word(line: &str, word: &str) -> bool {
    let is_part = |character: char| character.is_alphanumeric() || character == '_';
    line.match_indices(word).any(|(at, _)| {
        !line[..at].chars().next_back().is_some_and(is_part)
            && !line[at + word.len()..].chars().next().is_some_and(is_part)
    })
}

/// Whether the file holds tests only.
fn is_test(path: &Path) -> bool {
    path.components().any(|part| part.as_os_str() == "tests" || part.as_os_str() == "tests.rs")
}

/// Every place in `directory` where the rule is broken, tests left out.
fn offences(directory: &str, is_offence: impl Fn(&Path, &str) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    let is_source = |path: &Path| path.extension().is_some_and(|kind| kind == "rs") && !is_test(path);
    for (path, text) in files(directory).iter().filter(|(path, _)| is_source(path)) {
        for (number, line) in code(text) {
            if is_offence(path, line) {
                found.push(format!("{}:{number}: {}", path.display(), line.trim()));
            }
        }
    }
    found
}

fn none(offences: &[String], rule: &str) {
    assert!(offences.is_empty(), "{rule}:\n{}", offences.join("\n"));
}

#[test]
fn words_are_found_as_words() {
    assert!(has_word("let x = unsafe { y };", "unsafe"));
    assert!(!has_word("#![expect(unsafe_code)]", "unsafe"));
    assert_eq!(code("a // b\n//c\n#[cfg(test)]\nd").collect::<Vec<_>>(), [(1, "a "), (2, "")]);
}

#[test]
fn unsafe_lives_in_one_room() {
    let found = offences("src", |path, line| has_word(line, "unsafe") && !path.starts_with("src/sys"));
    none(&found, "`unsafe` outside src/sys");
}

#[test]
fn the_board_is_reset_in_one_place() {
    let found = offences("src", |path, line| {
        path != Path::new("src/daemon/reset.rs")
            && ["reboot(", "reboot::", "RB_", "sysrq-trigger"].iter().any(|word| line.contains(word))
    });
    none(&found, "a reset outside src/daemon/reset.rs");
}

#[test]
fn the_core_knows_no_world() {
    let crates = ["std", "alloc", "nix", "serialport", "env_logger", "base64", "crc", "hmac", "md5", "sha1"];
    let found = offences("src/core", |_, line| {
        let is_foreign = crates.iter().any(|name| has_word(line, name) && line.contains(&format!("{name}::")));
        is_foreign || (line.contains("crate::") && !line.contains("crate::core"))
    });
    none(&found, "src/core uses more than core, heapless and log");
}

#[test]
fn the_daemon_has_no_threads() {
    for room in ["src/api", "src/daemon", "src/guardian", "src/links", "src/sys"] {
        let found = offences(room, |_, line| line.contains("thread::spawn") || line.contains("use std::thread"));
        none(&found, "a thread");
    }
}

#[test]
fn nobody_below_the_daemon_uses_it() {
    for room in ["src/api", "src/core", "src/wire", "src/config", "src/links", "src/guardian", "src/sys"] {
        let found = offences(room, |_, line| line.contains("crate::daemon"));
        none(&found, "a lower room uses the daemon's");
    }
}

#[test]
fn no_test_can_reset_this_machine() {
    let own = Path::new("tests/tidy.rs");
    // In tests/vm it is QEMU's machine that the daemon resets.
    let is_here = |path: &Path| path != own && !path.starts_with("tests/vm");
    for (path, text) in files("tests").iter().filter(|(path, _)| is_here(path)) {
        let starts_daemons = text.contains("CARGO_BIN_EXE_nullbeat") || text.contains("nullbeat run");
        if starts_daemons && text.contains("deadtime") {
            assert!(text.contains("reset_with hook"), "{} starts daemons without `reset_with hook`", path.display());
        }
    }
}

/// Words in backquotes that could be the name of a test.
fn test_names(cell: &str) -> Vec<&str> {
    let quoted = cell.split('`').skip(1).step_by(2);
    let is_name = |word: &&str| {
        word.matches('_').count() >= 2 && word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
    };
    quoted.filter(is_name).collect()
}

/// Rows of the tables whose last column is the test that shows the row; the cells of each.
fn rows_with_tests(page: &str) -> Vec<Vec<&str>> {
    let mut rows = Vec::new();
    let mut is_inside = false;
    for line in page.lines() {
        let Some(row) = line.strip_prefix('|').and_then(|line| line.strip_suffix('|')) else {
            is_inside = false;
            continue;
        };
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        match cells.last() {
            Some(&"test") => is_inside = true,
            Some(cell) if is_inside && !cell.starts_with("---") => rows.push(cells),
            _ => {}
        }
    }
    rows
}

#[test]
fn every_row_about_a_fault_names_a_test_that_there_is() {
    let sources = [files("tests"), files("src")].concat();
    let has = |name: &str| {
        sources.iter().any(|(_, text)| {
            text.match_indices("#[test]\n").any(|(at, mark)| {
                text[at + mark.len()..]
                    .lines()
                    .find(|line| !line.trim_start().starts_with("#["))
                    .is_some_and(|line| line.trim_start().starts_with(&format!("fn {name}(")))
            })
        })
    };
    for (page, least) in [("wiring", 12), ("guarding", 30), ("watchdog", 7)] {
        let text = fs::read_to_string(root().join(format!("docs/{page}.md"))).unwrap();
        let rows = rows_with_tests(&text);
        assert!(rows.len() >= least, "{page}.md: {} rows", rows.len());
        let mut above: Vec<&str> = Vec::new();
        for row in rows {
            let cell = row.last().copied().unwrap_or_default();
            let named = if cell == "the same" { above } else { test_names(cell) };
            assert!(!named.is_empty(), "{page}.md: no test in the row {row:?}");
            let missing: Vec<&&str> = named.iter().filter(|name| !has(name)).collect();
            assert!(missing.is_empty(), "{page}.md: no test {missing:?} of the row {row:?}");
            above = named;
        }
    }
}
