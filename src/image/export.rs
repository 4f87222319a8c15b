//! Writes an image as a tar of an OCI layout. Reads layers only, and makes no image.
//!
//! The same image gives the same bytes. Layers are not packed: they are written straight from their directories, twice, once for
//! the digest and once for the archive, so that no space on the disk is needed. Their archives are made anew, so the digests
//! are others than those of the image that came, the files are the same.

mod layer;

use std::io::{self, Write};
use std::path::Path;

use ring::digest::{Context, SHA256, digest};
use serde_json::json;
use tar::{EntryType, Header};

use crate::model::image::{ImageSpec, Reference};

use super::config::{RootFs, Runs};
use super::read::hex;
use super::{Config, ImageError, Platform, Store};

/// A blob of the layout.
struct Made {
    digest: String,
    size: u64,
}

impl Store {
    /// Writes an image as a tar of an OCI layout, which this store, docker, podman and skopeo read.
    ///
    /// # Errors
    /// A layer is not in the store (`Invalid`), the disk or `to` fails (`Io`).
    pub fn export(&self, spec: &ImageSpec, to: &mut dyn Write) -> Result<(), ImageError> {
        if spec.layers.is_empty() {
            let name = &spec.reference;
            return Err(ImageError::Unsupported(format!(
                "export {name}: it is a directory of this node, not an image of layers"
            )));
        }
        let mut pins = Vec::new();
        for layer in &spec.layers {
            pins.push(self.pin_layer(&layer.diff_id).ok_or_else(|| {
                let (name, id) = (&spec.reference, &layer.diff_id);
                ImageError::Invalid(format!(
                    "export {name}: its layer sha256:{id} is not in the store; bring the image again"
                ))
            })?);
        }
        let directories: Vec<_> = spec.layers.iter().map(|layer| self.layer_directory(&layer.diff_id)).collect();
        let mut layers = Vec::new();
        for directory in &directories {
            let mut counted = Counted { to: io::sink(), size: 0, hash: Context::new(&SHA256) };
            layer::write(directory, &mut counted)?;
            layers.push(counted.finish());
        }
        let config = configuration(spec, &layers);
        let manifest = manifest(&config, &layers);
        write_text(to, "oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        write_text(to, "index.json", &index(spec, &manifest))?;
        for document in [&config, &manifest] {
            write_text(to, &blob_name(&made(document)), document)?;
        }
        let mut written = std::collections::BTreeSet::new();
        for (made, directory) in layers.iter().zip(&directories) {
            if written.insert(&made.digest) {
                write_layer(to, made, directory)?;
            }
        }
        to.write_all(&[0; 1024]).and_then(|()| to.flush()).map_err(failed)
    }
}

fn configuration(spec: &ImageSpec, layers: &[Made]) -> Vec<u8> {
    let here = Platform::here();
    let config = Config {
        architecture: here.architecture,
        os: here.os,
        variant: here.variant,
        config: Runs {
            entrypoint: spec.entrypoint.clone(),
            cmd: spec.cmd.clone(),
            env: spec.env.clone(),
            working_dir: spec.working_dir.clone(),
            user: spec.user.clone(),
            stop_signal: spec.stop_signal.clone(),
        },
        rootfs: RootFs { kind: "layers".into(), diff_ids: layers.iter().map(|l| l.digest.clone()).collect() },
    };
    serde_json::to_vec(&config).expect("a configuration is plain data")
}

fn manifest(config: &[u8], layers: &[Made]) -> Vec<u8> {
    let blob = |kind: &str, made: &Made| json!({ "mediaType": kind, "digest": made.digest, "size": made.size });
    let layers: Vec<_> = layers.iter().map(|layer| blob("application/vnd.oci.image.layer.v1.tar", layer)).collect();
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": blob("application/vnd.oci.image.config.v1+json", &made(config)),
        "layers": layers,
    });
    manifest.to_string().into_bytes()
}

fn index(spec: &ImageSpec, manifest: &[u8]) -> Vec<u8> {
    let name = Reference::parse(&spec.reference).map_or_else(|_| spec.reference.clone(), |name| name.to_string());
    let Made { digest, size } = made(manifest);
    let mut descriptor = json!({
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "digest": digest,
        "size": size,
    });
    if !name.is_empty() {
        // docker and containerd read the first, skopeo and podman the second.
        descriptor["annotations"] =
            json!({ "io.containerd.image.name": name, "org.opencontainers.image.ref.name": name });
    }
    let index = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [descriptor],
    });
    index.to_string().into_bytes()
}

fn made(bytes: &[u8]) -> Made {
    Made { digest: format!("sha256:{}", hex(digest(&SHA256, bytes).as_ref())), size: bytes.len() as u64 }
}

fn blob_name(made: &Made) -> String {
    made.digest.replacen("sha256:", "blobs/sha256/", 1)
}

fn write_text(to: &mut dyn Write, name: &str, bytes: &[u8]) -> Result<(), ImageError> {
    write_header(to, name, bytes.len() as u64).and_then(|()| to.write_all(bytes)).map_err(failed)?;
    write_padding(to, bytes.len() as u64).map_err(failed)
}

fn write_layer(to: &mut dyn Write, made: &Made, directory: &Path) -> Result<(), ImageError> {
    write_header(to, &blob_name(made), made.size).map_err(failed)?;
    let mut counted = Counted { to: &mut *to, size: 0, hash: Context::new(&SHA256) };
    layer::write(directory, &mut counted)?;
    let again = counted.finish();
    if again.digest != made.digest {
        let text = format!("export {}: it changed while it was read; bring the image again", directory.display());
        return Err(ImageError::Io(text));
    }
    write_padding(to, made.size).map_err(failed)
}

fn write_header(to: &mut dyn Write, name: &str, size: u64) -> io::Result<()> {
    let mut header = Header::new_ustar();
    header.set_path(name)?;
    header.set_entry_type(EntryType::Regular);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(size);
    header.set_cksum();
    to.write_all(header.as_bytes())
}

fn write_padding(to: &mut dyn Write, size: u64) -> io::Result<()> {
    let padding = (size.next_multiple_of(512) - size) as usize;
    to.write_all(&[0; 512][..padding])
}

fn failed(error: io::Error) -> ImageError {
    match ImageError::from(error) {
        ImageError::Io(why) => ImageError::Io(format!("write the image's archive: {why}")),
        other => other,
    }
}

/// Counts and hashes what is written.
struct Counted<W> {
    to: W,
    size: u64,
    hash: Context,
}

impl<W> Counted<W> {
    fn finish(self) -> Made {
        Made { digest: format!("sha256:{}", hex(self.hash.finish().as_ref())), size: self.size }
    }
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.to.write(bytes)?;
        self.hash.update(&bytes[..count]);
        self.size += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}
