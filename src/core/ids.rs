//! Names and numbers that must not be mixed up.

use super::limits::{CHECKS_MAX, GROUPS_MAX, LINK_NAME_MAX, LINKS_MAX, NODE_NAME_MAX, NODES_MAX, SITE_MAX};

/// Index of a node in [`Settings::nodes`](super::settings::Settings), the order of ha.cf.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u8);

/// Index of a link in [`Settings::links`](super::settings::Settings), the order of ha.cf.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u8);

/// Index of a ping node in [`UpstreamSettings::ping_nodes`](super::settings::UpstreamSettings), the order of ha.cf.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PingId(pub u8);

/// Index of a resource group, the order of haresources.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupId(pub u8);

/// Place of a node in the list of all nodes sorted by name, which is the same on every node: how members of the
/// membership service are numbered (spec/api.md 6.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemberId(pub u8);

/// Index of a health check in [`HealthSettings::checks`](super::settings::HealthSettings), the order of ha.cf.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CheckId(pub u8);

/// Number of a job that the core asked the guardian for; grows by one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(pub u32);

/// Number of a shot at the partner that the core asked the guardian for; grows by one, over replaced engines too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShotId(pub u32);

/// Number of something that a client of this node said, kept by the caller; grows by one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct RelayId(pub u32);

/// Number of an operator's request, chosen by the caller and returned in the reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RequestId(pub u32);

/// The number that a node raises at each start (`hg`, spec/wire.md 8.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Generation(pub u32);

/// Sequence number within a generation, from 1 (`seq`, spec/wire.md section 6). It never wraps: 2^64 beats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Seq(pub u64);

/// Number of a key of authkeys, 0 to 15 (spec/wire.md section 4). The core never sees the key itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct KeyNumber(pub u8);

/// A node's identity on the wire (`srcuuid`, spec/wire.md 10.1). All zero means unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Uuid(pub [u8; 16]);

impl Uuid {
    /// Whether it says nothing.
    pub fn is_nil(self) -> bool {
        self.0 == [0; 16]
    }
}

/// A node's name, lower case.
pub type NodeName = heapless::String<NODE_NAME_MAX>;
/// Where a node stands, as an administrator calls it.
pub type SiteName = heapless::String<SITE_MAX>;
/// A link's name: interface or device path.
pub type LinkName = heapless::String<LINK_NAME_MAX>;

macro_rules! set {
    ($(#[$doc:meta])* $name:ident, $bits:ty, $id:ident, $max:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
        pub struct $name(pub $bits);

        impl $name {
            /// Nothing.
            pub const EMPTY: Self = Self(0);

            /// The first `count` members.
            pub const fn first(count: usize) -> Self {
                assert!(count <= $max);
                if count == <$bits>::BITS as usize { Self(<$bits>::MAX) } else { Self((1 << count) - 1) }
            }

            /// Just `id`.
            pub const fn only(id: $id) -> Self {
                Self(1 << id.0)
            }

            /// Whether `id` is a member.
            pub const fn contains(self, id: $id) -> bool {
                self.0 & (1 << id.0) != 0
            }

            /// Whether there is no member.
            pub const fn is_empty(self) -> bool {
                self.0 == 0
            }

            /// Adds `id`.
            pub const fn insert(&mut self, id: $id) {
                self.0 |= 1 << id.0;
            }

            /// Takes `id` out.
            pub const fn remove(&mut self, id: $id) {
                self.0 &= !(1 << id.0);
            }

            /// How many members.
            pub const fn len(self) -> usize {
                self.0.count_ones() as usize
            }

            /// Members in rising order.
            pub fn iter(self) -> impl Iterator<Item = $id> {
                let mut rest = self.0;
                core::iter::from_fn(move || {
                    let lowest = u8::try_from(rest.trailing_zeros()).unwrap_or(u8::MAX);
                    let id = (rest != 0 && usize::from(lowest) < $max).then_some($id(lowest));
                    rest &= rest.wrapping_sub(1);
                    id
                })
            }
        }

        impl core::ops::BitOr for $name {
            type Output = Self;
            fn bitor(self, rhs: Self) -> Self {
                Self(self.0 | rhs.0)
            }
        }

        impl core::ops::BitAnd for $name {
            type Output = Self;
            fn bitand(self, rhs: Self) -> Self {
                Self(self.0 & rhs.0)
            }
        }

        impl core::ops::Sub for $name {
            type Output = Self;
            fn sub(self, rhs: Self) -> Self {
                Self(self.0 & !rhs.0)
            }
        }

        impl FromIterator<$id> for $name {
            fn from_iter<I: IntoIterator<Item = $id>>(ids: I) -> Self {
                let mut set = Self::EMPTY;
                for id in ids {
                    set.insert(id);
                }
                set
            }
        }
    };
}

set!(
    /// Some of the groups.
    GroupSet, u64, GroupId, GROUPS_MAX
);
set!(
    /// Some of the health checks.
    CheckSet, u32, CheckId, CHECKS_MAX
);
set!(
    /// Some of the nodes.
    NodeSet, u16, NodeId, NODES_MAX
);
set!(
    /// Some of the links.
    LinkSet, u16, LinkId, LINKS_MAX
);
set!(
    /// Some of the members.
    MemberSet, u16, MemberId, NODES_MAX
);
