//! Images: what came into the store gets its name, what nobody refers to goes when room is needed. Decides; knows no file
//! and no registry. Source of the marks: `pkg/kubelet/images/image_gc_manager.go`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::model::image::{Disk, ImageSpec, Origin, Pulled, normal_reference, object_name};
use crate::model::{Booted, Effect, EventType, Failure, Image, Key, Kind, Meta, Pod, PodSpec, Reason, Record, sorted};

use super::draft::{Draft, about};

#[cfg(test)]
mod tests;

/// Use is noted no more often than this; it rides with other commits.
const USE_STEP: Duration = Duration::from_secs(3600);

/// What came or was used so lately is not removed to make room: whoever brings an image is about to use it. A kubelet's
/// `imageMinimumGCAge`.
const MIN_AGE: Duration = Duration::from_secs(120);

/// The image that a manifest's word stands for.
pub fn find<'d>(draft: &'d Draft, reference: &str) -> Option<&'d Image> {
    let wanted = normal_reference(reference);
    let named = draft.records(Kind::Image).filter_map(|record| record.as_image());
    named.filter(|image| !image.spec.reference.is_empty()).find(|i| normal_reference(&i.spec.reference) == wanted)
}

/// The daemon has started. A node that has lost its database takes the images that its store holds; else the records
/// say which images there are, and one whose files are gone is an image no more.
pub fn booted(draft: &mut Draft, booted: &Booted) {
    if draft.node().is_none() {
        booted.images.iter().for_each(|spec| drop(name(draft, spec)));
        return;
    }
    let found = sorted::set(booted.images.iter().map(|spec| spec.id.as_str()));
    for record in draft.select(Kind::Image, |record| record.as_image().is_some_and(is_stored)) {
        let Some(image) = record.as_image().filter(|image| !found.contains(image.spec.id.as_str())) else { continue };
        let text = format!("The files of image {} are gone from the store", shown(&image.spec));
        draft.event(&about(&record), EventType::Warning, "ImageLost", &text, "kubelet");
        draft.delete(&record.key());
    }
    // Also where there are none: what an earlier daemon was about to remove may still be there.
    let kept = kept(draft);
    draft.effect(Effect::SweepImages(kept));
}

/// Gives an image that was brought into the store its name, and makes room if it filled the disk.
pub fn keep(draft: &mut Draft, spec: &ImageSpec, disk: Disk) -> Arc<Record> {
    let record = name(draft, spec);
    trim(draft, disk, &record.key());
    record
}

fn name(draft: &mut Draft, spec: &ImageSpec) -> Arc<Record> {
    let key = Key::new(Kind::Image, "", &record_name(spec));
    let old = draft.get(&key).and_then(|record| record.as_image()).cloned();
    if let Some(old) = old.as_ref().filter(|old| old.spec.id != spec.id && is_running(draft, &old.spec)) {
        set_aside(draft, &old.spec);
    }
    let meta = match old {
        Some(old) => Meta { generation: old.meta.generation + u64::from(old.spec != *spec), ..old.meta },
        None => draft.new_meta(Kind::Image, Meta::named("", &key.name)),
    };
    draft.put(Image { meta, spec: spec.clone(), used: Some(draft.now().moment()) });
    draft.get(&key).cloned().expect("it was just put")
}

/// An image that lost its name while pods run it goes on without one until they have ended.
fn set_aside(draft: &mut Draft, spec: &ImageSpec) {
    let spec = ImageSpec { reference: String::new(), ..spec.clone() };
    let meta = draft.new_meta(Kind::Image, Meta::named("", &record_name(&spec)));
    draft.put(Image { meta, spec, used: Some(draft.now().moment()) });
}

/// By reference; one without a name by the digits of its ID.
fn record_name(spec: &ImageSpec) -> String {
    match spec.reference.as_str() {
        "" => spec.id.replace(':', "-").chars().take("sha256-".len() + 12).collect(),
        reference => object_name(reference),
    }
}

/// A fetch has come to its end. What it brought is kept whether or not a pod still waits for it.
pub fn pulled(draft: &mut Draft, pulled: &Pulled) {
    if let Ok(spec) = &pulled.outcome {
        keep(draft, spec, pulled.disk);
    }
}

/// A container of it starts.
pub fn used(draft: &mut Draft, reference: &str) {
    let now = draft.now();
    let Some(image) = find(draft, reference) else { return };
    if image.used.as_ref().is_none_or(|used| now.since(used) >= USE_STEP) {
        let image = Image { used: Some(now.moment()), ..image.clone() };
        draft.put_quietly(image);
    }
}

/// Whether a person may remove it.
///
/// # Errors
/// `Conflict` while a container runs from it.
pub fn removable(draft: &Draft, image: &Image) -> Result<(), Failure> {
    let runner = runners(draft).find(|(id, _)| *id == image.spec.id && is_stored(image));
    let Some((_, pod)) = runner else { return Ok(()) };
    let text = format!(
        "image {} is used by pod {}/{}; delete the pod first",
        shown(&image.spec),
        pod.meta.namespace,
        pod.meta.name
    );
    Err(Failure::new(Reason::Conflict, text).about(Kind::Image, &image.meta.name))
}

/// Removes what nobody refers to, registered directories apart: the store does not hold those.
///
/// # Errors
/// `ServiceUnavailable` before the node has started.
pub fn prune(draft: &mut Draft) -> Result<Arc<Record>, Failure> {
    for image in spare(draft) {
        draft.delete(&image.key());
    }
    let node = draft.records(Kind::Node).next().cloned();
    node.ok_or_else(|| Failure::new(Reason::ServiceUnavailable, "the node is starting"))
}

/// Once a step, after everything else: when an image went, the store is told which ones are left. Images that lost their
/// name go with the last pod that runs them.
pub fn sweep(draft: &mut Draft) {
    let nameless = |record: &Record| record.as_image().is_some_and(|image| image.spec.reference.is_empty());
    if draft.wrote(Kind::Pod) {
        for record in draft.select(Kind::Image, nameless) {
            if record.as_image().is_some_and(|image| !is_running(draft, &image.spec)) {
                draft.delete(&record.key());
            }
        }
    }
    if draft.lost_any(Kind::Image, |old, new| layers(old) != new.map_or(BTreeMap::new(), layers)) {
        let kept = kept(draft);
        draft.effect(Effect::SweepImages(kept));
    }
}

fn layers(record: &Record) -> BTreeMap<&str, u64> {
    let spec = record.as_image().map(|image| &image.spec);
    sorted::map(spec.into_iter().flat_map(|spec| &spec.layers).map(|layer| (layer.diff_id.as_str(), layer.size)))
}

fn kept(draft: &Draft) -> Vec<Arc<ImageSpec>> {
    let images = draft.records(Kind::Image).filter_map(|record| record.as_image()).filter(|image| is_stored(image));
    images.map(|image| Arc::new(image.spec.clone())).collect()
}

/// The store has files of it.
fn is_stored(image: &Image) -> bool {
    image.spec.origin != Origin::Directory
}

fn shown(spec: &ImageSpec) -> &str {
    if spec.reference.is_empty() { &spec.id } else { &spec.reference }
}

// ---- who uses what -------------------------------------------------------------------------------------------------

/// IDs of images that containers run from, with their pods.
fn runners<'d>(draft: &'d Draft) -> impl Iterator<Item = (&'d str, &'d Pod)> {
    let pods = draft.records(Kind::Pod).filter_map(|record| record.as_pod());
    pods.filter(|pod| !pod.status.phase.is_terminal()).flat_map(|pod| {
        let live = pod.statuses().filter(|c| c.state.is_live() && !c.image_id.is_empty());
        live.map(move |c| (c.image_id.as_str(), pod))
    })
}

fn is_running(draft: &Draft, spec: &ImageSpec) -> bool {
    !spec.id.is_empty() && runners(draft).any(|(id, _)| id == spec.id)
}

/// References of everything that has pods or will have some, also after it was shadowed or pruned and comes back.
fn referred(draft: &Draft) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for kind in [Kind::Pod, Kind::Job, Kind::CronJob, Kind::DaemonSet] {
        draft.records(kind).for_each(|record| refer(record, &mut all));
    }
    let sets = draft.records(Kind::Set).filter_map(|record| record.as_set());
    sets.flat_map(|set| &set.wants).for_each(|record| refer(record, &mut all));
    all
}

fn refer(record: &Record, all: &mut BTreeSet<String>) {
    let spec: &PodSpec = match record {
        // Its template is kept as it was sent.
        Record::CronJob(cron_job) => return all.extend(images_in(&cron_job.spec.job_template.spec)),
        Record::Pod(pod) if !pod.status.phase.is_terminal() => &pod.spec,
        Record::Job(job) if job.status.finished().is_none() => &job.spec.template.spec,
        Record::DaemonSet(set) => &set.spec.template.spec,
        Record::Pod(_)
        | Record::Job(_)
        | Record::Namespace(_)
        | Record::Node(_)
        | Record::ConfigMap(_)
        | Record::Secret(_)
        | Record::ControllerRevision(_)
        | Record::Event(_)
        | Record::Image(_)
        | Record::Set(_)
        | Record::Ack(_) => return,
    };
    let containers = spec.init_containers.iter().chain(&spec.containers);
    all.extend(containers.filter(|c| !c.image.is_empty()).map(|c| normal_reference(&c.image)));
}

/// References in the document of a Job's spec.
fn images_in(job_spec: &Value) -> Vec<String> {
    let lists = ["/template/spec/initContainers", "/template/spec/containers"];
    let containers = lists.iter().filter_map(|list| job_spec.pointer(list)?.as_array()).flatten();
    containers.filter_map(|c| c.get("image")?.as_str()).map(normal_reference).collect()
}

/// Images of the store that may go, the one that was not used for longest first.
fn spare(draft: &Draft) -> Vec<Arc<Record>> {
    let (referred, now) = (referred(draft), draft.now());
    let is_spare = |record: &Record| {
        let image = record.as_image().filter(|image| is_stored(image));
        image.is_some_and(|i| !referred.contains(&normal_reference(&i.spec.reference)) && !is_running(draft, &i.spec))
    };
    let mut spare = draft.select(Kind::Image, is_spare);
    sorted::by_key(&mut spare, |record| record.as_image().and_then(|i| i.used.as_ref()).map(|used| now.order(used)));
    spare
}

// ---- room ----------------------------------------------------------------------------------------------------------

/// Removes spare images but `just` until the disk is below its low mark and the store within its bound.
fn trim(draft: &mut Draft, disk: Disk, just: &Key) {
    let mut surplus = surplus(draft, disk);
    if surplus == 0 {
        return;
    }
    let now = draft.now();
    let is_old = |record: &Record| {
        let used = record.as_image().and_then(|image| image.used.as_ref());
        used.is_none_or(|used| now.since(used) >= MIN_AGE)
    };
    for image in spare(draft).iter().filter(|image| image.key() != *just && is_old(image)) {
        if surplus == 0 {
            break;
        }
        let before = taken(draft);
        draft.delete(&image.key());
        surplus = surplus.saturating_sub(before - taken(draft));
    }
}

/// Bytes that should go: none while the disk is below its high mark and the store within its bound.
fn surplus(draft: &Draft, disk: Disk) -> u64 {
    let settings = draft.settings();
    let part = |percent: u8| (u128::from(disk.total) * u128::from(percent.min(100)) / 100) as u64;
    let used = disk.total.saturating_sub(disk.free);
    let above_mark = match disk.total > 0 && used >= part(settings.images_high_percent) {
        true => used.saturating_sub(part(settings.images_low_percent)),
        false => 0,
    };
    let above_bound = settings.images_bytes_max.map_or(0, |max| taken(draft).saturating_sub(max));
    above_mark.max(above_bound)
}

/// Bytes of all layers in the store, each counted once.
fn taken(draft: &Draft) -> u64 {
    let records = draft.records(Kind::Image);
    sorted::map(records.flat_map(|record| layers(record))).values().sum()
}
