//! What the names of hosts, users and groups mean on this machine: its own files first, then getent(1).
//!
//! The C library's own functions load further libraries at run time, which a static program cannot do reliably and pays
//! for with a quarter of a megabyte; getent(1) asks whatever the machine is set up to ask.

use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::process::{Command, Stdio};

/// A user of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// As in the files.
    pub name: String,
    /// Its number.
    pub uid: u32,
    /// The number of its group.
    pub gid: u32,
}

/// Whom Heartbeat's own clients run as.
const HEARTBEATS_USER: &str = "hacluster";
/// Where no file has a user for the purpose.
const NOBODY: u32 = 65_534;

/// The first IPv4 address of a host name. May ask the network.
pub fn address_of(host: &str) -> Option<Ipv4Addr> {
    host.parse().ok().or_else(|| look_up("/etc/hosts", "ahostsv4", host, |text| host_in(text, host)))
}

/// The user of this name.
pub fn user(name: &str) -> Option<User> {
    look_up("/etc/passwd", "passwd", name, |text| user_in(text, name))
}

/// Whom the engine becomes: the user of ha.cf, else Heartbeat's own where there is one, else nobody.
///
/// # Errors
/// `NotFound` when there is no user of that name.
pub fn engine_user(wished: Option<&str>) -> io::Result<User> {
    if let Some(name) = wished {
        let unknown = || io::Error::new(io::ErrorKind::NotFound, format!("user {name} does not exist"));
        return user(name).ok_or_else(unknown);
    }
    // Asking further than the file takes time, and an engine that is replaced has little.
    let text = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let found = [HEARTBEATS_USER, "nobody"].into_iter().find_map(|name| user_in(&text, name));
    Ok(found.unwrap_or_else(|| User { name: "nobody".into(), uid: NOBODY, gid: NOBODY }))
}

/// Whom health checks become that name nobody: nobody. Where the engine is that one, a number without a name: who has the
/// engine's user can end it, and a checker reads what servers answer.
pub fn checker_user(engine: &User) -> User {
    let text = fs::read_to_string("/etc/passwd").unwrap_or_default();
    checker_user_in(&text, engine)
}

fn checker_user_in(text: &str, engine: &User) -> User {
    let nobody = user_in(text, "nobody").unwrap_or_else(|| User { name: "nobody".into(), uid: NOBODY, gid: NOBODY });
    if nobody.uid != engine.uid {
        return nobody;
    }
    let is_taken = |uid: u32| text.lines().any(|line| line.split(':').nth(2) == Some(&uid.to_string()));
    let free = (1..NOBODY).rev().find(|uid| !is_taken(*uid)).unwrap_or(1);
    User { name: free.to_string(), uid: free, gid: nobody.gid }
}

/// The number of the group of this name.
pub fn group(name: &str) -> Option<u32> {
    look_up("/etc/group", "group", name, |text| fields_of(text, name)?.nth(1)?.parse().ok())
}

/// The groups to which a user belongs, its own first.
pub fn groups_of(user: &User) -> Vec<u32> {
    // What getent(1) says covers all sources; without it the file is all there is.
    let further = ask("initgroups", &user.name).map(|text| initgroups_in(&text)).unwrap_or_else(|| {
        fs::read_to_string("/etc/group").map(|text| member_groups_in(&text, &user.name)).unwrap_or_default()
    });
    let mut groups = vec![user.gid];
    groups.extend(further.into_iter().filter(|gid| *gid != user.gid));
    groups
}

/// The port of a UDP service.
pub fn udp_service(name: &str) -> Option<u16> {
    let in_file = fs::read_to_string("/etc/services").ok().and_then(|text| udp_service_in(&text, name));
    in_file.or_else(|| udp_service_in(&ask("services", &format!("{name}/udp"))?, name))
}

fn look_up<T>(file: &str, database: &str, name: &str, find: impl Fn(&str) -> Option<T>) -> Option<T> {
    fs::read_to_string(file).ok().and_then(|text| find(&text)).or_else(|| find(&ask(database, name)?))
}

/// What getent(1) says; nothing where a machine does not have it.
fn ask(database: &str, name: &str) -> Option<String> {
    if name.is_empty() || name.starts_with('-') {
        return None;
    }
    let output =
        Command::new("getent").args([database, name]).stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    String::from_utf8(output.stdout).ok()
}

/// hosts(5); getent(1) prints the kind of socket between address and name.
fn host_in(text: &str, host: &str) -> Option<Ipv4Addr> {
    text.lines().find_map(|line| {
        let mut words = line.split('#').next()?.split_ascii_whitespace();
        let address = words.next()?.parse().ok()?;
        words.any(|name| name.eq_ignore_ascii_case(host) || name == "STREAM").then_some(address)
    })
}

/// services(5), which is also how getent(1) prints them.
fn udp_service_in(text: &str, service: &str) -> Option<u16> {
    text.lines().find_map(|line| {
        let mut words = line.split('#').next()?.split_ascii_whitespace();
        let first = words.next()?;
        let (port, protocol) = words.next()?.split_once('/')?;
        let port = port.parse().ok().filter(|port| *port > 0)?;
        (protocol == "udp" && (first == service || words.any(|alias| alias == service))).then_some(port)
    })
}

/// passwd(5).
fn user_in(text: &str, name: &str) -> Option<User> {
    let mut fields = fields_of(text, name)?.skip(1);
    let uid = fields.next()?.parse().ok()?;
    let gid = fields.next()?.parse().ok()?;
    Some(User { name: name.to_string(), uid, gid })
}

/// The numbers behind the name, as `getent initgroups` prints them.
fn initgroups_in(text: &str) -> Vec<u32> {
    text.split_ascii_whitespace().skip(1).filter_map(|number| number.parse().ok()).collect()
}

/// group(5).
fn member_groups_in(text: &str, user: &str) -> Vec<u32> {
    let number_of = |line: &str| {
        let mut fields = line.split(':').skip(2);
        let number = fields.next()?.parse().ok()?;
        fields.next()?.split(',').any(|member| member.trim() == user).then_some(number)
    };
    text.lines().filter_map(number_of).collect()
}

/// The fields behind `name`.
fn fields_of<'t>(text: &'t str, name: &str) -> Option<impl Iterator<Item = &'t str> + use<'t>> {
    text.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(name)).then_some(fields)
    })
}

/// Longest name of a unit (systemd.unit(5)).
const UNIT_MAX: usize = 255;

/// Whether this can be a unit, and no option (systemd.unit(5)).
pub fn is_unit_name(name: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b":-_.\\@".contains(&byte);
    !name.is_empty() && name.len() <= UNIT_MAX && !name.starts_with('-') && name.bytes().all(is_allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOSTS: &str = "127.0.0.1 localhost\n::1 localhost peer6\n10.0.0.2\tpeer.example Peer # the other board\n";

    #[test]
    fn host_is_found_by_each_of_its_names_and_not_in_remarks() {
        let address = Some(Ipv4Addr::new(10, 0, 0, 2));
        assert_eq!(host_in(HOSTS, "peer.example"), address);
        assert_eq!(host_in(HOSTS, "peer"), address);
        assert_eq!(host_in(HOSTS, "board"), None);
        assert_eq!(host_in(HOSTS, "peer6"), None, "no IPv4 address");
    }

    #[test]
    fn host_in_what_getent_says_is_the_first_address() {
        let text = "10.0.0.7        STREAM canonical.example\n10.0.0.7        DGRAM\n10.0.0.8        STREAM\n";
        assert_eq!(host_in(text, "alias.example"), Some(Ipv4Addr::new(10, 0, 0, 7)));
    }

    #[test]
    fn address_needs_no_name_service() {
        assert_eq!(address_of("192.0.2.1"), Some(Ipv4Addr::new(192, 0, 2, 1)));
        assert_eq!(address_of("localhost"), Some(Ipv4Addr::LOCALHOST));
        assert_eq!(address_of("no-such-host.invalid"), None);
        assert_eq!(address_of("--help"), None);
    }

    #[test]
    fn service_is_found_by_name_and_alias_and_only_for_udp() {
        let services =
            "ssh 22/tcp\nha-cluster\t694/tcp\nha-cluster\t 700/udp hb # heartbeat\nodd\nzero 0/udp\nbig 70000/udp\n";
        assert_eq!(udp_service_in(services, "ha-cluster"), Some(700));
        assert_eq!(udp_service_in(services, "hb"), Some(700));
        for none in ["ssh", "heartbeat", "odd", "zero", "big", ""] {
            assert_eq!(udp_service_in(services, none), None, "{none}");
        }
        assert_eq!(udp_service("no-such-service"), None);
    }

    #[test]
    fn users_and_groups_are_found_by_their_whole_name() {
        assert_eq!(user("root"), Some(User { name: "root".into(), uid: 0, gid: 0 }));
        assert_eq!(group("root"), Some(0));
        assert_eq!(user("roo"), None);
        assert_eq!(group("no-such-group"), None);
        assert_eq!(user_in("x:*:y:z\n", "x"), None);
    }

    #[test]
    fn engine_becomes_nobody_that_is_root_unless_it_is_told() {
        assert_ne!(engine_user(None).unwrap().uid, 0);
        assert_eq!(engine_user(Some("root")).unwrap().uid, 0);
        assert_eq!(engine_user(Some("no-such-user")).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn checker_is_never_the_engines_user() {
        let text = "root:x:0:0::/root:/bin/sh\nnobody:x:65534:65534::/:/bin/false\nodd\nx:y:65533:1::/:/bin/false\n";
        let user = |name: &str, uid| User { name: name.into(), uid, gid: uid };
        let nobody = user("nobody", 65_534);
        for engine in [user("hacluster", 100), user("root", 0)] {
            assert_eq!(checker_user_in(text, &engine), nobody);
            assert_eq!(checker_user_in("", &engine), nobody);
        }
        assert_eq!(checker_user_in(text, &nobody), User { name: "65532".into(), uid: 65_532, gid: 65_534 });
        assert_eq!(checker_user_in("", &nobody).uid, 65_533);
    }

    #[test]
    fn groups_of_a_user_are_its_own_and_those_that_name_it() {
        let file = "root:x:0:\ndialout:x:20:nobody, hacluster\nodd\nhaclient:x:901:hacluster2\ndisk:x:6:hacluster\n";
        assert_eq!(member_groups_in(file, "hacluster"), [20, 6]);
        assert_eq!(initgroups_in("hacluster             20 6\n"), [20, 6]);
        assert_eq!(initgroups_in("nobody\n"), []);
        assert_eq!(groups_of(&user("root").unwrap())[0], 0);
    }
}
