//! What an operator does with a node that runs: new settings without a restart, figures, a look into the loop, a report.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::Stdio;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::device::{Device, signal};
use crate::mosquitto::{Mosquitto, free_port};
use crate::{AGENT, needs_root};

const BUSY: &str = "
apiVersion: v1
kind: Pod
metadata: {name: busy, labels: {app: busy}}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - {name: main, command: [sh, -c, 'while :; do :; done']}
";

/// Fires once a year, so that only a person makes Jobs of it.
const YEARLY: &str = "
apiVersion: batch/v1
kind: CronJob
metadata: {name: backup}
spec:
  schedule: '0 3 1 1 *'
  successfulJobsHistoryLimit: 1
  jobTemplate:
    metadata: {labels: {team: a}}
    spec:
      template:
        spec:
          restartPolicy: Never
          containers:
          - {name: main, command: [sh, -c, 'echo hand made']}
";

#[test]
fn a_cron_job_is_fired_by_hand() {
    let device = Device::start(&[]);
    device.apply(YEARLY);
    for name in ["first", "second"] {
        let said = device.ok(&["create", "job", name, "--from=cronjob/backup"]);
        assert_eq!(said, format!("job.batch/{name} created\n"));
        device.wait_for("condition=complete", &format!("job/{name}"));
        assert_eq!(device.ok(&["logs", &format!("job/{name}")]), "hand made\n");
    }
    // It counts for the CronJob's history, as in Kubernetes.
    device.eventually("the older one is gone", |device| (device.items(&["jobs"]).len() == 1).then_some(()));
    let job = device.json(&["job", "second"]);
    assert_eq!(job["metadata"]["ownerReferences"][0]["name"], "backup");
    assert_eq!(job["metadata"]["labels"]["team"], "a");
    let again = device.say(&["create", "job", "second", "--from=cronjob/backup"]);
    assert_eq!(again.err, "error: failed to create job: jobs.batch \"second\" already exists\n");
    device.ok(&["delete", "cronjob", "backup"]);
    device.eventually("it goes with its CronJob", |device| device.items(&["jobs"]).is_empty().then_some(()));
}

/// A node whose settings are in a file, so that they can change.
fn with_settings(settings: &str) -> Device {
    let mut device = Device::prepare(&[]);
    let file = device.path().join("settings.yaml");
    fs::write(&file, settings).unwrap();
    device.argue(&["--config", file.to_str().unwrap()]);
    device.boot();
    device
}

/// Writes the settings anew and waits for the words of the log.
fn reload(device: &Device, settings: &str, expected: &str) {
    let before = device.log().len();
    fs::write(device.path().join("settings.yaml"), settings).unwrap();
    signal(device.pid(), Signal::SIGHUP);
    device.eventually(expected, |device| device.log()[before..].contains(expected).then_some(()));
}

fn labels(device: &Device) -> String {
    device.ok(&["get", "nodes", "--show-labels", "--no-headers"])
}

#[test]
fn new_settings_are_taken_without_a_restart_and_pods_do_not_notice() {
    let (first, second) = (Mosquitto::start(), Mosquitto::start());
    let device = with_settings(&format!("broker: {}\nlabels: {{disk: ssd}}\n", first.url()));
    device.apply(AGENT);
    let pid = |device: &Device| {
        let items = device.items(&["pods", "-l", "app=agent"]);
        items.first()?["status"]["containerStatuses"][0]["containerID"].as_str().map(str::to_string)
    };
    let before = device.eventually("the agent runs", pid);
    second.publish_retained("pn/default/d/grp/pos/x", b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\n");
    let settings = format!("broker: {}\nlabels: {{disk: hdd}}\ngroups: [pos]\nbounds: {{pods_max: 1}}\n", second.url());
    reload(&device, &settings, "the settings were read again");
    // The other broker, and the group that the node has joined.
    device.eventually("the set of the group", |device| device.say(&["get", "configmap", "x"]).ok());
    assert!(labels(&device).contains("disk=hdd"), "{}", labels(&device));
    assert_eq!(device.json(&["nodes"])["items"][0]["status"]["capacity"]["pods"], "1");
    device.apply(BUSY);
    device.eventually("the bound holds", |device| {
        let events = device.ok(&["events", "--for", "pod/busy"]);
        events.contains("Too many pods").then_some(())
    });
    assert_eq!(pid(&device), Some(before));
    assert!(device.metric("pinnace_link_sessions_total") >= 2);
}

#[test]
fn what_cannot_change_is_named_and_what_is_wrong_changes_nothing() {
    let device = with_settings("labels: {disk: ssd}\n");
    reload(&device, "labels: {disk: hdd}\nfleet: other\n", "the setting fleet has changed; it is taken when");
    reload(&device, "labels: {disk: none}\nnmae: x\n", "the settings stay as they are");
    assert!(device.log().contains("did you mean \"name\"?"), "{}", device.log());
    assert!(labels(&device).contains("disk=hdd"));
    // The log's level is live too: what is beneath it is not told.
    reload(&device, "log_level: error\nfleet: third\n", "");
    device.eventually("the label goes", |device| (!labels(device).contains("disk=")).then_some(()));
    assert!(!device.log().contains("third"), "{}", device.log());
}

#[test]
fn figures_are_on_the_loopback_port_and_nothing_else() {
    let port = free_port();
    let device = with_settings(&format!("metrics_address: 127.0.0.1:{port}\n"));
    let ask = |request: &str| {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    let answer = ask("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("\npinnace_steps_total "), "{answer}");
    assert!(ask("GET /api/v1/secrets HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 404"));
    assert!(ask("DELETE /metrics HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 405"));
    drop(TcpStream::connect(("127.0.0.1", port)).unwrap());
    device.ok(&["get", "nodes"]);
}

/// Every figure of the dashboard is one that the node has, and the manual has every figure of the node.
#[test]
fn the_dashboard_and_the_manual_have_the_figures_that_exist() {
    let device = Device::start(&[]);
    let mut stream = std::os::unix::net::UnixStream::connect(device.socket()).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").unwrap();
    let mut have = String::new();
    stream.read_to_string(&mut have).unwrap();
    let described = include_str!("../../docs/operations.md").lines().filter_map(|line| {
        let (name, rest) = line.strip_prefix("| `pinnace_")?.split_once('`')?;
        Some(format!("{} {}", name.split('{').next()?, rest.split('|').nth(1)?.trim()))
    });
    let served = have.lines().filter_map(|line| line.strip_prefix("# TYPE pinnace_").map(str::to_string));
    let (described, mut served): (BTreeSet<_>, BTreeSet<_>) = (described.collect(), served.collect());
    // A disk that the kernel does not count for, as a tmpfs, has none.
    served.insert("disk_bytes_written_total counter".into());
    assert_eq!(described, served);
    let dashboard: Value = serde_json::from_str(include_str!("../../docs/grafana-dashboard.json")).unwrap();
    let mut used = Vec::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().unwrap() {
            let text = target["expr"].as_str().unwrap();
            let names =
                text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').filter(|w| w.starts_with("pinnace_"));
            used.extend(names.map(str::to_string));
        }
    }
    assert!(used.len() > 8, "{used:?}");
    for name in used {
        assert!(have.contains(&format!("# TYPE {name} ")), "{name} does not exist");
    }
}

#[test]
fn top_shows_what_a_busy_pod_uses() {
    if !needs_root("top_shows_what_a_busy_pod_uses") {
        return;
    }
    let device = Device::start(&[]);
    assert_eq!(device.say(&["top", "pods"]).err, "No resources found in default namespace.\n");
    device.apply(BUSY);
    device.wait_for("condition=ready", "pod/busy");
    let row = |device: &Device| {
        let text = device.ok(&["top", "pods", "-l", "app=busy"]);
        let (header, row) = text.split_once('\n').unwrap();
        assert_eq!(header, "NAME   CPU(cores)   MEMORY(bytes)");
        row.split_whitespace().map(str::to_string).collect::<Vec<_>>()
    };
    let shown = device.eventually("it uses a core's good part", |device| {
        let row = row(device);
        (row.get(1)?.trim_end_matches('m').parse::<u32>().ok()? > 20).then_some(row)
    });
    assert!(shown[0] == "busy" && shown[2].ends_with("Mi"), "{shown:?}");
    let text = device.ok(&["top", "pods", "-A", "--containers", "--no-headers", "--sort-by=cpu"]);
    assert!(text.starts_with("default   busy   main   "), "{text}");
    let node = device.ok(&["top", "node"]);
    assert!(node.starts_with("NAME   CPU(cores)   CPU(%)   MEMORY(bytes)   MEMORY(%)\ngw-7   "), "{node}");
    assert!(device.say(&["top", "pods", "nope"]).err.contains("NotFound"));
}

#[test]
fn a_trace_tells_of_turns_by_name_and_without_contents() {
    let device = Device::start(&[]);
    let mut trace = device.command(&["debug", "trace"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(trace.stdout.take().unwrap()).lines();
    // It listens from some moment on; what is done before that is not told, so it is done again.
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || lines.try_for_each(|line| tell.send(line.unwrap())));
    let text = device.eventually("a turn with the Secret", |device| {
        device.apply("apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {k: hunter2}\n");
        device.ok(&["delete", "secret", "s"]);
        told.try_iter().find(|line| line.contains("\"put\":\"Secret default/s\""))
    });
    let turn: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        (turn["seen"][0]["asked"].as_str(), &turn["durable"]),
        (Some("create Secret default/s"), &Value::Bool(true))
    );
    assert!(!text.contains("hunter2") && !text.contains("aHVudGVyMg"), "{text}");
    trace.kill().unwrap();
    trace.wait().unwrap();
}

#[test]
fn a_report_has_everything_but_secrets() {
    let device = Device::start(&[]);
    device.apply("apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {k: hunter2}\n");
    let at = |path: &str| device.path().join(path).to_str().unwrap().to_string();
    let text =
        device.ok(&["debug", "dump", "--config", "/dev/null", "--data-dir", &at("data"), "--run-dir", &at("run")]);
    let report: Value = serde_json::from_str(&text).unwrap();
    for part in ["pinnace", "time", "settings", "doctor", "metrics", "logs", "state"] {
        assert!(!report[part].is_null(), "{part} is missing");
    }
    assert!(report["state"].as_array().unwrap().iter().any(|record| record["record"] == "Secret"));
    assert!(!text.contains("hunter2") && !text.contains("aHVudGVyMg"), "a secret is in it");
}

/// On a pipe nothing is asked; at a terminal an empty line takes what is proposed.
#[test]
fn a_new_device_is_made_ready_and_its_settings_run_a_node() {
    let mut device = Device::prepare(&[]);
    let at = |path: &str| device.path().join(path).to_str().unwrap().to_string();
    let request = device.ok(&["init", "--dir", &at("etc"), "--fleet", "prod"]);
    assert!(request.starts_with("-----BEGIN CERTIFICATE REQUEST-----\n"), "{request}");
    let again = device.say(&["init", "--dir", &at("etc")]);
    assert!(again.code == 1 && again.err.contains("--force"), "{again:?}");
    let secured = device.say(&["init", "--dir", &at("tls"), "--broker", "mqtts://b.example"]);
    assert!(secured.err.ends_with(&format!("pinnace doctor --config {}\n", at("tls/config.yaml"))), "{secured:?}");
    let claim = device.say(&["init", "--dir", &at("other"), "--claim", "t0ken"]);
    assert!(claim.code == 1 && claim.err.contains("--claim is not supported"), "{claim:?}");
    assert!(!device.path().join("other").exists());

    let typed = format!("printf 'gw-9\\n\\nshop\\n' | script -qec \"pinnace init --dir {}\" /dev/null", at("typed"));
    let said = device.shell(&typed);
    let written =
        fs::read_to_string(device.path().join("typed/config.yaml")).unwrap_or_else(|e| panic!("{e}: {said:?}"));
    assert!(written.contains("\nname: gw-9\n") && written.contains("\nfleet: shop\n"), "{written}");
    assert!(written.contains("\n# broker:"), "{written}");

    let file = at("etc/config.yaml");
    device.argue(&["--config", &file]);
    device.boot();
    assert!(device.say(&["config", "schema"]).out.contains("\"additionalProperties\": false"));
}
