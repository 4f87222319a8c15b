//! One control group (cgroup v2) as a directory: make it, limit it, kill what is in it, see it empty, remove it.
//! Knows no pod and does not know where the tree stands.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill as kill_process};
use nix::unistd::Pid;

use crate::model::Limits;

/// The controllers that limit pods.
pub const CONTROLLERS: [&str; 3] = ["cpu", "memory", "pids"];

/// `cpu.max` counts in periods of 100 ms, as the kubelet's.
const CPU_PERIOD_US: u64 = 100_000;

/// The greatest `cpu.weight` that the kernel takes.
const CPU_WEIGHT_MAX: u64 = 10_000;

pub fn make(group: &Path) -> io::Result<()> {
    match fs::create_dir(group) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        result => result,
    }
}

/// Lets the groups below this one have these controllers; gives back those that they can have.
pub fn enable<'a>(group: &Path, controllers: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let file = group.join("cgroup.subtree_control");
    let can = |c: &&str| fs::write(&file, format!("+{c}")).is_ok();
    controllers.into_iter().filter(can).map(String::from).collect()
}

/// Writes what is asked for. A limit whose controller is not to be had here is left out: the core says so to the user.
///
/// # Errors
/// The kernel does not take a value; the error names the file.
pub fn limit(group: &Path, limits: &Limits) -> io::Result<()> {
    let quota = limits.cpu_quota_us.map(|us| format!("{us} {CPU_PERIOD_US}"));
    let memory = limits.memory_max.is_some();
    let values = [
        ("cpu.weight", limits.cpu_weight.map(|w| w.to_string())),
        ("cpu.max", quota),
        ("memory.max", limits.memory_max.map(|m| m.to_string())),
        // A limit on memory that pushes into swap instead is none.
        ("memory.swap.max", memory.then(|| "0".into())),
        ("pids.max", limits.pids_max.map(|p| p.to_string())),
    ];
    for (file, value) in values {
        if let Some(value) = value {
            set(group, file, &value)?;
        }
    }
    Ok(())
}

/// When memory runs out, all processes of the group go together (kubelet since 1.28).
pub fn die_as_one(group: &Path) -> io::Result<()> {
    set(group, "memory.oom.group", "1")
}

/// Gives the group the weight of the groups below it together.
pub fn weigh(group: &Path) -> io::Result<()> {
    // Two that do this at once could leave the older sum.
    let lock = File::open(group)?;
    lock.lock()?;
    let weight = |child: &PathBuf| fs::read_to_string(child.join("cpu.weight")).ok()?.trim().parse::<u64>().ok();
    // What is over may stay until its pod is deleted, and weighs nothing.
    let together: u64 = children(group)?.iter().filter(|child| !is_empty(child)).filter_map(weight).sum();
    set(group, "cpu.weight", &together.clamp(1, CPU_WEIGHT_MAX).to_string())
}

fn set(group: &Path, file: &str, value: &str) -> io::Result<()> {
    match fs::OpenOptions::new().write(true).open(group.join(file)) {
        // A group of cgroup v2 lets nobody make files in it: the controller is off.
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied) => Ok(()),
        Err(e) => Err(named(file, value, &e)),
        Ok(mut open) => open.write_all(value.as_bytes()).map_err(|e| named(file, value, &e)),
    }
}

fn named(file: &str, value: &str, e: &io::Error) -> io::Error {
    io::Error::new(e.kind(), format!("write {value:?} to {file}: {e}"))
}

/// How many processes of the group the kernel has killed because memory ran out.
pub fn oom_kills(group: &Path) -> u64 {
    value_of(group, "memory.events", "oom_kill").unwrap_or(0)
}

fn value_of(group: &Path, file: &str, key: &str) -> Option<u64> {
    let text = fs::read_to_string(group.join(file)).ok()?;
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.parse().ok())
}

/// Kills every process in the group and in the groups below it; a group that is not there has none.
pub fn kill(group: &Path) -> io::Result<()> {
    match fs::write(group.join("cgroup.kill"), "1") {
        // A file that does not exist cannot be made there either, whatever the error's name.
        Err(_) if !group.exists() => Ok(()),
        Err(_) if !group.join("cgroup.kill").exists() => kill_each(group),
        result => result,
    }
}

/// Before Linux 5.14: freeze, so that no process can fork away from us, and kill one after the other. SIGKILL reaches
/// what is frozen. What forked before the freeze took hold is met again: each change of the freeze is an event.
fn kill_each(group: &Path) -> io::Result<()> {
    let _ = fs::write(group.join("cgroup.freeze"), "1");
    for pid in processes(group) {
        let _ = kill_process(Pid::from_raw(pid), Signal::SIGKILL);
    }
    for child in children(group)? {
        kill_each(&child)?;
    }
    let _ = fs::write(group.join("cgroup.freeze"), "0");
    Ok(())
}

/// Moves this process into the group.
pub fn join(group: &Path) -> io::Result<()> {
    fs::write(group.join("cgroup.procs"), "0")
}

/// Process ids in the group itself.
pub fn processes(group: &Path) -> Vec<i32> {
    let text = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    text.lines().filter_map(|line| line.parse().ok()).collect()
}

/// The groups directly below.
pub fn children(group: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(group) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let directories = entries.flatten().filter(|e| e.file_type().is_ok_and(|t| t.is_dir()));
    Ok(directories.map(|e| e.path()).collect())
}

/// Whether no process lives in the group or below it. Zombies do not count.
pub fn is_empty(group: &Path) -> bool {
    File::open(group.join("cgroup.events")).and_then(|events| is_populated(&events)).is_ok_and(|populated| !populated)
        || !group.exists()
}

/// Kills all that is in the group until nothing is left; blocks as long as a process cannot die (it waits for a disk).
pub fn end(group: &Path) -> io::Result<()> {
    let events = match File::open(group.join("cgroup.events")) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        events => events?,
    };
    // POLLPRI says that the file has changed since it was last read through this descriptor: no change is missed.
    while is_populated(&events)? {
        kill(group)?;
        match poll(&mut [PollFd::new(events.as_fd(), PollFlags::POLLPRI)], PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
    Ok(())
}

fn is_populated(events: &File) -> io::Result<bool> {
    let mut text = [0; 256];
    match events.read_at(&mut text, 0) {
        Ok(len) => Ok(text[..len].split(|b| *b == b'\n').any(|line| line == b"populated 1")),
        // The group was removed meanwhile.
        Err(e) if e.raw_os_error() == Some(libc::ENODEV) => Ok(false),
        Err(e) => Err(e),
    }
}

/// Removes an empty group and the groups below it; what is not there is removed already. Most have none below them, so
/// that is looked for only where the kernel refuses.
pub fn remove(group: &Path) -> io::Result<()> {
    if remove_one(group).is_ok() {
        return Ok(());
    }
    for child in children(group)? {
        remove(&child)?;
    }
    remove_one(group)
}

fn remove_one(group: &Path) -> io::Result<()> {
    match fs::remove_dir(group) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory with a group's files, for what can be told without the kernel.
    fn fake(files: &[(&str, &str)]) -> tempfile::TempDir {
        let group = tempfile::tempdir().unwrap();
        for (file, text) in files {
            fs::write(group.path().join(file), text).unwrap();
        }
        group
    }

    #[test]
    fn a_group_weighs_what_is_below_it() {
        let group = tempfile::tempdir().unwrap();
        let check = |pods: &[u64], expected: &str| {
            for (n, weight) in pods.iter().enumerate() {
                let pod = group.path().join(n.to_string());
                fs::create_dir_all(&pod).unwrap();
                fs::write(pod.join("cpu.weight"), format!("{weight}\n")).unwrap();
                fs::write(pod.join("cgroup.events"), "populated 1\nfrozen 0\n").unwrap();
            }
            fs::write(group.path().join("cpu.weight"), "").unwrap();
            weigh(group.path()).unwrap();
            assert_eq!(fs::read_to_string(group.path().join("cpu.weight")).unwrap(), expected, "{pods:?}");
        };
        check(&[], "1");
        check(&[4], "4");
        check(&[4, 39], "43");
        check(&[9999, 2], "10000");
        fs::write(group.path().join("0/cgroup.events"), "populated 0\nfrozen 0\n").unwrap();
        fs::write(group.path().join("cpu.weight"), "").unwrap();
        weigh(group.path()).unwrap();
        assert_eq!(fs::read_to_string(group.path().join("cpu.weight")).unwrap(), "2", "the one that is over");
        assert!(weigh(&group.path().join("gone")).is_err());
    }

    #[test]
    fn limits_are_written_as_the_kubelet_writes_them() {
        let files = ["cpu.weight", "cpu.max", "memory.max", "memory.swap.max", "pids.max"];
        let group = fake(&files.map(|file| (file, "")));
        let limits =
            Limits { cpu_weight: Some(39), cpu_quota_us: Some(50_000), memory_max: Some(1 << 20), pids_max: Some(7) };
        limit(group.path(), &limits).unwrap();
        let read = files.map(|file| fs::read_to_string(group.path().join(file)).unwrap());
        assert_eq!(read, ["39", "50000 100000", "1048576", "0", "7"]);
    }

    #[test]
    fn what_is_not_limited_and_what_cannot_be_is_left_alone() {
        let group = fake(&[("memory.max", "max"), ("memory.swap.max", "max")]);
        limit(group.path(), &Limits::default()).unwrap();
        limit(group.path(), &Limits { cpu_weight: Some(1), ..Limits::default() }).unwrap();
        assert_eq!(fs::read_to_string(group.path().join("memory.swap.max")).unwrap(), "max");
        assert!(!group.path().join("cpu.weight").exists());
    }

    #[test]
    fn counts_and_lists_are_read_as_the_kernel_prints_them() {
        let group = fake(&[
            ("memory.events", "low 0\nmax 9\noom 3\noom_kill 2\noom_group_kill 1\n"),
            ("cgroup.events", "populated 1\nfrozen 0\n"),
            ("cgroup.procs", "1\n22\n"),
        ]);
        let group = group.path();
        assert_eq!((oom_kills(group), processes(group)), (2, vec![1, 22]));
        assert!(!is_empty(group));
        fs::write(group.join("cgroup.events"), "populated 0\nfrozen 0\n").unwrap();
        assert!(is_empty(group));
        assert!(is_empty(&group.join("gone")));
        kill(&group.join("gone")).unwrap();
        remove(&group.join("gone")).unwrap();
    }
}
