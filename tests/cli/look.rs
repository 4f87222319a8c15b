//! `get`, `describe`, `logs`, `events`, `version`: looking changes nothing.

use serde_json::{Value, json};

use crate::fake::{Fake, not_found};
use crate::{EVENTS, JOBS, PODS, get};

pub fn job(name: &str) -> Value {
    json!({
        "apiVersion": "batch/v1", "kind": "Job",
        "metadata": {"name": name, "namespace": "default", "uid": "u1", "labels": {"app": "x"}},
        "spec": {"parallelism": 2, "completions": 5, "backoffLimit": 6, "suspend": false, "completionMode": "NonIndexed",
            "selector": {"matchLabels": {"batch.kubernetes.io/controller-uid": "u1"}},
            "template": {"metadata": {"labels": {"app": "x"}}, "spec": {"containers": [
                {"name": "main", "image": "busybox", "command": ["sh", "-c", "true"],
                 "env": [{"name": "A", "value": "1"}], "resources": {"limits": {"memory": "64Mi"}}}]}}},
        "status": {"active": 2, "ready": 1, "succeeded": 3, "startTime": "2026-01-01T00:00:00Z"},
    })
}

pub fn table(rows: &[(&str, &[&str])]) -> Value {
    let columns = ["Name", "Status", "Completions", "Duration", "Age"].map(|name| json!({"name": name, "priority": 0}));
    let mut columns = columns.to_vec();
    columns.push(json!({"name": "Images", "priority": 1}));
    let rows: Vec<Value> = rows
        .iter()
        .map(|(name, cells)| {
            let mut all = vec![json!(name)];
            all.extend(cells.iter().map(|c| json!(c)));
            let labels = json!({"name": name, "namespace": "default", "labels": {"app": name}});
            json!({"cells": all, "object": {"metadata": labels}})
        })
        .collect();
    json!({"kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": {"resourceVersion": "7"},
        "columnDefinitions": columns, "rows": rows})
}

pub fn two_jobs() -> Value {
    table(&[("a", &["Complete", "1/1", "3s", "5m"]), ("long-name", &["Running", "2/5", "10s", "10s"])])
}

#[test]
fn a_list_is_shown_in_the_nodes_columns() {
    let expected = "\
NAME        STATUS     COMPLETIONS   DURATION   AGE
a           Complete   1/1           3s         5m
long-name   Running    2/5           10s        10s
";
    Fake::new().on(&get(JOBS), two_jobs()).run("get jobs").is(0, expected, "");
    let rows = "a           Complete   1/1   3s    5m\nlong-name   Running    2/5   10s   10s\n";
    Fake::new().on(&get(JOBS), two_jobs()).run("get jobs --no-headers").is(0, rows, "");
}

#[test]
fn columns_can_be_added() {
    let wide = json!(["x", "Running", "0/1", "1s", "1s", "busybox"]);
    let mut answer = table(&[("x", &[])]);
    answer["rows"][0]["cells"] = wide;
    let at = "GET /apis/batch/v1/jobs";
    Fake::new().on(at, answer.clone()).run("get jobs -A -o wide --show-labels -L app").is(
        0,
        "NAMESPACE   NAME   STATUS    COMPLETIONS   DURATION   AGE   IMAGES    APP   LABELS\n\
         default     x      Running   0/1           1s         1s    busybox   x     app=x\n",
        "",
    );
}

#[test]
fn several_kinds_stand_apart_and_bear_their_kind() {
    let fake = Fake::new().on(&get(JOBS), two_jobs()).on(&get(PODS), table(&[("p", &["Running", "", "", "1s"])]));
    fake.run("get pods,jobs").is(
        0,
        "NAME    STATUS    COMPLETIONS   DURATION   AGE\n\
         pod/p   Running                            1s\n\
         \n\
         NAME                  STATUS     COMPLETIONS   DURATION   AGE\n\
         job.batch/a           Complete   1/1           3s         5m\n\
         job.batch/long-name   Running    2/5           10s        10s\n",
        "",
    );
}

#[test]
fn nothing_found_is_no_error_and_something_missing_is() {
    let empty = || Fake::new().on(&get(JOBS), table(&[]));
    empty().run("get jobs").is(0, "", "No resources found in default namespace.\n");
    empty().run("get jobs --ignore-not-found").is(0, "", "");
    let x = get(&format!("{JOBS}/x"));
    let missing = || Fake::new().refuse(&x, not_found("jobs.batch", "x"));
    let error = "Error from server (NotFound): jobs.batch \"x\" not found\n";
    missing().run("get job x").is(1, "", error);
    missing().run("get job/x -o yaml").is(1, "", error);
    missing().run("get job x --ignore-not-found").is(0, "", "");
    // What is there is shown all the same.
    let a = get(&format!("{JOBS}/a"));
    missing().on(&a, job("a")).run("get job x a -o name").is(1, "job.batch/a\n", error);
}

#[test]
fn objects_are_shown_in_other_formats() {
    let x = get(&format!("{JOBS}/x"));
    let small = || json!({"kind": "Job", "apiVersion": "batch/v1", "metadata": {"name": "x", "labels": {"b": "1"}}});
    let one = || Fake::new().on(&x, small());
    one().run("get job x -o yaml").is(
        0,
        "apiVersion: batch/v1\nkind: Job\nmetadata:\n  labels:\n    b: \"1\"\n  name: x\n",
        "",
    );
    one().run("get job/x -o jsonpath={.metadata.labels.b}").is(0, "1", "");
    one().run("get job x -o custom-columns=N:.metadata.name,B:.metadata.labels.b").is(0, "N     B\nx     1\n", "");
    let list = || {
        Fake::new().on(
            &get(JOBS),
            json!({"kind": "JobList", "apiVersion": "batch/v1", "items": [
        {"metadata": {"name": "a"}}, {"metadata": {"name": "b"}}]}),
        )
    };
    list().run("get jobs -o name").is(0, "job.batch/a\njob.batch/b\n", "");
    let ran = list().run("get jobs -o json");
    let value: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((value["kind"].as_str(), value["items"][1]["kind"].as_str()), (Some("List"), Some("Job")));
    let sorted = list().run("get jobs -o name --sort-by=.metadata.name");
    assert_eq!(sorted.out, "job.batch/a\njob.batch/b\n");
    let error = "error: couldn't find any field with path \".nope\" in the list of objects\n";
    list().run("get jobs -o name --sort-by=.nope").is(1, "", error);
    list().run("get jobs --sort-by=.nope").is(1, "", error);
}

#[test]
fn selectors_go_to_the_node_and_wrong_words_do_not() {
    let fake = Fake::new().on(&get(JOBS), two_jobs());
    let ran = fake.run_words(&["get", "jobs", "-l", "a=b,c in (d)", "--field-selector", "metadata.name=x"], "");
    ran.asked(&[&format!("GET {JOBS}?labelSelector=a%3Db%2Cc%20in%20%28d%29&fieldSelector=metadata.name%3Dx")]);
    for (words, error) in [
        ("get jbos", "error: the server doesn't have a resource type \"jbos\"; did you mean \"jobs\"?\n"),
        ("get jobs x -l a=b", "error: name cannot be provided when a selector is specified\n"),
        ("get job x -A", "error: a resource cannot be retrieved by name across all namespaces\n"),
        ("get jobs,pods -w", "error: watch is only supported on individual resources and resource collections\n"),
    ] {
        Fake::new().run(words).is(1, "", error).asked(&[]);
    }
}

#[test]
fn a_job_is_described_in_kubectls_layout() {
    let event = json!({"type": "Normal", "reason": "SuccessfulCreate", "message": "Created pod: x-1",
        "source": {"component": "job-controller"}});
    let fake = Fake::new().on(&get(&format!("{JOBS}/x")), job("x")).on(&get(EVENTS), json!({"items": [event]}));
    fake.run("describe job x").is(
        0,
        "\
Name:             x
Namespace:        default
Selector:         batch.kubernetes.io/controller-uid=u1
Labels:           app=x
Annotations:      <none>
Parallelism:      2
Completions:      5
Completion Mode:  NonIndexed
Suspend:          false
Backoff Limit:    6
Start Time:       Thu, 01 Jan 2026 00:00:00 +0000
Pods Statuses:    2 Active (1 Ready) / 3 Succeeded / 0 Failed
Pod Template:
  Labels:  app=x
  Containers:
   main:
    Image:      busybox
    Port:       <none>
    Host Port:  <none>
    Command:
      sh
      -c
      true
    Limits:
      memory:  64Mi
    Environment:
      A:           1
    Mounts:        <none>
  Volumes:         <none>
  Node-Selectors:  <none>
  Tolerations:     <none>
Events:
  Type    Reason            Age        From            Message
  ----    ------            ----       ----            -------
  Normal  SuccessfulCreate  <unknown>  job-controller  Created pod: x-1
",
        "",
    );
}

#[test]
fn annotations_are_shown_but_for_what_apply_keeps() {
    let map = json!({"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "m", "namespace": "default",
        "annotations": {"a": "b", "long": "x".repeat(150), "two": "l1\nl2",
            "kubectl.kubernetes.io/last-applied-configuration": "{}"}}, "data": {"k": "v"}});
    let at = get("/api/v1/namespaces/default/configmaps/m");
    let fake = Fake::new().on(&at, map).on(&get(EVENTS), json!({"items": []}));
    let expected = format!(
        "\
Name:         m
Namespace:    default
Labels:       <none>
Annotations:  a: b
              long:
                {}...
              two:
                l1
                l2

Data
====
k:
----
v


BinaryData
====

Events:  <none>
",
        "x".repeat(138)
    );
    fake.run("describe cm m").is(0, &expected, "");
}

fn pod(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default", "uid": "u2"},
        "spec": {"nodeName": "gw", "containers": [{"name": "a", "image": "x"}, {"name": "b"}],
            "tolerations": [{"key": "k", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 5}]},
        "status": {"phase": "Running", "hostIP": "10.0.0.1", "podIP": "10.0.0.1", "qosClass": "BestEffort",
            "containerStatuses": [
                {"name": "a", "ready": true, "restartCount": 2, "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}},
                 "lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}},
                {"name": "b", "state": {"waiting": {"reason": "CrashLoopBackOff"}}}],
            "conditions": [{"type": "Ready", "status": "False"}]},
    })
}

#[test]
fn a_pod_is_described_by_the_beginning_of_its_name() {
    let fake = Fake::new()
        .refuse(&get(&format!("{PODS}/p")), not_found("pods", "p"))
        .on(&get(PODS), json!({"items": [pod("p-1"), pod("q-1")]}))
        .on(&get(EVENTS), json!({"items": []}));
    fake.run("describe pod p").is(
        0,
        "\
Name:         p-1
Namespace:    default
Node:         gw/10.0.0.1
Labels:       <none>
Annotations:  <none>
Status:       Running
IP:           10.0.0.1
IPs:          <none>
Containers:
  a:
    Container ID:   
    Image:          x
    Image ID:       
    Port:           <none>
    Host Port:      <none>
    State:          Running
      Started:      Thu, 01 Jan 2026 00:00:00 +0000
    Last State:     Terminated
      Reason:       OOMKilled
      Exit Code:    137
    Ready:          True
    Restart Count:  2
    Environment:    <none>
    Mounts:         <none>
  b:
    Container ID:   
    Image:          
    Image ID:       
    Port:           <none>
    Host Port:      <none>
    State:          Waiting
      Reason:       CrashLoopBackOff
    Ready:          False
    Restart Count:  0
    Environment:    <none>
    Mounts:         <none>
Conditions:
  Type           Status
  Ready          False 
Volumes:         <none>
QoS Class:       BestEffort
Node-Selectors:  <none>
Tolerations:     k:NoExecute op=Exists for 5s
Events:          <none>
",
        "",
    );
}

#[test]
fn logs_are_those_of_the_pod_the_container_and_the_lines_asked_for() {
    let p = get(&format!("{PODS}/p"));
    let log = format!("GET {PODS}/p/log");
    let fake = || Fake::new().on(&p, pod("p")).text(&log, "one\ntwo");
    let ran = fake().run("logs p -c b --tail=2 --since=90s --timestamps -p");
    ran.is(0, "one\ntwo", "")
        .asked(&[&p, &format!("{log}?container=b&previous=true&timestamps=true&tailLines=2&sinceSeconds=90")]);
    fake().run("logs p").is(0, "one\ntwo", "Defaulted container \"a\" out of: a, b\n");
    fake().run("logs p b").is(0, "one\ntwo", "");
    fake().run("logs p -c c").is(1, "", "error: container c is not valid for pod p\n");
    fake().run("logs p --all-containers --prefix").is(
        0,
        "[pod/p/a] one\n[pod/p/a] two[pod/p/b] one\n[pod/p/b] two",
        "",
    );
    fake().run("logs p --since=1").is(1, "", "error: invalid --since: time: missing unit in duration \"1\"\n");
    let waiting = json!({"kind": "Status", "code": 400, "reason": "BadRequest", "message": "container \"a\" in pod \"p\" is waiting to start: ContainerCreating"});
    let fake = Fake::new().on(&p, pod("p")).refuse(&log, waiting);
    fake.run("logs p -c a").is(
        1,
        "",
        "Error from server (BadRequest): container \"a\" in pod \"p\" is waiting to start: ContainerCreating\n",
    );
}

#[test]
fn a_jobs_log_is_that_of_one_of_its_pods() {
    let fake = Fake::new()
        .on(&get(&format!("{JOBS}/x")), job("x"))
        .on(&get(PODS), json!({"metadata": {"resourceVersion": "1"}, "items": [pod("x-1"), pod("x-2")]}))
        .text(&format!("GET {PODS}/x-1/log"), "hello\n");
    let ran = fake.run("logs job/x -c a");
    ran.is(0, "hello\n", "Found 2 pods, using pod/x-1\n");
    assert!(ran.asked[1].0.ends_with("labelSelector=batch.kubernetes.io%2Fcontroller-uid%3Du1"), "{:?}", ran.asked);
    Fake::new().run("logs cronjob/x").is(
        1,
        "",
        "error: a CronJob has no log of its own; those of its Jobs have: `pinnace get jobs`, then `pinnace logs job/x-…`\n",
    );
}

#[test]
fn events_are_listed_the_latest_last() {
    let event = |name: &str, kind: &str, last: &str, message: &str| {
        json!({"metadata": {"name": name}, "type": kind, "reason": "R", "message": message, "lastTimestamp": last,
            "involvedObject": {"kind": "Pod", "name": name}})
    };
    let list = || {
        json!({"items": [
        event("b", "Warning", "2026-01-01T00:00:02Z", "second"), event("a", "Normal", "2026-01-01T00:00:01Z", "first\n")]})
    };
    let head = "LAST SEEN   TYPE      REASON   OBJECT   MESSAGE\n";
    let (first, second) =
        ("<unknown>   Normal    R        Pod/a    first\n", "<unknown>   Warning   R        Pod/b    second\n");
    Fake::new().on(&get(EVENTS), list()).run("events").is(0, &format!("{head}{first}{second}"), "");
    Fake::new().on(&get(EVENTS), list()).run("events --types=warning").is(0, &format!("{head}{second}"), "");
    let ran = Fake::new().on(&get(EVENTS), json!({"items": []})).run("events --for job/x");
    ran.is(0, "", "No events found in default namespace.\n");
    ran.asked(&[&format!("GET {EVENTS}?fieldSelector=involvedObject.kind%3DJob%2CinvolvedObject.name%3Dx")]);
}

#[test]
fn the_version_is_told_with_and_without_a_node() {
    let own = env!("CARGO_PKG_VERSION");
    let fake = Fake::new().on("GET /version", json!({"gitVersion": "v1.32.0+pinnace"}));
    fake.run("version").is(0, &format!("Client Version: v{own}\nServer Version: v1.32.0+pinnace\n"), "");
    Fake::new().run("version --client").is(0, &format!("Client Version: v{own}\n"), "").asked(&[]);
    let ran = Fake::new().run("--socket /nonexistent/s version");
    let refused = "The connection to the node at /nonexistent/s was refused - is pinnace node running? (systemctl status pinnace)\n";
    ran.is(1, &format!("Client Version: v{own}\n"), refused);
}

#[test]
fn wrong_usage_ends_with_one_and_help_with_zero() {
    for words in ["get", "scale job x", "delete", "wait job/x", "frobnicate", "node --nope"] {
        let ran = Fake::new().run(words);
        assert_eq!((ran.code, ran.out.as_str()), (1, ""), "{words}");
        let lines: Vec<&str> = ran.err.lines().collect();
        assert!(lines[0].starts_with("error: ") && lines[1].starts_with("See 'pinnace "), "{words}: {}", ran.err);
    }
    let nope = "error: unknown flag: --nope\nSee 'pinnace get --help' for usage.\n";
    Fake::new().run("get pods --nope").is(1, "", nope).asked(&[]);
    for words in ["", "rollout"] {
        let ran = Fake::new().run(words);
        assert!(ran.code == 1 && ran.out.is_empty() && ran.err.contains("Usage: pinnace"), "{words}: {ran:?}");
    }
    for words in ["--help", "get --help", "-h", "--version", "rollout undo --help"] {
        assert_eq!(Fake::new().run(words).code, 0, "{words}");
    }
}
