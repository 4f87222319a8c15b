//! The node's own record: what the host is, its labels, whether its clock may be trusted. Knows no pods.

use std::time::Duration;

use crate::model::node::{NodeStatus, go_architecture};
use crate::model::update::{Outcome, UpdateSeen};
use crate::model::{Booted, Configured, EventType, Kind, Labels, Meta, Namespace, Node, NodeSpec, Uid, sorted};

use super::draft::{Draft, about};

/// Namespaces that every cluster has, and manifests therefore take for granted.
const NAMESPACES: [&str; 2] = ["default", "kube-system"];
/// Each life of the daemon numbers its connections from a new thousand, so that no connection costs a write.
const CONNECTIONS_A_LIFE: u64 = 1000;
/// The time floor is noted no more often than this; it rides with other commits.
const FLOOR_STEP: Duration = Duration::from_secs(3600);
const SOURCE: &str = "kubelet";

/// The daemon has started: the node's record is made, or brought up to what the host and the configuration say now.
pub fn booted(draft: &mut Draft, booted: &Booted) {
    let old = draft.node().cloned();
    if let Some(old) = old.as_ref().filter(|old| old.meta.name != booted.node_name) {
        // Renamed in the configuration: the same device, with its identity and all it holds.
        draft.delete(&crate::model::Key::new(Kind::Node, "", &old.meta.name));
    }
    let rebooted = old.as_ref().and_then(|old| old.status.boot.as_ref()).is_some_and(|boot| *boot != draft.now().boot);
    let node = renewed(draft, old, booted);
    let node_ref = about(&node.clone().into());
    draft.put(node);
    for name in NAMESPACES {
        ensure_namespace(draft, name);
    }
    draft.event(&node_ref, EventType::Normal, "Starting", "Starting pinnace.", SOURCE);
    if rebooted {
        let text = format!("Node {} has been rebooted, boot id: {}", booted.node_name, draft.now().boot);
        draft.event(&node_ref, EventType::Warning, "Rebooted", &text, SOURCE);
    }
}

/// The record of a node that starts: a new one, or the old one with today's facts.
fn renewed(draft: &Draft, old: Option<Node>, booted: &Booted) -> Node {
    let now = draft.now();
    let (mut meta, spec, before) = match old {
        Some(old) => (old.meta, old.spec, old.status),
        None => (new_meta(&booted.identity, now.wall), NodeSpec::default(), NodeStatus::default()),
    };
    meta.name.clone_from(&booted.node_name);
    let labels = all_labels(&booted.node_name, &booted.facts.architecture, &booted.labels);
    meta.labels.retain(|key, _| !before.config_labels.contains_key(key) || labels.contains_key(key));
    meta.labels.extend(labels.clone());
    let connections = (before.connections / CONNECTIONS_A_LIFE + 1) * CONNECTIONS_A_LIFE;
    let status = NodeStatus {
        identity: before.identity.or_else(|| Some(booted.identity.clone())),
        boot: Some(now.boot.clone()),
        started: Some(now.moment()),
        config_labels: labels,
        groups: booted.groups.clone(),
        facts: booted.facts.clone(),
        time_floor: before.time_floor,
        connections,
        ..NodeStatus::default()
    };
    Node { meta, spec, status }
}

/// The settings were read again: labels and groups are those of now.
pub fn configured(draft: &mut Draft, configured: &Configured) {
    let Some(old) = draft.node().cloned() else { return };
    let labels = all_labels(&old.meta.name, &old.status.facts.architecture, &configured.labels);
    let mut node = old.clone();
    node.meta.labels.retain(|key, _| !old.status.config_labels.contains_key(key) || labels.contains_key(key));
    node.meta.labels.extend(labels.clone());
    node.status.config_labels = labels;
    node.status.groups.clone_from(&configured.groups);
    if node != old {
        draft.put(node);
    }
}

fn new_meta(identity: &Uid, created: crate::model::Timestamp) -> Meta {
    Meta { uid: identity.clone(), created, ..Meta::named("", "") }
}

/// The configured labels, and those that every kubelet sets.
fn all_labels(name: &str, architecture: &str, configured: &Labels) -> Labels {
    let arch = go_architecture(architecture);
    let mut labels = sorted::map([
        ("kubernetes.io/hostname".to_string(), name.to_string()),
        ("kubernetes.io/os".to_string(), "linux".to_string()),
    ]);
    if !arch.is_empty() {
        labels.insert("kubernetes.io/arch".to_string(), arch.to_string());
    }
    labels.extend(configured.clone());
    labels
}

fn ensure_namespace(draft: &mut Draft, name: &str) {
    if draft.find(Kind::Namespace, "", name).is_none() {
        let meta = draft.new_meta(Kind::Namespace, Meta::named("", name));
        draft.put(Namespace { meta });
    }
}

/// The disk ran short of room or has room again. It only informs: a write that must be made would be the wrong answer.
pub fn disk(draft: &mut Draft, pressure: Option<&str>) {
    let Some(node) = draft.node().cloned() else { return };
    if node.status.facts.disk_pressure.as_deref() == pressure {
        return;
    }
    let mut new = node;
    new.status.facts.disk_pressure = pressure.map(String::from);
    draft.put_quietly(new.clone());
    let (kind, reason, text) = match pressure {
        Some(why) => (EventType::Warning, "NodeHasDiskPressure", why),
        None => (EventType::Normal, "NodeHasNoDiskPressure", "The disk has room again."),
    };
    draft.event(&about(&new.into()), kind, reason, text, SOURCE);
}

/// The fleet and whoever looks at the node's events hear of every change of program.
pub fn updated(draft: &mut Draft, update: &UpdateSeen) {
    let Some(node) = draft.node().cloned() else { return };
    let (kind, reason, text) = match update {
        UpdateSeen::Started { from, to } => {
            (EventType::Normal, "UpdateStarted", format!("Trying pinnace {to} in place of {from}."))
        }
        UpdateSeen::Ended(last) => match &last.outcome {
            Outcome::Confirmed => (EventType::Normal, "Updated", format!("pinnace {} is in force.", last.now)),
            Outcome::Returned(why) => {
                let text = format!("pinnace {} gave way, {} is in force: {why}.", last.tried, last.now);
                (EventType::Warning, "UpdateReturned", text)
            }
        },
    };
    draft.event(&about(&node.into()), kind, reason, &text, SOURCE);
}

/// It only informs: CronJobs are held by a clock that was never set, not by one that nobody corrects.
pub fn clock_synchronised(draft: &mut Draft, is: Option<bool>) {
    let Some(node) = draft.node().cloned() else { return };
    if node.status.facts.clock_synchronised != is {
        let mut new = node;
        new.status.facts.clock_synchronised = is;
        draft.put_quietly(new);
    }
}

/// Keeps the time floor, and says when the wall clock stops or starts being trusted. All of it only informs.
pub fn sync(draft: &mut Draft) {
    let Some(node) = draft.node() else { return };
    let now = draft.now();
    let floor_is_old = node.status.time_floor.is_none_or(|floor| now.wall >= floor.plus(FLOOR_STEP));
    let held = !now.wall_trusted;
    let mut new = node.clone();
    if now.wall_trusted && floor_is_old {
        new.status.time_floor = Some(now.wall);
    }
    new.status.clock_held = held;
    let turned = new.status.clock_held != node.status.clock_held;
    draft.put_quietly(new.clone());
    if turned {
        let node_ref = about(&new.into());
        let (kind, reason, text) = if held {
            (EventType::Warning, "ClockNotTrusted", "The wall clock is not set; CronJobs are held until it is.")
        } else {
            (EventType::Normal, "ClockTrusted", "The wall clock is set; CronJobs go on.")
        };
        draft.event(&node_ref, kind, reason, text, SOURCE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::step;
    use crate::model::node::Facts;
    use crate::model::{BootId, Now, Observed, Seen, State, Timestamp};

    fn now(boot: &str, wall_trusted: bool) -> Now {
        Now {
            wall: Timestamp::from_secs(1_790_000_000),
            wall_trusted,
            uptime: Duration::from_secs(9),
            boot: BootId::new(boot),
        }
    }

    fn boot(state: &mut State, name: &str, labels: &[(&str, &str)], now: &Now) {
        let labels = labels.iter().map(|(k, v)| ((*k).to_string(), (*v).to_string())).collect();
        let booted = Booted {
            node_name: name.into(),
            identity: Uid::new("drawn-once"),
            labels,
            groups: vec![],
            facts: Facts { architecture: "armv7l".into(), ..Facts::default() },
            found: vec![],
            images: vec![],
            pods_on_disk: vec![],
        };
        let plan = step(state, &Observed { seen: vec![Seen::Booted(Box::new(booted))] }, now);
        assert!(plan.durable);
        state.apply(&plan.writes);
        let settled = step(state, &Observed::default(), now);
        assert!(settled.writes.is_empty() && settled.effects.is_empty(), "{settled:?}");
    }

    #[test]
    fn configured_labels_come_and_go_and_a_persons_labels_stay() {
        let mut state = State::default();
        boot(&mut state, "n1", &[("disk", "ssd"), ("site", "a")], &now("b1", true));
        let mut node = state.node().unwrap().clone();
        assert_eq!(node.meta.labels["kubernetes.io/arch"], "arm");
        node.meta.labels.insert("mine".into(), "1".into());
        node.meta.revision = state.revision + 1;
        state.apply(&[crate::model::Write::Put(std::sync::Arc::new(node.into()))]);
        boot(&mut state, "n1", &[("site", "b")], &now("b1", true));
        let labels = &state.node().unwrap().meta.labels;
        assert_eq!((labels.get("disk"), labels["site"].as_str(), labels["mine"].as_str()), (None, "b", "1"));
    }

    #[test]
    fn settings_that_are_read_again_change_labels_and_groups_and_nothing_else() {
        let mut state = State::default();
        boot(&mut state, "n1", &[("disk", "ssd"), ("site", "a")], &now("b1", true));
        let mut see = |labels: &[(&str, &str)], groups: &[&str]| {
            let labels = labels.iter().map(|(k, v)| ((*k).to_string(), (*v).to_string())).collect();
            let groups = groups.iter().map(|g| (*g).to_string()).collect();
            let seen = vec![Seen::Configured(Configured { labels, groups })];
            let plan = step(&state, &Observed { seen }, &now("b1", true));
            state.apply(&plan.writes);
            (plan.writes.len(), state.node().unwrap().clone())
        };
        let (writes, node) = see(&[("site", "b")], &["pos"]);
        assert_eq!((writes, node.meta.labels.get("disk"), node.meta.labels["site"].as_str()), (1, None, "b"));
        assert_eq!(
            (node.status.groups.as_slice(), node.meta.labels["kubernetes.io/arch"].as_str()),
            (&["pos".to_string()][..], "arm")
        );
        assert_eq!(see(&[("site", "b")], &["pos"]).0, 0, "the same settings again write nothing");
    }

    #[test]
    fn a_renamed_node_keeps_its_identity_and_is_one_node() {
        let mut state = State::default();
        boot(&mut state, "old", &[], &now("b1", true));
        boot(&mut state, "new", &[], &now("b2", true));
        assert_eq!(state.of_kind(Kind::Node).count(), 1);
        let node = state.node().unwrap();
        assert_eq!((node.meta.name.as_str(), node.status.identity.as_ref().unwrap().as_str()), ("new", "drawn-once"));
        assert_eq!(node.status.connections, 2000);
        assert!(state.of_kind(Kind::Event).any(|e| e.as_event().unwrap().reason == "Rebooted"));
    }

    #[test]
    fn a_full_disk_is_said_once_and_taken_back() {
        let mut state = State::default();
        boot(&mut state, "n", &[], &now("b1", true));
        let see = |state: &mut State, pressure: Option<&str>| {
            let seen = vec![Seen::Disk { pressure: pressure.map(String::from) }];
            let plan = step(state, &Observed { seen }, &now("b1", true));
            state.apply(&plan.writes);
            (plan.writes.len(), plan.durable, state.node().unwrap().status.facts.disk_pressure.clone())
        };
        assert_eq!(see(&mut state, Some("full")), (2, false, Some("full".into())), "the node and an event, quietly");
        assert_eq!(see(&mut state, Some("full")), (0, false, Some("full".into())));
        assert_eq!(see(&mut state, None), (2, false, None));
    }

    #[test]
    fn each_change_of_program_is_an_event() {
        use crate::model::update::{Last, Program, Which};
        let mut state = State::default();
        boot(&mut state, "n", &[], &now("b1", true));
        let program = |which, version: &str| Program { which, version: version.into() };
        let (old, new) = (program(Which::Installed, "0.1.0"), program(Which::Version("ab".repeat(32)), "0.2.0"));
        let last = |outcome, now: &Program| {
            UpdateSeen::Ended(Last { tried: new.clone(), now: now.clone(), outcome, at: Timestamp::EPOCH, told: false })
        };
        for (update, kind, reason, words) in [
            (
                UpdateSeen::Started { from: old.clone(), to: new.clone() },
                EventType::Normal,
                "UpdateStarted",
                "Trying pinnace 0.2.0 (abababababab) in place of 0.1.0 (installed).",
            ),
            (last(Outcome::Confirmed, &new), EventType::Normal, "Updated", "pinnace 0.2.0 (abababababab) is in force."),
            (
                last(Outcome::Returned("it died".into()), &old),
                EventType::Warning,
                "UpdateReturned",
                "pinnace 0.2.0 (abababababab) gave way, 0.1.0 (installed) is in force: it died.",
            ),
        ] {
            let plan = step(&state, &Observed { seen: vec![Seen::Update(update)] }, &now("b1", true));
            state.apply(&plan.writes);
            let told = |e: &crate::model::Event| e.kind == kind && e.reason == reason && e.message == words;
            assert!(state.of_kind(Kind::Event).any(|e| e.as_event().is_some_and(told)), "{reason}");
        }
    }

    #[test]
    fn a_clock_that_is_kept_right_is_noted_once_and_quietly() {
        let mut state = State::default();
        boot(&mut state, "n", &[], &now("b1", true));
        let see = |state: &mut State, is| {
            let plan = step(state, &Observed { seen: vec![Seen::ClockSynchronised(is)] }, &now("b1", true));
            state.apply(&plan.writes);
            (plan.writes.len(), plan.durable, state.node().unwrap().status.facts.clock_synchronised)
        };
        assert_eq!(see(&mut state, Some(true)), (1, false, Some(true)));
        assert_eq!(see(&mut state, Some(true)), (0, false, Some(true)));
        assert_eq!(see(&mut state, Some(false)), (1, false, Some(false)));
    }

    #[test]
    fn an_untrusted_clock_is_said_and_does_not_raise_the_floor() {
        let mut state = State::default();
        boot(&mut state, "n", &[], &now("b1", false));
        assert!(state.node().unwrap().status.clock_held);
        assert_eq!(state.node().unwrap().status.time_floor, None);
        let plan = step(&state, &Observed::default(), &now("b1", true));
        state.apply(&plan.writes);
        assert!(!state.node().unwrap().status.clock_held && state.node().unwrap().status.time_floor.is_some());
    }
}
