//! The fields that mean something to us, and the numbers in them (spec/wire.md sections 1 and 6).

use core::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::reject::Reject;
use super::text;
use crate::core::ids::Uuid;

/// Of what type a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A string.
    Text,
    /// Bytes as they are.
    Binary,
    /// Bytes in Base64.
    Base64,
    /// A list of strings, each with its length in front; the same in both forms. Nothing of ours.
    List,
    /// A nested message as a netstring; nothing of ours.
    Struct,
    /// A nested message in the text form.
    StructText,
    /// A nested message that a client has compressed, as it is; nothing of ours.
    Packed,
    /// The same in Base64.
    PackedBase64,
}

impl Kind {
    /// What stands in front of the name; in the text form nothing does before a string's.
    pub(super) const fn mark(self) -> &'static [u8] {
        match self {
            Self::Text => b"(0)",
            Self::Binary | Self::Base64 => b"(1)",
            Self::Struct | Self::StructText => b"(2)",
            Self::List => b"(3)",
            Self::Packed | Self::PackedBase64 => b"(4)",
        }
    }
}

/// One field as it stands in the packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Field<'a> {
    pub(super) name: &'a [u8],
    pub(super) kind: Kind,
    pub(super) value: &'a [u8],
}

impl<'a> Field<'a> {
    /// `name=value`; names are not empty, strings hold no NUL.
    pub(super) fn split(kind: Kind, bytes: &'a [u8]) -> Option<Self> {
        let equals = bytes.iter().position(|byte| *byte == b'=')?;
        let (name, value) = (bytes.get(..equals)?, bytes.get(equals + 1..)?);
        let is_bad = name.is_empty() || name.contains(&0) || (kind == Kind::Text && value.contains(&0));
        (!is_bad).then_some(Self { name, kind, value })
    }
}

macro_rules! names {
    ($($id:ident $word:literal),* $(,)?) => {
        /// Names of fields that we read or write.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(super) enum Name { $($id),* }

        impl Name {
            const ALL: &'static [Self] = &[$(Self::$id),*];

            /// As on the wire.
            pub(super) const fn word(self) -> &'static str {
                match self { $(Self::$id => $word),* }
            }
        }
    };
}

names! {
    // In every message.
    Type "t", Src "src", SrcUuid "srcuuid", Seq "seq", Generation "hg", Time "ts", Load "ld", Ttl "ttl", Auth "auth",
    Dest "dest", DestUuid "destuuid",
    // Of one type or another.
    Status "st", DeadTime "dt", Protocol "protocol", AckSeq "ackseq", FirstSeq "firstseq", LastSeq "lastseq",
    Info "info", NodeList "nodelist", DelNodeList "delnodelist", Hold "rsc_hold", HoldType "rtype",
    IsStable "isstable", Key "ipaddr", WeOwn "weown", Ok "ok", Node "node", Result "result", Weight "weight", Site "site",
    CompressedPayload "_compressed_payload", CompressionAlgorithm "_compression_algorithm",
    // Of messages between clients.
    FromId "from_id", ToId "to_id", ClientGeneration "client_gen", PingCount "num_ping", Client "cn", ClientStatus "cs",
    QueryUuid "queryuuid",
    // Ours; the original stores and ignores them.
    NbVersion "nbv", NbGroups "nbg", NbClaims "nbc", NbEcho "nbe", NbLinks "nbl", NbDigests "nbd",
    NbHardware "nbh", NbHealth "nbk", NbNews "nbn", NbCompact "nbp",
    NbOnly "nb_only", NbWhy "nb_why",
}

impl Name {
    pub(super) fn of(bytes: &[u8]) -> Option<Self> {
        Self::ALL.iter().copied().find(|name| name.word().as_bytes() == bytes)
    }

    /// Whether the daemon says this of every message itself, once, and nobody for it.
    pub(super) const fn is_header(self) -> bool {
        use Name::{Auth, Dest, DestUuid, Generation, Load, Seq, Src, SrcUuid, Time, Ttl};
        matches!(self, Src | SrcUuid | Seq | Generation | Time | Load | Ttl | Auth | Dest | DestUuid)
    }

    /// Whether nothing that others say may have this name: the header, and what stands for another whole message.
    pub(super) const fn is_reserved(self) -> bool {
        self.is_header() || matches!(self, Self::CompressedPayload)
    }

    /// Whether it says who speaks, and when: a second one would be a word put into the sender's mouth.
    const fn is_identity(self) -> bool {
        matches!(self, Self::Src | Self::SrcUuid | Self::Seq | Self::Generation | Self::Time)
    }
}

/// The first value of each name.
pub(super) struct Fields<'a> {
    slots: [Option<(Kind, &'a [u8])>; Name::ALL.len()],
    doubled: Option<Name>,
}

impl<'a> Fields<'a> {
    /// Collects; of two fields with one name the first counts, whatever its type.
    pub(super) fn collect(fields: impl Iterator<Item = Result<Field<'a>, Reject>>) -> Result<Self, Reject> {
        let (mut slots, mut doubled) = ([None; Name::ALL.len()], None);
        for field in fields {
            let field = field?;
            let Some(name) = Name::of(field.name) else { continue };
            match slots.get_mut(name as usize) {
                Some(slot @ None) => *slot = Some((field.kind, field.value)),
                Some(Some(_)) if name.is_identity() => doubled = Some(name),
                _ => {}
            }
        }
        Ok(Self { slots, doubled })
    }

    /// A field that says who speaks, and stands there twice.
    pub(super) const fn doubled(&self) -> Option<Name> {
        self.doubled
    }

    /// Whether there is a field of this name, of whatever type.
    pub(super) fn has(&self, name: Name) -> bool {
        self.slot(name).is_some()
    }

    /// A value as it stands in the packet, with its type.
    pub(super) fn value(&self, name: Name) -> Option<(Kind, &'a [u8])> {
        self.slot(name)
    }

    fn slot(&self, name: Name) -> Option<(Kind, &'a [u8])> {
        self.slots.get(name as usize).copied().flatten()
    }

    /// A string as it stands in the packet; a field of another type counts as absent.
    pub(super) fn raw(&self, name: Name) -> Option<&'a [u8]> {
        self.slot(name).and_then(|(kind, value)| (kind == Kind::Text).then_some(value))
    }

    /// A hex number. `Missing` or `BadValue` otherwise.
    pub(super) fn hex(&self, name: Name) -> Result<u64, Reject> {
        hex(self.raw(name).ok_or(Reject::Missing(name.word()))?).ok_or(Reject::BadValue(name.word()))
    }

    /// A decimal number. `Missing` or `BadValue` otherwise.
    pub(super) fn decimal(&self, name: Name) -> Result<u64, Reject> {
        decimal(self.raw(name).ok_or(Reject::Missing(name.word()))?).ok_or(Reject::BadValue(name.word()))
    }

    /// A uuid that says something; anything but 16 bytes counts as absent (spec/wire.md section 1).
    pub(super) fn uuid(&self, name: Name) -> Option<Uuid> {
        let bytes = match self.slot(name)? {
            (Kind::Binary, value) => value.try_into().ok()?,
            (Kind::Base64, value) => decode_uuid(value)?,
            _ => return None,
        };
        Some(Uuid(bytes)).filter(|uuid| !uuid.is_nil())
    }
}

/// The strings of a message: borrowed from the packet, or from the scratch space where the text form had to be undone.
pub(super) struct Strings<'a> {
    /// `None`: the packet holds strings as they are.
    pub(super) scratch: Option<&'a mut [u8]>,
}

impl<'a> Strings<'a> {
    /// The string in this field. `Missing` without it, `BadValue` when it is not UTF-8.
    pub(super) fn get(&mut self, fields: &Fields<'a>, name: Name) -> Result<&'a str, Reject> {
        let raw = fields.raw(name).ok_or(Reject::Missing(name.word()))?;
        let bytes = match &mut self.scratch {
            Some(scratch) if raw.contains(&text::NEWLINE) => {
                let (copy, rest) =
                    core::mem::take(scratch).split_at_mut_checked(raw.len()).ok_or(Reject::ScratchFull)?;
                *scratch = rest;
                for (byte, from) in copy.iter_mut().zip(raw) {
                    *byte = if *from == text::NEWLINE { b'\n' } else { *from };
                }
                &*copy
            }
            _ => raw,
        };
        core::str::from_utf8(bytes).map_err(|_| Reject::BadValue(name.word()))
    }
}

/// 16 bytes in Base64 are 24 characters.
pub(super) const UUID_BASE64: usize = 24;

fn decode_uuid(text: &[u8]) -> Option<[u8; 16]> {
    if text.len() != UUID_BASE64 {
        return None;
    }
    let mut bytes = [0; 18]; // What 24 characters can hold at most; the padding takes two away.
    let length = STANDARD.decode_slice(text, &mut bytes).ok()?;
    bytes.get(..length)?.try_into().ok()
}

/// A uuid in Base64.
pub(super) fn encode_uuid(uuid: Uuid) -> [u8; UUID_BASE64] {
    let mut text = [0; UUID_BASE64];
    let length = STANDARD.encode_slice(uuid.0, &mut text);
    debug_assert_eq!(length.ok(), Some(UUID_BASE64));
    text
}

/// A hex number without prefix, at most 64 bits.
pub(super) fn hex(text: &[u8]) -> Option<u64> {
    number(text, 16)
}

/// A decimal number, at most 64 bits.
pub(super) fn decimal(text: &[u8]) -> Option<u64> {
    number(text, 10)
}

fn number(text: &[u8], radix: u8) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0u64, |number, byte| {
        let digit = char::from(*byte).to_digit(u32::from(radix))?;
        number.checked_mul(u64::from(radix))?.checked_add(u64::from(digit))
    })
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_digits_only() {
        assert_eq!(hex(b"6b03186a"), Some(0x6b03_186a));
        assert_eq!(hex(b"ffffffffffffffff"), Some(u64::MAX));
        assert_eq!(hex(b"10000000000000000"), None);
        assert_eq!(decimal(b"18446744073709551615"), Some(u64::MAX));
        assert_eq!(decimal(b"18446744073709551616"), None);
        for bad in ["", "-1", "+1", " 1", "1 ", "0x1", "1.", "g"] {
            assert_eq!(hex(bad.as_bytes()), None, "{bad}");
        }
        assert_eq!(decimal(b"a"), None);
    }

    #[test]
    fn first_field_of_a_name_counts_even_with_a_wrong_type() {
        let field = |kind, value| Ok(Field { name: b"src", kind, value });
        let fields = Fields::collect([field(Kind::Text, b"a"), field(Kind::Text, b"b")].into_iter()).unwrap();
        assert_eq!(fields.raw(Name::Src), Some(&b"a"[..]));
        let fields = Fields::collect([field(Kind::Struct, b"a"), field(Kind::Text, b"b")].into_iter()).unwrap();
        assert_eq!(fields.raw(Name::Src), None);
        assert!(fields.has(Name::Src));
    }

    #[test]
    fn uuids_are_sixteen_bytes() {
        fn uuid(kind: Kind, value: &[u8]) -> Option<Uuid> {
            let field = Field { name: b"srcuuid", kind, value };
            Fields::collect([Ok(field)].into_iter()).unwrap().uuid(Name::SrcUuid)
        }
        assert_eq!(uuid(Kind::Binary, &[7; 16]), Some(Uuid([7; 16])));
        assert_eq!(uuid(Kind::Binary, &[7; 15]), None);
        assert_eq!(uuid(Kind::Binary, &[0; 16]), None);
        assert_eq!(uuid(Kind::Text, &[7; 16]), None);
        assert_eq!(uuid(Kind::Base64, &encode_uuid(Uuid([7; 16]))), Some(Uuid([7; 16])));
        assert_eq!(uuid(Kind::Base64, b"F/0fF5A3TSW1xVDhN7pjAw"), None);
        assert_eq!(uuid(Kind::Base64, b"F/0fF5A3TSW1xVDhN7pjA==="), None);
        assert_eq!(uuid(Kind::Base64, b"F/0fF5A3TSW1xVDhN7pjAw=-"), None);
        assert_eq!(uuid(Kind::Base64, b"F-0fF5A3TSW1xVDhN7pjAw=="), None);
    }

    #[test]
    fn strings_undo_the_text_form_into_scratch() {
        let field = |name, value| Ok(Field { name, kind: Kind::Text, value });
        let collect = || Fields::collect([field(b"src", b"a\x13b"), field(b"t", b"plain")].into_iter()).unwrap();
        let mut scratch = [0; 3];
        let mut strings = Strings { scratch: Some(&mut scratch) };
        assert_eq!(strings.get(&collect(), Name::Type), Ok("plain"));
        assert_eq!(strings.get(&collect(), Name::Src), Ok("a\nb"));
        assert_eq!(strings.get(&collect(), Name::Src), Err(Reject::ScratchFull));
        assert_eq!(strings.get(&collect(), Name::Dest), Err(Reject::Missing("dest")));
        assert_eq!(Strings { scratch: None }.get(&collect(), Name::Src), Ok("a\x13b"));
    }
}
