//! ConfigMap, Secret, Namespace, and the kinds that have no layout of their own.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::page::Page;
use crate::cli::json::{entries_at, plain, text_at};

pub fn config_map(page: &mut Page, map: &Value) {
    page.head(map);
    page.line(0, "\nData\n====");
    for (key, value) in entries_at(map, "/data") {
        page.line(0, &format!("{key}:\n----\n{}\n", plain(value)));
    }
    page.line(0, "\nBinaryData\n====");
    for (key, value) in entries_at(map, "/binaryData") {
        page.line(0, &format!("{key}: {} bytes", decoded_length(value)));
    }
    page.line(0, "");
}

/// The values stay secret; only how long they are is told.
pub fn secret(page: &mut Page, secret: &Value) {
    page.head(secret);
    page.line(0, &format!("\nType:\t{}\n\nData\n====", text_at(secret, "/type")));
    for (key, value) in entries_at(secret, "/data") {
        page.field(0, key, format!("{} bytes", decoded_length(value)));
    }
}

fn decoded_length(value: &Value) -> usize {
    value.as_str().and_then(|text| STANDARD.decode(text).ok()).map_or(0, |bytes| bytes.len())
}

pub fn namespace(page: &mut Page, namespace: &Value) {
    page.field(0, "Name", text_at(namespace, "/metadata/name"));
    page.labels(0, "Labels", namespace, "/metadata/labels");
    page.annotations(0, namespace);
    page.field(0, "Status", text_at(namespace, "/status/phase"));
}

/// All fields, their names as words.
pub fn describe(page: &mut Page, object: &Value) {
    page.head(object);
    let mut rest = object.clone();
    if let Some(meta) = rest.pointer_mut("/metadata").and_then(Value::as_object_mut) {
        // These stand above already, or are of no use to a person.
        meta.retain(|key, _| {
            !matches!(key.as_str(), "name" | "namespace" | "labels" | "annotations" | "managedFields")
        });
    }
    entries_at(&rest, "").into_iter().for_each(|(key, value)| field(page, 0, key, value));
}

fn field(page: &mut Page, level: usize, key: &str, value: &Value) {
    let label = words(key);
    match value {
        Value::Object(_) => {
            page.line(level, &format!("{label}:"));
            entries_at(value, "").into_iter().for_each(|(key, value)| field(page, level + 1, key, value));
        }
        Value::Array(items) => {
            page.line(level, &format!("{label}:"));
            items.iter().for_each(|item| element(page, level + 1, item));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => page.field(level, &label, plain(value)),
    }
}

fn element(page: &mut Page, level: usize, item: &Value) {
    match item {
        Value::Object(_) => entries_at(item, "").into_iter().for_each(|(key, value)| field(page, level, key, value)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            page.line(level, &plain(item));
        }
    }
}

/// `workingDir` is `Working Dir`; abbreviations stay what they are.
fn words(key: &str) -> String {
    match key {
        "uid" => return "UID".into(),
        "apiVersion" => return "API Version".into(),
        _ => {}
    }
    let mut out = String::new();
    for (i, c) in key.chars().enumerate() {
        if i == 0 {
            out.push(c.to_ascii_uppercase());
        } else {
            if c.is_uppercase() {
                out.push(' ');
            }
            out.push(c);
        }
    }
    out
}
