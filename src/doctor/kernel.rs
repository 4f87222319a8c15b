//! What the kernel offers for keeping pods apart and under control.

use std::path::Path;

use super::{Check, Host, ok, warn};
use crate::runtime::probe::{Feature, Support};

pub(super) fn checks(host: &dyn Host) -> Vec<Check> {
    vec![
        call(
            host,
            "pidfd",
            Feature::Pidfd,
            "pidfd_open (5.3)",
            "a signal could reach a process that took over a number",
        ),
        call(host, "openat2", Feature::Openat2, "openat2 (5.6)", "paths inside images are checked step by step"),
        call(
            host,
            "clone3",
            Feature::CloneIntoCgroup,
            "clone3 into a control group (5.7)",
            "a process enters its group just after its start",
        ),
        overlayfs(host),
        user_namespaces(host),
    ]
}

fn call(host: &dyn Host, name: &'static str, feature: Feature, call: &str, without: &str) -> Check {
    match host.kernel(feature) {
        Support::Yes => ok(name, format!("the kernel has {call}")),
        Support::No => {
            warn(name, format!("the kernel has no {call}: {without}"), "Linux 5.7 or newer, where the device has one")
        }
        Support::Forbidden => warn(
            name,
            format!("a sandbox forbids {call}: {without}"),
            "in a container: a seccomp profile that allows it",
        ),
    }
}

fn overlayfs(host: &dyn Host) -> Check {
    let known = host.read(Path::new("/proc/filesystems")).unwrap_or_default();
    let has = |name: &str| known.split_whitespace().any(|word| word == name);
    if has("overlay") || host.stat(Path::new("/sys/module/overlay")).is_ok() {
        return ok("overlayfs", "the kernel has overlayfs");
    }
    warn(
        "overlayfs",
        "overlayfs is not loaded: images cannot share their layers",
        "modprobe overlay; a kernel with CONFIG_OVERLAY_FS",
    )
}

fn user_namespaces(host: &dyn Host) -> Check {
    let number = |path: &str| host.read(Path::new(path)).ok().and_then(|text| text.trim().parse::<u64>().ok());
    let remedy = "needed for a node of an ordinary user alone";
    if host.stat(Path::new("/proc/self/ns/user")).is_err() || number("/proc/sys/user/max_user_namespaces") == Some(0) {
        return warn(
            "user-namespaces",
            "the kernel has none, or allows none",
            format!("{remedy}: sysctl user.max_user_namespaces=10000"),
        );
    }
    let off = [
        ("/proc/sys/kernel/unprivileged_userns_clone", 0, "sysctl kernel.unprivileged_userns_clone=1"),
        ("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", 1, "an AppArmor profile for pinnace with `userns,`"),
    ];
    let hit = off.into_iter().find(|(path, value, _)| number(path) == Some(*value));
    match hit {
        Some((_, _, cure)) if host.user() != 0 => {
            warn("user-namespaces", "only root may make them here", format!("{remedy}: {cure}"))
        }
        Some(_) => ok("user-namespaces", "root may make them"),
        None => ok("user-namespaces", "they may be made"),
    }
}
