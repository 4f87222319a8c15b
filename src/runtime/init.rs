//! Process 1 of a container that has a PID namespace of its own. Knows nothing of the container but that its program is
//! process 2, and does nothing but keep the namespace alive, take in orphans, and pass on signals that are sent to it.
//!
//! ```text
//! shim ── fork, new namespaces ──► init     1   orphans become its children, and the kernel reaps them
//!   └──── enter the PID namespace, fork ──► 2   the program, the shim's own child: its pid and its end are known at once
//! ```
//!
//! The program is no child of init's, so init need not tell anybody how it ended; inside, its parent reads as 0, as that of
//! process 1 does under other container runtimes. Init is a fork of the shim that touches next to no memory.

use std::os::fd::{AsFd, OwnedFd};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl;
use nix::sys::signal::{SigHandler, Signal, signal};

use super::caps::{self, Set};
use super::sys;

/// The number of the first process that is forked into a PID namespace after init.
const PROGRAM: i32 = 2;

const NAME: &std::ffi::CStr = c"pinnace-init";

/// Lives until the shim ends, or ends the container. All signals must be blocked. `arguments`: see `sys::arguments`.
pub fn run(shim: &OwnedFd, arguments: (usize, usize)) -> i32 {
    const CANNOT: i32 = 1;
    if depend_on(shim).is_err() || isolate(arguments).is_err() {
        return CANNOT;
    }
    loop {
        match sys::next_signal() {
            // From outside, the program can be told itself, and when a machine goes down it is.
            Ok((_, 0)) | Err(_) => {}
            Ok((signal, _)) => drop(sys::kill(PROGRAM, signal)),
        }
    }
}

/// When a shim is lost, the node ends what it has left; so does the kernel, with this, and nobody can run on unseen.
fn depend_on(shim: &OwnedFd) -> std::io::Result<()> {
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    // It may have ended just before.
    match poll(&mut [PollFd::new(shim.as_fd(), PollFlags::POLLIN)], PollTimeout::ZERO)? {
        0 => Ok(()),
        _ => Err(std::io::ErrorKind::BrokenPipe.into()),
    }
}

/// The container's processes see this one. It must not lend them a descriptor, the daemon's arguments and environment, or
/// its view of the host's files.
fn isolate(arguments: (usize, usize)) -> std::io::Result<()> {
    // A child of a process that ignores this leaves no zombie.
    // SAFETY: ignoring runs no code of ours.
    unsafe { signal(Signal::SIGCHLD, SigHandler::SigIgn)? };
    sys::close_all();
    prctl::set_name(NAME)?;
    sys::overwrite_arguments(arguments, NAME.to_bytes());
    sys::hide_memory()?;
    // Whoever the program runs as, a signal reaches it.
    caps::keep_only(Set::of(caps::KILL))
}
