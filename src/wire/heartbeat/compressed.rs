//! Messages that are compressed as a whole (`traditional_compression`, spec/wire.md section 5).
//!
//! The packet is signed as any other and holds two fields: `_compressed_payload`, which is the whole message in the
//! sender's local form (the text with a NUL behind it, or a netstring packet without signature), and
//! `_compression_algorithm`, `zlib` or `bz2`. Whoever receives it goes by that name, whatever his own setting is.
//!
//! ```text
//!   bytes ──decode──▶ Err(Compressed) ──expand──▶ Expanded ──decode_expanded──▶ Message
//! ```
//!
//! Only what has been authenticated is unpacked, into memory of fixed size: what does not fit, or is compressed once
//! more, is [`Reject::BadCompression`].

use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::{DecompressorOxide, decompress, inflate_flags};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::fields::{Fields, Kind, Name, Strings};
use super::reject::Reject;
use super::{Codec, PACKET_MAX, TEXT_FRAME_MAX, bz2, deflate, netstring, text};
use crate::core::ids::KeyNumber;
use crate::core::message::{Message, Packet};

/// Bytes of the longest message after unpacking: as long as one that needs none.
const EXPANDED_MAX: usize = PACKET_MAX + 1;
/// Bytes of the longest packed message that a serial line can carry.
const PACKED_TEXT_MAX: usize = TEXT_FRAME_MAX / 4 * 3;

const ZLIB: &[u8] = b"zlib";
const BZ2: &[u8] = b"bz2";

/// Memory for unpacking one message at a time, 270 KiB. Most nodes never need it.
pub struct Expander {
    inflate: DecompressorOxide,
    packed: [u8; PACKED_TEXT_MAX],
    expanded: [u8; EXPANDED_MAX],
    column: [u8; bz2::BLOCK_MAX],
    rows: [[u8; 2]; bz2::BLOCK_MAX],
}

impl Default for Expander {
    fn default() -> Self {
        Self::new()
    }
}

impl core::fmt::Debug for Expander {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Expander").finish_non_exhaustive()
    }
}

impl Expander {
    /// Nothing unpacked yet.
    pub fn new() -> Self {
        Self {
            inflate: DecompressorOxide::new(),
            packed: [0; PACKED_TEXT_MAX],
            expanded: [0; EXPANDED_MAX],
            column: [0; bz2::BLOCK_MAX],
            rows: [[0; 2]; bz2::BLOCK_MAX],
        }
    }

    /// The large parts of it, which nobody reads before they have been written: their pages may be given back to the
    /// system until a compressed message comes.
    pub fn idle_memory(&mut self) -> [&mut [u8]; 3] {
        [&mut self.expanded, &mut self.column, self.rows.as_flattened_mut()]
    }

    fn unpack(&mut self, packed: Packed<'_>, algorithm: &[u8]) -> Result<&[u8], Reject> {
        let Self { inflate, packed: room, expanded, column, rows } = self;
        let packed = match packed {
            Packed::Plain(bytes) => bytes,
            Packed::Base64(text) => {
                let len = STANDARD.decode_slice(text, room).map_err(|_| Reject::BadCompression)?;
                room.get(..len).unwrap_or_default()
            }
        };
        let len = match algorithm {
            ZLIB => {
                inflate.init();
                let flags = inflate_flags::TINFL_FLAG_PARSE_ZLIB_HEADER
                    | inflate_flags::TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF;
                match decompress(inflate, packed, expanded, 0, flags) {
                    (TINFLStatus::Done, _, len) => len,
                    _ => return Err(Reject::BadCompression),
                }
            }
            BZ2 => {
                bz2::unpack(packed, expanded, bz2::Workspace { column, rows }).map_err(|_| Reject::BadCompression)?
            }
            _ => return Err(Reject::BadCompression),
        };
        expanded.get(..len).ok_or(Reject::BadCompression)
    }
}

/// The field's value.
enum Packed<'a> {
    Plain(&'a [u8]),
    Base64(&'a [u8]),
}

/// A message that came in an authentic packet, unpacked. Only [`Codec::expand`] makes one: nothing else may be read
/// without a signature of its own.
#[derive(Debug)]
pub struct Expanded<'e> {
    bytes: &'e [u8],
    key: KeyNumber,
}

impl<'e> Expanded<'e> {
    /// It as it was before it was packed: without a signature of its own that anybody has looked at.
    pub const fn bytes(&self) -> &'e [u8] {
        self.bytes
    }
}

impl Codec {
    /// Unpacks what [`Codec::decode`] has refused as [`Reject::Compressed`].
    ///
    /// # Errors
    /// As [`Codec::decode`], and [`Reject::BadCompression`].
    pub fn expand<'e>(&self, bytes: &[u8], expander: &'e mut Expander) -> Result<Expanded<'e>, Reject> {
        let (key, fields) = self.authentic_fields(bytes)?;
        if fields.has(Name::Src) {
            return Err(Reject::BadCompression);
        }
        let packed = match fields.value(Name::CompressedPayload) {
            Some((Kind::Binary, bytes)) => Packed::Plain(bytes),
            Some((Kind::Base64, text)) => Packed::Base64(text),
            _ => return Err(Reject::BadCompression),
        };
        let algorithm = fields.raw(Name::CompressionAlgorithm).ok_or(Reject::BadCompression)?;
        Ok(Expanded { bytes: expander.unpack(packed, algorithm)?, key })
    }

    /// The message in it; for `scratch` see [`Codec::decode`].
    ///
    /// # Errors
    /// As [`Codec::decode`], but for signatures; [`Reject::BadCompression`] when it is packed twice.
    pub fn decode_expanded<'a>(&self, expanded: &Expanded<'a>, scratch: &'a mut [u8]) -> Result<Message<'a>, Reject> {
        let marker = expanded.bytes.first_chunk().ok_or(Reject::TooShort)?;
        let (fields, scratch) = match marker {
            netstring::START => (Fields::collect(netstring::split_unsigned(expanded.bytes)?)?, None),
            text::START => (Fields::collect(text::split_unsigned(expanded.bytes)?)?, Some(scratch)),
            _ => return Err(Reject::BadMarker),
        };
        if fields.has(Name::CompressedPayload) {
            return Err(Reject::BadCompression);
        }
        self.message(expanded.key, &fields, &mut Strings { scratch })
    }

    /// Writes one datagram that is compressed as a whole, as [`Codec::encode_datagram`] does it uncompressed; `room` takes
    /// the two steps on the way, 2 × [`ENCODED_MAX`](super::ENCODED_MAX) bytes are always enough. Always with zlib, which
    /// is in every Heartbeat.
    pub fn encode_compressed(&self, packet: &Packet, room: &mut [u8], out: &mut [u8]) -> Option<usize> {
        let (plain, packed) = room.split_at_mut_checked(room.len() / 2)?;
        let plain_len = if self.is_netstring {
            self.encode_unsigned(packet, plain)?
        } else {
            // The text is a string of C: its NUL is packed, too.
            let len = self.encode_serial(packet, plain)?;
            *plain.get_mut(len)? = 0;
            len + 1
        };
        let packed_len = deflate::pack(plain.get(..plain_len)?, packed)?;
        self.encode_wrapper(packed.get(..packed_len)?, "zlib", out)
    }
}
