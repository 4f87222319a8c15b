//! How many bytes may still be written: the disk's reserve, the bound of one image, the bound of all. Does not know what is
//! written.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use nix::sys::statvfs::statvfs;

use crate::model::image::Disk;

use super::{Bounds, ImageError};

/// The disk is asked again after this many bytes.
const CHECK_EACH: u64 = 4 << 20;

/// What one ingest has written and may write. What it holds of the common bound it gives back when it is dropped.
pub(super) struct Budget {
    directory: PathBuf,
    bounds: Bounds,
    /// Bytes of complete layers when this began, and of all that is being brought now.
    stored: u64,
    in_making: Arc<AtomicU64>,
    written: u64,
    since_check: u64,
}

impl Budget {
    pub(super) fn new(directory: PathBuf, bounds: Bounds, stored: u64, in_making: Arc<AtomicU64>) -> Budget {
        Budget { directory, bounds, stored, in_making, written: 0, since_check: 0 }
    }

    /// Notes `bytes` of an unpacked image that are about to be written.
    pub(super) fn charge(&mut self, bytes: u64) -> Result<(), ImageError> {
        self.written = self.written.saturating_add(bytes);
        let brought = self.in_making.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
        if self.written > self.bounds.image_bytes_max {
            return Err(too_large(self.bounds.image_bytes_max));
        }
        if let Some(max) = self.bounds.images_bytes_max
            && self.stored.saturating_add(brought) > max
        {
            return Err(over_bound(max));
        }
        self.spend(bytes)
    }

    /// Notes `bytes` that pass through the disk and do not stay, such as a packed layer.
    pub(super) fn spend(&mut self, bytes: u64) -> Result<(), ImageError> {
        self.since_check = self.since_check.saturating_add(bytes);
        if self.since_check < CHECK_EACH {
            return Ok(());
        }
        self.since_check = 0;
        self.room_on_disk(CHECK_EACH)
    }

    /// Whether `bytes` more leave the reserve and the bound of all images whole.
    pub(super) fn room_for(&self, bytes: u64) -> Result<(), ImageError> {
        if let Some(max) = self.bounds.images_bytes_max
            && self.stored.saturating_add(self.in_making.load(Ordering::Relaxed)).saturating_add(bytes) > max
        {
            return Err(over_bound(max));
        }
        self.room_on_disk(bytes)
    }

    /// Whether `bytes` more leave the disk's reserve whole.
    pub(super) fn room_on_disk(&self, bytes: u64) -> Result<(), ImageError> {
        let free = disk(&self.directory)?.free;
        if free >= bytes.saturating_add(self.bounds.reserve_bytes) {
            return Ok(());
        }
        let reserve = self.bounds.reserve_bytes;
        Err(ImageError::NoRoom(format!(
            "write {bytes} bytes below {}: {free} bytes are free and {reserve} of them are the reserve; remove images \
             (pinnace image prune) or lower the reserve",
            self.directory.display()
        )))
    }

    pub(super) fn image_bytes_max(&self) -> u64 {
        self.bounds.image_bytes_max
    }

    /// What is still to be read of this image before it is taken for a bomb.
    pub(super) fn image_bytes_left(&self) -> u64 {
        self.bounds.image_bytes_max.saturating_sub(self.written)
    }
}

impl Drop for Budget {
    fn drop(&mut self) {
        self.in_making.fetch_sub(self.written, Ordering::Relaxed);
    }
}

pub(super) fn too_large(max: u64) -> ImageError {
    ImageError::Invalid(format!(
        "the image unpacks to more than {max} bytes, the bound of one image; raise the bound if it is no gzip bomb"
    ))
}

fn over_bound(max: u64) -> ImageError {
    ImageError::NoRoom(format!(
        "all images together would take more than {max} bytes, the store's bound; remove images (pinnace image prune) \
         or raise the bound"
    ))
}

/// The file system that `directory` lies on.
///
/// # Errors
/// `Io` where it cannot be asked.
pub fn disk(directory: &std::path::Path) -> Result<Disk, ImageError> {
    let seen =
        statvfs(directory).map_err(|e| ImageError::Io(format!("ask how full {} is: {e}", directory.display())))?;
    let unit = seen.fragment_size() as u64;
    let bytes = |blocks: u64| blocks.saturating_mul(unit);
    Ok(Disk { total: bytes(seen.blocks() as u64), free: bytes(seen.blocks_available() as u64) })
}
