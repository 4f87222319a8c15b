//! What pods are given and what is told of them.

use serde_json::Value;

use crate::device::Device;
use crate::needs_root;

fn job(name: &str, pod: &str) -> String {
    format!(
        "apiVersion: batch/v1\nkind: Job\nmetadata: {{name: {name}}}\nspec:\n  backoffLimit: 0\n  template:\n    spec:\n      restartPolicy: Never\n{pod}"
    )
}

/// Runs a pod spec to its end; what it printed.
#[track_caller]
fn output(device: &Device, name: &str, pod: &str) -> String {
    device.apply(&job(name, pod));
    device.wait_for("condition=complete", &format!("job/{name}"));
    device.ok(&["logs", &format!("job/{name}")])
}

fn first_status(device: &Device, selector: &str) -> Option<Value> {
    let pod = device.items(&["pods", "-l", selector]).into_iter().next()?;
    Some(pod["status"]["containerStatuses"][0].clone())
}

#[test]
fn environment_comes_from_maps_secrets_and_the_pod_itself() {
    let device = Device::start(&[]);
    device.apply(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\ndata: {GREETING: hello, LEVEL: '3'}\n---\napiVersion: v1\nkind: Secret\nmetadata: {name: key}\nstringData: {token: s3cret}\n",
    );
    let pod = "
      containers:
      - name: main
        command: [sh, -c, 'echo $GREETING $LEVEL $TOKEN $NAME $NODE \"$BOTH\" $PINNACE_ATTEMPT; echo $0 $1; pwd', '$(GREETING)', '$$(LEVEL)']
        workingDir: /usr
        envFrom: [{configMapRef: {name: settings}}]
        env:
        - {name: TOKEN, valueFrom: {secretKeyRef: {name: key, key: token}}}
        - {name: NAME, valueFrom: {fieldRef: {fieldPath: metadata.namespace}}}
        - {name: NODE, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}
        - {name: BOTH, value: '$(GREETING) and $(NOWHERE)'}
";
    let said = output(&device, "env", pod);
    assert_eq!(said, "hello 3 s3cret default gw-7 hello and $(NOWHERE) 0\nhello $(LEVEL)\n/usr\n");
}

#[test]
fn a_pod_waits_for_a_map_and_starts_when_it_comes() {
    let device = Device::start(&[]);
    device.apply(&job("waits", "      containers:\n      - {name: main, command: [sh, -c, 'echo $V'], env: [{name: V, valueFrom: {configMapKeyRef: {name: late, key: v}}}]}\n"));
    let waiting = device.eventually("it waits", |device| {
        let waiting = first_status(device, "job-name=waits")?["state"]["waiting"].clone();
        (waiting["reason"] == "CreateContainerConfigError").then_some(waiting)
    });
    assert_eq!(waiting["message"], "configmap \"late\" not found");
    device.apply("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: late}\ndata: {v: here}\n");
    device.wait_for("condition=complete", "job/waits");
    assert_eq!(device.ok(&["logs", "job/waits"]), "here\n");
}

#[test]
fn init_containers_come_first_and_one_after_the_other() {
    let device = Device::start(&[]);
    let file = device.path().join("order");
    let say = |word: &str| format!("[sh, -c, 'echo {word} >> {}']", file.display());
    let pod = format!(
        "      initContainers:\n      - {{name: one, command: {}}}\n      - {{name: two, command: {}}}\n      containers:\n      - {{name: main, command: {}}}\n",
        say("one"),
        say("two"),
        say("main")
    );
    output(&device, "init", &pod);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "one\ntwo\nmain\n");
}

#[test]
fn a_crash_loop_backs_off_and_shows_its_last_words() {
    let device = Device::start(&[]);
    device.apply(
        "apiVersion: v1\nkind: Pod\nmetadata: {name: crash}\nspec:\n  containers:\n  - {name: main, command: [sh, -c, 'echo attempt $PINNACE_ATTEMPT; exit 3']}\n",
    );
    let status = device.eventually("it backs off", |device| {
        let status = device.json(&["pod", "crash"])["status"]["containerStatuses"][0].clone();
        (status["state"]["waiting"]["reason"] == "CrashLoopBackOff").then_some(status)
    });
    assert_eq!(
        (status["restartCount"].as_i64(), status["lastState"]["terminated"]["exitCode"].as_i64()),
        (Some(1), Some(3))
    );
    assert!(
        status["state"]["waiting"]["message"]
            .as_str()
            .unwrap()
            .starts_with("back-off 10s restarting failed container=main")
    );
    assert!(device.ok(&["get", "pods"]).contains("CrashLoopBackOff"));
    assert_eq!(device.ok(&["logs", "crash"]), "attempt 1\n");
    // While it waits, the last attempt is the previous one too, as with a kubelet.
    assert_eq!(device.ok(&["logs", "crash", "--previous"]), "attempt 1\n");
}

#[test]
fn what_cannot_start_says_why() {
    let device = Device::start(&[]);
    let plain = device.path().join("plain");
    std::fs::write(&plain, "no program").unwrap();
    for (name, command, why) in [
        ("missing", "/no/such/program".to_string(), "no such file or directory"),
        ("plain", plain.display().to_string(), "permission denied"),
        ("lost", "no-such-program".to_string(), "executable file not found in $PATH"),
    ] {
        device.apply(&job(name, &format!("      containers:\n      - {{name: main, command: ['{command}']}}\n")));
        device.wait_for("condition=failed", &format!("job/{name}"));
        let ended = first_status(&device, &format!("job-name={name}")).unwrap()["state"]["terminated"].clone();
        assert_eq!((ended["reason"].as_str(), ended["exitCode"].as_i64()), (Some("StartError"), Some(128)), "{ended}");
        assert!(ended["message"].as_str().unwrap().contains(why), "{ended}");
        assert!(device.ok(&["get", "events"]).contains(why));
    }
}

#[test]
fn a_missing_image_waits_and_starts_when_it_is_there() {
    let device = Device::start(&[]);
    let pod = "      containers:\n      - {name: main, image: acme/tool, imagePullPolicy: IfNotPresent, command: [echo, made]}\n";
    device.apply(&job("image", pod));
    device.eventually("it waits for its image", |device| {
        let status = first_status(device, "job-name=image")?;
        let reason = status["state"]["waiting"]["reason"].as_str()?;
        matches!(reason, "ErrImagePull" | "ImagePullBackOff").then_some(())
    });
    device.ok(&["image", "add", "acme/tool", "/"]);
    device.wait_for("condition=complete", "job/image");
    assert_eq!(device.ok(&["logs", "job/image"]), "made\n");
}

#[test]
fn logs_are_cut_followed_and_stamped() {
    let device = Device::start(&[]);
    let program = "i=0; while [ $i -lt 100 ]; do echo line $i; i=$((i+1)); done; printf partial";
    output(&device, "logs", &format!("      containers:\n      - {{name: main, command: [sh, -c, '{program}']}}\n"));
    let all = device.ok(&["logs", "job/logs"]);
    assert_eq!((all.lines().count(), all.ends_with("partial\n") || all.ends_with("partial")), (101, true));
    assert_eq!(device.ok(&["logs", "job/logs", "--tail", "2"]).lines().next(), Some("line 99"));
    let stamped = device.ok(&["logs", "job/logs", "--tail", "1", "--timestamps"]);
    assert!(stamped.starts_with("20") && stamped.contains("Z partial"), "{stamped}");
    assert_eq!(device.ok(&["logs", "-f", "job/logs"]), all, "following ends with the container");
    let two =
        "      containers:\n      - {name: a, command: [echo, from-a]}\n      - {name: b, command: [echo, from-b]}\n";
    device.apply(&job("two", two));
    device.wait_for("condition=complete", "job/two");
    assert_eq!(device.ok(&["logs", "job/two", "-c", "b"]), "from-b\n");
}

#[test]
fn users_and_groups_are_taken_on() {
    if !needs_root("users_and_groups_are_taken_on") {
        return;
    }
    let device = Device::start(&[]);
    let pod = "      securityContext: {runAsUser: 12345, runAsGroup: 54321, supplementalGroups: [77]}\n      containers:\n      - {name: main, command: [sh, -c, 'id -u; id -g; id -G']}\n";
    assert_eq!(output(&device, "user", pod), "12345\n54321\n54321 77\n", "a user that /etc/passwd does not know");
    let refused = "      containers:\n      - {name: main, command: [id], securityContext: {runAsNonRoot: true}}\n";
    device.apply(&job("refused", refused));
    device.eventually("it is refused", |device| {
        (first_status(device, "job-name=refused")?["state"]["waiting"]["reason"] == "CreateContainerConfigError")
            .then_some(())
    });
}

#[test]
fn an_ordinary_user_runs_a_node_and_is_told_what_is_missing() {
    if !needs_root("an_ordinary_user_runs_a_node_and_is_told_what_is_missing") {
        return;
    }
    let device = Device::of_user(65_534, &[]);
    let said = output(&device, "user", "      containers:\n      - {name: main, command: [id, -u]}\n");
    assert_eq!(said, "65534\n");
    let node = device.items(&["nodes"]).remove(0);
    let conditions = node["status"]["conditions"].as_array().unwrap().clone();
    let limits = conditions.iter().find(|c| c["type"] == "LimitsEnforced").unwrap();
    assert_eq!(limits["status"], "False");
    assert!(limits["message"].as_str().unwrap().contains("ordinary user"), "{limits}");
}

#[test]
fn a_limit_that_is_not_enforced_is_said() {
    let device = Device::start(&[]);
    let pod = "      containers:\n      - {name: main, command: ['true'], resources: {limits: {memory: '1'}}}\n";
    device.apply(&job("tiny", pod));
    // Where memory is limited one byte ends it, elsewhere it runs; either way a person is told.
    device.eventually("it ends", |device| {
        let conditions = device.json(&["job", "tiny"])["status"]["conditions"].clone();
        conditions.as_array()?.iter().any(|c| c["type"] == "Complete" || c["type"] == "Failed").then_some(())
    });
    let ended = first_status(&device, "job-name=tiny").unwrap()["state"]["terminated"]["reason"].clone();
    let events = device.ok(&["get", "events"]);
    assert!(ended == "OOMKilled" || ended == "StartError" || events.contains("LimitsNotEnforced"), "{ended} {events}");
}
