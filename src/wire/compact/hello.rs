//! Calls and answers: who speaks, and a random nonce.

use super::bytes::{Reader, Writer};
use super::secret::{HELLO_TAG_LEN, Root, Speaker};
use super::{BODY_MAX, CRC_LEN, Nonce, Reject, VERSION, kind};
use crate::core::ids::{Generation, KeyNumber, NodeName, Seq, Uuid};

/// What both say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hello<'a> {
    pub(super) key: KeyNumber,
    pub(super) speaker: Speaker,
    /// The newest number of the sender.
    pub(super) seq: Seq,
    /// Its wall clock.
    pub(super) ts: u32,
    /// The nonce that an answer answers; `None`: a call.
    pub(super) echo: Option<Nonce>,
    pub(super) name: &'a str,
}

impl Hello<'_> {
    /// Writes it, signed, with its checksum. `None`: no room.
    pub(super) fn write(&self, root: &Root, out: &mut [u8]) -> Option<usize> {
        let mut writer = Writer::new(out);
        writer.put(&[if self.echo.is_some() { kind::ANSWER } else { kind::CALL }, VERSION, self.key.0]);
        writer.put(&self.speaker.uuid.0);
        writer.put_u32(self.speaker.generation.0);
        writer.put_u64(self.seq.0);
        writer.put_u32(self.ts);
        writer.put(&self.speaker.nonce);
        if let Some(echo) = self.echo {
            writer.put(&echo);
        }
        writer.put_text(self.name);
        let tag = root.hello_tag(writer.written());
        writer.put(&tag);
        super::session::put_crc(&mut writer);
        writer.len()
    }

    /// The version and the key number, which are looked at before the digest.
    pub(super) fn key_of(frame: &[u8]) -> Result<KeyNumber, Reject> {
        match frame {
            [_, VERSION, key, ..] => Ok(KeyNumber(*key)),
            [_, version, ..] => Err(Reject::UnknownVersion { version: *version }),
            _ => Err(Reject::TooShort),
        }
    }
}

/// Reads one whose checksum is right; digest first.
pub(super) fn read<'b>(frame: &'b [u8], root: &Root) -> Result<Hello<'b>, Reject> {
    let end = frame.len().checked_sub(HELLO_TAG_LEN + CRC_LEN).ok_or(Reject::TooShort)?;
    let (bytes, rest) = frame.split_at(end);
    let tag = rest.get(..HELLO_TAG_LEN).unwrap_or_default();
    if !root.is_hello_tag(bytes, tag) {
        return Err(Reject::BadTag);
    }
    fields(bytes).ok_or(Reject::Malformed)
}

fn fields(bytes: &[u8]) -> Option<Hello<'_>> {
    let mut reader = Reader(bytes);
    let [first, _, key] = reader.array()?;
    let uuid = Uuid(reader.array()?);
    let generation = Generation(reader.u32()?);
    let seq = Seq(reader.u64()?);
    let ts = reader.u32()?;
    let nonce = reader.array()?;
    let echo = if first == kind::ANSWER { Some(reader.array()?) } else { None };
    let name = reader.text()?;
    reader.end()?;
    let is_sound = ts != 0 && !uuid.is_nil() && NodeName::try_from(name).is_ok_and(|name| !name.is_empty());
    is_sound.then_some(Hello { key: KeyNumber(key), speaker: Speaker { uuid, generation, nonce }, seq, ts, echo, name })
}

const _: () = assert!(68 + crate::core::limits::NODE_NAME_MAX + HELLO_TAG_LEN + CRC_LEN <= BODY_MAX);
