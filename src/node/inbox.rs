//! Everything that waits for the loop, taken together: one turn serves all of it with one commit.

use std::time::Duration;

use tokio::signal::unix::Signal;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};

use super::update;
use crate::api::{Answer, Asked};
use crate::clock::Alarm;
use crate::model::{Ask, Seen};

/// Items of one turn; what is beyond waits for the next.
const TURN_ITEMS_MAX: usize = 1024;
/// Requests that wait; a caller beyond them waits before it may ask.
const ASKS_MAX: usize = 64;
/// Changes are reported to the fleet together, this long after the first of them.
const REPORT_PACE: Duration = Duration::from_secs(1);

pub enum Item {
    Seen(Seen),
    Ask(Ask, bool, oneshot::Sender<Answer>),
    /// Another version of this program is to run.
    Update(update::Request),
    /// SIGTERM or SIGINT.
    Signal,
    /// SIGHUP: read the settings again.
    Reload,
    /// A deadline of the last step has come, or the clock was set.
    Due,
    ReportDue,
    /// Somebody waits to hear that the loop goes round.
    AliveDue,
}

/// What the daemon listens for.
pub struct Signals {
    pub terminate: Signal,
    pub interrupt: Signal,
    pub hangup: Signal,
}

impl Signals {
    /// Waits for SIGTERM or SIGINT. Dropping the future loses none.
    pub async fn stop(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

pub struct Inbox {
    runtime: mpsc::UnboundedReceiver<Seen>,
    link: mpsc::Receiver<Seen>,
    asks: mpsc::Receiver<Asked>,
    asks_in: mpsc::Sender<Asked>,
    updates: mpsc::Receiver<update::Request>,
    signals: Signals,
    report_at: Option<Instant>,
    report_due: bool,
    /// How often to say that the loop goes round, and when next.
    alive: Option<(Duration, Instant)>,
}

impl Inbox {
    pub fn new(
        runtime: mpsc::UnboundedReceiver<Seen>,
        link: mpsc::Receiver<Seen>,
        updates: mpsc::Receiver<update::Request>,
        signals: Signals,
    ) -> Inbox {
        let (asks_in, asks) = mpsc::channel(ASKS_MAX);
        Inbox { runtime, link, asks, asks_in, updates, signals, report_at: None, report_due: false, alive: None }
    }

    /// From now on an `AliveDue` comes this often; never where there is no interval.
    pub fn alive_every(&mut self, interval: Option<Duration>) {
        self.alive = interval.map(|interval| (interval, Instant::now() + interval));
    }

    pub fn asks(&self) -> mpsc::Sender<Asked> {
        self.asks_in.clone()
    }

    /// Waits for the first item and takes everything else that is there.
    pub async fn next(&mut self, alarm: &Alarm) -> Vec<Item> {
        let report = until(self.report_at);
        let alive = until(self.alive.map(|(_, at)| at));
        let Signals { terminate, interrupt, hangup } = &mut self.signals;
        let first = tokio::select! {
            Some(seen) = self.runtime.recv() => Item::Seen(seen),
            Some(seen) = self.link.recv() => Item::Seen(seen),
            Some((ask, dry_run, caller)) = self.asks.recv() => Item::Ask(ask, dry_run, caller),
            Some(request) = self.updates.recv() => Item::Update(request),
            _ = terminate.recv() => Item::Signal,
            _ = interrupt.recv() => Item::Signal,
            _ = hangup.recv() => Item::Reload,
            rang = alarm.rang() => match rang {
                Ok(_) => Item::Due,
                // A timer that cannot be read will not ring; what is due is then found with whatever comes next.
                Err(e) => {
                    tracing::error!("cannot read the timer: {e}");
                    Item::Due
                }
            },
            () = report => Item::ReportDue,
            () = alive => Item::AliveDue,
        };
        if matches!(first, Item::ReportDue) {
            self.report_at = None;
            self.report_due = true;
        }
        let mut items = vec![first];
        if self.alive_is_due() {
            items.push(Item::AliveDue);
        }
        self.take_waiting(&mut items);
        items
    }

    /// Also asked when something else came first: under load the watchdog must not starve.
    fn alive_is_due(&mut self) -> bool {
        let now = Instant::now();
        let Some((interval, at)) = &mut self.alive else { return false };
        let is_due = *at <= now;
        if is_due {
            *at = now + *interval;
        }
        is_due
    }

    fn take_waiting(&mut self, items: &mut Vec<Item>) {
        while items.len() < TURN_ITEMS_MAX {
            let next = (self.runtime.try_recv().ok().map(Item::Seen))
                .or_else(|| self.link.try_recv().ok().map(Item::Seen))
                .or_else(|| self.asks.try_recv().ok().map(|(ask, dry_run, caller)| Item::Ask(ask, dry_run, caller)));
            let Some(next) = next else { return };
            items.push(next);
        }
    }

    /// Whether somebody has asked the daemon to end since the last turn.
    pub async fn was_told_to_end(&mut self) -> bool {
        let Signals { terminate, interrupt, .. } = &mut self.signals;
        tokio::select! {
            biased;
            _ = terminate.recv() => true,
            _ = interrupt.recv() => true,
            () = std::future::ready(()) => false,
        }
    }

    /// Something changed that the fleet may want to know.
    pub fn report_soon(&mut self) {
        self.report_at.get_or_insert_with(|| Instant::now() + REPORT_PACE);
    }

    /// Whether it is time to report; asked once.
    pub fn take_report(&mut self) -> bool {
        std::mem::take(&mut self.report_due)
    }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}
