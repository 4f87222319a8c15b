//! The fleet asks for what a full disk has no room for: it waits, says so, and comes into force when there is room.

use std::fs;

use serde_json::Value;

use crate::device::{Device, lives};
use crate::mosquitto::{Mosquitto, free_port};
use crate::needs_root;
use crate::peer::Peer;
use crate::store::{Small, disk_pressure, map};

const POD: &str = "apiVersion: v1\nkind: Pod\nmetadata: {name: lives}\nspec:\n  terminationGracePeriodSeconds: 1\n  containers:\n  - {name: main, command: [sleep, '100000']}\n";

/// Somebody at the broker, who publishes sets to all and hears what is answered.
struct Person {
    runtime: tokio::runtime::Runtime,
    peer: Peer,
}

impl Person {
    fn at(broker: &Mosquitto) -> Person {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let peer = runtime.block_on(Peer::connect(broker.port(), "person", "pn/demo/u/gw-7/#"));
        Person { runtime, peer }
    }

    /// The answer to the message with this word.
    fn push(&mut self, slot: &str, word: &str, header: &str, text: &str) -> Value {
        let text = format!("# pinnace: {{\"v\":1,\"ack\":\"{word}\"{header}}}\n{text}");
        self.runtime.block_on(self.peer.publish(&format!("pn/demo/d/all/{slot}"), true, text));
        self.hear("ack", |told| told["id"] == word)
    }

    fn hear(&mut self, leaf: &str, fits: impl Fn(&Value) -> bool) -> Value {
        let is_it = |heard: &crate::peer::Heard| heard.topic.ends_with(leaf) && fits(&heard.json());
        self.runtime.block_on(self.peer.hear(is_it)).json()
    }
}

#[track_caller]
fn is_refused_for_now(told: &Value) {
    let why = told["status"]["message"].as_str().unwrap_or_default();
    assert!(told["result"] == "Rejected" && told["status"]["code"] == 503, "{told}");
    assert!(why.contains("the disk is full") && why.contains("comes into force by itself"), "{told}");
}

fn bytes_of(device: &Device, name: &str) -> usize {
    device.say(&["get", "configmap", name, "-o", "jsonpath={.data.v}"]).ok().map_or(0, |text| text.len())
}

#[test]
fn a_set_without_room_waits_and_comes_into_force_by_itself() {
    if !needs_root("a_set_without_room_waits_and_comes_into_force_by_itself") {
        return;
    }
    let mut broker = Mosquitto::start_with(free_port(), "allow_anonymous true\n");
    let mut person = Person::at(&broker);
    let mut device = Device::prepare(&["--broker", &broker.url(), "--fleet", "demo"]);
    let disk = Small::mount(device.data());
    device.boot();
    device.apply(POD);
    device.wait_for("condition=ready", "pod/lives");
    let daemon = device.pid();
    assert_eq!(person.push("other", "o-1", "", &map("other", 100))["result"], "Committed");
    assert_eq!(person.push("big", "b-1", "", &map("big", 100))["result"], "Committed");
    let filler = disk.0.join("filler");
    let _ = fs::write(&filler, vec![0; 8 << 20]);

    // What does not fit is refused for now, the small like the large; what was in force stays.
    is_refused_for_now(&person.push("big", "b-2", "", &map("big", 200_000)));
    is_refused_for_now(&person.push("small", "s-1", "", &map("small", 500)));
    is_refused_for_now(&person.push("big", "b-3", "", &map("big", 300_000)));
    let waiting = person.hear("state", |told| told["waiting"].as_array().is_some_and(|sets| sets.len() == 2));
    assert_eq!((&waiting["waiting"][0]["slot"], &waiting["waiting"][1]["slot"]), (&"small".into(), &"big".into()));
    assert_eq!((bytes_of(&device, "big"), bytes_of(&device, "small")), (100, 0));
    assert_eq!(disk_pressure(&device), "True");
    assert!(device.ok(&["get", "events"]).contains("SetWaitsForRoom"));
    assert_eq!(device.log().matches("set all/small: the disk is full").count(), 1, "{}", device.log());
    // What takes away is done: from here on with the room of the reserve.
    assert_eq!(person.push("other", "o-2", ",\"empty\":true", "")["result"], "Committed");
    device.eventually("it is gone", |device| (bytes_of(device, "other") == 0).then_some(()));
    assert!(device.pid() == daemon && lives(daemon.into()), "{}", device.log());

    // The broker forgets everything, and what arrived is not lost. Nobody publishes again.
    let port = broker.port();
    drop(person);
    broker.kill();
    drop(broker);
    let broker = Mosquitto::start_with(port, "allow_anonymous true\n");
    let mut person = Person::at(&broker);
    fs::remove_file(filler).unwrap();
    assert_eq!(person.hear("ack", |told| told["id"] == "b-3")["result"], "Committed");
    device.eventually("all of it is in force", |device| {
        (bytes_of(device, "big") == 300_000 && bytes_of(device, "small") == 500).then_some(())
    });
    device.eventually("the pressure is over", |device| (disk_pressure(device) == "False").then_some(()));
    person
        .hear("state", |told| told["waiting"].is_null() && told["sets"].as_array().is_some_and(|sets| sets.len() == 3));
    assert_eq!(device.metric("pinnace_sets_waiting"), 0);
    let pod = device.json(&["pod", "lives"]);
    assert_eq!(pod["status"]["containerStatuses"][0]["restartCount"], 0, "the pod did not notice");
    assert!(device.pid() == daemon && lives(daemon.into()), "{}", device.log());
    device.ok(&["delete", "pod", "lives", "--grace-period=1"]);
    assert_eq!(device.stop(), 0);
    drop(disk);
}

/// More than the node keeps in memory: the broker is asked for the rest.
#[test]
fn what_is_too_much_to_wait_comes_from_the_broker_again() {
    if !needs_root("what_is_too_much_to_wait_comes_from_the_broker_again") {
        return;
    }
    let broker = Mosquitto::start();
    let mut device = Device::prepare(&["--broker", &broker.url(), "--fleet", "demo"]);
    let disk = Small::with("size=200m", device.data());
    device.boot();
    let daemon = device.pid();
    let filler = disk.0.join("filler");
    let _ = fs::write(&filler, vec![0; 256 << 20]);
    let names: Vec<String> = (0..20).map(|n| format!("m{n}")).collect();
    for name in &names {
        broker.publish_retained(&format!("pn/demo/d/all/{name}"), map(name, 1_000_000).as_bytes());
    }
    let too_much = "too much waits already";
    device.eventually("not all can wait", |device| device.log().contains(too_much).then_some(()));
    fs::remove_file(filler).unwrap();
    device.eventually("all of it is in force", |device| {
        let there = device.ok(&["get", "configmaps", "-o", "name"]);
        names.iter().all(|name| there.contains(&format!("configmap/{name}\n"))).then_some(())
    });
    assert_eq!(device.metric("pinnace_link_sessions_total"), 2, "{}", device.log());
    assert!(device.pid() == daemon && lives(daemon.into()), "{}", device.log());
    assert_eq!(device.stop(), 0);
    drop(disk);
}
