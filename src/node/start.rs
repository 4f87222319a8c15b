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
use super::inbox::{Inbox, Signals};
use super::logs::Logs;
use super::metrics::Counters;
use super::reload::Reread;
use super::room::Room;
use super::update::{Updates, Watch};
use super::wear::{self, Wear};
use super::{Daemon, Stop, api_handle, hold, lock, logging, metrics_text, notify, port};
use crate::api::{self, Feed};
use crate::clock::{Alarm, Clock};
use crate::config::Config;
use crate::image::registry::Registries;
use crate::image::{self, Bounds};
use crate::link::Before;
use crate::model::node::Facts;
use crate::model::{Booted, LinkSeen, Mqtt, Seen, State, Uid};
use crate::runtime::{CgroupChoice, Dirs, Runtime, Spawner, wait_for};
use crate::store::{Loaded, Store};
use crate::update::{Here, Home, launch, leave};

/// Messages of the link that may wait for the loop; the broker holds the rest back.
const LINK_ITEMS_MAX: usize = 64;

/// Runs this device's node until it is told to stop. `spawner` was forked before anything else was done; `reread` reads the
/// settings again at SIGHUP; `here` says which program this is. Where another version is to take over, it does so in this
/// very process, and nothing returns.
///
/// # Errors
/// What kept it from starting, or the failure that ended it; for standard error.
pub fn run(config: &Config, spawner: Spawner, reread: Reread, here: &Here) -> Result<(), String> {
    let written = wear::written();
    logging::begin(config.log_level);
    make_run_dir(&config.run_dir)?;
    let clock = Clock::open().map_err(|e| format!("cannot tell the time: {e}"))?;
    let crashes = Crashes::new(&config.run_dir);
    mark_panics(&config.run_dir, &clock);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|e| format!("cannot start the event loop: {e}"))?;
    let shims = spawner.pid();
    let parts = Parts { spawner, clock: clock.clone(), reread, here: here.clone(), written };
    let ended = tokio::task::LocalSet::new().block_on(&runtime, serve(config, parts, &crashes));
    // Reading and parsing beside the loop has nobody left to tell.
    runtime.shutdown_background();
    if changes_program(config, here, &ended, &crashes, clock.now(None).uptime) {
        wait_for(shims);
        let why = leave(&here.installed);
        return Err(format!("cannot start {} in the place of this program: {why}", here.installed.display()));
    }
    match ended {
        Ok(_) => {
            crashes.forget();
            Ok(())
        }
        Err(Ended::NotStarted(why)) => Err(why),
        Err(Ended::Died { why, .. }) => {
            Err(format!("{why}; pods go on, and the next start goes on from what is on disk"))
        }
    }
}

/// Whether another version is to take over: it was asked for, or this one is on trial and cannot go on. A death leaves
/// its mark in either case: what takes over may die of the same disk.
fn changes_program(
    config: &Config,
    here: &Here,
    ended: &Result<bool, Ended>,
    crashes: &Crashes,
    uptime: Duration,
) -> bool {
    if matches!(ended, Err(Ended::Died { .. })) {
        crashes.mark(uptime);
    }
    match ended {
        Ok(gives_way) => *gives_way,
        Err(Ended::Died { on_trial: false, .. }) => false,
        Err(Ended::NotStarted(why) | Ended::Died { why, on_trial: true }) => {
            launch::give_up(&Home::of(&config.data_dir), here, why)
        }
    }
}

/// What the daemon is made of, beside its settings.
struct Parts {
    spawner: Spawner,
    clock: Clock,
    reread: Reread,
    here: Here,
    /// What this process had written before.
    written: u64,
}

enum Ended {
    /// It never came up; nothing was touched.
    NotStarted(String),
    /// It ran and cannot go on; a version that was on trial when it started may have proved itself before.
    Died { why: String, on_trial: bool },
}

/// True: another version of this program takes over.
async fn serve(config: &Config, parts: Parts, crashes: &Crashes) -> Result<bool, Ended> {
    let mut signals = listen().map_err(Ended::NotStarted)?;
    // Before anything is made: a node that typed the wrong directory leaves nothing behind.
    let _ours = lock::take_run_dir(&config.run_dir).await.map_err(Ended::NotStarted)?;
    let is_on_trial = parts.here.trial.is_some();
    // A version on trial gives way instead of waiting or holding still.
    let opened = match is_on_trial {
        true => hold::open(&config.data_dir).await.map(Some),
        false => hold::open_store(config, &mut signals).await,
    };
    let Some(opened) = opened.map_err(|e| Ended::NotStarted(e.to_string()))? else { return Ok(false) };
    let hold = !is_on_trial && crashes.too_many(parts.clock.now(None).uptime);
    let (mut daemon, booted, listener) = prepare(config, parts, opened, signals).map_err(Ended::NotStarted)?;
    let logs = Rc::new(Logs(daemon.runtime.logs()));
    let (stop_api, stopping) = watch::channel(false);
    let port = config.metrics_address.map(port::listen).transpose().map_err(Ended::NotStarted)?;
    let port = port.map(|listener| tokio::task::spawn_local(port::serve(listener, metrics_text(&daemon))));
    let server = tokio::task::spawn_local(api::serve(listener, api_handle(&daemon, logs), stopping));
    tracing::info!(node = config.name, "node {} answers at {}", config.name, config.socket().display());
    let ended = match (hold, &config.mqtt) {
        (true, _) => hold::after_deaths(&mut daemon).await,
        (false, None) => daemon.run(booted).await,
        (false, Some(mqtt)) => linked(&mut daemon, booted, mqtt).await,
    };
    if daemon.gives_way {
        notify::status("another version of pinnace takes over");
        // It has a whole interval to come up in.
        notify::alive();
    } else {
        notify::stopping();
    }
    daemon.unlink().await;
    port.inspect(tokio::task::JoinHandle::abort);
    let _ = stop_api.send(true);
    if let Err(e) = server.await {
        tracing::warn!("the API ended badly: {e}");
    }
    let _ = std::fs::remove_file(config.socket());
    let on_trial = daemon.watch.is_some();
    ended.map_err(|why| Ended::Died { why, on_trial })?;
    // Who was told to end meanwhile ends; a trial that was begun is taken up at the next start.
    Ok(daemon.gives_way && !daemon.inbox.was_told_to_end().await)
}

/// Everything that can go wrong before anything is done.
fn prepare(
    config: &Config,
    parts: Parts,
    (store, loaded): (Store, Loaded),
    signals: Signals,
) -> Result<(Daemon, Seen, UnixListener), String> {
    let Parts { spawner, clock, reread, here, written } = parts;
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
    let (link_in, from_link) = mpsc::channel(LINK_ITEMS_MAX);
    let wear = Rc::new(Wear::of(&config.data_dir, clock.now(None).uptime, written));
    let began = clock.now(None).uptime;
    let watch = here.trial.clone().map(|trial| Watch::new(trial, began, config.socket()));
    let (updates, to_update) = Updates::new(config, here);
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
        inbox: Inbox::new(seen, from_link, to_update, signals),
        counters: Rc::new(Counters::default()),
        wear,
        callers: BTreeMap::new(),
        asks: 0,
        told_shortage: None,
        told_synchronised: None,
        room: Room::default(),
        stop: if config.stop_pods { Stop::EndsPods } else { Stop::LeavesPods },
        updates,
        watch,
        gives_way: false,
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

fn make_run_dir(path: &Path) -> Result<(), String> {
    let made = DirBuilder::new().recursive(true).mode(0o755).create(path);
    made.map_err(|e| format!("cannot make the directory {}: {e}; see --run-dir", path.display()))
}

fn listen() -> Result<Signals, String> {
    Ok(Signals {
        terminate: listen_for(SignalKind::terminate())?,
        interrupt: listen_for(SignalKind::interrupt())?,
        hangup: listen_for(SignalKind::hangup())?,
    })
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Timestamp;
    use crate::model::update::{Program, Trial, Which};

    /// On a disk that gives nothing back, the list of versions cannot be read either.
    #[test]
    fn each_death_is_marked_and_only_a_trial_gives_way() {
        let dir = tempfile::tempdir().unwrap();
        let config = Config { data_dir: dir.path().to_path_buf(), ..Config::defaults(|_| None) };
        let home = Home::of(dir.path());
        home.make().unwrap();
        std::fs::write(home.dir().join("state.json"), "garbage").unwrap();
        let program = Program { which: Which::Installed, version: "9.9.9".into() };
        let trial = Trial { program, starts: 1, within_s: 4, needs_broker: false, begun: Timestamp::EPOCH };
        // The last one has proved itself before it dies.
        for (trial, on_trial, gives_way) in
            [(None, false, false), (Some(trial.clone()), true, true), (Some(trial), false, false)]
        {
            let here = Here { which: Which::Installed, installed: "/nowhere".into(), trial };
            let (crashes, now) = (Crashes::new(dir.path()), Duration::from_secs(1000));
            crashes.forget();
            for _ in 0..5 {
                assert!(!crashes.too_many(now));
                let died = Err(Ended::Died { why: "EIO".into(), on_trial });
                assert_eq!(changes_program(&config, &here, &died, &crashes, now), gives_way);
            }
            assert!(crashes.too_many(now));
        }
    }
}
