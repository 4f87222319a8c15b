//! The link against real brokers: mosquitto as Debian ships it, rumqttd within the process, and one that sends nonsense.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use pinnace::link::{LinkHandle, LinkSettings, Up, start};
use pinnace::model::seen::Content;
use pinnace::model::{
    BootId, Broker, Failure, Key, Kind, LinkSeen, Meta, Mqtt, Namespace, Protocol, Push, Reason, Scope, Seen, SetKey,
};
use serde_json::json;
use support::mosquitto::{Mosquitto, free_port};
use support::peer::{PATIENCE, Peer, within};
use support::rumqttd;
use tokio::sync::mpsc;

#[path = "support/mod.rs"]
#[allow(dead_code)]
mod support;

/// A link under test, and what it has seen.
struct Node {
    link: LinkHandle,
    seen: mpsc::Receiver<Seen>,
    decodes: Arc<AtomicUsize>,
}

/// Settings of node `gw` in fleet `demo`, group `pos`; without waits between attempts to connect.
fn settings(port: u16) -> LinkSettings {
    let mut mqtt = Mqtt::new(Broker::parse(&format!("mqtt://127.0.0.1:{port}")).unwrap(), "gw");
    (mqtt.reconnect_max_s, mqtt.state_interval_s) = (0, 0);
    LinkSettings {
        mqtt,
        fleet: "demo".into(),
        node: "gw".into(),
        groups: vec!["pos".into()],
        boot: BootId::new("boot-1"),
        before: pinnace::link::Before { connections: 40, pushes: 0 },
        decode: Arc::new(|_| unreachable!("set by Node::start")),
    }
}

impl Node {
    fn start(mut settings: LinkSettings) -> Node {
        let decodes = Arc::new(AtomicUsize::new(0));
        let counter = decodes.clone();
        settings.decode = Arc::new(move |text| {
            counter.fetch_add(1, Ordering::Relaxed);
            if text.starts_with(b"broken") {
                return Err(Failure::new(Reason::BadRequest, "it is broken"));
            }
            let object = Namespace { meta: Meta::named("", "n") };
            Ok(Content { records: vec![object.into()], warnings: Vec::new() })
        });
        let (tell, seen) = mpsc::channel(4);
        Node { link: start(settings, tell), seen, decodes }
    }

    async fn next(&mut self) -> Seen {
        within(self.seen.recv()).await.expect("the link runs")
    }

    async fn link(&mut self, expected: LinkSeen) {
        loop {
            match self.next().await {
                Seen::Link(seen) if seen == expected => return,
                _ => {}
            }
        }
    }

    /// Returns when every subscription is in force: the last one is, and the broker takes them in order.
    async fn subscribed(&mut self, peer: &mut Peer) {
        self.link(LinkSeen::Connected).await;
        peer.publish("pn/demo/d/node/gw/probe", true, "x").await;
        loop {
            match self.next().await {
                Seen::Pushed(push) if push.set.slot == "probe" => return self.settle(&push),
                _ => {}
            }
        }
    }

    /// The next message, of whatever slot but the probe.
    async fn push(&mut self) -> Push {
        loop {
            match self.next().await {
                // A retained message that is published while we subscribe may come twice.
                Seen::Pushed(push) if push.set.slot == "probe" => self.settle(&push),
                Seen::Pushed(push) => return *push,
                _ => {}
            }
        }
    }

    /// The next message on a slot, of all scopes.
    async fn push_on(&mut self, slot: &str) -> Push {
        loop {
            let push = self.push().await;
            if push.set.slot == slot {
                return push;
            }
            self.settle(&push);
        }
    }

    /// Says that a message is dealt with.
    fn settle(&self, push: &Push) {
        self.link.send(Up::Settle(push.id));
    }
}

fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    // Longer than any single wait of a test; a link that goes round in circles is a failure too.
    let bounded = async { tokio::time::timeout(4 * PATIENCE, test).await.expect("the test comes to its end") };
    runtime.block_on(tokio::task::LocalSet::new().run_until(bounded));
}

fn set(scope: Scope, slot: &str) -> SetKey {
    SetKey { scope, slot: slot.into() }
}

/// Which broker, and which version of MQTT the link is told to speak.
#[derive(Debug, Clone, Copy)]
struct Case {
    mosquitto: bool,
    protocol: Protocol,
}

const CASES: [Case; 4] = [
    Case { mosquitto: true, protocol: Protocol::Auto },
    Case { mosquitto: true, protocol: Protocol::V3 },
    Case { mosquitto: false, protocol: Protocol::V5 },
    Case { mosquitto: false, protocol: Protocol::V3 },
];

/// Port for the link, port for a peer in MQTT 3.1.1, and the broker to hold on to.
fn broker(case: Case) -> (u16, u16, Option<Mosquitto>) {
    if case.mosquitto {
        let broker = Mosquitto::start();
        return (broker.port(), broker.port(), Some(broker));
    }
    let (v3, v5) = (free_port(), free_port());
    rumqttd::start(Some(v3), Some(v5));
    (if case.protocol == Protocol::V3 { v3 } else { v5 }, v3, None)
}

fn for_each_case(test: impl AsyncFn(Case, LinkSettings, Peer)) {
    for case in CASES {
        eprintln!("{case:?}");
        let (port, peer_port, _broker) = broker(case);
        run(async {
            let mut settings = settings(port);
            settings.mqtt.protocol = case.protocol;
            test(case, settings, Peer::connect(peer_port, "peer", "pn/demo/u/#").await).await;
        });
    }
}

#[test]
fn sets_of_all_scopes_arrive_and_those_of_others_do_not() {
    for_each_case(async |case, settings, mut peer| {
        peer.publish("pn/demo/d/node/other/x", true, "not ours").await;
        peer.publish("pn/demo/d/grp/other/x", true, "not ours").await;
        peer.publish("pn/prod/d/all/x", true, "not ours").await;
        peer.publish("pn/demo/d/all/_trust", true, "reserved").await;
        peer.publish("pn/demo/d/all/a", true, "1").await;
        peer.publish("pn/demo/d/grp/pos/b", true, "2").await;
        peer.publish("pn/demo/d/node/gw/c", true, "3").await;
        let mut node = Node::start(settings);
        let mut sets = Vec::new();
        for _ in 0..3 {
            let push = node.push().await;
            node.settle(&push);
            sets.push(push.set);
        }
        sets.sort();
        let expected = [set(Scope::All, "a"), set(Scope::Group("pos".into()), "b"), set(Scope::Node, "c")];
        assert_eq!(sets, expected, "{case:?}");
        // What comes later arrives as well, retained or not, and a retained nothing is the word to let go.
        peer.publish("pn/demo/d/all/later", false, "4").await;
        node.push_on("later").await;
        peer.publish("pn/demo/d/all/a", true, "").await;
        while !node.push_on("a").await.empty {}
    });
}

#[test]
fn garbage_is_handed_on_as_what_it_is_and_holds_up_nothing() {
    for_each_case(async |case, settings, mut peer| {
        let mut node = Node::start(settings);
        node.subscribed(&mut peer).await;
        for (slot, payload, reason) in [
            ("a", b"broken yaml".to_vec(), Reason::BadRequest),
            ("b", b"\xff\xfe\x00\x01".to_vec(), Reason::BadRequest),
            ("BAD_slot", b"fine".to_vec(), Reason::BadRequest),
            ("c", vec![b'x'; (1 << 20) + 1], Reason::RequestEntityTooLarge),
        ] {
            peer.publish(&format!("pn/demo/d/all/{slot}"), true, payload).await;
            let push = node.push_on(slot).await;
            assert_eq!(push.content.as_ref().unwrap_err().reason, reason, "{case:?}: {push:?}");
            node.settle(&push);
        }
        peer.publish("pn/demo/d/all/good", true, vec![b'x'; 1 << 20]).await;
        assert!(node.push_on("good").await.content.is_ok(), "{case:?}");
    });
}

#[test]
fn a_message_of_3_mb_is_rejected_or_left_with_the_broker_and_the_others_arrive() {
    for_each_case(async |case, settings, mut peer| {
        peer.publish("pn/demo/d/all/a", true, "1").await;
        peer.publish("pn/demo/d/all/huge", true, vec![b'x'; 3 << 20]).await;
        peer.publish("pn/demo/d/node/gw/z", true, "2").await;
        let mut node = Node::start(settings);
        // mosquitto is told our bound by MQTT 5 and keeps the message; everybody else sends it, and is answered.
        let told = case.mosquitto && case.protocol == Protocol::Auto;
        let mut expected = vec!["a", "z"];
        expected.extend((!told).then_some("huge"));
        while !expected.is_empty() {
            let push = node.push().await;
            expected.retain(|slot| *slot != push.set.slot);
            assert_eq!(push.content.is_err(), push.set.slot == "huge", "{case:?}");
            node.settle(&push);
        }
        peer.publish("pn/demo/d/all/later", true, "3").await;
        node.push_on("later").await;
    });
}

#[test]
fn the_same_message_a_thousand_times_is_read_once() {
    for_each_case(async |case, settings, mut peer| {
        let mut node = Node::start(settings);
        node.subscribed(&mut peer).await;
        for _ in 0..1000 {
            peer.publish("pn/demo/d/all/a", true, "kind: Job").await;
            let push = node.push().await;
            node.settle(&push);
            assert_eq!(push.set.slot, "a", "{case:?}");
        }
        assert_eq!(node.decodes.load(Ordering::Relaxed), 2, "{case:?}: the probe, and this one");
    });
}

/// A broker drops a client when another one comes with its name.
async fn throw_out(port: u16, dialect: u8) {
    let properties: &[u8] = if dialect == 5 { &[0] } else { &[] };
    let body = [b"\x00\x04MQTT", &[dialect, 2, 0, 60][..], properties, b"\x00\x02gw"].concat();
    let packet = [&[0x10, body.len() as u8], &body[..]].concat();
    let taken = tokio::task::spawn_blocking(move || {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.write_all(&packet).unwrap();
        stream.read_exact(&mut [0; 4]).is_ok()
    });
    // The link may be back so soon that it throws out this one before the answer; it was thrown out all the same.
    let _ = within(taken).await.unwrap();
}

#[test]
fn a_message_is_acknowledged_when_it_is_settled_and_not_before() {
    // Only a kept session would show it by itself, and ours is not. So: as many messages without an answer as the broker
    // allows stop the flow, and settling one lets one more through. We allow 16 by MQTT 5; by 3.1.1 the broker decides.
    run(async {
        let broker = Mosquitto::start_with(free_port(), "allow_anonymous true\nmax_inflight_messages 3\n");
        let mut peer = Peer::connect(broker.port(), "peer", "nothing").await;
        for (protocol, window) in [(Protocol::V5, 16), (Protocol::V3, 3)] {
            let mut settings = settings(broker.port());
            settings.mqtt.protocol = protocol;
            let mut node = Node::start(settings);
            node.link(LinkSeen::Connected).await;
            for n in 0..2 * window {
                peer.publish(&format!("pn/demo/d/all/s{n}"), false, "x").await;
            }
            let mut first = Vec::new();
            for _ in 0..window {
                first.push(node.push().await);
            }
            // One more would come before the answer to this publication: both go one way through the broker.
            node.link.send(Up::Ack { key: Key::new(Kind::Ack, "", "k"), revision: 1, body: json!({}) });
            match node.next().await {
                Seen::Link(LinkSeen::Delivered { .. }) => {}
                other => panic!("{protocol:?}: {other:?}"),
            }
            for push in &first {
                node.settle(push);
                let next = node.push().await;
                assert!(next.id.0 > window, "{protocol:?}");
            }
            node.link.send(Up::Stop);
            within(node.link.ended()).await;
        }
    });
}

#[test]
fn what_was_not_settled_comes_again_after_the_connection_broke() {
    for_each_case(async |case, settings, mut peer| {
        let port = settings.mqtt.broker.port;
        let dialect = if case.protocol == Protocol::V3 { 4 } else { 5 };
        peer.publish("pn/demo/d/all/a", true, "1").await;
        let mut node = Node::start(settings);
        let first = node.push().await;
        throw_out(port, dialect).await;
        node.link(LinkSeen::Lost).await;
        node.link(LinkSeen::Connected).await;
        let again = node.push().await;
        assert_eq!((&again.set, &again.sha), (&first.set, &first.sha), "{case:?}");
        assert_ne!(again.id, first.id, "{case:?}");
        // The settlement of a message of the old session is no harm to the new one.
        node.settle(&first);
        node.settle(&again);
        peer.publish("pn/demo/d/all/b", true, "2").await;
        node.push_on("b").await;
        assert_eq!(node.decodes.load(Ordering::Relaxed), 2, "{case:?}");
    });
}

#[test]
fn presence_is_kept_by_the_broker_through_birth_loss_and_farewell() {
    for_each_case(async |case, settings, mut peer| {
        let mut node = Node::start(settings.clone());
        let birth = peer.hear(|m| m.topic == "pn/demo/u/gw/live").await.json();
        assert_eq!((&birth["s"], &birth["boot"]), (&json!("online"), &json!("boot-1")), "{case:?}");
        let first = birth["c"].as_u64().unwrap();
        assert!(first > 40, "{case:?}");
        node.link(LinkSeen::Connected).await;
        // Gone without a word.
        drop(node);
        let will = peer.hear(|m| m.topic == "pn/demo/u/gw/live").await.json();
        assert_eq!(will, json!({"s": "lost", "boot": "boot-1", "c": first}), "{case:?}");

        let mut node = Node::start(settings);
        node.link(LinkSeen::Connected).await;
        node.link.send(Up::Stop);
        within(node.link.ended()).await;
        let farewell = peer.hear(|m| m.topic == "pn/demo/u/gw/live" && m.json()["s"] != "online").await.json();
        assert_eq!(farewell["s"], "off", "{case:?}");
    });
}

/// A link that follows another one (new settings) goes on with its numbers: a late settlement of an old message cannot
/// acknowledge a new one, and a late will of an old connection cannot mark a new one dead.
#[test]
fn a_link_that_follows_another_goes_on_with_its_numbers() {
    run(async {
        let broker = Mosquitto::start();
        let mut peer = Peer::connect(broker.port(), "peer", "pn/demo/u/gw/live").await;
        let mut first = Node::start(settings(broker.port()));
        first.subscribed(&mut peer).await;
        peer.publish("pn/demo/d/all/a", true, "x").await;
        let old = first.push_on("a").await;
        first.link.send(Up::Stop);
        let before = within(first.link.ended()).await.expect("it ended well");
        assert_eq!((before.connections, before.pushes), (41, old.id.0));
        let mut second = Node::start(LinkSettings { before, ..settings(broker.port()) });
        let new = second.push_on("a").await;
        assert!(new.id > old.id, "{:?} {:?}", new.id, old.id);
        peer.hear(|heard| heard.json()["c"] == 42).await;
    });
}

#[test]
fn answers_are_delivered_and_said_so_and_documents_are_retained() {
    for_each_case(async |case, settings, mut peer| {
        let mut node = Node::start(settings);
        node.link(LinkSeen::Connected).await;
        for n in 0..20u64 {
            let key = Key::new(Kind::Ack, "", &format!("slot-{n}"));
            node.link.send(Up::Ack { key, revision: n, body: json!({"n": n}) });
        }
        let mut delivered = Vec::new();
        while delivered.len() < 20 {
            if let Seen::Link(LinkSeen::Delivered { key, revision }) = node.next().await {
                assert_eq!(key.name, format!("slot-{revision}"), "{case:?}");
                delivered.push(revision);
            }
        }
        delivered.sort_unstable();
        assert_eq!(delivered, (0..20).collect::<Vec<u64>>(), "{case:?}");
        let mut heard = Vec::new();
        for _ in 0..20 {
            heard.push(peer.hear(|m| m.topic == "pn/demo/u/gw/ack").await.json()["n"].as_u64().unwrap());
        }
        heard.sort_unstable();
        assert_eq!(heard, delivered, "{case:?}");
        node.link.send(Up::Node(json!({"labels": 1})));
        node.link.send(Up::State(json!({"sets": 1})));
        peer.hear(|m| m.topic == "pn/demo/u/gw/node" && m.json() == json!({"labels": 1})).await;
        peer.hear(|m| m.topic == "pn/demo/u/gw/state" && m.json() == json!({"sets": 1})).await;
    });
}

#[test]
fn a_broker_that_is_absent_killed_and_wiped_changes_nothing() {
    run(async {
        let port = free_port();
        let mut node = Node::start(settings(port));
        node.link.send(Up::Node(json!({"labels": 1})));
        node.link.send(Up::State(json!({"sets": 0})));
        let mut broker = Mosquitto::start_with(port, "allow_anonymous true\n");
        node.link(LinkSeen::Connected).await;
        broker.publish_retained("pn/demo/d/all/a", b"kind: Job");
        let push = node.push().await;
        node.settle(&push);

        for _ in 0..3 {
            broker.kill();
            node.link(LinkSeen::Lost).await;
            // It comes back with nothing: no set is taken back, and this node says again who it is.
            node.link.send(Up::State(json!({"sets": 1})));
            broker = Mosquitto::start_with(port, "allow_anonymous true\n");
            node.link(LinkSeen::Connected).await;
            let mut peer = Peer::connect(port, "peer", "pn/demo/u/#").await;
            let mut expected = vec![("node", json!({"labels": 1})), ("state", json!({"sets": 1}))];
            let mut online = false;
            while !(expected.is_empty() && online) {
                let heard = peer.hear(|_| true).await;
                expected.retain(|(leaf, body)| heard.topic != format!("pn/demo/u/gw/{leaf}") || heard.json() != *body);
                online |= heard.topic == "pn/demo/u/gw/live" && heard.json()["s"] == "online";
            }
            peer.publish("pn/demo/d/all/later", false, "x").await;
            assert_eq!(node.push().await.set.slot, "later", "the wiped set is not heard of");
        }
    });
}

#[test]
fn an_old_broker_is_spoken_to_in_mqtt_3_1_1() {
    run(async {
        let port = free_port();
        rumqttd::start(Some(port), None);
        let mut peer = Peer::connect(port, "peer", "nothing").await;
        let mut node = Node::start(settings(port));
        node.link(LinkSeen::Connected).await;
        peer.publish("pn/demo/d/all/a", true, "1").await;
        node.push().await;
    });
}

/// Answers each connection with the next of `answers`, then gives the port back.
fn speak_nonsense(listener: TcpListener, answers: Vec<Vec<u8>>) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        for answer in answers {
            let (mut stream, _) = listener.accept().unwrap();
            let mut buffer = [0; 4096];
            let _ = stream.read(&mut buffer);
            let _ = stream.write_all(&answer);
        }
    })
}

#[test]
fn a_broker_that_sends_nonsense_is_left_and_tried_again() {
    run(async {
        const CONNACK_V5: [u8; 5] = [0x20, 3, 0, 0, 0];
        let after_connack = |rest: &[u8]| [&CONNACK_V5, rest].concat();
        let answers = vec![
            b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(),
            vec![],
            vec![0xff; 2000],
            vec![0x20, 0x80, 0x80, 0x80, 0x80, 0x01],
            vec![0x20, 2, 0, 5],
            after_connack(&[0xf0, 0xff, 0xff, 0xff, 0xff]),
            after_connack(&[0x30, 2, 0xff, 0xff]),
            after_connack(&[0x40, 2, 0, 9]),
            after_connack(&[0x30, 0xff, 0xff, 0xff, 0x7f, 0, 1, b'a']),
            after_connack(&[0xe0, 2, 0x8e, 0]),
        ];
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let liar = speak_nonsense(listener, answers);
        let mut node = Node::start(settings(port));
        tokio::task::spawn_blocking(move || liar.join()).await.unwrap().unwrap();
        let broker = Mosquitto::start_with(port, "allow_anonymous true\n");
        broker.publish_retained("pn/demo/d/all/a", b"kind: Job");
        assert_eq!(node.push().await.set.slot, "a");
    });
}

#[test]
fn a_loop_that_takes_nothing_stops_the_flow_and_loses_nothing() {
    for_each_case(async |case, settings, mut peer| {
        let mut node = Node::start(settings);
        node.subscribed(&mut peer).await;
        for n in 0..100 {
            peer.publish(&format!("pn/demo/d/all/s{n}"), true, format!("{n}")).await;
        }
        for n in 0..100 {
            let push = node.push().await;
            assert_eq!(push.set.slot, format!("s{n}"), "{case:?}");
            node.settle(&push);
        }
    });
}

#[test]
fn users_and_passwords_are_given() {
    run(async {
        let dir = tempfile::tempdir().unwrap();
        let passwords = dir.path().join("passwords");
        let status = Command::new("mosquitto_passwd")
            .args(["-b", "-c", passwords.to_str().unwrap(), "gw", "secret"])
            .status()
            .unwrap();
        assert!(status.success());
        let lines = format!("allow_anonymous false\npassword_file {}\n", passwords.display());
        let broker = Mosquitto::start_with(free_port(), &lines);
        let password_file = dir.path().join("pw");
        std::fs::write(&password_file, "wrong\n").unwrap();
        let mut settings = settings(broker.port());
        settings.mqtt.username = Some("gw".into());
        settings.mqtt.password_file = Some(password_file.clone());
        let mut node = Node::start(settings);
        // The file is read anew at each attempt.
        std::fs::write(&password_file, "secret\n").unwrap();
        node.link(LinkSeen::Connected).await;
    });
}

/// Makes an authority, a certificate of the broker for 127.0.0.1, and one for the node, with openssl.
fn certificates(dir: &Path) {
    let script = r#"
        openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=ca -keyout ca.key -out ca.pem
        for name in broker gw; do
            openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=$name -keyout $name.key -out $name.csr
            printf 'subjectAltName=IP:127.0.0.1\n' > ext
            openssl x509 -req -in $name.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile ext -out $name.pem
        done
        chmod a+r *.key
    "#;
    let output = Command::new("sh").args(["-ec", script]).current_dir(dir).output().unwrap();
    assert!(output.status.success(), "openssl is needed for this test: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn tls_with_certificates_on_both_sides() {
    run(async {
        let dir = tempfile::tempdir().unwrap();
        certificates(dir.path());
        let at = |name: &str| dir.path().join(name);
        let lines = format!(
            "require_certificate true\nuse_identity_as_username true\ncafile {}\ncertfile {}\nkeyfile {}\n",
            at("ca.pem").display(),
            at("broker.pem").display(),
            at("broker.key").display()
        );
        let broker = Mosquitto::start_with(free_port(), &lines);
        let mut settings = settings(broker.port());
        settings.mqtt.broker.tls = true;
        settings.mqtt.ca_file = Some(at("ca.pem"));
        for protocol in [Protocol::V5, Protocol::V3] {
            settings.mqtt.protocol = protocol;
            (settings.mqtt.cert_file, settings.mqtt.key_file) = (Some(at("gw.pem")), Some(at("gw.key")));
            let mut node = Node::start(settings.clone());
            node.link(LinkSeen::Connected).await;
            node.link.send(Up::Stop);
            within(node.link.ended()).await;
        }
        // Without a certificate the broker does not let it in; when one is there, the next attempt does.
        settings.mqtt.protocol = Protocol::V5;
        settings.mqtt.cert_file = Some(at("late.pem"));
        let mut node = Node::start(settings);
        std::fs::copy(at("gw.pem"), at("late.pem")).unwrap();
        node.link(LinkSeen::Connected).await;
    });
}
