//! A node's directories and a daemon's runtime that can be ended and started again, for one case.

use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use nix::sys::wait::waitpid;
use nix::unistd::{Pid, geteuid};
use pinnace::model::attempt::{Capabilities, Root, Seccomp};
use pinnace::model::pod::Qos;
use pinnace::model::{AttemptId, Effect, Exit, Found, FoundState, HowEnded, Launch, Limits, LogQuery, Seen, Uid};
use pinnace::runtime::{CgroupChoice, Dirs, Logs, Runtime, Spawner};
use tokio::sync::mpsc;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Root, with control groups.
    Groups,
    /// By descent.
    Descent,
    /// An ordinary user to whom no control group is delegated.
    User,
}

impl Mode {
    /// The modes that this host and this user allow.
    pub fn here(root_only: bool) -> Vec<Mode> {
        if !geteuid().is_root() {
            return if root_only { vec![] } else { vec![Mode::Descent] };
        }
        let groups = group_root().map(|_| Mode::Groups);
        let user = (!root_only).then_some(Mode::User);
        groups.into_iter().chain([Mode::Descent]).chain(user).collect()
    }

    pub fn name(self) -> &'static str {
        match self {
            Mode::Groups => "groups",
            Mode::Descent => "descent",
            Mode::User => "user",
        }
    }

    pub fn named(name: &str) -> Mode {
        [Mode::Groups, Mode::Descent, Mode::User].into_iter().find(|mode| mode.name() == name).unwrap()
    }
}

/// The top of the unified hierarchy.
fn group_root() -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    let line = mounts.lines().find(|line| line.contains(" - cgroup2 "))?;
    Some(line.split(' ').nth(4)?.into())
}

pub struct World {
    pub mode: Mode,
    pub dirs: Dirs,
    /// For whatever a case or its containers want to write.
    pub scratch: PathBuf,
    runtime: Option<Runtime>,
    out: mpsc::UnboundedSender<Seen>,
    seen: mpsc::UnboundedReceiver<Seen>,
    /// One for each daemon that may come; forked before there were threads.
    spawners: Vec<Spawner>,
    choice: CgroupChoice,
    tokio: tokio::runtime::Runtime,
    _temp: tempfile::TempDir,
}

const SPAWNERS: usize = 4;

impl World {
    /// Runs a case in a world of its own and clears up after it.
    pub fn visit(mode: Mode, case: fn(&mut World)) {
        let spawners = (0..SPAWNERS).map(|_| Spawner::fork().unwrap()).collect();
        let temp = tempfile::tempdir().unwrap();
        let choice = match mode {
            Mode::Groups => CgroupChoice::Path(World::group(std::process::id()).unwrap()),
            Mode::Descent => CgroupChoice::Off,
            Mode::User => CgroupChoice::Auto,
        };
        let (out, seen) = mpsc::unbounded_channel();
        let mut world = World {
            mode,
            dirs: Dirs { data: temp.path().join("data"), run: temp.path().join("run") },
            scratch: temp.path().to_path_buf(),
            runtime: None,
            out,
            seen,
            spawners,
            choice,
            tokio: tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap(),
            _temp: temp,
        };
        world.daemon();
        case(&mut world);
        world.clear();
    }

    /// The group of the case that runs in this process; its own and nobody else's.
    pub fn group(process: u32) -> Option<PathBuf> {
        Some(group_root()?.join(format!("pinnace-test-{process}")))
    }

    /// A daemon starts and looks at what is there.
    pub fn daemon(&mut self) -> (Vec<Found>, Vec<Uid>) {
        self.blind_daemon();
        let _inside = self.tokio.enter();
        self.runtime.as_mut().unwrap().scan().unwrap()
    }

    /// A daemon starts and does not look.
    pub fn blind_daemon(&mut self) {
        let _inside = self.tokio.enter();
        let spawner = self.spawners.pop().unwrap();
        self.runtime = Some(Runtime::open(spawner, self.dirs.clone(), &self.choice, self.out.clone()).unwrap());
    }

    /// The daemon ends, and its spawner after it; what it had reported and nobody has read is lost.
    pub fn die(&mut self) {
        self.runtime = None;
        self.tokio.block_on(async {
            for _ in 0..10 {
                tokio::task::yield_now().await;
            }
        });
        waitpid(Pid::from_raw(-1), None).unwrap();
        while self.seen.try_recv().is_ok() {}
    }

    pub fn runtime(&mut self) -> &mut Runtime {
        self.runtime.as_mut().unwrap()
    }

    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.tokio.block_on(future)
    }

    pub fn act(&mut self, effect: Effect) {
        let inside = self.tokio.handle().clone();
        let _inside = inside.enter();
        self.runtime().act(&effect);
    }

    pub fn start(&mut self, launch: &Launch) -> AttemptId {
        self.act(Effect::Start(Box::new(launch.clone())));
        launch.attempt.clone()
    }

    /// The next thing that is reported.
    pub fn next(&mut self) -> Seen {
        let World { tokio, seen, runtime, .. } = self;
        tokio.block_on(async {
            tokio::select! {
                seen = seen.recv() => seen.unwrap(),
                e = runtime.as_mut().unwrap().failed() => panic!("the runtime has failed: {e}"),
            }
        })
    }

    /// What the runtime fails of; waits for it.
    pub fn failure(&mut self) -> String {
        let World { tokio, runtime, .. } = self;
        tokio.block_on(runtime.as_mut().unwrap().failed()).to_string()
    }

    pub fn started(&mut self, attempt: &AttemptId) -> i32 {
        match self.next() {
            Seen::Started { attempt: found, pid, .. } if found == *attempt => pid as i32,
            seen => panic!("{attempt} should have started, but: {seen:?}"),
        }
    }

    /// The next end that is reported, starts passed over.
    pub fn ended(&mut self) -> Exit {
        loop {
            match self.next() {
                Seen::Exited(exit) => return exit,
                Seen::Started { .. } => {}
                seen => panic!("{seen:?}"),
            }
        }
    }

    pub fn run(&mut self, launch: &Launch) -> HowEnded {
        let attempt = self.start(launch);
        let exit = self.ended();
        assert_eq!(exit.attempt, attempt);
        exit.how
    }

    /// Runs a shell script to its end; gives what it wrote.
    pub fn output(&mut self, launch: &Launch) -> String {
        let how = self.run(launch);
        let output = String::from_utf8_lossy(&self.read(&query(&launch.attempt))).into_owned();
        assert_eq!(how, HowEnded::Code(0), "{output}");
        output
    }

    pub fn logs(&mut self) -> Logs {
        self.runtime().logs()
    }

    pub fn read(&mut self, query: &LogQuery) -> Vec<u8> {
        let logs = self.logs();
        self.block_on(async {
            let (out, mut pieces) = mpsc::channel::<Bytes>(1);
            let mut all = Vec::new();
            let gather = async {
                while let Some(piece) = pieces.recv().await {
                    all.extend_from_slice(&piece);
                }
            };
            let (read, ()) = tokio::join!(logs.read(query.clone(), out), gather);
            read.unwrap();
            all
        })
    }

    /// Waits until a container that still runs has written so many lines, and gives them.
    pub fn lines(&mut self, attempt: &AttemptId, count: usize) -> Vec<String> {
        // On a thread of its own: the runtime's tasks must go on, or the order never leaves the daemon.
        let claim = self.claim(attempt);
        self.block_on(async { tokio::task::spawn_blocking(move || wait_there(&claim)).await.unwrap() });
        let logs = self.logs();
        let query = LogQuery { follow: true, ..query(attempt) };
        self.block_on(async {
            let (out, mut pieces) = mpsc::channel::<Bytes>(1);
            let mut text = String::new();
            let gather = async {
                while text.lines().count() < count || !text.ends_with('\n') {
                    text.push_str(std::str::from_utf8(&pieces.recv().await.expect("the container has ended")).unwrap());
                }
                drop(pieces);
            };
            let (read, ()) = tokio::join!(logs.read(query, out), gather);
            read.unwrap();
            text.lines().map(String::from).collect()
        })
    }

    pub fn claim(&self, attempt: &AttemptId) -> PathBuf {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
        self.dirs.run.join("attempts").join(format!("{}_{}", record_name(attempt), boot.trim()))
    }

    pub fn record(&self, attempt: &AttemptId) -> PathBuf {
        self.dirs.data.join("exits").join(record_name(attempt))
    }

    /// Blocks until the attempt's shim is gone; for when no daemon is there to tell.
    pub fn wait_for_shim(&self, attempt: &AttemptId) {
        fs::File::open(self.claim(attempt)).unwrap().lock_shared().unwrap();
    }

    pub fn remove(&mut self, pod: &Uid) {
        self.act(Effect::Remove(pod.clone()));
        wait_gone(&self.dirs.data.join("pods").join(pod.as_str()));
        let left = |directory: PathBuf| {
            let names = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name());
            names.filter_map(|name| name.into_string().ok()).find(|name| name.starts_with(pod.as_str()))
        };
        // The claims and records go last.
        for directory in [self.dirs.run.join("attempts"), self.dirs.data.join("exits")] {
            while let Some(name) = left(directory.clone()) {
                wait_gone(&directory.join(name));
            }
        }
    }

    fn clear(mut self) {
        if self.runtime.is_none() {
            self.daemon();
        }
        let names = fs::read_dir(self.dirs.data.join("pods")).unwrap();
        let pods: Vec<Uid> = names.map(|entry| Uid::new(entry.unwrap().file_name().into_string().unwrap())).collect();
        for pod in pods {
            self.remove(&pod);
        }
        let World { runtime, tokio, spawners, choice, .. } = self;
        drop((runtime, tokio, spawners));
        while waitpid(Pid::from_raw(-1), None).is_ok() {}
        if let CgroupChoice::Path(root) = choice {
            remove_groups(&root);
        }
    }
}

pub fn remove_groups(group: &Path) {
    for entry in fs::read_dir(group).unwrap().flatten().filter(|entry| entry.file_type().unwrap().is_dir()) {
        remove_groups(&entry.path());
    }
    fs::remove_dir(group).unwrap();
}

/// Blocks until the claim says something: its shim holds it by then.
fn wait_there(path: &Path) {
    let changes = Inotify::init(InitFlags::IN_CLOEXEC).unwrap();
    changes.add_watch(path.parent().unwrap(), AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MODIFY).unwrap();
    while fs::read(path).unwrap_or_default().is_empty() {
        changes.read_events().unwrap();
    }
}

/// Blocks until there is no such file.
pub fn wait_gone(path: &Path) {
    let changes = Inotify::init(InitFlags::IN_CLOEXEC).unwrap();
    changes.add_watch(path.parent().unwrap(), AddWatchFlags::IN_DELETE).unwrap();
    while path.exists() {
        changes.read_events().unwrap();
    }
}

pub fn record_name(attempt: &AttemptId) -> String {
    format!("{}_{}_{}", attempt.pod, attempt.container, attempt.number)
}

/// A container that runs this program.
pub fn launch(name: &str, argv: &[&str]) -> Launch {
    let pod = Uid::derive(&[name, &std::process::id().to_string()]);
    let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_string();
    Launch {
        env: vec![("PATH".into(), path), ("PINNACE_POD_UID".into(), pod.to_string())],
        attempt: AttemptId { pod, container: "main".into(), number: 0 },
        namespace: "default".into(),
        pod_name: name.into(),
        qos: Qos::Burstable,
        argv: argv.iter().map(|a| a.to_string()).collect(),
        cwd: "/".into(),
        root: Root::Host,
        read_only_root: false,
        volumes: vec![],
        mounts: vec![],
        hostname: name.into(),
        user: None,
        image_user: String::new(),
        group: None,
        groups: vec![],
        must_not_be_root: false,
        no_new_privileges: false,
        privileged: false,
        capabilities: Capabilities::default(),
        seccomp: Seccomp::Unset,
        stop_signal: 15,
        pod_limits: Limits::default(),
        limits: Limits { cpu_weight: Some(1), memory_max: Some(1 << 30), ..Limits::default() },
        oom_score_adj: 1000,
        log_bytes_max: 10 << 20,
        log_files_max: 5,
    }
}

pub fn script(name: &str, script: &str) -> Launch {
    launch(name, &["sh", "-c", script])
}

/// A container that says its process id and then waits for its end.
pub fn sleeper(name: &str) -> Launch {
    script(name, "echo $$; exec sleep 1000")
}

pub fn query(attempt: &AttemptId) -> LogQuery {
    let attempt = attempt.clone();
    LogQuery { attempt, follow: false, tail: None, since: None, timestamps: false, limit_bytes: None, after: None }
}

/// A zombie that nobody has reaped yet is no process any more.
pub fn lives(pid: i32) -> bool {
    stat(pid).is_some_and(|fields| fields[0] != "Z")
}

pub fn parent(pid: i32) -> i32 {
    stat(pid).unwrap()[1].parse().unwrap()
}

/// What follows the name in `/proc/PID/stat`: state, parent, and so on.
fn stat(pid: i32) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    Some(text.rsplit_once(") ")?.1.split(' ').map(String::from).collect())
}

pub fn state_of<'a>(found: &'a [Found], attempt: &AttemptId) -> Option<&'a FoundState> {
    found.iter().find(|f| f.attempt == *attempt).map(|f| &f.state)
}
