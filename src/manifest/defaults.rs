//! The defaults of Kubernetes' stable API versions, written into the document behind what was sent.
//! (`pkg/apis/{core,apps,batch}/v1/defaults.go`)

use base64::Engine as _;
use serde_json::{Map, Value, json};

use crate::model::{Kind, image, pod_defaults};

type Object = Map<String, Value>;

/// `rw-r--r--`.
const FILE_MODE: i32 = 0o644;

pub(super) fn fill(kind: Kind, object: &mut Object) {
    match kind {
        Kind::Pod => own_pod(child(object, "spec")),
        Kind::Job => {
            job(child(object, "spec"));
            job_labels(object);
        }
        Kind::CronJob => cron_job(child(object, "spec")),
        Kind::DaemonSet => daemon_set(child(object, "spec")),
        Kind::Secret => secret(object),
        Kind::Image => image_name(object),
        Kind::Namespace | Kind::Node | Kind::ConfigMap => {}
        Kind::ControllerRevision | Kind::Event | Kind::Set | Kind::Ack => {}
    }
}

/// Sets a field that is absent.
fn default(object: &mut Object, field: &str, value: impl Into<Value>) {
    if !object.contains_key(field) {
        object.insert(field.to_string(), value.into());
    }
}

/// The object in a field, made where it is absent.
fn child<'a>(object: &'a mut Object, field: &str) -> &'a mut Object {
    let value = object.entry(field).or_insert_with(|| Object::new().into());
    value.as_object_mut().expect("types were checked before defaults are filled in")
}

fn children<'a>(object: &'a mut Object, list: &str) -> impl Iterator<Item = &'a mut Object> {
    object.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten().filter_map(Value::as_object_mut)
}

fn daemon_set(spec: &mut Object) {
    pod_spec(child(child(spec, "template"), "spec"));
    let strategy = child(spec, "updateStrategy");
    default(strategy, "type", "RollingUpdate");
    if strategy["type"] == "RollingUpdate" {
        let rolling = child(strategy, "rollingUpdate");
        default(rolling, "maxUnavailable", 1);
        default(rolling, "maxSurge", 0);
    }
    default(spec, "revisionHistoryLimit", 10);
}

fn job(spec: &mut Object) {
    // With a parallelism alone it is a work queue: the number of completions stays open.
    if !spec.contains_key("completions") && !spec.contains_key("parallelism") {
        default(spec, "completions", 1);
    }
    default(spec, "parallelism", 1);
    default(spec, "backoffLimit", 6);
    default(spec, "completionMode", "NonIndexed");
    default(spec, "suspend", false);
    default(spec, "podReplacementPolicy", "TerminatingOrFailed");
    pod_spec(child(child(spec, "template"), "spec"));
}

/// A Job without labels has those of its template.
fn job_labels(object: &mut Object) {
    let labels = object["spec"]["template"]["metadata"]["labels"].clone();
    let meta = child(object, "metadata");
    let none = meta.get("labels").is_none_or(|labels| labels.as_object().is_none_or(Map::is_empty));
    if none && labels.as_object().is_some_and(|labels| !labels.is_empty()) {
        meta.insert("labels".into(), labels);
    }
}

fn cron_job(spec: &mut Object) {
    default(spec, "concurrencyPolicy", "Allow");
    default(spec, "suspend", false);
    default(spec, "successfulJobsHistoryLimit", 3);
    default(spec, "failedJobsHistoryLimit", 1);
    job(child(child(spec, "jobTemplate"), "spec"));
}

/// A pod in its own right; what a template does not get waits until the pod is made.
fn own_pod(spec: &mut Object) {
    pod_spec(spec);
    pod_defaults::complete(spec);
}

fn pod_spec(spec: &mut Object) {
    let ports_of_host = spec.get("hostNetwork") == Some(&Value::Bool(true));
    default(spec, "restartPolicy", "Always");
    default(spec, "terminationGracePeriodSeconds", 30);
    default(spec, "dnsPolicy", "ClusterFirst");
    default(spec, "securityContext", Object::new());
    default(spec, "schedulerName", "default-scheduler");
    children(spec, "volumes").for_each(volume);
    for list in ["initContainers", "containers"] {
        children(spec, list).for_each(|one| container(one, ports_of_host));
    }
}

/// A volume without a source is an empty directory.
fn volume(volume: &mut Object) {
    if !volume.keys().any(|field| field != "name") {
        default(volume, "emptyDir", Object::new());
    }
    if let Some(host) = volume.get_mut("hostPath").and_then(Value::as_object_mut) {
        default(host, "type", "");
    }
    for kind in ["configMap", "secret", "downwardAPI", "projected"] {
        if let Some(files) = volume.get_mut(kind).and_then(Value::as_object_mut) {
            default(files, "defaultMode", FILE_MODE);
        }
    }
    if let Some(downward) = volume.get_mut("downwardAPI").and_then(Value::as_object_mut) {
        children(downward, "items").for_each(field_version);
    }
    let Some(projected) = volume.get_mut("projected").and_then(Value::as_object_mut) else { return };
    for source in children(projected, "sources") {
        if let Some(downward) = source.get_mut("downwardAPI").and_then(Value::as_object_mut) {
            children(downward, "items").for_each(field_version);
        }
    }
}

/// The version of a field that the object refers to by `fieldRef`.
fn field_version(object: &mut Object) {
    if let Some(field) = object.get_mut("fieldRef").and_then(Value::as_object_mut) {
        default(field, "apiVersion", "v1");
    }
}

fn container(container: &mut Object, ports_of_host: bool) {
    if let Some(policy) = container.get("image").and_then(Value::as_str).and_then(pull_policy) {
        default(container, "imagePullPolicy", policy);
    }
    default(container, "terminationMessagePath", "/dev/termination-log");
    default(container, "terminationMessagePolicy", "File");
    for port in children(container, "ports") {
        default(port, "protocol", "TCP");
        if let Some(number) = port.get("containerPort").cloned().filter(|_| ports_of_host) {
            default(port, "hostPort", number);
        }
    }
    for variable in children(container, "env") {
        if let Some(from) = variable.get_mut("valueFrom").and_then(Value::as_object_mut) {
            field_version(from);
        }
    }
}

/// None where the host's own file system is meant: there is nothing to pull.
fn pull_policy(reference: &str) -> Option<&'static str> {
    let latest = || !reference.contains('@') && image::normal_reference(reference).ends_with(":latest");
    match reference {
        "" | "host" => None,
        _ if latest() => Some("Always"),
        _ => Some("IfNotPresent"),
    }
}

/// `stringData` is write-only: it goes into `data`, and wins over what is there.
fn secret(object: &mut Object) {
    if let Some(Value::Object(texts)) = object.shift_remove("stringData") {
        let data = child(object, "data");
        for (key, text) in texts {
            let bytes = text.as_str().unwrap_or_default().as_bytes();
            data.insert(key, json!(base64::engine::general_purpose::STANDARD.encode(bytes)));
        }
    }
    default(object, "type", "Opaque");
}

fn image_name(object: &mut Object) {
    let reference = child(object, "spec").get("reference").and_then(Value::as_str).map(String::from);
    if let Some(reference) = reference.filter(|text| !text.is_empty()) {
        default(child(object, "metadata"), "name", image::object_name(&reference));
    }
}
