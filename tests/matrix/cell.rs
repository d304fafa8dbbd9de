//! One cell of the matrix: what the boards say to each other, over what, and what happens to them.

use crate::medium::Medium;
use crate::scenario::Scenario;

/// How messages are signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Digest {
    Crc,
    Md5,
    Sha1,
}

/// How messages are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Classic,
    Netstring,
    /// Classic, with `compression zlib`.
    Zlib,
    /// Classic, with `compression bz2`.
    Bz2,
}

/// Which programs the boards alpha and beta run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pair {
    /// nullbeat on alpha, Heartbeat on beta.
    Mixed,
    /// Heartbeat on both: what the original does, to compare with.
    Original,
}

/// One cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cell {
    pub(crate) medium: Medium,
    pub(crate) digest: Digest,
    pub(crate) format: Format,
    pub(crate) scenario: Scenario,
    pub(crate) pair: Pair,
}

impl Digest {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Crc => "crc",
            Self::Md5 => "md5",
            Self::Sha1 => "sha1",
        }
    }

    /// The file authkeys.
    pub(crate) const fn authkeys(self) -> &'static str {
        match self {
            Self::Crc => "auth 1\n1 crc\n",
            Self::Md5 => "auth 1\n1 md5 a-key-for-the-lab\n",
            Self::Sha1 => "auth 1\n1 sha1 a-key-for-the-lab\n",
        }
    }
}

impl Format {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Classic => "classic",
            Self::Netstring => "netstring",
            Self::Zlib => "zlib",
            Self::Bz2 => "bz2",
        }
    }

    /// Lines of ha.cf.
    pub(crate) const fn lines(self) -> &'static str {
        match self {
            Self::Classic => "",
            Self::Netstring => "msgfmt netstring\n",
            Self::Zlib => "compression zlib\ncompression_threshold 1\n",
            Self::Bz2 => "compression bz2\ncompression_threshold 1\n",
        }
    }
}

impl Cell {
    /// The usual cell: sha1, classic, one nullbeat and one Heartbeat.
    pub(crate) const fn usual(medium: Medium, scenario: Scenario) -> Self {
        Self { medium, digest: Digest::Sha1, format: Format::Classic, scenario, pair: Pair::Mixed }
    }

    /// The same with two Heartbeats.
    pub(crate) const fn original(self) -> Self {
        Self { pair: Pair::Original, ..self }
    }

    /// The cell of two Heartbeats that this one is compared with: over one medium for all, which makes no difference to
    /// them.
    pub(crate) fn reference(self) -> Self {
        let medium = if self.medium == Medium::Serial { Medium::Serial } else { Medium::Ucast };
        let medium = if self.digest == Digest::Sha1 && self.format == Format::Classic { Medium::Ucast } else { medium };
        Self { medium, digest: Digest::Sha1, ..self }.original()
    }

    /// `medium/scenario`, with digest and format between where they are not the usual ones.
    pub(crate) fn name(self) -> String {
        let pair = if self.pair == Pair::Original { "two Heartbeats/" } else { "" };
        let signed = match (self.digest, self.format) {
            (Digest::Sha1, Format::Classic) => String::new(),
            (digest, format) => format!("/{}/{}", digest.name(), format.name()),
        };
        format!("{pair}{}{signed}/{}", self.medium.name(), self.scenario.name())
    }
}
