//! Everything below a directory as text, one line a file: what two trees must have in common.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

/// By path: kind, mode, owner, size, time, links, content or target.
pub type Listing = BTreeMap<String, String>;

pub fn list(root: &Path) -> Listing {
    let mut found = Listing::new();
    let mut waiting = vec![root.to_path_buf()];
    while let Some(path) = waiting.pop() {
        let data = path.symlink_metadata().unwrap();
        let kind = data.file_type();
        let what = if kind.is_symlink() {
            format!("link {}", fs::read_link(&path).unwrap().display())
        } else if kind.is_dir() {
            waiting.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            "directory".into()
        } else if kind.is_char_device() {
            format!("device {}", data.rdev())
        } else if kind.is_fifo() {
            "fifo".into()
        } else {
            format!("file of {} bytes {} {}", data.len(), data.nlink(), hash(&fs::read(&path).unwrap()))
        };
        let mode = data.mode() & 0o7777;
        let line = format!("{mode:04o} {}:{} {}.{:09} {what}", data.uid(), data.gid(), data.mtime(), data.mtime_nsec());
        let name = path.strip_prefix(root).unwrap().to_string_lossy().into_owned();
        found.insert(if name.is_empty() { ".".into() } else { name }, line);
    }
    found
}

/// The same without the times of the directories: those that hold a new file are younger, and that is no damage.
pub fn list_content(root: &Path) -> Listing {
    let without_time = |line: String| {
        let parts: Vec<&str> = line.splitn(4, ' ').collect();
        if parts[3] == "directory" { format!("{} {} directory", parts[0], parts[1]) } else { line }
    };
    list(root).into_iter().map(|(path, line)| (path, without_time(line))).collect()
}

/// FNV-1a: good enough to see a difference.
fn hash(bytes: &[u8]) -> String {
    let sum = bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325u64, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3));
    format!("{sum:016x}")
}

/// What differs, for a message.
pub fn difference(a: &Listing, b: &Listing) -> String {
    let names: std::collections::BTreeSet<&String> = a.keys().chain(b.keys()).collect();
    let differing = names.into_iter().filter(|name| a.get(*name) != b.get(*name));
    differing.take(20).map(|name| format!("{name}\n  {:?}\n  {:?}\n", a.get(name), b.get(name))).collect()
}
