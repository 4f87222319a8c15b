//! `pinnace doctor`: a sound machine on which nothing is wrong, and for each check a machine that is broken in just that.
//! What is asked of a broker is asked of a real one.

#[path = "support/device.rs"]
#[allow(dead_code)]
mod device;
#[path = "support/mosquitto.rs"]
#[allow(dead_code)]
mod mosquitto;

#[path = "doctor/broker.rs"]
mod broker;
#[path = "doctor/machine.rs"]
mod machine;
#[path = "doctor/real.rs"]
mod real;

use pinnace::doctor::Level;
use pinnace::runtime::probe::{Feature, Support};

use machine::Machine;

/// The one check that the machine differs in from a sound one, with its words.
#[track_caller]
fn check(name: &str, level: Level, words: &str, broken: impl FnOnce(&mut Machine)) {
    let mut machine = Machine::sound();
    broken(&mut machine);
    let found = machine.examine();
    let of_name: Vec<_> = found.iter().filter(|check| check.name == name).collect();
    let hit = of_name.iter().find(|check| check.level == level && check.found.contains(words));
    let hit = hit.unwrap_or_else(|| panic!("{name}: {words:?} is not in {of_name:#?}"));
    assert!(!hit.remedy.is_empty() || level <= Level::Skipped, "{name} has no remedy");
    let others: Vec<_> = found.iter().filter(|check| check.level > Level::Skipped && check.name != name).collect();
    // What follows from it may be told too, but a warning must not bring a failure elsewhere.
    assert!(others.iter().all(|other| other.level <= level), "{name} is broken, and this as well: {others:#?}");
}

#[test]
fn nothing_is_wrong_with_a_sound_machine() {
    let found = Machine::sound().examine();
    let wrong: Vec<_> = found.iter().filter(|check| check.level > Level::Skipped).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    let mut names: Vec<&str> = found.iter().map(|check| check.name).collect();
    names.dedup();
    assert!(names.len() >= 25, "{names:?}");
}

#[test]
fn nothing_at_all_can_be_read_and_nothing_panics() {
    let mut machine = Machine::sound();
    machine.files.clear();
    machine.stats.clear();
    machine.space = None;
    machine.now = None;
    machine.flushes = None;
    machine.answers.clear();
    machine.examine();
}

#[test]
fn settings() {
    check("settings", Level::Fail, "unknown key \"nmae\"", |m| m.settings = Err("unknown key \"nmae\"".into()));
}

#[test]
fn cgroups() {
    const HYBRID: &str = "30 1 0:26 / /sys/fs/cgroup/memory rw shared:1 - cgroup cgroup rw,memory\n";
    check("cgroup", Level::Warn, "version 1 alone", |m| m.file("/proc/self/mountinfo", HYBRID));
    check("cgroup", Level::Warn, "no cgroup file system", |m| m.file("/proc/self/mountinfo", ""));
    check("cgroup", Level::Warn, "beside version 1, which holds memory", |m| {
        let mounts = format!("{HYBRID}{}", m.files["/proc/self/mountinfo"]);
        m.file("/proc/self/mountinfo", &mounts);
        m.file("/sys/fs/cgroup/cgroup.controllers", "cpu pids\n");
    });
    check("controllers", Level::Warn, "not to be had: memory", |m| {
        m.file("/sys/fs/cgroup/cgroup.controllers", "cpuset cpu io pids\n");
    });
    check("controllers", Level::Fail, "limits: required refuses", |m| {
        m.file("/sys/fs/cgroup/cgroup.controllers", "cpu pids\n");
        m.config.settings.limits_required = true;
    });
}

#[test]
fn delegation() {
    check("delegation", Level::Warn, "the controller is off", |m| {
        m.node["status"]["facts"]["shortcomings"] = serde_json::json!(["the controller is off"]);
    });
    let mut machine = Machine::sound();
    machine.node["status"]["facts"]["shortcomings"] = serde_json::json!(["the controller is off"]);
    let advice = |machine: &Machine| machine.examine().into_iter().find(|c| c.name == "delegation").unwrap().remedy;
    assert!(!advice(&machine).contains("as root"), "it runs as root: {}", advice(&machine));
    machine.file("/proc/77/status", "Name:\tpinnace\nUid:\t1000\t1000\t1000\t1000\n");
    assert!(advice(&machine).contains("as root"), "{}", advice(&machine));
    check("delegation", Level::Warn, "an ordinary user with no group", |m| {
        m.stop();
        m.user = 1000;
        m.owner = 1000;
        m.read_only_paths.push("/sys/fs/cgroup".into());
    });
    check("delegation", Level::Warn, "mounted read-only", |m| {
        m.stop();
        let mounts = m.files["/proc/self/mountinfo"].replace("/sys/fs/cgroup rw,", "/sys/fs/cgroup ro,");
        m.file("/proc/self/mountinfo", &mounts);
    });
    check("delegation", Level::Fail, "cannot be written", |m| {
        m.stop();
        m.config.cgroup_root = Some("/sys/fs/cgroup/mine".into());
        m.read_only_paths.push("/sys/fs/cgroup".into());
    });
}

#[test]
fn clocks() {
    check("clock", Level::Fail, "it shows 1970-01-01", |m| {
        m.file("/sys/class/rtc/rtc0/since_epoch", "60\n");
        m.node["status"]["time_floor"] = serde_json::Value::Null;
        m.set_clock("1970-01-01T00:01:00Z", false);
    });
    check("clock", Level::Fail, "cannot be read", |m| m.now = None);
    check("rtc", Level::Warn, "no clock that outlives", |m| drop(m.files.remove("/sys/class/rtc/rtc0/since_epoch")));
    check("rtc", Level::Warn, "shows 1970-01-01", |m| m.file("/sys/class/rtc/rtc0/since_epoch", "17\n"));
    check("time-source", Level::Warn, "nothing keeps the clock right", |m| m.synchronised = Some(false));
    check("time-source", Level::Ok, "systemd-timesyncd has set", |m| {
        m.synchronised = Some(false);
        m.there("/run/systemd/timesync/synchronized");
    });
    check("clock-jump", Level::Fail, "the node has noted 2031-", |m| {
        m.node["status"]["time_floor"] = "2031-01-01T00:00:00Z".into();
    });
    check("time-zones", Level::Warn, "no time zone data", |m| m.stats.retain(|path, _| !path.contains("zoneinfo")));
}

#[test]
fn the_data_directory() {
    check("data-dir", Level::Fail, "belongs to user 1000", |m| m.stat("/var/lib/pinnace").user = 1000);
    check("data-dir", Level::Warn, "mode 0755", |m| m.stat("/var/lib/pinnace").mode = 0o755);
    check("data-dir", Level::Fail, "is no directory", |m| m.stat("/var/lib/pinnace").is_dir = false);
    check("data-dir", Level::Fail, "cannot be made", |m| {
        m.stop();
        m.stats.remove("/var/lib/pinnace");
        m.read_only_paths.push("/var/lib".into());
    });
    check("medium", Level::Fail, "is memory", |m| m.mount("/var/lib", "tmpfs"));
    check("medium", Level::Warn, "goes with its container", |m| m.mount("/var", "overlay"));
    check("medium", Level::Warn, "shared or remote", |m| m.mount("/var/lib/pinnace", "nfs4"));
    check("medium", Level::Fail, "is read-only", |m| m.space.as_mut().unwrap().read_only = true);
    check("space", Level::Fail, "in reserve", |m| m.space.as_mut().unwrap().bytes_free = 10 << 20);
    check("space", Level::Warn, "MiB are free", |m| m.space.as_mut().unwrap().bytes_free = 90 << 20);
    check("inodes", Level::Fail, "5 of 1000000 files", |m| m.space.as_mut().unwrap().inodes_free = 5);
}

#[test]
fn the_medium_is_timed() {
    check("flush", Level::Warn, "suspiciously fast", |m| m.flushes = Some(vec![2; 32]));
    check("flush", Level::Warn, "every change waits", |m| m.flushes = Some(vec![250_000; 32]));
    check("flush", Level::Fail, "failing or overloaded", |m| m.flushes = Some(vec![2_000_000; 32]));
    check("flush", Level::Fail, "Input/output error", |m| m.flushes = None);
    // One slow flush among many is how cards are.
    check("flush", Level::Ok, "900 ms at worst", |m| m.flushes.as_mut().unwrap()[0] = 900_000);
}

#[test]
fn kernels() {
    for (name, feature) in
        [("pidfd", Feature::Pidfd), ("openat2", Feature::Openat2), ("clone3", Feature::CloneIntoCgroup)]
    {
        check(name, Level::Warn, "the kernel has no", |m| m.lacks(feature, Support::No));
        check(name, Level::Warn, "a sandbox forbids", |m| m.lacks(feature, Support::Forbidden));
    }
    check("overlayfs", Level::Warn, "is not loaded", |m| m.file("/proc/filesystems", "nodev\tproc\n\text4\n"));
    check("user-namespaces", Level::Warn, "allows none", |m| m.file("/proc/sys/user/max_user_namespaces", "0\n"));
    check("user-namespaces", Level::Warn, "only root", |m| {
        m.user = 1000;
        m.file("/proc/sys/kernel/unprivileged_userns_clone", "0\n");
    });
}

#[test]
fn the_daemon() {
    check("socket", Level::Fail, "is not ready", |m| m.answer("/readyz", 503, "starting"));
    check("socket", Level::Fail, "left by a daemon that was killed", |m| {
        m.refusal = Some(std::io::ErrorKind::ConnectionRefused);
        m.stat("/run/pinnace/pinnace.sock").is_socket = true;
    });
    check("socket", Level::Fail, "does not answer", |m| m.refusal = Some(std::io::ErrorKind::WouldBlock));
    check("socket", Level::Warn, "permission denied", |m| m.refusal = Some(std::io::ErrorKind::PermissionDenied));
    check("socket", Level::Skipped, "no node runs", |m| {
        m.stop();
        m.found().live = None;
    });
    check("oom", Level::Warn, "score 0", |m| m.file("/proc/77/oom_score_adj", "0\n"));
    check("files", Level::Warn, "256 open files, 696 may be needed", |m| {
        m.file("/proc/77/limits", "Max open files            256                  4096                 files     \n");
    });
}

/// Somebody else looks at root's node: what belongs to root is not wrong for that.
#[test]
fn a_node_of_another_user() {
    check("socket", Level::Warn, "permission denied", |m| {
        m.user = 1000;
        m.refusal = Some(std::io::ErrorKind::PermissionDenied);
        m.read_only_paths.push("/var/lib".into());
    });
}

#[test]
fn a_node_that_takes_nothing() {
    check("policy", Level::Warn, "drained", |m| m.node["spec"]["drained"] = true.into());
    check("policy", Level::Warn, "cordoned", |m| m.node["spec"]["unschedulable"] = true.into());
    check("policy", Level::Warn, "the taint upkeep:NoExecute", |m| {
        m.node["spec"]["taints"] = serde_json::json!([{"key": "upkeep", "effect": "NoExecute"}]);
    });
    check("policy", Level::Warn, "2 sets was refused", |m| m.metric("pinnace_sets_rejected", 2));
}
