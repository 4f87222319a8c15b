//! Tables and small stories; `time` has those that move the clock.

mod time;

use serde_json::{Value, json};

use super::super::world::{World, new_job};
use crate::core::step;
use crate::model::attempt::Stamp;
use crate::model::job::{JobConditionKind, RECENT_FAILURES_MAX};
use crate::model::pod::{Excuse, Phase, Ready};
use crate::model::{Effect, Exit, HowEnded, Job, Observed, Seen};

fn spec(policy: &str, fields: Value) -> Value {
    let mut spec = json!({"template": {
        "metadata": {"labels": {"app": "x"}, "annotations": {"a": "b"}},
        "spec": {"restartPolicy": policy, "containers": [
            {"name": "main", "command": ["true"], "resources": {"limits": {"memory": "64Mi"}}}]},
    }});
    spec.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    spec
}

fn never(fields: Value) -> Value {
    spec("Never", fields)
}

/// Ends the oldest active pod, and lets the back-off pass.
fn end_one(world: &mut World, phase: Phase) {
    let pod = world.active().remove(0);
    world.run(&pod);
    world.end(&pod, phase);
    world.settle();
    if let Some(wait) = world.wakes_in() {
        world.pass(wait);
    }
}

// ---- counting ------------------------------------------------------------------------------------------------------

/// Letters are the ends of pods one after the other: S succeeds, F fails.
#[track_caller]
fn check_ends(fields: Value, ends: &str, expected: &str) {
    let mut world = World::with_job(never(fields.clone()));
    for end in ends.chars() {
        end_one(&mut world, if end == 'S' { Phase::Succeeded } else { Phase::Failed });
    }
    assert_eq!(world.told(), expected, "{fields} {ends}");
}

#[test]
fn a_job_is_over_when_enough_succeeded_or_too_many_failed() {
    check_ends(json!({}), "", "1/0/0");
    check_ends(json!({}), "S", "0/1/0 SuccessCriteriaMet Complete");
    check_ends(json!({"completions": 3}), "SS", "1/2/0");
    check_ends(json!({"completions": 3}), "SSS", "0/3/0 SuccessCriteriaMet Complete");
    check_ends(json!({"completions": 3, "parallelism": 2}), "S", "2/1/0");
    check_ends(json!({"completions": 3, "parallelism": 2}), "SS", "1/2/0");
    check_ends(json!({"completions": 0}), "", "0/0/0 SuccessCriteriaMet Complete");
    check_ends(json!({"parallelism": 0}), "", "0/0/0");
    check_ends(json!({"backoffLimit": 0}), "F", "0/0/1 FailureTarget Failed");
    check_ends(json!({"backoffLimit": 1}), "F", "1/0/1");
    check_ends(json!({"backoffLimit": 1}), "FF", "0/0/2 FailureTarget Failed");
    check_ends(json!({"backoffLimit": 1}), "FS", "0/1/1 SuccessCriteriaMet Complete");
    check_ends(json!({"completions": 2, "backoffLimit": 1}), "FSF", "0/1/2 FailureTarget Failed");
    check_ends(json!({}), "FFFFFF", "1/0/6");
    check_ends(json!({}), "FFFFFFF", "0/0/7 FailureTarget Failed");
}

#[test]
fn a_work_queue_is_complete_when_one_succeeded_and_none_is_left() {
    check_ends(json!({"parallelism": 3}), "", "3/0/0");
    check_ends(json!({"parallelism": 3}), "S", "2/1/0");
    check_ends(json!({"parallelism": 3}), "SS", "1/2/0");
    check_ends(json!({"parallelism": 3}), "SF", "1/1/1");
    check_ends(json!({"parallelism": 3}), "SSS", "0/3/0 SuccessCriteriaMet Complete");
    check_ends(json!({"parallelism": 2}), "F", "2/0/1");
    check_ends(json!({"parallelism": 2, "backoffLimit": 0}), "SF", "0/1/1 FailureTarget Failed");
    // Scaled to none after its first success: the other one finishes.
    let mut world = World::with_job(never(json!({"parallelism": 2})));
    end_one(&mut world, Phase::Succeeded);
    world.change_job(never(json!({"parallelism": 0})));
    world.settle();
    assert_eq!(world.told(), "1/1/0");
    // Suspended after its first success: nobody is left, so it is complete.
    let mut world = World::with_job(never(json!({"parallelism": 2})));
    end_one(&mut world, Phase::Succeeded);
    world.change_job(never(json!({"parallelism": 2, "suspend": true})));
    world.settle();
    world.reap(Phase::Failed);
    assert_eq!(world.told(), "0/1/0 Suspended SuccessCriteriaMet Complete");
}

#[track_caller]
fn check_restarts(limit: u32, restarts: &[u32], excused: u32, count_reboots: bool, fails: bool) {
    let fields = json!({"backoffLimit": limit, "completions": 9, "parallelism": restarts.len()});
    let mut world = World::with_job(spec("OnFailure", fields));
    if count_reboots {
        let mut job = world.job();
        job.meta.annotations.insert("pinnace.dev/count-reboots".into(), "true".into());
        world.put(job);
    }
    for (pod, restarts) in world.active().iter().zip(restarts) {
        world.run(pod);
        world.change_pod(pod, |pod| {
            pod.status.containers[0].restarts = *restarts;
            pod.status.containers[0].excused_restarts = excused;
        });
    }
    world.settle();
    let failing = world.job().status.finishing().is_some();
    assert_eq!(failing, fails, "limit {limit}, restarts {restarts:?}, {excused} excused");
}

#[test]
fn with_on_failure_the_restarts_of_all_pods_count() {
    check_restarts(0, &[0], 0, false, false);
    check_restarts(0, &[1], 0, false, true);
    check_restarts(1, &[0], 0, false, false);
    check_restarts(1, &[1], 0, false, true);
    check_restarts(6, &[5], 0, false, false);
    check_restarts(6, &[6], 0, false, true);
    check_restarts(6, &[2, 3], 0, false, false);
    check_restarts(6, &[3, 3], 0, false, true);
    // Restarts that followed a reboot do not count, unless the Job says so.
    check_restarts(2, &[4], 3, false, false);
    check_restarts(2, &[4], 2, false, true);
    check_restarts(2, &[2], 2, true, true);
}

#[test]
fn restarts_of_a_pod_that_succeeded_do_not_count() {
    let mut world = World::with_job(spec("OnFailure", json!({"backoffLimit": 2, "completions": 2})));
    let pod = world.active().remove(0);
    world.run(&pod);
    world.change_pod(&pod, |pod| pod.status.containers[0].restarts = 1);
    world.end(&pod, Phase::Succeeded);
    world.settle();
    let pod = world.active().remove(0);
    world.change_pod(&pod, |pod| pod.status.containers[0].restarts = 1);
    world.settle();
    assert_eq!(world.told(), "1/1/0");
}

#[test]
fn what_was_cut_short_by_the_failure_of_its_job_has_failed_too() {
    let mut world = World::with_job(spec("OnFailure", json!({"backoffLimit": 2})));
    let pod = world.active().remove(0);
    world.run(&pod);
    world.change_pod(&pod, |pod| pod.status.containers[0].restarts = 2);
    world.settle();
    assert_eq!(world.told(), "0/0/1 FailureTarget");
    // Its answer to SIGTERM changes nothing.
    world.reap(Phase::Succeeded);
    assert_eq!(world.told(), "0/0/1 FailureTarget Failed");
    let condition = world.job().status.conditions[1].clone();
    assert_eq!(condition.kind, JobConditionKind::Failed);
    assert_eq!(condition.reason, "BackoffLimitExceeded");
    assert_eq!(condition.message, "Job has reached the specified backoff limit");
    assert_eq!(world.events("BackoffLimitExceeded").len(), 1);
    assert_eq!(world.job().status.completed, None);
}

#[test]
fn an_end_is_final() {
    let mut world = World::with_job(never(json!({"completions": 2})));
    end_one(&mut world, Phase::Succeeded);
    end_one(&mut world, Phase::Succeeded);
    let told = world.told();
    assert!(world.job().status.completed.is_some());
    assert_eq!(world.events("Completed").len(), 1);
    for pod in world.pods() {
        world.remove(&pod.meta.name);
    }
    world.change_job(never(json!({"completions": 2, "parallelism": 5})));
    world.settle();
    assert_eq!((world.told(), world.pods().len()), (told, 0));
}

// ---- deletions and excuses -----------------------------------------------------------------------------------------

#[test]
fn a_pod_that_a_person_deletes_has_failed_at_once_and_is_replaced_after_the_back_off() {
    let mut world = World::with_job(never(json!({})));
    let pod = world.active().remove(0);
    world.run(&pod);
    world.delete_pod(&pod);
    world.settle();
    assert_eq!((world.told().as_str(), world.wakes_in()), ("0/0/1", Some(10)));
    world.pass(10);
    assert_eq!(world.told(), "1/0/1");
    assert_eq!(world.job().status.terminating, 1);
    // An exit code after SIGTERM is no proof that the work was done.
    world.reap(Phase::Succeeded);
    assert_eq!(world.told(), "1/0/1");
}

#[test]
fn work_that_was_done_before_the_deletion_counts() {
    let mut world = World::with_job(never(json!({"completions": 2})));
    let pod = world.active().remove(0);
    world.run(&pod);
    world.end(&pod, Phase::Succeeded);
    world.change_pod(&pod, |pod| pod.status.phase = Phase::Running);
    world.now.uptime += std::time::Duration::from_secs(1);
    world.delete_pod(&pod);
    world.change_pod(&pod, |pod| pod.status.phase = Phase::Succeeded);
    world.settle();
    assert_eq!(world.told(), "1/1/0");
    world.remove(&pod);
    world.settle();
    assert_eq!(world.told(), "1/1/0");
}

/// A clock that was ahead in one boot and is right in the next makes no failure of a success.
#[test]
fn a_success_stays_one_when_its_pod_is_deleted_in_a_later_boot() {
    let mut world = World::with_job(never(json!({"completions": 2})));
    let pod = world.active().remove(0);
    world.end(&pod, Phase::Succeeded);
    world.settle();
    world.reboot(0, "boot-2");
    world.now.wall = crate::model::Timestamp::from_secs(1000);
    world.delete_pod(&pod);
    world.settle();
    assert_eq!(world.told(), "1/1/0");
}

#[test]
fn with_replacement_policy_failed_the_phase_decides_and_replacements_wait() {
    let fields = json!({"podReplacementPolicy": "Failed", "completions": 2});
    let mut world = World::with_job(never(fields));
    let pod = world.active().remove(0);
    world.run(&pod);
    world.delete_pod(&pod);
    world.settle();
    assert_eq!((world.told().as_str(), world.wakes_in()), ("0/0/0", None));
    world.reap(Phase::Failed);
    assert_eq!((world.told().as_str(), world.wakes_in()), ("0/0/1", Some(10)));
    world.pass(10);
    let pod = world.active().remove(0);
    world.run(&pod);
    world.delete_pod(&pod);
    world.settle();
    world.reap(Phase::Succeeded);
    assert_eq!(world.told(), "1/1/1");
}

#[track_caller]
fn check_excused(excuse: Excuse, phase: Phase) {
    let mut world = World::with_job(never(json!({"backoffLimit": 0})));
    let pod = world.active().remove(0);
    world.run(&pod);
    world.excuse(&pod, excuse);
    world.end(&pod, phase);
    world.settle();
    assert_eq!(world.told(), "1/0/0", "{excuse:?} {phase:?}");
    world.remove(&pod);
    world.settle();
    assert_eq!(world.told(), "1/0/0", "{excuse:?} {phase:?}");
}

#[test]
fn an_excused_end_is_neither_failure_nor_success_and_is_replaced_at_once() {
    check_excused(Excuse::Reboot, Phase::Failed);
    check_excused(Excuse::Drained, Phase::Failed);
    check_excused(Excuse::Drained, Phase::Succeeded);
}

// ---- how many ------------------------------------------------------------------------------------------------------

#[test]
fn pods_carry_what_finds_them_and_share_one_spec() {
    let world = World::with_job(never(json!({"completions": 3, "parallelism": 2})));
    let pods = world.pods();
    assert_eq!(pods.len(), 2);
    let pod = &pods[0];
    assert!(pod.meta.name.starts_with("j-") && pod.meta.name.len() == 7, "{}", pod.meta.name);
    for (key, value) in [
        ("app", "x"),
        ("job-name", "j"),
        ("controller-uid", "uid-j"),
        ("batch.kubernetes.io/job-name", "j"),
        ("batch.kubernetes.io/controller-uid", "uid-j"),
    ] {
        assert_eq!(pod.meta.labels.get(key).map(String::as_str), Some(value), "{key}");
    }
    assert_eq!(pod.meta.annotations["a"], "b");
    assert_eq!(pod.meta.owner.as_ref().unwrap().uid.as_str(), "uid-j");
    assert!(std::sync::Arc::ptr_eq(pod.spec.view(), pods[1].spec.view()));
    assert_eq!(pod.spec.document()["containers"][0]["resources"]["requests"]["memory"], "64Mi");
    assert_eq!(world.events("SuccessfulCreate").len(), 2);
    assert_eq!(world.events("SuccessfulCreate")[0].source, "job-controller");
}

#[test]
fn a_pod_that_is_made_later_shares_the_spec_of_the_first() {
    let mut world = World::with_job(never(json!({"completions": 2})));
    end_one(&mut world, Phase::Succeeded);
    let pods = world.pods();
    assert!(std::sync::Arc::ptr_eq(pods[0].spec.view(), pods[1].spec.view()));
}

#[test]
fn fewer_are_wanted_so_those_go_with_which_least_is_lost() {
    let mut world = World::with_job(never(json!({"completions": 9, "parallelism": 5})));
    let names = world.active();
    let (long_ready, short_ready, restarted, not_ready) = (&names[0], &names[1], &names[2], &names[3]);
    world.run(long_ready);
    world.pass(10);
    for pod in [short_ready, restarted, not_ready] {
        world.run(pod);
    }
    world.change_pod(restarted, |pod| pod.status.containers[0].restarts = 2);
    world.change_pod(not_ready, |pod| pod.status.ready = Ready::default());
    let mut left = Vec::new();
    for parallelism in (0..5).rev() {
        world.change_job(never(json!({"completions": 9, "parallelism": parallelism})));
        world.settle();
        left.push(world.active());
    }
    let keeps = |n: usize, pods: &[&String]| {
        assert_eq!(left[n].len(), pods.len());
        assert!(pods.iter().all(|pod| left[n].contains(pod)), "{n}");
    };
    keeps(0, &[long_ready, short_ready, restarted, not_ready]);
    keeps(1, &[long_ready, short_ready, restarted]);
    keeps(2, &[long_ready, short_ready]);
    keeps(3, &[long_ready]);
    keeps(4, &[]);
    world.reap(Phase::Failed);
    assert_eq!(world.told(), "0/0/0");
    world.change_job(never(json!({"completions": 9, "parallelism": 2})));
    world.settle();
    assert_eq!(world.told(), "2/0/0");
}

#[test]
fn the_node_takes_no_more_than_pods_max_and_says_so_once() {
    let mut world = World::new();
    world.state.set_settings(|s| s.pods_max = 3);
    world.put(new_job("j", never(json!({"completions": 5, "parallelism": 5}))));
    world.settle();
    assert_eq!(world.told(), "3/0/0");
    let event = world.events("FailedCreate").remove(0);
    assert!(event.message.contains("pods_max (3)"), "{}", event.message);
    end_one(&mut world, Phase::Succeeded);
    assert_eq!(world.told(), "3/1/0");
    assert_eq!(world.events("FailedCreate").remove(0).count, 1);
}

#[test]
fn not_more_than_five_hundred_are_made_in_one_step() {
    let mut world = World::new();
    world.state.set_settings(|s| s.pods_max = 10_000);
    world.put(new_job("j", never(json!({"completions": 600, "parallelism": 600}))));
    world.change(super::sync);
    assert_eq!(world.pods().len(), 500);
    world.settle();
    assert_eq!(world.told(), "600/0/0");
    let mut names: Vec<String> = world.active();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 600);
}

// ---- folding -------------------------------------------------------------------------------------------------------

/// Removes the finished pods in an order that `seed` gives.
fn fold_in_order(mut seed: u64, ends: &str) -> (String, Option<u64>, Job) {
    let mut world = World::with_job(never(json!({"completions": 40, "backoffLimit": 100})));
    for end in ends.chars() {
        world.pass(1000);
        let pod = world.active().remove(0);
        world.end(&pod, if end == 'S' { Phase::Succeeded } else { Phase::Failed });
        world.settle();
    }
    let before = (world.told(), world.wakes_in());
    let mut finished: Vec<_> = world.pods().into_iter().filter(|pod| pod.status.phase.is_terminal()).collect();
    while !finished.is_empty() {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let pod = finished.remove((seed >> 33) as usize % finished.len());
        world.remove(&pod.meta.name);
        world.settle();
        assert_eq!((world.told(), world.wakes_in()), before, "after {} of {ends}", pod.meta.name);
    }
    (before.0, before.1, world.job())
}

#[test]
fn removing_finished_pods_in_any_order_changes_nothing() {
    for ends in ["S", "F", "FSF", "SFFSFFF", "FFFFFFFFFFSFFFF", "FFFFFFFFFFFF"] {
        let (told, wait, first) = fold_in_order(0, ends);
        assert_eq!(wait.is_some(), ends.ends_with('F'), "{ends}");
        assert!(first.status.folded.recent_failures.len() <= RECENT_FAILURES_MAX);
        for seed in 1..20 {
            let (told_too, wait_too, job) = fold_in_order(seed, ends);
            assert_eq!((&told_too, wait_too), (&told, wait), "{ends}");
            assert_eq!(job.status.folded, first.status.folded, "{ends}");
        }
    }
}

#[test]
fn a_pod_that_vanishes_without_an_end_has_failed() {
    let mut world = World::with_job(never(json!({"podReplacementPolicy": "Failed"})));
    let pod = world.active().remove(0);
    world.delete_pod(&pod);
    world.remove(&pod);
    world.settle();
    assert_eq!(world.told(), "0/0/1");
}

// ---- with the kubelet's part ---------------------------------------------------------------------------------------

/// The whole core: the step that sees a Job starts its pod, the one that sees the exit completes it.
#[test]
fn from_a_job_to_a_process_and_back() {
    ends_well(never(json!({})), 0);
}

/// As after a time without a daemon: deadline and success are seen in one step, and the success was first.
#[test]
fn work_that_was_done_before_its_deadline_is_complete_whenever_that_is_seen() {
    ends_well(never(json!({"activeDeadlineSeconds": 30})), 1000);
}

/// The exit is seen so many seconds after it.
#[track_caller]
fn ends_well(spec: Value, late_s: u64) {
    let mut world = World::new();
    world.put(new_job("j", spec));
    let plan = step(&world.state, &Observed::default(), &world.now);
    world.state.apply(&plan.writes);
    let Some(Effect::Start(launch)) = plan.effects.first() else { panic!("{:?}", plan.effects) };
    let at = world.now.moment();
    let stamp = Stamp { wall: at.wall, boot: at.boot, up_ms: at.up_ms };
    let attempt = launch.attempt.clone();
    let exit = Exit {
        attempt,
        how: HowEnded::Code(0),
        oom_killed: false,
        told_from_outside: false,
        started: None,
        finished: stamp,
    };
    world.now.uptime += std::time::Duration::from_secs(late_s);
    world.now.wall = world.now.wall.plus(std::time::Duration::from_secs(late_s));
    let plan = step(&world.state, &Observed { seen: vec![Seen::Exited(exit)] }, &world.now);
    world.state.apply(&plan.writes);
    assert_eq!(world.told(), "0/1/0 SuccessCriteriaMet Complete");
    let plan = step(&world.state, &Observed::default(), &world.now);
    assert_eq!(plan, Default::default());
}

/// A commit costs flash: what only informs does not force one.
#[test]
fn readiness_is_told_quietly() {
    let mut world = World::with_job(never(json!({})));
    assert!(world.plan.durable);
    let pod = world.active().remove(0);
    world.run(&pod);
    world.settle();
    assert_eq!(world.job().status.ready, 1);
    assert!(!world.plan.durable);
}
