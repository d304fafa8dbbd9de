//! What happens in a cell.

use crate::bench::{Bench, Outcome};
use crate::{deaths, identity, network, operators, starts, wall_clock};

/// A scenario. Board 0 is alpha, which runs nullbeat; board 1 is beta, which runs Heartbeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scenario {
    StartTogether,
    NullbeatFirst,
    HeartbeatFirst,
    StopNullbeat,
    StopHeartbeat,
    KillNullbeat,
    KillHeartbeat,
    KillEither,
    RestartNullbeat,
    RestartHeartbeat,
    ReturnOff,
    ReturnLegacy,
    Standby,
    Takeover,
    StandbyByFifo,
    TakeoverByFifo,
    Partition,
    Loss5,
    Loss20,
    Loss40,
    ClockNullbeat,
    ClockHeartbeat,
    MoveOver,
    KeyRollover,
    Preferred,
    Other,
}

/// Every scenario that each medium runs, in the order of the table.
pub(crate) const SCENARIOS: [Scenario; 22] = [
    Scenario::StartTogether,
    Scenario::NullbeatFirst,
    Scenario::HeartbeatFirst,
    Scenario::StopNullbeat,
    Scenario::StopHeartbeat,
    Scenario::KillNullbeat,
    Scenario::KillHeartbeat,
    Scenario::RestartNullbeat,
    Scenario::RestartHeartbeat,
    Scenario::ReturnOff,
    Scenario::ReturnLegacy,
    Scenario::Standby,
    Scenario::Takeover,
    Scenario::Partition,
    Scenario::Loss5,
    Scenario::Loss20,
    Scenario::Loss40,
    Scenario::ClockNullbeat,
    Scenario::ClockHeartbeat,
    Scenario::MoveOver,
    Scenario::Preferred,
    Scenario::Other,
];

/// What has nothing to do with the medium: serial and ucast only.
pub(crate) const LOCAL: [Scenario; 3] = [Scenario::StandbyByFifo, Scenario::TakeoverByFifo, Scenario::KeyRollover];

impl Scenario {
    /// Its part of a cell's name.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::StartTogether => "start together",
            Self::NullbeatFirst => "nullbeat first",
            Self::HeartbeatFirst => "Heartbeat first",
            Self::StopNullbeat => "stop nullbeat",
            Self::StopHeartbeat => "stop Heartbeat",
            Self::KillNullbeat => "kill nullbeat",
            Self::KillHeartbeat => "kill Heartbeat",
            Self::KillEither => "kill",
            Self::RestartNullbeat => "restart nullbeat",
            Self::RestartHeartbeat => "restart Heartbeat",
            Self::ReturnOff => "return, failback off",
            Self::ReturnLegacy => "return, failback legacy",
            Self::Standby => "hb_standby",
            Self::Takeover => "hb_takeover",
            Self::StandbyByFifo => "packaged hb_standby",
            Self::TakeoverByFifo => "packaged hb_takeover",
            Self::Partition => "partition and heal",
            Self::Loss5 => "5 % loss",
            Self::Loss20 => "20 % loss",
            Self::Loss40 => "40 % loss",
            Self::ClockNullbeat => "clock of nullbeat",
            Self::ClockHeartbeat => "clock of Heartbeat",
            Self::MoveOver => "move over",
            Self::KeyRollover => "key rollover",
            Self::Preferred => "nullbeat preferred",
            Self::Other => "Heartbeat preferred",
        }
    }

    /// What is done, and what must come of it.
    pub(crate) const fn meaning(self) -> &'static str {
        match self {
            Self::StartTogether => "both start at once; each gets its own group. Time: start to both running",
            Self::NullbeatFirst => {
                "nullbeat starts alone and takes everything; Heartbeat comes and gets its own. Time: longest gap"
            }
            Self::HeartbeatFirst => {
                "Heartbeat starts alone and takes everything; nullbeat comes and gets its own. Time: longest gap"
            }
            Self::StopNullbeat => "`nullbeat stop`; the other takes over; started again, it gets its own back",
            Self::StopHeartbeat => "`heartbeat -k`; the other takes over; started again, it gets its own back",
            Self::KillNullbeat => {
                "nullbeat's board loses its power: every process at once. The other takes over; back, it gets its own"
            }
            Self::KillHeartbeat => {
                "Heartbeat's board loses its power: every process at once. The other takes over; back, it gets its own"
            }
            Self::KillEither => "the last two rows one after the other",
            Self::RestartNullbeat => {
                "SIGKILL of all of nullbeat's processes, its services go on; started again within deadtime. No move"
            }
            Self::RestartHeartbeat => {
                "SIGKILL of all of Heartbeat's processes, its services go on; started again within deadtime. No move"
            }
            Self::ReturnOff => "each board loses power and returns with auto_failback off; nothing moves at the return",
            Self::ReturnLegacy => "each board loses power and returns with auto_failback legacy; it gets its own back",
            Self::Standby => "`hb_standby` with `all`, `local`, `foreign`, `failback`, typed on either board",
            Self::Takeover => "`hb_takeover` with `all`, `local`, `foreign`, `failback`, typed on either board",
            Self::StandbyByFifo => "the same with the package's own script on nullbeat's board too, through the FIFO",
            Self::TakeoverByFifo => "the same with the package's own script on nullbeat's board too, through the FIFO",
            Self::Partition => {
                "everything cut: both own everything, as configured. Healed: Heartbeat drops everything and restarts \
                 itself; nullbeat keeps, stops nothing, and there is no second owner after Heartbeat's release"
            }
            Self::Loss5 => "5 % of the packets lost for 10 s, deadtime 5 keepalives. No death, nothing stays missing",
            Self::Loss20 => "20 % of the packets lost for 10 s, deadtime 5 keepalives. No death, nothing stays missing",
            Self::Loss40 => {
                "40 % of the packets lost for 10 s, deadtime 20 keepalives. No death, nothing stays missing"
            }
            Self::ClockNullbeat => {
                "the clock of nullbeat's board jumps by a day, and back. Nothing moves; then a takeover"
            }
            Self::ClockHeartbeat => {
                "the clock of Heartbeat's board jumps by a day, and back. Nothing moves; then a takeover"
            }
            Self::MoveOver => {
                "two Heartbeats; one after the other is replaced by nullbeat in place, once back and forth: same uuid, \
                 generation goes on, each service is handed over"
            }
            Self::KeyRollover => {
                "a second key comes into both authkeys, both change over, the first one goes. Nothing moves"
            }
            Self::Preferred => "both groups belong to nullbeat's board, which loses power and returns",
            Self::Other => "both groups belong to Heartbeat's board, which loses power and returns",
        }
    }

    /// The file haresources.
    pub(crate) const fn haresources(self) -> &'static str {
        match self {
            Self::Preferred => "alpha trace::web\nalpha trace::mail\n",
            Self::Other => "beta trace::web\nbeta trace::mail\n",
            _ => "alpha trace::web\nbeta trace::mail\n",
        }
    }

    /// Each group and the index of the board that it belongs to.
    pub(crate) const fn home(self) -> [(&'static str, usize); 2] {
        match self {
            Self::Preferred => [("web", 0), ("mail", 0)],
            Self::Other => [("web", 1), ("mail", 1)],
            _ => [("web", 0), ("mail", 1)],
        }
    }

    /// Lines of ha.cf: keepalive is 200 ms everywhere.
    pub(crate) const fn timing(self) -> &'static str {
        match self {
            Self::Loss5 | Self::Loss20 => "keepalive 200ms\nwarntime 800ms\ndeadtime 1\ninitdead 6\n",
            Self::Loss40 => "keepalive 200ms\nwarntime 2\ndeadtime 4\ninitdead 8\n",
            _ => "keepalive 200ms\nwarntime 1\ndeadtime 2\ninitdead 6\n",
        }
    }

    /// The word behind `auto_failback`.
    pub(crate) const fn auto_failback(self) -> &'static str {
        match self {
            Self::ReturnOff => "off",
            Self::ReturnLegacy => "legacy",
            _ => "on",
        }
    }

    /// How often a cell may be tried. When four beats in a row are lost the fifth comes a moment after a dead time of five
    /// keepalives: with 20 % loss in one run of eight, rightly.
    pub(crate) const fn tries(self) -> usize {
        if matches!(self, Self::Loss20) { 3 } else { 1 }
    }

    /// Whether it is worth running with two Heartbeats, to have something to compare with.
    pub(crate) const fn has_reference(self) -> bool {
        !matches!(self, Self::MoveOver | Self::StandbyByFifo | Self::TakeoverByFifo)
    }

    /// Runs it.
    pub(crate) fn play(self, bench: &mut Bench) -> Outcome {
        match self {
            Self::StartTogether => starts::together(bench),
            Self::NullbeatFirst => starts::one_first(bench, 0),
            Self::HeartbeatFirst => starts::one_first(bench, 1),
            Self::StopNullbeat => deaths::clean_stop(bench, 0),
            Self::StopHeartbeat => deaths::clean_stop(bench, 1),
            Self::KillNullbeat | Self::Preferred => deaths::power_loss(bench, &[0]),
            Self::KillHeartbeat | Self::Other => deaths::power_loss(bench, &[1]),
            Self::KillEither | Self::ReturnOff | Self::ReturnLegacy => deaths::power_loss(bench, &[1, 0]),
            Self::RestartNullbeat => deaths::fast_restart(bench, 0),
            Self::RestartHeartbeat => deaths::fast_restart(bench, 1),
            Self::Standby | Self::StandbyByFifo => operators::play(bench, "hb_standby"),
            Self::Takeover | Self::TakeoverByFifo => operators::play(bench, "hb_takeover"),
            Self::Partition => network::partition(bench),
            Self::Loss5 => network::loss(bench, 5),
            Self::Loss20 => network::loss(bench, 20),
            Self::Loss40 => network::loss(bench, 40),
            Self::ClockNullbeat => wall_clock::step(bench, 0),
            Self::ClockHeartbeat => wall_clock::step(bench, 1),
            Self::MoveOver => identity::move_over(bench),
            Self::KeyRollover => identity::key_rollover(bench),
        }
    }
}
