//! Takes images out of an archive: `docker save`, an OCI layout, or a plain root file system, each packed or not. Knows no
//! pod and no registry.

use std::io::{self, Read};

use serde::{Deserialize, Deserializer};

use crate::model::image::{Origin, Reference};

use super::budget::too_large;
use super::layout::{self, Described};
use super::packing::unpacked;
use super::read::{Bounded, Watched, digits};
use super::rootfs;
use super::spool::Spool;
use super::tarball::{BLOCK, Tarball};
use super::{Config, ImageError, ImportWish, Ingest, Packing, Platform, Progress, Store, Stored, tree};

/// The first name of an archive is within so many bytes, whatever headers come before it.
const PEEK_BYTES: u64 = 64 << 10;
/// An archive is no larger than so many of the largest images.
const IMAGES_OF_ARCHIVE: u64 = 8;

impl Store {
    /// Takes every image of an archive that this machine can run; a plain root file system becomes an image of one layer.
    ///
    /// # Errors
    /// See [`ImageError`]. The store then has nothing of it but whole layers, which the next sweep takes.
    pub fn import(
        &self,
        from: &mut dyn Read,
        wish: &ImportWish,
        progress: &dyn Progress,
    ) -> Result<Vec<Stored>, ImageError> {
        if let Some(name) = &wish.reference {
            Reference::parse(name).map_err(ImageError::InvalidName)?;
        }
        // Says at once what an ordinary user cannot have.
        let first = self.ingest()?;
        let max = self.image_bytes_max();
        let plain = unpacked(Watched::new(from, "archive", None, progress), Packing::Guess)?;
        let mut plain = Bounded { from: plain, left: max.saturating_mul(IMAGES_OF_ARCHIVE), error: || too_large(max) };
        let mut head = Vec::new();
        (&mut plain).take(PEEK_BYTES).read_to_end(&mut head)?;
        if head.len() < BLOCK {
            let len = head.len();
            return Err(ImageError::Invalid(format!(
                "this is no tar archive: it has {len} bytes, and the header of its first file alone would have {BLOCK}"
            )));
        }
        let is_rootfs = first_name(&head).is_some_and(|name| !is_of_archive(&name));
        let mut whole = io::Cursor::new(head).chain(plain);
        if is_rootfs {
            return Ok(vec![rootfs::import(first, &mut whole, wish, progress)?]);
        }
        drop(first);
        let mut archive = Tarball::new(&mut whole);
        let spool = Spool::fill(self, &mut archive)?;
        archive.drain()?;
        let images = described(&spool)?;
        take(self, images, wish, progress)
    }
}

/// The first name of a tar that says what the tar is: its root says nothing.
fn first_name(head: &[u8]) -> Option<String> {
    let mut archive = Tarball::new(head);
    loop {
        let member = archive.next().ok().flatten()?;
        match tree::names(&member.path).ok()?.first() {
            Some(first) => return Some(String::from_utf8_lossy(first).into_owned()),
            None => continue,
        }
    }
}

fn is_of_archive(name: &str) -> bool {
    let stem = name.strip_suffix(".json").or_else(|| name.strip_suffix(".tar")).unwrap_or(name);
    matches!(name, "manifest.json" | "repositories" | "index.json" | "oci-layout" | "blobs") || digits(stem).is_some()
}

/// `docker save` of today writes both forms; the layout says more.
fn described(spool: &Spool) -> Result<Vec<Described>, ImageError> {
    let here = Platform::here();
    if spool.has("index.json") {
        layout::images(spool, &here)
    } else if spool.has("manifest.json") {
        saved(spool, &here)
    } else {
        Err(ImageError::Invalid(
            "the archive has neither index.json (an OCI layout) nor manifest.json (docker save), so it has no image"
                .into(),
        ))
    }
}

/// One image of `manifest.json` (docker's image spec v1.2, "Combined Image JSON + Filesystem Changeset Format").
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Saved {
    config: String,
    #[serde(default, deserialize_with = "or_default")]
    repo_tags: Vec<String>,
    #[serde(default, deserialize_with = "or_default")]
    layers: Vec<String>,
}

fn or_default<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    Option::deserialize(from).map(Option::unwrap_or_default)
}

fn saved(spool: &Spool, here: &Platform) -> Result<Vec<Described>, ImageError> {
    let bytes = spool.file("manifest.json")?.document()?;
    let list: Vec<Saved> = serde_json::from_slice(&bytes)
        .map_err(|e| ImageError::Invalid(format!("read manifest.json of the archive: {e}")))?;
    let (mut found, mut unfit) = (Vec::new(), None);
    for one in list {
        match saved_image(spool, one, here) {
            Ok(image) => found.push(image),
            Err(e @ ImageError::Unsupported(_)) => unfit = unfit.or(Some(e)),
            Err(e) => return Err(e),
        }
    }
    match (found.is_empty(), unfit) {
        (true, Some(error)) => Err(error),
        (true, None) => Err(ImageError::Invalid("manifest.json of the archive names no image".into())),
        (false, _) => Ok(found),
    }
}

fn saved_image(spool: &Spool, one: Saved, here: &Platform) -> Result<Described, ImageError> {
    let blob = spool.file(&plain_name(&one.config)?)?;
    if let Some(named) = digits(one.config.trim_end_matches(".json"))
        && named != blob.digest
    {
        return Err(ImageError::Invalid(format!(
            "{} has the digest sha256:{}; it is damaged",
            one.config, blob.digest
        )));
    }
    let config = blob.document()?;
    Config::read(&config, here)?;
    let mut layers = Vec::new();
    for name in &one.layers {
        layers.push((Packing::Guess, spool.file(&plain_name(name)?)?.clone()));
    }
    Ok(Described { names: one.repo_tags, digest: String::new(), config, layers })
}

fn plain_name(name: &str) -> Result<String, ImageError> {
    Ok(tree::shown(&tree::names(name.as_bytes())?))
}

/// Brings the layers of all images first, so that an image that is damaged keeps out the others as well.
fn take(
    store: &Store,
    images: Vec<Described>,
    wish: &ImportWish,
    progress: &dyn Progress,
) -> Result<Vec<Stored>, ImageError> {
    rootfs::refuse_description(wish)?;
    let mut ready: Vec<(Ingest, Described, String)> = Vec::new();
    let is_alone = images.len() == 1;
    for image in images {
        for reference in references(&image, wish, is_alone)? {
            let mut ingest = store.ingest()?;
            bring(&mut ingest, &image, progress)?;
            let copy = Described {
                names: Vec::new(),
                digest: image.digest.clone(),
                config: image.config.clone(),
                layers: Vec::new(),
            };
            ready.push((ingest, copy, reference));
        }
    }
    ready
        .into_iter()
        .map(|(ingest, image, reference)| ingest.commit(&image.config, &reference, &image.digest, Origin::Import))
        .collect()
}

fn bring(ingest: &mut Ingest, image: &Described, progress: &dyn Progress) -> Result<(), ImageError> {
    let config = Config::read(&image.config, &Platform::here())?;
    let diff_ids: Vec<&str> = config.layers().collect();
    if diff_ids.len() != image.layers.len() {
        return Err(ImageError::Invalid(format!(
            "the image's configuration has {} layers, its manifest {}",
            diff_ids.len(),
            image.layers.len()
        )));
    }
    for (diff_id, (packing, blob)) in diff_ids.iter().zip(&image.layers) {
        ingest.layer(diff_id, *packing, &mut blob.open()?, progress)?;
    }
    Ok(())
}

/// The names to keep an image under.
fn references(image: &Described, wish: &ImportWish, is_alone: bool) -> Result<Vec<String>, ImageError> {
    if let Some(reference) = &wish.reference {
        if is_alone {
            return Ok(vec![reference.clone()]);
        }
        return Err(ImageError::InvalidName(format!(
            "name the image {reference:?}: the archive has several images, which keep their own names; give none"
        )));
    }
    // A lone tag names nothing: `latest` would become the image `library/latest`.
    let names: Vec<String> = image.names.iter().filter(|name| name.contains([':', '/', '@'])).cloned().collect();
    if names.is_empty() {
        return Err(ImageError::InvalidName(match image.names.first() {
            Some(tag) => format!("the archive calls an image only {tag:?}, which is a tag; give the image a name"),
            None => "the archive has an image without a name; give it one".into(),
        }));
    }
    for name in &names {
        Reference::parse(name).map_err(ImageError::InvalidName)?;
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::is_of_archive;

    #[test]
    fn the_first_name_tells_an_archive_of_images() {
        let id = "a".repeat(64);
        for name in ["index.json", "oci-layout", "blobs", "manifest.json", "repositories", &id, &format!("{id}.tar")] {
            assert!(is_of_archive(name), "{name}");
        }
        for name in ["bin", "etc", "index.html", "layer.tar", "abc.json", &id[1..]] {
            assert!(!is_of_archive(name), "{name}");
        }
    }
}
