//! What must be there before a container's first process is: its control group, the directories of its volumes, and init
//! with the namespaces. Also what of it is cleared away when the attempt is over. Knows no log and no record.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;
use nix::sched::{CloneFlags, setns};
use nix::sys::wait::waitpid;
use nix::unistd::{Pid, geteuid, getpid, pipe2};

use crate::model::Limits;

use super::order::{self, Groups, Keep, RootKind, Start};
use super::{cgroup, init, sys, volumes};

const NAMESPACES: CloneFlags = CloneFlags::CLONE_NEWPID
    .union(CloneFlags::CLONE_NEWNS)
    .union(CloneFlags::CLONE_NEWUTS)
    .union(CloneFlags::CLONE_NEWIPC);

/// The container's group, open for a process to be born in.
pub struct Group {
    directory: File,
    path: PathBuf,
    pub oom_kills: u64,
}

/// The rest.
pub struct Seat {
    pub group: Option<Group>,
    /// In the order of the launch's volumes.
    pub volumes: Vec<PathBuf>,
    /// Process 1 of the container's PID namespace, into which this process's next child is born.
    pub init: Option<i32>,
}

impl Seat {
    pub fn take(start: &Start<Keep>, order: &[u8]) -> io::Result<Seat> {
        let keep = &start.launch;
        may(keep)?;
        let group = start.groups.as_ref().map(|groups| make_groups(groups, keep)).transpose()?;
        let volumes = prepare_volumes(start, order, group.as_ref())?;
        let init = match keep.root {
            RootKind::Host => None,
            RootKind::Directory(_) | RootKind::Layers(_) => Some(make_init(group.as_ref())?),
        };
        Ok(Seat { group, volumes, init })
    }
}

/// Removes what the attempt wrote into its root and had for its mounts. They are gone: they were in its own namespace.
pub fn clear(start: &Start<Keep>) {
    let keep = &start.launch;
    if keep.root != RootKind::Host || !keep.mounts.is_empty() {
        // What cannot be removed now goes with the pod.
        let _ = fs::remove_dir_all(start.dirs.root(&keep.attempt));
    }
}

/// An ordinary user is told so before anything is made.
fn may(keep: &Keep) -> io::Result<()> {
    if geteuid().is_root() {
        return Ok(());
    }
    let (what, instead) = match keep.root {
        RootKind::Host if keep.mounts.is_empty() => return Ok(()),
        RootKind::Host => ("mount volumes", "leave the volumes out"),
        RootKind::Directory(_) | RootKind::Layers(_) => ("run an image", "use `image: host`"),
    };
    let text =
        format!("{what}: pinnace runs as an ordinary user, who may mount nothing; run the node as root, or {instead}");
    Err(io::Error::new(io::ErrorKind::PermissionDenied, text))
}

fn make_groups(groups: &Groups, keep: &Keep) -> io::Result<Group> {
    make_group(&groups.pod, &keep.pod_limits).map_err(|e| about("set up the pod's cgroup", &e))?;
    cgroup::enable(&groups.pod, groups.controllers.iter().map(String::as_str));
    let open = || {
        make_group(&groups.container, &keep.limits)?;
        if has_memory(groups) {
            cgroup::die_as_one(&groups.container)?;
        }
        File::open(&groups.container)
    };
    let directory = open().map_err(|e| about("set up the container's cgroup", &too_low(e, keep)))?;
    Ok(Group { directory, path: groups.container.clone(), oom_kills: oom_kills(groups) })
}

fn has_memory(groups: &Groups) -> bool {
    groups.controllers.iter().any(|c| c == "memory")
}

/// Processes of the container's group that the kernel ended for want of memory.
pub fn oom_kills(groups: &Groups) -> u64 {
    if has_memory(groups) { cgroup::oom_kills(&groups.container) } else { 0 }
}

/// What the kernel has no memory for within the pod's own limit.
fn too_low(e: io::Error, keep: &Keep) -> io::Error {
    match keep.pod_limits.memory_max {
        Some(max) if e.kind() == io::ErrorKind::OutOfMemory => {
            io::Error::new(e.kind(), format!("{e}; the pod's memory limit of {max} bytes is too low to start anything"))
        }
        Some(_) | None => e,
    }
}

fn make_group(path: &Path, limits: &Limits) -> io::Result<()> {
    cgroup::make(path)?;
    cgroup::limit(path, limits)
}

/// Forks a process that is in the group from its first instruction on; where the kernel cannot do that, it enters the group
/// itself and is told whether it could.
pub fn fork_in(
    group: Option<&Group>,
    namespaces: CloneFlags,
    child: impl Fn(Result<(), String>) -> i32,
) -> io::Result<i32> {
    let namespaces = namespaces.bits();
    let Some(group) = group else { return sys::fork_apart(None, namespaces, || child(Ok(()))) };
    let enter = || cgroup::join(&group.path).map_err(|e| format!("enter the cgroup: {e}"));
    match sys::fork_apart(Some(group.directory.as_fd()), namespaces, || child(Ok(()))) {
        Err(e) if e.kind() == io::ErrorKind::Unsupported => sys::fork_apart(None, namespaces, || child(enter())),
        forked => forked,
    }
}

/// In a process of its own: what a volume takes is much, and no memory of the shim's. Before init is: what is mounted for a
/// volume on the host must be there when the container's mount namespace is made.
fn prepare_volumes(start: &Start<Keep>, order: &[u8], group: Option<&Group>) -> io::Result<Vec<PathBuf>> {
    if start.launch.volumes.is_empty() {
        return Ok(Vec::new());
    }
    let (answer, to) = pipe2(OFlag::O_CLOEXEC)?;
    let prepare = |joined: Result<(), String>| {
        let paths = joined.and_then(|()| prepare_all(start, order));
        let tell = || File::from(to.try_clone()?).write_all(&serde_json::to_vec(&paths)?);
        i32::from(tell().is_err())
    };
    let pid = fork_in(group, CloneFlags::empty(), prepare).map_err(|e| about("start a process for the volumes", &e))?;
    drop(to);
    let mut bytes = Vec::new();
    File::from(answer).read_to_end(&mut bytes)?;
    waitpid(Pid::from_raw(pid), None)?;
    let paths: Result<Vec<PathBuf>, String> = serde_json::from_slice(&bytes)
        .map_err(|_| io::Error::other("prepare volumes: the process that does it was ended"))?;
    paths.map_err(io::Error::other)
}

fn prepare_all(start: &Start<Keep>, order: &[u8]) -> Result<Vec<PathBuf>, String> {
    let launch = order::launch(order).map_err(|e| format!("read the order: {e}"))?;
    let prepare = |volume| volumes::prepare(&start.dirs, &launch.attempt.pod, volume);
    launch.volumes.iter().map(|volume| prepare(volume).map_err(|e| format!("volume {:?}: {e}", volume.name))).collect()
}

fn make_init(group: Option<&Group>) -> io::Result<i32> {
    let arguments = sys::arguments()?;
    let shim = sys::pidfd_open(getpid().as_raw())?;
    let live = |joined: Result<(), String>| joined.map_or(1, |()| init::run(&shim, arguments));
    let pid = fork_in(group, NAMESPACES, live).map_err(no_namespaces)?;
    let namespace = File::open(format!("/proc/{pid}/ns/pid")).map_err(|e| about("find the container's init", &e))?;
    setns(namespace, CloneFlags::CLONE_NEWPID).map_err(|e| about("enter the container's PID namespace", &e.into()))?;
    Ok(pid)
}

fn no_namespaces(e: io::Error) -> io::Error {
    let hint = match e.raw_os_error() {
        Some(libc::EPERM) => {
            "pinnace has not the capability CAP_SYS_ADMIN; run the node as root with all capabilities, or use `image: host`"
        }
        Some(libc::EINVAL | libc::ENOSYS) => "this kernel lacks PID, mount, UTS or IPC namespaces; use `image: host`",
        Some(libc::ENOSPC) => "a limit below /proc/sys/user (max_pid_namespaces and the like) is reached; raise it",
        Some(_) | None => return about("run an image: make namespaces", &e),
    };
    io::Error::new(e.kind(), format!("run an image: make namespaces: {hint}"))
}

fn about(what: &str, e: &io::Error) -> io::Error {
    io::Error::new(e.kind(), format!("{what}: {e}"))
}
