//! The binary on the machine that the tests run on: its exit codes, its two forms, and that it leaves nothing behind.

use serde_json::Value;

use super::device::Device;
use super::mosquitto::Mosquitto;

#[test]
fn it_works_without_a_daemon_and_with_one_and_leaves_nothing_behind() {
    let mut device = Device::prepare(&[]);
    let at = |path: &str| device.path().join(path).to_str().unwrap().to_string();
    let (data, run) = (at("data"), at("run"));
    let arguments = ["doctor", "--data-dir", &data, "--run-dir", &run, "--json", "--config", "/dev/null"];
    let found = |device: &Device| -> Value { serde_json::from_str(&device.say(&arguments).out).unwrap() };
    let level = |found: &Value, name: &str| {
        let checks = found["checks"].as_array().unwrap();
        checks.iter().find(|check| check["name"] == name).unwrap()["level"].as_str().unwrap().to_string()
    };
    let before = found(&device);
    assert_eq!((level(&before, "socket").as_str(), level(&before, "data-dir").as_str()), ("skipped", "ok"));
    assert!(!device.data().exists());
    device.boot();
    let during = found(&device);
    assert_eq!((level(&during, "socket").as_str(), level(&during, "clock-jump").as_str()), ("ok", "ok"));
    let files: Vec<_> = std::fs::read_dir(device.data()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(files.iter().all(|name| !name.to_str().unwrap().contains("doctor")), "{files:?}");
}

/// As the README starts a node: by flags, with no file. It is that node that is examined.
#[test]
fn a_node_that_was_given_flags_is_examined_with_them() {
    let broker = Mosquitto::start();
    let device = Device::start(&["--broker", &broker.url(), "--fleet", "demo"]);
    device.eventually("a session", |device| (device.metric("pinnace_link_connected") == 1).then_some(()));
    let found: Value = serde_json::from_str(&device.say(&["doctor", "--json"]).out).unwrap();
    let said = |name: &str| {
        let checks = found["checks"].as_array().unwrap();
        checks.iter().find(|check| check["name"] == name).unwrap()["found"].as_str().unwrap().to_string()
    };
    let settings = said("settings");
    let words = format!("those of the node that runs (process {})", device.pid());
    assert!(settings.contains(&broker.url()) && settings.contains(&words), "{settings}");
    assert!(said("policy").contains("fleet demo, node gw-7"), "{found:#}");
    assert!(said("broker-port").contains(&broker.port().to_string()), "{found:#}");
    let dump: Value = serde_json::from_str(&device.ok(&["debug", "dump"])).unwrap();
    assert!(dump["settings"]["flags"].as_array().unwrap().contains(&"demo".into()), "{:#}", dump["settings"]);
}

#[test]
fn a_failure_is_an_exit_code_and_colour_is_for_terminals() {
    let device = Device::prepare(&[]);
    let file = device.path().join("config.yaml");
    std::fs::write(&file, "nmae: x\n").unwrap();
    let run = device.path().join("run");
    let said = device.say(&[
        "doctor",
        "--config",
        file.to_str().unwrap(),
        "--run-dir",
        run.to_str().unwrap(),
        "--data-dir",
        "/proc/no",
    ]);
    assert_eq!(said.code, 1);
    assert!(said.out.contains("fail     settings") && said.out.contains("did you mean \"name\"?"), "{said:?}");
    assert!(!said.out.contains('\x1b'));
}
