//! Pods that are ended: deleted, overdue, evicted, drained, stopped with the daemon.

use super::*;
use crate::model::node::{Halt, Taint, TaintEffect};
use crate::model::pod::Excuse;

#[test]
fn a_deleted_pod_is_asked_then_killed_then_removed() {
    /// Seconds that pass before SIGKILL; none: at once and alone.
    #[track_caller]
    fn check(grace_s: u32, waits: Option<u64>) {
        let mut w = World::new();
        w.run(spec("Always", &["c"])).started("c").effects();
        w.delete(grace_s);
        assert!(w.durable && !w.only_pod().status.ready.is);
        w.has_event("Killing: Stopping container c x1");
        if let Some(waits) = waits {
            assert_eq!((w.effects(), w.wakes_in()), (vec!["terminate c/0".into()], Some(waits)));
            w.pass(waits - 1);
            assert_eq!(w.effects(), Vec::<String>::new());
            w.pass(1);
        }
        assert_eq!((w.effects(), w.wakes_in()), (vec!["kill c/0".into()], None));
        w.pass(1000);
        assert_eq!(w.effects(), Vec::<String>::new(), "it is killed once");
        w.ends("c", HowEnded::Signal(9));
        assert_eq!(w.effects(), ["forget c/0", "remove uid-p"]);
        assert!(w.pods().is_empty() && w.durable);
    }
    check(30, Some(30));
    check(1, Some(2));
    check(0, None);
}

#[test]
fn a_second_deletion_shortens_the_first_and_never_lengthens_it() {
    let mut w = World::new();
    w.run(spec("Always", &["c"])).started("c").delete(30).pass(5).delete(10);
    assert_eq!(w.wakes_in(), Some(5));
    w.delete(300);
    assert_eq!(w.wakes_in(), Some(5));
    w.effects();
    w.delete(0);
    assert_eq!(w.effects(), ["kill c/0"]);
}

#[test]
fn a_deletion_does_not_lengthen_a_stop_that_is_under_way() {
    let mut w = World::new();
    w.run(and(spec("Always", &["c"]), json!({"terminationGracePeriodSeconds": 5}))).started("c");
    w.change_node(|n| n.spec.drained = true).step().delete(30);
    assert_eq!(w.wakes_in(), Some(5));
}

#[test]
fn all_containers_are_stopped_together_and_none_is_started_again() {
    let mut w = World::new();
    w.run(spec("Always", &["a", "b", "c"])).started("a").started("b").exits("c", 1).exits("c", 1).effects();
    w.delete(30);
    assert_eq!(w.effects(), ["terminate a/0", "terminate b/0", "forget c/1"]);
    w.exits("a", 1).pass(100);
    assert_eq!(w.effects(), ["forget a/0", "kill b/0"]);
    w.exits("b", 0);
    assert_eq!(w.effects(), ["forget b/0", "remove uid-p"]);
}

#[test]
fn a_pod_that_never_ran_or_is_finished_is_removed_at_once() {
    for node in [false, true] {
        let mut w = World::new();
        w.change_node(|n| n.spec.unschedulable = node).run(of_no_image()).effects();
        w.delete(30);
        assert_eq!((w.effects(), w.pods()), (vec!["remove uid-p".into()], vec![]));
    }
    let mut w = World::new();
    w.run(spec("Never", &["c"])).exits("c", 0).delete(30);
    assert_eq!(w.effects(), ["start c/0", "forget c/0", "remove uid-p"]);
}

fn of_no_image() -> Value {
    json!({"containers": [{"name": "c", "image": "none", "imagePullPolicy": "Never"}]})
}

#[test]
fn a_pod_beyond_its_deadline_is_stopped_and_then_failed() {
    let mut w = World::new();
    w.run(and(spec("OnFailure", &["c"]), json!({"activeDeadlineSeconds": 60, "terminationGracePeriodSeconds": 5})));
    w.pass(10).started("c").effects();
    assert_eq!(w.wakes_in(), Some(50));
    w.pass(50);
    assert_eq!((w.effects(), w.phase(), w.wakes_in()), (vec!["terminate c/0".into()], Phase::Running, Some(5)));
    w.pass(5).ends("c", HowEnded::Signal(9));
    let status = w.only_pod().status;
    assert_eq!((status.phase, status.reason.as_str(), status.excused), (Phase::Failed, "DeadlineExceeded", None));
    assert_eq!(status.message, "Pod was active on the node longer than the specified deadline");
    assert_eq!((w.effects(), status.finished), (vec!["kill c/0".into(), "forget c/0".into()], Some(w.now.moment())));
    assert_eq!(status.containers[0].state.ended().unwrap().excused, None);
}

#[test]
fn the_deadline_passes_while_a_container_waits_too() {
    let mut w = World::new();
    w.run(and(of_no_image(), json!({"activeDeadlineSeconds": 60}))).pass(60);
    assert_eq!((w.phase(), w.only_pod().status.reason), (Phase::Failed, "DeadlineExceeded".into()));
}

#[test]
fn a_pod_that_a_deadline_failed_finished_then_and_not_before() {
    let mut w = World::new();
    let two = json!({"restartPolicy": "OnFailure", "activeDeadlineSeconds": 60, "containers": [
        {"name": "a", "command": ["x"]}, {"name": "b", "image": "none"}]});
    w.run(two).exits("a", 0).pass(60);
    assert_eq!((w.phase(), w.only_pod().status.finished), (Phase::Failed, Some(w.now.moment())));
}

#[test]
fn work_that_was_done_in_time_is_done() {
    let mut w = World::new();
    w.run(and(spec("Never", &["c"]), json!({"activeDeadlineSeconds": 60}))).started("c");
    let exit = w.exit("c", HowEnded::Code(0));
    w.now.uptime += Duration::from_secs(3600);
    w.see([Seen::Exited(exit)]);
    assert_eq!(w.phase(), Phase::Succeeded);
}

fn taint(key: &str) -> Taint {
    Taint { key: key.into(), value: String::new(), effect: TaintEffect::NoExecute }
}

#[test]
fn a_taint_that_is_not_tolerated_drives_running_pods_away() {
    /// After how many seconds the pod is deleted; none: it stays.
    #[track_caller]
    fn check(tolerations: Value, taints: &[&str], expected: Option<u64>) {
        let mut w = World::new();
        w.run(and(spec("Always", &["c"]), json!({ "tolerations": tolerations }))).started("c").effects();
        w.change_node(|n| n.spec.taints = taints.iter().map(|key| taint(key)).collect()).step();
        if let Some(s @ 1..) = expected {
            assert_eq!((w.wakes_in(), w.effects()), (Some(s), vec![]));
            w.pass(s);
        } else {
            w.pass(0);
        }
        let is_deleted = w.only_pod().meta.deleting.is_some();
        assert_eq!(is_deleted, expected.is_some(), "{tolerations}");
        assert_eq!(w.effects(), if is_deleted { vec!["terminate c/0"] } else { vec![] });
    }
    let tolerates = |key: &str, s: Value| json!({"key": key, "operator": "Exists", "tolerationSeconds": s});
    check(json!([]), &[], None);
    check(json!([]), &["k"], Some(0));
    check(json!([tolerates("other", Value::Null)]), &["k"], Some(0));
    check(json!([tolerates("k", Value::Null)]), &["k"], None);
    check(json!([tolerates("k", json!(300))]), &["k"], Some(300));
    check(json!([tolerates("k", json!(-1))]), &["k"], Some(0));
    check(json!([tolerates("k", json!(300)), tolerates("j", json!(20))]), &["k", "j"], Some(20));
    check(json!([tolerates("k", Value::Null), tolerates("k", json!(1))]), &["k"], None);
    check(json!([tolerates("k", json!(300))]), &["k", "j"], Some(0));
}

#[test]
fn a_taint_that_goes_in_time_is_forgotten() {
    let mut w = World::new();
    let tolerations = json!([{"key": "k", "operator": "Exists", "tolerationSeconds": 60}]);
    w.run(and(spec("Always", &["c"]), json!({ "tolerations": tolerations }))).started("c");
    w.change_node(|n| n.spec.taints = vec![taint("k")]).step().pass(59);
    w.change_node(|n| n.spec.taints = vec![]).step();
    assert_eq!(w.wakes_in(), None);
    w.change_node(|n| n.spec.taints = vec![taint("k")]).pass(1);
    assert_eq!(w.wakes_in(), Some(60));
}

/// A drained node with a pod whose container ended with this code; the pod before and after the node is uncordoned.
#[test]
fn a_drain_stops_everything_and_an_uncordon_goes_on() {
    #[track_caller]
    fn check(policy: &str, how: HowEnded, drained: (&str, Phase), after: &str) -> World {
        let mut w = World::new();
        w.run(spec(policy, &["c"])).started("c").effects();
        w.change_node(|n| n.spec.drained = true).step();
        assert_eq!((w.effects(), w.wakes_in()), (vec!["terminate c/0".into()], Some(30)));
        w.ends("c", how).pass(600);
        assert_eq!((w.shown("c").as_str(), w.phase()), drained, "{policy}");
        assert_eq!((w.effects(), w.wakes_in()), (vec!["forget c/0".into()], None));
        w.change_node(|n| n.spec.drained = false).step();
        assert_eq!(w.shown("c"), after, "{policy}");
        w
    }
    let term = || HowEnded::Signal(15);
    for (policy, how, shown) in [
        ("Always", term(), "Error 143 #0"),
        ("OnFailure", term(), "Error 143 #0"),
        ("Always", HowEnded::Code(0), "Completed 0 #0"),
    ] {
        let w = check(policy, how, (shown, Phase::Running), "starting #1");
        let status = w.status("c");
        assert_eq!((status.excused_restarts, status.backoff), (1, None));
        assert_eq!(w.only_pod().status.excused, None);
    }
    check("OnFailure", HowEnded::Code(0), ("Completed 0 #0", Phase::Succeeded), "Completed 0 #0");
    let w = check("Never", HowEnded::Code(0), ("Completed 0 #0", Phase::Succeeded), "Completed 0 #0");
    assert_eq!(w.only_pod().status.excused, None);
    let w = check("Never", term(), ("Error 143 #0", Phase::Failed), "Error 143 #0");
    let status = w.only_pod().status;
    assert_eq!((status.excused, status.reason.as_str()), (Some(Excuse::Drained), "NodeDrained"));
}

#[test]
fn a_stop_that_is_under_way_is_finished_though_the_node_is_uncordoned() {
    let mut w = World::new();
    w.run(spec("Always", &["c"])).started("c").change_node(|n| n.spec.drained = true).step();
    w.change_node(|n| n.spec.drained = false).pass(10);
    assert!(!w.only_pod().status.ready.is);
    w.ends("c", HowEnded::Signal(15));
    assert_eq!(w.effects(), ["start c/0", "terminate c/0", "forget c/0", "start c/1"]);
    assert_eq!(w.status("c").excused_restarts, 1);
}

#[test]
fn a_failure_of_its_own_is_not_excused_by_a_drain() {
    let mut w = World::new();
    w.run(spec("Never", &["a", "b"])).started("a").started("b").exits("a", 1);
    w.change_node(|n| n.spec.drained = true).step().ends("b", HowEnded::Signal(15));
    assert_eq!((w.phase(), w.only_pod().status.excused), (Phase::Failed, None));
}

#[test]
fn a_drained_pod_that_is_never_restarted_starts_nothing_more() {
    let mut w = World::new();
    let two = json!({"restartPolicy": "Never", "containers": [
        {"name": "a", "command": ["x"]}, {"name": "b", "image": "none"}]});
    w.run(two).started("a").change_node(|n| n.spec.drained = true).step().ends("a", HowEnded::Signal(15));
    assert_eq!((w.phase(), w.only_pod().status.excused), (Phase::Failed, Some(Excuse::Drained)));
}

#[test]
fn the_daemon_is_told_once_when_all_pods_have_stopped() {
    let mut w = World::new();
    w.add(pod("waits", of_no_image())).add(pod("q", spec("Never", &["c"]))).add(pod("p", spec("OnFailure", &["c"])));
    w.step().effects();
    w.see([Seen::StopPods]);
    assert_eq!(w.effects(), ["terminate c/0", "terminate c/0"]);
    w.add(pod("new", spec("Always", &["c"]))).step();
    assert_eq!(w.effects(), Vec::<String>::new(), "nothing is taken up any more");
    let ended = |pod: &str, w: &World| {
        let attempt = AttemptId { pod: Uid::new(pod), container: "c".into(), number: 0 };
        let (how, finished) = (HowEnded::Signal(15), w.stamp());
        Seen::Exited(Exit { attempt, how, oom_killed: false, told_from_outside: false, started: None, finished })
    };
    w.see([ended("uid-p", &w)]);
    assert_eq!(w.effects(), ["forget c/0"]);
    w.see([ended("uid-q", &w)]);
    assert_eq!(w.effects(), ["forget c/0", "all stopped"]);
    assert_eq!(w.node().status.halt, Halt::Stopped);
    w.pass(5);
    assert_eq!(w.effects(), Vec::<String>::new());
    w.see([Seen::StopPods]);
    assert_eq!(w.effects(), ["all stopped"], "asked again, answered again");
    w.booted(vec![]);
    assert_eq!(w.node().status.halt, Halt::No);
    let mut launched: Vec<String> =
        w.launches().iter().map(|l| format!("{} {}", l.pod_name, l.attempt.number)).collect();
    launched.sort();
    assert_eq!(launched, ["new 0", "p 1"]);
    assert_eq!(w.pod("q").status.excused, Some(Excuse::Drained));
}

#[test]
fn with_no_pod_at_all_the_daemon_may_go_at_once() {
    let mut w = World::new();
    w.see([Seen::StopPods]);
    assert_eq!(w.effects(), ["all stopped"]);
}
