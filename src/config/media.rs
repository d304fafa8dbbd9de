//! Media lines of ha.cf (spec/config.md 2.2).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::time::Duration;

use super::PortSource;
use super::draft::{Draft, DraftMedium, Given};
use super::finding::{At, nearest};
use super::machine::FileKind;
use super::token::Word;
use super::{Medium, value};
use crate::core::limits::{LINK_NAME_MAX, LINKS_MAX};

/// Speeds of the original, and the next one that is common.
const BAUDS: [u32; 8] = [9600, 19200, 38400, 57600, 115_200, 230_400, 460_800, 921_600];
/// Speed when neither `baud` nor the line says one.
const DEFAULT_BAUD: u32 = 19200;
/// Port when neither `udpport` nor the line says one, and the machine knows no [`PORT_SERVICE`].
const DEFAULT_PORT: u16 = 694;
/// The service whose UDP port is taken when `udpport` is absent (spec/config.md 2.2).
const PORT_SERVICE: &str = "ha-cluster";

impl Draft<'_> {
    /// Adds a medium unless there are too many.
    fn add_medium(&mut self, at: At, medium: Medium) {
        if self.media.len() < LINKS_MAX {
            self.media.push(DraftMedium { medium, at, keepalive: None });
        } else {
            self.findings.error(at, "one medium too many").expected(format!("at most {LINKS_MAX}"));
        }
    }

    /// Whether a link may have this name.
    fn is_link_name(&mut self, word: &Word) -> bool {
        let is_fine = word.text.len() <= LINK_NAME_MAX;
        if !is_fine {
            let found = format!("a name of {} bytes, {}", word.text.len(), word.quoted());
            let finding = self.findings.error(word.at, found).expected(format!("at most {LINK_NAME_MAX} bytes"));
            if word.text.starts_with('/') {
                finding.hint("a symbolic link, made by a udev rule, gives the device a shorter path");
            }
        }
        is_fine
    }

    /// Warns when the machine has no such interface.
    fn look_for_interface(&mut self, word: &Word) {
        if !self.machine.has_interface(&word.text) {
            let found = format!("{}, which is no network interface here", word.quoted());
            self.findings.warning(word.at, found).expected("a network interface");
        }
    }

    fn baud(&mut self, word: &Word) -> Option<u32> {
        let speed = word.text.parse().ok().filter(|speed| BAUDS.contains(speed));
        if speed.is_none() {
            let known: Vec<String> = BAUDS.iter().map(ToString::to_string).collect();
            let finding = self.findings.error(word.at, word.quoted());
            finding.expected(format!("one of {}", known.join(" ")));
        }
        speed
    }

    fn port(&mut self, word: &Word) -> Option<u16> {
        let port = word.text.parse().ok().filter(|port| *port > 0);
        if port.is_none() {
            self.findings.error(word.at, word.quoted()).expected("a UDP port from 1 to 65535");
        }
        port
    }

    /// Adds a network medium; `is_same` finds a line that is the same path.
    fn add_network(&mut self, at: At, medium: Medium, is_same: impl Fn(&Medium) -> bool) {
        if self.media.iter().any(|known| is_same(&known.medium)) {
            let found = format!("the same `{}` line a second time", medium.word());
            self.findings.warning(at, found).expected("each path once");
        }
        self.add_medium(at, medium);
    }

    /// `udpport` as far as it has been read, as in Heartbeat.
    fn port_so_far(&mut self) -> u16 {
        self.default_port().0
    }

    /// Whether the line is meant for the other node, whose address it would have to name here. Then it opens no link.
    fn is_for_the_other_node(&mut self, host: &Word, address: IpAddr) -> bool {
        // Two nodes on one loopback are meant as written.
        let is_own = !address.is_loopback() && !address.is_unspecified() && self.machine.addresses().contains(&address);
        if is_own {
            let note = self.findings.note(host.at, format!("{}, an address of this machine", host.quoted()));
            note.hint("this line is for the other node and opens no link here");
        }
        is_own && self.purpose == super::Purpose::Run
    }

    /// The port of lines that do not say one, as things stand, and where it comes from.
    pub(super) fn default_port(&mut self) -> (u16, PortSource) {
        if let Some((port, _)) = self.udpport {
            return (u16::try_from(port).unwrap_or(DEFAULT_PORT), PortSource::Directive);
        }
        let machine = self.machine;
        let service = *self.service_port.get_or_insert_with(|| machine.udp_service(PORT_SERVICE));
        service.map_or((DEFAULT_PORT, PortSource::BuiltIn), |port| (port, PortSource::Service))
    }
}

pub(super) fn read_udpport(draft: &mut Draft<'_>, word: &Word) -> bool {
    let takes_it =
        |medium: &Medium| matches!(medium, Medium::Ucast { .. } | Medium::Bcast { .. } | Medium::Ucast6 { .. });
    if draft.media.iter().any(|draft| takes_it(&draft.medium)) {
        let hint = "media lines above it keep the port they had, as in Heartbeat";
        draft.findings.warning(draft.here.1, "`udpport` below a media line").expected("it above them").hint(hint);
    }
    draft.integer(word, 1..=65535, |draft| &mut draft.udpport)
}

pub(super) fn read_baud(draft: &mut Draft<'_>, word: &Word) -> bool {
    let Some(speed) = draft.baud(word) else { return false };
    if draft.media.iter().any(|draft| matches!(draft.medium, Medium::Serial { .. })) {
        let hint = "lines above it keep the speed they had, as in Heartbeat";
        draft.findings.warning(draft.here.1, "`baud` below a `serial` line").expected("it above them").hint(hint);
    }
    draft.baud = Some((speed, word.at));
    true
}

/// Directives of links to peers: each may have a `keepalive TIME` of its own.
const LINK_DIRECTIVES: [&str; 7] = ["serial", "ucast", "bcast", "udp", "mcast", "ucast6", "mcast6"];

impl Draft<'_> {
    /// The words of a line without a `keepalive TIME` in it, and that time.
    pub(super) fn cut_keepalive(&mut self, directive: &str, words: &[Word]) -> (Vec<Word>, Given<Duration>) {
        let mut rest = words.to_vec();
        // An interface may be called so.
        let first = usize::from(directive != "serial");
        let place = rest.iter().skip(first).position(|word| word.text == "keepalive").map(|place| place + first);
        let Some(place) = place.filter(|_| LINK_DIRECTIVES.contains(&directive)) else { return (rest, None) };
        let word = rest.remove(place);
        if place == rest.len() {
            self.findings.refuse(word.at, "`keepalive` without a time", "`keepalive TIME`");
            return (rest, None);
        }
        let value = rest.remove(place);
        let keepalive = self.read_time(&value, false);
        (rest, keepalive)
    }
}

/// `serial DEV… [baud N] [flow none|rtscts] [keepalive TIME]`.
pub(super) fn read_serial(draft: &mut Draft<'_>, words: &[Word]) {
    let before = draft.media.len();
    read_serial_words(draft, words);
    draft.is_medium_refused |= draft.media.len() == before;
}

/// The options of `serial`.
const OPTIONS: [&str; 3] = ["baud", "flow", "keepalive"];

fn read_serial_words(draft: &mut Draft<'_>, words: &[Word]) {
    let mut devices = Vec::new();
    let mut baud = None;
    let mut is_rtscts = true;
    let mut is_refused = false;
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match word.text.as_str() {
            path if path.starts_with('/') => devices.push(word.clone()),
            name if draft.serial_ports.iter().any(|port| port.name == name) => devices.extend(named(draft, word)),
            "baud" => match words.next() {
                Some(speed) => baud = draft.baud(speed).or(baud),
                None => draft.findings.refuse(word.at, "`baud` without a speed", "`baud N`"),
            },
            "flow" => match words.next() {
                Some(flow) if flow.text == "none" => is_rtscts = false,
                Some(flow) if flow.text == "rtscts" => is_rtscts = true,
                Some(flow) => {
                    let finding = draft.findings.error(flow.at, flow.quoted()).expected("`none` or `rtscts`");
                    finding.nearest(&flow.text, ["none", "rtscts"]);
                }
                None => draft.findings.refuse(word.at, "`flow` without a kind", "`flow none|rtscts`"),
            },
            text => {
                refuse_serial_word(draft, word);
                is_refused = true;
                // What follows a misspelt option is its value.
                if nearest(text, OPTIONS).is_some() {
                    words.next();
                }
            }
        }
    }
    if devices.is_empty() && !is_refused {
        draft.findings.error(draft.here.1, "`serial` without a device").expected("the path of a serial device");
    }
    for device in devices {
        add_serial(draft, &device, baud, is_rtscts);
    }
}

/// The device that the board file calls so, at the place of its name.
fn named(draft: &Draft<'_>, word: &Word) -> Option<Word> {
    let port = draft.serial_ports.iter().find(|port| port.name == word.text)?;
    let text = port.path.to_str()?.to_owned();
    Some(Word { bytes: text.clone().into_bytes(), text, ..word.clone() })
}

fn refuse_serial_word(draft: &mut Draft<'_>, word: &Word) {
    let is_board_with_ports = !draft.serial_ports.is_empty();
    let name = if is_board_with_ports { ", its name in the board file" } else { "" };
    let expected = format!("the full path of a device{name}, `baud N`, `flow none|rtscts` or `keepalive TIME`");
    let is_device_name = word.text.starts_with("tty") || word.text.starts_with("dev/");
    let finding = draft.findings.error(word.at, word.quoted()).expected(expected);
    if is_device_name {
        finding.hint(format!("did you mean `/dev/{}`?", word.text.trim_start_matches("dev/")));
    } else {
        let ports = draft.serial_ports.iter().map(|port| port.name.as_str());
        finding.nearest(&word.text, ports.chain(OPTIONS));
    }
}

fn add_serial(draft: &mut Draft<'_>, word: &Word, baud: Option<u32>, is_rtscts: bool) {
    if !draft.is_link_name(word) {
        return;
    }
    let device = PathBuf::from(&word.text);
    let is_known = |medium: &Medium| matches!(medium, Medium::Serial { device: known, .. } if *known == device);
    if draft.media.iter().any(|draft| is_known(&draft.medium)) {
        let found = format!("serial device {} a second time", word.quoted());
        draft.findings.error(word.at, found).expected("each device once");
        return;
    }
    let trouble = match draft.machine.file(&device) {
        FileKind::CharacterDevice => None,
        FileKind::Missing => Some("does not exist here"),
        _ => Some("is no character device"),
    };
    if let Some(trouble) = trouble {
        draft.missing_here(word.at, format!("{}, which {trouble}", word.quoted())).expected("a serial device");
    }
    let baud = baud.or(draft.baud.map(|(speed, _)| speed)).unwrap_or(DEFAULT_BAUD);
    draft.add_medium(word.at, Medium::Serial { device, baud, is_rtscts });
}

/// `ucast DEV HOST [bind ADDRESS] [port N] [keepalive TIME]`.
pub(super) fn read_ucast(draft: &mut Draft<'_>, words: &[Word]) {
    let [interface, host, options @ ..] = words else {
        let found = if words.is_empty() { "`ucast` without arguments" } else { "`ucast` without the peer's address" };
        draft.findings.error(draft.here.1, found).expected("`ucast DEV HOST [bind ADDRESS] [port N] [keepalive TIME]`");
        draft.is_medium_refused = true;
        return;
    };
    let peer = resolve_peer(draft, host);
    let (bind, port) = read_ucast_options(draft, options);
    draft.look_for_interface(interface);
    let Some(peer) = peer.filter(|_| draft.is_link_name(interface)) else {
        draft.is_medium_refused = true;
        return;
    };
    let port = port.unwrap_or(draft.port_so_far());
    if bind.is_none() && draft.is_for_the_other_node(host, peer.into()) {
        return;
    }
    let interface = interface.text.clone();
    let (name, at) = (interface.clone(), draft.here.1);
    draft.add_network(at, Medium::Ucast { interface, peer, bind, port }, |known| {
        matches!(known, Medium::Ucast { interface, peer: known_peer, port: known_port, .. }
            if *interface == name && *known_peer == peer && *known_port == port)
    });
}

fn resolve_peer(draft: &mut Draft<'_>, host: &Word) -> Option<Ipv4Addr> {
    if host.text.parse::<Ipv6Addr>().is_ok() {
        let finding = draft.findings.error(host.at, host.quoted()).expected("an IPv4 address or a host name");
        finding.hint("IPv6 is for `ucast6`");
        return None;
    }
    if looks_like_address(&host.text) && host.text.parse::<Ipv4Addr>().is_err() {
        draft.findings.error(host.at, host.quoted()).expected("an IPv4 address: four numbers from 0 to 255");
        return None;
    }
    let Some(peer) = host.text.parse().ok().or_else(|| draft.machine.resolve(&host.text)) else {
        let found = format!("{}, which is no IPv4 address and cannot be resolved here", host.quoted());
        let finding = draft.missing_here(host.at, found).expected("an IPv4 address or a host name");
        finding.hint("an address does not depend on a name server");
        return (draft.purpose == super::Purpose::Check).then_some(Ipv4Addr::UNSPECIFIED);
    };
    if peer.is_multicast() || peer.is_broadcast() || peer.is_unspecified() {
        draft
            .findings
            .error(host.at, format!("{}, which is no address of one node", host.quoted()))
            .expected("the peer's address");
        return None;
    }
    Some(peer)
}

/// Digits and points only: meant as an address, not as a name.
pub(super) fn looks_like_address(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
}

fn read_ucast_options(draft: &mut Draft<'_>, options: &[Word]) -> (Option<Ipv4Addr>, Option<u16>) {
    let (mut bind, mut port) = (None, None);
    let known = ["bind", "port", "keepalive"];
    let mut words = options.iter();
    while let Some(word) = words.next() {
        match word.text.as_str() {
            "bind" => match words.next().map(|address| (address, address.text.parse())) {
                Some((_, Ok(address))) => bind = Some(address),
                Some((word, Err(_))) => {
                    draft.findings.error(word.at, word.quoted()).expected("an IPv4 address of this machine");
                }
                None => draft.findings.refuse(word.at, "`bind` without an address", "`bind ADDRESS`"),
            },
            "port" => match words.next() {
                Some(number) => port = draft.port(number).or(port),
                None => draft.findings.refuse(word.at, "`port` without a number", "`port N`"),
            },
            text => {
                let finding = draft.findings.error(word.at, word.quoted());
                finding.expected("`bind ADDRESS`, `port N`, `keepalive TIME` or nothing more").nearest(text, known);
                if nearest(text, known).is_some() {
                    words.next();
                }
            }
        }
    }
    (bind, port)
}

pub(super) fn read_bcast(draft: &mut Draft<'_>, word: &Word) -> bool {
    draft.look_for_interface(word);
    if !draft.is_link_name(word) {
        draft.is_medium_refused = true;
        return false;
    }
    let (name, port) = (&word.text, draft.port_so_far());
    draft.add_network(word.at, Medium::Bcast { interface: name.clone(), port }, |known| {
        matches!(known, Medium::Bcast { interface, port: known_port } if interface == name && *known_port == port)
    });
    true
}

pub(super) fn read_udp(draft: &mut Draft<'_>, word: &Word) -> bool {
    draft.findings.warning(draft.here.1, "`udp`, the old name of `bcast`").expected("`bcast`");
    read_bcast(draft, word)
}

/// `mcast DEV GROUP PORT TTL LOOP`.
pub(super) fn read_mcast(draft: &mut Draft<'_>, words: &[Word]) {
    let parsed = read_multicast(draft, words, ["DEV", "GROUP", "PORT", "TTL", "LOOP"], |draft, word| {
        let group = word.text.parse().ok().filter(Ipv4Addr::is_multicast);
        if group.is_none() {
            draft.findings.error(word.at, word.quoted()).expected("an address from 224.0.0.0 to 239.255.255.255");
        }
        group
    });
    let Some((interface, group, Numbers { port, reach, is_looped })) = parsed else {
        draft.is_medium_refused = true;
        return;
    };
    let (name, at) = (interface.clone(), draft.here.1);
    draft.add_network(at, Medium::Mcast { interface, group, port, ttl: reach, is_looped }, |known| {
        matches!(known, Medium::Mcast { interface, group: known_group, port: known_port, .. }
            if *interface == name && *known_group == group && *known_port == port)
    });
}

/// `mcast6 DEV GROUP PORT HOPS LOOP`.
pub(super) fn read_mcast6(draft: &mut Draft<'_>, words: &[Word]) {
    let parsed = read_multicast(draft, words, ["DEV", "GROUP", "PORT", "HOPS", "LOOP"], |draft, word| {
        let group = word.text.parse().ok().filter(is_group6);
        if group.is_none() {
            let expected = "an address ff0S:: or ff1S:: with scope S 2, 4, 5 or 8";
            draft.findings.error(word.at, word.quoted()).expected(expected);
        }
        group
    });
    let Some((interface, group, Numbers { port, reach, is_looped })) = parsed else {
        draft.is_medium_refused = true;
        return;
    };
    let (name, at) = (interface.clone(), draft.here.1);
    draft.add_network(at, Medium::Mcast6 { interface, group, port, hops: reach, is_looped }, |known| {
        matches!(known, Medium::Mcast6 { interface, group: known_group, port: known_port, .. }
            if *interface == name && *known_group == group && *known_port == port)
    });
}

fn is_group6(group: &Ipv6Addr) -> bool {
    let [first, rest @ ..] = group.segments();
    let (flags, scope) = ((first >> 4) & 0xf, first & 0xf);
    first >> 8 == 0xff && flags <= 1 && matches!(scope, 2 | 4 | 5 | 8) && rest.iter().any(|part| *part != 0)
}

/// The numbers of a multicast line.
struct Numbers {
    port: u16,
    /// TTL or hop limit.
    reach: u8,
    is_looped: bool,
}

/// The five words of a multicast line. `None`: something is wrong with them, and has been said.
fn read_multicast<G>(
    draft: &mut Draft<'_>,
    words: &[Word],
    names: [&str; 5],
    group_of: impl Fn(&mut Draft<'_>, &Word) -> Option<G>,
) -> Option<(String, G, Numbers)> {
    let word = draft.here.0;
    let expected = format!("`{word} {}`", names.join(" "));
    let [interface, group, port, reach, looped, rest @ ..] = words else {
        let missing = names.get(words.len()).copied().unwrap_or_default();
        draft.findings.error(draft.here.1, format!("`{word}` without {missing}")).expected(expected);
        return None;
    };
    if let Some(extra) = rest.first() {
        draft.findings.warning(extra.at, extra.quoted()).expected(expected).hint("it is ignored, as in Heartbeat");
    }
    draft.look_for_interface(interface);
    let is_name = draft.is_link_name(interface);
    let group = group_of(draft, group);
    let port = draft.port(port);
    let reach = read_small(draft, reach, 4, if names[3] == "TTL" { "a TTL" } else { "a hop limit" });
    let is_looped = read_small(draft, looped, 1, "a loop flag").map(|flag| flag == 1);
    let numbers = Numbers { port: port?, reach: reach?, is_looped: is_looped? };
    is_name.then_some((interface.text.clone(), group?, numbers))
}

/// A number from 0 to `most`.
fn read_small(draft: &mut Draft<'_>, word: &Word, most: u8, name: &str) -> Option<u8> {
    let number = value::integer(&word.text);
    let small = u8::try_from(number.value).ok().filter(|value| number.is_clean && *value <= most);
    if small.is_none() {
        draft.findings.error(word.at, word.quoted()).expected(format!("{name} from 0 to {most}"));
    }
    small
}

/// `ucast6 DEV ADDR[%scope]`.
pub(super) fn read_ucast6(draft: &mut Draft<'_>, words: &[Word]) {
    let [interface, host, rest @ ..] = words else {
        draft.findings.error(draft.here.1, "`ucast6` without the peer's address").expected("`ucast6 DEV ADDRESS`");
        draft.is_medium_refused = true;
        return;
    };
    if let Some(extra) = rest.first() {
        draft
            .findings
            .warning(extra.at, extra.quoted())
            .expected("nothing more")
            .hint("it is ignored, as in Heartbeat");
    }
    draft.look_for_interface(interface);
    let (text, scope) =
        host.text.split_once('%').map_or((host.text.as_str(), None), |(text, scope)| (text, Some(scope)));
    let is_node = |address: &Ipv6Addr| !address.is_multicast() && !address.is_unspecified() && !address.is_loopback();
    let peer = text.parse().ok().filter(is_node);
    if peer.is_none() {
        draft.findings.refuse(host.at, host.quoted(), "the peer's IPv6 address");
    }
    let is_number = scope.is_some_and(|scope| scope.parse::<u32>().is_ok());
    let is_scope_fine = is_number || scope.is_none_or(|scope| scope == interface.text);
    if is_number {
        let found = format!("the number {} for a scope", scope.unwrap_or_default());
        let hint = "numbers of interfaces change; the scope is that of the line's interface";
        draft.findings.warning(host.at, found).expected(format!("`{text}%{}`", interface.text)).hint(hint);
    } else if !is_scope_fine {
        let found = format!("scope `{}` beside interface {}", scope.unwrap_or_default(), interface.quoted());
        draft.findings.error(host.at, found).expected("one and the same interface");
    }
    let Some(peer) = peer.filter(|_| is_scope_fine && draft.is_link_name(interface)) else {
        draft.is_medium_refused = true;
        return;
    };
    if draft.is_for_the_other_node(host, peer.into()) {
        return;
    }
    let interface = interface.text.clone();
    let (name, at, port) = (interface.clone(), draft.here.1, draft.port_so_far());
    draft.add_network(at, Medium::Ucast6 { interface, peer, port }, |known| {
        matches!(known, Medium::Ucast6 { interface, peer: known_peer, port: known_port }
            if *interface == name && *known_peer == peer && *known_port == port)
    });
}
