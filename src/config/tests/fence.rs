//! `fence`, `stonith`, `stonith_host`: what is said, and what comes of them.

use std::time::Duration;

use super::*;

/// The board of the other tests, with a few plugins and agents.
fn fence_board() -> FakeMachine {
    let mut machine = board();
    let known = |names: &[&str]| StonithType::Known(names.iter().map(ToString::to_string).collect());
    machine.stonith_types = [
        ("external/ipmi".into(), known(&["hostname", "ipaddr", "userid", "passwd"])),
        ("external/own".into(), known(&["hostlist"])),
        ("null".into(), known(&["hostlist"])),
        ("nosuch".into(), StonithType::Unknown),
    ]
    .into();
    for path in ["/usr/lib/stonith/plugins/external/none", "/usr/lib64/stonith/plugins/external/none"] {
        machine.files.insert(path.into(), FileKind::Missing);
    }
    machine.files.insert("/usr/local/lib/stonith/plugins/external/none".into(), FileKind::Missing);
    for folder in ["/usr/sbin", "/usr/bin", "/usr/local/sbin", "/sbin"] {
        machine.files.insert(format!("{folder}/fence_none").into(), FileKind::Missing);
    }
    machine.files.insert("/root/plain".into(), FileKind::Plain);
    machine.open_files = ["/root/open", "/usr/lib/stonith/plugins/external/open"].map(PathBuf::from).into();
    machine
}

/// What is said about these lines, and the methods when they can be used.
fn fenced(text: &str) -> (Vec<String>, Option<FenceConfig>) {
    fenced_by(&fence_board(), Purpose::Check, text)
}

/// The lines that `gpio` needs.
const LINES: &str =
    "\ngpio fence-reset gpiochip0 4\ngpio fence-power gpiochip0 5\ngpio peer-power gpiochip0 6 active-low pull-down";

fn fenced_by(machine: &FakeMachine, purpose: Purpose, text: &str) -> (Vec<String>, Option<FenceConfig>) {
    let directory = Directory::new();
    directory.write("secret", "passwd=pa ss#word\n# remark\n\nlanplus=1\n");
    directory.write("device", "# remark\n\n beta 10.0.0.7 admin secret \nignored\n");
    let mut text = text.replace("DIR", directory.0.to_str().unwrap());
    if text.contains("fence gpio") {
        text += LINES;
    }
    // Beside a fence the policy of the base would be doubtful.
    let whole = String::from_utf8(complete(text.as_bytes()))
        .unwrap()
        .replace("takeover_policy available", "takeover_policy safe");
    directory.write("ha.cf", whole);
    let loaded = directory.load(&LoadOptions { machine, ..LoadOptions::new(purpose) });
    let said =
        directory.messages(&loaded).iter().map(|line| line.replace(directory.0.to_str().unwrap(), "DIR")).collect();
    (said, loaded.config.map(|config| config.fence))
}

fn expect_said(table: &[(&str, &[&str])]) {
    for (text, expected) in table {
        assert_eq!(fenced(text).0, *expected, "\n{text}");
    }
}

fn names(config: &FenceConfig) -> Vec<&str> {
    config.methods.iter().map(|method| method.name.as_str()).collect()
}

#[test]
fn methods_stand_in_the_order_of_their_lines_with_their_limits() {
    let (said, config) = fenced(
        "fence gpio reset\nfence_timeout 20\nfence external/ipmi hostname=beta ipaddr=10.0.0.7 userid=x secret_file DIR/secret\n\
         stonith_host * null beta\nfence fence_apc ipaddr=10.0.0.8 plug=3 action=off limit 12\nfence hook /root/off limit 5\n\
         fence meatware\nfence_settle 90\nfences_per_hour 5",
    );
    assert_eq!(
        said,
        [
            "ha.cf:3:7: warning: found `lanplus`, which external/ipmi does not ask for",
            "ha.cf:4:16: warning: found `null`, a device for tests; expected a device that turns the peer off; it confirms everything and does nothing: two owners are possible",
        ]
    );
    let config = config.unwrap();
    assert_eq!(names(&config), ["gpio reset", "external/ipmi", "null", "fence_apc", "hook /root/off", "meatware"]);
    let limits: Vec<u128> = config.methods.iter().map(|method| method.limit.as_millis()).collect();
    assert_eq!(limits, [2500, 20_000, 20_000, 12_000, 5000, 0]);
    assert_eq!((config.settle, config.per_hour), (Duration::from_secs(90), 5));
    let FenceHow::External { path, parameters } = &config.methods[1].how else { panic!("{config:?}") };
    assert_eq!(path.to_str(), Some("/usr/lib/stonith/plugins/external/ipmi"));
    assert_eq!(parameters.get("passwd"), Some("pa ss#word"));
    assert!(!format!("{config:?}").contains("ss#word"), "{config:?}");
    let FenceHow::Agent { parameters, is_off, .. } = &config.methods[3].how else { panic!("{config:?}") };
    assert_eq!((parameters.get("action"), *is_off), (None, true));
    let settings = config.settings();
    let kinds: Vec<_> = settings.methods.iter().map(|method| method.kind).collect();
    use crate::core::settings::FenceKind::{Device, Manual};
    assert_eq!(kinds, [Device, Device, Device, Device, Device, Manual]);
    assert_eq!((settings.settle, settings.per_hour_max), (Duration::from_secs(90), 5));
}

#[test]
fn gpio_has_a_line_a_pulse_and_a_limit() {
    let how = |text: &str| fenced(text).1.map(|config| (config.methods[0].how.clone(), config.methods[0].limit));
    let gpio = |line, pulse, limit| {
        let millis = Duration::from_millis;
        Some((FenceHow::Gpio { line, pulse: millis(pulse), is_sensed: true }, millis(limit)))
    };
    assert_eq!(how("fence gpio"), gpio(FenceLine::Reset, 500, 2500));
    assert_eq!(how("fence gpio pulse 200ms"), gpio(FenceLine::Reset, 200, 2200));
    assert_eq!(how("fence gpio power"), gpio(FenceLine::Power, 5000, 7000));
    assert_eq!(how("fence gpio power limit 10 pulse 8"), gpio(FenceLine::Power, 8000, 10_000));
    let unsensed = how("fence gpio reset unsensed pulse 1").map(|(how, _)| how);
    assert!(matches!(unsensed, Some(FenceHow::Gpio { is_sensed: false, .. })), "{unsensed:?}");
    expect_said(&[
        (
            "fence gpio 1",
            &["ha.cf:1:12: error: found `1`; expected `fence gpio [reset|power] [unsensed] [pulse TIME] [limit TIME]`"],
        ),
        ("fence gpio power pulse", &["ha.cf:1:18: error: found `pulse` without a time; expected `pulse TIME`"]),
        (
            "fence gpio pulse 5s",
            &[
                "ha.cf:1:18: error: found `5s`; expected a time above zero; units are ms and us; seconds are written without one: `5`",
            ],
        ),
        ("fence gpio pulse 61", &["ha.cf:1:18: error: found a pulse of 61 s; expected at most 60 s"]),
        (
            "fence gpio pulse 2 limit 1",
            &["ha.cf:1:18: error: found a limit of 1 s with a pulse of 2 s; expected more than the pulse"],
        ),
        (
            "fence gpio puls 1",
            &[
                "ha.cf:1:12: error: found `puls`; expected `fence gpio [reset|power] [unsensed] [pulse TIME] [limit TIME]`; did you mean `pulse`?",
                "ha.cf:1:17: error: found `1`; expected `fence gpio [reset|power] [unsensed] [pulse TIME] [limit TIME]`",
            ],
        ),
    ]);
}

#[test]
fn mistakes_in_fence_lines_are_told() {
    let plugin = "`fence external/NAME NAME=VALUE… [secret_file PATH] [limit TIME]`";
    expect_said(&[
        (
            "fence",
            &[
                "ha.cf:1:1: error: found `fence` without a method; expected `gpio`, `external/NAME`, an agent `fence_NAME`, `hook PATH`, `meatware` or `watchdog-lease TIME`",
            ],
        ),
        (
            "fence gpoi",
            &[
                "ha.cf:1:7: error: found `gpoi`; expected `gpio`, `external/NAME`, an agent `fence_NAME`, `hook PATH`, `meatware` or `watchdog-lease TIME`; did you mean `gpio`?",
            ],
        ),
        (
            "fence external/../x",
            &["ha.cf:1:7: error: found `external/../x`; expected `external/NAME`, the name of a file"],
        ),
        ("fence external/", &["ha.cf:1:7: error: found `external/`; expected `external/NAME`, the name of a file"]),
        (
            "fence external/none",
            &[
                "ha.cf:1:7: warning: found `/usr/lib/stonith/plugins/external/none`, which is not here; expected a plugin of cluster-glue (its package installs them)",
            ],
        ),
        (
            "fence external/open",
            &[
                "ha.cf:1:7: warning: found `/usr/lib/stonith/plugins/external/open`, which others may write; expected a program that only its owner may write; chmod go-w /usr/lib/stonith/plugins/external/open",
            ],
        ),
        (
            "fence external/own a=1 a=2 9=1 x",
            &[
                "ha.cf:1:24: error: found a second `a`; expected each parameter once",
                "ha.cf:1:28: error: found a parameter `9`; expected a name of letters, digits and `_`",
                &format!("ha.cf:1:32: error: found `x`; expected {plugin}"),
            ],
        ),
        (
            "fence external/ipmi hostname=beta ipadr=1 limit 5",
            &[
                "ha.cf:1:7: warning: found `external/ipmi` without ipaddr, userid, passwd; expected every parameter that the plugin asks for",
                "ha.cf:1:7: warning: found `ipadr`, which external/ipmi does not ask for; did you mean `ipaddr`?",
            ],
        ),
        (
            "fence fence_none",
            &[
                "ha.cf:1:7: warning: found `/usr/sbin/fence_none`, which is not here; expected an agent of fence-agents (its package installs them)",
            ],
        ),
        ("fence fence_apc action=on", &["ha.cf:1:7: error: found the action `on`; expected `off` or `reboot`"]),
        ("fence hook", &["ha.cf:1:7: error: found `hook` without a program; expected `fence hook PATH [limit TIME]`"]),
        ("fence hook off", &["ha.cf:1:12: error: found `off`; expected the path of a program, beginning with `/`"]),
        (
            "fence hook /root/plain",
            &[
                "ha.cf:1:12: warning: found `/root/plain`, which is no executable file here; expected the program that turns the peer off",
            ],
        ),
        (
            "fence hook /root/open",
            &[
                "ha.cf:1:12: warning: found `/root/open`, which others may write; expected a program that only its owner may write; chmod go-w /root/open",
            ],
        ),
        ("fence hook /root/off a=secret", &["ha.cf:1:22: error: found `a=…`; expected `fence hook PATH [limit TIME]`"]),
        (
            "fence gpio\nfence gpio",
            &[
                "ha.cf:2:7: warning: found `gpio reset` a second time; expected each once; it stands in line 1 already, and one that has failed is tried again anyway",
            ],
        ),
        (
            "fence_settle 5",
            &["ha.cf:1:14: warning: found a setting for fences; expected a `fence` line; nothing is fenced"],
        ),
        ("fences_per_hour 0\nfence gpio", &["ha.cf:1:17: error: found `0`; expected a whole number from 1 to 16"]),
    ]);
}

#[test]
fn what_a_method_does_not_prove_or_costs_is_told() {
    expect_said(&[
        (
            "fence meatware",
            &[
                "ha.cf:1:7: warning: found `meatware` alone; expected a device before it; nothing is taken over from a silent peer until a person says `nullbeat fence --confirm NODE`",
            ],
        ),
        (
            "fence meatware\nfence gpio",
            &[
                "ha.cf:2:7: warning: found `gpio reset` behind `meatware`; expected `meatware` last; what waits for a person comes when nothing else is left to try",
            ],
        ),
        ("takeover_policy available\nfence gpio", &[]),
        (
            "fence watchdog-lease",
            &[
                "ha.cf:1:7: error: found `watchdog-lease` without a time; expected `watchdog-lease TIME`: how long a node that is not acknowledged goes on kicking its watchdog",
            ],
        ),
        (
            "keepalive 2\nfence watchdog-lease 5",
            &[
                "ha.cf:2:7: warning: found `watchdog-lease` of 5 s; its price: a dead standby or cut cables reset the owner, 5 s after the last beat that was acknowledged",
                "ha.cf:2:7: error: found `watchdog-lease` of 5 s with a keepalive of 2 s; expected at least four keepalives, that is 8 s",
                "ha.cf:2:7: error: found `watchdog-lease` without a watchdog; expected a `watchdog` line; only an armed watchdog can reset this board",
            ],
        ),
    ]);
    let mut many = String::new();
    for number in 0..9 {
        many += &format!("fence hook /root/off{number}\n");
    }
    assert_eq!(fenced(&many).0, ["ha.cf:9:7: error: found 9 ways to fence; expected at most 8"]);
    let directory = Directory::new();
    directory.write("ha.cf", complete(b"fence hook /root/off"));
    let loaded = directory.load(&LoadOptions { machine: &fence_board(), ..LoadOptions::new(Purpose::Check) });
    let said = directory.messages(&loaded);
    assert_eq!(
        said,
        [
            "ha.cf:6:17: warning: found `takeover_policy available` beside a fence; expected `takeover_policy safe`, or no line; it has no effect: with a fence a takeover from a silent peer waits for the fence's confirmation"
        ]
    );
}

#[test]
fn secrets_are_for_nobody_else() {
    let (said, _) = fenced("fence fence_apc passwd=x passwd_script=/x\nkeepalive 1");
    assert_eq!(said, [""; 0], "ha.cf of mode 0600");
    let directory = Directory::new();
    directory.write("ha.cf", complete(b"fence fence_apc passwd=x\ntakeover_policy safe"));
    directory.permit("ha.cf", 0o644);
    directory.write("secret", "passwd\n");
    let load = |directory: &Directory| {
        let loaded = directory.load(&LoadOptions { machine: &fence_board(), ..LoadOptions::new(Purpose::Check) });
        directory.messages(&loaded)
    };
    assert_eq!(
        load(&directory),
        [
            "ha.cf:1:17: warning: found `passwd` in a file that others may read; expected `secret_file PATH`, a file of mode 0600 with lines NAME=VALUE"
        ]
    );
    let line =
        |name: &str| format!("fence fence_apc secret_file {}/{name}\ntakeover_policy safe", directory.0.display());
    directory.write("ha.cf", complete(line("secret").as_bytes()));
    directory.permit("secret", 0o640);
    let said = load(&directory);
    assert!(said[0].contains("error: found `") && said[0].contains("of mode 0640"), "{said:?}");
    directory.permit("secret", 0o600);
    let said = load(&directory);
    assert!(said[0].contains("error: found line 1 of") && !said[0].contains("passwd"), "{said:?}");
    directory.write("ha.cf", complete(line("missing").as_bytes()));
    let said = load(&directory);
    assert!(said[0].contains("warning: found") && said[0].contains("cannot be read"), "{said:?}");
}

#[test]
fn heartbeats_own_directives_lead_to_one_device() {
    expect_said(&[
        ("stonith", &["ha.cf:1:1: error: found `stonith` without a type; expected `stonith TYPE CONFIGFILE`"]),
        (
            "stonith meatware",
            &["ha.cf:1:1: error: found `stonith` without a configuration file; expected `stonith TYPE CONFIGFILE`"],
        ),
        (
            "stonith_host",
            &["ha.cf:1:1: error: found `stonith_host` without a host; expected `stonith_host HOST TYPE PARAMETERS`"],
        ),
        (
            "stonith_host beta nosuch alpha",
            &["ha.cf:1:1: note: found `stonith_host` for `beta`; it is not looked at on `alpha`"],
        ),
        (
            "stonith_host *",
            &["ha.cf:1:14: error: found `stonith_host` without a type; expected `stonith_host HOST TYPE PARAMETERS`"],
        ),
        (
            "stonith_host * nosuch beta",
            &["ha.cf:1:16: error: found `nosuch`, which is no type here; expected a type of `stonith -L`"],
        ),
        ("stonith_host * ../x beta", &["ha.cf:1:16: error: found `../x`; expected a type, as `stonith -L` lists them"]),
        (
            "stonith_host ALPHA external/ipmi beta 10.0.0.7",
            &[
                "ha.cf:1:20: error: found 2 of 4 parameters for `external/ipmi`; expected values for hostname, ipaddr, userid, passwd",
            ],
        ),
        (
            "stonith_host alpha meatware beta",
            &[
                "ha.cf:1:1: warning: found `meatware` alone; expected a device before it; nothing is taken over from a silent peer until a person says `nullbeat fence --confirm NODE`",
                "ha.cf:1:20: note: found `meatware`, where a person confirms; with `nullbeat fence --confirm NODE`; meatclient is not listened to",
            ],
        ),
    ]);
    let (said, config) = fenced(
        "stonith external/ipmi DIR/device\nstonith_host * external/own a  b\tc d # remark\nstonith_host beta x y",
    );
    assert_eq!(
        said,
        [
            "ha.cf:2:1: warning: found a further STONITH device; expected one; this one counts, the one in line 1 does not; several are given with `fence`",
            "ha.cf:3:1: note: found `stonith_host` for `beta`; it is not looked at on `alpha`",
        ]
    );
    let config = config.unwrap();
    assert_eq!(names(&config), ["external/own"]);
    let FenceHow::Stonith { program, kind, parameters } = &config.methods[0].how else { panic!("{config:?}") };
    assert_eq!((program.to_str(), kind.as_str()), (Some("/usr/sbin/stonith"), "external/own"));
    assert!(*parameters == StonithParameters::Text("a  b c d".into()), "blanks stay");
    let (said, config) = fenced("stonith external/ipmi DIR/device");
    assert_eq!(said, [""; 0]);
    let FenceHow::Stonith { parameters: StonithParameters::File(_), .. } = &config.unwrap().methods[0].how else {
        panic!("the file")
    };
}

#[test]
fn run_refuses_what_a_check_warns_of() {
    for text in ["fence external/none", "fence fence_none", "fence hook /root/open", "stonith external/ipmi /missing"] {
        let (said, config) = fenced_by(&fence_board(), Purpose::Run, text);
        assert!(config.is_none() && said.iter().any(|line| line.contains(" error: ")), "{text}: {said:?}");
        assert!(fenced(text).1.is_some(), "{text}");
    }
    let mut bare = fence_board();
    bare.files.extend(
        ["/usr/sbin", "/usr/bin", "/usr/local/sbin", "/sbin"]
            .map(|folder| (PathBuf::from(folder).join("stonith"), FileKind::Missing)),
    );
    let (said, config) = fenced_by(&bare, Purpose::Run, "stonith_host * baytech x");
    assert!(config.is_none() && said[0].contains("no program `stonith`"), "{said:?}");
}

#[test]
fn gpio_needs_its_line_and_says_what_a_missing_sense_line_means() {
    let said = |text: &str| {
        let directory = Directory::new();
        directory.write("ha.cf", complete(format!("takeover_policy safe\n{text}").as_bytes()));
        directory
            .messages(&directory.load(&LoadOptions { machine: &fence_board(), ..LoadOptions::new(Purpose::Check) }))
    };
    assert_eq!(
        said("fence gpio power\ngpio fence-reset gpiochip0 4"),
        [
            "ha.cf:2:7: error: found `fence gpio power` without a line `fence-power`; expected `gpio fence-power CHIP OFFSET …`, here or in the board file"
        ]
    );
    assert_eq!(
        said("fence gpio\ngpio fence-reset gpiochip0 4"),
        [
            "ha.cf:2:7: note: found `fence gpio reset` without a line `peer-power`; nothing tells whether it worked: the peer counts as off when the line has been driven"
        ]
    );
}
