//! Tells when an empty directory on the disk holds more than it may (`emptyDir.sizeLimit`). Nothing stops a container from
//! writing more; what follows from it is decided elsewhere. A node without such a volume never wakes up for this.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use crate::model::Uid;
use crate::model::attempt::{VolumeContent, VolumeOrder};

use super::paths::Dirs;

/// How long between two looks; walking through many files costs the disk something.
pub const LOOK_EVERY: Duration = Duration::from_secs(60);
/// Bytes in a block of `st_blocks`, whatever the file system's are. Source: stat(2).
const BLOCK_BYTES: u64 = 512;

/// The volumes that are looked at, with the bytes that each may hold.
#[derive(Debug, Default)]
pub struct Sizes {
    watched: Mutex<BTreeMap<(Uid, String), u64>>,
    come: Notify,
}

impl Sizes {
    /// Looks at a volume from now on if it has a bound; those in memory keep theirs by themselves.
    pub fn watch(&self, pod: &Uid, order: &VolumeOrder) {
        if let VolumeContent::Empty { memory: false, size_max: Some(bytes_max) } = order.content {
            self.lock().insert((pod.clone(), order.name.clone()), bytes_max);
            self.come.notify_one();
        }
    }

    pub fn forget(&self, pod: &Uid) {
        self.lock().retain(|(other, _), _| other != pod);
    }

    /// Returns when it is time to look and there is something to look at.
    pub async fn due(&self) {
        while self.lock().is_empty() {
            self.come.notified().await;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }

    /// The volumes that hold more than they may, each told once. Blocks.
    pub fn outgrown(&self, dirs: &Dirs) -> Vec<(Uid, String)> {
        let watched = self.lock().clone();
        let is_over = |((pod, name), max): &(&(Uid, String), &u64)| bytes(&dirs.kept_volumes(pod).join(name)) > **max;
        let over: Vec<_> = watched.iter().filter(is_over).map(|(key, _)| key.clone()).collect();
        self.lock().retain(|key, _| !over.contains(key));
        over
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<(Uid, String), u64>> {
        // No change to the map can be half done.
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Bytes on the disk of a directory and all below it, as du(1) counts: each file once, following no link and entering no
/// other file system. What cannot be read counts as nothing.
fn bytes(directory: &Path) -> u64 {
    let Ok(top) = fs::symlink_metadata(directory) else { return 0 };
    let (mut total, mut linked) = (0, BTreeSet::new());
    let mut waiting: Vec<PathBuf> = vec![directory.to_path_buf()];
    while let Some(path) = waiting.pop() {
        for entry in fs::read_dir(path).into_iter().flatten().flatten() {
            // Of the entry itself, not of what a link leads to.
            let Ok(found) = entry.metadata() else { continue };
            if found.dev() != top.dev() || (found.nlink() > 1 && !found.is_dir() && !linked.insert(found.ino())) {
                continue;
            }
            total += found.blocks() * BLOCK_BYTES;
            if found.is_dir() {
                waiting.push(entry.path());
            }
        }
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(name: &str, memory: bool, size_max: Option<u64>) -> VolumeOrder {
        VolumeOrder { name: name.into(), group: None, content: VolumeContent::Empty { memory, size_max } }
    }

    #[test]
    fn what_has_outgrown_its_bound_is_told_once() {
        let temp = tempfile::tempdir().unwrap();
        let dirs = Dirs { data: temp.path().join("data"), run: temp.path().join("run") };
        let (sizes, pod) = (Sizes::default(), Uid::new("p"));
        for (name, kib) in [("small", 16), ("big", 256), ("unbounded", 256), ("memory", 256)] {
            let path = dirs.kept_volumes(&pod).join(name).join("sub");
            fs::create_dir_all(&path).unwrap();
            fs::write(path.join("file"), vec![1; kib * 1024]).unwrap();
        }
        let max = Some(128 * 1024);
        for order in [
            order("small", false, max),
            order("big", false, max),
            order("unbounded", false, None),
            order("memory", true, max),
            order("not-there", false, Some(0)),
        ] {
            sizes.watch(&pod, &order);
        }
        sizes.watch(&Uid::new("gone"), &order("big", false, Some(0)));
        sizes.forget(&Uid::new("gone"));
        assert_eq!(sizes.outgrown(&dirs), [(pod.clone(), "big".to_string())]);
        assert_eq!(sizes.outgrown(&dirs), []);
        sizes.watch(&pod, &order("big", false, max));
        assert_eq!(sizes.outgrown(&dirs).len(), 1, "and again by the next daemon");
    }

    #[test]
    fn links_count_for_nothing_and_a_file_with_two_names_once() {
        let temp = tempfile::tempdir().unwrap();
        let (inside, outside) = (temp.path().join("in"), temp.path().join("out"));
        fs::create_dir(&inside).unwrap();
        fs::write(&outside, vec![1; 1 << 20]).unwrap();
        std::os::unix::fs::symlink(&outside, inside.join("link")).unwrap();
        std::os::unix::fs::symlink(temp.path(), inside.join("up")).unwrap();
        fs::write(inside.join("a"), vec![1; 256 * 1024]).unwrap();
        fs::hard_link(inside.join("a"), inside.join("b")).unwrap();
        let found = bytes(&inside);
        assert!((256 * 1024..512 * 1024).contains(&found), "{found}");
    }
}
