//! The tables that `heartbeat -D`, `-DW` and `-v` print, as 3.0.6 prints them.

use std::fmt::Write as _;

use crate::config::{Config, Medium};
use crate::core::message::PingKind;

/// A directive in Heartbeat's order: word, default (none: not in the table of defaults), what it is.
type Row = (&'static str, Option<&'static str>, &'static str);

const ROWS: [Row; 38] = [
    ("cluster", Some("linux-ha"), "the name of cluster"),
    ("hopfudge", Some("1"), "# of hops above cluster size"),
    ("keepalive", Some("1000ms"), "keepalive time"),
    ("deadtime", Some("30000ms"), "node deadtime"),
    ("deadping", None, "ping deadtime"),
    ("initdead", None, "initial deadtime"),
    ("warntime", None, "warning time"),
    ("watchdog", None, "watchdog device"),
    ("baud", Some("19200"), "baud rate"),
    ("udpport", None, "UDP port number"),
    ("logfacility", None, "syslog log facility"),
    ("logfile", None, "log file"),
    ("debugfile", None, "debug file"),
    ("auto_failback", Some("legacy"), "auto failback"),
    ("rtprio", None, "realtime priority"),
    ("hbgenmethod", Some("file"), "protocol generation computation method"),
    ("realtime", Some("true"), "enable realtime behavior?"),
    ("debug", None, "debug level"),
    ("msgfmt", Some("classic"), "message format in the wire"),
    ("use_logd", None, "use logging daemon"),
    ("conn_logd_time", Some("60"), "the interval to reconnect to logd"),
    ("log_badpack", Some("true"), "warn about bad packets"),
    ("syslogmsgfmt", Some("true"), "log to files in syslog format"),
    ("coredumps", Some("true"), "enable Linux-HA core dumps"),
    ("coreroot", None, "set root directory of core dump area"),
    ("crmd_spawns_pengine", None, "should pengine be spawned directly by heartbeat"),
    ("pacemaker", Some("false"), "enable Pacemaker resource management"),
    ("autojoin", Some("none"), "set automatic join mode/style"),
    ("uuidfrom", Some("file"), "set the source for uuid"),
    ("compression", Some("zlib"), "set compression module"),
    ("compression_threshold", Some("2"), "set compression threshold"),
    ("traditional_compression", Some("no"), "set traditional_compression"),
    ("max_rexmit_delay", Some("250"), "set the maximum rexmit delay time"),
    ("record_config_changes", Some("on"), "record changes to the cib (valid only with: pacemaker on)"),
    ("record_pengine_inputs", Some("on"), "record the input used by the policy engine (valid only with: pacemaker on)"),
    ("enable_config_writes", Some("on"), "write configuration changes to disk (valid only with: pacemaker on)"),
    ("memreserve", Some("6500"), "number of kbytes to preallocate in heartbeat"),
    ("quorum_server", None, "the name or ip of quorum server"),
];

/// `-D`: the defaults.
pub(super) fn defaults() -> String {
    let mut out = format!("{:<25}{:<10}Description\n{}\n", "Directive", "Default", "-".repeat(80));
    for (word, default, what) in ROWS {
        if let Some(default) = default {
            // Writing into a String does not fail.
            let _ = writeln!(out, "{word:<25}{default:<10}{what}");
        }
    }
    out
}

/// `-DW`: the same for a wiki.
pub(super) fn wiki() -> String {
    let mut out = "##Put this output in the ha.cf/DefaultValues page\n\
         The [wiki:ha.cf ha.cf] directives with default values are shown below - along with a brief description.\n\
         This was produced by {{{heartbeat -DW}}} ''# (version 3.0.6)''\n\n\
         ||''Directive''||''Default''||''Description''||\n"
        .to_owned();
    for (word, default, what) in ROWS {
        if let Some(default) = default {
            let _ = writeln!(out, "||[wiki:ha.cf/{}Directive {word}]||{default}||{what}||", camel_case(word));
        }
    }
    out
}

/// `auto_failback` as `AutoFailback`.
fn camel_case(word: &str) -> String {
    let capital = |part: &str| {
        let mut letters = part.chars();
        letters.next().into_iter().map(|first| first.to_ascii_uppercase()).chain(letters).collect::<String>()
    };
    word.split('_').map(capital).collect()
}

/// `-v`: what is in force. `host` is the name that `uname -n` tells.
pub(super) fn configuration(host: &str, config: &Config, debug: u8) -> String {
    let line = "#---------------------------------------------------";
    let mut out = format!(
        "#\n#\tLinux-HA heartbeat configuration (on {host})\n#\n\n{line}\n#\n#\tHA configuration and status\n#\n"
    );
    for (word, _, what) in ROWS {
        // The last one given counts.
        let value = config.directives.iter().rev().find(|(name, _)| name == word).map(|(_, value)| value.clone());
        let value = if word == "debug" { Some(config.log.debug.saturating_add(debug).to_string()) } else { value };
        if let Some(value) = value {
            let _ = writeln!(out, "{word}\t{value}\t#\t{what}");
        }
    }
    out += "#\n#\tHA Cluster nodes:\n#\n";
    for node in &config.nodes {
        let _ = writeln!(out, "node {node}\t#\t current status: init");
    }
    out += "#\n#\tCommunications media:\n";
    for medium in &config.media {
        let (word, what) = (medium.word(), kind(medium));
        let _ = writeln!(out, "#\n# {what} heartbeat channel -------------\n{word} {}", medium.name());
    }
    out + line + "\n"
}

/// Heartbeat's name for it; both kinds of group have the same one (seen).
fn kind(medium: &Medium) -> &'static str {
    match medium {
        Medium::Serial { .. } => "serial ring",
        Medium::Ucast { .. } => "UDP/IP unicast",
        Medium::Bcast { .. } => "UDP/IP broadcast",
        Medium::Mcast { .. } | Medium::Mcast6 { .. } => "UDP/IP multicast",
        Medium::Ucast6 { .. } => "UDP/IPv6 unicast",
        Medium::Ping { kind, .. } => match kind {
            PingKind::Ping => "ping membership",
            PingKind::Ping6 => "ping6 membership",
            PingKind::Group => "ping group membership",
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_have_the_shape_that_heartbeat_gives_them() {
        let text = defaults();
        assert!(text.contains("\ncluster                  linux-ha  the name of cluster\n"), "{text}");
        assert_eq!(text.lines().count(), 26);
        let text = wiki();
        assert!(text.contains("\n||[wiki:ha.cf/AutoFailbackDirective auto_failback]||legacy||auto failback||\n"));
        assert_eq!(text.lines().count(), 29);
    }
}
