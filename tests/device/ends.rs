//! How a pod's processes end: asked first, killed when they do not listen, and none is left behind.

use std::fs;

use crate::device::{Device, lives};

/// In a command `$$` is how a manifest writes `$`, so a program's own `$$` is `$$$$`.
fn pod(grace_s: u32, program: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: x}}\nspec:\n  terminationGracePeriodSeconds: {grace_s}\n  containers:\n  - {{name: main, command: [sh, -c, '{program}']}}\n"
    )
}

/// Waits for a line in a file of the device's directory.
fn line(device: &Device, file: &str) -> String {
    let file = device.path().join(file);
    device.eventually("the program has written", |_| {
        fs::read_to_string(&file).ok().filter(|text| text.ends_with('\n')).map(|text| text.trim().to_string())
    })
}

#[test]
fn a_program_gets_sigterm_and_may_clean_up() {
    let device = Device::start(&[]);
    let bye = device.path().join("bye");
    let ready = device.path().join("ready");
    let program = format!(
        "trap \"echo bye >{}; exit 0\" TERM; echo ready >{}; while :; do sleep 0.05; done",
        bye.display(),
        ready.display()
    );
    device.apply(&pod(1000, &program));
    line(&device, "ready");
    device.ok(&["delete", "pod", "x", "--timeout=60s"]);
    assert_eq!(line(&device, "bye"), "bye");
    assert_eq!(device.say(&["get", "pod", "x"]).code, 1);
}

#[test]
fn a_program_that_does_not_listen_is_killed_after_its_grace() {
    let device = Device::start(&[]);
    let ready = device.path().join("ready");
    device.apply(&pod(1, &format!("trap \"\" TERM; echo $$$$ >{}; while :; do sleep 0.05; done", ready.display())));
    let pid: u64 = line(&device, "ready").parse().unwrap();
    device.ok(&["delete", "pod", "x", "--timeout=60s"]);
    assert!(!lives(pid));
}

#[test]
fn what_ran_away_from_its_parent_ends_with_the_pod() {
    let device = Device::start(&[]);
    let ready = device.path().join("ready");
    // A daemon of the old school: a session of its own, and its parent is gone.
    let program =
        format!("(setsid sh -c \"echo \\$$\\$$ >{}; exec sleep 100000\" &) ; exec sleep 100000", ready.display());
    device.apply(&pod(1, &program));
    let pid: u64 = line(&device, "ready").parse().unwrap();
    assert!(lives(pid));
    device.ok(&["delete", "pod", "x", "--timeout=60s"]);
    device.eventually("it is gone", |_| (!lives(pid)).then_some(()));
}

#[test]
fn a_job_that_is_late_fails_and_its_processes_end() {
    let device = Device::start(&[]);
    let ready = device.path().join("ready");
    device.apply(&format!(
        "apiVersion: batch/v1\nkind: Job\nmetadata: {{name: late}}\nspec:\n  activeDeadlineSeconds: 1\n  template:\n    spec:\n      restartPolicy: OnFailure\n      terminationGracePeriodSeconds: 1\n      containers:\n      - {{name: main, command: [sh, -c, 'echo $$$$ >{}; exec sleep 100000']}}\n",
        ready.display()
    ));
    let pid: u64 = line(&device, "ready").parse().unwrap();
    device.wait_for("condition=failed", "job/late");
    let job = device.json(&["job", "late"]);
    let failed = job["status"]["conditions"].as_array().unwrap().iter().find(|c| c["type"] == "Failed").unwrap();
    assert_eq!(failed["reason"], "DeadlineExceeded", "{job}");
    device.eventually("its process is gone", |_| (!lives(pid)).then_some(()));
}

#[test]
fn logs_are_bounded_by_the_configuration() {
    let config = tempfile::NamedTempFile::new().unwrap();
    fs::write(config.path(), "bounds: {log_bytes_max: 4096, log_files_max: 2, objects_max: 12}\n").unwrap();
    let device = Device::start(&["--config", config.path().to_str().unwrap()]);
    device.apply(
        "apiVersion: batch/v1\nkind: Job\nmetadata: {name: talks}\nspec:\n  template:\n    spec:\n      restartPolicy: Never\n      containers:\n      - {name: main, command: [sh, -c, 'i=0; while [ $i -lt 2000 ]; do echo line $i; i=$((i+1)); done']}\n",
    );
    device.wait_for("condition=complete", "job/talks");
    assert!(device.ok(&["logs", "job/talks", "--tail", "1"]).starts_with("line 1999"));
    let bytes: u64 = files(&device.data().join("pods")).iter().map(|file| fs::metadata(file).unwrap().len()).sum();
    // A file is left when it is full, so each may be longer by what was written at once.
    assert!(bytes <= 4 * 4096, "{bytes} bytes of logs, of 100,000 that were written");
    // Another bound: objects. What is beyond it is refused, and said so.
    let refused = (0..20).find_map(|n| {
        let said = device.with_file("apply", &format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: m{n}}}\n"));
        (said.code != 0).then_some(said)
    });
    let refused = refused.expect("20 objects are more than 12");
    assert!(refused.err.contains("objects_max"), "{refused:?}");
}

fn files(dir: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(dir).unwrap().flatten().map(|entry| entry.path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}
