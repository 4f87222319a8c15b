//! Any bytes and any distortion of a good archive: an answer, never a panic, never a file outside, and after an error the store
//! as it was.

use std::cell::Cell;
use std::sync::Arc;

use proptest::prelude::*;
use tar::EntryType;

use crate::listing::difference;
use crate::make::{self, LAYER, Layout, Tar, gzip, zstd};
use crate::world::{World, is_root};

const CASES: u32 = 400;
/// Words that mean something in a header.
const BITS: [&[u8]; 16] = [
    b"../../../../outside/canary\0",
    b"/etc/passwd\0",
    b"./",
    b"..\0",
    b".wh.",
    b".wh..wh..opq\0",
    b"a\0",
    b"\0\0\0\0",
    b"77777777777\0",
    b"\x80\xff\xff\xff\xff\xff\xff\xff",
    b"\xff\xff\xff\xff",
    b"1",
    b"2",
    b"5",
    b"S",
    b"18 path=../outside\n",
];

fn layer() -> Vec<u8> {
    Tar::new()
        .directory("a/")
        .file("a/f", &[7; 600])
        .symlink("l", "../../../../../outside")
        .file("l/canary", b"x")
        .hard_link("h", "a/f")
        .file(".wh.gone", b"")
        .file("a/.wh..wh..opq", b"")
        .pax(&[("path", b"a/pax"), ("mtime", b"1.5"), ("SCHILY.xattr.user.x", b"y")])
        .file("x", b"content")
        .with(EntryType::Fifo, "p", "", |_| {})
        .pax(&[
            ("GNU.sparse.major", b"1"),
            ("GNU.sparse.minor", b"0"),
            ("GNU.sparse.realsize", b"9000"),
            ("GNU.sparse.name", b"s"),
        ])
        .file("sparse", &{
            let mut map = b"1\n4096\n4\n".to_vec();
            map.resize(512, 0);
            [map, b"data".to_vec()].concat()
        })
        .end()
}

fn seeds() -> Vec<Vec<u8>> {
    let (layer, config) = (layer(), make::config(&[layer()]));
    let mut layout = Layout::new();
    let blob = layout.blob(&format!("{LAYER}+gzip"), &gzip(&layer));
    let manifest = layout.manifest(&config, vec![blob]);
    layout.name(manifest, "t/a:1");
    vec![
        layer.clone(),
        layer.clone(),
        layer.clone(),
        gzip(&layer),
        zstd(&layer),
        layout.end(),
        Layout::new().image("t/a:1", &config, std::slice::from_ref(&layer)).end(),
        make::saved(&["t/a:1"], &config, std::slice::from_ref(&layer)),
    ]
}

#[derive(Debug, Clone)]
enum Edit {
    Put(&'static [u8]),
    Flip(u8),
    Cut(usize),
    /// Copies so many bytes from elsewhere.
    Copy(prop::sample::Index, usize),
    Block(prop::sample::Index),
}

fn edit() -> impl Strategy<Value = Edit> {
    prop_oneof![
        prop::sample::select(&BITS[..]).prop_map(Edit::Put),
        any::<u8>().prop_map(Edit::Flip),
        (1usize..600).prop_map(Edit::Cut),
        (any::<prop::sample::Index>(), 1usize..600).prop_map(|(from, count)| Edit::Copy(from, count)),
        any::<prop::sample::Index>().prop_map(Edit::Block),
    ]
}

fn apply(bytes: &mut Vec<u8>, at: prop::sample::Index, edit: &Edit) {
    if bytes.is_empty() {
        return;
    }
    let at = at.index(bytes.len());
    match edit {
        Edit::Put(bits) => bytes.iter_mut().skip(at).zip(*bits).for_each(|(byte, new)| *byte = *new),
        Edit::Flip(bits) => bytes[at] ^= bits,
        Edit::Cut(count) => drop(bytes.drain(at..(at + count).min(bytes.len()))),
        Edit::Copy(from, count) => {
            let from = from.index(bytes.len());
            let copy = bytes[from..(from + count).min(bytes.len())].to_vec();
            bytes.splice(at..at, copy);
        }
        Edit::Block(from) => {
            let block = |at: usize| at / 512 * 512;
            let from = block(from.index(bytes.len()));
            let copy = bytes[from..(from + 512).min(bytes.len())].to_vec();
            bytes.splice(block(at)..block(at), copy);
        }
    }
}

/// Without this the checksum would refuse almost every distorted header.
fn mend_checksums(bytes: &mut [u8]) {
    for block in bytes.chunks_exact_mut(512).filter(|block| block[257..262] == *b"ustar") {
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    }
}

fn run(strategy: impl Strategy<Value = Vec<u8>>) {
    let world = World::new();
    let kept = Arc::new(world.rootfs(&Tar::new().file("kept", b"").end()).unwrap().0.spec.clone());
    let before = world.listing();
    let config = ProptestConfig { cases: CASES, failure_persistence: None, ..ProptestConfig::default() };
    let (good, bad) = (Cell::new(0u32), Cell::new(0u32));
    proptest::test_runner::TestRunner::new(config)
        .run(&strategy, |bytes| {
            match world.import(&bytes, Some("t/fuzz")) {
                Ok(_) => good.set(good.get() + 1),
                Err(error) => {
                    bad.set(bad.get() + 1);
                    let text = error.to_string();
                    prop_assert!(!text.is_empty() && text.len() < 10_000, "a message of {} bytes", text.len());
                    prop_assert_eq!(world.store.found(), vec![(*kept).clone()]);
                }
            }
            world.store.sweep(std::slice::from_ref(&kept));
            let after = world.listing();
            prop_assert!(before == after, "{}", difference(&before, &after));
            Ok(())
        })
        .unwrap();
    assert!(bad.get() > 0, "{} were images and none was refused", good.get());
}

#[test]
fn any_bytes() {
    if is_root("any_bytes") {
        run(prop::collection::vec(any::<u8>(), 0..2000));
    }
}

#[test]
fn any_distortion() {
    if !is_root("any_distortion") {
        return;
    }
    let edits = prop::collection::vec((any::<prop::sample::Index>(), edit()), 1..6);
    run((prop::sample::select(seeds()), edits, any::<bool>()).prop_map(|(mut bytes, edits, mend)| {
        for (at, edit) in edits {
            apply(&mut bytes, at, &edit);
        }
        if mend {
            mend_checksums(&mut bytes);
        }
        bytes
    }));
}
