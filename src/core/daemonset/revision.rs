//! The distinct templates that a DaemonSet has had, as ControllerRevisions: what `rollout history` and `undo` read.
//! Source: `pkg/controller/daemon/update.go`, `constructHistory`, `cleanupHistory`.

use std::fmt::Write;

use serde_json::{Value, json};

use crate::model::{DaemonSet, Key, Kind, Meta, Owner, Revision, id, sorted};

use super::super::draft::Draft;
use super::{HASH_LABEL, View};

/// Of the hash, in names and labels.
const HASH_LENGTH: usize = 10;
const HISTORY_DEFAULT: u32 = 10;

/// The revision that the present template is.
pub struct Current {
    pub hash: String,
    /// Rises with each change of the template, also when an old one comes back.
    pub number: i64,
}

/// Finds the revision of the present template; makes it, or numbers an old one anew, when the template has changed. The
/// hash is only worked out when the spec has changed.
pub fn current(draft: &mut Draft, set: &DaemonSet) -> Current {
    let status = &set.status;
    let is_known = status.observed_generation == set.meta.generation && !status.update_hash.is_empty();
    if is_known && draft.find(Kind::ControllerRevision, &set.meta.namespace, &name(set, &status.update_hash)).is_some()
    {
        return Current { hash: status.update_hash.clone(), number: status.update_number };
    }
    let template = &set.spec.document()["template"];
    let hash = hash(template);
    let name = name(set, &hash);
    let owned = draft.owned(&set.meta.uid, Kind::ControllerRevision);
    let revisions = || owned.iter().filter_map(|record| record.as_revision());
    let newest = revisions().map(|revision| revision.number).max().unwrap_or(0);
    let number = match revisions().find(|revision| revision.meta.name == name) {
        Some(known) if known.number == newest => newest,
        Some(known) => {
            draft.put(Revision { number: newest + 1, ..known.clone() });
            newest + 1
        }
        None => {
            let meta = draft.new_meta(Kind::ControllerRevision, meta(set, &name, &hash));
            draft.put(Revision { meta, data: patch(template), number: newest + 1 });
            newest + 1
        }
    };
    Current { hash, number }
}

fn name(set: &DaemonSet, hash: &str) -> String {
    format!("{}-{hash}", set.meta.name)
}

/// The set's annotations go along: `kubernetes.io/change-cause` is shown in the history.
fn meta(set: &DaemonSet, name: &str, hash: &str) -> Meta {
    let mut labels = set.spec.template.metadata.labels.clone();
    labels.insert(HASH_LABEL.to_string(), hash.to_string());
    Meta {
        labels,
        annotations: set.meta.annotations.clone(),
        owner: Some(Owner { kind: Kind::DaemonSet, name: set.meta.name.clone(), uid: set.meta.uid.clone() }),
        ..Meta::named(&set.meta.namespace, name)
    }
}

/// What `kubectl rollout undo` sends back to restore the template.
fn patch(template: &Value) -> Value {
    let mut template = template.clone();
    if let Some(fields) = template.as_object_mut() {
        fields.insert("$patch".to_string(), json!("replace"));
    }
    json!({"spec": {"template": template}})
}

fn hash(template: &Value) -> String {
    let mut text = String::new();
    canonical(template, &mut text);
    let mut hash = id::sha256_hex(text.as_bytes());
    hash.truncate(HASH_LENGTH);
    hash
}

/// The same JSON whatever the order in which the keys were written.
fn canonical(value: &Value, text: &mut String) {
    match value {
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.iter().collect();
            sorted::by_key(&mut fields, |(key, _)| *key);
            text.push('{');
            for (key, value) in fields {
                let _ = write!(text, "{}:", Value::from(key.as_str()));
                canonical(value, text);
                text.push(',');
            }
            text.push('}');
        }
        Value::Array(items) => {
            text.push('[');
            for item in items {
                canonical(item, text);
                text.push(',');
            }
            text.push(']');
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            let _ = write!(text, "{value}");
        }
    }
}

/// `revisionHistoryLimit`: removes the oldest beyond it, but none that is the present one or that a pod is made from.
pub fn drop_old(draft: &mut Draft, view: &View) {
    let limit = view.set.spec.revision_history_limit.unwrap_or(HISTORY_DEFAULT) as usize;
    let owned = draft.owned(&view.set.meta.uid, Kind::ControllerRevision);
    let mut old: Vec<&Revision> = owned
        .iter()
        .filter_map(|record| record.as_revision())
        .filter(|revision| revision.meta.labels.get(HASH_LABEL) != Some(&view.revision.hash))
        .collect();
    let surplus = old.len().saturating_sub(limit);
    if surplus == 0 {
        return;
    }
    sorted::by_key(&mut old, |revision| revision.number);
    let live = sorted::set(view.pods.iter().filter_map(|pod| pod.meta.labels.get(HASH_LABEL)));
    let unused = old.into_iter().filter(|r| r.meta.labels.get(HASH_LABEL).is_none_or(|hash| !live.contains(hash)));
    for revision in unused.take(surplus) {
        draft.delete(&Key::new(Kind::ControllerRevision, &revision.meta.namespace, &revision.meta.name));
    }
}
