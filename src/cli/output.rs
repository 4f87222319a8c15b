//! What `-o` asks for: objects as YAML, JSON, names, through a template, or in columns of one's own.

use serde_json::{Value, json};

use super::fail::Fail;
use super::json::{sorted, text_at};
use super::jsonpath::Template;
use super::table::Rows;
use super::target::{kind_of_document, singular};

/// How to show objects. A table is the node's own view and needs no format.
#[derive(Debug, Clone, PartialEq)]
pub enum Format {
    Table {
        wide: bool,
    },
    Yaml,
    Json,
    Name,
    /// The template, and the text it was read from.
    JsonPath(Template, String),
    Columns(Vec<Column>),
}

#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    header: String,
    path: Template,
}

const ALLOWED: &str = "custom-columns,json,jsonpath,name,wide,yaml";

impl Format {
    /// # Errors
    /// A format that does not exist, or a template that is none.
    pub fn parse(text: Option<&str>) -> Result<Format, Fail> {
        let Some(text) = text else { return Ok(Format::Table { wide: false }) };
        let (name, argument) = text.split_once('=').map_or((text, None), |(name, argument)| (name, Some(argument)));
        match (name, argument) {
            ("", None) => Ok(Format::Table { wide: false }),
            ("wide", None) => Ok(Format::Table { wide: true }),
            ("yaml", None) => Ok(Format::Yaml),
            ("json", None) => Ok(Format::Json),
            ("name", None) => Ok(Format::Name),
            ("jsonpath", Some(template)) if !template.is_empty() => jsonpath(template),
            ("jsonpath", _) => Err(Fail::other("template format specified but no template given")),
            ("custom-columns", Some(columns)) if !columns.is_empty() => columns_of(columns).map(Format::Columns),
            ("custom-columns", _) => Err(Fail::other("custom-columns format specified but no custom columns given")),
            (_, _) => Err(Fail::other(format!(
                "unable to match a printer suitable for the output format {text:?}, allowed formats are: {ALLOWED}"
            ))),
        }
    }

    /// One object, or a list of them. None for a table, which is not made here.
    ///
    /// # Errors
    /// A template that cannot be filled in.
    pub fn show(&self, value: &Value) -> Result<Option<String>, Fail> {
        match self {
            Format::Table { .. } => Ok(None),
            Format::Yaml => yaml(&sorted(value)).map(Some),
            Format::Json => Ok(Some(json_text(&sorted(value)))),
            Format::Name => Ok(Some(items(value).iter().map(|item| format!("{}\n", name(item))).collect())),
            Format::JsonPath(template, text) => {
                let filled = template.render(value);
                filled.map(Some).map_err(|why| {
                    Fail::other(format!("error executing jsonpath {text:?}: Error executing template: {why}"))
                })
            }
            Format::Columns(columns) => in_columns(columns, &items(value), true).map(Some),
        }
    }

    /// As `show`, of an object that follows another: columns have no second header.
    ///
    /// # Errors
    /// As `show`.
    pub fn show_next(&self, value: &Value) -> Result<Option<String>, Fail> {
        match self {
            Format::Columns(columns) => in_columns(columns, &items(value), false).map(Some),
            Format::Table { .. } | Format::Yaml | Format::Json | Format::Name | Format::JsonPath(..) => {
                self.show(value)
            }
        }
    }
}

fn jsonpath(template: &str) -> Result<Format, Fail> {
    match Template::parse(template) {
        Ok(parsed) => Ok(Format::JsonPath(parsed, template.to_string())),
        Err(why) => Err(Fail::other(format!("error parsing jsonpath {template}, {why}"))),
    }
}

fn columns_of(text: &str) -> Result<Vec<Column>, Fail> {
    text.split(',').map(column_of).collect()
}

fn column_of(text: &str) -> Result<Column, Fail> {
    let Some((header, path)) = text.split_once(':').filter(|(header, _)| !header.is_empty()) else {
        return Err(Fail::other(format!("unexpected custom-columns spec: {text}, expected <header>:<json-path-expr>")));
    };
    let path = Template::parse_relaxed(path).map_err(Fail::other)?;
    Ok(Column { header: header.to_string(), path })
}

/// The items of a list, or the one object.
pub fn items(value: &Value) -> Vec<&Value> {
    match value.get("items").and_then(Value::as_array) {
        Some(items) if text_at(value, "/kind").ends_with("List") => items.iter().collect(),
        Some(_) | None => vec![value],
    }
}

/// Objects of any kinds as kubectl wraps them.
pub fn list_of(items: Vec<Value>) -> Value {
    json!({"apiVersion": "v1", "items": items, "kind": "List", "metadata": {"resourceVersion": ""}})
}

/// `job.batch/x`.
pub fn name(object: &Value) -> String {
    let (api_version, kind) = (text_at(object, "/apiVersion"), text_at(object, "/kind"));
    let kind = kind_of_document(api_version, kind).map_or_else(|| kind.to_ascii_lowercase(), singular);
    format!("{kind}/{}", text_at(object, "/metadata/name"))
}

/// # Errors
/// None that a JSON value can cause; told rather than hidden if there be one.
pub fn yaml(value: &Value) -> Result<String, Fail> {
    // Lines are never folded: what a person copies is what the field holds.
    let options = serde_yaml::ser_options! { folded_wrap_chars: usize::MAX };
    serde_yaml::to_string_with_options(value, options).map_err(|e| Fail::other(format!("cannot write YAML: {e}")))
}

/// Four spaces a level, as kubectl.
pub fn json_text(value: &Value) -> String {
    use serde::Serialize;
    let mut bytes = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, formatter);
    value.serialize(&mut serializer).expect("a JSON value is JSON, and a Vec takes every write");
    bytes.push(b'\n');
    String::from_utf8(bytes).expect("serde_json writes UTF-8")
}

fn in_columns(columns: &[Column], items: &[&Value], with_header: bool) -> Result<String, Fail> {
    let mut rows = Vec::new();
    if with_header {
        rows.push(columns.iter().map(|c| c.header.clone()).collect());
    }
    for item in items {
        rows.push(columns.iter().map(|column| cell(column, item)).collect::<Result<Vec<_>, _>>()?);
    }
    Ok(Rows::new(false).print(&rows))
}

/// All values with commas between; `<none>` for nothing.
fn cell(column: &Column, item: &Value) -> Result<String, Fail> {
    let found = column.path.find(item).map_err(Fail::other)?;
    let texts: Vec<String> = found.iter().filter(|v| !v.is_null()).map(go_text).collect();
    Ok(if texts.is_empty() { "<none>".into() } else { texts.join(",") })
}

/// A value as Go's `%v` prints it, which is what kubectl's columns hold.
fn go_text(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".into(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::String(text) => text.clone(),
        Value::Array(items) => format!("[{}]", items.iter().map(go_text).collect::<Vec<_>>().join(" ")),
        Value::Object(map) => {
            let mut entries: Vec<_> = map.iter().map(|(key, value)| format!("{key}:{}", go_text(value))).collect();
            entries.sort();
            format!("map[{}]", entries.join(" "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object() -> Value {
        json!({
            "kind": "Job", "apiVersion": "batch/v1",
            "metadata": {"name": "x", "labels": {"b": "2", "a": "1"}},
            "spec": {"list": [{"n": "a", "e": []}, {"n": "yes"}], "text": "one\ntwo\n", "m": {}, "z": null},
        })
    }

    #[track_caller]
    fn check(format: &str, expected: &str) {
        let text = Format::parse(Some(format)).and_then(|f| f.show(&object())).unwrap();
        assert_eq!(text.as_deref(), Some(expected), "{format}");
    }

    #[track_caller]
    fn check_refused(format: &str, expected: &str) {
        let text = Format::parse(Some(format)).unwrap_err().to_string();
        assert!(text.contains(expected), "{text}");
    }

    #[test]
    fn an_object_is_shown_as_kubectl_shows_it() {
        check(
            "yaml",
            "apiVersion: batch/v1\nkind: Job\nmetadata:\n  labels:\n    a: \"1\"\n    b: \"2\"\n  name: x\nspec:\n  \
             list:\n  - e: []\n    \"n\": a\n  - \"n\": \"yes\"\n  m: {}\n  text: |\n    one\n    two\n  z: null\n",
        );
        check("name", "job.batch/x\n");
        check("jsonpath={.metadata.name}!", "x!");
        check(
            "custom-columns=NAME:.metadata.name,L:metadata.labels,N:.spec.list[*].n,X:.nope",
            "NAME   L              N       X\nx      map[a:1 b:2]   a,yes   <none>\n",
        );
        let json = Format::Json.show(&json!({"b": [], "a": {"c": [1]}})).unwrap().unwrap();
        assert_eq!(json, "{\n    \"a\": {\n        \"c\": [\n            1\n        ]\n    },\n    \"b\": []\n}\n");
    }

    #[test]
    fn strings_that_yaml_would_read_as_something_else_are_quoted() {
        for text in [
            "yes",
            "on",
            "n",
            "0644",
            "1e3",
            "null",
            "~",
            "",
            " a",
            "a: b",
            "- a",
            "a #b",
            "0x1f",
            "2026-01-01",
            "*",
            "&a",
            "!x",
            "a\tb",
            "é\u{7f}",
            "1:20",
            "=",
            "<<",
            "{",
            "%a",
            "@",
            "`",
            "long ".repeat(60).trim(),
        ] {
            let value = json!({"k": text});
            let written = yaml(&value).unwrap();
            let read: Value = serde_yaml::from_str(&written).unwrap();
            assert_eq!(read, value, "{written}");
        }
    }

    #[test]
    fn formats_that_do_not_exist_are_refused() {
        check_refused("toml", "allowed formats are: custom-columns,json,jsonpath,name,wide,yaml");
        check_refused("yaml=x", "unable to match a printer");
        check_refused("jsonpath", "no template given");
        check_refused("jsonpath={.a", "error parsing jsonpath {.a, unclosed action");
        check_refused("custom-columns=", "no custom columns given");
        check_refused("custom-columns=A", "expected <header>:<json-path-expr>");
        check_refused("custom-columns=:.a", "expected <header>:<json-path-expr>");
    }
}
