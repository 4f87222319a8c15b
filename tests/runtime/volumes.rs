//! Mounts of volumes and host paths, inside images and on the host's own root; and what tries to lead them astray.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use nix::mount::{MsFlags, mount};
use pinnace::model::attempt::{HostPathType, Mount, MountSource, Root, VolumeContent, VolumeOrder};
use pinnace::model::{HowEnded, Launch};

use crate::Case;
use crate::images::{Mounted, argv, image, layer};
use crate::world::{Mode, World, script};

pub const CASES: &[Case] = &[
    Case { name: "volume_outlives_the_attempt", run: outlives_the_attempt, root: true },
    Case { name: "volume_of_the_host", run: of_the_host, root: true },
    Case { name: "volume_behind_a_link_of_the_image", run: behind_a_link, root: true },
    Case { name: "volume_parts", run: parts, root: true },
    Case { name: "volume_mounts_that_cannot_be", run: cannot_be, root: true },
    Case { name: "volume_follows_the_host", run: follows_the_host, root: true },
    Case { name: "volume_read_only_below", run: read_only_below, root: true },
    Case { name: "volume_devices", run: devices, root: true },
    Case { name: "volume_on_the_hosts_root", run: on_the_hosts_root, root: true },
    Case { name: "volume_name_service_of_the_host", run: name_service, root: true },
    Case { name: "volume_into_a_directory_as_image", run: into_a_directory, root: true },
    Case { name: "volume_refused_to_an_ordinary_user", run: refused_to_an_ordinary_user, root: false },
];

fn mount_of(path: &str, source: MountSource) -> Mount {
    Mount { path: path.into(), source, sub_path: String::new(), read_only: false, follow_host: false }
}

fn host(path: &str, from: PathBuf) -> Mount {
    mount_of(path, MountSource::Host { path: from.to_str().unwrap().into(), kind: HostPathType::Any })
}

fn empty(name: &str) -> VolumeOrder {
    VolumeOrder { name: name.into(), group: None, content: VolumeContent::Empty { memory: false, size_max: None } }
}

/// With a volume `v` at `/v`.
fn with_volume(launch: Launch) -> Launch {
    let mounts = vec![mount_of("/v", MountSource::Volume("v".into()))];
    Launch { volumes: vec![empty("v")], mounts, ..launch }
}

fn refused(world: &mut World, launch: &Launch) -> String {
    match world.run(launch) {
        HowEnded::NotStarted(why) => why,
        how => panic!("{how:?}"),
    }
}

fn outlives_the_attempt(world: &mut World) {
    for (number, expected) in [(0, "1\n"), (1, "2\n")] {
        let script = "echo x >> /v/x; cat /v/x | wc -l; [ $(ls / | grep -c '^v$') = 1 ]";
        assert_eq!(world.output(&with_volume(image(world, number, script))), expected);
    }
}

fn of_the_host(world: &mut World) {
    let (data, file) = (world.scratch.join("files"), world.scratch.join("file"));
    fs::create_dir(&data).unwrap();
    fs::write(&file, "f\n").unwrap();
    let inner = world.scratch.join("inner");
    let mounts = vec![
        // Not in the order in which they have to be mounted.
        host("/deep/er/inner", inner.clone()),
        host("/deep/er", data.clone()),
        Mount { read_only: true, ..host("/ro", data.clone()) },
        Mount { read_only: true, ..host("/etc/file", file.clone()) },
    ];
    let script = "echo 1 > /deep/er/1; echo 2 > /deep/er/inner/2; cat /ro/1 /etc/file; { echo 3 > /ro/3; echo 4 > /etc/file; } 2>&1; \
                  mount | grep -c 'type ext4.*/ro' >/dev/null; ls /deep/er";
    let output = world.output(&Launch { mounts, ..image(world, 0, script) });
    let expected = "1\nf\nsh: can't create /ro/3: Read-only file system\nsh: can't create /etc/file: Read-only file system\n1\ninner\n";
    assert_eq!(output, expected);
    assert_eq!(fs::read_to_string(inner.join("2")).unwrap(), "2\n");
    assert!(fs::read_dir(data.join("inner")).unwrap().next().is_none(), "a mount point, no more");
}

/// The links would lead to the host's own directories if the host followed them.
fn behind_a_link(world: &mut World) {
    let (root, name) = layer(world, 1);
    let outside = world.scratch.join("outside");
    fs::create_dir(&outside).unwrap();
    symlink(&outside, root.join("absolute")).unwrap();
    symlink(format!("../../../../../..{}", outside.display()), root.join("relative")).unwrap();
    let data = world.scratch.join("files");
    fs::create_dir(&data).unwrap();
    fs::write(data.join("x"), "x\n").unwrap();
    let launch = image(world, 0, &format!("cat /absolute/x /relative/deep/x {}/x; echo", outside.display()));
    let Root::Layers(mut layers) = launch.root.clone() else { panic!() };
    layers.push(name);
    let mounts = vec![host("/absolute", data.clone()), host("/relative/deep", data.clone())];
    let output = world.output(&Launch { mounts, root: Root::Layers(layers.clone()), ..launch });
    assert_eq!(output, "x\nx\nx\n\n", "inside, the links lead to one place");
    assert!(fs::read_dir(&outside).unwrap().next().is_none());

    let (root, name) = layer(world, 2);
    symlink("/tmp", root.join("proc")).unwrap();
    layers.push(name);
    let why = refused(world, &Launch { root: Root::Layers(layers), ..image(world, 1, "true") });
    assert!(why.contains("symbolic link at /proc"), "{why}");
}

fn parts(world: &mut World) {
    let part =
        |sub_path: &str| Mount { sub_path: sub_path.into(), ..mount_of("/part", MountSource::Volume("v".into())) };
    let with = |world: &World, number, sub_path: &str, script: &str| Launch {
        volumes: vec![empty("v")],
        mounts: vec![part(sub_path)],
        ..image(world, number, script)
    };
    let first = with(world, 0, "a/b", "echo x > /part/x");
    assert_eq!(world.output(&first), "");
    let links = "ls /v/a/b; ln -s /etc /v/absolute; ln -s ../../../../etc /v/up; ln -s a /v/inner; echo f > /v/file";
    assert_eq!(world.output(&with_volume(image(world, 1, links))), "x\n");
    assert_eq!(world.output(&with(world, 2, "inner/b", "cat /part/x")), "x\n");
    assert_eq!(world.output(&with(world, 3, "file", "cat /part")), "f\n");
    for (number, bad) in ["absolute", "up", "absolute/ssl", "a/../../x"].into_iter().enumerate() {
        let why = refused(world, &with(world, 10 + number as u32, bad, "true"));
        assert!(why.contains("leads out of the volume"), "{bad}: {why}");
    }
    let why = refused(world, &with(world, 20, "file/x", "true"));
    assert!(why.contains("not a directory"), "{why}");
}

fn cannot_be(world: &mut World) {
    let file = world.scratch.join("file");
    fs::write(&file, "").unwrap();
    let typed = |path: &str, kind| mount_of("/x", MountSource::Host { path: path.into(), kind });
    let file_name = file.to_str().unwrap();
    let cases = [
        (
            typed(file_name, HostPathType::Directory),
            format!("hostPath type check failed: {file_name} is not a directory"),
        ),
        (typed("/no/such", HostPathType::File), "hostPath type check failed: /no/such is not a file".into()),
        (host("/etc", file.clone()), "a file is to be mounted, and there is a directory".into()),
        (host("/etc/passwd", world.scratch.clone()), "make the mount point".into()),
        (host("/proc/sys", world.scratch.clone()), "inside /proc".into()),
        (host("/", world.scratch.clone()), "must be absolute, not the root".into()),
        (host("/a/../..", world.scratch.clone()), "must be absolute, not the root".into()),
        (mount_of("/x", MountSource::Volume("w".into())), "there is no volume \"w\"".into()),
    ];
    for (number, (mount, expected)) in cases.into_iter().enumerate() {
        let why = refused(world, &Launch { mounts: vec![mount.clone()], ..image(world, number as u32, "true") });
        assert!(
            why.contains(&expected) || (expected.starts_with("make the mount") && why.contains("there is a file")),
            "{mount:?}: {why}"
        );
    }
}

fn follows_the_host(world: &mut World) {
    let (shared, later) = (world.scratch.join("shared"), world.scratch.join("shared/later"));
    fs::create_dir_all(&later).unwrap();
    let none: Option<&str> = None;
    mount(Some(&shared), &shared, none, MsFlags::MS_BIND, none).unwrap();
    let _shared = Mounted(shared.clone());
    mount(none, &shared, none, MsFlags::MS_SHARED, none).unwrap();
    let wait = "echo ready; while [ ! -e /go ]; do [ -e /host/go ] && : > /go; done; ls /host/later /still/later";
    let mounts = vec![Mount { follow_host: true, ..host("/host", shared.clone()) }, host("/still", shared.clone())];
    let attempt = world.start(&Launch { mounts, ..image(world, 0, wait) });
    world.lines(&attempt, 1);
    mount(Some("tmpfs"), &later, Some("tmpfs"), MsFlags::empty(), none).unwrap();
    let _later = Mounted(later.clone());
    fs::write(later.join("new"), "").unwrap();
    fs::write(shared.join("go"), "").unwrap();
    assert_eq!(world.ended().how, HowEnded::Code(0));
    let output = String::from_utf8(world.read(&crate::world::query(&attempt))).unwrap();
    assert_eq!(output, "ready\n/host/later:\nnew\n\n/still/later:\n");
}

/// What is mounted below a read-only directory is read-only with it, where the kernel can do that.
fn read_only_below(world: &mut World) {
    let (top, below) = (world.scratch.join("top"), world.scratch.join("top/below"));
    fs::create_dir_all(&below).unwrap();
    let none: Option<&str> = None;
    mount(Some("tmpfs"), &below, Some("tmpfs"), MsFlags::empty(), none).unwrap();
    let _below = Mounted(below);
    let mounts = vec![Mount { read_only: true, ..host("/top", top) }];
    let output = world.output(&Launch { mounts, ..image(world, 0, "{ echo x > /top/below/x; ls /top/below; } 2>&1") });
    assert_eq!(output, "sh: can't create /top/below/x: Read-only file system\n");
}

/// To name a path below `/dev` is to ask for the device; elsewhere a node is dead.
fn devices(world: &mut World) {
    let nodes = world.scratch.join("nodes");
    fs::create_dir(&nodes).unwrap();
    let mounts = vec![host("/dev/zero2", "/dev/zero".into()), host("/nodes", nodes)];
    let script = "head -c 3 /dev/zero2 | wc -c; mknod /nodes/zero c 1 5 && head -c 3 /nodes/zero 2>&1";
    let launch = Launch { mounts, ..image(world, 0, &format!("{script}; true")) };
    assert_eq!(world.output(&launch), "3\nhead: /nodes/zero: Permission denied\n");
}

fn on_the_hosts_root(world: &mut World) {
    let (point, missing) = (world.scratch.join("point"), world.scratch.join("missing/point"));
    fs::create_dir(&point).unwrap();
    let text =
        format!("echo x > {0}/x; cat {1}/x; grep -c {0} /proc/self/mountinfo", point.display(), missing.display());
    let mount = |path: &PathBuf| mount_of(path.to_str().unwrap(), MountSource::Volume("v".into()));
    let mounts = vec![mount(&point), mount(&missing)];
    let launch = Launch { volumes: vec![empty("v")], mounts: mounts.clone(), ..script("host", &text) };
    assert_eq!(world.output(&launch), "x\n1\n");
    assert!(fs::read_dir(&point).unwrap().next().is_none(), "the host does not see it");
    assert!(missing.is_dir(), "made, and left");
    assert!(!fs::read_to_string("/proc/self/mountinfo").unwrap().contains(point.to_str().unwrap()));
    let impossible = Launch { mounts: vec![mount(&"/proc/no/such".into())], ..launch };
    let mut impossible = impossible;
    impossible.attempt.number = 1;
    let why = refused(world, &impossible);
    assert!(why.contains("make the mount point /proc/no/such"), "{why}");
}

fn name_service(world: &mut World) {
    let expected =
        fs::read_to_string("/etc/resolv.conf").unwrap_or_default() + &fs::read_to_string("/etc/hosts").unwrap();
    assert_eq!(world.output(&image(world, 0, "cat /etc/resolv.conf /etc/hosts")), expected);
    let write = image(world, 1, "for f in hosts hostname; do echo x 2>&1 > /etc/$f; done 2>&1");
    let how = world.run(&write);
    let output = String::from_utf8(world.read(&crate::world::query(&write.attempt))).unwrap();
    assert_eq!(output.matches("Read-only file system").count(), 2, "{how:?} {output}");
    // The pod's own goes before the host's.
    let own = world.scratch.join("hosts");
    fs::write(&own, "own\n").unwrap();
    assert_eq!(
        world.output(&Launch { mounts: vec![host("/etc/hosts", own)], ..image(world, 2, "cat /etc/hosts") }),
        "own\n"
    );
}

fn into_a_directory(world: &mut World) {
    let root = world.scratch.join("image");
    fs::create_dir(&root).unwrap();
    crate::images::busybox(&root);
    let launch = Launch { root: Root::Directory(root.to_str().unwrap().into()), ..image(world, 0, "") };
    let launch = with_volume(Launch { argv: argv("echo x > /kept; echo y > /v/y; ps -o pid,comm | wc -l"), ..launch });
    assert_eq!(world.output(&launch), "5\n");
    assert_eq!(fs::read_to_string(root.join("kept")).unwrap(), "x\n");
    assert!(fs::read_dir(root.join("v")).unwrap().next().is_none());
    assert!(fs::read_dir(root.join("dev")).unwrap().next().is_none());
}

fn refused_to_an_ordinary_user(world: &mut World) {
    if world.mode != Mode::User {
        return;
    }
    let why = refused(world, &with_volume(script("user", "true")));
    assert_eq!(
        why,
        "mount volumes: pinnace runs as an ordinary user, who may mount nothing; run the node as root, or leave the volumes out"
    );
}
