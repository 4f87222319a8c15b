//! The way of one document from JSON to a record: kind, old versions, strict decoding, defaults, validation; and how
//! what is wrong is told, with lines where there is a text.

use std::cell::OnceCell;
use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::model::{Cause, Failure, Kind, Reason};

use super::strict::{Found, Mismatch, Unknown};
use super::validate::cut;
use super::yaml::{self, Lines, Stream};
use super::{Decoded, Strictness, build, convert, defaults, schema, strict, validate, version};

/// Wrong fields that one answer lists; a broken generator should not make a megabyte of message.
const FAULTS_MAX: usize = 50;

pub(super) fn stream(text: &[u8], default_namespace: &str) -> Result<Vec<Decoded>, Failure> {
    let stream = yaml::read(text)?;
    let text = stream.text;
    let items = flatten(stream)?;
    let many = items.len() > 1;
    let mut first_lines = BTreeMap::new();
    let mut decoded = Vec::with_capacity(items.len());
    for item in items {
        let place = Place { text, document: item.document, prefix: item.prefix, lines: OnceCell::new() };
        let named = |failure: Failure| if many { in_document(failure, item.line) } else { failure };
        let want =
            Want { expect: None, namespace: Namespace::Default(default_namespace), strictness: Strictness::Strict };
        let one = document(item.value, want, Some(&place)).map_err(named)?;
        let meta = one.record.meta();
        if let Some(first) = first_lines.insert(one.record.key(), item.line).filter(|_| !meta.name.is_empty()) {
            let message =
                format!("{} is in this manifest twice, on line {first} and on line {}", one.record.key(), item.line);
            return Err(Failure::new(Reason::BadRequest, message).about(one.record.kind(), &meta.name));
        }
        decoded.push(one);
    }
    Ok(decoded)
}

fn in_document(failure: Failure, line: usize) -> Failure {
    Failure { message: format!("document at line {line}: {}", failure.message), ..failure }
}

/// One object of a stream.
pub(super) struct Item {
    pub(super) value: Value,
    pub(super) line: usize,
    document: usize,
    /// Path of the object within its document: empty, or `items[3]` in a list.
    prefix: String,
}

/// The objects of a stream; a list gives its items.
pub(super) fn flatten(stream: Stream<'_>) -> Result<Vec<Item>, Failure> {
    let text = stream.text;
    let mut items = Vec::new();
    for (document, found) in stream.documents.into_iter().enumerate() {
        let place = Place { text, document, prefix: String::new(), lines: OnceCell::new() };
        flatten_into(
            &mut items,
            Item { value: found.value, line: found.line, document, prefix: String::new() },
            &place,
        )?;
    }
    Ok(items)
}

fn flatten_into(items: &mut Vec<Item>, item: Item, place: &Place<'_>) -> Result<(), Failure> {
    let Value::Object(mut object) = item.value else {
        let shown = validate::shown(&item.value);
        let message =
            format!("document at line {}: an object with apiVersion and kind is needed here, not {shown}", item.line);
        return Err(Failure::new(Reason::BadRequest, message));
    };
    let of = object.get("kind").and_then(Value::as_str).and_then(|kind| kind.strip_suffix("List")).map(String::from);
    let (Some(of), Some(Value::Array(_) | Value::Null)) = (of, object.get("items")) else {
        items.push(Item { value: Value::Object(object), ..item });
        return Ok(());
    };
    let api_version = object.get("apiVersion").cloned();
    let Some(Value::Array(members)) = object.remove("items") else { return Ok(()) };
    for (index, mut value) in members.into_iter().enumerate() {
        if let (Value::Object(member), Some(api_version), false) = (&mut value, &api_version, of.is_empty()) {
            // In a JobList the items need not say that they are Jobs.
            member.entry("apiVersion").or_insert_with(|| api_version.clone());
            member.entry("kind").or_insert_with(|| of.clone().into());
        }
        let path = format!("items[{index}]");
        let prefix = if item.prefix.is_empty() { path } else { format!("{}.{path}", item.prefix) };
        let line = place.line_of(&prefix).unwrap_or(item.line);
        flatten_into(items, Item { value, line, document: item.document, prefix }, place)?;
    }
    Ok(())
}

pub(super) fn request(
    mut value: Value,
    expect: Option<Kind>,
    namespace: &str,
    strictness: Strictness,
) -> Result<Decoded, Failure> {
    yaml::check_bounds(&value)?;
    if let (Value::Object(object), Some(kind)) = (&mut value, expect) {
        // As the API server does: what the path says need not be said again.
        object.entry("apiVersion").or_insert_with(|| kind.api_version().into());
        object.entry("kind").or_insert_with(|| kind.names().kind.into());
    }
    document(value, Want { expect, namespace: Namespace::Exactly(namespace), strictness }, None)
}

#[derive(Clone, Copy)]
struct Want<'a> {
    expect: Option<Kind>,
    namespace: Namespace<'a>,
    strictness: Strictness,
}

#[derive(Clone, Copy)]
enum Namespace<'a> {
    /// For objects that name none.
    Default(&'a str),
    /// An object that names another is refused.
    Exactly(&'a str),
}

fn document(value: Value, want: Want<'_>, place: Option<&Place<'_>>) -> Result<Decoded, Failure> {
    let Value::Object(mut object) = value else {
        let shown = validate::shown(&value);
        return Err(Failure::new(
            Reason::BadRequest,
            format!("an object with apiVersion and kind is needed, not {shown}"),
        ));
    };
    let (kind, api_version) = version::of(&object)?;
    let teller = Teller { kind, api_version: &api_version, place };
    let expected = want.expect.unwrap_or(kind);
    if expected != kind {
        return Err(teller.undecodable(&format!("the request is for {}", expected.resource()), expected));
    }
    let source = Value::Object(object.clone());
    let mut warnings: Vec<String> = convert::to_stable(kind, &api_version, &mut object).into_iter().collect();
    let schema = schema::of(kind).expect("version::of gives only kinds that have a table");
    let (mut object, found) = strict::check(object, schema);
    warnings.extend(teller.strict(&found, want.strictness)?);
    set_namespace(kind, &mut object, want.namespace)?;
    defaults::fill(kind, &mut object);
    let mut causes = found.refused;
    causes.extend(validate::check(kind, &object));
    if !causes.is_empty() {
        return Err(teller.invalid(&object, causes));
    }
    warnings.extend(validate::warnings(kind, &object));
    let record = build::record(kind, object).map_err(|cause| teller.invalid(&Map::new(), vec![cause]))?;
    Ok(Decoded { record, warnings, source })
}

/// The namespace goes into the metadata of kinds that have one.
fn set_namespace(kind: Kind, object: &mut Map<String, Value>, namespace: Namespace<'_>) -> Result<(), Failure> {
    let meta = object.entry("metadata").or_insert_with(|| Map::new().into());
    let Some(meta) = meta.as_object_mut().filter(|_| kind.names().namespaced) else { return Ok(()) };
    let named = meta.get("namespace").and_then(Value::as_str).unwrap_or_default();
    let wanted = match namespace {
        Namespace::Default(wanted) | Namespace::Exactly(wanted) if named.is_empty() => wanted,
        Namespace::Exactly(wanted) if wanted != named => {
            let message = "the namespace of the provided object does not match the namespace sent on the request";
            return Err(Failure::new(Reason::BadRequest, message));
        }
        Namespace::Default(_) | Namespace::Exactly(_) => return Ok(()),
    };
    meta.insert("namespace".into(), wanted.into());
    Ok(())
}

/// Where a document stands in its text.
struct Place<'a> {
    text: &'a str,
    document: usize,
    prefix: String,
    /// Found when the first error asks for a line.
    lines: OnceCell<Option<Lines>>,
}

impl Place<'_> {
    fn line(&self, field: &str) -> Option<usize> {
        let dot = if self.prefix.is_empty() || field.is_empty() { "" } else { "." };
        self.line_of(&format!("{}{dot}{field}", self.prefix))
    }

    fn line_of(&self, path: &str) -> Option<usize> {
        let lines = self.lines.get_or_init(|| yaml::lines(self.text, self.document)).as_ref()?;
        Some(lines.of(path)).filter(|line| *line > 0)
    }
}

/// Says what is wrong with one document.
struct Teller<'a> {
    kind: Kind,
    api_version: &'a str,
    place: Option<&'a Place<'a>>,
}

impl Teller<'_> {
    /// Wrong types always fail; unknown fields as `strictness` says: gives the warnings.
    fn strict(&self, found: &Found, strictness: Strictness) -> Result<Vec<String>, Failure> {
        if let Some(mismatch) = &found.mismatch {
            return Err(self.mismatch(mismatch));
        }
        let told = || found.unknown.iter().take(FAULTS_MAX).map(|unknown| self.unknown(unknown));
        match strictness {
            Strictness::Strict if !found.unknown.is_empty() => {
                let list = told().collect::<Vec<_>>().join(", ");
                Err(self.undecodable(&format!("strict decoding error: {list}"), self.kind))
            }
            Strictness::Warn => Ok(told().collect()),
            Strictness::Strict | Strictness::Ignore => Ok(Vec::new()),
        }
    }

    /// `unknown field "spec.imag" (line 7, did you mean "image"?)`
    fn unknown(&self, unknown: &Unknown) -> String {
        let line = self.line(&unknown.path);
        let meant = unknown.meant.map(|name| format!("did you mean {name:?}?"));
        format!("unknown field \"{}\"{}", cut(&unknown.path), in_brackets([line, meant, None]))
    }

    fn mismatch(&self, mismatch: &Mismatch) -> Failure {
        let path = (!mismatch.text.contains(&mismatch.path)).then(|| cut(&mismatch.path));
        // `yes`, `n` and `5` are no texts to YAML 1.1.
        let is_scalar =
            ["unmarshal bool into", "unmarshal number into"].iter().any(|what| mismatch.text.contains(what));
        let quote = is_scalar && mismatch.text.ends_with("of type string");
        let hint = quote.then(|| "put it in quotes to make it a text".to_string());
        let remarks = in_brackets([path, self.line(&mismatch.path), hint]);
        self.undecodable(&format!("{}{remarks}", cut(&mismatch.text)), self.kind)
    }

    fn undecodable(&self, what: &str, expected: Kind) -> Failure {
        let (kind, version) = (self.kind, self.api_version.rsplit('/').next().unwrap_or_default());
        let message = format!("{kind} in version {version:?} cannot be handled as a {expected}: {what}");
        Failure::new(Reason::BadRequest, message)
    }

    /// 422; lines are told in the message alone, the causes stay as Kubernetes' clients know them.
    fn invalid(&self, object: &Map<String, Value>, mut causes: Vec<Cause>) -> Failure {
        causes.truncate(FAULTS_MAX);
        let meta = object.get("metadata");
        let text = |field| meta.and_then(|m| m.get(field)).and_then(Value::as_str).filter(|text| !text.is_empty());
        let name = cut(text("name").or_else(|| text("generateName")).unwrap_or_default());
        let lined = |cause: &Cause| Cause {
            message: format!("{}{}", cause.message, in_brackets([self.line(&cause.field), None, None])),
            ..cause.clone()
        };
        let message = Failure::invalid(self.kind, &name, causes.iter().map(lined).collect()).message;
        Failure { message, ..Failure::invalid(self.kind, &name, causes) }
    }

    fn line(&self, field: &str) -> Option<String> {
        self.place?.line(field).map(|line| format!("line {line}"))
    }
}

/// ` (a, b)`, or nothing when all are none.
fn in_brackets(remarks: [Option<String>; 3]) -> String {
    let remarks: Vec<String> = remarks.into_iter().flatten().collect();
    if remarks.is_empty() { String::new() } else { format!(" ({})", remarks.join(", ")) }
}
