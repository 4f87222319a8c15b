//! From the fork to the container's program: everything that a process must do to itself before `execve`. It knows no log
//! and no record; what goes wrong is told in words, as container runtimes say it.

use std::convert::Infallible;
use std::ffi::{CString, NulError};
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit, rlim_t, setrlimit};
use nix::sys::signal::SigSet;
use nix::sys::stat::{Mode, umask};
use nix::unistd::{Gid, Uid, dup2_stderr, dup2_stdin, dup2_stdout, execve, getegid, geteuid, sethostname, setsid};

use crate::model::Launch;
use crate::model::attempt::{Root, Seccomp};

use super::paths::Dirs;
use super::user::{self, Identity};
use super::{caps, rootfs, seccomp, sys};

/// Where programs are looked up when `env` has no `PATH`; what container runtimes take.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What the new process writes to.
pub struct Outputs<'a> {
    pub stdout: BorrowedFd<'a>,
    pub stderr: BorrowedFd<'a>,
    /// Where the reason goes when it cannot become the container's; closed by the kernel when it can.
    pub word: BorrowedFd<'a>,
}

/// What the shim has made ready for the container.
pub struct Seat<'a> {
    pub dirs: &'a Dirs,
    /// The directories of `launch.volumes`.
    pub volumes: &'a [PathBuf],
    /// Init, whose namespaces the program is to live in; none for the host's root.
    pub init: Option<i32>,
}

/// Becomes the container's first process. Returns only when it could not, with the reason.
pub fn become_container(mut launch: Launch, outputs: &Outputs, seat: &Seat) -> Result<Infallible, String> {
    detach(outputs).map_err(|e| format!("prepare the process: {e}"))?;
    // Lower than the daemon's is allowed to root alone; what the core asks for is at best not worse for the host.
    let _ = fs::write("/proc/self/oom_score_adj", launch.oom_score_adj.to_string());
    enter_root(&launch, outputs, seat)?;
    let identity = user::identity(&launch)?;
    confine(&launch)?;
    become_user(&launch, &identity)?;
    if launch.must_not_be_root && geteuid().is_root() {
        return Err("container has runAsNonRoot and would run as root; set securityContext.runAsUser".into());
    }
    restrict(&launch)?;
    // As the user, who may be kept out of it.
    let cwd = if launch.cwd.is_empty() { "/" } else { &launch.cwd };
    std::env::set_current_dir(cwd).map_err(|e| format!("chdir to working directory {cwd:?}: {}", words(&e)))?;
    if launch.no_new_privileges {
        no_new_privileges()?;
    }
    if launch.root != Root::Host && !launch.env.iter().any(|(name, _)| name == "HOME") {
        launch.env.push(("HOME".into(), identity.home));
    }
    execute(&launch)
}

fn no_new_privileges() -> Result<(), String> {
    nix::sys::prctl::set_no_new_privs().map_err(|e| format!("set no_new_privs: {}", e.desc()))
}

/// The capabilities that the container may have at most. None: nothing is taken.
fn allowed(launch: &Launch) -> Result<Option<caps::Set>, String> {
    if launch.privileged || (launch.root == Root::Host && launch.capabilities.drop.is_empty()) {
        return Ok(None);
    }
    let usual = if launch.root == Root::Host { caps::Set::ALL } else { caps::Set::usual() };
    usual.changed(&launch.capabilities).map(Some)
}

/// What has to be done while the process may do everything.
fn confine(launch: &Launch) -> Result<(), String> {
    let allowed = allowed(launch)?;
    match allowed.map_or(Ok(()), caps::bound) {
        Ok(()) => {}
        // An ordinary user has none; only a setuid program could get some, and with this none can.
        Err(_) if !geteuid().is_root() => no_new_privileges()?,
        Err(e) => return Err(format!("drop capabilities: {e}")),
    }
    let is_image = launch.root != Root::Host;
    let (filtered, must) = match launch.seccomp {
        Seccomp::Unset => (is_image, false),
        Seccomp::RuntimeDefault => (true, true),
        Seccomp::Unconfined => (false, false),
    };
    if !filtered || launch.privileged {
        return Ok(());
    }
    match seccomp::enter(allowed.unwrap_or(caps::Set::ALL)) {
        Err(e) if must || !seccomp::is_missing(&e) => Err(format!("filter system calls (seccomp): {e}")),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// What is given up last. A user other than root has lost its capabilities by becoming that.
fn restrict(launch: &Launch) -> Result<(), String> {
    let Some(allowed) = allowed(launch)? else { return Ok(()) };
    caps::keep_only(allowed).map_err(|e| format!("drop capabilities: {e}"))
}

/// Leaves nothing of the shim's own state to the container.
fn detach(outputs: &Outputs) -> io::Result<()> {
    setsid()?;
    umask(Mode::from_bits_truncate(0o022));
    dup2_stdin(File::open("/dev/null")?)?;
    dup2_stdout(outputs.stdout.as_fd())?;
    dup2_stderr(outputs.stderr.as_fd())?;
    SigSet::empty().thread_set_mask()?;
    reset_limits();
    Ok(())
}

/// What a service manager gives a service by default: the limits of the daemon's own unit are not for pods. An ordinary
/// user cannot raise what is low; that is left as it is.
fn reset_limits() {
    const STACK: rlim_t = 8 * 1024 * 1024;
    const FILES_SOFT: rlim_t = 1024;
    const FILES_HARD: rlim_t = 524_288;
    let defaults = [
        (Resource::RLIMIT_CPU, RLIM_INFINITY, RLIM_INFINITY),
        (Resource::RLIMIT_FSIZE, RLIM_INFINITY, RLIM_INFINITY),
        (Resource::RLIMIT_DATA, RLIM_INFINITY, RLIM_INFINITY),
        (Resource::RLIMIT_AS, RLIM_INFINITY, RLIM_INFINITY),
        (Resource::RLIMIT_STACK, STACK, RLIM_INFINITY),
        (Resource::RLIMIT_CORE, 0, RLIM_INFINITY),
        (Resource::RLIMIT_NOFILE, FILES_SOFT, FILES_HARD),
    ];
    for (resource, soft, hard) in defaults {
        if setrlimit(resource, soft, hard).is_err()
            && let Ok((_, highest)) = getrlimit(resource)
        {
            let _ = setrlimit(resource, soft.min(highest), highest);
        }
    }
}

fn enter_root(launch: &Launch, outputs: &Outputs, seat: &Seat) -> Result<(), String> {
    match (&launch.root, seat.init) {
        (Root::Host, _) if launch.mounts.is_empty() => Ok(()),
        (Root::Host, _) => rootfs::stay_on_host(launch, seat.dirs, seat.volumes),
        (Root::Directory(_) | Root::Layers(_), Some(init)) => {
            // The claim above all: what may take long now (a copy of the layers) must not hide that the shim is gone. Init
            // ends with it, and this process with init. On the host's root nothing would; there the claim is kept.
            sys::close_others(outputs.word.as_fd());
            join(init).map_err(|e| format!("enter the container's namespaces: {e}"))?;
            if !launch.hostname.is_empty() {
                sethostname(&launch.hostname)
                    .map_err(|e| format!("set host name {:?}: {}", launch.hostname, e.desc()))?;
            }
            rootfs::enter(launch, seat.dirs, seat.volumes)
        }
        (Root::Directory(_) | Root::Layers(_), None) => Err("the container has no namespaces".into()),
    }
}

/// The namespaces of init but for the PID namespace, in which this process was born; and a cgroup namespace that begins
/// where this process is, where the kernel has such.
fn join(init: i32) -> io::Result<()> {
    let kinds =
        [("mnt", CloneFlags::CLONE_NEWNS), ("uts", CloneFlags::CLONE_NEWUTS), ("ipc", CloneFlags::CLONE_NEWIPC)];
    let open = |(name, kind)| Ok((File::open(format!("/proc/{init}/ns/{name}"))?, kind));
    // All at once: behind the first, `/proc` may be another.
    let opened = kinds.into_iter().map(open).collect::<io::Result<Vec<_>>>()?;
    for (namespace, kind) in opened {
        setns(namespace, kind)?;
    }
    let _ = unshare(CloneFlags::CLONE_NEWCGROUP);
    Ok(())
}

fn become_user(launch: &Launch, identity: &Identity) -> Result<(), String> {
    let Identity { user, group, groups, home: _ } = identity;
    if !geteuid().is_root() {
        return stay_user(launch);
    }
    if user.is_some() || group.is_some() || !groups.is_empty() {
        let gids: Vec<Gid> = groups.iter().map(|g| Gid::from_raw(*g)).collect();
        nix::unistd::setgroups(&gids).map_err(|e| format!("set supplementary groups {groups:?}: {}", e.desc()))?;
    }
    if let Some(group) = group.map(Gid::from_raw) {
        nix::unistd::setresgid(group, group, group).map_err(|e| format!("run as group {group}: {}", e.desc()))?;
    }
    if let Some(user) = user.map(Uid::from_raw) {
        nix::unistd::setresuid(user, user, user).map_err(|e| format!("run as user {user}: {}", e.desc()))?;
    }
    Ok(())
}

/// An ordinary user can run pods as itself only.
fn stay_user(launch: &Launch) -> Result<(), String> {
    let Launch { user, group, groups, .. } = launch;
    let (own_user, own_group) = (geteuid().as_raw(), getegid().as_raw());
    let same = user.is_none_or(|u| u == own_user) && group.is_none_or(|g| g == own_group);
    if same && groups.iter().all(|g| *g == own_group) {
        return Ok(());
    }
    Err(format!(
        "{}: pinnace itself runs as user {own_user}, group {own_group} and can change neither",
        identity(*user, *group, groups)
    ))
}

/// `run as user 0, group 0, further groups 5, 6`: what was asked for, and nothing of the rest.
fn identity(user: Option<u32>, group: Option<u32>, groups: &[u32]) -> String {
    let named = |what, id: Option<u32>| id.map(|id| format!("{what} {id}"));
    let list: Vec<String> = groups.iter().map(u32::to_string).collect();
    let further = (!list.is_empty()).then(|| format!("further groups {}", list.join(", ")));
    let parts: Vec<String> = [named("user", user), named("group", group), further].into_iter().flatten().collect();
    format!("run as {}", parts.join(", "))
}

fn execute(launch: &Launch) -> Result<Infallible, String> {
    let program = launch.argv.first().ok_or("no command: the container has neither a command nor an image with one")?;
    let no_nul = |_: NulError| "a NUL byte in the command or in the environment".to_string();
    let argv = launch.argv.iter().map(|a| CString::new(a.as_str())).collect::<Result<Vec<_>, _>>().map_err(no_nul)?;
    let env = launch.env.iter().map(|(k, v)| CString::new(format!("{k}={v}"))).collect::<Result<Vec<_>, _>>();
    let env = env.map_err(no_nul)?;
    let run = |path: &str| match CString::new(path) {
        Ok(path) => execve(&path, &argv, &env).expect_err("it does not return when it has succeeded"),
        Err(_) => Errno::EINVAL,
    };
    if program.contains('/') {
        return Err(cannot_run(program, run(program), launch));
    }
    let path = launch.env.iter().rev().find(|(name, _)| name == "PATH").map_or(DEFAULT_PATH, |(_, value)| value);
    Err(search(program, path, run))
}

/// Runs the first of that name that can be run, as `execvp` does: one that may not be run is passed over, and named when
/// there is no other.
fn search(program: &str, path: &str, run: impl Fn(&str) -> Errno) -> String {
    let mut denied = false;
    for directory in path.split(':') {
        let directory = if directory.is_empty() { "." } else { directory };
        match run(&format!("{directory}/{program}")) {
            Errno::ENOENT | Errno::ENOTDIR => {}
            Errno::EACCES => denied = true,
            e => return format!("exec: {program:?}: {}", e.desc().to_lowercase()),
        }
    }
    let why = if denied { "permission denied" } else { "executable file not found in $PATH" };
    format!("exec: {program:?}: {why}")
}

fn cannot_run(program: &str, e: Errno, launch: &Launch) -> String {
    let why = e.desc().to_lowercase();
    match e {
        // The same error tells that a script's interpreter or a binary's loader is missing.
        Errno::ENOENT if Path::new(program).exists() => {
            format!("exec: {program:?}: the interpreter or loader that it names is not there: {why}")
        }
        Errno::ENOENT => format!("exec: {program:?}: stat {program}: {why}"),
        Errno::E2BIG => {
            let bytes: usize = launch.env.iter().map(|(k, v)| k.len() + v.len() + 2).sum();
            format!("exec: {program:?}: {why} ({bytes} bytes of environment)")
        }
        _ => format!("exec: {program:?}: {why}"),
    }
}

fn words(e: &io::Error) -> String {
    e.raw_os_error().map_or_else(|| e.to_string(), |code| Errno::from_raw(code).desc().to_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_was_to_run_it_is_said_in_words() {
        for (user, group, groups, expected) in [
            (Some(0), None, &[][..], "run as user 0"),
            (Some(5), Some(6), &[7, 8], "run as user 5, group 6, further groups 7, 8"),
            (None, Some(6), &[], "run as group 6"),
            (None, None, &[7], "run as further groups 7"),
        ] {
            assert_eq!(identity(user, group, groups), expected);
        }
    }

    #[test]
    fn a_program_is_looked_up_as_execvp_does() {
        let check = |path: &str, answers: &[(&str, Errno)], expected: &str| {
            let run = |at: &str| answers.iter().find(|(p, _)| *p == at).map_or(Errno::ENOENT, |(_, e)| *e);
            assert_eq!(search("x", path, run), expected, "{path}");
        };
        let missing = "exec: \"x\": executable file not found in $PATH";
        let denied = "exec: \"x\": permission denied";
        check("/a:/b", &[], missing);
        check("", &[], missing);
        check("/a:/b", &[("/a/x", Errno::ENOTDIR)], missing);
        check("/a:/b", &[("/a/x", Errno::EACCES)], denied);
        check("/a::/b", &[("./x", Errno::EACCES)], denied);
        check("/a:/b", &[("/a/x", Errno::EACCES), ("/b/x", Errno::ENOEXEC)], "exec: \"x\": exec format error");
    }
}
