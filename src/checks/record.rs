//! What guardian and checker say to each other: records of the size of those between guardian and engine.
//!
//! ```text
//!   offset  0      1     2      3      4       5..8   8..12   12..32
//!           magic  kind  a      b      c       zero   epoch   zero
//! ```

use crate::core::Health;
use crate::core::limits::{CHECKS_MAX, GROUPS_MAX};
use crate::guardian::protocol::{BadRecord, RECORD_LEN, Record};

const MAGIC: u8 = 0xc4;

/// Guardian to checker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ToChecker {
    /// Ask the checks of this group from now on, or no more. They begin anew.
    Watch {
        /// Which.
        group: u8,
        /// Whether it runs here.
        is_running: bool,
        /// Comes back with findings.
        epoch: u32,
    },
    /// The socket for the echo requests of this check comes with the record.
    Socket {
        /// Which.
        check: u8,
    },
}

/// Checker to guardian.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ToGuardian {
    /// What a check has come to.
    Finding {
        /// Which.
        check: u8,
        /// What.
        health: Health,
        /// What was wrong with the last answer.
        trouble: Trouble,
        /// As the group was watched last; zero for checks of the node.
        epoch: u32,
    },
}

/// What is wrong with an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// Nothing.
    None,
    /// There was none in time.
    Silence,
    /// The connection was refused or broken off, the program could not be run.
    Refused,
    /// Another status or exit code than the good one.
    Code(u16),
    /// No answer that makes sense.
    Nonsense,
    /// An application has registered and does not beat.
    Missed,
    /// No such application has registered.
    Absent,
}

impl std::fmt::Display for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::None => f.write_str("all is well"),
            Self::Silence => f.write_str("no answer in time"),
            Self::Refused => f.write_str("refused, or not to be reached"),
            Self::Code(code) => write!(f, "answered {code}"),
            Self::Nonsense => f.write_str("the answer makes no sense"),
            Self::Missed => f.write_str("its heartbeats stay away"),
            Self::Absent => f.write_str("it has not registered with apphbd"),
        }
    }
}

impl Trouble {
    const fn bytes(self) -> [u8; 3] {
        let (kind, code) = match self {
            Self::None => (0, 0),
            Self::Silence => (1, 0),
            Self::Refused => (2, 0),
            Self::Code(code) => (3, code),
            Self::Nonsense => (4, 0),
            Self::Missed => (5, 0),
            Self::Absent => (6, 0),
        };
        let [low, high] = code.to_le_bytes();
        [kind, low, high]
    }

    const fn from_bytes([kind, low, high]: [u8; 3]) -> Option<Self> {
        Some(match kind {
            0 => Self::None,
            1 => Self::Silence,
            2 => Self::Refused,
            3 => Self::Code(u16::from_le_bytes([low, high])),
            4 => Self::Nonsense,
            5 => Self::Missed,
            6 => Self::Absent,
            _ => return None,
        })
    }
}

fn pack(kind: u8, small: [u8; 6], epoch: u32) -> Record {
    let mut record = [0; RECORD_LEN];
    (record[0], record[1]) = (MAGIC, kind);
    record[2..8].copy_from_slice(&small);
    record[8..12].copy_from_slice(&epoch.to_le_bytes());
    record
}

fn unpack(bytes: &[u8]) -> Result<(u8, [u8; 6], u32), BadRecord> {
    let record: &Record = bytes.try_into().map_err(|_| BadRecord)?;
    let small = [record[2], record[3], record[4], record[5], record[6], record[7]];
    Ok((record[1], small, u32::from_le_bytes([record[8], record[9], record[10], record[11]])))
}

fn below(number: u8, limit: usize) -> Result<u8, BadRecord> {
    if usize::from(number) < limit { Ok(number) } else { Err(BadRecord) }
}

impl ToChecker {
    /// As it travels.
    pub fn encode(self) -> Record {
        match self {
            Self::Watch { group, is_running, epoch } => pack(1, [group, u8::from(is_running), 0, 0, 0, 0], epoch),
            Self::Socket { check } => pack(2, [check, 0, 0, 0, 0, 0], 0),
        }
    }

    /// What these bytes say.
    ///
    /// # Errors
    /// For anything that [`Self::encode`] does not write.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadRecord> {
        let (kind, [a, b, ..], epoch) = unpack(bytes)?;
        let record = match kind {
            1 => Self::Watch { group: below(a, GROUPS_MAX)?, is_running: b == 1, epoch },
            2 => Self::Socket { check: below(a, CHECKS_MAX)? },
            _ => return Err(BadRecord),
        };
        if record.encode() == bytes { Ok(record) } else { Err(BadRecord) }
    }
}

impl ToGuardian {
    /// As it travels.
    pub fn encode(self) -> Record {
        let Self::Finding { check, health, trouble, epoch } = self;
        let [kind, low, high] = trouble.bytes();
        pack(3, [check, health as u8, kind, low, high, 0], epoch)
    }

    /// What these bytes say.
    ///
    /// # Errors
    /// For anything that [`Self::encode`] does not write.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadRecord> {
        let (3, [check, health, kind, low, high, _], epoch) = unpack(bytes)? else { return Err(BadRecord) };
        let health = *Health::ALL.get(usize::from(health)).ok_or(BadRecord)?;
        let trouble = Trouble::from_bytes([kind, low, high]).ok_or(BadRecord)?;
        let record = Self::Finding { check: below(check, CHECKS_MAX)?, health, trouble, epoch };
        if record.encode() == bytes { Ok(record) } else { Err(BadRecord) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_say_what_was_said_and_nothing_else_does() {
        let told = [
            ToChecker::Watch { group: 63, is_running: true, epoch: u32::MAX },
            ToChecker::Watch { group: 0, is_running: false, epoch: 0 },
            ToChecker::Socket { check: 31 },
        ];
        let plain =
            [Trouble::None, Trouble::Silence, Trouble::Refused, Trouble::Nonsense, Trouble::Missed, Trouble::Absent];
        let troubles = plain.into_iter().chain([Trouble::Code(u16::MAX)]);
        for record in told {
            assert_eq!(ToChecker::decode(&record.encode()), Ok(record));
            assert_eq!(ToGuardian::decode(&record.encode()), Err(BadRecord));
        }
        for health in Health::ALL {
            for trouble in troubles.clone() {
                let finding = ToGuardian::Finding { check: 31, health, trouble, epoch: 7 };
                let bytes = finding.encode();
                assert_eq!(ToGuardian::decode(&bytes), Ok(finding));
                assert_eq!(ToChecker::decode(&bytes), Err(BadRecord));
                for at in 0..RECORD_LEN {
                    for value in 0..=u8::MAX {
                        let mut other = bytes;
                        other[at] = value;
                        if let Ok(read) = ToGuardian::decode(&other) {
                            assert_eq!(read.encode(), other, "byte {at}");
                        }
                    }
                    assert_eq!(ToGuardian::decode(&bytes[..at]), Err(BadRecord));
                }
            }
        }
    }
}
