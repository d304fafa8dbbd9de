//! A writer of every state file, killed before each of its system calls in turn; and on disks that take nothing.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use super::{GENERATION_COPY, GENERATION_FILE, IdentityStore, UUID_FILE, first_generation, read_generation};
use crate::config::sample;
use crate::core::ids::Generation;
use crate::daemon::host_files;
use crate::daemon::state_file::replace;

/// Tells the writer where to write.
const PLACE: &str = "NULLBEAT_TEST_PLACE";
/// System calls before which it is killed.
const CALLS: [&str; 6] = ["openat", "write", "fsync", "rename", "close", "unlink"];
/// What a file of one line holds, one after the other; of different lengths, so that a mixture shows.
const VERSIONS: [&str; 3] = ["first version\n", "2nd\n", "the third version, a long one\n"];

struct Loud;

impl log::Log for Loud {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        println!("{}: {}", record.level(), record.args());
    }

    fn flush(&self) {}
}

/// Runs alone, in a process that the tests below start.
#[test]
#[ignore = "is run by the other tests of this file, in a process of its own"]
fn writer() {
    let place = PathBuf::from(std::env::var_os(PLACE).expect("started by the other tests"));
    log::set_logger(&Loud).expect("a process of its own");
    log::set_max_level(log::LevelFilter::Warn);
    let mut store = IdentityStore::open(&sample::config(&place, &[]), Generation(0)).unwrap();
    for _ in 0..7 {
        println!("used {}", store.take_next().unwrap().generation.0);
    }
    let state = place.join("state");
    for (number, version) in VERSIONS.iter().enumerate() {
        let texts = [(*version).to_owned(), format!("deleted {version}")];
        let is_written =
            replace(&state.join("line"), version.as_bytes()).and(host_files::write(&state, &texts)).is_ok();
        println!("{} {number}", if is_written { "wrote" } else { "lost" });
    }
    println!("end");
}

struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        let path = nix::unistd::mkdtemp(&std::env::temp_dir().join("nullbeat-cuts-XXXXXX")).unwrap();
        fs::create_dir(path.join("state")).unwrap();
        Self(path)
    }

    fn state(&self, name: &str) -> PathBuf {
        self.0.join("state").join(name)
    }

    fn with_identity() -> Self {
        let scratch = Self::new();
        for name in [GENERATION_FILE, GENERATION_COPY] {
            fs::write(scratch.state(name), format!("{:>15}\n", 100)).unwrap();
        }
        fs::write(scratch.state(UUID_FILE), [7; 16]).unwrap();
        scratch
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

/// The writer at work in `place`, started with the words `before` in front.
fn write(place: &Path, before: &[String]) -> Output {
    let program = std::env::current_exe().unwrap().to_str().unwrap().to_owned();
    let own = "--exact --ignored --nocapture --test-threads=1 daemon::identity::cuts::writer";
    let words: Vec<String> = before.iter().cloned().chain([program]).collect();
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).args(own.split(' ')).env(PLACE, place).output().unwrap()
}

fn numbers(output: &str, word: &str) -> Vec<u32> {
    output
        .lines()
        .filter_map(|line| line.rsplit(word).next()?.trim().parse().ok().filter(|_| line.contains(word)))
        .collect()
}

/// After a cut each file is the old one or the new one, none is older than what was reported as done, and no generation
/// comes again.
fn examine(scratch: &Scratch, output: &str, had_identity: bool) {
    for name in ["line", host_files::NAMES[0]] {
        let found = fs::read_to_string(scratch.state(name)).ok();
        let version = found.as_ref().map(|text| VERSIONS.iter().position(|version| version == text));
        assert_ne!(version, Some(None), "{name} is neither old nor new: {found:?}");
        let written = numbers(output, "wrote ").last().copied();
        assert!(version.flatten() >= written.map(|number| number as usize), "{name}: {found:?}, but {output}");
    }
    let uuid = fs::read(scratch.state(UUID_FILE)).ok();
    assert!(uuid.as_ref().map_or(!had_identity, |uuid| uuid.len() == 16), "{uuid:?}");
    let copies = [GENERATION_FILE, GENERATION_COPY].map(|name| read_generation(&scratch.state(name)).ok());
    assert!(!had_identity || copies.iter().all(Option::is_some), "{copies:?}");
    let used = numbers(output, "used ");
    let floor = copies.iter().flatten().max();
    assert!(used.iter().max().is_none_or(|used| floor.is_some_and(|floor| floor >= used)), "{copies:?}, used {used:?}");
}

/// Kills the writer before its first call of this kind, its second, and so on. Returns how many there are.
fn cut_before_each(call: &str, had_identity: bool) -> usize {
    for count in 1.. {
        let scratch = if had_identity { Scratch::with_identity() } else { Scratch::new() };
        let [trace, inject] = [format!("--trace={call}"), format!("--inject={call}:signal=KILL:when={count}")];
        let words = ["strace", "-f", "-qq", "-o", "/dev/null", &trace, &inject].map(str::to_owned);
        let output = write(&scratch.0, &words);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        examine(&scratch, &text, had_identity);
        if output.status.success() {
            assert!(text.contains("end"), "{text}");
            return count - 1;
        }
    }
    unreachable!("the writer ends")
}

#[test]
fn writer_killed_before_any_system_call_leaves_the_old_or_the_new() {
    for had_identity in [true, false] {
        let cuts = CALLS.map(|call| cut_before_each(call, had_identity));
        println!("identity there before: {had_identity}; cut before each of {cuts:?} system calls {CALLS:?}");
        let [opened, written, synced, renamed, ..] = cuts;
        assert!(opened > 20 && written > 20 && synced > 20 && renamed > 10, "the writer was not watched: {cuts:?}");
    }
}

#[test]
fn new_file_is_on_disk_before_it_takes_the_name_and_the_name_thereafter() {
    let scratch = Scratch::with_identity();
    let log = scratch.0.join("strace");
    let words = ["strace", "-f", "-y", "-qq", "--trace=fsync,rename,renameat,renameat2", "-o", log.to_str().unwrap()];
    let output = write(&scratch.0, &words.map(str::to_owned));
    assert!(output.status.success(), "{output:?}");
    let text = fs::read_to_string(&log).unwrap();
    let calls: Vec<&str> = text.lines().collect();
    let state = format!("<{}>", scratch.0.join("state").display());
    let mut renamed = BTreeSet::new();
    for (index, call) in calls.iter().enumerate().filter(|(_, call)| call.contains("rename")) {
        let name = call.split('"').nth(3).unwrap();
        renamed.insert(name.rsplit('/').next().unwrap().to_owned());
        assert!(calls[index - 1].contains("fsync(") && calls[index - 1].contains(&format!("<{name}.new>")), "{text}");
        assert!(calls[index + 1].contains("fsync(") && calls[index + 1].contains(&state), "{text}");
    }
    let expected = [GENERATION_FILE, GENERATION_COPY, "line", host_files::NAMES[0], host_files::NAMES[1]];
    assert_eq!(renamed, expected.map(str::to_owned).into());
}

/// The writer in a mount namespace of its own, in which `prepare` has done something to `$D`, its state directory.
fn write_where(scratch: &Scratch, prepare: &str) -> String {
    let script = format!("set -e; D={}; {prepare}; exec \"$@\"", scratch.0.join("state").display());
    let words = ["unshare", "-m", "sh", "-c", &script, "sh"].map(str::to_owned);
    let output = write(&scratch.0, &words);
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn assert_grows(output: &str) -> Vec<u32> {
    let used = numbers(output, "used ");
    assert_eq!(used.len(), 7, "{output}");
    assert!(used.is_sorted_by(|a, b| a < b), "{used:?}");
    used
}

#[test]
fn full_disk_is_survived_with_a_warning() {
    let fill = "cp -a $D $D.old; mount -t tmpfs -o size=32k,nr_inodes=64 none $D; cp -a $D.old/. $D/; \
                dd if=/dev/zero of=$D/ballast bs=1k 2>/dev/null || true";
    let scratch = Scratch::with_identity();
    let output = write_where(&scratch, fill);
    // The generation goes on in the blocks that it has.
    assert_eq!(assert_grows(&output), [101, 102, 103, 104, 105, 106, 107]);
    assert_eq!(output.matches("lost ").count(), VERSIONS.len(), "{output}");

    let scratch = Scratch::new();
    let output = write_where(&scratch, fill);
    assert!(assert_grows(&output)[0] > first_generation() - 600, "{output}");
    assert!(output.contains("is kept in memory only, make room for it"), "{output}");
    assert!(output.contains("the uuid is made of the node's name until there is room for one"), "{output}");
}

#[test]
fn read_only_disk_is_survived_with_a_warning() {
    let scratch = Scratch::with_identity();
    let output = write_where(&scratch, "mount --bind $D $D; mount -o remount,bind,ro $D");
    assert!(assert_grows(&output)[0] > first_generation() - 600, "{output}");
    assert!(output.contains("Read-only file system") && output.contains("is kept in memory only"), "{output}");
    assert_eq!(output.matches("lost ").count(), VERSIONS.len(), "{output}");
    assert_eq!(read_generation(&scratch.state(GENERATION_FILE)).unwrap(), 100);
}
