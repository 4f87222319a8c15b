use serde_json::{Value, json};

use super::super::world::World;
use crate::model::node::{Taint, TaintEffect};
use crate::model::pod::Phase;
use crate::model::{Key, Kind, Propagation};

fn spec(image: &str, fields: Value) -> Value {
    let mut spec = json!({
        "selector": {"matchLabels": {"app": "d"}},
        "template": {
            "metadata": {"labels": {"app": "d"}},
            "spec": {"containers": [{"name": "main", "image": image}]},
        },
    });
    spec.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    spec
}

fn on(image: &str, selector: Value) -> Value {
    let mut spec = spec(image, json!({}));
    spec["template"]["spec"]["nodeSelector"] = selector;
    spec
}

/// `desired/current/ready/updated/available` and misscheduled.
fn told(world: &World) -> String {
    let s = world.set().status;
    format!("{}/{}/{}/{}/{} {}", s.desired, s.current, s.ready, s.updated, s.available, s.misscheduled)
}

fn hash_of(world: &World, pod: &str) -> String {
    world.pod(pod).meta.labels["controller-revision-hash"].clone()
}

/// One pod that runs.
fn running(fields: Value) -> (World, String) {
    let mut world = World::with_daemon_set(spec("a", fields));
    let pod = world.active().remove(0);
    world.run(&pod);
    world.settle();
    (world, pod)
}

#[test]
fn the_node_gets_one_pod_that_carries_its_revision() {
    let (world, pod) = running(json!({}));
    assert_eq!(told(&world), "1/1/1/1/1 0");
    assert_eq!(world.pods().len(), 1);
    let pod = world.pod(&pod);
    let hash = &pod.meta.labels["controller-revision-hash"];
    assert_eq!((hash.len(), pod.meta.labels["pod-template-generation"].as_str()), (10, "1"));
    assert_eq!(pod.meta.labels["app"], "d");
    let tolerations = pod.spec.document()["tolerations"].as_array().unwrap();
    assert_eq!(tolerations.len(), 7);
    assert_eq!(
        tolerations[0],
        json!({"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute"})
    );
    assert_eq!(pod.spec.tolerations.len(), 7);
    assert_eq!(world.set().status.observed_generation, 1);
    let key = Key::new(Kind::ControllerRevision, "default", &format!("d-{hash}"));
    let revision = world.state.get(&key).unwrap().as_revision().unwrap();
    assert_eq!((revision.number, &revision.meta.labels["app"]), (1, &"d".to_string()));
    assert_eq!(revision.data["spec"]["template"]["$patch"], "replace");
    assert_eq!(world.events("SuccessfulCreate")[0].source, "daemonset-controller");
}

#[test]
fn a_toleration_of_the_template_is_not_doubled() {
    let mut spec = spec("a", json!({}));
    let own = json!({"key": "node.kubernetes.io/unschedulable", "operator": "Exists", "effect": "NoSchedule"});
    spec["template"]["spec"]["tolerations"] = json!([own]);
    let world = World::with_daemon_set(spec);
    assert_eq!(world.pods()[0].spec.tolerations.len(), 7);
}

// ---- where ---------------------------------------------------------------------------------------------------------

#[test]
fn a_label_that_goes_takes_the_pod_along() {
    let mut world = World::with_daemon_set(on("a", json!({"disk": "ssd"})));
    assert_eq!((told(&world).as_str(), world.pods().len()), ("0/0/0/0/0 0", 0));
    world.change_node(|node| drop(node.meta.labels.insert("disk".into(), "ssd".into())));
    world.settle();
    assert_eq!(told(&world), "1/1/0/1/0 0");
    world.change_node(|node| drop(node.meta.labels.remove("disk")));
    world.settle();
    assert_eq!((told(&world).as_str(), world.active().len()), ("0/0/0/0/0 1", 0));
    // It comes back only when the old one is gone.
    world.change_node(|node| drop(node.meta.labels.insert("disk".into(), "ssd".into())));
    world.settle();
    assert_eq!(world.pods().len(), 1);
    world.reap(Phase::Succeeded);
    assert_eq!((told(&world).as_str(), world.active().len()), ("1/1/0/1/0 0", 1));
}

#[track_caller]
fn check_taint(key: &str, effect: TaintEffect, tolerations: Value, starts: bool, stays: bool) {
    let taint = Taint { key: key.into(), value: String::new(), effect };
    let mut template = spec("a", json!({}));
    template["template"]["spec"]["tolerations"] = tolerations;
    let mut world = World::new();
    world.change_node(|node| node.spec.taints.push(taint.clone()));
    world.add_daemon_set(template.clone());
    assert_eq!(world.active().len(), usize::from(starts), "starts with {taint:?}");

    let mut world = World::with_daemon_set(template);
    world.change_node(|node| node.spec.taints.push(taint.clone()));
    world.settle();
    assert_eq!(world.active().len(), usize::from(stays), "stays with {taint:?}");
    assert_eq!(world.set().status.misscheduled, u32::from(!starts), "{taint:?}");
}

#[test]
fn taints_keep_it_from_starting_or_take_it_away() {
    use TaintEffect::{NoExecute, NoSchedule, PreferNoSchedule};
    check_taint("k", NoSchedule, json!([]), false, true);
    check_taint("k", NoExecute, json!([]), false, false);
    check_taint("k", PreferNoSchedule, json!([]), true, true);
    check_taint("k", NoSchedule, json!([{"key": "k", "operator": "Exists"}]), true, true);
    check_taint("k", NoExecute, json!([{"operator": "Exists"}]), true, true);
    check_taint("node.kubernetes.io/not-ready", NoExecute, json!([]), true, true);
    check_taint("node.kubernetes.io/disk-pressure", NoSchedule, json!([]), true, true);
    check_taint("node.kubernetes.io/disk-pressure", NoExecute, json!([]), false, false);
}

#[test]
fn a_cordon_is_no_reason_against_it() {
    let mut world = World::new();
    world.change_node(|node| node.spec.unschedulable = true);
    world.add_daemon_set(spec("a", json!({})));
    assert_eq!(world.active().len(), 1);
}

#[test]
fn a_pod_of_the_old_template_stays_while_a_taint_lets_no_new_one_in() {
    let (mut world, pod) = running(json!({}));
    let taint = Taint { key: "k".into(), value: String::new(), effect: TaintEffect::NoSchedule };
    world.change_node(|node| node.spec.taints.push(taint));
    world.change_set(spec("b", json!({})));
    world.settle();
    assert_eq!(world.active(), [pod]);
}

// ---- keeping it alive ----------------------------------------------------------------------------------------------

/// Fails as soon as it is there; gives the wait until it is replaced.
fn fail(world: &mut World) -> u64 {
    let pod = world.active().remove(0);
    world.end(&pod, Phase::Failed);
    world.settle();
    let wait = world.wakes_in().unwrap_or(0);
    if wait > 0 {
        assert_eq!(world.pod(&pod).meta.deleting, None);
        world.pass(wait);
    }
    world.reap(Phase::Failed);
    assert_eq!(world.active().len(), 1);
    wait
}

#[test]
fn a_failed_pod_is_replaced_with_a_growing_wait() {
    let mut world = World::with_daemon_set(spec("a", json!({})));
    let waits: Vec<u64> = (0..13).map(|_| fail(&mut world)).collect();
    assert_eq!(waits, [0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900]);
    assert_eq!(world.events("FailedDaemonPod").len(), 13);
    assert!(world.events("FailedDaemonPod")[0].message.contains("on node gw-7, will try to kill it"));
    // After a long quiet time it begins anew.
    world.pass(1801);
    assert_eq!((fail(&mut world), fail(&mut world)), (0, 1));
    // A new spec is given a new chance.
    assert_eq!(fail(&mut world), 2);
    world.change_set(spec("a", json!({"minReadySeconds": 1})));
    world.settle();
    assert_eq!(fail(&mut world), 0);
}

#[test]
fn a_pod_that_succeeded_is_replaced_without_a_wait() {
    let mut world = World::with_daemon_set(spec("a", json!({})));
    for _ in 0..3 {
        let pod = world.active().remove(0);
        world.end(&pod, Phase::Succeeded);
        world.settle();
        assert_eq!((world.pods().len(), world.wakes_in()), (1, None));
        world.reap(Phase::Succeeded);
        assert_ne!(world.active(), [pod]);
    }
    assert_eq!(world.events("SucceededDaemonPod").len(), 3);
}

#[test]
fn of_two_pods_the_older_stays() {
    let (mut world, pod) = running(json!({}));
    let mut second = world.pod(&pod);
    second.meta.name = "a-first-by-name".into();
    second.meta.uid = crate::model::Uid::new("second");
    second.meta.created = second.meta.created.plus(std::time::Duration::from_secs(1));
    world.put(second);
    world.settle();
    assert_eq!(world.active(), [pod]);
}

#[test]
fn a_full_node_is_said_so_and_waited_for() {
    let mut world = World::new();
    world.state.set_settings(|s| s.pods_max = 0);
    world.add_daemon_set(spec("a", json!({})));
    assert_eq!((told(&world).as_str(), world.events("FailedCreate").len()), ("1/0/0/0/0 0", 1));
    world.state.set_settings(|s| s.pods_max = 1);
    world.settle();
    assert_eq!(world.active().len(), 1);
}

#[test]
fn it_is_available_when_it_was_ready_for_long_enough() {
    let (mut world, _) = running(json!({"minReadySeconds": 30}));
    assert_eq!((told(&world).as_str(), world.wakes_in()), ("1/1/1/1/0 0", Some(30)));
    world.pass(30);
    assert_eq!((told(&world).as_str(), world.wakes_in()), ("1/1/1/1/1 0", None));
}

// ---- updates -------------------------------------------------------------------------------------------------------

#[test]
fn a_new_template_replaces_the_pod_when_it_is_gone() {
    let (mut world, old) = running(json!({}));
    world.change_set(spec("b", json!({})));
    world.settle();
    assert_eq!((world.active().len(), world.pods().len()), (0, 1));
    assert_eq!(world.set().status.observed_generation, 2);
    let hash = hash_of(&world, &old);
    world.reap(Phase::Failed);
    let new = world.active().remove(0);
    assert_ne!(hash_of(&world, &new), hash);
    assert_eq!(world.pod(&new).meta.labels["pod-template-generation"], "2");
    assert_eq!(told(&world), "1/1/0/1/0 0");
}

#[test]
fn a_change_beside_the_template_restarts_nothing() {
    let (mut world, pod) = running(json!({}));
    world.change_set(spec("a", json!({"minReadySeconds": 3})));
    world.settle();
    assert_eq!((world.active(), world.count(Kind::ControllerRevision)), (vec![pod], 1));
    // Nor does another order of the same fields.
    let template = json!({
        "spec": {"containers": [{"image": "a", "name": "main"}]}, "metadata": {"labels": {"app": "d"}}});
    world.change_set(json!({"template": template}));
    world.settle();
    assert_eq!((world.active().len(), world.count(Kind::ControllerRevision)), (1, 1));
}

#[test]
fn an_old_pod_that_keeps_failing_is_replaced_at_once_by_a_new_template() {
    let mut world = World::with_daemon_set(spec("a", json!({})));
    for _ in 0..5 {
        fail(&mut world);
    }
    let pod = world.active().remove(0);
    world.end(&pod, Phase::Failed);
    world.settle();
    assert_eq!(world.wakes_in(), Some(16));
    world.change_set(spec("b", json!({})));
    world.settle();
    world.reap(Phase::Failed);
    assert_eq!(world.active().len(), 1);
}

#[test]
fn with_on_delete_a_person_decides_when() {
    let fields = json!({"updateStrategy": {"type": "OnDelete"}});
    let (mut world, old) = running(fields.clone());
    world.change_set(spec("b", fields));
    world.settle();
    assert_eq!(world.active(), std::slice::from_ref(&old));
    assert_eq!(told(&world), "1/1/1/0/1 0");
    let hash = hash_of(&world, &old);
    world.delete_pod(&old);
    world.settle();
    world.reap(Phase::Failed);
    let new = world.active().remove(0);
    assert_ne!(hash_of(&world, &new), hash);
}

fn surge(image: &str) -> Value {
    let rolling = json!({"maxSurge": 1, "maxUnavailable": 0});
    spec(image, json!({"minReadySeconds": 10, "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": rolling}}))
}

#[test]
fn with_a_surge_the_new_pod_is_available_before_the_old_one_goes() {
    let mut world = World::with_daemon_set(surge("a"));
    let old = world.active().remove(0);
    world.run(&old);
    world.pass(10);
    world.change_set(surge("b"));
    world.pass(1);
    let new = world.active().into_iter().find(|name| *name != old).unwrap();
    assert_eq!(world.active().len(), 2);
    world.run(&new);
    world.pass(9);
    assert_eq!((world.active().len(), world.wakes_in()), (2, Some(1)));
    world.pass(1);
    assert_eq!(world.active(), std::slice::from_ref(&new));
    world.reap(Phase::Failed);
    assert_eq!((world.active(), told(&world).as_str()), (vec![new], "1/1/1/1/1 0"));
}

#[test]
fn with_a_surge_an_old_pod_that_is_of_no_use_goes_at_once() {
    let mut world = World::with_daemon_set(surge("a"));
    let old = world.active().remove(0);
    world.change_set(surge("b"));
    world.settle();
    assert_eq!(world.active().len(), 1);
    assert_ne!(world.active(), [old]);
}

#[test]
fn with_a_surge_a_new_pod_that_fails_is_seen_gone_before_the_next() {
    let mut world = World::with_daemon_set(surge("a"));
    let old = world.active().remove(0);
    world.run(&old);
    world.pass(10);
    world.change_set(surge("b"));
    world.pass(1);
    let new = world.active().into_iter().find(|name| *name != old).unwrap();
    world.end(&new, Phase::Failed);
    world.settle();
    assert_eq!((world.active(), world.pods().len()), (vec![old.clone()], 2));
    world.reap(Phase::Failed);
    assert_eq!(world.active().len(), 2);
}

#[test]
fn going_back_uses_the_old_revision_again() {
    let (mut world, first) = running(json!({}));
    let hash = hash_of(&world, &first);
    world.change_set(spec("b", json!({})));
    world.settle();
    world.reap(Phase::Failed);
    world.change_set(spec("a", json!({})));
    world.settle();
    world.reap(Phase::Failed);
    let pod = world.active().remove(0);
    assert_eq!(hash_of(&world, &pod), hash);
    assert_eq!(world.pod(&pod).meta.labels["pod-template-generation"], "3");
    let mut numbers: Vec<i64> =
        world.state.of_kind(Kind::ControllerRevision).map(|r| r.as_revision().unwrap().number).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, [2, 3]);
}

#[test]
fn only_so_many_old_revisions_are_kept_and_never_one_in_use() {
    let fields = json!({"revisionHistoryLimit": 2, "updateStrategy": {"type": "OnDelete"}});
    let (mut world, pod) = running(fields.clone());
    for image in ["b", "c", "d", "e"] {
        world.change_set(spec(image, fields.clone()));
        world.settle();
    }
    let mut numbers: Vec<i64> =
        world.state.of_kind(Kind::ControllerRevision).map(|r| r.as_revision().unwrap().number).collect();
    numbers.sort_unstable();
    // 1 is the pod's, 5 the present one; of 2, 3 and 4 one more has a place.
    assert_eq!(numbers, [1, 4, 5]);
    assert_eq!(world.active(), [pod]);
}

#[test]
fn a_revision_that_a_person_deletes_is_made_again() {
    let (mut world, pod) = running(json!({}));
    let name = format!("d-{}", hash_of(&world, &pod));
    world.delete(Kind::ControllerRevision, &name, Propagation::Background);
    world.settle();
    assert_eq!((world.count(Kind::ControllerRevision), world.active()), (1, vec![pod]));
}

#[test]
fn a_set_that_goes_takes_pods_and_revisions_along() {
    for propagation in [Propagation::Background, Propagation::Foreground] {
        let (mut world, _) = running(json!({}));
        world.delete(Kind::DaemonSet, "d", propagation);
        world.settle();
        assert_eq!((world.active().len(), world.count(Kind::ControllerRevision)), (0, 0));
        assert_eq!(world.count(Kind::DaemonSet), usize::from(propagation == Propagation::Foreground));
        world.reap(Phase::Failed);
        assert_eq!((world.count(Kind::DaemonSet), world.count(Kind::Pod)), (0, 0));
    }
}
