//! One image in the making: its layers come in one after the other, then its configuration makes it an image. Knows no
//! archive's form and no registry.
//!
//! The order makes a power cut harmless: a layer is unpacked below `ingest/`, synced, and only then gets its name; the file that
//! says that the image is there is written when all layers have theirs.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File};
use std::io::Read;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::unistd::{geteuid, syncfs};
use ring::digest::{SHA256, digest};

use crate::model::image::{ImageSpec, Layer, Origin, Reference};

use super::budget::{Budget, too_large};
use super::packing::unpacked;
use super::read::{Bounded, Hashed, Watched, hex, sha256_digits};
use super::store::{Pin, failed, sync_directory};
use super::tarball::Tarball;
use super::unpack::unpack;
use super::{Config, ImageError, Packing, Platform, Progress, Store};

/// One image in the making. Dropping it leaves nothing behind but whole layers, which the next sweep takes.
pub struct Ingest {
    store: Store,
    directory: PathBuf,
    budget: Budget,
    /// By their digits.
    layers: std::sync::Mutex<BTreeMap<String, Pin>>,
}

/// An image that came in whole.
pub struct Stored {
    pub spec: ImageSpec,
    /// Its layers and its spec file survive sweeps until this is dropped: until the loop has made it a record.
    pub pin: Pin,
}

impl Store {
    /// Begins to bring one image.
    ///
    /// # Errors
    /// pinnace is not root (`Unsupported`), the disk's reserve is broken already (`NoRoom`), the disk fails.
    pub fn ingest(&self) -> Result<Ingest, ImageError> {
        if !geteuid().is_root() {
            return Err(ImageError::Unsupported(
                "bring an image: pinnace runs as an ordinary user, who can neither give files their owners nor run an image; \
                 run it as root, or use `image: host`"
                    .into(),
            ));
        }
        let budget = self.budget();
        budget.room_for(0)?;
        let directory = self.new_ingest_path("image");
        DirBuilder::new().mode(0o700).create(&directory).map_err(|e| failed("make", &directory, &e))?;
        Ok(Ingest { store: self.clone(), directory, budget, layers: Default::default() })
    }
}

impl Ingest {
    /// Whether the store has the layer; from now on no sweep takes it.
    pub fn has_layer(&self, diff_id: &str) -> bool {
        let Ok(digits) = sha256_digits(diff_id, "a layer") else { return false };
        let mut layers = self.layers.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if layers.contains_key(digits) {
            return true;
        }
        let Some(pin) = self.store.pin_layer(digits) else { return false };
        layers.insert(digits.to_string(), pin);
        true
    }

    /// Unpacks a layer and checks that its plain bytes have the digest `diff_id` (`sha256:…`, or the digits alone). When this
    /// returns it is whole and on the medium. A layer that is there already is not read.
    ///
    /// # Errors
    /// `Invalid`: another digest, a damaged archive, a name or a link that leads out, a bomb. `NoRoom`, `Cancelled`, `Io`.
    pub fn layer(
        &mut self,
        diff_id: &str,
        packing: Packing,
        from: &mut dyn Read,
        progress: &dyn Progress,
    ) -> Result<(), ImageError> {
        let expected = sha256_digits(diff_id, "a layer")?.to_string();
        if self.has_layer(&expected) {
            return Ok(());
        }
        let what = format!("layer {}", &expected[..12]);
        self.bring(&what, packing, from, progress, |found| {
            if found == expected {
                return Ok(());
            }
            Err(ImageError::Invalid(format!(
                "the layer sha256:{expected} unpacks to bytes with the digest sha256:{found}; it is damaged, get it again"
            )))
        })?;
        Ok(())
    }

    /// Unpacks a layer whose digest nobody knows yet; gives its digits.
    pub(super) fn unnamed_layer(
        &mut self,
        from: &mut dyn Read,
        progress: &dyn Progress,
        check: impl FnOnce(&Path) -> Result<(), ImageError>,
    ) -> Result<String, ImageError> {
        let directory = self.directory.join("layer");
        self.bring("root file system", Packing::Plain, from, progress, |_| check(&directory))
    }

    fn bring(
        &mut self,
        what: &str,
        packing: Packing,
        from: &mut dyn Read,
        progress: &dyn Progress,
        check: impl FnOnce(&str) -> Result<(), ImageError>,
    ) -> Result<String, ImageError> {
        let directory = self.directory.join("layer");
        let brought = self.fill(&directory, what, packing, from, progress).and_then(|(digits, size)| {
            check(&digits)?;
            sync_all(&directory)?;
            let pin = self.store.adopt_layer(&directory, &digits, size)?;
            self.layers.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner).insert(digits.clone(), pin);
            Ok(digits)
        });
        // There after an error, and after another ingest has brought the same layer.
        if directory.exists() {
            drop(fs::remove_dir_all(&directory));
        }
        brought
    }

    fn fill(
        &mut self,
        directory: &Path,
        what: &str,
        packing: Packing,
        from: &mut dyn Read,
        progress: &dyn Progress,
    ) -> Result<(String, u64), ImageError> {
        fs::create_dir(directory).map_err(|e| failed("make", directory, &e))?;
        // Not the mask's choice: it is the root of every container that has no layer above.
        let mode = fs::Permissions::from_mode(0o755);
        fs::set_permissions(directory, mode).map_err(|e| failed("make", directory, &e))?;
        let max = self.budget.image_bytes_max();
        // Headers and padding count too; a bomb made of them would be as endless as one of bytes.
        let left = self.budget.image_bytes_left().saturating_mul(2).saturating_add(1 << 20);
        let plain = unpacked(Watched::new(from, what, None, progress), packing)?;
        let mut hashed = Hashed::new(Bounded { from: plain, left, error: || too_large(max) });
        let mut archive = Tarball::new(&mut hashed);
        let size = unpack(&mut archive, directory, &mut self.budget)?;
        archive.drain()?;
        Ok((hashed.finish(), size))
    }

    /// Whether `bytes` more may be written.
    ///
    /// # Errors
    /// `NoRoom`, with what to do.
    pub fn room_for(&self, bytes: u64) -> Result<(), ImageError> {
        self.budget.room_for(bytes)
    }

    /// Makes an image of the layers. `config` is the image's configuration as it came, `reference` its name as it was asked for,
    /// `digest` the `sha256:…` of its manifest or empty. When this returns the image is on the medium.
    ///
    /// # Errors
    /// `InvalidName`; `Invalid` for no configuration, or a layer of it that did not come; `Unsupported` for another machine.
    pub fn commit(self, config: &[u8], reference: &str, digest: &str, origin: Origin) -> Result<Stored, ImageError> {
        let reference = Reference::parse(reference).map_err(ImageError::InvalidName)?.familiar();
        let read = Config::read(config, &Platform::here())?;
        let mut layers = Vec::new();
        for diff_id in read.layers() {
            if !self.has_layer(diff_id) {
                return Err(ImageError::Invalid(format!(
                    "the image {reference} has the layer sha256:{diff_id}, which did not come with it"
                )));
            }
            layers.push(Layer { diff_id: diff_id.to_string(), size: self.store.layer_size(diff_id) });
        }
        let runs = read.config;
        let spec = ImageSpec {
            reference,
            directory: String::new(),
            entrypoint: runs.entrypoint,
            cmd: runs.cmd,
            env: runs.env,
            working_dir: runs.working_dir,
            user: runs.user,
            stop_signal: runs.stop_signal,
            id: format!("sha256:{}", hex(self::digest(&SHA256, config).as_ref())),
            digest: digest.to_string(),
            layers,
            origin,
        };
        let mut pin = self.store.pin_spec(&spec);
        // Another ingest may have named a layer this instant, and not synced the name yet.
        sync_directory(&self.store.layers())?;
        self.store.keep(&spec)?;
        let mut held = self.layers.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        std::mem::take(&mut *held).into_values().for_each(|layer| pin.join(layer));
        drop(held);
        Ok(Stored { spec, pin })
    }
}

impl Drop for Ingest {
    fn drop(&mut self) {
        // What stays is cleared at the next start.
        drop(fs::remove_dir_all(&self.directory));
    }
}

/// Everything below `directory` is on the medium when this returns; one call for all files, where one for each would take minutes.
fn sync_all(directory: &Path) -> Result<(), ImageError> {
    let file = File::open(directory).map_err(|e| failed("sync", directory, &e))?;
    syncfs(file).map_err(|e| failed("sync", directory, &e.into()))
}
