//! Volumes: what a container is started with, what it waits for, and what reaches it while it lives.

use super::*;
use crate::model::attempt::{HostPathType, Mount, MountSource, VolumeContent, VolumeOrder};
use crate::model::{Deleting, Labels};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

/// A pod with these volumes whose containers `c` and `d` mount them; `c` the first list, `d` the second.
fn with(volumes: Value, c: Value, d: Value) -> Value {
    let one = |name: &str, mounts: Value| json!({"name": name, "command": ["x"], "volumeMounts": mounts});
    json!({"volumes": volumes, "containers": [one("c", c), one("d", d)]})
}

fn at(path: &str, volume: &str) -> Value {
    json!({"name": volume, "mountPath": path})
}

/// The launch of `c`, which mounts the volume `v` as `/v`.
#[track_caller]
fn launched(w: &mut World, volume: Value) -> Launch {
    w.run(with(json!([and(json!({"name": "v"}), volume)]), json!([at("/v", "v")]), json!([])));
    let all = w.launches();
    all.into_iter().find(|l| l.attempt.container == "c").unwrap_or_else(|| panic!("{:?}", w.events()))
}

/// `path=text mode`, by path.
fn shown(order: &VolumeOrder) -> Vec<String> {
    let VolumeContent::Files(files) = &order.content else { panic!("{order:?}") };
    let text = |data: &str| String::from_utf8_lossy(&BASE64.decode(data).unwrap()).into_owned();
    files.iter().map(|f| format!("{}={} {:o}", f.path, text(&f.data), f.mode)).collect()
}

#[track_caller]
fn check_files(volume: Value, expected: &[&str]) {
    let mut w = World::new();
    w.add(config_map("m", json!({"a": "1", "b": "2"})));
    w.add(secret("s", json!({"k": "aGk="})));
    let launch = launched(&mut w, volume);
    assert_eq!(shown(&launch.volumes[0]), expected);
}

/// The launch never comes, and this is said.
#[track_caller]
fn check_failed(volume: Value, why: &str) -> World {
    let mut w = World::new();
    w.add(config_map("m", json!({"a": "1"})));
    w.add(secret("s", json!({"k": "aGk="})));
    w.run(with(json!([and(json!({"name": "v"}), volume)]), json!([at("/v", "v")]), json!([])));
    assert_eq!(w.effects(), Vec::<String>::new());
    assert_eq!((w.shown("c"), w.message("c")), ("waiting ContainerCreating #0".into(), String::new()));
    w.pass(60);
    w.has_event(&format!("FailedMount: MountVolume.SetUp failed for volume \"v\" : {why} x1"));
    w
}

#[test]
fn files_come_from_keys_items_and_the_pod_itself() {
    check_files(json!({"configMap": {"name": "m"}}), &["a=1 644", "b=2 644"]);
    check_files(json!({"secret": {"secretName": "s", "defaultMode": 256}}), &["k=hi 400"]);
    check_files(
        json!({"configMap": {"name": "m", "items": [{"key": "b", "path": "x//./y", "mode": 511}, {"key": "b", "path": "z"}]}}),
        &["x/y=2 777", "z=2 644"],
    );
    check_files(json!({"configMap": {"name": "none", "optional": true}}), &[]);
    let item = json!([{"key": "a", "path": "a"}, {"key": "none", "path": "n"}]);
    check_files(json!({"configMap": {"name": "m", "optional": true, "items": item}}), &["a=1 644"]);
    let field = |path: &str, field: &str| json!({"path": path, "fieldRef": {"fieldPath": field}});
    let resource =
        json!({"path": "r", "resourceFieldRef": {"containerName": "c", "resource": "limits.cpu"}, "mode": 292});
    check_files(
        json!({"downwardAPI": {"items": [field("n", "metadata.name"), field("l", "metadata.labels"), resource]}}),
        &["l= 644", "n=p 644", "r=4 444"],
    );
    check_files(
        json!({"projected": {"defaultMode": 288, "sources": [
            {"configMap": {"name": "m"}},
            {"secret": {"name": "s", "items": [{"key": "k", "path": "a"}]}},
            {"downwardAPI": {"items": [field("u", "metadata.uid")]}},
        ]}}),
        &["a=hi 440", "b=2 440", "u=uid-p 440"],
    );
}

#[test]
fn what_is_binary_stays_binary() {
    let mut w = World::new();
    let document = json!({"data": {"t": "é"}, "binaryData": {"b": "AP8="}});
    w.add(ConfigMap { meta: Meta::named(NS, "m"), spec: Spec::new(document).unwrap() });
    let launch = launched(&mut w, json!({"configMap": {"name": "m"}}));
    let VolumeContent::Files(files) = &launch.volumes[0].content else { panic!() };
    assert_eq!(files.iter().map(|f| f.data.as_str()).collect::<Vec<_>>(), ["AP8=", "w6k="]);
}

#[test]
fn a_container_waits_for_every_volume_of_its_pod_in_the_kubelets_words() {
    let mut w = check_failed(json!({"configMap": {"name": "y"}}), "configmap \"y\" not found");
    assert_eq!((w.phase(), w.wakes_in()), (Phase::Pending, None));
    assert!(!w.durable, "waiting must not wear the disk");
    w.add(config_map("y", json!({}))).step();
    assert_eq!(w.effects(), ["start c/0", "start d/0"], "d mounts nothing, and waited all the same");
    check_failed(json!({"secret": {"secretName": "y"}}), "secret \"y\" not found");
    let item = json!([{"key": "z", "path": "z"}]);
    check_failed(json!({"configMap": {"name": "m", "items": item}}), "references non-existent config key: z");
    check_failed(json!({"secret": {"secretName": "s", "items": item}}), "references non-existent secret key: z");
    let sources = json!([{"configMap": {"name": "m"}}, {"secret": {"name": "y"}}]);
    check_failed(json!({"projected": {"sources": sources}}), "secret \"y\" not found");
    let dot = json!([{"key": "a", "path": "."}]);
    check_failed(json!({"configMap": {"name": "m", "items": dot}}), "invalid path of a file: \"\"");
}

#[test]
fn a_volume_that_nobody_mounts_is_never_made_and_not_waited_for() {
    let mut w = World::new();
    let volumes = json!([{"name": "v", "configMap": {"name": "none"}}, {"name": "e", "emptyDir": {}}]);
    w.run(with(volumes, json!([]), json!([at("/e", "e")])));
    let orders: Vec<usize> = w.launches().iter().map(|l| l.volumes.len()).collect();
    assert_eq!(orders, [0, 1]);
}

#[test]
fn an_init_container_waits_as_one() {
    let mut w = World::new();
    let mut spec = with_init("Always", &["i"], &["c"]);
    spec["volumes"] = json!([{"name": "v", "configMap": {"name": "m"}}]);
    spec["containers"][0]["volumeMounts"] = json!([at("/v", "v")]);
    w.run(spec);
    assert_eq!((w.shown("i"), w.effects()), ("waiting PodInitializing #0".into(), vec![]));
    w.add(config_map("m", json!({}))).step();
    assert_eq!(w.effects(), ["start i/0"]);
}

#[test]
fn files_that_do_not_fit_into_one_order_are_said() {
    let mut w = World::new();
    let big = "x".repeat(1024 * 1024);
    let names: Vec<String> = (0..10).map(|i| format!("m{i}")).collect();
    for name in &names {
        w.add(config_map(name, json!({ "k": big })));
    }
    let sources: Vec<Value> =
        names.iter().map(|n| json!({"configMap": {"name": n, "items": [{"key": "k", "path": n}]}})).collect();
    let volumes = json!([{"name": "v", "projected": {"sources": sources}}]);
    w.run(with(volumes, json!([at("/v", "v")]), json!([])));
    assert_eq!(w.shown("c"), "waiting CreateContainerConfigError #0");
    assert_eq!(w.message("c"), "the files of its volumes take 13981040 bytes as base64, at most 12582912 are possible");
}

#[test]
fn empty_directories_have_bounds_and_groups() {
    #[track_caller]
    fn check(volume: Value, resources: Value, memory: bool, size_max: Option<u64>) {
        let mut w = World::new();
        let mut spec = with(json!([and(json!({"name": "v"}), volume)]), json!([at("/v", "v")]), json!([]));
        spec["securityContext"] = json!({"fsGroup": 7, "supplementalGroups": [5]});
        spec["containers"][0]["resources"] = resources;
        spec["containers"][1]["resources"] = json!({"limits": {"memory": "1Mi"}});
        let launch = w.run(spec).launches().remove(0);
        let content = VolumeContent::Empty { memory, size_max };
        assert_eq!(launch.volumes, [VolumeOrder { name: "v".into(), group: Some(7), content }]);
        assert_eq!(launch.groups, [5, 7]);
    }
    check(json!({"emptyDir": {}}), json!({}), false, None);
    check(json!({"emptyDir": {"medium": "Memory"}}), json!({}), true, None);
    check(json!({"emptyDir": {"medium": "Memory", "sizeLimit": "3Mi"}}), json!({}), true, Some(3 << 20));
    check(json!({"emptyDir": {"medium": "Memory", "sizeLimit": 0}}), json!({}), true, None);
    let bounded = json!({"limits": {"memory": "1Mi"}});
    check(json!({"emptyDir": {"medium": "Memory", "sizeLimit": "3Mi"}}), bounded.clone(), true, Some(2 << 20));
    check(json!({"emptyDir": {"medium": "Memory", "sizeLimit": "1Ki"}}), bounded, true, Some(1024));
}

#[test]
fn mounts_come_in_order_with_clean_paths() {
    let mut w = World::new();
    w.add(config_map("m", json!({})));
    let volumes = json!([
        {"name": "e", "emptyDir": {}},
        {"name": "h", "hostPath": {"path": "/srv", "type": "DirectoryOrCreate"}},
        {"name": "m", "configMap": {"name": "m"}},
    ]);
    let mounts = json!([
        {"name": "h", "mountPath": "h//x/", "readOnly": true, "mountPropagation": "HostToContainer"},
        {"name": "e", "mountPath": "/e", "subPath": "a/./b"},
        {"name": "e", "mountPath": "/f", "subPathExpr": "$(A)/$(B)"},
        {"name": "m", "mountPath": "/m"},
    ]);
    let mut spec = with(volumes, mounts, json!([]));
    spec["containers"][0]["env"] = json!([{"name": "A", "value": "a"}, {"name": "B", "value": "$(A)b"}]);
    let launch = w.run(spec).launches().remove(0);
    let mount = |path: &str, source, sub_path: &str, read_only, follow_host| Mount {
        path: path.into(),
        source,
        sub_path: sub_path.into(),
        read_only,
        follow_host,
    };
    let volume = |name: &str| MountSource::Volume(name.into());
    let host = MountSource::Host { path: "/srv".into(), kind: HostPathType::DirectoryOrCreate };
    let expected = [
        mount("/h/x", host, "", true, true),
        mount("/e", volume("e"), "a/b", false, false),
        mount("/f", volume("e"), "a/ab", false, false),
        mount("/m", volume("m"), "", true, false),
    ];
    assert_eq!(launch.mounts, expected);
    assert_eq!(launch.volumes.iter().map(|v| v.name.as_str()).collect::<Vec<_>>(), ["e", "m"]);
}

#[test]
fn a_sub_path_that_cannot_be_is_said() {
    #[track_caller]
    fn check(expression: &str, value: &str, expected: &str) {
        let mut w = World::new();
        let mount = json!({"name": "e", "mountPath": "/e", "subPathExpr": expression});
        let mut spec = with(json!([{"name": "e", "emptyDir": {}}]), json!([mount]), json!([]));
        spec["containers"][0]["env"] = json!([{"name": "A", "value": value}]);
        w.run(spec);
        assert_eq!((w.shown("c"), w.message("c")), ("waiting CreateContainerConfigError #0".into(), expected.into()));
    }
    check("$(B)-$(A)-$(C)", "a", "missing value for B, C");
    check("$(A)", "", "missing value for A");
    check("$(A)", "/a", "error SubPath `/a` must not be an absolute path");
    check("$(A)", "a/../../b", "unable to provision SubPath `a/../../b`: must not contain '..'");
}

#[test]
fn a_pod_whose_empty_directory_has_outgrown_its_bound_is_evicted() {
    let mut w = World::new();
    let volumes = json!([{"name": "e", "emptyDir": {"sizeLimit": "1Mi"}}]);
    w.run(with(volumes, json!([at("/e", "e")]), json!([])));
    let content = VolumeContent::Empty { memory: false, size_max: Some(1 << 20) };
    assert_eq!(w.launches()[0].volumes[0].content, content);
    w.started("c").started("d");
    let outgrown = |uid: &str, volume: &str| Seen::Outgrown { pod: Uid::new(uid), volume: volume.into() };
    w.see([outgrown("uid-p", "none"), outgrown("uid-q", "e")]);
    assert_eq!((w.effects(), w.only_pod().status.reason), (vec![], String::new()));
    w.see([outgrown("uid-p", "e")]);
    assert_eq!((w.effects(), w.durable), (vec!["terminate c/0".into(), "terminate d/0".into()], true));
    let text = "Usage of EmptyDir volume \"e\" exceeds the limit \"1Mi\". ";
    w.has_event(&format!("Evicted: {text} x1"));
    w.see([outgrown("uid-p", "e")]).pass(2);
    assert_eq!(w.effects(), ["kill c/0", "kill d/0"], "its own grace period does not count");
    w.ends("c", HowEnded::Signal(9)).ends("d", HowEnded::Signal(9));
    w.effects();
    let status = w.only_pod().status;
    assert_eq!((status.phase, status.reason.as_str(), status.message.as_str()), (Phase::Failed, "Evicted", text));
    assert!(status.excused.is_none(), "it is the pod's own fault");
    w.see([outgrown("uid-p", "e")]);
    assert_eq!(w.effects(), Vec::<String>::new());
}

#[test]
fn a_bound_is_watched_by_the_next_daemon_too() {
    let mut w = World::new();
    let volumes = json!([{"name": "e", "emptyDir": {"sizeLimit": "1Mi"}}, {"name": "f", "emptyDir": {}},
        {"name": "m", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}}]);
    w.run(with(volumes, json!([at("/e", "e"), at("/f", "f"), at("/m", "m")]), json!([]))).started("c").started("d");
    w.effects();
    w.booted(vec![]);
    assert_eq!(w.effects().iter().filter(|e| e.starts_with("project")).collect::<Vec<_>>(), ["project uid-p e"]);
}

// ---- while the pod lives -------------------------------------------------------------------------------------------

/// A live pod with a ConfigMap, a Secret, its labels and an empty directory as volumes.
fn live() -> World {
    let mut w = World::new();
    w.add(config_map("m", json!({"a": "1"}))).add(secret("s", json!({"k": "aGk="})));
    let labels = json!([{"path": "l", "fieldRef": {"fieldPath": "metadata.labels"}}]);
    let volumes = json!([
        {"name": "map", "configMap": {"name": "m"}},
        {"name": "all", "projected": {"sources": [{"secret": {"name": "s"}}, {"configMap": {"name": "o", "optional": true}}]}},
        {"name": "pod", "downwardAPI": {"items": labels}},
        {"name": "e", "emptyDir": {}},
    ]);
    w.run(with(volumes, json!([at("/m", "map"), at("/e", "e")]), json!([at("/a", "all"), at("/p", "pod")])));
    assert_eq!(w.effects(), ["start c/0", "start d/0"]);
    w.started("c").started("d");
    w
}

#[test]
fn a_change_reaches_a_live_pod_once() {
    let mut w = live();
    w.step();
    assert_eq!(w.effects(), Vec::<String>::new());
    w.add(config_map("m", json!({"a": "2"}))).step();
    let [Effect::Project(uid, order)] = &w.effects[..] else { panic!("{:?}", w.effects) };
    assert_eq!((uid.as_str(), shown(order)), ("uid-p", vec!["a=2 644".to_string()]));
    w.effects();
    w.step().pass(600);
    assert_eq!(w.effects(), Vec::<String>::new());
    w.add(secret("s", json!({"k": "aG8="}))).add(config_map("m", json!({"a": "3"}))).step();
    assert_eq!(w.effects(), ["project uid-p map", "project uid-p all"]);
    w.add(config_map("o", json!({"new": "x"}))).step();
    assert_eq!(w.effects(), ["project uid-p all"]);
    w.remove(Kind::ConfigMap, "o").step();
    assert_eq!(w.effects(), ["project uid-p all"], "what is optional may go again");
}

#[test]
fn a_change_within_the_step_that_makes_it_is_seen_in_that_step() {
    let mut w = live();
    let ask =
        crate::model::Ask::Replace { record: Box::new(config_map("m", json!({"a": "2"})).into()), if_revision: None };
    w.see([Seen::Asked { id: crate::model::AskId(1), ask, dry_run: false }]);
    assert!(w.effects.iter().any(|e| matches!(e, Effect::Project(_, order) if order.name == "map")), "{:?}", w.effects);
}

#[test]
fn what_is_written_again_without_a_change_reaches_nobody() {
    let mut w = live();
    let before = w.only_pod().status.projected["map"].clone();
    w.add(config_map("m", json!({"a": "1"}))).step();
    assert_eq!(w.effects(), Vec::<String>::new());
    let after = w.only_pod().status.projected["map"].clone();
    assert_eq!(before.content, after.content);
    assert_ne!(before.sources, after.sources, "and is not looked into again");
    assert!(!w.durable);
}

#[test]
fn labels_of_the_pod_reach_it() {
    let mut w = live();
    w.change_pod(|pod| pod.meta.labels = Labels::from([("a".into(), "b\"c".into())])).step();
    let [Effect::Project(_, order)] = &w.effects[..] else { panic!("{:?}", w.effects) };
    assert_eq!(shown(order), ["l=a=\"b\\\"c\" 644"]);
    w.effects();
    w.change_pod(|pod| pod.meta.annotations = Labels::from([("x".into(), "y".into())])).step();
    assert_eq!(w.effects(), Vec::<String>::new(), "no file shows annotations");
}

#[test]
fn what_is_gone_stays_in_a_live_pod_and_is_said() {
    let mut w = live();
    w.remove(Kind::ConfigMap, "m").pass(1).pass(60);
    assert_eq!(w.effects(), Vec::<String>::new());
    w.has_event("FailedMount: MountVolume.SetUp failed for volume \"map\" : configmap \"m\" not found x1");
    w.add(config_map("m", json!({"a": "1"}))).step();
    assert_eq!(w.effects(), Vec::<String>::new(), "the same is back");
    w.remove(Kind::ConfigMap, "m").step().add(config_map("m", json!({"a": "2"}))).step();
    assert_eq!(w.effects(), ["project uid-p map"]);
}

#[test]
fn a_container_between_two_attempts_finds_the_new_content() {
    let mut w = live();
    w.exits("c", 1).exits("c", 1);
    w.effects();
    assert_eq!(w.shown("c"), "waiting CrashLoopBackOff #1");
    w.add(config_map("m", json!({"a": "2"}))).step();
    assert_eq!(w.effects(), ["project uid-p map"]);
    w.pass(60);
    let [launch] = <[Launch; 1]>::try_from(w.launches()).unwrap();
    let map = launch.volumes.iter().find(|v| v.name == "map").unwrap();
    assert_eq!(shown(map), ["a=2 644"]);
}

#[test]
fn a_new_content_comes_before_the_attempt_that_is_started_in_the_same_step() {
    let mut w = live();
    w.add(config_map("m", json!({"a": "2"}))).exits("c", 1);
    assert_eq!(w.effects(), ["project uid-p map", "forget c/0", "start c/1"]);
}

#[test]
fn a_pod_that_ends_or_has_not_begun_gets_nothing() {
    let mut w = live();
    let since = w.now.moment();
    w.change_pod(|pod| pod.meta.deleting = Some(Deleting { since, grace_s: 30, foreground: false })).step();
    w.effects();
    w.add(config_map("m", json!({"a": "2"}))).step();
    assert_eq!(w.effects(), Vec::<String>::new());

    let mut w = World::new();
    w.add(config_map("m", json!({"a": "1"})));
    w.run(and(
        with(json!([{"name": "v", "configMap": {"name": "m"}}]), json!([at("/v", "v")]), json!([])),
        json!({"restartPolicy": "Never"}),
    ));
    w.exits("c", 0).exits("d", 0);
    w.effects();
    assert_eq!(w.phase(), Phase::Succeeded);
    w.add(config_map("m", json!({"a": "2"}))).step();
    assert_eq!(w.effects(), Vec::<String>::new());

    let mut w = World::new();
    w.add(config_map("m", json!({"a": "1"}))).change_node(|n| n.spec.unschedulable = true);
    w.run(with(json!([{"name": "v", "configMap": {"name": "m"}}]), json!([at("/v", "v")]), json!([])));
    w.add(config_map("m", json!({"a": "2"}))).step();
    assert_eq!(w.effects(), Vec::<String>::new());
}

#[test]
fn after_a_restart_of_the_daemon_everything_is_ordered_once_more() {
    let mut w = live();
    let found = |w: &World, name: &str| Found {
        attempt: w.attempt(name),
        state: crate::model::FoundState::Live { pid: Some(4711), started: None },
    };
    let all = vec![found(&w, "c"), found(&w, "d")];
    w.booted(all);
    assert_eq!(w.effects(), ["project uid-p map", "project uid-p all", "project uid-p pod"]);
    w.step().pass(60);
    assert_eq!(w.effects(), Vec::<String>::new());
    // What was in memory is gone; a container that waits needs it as well.
    w.reboot("boot-2", 10);
    w.booted(vec![]);
    let effects = w.effects();
    assert_eq!(effects.iter().filter(|e| e.starts_with("project")).count(), 3, "{effects:?}");
    assert_eq!(effects.iter().filter(|e| e.starts_with("start")).count(), 2, "{effects:?}");
    w.add(config_map("m", json!({"a": "2"}))).step();
    assert_eq!(w.effects(), ["project uid-p map"]);
}

#[test]
fn what_was_gone_at_a_restart_is_ordered_when_it_is_back_though_it_is_the_same() {
    let mut w = live();
    let found = |w: &World, name: &str| Found {
        attempt: w.attempt(name),
        state: crate::model::FoundState::Live { pid: Some(4711), started: None },
    };
    let all = vec![found(&w, "c"), found(&w, "d")];
    w.remove(Kind::ConfigMap, "m").booted(all);
    assert_eq!(w.effects(), ["project uid-p all", "project uid-p pod"]);
    w.add(config_map("m", json!({"a": "1"}))).step();
    assert_eq!(w.effects(), ["project uid-p map"], "the order before the restart may have been lost");
}

#[test]
fn a_part_of_a_volume_that_is_mounted_alone_is_new_for_the_next_attempt() {
    let mut w = World::new();
    w.add(config_map("m", json!({"a": "1"})));
    let part = json!({"name": "v", "mountPath": "/a", "subPath": "a"});
    w.run(with(json!([{"name": "v", "configMap": {"name": "m"}}]), json!([part]), json!([])));
    let launch = w.launches().remove(0);
    assert_eq!((launch.mounts[0].sub_path.as_str(), launch.mounts[0].read_only), ("a", true));
    w.add(config_map("m", json!({"a": "2"}))).step();
    // The kernel keeps showing the old file where it was mounted.
    assert_eq!(w.effects(), ["project uid-p v"]);
}
