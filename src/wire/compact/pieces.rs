//! What clients say: Heartbeat's message as it is, cut into frames, as the fields in it are nobody's business here.
//!
//! A message of a client has one number, which all of its pieces carry, and is taken when all of them have come in their
//! order. Of one that has lost a piece nothing is left: it is missing, is asked for by its number, and comes once more.

use super::bytes::{Reader, Writer};
use super::{CRC_LEN, HEADER_LEN, TAG_LEN, WINDOW};
use crate::core::ids::{Generation, Seq};

/// Bytes of the longest message that is cut.
pub const PIECED_MAX: usize = 1280;
/// Pieces that may wait at a time where beats overtake them. One that has been overtaken by more than [`WINDOW`] frames is
/// refused; while a piece leaves, hardly more than one beat can become due.
pub const PIECES_MAX: usize = 32;
const _: () = assert!(PIECES_MAX as u64 == WINDOW / 2);
/// Bytes of a piece's frame beside the piece.
pub(super) const PIECE_OVERHEAD: usize = HEADER_LEN + 4 + TAG_LEN + CRC_LEN;
/// Pieces that wait are no shorter than this, but the last one: so many wait on a serial line.
pub(super) const PIECE_MIN: usize = 40;
const _: () = assert!(PIECED_MAX <= PIECES_MAX * PIECE_MIN, "the longest message finds room on a line");
/// Where a line has no room for such a piece and a beat in a keepalive, pieces are as short as has to be, but no shorter.
pub(super) const PIECE_LEAST: usize = 16;

/// A part of a client's message, or all of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece<'b> {
    /// Run and number of the message.
    pub number: (Generation, Seq),
    /// Where the bytes stand in it.
    pub at: usize,
    /// How long it is.
    pub total: usize,
    /// Never none.
    pub bytes: &'b [u8],
}

impl Piece<'_> {
    /// Whether it is the whole message.
    pub const fn is_whole(&self) -> bool {
        self.at == 0 && self.bytes.len() == self.total
    }
}

/// Writes a part of a message of `total` bytes.
pub(super) fn write((at, total): (usize, usize), bytes: &[u8], out: &mut Writer<'_>) -> Option<()> {
    let is_within = at.checked_add(bytes.len()).is_some_and(|end| end <= total) && !bytes.is_empty();
    let [at, total] = [at, total].map(|number| u16::try_from(number).unwrap_or(u16::MAX).to_be_bytes());
    out.put(&at);
    out.put(&total);
    out.put(bytes);
    is_within.then_some(())
}

/// Where the part stands, how long the message is, the part. `None`: that makes no sense.
pub(super) fn read(bytes: &[u8]) -> Option<(usize, usize, &[u8])> {
    let mut reader = Reader(bytes);
    let (at, total) = (usize::from(reader.u16()?), usize::from(reader.u16()?));
    let is_within = at + reader.0.len() <= total && total <= PIECED_MAX && !reader.0.is_empty();
    is_within.then_some((at, total, reader.0))
}

/// A message of which one piece at a time is said, as short as it may be.
///
/// On a line that beats nearly fill more of them at once would leave no room for several beats: each that is due meanwhile takes
/// the place of the one before it, which is missed and asked for, and pieces that wait for all that are too old in the end.
#[derive(Debug, Clone)]
pub(super) struct Trickle {
    seq: Seq,
    /// So much has been said.
    at: usize,
    total: usize,
    bytes: [u8; PIECED_MAX],
}

impl Trickle {
    pub(super) const fn new() -> Self {
        Self { seq: Seq(0), at: 0, total: 0, bytes: [0; PIECED_MAX] }
    }

    /// Begins with a message, unless another one is under way: that is missed, and asked for.
    pub(super) fn begin(&mut self, seq: Seq, bytes: &[u8]) {
        if let Some(room) = self.bytes.get_mut(..bytes.len()).filter(|_| self.at == self.total) {
            room.copy_from_slice(bytes);
            (self.seq, self.at, self.total) = (seq, 0, bytes.len());
        }
    }

    /// The number of the message, the place of its next piece and how long it is, the piece.
    pub(super) fn next(&self, len: usize) -> Option<(Seq, (usize, usize), &[u8])> {
        let end = self.total.min(self.at + len);
        let piece = self.bytes.get(self.at..end).filter(|piece| !piece.is_empty())?;
        Some((self.seq, (self.at, self.total), piece))
    }

    /// So much of it has been said.
    pub(super) const fn advance(&mut self, len: usize) {
        self.at += len;
    }
}

/// Puts pieces together.
#[derive(Debug, Clone)]
pub(super) struct Assembly {
    number: (Generation, Seq),
    total: usize,
    /// So much has come.
    len: usize,
    bytes: [u8; PIECED_MAX],
}

impl Assembly {
    pub(super) const fn new() -> Self {
        Self { number: (Generation(0), Seq(0)), total: 0, len: 0, bytes: [0; PIECED_MAX] }
    }

    /// Takes a piece; the whole message, when it was the last one, else the piece as it is.
    pub(super) fn add<'a>(&'a mut self, piece: Piece<'a>) -> Piece<'a> {
        if piece.at == 0 {
            (self.number, self.total, self.len) = (piece.number, piece.total, 0);
        }
        let is_next = (self.number, self.total, self.len) == (piece.number, piece.total, piece.at);
        let Some(room) = self.bytes.get_mut(piece.at..piece.at + piece.bytes.len()).filter(|_| is_next) else {
            return piece;
        };
        room.copy_from_slice(piece.bytes);
        self.len += piece.bytes.len();
        match self.bytes.get(..self.len) {
            Some(bytes) if self.len == self.total => Piece { at: 0, bytes, ..piece },
            _ => piece,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(seq: u64, at: usize, bytes: &[u8]) -> Piece<'_> {
        Piece { number: (Generation(1), Seq(seq)), at, total: 6, bytes }
    }

    #[test]
    fn message_is_whole_when_all_pieces_have_come_in_their_order() {
        let mut assembly = Assembly::new();
        assert!(!assembly.add(piece(1, 0, b"ab")).is_whole());
        assert!(!assembly.add(piece(1, 4, b"ef")).is_whole(), "one is missing");
        assert!(!assembly.add(piece(1, 2, b"cd")).is_whole());
        assert!(!assembly.add(piece(2, 4, b"ef")).is_whole(), "of another message");
        let whole = assembly.add(piece(1, 4, b"ef"));
        assert_eq!((whole.is_whole(), whole.bytes), (true, &b"abcdef"[..]));
        assert!(!assembly.add(piece(1, 4, b"ef")).is_whole(), "nothing is taken twice");
        assert!(assembly.add(piece(3, 0, b"ghijkl")).is_whole());
    }

    #[test]
    fn trickle_says_one_message_after_the_other() {
        let mut trickle = Trickle::new();
        assert_eq!(trickle.next(4), None);
        trickle.begin(Seq(1), b"abcdef");
        trickle.begin(Seq(1), b"abcdef");
        assert_eq!(trickle.next(4), Some((Seq(1), (0, 6), &b"abcd"[..])));
        trickle.advance(4);
        trickle.begin(Seq(2), b"gh");
        assert_eq!(trickle.next(4), Some((Seq(1), (4, 6), &b"ef"[..])), "what is under way is said to its end");
        trickle.advance(2);
        assert_eq!(trickle.next(4), None);
        trickle.begin(Seq(2), b"gh");
        assert_eq!(trickle.next(4), Some((Seq(2), (0, 2), &b"gh"[..])));
    }

    #[test]
    fn pieces_that_make_no_sense_are_none() {
        let mut out = [0; 64];
        for (place, bytes, is_sound) in [
            ((0, 3), &b"abc"[..], true),
            ((1, 3), b"abc", false),
            ((0, 3), b"", false),
            ((0, PIECED_MAX + 1), b"a", true),
        ] {
            let mut writer = Writer::new(&mut out);
            assert_eq!(write(place, bytes, &mut writer).is_some(), is_sound);
            let is_read = read(writer.written()).is_some();
            assert_eq!(is_read, is_sound && place.1 <= PIECED_MAX, "{place:?}");
        }
    }
}
