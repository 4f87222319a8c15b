//! Volumes on a real disk: what is there before, during and after a change. What needs root says so, and is not done
//! without.

use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;

const GROUP: u32 = 4242;

/// Directories of one node; the mounts of a test that failed go with it.
struct Node {
    _temp: tempfile::TempDir,
    dirs: Dirs,
    pod: Uid,
}

impl Node {
    fn new() -> Node {
        let temp = tempfile::tempdir().unwrap();
        let root = temp.path().canonicalize().unwrap();
        let dirs = Dirs { data: root.join("data"), run: root.join("run") };
        [&dirs.data, &dirs.run].into_iter().for_each(|dir| fs::create_dir(dir).unwrap());
        Node { _temp: temp, dirs, pod: Uid::new("0a-1b") }
    }

    fn prepare(&self, order: &VolumeOrder) -> PathBuf {
        prepare(&self.dirs, &self.pod, order).unwrap()
    }

    fn replace(&self, order: &VolumeOrder) {
        locked(&self.dirs, || replace_now(&self.dirs, &self.pod, order)).unwrap();
    }

    fn refusal(&self, order: &VolumeOrder) -> String {
        prepare(&self.dirs, &self.pod, order).unwrap_err()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        for root in [&self.dirs.data, &self.dirs.run] {
            let _ = unmount_below(root);
        }
    }
}

/// Root, and not in a sandbox that takes the right away.
fn may_mount() -> bool {
    let temp = tempfile::tempdir().unwrap();
    let may = mount_tmpfs(temp.path(), "mode=700").is_ok();
    let _ = umount2(temp.path(), MntFlags::MNT_DETACH);
    may
}

fn volume(content: VolumeContent) -> VolumeOrder {
    VolumeOrder { name: "v".into(), group: None, content }
}

/// `path=text`, mode 0644.
fn files(files: &[&str]) -> VolumeOrder {
    let file = |text: &&str| {
        let (path, data) = text.split_once('=').unwrap();
        VolumeFile { path: path.into(), data: BASE64.encode(data), mode: 0o644 }
    };
    volume(VolumeContent::Files(files.iter().map(file).collect()))
}

fn empty(memory: bool, size_max: Option<u64>) -> VolumeOrder {
    volume(VolumeContent::Empty { memory, size_max })
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

/// The names in a directory, those of ours cut to `..`.
fn names(path: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(path).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.iter_mut().filter(|n| n.starts_with("..") && *n != DATA).for_each(|n| n.truncate(2));
    names.sort();
    names
}

#[test]
fn files_stand_behind_links_to_one_content() {
    let node = Node::new();
    let path = node.prepare(&files(&["a=1", "d/b=2", "d/e/c=3"]));
    assert_eq!(names(&path), ["..", "..data", "a", "d"]);
    for (name, text) in [("a", "1"), ("d/b", "2"), ("d/e/c", "3"), ("..data/d/b", "2")] {
        assert_eq!(fs::read_to_string(path.join(name)).unwrap(), text, "{name}");
    }
    assert_eq!(fs::read_link(path.join("d")).unwrap(), Path::new("..data/d"));
    assert_eq!((mode(&path), mode(&path.join("d/e")), mode(&path.join("a"))), (0o755, 0o755, 0o644));
    assert_eq!(mode(&node.dirs.file_volumes()), 0o700, "secrets are nobody's on the host");
}

#[test]
fn a_volume_is_made_once_and_replaced_as_a_whole() {
    let node = Node::new();
    let path = node.prepare(&files(&["a=1", "b=1", "d/x=1"]));
    let held = fs::File::open(path.join("a")).unwrap();
    node.replace(&files(&["a=2", "c=2", "d/y=2"]));
    assert_eq!(names(&path), ["..", "..data", "a", "c", "d"], "what is gone leaves nothing behind");
    assert_eq!((names(&path.join("d")), fs::read_to_string(path.join("a")).unwrap()), (vec!["y".into()], "2".into()));
    assert_eq!(io::read_to_string(held).unwrap(), "1", "who has the old file open, or mounted, goes on with it");
    // An order to start from before the change comes late.
    assert_eq!(node.prepare(&files(&["a=1", "b=1"])), path);
    assert_eq!(fs::read_to_string(path.join("a")).unwrap(), "2");
    node.replace(&files(&[]));
    assert_eq!(names(&path), ["..", "..data"]);
    node.replace(&empty(false, None));
    assert_eq!(names(&path), ["..", "..data"]);
}

#[test]
fn a_replacement_may_come_before_the_container() {
    let node = Node::new();
    node.replace(&files(&["a=2"]));
    let path = node.prepare(&files(&["a=1"]));
    assert_eq!(fs::read_to_string(path.join("a")).unwrap(), "2");
}

#[test]
fn the_same_content_is_not_written_again() {
    let node = Node::new();
    let order = files(&["a=1"]);
    let path = node.prepare(&order);
    let inode = || fs::metadata(path.join("a")).unwrap().ino();
    let before = inode();
    node.replace(&order);
    assert_eq!(inode(), before);
    let mut other = order.clone();
    if let VolumeContent::Files(files) = &mut other.content {
        files[0].mode = 0o400;
    }
    node.replace(&other);
    assert_eq!(mode(&path.join("a")), 0o400, "another mode is another content");
}

/// Two files that belong together are never seen from two contents by a reader that holds on to `..data`, as kubelet's
/// users do.
#[test]
fn a_reader_sees_one_content_or_the_other() {
    let node = Node::new();
    let path = node.prepare(&files(&["a=0", "b=0"]));
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let read = scope.spawn(|| {
            let mut pairs = 0;
            while !done.load(Ordering::Relaxed) {
                let content = path.join(fs::read_link(path.join(DATA)).expect("a content is always in force"));
                let of = |name: &str| fs::read_to_string(content.join(name));
                // The content that the link led to may go while it is read.
                if let (Ok(a), Ok(b)) = (of("a"), of("b")) {
                    assert_eq!(a, b);
                    pairs += 1;
                }
            }
            pairs
        });
        for i in 1..300 {
            node.replace(&files(&[&format!("a={i}"), &format!("b={i}")]));
        }
        done.store(true, Ordering::Relaxed);
        assert!(read.join().unwrap() > 0);
    });
}

#[test]
fn what_a_crash_left_is_written_over() {
    let node = Node::new();
    let order = files(&["a=1"]);
    let VolumeContent::Files(list) = &order.content else { unreachable!() };
    let path = file_volume(&node.dirs, &node.pod, &order).unwrap();
    let half = path.join(name_of(list, None));
    fs::create_dir(&half).unwrap();
    fs::write(half.join("a"), "").unwrap();
    fs::create_dir(path.join("..old")).unwrap();
    symlink("nowhere", path.join(NEW_LINK)).unwrap();
    assert_eq!(node.prepare(&order), path);
    assert_eq!(
        (names(&path), fs::read_to_string(path.join("a")).unwrap()),
        (vec!["..".into(), "..data".into(), "a".into()], "1".into())
    );
}

#[test]
fn paths_that_lead_out_or_cannot_be_are_errors_and_leave_nothing_in_force() {
    let node = Node::new();
    let long = format!("{}=1", "n".repeat(300));
    for bad in ["../a=1", "/a=1", "a/../b=1", "..data=1", "=1", "a//b=1", "a/./b=1", "a\0b=1", &long] {
        let error = node.refusal(&files(&["fine=1", bad]));
        assert!(error.starts_with("set up volume \"v\": "), "{error}");
        let path = node.dirs.file_volumes().join("0a-1b/v");
        assert_eq!(names(&path), Vec::<String>::new(), "{bad}");
    }
    assert!(node.refusal(&files(&["a=1", "a/b=2"])).contains("a/b"), "a file and a directory of one name");
    let mut not_base64 = files(&["a=1"]);
    not_base64.content = VolumeContent::Files(vec![VolumeFile { path: "a".into(), data: "*".into(), mode: 0o644 }]);
    assert!(node.refusal(&not_base64).contains("write"));
    for name in ["", "..", "a/b", "a.b", "A_"] {
        assert!(node.refusal(&VolumeOrder { name: name.into(), ..files(&[]) }).contains("cannot be a path"), "{name}");
    }
    assert!(prepare(&node.dirs, &Uid::new("../x"), &files(&[])).is_err());
    let good = files(&["a=1"]);
    let path = node.prepare(&good);
    locked(&node.dirs, || replace_now(&node.dirs, &node.pod, &files(&["../b=1"]))).unwrap_err();
    assert_eq!(fs::read_to_string(path.join("a")).unwrap(), "1", "the old content stays in force");
}

#[test]
fn an_empty_directory_is_made_once_for_everybody() {
    let node = Node::new();
    let order = empty(false, None);
    let path = node.prepare(&order);
    assert_eq!((mode(&path), path.clone()), (0o777, node.dirs.data.join("pods/0a-1b/_volumes/v")));
    fs::write(path.join("kept"), "x").unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o700)).unwrap();
    assert_eq!(node.prepare(&order), path);
    assert_eq!((names(&path), mode(&path)), (vec!["kept".to_string()], 0o700), "the container's own changes stay");
}

#[test]
fn the_group_of_the_pod_owns_and_reads_as_root_can_arrange() {
    if !may_mount() {
        return;
    }
    let node = Node::new();
    let with = |order: VolumeOrder| VolumeOrder { group: Some(GROUP), ..order };
    let path = node.prepare(&with(empty(false, None)));
    assert_eq!((mode(&path), fs::metadata(&path).unwrap().gid()), (0o2777, GROUP));
    let mut order = VolumeOrder { name: "files".into(), ..with(files(&["d/a=1"])) };
    if let VolumeContent::Files(files) = &mut order.content {
        files[0].mode = 0o400;
    }
    let path = node.prepare(&order);
    let file = path.join("d/a");
    assert_eq!((mode(&file), fs::metadata(&file).unwrap().gid()), (0o440, GROUP));
    assert_eq!((mode(&path.join("d")), fs::metadata(path.join("d")).unwrap().gid()), (0o2755, GROUP));
    let order = VolumeOrder { name: "memory".into(), ..with(empty(true, None)) };
    let path = node.prepare(&order);
    assert_eq!((mode(&path), fs::metadata(&path).unwrap().gid()), (0o2777, GROUP));
}

#[test]
fn memory_is_a_file_system_of_its_own_with_a_bound_and_goes_with_the_pod() {
    if !may_mount() {
        assert!(Node::new().refusal(&empty(true, None)).contains("must run as root"));
        return;
    }
    let node = Node::new();
    let order = empty(true, Some(64 * 1024));
    let path = node.prepare(&order);
    assert!(is_mounted(&path).unwrap());
    fs::write(path.join("small"), [0; 4096]).unwrap();
    assert!(fs::write(path.join("big"), vec![0; 1 << 20]).is_err(), "the bound holds");
    assert_eq!(node.prepare(&order), path);
    assert_eq!(mounts().unwrap().iter().filter(|m| **m == path).count(), 1, "mounted once");
    assert_eq!(names(&path), ["big", "small"]);
    remove(&node.dirs, &node.pod).unwrap();
    assert!(!is_mounted(&path).unwrap() && !path.exists());
}

#[test]
fn files_are_in_memory_and_the_last_pod_takes_that_along() {
    if !may_mount() {
        return;
    }
    let node = Node::new();
    let other = Uid::new("other");
    node.prepare(&files(&["a=1"]));
    prepare(&node.dirs, &other, &files(&["a=1"])).unwrap();
    let home = node.dirs.file_volumes();
    assert!(is_mounted(&home).unwrap());
    remove(&node.dirs, &node.pod).unwrap();
    assert!(is_mounted(&home).unwrap() && home.join("other/v/a").exists() && !home.join("0a-1b").exists());
    remove(&node.dirs, &other).unwrap();
    assert!(!is_mounted(&home).unwrap());
    remove(&node.dirs, &other).unwrap();
}

#[test]
fn nothing_outside_is_removed_with_a_pod() {
    let node = Node::new();
    let outside = node.dirs.data.join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("precious"), "x").unwrap();
    let path = node.prepare(&empty(false, None));
    symlink(&outside, path.join("link")).unwrap();
    if may_mount() {
        // As a container leaves it that mounts in a directory which it shares with the host.
        let bound = path.join("bound with blanks");
        fs::create_dir(&bound).unwrap();
        mount(Some(&outside), &bound, None::<&str>, MsFlags::MS_BIND, None::<&str>).unwrap();
        assert!(bound.join("precious").exists());
    }
    remove(&node.dirs, &node.pod).unwrap();
    assert!(!path.exists() && outside.join("precious").exists());
}

#[test]
fn replacements_wait_for_their_turn_and_the_newest_wins() {
    let node = Node::new();
    let waiting = Projections::default();
    let path = node.prepare(&files(&["a=1"]));
    waiting.add(&node.pod, &files(&["a=2"]));
    waiting.add(&node.pod, &files(&["a=3"]));
    waiting.add(&Uid::new("gone"), &files(&["a=3"]));
    waiting.forget(&Uid::new("gone"));
    assert!(waiting.work_off(&node.dirs));
    assert_eq!(fs::read_to_string(path.join("a")).unwrap(), "3");
    assert!(!node.dirs.file_volumes().join("gone").exists());
    assert!(waiting.lock().is_empty());
}

#[test]
fn a_replacement_that_fails_waits_on_and_holds_up_no_other() {
    let node = Node::new();
    let waiting = Projections::default();
    let path = node.prepare(&VolumeOrder { name: "z".into(), ..files(&["a=1"]) });
    waiting.add(&node.pod, &files(&["../a=2"]));
    waiting.add(&node.pod, &VolumeOrder { name: "z".into(), ..files(&["a=2"]) });
    assert!(!waiting.work_off(&node.dirs));
    assert_eq!((fs::read_to_string(path.join("a")).unwrap(), waiting.lock().len()), ("2".into(), 1));
    waiting.add(&node.pod, &files(&["a=3"]));
    assert!(waiting.work_off(&node.dirs));
    waiting.add(&node.pod, &files(&["../a=2"]));
    waiting.forget(&node.pod);
    assert!(waiting.work_off(&node.dirs), "of a pod that is gone nothing is tried again");
}
