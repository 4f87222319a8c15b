//! Volumes: what files they hold, how a container mounts them, and when their content has changed under a live pod.
//! Source of every rule: `pkg/volume/{configmap,secret,downwardapi,projected}`, `pkg/kubelet/kubelet_pods.go`.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::core::draft::Draft;
use crate::model::attempt::{Mount, MountSource, VolumeContent, VolumeFile, VolumeOrder};
use crate::model::pod::ProjectedFiles;
use crate::model::volume::{DataSource, DownwardFile, FileSource, Medium, MountPropagation, Volume, VolumeMount};
use crate::model::{Container, Effect, EventType, Key, Kind, Labels, Pod, Uid, id, sorted};

use super::env::{self, Vars};
use super::expand::expand;
use super::refusal::Refusal;
use super::{about, resources, save, stop};

/// Bytes of base64 in the files of all volumes of one container: the order to start it has to be taken at once.
const FILES_BYTES_MAX: usize = 12 * 1024 * 1024;
/// Letters of a digest that tell two contents apart.
const DIGEST_LETTERS: usize = 16;

// ---- for a container that starts -----------------------------------------------------------------------------------

/// The volumes that a container mounts and how. As a kubelet does, it waits for the volumes of the whole pod.
///
/// # Errors
/// What is missing; asked again in each step.
pub fn of_container(
    draft: &Draft,
    pod: &Pod,
    container: &Container,
    vars: &Vars,
) -> Result<(Vec<VolumeOrder>, Vec<Mount>), Refusal> {
    let own = sorted::set(container.volume_mounts.iter().map(|mount| mount.name.as_str()));
    let mut orders = Vec::new();
    for volume in mounted(pod).filter(|volume| volume.host_path.is_none()) {
        let order = order(draft, pod, volume).map_err(|why| Refusal::Volume { name: volume.name.clone(), why })?;
        orders.extend(own.contains(volume.name.as_str()).then_some(order));
    }
    let bytes: usize = orders.iter().map(bytes).sum();
    if bytes > FILES_BYTES_MAX {
        let text =
            format!("the files of its volumes take {bytes} bytes as base64, at most {FILES_BYTES_MAX} are possible");
        return Err(Refusal::Config(text));
    }
    let mounts = container.volume_mounts.iter().filter_map(|one| mount(pod, one, vars).transpose());
    Ok((orders, mounts.collect::<Result<_, _>>()?))
}

/// The volumes that some container of the pod mounts; the others are never made.
fn mounted(pod: &Pod) -> impl Iterator<Item = &Volume> {
    let containers = pod.spec.init_containers.iter().chain(&pod.spec.containers);
    let names = sorted::set(containers.flat_map(|c| &c.volume_mounts).map(|mount| mount.name.as_str()));
    pod.spec.volumes.iter().filter(move |volume| names.contains(volume.name.as_str()))
}

fn bytes(order: &VolumeOrder) -> usize {
    match &order.content {
        VolumeContent::Empty { .. } => 0,
        VolumeContent::Files(files) => files.iter().map(|file| file.data.len()).sum(),
    }
}

/// None where the volume does not exist; `manifest` refuses that.
fn mount(pod: &Pod, mount: &VolumeMount, vars: &Vars) -> Result<Option<Mount>, Refusal> {
    let Some(volume) = pod.spec.volumes.iter().find(|volume| volume.name == mount.name) else { return Ok(None) };
    let source = match &volume.host_path {
        Some(host) => MountSource::Host { path: host.path.clone(), kind: host.kind },
        None => MountSource::Volume(volume.name.clone()),
    };
    Ok(Some(Mount {
        path: format!("/{}", clean(&mount.mount_path)),
        source,
        sub_path: sub_path(mount, vars)?,
        read_only: mount.read_only || volume.is_files(),
        follow_host: mount.mount_propagation == MountPropagation::HostToContainer,
    }))
}

/// Source: `ExpandContainerVolumeMounts`: a variable that is empty or not there is an error.
fn sub_path(mount: &VolumeMount, vars: &Vars) -> Result<String, Refusal> {
    if mount.sub_path_expr.is_empty() {
        return Ok(clean(&mount.sub_path));
    }
    let missing = std::cell::RefCell::new(BTreeSet::new());
    let path = expand(&mount.sub_path_expr, |name| {
        let value = vars.get(name).filter(|value| !value.is_empty());
        if value.is_none() {
            missing.borrow_mut().insert(name.to_string());
        }
        value
    });
    let missing: Vec<String> = missing.into_inner().into_iter().collect();
    if !missing.is_empty() {
        return Err(Refusal::Config(format!("missing value for {}", missing.join(", "))));
    }
    if path.starts_with('/') {
        return Err(Refusal::Config(format!("error SubPath `{path}` must not be an absolute path")));
    }
    if !is_descending(&path) {
        return Err(Refusal::Config(format!("unable to provision SubPath `{path}`: must not contain '..'")));
    }
    Ok(clean(&path))
}

fn is_descending(path: &str) -> bool {
    !path.contains('\0') && path.split('/').all(|part| part != "..")
}

/// The path without what says nothing: `/a//./b/` is `a/b`.
fn clean(path: &str) -> String {
    path.split('/').filter(|part| !matches!(*part, "" | ".")).collect::<Vec<_>>().join("/")
}

// ---- what a volume holds -------------------------------------------------------------------------------------------

/// # Errors
/// Why it cannot be set up, in the kubelet's words.
fn order(draft: &Draft, pod: &Pod, volume: &Volume) -> Result<VolumeOrder, String> {
    let content = match &volume.empty_dir {
        Some(empty) => {
            let memory = empty.medium == Medium::Memory;
            let limit = empty.size_limit.as_ref().and_then(|limit| u64::try_from(limit.value()).ok());
            let of_pod = resources::pod(&pod.spec, draft.settings()).memory_max.filter(|_| memory);
            VolumeContent::Empty { memory, size_max: limit.filter(|limit| *limit > 0).into_iter().chain(of_pod).min() }
        }
        None => VolumeContent::Files(files(draft, pod, volume)?),
    };
    Ok(VolumeOrder { name: volume.name.clone(), group: pod.spec.security_context.fs_group, content })
}

fn files(draft: &Draft, pod: &Pod, volume: &Volume) -> Result<Vec<VolumeFile>, String> {
    let (sources, mode) = volume.files();
    let mut files = BTreeMap::new();
    for source in sources {
        match source {
            FileSource::ConfigMap(data) => put_keys(&mut files, data, mode, Lookup::config_map(draft, pod, data))?,
            FileSource::Secret(data) => put_keys(&mut files, data, mode, Lookup::secret(draft, pod, data))?,
            FileSource::Downward(downward) => {
                for file in &downward.items {
                    let text = field(draft, pod, file)?;
                    put(&mut files, &file.path, BASE64.encode(text), file.mode.unwrap_or(mode))?;
                }
            }
        }
    }
    Ok(files.into_values().collect())
}

/// A ConfigMap or Secret as it was found: its keys with their values in base64.
struct Lookup {
    /// `configmap`, `secret`.
    what: &'static str,
    /// `config`, `secret`.
    key_of: &'static str,
    found: Option<Labels>,
}

impl Lookup {
    fn config_map(draft: &Draft, pod: &Pod, data: &DataSource) -> Lookup {
        let map = env::config_map(draft, &pod.meta.namespace, &data.name);
        let found = map.map(|map| {
            let texts = map.spec.data.iter().map(|(key, text)| (key.clone(), BASE64.encode(text)));
            sorted::map(texts.chain(map.spec.binary_data.clone()))
        });
        Lookup { what: "configmap", key_of: "config", found }
    }

    fn secret(draft: &Draft, pod: &Pod, data: &DataSource) -> Lookup {
        let secret = env::secret(draft, &pod.meta.namespace, &data.name);
        Lookup { what: "secret", key_of: "secret", found: secret.map(|secret| secret.spec.data.clone()) }
    }
}

type Files = BTreeMap<String, VolumeFile>;

fn put_keys(files: &mut Files, data: &DataSource, mode: u32, looked: Lookup) -> Result<(), String> {
    let Some(mut found) = looked.found else {
        return if data.optional { Ok(()) } else { Err(format!("{} \"{}\" not found", looked.what, data.name)) };
    };
    if data.items.is_empty() {
        return found.into_iter().try_for_each(|(key, value)| put(files, &key, value, mode));
    }
    for item in &data.items {
        match found.get_mut(&item.key) {
            Some(value) => put(files, &item.path, value.clone(), item.mode.unwrap_or(mode))?,
            None if data.optional => {}
            None => return Err(format!("references non-existent {} key: {}", looked.key_of, item.key)),
        }
    }
    Ok(())
}

/// Of two files of one path the later stays.
fn put(files: &mut Files, path: &str, data: String, mode: u32) -> Result<(), String> {
    let path = clean(path);
    if path.is_empty() || path.starts_with("..") || !is_descending(&path) {
        return Err(format!("invalid path of a file: {path:?}"));
    }
    files.insert(path.clone(), VolumeFile { path, data, mode });
    Ok(())
}

/// Source: `pkg/volume/downwardapi/downwardapi.go`, `CollectData`.
fn field(draft: &Draft, pod: &Pod, file: &DownwardFile) -> Result<String, String> {
    let facts = draft.node().map(|node| &node.status.facts);
    let text = match (&file.field_ref, &file.resource_field_ref) {
        (Some(field), _) => match field.field_path.as_str() {
            "metadata.labels" => Ok(lines(&pod.meta.labels)),
            "metadata.annotations" => Ok(lines(&pod.meta.annotations)),
            path => env::pod_field(pod, "", facts, path),
        },
        (None, Some(resource)) => match pod.container(&resource.container_name) {
            Some(container) => env::resource_field(pod, container, facts, resource),
            None => return Err(format!("container {} not found", resource.container_name)),
        },
        (None, None) => return Err(format!("the file {:?} has no source", file.path)),
    };
    text.map_err(|refusal| refusal.message())
}

/// `key="value"`, one a line. Source: `pkg/fieldpath/fieldpath.go`, `FormatMap`.
fn lines(labels: &Labels) -> String {
    labels.iter().map(|(key, value)| format!("{key}={}", quoted(value))).collect::<Vec<_>>().join("\n")
}

/// As Go's `%q` for text.
fn quoted(text: &str) -> String {
    let mut out = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\x07' => out.push_str("\\a"),
            '\x08' => out.push_str("\\b"),
            '\x0c' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\x0b' => out.push_str("\\v"),
            c if c < ' ' || c == '\x7f' => out.push_str(&format!("\\x{:02x}", u32::from(c))),
            c if c.is_control() || (c.is_whitespace() && c != ' ') => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

// ---- while the pod lives -------------------------------------------------------------------------------------------

/// Notes what the volumes of files of a container that starts are made from. One that was made before is kept as it is on
/// the disk, so its note stays.
pub fn note(draft: &Draft, pod: &mut Pod, orders: &[VolumeOrder]) {
    for order in orders.iter().filter(|order| is_files(order)) {
        let Some(volume) = pod.spec.volumes.iter().find(|volume| volume.name == order.name) else { continue };
        let files = ProjectedFiles { sources: sources(draft, pod, volume), content: digest(order) };
        pod.status.projected.entry(order.name.clone()).or_insert(files);
    }
}

/// Has the volumes replaced whose content has changed since they were made. Where a mount shows a part of a volume
/// (`subPath`), a container goes on with what it started with; its next attempt finds the new content. What can no longer
/// be made stays as it is.
pub fn refresh(draft: &mut Draft, pod: &mut Pod) {
    let spec = pod.spec.clone();
    for volume in &spec.volumes {
        let Some(known) = pod.status.projected.get(&volume.name) else { continue };
        let sources = sources(draft, pod, volume);
        if known.sources == sources {
            continue;
        }
        match order(draft, pod, volume) {
            Ok(order) => {
                let content = digest(&order);
                let is_news = known.content != content;
                pod.status.projected.insert(volume.name.clone(), ProjectedFiles { sources, content });
                if is_news {
                    draft.effect(Effect::Project(pod.meta.uid.clone(), Box::new(order)));
                }
            }
            Err(why) => say_failed(draft, pod, &Refusal::Volume { name: volume.name.clone(), why }),
        }
    }
}

/// The daemon has started, perhaps before it carried out what was decided, or after a reboot that emptied what was in
/// memory: every volume that was made is ordered once more.
pub fn order_again(draft: &mut Draft, pod: &mut Pod) {
    let spec = pod.spec.clone();
    for volume in &spec.volumes {
        let was_made = pod.status.projected.contains_key(&volume.name);
        if !was_made && !has_bound(volume) {
            continue;
        }
        // Of what cannot be made now nobody knows what it holds: whatever comes will be news.
        let mut files = ProjectedFiles::default();
        if let Ok(order) = order(draft, pod, volume) {
            files = ProjectedFiles { sources: sources(draft, pod, volume), content: digest(&order) };
            draft.effect(Effect::Project(pod.meta.uid.clone(), Box::new(order)));
        }
        if was_made {
            pod.status.projected.insert(volume.name.clone(), files);
        }
    }
}

/// An empty directory on the disk whose bound nobody keeps but us.
fn has_bound(volume: &Volume) -> bool {
    volume.empty_dir.as_ref().is_some_and(|empty| empty.medium == Medium::Disk && empty.size_limit.is_some())
}

/// An empty directory has outgrown its bound: the pod has to go. What is told late, of a pod that has ended, is no news.
/// Source: `pkg/kubelet/eviction/eviction_manager.go`, `emptyDirLimitEviction`.
pub fn outgrown(draft: &mut Draft, uid: &Uid, volume: &str) {
    let Some(record) = draft.pod_by_uid(uid) else { return };
    let Some(old) = record.as_pod() else { return };
    let found = old.spec.volumes.iter().find(|known| known.name == volume);
    let Some(limit) = found.and_then(|v| v.empty_dir.as_ref()?.size_limit.clone()) else { return };
    let mut pod = old.clone();
    let text = format!("Usage of EmptyDir volume \"{volume}\" exceeds the limit \"{limit}\". ");
    stop::evict(draft, &mut pod, &text);
    save(draft, old, pod);
}

/// Says of the pod, not of a container, what a volume waits for; once, as it may last.
pub fn say_failed(draft: &mut Draft, pod: &Pod, volume: &Refusal) {
    let (reason, text) = volume.event();
    draft.event_once(&about(pod), EventType::Warning, reason, &text, "kubelet");
}

fn is_files(order: &VolumeOrder) -> bool {
    match order.content {
        VolumeContent::Files(_) => true,
        VolumeContent::Empty { .. } => false,
    }
}

/// The revisions of what a volume is made from, `-` for what is not there: cheap to tell, and the same only as long as the
/// content is. A pod's own revision rises with each change of its status, so its labels and annotations tell by themselves.
fn sources(draft: &Draft, pod: &Pod, volume: &Volume) -> String {
    let revision = |kind: Kind, name: &str| {
        let revision = draft.revision_of(&Key::new(kind, &pod.meta.namespace, name));
        revision.map_or("-".to_string(), |revision| revision.to_string())
    };
    let one = |source| match source {
        FileSource::ConfigMap(data) => revision(Kind::ConfigMap, &data.name),
        FileSource::Secret(data) => revision(Kind::Secret, &data.name),
        FileSource::Downward(_) => short(&format!("{}\0{}", lines(&pod.meta.labels), lines(&pod.meta.annotations))),
    };
    volume.files().0.into_iter().map(one).collect::<Vec<_>>().join(",")
}

fn digest(order: &VolumeOrder) -> String {
    match &order.content {
        VolumeContent::Empty { .. } => String::new(),
        VolumeContent::Files(files) => {
            let text = files.iter().map(|f| format!("{}\0{:o}\0{}\0", f.path, f.mode, f.data));
            short(&text.collect::<String>())
        }
    }
}

fn short(text: &str) -> String {
    id::sha256_hex(text.as_bytes())[..DIGEST_LETTERS].to_string()
}

#[cfg(test)]
mod tests {
    use super::{clean, quoted};

    #[test]
    fn paths_lose_what_says_nothing() {
        for (path, expected) in [("", ""), ("/", ""), ("a", "a"), ("/a//./b/", "a/b"), ("./a", "a"), ("..a", "..a")] {
            assert_eq!(clean(path), expected, "{path}");
        }
    }

    #[test]
    fn values_are_quoted_as_go_does() {
        let check = |text: &str, expected: &str| assert_eq!(quoted(text), expected);
        check("", r#""""#);
        check("a b=é", r#""a b=é""#);
        check("\"\\\n\t\r", r#""\"\\\n\t\r""#);
        check("\x00\x07\x1f\x7f", r#""\x00\a\x1f\x7f""#);
        check("\u{85}\u{a0}", r#""\u0085\u00a0""#);
    }
}
