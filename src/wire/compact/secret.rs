//! Keys out of the secrets of authkeys, and the digests that they make: HMAC-SHA-256 (RFC 2104), keys derived as HKDF
//! does it (RFC 5869), one block each.

use core::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::Nonce;
use crate::core::ids::{Generation, KeyNumber, Uuid};

/// Bytes of a beat's, or any other message's, digest.
pub const TAG_LEN: usize = 8;
/// Bytes of the digest of a call or an answer.
pub const HELLO_TAG_LEN: usize = 16;
/// Numbers of authkeys' keys: 0 to 15.
const NUMBERS: usize = 16;

const SALT: &[u8] = b"nullbeat compact 1";
const HELLO_LABEL: &[u8] = b"hello";
const FRAMES_LABEL: &[u8] = b"frames";
const NONCE_LABEL: &[u8] = b"nonce";

/// HMAC-SHA-256 of the parts one after the other.
fn hmac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    begin(key, parts).finalize().into_bytes().into()
}

fn begin(key: &[u8], parts: &[&[u8]]) -> Hmac<Sha256> {
    let mut mac = Hmac::new_from_slice(key).expect("HMAC takes keys of any length");
    parts.iter().for_each(|part| Mac::update(&mut mac, part));
    mac
}

/// HKDF-Extract.
fn extract(salt: &[u8], secret: &[u8]) -> [u8; 32] {
    hmac(salt, &[secret])
}

/// The first, and only, block of HKDF-Expand.
fn expand(key: &[u8; 32], info: &[&[u8]]) -> [u8; 32] {
    let mut mac = begin(key, info);
    Mac::update(&mut mac, &[1]);
    mac.finalize().into_bytes().into()
}

/// The secrets of authkeys by number, and which of them begins sessions.
#[derive(Clone)]
pub struct Secrets {
    roots: [Option<[u8; 32]>; NUMBERS],
    active: KeyNumber,
}

impl Secrets {
    /// None yet; `active` is the number on the `auth` line.
    pub const fn new(active: KeyNumber) -> Self {
        Self { roots: [None; NUMBERS], active }
    }

    /// Adds the third word of an authkeys line. `false`, and nothing is added: the number is above 15, or the secret is
    /// empty, as that of the method `crc`, with which this format cannot be spoken.
    pub fn add(&mut self, number: KeyNumber, secret: &[u8]) -> bool {
        match self.roots.get_mut(usize::from(number.0)) {
            Some(root) if !secret.is_empty() => *root = Some(extract(SALT, secret)),
            _ => return false,
        }
        true
    }

    /// The number with which sessions are begun.
    pub(super) const fn active(&self) -> KeyNumber {
        self.active
    }

    /// What the secret of this number became.
    pub(super) fn root(&self, number: KeyNumber) -> Option<Root> {
        self.roots.get(usize::from(number.0)).copied().flatten().map(Root)
    }
}

impl fmt::Debug for Secrets {
    // Secrets stay out of logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let numbers = self.roots.iter().enumerate().filter(|(_, root)| root.is_some()).map(|(number, _)| number);
        write!(f, "Secrets {{ active: {}, known: ", self.active.0)?;
        f.debug_list().entries(numbers).finish()?;
        f.write_str(" }")
    }
}

/// One secret, extracted.
#[derive(Clone, Copy)]
pub(super) struct Root([u8; 32]);

/// Who speaks in one direction of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Speaker {
    pub(super) uuid: Uuid,
    pub(super) generation: Generation,
    pub(super) nonce: Nonce,
}

impl Root {
    /// The digest of a call or an answer.
    pub(super) fn hello_tag(&self, bytes: &[u8]) -> [u8; HELLO_TAG_LEN] {
        let mut tag = [0; HELLO_TAG_LEN];
        let digest = hmac(&expand(&self.0, &[HELLO_LABEL]), &[bytes]);
        tag.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
        tag
    }

    /// Whether it is that. Takes the same time wherever they differ.
    pub(super) fn is_hello_tag(&self, bytes: &[u8], tag: &[u8]) -> bool {
        tag.len() == HELLO_TAG_LEN
            && begin(&expand(&self.0, &[HELLO_LABEL]), &[bytes]).verify_truncated_left(tag).is_ok()
    }

    /// The key of what `sender` says to `receiver` in the session that `caller`, one of the two, has begun.
    pub(super) fn direction(&self, sender: &Speaker, receiver: &Speaker, is_caller: bool) -> Direction {
        let (caller, answerer) = if is_caller { (sender, receiver) } else { (receiver, sender) };
        let mut salt = [0; 32];
        salt.iter_mut().zip(caller.nonce.iter().chain(&answerer.nonce)).for_each(|(to, from)| *to = *from);
        let session = extract(&salt, &self.0);
        let generations = [sender.generation.0.to_be_bytes(), receiver.generation.0.to_be_bytes()];
        let info = [FRAMES_LABEL, &sender.uuid.0[..], &receiver.uuid.0[..], &generations[0][..], &generations[1][..]];
        Direction(begin(&expand(&session, &info), &[]))
    }
}

/// The key of one direction of a session, as the state of its digest after the key went in.
#[derive(Clone)]
pub(super) struct Direction(Hmac<Sha256>);

/// The numbers of which a frame carries the low half only: the digest is over the whole ones.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Numbers {
    pub(super) counter: u64,
    pub(super) seq: u64,
    pub(super) echo: u64,
}

impl Direction {
    fn digest(&self, bytes: &[u8], numbers: &Numbers) -> Hmac<Sha256> {
        let mut mac = self.0.clone();
        Mac::update(&mut mac, bytes);
        [numbers.counter, numbers.seq, numbers.echo].iter().for_each(|n| Mac::update(&mut mac, &n.to_be_bytes()));
        mac
    }

    pub(super) fn tag(&self, bytes: &[u8], numbers: &Numbers) -> [u8; TAG_LEN] {
        let mut tag = [0; TAG_LEN];
        let digest = self.digest(bytes, numbers).finalize().into_bytes();
        tag.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
        tag
    }

    /// Takes the same time wherever they differ.
    pub(super) fn is_tag(&self, bytes: &[u8], numbers: &Numbers, tag: &[u8]) -> bool {
        tag.len() == TAG_LEN && self.digest(bytes, numbers).verify_truncated_left(tag).is_ok()
    }
}

/// Nonces out of one random seed, each once.
#[derive(Clone)]
pub(super) struct Nonces {
    seed: [u8; 32],
    drawn: u64,
}

impl Nonces {
    pub(super) const fn new(seed: [u8; 32]) -> Self {
        Self { seed, drawn: 0 }
    }

    /// The next one, whose first byte, the address, is another than `taken`.
    pub(super) fn draw(&mut self, taken: Option<u8>) -> Nonce {
        loop {
            self.drawn += 1;
            let digest = hmac(&self.seed, &[NONCE_LABEL, &self.drawn.to_be_bytes()]);
            let nonce = core::array::from_fn(|index| digest[index]);
            if taken != Some(digest[0]) {
                return nonce;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digest_is_that_of_rfc_4231() {
        let digest = hmac(b"Jefe", &[b"what do ya want ", b"for nothing?"]);
        assert_eq!(digest[..8], [0x5b, 0xdc, 0xc1, 0x46, 0xbf, 0x60, 0x75, 0x4e]);
    }

    #[test]
    fn derivation_is_that_of_rfc_5869() {
        let salt: [u8; 13] = core::array::from_fn(|index| u8::try_from(index).unwrap());
        let key = extract(&salt, &[0x0b; 22]);
        assert_eq!(key[..8], [0x07, 0x77, 0x09, 0x36, 0x2c, 0x2e, 0x32, 0xdf]);
        let info: [u8; 10] = core::array::from_fn(|index| 0xf0 + u8::try_from(index).unwrap());
        assert_eq!(expand(&key, &[&info])[..8], [0x3c, 0xb2, 0x5f, 0x25, 0xfa, 0xac, 0xd5, 0x7a]);
    }

    #[test]
    fn every_direction_session_and_secret_has_a_key_of_its_own() {
        let mut secrets = Secrets::new(KeyNumber(1));
        assert!(secrets.add(KeyNumber(1), b"one") && secrets.add(KeyNumber(2), b"two"));
        assert!(!secrets.add(KeyNumber(3), b"") && !secrets.add(KeyNumber(16), b"x"));
        let speaker = |byte: u8, generation| Speaker {
            uuid: Uuid([byte; 16]),
            generation: Generation(generation),
            nonce: [byte; 16],
        };
        let (a, b) = (speaker(1, 5), speaker(2, 5));
        let root = |number| secrets.root(KeyNumber(number)).unwrap();
        let tag = |direction: Direction| direction.tag(b"text", &Numbers::default());
        let base = tag(root(1).direction(&a, &b, true));
        assert_eq!(tag(root(1).direction(&a, &b, true)), base);
        let other_nonce = Speaker { nonce: [3; 16], ..b };
        for other in [
            root(2).direction(&a, &b, true),
            root(1).direction(&b, &a, false),
            root(1).direction(&a, &b, false),
            root(1).direction(&a, &other_nonce, true),
            root(1).direction(&speaker(1, 6), &b, true),
        ] {
            assert_ne!(tag(other), base);
        }
        assert_eq!(format!("{secrets:?}"), "Secrets { active: 1, known: [1, 2] }");
    }

    #[test]
    fn nonces_differ_and_leave_out_the_address_that_is_taken() {
        let mut nonces = Nonces::new([7; 32]);
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..600 {
            let nonce = nonces.draw(Some(0x42));
            assert!(nonce[0] != 0x42 && seen.insert(nonce));
        }
    }
}
