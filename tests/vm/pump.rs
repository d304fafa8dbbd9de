//! The cables between boards: bytes and frames pass through here, or do not.
//!
//! Nothing here ever waits for a board: what a frozen one does not take is lost, as on a wire.

use std::collections::VecDeque;
use std::io::Read as _;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, send};

/// What happens to what a board sends.
#[derive(Default)]
struct Direction {
    is_cut: AtomicBool,
    /// Of a thousand bytes so many have one bit turned.
    flipped: AtomicU64,
}

/// Bytes on their way to a UART. QEMU takes them as fast as the guest empties its FIFO, while the sender's line is not
/// paced: without room for what has been sent faster than a wire could, nearly every message would be torn.
#[derive(Default)]
struct Queue {
    bytes: Mutex<VecDeque<(Instant, Vec<u8>)>>,
    more: Condvar,
}

/// A board that takes nothing for so long stands still, and what was sent to it meanwhile is lost.
const STALE: Duration = Duration::from_millis(300);

/// A null-modem cable between two UARTs.
#[derive(Clone, Default)]
pub(crate) struct NullModem {
    directions: Arc<[Direction; 2]>,
    /// Towards each end.
    queues: Arc<[Queue; 2]>,
    ends: Arc<Mutex<[Option<UnixStream>; 2]>>,
}

impl NullModem {
    /// The UART of a board that has been switched on.
    pub(crate) fn attach(&self, end: usize, stream: UnixStream) {
        let mut reader = stream.try_clone().expect("a copy");
        let writer = stream.try_clone().expect("a copy");
        self.detach(end);
        self.queues[end].bytes.lock().expect("no panic").clear();
        self.ends.lock().expect("no panic")[end] = Some(stream);
        let cable = self.clone();
        let is_over = Arc::new(AtomicBool::new(false));
        let is_writer_over = Arc::clone(&is_over);
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            let mut random = Random(0x9e37_79b9_7f4a_7c15);
            while let Ok(count @ 1..) = reader.read(&mut buffer) {
                cable.carry(end, &mut buffer[..count], &mut random);
            }
            let _between_its_steps = cable.queues[end].bytes.lock().expect("no panic");
            is_over.store(true, Ordering::SeqCst);
            cable.queues[end].more.notify_all();
        });
        let queues = Arc::clone(&self.queues);
        std::thread::spawn(move || queues[end].deliver(&writer, &is_writer_over));
    }

    /// Unplugs one end for good: QEMU sees the connection close.
    pub(crate) fn detach(&self, end: usize) {
        if let Some(stream) = self.ends.lock().expect("no panic")[end].take() {
            let _ = stream.shutdown(std::net::Shutdown::Both);
        }
    }

    /// Cuts or heals what the board at this end sends.
    pub(crate) fn cut_from(&self, end: usize, is_cut: bool) {
        self.directions[end].is_cut.store(is_cut, Ordering::SeqCst);
    }

    /// Turns a bit in so many of a thousand bytes, both ways.
    pub(crate) fn flip_bits(&self, of_thousand: u64) {
        for direction in self.directions.iter() {
            direction.flipped.store(of_thousand, Ordering::SeqCst);
        }
    }

    /// A break towards this end, in QEMU's words for it (control-A b): see [`Plan::breaks`].
    ///
    /// [`Plan::breaks`]: crate::bench::Plan::breaks
    pub(crate) fn send_break(&self, end: usize) {
        let queue = &self.queues[end];
        queue.bytes.lock().expect("no panic").push_back((Instant::now(), vec![1, b'b']));
        queue.more.notify_all();
    }

    fn carry(&self, from: usize, bytes: &mut [u8], random: &mut Random) {
        let direction = &self.directions[from];
        if direction.is_cut.load(Ordering::SeqCst) {
            return;
        }
        let flipped = direction.flipped.load(Ordering::SeqCst);
        for byte in bytes.iter_mut() {
            if random.below(1000) < flipped {
                *byte ^= 1 << random.below(8);
            }
        }
        let queue = &self.queues[1 - from];
        let mut waiting = queue.bytes.lock().expect("no panic");
        // Nobody takes them away when that board is off.
        waiting.retain(|(at, _)| at.elapsed() < STALE);
        waiting.push_back((Instant::now(), bytes.to_owned()));
        queue.more.notify_all();
    }
}

impl Queue {
    /// Hands on what comes until the connection is over.
    fn deliver(&self, stream: &UnixStream, is_over: &AtomicBool) {
        let mut waiting = self.bytes.lock().expect("no panic");
        while !is_over.load(Ordering::SeqCst) {
            waiting.retain(|(at, _)| at.elapsed() < STALE);
            let Some((_, bytes)) = waiting.front_mut() else {
                waiting = self.more.wait(waiting).expect("no panic");
                continue;
            };
            match send(stream.as_raw_fd(), bytes, MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL) {
                Ok(count) if count == bytes.len() => drop(waiting.pop_front()),
                Ok(count) => drop(bytes.drain(..count)),
                Err(Errno::EAGAIN) => {
                    drop(waiting);
                    let _ = poll(&mut [PollFd::new(stream.as_fd(), PollFlags::POLLOUT)], PollTimeout::from(20u8));
                    waiting = self.bytes.lock().expect("no panic");
                }
                Err(_) => return,
            }
        }
    }
}

/// The Ethernet between two boards: frames as datagrams.
pub(crate) struct Ethernet {
    directions: Arc<[Direction; 2]>,
}

impl Ethernet {
    pub(crate) fn new(directory: &Path) -> Self {
        let cable = Self { directions: Arc::default() };
        for from in 0..2 {
            let socket = UnixDatagram::bind(wire_path(directory, from)).expect("a socket");
            let onwards = UnixDatagram::unbound().expect("a socket");
            onwards.set_nonblocking(true).expect("nonblocking");
            let target = nic_path(directory, 1 - from);
            let directions = Arc::clone(&cable.directions);
            std::thread::spawn(move || {
                let mut frame = vec![0; 70_000];
                // An empty frame is the end, see `drop`.
                while let Ok(count @ 1..) = socket.recv(&mut frame) {
                    if !directions[from].is_cut.load(Ordering::SeqCst) {
                        // A board without power takes nothing: lost, as on a wire.
                        let _ = onwards.send_to(&frame[..count], &target);
                    }
                }
            });
        }
        cable
    }

    /// Cuts or heals what this board sends; its carrier stays.
    pub(crate) fn cut_from(&self, board: usize, is_cut: bool) {
        self.directions[board].is_cut.store(is_cut, Ordering::SeqCst);
    }
}

/// Ends the threads of the cable in this directory.
pub(crate) fn end_ethernet(directory: &Path) {
    let socket = UnixDatagram::unbound().expect("a socket");
    for board in 0..2 {
        let _ = socket.send_to(&[], wire_path(directory, board));
    }
}

/// Where a board's QEMU receives frames.
pub(crate) fn nic_path(directory: &Path, board: usize) -> PathBuf {
    directory.join(format!("{board}.eth"))
}

/// Where it sends them.
pub(crate) fn wire_path(directory: &Path, board: usize) -> PathBuf {
    directory.join(format!("{board}.wire"))
}

/// xorshift64: the same damage in each run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}
