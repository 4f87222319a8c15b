//! Manifests and indexes: what an image is made of, by digest. Knows neither where the blobs are nor how they come.
//!
//! Sources: OCI image spec, `manifest.md`, `image-index.md`, `descriptor.md`; docker's image manifest version 2, schema 2.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};

use super::config::{DOCUMENT_BYTES_MAX, LAYERS_MAX};
use super::read::sha256_digits;
use super::{ImageError, Packing, Platform};

const INDEXES: [&str; 2] =
    ["application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json"];
const MANIFESTS: [&str; 2] =
    ["application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json"];
const CONFIGS: [&str; 2] =
    ["application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json"];
/// Manifests of one index.
const INDEX_MAX: usize = 1000;

/// A blob by its digest.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    #[serde(default, deserialize_with = "or_default")]
    pub media_type: String,
    pub digest: String,
    pub size: u64,
    #[serde(default, deserialize_with = "or_default")]
    pub annotations: BTreeMap<String, String>,
    #[serde(default)]
    platform: Option<Named>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Named {
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    os: String,
    #[serde(default, deserialize_with = "or_default")]
    variant: String,
}

/// What a tag or a digest leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Document {
    /// One manifest for each platform, or further indexes.
    Index(Vec<Descriptor>),
    Manifest(Manifest),
}

/// One image for one platform; every media type in it is one that is read here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    pub config: Descriptor,
    /// Lowest first.
    pub layers: Vec<Descriptor>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    #[serde(default)]
    schema_version: u64,
    #[serde(default, deserialize_with = "or_default")]
    media_type: String,
    manifests: Option<Vec<Descriptor>>,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
}

impl Descriptor {
    /// None: it does not say, and its configuration will.
    pub fn platform(&self) -> Option<Platform> {
        self.platform.as_ref().map(|named| Platform::new(&named.os, &named.architecture, &named.variant))
    }

    /// How a layer of this media type is packed.
    ///
    /// # Errors
    /// `Unsupported`: it is encrypted, lies elsewhere than in registries, or is no layer that is known here.
    pub fn packing(&self) -> Result<Packing, ImageError> {
        let kind = self.media_type.as_str();
        let refuse =
            |why: &str| Err(ImageError::Unsupported(format!("the layer {} has the type {kind:?}: {why}", self.digest)));
        if kind.ends_with("+encrypted") {
            return refuse("encrypted layers are not read; decrypt the image (skopeo copy --decryption-key)");
        }
        if kind.contains(".foreign.") || kind.contains(".nondistributable.") {
            return refuse("it is not part of the image, but must be fetched from its maker; such images are not read");
        }
        match kind {
            "application/vnd.oci.image.layer.v1.tar" | "application/vnd.docker.image.rootfs.diff.tar" => {
                Ok(Packing::Plain)
            }
            "application/vnd.oci.image.layer.v1.tar+gzip" | "application/vnd.docker.image.rootfs.diff.tar.gzip" => {
                Ok(Packing::Gzip)
            }
            "application/vnd.oci.image.layer.v1.tar+zstd" | "application/vnd.docker.image.rootfs.diff.tar.zstd" => {
                Ok(Packing::Zstd)
            }
            _ => refuse("only tar archives, plain or packed with gzip or zstd, are layers"),
        }
    }
}

impl Document {
    /// Reads what a descriptor or a registry calls `media_type`; what the document says of itself goes first.
    ///
    /// # Errors
    /// `Invalid`: it is no manifest and no index. `Unsupported`: a kind of image that is not read, by its name.
    pub fn read(bytes: &[u8], media_type: &str) -> Result<Document, ImageError> {
        let invalid = |why: String| ImageError::Invalid(format!("read the image's manifest: {why}"));
        if bytes.len() as u64 > DOCUMENT_BYTES_MAX {
            return Err(invalid(format!("it has more than {DOCUMENT_BYTES_MAX} bytes")));
        }
        if media_type.starts_with("application/vnd.docker.distribution.manifest.v1+") {
            return Err(schema_1());
        }
        let raw: Raw = serde_json::from_slice(bytes).map_err(|e| invalid(e.to_string()))?;
        if raw.schema_version == 1 {
            return Err(schema_1());
        }
        let kind = if raw.media_type.is_empty() { media_type } else { &raw.media_type };
        let is_known = kind.is_empty() || INDEXES.contains(&kind) || MANIFESTS.contains(&kind);
        if !is_known {
            return Err(ImageError::Unsupported(format!("the manifest has the type {kind:?}, which is no image")));
        }
        match (raw.manifests, raw.config, raw.layers) {
            (Some(manifests), None, None) if !MANIFESTS.contains(&kind) => Document::index(manifests),
            (None, Some(config), Some(layers)) if !INDEXES.contains(&kind) => Document::manifest(config, layers),
            // A document that can be taken for both would be two images under one digest.
            _ => Err(invalid(
                "it has not the fields of a manifest (config, layers) or of an index (manifests) alone".into(),
            )),
        }
    }

    fn index(manifests: Vec<Descriptor>) -> Result<Document, ImageError> {
        if manifests.len() > INDEX_MAX {
            return Err(ImageError::Invalid(format!("the index has more than {INDEX_MAX} manifests")));
        }
        Ok(Document::Index(manifests))
    }

    fn manifest(config: Descriptor, layers: Vec<Descriptor>) -> Result<Document, ImageError> {
        if !CONFIGS.contains(&config.media_type.as_str()) {
            let kind = &config.media_type;
            return Err(ImageError::Unsupported(format!(
                "its configuration has the type {kind:?}: that is no container image"
            )));
        }
        if layers.len() > LAYERS_MAX {
            return Err(ImageError::Invalid(format!("the image has more than {LAYERS_MAX} layers")));
        }
        sha256_digits(&config.digest, "the configuration")?;
        for layer in &layers {
            sha256_digits(&layer.digest, "a layer")?;
            layer.packing()?;
        }
        Ok(Document::Manifest(Manifest { config, layers }))
    }
}

fn schema_1() -> ImageError {
    ImageError::Unsupported(
        "the image has a manifest of docker's schema 1, which is not read; push it with a docker of our time".into(),
    )
}

fn or_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(from: D) -> Result<T, D::Error> {
    Option::<T>::deserialize(from).map(Option::unwrap_or_default)
}

#[cfg(test)]
mod tests {
    use super::{Document, ImageError};

    const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
    const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

    fn descriptor(kind: &str) -> String {
        format!(r#"{{"mediaType":"{kind}","digest":"sha256:{}","size":1,"annotations":null}}"#, "a".repeat(64))
    }

    fn manifest(config: &str, layer: &str) -> String {
        format!(r#"{{"schemaVersion":2,"config":{},"layers":[{}]}}"#, descriptor(config), descriptor(layer))
    }

    fn read(text: &str) -> Result<Document, ImageError> {
        Document::read(text.as_bytes(), "")
    }

    #[test]
    fn layers_say_how_they_are_packed() {
        use super::Packing::{Gzip, Plain, Zstd};
        let cases = [
            (LAYER, Plain),
            ("application/vnd.oci.image.layer.v1.tar+gzip", Gzip),
            ("application/vnd.oci.image.layer.v1.tar+zstd", Zstd),
            ("application/vnd.docker.image.rootfs.diff.tar.gzip", Gzip),
        ];
        for (kind, expected) in cases {
            let Document::Manifest(read) = read(&manifest(CONFIG, kind)).unwrap() else { panic!("no manifest") };
            assert_eq!(read.layers[0].packing().unwrap(), expected);
        }
    }

    #[test]
    fn other_kinds_are_refused_by_name() {
        let both = format!(r#"{{"manifests":[],"config":{},"layers":[]}}"#, descriptor(CONFIG));
        let lies =
            manifest(CONFIG, LAYER).replacen('{', r#"{"mediaType":"application/vnd.oci.image.index.v1+json","#, 1);
        let cases = [
            (manifest("application/vnd.cncf.helm.config.v1+json", LAYER), "helm"),
            (manifest(CONFIG, "text/plain"), "text/plain"),
            (manifest(CONFIG, "application/vnd.oci.image.layer.v1.tar+gzip+encrypted"), "encrypted layers"),
            (manifest(CONFIG, "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"), "fetched from its maker"),
            (manifest(CONFIG, "application/vnd.oci.image.layer.nondistributable.v1.tar"), "fetched from its maker"),
            (r#"{"schemaVersion":1,"fsLayers":[]}"#.into(), "schema 1"),
            (r#"{"mediaType":"application/x","manifests":[]}"#.into(), "application/x"),
            (both, "alone"),
            (lies, "alone"),
            ("{}".into(), "alone"),
            ("[]".into(), "read the image's manifest"),
            (manifest(CONFIG, LAYER).replace("\"size\":1", "\"size\":-1"), "read the image's manifest"),
            (manifest(CONFIG, LAYER).replace("sha256:a", "sha256:A"), "sha256"),
        ];
        for (text, expected) in cases {
            let error = read(&text).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
        let signed = Document::read(b"{}", "application/vnd.docker.distribution.manifest.v1+prettyjws");
        assert!(signed.unwrap_err().to_string().contains("schema 1"));
    }
}
