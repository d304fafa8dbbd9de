//! The paths between the nodes: how long a message takes, and whether it arrives.

use super::fault::Noise;
use super::plan::{MS, Medium, Plan, S};
use super::rng::Rng;
use crate::core::ids::{LinkId, LinkSet};

/// Bytes that a serial port takes before its sender would block.
const FIFO_BYTES: u64 = 4096;

/// What stands against a link for a while.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Trouble {
    Cut { from: Option<usize> },
    Flap { since: u64, period: u64 },
    Noise(Noise),
    DeviceLost { node: usize },
}

#[derive(Debug, Clone, Copy)]
struct Standing {
    id: usize,
    links: LinkSet,
    trouble: Trouble,
}

/// One copy on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Copy {
    /// Receiver.
    pub to: usize,
    /// When.
    pub at: u64,
    /// Damaged.
    pub is_corrupt: bool,
}

/// All links.
#[derive(Debug)]
pub struct Net {
    nodes: usize,
    media: Vec<Medium>,
    echo: LinkSet,
    /// Per link and sender: when its line is free again.
    busy: Vec<Vec<u64>>,
    standing: Vec<Standing>,
    rng: Rng,
    /// Messages that a full serial FIFO did not take.
    pub refused: u64,
}

impl Net {
    /// The links of `plan`.
    pub fn new(plan: &Plan) -> Self {
        Self {
            nodes: plan.nodes,
            media: plan.links.clone(),
            echo: plan.echo,
            busy: vec![vec![0; plan.nodes]; plan.links.len()],
            standing: Vec::new(),
            rng: Rng::new(plan.seed, 2),
            refused: 0,
        }
    }

    /// Cuts `links` under the name `id`; `from`: only what that node sends.
    pub fn cut(&mut self, id: usize, links: LinkSet, from: Option<usize>) {
        self.standing.push(Standing { id, links, trouble: Trouble::Cut { from } });
    }

    /// Makes `links` go up and down, down first.
    pub fn flap(&mut self, id: usize, links: LinkSet, since: u64, period: u64) {
        self.standing.push(Standing { id, links, trouble: Trouble::Flap { since, period } });
    }

    /// Makes `links` bad.
    pub fn make_noise(&mut self, id: usize, links: LinkSet, noise: Noise) {
        self.standing.push(Standing { id, links, trouble: Trouble::Noise(noise) });
    }

    /// Takes `links` away from `node`.
    pub fn lose_device(&mut self, id: usize, links: LinkSet, node: usize) {
        self.standing.push(Standing { id, links, trouble: Trouble::DeviceLost { node } });
    }

    /// Ends what stands under the name `id`.
    pub fn mend(&mut self, id: usize) {
        self.standing.retain(|standing| standing.id != id);
    }

    /// Whether `node` has `link` open.
    pub fn is_open(&self, node: usize, link: LinkId) -> bool {
        !self.on(link).any(|trouble| trouble == Trouble::DeviceLost { node })
    }

    /// Whether what `from` sends on `link` can reach `to` at all.
    pub fn carries(&self, from: usize, to: usize, link: LinkId, now: u64) -> bool {
        self.on(link).all(|trouble| match trouble {
            Trouble::Cut { from: only } => only.is_some_and(|only| only != from),
            Trouble::Flap { since, period } => (now.saturating_sub(since) / period) % 2 == 1,
            Trouble::Noise(_) => true,
            Trouble::DeviceLost { node } => node != from && node != to,
        })
    }

    /// Whether some link is without any trouble.
    pub fn has_clean_path(&self) -> bool {
        (0..self.media.len()).any(|link| self.on(link_id(link)).next().is_none())
    }

    fn on(&self, link: LinkId) -> impl Iterator<Item = Trouble> {
        self.standing.iter().filter(move |standing| standing.links.contains(link)).map(|standing| standing.trouble)
    }

    fn noise(&self, link: LinkId) -> Noise {
        self.on(link).fold(Noise::default(), |sum, trouble| match trouble {
            Trouble::Noise(more) => Noise {
                loss: sum.loss.max(more.loss),
                duplicate: sum.duplicate.max(more.duplicate),
                corrupt: sum.corrupt.max(more.corrupt),
                reorder: sum.reorder.max(more.reorder),
                delay: sum.delay.max(more.delay),
            },
            _ => sum,
        })
    }

    /// Puts a message of `bytes` on `link`; adds to `copies` what will arrive where and when.
    pub fn send(&mut self, from: usize, link: LinkId, bytes: usize, now: u64, copies: &mut Vec<Copy>) {
        if !self.is_open(from, link) {
            return;
        }
        let Some(left) = self.leave(from, link, bytes as u64, now) else {
            self.refused += 1;
            return;
        };
        let noise = self.noise(link);
        for to in 0..self.nodes {
            if (to == from && !self.echo.contains(link)) || !self.carries(from, to, link, now) {
                continue;
            }
            self.deliver(to, link, left, noise, copies);
            if self.rng.chance(noise.duplicate) {
                self.deliver(to, link, left, noise, copies);
            }
        }
    }

    fn deliver(&mut self, to: usize, link: LinkId, left: u64, noise: Noise, copies: &mut Vec<Copy>) {
        let mut at = left + self.travel(link);
        if self.rng.chance(noise.reorder) {
            at += self.rng.below(noise.delay);
        }
        if !self.rng.chance(noise.loss) {
            copies.push(Copy { to, at, is_corrupt: self.rng.chance(noise.corrupt) });
        }
    }

    /// When the last byte has left `from`; `None`: the FIFO is full.
    fn leave(&mut self, from: usize, link: LinkId, bytes: u64, now: u64) -> Option<u64> {
        let Medium::Serial { baud } = self.media[usize::from(link.0)] else {
            return Some(now);
        };
        let micros = |bytes: u64| bytes * 10 * S / baud;
        let busy = &mut self.busy[usize::from(link.0)][from];
        let begin = (*busy).max(now);
        if begin - now + micros(bytes) > micros(FIFO_BYTES) {
            return None;
        }
        *busy = begin + micros(bytes);
        Some(*busy)
    }

    fn travel(&mut self, link: LinkId) -> u64 {
        match self.media[usize::from(link.0)] {
            Medium::Udp { min, max } => self.rng.range(min, max),
            Medium::Serial { .. } => MS,
        }
    }
}

/// The link at `index`.
pub(super) fn link_id(index: usize) -> LinkId {
    LinkId(u8::try_from(index).expect("few links"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const UDP: LinkId = LinkId(0);
    const SERIAL: LinkId = LinkId(1);

    fn arrivals(net: &mut Net, from: usize, link: LinkId, now: u64) -> Vec<(usize, u64)> {
        let mut copies = Vec::new();
        net.send(from, link, 288, now, &mut copies);
        copies.into_iter().map(|copy| (copy.to, copy.at)).collect()
    }

    #[test]
    fn serial_line_sends_one_after_another_and_refuses_when_full() {
        let mut net = Net::new(&Plan::quiet());
        // 288 bytes of ten bits at 115200 baud: 25 ms, and 1 ms on the way.
        assert_eq!(arrivals(&mut net, 0, SERIAL, 0), [(1, 26 * MS)]);
        assert_eq!(arrivals(&mut net, 0, SERIAL, 0), [(1, 51 * MS)]);
        assert_eq!(arrivals(&mut net, 1, SERIAL, 0), [(0, 26 * MS)], "full duplex");
        let taken = (0..20).filter(|_| !arrivals(&mut net, 0, SERIAL, 0).is_empty()).count();
        assert_eq!(taken, 4096 / 288 - 2);
        assert_eq!(net.refused, 20 - 12);
    }

    #[test]
    fn one_way_cut_stops_one_direction_until_mended() {
        let mut net = Net::new(&Plan::quiet());
        net.cut(7, LinkSet::only(UDP), Some(0));
        assert!(arrivals(&mut net, 0, UDP, 0).is_empty());
        assert_eq!(arrivals(&mut net, 1, UDP, 0).len(), 1);
        assert!(net.has_clean_path());
        net.mend(7);
        assert_eq!(arrivals(&mut net, 0, UDP, 0).len(), 1);
    }

    #[test]
    fn flapping_link_is_down_first_then_up() {
        let mut net = Net::new(&Plan::quiet());
        net.flap(1, LinkSet::only(UDP), 1000, 500);
        assert!(arrivals(&mut net, 0, UDP, 1499).is_empty());
        assert_eq!(arrivals(&mut net, 0, UDP, 1500).len(), 1);
        assert!(arrivals(&mut net, 0, UDP, 2000).is_empty());
    }

    #[test]
    fn lost_device_neither_sends_nor_receives() {
        let mut net = Net::new(&Plan::quiet());
        net.lose_device(1, LinkSet::only(UDP), 0);
        assert!(!net.is_open(0, UDP) && net.is_open(1, UDP));
        assert!(arrivals(&mut net, 0, UDP, 0).is_empty());
        assert!(arrivals(&mut net, 1, UDP, 0).is_empty());
    }
}
