//! Volumes as a pod's program meets them: shared, filled, replaced while it runs, and gone with the pod.

use std::fs;

use crate::device::Device;
use crate::needs_root;

/// Two containers of the host's file system, with a directory between them and files from a ConfigMap and a Secret.
const POD: &str = "
apiVersion: v1
kind: Pod
metadata: {name: p, labels: {app: p}}
spec:
  restartPolicy: Never
  terminationGracePeriodSeconds: 0
  volumes:
  - {name: shared, emptyDir: {}}
  - {name: fast, emptyDir: {medium: Memory, sizeLimit: 1Mi}}
  - {name: settings, configMap: {name: settings, items: [{key: level, path: deep/level, mode: 0440}]}}
  - {name: all, projected: {sources: [{configMap: {name: settings}}, {secret: {name: key}}, {downwardAPI: {items: [{path: name, fieldRef: {fieldPath: metadata.name}}]}}]}}
  - {name: device, hostPath: {path: PLACE, type: Directory}}
  containers:
  - name: writer
    command: [sh, -c, 'echo from-the-writer >MNT/shared/file; until [ \"$(cat MNT/settings/deep/level)\" = 2 ]; do sleep 0.05; done; cat MNT/settings/deep/level']
    volumeMounts:
    - {name: shared, mountPath: MNT/shared}
    - {name: settings, mountPath: MNT/settings, readOnly: true}
  - name: reader
    command: [sh, -c, 'until [ -e MNT/shared/file ]; do sleep 0.05; done; cat MNT/shared/file MNT/all/token MNT/all/name; echo; cat MNT/device/mark; head -c 2000000 /dev/zero >MNT/fast/f 2>/dev/null || echo full; echo x 2>/dev/null >MNT/all/level || echo read-only']
    volumeMounts:
    - {name: shared, mountPath: MNT/shared}
    - {name: fast, mountPath: MNT/fast}
    - {name: all, mountPath: MNT/all}
    - {name: device, mountPath: MNT/device, readOnly: true}
";

const SOURCES: &str = "
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {level: '1'}
---
apiVersion: v1
kind: Secret
metadata: {name: key}
stringData: {token: 's3cret '}
";

/// A container of the host's file system has its mount points there; they go with the test.
fn pod(device: &Device, place: &str) -> String {
    POD.replace("PLACE", place).replace("MNT", device.path().join("mnt").to_str().unwrap())
}

#[test]
fn volumes_are_shared_filled_and_follow_a_change() {
    if !needs_root("volumes_are_shared_filled_and_follow_a_change") {
        return;
    }
    let device = Device::start(&[]);
    let place = device.path().join("place");
    fs::create_dir(&place).unwrap();
    fs::write(place.join("mark"), "of the device\n").unwrap();
    device.apply(SOURCES);
    device.apply(&pod(&device, place.to_str().unwrap()));
    device.wait_for("jsonpath={.status.containerStatuses[?(@.name==\"reader\")].state.terminated.exitCode}=0", "pod/p");
    let said = device.ok(&["logs", "p", "-c", "reader"]);
    assert_eq!(said, "from-the-writer\ns3cret p\nof the device\nfull\nread-only\n");
    // The writer waits for the change and ends by it.
    device.apply(&SOURCES.replace("level: '1'", "level: '2'"));
    device.wait_for("jsonpath={.status.phase}=Succeeded", "pod/p");
    assert_eq!(device.ok(&["logs", "p", "-c", "writer"]), "2");
    let mounts = || fs::read_to_string("/proc/self/mounts").unwrap();
    device.ok(&["delete", "pod", "p"]);
    device.eventually("nothing stays mounted or written", |device| {
        let own = device.path().to_str().unwrap().to_string();
        let left = fs::read_dir(device.data().join("pods")).unwrap().count();
        (left == 0 && !mounts().lines().any(|line| line.contains(&own) && line.contains("_volumes"))).then_some(())
    });
    assert!(place.join("mark").exists(), "what is the device's stays");
}

#[test]
fn a_volume_whose_source_is_missing_holds_the_pod_and_says_so() {
    if !needs_root("a_volume_whose_source_is_missing_holds_the_pod_and_says_so") {
        return;
    }
    let device = Device::start(&[]);
    device.apply(&pod(&device, "/"));
    device.eventually("it says what is missing", |device| {
        let events = device.ok(&["events"]);
        events.contains("MountVolume.SetUp failed for volume").then_some(())
    });
    let pod = device.json(&["pod", "p"]);
    assert_eq!(pod["status"]["containerStatuses"][0]["state"]["waiting"]["reason"], "ContainerCreating");
    device.ok(&["delete", "pod", "p"]);
}
