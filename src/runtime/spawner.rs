//! The spawner: a small process with one thread, forked before the daemon is anything more, that forks a shim for each
//! order. So a start costs the same however big the daemon is, and a shim shares its pages with all others. It decides
//! nothing, and ends when the daemon does; shims live on.

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use nix::sys::prctl;
use nix::sys::signal::{SigHandler, SigSet, Signal, signal};
use nix::sys::stat::{Mode, umask};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, dup2_stderr, dup2_stdin, dup2_stdout, setsid};

use super::claim::Claim;
use super::order::{self, Keep, Order, Reply, Start};
use super::paths::Dirs;
use super::sys::{self, Pages};
use super::{rest, shim};

/// A spawner that is to end has at most the orders left that were sent before.
const END_WAIT: Duration = Duration::from_secs(5);
const END_PACE: Duration = Duration::from_millis(2);
/// The same holds for the one before this, which a daemon that was killed has left behind.
const SETTLE_WAIT: Duration = Duration::from_secs(20);
const SETTLE_PACE: Duration = Duration::from_millis(10);

/// The daemon's end of the spawner.
#[derive(Debug)]
pub struct Spawner {
    pub(super) socket: UnixStream,
    pub(super) pid: i32,
}

impl Spawner {
    /// Forks the spawner. To be called first of all: before tokio, before any thread, before any file is open that
    /// matters.
    pub fn fork() -> io::Result<Spawner> {
        let (ours, theirs) = UnixStream::pair()?;
        let pid = sys::fork(None, || i32::from(serve(&theirs).is_err()))?;
        Ok(Spawner { socket: ours, pid })
    }

    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Ends the spawner, which was asked for nothing yet.
    pub fn end(self) {
        drop(self.socket);
        wait_for(self.pid);
    }
}

/// Waits for the end of a spawner whose daemon has let go of it: whoever this process becomes must not have it as a
/// child that nobody knows. What it still has to do is short; one that hangs is left.
pub fn wait_for(spawner: i32) {
    let until = Instant::now() + END_WAIT;
    while Instant::now() < until {
        match waitpid(Pid::from_raw(spawner), Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) => std::thread::sleep(END_PACE),
            Ok(_) | Err(_) => return,
        }
    }
    tracing::warn!("the process that starts containers does not end; it is left behind");
}

/// Orders one after the other, until the daemon is gone. What it has sent by then is still carried out.
fn serve(socket: &UnixStream) -> io::Result<()> {
    isolate(socket)?;
    let mut lock = None;
    loop {
        rest::wait_for(socket.as_fd());
        let Some(bytes) = order::receive(socket)? else { break };
        match order::decode::<Order<Keep>>(&bytes)? {
            Order::Start(start) => begin(&start, bytes, socket)?,
            Order::Hello { dirs } => match settle(&dirs) {
                Ok(file) => {
                    lock = Some(file);
                    order::send(socket, &Reply::Ready)?;
                }
                Err(e) => order::send(socket, &Reply::Unfit(e.to_string()))?,
            },
        }
    }
    drop(lock);
    Ok(())
}

/// Keeps nothing of what the daemon was started with, so that no shim keeps a terminal, a pipe or a file open, and no
/// signal to the daemon's terminal or group ends one.
fn isolate(socket: &UnixStream) -> io::Result<()> {
    SigSet::all().thread_block()?;
    // Here once, for all that will be forked.
    sys::default_signals();
    // SAFETY: ignoring runs no code of ours. Shims are not waited for.
    unsafe { signal(Signal::SIGCHLD, SigHandler::SigIgn)? };
    sys::close_others(socket.as_fd());
    setsid()?;
    let null = File::options().read(true).write(true).open("/dev/null")?;
    dup2_stdin(&null)?;
    dup2_stdout(&null)?;
    dup2_stderr(&null)?;
    umask(Mode::from_bits_truncate(0o027));
    std::env::set_current_dir("/")?;
    prctl::set_name(c"pinnace-shim")?;
    // A shim is the last that should die when memory is short: it holds the evidence, and frees next to nothing.
    let _ = fs::write("/proc/self/oom_score_adj", "-999");
    Ok(())
}

/// Waits for the spawner of an earlier daemon to be through with its orders: only then is every attempt that was ever
/// ordered claimed, so that the daemon can see which were.
fn settle(dirs: &Dirs) -> io::Result<File> {
    let path = dirs.run.join("spawner.lock");
    let failed = |e: io::Error| io::Error::new(e.kind(), format!("lock {}: {e}", path.display()));
    let file = File::options().write(true).create(true).truncate(false).open(&path).map_err(failed)?;
    let until = Instant::now() + SETTLE_WAIT;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if Instant::now() < until => std::thread::sleep(SETTLE_PACE),
            Err(TryLockError::WouldBlock) => {
                let why = format!("the process that started containers before has it for {SETTLE_WAIT:?}; start again");
                return Err(failed(io::Error::new(io::ErrorKind::TimedOut, why)));
            }
            Err(TryLockError::Error(e)) => return Err(failed(e)),
        }
    }
}

/// Claims the attempt and forks its shim; does nothing when it was claimed before.
fn begin(start: &Start<Keep>, order: Pages, socket: &UnixStream) -> io::Result<()> {
    let attempt = &start.launch.attempt;
    let path = start.dirs.claim(attempt, &start.boot);
    let claim = match Claim::take(&path) {
        Ok(Some(claim)) => claim,
        Ok(None) => return Ok(()),
        Err(e) => {
            let reason = format!("claim the attempt in {}: {e}", path.display());
            return order::send(socket, &Reply::Refused { attempt: attempt.clone(), reason });
        }
    };
    if start.dirs.record(attempt).exists() {
        // It is over, though its claim was lost; that the new claim ends at once has the daemon read the record.
        return Ok(());
    }
    let forked = sys::fork(None, || {
        sys::close_others(claim.as_fd());
        shim::run(start, order, &claim);
        0
    });
    if let Err(e) = forked {
        shim::not_started(start, &claim, format!("start a shim: {e}"));
    }
    Ok(())
}
