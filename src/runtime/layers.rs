//! Lays an image's layers over each other in one directory, as overlayfs would show them, for hosts that have none. Layers
//! are in overlayfs's own form (`Documentation/filesystems/overlayfs.rst`). Knows no image.

use std::collections::BTreeMap;
use std::fs::{self, DirEntry, Metadata};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, lchown, symlink};
use std::path::{Path, PathBuf};

use nix::sys::stat::{Mode, SFlag, UtimensatFlags, mknod, utimensat};
use nix::sys::time::TimeSpec;

/// Files that have several names in one layer, by inode.
type Names = BTreeMap<(u64, u64), PathBuf>;

/// Copies the layers, lowest first, into an empty directory that nobody else writes to.
pub fn copy(layers: &[PathBuf], to: &Path) -> io::Result<()> {
    for layer in layers {
        // The name of a descriptor is a link; its content is wanted.
        copy_directory(&layer.join("."), to, &mut Names::new())?;
    }
    Ok(())
}

fn copy_directory(from: &Path, to: &Path, names: &mut Names) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        copy_entry(&entry, &to.join(entry.file_name()), names)?;
    }
    Ok(())
}

fn copy_entry(entry: &DirEntry, to: &Path, names: &mut Names) -> io::Result<()> {
    let (from, there) = (entry.path(), entry.metadata()?);
    let below = fs::symlink_metadata(to).ok();
    if is_whiteout(&there) {
        return below.map_or(Ok(()), |below| remove(to, &below));
    }
    let merges = there.is_dir() && below.as_ref().is_some_and(Metadata::is_dir) && !is_opaque(&from);
    if let Some(below) = below.filter(|_| !merges) {
        remove(to, &below)?;
    }
    if there.is_dir() {
        if !merges {
            fs::create_dir(to)?;
        }
        copy_directory(&from, to, names)?;
    } else if there.nlink() > 1
        && names.get(&(there.dev(), there.ino())).is_some_and(|name| fs::hard_link(name, to).is_ok())
    {
        return Ok(());
    } else {
        copy_file(&from, to, &there)?;
        names.insert((there.dev(), there.ino()), to.to_path_buf());
    }
    dress(&from, to, &there)
}

fn copy_file(from: &Path, to: &Path, there: &Metadata) -> io::Result<()> {
    let kind = there.file_type();
    if kind.is_symlink() {
        return symlink(fs::read_link(from)?, to);
    }
    if kind.is_file() {
        return fs::copy(from, to).map(drop);
    }
    let kind = match kind {
        kind if kind.is_char_device() => SFlag::S_IFCHR,
        kind if kind.is_block_device() => SFlag::S_IFBLK,
        kind if kind.is_fifo() => SFlag::S_IFIFO,
        _ => SFlag::S_IFSOCK,
    };
    Ok(mknod(to, kind, Mode::empty(), there.rdev())?)
}

/// Owner, permissions and times. The owner first: a change of it takes away setuid.
fn dress(from: &Path, to: &Path, there: &Metadata) -> io::Result<()> {
    lchown(to, Some(there.uid()), Some(there.gid()))?;
    if !there.is_symlink() {
        fs::set_permissions(to, fs::Permissions::from_mode(there.mode() & 0o7777))?;
        super::xattr::copy(from, to)?;
    }
    let time = |seconds: i64, nanoseconds: i64| TimeSpec::new(seconds as _, nanoseconds as _);
    let (read, written) = (time(there.atime(), there.atime_nsec()), time(there.mtime(), there.mtime_nsec()));
    utimensat(nix::fcntl::AT_FDCWD, to, &read, &written, UtimensatFlags::NoFollowSymlink)?;
    Ok(())
}

fn is_whiteout(there: &Metadata) -> bool {
    there.file_type().is_char_device() && there.rdev() == 0
}

fn is_opaque(directory: &Path) -> bool {
    super::xattr::get(directory, c"trusted.overlay.opaque").is_some_and(|value| value == b"y")
}

fn remove(path: &Path, there: &Metadata) -> io::Result<()> {
    if there.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is there, as `path` or `path=content` or `path>target`.
    fn listing(directory: &Path) -> Vec<String> {
        let mut all = Vec::new();
        let mut left = vec![directory.to_path_buf()];
        while let Some(next) = left.pop() {
            for entry in fs::read_dir(next).unwrap() {
                let path = entry.unwrap().path();
                let name = path.strip_prefix(directory).unwrap().display().to_string();
                let there = fs::symlink_metadata(&path).unwrap();
                if there.is_dir() {
                    all.push(name);
                    left.push(path);
                } else if there.is_symlink() {
                    all.push(format!("{name}>{}", fs::read_link(&path).unwrap().display()));
                } else {
                    all.push(format!("{name}={}", fs::read_to_string(&path).unwrap()));
                }
            }
        }
        all.sort();
        all
    }

    /// `path/`, `path=content`, `path>target`, `-path` for a whiteout, `!path` for an opaque directory.
    fn layer(temp: &Path, number: usize, entries: &[&str]) -> PathBuf {
        let layer = temp.join(format!("layer{number}"));
        fs::create_dir(&layer).unwrap();
        for entry in entries {
            let parent = |path: &str| fs::create_dir_all(layer.join(path).parent().unwrap()).unwrap();
            if let Some(path) = entry.strip_prefix('-') {
                parent(path);
                mknod(&layer.join(path), SFlag::S_IFCHR, Mode::empty(), 0).unwrap();
            } else if let Some(path) = entry.strip_prefix('!') {
                fs::create_dir_all(layer.join(path)).unwrap();
                crate::runtime::xattr::set(&layer.join(path), c"trusted.overlay.opaque", b"y").unwrap();
            } else if let Some(path) = entry.strip_suffix('/') {
                fs::create_dir_all(layer.join(path)).unwrap();
            } else if let Some((path, content)) = entry.split_once('=') {
                parent(path);
                fs::write(layer.join(path), content).unwrap();
            } else if let Some((path, target)) = entry.split_once('>') {
                parent(path);
                symlink(target, layer.join(path)).unwrap();
            }
        }
        layer
    }

    #[test]
    fn layers_lie_over_each_other() {
        if !nix::unistd::geteuid().is_root() {
            return;
        }
        let check = |layers: &[&[&str]], expected: &[&str]| {
            let temp = tempfile::tempdir().unwrap();
            let (to, outside) = (temp.path().join("to"), temp.path().join("outside"));
            fs::create_dir(&to).unwrap();
            fs::create_dir(&outside).unwrap();
            fs::write(outside.join("kept"), "").unwrap();
            let layers: Vec<PathBuf> = layers.iter().enumerate().map(|(n, e)| layer(temp.path(), n, e)).collect();
            copy(&layers, &to).unwrap();
            assert_eq!(listing(&to), expected, "{layers:?}");
            assert_eq!(listing(&outside), ["kept="]);
        };
        check(&[&["a/b=1", "c=1"], &["a/b=2"]], &["a", "a/b=2", "c=1"]);
        check(&[&["a/b=1", "c=1"], &["-a", "-missing"]], &["c=1"]);
        check(&[&["a/b=1"], &["!a", "a/c=2"]], &["a", "a/c=2"]);
        check(&[&["a/b=1"], &["a=2"]], &["a=2"]);
        check(&[&["a=1"], &["a/b=2"]], &["a", "a/b=2"]);
        // A directory over a link replaces the link; nothing is written through it.
        check(&[&["a>../outside"], &["a/x=1"]], &["a", "a/x=1"]);
        check(&[&["a>../outside/kept"], &["a=1"]], &["a=1"]);
        check(&[&["a>../outside"], &["-a"]], &[]);
    }

    #[test]
    fn owners_modes_times_and_second_names_are_kept() {
        if !nix::unistd::geteuid().is_root() {
            return;
        }
        let temp = tempfile::tempdir().unwrap();
        let (from, to) = (layer(temp.path(), 0, &["a=x"]), temp.path().join("to"));
        fs::create_dir(&to).unwrap();
        lchown(from.join("a"), Some(7), Some(8)).unwrap();
        fs::set_permissions(from.join("a"), fs::Permissions::from_mode(0o4755)).unwrap();
        fs::hard_link(from.join("a"), from.join("b")).unwrap();
        copy(std::slice::from_ref(&from), &to).unwrap();
        let (a, b) = (fs::metadata(to.join("a")).unwrap(), fs::metadata(to.join("b")).unwrap());
        let old = fs::metadata(from.join("a")).unwrap();
        assert_eq!((a.uid(), a.gid(), a.mode() & 0o7777, a.mtime_nsec()), (7, 8, 0o4755, old.mtime_nsec()));
        assert_eq!((a.ino(), a.nlink()), (b.ino(), 2));
    }
}
