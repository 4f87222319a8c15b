//! The daemon starts: each state of a record, with each thing that may be found, in the same boot and in another.

use super::*;
use crate::model::FoundState;
use crate::model::pod::Excuse;

#[derive(Debug, Clone, Copy, PartialEq)]
enum Recorded {
    Starting,
    Running,
    /// SIGTERM was decided, as the pod is deleted.
    Stopping,
    /// SIGKILL was decided.
    Killed,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum There {
    Nothing,
    Live,
    /// The shim lives, the process is about to start.
    Shim,
    Exited(i32),
    Lost,
}

/// A world with one pod in that state and what the runtime will find of it.
fn recorded(policy: &str, state: Recorded, there: There) -> (World, Vec<Found>) {
    let mut w = World::new();
    w.run(spec(policy, &["c"]));
    match state {
        Recorded::Starting => &mut w,
        Recorded::Running => w.started("c"),
        Recorded::Stopping => w.started("c").delete(30),
        Recorded::Killed => w.started("c").delete(0),
    };
    w.effects();
    let state = match there {
        There::Nothing => return (w, vec![]),
        There::Live => FoundState::Live { pid: Some(9), started: Some(w.stamp()) },
        There::Shim => FoundState::Live { pid: None, started: None },
        There::Exited(code) => FoundState::Exited(w.exit("c", HowEnded::Code(code))),
        There::Lost => FoundState::Lost,
    };
    let found = vec![Found { attempt: w.attempt("c"), state }];
    (w, found)
}

#[test]
fn in_the_same_boot_everything_goes_on() {
    #[track_caller]
    fn check(policy: &str, state: Recorded, there: There, shown: &str, effects: &[&str]) {
        let (mut w, found) = recorded(policy, state, there);
        w.pass(1).booted(found);
        let case = format!("{policy} {state:?} {there:?}");
        let now_shown = if w.pods().is_empty() { "gone".to_string() } else { w.shown("c") };
        assert_eq!(
            (now_shown.as_str(), w.effects()),
            (shown, effects.iter().map(|e| (*e).to_string()).collect()),
            "{case}"
        );
        if let [pod] = w.pods().as_slice() {
            assert_eq!((pod.status.excused, pod.status.containers[0].excused_restarts), (None, 0), "{case}");
        }
    }
    use Recorded::{Killed, Running, Starting, Stopping};
    use There::{Exited, Live, Lost, Nothing, Shim};
    for policy in ["Always", "OnFailure", "Never"] {
        check(policy, Starting, Nothing, "starting #0", &["start c/0"]);
        check(policy, Starting, Shim, "starting #0", &[]);
        check(policy, Starting, Live, "running #0", &[]);
        check(policy, Running, Live, "running #0", &[]);
        check(policy, Running, Shim, "running #0", &[]);
        check(policy, Stopping, Live, "running #0", &["terminate c/0"]);
        check(policy, Killed, Live, "running #0", &["kill c/0"]);
        for there in [Exited(0), Exited(1), Lost, Nothing] {
            check(policy, Stopping, there, "gone", &["forget c/0", "remove uid-p"]);
        }
    }
    for state in [Starting, Running] {
        for (policy, there) in
            [("Always", Exited(0)), ("Always", Exited(1)), ("OnFailure", Exited(1)), ("OnFailure", Lost)]
        {
            check(policy, state, there, "starting #1", &["forget c/0", "start c/1"]);
        }
        check("OnFailure", state, Exited(0), "Completed 0 #0", &["forget c/0"]);
        check("Never", state, Exited(0), "Completed 0 #0", &["forget c/0"]);
        check("Never", state, Exited(5), "Error 5 #0", &["forget c/0"]);
        check("Never", state, Lost, "ContainerStatusUnknown 137 #0", &["forget c/0"]);
    }
    check("Never", Running, Nothing, "ContainerStatusUnknown 137 #0", &["forget c/0"]);
    check("Always", Running, Nothing, "starting #1", &["forget c/0", "start c/1"]);
}

#[test]
fn after_a_reboot_pods_go_to_their_next_attempt_and_nothing_counts() {
    #[track_caller]
    fn check(policy: &str, state: Recorded, there: There, shown: &str, excused: u32) {
        let (mut w, found) = recorded(policy, state, there);
        w.reboot("boot-2", 30);
        w.booted(found);
        let case = format!("{policy} {state:?} {there:?}");
        assert_eq!((w.shown("c").as_str(), w.status("c").excused_restarts), (shown, excused), "{case}");
        let expected = if shown.starts_with("starting") { vec!["forget c/0", "start c/1"] } else { vec!["forget c/0"] };
        assert_eq!(w.effects(), expected, "{case}");
        // The next start of the daemon in the same boot changes nothing more.
        let before = w.only_pod();
        let found = Found { attempt: w.attempt("c"), state: FoundState::Live { pid: None, started: None } };
        w.booted(if before.is_live() { vec![found] } else { vec![] });
        assert_eq!((w.only_pod(), w.effects()), (before, vec![]), "{case}");
    }
    use Recorded::{Running, Starting};
    use There::{Exited, Nothing};
    for state in [Starting, Running] {
        check("Always", state, Nothing, "starting #1", 1);
        check("OnFailure", state, Nothing, "starting #1", 1);
        check("Never", state, Nothing, "Unknown 255 #0", 0);
        check("Always", state, Exited(0), "starting #1", 0);
        check("OnFailure", state, Exited(0), "Completed 0 #0", 0);
        check("OnFailure", state, Exited(1), "starting #1", 0);
        check("Never", state, Exited(0), "Completed 0 #0", 0);
        check("Never", state, Exited(1), "Error 1 #0", 0);
    }
}

#[test]
fn a_lost_pod_that_is_never_restarted_is_failed_and_excused() {
    let (mut w, _) = recorded("Never", Recorded::Running, There::Nothing);
    w.reboot("boot-2", 30);
    w.booted(vec![]);
    let status = w.only_pod().status;
    assert_eq!((status.phase, status.excused), (Phase::Failed, Some(Excuse::Reboot)));
    assert_eq!((status.reason.as_str(), status.finished), ("NodeRebooted", Some(w.now.moment())));
    w.has_event("SandboxChanged: Pod sandbox changed, it will be killed and re-created. x1");
}

#[test]
fn reboots_count_where_the_pod_says_so() {
    for (value, expected) in [("true", None), ("false", Some(Excuse::Reboot))] {
        let (mut w, _) = recorded("Never", Recorded::Running, There::Nothing);
        w.change_pod(|pod| {
            pod.meta.annotations.insert("pinnace.dev/count-reboots".into(), value.into());
        });
        w.reboot("boot-2", 30);
        w.booted(vec![]);
        assert_eq!((w.phase(), w.only_pod().status.excused), (Phase::Failed, expected), "{value}");
    }
    let (mut w, _) = recorded("OnFailure", Recorded::Running, There::Nothing);
    w.change_pod(|pod| {
        pod.meta.annotations.insert("pinnace.dev/count-reboots".into(), "true".into());
    });
    w.reboot("boot-2", 30);
    w.booted(vec![]);
    assert_eq!((w.shown("c"), w.status("c").excused_restarts), ("starting #1".into(), 0));
}

#[test]
fn reboots_count_where_the_job_says_so() {
    use crate::core::draft::Draft;
    use crate::model::job::JobStatus;
    use crate::model::meta::Owner;
    let (mut w, _) = recorded("Never", Recorded::Running, There::Nothing);
    let mut meta = Meta::named(NS, "job");
    meta.uid = Uid::new("uid-job");
    meta.annotations.insert("pinnace.dev/count-reboots".into(), "true".into());
    let owner = Owner { kind: Kind::Job, name: "job".into(), uid: meta.uid.clone() };
    w.add(crate::model::Job { meta, spec: Spec::new(json!({})).unwrap(), status: JobStatus::default() });
    w.change_pod(|pod| pod.meta.owner = Some(owner));
    w.reboot("boot-2", 30);
    let mut draft = Draft::new(&w.state, &w.now);
    let old = w.only_pod();
    let mut pod = old.clone();
    crate::core::pod::exit::reboot(&mut draft, &mut pod, "c");
    assert_eq!(pod.status.containers[0].state.ended().unwrap().excused, None);
}

#[test]
fn an_orderly_shutdown_is_a_reboot_too() {
    #[track_caller]
    fn check(how: HowEnded, oom_killed: bool, boot: &str, expected: Option<Excuse>) {
        check_told(false, how, oom_killed, boot, expected);
    }
    #[track_caller]
    fn check_told(told: bool, how: HowEnded, oom_killed: bool, boot: &str, expected: Option<Excuse>) {
        let (mut w, _) = recorded("Never", Recorded::Running, There::Nothing);
        let exit = Exit { oom_killed, told_from_outside: told, ..w.exit("c", how) };
        let found = Found { attempt: w.attempt("c"), state: FoundState::Exited(exit) };
        w.reboot(boot, 30);
        w.booted(vec![found]);
        assert_eq!((w.phase(), w.only_pod().status.excused), (Phase::Failed, expected));
    }
    // A program that catches SIGTERM and ends with a code of its own.
    check_told(true, HowEnded::Code(143), false, "boot-2", Some(Excuse::Reboot));
    check_told(true, HowEnded::Code(3), false, "boot-2", Some(Excuse::Reboot));
    check_told(true, HowEnded::Signal(6), false, "boot-2", Some(Excuse::Reboot));
    check_told(true, HowEnded::Code(3), true, "boot-2", None);
    check_told(true, HowEnded::Code(3), false, "boot-1", None);
    check_told(true, HowEnded::NotStarted(String::new()), false, "boot-2", None);
    check(HowEnded::Signal(15), false, "boot-2", Some(Excuse::Reboot));
    check(HowEnded::Signal(9), false, "boot-2", Some(Excuse::Reboot));
    check(HowEnded::Signal(9), true, "boot-2", None);
    check(HowEnded::Signal(11), false, "boot-2", None);
    check(HowEnded::Code(143), false, "boot-2", None);
    check(HowEnded::Signal(15), false, "boot-1", None);
}

#[test]
fn work_that_is_done_when_the_machine_goes_down_is_done() {
    let (mut w, _) = recorded("OnFailure", Recorded::Running, There::Nothing);
    let exit = Exit { told_from_outside: true, ..w.exit("c", HowEnded::Code(0)) };
    let found = Found { attempt: w.attempt("c"), state: FoundState::Exited(exit) };
    w.reboot("boot-2", 30);
    w.booted(vec![found]);
    assert_eq!(w.phase(), Phase::Succeeded);
}

#[test]
fn a_reboot_during_a_drain_or_a_deletion_ends_it() {
    let (mut w, _) = recorded("Always", Recorded::Stopping, There::Nothing);
    w.reboot("boot-2", 30);
    w.booted(vec![]);
    assert_eq!((w.pods(), w.effects()), (vec![], vec!["forget c/0".into(), "remove uid-p".into()]));

    let (mut w, _) = recorded("Always", Recorded::Running, There::Nothing);
    w.change_node(|n| n.spec.drained = true).step().effects();
    w.reboot("boot-2", 30);
    w.booted(vec![]);
    assert_eq!((w.shown("c"), w.effects()), ("Unknown 255 #0".into(), vec!["forget c/0".into()]));
    w.change_node(|n| n.spec.drained = false).step();
    assert_eq!((w.shown("c"), w.status("c").excused_restarts), ("starting #1".into(), 1));
}

#[test]
fn after_a_reboot_init_containers_run_again() {
    let mut w = World::new();
    w.run(with_init("OnFailure", &["i", "j"], &["a", "b"])).exits("i", 0).exits("j", 0).started("a").exits("b", 0);
    w.effects();
    w.reboot("boot-2", 30);
    w.booted(vec![]);
    assert_eq!(w.effects(), ["forget a/0", "start i/1"]);
    assert_eq!((w.shown("j"), w.phase()), ("waiting PodInitializing #0".into(), Phase::Running));
    w.exits("i", 0).exits("j", 0);
    assert_eq!(w.effects(), ["forget i/1", "start j/1", "forget j/1", "start a/1"]);
    assert_eq!(w.shown("b"), "Completed 0 #0", "what has succeeded is not run again");
    let excused: Vec<u32> = ["i", "j", "a", "b"].iter().map(|c| w.status(c).excused_restarts).collect();
    assert_eq!(excused, [1, 1, 1, 0]);
    w.exits("a", 0);
    assert_eq!(w.phase(), Phase::Succeeded);
}

#[test]
fn init_containers_do_not_run_again_when_there_is_nothing_to_prepare() {
    let mut w = World::new();
    w.run(with_init("OnFailure", &["i"], &["a"])).exits("i", 0).started("a");
    let exit = w.exit("a", HowEnded::Code(0));
    let found = Found { attempt: exit.attempt.clone(), state: FoundState::Exited(exit) };
    w.effects();
    w.reboot("boot-2", 30);
    w.booted(vec![found]);
    assert_eq!((w.effects(), w.phase()), (vec!["forget a/0".into()], Phase::Succeeded));
}

#[test]
fn a_pod_that_only_waited_outlives_a_reboot() {
    let mut w = World::with(Settings { images_pull: false, ..Settings::default() });
    w.run(json!({"restartPolicy": "Never", "containers": [{"name": "c", "image": "none"}]}));
    w.reboot("boot-2", 30);
    w.booted(vec![]);
    assert_eq!((w.phase(), w.shown("c")), (Phase::Pending, "waiting ImagePullBackOff #0".into()));
}

#[test]
fn a_pod_that_lost_one_container_for_good_starts_no_other() {
    let mut w = World::new();
    w.run(json!({"restartPolicy": "Never", "containers": [
        {"name": "a", "command": ["x"]}, {"name": "b", "image": "none"}]}));
    w.started("a").add(image("none", json!({"directory": "/x", "cmd": ["/x"]}))).effects();
    w.reboot("boot-2", 30);
    w.booted(vec![]);
    assert_eq!((w.phase(), w.effects()), (Phase::Failed, vec!["forget a/0".into()]));
}

#[test]
fn an_attempt_that_cannot_be_started_any_more_waits_instead() {
    let mut w = World::new();
    let env = json!([{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "m", "key": "k"}}}]);
    w.add(config_map("m", json!({"k": "v"})));
    w.run(json!({"containers": [{"name": "c", "command": ["x"], "env": env}]})).effects();
    w.remove(Kind::ConfigMap, "m").booted(vec![]);
    assert_eq!((w.shown("c"), w.effects()), ("waiting CreateContainerConfigError #0".into(), vec![]));
    w.add(config_map("m", json!({"k": "v"}))).step();
    assert_eq!(w.effects(), ["start c/0"]);
}

#[test]
fn what_has_no_record_is_ended_and_removed() {
    let mut w = World::new();
    w.run(spec("Always", &["c"])).started("c").effects();
    let found = |pod: &str, container: &str, number, state| Found {
        attempt: AttemptId { pod: Uid::new(pod), container: container.into(), number },
        state,
    };
    let live = || FoundState::Live { pid: Some(1), started: None };
    let exit = w.exit("c", HowEnded::Code(0));
    w.booted_with(
        vec![
            found("uid-x", "c", 0, live()),
            found("uid-x", "d", 3, FoundState::Exited(exit.clone())),
            found("uid-p", "c", 0, live()),
            found("uid-p", "unknown", 0, live()),
        ],
        vec![Uid::new("uid-y"), Uid::new("uid-x"), Uid::new("uid-p"), Uid::new("uid-y")],
    );
    assert_eq!(w.effects(), ["kill unknown/0", "kill c/0", "forget d/3", "remove uid-x", "remove uid-y"]);
    assert_eq!(w.shown("c"), "running #0");
}

#[test]
fn evidence_of_what_is_counted_already_is_let_go() {
    let mut w = World::new();
    w.run(spec("OnFailure", &["c"])).started("c");
    let first = w.exit("c", HowEnded::Code(1));
    w.see([Seen::Exited(first.clone())]).effects();
    let found = Found { attempt: first.attempt.clone(), state: FoundState::Exited(first) };
    let live = Found { attempt: w.attempt("c"), state: FoundState::Live { pid: None, started: None } };
    let before = w.only_pod();
    w.booted(vec![found, live]);
    assert_eq!((w.effects(), w.only_pod()), (vec!["forget c/0".into()], before));
}

#[test]
fn a_record_that_is_behind_the_evidence_follows_it() {
    let newer = |w: &World, state| Found { attempt: AttemptId { number: 7, ..w.attempt("c") }, state };
    let (mut w, _) = recorded("Always", Recorded::Running, There::Nothing);
    w.booted(vec![newer(&w, FoundState::Live { pid: Some(3), started: Some(w.stamp()) })]);
    assert_eq!((w.shown("c"), w.effects()), ("running #7".into(), vec![]));

    let (mut w, _) = recorded("OnFailure", Recorded::Running, There::Nothing);
    let exit = Exit { attempt: AttemptId { number: 7, ..w.attempt("c") }, ..w.exit("c", HowEnded::Code(2)) };
    w.booted(vec![newer(&w, FoundState::Exited(exit))]);
    assert_eq!((w.shown("c"), w.effects()), ("starting #8".into(), vec!["forget c/7".into(), "start c/8".into()]));

    let (mut w, _) = recorded("Never", Recorded::Running, There::Nothing);
    w.exits("c", 0).effects();
    w.booted(vec![newer(&w, FoundState::Live { pid: Some(3), started: None })]);
    assert_eq!((w.phase(), w.effects()), (Phase::Succeeded, vec!["kill c/7".into()]));
}

/// An exit before the last boot, at a time that the wall clock of then gave; the crash back-off that is left of it.
#[test]
fn a_wall_clock_that_was_wrong_then_is_not_believed_now() {
    for (trusted, left) in [(true, None), (false, Some(8))] {
        let mut w = World::new();
        w.now.wall_trusted = trusted;
        w.run(spec("Always", &["c"])).exits("c", 1).started("c");
        let exit = w.exit("c", HowEnded::Code(1));
        let found = Found { attempt: exit.attempt.clone(), state: FoundState::Exited(exit) };
        w.reboot("boot-2", 5000);
        (w.now.uptime, w.now.wall_trusted) = (Duration::from_secs(2), true);
        w.booted(vec![found]);
        assert_eq!(w.wakes_in(), left, "trusted: {trusted}");
    }
}

#[test]
fn wild_numbers_break_nothing() {
    let wild = Stamp { wall: Timestamp::from_millis(i64::MAX), boot: BootId::new("?"), up_ms: u64::MAX };
    for policy in ["Always", "OnFailure", "Never"] {
        let (mut w, _) = recorded(policy, Recorded::Running, There::Nothing);
        w.change_pod(|pod| {
            let status = &mut pod.status.containers[0];
            (status.restarts, status.excused_restarts) = (u32::MAX, u32::MAX);
        });
        let exit =
            Exit { started: Some(wild.clone()), finished: wild.clone(), ..w.exit("c", HowEnded::Signal(i32::MAX)) };
        let state = FoundState::Exited(exit.clone());
        w.booted(vec![Found { attempt: exit.attempt.clone(), state }]);
        w.see([Seen::Exited(exit)]).pass(10_000_000);
        w.reboot("boot-2", 0);
        w.now.wall = Timestamp::from_millis(i64::MIN);
        w.booted(vec![]);
    }
    let mut w = World::new();
    w.run(json!({"restartPolicy": "Never", "containers": [], "activeDeadlineSeconds": u32::MAX}));
    assert_eq!(w.phase(), Phase::Pending);
    w.change_pod(|pod| pod.status.containers = PodStatus::new(&pod_of_two().spec).containers).step();
    assert_eq!(w.effects(), Vec::<String>::new(), "a status without a container of that name starts nothing");
    w.delete(u32::MAX);
    assert!(w.pods().is_empty());
}

fn pod_of_two() -> Pod {
    pod("two", spec("Never", &["x", "y"]))
}

/// A container that has crashed until attempt 6 is the durable intent of the seven after it as well; that state.
fn reserving() -> (World, State) {
    let mut w = World::new();
    w.run(spec("Always", &["c"]));
    for delay in [0, 10, 20, 40, 80, 160] {
        w.started("c").exits("c", 1).pass(delay);
    }
    assert_eq!((w.status("c").restarts, w.status("c").reserved, w.durable), (6, 13, true));
    let durable = w.state.clone();
    w.started("c").exits("c", 1).pass(300).started("c").effects();
    assert_eq!((w.status("c").restarts, w.status("c").reserved, w.durable), (7, 13, false));
    (w, durable)
}

#[test]
fn in_the_same_boot_claims_tell_which_reserved_attempts_began() {
    let (mut w, durable) = reserving();
    let (sixth, seventh) = (AttemptId { number: 6, ..w.attempt("c") }, w.attempt("c"));
    let ended = Exit { attempt: sixth.clone(), ..w.exit("c", HowEnded::Code(1)) };
    let live = FoundState::Live { pid: Some(9), started: Some(w.stamp()) };
    w.state = durable;
    w.booted(vec![Found { attempt: sixth, state: FoundState::Exited(ended) }, Found { attempt: seventh, state: live }]);
    assert_eq!((w.shown("c"), w.effects(), w.durable), ("running #7".into(), vec!["forget c/6".into()], true));
    w.exits("c", 1);
    assert_eq!(w.wakes_in(), Some(300), "the back-off goes on");
}

#[test]
fn after_a_reboot_the_next_attempt_comes_after_all_that_were_reserved() {
    let (mut w, durable) = reserving();
    let ended = Exit { attempt: AttemptId { number: 6, ..w.attempt("c") }, ..w.exit("c", HowEnded::Code(1)) };
    w.state = durable;
    w.reboot("boot-2", 0);
    w.booted(vec![Found { attempt: ended.attempt.clone(), state: FoundState::Exited(ended) }]);
    assert_eq!((w.effects(), w.status("c").reserved), (vec!["forget c/6".into()], 0));
    w.pass(300);
    assert_eq!(w.effects(), ["start c/14"], "nobody knows whether 7 to 13 began");
}

#[test]
fn an_order_of_a_reserved_attempt_that_arrives_late_is_taken_up() {
    let (mut w, durable) = reserving();
    let seventh = w.attempt("c");
    let ended = Exit { attempt: AttemptId { number: 6, ..seventh.clone() }, ..w.exit("c", HowEnded::Code(1)) };
    w.state = durable;
    w.booted(vec![Found { attempt: ended.attempt.clone(), state: FoundState::Exited(ended) }]);
    w.effects();
    let at = w.stamp();
    w.see([Seen::Started { attempt: seventh, pid: 7, at }]);
    assert_eq!((w.shown("c"), w.effects()), ("running #7".into(), vec![]));
}
