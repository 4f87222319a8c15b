//! What a manifest says of volumes and mounts: the typed view of `spec.volumes` and `volumeMounts`. Knows no directory.

use serde::Deserialize;

use super::Quantity;
use super::attempt::HostPathType;
use super::pod::{FieldRef, ResourceFieldRef};

/// The most permission bits that a file of a volume may have.
pub const MODE_MAX: u32 = 0o777;
/// Permission bits where nobody says any (`defaultMode`).
const MODE_DEFAULT: u32 = 0o644;

/// Exactly one of the sources is set; `manifest` refuses more and makes none an `emptyDir`.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Volume {
    pub name: String,
    pub empty_dir: Option<EmptyDir>,
    pub host_path: Option<HostPath>,
    pub config_map: Option<DataSource>,
    pub secret: Option<DataSource>,
    #[serde(rename = "downwardAPI")]
    pub downward_api: Option<DownwardSource>,
    pub projected: Option<Projected>,
}

#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EmptyDir {
    pub medium: Medium,
    pub size_limit: Option<Quantity>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
pub enum Medium {
    /// The disk that the pod's logs are on.
    #[default]
    #[serde(rename = "")]
    Disk,
    Memory,
}

#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default)]
pub struct HostPath {
    /// Absolute.
    pub path: String,
    #[serde(rename = "type")]
    pub kind: HostPathType,
}

/// A ConfigMap or Secret, as a volume or as a part of a projected one.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DataSource {
    /// A Secret that is a volume of its own is named by `secretName`.
    #[serde(alias = "secretName")]
    pub name: String,
    /// The keys that become files; empty: each key, under its own name.
    pub items: Vec<KeyToPath>,
    pub default_mode: Option<u32>,
    /// Neither the object nor its keys need be there.
    pub optional: bool,
}

#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default)]
pub struct KeyToPath {
    pub key: String,
    /// Relative, without `..`.
    pub path: String,
    pub mode: Option<u32>,
}

/// Fields of the pod itself.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DownwardSource {
    pub items: Vec<DownwardFile>,
    pub default_mode: Option<u32>,
}

/// One of the two references is set.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DownwardFile {
    /// Relative, without `..`.
    pub path: String,
    pub field_ref: Option<FieldRef>,
    pub resource_field_ref: Option<ResourceFieldRef>,
    pub mode: Option<u32>,
}

#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Projected {
    pub sources: Vec<Projection>,
    pub default_mode: Option<u32>,
}

/// One of them is set.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Projection {
    pub config_map: Option<DataSource>,
    pub secret: Option<DataSource>,
    #[serde(rename = "downwardAPI")]
    pub downward_api: Option<DownwardSource>,
}

#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct VolumeMount {
    /// Of a volume of the pod.
    pub name: String,
    pub mount_path: String,
    pub sub_path: String,
    /// As `sub_path`, with `$(NAME)` of the container's environment.
    pub sub_path_expr: String,
    pub read_only: bool,
    pub mount_propagation: MountPropagation,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
pub enum MountPropagation {
    #[default]
    None,
    HostToContainer,
}

/// What the files of a volume are made from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum FileSource<'v> {
    ConfigMap(&'v DataSource),
    Secret(&'v DataSource),
    Downward(&'v DownwardSource),
}

impl Volume {
    /// The sources of a volume that consists of files, in order, and the permission bits of files that say none; no
    /// sources for `emptyDir` and `hostPath`.
    pub fn files(&self) -> (Vec<FileSource<'_>>, u32) {
        let mode = |mode: Option<u32>| mode.unwrap_or(MODE_DEFAULT);
        if let Some(map) = &self.config_map {
            (vec![FileSource::ConfigMap(map)], mode(map.default_mode))
        } else if let Some(secret) = &self.secret {
            (vec![FileSource::Secret(secret)], mode(secret.default_mode))
        } else if let Some(downward) = &self.downward_api {
            (vec![FileSource::Downward(downward)], mode(downward.default_mode))
        } else if let Some(projected) = &self.projected {
            (projected.sources.iter().filter_map(Projection::source).collect(), mode(projected.default_mode))
        } else {
            (Vec::new(), MODE_DEFAULT)
        }
    }

    /// It consists of files, be there any or not: mounted read-only, and replaced when what they come from changes.
    pub fn is_files(&self) -> bool {
        self.config_map.is_some() || self.secret.is_some() || self.downward_api.is_some() || self.projected.is_some()
    }
}

impl Projection {
    fn source(&self) -> Option<FileSource<'_>> {
        let map = self.config_map.as_ref().map(FileSource::ConfigMap);
        let secret = || self.secret.as_ref().map(FileSource::Secret);
        map.or_else(secret).or_else(|| self.downward_api.as_ref().map(FileSource::Downward))
    }
}
