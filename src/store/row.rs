//! One row: its key as text that sorts by kind, namespace and name; its value as a version byte and JSON, so that a person
//! can read a dump of it.

use crate::model::{Key, Record};

/// The form of a value. A row with another one is damaged, or from a release that should have raised the store's format.
const VERSION: u8 = 1;

/// `Job/default/batch-job`. Kinds and namespaces have no slash, so two keys never share a text.
pub fn key(key: &Key) -> Vec<u8> {
    format!("{}/{}/{}", key.kind, key.namespace, key.name).into_bytes()
}

pub fn encode(record: &Record) -> Vec<u8> {
    let mut value = vec![VERSION];
    serde_json::to_writer(&mut value, record).expect("records have text keys only, and a Vec takes every byte");
    value
}

/// # Errors
/// The version byte is another, the JSON is broken, a field is missing, or the record belongs under another key.
pub fn decode(stored_key: &[u8], value: &[u8]) -> Result<Record, String> {
    let record: Record = match value.split_first() {
        Some((&VERSION, json)) => serde_json::from_slice(json).map_err(|e| e.to_string())?,
        Some((version, _)) => return Err(format!("has version {version}, not {VERSION}")),
        None => return Err("is empty".into()),
    };
    let own_key = key(&record.key());
    if own_key != stored_key {
        return Err(format!("holds the record of {}", String::from_utf8_lossy(&own_key)));
    }
    Ok(record)
}

/// The JSON of a value as it was stored, whatever its version.
pub fn json(value: &[u8]) -> Option<&[u8]> {
    value.split_first().map(|(_, json)| json)
}
