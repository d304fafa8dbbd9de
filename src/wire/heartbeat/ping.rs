//! What an echo request to a ping node carries, and its answer brings back (spec/wire.md 11.6): a small signed packet.

use super::decode::narrow;
use super::encode::{Form, Writer};
use super::fields::{Fields, Name, Strings};
use super::reject::Reject;
use super::{Codec, kind, netstring, word};
use crate::core::message::PingKind;

impl Codec {
    /// Writes the data of an echo request to the ping node `name`. Returns its length; `None` when `out` is too small.
    ///
    /// It is signed twice even with `msgfmt netstring` (spec/wire.md 3.3).
    pub fn encode_ping(&self, name: &str, kind: PingKind, ts: u32, out: &mut [u8]) -> Option<usize> {
        let (number, key) = self.keys.signing()?;
        let mut writer = Writer::new(out, Form::Netstring, Some(key.digest()));
        writer.kind(kind::PING);
        writer.string(Name::Status, word::PING);
        writer.string(Name::Info, kind.word());
        writer.string(Name::Src, name);
        writer.hex(Name::Time, ts.into());
        writer.sign_inside(number);
        writer.sign_behind(number, key);
        writer.out.finish()
    }

    /// Checks the data of an echo that came from the ping node `name`.
    ///
    /// # Errors
    /// Every reason not to take it for an answer to [`Codec::encode_ping`] with the same name and kind.
    pub fn check_ping(&self, bytes: &[u8], name: &str, kind: PingKind) -> Result<(), Reject> {
        let marker = bytes.first_chunk().ok_or(Reject::TooShort)?;
        if marker != netstring::START {
            return Err(Reject::BadMarker);
        }
        let packet = netstring::split(bytes)?;
        self.verify(packet.signature, |digest| digest.update(packet.signed))?;
        let fields = Fields::collect(packet.fields)?;
        let mut strings = Strings { scratch: None };
        let wanted =
            [(Name::Type, kind::PING), (Name::Status, word::PING), (Name::Info, kind.word()), (Name::Src, name)];
        for (field, value) in wanted {
            if strings.get(&fields, field)? != value {
                return Err(Reject::BadValue(field.word()));
            }
        }
        narrow(&fields, Name::Time).map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Keys, Method, Setup};
    use super::*;
    use crate::core::ids::{Generation, NodeId, NodeName, Uuid};
    use crate::core::settings::Identity;

    fn codec(key: &[u8], is_netstring: bool) -> Codec {
        let mut keys = Keys::new(1);
        keys.add(1, Method::Sha1, key).unwrap();
        let nodes: [NodeName; 2] = ["alpha", "beta"].map(|name| name.try_into().unwrap());
        let identity = Identity { uuid: Uuid([1; 16]), generation: Generation(1) };
        let setup =
            Setup { keys, nodes: &nodes, local: NodeId(0), identity, group_keys: &[], hopfudge: 1, is_netstring };
        Codec::new(setup).unwrap()
    }

    #[test]
    fn echo_has_the_fields_of_the_original_in_either_format() {
        for is_netstring in [false, true] {
            let mut out = [0; 512];
            let len =
                codec(b"k", is_netstring).encode_ping("10.77.0.2", PingKind::Ping, 0x6b03_1d0b, &mut out).unwrap();
            let text = String::from_utf8_lossy(&out[..len]);
            let begins = "###\n10:(0)t=NS_st,10:(0)st=ping,12:(0)info=ping,16:(0)src=10.77.0.2,14:(0)ts=6b031d0b,";
            assert!(text.starts_with(begins), "{text}");
            assert!(text[begins.len()..].starts_with("50:(0)auth=1 "), "{text}");
            assert_eq!(codec(b"k", !is_netstring).check_ping(&out[..len], "10.77.0.2", PingKind::Ping), Ok(()));
        }
    }

    #[test]
    fn echo_of_another_node_kind_or_key_is_refused() {
        let codec_here = codec(b"k", false);
        let mut out = [0; 512];
        let len = codec_here.encode_ping("gw", PingKind::Group, 1, &mut out).unwrap();
        let check = |codec: &Codec, name, kind| codec.check_ping(&out[..len], name, kind);
        assert_eq!(check(&codec_here, "gw", PingKind::Group), Ok(()));
        assert_eq!(check(&codec_here, "gw2", PingKind::Group), Err(Reject::BadValue("src")));
        assert_eq!(check(&codec_here, "gw", PingKind::Ping6), Err(Reject::BadValue("info")));
        assert_eq!(check(&codec(b"other", false), "gw", PingKind::Group), Err(Reject::BadDigest { number: 1 }));
        for cut in 0..len {
            assert!(codec_here.check_ping(&out[..cut], "gw", PingKind::Group).is_err(), "{cut}");
        }
        assert_eq!(codec_here.encode_ping("gw", PingKind::Group, 1, &mut [0; 40]), None);
    }
}
