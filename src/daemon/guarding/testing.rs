//! Says what `OnlyForTesting` switches on and off.

use crate::config::{CERTAIN, TestLosses};

/// In the words of the original (spec/api.md 10.4).
pub(super) fn tell_test_losses(before: Option<&TestLosses>, now: Option<&TestLosses>) {
    let Some(losses) = now else {
        if before.is_some() {
            log::info!("Test Code Now disabled.");
        }
        return;
    };
    let probability = |millionths: u32| format!("{}.{:03}", millionths / CERTAIN, millionths % CERTAIN / 1000);
    log::warn!("WARNING: Enabling Test Code");
    log::info!("Receive loss probability = {}", probability(losses.received));
    log::info!("Xmit loss probability = {}", probability(losses.transmitted));
    log::info!("Allow nodes = {}", losses.allowed);
    log::warn!("WARNING: Above Options Now Enabled.");
}
