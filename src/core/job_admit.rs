//! What admission adds to the spec of a Job, whoever makes it: the labels by which its pods are known, and the selector
//! for them (Kubernetes, `pkg/registry/batch/job/strategy.go`). Knows no draft.

use serde_json::{Map, Value};

use crate::model::Uid;

/// The Job's name on its pods: as of old and with the prefix of today.
pub const NAME_LABELS: [&str; 2] = ["job-name", "batch.kubernetes.io/job-name"];
/// The Job's uid on its pods; the selector asks for the prefixed one.
pub const UID_LABELS: [&str; 2] = ["controller-uid", UID_LABEL];
const UID_LABEL: &str = "batch.kubernetes.io/controller-uid";

/// Completes the document of a Job's spec for the Job of this name and uid. A label that is there already stays, and
/// nothing is added with `manualSelector: true`. Doing it twice is doing it once.
pub fn finish_job_document(doc: &mut Value, name: &str, uid: &Uid) {
    if doc.get("manualSelector") == Some(&Value::Bool(true)) {
        return;
    }
    if let Some(labels) = object_at(doc, &["template", "metadata", "labels"]) {
        let names = NAME_LABELS.map(|label| (label, name));
        let uids = UID_LABELS.map(|label| (label, uid.as_str()));
        for (label, value) in names.into_iter().chain(uids) {
            add(labels, label, value);
        }
    }
    if let Some(selected) = object_at(doc, &["selector", "matchLabels"]) {
        add(selected, UID_LABEL, uid.as_str());
    }
}

fn add(labels: &mut Map<String, Value>, label: &str, value: &str) {
    labels.entry(label).or_insert_with(|| value.into());
}

/// The object at a path; what is absent or null on the way is made. None where something else is in the way, which
/// decoding has refused before.
fn object_at<'a>(doc: &'a mut Value, path: &[&str]) -> Option<&'a mut Map<String, Value>> {
    if doc.is_null() {
        *doc = Value::Object(Map::new());
    }
    let object = doc.as_object_mut()?;
    match path {
        [] => Some(object),
        [first, rest @ ..] => object_at(object.entry(*first).or_insert(Value::Null), rest),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(mut doc: Value, expected: Value) {
        for _ in 0..2 {
            finish_job_document(&mut doc, "batch", &Uid::new("u1"));
            assert_eq!(doc, expected);
        }
    }

    #[test]
    fn pods_of_a_job_get_its_name_and_uid_and_it_selects_by_uid() {
        let labels = json!({
            "job-name": "batch", "batch.kubernetes.io/job-name": "batch",
            "controller-uid": "u1", "batch.kubernetes.io/controller-uid": "u1",
        });
        let selector = json!({ "matchLabels": { "batch.kubernetes.io/controller-uid": "u1" } });
        let finished = json!({ "template": { "metadata": { "labels": labels } }, "selector": selector });
        check(json!({}), finished.clone());
        check(Value::Null, finished.clone());
        check(json!({ "template": { "metadata": { "labels": null } }, "selector": null }), finished.clone());
        let mut own = finished;
        own["template"]["metadata"]["labels"]["app"] = "x".into();
        check(json!({ "template": { "metadata": { "labels": { "app": "x" } } } }), own);
    }

    #[test]
    fn what_is_there_stays() {
        let manual = json!({ "manualSelector": true, "selector": { "matchLabels": { "a": "b" } } });
        check(manual.clone(), manual);
        let mut doc = json!({ "template": { "metadata": { "labels": { "job-name": "other" } } } });
        finish_job_document(&mut doc, "batch", &Uid::new("u1"));
        assert_eq!(doc["template"]["metadata"]["labels"]["job-name"], "other");
        // Not a document that decoding lets in; it must do no harm.
        let mut odd = json!({ "template": 5, "selector": [1] });
        finish_job_document(&mut odd, "batch", &Uid::new("u1"));
        assert_eq!(odd, json!({ "template": 5, "selector": [1] }));
    }
}
