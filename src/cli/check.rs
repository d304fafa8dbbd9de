//! `nullbeat check`: reads the three files as the daemon would, and says everything that is wrong or doubtful at once.

use std::fmt::Write;

use super::arguments::{Arguments, Flag, Misuse};
use super::{exit, print_out};
use crate::config::{
    Config, FenceHow, FenceLine, FenceMethod, LineTime, LoadOptions, Loaded, Medium, PortSource, Purpose, Severity,
    load, spoken,
};
use crate::core::settings::{AutoFailback, TakeoverPolicy};

const FLAGS: [Flag; 6] = [
    Flag::Value("--config-dir"),
    Flag::Value("--run-dir"),
    Flag::Value("--state-dir"),
    Flag::Value("--node"),
    Flag::Switch("--strict"),
    Flag::Switch("--no-resources"),
];

/// Help text of `check`.
pub(super) const HELP: &str = "\
nullbeat check [--config-dir DIR] [--node NAME] [--strict] [--no-resources]

Reads ha.cf, haresources and authkeys as `run` does, and says everything that is wrong or doubtful at once:

  FILE:LINE:COLUMN: error: found …; expected …; what it leads to

Then what the configuration means, in words. Exits 78 when there is an error, else 0.

  --node NAME   the node whose configuration it is, when it is not that of this machine
  --strict      exit 1 when there is a warning
  --no-resources
                as for `run`: haresources is not read

What depends on the machine (an interface, a device, a script that does not exist here) is a warning; `run` refuses to
start where Heartbeat does.
";

/// Runs the verb and gives the exit code: 78 with an error, with `--strict` 1 with a warning, else 0.
pub fn main(args: &[String]) -> u8 {
    match parse(args) {
        Ok(arguments) => check(&arguments),
        Err(misuse) => misuse.report("check"),
    }
}

fn parse(args: &[String]) -> Result<Arguments, Misuse> {
    let arguments = Arguments::parse(args, &FLAGS)?;
    arguments.at_most(0)?;
    Ok(arguments)
}

fn check(arguments: &Arguments) -> u8 {
    let options = LoadOptions {
        node: arguments.value("--node").map(str::to_owned),
        is_without_resources: arguments.has("--no-resources"),
        ..LoadOptions::new(Purpose::Check)
    };
    let loaded = load(&arguments.paths(), &options);
    let printed = print_out(&report(&loaded));
    match verdict(&loaded, arguments.has("--strict")) {
        exit::OK => printed,
        code => code,
    }
}

fn verdict(loaded: &Loaded, is_strict: bool) -> u8 {
    if loaded.config.is_none() {
        exit::CONFIGURATION
    } else if is_strict && loaded.count(Severity::Warning) > 0 {
        exit::FAILURE
    } else {
        exit::OK
    }
}

/// All findings, what the configuration means when there is one, and the count.
fn report(loaded: &Loaded) -> String {
    let mut text = String::new();
    for finding in &loaded.findings {
        let _ = writeln!(text, "{finding}");
    }
    if let Some(config) = &loaded.config {
        if !text.is_empty() {
            text.push('\n');
        }
        for line in summary(config) {
            let _ = writeln!(text, "{line}");
        }
    }
    text.push_str(&tally(loaded));
    text
}

fn tally(loaded: &Loaded) -> String {
    let count = |severity: Severity| {
        let count = loaded.count(severity);
        format!("{count} {}{}", severity.word(), if count == 1 { "" } else { "s" })
    };
    let [errors, warnings, notes] = [Severity::Error, Severity::Warning, Severity::Note].map(count);
    let outcome = match loaded.config {
        Some(_) => "the configuration can be used",
        None => "the configuration cannot be used",
    };
    format!("{errors}, {warnings}, {notes}: {outcome}\n")
}

/// What the configuration means, in words.
fn summary(config: &Config) -> Vec<String> {
    let mut lines = vec![nodes(config)];
    lines.extend(config.line_times().into_iter().enumerate().map(|(place, line)| link(config, place, line)));
    lines.extend(port(config));
    lines.push(timing(config));
    lines.extend(watchdog(config));
    lines.push(start(config));
    lines.push(failback(config));
    lines.extend(fencing(config));
    lines.extend(config.groups.iter().map(|group| format!("group of {}: {}", group.node, group.text)));
    lines
}

fn nodes(config: &Config) -> String {
    let partner = match config.partner() {
        Some(partner) => format!("groups are exchanged with {partner}"),
        None if !config.has_resources => "no groups are managed".into(),
        None => "no groups are exchanged".into(),
    };
    format!("node {} of {}; {partner}", config.node, config.nodes.join(", "))
}

fn link(config: &Config, place: usize, line: Option<LineTime>) -> String {
    let (medium, keepalive) = (&config.media[place], config.keepalive_of(place));
    let mut text = match medium {
        Medium::Serial { device, baud, is_rtscts } => {
            let flow = if *is_rtscts { "RTS/CTS" } else { "no" };
            format!("link {} at {baud} baud with {flow} flow control", device.display())
        }
        Medium::Ucast { interface, peer, bind, port } => {
            let bind = bind.map_or_else(String::new, |address| format!(" from {address}"));
            format!("link {interface}{bind} to {peer} port {port}")
        }
        Medium::Bcast { interface, port } => format!("link {interface} to its broadcast address port {port}"),
        Medium::Ucast6 { interface, peer, port } => format!("link {interface} to {peer} port {port}"),
        Medium::Mcast { interface, group, port, ttl, is_looped } => {
            format!("link {interface} to group {group} port {port}, TTL {ttl}{}", hearing(*is_looped))
        }
        Medium::Mcast6 { interface, group, port, hops, is_looped } => {
            format!("link {interface} to group {group} port {port}, hop limit {hops}{}", hearing(*is_looped))
        }
        Medium::Ping { name, kind, hosts } => {
            let hosts: Vec<String> = hosts.iter().map(ToString::to_string).collect();
            format!("ping node {name} ({}) at {}", kind.word(), hosts.join(", "))
        }
    };
    if keepalive != config.keepalive && !medium.is_ping() {
        let _ = write!(text, ", a beat every {}", spoken(keepalive));
    }
    if let Some(line) = line {
        let percent = line.average.as_micros() * 100 / keepalive.as_micros().max(1);
        let _ = write!(text, ": {}, {percent} % of the line's time", line.arithmetic());
    }
    let copies = config.copies(place);
    if matches!(medium, Medium::Serial { .. }) && config.compact_partner().is_some() {
        let what = if copies > 1 { format!("{copies} times in a keepalive at the most") } else { "never".to_owned() };
        let _ = write!(text, "; in the compact format beats are repeated {what}");
    }
    text
}

const fn hearing(is_looped: bool) -> &'static str {
    if is_looped { ", hearing ourselves" } else { "" }
}

/// Which port lines have that do not say one.
fn port(config: &Config) -> Option<String> {
    let is_used = config.media.iter().any(|medium| !matches!(medium, Medium::Serial { .. }));
    let source = match config.udp_port.1 {
        PortSource::Directive => return None,
        PortSource::Service => "that of the service ha-cluster/udp on this machine",
        PortSource::BuiltIn => "the registered one: this machine knows no service ha-cluster/udp",
    };
    is_used.then(|| format!("no `udpport`: the port is {}, {source}", config.udp_port.0))
}

fn timing(config: &Config) -> String {
    let missed = config.deadtime.as_micros() / config.keepalive.as_micros().max(1);
    format!(
        "a beat every {}; the peer is called late {} after its last beat, and declared dead {} after it ({missed} beats)",
        spoken(config.keepalive),
        spoken(config.warntime),
        spoken(config.deadtime),
    )
}

fn watchdog(config: &Config) -> Option<String> {
    let (timeout, sum) = (config.watchdog.in_force?, config.watchdog_arithmetic()?);
    let devices: Vec<String> = config.watchdog.devices.iter().map(|path| path.display().to_string()).collect();
    let announced = config.announced_deadtime();
    let more = if announced > config.deadtime { format!(", not {}", spoken(config.deadtime)) } else { String::new() };
    let (devices, timeout) = (devices.join(", "), spoken(timeout));
    let what = format!("{devices} resets this board {timeout} after the last kick: {sum} after its last beat");
    Some(format!("{what}; its beats announce a dead time of {}{more}", spoken(announced)))
}

fn start(config: &Config) -> String {
    format!("a peer that is not heard within {} of the start is declared dead", spoken(config.initdead))
}

fn failback(config: &Config) -> String {
    let delay = spoken(config.failback_delay);
    let failback = match config.auto_failback {
        AutoFailback::Off => "groups stay where they are when their node returns".to_owned(),
        AutoFailback::On | AutoFailback::Legacy if config.failback_delay.is_zero() => {
            "groups go back to their node when it returns".to_owned()
        }
        AutoFailback::On | AutoFailback::Legacy => {
            format!("groups go back to their node {delay} after it has returned")
        }
    };
    let policy = match config.takeover_policy {
        _ if !config.fence.methods.is_empty() => {
            "the groups of a silent peer are taken over when it is confirmed to be off"
        }
        TakeoverPolicy::Available => {
            "the groups of a silent peer are taken over at once: while all links are cut both nodes may own them"
        }
        TakeoverPolicy::Safe => "the groups of a silent peer are taken over only when it is known to be off",
    };
    format!("{failback}; {policy}")
}

/// How a silent peer is made sure to be off, and who waits for whom.
fn fencing(config: &Config) -> Vec<String> {
    let (Some(partner), Some(first)) = (config.partner(), config.nodes.iter().find(|node| is_of_pair(config, node)))
    else {
        return Vec::new();
    };
    let mut lines: Vec<String> = config
        .fence
        .methods
        .iter()
        .enumerate()
        .map(|(place, method)| format!("fence {}: {}", place + 1, fence_method(method, partner)))
        .collect();
    if config.fence.methods.iter().any(|method| !method.limit.is_zero()) {
        let slot = config.settings(0).fence.slot(config.keepalive);
        let devices = slot.saturating_sub(config.keepalive * 2);
        let other = if first == partner { &config.node } else { partner };
        lines.push(format!(
            "{first} shoots at once when {other} is dead, or {} later while it holds nothing; {other} waits {} after {first} \
             is dead: {} for the shots of the other one, and two keepalives. The longer of both dead times counts for both",
            spoken(slot * 2),
            spoken(slot),
            spoken(devices),
        ));
    }
    lines
}

fn is_of_pair(config: &Config, node: &str) -> bool {
    node == config.node || Some(node) == config.partner()
}

fn fence_method(method: &FenceMethod, partner: &str) -> String {
    let (name, limit) = (&method.name, spoken(method.limit));
    match &method.how {
        FenceHow::Gpio { line: FenceLine::Reset, pulse, is_sensed } => {
            let sense = if *is_sensed { "a line `peer-power` has to drop meanwhile" } else { "no line is looked at" };
            format!("{name}: {partner} is held in reset for {}, at most {limit}; {sense}", spoken(*pulse))
        }
        FenceHow::Gpio { line: FenceLine::Power, pulse, .. } => {
            format!("{name}: {partner}'s power is cut for {}; known within {limit}", spoken(*pulse))
        }
        FenceHow::Agent { is_off: true, .. } => {
            format!("{name}: {partner} is switched off and stays so, within {limit}")
        }
        FenceHow::External { .. } | FenceHow::Agent { .. } | FenceHow::Stonith { .. } | FenceHow::Hook(_) => {
            format!("{name}: {partner} is reset within {limit}")
        }
        FenceHow::Meatware => format!("{name}: a person says `nullbeat fence --confirm {partner}`"),
        FenceHow::WatchdogLease(lease) => {
            format!("{name}: whoever owns something is reset {} after its last acknowledged beat", spoken(*lease))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::path::Path;
    use std::time::Duration;

    use super::*;
    use crate::config::sample;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_string).collect()
    }

    #[test]
    fn summary_tells_times_in_words() {
        let mut config = sample::config(Path::new("/x"), &[("alpha", "IPaddr::10.0.0.1 httpd")]);
        config.media = vec![
            Medium::Serial { device: "/dev/ttyS0".into(), baud: 19200, is_rtscts: true },
            Medium::Ucast { interface: "eth0".into(), peer: Ipv4Addr::new(10, 0, 0, 2), bind: None, port: 694 },
        ];
        config.failback_delay = Duration::from_secs(90);
        let expected = [
            "node alpha of alpha, beta; groups are exchanged with beta",
            "link /dev/ttyS0 at 19200 baud with RTS/CTS flow control: 185 bytes of 10 bits each at 19200 bits a second take 97 ms, 55 % of the line's time",
            "link eth0 to 10.0.0.2 port 694",
            "no `udpport`: the port is 694, the registered one: this machine knows no service ha-cluster/udp",
            "a beat every 200 ms; the peer is called late 500 ms after its last beat, and declared dead 1 s after it (5 beats)",
            "a peer that is not heard within 4 s of the start is declared dead",
            "groups go back to their node 90 s after it has returned; the groups of a silent peer are taken over at once: while all links are cut both nodes may own them",
            "group of alpha: IPaddr::10.0.0.1 httpd",
        ];
        assert_eq!(summary(&config), expected);
        assert_eq!(watchdog(&config), None);
        config.watchdog.devices = vec!["/dev/watchdog".into(), "/dev/watchdog1".into()];
        config.watchdog.in_force = Some(Duration::from_secs(1));
        assert_eq!(
            watchdog(&config).unwrap(),
            "/dev/watchdog, /dev/watchdog1 resets this board 1 s after the last kick: keepalive 200 ms + timeout 1 s + 1 s = 2.2 s after its last beat; its beats announce a dead time of 2.3 s, not 1 s"
        );
        config.takeover_policy = TakeoverPolicy::Safe;
        config.auto_failback = AutoFailback::Off;
        assert_eq!(
            failback(&config),
            "groups stay where they are when their node returns; the groups of a silent peer are taken over only when it is known to be off"
        );
    }

    #[test]
    fn fences_are_told_with_the_head_start() {
        let mut config = sample::config(Path::new("/x"), &[("alpha", "web")]);
        let method =
            |name: &str, how, seconds| FenceMethod { name: name.into(), how, limit: Duration::from_secs(seconds) };
        let gpio = FenceHow::Gpio { line: FenceLine::Reset, pulse: Duration::from_millis(500), is_sensed: true };
        config.fence.methods = vec![
            method("gpio reset", gpio, 3),
            method("hook /x", FenceHow::Hook("/x".into()), 30),
            method("meatware", FenceHow::Meatware, 0),
        ];
        let expected = [
            "fence 1: gpio reset: beta is held in reset for 500 ms, at most 3 s; a line `peer-power` has to drop meanwhile",
            "fence 2: hook /x: beta is reset within 30 s",
            "fence 3: meatware: a person says `nullbeat fence --confirm beta`",
            "alpha shoots at once when beta is dead, or 66.8 s later while it holds nothing; beta waits 33.4 s after alpha is dead: 33 s for the shots of the other one, and two keepalives. The longer of both dead times counts for both",
        ];
        assert_eq!(fencing(&config), expected);
        config.node = "beta".into();
        assert_eq!(fencing(&config)[3], expected[3], "both boards say the same");
        assert!(failback(&config).ends_with("taken over when it is confirmed to be off"));
    }

    #[test]
    fn missing_files_are_a_configuration_error_and_misuse_is_none() {
        assert_eq!(main(&words("--config-dir /nonexistent")), exit::CONFIGURATION);
        assert_eq!(main(&words("--config-dir /nonexistent --strict")), exit::CONFIGURATION);
        assert_eq!(main(&words("--stric")), exit::USAGE);
        assert_eq!(main(&words("extra")), exit::USAGE);
    }
}
