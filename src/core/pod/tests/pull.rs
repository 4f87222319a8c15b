//! Images that have to be fetched: when a registry is asked, what its answers mean, and what a silent one does not stop.

use crate::model::image::{Disk, ImageSpec, Layer, Origin, PullFailure, PullFailureKind, Pulled};

use super::*;

const IMAGE: &str = "reg.example/app:1";

fn of_image(policy: &str) -> Value {
    json!({"containers": [{"name": "c", "image": IMAGE, "imagePullPolicy": policy}]})
}

fn fetched(digest: &str) -> ImageSpec {
    ImageSpec {
        reference: IMAGE.into(),
        id: format!("sha256:id-of-{digest}"),
        digest: digest.into(),
        layers: vec![Layer { diff_id: format!("layer-of-{digest}"), size: 10 }],
        entrypoint: vec!["/app".into()],
        origin: Origin::Registry,
        ..ImageSpec::default()
    }
}

fn answer(outcome: Result<&str, PullFailureKind>) -> Seen {
    let outcome = match outcome {
        Ok(digest) => Ok(Box::new(fetched(digest))),
        Err(kind) => Err(PullFailure { kind, message: "why".into() }),
    };
    Seen::Pulled(Pulled { reference: IMAGE.into(), outcome, disk: Disk::default() })
}

/// A node whose store has the image, as it was fetched once.
fn stored() -> World {
    let mut w = World::new();
    let meta = Meta::named("", &crate::model::image::object_name(IMAGE));
    w.add(Image { meta, spec: fetched("d1"), used: None });
    w
}

#[test]
fn a_missing_image_is_fetched_once_and_then_run() {
    let mut w = World::new();
    w.run(of_image("IfNotPresent"));
    assert_eq!(w.effects(), [format!("pull {IMAGE}")]);
    assert_eq!((w.shown("c"), w.wakes_in()), ("waiting ContainerCreating #0".into(), None));
    w.pass(3600).step();
    assert_eq!(w.effects(), [""; 0], "nobody asks twice");
    w.see([answer(Ok("d1"))]);
    let [launch] = <[Launch; 1]>::try_from(w.launches()).unwrap();
    assert_eq!(launch.root, crate::model::attempt::Root::Layers(vec!["layer-of-d1".into()]));
    assert_eq!(w.status("c").image_id, "sha256:id-of-d1");
    w.has_event(&format!("Pulling: Pulling image \"{IMAGE}\" x1"));
    w.has_event(&format!("Pulled: Successfully pulled image \"{IMAGE}\" in 3600000ms x1"));
}

#[test]
fn no_registry_is_asked_for_a_name_that_no_image_can_have() {
    let mut w = World::new();
    w.run(json!({"containers": [{"name": "c", "image": "Bad//x", "imagePullPolicy": "Always"}]}));
    assert_eq!(w.effects(), [""; 0]);
    let why = "image name \"Bad//x\": a repository has parts of letters and digits between slashes, joined by one `.`, `_`, `__` or some `-`";
    assert_eq!((w.shown("c"), w.message("c")), ("waiting InvalidImageName #0".into(), why.to_string()));
    assert_eq!(w.events().iter().filter(|event| event.starts_with("Pulling")).count(), 0, "{:?}", w.events());
    w.has_event(&format!("Failed: Failed to pull image \"Bad//x\": {why} x1"));
}

#[test]
fn a_fetch_that_fails_is_tried_again_later_and_the_reasons_take_turns() {
    let mut w = World::new();
    w.run(of_image("Always")).effects();
    w.see([answer(Err(PullFailureKind::Refused))]);
    assert_eq!(
        (w.shown("c"), w.message("c"), w.wakes_in()),
        ("waiting ErrImagePull #0".into(), "why".into(), Some(10))
    );
    assert_eq!(w.effects(), [""; 0]);
    w.pass(10);
    assert_eq!(w.effects(), [format!("pull {IMAGE}")]);
    w.see([answer(Err(PullFailureKind::Unreachable))]);
    assert_eq!((w.shown("c"), w.wakes_in()), ("waiting ImagePullBackOff #0".into(), Some(20)));
    assert_eq!(w.message("c"), format!("Back-off pulling image \"{IMAGE}\": why"));
    w.pass(20);
    w.see([answer(Err(PullFailureKind::InvalidName))]);
    assert_eq!(w.shown("c"), "waiting InvalidImageName #0");
    w.pass(40);
    w.see([answer(Ok("d1"))]);
    assert_eq!(w.launches().len(), 1);
    assert_eq!((w.status("c").pull, w.status("c").pulling), (None, None));
}

#[test]
fn always_asks_before_each_attempt_and_never_does_not() {
    let mut w = stored();
    w.run(of_image("Always"));
    assert_eq!((w.effects(), w.wakes_in()), (vec![format!("pull {IMAGE}")], Some(5)));
    w.see([answer(Ok("d2"))]);
    assert_eq!(w.launches()[0].root, crate::model::attempt::Root::Layers(vec!["layer-of-d2".into()]));
    w.started("c").effects();
    w.exits("c", 1);
    assert_eq!(w.effects(), [format!("pull {IMAGE}")], "the second attempt asks again");
    for policy in ["IfNotPresent", "Never"] {
        let mut w = stored();
        w.run(of_image(policy));
        assert_eq!(w.effects(), ["start c/0"]);
    }
}

#[test]
fn a_registry_that_cannot_be_asked_does_not_stop_what_the_store_has() {
    for (kind, starts) in [
        (PullFailureKind::Unreachable, true),
        (PullFailureKind::NoRoom, true),
        (PullFailureKind::Refused, false),
        (PullFailureKind::InvalidName, false),
    ] {
        let mut w = stored();
        w.run(of_image("Always")).effects();
        w.see([answer(Err(kind))]);
        assert_eq!(w.launches().len(), usize::from(starts), "{kind:?}");
    }
}

#[test]
fn a_silent_registry_is_waited_for_five_seconds() {
    let mut w = stored();
    w.run(of_image("Always")).effects();
    w.pass(4);
    assert_eq!((w.effects(), w.wakes_in()), (vec![], Some(1)));
    w.pass(1);
    assert_eq!(w.effects(), ["start c/0"]);
    w.has_event(&format!(
        "PullSkipped: The image \"{IMAGE}\" of the store is used: no registry has answered within 5 s x1"
    ));
}

#[test]
fn what_a_person_brought_is_not_asked_about() {
    for (origin, pull) in [(Origin::Import, true), (Origin::Registry, false)] {
        let mut w = World::with(Settings { images_pull: pull, ..Settings::default() });
        let spec = ImageSpec { origin, ..fetched("d1") };
        w.add(Image { meta: Meta::named("", &crate::model::image::object_name(IMAGE)), spec, used: None });
        w.run(of_image("Always"));
        assert_eq!(w.effects(), ["start c/0"], "{origin:?}, {pull}");
    }
}

#[test]
fn a_fetch_ends_with_the_daemon_and_is_ordered_again() {
    let mut w = World::new();
    w.run(of_image("IfNotPresent")).effects();
    w.booted(vec![]);
    assert!(w.effects().contains(&format!("pull {IMAGE}")));
}

#[test]
fn pull_secrets_go_along_and_a_missing_one_is_told() {
    let mut w = World::new();
    w.add(secret("s", json!({".dockerconfigjson": "e30="})));
    w.run(and(of_image("Always"), json!({"imagePullSecrets": [{"name": "s"}, {"name": "lost"}]})));
    let credentials = |effect| if let Effect::Pull(pull) = effect { Some(pull.credentials) } else { None };
    let sent = w.effects.drain(..).find_map(credentials);
    assert_eq!(sent.unwrap(), ["{}"]);
    w.has_event("FailedToRetrieveImagePullSecret: Unable to retrieve some image pull secrets (lost); attempting to pull the image may not succeed. x1");
}
