//! Holds still where going on would only end the daemon again: its store cannot be opened for the sake of the medium, or it
//! died of itself too often. Pods go on, the API says why, and it tries again by itself.

use std::convert::Infallible;
use std::future::pending;
use std::path::Path;
use std::time::Duration;

use tokio::net::UnixListener;
use tokio::time::{interval_at, sleep};

use super::inbox::{Item, Signals};
use super::{Daemon, lock, notify};
use crate::api;
use crate::config::Config;
use crate::model::{Failure, Reason};
use crate::store::{Loaded, OpenError, Store};

/// How long a daemon that died too often holds still before it ends and is started again.
const HOLD: Duration = Duration::from_secs(300);
/// Where it is the disk that has no room, which somebody may make at any time.
const HOLD_FULL: Duration = Duration::from_secs(60);
/// The store is tried again after this time, then after twice as long, up to the second.
const RETRY_FIRST: Duration = Duration::from_secs(1);
const RETRY_LAST: Duration = Duration::from_secs(60);

/// Opens the store. A medium that refuses the store of a node that was here before may be mended under it (mounted writable,
/// given room, plugged in again), so it is waited for. None: told to stop meanwhile.
///
/// # Errors
/// Everything that a person must put right: a directory that is not theirs, another node's, a newer release's.
pub async fn open_store(config: &Config, signals: &mut Signals) -> Result<Option<(Store, Loaded)>, OpenError> {
    let mut why = match open(&config.data_dir).await {
        Err(why) if may_pass(&why, &config.data_dir) => why,
        opened => return opened.map(Some),
    };
    // Who listens there, if somebody does, is not to be disturbed.
    let Ok(listener) = api::bind(&config.socket()) else { return Err(why) };
    notify::ready();
    let mut delay = RETRY_FIRST;
    loop {
        tracing::error!("{why}; pods go on, and it is tried again in {delay:?}");
        notify::status(&format!("waiting for the disk: {why}"));
        tokio::select! {
            never = refuse_all(&listener, &why) => match never {},
            never = feed_watchdog() => match never {},
            () = signals.stop() => return Ok(None),
            () = sleep(delay) => {}
        }
        why = match Store::open(&config.data_dir) {
            Err(why) if may_pass(&why, &config.data_dir) => why,
            // Most likely by `store dump`, which reads the file meanwhile.
            Err(why @ OpenError::Locked(_)) => why,
            opened => return opened.map(Some),
        };
        delay = (delay * 2).min(RETRY_LAST);
    }
}

/// Opens the store, from a daemon that is just letting go of it as well.
///
/// # Errors
/// As `Store::open`.
pub async fn open(data_dir: &Path) -> Result<(Store, Loaded), OpenError> {
    lock::patiently(|| Store::open(data_dir), |why| matches!(why, OpenError::Locked(_))).await
}

/// Whether the medium is to blame, and a node has lived there: a new one whose directory cannot be used tells its owner at once.
fn may_pass(why: &OpenError, data_dir: &Path) -> bool {
    why.is_of_the_medium() && Store::may_be_in(data_dir)
}

async fn refuse_all(listener: &UnixListener, why: &OpenError) -> Infallible {
    let text = format!("the node waits for its disk and tries again by itself; pods go on: {why}");
    api::refuse_all(listener, &Failure::new(Reason::ServiceUnavailable, text)).await
}

async fn feed_watchdog() -> Infallible {
    let Some(every) = notify::alive_every() else { return pending().await };
    let mut due = interval_at(tokio::time::Instant::now() + every, every);
    loop {
        due.tick().await;
        notify::alive();
    }
}

/// The daemon died of itself again and again: it decides nothing, so that a person can look at it through the API, and
/// tries again after a while. Pods go on.
pub async fn after_deaths(daemon: &mut Daemon) -> Result<(), String> {
    let hold = if daemon.store.shortage().is_some() { HOLD_FULL } else { HOLD };
    tracing::error!(
        "this daemon died of itself too often within two minutes: it holds still for {hold:?}; see its log"
    );
    notify::ready();
    notify::status("holding still after repeated failures; see the log");
    daemon.inbox.alive_every(notify::alive_every());
    let until = sleep(hold);
    tokio::pin!(until);
    while !daemon.gives_way {
        let items = tokio::select! {
            items = daemon.inbox.next(&daemon.alarm) => items,
            () = &mut until => return Ok(()),
        };
        for item in items {
            match item {
                Item::Ask(_, _, caller) => {
                    let text = "the node holds still after repeated failures; see its log";
                    let _ = caller.send((Err(Failure::new(Reason::ServiceUnavailable, text)), Vec::new()));
                }
                Item::Signal => return Ok(()),
                Item::AliveDue => notify::alive(),
                // It may be the cure.
                Item::Update(request) => drop(daemon.asked_to_change(request)),
                Item::Seen(_) | Item::Reload | Item::Due | Item::ReportDue => {}
            }
        }
    }
    Ok(())
}
