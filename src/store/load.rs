//! What is in an open database: its format, its revision, its records; rows that cannot be read are set aside, never lost.

use std::path::Path;

use redb::{Database, ReadableDatabase, ReadableTable};

use crate::model::Record;

use super::open::{Trouble, sort_out};
use super::{DAMAGED, FORMAT, Loaded, META, OpenError, QUIET_REVISIONS_MAX, RECORDS, Stats, Store, row};

/// So many unreadable rows are named one by one in the note.
const NAMED_ROWS_MAX: usize = 5;

pub(super) fn load(db: Database, place: &Path) -> Result<(Store, Loaded), Trouble> {
    prepare(&db, place)?;
    let (records, unreadable) = read_records(&db).map_err(|e| sort_out(place, e))?;
    set_aside(&db, &unreadable).map_err(|e| sort_out(place, e))?;
    let stored = read_meta(&db, place, "revision")?.unwrap_or(0);
    let revision = after_a_crash(stored);
    let store = Store {
        db: Some(db),
        quiet: Default::default(),
        durable_revision: revision,
        noted_revision: stored,
        revision,
        stats: Stats::default(),
        reserve: None,
        shortage: None,
        _lock: None,
    };
    Ok((store, Loaded { revision, records, note: note(&unreadable) }))
}

fn after_a_crash(stored: u64) -> u64 {
    if stored == 0 { 0 } else { (stored / QUIET_REVISIONS_MAX + 2) * QUIET_REVISIONS_MAX }
}

/// Checks the format, and writes it into a file that is new.
fn prepare(db: &Database, place: &Path) -> Result<(), Trouble> {
    match read_meta(db, place, "format")? {
        Some(FORMAT) => Ok(()),
        Some(format) if format > FORMAT => {
            Err(Trouble::Refusal(OpenError::Newer { file: place.to_path_buf(), format }))
        }
        Some(format) => Err(Trouble::Damage(format!("it has format {format}, which never was"))),
        None if is_new(db).map_err(|e| sort_out(place, e))? => {
            write_meta(db, "format", FORMAT).map_err(|e| sort_out(place, e))
        }
        None => Err(Trouble::Damage("it is another program's redb file".into())),
    }
}

fn is_new(db: &Database) -> Result<bool, redb::Error> {
    Ok(db.begin_read()?.list_tables()?.next().is_none())
}

/// A row that could not be read: its key, its bytes, and why.
struct Unreadable {
    key: Vec<u8>,
    value: Vec<u8>,
    why: String,
}

fn read_records(db: &Database) -> Result<(Vec<Record>, Vec<Unreadable>), redb::Error> {
    let (mut records, mut unreadable) = (Vec::new(), Vec::new());
    let transaction = db.begin_read()?;
    let table = match transaction.open_table(RECORDS) {
        Ok(table) => table,
        Err(redb::TableError::TableDoesNotExist(_)) => return Ok((records, unreadable)),
        Err(e) => return Err(e.into()),
    };
    for row in table.iter()? {
        let (key, value) = row?;
        match row::decode(key.value(), value.value()) {
            Ok(record) => records.push(record),
            Err(why) => unreadable.push(Unreadable { key: key.value().to_vec(), value: value.value().to_vec(), why }),
        }
    }
    Ok((records, unreadable))
}

/// Moves unreadable rows to their own table: out of the way, and there for a person or a later release.
fn set_aside(db: &Database, rows: &[Unreadable]) -> Result<(), redb::Error> {
    if rows.is_empty() {
        return Ok(());
    }
    let transaction = db.begin_write()?;
    {
        let mut records = transaction.open_table(RECORDS)?;
        let mut damaged = transaction.open_table(DAMAGED)?;
        for row in rows {
            records.remove(row.key.as_slice())?;
            damaged.insert(row.key.as_slice(), row.value.as_slice())?;
        }
    }
    Ok(transaction.commit()?)
}

fn note(rows: &[Unreadable]) -> Option<String> {
    let named: Vec<String> = rows
        .iter()
        .take(NAMED_ROWS_MAX)
        .map(|row| format!("{}: {}", String::from_utf8_lossy(&row.key), row.why))
        .collect();
    let more = if rows.len() > NAMED_ROWS_MAX { ", …" } else { "" };
    let count = rows.len();
    (count > 0).then(|| {
        format!(
            "{count} records could not be read and were set aside (`pinnace store dump` shows them): {}{more}",
            named.join(", ")
        )
    })
}

/// A number of the `meta` table; none where the table or the row is missing.
pub(super) fn read_meta(db: &impl ReadableDatabase, place: &Path, name: &str) -> Result<Option<u64>, Trouble> {
    let Some(text) = meta_text(db, name).map_err(|e| sort_out(place, e))? else { return Ok(None) };
    let number = std::str::from_utf8(&text).ok().and_then(|digits| digits.parse().ok());
    number.map(Some).ok_or_else(|| Trouble::Damage(format!("its {name} is no number")))
}

fn meta_text(db: &impl ReadableDatabase, name: &str) -> Result<Option<Vec<u8>>, redb::Error> {
    let transaction = db.begin_read()?;
    let table = match transaction.open_table(META) {
        Ok(table) => table,
        Err(redb::TableError::TableDoesNotExist(_)) => return Ok(None),
        Err(e) => return Err(e.into()),
    };
    Ok(table.get(name)?.map(|value| value.value().to_vec()))
}

pub(super) fn write_meta(db: &Database, name: &str, number: u64) -> Result<(), redb::Error> {
    let transaction = db.begin_write()?;
    transaction.open_table(META)?.insert(name, number.to_string().as_bytes())?;
    Ok(transaction.commit()?)
}
