//! The loop: observe, step, commit, apply, act, report; in that order, always. It carries events in and effects out and
//! decides nothing: what is decided is decided in `core`.

mod crashes;
mod inbox;
mod logs;
mod metrics;
mod notify;
mod start;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use tokio::sync::oneshot;

use crate::api::{self, Answer, Feed};
use crate::clock::{Alarm, Clock};
use crate::core::{status, step};
use crate::link::{LinkHandle, Up};
use crate::model::{AskId, Effect, LinkSeen, Now, Observed, Plan, Publication, Seen, State};
use crate::runtime::Runtime;
use crate::store::Store;
use inbox::{Inbox, Item};
use metrics::Counters;

pub use start::run;

/// Everything that the loop holds.
struct Daemon {
    state: Rc<RefCell<State>>,
    store: Store,
    runtime: Runtime,
    link: Option<LinkHandle>,
    feed: Rc<Feed>,
    clock: Rc<Clock>,
    alarm: Alarm,
    inbox: Inbox,
    counters: Rc<Counters>,
    /// Who waits for an answer.
    callers: BTreeMap<AskId, oneshot::Sender<Answer>>,
    asks: u64,
    stop: Stop,
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
        notify::ready();
        while self.stop != Stop::Now {
            let items = tokio::select! {
                items = self.inbox.next(&self.alarm) => items,
                why = self.runtime.failed() => return Err(why.to_string()),
            };
            let seen: Vec<Seen> = items.into_iter().filter_map(|item| self.open(item)).collect();
            self.turn(seen)?;
            self.report();
        }
        self.store.flush().map_err(|e| e.to_string())
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
                self.asks += 1;
                let id = AskId(self.asks);
                self.callers.insert(id, caller);
                Some(Seen::Asked { id, ask, dry_run })
            }
            Item::Signal => {
                self.stop = match self.stop {
                    Stop::LeavesPods | Stop::Ending | Stop::Now => Stop::Now,
                    Stop::EndsPods => Stop::Ending,
                };
                (self.stop == Stop::Ending).then_some(Seen::StopPods)
            }
            Item::Due | Item::ReportDue => None,
        }
    }

    fn turn(&mut self, seen: Vec<Seen>) -> Result<(), String> {
        let now = self.now();
        let plan = step(&self.state.borrow(), &Observed { seen }, &now);
        self.counters.stepped(&plan);
        self.commit(&plan)?;
        self.alarm.set(plan.wake).map_err(|e| format!("cannot set the timer of the next deadline: {e}"))?;
        for effect in plan.effects {
            self.act(effect);
        }
        Ok(())
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
            Effect::Start(_) | Effect::Terminate(_) | Effect::Kill(_) | Effect::Forget(_) | Effect::Remove(_) => {
                self.runtime.act(&effect);
            }
            Effect::Answer { id, answer, warnings } => {
                // A caller that hung up has no use for its answer; what it asked for is done all the same.
                if let Some(caller) = self.callers.remove(&id) {
                    let _ = caller.send((answer, warnings));
                }
            }
            Effect::Settle(push) => self.tell(Up::Settle(push)),
            Effect::Publish(Publication::Ack { key, revision, body }) => self.tell(Up::Ack { key, revision, body }),
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
        let (node, objects) = {
            let state = self.state.borrow();
            (status::node_document(&state), status::state_document(&state))
        };
        self.tell(Up::Node(node));
        self.tell(Up::State(objects));
    }
}

/// What the API needs of the loop.
fn api_handle(daemon: &Daemon, logs: Rc<dyn api::LogReader>) -> api::Handle {
    let (state, counters, clock) = (daemon.state.clone(), daemon.counters.clone(), daemon.clock.clone());
    let floor = daemon.state.clone();
    api::Handle {
        state: daemon.state.clone(),
        asks: daemon.inbox.asks(),
        feed: daemon.feed.clone(),
        logs,
        clock: Rc::new(move || clock.now(floor.borrow().node().and_then(|node| node.status.time_floor))),
        metrics: Rc::new(move || metrics::text(&state.borrow(), &counters)),
    }
}
