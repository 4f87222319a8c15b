//! Mistakes that an executor or a core could make, planted one at a time to see that each checker notices its own. What
//! is planted here is never in the product: the world carries out a plan wrongly, shows the core another state than the
//! one there is, or changes what it wrote.

use std::sync::Arc;

use pinnace::model::attempt::VolumeContent;
use pinnace::model::{AttemptId, Effect, Key, Kind, Now, Plan, Pod, Record, Scope, Spec, State, Uid, Write};
use serde_json::{Value, json};

macro_rules! bugs {
    ($($(#[$doc:meta])* $bug:ident => $caught:literal,)*) => {
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Bug { $($(#[$doc])* $bug,)* }

        impl Bug {
            pub const ALL: &[Bug] = &[$(Bug::$bug,)*];

            /// Words of the checker that must notice it.
            pub fn caught_by(self) -> &'static str {
                match self { $(Bug::$bug => $caught,)* }
            }
        }
    };
}

bugs! {
    /// These effects are carried out before the commit.
    StartBeforeCommit => "starts before its intent is durable",
    SettleBeforeCommit => "is settled before it is durable",
    AnswerBeforeCommit => "is answered before it is durable",
    ForgetBeforeCommit => "is forgotten before its end is durable",
    RemoveBeforeCommit => "is removed before its record is",
    /// The shim's exit record is dropped when it is seen, not when its status is committed.
    ForgetWhenSeen => "more work was done than was asked",
    /// A second order for an attempt starts it again.
    NoClaim => "was started 2 times",
    /// Nothing is said of what was found running.
    AdoptNothing => "more work was done than was asked",
    /// A process is told of by another number.
    WrongPid => "whose record says",
    /// Writes that a promise rests on wait in memory like the others.
    NeverDurable => "a state that was never committed",
    /// The store is given half of a commit.
    HalfACommit => "a state that was never committed",
    /// The order to start is lost.
    LoseStarts => "is said to live and does not",
    /// A pod that is to end is left alone.
    LoseKills => "was not deleted",
    /// What is left of a pod is left.
    LoseRemoves => "has a directory and no record",
    LoseForgets => "exit records that were never taken in",
    /// An exit is told to nobody while the daemon runs.
    LoseExits => "is said to live and does not",
    /// Work that was done is reported as failed.
    DenySuccess => "has not come to its end",
    /// A failure is reported as a success.
    BelieveFailure => "less work was done than was asked",
    /// A Job's record forgets a success.
    CountDown => "successes became",
    /// A Job that ended goes on.
    ReopenJobs => "changed its end",
    /// A Job is complete with one success less.
    CompleteEarly => "successes, complete: true",
    IgnoreParallelism => "live pods, at most",
    IgnoreSurge => "live pods of one DaemonSet",
    IgnoreForbid => "while another one has not ended",
    IgnoreStartingDeadline => "later than its startingDeadlineSeconds",
    IgnoreHistory => "finished Jobs are kept",
    /// A CronJob's last time is forgotten.
    ForgetSchedule => "for one scheduled time",
    TurnScheduleBack => "and then",
    TrustEveryClock => "while the clock is not trusted",
    IgnoreDeadline => "past its activeDeadlineSeconds",
    IgnoreSuspend => "though it is suspended",
    IgnoreBackoffLimit => "failures, backoffLimit",
    IgnoreTtl => "has outlived its ttlSecondsAfterFinished",
    /// A DaemonSet's pods are made of an older template.
    ForgetUpdates => "is of an old template",
    /// The fleet's messages are not looked at.
    DropMessages => "is neither in force nor refused",
    /// An object of a set is written to nowhere.
    LoseMaps => "is not there",
    /// An object that left its set stays.
    KeepPruned => "is of a set that does not want it",
    /// An object belongs to the set of the wider scope.
    WrongOwner => "has the right of way",
    /// The evidence of an end that only informs as yet goes with it.
    ForgetQuietEnds => "is forgotten before its end is durable",
    /// A start does not know which attempts may have begun beyond what is durable.
    ForgetReserved => "was started 2 times",
    /// A change of a ConfigMap or Secret does not reach the pods that mount it.
    LoseProjects => "is not what the volume holds",
    /// A volume is made with empty files.
    SpoilVolumes => "is not what the volume holds",
    /// A pod that waits for a ConfigMap or a Secret is not looked at again.
    WaitForEver => "waits for what is there",
    /// The files of a pod outlive it.
    KeepVolumes => "has files and no record",
    /// Deadlines are slept through.
    NeverWake => "did not ask to be woken for",
    /// The same is written again and again.
    NeverSettle => "a settled step wants more",
}

impl Bug {
    /// Effects that are carried out before the commit.
    pub fn hurries(self, effect: &Effect) -> bool {
        match self {
            Bug::StartBeforeCommit => matches!(effect, Effect::Start(_)),
            Bug::SettleBeforeCommit => matches!(effect, Effect::Settle(_)),
            Bug::AnswerBeforeCommit => matches!(effect, Effect::Answer { .. }),
            Bug::ForgetBeforeCommit => matches!(effect, Effect::Forget(_)),
            Bug::RemoveBeforeCommit => matches!(effect, Effect::Remove(_)),
            _ => false,
        }
    }

    /// Effects that are carried out never.
    pub fn loses(self, effect: &Effect) -> bool {
        match self {
            Bug::LoseStarts => matches!(effect, Effect::Start(_)),
            Bug::LoseKills => matches!(effect, Effect::Kill(_) | Effect::Terminate(_)),
            Bug::LoseRemoves => matches!(effect, Effect::Remove(_)),
            Bug::LoseForgets => matches!(effect, Effect::Forget(_)),
            Bug::LoseProjects => matches!(effect, Effect::Project(..)),
            _ => false,
        }
    }

    /// The state as a core with this mistake would see it; none where it sees what is there.
    pub fn misread(self, state: &State) -> Option<State> {
        let change: fn(&mut Value) = match self {
            Bug::IgnoreParallelism => |spec| spec["parallelism"] = json!(9),
            Bug::IgnoreSurge => |spec| spec["updateStrategy"] = json!({"rollingUpdate": {"maxSurge": 1}}),
            Bug::IgnoreForbid => |spec| spec["concurrencyPolicy"] = json!("Allow"),
            Bug::IgnoreStartingDeadline => |spec| drop(remove(spec, "startingDeadlineSeconds")),
            Bug::IgnoreHistory => |spec| {
                spec["successfulJobsHistoryLimit"] = json!(9);
                spec["failedJobsHistoryLimit"] = json!(9);
            },
            Bug::IgnoreDeadline => |spec| drop(remove(spec, "activeDeadlineSeconds")),
            Bug::IgnoreSuspend => |spec| spec["suspend"] = json!(false),
            Bug::IgnoreBackoffLimit => |spec| spec["backoffLimit"] = json!(999),
            Bug::IgnoreTtl => |spec| drop(remove(spec, "ttlSecondsAfterFinished")),
            _ => return None,
        };
        let kind = match self {
            Bug::IgnoreSurge => Kind::DaemonSet,
            Bug::IgnoreForbid | Bug::IgnoreStartingDeadline | Bug::IgnoreHistory => Kind::CronJob,
            _ => Kind::Job,
        };
        let records =
            state.all().map(|record| if record.kind() == kind { with(record, change) } else { (**record).clone() });
        Some(State::new(state.revision, records, state.settings.clone()))
    }

    pub fn misread_time(self, now: &mut Now) {
        now.wall_trusted |= self == Bug::TrustEveryClock;
    }

    /// What the core wrote and ordered, as the mistake has it. `state` is as it was before.
    pub fn spoil(self, plan: &mut Plan, state: &State) {
        if self.misread(&State::default()).is_some() {
            plan.writes.iter_mut().for_each(|write| restore(write, state));
        }
        match self {
            Bug::LoseMaps => plan.writes.retain(|write| !is_map(write) || matches!(write, Write::Delete(_))),
            Bug::ForgetQuietEnds => plan.effects.extend(plan.writes.iter().flat_map(kept_evidence).map(Effect::Forget)),
            Bug::WaitForEver => {
                let waits = |pod: &Uid| state.pod_by_uid(pod).and_then(|r| r.as_pod()).is_some_and(waits_for_a_volume);
                plan.effects.retain(|effect| !matches!(effect, Effect::Start(launch) if waits(&launch.attempt.pod)));
                let starts = |record: &Record| record.as_pod().is_some_and(|pod| pod.is_live() && waits(&pod.meta.uid));
                plan.writes.retain(|write| !matches!(write, Write::Put(record) if starts(record)));
            }
            Bug::SpoilVolumes => plan.effects.iter_mut().for_each(spoil_volumes),
            Bug::KeepPruned => plan.writes.retain(|write| !is_map(write) || matches!(write, Write::Put(_))),
            _ => plan.writes.iter_mut().for_each(|write| self.spoil_write(write, state)),
        }
    }

    fn spoil_write(self, write: &mut Write, state: &State) {
        let Write::Put(record) = write else { return };
        let before = state.get(&record.key()).cloned();
        match (self, Arc::make_mut(record)) {
            (Bug::CountDown, Record::Job(job)) => {
                job.status.succeeded = job.status.succeeded.min(2);
                let was = before.as_ref().and_then(|r| r.as_job()).map_or(0, |job| job.status.succeeded);
                if was > 0 {
                    job.status.succeeded = was - 1;
                }
            }
            (Bug::ReopenJobs, Record::Job(job))
                if before.as_ref().and_then(|r| r.as_job()).is_some_and(|job| job.status.finished().is_some()) =>
            {
                job.status.conditions.clear();
            }
            (Bug::CompleteEarly, Record::Job(job)) if job.status.finished().is_some() => {
                job.status.succeeded = job.status.succeeded.saturating_sub(1);
            }
            (Bug::ForgetSchedule, Record::CronJob(cron)) => cron.status.last_schedule = None,
            (Bug::TurnScheduleBack, Record::CronJob(cron)) => {
                let was = before.as_ref().and_then(|r| r.as_cron_job()).and_then(|cron| cron.status.last_schedule);
                if let Some(was) = was {
                    cron.status.last_schedule = Some(was.minus(std::time::Duration::from_secs(60)));
                }
            }
            (Bug::ForgetUpdates, Record::Pod(pod)) => {
                if let Some(version) = pod.meta.annotations.get_mut("version") {
                    *version = "of old".into();
                }
            }
            (Bug::WrongOwner, Record::ConfigMap(map)) => {
                if let Some(set) = &mut map.meta.set {
                    set.scope = Scope::All;
                }
            }
            _ => {}
        }
    }
}

/// Attempts whose end this write makes known and not durable.
fn kept_evidence(write: &Write) -> Vec<AttemptId> {
    let Write::Put(record) = write else { return Vec::new() };
    let Some(pod) = record.as_pod() else { return Vec::new() };
    let kept = pod.statuses().filter(|status| status.evidence_from == Some(status.restarts));
    let id = |name: &str, number| AttemptId { pod: pod.meta.uid.clone(), container: name.to_string(), number };
    kept.map(|status| id(&status.name, status.restarts)).collect()
}

fn waits_for_a_volume(pod: &Pod) -> bool {
    !pod.spec.volumes.is_empty() && !pod.is_live()
}

fn spoil_volumes(effect: &mut Effect) {
    let Effect::Start(launch) = effect else { return };
    for volume in &mut launch.volumes {
        if let VolumeContent::Files(files) = &mut volume.content {
            files.iter_mut().for_each(|file| file.data.clear());
        }
    }
}

fn is_map(write: &Write) -> bool {
    write.key().kind == Kind::ConfigMap
}

fn remove(spec: &mut Value, field: &str) -> Option<Value> {
    spec.as_object_mut()?.shift_remove(field)
}

/// The record with another spec.
fn with(record: &Record, change: fn(&mut Value)) -> Record {
    fn changed<V: serde::de::DeserializeOwned>(spec: &Spec<V>, change: fn(&mut Value)) -> Spec<V> {
        let mut document = spec.document().clone();
        change(&mut document);
        Spec::new(document).expect("still a spec")
    }
    let mut record = record.clone();
    match &mut record {
        Record::Job(job) => job.spec = changed(&job.spec, change),
        Record::CronJob(cron) => cron.spec = changed(&cron.spec, change),
        Record::DaemonSet(set) => set.spec = changed(&set.spec, change),
        other => panic!("{} has no spec to misread", other.key()),
    }
    record
}

/// Gives a record back the spec that it had, so that the checkers see what was asked for.
fn restore(write: &mut Write, state: &State) {
    let Write::Put(record) = write else { return };
    let key: Key = record.key();
    let Some(before) = state.get(&key) else { return };
    if before.meta().generation != record.meta().generation {
        return;
    }
    match (Arc::make_mut(record), &**before) {
        (Record::Job(new), Record::Job(old)) => new.spec = old.spec.clone(),
        (Record::CronJob(new), Record::CronJob(old)) => new.spec = old.spec.clone(),
        (Record::DaemonSet(new), Record::DaemonSet(old)) => new.spec = old.spec.clone(),
        _ => {}
    }
}
