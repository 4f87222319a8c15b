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
log_level: debug
metrics_address: '[::1]:9464'
update_keys:
- ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8g release key
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
images:
  pull: false
  bytes_max: 9000000
  high_percent: 70
  low_percent: 60
  reserve_bytes: 10
  image_bytes_max: 1100000
  concurrency: 3
  bandwidth_max: 12
  docker_config: /docker
  registries:
    docker.io: {mirrors: [lab.example.com:5000]}
    lab.example.com:5000: {insecure: true}
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
    assert_eq!((config.update_keys.len(), config.update_keys[0].comment.as_str()), (1, "release key"));
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
        images_pull: false,
        images_bytes_max: Some(9_000_000),
        images_high_percent: 70,
        images_low_percent: 60,
        fleet: "prod".into(),
    };
    assert_eq!(config.settings, expected);
    let images = config.images;
    assert_eq!((images.reserve_bytes, images.image_bytes_max), (Some(10), 1_100_000));
    let registries = images.registries;
    assert_eq!((registries.concurrency, registries.bandwidth_max, registries.docker_config_required), (3, 12, true));
    assert_eq!(registries.docker_config, Path::new("/docker"));
    assert_eq!(registries.partial_dir, Path::new("/srv/p/images/partial"));
    assert_eq!(registries.hosts["docker.io"].mirrors, ["lab.example.com:5000"]);
    assert!(registries.hosts["lab.example.com:5000"].insecure);
}

#[test]
fn every_key_can_be_given_by_the_environment_as_text() {
    for key in KEYS {
        let value = match *key {
            "labels" => "a=b,c=d",
            "groups" => "a, b",
            "broker" => "mqtt://b:1",
            "limits" => "optional",
            "stop_pods" | "images.pull" => "true",
            "images.registries" => r#"{"r.example.com": {"mirrors": ["m:5000"]}}"#,
            "images.high_percent" | "images.low_percent" | "images.concurrency" => "9",
            "images.bytes_max" | "images.image_bytes_max" | "images.reserve_bytes" => "4194304",
            "mqtt.protocol" => "v5",
            "log_level" => "warn",
            "metrics_address" => "127.0.0.1:0",
            "update_keys" => {
                "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8g a, ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8g b"
            }
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
    refused(
        "name: a\nname: b",
        "config.yaml: yaml: line 2, column 1: duplicate mapping key `name` is not allowed here",
    );
    refused("# a\nname: [a", "config.yaml: yaml: line 2");
    refused("name: a\n---\nname: b", "yaml: it has 2 documents, one is possible");
    refused("name: a\n:", "config.yaml: yaml: line");
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
    refused("images: {high_percent: 101}", "from 1 to 100");
    refused("images: {high_percent: 50, low_percent: 60}", "images.low_percent (60) must not be above");
    refused("images: {high_percent: 50}", "images.low_percent (80) must not be above");
    refused("images: {concurrency: 0}", "from 1 to 16");
    refused("images: {registry: {}}", "did you mean \"images.registries\"?");
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
fn the_table_has_every_key_in_order() {
    let named: Vec<&str> = keys::TABLE.iter().map(|key| key.name).collect();
    assert_eq!(named, KEYS, "config/keys.rs and KEYS differ");
}

/// `PINNACE_UPDATE=1` writes the rows of the page anew.
#[test]
fn each_key_is_described() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/configuration.md");
    let page = fs::read_to_string(file).unwrap();
    let row =
        |line: &str| keys::TABLE.iter().find(|k| line.starts_with(&format!("| `{}`", k.name))).map(keys::Key::row);
    let renewed: String = page.lines().map(|line| row(line).unwrap_or_else(|| line.to_string()) + "\n").collect();
    if std::env::var_os("PINNACE_UPDATE").is_some() {
        fs::write(file, &renewed).unwrap();
    } else {
        assert!(page == renewed, "docs/configuration.md is behind config/keys.rs; run this test with PINNACE_UPDATE=1");
    }
    for key in KEYS {
        assert!(page.contains(&format!("| `{key}`")), "docs/configuration.md does not describe {key}");
    }
    let described = page.lines().filter(|line| line.starts_with("| `")).count();
    assert_eq!(described, KEYS.len(), "docs/configuration.md describes a key that is not there");
}

fn set(key: &str, value: Value) -> Result<Config, String> {
    let mut draft = Draft::new(&host());
    draft.broker = Some(Broker::parse("mqtt://b").unwrap());
    draft.set(key, &value)?;
    draft.finish().map_err(|e| e.to_string())
}

/// Another version's settings may be past understanding; its data directory must be found all the same.
#[test]
fn the_data_directory_is_found_in_settings_that_make_no_sense() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("config.yaml");
    let found = |text: &str, flag: Option<&str>, env: Option<&str>| {
        std::fs::write(&file, text).unwrap();
        let env = |name: &str| (name == "PINNACE_DATA_DIR").then(|| env.map(String::from)).flatten();
        Config::data_dir(Some(&file), flag.map(String::from), env)
    };
    let later = "later: {x: [1]}\ndata_dir: /file\nname: 5\n";
    assert_eq!(found(later, None, None), Path::new("/file"));
    assert_eq!(found(later, None, Some("/env")), Path::new("/env"));
    assert_eq!(found(later, None, Some("")), Path::new("/file"));
    assert_eq!(found(later, Some("/flag"), Some("/env")), Path::new("/flag"));
    let default = load("", &[], Flags::default()).map(|_| Config::data_dir(None, None, |_| None)).unwrap();
    for bad in ["a: [", "- a\n", "", "data_dir: [1]\n"] {
        assert_eq!(found(bad, None, None), default, "{bad:?}");
    }
}

/// Whether the value fits its key, whatever the others are.
fn fits_alone(key: &str, value: Value) -> bool {
    Draft::new(&host()).set(key, &value).is_ok()
}

/// The table says what is taken: its bounds and choices are those of `Draft::set`, and its defaults change nothing.
#[test]
fn the_table_says_what_is_taken() {
    let mut plain = Draft::new(&host());
    plain.broker = Some(Broker::parse("mqtt://b").unwrap());
    let plain = plain.finish().unwrap();
    for key in keys::TABLE {
        if let keys::Default::Is(value) = key.default {
            assert_eq!(set(key.name, Value::String(value.into())).as_ref(), Ok(&plain), "the default of {}", key.name);
        }
        match key.shape {
            keys::Shape::Number(least, most) => {
                for (n, fits) in
                    [(Some(least), true), (Some(most), true), (least.checked_sub(1), false), (Some(most + 1), false)]
                {
                    let Some(n) = n else { continue };
                    assert_eq!(fits_alone(key.name, n.into()), fits, "{} {n}", key.name);
                }
            }
            keys::Shape::Choice(choices) => {
                assert!(choices.iter().all(|choice| set(key.name, (*choice).into()).is_ok()), "{}", key.name);
                let said = set(key.name, "?".into()).unwrap_err();
                assert!(said.contains(&choices.join(", ")), "{} has other choices: {said}", key.name);
            }
            keys::Shape::Flag => assert!(set(key.name, true.into()).is_ok(), "{}", key.name),
            keys::Shape::Word => assert!(set(key.name, "A_B".into()).is_err(), "{}", key.name),
            keys::Shape::Words => assert!(set(key.name, serde_json::json!(["A"])).is_err(), "{}", key.name),
            keys::Shape::Labels => assert!(set(key.name, serde_json::json!({"a": "b"})).is_ok(), "{}", key.name),
            keys::Shape::Broker => assert!(set(key.name, "http://x".into()).is_err(), "{}", key.name),
            keys::Shape::Address => assert!(set(key.name, "0.0.0.0:1".into()).is_err(), "{}", key.name),
            keys::Shape::Keys => {
                assert!(
                    set(
                        key.name,
                        serde_json::json!([
                            "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8g c d"
                        ])
                    )
                    .is_ok()
                );
                assert!(set(key.name, serde_json::json!(["ssh-rsa AAAA x"])).is_err(), "{}", key.name);
            }
            keys::Shape::Registries => {
                assert!(set(key.name, serde_json::json!({"a": {"insecure": true}})).is_ok(), "{}", key.name);
                assert!(set(key.name, serde_json::json!(["a"])).is_err(), "{}", key.name);
            }
            keys::Shape::Text | keys::Shape::Path => assert!(set(key.name, "".into()).is_err(), "{}", key.name),
        }
    }
}

#[test]
fn the_written_file_is_a_configuration_that_changes_nothing() {
    let plain = load("", &[], Flags::default()).unwrap();
    let sample = keys::sample(&[]);
    assert_eq!(load(&sample, &[], Flags::default()).unwrap(), plain);
    for key in KEYS {
        let name = key.rsplit('.').next().unwrap();
        assert!(
            sample.lines().any(|line| line.trim_start_matches(['#', ' ']).starts_with(&format!("{name}:"))),
            "{key}"
        );
    }
    // With every comment of a default taken away it still is one, and still changes nothing.
    let open: String = sample
        .lines()
        .filter(|line| !line.contains(":    #"))
        .map(|line| {
            line.strip_prefix("# ")
                .filter(|l| {
                    l.contains(':') && !l.contains(' ')
                        || l.trim_start()
                            .split_once(": ")
                            .is_some_and(|(k, _)| KEYS.iter().any(|key| key.rsplit('.').next() == Some(k)))
                })
                .unwrap_or(line)
                .to_string()
                + "\n"
        })
        .collect();
    assert_eq!(load(&open, &[], Flags::default()).unwrap(), plain, "{open}");
    let given =
        [("name", "gw-9".to_string()), ("mqtt.key_file", "/k".to_string()), ("mqtt.cert_file", "/c".to_string())];
    let config = load(&keys::sample(&given), &[("PINNACE_BROKER", "mqtts://b")], Flags::default()).unwrap();
    assert_eq!((config.name.as_str(), config.mqtt.unwrap().key_file), ("gw-9", Some("/k".into())));
}

#[test]
fn the_schema_has_every_key_and_no_other() {
    let schema = keys::schema();
    let mut named = Vec::new();
    for (name, property) in schema["properties"].as_object().unwrap() {
        match property["properties"].as_object() {
            None => named.push(name.clone()),
            Some(inner) => named.extend(inner.keys().map(|key| format!("{name}.{key}"))),
        }
    }
    assert_eq!(named, KEYS);
    assert_eq!(schema["properties"]["mqtt"]["properties"]["keep_alive_s"]["default"], 60);
    let registry = &schema["properties"]["images"]["properties"]["registries"]["additionalProperties"];
    let known: Vec<&String> = registry["properties"].as_object().unwrap().keys().collect();
    let all = serde_json::json!({"a": {"mirrors": [], "insecure": false, "ca_file": "/c"}});
    assert!(registries::hosts(&all).is_ok());
    assert_eq!(known, all["a"].as_object().unwrap().keys().collect::<Vec<_>>());
}

/// What is not live is kept, and named; what is live is taken.
#[test]
fn a_reload_takes_what_is_live_and_names_the_rest() {
    let old = load("broker: mqtt://b", &[], Flags::default()).unwrap();
    for key in keys::TABLE {
        let value = match key.shape {
            keys::Shape::Number(_, most) => Value::from(most - 1),
            keys::Shape::Choice(choices) => Value::from(choices[choices.len() - 1]),
            keys::Shape::Flag => Value::from(key.default == keys::Default::Is("false")),
            keys::Shape::Registries => serde_json::json!({"a": {"insecure": true}}),
            keys::Shape::Broker => Value::from("mqtt://other"),
            keys::Shape::Address => Value::from("127.0.0.1:1"),
            keys::Shape::Labels => serde_json::json!({"a": "b"}),
            keys::Shape::Keys => {
                Value::from("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8g")
            }
            _ => Value::from("other"),
        };
        let mut env = vec![(env_name(key.name), value.to_string().trim_matches('"').to_string())];
        if key.shape == keys::Shape::Labels {
            env[0].1 = "a=b".into();
        }
        // Some go together with others.
        match key.name {
            "images.low_percent" => env.push(("PINNACE_IMAGES_HIGH_PERCENT".into(), "100".into())),
            "mqtt.password_file" => env.push(("PINNACE_MQTT_USERNAME".into(), "u".into())),
            "mqtt.ca_file" => env.push(("PINNACE_BROKER".into(), "mqtts://b".into())),
            "mqtt.cert_file" | "mqtt.key_file" => env.extend(
                ["BROKER", "MQTT_CERT_FILE", "MQTT_KEY_FILE"]
                    .map(|n| (format!("PINNACE_{n}"), if n == "BROKER" { "mqtts://b" } else { "other" }.into())),
            ),
            _ => {}
        }
        let env: Vec<(&str, &str)> = env.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        let new = load("broker: mqtt://b", &env, Flags::default()).unwrap();
        assert_ne!(new, old, "{} changes nothing", key.name);
        let (renewed, waiting) = old.renewed(new);
        assert_eq!((renewed != old, waiting == [key.name]), (key.live, !key.live), "{} {waiting:?}", key.name);
    }
}

#[test]
fn metrics_are_served_on_loopback_alone() {
    for (address, fits) in
        [("127.0.0.1:1", true), ("'[::1]:9464'", true), ("0.0.0.0:9464", false), ("10.0.0.1:1", false), ("9464", false)]
    {
        assert_eq!(load(&format!("metrics_address: {address}"), &[], Flags::default()).is_ok(), fits, "{address}");
    }
    refused("metrics_address: 0.0.0.0:9464", "must be a loopback address");
}
