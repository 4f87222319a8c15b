//! An entry of the node's image store: a name that manifests use, and the layers or the directory that it stands for.

mod reference;

use serde::{Deserialize, Serialize};

use super::{Meta, Moment};

pub use reference::{DEFAULT_HOST, Reference};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Image {
    pub meta: Meta,
    pub spec: ImageSpec,
    /// When a container of it was last started, or it came; the image that was not used for longest goes first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used: Option<Moment>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ImageSpec {
    /// As in a manifest: `luksa/batch-job`; no tag means `latest`. The object's own name is derived from it. Empty: an image
    /// whose name was given to a newer one while pods still ran it.
    pub reference: String,
    /// Absolute. `/` is the host's own file system; any other becomes the container's root. Empty when it has layers.
    pub directory: String,
    pub entrypoint: Vec<String>,
    pub cmd: Vec<String>,
    pub env: Vec<String>,
    pub working_dir: String,
    /// `USER` of the image: name or number, with `:group` or without.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub user: String,
    /// `SIGTERM`, `15`; empty: SIGTERM.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub stop_signal: String,
    /// `sha256:…` of the image's configuration; empty for a directory. What Kubernetes calls the image's ID.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub id: String,
    /// `sha256:…` of the manifest by which a registry or a layout names it; empty where there was none.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub digest: String,
    /// Lowest first; each exists unpacked in the store.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub layers: Vec<Layer>,
    #[serde(skip_serializing_if = "Origin::is_directory")]
    pub origin: Origin,
}

/// A layer of the store, shared by all images that have it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Layer {
    /// SHA-256 of the uncompressed archive in hexadecimal digits (OCI image spec, `rootfs.diff_ids`); names its directory.
    pub diff_id: String,
    /// Bytes that its files take on the disk.
    pub size: u64,
}

/// How an image came to the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Origin {
    /// A person registered a directory.
    #[default]
    Directory,
    /// A person brought an archive; nobody asks a registry about it.
    Import,
    /// It was fetched from a registry.
    Registry,
}

impl Origin {
    fn is_directory(&self) -> bool {
        *self == Origin::Directory
    }
}

impl ImageSpec {
    /// Bytes of all its layers; what it shares with others counts too.
    pub fn size(&self) -> u64 {
        self.layers.iter().map(|layer| layer.size).sum()
    }
}

/// The file system of the image store, as it was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Disk {
    pub total: u64,
    /// What an ordinary user could still write.
    pub free: u64,
}

/// What a person says of an archive that is brought in; what is empty is taken from the archive.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ImportWish {
    /// The name it gets; needed where the archive has none.
    pub reference: Option<String>,
    pub entrypoint: Vec<String>,
    pub cmd: Vec<String>,
    pub env: Vec<String>,
    pub workdir: String,
    pub user: String,
}

/// What is to be fetched from a registry. Fetching what is being fetched already is no second fetch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pull {
    /// As the manifest wrote it.
    pub reference: String,
    /// Digest of the manifest that the store has; the same again needs no layer.
    pub known: String,
    /// Contents of `.dockerconfigjson` of the pods' imagePullSecrets, in their order; they go before the node's own file.
    pub credentials: Vec<String>,
}

/// What came of a fetch.
#[derive(Debug, Clone, PartialEq)]
pub struct Pulled {
    pub reference: String,
    pub outcome: Result<Box<ImageSpec>, PullFailure>,
    pub disk: Disk,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PullFailure {
    pub kind: PullFailureKind,
    /// What was tried, on what, and what to do.
    pub message: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PullFailureKind {
    /// No registry could be asked: no network, no name, no answer, a server's own failure. What the store has may be used.
    Unreachable,
    /// The registry was asked and has it not, or does not give it to us, or gave what is no image for this machine.
    Refused,
    /// The disk's reserve or the store's bound would be broken.
    NoRoom,
    /// `InvalidImageName`: no such reference can exist.
    InvalidName,
}

/// The first twelve digits of an ID or digest, as people tell images apart.
pub fn short_id(id: &str) -> &str {
    let digits = id.strip_prefix("sha256:").unwrap_or(id);
    digits.get(..12).unwrap_or(digits)
}

/// `2.35MB`: three digits and a decimal unit, as docker shows sizes.
pub fn size_text(bytes: u64) -> String {
    let mut size = bytes as f64;
    let mut unit = "B";
    for next in ["kB", "MB", "GB", "TB"] {
        // What would be rounded up to a thousand belongs to the next unit.
        if size < 999.5 {
            break;
        }
        (size, unit) = (size / 1000.0, next);
    }
    let places = if unit == "B" || size >= 99.95 {
        0
    } else if size >= 9.995 {
        1
    } else {
        2
    };
    format!("{size:.places$}{unit}")
}

/// `luksa/batch-job` and `luksa/batch-job:latest` and `docker.io/luksa/batch-job:latest` are one image.
pub fn normal_reference(text: &str) -> String {
    let text = text.strip_prefix("docker.io/").unwrap_or(text);
    let text = text.strip_prefix("library/").unwrap_or(text);
    let last = text.rsplit('/').next().unwrap_or(text);
    if last.contains(':') || text.contains('@') { text.to_string() } else { format!("{text}:latest") }
}

/// The name of the object that stands for an image, in the form that names have: the normal reference, readable, and
/// eight hexadecimal digits that keep `a/b` and `a-b` apart.
pub fn object_name(reference: &str) -> String {
    let normal = normal_reference(reference);
    let letter = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let readable: String = normal.chars().map(letter).take(200).collect();
    let hash = super::id::sha256_hex(normal.as_bytes());
    format!("{}-{}", readable.trim_matches('-'), &hash[..8]).trim_start_matches('-').to_string()
}

#[cfg(test)]
mod tests {
    use super::{normal_reference, object_name, size_text};

    #[test]
    fn a_size_has_three_digits() {
        for (bytes, text) in [
            (0, "0B"),
            (999, "999B"),
            (1000, "1.00kB"),
            (12_345, "12.3kB"),
            (123_456, "123kB"),
            (999_499, "999kB"),
            (999_500, "1.00MB"),
            (2_345_678, "2.35MB"),
            (5_000_000_000_000_000, "5000TB"),
        ] {
            assert_eq!(size_text(bytes), text);
        }
    }

    #[test]
    fn an_image_has_one_object_name() {
        assert_eq!(object_name("luksa/batch-job"), object_name("docker.io/luksa/batch-job:latest"));
        assert!(object_name("luksa/batch-job").starts_with("luksa-batch-job-latest-"));
        assert_ne!(object_name("a/b"), object_name("a-b"));
        assert_eq!(object_name("é").len(), "latest-12345678".len());
    }

    #[test]
    fn one_image_has_one_reference() {
        for text in ["busybox", "docker.io/library/busybox", "library/busybox:latest"] {
            assert_eq!(normal_reference(text), "busybox:latest");
        }
        assert_eq!(normal_reference("host:5000/x"), "host:5000/x:latest");
        assert_eq!(normal_reference("x@sha256:ab"), "x@sha256:ab");
    }
}
