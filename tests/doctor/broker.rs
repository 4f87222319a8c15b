//! The way to the broker: findings of a probe that was made up, and probes of a real mosquitto.

use pinnace::doctor::Level;
use pinnace::link::{Probe, Probed, Tls, probe};
use pinnace::model::{Broker, Mqtt, Protocol};

use super::check;
use super::machine::{Machine, holds};
use super::mosquitto::{Mosquitto, free_port};

#[test]
fn steps_that_fail() {
    check("broker-name", Level::Fail, "no such name", |m| {
        m.probed = Probed { resolved: Some(Err("broker: no such name".into())), ..Probed::default() };
    });
    check("broker-port", Level::Fail, "refused", |m| {
        let tcp = Some(Err("192.0.2.1:1883: refused".into()));
        m.probed = Probed { tcp, session: None, ..m.probed.clone() };
    });
    check("broker-session", Level::Fail, "no session: NotAuthorized", |m| {
        m.probed.session = Some(Err("NotAuthorized".into()))
    });
    check("subscribe", Level::Fail, "refused: pn/default/d/node/gw-7/+ (NotAuthorized)", |m| {
        m.found().filters[1].1 = Some("NotAuthorized".into());
    });
    check("publish", Level::Fail, "may not publish", |m| m.found().published = Some(Err("NotAuthorized".into())));
    check("publish", Level::Skipped, "3.1.1 does not say", |m| m.found().version = "3.1.1");
}

/// Every step has its line, whatever came before it.
#[test]
fn a_step_that_was_not_come_to_is_skipped() {
    let mut machine = Machine::sound();
    machine.probed = Probed { resolved: Some(Err("no".into())), ..Probed::default() };
    let found = machine.examine();
    for name in ["broker-port", "broker-session", "subscribe", "publish", "client-id"] {
        assert!(found.iter().any(|check| check.name == name && check.level == Level::Skipped), "{name}");
    }
}

#[test]
fn somebody_else_is_this_node() {
    check("client-id", Level::Warn, "another device is online as this node (boot ffff)", |m| {
        m.found().live = Some(serde_json::json!({"s": "online", "boot": "ffff"}));
    });
    check("client-id", Level::Warn, "no daemon runs here", |m| {
        m.stop();
        m.found().live = Some(serde_json::json!({"s": "online", "boot": super::machine::BOOT}));
    });
    check("client-id", Level::Warn, "30 sessions with the broker in 600 s", |m| {
        m.metric("pinnace_link_sessions_total", 30);
        m.metric("pinnace_uptime_seconds", 600);
    });
    // A mobile network over a day is no second client.
    check("client-id", Level::Ok, "its own", |m| m.metric("pinnace_link_sessions_total", 100));
}

#[test]
fn certificates_end() {
    let tls = |from: &'static str, until: &'static str| {
        move |m: &mut Machine| {
            m.mqtt().broker.tls = true;
            m.probed.tls = Some(Ok(Tls { version: "TLSv1.3".into(), validity: Some(holds(from, until)) }));
        }
    };
    check("broker-tls", Level::Ok, "36 days", tls("2026-01-01T00:00:00Z", "2026-12-31T00:00:00Z"));
    check("broker-tls", Level::Warn, "5 days", tls("2026-01-01T00:00:00Z", "2026-11-30T00:00:00Z"));
    check("broker-tls", Level::Fail, "ended at 2026-11-01", tls("2026-01-01T00:00:00Z", "2026-11-01T00:00:00Z"));
    check("broker-tls", Level::Fail, "holds from 2027", tls("2027-01-01T00:00:00Z", "2028-01-01T00:00:00Z"));
    check("broker-tls", Level::Fail, "invalid peer certificate", |m| {
        m.mqtt().broker.tls = true;
        m.probed.session = None;
        m.probed.tls = Some(Err("invalid peer certificate: UnknownIssuer".into()));
    });
    check("certificates", Level::Fail, "mqtt.ca_file /nowhere/ca.pem", |m| {
        m.mqtt().broker.tls = true;
        m.mqtt().ca_file = Some("/nowhere/ca.pem".into());
    });
}

const DAY: std::time::Duration = std::time::Duration::from_secs(86_400);

fn mqtt(url: &str) -> Mqtt {
    Mqtt::new(Broker::parse(url).unwrap(), "gw-7")
}

fn ask(mqtt: &Mqtt) -> Probed {
    probe(&Probe { mqtt, fleet: "default", node: "gw-7", groups: &["pos".into()], session: true })
}

#[test]
fn a_real_broker_is_probed_in_both_versions() {
    let broker = Mosquitto::start();
    broker.publish_retained("pn/default/u/gw-7/live", br#"{"s":"online","boot":"b","c":7}"#);
    broker.publish_retained("pn/default/d/all/a", b"no manifest");
    for (protocol, version) in [(Protocol::Auto, "5"), (Protocol::V3, "3.1.1")] {
        let probed = ask(&Mqtt { protocol, ..mqtt(&broker.url()) });
        let session = probed.session.unwrap().unwrap();
        assert_eq!((session.version, session.client_id.as_str()), (version, "gw-7-doctor"));
        assert_eq!(session.filters.len(), 3);
        assert!(session.filters.iter().all(|(_, refusal)| refusal.is_none()), "{session:?}");
        assert_eq!((session.published, session.live.unwrap()["c"].as_u64()), (Some(Ok(())), Some(7)));
    }
}

#[test]
fn a_broker_with_rules_refuses_what_they_do_not_allow() {
    let rules = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(rules.path(), "topic read pn/default/d/#\n").unwrap();
    let lines = format!("allow_anonymous true\nacl_file {}\n", rules.path().display());
    let broker = Mosquitto::start_with(free_port(), &lines);
    let session = ask(&mqtt(&broker.url())).session.unwrap().unwrap();
    assert!(session.published.unwrap().unwrap_err().contains("NotAuthorized"));

    let passwords = tempfile::NamedTempFile::new().unwrap();
    let lines = format!("allow_anonymous false\npassword_file {}\n", passwords.path().display());
    let broker = Mosquitto::start_with(free_port(), &lines);
    let why = ask(&mqtt(&broker.url())).session.unwrap().unwrap_err();
    assert!(why.contains("NotAuthorized") || why.contains("BadUserNamePassword"), "{why}");
}

#[test]
fn nobody_listens_and_no_such_name() {
    let probed = ask(&mqtt(&format!("mqtt://127.0.0.1:{}", free_port())));
    assert!(probed.tcp.unwrap().unwrap_err().contains("127.0.0.1"));
    assert!(probed.session.is_none());
    let probed = ask(&mqtt("mqtt://no-such-host.invalid"));
    assert!(probed.resolved.unwrap().unwrap_err().contains("no-such-host.invalid"));
}

/// A broker behind TLS with a certificate of one day, and what becomes of each thing that can be wrong about it.
#[test]
fn a_real_certificate_is_read_and_judged() {
    let dir = tempfile::tempdir().unwrap();
    let openssl = |arguments: &[&str]| {
        let done = std::process::Command::new("openssl").args(arguments).current_dir(dir.path()).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    };
    openssl(&[
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "1",
        "-keyout",
        "key.pem",
        "-out",
        "cert.pem",
        "-subj",
        "/CN=broker",
        "-addext",
        "subjectAltName=DNS:localhost",
        "-addext",
        "basicConstraints=critical,CA:FALSE",
    ]);
    let at = |name: &str| dir.path().join(name);
    let lines =
        format!("allow_anonymous true\ncertfile {}\nkeyfile {}\n", at("cert.pem").display(), at("key.pem").display());
    let broker = Mosquitto::start_with(free_port(), &lines);
    let url = |host: &str| format!("mqtts://{host}:{}", broker.port());
    let trusting = |host: &str| Mqtt { ca_file: Some(at("cert.pem")), ..mqtt(&url(host)) };
    let probed = ask(&trusting("localhost"));
    let tls = probed.tls.unwrap().unwrap();
    let validity = tls.validity.unwrap();
    assert_eq!(validity.not_after.since(validity.not_before).as_secs(), 86_400);
    assert_eq!((tls.version.as_str(), probed.session.unwrap().is_ok()), ("TLSv1.3", true));

    let why = ask(&trusting("127.0.0.1")).tls.unwrap().unwrap_err();
    assert!(why.to_lowercase().contains("not valid for name"), "{why}");
    for (clock, level, words) in [
        (validity.not_before.plus(DAY / 2), Level::Warn, "holds until"),
        (validity.not_after.plus(DAY), Level::Fail, "ended at"),
        (validity.not_before.minus(DAY), Level::Fail, "holds from"),
    ] {
        let mut machine = Machine::sound();
        *machine.mqtt() = trusting("localhost");
        machine.set_clock(&clock.rfc3339(), true);
        let found = machine.examine();
        let own = found.iter().find(|check| check.name == "certificates").unwrap();
        assert!(own.level == level && own.found.contains("mqtt.ca_file") && own.found.contains(words), "{own:?}");
    }
}
