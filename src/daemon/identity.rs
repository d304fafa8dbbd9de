//! Who this node is: its uuid and its generation, in the files that Heartbeat uses (spec/wire.md 8.1 and 10.1), so that
//! a migrated node keeps its identity.
//!
//! The generation must never go back: peers drop an older one as a replay. So the file holds the highest number that
//! was ever *set aside*, it is replaced in one step, and there is a second copy. A few numbers are set aside in
//! advance, so that a new engine waits for no disk.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::config::{Config, Paths};
use crate::core::ids::{Generation, Uuid};
use crate::core::settings::Identity;

use super::state_file::{overwrite, replace};

/// Where the state lives unless it was moved: then generation and uuid are Heartbeat's own.
const DEFAULT_STATE: &str = "/var/lib/nullbeat";
const HEARTBEAT_STATE: &str = "/var/lib/heartbeat";
const GENERATION_FILE: &str = "hb_generation";
const GENERATION_COPY: &str = "hb_generation.copy";
const UUID_FILE: &str = "hb_uuid";

/// Numbers set aside beyond the one in use: a minute's respawns without a disk.
const RESERVE: u32 = 4;

/// How far above the clock a generation of ours may be that a peer knows: 17 years' seconds, for a clock that has fallen back
/// to the time at which the program was made.
const LEAD_MAX: u32 = 1 << 29;

/// The node's uuid and the supply of generations.
#[derive(Debug)]
pub struct IdentityStore {
    directory: PathBuf,
    uuid: Uuid,
    source: Source,
    /// This board has run before, and neither copy of its generation can be read.
    is_guess: bool,
}

#[derive(Debug)]
enum Source {
    /// `hbgenmethod file`: the last number handed out and the highest one that the disk has.
    File { used: u32, reserved: u32 },
    /// `hbgenmethod time`: the last number handed out.
    Time { used: u32 },
}

impl IdentityStore {
    /// Reads or makes the files and sets generations aside. `floor` is the highest generation known to have been used
    /// (the lease's); zero when unknown.
    ///
    /// # Errors
    /// When a file can be neither read nor written: without a generation that grows, peers would not listen.
    pub fn open(config: &Config, floor: Generation) -> io::Result<Self> {
        let directory = state_directory(&config.paths);
        if let Err(error) = fs::create_dir_all(&directory) {
            log::error!("{}: {error}", directory.display());
        }
        let has_run = directory.join(UUID_FILE).exists();
        let mut is_guess = false;
        let uuid =
            if config.is_uuid_from_name { uuid_of_name(&config.node) } else { stored_uuid(&directory, &config.node)? };
        let source = if config.is_generation_from_time {
            Source::Time { used: floor.0 }
        } else {
            let stored = stored_generation(&directory);
            is_guess = stored.is_none() && has_run && floor.0 == 0;
            let used = stored.unwrap_or_else(first_generation).max(floor.0);
            Source::File { used, reserved: used }
        };
        let mut store = Self { directory, uuid, source, is_guess };
        if let Err(error) = store.refill() {
            // A full disk keeps no service down: see `take_next`.
            log::error!("no generation can be set aside in {}: {error}", store.directory.display());
        }
        Ok(store)
    }

    /// The identity of the next engine: a generation that was never used. Without disk access as long as
    /// [`IdentityStore::needs_refill`] is heeded.
    ///
    /// # Errors
    /// When no number is left.
    pub fn take_next(&mut self) -> io::Result<Identity> {
        if let Source::File { used, reserved } = self.source
            && used >= reserved
        {
            self.refill().or_else(|error| self.go_on_in_memory(&error))?;
        }
        let generation = match &mut self.source {
            Source::File { used, .. } => {
                *used += 1;
                *used
            }
            Source::Time { used } => {
                *used = seconds_of_wall_clock().max(used.saturating_add(1));
                *used
            }
        };
        Ok(Identity { uuid: self.uuid, generation: Generation(generation) })
    }

    /// The next generation will be above `known`, which a peer has heard.
    ///
    /// # Errors
    /// When it is too far above all that a clock may have given: then it was no generation of this node, and numbers are not
    /// to be used up for it.
    pub fn raise_above(&mut self, known: Generation) -> io::Result<()> {
        if known.0 > first_generation().saturating_add(LEAD_MAX) {
            return Err(io::Error::other("no clock can have given it"));
        }
        let (Source::File { used, .. } | Source::Time { used }) = &mut self.source;
        *used = known.0.max(*used);
        Ok(())
    }

    /// Whether the number that [`IdentityStore::take_next`] gives next is a guess, on a board of which a peer may know a higher
    /// one. Once: who goes on after it knows more.
    pub const fn take_guess(&mut self) -> bool {
        std::mem::replace(&mut self.is_guess, false)
    }

    /// Whether fewer than half of the numbers set aside are left.
    pub fn needs_refill(&self) -> bool {
        matches!(self.source, Source::File { used, reserved } if reserved.saturating_sub(used) * 2 < RESERVE)
    }

    /// Sets more numbers aside. Waits for the disk.
    ///
    /// # Errors
    /// What writing says; the numbers already set aside stay good.
    pub fn refill(&mut self) -> io::Result<()> {
        let Source::File { used, .. } = self.source else { return Ok(()) };
        let target = used.checked_add(1 + RESERVE).ok_or_else(|| io::Error::other("no generation is left"))?;
        self.write_reserve(target)?;
        self.note_refill(target);
        Ok(())
    }

    /// The disk takes nothing, and a board without service is worse than one whose next start may be deaf for a while:
    /// the clock gives a number that is higher than those before, also those of other starts without a disk.
    fn go_on_in_memory(&mut self, error: &io::Error) -> io::Result<()> {
        if let Source::File { used, reserved } = &mut self.source {
            *used = first_generation().max(*used);
            *reserved = used.checked_add(1).ok_or_else(|| io::Error::other("no generation is left"))?;
            let directory = self.directory.display();
            log::error!("{directory}: {error}; the generation {reserved} is kept in memory only, make room for it");
        }
        Ok(())
    }

    /// The number up to which the next refill would set aside, for a child process that waits for the disk in our
    /// place: [`IdentityStore::write_reserve`] there, [`IdentityStore::note_refill`] here.
    pub fn refill_target(&self) -> Option<u32> {
        match self.source {
            Source::File { used, .. } if self.needs_refill() => used.checked_add(1 + RESERVE),
            _ => None,
        }
    }

    /// Writes both copies.
    ///
    /// # Errors
    /// What writing says.
    pub fn write_reserve(&self, target: u32) -> io::Result<()> {
        let text = format!("{target:>15}\n");
        // The copy first: at every moment at least one of the two is whole and at least as high as any number in use.
        for name in [GENERATION_COPY, GENERATION_FILE] {
            let path = self.directory.join(name);
            // Where there is no room for a new file there still is the old one's.
            replace(&path, text.as_bytes()).or_else(|error| overwrite(&path, text.as_bytes()).map_err(|_| error))?;
        }
        Ok(())
    }

    /// The disk has everything up to `target`.
    pub fn note_refill(&mut self, target: u32) {
        if let Source::File { reserved, .. } = &mut self.source {
            *reserved = target.max(*reserved);
        }
    }
}

/// Where what Heartbeat also has is kept: its own directory, unless ours was moved.
pub fn state_directory(paths: &Paths) -> PathBuf {
    if paths.state == Path::new(DEFAULT_STATE) { PathBuf::from(HEARTBEAT_STATE) } else { paths.state.clone() }
}

fn seconds_of_wall_clock() -> u32 {
    seconds_of(SystemTime::now())
}

fn seconds_of(time: SystemTime) -> u32 {
    let seconds = time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |time| time.as_secs());
    u32::try_from(seconds).unwrap_or(u32::MAX)
}

/// The highest number in the two copies; when neither can be read, it is to come from the clock (spec/wire.md 8.1), see
/// [`first_generation`].
fn stored_generation(directory: &Path) -> Option<u32> {
    let file = read_generation(&directory.join(GENERATION_FILE));
    let copy = read_generation(&directory.join(GENERATION_COPY));
    let found = [&file, &copy].into_iter().filter_map(|result| result.as_ref().ok()).max();
    if let Some(&generation) = found {
        if matches!(&file, Err(error) if error.kind() != io::ErrorKind::NotFound) {
            log::warn!("BROKEN previous generation in {GENERATION_FILE} - using the copy: {generation}");
        }
        return Some(generation);
    }
    let start = first_generation();
    let is_missing =
        [file, copy].iter().all(|result| matches!(result, Err(error) if error.kind() == io::ErrorKind::NotFound));
    if is_missing {
        log::warn!("No Previous generation - starting at {}", start + 1);
    } else {
        log::warn!("BROKEN previous generation - starting at {}", start + 1);
    }
    None
}

/// Fifteen columns and a newline; like the original's reader this one only wants a number there.
fn read_generation(path: &Path) -> io::Result<u32> {
    let mut bytes = Vec::new();
    File::open(path)?.take(64).read_to_end(&mut bytes)?;
    generation_in(&bytes).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// The number in the bytes of a generation file.
pub(crate) fn generation_in(bytes: &[u8]) -> Option<u32> {
    std::str::from_utf8(bytes).ok()?.trim().parse().ok().filter(|generation| *generation > 0)
}

/// Where numbers begin when none is known: the wall clock, but not before the program itself was made, as many boards come
/// up in 1970.
fn first_generation() -> u32 {
    let built = std::env::current_exe().and_then(fs::metadata).and_then(|program| program.modified());
    seconds_of_wall_clock().max(built.map_or(0, seconds_of))
}

fn stored_uuid(directory: &Path, node: &str) -> io::Result<Uuid> {
    let path = directory.join(UUID_FILE);
    match fs::read(&path) {
        Ok(bytes) => match <[u8; 16]>::try_from(bytes.as_slice()) {
            Ok(bytes) if bytes != [0; 16] => return Ok(Uuid(bytes)),
            _ => log::error!("{} is broken: 16 bytes expected, {} found", path.display(), bytes.len()),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    log::info!("No uuid found for current node - generating a new uuid.");
    let mut bytes = [0; 16];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    if let Err(error) = replace(&path, &bytes) {
        log::error!("{}: {error}; the uuid is made of the node's name until there is room for one", path.display());
        return Ok(uuid_of_name(node));
    }
    Ok(Uuid(bytes))
}

/// `uuidfrom nodename` (spec/wire.md 10.1).
fn uuid_of_name(node: &str) -> Uuid {
    let mut name = node.bytes().map(|byte| byte.to_ascii_lowercase().cast_signed());
    // A C `char` is signed where this was written; names beyond ASCII are not accepted in ha.cf anyway.
    let first = i32::from(name.next().unwrap_or(0));
    let seed = name.fold(first, |hash, byte| hash.wrapping_mul(31).wrapping_add(i32::from(byte)));
    log::info!("seed is {seed}");
    let mut random = GlibcRandom::new(seed.cast_unsigned());
    let mut digit = || u8::try_from(random.next() % 16).unwrap_or(0);
    Uuid(std::array::from_fn(|_| digit() << 4 | digit()))
}

/// The GNU C library's `srand` and `rand` (additive feedback, x³¹ + x³ + 1): a node's uuid depends on its numbers.
struct GlibcRandom {
    state: [i32; 31],
    front: usize,
}

impl GlibcRandom {
    fn new(seed: u32) -> Self {
        let mut state = [0i32; 31];
        // A seed of zero would stay zero; the library takes one instead.
        state[0] = seed.max(1).cast_signed();
        for index in 1..state.len() {
            // 16807 · x mod (2³¹ − 1) by Schrage's method, with C's truncating division.
            let previous = state[index - 1];
            let next = 16807i32.wrapping_mul(previous % 127_773) - 2836 * (previous / 127_773);
            state[index] = if next < 0 { next + i32::MAX } else { next };
        }
        let mut random = Self { state, front: 3 };
        for _ in 0..310 {
            random.next();
        }
        random
    }

    fn next(&mut self) -> u32 {
        let rear = (self.front + 28) % 31;
        let sum = self.state[self.front].wrapping_add(self.state[rear]);
        self.state[self.front] = sum;
        self.front = (self.front + 1) % 31;
        sum.cast_unsigned() >> 1
    }
}

#[cfg(test)]
mod cuts;
#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::sample;

    struct Scratch(PathBuf);

    impl Scratch {
        fn new() -> Self {
            Self(nix::unistd::mkdtemp(&std::env::temp_dir().join("nullbeat-identity-XXXXXX")).unwrap())
        }

        fn open(&self) -> IdentityStore {
            IdentityStore::open(&sample::config(&self.0, &[]), Generation(0)).unwrap()
        }

        fn write(&self, name: &str, content: &[u8]) {
            fs::create_dir_all(self.0.join("state")).unwrap();
            fs::write(self.0.join("state").join(name), content).unwrap();
        }

        fn read(&self, name: &str) -> Vec<u8> {
            fs::read(self.0.join("state").join(name)).unwrap()
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }

    fn hex(uuid: Uuid) -> String {
        uuid.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn uuid_of_name_is_that_of_the_original() {
        // spec/wire.md 10.1.
        assert_eq!(hex(uuid_of_name("alpha")), "cc301fda9190a843de51a987ec340ccc");
        assert_eq!(hex(uuid_of_name("ALPHA")), "cc301fda9190a843de51a987ec340ccc");
        assert_eq!(hex(uuid_of_name("beta")), "bf4514df59e520af3817c93be31e6e01");
    }

    #[test]
    fn random_numbers_are_those_of_the_c_library() {
        // The well-known first numbers of srand(1).
        let mut random = GlibcRandom::new(1);
        assert_eq!([random.next(), random.next(), random.next()], [1_804_289_383, 846_930_886, 1_681_692_777]);
    }

    #[test]
    fn generation_follows_the_stored_one_and_is_reserved_on_disk() {
        let scratch = Scratch::new();
        scratch.write(GENERATION_FILE, b"     1795437671\n");
        let mut store = scratch.open();
        assert_eq!(store.take_next().unwrap().generation, Generation(1_795_437_672));
        assert_eq!(scratch.read(GENERATION_FILE), b"     1795437676\n", "16 bytes, right-aligned in 15 columns");
        assert_eq!(scratch.read(GENERATION_COPY), scratch.read(GENERATION_FILE));
    }

    #[test]
    fn generation_never_repeats_over_restarts_and_respawns() {
        let scratch = Scratch::new();
        scratch.write(GENERATION_FILE, b"             10\n");
        let mut last = 10;
        for _ in 0..5 {
            let mut store = scratch.open();
            for _ in 0..12 {
                let generation = store.take_next().unwrap().generation.0;
                assert!(generation > last);
                last = generation;
                let on_disk = read_generation(&scratch.0.join("state").join(GENERATION_FILE)).unwrap();
                assert!(on_disk >= generation, "set aside before it is used");
            }
        }
    }

    #[test]
    fn generation_refill_by_another_process_is_taken_over() {
        let scratch = Scratch::new();
        scratch.write(GENERATION_FILE, b"             10\n");
        let mut store = scratch.open();
        assert!(!store.needs_refill());
        while !store.needs_refill() {
            store.take_next().unwrap();
        }
        let target = store.refill_target().unwrap();
        store.write_reserve(target).unwrap();
        store.note_refill(target);
        assert!(!store.needs_refill());
        assert_eq!(store.refill_target(), None);
    }

    #[test]
    fn generation_broken_file_is_replaced_by_its_copy() {
        let scratch = Scratch::new();
        scratch.write(GENERATION_FILE, b"         \0\0\0\0\0\0\n");
        scratch.write(GENERATION_COPY, b"           4711\n");
        assert_eq!(scratch.open().take_next().unwrap().generation, Generation(4712));
    }

    #[test]
    fn generation_missing_or_broken_starts_from_the_clock() {
        for content in [None, Some(&b"no number\n"[..]), Some(&b"              0\n"[..])] {
            let scratch = Scratch::new();
            if let Some(content) = content {
                scratch.write(GENERATION_FILE, content);
            }
            let before = seconds_of_wall_clock();
            let generation = scratch.open().take_next().unwrap().generation.0;
            assert!(generation > before && generation <= seconds_of_wall_clock() + 1);
        }
    }

    #[test]
    fn generation_is_a_guess_where_a_board_that_has_run_has_lost_it() {
        let scratch = Scratch::new();
        assert!(!scratch.open().take_guess(), "a new board: nobody can know a run of it");
        assert!(!scratch.open().take_guess(), "it is known");
        for name in [GENERATION_FILE, GENERATION_COPY] {
            fs::remove_file(scratch.0.join("state").join(name)).unwrap();
        }
        let lease = IdentityStore::open(&sample::config(&scratch.0, &[]), Generation(50)).unwrap().take_guess();
        assert!(!lease, "an earlier daemon of this boot has left it");
        for name in [GENERATION_FILE, GENERATION_COPY] {
            fs::write(scratch.0.join("state").join(name), b"no number\n").unwrap();
        }
        let mut store = scratch.open();
        assert!(store.take_guess());
        assert!(!store.take_guess(), "once");
    }

    #[test]
    fn generation_is_above_what_the_lease_remembers() {
        let scratch = Scratch::new();
        scratch.write(GENERATION_FILE, b"             10\n");
        let mut store = IdentityStore::open(&sample::config(&scratch.0, &[]), Generation(50)).unwrap();
        assert_eq!(store.take_next().unwrap().generation, Generation(51));
    }

    #[test]
    fn generation_goes_on_above_what_a_peer_knows() {
        let scratch = Scratch::new();
        scratch.write(GENERATION_FILE, b"              5\n");
        let mut store = scratch.open();
        let known = Generation(1_700_000_000);
        store.raise_above(known).unwrap();
        assert_eq!(store.take_next().unwrap().generation, Generation(known.0 + 1));
        assert!(read_generation(&scratch.0.join("state").join(GENERATION_FILE)).unwrap() > known.0);
        // What can have been no run of ours uses nothing up.
        assert!(store.raise_above(Generation(u32::MAX - 1)).is_err());
        store.raise_above(Generation(7)).unwrap();
        assert_eq!(store.take_next().unwrap().generation, Generation(known.0 + 2));
    }

    /// Makes it impossible to write a new file beside `name`, also for root.
    fn block(scratch: &Scratch, name: &str) {
        fs::create_dir_all(scratch.0.join("state").join(format!("{name}.new")).join("full")).unwrap();
    }

    #[test]
    fn generation_is_written_over_the_old_one_where_there_is_no_room() {
        let scratch = Scratch::new();
        let mut store = scratch.open();
        let last = (0..=RESERVE).map(|_| store.take_next().unwrap().generation).max().unwrap();
        block(&scratch, GENERATION_FILE);
        block(&scratch, GENERATION_COPY);
        let next = store.take_next().unwrap().generation;
        assert!(next > last);
        assert!(scratch.open().take_next().unwrap().generation > next, "the disk has it");
    }

    #[test]
    fn identity_without_any_disk_grows_all_the_same() {
        let scratch = Scratch::new();
        for name in [UUID_FILE, GENERATION_FILE, GENERATION_COPY] {
            block(&scratch, name);
        }
        let mut store = scratch.open();
        let first = store.take_next().unwrap();
        for _ in 0..10 {
            assert!(store.take_next().unwrap().generation > first.generation);
        }
        assert_eq!(first.uuid, scratch.open().take_next().unwrap().uuid, "the same at each start");
        assert!(!scratch.0.join("state").join(GENERATION_FILE).exists());
    }

    #[test]
    fn generation_from_time_grows_within_one_second() {
        let scratch = Scratch::new();
        let mut config = sample::config(&scratch.0, &[]);
        config.is_generation_from_time = true;
        let mut store = IdentityStore::open(&config, Generation(0)).unwrap();
        let first = store.take_next().unwrap().generation;
        assert!(store.take_next().unwrap().generation > first);
        assert!(!scratch.0.join("state").join(GENERATION_FILE).exists());
    }

    #[test]
    fn uuid_is_made_once_and_kept() {
        let scratch = Scratch::new();
        let uuid = scratch.open().take_next().unwrap().uuid;
        assert!(!uuid.is_nil());
        assert_eq!(scratch.read(UUID_FILE), uuid.0);
        assert_eq!(scratch.open().take_next().unwrap().uuid, uuid);
    }

    #[test]
    fn uuid_broken_file_is_made_anew() {
        let scratch = Scratch::new();
        scratch.write(UUID_FILE, b"short");
        let uuid = scratch.open().take_next().unwrap().uuid;
        assert_eq!(scratch.read(UUID_FILE), uuid.0);
    }

    #[test]
    fn identity_of_the_default_place_is_heartbeats() {
        let paths = |state: &str| Paths { config: "/c".into(), run: "/r".into(), state: state.into() };
        assert_eq!(state_directory(&paths("/var/lib/nullbeat")), Path::new("/var/lib/heartbeat"));
        assert_eq!(state_directory(&paths("/srv/x")), Path::new("/srv/x"));
    }
}
