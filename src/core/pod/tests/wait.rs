//! Pods that wait: for a place on the node, an image, configuration, a user, a controller.

use super::*;

/// The pod `p` on a node that was changed first; what the scheduler says.
#[track_caller]
fn check_unschedulable(node: impl FnOnce(&mut Node), spec: Value, expected: &str) -> World {
    let mut w = World::new();
    w.change_node(node).run(spec);
    let pod = w.only_pod();
    assert_eq!(pod.status.unschedulable.as_deref(), Some(expected));
    assert_eq!((pod.status.phase, pod.status.started), (Phase::Pending, None));
    assert_eq!((w.effects(), w.durable), (vec![], false));
    w.pass(60);
    assert_eq!(w.events(), [format!("FailedScheduling: {expected} x1")]);
    w
}

#[test]
fn a_pod_that_does_not_fit_says_why_and_is_taken_up_when_it_does() {
    let selects = and(spec("Always", &["c"]), json!({"nodeSelector": {"disk": "ssd"}}));
    let text = "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector.";
    let mut w = check_unschedulable(|_| (), selects, text);
    w.change_node(|n| n.meta.labels = [("disk".to_string(), "ssd".to_string())].into()).step();
    assert_eq!((w.effects(), w.only_pod().status.unschedulable), (vec!["start c/0".into()], None));

    let text = "0/1 nodes are available: 1 node(s) were unschedulable.";
    let mut w = check_unschedulable(|n| n.spec.unschedulable = true, spec("Always", &["c"]), text);
    w.change_node(|n| n.spec.unschedulable = false).step();
    assert_eq!(w.effects(), ["start c/0"]);

    let mut w = check_unschedulable(|n| n.spec.drained = true, spec("Always", &["c"]), text);
    w.change_node(|n| n.spec.drained = false).step();
    assert_eq!(w.effects(), ["start c/0"]);
}

#[test]
fn a_cordoned_node_goes_on_with_the_pods_it_has() {
    let mut w = World::new();
    w.run(spec("Always", &["c"])).started("c").effects();
    w.change_node(|n| n.spec.unschedulable = true).exits("c", 1);
    assert_eq!(w.effects(), ["forget c/0", "start c/1"]);
}

#[test]
fn two_pods_cannot_have_one_host_port() {
    let with_port = |port: Value| json!({"containers": [{"name": "c", "command": ["x"], "ports": [port]}]});
    let mut w = World::new();
    w.add(pod("a", with_port(json!({"containerPort": 80, "hostPort": 80}))));
    w.add(pod("b", with_port(json!({"containerPort": 80, "hostPort": 80, "protocol": "TCP"}))));
    w.add(pod("c", with_port(json!({"containerPort": 80, "hostPort": 80, "protocol": "UDP"}))));
    w.add(pod("d", with_port(json!({"containerPort": 80})))).step();
    let waits = |w: &World| w.pods().iter().map(|p| p.status.unschedulable.is_some()).collect::<Vec<_>>();
    assert_eq!(waits(&w), [false, true, false, false]);
    assert_eq!(
        w.pod("b").status.unschedulable.unwrap(),
        "0/1 nodes are available: 1 node(s) didn't have free ports for the requested pod ports."
    );
    w.remove(Kind::Pod, "a").step();
    assert_eq!(waits(&w), [false, false, false]);
}

#[test]
fn the_node_takes_no_more_pods_than_its_bound_and_the_oldest_first() {
    let mut w = World::with(Settings { pods_max: 1, ..Settings::default() });
    for (name, created) in [("a", 2), ("b", 1)] {
        let mut pod = pod(name, spec("Never", &["c"]));
        pod.meta.created = Timestamp::from_secs(created);
        w.add(pod);
    }
    w.step();
    assert_eq!(w.launches().iter().map(|l| l.pod_name.as_str()).collect::<Vec<_>>(), ["b"]);
    assert_eq!(w.pod("a").status.unschedulable.unwrap(), "0/1 nodes are available: 1 Too many pods.");
    let attempt = AttemptId { pod: Uid::new("uid-b"), container: "c".into(), number: 0 };
    let (how, finished) = (HowEnded::Code(0), w.stamp());
    w.see([Seen::Exited(Exit { attempt, how, oom_killed: false, told_from_outside: false, started: None, finished })]);
    assert_eq!(w.launches().len(), 1, "a finished pod takes no room");
}

fn of_image(image: &str, policy: &str) -> Value {
    json!({"containers": [{"name": "c", "image": image, "imagePullPolicy": policy}]})
}

#[test]
fn a_missing_image_is_looked_for_again_and_used_when_it_is_registered() {
    let mut w = World::with(Settings { images_pull: false, ..Settings::default() });
    w.run(of_image("luksa/batch-job", "IfNotPresent"));
    assert_eq!((w.shown("c"), w.wakes_in()), ("waiting ErrImagePull #0".into(), Some(10)));
    for (reason, delay) in [
        ("ImagePullBackOff", 20),
        ("ErrImagePull", 40),
        ("ImagePullBackOff", 80),
        ("ErrImagePull", 160),
        ("ImagePullBackOff", 300),
        ("ErrImagePull", 300),
    ] {
        let due = w.wakes_in().unwrap();
        w.pass(due);
        assert_eq!((w.shown("c"), w.wakes_in()), (format!("waiting {reason} #0"), Some(delay)));
        assert!(!w.durable, "waiting must not wear the disk");
    }
    w.has_event("BackOff: Back-off pulling image \"luksa/batch-job\" x3");
    assert_eq!((w.phase(), w.effects()), (Phase::Pending, vec![]));
    w.pass(5).add(image("docker.io/luksa/batch-job:latest", json!({"directory": "/srv/job", "entrypoint": ["/main"]})));
    w.step();
    let [launch] = <[Launch; 1]>::try_from(w.launches()).unwrap();
    let root = crate::model::attempt::Root::Directory("/srv/job".into());
    assert_eq!((launch.root, launch.argv, launch.attempt.number), (root, vec!["/main".into()], 0));
    assert_eq!((w.status("c").pull, w.wakes_in()), (None, None));
}

#[test]
fn an_image_that_is_never_pulled_waits_without_waking_anybody() {
    let mut w = World::new();
    w.run(of_image("x:1", "Never"));
    assert_eq!((w.shown("c"), w.wakes_in()), ("waiting ErrImageNeverPull #0".into(), None));
    assert_eq!(w.message("c"), "Container image \"x:1\" is not present with pull policy of Never");
    w.has_event("ErrImageNeverPull: Container image \"x:1\" is not present with pull policy of Never x1");
    w.add(image("x:1", json!({"directory": "/srv/x", "cmd": ["/x"]}))).step();
    assert_eq!(w.effects(), ["start c/0"]);
}

#[test]
fn an_image_that_goes_holds_the_next_restart() {
    let mut w = World::with(Settings { images_pull: false, ..Settings::default() });
    w.add(image("x", json!({"directory": "/x", "cmd": ["/x"]}))).run(of_image("x", "Always")).started("c").effects();
    w.state.apply(&[Write::Delete(Key::new(Kind::Image, "", "img"))]);
    w.exits("c", 1);
    assert_eq!((w.shown("c"), w.phase()), ("waiting ErrImagePull #0".into(), Phase::Running));
    assert_eq!(w.status("c").last.unwrap().exit_code, 1);
    w.add(image("x", json!({"directory": "/x", "cmd": ["/x"]}))).step();
    assert_eq!(w.effects(), ["forget c/0", "start c/1"]);
}

#[test]
fn what_is_missing_is_said_in_the_kubelets_words_and_waited_for() {
    #[track_caller]
    fn check(container: Value, reason: &str, message: &str) -> World {
        let mut w = World::new();
        w.run(json!({"containers": [and(json!({"name": "c", "command": ["x"]}), container)]}));
        assert_eq!((w.shown("c"), w.message("c")), (format!("waiting {reason} #0"), message.to_string()));
        assert_eq!((w.effects(), w.wakes_in(), w.phase()), (vec![], None, Phase::Pending));
        w.has_event(&format!("Failed: Error: {message} x1"));
        w
    }
    let config = "CreateContainerConfigError";
    let from_map = json!({"env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "m", "key": "k"}}}]});
    let mut w = check(from_map.clone(), config, "configmap \"m\" not found");
    w.add(config_map("m", json!({"other": ""}))).step();
    assert_eq!(w.message("c"), "couldn't find key k in ConfigMap default/m");
    w.add(config_map("m", json!({"k": "v"}))).step();
    assert_eq!(w.effects(), ["start c/0"]);

    let from_secret = json!({"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]});
    let mut w = check(from_secret, config, "secret \"s\" not found");
    w.add(secret("s", json!({}))).step();
    assert_eq!(w.message("c"), "couldn't find key k in Secret default/s");
    w.add(secret("s", json!({"k": "%%"}))).step();
    assert_eq!(w.message("c"), "key k in Secret default/s is not base64");
    w.add(secret("s", json!({"k": "/w=="}))).step();
    assert_eq!(w.message("c"), "key k in Secret default/s is not UTF-8 text and cannot be the value of a variable");

    check(json!({"envFrom": [{"configMapRef": {"name": "m"}}]}), config, "configmap \"m\" not found");
    check(json!({"envFrom": [{"secretRef": {"name": "m"}}]}), config, "secret \"m\" not found");
    let field = |path: &str| json!({"env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": path}}}]});
    check(field("metadata.labels"), config, "unsupported fieldPath: metadata.labels");
    let of = |more: Value| json!({"env": [{"name": "A", "valueFrom": {"resourceFieldRef": more}}]});
    check(of(json!({"resource": "cpu"})), config, "unsupported container resource : cpu");
    check(of(json!({"resource": "limits.cpu", "containerName": "x"})), config, "container x not found");
    check(json!({"command": []}), "CreateContainerError", "no command specified");
}

#[test]
fn root_is_refused_where_the_manifest_forbids_it() {
    #[track_caller]
    fn check(pod_level: Value, container_level: Value, daemon_is_root: bool, expected: Option<(Option<u32>, bool)>) {
        let mut w = World::new();
        w.change_node(|n| n.status.facts.root = daemon_is_root);
        w.run(json!({"securityContext": pod_level, "containers": [
            {"name": "c", "command": ["x"], "securityContext": container_level.clone()}]}));
        let launch = w.launches().pop();
        assert_eq!(launch.map(|l| (l.user, l.must_not_be_root)), expected);
        if expected.is_none() {
            let was_said = container_level.get("runAsUser").is_some();
            let why = if was_said {
                "container's runAsUser breaks non-root policy"
            } else {
                "container has runAsNonRoot and image will run as root"
            };
            let text = format!("{why} (pod: \"p_default(uid-p)\", container: c)");
            assert_eq!((w.shown("c"), w.message("c")), ("waiting CreateContainerConfigError #0".into(), text));
        }
    }
    check(json!({}), json!({}), true, Some((None, false)));
    check(json!({"runAsNonRoot": true}), json!({}), true, None);
    check(json!({"runAsNonRoot": true}), json!({}), false, Some((None, true)));
    check(json!({"runAsNonRoot": true}), json!({"runAsUser": 0}), true, None);
    check(json!({"runAsNonRoot": true, "runAsUser": 5}), json!({}), true, Some((Some(5), true)));
    check(json!({"runAsUser": 5}), json!({"runAsUser": 0, "runAsNonRoot": true}), true, None);
    check(json!({"runAsNonRoot": true}), json!({"runAsNonRoot": false}), true, Some((None, false)));
}

fn limited() -> Value {
    json!({"containers": [{"name": "c", "command": ["x"], "resources": {"limits": {"memory": "64Mi", "cpu": "1"}}}]})
}

#[test]
fn limits_that_the_host_lacks_are_told_once_and_hold_the_pod_where_they_are_required() {
    let mut w = World::new();
    w.change_node(|n| n.status.facts.controllers = vec!["cpu".into()]).run(limited());
    w.has_event("LimitsNotEnforced: This host offers no cgroup controller memory: these limits are not enforced x1");
    w.exits("c", 1).exits("c", 1);
    assert_eq!(w.events().iter().filter(|e| e.starts_with("LimitsNotEnforced")).count(), 1);

    let mut w = World::with(Settings { limits_required: true, ..Settings::default() });
    w.change_node(|n| n.status.facts.controllers = vec![]).run(limited());
    assert_eq!((w.shown("c"), w.effects()), ("waiting CreateContainerConfigError #0".into(), vec![]));
    let text = "this host offers no cgroup controller cpu, memory, which the pod's limits need, and the node is configured with `limits: required`";
    assert_eq!(w.message("c"), text);
    w.has_event(&format!("LimitsNotEnforceable: {text} x1"));

    let mut w = World::new();
    w.run(limited());
    assert!(w.events().iter().all(|e| !e.starts_with("Limits")));
}
