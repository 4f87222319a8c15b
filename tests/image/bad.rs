//! Bad input, case by case: a clear error or a harmless result, the store as it was, and nothing outside it.

use pinnace::image::{Bounds, ImageError, ImportWish, Packing, Unwatched};
use serde_json::json;
use tar::EntryType;

use crate::listing::{difference, list_content};
use crate::make::{self, INDEX, LAYER, Layout, MANIFEST, Tar, gzip, sha256};
use crate::world::{BOUNDS, Impatient, World, is_root};

fn good() -> Vec<u8> {
    Tar::new().directory("bin/").file("bin/app", b"#!/bin/sh\n").end()
}

#[test]
fn an_ordinary_user_is_told_before_anything_is_done() {
    if nix::unistd::geteuid().is_root() {
        return;
    }
    let world = World::new();
    let error = world.refuses("as an ordinary user", |world| world.rootfs(&good()).map(drop));
    assert!(error.to_string().contains("run it as root"), "{error}");
}

#[test]
fn layers_that_are_refused() {
    if !is_root("layers_that_are_refused") {
        return;
    }
    let deep = "d/".repeat(200) + "f";
    let long_name = "n".repeat(256);
    let long_path = "p/".repeat(2100) + "f";
    let device = |kind, major, minor| {
        Tar::new().with(kind, "dev/sda", "", |header| {
            header.set_device_major(major).unwrap();
            header.set_device_minor(minor).unwrap();
        })
    };
    let huge = |kind| {
        let mut header = Tar::header(kind, b"huge", b"", 0);
        header.set_size(1 << 50);
        Tar::new().raw(header, b"")
    };
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("a name with ..", Tar::new().file("../outside/canary", b"x").end(), "`..`"),
        ("a name with .. inside", Tar::new().file("a/../../../../outside/canary", b"x").end(), "`..`"),
        ("a directory with ..", Tar::new().directory("a/..").end(), "`..`"),
        ("an absolute name with ..", Tar::new().file("/../outside/canary", b"x").end(), "`..`"),
        ("a hard link that leads out", Tar::new().hard_link("a", "../../../../outside/canary").end(), "`..`"),
        ("a hard link to the host", Tar::new().hard_link("a", "/etc/passwd").end(), "no such file in this layer"),
        ("a hard link over a link", Tar::new().symlink("e", "/etc").hard_link("a", "e/passwd").end(), "no such file"),
        ("a hard link to a directory", Tar::new().directory("d").hard_link("a", "d").end(), "directory"),
        ("a hard link to nothing", Tar::new().hard_link("a", "").end(), "directory"),
        ("a hard link to a whiteout", Tar::new().file(".wh.a", b"").hard_link("b", "a").end(), "no such file"),
        ("links in a circle", Tar::new().symlink("a", "b").symlink("b", "a").file("a/f", b"").end(), "circle"),
        ("a file as a directory", Tar::new().file("a", b"").file("a/b", b"").end(), "is a file"),
        ("an empty link", Tar::new().symlink("a", "").end(), "no file can be so"),
        ("a block device", device(EntryType::Block, 8, 0).end(), "the device \"dev/sda\""),
        ("a character device", device(EntryType::Char, 1, 3).end(), "/dev from the node"),
        ("a device with the minor number 0", device(EntryType::Char, 5, 0).end(), "the device"),
        ("an unknown kind", Tar::new().with(EntryType::new(b'Z'), "z", "", |_| {}).end(), "type \"Z\""),
        ("a whiteout of nothing", Tar::new().file(".wh.", b"").end(), "hides no file"),
        ("a whiteout of ..", Tar::new().file("a/.wh...", b"").end(), "hides no file"),
        ("a whiteout of .", Tar::new().file("a/.wh..", b"").end(), "hides no file"),
        ("a whiteout as a directory", Tar::new().file(".wh.a/b", b"").end(), "hides no file"),
        ("an owner that is none", Tar::new().pax(&[("uid", b"4294967295")]).file("a", b"").end(), "no file can be so"),
        (
            "an owner beyond numbers",
            Tar::new().pax(&[("uid", b"99999999999")]).file("a", b"").end(),
            "no file can be so",
        ),
        ("a name with a zero", Tar::new().pax(&[("path", b"a\0b")]).file("x", b"").end(), "zero byte"),
        ("a long part of a name", Tar::new().file(&long_name, b"").end(), "255"),
        ("a long name", Tar::new().pax(&[("path", long_path.as_bytes())]).file("x", b"").end(), "4095"),
        ("a deep name", Tar::new().file(&deep, b"").end(), "128 directories"),
        ("a root that is a file", Tar::new().file("a", b"").symlink("./.", "x").end(), "root is no directory"),
        ("a file larger than any image", huge(EntryType::Regular).end(), "the bound of one image"),
        ("a name that takes the memory", huge(EntryType::GNULongName).end(), "1048576 are the most"),
        ("a header that takes the memory", huge(EntryType::XHeader).end(), "1048576 are the most"),
        (
            "a damaged extended header",
            Tar::new().raw(Tar::header(EntryType::XHeader, b"x", b"", 5), b"9 a=b").end(),
            "damaged",
        ),
        (
            "a size at the end of numbers",
            Tar::new().pax(&[("size", b"18446744073709551615")]).file("a", b"").end(),
            "the bound of one image",
        ),
        ("a sparse file of an old form", Tar::new().pax(&[("GNU.sparse.map", b"0,1")]).file("a", b"x").end(), "0.x"),
        ("no end", Tar::new().file("a", b"abc").without_end(), "cut off"),
        ("half a file", Tar::new().file("a", &[1; 2000]).end()[..1500].to_vec(), "cut off"),
        ("nothing in it", Tar::new().end(), "no image"),
        ("nothing at all", vec![], "no tar archive"),
        ("a script", b"export A=1\n".to_vec(), "no tar archive: it has 11 bytes"),
        ("no archive", b"hello, this is no archive\n".repeat(100), "no tar archive"),
        ("half a gzip", gzip(&good())[..60].to_vec(), "cut off"),
        ("garbage behind a gzip", [gzip(&good()), b"garbage".to_vec()].concat(), ""),
        ("half a zstd", make::zstd(&good())[..40].to_vec(), ""),
    ];
    let world = World::new();
    world.rootfs(&good()).unwrap();
    for (name, bytes, expected) in cases {
        let error = world.refuses(name, |world| world.rootfs(&bytes).map(drop));
        assert!(matches!(error, ImageError::Invalid(_)), "{name}: {error:?}");
        assert!(error.to_string().contains(expected), "{name}: {error}");
    }
}

/// What a container runtime takes as well, and what leads nowhere.
#[test]
fn layers_that_are_made_harmless() {
    if !is_root("layers_that_are_made_harmless") {
        return;
    }
    let world = World::new();
    let outside = world.outside().display().to_string();
    let up = "../".repeat(40) + &outside[1..];
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("an absolute name", Tar::new().file("/etc/passwd", b"x").end()),
        ("a link out, absolute", Tar::new().symlink("l", &outside).file("l/canary", b"x").file("l/new", b"").end()),
        (
            "a link out, relative",
            Tar::new()
                .symlink("l", &up[..99])
                .pax(&[("linkpath", up.as_bytes())])
                .symlink("m", "x")
                .file("m/canary", b"x")
                .end(),
        ),
        ("a link to a file outside", Tar::new().symlink("f", &format!("{outside}/canary")).file("f", b"x").end()),
        (
            "a link that becomes a directory",
            Tar::new().symlink("l", &outside).directory("l").file("l/canary", b"x").end(),
        ),
        (
            "a link to the root",
            Tar::new().symlink("l", "/").symlink("m", "../..").file("l/a", b"").file("m/b", b"").end(),
        ),
        (
            "a hard link to a link",
            Tar::new().symlink("l", &format!("{outside}/canary")).hard_link("h", "l").file("h", b"x").end(),
        ),
        (
            "a mode through a link",
            Tar::new().symlink("l", &outside).with(EntryType::Directory, "l/", "", |h| h.set_mode(0)).end(),
        ),
        ("a whiteout through a link", Tar::new().symlink("l", &outside).file("l/.wh.canary", b"").end()),
        ("an opaque mark through a link", Tar::new().symlink("l", &outside).file("l/.wh..wh..opq", b"").end()),
        ("the link itself again", Tar::new().file("a", b"x").hard_link("a", "a").end()),
    ];
    let before = list_content(&world.outside());
    for (name, bytes) in cases {
        let brought = world.rootfs(&bytes);
        assert!(brought.is_ok(), "{name}: {}", brought.err().unwrap());
        let after = list_content(&world.outside());
        assert!(before == after, "{name}:\n{}", difference(&before, &after));
        drop(brought);
        world.store.sweep(&[]);
        let left: Vec<_> = std::fs::read_dir(world.data().join("images/layers")).unwrap().collect();
        assert!(left.is_empty(), "{name}: {left:?}");
    }
}

#[test]
fn bombs_and_full_disks() {
    if !is_root("bombs_and_full_disks") {
        return;
    }
    let bomb = Tar::new().file("zeros", &vec![0; 6 << 20]).end();
    let empty_files = (0..1000).fold(Tar::new(), |tar, number| tar.file(&format!("f{number}"), b"x")).end();
    let ways = (0..30).fold(Tar::new(), |tar, number| tar.file(&format!("{number}/{}f", "d/".repeat(40)), b""));
    let trailing = [good(), vec![0; 6 << 20]].concat();
    let mut header = Tar::header(EntryType::GNUSparse, b"s", b"", 0);
    header.as_gnu_mut().unwrap().realsize = *b"77777777777\0";
    let sparse = Tar::new().raw(header, b"").end();
    let small = Bounds { image_bytes_max: 2 << 20, ..BOUNDS };
    for (name, bytes) in [
        ("a gzip bomb", gzip(&bomb)),
        ("a zstd bomb", make::zstd(&bomb)),
        ("many small files", gzip(&empty_files)),
        ("many directories", gzip(&ways.end())),
        ("zeros behind the end", gzip(&trailing)),
        ("a sparse file", sparse),
    ] {
        let error = World::within(small).refuses(name, |world| world.rootfs(&bytes).map(drop));
        assert!(error.to_string().contains("the bound of one image"), "{name}: {error}");
    }
    let layout = Layout::new().image("t/x", &make::config(&[good()]), &[good()]).end();
    let no_disk = Bounds { reserve_bytes: u64::MAX / 2, ..BOUNDS };
    let little = Bounds { images_bytes_max: Some(1 << 20), ..BOUNDS };
    for (name, bounds, bytes, expected) in [
        ("no room for the reserve", no_disk, &layout, "the reserve"),
        ("a store that is too small", little, &gzip(&bomb), "all images together"),
    ] {
        let error = World::within(bounds).refuses(name, |world| world.import(bytes, Some("t/x")).map(drop));
        assert!(matches!(error, ImageError::NoRoom(_)), "{name}: {error:?}");
        assert!(error.to_string().contains(expected), "{name}: {error}");
    }
}

/// What other images take counts, and comes back when they go.
#[test]
fn the_bound_of_all_images_counts_what_is_there() {
    if !is_root("the_bound_of_all_images_counts_what_is_there") {
        return;
    }
    let world = World::within(Bounds { images_bytes_max: Some(1 << 20), ..BOUNDS });
    let large = |letter: u8| Tar::new().file("f", &[letter; 700_000]).end();
    world.import(&large(1), Some("t/a")).unwrap();
    let error = world.refuses("a second image", |world| world.import(&large(2), Some("t/b")).map(drop));
    assert!(matches!(error, ImageError::NoRoom(_)), "{error:?}");
    world.store.sweep(&[]);
    world.import(&large(2), Some("t/b")).unwrap();
}

#[test]
fn another_bound_holds_for_the_next_image() {
    if !is_root("another_bound_holds_for_the_next_image") {
        return;
    }
    let world = World::within(BOUNDS);
    let image = Tar::new().file("f", &[1; 1_400_000]).end();
    world.store.set_bounds(Bounds { images_bytes_max: Some(1 << 20), ..BOUNDS });
    let error = world.refuses("an image", |world| world.import(&image, Some("t/a")).map(drop));
    assert!(matches!(error, ImageError::NoRoom(_)), "{error:?}");
    world.store.set_bounds(BOUNDS);
    world.import(&image, Some("t/a")).unwrap();
}

#[test]
fn images_that_are_refused() {
    if !is_root("images_that_are_refused") {
        return;
    }
    let layer = good();
    let config = make::config(std::slice::from_ref(&layer));
    let image = |change: &dyn Fn(&mut Layout) -> serde_json::Value| {
        let mut layout = Layout::new();
        let descriptor = change(&mut layout);
        layout.name(descriptor, "t/x");
        layout.end()
    };
    let with_layer = |kind: &str| {
        image(&|layout| {
            let layers = vec![layout.blob(kind, &layer)];
            layout.manifest(&config, layers)
        })
    };
    let with_config = |config: serde_json::Value| {
        image(&|layout| {
            let layers = vec![layout.blob(LAYER, &layer)];
            layout.manifest(&config, layers)
        })
    };
    let mut other = config.clone();
    other["architecture"] = json!("s390x");
    let mut windows = config.clone();
    windows["os"] = json!("windows");
    let other_digest = make::config(&[Tar::new().file("other", b"").end()]);
    let two_digests = make::config(&[layer.clone(), layer.clone()]);
    let platforms = image(&|layout| {
        let manifest = |os: &str, architecture: &str| json!({"mediaType": MANIFEST, "digest": sha256(os.as_bytes()), "size": 1, "platform": {"os": os, "architecture": architecture}});
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [manifest("linux", "s390x"), manifest("windows", "amd64")]});
        layout.blob(INDEX, index.to_string().as_bytes())
    });
    let wrong_size = image(&|layout| {
        let mut blob = layout.blob(LAYER, &layer);
        blob["size"] = json!(7);
        layout.manifest(&config, vec![blob])
    });
    let absent = image(&|layout| {
        let blob = json!({"mediaType": LAYER, "digest": sha256(b"absent"), "size": 7});
        layout.manifest(&config, vec![blob])
    });
    let damaged = {
        let mut bytes = with_layer(LAYER);
        let at = bytes.windows(10).rposition(|w| w == b"#!/bin/sh\n").unwrap();
        bytes[at] ^= 1;
        bytes
    };
    let saved = |list: &str| Tar::new().file("manifest.json", list.as_bytes()).end();
    let truncated = with_layer(LAYER);
    let truncated = truncated[..truncated.len() - 1536].to_vec();
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("another machine", with_config(other), "the image is not there for this machine"),
        ("another system", with_config(windows), "windows/"),
        ("a wrong digest of a layer", with_config(other_digest), "unpacks to bytes with the digest"),
        ("two layers of which one came", with_config(two_digests), "has 2 layers, its manifest 1"),
        ("platforms of others", platforms, "it is there for: linux/s390x, windows/amd64"),
        ("an unknown kind of layer", with_layer("application/x-unknown"), "application/x-unknown"),
        ("an encrypted layer", with_layer("application/vnd.oci.image.layer.v1.tar+gzip+encrypted"), "encrypted"),
        ("a foreign layer", with_layer("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"), "from its maker"),
        ("a layer packed otherwise than it says", with_layer("application/vnd.oci.image.layer.v1.tar+gzip"), ""),
        ("no zstd", with_layer("application/vnd.oci.image.layer.v1.tar+zstd"), "zstd"),
        ("a wrong size", wrong_size, "its descriptor says 7"),
        ("a blob that is absent", absent, "has no file"),
        ("a damaged blob", damaged, "damaged, get it again"),
        ("half a layout", truncated, "cut off"),
        ("no manifest", Tar::new().file("oci-layout", b"{}").end(), "neither index.json"),
        ("an empty index", Tar::new().file("index.json", br#"{"manifests":[]}"#).end(), "names none"),
        ("an index that is none", Tar::new().file("index.json", b"[1]").end(), "read the image's manifest"),
        ("an index of schema 1", Tar::new().file("index.json", br#"{"schemaVersion":1}"#).end(), "schema 1"),
        ("a large index", Tar::new().file("index.json", &vec![b' '; 5 << 20]).end(), "4194304 are the most"),
        ("an empty list", saved("[]"), "names no image"),
        ("a list that is none", saved("{}"), "read manifest.json"),
        ("a list that leads out", saved(r#"[{"Config":"../../etc/passwd","Layers":[]}]"#), "`..`"),
        ("a list without its files", saved(r#"[{"Config":"a.json","Layers":[]}]"#), "has no file \"a.json\""),
        (
            "links in a circle",
            Tar::new().symlink("index.json", "blobs").symlink("blobs", "index.json").end(),
            "has no file",
        ),
        ("a link out of the archive", Tar::new().symlink("index.json", "/etc/passwd").end(), "has no file"),
        (
            "a device in the archive",
            Tar::new().with(EntryType::Fifo, "index.json", "", |_| {}).end(),
            "which is no file",
        ),
        (
            "files before the images",
            Tar::new().file("README", b"").file("oci-layout", b"").file("index.json", b"").end(),
            "other files before",
        ),
    ];
    let world = World::new();
    world.rootfs(&Tar::new().file("kept", b"").end()).unwrap();
    for (name, bytes, expected) in cases {
        let error = world.refuses(name, |world| world.import(&bytes, Some("t/x")).map(drop));
        assert!(matches!(error, ImageError::Invalid(_) | ImageError::Unsupported(_)), "{name}: {error:?}");
        assert!(error.to_string().contains(expected), "{name}: {error}");
    }
}

#[test]
fn names_that_are_refused() {
    if !is_root("names_that_are_refused") {
        return;
    }
    let layer = good();
    let config = make::config(std::slice::from_ref(&layer));
    let named = |name: &str| Layout::new().image(name, &config, std::slice::from_ref(&layer)).end();
    let two = Layout::new()
        .image("t/x", &config, std::slice::from_ref(&layer))
        .image("t/y", &config, std::slice::from_ref(&layer))
        .end();
    let cases: Vec<(&str, Vec<u8>, Option<&str>, &str)> = vec![
        ("a root file system without a name", good(), None, "give the image a name"),
        ("a bad name", good(), Some("t/X"), "lower case"),
        ("a bad name for an archive", named("t/x"), Some("x:"), "a tag has"),
        ("a bad name in an archive", named("../x:1"), None, "image name"),
        ("only a tag", named("latest"), None, "which is a tag"),
        ("no name", make::saved(&[], &config, std::slice::from_ref(&layer)), None, "without a name"),
        ("one name for two", two, Some("t/z"), "several images"),
    ];
    let world = World::new();
    for (name, bytes, wish, expected) in cases {
        let error = world.refuses(name, |world| world.import(&bytes, wish).map(drop));
        assert!(matches!(error, ImageError::InvalidName(_)), "{name}: {error:?}");
        assert!(error.to_string().contains(expected), "{name}: {error}");
    }
    let error = world.refuses("a command for an archive", |world| {
        let wish = ImportWish { cmd: vec!["sh".into()], ..ImportWish::default() };
        world.store.import(&mut &named("t/x")[..], &wish, &Unwatched).map(drop)
    });
    assert!(error.to_string().contains("plain root file system"), "{error}");
}

#[test]
fn a_cancelled_import_leaves_nothing() {
    if !is_root("a_cancelled_import_leaves_nothing") {
        return;
    }
    let world = World::new();
    let bytes = Tar::new().file("f", &vec![7; 4 << 20]).end();
    let wish = ImportWish { reference: Some("t/x".into()), ..ImportWish::default() };
    for questions in 0..10 {
        let error = world.refuses("cancelled", |world| {
            world.store.import(&mut &bytes[..], &wish, &Impatient::after(questions)).map(drop)
        });
        assert_eq!(error, ImageError::Cancelled);
    }
}

#[test]
fn a_layer_must_have_the_digest_that_was_asked_for() {
    if !is_root("a_layer_must_have_the_digest_that_was_asked_for") {
        return;
    }
    let world = World::new();
    let (layer, other) = (good(), sha256(b"other"));
    for (digest, expected) in [(other.as_str(), "unpacks to bytes with the digest"), ("sha256:../../x", "only sha256:")]
    {
        let error = world
            .refuses(digest, |world| world.store.ingest()?.layer(digest, Packing::Guess, &mut &layer[..], &Unwatched));
        assert!(error.to_string().contains(expected), "{error}");
    }
}
