//! What goes by itself: what belonged to something that is gone or going, expired events, finished pods beyond their
//! bound. Knows no controller: it reads owners and deletion marks. Source: `pkg/controller/garbagecollector`, `podgc`,
//! `namespace`.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use crate::model::pod::Excuse;
use crate::model::{Event, Key, Kind, Moment, Pod, Propagation, Record, Timestamp, Uid, sorted};

use super::draft::Draft;
use super::{delete, pod};

/// Kinds that are owned, or own.
const OWNED: [Kind; 3] = [Kind::Pod, Kind::Job, Kind::ControllerRevision];
const OWNERS: [Kind; 3] = [Kind::DaemonSet, Kind::Job, Kind::CronJob];
/// What a namespace holds, events apart: owners first, so that nothing is made anew meanwhile.
const HELD: [Kind; 7] =
    [Kind::CronJob, Kind::DaemonSet, Kind::Job, Kind::Pod, Kind::ControllerRevision, Kind::ConfigMap, Kind::Secret];

pub fn sync(draft: &mut Draft) {
    orphans(draft);
    foreground(draft);
    namespaces(draft);
    // Only in a step that changes something anyhow: for these alone the node does not wake, nor write.
    if draft.version() > 0 {
        finished_pods(draft);
        events(draft);
    }
}

// ---- owners --------------------------------------------------------------------------------------------------------

/// What is owned by something that is no longer there.
fn orphans(draft: &mut Draft) {
    for owner in lost_owners(draft) {
        for kind in OWNED {
            for owned in draft.owned(&owner, kind) {
                remove(draft, &owned, Propagation::Background);
            }
        }
    }
}

fn lost_owners(draft: &Draft) -> BTreeSet<Uid> {
    let lost = |record: &Arc<Record>| {
        let meta = record.meta();
        let owner = meta.owner.as_ref()?;
        let found = draft.find(owner.kind, &meta.namespace, &owner.name);
        found.is_none_or(|found| found.meta().uid != owner.uid).then(|| owner.uid.clone())
    };
    sorted::set(draft.one_of_each_owner().filter_map(lost))
}

/// Owners that wait for what they own, and go after it.
fn foreground(draft: &mut Draft) {
    for kind in OWNERS {
        for owner in draft.select(kind, |record| record.meta().deleting.is_some()) {
            let owned = OWNED.map(|kind| draft.owned(&owner.meta().uid, kind));
            if owned.iter().all(Vec::is_empty) {
                draft.delete(&owner.key());
            }
            for record in owned.iter().flatten() {
                remove(draft, record, Propagation::Foreground);
            }
        }
    }
}

/// Asks a pod to end, which its owner no longer wants, so that it is no failure; anything else goes by `propagation`.
fn remove(draft: &mut Draft, record: &Record, propagation: Propagation) {
    if record.meta().deleting.is_some() {
        return;
    }
    match record.as_pod() {
        Some(pod) => delete::pod(draft, pod, None, Some(Excuse::Surplus)),
        None if record.kind() == Kind::ControllerRevision => draft.delete(&record.key()),
        None => delete::record(draft, &record.key(), None, propagation),
    }
}

// ---- namespaces ----------------------------------------------------------------------------------------------------

/// A namespace that is being deleted takes with it all that it holds, and goes last.
fn namespaces(draft: &mut Draft) {
    for namespace in draft.select(Kind::Namespace, |record| record.meta().deleting.is_some()) {
        let name = &namespace.meta().name;
        let held = HELD.map(|kind| draft.select(kind, |record| record.meta().namespace == *name));
        for record in held.iter().flatten() {
            remove(draft, record, Propagation::Background);
        }
        if held.iter().all(Vec::is_empty) {
            for event in draft.select(Kind::Event, |record| record.meta().namespace == *name) {
                draft.delete_quietly(&event.key());
            }
            draft.delete(&namespace.key());
        }
    }
}

// ---- bounds --------------------------------------------------------------------------------------------------------

/// `finished_pods_max`: the oldest go; what they counted for stays in their Jobs.
fn finished_pods(draft: &mut Draft) {
    let max = draft.settings().finished_pods_max;
    let surplus = draft.kept_pods().saturating_sub(max);
    if surplus == 0 {
        return;
    }
    let is_kept = |record: &Record| record.as_pod().is_some_and(Pod::is_kept_for_reading);
    let mut finished = draft.select(Kind::Pod, is_kept);
    let now = draft.now();
    let end =
        |record: &Record| record.as_pod().and_then(|pod| pod.status.finished.as_ref()).map(|m: &Moment| now.order(m));
    sorted::by_key(&mut finished, |record| end(record));
    for pod in finished[..surplus].iter().filter_map(|record| record.as_pod()) {
        pod::remove(draft, pod);
    }
}

/// `event_ttl_s` and `events_max`. Beyond the bound a tenth more than the surplus goes, so that not every new event costs
/// a search for the oldest. Events that this step tells stay.
fn events(draft: &mut Draft) {
    let max = draft.settings().events_max;
    let (now, ttl) = (draft.now(), Duration::from_secs(draft.settings().event_ttl_s));
    // What was told in this boot is no older than the boot, whatever the wall clock was when it was told.
    let may_expire = now.wall_trusted && now.uptime > ttl;
    let is_past = |last: Timestamp| may_expire && now.wall.since(last) > ttl;
    if draft.events() <= max && !draft.oldest_event().is_some_and(is_past) {
        return;
    }
    let is_expired = |event: &Event| is_past(event.last);
    let mut kept = 0;
    let expired = draft.select(Kind::Event, |record| {
        let expired = record.as_event().is_some_and(is_expired);
        kept += usize::from(!expired);
        expired
    });
    let mut gone: Vec<Key> = expired.iter().map(|record| record.key()).collect();
    if kept > max {
        let is_old = |record: &Record| record.meta().revision > 0 && !record.as_event().is_some_and(is_expired);
        let mut old = draft.select(Kind::Event, is_old);
        sorted::by_key(&mut old, |record| record.as_event().map(|event| event.last));
        gone.extend(old.iter().take(kept - max + max / 10).map(|record| record.key()));
    }
    for key in gone {
        draft.delete_quietly(&key);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::world::{World, meta, new_cron_job, new_job, new_pod};
    use crate::model::pod::{Excuse, Phase};
    use crate::model::{ConfigMap, EventType, Key, Kind, Namespace, ObjectRef, Owner, Propagation, Record, Spec, Uid};

    fn owned_by_cron(mut job: crate::model::Job) -> crate::model::Job {
        job.meta.owner = Some(Owner { kind: Kind::CronJob, name: "c".into(), uid: Uid::new("uid-c") });
        job
    }

    /// A CronJob with two Jobs that have a pod each, and a pod that nobody owns.
    fn family() -> World {
        let mut world = World::new();
        world.put(new_cron_job("c"));
        for name in ["j", "k"] {
            let template = json!({"spec": {"restartPolicy": "Never", "containers": [{"name": "main"}]}});
            world.put(owned_by_cron(new_job(name, json!({"template": template}))));
        }
        world.put(new_pod("alone", None));
        world.settle();
        assert_eq!(world.active().len(), 3);
        world
    }

    fn left(world: &World) -> (usize, usize, Vec<String>) {
        (world.count(Kind::CronJob), world.count(Kind::Job), world.active())
    }

    #[test]
    fn what_is_owned_goes_after_its_owner() {
        let mut world = family();
        world.delete(Kind::CronJob, "c", Propagation::Background);
        world.settle();
        assert_eq!(left(&world), (0, 0, vec!["alone".to_string()]));
        assert_eq!(world.pods().iter().filter(|pod| pod.status.excused == Some(Excuse::Surplus)).count(), 2);
        world.reap(Phase::Failed);
        assert_eq!(world.pods().len(), 1);
    }

    #[test]
    fn in_the_foreground_it_goes_before() {
        let mut world = family();
        world.delete(Kind::CronJob, "c", Propagation::Foreground);
        world.settle();
        assert_eq!(left(&world), (1, 2, vec!["alone".to_string()]));
        world.reap(Phase::Failed);
        assert_eq!(left(&world), (0, 0, vec!["alone".to_string()]));
    }

    #[test]
    fn what_owns_nothing_waits_for_nothing() {
        let mut world = World::new();
        world.put(ConfigMap { meta: meta("default", "m"), spec: Spec::new(json!({})).unwrap() });
        world.delete(Kind::ConfigMap, "m", Propagation::Foreground);
        world.settle();
        assert_eq!(world.count(Kind::ConfigMap), 0);
    }

    #[test]
    fn orphans_on_purpose_stay() {
        let mut world = family();
        world.delete(Kind::CronJob, "c", Propagation::Orphan);
        world.settle();
        assert_eq!((left(&world).1, left(&world).2.len()), (2, 3));
    }

    /// The name is there again, but it is another object.
    #[test]
    fn an_owner_of_the_same_name_is_not_the_owner() {
        let mut world = family();
        let mut other = new_cron_job("c");
        other.meta.uid = Uid::new("another");
        world.put(other);
        world.settle();
        assert_eq!(left(&world), (1, 0, vec!["alone".to_string()]));
    }

    #[test]
    fn a_namespace_takes_all_along_and_goes_last() {
        let mut world = family();
        world.put(Namespace { meta: meta("", "default") });
        world.put(Namespace { meta: meta("", "other") });
        let map = ConfigMap { meta: meta("default", "m"), spec: Spec::new(json!({})).unwrap() };
        world.put(ConfigMap { meta: meta("other", "m"), ..map.clone() });
        world.put(map);
        world.delete(Kind::Namespace, "default", Propagation::Background);
        world.settle();
        assert_eq!(left(&world), (0, 0, vec![]));
        assert_eq!((world.count(Kind::Namespace), world.count(Kind::ConfigMap)), (2, 1));
        world.reap(Phase::Failed);
        assert_eq!((world.count(Kind::Namespace), world.count(Kind::Pod), world.count(Kind::Event)), (1, 0, 0));
    }

    fn tell(world: &mut World, words: &str) {
        let about = ObjectRef {
            kind: Kind::Job,
            namespace: "default".into(),
            name: "j".into(),
            uid: Uid::new("u"),
            field_path: String::new(),
        };
        world.change(|draft| draft.event(&about, EventType::Normal, "Told", words, "test"));
    }

    /// Something that makes the next step change something.
    fn stir(world: &mut World, name: &str) {
        world.put(new_pod(name, Some((Kind::Job, "gone"))));
        world.settle();
    }

    #[track_caller]
    fn check_expiry(uptime_s: u64, trusted: bool, expected: usize) {
        let mut world = World::new();
        tell(&mut world, "old");
        world.now.uptime = std::time::Duration::from_secs(uptime_s);
        world.now.wall = world.now.wall.plus(std::time::Duration::from_secs(3700));
        world.now.wall_trusted = trusted;
        tell(&mut world, "new");
        // For this alone nothing is written and nobody wakes.
        world.settle();
        assert_eq!((world.events("Told").len(), world.wakes_in()), (2, None));
        stir(&mut world, "p");
        assert_eq!(world.events("Told").len(), expected, "up {uptime_s} s, {trusted}");
    }

    #[test]
    fn events_expire_when_something_else_happens() {
        check_expiry(9000, true, 1);
        // Set just now, the wall clock tells nothing of what was told before.
        check_expiry(60, true, 2);
        check_expiry(9000, false, 2);
    }

    #[test]
    fn beyond_their_bound_the_oldest_events_go() {
        let mut world = World::new();
        world.state.set_settings(|s| s.events_max = 20);
        for i in 0..30 {
            tell(&mut world, &i.to_string());
            world.now.wall = world.now.wall.plus(std::time::Duration::from_secs(1));
        }
        stir(&mut world, "p");
        let mut kept: Vec<i32> = world.events("Told").iter().map(|event| event.message.parse().unwrap()).collect();
        kept.sort_unstable();
        assert_eq!(kept, (12..30).collect::<Vec<_>>());
        let deletions = world.plan.writes.iter().filter(|write| write.key().kind == Kind::Event);
        assert_eq!(deletions.count(), 12);
    }

    #[test]
    fn the_oldest_finished_pods_go_and_still_count() {
        let template = json!({"spec": {"restartPolicy": "Never", "containers": [{"name": "main"}]}});
        let mut world = World::with_job(json!({"completions": 9, "parallelism": 1, "template": template}));
        world.state.set_settings(|s| s.finished_pods_max = 3);
        let mut all = Vec::new();
        for _ in 0..7 {
            let pod = world.active().remove(0);
            world.end(&pod, Phase::Succeeded);
            world.pass(1);
            all.push(pod);
        }
        assert_eq!(world.told(), "1/7/0");
        let finished = world.pods().into_iter().filter(|pod| pod.status.phase.is_terminal());
        assert_eq!(finished.map(|pod| pod.meta.name).collect::<Vec<_>>(), all[4..]);
        assert_eq!(world.job().status.folded.succeeded, 4);
    }

    #[test]
    fn nothing_is_done_where_nothing_is_to_be_done() {
        let mut world = family();
        world.settle();
        assert_eq!(world.plan.writes, []);
        assert!(world.state.get(&Key::new(Kind::Job, "default", "j")).is_some_and(|r| matches!(**r, Record::Job(_))));
    }
}
