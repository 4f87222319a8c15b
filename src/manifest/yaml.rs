//! Text to JSON values: YAML as kubectl reads it (YAML 1.1 words and octal, merge keys), or JSON; bounded, and with the
//! line of any field. The only file that knows the YAML crate; it knows no object.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use serde_yaml::{MessageFormatter, NonFiniteFloatPolicy, Options, Spanned, UserMessageFormatter};

use crate::model::{Failure, Reason};

use super::validate::cut;

/// Bytes of one stream.
pub const BYTES_MAX: usize = 1024 * 1024;
/// Values of one stream: objects, lists and scalars.
pub const NODES_MAX: usize = 50_000;
/// Objects and lists within each other.
pub const DEPTH_MAX: usize = 64;
const DOCUMENTS_MAX: usize = 1000;
const ANCHORS_MAX: usize = 64;
/// Values that aliases may repeat.
const REPEATS_MAX: usize = 10_000;

/// A stream that could be read.
pub(super) struct Stream<'a> {
    pub(super) text: &'a str,
    pub(super) documents: Vec<Document>,
}

pub(super) struct Document {
    pub(super) value: Value,
    /// From 1.
    pub(super) line: usize,
}

/// Reads every document that has content.
pub(super) fn read(bytes: &[u8]) -> Result<Stream<'_>, Failure> {
    if bytes.len() > BYTES_MAX {
        let message = format!(
            "the manifest is {} bytes long, the most that is taken is {BYTES_MAX}: split it, or give large content by reference",
            bytes.len()
        );
        return Err(Failure::new(Reason::RequestEntityTooLarge, message));
    }
    let text = std::str::from_utf8(bytes).map_err(|e| not_text(bytes, e.valid_up_to(), "is not UTF-8"))?;
    if let Some(at) = text.find('\0') {
        return Err(not_text(bytes, at, "is NUL: the file is not text"));
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let documents = if text.trim_start().starts_with('{') { read_json(text)? } else { read_yaml(text)? };
    Ok(Stream { text, documents })
}

fn not_text(bytes: &[u8], at: usize, why: &str) -> Failure {
    let line = bytes[..at].iter().filter(|b| **b == b'\n').count() + 1;
    Failure::new(Reason::BadRequest, format!("error reading the manifest: line {line}: byte {at} {why}"))
}

/// Like kubectl: what begins with a brace is JSON, or else YAML in flow style.
fn read_json(text: &str) -> Result<Vec<Document>, Failure> {
    let mut stream = serde_json::Deserializer::from_str(text).into_iter::<Unique>();
    let (mut documents, mut nodes) = (Vec::new(), 0);
    loop {
        let start = stream.byte_offset();
        match stream.next() {
            None => return Ok(documents),
            Some(Ok(Unique(value))) => {
                count(&value, 1, &mut nodes)?;
                if !value.is_null() {
                    documents.push(Document { value, line: json_line(text, start) });
                }
            }
            Some(Err(json)) => {
                let failure = unreadable(&at_place("json", json.line(), json.column(), &plain(&json.to_string())));
                return read_yaml(text).map_err(|yaml| if yaml.message.contains(LIMIT) { yaml } else { failure });
            }
        }
        if documents.len() > DOCUMENTS_MAX {
            return Err(too_much("documents", DOCUMENTS_MAX));
        }
    }
}

/// The line of the first character after `start` that is not blank.
fn json_line(text: &str, start: usize) -> usize {
    let blank = text[start..].len() - text[start..].trim_start().len();
    text[..start + blank].matches('\n').count() + 1
}

/// Refuses a value beyond the bounds that a text has.
pub(super) fn check_bounds(value: &Value) -> Result<(), Failure> {
    count(value, 1, &mut 0)
}

/// Nodes and depth of a JSON value; the JSON parser itself stops at a depth of 128.
fn count(value: &Value, depth: usize, nodes: &mut usize) -> Result<(), Failure> {
    *nodes += 1;
    if *nodes > NODES_MAX {
        return Err(too_much("values", NODES_MAX));
    }
    if depth > DEPTH_MAX {
        return Err(too_much("levels of nesting", DEPTH_MAX));
    }
    match value {
        Value::Array(items) => items.iter().try_for_each(|item| count(item, depth + 1, nodes)),
        Value::Object(fields) => fields.values().try_for_each(|field| count(field, depth + 1, nodes)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Ok(()),
    }
}

const LIMIT: &str = "the most that is taken";

fn too_much(what: &str, bound: usize) -> Failure {
    Failure::new(Reason::BadRequest, format!("error reading the manifest: too many {what}, {LIMIT} is {bound}"))
}

fn read_yaml(text: &str) -> Result<Vec<Document>, Failure> {
    let documents: Vec<Spanned<Value>> = parse(text).map_err(|what| unreadable(&what))?;
    Ok(documents.into_iter().map(|d| Document { line: line(d.referenced), value: d.value }).collect())
}

/// The only document of a text that is no manifest; null where it has none.
///
/// # Errors
/// What is wrong, with its line.
pub fn read_settings(text: &str) -> Result<Value, String> {
    let mut documents: Vec<Value> = parse(text)?;
    match documents.len() {
        0 => Ok(Value::Null),
        1 => Ok(documents.remove(0)),
        many => Err(format!("yaml: it has {many} documents, one is possible")),
    }
}

fn parse<'a, T: Deserialize<'a>>(text: &'a str) -> Result<Vec<T>, String> {
    serde_yaml::from_multiple_with_options(text, options()).map_err(|e| told(&e))
}

fn options() -> Options {
    serde_yaml::options! {
        budget: serde_yaml::budget! {
            max_depth: DEPTH_MAX,
            flow_nesting_limit: DEPTH_MAX + 1,
            max_nodes: NODES_MAX,
            max_documents: DOCUMENTS_MAX,
            max_anchors: ANCHORS_MAX,
            max_aliases: REPEATS_MAX,
            max_merge_keys: 1000,
        },
        alias_limits: serde_yaml::alias_limits! { max_total_replayed_events: REPEATS_MAX, max_replay_stack_depth: 16 },
        // `defaultMode: 0644` means 420 to kubectl.
        legacy_octal_numbers: true,
        non_finite_float_policy: NonFiniteFloatPolicy::Reject,
        with_snippet: false,
    }
}

fn told(error: &serde_yaml::Error) -> String {
    // Not by `render` or `Display`: these can also draw the lines around the place, and what does that is large.
    let mut text = plain(&UserMessageFormatter.format_message(error));
    // The two ways in which the crate says that a bound was met.
    if text.contains("too large or too complex") || text.contains("recursion limit") {
        text = format!(
            "too large or too deeply nested, {LIMIT} is {NODES_MAX} values, {DEPTH_MAX} levels, {DOCUMENTS_MAX} documents, \
             {ANCHORS_MAX} anchors and {REPEATS_MAX} values repeated by aliases"
        );
    }
    match error.location() {
        Some(at) if at.line() > 0 => at_place("yaml", line(at), usize::try_from(at.column()).unwrap_or(0), &text),
        _ => format!("yaml: {}", cut(&text)),
    }
}

fn unreadable(what: &str) -> Failure {
    Failure::new(Reason::BadRequest, format!("error reading the manifest: {what}"))
}

/// A parser may quote a key of a megabyte.
fn at_place(language: &str, line: usize, column: usize, what: &str) -> String {
    format!("{language}: line {line}, column {column}: {}", cut(what))
}

/// A parser's message without the place at its end, which is said in our own words, and on one line.
fn plain(text: &str) -> String {
    let text = text.replace(char::is_control, " ");
    let end = text.rfind(" at line ").unwrap_or(text.len());
    text[..end].trim_end().to_string()
}

fn line(at: serde_yaml::Location) -> usize {
    usize::try_from(at.line()).unwrap_or(0)
}

/// Lines of the fields of one document.
pub(super) struct Lines(Located);

/// The lines of a stream's n-th document; none where the text is no YAML (several JSON documents).
pub(super) fn lines(text: &str, document: usize) -> Option<Lines> {
    parse::<Located>(text).ok()?.into_iter().nth(document).map(Lines)
}

impl Lines {
    /// The line of a field: `spec.containers[0].name`, `metadata.labels[app]`. Where the field is missing, that of the
    /// innermost object that should have it.
    pub(super) fn of(&self, path: &str) -> usize {
        let (mut node, mut at, mut rest) = (&self.0, self.0.line, path);
        while let Some((line, child, after)) = node.step(rest) {
            (node, at, rest) = (child, line, after);
        }
        at
    }
}

struct Located {
    line: usize,
    tree: Tree,
}

enum Tree {
    Leaf,
    List(Vec<Located>),
    /// Name, its line, value.
    Map(Vec<(String, usize, Located)>),
}

impl Located {
    /// One step along a path: the child's line, the child, and what is left of the path.
    fn step<'a, 'p>(&'a self, path: &'p str) -> Option<(usize, &'a Located, &'p str)> {
        let path = path.strip_prefix('.').unwrap_or(path);
        match &self.tree {
            Tree::Leaf => None,
            Tree::List(items) => {
                let (index, rest) = path.strip_prefix('[')?.split_once(']')?;
                let item = items.get(index.parse::<usize>().ok()?)?;
                Some((item.line, item, rest))
            }
            Tree::Map(fields) => fields.iter().find_map(|(name, line, child)| {
                let rest = match path.strip_prefix('[') {
                    Some(inner) => inner.strip_prefix(name.as_str())?.strip_prefix(']')?,
                    None => path.strip_prefix(name.as_str())?,
                };
                (rest.is_empty() || rest.starts_with(['.', '['])).then_some((*line, child, rest))
            }),
        }
    }
}

impl<'de> Deserialize<'de> for Located {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Located, D::Error> {
        let spanned = Spanned::<Tree>::deserialize(d)?;
        Ok(Located { line: line(spanned.referenced), tree: spanned.value })
    }
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Tree, D::Error> {
        d.deserialize_any(TreeVisitor)
    }
}

struct TreeVisitor;

impl<'de> Visitor<'de> for TreeVisitor {
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Tree, E> {
        Ok(Tree::Leaf)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Tree, E> {
        Ok(Tree::Leaf)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Tree, E> {
        Ok(Tree::Leaf)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Tree, E> {
        Ok(Tree::Leaf)
    }

    fn visit_str<E>(self, _: &str) -> Result<Tree, E> {
        Ok(Tree::Leaf)
    }

    fn visit_unit<E>(self) -> Result<Tree, E> {
        Ok(Tree::Leaf)
    }

    fn visit_none<E>(self) -> Result<Tree, E> {
        Ok(Tree::Leaf)
    }

    fn visit_some<D: Deserializer<'de>>(self, d: D) -> Result<Tree, D::Error> {
        Tree::deserialize(d)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Tree, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element::<Located>()? {
            list.push(item);
        }
        Ok(Tree::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Tree, A::Error> {
        let mut map = Vec::new();
        while let Some((name, value)) = fields.next_entry::<Spanned<String>, Located>()? {
            map.push((name.value, line(name.referenced), value));
        }
        Ok(Tree::Map(map))
    }
}

/// A JSON value in which no object has a key twice; serde_json alone would let the last one win.
struct Unique(Value);

impl<'de> Deserialize<'de> for Unique {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Unique, D::Error> {
        d.deserialize_any(UniqueVisitor).map(Unique)
    }
}

struct UniqueVisitor;

impl<'de> Visitor<'de> for UniqueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_bool<E>(self, v: bool) -> Result<Value, E> {
        Ok(v.into())
    }

    fn visit_i64<E>(self, v: i64) -> Result<Value, E> {
        Ok(v.into())
    }

    fn visit_u64<E>(self, v: u64) -> Result<Value, E> {
        Ok(v.into())
    }

    fn visit_f64<E>(self, v: f64) -> Result<Value, E> {
        Ok(v.into())
    }

    fn visit_str<E>(self, v: &str) -> Result<Value, E> {
        Ok(v.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(Unique(item)) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some((key, Unique(value))) = fields.next_entry::<String, Unique>()? {
            if map.insert(key.clone(), value).is_some() {
                return Err(serde::de::Error::custom(format!("duplicate field {key:?}")));
            }
        }
        Ok(Value::Object(map))
    }
}
