//! From a configuration to a running loop: directories, the spawner before any thread, the store, what the last life left
//! running, the socket, the link.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::DirBuilder;
use std::io::{self, IsTerminal, Read};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use tokio::net::UnixListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch};

use super::crashes::Crashes;
use super::inbox::{Inbox, Item};
use super::logs::Logs;
use super::metrics::Counters;
use super::{Daemon, Stop, api_handle, notify};
use crate::api::{self, Feed};
use crate::clock::{Alarm, Clock};
use crate::config::Config;
use crate::link::{self, LinkSettings, Up};
use crate::model::{Booted, Failure, LinkSeen, Mqtt, Reason, Seen, State, Uid};
use crate::runtime::{CgroupChoice, Dirs, Runtime, Spawner};
use crate::store::Store;

/// Messages of the link that may wait for the loop; the broker holds the rest back.
const LINK_ITEMS_MAX: usize = 64;
/// How long a daemon that died too often holds still before it ends and is started again.
const HOLD: Duration = Duration::from_secs(300);

/// Runs this device's node until it is told to stop. `spawner` was forked before anything else was done.
///
/// # Errors
/// What kept it from starting, or the failure that ended it; for standard error.
pub fn run(config: &Config, spawner: Spawner) -> Result<(), String> {
    log_to_stderr();
    make_dir(&config.data_dir, 0o700)?;
    make_dir(&config.run_dir, 0o755)?;
    let clock = Clock::open().map_err(|e| format!("cannot tell the time: {e}"))?;
    let crashes = Crashes::new(&config.run_dir);
    mark_panics(&config.run_dir, &clock);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|e| format!("cannot start the event loop: {e}"))?;
    let hold = crashes.too_many(clock.now(None).uptime);
    let ended = tokio::task::LocalSet::new().block_on(&runtime, serve(config, spawner, clock.clone(), hold));
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

async fn serve(config: &Config, spawner: Spawner, clock: Clock, hold: bool) -> Result<(), Ended> {
    let (link_in, from_link) = mpsc::channel(LINK_ITEMS_MAX);
    let (mut daemon, booted, listener) = prepare(config, spawner, clock, from_link).map_err(Ended::NotStarted)?;
    let logs = Rc::new(Logs(daemon.runtime.logs()));
    let (stop_api, stopping) = watch::channel(false);
    let server = tokio::task::spawn_local(api::serve(listener, api_handle(&daemon, logs), stopping));
    tracing::info!("node {} answers at {}", config.name, config.socket().display());
    let ended = match (hold, &config.mqtt) {
        (true, _) => hold_still(&mut daemon).await,
        (false, None) => daemon.run(booted).await,
        (false, Some(mqtt)) => linked(&mut daemon, booted, config, mqtt, link_in).await,
    };
    notify::stopping();
    if let Some(link) = daemon.link.take() {
        link.send(Up::Stop);
        link.ended().await;
    }
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
    from_link: mpsc::Receiver<Seen>,
) -> Result<(Daemon, Seen, UnixListener), String> {
    let (store, loaded) = Store::open(&config.data_dir).map_err(|e| e.to_string())?;
    if let Some(note) = &loaded.note {
        tracing::warn!("{note}");
    }
    let state = State::new(loaded.revision, loaded.records, config.settings.clone());
    let (seen_in, seen) = mpsc::unbounded_channel();
    let dirs = Dirs { data: config.data_dir.clone(), run: config.run_dir.clone() };
    let cgroup = config.cgroup_root.clone().map_or(CgroupChoice::Auto, CgroupChoice::Path);
    let mut runtime = Runtime::open(spawner, dirs, &cgroup, seen_in)
        .map_err(|e| format!("cannot prepare to run containers with {}: {e}", config.run_dir.display()))?;
    let booted = boot_report(config, &mut runtime)?;
    let listener =
        api::bind(&config.socket()).map_err(|e| format!("cannot listen at {}: {e}", config.socket().display()))?;
    let signals = [listen_for(SignalKind::terminate())?, listen_for(SignalKind::interrupt())?];
    let daemon = Daemon {
        feed: Rc::new(Feed::new(state.revision)),
        state: Rc::new(RefCell::new(state)),
        store,
        runtime,
        link: None,
        clock: Rc::new(clock),
        alarm: Alarm::new().map_err(|e| format!("cannot make a timer: {e}"))?,
        inbox: Inbox::new(seen, from_link, signals),
        counters: Rc::new(Counters::default()),
        callers: BTreeMap::new(),
        asks: 0,
        stop: if config.stop_pods { Stop::EndsPods } else { Stop::LeavesPods },
    };
    Ok((daemon, booted, listener))
}

fn boot_report(config: &Config, runtime: &mut Runtime) -> Result<Seen, String> {
    let (found, pods_on_disk) = runtime.scan().map_err(|e| format!("cannot look for what is running already: {e}"))?;
    let mut bytes = [0; 16];
    let random = std::fs::File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes));
    random.map_err(|e| format!("cannot read /dev/urandom: {e}"))?;
    Ok(Seen::Booted(Box::new(Booted {
        node_name: config.name.clone(),
        identity: Uid::from_random(bytes),
        labels: config.labels.clone(),
        groups: config.groups.clone(),
        facts: runtime.facts(),
        found,
        pods_on_disk,
    })))
}

/// The first turn numbers the connections of this life, so the link starts after it.
async fn linked(
    daemon: &mut Daemon,
    booted: Seen,
    config: &Config,
    mqtt: &Mqtt,
    seen: mpsc::Sender<Seen>,
) -> Result<(), String> {
    daemon.turn(vec![booted])?;
    let settings = LinkSettings {
        mqtt: mqtt.clone(),
        fleet: config.fleet.clone(),
        node: config.name.clone(),
        groups: config.groups.clone(),
        boot: daemon.now().boot,
        connections_before: daemon.state.borrow().node().map_or(0, |node| node.status.connections),
        decode: link::manifests(),
    };
    daemon.link = Some(link::start(settings, seen));
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
                Item::Seen(_) | Item::Due | Item::ReportDue => {}
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

/// Log lines on standard error; under systemd with the priority that journald reads, elsewhere with the time.
fn log_to_stderr() {
    let to_journal = std::env::var_os("JOURNAL_STREAM").is_some();
    let builder = tracing_subscriber::fmt().with_writer(io::stderr).with_max_level(tracing::Level::INFO);
    // A second node in one process (tests) keeps the first one's subscriber.
    let _ = if to_journal {
        tracing::subscriber::set_global_default(builder.without_time().with_ansi(false).finish())
    } else {
        tracing::subscriber::set_global_default(builder.with_ansi(io::stderr().is_terminal()).finish())
    };
}
