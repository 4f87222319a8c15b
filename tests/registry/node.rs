//! A node's side: its store and its registries, in a directory of the test.

use std::fs;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use pinnace::image::registry::{Effort, Pulled, Registries};
use pinnace::image::{Bounds, ImageError, Progress, Store, Stored};
use pinnace::model::RegistriesConfig;
use pinnace::model::image::Pull;

use super::fake::{Picture, content};

pub struct Node {
    dir: tempfile::TempDir,
    pub store: Store,
    pub config: RegistriesConfig,
    pub effort: Effort,
}

impl Node {
    /// None: not root, so no image can be unpacked.
    pub fn new() -> Option<Node> {
        if !nix::unistd::geteuid().is_root() {
            eprintln!("not run: images are unpacked by root alone");
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        let bounds = Bounds { reserve_bytes: 0, image_bytes_max: 1 << 30, images_bytes_max: None };
        let store = Store::open(dir.path(), bounds).unwrap();
        let mut config = RegistriesConfig::new(dir.path().join("images/partial"));
        config.docker_config = dir.path().join("docker.json");
        let effort = Effort { tries: 3, first_wait: Duration::ZERO, ..Effort::default() };
        Some(Node { dir, store, config, effort })
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// As after a start of the daemon.
    pub fn registries(&self) -> Registries {
        Registries::with_effort(&self.config, self.effort)
    }

    pub fn pull(&self, reference: &str) -> Result<Stored, ImageError> {
        self.pull_with(reference, &[])
    }

    pub fn pull_with(&self, reference: &str, credentials: &[&str]) -> Result<Stored, ImageError> {
        match self.registries().pull(&self.store, &wish(reference, "", credentials), &Watch::default())? {
            Pulled::New(stored) => Ok(*stored),
            Pulled::Same => panic!("{reference} cannot be the same as nothing"),
        }
    }

    /// Whether the registry has the known one.
    pub fn is_same(&self, reference: &str, known: &str) -> Result<bool, ImageError> {
        let pulled = self.registries().pull(&self.store, &wish(reference, known, &[]), &Watch::default())?;
        Ok(matches!(pulled, Pulled::Same))
    }

    #[track_caller]
    pub fn refused(&self, reference: &str, expected: &str) -> String {
        match self.pull(reference) {
            Err(ImageError::Refused(why) | ImageError::Invalid(why) | ImageError::Unsupported(why)) => {
                assert!(why.contains(expected), "{why:?} does not say {expected:?}");
                self.is_empty();
                why
            }
            Err(other) => panic!("{other:?}"),
            Ok(_) => panic!("{reference} was taken"),
        }
    }

    #[track_caller]
    pub fn unreachable(&self, reference: &str, expected: &str) {
        match self.pull(reference) {
            Err(ImageError::Unreachable(why)) => assert!(why.contains(expected), "{why:?} does not say {expected:?}"),
            Err(other) => panic!("{other:?}"),
            Ok(_) => panic!("{reference} was taken"),
        }
    }

    /// The store has no image, and nothing of one.
    #[track_caller]
    pub fn is_empty(&self) {
        assert!(self.store.found().is_empty());
        for name in ["layers", "specs", "ingest"] {
            let left: Vec<_> = fs::read_dir(self.path("images").join(name)).unwrap().flatten().collect();
            assert!(left.is_empty(), "{left:?}");
        }
    }

    /// Downloads that are not complete, and their bytes.
    pub fn partials(&self) -> Vec<(String, u64)> {
        let Ok(entries) = fs::read_dir(&self.config.partial_dir) else { return Vec::new() };
        let mut found: Vec<_> = entries
            .map(|entry| entry.unwrap())
            .map(|entry| (entry.file_name().into_string().unwrap(), entry.metadata().unwrap().len()))
            .collect();
        found.sort();
        found
    }
}

/// The files of the picture are in the store as they were made.
#[track_caller]
pub fn holds(node: &Node, stored: &Stored, files: &[(&str, usize)]) {
    assert_eq!(stored.spec.layers.len(), files.len());
    for (layer, (name, size)) in stored.spec.layers.iter().zip(files) {
        let path = node.path("images/layers").join(&layer.diff_id).join(name);
        assert!(fs::read(&path).unwrap() == content(name, *size), "{} differs", path.display());
    }
    assert_eq!(node.store.found(), std::slice::from_ref(&stored.spec));
    assert_eq!(node.partials(), [], "a download was left");
}

pub fn wish(reference: &str, known: &str, credentials: &[&str]) -> Pull {
    Pull {
        reference: reference.into(),
        known: known.into(),
        credentials: credentials.iter().map(|text| text.to_string()).collect(),
    }
}

/// Hears what is told, and cancels once so many bytes of a layer are there.
#[derive(Default)]
pub struct Watch {
    cancel_at: Option<u64>,
    is_over: AtomicBool,
    pub heard: Mutex<Vec<(String, u64, Option<u64>)>>,
}

impl Watch {
    pub fn cancel_at(bytes: u64) -> Watch {
        Watch { cancel_at: Some(bytes), ..Watch::default() }
    }
}

impl Progress for Watch {
    fn at(&self, what: &str, done: u64, total: Option<u64>) {
        self.heard.lock().unwrap().push((what.into(), done, total));
        if what.starts_with("download") && self.cancel_at.is_some_and(|limit| done >= limit) {
            self.is_over.store(true, Ordering::SeqCst);
        }
    }

    fn is_cancelled(&self) -> bool {
        self.is_over.load(Ordering::SeqCst)
    }
}

/// A picture with one layer of some size, and the end of that layer's path.
pub fn large() -> (Picture, [(&'static str, usize); 1], String) {
    let files = [("large", 300_000)];
    let picture = Picture::new(&files);
    let layer = picture.layers[0].clone();
    (picture, files, layer)
}
