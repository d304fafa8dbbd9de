//! What the program is made of: every crate has a reason, a licence that may be shipped, and no second version of it
//! unless that is said. `cargo tree` is asked; nothing is fetched.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

const TARGETS: [&str; 3] = ["x86_64-unknown-linux-musl", "aarch64-unknown-linux-gnu", "armv7-unknown-linux-gnueabihf"];

/// Licences of which one is enough, each with the duties that docs/dependencies.md names.
const LICENCES: [&str; 8] =
    ["0BSD", "Apache-2.0", "BSD-3-Clause", "MIT", "MPL-2.0", "Unicode-3.0", "Unlicense", "Zlib"];

/// Those of which there are two versions, because another crate needs the older one.
const TWICE: [&str; 2] = ["bitflags", "nix"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Everything that is compiled into the program for one target or runs while it is built, with its licence.
fn crates_for(target: &str) -> BTreeMap<(String, String), String> {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--locked", "--offline", "-e", "normal,build", "--prefix", "none"])
        .args(["--format", "{p}|{l}", "--target", target])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut found = BTreeMap::new();
    for line in String::from_utf8(output.stdout).unwrap().lines().filter(|line| !line.is_empty()) {
        let (package, licence) = line.split_once('|').unwrap();
        let mut words = package.split(' ');
        let (name, version) = (words.next().unwrap(), words.next().unwrap());
        let licence = licence.trim_end_matches(" (*)").replace('/', " OR ");
        found.insert((name.to_owned(), version.trim_start_matches('v').to_owned()), licence);
    }
    found.retain(|(name, _), _| name != "nullbeat");
    assert!(found.len() > 20, "{found:?}");
    found
}

/// The same for all targets.
fn crates() -> BTreeMap<(String, String), String> {
    TARGETS.into_iter().flat_map(crates_for).collect()
}

#[test]
fn every_crate_has_a_reason() {
    let page = fs::read_to_string(root().join("docs/dependencies.md")).unwrap();
    let rows = page.lines().filter(|line| line.starts_with("| `"));
    let named: BTreeSet<String> = rows
        .map(|row| {
            let cells: Vec<&str> = row.split('|').map(str::trim).collect();
            assert!(cells[2].split(' ').count() >= 3, "no reason: {row}");
            cells[1].trim_matches('`').to_owned()
        })
        .collect();
    let used: BTreeSet<String> = crates().into_keys().map(|(name, _)| name).collect();
    assert_eq!(named, used);
}

#[test]
fn every_licence_may_be_shipped() {
    for ((name, version), expression) in crates() {
        // `A OR B`: one is enough; `A AND B`: each has to be.
        let is_fine = expression.split(" AND ").all(|part| {
            part.trim_matches(['(', ')'])
                .split(" OR ")
                .any(|licence| LICENCES.contains(&licence.trim_matches(['(', ')'])))
        });
        assert!(is_fine, "{name} {version}: {expression}");
    }
}

#[test]
fn no_crate_is_there_twice_without_need() {
    let mut versions: BTreeMap<String, usize> = BTreeMap::new();
    for (name, _) in crates().into_keys() {
        *versions.entry(name).or_default() += 1;
    }
    let twice: Vec<&str> = versions.iter().filter(|(_, count)| **count > 1).map(|(name, _)| name.as_str()).collect();
    assert_eq!(twice, TWICE);
}

#[test]
fn every_source_is_the_registry_and_has_a_checksum() {
    let lock = fs::read_to_string(root().join("Cargo.lock")).unwrap();
    for package in lock.split("[[package]]").skip(1).filter(|package| !package.contains("name = \"nullbeat\"")) {
        assert!(package.contains("source = \"registry+https://github.com/rust-lang/crates.io-index\""), "{package}");
        assert!(package.contains("checksum = \""), "{package}");
    }
}

#[test]
fn bill_of_materials_lists_every_crate() {
    for target in TARGETS {
        let output = Command::new(root().join("dist/sbom")).arg(target).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let bill = String::from_utf8(output.stdout).unwrap();
        assert!(bill.starts_with("{\n  \"bomFormat\": \"CycloneDX\",\n  \"specVersion\": \"1.5\",\n"));
        for (name, version) in crates_for(target).into_keys() {
            let component = format!("\"name\": \"{name}\", \"version\": \"{version}\"");
            let line =
                bill.lines().find(|line| line.contains(&component)).unwrap_or_else(|| panic!("{name} {version}"));
            assert!(line.contains("\"hashes\": [{\"alg\": \"SHA-256\", \"content\": \""), "{line}");
            assert!(bill.contains(&format!("{{\"ref\": \"pkg:cargo/{name}@{version}\"")), "{name} {version}");
        }
        let count = |character| bill.matches(character).count();
        assert_eq!((count('{'), count('[')), (count('}'), count(']')));
    }
}
