//! What a layer unpacks to: every kind of file, every order, every mark.

use std::ffi::CString;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use tar::EntryType;

use crate::listing::{Listing, list};
use crate::make::Tar;
use crate::world::{World, is_root, read};

/// Unpacks a layer and checks the lines of some paths: what they begin with, or (none) that they are absent.
fn check(what: &str, layer: Tar, expected: &[(&str, Option<&str>)]) -> (World, std::path::PathBuf) {
    let world = World::new();
    let (_, root) = world.rootfs(&layer.end()).unwrap_or_else(|e| panic!("{what}: {e}"));
    let listing: Listing = list(&root);
    for (path, line) in expected {
        let found = listing.get(*path).map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
        let is_right = match (found.as_deref(), line) {
            (Some(found), Some(line)) => line.split('*').all(|part| found.contains(part)),
            (None, None) => true,
            _ => false,
        };
        assert!(is_right, "{what}: {path}\n  expected {line:?}\n  found    {found:?}\n{listing:#?}");
    }
    (world, root)
}

fn attribute(path: &Path, name: &str) -> Option<Vec<u8>> {
    let path = CString::new(path.to_str().unwrap()).unwrap();
    let name = CString::new(name).unwrap();
    let mut value = [0u8; 256];
    // SAFETY: both texts end with a zero, and the buffer is as long as the call is told.
    let length = unsafe { libc::lgetxattr(path.as_ptr(), name.as_ptr(), value.as_mut_ptr().cast(), value.len()) };
    usize::try_from(length).ok().map(|length| value[..length].to_vec())
}

#[test]
fn every_kind_of_file() {
    if !is_root("every_kind_of_file") {
        return;
    }
    let owned = |header: &mut tar::Header| {
        header.set_mode(0o6751);
        header.set_uid(1234);
        header.set_gid(70_000);
    };
    let long = "long/".repeat(30) + "name";
    let layer = Tar::new()
        .with(EntryType::Directory, "./", "", |h| h.set_mode(0o711))
        .with(EntryType::Regular, "setuid", "", owned)
        .with(EntryType::Directory, "sticky/", "", |h| h.set_mode(0o1777))
        .with(EntryType::Symlink, "link", "/bin/sh", owned)
        .with(EntryType::Fifo, "fifo", "", owned)
        .with(EntryType::Char, "gone", "", |h| {
            h.set_device_major(0).unwrap();
            h.set_device_minor(0).unwrap();
        })
        .with(EntryType::new(b'V'), "label", "", |_| {})
        .with(EntryType::new(0), "old/", "", |_| {})
        .file("a/b/c", b"deep")
        .hard_link("a/second", "./a/b/c")
        .hard_link("third", "/link")
        .file(&long, b"long")
        .pax(&[("mtime", b"1234567890.5"), ("uid", b"3000000"), ("path", b"by-pax")])
        .file("short", b"pax")
        .pax(&[("mtime", b"-1.5")])
        .file("ancient", b"")
        .file("empty", b"");
    let expected = [
        (".", Some("0711 0:0 1600000000.000000000 directory")),
        ("setuid", Some("6751 1234:70000 1600000000.0*file of 0 bytes 1")),
        ("sticky", Some("1777 0:0 1600000000.0*directory")),
        ("link", Some("1234:70000 1600000000.0*link /bin/sh")),
        ("fifo", Some("6751 1234:70000 1600000000.0*fifo")),
        ("gone", Some("device 0")),
        ("label", None),
        ("old", Some("directory")),
        ("a", Some("0755 0:0 0.000000000 directory")),
        ("a/b/c", Some("file of 4 bytes 2")),
        ("a/second", Some("file of 4 bytes 2")),
        ("third", Some("1234:70000*link /bin/sh")),
        (&long, Some("file of 4 bytes")),
        ("by-pax", Some("3000000:0 1234567890.500000000 file of 3 bytes")),
        ("short", None),
        ("ancient", Some("-2.500000000")),
        ("empty", Some("0644 0:0*file of 0 bytes 1")),
    ];
    check("kinds", layer, &expected);
}

#[test]
fn the_later_of_two_members_counts() {
    if !is_root("the_later_of_two_members_counts") {
        return;
    }
    let mode = |mode| move |header: &mut tar::Header| header.set_mode(mode);
    let layer = Tar::new()
        .file("twice", b"first")
        .file("twice", b"second one")
        .file("was-directory/f", b"")
        .file("was-directory", b"now a file")
        .file("was-file", b"")
        .directory("was-file/")
        .file("was-file/f", b"")
        .symlink("was-link", "twice")
        .file("was-link", b"own")
        .directory("was-tree/a/b/c")
        .symlink("was-tree", "twice")
        .file("late/f", b"")
        .with(EntryType::Directory, "late/", "", mode(0o700))
        .file("kept/f", b"")
        .directory("kept/")
        .file("one", b"1")
        .hard_link("other", "one")
        .file("one", b"changed")
        .symlink("lib", "usr/lib")
        .directory("usr/lib/")
        .file("lib/so", b"so");
    let expected = [
        ("twice", Some("file of 10 bytes")),
        ("was-directory", Some("file of 10 bytes")),
        ("was-directory/f", None),
        ("was-file/f", Some("file")),
        ("was-link", Some("file of 3 bytes")),
        ("was-tree", Some("link twice")),
        ("late", Some("0700 0:0 1600000000.0*directory")),
        ("late/f", Some("file")),
        ("kept/f", Some("file")),
        ("one", Some("file of 7 bytes 1")),
        ("other", Some("file of 1 bytes 1")),
        ("usr/lib/so", Some("file of 2 bytes")),
        ("usr/lib", Some("0755 0:0 1600000000.0*directory")),
    ];
    check("duplicates", layer, &expected);
}

#[test]
fn marks_of_what_is_gone() {
    if !is_root("marks_of_what_is_gone") {
        return;
    }
    let layer = Tar::new()
        .file(".wh.gone", b"")
        .file("d/.wh.gone", b"")
        .file("opaque/.wh..wh..opq", b"")
        .file("opaque/new", b"")
        .file(".wh.replaced", b"")
        .file("replaced/new", b"")
        .file(".wh.redone", b"")
        .directory("redone/")
        .directory("hidden/")
        .file(".wh.hidden", b"")
        .file("file", b"")
        .file(".wh.file", b"")
        .file(".wh.filed", b"")
        .file("filed", b"x")
        .file("file/.wh.below", b"")
        .file(".wh..wh.plnk/1.2", b"")
        .file(".wh..wh.aufs", b"")
        .directory(".wh..wh.orph/");
    let expected = [
        ("gone", Some("device 0")),
        ("d/gone", Some("device 0")),
        ("opaque/new", Some("file")),
        ("replaced/new", Some("file")),
        ("redone", Some("directory")),
        ("file", Some("file")),
        ("filed", Some("file of 1")),
        (".wh..wh.plnk", None),
        (".wh..wh.aufs", None),
        (".wh..wh.orph", None),
        ("opaque/.wh..wh..opq", None),
    ];
    let (_world, root) = check("whiteouts", layer, &expected);
    for (path, is_opaque) in [("opaque", true), ("replaced", true), ("redone", true), ("hidden", true), ("d", false)] {
        let value = attribute(&root.join(path), "trusted.overlay.opaque");
        assert_eq!(value.as_deref() == Some(b"y"), is_opaque, "{path}: {value:?}");
    }
}

#[test]
fn attributes_that_are_kept_and_dropped() {
    if !is_root("attributes_that_are_kept_and_dropped") {
        return;
    }
    // cap_net_raw+ep, version 2.
    let capability: &[u8] = &[1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let layer = Tar::new()
        .pax(&[
            ("SCHILY.xattr.security.capability", capability),
            ("SCHILY.xattr.user.note", b"a\nb\0"),
            ("SCHILY.xattr.trusted.overlay.redirect", b"/etc"),
            ("SCHILY.xattr.user.overlay.opaque", b"y"),
        ])
        .file("ping", b"x");
    let (_world, root) = check("attributes", layer, &[("ping", Some("file"))]);
    let found = |name| attribute(&root.join("ping"), name);
    assert_eq!(found("security.capability").as_deref(), Some(capability));
    assert_eq!(found("user.note").as_deref(), Some(&b"a\nb\0"[..]));
    assert_eq!(found("trusted.overlay.redirect"), None);
    assert_eq!(found("user.overlay.opaque"), None);
}

#[test]
fn sparse_files_keep_their_holes() {
    if !is_root("sparse_files_keep_their_holes") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let file = std::fs::File::create(directory.path().join("holes")).unwrap();
    for piece in 0..40u64 {
        std::os::unix::fs::FileExt::write_all_at(&file, b"data", piece << 20).unwrap();
    }
    file.set_len(50 << 20).unwrap();
    let plain = crate::listing::list(directory.path());
    for format in ["gnu", "posix"] {
        let tar = std::process::Command::new("tar")
            .args(["--sparse", "--format", format, "-C"])
            .arg(directory.path())
            .args(["-c", "."])
            .output()
            .unwrap();
        assert!(tar.status.success() && tar.stdout.len() < 4 << 20, "tar --sparse --format {format}");
        let world = World::new();
        let (_, root) = world.rootfs(&tar.stdout).unwrap_or_else(|e| panic!("{format}: {e}"));
        let whole = |line: &String| line.split(" file ").nth(1).map(String::from);
        assert_eq!(list(&root).get("holes").and_then(whole), plain.get("holes").and_then(whole), "{format}");
        let blocks = root.join("holes").metadata().unwrap().blocks() * 512;
        assert!(blocks < 8 << 20, "{format}: {blocks} bytes on the disk");
    }
}

#[test]
fn the_store_is_closed_to_the_device_s_users() {
    if !is_root("the_store_is_closed_to_the_device_s_users") {
        return;
    }
    let (world, root) = check("modes", Tar::new().file("f", b"content"), &[]);
    assert_eq!(read(&root, "f"), "content");
    for directory in ["images", "images/layers", "images/specs", "images/ingest"] {
        let mode = world.data().join(directory).metadata().unwrap().mode() & 0o777;
        assert_eq!(mode, 0o700, "{directory}");
    }
    assert_eq!(root.metadata().unwrap().mode() & 0o777, 0o755, "a container's user must get into its root");
}
