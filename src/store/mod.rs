//! redb: every record of the node with its revision, one transaction a turn, the whole state back at boot.
//! Knows no controller and no clock; what a record means is for `core`.
//!
//! Guarantees: a commit that was asked to be durable is on the medium when `commit` returns. Quiet writes wait in memory
//! and go with the next durable commit, so a power cut loses them together or not at all, never a part of one commit.
//! A commit that finds the disk full takes the room of the reserve. After an error of a commit the store is unusable: the
//! daemon ends and opens it again, pods do not notice.

mod dump;
mod load;
mod open;
mod reserve;
mod row;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::sync::Arc;

use redb::{Database, ReadableDatabase, TableDefinition};

use crate::model::{Lack, Record, Write};

pub use dump::{DumpError, dump};
pub use open::OpenError;
pub use reserve::RESERVE_BYTES;
use reserve::Reserve;

/// Names within the data directory.
const FILE: &str = "pinnace.redb";
const GOOD_COPY: &str = "pinnace.redb.good";

/// Key text to version byte and JSON.
const RECORDS: TableDefinition<&[u8], &[u8]> = TableDefinition::new("records");
/// Rows that could not be read at a start, as they were.
const DAMAGED: TableDefinition<&[u8], &[u8]> = TableDefinition::new("damaged");
/// `format`, `revision` (the first commit in the present thousand of revisions: more exactly a start need not know, and
/// each time it is written costs a page) and `copied` (the revision of the last good copy), as decimal text.
const META: TableDefinition<&str, &[u8]> = TableDefinition::new("meta");

/// The layout of the tables; a higher one is refused.
pub const FORMAT: u64 = 1;
/// The file is small, and a turn touches few pages.
const CACHE_BYTES: usize = 1 << 20;
/// A start that finds no room for the reserve must have room for this much.
const PROOF_BYTES: usize = 64 * 1024;
/// A record of so many bytes is small.
const SMALL_BYTES: u64 = 16 * 1024;
/// With so much room on the disk there is room for any record: a request has at most 1.5 MiB, a set 1 MiB.
const ROOM_BYTES_PLENTY: u64 = 8 << 20;
/// So many rows may wait for a durable commit.
pub const QUIET_ROWS_MAX: usize = 512;
/// So many revisions may wait for a durable commit; a start leaves more than these out.
pub const QUIET_REVISIONS_MAX: u64 = 1000;

/// The open database of one node; no other process has it open meanwhile.
pub struct Store {
    /// None: it could not be opened again.
    db: Option<Database>,
    /// Quiet writes by key, the latest of each; none: deleted.
    quiet: BTreeMap<Vec<u8>, Option<Arc<Record>>>,
    /// The revision of the last durable commit, or the one that the start gave.
    durable_revision: u64,
    /// What `META` has, or 0.
    noted_revision: u64,
    /// The revision of the last commit, quiet ones included.
    revision: u64,
    stats: Stats,
    /// Room that is kept for bad times; none over a backend of the caller's.
    reserve: Option<Reserve>,
    /// Why there is no reserve at present.
    shortage: Option<String>,
    /// Keeps other nodes out of the directory; none over a backend of the caller's.
    _lock: Option<File>,
}

/// What a start finds.
#[derive(Debug)]
pub struct Loaded {
    /// Higher than any revision that was ever shown, though quiet commits were lost in a crash: the next but one multiple
    /// of `QUIET_REVISIONS_MAX` after what is on the medium. 0 in a new store.
    pub revision: u64,
    pub records: Vec<Record>,
    /// What a person should know: a file moved aside, rows that could not be read.
    pub note: Option<String>,
}

/// Since the store was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// Durable commits: one fdatasync each.
    pub commits: u64,
    /// Rows written or deleted by them.
    pub rows: u64,
    /// Bytes of keys and values in these rows; the medium takes 21 KB a small commit.
    pub bytes: u64,
    /// Rows that wait in memory.
    pub quiet_rows: u64,
}

/// A write that did not reach the medium. Everything after it fails too: end the daemon and start it again.
#[derive(Debug)]
pub struct CommitError {
    revision: u64,
    cause: redb::Error,
}

impl Store {
    /// Makes a step's writes, which carry `revision`, part of the store. Not durable: they wait in memory for the next
    /// commit that is, or until `QUIET_ROWS_MAX` or `QUIET_REVISIONS_MAX` forces one.
    ///
    /// # Errors
    /// The medium failed; the store answers nothing but errors from then on.
    pub fn commit(&mut self, revision: u64, writes: &[Write], durable: bool) -> Result<(), CommitError> {
        if writes.is_empty() {
            return Ok(());
        }
        assert!(revision > self.revision, "revision {revision} is committed after {}", self.revision);
        self.revision = revision;
        for write in writes {
            let record = match write {
                Write::Put(record) => Some(record.clone()),
                Write::Delete(_) => None,
            };
            self.quiet.insert(row::key(&write.key()), record);
        }
        let full = self.quiet.len() >= QUIET_ROWS_MAX || revision - self.durable_revision >= QUIET_REVISIONS_MAX;
        if durable || full { self.flush() } else { Ok(()) }
    }

    /// Makes everything that waits durable; nothing is written when nothing waits.
    ///
    /// # Errors
    /// As `commit`.
    pub fn flush(&mut self) -> Result<(), CommitError> {
        if self.quiet.is_empty() {
            return Ok(());
        }
        let revision = self.revision;
        let written = match self.write_quiet() {
            Err(cause) if is_full(&cause) => self.write_from_reserve(cause),
            written => written,
        };
        let bytes = written.map_err(|cause| CommitError { revision, cause })?;
        self.stats.commits += 1;
        self.stats.rows += self.quiet.len() as u64;
        self.stats.bytes += bytes;
        self.quiet.clear();
        self.durable_revision = revision;
        if self.is_to_be_noted(revision) {
            self.noted_revision = revision;
        }
        if self.shortage.is_some() {
            self.keep_reserve();
        }
        Ok(())
    }

    /// Gives the reserve up and writes into its room, before somebody else does. Without a reserve it is what it was: `full`.
    fn write_from_reserve(&mut self, full: redb::Error) -> Result<u64, redb::Error> {
        let Some(file) = self.reserve.as_ref().and_then(|reserve| reserve.give_up().then(|| reserve.beside(FILE)))
        else {
            return Err(full);
        };
        tracing::warn!("the disk is full ({full}): the reserve is given up");
        // After an error redb takes nothing more. The file has all that was committed, and lets two handles not be.
        self.db = None;
        self.db = Some(open::builder().open(file)?);
        let written = self.write_quiet();
        self.keep_reserve();
        written
    }

    fn db(&self) -> Result<&Database, redb::Error> {
        self.db.as_ref().ok_or(redb::Error::PreviousIo)
    }

    /// Why the disk has no room for the reserve; none when all is well. Looked at anew at a start and with each durable
    /// commit.
    pub fn shortage(&self) -> Option<&str> {
        self.shortage.as_deref()
    }

    /// Why a record that somebody wants to be kept has no room on the disk. Small ones are tried, as redb writes them into
    /// pages that it has, and the reserve is there for them; half of one that was given up is left to ends and deletions.
    pub fn no_room_for(&self, record: &Record) -> Option<String> {
        let free = self.reserve.as_ref()?.free().ok().filter(|free| *free < ROOM_BYTES_PLENTY)?;
        let bytes = row::encode(record).len() as u64;
        let may_try = bytes <= SMALL_BYTES && (self.shortage.is_none() || free >= RESERVE_BYTES / 2);
        let has_room = may_try || free >= RESERVE_BYTES + 2 * bytes;
        (!has_room).then(|| format!("{}; free some space", too_little(free, bytes)))
    }

    /// What the writes of a set lack. A set can wait, as the end of a pod cannot: small ones as well leave free what the
    /// reserve takes, also while it is kept, so that no set makes a commit fail.
    pub fn lack_for(&self, writes: &[Write]) -> Option<Lack> {
        lack(self.reserve.as_ref()?.free().ok()?, writes)
    }

    /// Bytes that sets may take of the disk at present, in the sense of `Lack`.
    pub fn room_for_sets(&self) -> u64 {
        let free = self.reserve.as_ref().map(|reserve| reserve.free().unwrap_or(0));
        free.map_or(u64::MAX, left_by)
    }

    /// Writes where there is hardly any room left, before anything rests on that: a daemon that cannot commit would only
    /// end again.
    fn prove_room(&self) -> Result<(), redb::Error> {
        let bytes = [0xA5; PROOF_BYTES];
        let write = |value: Option<&[u8]>| -> Result<(), redb::Error> {
            let transaction = self.db()?.begin_write()?;
            match value {
                Some(value) => drop(transaction.open_table(META)?.insert("proof", value)?),
                None => drop(transaction.open_table(META)?.remove("proof")?),
            }
            Ok(transaction.commit()?)
        };
        write(Some(&bytes))?;
        write(None)
    }

    fn keep_reserve(&mut self) {
        let kept = self.reserve.as_ref().map_or(Ok(()), Reserve::keep);
        let kib = RESERVE_BYTES / 1024;
        let text = |e| format!("the data directory has no room for the reserve of {kib} KiB ({e}): free some space");
        self.shortage = kept.err().map(text);
    }

    pub fn stats(&self) -> Stats {
        Stats { quiet_rows: self.quiet.len() as u64, ..self.stats }
    }

    /// A start asks for the thousand alone.
    fn is_to_be_noted(&self, revision: u64) -> bool {
        self.noted_revision == 0 || revision / QUIET_REVISIONS_MAX != self.noted_revision / QUIET_REVISIONS_MAX
    }

    /// One transaction; the bytes of its rows.
    fn write_quiet(&self) -> Result<u64, redb::Error> {
        let mut bytes = 0;
        // Without a reader redb frees what this commit replaces in an epilogue of its own, and notes with the next commit
        // which pages the epilogue has freed: a page more each time. So it is freed by the next commit itself.
        let _reader = self.db()?.begin_read()?;
        let transaction = self.db()?.begin_write()?;
        {
            let mut table = transaction.open_table(RECORDS)?;
            for (key, record) in &self.quiet {
                bytes += key.len() as u64;
                let Some(record) = record else {
                    table.remove(key.as_slice())?;
                    continue;
                };
                let value = row::encode(record);
                bytes += value.len() as u64;
                table.insert(key.as_slice(), value.as_slice())?;
            }
            if self.is_to_be_noted(self.revision) {
                transaction.open_table(META)?.insert("revision", self.revision.to_string().as_bytes())?;
            }
        }
        transaction.commit()?;
        Ok(bytes)
    }
}

fn lack(free: u64, writes: &[Write]) -> Option<Lack> {
    let records = || {
        writes.iter().filter_map(|write| match write {
            Write::Put(record) => Some(record),
            Write::Delete(_) => None,
        })
    };
    if free >= ROOM_BYTES_PLENTY.saturating_mul(records().count() as u64) {
        return None;
    }
    let bytes: u64 = records().map(|record| row::encode(record).len() as u64).sum();
    // redb rounds a large row up to the next power of two.
    let lack = Lack { bytes: 2 * bytes, why: too_little(free, bytes) };
    (lack.bytes > left_by(free)).then_some(lack)
}

/// What others than the reserve may take of so many free bytes.
fn left_by(free: u64) -> u64 {
    free.saturating_sub(RESERVE_BYTES)
}

fn too_little(free: u64, bytes: u64) -> String {
    let kib = |bytes: u64| bytes.div_ceil(1024);
    let [free, bytes, kept] = [free, bytes, RESERVE_BYTES].map(kib);
    format!(
        "the disk is full: the data directory has {free} KiB left, too little for these {bytes} KiB and {kept} KiB to spare"
    )
}

fn is_full(error: &redb::Error) -> bool {
    use std::io::ErrorKind::{QuotaExceeded, StorageFull};
    matches!(error, redb::Error::Io(e) if matches!(e.kind(), StorageFull | QuotaExceeded))
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("revision", &self.revision).field("stats", &self.stats()).finish()
    }
}

impl fmt::Display for CommitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "cannot write revision {} to the store: {}; check the disk (space, read-only mount, errors in dmesg)",
            self.revision, self.cause
        )
    }
}

impl std::error::Error for CommitError {}
