//! What must hold after each turn and at the end, told from the ledger of the kernel and the committed state alone.

use std::collections::{BTreeMap, BTreeSet};

use pinnace::model::pod::{ContainerState, Phase};
use pinnace::model::{Key, Kind, Launch, Pod, Record, State, Timestamp, Uid, Write};

use crate::broker::Broker;
use crate::kernel::Kernel;
use crate::script::STEADY;

#[derive(Default)]
pub struct Checks {
    /// Pods whose intent is on disk, with the attempts that were announced.
    intended: BTreeSet<(Uid, String, u32)>,
    /// The uid of each Job that a CronJob made, by the CronJob's uid and the Job's name: one for ever.
    by_schedule: BTreeMap<(Uid, String), Uid>,
    last_schedule: BTreeMap<Uid, Timestamp>,
    /// Jobs that ended stay ended.
    ended: BTreeMap<Uid, bool>,
    succeeded: BTreeMap<Uid, u32>,
    steady: String,
}

impl Checks {
    pub fn published(&mut self, slot: &str, text: &str) {
        if slot == STEADY {
            self.steady = text.to_string();
        }
    }

    /// These writes are on disk.
    pub fn committed(&mut self, writes: &[Write]) {
        for write in writes {
            if let Write::Put(record) = write {
                self.note_intent(record);
            }
        }
    }

    fn note_intent(&mut self, record: &Record) {
        let Some(pod) = record.as_pod() else { return };
        for container in pod.statuses().filter(|c| matches!(c.state, ContainerState::Starting { .. })) {
            self.intended.insert((pod.meta.uid.clone(), container.name.clone(), container.restarts));
        }
    }

    /// Invariant 2: intent before process.
    pub fn may_start(&self, launch: &Launch) {
        let a = &launch.attempt;
        let known = self.intended.contains(&(a.pod.clone(), a.container.clone(), a.number));
        assert!(known, "attempt {a} starts before its intent is durable");
    }

    /// A start of the daemon: what was promised before is there. (A commit whose success the daemon did not live to see
    /// is found there too.)
    pub fn reopened(&mut self, state: &State) {
        state.all().for_each(|record| self.note_intent(record));
        self.jobs_only_go_forward(state);
    }

    pub fn after_turn(&mut self, state: &State, kernel: &Kernel) {
        for (attempt, times) in &kernel.started {
            assert!(*times <= 1, "attempt {attempt} was started {times} times");
        }
        self.jobs_only_go_forward(state);
        self.schedules_fire_once(state);
        no_more_than_asked(state, kernel);
    }

    /// Invariant 4: terminal is absorbing, successes are never lost.
    fn jobs_only_go_forward(&mut self, state: &State) {
        for record in state.of_kind(Kind::Job) {
            let job = record.as_job().expect("a Job");
            let (uid, status) = (job.meta.uid.clone(), &job.status);
            let before = self.succeeded.insert(uid.clone(), status.succeeded).unwrap_or(0);
            assert!(status.succeeded >= before, "{}: {before} successes became {}", record.key(), status.succeeded);
            let ended = status.finished().map(|end| end.kind.as_str() == "Complete");
            if let Some(was) = self.ended.get(&uid) {
                assert_eq!(ended, Some(*was), "{} changed its end", record.key());
            }
            if let Some(complete) = ended {
                self.ended.insert(uid, complete);
                let enough = status.succeeded >= job.spec.completions.unwrap_or(1);
                assert_eq!(complete, enough, "{}: {} successes, complete: {complete}", record.key(), status.succeeded);
            }
        }
    }

    /// Invariant 5 and 9: one Job for one scheduled time for ever, and times never go back.
    fn schedules_fire_once(&mut self, state: &State) {
        for record in state.of_kind(Kind::Job) {
            let meta = record.meta();
            let Some(owner) = &meta.owner else { continue };
            let made =
                self.by_schedule.entry((owner.uid.clone(), meta.name.clone())).or_insert_with(|| meta.uid.clone());
            assert_eq!(*made, meta.uid, "{} was made twice for one scheduled time", record.key());
        }
        for record in state.of_kind(Kind::CronJob) {
            let cron = record.as_cron_job().expect("a CronJob");
            let Some(last) = cron.status.last_schedule else { continue };
            let before = self.last_schedule.insert(cron.meta.uid.clone(), last).unwrap_or(last);
            assert!(last >= before, "{}: fired {before} and then {last}", record.key());
        }
    }

    /// When the faults are over and time has passed.
    pub fn in_peace(&self, state: &State, kernel: &Kernel, broker: &Broker) {
        steady_job_is_exact(state, kernel, &self.steady);
        nothing_is_left_behind(state, kernel);
        the_fleet_has_its_way(state, broker);
    }
}

/// Invariant 5: live processes never exceed what was asked.
fn no_more_than_asked(state: &State, kernel: &Kernel) {
    let live_of = |pod: &Pod| kernel.live.keys().any(|attempt| attempt.pod == pod.meta.uid);
    for record in state.of_kind(Kind::Job) {
        let job = record.as_job().expect("a Job");
        let pods = state.owned_by(&job.meta.uid).filter_map(|key| state.get(key)?.as_pod());
        let live = pods.filter(|pod| pod.is_active() && live_of(pod)).count();
        let max = job.spec.parallelism.unwrap_or(1) as usize;
        // Fewer may be wanted since this turn; those on their way out are not active.
        assert!(live <= max, "{}: {live} live pods, {max} asked for", record.key());
    }
    for record in state.of_kind(Kind::DaemonSet) {
        let set = record.as_daemon_set().expect("a DaemonSet");
        let surge = set.spec.update_strategy.rolling_update.max_surge.as_ref().map_or(0, |s| s.on_one_node()) as usize;
        let pods: Vec<&Pod> = state.owned_by(&set.meta.uid).filter_map(|key| state.get(key)?.as_pod()).collect();
        let live = pods.iter().filter(|pod| live_of(pod) && pod.meta.deleting.is_none()).count();
        assert!(live <= 1 + surge, "{}: {live} live pods", record.key());
    }
}

/// The Job that only faults disturbed: complete, every success counted once, no more work than was asked but where a
/// power cut took the proof.
fn steady_job_is_exact(state: &State, kernel: &Kernel, text: &str) {
    let key = Key::new(Kind::Job, "default", STEADY);
    let record = state.get(&key).unwrap_or_else(|| panic!("the steady Job is gone: {text}"));
    let job = record.as_job().expect("a Job");
    let wanted = job.spec.completions.unwrap_or(1);
    let end = job.status.finished().map(|end| end.kind.as_str());
    assert_eq!(end, Some("Complete"), "the steady Job has not come to its end: {:?}", job.status);
    assert_eq!(job.status.succeeded, wanted, "{text}");
    let pods: Vec<&Pod> = state.owned_by(&job.meta.uid).filter_map(|key| state.get(key)?.as_pod()).collect();
    let done = pods.iter().filter(|pod| pod.status.phase == Phase::Succeeded).count();
    assert_eq!(done, wanted as usize, "pods that did their work");
    let _ = kernel;
}

/// Every process has a running container's record, every directory a pod's, and all evidence was taken in.
fn nothing_is_left_behind(state: &State, kernel: &Kernel) {
    let pods: BTreeMap<&Uid, &Pod> =
        state.of_kind(Kind::Pod).filter_map(|r| r.as_pod()).map(|pod| (&pod.meta.uid, pod)).collect();
    for (attempt, process) in &kernel.live {
        let pod = pods.get(&attempt.pod).unwrap_or_else(|| panic!("{attempt} runs and has no pod"));
        let status = pod.status_of(&attempt.container).expect("a container of the pod");
        assert_eq!(status.restarts, attempt.number, "{attempt} runs, which is not the current attempt");
        let is_known = matches!(&status.state, ContainerState::Running { pid, .. } if *pid == process.pid);
        assert!(is_known, "{attempt} runs, its record says {:?}", status.state);
    }
    for uid in &kernel.pods_on_disk {
        assert!(pods.contains_key(uid), "pod {uid} has a directory and no record");
    }
    let left: Vec<_> = kernel.exits.keys().collect();
    assert!(left.is_empty(), "exit records that were never taken in: {left:?}");
    for pod in pods.values() {
        for status in pod.statuses().filter(|status| status.state.is_live()) {
            let lives = kernel.live.keys().any(|a| a.pod == pod.meta.uid && a.container == status.name);
            assert!(lives, "{}/{} is said to live and does not", pod.meta.name, status.name);
        }
    }
}

/// What the fleet wants in a slot is what the set says; a slot that was cleared while the device was there is empty.
fn the_fleet_has_its_way(state: &State, broker: &Broker) {
    for record in state.of_kind(Kind::Set) {
        let set = record.as_set().expect("a set");
        let Some(text) = broker.wants(&set.key.slot) else { continue };
        let sha = pinnace::model::id::sha256_hex(text.as_bytes());
        let refused = set.rejected.as_ref().is_some_and(|rejected| rejected.sha == sha);
        assert!(set.sha == sha || refused, "set {} is neither in force nor refused", set.key);
        for (key, member) in &set.objects {
            let there = state.get(key).is_some_and(|object| object.meta().set.as_ref() == Some(&set.key));
            let excused = member.finished || member.state.why().is_some();
            assert!(there || excused, "{key} of set {} is not there: {member:?}", set.key);
        }
    }
}
