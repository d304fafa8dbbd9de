//! Messages inside of messages (spec/wire.md 2.3): clients nest them, daemons only carry them from one form into the other.

use super::client::{is_base64, write_line};
use super::encode::{Output, is_name};
use super::fields::{Field, Kind};
use super::{netstring, text};

/// What ends a line at each depth of nesting, instead of a newline: none of them may stand in what is nested that deep.
const NEWLINES: [u8; 16] =
    [0x14, 0x15, 0x16, 0x17, 0x18, 0x19, 0x1a, 0x1b, 0x1c, 0x1d, 0x1e, 0x1f, 0x0f, 0x10, 0x11, 0x12];

/// How deep something is nested: 0 is the message itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Depth(usize);

impl Depth {
    /// The message itself.
    pub(super) const OUTERMOST: Self = Self(0);

    /// What ends a line here.
    pub(super) fn newline(self) -> u8 {
        self.0.checked_sub(1).and_then(|place| NEWLINES.get(place)).copied().unwrap_or(b'\n')
    }

    /// One deeper, as far as there is a byte for the ends of its lines.
    fn inner(self) -> Option<Self> {
        (self.0 < NEWLINES.len()).then_some(Self(self.0 + 1))
    }

    /// Whether a value can stand here as it is: nothing in it ends a line of something that it is nested in.
    pub(super) fn has_room_for(self, value: &[u8]) -> bool {
        !NEWLINES[..self.0].iter().any(|newline| value.contains(newline))
    }
}

/// Writes the nested message `value`, which stands in a netstring at `depth`, in the text form. `None`: a reader would not
/// find the same in it.
pub(super) fn write_text(out: &mut Output<'_>, value: &[u8], depth: Depth) -> Option<()> {
    let depth = depth.inner()?;
    let end = &[depth.newline()][..];
    [b">>>", end].iter().for_each(|part| out.push(part));
    for field in netstring::split_nested(value).ok()? {
        write_line(out, &field.ok()?, depth)?;
    }
    [b"<<<", end].iter().for_each(|part| out.push(part));
    Some(())
}

/// Writes the nested message `value`, which stands in a text at `depth`, as a netstring. `None`: it is none.
pub(super) fn write_netstring(out: &mut Output<'_>, value: &[u8], depth: Depth) -> Option<()> {
    let depth = depth.inner()?;
    out.push(netstring::START);
    lines(value, depth)?.try_for_each(|line| write_field(out, &text::parse(line)?, depth))?;
    out.push(netstring::END);
    Some(())
}

/// Writes one field as a netstring. `None`: it cannot be one, or is none.
pub(super) fn write_field(out: &mut Output<'_>, field: &Field<'_>, depth: Depth) -> Option<()> {
    if !is_name(field.name) {
        return None;
    }
    let start = out.len();
    [field.kind.mark(), field.name, b"="].iter().for_each(|part| out.push(part));
    match field.kind {
        Kind::Text => {
            let at = out.len();
            out.push(field.value);
            out.since_mut(at).iter_mut().filter(|byte| **byte == text::NEWLINE).for_each(|byte| *byte = b'\n');
        }
        Kind::Base64 | Kind::PackedBase64 => out.push_base64(field.value)?,
        Kind::StructText => write_netstring(out, field.value, depth)?,
        Kind::Struct if !is_netstring(field.value) => return None,
        Kind::Binary | Kind::Struct | Kind::List | Kind::Packed => out.push(field.value),
    }
    out.close_netstring(start);
    Some(())
}

/// Whether this field holds another message, packed or not, that [`write_field`] can write.
pub(super) fn is_one(field: &Field<'_>) -> bool {
    is_name(field.name)
        && match field.kind {
            Kind::Packed => true,
            Kind::Struct => is_netstring(field.value),
            Kind::StructText => is_text(field.value, Depth::OUTERMOST),
            Kind::PackedBase64 => is_base64(field.value),
            Kind::Text | Kind::Binary | Kind::Base64 | Kind::List => false,
        }
}

/// Whether a nested message as a netstring is one; how it is further down is for its reader.
fn is_netstring(value: &[u8]) -> bool {
    netstring::split_nested(value).is_ok_and(|mut fields| fields.all(|field| field.is_ok()))
}

/// Whether a nested message in the text form is one as far down as it goes.
pub(super) fn is_text(value: &[u8], depth: Depth) -> bool {
    let is_field = |line: &[u8], depth| {
        text::parse(line).is_some_and(|field| {
            is_name(field.name)
                && match field.kind {
                    Kind::StructText => is_text(field.value, depth),
                    Kind::Base64 | Kind::PackedBase64 => is_base64(field.value),
                    _ => true,
                }
        })
    };
    depth
        .inner()
        .is_some_and(|depth| lines(value, depth).is_some_and(|mut lines| lines.all(|line| is_field(line, depth))))
}

/// The lines of a nested text, without its first and last. `None`: it is not whole.
fn lines(value: &[u8], depth: Depth) -> Option<impl Iterator<Item = &[u8]>> {
    let newline = depth.newline();
    let body = value.strip_prefix(b">>>")?.strip_prefix(&[newline])?.strip_suffix(&[newline])?.strip_suffix(b"<<<")?;
    if !body.is_empty() && body.last() != Some(&newline) {
        return None;
    }
    Some(body.split(move |byte| *byte == newline).filter(|line| !line.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::super::{ClientMessage, Unfit, to_client};
    use super::*;

    fn netstring(fields: &[&[u8]]) -> Vec<u8> {
        let fields = fields.iter().flat_map(|field| [format!("{}:", field.len()).as_bytes(), field, b","].concat());
        [&netstring::START[..], &fields.collect::<Vec<u8>>(), netstring::END].concat()
    }

    fn with(name: &[u8], value: &[u8]) -> Vec<u8> {
        [name, value].concat()
    }

    fn lines(message: &[u8]) -> Result<Vec<u8>, Unfit> {
        let mut out = vec![0; 2000];
        let len = ClientMessage::parse(message).expect("a message").write_lines(&mut out)?;
        out.truncate(len);
        Ok(out)
    }

    /// As it is told to a client in the other form.
    fn told(lines: &[u8]) -> Vec<u8> {
        let mut out = vec![0; 2000];
        let message = [text::START, lines, text::END].concat();
        let len = to_client(&message, &mut out).expect("room");
        out.truncate(len);
        out
    }

    #[test]
    fn nested_message_has_the_forms_of_the_spec() {
        // spec/wire.md 2.3 and 3.1.
        let sub = netstring(&[b"(0)x=1", b"(0)y=2"]);
        assert_eq!(sub, b"###\n6:(0)x=1,6:(0)y=2,%%%\n");
        // To be compressed, if the library could: it is the same to who reads it.
        let marked = netstring(&[b"(0)t=smalltest", &with(b"(5)sub=", &sub)]);
        let message = netstring(&[b"(0)t=smalltest", &with(b"(2)sub=", &sub)]);
        assert_eq!(lines(&marked), lines(&message));
        let as_text = b"t=smalltest\n(2)sub=>>>\x14x=1\x14y=2\x14<<<\x14\n";
        assert_eq!(lines(&message).as_deref(), Ok(&as_text[..]));
        assert_eq!(told(as_text), message);
    }

    #[test]
    fn everything_that_a_message_may_hold_comes_back_from_the_other_form() {
        let empty = netstring(&[]);
        let inner = netstring(&[b"(1)bytes=\x00\n\x14\xff", b"(3)list=1:a,", &with(b"(2)none=", &empty)]);
        let outer =
            netstring(&[b"(0)two=li\nes", &with(b"(2)inner=", &inner), b"(4)packed=\x78\x9c\x00", b"(0)empty="]);
        let message = netstring(&[b"(0)t=x", &with(b"(2)outer=", &outer), b"(1)more=\x14"]);
        let as_text = lines(&message).expect("it has a text form");
        assert_eq!(as_text.iter().filter(|byte| **byte == b'\n').count(), 3, "{}", as_text.escape_ascii());
        assert_eq!(told(&as_text), message);
        let again = [text::START, &as_text[..], text::END].concat();
        assert_eq!(lines(&again), Ok(as_text), "a client may say it in this form, too");
    }

    #[test]
    fn what_has_no_text_form_is_refused() {
        let nest = |fields: &[&[u8]]| netstring(&[b"(0)t=x", &with(b"(2)sub=", &netstring(fields))]);
        assert!(lines(&nest(&[b"(0)a=fine\x15"])).is_ok(), "this byte ends the lines of what is nested deeper");
        for bad in [&b"(0)a=\x14"[..], b"(3)a=1:\x14,", b"(3)a=1:\n,", b"(0)a\n=b", b"(0)(1)a=AA==", b"(0)<<<=1"] {
            assert_eq!(lines(&nest(&[bad])), Err(Unfit::Refused), "{}", bad.escape_ascii());
        }
        for bad in [&b"(2)sub=nothing"[..], b"(2)sub=###\n5:(0)a=,%%%\nmore", b"(2)sub=###\n", b"(2)sub="] {
            assert_eq!(lines(&netstring(&[b"(0)t=x", bad])), Err(Unfit::Refused), "{}", bad.escape_ascii());
        }
        for bad in [
            "(2)sub=",
            "(2)sub=>>>\x14a\x14<<<\x14",
            "(2)sub=>>>\x14a=1\x14",
            "(2)sub=>>>\x15a=1\x15<<<\x15",
            "(2)sub=>>>\x14(2)a=>>>\x14<<<\x14\x14<<<\x14",
            "(2)sub=>>>\x14(0)a=1\x14<<<\x14",
            "(4)sub=!",
        ] {
            let text = format!(">>>\nt=x\n{bad}\n<<<\n");
            assert_eq!(lines(text.as_bytes()), Err(Unfit::Refused), "{}", bad.escape_debug());
        }
    }

    #[test]
    fn nesting_ends_at_sixteen() {
        let mut message = netstring(&[b"(0)t=x"]);
        for depth in 1..=17 {
            message = netstring(&[b"(0)t=x", &with(b"(2)sub=", &message)]);
            let as_text = lines(&message);
            assert_eq!(as_text.is_ok(), depth <= 16, "{depth}");
            if let Ok(as_text) = as_text {
                assert_eq!(told(&as_text), message);
            }
        }
    }
}
