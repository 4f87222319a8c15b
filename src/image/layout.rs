//! An OCI image layout: which images are in it, and which of each fits this machine. Unpacks nothing.
//!
//! Source: OCI image spec, `image-layout.md`, `annotations.md`.

use super::manifest::{Descriptor, Document, Manifest};
use super::spool::{Blob, Spool};
use super::{Config, ImageError, Packing, Platform, choose};

/// `org.opencontainers.image.ref.name` is often no more than a tag; containerd's has the whole name.
const NAMES: [&str; 2] = ["io.containerd.image.name", "org.opencontainers.image.ref.name"];
/// Indexes within indexes.
const NESTED_MAX: usize = 3;

/// An image of an archive, all of its parts found.
pub(super) struct Described {
    /// As the archive has them; may be none, may be no names of images.
    pub(super) names: Vec<String>,
    /// `sha256:…` of its manifest, or of the index that it was chosen from, as that is what its name stands for; or empty.
    pub(super) digest: String,
    pub(super) config: Vec<u8>,
    /// Lowest first.
    pub(super) layers: Vec<(Packing, Blob)>,
}

/// All images that fit this machine; an error when none does.
pub(super) fn images(spool: &Spool, here: &Platform) -> Result<Vec<Described>, ImageError> {
    let index = spool.file("index.json")?.document()?;
    let Document::Index(manifests) = Document::read(&index, "")? else {
        return Err(ImageError::Invalid("index.json of the layout is no index".into()));
    };
    let mut groups: Vec<(Option<String>, Vec<Descriptor>)> = Vec::new();
    for manifest in manifests {
        let name = NAMES.iter().find_map(|name| manifest.annotations.get(*name)).cloned();
        match groups.iter_mut().find(|(known, _)| *known == name) {
            Some((_, group)) => group.push(manifest),
            None => groups.push((name, vec![manifest])),
        }
    }
    let mut found = Vec::new();
    let mut unfit = None;
    for (name, group) in groups {
        match image(spool, group, here) {
            Ok(image) => found.push(Described { names: name.into_iter().collect(), ..image }),
            Err(e @ ImageError::Unsupported(_)) => unfit = unfit.or(Some(e)),
            Err(e) => return Err(e),
        }
    }
    match (found.is_empty(), unfit) {
        (true, Some(error)) => Err(error),
        (true, None) => Err(ImageError::Invalid("the layout has no image: its index.json names none".into())),
        (false, _) => Ok(found),
    }
}

/// One name: a manifest, an index of manifests for several platforms, or several manifests of that name.
fn image(spool: &Spool, group: Vec<Descriptor>, here: &Platform) -> Result<Described, ImageError> {
    let named = (group.len() == 1).then(|| group[0].digest.clone());
    let mut offered = Vec::new();
    for descriptor in group {
        offer(spool, descriptor, NESTED_MAX, &mut offered)?;
    }
    let chosen = choose(here, offered)?;
    let manifest = manifest(spool, &chosen)?;
    let config = spool.blob(&manifest.config)?.document()?;
    // A manifest's platform in an index is only a claim.
    Config::read(&config, here)?;
    let mut layers = Vec::new();
    for layer in &manifest.layers {
        layers.push((layer.packing()?, spool.blob(layer)?.clone()));
    }
    Ok(Described { names: Vec::new(), digest: named.unwrap_or(chosen.digest), config, layers })
}

fn offer(
    spool: &Spool,
    descriptor: Descriptor,
    nested: usize,
    offered: &mut Vec<(Platform, Descriptor)>,
) -> Result<(), ImageError> {
    if let Some(platform) = descriptor.platform() {
        offered.push((platform, descriptor));
        return Ok(());
    }
    let document = spool.blob(&descriptor)?.document()?;
    match Document::read(&document, &descriptor.media_type)? {
        Document::Index(_) if nested == 0 => {
            Err(ImageError::Invalid("indexes within indexes are nested too deep".into()))
        }
        Document::Index(manifests) => {
            manifests.into_iter().try_for_each(|manifest| offer(spool, manifest, nested - 1, offered))
        }
        Document::Manifest(manifest) => {
            let config = spool.blob(&manifest.config)?.document()?;
            offered.push((super::config::platform(&config)?, descriptor));
            Ok(())
        }
    }
}

fn manifest(spool: &Spool, descriptor: &Descriptor) -> Result<Manifest, ImageError> {
    let document = spool.blob(descriptor)?.document()?;
    match Document::read(&document, &descriptor.media_type)? {
        Document::Manifest(manifest) => Ok(manifest),
        Document::Index(_) => Err(ImageError::Invalid(format!(
            "{} is an index, where a manifest for one platform must be",
            descriptor.digest
        ))),
    }
}
