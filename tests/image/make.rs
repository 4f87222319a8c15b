//! Makes archives, good ones and bad ones.

use std::io::Write;

use flate2::{Compression, write::GzEncoder};
use serde_json::{Value, json};
use tar::{Builder, EntryType, Header};

pub const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub const CONFIG: &str = "application/vnd.oci.image.config.v1+json";

/// A tar in the making; names and links go in as they are, however bad.
pub struct Tar {
    bytes: Vec<u8>,
}

impl Tar {
    pub fn new() -> Tar {
        Tar { bytes: Vec::new() }
    }

    pub fn header(kind: EntryType, name: &[u8], link: &[u8], size: u64) -> Header {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(if kind == EntryType::Directory { 0o755 } else { 0o644 });
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1_600_000_000);
        header.set_size(size);
        header.as_old_mut().name[..name.len()].copy_from_slice(name);
        header.as_old_mut().linkname[..link.len()].copy_from_slice(link);
        header
    }

    pub fn raw(mut self, mut header: Header, content: &[u8]) -> Tar {
        header.set_cksum();
        self.bytes.extend(header.as_bytes());
        self.bytes.extend(content);
        self.bytes.resize(self.bytes.len().next_multiple_of(512), 0);
        self
    }

    pub fn file(self, name: &str, content: &[u8]) -> Tar {
        if name.len() > 100 {
            let long = Tar::header(EntryType::GNULongName, b"././@LongLink", b"", name.len() as u64);
            return self
                .raw(long, name.as_bytes())
                .raw(Tar::header(EntryType::Regular, &name.as_bytes()[..99], b"", content.len() as u64), content);
        }
        self.raw(Tar::header(EntryType::Regular, name.as_bytes(), b"", content.len() as u64), content)
    }

    pub fn with(self, kind: EntryType, name: &str, link: &str, change: impl FnOnce(&mut Header)) -> Tar {
        let mut header = Tar::header(kind, name.as_bytes(), link.as_bytes(), 0);
        change(&mut header);
        self.raw(header, b"")
    }

    pub fn directory(self, name: &str) -> Tar {
        self.with(EntryType::Directory, name, "", |_| {})
    }

    pub fn symlink(self, name: &str, target: &str) -> Tar {
        self.with(EntryType::Symlink, name, target, |_| {})
    }

    pub fn hard_link(self, name: &str, target: &str) -> Tar {
        self.with(EntryType::Link, name, target, |_| {})
    }

    pub fn pax(mut self, records: &[(&str, &[u8])]) -> Tar {
        let mut builder = Builder::new(Vec::new());
        builder.append_pax_extensions(records.iter().copied()).unwrap();
        let mut bytes = builder.into_inner().unwrap();
        bytes.truncate(bytes.len() - 1024);
        self.bytes.append(&mut bytes);
        self
    }

    pub fn end(mut self) -> Vec<u8> {
        self.bytes.extend([0; 1024]);
        self.bytes
    }

    pub fn without_end(self) -> Vec<u8> {
        self.bytes
    }
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(bytes).unwrap();
    packed.finish().unwrap()
}

pub fn zstd(bytes: &[u8]) -> Vec<u8> {
    ruzstd::encoding::compress_to_vec(bytes, ruzstd::encoding::CompressionLevel::Fastest)
}

pub fn sha256(bytes: &[u8]) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
    format!("sha256:{}", digest.as_ref().iter().map(|b| format!("{b:02x}")).collect::<String>())
}

/// This machine in an image's words.
pub fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

pub fn config(layers: &[Vec<u8>]) -> Value {
    json!({
        "architecture": architecture(), "os": "linux",
        "config": { "Entrypoint": ["/bin/app"], "Cmd": ["-v"], "Env": ["A=b"], "WorkingDir": "/srv", "User": "7:8", "StopSignal": "SIGINT" },
        "rootfs": { "type": "layers", "diff_ids": layers.iter().map(|l| sha256(l)).collect::<Vec<_>>() },
    })
}

/// An OCI layout in the making.
pub struct Layout {
    blobs: Vec<(String, Vec<u8>)>,
    manifests: Vec<Value>,
}

impl Layout {
    pub fn new() -> Layout {
        Layout { blobs: Vec::new(), manifests: Vec::new() }
    }

    /// Adds a blob; gives its descriptor.
    pub fn blob(&mut self, kind: &str, bytes: &[u8]) -> Value {
        let digest = sha256(bytes);
        self.blobs.push((digest.replacen("sha256:", "blobs/sha256/", 1), bytes.to_vec()));
        json!({ "mediaType": kind, "digest": digest, "size": bytes.len() })
    }

    pub fn manifest(&mut self, config: &Value, layers: Vec<Value>) -> Value {
        let config = self.blob(CONFIG, config.to_string().as_bytes());
        let manifest = json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers });
        self.blob(MANIFEST, manifest.to_string().as_bytes())
    }

    pub fn name(&mut self, mut descriptor: Value, name: &str) {
        descriptor["annotations"] = json!({ "org.opencontainers.image.ref.name": name });
        self.manifests.push(descriptor);
    }

    /// A whole image with plain layers.
    pub fn image(mut self, name: &str, config: &Value, layers: &[Vec<u8>]) -> Layout {
        let layers = layers.iter().map(|layer| self.blob(LAYER, layer)).collect();
        let manifest = self.manifest(config, layers);
        self.name(manifest, name);
        self
    }

    pub fn end(self) -> Vec<u8> {
        let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": self.manifests });
        let head = Tar::new().file("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#);
        let mut tar =
            head.file("index.json", index.to_string().as_bytes()).directory("blobs/").directory("blobs/sha256/");
        for (name, bytes) in self.blobs {
            tar = tar.file(&name, &bytes);
        }
        tar.end()
    }
}

/// As `docker save` writes it, the list of images last.
pub fn saved(names: &[&str], config: &Value, layers: &[Vec<u8>]) -> Vec<u8> {
    let config = config.to_string();
    let config_name = format!("{}.json", sha256(config.as_bytes()).trim_start_matches("sha256:"));
    let mut tar = Tar::new().file(&config_name, config.as_bytes());
    let mut paths = Vec::new();
    for layer in layers {
        let id = sha256(layer).trim_start_matches("sha256:").to_string();
        tar = tar
            .directory(&format!("{id}/"))
            .file(&format!("{id}/VERSION"), b"1.0")
            .file(&format!("{id}/layer.tar"), layer);
        paths.push(format!("{id}/layer.tar"));
    }
    let list = json!([{ "Config": config_name, "RepoTags": names, "Layers": paths }]);
    tar.file("manifest.json", list.to_string().as_bytes()).end()
}
