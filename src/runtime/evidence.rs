//! From what lies in the directories to what is reported: an attempt has started, has ended, is lost. Decides nothing
//! about pods.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use tokio::task::spawn_blocking;

use crate::model::attempt::Stamp;
use crate::model::pod::Qos;
use crate::model::{AttemptId, Exit, Found, FoundState, HowEnded, Seen, Uid, sorted};

use super::claim::Told;
use super::{Shared, Watched, cgroup, claim, descent, paths, record, sweep, sys};

/// A claim has changed, or its shim has closed it.
pub fn heed(shared: &Arc<Shared>, attempt: &AttemptId, closed: bool) {
    if shared.lock().get(attempt).is_none_or(|watched| watched.over) {
        return;
    }
    let told = told(&shared.claim(attempt));
    look(shared, attempt, &told);
    if closed {
        shim_gone(shared, attempt, &told);
    }
}

/// Takes notice of what a claim says: passes on a signal that waited for the shim, reports the start.
fn look(shared: &Shared, attempt: &AttemptId, told: &Told) {
    let mut attempts = shared.lock();
    let Some(watched) = attempts.get_mut(attempt).filter(|watched| !watched.over) else { return };
    let path = shared.claim(attempt);
    if told.shim.is_some()
        && let Some(signal) = watched.signal.take()
        && let Err(e) = claim::signal(&path, signal as i32)
    {
        tracing::error!("send {signal} to the shim of {attempt}: {e}");
    }
    if let Some((pid, at)) = told.started.clone()
        && !std::mem::replace(&mut watched.started, true)
    {
        weigh(shared, &attempt.pod);
        shared.report(Seen::Started { attempt: attempt.clone(), pid, at });
    }
}

fn weigh(shared: &Shared, pod: &Uid) {
    if let Some(tree) = shared.tree.as_ref().filter(|tree| tree.weighs() && tree.pod(Qos::Burstable, pod).exists()) {
        tree.weigh();
    }
}

/// The kernel has lost some of the changes: every claim is looked at. A claim without a word of its shim is being made
/// just now and will be heard of.
pub fn look_at_all(shared: &Arc<Shared>) {
    let known: Vec<AttemptId> = shared.lock().keys().cloned().collect();
    for attempt in known {
        // Asked before the claim is read: what a shim says is said before it goes.
        let path = shared.claim(&attempt);
        let gone = !claim::is_held(&path).unwrap_or(true);
        let told = told(&path);
        look(shared, &attempt, &told);
        if told.shim.is_some() && gone {
            shim_gone(shared, &attempt, &told);
        }
    }
}

/// Reports the end of an attempt whose shim is gone: by its record, or as lost once nothing of it lives.
fn shim_gone(shared: &Arc<Shared>, attempt: &AttemptId, told: &Told) {
    match shared.lock().get_mut(attempt) {
        Some(watched) if !watched.over => watched.over = true,
        Some(_) | None => return,
    }
    weigh(shared, &attempt.pod);
    match exit_of(shared, attempt, told) {
        Some(exit) => shared.report(Seen::Exited(exit)),
        None => end_lost(shared, attempt, told.started.clone()),
    }
}

/// The record on the disk, else what the shim could say where the disk did not take it.
fn exit_of(shared: &Shared, attempt: &AttemptId, told: &Told) -> Option<Exit> {
    let path = shared.dirs.record(attempt);
    let recorded = record::read(&path).unwrap_or_else(|e| {
        tracing::error!("read the exit record {}: {e}", path.display());
        None
    });
    recorded.or_else(|| told.exit.clone())
}

/// Beside the loop: what the kernel cannot kill yet may take its time.
fn end_lost(shared: &Arc<Shared>, attempt: &AttemptId, started: Option<(u32, Stamp)>) {
    let (shared, attempt) = (shared.clone(), attempt.clone());
    spawn_blocking(move || {
        if let Err(e) = end_leftovers(&shared, &attempt) {
            tracing::error!("end what is left of {attempt}, whose shim is gone: {e}");
        }
        let (started, finished) = (started.map(|(_, at)| at), sys::stamp(&shared.boot));
        shared.report(Seen::Exited(Exit {
            attempt,
            how: HowEnded::Lost,
            oom_killed: false,
            told_from_outside: false,
            started,
            finished,
        }));
    });
}

fn end_leftovers(shared: &Shared, attempt: &AttemptId) -> io::Result<()> {
    match &shared.tree {
        None => descent::end_orphans(&attempt.pod, &live_shims(shared))?,
        Some(tree) => {
            for group in tree.container_anywhere(attempt) {
                cgroup::end(&group)?;
                cgroup::remove(&group)?;
            }
        }
    }
    sweep::remove_tree(&shared.dirs.root(attempt))
}

pub fn live_shims(shared: &Shared) -> Vec<i32> {
    let claims = list(&shared.dirs.claims()).unwrap_or_default();
    let paths = claims.into_iter().map(|name| shared.dirs.claims().join(name));
    paths.filter(|path| claim::is_held(path).unwrap_or(false)).filter_map(|path| told(&path).shim).collect()
}

/// See `Runtime::scan`.
pub fn scan(shared: &Arc<Shared>) -> io::Result<(Vec<Found>, Vec<Uid>)> {
    let mut found = BTreeMap::new();
    for name in list(&shared.dirs.claims())? {
        let path = shared.dirs.claims().join(&name);
        match paths::parse_claim_name(&name) {
            Some((attempt, boot)) if boot == shared.boot => drop(found.insert(attempt.clone(), find(shared, &attempt))),
            Some(_) => record::remove(&path)?,
            None => tracing::warn!("{} is no claim of an attempt and is left alone", path.display()),
        }
    }
    for attempt in list(&shared.dirs.records())?.iter().filter_map(|name| paths::parse_record_name(name)) {
        find_record(shared, attempt, &mut found)?;
    }
    let pods = pods(shared, &found)?;
    sweep_roots(shared);
    Ok((found.into_iter().map(|(attempt, state)| Found { attempt, state }).collect(), pods))
}

/// The state of an attempt that was begun in this boot. What lives is watched; what was lost is ended first.
fn find(shared: &Arc<Shared>, attempt: &AttemptId) -> FoundState {
    let path = shared.claim(attempt);
    let told = told(&path);
    if let Some(exit) = exit_of(shared, attempt, &told) {
        return FoundState::Exited(exit);
    }
    let held = claim::is_held(&path).unwrap_or(true);
    if !held && !has_leftovers(shared, attempt) {
        // The record may have come since it was looked for.
        return exit_of(shared, attempt, &told).map_or(FoundState::Lost, FoundState::Exited);
    }
    let started = told.started.clone();
    shared.lock().insert(attempt.clone(), Watched { started: started.is_some(), ..Watched::default() });
    if !held {
        // Read anew: it may have said more before it went.
        shim_gone(shared, attempt, &self::told(&path));
    }
    let (pid, started) = started.unzip();
    FoundState::Live { pid, started }
}

fn has_leftovers(shared: &Shared, attempt: &AttemptId) -> bool {
    // Without groups only a walk through all processes can tell, and that is done where it blocks nobody.
    let Some(tree) = &shared.tree else { return true };
    tree.container_anywhere(attempt).iter().any(|group| !cgroup::is_empty(group))
}

/// A record is the last word, of whichever boot; a torn one is none, and is cleared away.
fn find_record(shared: &Shared, attempt: AttemptId, found: &mut BTreeMap<AttemptId, FoundState>) -> io::Result<()> {
    let path = shared.dirs.record(&attempt);
    match record::read(&path)? {
        Some(exit) => {
            if let Some(watched) = shared.lock().get_mut(&attempt) {
                watched.over = true;
            }
            found.insert(attempt, FoundState::Exited(exit));
        }
        None if !found.contains_key(&attempt) => record::remove(&path)?,
        None => {}
    }
    Ok(())
}

fn pods(shared: &Shared, found: &BTreeMap<AttemptId, FoundState>) -> io::Result<Vec<Uid>> {
    let directories = list(&shared.dirs.pods())?.into_iter().filter(|name| paths::is_part(name)).map(Uid::new);
    let mut pods = sorted::set(directories);
    pods.extend(found.keys().map(|attempt| attempt.pod.clone()));
    pods.extend(shared.tree.iter().flat_map(|tree| tree.present()));
    Ok(pods.into_iter().collect())
}

/// Beside the loop: what attempts of earlier boots wrote may be much.
fn sweep_roots(shared: &Arc<Shared>) {
    let shared = shared.clone();
    spawn_blocking(move || {
        if let Err(e) = sweep::roots(&shared) {
            tracing::warn!(
                "remove root file systems of attempts that are over: {e}; it is tried again at the next start"
            );
        }
    });
}

fn told(path: &Path) -> Told {
    claim::read(path).unwrap_or_else(|e| {
        tracing::error!("read the claim {}: {e}", path.display());
        Told::default()
    })
}

/// Names in a directory, those that are no UTF-8 left out: none of ours is among them.
pub fn list(directory: &Path) -> io::Result<Vec<String>> {
    let named = |e: io::Error| io::Error::new(e.kind(), format!("list {}: {e}", directory.display()));
    let names = fs::read_dir(directory).map_err(named)?.map(|entry| Ok(entry?.file_name().into_string().ok()));
    names.filter_map(|name| name.map_err(named).transpose()).collect()
}
