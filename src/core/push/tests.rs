//! Sets against a state in memory: what is in force, who has the right of way, what is answered.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;

use super::*;
use crate::core::step;
use crate::model::node::Facts;
use crate::model::seen::{Content, Header};
use crate::model::{
    Ask, AskId, BootId, Booted, ConfigMap, Failure, Job, JobStatus, Now, Observed, Propagation, PushId, Seen, Spec,
    State, Timestamp, Uid,
};

struct World {
    state: State,
    now: Now,
    effects: Vec<Effect>,
    asked: u64,
}

impl World {
    fn new() -> World {
        let now = Now {
            wall: Timestamp::from_secs(1_790_000_000),
            wall_trusted: true,
            uptime: Duration::from_secs(60),
            boot: BootId::new("b"),
        };
        let mut world = World { state: State::default(), now, effects: vec![], asked: 0 };
        world.boot(&["pos"]);
        world
    }

    fn boot(&mut self, groups: &[&str]) {
        self.see(Seen::Booted(Box::new(Booted {
            node_name: "n".into(),
            identity: Uid::new("identity"),
            labels: Default::default(),
            groups: groups.iter().map(|g| (*g).to_string()).collect(),
            facts: Facts::default(),
            found: vec![],
            images: vec![],
            pods_on_disk: vec![],
        })));
    }

    /// One step; then a second one that must find nothing to do. Gives back whether the first one wrote durably.
    fn see(&mut self, seen: Seen) -> bool {
        let plan = step(&self.state, &Observed { seen: vec![seen] }, &self.now);
        self.state.apply(&plan.writes);
        self.effects = plan.effects;
        let settled = step(&self.state, &Observed::default(), &self.now);
        assert!(settled.writes.is_empty() && settled.effects.is_empty(), "not settled: {settled:?}");
        plan.durable
    }

    fn push(&mut self, set: &SetKey, sha: &str, header: Option<Header>, records: Vec<Record>) -> String {
        let content = Ok(Content { records, warnings: vec![] });
        let id = PushId(1);
        self.see(Seen::Pushed(Box::new(Push { id, set: set.clone(), sha: sha.into(), empty: false, header, content })));
        self.result()
    }

    fn push_empty(&mut self, set: &SetKey) -> Option<String> {
        let content = Ok(Content { records: vec![], warnings: vec![] });
        let (id, sha) = (PushId(1), "empty".into());
        self.see(Seen::Pushed(Box::new(Push { id, set: set.clone(), sha, empty: true, header: None, content })));
        self.ack().map(|body| body["result"].as_str().unwrap().to_string())
    }

    fn ack(&self) -> Option<Value> {
        self.effects.iter().find_map(|effect| match effect {
            Effect::Publish(Publication::Ack { body, .. }) => Some(body.clone()),
            _ => None,
        })
    }

    fn result(&self) -> String {
        assert!(self.effects.contains(&Effect::Settle(PushId(1))), "every message is settled");
        self.ack().expect("every message is answered")["result"].as_str().unwrap().to_string()
    }

    fn ask(&mut self, ask: Ask) -> Result<(), Failure> {
        self.asked += 1;
        let id = AskId(self.asked);
        self.see(Seen::Asked { id, ask, dry_run: false });
        let answer = self.effects.iter().find_map(|effect| match effect {
            Effect::Answer { id: of, answer, .. } if *of == id => Some(answer.clone()),
            _ => None,
        });
        answer.expect("every request is answered").map(|_| ())
    }

    fn delete(&mut self, kind: Kind, name: &str) {
        let key = Key::new(kind, "default", name);
        self.ask(Ask::Delete { key, grace_s: None, propagation: Propagation::Background, if_uid: None }).unwrap();
    }

    fn value(&self, name: &str) -> Option<String> {
        let record = self.state.get(&Key::new(Kind::ConfigMap, "default", name))?;
        record.as_config_map().unwrap().spec.data.get("v").cloned()
    }

    fn uid(&self, kind: Kind, name: &str) -> Option<Uid> {
        Some(self.state.get(&Key::new(kind, "default", name))?.meta().uid.clone())
    }

    fn set(&self, key: &SetKey) -> &Set {
        self.state.get(&Key::new(Kind::Set, "", &record_name(key))).unwrap().as_set().unwrap()
    }
}

fn all(slot: &str) -> SetKey {
    SetKey { scope: Scope::All, slot: slot.into() }
}

fn group(slot: &str) -> SetKey {
    SetKey { scope: Scope::Group("pos".into()), slot: slot.into() }
}

fn rev(rev: u64) -> Option<Header> {
    Some(Header { v: 1, rev: Some(rev), ack: Some("cli".into()), ..Header::default() })
}

fn map(name: &str, value: &str) -> Record {
    let spec = Spec::new(json!({"data": {"v": value}})).unwrap();
    ConfigMap { meta: Meta::named("default", name), spec }.into()
}

fn job(name: &str, command: &str) -> Record {
    let template = json!({"spec": {"restartPolicy": "Never", "containers": [{"name": "main", "command": [command]}]}});
    let spec = Spec::new(json!({"parallelism": 0, "template": template})).unwrap();
    Job { meta: Meta::named("default", name), spec, status: JobStatus::default() }.into()
}

#[test]
fn a_set_comes_changes_prunes_and_goes() {
    let mut w = World::new();
    assert_eq!(w.push(&all("x"), "1", None, vec![map("a", "1"), map("b", "1")]), "Committed");
    let uid = w.uid(Kind::ConfigMap, "a");
    assert_eq!(w.push(&all("x"), "2", None, vec![map("a", "2")]), "Committed");
    assert_eq!((w.value("a").as_deref(), w.value("b")), (Some("2"), None), "what the set lists no more is pruned");
    assert_eq!(w.uid(Kind::ConfigMap, "a"), uid, "what it still lists is the same object");
    assert_eq!(w.push_empty(&all("x")).as_deref(), Some("Committed"));
    assert_eq!(w.value("a"), None);
    assert_eq!(w.push_empty(&all("x")), None, "a second empty message says nothing new");
    assert_eq!(w.push_empty(&all("never-seen")), None);
}

#[test]
fn the_same_message_a_thousand_times_writes_nothing() {
    let mut w = World::new();
    w.push(&all("x"), "1", None, vec![map("a", "1")]);
    let revision = w.state.revision;
    for _ in 0..1000 {
        assert_eq!(w.push(&all("x"), "1", None, vec![map("a", "1")]), "Unchanged");
    }
    assert_eq!(w.state.revision, revision);
}

#[test]
fn a_refused_message_leaves_the_one_before_in_force_and_is_not_tried_again() {
    let mut w = World::new();
    w.push(&all("x"), "1", None, vec![map("a", "1"), job("j", "true")]);
    assert_eq!(w.push(&all("x"), "2", None, vec![map("a", "2"), job("j", "false")]), "Rejected");
    let status = w.ack().unwrap()["status"].clone();
    assert_eq!(status["details"]["causes"][0]["field"], "spec.template", "{status}");
    assert_eq!(w.value("a").as_deref(), Some("1"), "all or nothing");
    let revision = w.state.revision;
    assert_eq!(w.push(&all("x"), "2", None, vec![map("a", "2"), job("j", "false")]), "Rejected");
    assert_eq!(w.state.revision, revision);
    assert_eq!(w.push(&all("x"), "3", None, vec![map("a", "3"), job("j", "true")]), "Committed");
    assert!(w.set(&all("x")).rejected.is_none());
}

#[test]
fn a_broken_message_to_a_new_slot_is_answered_and_kept_as_refused() {
    let mut w = World::new();
    let content = Err(Failure::new(Reason::BadRequest, "line 3: no"));
    let header = Some(Header { ack: Some("cli-1".into()), ..Header::default() });
    let (id, sha) = (PushId(1), "s".into());
    w.see(Seen::Pushed(Box::new(Push { id, set: all("x"), sha, empty: false, header, content })));
    assert_eq!(w.result(), "Rejected");
    assert_eq!(w.ack().unwrap()["id"], "cli-1", "the sender is told in its own word");
    assert_eq!(w.set(&all("x")).rejected.as_ref().unwrap().why.message, "line 3: no");
}

#[test]
fn an_empty_message_takes_a_refusal_back() {
    let broken = || Seen::Pushed(Box::new(message("x", "bad", None, Err(Failure::new(Reason::BadRequest, "no")))));
    let mut w = World::new();
    w.see(broken());
    assert_eq!(w.push_empty(&all("x")).as_deref(), Some("Committed"));
    assert!(w.state.of_kind(Kind::Set).next().is_none(), "nothing was ever in force, so nothing is kept");
    assert_eq!(w.push_empty(&all("x")), None, "a second one says nothing new");
    w.see(broken());
    assert!(w.set(&all("x")).rejected.is_some(), "it is judged anew");
    let tombstone = Header { empty: true, ..Header::default() };
    assert_eq!(w.push(&all("x"), "gone", Some(tombstone), vec![]), "Committed");
    assert!(w.set(&all("x")).rejected.is_none());

    // What was in force goes with it, and its revision stays known.
    w.push(&all("y"), "5", rev(5), vec![map("a", "5")]);
    w.push_empty(&all("y"));
    w.push(&all("y"), "6", rev(6), vec![map("a", "6"), map("a", "6")]);
    assert_eq!((w.push_empty(&all("y")).as_deref(), w.value("a")), (Some("Committed"), None));
    assert!(w.set(&all("y")).rejected.is_none());
    assert_eq!(w.push(&all("y"), "4", rev(4), vec![map("a", "4")]), "Stale");
}

#[test]
fn the_message_in_force_coming_again_takes_a_refusal_back() {
    let mut w = World::new();
    w.push(&all("x"), "1", None, vec![map("a", "1")]);
    w.push(&all("x"), "2", None, vec![map("a", "2"), map("a", "2")]);
    assert!(w.set(&all("x")).rejected.is_some());
    assert_eq!(w.push(&all("x"), "1", None, vec![map("a", "1")]), "Unchanged");
    assert!(w.set(&all("x")).rejected.is_none());
}

#[test]
fn who_deletes_a_set_is_told_what_takes_it_away() {
    let mut w = World::new();
    for (set, topic) in [
        (all("x"), "ROOT/FLEET/d/all/x,"),
        (group("x"), "ROOT/FLEET/d/grp/pos/x,"),
        (SetKey { scope: Scope::Node, slot: "x".into() }, "ROOT/FLEET/d/node/n/x,"),
    ] {
        w.push(&set, "1", None, vec![map("a", "1")]);
        let (key, propagation) = (Key::new(Kind::Set, "", &record_name(&set)), Propagation::Background);
        let refused = w.ask(Ask::Delete { key, grace_s: None, propagation, if_uid: None }).unwrap_err();
        assert!(refused.reason == Reason::Forbidden && refused.message.contains(topic), "{refused:?}");
        assert!(!w.set(&set).wants.is_empty());
    }
}

/// One line each, and an event that is counted; nothing of what changes nothing.
#[test]
fn what_becomes_of_a_message_is_told_on_the_device() {
    let mut w = World::new();
    let logged = |w: &World| {
        let lines = w.effects.iter().filter_map(|effect| match effect {
            Effect::Log(kind, line) => Some(format!("{kind:?} {line}")),
            _ => None,
        });
        lines.collect::<Vec<String>>()
    };
    let told = |w: &World| {
        let events = w.state.of_kind(Kind::Event).filter_map(|e| e.as_event()).filter(|e| e.about.name == "all:x");
        let mut told: Vec<String> = events.map(|e| format!("{} {} x{}", e.reason, e.message, e.count)).collect();
        told.sort();
        told
    };
    w.ask(Ask::Create(Box::new(map("mine", "1")))).unwrap();
    w.push(&all("x"), "1", rev(1), vec![map("a", "1"), map("b", "1"), map("mine", "2")]);
    assert_eq!(logged(&w), ["Normal set all/x: revision 1 is in force; objects: 2 made, 1 not as wanted"]);
    w.push(&all("x"), "2", rev(2), vec![map("a", "2"), map("c", "1")]);
    assert_eq!(logged(&w), ["Normal set all/x: revision 2 is in force; objects: 1 made, 1 changed, 1 pruned"]);
    w.push(&all("x"), "3", rev(3), vec![map("a", "3"), map("d", "1")]);
    w.push(&all("x"), "3", rev(3), vec![map("a", "3"), map("d", "1")]);
    assert_eq!(logged(&w), [""; 0], "what is in force already is no news");
    for _ in 0..3 {
        w.push(&all("x"), "2", rev(2), vec![map("a", "2")]);
        assert_eq!(logged(&w), ["Warning set all/x: revision 2 is stale, 3 is in force"]);
    }
    w.push(&all("x"), "4", rev(4), vec![map("a", "4"), map("a", "4")]);
    assert_eq!(logged(&w), ["Warning set all/x: refused: ConfigMap default/a is in it twice"]);
    let revision = w.state.revision;
    w.push(&all("x"), "4", rev(4), vec![map("a", "4"), map("a", "4")]);
    assert_eq!((logged(&w), w.state.revision), (vec![], revision), "nor is what was refused before");
    w.push(&all("x"), "3", rev(3), vec![map("a", "3"), map("d", "1")]);
    assert_eq!(logged(&w), ["Normal set all/x: the message that was refused is wanted no more"]);
    w.push_empty(&all("x"));
    assert_eq!(logged(&w), ["Normal set all/x: an empty message took it away; objects: 2 pruned"]);
    assert_eq!(
        told(&w),
        [
            "Committed The set is in force; objects: 1 made, 1 changed, 1 pruned x2",
            "Committed The set is in force; objects: 2 made, 1 not as wanted x1",
            "Emptied The set is empty; objects: 2 pruned x1",
            "Rejected ConfigMap default/a is in it twice x1",
            "Stale An older revision came than 3, which is in force x1",
        ]
    );
}

#[test]
fn revisions_only_go_forward_also_after_the_set_was_emptied() {
    let mut w = World::new();
    assert_eq!(w.push(&all("x"), "5", rev(5), vec![map("a", "5")]), "Committed");
    assert_eq!(w.ack().unwrap()["id"], "cli");
    assert_eq!(w.push(&all("x"), "4", rev(4), vec![map("a", "4")]), "Stale");
    assert_eq!(w.push(&all("x"), "5", rev(5), vec![map("a", "5")]), "Unchanged");
    assert_eq!(w.push(&all("x"), "other", rev(5), vec![map("a", "6")]), "Rejected");
    let tombstone = Some(Header { empty: true, ..rev(6).unwrap() });
    assert_eq!(w.push(&all("x"), "6", tombstone, vec![]), "Committed");
    assert_eq!(w.value("a"), None);
    assert_eq!(w.push(&all("x"), "5", rev(5), vec![map("a", "5")]), "Stale");
    assert_eq!(w.value("a"), None, "an old message does not bring it back");
}

#[test]
fn an_expired_message_is_refused_unless_the_clock_is_wrong() {
    let header = || Some(Header { exp: Some(Timestamp::from_secs(1)), ..rev(1).unwrap() });
    let mut w = World::new();
    assert_eq!(w.push(&all("x"), "1", header(), vec![map("a", "1")]), "Rejected");
    let mut w = World::new();
    w.now.wall_trusted = false;
    w.see(Seen::Link(LinkSeen::Lost));
    assert_eq!(w.push(&all("y"), "1", header(), vec![map("a", "1")]), "Committed");
}

#[test]
fn the_narrower_scope_has_the_right_of_way_and_the_loser_comes_back() {
    let mut w = World::new();
    w.push(&all("x"), "1", None, vec![map("a", "all")]);
    w.push(&group("y"), "2", None, vec![map("a", "group")]);
    assert_eq!(w.value("a").as_deref(), Some("group"));
    let key = Key::new(Kind::ConfigMap, "default", "a");
    assert_eq!(w.set(&all("x")).objects[&key].state, MemberState::ShadowedBy(group("y")));
    w.push_empty(&group("y"));
    assert_eq!(w.value("a").as_deref(), Some("all"));
    w.push(&all("z"), "3", None, vec![map("a", "late")]);
    assert_eq!(w.value("a").as_deref(), Some("all"), "within a scope the first one keeps it");
    assert!(matches!(w.set(&all("z")).objects[&key].state, MemberState::Conflict(_)));
    assert!(w.ack().unwrap()["unmet"][0]["why"].as_str().unwrap().contains("all/x"));
}

#[test]
fn two_groups_of_a_node_are_equals_and_the_first_one_keeps_it() {
    let mut w = World::new();
    w.boot(&["pos", "zoo"]);
    let zoo = SetKey { scope: Scope::Group("zoo".into()), slot: "y".into() };
    w.push(&zoo, "1", None, vec![map("a", "zoo")]);
    w.push(&group("y"), "2", None, vec![map("a", "pos")]);
    assert_eq!(w.value("a").as_deref(), Some("zoo"));
    let key = Key::new(Kind::ConfigMap, "default", "a");
    assert!(matches!(w.set(&group("y")).objects[&key].state, MemberState::Conflict(_)));
}

#[test]
fn what_was_made_on_the_device_is_not_touched_until_it_is_gone() {
    let mut w = World::new();
    w.ask(Ask::Create(Box::new(map("a", "mine")))).unwrap();
    assert_eq!(w.push(&all("x"), "1", None, vec![map("a", "fleet")]), "Committed");
    assert_eq!(w.value("a").as_deref(), Some("mine"));
    w.delete(Kind::ConfigMap, "a");
    assert_eq!(w.value("a").as_deref(), Some("fleet"));
}

#[test]
fn what_a_person_deletes_stays_deleted_until_the_set_changes() {
    let mut w = World::new();
    w.push(&all("x"), "1", None, vec![map("a", "1"), map("b", "1")]);
    w.delete(Kind::ConfigMap, "a");
    w.push(&all("x"), "1", None, vec![map("a", "1"), map("b", "1")]);
    w.boot(&["pos"]);
    assert_eq!(w.value("a"), None);
    w.push(&all("x"), "2", None, vec![map("a", "1"), map("b", "2")]);
    assert_eq!(w.value("a").as_deref(), Some("1"));
}

#[test]
fn a_job_is_made_anew_only_where_the_manifest_says_so() {
    let mut w = World::new();
    w.push(&all("x"), "1", None, vec![job("j", "true")]);
    let first = w.uid(Kind::Job, "j");
    let mut anew = job("j", "false");
    anew.meta_mut().annotations.insert(accept::REPLACE.into(), "true".into());
    assert_eq!(w.push(&all("x"), "2", None, vec![anew]), "Committed");
    assert_ne!(w.uid(Kind::Job, "j"), first);
}

#[test]
fn a_group_that_the_node_leaves_takes_its_objects_along() {
    let mut w = World::new();
    w.push(&group("y"), "1", None, vec![map("a", "1")]);
    w.boot(&[]);
    assert_eq!(w.value("a"), None);
    w.boot(&["pos"]);
    assert_eq!(w.push(&group("y"), "1", None, vec![map("a", "1")]), "Committed");
    assert_eq!(w.value("a").as_deref(), Some("1"));
}

#[test]
fn the_answer_waits_in_the_outbox_until_the_broker_has_it() {
    let mut w = World::new();
    w.push(&all("x"), "1", None, vec![map("a", "1")]);
    let first = w.state.of_kind(Kind::Ack).next().unwrap().meta().revision;
    w.see(Seen::Link(LinkSeen::Connected));
    assert!(w.ack().is_some(), "told again on a new session");
    w.push(&all("x"), "2", None, vec![map("a", "2")]);
    let key = w.state.of_kind(Kind::Ack).next().unwrap().key();
    w.see(Seen::Link(LinkSeen::Delivered { key: key.clone(), revision: first }));
    assert!(w.state.get(&key).is_some(), "the delivery of the older answer does not remove the newer one");
    let second = w.state.get(&key).unwrap().meta().revision;
    w.see(Seen::Link(LinkSeen::Delivered { key: key.clone(), revision: second }));
    assert!(w.state.get(&key).is_none());
    w.see(Seen::Link(LinkSeen::Connected));
    assert!(w.ack().is_none());
}

#[test]
fn sets_hold_what_the_fleet_may_set_and_each_object_once() {
    let mut w = World::new();
    assert_eq!(w.push(&all("x"), "1", None, vec![map("a", "1"), map("a", "2")]), "Rejected");
    let mut elsewhere = map("a", "1");
    elsewhere.meta_mut().namespace = "nowhere".into();
    assert_eq!(w.push(&all("x"), "2", None, vec![elsewhere.clone()]), "Rejected");
    let namespace = crate::model::Namespace { meta: Meta::named("", "nowhere") }.into();
    assert_eq!(w.push(&all("x"), "3", None, vec![elsewhere, namespace]), "Committed");
    assert!(w.state.get(&Key::new(Kind::ConfigMap, "nowhere", "a")).is_some());
    let node = w.state.node().unwrap().clone().into();
    assert_eq!(w.push(&all("y"), "4", None, vec![node]), "Rejected");
}

#[test]
fn prune_false_keeps_what_is_not_listed() {
    let mut w = World::new();
    w.push(&all("x"), "1", rev(1), vec![map("a", "1")]);
    let header = Some(Header { prune: Some(false), ..rev(2).unwrap() });
    w.push(&all("x"), "2", header, vec![map("b", "1")]);
    assert!(w.value("a").is_some() && w.value("b").is_some());
}

/// Whoever waits for a word gets it, whatever else is taken in the same turn.
#[test]
fn each_message_with_a_word_of_its_own_has_its_own_answer() {
    let mut w = World::new();
    let (set, id) = (all("x"), PushId(1));
    let push = |rev: u64, word: Option<String>| {
        let header = Some(Header { v: 1, rev: Some(rev), ack: word, ..Header::default() });
        let content = Ok(Content { records: vec![map("a", &rev.to_string())], warnings: vec![] });
        Seen::Pushed(Box::new(Push { id, set: set.clone(), sha: format!("sha-{rev}"), empty: false, header, content }))
    };
    let burst = |w: &World, pushes: &[(u64, Option<String>)]| {
        let seen = pushes.iter().map(|(rev, word)| push(*rev, word.clone())).collect();
        step(&w.state, &Observed { seen }, &w.now)
    };
    // As the link's outbox has it: of each row the latest.
    let answers = |effects: &[Effect]| -> BTreeMap<Key, String> {
        let told = effects.iter().filter_map(|effect| match effect {
            Effect::Publish(Publication::Ack { key, body, .. }) => Some((
                key.clone(),
                format!("{} {}", body["id"].as_str().unwrap_or("-"), body["result"].as_str().unwrap()),
            )),
            _ => None,
        });
        told.collect()
    };
    let sorted = |found: BTreeMap<Key, String>| {
        let mut found: Vec<String> = found.into_values().collect();
        found.sort();
        found
    };
    let word = |n: u64| Some(format!("ci-{n}"));
    let plan = burst(&w, &[(1, word(1)), (2, word(2)), (5, word(5)), (4, word(4)), (5, word(5))]);
    w.state.apply(&plan.writes);
    let expected = ["ci-1 Committed", "ci-2 Committed", "ci-4 Stale", "ci-5 Committed", "ci-5 Unchanged"];
    assert_eq!(sorted(answers(&plan.effects)), expected);
    assert_eq!(w.state.of_kind(Kind::Ack).count(), 3, "what was committed waits on the disk");
    let plan = burst(&w, &[(6, None), (3, None)]);
    assert_eq!(sorted(answers(&plan.effects)), ["- Committed", "- Stale"], "one does not hide the other");

    let many: Vec<(u64, Option<String>)> = (10..20 + ACKS_MAX as u64).map(|n| (n, word(n))).collect();
    for chunk in many.chunks(50) {
        let plan = burst(&w, chunk);
        w.state.apply(&plan.writes);
    }
    let waiting = w.state.of_kind(Kind::Ack).count();
    assert!((ACKS_MAX..=ACKS_MAX + 1).contains(&waiting), "{waiting} wait");
}

fn short_of_room(push: Push) -> Seen {
    Seen::NoRoom(Box::new(push), Lack { bytes: 3000, why: "the disk is full".into() })
}

fn message(slot: &str, sha: &str, header: Option<Header>, content: Result<Vec<Record>, Failure>) -> Push {
    let content = content.map(|records| Content { records, warnings: vec![] });
    Push { id: PushId(1), set: all(slot), sha: sha.into(), empty: false, header, content }
}

/// Nothing durable may be needed where there is no room; what stays in force stays.
#[test]
fn a_set_without_room_is_refused_for_now_and_held() {
    let mut w = World::new();
    w.push(&all("x"), "1", rev(1), vec![map("a", "1")]);
    let before = w.set(&all("x")).clone();
    let waits = message("x", "2", rev(2), Ok(vec![map("a", "2")]));
    let durable = w.see(short_of_room(waits.clone()));
    assert!(!durable && *w.set(&all("x")) == before && w.value("a").as_deref() == Some("1"));
    assert_eq!(w.result(), "Rejected");
    let ack = w.ack().unwrap();
    assert_eq!((&ack["rev"], &ack["id"], &ack["status"]["code"]), (&json!(1), &json!("cli"), &json!(503)));
    let held = |w: &World| {
        w.effects.iter().any(|effect| matches!(effect, Effect::Hold { push, refused: false, .. } if **push == waits))
    };
    assert!(held(&w) && !is_in_force(&w.state, &waits));
    let told = |w: &World| {
        let events = w.state.of_kind(Kind::Event).filter_map(|e| e.as_event());
        events.filter(|e| e.reason == "SetWaitsForRoom").map(|e| e.count).collect::<Vec<u32>>()
    };
    assert_eq!(told(&w), [1]);
    w.see(short_of_room(waits.clone()));
    assert!(held(&w) && told(&w) == [1], "a broker that says it again is no event");
    // There is room: it comes as any message does.
    w.see(Seen::Pushed(Box::new(waits.clone())));
    assert_eq!((w.result().as_str(), w.value("a").as_deref()), ("Committed", Some("2")));
    assert!(is_in_force(&w.state, &waits));
}

#[test]
fn what_would_not_come_into_force_is_answered_as_ever() {
    let mut w = World::new();
    w.push(&all("x"), "5", rev(5), vec![map("a", "5")]);
    let broken = Err(Failure::new(Reason::BadRequest, "line 3: no"));
    for (push, result, is_held) in [
        (message("x", "5", rev(5), Ok(vec![map("a", "5")])), "Unchanged", false),
        (message("x", "4", rev(4), Ok(vec![map("a", "4")])), "Stale", false),
        // To be noted when there is room.
        (message("x", "6", rev(6), broken), "Rejected", true),
    ] {
        let revision = w.state.revision;
        w.see(short_of_room(push));
        assert_eq!((w.result().as_str(), w.state.revision), (result, revision));
        let is_hold = |effect: &Effect| matches!(effect, Effect::Hold { refused: true, .. });
        assert_eq!(w.effects.iter().any(is_hold), is_held, "{:?}", w.effects);
    }
    assert_ne!(w.ack().unwrap()["status"]["code"], 503, "the fault of the message is told, not that of the disk");
}

#[test]
fn a_slot_is_in_the_force_of_its_last_message() {
    let mut w = World::new();
    let (one, empty) =
        (message("x", "1", None, Ok(vec![map("a", "1")])), Push { empty: true, ..message("x", "", None, Ok(vec![])) });
    assert!(!is_in_force(&w.state, &one) && is_in_force(&w.state, &empty));
    w.push(&all("x"), "1", None, vec![map("a", "1")]);
    assert!(is_in_force(&w.state, &one) && !is_in_force(&w.state, &empty));
    w.push_empty(&all("x"));
    assert!(!is_in_force(&w.state, &one) && is_in_force(&w.state, &empty));
}

/// What waits must not come over what came into force after it.
#[test]
fn a_message_that_came_into_force_ends_the_wait_of_an_older_one() {
    let mut w = World::new();
    let mut waiting = waiting::Waiting::default();
    let older = || message("x", "1", None, Ok(vec![map("a", "1")]));
    let lack = || Lack { bytes: 3000, why: "the disk is full".into() };
    let newer = Seen::Pushed(Box::new(message("x", "2", None, Ok(vec![map("a", "2")]))));
    waiting.hold(older(), lack(), false);
    waiting.taken(std::slice::from_ref(&newer), &w.state);
    assert_eq!(waiting.count(), 1, "the newer one is not in force");
    w.see(newer.clone());
    waiting.taken(&[newer], &w.state);
    assert!(waiting.is_idle());
    waiting.hold(older(), lack(), false);
    let empty = Push { empty: true, ..message("x", "", None, Ok(vec![])) };
    w.see(Seen::Pushed(Box::new(empty.clone())));
    waiting.taken(&[Seen::Pushed(Box::new(empty))], &w.state);
    assert!(waiting.is_idle(), "nor what the fleet has taken away");
}
