//! What the services say to each other: messages between clients, in text (spec/api.md 6.3).

use core::fmt::{self, Write as _};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::Local;
use crate::core::ids::{MemberId, MemberSet};
use crate::core::limits::NODES_MAX;

/// Bytes in which every message fits that is written here.
pub const ENCODED_MAX: usize = 1024;
/// Bytes of a set of members: a bit for each of a hundred nodes.
const BITMAP: usize = 13;
/// The same as text.
const BITMAP_TEXT: usize = 20;

/// What a partition is known by: chosen at random for each membership.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Cookie([u8; 14]);

impl Cookie {
    /// One made of these random bits.
    pub fn of(bits: u128) -> Self {
        let mut left = bits;
        Self(core::array::from_fn(|_| {
            let digit = u8::try_from(left % u128::from(Self::LAST - Self::FIRST + 1)).unwrap_or_default();
            left /= u128::from(Self::LAST - Self::FIRST + 1);
            Self::FIRST + digit
        }))
    }

    const FIRST: u8 = b'!';
    const LAST: u8 = b'~';

    fn read(text: &[u8]) -> Option<Self> {
        let is_sound = text.iter().all(|byte| (Self::FIRST..=Self::LAST).contains(byte));
        text.try_into().ok().filter(|_| is_sound).map(Self)
    }
}

impl fmt::Display for Cookie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| f.write_char(char::from(*byte)))
    }
}

/// Which membership the sender is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Of what partition.
    pub cookie: Cookie,
    /// The instance in which the sender joined; zero: not yet.
    pub joined: u32,
    /// Number of the try to agree.
    pub minor: u32,
}

/// What a service is doing, as it tells others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StateName {
    /// Nothing yet.
    None,
    /// Looks for a cluster to join.
    VersionRequest,
    /// A member.
    Joined,
    /// Leads, and waits for the others to confirm a change.
    WaitForChange,
    /// Waits for its leader's new list.
    WaitForMemList,
    /// Waits for the list with itself in it.
    NewNodeWaitForMemList,
    /// In a full round.
    Joining,
    /// The same, as the one who asks.
    SentMemListReq,
    /// The same, as one who has answered.
    MemListRes,
}

impl StateName {
    const WORDS: [(Self, &'static str); 9] = [
        (Self::None, "CCM_STATE_NONE"),
        (Self::VersionRequest, "CCM_STATE_VERSION_REQUEST"),
        (Self::Joined, "CCM_STATE_JOINED"),
        (Self::WaitForChange, "CCM_STATE_WAIT_FOR_CHANGE"),
        (Self::WaitForMemList, "CCM_STATE_WAIT_FOR_MEM_LIST"),
        (Self::NewNodeWaitForMemList, "CCM_STATE_NEW_NODE_WAIT_FOR_MEM_LIST"),
        (Self::Joining, "CCM_STATE_JOINING"),
        (Self::SentMemListReq, "CCM_STATE_SENT_MEMLISTREQ"),
        (Self::MemListRes, "CCM_STATE_MEMLIST_RES"),
    ];

    /// As on the wire and in the log.
    pub fn word(self) -> &'static str {
        Self::WORDS.iter().find(|(state, _)| *state == self).map_or("", |(_, word)| word)
    }

    /// Whether the sender belongs to a cluster.
    pub const fn is_in_cluster(self) -> bool {
        !matches!(self, Self::None | Self::VersionRequest | Self::NewNodeWaitForMemList)
    }
}

/// What is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body {
    /// I want to join: who leads?
    Version,
    /// A leader's answer, with the number of its members.
    VersionAnswer {
        /// Members of its cluster.
        size: u32,
    },
    /// A joiner to all: take me in.
    Alive,
    /// A member to its leader: I have heard that one, too.
    NewNode {
        /// The joiner.
        node: MemberId,
    },
    /// A leader: this one has left.
    LeaveNotice {
        /// Who.
        node: MemberId,
    },
    /// A member to its leader: I have seen it leave, too. A `ccm` names its leader instead.
    NodeLeave {
        /// Who.
        node: MemberId,
    },
    /// A leader's new membership; its number is one more than that of the message.
    MemList(List),
    /// I begin, or take part in, a full round.
    Join,
    /// The one who leads the round: whom do you hear?
    AskList,
    /// I have heard these.
    ListAnswer {
        /// Highest instance that the sender knows.
        instance: u32,
        /// Empty: I do not accept you.
        heard: MemberSet,
    },
    /// Result of a full round.
    FinalList {
        /// Its instance.
        instance: u32,
        /// Its members.
        members: MemberSet,
        /// Whether it has quorum.
        has_quorum: bool,
        /// Its cookie.
        cookie: Cookie,
    },
    /// Your `Join` came at a wrong moment.
    Abort,
    /// To one that has come back: this is where I am.
    StateInfo(StateName),
    /// Everybody begins anew.
    Restart,
}

/// A membership as its leader tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct List {
    /// Its members.
    pub members: MemberSet,
    /// Whether it has quorum.
    pub has_quorum: bool,
    /// The instance in which each member joined.
    pub joined: [u32; NODES_MAX],
    /// Its cookie, when it is a new one.
    pub cookie: Option<Cookie>,
}

impl Body {
    /// `t`.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Version => "CCM_TYPE_PROTOVERSION",
            Self::VersionAnswer { .. } => "CCM_TYPE_PROTOVERSION_RESP",
            Self::Alive => "CCM_TYPE_ALIVE",
            Self::NewNode { .. } => "CCM_TYPE_NEW_NODE",
            Self::LeaveNotice { .. } => "CCM_TYPE_NODE_LEAVE_NOTICE",
            Self::NodeLeave { .. } => "CCM_TYPE_NODE_LEAVE",
            Self::MemList { .. } => "CCM_TYPE_MEM_LIST",
            Self::Join => "CCM_TYPE_JOIN",
            Self::AskList => "CCM_TYPE_REQ_MEMLIST",
            Self::ListAnswer { .. } => "CCM_TYPE_RES_MEMLIST",
            Self::FinalList { .. } => "CCM_TYPE_FINAL_MEMLIST",
            Self::Abort => "CCM_TYPE_ABORT",
            Self::StateInfo(_) => "CCM_TYPE_STATE_INFO",
            Self::Restart => "CCM_TYPE_RESTART",
        }
    }

    /// Whether it comes without a [`Standing`].
    const fn is_minimal(&self) -> bool {
        matches!(self, Self::Version | Self::Restart)
    }
}

/// One message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message {
    /// The sender's instance.
    pub major: u32,
    /// Where the sender stands; not in [`Body::Version`] and [`Body::Restart`].
    pub standing: Option<Standing>,
    /// The rest.
    pub body: Body,
}

/// Why a message means nothing here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reject {
    /// It is none of the services'.
    Kind,
    /// This field is missing or makes no sense.
    Field(&'static str),
    /// The sender counts this number of nodes, not ours: the files differ.
    NodeCount(u32),
}

impl fmt::Display for Reject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kind => f.write_str("an unknown type"),
            Self::Field(name) => write!(f, "no field {name}, or nothing sensible in it"),
            Self::NodeCount(count) => write!(f, "its sender counts {count} nodes"),
        }
    }
}

macro_rules! names {
    ($($id:ident $word:literal),* $(,)?) => {
        /// Fields that are read here.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        enum Name { $($id),* }

        impl Name {
            const ALL: &'static [Self] = &[$(Self::$id),*];

            const fn word(self) -> &'static str {
                match self { $(Self::$id => $word),* }
            }
        }
    };
}

names! {
    Type "t", Major "ccmmajor", Minor "ccmminor", Joined "ccmuptime", Max "ccmmaxt", Cookie "ccmcookie",
    NewCookie "ccmnewcookie", Members "ccmmemlist", JoinedList "ccmuptimelist", Version "ccmproto", Size "ccmclsize",
    Quorum "ccmquorum", Nodes "numnodes", Node "node", State "state",
}

/// The fields of a message that are looked at; of each name the first counts.
#[derive(Debug, Clone, Copy, Default)]
pub struct Fields<'a> {
    slots: [Option<&'a [u8]>; Name::ALL.len()],
}

impl<'a> Fields<'a> {
    /// Takes note of one field, of whatever type, without its type's digit.
    pub fn note(&mut self, name: &[u8], value: &'a [u8]) {
        let place = Name::ALL.iter().position(|known| known.word().as_bytes() == name);
        if let Some(slot @ None) = place.and_then(|place| self.slots.get_mut(place)) {
            *slot = Some(value);
        }
    }

    /// Takes note of the fields of a message in text form, such as clients send; what is no field is passed over.
    pub fn of_text(text: &'a [u8]) -> Self {
        let mut fields = Self::default();
        for line in text.split(|byte| *byte == b'\n') {
            let line = match line {
                [b'(', _, b')', rest @ ..] => rest,
                _ => line,
            };
            if let Some(equals) = line.iter().position(|byte| *byte == b'=') {
                let (name, value) = line.split_at(equals);
                fields.note(name, value.get(1..).unwrap_or_default());
            }
        }
        fields
    }

    fn get(&self, name: Name) -> Result<&'a [u8], Reject> {
        self.slots.get(name as usize).copied().flatten().ok_or(Reject::Field(name.word()))
    }

    fn number(&self, name: Name) -> Result<u32, Reject> {
        number(self.get(name)?).ok_or(Reject::Field(name.word()))
    }

    fn flag(&self, name: Name) -> Result<bool, Reject> {
        Ok(self.number(name)? != 0)
    }

    fn cookie(&self, name: Name) -> Result<Cookie, Reject> {
        Cookie::read(self.get(name)?).ok_or(Reject::Field(name.word()))
    }

    fn members(&self, local: &Local) -> Result<MemberSet, Reject> {
        let reject = Reject::Field(Name::Members.word());
        let set = read_bitmap(self.get(Name::Members)?).ok_or(reject)?;
        if (set - local.all()).is_empty() { Ok(set) } else { Err(reject) }
    }

    fn node(&self, local: &Local) -> Result<MemberId, Reject> {
        let name = core::str::from_utf8(self.get(Name::Node)?).ok();
        name.and_then(|name| local.of(name)).ok_or(Reject::Field(Name::Node.word()))
    }

    fn list(&self, local: &Local) -> Result<List, Reject> {
        let members = self.members(local)?;
        let joined = read_joined(self.get(Name::JoinedList)?, members).ok_or(Reject::Field(Name::JoinedList.word()))?;
        let cookie = self.get(Name::NewCookie).is_ok().then(|| self.cookie(Name::NewCookie)).transpose()?;
        Ok(List { members, has_quorum: self.flag(Name::Quorum)?, joined, cookie })
    }

    fn body(&self, local: &Local) -> Result<Body, Reject> {
        let state = |word: &[u8]| StateName::WORDS.iter().find(|(_, known)| known.as_bytes() == word);
        Ok(match self.get(Name::Type)? {
            b"CCM_TYPE_PROTOVERSION" => Body::Version,
            b"CCM_TYPE_PROTOVERSION_RESP" => Body::VersionAnswer { size: self.number(Name::Size)? },
            b"CCM_TYPE_ALIVE" => Body::Alive,
            b"CCM_TYPE_NEW_NODE" => Body::NewNode { node: self.node(local)? },
            b"CCM_TYPE_NODE_LEAVE_NOTICE" => Body::LeaveNotice { node: self.node(local)? },
            b"CCM_TYPE_NODE_LEAVE" => Body::NodeLeave { node: self.node(local)? },
            b"CCM_TYPE_MEM_LIST" => Body::MemList(self.list(local)?),
            b"CCM_TYPE_JOIN" => Body::Join,
            b"CCM_TYPE_REQ_MEMLIST" => Body::AskList,
            b"CCM_TYPE_RES_MEMLIST" => {
                Body::ListAnswer { instance: self.number(Name::Max)?, heard: self.members(local)? }
            }
            b"CCM_TYPE_FINAL_MEMLIST" => Body::FinalList {
                instance: self.number(Name::Max)?,
                members: self.members(local)?,
                has_quorum: self.flag(Name::Quorum)?,
                cookie: self.cookie(Name::NewCookie)?,
            },
            b"CCM_TYPE_ABORT" => Body::Abort,
            b"CCM_TYPE_STATE_INFO" => {
                let state = state(self.get(Name::State)?).ok_or(Reject::Field(Name::State.word()))?;
                Body::StateInfo(state.0)
            }
            b"CCM_TYPE_RESTART" => Body::Restart,
            _ => return Err(Reject::Kind),
        })
    }
}

impl Message {
    /// Reads one.
    ///
    /// # Errors
    /// [`Reject`].
    pub fn read(fields: &Fields<'_>, local: &Local) -> Result<Self, Reject> {
        let body = fields.body(local)?;
        let count = fields.number(Name::Nodes)?;
        if usize::try_from(count).ok() != Some(local.names().len()) {
            return Err(Reject::NodeCount(count));
        }
        let standing = (!body.is_minimal()).then(|| {
            let cookie = fields.cookie(Name::Cookie)?;
            Ok(Standing { cookie, joined: fields.number(Name::Joined)?, minor: fields.number(Name::Minor)? })
        });
        Ok(Self { major: fields.number(Name::Major)?, standing: standing.transpose()?, body })
    }

    /// Writes its fields, one on each line, without what a client's daemon adds (addressee and sender). Returns the length.
    pub fn write_lines(&self, local: &Local, out: &mut [u8; ENCODED_MAX]) -> usize {
        let mut sheet = Sheet { out, len: 0 };
        let written = self.write_on(&mut sheet, local);
        debug_assert!(written.is_ok(), "ENCODED_MAX is enough for all");
        sheet.len
    }

    /// Fields in the order of the original, `ccmmajor` twice as there.
    fn write_on(&self, sheet: &mut Sheet<'_>, local: &Local) -> fmt::Result {
        let (major, nodes) = (self.major, local.names().len());
        write!(sheet, "t={}\nccmmajor={major}\nnumnodes={nodes}\n", self.body.kind())?;
        if let Some(Standing { cookie, joined, minor }) = self.standing {
            write!(sheet, "ccmcookie={cookie}\nccmmajor={major}\nccmuptime={joined}\nccmminor={minor}\n")?;
        }
        self.body.write_on(sheet, local)
    }
}

impl Body {
    fn write_on(&self, sheet: &mut Sheet<'_>, local: &Local) -> fmt::Result {
        match *self {
            Self::Version | Self::Alive | Self::Join | Self::AskList | Self::Abort | Self::Restart => Ok(()),
            Self::VersionAnswer { size } => write!(sheet, "ccmproto=0\nccmclsize={size}\n"),
            Self::NewNode { node } | Self::LeaveNotice { node } | Self::NodeLeave { node } => {
                writeln!(sheet, "node={}", local.name(node))
            }
            Self::MemList(list) => {
                let quorum = u8::from(list.has_quorum);
                write!(sheet, "ccmmemlist={}\nccmquorum={quorum}\n(3)ccmuptimelist=", Bitmap(list.members))?;
                for member in list.members.iter() {
                    let mut text = heapless::String::<11>::new();
                    let turned = list.joined[usize::from(member.0)].swap_bytes();
                    write!(text, "{}", i32::from_ne_bytes(turned.to_ne_bytes()))?;
                    write!(sheet, "{}:{text},", text.len())?;
                }
                sheet.write_str("\n")?;
                list.cookie.map_or(Ok(()), |cookie| writeln!(sheet, "ccmnewcookie={cookie}"))
            }
            Self::ListAnswer { instance, heard } if heard.is_empty() => {
                write!(sheet, "ccmmaxt={instance}\nccmmemlist=\n")
            }
            Self::ListAnswer { instance, heard } => write!(sheet, "ccmmaxt={instance}\nccmmemlist={}\n", Bitmap(heard)),
            Self::FinalList { instance, members, has_quorum, cookie } => {
                write!(sheet, "ccmmaxt={instance}\nccmmemlist={}\n", Bitmap(members))?;
                write!(sheet, "ccmquorum={}\nccmnewcookie={cookie}\n", u8::from(has_quorum))
            }
            Self::StateInfo(state) => writeln!(sheet, "state={}", state.word()),
        }
    }
}

struct Sheet<'o> {
    out: &'o mut [u8; ENCODED_MAX],
    len: usize,
}

impl fmt::Write for Sheet<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = self.out.get_mut(self.len..self.len + text.len()).ok_or(fmt::Error)?;
        room.copy_from_slice(text.as_bytes());
        self.len += text.len();
        Ok(())
    }
}

/// A set as text: a bit for each member, the lowest first.
struct Bitmap(MemberSet);

impl fmt::Display for Bitmap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = [0; BITMAP];
        bytes.iter_mut().zip(self.0.0.to_le_bytes()).for_each(|(slot, byte)| *slot = byte);
        let mut text = [0; BITMAP_TEXT];
        let len = STANDARD.encode_slice(bytes, &mut text).map_err(|_| fmt::Error)?;
        f.write_str(core::str::from_utf8(text.get(..len).unwrap_or_default()).map_err(|_| fmt::Error)?)
    }
}

fn read_bitmap(text: &[u8]) -> Option<MemberSet> {
    if text.is_empty() {
        return Some(MemberSet::EMPTY);
    }
    if text.len() != BITMAP_TEXT {
        return None;
    }
    let mut bytes = [0; BITMAP_TEXT / 4 * 3];
    let len = STANDARD.decode_slice(text, &mut bytes).ok()?;
    let (low, high) = bytes.get(..len).filter(|bytes| bytes.len() == BITMAP)?.split_first_chunk()?;
    // More nodes than we can have are not ours.
    high.iter().all(|byte| *byte == 0).then_some(MemberSet(u16::from_le_bytes(*low)))
}

/// `8:16777216,8:33554432,`: for each member one number in network order, printed as a little-endian machine reads that.
/// Nullbeats on other machines print the same.
fn read_joined(text: &[u8], members: MemberSet) -> Option<[u32; NODES_MAX]> {
    let mut joined = [0; NODES_MAX];
    let mut rest = text;
    for member in members.iter() {
        let colon = rest.iter().position(|byte| *byte == b':')?;
        let (len, behind) = rest.split_at(colon);
        let len = usize::try_from(number(len)?).ok()?;
        let (value, behind) = behind.get(1..)?.split_at_checked(len)?;
        rest = behind.strip_prefix(b",")?;
        // The original prints an int: a number with its highest bit is a negative one there.
        let value = match value.strip_prefix(b"-") {
            Some(value) => number(value)?.wrapping_neg(),
            None => number(value)?,
        };
        *joined.get_mut(usize::from(member.0))? = value.swap_bytes();
    }
    rest.is_empty().then_some(joined)
}

/// Decimal digits, at most 32 bits.
fn number(text: &[u8]) -> Option<u32> {
    let digit = |byte: &u8| char::from(*byte).to_digit(10);
    let fold = |number: u32, byte| number.checked_mul(10)?.checked_add(digit(byte)?);
    if text.is_empty() { None } else { text.iter().try_fold(0, fold) }
}
