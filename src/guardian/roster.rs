//! What the engine knows of the nodes, in memory that it shares with the guardian: for the files `hostcache` and
//! `delhostcache` (spec/wire.md 10.4), which only the guardian may write, and for the next engine.
//!
//! ```text
//!   word 0   version: odd while it is being written
//!   word 1   bytes of hostcache
//!   word 2   bytes of delhostcache
//!   word 3…  both texts, one behind the other
//! ```

use std::fs::File;
use std::io;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering, fence};

use nix::sys::memfd::{MFdFlags, memfd_create};

use crate::core::Remembered;
use crate::core::ids::Uuid;
use crate::core::limits::{NODE_NAME_MAX, NODES_MAX, SITE_MAX};
use crate::core::members::WEIGHT;
use crate::sys::mapping::SharedWords;

/// Bytes of the longest line: name, uuid, weight, site, their separators.
const LINE_MAX: usize = NODE_NAME_MAX + 36 + 10 + SITE_MAX + 4;
/// Bytes of both texts together: a node stands in one of them.
pub const TEXT_MAX: usize = NODES_MAX * LINE_MAX;
const HEAD: usize = 3;
const WORDS: usize = HEAD + TEXT_MAX.div_ceil(8);
/// Readings of a text that keeps changing.
const READINGS: usize = 8;

/// The memory. Copies share it, also across fork(2).
#[derive(Debug, Clone)]
pub struct Roster {
    page: Rc<SharedWords>,
}

impl Roster {
    /// Empty.
    ///
    /// # Errors
    /// What memfd_create(2) and mmap(2) say.
    pub fn new() -> io::Result<Self> {
        let file = File::from(memfd_create(c"nullbeat-nodes", MFdFlags::MFD_CLOEXEC)?);
        file.set_len((WORDS * 8) as u64)?;
        Ok(Self { page: Rc::new(SharedWords::map(&file, 0, WORDS)?) })
    }

    fn word(&self, at: usize) -> &AtomicU64 {
        &self.page.words()[at]
    }

    /// Replaces both texts; whole lines that do not fit are left out. One process writes.
    pub fn write(&self, hostcache: &str, delhostcache: &str) {
        let first = whole_lines(hostcache, TEXT_MAX);
        let second = whole_lines(delhostcache, TEXT_MAX - first.len());
        let version = self.word(0).load(Ordering::Relaxed) | 1;
        self.word(0).store(version, Ordering::Relaxed);
        fence(Ordering::Release);
        self.word(1).store(first.len() as u64, Ordering::Relaxed);
        self.word(2).store(second.len() as u64, Ordering::Relaxed);
        let mut bytes = first.bytes().chain(second.bytes());
        for at in HEAD..WORDS {
            let word: [u8; 8] = std::array::from_fn(|_| bytes.next().unwrap_or(0));
            self.word(at).store(u64::from_le_bytes(word), Ordering::Relaxed);
        }
        self.word(0).store(version.wrapping_add(1), Ordering::Release);
    }

    /// Both texts; `None` while they keep changing, or when they are no text.
    pub fn read(&self) -> Option<[String; 2]> {
        (0..READINGS).find_map(|_| self.read_once())
    }

    fn read_once(&self) -> Option<[String; 2]> {
        let version = self.word(0).load(Ordering::Acquire);
        let lengths = [1, 2].map(|at| usize::try_from(self.word(at).load(Ordering::Relaxed)).unwrap_or(usize::MAX));
        let bytes: Vec<u8> = (HEAD..WORDS).flat_map(|at| self.word(at).load(Ordering::Relaxed).to_le_bytes()).collect();
        fence(Ordering::Acquire);
        if version & 1 == 1 || self.word(0).load(Ordering::Relaxed) != version {
            return None;
        }
        let first = bytes.get(..lengths[0])?;
        let second = bytes.get(lengths[0]..lengths[0].checked_add(lengths[1])?)?;
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).ok();
        Some([text(first)?, text(second)?])
    }
}

fn whole_lines(text: &str, room: usize) -> &str {
    if text.len() <= room {
        return text;
    }
    let end = text.as_bytes()[..room].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    &text[..end]
}

/// A line of either file; those with two columns are older. `None`: not one.
pub fn parse_line(line: &str, is_deleted: bool) -> Option<Remembered<'_>> {
    let mut columns = line.split('\t');
    let name = columns.next().filter(|name| !name.is_empty())?;
    let uuid = parse_uuid(columns.next()?)?;
    let weight = columns.next().and_then(|weight| weight.parse().ok()).unwrap_or(WEIGHT);
    Some(Remembered { name, uuid, weight, site: columns.next().unwrap_or_default(), is_deleted })
}

fn parse_uuid(text: &str) -> Option<Uuid> {
    let mut bytes = [0; 16];
    let mut digits = text.chars().filter(|character| *character != '-').map(|digit| digit.to_digit(16));
    for byte in &mut bytes {
        let (high, low) = (digits.next()??, digits.next()??);
        *byte = u8::try_from(high << 4 | low).ok()?;
    }
    digits.next().is_none().then_some(Uuid(bytes))
}

/// A uuid as the files have it.
#[derive(Debug, Clone, Copy)]
pub struct Hyphenated(pub Uuid);

impl std::fmt::Display for Hyphenated {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (place, byte) in self.0.0.iter().enumerate() {
            if matches!(place, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roster_is_shared_and_keeps_whole_lines() {
        let roster = Roster::new().unwrap();
        assert_eq!(roster.read(), Some([String::new(), String::new()]));
        let other = roster.clone();
        other.write("a\tx\n", "b\ty\nc\tz\n");
        assert_eq!(roster.read(), Some(["a\tx\n".into(), "b\ty\nc\tz\n".into()]));
        let line = format!("{}\n", "n".repeat(LINE_MAX - 1));
        other.write(&line.repeat(NODES_MAX + 1), "b\n");
        assert_eq!(roster.read(), Some([line.repeat(NODES_MAX), String::new()]));
    }

    #[test]
    fn lines_of_the_original_are_understood() {
        let line = "alpha\t5d8bf211-e1bc-459f-b1c4-9b200d17e764\t100\t";
        let found = parse_line(line, false).unwrap();
        assert_eq!((found.name, found.weight, found.site), ("alpha", 100, ""));
        assert_eq!(Hyphenated(found.uuid).to_string(), "5d8bf211-e1bc-459f-b1c4-9b200d17e764");
        let old = parse_line("beta\t00000000-0000-0000-0000-000000000000", true).unwrap();
        assert!(old.uuid.is_nil() && old.weight == WEIGHT && old.is_deleted);
        for bad in ["", "alpha", "\t5d8bf211-e1bc-459f-b1c4-9b200d17e764", "a\txyz", "a\t5d8b"] {
            assert_eq!(parse_line(bad, false), None, "{bad:?}");
        }
    }
}
