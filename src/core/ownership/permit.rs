//! Permits: what makes it safe, or permitted, to start a group here. Only this file can make one.

use super::fence::FenceConfirmed;

/// The right to start one group once. Neither `Copy` nor `Clone`, made only by the constructors below, each of which
/// names its proof.
#[derive(Debug)]
#[must_use]
pub(super) struct Permit(Proof);

#[derive(Debug)]
enum Proof {
    Fenced,
    Interlocked,
    Released,
    Kept,
    Unclaimed,
    Left,
    HeldInPart,
    Alone,
    Operator,
    Available,
}

impl Permit {
    /// The partner said that it let go: `done` of a hand-over, or `shutdone`.
    pub(super) const fn released_by_partner() -> Self {
        Self(Proof::Released)
    }

    /// A hand-over was broken off before our `done`: the partner has no right to it.
    pub(super) const fn never_given_away() -> Self {
        Self(Proof::Kept)
    }

    /// The partner is alive, hears us, does not use the group, and could take it only through a hand-over with us,
    /// because we are the preferred node.
    pub(super) const fn unclaimed_by_partner() -> Self {
        Self(Proof::Unclaimed)
    }

    /// The partner is a Heartbeat that has called itself stable for so long that no script of a standby can still run there,
    /// uses nothing of it, answers no offer, and takes nothing while we are alive but through a hand-over with us.
    pub(super) const fn left_by_partner() -> Self {
        Self(Proof::Left)
    }

    /// The partner is alive, hears us, and uses nothing at all; beside a board that holds a part it takes nothing of the rest
    /// (`interlock`), and we hold a part.
    pub(super) const fn held_in_part() -> Self {
        Self(Proof::HeldInPart)
    }

    /// The partner is silent, and the run of it that was heard last is proven to be off.
    pub(super) const fn fenced(_: &FenceConfirmed) -> Self {
        Self(Proof::Fenced)
    }

    /// The partner is silent; the lines between the boards tell whether it holds anything, and gate what follows.
    pub(super) const fn interlocked() -> Self {
        Self(Proof::Interlocked)
    }

    /// There is no partner.
    pub(super) const fn no_partner() -> Self {
        Self(Proof::Alone)
    }

    /// The partner is silent and an operator vouches for its being off.
    pub(super) const fn operator_word() -> Self {
        Self(Proof::Operator)
    }

    /// The partner is silent and the operator has chosen availability over safety (`takeover_policy available`).
    pub(super) const fn availability() -> Self {
        Self(Proof::Available)
    }

    /// Whether it rests on what a living partner has said of itself.
    pub(super) const fn is_by_partners_word(&self) -> bool {
        matches!(self.0, Proof::Kept | Proof::Unclaimed | Proof::Left | Proof::HeldInPart)
    }

    /// Uses it up.
    pub(super) fn spend(self) {
        log::trace!("permit spent: {:?}", self.0);
    }
}
