//! Records as the JSON that Kubernetes' API shows of them: what was sent, what we know about it, and the errors. Knows no
//! request and no clock; the same record always looks the same.

use serde_json::{Map, Value, json};

use crate::model::{Deleting, Failure, Kind, Meta, Moment, Reason, Record, State, Timestamp};

mod data;
mod node;
mod pod;
mod workload;

pub use pod::shows_node;

/// Names the fleet's set that owns an object. Only shown, never stored, and nobody can set it.
pub const SET_ANNOTATION: &str = "pinnace.dev/set";
/// The groups of the fleet that a node listens to, comma-separated. Only shown.
pub const GROUPS_ANNOTATION: &str = "pinnace.dev/groups";
/// What Kubernetes release the node behaves like; in `/version` and in the node's `kubeletVersion`.
pub const KUBERNETES_VERSION: &str = concat!("v1.32.0+pinnace-", env!("CARGO_PKG_VERSION"));

/// The whole object as the API shows it, in its stored version. `state` gives what lies beside it: the node's address for
/// a pod, the bounds of the node for its capacity. Empty fields are left out where Kubernetes leaves them out.
pub fn object(record: &Record, state: &State) -> Value {
    let kind = record.kind();
    let shown = Fields::new()
        .put("apiVersion", kind.api_version())
        .put("kind", kind.names().kind)
        .put("metadata", metadata(record));
    let shown = match record {
        Record::Namespace(x) => data::namespace(shown, x),
        Record::Node(x) => node::node(shown, x, &state.settings),
        Record::ConfigMap(x) => shown.put_all(x.spec.document()),
        Record::Secret(x) => shown.put_all(x.spec.document()),
        Record::DaemonSet(x) => workload::daemon_set(shown, x),
        Record::ControllerRevision(x) => shown.put("data", x.data.clone()).put("revision", x.number),
        Record::Job(x) => workload::job(shown, x),
        Record::CronJob(x) => workload::cron_job(shown, x, state),
        Record::Pod(x) => pod::pod(shown, x, state.node()),
        Record::Event(x) => data::event(shown, x, state.node()),
        Record::Image(x) => data::image(shown, x),
        Record::Set(x) => data::set(shown, x),
        Record::Ack(x) => shown.put("body", x.body.clone()),
    };
    shown.done()
}

/// `metadata` of a record, in the order of Kubernetes' ObjectMeta.
pub fn metadata(record: &Record) -> Value {
    let meta = record.meta();
    let deleting = meta.deleting.as_ref();
    let is_pod = record.kind() == Kind::Pod;
    Fields::new()
        .put("name", meta.name.as_str())
        .some("generateName", meta.generate_name.as_str())
        .some("namespace", meta.namespace.as_str())
        .some("uid", meta.uid.as_str())
        .put("resourceVersion", meta.revision.to_string())
        .some("generation", meta.generation)
        .put("creationTimestamp", time_or_null(meta.created))
        .some("deletionTimestamp", deleting.map(deadline))
        .put_if(deleting.is_some(), "deletionGracePeriodSeconds", || grace(deleting, is_pod))
        .some("labels", json!(meta.labels))
        .some("annotations", annotations(record))
        .some("ownerReferences", owners(meta))
        .some(
            "finalizers",
            if deleting.is_some_and(|d| d.foreground) { json!(["foregroundDeletion"]) } else { json!([]) },
        )
        .done()
}

/// `PodList` and its like. Items carry their `apiVersion` and `kind`, so that each can stand alone.
pub fn list(kind: Kind, items: Vec<Value>, revision: u64) -> Value {
    json!({
        "kind": format!("{}List", kind.names().kind),
        "apiVersion": kind.api_version(),
        "metadata": { "resourceVersion": revision.to_string() },
        "items": items,
    })
}

/// A refusal as `metav1.Status`.
pub fn failure(failure: &Failure) -> Value {
    Fields::new()
        .put("kind", "Status")
        .put("apiVersion", "v1")
        .put("metadata", json!({}))
        .put("status", "Failure")
        .put("message", failure.message.as_str())
        .put("reason", failure.reason.as_str())
        .some("details", failure_details(failure))
        .put("code", failure.reason.code())
        .done()
}

/// `metav1.Status` of what was done to an object that is no longer there to be shown.
pub fn success(record: &Record) -> Value {
    let names = record.kind().names();
    let details = Fields::new()
        .put("name", record.meta().name.as_str())
        .some("group", names.group)
        .put("kind", names.plural)
        .some("uid", record.meta().uid.as_str());
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details.done()})
}

/// Source: `apimachinery/pkg/api/errors`: an invalid object is named by its kind, anything else by its resource.
fn failure_details(failure: &Failure) -> Value {
    let names = failure.kind.map(Kind::names);
    let shown_kind = names.map_or("", |n| if failure.reason == Reason::Invalid { n.kind } else { n.plural });
    let causes: Vec<Value> =
        failure.causes.iter().map(|c| json!({"reason": c.reason, "message": c.message, "field": c.field})).collect();
    Fields::new()
        .some("name", failure.name.as_str())
        .some("group", names.map_or("", |n| n.group))
        .some("kind", shown_kind)
        .some("causes", causes)
        .done()
}

/// The time by which a deletion is to be done: when it was asked for, plus the grace period.
fn deadline(deleting: &Deleting) -> String {
    deleting.since.wall.plus(std::time::Duration::from_secs(u64::from(deleting.grace_s))).rfc3339()
}

fn grace(deleting: Option<&Deleting>, is_pod: bool) -> Value {
    deleting.filter(|_| is_pod).map_or(0, |d| d.grace_s).into()
}

fn annotations(record: &Record) -> Value {
    let mut annotations = record.meta().annotations.clone();
    if let Some(set) = &record.meta().set {
        annotations.insert(SET_ANNOTATION.to_string(), set.to_string());
    }
    if let Some(node) = record.as_node().filter(|node| !node.status.groups.is_empty()) {
        annotations.insert(GROUPS_ANNOTATION.to_string(), node.status.groups.join(","));
    }
    json!(annotations)
}

fn owners(meta: &Meta) -> Value {
    let one = meta.owner.as_ref().map(|owner| {
        json!({
            "apiVersion": owner.kind.api_version(),
            "kind": owner.kind.names().kind,
            "name": owner.name,
            "uid": owner.uid,
            "controller": true,
            "blockOwnerDeletion": true,
        })
    });
    one.into_iter().collect()
}

/// Go shows the zero time as null.
fn time_or_null(t: Timestamp) -> Value {
    if t == Timestamp::EPOCH { Value::Null } else { t.rfc3339().into() }
}

fn time(moment: Option<&Moment>) -> Value {
    moment.map_or(Value::Null, |m| time_or_null(m.wall))
}

/// A condition's `status`.
fn truth(value: bool) -> &'static str {
    if value { "True" } else { "False" }
}

/// One entry of `status.conditions`.
struct Condition<'a> {
    kind: &'a str,
    is: bool,
    since: Value,
    reason: &'a str,
    message: String,
}

impl Condition<'_> {
    /// `probed` is the name that the kind gives the time of the last look: `lastProbeTime`, `lastHeartbeatTime`.
    fn show(self, probed: &str, probe_time: Value) -> Value {
        Fields::new()
            .put("type", self.kind)
            .put("status", truth(self.is))
            .put(probed, probe_time)
            .put("lastTransitionTime", self.since)
            .some("reason", self.reason)
            .some("message", self.message)
            .done()
    }
}

/// A JSON object in the making, with Go's `omitempty`.
struct Fields(Map<String, Value>);

impl Fields {
    fn new() -> Fields {
        Fields(Map::new())
    }

    /// Always there, also when empty.
    fn put(mut self, name: &str, value: impl Into<Value>) -> Fields {
        self.0.insert(name.to_string(), value.into());
        self
    }

    /// There unless it is null, zero, false or empty.
    fn some(self, name: &str, value: impl Into<Value>) -> Fields {
        let value = value.into();
        if is_empty(&value) { self } else { self.put(name, value) }
    }

    fn put_if(self, wanted: bool, name: &str, value: impl FnOnce() -> Value) -> Fields {
        if wanted { self.put(name, value()) } else { self }
    }

    /// Every member of a stored document that has no `spec` around it.
    fn put_all(mut self, document: &Value) -> Fields {
        for (name, value) in document.as_object().into_iter().flatten() {
            self.0.insert(name.clone(), value.clone());
        }
        self
    }

    fn done(self) -> Value {
        Value::Object(self.0)
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(b) => !b,
        Value::Number(n) => n.as_f64() == Some(0.0),
        Value::String(s) => s.is_empty(),
        Value::Array(a) => a.is_empty(),
        Value::Object(o) => o.is_empty(),
    }
}

#[cfg(test)]
mod tests;
