//! A world of one node for the tests of `pod`: real steps, a clock that is moved by hand, and what the runtime would do
//! told by the test. After every step it is checked that the unchanged world has nothing more to do.

mod boot;
mod chaos;
mod launch;
mod life;
mod pull;
mod security;
mod stop;
mod volumes;
mod wait;

use std::time::Duration;

use serde_json::{Value, json};

use crate::core::step;
use crate::model::attempt::Stamp;
use crate::model::node::{Facts, NodeSpec, NodeStatus};
use crate::model::{
    AttemptId, BootId, Booted, ConfigMap, ContainerState, ContainerStatus, Effect, Exit, Found, HowEnded, Image, Key,
    Kind, Launch, Meta, Node, Now, Observed, Phase, Pod, PodStatus, Record, Secret, Seen, Settings, Spec, State,
    Timestamp, Uid, Wake, Write,
};

const NODE: &str = "gw-7";
const NS: &str = "default";
const BOOT_UPTIME_S: u64 = 100;

struct World {
    state: State,
    now: Now,
    /// Whether the last step's writes had to be durable.
    durable: bool,
    wake: Wake,
    effects: Vec<Effect>,
}

impl World {
    fn new() -> World {
        World::with(Settings::default())
    }

    fn with(settings: Settings) -> World {
        let now = Now {
            wall: Timestamp::from_secs(1_700_000_000),
            wall_trusted: true,
            uptime: Duration::from_secs(BOOT_UPTIME_S),
            boot: BootId::new("boot-1"),
        };
        let status = NodeStatus { identity: Some(Uid::new("node")), facts: facts(), ..NodeStatus::default() };
        let node = Node { meta: Meta::named("", NODE), spec: NodeSpec::default(), status };
        let state = State::new(1, [node.into()], settings);
        World { state, now, durable: false, wake: Wake::default(), effects: Vec::new() }
    }

    // ---- steps -------------------------------------------------------------------------------------------------------

    fn see(&mut self, seen: impl IntoIterator<Item = Seen>) -> &mut World {
        let observed = Observed { seen: seen.into_iter().collect() };
        let plan = step(&self.state, &observed, &self.now);
        self.durable = plan.durable;
        self.wake = plan.wake;
        self.state.apply(&plan.writes);
        self.effects.extend(plan.effects);
        let again = step(&self.state, &Observed::default(), &self.now);
        assert_eq!((again.writes, again.effects), (vec![], vec![]), "the step had not settled");
        assert_eq!(again.wake, self.wake, "the same world is to be looked at again at the same time");
        self
    }

    fn step(&mut self) -> &mut World {
        self.see([])
    }

    fn pass(&mut self, seconds: u64) -> &mut World {
        self.now.uptime += Duration::from_secs(seconds);
        self.now.wall = self.now.wall.plus(Duration::from_secs(seconds));
        self.step()
    }

    /// Seconds until the node wants to be woken by boot time.
    fn wakes_in(&self) -> Option<u64> {
        self.wake.uptime.map(|t| (t - self.now.uptime).as_secs())
    }

    /// Power goes and comes back; nothing has been told to the core yet.
    fn reboot(&mut self, boot: &str, seconds_off: u64) {
        self.now.wall = self.now.wall.plus(Duration::from_secs(seconds_off + BOOT_UPTIME_S));
        self.now.uptime = Duration::from_secs(BOOT_UPTIME_S);
        self.now.boot = BootId::new(boot);
    }

    fn booted(&mut self, found: Vec<Found>) -> &mut World {
        self.booted_with(found, vec![])
    }

    fn booted_with(&mut self, found: Vec<Found>, pods_on_disk: Vec<Uid>) -> &mut World {
        let booted = Booted {
            node_name: NODE.into(),
            identity: Uid::new("node"),
            labels: self.node().meta.labels.clone(),
            groups: vec![],
            facts: facts(),
            found,
            images: vec![],
            pods_on_disk,
        };
        self.see([Seen::Booted(Box::new(booted))])
    }

    fn started(&mut self, container: &str) -> &mut World {
        let (attempt, at) = (self.attempt(container), self.stamp());
        self.see([Seen::Started { attempt, pid: 4711, at }])
    }

    fn exits(&mut self, container: &str, code: i32) -> &mut World {
        let exit = self.exit(container, HowEnded::Code(code));
        self.see([Seen::Exited(exit)])
    }

    fn ends(&mut self, container: &str, how: HowEnded) -> &mut World {
        let exit = self.exit(container, how);
        self.see([Seen::Exited(exit)])
    }

    // ---- what is there -----------------------------------------------------------------------------------------------

    fn exit(&self, container: &str, how: HowEnded) -> Exit {
        let finished = self.stamp();
        Exit {
            attempt: self.attempt(container),
            how,
            oom_killed: false,
            told_from_outside: false,
            started: None,
            finished,
        }
    }

    fn stamp(&self) -> Stamp {
        let moment = self.now.moment();
        Stamp { wall: moment.wall, boot: moment.boot, up_ms: moment.up_ms }
    }

    fn attempt(&self, container: &str) -> AttemptId {
        let pod = self.only_pod();
        let number = pod.status_of(container).unwrap().restarts;
        AttemptId { pod: pod.meta.uid.clone(), container: container.into(), number }
    }

    fn pods(&self) -> Vec<Pod> {
        self.state.of_kind(Kind::Pod).map(|r| r.as_pod().unwrap().clone()).collect()
    }

    fn only_pod(&self) -> Pod {
        let [pod] = <[Pod; 1]>::try_from(self.pods()).unwrap();
        pod
    }

    fn pod(&self, name: &str) -> Pod {
        self.state.get(&Key::new(Kind::Pod, NS, name)).unwrap().as_pod().unwrap().clone()
    }

    fn phase(&self) -> Phase {
        self.only_pod().status.phase
    }

    fn status(&self, container: &str) -> ContainerStatus {
        self.only_pod().status_of(container).unwrap().clone()
    }

    /// `waiting CrashLoopBackOff`, `starting`, `running`, `Error 1`, with the attempt's number.
    fn shown(&self, container: &str) -> String {
        let status = self.status(container);
        let state = match &status.state {
            ContainerState::Waiting { reason, .. } => format!("waiting {reason}"),
            ContainerState::Starting { .. } => "starting".to_string(),
            ContainerState::Running { .. } => "running".to_string(),
            ContainerState::Ended(ended) => format!("{} {}", ended.reason, ended.exit_code),
        };
        format!("{state} #{}", status.restarts)
    }

    fn message(&self, container: &str) -> String {
        match self.status(container).state {
            ContainerState::Waiting { message, .. } => message,
            ContainerState::Ended(ended) => ended.message,
            ContainerState::Starting { .. } | ContainerState::Running { .. } => String::new(),
        }
    }

    fn node(&self) -> Node {
        self.state.node().unwrap().clone()
    }

    /// Reasons and texts of the events, with their counts, by time and name.
    fn events(&self) -> Vec<String> {
        let events = self.state.of_kind(Kind::Event).map(|r| r.as_event().unwrap());
        events.map(|e| format!("{}: {} x{}", e.reason, e.message, e.count)).collect()
    }

    #[track_caller]
    fn has_event(&self, text: &str) {
        assert!(self.events().iter().any(|e| e == text), "no {text:?} in {:#?}", self.events());
    }

    /// The effects since the last call, in short; sweeps of the image store are no matter of pods.
    fn effects(&mut self) -> Vec<String> {
        let of_pods = self.effects.drain(..).filter(|e| !matches!(e, Effect::SweepImages(_)));
        of_pods.map(|e| short(&e)).collect()
    }

    /// The launches among the effects since the last call.
    fn launches(&mut self) -> Vec<Launch> {
        let launch = |e: Effect| if let Effect::Start(launch) = e { Some(*launch) } else { None };
        self.effects.drain(..).filter_map(launch).collect()
    }

    // ---- what a person or a controller does --------------------------------------------------------------------------

    fn add(&mut self, record: impl Into<Record>) -> &mut World {
        let mut record = record.into();
        record.meta_mut().revision = self.state.revision + 1;
        if record.meta().uid.as_str().is_empty() {
            record.meta_mut().uid = Uid::new(format!("uid-{}", record.meta().name));
        }
        self.state.apply(&[Write::Put(record.into())]);
        self
    }

    fn remove(&mut self, kind: Kind, name: &str) -> &mut World {
        self.state.apply(&[Write::Delete(Key::new(kind, NS, name))]);
        self
    }

    /// Makes the pod `p` and takes a step.
    fn run(&mut self, spec: Value) -> &mut World {
        let pod = pod("p", spec);
        self.add(pod).step()
    }

    fn change_pod(&mut self, change: impl FnOnce(&mut Pod)) -> &mut World {
        let mut pod = self.only_pod();
        change(&mut pod);
        self.add(pod)
    }

    fn change_node(&mut self, change: impl FnOnce(&mut Node)) -> &mut World {
        let mut node = self.node();
        change(&mut node);
        self.add(node)
    }

    fn delete(&mut self, grace_s: u32) -> &mut World {
        let since = self.now.moment();
        self.change_pod(|pod| {
            let grace_s = pod.meta.deleting.as_ref().map_or(grace_s, |d| d.grace_s.min(grace_s));
            let since = pod.meta.deleting.as_ref().map_or(since, |d| d.since.clone());
            pod.meta.deleting = Some(crate::model::Deleting { since, grace_s, foreground: false });
        });
        self.step()
    }
}

fn short(effect: &Effect) -> String {
    let id = |a: &AttemptId| format!("{}/{}", a.container, a.number);
    match effect {
        Effect::Start(launch) => format!("start {}", id(&launch.attempt)),
        Effect::Terminate(a) => format!("terminate {}", id(a)),
        Effect::Kill(a) => format!("kill {}", id(a)),
        Effect::Forget(a) => format!("forget {}", id(a)),
        Effect::Remove(uid) => format!("remove {uid}"),
        Effect::Project(uid, volume) => format!("project {uid} {}", volume.name),
        Effect::Pull(pull) => format!("pull {}", pull.reference),
        Effect::SweepImages(kept) => format!("sweep images but {}", kept.len()),
        Effect::Log(_, line) => format!("log {line}"),
        Effect::AllStopped => "all stopped".to_string(),
        Effect::Answer { .. } | Effect::Settle(_) | Effect::Publish(_) | Effect::Hold { .. } => {
            panic!("not of a pod: {effect:?}")
        }
    }
}

fn facts() -> Facts {
    Facts {
        internal_ip: "10.0.0.7".into(),
        cpus: 4,
        memory_bytes: 1 << 30,
        cgroup: true,
        controllers: ["cpu", "memory", "pids"].map(String::from).to_vec(),
        root: true,
        ..Facts::default()
    }
}

fn pod(name: &str, spec: Value) -> Pod {
    let spec = Spec::new(spec).unwrap();
    let mut meta = Meta::named(NS, name);
    meta.uid = Uid::new(format!("uid-{name}"));
    Pod { meta, status: PodStatus::new(&spec), spec }
}

/// A pod spec with these containers, each `name` or `name` with more fields; all run `/bin/true`.
fn spec(policy: &str, containers: &[&str]) -> Value {
    let containers: Vec<Value> = containers.iter().map(|name| container(name)).collect();
    json!({"restartPolicy": policy, "containers": containers})
}

fn container(name: &str) -> Value {
    json!({"name": name, "command": ["/bin/true"]})
}

fn with_init(policy: &str, init: &[&str], containers: &[&str]) -> Value {
    let mut spec = spec(policy, containers);
    spec["initContainers"] = init.iter().map(|name| container(name)).collect();
    spec
}

/// `spec` with other fields of the pod.
fn and(mut spec: Value, more: Value) -> Value {
    for (key, value) in more.as_object().unwrap() {
        spec[key] = value.clone();
    }
    spec
}

fn config_map(name: &str, data: Value) -> ConfigMap {
    ConfigMap { meta: Meta::named(NS, name), spec: Spec::new(json!({ "data": data })).unwrap() }
}

fn secret(name: &str, data: Value) -> Secret {
    Secret { meta: Meta::named(NS, name), spec: Spec::new(json!({ "data": data })).unwrap() }
}

fn image(reference: &str, spec: Value) -> Image {
    let mut spec: crate::model::image::ImageSpec = serde_json::from_value(spec).unwrap();
    spec.reference = reference.into();
    Image { meta: Meta::named("", "img"), spec, used: None }
}
