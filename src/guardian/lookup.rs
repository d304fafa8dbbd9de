//! From a resource word to the program behind it (spec/resources.md 3.1 and 3.5).
//!
//! | word | program | arguments |
//! |---|---|---|
//! | `NAME[::a[::b…]]` | `resource.d/NAME`, else `/etc/init.d/NAME` | `a b … ACTION` |
//! | `systemd::UNIT` | `systemctl`, unless there is a script of that name | `start`, `stop` or `is-active`, `UNIT` |
//! | `OCF::TYPE::INSTANCE` | the OCF agent TYPE; variables from `conf/OCF/TYPE/INSTANCE` | `ACTION` |
//! | `ocf:PROVIDER:TYPE[::name=value…]` | the OCF agent TYPE of PROVIDER; `OCF_RESKEY_name=value` each | `ACTION` |
//!
//! The second form is Heartbeat's; a wrapper `resource.d/OCF` is not needed and not used. The third is ours. As `::`
//! separates arguments, an argument without `=` belongs to the value before it (`ip=fe80::1` may be written so).
//! Looked up anew for each run, like Heartbeat does.

use std::ffi::CString;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::unistd::geteuid;

use super::ocf;
use crate::config::names::is_unit_name;
use crate::config::{Paths, Resource};

/// Where systemd has it.
const SYSTEMCTL: &str = "/usr/bin/systemctl";

/// Directories in which programs are looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    /// `resource.d` and `conf/OCF` are in it: `/etc/ha.d`.
    pub config: PathBuf,
    /// `/etc/init.d`.
    pub init_d: PathBuf,
    /// `/usr/lib/ocf`.
    pub ocf_root: PathBuf,
    /// The program that speaks to systemd.
    pub systemctl: PathBuf,
}

impl Places {
    /// The usual ones beside the configuration directory.
    pub fn new(paths: &Paths) -> Self {
        Self {
            config: paths.config.clone(),
            init_d: PathBuf::from("/etc/init.d"),
            ocf_root: PathBuf::from("/usr/lib/ocf"),
            systemctl: PathBuf::from(SYSTEMCTL),
        }
    }
}

/// A program that can be run for a resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// Where it is.
    pub path: PathBuf,
    /// Between the path and the action.
    pub arguments: Vec<String>,
    /// How it is spoken to.
    pub dialect: Dialect,
}

/// How a program is spoken to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dialect {
    /// `status`, judged by its text.
    Heartbeat,
    /// `monitor`, judged by its exit code, with these variables.
    Ocf {
        /// `NAME=value` beyond those of all scripts.
        variables: Vec<CString>,
    },
    /// systemctl(1): the unit is the last argument, `is-active` is judged by its text.
    Systemd,
}

/// Why there is no program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LookupError {
    /// No such file in any place.
    Missing {
        /// What was looked for.
        name: String,
        /// A file of that name which cannot be used, and why.
        hint: Option<String>,
    },
    /// The word cannot name a script.
    BadName(String),
    /// The word behind `systemd::` cannot name a unit.
    BadUnit(String),
    /// The OCF instance's variables cannot be read.
    BadInstance(String),
}

impl std::fmt::Display for LookupError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            // Heartbeat's text (spec/resources.md 3.1).
            Self::Missing { name, hint: None } => write!(f, "Cannot locate resource script {name}"),
            Self::Missing { name, hint: Some(hint) } => write!(f, "Cannot locate resource script {name} ({hint})"),
            Self::BadName(name) => {
                write!(f, "Cannot locate resource script {name}: the name must be a plain file name")
            }
            Self::BadUnit(word) => write!(f, "{word} names no unit of systemd"),
            Self::BadInstance(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for LookupError {}

/// The program for `resource` as the files are now.
///
/// # Errors
/// [`LookupError`]; its text is meant for the log.
pub fn locate(places: &Places, resource: &Resource) -> Result<Program, LookupError> {
    if let Some(agent) = resource.script.strip_prefix("ocf:") {
        return ocf::direct(places, agent, &resource.arguments);
    }
    if resource.script == "OCF" {
        return ocf::by_instance(places, &resource.arguments);
    }
    let directories = [places.config.join("resource.d"), places.init_d.clone()];
    let found = first_executable(&directories, &resource.script);
    if found.is_err() && resource.script == "systemd" {
        return systemd_unit(places, resource);
    }
    let path = found?;
    Ok(Program { path, arguments: resource.arguments.clone(), dialect: Dialect::Heartbeat })
}

fn systemd_unit(places: &Places, resource: &Resource) -> Result<Program, LookupError> {
    let [unit] = resource.arguments.as_slice() else { return Err(LookupError::BadUnit(resource.word.clone())) };
    if !is_unit_name(unit) {
        return Err(LookupError::BadUnit(resource.word.clone()));
    }
    if let Some(obstacle) = obstacle(&places.systemctl) {
        let hint = match obstacle {
            Obstacle::Absent => None,
            Obstacle::Unusable(why) => Some(format!("{} {why}", places.systemctl.display())),
        };
        return Err(LookupError::Missing { name: places.systemctl.display().to_string(), hint });
    }
    Ok(Program { path: places.systemctl.clone(), arguments: vec![unit.clone()], dialect: Dialect::Systemd })
}

/// The first regular executable file called `name` in `directories`.
pub(super) fn first_executable(directories: &[PathBuf], name: &str) -> Result<PathBuf, LookupError> {
    if !is_plain_name(name) {
        return Err(LookupError::BadName(name.to_owned()));
    }
    let mut hint = None;
    for directory in directories {
        let path = directory.join(name);
        match obstacle(&path) {
            None => return Ok(path),
            Some(Obstacle::Absent) => {}
            Some(Obstacle::Unusable(why)) => {
                hint.get_or_insert_with(|| format!("{} {why}", path.display()));
            }
        }
    }
    Err(LookupError::Missing { name: name.to_owned(), hint })
}

/// Whether `name` stays inside the directory that it is looked up in.
pub(super) fn is_plain_name(name: &str) -> bool {
    !name.is_empty() && name != "." && name != ".." && !name.contains(['/', '\0'])
}

enum Obstacle {
    Absent,
    Unusable(String),
}

fn obstacle(path: &Path) -> Option<Obstacle> {
    match fs::metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Some(Obstacle::Absent),
        Err(error) => Some(Obstacle::Unusable(format!("cannot be looked at: {error}"))),
        Ok(data) if !data.is_file() => Some(Obstacle::Unusable("is not a regular file".to_owned())),
        Ok(data) if data.mode() & 0o111 == 0 => Some(Obstacle::Unusable("is not executable".to_owned())),
        Ok(_) => None,
    }
}

/// What makes a program that runs as root untrustworthy: who else than root (or the user we are) could change it.
///
/// `None`: nothing does, or the file is gone.
pub fn distrust(path: &Path) -> Option<String> {
    let parent = path.parent().unwrap_or(Path::new("/"));
    for place in [path, parent] {
        let Ok(data) = fs::metadata(place) else { continue };
        if data.uid() != 0 && data.uid() != geteuid().as_raw() {
            return Some(format!("{} belongs to user {}", place.display(), data.uid()));
        }
        // Anybody may add files to a sticky directory, but not replace ours.
        let is_sticky = data.is_dir() && data.mode() & 0o1000 != 0;
        if data.mode() & 0o022 != 0 && !is_sticky {
            return Some(format!("{} can be written by others (mode {:03o})", place.display(), data.mode() & 0o777));
        }
    }
    None
}

/// A path as the C library takes it.
pub(super) fn c_path(path: &Path) -> CString {
    // Our paths come from the operating system or from words that were refused when they contain NUL.
    CString::new(path.as_os_str().as_bytes()).unwrap_or_default()
}
