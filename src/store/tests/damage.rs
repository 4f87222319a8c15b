//! Every sort of damage that a medium or a person can do to the file: never a panic, never a refusal that would loop, never
//! a record that was not there, and nothing lost without a note.

use super::*;

const PAGE: usize = 4096;

/// What became of one damaged file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// All of it was read: the damage is where nobody reads.
    Whole,
    /// It was moved aside, and that was said; the good copy is in its place.
    GoodCopy,
}

/// Opens a directory in which the store is `bytes` and the good copy is good.
#[track_caller]
fn meet(from: &Path, bytes: &[u8], good: &BTreeMap<String, u64>, what: &str) -> Outcome {
    let scratch = tempfile::tempdir().unwrap();
    fs::copy(from.join(GOOD_COPY), scratch.path().join(GOOD_COPY)).unwrap();
    fs::write(scratch.path().join(FILE), bytes).unwrap();
    let opened = std::panic::catch_unwind(|| Store::open(scratch.path()));
    let opened = opened.unwrap_or_else(|_| panic!("{what}: opening it panics"));
    let (mut store, loaded) = opened.unwrap_or_else(|e| panic!("{what}: {e}"));
    let outcome = match &loaded.note {
        None => {
            assert_eq!(rows(&loaded), *good, "{what}: nothing was said");
            Outcome::Whole
        }
        Some(note) => {
            assert!(note.contains("good copy") && note.contains("damaged-1"), "{what}: {note}");
            assert_eq!(rows(&loaded), expect(&[("a", 1)]), "{what}: what the good copy has");
            assert_eq!(fs::read(scratch.path().join("pinnace.redb.damaged-1")).unwrap(), bytes, "{what}: it is kept");
            Outcome::GoodCopy
        }
    };
    let next = loaded.revision + 1;
    store.commit(next, &[put("after", next)], true).unwrap_or_else(|e| panic!("{what}: {e}"));
    outcome
}

/// The bytes of a store that a kill left, with what must be found in it.
fn whole() -> (tempfile::TempDir, Vec<u8>, BTreeMap<String, u64>) {
    let dir = filled();
    let bytes = fs::read(dir.path().join(FILE)).unwrap();
    let scratch = tempfile::tempdir().unwrap();
    fs::write(scratch.path().join(FILE), &bytes).unwrap();
    let good = rows(&Store::open(scratch.path()).unwrap().1);
    assert_eq!(good.len(), 3);
    (dir, bytes, good)
}

#[test]
fn every_prefix_is_the_whole_or_the_good_copy() {
    let (dir, bytes, good) = whole();
    let boundaries = (0..bytes.len()).step_by(PAGE).flat_map(|at| [at, at + 1]);
    let lengths = (0..1024).step_by(31).chain(boundaries.step_by(5)).filter(|length| *length < bytes.len());
    for length in lengths {
        let outcome = meet(dir.path(), &bytes[..length], &good, &format!("the first {length} bytes"));
        assert_eq!(outcome, Outcome::GoodCopy, "a part of a file cannot be all of it: {length} bytes");
    }
}

#[test]
fn every_zeroed_page_is_met_or_unread() {
    let (dir, bytes, good) = whole();
    let mut met = 0;
    // The pages in use lie at the front; beyond them every ninth is tried.
    let pages = bytes.len().div_ceil(PAGE);
    for page in (0..pages).filter(|page| *page < 40 || page % 9 == 0) {
        let mut damaged = bytes.clone();
        let end = ((page + 1) * PAGE).min(damaged.len());
        damaged[page * PAGE..end].fill(0);
        met += usize::from(meet(dir.path(), &damaged, &good, &format!("page {page} zeroed")) == Outcome::GoodCopy);
    }
    assert!(met >= 3, "only {met} zeroed pages were noticed");
}

#[test]
fn garbage_is_moved_aside() {
    let (dir, _, good) = whole();
    for seed in 0..40 {
        let mut random = Random(seed);
        let mut garbage: Vec<u8> = (0..random.next() % 20_000).map(|_| random.next() as u8).collect();
        if random.chance(2) && garbage.len() > 9 {
            // Its own magic number, and then nonsense.
            garbage[..9].copy_from_slice(b"redb\x1A\x0A\xA9\x0D\x0A");
            // The bytes of a newer format are a refusal, which has a test of its own.
            if garbage.len() > 192 {
                (garbage[64], garbage[192]) = (3, 3);
            }
        }
        assert_eq!(meet(dir.path(), &garbage, &good, &format!("garbage {seed}")), Outcome::GoodCopy);
    }
}
