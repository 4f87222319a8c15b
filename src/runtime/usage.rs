//! Reads what the containers and the host use: a few small files each, only when it is asked for.

use std::fs;
use std::path::Path;

use nix::unistd::{SysconfVar, sysconf};

use crate::model::usage::{Sample, Usage};

use super::home::Tree;
use super::{cgroup, probe};

pub(super) fn read(tree: Option<&Tree>) -> Usage {
    let mut usage = Usage { at: probe::uptime(), host: host(), ..Usage::default() };
    let Some(tree) = tree else { return usage };
    for pod in tree.present() {
        let groups = tree.pod_anywhere(&pod);
        for container in groups.iter().flat_map(|group| cgroup::children(group).unwrap_or_default()) {
            if let Some(name) = container.file_name().and_then(|name| name.to_str()) {
                usage.containers.insert((pod.clone(), name.to_string()), group(&container));
            }
        }
    }
    usage
}

fn group(group: &Path) -> Sample {
    let cpu_us = value(group, "cpu.stat", "usage_usec").unwrap_or(0);
    let current =
        fs::read_to_string(group.join("memory.current")).ok().and_then(|text| text.trim().parse::<u64>().ok());
    let memory = match current {
        Some(current) => current.saturating_sub(value(group, "memory.stat", "inactive_file").unwrap_or(0)),
        // Without the memory controller: what its processes hold, shared pages counted more than once.
        None => cgroup::processes(group).into_iter().map(resident).sum(),
    };
    Sample { cpu_us, memory }
}

fn value(group: &Path, file: &str, key: &str) -> Option<u64> {
    let text = fs::read_to_string(group.join(file)).ok()?;
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok())
}

/// Source: proc_pid_statm(5): the second number, in pages.
fn resident(pid: i32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/statm")).unwrap_or_default();
    let pages: u64 = text.split(' ').nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0);
    pages.saturating_mul(config(SysconfVar::PAGE_SIZE))
}

fn host() -> Sample {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    Sample { cpu_us: busy(&stat, config(SysconfVar::CLK_TCK)), memory: in_use(&memory) }
}

fn config(name: SysconfVar) -> u64 {
    sysconf(name).ok().flatten().and_then(|n| u64::try_from(n).ok()).unwrap_or(1)
}

/// Source: proc_stat(5): user, nice, system, idle, iowait, irq, softirq, steal; guest times are in user already.
fn busy(stat: &str, ticks_a_second: u64) -> u64 {
    let first = stat.lines().next().unwrap_or_default();
    let times: Vec<u64> = first.split_whitespace().skip(1).map(|n| n.parse().unwrap_or(0)).collect();
    let ticks: u64 = times.iter().take(8).enumerate().filter(|(i, _)| *i != 3 && *i != 4).map(|(_, n)| n).sum();
    ticks.saturating_mul(1_000_000) / ticks_a_second.max(1)
}

fn in_use(meminfo: &str) -> u64 {
    let kib = |name: &str| {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|rest| rest.split_whitespace().next()).and_then(|n| n.parse::<u64>().ok()).unwrap_or(0)
    };
    kib("MemTotal:").saturating_sub(kib("MemAvailable:")).saturating_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_files_are_read() {
        assert_eq!(busy("cpu  100 10 20 5000 300 1 2 3 50 0\ncpu0 1 1 1 1\n", 100), 1_360_000);
        assert_eq!(in_use("MemTotal:  1000 kB\nMemFree: 1 kB\nMemAvailable:  400 kB\n"), 600 << 10);
        for odd in ["", "cpu", "cpu x y", "\u{0}"] {
            assert_eq!((busy(odd, 0), in_use(odd)), (0, 0), "{odd:?}");
        }
    }

    #[test]
    fn a_group_with_the_controller_and_one_without() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("cpu.stat"), "usage_usec 1234\nuser_usec 1\n").unwrap();
        fs::write(dir.path().join("cgroup.procs"), format!("{}\n", std::process::id())).unwrap();
        let without = group(dir.path());
        assert!(without.cpu_us == 1234 && without.memory > 0, "{without:?}");
        fs::write(dir.path().join("memory.current"), "1000\n").unwrap();
        fs::write(dir.path().join("memory.stat"), "anon 5\ninactive_file 300\n").unwrap();
        assert_eq!(group(dir.path()), Sample { cpu_us: 1234, memory: 700 });
        assert_eq!(group(&dir.path().join("gone")), Sample::default());
    }
}
