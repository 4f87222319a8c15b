//! Gives way to another version of this program, and believes or gives up the one that runs. Brings programs beside the
//! loop; by which rules one is started, believed and given up is `update::decide`'s to say.

use std::cell::RefCell;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinHandle, spawn_blocking, spawn_local};
use tokio::time::{Instant, sleep, sleep_until};

use super::images::Archive;
use super::{Daemon, Stop};
use crate::api::{UpdateKeeper, UpdateNews};
use crate::config::Config;
use crate::model::update::{
    Installed, Program, Trial, UpdateKey, UpdateSeen, UpdateStatus, UpdateWish, Versions, Which,
};
use crate::model::{Failure, Reason, Seen};
use crate::update::decide::{self, Health, Verdict};
use crate::update::{self, Brought, Effort, Here, Home, Listener, Source, launch};

/// Words on progress that wait for whoever listens; what does not fit is left out.
const NEWS_MAX: usize = 16;
/// Requests that wait for the loop; there is one update at a time.
const REQUESTS_MAX: usize = 2;
/// How long until the daemon's own API is asked again.
const KNOCK_PACE: Duration = Duration::from_secs(1);
/// How long until a result that could not be written down is tried again.
const WRITE_PACE: Duration = Duration::from_secs(10);

/// What the loop is asked to do about its own program.
pub struct Request {
    wanted: Wanted,
    answer: oneshot::Sender<Result<(Program, Program), Failure>>,
}

enum Wanted {
    Try {
        program: Program,
        installed: Installed,
        within: Duration,
    },
    /// What is on trial, this daemon, is to give way.
    GiveUp,
}

/// Cheap to clone.
#[derive(Clone)]
pub struct Updates {
    home: Home,
    pub here: Here,
    keys: Rc<RefCell<Vec<UpdateKey>>>,
    requests: mpsc::Sender<Request>,
    busy: Arc<AtomicBool>,
    /// Held by whoever makes or removes programs.
    programs: Arc<Mutex<()>>,
}

impl Updates {
    pub fn new(config: &Config, here: Here) -> (Updates, mpsc::Receiver<Request>) {
        let (requests, waiting) = mpsc::channel(REQUESTS_MAX);
        let keys = Rc::new(RefCell::new(config.update_keys.clone()));
        (
            Updates {
                home: Home::of(&config.data_dir),
                here,
                keys,
                requests,
                busy: Arc::default(),
                programs: Arc::default(),
            },
            waiting,
        )
    }

    /// Other keys for what is brought from now on.
    pub fn set_keys(&self, keys: &[UpdateKey]) {
        *self.keys.borrow_mut() = keys.to_vec();
    }

    fn running(&self) -> Program {
        Program { which: self.here.which.clone(), version: env!("CARGO_PKG_VERSION").into() }
    }

    fn read(&self) -> Result<Option<Versions>, Failure> {
        read(&self.home)
    }

    /// Does the work on a thread, one at a time; what it finds is handed to the loop, and then the daemon ends.
    fn work(
        &self,
        find: impl FnOnce(&Home, &PathBuf, &Teller) -> Result<Option<Wanted>, Failure> + Send + 'static,
    ) -> mpsc::Receiver<UpdateNews> {
        let (sender, receiver) = mpsc::channel(NEWS_MAX);
        if self.busy.swap(true, Ordering::Relaxed) {
            let text = "another update is under way; wait for its end";
            let _ = sender.try_send(UpdateNews::Failed(Failure::new(Reason::Conflict, text)));
            return receiver;
        }
        let Updates { home, here, requests, busy, programs, .. } = self;
        let (home, installed, requests) = (home.clone(), here.installed.clone(), requests.clone());
        let (busy, programs) = (busy.clone(), programs.clone());
        spawn_blocking(move || {
            let teller = Teller(sender);
            let _alone = programs.lock().unwrap_or_else(PoisonError::into_inner);
            let found = find(&home, &installed, &teller);
            let news = match found {
                Ok(None) => None,
                // Whoever asked has broken it off.
                Ok(Some(_)) if teller.is_cancelled() => None,
                Ok(Some(wanted)) => Some(hand_over(wanted, &requests)),
                Err(failure) => Some(UpdateNews::Failed(failure)),
            };
            // Who hung up meanwhile does not hear it.
            news.map(|news| teller.0.blocking_send(news));
            busy.store(false, Ordering::Relaxed);
        });
        receiver
    }
}

fn hand_over(wanted: Wanted, requests: &mpsc::Sender<Request>) -> UpdateNews {
    let (answer, told) = oneshot::channel();
    let sent = requests.blocking_send(Request { wanted, answer });
    let ending = || Failure::new(Reason::ServiceUnavailable, "the node is stopping");
    match sent.map_err(|_| ending()).and_then(|()| told.blocking_recv().unwrap_or_else(|_| Err(ending()))) {
        Ok((from, to)) => UpdateNews::Switching { from, to },
        Err(failure) => UpdateNews::Failed(failure),
    }
}

impl UpdateKeeper for Updates {
    fn status(&self) -> Result<UpdateStatus, Failure> {
        Ok(UpdateStatus { running: self.running(), versions: self.read()? })
    }

    fn update(&self, wish: UpdateWish, body: mpsc::Receiver<std::io::Result<Bytes>>) -> mpsc::Receiver<UpdateNews> {
        let (keys, running) = (self.keys.borrow().clone(), self.running());
        self.work(move |home, installed, teller| {
            decide::may_begin(read(home)?.as_ref()).map_err(conflict)?;
            let mut body = Archive::new(body);
            let source = match &wish.url {
                Some(url) => Source::Url(url),
                None => Source::Stream(&mut body as &mut dyn Read, wish.size),
            };
            let Brought { program, sha256, signed_by } =
                update::bring(home, &wish, source, &keys, Effort::default(), teller)?;
            let installed = look_at(installed)?;
            let program = match &program.which {
                Which::Version(sha256) if *sha256 == installed.sha256 => Program { which: Which::Installed, ..program },
                Which::Version(_) | Which::Installed => program,
            };
            let _ = teller.0.blocking_send(UpdateNews::Checked { program: program.clone(), sha256, signed_by });
            if program.which == running.which {
                let _ = teller.0.blocking_send(UpdateNews::Same(program));
                return Ok(None);
            }
            Ok(Some(Wanted::Try { program, installed, within: wish.within }))
        })
    }

    fn undo(&self, within: Duration) -> mpsc::Receiver<UpdateNews> {
        self.work(move |home, installed, _| {
            let versions = read(home)?;
            if versions.as_ref().is_some_and(|versions| versions.trial.is_some()) {
                return Ok(Some(Wanted::GiveUp));
            }
            let program = decide::before(versions.as_ref()).map_err(conflict)?;
            Ok(Some(Wanted::Try { program, installed: look_at(installed)?, within }))
        })
    }
}

/// A list that is damaged is set aside: without it there was never an update, and the next start is the installed program's.
fn read(home: &Home) -> Result<Option<Versions>, Failure> {
    home.read().or_else(|e| {
        let aside = home.set_aside(&e).ok_or_else(|| unwritten("read", home, &e))?;
        tracing::warn!("the list of versions is damaged ({e}); it is now {}", aside.display());
        Ok(None)
    })
}

/// What the installed program is now.
fn look_at(installed: &Path) -> Result<Installed, Failure> {
    let failed = |why: String| {
        let text = format!("the installed program {} {why}; it is what a trial returns to", installed.display());
        Failure::new(Reason::Conflict, text)
    };
    let cannot = |e: std::io::Error| failed(format!("cannot be read: {e}"));
    Ok(Installed {
        version: update::probe(installed).map_err(failed)?,
        sha256: update::sha256_of(installed).map_err(cannot)?,
        mark: update::mark_of(installed).map_err(cannot)?,
    })
}

fn conflict(why: String) -> Failure {
    Failure::new(Reason::Conflict, why)
}

fn unwritten(tried: &str, home: &Home, e: &std::io::Error) -> Failure {
    Failure::new(Reason::InternalError, format!("cannot {tried} the list of versions in {}: {e}", home.dir().display()))
}

struct Teller(mpsc::Sender<UpdateNews>);

impl Listener for Teller {
    fn at(&self, what: &str, done: u64, total: Option<u64>) {
        let _ = self.0.try_send(UpdateNews::At { what: what.into(), done, total });
    }

    fn is_cancelled(&self) -> bool {
        self.0.is_closed()
    }
}

/// This daemon, while it is on trial.
pub struct Watch {
    trial: Trial,
    health: Health,
    /// When it began, as time since boot.
    began: Duration,
    look_at: Instant,
    knock: JoinHandle<()>,
}

impl Watch {
    /// Looked at as soon as the first turn is over.
    pub fn new(trial: Trial, began: Duration, socket: PathBuf) -> Watch {
        let knock = spawn_local(knock(socket));
        Watch { trial, health: Health::default(), began, look_at: Instant::now(), knock }
    }
}

/// Returns when the trial is to be looked at; never where there is none. Dropping the future loses nothing.
pub async fn due(watch: &mut Option<Watch>) {
    let Some(watch) = watch else { return std::future::pending().await };
    tokio::select! {
        _ = &mut watch.knock, if !watch.health.answers => watch.health.answers = true,
        () = sleep_until(watch.look_at) => {}
    }
}

/// Asks the daemon's own API, as any client does, until it says that it is ready.
async fn knock(socket: PathBuf) {
    let ask = async || -> std::io::Result<bool> {
        let mut stream = UnixStream::connect(&socket).await?;
        stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        Ok(answer.starts_with(b"HTTP/1.1 200 "))
    };
    while !ask().await.unwrap_or(false) {
        sleep(KNOCK_PACE).await;
    }
}

impl Daemon {
    /// The loop is asked to give way; the caller hears whether it does.
    pub(super) fn asked_to_change(&mut self, request: Request) -> Option<Seen> {
        let (answer, seen) = match self.change(request.wanted) {
            Ok((from, to, seen)) => {
                tracing::info!("pinnace {from} gives way to {to}; pods go on");
                (self.stop, self.gives_way) = (Stop::Now, true);
                (Ok((from, to)), seen)
            }
            Err(failure) => (Err(failure), None),
        };
        // Who hung up does not hear it.
        let _ = request.answer.send(answer);
        seen
    }

    fn change(&mut self, wanted: Wanted) -> Result<(Program, Program, Option<Seen>), Failure> {
        if self.stop == Stop::Ending {
            return Err(Failure::new(Reason::ServiceUnavailable, "the node is stopping its pods and then itself"));
        }
        let (home, at, from) = (&self.updates.home, self.now().wall, self.updates.running());
        let versions = self.updates.read()?;
        let (versions, to, seen) = match wanted {
            Wanted::Try { program, installed, within } => {
                let trial = Trial {
                    program: program.clone(),
                    starts: 0,
                    within_s: within.as_secs(),
                    needs_broker: self.counters.is_connected(),
                    begun: at,
                };
                let begun = decide::begin(versions.as_ref(), installed, trial);
                let begun = begun.map_err(conflict)?;
                let seen = UpdateSeen::Started { from: from.clone(), to: program.clone() };
                (begun, program, Some(Seen::Update(seen)))
            }
            Wanted::GiveUp => {
                let nothing = || Failure::new(Reason::Conflict, "nothing is on trial any more; look again");
                let on_trial = versions.filter(|versions| versions.trial.is_some()).ok_or_else(nothing)?;
                let back = decide::give_up(&on_trial, "an operator asked for it", at);
                let to = back.in_force.clone();
                (back, to, None)
            }
        };
        home.write(&versions).map_err(|e| unwritten("write", home, &e))?;
        Ok((from, to, seen))
    }

    /// After each turn: whether this daemon, on trial, has proved itself.
    ///
    /// # Errors
    /// As `turn`.
    pub(super) fn look_at_trial(&mut self) -> Result<(), String> {
        let now = self.now();
        let Some(watch) = self.watch.as_mut().filter(|_| self.stop != Stop::Now) else { return Ok(()) };
        watch.health.linked = self.counters.is_connected();
        let age = now.uptime.saturating_sub(watch.began);
        match decide::judge(&watch.trial, &mut watch.health, age) {
            Verdict::Wait(until) => {
                watch.look_at = Instant::now() + until.saturating_sub(age);
                return Ok(());
            }
            Verdict::Confirm => {
                let home = &self.updates.home;
                let on_trial = |versions: &Versions| {
                    versions.trial.as_ref().is_some_and(|trial| trial.program.which == self.updates.here.which)
                };
                let written = home.read().and_then(|versions| match versions.filter(on_trial) {
                    Some(versions) => home.write(&decide::confirm(&versions, now.wall)).map(|()| true),
                    None => Ok(false),
                });
                if let Ok(false) = written {
                    tracing::error!("this version is on trial no more, by somebody else's hand: it gives way");
                    (self.stop, self.gives_way) = (Stop::Now, true);
                    return Ok(());
                }
                if let Err(e) = written {
                    tracing::warn!(
                        "cannot write down in {} that this version is in force: {e}",
                        self.updates.home.dir().display()
                    );
                    watch.look_at = Instant::now() + WRITE_PACE;
                    return Ok(());
                }
                launch::unguard();
                self.watch = None;
                self.tell_of_last_update()?;
                self.sweep_versions();
            }
            Verdict::GiveUp(why) => {
                launch::give_up(&self.updates.home, &self.updates.here, &why);
                (self.stop, self.gives_way) = (Stop::Now, true);
            }
        }
        Ok(())
    }

    /// What became of a trial is told once, by whoever is in force after it.
    ///
    /// # Errors
    /// As `turn`.
    pub(super) fn tell_of_last_update(&mut self) -> Result<(), String> {
        let Ok(Some(mut versions)) = self.updates.home.read() else { return Ok(()) };
        let Some(last) = versions.last.as_mut().filter(|last| !last.told) else { return Ok(()) };
        match &last.outcome {
            crate::model::update::Outcome::Confirmed => tracing::info!("pinnace {} is in force", last.now),
            crate::model::update::Outcome::Returned(why) => {
                tracing::warn!("pinnace {} gave way, {} is in force: {why}", last.tried, last.now);
            }
        }
        last.told = true;
        let seen = Seen::Update(UpdateSeen::Ended(last.clone()));
        self.turn(vec![seen])?;
        // An event may wait in memory; one that is said to be told must not be lost there.
        self.store.flush().map_err(|e| e.to_string())?;
        if let Err(e) = self.updates.home.write(&versions) {
            tracing::warn!(
                "cannot write to {}: {e}; the result of the update is told again",
                self.updates.home.dir().display()
            );
        }
        Ok(())
    }

    /// Programs that nothing goes back to take room. None goes while one is on trial.
    pub(super) fn sweep_versions(&self) {
        let (home, programs) = (self.updates.home.clone(), self.updates.programs.clone());
        if self.watch.is_none() && home.dir().exists() {
            spawn_blocking(move || {
                let _alone = programs.lock().unwrap_or_else(PoisonError::into_inner);
                match home.read() {
                    Ok(Some(versions)) => home.sweep(&decide::kept(&versions)),
                    Ok(None) => home.sweep(&[]),
                    // What is not understood is not swept.
                    Err(_) => {}
                }
            });
        }
    }
}
