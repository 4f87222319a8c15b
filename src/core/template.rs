//! From a controller's template to a pod: what the API server would add to it. Does not know when a pod is wanted.

use serde_json::{Map, Value};

use crate::model::{
    EventType, Kind, Labels, Meta, ObjectRef, Owner, Pod, PodSpec, PodStatus, Record, Spec, pod_defaults,
};

use super::draft::Draft;

/// The spec of the pods of a Job or DaemonSet whose own spec is `owner`, with `tolerations` added. A pod that was made
/// from the same template lends its spec (`known`): all pods of one template share one document in memory.
pub fn pod_spec(owner: &Value, tolerations: &[Value], known: Option<&Spec<PodSpec>>) -> Spec<PodSpec> {
    let mut document = owner["template"]["spec"].clone();
    if document.is_null() {
        document = Value::Object(Map::new());
    }
    if let Some(fields) = document.as_object_mut() {
        pod_defaults::complete(fields);
    }
    tolerate(&mut document, tolerations);
    match known.filter(|known| *known.document() == document) {
        Some(known) => known.clone(),
        None => Spec::new(document).expect("it was read before, as a part of its owner's spec"),
    }
}

fn tolerate(spec: &mut Value, tolerations: &[Value]) {
    let Some(spec) = spec.as_object_mut().filter(|_| !tolerations.is_empty()) else { return };
    let list = spec.entry("tolerations").or_insert_with(|| Value::Array(Vec::new()));
    let Some(list) = list.as_array_mut() else { return };
    for toleration in tolerations {
        if !list.contains(toleration) {
            list.push(toleration.clone());
        }
    }
}

/// What all pods of one controller and one template have in common.
pub struct Mould {
    pub namespace: String,
    pub owner: Owner,
    pub labels: Labels,
    pub annotations: Labels,
    pub spec: Spec<PodSpec>,
}

impl Mould {
    /// A new pod, pending, with a name of its own: `<owner>-xxxxx`.
    pub fn pod(&self, draft: &mut Draft) -> Pod {
        let meta = Meta {
            generate_name: format!("{}-", self.owner.name),
            labels: self.labels.clone(),
            annotations: self.annotations.clone(),
            owner: Some(self.owner.clone()),
            ..Meta::named(&self.namespace, "")
        };
        Pod { meta: draft.new_meta(Kind::Pod, meta), spec: self.spec.clone(), status: PodStatus::new(&self.spec) }
    }
}

/// How many more unfinished pods the node may hold (`pods_max`).
pub fn room(draft: &Draft) -> usize {
    let unfinished = |record: &Record| record.as_pod().is_some_and(|pod| !pod.status.phase.is_terminal());
    draft.settings().pods_max.saturating_sub(draft.pods_in_hand().iter().filter(|record| unfinished(record)).count())
}

/// Why `room` is none, in words that stay the same while it lasts.
pub fn no_room(draft: &Draft) -> String {
    let max = draft.settings().pods_max;
    format!(
        "Error creating: this node holds as many unfinished pods as pods_max ({max}) allows; it goes on when one ends"
    )
}

/// What an event about a controller is about.
pub fn about(kind: Kind, meta: &Meta) -> ObjectRef {
    ObjectRef {
        kind,
        namespace: meta.namespace.clone(),
        name: meta.name.clone(),
        uid: meta.uid.clone(),
        field_path: String::new(),
    }
}

pub fn tell(draft: &mut Draft, kind: Kind, meta: &Meta, level: EventType, reason: &str, message: &str) {
    draft.event(&about(kind, meta), level, reason, message, source(kind));
}

/// As `tell`, for a state that lasts.
pub fn tell_once(draft: &mut Draft, kind: Kind, meta: &Meta, level: EventType, reason: &str, message: &str) {
    draft.event_once(&about(kind, meta), level, reason, message, source(kind));
}

/// The component that a controller's events come from.
fn source(kind: Kind) -> &'static str {
    if kind == Kind::DaemonSet { "daemonset-controller" } else { "job-controller" }
}
