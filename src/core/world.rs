//! A small world for tests of the controllers: records, a clock that the test moves, and pods whose fate the test decides
//! in place of the kubelet's part.

use std::time::Duration;

use serde_json::Value;

use super::draft::Draft;
use super::{daemonset, delete, gc, job};
use crate::model::node::{NodeSpec, NodeStatus};
use crate::model::pod::{Excuse, Ready};
use crate::model::{
    BootId, ContainerState, CronJob, DaemonSet, Ended, Event, Job, Key, Kind, Meta, Node, Now, Owner, Phase, Plan, Pod,
    PodStatus, Propagation, Record, Settings, Spec, State, Timestamp, Uid,
};

pub struct World {
    pub state: State,
    pub now: Now,
    /// Of the last step.
    pub plan: Plan,
}

impl World {
    pub fn new() -> World {
        let now = Now {
            wall: Timestamp::from_secs(1_700_000_000),
            wall_trusted: true,
            uptime: Duration::from_secs(100),
            boot: BootId::new("boot-1"),
        };
        let node = Node { meta: meta("", "gw-7"), spec: NodeSpec::default(), status: NodeStatus::default() };
        let state = State::new(1, [node.into()], Settings::default());
        World { state, now, plan: Plan::default() }
    }

    pub fn with_job(spec: Value) -> World {
        let mut world = World::new();
        world.put(new_job("j", spec));
        world.settle();
        world
    }

    pub fn with_daemon_set(spec: Value) -> World {
        let mut world = World::new();
        world.add_daemon_set(spec);
        world
    }

    pub fn add_daemon_set(&mut self, spec: Value) {
        self.put(DaemonSet { meta: meta("default", "d"), spec: Spec::new(spec).unwrap(), status: Default::default() });
        self.settle();
    }

    // ---- what happens ----------------------------------------------------------------------------------------------

    /// A step of the controllers, committed; then another, which must be empty.
    #[track_caller]
    pub fn settle(&mut self) {
        self.plan = self.step();
        self.state.apply(&self.plan.writes.clone());
        self.state.check_index();
        let again = self.step();
        assert_eq!(again.writes, [], "the step was not at a fixpoint");
        assert_eq!(again.wake, self.plan.wake, "a deadline is found or lost without a change");
    }

    fn step(&self) -> Plan {
        let mut draft = Draft::new(&self.state, &self.now);
        for round in 0.. {
            assert!(round < 20, "the step does not settle");
            let before = draft.version();
            draft.forget_wakes();
            daemonset::sync(&mut draft);
            job::sync(&mut draft);
            gc::sync(&mut draft);
            if draft.version() == before {
                break;
            }
        }
        draft.finish()
    }

    /// Does something to the state as an earlier step would have.
    pub fn change(&mut self, f: impl FnOnce(&mut Draft)) {
        let mut draft = Draft::new(&self.state, &self.now);
        f(&mut draft);
        let writes = draft.finish().writes;
        self.state.apply(&writes);
    }

    pub fn put(&mut self, record: impl Into<Record>) {
        let record = record.into();
        self.change(|draft| draft.put(record));
    }

    pub fn pass(&mut self, s: u64) {
        self.now.uptime += Duration::from_secs(s);
        self.now.wall = self.now.wall.plus(Duration::from_secs(s));
        self.settle();
    }

    pub fn reboot(&mut self, away_s: u64, boot: &str) {
        self.now.boot = BootId::new(boot);
        self.now.uptime = Duration::from_secs(5);
        self.now.wall = self.now.wall.plus(Duration::from_secs(away_s));
    }

    pub fn run(&mut self, pod: &str) {
        let now = self.now.moment();
        self.change_pod(pod, |pod| {
            pod.status.phase = Phase::Running;
            pod.status.started = Some(now.clone());
            pod.status.ready = Ready { is: true, since: Some(now) };
        });
    }

    /// The pod's containers end; nothing is decided about it yet.
    pub fn end(&mut self, pod: &str, phase: Phase) {
        let now = self.now.moment();
        self.change_pod(pod, |pod| {
            let exit_code = i32::from(phase == Phase::Failed);
            let ended = Ended {
                exit_code,
                reason: String::new(),
                message: String::new(),
                started: None,
                finished: now.clone(),
                excused: None,
            };
            for container in &mut pod.status.containers {
                container.state = ContainerState::Ended(ended.clone());
            }
            pod.status.phase = phase;
            pod.status.finished = Some(now);
            pod.status.ready.is = false;
        });
    }

    pub fn change_pod(&mut self, name: &str, f: impl FnOnce(&mut Pod)) {
        let mut pod = self.pod(name);
        f(&mut pod);
        self.put(pod);
    }

    pub fn change_job(&mut self, spec: Value) {
        let mut job = self.job();
        job.meta.generation += 1;
        job.spec = Spec::new(spec).unwrap();
        self.put(job);
    }

    pub fn change_set(&mut self, spec: Value) {
        let mut set = self.set();
        set.meta.generation += 1;
        set.spec = Spec::new(spec).unwrap();
        self.put(set);
    }

    pub fn change_node(&mut self, f: impl FnOnce(&mut Node)) {
        let mut node = self.state.node().unwrap().clone();
        f(&mut node);
        self.put(node);
    }

    /// As `kubectl delete pod`.
    pub fn delete_pod(&mut self, name: &str) {
        let pod = self.pod(name);
        self.change(|draft| delete::pod(draft, &pod, None, None));
    }

    pub fn excuse(&mut self, pod: &str, excuse: Excuse) {
        self.change_pod(pod, |pod| pod.status.excused = Some(excuse));
    }

    pub fn delete(&mut self, kind: Kind, name: &str, propagation: Propagation) {
        let namespace = if kind.names().namespaced { "default" } else { "" };
        self.change(|draft| delete::record(draft, &Key::new(kind, namespace, name), None, propagation));
    }

    /// The record of a pod goes, as `pod::remove` does it.
    pub fn remove(&mut self, name: &str) {
        let pod = self.pod(name);
        self.change(|draft| {
            job::fold(draft, &pod);
            draft.delete(&Key::new(Kind::Pod, "default", &pod.meta.name));
        });
    }

    /// Every pod that was asked to end ends in this phase and is removed, as the kubelet's part does; then a step.
    pub fn reap(&mut self, phase: Phase) {
        self.now.uptime += Duration::from_millis(1);
        for pod in self.pods().iter().filter(|pod| pod.meta.deleting.is_some()) {
            if !pod.status.phase.is_terminal() {
                self.end(&pod.meta.name, phase);
            }
            self.remove(&pod.meta.name);
        }
        self.settle();
    }

    // ---- what there is -----------------------------------------------------------------------------------------------

    pub fn pod(&self, name: &str) -> Pod {
        self.state.get(&Key::new(Kind::Pod, "default", name)).unwrap().as_pod().unwrap().clone()
    }

    /// Oldest first.
    pub fn pods(&self) -> Vec<Pod> {
        let mut pods: Vec<Pod> = self.state.of_kind(Kind::Pod).filter_map(|r| r.as_pod().cloned()).collect();
        pods.sort_by_key(|pod| pod.meta.created);
        pods
    }

    /// Names of the pods that are neither finished nor asked to go, oldest first.
    pub fn active(&self) -> Vec<String> {
        self.pods().iter().filter(|pod| pod.is_active()).map(|pod| pod.meta.name.clone()).collect()
    }

    pub fn job(&self) -> Job {
        self.state.get(&Key::new(Kind::Job, "default", "j")).unwrap().as_job().unwrap().clone()
    }

    /// `active/succeeded/failed` of the Job, and the conditions that are true.
    pub fn told(&self) -> String {
        let status = self.job().status;
        let conditions: String =
            status.conditions.iter().filter(|c| c.status).map(|c| format!(" {}", c.kind.as_str())).collect();
        format!("{}/{}/{}{conditions}", status.active, status.succeeded, status.failed)
    }

    pub fn set(&self) -> DaemonSet {
        self.state.get(&Key::new(Kind::DaemonSet, "default", "d")).unwrap().as_daemon_set().unwrap().clone()
    }

    pub fn count(&self, kind: Kind) -> usize {
        self.state.of_kind(kind).count()
    }

    pub fn events(&self, reason: &str) -> Vec<Event> {
        self.state.of_kind(Kind::Event).filter_map(|r| r.as_event()).filter(|e| e.reason == reason).cloned().collect()
    }

    /// Seconds until the step wants to look again.
    pub fn wakes_in(&self) -> Option<u64> {
        let wait = self.plan.wake.uptime? - self.now.uptime;
        u64::try_from(wait.as_millis().div_ceil(1000)).ok()
    }
}

/// A uid that tells what it is of.
pub fn meta(namespace: &str, name: &str) -> Meta {
    Meta { uid: Uid::new(format!("uid-{name}")), generation: 1, ..Meta::named(namespace, name) }
}

pub fn new_job(name: &str, spec: Value) -> Job {
    Job { meta: meta("default", name), spec: Spec::new(spec).unwrap(), status: Default::default() }
}

pub fn new_cron_job(name: &str) -> CronJob {
    let spec = Spec::new(serde_json::json!({"schedule": "@daily"})).unwrap();
    CronJob { meta: meta("default", name), spec, status: Default::default() }
}

pub fn new_pod(name: &str, owner: Option<(Kind, &str)>) -> Pod {
    let spec = Spec::new(serde_json::json!({"containers": [{"name": "main"}]})).unwrap();
    let owner = owner.map(|(kind, name)| Owner { kind, name: name.into(), uid: Uid::new(format!("uid-{name}")) });
    Pod { meta: Meta { owner, ..meta("default", name) }, status: PodStatus::new(&spec), spec }
}

impl State {
    /// For tests that lower a bound.
    pub fn set_settings(&mut self, f: impl FnOnce(&mut Settings)) {
        f(&mut self.settings);
    }
}
