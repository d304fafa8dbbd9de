//! Packing in zlib's form (RFC 1950, RFC 1951), as far as messages of a few kilobytes need it: one block with the fixed
//! codes, repetitions found by one look into a small table. `miniz_oxide` packs better, and needs 300 KiB of heap for it.

/// Prefixes of three bytes that are remembered.
const HEADS: usize = 1 << 11;
const MATCH_MIN: usize = 3;
const MATCH_MAX: usize = 258;
const DISTANCE_MAX: usize = 1 << 15;
const END: u32 = 256;

/// First length or distance of each code, and how many bits follow it.
type Steps = [(u16, u8)];
#[rustfmt::skip]
const LENGTHS: &Steps = &[
    (3, 0), (4, 0), (5, 0), (6, 0), (7, 0), (8, 0), (9, 0), (10, 0), (11, 1), (13, 1), (15, 1), (17, 1), (19, 2), (23, 2),
    (27, 2), (31, 2), (35, 3), (43, 3), (51, 3), (59, 3), (67, 4), (83, 4), (99, 4), (115, 4), (131, 5), (163, 5),
    (195, 5), (227, 5), (258, 0),
];
#[rustfmt::skip]
const DISTANCES: &Steps = &[
    (1, 0), (2, 0), (3, 0), (4, 0), (5, 1), (7, 1), (9, 2), (13, 2), (17, 3), (25, 3), (33, 4), (49, 4), (65, 5), (97, 5),
    (129, 6), (193, 6), (257, 7), (385, 7), (513, 8), (769, 8), (1025, 9), (1537, 9), (2049, 10), (3073, 10), (4097, 11),
    (6145, 11), (8193, 12), (12289, 12), (16385, 13), (24577, 13),
];

/// Packs `plain`, at most 64 KiB, into `out`. `None` when it does not fit.
pub(super) fn pack(plain: &[u8], out: &mut [u8]) -> Option<usize> {
    // Where each prefix was seen last, plus one.
    let mut heads = [0_u16; HEADS];
    let mut bits = Bits { out, len: 0, waiting: 0, count: 0 };
    // Deflate, a window of 32 KiB, the usual effort; then the only block, with the fixed codes.
    bits.push(0x9c78, 16)?;
    bits.push(0b011, 3)?;
    let mut at = 0;
    while let Some(byte) = plain.get(at) {
        let (distance, length) = find(plain, at, &heads);
        let taken = if length < MATCH_MIN { 1 } else { length };
        if length < MATCH_MIN {
            bits.symbol(u32::from(*byte))?;
        } else {
            let (code, rest, extra) = step(LENGTHS, length)?;
            bits.symbol(END + 1 + code)?;
            bits.push(rest, extra)?;
            let (code, rest, extra) = step(DISTANCES, distance)?;
            bits.push_reversed(code, 5)?;
            bits.push(rest, extra)?;
        }
        for place in at..at + taken {
            if let Some(slot) = head(plain, place).and_then(|head| heads.get_mut(head)) {
                *slot = u16::try_from(place + 1).ok()?;
            }
        }
        at += taken;
    }
    bits.symbol(END)?;
    bits.finish(adler32(plain))
}

/// The table's slot for the three bytes here.
fn head(plain: &[u8], at: usize) -> Option<usize> {
    let [a, b, c] = *plain.get(at..)?.first_chunk()?;
    let prefix = u32::from_le_bytes([a, b, c, 0]);
    usize::try_from(prefix.wrapping_mul(0x9e37_79b1) >> (32 - HEADS.trailing_zeros())).ok()
}

/// How far back and how long the repetition is that begins here; a length of zero if there is none.
fn find(plain: &[u8], at: usize, heads: &[u16; HEADS]) -> (usize, usize) {
    let Some(before) = head(plain, at).and_then(|head| usize::from(heads[head]).checked_sub(1)) else { return (0, 0) };
    let distance = at - before;
    if distance > DISTANCE_MAX {
        return (0, 0);
    }
    let pairs = plain.iter().skip(before).zip(plain.iter().skip(at));
    (distance, pairs.take(MATCH_MAX).take_while(|(old, new)| old == new).count())
}

/// The code of a length or distance, what is added to the code's first one, and in how many bits.
fn step(steps: &Steps, value: usize) -> Option<(u32, u32, u32)> {
    let value = u16::try_from(value).ok()?;
    let code = steps.iter().rposition(|(first, _)| *first <= value)?;
    let (first, extra) = steps[code];
    Some((u32::try_from(code).ok()?, u32::from(value - first), u32::from(extra)))
}

/// Bits, lowest first.
struct Bits<'o> {
    out: &'o mut [u8],
    len: usize,
    waiting: u32,
    count: u32,
}

impl Bits<'_> {
    /// The lowest `count` bits of `value`, at most 16.
    fn push(&mut self, value: u32, count: u32) -> Option<()> {
        self.waiting |= value << self.count;
        self.count += count;
        while self.count >= 8 {
            self.push_byte()?;
        }
        Some(())
    }

    fn push_byte(&mut self) -> Option<()> {
        *self.out.get_mut(self.len)? = self.waiting.to_le_bytes()[0];
        self.len += 1;
        self.waiting >>= 8;
        self.count = self.count.saturating_sub(8);
        Some(())
    }

    /// Codes go highest bit first.
    fn push_reversed(&mut self, code: u32, count: u32) -> Option<()> {
        self.push(code.reverse_bits() >> (32 - count), count)
    }

    /// A byte, the end, or a length, in the fixed code.
    fn symbol(&mut self, symbol: u32) -> Option<()> {
        match symbol {
            0..=143 => self.push_reversed(0b0011_0000 + symbol, 8),
            144..=255 => self.push_reversed(0b1_1001_0000 + symbol - 144, 9),
            256..=279 => self.push_reversed(symbol - 256, 7),
            _ => self.push_reversed(0b1100_0000 + symbol - 280, 8),
        }
    }

    fn finish(mut self, checksum: u32) -> Option<usize> {
        if self.count > 0 {
            self.push_byte()?;
        }
        let end = self.len + 4;
        self.out.get_mut(self.len..end)?.copy_from_slice(&checksum.to_be_bytes());
        Some(end)
    }
}

fn adler32(bytes: &[u8]) -> u32 {
    const MODULUS: u32 = 65_521;
    let (low, high) = bytes.iter().fold((1, 0), |(low, high), byte| {
        let low = (low + u32::from(*byte)) % MODULUS;
        (low, (high + low) % MODULUS)
    });
    high << 16 | low
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unpacked(packed: &[u8]) -> Vec<u8> {
        use miniz_oxide::inflate::core::{DecompressorOxide, decompress, inflate_flags::*};
        let mut out = vec![0; 1 << 16];
        let flags = TINFL_FLAG_PARSE_ZLIB_HEADER | TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF;
        let (status, taken, len) = decompress(&mut DecompressorOxide::new(), packed, &mut out, 0, flags);
        assert_eq!((status, taken), (miniz_oxide::inflate::TINFLStatus::Done, packed.len()));
        out.truncate(len);
        out
    }

    fn packed(plain: &[u8]) -> Vec<u8> {
        let mut out = vec![0; plain.len() * 2 + 16];
        let len = pack(plain, &mut out).unwrap();
        out.truncate(len);
        out
    }

    #[test]
    fn whatever_is_packed_can_be_unpacked() {
        let mut noise = 1_u32;
        let mut noise = |_| {
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (noise >> 24) as u8
        };
        let random: Vec<u8> = (0..65_000).map(&mut noise).collect();
        let far: Vec<u8> = [&b"needle, haystack"[..], &random[..32_752], b"needle, haystack"].concat();
        for plain in [
            b"".to_vec(),
            b"a".to_vec(),
            b"abc".to_vec(),
            vec![b'x'; 65_535],
            (0..=255).collect(),
            (0..=255).cycle().take(5000).collect(),
            random,
            far,
            b">>>\nt=status\nst=active\n(1)srcuuid=XYvyEeG8RZ+xxJsgDRfnZA==\n".repeat(30),
        ] {
            assert!(unpacked(&packed(&plain)) == plain, "{} bytes", plain.len());
        }
    }

    #[test]
    fn repetitions_become_short() {
        assert!(packed(&[b'x'; 10_000]).len() < 100);
        assert!(packed(&b"(1)srcuuid=XYvyEeG8RZ+xxJsgDRfnZA==\n".repeat(50)).len() < 200);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let whole = packed(b"some words, some more words");
        for room in 0..whole.len() {
            assert_eq!(pack(b"some words, some more words", &mut vec![0; room]), None, "{room}");
        }
    }
}
