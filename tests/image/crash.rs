//! An import that ends anywhere: by an error of the source, by a drop, by the power. The images are those of before.

use std::io::{self, Read};
use std::sync::Arc;

use pinnace::image::{ImportWish, Packing, Store, Unwatched};
use pinnace::model::image::Origin;

use crate::make::{self, LAYER, Layout, Tar, gzip, sha256};
use crate::world::{BOUNDS, World, is_root};

/// Gives so many bytes, then an error.
struct Breaking<'a> {
    from: &'a [u8],
    left: usize,
}

impl Read for Breaking<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        let most = buffer.len().min(self.left);
        let count = self.from.read(&mut buffer[..most])?;
        self.left -= count;
        Ok(count)
    }
}

fn layers() -> Vec<Vec<u8>> {
    let tar = |name: &str| {
        let files = (0..20).fold(Tar::new(), |tar, number| tar.file(&format!("{name}/{number}"), &[number; 700]));
        files.symlink("link", "/etc").file(".wh.gone", b"").end()
    };
    vec![tar("a"), tar("b")]
}

#[test]
fn an_import_may_break_at_every_byte() {
    if !is_root("an_import_may_break_at_every_byte") {
        return;
    }
    let layers = layers();
    let packed: Vec<Vec<u8>> = layers.iter().map(|layer| gzip(layer)).collect();
    let mut layout = Layout::new();
    let blobs = packed.iter().map(|layer| layout.blob(&format!("{LAYER}+gzip"), layer)).collect();
    let manifest = layout.manifest(&make::config(&layers), blobs);
    layout.name(manifest, "t/a:1");
    let world = World::new();
    world.import(&Tar::new().file("kept", b"").end(), Some("t/kept")).unwrap();
    for (bytes, name) in [(layout.end(), None), (gzip(&layers[0]), Some("t/a".to_string()))] {
        let wish = ImportWish { reference: name, ..ImportWish::default() };
        // The end mark of a tar is two blocks, of which one is enough.
        for length in (0..bytes.len() - 1024.min(bytes.len() / 2)).step_by(173) {
            world.refuses("the source breaks", |world| {
                world.store.import(&mut Breaking { from: &bytes, left: length }, &wish, &Unwatched).map(drop)
            });
            world.refuses("the source ends", |world| {
                world.store.import(&mut &bytes[..length], &wish, &Unwatched).map(drop)
            });
        }
    }
}

/// What a power cut leaves is what the steps before it wrote, and nothing runs that would clear it: a drop that never comes.
#[test]
fn the_power_may_go_after_every_step() {
    if !is_root("the_power_may_go_after_every_step") {
        return;
    }
    let layers = layers();
    let config = make::config(&layers).to_string();
    for steps in 0..=3 {
        let world = World::new();
        let kept = world.import(&Tar::new().file("kept", b"").end(), Some("t/kept")).unwrap().remove(0);
        let mut ingest = world.store.ingest().unwrap();
        for layer in layers.iter().take(steps) {
            ingest.layer(&sha256(layer), Packing::Plain, &mut &layer[..], &Unwatched).unwrap();
        }
        if steps == 3 {
            drop(ingest.commit(config.as_bytes(), "t/new", "", Origin::Import).unwrap());
        } else {
            std::mem::forget(ingest);
        }
        let half = world.data().join("images/ingest/image-99/layer/d");
        std::fs::create_dir_all(&half).unwrap();
        std::fs::write(half.join("half"), "half a file").unwrap();
        std::os::unix::fs::symlink(world.outside(), half.join("out")).unwrap();
        std::os::unix::fs::symlink(world.outside(), world.data().join("images/ingest/out")).unwrap();

        let again = Store::open(&world.data(), BOUNDS).unwrap();
        let names: Vec<String> = again.found().into_iter().map(|spec| spec.reference).collect();
        let expected: &[&str] = if steps == 3 { &["t/kept:latest", "t/new:latest"] } else { &["t/kept:latest"] };
        assert_eq!(names, expected, "after {steps} steps");
        let left = std::fs::read_dir(world.data().join("images/ingest")).unwrap().count();
        assert_eq!(left, 0, "after {steps} steps");
        assert!(world.outside().join("canary").exists());
        again.sweep(&[Arc::new(kept.spec.clone())]);
        let layers_left = std::fs::read_dir(world.data().join("images/layers")).unwrap().count();
        assert_eq!(layers_left, 1, "whole layers of no image go with the sweep");
    }
}

#[test]
fn damaged_spec_files_are_no_images() {
    if !is_root("damaged_spec_files_are_no_images") {
        return;
    }
    let world = World::new();
    let kept = world.import(&Tar::new().file("kept", b"").end(), Some("t/kept")).unwrap().remove(0);
    let specs = world.data().join("images/specs");
    let text = serde_json::to_string(&kept.spec).unwrap();
    for (name, text) in [("half.json", &text[..text.len() / 2]), ("other-name.json", &text), ("empty.json", "")] {
        std::fs::write(specs.join(name), text).unwrap();
    }
    let again = Store::open(&world.data(), BOUNDS).unwrap();
    assert_eq!(again.found(), std::slice::from_ref(&kept.spec));
    again.sweep(&[Arc::new(kept.spec.clone())]);
    assert_eq!(std::fs::read_dir(&specs).unwrap().count(), 1);
}
