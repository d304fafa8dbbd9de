//! Both files together.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use super::Files;
use super::slot::{self, Bytes, FILE, Record, SLOT, SLOTS};

/// What the files hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ring {
    /// Oldest first, each once, at most [`SLOTS`].
    pub records: Vec<Record>,
}

impl Ring {
    /// Reads both files; one of them is enough.
    ///
    /// # Errors
    /// What reading says when there is neither: `NotFound` when none was ever written.
    pub fn read(files: &Files) -> io::Result<Self> {
        match (image(&files.live), image(&files.disk)) {
            (Err(live), Err(disk)) => Err(if live.kind() == io::ErrorKind::NotFound { disk } else { live }),
            (live, disk) => Ok(Self::merge(&live.unwrap_or_default(), &disk.unwrap_or_default())),
        }
    }

    /// The newest events of two images. Of one number the first image's counts, of one event of the partner's the first.
    pub fn merge(live: &[u8], disk: &[u8]) -> Self {
        let mut records: Vec<Record> = [live, disk].into_iter().flat_map(slots).flatten().collect();
        // Stable: that of the first image stays in front.
        crate::order::sort(&mut records, |a, b| a.number < b.number);
        records.dedup_by_key(|record| record.number);
        let mut seen = Vec::new();
        records.retain(|record| {
            let is_known = record.origin.is_some_and(|origin| seen.contains(&origin));
            seen.extend(record.origin);
            !is_known
        });
        records.drain(..records.len().saturating_sub(SLOTS));
        Self { records }
    }

    /// The number of the newest event; 0 when there is none.
    pub fn last_number(&self) -> u64 {
        self.records.last().map_or(0, |record| record.number)
    }
}

fn slots(image: &[u8]) -> impl Iterator<Item = Option<Record>> {
    image.chunks(SLOT).map(slot::decode)
}

/// A file's bytes, at most as many as it should have.
///
/// # Errors
/// What opening and reading say.
pub(super) fn image(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(FILE);
    File::open(path)?.take(FILE as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// What is to be written where in the disk's file so that it has what is newer in memory, oldest first; neighbours in one
/// piece.
pub(super) fn missing(live: &[u8], disk: &[u8]) -> Vec<(usize, Vec<u8>)> {
    let number_at = |image: &[u8], at: usize| image.get(at..at + SLOT).map_or(0, slot::number);
    let mut newer: Vec<(u64, usize)> = (0..SLOTS)
        .map(|place| place * SLOT)
        .map(|at| (number_at(live, at), at))
        .filter(|&(number, at)| number > number_at(disk, at))
        .collect();
    crate::order::sort(&mut newer, |a, b| a < b);
    let mut pieces: Vec<(usize, Vec<u8>)> = Vec::new();
    for (_, at) in newer {
        let Some(bytes) = live.get(at..at + SLOT) else { continue };
        match pieces.last_mut() {
            Some((start, piece)) if *start + piece.len() == at => piece.extend_from_slice(bytes),
            _ => pieces.push((at, bytes.to_vec())),
        }
    }
    pieces
}

/// Puts slots where they belong in an image.
pub(super) fn put(image: &mut Vec<u8>, slots: &[Bytes]) {
    image.resize(FILE, 0);
    for slot in slots {
        let at = slot::place(slot::number(slot));
        image[at..at + SLOT].copy_from_slice(slot);
    }
}

#[cfg(test)]
mod tests {
    use super::slot::{body, encode};
    use super::*;

    fn image_of(numbers: impl IntoIterator<Item = u64>) -> Vec<u8> {
        let slots: Vec<Bytes> = numbers.into_iter().map(event).collect();
        let mut image = Vec::new();
        put(&mut image, &slots);
        image
    }

    fn event(number: u64) -> Bytes {
        encode(number, 1, &body(u32::try_from(number).unwrap(), (0, 0), &format!("event={number}")))
    }

    fn numbers(ring: &Ring) -> Vec<u64> {
        ring.records.iter().map(|record| record.number).collect()
    }

    #[test]
    fn merge_takes_each_event_once_and_the_newest() {
        let ring = Ring::merge(&image_of(200..=300), &image_of(1..=250));
        assert_eq!(numbers(&ring), (45..=300).collect::<Vec<_>>());
        assert_eq!(ring.last_number(), 300);
        assert_eq!(Ring::merge(&[], &[]).last_number(), 0);
        let told = |number, of| encode(number, 1, &body(9, (7, of), "event=x"));
        let mut disk = Vec::new();
        put(&mut disk, &[told(3, 1), told(4, 2), told(5, 1)]);
        assert_eq!(numbers(&Ring::merge(&image_of(8..=8), &disk)), [3, 4, 8]);
    }

    #[test]
    fn missing_is_what_makes_the_disk_equal() {
        let (live, mut disk) = (image_of(200..=300), image_of(1..=250));
        let pieces = missing(&live, &disk);
        assert_eq!(
            pieces.iter().map(|(at, piece)| (*at, piece.len())).collect::<Vec<_>>(),
            [(251 * SLOT, 5 * SLOT), (0, 45 * SLOT)]
        );
        for (at, piece) in &pieces {
            disk[*at..at + piece.len()].copy_from_slice(piece);
        }
        assert_eq!(numbers(&Ring::merge(&[], &disk)), (45..=300).collect::<Vec<_>>());
        assert_eq!(missing(&live, &disk), []);
        assert_eq!(missing(&image_of(1..=1), &image_of(257..=257)), [], "the disk has a newer one in this place");
    }

    /// The power goes after any byte of any write: whatever was written before, and is not being overwritten, is there.
    #[test]
    fn power_cut_at_any_byte_costs_only_the_slot_that_is_being_written() {
        let (live, old) = (image_of(253..=258), image_of(1..=252));
        let mut disk = old;
        let mut written = Vec::new();
        for (at, piece) in missing(&live, &disk) {
            for (offset, byte) in piece.iter().enumerate() {
                let slot_at = (at + offset) / SLOT * SLOT;
                let before = Ring::merge(&[], &disk);
                disk[at + offset] = *byte;
                let mut after = Ring::merge(&[], &disk);
                // The others are as they were.
                let is_there = |record: &Record| slot::place(record.number) == slot_at;
                let mut others = before.records;
                others.retain(|record| !is_there(record));
                let new = after.records.iter().find(|record| is_there(record)).map(|record| record.number);
                after.records.retain(|record| !is_there(record));
                assert_eq!(after.records, others, "byte {offset} at {at}");
                // This one is the old one as long as its bytes are, then none, then the new one: never a mixture.
                let expected = slot::number(&live[slot_at..slot_at + SLOT]);
                assert!(
                    [None, Some(expected), expected.checked_sub(256)].contains(&new),
                    "byte {offset} at {at}: {new:?}"
                );
                if (offset + 1).is_multiple_of(SLOT) {
                    written.extend(new);
                }
            }
        }
        assert_eq!(written, [253, 254, 255, 256, 257, 258]);
    }

    #[test]
    fn file_cut_at_any_byte_has_what_is_in_front() {
        let image = image_of(1..=255);
        for end in (0..FILE).step_by(13).chain([FILE]) {
            let expected = (end / SLOT).saturating_sub(1);
            assert_eq!(Ring::merge(&[], &image[..end]).records.len(), expected, "{end} bytes");
        }
    }

    #[test]
    fn rubbish_is_no_event() {
        let mut rubbish = vec![0xa5; FILE + 100];
        assert_eq!(Ring::merge(&rubbish, &rubbish), Ring::default());
        rubbish[..SLOT].copy_from_slice(&event(256));
        assert_eq!(numbers(&Ring::merge(&[], &rubbish)), [256]);
    }
}
