//! One command that shows all of it: an MQTT broker, a real node, the tutorial's manifests pushed as retained messages,
//! and what the node made of them. Everything lives in a temporary directory and is gone at the end.
//!
//!     cargo run --release --example quickstart

mod broker;
mod node;
mod progress;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use broker::Broker;
use node::Node;
use progress::Progress;

/// Seconds that one `luksa/batch-job` works; the tutorial's takes 120.
const BATCH_SECONDS: &str = "2";
const PATIENCE: Duration = Duration::from_secs(180);

/// The slot that each manifest is pushed to, and its file below `examples/`.
const MANIFESTS: [(&str, &str); 6] = [
    ("ssd-monitor", "ssd-monitor-daemonset.yaml"),
    ("batch-job", "batch-job.yaml"),
    ("multi-completion", "multi-completion-batch-job.yaml"),
    (PARALLEL, "multi-completion-parallel-batch-job.yaml"),
    ("every-fifteen-minutes", "cronjob.yaml"),
    ("every-ten-seconds", "every-ten-seconds-cronjob.yaml"),
];
const IMAGES: [&str; 2] = ["batch-job", "ssd-monitor"];
const PARALLEL: &str = "multi-completion-parallel";
const PARALLEL_JOB: &str = "multi-completion-parallel-batch-job";
const JOBS: [&str; 3] = ["batch-job", "multi-completion-batch-job", PARALLEL_JOB];

fn main() -> ExitCode {
    match show() {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("quickstart: {why}");
            ExitCode::FAILURE
        }
    }
}

fn show() -> Result<(), String> {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    println!("Building the pinnace binary (the first time takes a few minutes) ...");
    let binary = node::build()?;
    let work = WorkDir::make()?;
    println!("1. An MQTT broker inside this example, on loopback.");
    let broker = Broker::start()?;
    println!("2. A node, as a process of its own: pinnace node --labels disk=ssd --broker {}", broker.url());
    let node = Node::start(&binary, work.path(), &broker.url())?;
    bring_images(&node, &examples, work.path())?;
    println!("3. The tutorial's manifests, published as retained messages below {}/ :", broker::SETS);
    for (slot, file) in MANIFESTS {
        let path = examples.join(file);
        let mut text = std::fs::read_to_string(&path).map_err(|e| format!("cannot read {}: {e}", path.display()))?;
        if slot == PARALLEL {
            // The tutorial gives both of its five-fold Jobs one name, as it runs one after the other.
            text = text.replace("name: multi-completion-batch-job", &format!("name: {PARALLEL_JOB}"));
        }
        broker.publish(&format!("{}/{slot}", broker::SETS), text.into_bytes())?;
        println!("     {file}");
    }
    println!("4. The node runs them ({BATCH_SECONDS} seconds for each pod of a Job).");
    Progress::new(&node, PATIENCE).until_done(&JOBS)?;
    results(&node)?;
    node.stop()
}

/// The tutorial's images, where this host lets a process have a root file system of its own; else programs of the host
/// that do the same.
fn bring_images(node: &Node, examples: &Path, work: &Path) -> Result<(), String> {
    let scripts = examples.join("images");
    let archives = match build_images(node, &scripts, work) {
        Ok(archives) => archives,
        Err(why) => {
            let seconds = format!("BATCH_SECONDS={BATCH_SECONDS}");
            for name in IMAGES {
                let (image, program) = (format!("luksa/{name}"), scripts.join(name).display().to_string());
                // "/" is the host's own file system: no root directory of its own, so it needs no privilege.
                node.pinnace(&["image", "add", &image, "/", "--entrypoint", &program, "--env", &seconds])?;
            }
            println!(
                "     luksa/batch-job and luksa/ssd-monitor are stood in for by shell scripts of examples/images,"
            );
            println!("     run as processes of the host: {why}.");
            return Ok(());
        }
    };
    for archive in archives {
        print!("     {}", node.pinnace(&["image", "import", &archive.display().to_string()])?);
    }
    println!(
        "     They were built by examples/images/build and run in namespaces of their own, without a container engine."
    );
    Ok(())
}

/// # Errors
/// Why this host cannot make or run images.
fn build_images(node: &Node, scripts: &Path, work: &Path) -> Result<Vec<PathBuf>, String> {
    if !node.is_native() {
        return Err("the node runs in an emulator, which makes no namespaces".to_string());
    }
    let can = Command::new("unshare").args(["--mount", "--pid", "--fork", "true"]).output();
    if !can.is_ok_and(|ended| ended.status.success()) {
        return Err("an image needs root and the right to make namespaces".to_string());
    }
    let built =
        Command::new(scripts.join("build")).arg(work.join("images")).env("BATCH_SECONDS", BATCH_SECONDS).output();
    let built = built.map_err(|e| format!("examples/images/build cannot be run: {e}"))?;
    if !built.status.success() {
        let why = String::from_utf8_lossy(&built.stderr);
        return Err(why.trim().trim_start_matches("build: ").to_string());
    }
    Ok(IMAGES.iter().map(|name| work.join("images").join(format!("{name}.tar"))).collect())
}

fn results(node: &Node) -> Result<(), String> {
    for args in [&["get", "daemonsets,jobs,cronjobs,pods"][..], &["logs", "job/batch-job"]] {
        println!("\n$ pinnace {}", args.join(" "));
        print!("{}", node.pinnace(args)?);
    }
    let most = progress::most_at_a_time(node, PARALLEL_JOB)?;
    println!("\nOf the parallel Job, {most} pods ran at a time at most, by their own start and end times.");
    if most > 2 {
        return Err(format!("{most} pods of a Job with parallelism 2 ran at the same time"));
    }
    println!("{}", progress::limits(node)?);
    Ok(())
}

/// A directory of this run alone, removed at the end whatever happened.
struct WorkDir(PathBuf);

impl WorkDir {
    fn make() -> Result<WorkDir, String> {
        let path = std::env::temp_dir().join(format!("pinnace-quickstart-{}", std::process::id()));
        std::fs::create_dir(&path).map_err(|e| format!("cannot make {}: {e}", path.display()))?;
        Ok(WorkDir(path))
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for WorkDir {
    fn drop(&mut self) {
        if let Err(e) = std::fs::remove_dir_all(&self.0) {
            eprintln!("quickstart: {} is left behind: {e}", self.0.display());
        }
    }
}
