//! Reading fields of JSON that came from a node, where any of them may be absent or of another type.

use serde_json::{Map, Value};

use crate::model::sorted;

/// The text at a JSON pointer; empty when there is none.
pub fn text_at<'v>(value: &'v Value, pointer: &str) -> &'v str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or("")
}

/// The whole number at a pointer.
pub fn int_at(value: &Value, pointer: &str) -> Option<i64> {
    value.pointer(pointer).and_then(Value::as_i64)
}

pub fn bool_at(value: &Value, pointer: &str) -> Option<bool> {
    value.pointer(pointer).and_then(Value::as_bool)
}

/// The list at a pointer; empty when there is none.
pub fn list_at<'v>(value: &'v Value, pointer: &str) -> &'v [Value] {
    value.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The entries of the map at a pointer, by key; none when there is no map.
pub fn entries_at<'v>(value: &'v Value, pointer: &str) -> Vec<(&'v str, &'v Value)> {
    let mut entries: Vec<_> =
        value.pointer(pointer).and_then(Value::as_object).into_iter().flatten().map(|(k, v)| (k.as_str(), v)).collect();
    sorted::by_key(&mut entries, |(key, _)| *key);
    entries
}

/// A value as a person writes it: text without quotes, anything else as compact JSON.
pub fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    }
}

/// The map at `keys`, made where it is missing or something else.
pub fn map_mut<'v>(value: &'v mut Value, keys: &[&str]) -> &'v mut Map<String, Value> {
    let mut here = value;
    for key in keys {
        if !here.is_object() {
            *here = Value::Object(Map::new());
        }
        here = &mut here[*key];
    }
    if !here.is_object() {
        *here = Value::Object(Map::new());
    }
    here.as_object_mut().expect("made an object above")
}

/// The same value with the keys of every map in alphabetical order, as kubectl prints.
pub fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<(&String, &Value)> = map.iter().collect();
            sorted::by_key(&mut entries, |(key, _)| *key);
            Value::Object(entries.into_iter().map(|(key, value)| (key.clone(), sorted(value))).collect())
        }
        Value::Array(items) => Value::Array(items.iter().map(sorted).collect()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}
