//! As whom a container runs and what it may do.

use super::*;
use crate::model::attempt::{Capabilities, Seccomp};

/// An image with layers and this user, and a container of it with a security context.
fn world(image_user: &str) -> World {
    let mut w = World::new();
    let layers = json!([{"diffId": "aa", "size": 1}]);
    w.add(image("img", json!({"layers": layers, "entrypoint": ["/e"], "user": image_user, "stopSignal": "SIGQUIT"})));
    w
}

fn of(image: &str, of_pod: Value, of_container: Value) -> Value {
    let container = json!({"name": "c", "image": image, "command": ["x"], "securityContext": of_container});
    json!({"securityContext": of_pod, "containers": [container]})
}

#[track_caller]
fn launched(image: &str, of_pod: Value, of_container: Value) -> Launch {
    let mut w = world("");
    w.run(of(image, of_pod, of_container));
    w.launches().pop().unwrap_or_else(|| panic!("{} {}", w.shown("c"), w.message("c")))
}

#[test]
fn a_container_that_must_not_be_root_is_refused_in_the_kubelets_words() {
    #[track_caller]
    fn check(image_user: &str, user: Value, expected: Option<&str>) {
        let mut w = world(image_user);
        w.run(of("img", json!({"runAsNonRoot": true}), json!({ "runAsUser": user })));
        let said = expected.map(|text| format!("{text} (pod: \"p_default(uid-p)\", container: c)"));
        match said {
            Some(said) => {
                assert_eq!((w.shown("c"), w.message("c")), ("waiting CreateContainerConfigError #0".into(), said))
            }
            None => assert_eq!(w.effects(), ["start c/0"], "{}", w.message("c")),
        }
    }
    let root = Some("container has runAsNonRoot and image will run as root");
    let named = |user: &str| {
        format!("container has runAsNonRoot and image has non-numeric user ({user}), cannot verify user is non-root")
    };
    for image_user in ["", "0", "0:5", "00"] {
        check(image_user, Value::Null, root);
    }
    check("root", Value::Null, Some(&named("root")));
    check("app:staff", Value::Null, Some(&named("app")));
    check("-1", Value::Null, Some(&named("-1")));
    check("99999999999", Value::Null, Some(&named("99999999999")));
    check("1000", Value::Null, None);
    check("1000:0", Value::Null, None);
    check("app", json!(5), None);
    check("1000", json!(0), Some("container's runAsUser breaks non-root policy"));
}

#[test]
fn the_home_of_a_user_that_is_not_root_is_not_roots() {
    for (user, home) in [(json!({}), "/root"), (json!({"runAsUser": 0}), "/root"), (json!({"runAsUser": 1000}), "/")] {
        let launch = launched("host", user.clone(), json!({}));
        assert!(launch.env.contains(&("HOME".into(), home.into())), "{user}");
    }
    let launch = launched("img", json!({}), json!({}));
    assert!(launch.env.iter().all(|(name, _)| name != "HOME"), "the image's own /etc/passwd says it");
}

#[test]
fn an_image_gains_no_privileges_unless_it_is_let() {
    #[track_caller]
    fn check(of_container: Value, image: bool, host: bool) {
        let found = ["img", "host"].map(|i| launched(i, json!({}), of_container.clone()).no_new_privileges);
        assert_eq!(found, [image, host], "{of_container}");
    }
    check(json!({}), true, false);
    check(json!({"allowPrivilegeEscalation": true}), false, false);
    check(json!({"allowPrivilegeEscalation": false}), true, true);
    check(json!({"privileged": true}), false, false);
    for name in ["SYS_ADMIN", "CAP_SYS_ADMIN", "ALL"] {
        check(json!({"capabilities": {"add": [name]}}), false, false);
    }
    check(json!({"capabilities": {"add": ["SYS_TIME"], "drop": ["ALL"]}}), true, false);
}

#[test]
fn what_is_asked_for_is_handed_on() {
    let launch = launched(
        "img",
        json!({}),
        json!({"privileged": true, "readOnlyRootFilesystem": true,
        "capabilities": {"add": ["cap_net_admin", "SYS_TIME"], "drop": ["all"]}}),
    );
    assert!(launch.privileged && launch.read_only_root);
    let names = |names: &[&str]| names.iter().map(|n| (*n).to_string()).collect();
    let expected = Capabilities { add: names(&["NET_ADMIN", "SYS_TIME"]), drop: names(&["ALL"]) };
    assert_eq!((launch.capabilities, launch.stop_signal), (expected, 3));
    let plain = launched("host", json!({}), json!({}));
    assert!(!plain.privileged && !plain.read_only_root);
    assert_eq!((plain.capabilities, plain.stop_signal), (Capabilities::default(), 15));
}

#[test]
fn the_containers_filter_goes_before_the_pods() {
    let profile = |kind: &str| json!({"seccompProfile": {"type": kind}});
    let check = |of_pod: Value, of_container: Value, expected| {
        assert_eq!(launched("img", of_pod, of_container).seccomp, expected);
    };
    check(json!({}), json!({}), Seccomp::Unset);
    check(profile("RuntimeDefault"), json!({}), Seccomp::RuntimeDefault);
    check(profile("RuntimeDefault"), profile("Unconfined"), Seccomp::Unconfined);
    check(json!({}), profile("RuntimeDefault"), Seccomp::RuntimeDefault);
}
