//! ConfigMap, Secret and Namespace: objects that hold and name things and do nothing.

use serde::{Deserialize, Serialize};

use super::{Labels, Meta, Spec};

/// `document` of the spec is the whole of `data`, `binaryData` and `immutable` as an object.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ConfigMap {
    pub meta: Meta,
    pub spec: Spec<ConfigMapData>,
}

#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConfigMapData {
    pub data: Labels,
    /// Values are base64.
    pub binary_data: Labels,
    pub immutable: bool,
}

/// `document` of the spec is `type`, `data` (base64) and `immutable`; `stringData` was merged into `data`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Secret {
    pub meta: Meta,
    pub spec: Spec<SecretData>,
}

#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SecretData {
    #[serde(rename = "type")]
    pub kind: String,
    /// Values are base64.
    pub data: Labels,
    pub immutable: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Namespace {
    pub meta: Meta,
}
