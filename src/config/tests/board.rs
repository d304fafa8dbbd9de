//! Board files and GPIO lines: what is said to each kind of mistake.

use std::time::Duration;

use super::*;
use crate::config::OutputLine;
use crate::config::board::check_file;
use crate::core::InputLine;

/// What is said of a board file that is checked alone.
fn said_of_board(text: &[u8]) -> Vec<String> {
    let directory = Directory::new();
    directory.write("own.conf", text);
    let (file, findings) = check_file(&directory.0.join("own.conf"), &board());
    let is_error = |finding: &Finding| finding.severity == Severity::Error;
    assert_eq!(file.is_none(), findings.iter().any(is_error));
    let prefix = format!("{}/", directory.0.display());
    findings.iter().map(|finding| finding.to_string().replace(&prefix, "")).collect()
}

fn expect_of_board(table: &[(&[u8], &[&str])]) {
    for (text, expected) in table {
        assert_eq!(said_of_board(text), *expected, "{}", String::from_utf8_lossy(text));
    }
}

/// Loads an ha.cf of these lines beside the board file `own`.
fn load_with(ha_cf: &str, board_file: &str) -> (Loaded, Vec<String>) {
    let directory = Directory::new();
    std::fs::create_dir(directory.0.join("boards")).unwrap();
    directory.write("boards/own.conf", board_file);
    directory.write("ha.cf", complete(ha_cf.as_bytes()));
    let machine = board();
    let loaded = directory.load(&LoadOptions { machine: &machine, ..LoadOptions::new(Purpose::Check) });
    let messages = directory.messages(&loaded);
    let place = directory.0.display().to_string();
    (loaded, messages.into_iter().map(|line| line.replace(&place, "/etc/ha.d")).collect())
}

#[test]
fn board_files_with_each_kind_of_mistake_are_answered() {
    expect_of_board(&[
        (b"serial-port peer /dev/ttyS1\nwatchdog-device main /dev/ttyS9 # missing here\n# nothing\n\n", &[]),
        (b"node alpha", &["own.conf:1:1: error: found `node` in a board file; expected it in ha.cf"]),
        (b"board other", &["own.conf:1:1: error: found `board` in a board file; expected it in ha.cf"]),
        (
            b"serial_port peer /dev/ttyS1",
            &[
                "own.conf:1:1: error: found `serial_port`, an unknown directive; expected a directive of a board file; did you mean `serial-port`?",
            ],
        ),
        (
            b"GPIO owner gpiochip0 4",
            &[
                "own.conf:1:1: error: found `GPIO`, an unknown directive; expected a directive of a board file; directives are written in lower case: `gpio`",
            ],
        ),
        (
            b"serial-port",
            &["own.conf:1:1: error: found `serial-port` without arguments; expected `serial-port NAME /dev/…`"],
        ),
        (
            b"serial-port peer",
            &["own.conf:1:13: error: found `peer` without a device; expected `serial-port NAME /dev/…`"],
        ),
        (
            b"serial-port /dev/ttyS1 peer",
            &["own.conf:1:13: error: found `/dev/ttyS1` for a name; expected `serial-port NAME /dev/…`"],
        ),
        (b"serial-port peer ttyS1", &["own.conf:1:18: error: found `ttyS1`; expected the full path of a device"]),
        (b"serial-port peer /dev/ttyS1 115200", &["own.conf:1:29: error: found `115200`; expected nothing more"]),
        (
            b"serial-port peer /dev/ttyS0\nserial-port peer /dev/ttyS1",
            &["own.conf:2:13: error: found `peer` a second time; expected each name once"],
        ),
        (
            b"serial-port peer /dev/ttyS0\nserial-port other /dev/ttyS0",
            &[
                "own.conf:2:19: error: found the device `/dev/ttyS0` a second time; expected each once; it is called `peer` already",
            ],
        ),
        (
            b"watchdog-device main /dev/null0",
            &["own.conf:1:22: warning: found `/dev/null0`, which is no character device here; expected a device"],
        ),
        (
            b"serial-port p\xffr /dev/ttyS0",
            &[
                "own.conf:1:14: error: found the byte 0xff, which is not UTF-8; expected UTF-8 text; if the file was written in another encoding, `iconv -t UTF-8` converts it",
            ],
        ),
    ]);
}

const FORM: &str =
    "`gpio USE CHIP OFFSET` or `gpio USE NAME`, then `active-low`, a bias such as `pull-up`, or `open-drain`";
const OPTIONS: &str = "`active-high`, `active-low`, `pull-up`, `pull-down`, `external-pull-up`, `external-pull-down`, `bias-disabled`, `open-drain` or `open-source`";
const USES: &str =
    "`fence-reset`, `fence-power`, `owner`, `alive`, `peer-alive`, `peer-owner`, `peer-power` or `maintenance`";

#[test]
fn gpio_lines_with_each_kind_of_mistake_are_answered() {
    let long = "x".repeat(32);
    let table = [
        ("gpio owner gpiochip0 4".to_owned(), vec![]),
        ("gpio owner GPIO17 active-low open-drain\ngpio alive /dev/gpiochip3 0 active-high".to_owned(), vec![]),
        ("gpio".into(), vec![format!("1:1: error: found `gpio` without arguments; expected {FORM}")]),
        (
            "gpio onwer gpiochip0 4".into(),
            vec![format!(
                "1:6: error: found `onwer`, which is no use of a line; expected {USES}; did you mean `owner`?"
            )],
        ),
        ("gpio owner".into(), vec![format!("1:6: error: found `owner` without a line; expected {FORM}")]),
        ("gpio owner active-low".into(), vec![format!("1:6: error: found `owner` without a line; expected {FORM}")]),
        (
            "gpio owner gpiochip0 active-low".into(),
            vec![
                "1:12: error: found the chip `gpiochip0` without an offset; expected a chip and the number of its line: `gpiochip0 5`"
                    .into(),
            ],
        ),
        (
            "gpio owner 17".into(),
            vec![
                "1:12: error: found `17`, a number without a chip; expected a chip and the number of its line: `gpiochip0 5`; the numbers of /sys/class/gpio are not used: they change with the order of the drivers"
                    .into(),
            ],
        ),
        (
            "gpio owner gpiochip0 five".into(),
            vec!["1:22: error: found `five`; expected the number of a line of that chip, from 0".into()],
        ),
        (
            "gpio owner gpiochip0 -1".into(),
            vec!["1:22: error: found `-1`; expected the number of a line of that chip, from 0".into()],
        ),
        (
            "gpio owner GPIO17 active_low".into(),
            vec![format!("1:19: error: found `active_low`; expected {OPTIONS}; did you mean `active-low`?")],
        ),
        (
            "gpio owner gpiochip0 4 pul-up".into(),
            vec![format!("1:24: error: found `pul-up`; expected {OPTIONS}; did you mean `pull-up`?")],
        ),
        (
            "gpio owner gpiochip0 4 active-low loud".into(),
            vec![format!("1:35: error: found `loud`; expected {OPTIONS}")],
        ),
        (
            "gpio owner gpiochip0 4 active-low active-high".into(),
            vec!["1:35: error: found `active-high` behind `active-low`; expected one of them".into()],
        ),
        (
            "gpio peer-alive gpiochip0 4 pull-down open-drain".into(),
            vec!["1:39: error: found `open-drain` of `peer-alive`, which is an input; expected polarity and bias only".into()],
        ),
        (
            format!("gpio owner {long}"),
            vec![format!("1:12: error: found a name of 32 bytes, `{long}`; expected at most 31, as the kernel has them")],
        ),
        (
            "gpio owner gpiochip0 4\ngpio owner gpiochip0 5".into(),
            vec!["2:6: error: found a second `owner`; expected each use once; it is gpiochip0 4 in line 1 already".into()],
        ),
        (
            "gpio owner gpiochip0 4\ngpio alive gpiochip0 4".into(),
            vec![
                "2:6: error: found the line gpiochip0 4 a second time; expected each line once; line 1 names it as `owner`"
                    .into(),
            ],
        ),
    ];
    for (text, expected) in table {
        for name in ["own.conf", "ha.cf"] {
            let expected: Vec<String> = expected.iter().map(|line| format!("{name}:{line}")).collect();
            let found = match name {
                "ha.cf" => said(Purpose::Check, name, &complete(text.as_bytes())),
                _ => said_of_board(text.as_bytes()),
            };
            assert_eq!(found, expected, "{text}");
        }
    }
}

#[test]
fn input_that_an_open_wire_makes_dangerous_is_refused() {
    const OPEN_ACTIVE: &str = "`active-low pull-down` or `active-high pull-up`, the pull may be `external-…`";
    let power = |found: &str| {
        vec![format!(
            "own.conf:1:6: error: found {found}; expected {OPEN_ACTIVE}; a cut wire must read as \"the peer has power\": else it proves a death that never was"
        )]
    };
    let says = |text: &str| said_of_board(text.as_bytes());
    assert_eq!(says("gpio peer-power gpiochip0 1"), power("`peer-power` without a pull-up or pull-down"));
    assert_eq!(says("gpio peer-power gpiochip0 1 bias-disabled"), power("`peer-power` without a pull-up or pull-down"));
    let inactive = power("`peer-power`, which reads as inactive when its wire is open");
    assert_eq!(says("gpio peer-power gpiochip0 1 pull-down"), inactive);
    assert_eq!(says("gpio peer-power gpiochip0 1 active-low external-pull-up"), inactive);
    assert_eq!(says("gpio peer-power gpiochip0 1 pull-up"), [""; 0]);
    assert_eq!(says("gpio peer-power gpiochip0 1 active-low external-pull-down"), [""; 0]);
    assert_eq!(says("gpio peer-owner gpiochip0 1 active-low pull-down"), [""; 0]);
    assert!(
        says("gpio peer-owner gpiochip0 1 external-pull-up")[0]
            .contains("note: found `peer-owner` with its active level high")
    );
    assert!(
        says("gpio peer-owner gpiochip0 1")[0].contains("warning: found `peer-owner` without a pull-up or pull-down")
    );
    assert_eq!(says("gpio maintenance gpiochip0 1 active-low pull-up"), [""; 0]);
    assert!(says("gpio maintenance gpiochip0 1 pull-up")[0].contains("a cut wire should not hold decisions"));
    assert_eq!(says("gpio peer-alive gpiochip0 1 pull-down"), [""; 0]);
    assert!(says("gpio peer-alive gpiochip0 1 pull-up")[0].contains("a cut wire should read as \"not alive\""));
}

#[test]
fn interlock_wants_both_lines_and_a_bias() {
    let (loaded, messages) = load_with("interlock gpio\ngpio owner gpiochip0 4", "");
    assert!(loaded.config.is_none());
    assert!(
        messages.contains(
            &"ha.cf:1:11: error: found `interlock gpio` without a line `peer-owner`; expected `gpio peer-owner CHIP OFFSET …`, here or in the board file"
                .to_owned()
        ),
        "{messages:?}"
    );
    let board = "gpio owner gpiochip0 4\ngpio peer-owner gpiochip0 0 active-high pull-down";
    let (loaded, messages) = load_with("board own\ninterlock gpio", board);
    assert!(loaded.config.is_none());
    assert!(
        messages.contains(
            &"boards/own.conf:2:6: error: found `peer-owner`, which reads as inactive when its wire is open; expected `active-low pull-down` or `active-high pull-up`, the pull may be `external-…`; a cut wire must read as \"the peer owns\": else it is a permission to start beside the peer"
                .to_owned()
        ),
        "{messages:?}"
    );
    let board = "gpio owner gpiochip0 4\ngpio peer-owner gpiochip0 0 active-low pull-down";
    let (loaded, messages) = load_with("board own\ninterlock gpio\ninterlock_settle 120ms", board);
    let config = loaded.config.unwrap_or_else(|| panic!("{messages:?}"));
    assert_eq!(config.interlock, Some(Duration::from_millis(120)));
    let (loaded, _) = load_with("board own\ninterlock gpio", board);
    let config = loaded.config.unwrap();
    assert_eq!(config.interlock, Some(Duration::from_millis(50)));
    assert!(config.has_output(OutputLine::Owner) && !config.has_output(OutputLine::Alive));
}

#[test]
fn digest_tells_boards_apart_whose_turns_to_shoot_or_interlocks_differ() {
    let directory = Directory::new();
    directory.write("haresources", "alpha 10.0.0.1\n");
    let lines =
        "gpio owner gpiochip0 4\ngpio peer-owner gpiochip0 0 active-low pull-down\ngpio fence-reset gpiochip0 2\n";
    let machine = board();
    let digest = |more: &str| {
        directory.write("ha.cf", complete(format!("{lines}{more}").as_bytes()));
        let loaded = directory.load(&LoadOptions { machine: &machine, ..LoadOptions::new(Purpose::Check) });
        let messages = directory.messages(&loaded).join("\n");
        loaded.config.unwrap_or_else(|| panic!("{more}: {messages}")).config_digest
    };
    let all = [
        "",
        "interlock gpio",
        "interlock gpio\ninterlock_settle 120ms",
        "fence gpio reset limit 3",
        "fence gpio reset limit 4",
    ];
    let mut digests = all.map(digest).to_vec();
    digests.sort_unstable();
    digests.dedup();
    assert_eq!(digests.len(), all.len());
    assert_eq!(digest("fence meatware"), digest("takeover_policy safe"), "nobody takes turns");
    assert_eq!(digest("fence gpio reset unsensed pulse 1 limit 3"), digest("fence gpio reset limit 3"));
}

#[test]
fn interlock_wants_one_home_for_all_groups() {
    let directory = Directory::new();
    let lines = "interlock gpio\ngpio owner gpiochip0 4\ngpio peer-owner gpiochip0 0 active-low pull-down";
    directory.write("ha.cf", complete(lines.as_bytes()));
    let machine = board();
    for (second, is_refused) in [("alpha", false), ("beta", true)] {
        directory.write("haresources", format!("alpha 10.0.0.1\n{second} 10.0.0.2\n"));
        let loaded = directory.load(&LoadOptions { machine: &machine, ..LoadOptions::new(Purpose::Check) });
        let messages = directory.messages(&loaded).join("\n");
        assert_eq!(
            messages.contains("`interlock gpio` with groups at home on `alpha` and on `beta`"),
            is_refused,
            "{messages}"
        );
        assert_eq!(loaded.config.is_none(), is_refused, "{messages}");
    }
}

#[test]
fn interlock_is_built_and_reaches_the_core() {
    let lines = "gpio owner gpiochip0 4\ngpio peer-owner gpiochip0 0 active-low pull-down";
    let settle_in_core = |interlock: &str| {
        let directory = Directory::new();
        directory.write("ha.cf", complete(format!("{interlock}\n{lines}").as_bytes()));
        let config = load_as(&directory, "alpha", &board());
        config.settings(7).interlock.map(|interlock| interlock.settle)
    };
    assert_eq!(settle_in_core("interlock gpio\ninterlock_settle 120ms"), Some(Duration::from_millis(120)));
    assert_eq!(settle_in_core("interlock gpio"), Some(Duration::from_millis(50)));
    assert_eq!(settle_in_core("interlock off"), None);
    assert_eq!(settle_in_core(""), None);
}

#[test]
fn interlock_words_with_mistakes_are_answered() {
    let cases = [
        (
            "interlock_settle 50",
            "ha.cf:1:18: error: found `50`, which is 50 s; expected at most 10 s; a number alone is seconds: did you mean `50ms`?",
        ),
        ("interlock_settle 0", "ha.cf:1:18: error: found `0`; expected a time above zero"),
        (
            "interlock_settle 50ms",
            "ha.cf:1:18: warning: found `interlock_settle` without an interlock; expected `interlock gpio`; the line has no effect",
        ),
        ("interlock gpoi", "ha.cf:1:11: error: found `gpoi`; expected `gpio`; did you mean `gpio`?"),
    ];
    for (text, expected) in cases {
        let found = said(Purpose::Check, "ha.cf", &complete(text.as_bytes()));
        assert!(found.contains(&expected.to_owned()), "{text}: {found:?}");
    }
}

#[test]
fn board_is_found_beside_ha_cf_and_its_names_count() {
    let board_file =
        "serial-port peer /dev/ttyS1\nwatchdog-device soc /dev/watchdog1\ngpio peer-alive GPIO5 pull-down\n";
    let (loaded, messages) = load_with("board own\nserial peer baud 115200\nwatchdog soc", board_file);
    let config = loaded.config.unwrap_or_else(|| panic!("{messages:?}"));
    assert!(config.media.iter().any(|medium| medium.name() == "/dev/ttyS1"), "{:?}", config.media);
    assert_eq!(config.watchdog.devices, [PathBuf::from("/dev/watchdog1")]);
    let line = GpioLine {
        usage: LineUse::Input(InputLine::PeerAlive),
        place: LinePlace::Name("GPIO5".into()),
        is_active_low: false,
        bias: Bias::PullDown,
        drive: Drive::PushPull,
    };
    assert_eq!(config.gpio, [line]);
    assert!(config.board.is_some_and(|path| path.ends_with("boards/own.conf")));
}

#[test]
fn board_that_is_missing_or_misused_is_answered() {
    let cases = [
        (
            "board owm",
            "ha.cf:1:7: error: found the board `owm`, for which there is no file; expected `owm.conf` in boards or /usr/share/nullbeat/boards; did you mean `own`?",
        ),
        (
            "board ../own",
            "ha.cf:1:7: error: found `../own`, which is no name of a board; expected letters, digits, `-`, `_` and `.`; the file is `boards/NAME.conf` beside ha.cf, or in /usr/share/nullbeat",
        ),
        (
            "board own own",
            "ha.cf:1:11: error: found a further value of `board`, `own`; expected one value; the first one stands before it",
        ),
        (
            "serial-port peer /dev/ttyS1",
            "ha.cf:1:1: error: found `serial-port` in ha.cf; expected it in a board file, which `board NAME` reads",
        ),
        (
            "board own\ngpio alive gpiochip0 1",
            "ha.cf:2:6: error: found the line gpiochip0 1 a second time; expected each line once; line 1 of the board file names it as `owner`",
        ),
        (
            "board own\nserial peeer",
            "ha.cf:2:8: error: found `peeer`; expected the full path of a device, its name in the board file, `baud N`, `flow none|rtscts` or `keepalive TIME`; did you mean `peer`?",
        ),
    ];
    for (ha_cf, expected) in cases {
        let (loaded, messages) = load_with(ha_cf, "gpio owner gpiochip0 1\nserial-port peer /dev/ttyS1");
        assert!(loaded.config.is_none(), "{ha_cf}");
        assert!(messages.contains(&expected.to_owned()), "{ha_cf}: {messages:?}");
    }
}

#[test]
fn board_file_that_others_may_write_or_is_none_is_told() {
    let directory = Directory::new();
    std::fs::create_dir_all(directory.0.join("boards/dir.conf")).unwrap();
    directory.write("boards/own.conf", "");
    directory.permit("boards/own.conf", 0o666);
    directory.write("ha.cf", complete(b"board own"));
    let machine = board();
    let options = LoadOptions { machine: &machine, ..LoadOptions::new(Purpose::Check) };
    let messages = directory.messages(&directory.load(&options));
    assert!(messages[0].starts_with("boards/own.conf: warning: found a file that others may write"), "{messages:?}");
    directory.write("ha.cf", complete(b"board dir"));
    let messages = directory.messages(&directory.load(&options));
    assert!(messages[0].contains("unreadable (not a regular file); expected a board file"), "{messages:?}");
}
