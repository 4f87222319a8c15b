//! Picks the role from the arguments: the node, or a verb that asks it.

use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;
use pinnace::cli::args::{Cli, NodeArgs, StoreVerb, Verb};
use pinnace::config::{Config, Flags};
use pinnace::runtime::Spawner;
use pinnace::{cli, node, store};

fn main() -> ExitCode {
    // Before anything is allocated: each container's shim is a fork of this one, and carries along what it carries.
    let spawner = std::env::args_os().nth(1).filter(|verb| verb == "node").map(|_| Spawner::fork());
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(e) => return usage(&e),
    };
    match &cli.verb {
        Verb::Node(args) => run_node(args, spawner.unwrap_or_else(Spawner::fork)),
        Verb::Store(StoreVerb::Dump(args)) => cli::dump(&cli).unwrap_or_else(|| dump_file(args.data_dir.clone())),
        _ => cli::run(&cli),
    }
}

/// `store dump` while no daemon answers: the file itself.
fn dump_file(dir: Option<std::path::PathBuf>) -> ExitCode {
    let env = |name: &str| std::env::var(name).ok();
    let flags = Flags { data_dir: dir.map(|dir| dir.to_string_lossy().into_owned()), ..Flags::default() };
    let config = match Config::load(None, flags, env) {
        Ok(config) => config,
        Err(e) => return fail(&e.to_string()),
    };
    match store::dump(&config.data_dir, &mut std::io::stdout().lock()) {
        Ok(()) => ExitCode::SUCCESS,
        // The reader has seen enough.
        Err(store::DumpError::Write(e)) if e.kind() == std::io::ErrorKind::BrokenPipe => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("error: no node answers, and {why}");
            ExitCode::FAILURE
        }
    }
}

/// kubectl ends with 1 where clap would end with 2; help and version are no errors.
fn usage(e: &clap::Error) -> ExitCode {
    let _ = e.print();
    match e.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

fn run_node(args: &NodeArgs, spawner: std::io::Result<Spawner>) -> ExitCode {
    let text = |path: &Option<std::path::PathBuf>| path.as_ref().map(|path| path.to_string_lossy().into_owned());
    let flags = Flags {
        data_dir: text(&args.data_dir),
        run_dir: text(&args.run_dir),
        name: args.name.clone(),
        labels: args.labels.clone(),
        groups: args.groups.clone(),
        broker: args.broker.clone(),
        fleet: args.fleet.clone(),
        stop_pods: args.stop_pods,
    };
    let env = |name: &str| std::env::var(name).ok();
    let config = match Config::load(args.config.as_deref(), flags, env) {
        Ok(config) => config,
        Err(e) => return fail(&e.to_string()),
    };
    if args.check_config {
        println!("the settings are in order: node {} in {}", config.name, config.data_dir.display());
        return ExitCode::SUCCESS;
    }
    let spawner = match spawner {
        Ok(spawner) => spawner,
        Err(e) => return fail(&format!("cannot fork the process that starts containers: {e}")),
    };
    match node::run(&config, spawner) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => fail(&why),
    }
}

fn fail(why: &str) -> ExitCode {
    eprintln!("pinnace node: {why}");
    ExitCode::FAILURE
}
