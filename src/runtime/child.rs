//! From the fork to the container's program: everything that a process must do to itself before `execve`. It knows no log
//! and no record; what goes wrong is told in words, as container runtimes say it.

use std::convert::Infallible;
use std::ffi::{CString, NulError};
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit, rlim_t, setrlimit};
use nix::sys::signal::SigSet;
use nix::sys::stat::{Mode, umask};
use nix::unistd::{Gid, Uid, chroot, dup2_stderr, dup2_stdin, dup2_stdout, execve, getegid, geteuid, setsid};

use crate::model::Launch;

use super::sys;

/// Where programs are looked up when `env` has no `PATH`; what container runtimes take.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What the new process writes to.
pub struct Outputs<'a> {
    pub stdout: BorrowedFd<'a>,
    pub stderr: BorrowedFd<'a>,
}

/// Becomes the container's first process. Returns only when it could not, with the reason.
pub fn become_container(launch: &Launch, outputs: &Outputs) -> Result<Infallible, String> {
    detach(outputs).map_err(|e| format!("prepare the process: {e}"))?;
    // Lower than the daemon's is allowed to root alone; what the core asks for is at best not worse for the host.
    let _ = fs::write("/proc/self/oom_score_adj", launch.oom_score_adj.to_string());
    enter_root(&launch.root)?;
    become_user(launch)?;
    if launch.must_not_be_root && geteuid().is_root() {
        return Err("container has runAsNonRoot and would run as root; set securityContext.runAsUser".into());
    }
    // As the user, who may be kept out of it.
    let cwd = if launch.cwd.is_empty() { "/" } else { &launch.cwd };
    std::env::set_current_dir(cwd).map_err(|e| format!("chdir to working directory {cwd:?}: {}", words(&e)))?;
    if launch.no_new_privileges {
        nix::sys::prctl::set_no_new_privs().map_err(|e| format!("set no_new_privs: {}", e.desc()))?;
    }
    execute(launch)
}

/// Leaves nothing of the shim's own state to the container.
fn detach(outputs: &Outputs) -> io::Result<()> {
    setsid()?;
    umask(Mode::from_bits_truncate(0o022));
    dup2_stdin(File::open("/dev/null")?)?;
    dup2_stdout(outputs.stdout.as_fd())?;
    dup2_stderr(outputs.stderr.as_fd())?;
    sys::default_signals();
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

fn enter_root(root: &str) -> Result<(), String> {
    if root.is_empty() || root == "/" {
        return Ok(());
    }
    if !geteuid().is_root() {
        return Err(format!("use {root:?} as root directory: pinnace runs as an ordinary user and may not chroot"));
    }
    let failed = |e: &dyn std::fmt::Display| format!("use {root:?} as root directory: {e}");
    chroot(root).map_err(|e| failed(&e.desc()))?;
    std::env::set_current_dir("/").map_err(|e| failed(&words(&e)))
}

fn become_user(launch: &Launch) -> Result<(), String> {
    if !geteuid().is_root() {
        return stay_user(launch);
    }
    let user = launch.user.map(Uid::from_raw);
    let group = launch.group.or_else(|| launch.user.map(|user| primary_group(user).unwrap_or(0)));
    let groups: Vec<Gid> = launch.groups.iter().map(|g| Gid::from_raw(*g)).collect();
    if user.is_some() || group.is_some() || !groups.is_empty() {
        nix::unistd::setgroups(&groups)
            .map_err(|e| format!("set supplementary groups {:?}: {}", launch.groups, e.desc()))?;
    }
    if let Some(group) = group.map(Gid::from_raw) {
        nix::unistd::setresgid(group, group, group).map_err(|e| format!("run as group {group}: {}", e.desc()))?;
    }
    if let Some(user) = user {
        nix::unistd::setresuid(user, user, user).map_err(|e| format!("run as user {user}: {}", e.desc()))?;
    }
    Ok(())
}

/// An ordinary user can run pods as itself only.
fn stay_user(launch: &Launch) -> Result<(), String> {
    let (own_user, own_group) = (geteuid().as_raw(), getegid().as_raw());
    let same = launch.user.is_none_or(|u| u == own_user) && launch.group.is_none_or(|g| g == own_group);
    if same && launch.groups.iter().all(|g| *g == own_group) {
        return Ok(());
    }
    Err(format!(
        "run as user {:?}, group {:?}, groups {:?}: pinnace itself runs as user {own_user}, group {own_group} and can change neither",
        launch.user, launch.group, launch.groups
    ))
}

/// The group of a user in the container's own `/etc/passwd`; Kubernetes takes 0 where it is not listed.
fn primary_group(user: u32) -> Option<u32> {
    let text = fs::read("/etc/passwd").ok()?;
    String::from_utf8_lossy(&text).lines().find_map(|line| {
        let mut fields = line.split(':').skip(2);
        let found = fields.next()?.parse::<u32>().ok()? == user;
        fields.next()?.parse().ok().filter(|_| found)
    })
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

    #[test]
    fn the_group_of_root_is_in_every_password_file() {
        assert_eq!(primary_group(0), Some(0));
        assert_eq!(primary_group(4_294_967_294), None);
    }
}
