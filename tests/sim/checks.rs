//! What must hold after each turn, told from the ledger of the kernel and the committed state alone.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use pinnace::model::cronjob::ConcurrencyPolicy;
use pinnace::model::pod::RestartPolicy;
use pinnace::model::volume::Volume;
use pinnace::model::{CronJob, Job, Key, Kind, Now, Pod, State, Timestamp, Uid};

use crate::kernel::{Files, Kernel};

#[derive(Default)]
pub struct Checks {
    /// The uid of each Job that a CronJob made, by the CronJob's uid and the Job's name: one for ever.
    by_schedule: BTreeMap<(Uid, String), Uid>,
    last_schedule: BTreeMap<Uid, Timestamp>,
    /// Jobs that ended stay ended.
    ended: BTreeMap<Uid, bool>,
    succeeded: BTreeMap<Uid, u32>,
    /// The largest parallelism that each Job ever had.
    widest: BTreeMap<Uid, u32>,
}

impl Checks {
    /// A start of the daemon. (A commit whose success the daemon did not live to see is found there too.)
    pub fn reopened(&mut self, state: &State) {
        self.jobs_only_go_forward(state);
        self.schedules_fire_once(state, None);
    }

    pub fn after_turn(&mut self, state: &State, kernel: &Kernel, now: &Now) {
        for (attempt, times) in &kernel.started {
            assert!(*times <= 1, "attempt {attempt} was started {times} times");
        }
        self.jobs_only_go_forward(state);
        self.schedules_fire_once(state, Some(now));
        no_more_than_asked(state, kernel);
        volumes_hold_the_newest(state, kernel);
        for record in state.of_kind(Kind::Job) {
            let job = record.as_job().expect("a Job");
            within_its_time(state, job, now);
            self.within_its_failures(job);
        }
    }

    /// `backoffLimit`: all that run when it is reached may fail too.
    fn within_its_failures(&mut self, job: &Job) {
        let widest = self.widest.entry(job.meta.uid.clone()).or_default();
        *widest = job.spec.parallel_max().max(*widest);
        if job.spec.template.spec.restart_policy == RestartPolicy::Never {
            let (failed, max) = (job.status.failed, job.spec.failures_max());
            assert!(failed <= max + 1 + *widest, "{}: {failed} failures, backoffLimit {max}", job.meta.name);
        }
    }

    /// Invariant 4: terminal is absorbing, successes are never lost.
    fn jobs_only_go_forward(&mut self, state: &State) {
        for record in state.of_kind(Kind::Job) {
            let job = record.as_job().expect("a Job");
            let (uid, status) = (job.meta.uid.clone(), &job.status);
            let before = self.succeeded.insert(uid.clone(), status.succeeded).unwrap_or(0);
            let ended = status.finished().map(|end| end.kind.as_str() == "Complete");
            if let Some(complete) = ended {
                // A work queue that fails may have had a success.
                let enough = status.succeeded >= job.spec.wanted().unwrap_or(1);
                let agrees = complete == enough || (job.spec.wanted().is_none() && !complete);
                assert!(agrees, "{}: {} successes, complete: {complete}", record.key(), status.succeeded);
            }
            assert!(status.succeeded >= before, "{}: {before} successes became {}", record.key(), status.succeeded);
            if let Some(was) = self.ended.get(&uid) {
                assert_eq!(ended, Some(*was), "{} changed its end", record.key());
            }
            if let Some(complete) = ended {
                self.ended.insert(uid, complete);
            }
        }
    }

    /// Invariants 5 and 9: one Job for one scheduled time for ever, and times never go back. `now` of a turn.
    fn schedules_fire_once(&mut self, state: &State, now: Option<&Now>) {
        for record in state.of_kind(Kind::Job) {
            let job = record.as_job().expect("a Job");
            let Some(owner) = &job.meta.owner else { continue };
            let key = (owner.uid.clone(), job.meta.name.clone());
            match self.by_schedule.insert(key, job.meta.uid.clone()) {
                Some(made) => assert_eq!(made, job.meta.uid, "{} was made twice for one scheduled time", record.key()),
                None => may_be_made(state, job, &owner.name, now),
            }
        }
        for record in state.of_kind(Kind::CronJob) {
            let cron = record.as_cron_job().expect("a CronJob");
            let Some(last) = cron.status.last_schedule else { continue };
            let before = self.last_schedule.insert(cron.meta.uid.clone(), last).unwrap_or(last);
            assert!(last >= before, "{}: fired {before} and then {last}", record.key());
        }
    }
}

/// A CronJob has just made this Job.
fn may_be_made(state: &State, job: &Job, owner: &str, now: Option<&Now>) {
    let name = &job.meta.name;
    if let Some(now) = now {
        assert!(now.wall_trusted, "{name} was made while the clock is not trusted");
    }
    let Some(record) = state.get(&Key::new(Kind::CronJob, "default", owner)) else { return };
    let cron = record.as_cron_job().expect("a CronJob");
    if cron.spec.concurrency_policy == ConcurrencyPolicy::Forbid {
        let others = jobs_of(state, cron).filter(|other| other.meta.uid != job.meta.uid);
        let going = others.filter(|other| other.status.finished().is_none() && other.meta.deleting.is_none()).count();
        assert_eq!(going, 0, "{name} was made while another one has not ended, and the policy is Forbid");
    }
    let minute = name.rsplit('-').next().and_then(|minutes| minutes.parse::<i64>().ok());
    if let (Some(deadline_s), Some(minute)) = (cron.spec.starting_deadline_seconds, minute) {
        // Its name has the minute of its time, not the second.
        let latest = Timestamp::from_secs((minute + 1) * 60).plus(Duration::from_secs(deadline_s));
        assert!(job.meta.created <= latest, "{name} was made later than its startingDeadlineSeconds of {deadline_s}");
    }
}

pub fn jobs_of<'a>(state: &'a State, cron: &CronJob) -> impl Iterator<Item = &'a Job> {
    state.owned_by(&cron.meta.uid).filter_map(|key| state.get(key)?.as_job())
}

pub fn pods_of<'a>(state: &'a State, owner: &Uid) -> impl Iterator<Item = &'a Pod> {
    state.owned_by(owner).filter_map(|key| state.get(key)?.as_pod())
}

/// What a live pod mounts is what its ConfigMap or Secret says now; of one that is gone the pod keeps what it has.
fn volumes_hold_the_newest(state: &State, kernel: &Kernel) {
    let live: BTreeSet<&Uid> = kernel.live.keys().map(|attempt| &attempt.pod).collect();
    for pod in state.of_kind(Kind::Pod).filter_map(|record| record.as_pod()).filter(|pod| live.contains(&pod.meta.uid))
    {
        if pod.meta.deleting.is_some() || pod.status.phase.is_terminal() {
            continue;
        }
        for volume in &pod.spec.volumes {
            let found = kernel.volumes.get(&(pod.meta.uid.clone(), volume.name.clone()));
            let Some(newest) = source(state, volume) else { continue };
            let name = &pod.meta.name;
            assert_eq!(
                found,
                newest.as_ref().or(found),
                "{name}: the newest {} is not what the volume holds",
                volume.name
            );
            assert!(found.is_some(), "{name} runs without its volume {}", volume.name);
        }
    }
}

/// The files of a volume as its object has them now; the inner none: the object is not there. Outer: holds no object.
pub fn source(state: &State, volume: &Volume) -> Option<Option<Files>> {
    let record = |kind, name: &str| state.get(&Key::new(kind, "default", name));
    if let Some(data) = &volume.config_map {
        let map = record(Kind::ConfigMap, &data.name).and_then(|record| record.as_config_map());
        return Some(map.map(|map| map.spec.data.iter().map(|(k, text)| (k.clone(), BASE64.encode(text))).collect()));
    }
    let data = volume.secret.as_ref()?;
    let secret = record(Kind::Secret, &data.name).and_then(|record| record.as_secret());
    Some(secret.map(|secret| secret.spec.data.clone().into_iter().collect()))
}

/// Invariant 5: live processes never exceed what was asked.
fn no_more_than_asked(state: &State, kernel: &Kernel) {
    let live_of = |pod: &Pod| kernel.live.keys().any(|attempt| attempt.pod == pod.meta.uid);
    for record in state.of_kind(Kind::Job) {
        let job = record.as_job().expect("a Job");
        let live = pods_of(state, &job.meta.uid).filter(|pod| pod.is_active() && live_of(pod)).count();
        if job.spec.wanted().is_none() && job.status.succeeded > 0 {
            // Source: `manageJob`. Once one of a work queue has succeeded the others finish, however few are asked for then.
            continue;
        }
        let max = job.spec.parallelism.unwrap_or(1) as usize;
        // Fewer may be wanted since this turn; those on their way out are not active.
        assert!(live <= max, "{}: {live} live pods, at most {max} asked for", record.key());
    }
    for record in state.of_kind(Kind::DaemonSet) {
        let set = record.as_daemon_set().expect("a DaemonSet");
        let surge = set.spec.update_strategy.rolling_update.max_surge.as_ref().map_or(0, |s| s.on_one_node()) as usize;
        let live = pods_of(state, &set.meta.uid).filter(|pod| live_of(pod) && pod.meta.deleting.is_none()).count();
        assert!(live <= 1 + surge, "{}: {live} live pods of one DaemonSet, maxSurge {surge}", record.key());
    }
}

/// `suspend`, `activeDeadlineSeconds`.
fn within_its_time(state: &State, job: &Job, now: &Now) {
    let name = &job.meta.name;
    let going = job.status.finished().is_none() && job.meta.deleting.is_none();
    if going && job.status.finishing().is_none() {
        if job.spec.suspend {
            let active = pods_of(state, &job.meta.uid).filter(|pod| pod.is_active()).count();
            assert_eq!(active, 0, "{name} has {active} pods though it is suspended");
        } else if let (Some(deadline_s), Some(started)) = (job.spec.active_deadline_seconds, &job.status.started) {
            let active = now.since(started);
            let deadline = Duration::from_secs(deadline_s);
            assert!(
                active < deadline,
                "{name} is active for {active:?}, past its activeDeadlineSeconds of {deadline_s}"
            );
        }
    }
}
