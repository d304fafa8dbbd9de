//! Every target with the committed corpus and mutations of it, the same ones each time.

use std::collections::BTreeSet;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

use super::{TARGETS, Target};
use crate::sim::rng::Rng;

/// Mutations of each target's corpus.
const ROUNDS: u64 = 2000;
/// Bytes that mean something to some decoder.
const TELLING: &[u8] = b"(0123)=,:\n\x13<>%#\0-\t|\"\\ \xff$";

fn fuzz_directory() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

/// The committed inputs, in the order of their names.
fn corpus(name: &str) -> Vec<Vec<u8>> {
    let directory = fuzz_directory().join("corpus").join(name);
    let files = fs::read_dir(&directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let paths: BTreeSet<PathBuf> = files.map(|file| file.unwrap().path()).collect();
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

fn below(random: &mut Rng, end: usize) -> usize {
    usize::try_from(random.below(end.max(1) as u64)).unwrap()
}

fn mutate(random: &mut Rng, bytes: &mut Vec<u8>, other: &[u8]) {
    for _ in 0..=below(random, 4) {
        let at = below(random, bytes.len() + 1);
        let byte = u8::try_from(random.below(256)).unwrap();
        match below(random, 9) {
            0 if at < bytes.len() => bytes[at] = byte,
            1 if at < bytes.len() => bytes[at] ^= 1 << (byte % 8),
            2 if at < bytes.len() => drop(bytes.remove(at)),
            3 => bytes.insert(at, byte),
            4 => bytes.insert(at, TELLING[below(random, TELLING.len())]),
            5 => bytes.truncate(at),
            6 => {
                let piece = bytes[at..(at + below(random, 40)).min(bytes.len())].to_vec();
                let to = below(random, bytes.len() + 1);
                bytes.splice(to..to, piece);
            }
            7 => {
                let start = below(random, other.len() + 1);
                let end = (start + below(random, 200)).min(other.len());
                bytes.splice(at..at, other[start..end].iter().copied());
            }
            _ => {
                let number = [0, 1, 127, 128, 255, 256, 65_535, u64::from(u32::MAX), u64::MAX][below(random, 9)];
                bytes.splice(at..at, number.to_string().into_bytes());
            }
        }
    }
}

/// The input with which the target fails, if it does.
fn attempt(target: &Target, input: &[u8]) -> Result<(), String> {
    let outcome = catch_unwind(AssertUnwindSafe(|| target.run(input)));
    outcome.map_err(|_| format!("{} with b\"{}\"", target.name, input.escape_ascii()))
}

fn try_all(target: &Target) -> Result<(), String> {
    let corpus = corpus(target.name);
    assert!(!corpus.is_empty(), "no corpus for {}", target.name);
    let size: usize = corpus.iter().map(Vec::len).sum();
    assert!(size < 64 * 1024, "the corpus of {} is to be kept small: {size} bytes", target.name);
    attempt(target, &[])?;
    corpus.iter().try_for_each(|input| attempt(target, input))?;
    let mut random = Rng::new(0x6e75_6c6c, 0);
    for _ in 0..ROUNDS {
        let mut input = corpus[below(&mut random, corpus.len())].clone();
        let other = &corpus[below(&mut random, corpus.len())];
        mutate(&mut random, &mut input, other);
        attempt(target, &input)?;
    }
    Ok(())
}

#[test]
fn every_target_survives_its_corpus_and_what_becomes_of_it() {
    let failed: Vec<String> = TARGETS.iter().filter_map(|target| try_all(target).err()).collect();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[test]
fn every_target_is_a_program_of_the_fuzzer_and_the_other_way_round() {
    let names: BTreeSet<String> = TARGETS.iter().map(|target| target.name.to_owned()).collect();
    assert_eq!(names.len(), TARGETS.len());
    let manifest = fs::read_to_string(fuzz_directory().join("Cargo.toml")).unwrap();
    let programs =
        manifest.lines().filter_map(|line| line.strip_prefix("path = \"fuzz_targets/")?.strip_suffix(".rs\""));
    assert_eq!(programs.map(str::to_owned).collect::<BTreeSet<_>>(), names);
    for name in &names {
        let source = fs::read_to_string(fuzz_directory().join(format!("fuzz_targets/{name}.rs"))).unwrap();
        assert!(source.contains(&format!("\"{name}\"")), "{name}.rs runs another target");
    }
}
