//! How this node speaks the compact format, from its configuration.

use std::fs::File;
use std::io::{self, Read as _};

use crate::config::{AuthMethod, Config, Protocol};
use crate::core::ids::KeyNumber;
use crate::core::settings::Identity;
use crate::core::time::Duration;
use crate::wire::compact::{Secrets, Speaker};

/// That the beat behind a long frame comes in time, beside what the frame itself takes: what is left of the one before it in
/// the driver's queue, and the lateness of both nodes.
const MARGIN: Duration = Duration::from_millis(12);
/// That a long frame and the beat behind it have left before the beat after that is due, which would take its place.
const PAIR_MARGIN: Duration = Duration::from_millis(4);

/// `None`: the compact format is not spoken here. It wants two nodes and a secret.
pub(super) fn speaker(config: &Config, identity: Identity) -> Option<Speaker> {
    let partner = config.compact_partner()?;
    let mut secrets = Secrets::new(KeyNumber(config.signing_key));
    for key in config.keys.iter().filter(|key| key.method != AuthMethod::Crc) {
        secrets.add(KeyNumber(key.number), &key.key);
    }
    Some(Speaker {
        secrets,
        identity,
        name: config.node.as_str().try_into().ok()?,
        partner: partner.try_into().ok()?,
        is_strict: config.protocol == Protocol::Compact,
        patience: config.deadtime,
        spare: config.deadtime.saturating_sub(config.keepalive).saturating_sub(MARGIN),
        pair: (config.keepalive * 2).saturating_sub(PAIR_MARGIN),
    })
}

/// Random bytes for one link.
///
/// # Errors
/// There is no randomness to be had.
pub(super) fn seed() -> io::Result<[u8; 32]> {
    let mut seed = [0; 32];
    File::open("/dev/urandom")?.read_exact(&mut seed)?;
    Ok(seed)
}
