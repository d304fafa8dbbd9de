//! The `>>>` form: one line per field, the signature a field among them (spec/wire.md section 2).

use super::fields::{Field, Kind};
use super::keys::Digest;
use super::reject::{Reject, offset};

pub(super) const START: &[u8; 4] = b">>>\n";
pub(super) const END: &[u8; 4] = b"<<<\n";
pub(super) const AUTH: &[u8; 5] = b"auth=";
/// What a newline inside a string becomes, since lines end with one.
pub(super) const NEWLINE: u8 = 0x13;

/// A packet cut into its lines. Nothing but `auth` has been looked at.
pub(super) struct Packet<'a> {
    lines: &'a [u8],
    /// `K DIGEST`.
    pub(super) signature: &'a [u8],
}

/// Finds the end and the signature. Bytes behind the end are ignored: a NUL follows in datagrams.
pub(super) fn split(bytes: &[u8]) -> Result<Packet<'_>, Reject> {
    let (lines, signature) = cut(bytes)?;
    Ok(Packet { lines, signature: signature.ok_or(Reject::Unsigned)? })
}

/// The fields of a packet of which nobody wants the signature.
pub(super) fn split_unsigned(bytes: &[u8]) -> Result<Fields<'_>, Reject> {
    cut(bytes).map(|(lines, _)| Fields { lines, at: 0 })
}

/// The lines up to the end, and the value of the first `auth` among them.
pub(super) fn cut(bytes: &[u8]) -> Result<(&[u8], Option<&[u8]>), Reject> {
    let body = bytes.get(START.len()..).unwrap_or_default();
    let mut at = 0;
    let mut signature = None;
    loop {
        let rest = body.get(at..).unwrap_or_default();
        if rest.starts_with(END) {
            break;
        }
        // The original also takes a message that just stops; here it has been cut off.
        let broken = Reject::BadFraming { offset: offset(START.len() + at) };
        let length = rest.iter().position(|byte| *byte == b'\n').ok_or(broken)?;
        let line = rest.get(..length).unwrap_or_default();
        if signature.is_none() {
            signature = line.strip_prefix(AUTH);
        }
        at += length + 1;
    }
    Ok((body.get(..at).unwrap_or_default(), signature))
}

impl<'a> Packet<'a> {
    /// Feeds what the signature covers: every line but empty ones and `auth`.
    pub(super) fn digest(&self, digest: &mut Digest) {
        for line in self.lines.split_inclusive(|byte| *byte == b'\n') {
            if line != b"\n" && !line.starts_with(AUTH) {
                digest.update(line);
            }
        }
    }

    /// The fields, `auth` included.
    pub(super) fn fields(&self) -> Fields<'a> {
        Fields { lines: self.lines, at: 0 }
    }
}

/// The fields of an authentic packet.
pub(super) struct Fields<'a> {
    lines: &'a [u8],
    at: usize,
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<Field<'a>, Reject>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let rest = self.lines.get(self.at..).unwrap_or_default();
            let length = rest.iter().position(|byte| *byte == b'\n')?;
            let line = rest.get(..length).unwrap_or_default();
            let at = self.at;
            self.at += length + 1;
            if line.is_empty() {
                continue;
            }
            let field = parse(line);
            if field.is_none() {
                self.at = self.lines.len();
            }
            return Some(field.ok_or(Reject::Malformed { offset: offset(START.len() + at) }));
        }
    }
}

/// `name=value` or `(T)name=value`; strings never carry a type.
pub(super) fn parse(line: &[u8]) -> Option<Field<'_>> {
    match line {
        [b'(', b'1', b')', rest @ ..] => Field::split(Kind::Base64, rest),
        [b'(', b'3', b')', rest @ ..] => Field::split(Kind::List, rest),
        [b'(', b'2', b')', rest @ ..] => Field::split(Kind::StructText, rest),
        [b'(', b'4', b')', rest @ ..] => Field::split(Kind::PackedBase64, rest),
        [b'(', ..] => None,
        _ => Field::split(Kind::Text, line),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(packet: &[u8]) -> Result<usize, Reject> {
        split(packet)?.fields().try_fold(0, |count, field| field.map(|_| count + 1))
    }

    #[test]
    fn reader_follows_the_rules() {
        assert_eq!(fields(b">>>\nt=a\nauth=1 a\n<<<\n"), Ok(2));
        assert_eq!(fields(b">>>\nt=a\nauth=1 a\n<<<\n\0"), Ok(2));
        assert_eq!(fields(b">>>\n\n\nt=a\n\nauth=1 a\n<<<\nrubbish"), Ok(2));
        assert_eq!(fields(b">>>\nt=\n(1)x=AA==\n(2)sub=>>>\x14x=1\x14<<<\x14\n(3)l=1:a,\nauth=1 a\n<<<\n"), Ok(5));
        for (bad, at) in [("t", 4), ("=t", 4), ("t=a\n(0)x=1", 8), ("t=a\n(5)x=1", 8), ("t=a\n(1x=1", 8), ("(=x", 4)] {
            let packet = format!(">>>\n{bad}\nauth=1 a\n<<<\n");
            assert_eq!(fields(packet.as_bytes()), Err(Reject::Malformed { offset: at }), "{bad}");
        }
        assert_eq!(fields(b">>>\nt=a\n<<<\n"), Err(Reject::Unsigned));
        assert_eq!(fields(b">>>\nt=a\nauth=1 a\n"), Err(Reject::BadFraming { offset: 17 }));
        assert_eq!(fields(b">>>\nt=a\nauth=1 a\n<<<"), Err(Reject::BadFraming { offset: 17 }));
        assert_eq!(fields(b">>>\nt=\0\nauth=1 a\n<<<\n"), Err(Reject::Malformed { offset: 4 }));
    }

    #[test]
    fn first_auth_counts() {
        let packet = split(b">>>\nauth=1 a\nt=a\nauth=2 b\n<<<\n").unwrap();
        assert_eq!(packet.signature, b"1 a");
    }
}
