//! Why bytes were not taken for a message. Each reason is counted and logged by name.

use core::fmt;

/// Why bytes were dropped. Nothing here is an error of ours: it is what cables, strangers and old keys do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reject {
    /// Fewer than four bytes.
    TooShort,
    /// More than [`PACKET_MAX`](super::PACKET_MAX) bytes.
    TooLong,
    /// Begins neither with `###` nor with `>>>`.
    BadMarker,
    /// The outer structure breaks at this byte: lengths, separators, end marker. Found before authentication.
    BadFraming {
        /// Where.
        offset: u32,
    },
    /// No signature, or none of the form `NUMBER DIGEST`.
    Unsigned,
    /// Signed with a key number that authkeys does not have.
    UnknownKey {
        /// Which.
        number: u8,
    },
    /// The signature does not fit.
    BadDigest {
        /// Of the key it names.
        number: u8,
    },
    /// Authentic, but a field at this byte is not one: no name, no `=`, unknown type, NUL in a string.
    Malformed {
        /// Where.
        offset: u32,
    },
    /// Authentic, but this field is missing (or has a type that cannot carry it).
    Missing(&'static str),
    /// Authentic, but this field's value makes no sense.
    BadValue(&'static str),
    /// Authentic, but this field of the header stands there twice: a daemon writes it once, whatever its clients say.
    Doubled(&'static str),
    /// The whole message is compressed (`traditional_compression`): to be unpacked by
    /// [`Codec::expand`](super::Codec::expand).
    Compressed,
    /// Authentic, but compressed with something unknown, twice, damaged, or longer than 64 KiB when unpacked.
    BadCompression,
    /// The caller's scratch space is too small for the strings.
    ScratchFull,
    /// The answer of a ping node, from an address that was not asked.
    Stranger,
    /// The answer of a ping node to a question that was not put, or has been answered.
    Unasked,
}

impl Reject {
    /// One name per reason, in the order of [`Reject::index`]: keys of counters.
    pub const NAMES: [&'static str; 16] = [
        "too_short",
        "too_long",
        "bad_marker",
        "bad_framing",
        "unsigned",
        "unknown_key",
        "bad_digest",
        "malformed",
        "missing_field",
        "bad_value",
        "compressed",
        "bad_compression",
        "scratch_full",
        "stranger",
        "unasked",
        "doubled_field",
    ];

    /// Place of the reason in [`Reject::NAMES`].
    pub const fn index(self) -> usize {
        match self {
            Self::TooShort => 0,
            Self::TooLong => 1,
            Self::BadMarker => 2,
            Self::BadFraming { .. } => 3,
            Self::Unsigned => 4,
            Self::UnknownKey { .. } => 5,
            Self::BadDigest { .. } => 6,
            Self::Malformed { .. } => 7,
            Self::Missing(_) => 8,
            Self::BadValue(_) => 9,
            Self::Compressed => 10,
            Self::BadCompression => 11,
            Self::ScratchFull => 12,
            Self::Stranger => 13,
            Self::Unasked => 14,
            Self::Doubled(_) => 15,
        }
    }

    /// Whether the sender does not know our keys (`log_badpack` is about these, spec/wire.md 4.5).
    pub const fn is_authentication(self) -> bool {
        matches!(self, Self::Unsigned | Self::UnknownKey { .. } | Self::BadDigest { .. })
    }

    /// Whether the bytes came from somebody who knows a key: then a program is wrong, not a cable.
    pub const fn is_authentic(self) -> bool {
        matches!(
            self,
            Self::Malformed { .. }
                | Self::Missing(_)
                | Self::BadValue(_)
                | Self::Doubled(_)
                | Self::Compressed
                | Self::BadCompression
                | Self::ScratchFull
        )
    }
}

impl fmt::Display for Reject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooShort => f.write_str("too short"),
            Self::TooLong => f.write_str("too long"),
            Self::BadMarker => f.write_str("no start marker"),
            Self::BadFraming { offset } => write!(f, "structure breaks at byte {offset}"),
            Self::Unsigned => f.write_str("not signed"),
            Self::UnknownKey { number } => write!(f, "signed with key {number}, which authkeys does not have"),
            Self::BadDigest { number } => write!(f, "signature of key {number} does not fit"),
            Self::Malformed { offset } => write!(f, "malformed field at byte {offset}"),
            Self::Missing(name) => write!(f, "field {name} missing"),
            Self::BadValue(name) => write!(f, "bad value of field {name}"),
            Self::Doubled(name) => write!(f, "field {name} stands there twice"),
            Self::Compressed => f.write_str("compressed as a whole"),
            Self::BadCompression => f.write_str("compressed in a way that cannot be undone"),
            Self::ScratchFull => f.write_str("strings do not fit the scratch space"),
            Self::Stranger => f.write_str("echo from an address that was not asked"),
            Self::Unasked => f.write_str("echo that was not asked for, or a second time"),
        }
    }
}

/// An offset for a report; packets are far smaller than 4 GiB.
pub(super) fn offset(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_own_counter() {
        let all = [
            Reject::TooShort,
            Reject::TooLong,
            Reject::BadMarker,
            Reject::BadFraming { offset: 4 },
            Reject::Unsigned,
            Reject::UnknownKey { number: 7 },
            Reject::BadDigest { number: 1 },
            Reject::Malformed { offset: 9 },
            Reject::Missing("src"),
            Reject::BadValue("hg"),
            Reject::Compressed,
            Reject::BadCompression,
            Reject::ScratchFull,
            Reject::Stranger,
            Reject::Unasked,
            Reject::Doubled("hg"),
        ];
        assert_eq!(all.len(), Reject::NAMES.len());
        for (index, reject) in all.into_iter().enumerate() {
            assert_eq!(reject.index(), index);
            assert!(!(reject.is_authentic() && reject.is_authentication()), "{reject}");
        }
        assert_eq!(all.iter().filter(|reject| reject.is_authentication()).count(), 3);
    }
}
