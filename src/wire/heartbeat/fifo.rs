//! Messages out of the FIFO by which root's scripts speak (spec/api.md section 5, spec/wire.md 3.3).
//!
//! Both forms, mixed, unsigned: the file's mode is the signature. The package's tools write a message in up to three
//! pieces, and a `cat` in between joins some of them, so that what two writers say may interleave. Only whole messages
//! count here (weakness 11 of spec/resources.md section 22): a beginning ends whatever has begun before it, a message
//! in which a name occurs twice is two halves, and neither harms the message behind it.

use super::fields::decimal;
use super::{kind, netstring, text, word};
use crate::core::message::Holds;

/// Bytes of the longest message taken from the FIFO: sixteen node names of full length fit.
pub const FIFO_MESSAGE_MAX: usize = 4096;

/// Names in one message; the tools use three.
const FIELDS_MAX: usize = 16;

/// What the FIFO brought. All of them wrap.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FifoCounters {
    /// Whole messages, whatever they said.
    pub messages: u32,
    /// Bytes that belonged to none.
    pub garbage_bytes: u32,
    /// Messages that began and did not end.
    pub torn: u32,
    /// Messages longer than [`FIFO_MESSAGE_MAX`].
    pub oversize: u32,
}

/// Finds whole messages in what writers leave in the FIFO.
///
/// ```
/// use nullbeat::wire::heartbeat::{FifoMessage, FifoStream};
///
/// let mut stream = FifoStream::new();
/// let mut bytes = &b">>>\nt=ask_resources\nrsc_ho>>>\nt=hb_takeover\nrsc_hold=local\n<<<\n"[..];
/// let message = stream.next(&mut bytes).unwrap();
/// assert!(matches!(FifoMessage::parse(message), Ok(FifoMessage::Takeover(_))));
/// assert_eq!(stream.counters().torn, 1);
/// ```
#[derive(Debug, Clone)]
pub struct FifoStream {
    buffer: [u8; FIFO_MESSAGE_MAX],
    len: usize,
    /// Bytes in front that have been handed out.
    taken: usize,
    counters: FifoCounters,
}

impl Default for FifoStream {
    fn default() -> Self {
        Self::new()
    }
}

/// What the buffer begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scan {
    /// A whole message of this length.
    Whole(usize),
    /// Bytes that belong to no message.
    Garbage(usize),
    /// The beginning of a message that will not end.
    Torn(usize),
    /// Not to be told yet.
    More,
}

impl FifoStream {
    /// Nothing read yet.
    pub const fn new() -> Self {
        let counters = FifoCounters { messages: 0, garbage_bytes: 0, torn: 0, oversize: 0 };
        Self { buffer: [0; FIFO_MESSAGE_MAX], len: 0, taken: 0, counters }
    }

    /// What was found so far.
    pub const fn counters(&self) -> FifoCounters {
        self.counters
    }

    /// The next whole message, taking bytes off the front of `bytes` as far as needed; `None` when all are taken.
    pub fn next(&mut self, bytes: &mut &[u8]) -> Option<&[u8]> {
        self.remove(self.taken);
        self.taken = 0;
        loop {
            match scan(self.buffer.get(..self.len).unwrap_or_default()) {
                Scan::Whole(length) => {
                    self.counters.messages = self.counters.messages.wrapping_add(1);
                    self.taken = length;
                    return self.buffer.get(..length);
                }
                Scan::Garbage(count) => self.discard(count),
                Scan::Torn(count) => {
                    self.counters.torn = self.counters.torn.wrapping_add(1);
                    self.remove(count);
                }
                Scan::More if self.len == self.buffer.len() => {
                    self.counters.oversize = self.counters.oversize.wrapping_add(1);
                    // Without its mark the rest is noise, up to the next beginning.
                    self.remove(text::START.len());
                }
                Scan::More if bytes.is_empty() => return None,
                Scan::More => self.fill(bytes),
            }
        }
    }

    fn fill(&mut self, bytes: &mut &[u8]) {
        let room = self.buffer.get_mut(self.len..).unwrap_or_default();
        let count = room.len().min(bytes.len());
        let (now, later) = bytes.split_at(count);
        room.iter_mut().zip(now).for_each(|(slot, byte)| *slot = *byte);
        self.len += count;
        *bytes = later;
    }

    fn discard(&mut self, count: usize) {
        // The newline that a netstring message may end with is part of it.
        let noise = self.buffer.iter().take(count).filter(|byte| **byte != b'\n').count();
        self.counters.garbage_bytes =
            self.counters.garbage_bytes.wrapping_add(u32::try_from(noise).unwrap_or(u32::MAX));
        self.remove(count);
    }

    fn remove(&mut self, count: usize) {
        let count = count.min(self.len);
        self.buffer.copy_within(count..self.len, 0);
        self.len -= count;
    }
}

fn scan(bytes: &[u8]) -> Scan {
    let Some(start) = beginning(bytes, 0) else {
        // A mark may be half there.
        let kept = bytes.len().min(text::START.len() - 1);
        return match bytes.len() - kept {
            0 => Scan::More,
            count => Scan::Garbage(count),
        };
    };
    if start > 0 {
        return Scan::Garbage(start);
    }
    if bytes.starts_with(text::START) { scan_text(bytes) } else { scan_netstring(bytes) }
}

/// Where the next message begins, at `from` or behind it.
fn beginning(bytes: &[u8], from: usize) -> Option<usize> {
    let is_start = |window: &[u8]| window == text::START || window == netstring::START;
    bytes.get(from..)?.windows(text::START.len()).position(is_start).map(|at| from + at)
}

fn scan_text(bytes: &[u8]) -> Scan {
    const END: &[u8] = b"\n<<<\n";
    // The newline of the start line may be that of an end: a message without fields.
    let at = text::START.len() - 1;
    let next = beginning(bytes, 1);
    // No further than the next beginning: a buffer full of them is gone through once, not once for each.
    let end =
        bytes.get(at..next.unwrap_or(bytes.len())).and_then(|rest| rest.windows(END.len()).position(|it| it == END));
    match (end, next) {
        (Some(end), _) => Scan::Whole(at + end + END.len()),
        (None, Some(next)) => Scan::Torn(next),
        (None, None) => Scan::More,
    }
}

/// The end is told by the lengths. The original's own children leave out the last newline (spec/wire.md 3.3).
fn scan_netstring(bytes: &[u8]) -> Scan {
    let mut at = netstring::START.len();
    loop {
        let rest = bytes.get(at..).unwrap_or_default();
        if rest.starts_with(b"%%%") {
            return Scan::Whole(at + 3 + usize::from(rest.get(3) == Some(&b'\n')));
        }
        match piece(rest) {
            Piece::Value(length) => at += length,
            Piece::Bad => return Scan::Torn(netstring::START.len()),
            // Behind an equals sign it begins a nested message.
            Piece::More => {
                let is_nested = |at: &usize| bytes[..*at].ends_with(b"=") && bytes[*at..].starts_with(netstring::START);
                return beginning(bytes, 1).filter(|at| !is_nested(at)).map_or(Scan::More, Scan::Torn);
            }
        }
    }
}

/// One netstring.
enum Piece {
    /// All of it is there: its length, digits and comma included.
    Value(usize),
    /// More bytes are needed to tell.
    More,
    /// None.
    Bad,
}

fn piece(bytes: &[u8]) -> Piece {
    if bytes.is_empty() || b"%%%".starts_with(bytes) {
        return Piece::More;
    }
    let digits = bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let length = bytes.get(..digits).and_then(decimal).and_then(|length| usize::try_from(length).ok());
    match (length, bytes.get(digits)) {
        (Some(0..=FIFO_MESSAGE_MAX), None) => Piece::More,
        (Some(length @ 0..=FIFO_MESSAGE_MAX), Some(b':')) => match bytes.get(digits + 1 + length) {
            None => Piece::More,
            Some(b',') => Piece::Value(digits + length + 2),
            Some(_) => Piece::Bad,
        },
        _ => Piece::Bad,
    }
}

/// What a script asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FifoMessage<'a> {
    /// `ask_resources … info=me`, by `hb_standby`: give these away.
    Standby(Holds),
    /// `hb_takeover`: take these.
    Takeover(Holds),
    /// `ip-request` or `ip-request-resp` to a node, by `req_resource`: the group of this key is wanted here.
    Obtain {
        /// First resource of the group.
        key: &'a str,
        /// Whom an `ip-request-resp` is for.
        dest: Option<&'a str>,
    },
    /// `addnode`.
    AddNodes {
        /// Names with blanks between them.
        names: &'a str,
    },
    /// `delnode`.
    DeleteNodes {
        /// Names with blanks between them.
        names: &'a str,
    },
    /// `setweight`.
    SetWeight {
        /// Whose.
        node: &'a str,
        /// Which.
        weight: u32,
    },
    /// `setsite`.
    SetSite {
        /// Whose.
        node: &'a str,
        /// Which.
        site: &'a str,
    },
    /// Any other type.
    Other {
        /// `t`.
        kind: &'a str,
    },
}

/// Why a whole message means nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FifoReject {
    /// Its fields cannot be told apart.
    Malformed,
    /// A name occurs twice: two messages were written into each other.
    Mixed,
    /// Without this field, or with a value that makes no sense.
    BadField(&'static str),
}

impl core::fmt::Display for FifoReject {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Malformed => f.write_str("its fields cannot be told apart"),
            Self::Mixed => f.write_str("two messages were written into each other"),
            Self::BadField(name) => write!(f, "the field {name} is missing or makes no sense"),
        }
    }
}

/// Names and values as they stand there.
struct Fields<'a>(heapless::Vec<(&'a [u8], &'a [u8]), FIELDS_MAX>);

impl<'a> Fields<'a> {
    fn add(&mut self, line: &'a [u8]) -> Result<(), FifoReject> {
        let equals = line.iter().position(|byte| *byte == b'=').filter(|at| *at > 0).ok_or(FifoReject::Malformed)?;
        let (name, value) = line.split_at(equals);
        if self.0.iter().any(|(known, _)| *known == name) {
            return Err(FifoReject::Mixed);
        }
        self.0.push((name, value.get(1..).unwrap_or_default())).map_err(|_| FifoReject::Malformed)
    }

    fn raw(&self, name: &str) -> Option<&'a [u8]> {
        self.0.iter().find(|(known, _)| *known == name.as_bytes()).map(|(_, value)| *value)
    }

    fn text(&self, name: &'static str) -> Result<&'a str, FifoReject> {
        let text = self.raw(name).and_then(|value| core::str::from_utf8(value).ok());
        text.filter(|text| !text.is_empty()).ok_or(FifoReject::BadField(name))
    }
}

impl<'a> FifoMessage<'a> {
    /// What one message of a [`FifoStream`] says.
    ///
    /// # Errors
    /// When it cannot be understood.
    pub fn parse(message: &'a [u8]) -> Result<Self, FifoReject> {
        let fields = if message.starts_with(text::START) { text_fields(message) } else { netstring_fields(message) }?;
        let of = |name| fields.text(name);
        Ok(match of("t")? {
            kind::ASK_RESOURCES => match of("info")? {
                "me" => Self::Standby(holds(&fields, "rsc_hold")?),
                _ => return Err(FifoReject::BadField("info")),
            },
            kind::TAKEOVER => Self::Takeover(takeover_set(&fields)?),
            kind::IP_REQUEST => Self::Obtain { key: of("ipaddr")?, dest: None },
            kind::IP_REQUEST_RESP if fields.raw("ok") != Some(word::OK.as_bytes()) => {
                return Err(FifoReject::BadField("ok"));
            }
            kind::IP_REQUEST_RESP => Self::Obtain { key: of("ipaddr")?, dest: Some(of("dest")?) },
            "addnode" => Self::AddNodes { names: of("nodelist")? },
            "delnode" => Self::DeleteNodes { names: of("nodelist")? },
            "setweight" => {
                let weight = decimal(of("weight")?.as_bytes()).and_then(|weight| u32::try_from(weight).ok());
                Self::SetWeight { node: of("node")?, weight: weight.ok_or(FifoReject::BadField("weight"))? }
            }
            "setsite" => Self::SetSite { node: of("node")?, site: of("site")? },
            kind => Self::Other { kind },
        })
    }
}

/// Missing is all (spec/resources.md section 7); a strange word moves nothing.
fn holds(fields: &Fields<'_>, name: &'static str) -> Result<Holds, FifoReject> {
    if fields.raw(name).is_none() {
        return Ok(Holds::ALL);
    }
    Holds::from_word(fields.text(name)?).ok_or(FifoReject::BadField(name))
}

/// `failback` is everything: the original's other node takes it so (spec/resources.md 5.3).
fn takeover_set(fields: &Fields<'_>) -> Result<Holds, FifoReject> {
    if fields.raw("rsc_hold") == Some(word::FAILBACK.as_bytes()) { Ok(Holds::ALL) } else { holds(fields, "rsc_hold") }
}

fn text_fields(message: &[u8]) -> Result<Fields<'_>, FifoReject> {
    let mut fields = Fields(heapless::Vec::new());
    let lines = message.get(text::START.len()..message.len() - text::END.len()).unwrap_or_default();
    for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        fields.add(line)?;
    }
    Ok(fields)
}

fn netstring_fields(message: &[u8]) -> Result<Fields<'_>, FifoReject> {
    let mut fields = Fields(heapless::Vec::new());
    let mut rest = message.get(netstring::START.len()..).unwrap_or_default();
    while let Piece::Value(length) = piece(rest) {
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let value = rest.get(digits + 1..length - 1).unwrap_or_default();
        match value {
            [b'(', b'0', b')', line @ ..] => fields.add(line)?,
            // Bytes, structs, lists: nothing that a request of ours has, but its name counts.
            [b'(', b'1'..=b'4', b')', line @ ..] => fields.add(line)?,
            _ => return Err(FifoReject::Malformed),
        }
        rest = rest.get(length..).unwrap_or_default();
    }
    Ok(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STANDBY: &[u8] = b">>>\nt=ask_resources\nrsc_hold=foreign\ninfo=me\n<<<\n";
    const ADD: &[u8] = b"###\n12:(0)t=addnode,17:(0)nodelist=a b c,%%%\n";

    fn read(pieces: &[&[u8]]) -> (Vec<String>, FifoCounters) {
        let mut stream = FifoStream::new();
        let mut all = Vec::new();
        for piece in pieces {
            let mut bytes = *piece;
            while let Some(message) = stream.next(&mut bytes) {
                all.push(match FifoMessage::parse(message) {
                    Ok(message) => format!("{message:?}"),
                    Err(reject) => format!("{reject:?}"),
                });
            }
        }
        (all, stream.counters())
    }

    fn standby() -> String {
        format!("{:?}", FifoMessage::Standby(Holds::FOREIGN))
    }

    fn add() -> String {
        format!("{:?}", FifoMessage::AddNodes { names: "a b c" })
    }

    #[test]
    fn messages_of_all_tools_are_understood() {
        let ok = |text: &'static str| FifoMessage::parse(text.as_bytes()).unwrap();
        assert_eq!(ok(">>>\nt=ask_resources\ninfo=me\n<<<\n"), FifoMessage::Standby(Holds::ALL));
        assert_eq!(ok(">>>\nt=hb_takeover\nrsc_hold=local\n<<<\n"), FifoMessage::Takeover(Holds::LOCAL));
        assert_eq!(ok(">>>\nt=hb_takeover\nrsc_hold=failback\n<<<\n"), FifoMessage::Takeover(Holds::ALL));
        let key = "IPaddr::1.2.3.4";
        assert_eq!(ok(">>>\nt=ip-request\nipaddr=IPaddr::1.2.3.4\n<<<\n"), FifoMessage::Obtain { key, dest: None });
        assert_eq!(
            ok(">>>\nt=ip-request-resp\ndest=a\nipaddr=IPaddr::1.2.3.4\nweown=yes\nok=OK\n<<<\n"),
            FifoMessage::Obtain { key, dest: Some("a") }
        );
        assert_eq!(ok(">>>\nt=delnode\nnodelist=x y\n<<<\n"), FifoMessage::DeleteNodes { names: "x y" });
        assert_eq!(ok(">>>\nt=setweight\nnode=a\nweight=50\n<<<\n"), FifoMessage::SetWeight { node: "a", weight: 50 });
        assert_eq!(ok(">>>\nt=setsite\nnode=a\nsite=b\n<<<\n"), FifoMessage::SetSite { node: "a", site: "b" });
        assert_eq!(ok(">>>\nt=mytype\nx=1\n<<<\n"), FifoMessage::Other { kind: "mytype" });
        let bad = |text: &'static str| FifoMessage::parse(text.as_bytes()).unwrap_err();
        assert_eq!(bad(">>>\nt=ask_resources\ninfo=done\n<<<\n"), FifoReject::BadField("info"));
        assert_eq!(bad(">>>\nt=ask_resources\nrsc_hold=x\ninfo=me\n<<<\n"), FifoReject::BadField("rsc_hold"));
        assert_eq!(bad(">>>\nt=setweight\nnode=a\nweight=\n<<<\n"), FifoReject::BadField("weight"));
        assert_eq!(bad(">>>\nt=setweight\nnode=a\nweight=-1\n<<<\n"), FifoReject::BadField("weight"));
        assert_eq!(bad(">>>\n\tt=x\n<<<\n"), FifoReject::BadField("t"));
        assert_eq!(bad(">>>\n<<<\n"), FifoReject::BadField("t"));
        assert_eq!(bad(">>>\nt\n<<<\n"), FifoReject::Malformed);
        assert_eq!(bad("###\n5:abcde,%%%\n"), FifoReject::Malformed);
        assert_eq!(bad(">>>\nt=hb_takeover\nt=ask_resources\ninfo=me\n<<<\n"), FifoReject::Mixed);
    }

    #[test]
    fn both_forms_come_mixed_in_pieces_of_any_size() {
        let all = [STANDBY, ADD, b"###\n12:(0)t=addnode,17:(0)nodelist=a b c,%%%", STANDBY, b"\n\n", ADD].concat();
        let expected = [standby(), add(), add(), standby(), add()];
        for size in 1..all.len() {
            let pieces: Vec<&[u8]> = all.chunks(size).collect();
            let (messages, counters) = read(&pieces);
            assert_eq!(messages, expected, "in pieces of {size}");
            let whole = FifoCounters { messages: 5, ..FifoCounters::default() };
            assert_eq!(counters, whole, "in pieces of {size}");
        }
    }

    #[test]
    fn message_torn_anywhere_never_costs_the_next_one() {
        for torn in [STANDBY, ADD] {
            for next in [(STANDBY, standby()), (ADD, add())] {
                for cut in 0..torn.len() - 4 {
                    let (messages, _) = read(&[&torn[..cut], next.0]);
                    assert_eq!(messages, std::slice::from_ref(&next.1), "{:?} cut at {cut}", torn.escape_ascii());
                }
            }
        }
    }

    #[test]
    fn writers_that_interleave_lose_what_is_not_whole() {
        let (a, b) = (&b"t=ask_resources\nrsc_hold=all\ninfo=me\n"[..], &b"t=hb_takeover\nrsc_hold=local\n"[..]);
        let (start, end) = (&b">>>\n"[..], &b"<<<\n"[..]);
        let mixed = format!("{:?}", FifoReject::Mixed);
        assert_eq!(read(&[start, start, a, b, end, end]).0, [mixed]);
        let (messages, counters) = read(&[start, a, start, b, end, end, STANDBY]);
        assert_eq!(messages, [format!("{:?}", FifoMessage::Takeover(Holds::LOCAL)), standby()]);
        assert_eq!((counters.torn, counters.garbage_bytes), (1, 3));
    }

    #[test]
    fn noise_and_oversized_messages_are_counted_and_passed_over() {
        let long = [b">>>\nt=".as_slice(), &[b'x'; 3 * FIFO_MESSAGE_MAX], b"\n<<<\n", STANDBY].concat();
        let (messages, counters) = read(&[&long]);
        assert_eq!(messages, [standby()]);
        assert_eq!((counters.oversize, counters.messages), (1, 1));
        let noise: Vec<u8> = (0..100_000_u32).map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()[2]).collect();
        for at in [0, 1, 500, 5000, 99_999] {
            let (messages, _) = read(&[&noise[..at], b"\n", STANDBY, &noise[at..]]);
            assert!(messages.contains(&standby()), "at {at}");
        }
        for length in ["99999999999999999999999", "4097", "-1", "x", ""] {
            let (messages, _) = read(&[format!("###\n{length}:").as_bytes(), STANDBY]);
            assert_eq!(messages, [standby()], "{length}");
        }
    }

    #[test]
    fn nested_message_is_no_beginning() {
        let nested = b"###\n11:(0)t=mytype,33:(2)sub=###\n6:(0)x=1,6:(0)y=2,%%%\n,%%%\n";
        let other = format!("{:?}", FifoMessage::Other { kind: "mytype" });
        assert_eq!(read(&[nested, STANDBY]).0, [other, standby()]);
    }
}
