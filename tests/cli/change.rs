//! `apply`, `create`, `replace`, `delete`, `label`: what the node is told, and what is said of it.

use serde_json::{Value, json};

use crate::fake::{Fake, Ran, not_found};
use crate::{JOBS, PODS, get};

const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

const MANIFEST: &str = "\
apiVersion: batch/v1
kind: Job
metadata:
  name: x
spec:
  parallelism: 1
  template:
    spec:
      restartPolicy: Never
      containers:
      - name: main
        command: [\"true\"]
";

/// The manifest as JSON, with the namespace that it is sent with.
fn document() -> Value {
    json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "x", "namespace": "default"},
        "spec": {"parallelism": 1, "template": {"spec": {
            "restartPolicy": "Never", "containers": [{"name": "main", "command": ["true"]}]}}},
    })
}

/// What the annotation holds after the manifest was applied.
fn applied() -> String {
    "{\"apiVersion\":\"batch/v1\",\"kind\":\"Job\",\"metadata\":{\"annotations\":{},\"name\":\"x\",\"namespace\":\"default\"},\
     \"spec\":{\"parallelism\":1,\"template\":{\"spec\":{\"containers\":[{\"command\":[\"true\"],\"name\":\"main\"}],\
     \"restartPolicy\":\"Never\"}}}}\n"
        .to_string()
}

/// The object as a node has it: defaults filled in.
fn stored() -> Value {
    let mut object = document();
    object["metadata"]["uid"] = "u1".into();
    object["metadata"]["annotations"] = json!({LAST_APPLIED: applied()});
    object["spec"]["backoffLimit"] = 6.into();
    object["spec"]["template"]["spec"]["containers"][0]["imagePullPolicy"] = "IfNotPresent".into();
    object["status"] = json!({"active": 1});
    object
}

fn at_x() -> String {
    format!("{JOBS}/x")
}

/// Runs a verb over the manifest, with a change made to its text.
fn with_manifest(fake: Fake, words: &str, from: &str, to: &str) -> Ran {
    fake.file("job.yaml", &MANIFEST.replace(from, to));
    fake.run(&format!("{words} -f job.yaml"))
}

#[test]
fn apply_creates_what_is_not_there() {
    let fake = Fake::new().refuse(&get(&at_x()), not_found("jobs.batch", "x")).on(&format!("POST {JOBS}"), document());
    let mut sent = document();
    sent["metadata"]["annotations"] = json!({LAST_APPLIED: applied()});
    let ran = with_manifest(fake, "apply", "", "");
    ran.is(0, "job.batch/x created\n", "").changed(&[(&format!("POST {JOBS}?fieldValidation=Strict"), sent)]);
}

#[test]
fn apply_sends_only_what_the_file_changes() {
    let there = || Fake::new().on(&get(&at_x()), stored()).on(&format!("PATCH {}", at_x()), stored());
    with_manifest(there(), "apply", "", "").is(0, "job.batch/x unchanged\n", "").changed(&[]);
    let ran = with_manifest(there(), "apply", "parallelism: 1", "parallelism: 3");
    let annotation = applied().replace("\"parallelism\":1", "\"parallelism\":3");
    let patch = json!({"metadata": {"annotations": {LAST_APPLIED: annotation}}, "spec": {"parallelism": 3}});
    ran.is(0, "job.batch/x configured\n", "").changed(&[(&format!("PATCH {}?fieldValidation=Strict", at_x()), patch)]);
    // What the file no longer says goes; the node's own defaults stay.
    let ran = with_manifest(there(), "apply", "  parallelism: 1\n", "");
    assert_eq!(ran.asked[1].1["spec"], json!({"parallelism": null}));
}

#[test]
fn apply_takes_over_what_was_not_applied_and_says_so() {
    let mut object = stored();
    object["metadata"]["annotations"] = Value::Null;
    let fake = Fake::new().on(&get(&at_x()), object).on(&format!("PATCH {}", at_x()), stored());
    let ran = with_manifest(fake, "apply", "", "");
    assert_eq!((ran.code, ran.out.as_str()), (0, "job.batch/x configured\n"));
    assert!(
        ran.err.starts_with("Warning: resource jobs/x is missing the kubectl.kubernetes.io/last-applied"),
        "{}",
        ran.err
    );
}

#[test]
fn a_dry_run_changes_nothing() {
    let there = || Fake::new().on(&get(&at_x()), stored()).on(&format!("PATCH {}", at_x()), stored());
    let ran = with_manifest(there(), "apply --dry-run=client", "parallelism: 1", "parallelism: 3");
    ran.is(0, "job.batch/x configured (dry run)\n", "").changed(&[]);
    let ran = with_manifest(there(), "apply --dry-run=server", "parallelism: 1", "parallelism: 3");
    ran.is(0, "job.batch/x configured (server dry run)\n", "");
    assert!(ran.asked[1].0.ends_with("?fieldValidation=Strict&dryRun=All"), "{:?}", ran.asked);
    with_manifest(Fake::new(), "create --dry-run=client -o name", "", "").is(0, "job.batch/x\n", "").asked(&[]);
}

#[test]
fn a_bad_document_is_told_with_its_line_and_the_good_ones_go_on() {
    let fake = Fake::new().on(&format!("POST {JOBS}"), document());
    let bad = MANIFEST.replace("parallelism", "paralelism");
    fake.file("two.yaml", &format!("{bad}---\n{MANIFEST}"));
    let ran = fake.run("create -f two.yaml -f nope.yaml");
    assert_eq!((ran.code, ran.out.as_str()), (1, "job.batch/x created\n"));
    let lines: Vec<&str> = ran.err.lines().collect();
    assert_eq!(lines.len(), 2, "{}", ran.err);
    assert!(
        lines[0].contains("unknown field \"spec.paralelism\" (two.yaml:6, did you mean \"parallelism\"?)"),
        "{}",
        lines[0]
    );
    assert_eq!(lines[1], "error: the path \"nope.yaml\" does not exist");
}

#[test]
fn what_the_node_refuses_is_told_in_kubectls_words() {
    let exists =
        json!({"kind": "Status", "code": 409, "reason": "AlreadyExists", "message": "jobs.batch \"x\" already exists"});
    let fake = Fake::new().refuse(&format!("POST {JOBS}"), exists);
    with_manifest(fake, "create", "", "").is(
        1,
        "",
        "Error from server (AlreadyExists): error when creating \"job.yaml\": jobs.batch \"x\" already exists\n",
    );
    let invalid = json!({"kind": "Status", "code": 422, "reason": "Invalid", "message": "Job.batch \"x\" is invalid: spec.completions: …",
        "details": {"kind": "Job", "name": "x", "causes": [
            {"field": "spec.completions", "message": "Invalid value: 3: field is immutable"}]}});
    let fake = Fake::new().on(&get(&at_x()), stored()).refuse(&format!("PATCH {}", at_x()), invalid);
    with_manifest(fake, "apply", "parallelism: 1", "completions: 3").is(
        1,
        "",
        "The Job \"x\" is invalid: spec.completions: Invalid value: 3: field is immutable\n",
    );
    let fake = Fake::new().warn(&format!("POST {JOBS}"), document(), "a \\\"word\\\" of care");
    with_manifest(fake, "create", "", "").is(0, "job.batch/x created\n", "Warning: a \"word\" of care\n");
}

#[test]
fn manifests_come_from_directories_and_standard_input() {
    let fake = Fake::new().on(&format!("POST {JOBS}"), document());
    fake.run_words(&["create", "-f", "-"], MANIFEST).is(0, "job.batch/x created\n", "");
    let fake = || {
        let fake = Fake::new().on(&format!("POST {JOBS}"), document());
        fake.file("d/b.yaml", MANIFEST);
        fake.file("d/readme.txt", "no manifest");
        fake.file("d/deeper/c.json", &document().to_string());
        fake
    };
    fake().run("create -f d").is(0, "job.batch/x created\n", "");
    fake().run("create -f d -R").is(0, "job.batch/x created\njob.batch/x created\n", "");
    fake().run("create -f d/readme.txt").is(
        1,
        "",
        "error: error validating \"d/readme.txt\": document at line 1: an object with apiVersion and kind is needed here, not \"no manifest\"\n",
    );
    let none = Fake::new();
    none.file("empty/x.txt", "");
    none.run("apply -f empty").is(
        1,
        "",
        "error: error reading empty: recognized file extensions are [.json .yaml .yml]\n",
    );
    Fake::new().run_words(&["apply", "-f", "-"], "").is(
        1,
        "",
        "error: no objects passed to pinnace: the files hold no documents\n",
    );
}

#[test]
fn the_namespace_is_the_documents_or_the_command_lines() {
    let fake = Fake::new().on("POST /apis/batch/v1/namespaces/lab/jobs", document());
    let ran = with_manifest(fake, "create -n lab", "", "");
    assert_eq!(ran.asked[0].1["metadata"]["namespace"], "lab");
    let fake = Fake::new().on("POST /apis/batch/v1/namespaces/lab/jobs", document());
    with_manifest(fake, "-n lab create", "", "").is(0, "job.batch/x created\n", "");
    let ran = with_manifest(Fake::new(), "create -n lab", "name: x", "name: x\n  namespace: prod");
    assert!(
        ran.err.contains("the namespace from the provided object \"prod\" does not match the namespace \"lab\""),
        "{}",
        ran.err
    );
    ran.asked(&[]);
}

#[test]
fn replace_puts_and_force_deletes_first() {
    let fake = Fake::new().on(&format!("PUT {}", at_x()), document());
    let ran = with_manifest(fake, "replace", "", "");
    ran.is(0, "job.batch/x replaced\n", "").changed(&[(&format!("PUT {}?fieldValidation=Strict", at_x()), document())]);
    let fake = Fake::new()
        .on(&get(&at_x()), stored())
        .on(&format!("DELETE {}", at_x()), stored())
        .on(&get(JOBS), json!({"items": []}))
        .on(&format!("POST {JOBS}"), document());
    with_manifest(fake, "replace --force", "", "").is(0, "job.batch \"x\" deleted\njob.batch/x replaced\n", "");
}

#[test]
fn delete_waits_until_the_object_is_gone() {
    let still = json!({"metadata": {"resourceVersion": "5"}, "items": [stored()]});
    let fake = Fake::new().on(&format!("DELETE {}", at_x()), stored()).on(&get(JOBS), still).watch(
        &format!("GET {JOBS}?fieldSelector=metadata.name%3Dx&watch=true&resourceVersion=5"),
        &[("DELETED", stored())],
    );
    let ran = fake.run("delete job x --timeout=20s");
    let options = json!({"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background"});
    ran.is(0, "job.batch \"x\" deleted\n", "").changed(&[(&format!("DELETE {}", at_x()), options)]);
    assert_eq!(ran.asked.len(), 3, "{:?}", ran.asked);
}

#[test]
fn deletes_options_are_the_flags() {
    let p = format!("{PODS}/p");
    let grace = |words: &str| {
        let fake = Fake::new().on(&format!("DELETE {p}"), json!({"metadata": {"name": "p", "uid": "u"}}));
        let ran = fake.run(&format!("delete pod p --wait=false {words}"));
        assert_eq!(ran.code, 0, "{ran:?}");
        ran.asked[0].1["gracePeriodSeconds"].clone()
    };
    assert_eq!(grace(""), Value::Null);
    assert_eq!(grace("--grace-period=7"), 7);
    assert_eq!(grace("--now"), 1);
    assert_eq!(grace("--grace-period=0"), 1);
    assert_eq!(grace("--grace-period=0 --force"), 0);
    assert_eq!(grace("--force"), 0);
    let fake = Fake::new().on(&format!("DELETE {p}"), json!({}));
    let ran = fake.run("delete pod/p --wait=false --cascade=orphan -o name");
    assert_eq!((ran.out.as_str(), &ran.asked[0].1["propagationPolicy"]), ("pod/p\n", &json!("Orphan")));
}

#[test]
fn delete_takes_all_or_the_labelled_or_those_of_files() {
    let pod = |name: &str| json!({"metadata": {"name": name, "namespace": "default", "uid": name}});
    let list = || {
        let fake = Fake::new().on(&get(PODS), json!({"items": [pod("a"), pod("b")]}));
        fake.on(&format!("DELETE {PODS}/a"), pod("a")).refuse(&format!("DELETE {PODS}/b"), not_found("pods", "b"))
    };
    let error = "Error from server (NotFound): pods \"b\" not found\n";
    list().run("delete pods --all --wait=false --ignore-not-found=false").is(1, "pod \"a\" deleted\n", error);
    let ran = list().run("delete pods -l k=v --wait=false --ignore-not-found");
    ran.is(0, "pod \"a\" deleted\n", "");
    assert_eq!(ran.asked[0].0, format!("GET {PODS}?labelSelector=k%3Dv"));
    Fake::new().on(&get(PODS), json!({"items": []})).run("delete pods --all").is(0, "No resources found\n", "");
    Fake::new().run("delete pods").is(1, "", "error: resource(s) were provided, but no name was specified\n");
    // What is to be deleted need not be valid any more.
    let fake = Fake::new().on(&format!("DELETE {}", at_x()), stored());
    with_manifest(fake, "delete --wait=false", "parallelism", "nonsense").is(0, "job.batch \"x\" deleted\n", "");
}

#[test]
fn a_wait_for_the_end_has_its_time() {
    let still = json!({"metadata": {"resourceVersion": "5"}, "items": [stored()]});
    let fake = Fake::new().on(&format!("DELETE {}", at_x()), stored()).on(&get(JOBS), still);
    fake.run("delete job x --timeout=1ms").is(
        1,
        "job.batch \"x\" deleted\n",
        "error: timed out waiting for the condition on jobs/x\n",
    );
}

#[test]
fn labels_are_set_and_removed() {
    let mut object = stored();
    object["metadata"]["labels"] = json!({"a": "1", "b": "2"});
    let fake = || Fake::new().on(&get(&at_x()), object.clone()).on(&format!("PATCH {}", at_x()), json!({}));
    let patch = |labels: Value| json!({"metadata": {"labels": labels}});
    let at = format!("PATCH {}", at_x());
    let ran = fake().run("label job x c=3 b-");
    ran.is(0, "job.batch/x labeled\n", "").changed(&[(&at, patch(json!({"c": "3", "b": null})))]);
    fake().run("label job/x b-").is(0, "job.batch/x unlabeled\n", "");
    fake().run("label job/x a=1").is(0, "job.batch/x not labeled\n", "").changed(&[]);
    fake().run("label job/x z-").is(0, "label \"z\" not found.\njob.batch/x not labeled\n", "");
    let taken = "error: 'a' already has a value (1), and --overwrite is false\n";
    fake().run("label job/x a=9").is(1, "", taken).changed(&[]);
    fake().run("label job/x a=9 --overwrite").is(0, "job.batch/x labeled\n", "");
    fake().run("label job/x --list").is(0, "a=1\nb=2\n", "");
    let ran = fake().run("annotate job x note=hi");
    ran.is(0, "job.batch/x annotated\n", "").changed(&[(&at, json!({"metadata": {"annotations": {"note": "hi"}}}))]);
}
