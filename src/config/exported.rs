//! What scripts see of ha.cf as `HA_<directive>` (spec/resources.md 3.3).

use super::draft::Draft;
use super::sense::Timing;
use super::{Config, Medium};

/// Directives as written, then the default of each that is not, in the order of the specification.
pub(super) fn directives(draft: &Draft<'_>, config: &Config, time: &Timing) -> Vec<(String, String)> {
    let mut list: Vec<(String, String)> =
        draft.recorded.iter().map(|(word, text)| ((*word).to_owned(), text.clone())).collect();
    let milliseconds = |time: std::time::Duration| format!("{}ms", time.as_millis());
    let defaults = [
        ("keepalive", milliseconds(time.keepalive)),
        ("deadtime", milliseconds(time.deadtime)),
        ("deadping", milliseconds(time.deadping)),
        ("warntime", milliseconds(time.warntime)),
        ("initdead", milliseconds(time.initdead)),
        ("hopfudge", config.hopfudge.to_string()),
        ("baud", baud(config).to_string()),
        ("udpport", "694".to_owned()),
        ("auto_failback", "legacy".to_owned()),
        ("msgfmt", "classic".to_owned()),
        ("cluster", "linux-ha".to_owned()),
        ("hbgenmethod", "file".to_owned()),
        ("uuidfrom", "file".to_owned()),
        ("autojoin", "none".to_owned()),
        ("realtime", "true".to_owned()),
        ("debug", "0".to_owned()),
        ("syslogmsgfmt", "true".to_owned()),
        ("log_badpack", "true".to_owned()),
        ("coredumps", "true".to_owned()),
        ("compression", "zlib".to_owned()),
        ("compression_threshold", "2".to_owned()),
        ("traditional_compression", "no".to_owned()),
        ("conn_logd_time", "60".to_owned()),
        ("memreserve", "6500".to_owned()),
        ("max_rexmit_delay", config.max_rexmit_delay.as_millis().to_string()),
        ("pacemaker", "false".to_owned()),
    ];
    for (word, text) in defaults {
        let is_given = |known: &str| list.iter().any(|(name, _)| name == known);
        let alias = if word == "pacemaker" { "crm" } else { word };
        if !is_given(word) && !is_given(alias) {
            list.push((word.to_owned(), text));
        }
    }
    list
}

fn baud(config: &Config) -> u32 {
    let speed = |medium: &Medium| match medium {
        Medium::Serial { baud, .. } => Some(*baud),
        Medium::Ucast { .. } => None,
    };
    config.media.iter().find_map(speed).unwrap_or(19200)
}
