//! The shim: the parent of one container's processes. It starts the first one, carries the output into the log, passes
//! signals on, ends what is left when the first one ends, and leaves the exit record. It outlives the daemon and the
//! spawner, knows neither, and is small: a fork of a small process that allocates next to nothing.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::CloneFlags;
use nix::sys::prctl;
use nix::sys::signal::{SigHandler, SigSet, Signal, signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::{Pid, getpid, pipe2};

use crate::model::attempt::Stamp;
use crate::model::{Exit, HowEnded};

use super::claim::{Claim, Line};
use super::logfile::{LogFile, Place, Stream};
use super::order::{self, Keep, Start};
use super::seat::{self, Seat};
use super::sys::{self, Pages};
use super::{cgroup, child, descent, record};

/// Ends every process of the container.
pub const KILL: Signal = Signal::SIGUSR1;

/// Tells the container's first process, and it alone, to end. Not SIGTERM itself: that comes from an init system that ends
/// every process of a machine that goes down, so the container's have it already.
pub const TERMINATE: Signal = Signal::SIGUSR2;

/// Bytes of the reason that the container's process may leave for not having started; fits into a pipe at once.
const REASON_BYTES_MAX: usize = 4096;

/// Exit code of a process that could not become the container's; seen by nobody, the reason is told in words.
const START_ERROR: i32 = 128;

/// Runs one attempt to its end and leaves its record. All signals must be blocked, so that none is missed.
pub fn run(start: &Start<Keep>, order: Pages, claim: &Claim) {
    // On a tmpfs that is full the daemon is not told, and cannot stop the container; the rest goes on.
    let _ = claim.say(&Line::Shim(getpid().as_raw()));
    match Shim::begin(start, order, claim) {
        Ok(shim) => shim.live(),
        Err(e) => not_started(start, claim, e.to_string()),
    }
    seat::clear(start);
}

/// Leaves the record of an attempt of which no process came to be.
pub fn not_started(start: &Start<Keep>, claim: &Claim, reason: String) {
    leave(start, claim, HowEnded::NotStarted(reason), None, Why::default());
}

/// The evidence: on the disk, or, where the disk does not take it, at least where the daemon finds it in this boot.
fn leave(start: &Start<Keep>, claim: &Claim, how: HowEnded, started: Option<Stamp>, why: Why) {
    let attempt = start.launch.attempt.clone();
    let Why { oom_killed, told_from_outside } = why;
    let exit = Exit { attempt, how, oom_killed, told_from_outside, started, finished: sys::stamp(&start.boot) };
    if record::write(&start.dirs, &exit).is_err() {
        let _ = claim.say(&Line::Exit(exit));
    }
}

/// What is behind an end that the program did not choose.
#[derive(Default)]
struct Why {
    oom_killed: bool,
    told_from_outside: bool,
}

struct Shim<'a> {
    start: &'a Start<Keep>,
    claim: &'a Claim,
    signals: SignalFd,
    log: LogFile,
    outputs: [Stream; 2],
    /// The container's program, by its number on the host, which `Started` tells too: the process that an operator means by
    /// the container's. In a PID namespace it is not process 1; that is init, which passes on nothing from outside.
    first: Pid,
    /// Closed by the kernel when that process runs its program; before, it may tell why it cannot.
    word: Option<OwnedFd>,
    reason: String,
    started: Option<Stamp>,
    oom_kills_before: u64,
    told_from_outside: bool,
}

impl<'a> Shim<'a> {
    fn begin(start: &'a Start<Keep>, order: Pages, claim: &'a Claim) -> io::Result<Shim<'a>> {
        // SAFETY: the default action runs no code of ours. The spawner ignores this signal; a shim must not.
        unsafe { signal(Signal::SIGCHLD, SigHandler::SigDfl) }.map_err(|e| about("heed SIGCHLD", &e.into()))?;
        adopt(start)?;
        let noticed = [Signal::SIGCHLD, Signal::SIGTERM, TERMINATE, KILL].into_iter().collect::<SigSet>();
        let signals = SignalFd::with_flags(&noticed, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)
            .map_err(|e| about("hear signals", &e.into()))?;
        let seat = Seat::take(start, &order)?;
        let log = LogFile::new(log_place(start)).map_err(|e| about("make the log", &e))?;
        let (stdout, stderr, word) = (pipe()?, pipe()?, pipe()?);
        do_not_block(&word.0)?;
        let outputs = [stream("stdout", stdout.0)?, stream("stderr", stderr.0)?];
        // Last, as nothing may fail after it.
        let ends = child::Outputs { stdout: stdout.1.as_fd(), stderr: stderr.1.as_fd(), word: word.1.as_fd() };
        let first = Pid::from_raw(fork_first(start, &seat, &order, &ends)?);
        let oom_kills_before = seat.group.map_or(0, |group| group.oom_kills);
        let (word, reason, started) = (Some(word.0), String::new(), None);
        Ok(Shim {
            start,
            claim,
            signals,
            log,
            outputs,
            first,
            word,
            reason,
            started,
            oom_kills_before,
            told_from_outside: false,
        })
    }

    /// From the first process's begin to the record of its end.
    fn live(mut self) {
        let how = loop {
            self.wait();
            self.hear_word();
            for output in &mut self.outputs {
                output.carry(&mut self.log);
            }
            if let Some(how) = self.heed_signals() {
                break how;
            }
        };
        self.end(how);
    }

    /// Until one of the descriptors has something, or a wait is interrupted: then all are looked at.
    fn wait(&self) {
        let word = self.word.as_ref().map(|word| word.as_fd());
        let outputs = self.outputs.iter().filter_map(Stream::fd);
        let all = std::iter::once(self.signals.as_fd()).chain(word).chain(outputs);
        let mut all: Vec<PollFd> = all.map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
        let _ = poll(&mut all, PollTimeout::NONE);
    }

    /// The first process either says why it could not start, or closes the pipe by starting.
    fn hear_word(&mut self) {
        let Some(word) = &self.word else { return };
        let mut bytes = [0; REASON_BYTES_MAX];
        match nix::unistd::read(word, &mut bytes) {
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            Ok(len) if len > 0 => self.reason.push_str(&String::from_utf8_lossy(&bytes[..len])),
            Ok(_) | Err(_) => {
                self.word = None;
                if self.reason.is_empty() {
                    self.say_started();
                }
            }
        }
    }

    fn say_started(&mut self) {
        let at = sys::stamp(&self.start.boot);
        self.started = Some(at.clone());
        // As above: where it cannot be said, the exit record says it later.
        let _ = self.claim.say(&Line::Started { pid: self.first.as_raw() as u32, at });
    }

    /// How the first process ended, if it has.
    fn heed_signals(&mut self) -> Option<HowEnded> {
        let mut ended = None;
        while let Ok(Some(info)) = self.signals.read_signal() {
            match Signal::try_from(info.ssi_signo as i32) {
                Ok(Signal::SIGCHLD) => ended = self.reap().or(ended),
                Ok(KILL) => self.kill(),
                Ok(Signal::SIGTERM) => self.told_from_outside = true,
                // Until it is reaped, nobody else can have its number.
                Ok(TERMINATE) if ended.is_none() => drop(sys::kill(self.first.as_raw(), self.start.launch.stop_signal)),
                Ok(_) | Err(_) => {}
            }
        }
        ended
    }

    fn reap(&self) -> Option<HowEnded> {
        let mut first = None;
        while let Ok(Some((pid, how))) = sys::reap() {
            if pid == self.first.as_raw() {
                first = Some(how);
            }
        }
        first
    }

    fn kill(&self) {
        match &self.start.groups {
            Some(groups) => drop(cgroup::kill(&groups.container)),
            None => descent::kill_own(),
        }
    }

    /// As a container runtime does when process 1 ends: what is left of the container ends with it.
    fn end(mut self, how: HowEnded) {
        while self.word.is_some() {
            self.hear_word();
        }
        let mut oom_killed = false;
        match &self.start.groups {
            Some(groups) => {
                let _ = cgroup::end(&groups.container);
                oom_killed = seat::oom_kills(groups) > self.oom_kills_before;
                let _ = cgroup::remove(&groups.container);
            }
            None => descent::end_own(),
        }
        for output in &mut self.outputs {
            output.drain(&mut self.log);
        }
        // The shutdown that ended the container may reach the shim after it.
        let _ = self.heed_signals();
        let how = if self.reason.is_empty() { how } else { HowEnded::NotStarted(self.reason) };
        let why = Why { oom_killed, told_from_outside: self.told_from_outside };
        leave(self.start, self.claim, how, self.started, why);
    }
}

/// Forks the container's first process, in its group from its first instruction on.
fn fork_first(start: &Start<Keep>, seat: &Seat, order: &[u8], ends: &child::Outputs) -> io::Result<i32> {
    let live = |joined: Result<(), String>| {
        let launch = joined.and_then(|()| order::launch(order).map_err(|e| format!("read the order: {e}")));
        let seat = child::Seat { dirs: &start.dirs, volumes: &seat.volumes, init: seat.init };
        let Err(reason) = launch.and_then(|launch| child::become_container(launch, ends, &seat));
        let len = reason.len().min(REASON_BYTES_MAX);
        let _ = nix::unistd::write(ends.word, &reason.as_bytes()[..len]);
        START_ERROR
    };
    seat::fork_in(seat.group.as_ref(), CloneFlags::empty(), live).map_err(|e| about("start a process", &e))
}

/// What loses its parent becomes this process's child. Where there are no groups that is how what is left of a container is
/// found; with them, all that goes without it is that init takes the exits. QEMU's emulator of user programs refuses it.
fn adopt(start: &Start<Keep>) -> io::Result<()> {
    match prctl::set_child_subreaper(true) {
        Err(Errno::EINVAL) if start.groups.is_some() => Ok(()),
        adopted => adopted.map_err(|e| about("become the parent of orphans (PR_SET_CHILD_SUBREAPER)", &e.into())),
    }
}

fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    pipe2(OFlag::O_CLOEXEC).map_err(|e| about("make a pipe", &e.into()))
}

fn log_place(start: &Start<Keep>) -> Place {
    let keep = &start.launch;
    Place {
        directory: start.dirs.logs(&keep.attempt),
        attempt: keep.attempt.number,
        bytes_max: keep.log_bytes_max,
        files_max: keep.log_files_max,
    }
}

fn stream(name: &'static str, pipe: OwnedFd) -> io::Result<Stream> {
    do_not_block(&pipe)?;
    Stream::new(name, pipe)
}

fn do_not_block(pipe: &OwnedFd) -> io::Result<()> {
    let set = fcntl(pipe, FcntlArg::F_SETFL(OFlag::O_NONBLOCK));
    set.map(drop).map_err(|e| about("make a pipe that does not block", &e.into()))
}

fn about(what: &str, e: &io::Error) -> io::Error {
    io::Error::new(e.kind(), format!("{what}: {e}"))
}
