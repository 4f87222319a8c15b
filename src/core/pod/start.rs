//! Starts what is due: init containers one after another, then the app containers together; or says why one waits.

use std::time::Duration;

use crate::core::draft::Draft;
use crate::core::image;
use crate::model::pod::RestartPolicy;
use crate::model::{Container, ContainerState, ContainerStatus, Effect, Ended, EventType, Kind, Launch, Pod};

use super::launch::launch;
use super::refusal::Refusal;
use super::{let_go, say, shown};
use super::{pull, restart, volumes};

/// Of a container that keeps crashing, the intent of one restart is the intent of so many more: a commit for all of them.
/// After a reboot as many numbers at most are passed over.
const RESERVED: u32 = 7;

/// Writes the intent of each attempt that is due into the pod and has it started once that is durable.
pub fn start_due(draft: &mut Draft, pod: &mut Pod) {
    let spec = pod.spec.clone();
    for name in due(pod) {
        if let Some(container) = spec.init_containers.iter().chain(&spec.containers).find(|c| c.name == name) {
            start(draft, pod, container);
        }
    }
}

/// Names of the containers that want an attempt, now or when what holds them is over.
fn due(pod: &Pod) -> Vec<String> {
    let policy = pod.spec.restart_policy;
    let init = pod.status.init.iter().find(|c| !is_done(c));
    let candidates = init.map_or(pod.status.containers.as_slice(), std::slice::from_ref);
    candidates.iter().filter(|c| wants_attempt(c, policy)).map(|c| c.name.clone()).collect()
}

/// An init container that has succeeded.
pub fn is_done(init: &ContainerStatus) -> bool {
    init.state.ended().is_some_and(|ended| ended.exit_code == 0)
}

/// Whether there is to be another attempt of it; none is under way.
pub fn wants_attempt(status: &ContainerStatus, policy: RestartPolicy) -> bool {
    match &status.state {
        ContainerState::Waiting { .. } => true,
        ContainerState::Starting { .. } | ContainerState::Running { .. } => false,
        ContainerState::Ended(ended) => restart::wants_restart(policy, ended.exit_code),
    }
}

fn start(draft: &mut Draft, pod: &mut Pod, container: &Container) {
    let Some(status) = pod.status_of(&container.name) else { return };
    let before = restart::previous(status).cloned();
    let is_excused = before.as_ref().is_some_and(|ended| is_excused(pod, &container.name, ended));
    let crash = before.clone().filter(|_| !is_excused);
    if let Some(ended) = &crash
        && let Some(delay) = restart::delay(status.backoff.as_ref(), ended)
        && draft.now().since(&ended.finished) < delay
    {
        return wait_after_crash(draft, pod, &container.name, ended, delay);
    }
    let number = status.restarts.saturating_add(u32::from(before.is_some()));
    if !pull::has_image(draft, pod, container) {
        return;
    }
    match launch(draft, pod, container, number) {
        Ok((launch, skipped)) => {
            for sentence in skipped {
                say(draft, pod, &container.name, EventType::Warning, "InvalidEnvironmentVariableNames", &sentence);
            }
            note_image(draft, pod, container);
            volumes::note(draft, pod, &launch.volumes);
            begin(draft, pod, launch, crash.as_ref(), is_excused);
        }
        Err(refusal) => refuse(draft, pod, &container.name, &refusal),
    }
}

/// Which image the attempt runs from; it is not removed meanwhile.
fn note_image(draft: &mut Draft, pod: &mut Pod, container: &Container) {
    let id = image::find(draft, &container.image).map(|image| image.spec.id.clone()).unwrap_or_default();
    image::used(draft, &container.image);
    if let Some(status) = pod.status_of_mut(&container.name) {
        status.image_id = id;
    }
}

/// The end before was no crash: a reboot or a drain, or an init container that succeeded and runs again after a reboot.
fn is_excused(pod: &Pod, container: &str, ended: &Ended) -> bool {
    let is_init = pod.status.init.iter().any(|c| c.name == container);
    ended.excused.is_some() || (is_init && ended.exit_code == 0)
}

/// Intent before process: the effect is carried out only when the state that is set here is durable.
fn begin(draft: &mut Draft, pod: &mut Pod, launch: Launch, crash: Option<&Ended>, is_excused: bool) {
    let now = draft.now();
    let can_reserve = !is_excused && can_reserve(pod, &launch.attempt.container);
    if pod.status_of(&launch.attempt.container).is_some_and(|c| c.reserved < launch.attempt.number) {
        let_go(draft, pod, &launch.attempt.container);
    }
    let Some(status) = pod.status_of_mut(&launch.attempt.container) else { return };
    status.last = restart::previous(status).cloned();
    status.restarts = launch.attempt.number;
    status.excused_restarts = status.excused_restarts.saturating_add(u32::from(is_excused));
    if let Some(ended) = crash {
        status.backoff = Some(restart::after_restart(status.backoff.as_ref(), ended, now));
    }
    if status.reserved < status.restarts {
        let is_slow = can_reserve && status.backoff.as_ref().is_some_and(restart::is_longest);
        status.reserved = if is_slow { status.restarts.saturating_add(RESERVED) } else { 0 };
    }
    status.pull = None;
    status.pulling = None;
    status.fetched = false;
    status.stopping = None;
    status.state = ContainerState::Starting { since: now.moment() };
    draft.effect(Effect::Start(Box::new(launch)));
}

/// A Job counts attempts, and an init container that is done must be known to be.
fn can_reserve(pod: &Pod, container: &str) -> bool {
    let is_of_job = pod.meta.owner.as_ref().is_some_and(|owner| owner.kind == Kind::Job);
    !is_of_job && pod.status.containers.iter().any(|c| c.name == container)
}

fn wait_after_crash(draft: &mut Draft, pod: &mut Pod, name: &str, ended: &Ended, delay: Duration) {
    draft.wake_in(delay.saturating_sub(draft.now().since(&ended.finished)));
    let state = ContainerState::Waiting {
        reason: "CrashLoopBackOff".to_string(),
        message: format!(
            "back-off {} restarting failed container={name} pod={}",
            restart::go_seconds(delay),
            shown(pod)
        ),
        retry: Some(ended.finished.plus(delay)),
    };
    if wait(pod, name, state) {
        let text = format!("Back-off restarting failed container {name} in pod {}", shown(pod));
        say(draft, pod, name, EventType::Warning, "BackOff", &text);
    }
}

/// Tried again in each step; nothing needs to wake the node for it.
pub fn refuse(draft: &mut Draft, pod: &mut Pod, name: &str, refusal: &Refusal) {
    if let Refusal::Volume { .. } = refusal {
        return wait_for_volume(draft, pod, name, refusal);
    }
    let state =
        ContainerState::Waiting { reason: refusal.reason().to_string(), message: refusal.message(), retry: None };
    if wait(pod, name, state) {
        let (reason, text) = refusal.event();
        say(draft, pod, name, EventType::Warning, reason, &text);
    }
}

/// As a pod whose volumes a kubelet sets up: its containers are being created.
fn wait_for_volume(draft: &mut Draft, pod: &mut Pod, name: &str, refusal: &Refusal) {
    let is_new = pod.status_of(name).and_then(pull::waiting_reason) == Some("PodInitializing");
    if !is_new {
        let (reason, message) = (refusal.reason().to_string(), refusal.message());
        wait(pod, name, ContainerState::Waiting { reason, message, retry: None });
    }
    volumes::say_failed(draft, pod, refusal);
}

/// Makes the container wait; the end of its last attempt is kept. True when that is news.
pub fn wait(pod: &mut Pod, name: &str, state: ContainerState) -> bool {
    let Some(status) = pod.status_of_mut(name) else { return false };
    let is_news = status.state != state;
    if is_news {
        status.last = restart::previous(status).cloned();
        status.state = state;
    }
    is_news
}
