//! Carries out effects on Linux and reports what it sees. Makes no choices: which attempt starts, stops or is forgotten is
//! said to it, and it knows no pod but by the attempts it was told of.
//!
//! ```text
//! daemon ── order ──► spawner ── fork ──► shim ── fork ──► the container's first process
//!    ▲                                     │
//!    └──── inotify on the claim ───────────┴─► log, exit record
//! ```
//!
//! The daemon never waits for a process. What it is told, it is told by the attempt's claim (`claim`): a file that the shim
//! holds open for life, so that its end is told by the kernel, whoever ended it and whether a daemon ran or not.

mod caps;
mod cgroup;
mod child;
mod claim;
mod descent;
mod evidence;
mod facts;
mod home;
mod init;
mod layers;
mod logfile;
mod logs;
mod mounts;
mod order;
mod outgrown;
mod paths;
pub mod probe;
mod record;
pub mod rest;
mod rootfs;
mod seat;
mod seccomp;
mod shim;
mod spawner;
mod sweep;
mod sys;
mod system;
mod usage;
mod user;
mod volumes;
mod walk;
mod watch;
mod xattr;

use std::collections::BTreeMap;
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::UnixStream as Socket;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::sys::inotify::{AddWatchFlags, InotifyEvent};
use nix::sys::signal::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;
use tokio::task::{JoinSet, spawn_blocking};

use crate::model::node::Facts;
use crate::model::usage::Usage;
use crate::model::{AttemptId, BootId, Effect, Exit, Found, HowEnded, Launch, Seen, Uid};

pub use home::CgroupChoice;
pub use logs::Logs;
pub use paths::Dirs;
pub use spawner::{Spawner, wait_for};

use home::Tree;
use order::{Groups, Order, Reply, Start};
use outgrown::Sizes;
use volumes::Projections;
use watch::Watch;

/// How long until a volume whose content could not be replaced (a full disk) is tried again.
const PROJECT_AGAIN: Duration = Duration::from_secs(60);

/// The daemon's side. Dropping it ends the spawner and leaves every container running.
pub struct Runtime {
    shared: Arc<Shared>,
    facts: Facts,
    orders: mpsc::UnboundedSender<Vec<u8>>,
    /// The tasks that listen, and those that look after volumes; each ends only with what went wrong.
    listeners: JoinSet<io::Error>,
}

/// What the listeners and the slow work beside the loop need as well.
struct Shared {
    dirs: Dirs,
    boot: BootId,
    tree: Option<Tree>,
    out: mpsc::UnboundedSender<Seen>,
    attempts: Mutex<BTreeMap<AttemptId, Watched>>,
    projections: Projections,
    sizes: Sizes,
}

/// What is known of an attempt that was ordered or found, until it is forgotten.
#[derive(Debug, Default)]
struct Watched {
    /// `Started` was reported.
    started: bool,
    /// Its end was reported, or is about to be.
    over: bool,
    /// To be sent as soon as it is known to whom.
    signal: Option<Signal>,
}

impl Runtime {
    /// Makes the directories and control groups, and waits until the spawner of an earlier daemon has worked off its
    /// orders. `out` gets `Started` and `Exited` from now on. To be called inside tokio.
    ///
    /// # Errors
    /// A directory cannot be made or watched, or the spawner is gone. Missing control groups are no error (`facts`).
    pub fn open(
        spawner: Spawner,
        dirs: Dirs,
        cgroup: &CgroupChoice,
        out: mpsc::UnboundedSender<Seen>,
    ) -> io::Result<Runtime> {
        make_dirs(&dirs)?;
        let dirs = Dirs { data: absolute(&dirs.data)?, run: absolute(&dirs.run)? };
        let home = home::settle(cgroup, &dirs.data, spawner.pid);
        greet(&spawner.socket, &dirs)?;
        let watch = Watch::new()?;
        watch.add(&dirs.claims(), AddWatchFlags::IN_MODIFY | AddWatchFlags::IN_CLOSE_WRITE)?;
        let (facts, boot) = (facts::gather(&home), sys::boot_id()?);
        let (projections, sizes) = (Projections::default(), Sizes::default());
        let shared =
            Arc::new(Shared { dirs, boot, tree: home.tree, out, attempts: Mutex::default(), projections, sizes });
        let (orders, waiting) = mpsc::unbounded_channel();
        let mut listeners = JoinSet::new();
        spawner.socket.set_nonblocking(true)?;
        let (from, to) = UnixStream::from_std(spawner.socket)?.into_split();
        listeners.spawn(talk(shared.clone(), from, to, waiting));
        listeners.spawn(listen(shared.clone(), watch));
        listeners.spawn(project(shared.clone()));
        listeners.spawn(measure(shared.clone()));
        Ok(Runtime { shared, facts, orders, listeners })
    }

    /// What this host is and offers.
    pub fn facts(&self) -> Facts {
        self.facts.clone()
    }

    /// The logs of this node's containers; can be used beside the loop.
    pub fn logs(&self) -> Logs {
        Logs::new(self.shared.dirs.clone(), self.shared.boot.clone())
    }

    /// What the containers and the host use now; can be used beside the loop.
    pub fn usage(&self) -> impl Fn() -> Usage + use<> {
        let shared = self.shared.clone();
        move || usage::read(shared.tree.as_ref())
    }

    /// What is there of earlier daemons, and the pods that have anything here; to be called once, before the first
    /// effect. Attempts that live are watched from now on. Claims of earlier boots are cleared away.
    pub fn scan(&mut self) -> io::Result<(Vec<Found>, Vec<Uid>)> {
        evidence::scan(&self.shared)
    }

    /// Carries out what is the runtime's to do, without waiting for it; what comes of it is reported.
    pub fn act(&mut self, effect: &Effect) {
        match effect {
            Effect::Start(launch) => {
                launch.volumes.iter().for_each(|volume| self.shared.sizes.watch(&launch.attempt.pod, volume));
                self.start(launch);
            }
            Effect::Terminate(attempt) => self.shared.signal(attempt, shim::TERMINATE),
            Effect::Kill(attempt) => self.shared.signal(attempt, shim::KILL),
            Effect::Forget(attempt) => self.shared.forget(attempt),
            Effect::Remove(pod) => self.remove(pod),
            Effect::Project(pod, volume) => {
                self.shared.projections.add(pod, volume);
                self.shared.sizes.watch(pod, volume);
            }
            Effect::Pull(_)
            | Effect::SweepImages(_)
            | Effect::Log(..)
            | Effect::Answer { .. }
            | Effect::Settle(_)
            | Effect::Publish(_)
            | Effect::Hold { .. }
            | Effect::AllStopped => {}
        }
    }

    /// Waits until the runtime cannot do its work any more (the spawner was killed), and says why. Pods are not
    /// concerned; a daemon that is started anew goes on. Dropping the future loses nothing.
    pub async fn failed(&mut self) -> io::Error {
        match self.listeners.join_next().await {
            Some(Ok(e)) => e,
            Some(Err(e)) => io::Error::other(e),
            None => io::Error::other("the runtime has failed before"),
        }
    }

    fn start(&self, launch: &Launch) {
        let attempt = &launch.attempt;
        if self.shared.lock().contains_key(attempt) {
            return;
        }
        self.shared.lock().insert(attempt.clone(), Watched::default());
        if !paths::is_sound(attempt) {
            return self.shared.refuse(attempt, format!("{attempt} cannot be the name of a file"));
        }
        match order::encode(&Order::Start(self.shared.order(launch))) {
            // When the spawner is gone, `failed` says so, and the next daemon is told to start this attempt again.
            Ok(order) => drop(self.orders.send(order)),
            Err(e) => self.shared.refuse(attempt, format!("arguments and environment are too big: {e}")),
        }
        self.prune_logs(attempt);
    }

    /// The logs of the attempt before the last one go; there are none before the third.
    fn prune_logs(&self, attempt: &AttemptId) {
        let (directory, number) = (self.shared.dirs.logs(attempt), attempt.number);
        if number >= 2 {
            spawn_blocking(move || {
                if let Err(e) = logs::prune(&directory, number) {
                    tracing::warn!("remove old logs in {}: {e}", directory.display());
                }
            });
        }
    }

    fn remove(&self, pod: &Uid) {
        self.shared.lock().retain(|attempt, _| attempt.pod != *pod);
        self.shared.projections.forget(pod);
        self.shared.sizes.forget(pod);
        let (shared, pod) = (self.shared.clone(), pod.clone());
        spawn_blocking(move || {
            if let Err(e) = sweep::pod(&shared, &pod) {
                tracing::warn!("remove what is left of pod {pod}: {e}; it is tried again at the next start");
            }
        });
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<AttemptId, Watched>> {
        // No change to the map can be half done.
        self.attempts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn claim(&self, attempt: &AttemptId) -> std::path::PathBuf {
        self.dirs.claim(attempt, &self.boot)
    }

    fn order<'a>(&self, launch: &'a Launch) -> Start<&'a Launch> {
        let groups = self.tree.as_ref().map(|tree| {
            let pod = tree.pod(launch.qos, &launch.attempt.pod);
            let container = pod.join(&launch.attempt.container);
            Groups { pod, container, controllers: tree.controllers.clone() }
        });
        Start { dirs: self.dirs.clone(), boot: self.boot.clone(), groups, launch }
    }

    fn report(&self, seen: Seen) {
        // The loop is ending when nobody receives; the next daemon finds it all again.
        let _ = self.out.send(seen);
    }

    /// Nothing of the attempt exists, not even a claim: it needs no record, for if the daemon ends before this is
    /// committed, the attempt is ordered once more.
    fn refuse(&self, attempt: &AttemptId, reason: String) {
        if let Some(watched) = self.lock().get_mut(attempt) {
            watched.over = true;
        }
        let (attempt, finished) = (attempt.clone(), sys::stamp(&self.boot));
        let how = HowEnded::NotStarted(reason);
        self.report(Seen::Exited(Exit {
            attempt,
            how,
            oom_killed: false,
            told_from_outside: false,
            started: None,
            finished,
        }));
    }

    fn signal(&self, attempt: &AttemptId, signal: Signal) {
        let mut attempts = self.lock();
        let Some(watched) = attempts.get_mut(attempt).filter(|watched| !watched.over) else { return };
        match claim::signal(&self.claim(attempt), signal as i32) {
            Ok(true) => {}
            // Not there yet, or no more. The stronger signal stays.
            Ok(false) if watched.signal == Some(shim::KILL) => {}
            Ok(false) => watched.signal = Some(signal),
            Err(e) => tracing::error!("send {signal} to the shim of {attempt}: {e}"),
        }
    }

    /// The claim first: a record without a claim is found as an exit once more, a claim without a record as a loss.
    fn forget(&self, attempt: &AttemptId) {
        self.lock().remove(attempt);
        for path in [self.claim(attempt), self.dirs.record(attempt)] {
            if let Err(e) = record::remove(&path) {
                tracing::warn!("remove {}: {e}; it is tried again after the next start", path.display());
            }
        }
    }
}

fn make_dirs(dirs: &Dirs) -> io::Result<()> {
    for directory in [dirs.claims(), dirs.records(), dirs.pods()] {
        let made = DirBuilder::new().recursive(true).mode(0o750).create(&directory);
        made.map_err(|e| io::Error::new(e.kind(), format!("make directory {}: {e}", directory.display())))?;
    }
    Ok(())
}

/// Shims do not stand where the daemon stands.
fn absolute(path: &Path) -> io::Result<std::path::PathBuf> {
    path.canonicalize().map_err(|e| io::Error::new(e.kind(), format!("find {}: {e}", path.display())))
}

fn greet(mut socket: &Socket, dirs: &Dirs) -> io::Result<()> {
    order::send(&mut socket, &Order::<()>::Hello { dirs: dirs.clone() })?;
    let reply = order::receive(&mut socket)?.ok_or_else(spawner_gone)?;
    match order::decode(&reply)? {
        Reply::Ready => Ok(()),
        Reply::Unfit(why) => Err(io::Error::other(why)),
        Reply::Refused { reason, .. } => Err(io::Error::other(reason)),
    }
}

fn spawner_gone() -> io::Error {
    io::Error::other("the process that starts containers is gone; running pods go on, start the node again")
}

/// Passes orders to the spawner and hears what it refuses, until it is gone.
async fn talk(
    shared: Arc<Shared>,
    from: OwnedReadHalf,
    to: OwnedWriteHalf,
    waiting: mpsc::UnboundedReceiver<Vec<u8>>,
) -> io::Error {
    tokio::select! {
        e = pass_on(to, waiting) => e,
        e = hear(shared, from) => e,
    }
}

async fn pass_on(mut to: OwnedWriteHalf, mut waiting: mpsc::UnboundedReceiver<Vec<u8>>) -> io::Error {
    while let Some(order) = waiting.recv().await {
        if to.write_all(&order).await.is_err() {
            return spawner_gone();
        }
    }
    io::Error::other("the runtime was dropped")
}

async fn hear(shared: Arc<Shared>, mut from: OwnedReadHalf) -> io::Error {
    loop {
        let mut bytes = Vec::new();
        let Ok(len) = from.read_u32_le().await else { return spawner_gone() };
        match (&mut from).take(u64::from(len)).read_to_end(&mut bytes).await.map(|_| order::decode(&bytes)) {
            Ok(Ok(Reply::Refused { attempt, reason })) => shared.refuse(&attempt, reason),
            Ok(Ok(Reply::Ready | Reply::Unfit(_))) => {}
            Ok(Err(e)) | Err(e) => return e,
        }
    }
}

/// Replaces the content of volumes, for ever.
async fn project(shared: Arc<Shared>) -> io::Error {
    loop {
        shared.projections.come().await;
        loop {
            let of = shared.clone();
            match spawn_blocking(move || of.projections.work_off(&of.dirs)).await {
                Ok(true) => break,
                Ok(false) => drop(tokio::time::timeout(PROJECT_AGAIN, shared.projections.come()).await),
                Err(e) => return io::Error::other(e),
            }
        }
    }
}

/// Tells of volumes that hold more than they may, for ever.
async fn measure(shared: Arc<Shared>) -> io::Error {
    loop {
        shared.sizes.due().await;
        let of = shared.clone();
        match spawn_blocking(move || of.sizes.outgrown(&of.dirs)).await {
            Ok(outgrown) => {
                outgrown.into_iter().for_each(|(pod, volume)| shared.report(Seen::Outgrown { pod, volume }));
            }
            Err(e) => return io::Error::other(e),
        }
    }
}

/// Hears of the claims, for ever.
async fn listen(shared: Arc<Shared>, watch: Watch) -> io::Error {
    loop {
        match watch.next().await {
            Ok(events) => together(&events).for_each(|(event, mask)| heed(&shared, event, mask)),
            Err(e) => return io::Error::new(e.kind(), format!("hear of containers: {e}")),
        }
    }
}

/// What is told of one claim at once is heeded once, where the last of it stands.
fn together(events: &[InotifyEvent]) -> impl Iterator<Item = (&InotifyEvent, AddWatchFlags)> {
    let last = |at: usize| !events[at + 1..].iter().any(|later| later.name == events[at].name);
    events.iter().enumerate().filter(move |(at, _)| last(*at)).map(|(at, event)| {
        let same = events[..=at].iter().filter(|earlier| earlier.name == event.name);
        (event, same.fold(AddWatchFlags::empty(), |mask, event| mask | event.mask))
    })
}

fn heed(shared: &Arc<Shared>, event: &InotifyEvent, mask: AddWatchFlags) {
    if mask.contains(AddWatchFlags::IN_Q_OVERFLOW) {
        return evidence::look_at_all(shared);
    }
    let name = event.name.as_ref().and_then(|name| name.to_str());
    let Some((attempt, boot)) = name.and_then(paths::parse_claim_name) else { return };
    if boot != shared.boot {
        return;
    }
    evidence::heed(shared, &attempt, mask.contains(AddWatchFlags::IN_CLOSE_WRITE));
}
