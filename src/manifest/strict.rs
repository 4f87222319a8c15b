//! Holds a document against its table: unknown fields, wrong types, fields that pinnace does not do. Gives back the
//! document with nulls and server-side fields gone and numbers in one form. Knows no rule about values.

use base64::Engine as _;
use serde_json::{Map, Value};

use crate::model::{Cause, Quantity};

use super::schema::{Field, Schema, Shape, Standing};

pub(super) const NOT_SUPPORTED: &str = "not supported by pinnace";

/// What was found wrong, in the order of the document.
#[derive(Default)]
pub(super) struct Found {
    pub(super) unknown: Vec<Unknown>,
    /// Fields that pinnace does not do.
    pub(super) refused: Vec<Cause>,
    /// The first value that has another type than its field.
    pub(super) mismatch: Option<Mismatch>,
}

pub(super) struct Unknown {
    pub(super) path: String,
    pub(super) meant: Option<&'static str>,
}

pub(super) struct Mismatch {
    pub(super) path: String,
    pub(super) text: String,
}

pub(super) fn check(document: Map<String, Value>, schema: &'static Schema) -> (Map<String, Value>, Found) {
    let mut walk = Walk { path: String::new(), owner: schema.go, found: Found::default() };
    let document = walk.fields(document, schema);
    (document, walk.found)
}

struct Walk {
    path: String,
    /// The type that the field at hand belongs to.
    owner: &'static str,
    found: Found,
}

impl Walk {
    fn fields(&mut self, fields: Map<String, Value>, schema: &'static Schema) -> Map<String, Value> {
        let mut kept = Map::new();
        for (name, value) in fields {
            let outer = self.enter(&name);
            let owner = std::mem::replace(&mut self.owner, schema.go);
            match schema.field(&name) {
                Some(field) => kept.extend(self.field(field, value).map(|value| (name, value))),
                None => self.found.unknown.push(Unknown { path: self.path.clone(), meant: meant(&name, schema) }),
            }
            self.owner = owner;
            self.path.truncate(outer);
        }
        kept
    }

    /// The value to keep of a field. Null is the same as absence, everywhere in Kubernetes.
    fn field(&mut self, field: &Field, value: Value) -> Option<Value> {
        if value.is_null() {
            return None;
        }
        match field.standing {
            Standing::Done | Standing::Idle => Some(self.value(value, &field.shape)),
            Standing::Only(taken) => {
                let value = self.value(value, &field.shape);
                if !is_empty(&value) && !taken.contains(&value.to_string().as_str()) {
                    let detail = format!("{NOT_SUPPORTED} with another value than {}", taken.join(" or "));
                    self.found.refused.push(Cause::forbidden(self.path.clone(), &detail));
                }
                Some(value)
            }
            Standing::Refused => {
                if !is_empty(&value) {
                    self.found.refused.push(Cause::forbidden(self.path.clone(), NOT_SUPPORTED));
                }
                None
            }
            Standing::Never => {
                self.found.refused.push(Cause::forbidden(self.path.clone(), NOT_SUPPORTED));
                None
            }
            Standing::Dropped => None,
        }
    }

    fn value(&mut self, value: Value, shape: &Shape) -> Value {
        match (shape, value) {
            (Shape::Any, value) => value,
            (shape, Value::Null) => zero(shape),
            (Shape::Text, Value::String(text)) => Value::String(text),
            (Shape::Bool, Value::Bool(yes)) => Value::Bool(yes),
            (Shape::Int32, Value::Number(number)) => {
                self.whole(&number, shape, i64::from(i32::MIN), i64::from(i32::MAX))
            }
            (Shape::Int64, Value::Number(number)) => self.whole(&number, shape, i64::MIN, i64::MAX),
            (Shape::IntOrText, Value::Number(number)) => {
                self.whole(&number, shape, i64::from(i32::MIN), i64::from(i32::MAX))
            }
            (Shape::IntOrText, Value::String(text)) => Value::String(text),
            (Shape::Amount, value @ (Value::Number(_) | Value::String(_))) => self.amount(value),
            (Shape::Bytes, Value::String(text)) => self.bytes(&text),
            (Shape::List(of), Value::Array(items)) => self.items(items, of),
            (Shape::Map(of), Value::Object(entries)) => self.entries(entries, of),
            (Shape::Object(schema), Value::Object(fields)) => Value::Object(self.fields(fields, schema)),
            (shape, value) => self.mismatch(described(&value), shape),
        }
    }

    fn items(&mut self, items: Vec<Value>, of: &Shape) -> Value {
        let check = |(index, item)| {
            let outer = self.path.len();
            self.path.push_str(&format!("[{index}]"));
            let item = self.value(item, of);
            self.path.truncate(outer);
            item
        };
        Value::Array(items.into_iter().enumerate().map(check).collect())
    }

    fn entries(&mut self, entries: Map<String, Value>, of: &Shape) -> Value {
        let check = |(key, entry): (String, Value)| {
            let outer = self.path.len();
            self.path.push_str(&format!("[{key}]"));
            let entry = self.value(entry, of);
            self.path.truncate(outer);
            (key, entry)
        };
        Value::Object(entries.into_iter().map(check).collect())
    }

    /// A whole number in range; `5.0` is 5, as it is on kubectl's way from YAML to JSON.
    #[expect(clippy::cast_possible_truncation, reason = "whole and within i64 by the conditions before it")]
    fn whole(&mut self, number: &serde_json::Number, shape: &Shape, min: i64, max: i64) -> Value {
        let exact = number.as_i64();
        let float = number.as_f64().filter(|f| f.fract() == 0.0 && f.abs() < 9.0e15).map(|f| f as i64);
        match exact.or(float).filter(|n| (min..=max).contains(n)) {
            Some(n) => Value::from(n),
            None => self.mismatch(format!("number {number}"), shape),
        }
    }

    fn amount(&mut self, value: Value) -> Value {
        let text = value.as_str().map_or_else(|| value.to_string(), String::from);
        if let Err(why) = Quantity::parse(&text) {
            self.wrong(why);
        }
        value
    }

    /// Base64 as Go reads it: line breaks within are passed over. Kept without them.
    fn bytes(&mut self, text: &str) -> Value {
        let text: String = text.chars().filter(|c| !matches!(c, '\r' | '\n')).collect();
        if let Err(why) = base64::engine::general_purpose::STANDARD.decode(&text) {
            let at = match why {
                base64::DecodeError::InvalidByte(at, _) => at,
                base64::DecodeError::InvalidLastSymbol { offset, .. } => offset,
                _ => text.len(),
            };
            self.wrong(format!("illegal base64 data at input byte {at}"));
        }
        Value::String(text)
    }

    fn mismatch(&mut self, found: String, shape: &Shape) -> Value {
        let field = without_indexes(&self.path);
        let wanted = go_type(shape);
        let owner = self.owner;
        self.wrong(format!("json: cannot unmarshal {found} into Go struct field {owner}.{field} of type {wanted}"));
        zero(shape)
    }

    fn wrong(&mut self, text: String) {
        if self.found.mismatch.is_none() {
            self.found.mismatch = Some(Mismatch { path: self.path.clone(), text });
        }
    }

    /// Adds a field's name to the path; gives the length to cut it back to.
    fn enter(&mut self, name: &str) -> usize {
        let outer = self.path.len();
        if outer > 0 {
            self.path.push('.');
        }
        self.path.push_str(name);
        outer
    }
}

/// Asks for nothing: Kubernetes leaves such values out when it writes.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

/// What Go makes of a null within a list or map.
fn zero(shape: &Shape) -> Value {
    match shape {
        Shape::Text | Shape::Bytes => Value::String(String::new()),
        Shape::Bool => Value::Bool(false),
        Shape::Int32 | Shape::Int64 | Shape::IntOrText => Value::from(0),
        Shape::Amount => Value::String("0".into()),
        Shape::List(_) => Value::Array(Vec::new()),
        Shape::Map(_) | Shape::Object(_) => Value::Object(Map::new()),
        Shape::Any => Value::Null,
    }
}

fn described(value: &Value) -> String {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
    .to_string()
}

fn go_type(shape: &Shape) -> String {
    match shape {
        Shape::Text => "string".into(),
        Shape::Bool => "bool".into(),
        Shape::Int32 => "int32".into(),
        Shape::Int64 => "int64".into(),
        Shape::IntOrText => "intstr.IntOrString".into(),
        Shape::Amount => "resource.Quantity".into(),
        Shape::Bytes => "[]uint8".into(),
        Shape::List(of) => format!("[]{}", go_type(of)),
        Shape::Map(of) => format!("map[string]{}", go_type(of)),
        Shape::Object(schema) => format!("v1.{}", schema.go),
        Shape::Any => "interface {}".into(),
    }
}

/// Go names a field by its path without the indexes: `spec.containers.name`.
fn without_indexes(path: &str) -> String {
    let mut depth = 0;
    let outside = |c: &char| {
        match c {
            '[' => depth += 1,
            ']' => depth -= 1,
            _ => return depth == 0,
        }
        false
    };
    path.chars().filter(outside).collect()
}

/// The field that a writer probably meant: at most a third of its letters differ.
fn meant(name: &str, schema: &Schema) -> Option<&'static str> {
    if name.len() > 64 {
        return None;
    }
    let distance = |known: &str| strsim::damerau_levenshtein(&name.to_lowercase(), &known.to_lowercase());
    let nearest = schema.taken().min_by_key(|known| distance(known))?;
    (distance(nearest) * 3 <= nearest.len()).then_some(nearest)
}
