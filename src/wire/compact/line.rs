//! Frames in the bytes of a serial line: consistent overhead byte stuffing (S. Cheshire and M. Baker, 1999), a zero
//! byte in front and behind.
//!
//! The zero behind ends the frame. The one in front ends whatever noise stands before it, so that noise between two
//! frames costs neither of them. What is shorter than 254 bytes grows by one.

use super::{BODY_MAX, CRC_LEN, HEADER_LEN, TAG_LEN, WALL_LEN};

/// Bytes that a frame of [`BODY_MAX`] bytes is on the line.
pub const LINE_MAX: usize = BODY_MAX + LINE_OVERHEAD;

/// Bytes on the line beside the frame's own: two delimiters, one for the stuffing.
pub const LINE_OVERHEAD: usize = 3;

/// Bytes on the line of the shortest frame there is: a word without content, such as `shutdone`.
pub const LINE_MIN: usize = HEADER_LEN + WALL_LEN + TAG_LEN + CRC_LEN + LINE_OVERHEAD;

const DELIMITER: u8 = 0;

/// Writes `body` as it goes over a serial line into `out` and says how many bytes that are. `None`: it is empty, longer
/// than [`BODY_MAX`], or `out` is too short for it.
pub fn to_line(body: &[u8], out: &mut [u8]) -> Option<usize> {
    if body.is_empty() || body.len() > BODY_MAX {
        return None;
    }
    let len = body.len() + LINE_OVERHEAD;
    let out = out.get_mut(..len)?;
    out.fill(DELIMITER);
    // Where the next code byte stands, and how far behind it the next zero is.
    let (mut code_at, mut distance) = (1, 1u8);
    for (index, byte) in body.iter().enumerate() {
        if *byte == 0 {
            *out.get_mut(code_at)? = distance;
            (code_at, distance) = (index + 2, 1);
        } else {
            *out.get_mut(index + 2)? = *byte;
            distance += 1;
        }
    }
    *out.get_mut(code_at)? = distance;
    Some(len)
}

/// What a serial line brought. All of them wrap.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LineCounters {
    /// Frames handed out: only their stuffing is known to be right.
    pub frames: u32,
    /// Stretches between two delimiters that are no frame: noise, another protocol, a frame that lost a byte.
    pub garbage: u32,
    /// The same, longer than any frame.
    pub oversize: u32,
}

/// Finds frames in a stream of bytes. After any garbage the next frame is found.
///
/// ```
/// use nullbeat::wire::compact::{LineStream, to_line};
///
/// let mut line = [0; 16];
/// let len = to_line(&[1, 0, 2], &mut line).unwrap();
/// assert_eq!(line[..len], [0, 2, 1, 2, 2, 0]);
///
/// let noisy = [b"noise", &line[..len]].concat();
/// let (mut stream, mut bytes) = (LineStream::new(), &noisy[..]);
/// assert_eq!(stream.next(&mut bytes), Some(&[1, 0, 2][..]));
/// assert_eq!(stream.next(&mut bytes), None);
/// ```
#[derive(Debug, Clone)]
pub struct LineStream {
    buffer: [u8; BODY_MAX + 1],
    len: usize,
    /// Bytes come that belong to nothing, until the next delimiter.
    is_skipping: bool,
    counters: LineCounters,
}

impl Default for LineStream {
    fn default() -> Self {
        Self::new()
    }
}

impl LineStream {
    /// Nothing received yet.
    pub const fn new() -> Self {
        let counters = LineCounters { frames: 0, garbage: 0, oversize: 0 };
        Self { buffer: [0; BODY_MAX + 1], len: 0, is_skipping: false, counters }
    }

    /// What came so far.
    pub const fn counters(&self) -> LineCounters {
        self.counters
    }

    /// How many bytes have to come at least until there is another frame, as long as nobody but [`to_line`] writes them. One: that
    /// is not known.
    pub const fn missing(&self) -> usize {
        // Of what stands between two delimiters the first may have come.
        if self.len == 0 && !self.is_skipping { LINE_MIN - 1 } else { 1 }
    }

    /// The next frame, taking bytes off the front of `bytes` as far as needed; `None` when all are taken. Call it until
    /// then: a frame stays valid until the next call.
    pub fn next(&mut self, bytes: &mut &[u8]) -> Option<&[u8]> {
        while let Some((byte, rest)) = bytes.split_first() {
            *bytes = rest;
            if *byte != DELIMITER {
                self.push(*byte);
                continue;
            }
            let len = core::mem::take(&mut self.len);
            let was_skipping = core::mem::take(&mut self.is_skipping);
            if len == 0 || was_skipping {
                continue;
            }
            if let Some(len) = unstuff(self.buffer.get_mut(..len)?) {
                self.counters.frames = self.counters.frames.wrapping_add(1);
                return self.buffer.get(..len);
            }
            self.counters.garbage = self.counters.garbage.wrapping_add(1);
        }
        None
    }

    fn push(&mut self, byte: u8) {
        if self.is_skipping {
            return;
        }
        match self.buffer.get_mut(self.len) {
            Some(slot) => {
                *slot = byte;
                self.len += 1;
            }
            None => {
                self.is_skipping = true;
                self.counters.oversize = self.counters.oversize.wrapping_add(1);
            }
        }
    }
}

/// Puts the zeros back, in place: bytes only move to the front. `None` when a code points beyond the end, or nothing is
/// left.
fn unstuff(coded: &mut [u8]) -> Option<usize> {
    let (mut at, mut len) = (0, 0);
    while at < coded.len() {
        let distance = usize::from(*coded.get(at)?);
        let next = at + distance;
        if distance == 0 || next > coded.len() {
            return None;
        }
        coded.copy_within(at + 1..next, len);
        len += distance - 1;
        if next < coded.len() {
            *coded.get_mut(len)? = 0;
            len += 1;
        }
        at = next;
    }
    (len > 0).then_some(len)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::rng::Rng;

    fn on_line(body: &[u8]) -> Vec<u8> {
        let mut out = [0; LINE_MAX];
        let len = to_line(body, &mut out).unwrap();
        out[..len].to_vec()
    }

    fn frames(stream: &mut LineStream, mut bytes: &[u8]) -> Vec<Vec<u8>> {
        std::iter::from_fn(|| stream.next(&mut bytes).map(<[u8]>::to_vec)).collect()
    }

    fn random(rng: &mut Rng, len: usize) -> Vec<u8> {
        // Half of the bytes are zero in some of them.
        let is_sparse = rng.chance(300);
        let byte = |rng: &mut Rng| if is_sparse && rng.chance(500) { 0 } else { rng.draw().to_le_bytes()[0] };
        (0..len).map(|_| byte(rng)).collect()
    }

    #[test]
    fn known_stuffings() {
        assert_eq!(on_line(&[0]), [0, 1, 1, 0]);
        assert_eq!(on_line(&[0, 0]), [0, 1, 1, 1, 0]);
        assert_eq!(on_line(&[0x11, 0x22, 0, 0x33]), [0, 3, 0x11, 0x22, 2, 0x33, 0]);
        assert_eq!(on_line(&[0x11, 0, 0, 0]), [0, 2, 0x11, 1, 1, 1, 0]);
        let mut out = [0; LINE_MAX + 8];
        assert_eq!(to_line(&[], &mut out), None);
        assert_eq!(to_line(&[1; BODY_MAX + 1], &mut out), None);
        assert_eq!(to_line(&[1; 5], &mut out[..7]), None);
    }

    #[test]
    fn every_body_comes_out_as_it_went_in_however_it_is_cut() {
        let mut rng = Rng::new(7, 1);
        for round in 0..2000 {
            let len = 1 + rng.index(BODY_MAX);
            let body = random(&mut rng, len);
            let line = on_line(&body);
            assert_eq!(line.len(), body.len() + LINE_OVERHEAD);
            assert!(!line[1..line.len() - 1].contains(&0), "round {round}");
            let mut stream = LineStream::new();
            let (front, back) = line.split_at(rng.index(line.len()));
            let mut found = frames(&mut stream, front);
            found.extend(frames(&mut stream, back));
            assert_eq!(found, [body], "round {round}");
        }
    }

    #[test]
    fn the_frame_behind_any_garbage_is_found() {
        let mut rng = Rng::new(7, 2);
        for round in 0..2000 {
            let mut stream = LineStream::new();
            let len = rng.index(3 * BODY_MAX);
            let garbage = random(&mut rng, len);
            let body = random(&mut rng, 22);
            frames(&mut stream, &garbage);
            // Even a frame that has begun and will never end.
            let torn = on_line(&body);
            frames(&mut stream, &torn[..rng.index(torn.len())]);
            assert_eq!(frames(&mut stream, &on_line(&body)).last(), Some(&body), "round {round}");
        }
    }

    #[test]
    fn what_is_no_frame_is_counted() {
        let mut stream = LineStream::new();
        assert!(frames(&mut stream, &[0, 9, 1, 0, 1, 0]).is_empty());
        assert_eq!(stream.counters(), LineCounters { frames: 0, garbage: 2, oversize: 0 });
        assert!(frames(&mut stream, &[0xff; 2 * BODY_MAX]).is_empty());
        assert_eq!(frames(&mut stream, &[0, 2, 5, 0]), [[5]]);
        assert_eq!(stream.counters(), LineCounters { frames: 1, garbage: 2, oversize: 1 });
    }
}
