//! What an application says: structures of the C library in the machine's own byte order (spec/api.md 7.1).

/// Bytes of the request's name at the beginning of each body.
const TYPE_LEN: usize = 8;
/// Bytes of each string of a registration. Those behind its NUL are whatever lay on the client's stack.
const NAME_LEN: usize = 256;
/// C's `unsigned long`, on every Linux of the width of a pointer.
const LONG_LEN: usize = size_of::<usize>();
/// A registration: type, three strings, three integers.
const REGISTRATION_LEN: usize = TYPE_LEN + 3 * NAME_LEN + 3 * 4;

/// What a reply says: zero, or a number of errno.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reply {
    /// Done.
    Ok,
    /// EPERM: not for this user.
    NotPermitted,
    /// ESRCH: not registered.
    NotRegistered,
    /// EEXIST: registered already.
    Registered,
    /// ETIME: it has failed to beat.
    Failed,
    /// EINVAL: unknown, too short or untrue.
    Invalid,
}

impl Reply {
    /// The number; the same on every Linux that Rust builds for here.
    pub const fn number(self) -> i32 {
        match self {
            Self::Ok => 0,
            Self::NotPermitted => 1,
            Self::NotRegistered => 3,
            Self::Registered => 17,
            Self::Failed => 62,
            Self::Invalid => 22,
        }
    }

    /// Body of the reply.
    pub const fn bytes(self) -> [u8; 4] {
        self.number().to_ne_bytes()
    }
}

/// Who registers, as it says itself. The strings have at least one byte less than their room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Registration<'a> {
    /// Name of the program; not empty.
    pub application: &'a [u8],
    /// Which of several; may be empty (seen).
    pub instance: &'a [u8],
    /// Its working directory.
    pub directory: &'a [u8],
    /// Its process.
    pub pid: i32,
    /// Real user.
    pub uid: u32,
    /// Real group.
    pub gid: u32,
}

/// One request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request<'a> {
    /// `reg`; `None`: too short, an empty name or a string without end.
    Register(Option<Registration<'a>>),
    /// `setint`, milliseconds; `None`: too short.
    SetInterval(Option<u64>),
    /// `setwarn`, milliseconds; `None`: too short.
    SetWarning(Option<u64>),
    /// `setboot`: whether the board is reset for it; `None`: too short.
    SetBoot(Option<bool>),
    /// `hb`
    Heartbeat,
    /// `unreg`
    Unregister,
    /// `state`, ours: whether an application beats, by its name and, when that is not empty, its instance; `None`: too
    /// short, an empty name or a string without end.
    State(Option<(&'a [u8], &'a [u8])>),
    /// Anything else.
    Unknown,
}

/// The request in a frame's body; `None` for one that is too short for any, which is ignored.
pub fn decode(body: &[u8]) -> Option<Request<'_>> {
    let (name, rest) = body.split_first_chunk::<TYPE_LEN>()?;
    let number = || rest.first_chunk().map(|bytes| usize::from_ne_bytes(*bytes) as u64);
    Some(match terminated(name) {
        Some(b"reg") => Request::Register(registration(body)),
        Some(b"setint") => Request::SetInterval(number()),
        Some(b"setwarn") => Request::SetWarning(number()),
        Some(b"setboot") => Request::SetBoot(number().map(|value| value != 0)),
        Some(b"hb") => Request::Heartbeat,
        Some(b"unreg") => Request::Unregister,
        Some(b"state") => Request::State(question(rest)),
        _ => Request::Unknown,
    })
}

/// The request's name for the log: what a string function of C would print of it, unprintable characters left out.
pub fn name(body: &[u8]) -> heapless::String<TYPE_LEN> {
    let bytes = body.iter().take(TYPE_LEN - 1).take_while(|byte| **byte != 0);
    bytes.filter(|byte| byte.is_ascii_graphic()).map(|byte| char::from(*byte)).collect()
}

/// Bytes before the NUL; `None` without one.
fn terminated(field: &[u8]) -> Option<&[u8]> {
    field.iter().position(|byte| *byte == 0).map(|end| &field[..end])
}

fn question(rest: &[u8]) -> Option<(&[u8], &[u8])> {
    let (name, instance) = rest.get(..2 * NAME_LEN)?.split_at(NAME_LEN);
    Some((terminated(name).filter(|name| !name.is_empty())?, terminated(instance)?))
}

fn registration(body: &[u8]) -> Option<Registration<'_>> {
    let rest = body.get(TYPE_LEN..REGISTRATION_LEN)?;
    let text = |index: usize| terminated(&rest[index * NAME_LEN..(index + 1) * NAME_LEN]);
    let number = |index: usize| {
        let at = 3 * NAME_LEN + index * 4;
        [rest[at], rest[at + 1], rest[at + 2], rest[at + 3]]
    };
    Some(Registration {
        application: text(0).filter(|name| !name.is_empty())?,
        instance: text(1)?,
        directory: text(2)?,
        pid: i32::from_ne_bytes(number(0)),
        uid: u32::from_ne_bytes(number(1)),
        gid: u32::from_ne_bytes(number(2)),
    })
}

/// Bodies as the library sends them.
pub mod written {
    use super::*;

    /// `hb` or `unreg`.
    pub fn plain(name: &str) -> Vec<u8> {
        let mut body = name.as_bytes().to_vec();
        body.resize(TYPE_LEN, 0);
        body
    }

    /// `setint`, `setwarn` or `setboot`.
    pub fn number(name: &str, value: u64) -> Vec<u8> {
        let mut body = plain(name);
        body.extend_from_slice(&usize::try_from(value).unwrap_or(usize::MAX).to_ne_bytes()[..LONG_LEN]);
        body
    }

    /// `reg`; `ids` are process, user and group. Longer names are cut.
    pub fn registration(application: &str, instance: &str, ids: (i32, u32, u32)) -> Vec<u8> {
        let mut body = plain("reg");
        for text in [application, instance, "/"] {
            push_text(&mut body, text);
        }
        for number in [ids.0.to_ne_bytes(), ids.1.to_ne_bytes(), ids.2.to_ne_bytes()] {
            body.extend_from_slice(&number);
        }
        body
    }

    /// `state`, ours; without an instance all of that name are meant.
    pub fn question(name: &str, instance: &str) -> Vec<u8> {
        let mut body = plain("state");
        push_text(&mut body, name);
        push_text(&mut body, instance);
        body
    }

    fn push_text(body: &mut Vec<u8>, text: &str) {
        let end = body.len() + NAME_LEN;
        body.extend_from_slice(&text.as_bytes()[..text.len().min(NAME_LEN - 1)]);
        body.resize(end, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_bodies_have_the_sizes_of_the_c_library() {
        let body = written::registration("app", "one", (7, 8, 9));
        assert_eq!(body.len(), 788);
        let who = Registration { application: b"app", instance: b"one", directory: b"/", pid: 7, uid: 8, gid: 9 };
        assert_eq!(decode(&body), Some(Request::Register(Some(who))));
        assert_eq!(decode(&written::number("setint", 500)), Some(Request::SetInterval(Some(500))));
        assert_eq!(decode(&written::number("setwarn", 5)), Some(Request::SetWarning(Some(5))));
        assert_eq!(decode(&written::number("setboot", 2)), Some(Request::SetBoot(Some(true))));
        assert_eq!(decode(b"hb\0garba"), Some(Request::Heartbeat));
        assert_eq!(decode(b"unreg\0\0\0"), Some(Request::Unregister));
        let question = written::question("app", "one");
        assert_eq!(decode(&question), Some(Request::State(Some((b"app", b"one")))));
        assert_eq!(decode(&question[..question.len() - 1]), Some(Request::State(None)));
        assert_eq!(decode(&written::question("", "one")), Some(Request::State(None)));
    }

    #[test]
    fn request_cut_anywhere_is_never_more_than_it_was() {
        let body = written::registration("app", "one", (7, 8, 9));
        for end in 0..body.len() {
            let expected = (end >= TYPE_LEN).then_some(Request::Register(None));
            assert_eq!(decode(&body[..end]), expected, "{end}");
        }
        let body = written::number("setint", 500);
        for end in TYPE_LEN..body.len() {
            assert_eq!(decode(&body[..end]), Some(Request::SetInterval(None)), "{end}");
        }
    }

    #[test]
    fn strings_without_an_end_or_a_name_are_no_registration() {
        let good = written::registration("app", "one", (7, 8, 9));
        for index in 0..3 {
            let mut body = good.clone();
            body[TYPE_LEN + index * NAME_LEN..][..NAME_LEN].fill(b'x');
            assert_eq!(decode(&body), Some(Request::Register(None)), "{index}");
            // Behind the end lies whatever was on the client's stack.
            body[TYPE_LEN + index * NAME_LEN + 1] = 0;
            assert!(matches!(decode(&body), Some(Request::Register(Some(_)))), "{index}");
        }
        assert_eq!(decode(&written::registration("", "one", (7, 8, 9))), Some(Request::Register(None)));
        assert!(matches!(decode(&written::registration("a", "", (7, 8, 9))), Some(Request::Register(Some(_)))));
        assert_eq!(decode(b"hbxxxxxx"), Some(Request::Unknown));
        assert_eq!(decode(b"\xff\xff\xff\xff\xff\xff\xff\xff"), Some(Request::Unknown));
        assert_eq!(name(b"hbxxxxxx"), "hbxxxxx");
        assert_eq!(name(b"a\nb\x1bc\0dd"), "abc");
    }
}
