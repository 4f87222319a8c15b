//! The kernel calls that have no safe wrapper, and the shim's reading of the clocks. Knows nothing of pods.

use std::fs;
use std::io;
use std::ops::{Deref, DerefMut};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::time::{ClockId, clock_gettime};

use crate::model::attempt::Stamp;
use crate::model::{BootId, HowEnded, Timestamp};

/// Forks; the child runs `child` and ends with the code that it returns, whatever happens in it.
///
/// With `cgroup` (an open directory of a cgroup v2) the child is born inside it; `Unsupported` when the kernel cannot
/// do that (before 5.7, or a sandbox that forbids `clone3`).
///
/// Call it from a process with one thread only.
pub fn fork(cgroup: Option<BorrowedFd>, child: impl FnOnce() -> i32) -> io::Result<i32> {
    let pid = match cgroup {
        Some(directory) => clone_into(directory)?,
        // SAFETY: this process has one thread, so no lock can be held by a thread that the child does not have.
        None => check(unsafe { libc::fork() })?,
    };
    if pid != 0 {
        return Ok(pid);
    }
    let no_way_back = Abort;
    let code = child();
    std::mem::forget(no_way_back);
    // SAFETY: ends the child without running what the parent registered to run at exit.
    unsafe { libc::_exit(code) }
}

/// A panic in a forked child must not unwind into its parent's callers.
struct Abort;

impl Drop for Abort {
    fn drop(&mut self) {
        std::process::abort();
    }
}

fn clone_into(directory: BorrowedFd) -> io::Result<i32> {
    // The kernel's `struct clone_args`, version 2; libc does not have it for every target.
    let mut args = [0u64; 11];
    const FLAGS: usize = 0;
    const EXIT_SIGNAL: usize = 4;
    const CGROUP: usize = 10;
    const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;
    args[FLAGS] = CLONE_INTO_CGROUP;
    args[EXIT_SIGNAL] = libc::SIGCHLD as u64;
    args[CGROUP] = directory.as_raw_fd() as u64;
    // SAFETY: as fork (no shared memory, no new stack); `args` lives through the call and its size is told. This
    // process has one thread, so no lock can be held by a thread that the child does not have.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, args.as_ptr(), size_of_val(&args)) };
    match check(pid as i32) {
        Err(e) if matches!(e.raw_os_error(), Some(libc::ENOSYS | libc::EPERM | libc::E2BIG | libc::EINVAL)) => {
            Err(io::ErrorKind::Unsupported.into())
        }
        pid => pid,
    }
}

/// Gives every signal its default action, also those that the C library keeps to itself and those that whoever started
/// the daemon had it ignore (`nohup`).
pub fn default_signals() {
    // The kernel's `struct sigaction`, all zero: the default action, no flags, nothing masked. Longer on no architecture.
    const ZERO: [u64; 8] = [0; 8];
    const SET_BYTES: usize = if cfg!(any(target_arch = "mips", target_arch = "mips64")) { 16 } else { 8 };
    const SIGNALS: i32 = 64;
    for signal in 1..=SIGNALS {
        let none = ptr::null_mut::<u64>();
        // SAFETY: reads less than `ZERO` holds and writes nothing. For SIGKILL and SIGSTOP it fails, harmlessly.
        unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, ZERO.as_ptr(), none, SET_BYTES) };
    }
}

/// Takes the exit of one child that has ended. None: no child has. Other than nix's, it knows real-time signals.
pub fn reap() -> io::Result<Option<(i32, HowEnded)>> {
    let mut status = 0;
    // SAFETY: writes one integer to the place that it is given.
    let pid = check(unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG) })?;
    let how = if libc::WIFSIGNALED(status) {
        HowEnded::Signal(libc::WTERMSIG(status))
    } else {
        HowEnded::Code(libc::WEXITSTATUS(status))
    };
    Ok((pid != 0).then_some((pid, how)))
}

/// A handle on a process that no other process can take over when it has ended. Needs Linux 5.3.
pub fn pidfd_open(pid: i32) -> io::Result<OwnedFd> {
    // SAFETY: takes two integers and touches no memory.
    let fd = check(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) } as RawFd)?;
    // SAFETY: the call above made this descriptor, and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

pub fn pidfd_send_signal(process: &OwnedFd, signal: i32) -> io::Result<()> {
    let no_info = ptr::null::<libc::siginfo_t>();
    // SAFETY: a null `siginfo` is allowed and stands for what `kill` would send.
    let sent = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, process.as_raw_fd(), signal, no_info, 0) };
    check(sent as i32).map(drop)
}

/// Closes every descriptor from 3 on but `keep`: what the process that started us left open is not for pods.
pub fn close_others(keep: BorrowedFd) {
    let keep = keep.as_raw_fd() as libc::c_uint;
    for (first, last) in [(3, keep - 1), (keep + 1, libc::c_uint::MAX)] {
        if first <= last {
            close_range(first, last);
        }
    }
}

fn close_range(first: libc::c_uint, last: libc::c_uint) {
    // SAFETY: called in the forked spawner before it has opened anything, so no Rust value owns one of these.
    if unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) } == 0 {
        return;
    }
    // Before Linux 5.9.
    let Ok(entries) = fs::read_dir("/proc/self/fd") else { return };
    let open: Vec<libc::c_uint> = entries.flatten().filter_map(|e| e.file_name().to_str()?.parse().ok()).collect();
    for fd in open.into_iter().filter(|fd| (first..=last).contains(fd)) {
        // SAFETY: as above; the descriptor of the listing itself is closed already, so this may fail harmlessly.
        unsafe { libc::close(fd as RawFd) };
    }
}

/// Zeroed memory straight from the kernel: a page costs nothing before it is written, and all is given back on drop,
/// which the allocator does not promise.
pub struct Pages {
    start: *mut u8,
    len: usize,
}

impl Pages {
    /// `len` must not be zero.
    pub fn new(len: usize) -> io::Result<Pages> {
        let (protection, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: a new private mapping at an address of the kernel's choice overlaps nothing.
        let start = unsafe { libc::mmap(ptr::null_mut(), len, protection, flags, -1, 0) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        Ok(Pages { start: start.cast(), len })
    }
}

impl Deref for Pages {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: the mapping is `len` bytes, readable, zero-initialised, and lives as long as `self`.
        unsafe { std::slice::from_raw_parts(self.start, self.len) }
    }
}

impl DerefMut for Pages {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `deref`, writable, and borrowed from `self` exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.start, self.len) }
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours alone, and every slice of it borrows from `self`.
        unsafe { libc::munmap(self.start.cast(), self.len) };
    }
}

/// Which run of the kernel this is.
pub fn boot_id() -> io::Result<BootId> {
    Ok(BootId::new(fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim()))
}

/// The instant as both clocks have it.
pub fn stamp(boot: &BootId) -> Stamp {
    let ms = |d: Duration| i64::try_from(d.as_millis()).unwrap_or(i64::MAX);
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH);
    let wall = Timestamp::from_millis(since_epoch.map_or_else(|before| -ms(before.duration()), ms));
    let up = Duration::from(clock_gettime(ClockId::CLOCK_BOOTTIME).expect("this clock exists since Linux 2.6.39"));
    Stamp { wall, boot: boot.clone(), up_ms: u64::try_from(up.as_millis()).unwrap_or(u64::MAX) }
}

fn check(result: i32) -> io::Result<i32> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_zeroed_writable_and_as_long_as_asked() {
        let mut pages = Pages::new(10_000).unwrap();
        assert!(pages.iter().all(|b| *b == 0));
        pages[9_999] = 7;
        assert_eq!((pages.len(), pages[9_999]), (10_000, 7));
    }

    #[test]
    fn a_signal_goes_to_the_process_that_the_handle_is_for() {
        use std::os::unix::process::ExitStatusExt;
        let mut child = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
        let handle = pidfd_open(child.id() as i32).unwrap();
        pidfd_send_signal(&handle, libc::SIGKILL).unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(libc::SIGKILL));
        assert!(pidfd_send_signal(&handle, libc::SIGKILL).is_err());
    }
}
