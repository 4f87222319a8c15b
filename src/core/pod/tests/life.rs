//! From being taken up to being finished: restarts, phases, init containers, reports that come twice.

use super::*;
use crate::model::pod::Excuse;

#[test]
fn a_pod_is_taken_up_started_and_runs() {
    let mut w = World::new();
    w.run(spec("Always", &["c"]));
    assert_eq!((w.effects(), w.durable), (vec!["start c/0".into()], true));
    assert_eq!((w.shown("c"), w.phase()), ("starting #0".into(), Phase::Pending));
    assert!(w.only_pod().status.started.is_some());
    w.pass(1).started("c");
    assert!(!w.durable, "a process id merely informs");
    assert_eq!((w.shown("c"), w.phase()), ("running #0".into(), Phase::Running));
    let ready = w.only_pod().status.ready;
    assert_eq!((ready.is, ready.since), (true, Some(w.now.moment())));
    w.has_event("Scheduled: Successfully assigned default/p to gw-7 x1");
    w.has_event("Started: Started container c x1");
    assert_eq!(w.effects(), Vec::<String>::new());
}

/// What each policy makes of one end, and of a second one.
#[test]
fn the_policy_decides_what_follows_an_end() {
    #[track_caller]
    fn check(policy: &str, code: i32, shown: &str, phase: Phase, effects: &[&str]) {
        let mut w = World::new();
        w.run(spec(policy, &["c"])).started("c").effects();
        w.exits("c", code);
        assert_eq!((w.shown("c").as_str(), w.phase()), (shown, phase), "{policy} {code}");
        assert_eq!(w.effects(), effects, "{policy} {code}");
        assert_eq!(w.only_pod().status.finished.is_some(), phase.is_terminal());
        assert!(!w.only_pod().status.ready.is && w.durable);
    }
    check("Never", 0, "Completed 0 #0", Phase::Succeeded, &["forget c/0"]);
    check("Never", 3, "Error 3 #0", Phase::Failed, &["forget c/0"]);
    check("OnFailure", 0, "Completed 0 #0", Phase::Succeeded, &["forget c/0"]);
    check("OnFailure", 3, "starting #1", Phase::Running, &["forget c/0", "start c/1"]);
    check("Always", 0, "starting #1", Phase::Running, &["forget c/0", "start c/1"]);
    check("Always", 3, "starting #1", Phase::Running, &["forget c/0", "start c/1"]);
}

#[test]
fn ends_are_told_as_containerd_tells_them() {
    #[track_caller]
    fn check(how: HowEnded, oom_killed: bool, code: i32, reason: &str, message: &str) {
        let mut w = World::new();
        w.run(spec("Never", &["c"]));
        let exit = Exit { oom_killed, ..w.exit("c", how) };
        w.see([Seen::Exited(exit)]);
        let ended = w.status("c").state.ended().cloned().unwrap();
        assert_eq!((ended.exit_code, ended.reason.as_str(), ended.message.as_str()), (code, reason, message));
        assert_eq!(ended.excused, None);
    }
    check(HowEnded::Code(0), false, 0, "Completed", "");
    check(HowEnded::Code(0), true, 0, "Completed", "");
    check(HowEnded::Code(255), false, 255, "Error", "");
    check(HowEnded::Signal(15), false, 143, "Error", "");
    check(HowEnded::Signal(9), true, 137, "OOMKilled", "");
    check(HowEnded::Signal(i32::MAX), false, i32::MAX, "Error", "");
    check(HowEnded::NotStarted("exec /x: not found".into()), false, 128, "StartError", "exec /x: not found");
    let lost = "The container could not be located when the pod was terminated";
    check(HowEnded::Lost, false, 137, "ContainerStatusUnknown", lost);
}

#[test]
fn a_crashing_container_is_held_back_longer_and_longer() {
    let mut w = World::new();
    w.run(spec("Always", &["c"])).effects();
    for (restart, delay) in [0, 10, 20, 40, 80, 160, 300, 300].into_iter().enumerate() {
        let number = restart + 1;
        w.started("c").pass(1).exits("c", 1);
        if delay > 0 {
            assert_eq!(w.shown("c"), format!("waiting CrashLoopBackOff #{restart}"));
            assert_eq!((w.phase(), w.wakes_in()), (Phase::Running, Some(delay)));
            w.pass(delay - 1);
            assert_eq!(w.wakes_in(), Some(1));
            w.pass(1);
        }
        assert_eq!(w.shown("c"), format!("starting #{number}"));
        // From the longest delay on a commit is for several restarts, and their evidence goes together.
        let is_reserved = number > 6;
        assert_eq!(w.durable, !is_reserved);
        let forgets = (!is_reserved).then(|| format!("forget c/{restart}"));
        assert_eq!(w.effects(), forgets.into_iter().chain([format!("start c/{number}")]).collect::<Vec<_>>());
    }
    w.started("c").pass(601).exits("c", 1);
    assert_eq!(w.shown("c"), "starting #9", "a run of more than ten minutes is no crash in a row");
    w.exits("c", 1);
    assert_eq!(w.message("c"), "back-off 10s restarting failed container=c pod=p_default(uid-p)");
    w.has_event("BackOff: Back-off restarting failed container c in pod p_default(uid-p) x8");
    assert_eq!(w.status("c").last.unwrap().exit_code, 1);
}

#[test]
fn waiting_after_a_crash_goes_on_where_it_was_after_a_reboot() {
    let mut w = World::new();
    w.run(spec("Always", &["c"])).exits("c", 1).exits("c", 1).effects();
    assert_eq!(w.wakes_in(), Some(10));
    w.reboot("boot-2", 0);
    w.now.wall_trusted = false;
    w.now.uptime = Duration::from_secs(4);
    w.booted(vec![]);
    assert_eq!((w.shown("c"), w.wakes_in()), ("waiting CrashLoopBackOff #1".into(), Some(6)));
    w.pass(6);
    assert_eq!(w.effects(), ["start c/2"]);
    assert_eq!(w.status("c").excused_restarts, 0);
}

#[test]
fn the_phase_follows_all_containers() {
    /// Ends of `a` and `b` (none: it still runs).
    #[track_caller]
    fn check(policy: &str, a: Option<i32>, b: Option<i32>, expected: Phase) {
        let mut w = World::new();
        w.run(spec(policy, &["a", "b"])).started("a").started("b");
        for (name, code) in [("a", a), ("b", b)] {
            code.map(|code| w.exits(name, code).step());
        }
        assert_eq!(w.phase(), expected, "{policy} {a:?} {b:?}");
    }
    use Phase::{Failed, Running, Succeeded};
    check("Never", None, None, Running);
    check("Never", Some(1), None, Running);
    check("Never", Some(0), Some(0), Succeeded);
    check("Never", Some(0), Some(1), Failed);
    check("Never", Some(1), Some(0), Failed);
    check("OnFailure", Some(0), None, Running);
    check("OnFailure", Some(0), Some(1), Running);
    check("OnFailure", Some(0), Some(0), Succeeded);
    check("Always", Some(0), Some(0), Running);
}

#[test]
fn a_pod_is_pending_until_each_container_has_run() {
    let mut w = World::new();
    w.run(spec("Always", &["a", "b"])).started("a");
    assert_eq!((w.phase(), w.only_pod().status.ready.is), (Phase::Pending, false));
    w.started("b");
    assert_eq!((w.phase(), w.only_pod().status.ready.is), (Phase::Running, true));
    w.exits("a", 1);
    assert_eq!((w.phase(), w.only_pod().status.ready.is), (Phase::Running, false));
}

#[test]
fn a_pod_finishes_when_its_last_container_does() {
    let mut w = World::new();
    w.run(spec("Never", &["a", "b"])).started("a").started("b");
    w.pass(5).exits("a", 1);
    let exit = w.exit("b", HowEnded::Code(0));
    let finished = w.now.moment();
    w.pass(30).see([Seen::Exited(exit)]);
    let pod = w.only_pod();
    assert_eq!((pod.status.phase, pod.status.finished), (Phase::Failed, Some(finished)));
}

#[test]
fn init_containers_run_one_after_another_before_the_others() {
    let mut w = World::new();
    w.run(with_init("OnFailure", &["i", "j"], &["a", "b"]));
    assert_eq!(w.effects(), ["start i/0"]);
    assert_eq!(w.shown("a"), "waiting PodInitializing #0");
    w.started("i").exits("i", 0);
    assert_eq!(w.effects(), ["forget i/0", "start j/0"]);
    w.exits("j", 1);
    assert_eq!(w.effects(), ["forget j/0", "start j/1"]);
    assert_eq!(w.phase(), Phase::Pending);
    w.exits("j", 1);
    assert_eq!((w.effects(), w.wakes_in()), (vec![], Some(10)));
    w.pass(10).exits("j", 0);
    assert_eq!(w.effects(), ["forget j/1", "start j/2", "forget j/2", "start a/0", "start b/0"]);
    w.has_event("BackOff: Back-off restarting failed container j in pod p_default(uid-p) x1");
    let about = |reason: &str| {
        let events = w.state.of_kind(Kind::Event).map(|r| r.as_event().unwrap().clone());
        events.filter(|e| e.reason == reason).map(|e| e.about.field_path).collect::<Vec<_>>()
    };
    assert_eq!(about("Started"), ["spec.initContainers{i}"]);
}

#[test]
fn a_failed_init_container_fails_a_pod_that_is_never_restarted() {
    let mut w = World::new();
    w.run(with_init("Never", &["i"], &["a"])).exits("i", 7);
    assert_eq!((w.phase(), w.effects()), (Phase::Failed, vec!["start i/0".into(), "forget i/0".into()]));
    assert_eq!((w.shown("a"), w.only_pod().status.excused), ("waiting PodInitializing #0".into(), None));
}

#[test]
fn under_always_an_init_container_that_succeeded_is_done() {
    let mut w = World::new();
    w.run(with_init("Always", &["i"], &["a"])).exits("i", 0).exits("a", 0);
    assert_eq!(w.effects(), ["start i/0", "forget i/0", "start a/0", "forget a/0", "start a/1"]);
}

#[test]
fn an_exit_counts_once() {
    let mut w = World::new();
    w.run(spec("OnFailure", &["c"])).started("c").effects();
    let exit = w.exit("c", HowEnded::Code(1));
    w.see([Seen::Exited(exit.clone()), Seen::Exited(exit.clone())]);
    assert_eq!(w.effects(), ["forget c/0", "start c/1"]);
    let before = w.only_pod();
    w.started("c").see([Seen::Exited(exit.clone())]);
    assert_eq!(w.effects(), ["forget c/0"]);
    assert_eq!((w.shown("c"), w.status("c").last), ("running #1".into(), before.status_of("c").unwrap().last.clone()));
    let second = w.exit("c", HowEnded::Code(0));
    w.see([Seen::Exited(second.clone())]).see([Seen::Exited(second)]).see([Seen::Exited(exit)]);
    assert_eq!(w.effects(), ["forget c/1", "forget c/1", "forget c/0"]);
    assert_eq!((w.phase(), w.shown("c")), (Phase::Succeeded, "Completed 0 #1".into()));
}

#[test]
fn reports_of_what_nobody_knows_are_cleared_away() {
    let mut w = World::new();
    w.run(spec("Always", &["c"])).effects();
    let attempt =
        |pod: &str, container: &str, number| AttemptId { pod: Uid::new(pod), container: container.into(), number };
    let stranger = attempt("uid-x", "c", 0);
    let exit = Exit { attempt: stranger.clone(), ..w.exit("c", HowEnded::Code(0)) };
    w.see([Seen::Exited(exit.clone())]);
    assert_eq!(w.effects(), ["forget c/0", "remove uid-x"]);
    w.see([Seen::Started { attempt: stranger, pid: 1, at: w.stamp() }]);
    assert_eq!(w.effects(), ["kill c/0", "remove uid-x"]);
    w.see([Seen::Exited(Exit { attempt: attempt("uid-p", "nobody", 0), ..exit.clone() })]);
    assert_eq!(w.effects(), ["forget nobody/0"]);
    w.see([Seen::Exited(Exit { attempt: attempt("uid-p", "c", u32::MAX), ..exit })]);
    assert_eq!(w.effects(), ["forget c/4294967295"]);
    w.see([Seen::Started { attempt: attempt("uid-p", "c", 5), pid: 1, at: w.stamp() }]);
    assert_eq!(w.effects(), ["kill c/5"]);
    assert_eq!(w.shown("c"), "starting #0");
}

#[test]
fn a_start_that_is_told_late_or_twice_changes_nothing() {
    let mut w = World::new();
    w.run(spec("Never", &["c"])).started("c");
    let running = w.status("c");
    w.pass(1).started("c");
    assert_eq!(w.status("c"), running);
    w.exits("c", 0);
    let ended = w.only_pod();
    let late = Seen::Started { attempt: w.attempt("c"), pid: 1, at: w.stamp() };
    w.see([late]);
    assert_eq!(w.only_pod(), ended);
}

#[test]
fn the_exit_record_tells_when_a_run_began_if_nobody_saw_it() {
    let mut w = World::new();
    w.run(spec("Never", &["c"]));
    let started = w.stamp();
    w.pass(9);
    let exit = Exit { started: Some(started.clone()), ..w.exit("c", HowEnded::Code(0)) };
    w.see([Seen::Exited(exit)]);
    let ended = w.status("c").state.ended().cloned().unwrap();
    assert_eq!(ended.started.unwrap().up_ms, started.up_ms);
    assert_eq!(ended.finished, w.now.moment());
}

#[test]
fn a_finished_pod_is_left_alone() {
    let mut w = World::new();
    w.run(spec("Never", &["c"])).exits("c", 1);
    let pod = w.only_pod();
    w.effects();
    w.change_node(|n| n.spec.drained = true).pass(100_000);
    w.reboot("boot-2", 5);
    w.booted(vec![]);
    assert_eq!(w.only_pod(), pod);
    assert_eq!(pod.status.excused, None::<Excuse>);
    assert_eq!(w.effects(), Vec::<String>::new());
}

#[test]
fn an_end_becomes_durable_with_the_next_attempt_and_its_evidence_is_kept_until_then() {
    let mut w = World::new();
    w.run(spec("Always", &["c"])).started("c").exits("c", 1).effects();
    assert!(w.durable, "the first restart comes at once, and takes the end with it");
    w.started("c").exits("c", 1);
    assert_eq!((w.durable, w.effects()), (false, vec![]));
    w.pass(10);
    assert_eq!((w.durable, w.effects()), (true, vec!["forget c/1".into(), "start c/2".into()]));
}

#[test]
fn an_end_without_a_record_or_a_restart_is_durable_at_once() {
    for (policy, how) in [("OnFailure", HowEnded::Code(0)), ("Always", HowEnded::Lost), ("Never", HowEnded::Code(1))] {
        let mut w = World::new();
        w.run(spec(policy, &["c"])).started("c").exits("c", 1).effects();
        if policy != "Never" {
            w.ends("c", how);
            assert_eq!((w.durable, w.effects()), (true, vec!["forget c/1".into()]), "{policy}");
        }
        assert!(w.durable, "{policy}");
    }
}
