//! Files that we have written ourselves, after whatever has happened to the disk.

use std::cell::RefCell;
use std::fs;
use std::path::PathBuf;

use super::{choice, scratch};
use crate::config::{Config, sample};
use crate::core::ids::Generation;
use crate::daemon::history::Ring;
use crate::daemon::history::news::News;
use crate::daemon::history::slot::{self, FILE, SLOT, SLOTS};
use crate::daemon::identity::generation_in;
use crate::daemon::last_move::LastMove;
use crate::daemon::move_page::{FILE_NAME, MovePage};
use crate::guardian::roster::{Hyphenated, parse_line};

/// Two images of the history: as they are, and with slots whose checksums fit.
pub(super) fn history(data: &[u8]) {
    let (cut, bytes) = choice(data);
    let (live, disk) = bytes.split_at(bytes.len() * cut / 256);
    check_ring(&Ring::merge(live, disk));
    let mut image = vec![0; FILE];
    for (number, body) in (1 + cut as u64 * 17..).zip(bytes.chunks(32)) {
        let slot = slot::encode(number, 1, body);
        let at = slot::place(number);
        image[at..at + SLOT].copy_from_slice(&slot);
        assert_eq!(slot::number(&slot), number);
    }
    check_ring(&Ring::merge(&image, live));
    assert_eq!(Ring::merge(&image, &[]), Ring::merge(&[], &image), "each image will do");
}

fn check_ring(ring: &Ring) {
    assert!(ring.records.len() <= SLOTS);
    assert!(ring.records.is_sorted_by(|one, other| one.number < other.number), "oldest first, each once");
    for record in &ring.records {
        assert!(!record.text.chars().any(|letter| letter.is_control() && letter != '\t'), "nothing for a terminal");
    }
}

/// What the partner tells of itself.
pub(super) fn news(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut news = News::default();
    let Some((wall, _, entry)) = news.take("beta", Generation(3), text) else { return };
    assert!(entry.text().len() <= slot::BODY_MAX);
    assert!(news.take("beta", Generation(3), text).is_none(), "the same is told once");
    let mut ours = News::default();
    ours.push(wall, &entry);
    let mut theirs = News::default();
    let told: Vec<_> = std::iter::from_fn(|| ours.poll(Generation(9))).collect();
    let mut taken = told.iter().filter_map(|told| theirs.take("beta", Generation(9), told));
    let (_, _, again) = taken.next().unwrap_or_else(|| panic!("what we tell is understood: {told:?}"));
    assert_eq!(again.text(), entry.text(), "{told:?}");
}

struct Scratch {
    path: PathBuf,
    config: Config,
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = {
        let path = scratch("run");
        fs::create_dir_all(&path).expect("a directory");
        let config = sample::config(&path, &[("alpha", "one"), ("beta", "two")]);
        RefCell::new(Scratch { path, config })
    };
}

/// The page of the last move, with whatever an engine that was killed, or another version, has left in it.
pub(super) fn move_page(data: &[u8]) {
    SCRATCH.with_borrow(|scratch| {
        let path = scratch.path.join(FILE_NAME);
        let _ = fs::remove_file(&path);
        drop(MovePage::open(&scratch.path).expect("a new page"));
        let mut bytes = fs::read(&path).expect("the page");
        // Name and boot are right: a page without them is emptied.
        let room = bytes.get_mut(16..).unwrap_or_default();
        room.iter_mut().zip(data).for_each(|(place, byte)| *place = *byte);
        let _ = fs::remove_file(&path);
        fs::write(&path, &bytes).expect("written");
        let page = MovePage::open(&scratch.path).expect("the same page");
        let last = LastMove::new(Some(page), &scratch.config);
        let again = LastMove::new(Some(MovePage::open(&scratch.path).expect("once more")), &scratch.config);
        assert_eq!(last.get(), again.get(), "what was adopted stays");
    });
}

/// Generation, hostcache, delhostcache.
pub(super) fn state_files(data: &[u8]) {
    if let Some(generation) = generation_in(data) {
        assert_eq!(generation_in(format!("{generation:>15}\n").as_bytes()), Some(generation));
    }
    let Ok(text) = std::str::from_utf8(data) else { return };
    for line in text.lines() {
        let Some(known) = parse_line(line, false) else { continue };
        let again = format!("{}\t{}\t{}\t{}", known.name, Hyphenated(known.uuid), known.weight, known.site);
        assert_eq!(parse_line(&again, false), Some(known));
    }
}
