//! The store as JSON lines, for a person, while no daemon has it. Reads a copy in memory, so that the file is not
//! touched, not even by redb's repair after a crash.

use std::fmt;
use std::fs;
use std::io::{self, Write};
use std::path::Path;

use redb::backends::InMemoryBackend;
use redb::{Database, ReadableDatabase, ReadableTable, StorageBackend, TableDefinition, TableError};
use serde_json::json;

use super::load::read_meta;
use super::open::{Access, Places, Trouble, builder, lock, sort_out};
use super::{DAMAGED, OpenError, RECORDS, row};

#[derive(Debug)]
pub enum DumpError {
    /// A daemon has the store (`OpenError::Locked`): ask it. Or there is none, or it cannot be read.
    Open(OpenError),
    /// The reader of the lines went away.
    Write(io::Error),
}

impl fmt::Display for DumpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DumpError::Open(e) => e.fmt(f),
            DumpError::Write(e) => write!(f, "cannot write the dump: {e}"),
        }
    }
}

impl std::error::Error for DumpError {}

impl From<OpenError> for DumpError {
    fn from(e: OpenError) -> DumpError {
        DumpError::Open(e)
    }
}

/// Writes the store below `dir`: a line `{"format":…,"revision":…,"data_dir":…}`, a line for each record, and a line
/// `{"damaged":"KEY","text":…}` for each row that could not be read.
///
/// # Errors
/// `OpenError::Locked` while a daemon runs; the file is missing or damaged; `out` fails.
pub fn dump(dir: &Path, out: &mut dyn Write) -> Result<(), DumpError> {
    let file = Places::of(dir).file;
    let bytes = {
        // For no longer than it takes to read: a node that waits for its disk may want the directory any moment.
        let _lock = lock(dir, Access::Reading)?;
        fs::read(&file).map_err(|cause| OpenError::Io { tried: "read the store", path: file.clone(), cause })?
    };
    if bytes.is_empty() {
        return Err(OpenError::Damaged(format!("{} is empty", file.display())).into());
    }
    let db = in_memory(&bytes).map_err(|e| sort_out(&file, e).into_error())?;
    drop(bytes);
    write_head(&db, dir, &file, out)?;
    each_row(&db, RECORDS, |key, value| write_record(key, value, out))?;
    each_row(&db, DAMAGED, |key, value| write_damaged(key, value, out))
}

fn in_memory(bytes: &[u8]) -> Result<Database, redb::DatabaseError> {
    let memory = InMemoryBackend::new();
    memory.set_len(bytes.len() as u64)?;
    memory.write(0, bytes)?;
    builder().create_with_backend(memory)
}

fn write_head(db: &Database, dir: &Path, file: &Path, out: &mut dyn Write) -> Result<(), DumpError> {
    let number = |name| read_meta(db, file, name).map_err(Trouble::into_error);
    let head = json!({"format": number("format")?, "revision": number("revision")?, "data_dir": dir.to_string_lossy()});
    writeln!(out, "{head}").map_err(DumpError::Write)
}

fn write_record(key: &[u8], value: &[u8], out: &mut dyn Write) -> Result<(), DumpError> {
    if row::decode(key, value).is_err() {
        return write_damaged(key, value, out);
    }
    let json = row::json(value).unwrap_or_default();
    out.write_all(json).and_then(|()| out.write_all(b"\n")).map_err(DumpError::Write)
}

fn write_damaged(key: &[u8], value: &[u8], out: &mut dyn Write) -> Result<(), DumpError> {
    let line = json!({"damaged": String::from_utf8_lossy(key), "text": String::from_utf8_lossy(value)});
    writeln!(out, "{line}").map_err(DumpError::Write)
}

type Table = TableDefinition<'static, &'static [u8], &'static [u8]>;

fn each_row(
    db: &Database,
    table: Table,
    mut visit: impl FnMut(&[u8], &[u8]) -> Result<(), DumpError>,
) -> Result<(), DumpError> {
    let damaged = |e: redb::Error| DumpError::Open(OpenError::Damaged(e.to_string()));
    let transaction = db.begin_read().map_err(|e| damaged(e.into()))?;
    let table = match transaction.open_table(table) {
        Ok(table) => table,
        Err(TableError::TableDoesNotExist(_)) => return Ok(()),
        Err(e) => return Err(damaged(e.into())),
    };
    for row in table.iter().map_err(|e| damaged(e.into()))? {
        let (key, value) = row.map_err(|e| damaged(e.into()))?;
        visit(key.value(), value.value())?;
    }
    Ok(())
}
