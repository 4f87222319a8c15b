//! What a person may type: every verb with its flags, as clap reads them. Knows no node and does nothing.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{ArgAction, Args, Command, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};

use super::help;

mod absent;
mod change;
mod look;
mod operate;
mod wrong;

pub use change::*;
pub use look::*;
pub use operate::*;
pub use wrong::told;

#[derive(Debug, Parser)]
#[command(
    name = "pinnace",
    bin_name = "pinnace",
    version,
    about = "Run Kubernetes DaemonSets, Jobs and CronJobs as processes on one device",
    help_template = help::TEMPLATE,
    disable_help_subcommand = true,
    arg_required_else_help = true,
    max_term_width = 100,
)]
pub struct Cli {
    /// Socket of the node to talk to [env: PINNACE_SOCKET]
    #[arg(long, global = true, value_name = "PATH", help_heading = "Global options")]
    pub socket: Option<PathBuf>,
    /// Namespace, where the verb has one (also behind the verb)
    #[arg(short, long, value_name = "NAME")]
    pub namespace: Option<String>,
    #[command(subcommand)]
    pub verb: Verb,
}

impl Cli {
    /// Reads the words of a command line, the program's name first. kubectl's two liberties are taken as well: a switch may
    /// have a value (`--watch=false`), and `help VERB` is `VERB --help`.
    ///
    /// # Errors
    /// clap's: what is wrong with the words, or the help that they ask for.
    pub fn read(words: impl IntoIterator<Item = OsString>) -> Result<Cli, clap::Error> {
        let mut words: Vec<OsString> = words.into_iter().collect();
        if words.get(1).is_some_and(|word| word == "help") {
            words.remove(1);
            words.push("--help".into());
        }
        let read = with_values(Cli::command()).try_get_matches_from(&words);
        let read = read.and_then(|matches| Cli::from_arg_matches(&matches));
        match read {
            // Without `[=<BOOL>]` behind every switch a page is easier to read.
            Err(e) if e.kind() == ErrorKind::DisplayHelp => Err(Cli::command()
                .try_get_matches_from(&words)
                .err()
                .filter(|plain| plain.kind() == e.kind())
                .unwrap_or(e)),
            read => read,
        }
    }
}

/// Lets every switch have a value, as pflag does.
fn with_values(command: Command) -> Command {
    let command = command.mut_args(|arg| {
        if !matches!(arg.get_action(), ArgAction::SetTrue) {
            return arg;
        }
        let arg = arg.action(ArgAction::Set).num_args(0..=1).require_equals(true).value_name("BOOL");
        arg.default_value("false").default_missing_value("true").value_parser(switch)
    });
    command.mut_subcommands(with_values)
}

/// The value of a switch. Source: Go's `strconv.ParseBool`, which pflag reads it with.
fn switch(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
        _ => Err(format!("strconv.ParseBool: parsing {text:?}: invalid syntax")),
    }
}

#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Run the node: take manifests, start pods, answer the other verbs
    #[command(after_help = help::NODE)]
    Node(NodeArgs),
    /// Make objects as the files say: create what is not there, change what is
    #[command(after_help = help::APPLY)]
    Apply(FileArgs),
    /// Create objects from files, or a Job, a namespace, a ConfigMap, a Secret from flags
    #[command(after_help = help::CREATE)]
    Create(Box<CreateArgs>),
    /// Replace objects that are there with what the files say
    #[command(after_help = help::REPLACE)]
    Replace(ReplaceArgs),
    /// Show one or many objects
    #[command(after_help = help::GET)]
    Get(GetArgs),
    /// Show all that is known of objects, with their events
    #[command(after_help = help::DESCRIBE)]
    Describe(DescribeArgs),
    /// Print what the containers of a pod have written
    #[command(after_help = help::LOGS)]
    Logs(LogsArgs),
    /// Delete objects, and wait until they are gone
    #[command(after_help = help::DELETE)]
    Delete(DeleteArgs),
    /// Set how many pods a Job runs at a time (spec.parallelism)
    #[command(after_help = help::SCALE)]
    Scale(ScaleArgs),
    /// Wait until objects have a condition, exist, or are gone
    #[command(after_help = help::WAIT)]
    Wait(WaitArgs),
    /// Show what happened
    #[command(after_help = help::EVENTS)]
    Events(EventsArgs),
    /// Start no new pods on this node, but those of DaemonSets
    Cordon(CordonArgs),
    /// Start pods again after cordon or drain
    Uncordon(CordonArgs),
    /// End every pod and start none until uncordon
    #[command(after_help = help::DRAIN)]
    Drain(DrainArgs),
    /// Put taints on the node, or take them off
    #[command(after_help = help::TAINT)]
    Taint(TaintArgs),
    /// Set or remove labels
    #[command(after_help = help::LABEL)]
    Label(LabelArgs),
    /// Set or remove annotations
    Annotate(LabelArgs),
    /// Follow, restart or roll back a DaemonSet
    #[command(subcommand, after_help = help::ROLLOUT)]
    Rollout(Rollout),
    /// Bring images to this node, and look after them
    #[command(subcommand, after_help = help::IMAGE)]
    Image(ImageVerb),
    /// Show what pods or the node use of CPU and memory
    #[command(subcommand, after_help = help::TOP)]
    Top(Top),
    /// Examine this device and its way to the broker, and say what to do
    #[command(after_help = help::DOCTOR)]
    Doctor(DoctorArgs),
    /// Make a settings file, a key and a certificate request for this device
    #[command(after_help = help::INIT)]
    Init(InitArgs),
    /// Print what the settings file may have
    #[command(subcommand)]
    Config(ConfigVerb),
    /// Try another version of pinnace in place of the one that runs, and go back if it does not hold
    #[command(after_help = help::UPDATE)]
    Update(UpdateArgs),
    /// Show which fields a kind has and what is made of them
    #[command(after_help = help::EXPLAIN)]
    Explain(ExplainArgs),
    /// Look into the node for a report of a bug
    #[command(subcommand, after_help = help::DEBUG)]
    Debug(DebugVerb),
    /// List the kinds that this program knows
    ApiResources,
    /// Print the times at which a CronJob's schedule fires
    #[command(after_help = help::SCHEDULE)]
    Schedule(super::schedule::ScheduleArgs),
    /// Print the node's database
    #[command(subcommand)]
    Store(StoreVerb),
    /// Print a script that completes verbs and flags in a shell
    #[command(after_help = help::COMPLETION)]
    Completion(CompletionArgs),
    /// Print the versions of this program and of the node
    Version(VersionArgs),
}

/// Settings of `pinnace node`; each wins over its environment variable and over the file. What they mean, and whether
/// they are well formed, is `config`'s to say.
#[derive(Debug, Clone, Default, Args)]
pub struct NodeArgs {
    /// Settings file
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where the database, logs and exit records are kept
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Where the socket is made (pinnace.sock)
    #[arg(long, value_name = "DIR")]
    pub run_dir: Option<PathBuf>,
    /// Name of this node [default: the host's name]
    #[arg(long)]
    pub name: Option<String>,
    /// Labels of this node: k=v,…
    #[arg(long, value_name = "K=V,…")]
    pub labels: Option<String>,
    /// Groups that this node listens to: a,b
    #[arg(long, value_name = "A,B")]
    pub groups: Option<String>,
    /// MQTT broker, mqtt://HOST:PORT; without one the node runs alone
    #[arg(long, value_name = "URL")]
    pub broker: Option<String>,
    /// Name of the fleet: the second part of every topic
    #[arg(long, value_name = "NAME")]
    pub fleet: Option<String>,
    /// End all pods when the daemon is told to end
    #[arg(long)]
    pub stop_pods: bool,
    /// Read the settings, say what is wrong with them, and start nothing
    #[arg(long)]
    pub check_config: bool,
}

/// The namespace behind the verb, as kubectl takes it.
#[derive(Debug, Clone, Default, Args)]
pub struct Namespace {
    /// Namespace [default: default]
    #[arg(short, long, value_name = "NAME")]
    pub namespace: Option<String>,
}

#[derive(Debug, Clone, Default, Args)]
pub struct Files {
    /// File or directory with manifests, - for standard input (may be repeated)
    #[arg(short, long, value_name = "FILE", required = true)]
    pub filename: Vec<String>,
    /// Go into the directories below, too
    #[arg(short = 'R', long)]
    pub recursive: bool,
}

/// Files in place of names, for verbs that take both.
#[derive(Debug, Clone, Default, Args)]
pub struct FromFiles {
    /// What these files or directories name, - for standard input
    #[arg(short, long, value_name = "FILE", conflicts_with = "what")]
    pub filename: Vec<String>,
    /// Go into the directories below, too
    #[arg(short = 'R', long)]
    pub recursive: bool,
}

/// `--dry-run`, for every verb that has it.
#[derive(Debug, Clone, Default, Args)]
pub struct Dry {
    /// Change nothing: check here (client) or in the node (server)
    #[arg(id = "dry_run", long = "dry-run", value_enum, default_value_t, value_name = "WHERE", num_args = 0..=1, require_equals = true, default_missing_value = "client")]
    pub run: DryRun,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum DryRun {
    #[default]
    None,
    /// Read the files and say what would be done; send no change.
    Client,
    /// Let the node check everything and keep nothing.
    Server,
}

impl DryRun {
    /// What kubectl puts behind what it says was done.
    pub fn told(self) -> &'static str {
        match self {
            DryRun::None => "",
            DryRun::Client => " (dry run)",
            DryRun::Server => " (server dry run)",
        }
    }

    /// The parameter of a request that keeps nothing.
    pub fn query(self) -> &'static [(&'static str, &'static str)] {
        match self {
            DryRun::Server => &[("dryRun", "All")],
            DryRun::None | DryRun::Client => &[],
        }
    }
}
