//! A null-modem cable: two pseudo terminals and a thread that carries bytes between their masters.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::pty::openpty;
use nix::sys::termios::{SetArg, cfmakeraw, tcgetattr, tcsetattr};

/// The cable. Dropping it pulls both ends and removes the terminals.
pub(crate) struct NullModem {
    devices: [PathBuf; 2],
    is_cut: [Arc<AtomicBool>; 2],
    /// Per cent of what is read at once that the line loses.
    loss: Arc<AtomicU64>,
    /// Per cent of what is read at once that the line damages.
    noise: Arc<AtomicU64>,
    carried: Arc<AtomicU64>,
    said: Arc<[Mutex<Vec<u8>>; 2]>,
    masters: [File; 2],
    /// Kept open so that a master never sees a hang-up while a daemon restarts.
    _slaves: [OwnedFd; 2],
    is_over: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl NullModem {
    pub(crate) fn new() -> Self {
        let ends = [(); 2].map(|()| openpty(None, None).expect("a pseudo terminal"));
        let devices = ends.each_ref().map(|end| nix::unistd::ttyname(&end.slave).expect("its name"));
        for end in &ends {
            // Echo would send everything back before a daemon has set the line up.
            let mut settings = tcgetattr(&end.slave).expect("terminal settings");
            cfmakeraw(&mut settings);
            tcsetattr(&end.slave, SetArg::TCSANOW, &settings).expect("raw");
            fcntl(&end.master, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).expect("nonblocking");
            // A daemon that had inherited the far end would never see it go away.
            fcntl(&end.master, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).expect("closed on exec");
            fcntl(&end.slave, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).expect("closed on exec");
        }
        let [a, b] = ends;
        let masters = [File::from(a.master), File::from(b.master)];
        let copies = masters.each_ref().map(|master| master.try_clone().expect("a copy"));
        let is_cut = [Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false))];
        let is_over = Arc::new(AtomicBool::new(false));
        let carried = Arc::new(AtomicU64::new(0));
        let loss = Arc::new(AtomicU64::new(0));
        let noise = Arc::new(AtomicU64::new(0));
        let said = Arc::new([const { Mutex::new(Vec::new()) }; 2]);
        let thread = {
            let (is_cut, is_over, carried) = (is_cut.clone(), Arc::clone(&is_over), Arc::clone(&carried));
            let (loss, noise, said) = (Arc::clone(&loss), Arc::clone(&noise), Arc::clone(&said));
            std::thread::spawn(move || pump(copies, &is_cut, [&loss, &noise], &is_over, &carried, &said))
        };
        let slaves = [a.slave, b.slave];
        Self { devices, is_cut, loss, noise, carried, said, masters, _slaves: slaves, is_over, thread: Some(thread) }
    }

    /// The device of one end.
    pub(crate) fn device(&self, end: usize) -> PathBuf {
        self.devices[end].clone()
    }

    /// Pulls or plugs both directions.
    pub(crate) fn cut(&self, is_cut: bool) {
        self.cut_from(0, is_cut);
        self.cut_from(1, is_cut);
    }

    /// Only what the board at this end sends.
    pub(crate) fn cut_from(&self, end: usize, is_cut: bool) {
        self.is_cut[end].store(is_cut, Ordering::SeqCst);
    }

    /// From now on the line loses this share of the messages, in per cent.
    pub(crate) fn lose(&self, percent: u64) {
        self.loss.store(percent, Ordering::SeqCst);
    }

    /// From now on the line damages this share of the messages, in per cent.
    pub(crate) fn disturb(&self, percent: u64) {
        self.noise.store(percent, Ordering::SeqCst);
    }

    /// Bytes carried so far.
    pub(crate) fn carried(&self) -> u64 {
        self.carried.load(Ordering::SeqCst)
    }

    /// The first 64 KiB that the board at this end has said.
    pub(crate) fn said(&self, end: usize) -> Vec<u8> {
        self.said[end].lock().expect("no panic").clone()
    }

    /// Puts bytes onto the line towards the board at this end.
    pub(crate) fn inject(&self, end: usize, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            match (&self.masters[end]).write(rest) {
                Ok(count) => rest = &rest[count..],
                Err(_) => {
                    let mut fds = [PollFd::new(self.masters[end].as_fd(), PollFlags::POLLOUT)];
                    let ready = poll(&mut fds, PollTimeout::from(5_000u16)).expect("poll");
                    assert!(ready > 0, "the board does not read its line");
                }
            }
        }
    }
}

impl Drop for NullModem {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What is kept of each board's words.
const KEPT_MAX: usize = 64 * 1024;

fn pump(
    mut masters: [File; 2],
    is_cut: &[Arc<AtomicBool>; 2],
    [loss, noise]: [&AtomicU64; 2],
    is_over: &AtomicBool,
    carried: &AtomicU64,
    said: &[Mutex<Vec<u8>>; 2],
) {
    let mut buffer = [0u8; 4096];
    let (mut random, mut damage) = (Random(0x9e37_79b9_7f4a_7c15), Random(0x2545_f491_4f6c_dd1d));
    while !is_over.load(Ordering::SeqCst) {
        {
            let mut fds = masters.each_ref().map(|master| PollFd::new(master.as_fd(), PollFlags::POLLIN));
            let _ = poll(&mut fds, PollTimeout::try_from(Duration::from_millis(50)).expect("short"));
        }
        for from in 0..2 {
            let Ok(count) = masters[from].read(&mut buffer) else { continue };
            let mut kept = said[from].lock().expect("no panic");
            let room = KEPT_MAX - kept.len();
            kept.extend_from_slice(&buffer[..count.min(room)]);
            drop(kept);
            if noise.load(Ordering::SeqCst) > 0 && damage.percent() < noise.load(Ordering::SeqCst) {
                let at = usize::try_from(damage.percent()).expect("small") * count / 100;
                buffer[at] ^= 0x55;
            }
            let is_lost = random.percent() < loss.load(Ordering::SeqCst);
            if !is_lost && !is_cut[from].load(Ordering::SeqCst) {
                // A full line loses bytes, as a UART with its flow control off does.
                let _ = masters[1 - from].write(&buffer[..count]);
                carried.fetch_add(count as u64, Ordering::SeqCst);
            }
        }
    }
}

/// xorshift64: the same losses in each run.
struct Random(u64);

impl Random {
    fn percent(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % 100
    }
}
