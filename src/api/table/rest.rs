//! Rows of all other kinds.

use serde_json::Value;

use super::{AGE, Column, NAME, age, or_none};
use crate::manifest::view::KUBERNETES_VERSION;
use crate::model::image::{self, ImageSpec, Origin};
use crate::model::{ConfigMap, Event, Image, Namespace, Node, Now, Revision, Secret, Set};

const ROLE_LABEL: &str = "node-role.kubernetes.io/";

pub(super) const NODE: &[Column] = &[
    NAME,
    Column("Status", "string", "", 0, "Whether it is ready, and whether it takes new pods."),
    Column("Roles", "string", "", 0, "Its labels of the form node-role.kubernetes.io/ROLE."),
    AGE,
    Column("Version", "string", "", 0, "The Kubernetes release that it behaves like, and its own."),
    Column("Internal-IP", "string", "", 1, "Its address."),
    Column("External-IP", "string", "", 1, "Always none."),
    Column("OS-Image", "string", "", 1, "Its distribution."),
    Column("Kernel-Version", "string", "", 1, "Its kernel."),
    Column("Container-Runtime", "string", "", 1, "What runs its pods."),
];

pub(super) const EVENT: &[Column] = &[
    Column("Last Seen", "string", "", 0, "Time since it was said last."),
    Column("Type", "string", "", 0, "Normal or Warning."),
    Column("Reason", "string", "", 0, "Why, in a word for programs."),
    Column("Object", "string", "", 0, "What it is about."),
    Column("Subobject", "string", "", 1, "Which part of that."),
    Column("Source", "string", "", 1, "Who says it."),
    Column("Message", "string", "", 0, "Why, for people."),
    Column("First Seen", "string", "", 1, "Time since it was said first."),
    Column("Count", "integer", "", 1, "How often it was said."),
    Column("Name", "string", "name", 1, "The name of the event itself."),
];

pub(super) const CONFIG_MAP: &[Column] = &[NAME, Column("Data", "integer", "", 0, "How many entries it has."), AGE];

pub(super) const SECRET: &[Column] = &[
    NAME,
    Column("Type", "string", "", 0, "What it is for."),
    Column("Data", "integer", "", 0, "How many entries it has."),
    AGE,
];

pub(super) const NAMESPACE: &[Column] = &[NAME, Column("Status", "string", "", 0, "Active, or being emptied."), AGE];

pub(super) const REVISION: &[Column] = &[
    NAME,
    Column("Controller", "string", "", 0, "Whose template it is."),
    Column("Revision", "integer", "", 0, "Its number; the highest is in use."),
    AGE,
];

pub(super) const IMAGE: &[Column] = &[
    Column("Name", "string", "name", 0, "The reference that manifests use."),
    Column("Image ID", "string", "", 0, "First digits of the hash of its configuration."),
    Column("Size", "string", "", 0, "What its layers take on the disk; those shared with other images count too."),
    Column("Source", "string", "", 0, "How it came: import, registry, or the directory that was registered."),
    AGE,
    Column("Entrypoint", "string", "", 1, "What runs where a container names no command."),
];

pub(super) const SET: &[Column] = &[
    NAME,
    Column("Scope", "string", "", 0, "Whom it is addressed to."),
    Column("Rev", "integer", "", 0, "The revision that is in force."),
    Column("Phase", "string", "", 0, "What became of its newest message."),
    Column("Objects", "string", "", 0, "How many of its objects are as it wants them, and how many it lists."),
    AGE,
];

pub(super) fn node(node: &Node, now: &Now) -> Vec<Value> {
    let facts = &node.status.facts;
    let status = if node.spec.unschedulable { "Ready,SchedulingDisabled" } else { "Ready" };
    let roles: Vec<&str> = node.meta.labels.keys().filter_map(|k| k.strip_prefix(ROLE_LABEL)).collect();
    vec![
        node.meta.name.as_str().into(),
        status.into(),
        or_none(roles.into_iter().filter(|role| !role.is_empty()).collect::<Vec<&str>>().join(",")).into(),
        age::since(node.meta.created, now.wall).into(),
        KUBERNETES_VERSION.into(),
        or_none(facts.internal_ip.clone()).into(),
        "<none>".into(),
        or_unknown(&facts.os_image).into(),
        or_unknown(&facts.kernel).into(),
        concat!("pinnace://", env!("CARGO_PKG_VERSION")).into(),
    ]
}

fn or_unknown(text: &str) -> &str {
    if text.is_empty() { "<unknown>" } else { text }
}

pub(super) fn event(event: &Event, node: Option<&Node>, now: &Now) -> Vec<Value> {
    let host = node.filter(|_| event.source == "kubelet").map(|n| format!(", {}", n.meta.name)).unwrap_or_default();
    vec![
        age::since(event.last, now.wall).into(),
        event.kind.as_str().into(),
        event.reason.as_str().into(),
        format!("{}/{}", event.about.kind.names().singular, event.about.name).into(),
        event.about.field_path.as_str().into(),
        format!("{}{host}", event.source).into(),
        event.message.trim().into(),
        age::since(event.first, now.wall).into(),
        event.count.into(),
        event.meta.name.as_str().into(),
    ]
}

pub(super) fn config_map(map: &ConfigMap, now: &Now) -> Vec<Value> {
    let entries = map.spec.data.len() + map.spec.binary_data.len();
    vec![map.meta.name.as_str().into(), entries.into(), age::since(map.meta.created, now.wall).into()]
}

pub(super) fn secret(secret: &Secret, now: &Now) -> Vec<Value> {
    vec![
        secret.meta.name.as_str().into(),
        secret.spec.kind.as_str().into(),
        secret.spec.data.len().into(),
        age::since(secret.meta.created, now.wall).into(),
    ]
}

pub(super) fn namespace(namespace: &Namespace, now: &Now) -> Vec<Value> {
    let status = if namespace.meta.deleting.is_some() { "Terminating" } else { "Active" };
    vec![namespace.meta.name.as_str().into(), status.into(), age::since(namespace.meta.created, now.wall).into()]
}

pub(super) fn revision(revision: &Revision, now: &Now) -> Vec<Value> {
    let owner = revision.meta.owner.as_ref().map(|owner| {
        let names = owner.kind.names();
        let dot = if names.group.is_empty() { "" } else { "." };
        format!("{}{dot}{}/{}", names.singular, names.group, owner.name)
    });
    vec![
        revision.meta.name.as_str().into(),
        owner.unwrap_or_else(|| "<none>".into()).into(),
        revision.number.into(),
        age::since(revision.meta.created, now.wall).into(),
    ]
}

pub(super) fn image(image: &Image, now: &Now) -> Vec<Value> {
    vec![
        or_none(image.spec.reference.clone()).into(),
        or_none(image::short_id(&image.spec.id).to_string()).into(),
        if image.spec.layers.is_empty() { "<none>".to_string() } else { image::size_text(image.spec.size()) }.into(),
        source(&image.spec).into(),
        age::since(image.meta.created, now.wall).into(),
        or_none(image.spec.entrypoint.join(" ")).into(),
    ]
}

fn source(image: &ImageSpec) -> String {
    match image.origin {
        Origin::Directory => image.directory.clone(),
        Origin::Import => "import".to_string(),
        Origin::Registry => "registry".to_string(),
    }
}

pub(super) fn set(set: &Set, now: &Now) -> Vec<Value> {
    vec![
        set.meta.name.as_str().into(),
        set.key.scope.to_string().into(),
        set.rev.into(),
        if set.rejected.is_some() { "Rejected" } else { "Committed" }.into(),
        format!("{}/{}", set.objects_met(), set.objects.len()).into(),
        age::since(set.meta.created, now.wall).into(),
    ]
}
