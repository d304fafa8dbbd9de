//! Why bytes were not taken for a frame. Each reason is counted by name.

use crate::core::ids::KeyNumber;

/// Why a frame was dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reject {
    /// Fewer bytes than any frame has, or than one of its kind.
    TooShort,
    /// More than [`BODY_MAX`](super::BODY_MAX) bytes.
    TooLong,
    /// The checksum does not fit: noise.
    BadCrc,
    /// The first byte is none that this version knows.
    UnknownKind,
    /// A call or an answer in another version of the format.
    UnknownVersion {
        /// Which.
        version: u8,
    },
    /// A call or an answer with a key number that authkeys does not have, or has without a secret.
    UnknownKey {
        /// Which.
        number: KeyNumber,
    },
    /// The digest does not fit: of somebody who does not know the key, of another session or link, or changed.
    BadTag,
    /// There is no session on this link yet.
    NoSession,
    /// For another address than those of our sessions: of an old session, or between others.
    OtherSession,
    /// Our own words have come back.
    Reflected,
    /// Its number has come before, or is older than the window.
    Replayed,
    /// An authentic call or answer that is older than what its sender has said since.
    Stale,
    /// An answer to no call of ours.
    NotAsked,
    /// An authentic call or answer of somebody who is not the partner.
    Stranger,
    /// Authentic, but it makes no sense: a program is wrong, not a cable.
    Malformed,
    /// No room for the reply in the caller's buffer.
    NoRoom,
}

impl Reject {
    /// One name for each reason, in the order of [`Reject::index`]: keys of counters.
    pub const NAMES: [&'static str; 16] = [
        "too_short",
        "too_long",
        "bad_crc",
        "unknown_kind",
        "unknown_version",
        "unknown_key",
        "bad_tag",
        "no_session",
        "other_session",
        "reflected",
        "replayed",
        "stale",
        "not_asked",
        "stranger",
        "malformed",
        "no_room",
    ];

    /// Place of the reason in [`Reject::NAMES`].
    pub const fn index(self) -> usize {
        match self {
            Self::TooShort => 0,
            Self::TooLong => 1,
            Self::BadCrc => 2,
            Self::UnknownKind => 3,
            Self::UnknownVersion { .. } => 4,
            Self::UnknownKey { .. } => 5,
            Self::BadTag => 6,
            Self::NoSession => 7,
            Self::OtherSession => 8,
            Self::Reflected => 9,
            Self::Replayed => 10,
            Self::Stale => 11,
            Self::NotAsked => 12,
            Self::Stranger => 13,
            Self::Malformed => 14,
            Self::NoRoom => 15,
        }
    }
}
