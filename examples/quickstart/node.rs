//! A real `pinnace node` process, and the same binary as its operator's command line.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Names a binary to show instead of the one that is built here: one for another device, in an emulator.
const ANOTHER: &str = "PINNACE_QUICKSTART_BINARY";

/// Builds the binary in the profile that this example was built in, and tells where it is.
pub fn build() -> Result<PathBuf, String> {
    if let Some(binary) = std::env::var_os(ANOTHER) {
        return Ok(binary.into());
    }
    let this = std::env::current_exe().map_err(|e| format!("cannot tell where this program is: {e}"))?;
    let profile_dir = this.ancestors().nth(2).ok_or("this program is not below a target directory")?;
    let binary = profile_dir.join("pinnace");
    // Cargo tells programs that it runs where it is; run by hand, the binary must be there already.
    let Some(cargo) = std::env::var_os("CARGO") else {
        return if binary.exists() {
            Ok(binary)
        } else {
            Err(format!("{} is not built yet: cargo build", binary.display()))
        };
    };
    let mut build = Command::new(cargo);
    build.args(["build", "--quiet", "--locked", "--bin", "pinnace"]).current_dir(env!("CARGO_MANIFEST_DIR"));
    if !cfg!(debug_assertions) {
        build.arg("--release");
    }
    let built = build.status().map_err(|e| format!("cannot run cargo: {e}"))?;
    if built.success() { Ok(binary) } else { Err("cargo build failed; its words are above".into()) }
}

/// Whether a binary is for the processor that this example is for: width and machine in the heads of both.
fn is_native(binary: &Path) -> bool {
    let head = |path: &Path| {
        let mut bytes = [0; 20];
        File::open(path)
            .and_then(|mut file| file.read_exact(&mut bytes))
            .map(|()| (bytes[4], bytes[18], bytes[19]))
            .ok()
    };
    std::env::current_exe().is_ok_and(|this| head(&this) == head(binary))
}

pub struct Node {
    binary: PathBuf,
    socket: PathBuf,
    log: PathBuf,
    process: Child,
}

impl Node {
    pub fn start(binary: &Path, work: &Path, broker: &str) -> Result<Node, String> {
        let log = work.join("node.log");
        let out = File::create(&log).map_err(|e| format!("cannot make {}: {e}", log.display()))?;
        let process = Command::new(binary)
            .args([
                "node",
                "--name",
                "quickstart",
                "--labels",
                "disk=ssd",
                "--fleet",
                "demo",
                "--broker",
                broker,
                "--stop-pods",
            ])
            .arg("--data-dir")
            .arg(work.join("data"))
            .arg("--run-dir")
            .arg(work.join("run"))
            .stdout(Stdio::null())
            .stderr(out)
            .spawn()
            .map_err(|e| format!("cannot start {}: {e}", binary.display()))?;
        let mut node = Node { binary: binary.to_path_buf(), socket: work.join("run/pinnace.sock"), log, process };
        node.wait_until_it_answers()?;
        Ok(node)
    }

    fn wait_until_it_answers(&mut self) -> Result<(), String> {
        for _ in 0..600 {
            if let Ok(Some(status)) = self.process.try_wait() {
                return Err(format!(
                    "the node ended ({status}): {}",
                    std::fs::read_to_string(&self.log).unwrap_or_default()
                ));
            }
            if self.pinnace(&["get", "nodes"]).is_ok() {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Err("the node does not answer".into())
    }

    pub fn is_native(&self) -> bool {
        is_native(&self.binary)
    }

    /// Runs `pinnace ARGS` against this node and gives back what it printed.
    pub fn pinnace(&self, args: &[&str]) -> Result<String, String> {
        let out = Command::new(&self.binary)
            .args(args)
            .env("PINNACE_SOCKET", &self.socket)
            .output()
            .map_err(|e| format!("cannot run {}: {e}", self.binary.display()))?;
        if !out.status.success() {
            let errors = String::from_utf8_lossy(&out.stderr).into_owned();
            return Err(format!("pinnace {}: {}", args.join(" "), errors.trim()));
        }
        Ok(String::from_utf8_lossy(&out.stdout).into_owned())
    }

    pub fn get(&self, kinds: &str) -> Result<serde_json::Value, String> {
        let text = self.pinnace(&["get", kinds, "-o", "json"])?;
        serde_json::from_str(&text).map_err(|e| format!("pinnace get {kinds} -o json: {e}"))
    }

    /// Ends the node; it was started with `--stop-pods`, so it ends its pods first.
    pub fn stop(mut self) -> Result<(), String> {
        self.terminate();
        let ended = self.process.wait().map_err(|e| format!("cannot wait for the node: {e}"))?;
        if ended.success() { Ok(()) } else { Err(format!("the node ended with {ended}")) }
    }

    fn terminate(&self) {
        let pid = i32::try_from(self.process.id()).expect("a process id fits pid_t");
        let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Ok(None) = self.process.try_wait() {
            self.terminate();
            let _ = self.process.wait();
        }
    }
}
