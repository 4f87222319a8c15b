//! A disk for redb that loses power, fills up and fails: what was not synced is kept apart, and a cut keeps a random part
//! of it, torn at sectors, as a real medium may. Everything follows from the seed.

use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, Mutex};

use redb::StorageBackend;

const SECTOR_BYTES: usize = 512;
/// What a file system gives room by.
const BLOCK_BYTES: usize = 4096;

/// Handles on one disk share it; redb gets one, the test keeps another.
#[derive(Debug, Clone)]
pub struct CrashBackend {
    disk: Arc<Mutex<Disk>>,
}

#[derive(Debug, Default)]
struct Disk {
    durable: Vec<u8>,
    /// What redb sees.
    current: Vec<u8>,
    unsynced: Vec<Op>,
    ops: u64,
    syncs: u64,
    /// Bytes of all writes.
    written: u64,
    /// The operation at which the disk fails for good.
    fail_at: Option<u64>,
    /// The operation that fails, and it alone.
    fail_once: Option<u64>,
    /// The operation from which on no block is given any more.
    full_at: Option<u64>,
    /// Blocks that have room on the medium; a file may be longer than that.
    blocks: BTreeSet<usize>,
    /// An operation that was told to fail did.
    failed: bool,
}

#[derive(Debug, Clone)]
enum Op {
    Length(usize),
    Write { offset: usize, bytes: Vec<u8> },
}

impl CrashBackend {
    pub fn new() -> CrashBackend {
        CrashBackend::holding(Vec::new())
    }

    /// A disk that holds this file, all of it on the medium.
    pub fn holding(bytes: Vec<u8>) -> CrashBackend {
        let blocks = (0..bytes.len().div_ceil(BLOCK_BYTES)).collect();
        CrashBackend::of(Disk { durable: bytes.clone(), current: bytes, blocks, ..Disk::default() })
    }

    fn of(disk: Disk) -> CrashBackend {
        CrashBackend { disk: Arc::new(Mutex::new(disk)) }
    }

    /// The disk as the next boot finds it. This one fails every operation from now on.
    pub fn power_cut(&self, seed: u64) -> CrashBackend {
        let mut disk = self.lock();
        disk.fail_at = Some(0);
        let mut random = Random(seed);
        let mut bytes = disk.durable.clone();
        for op in disk.unsynced.iter().filter(|_| random.chance(2)).cloned().collect::<Vec<_>>() {
            apply(&mut bytes, &tear(op, &mut random));
        }
        CrashBackend::of(Disk {
            durable: bytes.clone(),
            current: bytes,
            ops: disk.ops,
            written: disk.written,
            full_at: disk.full_at,
            blocks: disk.blocks.clone(),
            ..Disk::default()
        })
    }

    /// The disk after the process died and the kernel went on: nothing is lost yet, but what was not synced still is not.
    pub fn process_death(&self) -> CrashBackend {
        let mut disk = self.lock();
        disk.fail_at = Some(0);
        CrashBackend::of(Disk {
            durable: disk.durable.clone(),
            current: disk.current.clone(),
            unsynced: disk.unsynced.clone(),
            ops: disk.ops,
            written: disk.written,
            full_at: disk.full_at,
            blocks: disk.blocks.clone(),
            ..Disk::default()
        })
    }

    /// Makes the `n`th operation from now, and all after it, fail: the process does not live to see them.
    pub fn fail_after(&self, n: u64) {
        let mut disk = self.lock();
        disk.fail_at = Some(disk.ops + n);
    }

    /// Makes the `n`th operation from now fail, and none after it: a sector that could not be read or written.
    pub fn fail_once_after(&self, n: u64) {
        let mut disk = self.lock();
        disk.fail_once = Some(disk.ops + n);
    }

    /// From the `n`th operation on there is no room for a block that was not written before.
    pub fn full_after(&self, n: u64) {
        let mut disk = self.lock();
        disk.full_at = Some(disk.ops + n);
    }

    /// No operation is told to fail any more.
    pub fn is_well(&self) {
        let mut disk = self.lock();
        (disk.fail_at, disk.fail_once, disk.full_at, disk.failed) = (None, None, None, false);
    }

    /// Whether an operation failed as it was told to.
    pub fn has_failed(&self) -> bool {
        self.lock().failed
    }

    /// Writes, length changes and syncs so far.
    pub fn ops(&self) -> u64 {
        self.lock().ops
    }

    pub fn syncs(&self) -> u64 {
        self.lock().syncs
    }

    /// Bytes of all writes so far.
    pub fn written(&self) -> u64 {
        self.lock().written
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Disk> {
        self.disk.lock().unwrap()
    }

    fn change(&self, op: Op) -> io::Result<()> {
        let mut disk = self.lock();
        disk.count()?;
        if let Op::Write { offset, bytes } = &op {
            disk.take_room(*offset, bytes.len())?;
            disk.written += bytes.len() as u64;
        }
        apply(&mut disk.current, &op);
        disk.unsynced.push(op);
        Ok(())
    }
}

impl Disk {
    fn count(&mut self) -> io::Result<()> {
        self.ops += 1;
        self.check()
    }

    fn check(&mut self) -> io::Result<()> {
        if self.fail_at.is_some_and(|at| self.ops >= at) {
            self.failed = true;
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        if self.fail_once.is_some_and(|at| self.ops >= at) {
            (self.failed, self.fail_once) = (true, None);
            return Err(io::Error::other("the medium failed (simulated)"));
        }
        Ok(())
    }

    /// A file system with room for nothing new still takes what overwrites something.
    fn take_room(&mut self, offset: usize, length: usize) -> io::Result<()> {
        let blocks = offset / BLOCK_BYTES..(offset + length).div_ceil(BLOCK_BYTES);
        let full = self.full_at.is_some_and(|at| self.ops >= at);
        if full && blocks.clone().any(|block| !self.blocks.contains(&block)) {
            self.failed = true;
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        self.blocks.extend(blocks);
        Ok(())
    }
}

fn apply(bytes: &mut Vec<u8>, op: &Op) {
    match op {
        Op::Length(length) => bytes.resize(*length, 0),
        Op::Write { offset, bytes: new } => {
            let end = offset + new.len();
            if bytes.len() < end {
                bytes.resize(end, 0);
            }
            bytes[*offset..end].copy_from_slice(new);
        }
    }
}

/// One in four writes reaches the medium only up to a sector.
fn tear(op: Op, random: &mut Random) -> Op {
    match op {
        Op::Write { offset, mut bytes } if bytes.len() > SECTOR_BYTES && random.chance(4) => {
            let sectors = bytes.len() / SECTOR_BYTES;
            bytes.truncate(SECTOR_BYTES * (random.next() as usize % sectors));
            Op::Write { offset, bytes }
        }
        op => op,
    }
}

impl StorageBackend for CrashBackend {
    fn len(&self) -> io::Result<u64> {
        let mut disk = self.lock();
        disk.check()?;
        Ok(disk.current.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let mut disk = self.lock();
        disk.check()?;
        let start = offset as usize;
        let bytes = disk.current.get(start..start + out.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(bytes);
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.change(Op::Length(length as usize))
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut disk = self.lock();
        disk.count()?;
        for op in std::mem::take(&mut disk.unsynced) {
            apply(&mut disk.durable, &op);
        }
        disk.syncs += 1;
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.change(Op::Write { offset: offset as usize, bytes: data.to_vec() })
    }
}

/// SplitMix64: small, and the same on every machine.
#[derive(Debug, Clone)]
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// True once in `n` times.
    pub fn chance(&mut self, n: u64) -> bool {
        self.next().is_multiple_of(n)
    }
}
