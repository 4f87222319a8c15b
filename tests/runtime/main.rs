//! The runtime against the real kernel: real processes, signals, control groups and files. Each case runs in a process of
//! its own, so that it can fork its spawners before it has threads, and in each mode that the host allows: with control
//! groups, without, and as an ordinary user.
//!
//! `cargo test --test runtime -- WORD` runs the cases whose name has the word in it.

mod confine;
mod ends;
mod identity;
mod images;
mod life;
mod output;
mod volumes;
mod world;

use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::Pid;

use world::{Mode, World};

/// A name, what it does, and whether it needs root.
pub struct Case {
    name: &'static str,
    run: fn(&mut World),
    root: bool,
}

/// A case that takes longer hangs; it is ended so that the others are seen.
const CASE_SECONDS_MAX: u32 = 60;
const CASE_VARIABLE: &str = "PINNACE_RUNTIME_TEST";
/// The ordinary user of these tests; nobody's.
const NOBODY: u32 = 65_534;

fn cases() -> impl Iterator<Item = Case> {
    [life::CASES, ends::CASES, identity::CASES, images::CASES, confine::CASES, volumes::CASES, output::CASES]
        .concat_cases()
}

fn main() -> ExitCode {
    if let Ok(chosen) = std::env::var(CASE_VARIABLE) {
        nix::unistd::alarm::set(CASE_SECONDS_MAX);
        let (name, mode) = chosen.split_once(' ').expect("the parent sets NAME MODE");
        let case = cases().find(|case| case.name == name).expect("the parent takes the name from the same list");
        World::visit(Mode::named(mode), case.run);
        return ExitCode::SUCCESS;
    }
    nix::sys::prctl::set_child_subreaper(true).unwrap();
    let word = std::env::args().skip(1).find(|arg| !arg.starts_with('-')).unwrap_or_default();
    let chosen = cases().filter(|case| case.name.contains(&word));
    let failed = chosen.flat_map(|case| Mode::here(case.root).into_iter().map(move |mode| (case.name, mode)));
    let failed = failed.filter(|(name, mode)| !passes(name, *mode)).count();
    println!("runtime: {failed} failed");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn passes(name: &str, mode: Mode) -> bool {
    let this = std::env::current_exe().unwrap();
    let mut command = Command::new(&this);
    if mode == Mode::User {
        command = Command::new("setpriv");
        command.args(["--reuid", &NOBODY.to_string(), "--regid", &NOBODY.to_string(), "--clear-groups"]).arg(this);
    }
    let case = command
        .env(CASE_VARIABLE, format!("{name} {}", mode.name()))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let group = World::group(case.id());
    let output = case.wait_with_output().unwrap();
    let passed = output.status.success();
    end_leftovers(group.as_deref());
    println!("test {name} ({}) ... {}", mode.name(), if passed { "ok" } else { "FAILED" });
    if !passed {
        println!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        println!("{}", output.status);
    }
    passed
}

/// Ends what a failed case has left: what is in its own group, and what has become a child of this process because its
/// parents are gone. Nothing else on this machine is touched.
fn end_leftovers(group: Option<&Path>) {
    if let Some(group) = group.filter(|group| group.exists()) {
        fs::write(group.join("cgroup.kill"), "1").unwrap();
    }
    let children = format!("/proc/self/task/{}/children", std::process::id());
    loop {
        for child in fs::read_to_string(&children).unwrap_or_default().split_whitespace() {
            let _ = kill(Pid::from_raw(child.parse().unwrap()), Signal::SIGKILL);
        }
        if waitpid(Pid::from_raw(-1), None) == Err(Errno::ECHILD) {
            break;
        }
    }
    if let Some(group) = group.filter(|group| group.exists()) {
        world::remove_groups(group);
    }
}

trait Concat {
    fn concat_cases(self) -> impl Iterator<Item = Case>;
}

impl<const N: usize> Concat for [&'static [Case]; N] {
    fn concat_cases(self) -> impl Iterator<Item = Case> {
        self.into_iter().flatten().map(|case| Case { name: case.name, run: case.run, root: case.root })
    }
}
