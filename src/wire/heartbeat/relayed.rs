//! What is passed on for programs: can every node take it? (spec/api.md 2.7)

use super::Codec;
use crate::core::ids::{NodeId, RelayId, Seq};
use crate::core::message::{Body, Packet};

/// Bytes by which a message may grow until it is sent again: another load average, a receiver whose uuid is known by then.
const GROWTH: usize = 128;

impl Codec {
    /// Whether every node can read a program's message in either form: `lines` as for [`Codec::encode_datagram_with`].
    ///
    /// To be asked before the message gets its sequence number. One that nobody can read is asked for again for ever, and
    /// whatever comes behind it is not acknowledged.
    ///
    /// `room` is as long as the longest packet may be: [`TEXT_FRAME_MAX`](super::TEXT_FRAME_MAX) where there is a serial
    /// line, else [`PACKET_MAX`](super::PACKET_MAX). Some bytes of it are kept for what the message may grow by.
    pub fn can_relay(&self, to: Option<NodeId>, lines: &[u8], room: &mut [u8], scratch: &mut [u8]) -> bool {
        let seq = Some(Seq(u64::MAX));
        let body = Body::Relayed { id: RelayId(0) };
        let packet = Packet { to, seq, ts: u32::MAX, body, about: None, group: None };
        let limit = room.len().saturating_sub(GROWTH);
        let Some(room) = room.get_mut(..limit) else { return false };
        let mut is_readable = |len: Option<usize>, bytes: &[u8]| {
            let message = len.and_then(|len| self.decode(bytes.get(..len)?, scratch).ok());
            message.is_some_and(|message| {
                message.seq == seq
                    && message.generation == self.identity.generation
                    && message.src_uuid == Some(self.identity.uuid)
                    && self.node(self.local) == Some(message.src)
            })
        };
        let len = self.encode_serial_with(&packet, lines, room);
        let is_readable_as_text = is_readable(len, room);
        let len = self.encode_datagram_with(&packet, lines, room);
        is_readable_as_text && is_readable(len, room)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{ClientMessage, ClientText, ENCODED_MAX, Keys, Method, Reject, Setup, TEXT_FRAME_MAX, Unfit};
    use super::*;
    use crate::core::ids::{Generation, Uuid};
    use crate::core::settings::Identity;

    fn codec() -> Codec {
        let mut keys = Keys::new(1);
        keys.add(1, Method::Sha1, b"no secret").unwrap();
        let nodes = ["alpha", "beta"].map(|name| name.try_into().unwrap());
        let identity = Identity { uuid: Uuid([1; 16]), generation: Generation(5) };
        let setup = Setup {
            keys,
            nodes: &nodes,
            local: NodeId(0),
            identity,
            group_keys: &[],
            hopfudge: 1,
            is_netstring: false,
        };
        Codec::new(setup).unwrap()
    }

    fn can_relay(lines: &[u8]) -> bool {
        codec().can_relay(None, lines, &mut [0; ENCODED_MAX], &mut [0; TEXT_FRAME_MAX])
    }

    /// The bytes of a message of these lines in both forms.
    fn forms(lines: &[u8]) -> Vec<Vec<u8>> {
        let body = Body::Relayed { id: RelayId(1) };
        let packet = Packet { to: None, seq: Some(Seq(9)), ts: 1_800_000_000, body, about: None, group: None };
        let mut room = vec![0; ENCODED_MAX];
        let mut forms = Vec::new();
        for is_text in [false, true] {
            let len = if is_text {
                codec().encode_serial_with(&packet, lines, &mut room)
            } else {
                codec().encode_datagram_with(&packet, lines, &mut room)
            };
            forms.extend(len.map(|len| room[..len].to_vec()));
        }
        forms
    }

    fn netstring(fields: &[&str]) -> Vec<u8> {
        let fields: String = fields.iter().map(|field| format!("{}:{field},", field.len())).collect();
        format!("###\n{fields}%%%\n").into_bytes()
    }

    #[test]
    fn message_of_many_short_fields_is_refused_when_one_form_is_too_long() {
        let fields = |count: usize| format!("t=x\n{}from_id=mine\nto_id=mine\nclient_gen=1\n", "a=\n".repeat(count));
        assert!(can_relay(fields(800).as_bytes()));
        assert_eq!(forms(fields(1990).as_bytes()).len(), 1, "one form fits");
        assert!(!can_relay(fields(1990).as_bytes()));
        // Whatever passes can still be said under a longer load average.
        let most = (800..1990).take_while(|count| can_relay(fields(*count).as_bytes())).last().unwrap();
        let mut codec = codec();
        codec.set_load(&"9".repeat(60));
        let body = Body::Relayed { id: RelayId(1) };
        let packet = Packet { to: None, seq: Some(Seq(u64::MAX)), ts: u32::MAX, body, about: None, group: None };
        assert!(codec.encode_datagram_with(&packet, fields(most).as_bytes(), &mut [0; ENCODED_MAX]).is_some());
    }

    #[test]
    fn nested_message_is_read_in_both_forms_and_signed_inside_only_as_text() {
        let lines = b"t=x\n(2)sub=>>>\x14(2)deep=>>>\x15a=1\x15<<<\x15\x14<<<\x14\nfrom_id=mine\n";
        assert!(can_relay(lines));
        let [datagram, serial] = &forms(lines)[..] else { panic!("both forms") };
        assert!(datagram.windows(18).any(|bytes| bytes == b"(2)deep=###\n6:(0)a"), "{}", datagram.escape_ascii());
        let has_auth = |bytes: &[u8]| bytes.windows(5).any(|bytes| bytes == b"auth=");
        assert!(!has_auth(datagram) && has_auth(serial), "as the original does it (spec/wire.md 3.3)");
    }

    #[test]
    fn line_with_a_name_of_the_header_is_never_signed() {
        for name in ["src", "seq", "hg", "ts", "ld", "ttl", "auth", "dest", "_compressed_payload"] {
            for line in [format!("{name}=7fffffff"), format!("(1){name}=AAAA"), format!("(3){name}=1:a,")] {
                let lines = format!("t=x\n{line}\nfrom_id=mine\n");
                assert_eq!(forms(lines.as_bytes()), [[0; 0]; 0], "{line}");
                assert!(!can_relay(lines.as_bytes()), "{line}");
            }
        }
        for line in
            ["(1)srcuuid=AAAA", "(1)destuuid=AAAA", "no field", "=no name", "<<<x=1", ">>>x=1", "(2)x=a", "x\r=1"]
        {
            let lines = format!("t=x\n{line}\nfrom_id=mine\n");
            assert_eq!(forms(lines.as_bytes()), [[0; 0]; 0], "{line}");
        }
        assert!(!can_relay(b""));
        assert!(!can_relay(b"(1)t=AAAA\nfrom_id=mine\n"), "its type is no text");
        assert!(!can_relay(b"t=\xff\nfrom_id=mine\n"), "nor is this");
    }

    #[test]
    fn field_of_a_client_with_a_name_over_two_lines_is_not_passed_on() {
        for bad in ["(0)\nhg=7fffffff", "(0)a\x13b=1", "(0)(1)t=AAAA", "(0)<<<=1", "(0)_compressed_payload=x"] {
            let bytes = netstring(&["(0)t=y", bad]);
            let message = ClientMessage::parse(&bytes).unwrap();
            assert_eq!(message.write_lines(&mut [0; 100]), Err(Unfit::Refused), "{bad:?}");
        }
        let mut out = [0; 100];
        let mut lines = ClientText::lines(&mut out);
        lines.string("from_id", "x\nhg=7fffffff");
        assert_eq!(lines.finish_lines(), None);
    }

    #[test]
    fn message_with_two_senders_or_numbers_is_refused() {
        let good = ["(0)t=x", "(0)src=beta", "(0)seq=9", "(0)hg=5", "(0)ts=6b031869"];
        let decode = |fields: &[&str]| {
            let mut bytes = netstring(fields);
            let mut digest = codec().keys.get(1).unwrap().digest();
            digest.update(&bytes);
            let signature = [b"1 ", digest.finish().as_bytes()].concat();
            bytes.extend(format!("{}:", signature.len()).into_bytes());
            bytes.extend(signature);
            bytes.push(b',');
            codec().decode(&bytes, &mut []).map(|message| message.generation)
        };
        assert_eq!(decode(&good), Ok(Generation(5)));
        for (field, name) in [("(0)src=alpha", "src"), ("(0)seq=a", "seq"), ("(0)hg=7fffffff", "hg"), ("(0)ts=1", "ts")]
        {
            assert_eq!(decode(&[&[field], &good[..]].concat()), Err(Reject::Doubled(name)));
            assert_eq!(decode(&[&good[..], &[field]].concat()), Err(Reject::Doubled(name)));
        }
        let packed = ["(1)_compressed_payload=abc", "(0)_compression_algorithm=zlib"];
        assert_eq!(decode(&packed), Err(Reject::Compressed));
        assert_eq!(decode(&[&packed[..], &good[..]].concat()), Ok(Generation(5)), "a message as any other");
    }

    #[test]
    fn words_of_daemons_in_a_clients_mouth_mean_nothing() {
        let body = |lines: &str| {
            let bytes = forms(format!("{lines}\nfrom_id=ping\nto_id=ping\nclient_gen=1\n").as_bytes());
            let mut scratch = [0; 1000];
            let bodies = bytes.iter().map(|bytes| {
                let message = codec().decode(bytes, &mut scratch).unwrap();
                if let Body::Other { kind } = message.body { kind.to_owned() } else { format!("{:?}", message.body) }
            });
            let bodies: Vec<String> = bodies.collect();
            assert_eq!(bodies[0], bodies[1]);
            bodies[0].clone()
        };
        for (lines, kind) in [
            ("t=shutdone\nst=dead", "shutdone"),
            ("t=resource\nrsc_hold=all", "resource"),
            ("t=status\nst=active\nnbv=1", "status"),
            ("t=hb_takeover", "hb_takeover"),
            ("t=delnode\nnodelist=beta ", "delnode"),
            ("t=starting", "starting"),
            ("t=respond-cstatus\ncn=x\ncs=online", "respond-cstatus"),
        ] {
            assert_eq!(body(lines), kind);
        }
        // An old node's ipfail asks for a hand-over in this way, and its clients for other clients.
        assert!(body("t=ask_resources\nrsc_hold=foreign\ninfo=me").starts_with("AskResources"));
        assert!(body("t=query-cstatus\ncn=ping").starts_with("ClientQuery"));
    }
}
