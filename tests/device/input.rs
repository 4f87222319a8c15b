//! What bad input gets: a clear word where the user sees it, and nothing lost.

use std::cell::Cell;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use crate::device::{Device, Said};

#[track_caller]
fn refused(said: &Said, words: &[&str]) {
    assert_eq!(said.code, 1, "{said:?}");
    for word in words {
        assert!(said.err.contains(word), "{word:?} is missing: {said:?}");
    }
}

#[test]
fn a_bad_manifest_is_refused_by_its_place() {
    let device = Device::start(&[]);
    let pod = |container: &str| {
        format!("apiVersion: v1\nkind: Pod\nmetadata: {{name: x}}\nspec:\n  containers:\n  - {container}\n")
    };
    let check = |text: &str, words: &[&str]| refused(&device.with_file("apply", text), words);
    check("kind: Job\n  x: [", &["line 2"]);
    check(
        &pod("{name: a, imag: b, command: [x]}"),
        &["unknown field \"spec.containers[0].imag\"", "did you mean \"image\"", "manifest.yaml:6"],
    );
    check(&pod("{name: a, command: x}"), &["spec.containers[0].command"]);
    check(&pod("{name: A, command: [x]}"), &["The Pod \"x\" is invalid", "RFC 1123"]);
    check(
        &pod("{name: a, command: [x], livenessProbe: {exec: {command: [x]}}}"),
        &["livenessProbe: Forbidden: not supported by pinnace"],
    );
    check(&pod("{name: a}"), &["command"]);
    check("apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: x}\n", &["no matches for kind \"Deployment\""]);
    check(
        "apiVersion: batch/v1\nkind: CronJob\nmetadata: {name: x}\nspec: {schedule: '61 * * * *', jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: a, command: [x]}]}}}}}\n",
        &["spec.schedule", "end of range (61) above maximum (59): 61"],
    );
    check(&"[".repeat(10_000), &["nested"]);
    check(&format!("a: {}\n", "x".repeat(5 << 20)), &["1048576"]);
    check(
        "a: &a [x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: [*d,*d,*d,*d,*d,*d,*d,*d,*d]\n",
        &["alias"],
    );
    assert_eq!(device.say(&["get", "pods"]).err, "No resources found in default namespace.\n");
}

#[test]
fn errors_and_exit_codes_are_kubectls() {
    let device = Device::start(&[]);
    let said = device.say(&["get", "job", "x", "-o", "json"]);
    assert_eq!((said.code, said.err.as_str()), (1, "Error from server (NotFound): jobs.batch \"x\" not found\n"));
    let map = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n";
    assert_eq!(device.with_file("create", map).out, "configmap/a created\n");
    let said = device.with_file("create", map);
    assert!(
        said.code == 1 && said.err.starts_with("Error from server (AlreadyExists): error when creating"),
        "{said:?}"
    );
    assert_eq!(device.say(&["frobnicate"]).code, 1);
    assert_eq!(device.say(&["wait", "--for=condition=complete", "job/x", "--timeout=1s"]).code, 1);
    let nobody = device.say(&["--socket", "/no/such/socket", "get", "pods"]);
    assert!(nobody.code == 1 && nobody.err.contains("/no/such/socket"), "{nobody:?}");
}

#[test]
fn schedules_are_told_as_they_fire() {
    let device = Device::prepare(&[]);
    let from = ["--from", "2026-01-01T00:00:00Z"];
    let said = device.ok(&[&["schedule", "0,15,30,45 * * * *", "-n", "2"], &from[..]].concat());
    assert_eq!(said, "2026-01-01T00:15:00Z\n2026-01-01T00:30:00Z\n");
    assert_eq!(device.ok(&[&["schedule", "0 0 30 2 *"], &from[..]].concat()), "never\n");
    let said = device.say(&["schedule", "* * *"]);
    assert!(said.code == 1 && said.err.contains("expected exactly 5 fields, found 3: [* * *]"), "{said:?}");
}

#[test]
fn garbage_on_the_socket_harms_nobody() {
    let device = Device::start(&[]);
    let socket = device.path().join("run/pinnace.sock");
    for garbage in [
        &b"\x00\xff\x13\x37"[..],
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST /api/v1/pods HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n{",
    ] {
        let mut stream = UnixStream::connect(&socket).unwrap();
        stream.write_all(garbage).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        assert!(device.say(&["get", "nodes"]).ok().is_some());
    }
}

/// It is told so before it has made anything. A node that would wait for ever is ended, with another code.
#[test]
fn a_second_node_with_the_same_run_directory_is_told_so() {
    let device = Device::start(&[]);
    let said = device.shell("timeout -s KILL 20 pinnace node --data-dir $WORK/other --run-dir $WORK/run");
    assert_eq!(said.code, 1, "{said:?}");
    let words = "another pinnace node is using it; stop that one or give --run-dir";
    assert!(said.out.contains(words) && said.out.contains(device.path().join("run").to_str().unwrap()), "{said:?}");
    assert!(!device.path().join("other").exists(), "a store was made");
    assert!(device.say(&["get", "nodes"]).ok().is_some(), "the first one goes on");
}

/// A daemon that was killed has its directories for a moment longer.
#[test]
fn a_node_waits_for_one_that_is_letting_go() {
    let mut device = Device::start(&[]);
    device.crash();
    for (taken, words) in
        [(device.data(), "cannot open the store"), (device.path().join("run/node.lock"), "run directory")]
    {
        let holder = fs::File::open(&taken).unwrap();
        holder.try_lock_shared().unwrap();
        let (holder, log, seen) = (Cell::new(Some(holder)), device.path().join("log"), device.log().len());
        device.boot_until("the node has waited", |said| {
            let log = &fs::read_to_string(&log).unwrap()[seen..];
            if log.contains(words) && log.contains("just letting go") {
                drop(holder.take());
            }
            said.code == 0
        });
        assert!(holder.take().is_none(), "it did not wait");
        device.crash();
    }
}

#[test]
fn a_node_that_cannot_start_says_why() {
    let mut device = Device::start(&[]);
    let (code, words) = device.fail_to_boot();
    assert!(code == 1 && words.contains("another pinnace node"), "{words}");
    device.stop();
    for (flags, word) in [
        (&["--labels", "a b=c"][..], "no label key"),
        (&["--broker", "http://x"], "mqtt://"),
        (&["--config", "/no/such/file"], "/no/such/file"),
        (&["--data-dir", "/proc/no"], "/proc/no"),
        (&["--data-dir", "/etc/passwd"], "/etc/passwd"),
    ] {
        let run = device.path().join("run");
        let said = device.say(&[&["node", "--run-dir", run.to_str().unwrap()], flags].concat());
        assert!(said.code == 1 && said.err.contains(word), "{said:?}");
        assert_eq!(said.err.lines().count(), 1, "{said:?}");
    }
}
