//! The program for armv7: built with the same recipe, run by QEMU's translator of single programs.

use std::path::Path;
use std::process::Command;

use super::image::path_from;

#[test]
fn armv7_build_says_its_version_and_checks_a_configuration() {
    let program = path_from("dist/build-cross", &["armv7-unknown-linux-gnueabihf", "vm"]);
    let directory = std::env::temp_dir().join(format!("nullbeat-armv7-{}", std::process::id()));
    std::fs::create_dir_all(&directory).expect("a directory");
    write(
        &directory,
        "ha.cf",
        "node alpha beta\nkeepalive 200ms\ndeadtime 2\ninitdead 10\nserial /dev/ttyS0\nlogfacility daemon\n",
    );
    write(&directory, "haresources", "alpha 192.168.7.10/24/eth0\n");
    write(&directory, "authkeys", "auth 1\n1 sha1 a-key-for-the-bench\n");
    let run = |words: &[&str]| {
        let command =
            Command::new("qemu-arm-static").current_dir(env!("CARGO_MANIFEST_DIR")).arg(&program).args(words).output();
        let output = command.expect("qemu-arm-static, of qemu-user-static");
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr),
        )
    };
    let (code, version) = run(&["version"]);
    assert_eq!(code, Some(0), "{version}");
    assert!(version.contains(env!("CARGO_PKG_VERSION")), "{version}");
    let (code, said) = run(&["check", "--node", "alpha", "--config-dir", directory.to_str().expect("ASCII")]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("0 errors") && said.contains("declared dead 2 s after it (10 beats)"), "{said}");
    // And what a mistake costs: the place in the file, and the exit code.
    write(&directory, "ha.cf", "node alpha beta\nkeepalive often\nserial /dev/ttyS0\n");
    let (code, said) = run(&["check", "--node", "alpha", "--config-dir", directory.to_str().expect("ASCII")]);
    assert_eq!(code, Some(78), "{said}");
    assert!(said.contains("ha.cf:2:11: error"), "{said}");
    let _ = std::fs::remove_dir_all(directory);
}

fn write(directory: &Path, name: &str, text: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    let path = directory.join(name);
    std::fs::write(&path, text).expect("a file");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).expect("its mode");
}
