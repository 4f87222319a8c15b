//! The database is damaged, full or somebody else's: the node says so, pods go on, and it finds its way back.

use std::fs;
use std::process::Command;

use crate::device::{Device, lives};
use crate::mosquitto::Mosquitto;
use crate::needs_root;

const MAP: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {v: '1'}\n";

#[test]
fn the_dump_is_the_same_with_and_without_a_daemon() {
    let mut device = Device::start(&[]);
    device.apply(MAP);
    let up = device.ok(&["store", "dump"]);
    assert!(up.starts_with("{\"format\":1,\"revision\":"), "{up}");
    device.stop();
    let data = device.data();
    let down = device.ok(&["store", "dump", "--data-dir", data.to_str().unwrap()]);
    let map = |text: &str| text.lines().find(|line| line.contains("\"record\":\"ConfigMap\"")).map(String::from);
    assert!(map(&up).is_some());
    assert_eq!(map(&up), map(&down));
    // A copy is read as a copy, although a daemon answers.
    let copy = device.path().join("copy");
    fs::create_dir(&copy).unwrap();
    fs::copy(data.join("pinnace.redb"), copy.join("pinnace.redb")).unwrap();
    device.boot();
    device.ok(&["delete", "configmap", "a"]);
    assert_eq!(map(&device.ok(&["store", "dump", "--data-dir", data.to_str().unwrap()])), None);
    assert_eq!(map(&device.ok(&["store", "dump", "--data-dir", copy.to_str().unwrap()])), map(&down));
}

#[test]
fn a_damaged_database_is_set_aside_and_the_fleet_fills_it_again() {
    let broker = Mosquitto::start();
    broker.publish_retained("pn/demo/d/all/x", MAP.as_bytes());
    let mut device = Device::start(&["--broker", &broker.url(), "--fleet", "demo"]);
    let there = |device: &Device| device.say(&["get", "configmap", "a"]).ok();
    device.eventually("the set is applied", there);
    device.stop();
    let file = device.data().join("pinnace.redb");
    for (number, damage) in [&b""[..], &[0xA5; 50_000]].into_iter().enumerate() {
        // No good copy either: the worst case.
        let _ = fs::remove_file(device.data().join("pinnace.redb.good"));
        fs::write(&file, damage).unwrap();
        device.boot();
        device.eventually("the broker's sets are applied again", there);
        assert!(device.log().contains("moved"), "{}", device.log());
        let aside = device.data().join(format!("pinnace.redb.damaged-{}", number + 1));
        assert_eq!(fs::read(aside).unwrap(), damage, "what could not be read is kept");
        device.stop();
    }
}

/// A file system of its own, unmounted with the test.
pub struct Small(pub std::path::PathBuf);

impl Small {
    pub fn mount(path: std::path::PathBuf) -> Small {
        Small::with("size=4m", path)
    }

    pub fn with(options: &str, path: std::path::PathBuf) -> Small {
        fs::create_dir_all(&path).unwrap();
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(&path).status().unwrap();
        assert!(mounted.success());
        Small(path)
    }

    fn mount_again(&self, how: &[&str]) {
        assert!(Command::new("mount").args(how).arg(&self.0).status().unwrap().success());
    }

    /// Read-only from now on for whoever comes by its name; shims keep the files that they have open.
    fn seal(&self) {
        self.mount_again(&["--bind", self.0.to_str().unwrap()]);
        self.mount_again(&["-o", "remount,bind,ro"]);
    }

    fn unseal(&self) {
        assert!(Command::new("umount").arg(&self.0).status().unwrap().success());
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_ends_neither_the_daemon_nor_its_pods() {
    if !needs_root("a_full_disk_ends_neither_the_daemon_nor_its_pods") {
        return;
    }
    let mut device = Device::prepare(&[]);
    let disk = Small::mount(device.data());
    device.boot();
    device.apply(
        "apiVersion: v1\nkind: Pod\nmetadata: {name: lives}\nspec:\n  terminationGracePeriodSeconds: 1\n  containers:\n  - {name: main, command: [sleep, '100000']}\n",
    );
    device.wait_for("condition=ready", "pod/lives");
    device.apply(MAP);
    let filler = disk.0.join("filler");
    let _ = fs::write(&filler, vec![0; 8 << 20]);
    // What is too large is refused at the door, and costs nobody the daemon.
    let daemon = device.pid();
    let said = device.with_file("apply", &map("big", 200_000));
    assert!(said.code == 1 && said.err.contains("(ServiceUnavailable)"), "{said:?}");
    assert!(said.err.contains("the disk is full: the data directory has 0 KiB left"), "{said:?}");
    assert!(lives(daemon.into()) && device.say(&["get", "nodes"]).code == 0);
    // What is small has the room of the reserve, but not all of it.
    let refused = (0..500).map(|number| device.with_file("apply", &map(&format!("m{number}"), 8_000)));
    let refused = refused.into_iter().find(|said| said.code != 0).expect("the disk is full at last");
    assert!(refused.err.contains("(ServiceUnavailable)") && refused.err.contains("the disk is full"), "{refused:?}");
    assert_eq!(device.log().matches("the reserve is given up").count(), 1, "{}", device.log());
    assert!(device.pid() == daemon && lives(daemon.into()), "{}", device.log());
    // Nobody has made room. What is left of the reserve is enough to go on with, and to delete.
    assert_eq!(disk_pressure(&device), "True");
    device.ok(&["delete", "configmap", "a"]);
    device.crash();
    device.boot();
    assert_ne!(device.say(&["get", "configmap", "a"]).code, 0, "the deletion was durable");
    fs::remove_file(filler).unwrap();
    // Looked at anew with the next commit.
    device.apply(MAP);
    device.eventually("the pressure is over", |device| (disk_pressure(device) == "False").then_some(()));
    let pod = device.json(&["pod", "lives"]);
    assert_eq!(pod["status"]["containerStatuses"][0]["restartCount"], 0, "the pod did not notice");
    device.ok(&["delete", "pod", "lives", "--grace-period=1"]);
    device.stop();
    drop(disk);
}

/// Where there is no reserve, a change that does not fit is not acknowledged; its sender and the log hear why the daemon ends.
#[test]
fn a_commit_that_fails_is_answered_and_ends_the_daemon() {
    if !needs_root("a_commit_that_fails_is_answered_and_ends_the_daemon") {
        return;
    }
    let mut device = Device::prepare(&[]);
    let disk = Small::mount(device.data());
    device.boot();
    fs::remove_file(device.data().join("pinnace.reserve")).unwrap();
    let filler = disk.0.join("filler");
    let _ = fs::write(&filler, vec![0; 8 << 20]);
    let refused = (0..500).map(|number| device.with_file("apply", &map(&format!("m{number}"), 8_000)));
    let refused = refused.into_iter().find(|said| said.code != 0).expect("the disk is full at last");
    assert!(refused.err.contains("No space left on device") && refused.err.contains("try again"), "{refused:?}");
    assert_ne!(device.ends(), 0);
    assert!(device.log().contains("check the disk"), "{}", device.log());
    fs::remove_file(&filler).unwrap();
    device.boot();
    device.apply(MAP);
    assert_eq!(device.stop(), 0);
}

pub fn map(name: &str, bytes: usize) -> String {
    let text = "x".repeat(bytes);
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\ndata: {{v: '{text}'}}\n")
}

/// A start that cannot commit anything waits, as for a disk that is read-only, and dies no death that is counted.
#[test]
fn a_start_without_any_room_waits_until_there_is_some() {
    if !needs_root("a_start_without_any_room_waits_until_there_is_some") {
        return;
    }
    let mut device = Device::prepare(&[]);
    let disk = Small::mount(device.data());
    device.boot();
    device.apply(MAP);
    device.crash();
    // The reserve is used up, and what others wrote has taken its room.
    fs::remove_file(device.data().join("pinnace.reserve")).unwrap();
    let filler = disk.0.join("filler");
    let _ = fs::write(&filler, vec![0; 8 << 20]);
    device.boot_until("it says that it waits", |said| said.err.contains("waits for its disk"));
    let said = device.with_file("apply", MAP);
    assert!(said.code == 1 && said.err.contains("(ServiceUnavailable)"), "{said:?}");
    assert!(said.err.contains("No space left on device") && said.err.contains("free some space"), "{said:?}");
    assert!(!device.path().join("run/crashes").exists(), "nobody died");
    fs::remove_file(&filler).unwrap();
    device.eventually("it goes on by itself", |device| device.say(&["get", "configmap", "a"]).ok());
    device.apply(&MAP.replace("'1'", "'2'"));
    assert_eq!(device.stop(), 0);
    assert!(!device.log().contains("good copy") && !device.log().contains("holds still"), "{}", device.log());
}

pub fn disk_pressure(device: &Device) -> String {
    let nodes = device.items(&["nodes"]);
    let conditions = nodes[0]["status"]["conditions"].as_array().unwrap();
    let pressure = conditions.iter().find(|condition| condition["type"] == "DiskPressure").unwrap();
    pressure["status"].as_str().unwrap().to_string()
}

/// Without an inode no file can be made: no pod's directory, no log, no exit record. What is there goes on, an end is told
/// through the claim, and when there are inodes again everything is made up for.
#[test]
fn a_disk_without_inodes_keeps_no_end_from_being_counted() {
    if !needs_root("a_disk_without_inodes_keeps_no_end_from_being_counted") {
        return;
    }
    let mut device = Device::prepare(&[]);
    let disk = Small::with("size=16m,nr_inodes=60", device.data());
    device.boot();
    let gate = device.path().join("gate");
    nix::unistd::mkfifo(&gate, nix::sys::stat::Mode::from_bits_truncate(0o666)).unwrap();
    let job = |name: &str, command: &str| {
        format!(
            "apiVersion: batch/v1\nkind: Job\nmetadata: {{name: {name}}}\nspec:\n  template:\n    spec:\n      restartPolicy: OnFailure\n      containers:\n      - {{name: main, command: [sh, -c, '{command}']}}\n"
        )
    };
    device.apply(&job("gated", &format!("read x < {}", gate.display())));
    device.wait_for("jsonpath={.status.ready}=1", "job/gated");
    let fillers = (0..).map(|n| disk.0.join(format!("filler-{n}")));
    let made: Vec<_> = fillers.take_while(|path| fs::write(path, "").is_ok()).collect();
    fs::write(&gate, "go\n").unwrap();
    device.wait_for("condition=complete", "job/gated");
    device.apply(&job("late", "true"));
    device.crash();
    device.boot();
    assert_eq!(device.json(&["job", "gated"])["status"]["succeeded"], 1);
    for path in made {
        fs::remove_file(path).unwrap();
    }
    device.wait_for("condition=complete", "job/late");
    device.stop();
}

/// A log that finds no room is cut short and says so; the program that writes it is not held up.
#[test]
fn a_program_whose_log_finds_no_room_goes_on() {
    if !needs_root("a_program_whose_log_finds_no_room_goes_on") {
        return;
    }
    let mut device = Device::prepare(&[]);
    let disk = Small::with("size=8m", device.data());
    device.boot();
    let (gate, done) = (device.path().join("gate"), device.path().join("done"));
    nix::unistd::mkfifo(&gate, nix::sys::stat::Mode::from_bits_truncate(0o666)).unwrap();
    let program = format!(
        "head -c 20000000 /dev/zero | tr \"\\\\0\" x | fold; echo > {}; read x < {}; echo the end",
        done.display(),
        gate.display()
    );
    let job = serde_json::json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "loud"},
        "spec": {"template": {"spec": {"restartPolicy": "Never",
            "containers": [{"name": "main", "command": ["sh", "-c", program]}]}}}
    });
    device.apply(&job.to_string());
    device.eventually("it has written far more than there is room for", |_| done.exists().then_some(()));
    // Somebody makes room, as a person would: by emptying the largest file.
    let mut emptied = Command::new("sh");
    emptied
        .arg("-c")
        .arg("for f in \"$1\"/pods/*/main/*.log; do : > \"$f\"; done")
        .args(["sh", disk.0.to_str().unwrap()]);
    assert!(emptied.status().unwrap().success());
    fs::write(&gate, "go\n").unwrap();
    device.wait_for("condition=complete", "job/loud");
    let log = device.ok(&["logs", "job/loud"]);
    assert!(log.contains("no room on the disk for") && log.ends_with("the end\n"), "{log:.300}");
    device.stop();
}

/// Nobody's node is kept up by a directory that never was one: who typed its name hears of it.
#[test]
fn a_new_node_on_a_read_only_disk_fails_at_once() {
    if !needs_root("a_new_node_on_a_read_only_disk_fails_at_once") {
        return;
    }
    let device = Device::prepare(&[]);
    let disk = Small::mount(device.data());
    disk.mount_again(&["-o", "remount,ro"]);
    let (code, words) = device.fail_to_boot();
    assert!(code == 1 && words.contains(device.data().to_str().unwrap()), "{words}");
    assert!(words.to_lowercase().contains("read-only"), "{words}");
}

#[test]
fn a_read_only_disk_is_waited_for_while_pods_go_on() {
    if !needs_root("a_read_only_disk_is_waited_for_while_pods_go_on") {
        return;
    }
    let mut device = Device::prepare(&[]);
    let disk = Small::mount(device.data());
    device.boot();
    let (gate, done) = (device.path().join("gate"), device.path().join("done"));
    nix::unistd::mkfifo(&gate, nix::sys::stat::Mode::from_bits_truncate(0o666)).unwrap();
    let program = format!("read x < {}; echo > {}", gate.display(), done.display());
    let job = serde_json::json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "gated"},
        "spec": {"backoffLimit": 0, "template": {"spec": {"restartPolicy": "Never",
            "containers": [{"name": "main", "command": ["sh", "-c", program]}]}}}
    });
    device.apply(&job.to_string());
    device.wait_for("jsonpath={.status.ready}=1", "job/gated");
    device.crash();
    disk.seal();
    device.boot_until("it says that it waits", |said| said.err.contains("waits for its disk"));
    let said = device.say(&["get", "pods"]);
    assert!(said.code == 1 && said.err.contains("waits for its disk"), "{said:?}");
    assert!(said.err.contains("Read-only file system") && said.err.contains("pinnace.redb"), "{said:?}");
    assert_ne!(device.with_file("apply", MAP).code, 0, "nothing is accepted that cannot be kept");
    let data = device.data();
    let dump = device.say(&["store", "dump", "--data-dir", data.to_str().unwrap()]);
    assert!(dump.code == 0 && dump.out.contains("\"record\":\"Job\""), "the file can be read: {dump:?}");
    assert!(dump.err.starts_with("note: ") && dump.err.contains("waits for its disk"), "{dump:?}");
    // Who reads the file as `store dump` does, just when the node tries again, does not end the node.
    let reader = fs::File::open(&data).unwrap();
    device.eventually("the reader has it", |_| reader.try_lock_shared().ok());
    device.eventually("the node meets the reader", |device| device.log().contains("is using it").then_some(()));
    drop(reader);
    fs::write(&gate, "go\n").unwrap();
    device.eventually("the work is done meanwhile", |_| done.exists().then_some(()));
    disk.unseal();
    device.eventually("it goes on by itself", |device| device.say(&["get", "nodes"]).ok());
    device.wait_for("condition=complete", "job/gated");
    assert_eq!(device.json(&["job", "gated"])["status"]["succeeded"], 1);
    device.apply(MAP);
    assert_eq!(device.stop(), 0);

    // Who is told to stop while it waits, stops.
    disk.seal();
    device.boot_until("it says that it waits", |said| said.err.contains("waits for its disk"));
    assert_eq!(device.stop(), 0);
    disk.unseal();
}

#[test]
fn a_database_that_was_cut_is_replaced_by_its_good_copy() {
    let mut device = Device::start(&[]);
    device.apply(MAP);
    // The copy is made at a start, of what a start found.
    device.stop();
    device.boot();
    device.apply(&MAP.replace("name: a", "name: after"));
    device.stop();
    let file = device.data().join("pinnace.redb");
    let whole = fs::read(&file).unwrap();
    fs::write(&file, &whole[..whole.len() / 2]).unwrap();
    device.boot();
    assert!(device.log().contains("the good copy of an earlier start is used"), "{}", device.log());
    assert_eq!(device.ok(&["get", "configmaps", "-o", "name"]), "configmap/a\n", "what was there at the last start");
    device.apply(&MAP.replace("'1'", "'2'"));
    device.crash();
    device.boot();
    assert_eq!(device.ok(&["get", "configmap", "a", "-o", "jsonpath={.data.v}"]), "2");
}

#[test]
fn pods_outlive_a_database_that_is_lost_only_while_somebody_wants_them() {
    let broker = Mosquitto::start();
    let pod = |name: &str| {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec:\n  terminationGracePeriodSeconds: 1\n  containers:\n  - {{name: main, command: [sleep, '100000']}}\n"
        )
    };
    let mut device = Device::start(&["--broker", &broker.url(), "--fleet", "demo"]);
    device.apply(&pod("local"));
    device.wait_for("condition=ready", "pod/local");
    broker.publish_retained("pn/demo/d/all/x", pod("wanted").as_bytes());
    let ready = |device: &Device| device.say(&["wait", "--for=condition=ready", "pod/wanted", "--timeout=60s"]).ok();
    device.eventually("the set's pod runs", ready);
    device.stop();
    fs::remove_file(device.data().join("pinnace.redb")).unwrap();
    let _ = fs::remove_file(device.data().join("pinnace.redb.good"));
    device.boot();
    device.eventually("the set is applied again", ready);
    assert_eq!(device.ok(&["get", "pods", "-o", "name"]), "pod/wanted\n", "nobody knows of the local one");
    let sleepers = |device: &Device| {
        let claims = fs::read_dir(device.path().join("run/attempts")).unwrap().count();
        (claims == 1).then_some(())
    };
    device.eventually("what nobody knows of is ended", sleepers);
}
