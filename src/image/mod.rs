//! Images on the node's disk: what was unpacked, how it gets in and out. Knows no manifest, no pod, and not which images
//! are wanted: it is told what to keep.
//!
//! Guarantees: a directory below `images/layers/` is whole and on the medium, or it is not there; the same holds for a
//! file below `images/specs/`. What is being brought lies below `images/ingest/` and is gone after an error, a drop or the
//! next start. Nothing is ever written outside the store, whatever an archive says.
//!
//! Assumptions: one daemon uses the directory at a time, and nobody else writes below `images/` (mode 0700, so that no user
//! of the device reaches a setuid file of an image). Layers are unpacked by root alone: an ordinary user can neither give files
//! their owners nor run an image.

mod archive;
mod budget;
mod config;
mod export;
mod ingest;
mod layout;
mod manifest;
mod packing;
mod platform;
mod read;
pub mod registry;
mod rootfs;
mod spool;
mod store;
mod sys;
mod tarball;
mod tree;
mod unpack;

use std::fmt;
use std::io;

pub use budget::disk;
pub use config::Config;
pub use ingest::{Ingest, Stored};
pub use manifest::{Descriptor, Document, Manifest};
pub use platform::{Platform, choose};
pub use store::{Pin, Store};

pub use crate::model::image::ImportWish;

/// What the store may take of the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Bytes that stay free on the store's file system, whatever is brought.
    pub reserve_bytes: u64,
    /// Bytes that one image may unpack to; more is taken for a gzip bomb.
    pub image_bytes_max: u64,
    /// Bytes that all unpacked images may take; none: as much as the reserve leaves.
    pub images_bytes_max: Option<u64>,
}

/// How the bytes of a layer or of an archive are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    Plain,
    Gzip,
    Zstd,
    /// The first bytes tell.
    Guess,
}

/// Is told how far a piece of work is, and can end it.
pub trait Progress: Send + Sync {
    /// `done` of `total` bytes of the source of `what` are through; without a total nobody knows how many there are.
    fn at(&self, what: &str, done: u64, total: Option<u64>);
    /// Asked every few hundred kilobytes; the work then ends with [`ImageError::Cancelled`].
    fn is_cancelled(&self) -> bool;
}

/// Nobody watches and nobody cancels.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unwatched;

impl Progress for Unwatched {
    fn at(&self, _: &str, _: u64, _: Option<u64>) {}
    fn is_cancelled(&self) -> bool {
        false
    }
}

/// Why an image did not come in or out. The text says what was tried, on what, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageError {
    /// The disk's reserve or the store's bound would be broken.
    NoRoom(String),
    /// The bytes are not what they claim to be, or claim what no image may.
    Invalid(String),
    /// A sound image, but not for this node.
    Unsupported(String),
    /// No registry could be asked.
    Unreachable(String),
    /// The registry was asked and did not give it.
    Refused(String),
    /// No such image name can exist.
    InvalidName(String),
    Cancelled,
    /// The disk or the source failed.
    Io(String),
}

impl fmt::Display for ImageError {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            ImageError::NoRoom(text)
            | ImageError::Invalid(text)
            | ImageError::Unsupported(text)
            | ImageError::Unreachable(text)
            | ImageError::Refused(text)
            | ImageError::InvalidName(text)
            | ImageError::Io(text) => f.write_str(text),
            ImageError::Cancelled => f.write_str("the image was cancelled before it was complete"),
        }
    }
}

impl std::error::Error for ImageError {}

/// An error of ours that goes through a `Read` comes out of it as it was ([`ImageError::from`]).
impl From<ImageError> for io::Error {
    fn from(error: ImageError) -> io::Error {
        io::Error::other(error)
    }
}

/// What a source of bytes said: our own errors as they are, bad or missing bytes as `Invalid`, the rest as `Io`.
impl From<io::Error> for ImageError {
    fn from(error: io::Error) -> ImageError {
        if let Some(inner) = error.get_ref().and_then(|inner| inner.downcast_ref::<ImageError>()) {
            return inner.clone();
        }
        match error.kind() {
            io::ErrorKind::UnexpectedEof => ImageError::Invalid("the archive is cut off; get it again".into()),
            io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => {
                ImageError::Invalid(format!("the archive is damaged: {error}; get it again"))
            }
            _ => ImageError::Io(error.to_string()),
        }
    }
}
