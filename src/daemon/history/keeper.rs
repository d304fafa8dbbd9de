//! The logger's part: numbers events, writes them to memory at once and to the disk in time.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nix::errno::Errno;
use nix::fcntl::posix_fallocate;
use nix::sys::prctl;
use nix::sys::wait::WaitStatus;
use nix::unistd::{Gid, Uid, fchown};

use super::ring::{self, Ring, image};
use super::slot::{self, Bytes, FILE, Record, SLOTS};
use super::{Files, Origin};
use crate::config::names;
use crate::daemon::log_pipe::Level;
use crate::daemon::run_directory::READERS;
use crate::guardian::lease::boot_id;
use crate::sys::process::{Child, close_descriptors_but, fork_child};

/// What a list of processes shows for the child that waits for the disk: it is no second logger.
const COPIER_NAME: &std::ffi::CStr = c"nullbeat:copier";
/// From an event to the copy to the disk: what happens together is copied together.
const GATHER: Duration = Duration::from_millis(200);
/// Copies that may be made at once.
const COPIES_MAX: u32 = 16;
/// One more each so long.
const COPY_PAUSE: Duration = Duration::from_secs(60);
/// Between two tries of a disk that takes nothing.
const RETRY_PAUSE: Duration = Duration::from_secs(600);

/// What a failure without a number counts as.
const EIO: i32 = Errno::EIO as i32;

/// Writes the ring.
#[derive(Debug)]
pub struct Keeper {
    files: Files,
    live: Option<File>,
    boot: u32,
    next: u64,
    /// What the partner told and is in the ring.
    told: Vec<Origin>,
    /// What could not be written to memory and waits for the disk, at most a ring of it.
    homeless: Vec<Bytes>,
    /// When the next copy is to begin; `None`: the disk has everything.
    due: Option<Instant>,
    copies: u32,
    refilled: Instant,
    copier: Option<Child>,
    has_failed: bool,
    news: Vec<(Level, String)>,
}

impl Keeper {
    /// Goes on where the files end.
    pub fn open(files: Files, now: Instant) -> Self {
        let (live_image, disk_image) = (image(&files.live), image(&files.disk));
        let is_disk_unknown = matches!(&disk_image, Err(error) if error.kind() != io::ErrorKind::NotFound);
        let (live_image, disk_image) = (live_image.unwrap_or_default(), disk_image.unwrap_or_default());
        let ring = Ring::merge(&live_image, &disk_image);
        let mut keeper = Self {
            live: None,
            boot: boot_id().map_or(0, Record::boot_of),
            next: ring.last_number().max(if is_disk_unknown { numbers_by_clock() } else { 0 }) + 1,
            told: ring.records.iter().filter_map(|record| record.origin).collect(),
            homeless: Vec::new(),
            due: (!ring::missing(&live_image, &disk_image).is_empty()).then_some(now),
            copies: COPIES_MAX,
            refilled: now,
            copier: None,
            has_failed: false,
            news: Vec::new(),
            files,
        };
        match open_file(&keeper.files.live) {
            Ok((file, _)) => keeper.live = Some(file),
            Err(error) => keeper.say(Level::Warn, format!("{}: {error}", keeper.files.live.display())),
        }
        keeper
    }

    /// Takes an event from the log pipe.
    pub fn take(&mut self, body: &[u8], now: Instant) {
        let Some(record) = slot::decode(&slot::encode(1, 0, body)) else { return };
        if let Some(origin) = record.origin {
            if self.told.contains(&origin) {
                return;
            }
            // As many as the ring has at most.
            if self.told.len() >= SLOTS {
                self.told.remove(0);
            }
            self.told.push(origin);
        }
        self.skip_foreign_numbers();
        let slot = slot::encode(self.next, self.boot, body);
        let at = slot::place(self.next) as u64;
        let written = self.live.as_ref().map(|live| live.write_all_at(&slot, at));
        if !matches!(written, Some(Ok(()))) {
            if self.homeless.len() >= SLOTS {
                self.homeless.remove(0);
            }
            self.homeless.push(slot);
        }
        self.next += 1;
        self.due.get_or_insert(now + GATHER);
    }

    /// For a moment there are two loggers, when the files have been read anew.
    fn skip_foreign_numbers(&mut self) {
        let Some(live) = &self.live else { return };
        let mut there = [0; slot::SLOT];
        while live.read_exact_at(&mut there, slot::place(self.next) as u64).is_ok() && slot::number(&there) >= self.next
        {
            self.next = slot::number(&there) + 1;
        }
    }

    /// When [`turn`](Self::turn) has something to do.
    pub fn deadline(&self) -> Option<Instant> {
        let due = self.due.filter(|_| self.copier.is_none())?;
        Some(if self.copies > 0 { due } else { due.max(self.refilled + COPY_PAUSE) })
    }

    /// Readable when the child has ended that waits for the disk.
    pub fn copier(&self) -> Option<BorrowedFd<'_>> {
        self.copier.as_ref().map(|copier| copier.pidfd.as_fd())
    }

    /// Begins and ends copies. Returns what is to be said about it.
    pub fn turn(&mut self, now: Instant) -> Vec<(Level, String)> {
        if let Some(status) = self.copier.as_ref().and_then(|copier| copier.try_wait().transpose()) {
            self.copier = None;
            self.copied(status.map_or(Err(Errno::ECHILD), outcome), now);
        }
        while self.copies < COPIES_MAX && now >= self.refilled + COPY_PAUSE {
            self.copies += 1;
            self.refilled += COPY_PAUSE;
        }
        if self.deadline().is_some_and(|deadline| deadline <= now) {
            if self.copies == COPIES_MAX {
                self.refilled = now;
            }
            self.copies -= 1;
            self.due = None;
            let (files, homeless) = (&self.files, &self.homeless);
            let copier = fork_child(|| {
                let _ = prctl::set_name(COPIER_NAME);
                // Whatever it kept open would outlive its owner here.
                let _ = close_descriptors_but(&mut []);
                copy(files, homeless).err().map_or(0, |error| error.raw_os_error().unwrap_or(EIO))
            });
            match copier {
                Ok(copier) => self.copier = Some(copier),
                Err(_) => self.due = Some(now + COPY_PAUSE),
            }
        }
        std::mem::take(&mut self.news)
    }

    /// The last copy, before the logger ends: waits for the disk.
    pub fn finish(&mut self, now: Instant) -> Vec<(Level, String)> {
        if self.due.take().is_some() || self.copier.is_some() || !self.homeless.is_empty() {
            let result = copy(&self.files, &self.homeless);
            self.copied(result.map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(EIO))), now);
        }
        std::mem::take(&mut self.news)
    }

    fn copied(&mut self, result: Result<(), Errno>, now: Instant) {
        match result {
            Ok(()) => {
                // Those that came meanwhile wait for the next one.
                if self.due.is_none() {
                    self.homeless.clear();
                }
                if std::mem::take(&mut self.has_failed) {
                    self.say(Level::Info, format!("history is kept in {} again", self.files.disk.display()));
                }
            }
            Err(error) => {
                self.due = Some(now + RETRY_PAUSE);
                if !std::mem::replace(&mut self.has_failed, true) {
                    let (live, disk) = (self.files.live.display(), self.files.disk.display());
                    let minutes = RETRY_PAUSE.as_secs() / 60;
                    let text = format!(
                        "{disk}: {}; history is kept in {live} only and does not outlive a power cut; trying again every {minutes} minutes",
                        error.desc()
                    );
                    self.say(Level::Warn, text);
                }
            }
        }
    }

    fn say(&mut self, level: Level, text: String) {
        self.news.push((level, text));
    }
}

fn outcome(status: WaitStatus) -> Result<(), Errno> {
    match status {
        WaitStatus::Exited(_, 0) => Ok(()),
        WaitStatus::Exited(_, code) => Err(Errno::from_raw(code)),
        _ => Err(Errno::EIO),
    }
}

/// A disk that cannot be read has numbers that nobody knows: above them, most likely.
fn numbers_by_clock() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() << 8)
}

/// Opens a file of the ring, or makes one; whether it is new. Readable for those who may ask the daemon.
fn open_file(path: &Path) -> io::Result<(File, bool)> {
    let is_new = !path.exists();
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o640).open(path)?;
    if is_new && Uid::effective().is_root() {
        if let Some(group) = names::group(READERS) {
            fchown(&file, None, Some(Gid::from_raw(group)))?;
        }
        file.set_permissions(Permissions::from_mode(0o640))?;
    }
    Ok((file, is_new))
}

/// Brings the disk's file up to date and waits until the disk has it.
fn copy(files: &Files, homeless: &[Bytes]) -> io::Result<()> {
    let mut live = image(&files.live).unwrap_or_default();
    ring::put(&mut live, homeless);
    let directory = files.disk.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(directory)?;
    let (file, is_new) = open_file(&files.disk)?;
    if file.metadata()?.len() != FILE as u64 {
        file.set_len(FILE as u64)?;
        // All of it at once, so that later writes need no room. What cannot promise it may still have it.
        match posix_fallocate(&file, 0, FILE.try_into().unwrap_or(0)) {
            Ok(()) | Err(Errno::EOPNOTSUPP | Errno::EINVAL) => {}
            Err(error) => return Err(error.into()),
        }
        file.sync_all()?;
    }
    for (at, piece) in ring::missing(&live, &image(&files.disk)?) {
        file.write_all_at(&piece, at as u64)?;
    }
    file.sync_data()?;
    if is_new { File::open(directory)?.sync_all() } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

    use super::super::slot::body;
    use super::*;

    /// A run and a state directory, removed at the end.
    struct Board(PathBuf);

    impl Board {
        fn new() -> Self {
            let root = nix::unistd::mkdtemp(&std::env::temp_dir().join("nullbeat-history-XXXXXX")).unwrap();
            fs::create_dir(root.join("run")).unwrap();
            Self(root)
        }

        fn files(&self) -> Files {
            Files::at(&self.0.join("run"), &self.0.join("state"))
        }

        /// As after the power was off: what was in memory is gone.
        fn lose_memory(&self) {
            fs::remove_file(self.files().live).unwrap();
        }

        fn texts(&self) -> Vec<String> {
            Ring::read(&self.files()).unwrap().records.into_iter().map(|record| record.text).collect()
        }
    }

    impl Drop for Board {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    /// Lets a copy that is due begin and end. Returns what is said.
    fn settle(keeper: &mut Keeper, now: Instant) -> Vec<(Level, String)> {
        let mut news = keeper.turn(now);
        while let Some(copier) = keeper.copier() {
            poll(&mut [PollFd::new(copier, PollFlags::POLLIN)], PollTimeout::NONE).unwrap();
            news.extend(keeper.turn(now));
        }
        news
    }

    fn event(text: &str) -> Vec<u8> {
        body(1, (0, 0), text)
    }

    #[test]
    fn keeper_writes_to_memory_at_once_and_to_the_disk_in_time() {
        let board = Board::new();
        let now = Instant::now();
        let mut keeper = Keeper::open(board.files(), now);
        assert_eq!(keeper.deadline(), None);
        keeper.take(&event("event=a"), now);
        keeper.take(&event("event=b"), now + Duration::from_millis(100));
        assert_eq!((board.texts(), keeper.deadline()), (vec!["event=a".into(), "event=b".into()], Some(now + GATHER)));
        assert!(!board.files().disk.exists());
        assert_eq!(settle(&mut keeper, now + GATHER), []);
        assert_eq!(fs::metadata(board.files().disk).unwrap().len(), FILE as u64);
        board.lose_memory();
        assert_eq!(board.texts(), ["event=a", "event=b"]);
        // The next daemon goes on with the numbers.
        let mut keeper = Keeper::open(board.files(), now);
        keeper.take(&event("event=c"), now);
        keeper.finish(now);
        board.lose_memory();
        let ring = Ring::read(&board.files()).unwrap();
        assert_eq!((ring.last_number(), ring.records.len()), (3, 3));
    }

    #[test]
    fn keeper_copies_what_a_killed_one_has_left() {
        let board = Board::new();
        let now = Instant::now();
        Keeper::open(board.files(), now).take(&event("event=a"), now);
        let mut keeper = Keeper::open(board.files(), now);
        assert_eq!(keeper.deadline(), Some(now));
        settle(&mut keeper, now);
        board.lose_memory();
        assert_eq!(board.texts(), ["event=a"]);
    }

    #[test]
    fn two_keepers_at_once_take_each_a_number_of_their_own() {
        let board = Board::new();
        let now = Instant::now();
        let (mut old, mut new) = (Keeper::open(board.files(), now), Keeper::open(board.files(), now));
        old.take(&event("event=a"), now);
        new.take(&event("event=b"), now);
        old.take(&event("event=c"), now);
        assert_eq!(board.texts(), ["event=a", "event=b", "event=c"]);
    }

    #[test]
    fn storm_is_written_at_a_bounded_rate() {
        let board = Board::new();
        let start = Instant::now();
        let mut keeper = Keeper::open(board.files(), start);
        let mut copies = 0;
        for second in 0..3600 {
            let now = start + Duration::from_secs(second);
            keeper.take(&event("event=storm"), now);
            keeper.turn(now);
            if keeper.copier().is_some() {
                copies += 1;
                settle(&mut keeper, now);
            }
        }
        assert!((60..=76).contains(&copies), "{copies} copies in an hour");
        assert_eq!(board.texts().len(), SLOTS);
    }

    #[test]
    fn disk_that_takes_nothing_is_said_once_and_tried_again() {
        let board = Board::new();
        let now = Instant::now();
        // No directory can be made where a file stands: whoever runs this test.
        fs::write(board.0.join("state"), "").unwrap();
        let mut keeper = Keeper::open(board.files(), now);
        keeper.take(&event("event=a"), now);
        let [(Level::Warn, text)] = &settle(&mut keeper, now + GATHER)[..] else { panic!("nothing is said") };
        assert!(text.contains("does not outlive a power cut"), "{text}");
        assert_eq!(board.texts(), ["event=a"]);
        let again = now + GATHER + RETRY_PAUSE;
        assert_eq!((keeper.deadline(), settle(&mut keeper, again)), (Some(again), vec![]));
        fs::remove_file(board.0.join("state")).unwrap();
        let [(Level::Info, text)] = &settle(&mut keeper, again + RETRY_PAUSE)[..] else { panic!("nothing is said") };
        assert!(text.contains("again"), "{text}");
        board.lose_memory();
        assert_eq!(board.texts(), ["event=a"]);
    }

    #[test]
    fn memory_that_takes_nothing_leaves_the_disk() {
        let board = Board::new();
        let now = Instant::now();
        fs::remove_dir(board.0.join("run")).unwrap();
        let mut keeper = Keeper::open(board.files(), now);
        keeper.take(&event("event=a"), now);
        assert_eq!(settle(&mut keeper, now + GATHER).len(), 1);
        assert_eq!(board.texts(), ["event=a"]);
        assert_eq!(keeper.homeless, Vec::<Bytes>::new());
    }

    #[test]
    fn what_the_partner_tells_twice_is_written_once() {
        let board = Board::new();
        let now = Instant::now();
        let told = |number| body(1, (7, number), "node=b\tevent=x");
        let mut keeper = Keeper::open(board.files(), now);
        for number in [1, 2, 1, 2] {
            keeper.take(&told(number), now);
        }
        keeper.finish(now);
        board.lose_memory();
        let mut keeper = Keeper::open(board.files(), now);
        for number in [2, 3] {
            keeper.take(&told(number), now);
        }
        assert_eq!(board.texts().len(), 3);
    }
}
