//! The verbs a person types: a client of the node's API on its Unix socket, as kubectl is one of the API server's.
//! Knows nothing of how a node does what it is asked.
//!
//! | file | what is in it |
//! | --- | --- |
//! | `args`, `help` | what may be typed |
//! | `client`, `fail`, `json`, `target` | asking the node, and what its answers mean |
//! | `output`, `table`, `jsonpath`, `duration`, `term` | how things are shown |
//! | `files`, `merge` | manifests from files, and what `apply` changes |
//! | the rest | one verb each, or a few that belong together |

pub mod args;
mod changes;
mod client;
mod create;
mod delete;
mod describe;
mod duration;
mod events;
mod explain;
mod fail;
mod files;
mod follow;
mod get;
mod help;
mod history;
mod image;
mod json;
mod jsonpath;
mod label;
mod logs;
mod merge;
mod misc;
mod nodes;
mod output;
mod patience;
mod rollout;
mod scale;
pub mod schedule;
mod table;
mod target;
mod term;
mod top;
mod update;
mod wait;
mod watch;
mod wire;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use args::{Cli, ConfigVerb, DebugVerb, ImageVerb, Namespace, Rollout, StoreVerb, Top, Verb};
use client::Client;
pub use client::default_socket;
use fail::Fail;
use term::Out;

use crate::model::{Reason, Timestamp};

/// What every verb works with: the node, the output, and whether something went wrong on the way.
struct Session {
    client: Client,
    out: Out,
    /// The one given in front of the verb.
    namespace: Option<String>,
    failed: bool,
}

impl Session {
    fn new(cli: &Cli) -> Session {
        let given = cli.socket.clone();
        let from_env = || std::env::var_os("PINNACE_SOCKET").filter(|s| !s.is_empty()).map(Into::into);
        let socket = given.or_else(from_env).unwrap_or_else(default_socket);
        Session { client: Client::new(socket), out: Out::new(), namespace: cli.namespace.clone(), failed: false }
    }

    /// The namespace that a verb works in.
    fn namespace(&self, at: &Namespace) -> String {
        at.namespace.clone().or_else(|| self.namespace.clone()).unwrap_or_else(|| "default".to_string())
    }

    /// Tells of a failure and goes on; the exit code will be 1.
    fn report(&mut self, fail: &Fail) {
        self.failed |= !matches!(fail, Fail::Closed);
        match fail {
            Fail::Silent | Fail::Closed => {}
            Fail::Refused(_) | Fail::Unreachable { .. } | Fail::Broken(_) | Fail::Other(_) | Fail::Told(_) => {
                term::say(&fail.to_string())
            }
        }
    }
}

/// Prints what a role of the program found out that is no verb of a client.
pub fn print(text: &str) -> ExitCode {
    match Out::new().text(text) {
        Ok(()) | Err(Fail::Closed) => ExitCode::SUCCESS,
        Err(fail) => {
            term::say(&fail.to_string());
            ExitCode::FAILURE
        }
    }
}

/// Says what is wrong with the words of a command line, or prints the help or the version that they ask for.
///
/// The exit code is kubectl's: 1 where clap would end with 2.
pub fn misused(e: &clap::Error, words: impl IntoIterator<Item = OsString>) -> ExitCode {
    use clap::error::ErrorKind::{DisplayHelp, DisplayHelpOnMissingArgumentOrSubcommand, DisplayVersion};
    match e.kind() {
        DisplayHelp | DisplayVersion => {
            let _ = e.print();
            return ExitCode::SUCCESS;
        }
        DisplayHelpOnMissingArgumentOrSubcommand => drop(e.print()),
        _ => term::say(&args::told(e, words)),
    }
    ExitCode::FAILURE
}

/// Whether standard output is a terminal that may be painted.
pub fn may_colour() -> bool {
    Out::new().colour()
}

/// Does what the verb says. `node` is not for here: it must run before any thread exists. `store dump` comes here when
/// a daemon is up; see `dump`.
///
/// Exit codes are kubectl's: 0, or 1 for everything that went wrong.
pub fn run(cli: &Cli) -> ExitCode {
    let Some(runtime) = runtime() else { return ExitCode::FAILURE };
    let mut session = Session::new(cli);
    let done = runtime.block_on(verb(&cli.verb, &mut session));
    // A progress line or a log stream may still have a task; it has nothing left to do.
    runtime.shutdown_background();
    if let Err(fail) = done {
        session.report(&fail);
    }
    if session.failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Why no daemon prints its store, so that the caller may read the file itself.
#[derive(Debug)]
pub enum NoDump {
    /// Nobody answers.
    Nobody,
    /// The daemon has not got its store either: it waits for its disk. The text is its own.
    Waits(String),
    /// The daemon that answers has another store, in that directory.
    Elsewhere(PathBuf),
}

/// `store dump` through the daemon; with `dir` only if its store is there.
///
/// # Errors
/// There is none, it has no store yet, or another.
pub fn dump(cli: &Cli, dir: Option<&Path>) -> Result<ExitCode, NoDump> {
    let Some(runtime) = runtime() else { return Ok(ExitCode::FAILURE) };
    let mut session = Session::new(cli);
    match runtime.block_on(misc::dump(dir, &mut session)) {
        Err(Fail::Unreachable { .. }) => Err(NoDump::Nobody),
        Err(Fail::Refused(no)) if no.reason == Reason::ServiceUnavailable.as_str() => Err(NoDump::Waits(no.message)),
        Ok(Some(place)) => Err(NoDump::Elsewhere(place)),
        Ok(None) | Err(Fail::Closed) => Ok(ExitCode::SUCCESS),
        Err(fail) => {
            session.report(&fail);
            Ok(ExitCode::FAILURE)
        }
    }
}

fn runtime() -> Option<tokio::runtime::Runtime> {
    match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => Some(runtime),
        Err(e) => {
            term::say(&format!("error: cannot start: {e}"));
            None
        }
    }
}

async fn verb(verb: &Verb, s: &mut Session) -> Result<(), Fail> {
    match verb {
        Verb::Node(_) => Err(Fail::other("pinnace node is run by main, before any thread exists")),
        Verb::Doctor(_) | Verb::Init(_) | Verb::Config(ConfigVerb::Schema) | Verb::Debug(DebugVerb::Dump(_)) => {
            Err(Fail::other("this verb asks no node: main runs it"))
        }
        Verb::Debug(DebugVerb::Trace) => misc::trace(s).await,
        Verb::Update(args) => update::run(args, s).await,
        Verb::Explain(args) => explain::run(args, s),
        Verb::Top(Top::Pods(args)) => top::pods(args, s).await,
        Verb::Top(Top::Node(args)) => top::node(args, s).await,
        Verb::Apply(args) => changes::apply(args, s).await,
        Verb::Create(args) => create::run(args, s).await,
        Verb::Replace(args) => changes::replace(args, s).await,
        Verb::Get(args) => get::run(args, s).await,
        Verb::Describe(args) => describe::run(args, s).await,
        Verb::Logs(args) => logs::run(args, s).await,
        Verb::Delete(args) => delete::run(args, s).await,
        Verb::Scale(args) => scale::run(args, s).await,
        Verb::Wait(args) => wait::run(args, s).await,
        Verb::Events(args) => events::run(args, s).await,
        Verb::Cordon(args) => nodes::cordon(args, true, s).await,
        Verb::Uncordon(args) => nodes::cordon(args, false, s).await,
        Verb::Drain(args) => nodes::drain(args, s).await,
        Verb::Taint(args) => nodes::taint(args, s).await,
        Verb::Label(args) => label::run(args, label::What::Labels, s).await,
        Verb::Annotate(args) => label::run(args, label::What::Annotations, s).await,
        Verb::Rollout(Rollout::Status(args)) => rollout::status(args, s).await,
        Verb::Rollout(Rollout::Restart(args)) => rollout::restart(args, s).await,
        Verb::Rollout(Rollout::History(args)) => history::show(args, s).await,
        Verb::Rollout(Rollout::Undo(args)) => history::undo(args, s).await,
        Verb::Image(ImageVerb::Add(args)) => image::add(args, s).await,
        Verb::Image(ImageVerb::Import(args)) => image::import(args, s).await,
        Verb::Image(ImageVerb::Pull(args)) => image::pull(args, s).await,
        Verb::Image(ImageVerb::List) => image::list(s).await,
        Verb::Image(ImageVerb::Inspect(args)) => image::inspect(args, s).await,
        Verb::Image(ImageVerb::Export(args)) => image::export(args, s).await,
        Verb::Image(ImageVerb::Rm(args)) => image::remove(args, s).await,
        Verb::Image(ImageVerb::Prune) => image::prune(s).await,
        Verb::Schedule(args) => schedule_at_this_time(args),
        Verb::ApiResources => misc::api_resources(s),
        Verb::Store(StoreVerb::Dump(_)) => misc::dump(None, s).await.map(drop),
        Verb::Completion(args) => misc::completion(args, s),
        Verb::Version(args) => misc::version(args, s).await,
    }
}

fn schedule_at_this_time(args: &schedule::ScheduleArgs) -> Result<(), Fail> {
    let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let now = Timestamp::EPOCH.plus(since_epoch);
    match schedule::run(args, now, &mut std::io::stdout().lock(), &mut std::io::stderr().lock()) {
        0 => Ok(()),
        _ => Err(Fail::Silent),
    }
}
