//! The environment of resource scripts (spec/resources.md 3.3), built once.
//!
//! Left out on purpose: the variables by which a service manager talks to *us*. `HA_DONTASK` is for some runs only, see
//! [`Launch::is_unasked`](super::launcher::Launch::is_unasked). Our own variables are set last, so that neither ha.cf nor what was inherited can
//! replace them.

use std::ffi::{CString, OsString};
use std::os::unix::ffi::OsStringExt;

use crate::config::Config;
use crate::core::settings::AutoFailback;

/// Heartbeat's directories outside its configuration, as scripts know them.
const PROGRAMS: &str = "/usr/libexec/heartbeat";
const LIBRARY: &str = "/usr/share/heartbeat";
const DOCUMENTS: &str = "/usr/share/doc/heartbeat";
const FIFO: &str = "/var/lib/heartbeat/fifo";
const DATE_FORMAT: &str = "%Y/%m/%d_%T\t";
const PATH_TAIL: &str = "/sbin:/bin:/usr/sbin:/usr/bin:/usr/ucb";

/// What a script must not inherit: the locale, and the service manager's words to this daemon.
const FORBIDDEN: &[&str] = &[
    "LANG",
    "LANGUAGE",
    "NOTIFY_SOCKET",
    "WATCHDOG_PID",
    "WATCHDOG_USEC",
    "LISTEN_PID",
    "LISTEN_FDS",
    "LISTEN_FDNAMES",
    "JOURNAL_STREAM",
    "INVOCATION_ID",
    "MAINPID",
    "MANAGERPID",
];

/// `NAME=value` strings, ready to be handed over.
#[derive(Debug, Clone)]
pub struct Environment {
    /// The last entry is for starts only.
    all: Vec<CString>,
    for_all: usize,
}

impl Environment {
    /// From the configuration and what this process was started with (`std::env::vars_os()`).
    ///
    /// `ocf_root` is the directory of OCF agents, normally `/usr/lib/ocf`.
    pub fn new(config: &Config, ocf_root: &str, inherited: impl Iterator<Item = (OsString, OsString)>) -> Self {
        let mut variables = Variables::default();
        for (name, value) in inherited {
            let name = name.into_vec();
            if !FORBIDDEN.iter().any(|forbidden| forbidden.as_bytes() == name) {
                variables.set_bytes(name, value.into_vec());
            }
        }
        variables.set_directives(config);
        variables.set_own(config, ocf_root);
        let mut all = variables.into_strings();
        let for_all = all.len();
        // Heartbeat sets it in what acquires, not in what releases.
        if config.auto_failback != AutoFailback::Legacy {
            all.push(c"HA_NICEFAILBACK=yes".to_owned());
        }
        Self { all, for_all }
    }

    /// For everything but starts.
    pub fn base(&self) -> &[CString] {
        &self.all[..self.for_all]
    }

    /// For starts, and for the `status` before them.
    pub fn acquiring(&self) -> &[CString] {
        &self.all
    }
}

/// Names with values in the order of first mention; setting one again replaces the value.
#[derive(Default)]
struct Variables(Vec<(Vec<u8>, Vec<u8>)>);

impl Variables {
    fn set(&mut self, name: &str, value: &str) {
        self.set_bytes(name.as_bytes().to_vec(), value.as_bytes().to_vec());
    }

    fn set_bytes(&mut self, name: Vec<u8>, value: Vec<u8>) {
        match self.0.iter_mut().find(|(known, _)| *known == name) {
            Some(entry) => entry.1 = value,
            None => self.0.push((name, value)),
        }
    }

    fn get(&self, name: &str) -> Option<String> {
        let entry = self.0.iter().find(|(known, _)| known == name.as_bytes())?;
        Some(String::from_utf8_lossy(&entry.1).into_owned())
    }

    fn set_directives(&mut self, config: &Config) {
        for (name, value) in config.directives.iter().chain(&config.environment) {
            self.set(&format!("HA_{name}"), value);
        }
    }

    fn set_own(&mut self, config: &Config, ocf_root: &str) {
        let directory = config.paths.config.display().to_string();
        self.set("HA_CURHOST", &config.node);
        self.set("HA_DIR", &directory);
        self.set("HA_FUNCS", &format!("{directory}/shellfuncs"));
        self.set("HA_RCDIR", &format!("{directory}/rc.d"));
        self.set("HA_RESOURCEDIR", &format!("{directory}/resource.d"));
        self.set("HA_FIFO", FIFO);
        self.set("HA_BIN", PROGRAMS);
        self.set("HA_DOCDIR", DOCUMENTS);
        self.set("HA_DATEFMT", DATE_FORMAT);
        self.set_log(config);
        self.set("OCF_ROOT", ocf_root);
        self.set("OCF_AGENTS", &format!("{ocf_root}/resource.d/heartbeat/"));
        self.set("LC_ALL", "C");
        let path = match self.get("PATH").filter(|path| !path.is_empty()) {
            Some(path) => format!("{PROGRAMS}:/usr/sbin:{LIBRARY}:{path}:{PATH_TAIL}"),
            None => format!("{PROGRAMS}:/usr/sbin:{LIBRARY}:{PATH_TAIL}"),
        };
        self.set("PATH", &path);
    }

    fn set_log(&mut self, config: &Config) {
        let name = |path: &Option<std::path::PathBuf>| {
            path.as_ref().map_or_else(|| "/dev/null".to_owned(), |path| path.display().to_string())
        };
        self.set("HA_LOGFILE", &name(&config.log.logfile));
        self.set("HA_DEBUGLOG", &name(&config.log.debugfile));
        if let Some(facility) = &config.log.facility {
            self.set("HA_LOGFACILITY", facility);
        }
        self.set("HA_LOGD", "no");
        self.set("HA_debug", &config.log.debug.to_string());
    }

    /// A string with a NUL inside cannot be handed over and is left out.
    fn into_strings(self) -> Vec<CString> {
        self.0
            .into_iter()
            .filter_map(|(mut name, value)| {
                name.push(b'=');
                name.extend(value);
                CString::new(name).ok()
            })
            .collect()
    }
}
