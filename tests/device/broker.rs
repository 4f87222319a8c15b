//! The fleet speaks over a real mosquitto: what it asks for is done and answered; what happens to the broker changes
//! nothing.

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::AGENT;
use crate::device::{Device, signal};
use crate::mosquitto::{Mosquitto, free_port};
use crate::peer::Peer;

fn config_map(name: &str, value: &str) -> String {
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\ndata: {{v: '{value}'}}\n")
}

fn device(broker: &Mosquitto, further: &[&str]) -> Device {
    Device::start(&[&["--broker", &broker.url(), "--fleet", "demo", "--groups", "pos"], further].concat())
}

/// The container started at this time, and how often it was restarted.
fn agent(device: &Device) -> (String, i64) {
    device.eventually("the agent runs", |device| {
        let pod = device.items(&["pods", "-l", "app=agent"]).into_iter().next()?;
        let status = &pod["status"]["containerStatuses"][0];
        let started = status["state"]["running"]["startedAt"].as_str()?.to_string();
        Some((format!("{started} {}", status["containerID"]), status["restartCount"].as_i64()?))
    })
}

fn value(device: &Device, name: &str) -> Option<String> {
    let said = device.say(&["get", "configmap", name, "-o", "jsonpath={.data.v}"]);
    said.ok()
}

fn gone(device: &Device, name: &str) -> Option<()> {
    value(device, name).is_none().then_some(())
}

/// Waits for the ack of a slot, in a runtime of its own.
fn ack(broker: &Mosquitto, slot: &str, act: impl FnOnce()) -> Value {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut peer = Peer::connect(broker.port(), "listener", "pn/demo/u/gw-7/ack").await;
        act();
        peer.hear(|heard| heard.json()["slot"] == slot).await.json()
    })
}

fn retained(broker: &Mosquitto, leaf: &str, fits: impl Fn(&Value) -> bool) -> Value {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let topic = format!("pn/demo/u/gw-7/{leaf}");
    runtime.block_on(async {
        let mut peer = Peer::connect(broker.port(), "watcher", &topic).await;
        peer.hear(|heard| fits(&heard.json())).await.json()
    })
}

/// Several messages at once on one slot: whoever waits for a word of its own gets it.
#[test]
fn each_message_of_a_burst_has_its_answer() {
    let broker = Mosquitto::start();
    let device = device(&broker, &[]);
    device.eventually("a session", |device| (device.metric("pinnace_link_connected") == 1).then_some(()));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut answers = std::collections::BTreeMap::new();
    runtime.block_on(async {
        let mut peer = Peer::connect(broker.port(), "listener", "pn/demo/u/gw-7/ack").await;
        // All of them wait when the node looks again.
        signal(device.pid(), Signal::SIGSTOP);
        for rev in 1..=20 {
            let head = json!({"v": 1, "rev": rev, "ack": format!("ci-{rev}")});
            let text = format!("# pinnace: {head}\n{}", config_map("a", &rev.to_string()));
            peer.publish("pn/demo/d/all/x", true, text).await;
        }
        signal(device.pid(), Signal::SIGCONT);
        while answers.len() < 20 {
            let told = peer.hear(|heard| heard.json()["slot"] == "x").await.json();
            answers.insert(told["id"].as_str().unwrap().to_string(), told["result"].clone());
        }
    });
    assert!(answers.values().all(|result| result == "Committed"), "{answers:?}");
    assert_eq!(value(&device, "a").unwrap(), "20");
    no_answer_waits(&device);
}

/// An answer from before a crash may come once more.
fn no_answer_waits(device: &Device) {
    device.eventually("no answer waits any more", |device| {
        let dump = device.ok(&["store", "dump"]);
        (!dump.contains("\"record\":\"Ack\"")).then_some(())
    });
}

/// Over MQTT 3.1.1 nobody can tell the broker not to send it.
#[test]
fn where_a_message_is_that_is_too_large_to_read_is_in_the_log() {
    let broker = Mosquitto::start();
    broker.publish_retained("pn/demo/d/grp/pos/big", &vec![b'x'; 5_000_000]);
    broker.publish_retained("pn/demo/d/all/x", config_map("a", "1").as_bytes());
    let mut device = Device::prepare(&[]);
    let file = device.path().join("config.yaml");
    let settings = json!({"broker": broker.url(), "fleet": "demo", "groups": ["pos"], "mqtt": {"protocol": "v3"}});
    std::fs::write(&file, settings.to_string()).unwrap();
    device.argue(&["--config", file.to_str().unwrap()]);
    device.boot();
    let place = "a retained message below pn/demo/d/grp/pos/+ is larger than";
    device.eventually("the place is told", |device| device.log().contains(place).then_some(()));
    assert!(device.log().contains("mosquitto_sub -F '%t %l' -t 'pn/demo/d/grp/pos/+'"), "{}", device.log());
    device.eventually("the other scope is heard", |device| value(device, "a"));
    let unheard = json!(["pn/demo/d/grp/pos/+"]);
    retained(&broker, "state", |state| state["unheard"] == unheard);
    device.eventually("it is told on the device as well", |device| {
        device.ok(&["describe", "node"]).contains("Not heard").then_some(())
    });
    // A smaller one in its place is taken, and all is well.
    broker.publish_retained("pn/demo/d/grp/pos/big", config_map("b", "1").as_bytes());
    device.eventually("it is heard", |device| value(device, "b"));
    retained(&broker, "state", |state| state["unheard"].is_null());
}

#[test]
fn a_plain_file_on_each_kind_of_topic_is_taken_and_answered() {
    let broker = Mosquitto::start();
    let device = device(&broker, &[]);
    for (scope, slot) in [("all", "a"), ("grp/pos", "b"), ("node/gw-7", "c")] {
        let topic = format!("pn/demo/d/{scope}/{slot}");
        let answer = ack(&broker, slot, || broker.publish_retained(&topic, config_map(slot, "1").as_bytes()));
        assert_eq!(answer["result"], "Committed", "{answer}");
        assert_eq!(value(&device, slot).as_deref(), Some("1"));
    }
    broker.publish_retained("pn/demo/d/grp/other/d", config_map("d", "1").as_bytes());
    broker.publish_retained("pn/demo/d/node/gw-8/e", config_map("e", "1").as_bytes());
    broker.publish_retained("pn/other/d/all/f", config_map("f", "1").as_bytes());
    // A message that is for this node comes after those that are not.
    broker.publish_retained("pn/demo/d/all/last", config_map("last", "1").as_bytes());
    device.eventually("the last one", |device| value(device, "last"));
    for name in ["d", "e", "f"] {
        assert_eq!(value(&device, name), None, "{name} is for somebody else");
    }
    let state = retained(&broker, "state", |state| state["sets"].as_array().is_some_and(|sets| sets.len() == 4));
    assert!(state["sets"].as_array().unwrap().iter().all(|set| set["phase"] == "Committed"), "{state}");
    let node = retained(&broker, "node", |_| true);
    assert_eq!((node["name"].as_str(), node["security"].as_str()), (Some("gw-7"), Some("unsigned")));
}

#[test]
fn a_set_is_changed_pruned_refused_and_emptied() {
    let broker = Mosquitto::start();
    let device = device(&broker, &[]);
    let topic = "pn/demo/d/all/x";
    let push = |text: &str| ack(&broker, "x", || broker.publish_retained(topic, text.as_bytes()));
    push(&format!("{}---\n{}", config_map("a", "1"), config_map("b", "1")));
    push(&config_map("a", "2"));
    assert_eq!((value(&device, "a").as_deref(), value(&device, "b")), (Some("2"), None));

    let answer = push(&format!(
        "{}---\nkind: Job\napiVersion: batch/v1\nmetadata: {{name: j}}\nspec: {{parralelism: 1}}\n",
        config_map("a", "3")
    ));
    assert_eq!(answer["result"], "Rejected");
    let why = answer["status"]["message"].as_str().unwrap();
    assert!(why.contains("parralelism") && why.contains("parallelism") && why.contains("line"), "{why}");
    assert_eq!(value(&device, "a").as_deref(), Some("2"), "a refused set changes nothing");
    let state = retained(&broker, "state", |state| state["sets"][0]["phase"] == "Rejected");
    assert!(state["sets"][0]["rejected"]["message"].as_str().unwrap().contains("parralelism"));

    let tombstone = |rev: u64| format!("# pinnace: {}\n", json!({"v": 1, "rev": rev, "empty": true}));
    assert_eq!(push(&tombstone(9))["result"], "Committed");
    assert_eq!(value(&device, "a"), None);
    let old = format!("# pinnace: {}\n{}", json!({"v": 1, "rev": 8, "ack": "me"}), config_map("a", "8"));
    let answer = push(&old);
    assert_eq!((answer["result"].as_str(), answer["id"].as_str()), (Some("Stale"), Some("me")));
    assert_eq!(value(&device, "a"), None, "an old message does not bring it back");
}

#[test]
fn a_refusal_that_nobody_wants_any_more_is_taken_back() {
    let broker = Mosquitto::start();
    let device = device(&broker, &[]);
    let tombstone = format!("# pinnace: {}\n", json!({"v": 1, "empty": true}));
    for (slot, clear) in [("vol", ""), ("Batch", ""), ("Batch", tombstone.as_str())] {
        let push = |text: &str| {
            ack(&broker, slot, || broker.publish_retained(&format!("pn/demo/d/all/{slot}"), text.as_bytes()))
        };
        assert_eq!(push("kind: Nothing\n")["result"], "Rejected");
        assert_eq!(device.metric("pinnace_sets_rejected"), 1);
        let refused = device.say(&["delete", "set", &format!("all:{slot}")]).err;
        assert!(refused.contains("an empty message on its topic") && refused.contains("Forbidden"), "{refused}");
        let answer = push(clear);
        assert_eq!(answer["result"], "Committed", "{answer}");
        assert_eq!(device.metric("pinnace_sets_rejected"), 0);
    }
}

#[test]
fn what_became_of_a_message_is_in_the_log_and_in_the_events_of_its_set() {
    let broker = Mosquitto::start();
    let device = device(&broker, &[]);
    let push = |text: &str| ack(&broker, "x", || broker.publish_retained("pn/demo/d/all/x", text.as_bytes()));
    push(&config_map("a", "1"));
    push("kind: Nothing\n");
    let commits = device.metric("pinnace_commits_total");
    push("kind: Nothing\n");
    assert_eq!(device.metric("pinnace_commits_total"), commits);
    let log = device.log();
    let lines: Vec<&str> = log.lines().filter(|line| line.contains("set all/x: ")).collect();
    assert_eq!(lines.len(), 2, "{log}");
    assert!(lines[0].contains("INFO") && lines[0].contains("revision 1 is in force; objects: 1 made"), "{log}");
    assert!(lines[1].contains("WARN") && lines[1].contains("refused: "), "{log}");
    device.apply(&config_map("local", "1"));
    ack(&broker, "y", || broker.publish_retained("pn/demo/d/all/y", config_map("local", "2").as_bytes()));
    let table = device.ok(&["get", "sets"]);
    let objects: Vec<&str> = table.lines().filter_map(|line| line.split_whitespace().nth(4)).collect();
    assert_eq!(objects, ["OBJECTS", "1/1", "0/1"], "{table}");
    assert!(device.ok(&["describe", "set", "all:y"]).contains("  Applied Objects:  0\n"));
    for said in [device.ok(&["describe", "set", "all:x"]), device.ok(&["get", "events"])] {
        assert!(said.contains("The set is in force; objects: 1 made"), "{said}");
        assert!(said.lines().any(|line| line.contains("Warning") && line.contains("Rejected")), "{said}");
    }
}

#[test]
fn a_broker_that_is_absent_dies_or_forgets_changes_nothing() {
    let port = free_port();
    let url = format!("mqtt://127.0.0.1:{port}");
    let mut device = Device::start(&["--broker", &url, "--fleet", "demo"]);
    device.apply(&config_map("local", "1"));

    let mut broker = Mosquitto::start_with(port, "allow_anonymous true\n");
    broker.publish_retained("pn/demo/d/all/agent", AGENT.as_bytes());
    let before = agent(&device);
    broker.kill();
    device.eventually("the loss is noticed", |device| (device.metric("pinnace_link_connected") == 0).then_some(()));
    assert_eq!(agent(&device), before);
    device.crash();
    device.boot();
    assert_eq!(agent(&device), before, "with no broker the daemon adopts what runs");

    // It comes back and has forgotten everything.
    let broker = Mosquitto::start_with(port, "allow_anonymous true\n");
    device.eventually("the node is back", |device| (device.metric("pinnace_link_connected") == 1).then_some(()));
    broker.publish_retained("pn/demo/d/all/other", config_map("other", "1").as_bytes());
    device.eventually("it takes sets again", |device| value(device, "other"));
    assert_eq!(agent(&device), before, "a set that the broker forgot goes on");
    broker.publish_retained("pn/demo/d/all/agent", AGENT.as_bytes());
    broker.publish_retained("pn/demo/d/all/other", config_map("other", "2").as_bytes());
    device.eventually("the message after it", |device| (value(device, "other")? == "2").then_some(()));
    assert_eq!(agent(&device), before, "and so it does when the broker has it again");
    assert_eq!(value(&device, "local").as_deref(), Some("1"));
}

#[test]
fn a_delete_made_while_the_device_was_away_is_honoured() {
    let broker = Mosquitto::start();
    let mut device = device(&broker, &[]);
    broker.publish_retained("pn/demo/d/all/x", config_map("a", "1").as_bytes());
    device.eventually("it is there", |device| value(device, "a"));
    device.stop();
    let tombstone = format!("# pinnace: {}\n", json!({"v": 1, "rev": 2, "empty": true}));
    broker.publish_retained("pn/demo/d/all/x", tombstone.as_bytes());
    device.boot();
    device.eventually("it goes", |device| gone(device, "a"));
}

#[test]
fn garbage_a_flood_and_three_megabytes_change_nothing() {
    let broker = Mosquitto::start();
    let device = device(&broker, &[]);
    broker.publish_retained("pn/demo/d/all/agent", AGENT.as_bytes());
    let before = agent(&device);
    for garbage in
        [&b"\xff\xfe\x00garbage"[..], b"{", b": :\n\t- [", b"kind: Pod\napiVersion: v9\n", &b"[".repeat(10_000)]
    {
        let answer = ack(&broker, "garbage", || broker.publish_retained("pn/demo/d/all/garbage", garbage));
        assert_eq!(answer["result"], "Rejected", "{answer}");
    }
    let commits = device.metric("pinnace_commits_total");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut flood = Peer::connect(broker.port(), "flood", "pn/none").await;
        for _ in 0..1000 {
            flood.publish("pn/demo/d/all/agent", true, AGENT).await;
        }
        flood.publish("pn/demo/d/all/big", true, vec![b'#'; 3 << 20]).await;
    });
    broker.publish_retained("pn/demo/d/all/last", config_map("last", "1").as_bytes());
    device.eventually("the message behind them", |device| value(device, "last"));
    let commits = device.metric("pinnace_commits_total") - commits;
    assert!(commits <= 5, "{commits} commits for messages that changed nothing");
    assert_eq!(agent(&device), before);
}

#[test]
fn mqtt_3_1_1_does_as_well() {
    let broker = Mosquitto::start();
    let config = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(config.path(), "mqtt: {protocol: v3}\n").unwrap();
    let device = device(&broker, &["--config", config.path().to_str().unwrap()]);
    let answer = ack(&broker, "a", || broker.publish_retained("pn/demo/d/all/a", config_map("a", "1").as_bytes()));
    assert_eq!(answer["result"], "Committed");
    assert_eq!(value(&device, "a").as_deref(), Some("1"));
}

#[test]
fn the_fleet_sees_who_is_there() {
    let broker = Mosquitto::start();
    let mut device = device(&broker, &[]);
    let online = retained(&broker, "live", |live| live["s"] == "online");
    device.crash();
    let lost = retained(&broker, "live", |live| live["s"] == "lost");
    assert_eq!(lost["c"], online["c"], "will and birth name one connection");
    device.boot();
    let again = retained(&broker, "live", |live| live["s"] == "online");
    assert!(again["c"].as_u64() > online["c"].as_u64(), "a late will cannot mark it dead");
    device.stop();
    retained(&broker, "live", |live| live["s"] == "off");
}

#[test]
fn finished_work_of_a_set_is_not_done_again_however_often_the_set_comes() {
    let broker = Mosquitto::start();
    let mut device = device(&broker, &[]);
    let ledger = device.path().join("ledger");
    let job = format!(
        "apiVersion: batch/v1\nkind: Job\nmetadata: {{name: once}}\nspec:\n  ttlSecondsAfterFinished: 0\n  template:\n    spec:\n      restartPolicy: Never\n      containers:\n      - {{name: main, command: [sh, -c, 'echo done >> {}']}}\n",
        ledger.display()
    );
    broker.publish_retained("pn/demo/d/all/x", job.as_bytes());
    device.eventually("it is done", |_| std::fs::metadata(&ledger).ok());
    device.eventually("its object has gone", |device| device.items(&["jobs"]).is_empty().then_some(()));
    for round in 0..3 {
        if round == 1 {
            device.crash();
            device.boot();
        }
        broker.publish_retained("pn/demo/d/all/x", job.as_bytes());
        let mark = config_map("mark", &round.to_string());
        broker.publish_retained("pn/demo/d/all/y", mark.as_bytes());
        device.eventually("the message after it", |device| (value(device, "mark")? == round.to_string()).then_some(()));
    }
    assert!(device.items(&["jobs", "-A"]).is_empty());
    assert_eq!(std::fs::read_to_string(&ledger).unwrap(), "done\n");
    // Other content is other work.
    broker.publish_retained("pn/demo/d/all/x", job.replace("name: once", "name: twice").as_bytes());
    device.eventually("the new Job runs", |_| {
        (std::fs::read_to_string(&ledger).unwrap().lines().count() == 2).then_some(())
    });
}

#[test]
fn what_a_person_deletes_on_the_device_stays_deleted_until_the_set_changes() {
    let broker = Mosquitto::start();
    let mut device = device(&broker, &[]);
    let topic = "pn/demo/d/all/x";
    broker.publish_retained(topic, config_map("a", "1").as_bytes());
    device.eventually("it is there", |device| value(device, "a"));
    device.ok(&["delete", "configmap", "a"]);
    device.crash();
    device.boot();
    no_answer_waits(&device);
    let answer = ack(&broker, "x", || broker.publish_retained(topic, config_map("a", "1").as_bytes()));
    assert_eq!(answer["result"], "Unchanged", "{answer}");
    assert_eq!(value(&device, "a"), None);
    broker.publish_retained(topic, config_map("a", "2").as_bytes());
    device.eventually("the set has changed", |device| value(device, "a"));
}

#[test]
fn a_refused_set_leaves_what_runs_and_one_that_keeps_others_prunes_nothing() {
    let broker = Mosquitto::start();
    let device = device(&broker, &[]);
    let topic = "pn/demo/d/all/x";
    let push = |text: &str| ack(&broker, "x", || broker.publish_retained(topic, text.as_bytes()));
    push(AGENT);
    let before = agent(&device);
    let answer = push(&AGENT.replace("command:", "comand:"));
    assert_eq!(answer["result"], "Rejected", "{answer}");
    let answer = push(&AGENT.replace("name: main", "name: MAIN"));
    assert_eq!((answer["result"].as_str(), answer["status"]["code"].as_u64()), (Some("Rejected"), Some(422)));
    assert_eq!(answer["status"]["details"]["causes"][0]["field"], "spec.template.spec.containers[0].name", "{answer}");
    // The selector of a DaemonSet does not change: not a broken manifest, but not to be done either.
    let answer = push(&AGENT.replace("app: agent", "app: other"));
    assert_eq!(
        (answer["result"].as_str(), answer["status"]["code"].as_u64()),
        (Some("Rejected"), Some(422)),
        "{answer}"
    );
    assert_eq!(agent(&device), before);
    // As a commit that says: these too.
    let answer = push(&format!("# pinnace: {}\n{}", json!({"v": 1, "rev": 10, "prune": false}), config_map("b", "1")));
    assert_eq!(answer["result"], "Committed", "{answer}");
    assert_eq!((value(&device, "b").as_deref(), agent(&device)), (Some("1"), before));
    // An empty message lets go of all of it.
    broker.publish_retained(topic, b"");
    device.eventually("all of it has gone", |device| (device.items(&["ds,cm,pods"]).is_empty()).then_some(()));
}
