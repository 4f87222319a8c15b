//! What an attempt is started with: environment, program, user, bounds.

use super::*;
use crate::model::attempt::Root;

/// The launch of the only container, `more` of which is given.
#[track_caller]
fn launched(w: &mut World, pod_fields: Value, more: Value) -> Launch {
    let container = and(json!({"name": "c", "command": ["x"]}), more);
    w.run(and(json!({ "containers": [container] }), pod_fields));
    w.launches().pop().unwrap_or_else(|| panic!("{} {}", w.shown("c"), w.message("c")))
}

#[track_caller]
fn check_env(env: Value, expected: &[(&str, Option<&str>)]) {
    let mut w = World::new();
    w.add(config_map("m", json!({"K": "from map", "P": "$(A)"})));
    w.add(secret("s", json!({"K": "ZnJvbSBzZWNyZXQ=", "EMPTY": ""})));
    let launch = launched(&mut w, json!({}), env.clone());
    for (name, value) in expected {
        let found: Vec<&str> = launch.env.iter().filter(|(n, _)| n == name).map(|(_, v)| v.as_str()).collect();
        assert_eq!(found, value.iter().copied().collect::<Vec<_>>(), "{name} of {env}");
    }
}

fn key_of(what: &str, name: &str, key: &str, optional: bool) -> Value {
    json!({ what: {"name": name, "key": key, "optional": optional} })
}

#[test]
fn variables_come_in_kubernetes_order() {
    let value = |name: &str, value: &str| json!({"name": name, "value": value});
    let of = |list: Value| json!({ "env": list });
    check_env(
        of(json!([value("A", "1"), value("B", "$(A)2"), value("C", "$$(A)")])),
        &[("A", Some("1")), ("B", Some("12")), ("C", Some("$(A)"))],
    );
    check_env(of(json!([value("B", "$(A)"), value("A", "1")])), &[("B", Some("$(A)"))]);
    check_env(of(json!([value("A", "1"), value("A", "$(A)2")])), &[("A", Some("12"))]);
    check_env(of(json!([value("A", "")])), &[("A", Some(""))]);
    check_env(of(json!([value("A", "$(HOSTNAME)$(PATH)")])), &[("A", Some("$(HOSTNAME)$(PATH)"))]);
    let from = json!([{"configMapRef": {"name": "m"}}, {"secretRef": {"name": "s"}}]);
    check_env(json!({ "envFrom": from }), &[("K", Some("from secret")), ("P", Some("$(A)")), ("EMPTY", Some(""))]);
    check_env(
        json!({"envFrom": from, "env": [value("B", "$(K)"), value("K", "own")]}),
        &[("B", Some("from secret")), ("K", Some("own"))],
    );
    let prefixed = json!([{"prefix": "X_", "configMapRef": {"name": "m"}}]);
    check_env(json!({ "envFrom": prefixed }), &[("X_K", Some("from map")), ("K", None)]);
}

#[test]
fn values_from_elsewhere_are_not_expanded_and_may_be_optional() {
    let from = |name: &str, source: Value| json!({"name": name, "valueFrom": source});
    let env = json!([
        {"name": "A", "value": "a"},
        from("B", key_of("configMapKeyRef", "m", "P", false)),
        from("C", key_of("secretKeyRef", "s", "K", false)),
        from("D", key_of("configMapKeyRef", "none", "K", true)),
        from("E", key_of("configMapKeyRef", "m", "none", true)),
        from("F", key_of("secretKeyRef", "s", "none", true)),
        from("G", key_of("secretKeyRef", "none", "none", true)),
        {"name": "H", "value": "$(B) $(D)"},
    ]);
    check_env(
        json!({ "env": env }),
        &[
            ("B", Some("$(A)")),
            ("C", Some("from secret")),
            ("D", None),
            ("E", None),
            ("F", None),
            ("G", None),
            ("H", Some("$(A) $(D)")),
        ],
    );
    let optional = json!([{"configMapRef": {"name": "no", "optional": true}}, {"secretRef": {"name": "no", "optional": true}}, {}]);
    check_env(json!({ "envFrom": optional }), &[("K", None)]);
}

#[test]
fn a_pods_own_fields_and_amounts_can_be_variables() {
    let mut w = World::new();
    let field = |name: &str, path: &str| json!({"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}});
    let amount = |name: &str, resource: &str, divisor: Value| json!({"name": name, "valueFrom": {"resourceFieldRef": {"resource": resource, "divisor": divisor}}});
    let env = json!([
        field("NAME", "metadata.name"),
        field("NS", "metadata.namespace"),
        field("UID", "metadata.uid"),
        field("NODE", "spec.nodeName"),
        field("SA", "spec.serviceAccountName"),
        field("HOST_IP", "status.hostIP"),
        field("POD_IPS", "status.podIPs"),
        field("LABEL", "metadata.labels['app']"),
        field("NOTE", "metadata.annotations['a.b/c']"),
        field("NO_LABEL", "metadata.labels['none']"),
        amount("CPU", "limits.cpu", Value::Null),
        amount("CPU_M", "limits.cpu", json!("1m")),
        amount("MEM", "requests.memory", Value::Null),
        amount("MEM_MI", "requests.memory", json!("1Mi")),
        amount("MEM_LIMIT", "limits.memory", json!("1Gi")),
        amount("NO_REQUEST", "requests.cpu", json!("0")),
        amount("DISK", "limits.ephemeral-storage", Value::Null),
    ]);
    let container = json!({"name": "c", "command": ["x"], "env": env,
        "resources": {"limits": {"cpu": "250m"}, "requests": {"memory": "1500Ki"}}});
    let mut p = pod("p", json!({ "containers": [container] }));
    p.meta.labels.insert("app".into(), "shop".into());
    p.meta.annotations.insert("a.b/c".into(), "note".into());
    w.add(p).step();
    let launch = w.launches().pop().unwrap();
    let env: std::collections::BTreeMap<&str, &str> =
        launch.env.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    for (name, value) in [
        ("NAME", "p"),
        ("NS", "default"),
        ("UID", "uid-p"),
        ("NODE", "gw-7"),
        ("SA", "default"),
        ("HOST_IP", "10.0.0.7"),
        ("POD_IPS", "10.0.0.7"),
        ("LABEL", "shop"),
        ("NOTE", "note"),
        ("NO_LABEL", ""),
        ("CPU", "1"),
        ("CPU_M", "250"),
        ("MEM", "1536000"),
        ("MEM_MI", "2"),
        ("MEM_LIMIT", "1"),
        ("NO_REQUEST", "1"),
        ("DISK", "0"),
        ("HOSTNAME", "p"),
        ("HOME", "/root"),
        ("PINNACE_ATTEMPT", "0"),
        ("PINNACE_POD_UID", "uid-p"),
        ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
    ] {
        assert_eq!(env.get(name), Some(&value), "{name}");
    }
}

#[test]
fn every_attempt_knows_its_number() {
    let mut w = World::new();
    w.run(json!({"containers": [{"name": "c", "command": ["x", "$(PINNACE_ATTEMPT)"]}]})).exits("c", 1);
    let numbers: Vec<String> = w.launches().iter().map(|l| l.argv[1].clone()).collect();
    assert_eq!(numbers, ["0", "1"]);
}

#[test]
fn keys_that_are_no_names_of_variables_are_left_out_and_said() {
    let mut w = World::new();
    w.add(config_map("m", json!({"a=b": "1", "é": "2", "fine-1.x": "3"})));
    let launch = launched(&mut w, json!({}), json!({"envFrom": [{"configMapRef": {"name": "m"}}]}));
    let names: Vec<&str> = launch.env.iter().map(|(n, _)| n.as_str()).collect();
    assert!(names.contains(&"fine-1.x") && !names.contains(&"a=b") && !names.contains(&"é"));
    w.has_event("InvalidEnvironmentVariableNames: Keys [a=b, é] from the EnvFrom configMap default/m were skipped since they are considered invalid environment variable names. x1");
}

#[test]
fn command_and_arguments_replace_what_the_image_says() {
    #[track_caller]
    fn check(command: &[&str], args: &[&str], expected: &[&str]) {
        let mut w = World::new();
        w.add(image(
            "img",
            json!({"directory": "/srv/img", "entrypoint": ["ENTRY", "$(A)"], "cmd": ["CMD"],
            "env": ["A=image", "PATH=/opt/bin"], "workingDir": "/data"}),
        ));
        let more = json!({"image": "img", "command": command, "args": args, "env": [{"name": "A", "value": "own"}]});
        let launch = launched(&mut w, json!({}), more);
        assert_eq!(launch.argv, expected);
        assert_eq!((launch.root, launch.cwd.as_str()), (Root::Directory("/srv/img".into()), "/data"));
        assert!(launch.env.contains(&("PATH".into(), "/opt/bin".into())));
        assert!(launch.env.contains(&("A".into(), "own".into())));
    }
    check(&[], &[], &["ENTRY", "$(A)", "CMD"]);
    check(&["c", "$(A)"], &[], &["c", "own"]);
    check(&[], &["a"], &["ENTRY", "$(A)", "a"]);
    check(&["c"], &["$(A)", "$(B)"], &["c", "own", "$(B)"]);
}

#[test]
fn the_host_is_the_image_of_a_container_that_has_none() {
    for image in ["", "host"] {
        let launch = launched(&mut World::new(), json!({}), json!({ "image": image }));
        assert_eq!((launch.root, launch.cwd.as_str()), (Root::Host, "/"));
    }
    let mut w = World::new();
    w.add(image("tools", json!({"directory": "/"})));
    let launch = launched(&mut w, json!({}), json!({"image": "tools", "workingDir": "/srv"}));
    assert_eq!((launch.root, launch.cwd.as_str()), (Root::Host, "/srv"));
}

#[test]
fn users_groups_privileges_and_bounds_are_handed_on() {
    let settings = Settings { pod_pids_max: Some(64), log_bytes_max: 1000, log_files_max: 2, ..Settings::default() };
    let mut w = World::with(settings);
    let pod_fields = json!({"hostname": "shop-1",
        "securityContext": {"runAsUser": 1000, "runAsGroup": 1001, "supplementalGroups": [7, 8]}});
    let more = json!({"securityContext": {"runAsUser": 5, "allowPrivilegeEscalation": false},
        "resources": {"limits": {"cpu": "500m", "memory": "64Mi"}}});
    let launch = launched(&mut w, pod_fields, more);
    assert_eq!((launch.user, launch.group, launch.groups), (Some(5), Some(1001), vec![7, 8]));
    assert!(launch.no_new_privileges && !launch.must_not_be_root);
    assert_eq!((launch.limits.cpu_weight, launch.limits.memory_max), (Some(20), Some(64 << 20)));
    assert_eq!((launch.pod_limits.cpu_quota_us, launch.pod_limits.pids_max), (Some(50_000), Some(64)));
    assert_eq!((launch.oom_score_adj, launch.log_bytes_max, launch.log_files_max), (-997, 1000, 2));
    assert!(launch.env.contains(&("HOSTNAME".into(), "shop-1".into())));
    assert!(launch.env.contains(&("HOME".into(), "/".into())));
}
