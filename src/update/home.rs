//! `DATA/versions` on the disk: the programs, one directory each, and `state.json`, which is there whole or not at all.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;
use ring::digest::{Context, SHA256};

use crate::model::update::{Mark, Versions, Which};

const STATE: &str = "state.json";
/// What was in the place of `STATE` and said nothing; the last such file alone.
const DAMAGED: &str = "state.json.damaged";
const PROGRAM: &str = "pinnace";
/// The beginning of a download, and what it is of.
pub(super) const DOWNLOAD: [&str; 2] = ["partial", "partial.json"];
const DOWNLOAD_AGE_MAX: Duration = Duration::from_secs(7 * 24 * 3600);
/// A larger file is none of ours.
const STATE_BYTES_MAX: u64 = 64 << 10;
const PIECE_BYTES: usize = 64 << 10;
/// A program that does not say its version in this time is none of ours.
const PROBE_WAIT: Duration = Duration::from_secs(20);
const PROBE_PACE: Duration = Duration::from_millis(20);

#[derive(Debug, Clone)]
pub struct Home {
    dir: PathBuf,
}

impl Home {
    pub fn of(data: &Path) -> Home {
        Home { dir: data.join("versions") }
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Makes the directory, mode 0700.
    ///
    /// # Errors
    /// What the host refuses.
    pub fn make(&self) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.dir)
    }

    pub fn program(&self, which: &Which) -> Option<PathBuf> {
        Some(self.dir.join(which.directory()?).join(PROGRAM))
    }

    /// None: there was never an update.
    ///
    /// # Errors
    /// The file cannot be read, or says nothing that this release understands.
    pub fn read(&self) -> io::Result<Option<Versions>> {
        let file = match File::open(self.dir.join(STATE)) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(e),
        };
        let mut text = String::new();
        file.take(STATE_BYTES_MAX).read_to_string(&mut text)?;
        serde_json::from_str(&text).map(Some).map_err(io::Error::from)
    }

    /// Moves a list aside that `read` found damaged, as the store does with its file; where to. None: it is not damaged,
    /// only not to be read now, or cannot be moved.
    pub fn set_aside(&self, why: &io::Error) -> Option<PathBuf> {
        let aside = self.dir.join(DAMAGED);
        let is_damaged = matches!(why.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof);
        let moved = is_damaged && fs::rename(self.dir.join(STATE), &aside).is_ok();
        // After a power cut it may be in its old place, and is moved once more.
        moved.then(|| drop(sync(&self.dir))).map(|()| aside)
    }

    /// Durable when it returns.
    ///
    /// # Errors
    /// What the host refuses; then the file is as it was.
    pub fn write(&self, versions: &Versions) -> io::Result<()> {
        self.make()?;
        let new = self.dir.join(format!("{STATE}.new"));
        let text = serde_json::to_string(versions)? + "\n";
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        file.write_all(text.as_bytes()).and_then(|()| file.sync_all())?;
        fs::rename(&new, self.dir.join(STATE))?;
        sync(&self.dir)
    }

    /// Forgets all versions; their programs go at the next `sweep`.
    ///
    /// # Errors
    /// What the host refuses.
    pub fn forget(&self) -> io::Result<()> {
        fs::remove_file(self.dir.join(STATE))?;
        sync(&self.dir)
    }

    /// Puts a checked file in the place of a version's program.
    ///
    /// # Errors
    /// What the host refuses.
    pub fn keep(&self, which: &Which, file: &Path) -> io::Result<PathBuf> {
        let program = self.program(which).ok_or_else(|| io::Error::other("the installed program is not kept here"))?;
        let own = program.parent().unwrap_or(&self.dir);
        DirBuilder::new().recursive(true).mode(0o700).create(own)?;
        fs::set_permissions(file, Permissions::from_mode(0o755))?;
        File::open(file)?.sync_all()?;
        fs::rename(file, &program)?;
        sync(own)?;
        sync(&self.dir)?;
        Ok(program)
    }

    /// Removes every program but those in these directories, and what an update left that was killed. A download that
    /// broke off stays for a week, to be gone on with.
    pub fn sweep(&self, kept: &[&str]) {
        let Ok(entries) = fs::read_dir(&self.dir) else { return };
        for entry in entries.flatten() {
            let (name, path) = (entry.file_name(), entry.path());
            let age = entry.metadata().and_then(|meta| meta.modified()).ok().and_then(|then| then.elapsed().ok());
            let stays = match name.to_str() {
                Some(STATE | DAMAGED) => true,
                Some(name) if DOWNLOAD.contains(&name) => age.is_none_or(|age| age < DOWNLOAD_AGE_MAX),
                Some(name) => kept.contains(&name),
                None => false,
            };
            // What cannot be removed is swept another time.
            let _ = match stays {
                true => Ok(()),
                false if path.is_dir() => fs::remove_dir_all(path),
                false => fs::remove_file(path),
            };
        }
    }

    /// Whether the program of a version is what it was when it was brought.
    ///
    /// # Errors
    /// It is not, or cannot be read.
    pub fn verify(&self, which: &Which) -> io::Result<()> {
        let (Which::Version(sha256), Some(program)) = (which, self.program(which)) else { return Ok(()) };
        if sha256_of(&program)? == *sha256 {
            return Ok(());
        }
        Err(io::Error::new(io::ErrorKind::InvalidData, "its file is damaged: it has another SHA-256"))
    }
}

fn sync(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// # Errors
/// The file is not there.
pub fn mark_of(file: &Path) -> io::Result<Mark> {
    let meta = fs::metadata(file)?;
    let modified = i128::from(meta.mtime()) * 1_000_000_000 + i128::from(meta.mtime_nsec());
    Ok(Mark { size: meta.len(), inode: meta.ino(), modified })
}

/// # Errors
/// The file cannot be read.
pub fn sha256_of(file: &Path) -> io::Result<String> {
    let (mut file, mut hash, mut piece) = (File::open(file)?, Context::new(&SHA256), vec![0; PIECE_BYTES]);
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(hex(hash.finish().as_ref())),
            count => hash.update(&piece[..count]),
        }
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Runs `PROGRAM --version`, which must say `pinnace X.Y.Z`; the version.
///
/// # Errors
/// It does not run here, or is something else; completes a sentence that begins with the program.
pub fn probe(program: &Path) -> Result<String, String> {
    let mut command = Command::new(program);
    command.arg("--version").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    command.env_clear().process_group(0);
    let mut child = command.spawn().map_err(|e| {
        let hint = match e.kind() {
            io::ErrorKind::PermissionDenied => "; is the data directory on a file system that is mounted noexec?",
            _ => "",
        };
        format!("cannot be run on this machine: {e}{hint}")
    })?;
    let (out, late) = (child.stdout.take(), format!("does not say its version within {} s", PROBE_WAIT.as_secs()));
    let Some(group) = i32::try_from(child.id()).ok().map(Pid::from_raw) else { return Err(late) };
    let has_ended = ended_within(group, PROBE_WAIT);
    // With whatever it has started; it is waited for only now, as its number is that of its group until then.
    let _ = killpg(group, Signal::SIGKILL);
    let status = child.wait().map_err(|e| format!("cannot be waited for: {e}"))?;
    if !has_ended {
        return Err(late);
    }
    let said = out.map(written_so_far).unwrap_or_default();
    if !status.success() {
        return Err(format!("cannot be run on this machine: asked for its version it ended with {status}"));
    }
    match said.trim().strip_prefix("pinnace ") {
        Some(version) if is_version(version) => Ok(version.to_string()),
        _ => Err(format!(
            "is not pinnace: asked for its version it said {:?}",
            said.chars().take(80).collect::<String>()
        )),
    }
}

/// Leaves it to be waited for.
fn ended_within(child: Pid, wait: Duration) -> bool {
    let until = Instant::now() + wait;
    let look = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    while matches!(waitid(Id::Pid(child), look), Ok(WaitStatus::StillAlive) | Err(Errno::EINTR)) {
        if Instant::now() >= until {
            return false;
        }
        std::thread::sleep(PROBE_PACE);
    }
    true
}

/// What a program that has ended left in its pipe. The pipe's end is not waited for: another process may hold it open.
/// A pipe holds far more than a version; who writes more than that blocks, and is late.
fn written_so_far(mut out: ChildStdout) -> String {
    let (mut said, mut piece) = (Vec::new(), [0; 4096]);
    while said.len() < PIECE_BYTES {
        let mut ready = [PollFd::new(out.as_fd(), PollFlags::POLLIN)];
        match poll(&mut ready, PollTimeout::ZERO).map_err(io::Error::from).map(|count| count > 0) {
            Ok(true) => {}
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Ok(false) | Err(_) => break,
        }
        match out.read(&mut piece) {
            Ok(0) | Err(_) => break,
            Ok(count) => said.extend_from_slice(&piece[..count]),
        }
    }
    String::from_utf8_lossy(&said).into_owned()
}

fn is_version(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|c| c.is_ascii_alphanumeric() || b".-+".contains(&c))
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// Written by another process: a file that one of ours has open while it forks cannot be executed.
    fn script(dir: &Path, text: &str) -> PathBuf {
        let path = dir.join("program");
        let mut write = Command::new("sh");
        write.arg("-c").arg("printf '%s' \"$0\" > \"$1\" && chmod 755 \"$1\"");
        assert!(write.arg(format!("#!/bin/sh\n{text}\n")).arg(&path).status().unwrap().success());
        path
    }

    #[test]
    fn a_program_that_leaves_a_child_with_its_output_is_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let pid = dir.path().join("pid");
        let program = script(dir.path(), &format!("sleep 1000 & echo $! > {}; echo pinnace 9.9.9", pid.display()));
        let (sender, answer) = mpsc::channel();
        std::thread::spawn(move || sender.send(probe(&program)));
        assert_eq!(answer.recv_timeout(PROBE_WAIT * 2).expect("it returns").as_deref(), Ok("9.9.9"));
        let child = fs::read_to_string(&pid).unwrap();
        let stat = PathBuf::from(format!("/proc/{}/stat", child.trim()));
        let lives = || fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z "));
        let until = Instant::now() + PROBE_WAIT;
        while lives() {
            assert!(Instant::now() < until, "the child was not ended");
            std::thread::sleep(PROBE_PACE);
        }
    }
}
