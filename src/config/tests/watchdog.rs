//! `watchdog` and `watchdog_timeout`, alone and with the times that they depend on.

use std::path::Path;
use std::time::Duration;

use super::*;
use crate::hardware::watchdog::Facts;

#[test]
fn watchdog_lines_and_their_mistakes() {
    let table: &[(&[u8], &[&str])] = &[
        (b"watchdog /dev/watchdog", &[]),
        (b"watchdog /dev/watchdog\nwatchdog /dev/watchdog1\nwatchdog_timeout 20", &[]),
        (b"watchdog /dev/watchdog\nreset_with watchdog", &[]),
        (
            b"watchdog dog",
            &[
                "ha.cf:1:10: error: found `dog`; expected the path of a device, such as `/dev/watchdog`, or its name in the board file",
            ],
        ),
        (
            b"watchdog /dev/watchdog /dev/watchdog",
            &[
                "ha.cf:1:24: error: found `/dev/watchdog` a second time; expected each watchdog once; it stands in line 1 already; a watchdog can be opened once only",
            ],
        ),
        (
            b"watchdog /dev/null0",
            &[
                "ha.cf:1:10: warning: found `/dev/null0`, which is no device here; expected a watchdog of this board; `nullbeat run` does not start without it",
            ],
        ),
        (
            b"watchdog_timeout 10",
            &[
                "ha.cf:1:18: warning: found `watchdog_timeout` without a watchdog; expected a line such as `watchdog /dev/watchdog`; it has no effect",
            ],
        ),
        (
            b"reset_with watchdog",
            &[
                "ha.cf:1:12: error: found `reset_with watchdog` without a watchdog; expected a line such as `watchdog /dev/watchdog`",
            ],
        ),
        (b"reset_with watchdog now", &["ha.cf:1:21: error: found `now`; expected nothing more"]),
        (
            b"watchdog /dev/watchdog\nwatchdog_timeout soon",
            &["ha.cf:2:18: error: found `soon`; expected a time above zero"],
        ),
        (b"watchdog /dev/watchdog\nwatchdog_timeout 0", &["ha.cf:2:18: error: found `0`; expected a time above zero"]),
        (
            b"watchdog /dev/watchdog\nwatchdog_timeout 2500ms",
            &[
                "ha.cf:2:18: warning: found a watchdog timeout of 2.5 s; expected whole seconds: devices know no others; the next longer one, 3 s, is asked for",
            ],
        ),
        (
            b"watchdog /dev/watchdog\nwatchdog_timeout heartbeat\ndeadtime 10",
            &[
                "ha.cf:2:18: warning: found `watchdog_timeout heartbeat`; expected no `watchdog_timeout`: then a hung owner is reset before its peer takes over; as with Heartbeat the peer takes over after 10 s and the board is reset up to 2 s later; until then both run the service",
            ],
        ),
        (
            b"watchdog /dev/watchdog\nwatchdog_timeout 8\ndeadtime 10",
            &[
                "ha.cf:2:18: warning: found a watchdog timeout of 8 s with a deadtime of 10 s; expected keepalive 1 s + timeout 8 s + 1 s = 10 s to be less than the deadtime; so that this board is reset before its peer takes over, its beats announce a dead time of 10.1 s",
            ],
        ),
    ];
    expect(Purpose::Check, "ha.cf", table);
}

fn machine_with(facts: Facts) -> FakeMachine {
    let mut machine = board();
    machine.watchdogs.insert("/dev/watchdog".into(), facts);
    machine
}

fn loaded(machine: &FakeMachine, purpose: Purpose, text: &[u8]) -> (Vec<String>, Option<Config>) {
    let directory = Directory::new();
    directory.write("ha.cf", complete(text));
    let loaded = directory.load(&LoadOptions { machine, ..LoadOptions::new(purpose) });
    (directory.messages(&loaded), loaded.config)
}

#[test]
fn safe_timeout_follows_from_the_times_and_the_device() {
    let (said, config) = loaded(&board(), Purpose::Run, b"watchdog /dev/watchdog\nkeepalive 500ms\ndeadtime 10\n");
    let config = config.expect("loads");
    assert_eq!(said, [""; 0]);
    assert_eq!(config.watchdog.devices, [Path::new("/dev/watchdog")]);
    assert_eq!(config.watchdog.in_force, Some(Duration::from_secs(8)));
    assert_eq!(config.announced_deadtime(), config.deadtime);
    assert_eq!(config.settings(0).announced_extra, Duration::ZERO);
    assert_eq!(config.watchdog_arithmetic().unwrap(), "keepalive 500 ms + timeout 8 s + 1 s = 9.5 s");
}

#[test]
fn device_with_long_seconds_raises_what_the_beats_announce_and_check_says_so() {
    let slow = machine_with(Facts { shortest: Some(16), ..Facts::default() });
    let (said, config) = loaded(&slow, Purpose::Check, b"watchdog /dev/watchdog\nkeepalive 500ms\ndeadtime 10\n");
    let config = config.expect("loads");
    assert_eq!(
        said,
        [
            "ha.cf:1:10: warning: found a watchdog timeout of 16 s with a deadtime of 10 s; expected keepalive 500 ms + timeout 16 s + 1 s = 17.5 s to be less than the deadtime; so that this board is reset before its peer takes over, its beats announce a dead time of 17.6 s"
        ]
    );
    let settings = config.settings(0);
    assert_eq!((settings.deadtime, settings.announced_extra), (Duration::from_secs(10), Duration::from_millis(7600)));
}

#[test]
fn device_that_cannot_do_what_is_asked_for_is_an_error_before_the_start() {
    let quick = machine_with(Facts { identity: Some("toy".into()), longest: Some(16), ..Facts::default() });
    let text = b"watchdog /dev/watchdog\nwatchdog_timeout 20";
    let expected = "found a watchdog timeout of 20 s for toy; expected at most 16 s, which is all that it can";
    assert_eq!(loaded(&quick, Purpose::Run, text).0, [format!("ha.cf:2:18: error: {expected}")]);
    assert_eq!(loaded(&quick, Purpose::Check, text).0, [format!("ha.cf:2:18: warning: {expected}")]);
    assert_eq!(loaded(&quick, Purpose::Check, b"watchdog /dev/watchdog").0, [""; 0], "the safe one is what it can");
}

#[test]
fn device_that_cannot_be_stopped_is_named() {
    let stubborn = machine_with(Facts { identity: Some("toy".into()), is_nowayout: true, ..Facts::default() });
    assert_eq!(
        loaded(&stubborn, Purpose::Check, b"watchdog /dev/watchdog").0,
        [
            "ha.cf:1:10: warning: found toy with `nowayout`; expected a driver that may be stopped; after an orderly stop of the daemon this board is reset within 27 s unless somebody else kicks it"
        ]
    );
}

#[test]
fn scripts_see_the_last_watchdog() {
    let (_, config) =
        loaded(&board(), Purpose::Run, b"watchdog /dev/watchdog\nwatchdog /dev/watchdog1\nwatchdog_timeout 9");
    let directives = config.expect("loads").directives;
    let value = |name: &str| directives.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
    assert_eq!((value("watchdog"), value("watchdog_timeout")), (Some("/dev/watchdog1"), Some("9")));
}
