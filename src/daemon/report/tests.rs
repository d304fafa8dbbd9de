use super::*;
use crate::config::{FenceHow, Resource};
use crate::core::ids::{Generation, KeyNumber, Uuid};
use crate::core::message::GroupState;
use crate::core::message::Holds;
use crate::core::settings::{AutoFailback, GroupSettings, Identity, SplitBrainLoser, TakeoverPolicy};
use crate::core::time::Duration;
use crate::core::{Alarm, Cause, Event, FenceStep, Input, InputLine, JobOutcome, LineLevel, Order, Outcome, Request};
use crate::daemon::history::words::{What, entry};
use crate::daemon::last_move::{LastMove, Script};
use crate::daemon::watchdogs::HeldWatchdog;
use crate::hardware::watchdog::{Armed, ResetCause};
use Kind::{Flag, Number, Text};

fn settings() -> Settings {
    Settings {
        nodes: ["rsa", "rsb"].iter().map(|name| (*name).try_into().unwrap()).collect(),
        local: NodeId(0),
        partner: Some(NodeId(1)),
        links: ["/dev/ttyS0", "eth0"].iter().map(|name| (*name).try_into().unwrap()).collect(),
        groups: [GroupSettings { preferred: NodeId(1) }].into_iter().collect(),
        paces: heapless::Vec::new(),
        keepalive: Duration::from_millis(200),
        warntime: Duration::from_millis(500),
        deadtime: Duration::from_secs(1),
        announced_extra: Duration::ZERO,
        initdead: Duration::from_secs(4),
        max_rexmit_delay: Duration::from_millis(250),
        signing_key: KeyNumber(1),
        auto_failback: AutoFailback::Off,
        failback_delay: Duration::ZERO,
        moves_per_hour: 0,
        takeover_policy: TakeoverPolicy::Safe,
        split_brain_loser: SplitBrainLoser::NotPreferred,
        upstream: crate::core::settings::UpstreamSettings::NONE,
        health: crate::core::settings::HealthSettings::NONE,
        fence: crate::core::settings::FenceSettings::NONE,
        interlock: None,
        has_owner_line: false,
        lease: None,
        config_digest: 0xabc,
        resources_digest: 1,
        has_resources: true,
        autojoin: crate::core::settings::Autojoin::default(),
        random_seed: 1,
        is_generation_guessed: false,
    }
}

fn groups() -> Vec<Group> {
    let resource = |word: &str| Resource { word: word.into(), script: word.into(), arguments: Vec::new() };
    let resources = vec![resource("10.0.0.1"), resource("httpd")];
    vec![Group { node: "rsb".into(), text: "10.0.0.1 httpd".into(), resources }]
}

/// The sample's one UDP link, which met two bad packets.
fn links(now: Instant) -> LinkTable {
    let mut links = LinkTable::new(&crate::config::sample::config(std::path::Path::new("/"), &[]), now);
    let slot = links.get_mut(LinkId(0)).unwrap();
    for _ in 0..2 {
        slot.count_reject(crate::wire::heartbeat::Reject::Unsigned, now);
    }
    slot.count_received(now);
    links
}

/// One that was never kicked.
fn kicker() -> Kicker<Device> {
    let file = nix::sys::memfd::memfd_create(c"report-test", nix::sys::memfd::MFdFlags::MFD_CLOEXEC).unwrap();
    let armed = Armed {
        identity: "i6300ESB timer".into(),
        timeout: 4,
        cause: ResetCause::from_bits(0x20),
        has_magic_close: true,
    };
    let path = "/dev/watchdog".into();
    let held = HeldWatchdog { path, device: Device::from(file), armed, shortest: Some(1), is_nowayout: false };
    Kicker::new(vec![held], Duration::from_millis(200), Instant::from_millis(1000))
}

fn at(ms: u64) -> Stamp {
    Stamp { now: Instant::from_millis(ms), wall: 1_709_208_000 }
}

/// A node that has just begun.
fn node() -> Node {
    let identity = Identity { uuid: Uuid([0x5a; 16]), generation: Generation(77) };
    let mut node = Node::new(settings(), identity, None, at(1000));
    node.handle(at(1000), Input::Tick);
    node.handle(at(2000), Input::Line { line: InputLine::PeerPower, level: LineLevel::Active });
    while node.poll_action().is_some() {}
    node
}

/// Its report, after a move.
fn with_report(check: impl FnOnce(&str, &Report<'_>)) {
    let node = node();
    let mut moves = LastMove::default();
    moves.note_verdict(at(1600), Duration::from_millis(990));
    moves.note_start(at(1601), Cause::Death);
    moves.note_script(Script { group: GroupId(0), resource: 1, micros: 1234 });
    moves.note_job_end(Instant::from_millis(1610), JobOutcome::Done);
    let (groups, links) = (groups(), links(at(2000).now));
    let kicker = kicker();
    let facts = Facts {
        at: at(2000),
        started: Instant::from_millis(1000),
        node: &node,
        confinement: &Confinement { is_filtered: true, refused_calls: 3, ..Confinement::default() },
        names: Names { settings: node.settings(), groups: &groups, links: &links, fences: &[] },
        last_move: moves.get(),
        fences: &FenceBook::default(),
        gpio: &sample_lines(),
        links: &links,
        kicker: &kicker,
        control: ControlCounters::default(),
        fifo: FifoCounters::default(),
        clients: None,
        membership: None,
    };
    let mut sheet = Sheet::new(64 * 1024);
    write(Query::Status, &facts, &mut sheet);
    let text = sheet.finish();
    check(text, &Report::parse(text).unwrap());
}

fn sample_lines() -> [GpioLine; 3] {
    use crate::config::{Bias, Drive, LinePlace, LineUse, OutputLine};
    let place = |offset| LinePlace::Offset { chip: "gpiochip0".into(), offset };
    let line =
        |usage, place| GpioLine { usage, place, is_active_low: false, bias: Bias::PullUp, drive: Drive::PushPull };
    [
        line(LineUse::Output(OutputLine::Owner), place(4)),
        line(LineUse::Output(OutputLine::FenceReset), LinePlace::Name("RESET_OUT".into())),
        line(LineUse::Input(InputLine::PeerPower), place(2)),
    ]
}

#[test]
fn status_tells_what_each_line_reads() {
    with_report(|_, report| {
        let line = |line: &Line<'_>| {
            let text = |name| line.text(name).unwrap_or("-").to_owned();
            [text("name"), text("line"), text("direction"), text("level"), text("is_believed")].join(" ")
        };
        let lines: Vec<String> = report.lines("line").map(line).collect();
        assert_eq!(
            lines,
            ["owner gpiochip0 4 out unknown -", "fence-reset RESET_OUT out - -", "peer-power gpiochip0 2 in active 1",]
        );
    });
}

#[test]
fn status_tells_groups_links_and_the_last_move() {
    with_report(|text, report| {
        let node = report.first("node").unwrap();
        assert_eq!((node.text("name"), node.text("generation")), (Some("rsa"), Some("77")));
        assert_eq!(node.text("uuid"), Some("5a5a5a5a-5a5a-5a5a-5a5a-5a5a5a5a5a5a"));
        assert_eq!((node.text("config_digest"), node.number("uptime_ms")), (Some("00000abc"), Some(1000)));
        assert!(node.is_set("is_filtered") && !node.is_set("is_landlocked"));
        assert_eq!(node.number("refused_calls"), Some(3));
        let group = report.first("group").unwrap();
        assert_eq!((group.text("key"), group.text("preferred")), (Some("10.0.0.1"), Some("rsb")));
        let links: Vec<_> = report.lines("link").map(|link| link.or_dash("name")).collect();
        assert_eq!(links, ["/dev/ttyS0", "eth0"]);
        let medium = report.first("medium").unwrap();
        assert_eq!((medium.text("name"), medium.is_set("is_open")), (Some("lo"), false));
        assert_eq!(medium.number("received"), Some(1));
        let reject = report.first("reject").unwrap();
        assert_eq!((reject.text("reason"), reject.number("count")), (Some("unsigned"), Some(2)));
        let last = report.first("move").unwrap();
        assert_eq!((last.number("detect_us"), last.number("decide_us")), (Some(990_000), Some(1000)));
        assert_eq!(last.number("total_us"), Some(990_000 + 1000 + 9000));
        let script = report.first("script").unwrap();
        assert_eq!((script.text("resource"), script.number("us")), (Some("httpd"), Some(1234)), "{text}");
    });
}

#[test]
fn history_tells_each_kind_of_event() {
    let group = GroupId(0);
    let (old, new) = (GroupState::Stopped, GroupState::Starting);
    let events = [
        What::Event(Event::Group { group, old, new, cause: Cause::StartFailure }),
        What::Event(Event::Group { group, old: new, new: GroupState::Running, cause: Cause::StartFailure }),
        What::Event(Event::Node { node: NodeId(1), status: crate::core::message::NodeStatus::Dead }),
        What::Event(Event::Link { node: NodeId(1), link: LinkId(0), is_up: false }),
        What::Event(Event::Alarm { alarm: Alarm::StartFailed(group), is_raised: true }),
        What::Event(Event::Alarm { alarm: Alarm::Held, is_raised: false }),
        What::Event(Event::Fence { method: 0, step: FenceStep::Begun }),
        What::Event(Event::Fence { method: u8::MAX, step: FenceStep::Confirmed }),
        What::Event(Event::Members),
        What::Event(Event::Late { ms: 12 }),
        What::Job { group, order: Order::Start, outcome: JobOutcome::Done, ms: 3 },
        What::Device { link: LinkId(1), is_open: true },
        What::Asked(Request::Standby(Holds::LOCAL)),
        What::Asked(Request::Obtain(group)),
        What::Answered(Outcome::Refused(crate::core::Refusal::PartnerAbsent)),
        What::Clock { seconds: -7200 },
    ];
    let (node, groups, links) = (node(), groups(), links(at(2000).now));
    let how = FenceHow::Hook("/x".into());
    let fences = [FenceMethod { name: "hook /x".into(), how, limit: Duration::ZERO }];
    let names = Names { settings: node.settings(), groups: &groups, links: &links, fences: &fences };
    let inputs = "\tlinks=ttyS0:dead eth0:dead\tlines=peer-power:active";
    let expected = [
        &format!("event=group\tsubject=10.0.0.1\tfrom=stopped\tto=starting\tcause=start failure{inputs}"),
        "event=group\tsubject=10.0.0.1\tfrom=starting\tto=running\tcause=start failure",
        &format!("event=node\tsubject=rsb\tto=dead{inputs}"),
        "event=link\tsubject=rsb:/dev/ttyS0\tto=dead",
        &format!("event=alarm\tsubject=start_failed 10.0.0.1\tto=raised{inputs}"),
        "event=alarm\tsubject=held\tto=cleared",
        &format!("event=fence\tsubject=hook /x\tto=begun{inputs}"),
        &format!("event=fence\tsubject=operator\tto=confirmed{inputs}"),
        "event=nodes",
        "event=late\tms=12",
        "event=start\tsubject=10.0.0.1\tto=done\tms=3",
        "event=device\tsubject=eth0\tto=open",
        "event=operator\tsubject=standby local\tto=asked",
        "event=operator\tsubject=req_resource 10.0.0.1\tto=asked",
        "event=operator\tto=refused: the partner is dead or not yet a full member",
        "event=clock\tto=-7200 s",
    ];
    for (what, expected) in events.into_iter().zip(expected) {
        assert_eq!(entry(what, &node, &names, at(1500).now).text(), expected);
    }
}

#[test]
fn everything_that_is_written_stands_in_the_schema() {
    {
        with_report(|text, _| {
            for line in text.lines().skip(1) {
                let mut parts = line.split('\t');
                let kind = parts.next().unwrap();
                let section = SCHEMA.iter().find(|section| section.kind == kind).unwrap_or_else(|| panic!("{line}"));
                for part in parts {
                    let (name, value) = part.split_once('=').unwrap();
                    let (_, kind) = section
                        .fields
                        .iter()
                        .find(|(field, _)| *field == name)
                        .unwrap_or_else(|| panic!("{line}: {name}"));
                    match kind {
                        Number => assert!(value.parse::<u64>().is_ok(), "{line}"),
                        Flag => assert!(matches!(value, "0" | "1"), "{line}"),
                        Text => assert!(!value.is_empty(), "{line}"),
                    }
                }
            }
        });
    }
}

#[test]
fn the_documentation_explains_every_field() {
    let text = include_str!("../../../docs/status.md");
    for section in SCHEMA {
        let (_, part) =
            text.split_once(&format!("\n## {}\n", section.name)).unwrap_or_else(|| panic!("{}", section.name));
        let part = part.split("\n## ").next().unwrap();
        for (name, _) in section.fields.iter().filter(|_| section.shape != Shape::Map) {
            assert!(part.contains(&format!("`{name}`")), "{} lacks {name}", section.name);
        }
    }
    with_report(|_, report| {
        for counter in report.lines("counter") {
            let name = counter.or_dash("name");
            assert!(text.contains(&format!("`{name}`")), "{name}");
        }
    });
    for reason in crate::wire::heartbeat::Reject::NAMES {
        assert!(text.contains(&format!("`{reason}`")), "{reason}");
    }
}

#[test]
fn control_characters_cannot_forge_a_line() {
    let mut sheet = Sheet::new(100);
    Lines { sheet: &mut sheet }.begin("node").field("name", "a\tb=c\nnode").end();
    assert_eq!(sheet.finish(), "node\tname=a?b=c?node\n");
}
