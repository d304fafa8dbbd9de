//! Listening on the network, and speaking on it: sockets in another network namespace.

use std::io;
use std::net::UdpSocket;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nix::sched::{CloneFlags, setns};
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, setsockopt, socket, sockopt};
use nix::sys::time::{TimeVal, TimeValLike as _};

/// Ethernet, IPv4 without options, UDP.
const HEADERS: usize = 14 + 20 + 8;

/// Datagrams to port 694 from one sender, as they pass through a namespace, each once.
pub(crate) struct Tap {
    heard: Arc<Mutex<Vec<Vec<u8>>>>,
    is_over: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Tap {
    /// Begins to listen in `namespace` for what `sender` says.
    pub(crate) fn open(namespace: &str, sender: &str) -> Self {
        let socket = in_namespace(namespace, || -> io::Result<OwnedFd> {
            Ok(socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::EthAll)?)
        })
        .expect("a packet socket");
        setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::milliseconds(100)).expect("a time limit");
        let sender: std::net::Ipv4Addr = sender.parse().expect("an address");
        let (heard, is_over) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let (list, flag) = (Arc::clone(&heard), Arc::clone(&is_over));
        let thread = std::thread::spawn(move || listen(&socket, sender.octets(), &list, &flag));
        Self { heard, is_over, thread: Some(thread) }
    }

    /// What has been heard so far.
    pub(crate) fn heard(&self) -> Vec<Vec<u8>> {
        self.heard.lock().expect("no panic").clone()
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn listen(socket: &OwnedFd, sender: [u8; 4], heard: &Mutex<Vec<Vec<u8>>>, is_over: &AtomicBool) {
    let mut buffer = vec![0; 70_000];
    while !is_over.load(Ordering::SeqCst) {
        let Ok(count) = recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty()) else { continue };
        let Some((header, datagram)) = buffer[..count].split_at_checked(HEADERS) else { continue };
        let is_ours = header[12..15] == [8, 0, 0x45]
            && header[23] == 17
            && header[26..30] == sender
            && header[36..38] == 694u16.to_be_bytes();
        // A bridge shows each packet on its way in and on its way out.
        let mut heard = heard.lock().expect("no panic");
        if is_ours && !heard.iter().rev().take(8).any(|other| other == datagram) {
            heard.push(datagram.to_vec());
        }
    }
}

/// A socket in `namespace` that sends to `target`.
pub(crate) fn sender(namespace: &str, target: &str) -> UdpSocket {
    in_namespace(namespace, || {
        let socket = UdpSocket::bind("0.0.0.0:0")?;
        socket.connect(target)?;
        socket.set_write_timeout(Some(Duration::from_secs(5)))?;
        Ok(socket)
    })
    .expect("a socket")
}

/// A namespace belongs to the thread that enters it: a short-lived one.
fn in_namespace<T: Send>(namespace: &str, make: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    std::thread::scope(|scope| {
        let entered = scope.spawn(|| {
            setns(std::fs::File::open(format!("/run/netns/{namespace}"))?, CloneFlags::CLONE_NEWNET)?;
            make()
        });
        entered.join().expect("no panic")
    })
}
