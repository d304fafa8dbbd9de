//! Tells the neighbourhood where an address lives now: gratuitous ARP, unsolicited neighbour advertisement.
//!
//! A neighbour that still knows the former owner's hardware address would send to a dead board for minutes. Both forms
//! of gratuitous ARP are sent, as some neighbours heed only requests and others only replies; five times within two
//! seconds, as switch ports that have just come up lose frames.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::rc::Rc;
use std::time::{Duration, Instant};

use nix::ifaddrs::getifaddrs;
use nix::libc;
use nix::net::if_::InterfaceFlags;

use super::job::Member;
use super::lookup::{self, Dialect, Places};
use crate::config::Resource;
use crate::sys::packet::PacketSocket;

/// How often it is said, and how long between.
const TIMES: u8 = 5;
const PAUSE: Duration = Duration::from_millis(500);

/// Announces the addresses of groups.
#[derive(Debug, Default)]
pub struct Announcer {
    socket: Option<PacketSocket>,
    pending: Vec<Pending>,
    is_refused: bool,
}

#[derive(Debug)]
struct Pending {
    member: Rc<Member>,
    addresses: Vec<IpAddr>,
    left: u8,
    at: Instant,
}

impl Announcer {
    /// Says once now where the addresses of a group live, and again within the next two seconds. A group without
    /// addresses costs nothing; what cannot be done is logged, not reported.
    pub fn announce(&mut self, now: Instant, places: &Places, member: &Rc<Member>) {
        self.withdraw(member);
        let addresses: Vec<IpAddr> =
            member.group.resources.iter().filter_map(|resource| address_of(places, resource)).collect();
        if !addresses.is_empty() {
            self.pending.push(Pending { member: Rc::clone(member), addresses, left: TIMES, at: now });
            self.turn(now);
        }
    }

    /// The group is about to be stopped.
    pub fn withdraw(&mut self, member: &Rc<Member>) {
        self.pending.retain(|pending| !Rc::ptr_eq(&pending.member, member));
    }

    /// When [`turn`](Self::turn) is due.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.pending.iter().map(|pending| pending.at).min()
    }

    /// Sends what is due.
    pub fn turn(&mut self, now: Instant) {
        let mut due = Vec::new();
        for pending in self.pending.iter_mut().filter(|pending| pending.at <= now) {
            due.extend_from_slice(&pending.addresses);
            pending.left -= 1;
            pending.at = now + PAUSE;
        }
        self.pending.retain(|pending| pending.left > 0);
        if !due.is_empty()
            && let Err(error) = self.send(&due)
        {
            self.say_once(&error);
        }
    }

    fn say_once(&mut self, error: &io::Error) {
        if !std::mem::replace(&mut self.is_refused, true) {
            log::info!("addresses cannot be announced to the neighbourhood: {error}");
        }
    }

    fn send(&mut self, addresses: &[IpAddr]) -> io::Result<()> {
        let interfaces = interfaces_with(addresses)?;
        if interfaces.is_empty() {
            log::debug!("nothing to announce: no Ethernet interface has {addresses:?}");
            return Ok(());
        }
        let socket = match &mut self.socket {
            Some(socket) => socket,
            None => self.socket.insert(PacketSocket::open()?),
        };
        // An interface that is down must not keep the others from being heard.
        let mut result = Ok(());
        for (address, interface) in interfaces {
            for frame in frames(address, &interface) {
                result = result.and(socket.send(interface.index, &frame));
            }
        }
        result
    }
}

/// An Ethernet interface.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Interface {
    name: String,
    index: i32,
    hardware: [u8; 6],
}

/// Where each of `addresses` is configured now.
fn interfaces_with(addresses: &[IpAddr]) -> io::Result<Vec<(IpAddr, Interface)>> {
    let mut known: BTreeMap<String, Interface> = BTreeMap::new();
    let mut found = Vec::new();
    for entry in getifaddrs()? {
        // A label such as eth0:1 is no interface of its own.
        let name = entry.interface_name.split(':').next().unwrap_or_default().to_owned();
        let Some(address) = entry.address else { continue };
        if let Some(link) = address.as_link_addr() {
            let is_mute = entry.flags.intersects(InterfaceFlags::IFF_LOOPBACK | InterfaceFlags::IFF_NOARP);
            let is_ethernet = link.hatype() == libc::ARPHRD_ETHER;
            if let (Some(hardware), Ok(index), false, true) =
                (link.addr(), i32::try_from(link.ifindex()), is_mute, is_ethernet)
            {
                known.insert(name.clone(), Interface { name, index, hardware });
            }
            continue;
        }
        let ip = match (address.as_sockaddr_in(), address.as_sockaddr_in6()) {
            (Some(v4), _) => IpAddr::V4(v4.ip()),
            (_, Some(v6)) => IpAddr::V6(v6.ip()),
            _ => continue,
        };
        if addresses.contains(&ip) {
            found.push((ip, name));
        }
    }
    Ok(found.into_iter().filter_map(|(ip, name)| Some((ip, known.get(&name)?.clone()))).collect())
}

fn frames(address: IpAddr, interface: &Interface) -> Vec<Vec<u8>> {
    match address {
        IpAddr::V4(ip) => vec![arp(ip, interface.hardware, 1), arp(ip, interface.hardware, 2)],
        IpAddr::V6(ip) => {
            let path = format!("/proc/sys/net/ipv6/conf/{}/forwarding", interface.name);
            // Without the router flag, hosts that use us as their router would forget us (RFC 4861 7.2.5).
            let is_router = std::fs::read_to_string(path).is_ok_and(|text| text.trim() == "1");
            vec![advertisement(ip, interface.hardware, is_router)]
        }
    }
}

/// ARP for Ethernet and IPv4 (RFC 826), both addresses our own (RFC 5227 section 3); 1 request, 2 reply.
fn arp(ip: Ipv4Addr, hardware: [u8; 6], operation: u8) -> Vec<u8> {
    let mut frame = Vec::with_capacity(42);
    frame.extend([0xff; 6]);
    frame.extend(hardware);
    frame.extend([0x08, 0x06]);
    frame.extend([0, 1, 0x08, 0x00, 6, 4, 0, operation]);
    frame.extend(hardware);
    frame.extend(ip.octets());
    frame.extend(if operation == 1 { [0; 6] } else { hardware });
    frame.extend(ip.octets());
    frame
}

/// Unsolicited neighbour advertisement with the override flag, to all nodes (RFC 4861 7.2.6).
fn advertisement(ip: Ipv6Addr, hardware: [u8; 6], is_router: bool) -> Vec<u8> {
    let all_nodes = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
    let mut body = vec![136, 0, 0, 0, if is_router { 0xa0 } else { 0x20 }, 0, 0, 0];
    body.extend(ip.octets());
    body.extend([2, 1]);
    body.extend(hardware);
    let sum = icmp_checksum(ip, all_nodes, &body);
    body[2..4].copy_from_slice(&sum.to_be_bytes());

    let mut frame = Vec::with_capacity(86);
    frame.extend([0x33, 0x33, 0, 0, 0, 1]);
    frame.extend(hardware);
    frame.extend([0x86, 0xdd]);
    frame.extend([0x60, 0, 0, 0]);
    frame.extend(u16::try_from(body.len()).unwrap_or(0).to_be_bytes());
    // ICMPv6; the hop limit proves that it did not come through a router.
    frame.extend([58, 255]);
    frame.extend(ip.octets());
    frame.extend(all_nodes.octets());
    frame.extend(body);
    frame
}

/// Internet checksum over the pseudo-header (RFC 4443 2.3) and `body`, whose length is even.
fn icmp_checksum(from: Ipv6Addr, to: Ipv6Addr, body: &[u8]) -> u16 {
    let length = u32::try_from(body.len()).unwrap_or(0).to_be_bytes();
    let octets = (from.octets(), to.octets());
    let words = [&octets.0[..], &octets.1, &length, &[0, 0, 0, 58], body];
    let mut sum: u32 = words
        .iter()
        .flat_map(|part| part.chunks_exact(2))
        .map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])))
        .sum();
    while sum >> 16 != 0 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or(0)
}

/// The address that a resource brings up: `IPaddr`, `IPaddr2`, `IPv6addr`, as scripts or as OCF agents.
fn address_of(places: &Places, resource: &Resource) -> Option<IpAddr> {
    let is_address = |name: &str| matches!(name, "IPaddr" | "IPaddr2" | "IPv6addr");
    if is_address(&resource.script) {
        // `::` separates arguments but also belongs into IPv6 addresses; these scripts have one argument.
        let word = resource.arguments.join("::");
        return word.split('/').next()?.parse().ok();
    }
    if resource.script != "OCF" && !resource.script.starts_with("ocf:") {
        return None;
    }
    let program = lookup::locate(places, resource).ok()?;
    if !is_address(program.path.file_name()?.to_str()?) {
        return None;
    }
    let Dialect::Ocf { variables } = program.dialect else { return None };
    variables.iter().filter_map(|variable| variable.to_str().ok()).find_map(|variable| {
        let value =
            variable.strip_prefix("OCF_RESKEY_ip=").or_else(|| variable.strip_prefix("OCF_RESKEY_ipv6addr="))?;
        value.split('/').next()?.parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    const HARDWARE: [u8; 6] = [2, 0, 0, 0, 0, 9];

    fn address(word: &str) -> Option<IpAddr> {
        let mut parts = word.split("::").map(str::to_owned);
        let resource = Resource { word: word.into(), script: parts.next()?, arguments: parts.collect() };
        let nowhere = PathBuf::from("/nonexistent");
        let places =
            Places { config: nowhere.clone(), init_d: nowhere.clone(), ocf_root: nowhere.clone(), systemctl: nowhere };
        address_of(&places, &resource)
    }

    #[test]
    fn addresses_are_found_in_resource_words() {
        for word in ["IPaddr::10.0.0.1", "IPaddr::10.0.0.1/24", "IPaddr2::10.0.0.1/24/eth0/10.0.0.255"] {
            assert_eq!(address(word), Some(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1))), "{word}");
        }
        for word in ["IPv6addr::fd00:0:0:0:0:0:0:1/64", "IPv6addr::fd00::1", "IPaddr2::fd00::1/64/eth0"] {
            assert_eq!(address(word), Some("fd00::1".parse().unwrap()), "{word}");
        }
        for word in ["IPaddr", "IPaddr::name", "httpd", "Filesystem::10.0.0.1:/x::/mnt"] {
            assert_eq!(address(word), None, "{word}");
        }
    }

    #[test]
    fn arp_is_broadcast_with_our_addresses() {
        let frame = arp(Ipv4Addr::new(10, 0, 0, 1), HARDWARE, 1);
        assert_eq!(
            frame,
            [
                &[0xff; 6][..],
                &HARDWARE,
                &[8, 6, 0, 1, 8, 0, 6, 4, 0, 1],
                &HARDWARE,
                &[10, 0, 0, 1],
                &[0; 6],
                &[10, 0, 0, 1]
            ]
            .concat()
        );
    }

    #[test]
    fn advertisement_has_a_true_checksum() {
        let ip: Ipv6Addr = "fd00::1".parse().unwrap();
        let frame = advertisement(ip, HARDWARE, false);
        assert_eq!(frame.len(), 14 + 40 + 32);
        // A sum over a message with its checksum in place is all ones, so its complement is zero.
        let to = "ff02::1".parse().unwrap();
        assert_eq!(icmp_checksum(ip, to, &frame[54..]), 0);
        assert_eq!(frame[58], 0x20, "override, no router");
    }
}
