//! The pod's spec and all below it (`api/core/v1/types.go`, 1.33).

use super::Shape::{Amount, Bool, Int32, Int64, List, Map, Object, Text};
use super::volume::{VOLUME, VOLUME_MOUNT};
use super::{Schema, TEXT_MAP, TEXTS, done, idle, only, refused};

const FALSE: &[&str] = &["false"];
const TRUE: &[&str] = &["true"];

pub(super) static POD_SPEC: Schema = Schema {
    go: "PodSpec",
    fields: &[
        done("initContainers", List(&Object(&CONTAINER))),
        done("containers", List(&Object(&CONTAINER))),
        done("restartPolicy", Text),
        done("terminationGracePeriodSeconds", Int64),
        done("activeDeadlineSeconds", Int64),
        done("nodeName", Text),
        done("nodeSelector", TEXT_MAP),
        done("affinity", Object(&AFFINITY)),
        done("tolerations", List(&Object(&TOLERATION))),
        done("hostname", Text),
        done("securityContext", Object(&POD_SECURITY)),
        done("volumes", List(&Object(&VOLUME))),
        done("imagePullSecrets", List(&Object(&SECRET_NAME))),
        // Pods share the host's network; `false` is what a manifest without the field has, too.
        idle("hostNetwork", Bool),
        only("hostPID", Bool, FALSE),
        only("hostIPC", Bool, FALSE),
        only("hostUsers", Bool, TRUE),
        only("shareProcessNamespace", Bool, FALSE),
        // With the host's network all three mean the host's resolver.
        only("dnsPolicy", Text, &["\"ClusterFirst\"", "\"ClusterFirstWithHostNet\"", "\"Default\""]),
        only("schedulerName", Text, &["\"default-scheduler\""]),
        // There are no Services, so there are no links to them.
        idle("enableServiceLinks", Bool),
        only("automountServiceAccountToken", Bool, FALSE),
        only("serviceAccountName", Text, &["\"default\""]),
        only("serviceAccount", Text, &["\"default\""]),
        only("priority", Int32, &["0"]),
        // Nothing is ever preempted.
        idle("preemptionPolicy", Text),
        only("setHostnameAsFQDN", Bool, FALSE),
        only("os", Object(&POD_OS), &["{\"name\":\"linux\"}"]),
        refused("dnsConfig"),
        refused("ephemeralContainers"),
        refused("hostAliases"),
        refused("overhead"),
        refused("priorityClassName"),
        refused("readinessGates"),
        refused("resourceClaims"),
        refused("resources"),
        refused("runtimeClassName"),
        refused("schedulingGates"),
        refused("subdomain"),
        refused("topologySpreadConstraints"),
    ],
};

static SECRET_NAME: Schema = Schema { go: "LocalObjectReference", fields: &[done("name", Text)] };

static POD_OS: Schema = Schema { go: "PodOS", fields: &[done("name", Text)] };

static CONTAINER: Schema = Schema {
    go: "Container",
    fields: &[
        done("name", Text),
        done("image", Text),
        done("imagePullPolicy", Text),
        done("command", TEXTS),
        done("args", TEXTS),
        done("workingDir", Text),
        done("env", List(&Object(&ENV_VAR))),
        done("envFrom", List(&Object(&ENV_FROM))),
        done("ports", List(&Object(&PORT))),
        done("resources", Object(&RESOURCES)),
        done("securityContext", Object(&CONTAINER_SECURITY)),
        done("volumeMounts", List(&Object(&VOLUME_MOUNT))),
        only("terminationMessagePath", Text, &["\"/dev/termination-log\""]),
        only("terminationMessagePolicy", Text, &["\"File\""]),
        only("stdin", Bool, FALSE),
        only("stdinOnce", Bool, FALSE),
        only("tty", Bool, FALSE),
        refused("lifecycle"),
        refused("livenessProbe"),
        refused("readinessProbe"),
        refused("startupProbe"),
        refused("resizePolicy"),
        // Of an init container: a sidecar.
        refused("restartPolicy"),
        refused("volumeDevices"),
    ],
};

static ENV_VAR: Schema =
    Schema { go: "EnvVar", fields: &[done("name", Text), done("value", Text), done("valueFrom", Object(&ENV_SOURCE))] };

static ENV_SOURCE: Schema = Schema {
    go: "EnvVarSource",
    fields: &[
        done("fieldRef", Object(&FIELD_REF)),
        done("resourceFieldRef", Object(&RESOURCE_FIELD_REF)),
        done("configMapKeyRef", Object(&CONFIG_MAP_KEY_REF)),
        done("secretKeyRef", Object(&SECRET_KEY_REF)),
    ],
};

pub(super) static FIELD_REF: Schema =
    Schema { go: "ObjectFieldSelector", fields: &[only("apiVersion", Text, &["\"v1\""]), done("fieldPath", Text)] };

pub(super) static RESOURCE_FIELD_REF: Schema = Schema {
    go: "ResourceFieldSelector",
    fields: &[done("containerName", Text), done("resource", Text), done("divisor", Amount)],
};

static CONFIG_MAP_KEY_REF: Schema =
    Schema { go: "ConfigMapKeySelector", fields: &[done("name", Text), done("key", Text), done("optional", Bool)] };

static SECRET_KEY_REF: Schema =
    Schema { go: "SecretKeySelector", fields: &[done("name", Text), done("key", Text), done("optional", Bool)] };

static ENV_FROM: Schema = Schema {
    go: "EnvFromSource",
    fields: &[
        done("prefix", Text),
        done("configMapRef", Object(&CONFIG_MAP_REF)),
        done("secretRef", Object(&SECRET_REF)),
    ],
};

static CONFIG_MAP_REF: Schema =
    Schema { go: "ConfigMapEnvSource", fields: &[done("name", Text), done("optional", Bool)] };

static SECRET_REF: Schema = Schema { go: "SecretEnvSource", fields: &[done("name", Text), done("optional", Bool)] };

static PORT: Schema = Schema {
    go: "ContainerPort",
    fields: &[
        done("name", Text),
        done("containerPort", Int32),
        done("hostPort", Int32),
        done("protocol", Text),
        refused("hostIP"),
    ],
};

static RESOURCES: Schema = Schema {
    go: "ResourceRequirements",
    fields: &[done("limits", Map(&Amount)), done("requests", Map(&Amount)), refused("claims")],
};

static POD_SECURITY: Schema = Schema {
    go: "PodSecurityContext",
    fields: &[
        done("runAsUser", Int64),
        done("runAsGroup", Int64),
        done("runAsNonRoot", Bool),
        done("supplementalGroups", List(&Int64)),
        done("fsGroup", Int64),
        // Volumes are as small as a device is: their groups are always set.
        idle("fsGroupChangePolicy", Text),
        done("seccompProfile", Object(&SECCOMP)),
        refused("appArmorProfile"),
        refused("seLinuxChangePolicy"),
        refused("seLinuxOptions"),
        refused("supplementalGroupsPolicy"),
        refused("sysctls"),
        refused("windowsOptions"),
    ],
};

static CONTAINER_SECURITY: Schema = Schema {
    go: "SecurityContext",
    fields: &[
        done("runAsUser", Int64),
        done("runAsGroup", Int64),
        done("runAsNonRoot", Bool),
        done("allowPrivilegeEscalation", Bool),
        done("privileged", Bool),
        done("readOnlyRootFilesystem", Bool),
        done("capabilities", Object(&CAPABILITIES)),
        done("seccompProfile", Object(&SECCOMP)),
        only("procMount", Text, &["\"Default\""]),
        refused("appArmorProfile"),
        refused("seLinuxOptions"),
        refused("windowsOptions"),
    ],
};

static CAPABILITIES: Schema = Schema { go: "Capabilities", fields: &[done("add", TEXTS), done("drop", TEXTS)] };

static SECCOMP: Schema = Schema {
    go: "SeccompProfile",
    fields: &[only("type", Text, &["\"RuntimeDefault\"", "\"Unconfined\""]), refused("localhostProfile")],
};

static AFFINITY: Schema = Schema {
    go: "Affinity",
    fields: &[done("nodeAffinity", Object(&NODE_AFFINITY)), refused("podAffinity"), refused("podAntiAffinity")],
};

static NODE_AFFINITY: Schema = Schema {
    go: "NodeAffinity",
    fields: &[
        done("requiredDuringSchedulingIgnoredDuringExecution", Object(&NODE_SELECTOR)),
        // A preference among one node.
        idle("preferredDuringSchedulingIgnoredDuringExecution", List(&Object(&PREFERRED_TERM))),
    ],
};

static NODE_SELECTOR: Schema =
    Schema { go: "NodeSelector", fields: &[done("nodeSelectorTerms", List(&Object(&NODE_SELECTOR_TERM)))] };

static PREFERRED_TERM: Schema = Schema {
    go: "PreferredSchedulingTerm",
    fields: &[done("weight", Int32), done("preference", Object(&NODE_SELECTOR_TERM))],
};

static NODE_SELECTOR_TERM: Schema = Schema {
    go: "NodeSelectorTerm",
    fields: &[
        done("matchExpressions", List(&Object(&NODE_REQUIREMENT))),
        done("matchFields", List(&Object(&NODE_REQUIREMENT))),
    ],
};

static NODE_REQUIREMENT: Schema = Schema {
    go: "NodeSelectorRequirement",
    fields: &[done("key", Text), done("operator", Text), done("values", TEXTS)],
};

static TOLERATION: Schema = Schema {
    go: "Toleration",
    fields: &[
        done("key", Text),
        done("operator", Text),
        done("value", Text),
        done("effect", Text),
        done("tolerationSeconds", Int64),
    ],
};
