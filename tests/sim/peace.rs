//! What must be true when the faults are over and time has passed: every promise has come true, nothing is left behind.

use std::collections::BTreeMap;
use std::time::Duration;

use pinnace::model::daemonset::UpdateKind;
use pinnace::model::pod::{ContainerState, Phase};
use pinnace::model::set::MemberState;
use pinnace::model::{AttemptId, DaemonSet, Job, Key, Kind, Now, Pod, Set, State, Uid};

use crate::broker::Broker;
use crate::checks::{jobs_of, pods_of, source};
use crate::kernel::Kernel;
use crate::script::STEADY;

/// What ends a pod that has to go takes no longer.
const GRACE: Duration = Duration::from_secs(60);

pub fn check(state: &State, kernel: &Kernel, broker: &Broker, now: &Now) {
    nothing_is_left_behind(state, kernel);
    deletions_came_to_an_end(state, now);
    the_fleet_has_its_way(state, broker);
    sets_own_what_they_want(state);
    finished_jobs_go(state, now);
    updates_have_arrived(state);
    who_waited_for_a_volume_runs(state, kernel);
}

/// The Job that only faults disturbed: complete, every success counted once, no more work than was asked but where a
/// power cut took the proof.
pub fn steady_job_is_exact(state: &State, kernel: &Kernel) {
    let key = Key::new(Kind::Job, "default", STEADY);
    let record = state.get(&key).expect("the steady Job is gone");
    let job = record.as_job().expect("a Job");
    let wanted = job.spec.completions.unwrap_or(1);
    let end = job.status.finished().map(|end| end.kind.as_str());
    assert_eq!(end, Some("Complete"), "the steady Job has not come to its end: {:?}", job.status);
    assert_eq!(job.status.succeeded, wanted, "the steady Job's successes");
    let pods: Vec<&Pod> = pods_of(state, &job.meta.uid).collect();
    let done = pods.iter().filter(|pod| pod.status.phase == Phase::Succeeded).count();
    assert_eq!(done, wanted as usize, "pods that did their work");
    the_work_was_done(job, &pods, kernel);
}

/// The kernel's ledger against the Job's.
fn the_work_was_done(job: &Job, pods: &[&Pod], kernel: &Kernel) {
    let wanted = job.spec.completions.unwrap_or(1) as usize;
    let of_job = |uid: &Uid| pods.iter().any(|pod| pod.meta.uid == *uid);
    let done: Vec<_> = kernel.done.iter().filter(|attempt| of_job(&attempt.pod)).collect();
    let unproven = done.iter().filter(|attempt| kernel.unrecorded.contains(**attempt)).count();
    assert!(done.len() >= wanted, "less work was done than was asked: {} of {wanted}", done.len());
    let most = wanted + unproven;
    assert!(
        done.len() <= most,
        "more work was done than was asked: {} times, {wanted} wanted, {unproven} without a proof",
        done.len()
    );
}

/// Every process has a running container's record, every directory a pod's, and all evidence was taken in.
fn nothing_is_left_behind(state: &State, kernel: &Kernel) {
    let pods: BTreeMap<&Uid, &Pod> =
        state.of_kind(Kind::Pod).filter_map(|r| r.as_pod()).map(|pod| (&pod.meta.uid, pod)).collect();
    for (attempt, process) in &kernel.live {
        let pod = pods.get(&attempt.pod).unwrap_or_else(|| panic!("{attempt} runs and has no pod"));
        let status = pod.status_of(&attempt.container).expect("a container of the pod");
        let is_known = status.restarts == attempt.number
            && matches!(&status.state, ContainerState::Running { pid, .. } if *pid == process.pid);
        let number = status.restarts;
        assert!(is_known, "{attempt} runs, whose record says attempt {number}, {:?}", status.state);
    }
    for pod in pods.values() {
        for status in pod.statuses().filter(|status| status.state.is_live()) {
            let lives = kernel.live.keys().any(|a| a.pod == pod.meta.uid && a.container == status.name);
            assert!(lives, "{}/{} is said to live and does not", pod.meta.name, status.name);
        }
    }
    for uid in &kernel.pods_on_disk {
        assert!(pods.contains_key(uid), "pod {uid} has a directory and no record");
    }
    for (uid, volume) in kernel.volumes.keys() {
        assert!(pods.contains_key(uid), "volume {volume} of pod {uid} has files and no record");
    }
    // Of an end that becomes durable with the next attempt.
    let is_kept = |attempt: &&AttemptId| {
        let status = pods.get(&attempt.pod).and_then(|pod| pod.status_of(&attempt.container));
        status.and_then(|status| status.evidence_from).is_some_and(|from| from <= attempt.number)
    };
    let left: Vec<_> = kernel.exits.keys().filter(|attempt| !is_kept(attempt)).collect();
    assert!(left.is_empty(), "exit records that were never taken in: {left:?}");
}

/// Of the DaemonSets in the script only one mounts anything, and its program never ends: once all is there, its pod lives.
fn who_waited_for_a_volume_runs(state: &State, kernel: &Kernel) {
    for set in state.of_kind(Kind::DaemonSet).filter_map(|record| record.as_daemon_set()) {
        let volumes = &set.spec.template.spec.volumes;
        let all_there = volumes.iter().filter_map(|volume| source(state, volume)).all(|files| files.is_some());
        let lives = |pod: &Pod| kernel.live.keys().any(|attempt| attempt.pod == pod.meta.uid);
        if !volumes.is_empty() && all_there {
            let name = &set.meta.name;
            assert!(pods_of(state, &set.meta.uid).any(lives), "the pod of {name} waits for what is there");
        }
    }
}

fn deletions_came_to_an_end(state: &State, now: &Now) {
    for record in state.all() {
        let Some(deleting) = &record.meta().deleting else { continue };
        let grace = Duration::from_secs(deleting.grace_s.into()) + GRACE;
        assert!(now.since(&deleting.since) < grace, "{} was not deleted, {deleting:?}", record.key());
    }
}

fn sets(state: &State) -> impl Iterator<Item = &Set> {
    state.of_kind(Kind::Set).filter_map(|record| record.as_set())
}

/// What the fleet wants in a slot is what the set says; a slot that was cleared while the device was there is empty.
fn the_fleet_has_its_way(state: &State, broker: &Broker) {
    for set in sets(state) {
        let Some(text) = broker.wants(&set.key) else { continue };
        let sha = pinnace::model::id::sha256_hex(text.as_bytes());
        let refused = set.rejected.as_ref().is_some_and(|rejected| rejected.sha == sha);
        assert!(set.sha == sha || refused, "set {} is neither in force nor refused", set.key);
        for (key, member) in &set.objects {
            let there = state.get(key).is_some_and(|object| object.meta().set.as_ref() == Some(&set.key));
            let excused = member.finished || member.state.why().is_some();
            assert!(there || excused, "{key} of set {} is not there: {member:?}", set.key);
        }
    }
    for (key, _) in broker.retained() {
        assert!(sets(state).any(|set| set.key == *key), "set {key} is neither in force nor refused: there is none");
    }
}

/// Prune and precedence: an object is of the set that wants it, and of the one with the right of way.
fn sets_own_what_they_want(state: &State) {
    for record in state.all().filter(|record| record.meta().deleting.is_none()) {
        let Some(owner) = &record.meta().set else { continue };
        let wanting = |set: &&Set| set.wants.iter().any(|want| want.key() == record.key());
        // Which scope is right is asked first: a wrong owner may well not want it.
        let first =
            sets(state).filter(wanting).filter(|set| wishes(set, &record.key())).map(|set| &set.key.scope).max();
        if let Some(first) = first {
            assert!(
                owner.scope >= *first,
                "{} is of set {owner}, and scope {first} has the right of way",
                record.key()
            );
        }
        let set = sets(state).find(|set| set.key == *owner);
        let wanted = set.is_some_and(|set| set.objects.contains_key(&record.key()));
        assert!(wanted, "{} is of a set that does not want it: {owner}", record.key());
    }
}

/// The set has not given the object up: a person deleted it, or something local was first.
fn wishes(set: &Set, key: &Key) -> bool {
    match set.objects.get(key).map(|member| &member.state) {
        Some(MemberState::Applied | MemberState::ShadowedBy(_)) => true,
        Some(MemberState::Conflict(_) | MemberState::Deleted) | None => false,
    }
}

fn finished_jobs_go(state: &State, now: &Now) {
    for record in state.of_kind(Kind::Job) {
        let job = record.as_job().expect("a Job");
        let (Some(ttl_s), Some(end)) = (job.spec.ttl_seconds_after_finished, job.status.finished()) else { continue };
        let old = now.since(&end.changed);
        let most = Duration::from_secs(ttl_s.into()) + GRACE;
        assert!(old < most, "{} has outlived its ttlSecondsAfterFinished of {ttl_s}: {old:?}", job.meta.name);
    }
    for record in state.of_kind(Kind::CronJob) {
        let cron = record.as_cron_job().expect("a CronJob");
        let finished = |complete: bool| {
            let of_kind = move |job: &&Job| {
                job.status.finished().is_some_and(|end| (end.kind.as_str() == "Complete") == complete)
            };
            jobs_of(state, cron).filter(of_kind).filter(|job| job.meta.deleting.is_none()).count()
        };
        for (complete, limit, usual) in
            [(true, cron.spec.successful_jobs_history_limit, 3), (false, cron.spec.failed_jobs_history_limit, 1)]
        {
            let (kept, limit) = (finished(complete), limit.unwrap_or(usual) as usize);
            assert!(kept <= limit, "{kept} finished Jobs are kept of {}, at most {limit}", cron.meta.name);
        }
    }
}

fn updates_have_arrived(state: &State) {
    for record in state.of_kind(Kind::DaemonSet) {
        let set: &DaemonSet = record.as_daemon_set().expect("a DaemonSet");
        let pods: Vec<&Pod> = pods_of(state, &set.meta.uid).filter(|pod| pod.meta.deleting.is_none()).collect();
        assert_eq!(pods.len(), 1, "{} has {} pods in peace", record.key(), pods.len());
        let version = set.spec.template.metadata.annotations.get("version");
        let current = pods[0].meta.annotations.get("version") == version;
        let free = set.spec.update_strategy.kind == UpdateKind::OnDelete;
        assert!(current || free, "{} is of an old template", pods[0].meta.name);
    }
}
