//! Two network namespaces joined by two cables, and a place for files; gone when dropped.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The two boards, in the order of their addresses.
pub(crate) const NAMES: [&str; 2] = ["alpha", "beta"];
/// Cables between them.
pub(crate) const CABLES: usize = 2;

/// The bench's own corner of the machine.
pub(crate) struct Lab {
    /// For files; each board has its own directory below it.
    pub(crate) directory: PathBuf,
    tag: String,
}

impl Lab {
    /// `tag` keeps laboratories that exist at the same time apart.
    pub(crate) fn build(tag: &str) -> io::Result<Self> {
        let tag = format!("nb{}{tag}", std::process::id());
        let directory = std::env::temp_dir().join(format!("bench-{tag}"));
        std::fs::create_dir_all(&directory)?;
        let lab = Self { directory, tag };
        for node in 0..NAMES.len() {
            ip(&["netns", "add", &lab.namespace(node)])?;
            ip(&["-n", &lab.namespace(node), "link", "set", "lo", "up"])?;
        }
        for cable in 0..CABLES {
            let device = format!("eth{cable}");
            ip(&[
                "link",
                "add",
                &device,
                "netns",
                &lab.namespace(0),
                "type",
                "veth",
                "peer",
                "name",
                &device,
                "netns",
            ]
            .into_iter()
            .chain([lab.namespace(1).as_str()])
            .collect::<Vec<_>>())?;
            for node in 0..NAMES.len() {
                let address = format!("{}/24", address(cable, node));
                ip(&["-n", &lab.namespace(node), "addr", "add", &address, "dev", &device])?;
                ip(&["-n", &lab.namespace(node), "link", "set", &device, "up"])?;
            }
        }
        Ok(lab)
    }

    pub(crate) fn namespace(&self, node: usize) -> String {
        format!("{}{}", self.tag, NAMES[node])
    }

    pub(crate) fn board_directory(&self, node: usize) -> PathBuf {
        self.directory.join(NAMES[node])
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for node in 0..NAMES.len() {
            let _ = ip(&["netns", "del", &self.namespace(node)]);
        }
        if std::env::var_os("NULLBEAT_BENCH_KEEP").is_none() {
            let _ = std::fs::remove_dir_all(&self.directory);
        }
    }
}

/// Of a board on a cable.
pub(crate) fn address(cable: usize, node: usize) -> String {
    format!("10.77.{cable}.{}", node + 1)
}

fn ip(arguments: &[&str]) -> io::Result<()> {
    run("ip", arguments).map(drop)
}

/// Runs a program to its end and gives what it printed.
pub(crate) fn run(program: &str, arguments: &[&str]) -> io::Result<String> {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output()?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        return Err(io::Error::other(format!("{program} {}: {}", arguments.join(" "), text.trim())));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Copies a directory tree.
pub(crate) fn copy_tree(from: &Path, to: &Path) -> io::Result<()> {
    run("cp", &["-a", &from.display().to_string(), &to.display().to_string()]).map(drop)
}
