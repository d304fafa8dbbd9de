//! What the configuration check asks about the machine it runs on.

use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;
use std::process::{Command, Stdio};

use nix::sys::socket::SockaddrStorage;

use super::names;
use crate::hardware::watchdog::Facts;

/// What stands at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// Nothing, or nothing that may be looked at.
    Missing,
    /// A character device.
    CharacterDevice,
    /// A regular file that somebody may execute.
    Executable,
    /// A regular file.
    Plain,
    /// Anything else.
    Other,
}

/// What is known about a type of STONITH device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StonithType {
    /// There is no such type.
    Unknown,
    /// The names of its parameters.
    Known(Vec<String>),
    /// Nobody can tell.
    Untold,
}

/// Questions about the machine. Tests answer them without one.
pub trait Machine {
    /// `uname -n`.
    fn node_name(&self) -> String;
    /// Whether a network interface of this name exists now.
    fn has_interface(&self, name: &str) -> bool;
    /// The addresses of all interfaces, of both families.
    fn addresses(&self) -> Vec<IpAddr>;
    /// The first IPv4 address of a host name. May ask the network.
    fn resolve(&self, host: &str) -> Option<Ipv4Addr>;
    /// The port of a UDP service, by its name.
    fn udp_service(&self, name: &str) -> Option<u16>;
    /// Names of the directories in this one.
    fn directories(&self, path: &Path) -> Vec<String>;
    /// What stands at `path`, links followed.
    fn file(&self, path: &Path) -> FileKind;
    /// Whether everybody may write the file at `path`.
    fn is_writable_by_all(&self, path: &Path) -> bool;
    /// Whether its group or others may write the file at `path`.
    fn is_writable_by_others(&self, path: &Path) -> bool;
    /// What the program `stonith` says about a type of device.
    fn stonith_type(&self, program: &Path, kind: &str) -> StonithType;
    /// What the kernel tells about the watchdog at `path`; nothing is opened.
    fn watchdog(&self, path: &Path) -> Option<Facts>;
    /// The user of this name.
    fn user(&self, name: &str) -> Option<names::User>;
    /// The number of the group of this name.
    fn group(&self, name: &str) -> Option<u32>;
    /// The groups beside its own to which a user belongs.
    fn groups_of(&self, user: &names::User) -> Vec<u32>;
}

/// The machine the program runs on.
#[derive(Debug, Clone, Copy)]
pub struct ThisMachine;

impl Machine for ThisMachine {
    fn node_name(&self) -> String {
        nix::sys::utsname::uname().map(|name| name.nodename().to_string_lossy().into_owned()).unwrap_or_default()
    }

    fn has_interface(&self, name: &str) -> bool {
        nix::net::if_::if_nametoindex(name).is_ok()
    }

    fn addresses(&self) -> Vec<IpAddr> {
        let Ok(interfaces) = nix::ifaddrs::getifaddrs() else { return Vec::new() };
        let ip = |address: SockaddrStorage| {
            let four = address.as_sockaddr_in().map(|address| IpAddr::V4(address.ip()));
            four.or_else(|| address.as_sockaddr_in6().map(|address| IpAddr::V6(address.ip())))
        };
        interfaces.filter_map(|interface| ip(interface.address?)).collect()
    }

    fn resolve(&self, host: &str) -> Option<Ipv4Addr> {
        names::address_of(host)
    }

    fn udp_service(&self, name: &str) -> Option<u16> {
        names::udp_service(name)
    }

    fn directories(&self, path: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
        let directories = entries.filter(|entry| entry.path().is_dir());
        directories.filter_map(|entry| entry.file_name().into_string().ok()).collect()
    }

    fn file(&self, path: &Path) -> FileKind {
        let Ok(metadata) = std::fs::metadata(path) else { return FileKind::Missing };
        if metadata.file_type().is_char_device() {
            FileKind::CharacterDevice
        } else if !metadata.is_file() {
            FileKind::Other
        } else if metadata.permissions().mode() & 0o111 != 0 {
            FileKind::Executable
        } else {
            FileKind::Plain
        }
    }

    fn is_writable_by_all(&self, path: &Path) -> bool {
        std::fs::metadata(path).is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o002 != 0)
    }

    fn is_writable_by_others(&self, path: &Path) -> bool {
        std::fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & 0o022 != 0)
    }

    fn stonith_type(&self, program: &Path, kind: &str) -> StonithType {
        let output = Command::new(program).args(["-t", kind, "-n"]).stdin(Stdio::null()).stderr(Stdio::null()).output();
        let Ok(output) = output else { return StonithType::Untold };
        if !output.status.success() {
            return StonithType::Unknown;
        }
        let text = String::from_utf8_lossy(&output.stdout);
        StonithType::Known(text.split_whitespace().map(str::to_owned).collect())
    }

    fn watchdog(&self, path: &Path) -> Option<Facts> {
        Facts::of(path)
    }

    fn user(&self, name: &str) -> Option<names::User> {
        names::user(name)
    }

    fn group(&self, name: &str) -> Option<u32> {
        names::group(name)
    }

    fn groups_of(&self, user: &names::User) -> Vec<u32> {
        names::groups_of(user)
    }
}

/// A made-up machine for tests.
#[cfg(any(test, fuzzing))]
pub(crate) mod fake {
    use super::*;
    use std::collections::{HashMap, HashSet};
    use std::path::PathBuf;

    /// Answers from its fields.
    #[derive(Debug, Clone, Default)]
    pub(crate) struct FakeMachine {
        pub(crate) node: String,
        pub(crate) interfaces: HashSet<String>,
        pub(crate) addresses: Vec<IpAddr>,
        pub(crate) hosts: HashMap<String, Ipv4Addr>,
        pub(crate) services: HashMap<String, u16>,
        pub(crate) directories: HashMap<PathBuf, Vec<String>>,
        pub(crate) files: HashMap<PathBuf, FileKind>,
        /// The parameters of each type of STONITH device; of another one nobody can tell.
        pub(crate) stonith_types: HashMap<String, StonithType>,
        /// Everybody may write these.
        pub(crate) open_files: HashSet<PathBuf>,
        pub(crate) watchdogs: HashMap<PathBuf, Facts>,
        pub(crate) users: HashSet<String>,
        pub(crate) groups: HashSet<String>,
        /// Every file not listed is this.
        pub(crate) other_files: Option<FileKind>,
    }

    impl FakeMachine {
        /// A board called `node` on which everything exists.
        pub(crate) fn complete(node: &str) -> Self {
            let names = |list: &[&str]| list.iter().map(ToString::to_string).collect();
            Self {
                node: node.into(),
                interfaces: names(&["eth0", "eth1", "ens33"]),
                hosts: [("peer.example".into(), Ipv4Addr::new(10, 0, 0, 2))].into(),
                files: ["/dev/ttyS0", "/dev/ttyS1", "/dev/watchdog", "/dev/watchdog1"]
                    .map(|path| (PathBuf::from(path), FileKind::CharacterDevice))
                    .into(),
                users: names(&["root", "hacluster"]),
                groups: names(&["root", "haclient"]),
                other_files: Some(FileKind::Executable),
                ..Self::default()
            }
        }
    }

    impl Machine for FakeMachine {
        fn node_name(&self) -> String {
            self.node.clone()
        }
        fn has_interface(&self, name: &str) -> bool {
            self.interfaces.contains(name)
        }
        fn addresses(&self) -> Vec<IpAddr> {
            self.addresses.clone()
        }
        fn resolve(&self, host: &str) -> Option<Ipv4Addr> {
            self.hosts.get(host).copied()
        }
        fn udp_service(&self, name: &str) -> Option<u16> {
            self.services.get(name).copied()
        }
        fn directories(&self, path: &Path) -> Vec<String> {
            self.directories.get(path).cloned().unwrap_or_default()
        }
        fn file(&self, path: &Path) -> FileKind {
            self.files.get(path).copied().or(self.other_files).unwrap_or(FileKind::Missing)
        }
        fn is_writable_by_all(&self, path: &Path) -> bool {
            self.open_files.contains(path)
        }
        fn is_writable_by_others(&self, path: &Path) -> bool {
            self.open_files.contains(path)
        }
        fn stonith_type(&self, _program: &Path, kind: &str) -> StonithType {
            self.stonith_types.get(kind).cloned().unwrap_or(StonithType::Untold)
        }
        fn watchdog(&self, path: &Path) -> Option<Facts> {
            self.watchdogs.get(path).cloned()
        }
        fn user(&self, name: &str) -> Option<names::User> {
            let uid = u32::from(name != "root") * 900;
            self.users.contains(name).then(|| names::User { name: name.into(), uid, gid: uid })
        }
        fn group(&self, name: &str) -> Option<u32> {
            self.groups.contains(name).then_some(u32::from(name != "root") * 901)
        }
        fn groups_of(&self, user: &names::User) -> Vec<u32> {
            vec![user.gid]
        }
    }
}
