//! How fast an image comes in: unpacked, hashed, synced and named, beside `tar x` of what the same decompressor gives.

#[allow(dead_code)]
mod support;

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use flate2::Compression;
use flate2::bufread::MultiGzDecoder;
use flate2::write::GzEncoder;
use pinnace::image::{Bounds, ImportWish, Store, Unwatched};
use support::figures::{Figures, print_head, print_one};
use support::{introduce, scratch, size};

/// Files of a distribution's base image are small and many; a few large ones make most of the bytes.
const SMALL_BYTES: usize = 12_000;
const LARGE_BYTES: usize = 8_000_000;

fn main() {
    let (small, large, rounds) = size((6000, 16, 5), (20, 1, 1));
    introduce(&format!("import: a root file system of {small} small and {large} large files as tar.gz"));
    if !nix::unistd::geteuid().is_root() {
        println!("  not measured: images are unpacked by root alone");
        return;
    }
    let plain = archive(small, large);
    let packed = gzip(&plain);
    let megabytes = plain.len() as f64 / 1e6;
    print_one("plain", megabytes, "MB", "");
    print_one("packed", packed.len() as f64 / 1e6, "MB", "");
    let [mut tar, mut synced, mut krate, mut ours] = std::array::from_fn(|_| Figures::default());
    let [mut ratio, mut synced_ratio, mut krate_ratio] = std::array::from_fn(|_| Figures::default());
    for _ in 0..rounds {
        let by_tar = megabytes / seconds(|directory| tar_x(&packed, directory, false));
        let by_tar_synced = megabytes / seconds(|directory| tar_x(&packed, directory, true));
        let by_crate = megabytes / seconds(|directory| tar_crate(&packed, directory));
        let by_us = megabytes / seconds(|directory| import(&packed, directory));
        tar.add(by_tar);
        synced.add(by_tar_synced);
        krate.add(by_crate);
        ours.add(by_us);
        ratio.add(by_us / by_tar);
        synced_ratio.add(by_us / by_tar_synced);
        krate_ratio.add(by_us / by_crate);
    }
    print_head(rounds);
    tar.print("floor: decompressor | tar x, two processes", "MB/s");
    synced.print("floor: the same, then synced", "MB/s");
    krate.print("floor: decompressor and the tar crate", "MB/s");
    ours.print("pinnace: import, hashed and synced", "MB/s");
    ratio.print("  / tar x", "target: 0.5");
    synced_ratio.print("  / tar x, synced", "");
    krate_ratio.print("  / the tar crate", "");
}

/// Text that packs to about a third, as programs do; the same in each run.
fn content(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let words: Vec<[u8; 8]> = (0..512).map(|_| next().to_le_bytes()).collect();
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        let word = words[(next() >> 20) as usize % words.len()];
        bytes.extend(&word[..1 + (next() >> 30) as usize % 8]);
    }
    bytes.truncate(length);
    bytes
}

fn archive(small: usize, large: usize) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    let mut add = |name: String, bytes: Vec<u8>| {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o755);
        builder.append_data(&mut header, name, bytes.as_slice()).expect("memory takes it");
    };
    for number in 0..small {
        add(format!("usr/share/part-{}/file-{number}", number / 50), content(SMALL_BYTES, number as u64 + 1));
    }
    for number in 0..large {
        add(format!("usr/lib/lib-{number}.so"), content(LARGE_BYTES, 1_000_000 + number as u64));
    }
    builder.into_inner().expect("memory takes it")
}

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::default());
    packed.write_all(plain).expect("memory takes it");
    packed.finish().expect("memory takes it")
}

fn seconds(act: impl FnOnce(&Path)) -> f64 {
    let directory = scratch();
    // What an earlier round left to be written is not this one's.
    sync(directory.path());
    let begun = Instant::now();
    act(directory.path());
    begun.elapsed().as_secs_f64()
}

fn sync(directory: &Path) {
    let file = std::fs::File::open(directory).expect("the directory is ours");
    nix::unistd::syncfs(file).expect("the disk takes it");
}

fn tar_x(packed: &[u8], directory: &Path, and_sync: bool) {
    let mut tar = Command::new("tar")
        .args(["-x", "-f", "-", "-C"])
        .arg(directory)
        .stdin(Stdio::piped())
        .spawn()
        .expect("tar is part of every system");
    let mut to = tar.stdin.take().expect("it was asked for");
    std::io::copy(&mut MultiGzDecoder::new(packed), &mut to).expect("tar reads all");
    drop(to);
    assert!(tar.wait().expect("it was started").success());
    if and_sync {
        sync(directory);
    }
}

fn tar_crate(packed: &[u8], directory: &Path) {
    tar::Archive::new(MultiGzDecoder::new(packed)).unpack(directory).expect("a good archive");
}

fn import(packed: &[u8], directory: &Path) {
    let bounds = Bounds { reserve_bytes: 0, image_bytes_max: 1 << 40, images_bytes_max: None };
    let store = Store::open(directory, bounds).expect("the directory is ours");
    let wish = ImportWish { reference: Some("bench/import".into()), ..ImportWish::default() };
    let stored = store.import(&mut &packed[..], &wish, &Unwatched).expect("a good archive");
    assert_eq!(stored.len(), 1);
}
