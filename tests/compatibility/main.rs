//! docs/compatibility.md against what this run has seen of Heartbeat's packaged programs: the other tests have written it
//! down (`lab::evidence`), so this one is the last, and only `tests/run` starts it.
//!
//! `COMPATIBILITY=write tests/run test compatibility` writes the page anew.

#[path = "../lab/evidence.rs"]
#[expect(dead_code, reason = "the other tests write")]
mod evidence;
mod inventory;

use inventory::Evidence;

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/compatibility.md");

/// Files of evidence whose names begin so, in order.
fn read_all(kind: &str) -> Vec<(String, String)> {
    let Ok(entries) = std::fs::read_dir(evidence::directory()) else { return Vec::new() };
    let mut all: Vec<(String, String)> = entries
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().to_string_lossy().strip_prefix(kind)?.to_owned();
            Some((name, std::fs::read_to_string(entry.path()).expect("UTF-8")))
        })
        .collect();
    all.sort();
    all
}

/// What stands before a section of the page, in it, behind it.
fn split<'p>(page: &'p str, name: &str) -> [&'p str; 3] {
    let (begin, end) = (format!("<!-- {name} -->\n"), format!("<!-- end of {name} -->"));
    let at = page.find(&begin).unwrap_or_else(|| panic!("{PAGE} has no section {name}")) + begin.len();
    let len = page[at..].find(&end).unwrap_or_else(|| panic!("{PAGE}: section {name} does not end"));
    [&page[..at], &page[at..at + len], &page[at + len..]]
}

fn with_section(page: &str, name: &str, rows: &str) -> String {
    let [before, _, behind] = split(page, name);
    [before, rows, behind].concat()
}

#[test]
fn page_says_what_this_run_has_seen() {
    inventory::check_plumbing();
    let there = std::fs::read_to_string(PAGE).expect("docs/compatibility.md");
    let seen: Vec<Evidence> = read_all("program").iter().map(|(_, text)| Evidence::read(text)).collect();
    let page = inventory::page(&seen);
    let sections = read_all("section-");
    let command = "run `tests/run test compatibility`, or the tests that tests/compatibility/inventory.rs names";
    assert!(page.unseen.is_empty(), "no test of this run has seen {:?}: {command}", page.unseen);
    assert_eq!(sections.len(), 1, "the table of cl_status was not seen: {command}");
    let is_of = |row: &str, programs: &[&str]| programs.iter().any(|name| row.starts_with(&format!("| `{name}` |")));
    let old = split(&there, "programs")[1].split_inclusive('\n');
    let left: Vec<&str> = old.filter(|row| is_of(row, &page.left)).collect();
    let mut rows: Vec<&str> = page.rows.iter().map(String::as_str).chain(left).collect();
    rows.sort_unstable();
    let mut now = with_section(&there, "programs", &rows.concat());
    for (name, rows) in &sections {
        now = with_section(&now, name, rows);
    }
    if std::env::var_os("COMPATIBILITY").is_some_and(|word| word == "write") {
        std::fs::write(PAGE, &now).expect("docs/compatibility.md");
    }
    let differing = differences(&std::fs::read_to_string(PAGE).expect("docs/compatibility.md"), &now);
    assert!(differing.is_empty(), "{PAGE} is not what was seen:\n{}", differing.join("\n"));
    assert!(!now.contains(" | ✘ |"), "something was seen that was not expected");
}

/// Lines that only one of them has.
fn differences(there: &str, now: &str) -> Vec<String> {
    let only = |sign: char, one: &str, other: &str| -> Vec<String> {
        let others: std::collections::BTreeSet<&str> = other.lines().collect();
        one.lines().filter(|line| !others.contains(line)).map(|line| format!("{sign} {line}")).collect()
    };
    [only('-', there, now), only('+', now, there)].concat()
}
