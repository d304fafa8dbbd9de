//! The least that beating can cost here: a loop that sends a datagram every keepalive and takes the other board's.

use std::io;
use std::net::UdpSocket;
use std::os::fd::AsFd;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::board::Board;
use super::contender::{Contender, cables};
use super::lab::{Lab, address};
use super::sample::Sample;
use super::steady::{CPU_WINDOW, processor_ns};

/// The word by which this program knows that it is that loop.
pub(crate) const WORD: &str = "--bare";
/// Keepalive in milliseconds, and bytes, of a beat in the scenario with Heartbeat's messages.
pub(crate) const TEXT: (u64, usize) = (200, 310);

/// Milliseconds of processor time a minute, with so many milliseconds between beats of so many bytes.
pub(crate) fn measure(marker: &Path, (keepalive_ms, bytes): (u64, usize), runs: usize) -> io::Result<Sample> {
    let lab = Lab::build("b")?;
    Contender::Nullbeat.prepare(&lab, marker, &cables(1))?;
    let mut boards = [Board::boot(&lab, 0)?, Board::boot(&lab, 1)?];
    let program = std::env::current_exe()?.display().to_string();
    for (node, board) in boards.iter_mut().enumerate() {
        let words = [format!("{}:694", address(0, 1 - node)), keepalive_ms.to_string(), bytes.to_string()];
        board.start(&[&[program.clone(), WORD.into()], words.as_slice()].concat())?;
        board.await_mark("board exec")?;
    }
    sleep(Duration::from_secs(1));
    let spent = || -> io::Result<u64> { boards[0].processes()?.into_iter().map(processor_ns).sum() };
    let mut sample = Sample::default();
    for _ in 0..runs {
        let (before, start) = (spent()?, Instant::now());
        sleep(CPU_WINDOW);
        sample.push((spent()? - before) as f64 / 1e6 * 60.0 / start.elapsed().as_secs_f64());
    }
    Ok(sample)
}

/// The loop itself, until killed.
pub(crate) fn beat(arguments: &[String]) -> io::Result<()> {
    let [peer, keepalive_ms, bytes] = arguments else { return Err(io::Error::other("--bare PEER MILLISECONDS BYTES")) };
    let keepalive = Duration::from_millis(keepalive_ms.parse().map_err(io::Error::other)?);
    let beat = vec![0; bytes.parse().map_err(io::Error::other)?];
    let socket = UdpSocket::bind("0.0.0.0:694")?;
    let mut buffer = [0; 1024];
    let mut next = Instant::now();
    loop {
        let left = next.saturating_duration_since(Instant::now()) + Duration::from_micros(999);
        let timeout = PollTimeout::try_from(left).map_err(io::Error::other)?;
        if poll(&mut [PollFd::new(socket.as_fd(), PollFlags::POLLIN)], timeout)? > 0 {
            socket.recv_from(&mut buffer)?;
        }
        if Instant::now() >= next {
            socket.send_to(&beat, peer)?;
            next += keepalive;
        }
    }
}
