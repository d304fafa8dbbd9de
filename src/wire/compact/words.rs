//! All messages but the beat: wall clock, then the fields of the type.

use super::bytes::{Reader, Writer};
use super::kind;
use crate::core::ids::{GroupSet, NodeSet, Seq};
use crate::core::message::{Body, ClientName, Holds, IpfailWord, ResourceInfo, StandbyWord, StonithResult};

const STANDBY: [StandbyWord; 4] = [StandbyWord::Me, StandbyWord::Other, StandbyWord::Done, StandbyWord::Not];
const INFOS: [ResourceInfo; 6] = [
    ResourceInfo::None,
    ResourceInfo::Standby,
    ResourceInfo::Shutdown,
    ResourceInfo::MachDown,
    ResourceInfo::ReqOurResources,
    ResourceInfo::Other,
];
const RESULTS: [StonithResult; 5] = [
    StonithResult::Ok,
    StonithResult::Bad,
    StonithResult::BadHost,
    StonithResult::NotConfigured,
    StonithResult::Unneeded,
];

/// The kind of frame that says this. `None`: a beat, or what is no word between two nullbeats but of their clients.
pub(super) const fn kind_of(body: &Body<'_>) -> Option<u8> {
    Some(match body {
        Body::Ack { .. } => kind::ACK,
        Body::RexmitRequest { .. } => kind::REXMIT,
        Body::RexmitNak { .. } => kind::NAK,
        Body::ReqNodes => kind::REQ_NODES,
        Body::RepNodes { .. } => kind::REP_NODES,
        Body::AddNodes { .. } => kind::ADD_NODES,
        Body::DelNodes { .. } => kind::DEL_NODES,
        Body::SetWeight { .. } => kind::SET_WEIGHT,
        Body::SetSite { .. } => kind::SET_SITE,
        Body::Starting => kind::STARTING,
        Body::Resource { .. } => kind::RESOURCE,
        Body::AskResources { .. } => kind::ASK_RESOURCES,
        Body::Takeover { .. } => kind::TAKEOVER,
        Body::IpRequest { .. } => kind::IP_REQUEST,
        Body::IpRequestResp { .. } => kind::IP_REQUEST_RESP,
        Body::ShutDone => kind::SHUT_DONE,
        Body::Stonith { .. } => kind::STONITH,
        Body::Ipfail(_) => kind::IPFAIL,
        Body::ClientQuery { .. } => kind::CLIENT_QUERY,
        Body::ClientAnswer { .. } => kind::CLIENT_ANSWER,
        Body::Status { .. } | Body::Relayed { .. } | Body::Other { .. } => return None,
    })
}

/// Whether a message of this kind has no sequence number.
pub(super) const fn is_unsequenced(kind: u8) -> bool {
    matches!(kind, kind::ACK | kind::REXMIT | kind::NAK)
}

fn place<T: PartialEq>(table: &[T], value: &T) -> u8 {
    table.iter().position(|other| other == value).and_then(|place| u8::try_from(place).ok()).unwrap_or(u8::MAX)
}

fn holds_code(holds: Holds) -> u8 {
    u8::from(holds.local) | u8::from(holds.foreign) << 1
}

fn holds_of(code: u8) -> Option<Holds> {
    (code < 4).then_some(Holds { local: code & 1 != 0, foreign: code & 2 != 0 })
}

fn truth(code: u8) -> Option<bool> {
    (code < 2).then_some(code == 1)
}

/// Writes the fields of a message; of those without a kind, nothing.
pub(super) fn write(body: &Body<'_>, out: &mut Writer<'_>) {
    match body {
        Body::Ack { acked } => out.put_u64(acked.0),
        Body::RexmitRequest { first, last } => [first, last].iter().for_each(|seq| out.put_u64(seq.0)),
        Body::RexmitNak { first, too_low } => {
            out.put_u64(first.0);
            out.put_u8(u8::from(*too_low));
        }
        Body::RepNodes { nodes, deleted } => [nodes, deleted].iter().for_each(|names| out.put_text(names)),
        Body::AddNodes { names, .. } | Body::DelNodes { names, .. } => out.put_text(names),
        Body::SetWeight { node, weight } => {
            out.put_text(node);
            out.put_u32(*weight);
        }
        Body::SetSite { node, site } => [node, site].iter().for_each(|text| out.put_text(text)),
        Body::Resource { holds, is_full, is_stable, info } => {
            let stable = is_stable.map_or(0, |is_stable| 1 + u8::from(is_stable));
            out.put(&[holds_code(*holds), u8::from(*is_full), stable, place(&INFOS, info)]);
        }
        Body::AskResources { set, word, only, after_failure } => {
            let is_partial = u8::from(only.is_some());
            out.put(&[holds_code(*set), place(&STANDBY, word), u8::from(*after_failure), is_partial]);
            out.put_u64(only.unwrap_or_default().0);
        }
        Body::Takeover { set } => out.put_u8(set.map_or(4, holds_code)),
        Body::IpRequest { key, .. } => out.put_text(key),
        Body::IpRequestResp { key, is_ok, .. } => {
            out.put_text(key);
            out.put_u8(u8::from(*is_ok));
        }
        Body::Stonith { node, result } => {
            out.put_text(node);
            out.put_u8(place(&RESULTS, result));
        }
        Body::Ipfail(word) => {
            let (code, count) = match word {
                IpfailWord::Count(count) => (0, *count),
                IpfailWord::YouAreDead => (1, 0),
                IpfailWord::AbortGiveup => (2, 0),
                IpfailWord::Join => (3, 0),
                IpfailWord::Leave => (4, 0),
            };
            out.put_u8(code);
            out.put_u32(count);
        }
        Body::ClientQuery { client, asker } => [client, asker].iter().for_each(|name| out.put_text(name)),
        Body::ClientAnswer { client, asker, is_online } => {
            [client, asker].iter().for_each(|name| out.put_text(name.as_str()));
            out.put_u8(u8::from(*is_online));
        }
        Body::ReqNodes
        | Body::Starting
        | Body::ShutDone
        | Body::Status { .. }
        | Body::Relayed { .. }
        | Body::Other { .. } => {}
    }
}

/// The fields of a message of that kind. `None`: they make no sense.
pub(super) fn read<'b>(kind: u8, bytes: &'b [u8]) -> Option<Body<'b>> {
    let reader = &mut Reader(bytes);
    let body = match kind {
        kind::ACK => Body::Ack { acked: Seq(reader.u64()?) },
        kind::REXMIT => Body::RexmitRequest { first: Seq(reader.u64()?), last: Seq(reader.u64()?) },
        kind::NAK => Body::RexmitNak { first: Seq(reader.u64()?), too_low: truth(reader.u8()?)? },
        kind::REQ_NODES => Body::ReqNodes,
        kind::STARTING => Body::Starting,
        kind::SHUT_DONE => Body::ShutDone,
        kind::REP_NODES..=kind::SET_SITE => read_nodes(kind, reader)?,
        kind::RESOURCE..=kind::IP_REQUEST_RESP => read_resources(kind, reader)?,
        _ => read_other(kind, reader)?,
    };
    reader.end()?;
    Some(body)
}

fn read_nodes<'b>(kind: u8, reader: &mut Reader<'b>) -> Option<Body<'b>> {
    Some(match kind {
        kind::REP_NODES => Body::RepNodes { nodes: reader.text()?, deleted: reader.text()? },
        kind::ADD_NODES => Body::AddNodes { names: reader.text()?, nodes: NodeSet::EMPTY },
        kind::DEL_NODES => Body::DelNodes { names: reader.text()?, nodes: NodeSet::EMPTY },
        kind::SET_WEIGHT => Body::SetWeight { node: reader.text()?, weight: reader.u32()? },
        _ => Body::SetSite { node: reader.text()?, site: reader.text()? },
    })
}

fn read_resources<'b>(kind: u8, reader: &mut Reader<'b>) -> Option<Body<'b>> {
    Some(match kind {
        kind::RESOURCE => {
            let [holds, full, stable, info] = reader.array()?;
            Body::Resource {
                holds: holds_of(holds)?,
                is_full: truth(full)?,
                is_stable: if stable == 0 { None } else { Some(truth(stable - 1)?) },
                info: *INFOS.get(usize::from(info))?,
            }
        }
        kind::ASK_RESOURCES => {
            let [set, word, failure, partial] = reader.array()?;
            let only = GroupSet(reader.u64()?);
            let is_partial = truth(partial)?;
            if !is_partial && !only.is_empty() {
                return None;
            }
            Body::AskResources {
                set: holds_of(set)?,
                word: *STANDBY.get(usize::from(word))?,
                only: is_partial.then_some(only),
                after_failure: truth(failure)?,
            }
        }
        kind::TAKEOVER => {
            let code = reader.u8()?;
            Body::Takeover { set: if code == 4 { None } else { Some(holds_of(code)?) } }
        }
        kind::IP_REQUEST => Body::IpRequest { key: reader.text()?, group: None },
        _ => Body::IpRequestResp { key: reader.text()?, group: None, is_ok: truth(reader.u8()?)? },
    })
}

fn read_other<'b>(kind: u8, reader: &mut Reader<'b>) -> Option<Body<'b>> {
    Some(match kind {
        kind::STONITH => Body::Stonith { node: reader.text()?, result: *RESULTS.get(usize::from(reader.u8()?))? },
        kind::IPFAIL => Body::Ipfail(match (reader.u8()?, reader.u32()?) {
            (0, count) => IpfailWord::Count(count),
            (1, 0) => IpfailWord::YouAreDead,
            (2, 0) => IpfailWord::AbortGiveup,
            (3, 0) => IpfailWord::Join,
            (4, 0) => IpfailWord::Leave,
            _ => return None,
        }),
        kind::CLIENT_QUERY => Body::ClientQuery { client: reader.text()?, asker: reader.text()? },
        kind::CLIENT_ANSWER => Body::ClientAnswer {
            client: ClientName::new(reader.text()?)?,
            asker: ClientName::new(reader.text()?)?,
            is_online: truth(reader.u8()?)?,
        },
        _ => return None,
    })
}
