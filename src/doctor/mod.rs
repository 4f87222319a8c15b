//! Examines a device for its node, with a daemon or without one, and says of each thing whether it is well, and what to do
//! where it is not. Changes nothing but a scratch file of its own; knows no object and decides nothing for the node.
//!
//! What is looked at comes through [`Host`], so that every broken machine can be had in a test.

mod broker;
mod certificates;
mod cgroup;
mod clock;
mod disk;
mod host;
mod kernel;
mod node;
mod report;
mod show;

use std::path::PathBuf;

use crate::config::Config;

pub use host::{Answer, Host, Space, Stat, System};
pub use report::report;
pub use show::{json, text};

/// How one thing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    Ok,
    /// It could not be looked at, or does not matter here.
    Skipped,
    /// The node works; something is worse than it could be.
    Warn,
    /// The node does not do what it is there for.
    Fail,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// Its name, for scripts; never changes.
    pub name: &'static str,
    pub level: Level,
    /// What was found, in a line.
    pub found: String,
    /// What to do about it; empty where nothing is to be done.
    pub remedy: String,
}

/// What is examined.
#[derive(Debug, Clone)]
pub struct Subject {
    /// The settings of the node; the defaults where they cannot be read.
    pub config: Config,
    /// Where they come from, or what is wrong with them.
    pub settings: Result<PathBuf, String>,
    /// The settings are those of a node that runs.
    pub running: Option<Running>,
    /// Open a session with the broker although the node has one.
    pub session: bool,
}

/// A daemon, and what it was started with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Running {
    pub pid: i32,
    /// After `pinnace node`.
    pub flags: Vec<String>,
}

/// Looks at everything, in the order in which a person would mend it.
pub fn examine(host: &dyn Host, subject: &Subject) -> Vec<Check> {
    let node = node::Seen::of(host, &subject.config);
    let mut checks = vec![settings(subject)];
    checks.extend(cgroup::checks(host, subject, &node));
    checks.extend(clock::checks(host, &node));
    checks.extend(disk::checks(host, subject, &node));
    checks.extend(kernel::checks(host));
    checks.extend(node::checks(host, subject, &node));
    checks.extend(certificates::checks(host, subject));
    checks.extend(broker::checks(host, subject, &node));
    checks
}

/// True when something fails; a warning is no failure.
pub fn fails(checks: &[Check]) -> bool {
    checks.iter().any(|check| check.level == Level::Fail)
}

fn settings(subject: &Subject) -> Check {
    match (&subject.settings, &subject.running) {
        (Ok(file), None) => ok("settings", file.display().to_string()),
        (Ok(file), Some(Running { pid, flags })) => {
            let flags = if flags.is_empty() { "no flags".into() } else { flags.join(" ") };
            ok("settings", format!("{}; {flags}: those of the node that runs (process {pid})", file.display()))
        }
        (Err(why), _) => fail(
            "settings",
            why.clone(),
            "mend the setting; docs/configuration.md has every key; the checks below assume defaults",
        ),
    }
}

fn ok(name: &'static str, found: impl Into<String>) -> Check {
    Check { name, level: Level::Ok, found: found.into(), remedy: String::new() }
}

fn skipped(name: &'static str, found: impl Into<String>) -> Check {
    Check { name, level: Level::Skipped, found: found.into(), remedy: String::new() }
}

fn warn(name: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Check {
    Check { name, level: Level::Warn, found: found.into(), remedy: remedy.into() }
}

fn fail(name: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Check {
    Check { name, level: Level::Fail, found: found.into(), remedy: remedy.into() }
}
