//! The first thing that `pinnace node` does: whether this program runs the node or another version in its place. Reads
//! what it needs of the settings and no more, so that settings and flags which only a later release knows do not matter.

use std::env;
use std::ffi::{CString, OsString};
use std::fs::{File, TryLockError};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nix::unistd::{alarm, execve};

use crate::model::Timestamp;
use crate::model::update::{Trial, Versions, Which};

use super::decide::{self, Start};
use super::home::{Home, sha256_of};

/// Given to a version: the installed program, which started it and chooses again when it ends.
const INSTALLED: &str = "PINNACE_STARTED_BY";
/// Given to a version: its SHA-256.
const VERSION: &str = "PINNACE_STARTED_AS";
/// A trial that neither confirms itself nor gives up is ended by the kernel this long after its time. The alarm stays
/// when a program is executed, so it also ends one that does nothing at all.
const HANG_MARGIN: Duration = Duration::from_secs(60);
/// A daemon that was killed is gone for its owner before the kernel has closed its files; its locks are tried for so long.
pub const LETS_GO_WITHIN: Duration = Duration::from_secs(2);
pub const LETS_GO_PACE: Duration = Duration::from_millis(20);

/// The program that runs this node, as it was chosen.
#[derive(Debug, Clone)]
pub struct Here {
    pub which: Which,
    /// Where the installed program is.
    pub installed: PathBuf,
    /// This start is one of a trial.
    pub trial: Option<Trial>,
}

/// Chooses. Returns where this very program is to run; `give_way` is called before another is executed in its place.
/// Every doubt ends with the installed program: a node that runs is worth more than an update.
pub fn start(data: &Path, mut give_way: impl FnMut()) -> Here {
    let home = Home::of(data);
    let versions = home.read().unwrap_or_else(|e| {
        // The store says better what is wrong with a data directory that is none.
        if e.kind() == io::ErrorKind::NotADirectory {
            return None;
        }
        eprintln!("pinnace node: cannot read {}: {e}; the installed program runs", home.dir().display());
        // Of another daemon it is left alone.
        if let Some(aside) = (!is_in_use(data)).then(|| home.set_aside(&e)).flatten() {
            eprintln!("pinnace node: the damaged list of versions is now {}", aside.display());
        }
        None
    });
    let (installed, which) = (env::var_os(INSTALLED), env::var(VERSION).ok().and_then(|v| Which::try_from(v).ok()));
    if let (Some(installed), Some(which)) = (installed, which) {
        let here = here(which, installed.into(), versions.as_ref());
        if here.trial.is_none() {
            // What cannot be confirmed need not be ended either.
            unguard();
        }
        return here;
    }
    let installed = env::current_exe().unwrap_or_else(|_| PathBuf::from("/proc/self/exe"));
    let Some(mut versions) = versions else { return here(Which::Installed, installed, None) };
    if is_in_use(data) && !is_let_go(data) {
        // A second daemon, which will not get far: what it finds is the first one's, a trial that is under way as well.
        return here(Which::Installed, installed, None);
    }
    if !is_same(&home, &versions, &installed) {
        return here(Which::Installed, installed, None);
    }
    loop {
        let run = settled(&home, &mut versions);
        if run == Which::Installed {
            let here = here(run, installed, Some(&versions));
            if let Some(trial) = &here.trial {
                guard(trial);
            }
            return here;
        }
        let why = execute(&home, &versions, &run, &installed, &mut give_way);
        eprintln!("pinnace node: the version {} was not started: {why}", String::from(run.clone()));
        versions = decide::cannot_run(&versions, &run, &why.to_string(), now());
        if let Err(e) = home.write(&versions) {
            eprintln!("pinnace node: cannot write to {}: {e}; the installed program runs", home.dir().display());
            return here(Which::Installed, installed, None);
        }
    }
}

/// Whether a daemon has the data directory now (`store::open` locks it).
fn is_in_use(data: &Path) -> bool {
    File::open(data).is_ok_and(|dir| matches!(dir.try_lock(), Err(TryLockError::WouldBlock)))
}

/// Whether it is free after a moment: a daemon that was killed is gone for its owner before the kernel has closed its files,
/// and the installed program must not take the place of the version that it ran.
fn is_let_go(data: &Path) -> bool {
    let until = Instant::now() + LETS_GO_WITHIN;
    while Instant::now() < until {
        thread::sleep(LETS_GO_PACE);
        if !is_in_use(data) {
            return true;
        }
    }
    false
}

/// What runs, with the start counted on the disk.
fn settled(home: &Home, versions: &mut Versions) -> Which {
    let Start { run, write, otherwise } = decide::start(versions, true, now());
    let Some(write) = write else { return run };
    match home.write(&write) {
        Ok(()) => {
            *versions = write;
            run
        }
        Err(e) => {
            eprintln!("pinnace node: a trial waits, as its start cannot be noted in {}: {e}", home.dir().display());
            otherwise
        }
    }
}

fn here(which: Which, installed: PathBuf, versions: Option<&Versions>) -> Here {
    let trial = versions.and_then(|versions| versions.trial.clone());
    // An installed program that runs because the start of a trial could not be counted is not on trial.
    let trial = trial.filter(|trial| trial.program.which == which && trial.starts > 0);
    Here { which, installed, trial }
}

/// Whether the installed program is the one that versions were made from; where it is another, they are dropped. Only
/// the content tells: images that are built reproducibly give every release the same time, and often the same size and
/// inode.
fn is_same(home: &Home, versions: &Versions, installed: &Path) -> bool {
    match sha256_of(installed) {
        Ok(sha256) if sha256 == versions.installed.sha256 => return true,
        Ok(_) => {
            eprintln!("pinnace node: the installed program has changed: versions that updates brought are dropped");
            if let Err(e) = home.forget() {
                eprintln!("pinnace node: cannot remove the list of versions in {}: {e}", home.dir().display());
            }
        }
        Err(e) => eprintln!("pinnace node: cannot read {}: {e}; the installed program runs", installed.display()),
    }
    false
}

/// Only returns with what kept it.
fn execute(
    home: &Home,
    versions: &Versions,
    which: &Which,
    installed: &Path,
    give_way: &mut impl FnMut(),
) -> io::Error {
    let Some(program) = home.program(which) else { return io::Error::other("it has no file") };
    if let Err(e) = home.verify(which) {
        return e;
    }
    give_way();
    let trial = versions.trial.as_ref().filter(|trial| trial.program.which == *which);
    trial.inspect(|trial| guard(trial));
    let marks = [(INSTALLED, installed.as_os_str().to_owned()), (VERSION, String::from(which.clone()).into())];
    let error = again(&program, &marks);
    alarm::cancel();
    error
}

fn guard(trial: &Trial) {
    let most = Duration::from_secs(trial.within_s) + HANG_MARGIN;
    alarm::set(u32::try_from(most.as_secs()).unwrap_or(u32::MAX));
}

/// The trial is over: the kernel need not end it.
pub fn unguard() {
    alarm::cancel();
}

/// The installed program takes over this very process and chooses anew. Everything that must be closed is closed: what
/// this program has open is closed when another is executed. Only returns with what kept it.
pub fn leave(installed: &Path) -> io::Error {
    alarm::cancel();
    again(installed, &[])
}

/// Writes down that the program that runs, on trial, is to run no more; false: it is not on trial, nothing takes over.
pub fn give_up(home: &Home, here: &Here, why: &str) -> bool {
    // It would only be started again, whatever the list says, and whether it can be read or not.
    if here.trial.is_none() {
        return false;
    }
    let versions = match home.read() {
        Ok(Some(versions)) => versions,
        Ok(None) => return false,
        Err(e) => {
            tracing::error!("cannot read the list of versions in {}: {e}", home.dir().display());
            return true;
        }
    };
    if versions.trial.as_ref().is_none_or(|trial| trial.program.which != here.which) {
        return false;
    }
    tracing::error!("this version gives way to the one before: {why}");
    if let Err(e) = home.write(&decide::give_up(&versions, why, now())) {
        // The starts are counted: it is given up by the one that cannot be counted.
        tracing::error!("cannot write that down in {}: {e}", home.dir().display());
    }
    true
}

/// Executes it with the arguments and the environment of this process, these marks apart. Not as `exec` of the standard
/// library does, which has a shell run what is no program.
fn again(program: &Path, marks: &[(&str, OsString)]) -> io::Error {
    let text = |bytes: Vec<u8>| CString::new(bytes).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput));
    let variable = |name: &[u8], value: &[u8]| text([name, b"=", value].concat());
    let execute = || {
        let arguments = env::args_os().map(|word| text(word.into_vec())).collect::<io::Result<Vec<_>>>()?;
        let others = env::vars_os().filter(|(name, _)| name != INSTALLED && name != VERSION);
        let others = others.map(|(name, value)| variable(name.as_bytes(), value.as_bytes()));
        let marks = marks.iter().map(|(name, value)| variable(name.as_bytes(), value.as_bytes()));
        let variables = others.chain(marks).collect::<io::Result<Vec<_>>>()?;
        execve(&text(program.as_os_str().as_bytes().to_vec())?, &arguments, &variables).map_err(io::Error::from)
    };
    match execute() {
        Err(e) => e,
        Ok(never) => match never {},
    }
}

/// For a note that a person reads; nothing is decided by it.
fn now() -> Timestamp {
    Timestamp::EPOCH.plus(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}
