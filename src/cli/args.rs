//! What a person may type: every verb with its flags, as clap reads them. Knows no node and does nothing.

use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};

use super::help;

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
    /// Name directories that pods may use as images
    #[command(subcommand, after_help = help::IMAGE)]
    Image(ImageVerb),
    /// List the kinds that this program knows
    ApiResources,
    /// Print the times at which a CronJob's schedule fires
    #[command(after_help = help::SCHEDULE)]
    Schedule(super::schedule::ScheduleArgs),
    /// Read or save the node's database
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

#[derive(Debug, Args)]
pub struct FileArgs {
    #[command(flatten)]
    pub files: Files,
    /// Change nothing: check here (client) or in the node (server)
    #[arg(long, value_enum, default_value_t, value_name = "WHERE", num_args = 0..=1, require_equals = true, default_missing_value = "client")]
    pub dry_run: DryRun,
    /// Print the objects: json, yaml, name, jsonpath=…
    #[arg(short, long, value_name = "FORMAT")]
    pub output: Option<String>,
    #[command(flatten)]
    pub at: Namespace,
}

#[derive(Debug, Args)]
pub struct ReplaceArgs {
    #[command(flatten)]
    pub file: FileArgs,
    /// Delete the objects first and create them anew
    #[arg(long)]
    pub force: bool,
}

#[derive(Debug, Args)]
pub struct GetArgs {
    /// KIND[,KIND…] [NAME…], KIND/NAME …, or all
    #[arg(value_name = "WHAT", required = true)]
    pub what: Vec<String>,
    /// wide, yaml, json, name, jsonpath=TEMPLATE, custom-columns=HEADER:PATH,…
    #[arg(short, long, value_name = "FORMAT")]
    pub output: Option<String>,
    /// Go on and show changes as they come
    #[arg(short, long)]
    pub watch: bool,
    /// As --watch, without what is there now
    #[arg(long)]
    pub watch_only: bool,
    /// Show in a first column what happened (with --watch)
    #[arg(long)]
    pub output_watch_events: bool,
    /// In all namespaces
    #[arg(short = 'A', long)]
    pub all_namespaces: bool,
    #[command(flatten)]
    pub at: Namespace,
    /// Only objects with these labels: k=v,k!=v,k in (a,b),k,!k
    #[arg(short = 'l', long, value_name = "SELECTOR")]
    pub selector: Option<String>,
    /// Only objects with these fields: status.phase=Running
    #[arg(long, value_name = "SELECTOR")]
    pub field_selector: Option<String>,
    /// Leave out the first line
    #[arg(long)]
    pub no_headers: bool,
    /// Add a column with all labels
    #[arg(long)]
    pub show_labels: bool,
    /// Add a column for each of these labels
    #[arg(short = 'L', long, value_name = "KEY", value_delimiter = ',')]
    pub label_columns: Vec<String>,
    /// Order by a field: {.metadata.creationTimestamp}
    #[arg(long, value_name = "PATH")]
    pub sort_by: Option<String>,
    /// Say nothing of objects that are not there
    #[arg(long)]
    pub ignore_not_found: bool,
}

#[derive(Debug, Args)]
pub struct DescribeArgs {
    /// KIND [NAME…] (a name may be a beginning), or KIND/NAME …
    #[arg(value_name = "WHAT", required = true)]
    pub what: Vec<String>,
    #[command(flatten)]
    pub at: Namespace,
    /// In all namespaces
    #[arg(short = 'A', long)]
    pub all_namespaces: bool,
    /// Only objects with these labels
    #[arg(short = 'l', long, value_name = "SELECTOR")]
    pub selector: Option<String>,
    /// Show events, too
    #[arg(long, default_value_t = true, action = ArgAction::Set, value_name = "BOOL")]
    pub show_events: bool,
}

#[derive(Debug, Args)]
pub struct LogsArgs {
    /// POD, job/NAME or ds/NAME
    #[arg(value_name = "POD", required_unless_present = "selector", conflicts_with = "selector")]
    pub target: Option<String>,
    /// Container, where the pod has several
    #[arg(value_name = "CONTAINER", conflicts_with = "container")]
    pub second: Option<String>,
    #[command(flatten)]
    pub at: Namespace,
    /// Go on until the container ends
    #[arg(short, long)]
    pub follow: bool,
    /// The attempt before the present one
    #[arg(short, long)]
    pub previous: bool,
    /// Container, where the pod has several
    #[arg(short, long, value_name = "NAME")]
    pub container: Option<String>,
    /// All containers of the pod
    #[arg(long)]
    pub all_containers: bool,
    /// Only that many last lines (-1: all; 10 with a selector)
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub tail: Option<i64>,
    /// Only what is newer than that: 5s, 2m, 3h
    #[arg(long, value_name = "DURATION", conflicts_with = "since_time")]
    pub since: Option<String>,
    /// Only what was written after that time (RFC 3339)
    #[arg(long, value_name = "TIME")]
    pub since_time: Option<String>,
    /// Begin each line with its time
    #[arg(long)]
    pub timestamps: bool,
    /// Begin each line with its pod and container
    #[arg(long)]
    pub prefix: bool,
    /// Pods with these labels
    #[arg(short = 'l', long, value_name = "SELECTOR")]
    pub selector: Option<String>,
    /// At most that many bytes
    #[arg(long, value_name = "N")]
    pub limit_bytes: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Cascade {
    #[default]
    Background,
    Foreground,
    /// What the object owns stays.
    Orphan,
}

#[derive(Debug, Args)]
pub struct DeleteArgs {
    /// KIND NAME…, KIND/NAME …
    #[arg(value_name = "WHAT", required_unless_present = "filename")]
    pub what: Vec<String>,
    /// What these files or directories name, - for standard input
    #[arg(short, long, value_name = "FILE", conflicts_with = "what")]
    pub filename: Vec<String>,
    /// Go into the directories below, too
    #[arg(short = 'R', long)]
    pub recursive: bool,
    #[command(flatten)]
    pub at: Namespace,
    /// In all namespaces (with --all or --selector)
    #[arg(short = 'A', long)]
    pub all_namespaces: bool,
    /// All objects of the kind
    #[arg(long, conflicts_with = "selector")]
    pub all: bool,
    /// Objects with these labels
    #[arg(short = 'l', long, value_name = "SELECTOR")]
    pub selector: Option<String>,
    /// Seconds that pods get to end (-1: what the pod says)
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true, default_value_t = -1, hide_default_value = true)]
    pub grace_period: i64,
    /// End pods with SIGKILL, at once (with --grace-period=0)
    #[arg(long)]
    pub force: bool,
    /// As --grace-period=1
    #[arg(long, conflicts_with_all = ["grace_period", "force"])]
    pub now: bool,
    /// What becomes of what the object owns
    #[arg(long, value_enum, default_value_t, value_name = "HOW")]
    pub cascade: Cascade,
    /// Wait until the objects are gone
    #[arg(long, default_value_t = true, action = ArgAction::Set, num_args = 0..=1, default_missing_value = "true", require_equals = true, value_name = "BOOL")]
    pub wait: bool,
    /// Wait at most that long: 30s, 5m (0s: without end)
    #[arg(long, value_name = "DURATION", default_value = "0s", hide_default_value = true)]
    pub timeout: String,
    /// Say nothing of objects that are not there
    #[arg(long)]
    pub ignore_not_found: bool,
    /// Print names only: name
    #[arg(short, long, value_name = "FORMAT")]
    pub output: Option<String>,
    /// Change nothing: say here (client) or ask the node (server)
    #[arg(long, value_enum, default_value_t, value_name = "WHERE", num_args = 0..=1, require_equals = true, default_missing_value = "client")]
    pub dry_run: DryRun,
}

#[derive(Debug, Args)]
pub struct ScaleArgs {
    /// job NAME … or job/NAME …
    #[arg(value_name = "WHAT", required = true)]
    pub what: Vec<String>,
    /// How many pods to run at a time
    #[arg(long, value_name = "N")]
    pub replicas: u32,
    /// Only if it is that many now
    #[arg(long, value_name = "M")]
    pub current_replicas: Option<i64>,
    #[command(flatten)]
    pub at: Namespace,
}

#[derive(Debug, Args)]
pub struct WaitArgs {
    /// KIND NAME … or KIND/NAME …
    #[arg(value_name = "WHAT", required = true)]
    pub what: Vec<String>,
    /// condition=NAME[=VALUE], jsonpath=PATH[=VALUE], create or delete
    #[arg(long = "for", value_name = "WHAT")]
    pub until: String,
    /// Give up after that long: 30s, 5m (negative: after a week)
    #[arg(long, value_name = "DURATION", default_value = "30s", allow_hyphen_values = true)]
    pub timeout: String,
    /// All objects of the kind
    #[arg(long, conflicts_with = "selector")]
    pub all: bool,
    /// Objects with these labels
    #[arg(short = 'l', long, value_name = "SELECTOR")]
    pub selector: Option<String>,
    /// In all namespaces (with --all or --selector)
    #[arg(short = 'A', long)]
    pub all_namespaces: bool,
    #[command(flatten)]
    pub at: Namespace,
}

#[derive(Debug, Args)]
pub struct EventsArgs {
    /// Only those about this object: KIND/NAME
    #[arg(long = "for", value_name = "KIND/NAME")]
    pub about: Option<String>,
    /// Go on and show events as they come
    #[arg(short, long)]
    pub watch: bool,
    /// In all namespaces
    #[arg(short = 'A', long)]
    pub all_namespaces: bool,
    /// Only these types: Normal, Warning
    #[arg(long, value_name = "TYPE", value_delimiter = ',', ignore_case = true, value_parser = ["Normal", "Warning"])]
    pub types: Vec<String>,
    /// Print as json, yaml, name, jsonpath=…
    #[arg(short, long, value_name = "FORMAT")]
    pub output: Option<String>,
    /// Leave out the first line
    #[arg(long)]
    pub no_headers: bool,
    #[command(flatten)]
    pub at: Namespace,
}

#[derive(Debug, Args)]
pub struct NodeName {
    /// Name of the node; may be left out, as there is one
    #[arg(value_name = "NODE")]
    pub node: Option<String>,
}

#[derive(Debug, Args)]
pub struct DrainArgs {
    #[command(flatten)]
    pub node: NodeName,
    /// Give up waiting after that long (0s: never)
    #[arg(long, value_name = "DURATION", default_value = "0s", hide_default_value = true)]
    pub timeout: String,
    /// Taken for kubectl's sake: pods of DaemonSets always end, too
    #[arg(long, hide = true)]
    pub ignore_daemonsets: bool,
    /// Taken for kubectl's sake: nothing is ever emptied
    #[arg(long, hide = true)]
    pub delete_emptydir_data: bool,
    /// Taken for kubectl's sake: pods without an owner always end, too
    #[arg(long, hide = true)]
    pub force: bool,
}

#[derive(Debug, Args)]
pub struct TaintArgs {
    /// [nodes NAME] key[=value]:Effect … or key[:Effect]- …
    #[arg(value_name = "WHAT", required = true, allow_hyphen_values = false)]
    pub what: Vec<String>,
    /// Change the value of a taint that is there
    #[arg(long)]
    pub overwrite: bool,
}

#[derive(Debug, Args)]
pub struct LabelArgs {
    /// KIND NAME … or KIND/NAME …, then k=v … and k- …
    #[arg(value_name = "WHAT", required = true)]
    pub what: Vec<String>,
    /// Change values that are there
    #[arg(long)]
    pub overwrite: bool,
    /// All objects of the kind
    #[arg(long, conflicts_with = "selector")]
    pub all: bool,
    /// Objects with these labels
    #[arg(short = 'l', long, value_name = "SELECTOR")]
    pub selector: Option<String>,
    /// Print what is there and change nothing
    #[arg(long)]
    pub list: bool,
    #[command(flatten)]
    pub at: Namespace,
}

#[derive(Debug, Subcommand)]
pub enum Rollout {
    /// Wait until all pods are of the newest template
    Status(RolloutStatus),
    /// Replace all pods by new ones
    Restart(RolloutTarget),
    /// List the templates that can be rolled back to
    History(RolloutHistory),
    /// Go back to an earlier template
    Undo(RolloutUndo),
}

#[derive(Debug, Args)]
pub struct RolloutTarget {
    /// ds/NAME or ds NAME
    #[arg(value_name = "WHAT", required = true)]
    pub what: Vec<String>,
    #[command(flatten)]
    pub at: Namespace,
}

#[derive(Debug, Args)]
pub struct RolloutStatus {
    #[command(flatten)]
    pub target: RolloutTarget,
    /// Print how it stands, or wait until it is done
    #[arg(short, long, default_value_t = true, action = ArgAction::Set, num_args = 0..=1, default_missing_value = "true", require_equals = true, value_name = "BOOL")]
    pub watch: bool,
    /// Give up after that long (0s: never)
    #[arg(long, value_name = "DURATION", default_value = "0s", hide_default_value = true)]
    pub timeout: String,
}

#[derive(Debug, Args)]
pub struct RolloutHistory {
    #[command(flatten)]
    pub target: RolloutTarget,
    /// Show this revision's template
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    pub revision: i64,
}

#[derive(Debug, Args)]
pub struct RolloutUndo {
    #[command(flatten)]
    pub target: RolloutTarget,
    /// Which one (0: the one before)
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    pub to_revision: i64,
}

#[derive(Debug, Subcommand)]
pub enum ImageVerb {
    /// Let manifests use a directory under an image's name
    Add(ImageAdd),
    /// List the images that this node knows
    #[command(visible_alias = "ls")]
    List,
    /// Forget images; their directories stay
    #[command(visible_alias = "remove")]
    Rm(ImageRm),
}

#[derive(Debug, Args)]
pub struct ImageAdd {
    /// As in a manifest: luksa/batch-job, busybox:1.36
    pub name: String,
    /// Root of the container's file system; / is the host's own
    #[arg(value_name = "DIR")]
    pub directory: PathBuf,
    /// Program and first arguments, where the manifest has no command: a line as in a shell, or a JSON list
    #[arg(long, value_name = "LINE", default_value = "", hide_default_value = true)]
    pub entrypoint: String,
    /// Arguments, where the manifest has neither command nor args: as above
    #[arg(long, value_name = "LINE", allow_hyphen_values = true, default_value = "", hide_default_value = true)]
    pub cmd: String,
    /// Environment: NAME=VALUE (may be repeated)
    #[arg(long, value_name = "NAME=VALUE")]
    pub env: Vec<String>,
    /// Working directory, where the manifest has none
    #[arg(long, value_name = "DIR", default_value = "", hide_default_value = true)]
    pub workdir: String,
}

#[derive(Debug, Args)]
pub struct ImageRm {
    /// As they were added
    #[arg(required = true)]
    pub name: Vec<String>,
}

#[derive(Debug, Subcommand)]
pub enum StoreVerb {
    /// Print the database as JSON lines, through the daemon or, when it is down, from the file
    Dump(StoreDump),
}

#[derive(Debug, Args)]
pub struct StoreDump {
    /// Where the database is, for when the daemon is down
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct CompletionArgs {
    pub shell: Shell,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Shell {
    Bash,
    Zsh,
    Fish,
}

#[derive(Debug, Args)]
pub struct VersionArgs {
    /// This program's alone; ask no node
    #[arg(long)]
    pub client: bool,
    /// json or yaml
    #[arg(short, long, value_name = "FORMAT")]
    pub output: Option<String>,
}
