//! The least that any program on this host would have to do: start a process in control groups of its own, make 4 KiB
//! durable. Knows nothing of pinnace.

use std::ffi::CString;
use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Where the host has cgroup2 mounted.
pub fn cgroup_mount() -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    mounts.lines().find_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        after.starts_with("cgroup2 ").then(|| PathBuf::from(before.split(' ').nth(4).expect("the kernel names it")))
    })
}

/// A new group of this bench, directly below the mount; none where that is not allowed.
pub fn make_group(name: &str) -> Option<PathBuf> {
    static MADE: AtomicUsize = AtomicUsize::new(0);
    let number = MADE.fetch_add(1, Ordering::Relaxed);
    let group = cgroup_mount()?.join(format!("pinnace-bench-{}-{name}-{number}", std::process::id()));
    fs::create_dir(&group).ok().map(|()| group)
}

/// An empty group and those below it.
pub fn remove_group(group: &Path) {
    let below = fs::read_dir(group).into_iter().flatten().flatten();
    below.filter(|entry| entry.path().is_dir()).for_each(|entry| remove_group(&entry.path()));
    if let Err(e) = fs::remove_dir(group) {
        println!("  {} stays: {e}", group.display());
    }
}

/// Starts processes as pods have to be started, and nothing more.
pub struct Spawner {
    root: Option<PathBuf>,
    program: CString,
    arguments: Vec<CString>,
}

impl Spawner {
    pub fn new(argv: &[&str]) -> Spawner {
        let arguments: Vec<CString> = argv.iter().map(|a| CString::new(*a).expect("no NUL in it")).collect();
        Spawner { root: make_group("floor"), program: arguments[0].clone(), arguments }
    }

    /// Processes a second, with so many at a time.
    pub fn rate(&self, processes: usize, at_a_time: usize) -> f64 {
        let (next, begun) = (AtomicUsize::new(0), Instant::now());
        std::thread::scope(|scope| {
            for _ in 0..at_a_time {
                scope.spawn(|| {
                    while let number = next.fetch_add(1, Ordering::Relaxed)
                        && number < processes
                    {
                        self.run(number);
                    }
                });
            }
        });
        processes as f64 / begun.elapsed().as_secs_f64()
    }

    /// A pod's and a container's group, a process born in the inner one, its end, and the end of both groups.
    pub fn run(&self, number: usize) {
        let Some(root) = &self.root else { return self.wait(self.fork(None)) };
        let pod = root.join(number.to_string());
        let container = pod.join("main");
        fs::create_dir(&pod).and_then(|()| fs::create_dir(&container)).expect("the group above is ours");
        let directory = File::open(&container).expect("it was made just now");
        self.wait(self.fork(Some(&directory)));
        drop(directory);
        fs::remove_dir(&container).and_then(|()| fs::remove_dir(&pod)).expect("nothing is left in it");
    }

    fn fork(&self, group: Option<&File>) -> libc::pid_t {
        const INTO_CGROUP: u64 = 0x2_0000_0000;
        let mut argv: Vec<*const libc::c_char> = self.arguments.iter().map(|a| a.as_ptr()).collect();
        argv.push(std::ptr::null());
        // The kernel's `struct clone_args`: flags first, the exit signal fifth, the group last.
        let mut args = [0u64; 11];
        args[0] = libc::CLONE_VFORK as u64;
        args[4] = libc::SIGCHLD as u64;
        if let Some(group) = group {
            args[0] |= INTO_CGROUP;
            args[10] = group.as_raw_fd() as u64;
        }
        // SAFETY: no memory is shared and no stack given, so this is a fork; `args` lives through the call.
        let pid = unsafe { libc::syscall(libc::SYS_clone3, args.as_ptr(), size_of_val(&args)) };
        if pid == 0 {
            // SAFETY: the child of a process with threads calls nothing but these two, which the kernel does; `argv` is
            // a copy of pointers to strings that live in `self`, and ends with a null.
            unsafe {
                libc::execv(self.program.as_ptr(), argv.as_ptr());
                libc::_exit(127);
            }
        }
        assert!(pid > 0, "start a process in a group: {}", std::io::Error::last_os_error());
        pid as libc::pid_t
    }

    fn wait(&self, pid: libc::pid_t) {
        // SAFETY: the status is not wanted; `pid` is a child that nobody else waits for.
        let waited = unsafe { libc::waitpid(pid, std::ptr::null_mut(), 0) };
        assert_eq!(waited, pid, "{}", std::io::Error::last_os_error());
    }
}

impl Drop for Spawner {
    fn drop(&mut self) {
        self.root.iter().for_each(|root| remove_group(root));
    }
}

/// Makes 4 KiB durable, again and again in the same place of a file that has its length.
pub struct Disk {
    file: File,
    _directory: tempfile::TempDir,
}

impl Disk {
    pub fn new() -> Disk {
        let directory = super::scratch();
        let file = File::create(directory.path().join("floor")).expect("the directory is ours");
        let disk = Disk { file, _directory: directory };
        disk.commit();
        disk
    }

    pub fn commit(&self) -> Duration {
        let begun = Instant::now();
        self.file.write_all_at(&[7; 4096], 0).and_then(|()| self.file.sync_data()).expect("the disk takes 4 KiB");
        begun.elapsed()
    }
}
