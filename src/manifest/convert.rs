//! Old API versions and one historical misspelling, made into what the stable version says. Runs before anything is
//! checked, so it takes nothing for granted.

use serde_json::{Map, Value, json};

use crate::model::Kind;

const MISSPELT: &str = "startingDeadlineSecond";
const CORRECT: &str = "startingDeadlineSeconds";

/// Gives a warning where something was taken with a reservation.
pub(super) fn to_stable(kind: Kind, api_version: &str, document: &mut Map<String, Value>) -> Option<String> {
    let spec = document.get_mut("spec").and_then(Value::as_object_mut)?;
    if kind == Kind::DaemonSet && api_version == "extensions/v1beta1" {
        old_daemon_set(spec);
    }
    if kind == Kind::CronJob { misspelt_deadline(spec) } else { None }
}

/// `extensions/v1beta1` (`pkg/apis/extensions/v1beta1/defaults.go` of 1.15): the selector is the template's labels, the
/// update strategy OnDelete; `templateGeneration` was the server's.
fn old_daemon_set(spec: &mut Map<String, Value>) {
    spec.shift_remove("templateGeneration");
    let labels = spec.get("template").and_then(|t| t.get("metadata")).and_then(|m| m.get("labels")).cloned();
    let missing = |spec: &Map<String, Value>, field| spec.get(field).is_none_or(Value::is_null);
    if let Some(labels) = labels.filter(|_| missing(spec, "selector")) {
        spec.insert("selector".into(), json!({ "matchLabels": labels }));
    }
    if missing(spec, "updateStrategy") {
        spec.insert("updateStrategy".into(), json!({ "type": "OnDelete" }));
    }
}

/// Early CronJob examples have the field in the singular. Taken when the right one is absent; keeps its place.
fn misspelt_deadline(spec: &mut Map<String, Value>) -> Option<String> {
    if !spec.contains_key(MISSPELT) || spec.contains_key(CORRECT) {
        return None;
    }
    let rename = |(name, value)| (if name == MISSPELT { CORRECT.to_string() } else { name }, value);
    *spec = std::mem::take(spec).into_iter().map(rename).collect();
    Some(format!("spec.{MISSPELT}: taken as spec.{CORRECT}, please correct the spelling"))
}
