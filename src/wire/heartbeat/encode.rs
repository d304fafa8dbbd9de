//! Messages to bytes.

use core::fmt::{self, Write};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::fields::{Kind, Name, encode_uuid};
use super::keys::{Digest, Key};
use super::nested::{self, Depth};
use super::{Codec, extension, kind, netstring, text, word};
use crate::core::ids::{Generation, NodeId, NodeSet, Uuid};
use crate::core::message::{Body, IpfailWord, NodeStatus, Packet, ResourceInfo};

impl Codec {
    /// Writes one datagram: netstring form, signed behind the end, with `msgfmt classic` also inside (spec/wire.md 3.3).
    /// Returns its length; [`ENCODED_MAX`](super::ENCODED_MAX) bytes are always enough.
    ///
    /// `None` when `out` is too small or the packet cannot be said: a node or group that does not exist, a status
    /// without word, a type or reason that is only ever received.
    pub fn encode_datagram(&self, packet: &Packet, out: &mut [u8]) -> Option<usize> {
        self.encode_datagram_with(packet, &[], out)
    }

    /// The same for a packet that may be [`Body::Relayed`]: `lines` are its fields, as
    /// [`ClientMessage::write_lines`](super::ClientMessage::write_lines) writes them.
    pub fn encode_datagram_with(&self, packet: &Packet, lines: &[u8], out: &mut [u8]) -> Option<usize> {
        let (number, key) = self.keys.signing()?;
        // As the original, which looks at it in the text form only.
        let inner = (!self.is_netstring && !has_nested(lines)).then(|| key.digest());
        let mut writer = Writer::new(out, Form::Netstring, inner);
        self.write_fields(&mut writer, packet, lines)?;
        writer.sign_inside(number);
        writer.sign_behind(number, key);
        writer.out.finish()
    }

    /// Writes one message for a serial line: text form, signed by its last field, no NUL. Otherwise as
    /// [`Codec::encode_datagram`].
    pub fn encode_serial(&self, packet: &Packet, out: &mut [u8]) -> Option<usize> {
        self.encode_serial_with(packet, &[], out)
    }

    /// The same for a packet that may be [`Body::Relayed`]; see [`Codec::encode_datagram_with`].
    pub fn encode_serial_with(&self, packet: &Packet, lines: &[u8], out: &mut [u8]) -> Option<usize> {
        let (number, key) = self.keys.signing()?;
        let mut writer = Writer::new(out, Form::Text, Some(key.digest()));
        self.write_fields(&mut writer, packet, lines)?;
        writer.sign_inside(number);
        writer.out.push(text::END);
        writer.out.finish()
    }

    /// Writes netstring form without any signature.
    pub(super) fn encode_unsigned(&self, packet: &Packet, out: &mut [u8]) -> Option<usize> {
        let mut writer = Writer::new(out, Form::Netstring, None);
        self.write_fields(&mut writer, packet, &[])?;
        writer.out.push(netstring::END);
        writer.out.finish()
    }

    /// Writes a datagram whose content is packed (spec/wire.md section 5): nothing but these two fields (seen).
    pub(super) fn encode_wrapper(&self, payload: &[u8], algorithm: &str, out: &mut [u8]) -> Option<usize> {
        let (number, key) = self.keys.signing()?;
        let mut writer = Writer::new(out, Form::Netstring, None);
        writer.bytes(Name::CompressedPayload, payload);
        writer.string(Name::CompressionAlgorithm, algorithm);
        writer.sign_behind(number, key);
        writer.out.finish()
    }

    /// All fields but signatures, in the order of spec/wire.md section 6.
    fn write_fields(&self, writer: &mut Writer<'_>, packet: &Packet, lines: &[u8]) -> Option<()> {
        if matches!(packet.body, Body::Relayed { .. }) {
            // Without any it has no type, and nobody would take it.
            lines.first()?;
            lines.split_inclusive(|byte| *byte == b'\n').try_for_each(|line| writer.line(line))?;
            self.write_dest(writer, packet.to)?;
        } else {
            self.write_body(writer, packet)?;
        }
        if let Body::Status { extension, .. } = packet.body {
            if self.is_compact_offered {
                writer.field(Name::NbCompact, format_args!("{}", crate::wire::compact::VERSION));
            }
            if extension.is_none() && !self.news.is_empty() {
                writer.string(Name::NbNews, &self.news);
            }
        }
        self.write_header(writer, packet, (self.node(self.local)?, self.identity.uuid, self.identity.generation));
        if packet.seq.is_some() {
            writer.string(Name::Load, &self.load);
        }
        writer.field(Name::Ttl, format_args!("{}", self.ttl));
        Some(())
    }

    /// Addressee, sender, numbers.
    pub(super) fn write_header(
        &self,
        writer: &mut Writer<'_>,
        packet: &Packet,
        (src, uuid, generation): (&str, Uuid, Generation),
    ) {
        if let Some(uuid) = packet.to.and_then(|node| self.uuid(node)) {
            writer.uuid(Name::DestUuid, uuid);
        }
        writer.string(Name::Src, src);
        writer.uuid(Name::SrcUuid, uuid);
        if let Some(seq) = packet.seq {
            writer.hex(Name::Seq, seq.0);
        }
        writer.hex(Name::Generation, generation.0.into());
        writer.hex(Name::Time, packet.ts.into());
    }

    fn write_dest(&self, writer: &mut Writer<'_>, to: Option<NodeId>) -> Option<()> {
        if let Some(node) = to {
            writer.string(Name::Dest, self.node(node)?);
        }
        Some(())
    }

    /// The type's own fields and `dest`, in the order of spec/wire.md section 7.
    pub(super) fn write_body(&self, writer: &mut Writer<'_>, packet: &Packet) -> Option<()> {
        match packet.body {
            Body::Ack { .. }
            | Body::RexmitRequest { .. }
            | Body::RexmitNak { .. }
            | Body::RepNodes { .. }
            | Body::IpRequestResp { .. } => self.write_answer(writer, packet),
            Body::Status { .. }
            | Body::ReqNodes
            | Body::AddNodes { .. }
            | Body::DelNodes { .. }
            | Body::SetWeight { .. }
            | Body::SetSite { .. }
            | Body::Starting
            | Body::Resource { .. }
            | Body::AskResources { .. }
            | Body::Takeover { .. }
            | Body::IpRequest { .. }
            | Body::ShutDone
            | Body::Stonith { .. }
            | Body::Ipfail(_)
            | Body::ClientQuery { .. }
            | Body::ClientAnswer { .. }
            | Body::Relayed { .. }
            | Body::Other { .. } => {
                self.write_announcement(writer, packet)?;
                self.write_dest(writer, packet.to)
            }
        }
    }

    /// What is meant for one node: `dest` stands among the type's fields.
    fn write_answer(&self, writer: &mut Writer<'_>, packet: &Packet) -> Option<()> {
        let to = packet.to;
        match packet.body {
            Body::Ack { acked } => {
                writer.kind(kind::ACK);
                self.write_dest(writer, to)?;
                writer.hex(Name::AckSeq, acked.0);
            }
            Body::RexmitRequest { first, last } => {
                writer.kind(kind::REXMIT);
                self.write_dest(writer, to)?;
                // The only sequence numbers in decimal (spec/wire.md 8.4).
                writer.field(Name::FirstSeq, format_args!("{}", first.0));
                writer.field(Name::LastSeq, format_args!("{}", last.0));
            }
            Body::RexmitNak { first, too_low } => {
                writer.kind(kind::NAK);
                writer.hex(Name::FirstSeq, first.0);
                self.write_dest(writer, to)?;
                writer.string(Name::Info, if too_low { word::TOO_LOW } else { word::NOT_FOUND });
            }
            Body::RepNodes { .. } => {
                writer.kind(kind::REP_NODES);
                self.write_dest(writer, to)?;
                writer.field(Name::NodeList, format_args!("{}", NodeList(self, self.members)));
                let deleted = NodeSet::first(self.nodes.len()) - self.members;
                // Of nothing the original still says the blank.
                let blank = if deleted.is_empty() { " " } else { "" };
                writer.field(Name::DelNodeList, format_args!("{blank}{}", NodeList(self, deleted)));
            }
            Body::IpRequestResp { is_ok, .. } => {
                writer.kind(kind::IP_REQUEST_RESP);
                self.write_dest(writer, to)?;
                writer.string(Name::Key, self.group_key(packet.group?)?);
                writer.string(Name::WeOwn, "yes");
                if is_ok {
                    writer.string(Name::Ok, word::OK);
                }
            }
            _ => return None,
        }
        Some(())
    }

    /// What is meant for whoever hears it: `dest`, if any, comes behind.
    fn write_announcement(&self, writer: &mut Writer<'_>, packet: &Packet) -> Option<()> {
        match packet.body {
            Body::Status { status, dead_ms, has_protocol, is_nullbeat, extension } => {
                write_status(writer, status?, dead_ms, has_protocol);
                match extension {
                    Some(extension) => extension::write(&extension, |name, value| writer.field(name, value)),
                    None if is_nullbeat => extension::write_mark(|name, value| writer.field(name, value)),
                    None => {}
                }
            }
            Body::ReqNodes => writer.kind(kind::REQ_NODES),
            Body::AddNodes { nodes, .. } => {
                writer.kind(kind::ADD_NODE);
                writer.field(Name::NodeList, format_args!("{}", NodeList(self, nodes)));
            }
            Body::DelNodes { nodes, .. } => {
                writer.kind(kind::DEL_NODE);
                writer.field(Name::NodeList, format_args!("{}", NodeList(self, nodes)));
            }
            Body::SetWeight { weight, .. } => {
                writer.kind(kind::SET_WEIGHT);
                writer.string(Name::Node, self.node(packet.about?)?);
                writer.field(Name::Weight, format_args!("{weight}"));
            }
            Body::SetSite { .. } => {
                writer.kind(kind::SET_SITE);
                writer.string(Name::Node, self.node(packet.about?)?);
                writer.string(Name::Site, self.sites.get(usize::from(packet.about?.0))?);
            }
            Body::Starting => writer.kind(kind::STARTING),
            Body::ShutDone => {
                writer.kind(kind::SHUT_DONE);
                writer.string(Name::Status, NodeStatus::Dead.word());
            }
            Body::Stonith { result, .. } => {
                writer.kind(kind::STONITH);
                writer.string(Name::Node, self.node(packet.about?)?);
                writer.string(Name::Result, word::of(&word::STONITH, &result)?);
            }
            Body::IpRequest { .. } => {
                writer.kind(kind::IP_REQUEST);
                writer.string(Name::Key, self.group_key(packet.group?)?);
            }
            Body::Resource { .. } | Body::AskResources { .. } | Body::Takeover { .. } => {
                write_holdings(writer, &packet.body)?;
            }
            Body::Ipfail(word) => write_ipfail(writer, word),
            Body::ClientAnswer { client, asker, is_online } => {
                writer.kind(kind::CLIENT_ANSWER);
                writer.string(Name::Result, word::OK);
                writer.string(Name::Client, client.as_str());
                writer.string(Name::ToId, asker.as_str());
                writer.string(Name::ClientStatus, if is_online { "online" } else { "offline" });
            }
            _ => return None,
        }
        Some(())
    }
}

/// Words of a client called ipfail (spec/api.md 2.7, 2.8).
fn write_ipfail(writer: &mut Writer<'_>, word: IpfailWord) {
    match word {
        IpfailWord::Count(count) => {
            writer.kind(kind::PING_COUNT);
            writer.field(Name::PingCount, format_args!("{count}"));
        }
        IpfailWord::YouAreDead => writer.kind(kind::YOU_ARE_DEAD),
        IpfailWord::AbortGiveup => writer.kind(kind::ABORT_GIVEUP),
        IpfailWord::Join | IpfailWord::Leave => {
            let is_join = word == IpfailWord::Join;
            writer.kind(kind::CLIENT_STATE);
            writer.string(Name::Status, if is_join { word::JOIN } else { word::LEAVE });
            writer.string(Name::Info, if is_join { "signon" } else { "signoff" });
        }
    }
    writer.string(Name::FromId, word::IPFAIL);
    writer.string(Name::ToId, word::IPFAIL);
    writer.string(Name::ClientGeneration, "0");
}

fn write_status(writer: &mut Writer<'_>, status: NodeStatus, dead_ms: Option<u32>, has_protocol: bool) {
    writer.kind(kind::STATUS);
    writer.string(Name::Status, status.word());
    if let Some(dead_ms) = dead_ms {
        writer.hex(Name::DeadTime, dead_ms.into());
    }
    if has_protocol {
        writer.string(Name::Protocol, "1");
    }
}

/// The messages of spec/resources.md section 7 that name holdings.
fn write_holdings(writer: &mut Writer<'_>, body: &Body<'_>) -> Option<()> {
    match *body {
        Body::Resource { holds, is_full, is_stable, info } => {
            writer.kind(kind::RESOURCE);
            writer.string(Name::Hold, holds.word());
            if is_full {
                writer.string(Name::HoldType, word::FULL);
            }
            if let Some(is_stable) = is_stable {
                writer.string(Name::IsStable, if is_stable { "1" } else { "0" });
            }
            if info != ResourceInfo::None {
                writer.string(Name::Info, word::of(&word::RESOURCE, &info)?);
            }
        }
        Body::AskResources { set, word, only, after_failure } => {
            writer.kind(kind::ASK_RESOURCES);
            writer.string(Name::Hold, set.word());
            writer.string(Name::Info, word::of(&word::STANDBY, &word)?);
            if let Some(only) = only {
                writer.hex(Name::NbOnly, only.0);
            }
            if after_failure {
                writer.string(Name::NbWhy, word::FAILED);
            }
        }
        Body::Takeover { set } => {
            writer.kind(kind::TAKEOVER);
            if let Some(set) = set {
                writer.string(Name::Hold, set.word());
            }
        }
        _ => return None,
    }
    Some(())
}

/// The names of these, each followed by a blank (spec/wire.md 10.4).
pub(super) struct NodeList<'c>(pub(super) &'c Codec, pub(super) NodeSet);

impl fmt::Display for NodeList<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.1.iter().filter_map(|node| self.0.node(node)).try_for_each(|name| write!(f, "{name} "))
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Netstring,
    Text,
}

/// Writes fields in one form and, for the signature inside, digests them in the text form on the way.
pub(super) struct Writer<'o> {
    pub(super) out: Output<'o>,
    form: Form,
    inner: Option<Digest>,
}

impl<'o> Writer<'o> {
    pub(super) fn new(bytes: &'o mut [u8], form: Form, inner: Option<Digest>) -> Self {
        let mut out = Output::new(bytes);
        out.push(match form {
            Form::Netstring => netstring::START,
            Form::Text => text::START,
        });
        Self { out, form, inner }
    }

    pub(super) fn kind(&mut self, kind: &str) {
        self.string(Name::Type, kind);
    }

    pub(super) fn string(&mut self, name: Name, value: &str) {
        self.written(name, &|out| out.push(value.as_bytes()));
    }

    pub(super) fn hex(&mut self, name: Name, value: u64) {
        self.field(name, format_args!("{value:x}"));
    }

    fn field(&mut self, name: Name, value: fmt::Arguments<'_>) {
        self.written(name, &|out| out.format(value));
    }

    /// A string field.
    fn written(&mut self, name: Name, value: &dyn Fn(&mut Output<'_>)) {
        let start = self.out.len;
        if self.form == Form::Netstring {
            self.out.push(b"(0)");
        }
        let line = self.out.len;
        self.out.push(name.word().as_bytes());
        self.out.push(b"=");
        value(&mut self.out);
        match self.form {
            Form::Netstring => {
                if let Some(digest) = &mut self.inner {
                    let text = self.out.since(line);
                    if text.contains(&b'\n') {
                        for piece in text.split_inclusive(|byte| *byte == b'\n') {
                            let whole = piece.strip_suffix(b"\n");
                            digest.update(whole.unwrap_or(piece));
                            digest.update(if whole.is_some() { &[text::NEWLINE] } else { b"" });
                        }
                    } else {
                        digest.update(text);
                    }
                    digest.update(b"\n");
                }
                self.out.close_netstring(start);
            }
            Form::Text => {
                for byte in self.out.since_mut(line) {
                    if *byte == b'\n' {
                        *byte = text::NEWLINE;
                    }
                }
                self.out.push(b"\n");
                self.digest_since(line);
            }
        }
    }

    /// A field that stands in the text form already, newline included. `None`: it is none, or has a name of which only the
    /// daemon may say anything.
    fn line(&mut self, line: &[u8]) -> Option<()> {
        let start = self.out.len;
        let field = text::parse(line.strip_suffix(b"\n")?)?;
        let is_reserved = Name::of(field.name).is_some_and(Name::is_reserved);
        let is_broken = field.kind == Kind::StructText && !nested::is_text(field.value, Depth::OUTERMOST);
        if is_reserved || !is_name(field.name) || is_broken {
            return None;
        }
        if let Form::Text = self.form {
            self.out.push(line);
            self.digest_since(start);
            return Some(());
        }
        if let Some(digest) = &mut self.inner {
            digest.update(line);
        }
        nested::write_field(&mut self.out, &field, Depth::OUTERMOST)
    }

    /// A uuid: bytes in a netstring, Base64 in a line.
    fn uuid(&mut self, name: Name, uuid: Uuid) {
        let base64 = encode_uuid(uuid);
        let start = self.out.len;
        for part in [b"(1)", name.word().as_bytes(), b"="] {
            self.out.push(part);
        }
        match self.form {
            Form::Netstring => {
                self.digest_since(start);
                if let Some(digest) = &mut self.inner {
                    digest.update(&base64);
                    digest.update(b"\n");
                }
                self.out.push(&uuid.0);
                self.out.close_netstring(start);
            }
            Form::Text => {
                self.out.push(&base64);
                self.out.push(b"\n");
                self.digest_since(start);
            }
        }
    }

    /// Bytes as they are; for netstrings without a signature inside.
    fn bytes(&mut self, name: Name, value: &[u8]) {
        let start = self.out.len;
        for part in [b"(1)", name.word().as_bytes(), b"=", value] {
            self.out.push(part);
        }
        self.out.close_netstring(start);
    }

    fn digest_since(&mut self, start: usize) {
        if let Some(digest) = &mut self.inner {
            digest.update(self.out.since(start));
        }
    }

    /// Adds `auth` over all fields so far, if there is one in this form.
    pub(super) fn sign_inside(&mut self, number: u8) {
        if let Some(digest) = self.inner.take() {
            let digest = digest.finish();
            let digest = core::str::from_utf8(digest.as_bytes()).unwrap_or_default();
            self.field(Name::Auth, format_args!("{number} {digest}"));
        }
    }

    /// Ends a netstring packet with the signature over all of it.
    pub(super) fn sign_behind(&mut self, number: u8, key: &Key) {
        self.out.push(netstring::END);
        let mut digest = key.digest();
        digest.update(self.out.since(0));
        let start = self.out.len;
        self.out.format(format_args!("{number} "));
        self.out.push(digest.finish().as_bytes());
        self.out.close_netstring(start);
    }
}

/// Whether there is a field among these lines that holds another message, packed or not.
fn has_nested(lines: &[u8]) -> bool {
    lines.split(|byte| *byte == b'\n').any(|line| line.starts_with(b"(2)") || line.starts_with(b"(4)"))
}

/// Whether this can be the name of a program's field: nothing in it ends a line, begins or ends a message, or names a type.
pub(super) fn is_name(name: &[u8]) -> bool {
    let is_mark = [&b"("[..], b"<<<", b">>>"].iter().any(|mark| name.starts_with(mark));
    !is_mark && !name.iter().any(u8::is_ascii_control)
}

/// Bytes into a slice; once something did not fit nothing counts any more.
pub(super) struct Output<'o> {
    bytes: &'o mut [u8],
    len: usize,
    is_full: bool,
}

impl<'o> Output<'o> {
    pub(super) const fn new(bytes: &'o mut [u8]) -> Self {
        Self { bytes, len: 0, is_full: false }
    }

    pub(super) fn push(&mut self, more: &[u8]) {
        match self.bytes.get_mut(self.len..self.len + more.len()) {
            Some(room) if !self.is_full => {
                room.copy_from_slice(more);
                self.len += more.len();
            }
            _ => self.is_full = true,
        }
    }

    /// Forgets what was written since `start`, which was the length then.
    pub(super) fn truncate(&mut self, start: usize) {
        self.len = self.len.min(start);
    }

    /// These bytes in Base64.
    pub(super) fn push_as_base64(&mut self, bytes: &[u8]) {
        match self.bytes.get_mut(self.len..).and_then(|room| STANDARD.encode_slice(bytes, room).ok()) {
            Some(len) if !self.is_full => self.len += len,
            _ => self.is_full = true,
        }
    }

    /// What these characters stand for.
    pub(super) fn push_base64(&mut self, base64: &[u8]) -> Option<()> {
        let room = self.bytes.get_mut(self.len..)?;
        self.len += STANDARD.decode_slice(base64, room).ok()?;
        Some(())
    }

    pub(super) fn format(&mut self, value: fmt::Arguments<'_>) {
        if self.write_fmt(value).is_err() {
            self.is_full = true;
        }
    }

    pub(super) fn since(&self, start: usize) -> &[u8] {
        self.bytes.get(start..self.len).unwrap_or_default()
    }

    pub(super) fn since_mut(&mut self, start: usize) -> &mut [u8] {
        self.bytes.get_mut(start..self.len).unwrap_or_default()
    }

    /// Makes what was written since `start` a netstring: its length goes in front.
    pub(super) fn close_netstring(&mut self, start: usize) {
        let length = self.len.saturating_sub(start);
        let end = self.len;
        self.format(format_args!("{length}:"));
        if self.is_full {
            return;
        }
        let prefix = self.len - end;
        self.since_mut(start).rotate_right(prefix);
        self.push(b",");
    }

    /// Nothing counts any more.
    pub(super) const fn spoil(&mut self) {
        self.is_full = true;
    }

    pub(super) const fn len(&self) -> usize {
        self.len
    }

    pub(super) fn finish(self) -> Option<usize> {
        (!self.is_full).then_some(self.len)
    }
}

impl Write for Output<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.push(text.as_bytes());
        if self.is_full { Err(fmt::Error) } else { Ok(()) }
    }
}
