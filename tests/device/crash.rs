//! The daemon is killed, stopped, and started again; pods do not notice, and everything is counted once.

use std::collections::BTreeMap;
use std::fs;

use nix::sys::signal::Signal;

use crate::AGENT;
use crate::device::{Device, lives, signal};

/// The first process of the only container of the pods with a label.
fn pid_of(device: &Device, label: &str) -> u64 {
    device.eventually("its process is known", |device| {
        let dump = device.ok(&["store", "dump"]);
        let pods = dump.lines().filter(|line| line.contains("\"record\":\"Pod\"") && line.contains(label));
        let pid = |line: &str| {
            let pod: serde_json::Value = serde_json::from_str(line).unwrap();
            pod["status"]["containers"][0]["state"]["Running"]["pid"].as_u64()
        };
        pods.filter_map(pid).next()
    })
}

fn restarts(device: &Device) -> i64 {
    let pods = device.items(&["pods", "-A"]);
    pods.iter().filter_map(|pod| pod["status"]["containerStatuses"][0]["restartCount"].as_i64()).sum()
}

#[test]
fn a_daemon_that_is_killed_again_and_again_loses_nothing_and_repeats_nothing() {
    const KILLS: usize = 20;
    let mut device = Device::start(&[]);
    device.apply(AGENT);
    let agent = pid_of(&device, "agent-");
    let ledger = device.path().join("ledger");
    // Each attempt signs the ledger when it starts and when it has done its work.
    let program = format!(
        "echo start $PINNACE_POD_UID $PINNACE_ATTEMPT >> {0}; sleep 0.3; echo done $PINNACE_POD_UID $PINNACE_ATTEMPT >> {0}",
        ledger.display()
    );
    device.apply(&format!(
        "apiVersion: batch/v1\nkind: Job\nmetadata: {{name: work}}\nspec:\n  completions: 12\n  parallelism: 2\n  template:\n    spec:\n      restartPolicy: Never\n      containers:\n      - {{name: main, command: [sh, -c, '{program}']}}\n"
    ));
    for kill in 0..KILLS {
        // A moment further into the life of the daemon each time: before it has read its store, while it adopts, at work.
        std::thread::sleep(std::time::Duration::from_millis(7 * kill as u64));
        device.crash();
        assert!(lives(agent), "the agent died with the daemon");
        device.boot();
    }
    device.wait_for("condition=complete", "job/work");
    let job = device.json(&["job", "work"]);
    assert_eq!((job["status"]["succeeded"].as_u64(), job["status"]["failed"].as_u64()), (Some(12), None), "{job}");
    let mut signed: BTreeMap<String, u32> = BTreeMap::new();
    for line in fs::read_to_string(&ledger).unwrap().lines() {
        *signed.entry(line.to_string()).or_default() += 1;
    }
    assert!(signed.values().all(|times| *times == 1), "an attempt ran twice: {signed:?}");
    let done = signed.keys().filter(|line| line.starts_with("done")).count();
    assert_eq!((done, signed.len()), (12, 24), "work was done that nobody asked for: {signed:?}");
    assert_eq!((pid_of(&device, "agent-"), restarts(&device)), (agent, 0), "nothing restarts");
}

#[test]
fn what_ends_while_the_daemon_is_away_is_counted_once() {
    let mut device = Device::start(&[]);
    let gate = device.path().join("gate");
    nix::unistd::mkfifo(&gate, nix::sys::stat::Mode::from_bits_truncate(0o666)).unwrap();
    device.apply(&format!(
        "apiVersion: batch/v1\nkind: Job\nmetadata: {{name: gated}}\nspec:\n  template:\n    spec:\n      restartPolicy: Never\n      containers:\n      - {{name: main, command: [sh, -c, 'echo before; read x < {}; echo after']}}\n",
        gate.display()
    ));
    let pid = pid_of(&device, "gated-");
    device.crash();
    fs::write(&gate, "go\n").unwrap();
    device.eventually("the process has ended", |_| (!lives(pid)).then_some(()));
    device.boot();
    device.wait_for("condition=complete", "job/gated");
    device.crash();
    device.boot();
    let job = device.json(&["job", "gated"]);
    assert_eq!(job["status"]["succeeded"], 1);
    assert_eq!(device.items(&["pods"]).len(), 1, "one pod was enough");
    assert_eq!(device.ok(&["logs", "job/gated"]), "before\nafter\n", "none of its output is lost");
}

#[test]
fn sigterm_leaves_pods_and_drain_ends_them() {
    let mut device = Device::start(&[]);
    device.apply(AGENT);
    let agent = pid_of(&device, "agent-");
    assert_eq!(device.stop(), 0);
    assert!(lives(agent));
    device.boot();
    assert_eq!((pid_of(&device, "agent-"), restarts(&device)), (agent, 0));
    device.ok(&["drain"]);
    assert!(!lives(agent));
    device.ok(&["uncordon"]);
    assert!(lives(pid_of(&device, "agent-")));
}

#[test]
fn stop_pods_ends_them_and_they_go_on_at_the_next_start() {
    let mut device = Device::start(&["--stop-pods"]);
    device.apply(AGENT);
    let agent = pid_of(&device, "agent-");
    assert_eq!(device.stop(), 0);
    assert!(!lives(agent));
    device.boot();
    assert_ne!(pid_of(&device, "agent-"), agent);
}

#[test]
fn a_shim_that_is_killed_takes_its_container_along_and_the_container_is_started_again() {
    let device = Device::start(&[]);
    device.apply(AGENT);
    let agent = pid_of(&device, "agent-");
    let status = fs::read_to_string(format!("/proc/{agent}/status")).unwrap();
    let shim = status.lines().find_map(|line| line.strip_prefix("PPid:")).unwrap().trim().parse().unwrap();
    signal(shim, Signal::SIGKILL);
    device.eventually("it is gone", |_| (!lives(agent)).then_some(()));
    let last = device.eventually("it runs again", |device| {
        let pod = device.items(&["pods"]).into_iter().next()?;
        let status = &pod["status"]["containerStatuses"][0];
        status["state"]["running"].is_object().then(|| status["lastState"]["terminated"].clone())
    });
    assert_eq!((last["reason"].as_str(), last["exitCode"].as_i64()), (Some("ContainerStatusUnknown"), Some(137)));
}

#[test]
fn a_cron_time_fires_once_through_kills() {
    let mut device = Device::start(&[]);
    device.apply(
        "apiVersion: batch/v1\nkind: CronJob\nmetadata: {name: tick}\nspec:\n  schedule: '@every 2s'\n  jobTemplate:\n    spec:\n      template:\n        spec:\n          restartPolicy: Never\n          containers:\n          - {name: main, command: ['true']}\n",
    );
    for _ in 0..5 {
        device.crash();
        device.boot();
    }
    let job = device.eventually("it has fired", |device| device.items(&["jobs"]).into_iter().next());
    let name = job["metadata"]["name"].as_str().unwrap().to_string();
    device.wait_for("condition=complete", &format!("job/{name}"));
    device.ok(&["delete", "job", &name]);
    let scheduled = device.json(&["cronjob", "tick"])["status"]["lastScheduleTime"].as_str().unwrap().to_string();
    device.crash();
    device.boot();
    let jobs = device.items(&["jobs"]);
    assert!(jobs.iter().all(|job| job["metadata"]["name"] != name.as_str()), "the time {scheduled} fired again");
}
