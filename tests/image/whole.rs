//! Whole images: every form and packing of an archive, what the store keeps and sweeps, and out again.

use std::sync::Arc;

use pinnace::image::{ImportWish, Packing, Store, Unwatched};
use pinnace::model::image::{ImageSpec, Origin};
use serde_json::json;

use crate::listing::{difference, list};
use crate::make::{self, INDEX, LAYER, Layout, Tar, gzip, sha256, zstd};
use crate::world::{BOUNDS, World, is_root};

type Pack = fn(&[u8]) -> Vec<u8>;

fn layers() -> Vec<Vec<u8>> {
    let lower = Tar::new().directory("bin/").file("bin/app", b"#!").file("etc/a", b"a").file("etc/b", b"b").end();
    let upper = Tar::new().file("etc/.wh.a", b"").file("etc/c", b"c").symlink("l", "/etc/c").hard_link("m", "l").end();
    vec![lower, upper]
}

fn layout(name: &str, kind: &str, pack: Pack) -> Vec<u8> {
    let (layers, mut layout) = (layers(), Layout::new());
    let blobs = layers.iter().map(|layer| layout.blob(kind, &pack(layer))).collect();
    let manifest = layout.manifest(&make::config(&layers), blobs);
    layout.name(manifest, name);
    layout.end()
}

#[test]
fn every_form_and_packing_is_the_same_image() {
    if !is_root("every_form_and_packing_is_the_same_image") {
        return;
    }
    let plain = |bytes: &[u8]| bytes.to_vec();
    let archives = [
        ("a layout", layout("t/app:1", LAYER, plain)),
        ("a layout with gzip", layout("t/app:1", &format!("{LAYER}+gzip"), gzip)),
        ("a layout with zstd", layout("docker.io/t/app:1", &format!("{LAYER}+zstd"), zstd)),
        ("docker save", make::saved(&["t/app:1"], &make::config(&layers()), &layers())),
    ];
    let packings: [(&str, Pack); 3] = [("plain", plain), ("gzip", gzip), ("zstd", zstd)];
    let mut first: Option<(ImageSpec, Vec<_>)> = None;
    for (form, archive) in &archives {
        for (packing, pack) in packings {
            let world = World::new();
            let stored = world.import(&pack(archive), None).unwrap_or_else(|e| panic!("{form}, {packing}: {e}"));
            assert_eq!(stored.len(), 1);
            let spec = ImageSpec { digest: String::new(), ..stored[0].spec.clone() };
            let trees: Vec<_> = (0..2).map(|number| list(&world.layer(&stored[0], number))).collect();
            let (expected, expected_trees) = first.get_or_insert_with(|| (spec.clone(), trees.clone()));
            assert_eq!(&spec, expected, "{form}, {packing}");
            assert!(&trees == expected_trees, "{form}, {packing}: {}", difference(&trees[0], &expected_trees[0]));
        }
    }
    let (spec, _) = first.unwrap();
    assert_eq!((&*spec.reference, spec.origin), ("t/app:1", Origin::Import));
    assert_eq!((spec.entrypoint, spec.cmd, spec.env), (vec!["/bin/app".into()], vec!["-v".into()], vec!["A=b".into()]));
    assert_eq!((&*spec.working_dir, &*spec.user, &*spec.stop_signal), ("/srv", "7:8", "SIGINT"));
    assert_eq!(spec.id, sha256(make::config(&layers()).to_string().as_bytes()));
    assert!(spec.layers.iter().all(|layer| layer.size >= 4096), "{:?}", spec.layers);
}

#[test]
fn several_images_and_platforms() {
    if !is_root("several_images_and_platforms") {
        return;
    }
    let layers = layers();
    let mut foreign = make::config(&layers);
    foreign["architecture"] = json!("s390x");
    let mut layout =
        Layout::new().image("t/a:1", &make::config(&layers), &layers).image("t/foreign:1", &foreign, &layers);
    let blobs = vec![layout.blob(LAYER, &layers[1])];
    let ours = layout.manifest(&make::config(&layers[1..]), blobs);
    let theirs = layout.manifest(&foreign, vec![]);
    let platform = |mut descriptor: serde_json::Value, architecture: &str| {
        descriptor["platform"] = json!({ "os": "linux", "architecture": architecture });
        descriptor
    };
    let manifests = [platform(theirs, "s390x"), platform(ours, make::architecture())];
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": manifests });
    let index = layout.blob(INDEX, index.to_string().as_bytes());
    let digest = index["digest"].as_str().unwrap().to_string();
    layout.name(index, "host:5000/many:2");
    let world = World::new();
    let stored = world.import(&layout.end(), None).unwrap();
    let names: Vec<&str> = stored.iter().map(|stored| stored.spec.reference.as_str()).collect();
    assert_eq!(names, ["t/a:1", "host:5000/many:2"], "what fits comes, the foreign one does not");
    assert_eq!(stored[1].spec.digest, digest, "its name stands for the index");
    assert_eq!(stored[1].spec.layers, stored[0].spec.layers[1..], "layers are shared");
    let saved = make::saved(&["t/x:1", "t/y"], &make::config(&layers), &layers);
    let names: Vec<String> = world.import(&saved, None).unwrap().into_iter().map(|s| s.spec.reference).collect();
    assert_eq!(names, ["t/x:1", "t/y:latest"]);
    assert_eq!(world.import(&saved, Some("other")).unwrap()[0].spec.reference, "other:latest");
}

#[test]
fn the_same_root_file_system_is_the_same_image() {
    if !is_root("the_same_root_file_system_is_the_same_image") {
        return;
    }
    let wish = ImportWish {
        reference: Some("t/r".into()),
        entrypoint: vec!["/a".into()],
        cmd: vec!["b".into()],
        env: vec!["C=d".into()],
        workdir: "/w".into(),
        user: "u".into(),
    };
    let import = || {
        let stored = World::new().store.import(&mut &layers()[0][..], &wish, &Unwatched).unwrap();
        stored[0].spec.clone()
    };
    let spec = import();
    assert_eq!(spec, import());
    assert_eq!(spec.layers[0].diff_id, sha256(&layers()[0])[7..]);
    assert_eq!((spec.entrypoint, spec.cmd, spec.env), (wish.entrypoint.clone(), wish.cmd.clone(), wish.env.clone()));
    assert_eq!((spec.working_dir, spec.user), (wish.workdir.clone(), wish.user.clone()));
}

#[test]
fn what_is_kept_outlives_the_sweep() {
    if !is_root("what_is_kept_outlives_the_sweep") {
        return;
    }
    let world = World::new();
    let a = world.import(&layout("t/a", LAYER, |b| b.to_vec()), Some("t/a")).unwrap().remove(0);
    let b = world.import(&layers()[0], Some("t/b")).unwrap().remove(0);
    let names = |store: &Store| store.found().into_iter().map(|spec| spec.reference).collect::<Vec<_>>();
    let layer_count = || std::fs::read_dir(world.data().join("images/layers")).unwrap().count();
    world.store.sweep(&[]);
    assert_eq!(names(&world.store), ["t/a:latest", "t/b:latest"], "both are pinned");
    let (kept_a, kept_b) = (Arc::new(a.spec.clone()), Arc::new(b.spec.clone()));
    drop(a);
    world.store.sweep(std::slice::from_ref(&kept_b));
    assert_eq!((names(&world.store), layer_count()), (vec!["t/b:latest".to_string()], 1), "the shared layer stays");
    drop(b);
    world.store.sweep(std::slice::from_ref(&kept_b));
    assert_eq!(names(&world.store), ["t/b:latest"]);
    let again = Store::open(&world.data(), BOUNDS).unwrap();
    assert_eq!(again.found(), [(*kept_b).clone()]);
    // An image without a name that pods still run keeps its layers, not its file.
    let unnamed = Arc::new(ImageSpec { reference: String::new(), ..(*kept_b).clone() });
    world.store.sweep(&[unnamed]);
    assert_eq!((names(&world.store).len(), layer_count()), (0, 1));
    world.store.sweep(&[]);
    assert_eq!(layer_count(), 0);
    world.store.keep(&kept_a).unwrap();
    assert!(names(&world.store).is_empty(), "an image whose layers are gone is none");
}

#[test]
fn an_import_that_nobody_took_gives_its_name_back() {
    if !is_root("an_import_that_nobody_took_gives_its_name_back") {
        return;
    }
    let world = World::new();
    let older = world.import(&layers()[0], Some("t/a")).unwrap().remove(0);
    let kept = Arc::new(older.spec.clone());
    drop(older);
    drop(world.import(&layers()[1], Some("t/a")).unwrap());
    world.store.sweep(std::slice::from_ref(&kept));
    assert_eq!(world.store.found(), [(*kept).clone()]);
}

#[test]
fn a_layer_that_two_bring_at_once_is_no_error() {
    if !is_root("a_layer_that_two_bring_at_once_is_no_error") {
        return;
    }
    let world = World::new();
    let (layer, digest) = (layers().remove(0), sha256(&layers()[0]));
    std::thread::scope(|scope| {
        let bring = || {
            let mut ingest = world.store.ingest().unwrap();
            ingest.layer(&digest, Packing::Plain, &mut &layer[..], &Unwatched).unwrap();
            assert!(ingest.has_layer(&digest));
        };
        (0..4).map(|_| scope.spawn(bring)).collect::<Vec<_>>().into_iter().for_each(|thread| thread.join().unwrap());
    });
    assert_eq!(list(&world.data().join("images/ingest")).len(), 1, "nothing is left over");
    // No sweep takes what an ingest has seen.
    let ingest = world.store.ingest().unwrap();
    assert!(ingest.has_layer(&digest) && !ingest.has_layer(&sha256(b"other")));
    world.store.sweep(&[]);
    let config = make::config(std::slice::from_ref(&layer)).to_string();
    let stored = ingest.commit(config.as_bytes(), "t/a", "", Origin::Registry).unwrap();
    assert_eq!(world.store.found(), std::slice::from_ref(&stored.spec));
}

#[test]
fn what_goes_out_comes_in_as_it_was() {
    if !is_root("what_goes_out_comes_in_as_it_was") {
        return;
    }
    let long = "long/".repeat(30) + "name";
    let more = Tar::new()
        .pax(&[("SCHILY.xattr.user.note", b"a\nb")])
        .file(&long, b"x")
        .pax(&[("mtime", b"-1.5"), ("uid", b"3000000")])
        .file("old", b"")
        .file("d/.wh..wh..opq", b"")
        .symlink("far", &"t/".repeat(40))
        .with(tar::EntryType::Fifo, "fifo", "", |h| h.set_mode(0o7123))
        .end();
    let layers = [layers(), vec![more]].concat();
    let world = World::new();
    let bytes = Layout::new().image("t/app:1", &make::config(&layers), &layers).end();
    let stored = world.import(&bytes, None).unwrap().remove(0);
    let mut exported = Vec::new();
    world.store.export(&stored.spec, &mut exported).unwrap();
    let other = World::new();
    let again = other.import(&exported, None).unwrap().remove(0);
    for number in 0..3 {
        let (a, b) = (list(&world.layer(&stored, number)), list(&other.layer(&again, number)));
        assert!(a == b, "layer {number}:\n{}", difference(&a, &b));
    }
    let without_digests = |spec: &ImageSpec| {
        let mut spec = ImageSpec { id: String::new(), digest: String::new(), ..spec.clone() };
        spec.layers.iter_mut().for_each(|layer| layer.diff_id.clear());
        spec
    };
    assert_eq!(without_digests(&again.spec), without_digests(&stored.spec));
    let mut twice = Vec::new();
    other.store.export(&again.spec, &mut twice).unwrap();
    assert!(twice == exported, "the same image gives the same archive");
    drop(stored);
    world.store.sweep(&[]);
    let error = world.store.export(&again.spec, &mut Vec::new()).unwrap_err().to_string();
    assert!(error.contains("is not in the store"), "{error}");
}
