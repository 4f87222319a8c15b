//! Flags of the verbs that change something.

use std::path::PathBuf;

use clap::{ArgAction, Args, Subcommand, ValueEnum};

use super::{Dry, Files, FromFiles, Namespace, help, switch};

#[derive(Debug, Args)]
pub struct FileArgs {
    #[command(flatten)]
    pub files: Files,
    #[command(flatten)]
    pub how: How,
}

/// Whether, where and how loud objects are made.
#[derive(Debug, Clone, Default, Args)]
pub struct How {
    #[command(flatten)]
    pub dry: Dry,
    /// Print the objects: json, yaml, name, jsonpath=…
    #[arg(short, long, value_name = "FORMAT")]
    pub output: Option<String>,
    #[command(flatten)]
    pub at: Namespace,
}

#[derive(Debug, Args)]
#[command(subcommand_negates_reqs = true)]
pub struct CreateArgs {
    #[command(flatten)]
    pub file: FileArgs,
    #[command(subcommand)]
    pub what: Option<CreateVerb>,
}

#[derive(Debug, Subcommand)]
pub enum CreateVerb {
    /// Create a Job of a CronJob, to run it now, or of an image
    #[command(after_help = help::CREATE_JOB)]
    Job(CreateJob),
    /// Create a namespace
    #[command(visible_alias = "ns")]
    Namespace(CreateNamespace),
    /// Create a ConfigMap of values and files
    #[command(visible_alias = "cm", after_help = help::CREATE_CONFIGMAP)]
    Configmap(CreateData),
    /// Create a Secret
    #[command(subcommand)]
    Secret(CreateSecret),
}

#[derive(Debug, Subcommand)]
pub enum CreateSecret {
    /// Create a Secret of values and files
    #[command(after_help = help::CREATE_SECRET)]
    Generic(CreateData),
}

#[derive(Debug, Args)]
pub struct CreateJob {
    /// Name of the new Job
    pub name: String,
    /// What it is made of: cronjob/NAME
    #[arg(long, value_name = "KIND/NAME")]
    pub from: Option<String>,
    /// The image that it runs
    #[arg(long)]
    pub image: Option<String>,
    /// Program and arguments in place of the image's
    #[arg(last = true)]
    pub command: Vec<String>,
    #[command(flatten)]
    pub how: How,
}

#[derive(Debug, Args)]
pub struct CreateNamespace {
    /// Name of the new namespace
    pub name: String,
    #[command(flatten)]
    pub how: How,
}

#[derive(Debug, Args)]
pub struct CreateData {
    /// Name of the new object
    pub name: String,
    /// A key and its value (may be repeated)
    #[arg(long, value_name = "KEY=VALUE")]
    pub from_literal: Vec<String>,
    /// A file under its own name or under KEY, or all files of a directory (may be repeated)
    #[arg(long, value_name = "[KEY=]PATH")]
    pub from_file: Vec<String>,
    #[command(flatten)]
    pub how: How,
}

#[derive(Debug, Args)]
pub struct ReplaceArgs {
    #[command(flatten)]
    pub file: FileArgs,
    /// Delete the objects first and create them anew
    #[arg(long)]
    pub force: bool,
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
    #[command(flatten)]
    pub from: FromFiles,
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
    #[arg(long, default_value_t = true, action = ArgAction::Set, num_args = 0..=1, default_missing_value = "true", require_equals = true, value_parser = switch, value_name = "BOOL")]
    pub wait: bool,
    /// Wait at most that long: 30s, 5m (0s: without end)
    #[arg(long, value_name = "DURATION", default_value = "0s", hide_default_value = true)]
    pub timeout: String,
    /// Say nothing of objects that are not there [default: true with --all and --selector]
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = switch, value_name = "BOOL")]
    pub ignore_not_found: Option<bool>,
    /// Print names only: name
    #[arg(short, long, value_name = "FORMAT")]
    pub output: Option<String>,
    #[command(flatten)]
    pub dry: Dry,
}

#[derive(Debug, Args)]
pub struct ScaleArgs {
    /// job NAME … or job/NAME …
    #[arg(value_name = "WHAT", required_unless_present = "filename")]
    pub what: Vec<String>,
    #[command(flatten)]
    pub from: FromFiles,
    /// How many pods to run at a time
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=i64::from(i32::MAX)))]
    pub replicas: u32,
    /// Only if it is that many now
    #[arg(long, value_name = "M")]
    pub current_replicas: Option<i64>,
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
pub struct CordonArgs {
    #[command(flatten)]
    pub node: NodeName,
    #[command(flatten)]
    pub dry: Dry,
}

#[derive(Debug, Args)]
pub struct DrainArgs {
    #[command(flatten)]
    pub node: NodeName,
    #[command(flatten)]
    pub dry: Dry,
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
    /// All nodes: there is one
    #[arg(long)]
    pub all: bool,
    #[command(flatten)]
    pub dry: Dry,
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
    pub dry: Dry,
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
    #[arg(short, long, default_value_t = true, action = ArgAction::Set, num_args = 0..=1, default_missing_value = "true", require_equals = true, value_parser = switch, value_name = "BOOL")]
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
    /// Bring an image from an archive: docker save, an OCI layout, or a root file system
    Import(ImageImport),
    /// Fetch an image from a registry
    Pull(ImagePull),
    /// List the images that this node has
    #[command(visible_alias = "ls")]
    List,
    /// Show all that is known of an image, as JSON
    Inspect(ImageName),
    /// Write an image as an archive that docker, skopeo and `image import` read
    Export(ImageExport),
    /// Remove images; registered directories stay
    #[command(visible_alias = "remove")]
    Rm(ImageRm),
    /// Remove all images that no pod, no template and no set of the fleet refers to
    Prune,
}

#[derive(Debug, Args)]
pub struct ImageImport {
    /// An archive (also packed with gzip or zstd), a directory with an OCI layout, or - for standard input
    #[arg(value_name = "FILE|DIR|-")]
    pub from: PathBuf,
    /// The name it gets; needed where the archive has none
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Of a plain root file system: program and first arguments, a line as in a shell or a JSON list
    #[arg(long, value_name = "LINE", default_value = "", hide_default_value = true)]
    pub entrypoint: String,
    /// Of a plain root file system: arguments, as above
    #[arg(long, value_name = "LINE", allow_hyphen_values = true, default_value = "", hide_default_value = true)]
    pub cmd: String,
    /// Of a plain root file system: environment, NAME=VALUE (may be repeated)
    #[arg(long, value_name = "NAME=VALUE")]
    pub env: Vec<String>,
    /// Of a plain root file system: working directory
    #[arg(long, value_name = "DIR", default_value = "", hide_default_value = true)]
    pub workdir: String,
    /// Of a plain root file system: user, NAME or NUMBER, with :GROUP or without
    #[arg(long, value_name = "USER", default_value = "", hide_default_value = true)]
    pub user: String,
}

#[derive(Debug, Args)]
pub struct ImagePull {
    /// As in a manifest: luksa/batch-job, registry.example:5000/app:1.2, app@sha256:...
    pub name: String,
    /// A docker config.json with credentials for the registry
    #[arg(long, value_name = "FILE")]
    pub docker_config: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct ImageName {
    /// As in a manifest, or the first digits of its ID
    pub name: String,
}

#[derive(Debug, Args)]
pub struct ImageExport {
    /// As in a manifest, or the first digits of its ID
    pub name: String,
    /// Where to write the archive; - for standard output
    #[arg(value_name = "FILE|-")]
    pub to: PathBuf,
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
    /// As in a manifest, or the first digits of their IDs
    #[arg(required = true)]
    pub name: Vec<String>,
}
