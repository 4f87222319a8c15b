//! Which kind a document is, from its `apiVersion` and `kind`.

use serde_json::{Map, Value};

use crate::model::{Failure, Kind, Reason};

use super::schema;

/// The kind, and the version as the document names it.
pub(super) fn of(document: &Map<String, Value>) -> Result<(Kind, String), Failure> {
    let api_version = word(document, "apiVersion", "apiVersion")?;
    let name = word(document, "kind", "Kind")?;
    let takes = |kind: &Kind| kind.names().kind == name && versions(*kind).any(|v| v == api_version);
    match decodable().find(takes) {
        Some(kind) => Ok((kind, api_version.to_string())),
        None => Err(no_match(name, api_version)),
    }
}

/// Kubernetes writes `Kind` with a capital here and `apiVersion` without.
fn word<'a>(document: &'a Map<String, Value>, field: &str, shown: &str) -> Result<&'a str, Failure> {
    match document.get(field) {
        Some(Value::String(text)) if !text.is_empty() => Ok(text),
        None | Some(Value::Null | Value::String(_)) => {
            Err(bad(format!("Object '{shown}' is missing in {}", keys(document))))
        }
        Some(other) => Err(bad(format!("Object '{shown}' must be a string, is {}", super::validate::shown(other)))),
    }
}

fn keys(document: &Map<String, Value>) -> String {
    let names: Vec<&str> = document.keys().take(8).map(String::as_str).collect();
    let more = if document.len() > names.len() { ", …" } else { "" };
    super::validate::cut(&format!("an object with the fields [{}{more}]", names.join(", ")))
}

fn no_match(kind: &str, version: &str) -> Failure {
    let kinds: Vec<String> =
        decodable().map(|k| format!("{k} ({})", versions(k).collect::<Vec<_>>().join(", "))).collect();
    let (kind, version) = (super::validate::cut(kind), super::validate::cut(version));
    bad(format!("no matches for kind {kind:?} in version {version:?}: pinnace takes {}", kinds.join(", ")))
}

fn bad(message: String) -> Failure {
    Failure::new(Reason::BadRequest, message)
}

fn decodable() -> impl Iterator<Item = Kind> {
    Kind::SERVED.into_iter().filter(|kind| schema::of(*kind).is_some())
}

fn versions(kind: Kind) -> impl Iterator<Item = String> {
    std::iter::once(kind.api_version()).chain(kind.names().also.iter().map(|v| (*v).to_string()))
}
