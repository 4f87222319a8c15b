//! A device for one test: the real binary as its node, in a directory of its own, and the same binary as its operator.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

/// A test that waits longer has failed.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often something in another process is looked at again; nothing depends on it.
const PACE: Duration = Duration::from_millis(20);

pub struct Device {
    dir: tempfile::TempDir,
    node: Option<Child>,
    arguments: Vec<String>,
    /// The program that is installed here.
    binary: PathBuf,
    /// Runs everything as this user (root's tests of an ordinary user's node).
    user: Option<u32>,
    /// How much longer ago this boot was to a daemon that is started now.
    slept: Duration,
}

/// What a command came to.
#[derive(Debug)]
pub struct Said {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Device {
    /// A node that runs, with further arguments.
    pub fn start(arguments: &[&str]) -> Device {
        let mut device = Device::prepare(arguments);
        device.boot();
        device
    }

    pub fn prepare(arguments: &[&str]) -> Device {
        let dir = tempfile::tempdir().unwrap();
        let arguments = arguments.iter().map(|a| (*a).to_string()).collect();
        Device {
            dir,
            node: None,
            arguments,
            binary: env!("CARGO_BIN_EXE_pinnace").into(),
            user: None,
            slept: Duration::ZERO,
        }
    }

    /// Installs the program anew, as a package does: a file of its own that the test may replace.
    #[allow(dead_code)]
    pub fn install(&mut self, program: &[u8]) {
        use std::os::unix::fs::PermissionsExt;
        let (new, binary) = (self.path().join("pinnace.new"), self.path().join("pinnace"));
        fs::write(&new, program).unwrap();
        fs::set_permissions(&new, fs::Permissions::from_mode(0o755)).unwrap();
        fs::rename(&new, &binary).unwrap();
        self.binary = binary;
    }

    #[allow(dead_code)]
    pub fn binary(&self) -> &Path {
        &self.binary
    }

    /// The program that runs the node.
    #[allow(dead_code)]
    pub fn running(&self) -> PathBuf {
        fs::read_link(format!("/proc/{}/exe", self.pid())).unwrap()
    }

    /// Arguments that were not known when it was prepared.
    #[allow(dead_code)]
    pub fn add_arguments(&mut self, arguments: &[&str]) {
        self.arguments.extend(arguments.iter().map(|a| (*a).to_string()));
    }

    /// A node of an ordinary user; only root can make one.
    pub fn of_user(user: u32, arguments: &[&str]) -> Device {
        let mut device = Device::prepare(arguments);
        std::os::unix::fs::chown(device.path(), Some(user), Some(user)).unwrap();
        device.user = Some(user);
        device.boot();
        device
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    pub fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// Further arguments of the daemon, before it is started.
    pub fn argue(&mut self, arguments: &[&str]) {
        self.arguments.extend(arguments.iter().map(|a| (*a).to_string()));
    }

    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("run/pinnace.sock")
    }

    /// `pinnace ARGS`, not started yet.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = match self.user {
            None => Command::new(&self.binary),
            Some(user) => {
                let mut command = Command::new("setpriv");
                let user = user.to_string();
                command.args(["--reuid", &user, "--regid", &user, "--clear-groups"]).arg(&self.binary);
                command
            }
        };
        command.args(arguments).env("PINNACE_SOCKET", self.socket()).current_dir(env!("CARGO_MANIFEST_DIR"));
        command
    }

    /// Daemons that are started from now on find that the machine was suspended for this long in its present boot.
    /// That is a time namespace: of the clocks it moves `CLOCK_BOOTTIME` alone.
    #[allow(dead_code)]
    pub fn sleep(&mut self, length: Duration) {
        self.slept = length;
    }

    /// Whether this kernel has time namespaces and lets us make them.
    #[allow(dead_code)]
    pub fn can_sleep() -> bool {
        let uptime = |command: &mut Command| {
            let text = command.output().ok().map(|output| String::from_utf8_lossy(&output.stdout).into_owned())?;
            text.split('.').next()?.parse::<u64>().ok()
        };
        let inside = uptime(sleeping(Duration::from_secs(3600), "cat".as_ref()).arg("/proc/uptime"));
        let outside = uptime(Command::new("cat").arg("/proc/uptime"));
        inside.zip(outside).is_some_and(|(inside, outside)| inside > outside + 1800)
    }

    fn daemon(&self) -> Command {
        let node = ["node", "--name", "gw-7"];
        if self.slept.is_zero() {
            return self.command(&node);
        }
        let mut command = sleeping(self.slept, &self.binary);
        command.args(node).current_dir(env!("CARGO_MANIFEST_DIR"));
        command
    }

    fn spawn(&self) -> Child {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.dir.path().join("log")).unwrap();
        // A test that wants a registry names it in a file of its own; no other node asks the world.
        let pulls = if self.arguments.iter().any(|a| a == "--config") { "true" } else { "false" };
        let mut daemon = self.daemon();
        daemon
            .env("PINNACE_IMAGES_PULL", pulls)
            // How full the disk of this machine is must not decide what a test finds.
            .env("PINNACE_IMAGES_HIGH_PERCENT", "100")
            .args(&self.arguments)
            .arg("--data-dir")
            .arg(self.data())
            .arg("--run-dir")
            .arg(self.dir.path().join("run"))
            .stdout(Stdio::null())
            .stderr(log);
        loop {
            match daemon.spawn() {
                // Another thread has just forked: its child has the file open that `install` wrote, until it is a program.
                Err(e) if e.kind() == io::ErrorKind::ExecutableFileBusy => std::thread::yield_now(),
                started => return started.unwrap(),
            }
        }
    }

    /// Starts the daemon and waits until it answers.
    pub fn boot(&mut self) {
        self.boot_until("the node answers", |said| said.code == 0);
    }

    /// Starts the daemon and waits until it answers in this way when it is asked for its nodes.
    pub fn boot_until(&mut self, what: &str, answered: impl Fn(&Said) -> bool) {
        assert!(self.node.is_none(), "one daemon at a time");
        self.node = Some(self.spawn());
        self.eventually(what, |device| answered(&device.say(&["get", "nodes"])).then_some(()));
    }

    /// Starts a daemon that is to fail: its exit code and its words.
    pub fn fail_to_boot(&self) -> (i32, String) {
        let before = self.log().len();
        let (mut node, until) = (self.spawn(), Instant::now() + PATIENCE);
        while node.try_wait().unwrap().is_none() {
            if Instant::now() > until {
                node.kill().unwrap();
            }
            std::thread::sleep(PACE);
        }
        let code = node.wait().unwrap().code().unwrap_or(-1);
        (code, self.log()[before..].to_string())
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    pub fn pid(&self) -> u32 {
        self.node.as_ref().unwrap().id()
    }

    /// SIGKILL, at once.
    pub fn crash(&mut self) {
        let mut node = self.node.take().unwrap();
        node.kill().unwrap();
        node.wait().unwrap();
    }

    /// SIGTERM; gives the exit code.
    pub fn stop(&mut self) -> i32 {
        let mut node = self.node.take().unwrap();
        signal(node.id(), Signal::SIGTERM);
        node.wait().unwrap().code().unwrap_or(-1)
    }

    /// Waits until the daemon ends by itself.
    pub fn ends(&mut self) -> i32 {
        self.node.take().unwrap().wait().unwrap().code().unwrap_or(-1)
    }

    /// `pinnace ARGS`.
    pub fn say(&self, arguments: &[&str]) -> Said {
        Said::of(self.command(arguments).stdin(Stdio::null()).output().unwrap())
    }

    /// A shell's command line in which `pinnace` is the binary under test and `$WORK` the device's directory; `out` has
    /// both of its outputs, as a terminal shows them.
    pub fn shell(&self, script: &str) -> Said {
        let binaries = Path::new(env!("CARGO_BIN_EXE_pinnace")).parent().unwrap().display();
        let path = format!("{binaries}:{}", std::env::var("PATH").unwrap_or_default());
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("exec 2>&1\n{script}")]).stdin(Stdio::null());
        shell.env("PATH", path).env("WORK", self.path()).env("PINNACE_SOCKET", self.socket()).env("LC_ALL", "C");
        Said::of(shell.current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap())
    }

    /// `pinnace ARGS` that must succeed: what it printed.
    #[track_caller]
    pub fn ok(&self, arguments: &[&str]) -> String {
        let said = self.say(arguments);
        assert_eq!(said.code, 0, "pinnace {}: {said:?}\n{}", arguments.join(" "), self.log());
        said.out
    }

    /// `pinnace VERB -f FILE` with this text in the file.
    pub fn with_file(&self, verb: &str, text: &str) -> Said {
        let file = self.path().join("manifest.yaml");
        fs::write(&file, text).unwrap();
        self.say(&[verb, "-f", file.to_str().unwrap()])
    }

    #[track_caller]
    pub fn apply(&self, text: &str) {
        let said = self.with_file("apply", text);
        assert_eq!(said.code, 0, "{said:?}");
    }

    #[track_caller]
    pub fn json(&self, what: &[&str]) -> Value {
        let text = self.ok(&[&["get"], what, &["-o", "json"]].concat());
        serde_json::from_str(&text).unwrap()
    }

    /// The items of a list.
    #[track_caller]
    pub fn items(&self, what: &[&str]) -> Vec<Value> {
        self.json(what)["items"].as_array().cloned().unwrap_or_default()
    }

    #[track_caller]
    pub fn wait_for(&self, condition: &str, what: &str) {
        self.ok(&["wait", "--timeout=60s", &format!("--for={condition}"), what]);
    }

    /// Looks again until there is something to see.
    #[track_caller]
    pub fn eventually<T>(&self, what: &str, look: impl Fn(&Device) -> Option<T>) -> T {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(seen) = look(self) {
                return seen;
            }
            assert!(Instant::now() < until, "{what}: not within {PATIENCE:?}\n{}", self.log());
            std::thread::sleep(PACE);
        }
    }

    /// A figure of `/metrics`.
    pub fn metric(&self, name: &str) -> u64 {
        use std::io::{Read, Write};
        let mut stream = std::os::unix::net::UnixStream::connect(self.socket()).unwrap();
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let line = text.lines().find(|line| line.starts_with(&format!("{name} "))).unwrap_or_else(|| panic!("{text}"));
        line.rsplit(' ').next().unwrap().parse().unwrap()
    }
}

impl Said {
    fn of(output: Output) -> Said {
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Said { code: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) }
    }

    pub fn ok(self) -> Option<String> {
        (self.code == 0).then_some(self.out)
    }
}

impl Drop for Device {
    /// Nothing of a test is left running: a daemon that ends its pods, then the directory.
    fn drop(&mut self) {
        if self.node.is_some() {
            self.crash();
        }
        if !self.data().exists() {
            return;
        }
        self.arguments.retain(|argument| argument != "--stop-pods");
        self.arguments.push("--stop-pods".into());
        let mut last = self.spawn();
        let until = Instant::now() + PATIENCE;
        while !self.say(&["get", "nodes"]).code.eq(&0) && Instant::now() < until && last.try_wait().unwrap().is_none() {
            std::thread::sleep(PACE);
        }
        self.say(&[
            "delete",
            "daemonsets,cronjobs,jobs,pods",
            "--all",
            "-A",
            "--grace-period=0",
            "--force",
            "--wait=false",
        ]);
        let groups = control_groups(last.id());
        signal(last.id(), Signal::SIGTERM);
        let _ = last.wait();
        // The spawner goes just after the daemon; a process that got away keeps the groups.
        while groups.as_ref().is_some_and(|root| remove_groups(root).is_err()) && Instant::now() < until {
            std::thread::sleep(PACE);
        }
    }
}

/// The top of the node's control groups, where it has some of its own: its spawner is in `TOP/shims`.
fn control_groups(daemon: u32) -> Option<PathBuf> {
    let children = fs::read_to_string(format!("/proc/{daemon}/task/{daemon}/children")).ok()?;
    let spawner = children.split_whitespace().next()?.to_string();
    let cgroup = fs::read_to_string(format!("/proc/{spawner}/cgroup")).ok()?;
    let top = cgroup.lines().find_map(|line| line.strip_prefix("0::/"))?.strip_suffix("/shims")?.to_string();
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    let point = mounts.lines().find(|line| line.contains(" - cgroup2 "))?.split(' ').nth(4)?.to_string();
    top.starts_with("pinnace-").then(|| Path::new(&point).join(top))
}

/// A control group is removed as a directory, when no process is in it.
fn remove_groups(group: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(group)?.flatten().filter(|entry| entry.path().is_dir()) {
        remove_groups(&entry.path())?;
    }
    fs::remove_dir(group)
}

/// A program to which the boot was so much longer ago; it is the process that is started, not a child of it.
fn sleeping(length: Duration, program: &Path) -> Command {
    let mut command = Command::new("unshare");
    command.args(["--time", "--boottime", &length.as_secs().to_string()]).arg(program);
    command
}

pub fn signal(pid: u32, signal: Signal) {
    let _ = kill(Pid::from_raw(i32::try_from(pid).unwrap()), signal);
}

pub fn lives(pid: u64) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
        && !fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default().contains(") Z ")
}

/// Says something also where the harness keeps what tests print to itself.
pub fn say_past_the_harness(text: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "{text}");
}

pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}
