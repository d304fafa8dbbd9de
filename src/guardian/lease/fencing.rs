//! What the page keeps of the partner and of fencing it.

use super::digest::{methods_digest, nodes_digest};
use super::{
    FENCING_AT, FENCING_CONFIRMED, FENCING_METHOD_SHIFT, LIED_AT, Lease, METHODS_AT, PARTNER_AT, PARTNER_DEAD,
    PARTNER_FLAGS, PARTNER_KNOWN, PARTNER_LEFT, SETTLED_AT, SHOT_AT, TURNS_AT, instant_of, instant_word,
};
use crate::config::Config;
use crate::core::ids::{Generation, ShotId};
use crate::core::settings::{Carried, CarriedFencing, CarriedPartner};
use crate::core::time::Instant;

impl Lease {
    /// What the engine knows of the partner that `config` names. Kept until the next one: an engine that has not heard
    /// anything yet knows nothing better.
    pub fn set_partner(&self, config: &Config, known: CarriedPartner) {
        let flags = PARTNER_KNOWN
            | if known.is_dead { PARTNER_DEAD } else { 0 }
            | if known.has_left { PARTNER_LEFT } else { 0 };
        self.store(PARTNER_AT, nodes_digest(config) & !PARTNER_FLAGS | flags);
    }

    /// The last [`Lease::set_partner`], unless the nodes were others.
    pub fn partner(&self, config: &Config) -> Option<CarriedPartner> {
        let word = self.load(PARTNER_AT);
        let is_same = word & !PARTNER_FLAGS == nodes_digest(config) & !PARTNER_FLAGS;
        (is_same && word & PARTNER_KNOWN != 0)
            .then_some(CarriedPartner { is_dead: word & PARTNER_DEAD != 0, has_left: word & PARTNER_LEFT != 0 })
    }

    /// What the next engine must know about fencing: the run of the partner that is proven to be off, the shot whose
    /// outcome has not been taken in, from when on the turns of the two nodes count, and the rest. Methods are those of
    /// the last [`Lease::set_table`].
    pub fn set_fencing(
        &self,
        confirmed: Option<Generation>,
        shot: Option<ShotId>,
        turns_from: Option<Instant>,
        memory: CarriedFencing,
    ) {
        // A shot is forgotten only after its outcome is there, a confirmation after it was found to be a lie.
        self.store(TURNS_AT, instant_word(turns_from));
        self.store(SETTLED_AT, instant_word(memory.settled_at));
        self.store(LIED_AT, memory.lied.into());
        let by = memory.confirmed_by.map_or(0, |method| u64::from(method) + 1) << FENCING_METHOD_SHIFT;
        self.store(FENCING_AT, confirmed.map_or(0, |generation| FENCING_CONFIRMED | by | u64::from(generation.0)));
        self.store(SHOT_AT, shot.map_or(0, |shot| u64::from(shot.0) + 1));
    }

    pub(super) fn confirmed_fence(&self) -> Option<Generation> {
        let word = self.load(FENCING_AT);
        let generation = Generation(u32::try_from(word & 0xffff_ffff).unwrap_or(0));
        (word & FENCING_CONFIRMED != 0).then_some(generation)
    }

    /// What else the last engine remembered of fencing. Of methods nothing, when `config` has others.
    pub(super) fn fencing(&self, config: &Config) -> CarriedFencing {
        let settled_at = instant_of(self.load(SETTLED_AT));
        if self.load(METHODS_AT) != methods_digest(config) {
            return CarriedFencing { settled_at, ..CarriedFencing::default() };
        }
        let by = (self.load(FENCING_AT) >> FENCING_METHOD_SHIFT).checked_sub(1);
        let confirmed_by = by.and_then(|method| u8::try_from(method).ok());
        CarriedFencing { confirmed_by, settled_at, lied: u8::try_from(self.load(LIED_AT)).unwrap_or(0) }
    }

    /// The shot whose outcome the last engine has not taken in.
    pub fn shot(&self) -> Option<ShotId> {
        let number = self.load(SHOT_AT).checked_sub(1)?;
        u32::try_from(number).ok().map(ShotId)
    }

    /// What is remembered of fence methods is about those of `config` from now on.
    pub(super) fn set_methods(&self, config: &Config, carried: Option<&Carried>) {
        let Some(carried) = carried else { return self.store(METHODS_AT, methods_digest(config)) };
        // Half done it is about none.
        self.store(METHODS_AT, 0);
        let shot = self.shot();
        self.set_fencing(carried.confirmed, shot, carried.turns_from, carried.fencing);
        self.store(METHODS_AT, methods_digest(config));
    }
}
