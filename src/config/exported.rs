//! What scripts see of ha.cf as `HA_<directive>` (spec/resources.md 3.3).

use super::Config;
use super::draft::Draft;
use super::sense::Timing;

/// What 3.0.6 exports for directives that are not given (seen).
const DEFAULTS: [(&str, &str); 22] = [
    ("hopfudge", "1"),
    ("baud", "19200"),
    ("auto_failback", "legacy"),
    ("msgfmt", "classic"),
    ("cluster", "linux-ha"),
    ("hbgenmethod", "file"),
    ("uuidfrom", "file"),
    ("autojoin", "none"),
    ("realtime", "true"),
    ("debug", "0"),
    ("syslogmsgfmt", "true"),
    ("log_badpack", "true"),
    ("coredumps", "true"),
    ("compression", "zlib"),
    ("compression_threshold", "2"),
    ("traditional_compression", "no"),
    ("conn_logd_time", "60"),
    ("memreserve", "6500"),
    ("record_config_changes", "on"),
    ("record_pengine_inputs", "on"),
    ("enable_config_writes", "on"),
    ("pacemaker", "false"),
];

/// Directives as written, then the default of each that is not, in the order of the specification.
pub(super) fn directives(draft: &Draft<'_>, config: &Config, time: &Timing) -> Vec<(String, String)> {
    let name = |word: &str| if word == "crm" { "pacemaker" } else { word }.to_owned();
    let mut list: Vec<(String, String)> =
        draft.recorded.iter().map(|(word, text)| (name(word), text.clone())).collect();
    if config.log.facility.is_some() && draft.logfile.is_none() && draft.debugfile.is_none() {
        list.extend(["logfile", "debugfile"].map(|word| (word.to_owned(), "/dev/null".to_owned())));
    }
    let milliseconds = |time: std::time::Duration| format!("{}ms", time.as_millis());
    let defaults = [
        ("keepalive", milliseconds(time.keepalive)),
        ("deadtime", milliseconds(time.deadtime)),
        ("deadping", milliseconds(time.deadping)),
        ("warntime", milliseconds(time.warntime)),
        ("initdead", milliseconds(time.initdead)),
        ("udpport", config.udp_port.0.to_string()),
        ("max_rexmit_delay", config.max_rexmit_delay.as_millis().to_string()),
    ];
    let defaults = defaults.into_iter().chain(DEFAULTS.map(|(word, text)| (word, text.to_owned())));
    for (word, text) in defaults {
        if !list.iter().any(|(name, _)| name == word) {
            list.push((word.to_owned(), text));
        }
    }
    list
}
