//! An entry of the node's image store: a name that manifests use, and the directory that it stands for.

use serde::{Deserialize, Serialize};

use super::Meta;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Image {
    pub meta: Meta,
    pub spec: ImageSpec,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ImageSpec {
    /// As in a manifest: `luksa/batch-job`; no tag means `latest`. The object's own name is derived from it.
    pub reference: String,
    /// Absolute. `/` is the host's own file system; any other becomes the container's root.
    pub directory: String,
    pub entrypoint: Vec<String>,
    pub cmd: Vec<String>,
    pub env: Vec<String>,
    pub working_dir: String,
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
    use super::{normal_reference, object_name};

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
