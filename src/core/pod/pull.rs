//! The kubelet's image manager: whether a container's image is there, and if not, that it is fetched and fetched again.
//! Knows no registry. Source: `pkg/kubelet/images/image_manager.go`.

use std::time::Duration;

use base64::Engine;

use crate::core::draft::Draft;
use crate::core::image;
use crate::model::image::{Origin, Pull, PullFailure, PullFailureKind, Pulled, Reference, normal_reference};
use crate::model::pod::{Backoff, PullPolicy};
use crate::model::{Container, ContainerState, ContainerStatus, Effect, EventType, Image, Kind, Pod, Secret};

use super::refusal::Refusal;
use super::start::{refuse, wait};
use super::{restart, save, say, say_of_pod};

/// `image` of a container that has the host's own file system, beside an empty one.
const HOST: &str = "host";
/// With `Always`, a registry that has not answered after this time does not hold up what the store has: a device that
/// boots where nobody answers must run.
const PATIENCE: Duration = Duration::from_secs(5);
const REASONS: [&str; 2] = ["ErrImagePull", "ImagePullBackOff"];
const INVALID_NAME: &str = "InvalidImageName";
/// The key of a Secret that holds a registry's credentials, and of its older form.
const CREDENTIALS: [&str; 2] = [".dockerconfigjson", ".dockercfg"];

/// True when nothing keeps the container from starting as far as its image is concerned. Else it waits, and says why.
pub fn has_image(draft: &mut Draft, pod: &mut Pod, container: &Container) -> bool {
    if container.image.is_empty() || container.image == HOST {
        return true;
    }
    let stored = image::find(draft, &container.image).cloned();
    match (container.image_pull_policy, stored) {
        (PullPolicy::Never | PullPolicy::IfNotPresent, Some(_)) => true,
        (PullPolicy::Never, None) => {
            refuse(draft, pod, &container.name, &Refusal::ImageNeverPulled(container.image.clone()));
            false
        }
        // What a person brought is what that person wants to run.
        (PullPolicy::Always, Some(stored))
            if !draft.settings().images_pull || stored.spec.origin != Origin::Registry =>
        {
            true
        }
        (PullPolicy::Always, Some(stored)) => fetch(draft, pod, container, Some(&stored)),
        (PullPolicy::Always | PullPolicy::IfNotPresent, None) => fetch(draft, pod, container, None),
    }
}

/// Sees to it that the image is fetched; true when what the store has may be used now.
fn fetch(draft: &mut Draft, pod: &mut Pod, container: &Container, stored: Option<&Image>) -> bool {
    let (now, name) = (draft.now(), &container.name);
    let Some(status) = pod.status_of(name) else { return false };
    if status.fetched && stored.is_some() {
        return true;
    }
    if let Some(since) = &status.pulling {
        let waited = now.since(since);
        return stored.is_some() && has_waited(draft, pod, container, waited);
    }
    if let Some(pull) = &status.pull
        && now.since(&pull.updated) < delay(pull)
    {
        draft.wake_in(delay(pull) - now.since(&pull.updated));
        return false;
    }
    if let Err(why) = Reference::parse(&container.image) {
        failed(draft, pod, container, &why, INVALID_NAME);
        return false;
    }
    if !draft.settings().images_pull {
        let missing = Refusal::ImageMissing(container.image.clone()).message();
        failed(draft, pod, container, &missing, REASONS[0]);
        return false;
    }
    order(draft, pod, container, stored);
    false
}

/// Whether the registry had its time to answer.
fn has_waited(draft: &mut Draft, pod: &Pod, container: &Container, waited: Duration) -> bool {
    if waited < PATIENCE {
        draft.wake_in(PATIENCE - waited);
        return false;
    }
    let text = format!(
        "The image \"{}\" of the store is used: no registry has answered within {} s",
        container.image,
        PATIENCE.as_secs()
    );
    say(draft, pod, &container.name, EventType::Warning, "PullSkipped", &text);
    true
}

fn order(draft: &mut Draft, pod: &mut Pod, container: &Container, stored: Option<&Image>) {
    let credentials = credentials(draft, pod);
    let known = stored.map(|image| image.spec.digest.clone()).unwrap_or_default();
    draft.effect(Effect::Pull(Pull { reference: container.image.clone(), known, credentials }));
    say(draft, pod, &container.name, EventType::Normal, "Pulling", &format!("Pulling image \"{}\"", container.image));
    let since = draft.now().moment();
    if let Some(status) = pod.status_of_mut(&container.name) {
        status.pulling = Some(since);
    }
}

/// The contents of the pod's imagePullSecrets. One that is not there is told of, and the registry asked without it.
fn credentials(draft: &mut Draft, pod: &Pod) -> Vec<String> {
    let mut found = Vec::new();
    for secret in &pod.spec.image_pull_secrets {
        let record = draft.find(Kind::Secret, &pod.meta.namespace, &secret.name).cloned();
        match record.as_ref().and_then(|record| record.as_secret()).and_then(credential) {
            Some(text) => found.push(text),
            None => {
                let text = format!(
                    "Unable to retrieve some image pull secrets ({}); attempting to pull the image may not succeed.",
                    secret.name
                );
                say_of_pod(draft, pod, EventType::Warning, "FailedToRetrieveImagePullSecret", &text, "kubelet");
            }
        }
    }
    found
}

fn credential(secret: &Secret) -> Option<String> {
    let value = CREDENTIALS.iter().find_map(|key| secret.spec.data.get(*key))?;
    String::from_utf8(base64::engine::general_purpose::STANDARD.decode(value).ok()?).ok()
}

/// A fetch has come to its end: every container that waited for it goes on, or says why it cannot.
pub fn pulled(draft: &mut Draft, pulled: &Pulled) {
    let wanted = normal_reference(&pulled.reference);
    let waits = |status: &ContainerStatus| status.pulling.is_some();
    for record in draft.select(Kind::Pod, |record| record.as_pod().is_some_and(|pod| pod.statuses().any(waits))) {
        let Some(old) = record.as_pod() else { continue };
        let mut pod = old.clone();
        let containers = old.spec.init_containers.iter().chain(&old.spec.containers);
        let concerned =
            |c: &&Container| old.status_of(&c.name).is_some_and(waits) && normal_reference(&c.image) == wanted;
        for container in containers.filter(concerned) {
            answer(draft, &mut pod, container, pulled);
        }
        save(draft, old, pod);
    }
}

fn answer(draft: &mut Draft, pod: &mut Pod, container: &Container, pulled: &Pulled) {
    let now = draft.now();
    let is_stored = image::find(draft, &container.image).is_some();
    let Some(status) = pod.status_of_mut(&container.name) else { return };
    let took = status.pulling.take().map_or(Duration::ZERO, |since| now.since(&since));
    let (kind, reason, text) = match &pulled.outcome {
        Ok(_) => {
            let text = format!("Successfully pulled image \"{}\" in {}ms", container.image, took.as_millis());
            (EventType::Normal, "Pulled", text)
        }
        Err(failure) if is_stored && leaves_the_stored(failure.kind) => {
            let text = format!(
                "The image \"{}\" of the store is used: asking for a newer one failed: {}",
                container.image, failure.message
            );
            (EventType::Warning, "PullSkipped", text)
        }
        Err(failure) => return failed(draft, pod, container, &failure.message, reason(failure)),
    };
    status.fetched = true;
    status.pull = None;
    say(draft, pod, &container.name, kind, reason, &text);
}

/// What the registry did not say is no reason against the image that is there.
fn leaves_the_stored(kind: PullFailureKind) -> bool {
    match kind {
        PullFailureKind::Unreachable | PullFailureKind::NoRoom => true,
        PullFailureKind::Refused | PullFailureKind::InvalidName => false,
    }
}

fn reason(failure: &PullFailure) -> &'static str {
    match failure.kind {
        PullFailureKind::InvalidName => INVALID_NAME,
        PullFailureKind::Unreachable | PullFailureKind::Refused | PullFailureKind::NoRoom => REASONS[0],
    }
}

/// The next try is 10 s later, then 20 s, and so on up to 300 s, and the two reasons take turns. An image that comes
/// otherwise starts the container without waiting for it.
fn failed(draft: &mut Draft, pod: &mut Pod, container: &Container, why: &str, reason: &str) {
    let (now, image) = (draft.now(), &container.image);
    let Some(status) = pod.status_of_mut(&container.name) else { return };
    let is_backing_off = status.pull.is_some() && reason == REASONS[0] && waiting_reason(status) == Some(REASONS[0]);
    let pull = status.pull.as_ref().map_or_else(|| restart::first(now), |pull| restart::doubled(pull, now));
    let retry = Some(pull.updated.plus(delay(&pull)));
    status.pull = Some(pull);
    status.fetched = false;
    let (reason, message) = match is_backing_off {
        true => (REASONS[1], format!("Back-off pulling image \"{image}\": {why}")),
        false => (reason, why.to_string()),
    };
    wait(pod, &container.name, ContainerState::Waiting { reason: reason.to_string(), message, retry });
    if is_backing_off {
        say(draft, pod, &container.name, EventType::Normal, "BackOff", &format!("Back-off pulling image \"{image}\""));
    } else {
        let text = format!("Failed to pull image \"{image}\": {why}");
        say(draft, pod, &container.name, EventType::Warning, "Failed", &text);
    }
}

pub fn waiting_reason(status: &ContainerStatus) -> Option<&str> {
    match &status.state {
        ContainerState::Waiting { reason, .. } => Some(reason),
        ContainerState::Starting { .. } | ContainerState::Running { .. } | ContainerState::Ended(_) => None,
    }
}

fn delay(backoff: &Backoff) -> Duration {
    Duration::from_millis(backoff.delay_ms)
}
