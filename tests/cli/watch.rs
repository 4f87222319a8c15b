//! `get -w` and `events -w`: what comes below the first list, also when the watch ends or is too old meanwhile.

use serde_json::{Value, json};

use crate::fake::Fake;
use crate::look::{table, two_jobs};
use crate::{EVENTS, JOBS, get};

/// Ends a watch that would go on: the node may no longer be asked.
fn no_more() -> Value {
    json!({"kind": "Status", "code": 403, "reason": "Forbidden", "message": "no more"})
}

const NO_MORE: &str = "Error from server (Forbidden): no more\n";

fn too_old() -> Value {
    json!({"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"})
}

/// A list or an event's object in the server's columns, at this revision.
fn at(revision: u64, rows: &[(&str, &[&str])]) -> Value {
    let mut table = table(rows);
    table["metadata"]["resourceVersion"] = revision.to_string().into();
    for row in table["rows"].as_array_mut().unwrap() {
        row["object"]["metadata"]["resourceVersion"] = revision.to_string().into();
    }
    table
}

fn since(path: &str, revision: u64) -> String {
    format!("GET {path}?watch=true&resourceVersion={revision}")
}

#[test]
fn a_watch_goes_on_below_the_list_with_one_header() {
    let later = at(8, &[("a", &["Failed", "0/1", "4s", "5m"])]);
    let fake = Fake::new().on(&get(JOBS), two_jobs());
    let fake = fake.watch(&since(JOBS, 7), &[("MODIFIED", later), ("BOOKMARK", json!({})), ("ERROR", no_more())]);
    fake.run("get jobs -w").is(
        1,
        "NAME        STATUS     COMPLETIONS   DURATION   AGE\n\
         a           Complete   1/1           3s         5m\n\
         long-name   Running    2/5           10s        10s\n\
         a           Failed     0/1           4s         5m\n",
        NO_MORE,
    );
}

/// The API server ends every watch after a while; nothing is shown of it.
#[test]
fn a_watch_that_ends_goes_on_where_it_ended() {
    let row = |revision, status| at(revision, &[("a", &[status, "0/1", "4s", "5m"])]);
    let fake = Fake::new()
        .on(&get(JOBS), row(7, "Running"))
        .watch(&since(JOBS, 7), &[("MODIFIED", row(9, "Suspended"))])
        .watch(&since(JOBS, 9), &[("MODIFIED", row(10, "Running"))])
        .refuse(&since(JOBS, 10), no_more());
    let ran = fake.run("get jobs -w --no-headers");
    let rows = "a     Running   0/1   4s    5m\na     Suspended   0/1   4s    5m\na     Running     0/1   4s    5m\n";
    ran.is(1, rows, NO_MORE);
    ran.asked(&[&get(JOBS), &since(JOBS, 7), &since(JOBS, 9), &since(JOBS, 10)]);
}

/// As after a restart. Of what happened meanwhile nothing is missing, and what did not change is not shown again.
#[test]
fn a_watch_that_is_too_old_tells_what_changed_meanwhile() {
    let before = at(7, &[("gone", &["Running", "", "", "1s"]), ("same", &["Complete", "", "", "1s"])]);
    let mut after = at(
        20,
        &[
            ("new", &["Running", "", "", "0s"]),
            ("other", &["Failed", "", "", "3s"]),
            ("same", &["Complete", "", "", "5m"]),
        ],
    );
    after["rows"][0]["object"]["metadata"]["resourceVersion"] = "19".into();
    let other = at(8, &[("other", &["Running", "", "", "1s"])]);
    let fakes = [
        Fake::new().watch(&since(JOBS, 7), &[("ADDED", other.clone()), ("ERROR", too_old())]),
        Fake::new().watch(&since(JOBS, 7), &[("ADDED", other)]).refuse(&since(JOBS, 8), too_old()),
    ];
    for fake in fakes {
        let fake =
            fake.on(&get(JOBS), before.clone()).on(&get(JOBS), after.clone()).refuse(&since(JOBS, 20), no_more());
        fake.run("get jobs -w -o wide --output-watch-events").is(
            1,
            "EVENT   NAME   STATUS     COMPLETIONS   DURATION   AGE   IMAGES\n\
             ADDED   gone   Running                             1s    \n\
             ADDED   same   Complete                            1s    \n\
             ADDED   other   Running                             1s    \n\
             DELETED   gone    Running                             <unknown>   \n\
             ADDED     new     Running                             0s          \n\
             MODIFIED   other   Failed                              3s          \n",
            NO_MORE,
        );
    }
}

#[test]
fn each_format_goes_on_in_the_same_way() {
    let object = |name: &str, v: &str, revision: u64| {
        let metadata =
            json!({"name": name, "namespace": "default", "uid": name, "resourceVersion": revision.to_string()});
        json!({"metadata": metadata, "data": {"v": v}})
    };
    let list = |revision: u64, items: &[Value]| json!({"kind": "JobList", "metadata": {"resourceVersion": revision.to_string()}, "items": items});
    let run = |words: &str| {
        let fake = Fake::new()
            .on(&get(JOBS), list(7, &[object("gone", "1", 1), object("same", "1", 2), object("x", "1", 3)]))
            .on(&get(JOBS), list(20, &[object("same", "1", 15), object("x", "2", 16)]))
            .refuse(&since(JOBS, 7), too_old())
            .refuse(&since(JOBS, 20), no_more());
        let ran = fake.run(&format!("get jobs {words}"));
        assert_eq!((ran.code, ran.err.as_str()), (1, NO_MORE), "{words}");
        ran.out
    };
    let names = ["job.batch/gone\n", "job.batch/same\n", "job.batch/x\n"];
    let [gone, same, x] = names;
    assert_eq!(run("-w -o name"), [gone, same, x, gone, x].concat());
    assert_eq!(run("--watch-only -o name"), [gone, x].concat());
    assert_eq!(run("-w -o jsonpath={.metadata.name}={.data.v},"), "gone=1,same=1,x=1,gone=1,x=2,");
    assert_eq!(run("-w -o custom-columns=N:.metadata.name --no-headers").lines().count(), 6);
    let yaml = run("--watch-only -o yaml");
    assert!(
        yaml.starts_with("apiVersion: batch/v1\ndata:\n  v: \"1\"\nkind: Job\n") && yaml.contains("\n---\n"),
        "{yaml}"
    );
    let json = run("--watch-only -o json");
    let objects: Vec<Value> = serde_json::Deserializer::from_str(&json).into_iter().map(Result::unwrap).collect();
    let shown: Vec<&Value> = objects.iter().map(|object| &object["data"]["v"]).collect();
    assert_eq!(shown, ["1", "2"], "{json}");
    assert_eq!(objects[1]["kind"], "Job");
}

#[test]
fn events_go_on_with_those_that_happened_meanwhile() {
    let event = |name: &str, at: &str, revision: u64| {
        json!({"metadata": {"name": name, "namespace": "default", "uid": name, "resourceVersion": revision.to_string()},
            "type": "Normal", "reason": name, "involvedObject": {"kind": "Job", "name": "x"}, "lastTimestamp": at,
            "message": "m"})
    };
    let (one, two) = (event("one", "2026-01-01T00:00:01Z", 1), event("two", "2026-01-01T00:00:02Z", 2));
    let (three, four) = (event("three", "2026-01-01T00:00:03Z", 8), event("four", "2026-01-01T00:00:04Z", 9));
    let list = |revision: u64, items: &[&Value]| json!({"kind": "EventList", "metadata": {"resourceVersion": revision.to_string()}, "items": items});
    let fake = Fake::new()
        .on(&get(EVENTS), list(7, &[&one, &two]))
        .refuse(&since(EVENTS, 7), too_old())
        .on(&get(EVENTS), list(20, &[&four, &two, &three]))
        .refuse(&since(EVENTS, 20), no_more());
    let ran = fake.run("events -w -o jsonpath={.reason},");
    ran.is(1, "one,two,three,four,", NO_MORE);
    let fake =
        Fake::new().on(&get(EVENTS), list(7, &[])).watch(&since(EVENTS, 7), &[("ADDED", one), ("ERROR", no_more())]);
    let ran = fake.run("events -w");
    assert!(ran.out.starts_with("LAST SEEN   TYPE     REASON   OBJECT   MESSAGE\n"), "{}", ran.out);
}
