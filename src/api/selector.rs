//! Label and field selectors as Kubernetes writes them in a query.

use crate::model::meta::{Operator, Requirement};
use crate::model::{Failure, Kind, Reason, Record, Selector, State};

/// `a=b`, `a==b`, `a!=b`, `a in (x, y)`, `a notin (x)`, `a`, `!a`, `a>1`, `a<1`, joined by commas.
/// Source: `apimachinery/pkg/labels/selector.go`.
///
/// # Errors
/// `BadRequest` with the text and what was expected.
pub fn labels(text: &str) -> Result<Selector, Failure> {
    let mut parser = Parser { rest: text.trim_start() };
    let mut match_expressions = Vec::new();
    if !parser.rest.is_empty() {
        loop {
            let one = parser.requirement();
            match_expressions.push(one.map_err(|why| bad_labels(text, &why))?);
            match parser.token() {
                "" => break,
                "," => {}
                found => return Err(bad_labels(text, &format!("found '{found}', expected: ',' or 'end of string'"))),
            }
        }
    }
    Ok(Selector { match_expressions, ..Selector::default() })
}

fn bad_labels(text: &str, why: &str) -> Failure {
    Failure::new(Reason::BadRequest, format!("unable to parse requirement in label selector {text:?}: {why}"))
}

struct Parser<'a> {
    rest: &'a str,
}

/// Every operator and bracket is a token; all else up to one of these, a comma or a space is a word.
const SPECIAL: [char; 7] = ['=', '!', '(', ')', ',', '<', '>'];

impl<'a> Parser<'a> {
    /// The next token; empty at the end.
    fn token(&mut self) -> &'a str {
        let end = match self.rest.chars().next() {
            None => 0,
            Some('=' | '!') if self.rest[1..].starts_with('=') => 2,
            Some(c) if SPECIAL.contains(&c) => 1,
            Some(_) => self.rest.find(|c: char| c.is_whitespace() || SPECIAL.contains(&c)).unwrap_or(self.rest.len()),
        };
        let (token, rest) = self.rest.split_at(end);
        self.rest = rest.trim_start();
        token
    }

    fn peek(&self) -> &'a str {
        Parser { rest: self.rest }.token()
    }

    fn requirement(&mut self) -> Result<Requirement, String> {
        let key = match self.token() {
            "!" => {
                let key = checked_key(self.token())?;
                return Ok(Requirement { key, operator: Operator::DoesNotExist, values: Vec::new() });
            }
            key => checked_key(key)?,
        };
        if matches!(self.peek(), "" | ",") {
            return Ok(Requirement { key, operator: Operator::Exists, values: Vec::new() });
        }
        let (operator, values) = match self.token() {
            "=" | "==" => (Operator::In, vec![self.value()?]),
            "!=" => (Operator::NotIn, vec![self.value()?]),
            "in" => (Operator::In, self.values()?),
            "notin" => (Operator::NotIn, self.values()?),
            ">" => (Operator::Gt, vec![self.number()?]),
            "<" => (Operator::Lt, vec![self.number()?]),
            found => return Err(format!("found '{found}', expected: in, notin, =, ==, !=, gt, lt")),
        };
        Ok(Requirement { key, operator, values })
    }

    /// A value may be empty: `a=` and `a=,b`.
    fn value(&mut self) -> Result<String, String> {
        let word = if matches!(self.peek(), "" | "," | ")") { "" } else { self.token() };
        if is_label_value(word) { Ok(word.to_string()) } else { Err(format!("{word:?} is not a valid label value")) }
    }

    fn number(&mut self) -> Result<String, String> {
        let word = self.token();
        word.parse::<i64>().map(|_| word.to_string()).map_err(|_| format!("{word:?} must be a whole number"))
    }

    fn values(&mut self) -> Result<Vec<String>, String> {
        match self.token() {
            "(" => {}
            found => return Err(format!("found '{found}', expected: '('")),
        }
        let mut values = Vec::new();
        loop {
            values.push(self.value()?);
            match self.token() {
                "," => {}
                ")" => return Ok(values),
                found => return Err(format!("found '{found}', expected: ',' or ')'")),
            }
        }
    }
}

fn checked_key(key: &str) -> Result<String, String> {
    let (prefix, name) = key.split_once('/').map_or((None, key), |(prefix, name)| (Some(prefix), name));
    let prefix_fits = prefix.is_none_or(|p| !p.is_empty() && p.len() <= 253 && is_label_text(p));
    if !name.is_empty() && is_label_value(name) && prefix_fits {
        Ok(key.to_string())
    } else {
        Err(format!("found '{key}', expected: a label's name"))
    }
}

fn is_label_value(text: &str) -> bool {
    text.len() <= 63 && (text.is_empty() || is_label_text(text))
}

fn is_label_text(text: &str) -> bool {
    let ends_fit =
        text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.ends_with(|c: char| c.is_ascii_alphanumeric());
    ends_fit && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
}

/// `status.phase=Running,metadata.name!=x`: all must hold.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Fields(Vec<Term>);

#[derive(Debug, Clone, PartialEq)]
struct Term {
    field: String,
    value: String,
    equal: bool,
}

/// Source: `apimachinery/pkg/fields/selector.go`; which fields a kind has: `pkg/apis/*/v1/conversion.go`.
///
/// # Errors
/// `BadRequest` for broken grammar and for a field that the kind cannot be selected by.
pub fn fields(text: &str, kind: Kind) -> Result<Fields, Failure> {
    let mut terms = Vec::new();
    for part in split_unescaped(text).into_iter().filter(|part| !part.is_empty()) {
        let term = term(part).ok_or_else(|| {
            Failure::new(
                Reason::BadRequest,
                format!("invalid field selector {part:?}: expected FIELD=VALUE or FIELD!=VALUE"),
            )
        })?;
        if !known_fields(kind).contains(&term.field.as_str()) {
            let resource = kind.resource();
            return Err(Failure::new(
                Reason::BadRequest,
                format!(
                    "Unable to find {resource:?} that match field selector {text:?}: field label not supported: {}",
                    term.field
                ),
            ));
        }
        terms.push(term);
    }
    Ok(Fields(terms))
}

impl Fields {
    /// The selector of one object.
    pub fn name(name: &str) -> Fields {
        Fields(vec![Term { field: "metadata.name".into(), value: name.into(), equal: true }])
    }

    pub fn and(mut self, other: Fields) -> Fields {
        self.0.extend(other.0);
        self
    }

    pub fn matches(&self, record: &Record, state: &State) -> bool {
        self.0.iter().all(|term| (value(record, state, &term.field) == term.value) == term.equal)
    }
}

fn term(part: &str) -> Option<Term> {
    let at = part.find(['=', '!'])?;
    let (field, rest) = part.split_at(at);
    let (equal, value) = if let Some(value) = rest.strip_prefix("!=") {
        (false, value)
    } else {
        (true, rest.strip_prefix("==").or_else(|| rest.strip_prefix('='))?)
    };
    (!field.is_empty()).then(|| Term { field: field.to_string(), value: unescape(value), equal })
}

/// Cuts at commas that no backslash stands before.
fn split_unescaped(text: &str) -> Vec<&str> {
    let (mut parts, mut start, mut escaped) = (Vec::new(), 0, false);
    for (at, c) in text.char_indices() {
        if c == ',' && !escaped {
            parts.push(&text[start..at]);
            start = at + 1;
        }
        escaped = c == '\\' && !escaped;
    }
    parts.push(&text[start..]);
    parts
}

fn unescape(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        plain.push(if c == '\\' { chars.next().unwrap_or(c) } else { c });
    }
    plain
}

fn known_fields(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Pod => &[
            "metadata.name",
            "metadata.namespace",
            "spec.nodeName",
            "spec.restartPolicy",
            "status.phase",
            "status.podIP",
        ],
        Kind::Job => &["metadata.name", "metadata.namespace", "status.successful"],
        Kind::Event => &[
            "metadata.name",
            "metadata.namespace",
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.fieldPath",
            "reason",
            "reportingComponent",
            "source",
            "type",
        ],
        Kind::Node => &["metadata.name", "spec.unschedulable"],
        Kind::Secret => &["metadata.name", "metadata.namespace", "type"],
        Kind::Namespace => &["metadata.name", "status.phase"],
        Kind::ConfigMap | Kind::DaemonSet | Kind::ControllerRevision | Kind::CronJob => {
            &["metadata.name", "metadata.namespace"]
        }
        Kind::Image | Kind::Set | Kind::Ack => &["metadata.name"],
    }
}

fn value(record: &Record, state: &State, field: &str) -> String {
    match field {
        "metadata.name" => return record.meta().name.clone(),
        "metadata.namespace" => return record.meta().namespace.clone(),
        _ => {}
    }
    match record {
        Record::Pod(pod) => pod_value(pod, state, field),
        Record::Event(event) => event_value(event, field),
        Record::Job(job) => job.status.succeeded.to_string(),
        Record::Node(node) => node.spec.unschedulable.to_string(),
        Record::Secret(secret) => secret.spec.kind.clone(),
        Record::Namespace(ns) => if ns.meta.deleting.is_some() { "Terminating" } else { "Active" }.to_string(),
        Record::ConfigMap(_)
        | Record::DaemonSet(_)
        | Record::ControllerRevision(_)
        | Record::CronJob(_)
        | Record::Image(_)
        | Record::Set(_)
        | Record::Ack(_) => String::new(),
    }
}

fn pod_value(pod: &crate::model::Pod, state: &State, field: &str) -> String {
    let node = state.node().filter(|_| pod.status.started.is_some());
    match field {
        "status.phase" => pod.status.phase.as_str().to_string(),
        "spec.restartPolicy" => format!("{:?}", pod.spec.restart_policy),
        "status.podIP" => node.map_or(String::new(), |n| n.status.facts.internal_ip.clone()),
        _ if pod.spec.node_name.is_empty() => node.map_or(String::new(), |n| n.meta.name.clone()),
        _ => pod.spec.node_name.clone(),
    }
}

fn event_value(event: &crate::model::Event, field: &str) -> String {
    match field {
        "involvedObject.kind" => event.about.kind.names().kind.to_string(),
        "involvedObject.namespace" => event.about.namespace.clone(),
        "involvedObject.name" => event.about.name.clone(),
        "involvedObject.uid" => event.about.uid.to_string(),
        "involvedObject.apiVersion" => event.about.kind.api_version(),
        "involvedObject.fieldPath" => event.about.field_path.clone(),
        "reason" => event.reason.clone(),
        "type" => event.kind.as_str().to_string(),
        _ => event.source.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Labels, Meta, Namespace};

    #[track_caller]
    fn check(selector: &str, fits: &[&str], fits_not: &[&str]) {
        let selector = labels(selector).unwrap();
        let set = |text: &str| -> Labels {
            text.split(',').filter_map(|p| p.split_once('=')).map(|(k, v)| (k.to_string(), v.to_string())).collect()
        };
        for text in fits {
            assert!(selector.matches(&set(text)), "{selector:?} should fit {text}");
        }
        for text in fits_not {
            assert!(!selector.matches(&set(text)), "{selector:?} should not fit {text}");
        }
    }

    #[test]
    fn label_selectors_mean_what_they_mean_in_kubernetes() {
        check("", &["", "a=1"], &[]);
        check("a=1", &["a=1,b=2"], &["a=2", ""]);
        check("a==1,b!=2", &["a=1", "a=1,b=3"], &["a=1,b=2", "b=3"]);
        check("a in (1, 2) , b", &["a=2,b=x"], &["a=3,b=x", "a=1"]);
        check("a notin (1)", &["", "a=2"], &["a=1"]);
        check("!a", &["b=1"], &["a=1"]);
        check(" a.b/c-d = v_1.2 ", &["a.b/c-d=v_1.2"], &[""]);
        check("a=", &["a="], &["", "a=1"]);
        check("a in (,x)", &["a=", "a=x"], &["a=y"]);
        check("n>4", &["n=5"], &["n=4", "n=x"]);
        check("in in (notin)", &["in=notin"], &["in=in"]);
    }

    #[test]
    fn a_broken_label_selector_is_refused() {
        for text in [
            "=", "a=b=c", "a in", "a in (", "a in (b", "a in b", ",", "a,", "a b", "!", "!!a", "a=(", "/a", "a/", "é",
            "a=é", "a>x", "a ! b",
        ] {
            assert!(labels(text).is_err(), "{text}");
        }
        assert!(labels(&format!("a={}", "x".repeat(64))).is_err());
    }

    #[test]
    fn field_selectors_cut_at_commas_and_know_their_fields() {
        let state = State::default();
        let record = Record::from(Namespace { meta: Meta::named("", "a,b") });
        let matches = |text: &str| fields(text, Kind::Namespace).unwrap().matches(&record, &state);
        assert!(matches("metadata.name=a\\,b"));
        assert!(matches("metadata.name==a\\,b,status.phase=Active,"));
        assert!(!matches("metadata.name!=a\\,b"));
        assert!(matches("metadata.name!=x,status.phase!=Terminating"));
        for text in ["spec.x=1", "metadata.name", "=x", "metadata.name!x"] {
            assert!(fields(text, Kind::Namespace).is_err(), "{text}");
        }
    }
}
