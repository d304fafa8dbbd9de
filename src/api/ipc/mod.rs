//! The transport under all of Heartbeat's local sockets (spec/api.md section 1): a Unix stream that carries frames, each a
//! header of eight bytes (length and magic in the machine's byte order) and a body.
//!
//! * [`listen`] opens a socket as the original does, [`accept`] takes a connection and says who it is;
//! * a [`Connection`] makes frames of bytes, however these are cut, and bytes of frames. It has a fixed room for each
//!   direction ([`Rooms`]), made beforehand: nothing is allocated while it lives, and nothing grows;
//! * a header that no Heartbeat would send (wrong magic, a negative length, one beyond the room) ends the connection;
//! * what the other side does not take waits in the room for output, up to a number of frames. One more is refused: the
//!   owner then drops the connection, and nobody ever waits for a slow client;
//! * a whole turn's work is the caller's choice: [`Connection::take`] gives one frame at a time, and
//!   [`Connection::has_frame`] tells whether one waits that epoll will not tell about.

mod connection;
mod listener;

pub use connection::{Connection, Cut, Full, Rooms, Taken};
pub use listener::{Peer, Refusals, accept, connect, has_its_share, listen, process_of};

/// Bytes before each body.
pub const HEADER_LEN: usize = 8;
/// The second half of each header.
pub const MAGIC: u32 = 0x0000_abcd;
/// The longest body (256 KiB). A receiver may allow less.
pub const BODY_MAX: usize = 256 * 1024;
/// Frames that wait for the other side before it counts as one that does not read.
pub const QUEUE_MAX: usize = 64;

/// The header of a body of `len` bytes, which are no more than [`BODY_MAX`].
pub fn header(len: usize) -> [u8; HEADER_LEN] {
    let mut header = [0; HEADER_LEN];
    header[..4].copy_from_slice(&i32::try_from(len).unwrap_or(i32::MAX).to_ne_bytes());
    header[4..].copy_from_slice(&MAGIC.to_ne_bytes());
    header
}

/// What a header says: the length of the body, at most `max`.
///
/// # Errors
/// [`Cut::Magic`], [`Cut::Length`].
pub fn parse_header(header: [u8; HEADER_LEN], max: usize) -> Result<usize, Cut> {
    let [l0, l1, l2, l3, m0, m1, m2, m3] = header;
    let (len, magic) = (i32::from_ne_bytes([l0, l1, l2, l3]), u32::from_ne_bytes([m0, m1, m2, m3]));
    if magic != MAGIC {
        return Err(Cut::Magic(magic));
    }
    usize::try_from(len).ok().filter(|len| *len <= max).ok_or(Cut::Length(len))
}

#[cfg(test)]
mod tests;
