//! Whether the values of a document make sense, in the API server's words. Types were checked before (`strict`), so a
//! field is absent or of its type. Collects every wrong field, in the order in which Kubernetes looks.

mod affinity;
mod container;
mod data;
mod meta;
mod names;
mod pod;
mod security;
mod volume;
mod workload;

use std::fmt;

use serde_json::{Map, Value};

use crate::model::{Cause, Kind};

/// Letters of a value or path that an error message shows.
const SHOWN_MAX: usize = 300;

static ABSENT: Value = Value::Null;

/// Everything that is wrong with a document whose defaults are filled in.
pub(super) fn check(kind: Kind, object: &Map<String, Value>) -> Vec<Cause> {
    let mut wrong = Vec::new();
    let at = |field: &str| At { path: field.to_string(), value: object.get(field).unwrap_or(&ABSENT) };
    let (meta, spec) = (at("metadata"), at("spec"));
    meta::object(&mut wrong, kind, &meta);
    match kind {
        Kind::Pod => pod::spec(&mut wrong, &spec),
        Kind::Job => workload::job(&mut wrong, &spec),
        Kind::CronJob => workload::cron_job(&mut wrong, &spec),
        Kind::DaemonSet => workload::daemon_set(&mut wrong, &spec),
        Kind::ConfigMap => data::config_map(&mut wrong, &at("data"), &at("binaryData")),
        Kind::Secret => data::secret(&mut wrong, &at("data")),
        Kind::Node => data::node(&mut wrong, &spec),
        Kind::Image => data::image(&mut wrong, &meta, &spec),
        Kind::Namespace | Kind::ControllerRevision | Kind::Event | Kind::Set | Kind::Ack => {}
    }
    wrong
}

/// What is taken though it is probably not what was meant.
pub(super) fn warnings(kind: Kind, object: &Map<String, Value>) -> Vec<String> {
    let spec = At { path: "spec".to_string(), value: object.get("spec").unwrap_or(&ABSENT) };
    let pod = match kind {
        Kind::Pod => spec,
        Kind::Job | Kind::DaemonSet => spec.get("template").get("spec"),
        Kind::CronJob => spec.get("jobTemplate").get("spec").get("template").get("spec"),
        Kind::Namespace | Kind::Node | Kind::ConfigMap | Kind::Secret | Kind::Image => return Vec::new(),
        Kind::ControllerRevision | Kind::Event | Kind::Set | Kind::Ack => return Vec::new(),
    };
    pod::warnings(&pod)
}

/// A place in a document: its path and what is there.
#[derive(Clone)]
struct At<'a> {
    path: String,
    value: &'a Value,
}

impl<'a> At<'a> {
    fn get(&self, field: &str) -> At<'a> {
        At { path: format!("{}.{field}", self.path), value: self.value.get(field).unwrap_or(&ABSENT) }
    }

    fn is_absent(&self) -> bool {
        self.value.is_null()
    }

    fn text(&self) -> Option<&'a str> {
        self.value.as_str()
    }

    /// The text, where an absent and an empty one mean the same.
    fn filled(&self) -> Option<&'a str> {
        self.text().filter(|text| !text.is_empty())
    }

    fn int(&self) -> Option<i64> {
        self.value.as_i64()
    }

    fn is_true(&self) -> bool {
        self.value.as_bool() == Some(true)
    }

    /// The elements of a list, with `[0]` and so on in their paths.
    fn items(&self) -> impl Iterator<Item = At<'a>> + use<'a> {
        let path = self.path.clone();
        let items = self.value.as_array().map(Vec::as_slice).unwrap_or_default();
        items.iter().enumerate().map(move |(i, value)| At { path: format!("{path}[{i}]"), value })
    }

    /// The entries of a map, with `[key]` in their paths.
    fn entries(&self) -> impl Iterator<Item = (&'a str, At<'a>)> + use<'a> {
        let path = self.path.clone();
        let entries = self.value.as_object().into_iter().flatten();
        entries.map(move |(key, value)| (key.as_str(), At { path: format!("{path}[{}]", cut(key)), value }))
    }

    fn count(&self) -> usize {
        match self.value {
            Value::Array(items) => items.len(),
            Value::Object(fields) => fields.len(),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
        }
    }

    fn required(&self, detail: &str) -> Cause {
        Cause::required(self.path.clone(), detail)
    }

    fn invalid(&self, detail: &str) -> Cause {
        self.invalid_as(self.value, detail)
    }

    /// Invalid because of another value than what is at this place.
    fn invalid_as(&self, value: &Value, detail: &str) -> Cause {
        Cause::invalid(self.path.clone(), shown(value), detail)
    }

    fn forbidden(&self, detail: &str) -> Cause {
        Cause::forbidden(self.path.clone(), detail)
    }

    fn duplicate(&self, value: &Value) -> Cause {
        Cause::duplicate(self.path.clone(), shown(value))
    }

    fn too_long(&self, bytes_max: usize) -> Cause {
        Cause {
            reason: "FieldValueTooLong".into(),
            message: format!("Too long: may not be more than {bytes_max} bytes"),
            field: self.path.clone(),
        }
    }

    /// An absent value passes; a required one is asked for by the caller.
    fn one_of(&self, wrong: &mut Vec<Cause>, supported: &[&str]) {
        if let Some(text) = self.text().filter(|text| !supported.contains(text)) {
            wrong.push(Cause::unsupported(self.path.clone(), &cut(text), supported));
        }
    }

    fn not_negative(&self, wrong: &mut Vec<Cause>) {
        if self.int().is_some_and(|n| n < 0) {
            wrong.push(self.invalid("must be greater than or equal to 0"));
        }
    }

    fn between(&self, wrong: &mut Vec<Cause>, min: i64, max: i64) {
        if self.int().is_some_and(|n| !(min..=max).contains(&n)) {
            wrong.push(self.invalid(&format!("must be between {min} and {max}, inclusive")));
        }
    }

    /// One cause for each rule that the text at this place breaks.
    fn all(&self, wrong: &mut Vec<Cause>, broken: Vec<String>) {
        wrong.extend(broken.iter().map(|rule| self.invalid(rule)));
    }
}

/// A value as JSON, cut where it is long.
pub(super) fn shown(value: &Value) -> String {
    cut(&value.to_string())
}

pub(super) fn cut(text: &str) -> String {
    match text.char_indices().nth(SHOWN_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_string(),
    }
}

impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path)
    }
}
