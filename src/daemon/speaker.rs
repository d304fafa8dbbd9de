//! How this node speaks the compact format, from its configuration.

use std::fs::File;
use std::io::{self, Read as _};

use crate::config::{AuthMethod, Config, Protocol};
use crate::core::ids::KeyNumber;
use crate::core::settings::Identity;
use crate::core::time::Duration;
use crate::links::serial::SerialLine;
use crate::wire::compact::{BEAT_LINE_LEN, LineRoom, Secrets, Speaker};

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
    })
}

/// What the serial line at this place of the media has room for.
pub(super) fn room(config: &Config, place: usize, line: &SerialLine) -> LineRoom {
    let keepalive = config.keepalive_of(place);
    let beside = |time| line.bytes_in(time).saturating_sub(BEAT_LINE_LEN);
    let pair = (keepalive * 2).saturating_sub(PAIR_MARGIN);
    let spare = config.deadtime.saturating_sub(keepalive).saturating_sub(MARGIN);
    LineRoom {
        frame: beside(pair).min(line.bytes_in(spare)),
        rest: beside(pair / 2),
        session: config.session_time_of(place).unwrap_or_default(),
    }
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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{Medium, sample};

    #[test]
    fn room_is_that_of_the_line_s_own_pace() {
        let ms = Duration::from_millis;
        let of = |keepalive, deadtime| {
            let mut config = sample::config(Path::new("/nonexistent"), &[]);
            let device = Path::new("/dev/ttyS0").to_owned();
            config.media = vec![Medium::Serial { device: device.clone(), baud: 9600, is_rtscts: false }];
            config.keys[0].method = AuthMethod::Sha1;
            (config.keepalives, config.deadtime) = (vec![ms(keepalive)], ms(deadtime));
            room(&config, 0, &SerialLine::new(&device, 9600))
        };
        // 960 bytes a second, of which 28 in each keepalive are a beat's.
        let slow = of(100, 500);
        assert_eq!((slow.frame, slow.rest), (188 - 28, 94 - 28));
        let quick = of(40, 500);
        assert_eq!((quick.frame, quick.rest), (72 - 28, 36 - 28));
        assert_eq!(of(100, 130).frame, 17, "the beat behind it comes in time");
        assert!(slow.session > ms(200), "a call and its answer");
    }
}
