//! What local clients say and hear (spec/api.md 2.1): the same two forms, without a signature of their own. They are
//! answered in the text form, which ends in a NUL.

use core::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::encode::{Output, is_name};
use super::fields::{Field, Fields, Kind, Name, decimal, encode_uuid, hex};
use super::nested::{self, Depth};
use super::reject::Reject;
use super::{kind, netstring, text};
use crate::core::ids::Uuid;

/// A message of a client, cut into its fields.
pub struct ClientMessage<'a> {
    bytes: &'a [u8],
    fields: Fields<'a>,
}

impl<'a> ClientMessage<'a> {
    /// The message in the body of a frame, in either form.
    ///
    /// # Errors
    /// Anything that is no message.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Reject> {
        let fields = match Self::split(bytes)? {
            Either::Netstring(fields) => Fields::collect(fields)?,
            Either::Text(fields) => Fields::collect(fields)?,
        };
        Ok(Self { bytes, fields })
    }

    fn split(bytes: &'a [u8]) -> Result<Either<'a>, Reject> {
        match bytes.first_chunk().ok_or(Reject::TooShort)? {
            netstring::START => Ok(Either::Netstring(netstring::split_unsigned(bytes)?)),
            text::START => Ok(Either::Text(text::split_unsigned(bytes)?)),
            _ => Err(Reject::BadMarker),
        }
    }

    /// The first string of this name, as far as it is one that any message has a use for and is UTF-8.
    pub fn get(&self, name: &str) -> Option<&'a str> {
        let mut found = None;
        self.each(|field| {
            if found.is_none() && field.name == name.as_bytes() && field.kind == Kind::Text {
                found = core::str::from_utf8(field.value).ok();
            }
        });
        found
    }

    /// A decimal number; a sign is none.
    pub fn decimal(&self, name: &str) -> Option<u64> {
        decimal(self.get(name)?.as_bytes())
    }

    /// A hex number.
    pub fn hex(&self, name: &str) -> Option<u64> {
        hex(self.get(name)?.as_bytes())
    }

    /// Whether its type is one of those that daemons say to each other, or cannot be made out: nothing that a client says.
    pub fn is_of_daemons(&self) -> bool {
        // Of two types every reader takes the first.
        let Some((Kind::Text, kind)) = self.fields.value(Name::Type) else { return true };
        core::str::from_utf8(kind).map_or(true, kind::is_of_daemons)
    }

    /// `t`.
    pub fn kind(&self) -> &'a str {
        self.get(Name::Type.word()).unwrap_or_default()
    }

    /// `destuuid`.
    pub fn dest_uuid(&self) -> Option<Uuid> {
        self.fields.uuid(Name::DestUuid)
    }

    /// `queryuuid`.
    pub fn query_uuid(&self) -> Option<Uuid> {
        self.fields.uuid(Name::QueryUuid)
    }

    /// Shows every field, of whatever type, with its value as it stands there.
    pub fn each_value(&self, mut look: impl FnMut(&'a [u8], &'a [u8])) {
        self.each(|field| look(field.name, field.value));
    }

    fn each(&self, mut look: impl FnMut(&Field<'a>)) {
        let _ = each_field(self.bytes, &mut look);
    }

    /// Writes the fields for [`Codec::encode_datagram_with`](super::Codec::encode_datagram_with), without what the daemon
    /// adds itself. Returns the length.
    ///
    /// # Errors
    /// [`Unfit::TooLong`] when they do not fit; [`Unfit::Refused`] for what other nodes could not take and would ask for
    /// again and again: a name that no line can begin with, a value that ends in a carriage return, a nested message that
    /// has no text form, no type of message, or one of those without a number.
    pub fn write_lines(&self, out: &mut [u8]) -> Result<usize, Unfit> {
        let kind = self.fields.raw(Name::Type).and_then(|kind| core::str::from_utf8(kind).ok());
        if kind.is_none_or(|kind| kind.starts_with(kind::UNSEQUENCED)) {
            return Err(Unfit::Refused);
        }
        let is_ours =
            |name: Name| name.is_header() || matches!(name, Name::FromId | Name::ToId | Name::ClientGeneration);
        let (mut out, mut is_known) = (Output::new(out), true);
        self.each(|field| {
            if !Name::of(field.name).is_some_and(is_ours) {
                let is_reserved = Name::of(field.name).is_some_and(Name::is_reserved);
                // At the end of a serial line's line it is taken for a terminal's.
                let is_cut = field.value.ends_with(b"\r") && matches!(field.kind, Kind::Text | Kind::List);
                is_known &= !is_reserved && !is_cut && write_line(&mut out, field, Depth::OUTERMOST).is_some();
            }
        });
        if is_known { out.finish().ok_or(Unfit::TooLong) } else { Err(Unfit::Refused) }
    }
}

/// Why a client's message is not passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unfit {
    /// Longer than what may be passed on.
    TooLong,
    /// It has what no other node could take.
    Refused,
}

impl fmt::Debug for ClientMessage<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ClientMessage").field(&self.kind()).finish()
    }
}

enum Either<'a> {
    Netstring(netstring::Fields<'a>),
    Text(text::Fields<'a>),
}

/// One field as a line; `None`: it cannot be one, and nothing was written.
pub(super) fn write_line(out: &mut Output<'_>, field: &Field<'_>, depth: Depth) -> Option<()> {
    let start = out.len();
    let written = try_line(out, field, depth);
    if written.is_none() {
        out.truncate(start);
    }
    written
}

fn try_line(out: &mut Output<'_>, field: &Field<'_>, depth: Depth) -> Option<()> {
    // It would be another field, perhaps one that the daemon adds itself, or the end of the message.
    if !is_name(field.name) {
        return None;
    }
    let end = &[depth.newline()][..];
    let mark = if field.kind == Kind::Text { b"" } else { field.kind.mark() };
    [mark, field.name, b"="].iter().for_each(|part| out.push(part));
    match field.kind {
        // Lines end with a newline, and a list has no other word for it; no text has a NUL.
        Kind::List if field.value.iter().any(|byte| matches!(byte, b'\n' | 0)) => return None,
        Kind::List | Kind::Text if !depth.has_room_for(field.value) => return None,
        Kind::Text => {
            let at = out.len();
            out.push(field.value);
            out.since_mut(at).iter_mut().filter(|byte| **byte == b'\n').for_each(|byte| *byte = text::NEWLINE);
        }
        // What is passed on must be some bytes' form.
        Kind::Base64 | Kind::PackedBase64 if !is_base64(field.value) => return None,
        Kind::StructText if !nested::is_text(field.value, depth) => return None,
        Kind::List | Kind::Base64 | Kind::PackedBase64 | Kind::StructText => out.push(field.value),
        Kind::Binary | Kind::Packed => out.push_as_base64(field.value),
        Kind::Struct => nested::write_text(out, field.value, depth)?,
    }
    out.push(end);
    Some(())
}

/// Whether these characters stand for some bytes.
pub(super) fn is_base64(text: &[u8]) -> bool {
    let mut pieces = text.chunks(BASE64_PIECE).peekable();
    while let Some(piece) = pieces.next() {
        // Only the last one is padded.
        let is_cut = pieces.peek().is_some() && piece.contains(&b'=');
        if is_cut || STANDARD.decode_slice(piece, &mut [0; BASE64_PIECE]).is_err() {
            return false;
        }
    }
    true
}

/// Characters looked at at a time: a multiple of four.
const BASE64_PIECE: usize = 1024;

/// Writes a message of the cluster, as it was received or sent, for clients: in the text form with all its fields, and the
/// NUL; as netstrings when one of the fields holds another message, or when the text would not fit (spec/api.md 2.1). A field
/// that is broken is left out. Returns the length, `None` when it does not fit.
pub fn to_client(bytes: &[u8], out: &mut [u8]) -> Option<usize> {
    let mut is_nested = false;
    each_field(bytes, |field| is_nested |= nested::is_one(field))?;
    let text = (!is_nested).then(|| {
        let mut out = Output::new(out);
        out.push(text::START);
        each_field(bytes, |field| {
            let _ = write_line(&mut out, field, Depth::OUTERMOST);
        })?;
        out.push(text::END);
        out.push(b"\0");
        out.finish()
    });
    if let Some(Some(len)) = text {
        return Some(len);
    }
    let mut out = Output::new(out);
    out.push(netstring::START);
    each_field(bytes, |field| {
        let start = out.len();
        if nested::write_field(&mut out, field, Depth::OUTERMOST).is_none() {
            out.truncate(start);
        }
    })?;
    out.push(netstring::END);
    out.finish()
}

/// Shows every field; `None`: it is no message.
fn each_field<'a>(bytes: &'a [u8], mut look: impl FnMut(&Field<'a>)) -> Option<()> {
    match ClientMessage::split(bytes).ok()? {
        Either::Netstring(fields) => fields.flatten().for_each(|field| look(&field)),
        Either::Text(fields) => fields.flatten().for_each(|field| look(&field)),
    }
    Some(())
}

/// A message for clients while it is written.
pub struct ClientText<'o> {
    out: Output<'o>,
}

impl<'o> ClientText<'o> {
    /// The beginning of a message.
    pub fn new(bytes: &'o mut [u8]) -> Self {
        let mut out = Output::new(bytes);
        out.push(text::START);
        Self { out }
    }

    /// Fields only, for [`Codec::encode_datagram_with`](super::Codec::encode_datagram_with): to be ended with
    /// [`ClientText::finish_lines`].
    pub const fn lines(bytes: &'o mut [u8]) -> Self {
        Self { out: Output::new(bytes) }
    }

    /// A string. One with a newline, which would begin another field, spoils the message: it is never finished.
    pub fn string(&mut self, name: &str, value: &str) -> &mut Self {
        self.field(name, format_args!("{value}"))
    }

    /// A string that is made of something.
    pub fn field(&mut self, name: &str, value: fmt::Arguments<'_>) -> &mut Self {
        let start = self.out.len();
        self.out.format(format_args!("{name}={value}"));
        if self.out.since(start).contains(&b'\n') {
            self.out.spoil();
        }
        self.out.push(b"\n");
        self
    }

    /// A uuid.
    pub fn uuid(&mut self, name: &str, uuid: Uuid) -> &mut Self {
        self.out.format(format_args!("(1){name}="));
        self.out.push(&encode_uuid(uuid));
        self.out.push(b"\n");
        self
    }

    /// Ends the message. Returns its length, the NUL included; `None` when it did not fit, or was spoilt.
    pub fn finish(mut self) -> Option<usize> {
        self.out.push(text::END);
        self.out.push(b"\0");
        self.out.finish()
    }

    /// Ends what [`ClientText::lines`] has begun.
    pub fn finish_lines(self) -> Option<usize> {
        self.out.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_of_either_form_is_read() {
        let text = b">>>\nt=hbapi-req\npid=47\nfmask=2f\n(1)queryuuid=BwcHBwcHBwcHBwcHBwcHBw==\npid=48\n<<<\n\0";
        let netstring = b"###\n14:(0)t=hbapi-req,9:(0)pid=47,11:(0)fmask=2f,29:(1)queryuuid=\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07,9:(0)pid=48,%%%\n";
        for bytes in [&text[..], &text[..text.len() - 1], netstring] {
            let message = ClientMessage::parse(bytes).unwrap();
            assert_eq!(
                (message.kind(), message.decimal("pid"), message.hex("fmask")),
                ("hbapi-req", Some(47), Some(0x2f))
            );
            assert_eq!(message.query_uuid(), Some(Uuid([7; 16])));
            assert_eq!((message.get("cn"), message.dest_uuid()), (None, None));
        }
        for bad in [&b""[..], b">>>", b">>>\nt=x\n", b"hello, world", b">>>\nt\n<<<\n", b"###\n99:(0)t=x,%%%\n"] {
            assert!(ClientMessage::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn lines_leave_out_what_the_daemon_adds() {
        let bytes = b">>>\nt=ping\nfrom_id=x\nto_id=y\ndest=b\nseq=9\nauth=1 a\n(1)data=AAE=\noseq=1\n<<<\n\0";
        let mut out = [0; 100];
        let len = ClientMessage::parse(bytes).unwrap().write_lines(&mut out).unwrap();
        assert_eq!(&out[..len], b"t=ping\n(1)data=AAE=\noseq=1\n");
        let netstring = b"###\n8:(0)t=a\nb,11:(1)data=\x00\x01\xff,%%%\n";
        let len = ClientMessage::parse(netstring).unwrap().write_lines(&mut out).unwrap();
        assert_eq!(&out[..len], b"t=a\x13b\n(1)data=AAH/\n");
        let list = b">>>\nt=x\n(3)l=1:a,\n<<<\n";
        let len = ClientMessage::parse(list).unwrap().write_lines(&mut out).unwrap();
        assert_eq!(&out[..len], b"t=x\n(3)l=1:a,\n");
        let inner = b">>>\nt=x\n(2)sub=>>>\x14x=1\x14<<<\x14\n(4)z=AAE=\n<<<\n";
        let len = ClientMessage::parse(inner).unwrap().write_lines(&mut out).unwrap();
        assert_eq!(&out[..len], b"t=x\n(2)sub=>>>\x14x=1\x14<<<\x14\n(4)z=AAE=\n");
        assert_eq!(ClientMessage::parse(netstring).unwrap().write_lines(&mut [0; 10]), Err(Unfit::TooLong), "no room");
    }

    /// Each would have come out as another field in front of the daemon's own, or as something that no node can read.
    #[test]
    fn names_and_types_that_would_forge_or_break_a_message_are_not_passed_on() {
        for field in [
            "\nsrc=x",
            "\nauth=1 a",
            "a\nb=c",
            "(1)destuuid=AAAA",
            "(0)x=y",
            "<<<=x",
            "<<<x=y",
            "_compressed_payload=x",
            "x=y\r",
        ] {
            let netstring = format!("###\n7:(0)t=ab,{}:(0){field},%%%\n", field.len() + 3);
            let message = ClientMessage::parse(netstring.as_bytes()).unwrap();
            assert_eq!(message.write_lines(&mut [0; 100]), Err(Unfit::Refused), "{field:?}");
        }
        for fields in ["t=NS_ackmsg", "x=y", "(1)t=AAAA\nt=a", "t=a\n(3)l=1:\0,"] {
            let text = format!(">>>\n{fields}\n<<<\n");
            assert_eq!(
                ClientMessage::parse(text.as_bytes()).unwrap().write_lines(&mut [0; 100]),
                Err(Unfit::Refused),
                "{fields}"
            );
        }
    }

    #[test]
    fn base64_of_no_bytes_is_left_out_whole() {
        let mut out = [0; 100];
        let len = to_client(b">>>\nt=a\n(1)b=A\nc=d\n<<<\n", &mut out).unwrap();
        assert_eq!(&out[..len], b">>>\nt=a\nc=d\n<<<\n\0");
    }

    #[test]
    fn texts_are_those_of_the_spec() {
        let mut out = [0; 200];
        let mut text = ClientText::new(&mut out);
        text.string("t", "hbapi-resp").string("reqtype", "numnodes").field("numnodes", format_args!("{}", 2));
        text.string("result", "OK");
        let len = text.finish().unwrap();
        assert_eq!(&out[..len], b">>>\nt=hbapi-resp\nreqtype=numnodes\nnumnodes=2\nresult=OK\n<<<\n\0");
        assert_eq!(len, 0x3c);
    }
}
