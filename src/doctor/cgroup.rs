//! Control groups: the hierarchy, its controllers, and whether the node may work in it.

use std::path::{Path, PathBuf};

use super::node::Seen;
use super::{Check, Host, Subject, fail, ok, skipped, warn};

/// What limits pods: kernel, Documentation/admin-guide/cgroup-v2.rst.
const WANTED: [&str; 3] = ["cpu", "memory", "pids"];

pub(super) fn checks(host: &dyn Host, subject: &Subject, node: &Seen) -> Vec<Check> {
    let mounts = host.read(Path::new("/proc/self/mountinfo")).unwrap_or_default();
    let Some(mount) = mount(&mounts) else { return without(&mounts) };
    let offered = host.read(&mount.point.join("cgroup.controllers")).unwrap_or_default();
    let missing: Vec<&str> = WANTED.into_iter().filter(|c| !offered.split_whitespace().any(|o| o == *c)).collect();
    let version = if has_version_1(&mounts) && !missing.is_empty() {
        warn(
            "cgroup",
            format!("version 2 at {} beside version 1, which holds {}", mount.point.display(), missing.join(", ")),
            "boot with systemd.unified_cgroup_hierarchy=1 (or cgroup_no_v1=all): only version 2 limits pods",
        )
    } else {
        ok("cgroup", format!("version 2 at {}", mount.point.display()))
    };
    let beside = has_version_1(&mounts);
    vec![version, controllers(host, subject, &missing, beside), delegation(host, subject, node, &mount)]
}

fn without(mounts: &str) -> Vec<Check> {
    let found = if has_version_1(mounts) { "version 1 alone" } else { "no cgroup file system is mounted" };
    let remedy = "pods run, tracked by descent and without limits; boot with systemd.unified_cgroup_hierarchy=1, or mount \
                  cgroup2 at /sys/fs/cgroup";
    vec![
        warn("cgroup", found, remedy),
        skipped("controllers", "there is no cgroup version 2"),
        skipped("delegation", "there is no cgroup version 2"),
    ]
}

fn controllers(host: &dyn Host, subject: &Subject, missing: &[&str], version_1_has_them: bool) -> Check {
    if missing.is_empty() {
        return ok("controllers", WANTED.join(" "));
    }
    let found = format!("not to be had: {}", missing.join(", "));
    let command_line = host.read(Path::new("/proc/cmdline")).unwrap_or_default();
    let disabled = missing.iter().any(|c| command_line.contains(&format!("cgroup_disable={c}")));
    let remedy = if disabled {
        "take cgroup_disable=… off the kernel's command line and boot again".to_string()
    } else if version_1_has_them {
        "as above: they are with version 1".to_string()
    } else if missing.contains(&"memory") {
        "put cgroup_enable=memory on the kernel's command line (Raspberry Pi: /boot/firmware/cmdline.txt) and boot again".to_string()
    } else {
        "a kernel with CONFIG_CGROUPS and these controllers; in a container, give it a cgroup of its own".to_string()
    };
    if subject.config.settings.limits_required {
        fail("controllers", format!("{found}, and limits: required refuses every pod that asks for them"), remedy)
    } else {
        warn("controllers", format!("{found}: such limits of pods are not enforced"), remedy)
    }
}

fn delegation(host: &dyn Host, subject: &Subject, node: &Seen, mount: &Mount) -> Check {
    // A daemon that runs has tried it.
    if let Some(facts) = node.facts() {
        let said: Vec<&str> =
            facts["shortcomings"].as_array().into_iter().flatten().filter_map(|s| s.as_str()).collect();
        return if said.is_empty() {
            ok("delegation", "the node has its control groups and enforces limits")
        } else {
            let remedy = match node.user() {
                Some(0) => "see the checks above; in a container, give it a cgroup of its own",
                _ => "run the node as root, or with Delegate=yes in its unit; see the checks above",
            };
            warn("delegation", said.join("; "), remedy)
        };
    }
    let Some(root) = &subject.config.cgroup_root else { return to_be_found(host, mount) };
    let there = nearest(host, root);
    if host.may_write(&there) {
        return ok("delegation", format!("cgroup_root {} can be written", root.display()));
    }
    fail(
        "delegation",
        format!("{} cannot be written", there.display()),
        "run the node as its owner, or change cgroup_root",
    )
}

/// Where a daemon that is started now would find a place; see `runtime`.
fn to_be_found(host: &dyn Host, mount: &Mount) -> Check {
    let point = mount.point.display();
    if mount.read_only || (host.user() == 0 && !host.may_write(&mount.point)) {
        let remedy = "in a container: give it a writable cgroup (private cgroup namespace)";
        return warn("delegation", format!("{point} is mounted read-only"), remedy);
    }
    if host.user() == 0 {
        return ok("delegation", "root makes groups of its own");
    }
    let user = PathBuf::from(format!("user.slice/user-{0}.slice/user@{0}.service", host.user()));
    let manager = mount.point.join(user);
    if host.stat(&manager).is_ok() && host.may_write(&manager) {
        let have = host.read(&manager.join("cgroup.controllers")).unwrap_or_default();
        return ok("delegation", format!("the user's service manager may use {}", have.trim()));
    }
    warn(
        "delegation",
        "an ordinary user with no group of its own: pods are tracked by descent and not limited",
        "run it as a service with Delegate=yes, or as root",
    )
}

struct Mount {
    point: PathBuf,
    read_only: bool,
}

/// Source: proc_pid_mountinfo(5): the point is the fifth field, its options the sixth, the type follows ` - `.
fn mount(mounts: &str) -> Option<Mount> {
    let line = mounts.lines().find(|line| line.contains(" - cgroup2 "))?;
    let mut fields = line.split(' ');
    let point = fields.nth(4)?.into();
    let read_only = fields.next()?.split(',').any(|option| option == "ro");
    Some(Mount { point, read_only })
}

fn has_version_1(mounts: &str) -> bool {
    mounts.lines().any(|line| line.contains(" - cgroup "))
}

/// The path itself, or the nearest directory above it that is there.
pub(super) fn nearest(host: &dyn Host, path: &Path) -> PathBuf {
    path.ancestors().find(|p| host.stat(p).is_ok()).unwrap_or(Path::new("/")).to_path_buf()
}
