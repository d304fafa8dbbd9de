//! The documents are true: examples pass the real check, verbs, directives and tests that they name exist, and none is
//! left out. No daemon is started, so the examples go without `reset_with hook`.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

const NULLBEAT: &str = env!("CARGO_BIN_EXE_nullbeat");

/// The words of Heartbeat 3.0.6 (spec/config.md 2, "complete list").
const HEARTBEAT: &str = "cluster node hopfudge keepalive deadtime deadping initdead warntime watchdog baud udpport \
    logfacility logfile debugfile nice_failback auto_failback rtprio hbgenmethod realtime debug msgfmt use_logd \
    conn_logd_time use_apphbd log_badpack syslogmsgfmt coredumps coreroot crm_daemon_dir crmd_spawns_pengine crm pacemaker \
    autojoin uuidfrom compression compression_threshold traditional_compression env max_rexmit_delay \
    record_config_changes record_pengine_inputs enable_config_writes memreserve quorum_server stonith stonith_host apiauth \
    respawn failfast udp serial bcast mcast mcast6 ucast ucast6 ping ping6 ping_group";

/// What a check may warn of on a machine that is not the board.
const MISSING_HERE: [&str; 2] = ["which is no network interface here", "which does not exist here"];

fn text(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The fenced blocks of a page that are of this kind.
fn blocks(page: &str, kind: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        if let Some(word) = line.strip_prefix("```") {
            let block: String =
                lines.by_ref().take_while(|line| *line != "```").map(|line| format!("{line}\n")).collect();
            if word == kind {
                found.push(block);
            }
        }
    }
    found
}

/// The words between back quotes or, on man pages, behind `.Ic` and `.Cm`, whose characters are those of a name.
fn names(page: &str) -> BTreeSet<&str> {
    let is_part = |character: char| character.is_ascii_alphanumeric() || character == '_' || character == '.';
    page.split(|character| !is_part(character)).filter(|word| !word.is_empty()).collect()
}

/// A configuration directory, removed at the end.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let directory = Self(std::env::temp_dir().join(format!("nullbeat-readme-{}-{name}", std::process::id())));
        let scripts = directory.0.join("resource.d");
        fs::create_dir_all(&scripts).expect("a temporary directory");
        let dist = Path::new(env!("CARGO_MANIFEST_DIR")).join("dist/resource.d");
        for script in fs::read_dir(dist).expect("dist/resource.d") {
            let script = script.expect("an entry");
            fs::copy(script.path(), scripts.join(script.file_name())).expect("copied");
        }
        directory
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.0.join(name);
        fs::write(&path, text).expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("mode");
    }

    /// The findings, without what only this machine lacks.
    fn findings(&self, node: &str) -> (Vec<String>, Option<i32>) {
        let output = Command::new(NULLBEAT)
            .args(["check", "--strict", "--node", node, "--config-dir"])
            .arg(&self.0)
            .output()
            .expect("nullbeat runs");
        let said = String::from_utf8(output.stdout).expect("UTF-8");
        let (findings, meaning) = said.split_once("\n\n").expect("findings, then the meaning");
        assert!(meaning.contains("the configuration can be used"), "{said}");
        let is_of_the_files = |line: &&str| !MISSING_HERE.iter().any(|text| line.contains(text));
        let left = findings.lines().filter(is_of_the_files).map(str::to_owned).collect();
        (left, output.status.code())
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The one example of this file in README.
fn example(name: &str) -> String {
    let [example] = blocks(&text("README.md"), name).try_into().expect("one example of each file");
    example
}

/// Nothing is wrong or doubtful in the example as it stands on both nodes.
fn assert_sound(directory: &Directory) {
    for node in ["alpha", "beta"] {
        let (findings, code) = directory.findings(node);
        let bad: Vec<&String> = findings.iter().filter(|line| !line.contains(": note: ")).collect();
        assert!(bad.is_empty(), "on {node}: {bad:?}");
        assert!(matches!(code, Some(0 | 1)), "on {node}: exit code {code:?}");
    }
}

#[test]
fn examples_of_the_quick_start_are_short_and_pass_the_check() {
    let directory = Directory::new("quick");
    for name in ["ha.cf", "haresources", "authkeys"] {
        let example = example(name);
        assert!(example.lines().count() < 10, "{name} has ten lines or more");
        directory.write(name, &example);
    }
    assert_sound(&directory);
}

/// The lines that README shows of `nullbeat check`.
fn shown_check() -> Vec<String> {
    let all = blocks(&text("README.md"), "console").concat();
    let (_, rest) = all.split_once("# nullbeat check\n").expect("the command");
    let (shown, _) = rest.split_once("\n# ").expect("the next command");
    shown.lines().map(str::to_owned).collect()
}

/// What of a line depends on the machine is left out: whether it knows the service's port, how many warnings there are.
fn of_the_files(line: &str) -> Option<&str> {
    let is_of_this_machine =
        ["an address of this machine", "0 errors, "].iter().chain(&MISSING_HERE).any(|text| line.contains(text));
    let told = line.split_once(", that of the service").or(line.split_once(", the registered one"));
    (!is_of_this_machine).then(|| told.map_or(line, |(told, _)| told))
}

#[test]
fn output_of_the_check_is_what_it_prints() {
    let directory = Directory::new("shown");
    for name in ["ha.cf", "haresources", "authkeys"] {
        directory.write(name, &example(name));
    }
    let mut command = Command::new(NULLBEAT);
    command.args(["check", "--node", "alpha", "--config-dir"]).arg(&directory.0);
    let output = command.output().expect("nullbeat runs");
    let said = String::from_utf8(output.stdout).expect("UTF-8");
    let said = said.replace(&directory.0.display().to_string(), "/etc/ha.d");
    let printed: Vec<&str> = said.lines().filter_map(of_the_files).collect();
    let shown = shown_check();
    let shown: Vec<&str> = shown.iter().filter_map(|line| of_the_files(line)).collect();
    assert_eq!(printed, shown);
}

#[test]
fn single_lines_of_ha_cf_pass_the_check_in_place_of_the_example_s() {
    let lines = blocks(&text("README.md"), "ha.cf-line");
    assert!(!lines.is_empty());
    for line in lines {
        let directory = Directory::new("line");
        let word = line.split_whitespace().next().expect("a directive");
        let has_not = |old: &&str| old.split_whitespace().next() != Some(word);
        let kept: String = example("ha.cf").lines().filter(has_not).map(|old| format!("{old}\n")).collect();
        directory.write("ha.cf", &format!("{kept}{line}"));
        directory.write("haresources", &example("haresources"));
        directory.write("authkeys", &example("authkeys"));
        assert_sound(&directory);
    }
}

#[test]
fn example_of_the_manual_page_passes_the_check() {
    let page = text("docs/nullbeat-ha.cf.5");
    let (_, rest) = page.split_once(".Bd -literal\n").expect("an example");
    let (example_of_page, _) = rest.split_once(".Ed\n").expect("its end");
    let directory = Directory::new("page");
    directory.write("ha.cf", example_of_page);
    directory.write("haresources", &example("haresources"));
    directory.write("authkeys", &example("authkeys"));
    assert_sound(&directory);
}

#[test]
fn check_notices_a_mistake_in_an_example() {
    let directory = Directory::new("mistake");
    directory.write("ha.cf", &example("ha.cf").replace("auto_failback on", "auto_failback legacy"));
    directory.write("haresources", &example("haresources"));
    directory.write("authkeys", &example("authkeys"));
    let (findings, code) = directory.findings("alpha");
    assert!(findings.iter().any(|line| line.contains("auto_failback legacy")), "{findings:?}");
    assert_eq!(code, Some(1));
}

/// What `nullbeat help` says.
fn overview() -> String {
    let output = Command::new(NULLBEAT).arg("help").output().expect("nullbeat runs");
    String::from_utf8(output.stdout).expect("UTF-8")
}

#[test]
fn every_verb_and_exit_code_is_told() {
    let overview = overview();
    let (readme, page) = (text("README.md"), text("docs/nullbeat.8"));
    let verbs: Vec<&str> = overview
        .lines()
        .skip_while(|line| !line.starts_with("usage:"))
        .take_while(|line| !line.starts_with("options"))
        .filter_map(|line| line.strip_prefix("  ")?.split_whitespace().next())
        .collect();
    assert!(verbs.len() > 10, "{verbs:?}");
    for verb in verbs {
        assert!(readme.contains(&format!("`nullbeat {verb}`")), "README does not name `nullbeat {verb}`");
        let is_told = page.lines().any(|line| {
            line.strip_prefix(".Cm ").or(line.strip_prefix(".It Cm ")).is_some_and(|rest| names(rest).contains(verb))
        });
        assert!(is_told, "nullbeat.8 does not name {verb}");
    }
    let (_, codes) = overview.split_once("exit codes: ").expect("exit codes");
    for code in codes.split(',').filter_map(|code| code.split_whitespace().next()) {
        assert!(readme.contains(&format!("\n| {code} | ")), "README does not tell exit code {code}");
        assert!(page.contains(&format!("\n.It {code}\n")), "nullbeat.8 does not tell exit code {code}");
    }
}

/// Every directive in the table of src/config.
fn directives() -> BTreeSet<String> {
    let source = text("src/config/directives.rs");
    let (_, table) = source.split_once("DIRECTIVES: &[Directive] = &[").expect("the table");
    let (table, _) = table.split_once("\n];").expect("its end");
    let mut found = BTreeSet::new();
    for maker in ["row(", "of_board(", "not_yet(", "not_yet_unless("] {
        for (at, _) in table.match_indices(maker) {
            let word = table[at + maker.len()..].trim_start().strip_prefix('"').and_then(|rest| rest.split('"').next());
            found.insert(word.expect("the directive's word first").to_owned());
        }
    }
    found
}

#[test]
fn every_directive_that_is_new_or_without_effect_is_in_the_manual_page() {
    let known = directives();
    let heartbeat: BTreeSet<&str> = HEARTBEAT.split_whitespace().collect();
    for word in &heartbeat {
        assert!(known.contains(*word), "Heartbeat's {word} is not known");
    }
    let source = text("src/config/directives.rs");
    let page = text("docs/nullbeat-ha.cf.5");
    let readme = text("README.md");
    let told = names(&page);
    for word in &known {
        let is_new = !heartbeat.contains(word.as_str());
        let is_unbuilt = ["not_yet", "not_yet_unless", "safety"]
            .iter()
            .any(|maker| source.split_whitespace().collect::<String>().contains(&format!("{maker}(\"{word}\"")));
        if is_new || is_unbuilt {
            let is_told = told.contains(word.as_str()) || page.contains(&format!("Ic {word} "));
            assert!(is_told, "nullbeat-ha.cf.5 does not tell of {word}");
        }
        if is_new {
            assert!(readme.contains(&format!("`{word}`")), "README does not tell of {word}");
        }
    }
    for option in ["baud", "flow", "bind", "port"] {
        assert!(page.contains(&format!("Cm {option} ")), "nullbeat-ha.cf.5 does not tell of the option {option}");
    }
}

/// Pages that lead to other files, and to tests.
const PAGES: [&str; 9] = [
    "README.md",
    "CHANGELOG.md",
    "docs/fencing.md",
    "docs/guarding.md",
    "docs/migration.md",
    "docs/plumbing.md",
    "docs/status.md",
    "docs/testing.md",
    "docs/wiring.md",
];

#[test]
fn links_between_the_documents_lead_somewhere() {
    for page in PAGES {
        let folder = Path::new(page).parent().expect("a folder");
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let body = text(page);
        for (at, _) in body.match_indices("](") {
            let target = body[at + 2..].split(')').next().expect("an end");
            if !target.contains("://") {
                assert!(root.join(folder).join(target).exists(), "{page} leads to {target}, which does not exist");
            }
        }
    }
}

/// The text of every source below these folders.
fn every_source(folders: &[PathBuf]) -> String {
    let mut all = String::new();
    for folder in folders {
        for path in fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()) {
            if path.is_dir() {
                all += &every_source(&[path]);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                all += &fs::read_to_string(path).expect("a source");
            }
        }
    }
    all
}

#[test]
fn every_weakness_that_is_mended_has_a_test_that_exists() {
    let page = text("docs/testing.md");
    let table = page.split("## What Heartbeat gets wrong").nth(1).and_then(|rest| rest.split("\n## ").next());
    let sources = every_source(&["src", "tests"].map(|folder| Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)));
    let mut numbers = Vec::new();
    for row in table.expect("the table").lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |")) {
        let cells: Vec<&str> = row.split(" | ").collect();
        let [number, _, tests] = cells.as_slice() else { panic!("{row}") };
        if *number == "number" {
            continue;
        }
        numbers.push(*number);
        let names: Vec<&str> = tests.split('`').skip(1).step_by(2).collect();
        assert!(!names.is_empty(), "number {number} names no test");
        for name in names {
            let is_there = sources.contains(&format!("#[test]\nfn {name}() {{"))
                || sources.contains(&format!("#[test]\n    fn {name}() {{"));
            assert!(is_there, "number {number} names {name}, which is no test");
        }
    }
    let mended = "1 2 3 3a 4 5 6 7 7a 8 9 10 11a 12 13 14 17 19 21 21a 22 23 24";
    assert_eq!(numbers, mended.split(' ').collect::<Vec<_>>());
}

#[test]
fn tests_and_files_that_the_documents_name_exist() {
    let sources = every_source(&["src", "tests"].map(|folder| Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)));
    let (mut tests, mut files) = (0, 0);
    for page in PAGES {
        for name in text(page).split('`').skip(1).step_by(2) {
            let is_path = ["tests/", "dist/", "docs/", "src/"].iter().any(|folder| name.starts_with(folder));
            if is_path && !name.contains(['*', ' ']) {
                files += 1;
                let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
                assert!(path.exists(), "{page} names {name}, which does not exist");
            } else if name.split('_').count() > 4 && names(name).contains(name) {
                tests += 1;
                assert!(
                    sources.contains(&format!("fn {name}()")),
                    "{page} names the test {name}, which does not exist"
                );
            }
        }
    }
    assert!(tests > 15 && files > 10, "{tests} tests, {files} files");
}

#[test]
fn steps_that_the_readme_counts_are_those_of_the_test_command() {
    let script = text("tests/run");
    let steps = script.lines().find_map(|line| line.strip_prefix("all=(")).expect("the default lane");
    let count = steps.trim_end_matches(')').split(' ').count();
    assert!(text("README.md").contains(&format!("\n{count} passed, 0 failed\n")), "{count} steps: {steps}");
}

#[test]
fn every_fault_of_every_line_has_a_row() {
    let page = text("docs/wiring.md");
    let table = page.split("| line, as read here |").nth(1).expect("the fault table");
    let mut faults: Vec<(String, String)> = Vec::new();
    for row in table.lines().skip(2).map_while(|line| line.strip_prefix("| ")?.strip_suffix(" |")) {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let [line, fault, ..] = cells.as_slice() else { panic!("{row}") };
        match faults.last_mut() {
            Some((_, known)) if line.is_empty() => *known += &format!("; {fault}"),
            _ => faults.push(((*line).to_owned(), (*fault).to_owned())),
        }
    }
    for line in
        ["`peer-owner`", "`peer-power`, for the interlock", "sense line", "`peer-alive`", "`maintenance`", "`fence-"]
    {
        let (_, known) = faults.iter().find(|(cell, _)| cell.contains(line)).unwrap_or_else(|| panic!("{line}"));
        for fault in ["stuck active", "stuck inactive", "or open"] {
            assert!(known.contains(fault), "{line} {fault}: {known}");
        }
    }
}
