use std::collections::BTreeMap;

use super::*;

fn host() -> Host {
    Host { data_dir: "/d".into(), run_dir: "/r".into(), name: "n".into() }
}

fn load(file: &str, env: &[(&str, &str)], flags: Flags) -> Result<Config, ConfigError> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config.yaml");
    fs::write(&path, file).unwrap();
    let env: BTreeMap<String, String> = env.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
    Config::load(Some(&path), flags, |name| env.get(name).cloned())
}

#[track_caller]
fn refused(file: &str, expected: &str) {
    let error = load(file, &[], Flags::default()).unwrap_err().to_string();
    assert!(error.contains(expected), "{error:?} does not say {expected:?}");
}

#[test]
fn flags_win_over_the_environment_and_that_over_the_file() {
    let file = "name: file\nfleet: file\ngroups: [file]\n";
    let env = [("PINNACE_NAME", "env"), ("PINNACE_FLEET", "env")];
    let config = load(file, &env, Flags { name: Some("flag".into()), ..Flags::default() }).unwrap();
    assert_eq!((config.name.as_str(), config.fleet.as_str(), config.groups), ("flag", "env", vec!["file".to_string()]));
    assert_eq!(config.settings.fleet, "env");
}

#[test]
fn every_setting_can_be_written_in_the_file() {
    let file = r#"
data_dir: /srv/p
run_dir: /run/p
name: gw-1
labels: {disk: ssd, example.com/rack: 5, on: true, empty: }
groups: [b, a, b]
broker: mqtts://broker.example.com
fleet: prod
limits: required
cgroup_root: /sys/fs/cgroup/p
stop_pods: yes
mqtt:
  client_id: c
  username: u
  password_file: /pw
  keep_alive_s: 300
  protocol: v3
  ca_file: /ca
  cert_file: /cert
  key_file: /key
  set_bytes_max: 65536
  reconnect_max_s: 60
  state_interval_s: 10
  topic_root: root
bounds:
  pods_max: 1
  finished_pods_max: 2
  objects_max: 3
  events_max: 4
  event_ttl_s: 5
  log_bytes_max: 5000
  log_files_max: 7
  pod_pids_max: 8
"#;
    for key in KEYS {
        let name = key.rsplit('.').next().unwrap();
        assert!(file.contains(&format!("{name}:")), "{key} is missing here");
    }
    let config = load(file, &[], Flags::default()).unwrap();
    let labels = [("disk", "ssd"), ("example.com/rack", "5"), ("on", "true"), ("empty", "")];
    assert_eq!(config.labels, labels.map(|(k, v)| (k.to_string(), v.to_string())).into());
    assert_eq!(config.groups, ["a", "b"]);
    assert_eq!(config.socket(), Path::new("/run/p/pinnace.sock"));
    let mqtt = config.mqtt.unwrap();
    assert_eq!(mqtt.broker.to_string(), "mqtts://broker.example.com:8883");
    assert_eq!((mqtt.client_id.as_str(), mqtt.keep_alive_s, mqtt.protocol), ("c", 300, Protocol::V3));
    let expected = Settings {
        pods_max: 1,
        finished_pods_max: 2,
        objects_max: 3,
        events_max: 4,
        event_ttl_s: 5,
        log_bytes_max: 5000,
        log_files_max: 7,
        limits_required: true,
        pod_pids_max: Some(8),
        fleet: "prod".into(),
    };
    assert_eq!(config.settings, expected);
}

#[test]
fn every_key_can_be_given_by_the_environment_as_text() {
    for key in KEYS {
        let value = match *key {
            "labels" => "a=b,c=d",
            "groups" => "a, b",
            "broker" => "mqtt://b:1",
            "limits" => "optional",
            "stop_pods" => "true",
            "mqtt.protocol" => "v5",
            _ if key.ends_with("_s") || key.ends_with("_max") => "4096",
            _ => "word",
        };
        let mut draft = Draft::new(&host());
        // `log_files_max` is at most 1000.
        let value = if *key == "bounds.log_files_max" { "9" } else { value };
        draft.set(key, &Value::String(value.into())).unwrap_or_else(|e| panic!("{} {e}", env_name(key)));
    }
    assert_eq!(env_name("mqtt.client_id"), "PINNACE_MQTT_CLIENT_ID");
}

#[test]
fn a_node_without_a_broker_runs_alone_and_is_its_own_client_id_with_one() {
    assert_eq!(load("mqtt: {keep_alive_s: 30}", &[], Flags::default()).unwrap().mqtt, None);
    let config = load("name: gw\nbroker: mqtt://b", &[], Flags::default()).unwrap();
    assert_eq!(config.mqtt.unwrap().client_id, "gw");
}

#[test]
fn an_empty_file_changes_nothing() {
    for file in ["", "# nothing\n", "---\n", "mqtt:\nname:\nbounds:\n", "{}"] {
        let config = load(file, &[], Flags::default()).unwrap_or_else(|e| panic!("{file:?}: {e}"));
        assert_eq!((config.settings, config.mqtt), (Settings::default(), None), "{file:?}");
    }
}

#[test]
fn bad_files_are_refused_with_what_to_do() {
    refused("nam: x", "unknown key \"nam\", did you mean \"name\"?");
    refused("mqtt: {keepalive_s: 5}", "did you mean \"mqtt.keep_alive_s\"?");
    refused("bananas: 5", "docs/configuration.md");
    refused("name: a\nname: b", "duplicate");
    refused("- a", "must be a mapping");
    refused("mqtt: 5", "mqtt must be a mapping");
    refused("name: [", "configuration /");
    refused("name: Gateway", "name must be 1 to 63 lower case");
    refused("name: a/b", "is \"a/b\"");
    refused("name: -a", "both ends");
    refused("fleet: ''", "fleet is empty");
    refused("fleet: 5", "fleet must be text, is 5");
    refused("groups: [a, '#']", "groups must be");
    refused("groups: {a: b}", "groups must be a list");
    refused("labels: {a b: c}", "no label key");
    refused("labels: {-x/a: c}", "no label key");
    refused("labels: {a: 'b c'}", "\"b c\" for a");
    refused("labels: {a: [b]}", "must be text");
    refused("labels: a", "has no =");
    refused("labels: a=b,a=c", "twice");
    refused("broker: b:1883", "mqtt://");
    refused("limits: maybe", "limits must be one of optional, required");
    refused("stop_pods: often", "stop_pods must be one of true, false");
    refused("mqtt: {keep_alive_s: 4}", "from 5 to 65535, is 4");
    refused("mqtt: {keep_alive_s: 65536}", "from 5 to 65535");
    refused("mqtt: {keep_alive_s: -1}", "is -1");
    refused("mqtt: {keep_alive_s: 5.5}", "is 5.5");
    refused("mqtt: {protocol: v4}", "auto, v5, v3");
    refused("mqtt: {cert_file: /c}", "go together");
    refused("mqtt: {password_file: /c}", "needs mqtt.username");
    refused("broker: mqtt://b\nmqtt: {ca_file: /c}", "mqtts://");
    let nested = format!("name: {}", "[".repeat(10_000));
    refused(&nested, "configuration /");
}

#[test]
fn errors_say_where_the_value_stands() {
    let error = load("", &[("PINNACE_BOUNDS_PODS_MAX", "0")], Flags::default()).unwrap_err().to_string();
    assert!(error.starts_with("environment: PINNACE_BOUNDS_PODS_MAX must be"), "{error}");
    let error = load("", &[], Flags { data_dir: Some(String::new()), ..Flags::default() }).unwrap_err().to_string();
    assert_eq!(error, "--data-dir is empty");
    let error = Config::load(Some(Path::new("/nowhere/c.yaml")), Flags::default(), |_| None).unwrap_err().to_string();
    assert!(error.contains("/nowhere/c.yaml: cannot be read"), "{error}");
}

#[test]
fn defaults_depend_on_who_runs_it() {
    let none = |_: &str| None;
    let root = Host::new(0, "Gateway_7.local", &none);
    assert_eq!((root.data_dir.as_path(), root.run_dir.as_path()), (Path::new(ROOT_DATA_DIR), Path::new(ROOT_RUN_DIR)));
    assert_eq!(root.name, "gateway-7.local");
    let user = Host::new(1000, "", &none);
    assert_eq!((user.run_dir.to_str(), user.name.as_str()), (Some("/tmp/pinnace-1000"), "localhost"));
    let home = |name: &str| (name == "HOME").then(|| "/home/me".to_string());
    assert_eq!(Host::new(1000, "a", &home).data_dir, Path::new("/home/me/.local/share/pinnace"));
    let xdg = |name: &str| name.starts_with("XDG_").then(|| format!("/{name}"));
    let user = Host::new(1000, "a", &xdg);
    assert_eq!(user.data_dir, Path::new("/XDG_DATA_HOME/pinnace"));
    assert_eq!(user.run_dir, Path::new("/XDG_RUNTIME_DIR/pinnace"));
}

#[test]
fn any_hostname_gives_a_node_name() {
    for name in ["", "-", "...", "ÄÖ", "a b", "A", &"x".repeat(300), "a.-", "\u{0}"] {
        let name = node_name(name);
        assert_eq!(word(&Value::String(name.clone())), Ok(name));
    }
}

#[test]
fn each_key_is_described() {
    let page = include_str!("../../docs/configuration.md");
    for key in KEYS {
        assert!(page.contains(&format!("| `{key}` |")), "docs/configuration.md does not describe {key}");
    }
    let described = page.lines().filter(|line| line.starts_with("| `")).count();
    assert_eq!(described, KEYS.len(), "docs/configuration.md describes a key that is not there");
}
