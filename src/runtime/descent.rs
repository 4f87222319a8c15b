//! Finds and ends processes where the host lets us have no control groups: by who descends from whom. Needs `/proc` and
//! nothing else; weaker than a group, and the node says so.

use std::collections::BTreeMap;
use std::fs;
use std::io;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, getpid};

use crate::model::Uid;
use crate::model::sorted;

/// The variable that every attempt has in its environment; it marks whom a process belongs to when its shim is gone.
const POD_VARIABLE: &str = "PINNACE_POD_UID";

/// Kills all that descends from this process until nothing is left. This process must be a subreaper: what loses its
/// parent becomes its child.
pub fn end_own() {
    // Most containers leave nothing behind, and a walk through all processes is dear.
    while has_children() {
        kill_own();
        let _ = waitpid(Pid::from_raw(-1), None);
    }
}

/// Takes the exits of those that have ended.
fn has_children() -> bool {
    loop {
        match waitpid(Pid::from_raw(-1), Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) => return true,
            Err(Errno::ECHILD) => return false,
            Ok(_) | Err(_) => {}
        }
    }
}

/// Kills all that descends from this process now.
pub fn kill_own() {
    let parents = parents();
    let own = getpid().as_raw();
    for pid in parents.keys().filter(|pid| ancestors(**pid, &parents).any(|a| a == own)) {
        let _ = kill(Pid::from_raw(*pid), Signal::SIGKILL);
    }
}

/// Kills the processes of a pod that no living shim is in charge of. `shims` are the shims that live.
pub fn end_orphans(pod: &Uid, shims: &[i32]) -> io::Result<()> {
    loop {
        let parents = parents();
        let orphans: Vec<i32> = parents
            .keys()
            .copied()
            .filter(|pid| belongs_to(*pid, pod) && !ancestors(*pid, &parents).any(|a| shims.contains(&a)))
            .collect();
        if orphans.is_empty() {
            return Ok(());
        }
        for pid in orphans {
            end_one(pid)?;
        }
    }
}

/// Kills one process and blocks until it is gone.
fn end_one(pid: i32) -> io::Result<()> {
    use std::os::fd::AsFd;
    let Ok(process) = super::sys::pidfd_open(pid) else { return Ok(()) };
    match super::sys::pidfd_send_signal(&process, libc::SIGKILL) {
        Err(e) if e.raw_os_error() == Some(libc::ESRCH) => return Ok(()),
        sent => sent?,
    }
    let mut ended = [nix::poll::PollFd::new(process.as_fd(), nix::poll::PollFlags::POLLIN)];
    nix::poll::poll(&mut ended, nix::poll::PollTimeout::NONE)?;
    Ok(())
}

/// Every process's parent. Zombies are left out: they cannot be killed.
fn parents() -> BTreeMap<i32, i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    sorted::map(pids.filter_map(|pid| Some((pid, parse_parent(&fs::read(format!("/proc/{pid}/stat")).ok()?)?))))
}

/// The name in brackets may hold anything, brackets too; after the last one come the state and the parent.
fn parse_parent(stat: &[u8]) -> Option<i32> {
    let after_name = &stat[stat.iter().rposition(|b| *b == b')')? + 1..];
    let mut fields = std::str::from_utf8(after_name).ok()?.split_whitespace();
    let state = fields.next()?;
    fields.next()?.parse().ok().filter(|_| state != "Z" && state != "X")
}

fn ancestors(pid: i32, parents: &BTreeMap<i32, i32>) -> impl Iterator<Item = i32> {
    // The list is no snapshot, so a wrong turn must not become a circle.
    const GENERATIONS_MAX: usize = 4096;
    std::iter::successors(parents.get(&pid).copied(), |pid| parents.get(pid).copied()).take(GENERATIONS_MAX)
}

fn belongs_to(pid: i32, pod: &Uid) -> bool {
    let mark = format!("{POD_VARIABLE}={pod}");
    let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    environment.split(|b| *b == 0).any(|variable| variable == mark.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parent_is_found_whatever_the_name_is() {
        let check = |stat: &str, expected| assert_eq!(parse_parent(stat.as_bytes()), expected, "{stat}");
        check("12 (sh) S 7 12 12 0", Some(7));
        check("12 (a) b ) R 1) S 9 1", Some(9));
        check("12 (sh) Z 7 12", None);
        check("12 (sh) S", None);
        check("", None);
    }

    #[test]
    fn descent_is_followed_to_the_top_and_no_circle_is_endless() {
        let parents = BTreeMap::from([(4, 3), (3, 2), (2, 1), (9, 8), (8, 9)]);
        assert_eq!(ancestors(4, &parents).collect::<Vec<_>>(), [3, 2, 1]);
        assert!(ancestors(9, &parents).count() > 1);
    }

    #[test]
    fn what_belongs_to_a_pod_and_to_no_shim_is_killed() {
        use std::os::unix::process::ExitStatusExt;
        let pod = Uid::derive(&["what belongs to a pod", &std::process::id().to_string()]);
        let run = |uid: &str| std::process::Command::new("sleep").arg("1000").env(POD_VARIABLE, uid).spawn().unwrap();
        let (mut own, mut other) = (run(pod.as_str()), run("other"));
        let this = [getpid().as_raw()];
        end_orphans(&pod, &this).unwrap();
        assert!(own.try_wait().unwrap().is_none(), "its shim lives");
        end_orphans(&pod, &[]).unwrap();
        assert_eq!(own.wait().unwrap().signal(), Some(libc::SIGKILL));
        assert!(other.try_wait().unwrap().is_none());
        other.kill().unwrap();
        other.wait().unwrap();
    }
}
