//! One connection: bytes to frames, frames to bytes.

use std::fmt;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv, send};

use super::{BODY_MAX, HEADER_LEN, Peer, header, parse_header};
use crate::sys::mapping::Pages;

/// The memory of one connection, made once and used again by the next one.
#[derive(Debug)]
pub struct Rooms {
    /// Input, then output.
    bytes: Pages,
    input: usize,
}

impl Rooms {
    /// Room to receive bodies of up to `body_max` bytes (never more than [`BODY_MAX`]), and for `output` bytes that wait
    /// to be sent, headers included.
    pub fn new(body_max: usize, output: usize) -> Self {
        let input = HEADER_LEN + body_max.min(BODY_MAX);
        Self { bytes: Pages::new(input + output), input }
    }

    /// Gives them back to the system; they come again when they are used. For rooms without a connection.
    pub fn give_back(&mut self) {
        self.bytes.give_back();
    }

    fn input(&mut self) -> &mut [u8] {
        &mut self.bytes[..self.input]
    }

    fn output(&mut self) -> &mut [u8] {
        &mut self.bytes[self.input..]
    }
}

/// What [`Connection::take`] has found.
#[derive(Debug, PartialEq, Eq)]
pub enum Taken<'c> {
    /// A body, perhaps an empty one.
    Frame(&'c [u8]),
    /// Nothing more has arrived.
    Nothing,
    /// The connection is over; what came before it has been given.
    End(Cut),
}

/// Why a connection is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// The other side has closed it.
    Closed,
    /// A header does not end in the magic number but in this.
    Magic(u32),
    /// A header announces a body of this length: negative, or longer than there is room.
    Length(i32),
    /// The system says so.
    Failed(Errno),
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("it was closed"),
            Self::Magic(magic) => write!(f, "a frame begins with the wrong magic number {magic:#x}"),
            Self::Length(len) => write!(f, "a frame of {len} bytes was announced"),
            Self::Failed(errno) => write!(f, "it failed: {errno}"),
        }
    }
}

/// A frame does not go out: the other side does not read, or it has gone. The connection is to be dropped, as a part of
/// what was said before may be missing from now on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    /// So many frames wait already, as many as are allowed, or as many as there is room for.
    Queue(usize),
    /// The system says so.
    Failed(Errno),
}

/// An accepted connection.
#[derive(Debug)]
pub struct Connection {
    socket: OwnedFd,
    peer: Peer,
    rooms: Rooms,
    /// What has arrived and was not given yet: this part of the room.
    arrived: (usize, usize),
    /// What was given last, header included: it goes with the next call.
    given: usize,
    /// What waits to be sent: this part of the room.
    waiting: (usize, usize),
    /// Frames in it, the one that is partly sent included, and what is left of that one.
    frames: usize,
    first_left: usize,
    frames_max: usize,
    /// The other side has sent its last byte.
    is_at_end: Option<Cut>,
}

impl Connection {
    /// Takes over a non-blocking stream. Up to `frames_max` frames wait to be sent.
    pub const fn new(socket: OwnedFd, peer: Peer, rooms: Rooms, frames_max: usize) -> Self {
        Self {
            socket,
            peer,
            rooms,
            arrived: (0, 0),
            given: 0,
            waiting: (0, 0),
            frames: 0,
            first_left: 0,
            frames_max,
            is_at_end: None,
        }
    }

    /// Closes it. Its memory serves the next one.
    pub fn close(self) -> Rooms {
        self.rooms
    }

    /// Who is at the other end.
    pub const fn peer(&self) -> Peer {
        self.peer
    }

    /// How many frames may wait from now on; what waits already stays.
    pub const fn set_frames_max(&mut self, frames_max: usize) {
        self.frames_max = frames_max;
    }

    /// How many frames may wait.
    pub const fn frames_max(&self) -> usize {
        self.frames_max
    }

    /// How many frames wait.
    pub const fn frames(&self) -> usize {
        self.frames
    }

    /// Whether something waits to be sent: [`Connection::flush`] is to be called when the socket is writable.
    pub const fn is_output_waiting(&self) -> bool {
        self.waiting.0 < self.waiting.1
    }

    /// Whether [`Connection::take`] has something to give without the socket being readable.
    pub fn has_frame(&self) -> bool {
        self.is_at_end.is_some() || !matches!(self.whole_frame(self.arrived.0 + self.given), Ok(None))
    }

    /// The next body. At most two system calls; what was given before is gone.
    pub fn take(&mut self) -> Taken<'_> {
        self.arrived.0 += self.given;
        self.given = 0;
        if self.arrived.0 == self.arrived.1 {
            self.arrived = (0, 0);
        }
        let mut has_read = false;
        loop {
            match self.whole_frame(self.arrived.0) {
                Err(cut) => return Taken::End(cut),
                Ok(Some(len)) => {
                    self.given = HEADER_LEN + len;
                    let start = self.arrived.0 + HEADER_LEN;
                    return Taken::Frame(&self.rooms.bytes[start..start + len]);
                }
                Ok(None) => {}
            }
            if let Some(cut) = self.is_at_end {
                return Taken::End(cut);
            }
            if std::mem::replace(&mut has_read, true) {
                return Taken::Nothing;
            }
            match self.read() {
                Ok(true) => {}
                Ok(false) => return Taken::Nothing,
                Err(cut) => self.is_at_end = Some(cut),
            }
        }
    }

    /// The length of the body that begins at `start`, when all of it is there.
    fn whole_frame(&self, start: usize) -> Result<Option<usize>, Cut> {
        let there = self.rooms.bytes.get(start..self.arrived.1).unwrap_or_default();
        let Some(header) = there.first_chunk() else { return Ok(None) };
        let len = parse_header(*header, self.rooms.input - HEADER_LEN)?;
        Ok(Some(len).filter(|len| HEADER_LEN + len <= there.len()))
    }

    /// Reads once; whether anything came.
    fn read(&mut self) -> Result<bool, Cut> {
        // A frame that does not end within the room begins at its front, where there is enough of it.
        let (start, end) = self.arrived;
        if start > 0 {
            self.rooms.input().copy_within(start..end, 0);
            self.arrived = (0, end - start);
        }
        let room = &mut self.rooms.input()[self.arrived.1..];
        match recv(self.socket.as_raw_fd(), room, MsgFlags::MSG_DONTWAIT) {
            Ok(0) => Err(Cut::Closed),
            Ok(count) => {
                self.arrived.1 += count;
                Ok(true)
            }
            Err(Errno::EAGAIN | Errno::EINTR) => Ok(false),
            Err(errno) => Err(Cut::Failed(errno)),
        }
    }

    /// Sends a body, or keeps it until the other side reads.
    ///
    /// # Errors
    /// [`Full`]: the other side does not read, or it has gone. Nothing of this body was sent.
    pub fn send(&mut self, body: &[u8]) -> Result<(), Full> {
        let (start, end) = self.waiting;
        let len = HEADER_LEN + body.len();
        if self.frames >= self.frames_max
            || end - start + len > (self.rooms.bytes.len() - self.rooms.input)
            || body.len() > BODY_MAX
        {
            return Err(Full::Queue(self.frames));
        }
        if end + len > (self.rooms.bytes.len() - self.rooms.input) {
            self.rooms.output().copy_within(start..end, 0);
            self.waiting = (0, end - start);
        }
        let end = self.waiting.1;
        let room = &mut self.rooms.output()[end..end + len];
        room[..HEADER_LEN].copy_from_slice(&header(body.len()));
        room[HEADER_LEN..].copy_from_slice(body);
        self.waiting.1 += len;
        self.frames += 1;
        if self.frames == 1 {
            self.first_left = len;
            return self.flush();
        }
        Ok(())
    }

    /// Sends what waits, as far as the other side takes it.
    ///
    /// # Errors
    /// [`Full::Failed`]: it has gone.
    pub fn flush(&mut self) -> Result<(), Full> {
        while self.is_output_waiting() {
            let bytes = &self.rooms.bytes[self.rooms.input..][self.waiting.0..self.waiting.1];
            match send(self.socket.as_raw_fd(), bytes, MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL) {
                Ok(count) => self.sent(count),
                Err(Errno::EAGAIN) => return Ok(()),
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(Full::Failed(errno)),
            }
        }
        self.waiting = (0, 0);
        Ok(())
    }

    /// `count` bytes have gone: which frames were that?
    fn sent(&mut self, mut count: usize) {
        while count >= self.first_left && self.frames > 0 {
            count -= self.first_left;
            self.waiting.0 += self.first_left;
            self.frames -= 1;
            let next = self.rooms.bytes[self.rooms.input..][self.waiting.0..self.waiting.1].first_chunk();
            // We have written the header ourselves.
            self.first_left =
                next.and_then(|header| parse_header(*header, BODY_MAX).ok()).map_or(0, |len| HEADER_LEN + len);
        }
        self.waiting.0 += count;
        self.first_left -= count;
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
