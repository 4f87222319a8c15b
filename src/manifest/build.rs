//! A checked document becomes a record.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::model::image::ImageSpec;
use crate::model::meta::Meta;
use crate::model::node::NodeStatus;
use crate::model::{
    Cause, ConfigMap, CronJob, CronJobStatus, DaemonSet, DaemonSetStatus, Image, Job, JobStatus, Kind, Labels,
    Namespace, Node, NodeSpec, Pod, PodStatus, Record, Secret, Spec, Uid, sorted,
};

/// # Errors
/// A value that is valid in Kubernetes and beyond what the node's own types hold.
pub(super) fn record(kind: Kind, mut object: Map<String, Value>) -> Result<Record, Cause> {
    let meta = meta(&object.shift_remove("metadata").unwrap_or_default());
    let mut part = |field: &str| object.shift_remove(field).unwrap_or_else(|| Map::new().into());
    Ok(match kind {
        Kind::Job => Job { meta, spec: spec(part("spec"))?, status: JobStatus::default() }.into(),
        Kind::CronJob => CronJob { meta, spec: spec(part("spec"))?, status: CronJobStatus::default() }.into(),
        Kind::DaemonSet => DaemonSet { meta, spec: spec(part("spec"))?, status: DaemonSetStatus::default() }.into(),
        Kind::Pod => {
            let spec = spec(part("spec"))?;
            let status = PodStatus::new(&spec);
            Pod { meta, spec, status }.into()
        }
        Kind::Node => {
            let spec: NodeSpec = typed("spec", part("spec"))?;
            Node { meta, spec, status: NodeStatus::default() }.into()
        }
        Kind::Image => {
            let spec: ImageSpec = typed("spec", part("spec"))?;
            Image { meta, spec, used: None }.into()
        }
        Kind::Namespace => Namespace { meta }.into(),
        Kind::ConfigMap => ConfigMap { meta, spec: spec(data(object))? }.into(),
        Kind::Secret => Secret { meta, spec: spec(data(object))? }.into(),
        Kind::ControllerRevision | Kind::Event | Kind::Set | Kind::Ack => {
            unreachable!("{kind} has no table, so no document of it comes here")
        }
    })
}

/// What a ConfigMap or Secret has besides its metadata.
fn data(mut object: Map<String, Value>) -> Value {
    object.shift_remove("apiVersion");
    object.shift_remove("kind");
    Value::Object(object)
}

fn spec<View: DeserializeOwned>(document: Value) -> Result<Spec<View>, Cause> {
    Spec::new(document).map_err(|e| beyond("spec", &e))
}

fn typed<T: DeserializeOwned>(field: &str, document: Value) -> Result<T, Cause> {
    T::deserialize(&document).map_err(|e| beyond(field, &e))
}

fn beyond(field: &str, error: &serde_json::Error) -> Cause {
    Cause::forbidden(field, &format!("{}: {error}", super::strict::NOT_SUPPORTED))
}

fn meta(value: &Value) -> Meta {
    let text = |field: &str| value.get(field).and_then(Value::as_str).unwrap_or_default();
    let mut meta = Meta::named(text("namespace"), text("name"));
    meta.generate_name = text("generateName").to_string();
    meta.uid = Uid::new(text("uid"));
    meta.revision = text("resourceVersion").parse().unwrap_or(0);
    meta.labels = texts(value.get("labels"));
    meta.annotations = texts(value.get("annotations"));
    meta
}

fn texts(map: Option<&Value>) -> Labels {
    let entries = map.and_then(Value::as_object).into_iter().flatten();
    sorted::map(entries.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_string()))))
}
