//! The directories and files of the store: what is there, what is pinned, what goes. Knows no archive.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::model::image::{Disk, ImageSpec, Origin, object_name};
use crate::model::sorted;

use super::budget::{self, Budget};
use super::unpack::DISK_BLOCK;
use super::{Bounds, ImageError};

/// The image store of one node. A copy is the same store. All methods block; call them beside the loop.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    /// `images/` of the data directory.
    root: PathBuf,
    bounds: Mutex<Bounds>,
    in_making: Arc<AtomicU64>,
    /// Numbers the directories below `ingest/`.
    next: AtomicU64,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// How many hold each layer (its digits) and each spec file (its name) against sweeps.
    pins: BTreeMap<String, usize>,
    /// Bytes on the disk of each layer.
    sizes: BTreeMap<String, u64>,
}

/// Holds layers and spec files against [`Store::sweep`] until it is dropped.
#[must_use = "what it holds may go as soon as it is dropped"]
pub struct Pin {
    store: Store,
    names: Vec<String>,
}

impl Store {
    /// Opens the store below the node's data directory: makes its directories and clears what was being brought.
    ///
    /// # Errors
    /// A directory cannot be made or read.
    pub fn open(data_dir: &Path, bounds: Bounds) -> Result<Store, ImageError> {
        let root = data_dir.join("images");
        for directory in [&root, &root.join("layers"), &root.join("specs"), &root.join("ingest")] {
            match DirBuilder::new().mode(0o700).create(directory) {
                Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(failed("make", directory, &e)),
                _ => {}
            }
        }
        // Also where an older store, or a hand, left it open.
        fs::set_permissions(&root, fs::Permissions::from_mode(0o700)).map_err(|e| failed("close", &root, &e))?;
        clear(&root.join("ingest"))?;
        let inner = Inner {
            root,
            bounds: Mutex::new(bounds),
            in_making: Arc::default(),
            next: AtomicU64::new(0),
            known: Mutex::default(),
        };
        let store = Store { inner: Arc::new(inner) };
        store.learn_sizes()?;
        Ok(store)
    }

    /// The complete images, by their spec files; one that lacks a layer is left out. In the order of their references.
    pub fn found(&self) -> Vec<ImageSpec> {
        let mut found: Vec<ImageSpec> = self.spec_files().into_iter().filter_map(|(_, spec)| spec).collect();
        found.retain(|spec| spec.layers.iter().all(|layer| self.layer_directory(&layer.diff_id).is_dir()));
        sorted::by(&mut found, |a, b| a.reference.cmp(&b.reference));
        found
    }

    /// Writes the spec file of an image, so that it outlives a lost database. It is on the medium when this returns.
    ///
    /// # Errors
    /// The image has no reference, or the disk fails.
    pub fn keep(&self, spec: &ImageSpec) -> Result<(), ImageError> {
        if spec.reference.is_empty() {
            return Err(ImageError::InvalidName("keep an image: it has no reference".into()));
        }
        let target = self.specs().join(file_name(spec));
        let text = serde_json::to_vec_pretty(spec).expect("a spec is plain data");
        let new = self.new_ingest_path("spec");
        write_durably(&new, &text).map_err(|e| failed("write", &new, &e))?;
        fs::rename(&new, &target).map_err(|e| failed("write", &target, &e))?;
        sync_directory(&self.specs())
    }

    /// Removes the layers and spec files that are not among `kept` and not pinned. What cannot be removed stays for the next time.
    pub fn sweep(&self, kept: &[Arc<ImageSpec>]) {
        let in_store = || kept.iter().filter(|spec| spec.origin != Origin::Directory);
        let layers = sorted::set(in_store().flat_map(|s| &s.layers).map(|layer| layer.diff_id.as_str()));
        let named = in_store().filter(|s| !s.reference.is_empty());
        let specs: BTreeMap<String, &ImageSpec> = sorted::map(named.map(|s| (file_name(s), s.as_ref())));
        let mut rewritten = Vec::new();
        let mut gone = Vec::new();
        {
            let mut known = self.known();
            for (name, spec) in self.spec_files() {
                match specs.get(&name) {
                    _ if known.pins.contains_key(&name) => {}
                    Some(kept) if spec.as_ref() == Some(*kept) => {}
                    // Left by an import that nobody took in the end: the older image of that name is the one that is kept.
                    Some(kept) => rewritten.push(*kept),
                    None => gone.push(self.specs().join(&name)),
                }
            }
            // Specs first: without its layers a spec file is no image.
            gone.iter().for_each(|file| drop(fs::remove_file(file)));
            gone.clear();
            let unwanted: Vec<String> = names_in(&self.layers())
                .into_iter()
                .filter(|id| !layers.contains(id.as_str()) && !known.pins.contains_key(id))
                .collect();
            for id in unwanted {
                // Moved first, so that what has a layer's name is whole until the instant it is gone.
                let away = self.new_ingest_path("gone");
                if fs::rename(self.layer_directory(&id), &away).is_ok() {
                    known.sizes.remove(&id);
                    gone.push(away);
                }
            }
        }
        for spec in rewritten {
            drop(self.keep(spec));
        }
        for directory in gone {
            drop(fs::remove_dir_all(directory));
        }
    }

    /// The file system that the store lies on; zero when it cannot be asked.
    pub fn disk(&self) -> Disk {
        budget::disk(&self.inner.root).unwrap_or_default()
    }

    /// Where the unpacked layer lies; it is there or not.
    pub fn layer_directory(&self, diff_id: &str) -> PathBuf {
        self.layers().join(diff_id)
    }

    pub(super) fn layers(&self) -> PathBuf {
        self.inner.root.join("layers")
    }

    fn specs(&self) -> PathBuf {
        self.inner.root.join("specs")
    }

    /// A name below `ingest/` that nothing else has.
    pub(super) fn new_ingest_path(&self, what: &str) -> PathBuf {
        let number = self.inner.next.fetch_add(1, Ordering::Relaxed);
        self.inner.root.join("ingest").join(format!("{what}-{number}"))
    }

    pub(super) fn budget(&self) -> Budget {
        let stored = self.known().sizes.values().fold(0u64, |sum, size| sum.saturating_add(*size));
        Budget::new(self.inner.root.clone(), self.bounds(), stored, self.inner.in_making.clone())
    }

    pub(super) fn image_bytes_max(&self) -> u64 {
        self.bounds().image_bytes_max
    }

    /// Other bounds from now on; what is being brought keeps those that it began with.
    pub fn set_bounds(&self, bounds: Bounds) {
        *self.inner.bounds.lock().unwrap_or_else(PoisonError::into_inner) = bounds;
    }

    fn bounds(&self) -> Bounds {
        // A plain value: there is no half way through its change.
        *self.inner.bounds.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Pins a layer if it is there.
    pub(super) fn pin_layer(&self, diff_id: &str) -> Option<Pin> {
        let mut known = self.known();
        self.layer_directory(diff_id).is_dir().then(|| {
            *known.pins.entry(diff_id.to_string()).or_default() += 1;
            Pin { store: self.clone(), names: vec![diff_id.to_string()] }
        })
    }

    /// Pins the spec file of an image that may not be there yet.
    pub(super) fn pin_spec(&self, spec: &ImageSpec) -> Pin {
        let name = file_name(spec);
        *self.known().pins.entry(name.clone()).or_default() += 1;
        Pin { store: self.clone(), names: vec![name] }
    }

    /// Gives a whole and synced directory its layer's name, pinned. Another may have brought the same meanwhile; that one stays.
    pub(super) fn adopt_layer(&self, from: &Path, diff_id: &str, size: u64) -> Result<Pin, ImageError> {
        let target = self.layer_directory(diff_id);
        {
            let mut known = self.known();
            if !target.is_dir() {
                fs::rename(from, &target).map_err(|e| failed("move a layer to", &target, &e))?;
            }
            known.sizes.insert(diff_id.to_string(), size);
            *known.pins.entry(diff_id.to_string()).or_default() += 1;
        }
        let pin = Pin { store: self.clone(), names: vec![diff_id.to_string()] };
        sync_directory(&self.layers())?;
        Ok(pin)
    }

    pub(super) fn layer_size(&self, diff_id: &str) -> u64 {
        let size = self.known().sizes.get(diff_id).copied();
        size.unwrap_or_else(|| measured(&self.layer_directory(diff_id)))
    }

    fn learn_sizes(&self) -> Result<(), ImageError> {
        let layers = self.found().into_iter().flat_map(|spec| spec.layers);
        let sizes = sorted::map(layers.map(|layer| (layer.diff_id, layer.size)));
        let present = names_in(&self.layers()).into_iter();
        self.known().sizes = sorted::map(present.map(|id| {
            let size = sizes.get(&id).copied().unwrap_or_else(|| measured(&self.layer_directory(&id)));
            (id, size)
        }));
        Ok(())
    }

    /// Every spec file with what it says; none: it cannot be read, or says it is another's.
    fn spec_files(&self) -> Vec<(String, Option<ImageSpec>)> {
        let read = |name: String| {
            let bytes = fs::read(self.specs().join(&name)).unwrap_or_default();
            let spec = serde_json::from_slice(&bytes).ok().filter(|spec: &ImageSpec| file_name(spec) == name);
            (name, spec)
        };
        names_in(&self.specs()).into_iter().map(read).collect()
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // Nothing under the lock can panic half way through a change.
        self.inner.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pin {
    pub(super) fn join(&mut self, mut other: Pin) {
        self.names.append(&mut other.names);
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        let mut known = self.store.known();
        for name in &self.names {
            match known.pins.get_mut(name) {
                Some(count) if *count > 1 => *count -= 1,
                _ => drop(known.pins.remove(name)),
            }
        }
    }
}

fn file_name(spec: &ImageSpec) -> String {
    format!("{}.json", object_name(&spec.reference))
}

/// The UTF-8 names in a directory, sorted.
fn names_in(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    names
}

fn clear(directory: &Path) -> Result<(), ImageError> {
    for entry in fs::read_dir(directory).map_err(|e| failed("read", directory, &e))? {
        let path = entry.map_err(|e| failed("read", directory, &e))?.path();
        let removed =
            if path.is_symlink() || !path.is_dir() { fs::remove_file(&path) } else { fs::remove_dir_all(&path) };
        removed.map_err(|e| failed("clear", &path, &e))?;
    }
    Ok(())
}

/// Bytes that a tree takes, counted as while it is unpacked.
fn measured(directory: &Path) -> u64 {
    let mut sum = 0u64;
    let mut seen = BTreeSet::new();
    let mut waiting = vec![directory.to_path_buf()];
    while let Some(directory) = waiting.pop() {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            let Ok(data) = entry.metadata() else { continue };
            if data.nlink() > 1 && !data.is_dir() && !seen.insert(data.ino()) {
                continue;
            }
            if data.is_dir() {
                waiting.push(entry.path());
            }
            sum += if data.is_file() {
                data.len().min(data.blocks() * 512).next_multiple_of(DISK_BLOCK)
            } else {
                DISK_BLOCK
            };
        }
    }
    sum
}

fn write_durably(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create_new(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

pub(super) fn sync_directory(directory: &Path) -> Result<(), ImageError> {
    File::open(directory).and_then(|file| file.sync_all()).map_err(|e| failed("sync", directory, &e))
}

/// What the disk said.
pub(super) fn failed(what: &str, path: &Path, error: &io::Error) -> ImageError {
    match error.raw_os_error() {
        Some(libc::ENOSPC | libc::EDQUOT) => ImageError::NoRoom(format!(
            "{what} {}: the disk is full; remove images (pinnace image prune)",
            path.display()
        )),
        _ => ImageError::Io(format!("{what} {}: {error}", path.display())),
    }
}
