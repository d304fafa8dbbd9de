//! Fencing the partner: who decides that it must be off, and what counts as proof.

use super::{Context, Ownership, requests};
use crate::core::ids::{RequestId, ShotId};
use crate::core::{FenceOutcome, Outcome};

impl Ownership {
    /// Whether it is proven that the partner is off.
    pub(super) const fn is_partner_off(&self) -> bool {
        !self.partner.vouched.is_empty()
    }

    /// A shot has ended.
    pub(in crate::core) fn fence_done(&mut self, shot: ShotId, outcome: FenceOutcome) {
        log::debug!("shot {}, which nobody waits for, ended: {outcome:?}", shot.0);
        self.wants_extension = true;
    }

    /// An operator vouches for the partner's being off.
    pub(super) fn request_confirm_fence(&self, cx: &mut Context<'_>, id: RequestId) {
        requests::reply(cx, id, Outcome::Nothing);
    }
}
