//! Names, room and use of images, by whole steps.

use serde_json::json;

use super::*;
use crate::core::step;
use crate::core::world::{World, meta, new_cron_job, new_job};
use crate::model::image::Layer;
use crate::model::{Ask, AskId, Observed, Plan, Propagation, Seen, Spec};

const MB: u64 = 1 << 20;
const ROOMY: Disk = Disk { total: 1000 * MB, free: 900 * MB };
/// 900 MB of 1000 are used: 100 MB too much for the low mark.
const FULL: Disk = Disk { total: 1000 * MB, free: 100 * MB };

/// `layers` are names with their size in MB.
fn spec(reference: &str, layers: &[(&str, u64)]) -> ImageSpec {
    let layer = |(name, mb): &(&str, u64)| Layer { diff_id: name.to_string(), size: mb * MB };
    let id: String = layers.iter().map(|(name, _)| *name).collect();
    ImageSpec {
        reference: reference.into(),
        id: format!("sha256:{id:0<64}"),
        layers: layers.iter().map(layer).collect(),
        origin: Origin::Import,
        ..ImageSpec::default()
    }
}

fn see(world: &mut World, seen: Seen) -> Plan {
    let plan = step(&world.state, &Observed { seen: vec![seen] }, &world.now);
    world.state.apply(&plan.writes);
    let again = step(&world.state, &Observed::default(), &world.now);
    assert_eq!((again.writes, again.effects), (vec![], vec![]), "the step had not settled");
    plan
}

fn ask(world: &mut World, ask: Ask) -> (Result<String, Failure>, Option<Vec<String>>) {
    let plan = see(world, Seen::Asked { id: AskId(1), ask, dry_run: false });
    let mut answer = None;
    for effect in &plan.effects {
        if let Effect::Answer { answer: Ok(record), .. } = effect {
            answer = Some(Ok(record.meta().name.clone()));
        } else if let Effect::Answer { answer: Err(failure), .. } = effect {
            answer = Some(Err(failure.clone()));
        }
    }
    (answer.unwrap(), swept(&plan))
}

/// Names of what a sweep leaves; none: there was no sweep.
fn swept(plan: &Plan) -> Option<Vec<String>> {
    let sweep = |effect: &Effect| {
        let Effect::SweepImages(kept) = effect else { return None };
        Some(kept.iter().map(|spec| shown(spec).to_string()).collect())
    };
    plan.effects.iter().find_map(sweep)
}

fn bring(world: &mut World, spec: ImageSpec, disk: Disk) -> Option<Vec<String>> {
    world.now.uptime += Duration::from_secs(1);
    let (answer, swept) = ask(world, Ask::Keep { image: Box::new(spec), disk });
    assert!(answer.is_ok());
    swept
}

fn references(world: &World) -> Vec<String> {
    world.state.of_kind(Kind::Image).map(|r| shown(&r.as_image().unwrap().spec).to_string()).collect()
}

/// A pod whose only container runs from that image.
fn run(world: &mut World, name: &str, reference: &str, id: &str) {
    let spec =
        Spec::new(json!({"containers": [{"name": "c", "image": reference, "imagePullPolicy": "Never"}]})).unwrap();
    let mut status = crate::model::PodStatus::new(&spec);
    status.started = Some(world.now.moment());
    status.containers[0].image_id = id.into();
    status.containers[0].state = crate::model::ContainerState::Running { started: world.now.moment(), pid: 9 };
    status.phase = crate::model::Phase::Running;
    world.put(Pod { meta: meta("default", name), spec, status });
}

#[test]
fn an_image_that_is_brought_gets_its_name_once() {
    let mut world = World::new();
    assert_eq!(bring(&mut world, spec("a", &[("l1", 1)]), ROOMY), None);
    assert_eq!(bring(&mut world, spec("a", &[("l1", 1)]), ROOMY), None, "the same again leaves nothing over");
    let long = "docker.io/library/a:latest";
    let swept = bring(&mut world, spec(long, &[("l2", 1)]), ROOMY);
    assert_eq!(swept.unwrap(), [long], "the layer of the one before is not needed any more");
    assert_eq!(references(&world), [long], "a newer one takes the name");
}

#[test]
fn an_image_that_runs_outlives_its_name_and_goes_with_the_last_pod() {
    let mut world = World::new();
    let old = spec("a", &[("l1", 1)]);
    bring(&mut world, old.clone(), ROOMY);
    run(&mut world, "p", "a", &old.id);
    let swept = bring(&mut world, spec("a", &[("l2", 1)]), ROOMY).unwrap();
    assert_eq!(swept.len(), 2, "what runs is kept: {swept:?}");
    world.end("p", crate::model::Phase::Failed);
    let plan = see(&mut world, Seen::StopPods);
    assert_eq!(references(&world).len(), 2, "a step that does not touch pods does not look");
    drop(plan);
    let (answer, swept) = ask(
        &mut world,
        Ask::Delete {
            key: Key::new(Kind::Pod, "default", "p"),
            grace_s: Some(0),
            propagation: Propagation::Background,
            if_uid: None,
        },
    );
    assert!(answer.is_ok());
    assert_eq!((references(&world), swept.unwrap()), (vec!["a".to_string()], vec!["a".to_string()]));
}

#[test]
fn an_image_is_not_removed_under_a_pod() {
    let mut world = World::new();
    let image = spec("a", &[("l1", 1)]);
    bring(&mut world, image.clone(), ROOMY);
    run(&mut world, "p", "a", &image.id);
    let key = Key::new(Kind::Image, "", &object_name("a"));
    let delete = Ask::Delete { key, grace_s: None, propagation: Propagation::Background, if_uid: None };
    let (answer, swept) = ask(&mut world, delete.clone());
    assert_eq!(answer.unwrap_err().message, "image a is used by pod default/p; delete the pod first");
    assert_eq!(swept, None);
    world.end("p", crate::model::Phase::Succeeded);
    let (answer, swept) = ask(&mut world, delete);
    assert_eq!((answer.is_ok(), swept), (true, Some(vec![])));
}

#[test]
fn a_full_disk_sends_away_what_nobody_refers_to_and_what_was_unused_for_longest() {
    let mut world = World::new();
    for (name, layers) in [
        ("oldest", &[("base", 40), ("x", 30)][..]),
        ("needed", &[("base", 40), ("n", 50)]),
        ("old", &[("o", 80)]),
        ("young", &[("y", 80)]),
    ] {
        bring(&mut world, spec(name, layers), ROOMY);
    }
    world.put(new_job(
        "j",
        json!({"suspend": true, "template": {"spec": {"containers": [{"name": "c", "image": "needed"}]}}}),
    ));
    assert_eq!(bring(&mut world, spec("early", &[("e", 1)]), FULL), None, "nothing goes that has just come");
    world.now.uptime += MIN_AGE - Duration::from_secs(1);
    let swept = bring(&mut world, spec("new", &[("z", 10)]), FULL).unwrap();
    // `oldest` frees 30 MB, as `needed` has its base too; then `old` frees enough.
    assert_eq!(swept.len(), 4);
    let mut left = references(&world);
    left.sort();
    assert_eq!(left, ["early", "needed", "new", "young"]);
    assert_eq!(bring(&mut world, spec("newer", &[("zz", 10)]), ROOMY), None, "below the high mark nothing goes");
}

#[test]
fn the_stores_own_bound_is_kept_by_the_same_order() {
    let mut world = World::new();
    world.state.set_settings(|s| s.images_bytes_max = Some(100 * MB));
    bring(&mut world, spec("a", &[("l1", 60)]), ROOMY);
    world.now.uptime += MIN_AGE;
    bring(&mut world, spec("b", &[("l2", 60)]), ROOMY);
    assert_eq!(references(&world), ["b"]);
}

#[test]
fn what_any_template_or_set_names_is_not_pruned() {
    let mut world = World::new();
    for name in ["job", "cron", "daemon", "set", "done", "nobody"] {
        bring(&mut world, spec(name, &[(name, 1)]), ROOMY);
    }
    let template = |image: &str| json!({"spec": {"containers": [{"name": "c", "image": image}]}});
    world.put(new_job("j", json!({"suspend": true, "template": template("job")})));
    let mut cron = new_cron_job("c");
    cron.spec = Spec::new(
        json!({"schedule": "@daily", "suspend": true, "jobTemplate": {"spec": {"template": template("cron")}}}),
    )
    .unwrap();
    world.put(cron);
    let daemon = json!({"selector": {"matchLabels": {"a": "b"}}, "template": {"metadata": {"labels": {"a": "b"}}, "spec": {
        "nodeSelector": {"no": "where"}, "containers": [{"name": "c", "image": "daemon"}]}}});
    world.add_daemon_set(daemon);
    let wants = vec![new_job("k", json!({"template": template("set")})).into()];
    let key = crate::model::SetKey { scope: crate::model::Scope::All, slot: "s".into() };
    world.put(crate::model::Set {
        meta: meta("", "all.s"),
        key,
        rev: 1,
        sha: String::new(),
        wants,
        objects: BTreeMap::new(),
        rejected: None,
        has_header: false,
    });
    let (answer, swept) = ask(&mut world, Ask::Prune);
    assert_eq!(answer.unwrap(), "gw-7");
    let mut swept = swept.unwrap();
    swept.sort();
    assert_eq!(swept, ["cron", "daemon", "job", "set"]);
}

#[test]
fn a_registered_directory_is_not_the_stores_to_prune() {
    let mut world = World::new();
    let directory = ImageSpec { reference: "d".into(), directory: "/srv/d".into(), ..ImageSpec::default() };
    world.put(Image { meta: meta("", &object_name("d")), spec: directory, used: None });
    let (_, swept) = ask(&mut world, Ask::Prune);
    assert_eq!((references(&world), swept), (vec!["d".to_string()], None));
}

fn boot(images: Vec<ImageSpec>) -> Seen {
    Seen::Booted(Box::new(Booted {
        node_name: "gw-7".into(),
        identity: crate::model::Uid::new("i"),
        labels: Default::default(),
        groups: vec![],
        facts: Default::default(),
        found: vec![],
        images,
        pods_on_disk: vec![],
    }))
}

#[test]
fn a_node_without_a_database_takes_the_images_that_its_store_has() {
    let mut world = World::new();
    let Some(node) = world.state.node().cloned() else { panic!("no node") };
    world.change(|draft| draft.delete(&Key::new(Kind::Node, "", &node.meta.name)));
    let plan = see(&mut world, boot(vec![spec("a", &[("l1", 1)])]));
    assert_eq!((references(&world), swept(&plan)), (vec!["a".to_string()], None));
}

#[test]
fn a_node_with_a_database_drops_what_it_has_no_record_of_and_forgets_what_is_gone() {
    let mut world = World::new();
    bring(&mut world, spec("a", &[("l1", 1)]), ROOMY);
    bring(&mut world, spec("gone", &[("l2", 1)]), ROOMY);
    let plan = see(&mut world, boot(vec![spec("a", &[("l1", 1)]), spec("deleted", &[("l3", 1)])]));
    assert_eq!((references(&world), swept(&plan)), (vec!["a".to_string()], Some(vec!["a".to_string()])));
    assert_eq!(world.events("ImageLost").len(), 1);
}
