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
    let probability = |millionths: u32| f64::from(millionths) / f64::from(CERTAIN);
    log::warn!("WARNING: Enabling Test Code");
    log::info!("Receive loss probability = {:.3}", probability(losses.received));
    log::info!("Xmit loss probability = {:.3}", probability(losses.transmitted));
    log::info!("Allow nodes = {}", losses.allowed);
    log::warn!("WARNING: Above Options Now Enabled.");
}
