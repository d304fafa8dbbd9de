//! What root's scripts ask by the FIFO: requests to the core, as an operator's.

use super::{Driver, FIFO};
use crate::core::ids::{GroupId, RequestId};
use crate::core::{Input, MemberChange, Outcome, Request};
use crate::daemon::control::outcome_answer;
use crate::daemon::control::server::FOREIGN_REQUESTS;
use crate::daemon::fifo::Fifo;
use crate::wire::heartbeat::{FIFO_MESSAGE_MAX, FifoMessage, FifoReject};

/// Who asked: its number with [`FOREIGN_REQUESTS`] is that of the request.
const TOOLS: [&str; 7] =
    ["hb_standby", "hb_takeover", "req_resource", "hb_addnode", "hb_delnode", "hb_setweight", "hb_setsite"];
const STANDBY: u32 = 1;
const TAKEOVER: u32 = 2;
const OBTAIN: u32 = 3;
const ADD: u32 = 4;
const DELETE: u32 = 5;
const SET_WEIGHT: u32 = 6;
const SET_SITE: u32 = 7;

impl Driver<'_> {
    // Not inlined: its frame would be part of one that every turn of the loop touches.
    #[inline(never)]
    pub(super) fn open_fifo(&mut self, descriptor: std::os::fd::OwnedFd) {
        let fifo = Fifo::new(descriptor);
        match self.reactor.add(&fifo, FIFO) {
            Ok(()) => self.fifo = Some(fifo),
            Err(error) => log::error!("The FIFO cannot be watched: {error}"),
        }
    }

    /// Takes one portion of what has been written.
    pub(super) fn serve_fifo(&mut self) {
        let now = self.now.now;
        let Some(mut fifo) = self.fifo.take() else { return };
        if self.is_fifo_paused && fifo.paused_until().is_none_or(|until| until <= now) {
            // Cannot fail: it was watched before.
            self.is_fifo_paused = self.reactor.add(&fifo, FIFO).is_err();
        }
        if self.reactor.ready().any(|ready| ready.token == FIFO) {
            let mut buffer = std::mem::take(&mut self.buffer);
            let count = fifo.read(now, &mut buffer);
            let mut bytes = &buffer[..count];
            loop {
                let message = fifo.stream().next(&mut bytes).map(FifoMessage::parse);
                let Some(message) = message.map(|message| self.asked(message)) else { break };
                if let Err(reject) = message
                    && self.fifo_log.may_log(now)
                {
                    log::warn!("A message in the FIFO was dropped: {reject}");
                }
            }
            self.buffer = buffer;
            if fifo.paused_until().is_some() {
                self.is_fifo_paused = self.reactor.remove(&fifo).is_ok();
            }
        }
        self.fifo = Some(fifo);
    }

    /// Hands one message on.
    fn asked(&mut self, message: Result<FifoMessage<'_>, FifoReject>) -> Result<(), Dropped> {
        let (tool, request) = match message.map_err(Dropped::Rejected)? {
            FifoMessage::Standby(set) => (STANDBY, Request::Standby(set)),
            FifoMessage::Takeover(set) => (TAKEOVER, Request::Takeover(set)),
            FifoMessage::Obtain { dest: Some(dest), .. } if dest != self.config.node => return Err(Dropped::NotOurs),
            FifoMessage::Obtain { key, .. } => {
                let place = self.config.groups.iter().position(|group| group.key() == key);
                let group = place.and_then(|place| u8::try_from(place).ok()).map(GroupId);
                (OBTAIN, Request::Obtain(group.ok_or(Dropped::NoSuchGroup)?))
            }
            message => return self.asked_about_nodes(message),
        };
        self.request(RequestId(FOREIGN_REQUESTS + tool), request);
        Ok(())
    }

    /// A change of the list of nodes. Names are lower case, however they were typed.
    fn asked_about_nodes(&mut self, message: FifoMessage<'_>) -> Result<(), Dropped> {
        let mut lower = heapless::String::<FIFO_MESSAGE_MAX>::new();
        let mut lower_case = |text: &str| {
            // A part of a message fits where the whole of it did.
            let _ = lower.push_str(text);
            lower.make_ascii_lowercase();
        };
        let (tool, change) = match message {
            FifoMessage::AddNodes { names } => {
                lower_case(names);
                (ADD, MemberChange::Add { names: &lower })
            }
            FifoMessage::DeleteNodes { names } => {
                lower_case(names);
                (DELETE, MemberChange::Delete { names: &lower })
            }
            FifoMessage::SetWeight { node, weight } => {
                lower_case(node);
                (SET_WEIGHT, MemberChange::SetWeight { node: &lower, weight })
            }
            FifoMessage::SetSite { node, site } => {
                lower_case(node);
                (SET_SITE, MemberChange::SetSite { node: &lower, site })
            }
            _ => return Err(Dropped::UnknownType),
        };
        self.feed(Input::Members { id: RequestId(FOREIGN_REQUESTS + tool), change });
        Ok(())
    }

    /// Tells in the log what became of a request by the FIFO; whether it was one.
    pub(super) fn answer_by_log(&mut self, id: RequestId, outcome: Outcome) -> bool {
        let tool = id.0.checked_sub(FOREIGN_REQUESTS + 1).and_then(|place| TOOLS.get(usize::try_from(place).ok()?));
        let (Some(tool), groups) = (tool, &self.config.groups) else { return false };
        if self.fifo_log.may_log(self.now.now) {
            let sheet = &mut self.fifo_log.words;
            sheet.clear();
            let key = |group: GroupId| groups.get(usize::from(group.0)).map_or("", |group| group.key());
            let code = outcome_answer(outcome, key, sheet);
            let words = sheet.finish().trim_end();
            if code == 0 {
                log::info!("{tool}: {}", if words.is_empty() { "done" } else { words });
            } else {
                log::warn!("{tool}: {words}");
            }
        }
        true
    }
}

/// Why a whole message had no effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dropped {
    Rejected(FifoReject),
    NotOurs,
    NoSuchGroup,
    UnknownType,
}

impl std::fmt::Display for Dropped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Rejected(reject) => reject.fmt(f),
            Self::NotOurs => f.write_str("it is for another node"),
            Self::NoSuchGroup => f.write_str("no line of haresources begins with this resource"),
            Self::UnknownType => f.write_str("its type means nothing here"),
        }
    }
}
