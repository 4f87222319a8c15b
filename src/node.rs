//! The loop: observe, step, commit, apply, act, report; in that order, always. It carries events in and effects out and
//! decides nothing: what is decided is decided in `core`.

mod crashes;
mod hold;
mod images;
mod inbox;
mod lock;
mod logging;
mod logs;
mod metrics;
mod notify;
mod port;
mod reload;
mod room;
mod start;
mod trace;
mod update;
mod wear;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep;

use crate::api::{self, Answer, Feed};
use crate::clock::{Alarm, Clock};
use crate::config::Config;
use crate::core::{status, step};
use crate::link::{Before, LinkHandle, Up};
use crate::model::{
    Ask, AskId, Effect, EventType, Failure, LinkSeen, Now, Observed, Plan, Publication, Reason, Seen, State,
};
use crate::runtime::probe::clock_is_synchronised;
use crate::runtime::{Runtime, rest};
use crate::store::Store;
use images::Images;
use inbox::{Inbox, Item};
use metrics::Counters;
use room::Room;
use trace::Trace;
use update::{Updates, Watch};
use wear::Wear;

pub use reload::Reread;
pub use start::run;

/// Everything that the loop holds.
struct Daemon {
    state: Rc<RefCell<State>>,
    store: Store,
    runtime: Runtime,
    images: Images,
    link: Option<LinkHandle>,
    /// The way of a link's news to the loop, and how far the numbers of the links before the present one came.
    link_in: mpsc::Sender<Seen>,
    linked_before: Before,
    config: Config,
    reread: Reread,
    reload_wanted: bool,
    trace: Rc<Trace>,
    feed: Rc<Feed>,
    clock: Rc<Clock>,
    alarm: Alarm,
    inbox: Inbox,
    counters: Rc<Counters>,
    wear: Rc<Wear>,
    /// Who waits for an answer.
    callers: BTreeMap<AskId, oneshot::Sender<Answer>>,
    asks: u64,
    /// What the core knows of the disk.
    told_shortage: Option<String>,
    told_synchronised: Option<bool>,
    room: Room,
    stop: Stop,
    updates: Updates,
    /// This daemon is on trial.
    watch: Option<Watch>,
    /// Another version takes over when the loop has ended.
    gives_way: bool,
}

/// What SIGTERM means, and how far a stop has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stop {
    /// The daemon goes, pods stay.
    LeavesPods,
    /// Pods are ended first (`--stop-pods`).
    EndsPods,
    /// Pods are being ended; the next signal does not wait for them.
    Ending,
    /// Leave the loop after this turn.
    Now,
}

impl Daemon {
    /// Turns until it is told to stop. `first` is what was found at the start.
    ///
    /// # Errors
    /// Why it cannot go on: a commit failed, so nothing of what was decided may be done, or the runtime has no hands any
    /// more. Pods do not notice; the next start goes on from what is on disk.
    async fn run(&mut self, first: Seen) -> Result<(), String> {
        self.turn(vec![first])?;
        self.tell_of_last_update()?;
        self.sweep_versions();
        notify::ready();
        self.inbox.alive_every(notify::alive_every());
        let mut rests = false;
        while self.stop != Stop::Now {
            let items = tokio::select! {
                () = sleep(rest::AFTER), if !rests => {
                    rest::let_go_of_code();
                    rests = true;
                    continue;
                }
                items = self.inbox.next(&self.alarm) => items,
                why = self.runtime.failed() => return Err(why.to_string()),
                () = update::due(&mut self.watch) => Vec::new(),
                () = room::due(&self.room) => Vec::new(),
            };
            rests &= items.iter().all(|item| matches!(item, Item::AliveDue));
            let is_alive_due = items.iter().any(|item| matches!(item, Item::AliveDue));
            // Before what came now: it may be newer.
            let mut seen = self.room_news();
            seen.extend(items.into_iter().filter_map(|item| self.open(item)));
            seen.extend(self.disk_news());
            seen.extend(self.clock_news());
            self.turn(seen)?;
            if std::mem::take(&mut self.reload_wanted) {
                self.reload().await?;
            }
            self.ask_for_missed().await?;
            self.look_at_trial()?;
            self.report();
            // Only a whole turn, with its step and its commit, proves that the loop goes round.
            if is_alive_due {
                notify::alive();
            }
        }
        self.store.flush().map_err(|e| e.to_string())
    }

    /// Whether the disk has become short of room, or has room again, since the core was told.
    fn disk_news(&mut self) -> Option<Seen> {
        let pressure = self.store.shortage().map(String::from).or_else(|| self.room.waiting.why());
        if pressure == self.told_shortage {
            return None;
        }
        match &pressure {
            Some(why) => tracing::warn!("{why}"),
            None => tracing::info!("the disk has room again"),
        }
        self.told_shortage.clone_from(&pressure);
        Some(Seen::Disk { pressure })
    }

    /// Whether the clock is kept right now, where that has changed. Asked at each turn: the kernel tells nobody of it, and it is
    /// worth no wake-up. Who sets the clock by a step causes a turn.
    fn clock_news(&mut self) -> Option<Seen> {
        let is = clock_is_synchronised();
        (std::mem::replace(&mut self.told_synchronised, is) != is).then_some(Seen::ClockSynchronised(is))
    }

    /// What an item of the inbox means to the core; nothing where it is for the loop alone.
    fn open(&mut self, item: Item) -> Option<Seen> {
        match item {
            Item::Seen(seen) => {
                self.counters.connected_as_seen(&seen);
                if seen == Seen::Link(LinkSeen::Connected) {
                    self.inbox.report_soon();
                }
                Some(seen)
            }
            Item::Ask(ask, dry_run, caller) => {
                if let Some(why) = self.no_room_for(&ask).filter(|_| !dry_run) {
                    let _ = caller.send((Err(Failure::new(Reason::ServiceUnavailable, why)), Vec::new()));
                    return None;
                }
                self.asks += 1;
                let id = AskId(self.asks);
                self.callers.insert(id, caller);
                Some(Seen::Asked { id, ask, dry_run })
            }
            Item::Update(request) => self.asked_to_change(request),
            Item::Signal => {
                self.stop = match self.stop {
                    Stop::LeavesPods | Stop::Ending | Stop::Now => Stop::Now,
                    Stop::EndsPods => Stop::Ending,
                };
                (self.stop == Stop::Ending).then_some(Seen::StopPods)
            }
            Item::Reload => {
                self.reload_wanted = true;
                None
            }
            Item::Due | Item::ReportDue | Item::AliveDue => None,
        }
    }

    fn turn(&mut self, seen: Vec<Seen>) -> Result<(), String> {
        let now = self.now();
        let observed = Observed { seen };
        let plan = step(&self.state.borrow(), &observed, &now);
        let Observed { seen } = observed;
        if let Some(lack) = self.lack_for(&seen, &plan) {
            return self.turn_apart(seen, lack);
        }
        if let Some(told) = self.trace.seen(&seen) {
            self.trace.tell(told, &plan, &now);
        }
        self.counters.stepped(&plan);
        self.commit(&plan).inspect_err(|why| self.refuse_callers(why))?;
        self.images.recorded(seen.iter().filter(|seen| matches!(seen, Seen::Pulled(_))).count());
        self.alarm.set(plan.wake).map_err(|e| format!("cannot set the timer of the next deadline: {e}"))?;
        for effect in plan.effects {
            self.act(effect);
        }
        self.room.waiting.taken(&seen, &self.state.borrow());
        Ok(())
    }

    /// Why the record that somebody wants kept does not fit the disk: said at the door, as a commit that fails ends the daemon.
    fn no_room_for(&self, ask: &Ask) -> Option<String> {
        match ask {
            Ask::Create(record) | Ask::Replace { record, .. } => self.store.no_room_for(record),
            Ask::Delete { .. } | Ask::Keep { .. } | Ask::Prune | Ask::Drain => None,
        }
    }

    /// A commit has failed: nothing of its turn is done or answered as done, and whoever waits is told why.
    fn refuse_callers(&mut self, why: &str) {
        let text = format!("{why}; the node starts anew: look whether the change was made, and try again");
        let failure = Failure::new(Reason::ServiceUnavailable, text);
        for (_, caller) in std::mem::take(&mut self.callers) {
            let _ = caller.send((Err(failure.clone()), Vec::new()));
        }
    }

    fn now(&self) -> Now {
        let floor = self.state.borrow().node().and_then(|node| node.status.time_floor);
        self.clock.now(floor)
    }

    /// Durable first, then part of the state, then told to watchers.
    fn commit(&mut self, plan: &Plan) -> Result<(), String> {
        if plan.writes.is_empty() {
            return Ok(());
        }
        let mut state = self.state.borrow_mut();
        self.store.commit(state.revision + 1, &plan.writes, plan.durable).map_err(|e| e.to_string())?;
        self.feed.push(&state, &plan.writes);
        state.apply(&plan.writes);
        self.inbox.report_soon();
        Ok(())
    }

    fn act(&mut self, effect: Effect) {
        match effect {
            Effect::Start(_)
            | Effect::Terminate(_)
            | Effect::Kill(_)
            | Effect::Forget(_)
            | Effect::Remove(_)
            | Effect::Project(..) => {
                self.runtime.act(&effect);
            }
            Effect::Answer { id, answer, warnings } => {
                // A caller that hung up has no use for its answer; what it asked for is done all the same.
                if let Some(caller) = self.callers.remove(&id) {
                    let _ = caller.send((answer, warnings));
                }
            }
            Effect::Log(EventType::Normal, line) => tracing::info!("{line}"),
            Effect::Log(EventType::Warning, line) => tracing::warn!("{line}"),
            Effect::Settle(push) => self.tell(Up::Settle(push)),
            Effect::Publish(Publication::Ack { key, revision, body }) => self.tell(Up::Ack { key, revision, body }),
            Effect::Pull(pull) => self.images.pull_for_pods(pull),
            Effect::SweepImages(kept) => self.images.sweep(kept),
            Effect::Hold { push, lack, refused } => self.hold(*push, lack, refused),
            Effect::AllStopped => self.stop = Stop::Now,
        }
    }

    fn tell(&self, up: Up) {
        if let Some(link) = &self.link {
            link.send(up);
        }
    }

    /// Tells the fleet how things stand, no more often than the inbox's pace; the link leaves out what has not changed.
    fn report(&mut self) {
        if self.link.is_none() || !self.inbox.take_report() {
            return;
        }
        let (node, mut objects) = {
            let state = self.state.borrow();
            (status::node_document(&state), status::state_document(&state))
        };
        let unheard = self.link.as_ref().map(LinkHandle::unheard).unwrap_or_default();
        self.counters.unheard.set(unheard.len() as u64);
        if !unheard.is_empty() {
            objects["unheard"] = unheard.into();
        }
        self.counters.waiting.set(self.room.waiting.count() as u64);
        if let Some(waiting) = self.room.waiting.told() {
            objects["waiting"] = waiting;
        }
        if let Some(flash) = self.wear.told(self.now().uptime) {
            objects["flash"] = flash;
        }
        self.tell(Up::Node(node));
        self.tell(Up::State(objects));
    }
}

/// What the API needs of the loop.
fn api_handle(daemon: &Daemon, logs: Rc<dyn api::LogReader>) -> api::Handle {
    let (clock, floor, trace) = (daemon.clock.clone(), daemon.state.clone(), daemon.trace.clone());
    api::Handle {
        state: daemon.state.clone(),
        asks: daemon.inbox.asks(),
        feed: daemon.feed.clone(),
        logs,
        images: Rc::new(daemon.images.clone()),
        updates: Rc::new(daemon.updates.clone()),
        clock: Rc::new(move || clock.now(floor.borrow().node().and_then(|node| node.status.time_floor))),
        metrics: metrics_text(daemon),
        usage: Rc::new(daemon.runtime.usage()),
        trace: Rc::new(move || trace.listen()),
        kept: api::Kept { format: crate::store::FORMAT, data_dir: daemon.config.data_dir.clone() },
    }
}

fn metrics_text(daemon: &Daemon) -> Rc<dyn Fn() -> String> {
    let (state, counters, clock) = (daemon.state.clone(), daemon.counters.clone(), daemon.clock.clone());
    let wear = daemon.wear.clone();
    Rc::new(move || metrics::text(&state.borrow(), &counters, &wear, clock.now(None).uptime))
}
