//! Every kind of line in a report, with its fields.

/// Version of the lines and of the JSON made from them.
pub const VERSION: u32 = 1;

/// What a field holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Words.
    Text,
    /// A whole number.
    Number,
    /// 0 or 1.
    Flag,
}

/// How the lines of one kind look in JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// At most one line: an object.
    One,
    /// Any number: a list of objects.
    List,
    /// Any number, each a name and a value: an object.
    Map,
}

/// One kind of line.
#[derive(Debug, Clone, Copy)]
pub struct Section {
    /// First word of its lines.
    pub kind: &'static str,
    /// Its name in JSON.
    pub name: &'static str,
    /// How many lines of it there are.
    pub shape: Shape,
    /// Names and types of the values.
    pub fields: &'static [(&'static str, Kind)],
}

use Kind::{Flag, Number, Text};

/// Every kind of line with its fields, in the order in which they are written.
pub const SCHEMA: &[Section] = &[
    Section {
        kind: "node",
        name: "node",
        shape: Shape::One,
        fields: &[
            ("place", Number),
            ("name", Text),
            ("status", Text),
            ("phase", Text),
            ("handover", Text),
            ("holds", Text),
            ("is_settled", Flag),
            ("is_held", Flag),
            ("generation", Number),
            ("uuid", Text),
            ("program", Text),
            ("engine_pid", Number),
            ("guardian_pid", Number),
            ("uptime_ms", Number),
            ("signing_key", Number),
            ("config_digest", Text),
            ("resources_digest", Text),
            ("is_filtered", Flag),
            ("is_landlocked", Flag),
            ("refused_calls", Number),
        ],
    },
    Section {
        kind: "settings",
        name: "settings",
        shape: Shape::One,
        fields: &[
            ("keepalive_ms", Number),
            ("warntime_ms", Number),
            ("deadtime_ms", Number),
            ("initdead_ms", Number),
            ("announced_deadtime_ms", Number),
            ("auto_failback", Text),
            ("takeover_policy", Text),
            ("has_resources", Flag),
        ],
    },
    Section {
        kind: "group",
        name: "groups",
        shape: Shape::List,
        fields: &[
            ("key", Text),
            ("preferred", Text),
            ("state", Text),
            ("since_ms", Number),
            ("cause", Text),
            ("is_claimed", Flag),
            ("retry_in_ms", Number),
            ("partner_state", Text),
        ],
    },
    Section {
        kind: "peer",
        name: "peers",
        shape: Shape::List,
        fields: &[
            ("place", Number),
            ("name", Text),
            ("status", Text),
            ("is_partner", Flag),
            ("program", Text),
            ("generation", Number),
            ("heard_ms", Number),
            ("deadtime_ms", Number),
            ("hears_us", Flag),
            ("is_settled", Flag),
            ("is_held", Flag),
            ("holds", Text),
            ("config_digest", Text),
            ("resources_digest", Text),
        ],
    },
    Section {
        kind: "ping",
        name: "ping_nodes",
        shape: Shape::List,
        fields: &[
            ("place", Number),
            ("name", Text),
            ("status", Text),
            ("heard_ms", Number),
            ("answers", Number),
            ("deaths", Number),
        ],
    },
    Section {
        kind: "upstream",
        name: "upstream",
        shape: Shape::One,
        fields: &[("is_compared", Flag), ("here", Number), ("partner", Number), ("holdoff_ms", Number)],
    },
    Section {
        kind: "check",
        name: "checks",
        shape: Shape::List,
        fields: &[("name", Text), ("group", Text), ("health", Text), ("restarts", Number), ("restarts_max", Number)],
    },
    Section {
        kind: "health",
        name: "health",
        shape: Shape::One,
        fields: &[
            ("failing", Number),
            ("unknown", Number),
            ("partner_failing", Number),
            ("partner_unknown", Number),
            ("holdoff_ms", Number),
        ],
    },
    Section {
        kind: "membership",
        name: "membership",
        shape: Shape::One,
        fields: &[("state", Text), ("instance", Number), ("has_quorum", Flag), ("programs", Number)],
    },
    Section {
        kind: "member",
        name: "members",
        shape: Shape::List,
        fields: &[("id", Number), ("name", Text), ("born_on", Number)],
    },
    Section {
        kind: "client_socket",
        name: "client_socket",
        shape: Shape::One,
        fields: &[
            ("connected", Number),
            ("signed_on", Number),
            ("queue_max", Number),
            ("accepted", Number),
            ("granted", Number),
            ("refused", Number),
            ("crowded", Number),
            ("garbage", Number),
            ("unread", Number),
            ("relayed", Number),
            ("too_long", Number),
            ("unfit", Number),
            ("unknown_node", Number),
        ],
    },
    Section {
        kind: "client",
        name: "clients",
        shape: Shape::List,
        fields: &[("name", Text), ("pid", Number), ("uid", Number), ("queue", Number), ("queue_max", Number)],
    },
    Section {
        kind: "link",
        name: "links",
        shape: Shape::List,
        fields: &[
            ("name", Text),
            ("peer", Text),
            ("is_up", Flag),
            ("heard_ms", Number),
            ("peer_heard_ms", Number),
            ("received", Number),
            ("duplicates", Number),
            ("deaths", Number),
            ("keepalive_ms", Number),
            ("format", Text),
        ],
    },
    Section {
        kind: "medium",
        name: "media",
        shape: Shape::List,
        fields: &[
            ("name", Text),
            ("is_open", Flag),
            ("sent", Number),
            ("unsent", Number),
            ("losses", Number),
            ("received", Number),
            ("noise_bytes", Number),
            ("torn", Number),
            ("oversize", Number),
        ],
    },
    Section {
        kind: "reject",
        name: "rejects",
        shape: Shape::List,
        fields: &[("link", Text), ("reason", Text), ("count", Number)],
    },
    Section {
        kind: "cable",
        name: "cables",
        shape: Shape::List,
        fields: &[("name", Text), ("verdict", Text), ("advice", Text), ("grounds", Text)],
    },
    Section {
        kind: "watchdog",
        name: "watchdogs",
        shape: Shape::List,
        fields: &[
            ("device", Text),
            ("identity", Text),
            ("timeout_ms", Number),
            ("kicked_ms", Number),
            ("withheld", Text),
            ("failures", Number),
            ("reset_cause", Text),
            ("is_nowayout", Flag),
        ],
    },
    Section {
        kind: "alarm",
        name: "alarms",
        shape: Shape::List,
        fields: &[("name", Text), ("subject", Text), ("text", Text)],
    },
    Section {
        kind: "fencing",
        name: "fencing",
        shape: Shape::One,
        fields: &[
            ("stage", Text),
            ("method", Number),
            ("next_ms", Number),
            ("since_ms", Number),
            ("tries", Number),
            ("needs_person", Flag),
            ("in_hour", Number),
        ],
    },
    Section {
        kind: "fence",
        name: "fences",
        shape: Shape::List,
        fields: &[
            ("place", Number),
            ("name", Text),
            ("kind", Text),
            ("limit_ms", Number),
            ("is_answering", Flag),
            ("checked_ms", Number),
            ("last", Text),
            ("last_ms", Number),
            ("took_ms", Number),
        ],
    },
    Section {
        kind: "line",
        name: "lines",
        shape: Shape::List,
        fields: &[("name", Text), ("line", Text), ("direction", Text), ("level", Text), ("is_believed", Flag)],
    },
    Section {
        kind: "move",
        name: "last_move",
        shape: Shape::One,
        fields: &[
            ("cause", Text),
            ("age_ms", Number),
            ("wall", Number),
            ("detect_us", Number),
            ("decide_us", Number),
            ("total_us", Number),
            ("running", Number),
            ("failed", Number),
            ("more_scripts", Number),
        ],
    },
    Section {
        kind: "script",
        name: "last_move_scripts",
        shape: Shape::List,
        fields: &[("group", Text), ("resource", Text), ("us", Number)],
    },
    Section { kind: "counter", name: "counters", shape: Shape::Map, fields: &[("name", Text), ("value", Number)] },
    Section {
        kind: "event",
        name: "events",
        shape: Shape::List,
        fields: &[
            ("number", Number),
            ("age_ms", Number),
            ("wall", Number),
            ("monotonic_ms", Number),
            ("boot", Text),
            ("node", Text),
            ("event", Text),
            ("subject", Text),
            ("from", Text),
            ("to", Text),
            ("cause", Text),
            ("ms", Number),
            ("heard_ms", Number),
            ("links", Text),
            ("pings", Text),
            ("lines", Text),
            ("gate", Text),
            ("generation", Number),
        ],
    },
];
