//! Reads what a registry says of an image: manifests and lists of them (OCI image spec, "Image Manifest" and "Image Index";
//! Docker's manifest, version 2, schema 2). Pure; believes nothing that its bytes do not prove.

use serde::Deserialize;

use crate::image::{ImageError, Packing, Platform};

/// Distribution spec, "Pulling manifests": what registries accept at least.
pub const MANIFEST_BYTES_MAX: usize = 4 << 20;
pub const CONFIG_BYTES_MAX: usize = 8 << 20;
/// Entries of a list, and layers of an image.
const ENTRIES_MAX: usize = 1000;

const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
const CONFIGS: [&str; 2] =
    ["application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json"];

/// All that we can read, for the header `Accept`.
pub const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
                          application/vnd.docker.distribution.manifest.list.v2+json, \
                          application/vnd.docker.distribution.manifest.v2+json";

/// One piece of content: what it is, its digest, how many bytes it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blob {
    pub media_type: String,
    /// 64 hexadecimal digits of SHA-256.
    pub hex: String,
    pub size: u64,
}

impl Blob {
    pub fn digest(&self) -> String {
        format!("sha256:{}", self.hex)
    }

    /// As people recognise it.
    pub fn short(&self) -> &str {
        &self.hex[..12]
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Document {
    Image(Manifest),
    /// The image for each platform; an entry without one is for any.
    List(Vec<(Option<Platform>, Blob)>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    pub config: Blob,
    /// Lowest first.
    pub layers: Vec<(Blob, Packing)>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Written {
    schema_version: u64,
    media_type: String,
    artifact_type: String,
    config: Option<WrittenBlob>,
    layers: Option<Vec<WrittenBlob>>,
    manifests: Option<Vec<WrittenBlob>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WrittenBlob {
    #[serde(default)]
    media_type: String,
    digest: String,
    size: u64,
    #[serde(default)]
    platform: Option<WrittenPlatform>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct WrittenPlatform {
    os: String,
    architecture: String,
    variant: String,
}

/// # Errors
/// `Refused`: it is no image that this node can have; the text says what it is.
pub fn read(bytes: &[u8], content_type: Option<&str>) -> Result<Document, ImageError> {
    let written: Written =
        serde_json::from_slice(bytes).map_err(|e| refused(format!("the manifest is not what one must be: {e}")))?;
    let sent = content_type.and_then(|sent| sent.split(';').next()).unwrap_or_default().trim();
    let media_type = if written.media_type.is_empty() { sent } else { &written.media_type };
    if written.schema_version == 1 || media_type.contains(".distribution.manifest.v1+") {
        return Err(refused(
            "the manifest has Docker's schema 1, which no longer says what an image is; push the image again with a \
             current tool",
        ));
    }
    match (written.manifests, written.layers, written.config) {
        (Some(list), None, None) => is_one_of(media_type, &[OCI_INDEX, DOCKER_LIST]).and_then(|()| read_list(list)),
        (None, Some(layers), Some(config)) => {
            is_one_of(media_type, &[OCI_MANIFEST, DOCKER_MANIFEST])?;
            read_image(config, layers, &written.artifact_type)
        }
        // What one reader takes for a list, another takes for an image.
        (Some(_), _, _) => Err(refused("the manifest is a list and an image at once")),
        (None, _, _) => Err(refused(format!("{} is no image manifest", shown(media_type)))),
    }
}

fn read_list(list: Vec<WrittenBlob>) -> Result<Document, ImageError> {
    bounded(list.len(), "manifests")?;
    let read = |mut entry: WrittenBlob| {
        let platform = entry.platform.take().map(|p| Platform::new(&p.os, &p.architecture, &p.variant));
        // Other kinds of content may stand in a list beside images.
        let is_image = [OCI_MANIFEST, OCI_INDEX, DOCKER_MANIFEST, DOCKER_LIST].contains(&entry.media_type.as_str());
        is_image.then(|| Ok((platform, blob(entry)?)))
    };
    Ok(Document::List(list.into_iter().filter_map(read).collect::<Result<_, ImageError>>()?))
}

fn read_image(config: WrittenBlob, layers: Vec<WrittenBlob>, artifact: &str) -> Result<Document, ImageError> {
    bounded(layers.len(), "layers")?;
    let kind = if artifact.is_empty() { config.media_type.as_str() } else { artifact };
    if !CONFIGS.contains(&config.media_type.as_str()) {
        return Err(refused(format!("it is no container image but {}", shown(kind))));
    }
    let config = blob(config)?;
    if config.size > CONFIG_BYTES_MAX as u64 {
        return Err(refused(format!(
            "its configuration has {} bytes; at most {CONFIG_BYTES_MAX} are possible",
            config.size
        )));
    }
    let layer = |layer: WrittenBlob| {
        let packing = packing(&layer.media_type)?;
        Ok((blob(layer)?, packing))
    };
    Ok(Document::Image(Manifest { config, layers: layers.into_iter().map(layer).collect::<Result<_, ImageError>>()? }))
}

fn blob(written: WrittenBlob) -> Result<Blob, ImageError> {
    let hex = sha256(&written.digest).ok_or_else(|| {
        refused(format!("the manifest names content by {}; only sha256 digests can be checked", shown(&written.digest)))
    })?;
    Ok(Blob { media_type: written.media_type, hex: hex.to_string(), size: written.size })
}

/// OCI image spec, "Image Layer Filesystem Changeset", and Docker's names for the same.
fn packing(media_type: &str) -> Result<Packing, ImageError> {
    match media_type {
        "application/vnd.oci.image.layer.v1.tar" | "application/vnd.docker.image.rootfs.diff.tar" => Ok(Packing::Plain),
        "application/vnd.oci.image.layer.v1.tar+gzip" | "application/vnd.docker.image.rootfs.diff.tar.gzip" => {
            Ok(Packing::Gzip)
        }
        "application/vnd.oci.image.layer.v1.tar+zstd" | "application/vnd.docker.image.rootfs.diff.tar.zstd" => {
            Ok(Packing::Zstd)
        }
        other if other.contains("foreign") || other.contains("nondistributable") => Err(refused(format!(
            "a layer is {}, which registries do not hand out (Windows base layers are such)",
            shown(other)
        ))),
        other if other.contains("+encrypted") => {
            Err(refused("a layer is encrypted, and this node has no keys for layers; push the image unencrypted"))
        }
        other => Err(refused(format!("a layer is {}, which is no layer of a file system", shown(other)))),
    }
}

/// The digits of `sha256:…`; none: another algorithm, or no digest.
pub fn sha256(digest: &str) -> Option<&str> {
    let hex = digest.strip_prefix("sha256:")?;
    let fits = hex.len() == 64 && hex.bytes().all(|c| c.is_ascii_digit() || (b'a'..=b'f').contains(&c));
    fits.then_some(hex)
}

fn is_one_of(media_type: &str, known: &[&str]) -> Result<(), ImageError> {
    // The form says enough where a server or a manifest says nothing of its type.
    let unsaid = ["", "application/json", "text/plain", "application/octet-stream"].contains(&media_type);
    if unsaid || known.contains(&media_type) {
        return Ok(());
    }
    Err(refused(format!("the manifest says that it is {}, and does not look like it", shown(media_type))))
}

fn bounded(count: usize, what: &str) -> Result<(), ImageError> {
    if count <= ENTRIES_MAX {
        return Ok(());
    }
    Err(refused(format!("the manifest names {count} {what}; at most {ENTRIES_MAX} are possible")))
}

fn refused(why: impl Into<String>) -> ImageError {
    ImageError::Refused(why.into())
}

/// Text from outside, short and without anything that moves a terminal.
pub fn shown(text: &str) -> String {
    let cut: String = text.chars().take(100).collect();
    format!("{cut:?}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn hex(letter: &str) -> String {
        letter.repeat(64)
    }

    fn descriptor(media_type: &str, letter: &str) -> Value {
        json!({"mediaType": media_type, "digest": format!("sha256:{}", hex(letter)), "size": 7})
    }

    fn image(layer: &str) -> Value {
        json!({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": descriptor(CONFIGS[0], "c"), "layers": [descriptor(layer, "a")]})
    }

    fn with(mut value: Value, path: &str, new: Value) -> Value {
        *value.pointer_mut(path).unwrap() = new;
        value
    }

    #[track_caller]
    fn refuses(value: &Value, content_type: Option<&str>, expected: &str) {
        match read(value.to_string().as_bytes(), content_type) {
            Err(ImageError::Refused(why)) => assert!(why.contains(expected), "{why:?} does not say {expected:?}"),
            other => panic!("{value}: {other:?}"),
        }
    }

    #[test]
    fn layers_say_how_they_are_packed() {
        for (ending, expected) in [
            ("oci.image.layer.v1.tar", Packing::Plain),
            ("oci.image.layer.v1.tar+gzip", Packing::Gzip),
            ("oci.image.layer.v1.tar+zstd", Packing::Zstd),
            ("docker.image.rootfs.diff.tar.gzip", Packing::Gzip),
        ] {
            let document = read(image(&format!("application/vnd.{ending}")).to_string().as_bytes(), None).unwrap();
            let Document::Image(manifest) = document else { panic!("{document:?}") };
            assert_eq!(manifest.layers.len(), 1);
            assert_eq!((manifest.layers[0].1, manifest.layers[0].0.size), (expected, 7), "{ending}");
            assert_eq!(manifest.config.digest(), format!("sha256:{}", hex("c")));
        }
    }

    #[test]
    fn a_list_keeps_images_alone() {
        let list = json!({"schemaVersion": 2, "manifests": [
            descriptor(OCI_MANIFEST, "a"), descriptor("application/vnd.example+json", "b"), descriptor(DOCKER_LIST, "d"),
        ]});
        for content_type in [None, Some(DOCKER_LIST), Some("application/vnd.oci.image.index.v1+json; charset=utf-8")] {
            let Document::List(entries) = read(list.to_string().as_bytes(), content_type).unwrap() else { panic!() };
            assert_eq!(entries.iter().map(|(_, blob)| blob.hex.clone()).collect::<Vec<_>>(), [hex("a"), hex("d")]);
        }
    }

    /// Bytes of a good manifest, spoilt at each place in turn: an answer, and no panic.
    #[test]
    fn no_damage_makes_it_panic() {
        let good = image("application/vnd.oci.image.layer.v1.tar").to_string().into_bytes();
        for at in 0..good.len() {
            for byte in [b'"', b'{', b'}', b'0', b'-', 0, 0xff] {
                let mut bad = good.clone();
                bad[at] = byte;
                drop(read(&bad, None));
                drop(read(&bad[..at], Some(OCI_INDEX)));
            }
        }
        drop(read("[".repeat(1 << 20).as_bytes(), None));
    }

    #[test]
    fn what_is_no_image_is_refused_by_name() {
        let good = image("application/vnd.oci.image.layer.v1.tar");
        refuses(&json!({"schemaVersion": 1, "fsLayers": []}), None, "schema 1");
        let old = "application/vnd.docker.distribution.manifest.v1+prettyjws";
        refuses(&good.as_object().map(|_| json!({"layers": []})).unwrap(), Some(old), "schema 1");
        refuses(&with(good.clone(), "/mediaType", json!(OCI_INDEX)), None, "does not look like it");
        refuses(&json!({"schemaVersion": 2, "manifests": []}), Some(OCI_MANIFEST), "does not look like it");
        refuses(&json!({"schemaVersion": 2}), Some("text/html"), "\"text/html\" is no image manifest");
        let mut both = good.clone();
        both["manifests"] = json!([]);
        refuses(&both, None, "at once");
        refuses(
            &with(good.clone(), "/config/mediaType", json!("application/vnd.cncf.helm.config.v1+json")),
            None,
            "helm",
        );
        refuses(&with(good.clone(), "/config/size", json!(CONFIG_BYTES_MAX + 1)), None, "configuration");
        refuses(&with(good.clone(), "/config/size", json!(-1)), None, "not what one must be");
        refuses(&with(good.clone(), "/config/digest", json!("sha512:aa")), None, "only sha256");
        refuses(&with(good.clone(), "/config/digest", json!(format!("sha256:{}", hex("A")))), None, "only sha256");
        refuses(&with(good.clone(), "/config/digest", json!("sha256:../../etc")), None, "only sha256");
        refuses(&image("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"), None, "Windows");
        refuses(&image("application/vnd.oci.image.layer.v1.tar+gzip+encrypted"), None, "encrypted");
        refuses(&image("text/plain\u{1b}[2J"), None, "\\u{1b}");
        let many = vec![descriptor("application/vnd.oci.image.layer.v1.tar", "a"); ENTRIES_MAX + 1];
        refuses(&with(good, "/layers", json!(many)), None, "1001 layers");
        refuses(&json!([]), None, "no image manifest");
        refuses(&json!(5), None, "not what one must be");
    }
}
