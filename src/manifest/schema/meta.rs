//! `metadata` and label selectors (`apimachinery/pkg/apis/meta/v1/types.go`).

use super::Shape::{List, Object, Text};
use super::{Schema, TEXT_MAP, TEXTS, done, dropped, idle, refused};

pub(super) static OBJECT_META: Schema = Schema {
    go: "ObjectMeta",
    fields: &[
        done("name", Text),
        done("generateName", Text),
        done("namespace", Text),
        done("labels", TEXT_MAP),
        done("annotations", TEXT_MAP),
        // A client names these two to say which object it means.
        done("uid", Text),
        done("resourceVersion", Text),
        refused("finalizers"),
        dropped("creationTimestamp"),
        dropped("deletionTimestamp"),
        dropped("deletionGracePeriodSeconds"),
        dropped("generation"),
        dropped("managedFields"),
        // Taken of a new Job alone, by the API, where it names a CronJob.
        dropped("ownerReferences"),
        dropped("selfLink"),
    ],
};

/// Of a template, Kubernetes uses labels and annotations; a name in it has never had an effect.
pub(super) static TEMPLATE_META: Schema = Schema {
    go: "ObjectMeta",
    fields: &[
        idle("name", Text),
        idle("generateName", Text),
        idle("namespace", Text),
        done("labels", TEXT_MAP),
        done("annotations", TEXT_MAP),
        dropped("uid"),
        dropped("resourceVersion"),
        refused("finalizers"),
        dropped("creationTimestamp"),
        dropped("deletionTimestamp"),
        dropped("deletionGracePeriodSeconds"),
        dropped("generation"),
        dropped("managedFields"),
        refused("ownerReferences"),
        dropped("selfLink"),
    ],
};

pub(super) static LABEL_SELECTOR: Schema = Schema {
    go: "LabelSelector",
    fields: &[done("matchLabels", TEXT_MAP), done("matchExpressions", List(&Object(&LABEL_REQUIREMENT)))],
};

static LABEL_REQUIREMENT: Schema = Schema {
    go: "LabelSelectorRequirement",
    fields: &[done("key", Text), done("operator", Text), done("values", TEXTS)],
};
