//! What the host is: read once, at the start, from where every Linux has it. Changes nothing.

use std::fs;
use std::net::UdpSocket;

use nix::sys::utsname::uname;
use nix::unistd::{SysconfVar, geteuid, sysconf};

use crate::model::node::{Facts, go_architecture};

use super::home::Home;

/// What cannot be read is left empty: a fact that is missing keeps no node from running.
pub fn gather(home: &Home) -> Facts {
    let system = uname().ok();
    let text = |field: Option<&std::ffi::OsStr>| field.map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
    Facts {
        version: env!("CARGO_PKG_VERSION").into(),
        os_image: os_image(),
        kernel: text(system.as_ref().map(|s| s.release())),
        architecture: go_architecture(std::env::consts::ARCH).into(),
        machine_id: line("/etc/machine-id"),
        hostname: text(system.as_ref().map(|s| s.nodename())),
        internal_ip: internal_ip(),
        cpus: cpus(),
        memory_bytes: parse_memory(&line_with("/proc/meminfo", "MemTotal:")),
        pids_max: line("/proc/sys/kernel/pid_max").parse().unwrap_or(0),
        cgroup: home.tree.is_some(),
        controllers: home.tree.as_ref().map(|tree| tree.controllers.clone()).unwrap_or_default(),
        root: geteuid().is_root(),
        shortcomings: home.shortcomings.clone(),
        disk_pressure: None,
        clock_synchronised: super::probe::clock_is_synchronised(),
    }
}

fn line(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default().trim().to_string()
}

fn line_with(path: &str, begin: &str) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().find_map(|line| line.strip_prefix(begin)).unwrap_or_default().trim().to_string()
}

/// Source: os-release(5).
fn os_image() -> String {
    let here = line_with("/etc/os-release", "PRETTY_NAME=");
    let name = if here.is_empty() { line_with("/usr/lib/os-release", "PRETTY_NAME=") } else { here };
    let name = name.trim_matches(['"', '\'']);
    if name.is_empty() { "Linux".into() } else { name.into() }
}

/// `/proc/meminfo` counts in units of 1024 bytes.
fn parse_memory(field: &str) -> u64 {
    field.split(' ').next().and_then(|kib| kib.parse::<u64>().ok()).map_or(0, |kib| kib.saturating_mul(1024))
}

/// All processors that are on, whatever this process itself may use.
fn cpus() -> u32 {
    let count = sysconf(SysconfVar::_NPROCESSORS_ONLN).ok().flatten();
    count.and_then(|n| u32::try_from(n).ok()).unwrap_or(1).max(1)
}

/// The address that this host would send from; connecting a datagram socket asks the routing table and sends nothing.
fn internal_ip() -> String {
    // An address that is nobody's (RFC 5737).
    let ask = || {
        let socket = UdpSocket::bind("0.0.0.0:0")?;
        socket.connect("192.0.2.1:9")?;
        socket.local_addr()
    };
    ask().map_or_else(|_| "127.0.0.1".into(), |address| address.ip().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_facts_of_this_host_are_there() {
        let facts = gather(&Home { tree: None, shortcomings: vec!["x".into()] });
        assert!(facts.cpus > 0 && facts.memory_bytes > 0 && facts.pids_max > 0, "{facts:?}");
        assert!(!facts.kernel.is_empty() && !facts.os_image.is_empty() && !facts.internal_ip.is_empty());
        assert_eq!(facts.shortcomings, ["x"]);
    }

    #[test]
    fn odd_input_is_zero() {
        assert_eq!(parse_memory("2048 kB"), 2 << 20);
        for odd in ["", "x", "-1 kB", "99999999999999999999 kB"] {
            assert_eq!(parse_memory(odd), 0, "{odd}");
        }
    }
}
