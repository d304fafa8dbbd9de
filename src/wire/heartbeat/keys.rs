//! The keys of authkeys and what they sign (spec/wire.md section 4).

use core::fmt;

use crc::{CRC_32_CKSUM, Crc};
use hmac::{Hmac, KeyInit, Mac};
use md5::Md5;
use sha1::Sha1;

/// Key numbers are 0 to 15.
pub const KEYS_MAX: usize = 16;

/// Characters of the longest digest: SHA1 in hex.
const DIGEST_TEXT_MAX: usize = 40;

// The checksum of POSIX `cksum` without its length: spec/wire.md 4.1.
static CKSUM: Crc<u32> = Crc::<u32>::new(&CRC_32_CKSUM);

/// How a key signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Method {
    /// `crc`: a checksum, no secret. Keeps out noise, not people.
    Crc,
    /// `md5`: HMAC-MD5.
    Md5,
    /// `sha1`: HMAC-SHA1.
    Sha1,
}

/// Why a key was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyError {
    /// The number is above 15.
    NumberTooLarge,
    /// There is a key of that number already.
    NumberTaken,
    /// `md5` or `sha1` without a key.
    EmptyKey,
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NumberTooLarge => "key numbers are 0 to 15",
            Self::NumberTaken => "key number given twice",
            Self::EmptyKey => "method needs a key",
        })
    }
}

/// The keys by number, and which of them signs.
///
/// Whatever a message names is tried with that entry's own method and key. Heartbeat 3.0.6 tries the active entry's
/// key instead (spec/wire.md 4.4); ours takes strictly more, so that keys can be rolled over one node at a time. Towards
/// a 3.0.6 that takes some guessing which key is active there: see `core::comms::signing`.
#[derive(Clone)]
pub struct Keys {
    entries: [Option<Key>; KEYS_MAX],
    signing: u8,
}

impl Keys {
    /// No keys yet; `signing` is the number on the `auth` line.
    pub const fn new(signing: u8) -> Self {
        Self { entries: [const { None }; KEYS_MAX], signing }
    }

    /// Adds the key of one authkeys line. `key` is its third word, of any length; ignored for `crc`.
    pub fn add(&mut self, number: u8, method: Method, key: &[u8]) -> Result<(), KeyError> {
        let entry = self.entries.get_mut(usize::from(number)).ok_or(KeyError::NumberTooLarge)?;
        if entry.is_some() {
            return Err(KeyError::NumberTaken);
        }
        if method != Method::Crc && key.is_empty() {
            return Err(KeyError::EmptyKey);
        }
        *entry = Key::new(method, key);
        Ok(())
    }

    /// Signs with the key of this number from now on. `false`: there is none, everything stays as it was.
    pub(super) fn sign_with(&mut self, number: u8) -> bool {
        let is_known = self.get(number).is_some();
        if is_known {
            self.signing = number;
        }
        is_known
    }

    /// The number of the key that signs.
    pub(super) const fn signing_number(&self) -> u8 {
        self.signing
    }

    /// The key that a message names.
    pub(super) fn get(&self, number: u8) -> Option<&Key> {
        self.entries.get(usize::from(number))?.as_ref()
    }

    /// The key that signs and its number; `None` when it was never added.
    pub(super) fn signing(&self) -> Option<(u8, &Key)> {
        Some((self.signing, self.get(self.signing)?))
    }
}

impl fmt::Debug for Keys {
    // Keys, and states made from keys, stay out of logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let methods =
            self.entries.iter().enumerate().filter_map(|(number, key)| Some((number, key.as_ref()?.method())));
        write!(f, "Keys {{ signing: {}, ", self.signing)?;
        f.debug_map().entries(methods).finish()?;
        f.write_str(" }")
    }
}

/// One key, as the state of its digest after the key went in: a message costs a copy, not two blocks.
#[derive(Clone)]
pub(super) enum Key {
    Crc,
    Md5(Hmac<Md5>),
    Sha1(Hmac<Sha1>),
}

impl Key {
    fn new(method: Method, key: &[u8]) -> Option<Self> {
        // HMAC takes keys of any length: long ones are hashed first (RFC 2104).
        Some(match method {
            Method::Crc => Self::Crc,
            Method::Md5 => Self::Md5(Hmac::new_from_slice(key).ok()?),
            Method::Sha1 => Self::Sha1(Hmac::new_from_slice(key).ok()?),
        })
    }

    fn method(&self) -> Method {
        match self {
            Self::Crc => Method::Crc,
            Self::Md5(_) => Method::Md5,
            Self::Sha1(_) => Method::Sha1,
        }
    }

    /// Begins a digest.
    pub(super) fn digest(&self) -> Digest {
        match self {
            Self::Crc => Digest::Crc(CKSUM.digest()),
            Self::Md5(state) => Digest::Md5(state.clone()),
            Self::Sha1(state) => Digest::Sha1(state.clone()),
        }
    }
}

/// A digest under way.
pub(super) enum Digest {
    Crc(crc::Digest<'static, u32>),
    Md5(Hmac<Md5>),
    Sha1(Hmac<Sha1>),
}

impl Digest {
    /// Takes more of the message.
    pub(super) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Crc(digest) => digest.update(bytes),
            Self::Md5(mac) => mac.update(bytes),
            Self::Sha1(mac) => mac.update(bytes),
        }
    }

    /// The digest as written on the wire.
    pub(super) fn finish(self) -> DigestText {
        let mut text = DigestText { bytes: [0; DIGEST_TEXT_MAX], len: 0 };
        match self {
            Self::Crc(digest) => text.push_number(digest.finalize()),
            Self::Md5(mac) => text.push_bytes(&mac.finalize().into_bytes()),
            Self::Sha1(mac) => text.push_bytes(&mac.finalize().into_bytes()),
        }
        text
    }

    /// Whether `text` is this digest, exactly as we would write it. Takes the same time wherever they differ.
    pub(super) fn verify(self, text: &[u8]) -> bool {
        match self {
            // No secret to protect.
            Self::Crc(_) => self.finish().as_bytes() == text,
            Self::Md5(mac) => unhex::<16>(text).is_some_and(|digest| mac.verify_slice(&digest).is_ok()),
            Self::Sha1(mac) => unhex::<20>(text).is_some_and(|digest| mac.verify_slice(&digest).is_ok()),
        }
    }
}

/// A digest as lower-case hex.
pub(super) struct DigestText {
    bytes: [u8; DIGEST_TEXT_MAX],
    len: usize,
}

impl DigestText {
    pub(super) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    fn push_nibble(&mut self, nibble: u8) {
        if let Some(slot) = self.bytes.get_mut(self.len) {
            *slot = if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 };
            self.len += 1;
        }
    }

    fn push_bytes(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.push_nibble(byte >> 4);
            self.push_nibble(byte & 15);
        }
    }

    /// Without leading zeros, as printf's `%x` does.
    fn push_number(&mut self, number: u32) {
        for nibble in number.to_be_bytes().into_iter().flat_map(|byte| [byte >> 4, byte & 15]) {
            if nibble != 0 || self.len > 0 {
                self.push_nibble(nibble);
            }
        }
        if self.len == 0 {
            self.push_nibble(0);
        }
    }
}

/// Exactly `N` bytes as lower-case hex.
fn unhex<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    if text.len() != 2 * N {
        return None;
    }
    let nibble = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; N];
    let (pairs, _) = text.as_chunks::<2>();
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = nibble(*high)? << 4 | nibble(*low)?;
    }
    Some(bytes)
}

/// Splits `K DIGEST`: the key's number in decimal without padding, one blank, the digest.
pub(super) fn split_signature(text: &[u8]) -> Option<(u8, &[u8])> {
    let (number, rest) = match text {
        [ones @ b'0'..=b'9', b' ', rest @ ..] => (ones - b'0', rest),
        [b'1', ones @ b'0'..=b'5', b' ', rest @ ..] => (10 + ones - b'0', rest),
        _ => return None,
    };
    (!rest.is_empty()).then_some((number, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sign(method: Method, key: &[u8], text: &[u8]) -> heapless::String<DIGEST_TEXT_MAX> {
        let mut keys = Keys::new(3);
        keys.add(3, method, key).unwrap();
        let (_, key) = keys.signing().unwrap();
        let mut digest = key.digest();
        digest.update(text);
        let text = digest.finish();
        core::str::from_utf8(text.as_bytes()).unwrap().try_into().unwrap()
    }

    #[test]
    fn crc_is_cksum_without_the_length() {
        assert_eq!(sign(Method::Crc, b"", b"123456789"), "765e7680");
        // Leading zeros are not written.
        let short = (0..5000u32).find(|n| sign(Method::Crc, b"", &n.to_be_bytes()).len() < 8);
        assert!(short.is_some());
    }

    #[test]
    fn hmac_matches_rfc_2202() {
        assert_eq!(sign(Method::Md5, &[0x0b; 16], b"Hi There"), "9294727a3638bb1c13f48ef8158bfc9d");
        assert_eq!(sign(Method::Sha1, &[0x0b; 20], b"Hi There"), "b617318655057264e28bc0b6fb378c8ef146be00");
    }

    #[test]
    fn keys_longer_than_a_block_are_hashed_first() {
        let text = b"Test Using Larger Than Block-Size Key - Hash Key First";
        assert_eq!(sign(Method::Md5, &[0xaa; 80], text), "6b1ab7fe4bd7bf8f0b62e6ce61b9d0cd");
        assert_eq!(sign(Method::Sha1, &[0xaa; 80], text), "aa4ae5e15272d00e95705637ce8a3b55ed402112");
    }

    #[test]
    fn verify_takes_only_the_exact_text() {
        let mut keys = Keys::new(1);
        keys.add(1, Method::Sha1, b"Jefe").unwrap();
        let digest = || {
            let mut digest = keys.signing().unwrap().1.digest();
            digest.update(b"what do ya want for nothing?");
            digest
        };
        assert!(digest().verify(b"effcdf6ae5eb2fa2d27416d5f184df9c259a7c79"));
        assert!(!digest().verify(b"EFFCDF6AE5EB2FA2D27416D5F184DF9C259A7C79"));
        assert!(!digest().verify(b"effcdf6ae5eb2fa2d27416d5f184df9c259a7c7"));
        assert!(!digest().verify(b"effcdf6ae5eb2fa2d27416d5f184df9c259a7c790"));
        assert!(!digest().verify(b""));
    }

    #[test]
    fn add_refuses_what_makes_no_sense() {
        let mut keys = Keys::new(0);
        assert_eq!(keys.add(16, Method::Crc, b""), Err(KeyError::NumberTooLarge));
        assert_eq!(keys.add(2, Method::Sha1, b""), Err(KeyError::EmptyKey));
        assert!(keys.signing().is_none());
        keys.add(0, Method::Crc, b"").unwrap();
        assert_eq!(keys.add(0, Method::Md5, b"x"), Err(KeyError::NumberTaken));
        assert_eq!(keys.signing().map(|(number, _)| number), Some(0));
    }

    #[test]
    fn debug_shows_no_key() {
        let mut keys = Keys::new(1);
        keys.add(1, Method::Sha1, b"hunter2").unwrap();
        keys.add(2, Method::Crc, b"").unwrap();
        assert_eq!(format!("{keys:?}"), "Keys { signing: 1, {1: Sha1, 2: Crc} }");
    }

    #[test]
    fn signature_is_number_blank_digest() {
        assert_eq!(split_signature(b"1 ab"), Some((1, &b"ab"[..])));
        assert_eq!(split_signature(b"15 ab"), Some((15, &b"ab"[..])));
        for bad in ["", "1", "1 ", "16 ab", "01 ab", " 1 ab", "-1 ab", "1ab", "100 ab", "x ab"] {
            assert_eq!(split_signature(bad.as_bytes()), None, "{bad}");
        }
    }
}
