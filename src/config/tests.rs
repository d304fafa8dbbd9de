//! The three files together.

use std::path::PathBuf;

use super::*;

/// A configuration directory of its own, removed at the end.
pub(crate) struct Directory(PathBuf);

impl Directory {
    pub(crate) fn new() -> Self {
        use std::sync::atomic::{AtomicU32, Ordering};
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("nullbeat-config-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).expect("temporary directory");
        Self(path)
    }

    pub(crate) fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        use std::os::unix::fs::PermissionsExt;
        let path = self.0.join(name);
        std::fs::write(&path, text).expect("write");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("chmod");
    }

    pub(crate) fn load(&self, options: &LoadOptions<'_>) -> Loaded {
        let paths = Paths { config: self.0.clone(), run: "/run/nullbeat".into(), state: "/var/lib/nullbeat".into() };
        load(&paths, options)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn tutorial_loads() {
    let directory = Directory::new();
    directory.write("ha.cf", include_bytes!("../../tests/tutorial/ha.cf"));
    directory.write("haresources", include_bytes!("../../tests/tutorial/haresources"));
    directory.write("authkeys", include_bytes!("../../tests/tutorial/authkeys"));
    let machine = FakeMachine::complete("Rserver1");
    let loaded = directory.load(&LoadOptions { machine: &machine, ..LoadOptions::new(Purpose::Run) });
    let config = loaded.config.expect("loads");
    assert_eq!(config.nodes, ["rserver1", "rserver2"]);
    assert_eq!(config.partner(), Some("rserver2"));
    assert_eq!(config.groups[0].key(), "IPaddr::192.168.231.111/24/ens33");
}
