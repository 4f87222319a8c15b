//! Objects without a controller: Namespace and Event, and our own Image and Set.

use serde_json::{Value, json};

use super::{Fields, time_or_null};
use crate::model::set::{Member, MemberState};
use crate::model::{Event, Image, Key, Namespace, Node, Set};

pub(super) fn namespace(shown: Fields, namespace: &Namespace) -> Fields {
    let phase = if namespace.meta.deleting.is_some() { "Terminating" } else { "Active" };
    shown.put("spec", json!({ "finalizers": ["kubernetes"] })).put("status", json!({ "phase": phase }))
}

/// The source of an event names its host where the kubelet is the speaker, as in Kubernetes.
pub(super) fn event(shown: Fields, event: &Event, node: Option<&Node>) -> Fields {
    let about = &event.about;
    let involved = Fields::new()
        .put("kind", about.kind.names().kind)
        .some("namespace", about.namespace.as_str())
        .put("name", about.name.as_str())
        .some("uid", about.uid.as_str())
        .put("apiVersion", about.kind.api_version())
        .some("fieldPath", about.field_path.as_str());
    let host = node.filter(|_| event.source == "kubelet").map_or("", |n| n.meta.name.as_str());
    let source = Fields::new().some("component", event.source.as_str()).some("host", host);
    shown
        .put("involvedObject", involved.done())
        .some("reason", event.reason.as_str())
        .some("message", event.message.as_str())
        .put("source", source.done())
        .put("firstTimestamp", time_or_null(event.first))
        .put("lastTimestamp", time_or_null(event.last))
        .some("count", event.count)
        .put("type", event.kind.as_str())
        .put("eventTime", Value::Null)
        .put("reportingComponent", event.source.as_str())
        .put("reportingInstance", host)
}

pub(super) fn image(shown: Fields, image: &Image) -> Fields {
    let s = &image.spec;
    let spec = Fields::new()
        .put("reference", s.reference.as_str())
        .put("directory", s.directory.as_str())
        .some("entrypoint", json!(s.entrypoint))
        .some("cmd", json!(s.cmd))
        .some("env", json!(s.env))
        .some("workingDir", s.working_dir.as_str());
    let shown = shown.put("spec", spec.done());
    if s.layers.is_empty() {
        return shown;
    }
    // What only an import or a pull can give is no part of what a person may write.
    let layers: Vec<Value> =
        s.layers.iter().map(|l| json!({"diffID": format!("sha256:{}", l.diff_id), "sizeBytes": l.size})).collect();
    let status = Fields::new()
        .put("id", s.id.as_str())
        .some("digest", s.digest.as_str())
        .put("origin", format!("{:?}", s.origin))
        .put("sizeBytes", s.size())
        .some("user", s.user.as_str())
        .some("stopSignal", s.stop_signal.as_str())
        .put("layers", layers)
        .put("lastUsed", image.used.as_ref().map_or(Value::Null, |used| time_or_null(used.wall)));
    shown.put("status", status.done())
}

/// `phase` is that of the newest message: `Rejected` means that the one before it, with `rev` and `sha`, is still in force.
pub(super) fn set(shown: Fields, set: &Set) -> Fields {
    let rejected = set.rejected.as_ref();
    let status = Fields::new()
        .put("phase", if rejected.is_some() { "Rejected" } else { "Committed" })
        .put("rev", set.rev)
        .put("sha", set.sha.as_str())
        .some("rejectedRev", rejected.map(|r| r.rev))
        .some("rejectedSha", rejected.map(|r| r.sha.as_str()))
        .some("message", rejected.map(|r| r.why.message.as_str()))
        .put("desiredObjects", set.objects.len())
        .put("appliedObjects", set.objects_met())
        .put("members", set.objects.iter().map(member).collect::<Vec<Value>>());
    shown.put("spec", json!({ "scope": set.key.scope.to_string(), "slot": set.key.slot })).put("status", status.done())
}

fn member((key, member): (&Key, &Member)) -> Value {
    let (state, message) = match &member.state {
        MemberState::Applied => ("Applied", String::new()),
        MemberState::ShadowedBy(set) => ("Shadowed", format!("set {set} has the right of way")),
        MemberState::Conflict(why) => ("Conflict", why.clone()),
        MemberState::Deleted => ("Deleted", "deleted on the device; it stays so until the set changes".into()),
    };
    Fields::new()
        .put("apiVersion", key.kind.api_version())
        .put("kind", key.kind.names().kind)
        .some("namespace", key.namespace.as_str())
        .put("name", key.name.as_str())
        .some("uid", member.uid.as_str())
        .put("state", state)
        .some("message", message)
        .some("finished", member.finished)
        .done()
}
