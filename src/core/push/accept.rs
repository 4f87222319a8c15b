//! Whether all that a message asks for can be done: a set comes into force as a whole or not at all.

use std::collections::BTreeSet;

use crate::core::admit;
use crate::core::draft::Draft;
use crate::model::seen::Content;
use crate::model::{Cause, Failure, Key, Kind, Reason, Record, SetKey, sorted};

/// A template that may not change is replaced by deleting the Job and making it anew, where the manifest says so.
pub const REPLACE: &str = "pinnace.dev/replace";

/// # Errors
/// The first object that cannot be: a kind that the fleet may not set, one object twice, a namespace that is not there,
/// a field that may not change.
pub fn check(draft: &Draft, set: &SetKey, content: &Content) -> Result<(), Failure> {
    let mut seen = BTreeSet::new();
    let namespaces = content.records.iter().filter(|r| r.kind() == Kind::Namespace);
    let namespaces = sorted::set(namespaces.map(|r| r.meta().name.as_str()));
    for record in &content.records {
        let key = record.key();
        is_allowed(set, &key)?;
        if key.name.is_empty() {
            let cause =
                Cause::required("metadata.name", "a set needs names that stay the same; generateName makes new ones");
            return Err(Failure::invalid(key.kind, &record.meta().generate_name, vec![cause]));
        }
        if !seen.insert(key.clone()) {
            let text = format!("set {set}: {key} is in it twice");
            return Err(Failure::new(Reason::Invalid, text).about(key.kind, &key.name));
        }
        let has_namespace = !key.kind.names().namespaced
            || namespaces.contains(key.namespace.as_str())
            || draft.find(Kind::Namespace, "", &key.namespace).is_some_and(|n| n.meta().deleting.is_none());
        if !has_namespace {
            return Err(Failure::not_found(Kind::Namespace, &key.namespace));
        }
        can_replace(draft, set, record)?;
    }
    room(draft, content)
}

fn is_allowed(set: &SetKey, key: &Key) -> Result<(), Failure> {
    match key.kind {
        Kind::Namespace | Kind::ConfigMap | Kind::Secret | Kind::DaemonSet | Kind::Job | Kind::CronJob | Kind::Pod => {
            Ok(())
        }
        Kind::Node | Kind::ControllerRevision | Kind::Event | Kind::Image | Kind::Set | Kind::Ack => {
            let text = format!("set {set}: a {} cannot be set by the fleet", key.kind);
            Err(Failure::new(Reason::Forbidden, text).about(key.kind, &key.name))
        }
    }
}

/// An object that this set owns must allow the change; one that others own is not touched or is replaced as a whole.
fn can_replace(draft: &Draft, set: &SetKey, record: &Record) -> Result<(), Failure> {
    let Some(old) = draft.get(&record.key()) else { return Ok(()) };
    if old.meta().set.as_ref() != Some(set) || may_be_remade(record) {
        return Ok(());
    }
    admit::replaced(draft, record, None).map(|_| ())
}

pub fn may_be_remade(record: &Record) -> bool {
    record.meta().annotations.get(REPLACE).is_some_and(|value| value == "true")
}

fn room(draft: &Draft, content: &Content) -> Result<(), Failure> {
    let new = content.records.iter().filter(|r| draft.get(&r.key()).is_none()).count();
    let there: usize = [Kind::ConfigMap, Kind::Secret, Kind::DaemonSet, Kind::Job, Kind::CronJob, Kind::Namespace]
        .into_iter()
        .map(|kind| draft.count(kind))
        .sum();
    let max = draft.settings().objects_max;
    if there + new <= max {
        return Ok(());
    }
    let text = format!("the set brings {new} new objects, this node holds {there}, and its bound objects_max is {max}");
    Err(Failure::new(Reason::Forbidden, text))
}
