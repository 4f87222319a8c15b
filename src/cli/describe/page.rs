//! The text of a description: lines with tabs, which are laid out in columns at the end.

use serde_json::Value;

use crate::cli::duration::rfc1123z;
use crate::cli::json::{entries_at, list_at, plain, text_at};
use crate::cli::table;

pub struct Page {
    text: String,
}

/// Annotations that are longer stand on lines of their own, cut at this.
const ANNOTATION_CHARS_MAX: usize = 140;
/// kubectl's own note; it would drown the rest.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

impl Page {
    pub fn new() -> Page {
        Page { text: String::new() }
    }

    /// One line at a level of indentation (two spaces each).
    pub fn line(&mut self, level: usize, text: &str) {
        self.text.push_str(&format!("{}{text}\n", "  ".repeat(level)));
    }

    /// `Label:\tvalue`.
    pub fn field(&mut self, level: usize, label: &str, value: impl std::fmt::Display) {
        self.line(level, &format!("{label}:\t{value}"));
    }

    /// A field that is left out when there is nothing to say.
    pub fn field_if(&mut self, level: usize, label: &str, value: &str) {
        if !value.is_empty() {
            self.field(level, label, value);
        }
    }

    /// The value at a pointer as it is, or what to say where there is none.
    pub fn value_or(&mut self, label: &str, object: &Value, pointer: &str, unset: &str) {
        let value = object.pointer(pointer).filter(|v| !v.is_null()).map_or_else(|| unset.to_string(), plain);
        self.field(0, label, value);
    }

    /// The value at a pointer; nothing where there is none.
    pub fn value_if(&mut self, label: &str, object: &Value, pointer: &str) {
        if let Some(value) = object.pointer(pointer).filter(|v| !v.is_null()) {
            self.field(0, label, plain(value));
        }
    }

    /// A time at a pointer; nothing where there is none.
    pub fn time_if(&mut self, level: usize, label: &str, object: &Value, pointer: &str) {
        let time = text_at(object, pointer);
        if !time.is_empty() {
            self.field(level, label, rfc1123z(time));
        }
    }

    /// A label in front of the first of some lines, the others below it; `<none>` for no lines.
    pub fn lines(&mut self, level: usize, label: &str, lines: &[String]) {
        let Some((first, rest)) = lines.split_first() else { return self.field(level, label, "<none>") };
        self.field(level, label, first);
        for line in rest {
            self.line(level, &format!("\t{line}"));
        }
    }

    /// `k=v`, one a line.
    pub fn labels(&mut self, level: usize, label: &str, object: &Value, pointer: &str) {
        let entries = entries_at(object, pointer);
        let lines: Vec<String> = entries.iter().map(|(key, value)| format!("{key}={}", plain(value))).collect();
        self.lines(level, label, &lines);
    }

    pub fn annotations(&mut self, level: usize, object: &Value) {
        let mut lines = Vec::new();
        for (key, value) in entries_at(object, "/metadata/annotations") {
            let value = plain(value);
            let value = value.strip_suffix('\n').unwrap_or(&value);
            if key == LAST_APPLIED {
                continue;
            }
            if value.chars().count() + key.chars().count() + 2 > ANNOTATION_CHARS_MAX || value.contains('\n') {
                lines.push(format!("{key}:"));
                lines.extend(value.split('\n').map(|line| format!("  {}", shorten(line))));
            } else {
                lines.push(format!("{key}: {value}"));
            }
        }
        self.lines(level, "Annotations", &lines);
    }

    /// Name, namespace, labels and annotations, with which most descriptions begin.
    pub fn head(&mut self, object: &Value) {
        self.field(0, "Name", text_at(object, "/metadata/name"));
        self.field_if(0, "Namespace", text_at(object, "/metadata/namespace"));
        self.labels(0, "Labels", object, "/metadata/labels");
        self.annotations(0, object);
    }

    pub fn controlled_by(&mut self, object: &Value) {
        let owners = list_at(object, "/metadata/ownerReferences");
        if let Some(owner) = owners.iter().find(|o| o["controller"] == true) {
            self.field(0, "Controlled By", format!("{}/{}", text_at(owner, "/kind"), text_at(owner, "/name")));
        }
    }

    pub fn finish(self) -> String {
        table::elastic(&self.text, 2)
    }
}

fn shorten(line: &str) -> String {
    let limit = ANNOTATION_CHARS_MAX - 2;
    match line.char_indices().nth(limit) {
        Some((at, _)) => format!("{}...", &line[..at]),
        None => line.to_string(),
    }
}
