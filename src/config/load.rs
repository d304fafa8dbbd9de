//! Three files to one configuration.

use std::fs::OpenOptions;
use std::io::{self, Read as _};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::draft::Draft;
use super::finding::{At, Finding, Findings, Severity};
use super::machine::{Machine, ThisMachine};
use super::{AuthMethod, Config, Medium, Paths, authkeys, haresources, sense, testing};
use crate::sys::memory;

/// Longest file that is read.
const FILE_MAX: usize = 1 << 20;

/// Why the files are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// To tell what is wrong: what depends on the machine is a warning.
    Check,
    /// To start with them: it is an error where it is one for Heartbeat.
    Run,
}

/// How to read them.
#[derive(Clone)]
pub struct LoadOptions<'a> {
    /// `--node`: the local node name; `None`: the file `nodeinfo`, else `uname -n`.
    pub node: Option<String>,
    /// Why.
    pub purpose: Purpose,
    /// `--no-resources`: haresources is not read, no group is managed.
    pub is_without_resources: bool,
    /// Whom to ask about interfaces, devices, programs and users.
    pub machine: &'a dyn Machine,
}

impl LoadOptions<'static> {
    /// For `purpose`, on this machine, under its own name.
    pub fn new(purpose: Purpose) -> Self {
        Self { node: None, purpose, is_without_resources: false, machine: &ThisMachine }
    }
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// The configuration, when no finding is an error.
    pub config: Option<Config>,
    /// All findings, by file and line: ha.cf, the board file, haresources, authkeys.
    pub findings: Vec<Finding>,
}

impl Loaded {
    /// How many findings are of this severity.
    pub fn count(&self, severity: Severity) -> usize {
        self.findings.iter().filter(|finding| finding.severity == severity).count()
    }
}

/// One file as read.
#[derive(Debug, Default)]
pub(super) struct TextFile {
    pub(super) path: PathBuf,
    pub(super) bytes: Vec<u8>,
    /// Permission bits.
    pub(super) mode: u32,
}

impl Drop for TextFile {
    // It may hold keys.
    fn drop(&mut self) {
        memory::wipe(&mut self.bytes);
    }
}

impl TextFile {
    /// Reads a regular file of moderate size. A FIFO in its place does not block.
    pub(super) fn read(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).custom_flags(nix::libc::O_NONBLOCK).open(path)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(io::Error::other("not a regular file"));
        }
        // At once as long as it will be: what grows leaves copies behind, and these may be keys.
        let len = usize::try_from(metadata.len()).unwrap_or(FILE_MAX).min(FILE_MAX);
        let mut bytes = Vec::with_capacity(len + 64);
        file.take(FILE_MAX as u64 + 1).read_to_end(&mut bytes)?;
        if bytes.len() > FILE_MAX {
            return Err(io::Error::other(format!("longer than {FILE_MAX} bytes")));
        }
        Ok(Self { path: path.to_owned(), bytes, mode: metadata.permissions().mode() })
    }
}

/// Reads ha.cf, authkeys and haresources below `paths.config`, in the order of spec/config.md 2.7, and says everything
/// that is wrong or doubtful. May ask the name service for hosts and users.
pub fn load(paths: &Paths, options: &LoadOptions<'_>) -> Loaded {
    let ha_cf = paths.config.join("ha.cf");
    let mut early = Findings::new(&ha_cf);
    let local = local_name(paths, options, &mut early);
    let mut draft = Draft::new(&ha_cf, options.machine, options.purpose, &local);
    draft.has_resources = !options.is_without_resources;
    paths.config.clone_into(&mut draft.config_dir);
    if let Some(text) = read(&ha_cf, "the configuration", &mut draft.findings) {
        draft.read(&text);
        sense::check(&mut draft);
    }

    let path = paths.config.join("authkeys");
    let mut authkeys_findings = Findings::new(&path);
    let keys =
        read(&path, "the keys", &mut authkeys_findings).and_then(|text| authkeys::read(&text, &mut authkeys_findings));

    let path = paths.config.join("haresources");
    let mut haresources_findings = Findings::new(&path);
    let groups = if options.is_without_resources {
        note_unread(&path, &mut haresources_findings);
        Vec::new()
    } else {
        read(&path, "the resource groups", &mut haresources_findings)
            .map(|text| haresources::read(&text, &paths.config, &draft, &mut haresources_findings))
            .unwrap_or_default()
    };

    let mut testing_findings = Findings::new(&paths.config.join(testing::FILE_NAME));
    let test_losses = testing::read(&paths.config, &mut testing_findings);

    let mut config = None;
    if let Some(keys) = keys {
        let at = keys.at;
        let mut built = sense::build(&mut draft, paths, keys, groups);
        built.test_losses = test_losses;
        warn_of_checksum(&built, at, &mut authkeys_findings);
        let is_fine = ![&early, &draft.findings, &draft.board_findings, &haresources_findings, &authkeys_findings]
            .iter()
            .any(|f| f.has_error());
        config = is_fine.then_some(built);
    }
    let findings =
        [early, draft.findings, draft.board_findings, haresources_findings, authkeys_findings, testing_findings];
    Loaded { config, findings: findings.into_iter().flat_map(Findings::into_sorted).collect() }
}

/// The devices that ha.cf has `serial` lines for, as it names them or as its board file does. Reads these lines and `board`
/// alone: it asks no name service, and whatever is wrong elsewhere does not matter. For the udev rules, which run when little
/// else does.
pub fn serial_links(config: &Path, machine: &dyn Machine) -> Vec<PathBuf> {
    let path = config.join("ha.cf");
    let Ok(mut text) = TextFile::read(&path) else { return Vec::new() };
    let is_wanted = |line: &&[u8]| {
        let mut words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
        matches!(words.next(), Some(b"board" | b"serial"))
    };
    text.bytes = text.bytes.split(|byte| *byte == b'\n').filter(is_wanted).collect::<Vec<_>>().join(&b'\n');
    let mut draft = Draft::new(&path, machine, Purpose::Check, "");
    config.clone_into(&mut draft.config_dir);
    draft.read(&text);
    let device = |medium: &Medium| match medium {
        Medium::Serial { device, .. } => Some(device.clone()),
        _ => None,
    };
    draft.media.iter().filter_map(|draft| device(&draft.medium)).collect()
}

/// Says that haresources is there and means nothing.
fn note_unread(path: &Path, findings: &mut Findings) {
    if path.exists() {
        findings.note(At::FILE, "a file that is not read").hint("resource management is off: no group is started here");
    }
}

/// Bits of a file's mode by which everybody may write it.
pub(super) const WRITABLE_BY_ALL: u32 = 0o002;

fn read(path: &Path, what: &str, findings: &mut Findings) -> Option<TextFile> {
    match TextFile::read(path) {
        Ok(text) => {
            warn_of_writers(&text, WRITABLE_BY_ALL, findings);
            Some(text)
        }
        Err(error) => {
            findings.error(At::FILE, format!("no readable file ({error})")).expected(what);
            None
        }
    }
}

/// `--node`, else the first line of `nodeinfo`, else `uname -n`; lower case (spec/config.md section 4).
fn local_name(paths: &Paths, options: &LoadOptions<'_>, findings: &mut Findings) -> String {
    if let Some(node) = &options.node {
        return node.to_ascii_lowercase();
    }
    let path = paths.config.join("nodeinfo");
    match TextFile::read(&path) {
        Ok(text) => {
            let first = text.bytes.split(|byte| matches!(byte, b'\n' | b'\r')).next().unwrap_or_default();
            let name = String::from_utf8_lossy(first).trim().to_ascii_lowercase();
            if !name.is_empty() {
                return name;
            }
            let finding = findings.warning(At::FILE, format!("no name in the first line of {}", path.display()));
            finding.expected("the name of this node").hint("the name that `uname -n` tells is used");
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => {
            let finding = findings.warning(At::FILE, format!("{} unreadable ({error})", path.display()));
            finding.expected("the name of this node, or no such file").hint("the name that `uname -n` tells is used");
        }
    }
    options.machine.node_name().to_ascii_lowercase()
}

/// Whoever may write these files is root on this board. `bits` are those of the mode that are too many.
pub(super) fn warn_of_writers(text: &TextFile, bits: u32, findings: &mut Findings) {
    if text.mode & bits != 0 {
        let found = format!("a file that others may write (mode {:04o})", text.mode & 0o7777);
        let hint = format!("chmod go-w {}", text.path.display());
        findings.warning(At::FILE, found).expected("a file that only its owner may write").hint(hint);
    }
}

/// A checksum is no secret: over the network anybody could be the peer.
fn warn_of_checksum(config: &Config, at: At, findings: &mut Findings) {
    let is_checksum = config.keys.iter().any(|key| key.number == config.signing_key && key.method == AuthMethod::Crc);
    if is_checksum && config.media.iter().any(Medium::is_network) {
        let finding = findings.warning(at, "`crc`, a checksum without a secret, beside a network link");
        finding.expected("`sha1` and a key").hint("with it everybody on the network can speak for the peer");
    }
}
