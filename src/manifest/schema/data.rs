//! ConfigMap, Secret, Namespace, Node (`api/core/v1/types.go`, 1.33), and pinnace's own Image.

use super::Shape::{Bool, Bytes, List, Map, Object, Text};
use super::{API_VERSION, KIND, METADATA, STATUS, Schema, TEXT_MAP, TEXTS, done, dropped, only, refused};

pub(super) static CONFIG_MAP: Schema = Schema {
    go: "ConfigMap",
    fields: &[
        API_VERSION,
        KIND,
        METADATA,
        done("data", TEXT_MAP),
        done("binaryData", Map(&Bytes)),
        done("immutable", Bool),
    ],
};

pub(super) static SECRET: Schema = Schema {
    go: "Secret",
    fields: &[
        API_VERSION,
        KIND,
        METADATA,
        done("type", Text),
        done("data", Map(&Bytes)),
        done("stringData", TEXT_MAP),
        done("immutable", Bool),
    ],
};

pub(super) static NAMESPACE: Schema =
    Schema { go: "Namespace", fields: &[API_VERSION, KIND, METADATA, done("spec", Object(&NAMESPACE_SPEC)), STATUS] };

static NAMESPACE_SPEC: Schema =
    Schema { go: "NamespaceSpec", fields: &[only("finalizers", TEXTS, &["[\"kubernetes\"]"])] };

pub(super) static NODE: Schema =
    Schema { go: "Node", fields: &[API_VERSION, KIND, METADATA, done("spec", Object(&NODE_SPEC)), STATUS] };

/// `drained` is pinnace's own; Kubernetes has no such state.
static NODE_SPEC: Schema = Schema {
    go: "NodeSpec",
    fields: &[
        done("unschedulable", Bool),
        done("taints", List(&Object(&TAINT))),
        done("drained", Bool),
        refused("configSource"),
        refused("externalID"),
        refused("podCIDR"),
        refused("podCIDRs"),
        refused("providerID"),
    ],
};

static TAINT: Schema = Schema {
    go: "Taint",
    fields: &[done("key", Text), done("value", Text), done("effect", Text), dropped("timeAdded")],
};

pub(super) static IMAGE: Schema =
    Schema { go: "Image", fields: &[API_VERSION, KIND, METADATA, done("spec", Object(&IMAGE_SPEC)), STATUS] };

static IMAGE_SPEC: Schema = Schema {
    go: "ImageSpec",
    fields: &[
        done("reference", Text),
        done("directory", Text),
        done("entrypoint", TEXTS),
        done("cmd", TEXTS),
        done("env", TEXTS),
        done("workingDir", Text),
    ],
};
