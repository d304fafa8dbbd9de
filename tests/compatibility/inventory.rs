//! Every program of the packages, and which test shows it at work beside nullbeat; or why none does.

use std::path::Path;
use std::process::Command;

/// The packages whose programs are listed.
const PACKAGES: [&str; 3] = ["heartbeat", "libheartbeat2", "cluster-glue"];
/// Where programs that talk to a daemon are.
const PLACES: [&str; 5] =
    ["/usr/bin", "/usr/sbin", "/usr/lib/heartbeat", "/usr/libexec/heartbeat", "/usr/share/heartbeat"];

/// What a row rests on.
enum Seen {
    /// Tests with these names; `tests/run` runs them.
    By(&'static [&'static str]),
    /// Tests with these names, which only `tests/run --all` runs.
    InTheLongLane(&'static [&'static str]),
    /// It has nothing to do with the daemon.
    OutOfScope(&'static str),
}
use Seen::{By, InTheLongLane, OutOfScope};

/// Each program, and what its rows rest on.
const PROGRAMS: &[(&str, Seen)] = &[
    ("/usr/bin/cl_status", By(&["every_command_says_the_same_packaged_and_ours_beside_heartbeat_and_nullbeat"])),
    ("/usr/bin/cl_respawn", OutOfScope("starts one program again and again, without any daemon")),
    (
        "/usr/libexec/heartbeat/api_test",
        By(&[
            "packaged_clients_talk_to_each_other_across_nodes",
            "clients_of_a_nullbeat_and_of_a_heartbeat_hear_each_other",
        ]),
    ),
    ("/usr/libexec/heartbeat/apphbd", By(&["packaged_apphbtest_counts_what_the_sanity_check_counts"])),
    ("/usr/libexec/heartbeat/apphbtest", By(&["packaged_apphbtest_counts_what_the_sanity_check_counts"])),
    (
        "/usr/libexec/heartbeat/ccm",
        By(&[
            "packaged_clients_talk_to_each_other_across_nodes",
            "programs_hear_the_same_of_every_service",
            "nullbeat_agrees_with_the_packaged_service_under_heartbeat",
            "three_nodes_of_both_kinds_agree",
        ]),
    ),
    ("/usr/libexec/heartbeat/ccm_testclient", By(&["programs_hear_the_same_of_every_service"])),
    ("/usr/libexec/heartbeat/clmtest", By(&["programs_hear_the_same_of_every_service"])),
    ("/usr/libexec/heartbeat/dopd", By(&["packaged_clients_talk_to_each_other_across_nodes", DOPD])),
    ("/usr/libexec/heartbeat/drbd-peer-outdater", By(&[DOPD])),
    (
        "/usr/libexec/heartbeat/heartbeat",
        By(&[
            "command_lines_do_what_those_of_the_packaged_program_do",
            "signals_do_what_they_do_to_the_packaged_program",
            "two_daemons_never_run_on_one_board",
        ]),
    ),
    (
        "/usr/libexec/heartbeat/ipfail",
        By(&[
            "packaged_clients_talk_to_each_other_across_nodes",
            "nullbeat_and_ipfail_agree_whoever_loses_the_upstream",
        ]),
    ),
    ("/usr/libexec/heartbeat/mlock", OutOfScope("tries to lock memory, without any daemon")),
    ("/usr/share/heartbeat/BasicSanityCheck", InTheLongLane(&["basic_sanity_check_finds_no_fault_of_ours"])),
    ("/usr/share/heartbeat/TestHeartbeatComm", By(&["test_heartbeat_comm_cuts_communication_and_mends_it"])),
    (
        "/usr/share/heartbeat/ResourceManager",
        OutOfScope("what the original runs to move groups: nullbeat does it itself"),
    ),
    ("/usr/share/heartbeat/mach_down", OutOfScope("what the original runs after a death: nullbeat does it itself")),
    ("/usr/share/heartbeat/ha_config", OutOfScope("copies configuration files by ssh")),
    ("/usr/share/heartbeat/ha_propagate", OutOfScope("copies configuration files by ssh")),
    ("/usr/share/heartbeat/ha_test.py", OutOfScope("needs Python 2, which Debian no longer has")),
    (
        "/usr/share/heartbeat/hb_api.py",
        OutOfScope("needs Python 2; its netstring form is taken by the socket all the same"),
    ),
    ("/usr/share/heartbeat/hb_addnode", By(NODE_TOOLS)),
    ("/usr/share/heartbeat/hb_delnode", By(NODE_TOOLS)),
    ("/usr/share/heartbeat/hb_setsite", By(NODE_TOOLS)),
    ("/usr/share/heartbeat/hb_setweight", By(NODE_TOOLS)),
    ("/usr/share/heartbeat/hb_standby", By(MOVING)),
    ("/usr/share/heartbeat/hb_takeover", By(MOVING)),
    ("/usr/share/heartbeat/req_resource", By(MOVING)),
    (
        "/usr/lib/heartbeat/ha_logd",
        By(&["packaged_clients_log_through_our_logd", "our_daemon_and_the_packaged_one_log_through_logd"]),
    ),
    ("/usr/lib/heartbeat/logtest", By(&["packaged_clients_log_through_our_logd"])),
    ("/usr/sbin/ha_logger", By(&["packaged_clients_log_through_our_logd"])),
    ("/usr/lib/heartbeat/base64_md5_test", OutOfScope(LIBRARY)),
    ("/usr/lib/heartbeat/ipctest", OutOfScope(LIBRARY)),
    ("/usr/lib/heartbeat/ipctransientclient", OutOfScope(LIBRARY)),
    ("/usr/lib/heartbeat/ipctransientserver", OutOfScope(LIBRARY)),
    ("/usr/lib/heartbeat/transient-test.sh", OutOfScope(LIBRARY)),
    ("/usr/lib/heartbeat/cibsecret", OutOfScope(PACEMAKER)),
    ("/usr/lib/heartbeat/lrmd", OutOfScope(PACEMAKER)),
    ("/usr/sbin/lrmadmin", OutOfScope(PACEMAKER)),
    ("/usr/sbin/hb_report", OutOfScope("collects logs by ssh")),
    (
        "/usr/sbin/stonith",
        By(&[
            "plugin_of_cluster_glue_runs_with_its_parameters",
            "stonith_host_works_as_it_stands_beside_a_real_heartbeat",
        ]),
    ),
    ("/usr/sbin/meatclient", OutOfScope("answers its plugin `meatware` by a FIFO of their own")),
];

const DOPD: &str = "packaged_dopd_outdates_the_disk_of_the_other_kind_of_node";
const NODE_TOOLS: &[&str] =
    &["nodes_are_added_and_deleted_by_the_tools_of_nullbeat", "nodes_are_added_and_deleted_by_the_tools_of_heartbeat"];
const MOVING: &[&str] = &["packaged_tools_move_groups_with_each_of_their_words"];
const LIBRARY: &str = "checks the original's own library, without any daemon";
const PACEMAKER: &str = "belongs to Pacemaker, which nullbeat does not start";

/// What of a run stands in the page, and what had to be left out of it.
#[derive(Debug, Default)]
pub(crate) struct Page {
    /// The rows of the table.
    pub(crate) rows: Vec<String>,
    /// Programs that no test of this run has seen, though it should have.
    pub(crate) unseen: Vec<&'static str>,
    /// Programs that only the long lane sees, which was not run: their rows stay as they are.
    pub(crate) left: Vec<&'static str>,
}

/// Each program of the packages has its row, each test that a row names exists, and what was seen is what the tests have
/// written down.
pub(crate) fn page(evidence: &[Evidence]) -> Page {
    let there = programs();
    let listed: Vec<&str> = PROGRAMS.iter().map(|(program, _)| *program).collect();
    let missing: Vec<&String> = there.iter().filter(|path| !listed.contains(&path.as_str())).collect();
    assert!(missing.is_empty(), "no row for {missing:?}");
    let gone: Vec<&&str> = listed.iter().filter(|path| !there.iter().any(|known| known == *path)).collect();
    assert!(gone.is_empty(), "no package has {gone:?}");
    let strange: Vec<&str> =
        evidence.iter().map(|one| one.program.as_str()).filter(|path| !listed.contains(path)).collect();
    assert!(strange.is_empty(), "seen, but no program of the packages: {strange:?}");
    let tests = tests();
    let mut page = Page::default();
    for (program, seen) in PROGRAMS {
        let (names, is_long) = match seen {
            By(names) => (*names, false),
            InTheLongLane(names) => (*names, true),
            OutOfScope(why) => {
                page.rows.push(format!("| `{program}` | out of scope: {why} | | | |\n"));
                continue;
            }
        };
        for name in names {
            assert!(tests.contains(&format!("fn {name}(")), "{program}: there is no test {name}");
        }
        let mut of_it: Vec<&Evidence> = evidence.iter().filter(|one| one.program == *program).collect();
        of_it.sort_by(|one, other| one.what.cmp(&other.what));
        if of_it.is_empty() {
            if is_long { &mut page.left } else { &mut page.unseen }.push(program);
        }
        page.rows.extend(of_it.iter().map(|one| one.row()));
    }
    page
}

/// What one test has seen of one program.
#[derive(Debug)]
pub(crate) struct Evidence {
    pub(crate) program: String,
    what: String,
    expected: String,
    seen: String,
}

impl Evidence {
    /// As `lab::evidence` has written it.
    pub(crate) fn read(text: &str) -> Self {
        let lines: Vec<&str> = text.lines().collect();
        let [program, what, expected, seen] = lines[..] else { panic!("not what a test writes down: {text:?}") };
        let [program, what, expected, seen] = [program, what, expected, seen].map(str::to_owned);
        Self { program, what, expected, seen }
    }

    fn row(&self) -> String {
        let Self { program, what, expected, seen } = self;
        let mark = if seen == expected { "✔" } else { "✘" };
        let seen = if seen == expected { "the same".to_owned() } else { format!("`{seen}`") };
        format!("| `{program}` | {what} | `{expected}` | {seen} | {mark} |\n")
    }
}

/// Each test that docs/plumbing.md names exists.
pub(crate) fn check_plumbing() {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/plumbing.md")).expect("plumbing.md");
    let tests = tests();
    let mut count = 0;
    for line in text.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| service")) {
        let names = line.trim_end_matches([' ', '|']).rsplit(" | ").next().expect("its last column");
        for name in names.split(", ") {
            let name = name.trim_matches('`');
            assert!(tests.contains(&format!("fn {name}(")), "docs/plumbing.md: there is no test {name:?}");
            count += 1;
        }
    }
    assert!(count > 10, "{count} tests in docs/plumbing.md");
}

/// What the packages have installed in those places and can be run.
fn programs() -> Vec<String> {
    let output = Command::new("dpkg").arg("-L").args(PACKAGES).output().expect("dpkg");
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let is_program = |path: &&str| {
        use std::os::unix::fs::PermissionsExt as _;
        let path = Path::new(path);
        let is_placed = path.parent().is_some_and(|parent| PLACES.iter().any(|place| Path::new(place) == parent));
        is_placed && path.metadata().is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
    };
    text.lines().filter(is_program).map(str::to_owned).collect()
}

/// The text of all sources that may have tests.
fn tests() -> String {
    fn read(directory: &Path, text: &mut String) {
        for entry in std::fs::read_dir(directory).expect("a directory").flatten() {
            let path = entry.path();
            if path.is_dir() {
                read(&path, text);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                text.push_str(&std::fs::read_to_string(&path).expect("UTF-8"));
            }
        }
    }
    let mut text = String::new();
    for directory in ["src", "tests"] {
        read(&Path::new(env!("CARGO_MANIFEST_DIR")).join(directory), &mut text);
    }
    text
}
