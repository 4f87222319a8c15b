//! A medium that fails while a store is opened: whatever operation it is, nothing is called damaged that is not, so the file
//! stays where it is, and the next start finds all of it. And one that is full while a store writes.

use std::cell::Cell;
use std::io;
use std::os::unix::fs::FileExt;
use std::time::UNIX_EPOCH;

use redb::{Database, DatabaseError, StorageBackend};

use super::super::open::{Places, builder, open_or_recover};
use super::*;

const MOVED: &str = "pinnace.redb.damaged-1";

thread_local! {
    /// The operation that fails, counted down; none fails at 0. A test has its thread for itself, and redb makes none.
    static UNTIL: Cell<u64> = const { Cell::new(0) };
    static HOW: Cell<i32> = const { Cell::new(libc::EIO) };
}

/// A file with an operation that fails, and it alone, as the kernel tells it.
#[derive(Debug)]
struct Failing(fs::File);

fn count() -> io::Result<()> {
    let left = UNTIL.get();
    UNTIL.set(left.saturating_sub(1));
    if left == 1 { Err(io::Error::from_raw_os_error(HOW.get())) } else { Ok(()) }
}

impl StorageBackend for Failing {
    fn len(&self) -> io::Result<u64> {
        count()?;
        Ok(self.0.metadata()?.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        count()?;
        self.0.read_exact_at(out, offset)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        count()?;
        self.0.set_len(length)
    }

    fn sync_data(&self) -> io::Result<()> {
        count()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        count()?;
        self.0.write_all_at(data, offset)
    }
}

fn failing(file: &Path) -> Result<Database, DatabaseError> {
    let file = OpenOptions::new().read(true).write(true).open(file).unwrap();
    builder().create_with_backend(Failing(file))
}

/// Opens the file (beside a good copy, if there is one) with each operation failing in turn, until none is left: a refusal
/// that is waited for, or all of it. How often it was refused.
#[track_caller]
fn each_operation_fails(what: &str, bytes: &[u8], good: Option<&Path>, expected: &BTreeMap<String, u64>) -> u32 {
    let mut refused = 0;
    for at in 1.. {
        let scratch = tempfile::tempdir().unwrap();
        fs::write(scratch.path().join(FILE), bytes).unwrap();
        if let Some(good) = good {
            fs::copy(good, scratch.path().join(GOOD_COPY)).unwrap();
        }
        UNTIL.set(at);
        let opened = open_or_recover(&Places { database: failing, ..Places::of(scratch.path()) });
        let left = UNTIL.replace(0);
        // Closed here: this backend locks no file.
        match opened.map(|(_store, loaded)| rows(&loaded)) {
            Ok(found) => assert_eq!(found, *expected, "{what}: operation {at} failed unnoticed"),
            Err(e) => {
                refused += 1;
                assert!(e.is_of_the_medium(), "{what}: operation {at}: not waited for: {e}");
            }
        }
        assert!(!scratch.path().join(MOVED).exists(), "{what}: operation {at}: the file was moved aside");
        let (_, loaded) = Store::open(scratch.path()).unwrap_or_else(|e| panic!("{what}: after operation {at}: {e}"));
        assert_eq!((rows(&loaded), &loaded.note), (expected.clone(), &None), "{what}: after operation {at}");
        if left > 0 {
            println!("{what}: {refused} of {} operations were refused", at - 1);
            break;
        }
    }
    refused
}

#[test]
fn an_error_of_the_medium_at_any_operation_of_a_start_is_no_damage() {
    let dir = filled();
    let good = dir.path().join(GOOD_COPY);
    let closed = fs::read(dir.path().join(FILE)).unwrap();
    let (mut store, loaded) = Store::open(dir.path()).unwrap();
    let expected = rows(&loaded);
    assert_eq!(expected.len(), 3);
    let refused = each_operation_fails("closed", &closed, Some(&good), &expected);
    assert!(refused > 10, "only {refused} operations were refused");

    let next = loaded.revision + 1;
    store.commit(next, &[put("d", next)], true).unwrap();
    let killed = fs::read(dir.path().join(FILE)).unwrap();
    let expected = expected.into_iter().chain(expect(&[("d", next)])).collect();
    let refused = each_operation_fails("killed", &killed, Some(&good), &expected);
    assert!(refused > 10, "only {refused} operations were refused");
}

/// Redb answers nothing after an error of the medium, and a start that gives space back has asked for something it can do without.
#[test]
fn an_error_while_the_file_is_made_smaller_costs_space_alone() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, _) = Store::open(dir.path()).unwrap();
    let names: Vec<String> = (0..30_000).map(|n| format!("m{n}")).collect();
    store.commit(1, &names.iter().map(|name| put(name, 1)).collect::<Vec<_>>(), true).unwrap();
    store.commit(2, &names.iter().skip(1).map(|name| delete(name)).collect::<Vec<_>>(), true).unwrap();
    drop(store);
    let bytes = fs::read(dir.path().join(FILE)).unwrap();
    assert!(bytes.len() > 8 << 20, "{} bytes are not worth it", bytes.len());
    each_operation_fails("large", &bytes, None, &expect(&[("m0", 1)]));
}

/// A file that is damaged goes; its good copy must not go with it because it could not be read just now.
#[test]
fn an_error_of_the_medium_in_the_good_copy_is_no_damage() {
    let dir = filled();
    for at in 1.. {
        let scratch = tempfile::tempdir().unwrap();
        fs::write(scratch.path().join(FILE), "no store").unwrap();
        fs::copy(dir.path().join(GOOD_COPY), scratch.path().join(GOOD_COPY)).unwrap();
        UNTIL.set(at);
        let opened = open_or_recover(&Places { database: failing, ..Places::of(scratch.path()) });
        let left = UNTIL.replace(0);
        let first = opened.map(|(_, loaded)| rows(&loaded));
        assert!(
            first.as_ref().map_or_else(OpenError::is_of_the_medium, |found| *found == expect(&[("a", 1)])),
            "{first:?}"
        );
        assert!(scratch.path().join(GOOD_COPY).exists(), "operation {at}: the good copy was moved aside");
        let (_, loaded) = Store::open(scratch.path()).unwrap();
        assert_eq!(rows(&loaded), expect(&[("a", 1)]), "after operation {at}");
        if left > 0 {
            println!("the good copy: each of {} operations", at - 1);
            break;
        }
    }
}

/// Whichever operation of a commit it is, with the reserve that commit is made, and so are those after it.
#[test]
fn a_commit_that_finds_the_disk_full_is_made_with_the_reserve() {
    let dir = filled();
    HOW.set(libc::ENOSPC);
    for at in 1.. {
        let scratch = tempfile::tempdir().unwrap();
        fs::copy(dir.path().join(FILE), scratch.path().join(FILE)).unwrap();
        let places = Places { database: failing, ..Places::of(scratch.path()) };
        let (mut store, loaded) = open_or_recover(&places).ok().unwrap();
        store.reserve = Some(Reserve::of(scratch.path()));
        store.keep_reserve();
        let kept = scratch.path().join("pinnace.reserve");
        File::options().write(true).open(&kept).unwrap().set_modified(UNIX_EPOCH).unwrap();
        let next = loaded.revision + 1;
        UNTIL.set(at);
        store.commit(next, &[put("d", next), delete("b")], true).unwrap();
        if UNTIL.replace(0) > 0 {
            assert!(at > 5, "only {at} operations");
            return;
        }
        assert!(
            fs::metadata(kept).unwrap().modified().unwrap() > UNIX_EPOCH,
            "it was given up, and there was room for another"
        );
        assert_eq!(store.shortage(), None);
        store.commit(next + 1, &[put("e", next + 1)], true).unwrap();
        let (_, loaded) = reopen(store, scratch.path());
        let expected = expect(&[("a", 1), ("c", 2001), ("d", next), ("e", next + 1)]);
        assert_eq!((rows(&loaded), loaded.note), (expected, None), "operation {at}");
    }
}
