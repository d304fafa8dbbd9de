//! What a board boots: an archive for the kernel to unpack, and a disk that survives.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The folder of the package.
const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Where the program is on a board.
const PROGRAM: &str = "usr/sbin/nullbeat";

/// What is the same for all boards of an architecture.
pub(crate) struct Image {
    pub(crate) kernel: PathBuf,
    /// The tree of devices, where QEMU does not make it.
    pub(crate) device_tree: Option<PathBuf>,
    archive: Archive,
}

/// A file of one board: path, mode, content.
pub(crate) type BoardFile = (String, u32, Vec<u8>);

impl Image {
    /// For arm64, with the program cross-built; both are fetched and made at the first use.
    pub(crate) fn arm64() -> &'static Self {
        static IMAGE: OnceLock<Image> = OnceLock::new();
        IMAGE.get_or_init(|| Self::cross_built("arm64", "aarch64-unknown-linux-gnu"))
    }

    /// For armhf, in the same way.
    pub(crate) fn armhf() -> &'static Self {
        static IMAGE: OnceLock<Image> = OnceLock::new();
        IMAGE.get_or_init(|| Self::cross_built("armhf", "armv7-unknown-linux-gnueabihf"))
    }

    fn cross_built(architecture: &str, target: &str) -> Self {
        let mut archive = Archive::default();
        let program = path_from("dist/build-cross", &[target, "vm"]);
        archive.copy(PROGRAM, 0o755, &Path::new(ROOT).join(program));
        Self::prepare(architecture, archive)
    }

    /// For amd64, with this machine's own build and the libraries that it is linked to.
    pub(crate) fn amd64() -> &'static Self {
        static IMAGE: OnceLock<Image> = OnceLock::new();
        IMAGE.get_or_init(|| {
            let program = env!("CARGO_BIN_EXE_nullbeat");
            let mut archive = Archive::default();
            archive.copy(PROGRAM, 0o755, Path::new(program));
            let output = Command::new("ldd").arg(program).output().expect("ldd");
            for library in
                String::from_utf8_lossy(&output.stdout).split_whitespace().filter(|word| word.starts_with('/'))
            {
                archive.copy(library.trim_start_matches('/'), 0o755, Path::new(library));
            }
            Self::prepare("amd64", archive)
        })
    }

    fn prepare(architecture: &str, mut archive: Archive) -> Self {
        let folder = Path::new(&path_from("tests/vm/prepare", &[architecture])).to_owned();
        let root = Path::new(ROOT);
        archive.copy("init", 0o755, &root.join("tests/vm/init"));
        archive.copy("bin/busybox", 0o755, &folder.join("busybox"));
        archive.copy("etc/ha.d/resource.d/trace", 0o755, &root.join("tests/vm/trace"));
        archive.copy_all("etc/ha.d/resource.d", 0o755, &root.join("dist/resource.d"));
        archive.copy_all("usr/share/nullbeat/boards", 0o644, &root.join("boards"));
        archive.copy_all("lib/modules", 0o644, &folder.join("modules"));
        let device_tree = Some(folder.join("board.dtb")).filter(|file| file.exists());
        Self { kernel: folder.join("vmlinuz"), device_tree, archive }
    }

    /// Writes the archive of one board.
    pub(crate) fn write(&self, path: &Path, files: &[BoardFile]) {
        let mut archive = self.archive.clone();
        for (name, mode, content) in files {
            archive.add(name, *mode, content);
        }
        std::fs::write(path, archive.finish()).expect("an archive");
    }
}

/// All files below a folder of arm64's, links followed.
pub(crate) fn tree(folder: &Path) -> Vec<BoardFile> {
    let root = PathBuf::from(path_from("tests/vm/prepare", &["arm64"])).join(folder);
    let mut files = Vec::new();
    let mut left = vec![root.clone()];
    while let Some(path) = left.pop() {
        for entry in std::fs::read_dir(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display())) {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                left.push(path);
            } else {
                let name = path.strip_prefix(&root).expect("below it").display().to_string();
                files.push((name, 0o755, std::fs::read(&path).expect("a file")));
            }
        }
    }
    files
}

/// Runs one of the project's scripts that print a path.
pub(crate) fn path_from(script: &str, arguments: &[&str]) -> String {
    let output = Command::new(Path::new(ROOT).join(script)).args(arguments).current_dir(ROOT).output().expect(script);
    assert!(output.status.success(), "{script} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("a path").trim().to_owned()
}

/// An empty ext4 of 16 MiB, sparse.
pub(crate) fn make_disk(path: &Path) {
    let output = Command::new("mke2fs").args(["-q", "-t", "ext4"]).arg(path).arg("16M").output().expect("mke2fs");
    assert!(output.status.success(), "mke2fs: {}", String::from_utf8_lossy(&output.stderr));
}

/// A cpio archive in the format `newc` (Linux, Documentation/driver-api/early-userspace/buffer-format.rst).
#[derive(Clone, Default)]
struct Archive {
    bytes: Vec<u8>,
    directories: BTreeSet<String>,
    count: u32,
}

impl Archive {
    fn copy(&mut self, name: &str, mode: u32, from: &Path) {
        let content = std::fs::read(from).unwrap_or_else(|e| panic!("{}: {e}", from.display()));
        self.add(name, mode, &content);
    }

    /// The files of a directory.
    fn copy_all(&mut self, to: &str, mode: u32, from: &Path) {
        for entry in std::fs::read_dir(from).unwrap_or_else(|e| panic!("{}: {e}", from.display())) {
            let path = entry.expect("an entry").path();
            let name = path.file_name().expect("a name").to_str().expect("ASCII");
            self.copy(&format!("{to}/{name}"), mode, &path);
        }
    }

    /// A file, and the directories above it.
    fn add(&mut self, name: &str, mode: u32, content: &[u8]) {
        for (at, _) in name.match_indices('/') {
            if self.directories.insert(name[..at].to_owned()) {
                self.entry(&name[..at], 0o040_755, &[]);
            }
        }
        self.entry(name, 0o100_000 | mode, content);
    }

    fn entry(&mut self, name: &str, mode: u32, content: &[u8]) {
        self.count += 1;
        let (size, name_size) = (content.len(), name.len() + 1);
        // ino mode uid gid nlink mtime filesize devmajor devminor rdevmajor rdevminor namesize check
        let header = format!(
            "070701{:08x}{mode:08x}{:08x}{:08x}{:08x}{:08x}{size:08x}{:08x}{:08x}{:08x}{:08x}{name_size:08x}{:08x}",
            self.count, 0, 0, 1, 0, 0, 0, 0, 0, 0
        );
        self.bytes.extend_from_slice(header.as_bytes());
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(content);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, &[]);
        self.bytes
    }
}
