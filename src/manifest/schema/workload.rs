//! Pod, Job, CronJob and DaemonSet (`api/batch/v1/types.go`, `api/apps/v1/types.go`, 1.33).

use super::Shape::{Bool, Int32, Int64, IntOrText, Object, Text};
use super::meta::{LABEL_SELECTOR, TEMPLATE_META};
use super::pod::POD_SPEC;
use super::{API_VERSION, Field, KIND, METADATA, STATUS, Schema, done, only, refused};

pub(super) static POD: Schema =
    Schema { go: "Pod", fields: &[API_VERSION, KIND, METADATA, done("spec", Object(&POD_SPEC)), STATUS] };

pub(super) static JOB: Schema =
    Schema { go: "Job", fields: &[API_VERSION, KIND, METADATA, done("spec", Object(&JOB_SPEC)), STATUS] };

pub(super) static CRON_JOB: Schema =
    Schema { go: "CronJob", fields: &[API_VERSION, KIND, METADATA, done("spec", Object(&CRON_JOB_SPEC)), STATUS] };

pub(super) static DAEMON_SET: Schema =
    Schema { go: "DaemonSet", fields: &[API_VERSION, KIND, METADATA, done("spec", Object(&DAEMON_SET_SPEC)), STATUS] };

const SELECTOR: Field = done("selector", Object(&LABEL_SELECTOR));
const TEMPLATE: Field = done("template", Object(&POD_TEMPLATE));

static POD_TEMPLATE: Schema = Schema {
    go: "PodTemplateSpec",
    fields: &[done("metadata", Object(&TEMPLATE_META)), done("spec", Object(&POD_SPEC))],
};

static JOB_SPEC: Schema = Schema {
    go: "JobSpec",
    fields: &[
        done("parallelism", Int32),
        done("completions", Int32),
        done("activeDeadlineSeconds", Int64),
        done("backoffLimit", Int32),
        SELECTOR,
        done("manualSelector", Bool),
        TEMPLATE,
        done("ttlSecondsAfterFinished", Int32),
        done("suspend", Bool),
        done("podReplacementPolicy", Text),
        only("completionMode", Text, &["\"NonIndexed\""]),
        // The Job controller that pinnace has in itself.
        only("managedBy", Text, &["\"kubernetes.io/job-controller\""]),
        refused("backoffLimitPerIndex"),
        refused("maxFailedIndexes"),
        refused("podFailurePolicy"),
        refused("successPolicy"),
    ],
};

static CRON_JOB_SPEC: Schema = Schema {
    go: "CronJobSpec",
    fields: &[
        done("schedule", Text),
        done("timeZone", Text),
        done("startingDeadlineSeconds", Int64),
        done("concurrencyPolicy", Text),
        done("suspend", Bool),
        done("jobTemplate", Object(&JOB_TEMPLATE)),
        done("successfulJobsHistoryLimit", Int32),
        done("failedJobsHistoryLimit", Int32),
    ],
};

static JOB_TEMPLATE: Schema = Schema {
    go: "JobTemplateSpec",
    fields: &[done("metadata", Object(&TEMPLATE_META)), done("spec", Object(&JOB_SPEC))],
};

static DAEMON_SET_SPEC: Schema = Schema {
    go: "DaemonSetSpec",
    fields: &[
        SELECTOR,
        TEMPLATE,
        done("updateStrategy", Object(&UPDATE_STRATEGY)),
        done("minReadySeconds", Int32),
        done("revisionHistoryLimit", Int32),
    ],
};

static UPDATE_STRATEGY: Schema = Schema {
    go: "DaemonSetUpdateStrategy",
    fields: &[done("type", Text), done("rollingUpdate", Object(&ROLLING_UPDATE))],
};

static ROLLING_UPDATE: Schema =
    Schema { go: "RollingUpdateDaemonSet", fields: &[done("maxUnavailable", IntOrText), done("maxSurge", IntOrText)] };
