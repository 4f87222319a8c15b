//! What a person may type: every verb with its flags, as clap reads them. Knows no node and does nothing.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use super::help;

mod change;
mod look;
mod operate;

pub use change::*;
pub use look::*;
pub use operate::*;

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

#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Run the node: take manifests, start pods, answer the other verbs
    #[command(after_help = help::NODE)]
    Node(NodeArgs),
    /// Make objects as the files say: create what is not there, change what is
    #[command(after_help = help::APPLY)]
    Apply(FileArgs),
    /// Create objects from files
    #[command(after_help = help::CREATE)]
    Create(FileArgs),
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
    Cordon(NodeName),
    /// Start pods again after cordon or drain
    Uncordon(NodeName),
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

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum DryRun {
    #[default]
    None,
    /// Read the files and say what would be done; send no change.
    Client,
    /// Let the node check everything and keep nothing.
    Server,
}
