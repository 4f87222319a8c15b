//! From the order to the process at work for an unpacked image, beside `crun run` on the same root file system. Both take
//! new mount, PID, UTS and IPC namespaces and mount the same file systems; pinnace also puts overlayfs over the image and
//! filters system calls, and keeps the output in a log, while crun gets a root that is there already and no filter.

#[allow(dead_code)]
mod support;

use std::fs::{self, File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::{OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::stat::Mode;
use pinnace::model::attempt::{Capabilities, HostPathType, Mount, MountSource, Root, Seccomp};
use pinnace::model::pod::Qos;
use pinnace::model::{AttemptId, Effect, Launch, Limits, Seen, Uid};
use pinnace::runtime::{CgroupChoice, Dirs, Runtime, Spawner};
use serde_json::{Value, json};
use support::figures::{Figures, print_head};
use support::{floor, introduce, run_scratch, scratch, size};

const LAYER: &str = "0000000000000000000000000000000000000000000000000000000000000000";
/// The program's first act.
const RING: [&str; 3] = ["/bin/sh", "-c", "echo > /bell"];
const PATH: &str = "/bin:/usr/bin:/sbin:/usr/sbin";

fn main() {
    // Before there is any thread.
    let spawner = Spawner::fork().expect("a process can be forked");
    let (starts, rounds) = size((30, 5), (2, 1));
    introduce(&format!("image: {starts} containers of an unpacked image, one after the other, to the process at work"));
    let (data, run) = (scratch(), run_scratch());
    let image = data.path().join("images/layers").join(LAYER);
    if let Err(reason) = fit().and_then(|()| make_image(&image)) {
        return println!("  nothing is measured: {reason}");
    }
    let bell = Bell::new(run.path());
    let mut node = Node::start(spawner, data.path(), run.path());
    let bundle = Bundle::new(&image, &bell);
    bell.forget();
    if let Err(reason) = &bundle {
        println!("  crun cannot run here, so there is nothing to compare with: {reason}");
    }
    let [mut own, mut crun, mut ratio] = std::array::from_fn(|_| Figures::default());
    for round in 0..rounds {
        // In turn, so that both meet the same neighbours.
        let mut times = [Vec::new(), Vec::new()];
        for n in 0..starts {
            times[0].push(node.run(&bell, (round * starts + n) as u32));
            times[1].extend(bundle.as_ref().ok().map(|bundle| bundle.run(&bell, n)));
        }
        let [took, theirs] = times.map(|times| median_ms(times.into_iter()));
        own.add(took);
        crun.add(theirs);
        ratio.add(took / theirs);
    }
    node.end();
    print_head(rounds);
    own.print("pinnace: order to the runtime, to the bell", "ms");
    if bundle.is_ok() {
        crun.print("crun run, to the bell", "ms");
        ratio.print("pinnace / crun", "target: below 1");
    }
}

fn median_ms(times: impl Iterator<Item = Duration>) -> f64 {
    times.map(|time| time.as_secs_f64() * 1e3).collect::<Figures>().median()
}

fn fit() -> Result<(), String> {
    let is_static = || Command::new("ldd").arg("/bin/busybox").output().is_ok_and(|output| !output.status.success());
    match () {
        () if !nix::unistd::geteuid().is_root() => Err("it takes root".into()),
        () if !Path::new("/bin/busybox").exists() || !is_static() => Err("busybox-static is not installed".into()),
        () => Ok(()),
    }
}

fn make_image(root: &Path) -> Result<(), String> {
    let make = || {
        for directory in ["bin", "dev", "etc", "proc", "sys", "tmp"] {
            fs::create_dir_all(root.join(directory))?;
        }
        fs::copy("/bin/busybox", root.join("bin/busybox"))?;
        symlink("busybox", root.join("bin/sh"))
    };
    make().map_err(|e: std::io::Error| format!("make an image in {}: {e}", root.display()))
}

/// A pipe with a name; a thread notes when it rings.
struct Bell {
    path: PathBuf,
    rung: mpsc::Receiver<Instant>,
}

impl Bell {
    fn new(directory: &Path) -> Bell {
        let path = directory.join("bell");
        nix::unistd::mkfifo(&path, Mode::from_bits_truncate(0o666)).expect("the directory is ours");
        // Open for writing as well, it never ends and a read waits.
        let open = OpenOptions::new().read(true).write(true).custom_flags(libc::O_CLOEXEC).open(&path);
        let mut pipe: File = open.expect("it was made just now");
        let (rings, rung) = mpsc::channel();
        std::thread::spawn(move || while pipe.read_exact(&mut [0]).is_ok() && rings.send(Instant::now()).is_ok() {});
        Bell { path, rung }
    }

    /// Rings that nobody waited for.
    fn forget(&self) {
        while self.rung.try_recv().is_ok() {}
    }

    /// From the beginning of `act` until it rings; what `act` waits for after that does not count.
    fn after(&self, act: impl FnOnce()) -> Duration {
        let begun = Instant::now();
        act();
        let rung = self.rung.recv_timeout(Duration::from_secs(60)).expect("the container rings");
        rung - begun
    }
}

/// The runtime alone, without the loop and the store.
struct Node {
    runtime: Runtime,
    tokio: tokio::runtime::Runtime,
    seen: tokio::sync::mpsc::UnboundedReceiver<Seen>,
    group: Option<PathBuf>,
}

impl Node {
    fn start(spawner: Spawner, data: &Path, run: &Path) -> Node {
        let tokio = tokio::runtime::Builder::new_current_thread().enable_io().build().expect("this host has epoll");
        let (out, seen) = tokio::sync::mpsc::unbounded_channel();
        let group = floor::make_group("image");
        let choice = group.clone().map_or(CgroupChoice::Off, CgroupChoice::Path);
        let inside = tokio.enter();
        let dirs = Dirs { data: data.into(), run: run.join("node") };
        let mut runtime = Runtime::open(spawner, dirs, &choice, out).expect("the directories are ours");
        runtime.scan().expect("there is nothing yet");
        drop(inside);
        Node { runtime, tokio, seen, group }
    }

    /// The spawner ends with the daemon; then nothing is left in its groups.
    fn end(self) {
        drop((self.runtime, self.tokio));
        while nix::sys::wait::wait().is_ok() {}
        self.group.iter().for_each(|group| floor::remove_group(group));
    }

    fn run(&mut self, bell: &Bell, number: u32) -> Duration {
        let launch = launch(&bell.path, number);
        let attempt = launch.attempt.clone();
        bell.after(|| {
            let inside = self.tokio.enter();
            self.runtime.act(&Effect::Start(Box::new(launch)));
            drop(inside);
            let exit = self.tokio.block_on(async {
                loop {
                    match self.seen.recv().await {
                        Some(Seen::Exited(exit)) => return exit,
                        Some(_) => {}
                        None => panic!("the runtime is gone"),
                    }
                }
            });
            assert_eq!(exit.how, pinnace::model::HowEnded::Code(0), "{attempt}");
            self.runtime.act(&Effect::Forget(attempt));
        })
    }
}

fn launch(bell: &Path, number: u32) -> Launch {
    let source = MountSource::Host { path: bell.display().to_string(), kind: HostPathType::Any };
    Launch {
        attempt: AttemptId { pod: Uid::new("image-bench"), container: "main".into(), number },
        namespace: "default".into(),
        pod_name: "image".into(),
        qos: Qos::Burstable,
        argv: RING.map(String::from).to_vec(),
        env: vec![("PATH".into(), PATH.into())],
        cwd: "/".into(),
        root: Root::Layers(vec![LAYER.into()]),
        read_only_root: false,
        volumes: vec![],
        mounts: vec![Mount {
            path: "/bell".into(),
            source,
            sub_path: String::new(),
            read_only: false,
            follow_host: false,
        }],
        hostname: "image".into(),
        user: None,
        image_user: String::new(),
        group: None,
        groups: vec![],
        must_not_be_root: false,
        no_new_privileges: true,
        privileged: false,
        capabilities: Capabilities::default(),
        seccomp: Seccomp::Unset,
        stop_signal: 15,
        pod_limits: Limits::default(),
        limits: Limits::default(),
        oom_score_adj: 0,
        log_bytes_max: 10 << 20,
        log_files_max: 5,
    }
}

/// What crun takes a container from.
struct Bundle {
    /// To the thread that starts it.
    asks: mpsc::Sender<usize>,
    answered: mpsc::Receiver<Result<(), String>>,
}

impl Bundle {
    /// Its own example of a configuration with our image, our command and the host's network.
    fn new(image: &Path, bell: &Bell) -> Result<Bundle, String> {
        let directory = run_scratch();
        let spec = Command::new("crun").arg("spec").current_dir(directory.path()).output();
        let spec = spec.map_err(|e| format!("crun: {e}; install the package of that name"))?;
        if !spec.status.success() {
            return Err(String::from_utf8_lossy(&spec.stderr).into_owned());
        }
        let path = directory.path().join("config.json");
        let text = fs::read(&path).map_err(|e| e.to_string())?;
        let mut config: Value = serde_json::from_slice(&text).map_err(|e| e.to_string())?;
        config["process"]["terminal"] = json!(false);
        config["process"]["args"] = json!(RING);
        config["root"] = json!({ "path": image, "readonly": false });
        let bell = json!({ "destination": "/bell", "type": "bind", "source": bell.path, "options": ["bind"] });
        config["mounts"].as_array_mut().ok_or("a configuration without mounts")?.push(bell);
        let namespaces = config["linux"]["namespaces"].as_array_mut().ok_or("a configuration without namespaces")?;
        namespaces.retain(|namespace| namespace["type"] != "network");
        fs::write(&path, config.to_string()).map_err(|e| e.to_string())?;
        let (asks, asked) = mpsc::channel();
        let (answers, answered) = mpsc::channel();
        std::thread::spawn(move || {
            // Where crun may not limit devices by itself, it runs without groups: less work for it.
            let ready = own_cgroup_mount();
            let fits = |manager: &&str| ready.is_ok() && crun(directory.path(), manager, 0).is_ok();
            let manager = ["cgroupfs", "disabled"].into_iter().find(fits).unwrap_or("disabled");
            println!("  crun's groups: {manager}");
            while let Ok(number) = asked.recv() {
                let ran = ready.clone().and_then(|()| crun(directory.path(), manager, number));
                if answers.send(ran).is_err() {
                    break;
                }
            }
        });
        let bundle = Bundle { asks, answered };
        bundle.try_run(0).map(|()| bundle)
    }

    fn try_run(&self, number: usize) -> Result<(), String> {
        self.asks.send(number).map_err(|e| e.to_string())?;
        self.answered.recv().map_err(|e| e.to_string())?
    }

    fn run(&self, bell: &Bell, number: usize) -> Duration {
        bell.after(|| self.try_run(number).expect("it ran before"))
    }
}

fn crun(bundle: &Path, manager: &str, number: usize) -> Result<(), String> {
    let name = format!("pinnace-bench-{}-{number}", std::process::id());
    let mut command = Command::new("crun");
    command.args(["--cgroup-manager", manager, "run", "--bundle"]).arg(bundle).arg(&name);
    let output = command.stdin(Stdio::null()).output().map_err(|e| e.to_string())?;
    let said = || String::from_utf8_lossy(&output.stderr).trim().to_string();
    if output.status.success() { Ok(()) } else { Err(said()) }
}

/// crun wants cgroup v2 alone at the usual place. Where the host has both, this thread gets a view of its own.
fn own_cgroup_mount() -> Result<(), String> {
    const PLACE: &str = "/sys/fs/cgroup";
    let none: Option<&str> = None;
    if Path::new(PLACE).join("cgroup.controllers").exists() {
        return Ok(());
    }
    let view = || {
        unshare(CloneFlags::CLONE_FS | CloneFlags::CLONE_NEWNS)?;
        mount(none, "/", none, MsFlags::MS_PRIVATE | MsFlags::MS_REC, none)?;
        mount(Some("cgroup"), PLACE, Some("cgroup2"), MsFlags::empty(), none)
    };
    view().map_err(|e| format!("mount cgroup v2 for crun: {e}"))
}
