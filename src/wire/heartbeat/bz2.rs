//! Unpacking bzip2, into memory that is there already.
//!
//! Written out here because no crate does it without allocating. What is left out on purpose: blocks of more than
//! [`BLOCK_MAX`] bytes, and the "randomised" ones, which no bzip2 has written since 1999.
//!
//! ```text
//!   BZh1..9 │ block… │ 48 bits of sqrt(pi) │ CRC of all blocks
//!   block:   48 bits of pi │ CRC │ not randomised │ first row │ which bytes occur │ Huffman tables, which one when │ symbols
//!   symbols: Huffman ─▶ runs of zeros, move to front ─▶ Burrows-Wheeler, backwards ─▶ runs of four ─▶ bytes
//! ```

use crc::{CRC_32_BZIP2, Crc};

/// Bytes of the longest block: what a row's number of 16 bits can tell apart.
pub(super) const BLOCK_MAX: usize = 1 << 16;

const PI: u64 = 0x3141_5926_5359;
const SQRT_PI: u64 = 0x1772_4538_5090;
/// Symbols that one table decodes; then comes the next selector.
const GROUP: usize = 50;
const TABLES_MAX: usize = 6;
/// 256 bytes less the first, two symbols for runs, the end.
const SYMBOLS_MAX: usize = 258;
const LENGTH_MAX: usize = 20;
/// More are never needed for a block of 900 000 bytes.
const SELECTORS_MAX: usize = 18_002;

static CRC32: Crc<u32> = Crc::<u32>::new(&CRC_32_BZIP2);

/// Why there is no result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Error {
    /// This is no bzip2, or it is damaged.
    Damaged,
    /// It does not fit.
    TooLarge,
}

/// Memory for one block: its last column, and the row from which each row follows. [`BLOCK_MAX`] of each are enough.
pub(super) struct Workspace<'w> {
    pub(super) column: &'w mut [u8],
    pub(super) rows: &'w mut [[u8; 2]],
}

/// Unpacks `packed` into `out`; returns the number of bytes.
pub(super) fn unpack(packed: &[u8], out: &mut [u8], workspace: Workspace<'_>) -> Result<usize, Error> {
    let mut bits = Bits { bytes: packed, at: 0 };
    let Workspace { column, rows } = workspace;
    if bits.take(24)? != 0x42_5a68 || !(0x31..=0x39).contains(&bits.take(8)?) {
        return Err(Error::Damaged);
    }
    let (mut len, mut all) = (0, 0_u32);
    loop {
        let magic = u64::from(bits.take(24)?) << 24 | u64::from(bits.take(24)?);
        let expected = bits.take(16)? << 16 | bits.take(16)?;
        if magic == SQRT_PI {
            return if expected == all { Ok(len) } else { Err(Error::Damaged) };
        }
        if magic != PI || bits.take(1)? != 0 {
            return Err(Error::Damaged);
        }
        let first = usize::try_from(bits.take(24)?).map_err(|_| Error::Damaged)?;
        let count = read_column(&mut bits, column)?;
        let column = column.get(..count).ok_or(Error::TooLarge)?;
        let written = write_block(column, first, rows, out.get_mut(len..).unwrap_or_default())?;
        let block = CRC32.checksum(out.get(len..len + written).unwrap_or_default());
        if block != expected {
            return Err(Error::Damaged);
        }
        all = all.rotate_left(1) ^ block;
        len += written;
    }
}

/// Bits, highest first.
struct Bits<'a> {
    bytes: &'a [u8],
    /// The next bit.
    at: usize,
}

impl Bits<'_> {
    /// The next `count` bits, at most 24.
    fn take(&mut self, count: usize) -> Result<u32, Error> {
        let mut value = 0;
        for byte in self.bytes.get(self.at / 8..).unwrap_or_default().iter().chain(&[0; 4]).take(4) {
            value = value << 8 | u32::from(*byte);
        }
        if self.at + count > self.bytes.len() * 8 {
            return Err(Error::Damaged);
        }
        let value = value << (self.at % 8);
        self.at += count;
        Ok(if count == 0 { 0 } else { value >> (32 - count) })
    }

    fn bit(&mut self) -> Result<bool, Error> {
        self.take(1).map(|bit| bit == 1)
    }

    fn number(&mut self, count: usize) -> Result<usize, Error> {
        self.take(count).and_then(|number| usize::try_from(number).map_err(|_| Error::Damaged))
    }
}

/// One canonical Huffman code.
struct Table {
    /// Of each length: the code behind its last one.
    limits: [u32; LENGTH_MAX + 1],
    /// Of each length: where its symbols begin, less its first code.
    offsets: [i32; LENGTH_MAX + 1],
    /// Ordered by code.
    symbols: [u16; SYMBOLS_MAX],
    count: usize,
}

impl Table {
    const EMPTY: Self =
        Self { limits: [0; LENGTH_MAX + 1], offsets: [0; LENGTH_MAX + 1], symbols: [0; SYMBOLS_MAX], count: 0 };

    fn read(bits: &mut Bits<'_>, symbols: usize) -> Result<Self, Error> {
        let mut lengths = [0_u8; SYMBOLS_MAX];
        let mut length = bits.take(5)?;
        for slot in lengths.iter_mut().take(symbols) {
            while bits.bit()? {
                length = if bits.bit()? { length.wrapping_sub(1) } else { length + 1 };
                if !(1..=20).contains(&length) {
                    return Err(Error::Damaged);
                }
            }
            *slot = u8::try_from(length).map_err(|_| Error::Damaged)?;
        }
        Self::new(lengths.get(..symbols).unwrap_or_default())
    }

    fn new(lengths: &[u8]) -> Result<Self, Error> {
        let mut table = Self::EMPTY;
        let mut code = 0_u32;
        for length in 1..=LENGTH_MAX {
            let begin = table.count;
            for (symbol, _) in (0_u16..).zip(lengths).filter(|(_, other)| usize::from(**other) == length) {
                *table.symbols.get_mut(table.count).ok_or(Error::Damaged)? = symbol;
                table.count += 1;
            }
            table.offsets[length] = signed(begin)? - signed(code)?;
            code += u32::try_from(table.count - begin).map_err(|_| Error::Damaged)?;
            if code > 1 << length {
                return Err(Error::Damaged);
            }
            table.limits[length] = code;
            code <<= 1;
        }
        // A length of zero, or above the highest, would leave a symbol without a code.
        if table.count == lengths.len() { Ok(table) } else { Err(Error::Damaged) }
    }

    fn symbol(&self, bits: &mut Bits<'_>) -> Result<u16, Error> {
        let mut code = 0;
        for length in 1..=LENGTH_MAX {
            code = code << 1 | bits.take(1)?;
            if code < self.limits[length] {
                let place = usize::try_from(signed(code)? + self.offsets[length]).map_err(|_| Error::Damaged)?;
                return self.symbols.get(place).copied().ok_or(Error::Damaged);
            }
        }
        Err(Error::Damaged)
    }
}

fn signed<T: TryInto<i32>>(number: T) -> Result<i32, Error> {
    number.try_into().map_err(|_| Error::Damaged)
}

/// Bytes, the most recent one first.
struct Recent {
    bytes: [u8; 256],
    count: usize,
}

impl Recent {
    fn read(bits: &mut Bits<'_>) -> Result<Self, Error> {
        let mut recent = Self { bytes: [0; 256], count: 0 };
        let sixteens = bits.take(16)?;
        for high in (0..16_u8).filter(|high| sixteens >> (15 - high) & 1 == 1) {
            let ones = bits.take(16)?;
            for low in (0..16_u8).filter(|low| ones >> (15 - low) & 1 == 1) {
                recent.bytes[recent.count] = high << 4 | low;
                recent.count += 1;
            }
        }
        if recent.count == 0 { Err(Error::Damaged) } else { Ok(recent) }
    }

    /// Moves the byte at this place to the front.
    fn take(&mut self, place: usize) -> Result<u8, Error> {
        let known = self.bytes.get_mut(..self.count).unwrap_or_default();
        known.get_mut(..=place).ok_or(Error::Damaged)?.rotate_right(1);
        Ok(self.bytes[0])
    }
}

/// The last column of the sorted rotations: the block as its symbols tell it. Returns its length.
fn read_column(bits: &mut Bits<'_>, column: &mut [u8]) -> Result<usize, Error> {
    let mut recent = Recent::read(bits)?;
    let symbols = recent.count + 2;
    let end = u16::try_from(symbols - 1).map_err(|_| Error::Damaged)?;
    let table_count = bits.number(3)?;
    let selector_count = bits.number(15)?;
    if !(2..=TABLES_MAX).contains(&table_count) || !(1..=SELECTORS_MAX).contains(&selector_count) {
        return Err(Error::Damaged);
    }
    // Selectors are read a second time when they are needed: they are told before the tables, and there may be many.
    let mut selectors = Selectors { bits: Bits { bytes: bits.bytes, at: bits.at }, order: [0, 1, 2, 3, 4, 5] };
    for _ in 0..selector_count {
        Selectors::place(bits, table_count)?;
    }
    let mut tables = [const { Table::EMPTY }; TABLES_MAX];
    for table in tables.iter_mut().take(table_count) {
        *table = Table::read(bits, symbols)?;
    }
    let (mut len, mut run, mut weight) = (0, 0_usize, 1_usize);
    for _ in 0..selector_count {
        let table = &tables[selectors.next(table_count)?];
        for _ in 0..GROUP {
            let symbol = table.symbol(bits)?;
            if symbol <= 1 {
                // A run's length, its digits 1 and 2 from the lowest on.
                run += weight << symbol;
                weight <<= 1;
                if run > column.len() {
                    return Err(Error::TooLarge);
                }
                continue;
            }
            if run > 0 {
                column.get_mut(len..len + run).ok_or(Error::TooLarge)?.fill(recent.bytes[0]);
                len += run;
                (run, weight) = (0, 1);
            }
            if symbol == end {
                return Ok(len);
            }
            *column.get_mut(len).ok_or(Error::TooLarge)? = recent.take(usize::from(symbol) - 1)?;
            len += 1;
        }
    }
    Err(Error::Damaged)
}

/// Which table decodes the next group.
struct Selectors<'a> {
    bits: Bits<'a>,
    order: [usize; TABLES_MAX],
}

impl Selectors<'_> {
    fn place(bits: &mut Bits<'_>, tables: usize) -> Result<usize, Error> {
        let mut place = 0;
        while bits.bit()? {
            place += 1;
            if place >= tables {
                return Err(Error::Damaged);
            }
        }
        Ok(place)
    }

    fn next(&mut self, tables: usize) -> Result<usize, Error> {
        let place = Self::place(&mut self.bits, tables)?;
        self.order.get_mut(..=place).ok_or(Error::Damaged)?.rotate_right(1);
        Ok(self.order[0])
    }
}

/// Sorts the column back and undoes the runs of four. Returns the number of bytes written.
fn write_block(column: &[u8], first: usize, rows: &mut [[u8; 2]], out: &mut [u8]) -> Result<usize, Error> {
    if first >= column.len() || column.len() > BLOCK_MAX {
        return Err(Error::Damaged);
    }
    let mut begins = [0_u32; 256];
    for byte in column {
        begins[usize::from(*byte)] += 1;
    }
    let mut sum = 0;
    for begin in &mut begins {
        sum += core::mem::replace(begin, sum);
    }
    for (row, byte) in (0_u16..=u16::MAX).zip(column) {
        let begin = &mut begins[usize::from(*byte)];
        let place = usize::try_from(*begin).map_err(|_| Error::Damaged)?;
        *rows.get_mut(place).ok_or(Error::TooLarge)? = row.to_le_bytes();
        *begin += 1;
    }
    let mut row = first;
    let (mut len, mut last, mut repeats) = (0, None, 0);
    for _ in 0..column.len() {
        row = usize::from(u16::from_le_bytes(*rows.get(row).ok_or(Error::Damaged)?));
        let byte = *column.get(row).ok_or(Error::Damaged)?;
        let (count, value) = if repeats == 4 {
            repeats = 0;
            (usize::from(byte), last.unwrap_or_default())
        } else {
            repeats = if last == Some(byte) { repeats + 1 } else { 1 };
            last = Some(byte);
            (1, byte)
        };
        out.get_mut(len..len + count).ok_or(Error::TooLarge)?.fill(value);
        len += count;
        if repeats == 0 {
            // Behind a count a run begins anew, even of the same byte.
            last = None;
        }
    }
    Ok(len)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::process::{Command, Stdio};

    use super::*;

    fn packed(plain: &[u8], level: &str) -> Vec<u8> {
        let mut child =
            Command::new("bzip2").arg(level).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("bzip2");
        let mut stdin = child.stdin.take().unwrap();
        let plain = plain.to_vec();
        let writer = std::thread::spawn(move || stdin.write_all(&plain).unwrap());
        let packed = child.wait_with_output().unwrap().stdout;
        writer.join().unwrap();
        packed
    }

    fn unpacked(packed: &[u8], room: usize) -> Result<Vec<u8>, Error> {
        let (mut out, mut column, mut rows) = (vec![0; room], vec![0; BLOCK_MAX], vec![[0; 2]; BLOCK_MAX]);
        let len = unpack(packed, &mut out, Workspace { column: &mut column, rows: &mut rows })?;
        out.truncate(len);
        Ok(out)
    }

    fn noise(len: usize, values: u32) -> Vec<u8> {
        let mut state = 7_u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            u8::try_from((state >> 8) % values).unwrap()
        };
        (0..len).map(|_| next()).collect()
    }

    #[test]
    fn what_bzip2_packs_is_unpacked() {
        let text = b">>>\nt=status\nst=active\n(1)srcuuid=XYvyEeG8RZ+xxJsgDRfnZA==\n".repeat(200);
        for level in ["-1", "-9"] {
            for plain in [&b""[..], b"a", b"aaaa", b"aaaaaaaa", &[b'x'; 60_000], b"abracadabra", &text] {
                assert!(unpacked(&packed(plain, level), 65_507).as_deref() == Ok(plain), "{} bytes", plain.len());
            }
            for (len, values) in [(1, 256), (50, 2), (51, 3), (3_000, 2), (60_000, 256), (50_000, 5)] {
                let plain = noise(len, values);
                assert!(unpacked(&packed(&plain, level), 65_507) == Ok(plain), "{len} bytes of {values} values");
            }
            // Runs of every length around those that are written as a count.
            let runs: Vec<u8> = (1..320_u32).flat_map(|n| vec![(n % 3) as u8; n as usize]).collect();
            assert!(unpacked(&packed(&runs, level), 65_507) == Ok(runs));
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let plain = noise(5_000, 100);
        let small = packed(&plain, "-1");
        assert_eq!(unpacked(&small, 5_000).as_deref(), Ok(&plain[..]));
        assert_eq!(unpacked(&small, 4_999), Err(Error::TooLarge));
        assert_eq!(unpacked(&packed(&noise(90_000, 256), "-9"), 100_000), Err(Error::TooLarge), "a long block");
        // A hundred megabytes in a hundred bytes.
        assert_eq!(unpacked(&packed(&vec![0; 100_000_000], "-9"), 65_507), Err(Error::TooLarge));
    }

    #[test]
    fn damage_is_noticed_at_every_place() {
        let plain = noise(2_000, 20);
        let whole = packed(&plain, "-1");
        for cut in 0..whole.len() {
            assert_eq!(unpacked(&whole[..cut], 4_000), Err(Error::Damaged), "cut at {cut}");
        }
        let padding = whole.len() * 8 - 8;
        for bit in 0..whole.len() * 8 {
            let mut damaged = whole.clone();
            damaged[bit / 8] ^= 0x80 >> (bit % 8);
            // The size of blocks is not believed anyway, and up to seven bits fill the last byte.
            if !(24..32).contains(&bit) && bit < padding {
                assert!(unpacked(&damaged, 4_000).is_err(), "bit {bit}");
            }
        }
    }
}
