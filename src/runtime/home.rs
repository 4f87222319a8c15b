//! Where this node's tree of control groups stands, and what it can limit. Looks at the host once, at the start; starts
//! and ends no pod.
//!
//! `ROOT/shims` holds the shims and `ROOT/pods/QOS/UID/CONTAINER` the pods, so that no limit of a pod ever holds a shim;
//! Guaranteed pods stand directly below `pods`, as the kubelet has it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use nix::unistd::{AccessFlags, access, geteuid, getpid};

use crate::model::pod::Qos;
use crate::model::{AttemptId, Uid, id};

use super::{cgroup, paths};

/// What the configuration says about control groups.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum CgroupChoice {
    /// The best that the host offers.
    #[default]
    Auto,
    /// This directory of the cgroup2 file system; made where it is missing.
    Path(PathBuf),
    /// None: processes are tracked by descent, and nothing is limited.
    Off,
}

/// The tree, made and ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tree {
    root: PathBuf,
    /// Controllers that limit pods here.
    pub controllers: Vec<String>,
}

/// What came of the choice.
#[derive(Debug)]
pub struct Home {
    pub tree: Option<Tree>,
    /// What is not enforced and why, a sentence each.
    pub shortcomings: Vec<String>,
}

/// The cgroup that systemd (254 and later) is told to start the daemon in: `DelegateSubgroup=daemon`.
const DAEMON_LEAF: &str = "daemon";

/// A root that was chosen.
#[derive(Debug, PartialEq, Eq)]
struct Site {
    root: PathBuf,
    /// The daemon itself is in the root, and must leave it before controllers can be enabled there.
    move_daemon: bool,
    /// False where enabling controllers would keep the service manager from starting the daemon again.
    enable: bool,
}

impl Tree {
    pub fn pods(&self) -> PathBuf {
        self.root.join("pods")
    }

    pub fn pod(&self, qos: Qos, uid: &Uid) -> PathBuf {
        self.class(qos).join(uid.as_str())
    }

    /// Where the pod may be when its class is not known.
    pub fn pod_anywhere(&self, uid: &Uid) -> [PathBuf; 3] {
        [Qos::Guaranteed, Qos::Burstable, Qos::BestEffort].map(|qos| self.pod(qos, uid))
    }

    pub fn container_anywhere(&self, attempt: &AttemptId) -> [PathBuf; 3] {
        self.pod_anywhere(&attempt.pod).map(|pod| pod.join(&attempt.container))
    }

    /// Pods that have groups.
    pub fn present(&self) -> Vec<Uid> {
        let classes = [Qos::Guaranteed, Qos::Burstable, Qos::BestEffort].map(|qos| self.class(qos));
        let groups = classes.iter().flat_map(|class| cgroup::children(class).unwrap_or_default());
        let groups = groups.filter(|group| !classes.contains(group));
        let names = groups.filter_map(|group| Some(group.file_name()?.to_str()?.to_string()));
        names.filter(|name| paths::is_part(name)).map(Uid::new).collect()
    }

    /// Burstable pods together have the weight of what they ask for, as the kubelet has it: with the kernel's default their
    /// class would outweigh Guaranteed pods beside it. To be called when one has come or gone.
    /// Source: `pkg/kubelet/cm/qos_container_manager_linux.go`, `setCPUCgroupConfig`.
    pub fn weigh(&self) {
        if self.weighs()
            && let Err(e) = cgroup::weigh(&self.class(Qos::Burstable))
        {
            tracing::warn!("weigh Burstable pods against others: {e}");
        }
    }

    /// Whether pods have weights here at all.
    pub fn weighs(&self) -> bool {
        self.controllers.iter().any(|c| c == "cpu")
    }

    fn class(&self, qos: Qos) -> PathBuf {
        match qos {
            Qos::Guaranteed => self.pods(),
            Qos::Burstable => self.pods().join("burstable"),
            Qos::BestEffort => self.pods().join("besteffort"),
        }
    }
}

/// Chooses the place, makes the tree and moves the spawner into it. Never fails: what cannot be had is told.
pub fn settle(choice: &CgroupChoice, data: &Path, spawner: i32) -> Home {
    match choose(choice, data, spawner).and_then(|site| build(&site, spawner)) {
        Ok(tree) => {
            Home { shortcomings: lacking(&tree.controllers, &tree.root).into_iter().collect(), tree: Some(tree) }
        }
        Err(why) => {
            let tracked = format!(
                "processes of pods are tracked by descent instead of control groups, and no limit is enforced: {why}"
            );
            Home { tree: None, shortcomings: vec![tracked] }
        }
    }
}

/// One sentence for all controllers that are missing, as the reason is the same.
fn lacking(there: &[String], root: &Path) -> Option<String> {
    let off: Vec<&str> = cgroup::CONTROLLERS.into_iter().filter(|c| !there.iter().any(|have| have == c)).collect();
    let (last, others) = off.split_last()?;
    let (all, which) = match others {
        [] => ((*last).to_string(), format!("controller {last:?}")),
        _ => (format!("{} and {last}", others.join(", ")), "controllers".to_string()),
    };
    let root = root.display();
    Some(format!("limits on {all} are not enforced: the cgroup v2 {which} cannot be had below {root}"))
}

fn choose(choice: &CgroupChoice, data: &Path, spawner: i32) -> Result<Site, String> {
    let at = |root: PathBuf| Site { root, move_daemon: false, enable: true };
    match choice {
        CgroupChoice::Off => Err("control groups are switched off in the configuration".into()),
        CgroupChoice::Path(root) => Ok(at(root.clone())),
        CgroupChoice::Auto => {
            let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
            let mount = parse_mount(&mounts).ok_or("the host has no cgroup2 file system mounted")?;
            let own = fs::read_to_string("/proc/self/cgroup").ok().and_then(|text| own_group(&text, &mount));
            if let Some(unit) = own.as_deref().and_then(delegated_parent).filter(|unit| is_writable(unit)) {
                return Ok(at(unit.to_path_buf()));
            }
            if geteuid().is_root() {
                return Ok(at(mount.point.join(top_name(data))));
            }
            own.filter(|own| is_ours(own, &mount, spawner)).map(own_site).ok_or_else(|| {
                "pinnace runs as an ordinary user, and no cgroup is delegated to it (systemd: Delegate=yes)".into()
            })
        }
    }
}

/// systemd cannot start a service again in a group that has controllers enabled and processes below it: there, tracking
/// has to do. A scope is never started again.
fn own_site(own: PathBuf) -> Site {
    let restartable = own.extension().is_some_and(|e| e == "service");
    Site { root: own, move_daemon: !restartable, enable: !restartable }
}

/// Two nodes on one machine have two trees.
fn top_name(data: &Path) -> String {
    format!("pinnace-{}", &id::sha256_hex(data.as_os_str().as_encoded_bytes())[..8])
}

fn delegated_parent(own: &Path) -> Option<&Path> {
    own.parent().filter(|_| own.file_name().is_some_and(|name| name == DAEMON_LEAF))
}

/// Nothing but the daemon and its spawner is in the group, and we may work in it.
fn is_ours(own: &Path, mount: &Mount, spawner: i32) -> bool {
    let ours = [getpid().as_raw(), spawner];
    own != mount.point && is_writable(own) && cgroup::processes(own).iter().all(|pid| ours.contains(pid))
}

fn is_writable(group: &Path) -> bool {
    let may_write = |path: &Path| access(path, AccessFlags::W_OK).is_ok();
    may_write(group) && may_write(&group.join("cgroup.procs"))
}

fn build(site: &Site, spawner: i32) -> Result<Tree, String> {
    let mut tree = Tree { root: site.root.clone(), controllers: Vec::new() };
    let shims = site.root.join("shims");
    let classes = [tree.class(Qos::Burstable), tree.class(Qos::BestEffort)];
    for group in [&site.root, &shims, &tree.pods(), &classes[0], &classes[1]] {
        cgroup::make(group).map_err(|e| failed("make", group, &e))?;
    }
    // By number, once: so every shim is born outside the daemon's group, and the end of the service does not end it.
    fs::write(shims.join("cgroup.procs"), spawner.to_string()).map_err(|e| failed("enter", &shims, &e))?;
    if site.move_daemon {
        let leaf = site.root.join(DAEMON_LEAF);
        cgroup::make(&leaf).and_then(|()| cgroup::join(&leaf)).map_err(|e| failed("enter", &leaf, &e))?;
    }
    if site.enable {
        tree.controllers = enable(&site.root, &tree.pods(), &classes);
        // The kubelet's weight of a pod that asks for no CPU.
        let _ = fs::write(classes[1].join("cpu.weight"), "1");
        tree.weigh();
    }
    Ok(tree)
}

/// From the top down; what one level does not offer, the next cannot have.
fn enable(root: &Path, pods: &Path, classes: &[PathBuf; 2]) -> Vec<String> {
    if let Some(above) = root.parent() {
        // Ours to do for a group of our own; elsewhere it is done or not allowed.
        cgroup::enable(above, cgroup::CONTROLLERS);
    }
    let mut have = cgroup::CONTROLLERS.map(String::from).to_vec();
    for group in [root, pods, &classes[0], &classes[1]] {
        have = cgroup::enable(group, have.iter().map(String::as_str));
    }
    have
}

fn failed(what: &str, group: &Path, e: &io::Error) -> String {
    format!("cannot {what} cgroup {}: {e}", group.display())
}

/// Where the unified hierarchy is mounted: at `/sys/fs/cgroup`, or elsewhere on a hybrid host.
#[derive(Debug, PartialEq, Eq)]
struct Mount {
    /// The group that is shown at `point`.
    root: String,
    point: PathBuf,
}

/// Source: proc(5), `/proc/pid/mountinfo`.
fn parse_mount(mountinfo: &str) -> Option<Mount> {
    mountinfo.lines().find_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        let mut fields = before.split(' ').skip(3);
        let (root, point) = (unescape(fields.next()?), unescape(fields.next()?));
        (after.split(' ').next()? == "cgroup2").then(|| Mount { root, point: point.into() })
    })
}

/// Blanks and the like are written as three octal digits.
pub(super) fn unescape(field: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .iter()
        .fold(field.to_string(), |text, (code, letter)| text.replace(code, letter))
}

/// The directory of the group that this process is in; none when it lies outside of what is mounted.
fn own_group(self_cgroup: &str, mount: &Mount) -> Option<PathBuf> {
    let path = self_cgroup.lines().find_map(|line| line.strip_prefix("0::"))?;
    let below = path.strip_prefix(mount.root.trim_end_matches('/'))?.trim_start_matches('/');
    let inside = !below.split('/').any(|part| part == "..");
    inside.then(|| if below.is_empty() { mount.point.clone() } else { mount.point.join(below) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_for_one_reason_is_one_sentence() {
        let check = |there: &[&str], expected: Option<&str>| {
            let there: Vec<String> = there.iter().map(|c| (*c).to_string()).collect();
            assert_eq!(lacking(&there, Path::new("/c")).as_deref(), expected, "{there:?}");
        };
        let all = "limits on cpu, memory and pids are not enforced: the cgroup v2 controllers cannot be had below /c";
        check(&[], Some(all));
        check(&["memory"], Some(&all.replace("cpu, memory and pids", "cpu and pids")));
        let one = "limits on memory are not enforced: the cgroup v2 controller \"memory\" cannot be had below /c";
        check(&["cpu", "pids"], Some(one));
        check(&["cpu", "memory", "pids"], None);
    }

    #[test]
    fn the_unified_hierarchy_is_found_wherever_it_is() {
        let check = |line: &str, expected: Option<(&str, &str)>| {
            let expected = expected.map(|(root, point)| Mount { root: root.into(), point: point.into() });
            assert_eq!(parse_mount(line), expected, "{line}");
        };
        check("31 23 0:28 / /sys/fs/cgroup rw shared:4 - cgroup2 cgroup2 rw", Some(("/", "/sys/fs/cgroup")));
        let hybrid = "32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 c rw";
        check(hybrid, Some(("/", "/sys/fs/cgroup/unified")));
        check("31 23 0:28 /a\\040b /c\\040d rw - cgroup2 cgroup2 rw", Some(("/a b", "/c d")));
        check("31 23 0:28 / /sys/fs/cgroup rw - cgroup cgroup rw", None);
        check("", None);
        check("x - cgroup2", None);
    }

    #[test]
    fn the_own_group_is_a_directory_below_the_mount() {
        let check = |root: &str, cgroup: &str, expected: Option<&str>| {
            let mount = Mount { root: root.into(), point: "/cg".into() };
            assert_eq!(own_group(cgroup, &mount), expected.map(PathBuf::from), "{cgroup}");
        };
        check("/", "9:name=systemd:/x\n0::/a/b.service", Some("/cg/a/b.service"));
        check("/", "0::/", Some("/cg"));
        check("/a", "0::/a/b", Some("/cg/b"));
        check("/a", "0::/c", None);
        check("/", "0::/../x", None);
        check("/", "1:cpu:/", None);
    }

    #[test]
    fn a_service_stays_restartable() {
        assert_eq!(delegated_parent(Path::new("/cg/x.service/daemon")), Some(Path::new("/cg/x.service")));
        assert_eq!(delegated_parent(Path::new("/cg/x.service")), None);
        assert!(!own_site("/cg/x.service".into()).enable);
        assert!(own_site("/cg/x.scope".into()).enable);
        assert!(own_site("/cg/x.scope".into()).move_daemon);
    }
}
