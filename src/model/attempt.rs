//! One attempt: one life of one container. What the runtime needs to start it, and what it reports of it.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::pod::Qos;
use super::{BootId, Timestamp, Uid};

/// An attempt starts at most once, ever.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AttemptId {
    pub pod: Uid,
    pub container: String,
    /// The container's restart number, from 0.
    pub number: u32,
}

/// Everything that is needed to start an attempt; decided by the core, carried out without a choice.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Launch {
    pub attempt: AttemptId,
    pub namespace: String,
    pub pod_name: String,
    pub qos: Qos,
    /// Program and arguments; a program without a slash is looked up in the `PATH` of `env`.
    pub argv: Vec<String>,
    pub env: Vec<(String, String)>,
    /// Default `/`.
    pub cwd: String,
    pub root: Root,
    /// The root file system is read-only (`readOnlyRootFilesystem`).
    pub read_only_root: bool,
    /// The volumes of the pod that this container mounts; made by whoever comes first.
    pub volumes: Vec<VolumeOrder>,
    /// In the order of the manifest.
    pub mounts: Vec<Mount>,
    /// Of the UTS namespace, where the container has one.
    pub hostname: String,
    /// From the security context; goes before the image's.
    pub user: Option<u32>,
    /// `USER` of the image, looked up in its `/etc/passwd` and `/etc/group`; used where `user` is none.
    pub image_user: String,
    pub group: Option<u32>,
    pub groups: Vec<u32>,
    /// Refuse to start as user 0 (`runAsNonRoot`).
    pub must_not_be_root: bool,
    pub no_new_privileges: bool,
    pub privileged: bool,
    pub capabilities: Capabilities,
    pub seccomp: Seccomp,
    /// The number of the signal that asks it to end.
    pub stop_signal: i32,
    pub pod_limits: Limits,
    pub limits: Limits,
    pub oom_score_adj: i32,
    pub log_bytes_max: u64,
    pub log_files_max: u32,
}

/// The file system that a container sees.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Root {
    /// The host's own: no namespaces but what volumes need, no capability taken away.
    Host,
    /// A directory that a person registered as an image; absolute. Containers write into it.
    Directory(String),
    /// Layers of the store by `diff_id`, lowest first; what a container writes goes with its attempt.
    Layers(Vec<String>),
}

/// Changes to the usual set of a container (`securityContext.capabilities`), names without `CAP_`, `ALL` among them.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Capabilities {
    pub add: Vec<String>,
    pub drop: Vec<String>,
}

/// `securityContext.seccompProfile.type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Seccomp {
    /// The usual filter for images, none for the host's file system.
    #[default]
    Unset,
    RuntimeDefault,
    Unconfined,
}

/// One volume of a pod, as it is to be on the host before a container mounts it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VolumeOrder {
    /// Unique in the pod; names its directory.
    pub name: String,
    /// Group that owns it (`fsGroup`).
    pub group: Option<u32>,
    pub content: VolumeContent,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum VolumeContent {
    /// Empty when it is made; then kept until the pod goes.
    Empty {
        /// A tmpfs, `medium: Memory`.
        memory: bool,
        size_max: Option<u64>,
    },
    /// ConfigMap, Secret, downwardAPI, projected: replaced as a whole when it changes.
    Files(Vec<VolumeFile>),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeFile {
    /// Relative, without `..`.
    pub path: String,
    /// Base64.
    pub data: String,
    /// Permission bits.
    pub mode: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Mount {
    /// Where, inside the container; absolute.
    pub path: String,
    pub source: MountSource,
    /// Below the source; relative, without `..`; empty: all of it. Made when it is not there, as a directory.
    pub sub_path: String,
    pub read_only: bool,
    /// What the host mounts below it later is seen too (`mountPropagation: HostToContainer`).
    pub follow_host: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum MountSource {
    /// The volume of that name in `Launch::volumes`.
    Volume(String),
    Host {
        path: String,
        kind: HostPathType,
    },
}

/// What must be at a host path, or is to be made there (`hostPath.type`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum HostPathType {
    #[default]
    #[serde(rename = "")]
    Any,
    DirectoryOrCreate,
    Directory,
    FileOrCreate,
    File,
    Socket,
    CharDevice,
    BlockDevice,
}

/// Values for cgroup v2 files; none leaves the kernel's default (`max`).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Limits {
    pub cpu_weight: Option<u64>,
    /// Microseconds of CPU per 100,000 microseconds.
    pub cpu_quota_us: Option<u64>,
    pub memory_max: Option<u64>,
    pub pids_max: Option<u64>,
}

/// How an attempt ended: the content of the exit record that the shim leaves on disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    pub attempt: AttemptId,
    pub how: HowEnded,
    pub oom_killed: bool,
    /// Somebody else than the daemon told all processes to end, the shim too: as an init system does when the machine
    /// goes down.
    #[serde(default)]
    pub told_from_outside: bool,
    /// None when no process came to be.
    pub started: Option<Stamp>,
    pub finished: Stamp,
}

/// An instant as the shim reads it: it knows no trust.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    pub wall: Timestamp,
    pub boot: BootId,
    pub up_ms: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum HowEnded {
    Code(i32),
    Signal(i32),
    /// No process of the workload ran: what was tried and why it failed (`StartError`, exit code 128).
    NotStarted(String),
    /// The shim is gone and left no record; nothing of the attempt lives (`ContainerStatusUnknown`, 137).
    Lost,
}

/// What the runtime finds of one attempt when the daemon starts.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    pub attempt: AttemptId,
    pub state: FoundState,
}

#[derive(Debug, Clone, PartialEq)]
pub enum FoundState {
    /// Its shim lives; the process may be just about to start (`pid` none).
    Live {
        pid: Option<u32>,
        started: Option<Stamp>,
    },
    Exited(Exit),
    /// It was begun in this boot, its shim is gone, and there is no record.
    Lost,
}

impl fmt::Display for AttemptId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.pod, self.container, self.number)
    }
}
