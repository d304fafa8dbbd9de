//! The outside observer on the cables: one packet socket for each, with the kernel's time stamps.

use std::io::{self, IoSliceMut};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use nix::sched::{CloneFlags, setns};
use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, MsgFlags, SockFlag, SockProtocol, SockType, recvmsg, setsockopt, socket,
    sockopt,
};

/// One packet as seen on a cable.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen {
    /// Nanoseconds since 1970.
    pub(crate) at: u64,
    /// Which board sent it.
    pub(crate) node: usize,
    pub(crate) cable: usize,
}

/// Which packets are beats of the contender that is running.
pub(crate) type IsBeat = fn(&[u8]) -> bool;

/// Listens in one network namespace until the socket's namespace is gone.
#[derive(Clone)]
pub(crate) struct Tap(Arc<Mutex<Vec<Seen>>>);

impl Tap {
    /// Begins to listen on all cables in `namespace`.
    pub(crate) fn open(namespace: &str, is_beat: IsBeat) -> io::Result<Self> {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let name = namespace.to_string();
        let tap = Self(Arc::clone(&seen));
        // The namespace belongs to the thread that enters it: this one stays behind with the socket.
        let (ready, is_ready) = std::sync::mpsc::channel();
        thread::spawn(move || match enter(&name) {
            Ok(socket) => {
                let _ = ready.send(Ok(()));
                listen(&socket, is_beat, &seen);
            }
            Err(error) => drop(ready.send(Err(error))),
        });
        is_ready.recv().map_err(io::Error::other)??;
        Ok(tap)
    }

    /// Everything seen so far.
    pub(crate) fn beats(&self) -> Vec<Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The last beat of `node` before `at`.
    pub(crate) fn last_beat(&self, node: usize, at: u64) -> Option<u64> {
        self.beats().iter().filter(|seen| seen.node == node && seen.at < at).map(|seen| seen.at).max()
    }
}

fn enter(namespace: &str) -> io::Result<OwnedFd> {
    let file = std::fs::File::open(format!("/run/netns/{namespace}"))?;
    setns(file, CloneFlags::CLONE_NEWNET)?;
    let socket = socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::EthAll)?;
    setsockopt(&socket, sockopt::ReceiveTimestampns, &true)?;
    setsockopt(&socket, sockopt::RcvBuf, &(1 << 20))?;
    Ok(socket)
}

fn listen(socket: &OwnedFd, is_beat: IsBeat, seen: &Mutex<Vec<Seen>>) {
    let mut buffer = vec![0; 65_536];
    let mut control = nix::cmsg_space!(nix::sys::time::TimeSpec);
    loop {
        let mut parts = [IoSliceMut::new(&mut buffer)];
        let received =
            recvmsg::<()>(socket.as_raw_fd(), &mut parts, Some(&mut control), MsgFlags::empty()).map(|message| {
                let stamp = message.cmsgs().ok().into_iter().flatten().find_map(|part| match part {
                    ControlMessageOwned::ScmTimestampns(time) => Some(time),
                    _ => None,
                });
                (message.bytes, stamp)
            });
        let Ok((count, Some(stamp))) = received else { continue };
        if let Some((cable, node)) = sender(&buffer[..count])
            && is_beat(&buffer[..count])
        {
            let at = u64::try_from(stamp.tv_sec() * 1_000_000_000 + stamp.tv_nsec()).unwrap_or_default();
            seen.lock().unwrap_or_else(PoisonError::into_inner).push(Seen { at, node, cable });
        }
    }
}

/// Ethernet and IPv4: `10.77.CABLE.NODE`.
fn sender(frame: &[u8]) -> Option<(usize, usize)> {
    match frame.get(12..14).zip(frame.get(26..30))? {
        ([8, 0], [10, 77, cable, node @ 1..=2]) => Some((usize::from(*cable), usize::from(*node) - 1)),
        _ => None,
    }
}

/// A status message of Heartbeat's protocol, or a beat in the compact format.
pub(crate) fn is_status(frame: &[u8]) -> bool {
    let is_compact = frame.get(42).is_some_and(|kind| is_compact_beat(*kind));
    is_udp(frame) && (is_compact || frame.windows(8).any(|bytes| bytes == b"t=status"))
}

/// Whether a compact frame that begins with this byte is a beat, or a beat with everything.
pub(crate) const fn is_compact_beat(first: u8) -> bool {
    matches!(first & 0x3f, 3 | 4)
}

/// A VRRP advertisement.
pub(crate) fn is_advert(frame: &[u8]) -> bool {
    frame.get(23) == Some(&112)
}

fn is_udp(frame: &[u8]) -> bool {
    frame.get(23) == Some(&17) && frame.get(36..38) == Some(&694_u16.to_be_bytes())
}
