//! Bytes to messages.

use super::fields::{Field, Fields, Kind, Name, Strings, decimal, hex};
use super::keys::{Digest, split_signature};
use super::reject::Reject;
use super::{Codec, PACKET_MAX, extension, kind, netstring, text, word};
use crate::core::ids::{Generation, GroupSet, KeyNumber, NodeSet, Seq};
use crate::core::message::{Body, ClientName, Holds, IpfailWord, Message, NodeStatus, ResourceInfo};

/// Bytes of a string with newlines that is passed on to scripts.
const STRING_MAX: usize = 1024;

impl Codec {
    /// The message in these bytes: one datagram, or one frame of a [`TextStream`](super::TextStream).
    ///
    /// `scratch` takes the few strings that the text form has altered; as long as `bytes` is always enough, and
    /// nothing at all is enough for whatever a daemon sends itself.
    ///
    /// # Errors
    /// Every reason not to believe or not to understand the bytes; drop them, count [`Reject::index`], and log at a
    /// limited rate.
    pub fn decode<'a>(&self, bytes: &'a [u8], scratch: &'a mut [u8]) -> Result<Message<'a>, Reject> {
        let (key, fields) = self.authentic_fields(bytes)?;
        // What has a header of its own is no wrapping, whatever a program has put into it.
        if fields.has(Name::CompressedPayload) && !fields.has(Name::Src) {
            return Err(Reject::Compressed);
        }
        let scratch = bytes.starts_with(text::START).then_some(scratch);
        self.message(key, &fields, &mut Strings { scratch })
    }

    /// The fields of a packet whose signature fits, and the key that made it.
    pub(super) fn authentic_fields<'a>(&self, bytes: &'a [u8]) -> Result<(KeyNumber, Fields<'a>), Reject> {
        if bytes.len() > PACKET_MAX {
            return Err(Reject::TooLong);
        }
        let marker = bytes.first_chunk().ok_or(Reject::TooShort)?;
        match marker {
            netstring::START => {
                let packet = netstring::split(bytes)?;
                let key = self.verify(packet.signature, |digest| digest.update(packet.signed))?;
                Ok((key, Fields::collect(packet.fields)?))
            }
            text::START => {
                let packet = text::split(bytes)?;
                let key = self.verify(packet.signature, |digest| packet.digest(digest))?;
                Ok((key, Fields::collect(packet.fields())?))
            }
            _ => Err(Reject::BadMarker),
        }
    }

    /// Passes on every string field of a packet, for scripts: all but its signature, as far as name and value are
    /// text. Only for bytes that [`Codec::decode`] or [`Codec::decode_expanded`] has accepted, or that were encoded here.
    pub fn strings(bytes: &[u8], each: &mut dyn FnMut(&str, &str)) {
        match bytes.first_chunk() {
            Some(netstring::START) => {
                let Ok(fields) = netstring::split_unsigned(bytes) else { return };
                fields.flatten().for_each(|field| pass_on(&field, false, each));
            }
            Some(text::START) => {
                let Ok(fields) = text::split_unsigned(bytes) else { return };
                fields.flatten().for_each(|field| pass_on(&field, true, each));
            }
            _ => {}
        }
    }

    /// Checks a signature with the method and key of the number it names (spec/wire.md 4.4), and returns that.
    pub(super) fn verify(&self, signature: &[u8], feed: impl FnOnce(&mut Digest)) -> Result<KeyNumber, Reject> {
        let (number, expected) = split_signature(signature).ok_or(Reject::Unsigned)?;
        let mut digest = self.keys.get(number).ok_or(Reject::UnknownKey { number })?.digest();
        feed(&mut digest);
        if digest.verify(expected) { Ok(KeyNumber(number)) } else { Err(Reject::BadDigest { number }) }
    }

    /// The standard fields (spec/wire.md section 6).
    pub(super) fn message<'a>(
        &self,
        key: KeyNumber,
        fields: &Fields<'a>,
        strings: &mut Strings<'a>,
    ) -> Result<Message<'a>, Reject> {
        if let Some(name) = fields.doubled() {
            return Err(Reject::Doubled(name.word()));
        }
        let src = strings.get(fields, Name::Src)?;
        let kind = strings.get(fields, Name::Type)?;
        let ts = narrow(fields, Name::Time)?;
        if ts == 0 {
            return Err(Reject::BadValue(Name::Time.word()));
        }
        let seq = if kind.starts_with(kind::UNSEQUENCED) { None } else { Some(seq(fields, Name::Seq)?) };
        let generation = if fields.has(Name::Generation) { narrow(fields, Name::Generation)? } else { 0 };
        let dest = if fields.raw(Name::Dest).is_some() { Some(strings.get(fields, Name::Dest)?) } else { None };
        Ok(Message {
            src,
            src_uuid: fields.uuid(Name::SrcUuid),
            dest,
            dest_uuid: fields.uuid(Name::DestUuid),
            seq,
            generation: Generation(generation),
            ts,
            key,
            news: if fields.has(Name::NbNews) { strings.get(fields, Name::NbNews).ok() } else { None },
            compact: fields.raw(Name::NbCompact).and_then(decimal).and_then(|version| u8::try_from(version).ok()),
            body: self.body(kind, fields, strings)?,
        })
    }

    fn body<'a>(&self, kind: &'a str, fields: &Fields<'a>, strings: &mut Strings<'a>) -> Result<Body<'a>, Reject> {
        // A program's words are for programs, whatever they sound like.
        if fields.has(Name::ClientGeneration) && fields.has(Name::FromId) && !kind::is_of_clients(kind) {
            return Ok(Body::Other { kind });
        }
        match kind {
            kind::ACK => Ok(Body::Ack { acked: seq(fields, Name::AckSeq)? }),
            kind::REXMIT => Ok(Body::RexmitRequest {
                // The only sequence numbers in decimal (spec/wire.md 8.4).
                first: Seq(fields.decimal(Name::FirstSeq)?),
                last: Seq(fields.decimal(Name::LastSeq)?),
            }),
            kind::NAK => Ok(Body::RexmitNak {
                first: seq(fields, Name::FirstSeq)?,
                too_low: fields.raw(Name::Info) == Some(word::TOO_LOW.as_bytes()),
            }),
            // What has a sequence number must come out as something, or the core would ask for it again for ever.
            _ => Ok(self.sequenced(kind, fields, strings).unwrap_or(Body::Other { kind })),
        }
    }

    /// `None`: not one of these types, or without what it needs; the original ignores those, too.
    fn sequenced<'a>(&self, kind: &str, fields: &Fields<'a>, strings: &mut Strings<'a>) -> Option<Body<'a>> {
        Some(match kind {
            kind::STATUS => self.status(fields)?,
            kind::REQ_NODES => Body::ReqNodes,
            kind::REP_NODES => Body::RepNodes {
                nodes: strings.get(fields, Name::NodeList).ok()?,
                deleted: strings.get(fields, Name::DelNodeList).unwrap_or_default(),
            },
            kind::ADD_NODE => {
                Body::AddNodes { names: strings.get(fields, Name::NodeList).ok()?, nodes: NodeSet::EMPTY }
            }
            kind::DEL_NODE => {
                Body::DelNodes { names: strings.get(fields, Name::NodeList).ok()?, nodes: NodeSet::EMPTY }
            }
            kind::SET_WEIGHT => Body::SetWeight {
                node: strings.get(fields, Name::Node).ok()?,
                weight: fields.decimal(Name::Weight).ok()?.try_into().ok()?,
            },
            kind::SET_SITE => Body::SetSite {
                node: strings.get(fields, Name::Node).ok()?,
                site: strings.get(fields, Name::Site).ok()?,
            },
            kind::STARTING => Body::Starting,
            kind::RESOURCE => resource(fields)?,
            kind::ASK_RESOURCES => self.ask_resources(fields)?,
            kind::TAKEOVER => Body::Takeover { set: takeover_set(fields.raw(Name::Hold))? },
            kind::IP_REQUEST => {
                let key = strings.get(fields, Name::Key).ok()?;
                Body::IpRequest { key, group: self.group_of(key) }
            }
            kind::IP_REQUEST_RESP => Body::IpRequestResp {
                key: strings.get(fields, Name::Key).ok()?,
                group: self.group_of(strings.get(fields, Name::Key).ok()?),
                is_ok: fields.raw(Name::Ok) == Some(word::OK.as_bytes()),
            },
            kind::SHUT_DONE => Body::ShutDone,
            kind::STONITH => Body::Stonith {
                node: strings.get(fields, Name::Node).ok()?,
                result: word::value(&word::STONITH, fields.raw(Name::Result)?)?,
            },
            kind::PING_COUNT | kind::YOU_ARE_DEAD | kind::ABORT_GIVEUP | kind::CLIENT_STATE => {
                Body::Ipfail(ipfail_word(kind, fields)?)
            }
            kind::CLIENT_QUERY => Body::ClientQuery {
                client: strings.get(fields, Name::Client).ok()?,
                asker: strings.get(fields, Name::FromId).ok()?,
            },
            kind::CLIENT_ANSWER => Body::ClientAnswer {
                client: ClientName::new(strings.get(fields, Name::Client).ok()?)?,
                asker: ClientName::new(strings.get(fields, Name::ToId).ok()?)?,
                is_online: match fields.raw(Name::ClientStatus)? {
                    b"online" => true,
                    b"offline" => false,
                    _ => return None,
                },
            },
            _ => return None,
        })
    }

    fn status<'a>(&self, fields: &Fields<'a>) -> Option<Body<'a>> {
        let word = fields.raw(Name::Status)?;
        let (is_nullbeat, extension) = extension::read(fields).unwrap_or_else(|extension::Malformed| {
            self.count_extension_error();
            (false, None)
        });
        Some(Body::Status {
            status: word::STATUSES.into_iter().find(|status: &NodeStatus| status.word().as_bytes() == word),
            dead_ms: narrow(fields, Name::DeadTime).ok(),
            has_protocol: fields.raw(Name::Protocol).is_some(),
            is_nullbeat,
            extension,
        })
    }

    fn ask_resources<'a>(&self, fields: &Fields<'a>) -> Option<Body<'a>> {
        let word = word::value(&word::STANDBY, fields.raw(Name::Info)?)?;
        let Some((only, after_failure)) = hand_over_extension(fields) else {
            // Without knowing which groups are meant none must move.
            self.count_extension_error();
            return None;
        };
        // Missing is all, an unknown word is none (spec/resources.md section 7).
        let set = fields.raw(Name::Hold).map_or(Holds::ALL, holds);
        Some(Body::AskResources { set, word, only, after_failure })
    }
}

/// One string field with the newlines that the text form has hidden.
fn pass_on(field: &Field<'_>, is_text: bool, each: &mut dyn FnMut(&str, &str)) {
    let (Kind::Text, Ok(name), Ok(value)) = (field.kind, str::from_utf8(field.name), str::from_utf8(field.value))
    else {
        return;
    };
    if name == Name::Auth.word() {
        return;
    }
    if !is_text || !field.value.contains(&text::NEWLINE) {
        return each(name, value);
    }
    // A copy of limited length: longer texts with newlines are nobody's words.
    let mut copy: heapless::String<STRING_MAX> = heapless::String::new();
    if value.chars().all(|byte| copy.push(if byte == char::from(text::NEWLINE) { '\n' } else { byte }).is_ok()) {
        each(name, &copy);
    }
}

/// What a client called ipfail says; other clients' words mean nothing to us.
fn ipfail_word(kind: &str, fields: &Fields<'_>) -> Option<IpfailWord> {
    if fields.raw(Name::FromId)? != word::IPFAIL.as_bytes() {
        return None;
    }
    Some(match (kind, fields.raw(Name::Status)) {
        (kind::PING_COUNT, _) => IpfailWord::Count(u32::try_from(fields.decimal(Name::PingCount).ok()?).ok()?),
        (kind::YOU_ARE_DEAD, _) => IpfailWord::YouAreDead,
        (kind::ABORT_GIVEUP, _) => IpfailWord::AbortGiveup,
        (_, Some(state)) if state == word::JOIN.as_bytes() => IpfailWord::Join,
        (_, Some(state)) if state == word::LEAVE.as_bytes() => IpfailWord::Leave,
        _ => return None,
    })
}

/// A hex number of 32 bits.
pub(super) fn narrow(fields: &Fields<'_>, name: Name) -> Result<u32, Reject> {
    u32::try_from(fields.hex(name)?).map_err(|_| Reject::BadValue(name.word()))
}

/// A sequence number in hex; they begin at 1 (spec/wire.md 8.3 step 3).
fn seq(fields: &Fields<'_>, name: Name) -> Result<Seq, Reject> {
    match fields.hex(name)? {
        0 => Err(Reject::BadValue(name.word())),
        number => Ok(Seq(number)),
    }
}

/// An unknown word counts as none (spec/resources.md section 7).
fn holds(word: &[u8]) -> Holds {
    core::str::from_utf8(word).ok().and_then(Holds::from_word).unwrap_or(Holds::NONE)
}

fn resource<'a>(fields: &Fields<'a>) -> Option<Body<'a>> {
    Some(Body::Resource {
        holds: holds(fields.raw(Name::Hold)?),
        is_full: fields.raw(Name::HoldType) == Some(word::FULL.as_bytes()),
        is_stable: match fields.raw(Name::IsStable) {
            Some(b"0") => Some(false),
            Some(b"1") => Some(true),
            _ => None,
        },
        info: fields
            .raw(Name::Info)
            .map_or(ResourceInfo::None, |info| word::value(&word::RESOURCE, info).unwrap_or(ResourceInfo::Other)),
    })
}

/// What `hb_takeover` asks for: absent and `failback` are everything, a strange word is nothing (spec/resources.md 5.3).
fn takeover_set(word: Option<&[u8]>) -> Option<Option<Holds>> {
    match word {
        None => Some(None),
        Some(word) if word.is_empty() || word == word::FAILBACK.as_bytes() => Some(None),
        Some(word) => Holds::from_word(core::str::from_utf8(word).ok()?).map(Some),
    }
}

/// `nb_only` and `nb_why`; `None` when they cannot be understood.
fn hand_over_extension(fields: &Fields<'_>) -> Option<(Option<GroupSet>, bool)> {
    let only = if fields.has(Name::NbOnly) { Some(GroupSet(hex(fields.raw(Name::NbOnly)?)?)) } else { None };
    let after_failure = fields.has(Name::NbWhy);
    if after_failure && fields.raw(Name::NbWhy)? != word::FAILED.as_bytes() {
        return None;
    }
    Some((only, after_failure))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(bytes: &[u8]) -> Vec<(String, String)> {
        let mut found = Vec::new();
        Codec::strings(bytes, &mut |name, value| found.push((name.to_owned(), value.to_owned())));
        found
    }

    #[test]
    fn strings_are_passed_on_from_either_form_without_signature_and_binaries() {
        let expected = [("t", "x"), ("info", "a=b"), ("src", "beta")].map(|(a, b)| (a.to_owned(), b.to_owned()));
        let text = b">>>\nt=x\ninfo=a=b\n(1)srcuuid=AAAA\nsrc=beta\nauth=1 abc\n<<<\n";
        assert_eq!(strings(text), expected);
        let datagram = b"###\n6:(0)t=x,11:(0)info=a=b,10:(1)bin=\x00\x01\x02,11:(0)src=beta,%%%\n5:1 abc,";
        assert_eq!(strings(datagram), expected);
    }

    #[test]
    fn strings_get_their_newlines_back_and_must_be_text() {
        let text = b">>>\nt=x\na=one\x13two\nb=\xff\nauth=1 abc\n<<<\n";
        assert_eq!(strings(text).last().map(|(name, value)| (name.as_str(), value.as_str())), Some(("a", "one\ntwo")));
        let long = format!(">>>\nt=x\na={}\x13\nauth=1 abc\n<<<\n", "y".repeat(STRING_MAX));
        assert_eq!(strings(long.as_bytes()).len(), 1, "left out");
        for bad in [&b""[..], b"###", b">>>\nt=x\n", b"###\n99:"] {
            assert_eq!(strings(bad), []);
        }
    }
}
