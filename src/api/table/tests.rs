use std::time::Duration;

use serde_json::json;

use super::*;
use crate::model::job::{JobCondition, JobConditionKind};
use crate::model::pod::Ready;
use crate::model::set::{Member, MemberState, Rejected, Scope};
use crate::model::{
    BootId, ConfigMap, ContainerState, ContainerStatus, CronJob, DaemonSet, Deleting, Ended, Event, EventType, Failure,
    Image, Job, Key, Meta, Moment, Namespace, Node, NodeSpec, ObjectRef, Owner, Phase, Pod, PodStatus, Reason,
    Revision, Secret, Set, SetKey, Settings, Spec, Timestamp, Uid,
};

/// The time of all these tables: an hour after everything was made.
const NOW_S: i64 = 1_000_000;

fn now() -> Now {
    at(NOW_S)
}

fn at(seconds: i64) -> Now {
    let uptime = Duration::from_secs(u64::try_from(seconds - NOW_S + 10_000).unwrap());
    Now { wall: Timestamp::from_secs(seconds), wall_trusted: true, uptime, boot: BootId::new("b") }
}

fn ago(seconds: i64) -> Moment {
    at(NOW_S - seconds).moment()
}

fn meta(name: &str) -> Meta {
    Meta { created: ago(3600).wall, ..Meta::named("default", name) }
}

fn state() -> State {
    let mut node = Node { meta: meta("gateway-7"), spec: NodeSpec::default(), status: Default::default() };
    node.meta.namespace = String::new();
    node.status.facts.internal_ip = "10.0.0.7".into();
    node.status.facts.kernel = "6.1.0".into();
    node.meta.labels.insert("node-role.kubernetes.io/edge".into(), String::new());
    State::new(1, [Record::from(node)], Settings::default())
}

/// The cells as a person sees them, joined by `|`; a name, type or priority too many or too few is caught as well.
#[track_caller]
fn check(record: impl Into<Record>, expected: &str) {
    let record = record.into();
    let cells = cells(&record, &state(), &now());
    let columns = columns(record.kind());
    assert_eq!(cells.len(), columns.as_array().unwrap().len(), "cells and columns of {}", record.kind());
    for (cell, column) in cells.iter().zip(columns.as_array().unwrap()) {
        assert_eq!(cell.is_i64() || cell.is_u64(), column["type"] == "integer", "{} {cell}", column["name"]);
    }
    let text: Vec<String> = cells.iter().map(|c| c.as_str().map_or(c.to_string(), str::to_string)).collect();
    assert_eq!(text.join("|"), expected);
}

fn headers(kind: Kind, wide: bool) -> String {
    let columns = columns(kind);
    let shown = columns.as_array().unwrap().iter().filter(|c| wide || c["priority"] == 0);
    shown.map(|c| c["name"].as_str().unwrap().to_uppercase()).collect::<Vec<String>>().join(" ")
}

#[test]
fn headers_are_kubectls() {
    assert_eq!(headers(Kind::Pod, false), "NAME READY STATUS RESTARTS AGE");
    assert_eq!(headers(Kind::Pod, true), "NAME READY STATUS RESTARTS AGE IP NODE NOMINATED NODE READINESS GATES");
    assert_eq!(headers(Kind::Job, false), "NAME STATUS COMPLETIONS DURATION AGE");
    assert_eq!(headers(Kind::Job, true), "NAME STATUS COMPLETIONS DURATION AGE CONTAINERS IMAGES SELECTOR");
    assert_eq!(headers(Kind::CronJob, false), "NAME SCHEDULE TIMEZONE SUSPEND ACTIVE LAST SCHEDULE AGE");
    assert_eq!(headers(Kind::DaemonSet, false), "NAME DESIRED CURRENT READY UP-TO-DATE AVAILABLE NODE SELECTOR AGE");
    assert_eq!(headers(Kind::Node, false), "NAME STATUS ROLES AGE VERSION");
    assert_eq!(
        headers(Kind::Node, true),
        "NAME STATUS ROLES AGE VERSION INTERNAL-IP EXTERNAL-IP OS-IMAGE KERNEL-VERSION CONTAINER-RUNTIME"
    );
    assert_eq!(headers(Kind::Event, false), "LAST SEEN TYPE REASON OBJECT MESSAGE");
    assert_eq!(
        headers(Kind::Event, true),
        "LAST SEEN TYPE REASON OBJECT SUBOBJECT SOURCE MESSAGE FIRST SEEN COUNT NAME"
    );
    assert_eq!(headers(Kind::ConfigMap, true), "NAME DATA AGE");
    assert_eq!(headers(Kind::Secret, true), "NAME TYPE DATA AGE");
    assert_eq!(headers(Kind::Namespace, true), "NAME STATUS AGE");
    assert_eq!(headers(Kind::ControllerRevision, true), "NAME CONTROLLER REVISION AGE");
    assert_eq!(headers(Kind::Image, true), "NAME IMAGE ID SIZE SOURCE AGE ENTRYPOINT");
    assert_eq!(headers(Kind::Set, true), "NAME SCOPE REV PHASE OBJECTS AGE");
}

// ---- pods ------------------------------------------------------------------------------------------------------------

fn ended(exit_code: i32, reason: &str) -> Ended {
    let (started, finished) = (Some(ago(100)), ago(42));
    Ended { exit_code, reason: reason.into(), message: String::new(), started, finished, excused: None }
}

fn waiting(reason: &str) -> ContainerState {
    ContainerState::Waiting { reason: reason.into(), message: String::new(), retry: None }
}

fn over(exit_code: i32, reason: &str) -> ContainerState {
    ContainerState::Ended(ended(exit_code, reason))
}

fn running() -> ContainerState {
    ContainerState::Running { started: ago(50), pid: 5 }
}

fn starting() -> ContainerState {
    ContainerState::Starting { since: ago(1) }
}

/// A pod that a node has taken up, with these states of init containers and containers.
fn pod(phase: Phase, init: &[ContainerState], main: &[ContainerState]) -> Pod {
    let named = |prefix: &str, states: &[ContainerState]| -> Vec<Value> {
        (0..states.len()).map(|i| json!({ "name": format!("{prefix}{i}"), "image": "busybox" })).collect()
    };
    let spec = Spec::new(json!({ "initContainers": named("i", init), "containers": named("c", main) })).unwrap();
    let mut status = PodStatus { started: Some(ago(3000)), phase, ..PodStatus::new(&spec) };
    let set = |statuses: &mut Vec<ContainerStatus>, states: &[ContainerState]| {
        statuses.iter_mut().zip(states).for_each(|(status, state)| status.state = state.clone());
    };
    set(&mut status.init, init);
    set(&mut status.containers, main);
    Pod { meta: meta("p"), spec, status }
}

#[track_caller]
fn check_pod(pod: &Pod, expected: &str) {
    let cells = cells(&Record::from(pod.clone()), &state(), &now());
    let shown: Vec<&str> = cells[1..4].iter().map(|c| c.as_str().unwrap()).collect();
    assert_eq!(shown.join(" "), expected);
}

#[test]
fn a_pods_status_is_the_word_kubectl_would_say() {
    use Phase::{Failed, Pending, Running, Succeeded};
    let completed = || over(0, "Completed");
    check_pod(&pod(Running, &[], &[running()]), "1/1 Running 0");
    check_pod(&pod(Pending, &[], &[waiting("ContainerCreating")]), "0/1 ContainerCreating 0");
    check_pod(&pod(Pending, &[], &[starting(), running()]), "1/2 ContainerCreating 0");
    check_pod(&pod(Running, &[], &[running(), over(1, "Error")]), "1/2 Error 0");
    check_pod(&pod(Running, &[], &[waiting("CrashLoopBackOff"), over(1, "Error")]), "0/2 CrashLoopBackOff 0");
    check_pod(&pod(Running, &[], &[running(), waiting("ImagePullBackOff")]), "1/2 ImagePullBackOff 0");
    check_pod(&pod(Succeeded, &[], &[completed()]), "0/1 Completed 0");
    check_pod(&pod(Failed, &[], &[over(137, "OOMKilled")]), "0/1 OOMKilled 0");
    check_pod(&pod(Failed, &[], &[over(3, "")]), "0/1 ExitCode:3 0");
    check_pod(&pod(Pending, &[], &[waiting("")]), "0/1 Pending 0");
}

#[test]
fn completed_gives_way_to_a_container_that_still_runs() {
    let mut p = pod(Phase::Running, &[], &[over(0, "Completed"), running()]);
    check_pod(&p, "1/2 NotReady 0");
    p.status.ready = Ready { is: true, since: None };
    check_pod(&p, "1/2 Running 0");
}

#[test]
fn init_containers_speak_first() {
    use Phase::{Failed, Pending};
    let (done, wait) = (|| over(0, "Completed"), || waiting("PodInitializing"));
    check_pod(&pod(Pending, &[wait(), wait()], &[wait()]), "0/1 Init:0/2 0");
    check_pod(&pod(Pending, &[done(), running()], &[wait()]), "0/1 Init:1/2 0");
    check_pod(&pod(Pending, &[starting()], &[wait()]), "0/1 Init:0/1 0");
    check_pod(&pod(Pending, &[waiting("CrashLoopBackOff")], &[wait()]), "0/1 Init:CrashLoopBackOff 0");
    check_pod(&pod(Failed, &[over(1, "Error")], &[wait()]), "0/1 Init:Error 0");
    check_pod(&pod(Failed, &[over(9, "")], &[wait()]), "0/1 Init:ExitCode:9 0");
    check_pod(&pod(Pending, &[done()], &[wait()]), "0/1 PodInitializing 0");
}

#[test]
fn restarts_are_those_of_the_containers_that_matter_now() {
    let mut p = pod(Phase::Running, &[over(0, "Completed")], &[running(), running()]);
    p.status.init[0].restarts = 9;
    p.status.containers[0].restarts = 2;
    p.status.containers[1].restarts = 1;
    check_pod(&p, "2/2 Running 3");
    p.status.containers[1].last = Some(ended(1, "Error"));
    check_pod(&p, "2/2 Running 3 (42s ago)");
    p.status.init[0].state = waiting("CrashLoopBackOff");
    check_pod(&p, "0/2 Init:CrashLoopBackOff 9");
}

#[test]
fn a_reason_of_the_pods_own_and_its_deletion_go_before_the_phase() {
    let mut p = pod(Phase::Failed, &[], &[]);
    p.status.reason = "Evicted".into();
    check_pod(&p, "0/0 Evicted 0");
    let mut p = pod(Phase::Running, &[], &[running()]);
    p.meta.deleting = Some(Deleting { since: ago(1), grace_s: 30, foreground: false });
    check_pod(&p, "1/1 Terminating 0");
    p.status.phase = Phase::Succeeded;
    p.status.containers[0].state = over(0, "Completed");
    check_pod(&p, "0/1 Completed 0");
}

#[test]
fn a_pod_that_no_node_has_taken_up_is_pending() {
    let mut p = pod(Phase::Pending, &[waiting("PodInitializing")], &[waiting("PodInitializing")]);
    p.status.started = None;
    check(p, "p|0/1|Pending|0|60m|<none>|<none>|<none>|<none>");
    check(pod(Phase::Running, &[], &[running()]), "p|1/1|Running|0|60m|10.0.0.7|gateway-7|<none>|<none>");
}

// ---- the rest --------------------------------------------------------------------------------------------------------

fn job(spec: Value) -> Job {
    Job { meta: meta("j"), spec: Spec::new(spec).unwrap(), status: Default::default() }
}

fn end(job: &mut Job, kind: JobConditionKind, status: bool) {
    let (reason, message) = (String::new(), String::new());
    job.status.conditions.push(JobCondition { kind, status, reason, message, changed: ago(10) });
}

#[test]
fn a_job_tells_how_far_it_is() {
    let template =
        json!({ "spec": { "containers": [{ "name": "a", "image": "x" }, { "name": "b", "image": "y:1" }] } });
    let selector = json!({ "matchLabels": { "z": "1" }, "matchExpressions": [
        { "key": "a", "operator": "In", "values": ["q", "p"] }, { "key": "m", "operator": "DoesNotExist" }] });
    let mut j = job(json!({ "completions": 5, "parallelism": 2, "template": template, "selector": selector }));
    check(j.clone(), "j|Running|0/5||60m|a,b|x,y:1|a in (p,q),!m,z=1");
    j.status.started = Some(ago(125));
    j.status.succeeded = 3;
    check(j.clone(), "j|Running|3/5|2m5s|60m|a,b|x,y:1|a in (p,q),!m,z=1");
    j.status.completed = Some(ago(5));
    end(&mut j, JobConditionKind::Complete, true);
    check(j, "j|Complete|3/5|2m|60m|a,b|x,y:1|a in (p,q),!m,z=1");
    check(job(json!({ "parallelism": 3 })), "j|Running|0/1 of 3||60m|||<none>");
    check(job(json!({ "parallelism": 1 })), "j|Running|0/1||60m|||<none>");
}

#[test]
fn a_jobs_status_is_its_end_then_its_deletion_then_its_suspension() {
    let status = |j: &Job| cells(&Record::from(j.clone()), &state(), &now())[1].clone();
    let mut j = job(json!({}));
    end(&mut j, JobConditionKind::Suspended, false);
    assert_eq!(status(&j), "Running");
    end(&mut j, JobConditionKind::FailureTarget, true);
    assert_eq!(status(&j), "FailureTarget");
    end(&mut j, JobConditionKind::Suspended, true);
    assert_eq!(status(&j), "Suspended");
    j.meta.deleting = Some(Deleting { since: ago(1), grace_s: 0, foreground: true });
    assert_eq!(status(&j), "Terminating");
    end(&mut j, JobConditionKind::Failed, true);
    assert_eq!(status(&j), "Failed");
}

#[test]
fn cron_jobs_and_daemon_sets() {
    let template = json!({ "spec": { "containers": [{ "name": "main", "image": "luksa/x" }], "nodeSelector": { "disk": "ssd", "a": "b" } } });
    let spec = json!({ "schedule": "*/5 * * * *", "jobTemplate": { "spec": { "template": template } } });
    let mut c = CronJob { meta: meta("c"), spec: Spec::new(spec).unwrap(), status: Default::default() };
    check(c.clone(), "c|*/5 * * * *|<none>|False|0|<none>|60m|main|luksa/x|<none>");
    c.status.last_schedule = Some(ago(90).wall);
    c.spec = Spec::new(json!({ "schedule": "@daily", "timeZone": "Europe/Berlin", "suspend": true })).unwrap();
    check(c, "c|@daily|Europe/Berlin|True|0|90s|60m|||<none>");
    let spec = json!({ "selector": { "matchLabels": { "app": "m" } }, "template": template });
    let mut d = DaemonSet { meta: meta("d"), spec: Spec::new(spec).unwrap(), status: Default::default() };
    (d.status.desired, d.status.current, d.status.ready, d.status.updated) = (1, 1, 1, 1);
    check(d, "d|1|1|1|1|0|a=b,disk=ssd|60m|main|luksa/x|app=m");
}

#[test]
fn a_node_is_ready_and_says_when_it_is_cordoned() {
    let version = crate::manifest::view::KUBERNETES_VERSION;
    let runtime = format!("pinnace://{}", env!("CARGO_PKG_VERSION"));
    let mut node = state().node().unwrap().clone();
    let tail = format!("edge|60m|{version}|10.0.0.7|<none>|<unknown>|6.1.0|{runtime}");
    check(node.clone(), &format!("gateway-7|Ready|{tail}"));
    node.spec.unschedulable = true;
    check(node, &format!("gateway-7|Ready,SchedulingDisabled|{tail}"));
}

#[test]
fn an_event_tells_who_said_what_of_whom() {
    let about = ObjectRef {
        kind: Kind::Pod,
        namespace: "default".into(),
        name: "p".into(),
        uid: Uid::new("u"),
        field_path: "spec.containers{c}".into(),
    };
    let mut e = Event {
        meta: meta("p.1"),
        about,
        kind: EventType::Warning,
        reason: "BackOff".into(),
        message: " Back-off \n".into(),
        source: "kubelet".into(),
        count: 5,
        first: ago(600).wall,
        last: ago(3).wall,
    };
    check(e.clone(), "3s|Warning|BackOff|pod/p|spec.containers{c}|kubelet, gateway-7|Back-off|10m|5|p.1");
    e.source = "job-controller".into();
    check(e, "3s|Warning|BackOff|pod/p|spec.containers{c}|job-controller|Back-off|10m|5|p.1");
}

#[test]
fn data_revisions_images_and_sets() {
    let spec = Spec::new(json!({ "data": { "a": "1" }, "binaryData": { "b": "AA==" } })).unwrap();
    check(ConfigMap { meta: meta("m"), spec }, "m|2|60m");
    let spec = Spec::new(json!({ "type": "Opaque", "data": { "a": "AA==" } })).unwrap();
    check(Secret { meta: meta("s"), spec }, "s|Opaque|1|60m");
    let mut ns = Namespace { meta: meta("n") };
    check(ns.clone(), "n|Active|60m");
    ns.meta.deleting = Some(Deleting { since: ago(1), grace_s: 0, foreground: true });
    check(ns, "n|Terminating|60m");
    let mut r = Revision { meta: meta("d-5f"), data: json!({}), number: 3 };
    check(r.clone(), "d-5f|<none>|3|60m");
    r.meta.owner = Some(Owner { kind: Kind::DaemonSet, name: "d".into(), uid: Uid::new("u") });
    check(r, "d-5f|daemonset.apps/d|3|60m");
    let mut image = Image { meta: meta("i"), spec: Default::default(), used: None };
    image.spec.reference = "luksa/batch-job".into();
    image.spec.directory = "/srv/images/batch".into();
    check(image.clone(), "luksa/batch-job|<none>|<none>|/srv/images/batch|60m|<none>");
    image.spec.entrypoint = vec!["/bin/run".into(), "-v".into()];
    image.spec.origin = crate::model::image::Origin::Import;
    image.spec.id = "sha256:0123456789abcdef0123".into();
    image.spec.layers = vec![crate::model::image::Layer { diff_id: "a".into(), size: 2_345_678 }];
    check(image, "luksa/batch-job|0123456789ab|2.35MB|import|60m|/bin/run -v");
    let mut set = Set {
        meta: meta("grp.pos.shop"),
        key: SetKey { scope: Scope::Group("pos".into()), slot: "shop".into() },
        rev: 9,
        sha: String::new(),
        wants: Vec::new(),
        objects: Default::default(),
        rejected: None,
        has_header: true,
    };
    check(set.clone(), "grp.pos.shop|grp/pos|9|Committed|0/0|60m");
    for (name, state) in [("a", MemberState::Applied), ("b", MemberState::Conflict("made on the device".into()))] {
        let member = Member { uid: Uid::new("u"), state, finished: false };
        set.objects.insert(Key::new(Kind::Job, "default", name), member);
    }
    set.rejected = Some(Rejected { rev: 10, sha: String::new(), why: Failure::new(Reason::Invalid, "x") });
    check(set, "grp.pos.shop|grp/pos|9|Rejected|1/2|60m");
}
