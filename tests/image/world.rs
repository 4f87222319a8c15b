//! A store in a directory of its own, with a neighbour that must stay as it is.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use pinnace::image::{Bounds, ImageError, ImportWish, Progress, Store, Stored, Unwatched};
use tempfile::TempDir;

use crate::listing::{Listing, difference, list_content};

pub const BOUNDS: Bounds = Bounds { reserve_bytes: 0, image_bytes_max: 64 << 20, images_bytes_max: None };

pub struct World {
    directory: TempDir,
    pub store: Store,
}

impl World {
    pub fn new() -> World {
        World::within(BOUNDS)
    }

    pub fn within(bounds: Bounds) -> World {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("data")).unwrap();
        std::fs::create_dir(directory.path().join("outside")).unwrap();
        std::fs::write(directory.path().join("outside/canary"), "sings").unwrap();
        let store = Store::open(&directory.path().join("data"), bounds).unwrap();
        World { directory, store }
    }

    pub fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    pub fn outside(&self) -> PathBuf {
        self.directory.path().join("outside")
    }

    /// The store, the neighbour, and what lies around them.
    pub fn listing(&self) -> Listing {
        list_content(self.directory.path())
    }

    pub fn import(&self, bytes: &[u8], name: Option<&str>) -> Result<Vec<Stored>, ImageError> {
        let wish = ImportWish { reference: name.map(String::from), ..ImportWish::default() };
        self.store.import(&mut &bytes[..], &wish, &Unwatched)
    }

    /// Imports a plain root file system; gives the directory that it was unpacked to.
    pub fn rootfs(&self, bytes: &[u8]) -> Result<(Stored, PathBuf), ImageError> {
        let stored = self.import(bytes, Some("t/rootfs"))?.remove(0);
        let directory = self.layer(&stored, 0);
        Ok((stored, directory))
    }

    pub fn layer(&self, stored: &Stored, number: usize) -> PathBuf {
        self.data().join("images/layers").join(&stored.spec.layers[number].diff_id)
    }

    /// Does what must fail; nothing may have changed, also not when the store is swept or opened again.
    pub fn refuses(&self, what: &str, act: impl FnOnce(&World) -> Result<(), ImageError>) -> ImageError {
        let (before, images) = (self.listing(), self.store.found());
        let Err(error) = act(self) else { panic!("{what}: was not refused") };
        assert_eq!(self.store.found(), images, "{what}: {error}");
        self.store.sweep(&images.into_iter().map(std::sync::Arc::new).collect::<Vec<_>>());
        let after = self.listing();
        assert!(before == after, "{what}: {error}\n{}", difference(&before, &after));
        error
    }
}

/// Whether these tests can unpack; says so where they cannot.
pub fn is_root(test: &str) -> bool {
    let is_root = nix::unistd::geteuid().is_root();
    if !is_root {
        eprintln!("{test}: NOT CHECKED, needs root; an ordinary user's node refuses images");
    }
    is_root
}

/// Cancels after so many questions.
pub struct Impatient(AtomicU64);

impl Impatient {
    pub fn after(questions: u64) -> Impatient {
        Impatient(AtomicU64::new(questions))
    }
}

impl Progress for Impatient {
    fn at(&self, _: &str, _: u64, _: Option<u64>) {}
    fn is_cancelled(&self) -> bool {
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_err()
    }
}

pub fn read(root: &Path, name: &str) -> String {
    std::fs::read_to_string(root.join(name)).unwrap_or_else(|e| panic!("read {name}: {e}"))
}
