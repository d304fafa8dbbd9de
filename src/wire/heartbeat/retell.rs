//! What the compact format says, as Heartbeat's message, and back: clients and scripts know no other words.

use core::fmt::Write as _;

use super::encode::{Form, NodeList, Writer};
use super::{Codec, text};
use crate::core::ids::{NodeId, NodeSet};
use crate::core::message::{Body, Message, Packet};

/// Bytes of the longest text in a compact frame.
const TEXT_MAX: usize = crate::wire::compact::BODY_MAX;

impl Codec {
    /// Shows `say` what a packet says, with the texts that the core leaves to the encoder. `None`: it names a node or a
    /// group that does not exist, or a text is longer than any compact frame.
    pub fn with_texts<R>(&self, packet: &Packet, say: impl FnOnce(&Body<'_>) -> R) -> Option<R> {
        let list = |nodes| {
            let mut text = heapless::String::<TEXT_MAX>::new();
            write!(text, "{}", NodeList(self, nodes)).ok().map(|()| text)
        };
        let about = || self.node(packet.about?);
        let key = || self.group_key(packet.group?);
        Some(match packet.body {
            Body::RepNodes { .. } => {
                let (nodes, deleted) = (list(self.members)?, list(NodeSet::first(self.nodes.len()) - self.members)?);
                say(&Body::RepNodes { nodes: &nodes, deleted: &deleted })
            }
            Body::AddNodes { nodes, .. } => say(&Body::AddNodes { names: &list(nodes)?, nodes }),
            Body::DelNodes { nodes, .. } => say(&Body::DelNodes { names: &list(nodes)?, nodes }),
            Body::SetWeight { weight, .. } => say(&Body::SetWeight { node: about()?, weight }),
            Body::SetSite { .. } => {
                say(&Body::SetSite { node: about()?, site: self.sites.get(usize::from(packet.about?.0))? })
            }
            Body::Stonith { result, .. } => say(&Body::Stonith { node: about()?, result }),
            Body::IpRequest { group, .. } => say(&Body::IpRequest { key: key()?, group }),
            Body::IpRequestResp { group, is_ok, .. } => say(&Body::IpRequestResp { key: key()?, group, is_ok }),
            body => say(&body),
        })
    }

    /// The same message with our number of the group that it names by key.
    #[must_use]
    pub fn with_group<'a>(&self, message: Message<'a>) -> Message<'a> {
        let body = match message.body {
            Body::IpRequest { key, .. } => Body::IpRequest { key, group: self.group_of(key) },
            Body::IpRequestResp { key, is_ok, .. } => Body::IpRequestResp { key, group: self.group_of(key), is_ok },
            body => body,
        };
        Message { body, ..message }
    }

    /// Writes a message that has come in another format as it would stand on a serial line, without signature. `None`: it
    /// is nothing that clients or scripts hear, or `out` is too short.
    pub fn retell(&self, message: &Message<'_>, out: &mut [u8]) -> Option<usize> {
        let (body, about, group) = self.told(&message.body)?;
        let to = message.dest.and_then(|name| self.node_of(name));
        let packet = Packet { to, seq: message.seq, ts: message.ts, body, about, group };
        let mut writer = Writer::new(out, Form::Text, None);
        self.write_body(&mut writer, &packet)?;
        self.write_header(&mut writer, &packet, (message.src, message.src_uuid?, message.generation));
        writer.out.push(text::END);
        writer.out.finish()
    }

    fn node_of(&self, name: &str) -> Option<NodeId> {
        (0..).map(NodeId).zip(&self.nodes).find(|(_, node)| node.as_str() == name).map(|(node, _)| node)
    }

    /// What a body says, with numbers for names.
    fn told(&self, body: &Body<'_>) -> Option<Told> {
        let plain = |body| Some((body, None, None));
        match *body {
            Body::Status { status, dead_ms, has_protocol, is_nullbeat, extension } => {
                plain(Body::Status { status, dead_ms, has_protocol, is_nullbeat, extension })
            }
            Body::Ack { acked } => plain(Body::Ack { acked }),
            Body::RexmitRequest { first, last } => plain(Body::RexmitRequest { first, last }),
            Body::RexmitNak { first, too_low } => plain(Body::RexmitNak { first, too_low }),
            Body::Starting => plain(Body::Starting),
            Body::Resource { holds, is_full, is_stable, info } => {
                plain(Body::Resource { holds, is_full, is_stable, info })
            }
            Body::AskResources { set, word, only, after_failure } => {
                plain(Body::AskResources { set, word, only, after_failure })
            }
            Body::Takeover { set } => plain(Body::Takeover { set }),
            Body::ShutDone => plain(Body::ShutDone),
            Body::Ipfail(word) => plain(Body::Ipfail(word)),
            Body::ClientAnswer { client, asker, is_online } => plain(Body::ClientAnswer { client, asker, is_online }),
            Body::Stonith { node, result } => Some((Body::Stonith { node: "", result }, self.node_of(node), None)),
            Body::SetWeight { node, weight } => Some((Body::SetWeight { node: "", weight }, self.node_of(node), None)),
            Body::IpRequest { key, .. } => {
                let group = self.group_of(key);
                Some((Body::IpRequest { key: "", group }, None, group))
            }
            Body::IpRequestResp { key, is_ok, .. } => {
                let group = self.group_of(key);
                Some((Body::IpRequestResp { key: "", group, is_ok }, None, group))
            }
            Body::ReqNodes
            | Body::RepNodes { .. }
            | Body::AddNodes { .. }
            | Body::DelNodes { .. }
            | Body::SetSite { .. }
            | Body::ClientQuery { .. }
            | Body::Relayed { .. }
            | Body::Other { .. } => None,
        }
    }
}

/// Body, [`Packet::about`], [`Packet::group`].
type Told = (Body<'static>, Option<NodeId>, Option<crate::core::ids::GroupId>);
