//! Kubernetes YAML and JSON, every accepted apiVersion, to and from `model`; each error with its field path and line.
//! Knows nothing of what is there already: that is for `core::admit`.

mod build;
mod convert;
mod decode;
mod defaults;
mod header;
mod merge;
pub mod schema;
mod strict;
mod validate;
mod version;
pub mod view;
mod yaml;

use serde_json::Value;

use crate::model::{Failure, Kind, Record};

pub use header::read_header;
pub use merge::{merge_patch, strategic_merge_patch};
pub use yaml::{BYTES_MAX, DEPTH_MAX, NODES_MAX, read_settings};

/// One valid object of a manifest.
#[derive(Debug, Clone)]
pub struct Decoded {
    /// Defaults filled in, status fresh. `meta.uid` and `meta.revision` are what the sender named, for preconditions:
    /// empty and 0 where it named none; `meta.created` is not set.
    pub record: Record,
    /// What was taken with a reservation, one sentence each, as kubectl prints after `Warning: `.
    pub warnings: Vec<String>,
    /// The document as it was sent, as JSON.
    pub source: Value,
}

/// What becomes of fields that Kubernetes does not know (`fieldValidation` of an API request). Fields that Kubernetes
/// knows and pinnace does not do are refused in every case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strictness {
    /// They are an error.
    Strict,
    /// They are left out, with a warning each.
    Warn,
    /// They are left out.
    Ignore,
}

/// All objects of a stream, in order: YAML or JSON, several documents, lists flattened, documents without content
/// skipped. An object without a namespace gets `default_namespace`. All or nothing.
///
/// # Errors
/// The first document that is wrong, named with its line: `RequestEntityTooLarge` beyond `BYTES_MAX`, `BadRequest` for
/// what cannot be decoded, `Invalid` with a cause for each wrong field of that document.
pub fn decode_stream(text: &[u8], default_namespace: &str) -> Result<Vec<Decoded>, Failure> {
    decode::stream(text, default_namespace)
}

/// The objects of a stream as JSON, lists flattened, each with the line it starts at (from 1), for a client that sends
/// them on. What is in them is not looked at, but that each is an object.
///
/// # Errors
/// As `decode_stream` for text that is no YAML or JSON.
pub fn read_stream(text: &[u8]) -> Result<Vec<(Value, usize)>, Failure> {
    let stream = yaml::read(text)?;
    Ok(decode::flatten(stream)?.into_iter().map(|item| (item.value, item.line)).collect())
}

/// A document of an older version, or with the one misspelling that is taken, as the stable version says it; and the
/// warning that goes with it. Anything else stays as it is. For a client that compares a document with what is there.
pub fn to_stable(mut document: Value) -> (Value, Option<String>) {
    let Some(object) = document.as_object_mut() else { return (document, None) };
    let Ok((kind, api_version)) = version::of(object) else { return (document, None) };
    let warning = convert::to_stable(kind, &api_version, object);
    object.insert("apiVersion".into(), kind.api_version().into());
    (document, warning)
}

/// One object of an API request. `expect` and `namespace` are those of the path; a body that names others is refused,
/// one that names none takes them. `namespace` is empty for kinds without one.
///
/// # Errors
/// `BadRequest` for what cannot be decoded, `Invalid` with a cause for each wrong field.
pub fn decode_value(
    value: Value,
    expect: Option<Kind>,
    namespace: &str,
    strictness: Strictness,
) -> Result<Decoded, Failure> {
    decode::request(value, expect, namespace, strictness)
}
