//! Containers with a root file system of their own: what they see, how they end, and what is left of them.

use std::fs;
use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::{Mode as Bits, SFlag, mknod};
use nix::unistd::Pid;
use pinnace::model::attempt::Root;
use pinnace::model::{Effect, HowEnded, Launch};

use crate::Case;
use crate::world::{Mode, World, launch, lives, parent};

pub const CASES: &[Case] = &[
    Case { name: "image_is_alone", run: is_alone, root: true },
    Case { name: "image_writes_go_with_the_attempt", run: writes_go_with_the_attempt, root: true },
    Case { name: "image_layers_lie_over_each_other", run: layers_lie_over_each_other, root: true },
    Case { name: "image_of_many_layers", run: many_layers, root: true },
    Case { name: "image_layers_that_are_not_there", run: layers_that_are_not_there, root: true },
    Case { name: "image_without_overlayfs", run: without_overlayfs, root: true },
    Case { name: "image_read_only", run: read_only, root: true },
    Case { name: "image_ends_as_its_program_does", run: ends_as_its_program_does, root: true },
    Case { name: "image_orphans_are_reaped", run: orphans_are_reaped, root: true },
    Case { name: "image_init_passes_signals_on", run: init_passes_signals_on, root: true },
    Case { name: "image_is_asked_to_end_by_its_signal", run: asked_to_end, root: true },
    Case { name: "image_is_killed_as_a_whole", run: killed_as_a_whole, root: true },
    Case { name: "image_of_a_lost_shim_ends", run: a_lost_shim, root: true },
    Case { name: "image_roots_of_earlier_boots_go", run: roots_of_earlier_boots_go, root: true },
    Case { name: "image_refused_without_the_capability", run: refused_without_the_capability, root: true },
    Case { name: "image_refused_to_an_ordinary_user", run: refused_to_an_ordinary_user, root: false },
];

/// A layer in the store of this world, by its number; and the name that the store has for it.
pub fn layer(world: &World, number: usize) -> (PathBuf, String) {
    let name = format!("{number:064x}");
    let path = world.dirs.data.join("images/layers").join(&name);
    fs::create_dir_all(&path).unwrap();
    (path, name)
}

/// A layer with a small system: a shell and the usual tools, two users, and nothing else.
pub fn system(world: &World) -> String {
    let (root, name) = layer(world, 0);
    if !root.join("bin").exists() {
        busybox(&root);
    }
    name
}

pub fn busybox(root: &Path) {
    for directory in ["bin", "etc", "tmp"] {
        fs::create_dir_all(root.join(directory)).unwrap();
    }
    fs::copy("/bin/busybox", root.join("bin/busybox")).unwrap();
    let tools = "sh ps cat ls id hostname mount umount sleep grep unshare kill mknod chmod head wc stat true ln mkdir rm tr pwd";
    for tool in tools.split(' ') {
        symlink("busybox", root.join("bin").join(tool)).unwrap();
    }
    fs::write(root.join("etc/passwd"), "root:x:0:0::/root:/bin/sh\nalice:x:1000:1001::/home/alice:/bin/sh\n").unwrap();
    fs::write(root.join("etc/group"), "root:x:0:\nalice:x:1001:\nvideo:x:44:bob,alice\nmail:x:8:\n").unwrap();
}

/// A script in an image of one layer.
pub fn image(world: &World, number: u32, script: &str) -> Launch {
    let mut launch = launch("image", &["sh", "-c", script]);
    launch.attempt.number = number;
    Launch { root: Root::Layers(vec![system(world)]), ..launch }
}

/// What an attempt has for its root, while it has it.
fn root_of(world: &World, launch: &Launch) -> PathBuf {
    let directory = world.dirs.data.join("pods").join(launch.attempt.pod.as_str()).join(&launch.attempt.container);
    directory.join(format!("{}.root", launch.attempt.number))
}

/// Something that the host has mounted for as long as a case needs it.
pub struct Mounted(pub PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        umount2(&self.0, MntFlags::MNT_DETACH).unwrap();
    }
}

fn is_alone(world: &mut World) {
    fs::write(world.scratch.join("secret"), "").unwrap();
    let script = format!(
        "ps -o pid,comm; hostname; cat /etc/hostname; ls /; ls -d {} 2>&1; cat /proc/1/environ 2>&1; \
         cat /proc/1/cmdline | tr -d '\\0'; echo; ls /proc/1/root/ /proc/1/fd 2>&1; pwd; ls /dev /dev/pts /dev/shm",
        world.scratch.join("secret").display()
    );
    let output = world.output(&Launch { cwd: "/made/for/me".into(), ..image(world, 0, &script) });
    let expected = format!(
        "PID   COMMAND\n    1 pinnace-init\n    2 sh\n    3 ps\nimage\nimage\nbin\ndev\netc\nmade\nproc\nsys\ntmp\n\
         ls: {}: No such file or directory\ncat: can't open '/proc/1/environ': Permission denied\npinnace-init\n\
         ls: /proc/1/root/: Permission denied\n/proc/1/fd:\n/made/for/me\n\
         /dev:\nfd\nfull\nmqueue\nnull\nptmx\npts\nrandom\nshm\nstderr\nstdin\nstdout\ntty\nurandom\nzero\n\n\
         /dev/pts:\nptmx\n\n/dev/shm:\n",
        world.scratch.join("secret").display()
    );
    assert_eq!(output, expected);
    assert!(!fs::read_to_string("/proc/self/mountinfo").unwrap().contains("0.root"), "the host has none of its mounts");
}

fn writes_go_with_the_attempt(world: &mut World) {
    let (layer, _) = layer(world, 0);
    for number in 0..2 {
        let launch =
            image(world, number, "ls /new 2>/dev/null; echo x > /new; cat /new; echo y > /etc/passwd; rm -r /tmp");
        assert_eq!(world.output(&launch), "x\n", "attempt {number}");
        assert!(!root_of(world, &launch).exists());
    }
    assert!(!layer.join("new").exists() && layer.join("tmp").exists());
    assert!(fs::read_to_string(layer.join("etc/passwd")).unwrap().starts_with("root"));
}

/// The second layer hides one file, makes a directory opaque, and replaces a file by a directory.
fn two_layers(world: &World) -> Root {
    let (lower, upper) = (layer(world, 0).0, layer(world, 1).0);
    let names = Root::Layers(vec![system(world), layer(world, 1).1]);
    for file in ["etc/hidden", "d/old", "e/old", "becomes"] {
        fs::create_dir_all(lower.join(file).parent().unwrap()).unwrap();
        fs::write(lower.join(file), file).unwrap();
    }
    for directory in ["etc", "d", "e", "becomes"] {
        fs::create_dir_all(upper.join(directory)).unwrap();
    }
    mknod(&upper.join("etc/hidden"), SFlag::S_IFCHR, Bits::empty(), 0).unwrap();
    set_opaque(&upper.join("d"));
    for file in ["d/new", "e/new", "becomes/new"] {
        fs::write(upper.join(file), file).unwrap();
    }
    fs::set_permissions(&upper, fs::Permissions::from_mode(0o711)).unwrap();
    names
}

fn set_opaque(directory: &Path) {
    let path = std::ffi::CString::new(directory.to_str().unwrap()).unwrap();
    let name = c"trusted.overlay.opaque";
    // SAFETY: two strings that end, and one byte.
    assert_eq!(unsafe { libc::setxattr(path.as_ptr(), name.as_ptr(), c"y".as_ptr().cast(), 1, 0) }, 0);
}

const LOOK: &str = "ls /etc | grep hidden; ls /d /e /becomes; stat -c '%a %U' / /d; ls -d /bin/sh";
const SEEN: &str = "/becomes:\nnew\n\n/d:\nnew\n\n/e:\nnew\nold\n711 root\n755 root\n/bin/sh\n";

fn layers_lie_over_each_other(world: &mut World) {
    let root = two_layers(world);
    assert_eq!(world.output(&Launch { root, ..image(world, 0, LOOK) }), SEEN);
}

fn many_layers(world: &mut World) {
    const LAYERS: usize = 130;
    let mut names = vec![system(world)];
    for number in 1..LAYERS {
        let (path, name) = layer(world, number);
        fs::write(path.join(format!("only{number}")), "").unwrap();
        fs::write(path.join("top"), format!("{number}\n")).unwrap();
        names.push(name);
    }
    let launch =
        Launch { root: Root::Layers(names), ..image(world, 0, "ls / | grep -c only; cat /top; echo y > /top") };
    assert_eq!(world.output(&launch), format!("{}\n{}\n", LAYERS - 1, LAYERS - 1));
}

fn layers_that_are_not_there(world: &mut World) {
    let mut number = 0;
    let mut check = |world: &mut World, layers: &[&str], expected: &str| {
        let layers = layers.iter().map(|layer| layer.to_string()).collect();
        let launch = Launch { root: Root::Layers(layers), ..image(world, number, "true") };
        number += 1;
        let how = world.run(&launch);
        assert!(matches!(&how, HowEnded::NotStarted(why) if why.contains(expected)), "{how:?}");
        assert!(!root_of(world, &launch).exists());
    };
    check(world, &[], "no layer");
    check(world, &[&"a".repeat(64)], "aaa of the image in the store: no such file");
    for bad in ["", "..", "../../x", &"a".repeat(63), &format!("{}/..", "a".repeat(61)), &"x".repeat(64)] {
        check(world, &[bad], "cannot be the name of a layer");
    }
}

/// A file system that overlayfs cannot write to: another overlayfs.
fn without_overlayfs(world: &mut World) {
    let pods = world.dirs.data.join("pods");
    for directory in ["o", "u", "w"] {
        fs::create_dir(world.scratch.join(directory)).unwrap();
    }
    let part = |name: &str| world.scratch.join(name).display().to_string();
    let options = format!("lowerdir={},upperdir={},workdir={}", part("o"), part("u"), part("w"));
    mount(Some("overlay"), &pods, Some("overlay"), MsFlags::empty(), Some(options.as_str())).unwrap();
    let mounted = Mounted(pods);
    let root = two_layers(world);
    let script = format!("{LOOK}; echo x > /new; grep ' / ' /proc/mounts | grep -c 'upperdir=./u'");
    let launch = Launch { root, ..image(world, 0, &script) };
    let how = world.run(&launch);
    let output = String::from_utf8(world.read(&crate::world::query(&launch.attempt))).unwrap();
    assert_eq!(output, format!("{SEEN}0\n"), "{how:?}");
    assert!(!root_of(world, &launch).exists());
    assert!(layer(world, 1).0.join("etc/hidden").metadata().unwrap().file_type().is_char_device());
    let pod = launch.attempt.pod;
    world.remove(&pod);
    drop(mounted);
}

fn read_only(world: &mut World) {
    let script = "echo x > /new; echo x > /dev/shm/x && cat /dev/shm/x; echo y > /dev/null && echo fine";
    let launch = Launch { read_only_root: true, ..image(world, 0, script) };
    let output = world.output(&Launch { argv: argv(&format!("{{ {script}; }} 2>&1")), ..launch });
    assert_eq!(output, "sh: can't create /new: Read-only file system\nx\nfine\n");
}

pub fn argv(script: &str) -> Vec<String> {
    ["sh", "-c", script].map(String::from).to_vec()
}

fn ends_as_its_program_does(world: &mut World) {
    let mut number = 0;
    let mut check = |world: &mut World, argv: &[&str], expected: HowEnded| {
        let argv: Vec<String> = argv.iter().map(|a| a.to_string()).collect();
        let launch = Launch { argv, ..image(world, number, "") };
        number += 1;
        assert_eq!(world.run(&launch), expected, "{:?}", launch.argv);
    };
    let missing = |why: &str| HowEnded::NotStarted(format!("exec: {why}"));
    check(world, &["true"], HowEnded::Code(0));
    check(world, &["sh", "-c", "exit 7"], HowEnded::Code(7));
    for signal in [9, 15, 6] {
        check(world, &["sh", "-c", &format!("kill -{signal} $$")], HowEnded::Signal(signal));
    }
    check(world, &["nothing"], missing("\"nothing\": executable file not found in $PATH"));
    check(world, &["/nothing"], missing("\"/nothing\": stat /nothing: no such file or directory"));
    check(world, &["/etc/passwd"], missing("\"/etc/passwd\": permission denied"));
    // What is left of the container ends with its program.
    check(world, &["sh", "-c", "sleep 1000 & exit 5"], HowEnded::Code(5));
}

fn orphans_are_reaped(world: &mut World) {
    // Zombies are listed too: this goes on only when init and the shell are all there is.
    let script = "(: > /tmp/was &); until [ -e /tmp/was ]; do :; done; until set -- /proc/[0-9]*; [ $# = 2 ]; do :; done; \
                  (sleep 1000 &); until ps -o ppid,comm | grep sleep; do :; done";
    assert_eq!(world.output(&image(world, 0, script)), "    1 sleep\n");
}

fn init_passes_signals_on(world: &mut World) {
    let script = "trap 'exit 3' USR1; kill -KILL 1; kill -USR1 1; while :; do :; done";
    assert_eq!(world.run(&image(world, 0, script)), HowEnded::Code(3));
}

fn asked_to_end(world: &mut World) {
    let script = "trap 'exit 4' USR1; trap 'exit 5' TERM; echo ready; sleep 1000 & wait";
    for (number, stop_signal, code) in [(0, 10, 4), (1, 15, 5)] {
        let attempt = world.start(&Launch { stop_signal, ..image(world, number, script) });
        world.lines(&attempt, 1);
        world.act(Effect::Terminate(attempt));
        assert_eq!(world.ended().how, HowEnded::Code(code));
    }
    // The pid that is told is the program's: an operator's own signal ends it.
    let attempt = world.start(&image(world, 2, script));
    let pid = world.started(&attempt);
    world.lines(&attempt, 1);
    kill(Pid::from_raw(pid), Signal::SIGTERM).unwrap();
    assert_eq!(world.ended().how, HowEnded::Code(5));
}

/// Init of the container whose program this is: the shim's other child.
fn init_of(program: i32) -> i32 {
    let shim = parent(program);
    let children = fs::read_to_string(format!("/proc/{shim}/task/{shim}/children")).unwrap();
    children.split_whitespace().map(|pid| pid.parse().unwrap()).find(|pid| *pid != program).unwrap()
}

fn killed_as_a_whole(world: &mut World) {
    let attempt = world.start(&image(world, 0, "(sleep 1000 &); exec sleep 1000"));
    let program = world.started(&attempt);
    let init = init_of(program);
    assert!(lives(init));
    world.act(Effect::Kill(attempt));
    assert_eq!(world.ended().how, HowEnded::Signal(9));
    assert!(!lives(init) && !lives(program));
}

fn a_lost_shim(world: &mut World) {
    let launch = image(world, 0, "exec sleep 1000");
    let attempt = world.start(&launch);
    let program = world.started(&attempt);
    assert!(root_of(world, &launch).exists());
    kill(Pid::from_raw(parent(program)), Signal::SIGKILL).unwrap();
    assert_eq!(world.ended().how, HowEnded::Lost);
    // It has left its group; dying is over a step later. Init then waits for whoever reaps it.
    while lives(program) {
        std::thread::yield_now();
    }
    assert!(!root_of(world, &launch).exists());
}

fn roots_of_earlier_boots_go(world: &mut World) {
    let living = image(world, 5, "exec sleep 1000");
    let attempt = world.start(&living);
    world.started(&attempt);
    let mut gone = living.clone();
    gone.attempt.number = 4;
    fs::create_dir_all(root_of(world, &gone).join("upper/x")).unwrap();
    world.die();
    world.daemon();
    let path = root_of(world, &gone);
    world.block_on(async { tokio::task::spawn_blocking(move || crate::world::wait_gone(&path)).await.unwrap() });
    assert!(root_of(world, &living).exists(), "its shim lives");
}

/// Root is not enough. The case runs itself once more, as a root that may not mount.
fn refused_without_the_capability(world: &mut World) {
    const SYS_ADMIN: u32 = 21;
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let capabilities = status.lines().find_map(|line| line.strip_prefix("CapEff:\t")).unwrap();
    if u64::from_str_radix(capabilities, 16).unwrap() >> SYS_ADMIN & 1 == 1 {
        let mut again = std::process::Command::new("setpriv");
        again.args(["--bounding-set", "-sys_admin", "--inh-caps", "-sys_admin"]).arg(std::env::current_exe().unwrap());
        let name = std::env::var(crate::CASE_VARIABLE).unwrap().split(' ').next().unwrap().to_string();
        let output = again.env(crate::CASE_VARIABLE, format!("{name} descent")).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        return;
    }
    let launch = image(world, 0, "true");
    let how = world.run(&launch);
    assert!(matches!(&how, HowEnded::NotStarted(why) if why.contains("capability CAP_SYS_ADMIN")), "{how:?}");
    assert!(!root_of(world, &launch).exists());
}

fn refused_to_an_ordinary_user(world: &mut World) {
    if world.mode != Mode::User {
        return;
    }
    for (number, root) in [Root::Layers(vec!["0".repeat(64)]), Root::Directory("/tmp".into())].into_iter().enumerate() {
        let mut launch = Launch { root, ..launch("user", &["true"]) };
        launch.attempt.number = number as u32;
        let how = world.run(&launch);
        let expected = "run an image: pinnace runs as an ordinary user, who may mount nothing; run the node as root, or use `image: host`";
        assert_eq!(how, HowEnded::NotStarted(expected.into()));
        assert!(!root_of(world, &launch).exists());
    }
}
