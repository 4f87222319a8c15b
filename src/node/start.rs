//! From a configuration to a running loop: directories, the spawner before any thread, the store, what the last life left
//! running, the socket, the link.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::DirBuilder;
use std::io::Read;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use tokio::net::UnixListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch};

use super::crashes::Crashes;
use super::images::Images;
use super::inbox::{Inbox, Item, Signals};
use super::logs::Logs;
use super::metrics::Counters;
use super::reload::Reread;
use super::{Daemon, Stop, api_handle, logging, metrics_text, notify, port};
use crate::api::{self, Feed};
use crate::clock::{Alarm, Clock};
use crate::config::Config;
use crate::image::registry::Registries;
use crate::image::{self, Bounds};
use crate::link::Before;
use crate::model::node::Facts;
use crate::model::{Booted, Failure, LinkSeen, Mqtt, Reason, Seen, State, Uid};
use crate::runtime::{CgroupChoice, Dirs, Runtime, Spawner};
use crate::store::Store;

/// Messages of the link that may wait for the loop; the broker holds the rest back.
const LINK_ITEMS_MAX: usize = 64;
/// How long a daemon that died too often holds still before it ends and is started again.
const HOLD: Duration = Duration::from_secs(300);

/// Runs this device's node until it is told to stop. `spawner` was forked before anything else was done; `reread` reads the
/// settings again at SIGHUP.
///
/// # Errors
/// What kept it from starting, or the failure that ended it; for standard error.
pub fn run(config: &Config, spawner: Spawner, reread: Reread) -> Result<(), String> {
    logging::begin(config.log_level);
    make_dir(&config.data_dir, 0o700)?;
    make_dir(&config.run_dir, 0o755)?;
    let clock = Clock::open().map_err(|e| format!("cannot tell the time: {e}"))?;
    let crashes = Crashes::new(&config.run_dir);
    mark_panics(&config.run_dir, &clock);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|e| format!("cannot start the event loop: {e}"))?;
    let hold = crashes.too_many(clock.now(None).uptime);
    let ended = tokio::task::LocalSet::new().block_on(&runtime, serve(config, spawner, clock.clone(), hold, reread));
    // Reading and parsing beside the loop has nobody left to tell.
    runtime.shutdown_background();
    match ended {
        Ok(()) => {
            crashes.forget();
            Ok(())
        }
        Err(Ended::NotStarted(why)) => Err(why),
        Err(Ended::Died(why)) => {
            crashes.mark(clock.now(None).uptime);
            Err(format!("{why}; pods go on, and the next start goes on from what is on disk"))
        }
    }
}

enum Ended {
    /// It never came up; nothing was touched.
    NotStarted(String),
    /// It ran and cannot go on.
    Died(String),
}

async fn serve(config: &Config, spawner: Spawner, clock: Clock, hold: bool, reread: Reread) -> Result<(), Ended> {
    let (mut daemon, booted, listener) = prepare(config, spawner, clock, reread).map_err(Ended::NotStarted)?;
    let logs = Rc::new(Logs(daemon.runtime.logs()));
    let (stop_api, stopping) = watch::channel(false);
    let port = config.metrics_address.map(port::listen).transpose().map_err(Ended::NotStarted)?;
    let port = port.map(|listener| tokio::task::spawn_local(port::serve(listener, metrics_text(&daemon))));
    let server = tokio::task::spawn_local(api::serve(listener, api_handle(&daemon, logs), stopping));
    tracing::info!(node = config.name, "node {} answers at {}", config.name, config.socket().display());
    let ended = match (hold, &config.mqtt) {
        (true, _) => hold_still(&mut daemon).await,
        (false, None) => daemon.run(booted).await,
        (false, Some(mqtt)) => linked(&mut daemon, booted, mqtt).await,
    };
    notify::stopping();
    daemon.unlink().await;
    port.inspect(tokio::task::JoinHandle::abort);
    let _ = stop_api.send(true);
    if let Err(e) = server.await {
        tracing::warn!("the API ended badly: {e}");
    }
    let _ = std::fs::remove_file(config.socket());
    ended.map_err(Ended::Died)
}

/// Everything that can go wrong before anything is done.
fn prepare(
    config: &Config,
    spawner: Spawner,
    clock: Clock,
    reread: Reread,
) -> Result<(Daemon, Seen, UnixListener), String> {
    let (store, loaded) = Store::open(&config.data_dir).map_err(|e| e.to_string())?;
    if let Some(note) = &loaded.note {
        tracing::warn!("{note}");
    }
    let state = State::new(loaded.revision, loaded.records, config.settings.clone());
    let (seen_in, seen) = mpsc::unbounded_channel();
    let images = images(config, seen_in.clone())?;
    let dirs = Dirs { data: config.data_dir.clone(), run: config.run_dir.clone() };
    let cgroup = config.cgroup_root.clone().map_or(CgroupChoice::Auto, CgroupChoice::Path);
    let mut runtime = Runtime::open(spawner, dirs, &cgroup, seen_in)
        .map_err(|e| format!("cannot prepare to run containers with {}: {e}", config.run_dir.display()))?;
    let booted = boot_report(config, &mut runtime, &images, store.shortage())?;
    let listener =
        api::bind(&config.socket()).map_err(|e| format!("cannot listen at {}: {e}", config.socket().display()))?;
    let signals = Signals {
        terminate: listen_for(SignalKind::terminate())?,
        interrupt: listen_for(SignalKind::interrupt())?,
        hangup: listen_for(SignalKind::hangup())?,
    };
    let (link_in, from_link) = mpsc::channel(LINK_ITEMS_MAX);
    let daemon = Daemon {
        feed: Rc::new(Feed::new(state.revision)),
        state: Rc::new(RefCell::new(state)),
        store,
        runtime,
        images,
        link: None,
        link_in,
        linked_before: Before::default(),
        config: config.clone(),
        reread,
        reload_wanted: false,
        trace: Rc::default(),
        clock: Rc::new(clock),
        alarm: Alarm::new().map_err(|e| format!("cannot make a timer: {e}"))?,
        inbox: Inbox::new(seen, from_link, signals),
        counters: Rc::new(Counters::default()),
        callers: BTreeMap::new(),
        asks: 0,
        told_shortage: None,
        stop: if config.stop_pods { Stop::EndsPods } else { Stop::LeavesPods },
    };
    Ok((daemon, booted, listener))
}

/// The image store below the data directory, and the way to registries.
fn images(config: &Config, seen: mpsc::UnboundedSender<Seen>) -> Result<Images, String> {
    let store = image::Store::open(&config.data_dir, bounds_of_images(config)?).map_err(|e| e.to_string())?;
    Ok(Images::new(store, Registries::new(&config.images.registries), seen))
}

/// What the settings, and the size of the disk where they leave it open, let the image store take.
pub(super) fn bounds_of_images(config: &Config) -> Result<Bounds, String> {
    let disk = image::disk(&config.data_dir).map_err(|e| e.to_string())?;
    Ok(Bounds {
        reserve_bytes: config.images.reserve_of(disk.total),
        image_bytes_max: config.images.image_bytes_max,
        images_bytes_max: config.settings.images_bytes_max,
    })
}

fn boot_report(
    config: &Config,
    runtime: &mut Runtime,
    images: &Images,
    shortage: Option<&str>,
) -> Result<Seen, String> {
    let (found, pods_on_disk) = runtime.scan().map_err(|e| format!("cannot look for what is running already: {e}"))?;
    let mut bytes = [0; 16];
    let random = std::fs::File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes));
    random.map_err(|e| format!("cannot read /dev/urandom: {e}"))?;
    Ok(Seen::Booted(Box::new(Booted {
        node_name: config.name.clone(),
        identity: Uid::from_random(bytes),
        labels: config.labels.clone(),
        groups: config.groups.clone(),
        facts: Facts { disk_pressure: shortage.map(String::from), ..runtime.facts() },
        found,
        images: images.found(),
        pods_on_disk,
    })))
}

/// The first turn numbers the connections of this life, so the link starts after it.
async fn linked(daemon: &mut Daemon, booted: Seen, mqtt: &Mqtt) -> Result<(), String> {
    daemon.turn(vec![booted])?;
    daemon.link_to(mqtt.clone());
    daemon.run(Seen::Link(LinkSeen::Lost)).await
}

/// The daemon died of itself again and again: it decides nothing, so that a person can look at it through the API, and
/// tries again after a while. Pods go on.
async fn hold_still(daemon: &mut Daemon) -> Result<(), String> {
    tracing::error!(
        "this daemon died of itself too often within two minutes: it holds still for {HOLD:?}; see its log"
    );
    notify::ready();
    notify::status("holding still after repeated failures; see the log");
    daemon.inbox.alive_every(notify::alive_every());
    let until = tokio::time::sleep(HOLD);
    tokio::pin!(until);
    loop {
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
                Item::Seen(_) | Item::Reload | Item::Due | Item::ReportDue => {}
            }
        }
    }
}

fn make_dir(path: &Path, mode: u32) -> Result<(), String> {
    let made = DirBuilder::new().recursive(true).mode(mode).create(path);
    made.map_err(|e| format!("cannot make the directory {}: {e}; see --data-dir and --run-dir", path.display()))
}

fn listen_for(kind: SignalKind) -> Result<Signal, String> {
    signal(kind).map_err(|e| format!("cannot listen for signal {}: {e}", kind.as_raw_value()))
}

/// A broken invariant ends the daemon; it leaves a mark, so that one that breaks at each start can be noticed.
fn mark_panics(run_dir: &Path, clock: &Clock) {
    let (run_dir, clock) = (run_dir.to_path_buf(), clock.clone());
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        Crashes::new(&run_dir).mark(clock.now(None).uptime);
        usual(info);
    }));
}
