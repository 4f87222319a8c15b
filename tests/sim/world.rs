//! One device: the daemon's turns as the loop takes them, with a fuse that blows at a store operation or between two
//! effects, and what happens around it.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use pinnace::core::step;
use pinnace::model::node::Facts;
use pinnace::model::{
    Booted, Effect, Exit, HowEnded, Launch, LinkSeen, Now, Observed, Plan, Record, Seen, State, Timestamp, Uid, Wake,
};
use pinnace::store::Store;

use crate::broker::Broker;
use crate::bugs::Bug;
use crate::checks::Checks;
use crate::crash_backend::{CrashBackend, Random};
use crate::faults::{At, Blow, Fault, How};
use crate::kernel::{Kernel, News};
use crate::ledger::Ledger;
use crate::peace;
use crate::room::Room;
use crate::script::{self, Script};

/// The daemon while it lives.
pub struct Daemon {
    store: Store,
    pub state: State,
    pub inbox: Vec<Seen>,
    wake: Wake,
}

/// Why a turn ended early.
enum Died {
    AtStore,
    AtEffect,
}

pub struct World {
    pub random: Random,
    pub kernel: Kernel,
    pub broker: Broker,
    pub disk: CrashBackend,
    pub room: Room,
    pub daemon: Option<Daemon>,
    /// Faults that are to come, one after the other.
    pub blows: VecDeque<Blow>,
    /// The one that is armed.
    armed: Option<Blow>,
    /// Effects that are carried out before the daemon dies; none: no such blow is armed.
    effects_left: Option<u64>,
    /// Orders that the spawner has not worked off.
    in_flight: Vec<Launch>,
    bug: Option<Bug>,
    log: bool,
    checks: Checks,
    ledger: Ledger,
    pub fired: BTreeSet<Fault>,
    pub crashes: u64,
    pub turns: u64,
    effects: u64,
    /// Operations of the store and effects up to the moment from which on nothing goes wrong.
    pub before_peace: (u64, u64),
    pub asks: u64,
    turns_since_start: u64,
    deaths_by_disk: u64,
    pub clock_was_set: bool,
    /// The store was open once.
    made: bool,
    /// Its blows are given; chance adds none.
    scripted: bool,
}

/// Turns with faults, and the virtual time that peace may take until nothing moves.
const STORMY_ACTS: u64 = 40;
const PEACE: Duration = Duration::from_secs(6 * 3600);
/// The same after a short script, in which nothing takes longer.
const SHORT_PEACE: Duration = Duration::from_secs(600);
/// A disk that is full has room again after so many deaths.
const DEATHS_BY_DISK_MAX: u64 = 3;

impl World {
    pub fn new(seed: u64, bug: Option<Bug>, log: bool) -> World {
        let mut kernel = Kernel::new();
        kernel.claims_hold = bug != Some(Bug::NoClaim);
        kernel.volumes_go = bug != Some(Bug::KeepVolumes);
        World {
            random: Random(seed),
            kernel,
            broker: Broker::default(),
            disk: CrashBackend::new(),
            room: Room::default(),
            daemon: None,
            blows: VecDeque::new(),
            armed: None,
            effects_left: None,
            in_flight: Vec::new(),
            bug,
            log,
            checks: Checks::default(),
            ledger: Ledger::default(),
            fired: BTreeSet::new(),
            crashes: 0,
            turns: 0,
            effects: 0,
            before_peace: (0, 0),
            asks: 0,
            turns_since_start: 0,
            deaths_by_disk: 0,
            clock_was_set: false,
            made: false,
            scripted: false,
        }
    }

    /// A life by chance.
    pub fn run(&mut self) {
        self.start();
        let steady = script::steady(&mut self.random);
        self.publish(&script::all(script::STEADY), &steady);
        // It is taken before anything goes wrong; a message that a wiped broker forgot first is nobody's to keep.
        self.settle();
        for turn in 1..=STORMY_ACTS {
            let blow = Blow::draw(&mut self.random);
            self.blows.extend(blow);
            self.arm();
            let act = script::draw(&mut self.random, turn);
            self.act(act);
            let span = Duration::from_secs(self.random.next() % 120);
            self.live_for(span);
            self.disk_has_room();
            if self.random.chance(6) {
                self.die_between_turns();
            }
        }
        self.peace(PEACE);
        let daemon = self.daemon.as_ref().expect("it lives");
        peace::steady_job_is_exact(&daemon.state, &self.kernel);
    }

    /// A life by a script, with the blows that are given.
    pub fn play(&mut self, script: Script) {
        self.scripted = true;
        self.arm();
        self.settle();
        for (act, seconds) in script.acts {
            self.act(act);
            self.live_until(self.kernel.lived + Duration::from_secs(seconds));
            self.disk_has_room();
        }
        self.peace(SHORT_PEACE);
    }

    pub fn say(&self, text: &str) {
        if self.log {
            println!("[boot {} {:>9.3}s] {text}", self.kernel.boots, self.kernel.uptime.as_secs_f64());
        }
    }

    // ---- time ------------------------------------------------------------------------------------------------------

    /// Time passes to the next thing that happens, again and again; a reboot ends it.
    fn live_for(&mut self, span: Duration) {
        let end = self.kernel.uptime + span;
        let boots = self.kernel.boots;
        loop {
            self.settle();
            if self.kernel.boots != boots || self.kernel.uptime >= end {
                return;
            }
            self.pass_time(end - self.kernel.uptime);
        }
    }

    /// The same through any number of reboots.
    pub fn live_until(&mut self, end: Duration) {
        loop {
            self.settle();
            if self.kernel.lived >= end {
                return;
            }
            self.pass_time(end - self.kernel.lived);
        }
    }

    fn pass_time(&mut self, most: Duration) {
        let next = self.next_moment().map_or(most, |at| at.saturating_sub(self.kernel.uptime).min(most));
        let news = self.kernel.advance(next.max(Duration::from_millis(1)));
        self.tell(news);
        // A deadline may have come, with nothing to see.
        self.turn();
    }

    fn next_moment(&self) -> Option<Duration> {
        let wake = self.daemon.as_ref().map(|daemon| daemon.wake).unwrap_or_default();
        let wall = wake.wall.map(|at| self.kernel.uptime + at.since(self.kernel.wall));
        [self.kernel.next_end(), wake.uptime, wall].into_iter().flatten().min()
    }

    /// Turns until the inbox is empty; a daemon that died is started again.
    pub fn settle(&mut self) {
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
        for item in news {
            if let (News::Exited(exit), Some(Bug::ForgetWhenSeen)) = (&item, self.bug) {
                self.kernel.forget(&exit.attempt);
            }
            let lost = self.bug == Some(Bug::LoseExits) && matches!(item, News::Exited(_));
            let Some(daemon) = self.daemon.as_mut().filter(|_| !lost) else { continue };
            daemon.inbox.push(match item {
                News::Started(attempt, pid, at) => {
                    let pid = pid + u32::from(self.bug == Some(Bug::WrongPid));
                    Seen::Started { attempt, pid, at }
                }
                News::Exited(exit) => Seen::Exited(misreport(self.bug, exit)),
            });
        }
    }

    pub fn now(&self) -> Now {
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

    pub fn turn(&mut self) {
        let Some(mut daemon) = self.daemon.take() else { return };
        self.turns += 1;
        self.turns_since_start += 1;
        let seen = Observed { seen: self.room.show(&mut daemon.inbox, &mut self.broker) };
        let now = self.now();
        let plan = self.decide(&daemon.state, &seen, &now);
        let clock_was_set = std::mem::take(&mut self.clock_was_set);
        let is_sound = self.bug.is_none_or(|bug| bug == Bug::NeverWake);
        if is_sound && seen.seen.is_empty() && !clock_was_set {
            was_woken_for(&daemon.wake, &plan, &now);
        }
        match self.carry_out(&mut daemon, &plan) {
            Ok(news) => {
                daemon.wake = if self.bug == Some(Bug::NeverWake) { Wake::default() } else { plan.wake };
                self.is_settled(&daemon.state, &plan, &now);
                self.room.after(&seen.seen, &plan.effects, &daemon.state);
                self.checks.after_turn(&daemon.state, &self.kernel, &now);
                self.daemon = Some(daemon);
                self.tell(news);
            }
            Err(died) => {
                // What redb still does when it is dropped belongs to the daemon's last moments.
                drop(daemon);
                self.die(died);
            }
        }
    }

    /// `core::step`, unless a bug is planted.
    fn decide(&self, state: &State, seen: &Observed, now: &Now) -> Plan {
        let Some(bug) = self.bug else { return step(state, seen, now) };
        let mut now = now.clone();
        bug.misread_time(&mut now);
        let misread = bug.misread(state);
        let mut seen = seen.clone();
        seen.seen.retain(|seen| bug != Bug::DropMessages || !matches!(seen, Seen::Pushed(_)));
        let mut plan = step(misread.as_ref().unwrap_or(state), &seen, &now);
        bug.spoil(&mut plan, state);
        plan
    }

    /// Invariant 12: on an unchanged world a step is empty.
    fn is_settled(&self, state: &State, plan: &Plan, now: &Now) {
        let again = match self.bug {
            None => step(state, &Observed::default(), now),
            Some(Bug::NeverSettle) => plan.clone(),
            Some(_) => return,
        };
        assert!(again.writes.is_empty() && again.effects.is_empty(), "a settled step wants more: {again:?}");
    }

    /// Commit, apply, act, in this order, unless a bug is planted.
    fn carry_out(&mut self, daemon: &mut Daemon, plan: &Plan) -> Result<Vec<News>, Died> {
        let mut news = Vec::new();
        let hurried = |effect: &&Effect| self.bug.is_some_and(|bug| bug.hurries(effect));
        let (early, late): (Vec<&Effect>, Vec<&Effect>) = plan.effects.iter().partition(hurried);
        self.carry_out_effects(&early, &mut news)?;
        self.commit(daemon, plan)?;
        self.carry_out_effects(&late, &mut news)?;
        Ok(news)
    }

    fn commit(&mut self, daemon: &mut Daemon, plan: &Plan) -> Result<(), Died> {
        if plan.writes.is_empty() {
            return Ok(());
        }
        let durable = plan.durable && self.bug != Some(Bug::NeverDurable);
        let share = if self.bug == Some(Bug::HalfACommit) { plan.writes.len().div_ceil(2) } else { plan.writes.len() };
        let before = daemon.store.stats().commits;
        let committed = daemon.store.commit(daemon.state.revision + 1, &plan.writes[..share], durable);
        if committed.is_err() {
            self.ledger.failed(&plan.writes);
            return Err(Died::AtStore);
        }
        // Many quiet writes are made durable together.
        self.ledger.committed(&plan.writes, plan.durable || daemon.store.stats().commits > before);
        daemon.state.apply(&plan.writes);
        Ok(())
    }

    fn carry_out_effects(&mut self, effects: &[&Effect], news: &mut Vec<News>) -> Result<(), Died> {
        // What one caller does and the next undoes in the same turn is never written, and both are answered.
        let callers = effects.iter().filter(|effect| matches!(effect, Effect::Answer { .. })).count();
        for effect in effects {
            if self.bug.is_some_and(|bug| bug.loses(effect)) {
                continue;
            }
            match &mut self.effects_left {
                Some(0) => {
                    // An order that was on its way when the daemon died is carried out later, when the next one has
                    // looked around already.
                    if let Effect::Start(launch) = effect {
                        self.in_flight.push((**launch).clone());
                    }
                    return Err(Died::AtEffect);
                }
                Some(left) => *left -= 1,
                None => {}
            }
            self.effects += 1;
            self.say(&format!("  {}", short(effect)));
            let unsettled = &self.broker.unsettled;
            let is_answer = matches!(effect, Effect::Answer { .. });
            if !is_answer || callers == 1 {
                self.ledger.may(effect, || match effect {
                    Effect::Settle(push) => unsettled.get(push).cloned(),
                    _ => None,
                });
            }
            match effect {
                Effect::Start(launch) => news.extend(self.kernel.start(launch, &mut self.random)),
                Effect::Terminate(attempt) => news.extend(self.kernel.terminate(attempt)),
                Effect::Kill(attempt) => news.extend(self.kernel.kill(attempt)),
                Effect::Forget(attempt) => self.kernel.forget(attempt),
                Effect::Remove(pod) => self.kernel.remove(pod),
                Effect::Settle(push) => drop(self.broker.unsettled.remove(push)),
                Effect::Project(pod, volume) => self.kernel.project(pod, volume),
                // Images are files of the runtime's; what is decided of them is tested with the core.
                Effect::Pull(_)
                | Effect::SweepImages(_)
                | Effect::Log(..)
                | Effect::Answer { .. }
                | Effect::Publish(_)
                | Effect::Hold { .. }
                | Effect::AllStopped => {}
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
            Err(_) if self.disk.has_failed() => {
                self.die(Died::AtStore);
                if !self.made {
                    // A file gets its name when it is whole (`store/open.rs`): half a one is made anew.
                    self.disk = CrashBackend::new();
                }
                return;
            }
            Err(e) => panic!("the store must open after any crash: {e}"),
        };
        self.made = true;
        let state = State::new(loaded.revision, loaded.records, Default::default());
        self.ledger.reopened(&state);
        self.checks.reopened(&state);
        let state = if self.bug == Some(Bug::ForgetReserved) { without_reserved(&state) } else { state };
        let found = if self.bug == Some(Bug::AdoptNothing) { Vec::new() } else { self.kernel.found() };
        let found = found.into_iter().map(|mut found| {
            if let pinnace::model::FoundState::Exited(exit) = &mut found.state {
                *exit = misreport(self.bug, exit.clone());
            }
            found
        });
        let booted = Booted {
            node_name: "sim".into(),
            identity: Uid::new("sim-identity"),
            labels: Default::default(),
            groups: vec![script::GROUP.into()],
            facts: Facts { cgroup: true, memory_bytes: 1 << 30, cpus: 2, ..Facts::default() },
            found: found.collect(),
            images: vec![],
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

    /// The next blow, if one is to come and none is armed.
    fn arm(&mut self) {
        if self.armed.is_some() {
            return;
        }
        self.armed = self.blows.pop_front();
        let Some(blow) = self.armed else { return };
        self.say(&format!("!!! to come: {blow}"));
        match (blow.at, blow.how) {
            (At::Effect(n), _) => self.effects_left = Some(n),
            (At::Store(n), How::Kill | How::PowerCut) => self.disk.fail_after(n),
            (At::Store(n), How::IoError) => self.disk.fail_once_after(n),
            (At::Store(n), How::DiskFull) => self.disk.full_after(n),
        }
    }

    fn die(&mut self, died: Died) {
        let blow = self.armed.unwrap_or_else(|| match died {
            Died::AtStore => panic!("the store failed of itself"),
            Died::AtEffect => unreachable!("only a blow ends the effects"),
        });
        self.fired.insert(blow.fault());
        self.say(&format!("*** {blow}"));
        let full = blow.how == How::DiskFull;
        if !full {
            self.armed = None;
        }
        self.end_life(blow.how == How::PowerCut);
        if full {
            self.deaths_by_disk += 1;
            if self.deaths_by_disk >= DEATHS_BY_DISK_MAX {
                self.disk_has_room();
            }
        }
        self.arm();
        if self.armed.is_none() && !self.scripted && self.random.chance(4) {
            // A crash during recovery.
            self.blows.extend(Blow::draw(&mut self.random));
            self.arm();
        }
    }

    /// Somebody made room; what was to come and did not is forgotten.
    fn disk_has_room(&mut self) {
        if self.armed.is_some_and(|blow| blow.how == How::DiskFull) {
            self.armed = None;
            self.deaths_by_disk = 0;
            self.disk.is_well();
        }
    }

    fn end_life(&mut self, power: bool) {
        if self.turns_since_start <= 1 && self.crashes > 0 {
            self.fired.insert(Fault::DiedWhileRecovering);
        }
        self.crashes += 1;
        self.daemon = None;
        self.room.died();
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
    }

    fn die_between_turns(&mut self) {
        let power = self.random.chance(2);
        self.end_between_turns(power);
    }

    pub fn cut_power(&mut self) {
        self.end_between_turns(true);
    }

    fn end_between_turns(&mut self, power: bool) {
        if self.daemon.is_none() {
            return;
        }
        let fault = if power { Fault::PowerCutBetweenTurns } else { Fault::KilledBetweenTurns };
        self.fired.insert(fault);
        self.say(&format!("*** {fault:?}"));
        self.end_life(power);
        self.armed = None;
        self.disk.is_well();
    }

    // ---- peace -----------------------------------------------------------------------------------------------------

    /// No more faults: the clock is right, nothing is drained, and every promise must come true.
    fn peace(&mut self, span: Duration) {
        self.before_peace = (self.disk.ops(), self.effects);
        self.blows.clear();
        self.armed = None;
        self.disk.is_well();
        self.effects_left = None;
        self.room.is_made();
        self.settle();
        self.act(script::Act::SetClock);
        self.settle();
        self.act(script::Act::Uncordon);
        self.live_until(self.kernel.lived + span);
        self.say("peace");
        let daemon = self.daemon.as_ref().expect("it lives");
        peace::check(&daemon.state, &self.kernel, &self.broker, &self.now());
    }
}

/// Time alone has passed: what is decided must have been asked for by the step before, or a quiet node would sleep through
/// it. (What only informs may ride along.)
fn was_woken_for(wake: &Wake, plan: &Plan, now: &Now) {
    let is_due = wake.uptime.is_some_and(|at| at <= now.uptime) || wake.wall.is_some_and(|at| at <= now.wall);
    let acts = plan.durable || !plan.effects.is_empty();
    assert!(is_due || !acts, "the core decides what it did not ask to be woken for: {wake:?} at {now:?}: {plan:?}");
}

/// As a start with a bug sees it: no attempt began but those of which the records say so.
fn without_reserved(state: &State) -> State {
    let mut records: Vec<Record> = state.all().map(|record| (**record).clone()).collect();
    for record in &mut records {
        if let Record::Pod(pod) = record {
            pod.status.containers.iter_mut().for_each(|status| status.reserved = 0);
        }
    }
    State::new(state.revision, records, state.settings.clone())
}

/// What a shim wrote, as a daemon with a bug reads it.
fn misreport(bug: Option<Bug>, mut exit: Exit) -> Exit {
    match (bug, &exit.how) {
        (Some(Bug::DenySuccess), HowEnded::Code(0)) => exit.how = HowEnded::Code(1),
        (Some(Bug::BelieveFailure), HowEnded::Code(1)) => exit.how = HowEnded::Code(0),
        _ => {}
    }
    exit
}

fn short(effect: &Effect) -> String {
    match effect {
        Effect::Start(launch) => format!("Start {} ({} {:?})", launch.attempt, launch.pod_name, launch.argv),
        Effect::Answer { answer, .. } => format!("Answer {:?}", answer.as_ref().map(|record| record.key())),
        other => format!("{other:?}").chars().take(160).collect(),
    }
}
