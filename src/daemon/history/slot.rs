//! The bytes of one event in the file.
//!
//! ```text
//!   0      4      6       8       16    20         28    32          36      40     256
//!   crc32  magic  length  number  boot  monotonic  wall  generation  number  text…
//!                 from 20         hash  µs         s     of the partner's, or 0
//! ```
//!
//! Little endian. The checksum is over everything behind it, the unused rest included.

use crc::{CRC_32_ISO_HDLC, Crc};

use super::Origin;
use crate::core::ids::Generation;

/// Bytes of a slot.
pub const SLOT: usize = 256;
/// Slots of a file. Event `n` stands in slot `n % SLOTS`.
pub const SLOTS: usize = 256;
/// Bytes of a file.
pub const FILE: usize = SLOT * SLOTS;

/// What a body begins with: monotonic time, wall clock, the partner's generation and number.
pub const BODY_HEAD: usize = 20;
/// Bytes of an event as it comes through the log pipe.
pub const BODY_MAX: usize = SLOT - BODY_AT;

const MAGIC: [u8; 2] = *b"n1";
const MAGIC_AT: usize = 4;
const LENGTH_AT: usize = 6;
const NUMBER_AT: usize = 8;
const BOOT_AT: usize = 16;
const BODY_AT: usize = 20;
const CRC32: Crc<u32> = Crc::<u32>::new(&CRC_32_ISO_HDLC);

impl Record {
    /// The short form of [`boot_id`](crate::guardian::lease::boot_id) in which a record has it.
    pub fn boot_of(id: u64) -> u32 {
        u32::try_from(id & 0xffff_ffff).unwrap_or(0)
    }
}

/// The bytes of a slot.
pub type Bytes = [u8; SLOT];

/// One event as it stands in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Counts from 1, through all boots.
    pub number: u64,
    /// A hash of the boot in which it was written down.
    pub boot: u32,
    /// Microseconds since that boot.
    pub monotonic_us: u64,
    /// The wall clock, seconds since 1970.
    pub wall: u32,
    /// Who told it, when it was the partner.
    pub origin: Option<Origin>,
    /// `name=value` fields with tabs between them.
    pub text: String,
}

/// The slot for a body that came through the log pipe; one that is too long is cut.
pub fn encode(number: u64, boot: u32, body: &[u8]) -> Bytes {
    let mut slot = [0; SLOT];
    let length = body.len().min(BODY_MAX);
    slot[MAGIC_AT..LENGTH_AT].copy_from_slice(&MAGIC);
    slot[LENGTH_AT..NUMBER_AT].copy_from_slice(&u16::try_from(length).unwrap_or(0).to_le_bytes());
    slot[NUMBER_AT..BOOT_AT].copy_from_slice(&number.to_le_bytes());
    slot[BOOT_AT..BODY_AT].copy_from_slice(&boot.to_le_bytes());
    slot[BODY_AT..BODY_AT + length].copy_from_slice(&body[..length]);
    let sum = CRC32.checksum(&slot[MAGIC_AT..]);
    slot[..MAGIC_AT].copy_from_slice(&sum.to_le_bytes());
    slot
}

/// The number of the event in this slot; 0 when there is none, or only a part of one.
pub fn number(slot: &[u8]) -> u64 {
    let Some((sum, rest)) = slot.split_first_chunk() else { return 0 };
    let is_whole = slot.len() == SLOT && CRC32.checksum(rest) == u32::from_le_bytes(*sum) && rest.starts_with(&MAGIC);
    if is_whole { u64_at(slot, NUMBER_AT) } else { 0 }
}

/// Where the event with this number stands, in bytes.
pub fn place(number: u64) -> usize {
    usize::try_from(number % SLOTS as u64).unwrap_or(0) * SLOT
}

/// The event in this slot.
pub fn decode(slot: &[u8]) -> Option<Record> {
    let number = Some(number(slot)).filter(|number| *number > 0)?;
    let length = usize::from(u16::from_le_bytes([slot[LENGTH_AT], slot[LENGTH_AT + 1]]));
    let (head, text) = slot.get(BODY_AT..BODY_AT + length)?.split_at_checked(BODY_HEAD)?;
    let origin = Origin { generation: Generation(u32_at(head, 12)), number: u32_at(head, 16) };
    Some(Record {
        number,
        boot: u32_at(slot, BOOT_AT),
        monotonic_us: u64_at(head, 0),
        wall: u32_at(head, 8),
        origin: (origin.number > 0).then_some(origin),
        // Printed by whoever reads it: the partner's words are in it.
        text: str::from_utf8(text).ok()?.replace(|letter: char| letter.is_control() && letter != '\t', "?"),
    })
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |chunk| u32::from_le_bytes(*chunk))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |chunk| u64::from_le_bytes(*chunk))
}

/// Bodies for tests: an event at second `wall` with this text.
#[cfg(test)]
pub(super) fn body(wall: u32, origin: (u32, u32), text: &str) -> Vec<u8> {
    let mut body = u64::from(wall).to_le_bytes().to_vec();
    [wall, origin.0, origin.1].iter().for_each(|word| body.extend(word.to_le_bytes()));
    body.extend(text.as_bytes());
    body
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slot_comes_back_as_it_was() {
        let slot = encode(7, 9, &body(1_700_000_000, (3, 4), "event=x\tsubject=ü"));
        let origin = Some(Origin { generation: Generation(3), number: 4 });
        let text = "event=x\tsubject=ü".to_owned();
        let expected = Record { number: 7, boot: 9, monotonic_us: 1_700_000_000, wall: 1_700_000_000, origin, text };
        assert_eq!(decode(&slot), Some(expected));
        assert_eq!(decode(&encode(1, 1, &body(1, (0, 0), "a\nb"))).unwrap().text, "a?b");
        assert_eq!(decode(&encode(1, 1, &[0xff; 300])), None, "no text");
        assert_eq!(decode(&encode(1, 1, &[7; BODY_HEAD - 1])), None, "no head");
    }

    #[test]
    fn slot_of_which_any_bit_or_the_end_is_missing_is_none() {
        let slot = encode(7, 9, &body(1, (0, 0), "event=x"));
        for bit in 0..SLOT * 8 {
            let mut broken = slot;
            broken[bit / 8] ^= 1 << (bit % 8);
            assert_eq!((number(&broken), decode(&broken)), (0, None), "bit {bit}");
        }
        for end in 0..SLOT {
            assert_eq!((number(&slot[..end]), decode(&slot[..end])), (0, None), "{end} bytes");
        }
        assert_eq!(number(&[0; SLOT]), 0);
    }
}
