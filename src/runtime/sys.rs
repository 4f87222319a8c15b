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
    fork_apart(cgroup, 0, child)
}

/// As `fork`, with the child in new namespaces of these kinds (`CLONE_NEW…`), which takes CAP_SYS_ADMIN.
pub fn fork_apart(cgroup: Option<BorrowedFd>, namespaces: i32, child: impl FnOnce() -> i32) -> io::Result<i32> {
    let pid = match cgroup {
        Some(directory) => clone_into(directory, namespaces)?,
        // SAFETY: this process has one thread, so no lock can be held by a thread that the child does not have.
        None if namespaces == 0 => check(unsafe { libc::fork() })?,
        None => clone_apart(namespaces)?,
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

fn clone_apart(namespaces: i32) -> io::Result<i32> {
    let flags = namespaces as libc::c_long | libc::c_long::from(libc::SIGCHLD);
    const NONE: libc::c_long = 0;
    // SAFETY: no memory is shared and no stack given, so this is a fork, in whichever order the architecture has the
    // other arguments. This process has one thread, so no lock can be held by a thread that the child does not have.
    check(unsafe { libc::syscall(libc::SYS_clone, flags, NONE, NONE, NONE, NONE) } as i32)
}

fn clone_into(directory: BorrowedFd, namespaces: i32) -> io::Result<i32> {
    // The kernel's `struct clone_args`, version 2; libc does not have it for every target.
    let mut args = [0u64; 11];
    const FLAGS: usize = 0;
    const EXIT_SIGNAL: usize = 4;
    const CGROUP: usize = 10;
    const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;
    args[FLAGS] = CLONE_INTO_CGROUP | namespaces as u32 as u64;
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

/// Asks for a process in a group whose descriptor is none: fails always, and the error tells whether the kernel knows how.
pub fn clone_into_nothing() -> io::Result<()> {
    let mut args = [0u64; 11];
    args[0] = 0x2_0000_0000; // CLONE_INTO_CGROUP
    args[4] = libc::SIGCHLD as u64;
    args[10] = i32::MAX as u64;
    // SAFETY: `args` lives through the call and its size is told; no process can hold that many descriptors, so no child
    // is made.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, args.as_ptr(), size_of_val(&args)) };
    check(pid as i32).map(drop)
}

/// Opens nothing with a structure of no size: fails always, and the error tells whether the kernel has the call (5.6).
pub fn openat2_nothing() -> io::Result<()> {
    let nothing = ptr::null::<u64>();
    // SAFETY: a size of nought is refused before anything is read.
    let opened = unsafe { libc::syscall(libc::SYS_openat2, libc::AT_FDCWD, nothing, nothing, 0usize) };
    check(opened as i32).map(drop)
}

/// The status bits of the kernel's clock (`adjtimex(2)`).
pub fn clock_status() -> io::Result<i32> {
    // SAFETY: the structure is plain numbers, and nought in `modes` asks for no change.
    let mut timex: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: writes to the structure that it is given.
    check(unsafe { libc::adjtimex(&raw mut timex) })?;
    Ok(timex.status)
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

/// Sends a child that was not reaped yet, or a process of the own namespace, a signal by number, real-time ones too.
pub fn kill(pid: i32, signal: i32) -> io::Result<()> {
    // SAFETY: takes two integers and touches no memory.
    check(unsafe { libc::kill(pid, signal) }).map(drop)
}

/// Waits for the next signal, all of which must be blocked. Who sent it: 0 when the kernel did, or a process outside of
/// this one's PID namespace.
pub fn next_signal() -> io::Result<(i32, i32)> {
    // SAFETY: both are plain data for which all zero is a value.
    let (mut all, mut info) = unsafe { (std::mem::zeroed::<libc::sigset_t>(), std::mem::zeroed::<libc::siginfo_t>()) };
    // SAFETY: writes the set that it is given.
    check(unsafe { libc::sigfillset(&raw mut all) })?;
    // SAFETY: reads the set and writes the information, both of which live through the call.
    let signal = check(unsafe { libc::sigwaitinfo(&raw const all, &raw mut info) })?;
    // SAFETY: the field is there for signals of processes; for those of the kernel (`si_code` above 0) it is not read.
    Ok((signal, if info.si_code <= 0 { unsafe { info.si_pid() } } else { 0 }))
}

/// Keeps the memory of this process from being read by others of its user, and `/proc/PID/root` and the like too.
pub fn hide_memory() -> io::Result<()> {
    prctl(libc::PR_SET_DUMPABLE, 0)
}

/// `prctl` with one number.
pub fn prctl(option: i32, argument: libc::c_ulong) -> io::Result<()> {
    const NONE: libc::c_ulong = 0;
    // SAFETY: the options that we use take numbers; none reads or writes memory.
    check(unsafe { libc::prctl(option, argument, NONE, NONE, NONE) }).map(drop)
}

/// Where the kernel finds this process's arguments and, behind them, the environment it was started with, for `ps`.
pub fn arguments() -> io::Result<(usize, usize)> {
    // Numbered from 1 in proc(5); the state, number 3, is the first behind the name.
    const ARG_START: usize = 48 - 3;
    const ENV_END: usize = 51 - 3;
    let stat = fs::read_to_string("/proc/self/stat")?;
    let fields: Vec<&str> = stat.rsplit_once(") ").map_or("", |(_, after)| after).split(' ').collect();
    let field = |n: usize| fields.get(n).and_then(|field| field.trim().parse::<usize>().ok());
    match (field(ARG_START), field(ENV_END)) {
        (Some(start), Some(end)) if 0 < start && start <= end => Ok((start, end)),
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, "/proc/self/stat does not tell where the arguments are")),
    }
}

/// Overwrites what `arguments` told with zeros and the name. Nothing may read its arguments or environment afterwards.
pub fn overwrite_arguments((start, end): (usize, usize), name: &[u8]) {
    let place = ptr::with_exposed_provenance_mut::<u8>(start);
    let len = name.len().min(end - start);
    // SAFETY: the kernel told that this range of the stack holds the strings; it is writable, and no reference to them is
    // alive in a forked process that is called with nothing but numbers.
    unsafe { ptr::write_bytes(place, 0, end - start) };
    // SAFETY: as above, and no longer than the range.
    unsafe { ptr::copy_nonoverlapping(name.as_ptr(), place, len) };
}

/// Effective, permitted and inheritable capabilities as bits; `capget(2)`.
pub struct CapabilitySets {
    pub effective: u64,
    pub permitted: u64,
    pub inheritable: u64,
}

/// The kernel's `struct __user_cap_header_struct`: version 3 of the interface, this process.
const CAPABILITY_HEADER: [u32; 2] = [0x2008_0522, 0];

pub fn capabilities() -> io::Result<CapabilitySets> {
    let (mut header, mut data) = (CAPABILITY_HEADER, [0u32; 6]);
    // SAFETY: reads (and may correct) the header and writes two structs of three numbers each.
    check(unsafe { libc::syscall(libc::SYS_capget, header.as_mut_ptr(), data.as_mut_ptr()) } as i32)?;
    let [low_e, low_p, low_i, high_e, high_p, high_i] = data.map(u64::from);
    Ok(CapabilitySets {
        effective: low_e | high_e << 32,
        permitted: low_p | high_p << 32,
        inheritable: low_i | high_i << 32,
    })
}

pub fn set_capabilities(sets: &CapabilitySets) -> io::Result<()> {
    let all = [sets.effective, sets.permitted, sets.inheritable];
    let (low, high) = (all.map(|set| set as u32), all.map(|set| (set >> 32) as u32));
    let (mut header, data) = (CAPABILITY_HEADER, [low, high]);
    // SAFETY: reads the header and two structs of three numbers each.
    check(unsafe { libc::syscall(libc::SYS_capset, header.as_mut_ptr(), data.as_ptr()) } as i32).map(drop)
}

/// Restricts the mount at this path and all below it, from Linux 5.12 on. `flags`: `MS_RDONLY`, `MS_NODEV` and their like,
/// which have the same numbers here (`include/uapi/linux/mount.h`).
pub fn restrict_mounts(path: &std::ffi::CStr, flags: u64) -> io::Result<()> {
    // The same on every architecture that we are built for; the C library's headers may be older than the kernel.
    const MOUNT_SETATTR: libc::c_long = 442;
    const RECURSIVE: libc::c_uint = 0x8000;
    // The kernel's `struct mount_attr`: to set, to clear, propagation, a user namespace.
    let attributes = [flags, 0, 0, 0];
    let (here, size) = (libc::AT_FDCWD, size_of_val(&attributes));
    // SAFETY: reads a string that ends, and a struct of the size that is told.
    check(unsafe { libc::syscall(MOUNT_SETATTR, here, path.as_ptr(), RECURSIVE, attributes.as_ptr(), size) } as i32)
        .map(drop)
}

/// One instruction of the classic Berkeley packet filter, as the kernel has it (`struct sock_filter`).
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instruction {
    pub code: u16,
    pub yes: u8,
    pub no: u8,
    pub k: u32,
}

/// Puts this process and all that comes of it under a seccomp filter. Needs CAP_SYS_ADMIN or no_new_privs.
pub fn filter_calls(program: &[Instruction]) -> io::Result<()> {
    const SET_MODE_FILTER: libc::c_uint = 1;
    const NO_FLAGS: libc::c_uint = 0;
    #[repr(C)]
    struct Program {
        len: u16,
        first: *const Instruction,
    }
    let len = u16::try_from(program.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let program = Program { len, first: program.as_ptr() };
    // SAFETY: reads the struct and as many instructions as it says; both live through the call.
    check(unsafe { libc::syscall(libc::SYS_seccomp, SET_MODE_FILTER, NO_FLAGS, &raw const program) } as i32).map(drop)
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

/// Closes every descriptor, the first three too; for a process that has no use for any.
pub fn close_all() {
    close_range(0, libc::c_uint::MAX);
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
