//! Flags of the verbs for who looks after the device itself.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::Namespace;

/// Which node is meant, for verbs that work without a daemon.
#[derive(Debug, Clone, Default, Args)]
pub struct Where {
    /// Settings file of the node
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The node's data directory
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// The node's run directory
    #[arg(long, value_name = "DIR")]
    pub run_dir: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct DoctorArgs {
    #[command(flatten)]
    pub at: Where,
    /// Print the findings as JSON
    #[arg(long)]
    pub json: bool,
    /// Open a second session with the broker although the node has one
    #[arg(long)]
    pub session: bool,
}

#[derive(Debug, Args)]
pub struct InitArgs {
    /// Where the files go
    #[arg(long, value_name = "DIR", default_value = "/etc/pinnace")]
    pub dir: PathBuf,
    /// Name of the node [default: the host's name]
    #[arg(long)]
    pub name: Option<String>,
    /// MQTT broker, mqtts://HOST[:PORT] or mqtt://HOST[:PORT]
    #[arg(long, value_name = "URL")]
    pub broker: Option<String>,
    /// Name of the fleet
    #[arg(long, value_name = "NAME")]
    pub fleet: Option<String>,
    /// Enrol with this token (refused: this release has no enrolment over the broker)
    #[arg(long, value_name = "TOKEN")]
    pub claim: Option<String>,
    /// Write the settings anew, though they are there; a key stays
    #[arg(long)]
    pub force: bool,
}

#[derive(Debug, Subcommand)]
pub enum ConfigVerb {
    /// Print the JSON schema of the settings file
    Schema,
}

#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// KIND[.FIELD…]
    #[arg(value_name = "WHAT")]
    pub what: String,
    /// All fields below, by name alone
    #[arg(long)]
    pub recursive: bool,
    /// GROUP/VERSION of the kind
    #[arg(long, value_name = "VERSION")]
    pub api_version: Option<String>,
}

#[derive(Debug, Args)]
pub struct UpdateArgs {
    /// Show which version is in force and what became of the last update; so it is without --from, too
    #[arg(value_enum, conflicts_with_all = ["from", "undo"])]
    pub what: Option<UpdateWhat>,
    /// The program or the release's .tar.gz: a file here, - for standard input, or http(s)://…, which the node fetches
    #[arg(long, value_name = "FILE|URL", conflicts_with = "undo")]
    pub from: Option<String>,
    /// What its SHA-256 must be; needed for a URL, unless a signature is given
    #[arg(long, value_name = "HEX", requires = "from")]
    pub sha256: Option<String>,
    /// Its signature by `ssh-keygen -Y sign -n pinnace`, a file here or http(s)://…
    #[arg(long, value_name = "FILE|URL", requires = "from")]
    pub signature: Option<String>,
    /// How long it may take to prove itself
    #[arg(long, value_name = "DURATION", default_value = "5m")]
    pub within: String,
    /// Return once it is being tried
    #[arg(long)]
    pub no_wait: bool,
    /// Go back to the version before
    #[arg(long)]
    pub undo: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum UpdateWhat {
    Status,
}

#[derive(Debug, Subcommand)]
pub enum Top {
    /// CPU and memory of pods
    #[command(visible_aliases = ["pod", "po"])]
    Pods(TopPods),
    /// CPU and memory of the node
    #[command(visible_aliases = ["nodes", "no"])]
    Node(TopNode),
}

#[derive(Debug, Args)]
pub struct TopPods {
    /// One pod
    pub name: Option<String>,
    #[command(flatten)]
    pub at: Namespace,
    /// In all namespaces
    #[arg(short = 'A', long)]
    pub all_namespaces: bool,
    /// A line for each container
    #[arg(long)]
    pub containers: bool,
    /// Only pods with these labels
    #[arg(short = 'l', long, value_name = "SELECTOR", conflicts_with = "name")]
    pub selector: Option<String>,
    /// The most hungry first
    #[arg(long, value_enum, value_name = "BY")]
    pub sort_by: Option<Hunger>,
    /// Leave out the first line
    #[arg(long)]
    pub no_headers: bool,
}

#[derive(Debug, Args)]
pub struct TopNode {
    /// Its name may be left out
    pub name: Option<String>,
    /// Leave out the first line
    #[arg(long)]
    pub no_headers: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Hunger {
    Cpu,
    Memory,
}

#[derive(Debug, Subcommand)]
pub enum DebugVerb {
    /// Print all that a report of a bug needs as one JSON document, without secrets
    Dump(DebugDump),
    /// Follow the node's loop: what it sees, writes and does, a JSON line a turn
    Trace,
}

#[derive(Debug, Args)]
pub struct DebugDump {
    #[command(flatten)]
    pub at: Where,
}
