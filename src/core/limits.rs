//! Every capacity of the core, in one place. Full is an answer: each use states its policy and counter.

/// Nodes in ha.cf, the local one included, and those that were added or deleted since. More are refused, by the
/// configuration check or at run time.
pub const NODES_MAX: usize = 16;
/// Bytes of a node name (spec/wire.md section 1).
pub const NODE_NAME_MAX: usize = 99;
/// Bytes of a node's site (`setsite`). A longer one is refused.
pub const SITE_MAX: usize = 64;
/// Links, that is media lines of ha.cf. More are refused by the configuration check.
pub const LINKS_MAX: usize = 16;
/// Ping nodes: hosts of `ping` and `ping6`, and ping groups. More are refused by the configuration check.
pub const PING_NODES_MAX: usize = 8;
/// Hosts of one ping group. More are refused by the configuration check.
pub const PING_HOSTS_MAX: usize = 16;
/// Clients that are signed on at a time, and connections that have not signed on yet. One more is told so and closed.
pub const CLIENTS_MAX: usize = 24;
/// Programs that are told of the membership at a time; no user, root included, gets all of the places, no process more than a
/// quarter. One more is closed at once, and that is logged.
pub const PROGRAMS_MAX: usize = 16;
/// Messages of clients kept for retransmission; fewer when there are long ones among them. Of an older one a peer is told that
/// it cannot be had again.
pub const RELAYED_MAX: usize = 114;
/// Bytes of a client's message in the text form, without what the daemon adds: so much that UDP carries it. A longer one is
/// refused.
pub const RELAYED_LEN_MAX: usize = 60 * 1024;
/// The same where a serial line is among the links: at 9600 baud beats wait for it no longer than they may.
pub const RELAYED_SERIAL_LEN_MAX: usize = 6144;
/// The same with `protocol compact`, where it is cut into frames.
pub const RELAYED_COMPACT_LEN_MAX: usize = 896;
/// Bytes of a client's name in a question about it. One with a longer name gets no answer.
pub const CLIENT_NAME_MAX: usize = 32;
/// Bytes of a link's name: an interface or a device path, longer ones are refused by the configuration check.
pub const LINK_NAME_MAX: usize = 99;
/// Groups in haresources, both nodes together. More are refused by the configuration check.
pub const GROUPS_MAX: usize = 64;
/// Sequenced messages kept for retransmission (spec/wire.md 8.4: 500). The oldest is overwritten; a peer that asks for
/// it is told so with `NS_nak_rexmit`.
pub const REXMIT_SLOTS: usize = 500;
/// How far back missing sequence numbers of a peer are remembered (spec/wire.md 8.2 keeps 500): a multiple of 64. An
/// older one is given up and counted, no peer keeps messages that long.
pub const MISSING_MAX: usize = 512;
/// A gap larger than this resets tracking (spec/wire.md 8.3 step 8).
pub const GAP_MAX: u64 = 250;
/// Retransmissions sent for one request (spec/wire.md 8.4).
pub const REXMIT_BURST: usize = 50;
/// Actions that one input may cause. The contract is to drain after each input, so this is never reached; if it were,
/// the core would panic and the guardian would restart it.
pub const ACTIONS_MAX: usize = 320;
/// Operator requests waiting for an outcome. One more is answered `Busy`.
pub const REQUESTS_MAX: usize = 8;
/// Ways to fence the partner (`fence` lines of ha.cf). More are refused by the configuration check.
pub const FENCE_METHODS_MAX: usize = 8;
/// Fencings remembered for the limit in an hour, which cannot be more.
pub const FENCINGS_MAX: usize = 16;
/// Health checks of a node (`check` and `monitor` lines of ha.cf). More are refused by the configuration check.
pub const CHECKS_MAX: usize = 32;
/// Moves remembered for `moves_per_hour`, which cannot be more.
pub const MOVES_MAX: usize = 32;

const _: () = assert!(GROUPS_MAX <= 64, "group sets are 64 bits wide");
const _: () = assert!(NODES_MAX <= 16, "node sets are 16 bits wide");
const _: () = assert!(CHECKS_MAX <= 32, "check sets are 32 bits wide");
const _: () = assert!(LINKS_MAX <= 16, "link sets are 16 bits wide");
const _: () = assert!(MISSING_MAX >= REXMIT_SLOTS, "what a peer still keeps can still be asked for");
const _: () = assert!(ACTIONS_MAX > 3 * GROUPS_MAX + REXMIT_BURST, "one input may move every group");

/// Lines `respawn` and `failfast` together.
pub const CLIENT_LINES_MAX: usize = 16;
/// Long-lived children of the guardian: those of the lines, and its own services.
pub const CHILDREN_MAX: usize = CLIENT_LINES_MAX + 8;
