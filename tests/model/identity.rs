//! When two states count as the same: a digest of everything in them that can make a difference to what follows.
//!
//! The text that `Debug` writes of a node is digested as it is written, without the fields that only count, log or tell
//! people something. Times and sequence numbers are absolute, so two ways to a state meet only where they took equally long.

use std::fmt::{self, Write};

/// Fields of the core that nothing is decided by: each name stands for all fields of that name, wherever they are.
const IGNORED: [&str; 16] = [
    // Statistics.
    "counters",
    "transmitted",
    "received",
    "duplicates",
    "deaths",
    "late_max_ms",
    "reception",
    // What was complained about in the log, and how often.
    "complaints",
    // For `status`: of a group, since when it is in its state, and what led there.
    "last_move",
    "entered_at",
    "entered_by",
    // When a message that is kept was sent again: that limits repetitions, which the model bounds itself.
    "resent",
    // The moment of the last input, and what was said then: the time is part of the state.
    "last_stamp",
    "asked",
    "ts",
    // Kept from the last question to the next, which would find the same.
    "asked_by_ownership",
];

/// Digests text (FNV-1a, twice with different beginnings: 128 bits, so that a collision need not be thought of).
pub(crate) struct Digest {
    halves: [u64; 2],
    /// Inside a field that does not count: how deep.
    skipping: Option<u32>,
    /// The last piece of text was the name of such a field.
    is_named: bool,
}

impl Digest {
    pub(crate) fn new() -> Self {
        Self { halves: [0xcbf2_9ce4_8422_2325, 0x6c62_272e_07bb_0142], skipping: None, is_named: false }
    }

    /// That of one value.
    pub(crate) fn of(value: &impl fmt::Debug) -> u128 {
        let mut digest = Self::new();
        digest.add(value);
        digest.finish()
    }

    pub(crate) fn add(&mut self, value: &impl fmt::Debug) {
        write!(self, "{value:?};").expect("digesting cannot fail");
    }

    pub(crate) fn finish(self) -> u128 {
        u128::from(self.halves[0]) << 64 | u128::from(self.halves[1])
    }

    fn take(&mut self, text: &str) {
        for byte in text.bytes() {
            self.halves[0] = (self.halves[0] ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
            self.halves[1] = (self.halves[1] ^ u64::from(byte)).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(5);
        }
    }
}

impl Write for Digest {
    /// `Debug` writes each name, bracket and separator as a piece of its own.
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if let Some(depth) = self.skipping {
            let is_end = depth == 0 && (text == ", " || text == " }");
            if !is_end {
                let opened = text.bytes().filter(|byte| b"([{".contains(byte)).count();
                let closed = text.bytes().filter(|byte| b")]}".contains(byte)).count();
                let depth = depth as usize + opened - closed;
                self.skipping = Some(u32::try_from(depth).expect("not so deep"));
                return Ok(());
            }
            self.skipping = None;
        }
        if self.is_named && text == ": " {
            self.skipping = Some(0);
        }
        self.is_named = IGNORED.contains(&text);
        self.take(text);
        Ok(())
    }
}

#[test]
fn fields_that_do_not_count_make_no_difference() {
    #[derive(Debug)]
    #[expect(dead_code, reason = "written by Debug")]
    struct Sample {
        counters: (u32, Option<[u32; 2]>),
        seq: u32,
    }
    let digest = |count, seq| Digest::of(&[Sample { counters: (count, Some([count; 2])), seq }]);
    assert_eq!(digest(1, 1), digest(2, 1));
    assert_ne!(digest(1, 1), digest(1, 2));
}
