//! Numbers, most significant byte first, and short texts into a buffer and out of it.

/// Appends to a buffer; what does not fit makes [`Writer::len`] say so.
pub(super) struct Writer<'o> {
    out: &'o mut [u8],
    at: usize,
    is_full: bool,
}

impl<'o> Writer<'o> {
    pub(super) fn new(out: &'o mut [u8]) -> Self {
        Self { out, at: 0, is_full: false }
    }

    pub(super) fn put(&mut self, bytes: &[u8]) {
        match self.out.get_mut(self.at..self.at + bytes.len()) {
            Some(room) => {
                room.copy_from_slice(bytes);
                self.at += bytes.len();
            }
            None => self.is_full = true,
        }
    }

    pub(super) fn put_u8(&mut self, number: u8) {
        self.put(&[number]);
    }

    pub(super) fn put_u32(&mut self, number: u32) {
        self.put(&number.to_be_bytes());
    }

    pub(super) fn put_u64(&mut self, number: u64) {
        self.put(&number.to_be_bytes());
    }

    /// The lower half, which is what frames carry of the large numbers.
    pub(super) fn put_low(&mut self, number: u64) {
        self.put(&number.to_be_bytes()[6..]);
    }

    /// A length in one byte, then the bytes.
    pub(super) fn put_text(&mut self, text: &str) {
        match u8::try_from(text.len()) {
            Ok(len) => {
                self.put_u8(len);
                self.put(text.as_bytes());
            }
            Err(_) => self.is_full = true,
        }
    }

    /// What was written so far.
    pub(super) fn written(&self) -> &[u8] {
        self.out.get(..self.at).unwrap_or_default()
    }

    /// Bytes written; `None` when some did not fit.
    pub(super) const fn len(&self) -> Option<usize> {
        if self.is_full { None } else { Some(self.at) }
    }
}

/// Takes off the front of some bytes.
pub(super) struct Reader<'b>(pub(super) &'b [u8]);

impl<'b> Reader<'b> {
    pub(super) fn take(&mut self, len: usize) -> Option<&'b [u8]> {
        let (front, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(front)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        self.array().map(|[byte]| byte)
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    pub(super) fn text(&mut self) -> Option<&'b str> {
        let len = self.u8()?;
        core::str::from_utf8(self.take(usize::from(len))?).ok()
    }

    /// `Some` when nothing is left.
    pub(super) const fn end(&self) -> Option<()> {
        if self.0.is_empty() { Some(()) } else { None }
    }
}

/// The number nearest to `base` whose lower half is `low`.
pub(super) const fn nearest(base: u64, low: u16) -> u64 {
    const HALF: u64 = 1 << 15;
    const WHOLE: u64 = 1 << 16;
    let same = (base & !(WHOLE - 1)) | low as u64;
    if same > base && same - base > HALF && same >= WHOLE {
        same - WHOLE
    } else if base > same && base - same >= HALF {
        same.saturating_add(WHOLE)
    } else {
        same
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_number_has_the_lower_half_and_is_near() {
        assert_eq!(nearest(0, 5), 5);
        assert_eq!(nearest(0, 0xffff), 0xffff, "there is nothing below zero");
        assert_eq!(nearest(0x1_0000, 0xffff), 0xffff);
        assert_eq!(nearest(0x1_fff0, 3), 0x2_0003);
        assert_eq!(nearest(0x2_0003, 0xfff0), 0x1_fff0);
        let mut rng = crate::sim::rng::Rng::new(7, 3);
        for _ in 0..10_000 {
            let base = rng.range(1 << 16, 1 << 40);
            let number = base - 0x7fff + rng.below(0xffff);
            let [.., high, low] = number.to_be_bytes();
            assert_eq!(nearest(base, u16::from_be_bytes([high, low])), number, "{base}");
        }
    }

    #[test]
    fn what_does_not_fit_is_noticed() {
        let mut out = [0; 4];
        let mut writer = Writer::new(&mut out);
        writer.put_text("abc");
        assert_eq!(writer.len(), Some(4));
        writer.put_u8(1);
        assert_eq!(writer.len(), None);
        let mut reader = Reader(b"\x03abcd");
        assert_eq!((reader.text(), reader.end(), reader.u8(), reader.end()), (Some("abc"), None, Some(b'd'), Some(())));
        assert_eq!(Reader(b"\x02a").text(), None);
        assert_eq!(Reader(b"\x01\xff").text(), None);
    }
}
