use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::core::step;
use crate::model::job::{JobCondition, JobStatus};
use crate::model::{BootId, Key, Labels, Meta, Observed, Plan, Settings, Spec, State, Write};

/// A node with one CronJob `c`, whose clock is moved by hand. Its Jobs are suspended: they have no pods, and end when the
/// test says so.
struct World {
    /// What the daemon knows, and what is on disk.
    state: State,
    disk: State,
    now: Now,
    /// Every Job that was ever committed, by name.
    made: BTreeMap<String, Uid>,
}

fn t(text: &str) -> Timestamp {
    Timestamp::parse(text).unwrap()
}

/// A time of 1 January 2026.
fn at(clock: &str) -> Timestamp {
    t(&format!("2026-01-01T{clock}Z"))
}

fn spec(schedule: &str, more: Value) -> Value {
    let container = json!({ "name": "main", "image": "host", "command": ["/bin/true"] });
    let pods = json!({ "metadata": { "labels": { "app": "x" } }, "spec": { "restartPolicy": "Never", "containers": [container] } });
    let job = json!({ "completions": 1, "parallelism": 1, "backoffLimit": 6, "suspend": true, "template": pods });
    let mut spec = json!({
        "schedule": schedule, "concurrencyPolicy": "Allow", "suspend": false, "successfulJobsHistoryLimit": 3,
        "failedJobsHistoryLimit": 1, "jobTemplate": { "spec": job },
    });
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    spec
}

impl World {
    /// The CronJob arrives at that time.
    fn new(schedule: &str, more: Value, wall: Timestamp) -> World {
        let boot = BootId::new("boot");
        let now = Now { wall, wall_trusted: true, uptime: Duration::from_secs(100), boot };
        let mut world = World::empty(now);
        world.add(schedule, more);
        world
    }

    fn empty(now: Now) -> World {
        let state = State::new(0, [], Settings::default());
        World { disk: state.clone(), state, now, made: BTreeMap::new() }
    }

    fn add(&mut self, schedule: &str, more: Value) {
        let meta = Meta { uid: Uid::new("cron-uid"), created: self.now.wall, generation: 1, ..Meta::named("ns", "c") };
        let spec = Spec::new(spec(schedule, more)).unwrap();
        self.put(CronJob { meta, spec, status: CronJobStatus::default() }.into());
        self.settle();
    }

    fn put(&mut self, mut record: Record) {
        record.meta_mut().revision = self.state.revision + 1;
        self.state.apply(&[Write::Put(Arc::new(record))]);
        self.disk = self.state.clone();
    }

    /// One step and its commit; another on top of it finds nothing to do.
    fn settle(&mut self) -> Plan {
        let plan = step(&self.state, &Observed::default(), &self.now);
        self.commit(&plan);
        let again = step(&self.state, &Observed::default(), &self.now);
        assert_eq!((again.writes, again.effects), (vec![], vec![]), "not settled");
        assert_eq!(again.wake, plan.wake);
        plan
    }

    fn commit(&mut self, plan: &Plan) {
        self.state.apply(&plan.writes);
        if !plan.durable {
            return;
        }
        self.disk = self.state.clone();
        for job in self.state.of_kind(Kind::Job) {
            let uid = job.meta().uid.clone();
            let first = self.made.entry(job.meta().name.clone()).or_insert_with(|| uid.clone());
            assert_eq!(*first, uid, "{} was made twice", job.meta().name);
        }
    }

    /// The clock shows this; whoever was asleep looks.
    fn goto(&mut self, wall: Timestamp) -> Plan {
        self.now.uptime += Duration::from_secs(1);
        self.now.wall = wall;
        self.settle()
    }

    fn cron_job(&self) -> CronJob {
        self.state.of_kind(Kind::CronJob).next().unwrap().as_cron_job().unwrap().clone()
    }

    fn edit(&mut self, change: Value) {
        let mut cron_job = self.cron_job();
        let mut document = cron_job.spec.document().clone();
        document.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        cron_job.spec = Spec::new(document).unwrap();
        self.put(cron_job.into());
        self.settle();
    }

    fn finish(&mut self, name: &str, kind: JobConditionKind) {
        self.finish_only(name, kind);
        self.settle();
    }

    fn finish_only(&mut self, name: &str, kind: JobConditionKind) {
        let mut job = self.job(name);
        let changed = self.now.moment();
        let words = String::new;
        job.status = JobStatus {
            started: Some(changed.clone()),
            completed: (kind == JobConditionKind::Complete).then(|| changed.clone()),
            conditions: vec![JobCondition { kind, status: true, reason: words(), message: words(), changed }],
            ..JobStatus::default()
        };
        self.put(job.into());
    }

    fn job(&self, name: &str) -> Job {
        self.state.get(&Key::new(Kind::Job, "ns", name)).unwrap().as_job().unwrap().clone()
    }

    fn delete(&mut self, name: &str) {
        self.state.apply(&[Write::Delete(Key::new(Kind::Job, "ns", name))]);
        self.disk = self.state.clone();
    }

    fn newest(&self) -> Option<String> {
        self.state.of_kind(Kind::Job).last().map(|job| job.meta().name.clone())
    }

    /// The scheduled times of the Jobs that there are, as clock times of 1 January 2026 or in full.
    fn jobs(&self) -> Vec<String> {
        let time = |job: &Arc<Record>| {
            let minutes: i64 = job.meta().name.strip_prefix("c-").unwrap().parse().unwrap();
            let text = Timestamp::from_secs(minutes * 60).rfc3339();
            text.strip_prefix("2026-01-01T").unwrap_or(&text).trim_end_matches(":00Z").to_string()
        };
        self.state.of_kind(Kind::Job).map(time).collect()
    }

    #[track_caller]
    fn check_jobs(&self, expected: &[&str]) {
        assert_eq!(self.jobs(), expected);
    }

    /// Reasons of events about the CronJob, by how often they were told.
    fn told(&self) -> BTreeMap<String, u32> {
        let mut told = BTreeMap::new();
        for event in self.state.of_kind(Kind::Event).filter_map(|record| record.as_event()) {
            if event.about.kind == Kind::CronJob {
                *told.entry(event.reason.clone()).or_default() += event.count;
            }
        }
        told
    }

    #[track_caller]
    fn check_told(&self, reason: &str, times: u32) {
        assert_eq!(self.told().get(reason).copied().unwrap_or(0), times, "{reason} in {:?}", self.told());
    }
}

fn name(time: Timestamp) -> String {
    start::job_name("c", time)
}

#[test]
fn a_job_is_made_at_each_time_and_the_next_is_waited_for() {
    let mut world = World::new("*/15 * * * *", json!({}), at("00:00:00.400"));
    world.check_jobs(&[]);
    assert_eq!(world.settle().wake.wall, Some(at("00:15:00")));
    world.goto(at("00:14:59.999"));
    world.check_jobs(&[]);
    world.goto(at("00:15:00"));
    world.check_jobs(&["00:15"]);
    assert_eq!(world.settle().wake.wall, Some(at("00:30:00")));
    // Twice in the same second, and in the minute after it.
    world.goto(at("00:15:00.500"));
    world.goto(at("00:15:59"));
    world.check_jobs(&["00:15"]);
    let status = world.cron_job().status;
    assert_eq!((status.last_schedule, status.active.len()), (Some(at("00:15:00")), 1));
    world.check_told("SuccessfulCreate", 1);
}

#[test]
fn the_job_is_complete_as_if_it_had_been_admitted() {
    let template = json!({
        "metadata": { "labels": { "team": "a" }, "annotations": { "note": "n" } },
        "spec": spec("", json!({}))["jobTemplate"]["spec"],
    });
    let more = json!({ "timeZone": "Europe/Berlin", "jobTemplate": template });
    let mut world = World::new("*/15 * * * *", more, at("00:00:00"));
    world.goto(at("00:15:00"));
    let job = world.job(&name(at("00:15:00")));
    assert_eq!(job.meta.name, "c-29453775");
    assert_eq!(job.meta.labels, Labels::from([("team".into(), "a".into())]));
    assert_eq!(job.meta.annotations["note"], "n");
    let scheduled = &job.meta.annotations["batch.kubernetes.io/cronjob-scheduled-timestamp"];
    assert_eq!(scheduled, "2026-01-01T01:15:00+01:00");
    assert!(job.meta.is_owned_by(&Uid::new("cron-uid")));
    assert_eq!((job.meta.generation, job.meta.created), (1, at("00:15:00")));
    let labels = &job.spec.template.metadata.labels;
    assert_eq!((labels["app"].as_str(), labels["job-name"].as_str()), ("x", "c-29453775"));
    assert_eq!(labels["batch.kubernetes.io/controller-uid"], job.meta.uid.as_str());
    assert!(job.spec.selector.as_ref().unwrap().matches(labels));
}

#[test]
fn a_job_without_labels_of_its_own_has_those_of_its_pods() {
    let mut world = World::new("*/15 * * * *", json!({}), at("00:00:00"));
    world.goto(at("00:15:00"));
    assert_eq!(world.job(&name(at("00:15:00"))).meta.labels, Labels::from([("app".into(), "x".into())]));
}

#[test]
fn only_the_last_of_the_missed_times_is_made_up() {
    let mut world = World::new("*/15 * * * *", json!({}), at("00:00:00"));
    world.goto(at("05:07:00"));
    world.check_jobs(&["05:00"]);
    world.check_told("TooManyMissedTimes", 0);
    world.goto(t("2026-01-03T12:01:00Z"));
    assert_eq!(world.jobs().len(), 2);
    world.check_told("TooManyMissedTimes", 1);
    assert_eq!(world.cron_job().status.last_schedule, Some(t("2026-01-03T12:00:00Z")));
}

#[test]
fn a_deadline_drops_what_is_too_late() {
    let check = |deadline_s: u64, now: &str, expected: &[&str], told: u32| {
        let mut world = World::new("*/15 * * * *", json!({ "startingDeadlineSeconds": deadline_s }), at("00:00:00"));
        world.goto(at(now));
        world.check_jobs(expected);
        world.check_told("MissSchedule", told);
        world.check_told("TooManyMissedTimes", 0);
    };
    check(10, "00:15:09.999", &["00:15"], 0);
    check(10, "00:15:10", &[], 1);
    check(0, "00:15:00", &[], 1);
    check(u64::MAX, "00:29:00", &["00:15"], 0);
    check(60, "23:00:30", &["23:00"], 0);
}

#[test]
fn forbid_waits_and_starts_what_was_missed_when_the_job_ends() {
    let mut world = World::new("*/15 * * * *", json!({ "concurrencyPolicy": "Forbid" }), at("00:00:00"));
    world.goto(at("00:15:00"));
    world.goto(at("00:30:00"));
    world.goto(at("00:30:01"));
    let plan = world.goto(at("00:45:00"));
    assert!(!plan.writes.is_empty() && !plan.durable, "to say why nothing happens is worth no commit");
    world.check_jobs(&["00:15"]);
    world.check_told("JobAlreadyActive", 2);
    assert_eq!(world.cron_job().status.last_schedule, Some(at("00:15:00")));
    world.goto(at("00:50:00"));
    world.finish(&name(at("00:15:00")), JobConditionKind::Complete);
    world.check_jobs(&["00:15", "00:45"]);
    world.check_told("SawCompletedJob", 1);
    let status = world.cron_job().status;
    assert_eq!((status.last_successful, status.held), (Some(at("00:50:00")), None));
}

#[test]
fn forbid_lets_a_missed_time_go_that_is_past_its_deadline() {
    let more = json!({ "concurrencyPolicy": "Forbid", "startingDeadlineSeconds": 60 });
    let mut world = World::new("*/15 * * * *", more, at("00:00:00"));
    world.goto(at("00:15:00"));
    world.goto(at("00:30:00"));
    world.goto(at("00:32:00"));
    world.finish(&name(at("00:15:00")), JobConditionKind::Failed);
    world.check_jobs(&["00:15"]);
    assert_eq!(world.cron_job().status.last_successful, None);
    world.goto(at("00:45:00"));
    world.check_jobs(&["00:15", "00:45"]);
}

#[test]
fn replace_deletes_the_running_job() {
    let mut world = World::new("*/15 * * * *", json!({ "concurrencyPolicy": "Replace" }), at("00:00:00"));
    world.goto(at("00:15:00"));
    world.goto(at("00:30:00"));
    world.check_jobs(&["00:30"]);
    world.check_told("SuccessfulDelete", 1);
    world.check_told("MissingJob", 0);
    assert_eq!(world.cron_job().status.active.len(), 1);
}

#[test]
fn allow_lets_jobs_run_side_by_side() {
    let mut world = World::new("*/15 * * * *", json!({}), at("00:00:00"));
    world.goto(at("00:15:00"));
    world.goto(at("00:30:00"));
    assert_eq!(world.cron_job().status.active.len(), 2);
}

#[test]
fn a_suspended_one_starts_nothing_and_makes_up_the_last_time_afterwards() {
    let mut world = World::new("*/15 * * * *", json!({ "suspend": true }), at("00:00:00"));
    world.goto(at("01:00:00"));
    world.check_jobs(&[]);
    assert_eq!(world.settle().wake.wall, None);
    world.edit(json!({ "suspend": false }));
    world.check_jobs(&["01:00"]);
}

#[test]
fn a_deleted_job_is_not_made_again() {
    let mut world = World::new("*/15 * * * *", json!({}), at("00:00:00"));
    world.goto(at("00:15:00"));
    world.delete(&name(at("00:15:00")));
    world.goto(at("00:15:01"));
    world.check_jobs(&[]);
    world.check_told("MissingJob", 1);
    assert_eq!(world.cron_job().status.active, []);
    world.goto(at("00:30:00"));
    world.check_jobs(&["00:30"]);
}

#[test]
fn old_jobs_go_beyond_the_limits_of_each_end() {
    let limits = json!({ "successfulJobsHistoryLimit": 2, "failedJobsHistoryLimit": 0 });
    let mut world = World::new("*/15 * * * *", limits, at("00:00:00"));
    for time in ["00:15:00", "00:30:00", "00:45:00", "01:00:00"].map(at) {
        world.goto(time);
        let end = if time == at("00:30:00") { JobConditionKind::Failed } else { JobConditionKind::Complete };
        world.finish(&name(time), end);
    }
    world.check_jobs(&["00:45", "01:00"]);
    world.check_told("SuccessfulDelete", 2);
    world.check_told("SawCompletedJob", 4);
    world.edit(json!({ "successfulJobsHistoryLimit": 0 }));
    world.check_jobs(&[]);
}

#[test]
fn a_job_by_hand_is_a_stranger_that_counts_for_history_alone() {
    let more = json!({ "concurrencyPolicy": "Forbid", "successfulJobsHistoryLimit": 0 });
    let mut world = World::new("*/15 * * * *", more, at("00:00:00"));
    world.goto(at("00:15:00"));
    world.finish(&name(at("00:15:00")), JobConditionKind::Complete);
    let mut by_hand = World::new("*/15 * * * *", json!({}), at("00:00:00"));
    by_hand.goto(at("00:15:00"));
    let mut job = by_hand.job(&name(at("00:15:00")));
    (job.meta.name, job.meta.uid) = ("manual".into(), Uid::new("manual-uid"));
    world.put(job.into());
    world.goto(at("00:16:00"));
    world.goto(at("00:17:00"));
    world.check_told("UnexpectedJob", 1);
    world.goto(at("00:30:00"));
    assert_eq!(world.state.of_kind(Kind::Job).count(), 2, "the stranger does not stand in the way");
    world.finish("manual", JobConditionKind::Complete);
    world.check_jobs(&["00:30"]);
}

#[test]
fn a_repeated_hour_fires_twice_and_a_skipped_time_not_at_all() {
    let zone = json!({ "timeZone": "America/New_York" });
    let mut world = World::new("30 1 * * *", zone.clone(), t("2026-11-01T04:00:00Z"));
    for hour in ["05", "06", "07"] {
        world.goto(t(&format!("2026-11-01T{hour}:30:00Z")));
    }
    world.check_jobs(&["2026-11-01T05:30", "2026-11-01T06:30"]);
    let mut world = World::new("30 2 * * *", zone, t("2026-03-08T05:00:00Z"));
    world.goto(t("2026-03-08T20:00:00Z"));
    world.check_jobs(&[]);
}

#[test]
fn every_has_one_job_a_minute_at_most_and_keeps_its_own_beat() {
    let mut world = World::new("@every 30s", json!({}), at("00:00:10"));
    for time in ["00:00:40", "00:01:10", "00:01:40", "00:02:10"] {
        world.goto(at(time));
    }
    world.check_jobs(&["00:00", "00:01", "00:02"]);
    let mut world = World::new("@every 20s", json!({}), at("00:00:00"));
    world.goto(at("00:00:20"));
    world.delete(&name(at("00:00:00")));
    world.goto(at("00:00:40"));
    world.check_jobs(&[]);
    let mut world = World::new("@every 1h", json!({ "startingDeadlineSeconds": 10 }), at("00:00:10"));
    world.goto(at("01:00:11"));
    world.check_jobs(&["01:00"]);
}

#[test]
fn nothing_starts_while_the_clock_is_not_to_be_trusted_and_no_storm_follows() {
    let mut world = World::new("*/15 * * * *", json!({}), at("00:00:00"));
    world.goto(at("00:15:00"));
    world.now.wall_trusted = false;
    world.goto(t("1970-01-01T00:00:05Z"));
    assert_eq!(world.settle().wake.wall, None);
    world.goto(t("1970-01-01T00:15:00Z"));
    world.check_jobs(&["00:15"]);
    world.check_told("ClockNotTrusted", 1);
    world.now.wall_trusted = true;
    world.goto(at("03:05:00"));
    world.check_jobs(&["00:15", "03:00"]);
}

#[test]
fn one_that_came_before_the_clock_was_set_makes_up_nothing() {
    let boot = BootId::new("boot");
    let wall = t("1970-01-01T00:01:00Z");
    let mut world = World::empty(Now { wall, wall_trusted: false, uptime: Duration::from_secs(60), boot });
    world.add("*/15 * * * *", json!({}));
    world.check_told("ClockNotTrusted", 1);
    world.now.wall_trusted = true;
    world.goto(at("03:05:00"));
    world.check_jobs(&[]);
    // From then on it is a CronJob like any other, also if the daemon dies at once.
    world.state = world.disk.clone();
    world.goto(at("03:20:00"));
    world.check_jobs(&["03:15"]);
    world.check_told("TooManyMissedTimes", 0);
}

#[test]
fn a_clock_that_is_set_back_fires_no_time_again() {
    let mut world = World::new("*/15 * * * *", json!({}), at("00:00:00"));
    world.goto(at("03:15:00"));
    world.goto(at("03:14:58"));
    world.check_told("ClockWentBack", 0);
    world.goto(at("01:00:00"));
    world.goto(at("01:15:00"));
    world.check_told("ClockWentBack", 1);
    world.goto(at("03:15:00"));
    world.check_jobs(&["03:15"]);
    world.goto(at("03:30:00"));
    world.check_jobs(&["03:15", "03:30"]);
}

#[test]
fn a_clock_that_is_set_back_before_the_first_time_costs_nothing() {
    let mut world = World::new("*/15 * * * *", json!({}), t("2030-01-01T00:00:00Z"));
    world.goto(at("00:00:00"));
    world.goto(at("00:15:00"));
    world.check_jobs(&["00:15"]);
}

#[test]
fn what_cannot_be_read_or_never_fires_is_told_once() {
    let check = |schedule: &str, more: Value, reason: &str, message: &str| {
        let mut world = World::new(schedule, more, at("00:00:00"));
        world.goto(at("00:15:00"));
        world.check_told(reason, 1);
        assert_eq!(world.cron_job().status.held.unwrap().message, message);
        assert_eq!(world.settle().wake.wall, None);
    };
    let zone = json!({ "timeZone": "Mars/Phobos" });
    check("* * * * *", zone, "UnknownTimeZone", "invalid timeZone: \"Mars/Phobos\": unknown time zone Mars/Phobos");
    let words = "unparseable schedule: \"60 * * * *\" : end of range (60) above maximum (59): 60";
    check("60 * * * *", json!({}), "UnparseableSchedule", words);
    let words = "invalid schedule: 0 0 30 2 * : no time within five years";
    check("0 0 30 2 *", json!({}), "InvalidSchedule", words);
}

#[test]
fn a_name_that_is_taken_and_a_full_node_are_told_and_mended() {
    let mut world = World::new("*/15 * * * *", json!({}), at("00:00:00"));
    let mut other = World::new("*/15 * * * *", json!({}), at("00:00:00"));
    other.goto(at("00:15:00"));
    let mut job = other.job(&name(at("00:15:00")));
    job.meta.owner = None;
    world.put(job.into());
    world.goto(at("00:15:00"));
    world.check_told("FailedCreate", 1);
    world.made.clear();
    world.delete(&name(at("00:15:00")));
    world.goto(at("00:16:00"));
    world.check_told("SuccessfulCreate", 1);

    world.state.settings.objects_max = 2;
    world.goto(at("00:30:00"));
    world.check_jobs(&["00:15"]);
    let held = world.cron_job().status.held.unwrap();
    assert_eq!(held.message, "Error creating job: this node keeps at most 2 objects (objects_max); delete some");
    world.state.settings.objects_max = 3;
    world.goto(at("00:31:00"));
    world.check_jobs(&["00:15", "00:30"]);
}

#[test]
fn a_changed_schedule_counts_from_the_last_time() {
    let mut world = World::new("0 * * * *", json!({}), at("00:00:00"));
    world.goto(at("01:00:00"));
    world.goto(at("01:20:00"));
    world.edit(json!({ "schedule": "*/15 * * * *" }));
    world.check_jobs(&["01:00", "01:15"]);
}

#[derive(Debug, Clone)]
enum Act {
    /// Seconds, also backwards.
    Clock(i64),
    Trust(bool),
    /// A step whose commit never reached the disk, and a new start from there.
    CrashBefore,
    /// The daemon is killed after what was durable.
    CrashAfter,
    Finish(bool),
    Delete,
    Suspend(bool),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        6 => (1i64..2000).prop_map(Act::Clock),
        1 => (-4000i64..400_000).prop_map(Act::Clock),
        1 => any::<bool>().prop_map(Act::Trust),
        2 => Just(Act::CrashBefore),
        2 => Just(Act::CrashAfter),
        2 => any::<bool>().prop_map(Act::Finish),
        1 => Just(Act::Delete),
        1 => any::<bool>().prop_map(Act::Suspend),
    ]
}

fn perform(world: &mut World, act: &Act) {
    let newest = world.newest();
    match act {
        Act::Clock(s) => world.now.wall = Timestamp::from_secs(world.now.wall.as_secs() + s),
        Act::Trust(trusted) => world.now.wall_trusted = *trusted,
        Act::CrashBefore => {
            step(&world.state, &Observed::default(), &world.now);
            world.state = world.disk.clone();
        }
        Act::CrashAfter => world.state = world.disk.clone(),
        Act::Finish(well) => {
            if let Some(name) = newest {
                world.finish_only(&name, if *well { JobConditionKind::Complete } else { JobConditionKind::Failed });
            }
        }
        Act::Delete => newest.iter().for_each(|name| world.delete(name)),
        Act::Suspend(suspend) => world.edit(json!({ "suspend": suspend })),
    }
    world.now.uptime += Duration::from_secs(1);
    world.settle();
}

proptest! {
    /// Whatever the clock does and wherever the daemon dies: no time has two Jobs (checked at every commit), `Forbid` has
    /// one unfinished Job, each step ends in a fixpoint, and afterwards the schedule goes on.
    #[test]
    fn no_time_fires_twice(
        acts in prop::collection::vec(act(), 1..40),
        policy in prop::sample::select(&["Allow", "Forbid", "Replace"][..]),
        schedule in prop::sample::select(&["*/15 * * * *", "* * * * *", "@every 40s", "0,1 0 * * *"][..]),
    ) {
        let more = json!({ "concurrencyPolicy": policy, "timeZone": "America/New_York" });
        let mut world = World::new(schedule, more, t("2026-10-31T23:00:00Z"));
        for act in &acts {
            perform(&mut world, act);
            let unfinished = |job: &&Job| job.status.finished().is_none();
            let jobs = world.state.of_kind(Kind::Job).filter_map(|record| record.as_job());
            prop_assert!(policy == "Allow" || jobs.filter(unfinished).count() <= 1);
        }
        world.now.wall_trusted = true;
        world.edit(json!({ "suspend": false }));
        let last = world.cron_job().status.last_schedule;
        world.goto(world.now.wall.max(last.unwrap_or(world.now.wall)).plus(Duration::from_secs(2 * 86_400)));
        if let Some(name) = world.newest() {
            world.finish(&name, JobConditionKind::Complete);
        }
        prop_assert!(world.cron_job().status.last_schedule > last, "it stands still");
    }
}
