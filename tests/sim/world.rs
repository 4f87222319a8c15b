//! One device: the daemon's turns as the loop takes them, with a fuse that blows at a store operation or between two
//! effects; what happens around it; and peace at the end.

use std::collections::BTreeSet;
use std::time::Duration;

use pinnace::core::step;
use pinnace::model::node::Facts;
use pinnace::model::{
    Ask, AskId, Booted, Effect, JobSpec, Key, Kind, Launch, LinkSeen, Now, Observed, Plan, Propagation, Record, Seen,
    Spec, State, Timestamp, Uid, Wake,
};
use pinnace::store::Store;

use crate::broker::Broker;
use crate::checks::Checks;
use crate::crash_backend::{CrashBackend, Random};
use crate::kernel::{Kernel, News};
use crate::script::{self, Act};

/// Mistakes that an executor could make, planted to see that the checkers notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bug {
    /// Effects are carried out before the commit.
    ActBeforeCommit,
    /// The shim's exit record is dropped when it is seen, not when its status is committed.
    ForgetWhenSeen,
    /// A second order for an attempt starts it again.
    NoClaim,
    /// Nothing is said of what was found running.
    AdoptNothing,
    /// Writes that a promise rests on wait in memory like the others.
    NeverDurable,
}

impl Bug {
    pub const ALL: [Bug; 5] =
        [Bug::ActBeforeCommit, Bug::ForgetWhenSeen, Bug::NoClaim, Bug::AdoptNothing, Bug::NeverDurable];
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    KilledAtStore,
    KilledAtEffect,
    KilledBetweenTurns,
    PowerCutAtStore,
    PowerCutAtEffect,
    PowerCutBetweenTurns,
    /// A second death before the daemon had caught up after the first.
    DiedWhileRecovering,
    ClockStepped,
    ClockLost,
    BrokerWiped,
}

impl Fault {
    pub const ALL: [Fault; 10] = [
        Fault::KilledAtStore,
        Fault::KilledAtEffect,
        Fault::KilledBetweenTurns,
        Fault::PowerCutAtStore,
        Fault::PowerCutAtEffect,
        Fault::PowerCutBetweenTurns,
        Fault::DiedWhileRecovering,
        Fault::ClockStepped,
        Fault::ClockLost,
        Fault::BrokerWiped,
    ];
}

/// The daemon while it lives.
struct Daemon {
    store: Store,
    state: State,
    inbox: Vec<Seen>,
    wake: Wake,
}

/// Why a turn ended early.
struct Died(&'static str);

pub struct World {
    pub random: Random,
    pub kernel: Kernel,
    broker: Broker,
    disk: CrashBackend,
    daemon: Option<Daemon>,
    /// The disk fails before long.
    store_fuse: bool,
    /// Effects that are carried out before the daemon dies; none: the fuse is not lit.
    effects_left: Option<u64>,
    /// Orders that the spawner has not worked off.
    in_flight: Vec<Launch>,
    bug: Option<Bug>,
    log: bool,
    checks: Checks,
    pub fired: BTreeSet<Fault>,
    pub crashes: u64,
    pub turns: u64,
    asks: u64,
    turns_since_start: u64,
}

/// Turns with faults, and the virtual time that peace may take until nothing moves.
const STORMY_ACTS: u64 = 40;
const PEACE: Duration = Duration::from_secs(6 * 3600);

impl World {
    pub fn new(seed: u64, bug: Option<Bug>, log: bool) -> World {
        let mut kernel = Kernel::new();
        kernel.claims_hold = bug != Some(Bug::NoClaim);
        World {
            random: Random(seed),
            kernel,
            broker: Broker::default(),
            disk: CrashBackend::new(),
            daemon: None,
            store_fuse: false,
            effects_left: None,
            in_flight: Vec::new(),
            bug,
            log,
            checks: Checks::default(),
            fired: BTreeSet::new(),
            crashes: 0,
            turns: 0,
            asks: 0,
            turns_since_start: 0,
        }
    }

    pub fn run(&mut self) {
        self.start();
        let steady = script::steady(&mut self.random);
        self.publish(script::STEADY, &steady);
        // It is taken before anything goes wrong; a message that a wiped broker forgot first is nobody's to keep.
        self.settle();
        for _ in 0..STORMY_ACTS {
            self.light_a_fuse();
            let act = script::draw(&mut self.random);
            self.say(&format!("{act:?}"));
            self.act(act);
            let span = Duration::from_secs(self.random.next() % 120);
            self.live_for(span);
            if self.random.chance(6) {
                self.die_between_turns();
            }
        }
        self.peace();
    }

    fn say(&self, text: &str) {
        if self.log {
            println!("[boot {} {:>9.3}s] {text}", self.kernel.boots, self.kernel.uptime.as_secs_f64());
        }
    }

    // ---- time ------------------------------------------------------------------------------------------------------

    /// Time passes to the next thing that happens, again and again.
    fn live_for(&mut self, span: Duration) {
        let end = self.kernel.uptime + span;
        let boots = self.kernel.boots;
        loop {
            self.settle();
            if self.kernel.boots != boots || self.kernel.uptime >= end {
                return;
            }
            let next = self.next_moment().map_or(end, |at| at.min(end));
            let by = next.saturating_sub(self.kernel.uptime).max(Duration::from_millis(1));
            let news = self.kernel.advance(by);
            self.tell(news);
            // A deadline may have come, with nothing to see.
            self.turn();
        }
    }

    fn next_moment(&self) -> Option<Duration> {
        let wake = self.daemon.as_ref().map(|daemon| daemon.wake).unwrap_or_default();
        let wall = wake.wall.map(|at| self.kernel.uptime + at.since(self.kernel.wall));
        [self.kernel.next_end(), wake.uptime, wall].into_iter().flatten().min()
    }

    /// Turns until the inbox is empty; a daemon that died is started again.
    fn settle(&mut self) {
        for _ in 0..1000 {
            match &self.daemon {
                None => self.start(),
                Some(daemon) if daemon.inbox.is_empty() => return,
                Some(_) => self.turn(),
            }
        }
        panic!("the inbox does not run empty");
    }

    fn tell(&mut self, news: Vec<News>) {
        let Some(daemon) = &mut self.daemon else { return };
        for item in news {
            if let (News::Exited(exit), Some(Bug::ForgetWhenSeen)) = (&item, self.bug) {
                self.kernel.forget(&exit.attempt);
            }
            daemon.inbox.push(match item {
                News::Started(attempt, pid, at) => Seen::Started { attempt, pid, at },
                News::Exited(exit) => Seen::Exited(exit),
            });
        }
    }

    fn now(&self) -> Now {
        let floor = self.daemon.as_ref().and_then(|d| d.state.node().and_then(|n| n.status.time_floor));
        let wall = self.kernel.wall;
        Now {
            wall,
            wall_trusted: self.kernel.clock_is_set && floor.is_none_or(|floor| wall >= floor),
            uptime: self.kernel.uptime,
            boot: self.kernel.boot(),
        }
    }

    // ---- a turn ----------------------------------------------------------------------------------------------------

    fn turn(&mut self) {
        let Some(mut daemon) = self.daemon.take() else { return };
        self.turns += 1;
        self.turns_since_start += 1;
        let seen = std::mem::take(&mut daemon.inbox);
        let now = self.now();
        let plan = step(&daemon.state, &Observed { seen }, &now);
        match self.carry_out(&mut daemon, &plan) {
            Ok(news) => {
                daemon.wake = plan.wake;
                let again = step(&daemon.state, &Observed::default(), &now);
                assert!(again.writes.is_empty() && again.effects.is_empty(), "a settled step wants more: {again:?}");
                self.checks.after_turn(&daemon.state, &self.kernel);
                self.daemon = Some(daemon);
                self.tell(news);
            }
            Err(Died(where_)) => self.die(where_),
        }
    }

    /// Commit, apply, act, in this order, unless a bug is planted.
    fn carry_out(&mut self, daemon: &mut Daemon, plan: &Plan) -> Result<Vec<News>, Died> {
        let mut news = Vec::new();
        if self.bug == Some(Bug::ActBeforeCommit) {
            self.effects(plan, &mut news)?;
        }
        if !plan.writes.is_empty() {
            let durable = plan.durable && self.bug != Some(Bug::NeverDurable);
            let committed = daemon.store.commit(daemon.state.revision + 1, &plan.writes, durable);
            committed.map_err(|_| Died("store"))?;
            if plan.durable {
                self.checks.committed(&plan.writes);
            }
            daemon.state.apply(&plan.writes);
        }
        if self.bug != Some(Bug::ActBeforeCommit) {
            self.effects(plan, &mut news)?;
        }
        Ok(news)
    }

    fn effects(&mut self, plan: &Plan, news: &mut Vec<News>) -> Result<(), Died> {
        for effect in &plan.effects {
            match &mut self.effects_left {
                Some(0) => {
                    // An order that was on its way when the daemon died is carried out later, when the next one has
                    // looked around already.
                    if let Effect::Start(launch) = effect {
                        self.in_flight.push((**launch).clone());
                    }
                    return Err(Died("effect"));
                }
                Some(left) => *left -= 1,
                None => {}
            }
            self.say(&format!("  {}", short(effect)));
            match effect {
                Effect::Start(launch) => {
                    self.checks.may_start(launch);
                    news.extend(self.kernel.start(launch, &mut self.random));
                }
                Effect::Terminate(attempt) => news.extend(self.kernel.terminate(attempt)),
                Effect::Kill(attempt) => news.extend(self.kernel.kill(attempt)),
                Effect::Forget(attempt) => self.kernel.forget(attempt),
                Effect::Remove(pod) => self.kernel.remove(pod),
                Effect::Settle(push) => drop(self.broker.unsettled.remove(push)),
                Effect::Answer { .. } | Effect::Publish(_) | Effect::AllStopped => {}
            }
        }
        Ok(())
    }

    // ---- life and death --------------------------------------------------------------------------------------------

    /// The daemon starts: the store must open, whatever happened to it.
    fn start(&mut self) {
        let (store, loaded) = match Store::with_backend(self.disk.clone()) {
            Ok(opened) => opened,
            // The fuse blew while the store was being opened: a crash during recovery.
            Err(_) if self.store_fuse => return self.die("store"),
            Err(e) => panic!("the store must open after any crash: {e}"),
        };
        let state = State::new(loaded.revision, loaded.records, Default::default());
        self.checks.reopened(&state);
        let found = if self.bug == Some(Bug::AdoptNothing) { Vec::new() } else { self.kernel.found() };
        let booted = Booted {
            node_name: "sim".into(),
            identity: Uid::new("sim-identity"),
            labels: Default::default(),
            groups: vec![],
            facts: Facts { cgroup: true, memory_bytes: 1 << 30, cpus: 2, ..Facts::default() },
            found,
            pods_on_disk: self.kernel.pods_on_disk.iter().cloned().collect(),
        };
        let mut inbox = vec![Seen::Booted(Box::new(booted)), Seen::Link(LinkSeen::Connected)];
        inbox.extend(self.broker.connect());
        self.turns_since_start = 0;
        self.daemon = Some(Daemon { store, state, inbox, wake: Wake::default() });
        for launch in std::mem::take(&mut self.in_flight) {
            let news = self.kernel.start(&launch, &mut self.random);
            self.tell(news.into_iter().collect());
        }
    }

    /// The next death, if one is to come: at a store operation or after some effects.
    fn light_a_fuse(&mut self) {
        match self.random.next() % 4 {
            0 => {
                self.store_fuse = true;
                self.disk.fail_after(1 + self.random.next() % 40);
            }
            1 => self.effects_left = Some(self.random.next() % 12),
            _ => {}
        }
    }

    fn die(&mut self, where_: &str) {
        let power = self.random.chance(2);
        let fault = match (where_, power) {
            ("store", false) => Fault::KilledAtStore,
            ("store", true) => Fault::PowerCutAtStore,
            ("effect", false) => Fault::KilledAtEffect,
            ("effect", true) => Fault::PowerCutAtEffect,
            (_, false) => Fault::KilledBetweenTurns,
            (_, true) => Fault::PowerCutBetweenTurns,
        };
        self.say(&format!("*** {fault:?}"));
        self.fired.insert(fault);
        if self.turns_since_start <= 1 && self.crashes > 0 {
            self.fired.insert(Fault::DiedWhileRecovering);
        }
        self.crashes += 1;
        self.store_fuse = false;
        self.daemon = None;
        self.effects_left = None;
        let away = Duration::from_secs(self.random.next() % 600);
        if power {
            self.in_flight.clear();
            let seed = self.random.next();
            self.disk = self.disk.power_cut(seed);
            self.kernel.power_cut(away, &mut self.random);
            if self.random.chance(4) {
                self.fired.insert(Fault::ClockLost);
                self.kernel.wall = Timestamp::from_secs(60);
                self.kernel.clock_is_set = false;
            }
        } else {
            self.disk = self.disk.process_death();
            // Nobody is there to hear of the exits meanwhile.
            self.kernel.advance(away);
        }
        if self.random.chance(4) {
            // A crash during recovery.
            self.light_a_fuse();
        }
    }

    fn die_between_turns(&mut self) {
        if self.daemon.is_some() {
            self.die("between turns");
        }
    }

    // ---- what happens ----------------------------------------------------------------------------------------------

    fn publish(&mut self, slot: &str, text: &str) {
        self.checks.published(slot, text);
        let seen = self.broker.publish(slot, text);
        if let Some(daemon) = &mut self.daemon {
            daemon.inbox.push(seen);
        }
    }

    fn act(&mut self, act: Act) {
        match act {
            Act::Publish { slot, text } => self.publish(&slot, &text),
            Act::Reconnect => {
                let all = self.broker.connect();
                self.see([Seen::Link(LinkSeen::Lost), Seen::Link(LinkSeen::Connected)]);
                self.see(all);
            }
            Act::WipeBroker => {
                self.broker.wipe();
                self.fired.insert(Fault::BrokerWiped);
            }
            Act::Scale { job, parallelism } => self.change_job(&job, "parallelism", parallelism.into()),
            Act::Suspend { job, suspend } => self.change_job(&job, "suspend", suspend.into()),
            Act::DeletePod => {
                let Some(daemon) = &self.daemon else { return };
                let disturbs = |r: &&std::sync::Arc<Record>| !r.meta().name.starts_with(script::STEADY);
                let key = daemon.state.of_kind(Kind::Pod).filter(disturbs).last().map(|record| record.key());
                if let Some(key) = key {
                    self.delete(key);
                }
            }
            Act::DeleteJob { job } => self.delete(Key::new(Kind::Job, "default", &job)),
            Act::Drain => self.ask(Ask::Drain),
            Act::Uncordon => self.uncordon(),
            Act::StepClock { seconds } => {
                self.fired.insert(Fault::ClockStepped);
                self.kernel.wall = Timestamp::from_millis(self.kernel.wall.as_millis() + seconds * 1000);
                self.turn();
            }
            Act::SetClock => {
                self.kernel.clock_is_set = true;
                self.kernel.wall = self.kernel.wall.max(Timestamp::from_secs(1_790_000_000).plus(self.kernel.uptime));
                self.turn();
            }
        }
    }

    fn see(&mut self, seen: impl IntoIterator<Item = Seen>) {
        if let Some(daemon) = &mut self.daemon {
            daemon.inbox.extend(seen);
        }
    }

    fn ask(&mut self, ask: Ask) {
        self.asks += 1;
        self.see([Seen::Asked { id: AskId(self.asks), ask, dry_run: false }]);
    }

    fn delete(&mut self, key: Key) {
        self.ask(Ask::Delete { key, grace_s: None, propagation: Propagation::Background, if_uid: None });
    }

    fn change_job(&mut self, name: &str, field: &str, value: serde_json::Value) {
        let Some(daemon) = &self.daemon else { return };
        let Some(found) = daemon.state.get(&Key::new(Kind::Job, "default", name)) else { return };
        let mut job = found.as_job().expect("a Job").clone();
        let mut document = job.spec.document().clone();
        document[field] = value;
        job.spec = Spec::<JobSpec>::new(document).expect("a valid spec");
        self.ask(Ask::Replace { record: Box::new(job.into()), if_revision: None });
    }

    fn uncordon(&mut self) {
        let Some(mut node) = self.daemon.as_ref().and_then(|daemon| daemon.state.node().cloned()) else { return };
        node.spec.unschedulable = false;
        self.ask(Ask::Replace { record: Box::new(node.into()), if_revision: None });
    }

    // ---- peace -----------------------------------------------------------------------------------------------------

    /// No more faults: the clock is right, nothing is drained, and every promise must come true.
    fn peace(&mut self) {
        self.disk.fail_after(u64::MAX / 2);
        self.effects_left = None;
        self.settle();
        self.act(Act::SetClock);
        self.settle();
        self.uncordon();
        self.live_for(PEACE);
        self.say("peace");
        let daemon = self.daemon.as_ref().expect("it lives");
        self.checks.in_peace(&daemon.state, &self.kernel, &self.broker);
    }
}

fn short(effect: &Effect) -> String {
    match effect {
        Effect::Start(launch) => format!("Start {} ({} {:?})", launch.attempt, launch.pod_name, launch.argv),
        Effect::Answer { answer, .. } => format!("Answer {:?}", answer.as_ref().map(|record| record.key())),
        other => format!("{other:?}").chars().take(160).collect(),
    }
}
