//! `securityContext`, of a pod and of a container: whom a process runs as, and what it may do.

use serde::Deserialize;

use super::attempt::{Capabilities, Seccomp};

#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodSecurity {
    pub run_as_user: Option<u32>,
    pub run_as_group: Option<u32>,
    pub run_as_non_root: Option<bool>,
    pub supplemental_groups: Vec<u32>,
    /// Group that owns the pod's volumes, and that its processes have.
    pub fs_group: Option<u32>,
    pub seccomp_profile: SeccompProfile,
}

#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ContainerSecurity {
    pub run_as_user: Option<u32>,
    pub run_as_group: Option<u32>,
    pub run_as_non_root: Option<bool>,
    pub allow_privilege_escalation: Option<bool>,
    pub privileged: bool,
    pub read_only_root_filesystem: bool,
    /// Names in any spelling that Kubernetes takes (`model::capability::known`).
    pub capabilities: Capabilities,
    pub seccomp_profile: SeccompProfile,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct SeccompProfile {
    #[serde(rename = "type")]
    pub kind: Seccomp,
}
