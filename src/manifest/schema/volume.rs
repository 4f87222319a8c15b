//! A pod's volumes and how its containers mount them (`api/core/v1/types.go`, 1.33).

use super::Shape::{Amount, Bool, Int32, List, Object, Text};
use super::pod::{FIELD_REF, RESOURCE_FIELD_REF};
use super::{Schema, done, never, only};

pub(super) static VOLUME: Schema = Schema {
    go: "Volume",
    fields: &[
        done("name", Text),
        done("emptyDir", Object(&EMPTY_DIR)),
        done("hostPath", Object(&HOST_PATH)),
        done("configMap", Object(&CONFIG_MAP)),
        done("secret", Object(&SECRET)),
        done("downwardAPI", Object(&DOWNWARD)),
        done("projected", Object(&PROJECTED)),
        never("awsElasticBlockStore"),
        never("azureDisk"),
        never("azureFile"),
        never("cephfs"),
        never("cinder"),
        never("csi"),
        never("ephemeral"),
        never("fc"),
        never("flexVolume"),
        never("flocker"),
        never("gcePersistentDisk"),
        never("gitRepo"),
        never("glusterfs"),
        never("image"),
        never("iscsi"),
        never("nfs"),
        never("persistentVolumeClaim"),
        never("photonPersistentDisk"),
        never("portworxVolume"),
        never("quobyte"),
        never("rbd"),
        never("scaleIO"),
        never("storageos"),
        never("vsphereVolume"),
    ],
};

static EMPTY_DIR: Schema =
    Schema { go: "EmptyDirVolumeSource", fields: &[only("medium", Text, &["\"Memory\""]), done("sizeLimit", Amount)] };

static HOST_PATH: Schema = Schema { go: "HostPathVolumeSource", fields: &[done("path", Text), done("type", Text)] };

static CONFIG_MAP: Schema = Schema {
    go: "ConfigMapVolumeSource",
    fields: &[
        done("name", Text),
        done("items", List(&Object(&KEY_TO_PATH))),
        done("defaultMode", Int32),
        done("optional", Bool),
    ],
};

static SECRET: Schema = Schema {
    go: "SecretVolumeSource",
    fields: &[
        done("secretName", Text),
        done("items", List(&Object(&KEY_TO_PATH))),
        done("defaultMode", Int32),
        done("optional", Bool),
    ],
};

static KEY_TO_PATH: Schema =
    Schema { go: "KeyToPath", fields: &[done("key", Text), done("path", Text), done("mode", Int32)] };

static DOWNWARD: Schema = Schema {
    go: "DownwardAPIVolumeSource",
    fields: &[done("items", List(&Object(&DOWNWARD_FILE))), done("defaultMode", Int32)],
};

static DOWNWARD_FILE: Schema = Schema {
    go: "DownwardAPIVolumeFile",
    fields: &[
        done("path", Text),
        done("fieldRef", Object(&FIELD_REF)),
        done("resourceFieldRef", Object(&RESOURCE_FIELD_REF)),
        done("mode", Int32),
    ],
};

static PROJECTED: Schema = Schema {
    go: "ProjectedVolumeSource",
    fields: &[done("sources", List(&Object(&PROJECTION))), done("defaultMode", Int32)],
};

static PROJECTION: Schema = Schema {
    go: "VolumeProjection",
    fields: &[
        done("configMap", Object(&CONFIG_MAP_PROJECTION)),
        done("secret", Object(&SECRET_PROJECTION)),
        done("downwardAPI", Object(&DOWNWARD_PROJECTION)),
        never("clusterTrustBundle"),
        never("serviceAccountToken"),
    ],
};

static CONFIG_MAP_PROJECTION: Schema = Schema {
    go: "ConfigMapProjection",
    fields: &[done("name", Text), done("items", List(&Object(&KEY_TO_PATH))), done("optional", Bool)],
};

static SECRET_PROJECTION: Schema = Schema {
    go: "SecretProjection",
    fields: &[done("name", Text), done("items", List(&Object(&KEY_TO_PATH))), done("optional", Bool)],
};

static DOWNWARD_PROJECTION: Schema =
    Schema { go: "DownwardAPIProjection", fields: &[done("items", List(&Object(&DOWNWARD_FILE)))] };

pub(super) static VOLUME_MOUNT: Schema = Schema {
    go: "VolumeMount",
    fields: &[
        done("name", Text),
        done("mountPath", Text),
        done("subPath", Text),
        done("subPathExpr", Text),
        done("readOnly", Bool),
        only("mountPropagation", Text, &["\"HostToContainer\"", "\"None\""]),
        only("recursiveReadOnly", Text, &["\"Disabled\""]),
    ],
};
