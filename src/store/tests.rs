use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{Seek, SeekFrom, Write as _};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use redb::ReadableDatabase;
use serde_json::json;

use super::*;
use crate::model::{ConfigMap, Key, Kind, Meta, Record, Spec, Write};
use crash_backend::{CrashBackend, Random};

#[allow(dead_code)]
#[path = "../../tests/support/crash_backend.rs"]
mod crash_backend;
mod damage;
mod medium;

fn record(name: &str, revision: u64) -> Record {
    let meta = Meta { revision, ..Meta::named("default", name) };
    let spec = Spec::new(json!({"data": {"at": revision.to_string(), "fill": "x".repeat(300)}})).unwrap();
    ConfigMap { meta, spec }.into()
}

fn put(name: &str, revision: u64) -> Write {
    Write::Put(Arc::new(record(name, revision)))
}

fn delete(name: &str) -> Write {
    Write::Delete(Key::new(Kind::ConfigMap, "default", name))
}

/// Name and revision of every record.
fn rows(loaded: &Loaded) -> BTreeMap<String, u64> {
    loaded.records.iter().map(|r| (r.meta().name.clone(), r.meta().revision)).collect()
}

fn expect(pairs: &[(&str, u64)]) -> BTreeMap<String, u64> {
    pairs.iter().map(|(name, revision)| (name.to_string(), *revision)).collect()
}

/// Closes as a crash does: no flush.
fn reopen(store: Store, dir: &Path) -> (Store, Loaded) {
    drop(store);
    Store::open(dir).unwrap()
}

/// A directory with a store that has records a, b, c, and with a good copy of an earlier start that has a alone.
fn filled() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, loaded) = Store::open(dir.path()).unwrap();
    assert_eq!((loaded.revision, loaded.records.len(), &loaded.note), (0, 0, &None));
    store.commit(1, &[put("a", 1)], true).unwrap();
    let (mut store, loaded) = reopen(store, dir.path());
    let next = loaded.revision + 1;
    store.commit(next, &[put("b", next), put("c", next)], true).unwrap();
    dir
}

#[test]
fn a_reopened_store_holds_what_was_committed() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, _) = Store::open(dir.path()).unwrap();
    store.commit(1, &[put("a", 1), put("b", 1)], true).unwrap();
    store.commit(2, &[put("b", 2), delete("a"), delete("never was")], true).unwrap();
    let (_, loaded) = reopen(store, dir.path());
    assert_eq!(loaded.records, [record("b", 2)]);
    assert_eq!(loaded.note, None);
}

#[test]
fn the_store_is_made_for_its_owner_alone() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("a/b");
    let (mut store, _) = Store::open(&dir).unwrap();
    store.commit(1, &[put("a", 1)], true).unwrap();
    reopen(store, &dir);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&dir), 0o700);
    assert_eq!((mode(&dir.join(FILE)), mode(&dir.join(GOOD_COPY))), (0o600, 0o600));
}

#[test]
fn quiet_writes_ride_with_the_next_durable_commit() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, _) = Store::open(dir.path()).unwrap();
    store.commit(1, &[put("quiet", 1)], false).unwrap();
    store.commit(2, &[put("quiet", 2)], false).unwrap();
    assert_eq!(store.stats(), Stats { quiet_rows: 1, ..Stats::default() });
    store.commit(3, &[put("promise", 3)], true).unwrap();
    let stats = store.stats();
    assert_eq!((stats.commits, stats.rows, stats.quiet_rows), (1, 2, 0));
    assert!(stats.bytes > 600, "{stats:?}");
    store.commit(4, &[put("lost", 4), delete("promise")], false).unwrap();
    let (mut store, loaded) = reopen(store, dir.path());
    assert_eq!(rows(&loaded), expect(&[("quiet", 2), ("promise", 3)]));
    assert!(loaded.revision > 4, "a revision that was shown is never given again");
    let next = loaded.revision + 1;
    store.commit(next, &[put("kept", next)], false).unwrap();
    store.flush().unwrap();
    let (_, loaded) = reopen(store, dir.path());
    assert_eq!(rows(&loaded), expect(&[("quiet", 2), ("promise", 3), ("kept", next)]));
}

#[test]
fn quiet_writes_are_bounded_in_rows_and_in_revisions() {
    let (mut store, _) = Store::with_backend(CrashBackend::new()).unwrap();
    let many: Vec<Write> = (0..QUIET_ROWS_MAX).map(|i| put(&format!("m{i}"), 1)).collect();
    store.commit(1, &many, false).unwrap();
    assert_eq!(store.stats().commits, 1);
    for revision in 2..=1 + QUIET_REVISIONS_MAX {
        assert_eq!(store.stats().commits, 1, "at revision {revision}");
        store.commit(revision, &[put("same", revision)], false).unwrap();
    }
    assert_eq!(store.stats().commits, 2);
}

#[test]
fn nothing_to_write_writes_nothing() {
    let disk = CrashBackend::new();
    let (mut store, _) = Store::with_backend(disk.clone()).unwrap();
    let before = disk.ops();
    store.commit(1, &[], true).unwrap();
    store.flush().unwrap();
    assert_eq!(disk.ops(), before);
}

#[test]
fn one_durable_commit_is_one_sync() {
    let disk = CrashBackend::new();
    let (mut store, _) = Store::with_backend(disk.clone()).unwrap();
    store.commit(1, &[put("a", 1)], true).unwrap();
    let before = disk.syncs();
    store.commit(2, &[put("a", 2), put("b", 2)], true).unwrap();
    assert_eq!(disk.syncs() - before, 1);
}

#[test]
fn a_power_cut_leaves_a_commit_whole() {
    let mut cut_within = 0;
    for seed in 0..300 {
        let mut random = Random(seed);
        let disk = CrashBackend::new();
        let (mut store, _) = Store::with_backend(disk.clone()).unwrap();
        disk.fail_after(random.next() % 60);
        let (mut durable, mut tried) = (BTreeMap::new(), BTreeMap::new());
        for revision in 1..40u64 {
            let pair = [format!("x{}", random.next() % 5), format!("y{}", random.next() % 5)];
            let writes: Vec<Write> = pair.iter().map(|name| put(name, revision)).collect();
            tried = durable.clone();
            tried.extend(pair.iter().map(|name| (name.clone(), revision)));
            if store.commit(revision, &writes, true).is_err() {
                break;
            }
            durable = tried.clone();
        }
        assert!(store.flush().is_err() || durable == tried, "a failed store goes on failing");
        drop(store);
        let (_, loaded) = Store::with_backend(disk.power_cut(seed)).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
        let found = rows(&loaded);
        cut_within += u32::from(durable != tried);
        assert!(found == durable || found == tried, "seed {seed}: {found:?} is neither {durable:?} nor {tried:?}");
    }
    assert!(cut_within > 200, "only {cut_within} of 300 cuts fell into a commit");
}

#[test]
fn a_kill_keeps_every_durable_commit() {
    let disk = CrashBackend::new();
    let (mut store, _) = Store::with_backend(disk.clone()).unwrap();
    for revision in 1..20 {
        store.commit(revision, &[put("a", revision)], true).unwrap();
    }
    store.commit(20, &[put("a", 20)], false).unwrap();
    let (_, loaded) = Store::with_backend(disk.process_death()).unwrap();
    assert_eq!(rows(&loaded), expect(&[("a", 19)]));
}

#[test]
fn a_second_node_is_told_that_the_directory_is_taken() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(dir.path()).unwrap();
    let error = Store::open(dir.path()).unwrap_err();
    assert!(matches!(error, OpenError::Locked(_)), "{error}");
    assert!(error.to_string().contains("another pinnace node"), "{error}");
    assert!(matches!(dump(dir.path(), &mut Vec::new()), Err(DumpError::Open(OpenError::Locked(_)))));
    drop(store);
    Store::open(dir.path()).unwrap();
}

#[test]
fn a_newer_format_is_refused_and_left_alone() {
    let dir = filled();
    let file = dir.path().join(FILE);
    let db = redb::Database::create(&file).unwrap();
    let transaction = db.begin_write().unwrap();
    transaction.open_table(META).unwrap().insert("format", b"2".as_slice()).unwrap();
    transaction.commit().unwrap();
    drop(db);
    let error = Store::open(dir.path()).unwrap_err();
    assert!(matches!(error, OpenError::Newer { format: 2, .. }), "{error}");

    let mut bytes = fs::read(&file).unwrap();
    (bytes[64], bytes[192]) = (4, 4);
    fs::write(&file, &bytes).unwrap();
    let error = Store::open(dir.path()).unwrap_err();
    assert!(matches!(error, OpenError::Newer { format: 4, .. }), "{error}");
    assert_eq!(fs::read(&file).unwrap(), bytes, "it was not touched");
    assert!(!dir.path().join("pinnace.redb.damaged-1").exists());
}

/// What a file of a store may become, and whether the good copy survives it.
#[test]
fn a_file_that_cannot_be_read_is_moved_aside_and_the_good_copy_used() {
    check_damage("cut in half", |file| file.set_len(file.metadata().unwrap().len() / 2).unwrap());
    check_damage("cut to a byte", |file| file.set_len(1).unwrap());
    check_damage("empty", |file| file.set_len(0).unwrap());
    check_damage("grown", |file| file.set_len(file.metadata().unwrap().len() + 17).unwrap());
    check_damage("head overwritten", |file| overwrite(file, 0, &[0; 4096]));
    check_damage("all overwritten", |file| {
        let length = file.metadata().unwrap().len() as usize;
        overwrite(file, 0, &vec![0x5a; length]);
    });
    check_damage("text", |file| {
        file.set_len(0).unwrap();
        overwrite(file, 0, b"kind: Job\n");
    });
}

fn overwrite(file: &fs::File, at: u64, bytes: &[u8]) {
    let mut file = file;
    file.seek(SeekFrom::Start(at)).unwrap();
    file.write_all(bytes).unwrap();
}

#[track_caller]
fn check_damage(what: &str, damage: impl FnOnce(&fs::File)) {
    let dir = filled();
    let path = dir.path().join(FILE);
    damage(&OpenOptions::new().read(true).write(true).open(&path).unwrap());
    let damaged = fs::read(&path).unwrap();
    let (mut store, loaded) = Store::open(dir.path()).unwrap_or_else(|e| panic!("{what}: {e}"));
    assert_eq!(rows(&loaded), expect(&[("a", 1)]), "{what}");
    let note = loaded.note.unwrap();
    assert!(note.contains("damaged-1") && note.contains("good copy"), "{what}: {note}");
    assert_eq!(fs::read(dir.path().join("pinnace.redb.damaged-1")).unwrap(), damaged, "{what}");
    let next = loaded.revision + 1;
    assert!(next > 1_000_000, "{what}: {next}");
    store.commit(next, &[put("d", next)], true).unwrap();
    let (_, loaded) = reopen(store, dir.path());
    assert_eq!(rows(&loaded), expect(&[("a", 1), ("d", next)]), "{what}");
}

#[test]
fn without_a_usable_copy_the_node_starts_empty() {
    for copy in [None, Some(b"no store".as_slice())] {
        let dir = filled();
        fs::write(dir.path().join(FILE), "broken").unwrap();
        match copy {
            None => fs::remove_file(dir.path().join(GOOD_COPY)).unwrap(),
            Some(bytes) => fs::write(dir.path().join(GOOD_COPY), bytes).unwrap(),
        }
        let (_, loaded) = Store::open(dir.path()).unwrap();
        assert!(loaded.records.is_empty());
        assert!(loaded.note.as_ref().unwrap().contains("starts empty"), "{loaded:?}");
    }
}

#[test]
fn a_store_that_vanished_comes_back_from_its_copy() {
    let dir = filled();
    fs::remove_file(dir.path().join(FILE)).unwrap();
    let (_, loaded) = Store::open(dir.path()).unwrap();
    assert_eq!(rows(&loaded), expect(&[("a", 1)]));
    assert!(loaded.note.unwrap().contains("missing"));
}

#[test]
fn the_good_copy_is_made_once_for_each_state() {
    let dir = filled();
    let good = dir.path().join(GOOD_COPY);
    let before = fs::read(&good).unwrap();
    Store::open(dir.path()).unwrap();
    let after = fs::read(&good).unwrap();
    assert_ne!(before, after, "b and c came since");
    let when = fs::metadata(&good).unwrap().modified().unwrap();
    Store::open(dir.path()).unwrap();
    assert_eq!(fs::metadata(&good).unwrap().modified().unwrap(), when);
}

/// Any flipped bit is met at the start or is in a place that nobody reads; no answer is ever wrong and nothing panics.
#[test]
fn flipped_bits_and_cuts_never_give_a_wrong_record() {
    let dir = filled();
    let good = Store::open(dir.path()).unwrap().1.records;
    let whole = fs::read(dir.path().join(FILE)).unwrap();
    let mut damaged = 0;
    for seed in 0..400 {
        let mut random = Random(seed);
        let mut bytes = whole.clone();
        // Half of the flips hit the head, where they hurt most.
        let reach = if random.chance(2) { 512 } else { bytes.len() };
        for _ in 0..1 + random.next() % 4 {
            let at = random.next() as usize % reach;
            bytes[at] ^= 1 << (random.next() % 8);
        }
        if random.chance(8) {
            bytes.truncate(random.next() as usize % bytes.len());
        }
        let scratch = tempfile::tempdir().unwrap();
        fs::write(scratch.path().join(FILE), &bytes).unwrap();
        let opened = std::panic::catch_unwind(|| Store::open(scratch.path()));
        match opened.unwrap_or_else(|_| panic!("seed {seed} panics")) {
            Err(OpenError::Newer { .. }) => {}
            Err(e) => panic!("seed {seed}: {e}"),
            Ok((_, loaded)) if loaded.note.is_some() => damaged += 1,
            Ok((_, loaded)) => {
                for record in &loaded.records {
                    assert!(good.contains(record), "seed {seed}: {record:?}");
                }
            }
        }
    }
    assert!(damaged > 100, "only {damaged} of 400 were noticed");
}

#[test]
fn a_row_that_cannot_be_read_is_set_aside_and_the_rest_loaded() {
    let dir = filled();
    let db = redb::Database::create(dir.path().join(FILE)).unwrap();
    let transaction = db.begin_write().unwrap();
    {
        let mut table = transaction.open_table(RECORDS).unwrap();
        let other = row::encode(&record("other", 1));
        for (key, value) in [
            ("Job/default/no-json", b"\x01{\"record\":".as_slice()),
            ("Job/default/unknown-kind", b"\x01{\"record\":\"Deployment\"}"),
            ("Job/default/old", b"\x09{}"),
            ("Job/default/empty", b""),
            ("ConfigMap/default/wrong-key", &other),
        ] {
            table.insert(key.as_bytes(), value).unwrap();
        }
    }
    transaction.commit().unwrap();
    drop(db);
    let (store, loaded) = Store::open(dir.path()).unwrap();
    assert_eq!(rows(&loaded).into_keys().collect::<Vec<_>>(), ["a", "b", "c"]);
    let note = loaded.note.unwrap();
    assert!(note.starts_with("5 records") && note.contains("Job/default/old: has version 9"), "{note}");
    let read = store.db().unwrap().begin_read().unwrap();
    assert_eq!(redb::ReadableTableMetadata::len(&read.open_table(DAMAGED).unwrap()).unwrap(), 5);
    drop(read);
    let (_, loaded) = reopen(store, dir.path());
    assert_eq!(loaded.note, None, "it is said once");
}

#[test]
fn a_dump_shows_every_row_and_touches_nothing() {
    let dir = filled();
    let db = redb::Database::create(dir.path().join(FILE)).unwrap();
    let transaction = db.begin_write().unwrap();
    transaction.open_table(DAMAGED).unwrap().insert(b"Job/x/y".as_slice(), b"\x01{oh".as_slice()).unwrap();
    transaction.commit().unwrap();
    // Not closed: as a crash leaves it, to be repaired by the next start and not by a reader.
    std::mem::forget(db);
    let bytes = fs::read(dir.path().join(FILE)).unwrap();
    let mut text = Vec::new();
    dump(dir.path(), &mut text).unwrap();
    let lines: Vec<serde_json::Value> =
        String::from_utf8(text).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 5, "{lines:?}");
    assert_eq!((&lines[0]["format"], lines[0]["data_dir"].as_str()), (&1.into(), dir.path().to_str()));
    assert_eq!(lines[1]["meta"]["name"], "a");
    assert_eq!(lines[4]["damaged"], "Job/x/y");
    assert_eq!(fs::read(dir.path().join(FILE)).unwrap(), bytes);
}

#[test]
fn places_that_cannot_hold_a_store_are_named_with_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("file"), "").unwrap();
    let error = Store::open(&dir.path().join("file/below")).unwrap_err();
    assert!(matches!(error, OpenError::Io { .. }) && error.to_string().contains("--data-dir"), "{error}");
    fs::create_dir(dir.path().join(FILE)).unwrap();
    let error = Store::open(dir.path()).unwrap_err();
    assert!(error.to_string().contains(FILE), "{error}");
    let error = dump(&dir.path().join("nowhere"), &mut Vec::new()).unwrap_err();
    assert!(error.to_string().contains("nowhere"), "{error}");
}

#[test]
fn a_full_disk_is_an_error_of_the_commit_and_of_every_later_one() {
    let disk = CrashBackend::new();
    let (mut store, _) = Store::with_backend(disk.clone()).unwrap();
    store.commit(1, &[put("a", 1)], true).unwrap();
    disk.fail_after(0);
    let error = store.commit(2, &[put("a", 2)], true).unwrap_err();
    assert!(error.to_string().contains("revision 2"), "{error}");
    assert!(store.commit(3, &[put("a", 3)], true).is_err());
}

#[test]
fn a_set_leaves_free_what_the_reserve_takes_and_a_deletion_asks_for_nothing() {
    let writes = [put("a", 1), put("b", 1), delete("c")];
    let bytes: u64 = ["a", "b"].iter().map(|name| row::encode(&record(name, 1)).len() as u64).sum();
    let found = lack(0, &writes).unwrap();
    assert_eq!(
        (found.bytes, found.why.contains("has 0 KiB left, too little for these 1 KiB and 512 KiB to spare")),
        (2 * bytes, true)
    );
    assert_eq!(lack(RESERVE_BYTES + 2 * bytes, &writes), None);
    let found = lack(RESERVE_BYTES + 2 * bytes - 1, &writes).unwrap();
    assert!(found.bytes > left_by(RESERVE_BYTES + 2 * bytes - 1), "what lacks does not fit");
    assert_eq!((lack(0, &[delete("c")]), lack(0, &[])), (None, None));
}
