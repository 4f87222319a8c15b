//! A runtime that loses everything it may lose: processes end at any time, reports come twice or never, the daemon
//! crashes between any two effects and forgets what was not durable, power goes. From one seed; afterwards all settles.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::model::{FoundState, Plan};

const SEEDS: u64 = 200;
const TURNS: u32 = 80;
const PODS: [(&str, &str); 3] = [("on-failure", "OnFailure"), ("never", "Never"), ("always", "Always")];

struct Chaos {
    random: u64,
    state: State,
    /// What a crash goes back to.
    durable: State,
    now: Now,
    live: BTreeSet<AttemptId>,
    evidence: BTreeMap<AttemptId, Exit>,
    begun: BTreeSet<AttemptId>,
    succeeded: BTreeSet<AttemptId>,
    reports: Vec<Seen>,
    finished: BTreeMap<Uid, Phase>,
    faults: BTreeMap<&'static str, u32>,
}

impl Chaos {
    fn new(seed: u64) -> Chaos {
        let mut w = World::new();
        for (name, policy) in PODS {
            let spec =
                if seed.is_multiple_of(2) { spec(policy, &["c", "d"]) } else { with_init(policy, &["i"], &["c"]) };
            w.add(pod(name, spec));
        }
        Chaos {
            random: seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1,
            durable: w.state.clone(),
            state: w.state,
            now: w.now,
            live: BTreeSet::new(),
            evidence: BTreeMap::new(),
            begun: BTreeSet::new(),
            succeeded: BTreeSet::new(),
            reports: vec![],
            finished: BTreeMap::new(),
            faults: BTreeMap::new(),
        }
    }

    /// A number below `n` (xorshift).
    fn draw(&mut self, n: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 11) % n
    }

    fn fault(&mut self, name: &'static str) {
        *self.faults.entry(name).or_default() += 1;
    }

    /// One step and its effects; a crash after the commit leaves the last effects undone.
    fn step(&mut self, seen: Vec<Seen>, may_crash: bool) {
        let Plan { writes, durable, effects, .. } = step(&self.state, &Observed { seen }, &self.now);
        self.state.apply(&writes);
        if durable {
            self.durable = self.state.clone();
        }
        self.check_pods();
        let crashes = may_crash && self.draw(8) == 0;
        let done = if crashes { usize::try_from(self.draw(3)).unwrap() } else { effects.len() };
        for effect in effects.into_iter().take(done) {
            self.act(effect);
        }
        if crashes {
            self.crash(false);
        }
    }

    fn check_pods(&mut self) {
        for record in self.state.of_kind(Kind::Pod) {
            let pod = record.as_pod().unwrap();
            if let Some(phase) = self.finished.get(&pod.meta.uid) {
                assert_eq!(pod.status.phase, *phase, "a finished pod stays as it is");
            }
            if pod.status.phase.is_terminal() {
                assert!(!pod.is_live() && pod.status.finished.is_some());
                // Only what is durable is a promise.
                if self.durable.get(&record.key()) == Some(record) {
                    self.finished.insert(pod.meta.uid.clone(), pod.status.phase);
                }
            }
        }
    }

    fn act(&mut self, effect: Effect) {
        match effect {
            Effect::Start(launch) => self.begin(launch.attempt),
            Effect::Terminate(id) => {
                if self.draw(2) == 0 {
                    self.end(&id, HowEnded::Signal(15));
                }
            }
            Effect::Kill(id) => self.end(&id, HowEnded::Signal(9)),
            Effect::Forget(id) => {
                let pods = self.durable.of_kind(Kind::Pod).filter_map(|r| r.as_pod());
                let pod = pods.into_iter().find(|p| p.meta.uid == id.pod);
                assert!(
                    !pod.is_some_and(|p| crate::core::pod::exit::is_current(p, &id)),
                    "evidence of {id} outlives the commit that needs it"
                );
                self.evidence.remove(&id);
            }
            Effect::Remove(uid) => {
                assert!(self.live.iter().all(|id| id.pod != uid), "a removed pod has no process");
                self.evidence.retain(|id, _| id.pod != uid);
            }
            Effect::Project(..) | Effect::Pull(_) | Effect::SweepImages(_) | Effect::Log(..) => {}
            Effect::AllStopped
            | Effect::Answer { .. }
            | Effect::Settle(_)
            | Effect::Publish(_)
            | Effect::Hold { .. } => {}
        }
    }

    fn begin(&mut self, id: AttemptId) {
        assert!(self.begun.insert(id.clone()), "{id} is started twice");
        let policy = |uid: &Uid| PODS.iter().find(|(name, _)| uid.as_str().ends_with(name)).unwrap().1;
        if policy(&id.pod) != "Always" && id.container != "i" {
            let again = self.succeeded.iter().any(|done| done.pod == id.pod && done.container == id.container);
            assert!(!again, "{id} does work that was done");
        }
        let at = self.stamp();
        self.live.insert(id.clone());
        if self.draw(3) > 0 {
            self.reports.push(Seen::Started { attempt: id, pid: 1, at });
        }
    }

    fn end(&mut self, id: &AttemptId, how: HowEnded) {
        if !self.live.remove(id) {
            return;
        }
        if how == HowEnded::Code(0) {
            self.succeeded.insert(id.clone());
        }
        let exit = Exit {
            attempt: id.clone(),
            how,
            oom_killed: false,
            told_from_outside: false,
            started: None,
            finished: self.stamp(),
        };
        self.evidence.insert(id.clone(), exit.clone());
        for _ in 0..=self.draw(2) {
            self.reports.push(Seen::Exited(exit.clone()));
        }
    }

    fn stamp(&self) -> Stamp {
        let moment = self.now.moment();
        Stamp { wall: moment.wall, boot: moment.boot, up_ms: moment.up_ms }
    }

    /// The daemon is gone and comes back; with the power, the processes go too.
    fn crash(&mut self, power: bool) {
        self.fault(if power { "power cut" } else { "crash" });
        self.state = self.durable.clone();
        self.reports.clear();
        if power {
            let boot = self.faults["power cut"];
            self.now.boot = BootId::new(format!("boot-after-{boot}"));
            self.now.uptime = Duration::from_secs(20);
            self.live.clear();
        }
        let alive = self.live.iter().map(|id| {
            let state = FoundState::Live { pid: Some(1), started: None };
            Found { attempt: id.clone(), state }
        });
        let ended = self.evidence.values().map(|exit| {
            let state = FoundState::Exited(exit.clone());
            Found { attempt: exit.attempt.clone(), state }
        });
        let booted = Booted {
            node_name: NODE.into(),
            identity: Uid::new("node"),
            labels: Default::default(),
            groups: vec![],
            facts: facts(),
            found: alive.chain(ended).collect(),
            images: vec![],
            pods_on_disk: self.begun.iter().map(|id| id.pod.clone()).collect(),
        };
        self.step(vec![Seen::Booted(Box::new(booted))], true);
    }

    fn put(&mut self, mut record: Record) {
        record.meta_mut().revision = self.state.revision + 1;
        self.state.apply(&[Write::Put(record.into())]);
        self.durable = self.state.clone();
    }

    fn turn(&mut self) {
        let seconds = self.draw(30);
        self.now.uptime += Duration::from_secs(seconds);
        self.now.wall = self.now.wall.plus(Duration::from_secs(seconds));
        match self.draw(12) {
            0..=5 => self.end_one(),
            6 => self.crash(false),
            7 => self.crash(true),
            8 => {
                self.fault("drain");
                let mut node = self.state.node().unwrap().clone();
                node.spec.drained = !node.spec.drained;
                self.put(node.into());
            }
            9 if self.draw(10) == 0 => self.delete_one(),
            _ => {}
        }
        let reports = std::mem::take(&mut self.reports);
        let (now, later) = reports.into_iter().partition(|_| self.draw(3) > 0);
        self.reports = later;
        self.step(now, true);
    }

    fn end_one(&mut self) {
        let Some(id) = self.live.iter().next().cloned() else { return };
        let how = if self.draw(3) == 0 { HowEnded::Code(0) } else { HowEnded::Code(1) };
        self.end(&id, how);
    }

    fn delete_one(&mut self) {
        self.fault("delete");
        let pods: Vec<Pod> = self.state.of_kind(Kind::Pod).filter_map(|r| r.as_pod().cloned()).collect();
        let Some(mut pod) = pods.into_iter().next() else { return };
        pod.meta.deleting = Some(crate::model::Deleting { since: self.now.moment(), grace_s: 30, foreground: false });
        self.put(pod.into());
    }

    /// No more faults: every process succeeds, every report arrives, time passes.
    fn settle(&mut self) {
        let mut node = self.state.node().unwrap().clone();
        node.spec.drained = false;
        self.put(node.into());
        for _ in 0..40 {
            self.now.uptime += Duration::from_secs(301);
            self.now.wall = self.now.wall.plus(Duration::from_secs(301));
            let reports = std::mem::take(&mut self.reports);
            self.step(reports, false);
            let live: Vec<AttemptId> = self.live.iter().filter(|id| id.pod.as_str() != "uid-always").cloned().collect();
            live.iter().for_each(|id| self.end(id, HowEnded::Code(0)));
        }
        for pod in self.state.of_kind(Kind::Pod).filter_map(|r| r.as_pod()) {
            let phase = pod.status.phase;
            let is_settled = match pod.spec.restart_policy {
                crate::model::pod::RestartPolicy::Always => pod.is_live(),
                crate::model::pod::RestartPolicy::OnFailure => phase == Phase::Succeeded,
                crate::model::pod::RestartPolicy::Never => phase.is_terminal(),
            };
            assert!(is_settled && pod.meta.deleting.is_none(), "{pod:#?}");
        }
        let recorded: BTreeSet<AttemptId> =
            self.state.of_kind(Kind::Pod).filter_map(|r| r.as_pod()).flat_map(live_of).collect();
        assert_eq!(self.live, recorded, "what runs is what the records say");
        let is_kept = |id: &AttemptId| {
            let pod = self.state.pod_by_uid(&id.pod).and_then(|r| r.as_pod());
            let from = pod.and_then(|pod| pod.status_of(&id.container)?.evidence_from);
            from.is_some_and(|from| from <= id.number)
        };
        assert_eq!(self.evidence.keys().find(|id| !is_kept(id)), None, "evidence goes when it is counted");
    }
}

fn live_of(pod: &Pod) -> Vec<AttemptId> {
    let live = pod.statuses().filter(|c| c.state.is_live());
    live.map(|c| AttemptId { pod: pod.meta.uid.clone(), container: c.name.clone(), number: c.restarts }).collect()
}

#[test]
fn whatever_is_lost_nothing_runs_twice_and_everything_settles() {
    let mut fired = BTreeMap::new();
    for seed in 0..SEEDS {
        let mut chaos = Chaos::new(seed);
        for _ in 0..TURNS {
            chaos.turn();
        }
        chaos.settle();
        for (name, count) in chaos.faults {
            *fired.entry(name).or_insert(0) += count;
        }
    }
    for name in ["crash", "power cut", "drain", "delete"] {
        assert!(fired.get(name).is_some_and(|n| *n > 100), "the fault {name:?} hardly fired: {fired:?}");
    }
}
