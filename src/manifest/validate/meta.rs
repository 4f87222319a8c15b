//! `metadata`, labels and label selectors (`apimachinery/pkg/api/validation/objectmeta.go`).

use serde::Deserialize;
use serde_json::Value;

use crate::model::{Cause, Kind, Selector, sorted};

use super::{At, names};

/// Bytes of all keys and values of an object's annotations.
const ANNOTATIONS_MAX: usize = 256 * 1024;
/// A CronJob's Jobs are named after it, with 11 letters more, and a Job's name is the value of a label.
const CRON_JOB_NAME_MAX: usize = 52;
const JOB_NAME_MAX: usize = 63;

pub(super) fn object(wrong: &mut Vec<Cause>, kind: Kind, meta: &At<'_>) {
    name(wrong, kind, meta);
    namespace(wrong, kind, &meta.get("namespace"));
    labels(wrong, &meta.get("labels"));
    annotations(wrong, &meta.get("annotations"));
    let revision = meta.get("resourceVersion");
    if revision.filled().is_some_and(|text| text.parse::<u64>().is_err()) {
        wrong.push(revision.invalid("must be a number, as this node gives it"));
    }
}

fn name(wrong: &mut Vec<Cause>, kind: Kind, meta: &At<'_>) {
    let (name, generate) = (meta.get("name"), meta.get("generateName"));
    let form: fn(&str) -> Vec<String> = if kind == Kind::Namespace { names::label } else { names::subdomain };
    if let Some(base) = generate.filled() {
        // A dash at its end will be followed by the generated letters.
        generate
            .all(wrong, form(base.strip_suffix('-').map_or(base, |rest| if rest.is_empty() { base } else { rest })));
    }
    let Some(text) = name.filled() else {
        // An image's name is made from its reference.
        if generate.filled().is_none() && kind != Kind::Image {
            wrong.push(name.required("name or generateName is required"));
        }
        return;
    };
    name.all(wrong, form(text));
    let longest = match kind {
        Kind::CronJob => CRON_JOB_NAME_MAX,
        Kind::Job => JOB_NAME_MAX,
        Kind::Namespace | Kind::Node | Kind::ConfigMap | Kind::Secret | Kind::DaemonSet | Kind::Pod => return,
        Kind::ControllerRevision | Kind::Event | Kind::Image | Kind::Set | Kind::Ack => return,
    };
    if text.len() > longest {
        wrong.push(name.invalid(&format!("must be no more than {longest} characters")));
    }
}

fn namespace(wrong: &mut Vec<Cause>, kind: Kind, namespace: &At<'_>) {
    let Some(text) = namespace.filled() else { return };
    if kind.names().namespaced {
        namespace.all(wrong, names::label(text));
    } else {
        wrong.push(namespace.forbidden("not allowed on this type"));
    }
}

/// Labels, also of templates and node selectors.
pub(super) fn labels(wrong: &mut Vec<Cause>, labels: &At<'_>) {
    for (key, value) in labels.entries() {
        let key_value = Value::from(key);
        wrong.extend(names::qualified(key).iter().map(|rule| labels.invalid_as(&key_value, rule)));
        let broken = names::label_value(value.text().unwrap_or_default());
        wrong.extend(broken.iter().map(|rule| At { path: labels.path.clone(), ..value }.invalid(rule)));
    }
}

pub(super) fn annotations(wrong: &mut Vec<Cause>, annotations: &At<'_>) {
    let mut bytes = 0;
    for (key, value) in annotations.entries() {
        // Keys are compared without regard to case.
        let broken = names::qualified(&key.to_lowercase());
        wrong.extend(broken.iter().map(|rule| annotations.invalid_as(&Value::from(key), rule)));
        bytes += key.len() + value.text().unwrap_or_default().len();
    }
    if bytes > ANNOTATIONS_MAX {
        wrong.push(annotations.too_long(ANNOTATIONS_MAX));
    }
}

/// A label selector, and that it finds the pods of its own template.
pub(super) fn selector_and_template(wrong: &mut Vec<Cause>, selector: &At<'_>, labels: &At<'_>) {
    let before = wrong.len();
    requirements(wrong, selector);
    if wrong.len() == before {
        selects(wrong, selector, labels);
    }
}

fn requirements(wrong: &mut Vec<Cause>, selector: &At<'_>) {
    labels(wrong, &selector.get("matchLabels"));
    for line in selector.get("matchExpressions").items() {
        let (key, operator, values) = (line.get("key"), line.get("operator"), line.get("values"));
        match operator.text().unwrap_or_default() {
            "In" | "NotIn" if values.count() == 0 => {
                wrong.push(values.required("must be specified when `operator` is 'In' or 'NotIn'"));
            }
            "Exists" | "DoesNotExist" if values.count() > 0 => {
                wrong.push(values.forbidden("may not be specified when `operator` is 'Exists' or 'DoesNotExist'"));
            }
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            other => wrong.push(operator.invalid_as(&Value::from(other), "not a valid selector operator")),
        }
        key.all(wrong, names::qualified(key.text().unwrap_or_default()));
        for value in values.items() {
            value.all(wrong, names::label_value(value.text().unwrap_or_default()));
        }
    }
}

fn selects(wrong: &mut Vec<Cause>, selector: &At<'_>, labels: &At<'_>) {
    let Some(selector) = Selector::deserialize(selector.value).ok().filter(|s| !s.is_empty()) else { return };
    let found = labels.entries().filter_map(|(key, value)| Some((key.to_string(), value.text()?.to_string())));
    if !selector.matches(&sorted::map(found)) {
        let empty = Value::Object(serde_json::Map::new());
        let shown = if labels.is_absent() { &empty } else { labels.value };
        wrong.push(labels.invalid_as(shown, "`selector` does not match template `labels`"));
    }
}
