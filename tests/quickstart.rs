//! The quickstart of the README, as root and as an ordinary user: it comes to its end and shows what it promises.

use std::io::Write;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::Command;

const NOBODY: u32 = 65_534;

/// Where Cargo puts the example that it builds with the tests, in a place that every user may read.
fn example(place: &Path) -> PathBuf {
    let built = Path::new(env!("CARGO_BIN_EXE_pinnace")).parent().unwrap();
    let examples = place.join("examples");
    std::fs::create_dir(&examples).unwrap();
    let copied = examples.join("quickstart");
    std::fs::copy(built.join("examples/quickstart"), &copied).expect("cargo builds examples along with tests");
    std::fs::copy(env!("CARGO_BIN_EXE_pinnace"), place.join("pinnace")).unwrap();
    copied
}

fn show(mut command: Command, temp: &Path) {
    // Run by hand it builds nothing; the binary beside it is there already.
    let ended = command.env_remove("CARGO").env("TMPDIR", temp).output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr));
    assert!(ended.status.success(), "{out}\n{err}");
    let lines: Vec<Vec<&str>> = out.lines().map(|line| line.split_whitespace().collect()).collect();
    let has = |cells: &[&str]| lines.iter().any(|line| cells.iter().all(|cell| line.contains(cell)));
    for cells in [
        &["daemonset.apps/ssd-monitor", "1", "disk=ssd"][..],
        &["job.batch/batch-job", "Complete", "1/1"],
        &["job.batch/multi-completion-batch-job", "Complete", "5/5"],
        &["job.batch/multi-completion-parallel-batch-job", "Complete", "5/5"],
        &["cronjob.batch/batch-job-every-ten-seconds", "@every", "10s"],
        &["Batch", "job", "starting"],
        &["Finished", "succesfully"],
        &["Of", "the", "parallel", "Job,", "2"],
    ] {
        assert!(has(cells), "no line with {cells:?}:\n{out}");
    }
    assert!(out.contains("enforced on this host"), "it says whether limits are enforced:\n{out}");
    let left: Vec<_> = std::fs::read_dir(temp).unwrap().flatten().map(|entry| entry.file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().starts_with("pinnace-quickstart")), "left behind: {left:?}");
}

/// Also where the harness keeps what tests print to itself.
fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

#[test]
fn the_quickstart_comes_to_its_end() {
    let place = tempfile::tempdir().unwrap();
    show(Command::new(example(place.path())), place.path());
}

#[test]
fn an_ordinary_user_gets_as_far() {
    if !nix::unistd::geteuid().is_root() {
        say("NOT RUN (needs root to become somebody else): an_ordinary_user_gets_as_far; the other test ran as you");
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let example = example(place.path());
    chown(place.path(), Some(NOBODY), Some(NOBODY)).unwrap();
    // The stand-ins for images must be readable too: the example takes them from the repository.
    let readable = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/images/batch-job");
    let may_read = Command::new("setpriv")
        .args(["--reuid", "65534", "--regid", "65534", "--clear-groups", "test", "-x"])
        .arg(&readable)
        .status()
        .unwrap();
    if !may_read.success() {
        say(&format!("NOT RUN: an ordinary user cannot read {}", readable.display()));
        return;
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]).arg(example).env("HOME", place.path());
    show(command, place.path());
}
