//! `create` of what no file holds: the object that the node is sent, and what is said of it.

use serde_json::{Value, json};

use crate::fake::{Fake, Ran, not_found};
use crate::{JOBS, get};

const CRON_JOB: &str = "/apis/batch/v1/namespaces/default/cronjobs/backup";
const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const SECRETS: &str = "/api/v1/namespaces/default/secrets";

fn template() -> Value {
    json!({
        "metadata": {"creationTimestamp": null, "labels": {"team": "a"}, "annotations": {"note": "n"}},
        "spec": {"backoffLimit": 2, "template": {"spec": {
            "restartPolicy": "Never", "containers": [{"name": "main", "image": "x"}]}}},
    })
}

fn cron_job(template: Value) -> Value {
    json!({
        "apiVersion": "batch/v1", "kind": "CronJob",
        "metadata": {"name": "backup", "uid": "u1", "labels": {"not": "taken"}, "annotations": {"not": "taken"}},
        "spec": {"schedule": "0 3 * * *", "jobTemplate": template},
    })
}

fn job_now() -> Value {
    json!({
        "apiVersion": "batch/v1", "kind": "Job",
        "metadata": {
            "name": "now", "namespace": "default", "labels": {"team": "a"},
            "annotations": {"cronjob.kubernetes.io/instantiate": "manual", "note": "n"},
            "ownerReferences": [
                {"apiVersion": "batch/v1", "kind": "CronJob", "controller": true, "name": "backup", "uid": "u1"}],
        },
        "spec": template()["spec"],
    })
}

fn posted(path: &str) -> String {
    format!("POST {path}?fieldValidation=Strict")
}

/// A node with the CronJob, which answers a new Job with that Job.
fn node() -> Fake {
    Fake::new().on(&get(CRON_JOB), cron_job(template())).on(&format!("POST {JOBS}"), job_now())
}

#[test]
fn a_job_of_a_cron_job_has_its_template_and_its_owner() {
    let ran = node().run("create job now --from=cronjob/backup");
    ran.is(0, "job.batch/now created\n", "").changed(&[(&posted(JOBS), job_now())]);
    let ran = node().run("create job --from cj/backup now --dry-run=client -o json");
    let shown: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((ran.code, shown), (0, job_now()));
    ran.asked(&[&get(CRON_JOB)]);
    let ran = node().run("create --dry-run=server job now --from=cronjobs.batch/backup");
    ran.is(0, "job.batch/now created (server dry run)\n", "");
    assert_eq!(ran.asked[1].0, format!("{}&dryRun=All", posted(JOBS)));
    // A template of its own words goes before kubectl's mark, and one without labels gives none.
    let own = json!({"metadata": {"annotations": {"cronjob.kubernetes.io/instantiate": "x"}}, "spec": {}});
    let fake = Fake::new().on(&get(CRON_JOB), cron_job(own)).on(&format!("POST {JOBS}"), job_now());
    let sent = fake.run("create job now --from=cronjob/backup").asked[1].1.clone();
    assert_eq!(sent["metadata"]["annotations"], json!({"cronjob.kubernetes.io/instantiate": "x"}));
    assert_eq!(sent["metadata"].get("labels"), None);
}

#[test]
fn the_namespace_may_stand_anywhere() {
    let lab = |path: &str| path.replace("default", "lab");
    for words in ["-n lab create job now", "create -n lab job now", "create job now -n lab"] {
        let fake =
            Fake::new().on(&get(&lab(CRON_JOB)), cron_job(template())).on(&lab(&format!("POST {JOBS}")), job_now());
        let ran = fake.run(&format!("{words} --from=cronjob/backup"));
        ran.is(0, "job.batch/now created\n", "").asked(&[&get(&lab(CRON_JOB)), &lab(&posted(JOBS))]);
    }
}

#[test]
fn a_job_of_an_image_runs_what_stands_behind_the_dashes() {
    let made = |container: Value| {
        json!({
            "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "now", "namespace": "default"},
            "spec": {"template": {"spec": {"containers": [container], "restartPolicy": "Never"}}},
        })
    };
    let sent = made(json!({"name": "now", "image": "busybox", "command": ["sleep", "--", "-1"]}));
    let ran = node().run("create job now --image=busybox -- sleep -- -1");
    ran.is(0, "job.batch/now created\n", "").changed(&[(&posted(JOBS), sent)]);
    let ran = node().run("create job now --image=busybox -o name");
    ran.is(0, "job.batch/now\n", "");
    ran.changed(&[(&posted(JOBS), made(json!({"name": "now", "image": "busybox"})))]);
}

#[test]
fn what_cannot_be_made_is_told_in_kubectls_words() {
    let check = |words: &str, said: &str| {
        Fake::new().run(words).is(1, "", &format!("error: {said}\n")).asked(&[]);
    };
    check("create job now", "either --image or --from must be specified");
    check("create job now --image=x --from=cronjob/backup", "either --image or --from must be specified");
    check("create job now --from=cronjob/backup -- ls", "cannot specify --from and command");
    check("create job now --from=backup", "from must be an existing cronjob");
    check("create job now --from=job/backup", "from must be an existing cronjob");
    check("create -f x job now --image=x", "cannot set --filename and what is to be created at the same time");
    check("create configmap x --from-literal=a", "invalid literal source a, expected key=value");
    let twice = "cannot add key \"a\", another key by that name already exists in Data for ConfigMap \"x\"";
    check("create configmap x --from-literal=a=1 --from-literal=a=2", twice);
    let fake = Fake::new().refuse(&get(CRON_JOB), not_found("cronjobs.batch", "backup"));
    let ran = fake.run("create job now --from=cronjob/backup");
    ran.is(1, "", "Error from server (NotFound): cronjobs.batch \"backup\" not found\n");
    let there = json!({"kind": "Status", "code": 409, "reason": "AlreadyExists", "message": "x already exists"});
    let full = Fake::new().refuse(&format!("POST {JOBS}"), there.clone());
    full.run("create job now --image=x").is(1, "", "error: failed to create job: x already exists\n");
    let full = Fake::new().refuse("POST /api/v1/namespaces", there);
    full.run("create ns lab").is(1, "", "Error from server (AlreadyExists): x already exists\n");
}

/// Makes one object of its flags in a directory with two files.
fn with_files(path: &str, words: &str) -> Ran {
    let fake = Fake::new().on(&format!("POST {path}"), json!({}));
    fake.file("app.conf", "level=debug\n");
    fake.file("dir/one", "1");
    fake.file("dir/two", "2");
    fake.run(words)
}

#[test]
fn namespaces_maps_and_secrets_are_made_of_flags() {
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "lab"}});
    let fake = Fake::new().on("POST /api/v1/namespaces", namespace.clone());
    let ran = fake.run("create namespace lab");
    ran.is(0, "namespace/lab created\n", "").changed(&[(&posted("/api/v1/namespaces"), namespace)]);
    let metadata = json!({"name": "x", "namespace": "default"});
    let map = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata,
        "data": {"app.conf": "level=debug\n", "c": "level=debug\n", "one": "1", "two": "2", "k": "v=w"},
    });
    let flags = "--from-file=app.conf --from-file=c=app.conf --from-file=dir --from-literal=k=v=w";
    with_files(MAPS, &format!("create cm x {flags}")).changed(&[(&posted(MAPS), map)]);
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "Opaque",
        "data": {"p": "bGV2ZWw9ZGVidWcK", "k": "dg=="},
    });
    let ran = with_files(SECRETS, "create secret generic x --from-file=p=app.conf --from-literal=k=v");
    ran.changed(&[(&posted(SECRETS), secret)]);
}
