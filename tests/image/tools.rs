//! Against the tools of others: images that umoci, skopeo and buildah make come in as umoci unpacks them, and what goes out of
//! the store is an image to skopeo and umoci.

use std::path::{Path, PathBuf};
use std::process::Command;

use pinnace::image::Stored;

use crate::listing::{Listing, difference, list};
use crate::make::{gzip, zstd};
use crate::world::{World, is_root};

/// Makes, changes and packs an image of two layers in `$PWD`.
const MAKE: &str = r#"
umask 022
umoci init --layout L
umoci new --image L:one
umoci unpack --image L:one b
cd b/rootfs
mkdir -p bin etc/d var/x usr/lib
head -c 300000 /dev/urandom > bin/app; chmod 4755 bin/app; ln bin/app bin/hard
ln -s /bin/app etc/link; ln -s nowhere etc/dangling; ln -s usr/lib lib
echo a > etc/d/a; echo b > etc/d/b; echo c > var/x/c; : > etc/empty
chown 12:34 etc/d/a; chown -h 5:6 etc/link; chmod 640 etc/d/a; chmod 1777 var; mkfifo var/fifo
long=$(printf 'n%.0s' $(seq 200)); mkdir -p $long/$long; echo long > $long/$long/$long
# Older than the next changes: umoci leaves out a directory that changes within the second of its last change.
find . -exec touch -h -d @1000000000 {} +
cd ../..
umoci repack --refresh-bundle --image L:one b
cd b/rootfs
rm -r etc/d/b var/x etc/dangling; echo new > var/x; rm bin/hard; mkdir etc/dangling; echo n > etc/dangling/f; chmod 700 etc/d
cd ../..
umoci repack --image L:two b
umoci config --image L:two --config.entrypoint /bin/app --config.cmd -x --config.user 7:8 --config.workingdir /var --config.env A=b
umoci unpack --image L:two expected
"#;

struct Bench {
    directory: tempfile::TempDir,
}

impl Bench {
    fn new() -> Bench {
        Bench { directory: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn shell(&self, script: &str) -> Result<(), String> {
        let out = Command::new("bash").args(["-ec", script]).current_dir(self.directory.path()).output().unwrap();
        if out.status.success() {
            return Ok(());
        }
        Err(format!("{script}\n{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr)))
    }

    fn run(&self, script: &str) {
        self.shell(script).unwrap_or_else(|why| panic!("{why}"));
    }
}

fn has(test: &str, tool: &str) -> bool {
    let found = Command::new(tool).arg("--version").output().is_ok();
    if !found {
        eprintln!("{test}: NOT CHECKED, needs {tool}; tests/run installs it");
    }
    found
}

/// What a container would see: the layers over each other, with the whiteouts of overlayfs.
fn merged(world: &World, stored: &Stored) -> Listing {
    let mut whole = Listing::new();
    for number in 0..stored.spec.layers.len() {
        for (path, line) in list(&world.layer(stored, number)) {
            let is_directory = line.ends_with(" directory");
            if !is_directory {
                let below = format!("{path}/");
                whole.retain(|other, _| *other != path && !other.starts_with(&below));
            }
            if !line.contains(" device ") {
                whole.insert(path, line);
            }
        }
    }
    whole
}

/// Times of what umoci makes anew, and of the root, are its own; so are the counts of names over layers.
fn comparable(listing: Listing) -> Listing {
    let line = |path: &str, line: String| {
        let parts: Vec<&str> = line.split(' ').collect();
        let time = parts[2].split('.').next().unwrap();
        let what = if parts[3] == "file" { [&parts[3..6], &parts[7..]].concat() } else { parts[3..].to_vec() };
        let time = if path == "." { "" } else { time };
        format!("{} {} {time} {}", parts[0], parts[1], what.join(" "))
    };
    listing.into_iter().map(|(path, text)| (path.clone(), line(&path, text))).collect()
}

fn assert_same(what: &str, world: &World, stored: &Stored, expected: &Path) {
    let (ours, theirs) = (comparable(merged(world, stored)), comparable(list(expected)));
    assert!(ours.len() > 3, "{what}: {ours:?}");
    assert!(ours == theirs, "{what}: ours and theirs differ\n{}", difference(&ours, &theirs));
}

#[test]
fn images_of_umoci_and_skopeo() {
    let test = "images_of_umoci_and_skopeo";
    if !(is_root(test) && has(test, "umoci") && has(test, "skopeo")) {
        return;
    }
    let bench = Bench::new();
    bench.run(MAKE);
    bench.run("tar cf layout.tar -C L .");
    bench.run("skopeo --insecure-policy copy oci:L:two oci-archive:oci.tar:t/two:1");
    bench.run("skopeo --insecure-policy copy oci:L:two docker-archive:docker.tar:t/two:1");
    bench.run("skopeo --insecure-policy copy --dest-compress-format zstd --dest-compress oci:L:two oci:Z:two");
    bench.run("tar cf zstd.tar -C Z .");
    let archive = |name: &str| std::fs::read(bench.path(name)).unwrap();
    let expected = bench.path("expected/rootfs");
    let whole = archive("oci.tar");
    for (what, bytes, name) in [
        ("skopeo's oci-archive", whole.clone(), None),
        ("the same with gzip", gzip(&whole), None),
        ("the same with zstd", zstd(&whole), None),
        ("skopeo's docker-archive", archive("docker.tar"), None),
        ("skopeo's zstd layers", archive("zstd.tar"), Some("t/two:1")),
    ] {
        let world = World::new();
        let stored = world.import(&bytes, name).unwrap_or_else(|e| panic!("{what}: {e}")).remove(0);
        assert_same(what, &world, &stored, &expected);
        let spec = &stored.spec;
        assert_eq!(spec.reference, "t/two:1", "{what}");
        assert_eq!((&spec.entrypoint, &spec.cmd), (&vec!["/bin/app".into()], &vec!["-x".into()]), "{what}");
        assert_eq!((&*spec.user, &*spec.working_dir), ("7:8", "/var"), "{what}");
    }
    let world = World::new();
    let error = world.import(&archive("layout.tar"), None).err().unwrap().to_string();
    assert!(error.contains("only \"one\", which is a tag"), "{error}");

    let stored = world.import(&whole, None).unwrap().remove(0);
    let mut exported = std::fs::File::create(bench.path("exported.tar")).unwrap();
    world.store.export(&stored.spec, &mut exported).unwrap();
    bench.run("skopeo --insecure-policy copy oci-archive:exported.tar:docker.io/t/two:1 oci:E:two");
    bench.run("skopeo --insecure-policy copy oci-archive:exported.tar docker-archive:back.tar:t/back:1");
    bench.run("umoci unpack --image E:two again");
    let (ours, theirs) = (comparable(list(&bench.path("again/rootfs"))), comparable(list(&expected)));
    assert!(ours == theirs, "exported, by umoci:\n{}", difference(&ours, &theirs));
    let back = World::new();
    let stored = back.import(&archive("back.tar"), None).unwrap().remove(0);
    assert_same("exported, by skopeo", &back, &stored, &expected);
}

#[test]
fn images_of_buildah() {
    let test = "images_of_buildah";
    if !(is_root(test) && has(test, "buildah") && has(test, "umoci") && has(test, "skopeo")) {
        return;
    }
    let bench = Bench::new();
    bench.run("mkdir -p ctx/sub; echo hello > ctx/f; echo run > ctx/sub/run; chmod 755 ctx/sub/run; ln -s f ctx/link");
    bench.run(r#"echo '{"default":[{"type":"insecureAcceptAnything"}]}' > policy.json"#);
    let built = bench.shell(
        r#"
        b() { local verb=$1; shift; buildah --root "$PWD/store" --runroot "$PWD/run" --storage-driver vfs "$verb" "$@"; }
        b from --name c1 scratch
        b copy --chown 3:4 c1 ctx /data
        b config --entrypoint '["/data/sub/run"]' --env X=y --user 9 --stop-signal SIGINT c1
        b commit --signature-policy policy.json --format docker c1 docker-archive:docker.tar:t/built:1
        b commit --signature-policy policy.json c1 oci-archive:oci.tar:t/built:1
        b rm c1
        "#,
    );
    if let Err(why) = built {
        eprintln!("{test}: NOT CHECKED, buildah does not work here: {why}");
        return;
    }
    bench.run("skopeo --insecure-policy copy oci-archive:oci.tar oci:L:built; umoci unpack --image L:built expected");
    for archive in ["oci.tar", "docker.tar"] {
        let world = World::new();
        let bytes = std::fs::read(bench.path(archive)).unwrap();
        let stored = world.import(&bytes, None).unwrap_or_else(|e| panic!("{archive}: {e}")).remove(0);
        assert_same(archive, &world, &stored, &bench.path("expected/rootfs"));
        let spec = &stored.spec;
        assert_eq!((&*spec.reference, &*spec.user, &*spec.stop_signal), ("t/built:1", "9", "SIGINT"), "{archive}");
        assert_eq!(
            (&spec.entrypoint, &spec.env.last()),
            (&vec!["/data/sub/run".into()], &Some(&"X=y".into())),
            "{archive}"
        );
    }
}
