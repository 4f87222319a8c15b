//! A plain root file system as an image of one layer, with a configuration made from what its bringer says. Knows no other archive.

use std::io::Read;
use std::path::Path;

use crate::model::image::Origin;

use super::config::{RootFs, Runs};
use super::{Config, ImageError, ImportWish, Ingest, Platform, Progress, Stored};

pub(super) fn import(
    mut ingest: Ingest,
    from: &mut dyn Read,
    wish: &ImportWish,
    progress: &dyn Progress,
) -> Result<Stored, ImageError> {
    let Some(reference) = &wish.reference else {
        return Err(ImageError::InvalidName(
            "the archive is a plain root file system, which says nothing of its name; give the image a name".into(),
        ));
    };
    let diff_id = ingest.unnamed_layer(from, progress, check)?;
    let config = configuration(wish, &diff_id, &Platform::here());
    ingest.commit(&config, reference, "", Origin::Import)
}

/// An image in an archive has a configuration of its own.
pub(super) fn refuse_description(wish: &ImportWish) -> Result<(), ImageError> {
    let ImportWish { reference: _, entrypoint, cmd, env, workdir, user } = wish;
    if [entrypoint, cmd, env].iter().all(|list| list.is_empty()) && workdir.is_empty() && user.is_empty() {
        return Ok(());
    }
    Err(ImageError::Invalid(
        "an entrypoint, command, environment, working directory or user is for a plain root file system; the images of this \
         archive bring their own, and a manifest can give others"
            .into(),
    ))
}

fn check(root: &Path) -> Result<(), ImageError> {
    let has = |name: &str| root.join(name).symlink_metadata().is_ok();
    if has("oci-layout") && has("index.json") || has("manifest.json") && has("repositories") {
        return Err(ImageError::Invalid(
            "the archive holds images, but other files before them; make it again with nothing but the images".into(),
        ));
    }
    if root.read_dir().is_ok_and(|mut entries| entries.next().is_none()) {
        return Err(ImageError::Invalid("the archive is empty".into()));
    }
    Ok(())
}

/// The same wish and the same files give the same bytes, and so the same image ID; no time goes into it.
fn configuration(wish: &ImportWish, diff_id: &str, here: &Platform) -> Vec<u8> {
    let config = Config {
        architecture: here.architecture.clone(),
        os: here.os.clone(),
        variant: here.variant.clone(),
        config: Runs {
            entrypoint: wish.entrypoint.clone(),
            cmd: wish.cmd.clone(),
            env: wish.env.clone(),
            working_dir: wish.workdir.clone(),
            user: wish.user.clone(),
            stop_signal: String::new(),
        },
        rootfs: RootFs { kind: "layers".into(), diff_ids: vec![format!("sha256:{diff_id}")] },
    };
    serde_json::to_vec(&config).expect("a configuration is plain data")
}
