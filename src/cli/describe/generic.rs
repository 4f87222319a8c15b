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
    page.line(0, "\nNo resource quota.\n\nNo LimitRange resource.");
}

/// All fields, their names as words.
pub fn describe(page: &mut Page, object: &Value) {
    page.head(object);
    page.field(0, "API Version", text_at(object, "/apiVersion"));
    page.field(0, "Kind", text_at(object, "/kind"));
    page.line(0, "Metadata:");
    page.field(1, "Creation Timestamp", text_at(object, "/metadata/creationTimestamp"));
    page.field(1, "Resource Version", text_at(object, "/metadata/resourceVersion"));
    page.field(1, "UID", text_at(object, "/metadata/uid"));
    let rest =
        entries_at(object, "").into_iter().filter(|(key, _)| !matches!(*key, "apiVersion" | "kind" | "metadata"));
    rest.for_each(|(key, value)| field(page, 0, key, value));
}

fn field(page: &mut Page, level: usize, key: &str, value: &Value) {
    let label = words(key);
    match value {
        Value::Object(map) if map.is_empty() => page.field(level, &label, "<none>"),
        Value::Array(items) if items.is_empty() => page.field(level, &label, "<none>"),
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

/// `workingDir` is `Working Dir`.
fn words(key: &str) -> String {
    let mut out = String::new();
    for (i, c) in key.chars().enumerate() {
        if i == 0 {
            out.extend(c.to_uppercase());
        } else {
            if c.is_uppercase() {
                out.push(' ');
            }
            out.push(c);
        }
    }
    out
}
