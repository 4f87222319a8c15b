//! Flags of the verbs that look and change nothing.

use std::path::PathBuf;

use clap::{ArgAction, Args, Subcommand, ValueEnum};

use super::{FromFiles, Namespace, switch};

#[derive(Debug, Args)]
pub struct GetArgs {
    /// KIND[,KIND…] [NAME…], KIND/NAME …, or all
    #[arg(value_name = "WHAT", required_unless_present = "filename")]
    pub what: Vec<String>,
    #[command(flatten)]
    pub from: FromFiles,
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
    #[arg(long, default_value_t = true, action = ArgAction::Set, num_args = 0..=1, default_missing_value = "true", require_equals = true, value_parser = switch, value_name = "BOOL")]
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

#[derive(Debug, Subcommand)]
pub enum StoreVerb {
    /// Print the database as JSON lines, through the daemon or, when it is down, from the file
    Dump(StoreDump),
}

#[derive(Debug, Args)]
pub struct StoreDump {
    /// The database in this directory, whatever daemon is up
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
