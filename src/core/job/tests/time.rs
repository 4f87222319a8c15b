use serde_json::json;

use super::super::super::world::World;
use super::{end_one, never};
use crate::model::pod::{Excuse, Phase};
use crate::model::{Key, Kind, Propagation};

// ---- back-off ------------------------------------------------------------------------------------------------------

#[test]
fn each_failure_doubles_the_wait_and_a_success_ends_it() {
    let mut world = World::with_job(never(json!({"completions": 9, "backoffLimit": 100})));
    let mut waits = Vec::new();
    for end in "FFFFFFFFSFF".chars() {
        world.pass(1);
        let pod = world.active().remove(0);
        world.end(&pod, if end == 'S' { Phase::Succeeded } else { Phase::Failed });
        world.settle();
        let wait = world.wakes_in().unwrap_or(0);
        assert_eq!(world.active().len(), usize::from(wait == 0));
        waits.push(wait);
        if wait > 0 {
            world.pass(wait - 1);
            assert_eq!(world.active(), [""; 0]);
            world.pass(1);
        }
    }
    assert_eq!(waits, [10, 20, 40, 80, 160, 320, 600, 600, 0, 10, 20]);
}

#[test]
fn failures_at_one_time_count_each() {
    let mut world = World::with_job(never(json!({"completions": 9, "parallelism": 3, "backoffLimit": 100})));
    let names = world.active();
    world.end(&names[0], Phase::Failed);
    world.end(&names[1], Phase::Failed);
    world.settle();
    assert_eq!((world.told().as_str(), world.wakes_in()), ("1/0/2", Some(20)));
}

#[test]
fn the_wait_goes_on_after_a_reboot_and_after_the_failed_pods_are_gone() {
    let mut world = World::with_job(never(json!({"backoffLimit": 100})));
    end_one(&mut world, Phase::Failed);
    let pod = world.active().remove(0);
    world.end(&pod, Phase::Failed);
    world.settle();
    assert_eq!(world.wakes_in(), Some(20));
    for pod in world.pods() {
        world.remove(&pod.meta.name);
    }
    world.pass(5);
    assert_eq!(world.wakes_in(), Some(15));
    world.reboot(6, "boot-2");
    world.settle();
    assert_eq!(world.wakes_in(), Some(9));
    // With a clock that tells nothing only the time since the boot is sure to have passed.
    world.now.wall_trusted = false;
    world.settle();
    assert_eq!(world.wakes_in(), Some(15));
    world.pass(15);
    assert_eq!(world.told(), "1/0/2");
}

// ---- suspension, deadline, time to live ----------------------------------------------------------------------------

#[test]
fn suspension_takes_the_pods_and_resuming_starts_the_clock_anew() {
    let suspended = json!({"suspend": true, "activeDeadlineSeconds": 100});
    let mut world = World::with_job(never(suspended.clone()));
    assert_eq!(world.told(), "0/0/0 Suspended");
    assert_eq!(world.job().status.started, None);
    world.pass(1000);
    world.change_job(never(json!({"activeDeadlineSeconds": 100})));
    world.settle();
    assert_eq!((world.told().as_str(), world.wakes_in()), ("1/0/0", Some(100)));
    assert_eq!(world.job().status.conditions[0].reason, "JobResumed");
    world.pass(60);
    let pod = world.active().remove(0);
    world.run(&pod);
    world.change_job(never(suspended));
    world.settle();
    assert_eq!((world.told().as_str(), world.wakes_in()), ("0/0/0 Suspended", None));
    assert_eq!(world.pod(&pod).status.excused, Some(Excuse::Surplus));
    // Exit code 0 after SIGTERM: the work is not done, and nothing has failed.
    world.reap(Phase::Succeeded);
    assert_eq!(world.told(), "0/0/0 Suspended");
    world.pass(1000);
    world.change_job(never(json!({"activeDeadlineSeconds": 100})));
    world.settle();
    assert_eq!((world.told().as_str(), world.wakes_in()), ("1/0/0", Some(100)));
    assert_eq!((world.events("Suspended")[0].count, world.events("Resumed")[0].count), (2, 2));
    assert_eq!(world.job().status.conditions.len(), 1);
}

#[test]
fn the_deadline_counts_boot_time_and_ends_pods_before_the_job() {
    let mut world = World::with_job(never(json!({"activeDeadlineSeconds": 30})));
    let pod = world.active().remove(0);
    world.run(&pod);
    // Setting the wall clock does not move it.
    world.now.wall = crate::model::Timestamp::from_secs(0);
    world.pass(29);
    assert_eq!((world.told().as_str(), world.wakes_in()), ("1/0/0", Some(1)));
    world.pass(1);
    assert_eq!((world.told().as_str(), world.wakes_in()), ("0/0/1 FailureTarget", None));
    assert_eq!(world.job().status.terminating, 1);
    world.reap(Phase::Failed);
    assert_eq!(world.told(), "0/0/1 FailureTarget Failed");
    assert_eq!(world.job().status.conditions[1].reason, "DeadlineExceeded");
    assert_eq!(world.pods().len(), 0);
}

#[test]
fn work_that_was_complete_when_the_deadline_is_noticed_stays_complete() {
    let mut world = World::with_job(never(json!({"activeDeadlineSeconds": 30})));
    let pod = world.active().remove(0);
    world.end(&pod, Phase::Succeeded);
    world.pass(1000);
    assert_eq!(world.told(), "0/1/0 SuccessCriteriaMet Complete");
}

#[test]
fn a_job_waits_for_pods_on_their_way_out_before_it_is_complete() {
    let mut world = World::with_job(never(json!({"completions": 1})));
    let pod = world.active().remove(0);
    world.run(&pod);
    world.delete_pod(&pod);
    world.pass(10);
    let second = world.active().remove(0);
    world.end(&second, Phase::Succeeded);
    world.settle();
    assert_eq!(world.told(), "0/1/1 SuccessCriteriaMet");
    world.reap(Phase::Failed);
    assert_eq!(world.told(), "0/1/1 SuccessCriteriaMet Complete");
}

#[track_caller]
fn check_ttl(ttl_s: u64, away_s: u64, trusted: bool, expected: Option<u64>) {
    let mut world = World::with_job(never(json!({"ttlSecondsAfterFinished": ttl_s})));
    let pod = world.active().remove(0);
    world.end(&pod, Phase::Succeeded);
    world.settle();
    if ttl_s > 0 {
        world.reboot(away_s, "boot-2");
        world.now.wall_trusted = trusted;
        world.settle();
    }
    let goes = world.job().meta.deleting.is_some();
    assert_eq!((goes, world.wakes_in()), (expected.is_none(), expected), "{ttl_s} {away_s} {trusted}");
}

#[test]
fn a_finished_job_goes_when_its_time_is_up() {
    check_ttl(0, 0, true, None);
    check_ttl(60, 20, true, Some(40));
    check_ttl(60, 60, true, None);
    check_ttl(60, 9999, false, Some(55));
}

#[test]
fn an_expired_job_goes_after_its_pods() {
    let mut world = World::with_job(never(json!({"ttlSecondsAfterFinished": 5})));
    end_one(&mut world, Phase::Succeeded);
    assert!(world.job().meta.deleting.is_some());
    world.reap(Phase::Succeeded);
    assert!(world.state.get(&Key::new(Kind::Job, "default", "j")).is_none());
}

#[test]
fn a_job_that_is_being_deleted_makes_nothing_new() {
    let mut world = World::with_job(never(json!({"completions": 3})));
    world.delete(Kind::Job, "j", Propagation::Foreground);
    world.settle();
    assert_eq!(world.told(), "0/0/0");
    assert_eq!(world.job().status.terminating, 1);
    world.reap(Phase::Failed);
    assert_eq!((world.count(Kind::Job), world.count(Kind::Pod)), (0, 0));
}
