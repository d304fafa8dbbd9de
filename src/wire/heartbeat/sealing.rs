//! Signatures under bytes that nobody here has written: without one a fuzzer would never get past the first door.

use super::keys::DigestText;
use super::{Codec, TEXT_FRAME_MAX, deflate, netstring, text};

impl Codec {
    /// The packet in these bytes with the signature that it should have, instead of any that it has. `None`: it is none.
    pub(crate) fn seal(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        let (number, key) = self.keys.signing()?;
        let sign = |feed: &dyn Fn(&mut super::keys::Digest)| {
            let mut digest = key.digest();
            feed(&mut digest);
            let digest: DigestText = digest.finish();
            [format!("{number} ").as_bytes(), digest.as_bytes()].concat()
        };
        match bytes.first_chunk()? {
            netstring::START => {
                // As if it had one, should it have none.
                let bytes = [bytes, b"0:,"].concat();
                let signed = netstring::split(&bytes).ok()?.signed;
                let signature = sign(&|digest| digest.update(signed));
                Some([signed, format!("{}:", signature.len()).as_bytes(), &signature, b","].concat())
            }
            text::START => {
                let (lines, _) = text::cut(bytes).ok()?;
                let lines = lines.split_inclusive(|byte| *byte == b'\n').filter(|line| !line.starts_with(text::AUTH));
                let lines: Vec<u8> = lines.flatten().copied().collect();
                let unsigned = [text::START, &lines[..], text::AUTH, b"\n", text::END].concat();
                let packet = text::split(&unsigned).ok()?;
                let signature = sign(&|digest| packet.digest(digest));
                Some([text::START, &lines[..], text::AUTH, &signature, b"\n", text::END].concat())
            }
            _ => None,
        }
    }

    /// A signed datagram with this for its compressed content.
    pub(crate) fn seal_payload(&self, payload: &[u8], algorithm: &str) -> Option<Vec<u8>> {
        let mut out = vec![0; payload.len() + 256];
        let len = self.encode_wrapper(payload, algorithm, &mut out)?;
        out.truncate(len);
        Some(out)
    }
}

/// What `encode_compressed` would make of these bytes. `None`: they are too many.
pub(crate) fn pack(plain: &[u8]) -> Option<Vec<u8>> {
    let mut out = vec![0; 2 * TEXT_FRAME_MAX];
    let len = deflate::pack(plain, &mut out)?;
    out.truncate(len);
    Some(out)
}
