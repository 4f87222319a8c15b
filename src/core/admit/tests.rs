//! Requests against a state in memory: the answer, and what is written.

use std::time::Duration;

use serde_json::json;

use super::*;
use crate::core::step;
use crate::model::node::Facts;
use crate::model::seen::Content;
use crate::model::{
    BootId, Booted, ConfigMap, CronJob, CronJobStatus, DaemonSet, DaemonSetStatus, JobStatus, Namespace, Now, Observed,
    Propagation, Push, PushId, Scope, Seen, SetKey, State, Timestamp, Write,
};

fn now() -> Now {
    Now {
        wall: Timestamp::from_secs(1_790_000_000),
        wall_trusted: true,
        uptime: Duration::from_secs(60),
        boot: BootId::new("b"),
    }
}

fn booted_state() -> State {
    let booted = Booted {
        node_name: "n".into(),
        identity: Uid::new("identity"),
        labels: Default::default(),
        groups: vec![],
        facts: Facts::default(),
        found: vec![],
        images: vec![],
        pods_on_disk: vec![],
    };
    let mut state = State::default();
    let plan = step(&state, &Observed { seen: vec![Seen::Booted(Box::new(booted))] }, &now());
    state.apply(&plan.writes);
    state
}

fn ask(state: &mut State, ask: Ask, dry_run: bool) -> Outcome {
    let plan = step(state, &Observed { seen: vec![Seen::Asked { id: AskId(1), ask, dry_run }] }, &now());
    assert!(!dry_run || plan.writes.is_empty(), "a dry run writes nothing");
    state.apply(&plan.writes);
    let answers = plan.effects.into_iter().filter_map(|effect| match effect {
        Effect::Answer { answer, .. } => Some(answer),
        _ => None,
    });
    let mut answers: Vec<Outcome> = answers.collect();
    assert_eq!(answers.len(), 1, "every request has one answer");
    answers.remove(0)
}

fn create(state: &mut State, record: impl Into<Record>) -> Outcome {
    ask(state, Ask::Create(Box::new(record.into())), false)
}

fn replace(state: &mut State, record: impl Into<Record>) -> Outcome {
    ask(state, Ask::Replace { record: Box::new(record.into()), if_revision: None }, false)
}

fn map(name: &str, document: Value) -> ConfigMap {
    ConfigMap { meta: Meta::named("default", name), spec: Spec::new(document).unwrap() }
}

fn job(name: &str, document: Value) -> Job {
    Job { meta: Meta::named("default", name), spec: Spec::new(document).unwrap(), status: JobStatus::default() }
}

fn template(command: &str) -> Value {
    json!({"spec": {"restartPolicy": "Never", "containers": [{"name": "main", "command": [command]}]}})
}

#[track_caller]
fn refused(outcome: Outcome, reason: Reason, message: &str) {
    let failure = outcome.expect_err("it should be refused");
    assert_eq!((failure.reason, failure.message.as_str()), (reason, message));
}

#[track_caller]
fn refused_field(outcome: Outcome, field: &str) {
    let failure = outcome.expect_err("it should be refused");
    assert_eq!(failure.reason, Reason::Invalid, "{failure}");
    assert_eq!(failure.causes.iter().map(|c| c.field.as_str()).collect::<Vec<_>>(), [field], "{failure}");
}

#[test]
fn a_name_is_taken_once_and_needs_its_namespace() {
    let s = &mut booted_state();
    let made = create(s, map("a", json!({"data": {}}))).unwrap();
    assert_eq!((made.meta().generation, made.meta().revision), (1, s.revision));
    refused(create(s, map("a", json!({}))), Reason::AlreadyExists, "configmaps \"a\" already exists");
    let mut elsewhere = map("a", json!({}));
    elsewhere.meta.namespace = "x".into();
    refused(create(s, elsewhere), Reason::NotFound, "namespaces \"x\" not found");
    refused(replace(s, map("b", json!({}))), Reason::NotFound, "configmaps \"b\" not found");
}

/// Whoever waits for its end goes by the uid; that of the object which took the name would be waited for without end.
#[test]
fn a_delete_is_answered_with_what_was_deleted_though_a_set_takes_its_place() {
    let s = &mut booted_state();
    let mine = create(s, map("a", json!({}))).unwrap();
    let set = SetKey { scope: Scope::All, slot: "x".into() };
    let content = Ok(Content { records: vec![map("a", json!({})).into()], warnings: Vec::new() });
    let push = Push { id: PushId(1), set, sha: "1".into(), empty: false, header: None, content };
    let plan = step(s, &Observed { seen: vec![Seen::Pushed(Box::new(push))] }, &now());
    s.apply(&plan.writes);
    let key = mine.key();
    let ask_it = Ask::Delete { key: key.clone(), grace_s: None, propagation: Propagation::Background, if_uid: None };
    let gone = ask(s, ask_it, false).unwrap();
    assert_ne!(s.get(&key).unwrap().meta().uid, mine.meta().uid, "the set's object is there");
    assert_eq!(gone.meta().uid, mine.meta().uid);
}

#[test]
fn a_job_may_name_the_cron_job_that_is_there_as_its_owner() {
    let mut state = booted_state();
    let spec = json!({ "schedule": "0 3 * * *", "jobTemplate": { "spec": template("true") } });
    let meta = Meta::named("default", "backup");
    let cron_job = CronJob { meta, spec: Spec::new(spec).unwrap(), status: CronJobStatus::default() };
    let there = create(&mut state, cron_job).unwrap().meta().uid.clone();
    let owner = |kind, name: &str, uid: &Uid| Some(Owner { kind, name: name.into(), uid: uid.clone() });
    let mut check = |name: &str, given: Option<Owner>, is_taken: bool| {
        let mut new = job(name, template("true"));
        new.meta.owner = given.clone();
        let found = create(&mut state, new).unwrap().meta().owner.clone();
        assert_eq!(found, given.filter(|_| is_taken), "{name}");
    };
    check("own", owner(Kind::CronJob, "backup", &there), true);
    check("of-one-before", owner(Kind::CronJob, "backup", &Uid::new("gone")), false);
    check("of-nobody", owner(Kind::CronJob, "nope", &there), false);
    check("of-another-kind", owner(Kind::Job, "own", &there), false);
    check("free", None, false);
    let mut map = map("m", json!({}));
    map.meta.owner = owner(Kind::CronJob, "backup", &there);
    assert_eq!(create(&mut state, map).unwrap().meta().owner, None);
}

#[test]
fn a_generated_name_is_new_each_time() {
    let s = &mut booted_state();
    let nameless =
        || ConfigMap { meta: Meta { generate_name: "x-".into(), ..Meta::named("default", "") }, ..map("", json!({})) };
    let first = create(s, nameless()).unwrap().meta().name.clone();
    let second = create(s, nameless()).unwrap().meta().name.clone();
    assert!(first.starts_with("x-") && first.len() == 7 && first != second, "{first} {second}");
}

#[test]
fn a_dry_run_answers_and_keeps_nothing() {
    let s = &mut booted_state();
    let before = s.revision;
    ask(s, Ask::Create(Box::new(map("a", json!({})).into())), true).unwrap();
    assert_eq!((s.revision, s.get(&Key::new(Kind::ConfigMap, "default", "a"))), (before, None));
}

#[test]
fn a_writer_with_an_old_revision_is_told_so() {
    let s = &mut booted_state();
    let made = create(s, map("a", json!({"data": {"k": "1"}}))).unwrap();
    let stale =
        Ask::Replace { record: Box::new(map("a", json!({})).into()), if_revision: Some(made.meta().revision - 1) };
    assert_eq!(ask(s, stale, false).unwrap_err().reason, Reason::Conflict);
    let fresh = Ask::Replace { record: Box::new(map("a", json!({})).into()), if_revision: Some(made.meta().revision) };
    let next = ask(s, fresh, false).unwrap();
    assert_eq!((next.meta().uid.clone(), next.meta().created), (made.meta().uid.clone(), made.meta().created));
}

#[test]
fn what_a_job_may_not_change_is_refused_by_its_field() {
    let s = &mut booted_state();
    let spec = |extra: Value| {
        let mut spec = json!({"completions": 1, "parallelism": 0, "backoffLimit": 6, "template": template("true")});
        spec.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        spec
    };
    let made = create(s, job("j", spec(json!({})))).unwrap();
    assert!(made.as_job().unwrap().spec.selector.is_some(), "the selector is filled in");
    refused_field(replace(s, job("j", spec(json!({"completions": 2})))), "spec.completions");
    refused_field(replace(s, job("j", spec(json!({"template": template("false")})))), "spec.template");
    let scaled = replace(s, job("j", spec(json!({"backoffLimit": 3})))).unwrap();
    assert_eq!(scaled.meta().generation, 2);
    let same = replace(s, job("j", spec(json!({"backoffLimit": 3})))).unwrap();
    assert_eq!(
        (same.meta().generation, same.meta().revision),
        (2, scaled.meta().revision),
        "nothing to change, nothing written"
    );
}

#[test]
fn a_pod_of_a_template_may_be_labelled() {
    let s = &mut booted_state();
    let mut template = template("true");
    template["spec"]["containers"][0]["resources"] = json!({"limits": {"memory": "1Mi"}});
    create(s, job("j", json!({"completions": 1, "parallelism": 1, "template": template}))).unwrap();
    let key = s.all().find(|record| record.kind() == Kind::Pod).map(|record| record.key()).unwrap();
    let made = s.get(&key).unwrap().as_pod().unwrap().clone();
    let document = made.spec.document();
    assert_eq!(document["enableServiceLinks"], true);
    assert_eq!(document["containers"][0]["resources"]["requests"]["memory"], "1Mi");
    // As an older version kept it, and as the API has it, which fills the defaults in.
    let mut bare = document.clone();
    bare.as_object_mut().unwrap().remove("enableServiceLinks");
    bare["containers"][0]["resources"].as_object_mut().unwrap().remove("requests");
    let mut old = Pod { spec: Spec::new(bare).unwrap(), ..made.clone() };
    old.meta.revision = s.revision + 1;
    s.apply(&[Write::Put(std::sync::Arc::new(old.into()))]);
    let mut labelled = made.clone();
    labelled.meta.labels.insert("foo".into(), "bar".into());
    let next = replace(s, labelled.clone()).unwrap();
    assert_eq!((next.meta().labels["foo"].as_str(), next.meta().generation), ("bar", made.meta.generation));
    let mut other = document.clone();
    other["enableServiceLinks"] = false.into();
    refused_field(replace(s, Pod { spec: Spec::new(other).unwrap(), ..labelled }), "spec");
}

#[test]
fn selectors_immutable_maps_and_secret_types_stay() {
    let s = &mut booted_state();
    let set = |app: &str| {
        let spec =
            json!({"selector": {"matchLabels": {"app": app}}, "template": {"metadata": {"labels": {"app": app}}}});
        DaemonSet {
            meta: Meta::named("default", "d"),
            spec: Spec::new(spec).unwrap(),
            status: DaemonSetStatus::default(),
        }
    };
    create(s, set("a")).unwrap();
    refused_field(replace(s, set("b")), "spec.selector");
    create(s, map("fixed", json!({"data": {"k": "1"}, "immutable": true}))).unwrap();
    refused_field(replace(s, map("fixed", json!({"data": {"k": "2"}, "immutable": true}))), "data");
    refused_field(replace(s, map("fixed", json!({"data": {"k": "1"}}))), "immutable");
}

#[test]
fn some_things_are_nobodys_to_make_or_delete() {
    let s = &mut booted_state();
    let node = s.state_node();
    assert_eq!(create(s, node).unwrap_err().reason, Reason::Forbidden);
    let delete = |s: &mut State, kind, namespace: &str, name: &str| {
        let key = Key::new(kind, namespace, name);
        ask(s, Ask::Delete { key, grace_s: None, propagation: Propagation::Background, if_uid: None }, false)
    };
    assert_eq!(delete(s, Kind::Node, "", "n").unwrap_err().reason, Reason::Forbidden);
    assert_eq!(delete(s, Kind::Namespace, "", "default").unwrap_err().reason, Reason::Forbidden);
    refused(delete(s, Kind::Job, "default", "x"), Reason::NotFound, "jobs.batch \"x\" not found");
    create(s, Namespace { meta: Meta::named("", "mine") }).unwrap();
    delete(s, Kind::Namespace, "", "mine").unwrap();
}

#[test]
fn a_drain_holds_until_the_node_is_uncordoned() {
    let s = &mut booted_state();
    ask(s, Ask::Drain, false).unwrap();
    assert!(s.state_node().spec.drained && s.state_node().spec.unschedulable);
    let mut node = s.state_node();
    node.spec.unschedulable = false;
    replace(s, node).unwrap();
    assert!(!s.state_node().spec.drained);
}

#[test]
fn the_bound_on_objects_has_a_name() {
    let s = &mut booted_state();
    s.settings.objects_max = 4;
    create(s, map("a", json!({}))).unwrap();
    let failure = create(s, map("b", json!({}))).unwrap_err();
    assert!(failure.reason == Reason::Forbidden && failure.message.contains("objects_max is 4"), "{failure}");
}

trait TheNode {
    fn state_node(&self) -> crate::model::Node;
}

impl TheNode for State {
    fn state_node(&self) -> crate::model::Node {
        self.node().unwrap().clone()
    }
}
