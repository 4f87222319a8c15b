//! The daemon has started: what is found of attempts is compared with what the records say of them.

use std::collections::BTreeMap;

use crate::core::draft::Draft;
use crate::model::attempt::Stamp;
use crate::model::node::Halt;
use crate::model::pod::{RestartPolicy, boot_of};
use crate::model::{
    AttemptId, Booted, ContainerState, ContainerStatus, Effect, EventType, Exit, Found, FoundState, Kind, Moment, Now,
    Pod, Uid, sorted,
};

use super::launch::launch;
use super::start::{self, is_done, wants_attempt};
use super::{exit, phase, restart, save, say_of_pod, stop, volumes};

/// Every pod goes on from where its record and the evidence say it is. What has no record is ended and removed.
pub fn booted(draft: &mut Draft, booted: &Booted) {
    stop::set_halt(draft, Halt::No);
    let records = draft.list(Kind::Pod);
    let pods = sorted::map(records.iter().filter_map(|r| r.as_pod()).map(|p| (&p.meta.uid, p)));
    let mut found: BTreeMap<&Uid, Vec<&Found>> = sorted::map(booted.pods_on_disk.iter().map(|uid| (uid, Vec::new())));
    for one in &booted.found {
        found.entry(&one.attempt.pod).or_default().push(one);
    }
    for (uid, pod) in &pods {
        resume_pod(draft, pod, found.get(uid).map_or(&[], Vec::as_slice));
    }
    for (uid, attempts) in found.into_iter().filter(|(uid, _)| !pods.contains_key(uid)) {
        attempts.into_iter().for_each(|one| discard(draft, one));
        draft.effect(Effect::Remove(uid.clone()));
    }
}

/// No record says that this attempt is under way.
fn discard(draft: &mut Draft, found: &Found) {
    let attempt = found.attempt.clone();
    draft.effect(match found.state {
        FoundState::Live { .. } => Effect::Kill(attempt),
        FoundState::Exited(_) | FoundState::Lost => Effect::Forget(attempt),
    });
}

fn resume_pod(draft: &mut Draft, old: &Pod, found: &[&Found]) {
    let mut pod = old.clone();
    start_afresh(&mut pod);
    let mut current: BTreeMap<AttemptId, &FoundState> = BTreeMap::new();
    for one in found {
        let began = began(one, draft.now());
        catch_up(&mut pod, &one.attempt, began);
    }
    for one in found {
        if exit::is_current(&pod, &one.attempt) {
            current.insert(one.attempt.clone(), &one.state);
        } else {
            discard(draft, one);
        }
    }
    let mut is_rebooted = false;
    for attempt in live_attempts(&pod) {
        let Some(status) = pod.status_of(&attempt.container) else { continue };
        let fate = fate(status, current.get(&attempt).copied(), draft.now());
        is_rebooted |= fate == Fate::Rebooted;
        resume(draft, &mut pod, &attempt, fate);
    }
    if is_rebooted {
        let text = "Pod sandbox changed, it will be killed and re-created.";
        say_of_pod(draft, &pod, EventType::Normal, "SandboxChanged", text, "kubelet");
    }
    pass_over_reserved(&mut pod, draft.now());
    if pod.meta.deleting.is_none() && pod.status.started.is_some() {
        phase::settle(draft, &mut pod);
    }
    repeat_init(&mut pod, draft.now());
    if pod.is_active() {
        volumes::order_again(draft, &mut pod);
    }
    save(draft, old, pod);
}

/// Whoever was fetching ended with the daemon before. What a start finds is durable, and evidence of it is let go below.
fn start_afresh(pod: &mut Pod) {
    for status in pod.status.init.iter_mut().chain(&mut pod.status.containers) {
        status.pulling = None;
        status.fetched = false;
        status.evidence_from = None;
    }
}

fn live_attempts(pod: &Pod) -> Vec<AttemptId> {
    let id =
        |c: &ContainerStatus| AttemptId { pod: pod.meta.uid.clone(), container: c.name.clone(), number: c.restarts };
    pod.statuses().filter(|c| c.state.is_live()).map(id).collect()
}

/// What became of an attempt that the record says is under way.
#[derive(Debug, Clone, PartialEq)]
enum Fate<'f> {
    Lives {
        pid: Option<u32>,
        started: Option<&'f Stamp>,
    },
    Ended(&'f Exit),
    /// It was begun in this boot and nothing of it is left.
    Lost,
    /// It was begun before the last boot, and no record tells of an end before that.
    Rebooted,
    /// It was decided in this boot and never begun.
    NotBegun,
}

fn fate<'f>(status: &ContainerStatus, found: Option<&'f FoundState>, now: &Now) -> Fate<'f> {
    let is_of_this_boot = boot_of(&status.state).is_some_and(|boot| *boot == now.boot);
    match found {
        Some(FoundState::Live { pid, started }) => Fate::Lives { pid: *pid, started: started.as_ref() },
        Some(FoundState::Exited(exit)) => Fate::Ended(exit),
        Some(FoundState::Lost) | None if !is_of_this_boot => Fate::Rebooted,
        Some(FoundState::Lost) => Fate::Lost,
        // The runtime claims an attempt before it starts anything, and a claim is found.
        None => match &status.state {
            ContainerState::Starting { .. } if status.stopping.is_none() => Fate::NotBegun,
            ContainerState::Starting { .. } | ContainerState::Running { .. } => Fate::Lost,
            ContainerState::Waiting { .. } | ContainerState::Ended(_) => Fate::Lost,
        },
    }
}

fn resume(draft: &mut Draft, pod: &mut Pod, attempt: &AttemptId, fate: Fate) {
    match fate {
        Fate::Lives { pid, started } => {
            if let Some(pid) = pid {
                exit::run(draft, pod, &attempt.container, pid, started);
            }
            return stop::ask_again(draft, pod, attempt);
        }
        Fate::NotBegun => return start_again(draft, pod, attempt),
        Fate::Ended(exit) => exit::end(draft, pod, exit),
        Fate::Lost => exit::lose(draft, pod, attempt),
        Fate::Rebooted => exit::reboot(draft, pod, &attempt.container),
    }
    draft.effect(Effect::Forget(attempt.clone()));
}

/// The same attempt, from what there is now; carrying it out twice starts it once.
fn start_again(draft: &mut Draft, pod: &mut Pod, attempt: &AttemptId) {
    let Some(container) = pod.container(&attempt.container) else { return };
    match launch(draft, pod, container, attempt.number) {
        Ok((launch, _)) => {
            volumes::note(draft, pod, &launch.volumes);
            draft.effect(Effect::Start(Box::new(launch)));
        }
        Err(refusal) => start::refuse(draft, pod, &attempt.container, &refusal),
    }
}

/// The evidence is ahead of the record, as when intents were reserved, or after an older copy of the store was put back:
/// the record follows, so that no attempt's number is used twice.
pub fn catch_up(pod: &mut Pod, attempt: &AttemptId, began: Moment) {
    if pod.status.phase.is_terminal() {
        return;
    }
    let Some(status) = pod.status_of_mut(&attempt.container) else { return };
    if attempt.number <= status.restarts {
        return;
    }
    status.last = restart::previous(status).cloned();
    status.restarts = attempt.number;
    status.stopping = None;
    // It was restarted then, so the back-off goes on from there.
    status.backoff.iter_mut().for_each(|backoff| backoff.updated = began.clone());
    status.state = ContainerState::Starting { since: began };
}

fn began(found: &Found, now: &Now) -> Moment {
    match &found.state {
        FoundState::Exited(exit) => {
            let Stamp { wall, boot, up_ms } = exit.started.as_ref().unwrap_or(&exit.finished).clone();
            Moment { wall, boot, up_ms, wall_trusted: false }
        }
        FoundState::Live { .. } | FoundState::Lost => now.moment(),
    }
}

/// In the boot in which they were reserved, claims tell which attempts began. After it nobody knows of the last one, so all
/// count as begun.
fn pass_over_reserved(pod: &mut Pod, now: &Now) {
    for status in pod.status.init.iter_mut().chain(&mut pod.status.containers) {
        let ended = restart::previous(status).is_some_and(|ended| ended.finished.boot != now.boot);
        let rebooted = status.state.ended().is_some_and(|ended| ended.reason == exit::REBOOTED);
        if !status.state.is_live() && (ended || rebooted) {
            status.restarts = status.restarts.max(status.reserved);
        }
        status.reserved = 0;
    }
}

/// After a reboot a pod begins with its first init container again, as when Kubernetes makes its sandbox anew; unless
/// it is never restarted, or no app container has anything left to do.
fn repeat_init(pod: &mut Pod, now: &Now) {
    let policy = pod.spec.restart_policy;
    let has_work = pod.status.containers.iter().any(|c| wants_attempt(c, policy));
    if pod.status.phase.is_terminal() || policy == RestartPolicy::Never || pod.is_live() || !has_work {
        return;
    }
    for init in &mut pod.status.init {
        let is_old = init.state.ended().is_some_and(|ended| ended.finished.boot != now.boot);
        if is_old && is_done(init) {
            init.last = restart::previous(init).cloned();
            init.state =
                ContainerState::Waiting { reason: "PodInitializing".to_string(), message: String::new(), retry: None };
        }
    }
}
