//! A real `pinnace node`: its own process on directories of its own, ended with all its pods when it is dropped.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use super::http::Client;
use super::{floor, run_scratch, scratch};

pub const JOBS: &str = "/apis/batch/v1/namespaces/default/jobs";

/// A bound on failure, no measure.
const PATIENCE: Duration = Duration::from_secs(120);

pub struct Node {
    child: Child,
    data: Rc<tempfile::TempDir>,
    run: tempfile::TempDir,
    /// Where its pods' control groups are; none where this user may make none.
    groups: Option<PathBuf>,
}

impl Node {
    /// A node on its own, with room for many pods.
    pub fn start(more: &[&str]) -> Node {
        let (data, run) = (Rc::new(scratch()), run_scratch());
        let groups = floor::make_group("node");
        let log = File::create(data.path().join("node.log")).expect("the directory is ours");
        let mut command = Command::new(env!("CARGO_BIN_EXE_pinnace"));
        command.args(["node", "--name", "bench", "--fleet", "bench", "--stop-pods", "--data-dir"]);
        command.arg(data.path().join("data")).arg("--run-dir").arg(run.path()).args(more);
        command.env("PINNACE_BOUNDS_PODS_MAX", "1000").stdout(Stdio::null()).stderr(log);
        if let Some(groups) = &groups {
            command.env("PINNACE_CGROUP_ROOT", groups);
        }
        let child = command.spawn().expect("the binary was built for this bench");
        let mut node = Node { child, data, run, groups };
        node.await_socket();
        node
    }

    fn await_socket(&mut self) {
        let begun = Instant::now();
        while std::os::unix::net::UnixStream::connect(self.socket()).is_err() {
            let ended = self.child.try_wait().expect("it is our child");
            assert!(ended.is_none() && begun.elapsed() < PATIENCE, "the node does not start:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.data.path().join("node.log")).unwrap_or_default()
    }

    fn socket(&self) -> PathBuf {
        self.run.path().join("pinnace.sock")
    }

    pub fn client(&self) -> Client {
        Client::connect(&self.socket())
    }

    /// Its files, which stay as long as somebody holds this. Where thousands of files go between two measurements, the
    /// second one pays for it: ext4 without a journal passes over every inode that was given up in the last minutes.
    pub fn files(&self) -> Rc<tempfile::TempDir> {
        self.data.clone()
    }

    /// One of its metrics.
    pub fn metric(&self, name: &str) -> u64 {
        let text = self.client().get("/metrics");
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok());
        value.unwrap_or_else(|| panic!("{name} is not among the metrics:\n{text}"))
    }

    /// Until the Job is complete.
    pub fn await_complete(&self, job: &str) {
        self.client().watch(JOBS, job, |job| {
            let conditions = job["status"]["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
            assert!(conditions.iter().all(|c| c["type"] != "Failed"), "{job}");
            conditions.iter().any(|c| c["type"] == "Complete" && c["status"] == "True")
        });
    }

    /// Until so many of the Job's pods run.
    pub fn await_ready(&self, job: &str, pods: usize) {
        self.client().watch(JOBS, job, |job| job["status"]["ready"] == pods);
    }

    pub fn daemon(&self) -> i32 {
        self.child.id() as i32
    }

    /// The process that starts containers.
    pub fn spawner(&self) -> i32 {
        children(self.daemon()).first().copied().expect("a daemon has one child")
    }

    /// One for each container that runs.
    pub fn shims(&self) -> Vec<i32> {
        children(self.spawner())
    }
}

impl Drop for Node {
    /// SIGTERM with `--stop-pods` ends the pods first. A second one would leave them.
    fn drop(&mut self) {
        let _ = kill(Pid::from_raw(self.daemon()), Signal::SIGTERM);
        let begun = Instant::now();
        while !matches!(self.child.try_wait(), Ok(Some(_))) {
            if begun.elapsed() > PATIENCE {
                println!("  the node does not end; its log:\n{}", self.log());
                let _ = self.child.kill();
                let _ = self.child.wait();
                break;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        if let Some(groups) = &self.groups {
            floor::remove_group(groups);
        }
    }
}

/// Processes whose parent this is.
fn children(parent: i32) -> Vec<i32> {
    let list = format!("/proc/{parent}/task/{parent}/children");
    if let Ok(text) = fs::read_to_string(&list) {
        return text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect();
    }
    let all = fs::read_dir("/proc").expect("there is /proc").flatten();
    let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| parent_of(*pid) == Some(parent)).collect()
}

fn parent_of(pid: i32) -> Option<i32> {
    let status = fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("PPid:")?.trim().parse().ok())
}

/// A Job of so many pods that run this.
pub fn job(name: &str, command: &[&str], completions: usize, parallelism: usize) -> Value {
    json!({
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": { "name": name },
        "spec": {
            "completions": completions,
            "parallelism": parallelism,
            "template": { "spec": {
                "restartPolicy": "Never",
                "terminationGracePeriodSeconds": 1,
                "containers": [{ "name": "main", "command": command }],
            } },
        },
    })
}
