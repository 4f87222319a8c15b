//! The way to the broker, step by step: its name, its port, TLS, a session, what may be subscribed and published there, and
//! whether somebody else is this node.

use super::certificates::judge;
use super::node::Seen;
use super::{Check, Host, Subject, fail, ok, skipped, warn};
use crate::link::{Probe, Probed, Session};
use crate::model::{Mqtt, Timestamp};

const STEPS: [&str; 7] =
    ["broker-name", "broker-port", "broker-tls", "broker-session", "subscribe", "publish", "client-id"];

pub(super) fn checks(host: &dyn Host, subject: &Subject, node: &Seen) -> Vec<Check> {
    let config = &subject.config;
    let Some(mqtt) = &config.mqtt else {
        return vec![skipped("broker-name", "no broker is set: the node runs alone")];
    };
    let connected = node.metric("pinnace_link_connected") == Some(1);
    let ask = Probe {
        mqtt,
        fleet: &config.fleet,
        node: &config.name,
        groups: &config.groups,
        session: subject.session || !connected,
    };
    let probed = host.broker(&ask);
    let now = host.now().map_or(Timestamp::EPOCH, |now| now.wall);
    let mut checks = reach(mqtt, &probed, now);
    let failed = checks.iter().any(|check| check.level == super::Level::Fail);
    match &probed.session {
        Some(Ok(session)) => checks.extend(inside(host, session, node, connected)),
        Some(Err(why)) => checks.push(refused(mqtt, why)),
        None if !failed && connected => checks.extend(left_to_the_node(node)),
        None => {}
    }
    // Every step has its line, so that a program finds them all.
    for step in STEPS {
        if !checks.iter().any(|check| check.name == step) && (step != "broker-tls" || mqtt.broker.tls) {
            checks.push(skipped(step, "an earlier step failed"));
        }
    }
    checks
}

fn reach(mqtt: &Mqtt, probed: &Probed, now: Timestamp) -> Vec<Check> {
    let mut checks = Vec::new();
    match &probed.resolved {
        Some(Ok(addresses)) => {
            let shown: Vec<String> = addresses.iter().take(4).map(|a| a.ip().to_string()).collect();
            checks.push(ok("broker-name", format!("{} is {}", mqtt.broker.host, shown.join(", "))));
        }
        Some(Err(why)) => checks.push(fail(
            "broker-name",
            why.clone(),
            "look at /etc/resolv.conf and the network; or name the broker by its address",
        )),
        None => {}
    }
    match &probed.tcp {
        Some(Ok(took)) => {
            checks.push(ok("broker-port", format!("port {} answers in {} ms", mqtt.broker.port, took.as_millis())))
        }
        Some(Err(why)) => checks.push(fail(
            "broker-port",
            why.clone(),
            "is the broker up, the port right, and does a firewall let it through?",
        )),
        None => {}
    }
    match &probed.tls {
        Some(Ok(tls)) => checks.push(match tls.validity {
            Some(validity) => judge("broker-tls", &format!("{}: the broker's certificate", tls.version), validity, now),
            None => ok("broker-tls", tls.version.clone()),
        }),
        Some(Err(why)) => checks.push(fail("broker-tls", why.clone(), tls_remedy(why))),
        None => {}
    }
    checks
}

/// rustls' words for what a person can do something about.
fn tls_remedy(why: &str) -> &'static str {
    let says = |word: &str| why.contains(word);
    if says("NotValidYet") || says("not valid yet") {
        "set the clock: the broker's certificate is of the future"
    } else if says("Expired") || says("expired") {
        "renew the broker's certificate; or set the clock, if it is wrong"
    } else if says("UnknownIssuer") || says("UnknownCA") {
        "mqtt.ca_file must hold the authority that signed the broker's certificate (and the broker must know the node's)"
    } else if says("NotValidForName") || says("not valid for name") {
        "write the broker by a name that its certificate has"
    } else if says("CertificateRequired") {
        "the broker wants a certificate of the node: mqtt.cert_file and mqtt.key_file"
    } else {
        "does that port speak TLS, and does the broker accept this node's certificate? its log says more"
    }
}

fn refused(mqtt: &Mqtt, why: &str) -> Check {
    let id = format!("{}-doctor", mqtt.client_id);
    let remedy = format!(
        "user, password and certificate: the broker's log has the reason; a broker that binds client ids to users refuses the \
         id {id} that is used here, and lets the node in all the same"
    );
    fail("broker-session", format!("no session: {why}"), remedy)
}

fn inside(host: &dyn Host, session: &Session, node: &Seen, connected: bool) -> Vec<Check> {
    vec![
        ok("broker-session", format!("MQTT {} as {}", session.version, session.client_id)),
        subscribe(session),
        publish(session),
        client_id(host, session, node, connected),
    ]
}

fn subscribe(session: &Session) -> Check {
    let refused: Vec<String> =
        session.filters.iter().filter_map(|(f, refusal)| Some(format!("{f} ({})", refusal.as_ref()?))).collect();
    if refused.is_empty() {
        let all: Vec<&str> = session.filters.iter().map(|(filter, _)| filter.as_str()).collect();
        return ok("subscribe", format!("granted: {}", all.join(" ")));
    }
    fail(
        "subscribe",
        format!("refused: {}", refused.join(", ")),
        "give the node's user these topics to read; docs/fleet.md has an ACL",
    )
}

fn publish(session: &Session) -> Check {
    match &session.published {
        Some(Ok(())) if session.version == "5" => ok("publish", "the node may publish below its own topic"),
        Some(Ok(())) => skipped("publish", "MQTT 3.1.1 does not say whether a publication was taken"),
        Some(Err(why)) => fail(
            "publish",
            format!("the node may not publish below its own topic: {why}"),
            "give its user ROOT/FLEET/u/NODE/# to write; docs/fleet.md has an ACL",
        ),
        None => skipped("publish", "nothing was published"),
    }
}

/// Without taking over the id: by what is said of the node on its own `live` topic, and by how often its session ends.
fn client_id(host: &dyn Host, session: &Session, node: &Seen, connected: bool) -> Check {
    if let Some(check) = flapping(node) {
        return check;
    }
    let Some(live) = &session.live else {
        return if connected {
            ok("client-id", "the node's session holds")
        } else {
            skipped("client-id", "nothing is said of the node on its live topic, or it may not be read")
        };
    };
    let this_boot = node.boot().map(str::to_string).or_else(|| host.now().map(|now| now.boot.as_str().to_string()));
    let boot = live["boot"].as_str().unwrap_or_default();
    if live["s"] == "online" && this_boot.as_deref() != Some(boot) {
        return warn(
            "client-id",
            format!("another device is online as this node (boot {boot}), or this one was cut off a moment ago"),
            "look again in two minutes; then give each device a name of its own (name, mqtt.client_id)",
        );
    }
    if live["s"] == "online" && !connected && node.is_absent() {
        return warn(
            "client-id",
            "the broker has this node online, and no daemon runs here",
            "look again in two minutes; is a second node of this device running?",
        );
    }
    ok("client-id", format!("the last word of the node is its own ({})", live["s"].as_str().unwrap_or("none")))
}

fn flapping(node: &Seen) -> Option<Check> {
    let (sessions, age_s) = node.sessions_flap()?;
    Some(warn(
        "client-id",
        format!("{sessions} sessions with the broker in {age_s} s: two clients with one id throw each other out"),
        "give each device a name of its own (name, mqtt.client_id); or mend the network",
    ))
}

/// A second session could end the node's where the broker names sessions after users.
fn left_to_the_node(node: &Seen) -> Vec<Check> {
    let held = "the node has a session; doctor --session opens a second one to look";
    vec![
        ok("broker-session", "the node is connected"),
        skipped("subscribe", held),
        skipped("publish", held),
        flapping(node).unwrap_or_else(|| ok("client-id", "the node's session holds")),
    ]
}
