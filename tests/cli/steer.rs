//! `scale`, `wait`, `rollout`, `cordon`, `drain`, `taint`, `image`.

use serde_json::{Value, json};

use crate::fake::{Fake, not_found};
use crate::{JOBS, REVISIONS, SETS, get};

fn at(collection: &str, name: &str) -> String {
    format!("{collection}/{name}")
}

#[test]
fn scale_sets_the_parallelism_if_it_is_what_was_thought() {
    let scale = format!("{JOBS}/x/scale");
    let fake = || {
        let now = json!({"metadata": {"resourceVersion": "9"}, "spec": {"replicas": 3}});
        Fake::new().on(&get(&scale), now).on(&format!("PATCH {scale}"), json!({}))
    };
    let patch = format!("PATCH {scale}");
    let ran = fake().run("scale job x --replicas=5");
    ran.is(0, "job.batch/x scaled\n", "").changed(&[(&patch, json!({"spec": {"replicas": 5}}))]);
    let ran = fake().run("scale job/x --replicas=5 --current-replicas=3");
    let guarded = json!({"spec": {"replicas": 5}, "metadata": {"resourceVersion": "9"}});
    ran.is(0, "job.batch/x scaled\n", "").changed(&[(&patch, guarded)]);
    let ran = fake().run("scale job x --replicas=5 --current-replicas=2");
    ran.is(1, "", "error: Expected replicas to be 2, was 3\n").changed(&[]);
    let fake = Fake::new().refuse(&patch, not_found("jobs.batch", "x"));
    fake.run("scale job x --replicas=5").is(1, "", "Error from server (NotFound): jobs.batch \"x\" not found\n");
    Fake::new().run("scale ds x --replicas=5").is(
        1,
        "",
        "error: cannot scale daemonset.apps/x: only Jobs have a parallelism\n",
    );
}

fn job(complete: &str) -> Value {
    json!({"metadata": {"name": "x", "namespace": "default"},
        "status": {"conditions": [{"type": "Complete", "status": complete}]}})
}

fn list(items: Value) -> Value {
    json!({"metadata": {"resourceVersion": "5"}, "items": items})
}

fn watched(collection: &str) -> String {
    format!("GET {collection}?fieldSelector=metadata.name%3Dx&watch=true&resourceVersion=5")
}

#[test]
fn wait_sees_the_condition_come() {
    let fake = || Fake::new().on(&get(&at(JOBS, "x")), job("False")).on(&get(JOBS), list(json!([job("False")])));
    let done = fake().watch(&watched(JOBS), &[("MODIFIED", job("False")), ("MODIFIED", job("True"))]);
    done.run("wait --for=condition=complete job/x").is(0, "job.batch/x condition met\n", "");
    let late = "error: timed out waiting for the condition on jobs/x\n";
    fake().watch(&watched(JOBS), &[]).run("wait --for=condition=complete job/x --timeout=1ms").is(1, "", late);
    // A watch that is too old begins anew with a list.
    let expired = json!({"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"});
    let again = || fake().on(&get(JOBS), list(json!([job("True")])));
    for fake in [again().watch(&watched(JOBS), &[("ERROR", expired.clone())]), again().refuse(&watched(JOBS), expired)]
    {
        fake.run("wait --for=condition=Complete job/x").is(0, "job.batch/x condition met\n", "");
    }
}

#[test]
fn wait_for_what_is_not_there_fails_but_for_its_end() {
    let gone = || Fake::new().refuse(&get(&at(JOBS, "x")), not_found("jobs.batch", "x"));
    let error = "Error from server (NotFound): jobs.batch \"x\" not found\n";
    gone().run("wait --for=condition=complete job/x").is(1, "", error);
    gone().run("wait --for=delete job/x").is(0, "", "");
    let fake = gone().on(&get(JOBS), list(json!([]))).watch(&watched(JOBS), &[("ADDED", job("False"))]);
    fake.run("wait --for=create job/x").is(0, "job.batch/x condition met\n", "");
    let fake = Fake::new()
        .on(&get(&at(JOBS, "x")), job("False"))
        .on(&get(JOBS), list(json!([job("False")])))
        .watch(&watched(JOBS), &[("DELETED", job("False"))]);
    fake.run("wait --for=delete job/x").is(0, "job.batch/x condition met\n", "");
    let none = Fake::new().on(&get(JOBS), list(json!([])));
    none.run("wait --for=condition=complete jobs --all").is(1, "", "error: no matching resources found\n");
    Fake::new().run("wait --for=complete job/x").is(1, "", "error: unrecognized condition: \"complete\"\n");
    Fake::new().run("wait --for=delete job/x --timeout=5").is(
        1,
        "",
        "error: invalid --timeout: time: missing unit in duration \"5\"\n",
    );
}

fn daemon_set(generation: i64, updated: i64) -> Value {
    json!({"metadata": {"name": "x", "namespace": "default", "uid": "d", "generation": generation},
        "spec": {"template": {"spec": {"a": 2}}, "updateStrategy": {"type": "RollingUpdate"}},
        "status": {"observedGeneration": 2, "desiredNumberScheduled": 1, "updatedNumberScheduled": updated, "numberAvailable": 1}})
}

#[test]
fn a_rollout_is_followed_to_its_end() {
    let fake =
        Fake::new().on(&get(&at(SETS, "x")), daemon_set(3, 0)).on(&get(SETS), list(json!([daemon_set(3, 0)]))).watch(
            &watched(SETS),
            &[("MODIFIED", daemon_set(2, 0)), ("MODIFIED", daemon_set(2, 0)), ("MODIFIED", daemon_set(2, 1))],
        );
    fake.run("rollout status ds/x --timeout=20s").is(
        0,
        "Waiting for daemon set spec update to be observed...\n\
         Waiting for daemon set \"x\" rollout to finish: 0 out of 1 new pods have been updated...\n\
         daemon set \"x\" successfully rolled out\n",
        "",
    );
    let fake = Fake::new().on(&get(&at(SETS, "x")), daemon_set(3, 0));
    fake.run("rollout status ds x --watch=false").is(0, "Waiting for daemon set spec update to be observed...\n", "");
    let ran = Fake::new().run("rollout status job/x");
    ran.is(1, "", "error: no rollout is implemented for jobs.batch: only a DaemonSet has one\n");
}

#[test]
fn a_restart_marks_the_template() {
    let fake = Fake::new().on(&format!("PATCH {}", at(SETS, "x")), json!({}));
    let ran = fake.run("rollout restart ds/x");
    ran.is(0, "daemonset.apps/x restarted\n", "");
    let annotations = &ran.asked[0].1["spec"]["template"]["metadata"]["annotations"];
    assert!(annotations["kubectl.kubernetes.io/restartedAt"].as_str().unwrap().ends_with('Z'), "{annotations}");
}

#[test]
fn history_is_listed_and_gone_back_to() {
    let revision = |number: i64, owner: &str| {
        json!({"revision": number, "metadata": {"name": format!("x-{number}"), "ownerReferences": [{"uid": owner}]},
            "data": {"spec": {"template": {"$patch": "replace", "spec": {"a": number}}}}})
    };
    let fake = || {
        let revisions = json!({"items": [revision(2, "d"), revision(1, "d"), revision(7, "other")]});
        let fake = Fake::new().on(&get(&at(SETS, "x")), daemon_set(2, 1)).on(&get(REVISIONS), revisions);
        fake.on(&format!("PUT {}", at(SETS, "x")), json!({}))
    };
    let list = "daemonset.apps/x \nREVISION  CHANGE-CAUSE\n1         <none>\n2         <none>\n\n";
    fake().run("rollout history ds/x").is(0, list, "");
    let ran = fake().run("rollout undo ds/x");
    ran.is(0, "daemonset.apps/x rolled back\n", "");
    assert_eq!(ran.asked[2].1["spec"]["template"], json!({"spec": {"a": 1}}));
    fake().run("rollout undo ds/x --to-revision=2").is(
        0,
        "daemonset.apps/x skipped rollback (current template already matches revision 2)\n",
        "",
    );
    let unknown = "error: unable to find specified revision 7 in history\n";
    fake().run("rollout undo ds/x --to-revision=7").is(1, "", unknown);
}

fn node(spec: Value) -> Value {
    json!({"items": [{"metadata": {"name": "gw"}, "spec": spec}]})
}

#[test]
fn the_only_node_need_not_be_named() {
    let fake = |spec: Value| Fake::new().on("GET /api/v1/nodes", node(spec)).on("PATCH /api/v1/nodes/gw", json!({}));
    let patch = "PATCH /api/v1/nodes/gw";
    let ran = fake(json!({})).run("cordon");
    ran.is(0, "node/gw cordoned\n", "").changed(&[(patch, json!({"spec": {"unschedulable": true}}))]);
    fake(json!({"unschedulable": true})).run("cordon").is(0, "node/gw already cordoned\n", "").changed(&[]);
    let ran = fake(json!({"unschedulable": true, "drained": true})).run("uncordon");
    let back = json!({"spec": {"unschedulable": null, "drained": null}});
    ran.is(0, "node/gw uncordoned\n", "").changed(&[(patch, back)]);
    let ran = fake(json!({"taints": [{"key": "a", "effect": "NoSchedule"}]})).run("taint a- b=c:NoExecute");
    let taints = json!({"spec": {"taints": [{"key": "b", "value": "c", "effect": "NoExecute"}]}});
    ran.is(0, "node/gw tainted\n", "").changed(&[(patch, taints)]);
    let fake = Fake::new().on("GET /api/v1/nodes/gw", node(json!({}))["items"][0].clone()).on(patch, json!({}));
    fake.run("taint nodes gw a:NoSchedule").is(0, "node/gw tainted\n", "");
}

#[test]
fn drain_waits_until_no_container_runs() {
    let pod = |state: Value| json!({"metadata": {"name": "p", "namespace": "default"}, "status": {"containerStatuses": [{"state": state}]}});
    let (live, ended) = (pod(json!({"running": {}})), pod(json!({"terminated": {}})));
    let fake = Fake::new()
        .on("GET /api/v1/nodes", node(json!({})))
        .on("POST /apis/pinnace.dev/v1/drain", json!({}))
        .on("GET /api/v1/pods", list(json!([live])))
        .watch("GET /api/v1/pods?watch=true&resourceVersion=5", &[("MODIFIED", ended)]);
    let ran = fake.run("drain --timeout=20s");
    ran.is(0, "node/gw cordoned\nnode/gw drained\n", "evicting pod default/p\n");
    assert!(ran.asked[3].0.contains("watch=true"), "{:?}", ran.asked);
}

#[test]
fn images_are_added_listed_and_forgotten() {
    let images = "/apis/pinnace.dev/v1/images";
    let name = pinnace::model::image::object_name("luksa/batch-job");
    let missing = Fake::new().refuse(&get(&at(images, &name)), not_found("images.pinnace.dev", &name));
    let fake = missing.on(&format!("POST {images}"), json!({}));
    let ran = fake.run_words(
        &[
            "image",
            "add",
            "luksa/batch-job",
            "/",
            "--entrypoint",
            "/bin/sh -c 'a b'",
            "--cmd",
            "[\"x y\"]",
            "--env",
            "A=1",
        ],
        "",
    );
    let image = json!({
        "apiVersion": "pinnace.dev/v1", "kind": "Image", "metadata": {"name": name},
        "spec": {"reference": "luksa/batch-job:latest", "directory": "/", "entrypoint": ["/bin/sh", "-c", "a b"],
            "cmd": ["x y"], "env": ["A=1"], "workingDir": ""},
    });
    ran.is(0, "image luksa/batch-job:latest added\n", "").changed(&[(&format!("POST {images}"), image.clone())]);
    let there = || Fake::new().on(&get(&at(images, &name)), image.clone());
    let ran = there().on(&format!("PUT {}", at(images, &name)), json!({})).run("image add luksa/batch-job /");
    ran.is(0, "image luksa/batch-job:latest changed\n", "");
    let listed = || Fake::new().on(&get(images), json!({"items": [image]}));
    let ran = listed().on(&format!("DELETE {}", at(images, &name)), json!({})).run("image rm luksa/batch-job nope");
    ran.is(1, "image luksa/batch-job:latest removed\n", "error: there is no image nope:latest\n");
    listed().run("image list").is(
        0,
        "REFERENCE                IMAGE ID   SIZE     SOURCE   AGE\n\
         luksa/batch-job:latest   <none>     <none>   /        <unknown>\n",
        "",
    );
    let ran = Fake::new().run("image add x /nonexistent");
    assert!(ran.err.starts_with("error: the directory /nonexistent: "), "{}", ran.err);
}

#[test]
fn an_image_may_be_meant_by_its_reference_or_its_id() {
    let images = "/apis/pinnace.dev/v1/images";
    let image = |name: &str, reference: &str, id: &str| {
        json!({
            "apiVersion": "pinnace.dev/v1", "kind": "Image", "metadata": {"name": name, "uid": name},
            "spec": {"reference": reference}, "status": {"id": format!("sha256:{id}")},
        })
    };
    let all = [image("a-b-latest-1", "a/b:latest", "12345"), image("c-2-2", "r.example/c:2", "12399")];
    let node = || {
        let fake = Fake::new().on(&get(images), json!({"items": all}));
        let one = |fake: Fake, image: &Value| {
            let path = at(images, image["metadata"]["name"].as_str().unwrap());
            fake.on(&get(&path), image.clone()).on(&format!("DELETE {path}"), json!({}))
        };
        all.iter().fold(fake, one)
    };
    let check = |words: &str, out: &str| {
        node().run(&format!("{words} -o name")).is(0, out, "");
    };
    let (a, c) = ("image.pinnace.dev/a-b-latest-1\n", "image.pinnace.dev/c-2-2\n");
    check("get image a/b", a);
    check("get images docker.io/a/b:latest r.example/c:2", &format!("{a}{c}"));
    check("get image/r.example/c:2", c);
    check("get image c-2-2", c);
    check("get image sha256:12399", c);
    check("delete image a/b --wait=false", a);
    let described = node().run("describe image a/b --show-events=false");
    assert!(described.out.starts_with("Name:         a-b-latest-1\n"), "{described:?}");
    // What is not there is told as it was typed; three digits are too few.
    let ran = node().refuse(&get(&at(images, "x%3A1")), not_found("images.pinnace.dev", "x:1")).run("get image x:1");
    ran.is(1, "", "Error from server (NotFound): images.pinnace.dev \"x:1\" not found\n");
    let ran = node().run("delete image 1239 1234 sha256:123 -o name --wait=false");
    assert_eq!((ran.code, ran.out.as_str()), (1, format!("{c}{a}").as_str()));
}
