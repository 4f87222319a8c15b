//! The database is damaged, full or somebody else's: the node says so, pods go on, and it finds its way back.

use std::fs;
use std::process::Command;

use crate::device::Device;
use crate::mosquitto::Mosquitto;
use crate::needs_root;

const MAP: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {v: '1'}\n";

#[test]
fn the_dump_is_the_same_with_and_without_a_daemon() {
    let mut device = Device::start(&[]);
    device.apply(MAP);
    let up = device.ok(&["store", "dump"]);
    device.stop();
    let data = device.data();
    let down = device.ok(&["store", "dump", "--data-dir", data.to_str().unwrap()]);
    let map = |text: &str| text.lines().find(|line| line.contains("\"record\":\"ConfigMap\"")).map(String::from);
    assert!(map(&up).is_some());
    assert_eq!(map(&up), map(&down));
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
struct Small(std::path::PathBuf);

impl Small {
    fn mount(path: std::path::PathBuf) -> Small {
        fs::create_dir_all(&path).unwrap();
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", "size=4m", "tmpfs"]).arg(&path).status().unwrap();
        assert!(mounted.success());
        Small(path)
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_ends_the_daemon_and_not_its_pods() {
    if !needs_root("a_full_disk_ends_the_daemon_and_not_its_pods") {
        return;
    }
    let mut device = Device::prepare(&[]);
    let disk = Small::mount(device.data());
    device.boot();
    device.apply(
        "apiVersion: v1\nkind: Pod\nmetadata: {name: lives}\nspec:\n  terminationGracePeriodSeconds: 1\n  containers:\n  - {name: main, command: [sleep, '100000']}\n",
    );
    device.wait_for("condition=ready", "pod/lives");
    let filler = disk.0.join("filler");
    let _ = fs::write(&filler, vec![0; 8 << 20]);
    // The first change that does not fit: it is not acknowledged, and the daemon says why it ends.
    for number in 0..200 {
        let big = "x".repeat(50_000);
        let said = device.with_file(
            "apply",
            &format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: m{number}}}\ndata: {{v: '{big}'}}\n"),
        );
        if said.code != 0 {
            break;
        }
    }
    assert_ne!(device.ends(), 0);
    assert!(device.log().contains("check the disk"), "{}", device.log());
    fs::remove_file(filler).unwrap();
    device.boot();
    let pod = device.json(&["pod", "lives"]);
    assert_eq!(pod["status"]["containerStatuses"][0]["restartCount"], 0, "the pod did not notice");
    device.ok(&["delete", "pod", "lives", "--grace-period=1"]);
    device.stop();
    drop(disk);
}

#[test]
fn a_read_only_data_directory_is_named() {
    if !needs_root("a_read_only_data_directory_is_named") {
        return;
    }
    let device = Device::prepare(&[]);
    let disk = Small::mount(device.data());
    let remounted = Command::new("mount").args(["-o", "remount,ro"]).arg(&disk.0).status().unwrap();
    assert!(remounted.success());
    let (code, words) = device.fail_to_boot();
    assert!(code == 1 && words.contains(device.data().to_str().unwrap()), "{words}");
    assert!(words.to_lowercase().contains("read-only"), "{words}");
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
