//! What joins the two boards, as lines of ha.cf.

use crate::lab::Lab;

/// A medium, or two of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Medium {
    Serial,
    Ucast,
    Bcast,
    Mcast,
    Ucast6,
    Mcast6,
    /// Serial and ucast, both in order.
    Both,
    /// Serial and ucast, the serial cable pulled once both boards are at work.
    SerialCut,
    /// Serial and ucast, the network pulled once both boards are at work.
    UcastCut,
}

/// Every medium, in the order of the table.
pub(crate) const MEDIA: [Medium; 9] = [
    Medium::Serial,
    Medium::Ucast,
    Medium::Bcast,
    Medium::Mcast,
    Medium::Ucast6,
    Medium::Mcast6,
    Medium::Both,
    Medium::SerialCut,
    Medium::UcastCut,
];

impl Medium {
    /// Its part of a cell's name.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Serial => "serial",
            Self::Ucast => "ucast",
            Self::Bcast => "bcast",
            Self::Mcast => "mcast",
            Self::Ucast6 => "ucast6",
            Self::Mcast6 => "mcast6",
            Self::Both => "both",
            Self::SerialCut => "both, serial cut",
            Self::UcastCut => "both, ucast cut",
        }
    }

    /// Whether one lost packet is lost for good: there is no second path.
    pub(crate) const fn is_single(self) -> bool {
        !matches!(self, Self::Both)
    }

    /// Lines of ha.cf for the board of this index. Both programs read them.
    pub(crate) fn lines(self, lab: &Lab, index: usize) -> String {
        let (board, peer) = (&lab.boards[index], &lab.boards[1 - index]);
        let serial = format!("serial {}\n", board.serial.display());
        let ucast = format!("ucast ens33 {}\n", peer.address);
        match self {
            Self::Serial => serial,
            Self::Ucast => ucast,
            Self::Bcast => "bcast ens33\n".to_owned(),
            Self::Mcast => "mcast ens33 225.0.0.43 694 1 0\n".to_owned(),
            Self::Ucast6 => format!("ucast6 ens33 {}\n", peer.address6),
            Self::Mcast6 => "mcast6 ens33 ff02::43 694 1 0\n".to_owned(),
            Self::Both | Self::SerialCut | Self::UcastCut => serial + &ucast,
        }
    }
}
