//! Flags as kubectl's: switches with values, files instead of names, dry runs, help behind a word; and a reader of the
//! output that goes.

use serde_json::{Value, json};

use crate::fake::{Fake, not_found};
use crate::{EVENTS, JOBS, PODS, get};

fn job() -> Value {
    json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "x", "namespace": "lab", "uid": "u"}, "spec": {}})
}

/// A node with one Job in the namespace `lab`, and a file that names it.
fn lab() -> Fake {
    let x = "/apis/batch/v1/namespaces/lab/jobs/x";
    let fake = Fake::new().on(&get(x), job()).on(&format!("PATCH {x}/scale"), json!({}));
    fake.file("x.yaml", "apiVersion: batch/v1\nkind: Job\nmetadata: {name: x, namespace: lab}\n");
    fake
}

#[test]
fn a_switch_may_have_a_value() {
    let jobs = |words: &str| {
        let table = json!({"kind": "Table", "columnDefinitions": [{"name": "Name"}],
            "rows": [{"cells": ["x"], "object": {"metadata": {"name": "x", "namespace": "default"}}}]});
        Fake::new().on(&get(JOBS), table).run(&format!("get jobs {words}"))
    };
    jobs("--no-headers=true").is(0, "x\n", "");
    jobs("--no-headers=1 -w=false").is(0, "x\n", "");
    jobs("--no-headers=F --watch=false").is(0, "NAME\nx\n", "");
    jobs("--no-headers=false -A=0").is(0, "NAME\nx\n", "");
    let wrong = jobs("--no-headers=maybe");
    assert!(wrong.code == 1 && wrong.err.contains("strconv.ParseBool: parsing \"maybe\": invalid syntax"), "{wrong:?}");
    // A word behind a switch is no value of it.
    let x = get(&format!("{JOBS}/x"));
    let missing = |words: &str| Fake::new().refuse(&x, not_found("jobs.batch", "x")).run(words);
    missing("get --ignore-not-found job x").is(0, "", "");
    missing("get --ignore-not-found=true job x").is(0, "", "");
    assert_eq!(missing("get job x --ignore-not-found=false").code, 1);
    // The help says nothing of it.
    let help = Fake::new().run("get --help");
    assert!(help.out.contains("\n  -w, --watch \n") || help.out.contains("--watch  "), "{}", help.out);
}

#[test]
fn objects_that_vanish_meanwhile_are_no_failure_of_a_delete_of_all() {
    let pod = |name: &str| json!({"metadata": {"name": name, "namespace": "default", "uid": name}});
    let two = || {
        let fake = Fake::new().on(&get(PODS), json!({"items": [pod("a"), pod("b")]}));
        fake.on(&format!("DELETE {PODS}/a"), pod("a")).refuse(&format!("DELETE {PODS}/b"), not_found("pods", "b"))
    };
    let error = "Error from server (NotFound): pods \"b\" not found\n";
    two().run("delete pods --all --wait=false").is(0, "pod \"a\" deleted\n", "");
    two().run("delete pods -l k=v --wait=0").is(0, "pod \"a\" deleted\n", "");
    two().run("delete pods --all --wait=false --ignore-not-found=false").is(1, "pod \"a\" deleted\n", error);
    two().run("delete pod b --wait=false").is(1, "", error);
    two().run("delete pod b --wait=false --ignore-not-found=true").is(0, "", "");
}

#[test]
fn a_file_says_which_objects_are_meant() {
    lab().run("get -f x.yaml -o name").is(0, "job.batch/x\n", "");
    lab().run("get -f x.yaml -o jsonpath={.metadata.uid}").is(0, "u", "");
    lab().run("scale -f x.yaml --replicas=2").is(0, "job.batch/x scaled\n", "");
    assert_eq!(lab().run("get job x -f x.yaml").code, 1);
    assert_eq!(lab().run("get").code, 1);
    assert_eq!(lab().run("get -f x.yaml -n other").code, 1);
    lab().run("get -f nope.yaml").is(1, "", "error: the path \"nope.yaml\" does not exist\n");
    let ran = lab().run("apply -f https://example.com/x.yaml");
    assert!(ran.code == 1 && ran.err.contains("addresses are not fetched"), "{}", ran.err);
}

#[test]
fn a_kind_may_have_its_version() {
    for word in ["cronjobs.v1beta1.batch", "cronjobs.v1.batch", "cj.batch"] {
        let ran = Fake::new().run(&format!("get {word} x"));
        ran.asked(&[&get("/apis/batch/v1/namespaces/default/cronjobs/x")]);
    }
    let error = "error: the server doesn't have a resource type \"cronjobs.v7.batch\"; did you mean \"cronjobs\"?\n";
    Fake::new().run("get cronjobs.v7.batch").is(1, "", error);
}

#[test]
fn labels_and_nodes_change_only_on_paper() {
    let x = format!("{JOBS}/x");
    let fake = || Fake::new().on(&get(&x), job()).on(&format!("PATCH {x}"), job());
    fake().run("label job x a=b --dry-run=client").is(0, "job.batch/x labeled (dry run)\n", "").changed(&[]);
    let ran = fake().run("annotate job x a=b --dry-run=server");
    let patch = (format!("PATCH {x}?dryRun=All"), json!({"metadata": {"annotations": {"a": "b"}}}));
    ran.is(0, "job.batch/x annotated (server dry run)\n", "").changed(&[(&patch.0, patch.1)]);
    let node = json!({"metadata": {"name": "gw"}, "spec": {}});
    let pod = json!({"metadata": {"name": "p", "namespace": "default"}, "status": {"containerStatuses": [{"state": {"running": {}}}]}});
    let fake = || {
        let fake = Fake::new().on("GET /api/v1/nodes", json!({"items": [node]}));
        fake.on("GET /api/v1/pods", json!({"items": [pod]})).on("PATCH /api/v1/nodes/gw", json!({}))
    };
    fake().run("cordon --dry-run=client").is(0, "node/gw cordoned (dry run)\n", "").changed(&[]);
    let ran = fake().run("cordon --dry-run=server");
    let patch = ("PATCH /api/v1/nodes/gw?dryRun=All", json!({"spec": {"unschedulable": true}}));
    ran.is(0, "node/gw cordoned (server dry run)\n", "").changed(&[patch]);
    let ran = fake().run("drain --dry-run=client");
    let out = "node/gw cordoned (dry run)\nnode/gw drained (dry run)\n";
    ran.is(0, out, "evicting pod default/p (dry run)\n").changed(&[]);
    fake().run("taint nodes --all a:NoSchedule --dry-run=client").is(0, "node/gw tainted (dry run)\n", "").changed(&[]);
    let ran = fake().run("taint nodes --all a:NoSchedule");
    ran.is(0, "node/gw tainted\n", "");
    assert_eq!(ran.asked.len(), 2, "{:?}", ran.asked);
}

#[test]
fn help_is_a_word_too() {
    for verb in ["get", "rollout undo"] {
        let flag = Fake::new().run(&format!("{verb} --help"));
        Fake::new().run(&format!("help {verb}")).is(0, &flag.out, "");
    }
    let top = Fake::new().run("--help");
    Fake::new().run("help").is(0, &top.out, "");
}

#[test]
fn a_job_has_as_many_pods_as_an_int32_can_count() {
    let ran = Fake::new().run("scale job x --replicas=4294967295");
    assert!(ran.err.contains("4294967295 is not in 0..=2147483647"), "{}", ran.err);
    ran.asked(&[]);
}

#[test]
fn an_image_that_no_pod_can_name_is_not_added() {
    let ran = Fake::new().run("image add Bad/X /tmp");
    let error = "error: image name \"Bad/X\": a repository has lower case letters only\n";
    ran.is(1, "", error).asked(&[]);
}

#[test]
fn what_is_not_there_is_told_as_kubectl_tells_it() {
    let nope = format!("{PODS}/nope");
    let fake = Fake::new().refuse(&get(&nope), not_found("pods", "nope"));
    let error = "error: error from server (NotFound): pods \"nope\" not found in namespace \"default\"\n";
    fake.run("logs nope").is(1, "", error);
    let list = json!({"metadata": {"resourceVersion": "5"}, "items": [job()]});
    let fake = || Fake::new().on(&get(&format!("{JOBS}/x")), job()).on(&get(JOBS), list.clone());
    let late = "error: condition not met for jobs/x\n";
    fake().run("wait --for=condition=complete job/x --timeout=0s").is(1, "", late);
    fake().run("wait --for=delete job/x --timeout=0s").is(1, "", late);
}

#[test]
fn a_reader_that_goes_is_no_failure() {
    let pod = json!({"metadata": {"name": "p", "namespace": "default"}, "spec": {"containers": [{"name": "a"}]}});
    let fake = || {
        let fake = Fake::new().on(&get(&format!("{PODS}/p")), pod.clone()).on(&get(PODS), json!({"items": [pod]}));
        fake.text(&get(&format!("{PODS}/p/log")), "hello\n").on(&get(EVENTS), json!({"items": []}))
    };
    for words in
        ["describe pods", "logs p", "get pods", "get pods -o yaml", "completion bash", "config schema", "--help"]
    {
        fake().run_unread(words).is(0, "", "");
    }
    let schedule: Vec<&str> = vec!["schedule", "* * * * *", "-n", "100000"];
    Fake::new().run_words_unread(&schedule).is(0, "", "");
}

#[test]
fn a_store_is_dumped_from_the_directory_that_was_said() {
    let dump = |place: &str| {
        let head = json!({"format": 1, "revision": 3, "data_dir": place});
        Fake::new().text("GET /apis/pinnace.dev/v1/dump", &format!("{head}\n{{}}\n"))
    };
    let all = |place: &str| format!("{}\n{{}}\n", json!({"format": 1, "revision": 3, "data_dir": place}));
    dump("/var/lib/x").run("store dump").is(0, &all("/var/lib/x"), "");
    dump("/proc").run("store dump --data-dir /proc/../proc").is(0, &all("/proc"), "");
    let ran = dump("/proc").run("store dump --data-dir /nope");
    assert_eq!((ran.code, ran.out.as_str()), (1, ""), "{ran:?}");
    assert!(ran.err.starts_with("error: the node that answers has its store in /proc, not in /nope, and "), "{ran:?}");
}

#[test]
fn a_schedule_is_asked_for_the_years_it_knows() {
    for from in ["0001-01-01T00:00:00Z", "1969-12-31T23:59:59Z", "9999-12-31T23:59:59Z", "2101-01-01T00:00:00Z", "soon"]
    {
        let error = format!(
            "error: --from: {from:?} must be an RFC 3339 time of the years 1970 to 2100, such as 2026-01-31T09:30:00Z\n"
        );
        Fake::new().run_words(&["schedule", "@daily", "--from", from], "").is(1, "", &error);
    }
    let ran = Fake::new().run_words(&["schedule", "@daily", "-n1", "--from", "1970-01-01T00:00:00Z"], "");
    ran.is(0, "1970-01-02T00:00:00Z\n", "");
}
