use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::*;
use crate::manifest::{Strictness, decode_stream, decode_value};
use crate::model::job::{JobCondition, JobConditionKind};
use crate::model::node::{Facts, TaintEffect};
use crate::model::pod::Ready;
use crate::model::set::{Member, MemberState, Rejected, Scope};
use crate::model::{
    BootId, Cause, ContainerState, Ended, Event, EventType, Key, Node, NodeSpec, Now, ObjectRef, Owner, Phase, Pod,
    Revision, Set, SetKey, Settings, Taint, Uid,
};

fn at(seconds: i64) -> Moment {
    let wall = Timestamp::from_secs(1_767_225_600 + seconds);
    Now { wall, wall_trusted: true, uptime: Duration::from_secs(900), boot: BootId::new("boot-1") }.moment()
}

/// A record as it would be some time after it was applied.
fn made(value: Value) -> Record {
    let mut record = decode_stream(value.to_string().as_bytes(), "default").unwrap().remove(0).record;
    let meta = record.meta_mut();
    meta.uid = Uid::new("uid-1");
    meta.created = at(0).wall;
    meta.revision = 12;
    meta.generation = 1;
    record
}

fn job() -> Record {
    made(json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": { "name": "j", "namespace": "default" },
        "spec": { "completions": 5, "template": { "spec": {
            "restartPolicy": "OnFailure", "containers": [{ "name": "main", "image": "luksa/batch-job" }] } } },
    }))
}

fn pod() -> Pod {
    let record = made(json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": "p", "namespace": "default", "labels": { "app": "x" } },
        "spec": {
            "initContainers": [{ "name": "i", "image": "host", "command": ["true"] }],
            "containers": [{ "name": "a", "image": "busybox" }, { "name": "b", "image": "host", "command": ["sleep", "1"] }],
        },
    }));
    let mut pod = record.as_pod().unwrap().clone();
    pod.status.started = Some(at(1));
    pod
}

fn node() -> Node {
    let mut node = Node { meta: Meta::named("", "gateway-7"), spec: NodeSpec::default(), status: Default::default() };
    node.meta.created = at(0).wall;
    node.meta.uid = Uid::new("uid-node");
    node.status.started = Some(at(0));
    node.status.groups = vec!["pos".into(), "berlin".into()];
    node.status.facts = Facts {
        internal_ip: "10.0.0.7".into(),
        hostname: "gateway-7".into(),
        cpus: 4,
        memory_bytes: 1 << 30,
        shortcomings: vec!["no memory controller".into(), "not root".into()],
        ..Facts::default()
    };
    node
}

fn ended(exit_code: i32, reason: &str) -> Ended {
    let (started, finished) = (Some(at(2)), at(3));
    Ended { exit_code, reason: reason.into(), message: String::new(), started, finished, excused: None }
}

fn state() -> State {
    State::new(20, [Record::from(node())], Settings::default())
}

fn shown(record: impl Into<Record>) -> Value {
    object(&record.into(), &state())
}

/// Nothing may be lost by a way through Kubernetes' own type: every field that is shown exists there with that type.
#[track_caller]
fn check_oracle<T: Serialize + DeserializeOwned>(shown: &Value) {
    let typed: T = serde_json::from_value(shown.clone()).unwrap_or_else(|e| panic!("{e} in {shown:#}"));
    let back = serde_json::to_value(typed).unwrap();
    let mut lost = Vec::new();
    find_lost(shown, &back, "", &mut lost);
    assert!(lost.is_empty(), "unknown to Kubernetes: {lost:?}");
}

fn find_lost(here: &Value, there: &Value, path: &str, lost: &mut Vec<String>) {
    match (here, there) {
        (Value::Object(a), _) => {
            for (name, value) in a.iter().filter(|(_, v)| !is_empty(v)) {
                find_lost(value, &there[name], &format!("{path}.{name}"), lost);
            }
        }
        (Value::Array(a), _) => {
            for (i, value) in a.iter().enumerate() {
                find_lost(value, &there[i], &format!("{path}[{i}]"), lost);
            }
        }
        (a, b) if a == b => {}
        (_, Value::Null) => lost.push(path.to_string()),
        // Times and quantities may come back in another spelling.
        _ => {}
    }
}

#[test]
fn every_field_that_is_shown_exists_in_kubernetes() {
    use k8s_openapi::api::{apps::v1 as apps, batch::v1 as batch, core::v1 as core};
    let mut running = pod();
    running.status.init[0].state = ContainerState::Ended(ended(0, "Completed"));
    running.status.containers[0].state = ContainerState::Running { started: at(4), pid: 7 };
    running.status.containers[0].last = Some(ended(1, "Error"));
    running.status.containers[0].restarts = 1;
    check_oracle::<core::Pod>(&shown(running));
    check_oracle::<batch::Job>(&shown(finished_job()));
    check_oracle::<core::Event>(&shown(event()));
    check_oracle::<apps::ControllerRevision>(&shown(revision()));
    check_oracle::<core::Namespace>(&shown(made(
        json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "x" } }),
    )));
    let mut shown_node = shown(node());
    shown_node["spec"].as_object_mut().unwrap().shift_remove("drained");
    check_oracle::<core::Node>(&shown_node);
    let mut cron_job = cron_job();
    if let Record::CronJob(c) = &mut cron_job {
        c.status.active = vec![crate::model::cronjob::ActiveJob { name: "j".into(), uid: Uid::new("u") }];
        c.status.last_schedule = Some(at(5).wall);
        c.status.last_successful = Some(at(6).wall);
    }
    check_oracle::<batch::CronJob>(&shown(cron_job));
    let mut daemon_set = daemon_set();
    if let Record::DaemonSet(d) = &mut daemon_set {
        (d.status.desired, d.status.current, d.status.observed_generation) = (1, 1, 2);
    }
    let shown_set = shown(daemon_set);
    check_oracle::<apps::DaemonSet>(&shown_set);
    assert_eq!(shown_set["status"]["numberUnavailable"], 1);
    assert_eq!(shown_set["status"].get("updatedNumberScheduled"), None);
}

fn finished_job() -> Record {
    let mut record = job();
    if let Record::Job(job) = &mut record {
        job.status.started = Some(at(1));
        job.status.completed = Some(at(9));
        job.status.succeeded = 5;
        job.status.conditions = [JobConditionKind::SuccessCriteriaMet, JobConditionKind::Complete]
            .map(|kind| JobCondition {
                kind,
                status: true,
                reason: "CompletionsReached".into(),
                message: "Reached expected number of succeeded pods".into(),
                changed: at(9),
            })
            .into();
        job.meta.owner = Some(Owner { kind: crate::model::Kind::CronJob, name: "c".into(), uid: Uid::new("uid-c") });
        job.meta.deleting = Some(Deleting { since: at(10), grace_s: 0, foreground: true });
        job.meta.set = Some(SetKey { scope: Scope::Group("pos".into()), slot: "shop".into() });
    }
    record
}

fn cron_job() -> Record {
    made(json!({
        "apiVersion": "batch/v1", "kind": "CronJob", "metadata": { "name": "c", "namespace": "default" },
        "spec": { "schedule": "0,15,30,45 * * * *", "jobTemplate": { "spec": { "template": { "spec": {
            "restartPolicy": "OnFailure", "containers": [{ "name": "main", "image": "luksa/batch-job" }] } } } } },
    }))
}

fn daemon_set() -> Record {
    made(json!({
        "apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": { "name": "d", "namespace": "default" },
        "spec": {
            "selector": { "matchLabels": { "app": "ssd-monitor" } },
            "template": {
                "metadata": { "labels": { "app": "ssd-monitor" } },
                "spec": { "nodeSelector": { "disk": "ssd" }, "containers": [{ "name": "main", "image": "luksa/ssd-monitor" }] },
            },
        },
    }))
}

fn event() -> Event {
    Event {
        meta: Meta::named("default", "p.1"),
        about: ObjectRef {
            kind: Kind::Pod,
            namespace: "default".into(),
            name: "p".into(),
            uid: Uid::new("uid-1"),
            field_path: "spec.containers{a}".into(),
        },
        kind: EventType::Warning,
        reason: "BackOff".into(),
        message: "Back-off restarting failed container".into(),
        source: "kubelet".into(),
        count: 3,
        first: at(1).wall,
        last: at(2).wall,
    }
}

fn revision() -> Revision {
    Revision { meta: Meta::named("default", "d-1"), data: json!({ "spec": { "template": {} } }), number: 2 }
}

#[test]
fn what_is_shown_can_be_sent_back_and_means_the_same() {
    let secret = made(
        json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "s", "namespace": "default" }, "stringData": { "k": "v" } }),
    );
    let config = made(
        json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "c", "namespace": "default" }, "data": { "k": "v" } }),
    );
    assert_eq!(shown(secret.clone())["data"]["k"], "dg==");
    let mut finished = finished_job();
    finished.meta_mut().deleting = None;
    for record in [finished, cron_job(), daemon_set(), Record::from(pod()), secret, config] {
        let again = decode_value(shown(record.clone()), Some(record.kind()), "default", Strictness::Strict)
            .unwrap_or_else(|e| panic!("{}: {e}", record.key()))
            .record;
        let spec = |r: &Record| shown(r.clone()).get("spec").or(shown(r.clone()).get("data")).cloned();
        let mut expected = spec(&record);
        if record.kind() == Kind::Pod {
            expected.as_mut().unwrap().as_object_mut().unwrap().shift_remove("nodeName");
        }
        let mut found = spec(&again);
        if let Some(found) = found.as_mut().and_then(Value::as_object_mut).filter(|_| record.kind() == Kind::Pod) {
            found.shift_remove("nodeName");
        }
        assert_eq!(found, expected, "{}", record.key());
    }
    let mut cordoned = node();
    cordoned.spec.unschedulable = true;
    cordoned.spec.taints = vec![Taint { key: "k".into(), value: String::new(), effect: TaintEffect::NoExecute }];
    let again = decode_value(shown(cordoned.clone()), Some(Kind::Node), "", Strictness::Strict).unwrap().record;
    assert_eq!(again.as_node().unwrap().spec, cordoned.spec);
}

#[test]
fn metadata_says_who_owns_it_and_that_it_is_ending() {
    let value = shown(finished_job());
    let metadata = &value["metadata"];
    assert_eq!(metadata["resourceVersion"], "12");
    assert_eq!(metadata["creationTimestamp"], "2026-01-01T00:00:00Z");
    assert_eq!(metadata["deletionTimestamp"], "2026-01-01T00:00:10Z");
    assert_eq!(metadata["deletionGracePeriodSeconds"], 0);
    assert_eq!(metadata["finalizers"], json!(["foregroundDeletion"]));
    assert_eq!(metadata["annotations"][SET_ANNOTATION], "grp/pos/shop");
    assert_eq!(
        metadata["ownerReferences"],
        json!([{ "apiVersion": "batch/v1", "kind": "CronJob", "name": "c", "uid": "uid-c", "controller": true, "blockOwnerDeletion": true }])
    );
    let mut ending = pod();
    ending.meta.deleting = Some(Deleting { since: at(0), grace_s: 30, foreground: false });
    let value = shown(ending);
    assert_eq!(value["metadata"]["deletionTimestamp"], "2026-01-01T00:00:30Z");
    assert_eq!(value["metadata"]["deletionGracePeriodSeconds"], 30);
    assert_eq!(value["metadata"].get("ownerReferences"), None);
}

#[track_caller]
fn condition<'a>(value: &'a Value, kind: &str) -> &'a Value {
    let all = value["status"]["conditions"].as_array().unwrap();
    all.iter().find(|c| c["type"] == kind).unwrap_or_else(|| panic!("no {kind} in {value:#}"))
}

#[track_caller]
fn check_condition(value: &Value, kind: &str, status: &str, reason: Option<&str>, message: Option<&str>) {
    let c = condition(value, kind);
    let found = (c["status"].as_str().unwrap(), c["reason"].as_str(), c["message"].as_str());
    assert_eq!(found, (status, reason, message), "{kind}");
}

#[test]
fn an_unscheduled_pod_has_no_containers_and_says_why() {
    let mut p = pod();
    p.status.started = None;
    p.status.unschedulable = Some("0/1 nodes are available: 1 node(s) didn't match node selector.".into());
    let value = shown(p);
    check_condition(
        &value,
        "PodScheduled",
        "False",
        Some("Unschedulable"),
        value["status"]["conditions"][0]["message"].as_str(),
    );
    assert_eq!(value["status"]["conditions"].as_array().unwrap().len(), 1);
    for absent in ["containerStatuses", "hostIP", "podIP", "startTime", "initContainerStatuses"] {
        assert_eq!(value["status"].get(absent), None, "{absent}");
    }
    assert_eq!(value["spec"].get("nodeName"), None);
    assert_eq!(value["status"]["qosClass"], "BestEffort");
}

#[test]
fn a_pod_that_initialises_says_what_it_waits_for() {
    let mut p = pod();
    p.status.init[0].state = ContainerState::Starting { since: at(2) };
    let value = shown(p);
    check_condition(&value, "PodScheduled", "True", None, None);
    check_condition(
        &value,
        "Initialized",
        "False",
        Some("ContainersNotInitialized"),
        Some("containers with incomplete status: [i]"),
    );
    check_condition(
        &value,
        "Ready",
        "False",
        Some("ContainersNotReady"),
        Some("containers with unready status: [a b]"),
    );
    assert_eq!(
        value["status"]["initContainerStatuses"][0]["state"],
        json!({ "waiting": { "reason": "PodInitializing" } })
    );
    assert_eq!(value["spec"]["nodeName"], "gateway-7");
    assert_eq!(value["status"]["hostIPs"], json!([{ "ip": "10.0.0.7" }]));
}

#[test]
fn container_statuses_tell_of_both_attempts() {
    let mut p = pod();
    p.status.phase = Phase::Running;
    p.status.init[0].state = ContainerState::Ended(ended(0, "Completed"));
    let a = &mut p.status.containers[0];
    a.state =
        ContainerState::Waiting { reason: "CrashLoopBackOff".into(), message: "back-off 10s".into(), retry: None };
    (a.last, a.restarts) = (Some(ended(1, "Error")), 2);
    let b = &mut p.status.containers[1];
    b.state = ContainerState::Running { started: at(5), pid: 99 };
    (b.last, b.restarts) = (Some(Ended { started: None, ..ended(128, "StartError") }), 1);
    p.status.ready = Ready { is: false, since: Some(at(5)) };
    let value = shown(p);
    let (a, b) = (&value["status"]["containerStatuses"][0], &value["status"]["containerStatuses"][1]);
    assert_eq!(a["state"], json!({ "waiting": { "reason": "CrashLoopBackOff", "message": "back-off 10s" } }));
    assert_eq!(a["lastState"]["terminated"]["containerID"], "pinnace://uid-1/a/2");
    assert_eq!(a["containerID"], "pinnace://uid-1/a/2");
    assert_eq!((&a["ready"], &a["started"], &a["restartCount"]), (&json!(false), &json!(false), &json!(2)));
    assert_eq!(b["state"], json!({ "running": { "startedAt": "2026-01-01T00:00:05Z" } }));
    assert_eq!(b["lastState"]["terminated"]["startedAt"], "1970-01-01T00:00:00Z");
    assert_eq!(b["lastState"]["terminated"]["containerID"], "pinnace://uid-1/b/0");
    assert_eq!((&b["containerID"], &b["ready"]), (&json!("pinnace://uid-1/b/1"), &json!(true)));
    check_condition(
        &value,
        "ContainersReady",
        "False",
        Some("ContainersNotReady"),
        Some("containers with unready status: [a]"),
    );
    assert_eq!(condition(&value, "Ready")["lastTransitionTime"], "2026-01-01T00:00:05Z");
}

#[test]
fn a_finished_pod_is_not_ready_because_it_is_done() {
    let mut p = pod();
    p.status.init[0].state = ContainerState::Ended(ended(0, "Completed"));
    p.status.phase = Phase::Succeeded;
    let value = shown(p.clone());
    check_condition(&value, "Ready", "False", Some("PodCompleted"), None);
    check_condition(&value, "Initialized", "True", Some("PodCompleted"), None);
    check_condition(&value, "PodReadyToStartContainers", "False", None, None);
    p.status.phase = Phase::Failed;
    p.status.reason = "DeadlineExceeded".into();
    let value = shown(p);
    check_condition(&value, "ContainersReady", "False", Some("PodFailed"), None);
    assert_eq!(value["status"]["reason"], "DeadlineExceeded");
}

#[test]
fn a_job_shows_its_zero_counters_where_kubernetes_does() {
    let status = shown(job())["status"].clone();
    assert_eq!(status, json!({ "terminating": 0, "uncountedTerminatedPods": {}, "ready": 0 }));
}

#[test]
fn a_node_says_what_it_cannot_do() {
    let mut n = node();
    n.status.clock_held = true;
    let value = shown(n);
    check_condition(
        &value,
        "LimitsEnforced",
        "False",
        Some("HostLacksSupport"),
        Some("no memory controller; not root"),
    );
    assert_eq!(condition(&value, "ClockTrusted")["status"], "False");
    assert_eq!(condition(&value, "Ready")["status"], "True");
    assert_eq!(value["metadata"]["annotations"][GROUPS_ANNOTATION], "pos,berlin");
    assert_eq!(value["status"]["capacity"], json!({ "cpu": "4", "memory": "1048576Ki", "pods": "110" }));
    assert_eq!(value["status"]["addresses"][0], json!({ "type": "InternalIP", "address": "10.0.0.7" }));
}

#[test]
fn a_set_tells_what_became_of_each_object() {
    let key = SetKey { scope: Scope::All, slot: "shop".into() };
    let members = [
        ("a", MemberState::Applied),
        ("b", MemberState::ShadowedBy(SetKey { scope: Scope::Node, slot: "own".into() })),
        ("c", MemberState::Conflict("made locally".into())),
        ("d", MemberState::Deleted),
    ];
    let objects = members.into_iter().map(|(name, state)| {
        (Key::new(Kind::Job, "default", name), Member { uid: Uid::new("u"), state, finished: name == "a" })
    });
    let mut set = Set {
        meta: Meta::named("", "all.shop"),
        key,
        rev: 7,
        sha: "ab".into(),
        wants: Vec::new(),
        objects: objects.collect(),
        rejected: None,
        has_header: true,
    };
    let value = shown(set.clone());
    assert_eq!(value["spec"], json!({ "scope": "all", "slot": "shop" }));
    assert_eq!(value["status"]["phase"], "Committed");
    let counts = (&value["status"]["appliedObjects"], &value["status"]["desiredObjects"]);
    assert_eq!(counts, (&json!(1), &json!(4)));
    let told: Vec<String> = value["status"]["members"]
        .as_array()
        .unwrap()
        .iter()
        .map(|m| {
            format!(
                "{} {} {}",
                m["name"].as_str().unwrap(),
                m["state"].as_str().unwrap(),
                m["message"].as_str().unwrap_or("-")
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            "a Applied -",
            "b Shadowed set node/own has the right of way",
            "c Conflict made locally",
            "d Deleted deleted on the device; it stays so until the set changes"
        ]
    );
    set.rejected = Some(Rejected { rev: 8, sha: "cd".into(), why: Failure::new(Reason::BadRequest, "broken") });
    let status = &shown(set)["status"];
    assert_eq!(
        (&status["phase"], &status["rev"], &status["rejectedRev"], &status["message"]),
        (&json!("Rejected"), &json!(7), &json!(8), &json!("broken"))
    );
}

#[test]
fn a_failure_names_a_resource_and_an_invalid_object_its_kind() {
    assert_eq!(
        failure(&Failure::not_found(Kind::Job, "x")),
        json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": "jobs.batch \"x\" not found", "reason": "NotFound",
            "details": { "name": "x", "group": "batch", "kind": "jobs" }, "code": 404,
        })
    );
    let invalid = Failure::invalid(Kind::Job, "x", vec![Cause::required("spec.template", "")]);
    assert_eq!(
        failure(&invalid)["details"],
        json!({ "name": "x", "group": "batch", "kind": "Job", "causes": [
            { "reason": "FieldValueRequired", "message": "Required value", "field": "spec.template" }] })
    );
    assert_eq!(failure(&Failure::new(Reason::NotFound, "404 page not found")).get("details"), None);
    check_oracle::<k8s_openapi::apimachinery::pkg::apis::meta::v1::Status>(&failure(&invalid));
}
