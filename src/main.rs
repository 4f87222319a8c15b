//! Picks the role from the arguments: the node, a verb that asks it, or one that looks after the device without it.

use std::ffi::OsString;
use std::io::{self, BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use pinnace::cli::args::{Cli, ConfigVerb, DebugVerb, DoctorArgs, InitArgs, NodeArgs, StoreVerb, Verb, Where};
use pinnace::cli::{NoDump, print};
use pinnace::config::{Config, ConfigError, DEFAULT_FILE, Flags, keys};
use pinnace::doctor::{self, Host, Running, Subject, System};
use pinnace::init::{self, Wish};
use pinnace::runtime::Spawner;
use pinnace::update::{Here, Home, launch};
use pinnace::{cli, node, store};

fn main() -> ExitCode {
    // Before anything is allocated: each container's shim is a fork of this one, and carries along what it carries.
    let mut spawner = std::env::args_os().nth(1).filter(|verb| verb == "node").map(|_| Spawner::fork());
    let here = spawner.is_some().then(|| choose_program(&mut spawner)).flatten();
    let cli = match Cli::read(std::env::args_os()) {
        Ok(cli) => cli,
        Err(e) => return cli::misused(&e, std::env::args_os()),
    };
    match &cli.verb {
        Verb::Node(_) if cli.socket.is_some() => {
            fail("--socket tells a verb where a node listens; the node makes its socket in --run-dir")
        }
        Verb::Node(args) => run_node(args, spawner.unwrap_or_else(Spawner::fork), here),
        Verb::Store(StoreVerb::Dump(args)) => {
            cli::dump(&cli, args.data_dir.as_deref()).unwrap_or_else(|why| dump_file(args.data_dir.clone(), &why))
        }
        Verb::Doctor(args) => examine(&cli, args),
        Verb::Debug(DebugVerb::Dump(args)) => report(&cli, &args.at),
        Verb::Init(args) => make_ready(args),
        Verb::Config(ConfigVerb::Schema) => print(&pretty(&keys::schema())),
        _ => cli::run(&cli),
    }
}

/// Whether this program runs the node or another version; then that one is executed, without the spawner of this one.
/// None: nothing is run, only asked.
fn choose_program(spawner: &mut Option<io::Result<Spawner>>) -> Option<(PathBuf, Here)> {
    let arguments: Vec<String> = std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect();
    if arguments.iter().any(|word| ["--check-config", "--help", "-h"].contains(&word.as_str())) {
        return None;
    }
    let file = value_of(&arguments, "--config").map(PathBuf::from);
    let data = Config::data_dir(file.as_deref(), value_of(&arguments, "--data-dir"), env);
    let here = launch::start(&data, || {
        if let Some(Ok(spawner)) = spawner.take() {
            spawner.end();
        }
    });
    Some((data, here))
}

/// Of a flag, without knowing the others: a later release may have more of them.
fn value_of(arguments: &[String], flag: &str) -> Option<String> {
    let joined = |word: &String| word.strip_prefix(flag)?.strip_prefix('=').map(String::from);
    let apart = || arguments.iter().position(|word| word == flag).and_then(|at| arguments.get(at + 1).cloned());
    arguments.iter().find_map(joined).or_else(apart)
}

/// `store dump` where no daemon gives it: the file itself.
fn dump_file(dir: Option<PathBuf>, no_node: &NoDump) -> ExitCode {
    let flags = Flags { data_dir: dir.map(|dir| dir.to_string_lossy().into_owned()), ..Flags::default() };
    let config = match Config::load(None, flags, env) {
        Ok(config) => config,
        Err(e) => return fail(&e.to_string()),
    };
    let dir = config.data_dir.display();
    let no_node = match no_node {
        NoDump::Nobody => "no node answers".to_string(),
        NoDump::Waits(text) => {
            eprintln!("note: read from the file in {dir}: {text}");
            "the node has no store yet".to_string()
        }
        NoDump::Elsewhere(place) => format!("the node that answers has its store in {}, not in {dir}", place.display()),
    };
    match store::dump(&config.data_dir, &mut std::io::stdout().lock()) {
        Ok(()) => ExitCode::SUCCESS,
        // The reader has seen enough.
        Err(store::DumpError::Write(e)) if e.kind() == std::io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("error: {no_node}, and {why}");
            ExitCode::FAILURE
        }
    }
}

fn run_node(args: &NodeArgs, spawner: std::io::Result<Spawner>, here: Option<(PathBuf, Here)>) -> ExitCode {
    let config = match load(args) {
        Ok(config) => config,
        Err(e) => return unusable(&e.to_string(), here.as_ref()),
    };
    if args.check_config {
        return print(&format!("the settings are in order: node {} in {}\n", config.name, config.data_dir.display()));
    }
    let spawner = match spawner {
        Ok(spawner) => spawner,
        Err(e) => return fail(&format!("cannot fork the process that starts containers: {e}")),
    };
    let again = args.clone();
    let here = here.map_or_else(|| launch::start(&config.data_dir, || ()), |(_, here)| here);
    match node::run(&config, spawner, Box::new(move || load(&again).map_err(|e| e.to_string())), &here) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => fail(&why),
    }
}

/// A version on trial that does not understand the settings gives way to the one that did.
fn unusable(why: &str, here: Option<&(PathBuf, Here)>) -> ExitCode {
    let failed = fail(why);
    if let Some((data, here)) = here.filter(|(data, here)| launch::give_up(&Home::of(data), here, why)) {
        return fail(&format!(
            "{}: {}; see {}",
            here.installed.display(),
            launch::leave(&here.installed),
            data.display()
        ));
    }
    failed
}

fn load(args: &NodeArgs) -> Result<Config, ConfigError> {
    Config::load(args.config.as_deref(), flags(args), env)
}

fn flags(args: &NodeArgs) -> Flags {
    Flags {
        data_dir: text(args.data_dir.as_deref()),
        run_dir: text(args.run_dir.as_deref()),
        name: args.name.clone(),
        labels: args.labels.clone(),
        groups: args.groups.clone(),
        broker: args.broker.clone(),
        fleet: args.fleet.clone(),
        stop_pods: args.stop_pods,
    }
}

fn env(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn text(path: Option<&Path>) -> Option<String> {
    path.map(|path| path.to_string_lossy().into_owned())
}

/// The node that is meant, with the settings that it runs with where one answers and no file was named. Settings that
/// cannot be used are a finding, so the defaults have to do then.
fn subject(cli: &Cli, at: &Where, session: bool) -> Subject {
    let run_dir = at.run_dir.clone().or_else(|| run_dir_of(cli));
    let flags =
        || Flags { data_dir: text(at.data_dir.as_deref()), run_dir: text(run_dir.as_deref()), ..Flags::default() };
    let file = at.config.clone().unwrap_or_else(|| DEFAULT_FILE.into());
    let given = |config, settings| Subject { config, settings, running: None, session };
    match Config::load(at.config.as_deref(), flags(), env) {
        Ok(config) => match at.config.is_none().then(|| running(&config, at, session)).flatten() {
            Some(subject) => subject,
            None if file.exists() => given(config, Ok(file)),
            None => given(config, Ok("none: every setting has its default".into())),
        },
        Err(e) => {
            let config = Config::load(Some(Path::new("/dev/null")), flags(), |_| None);
            let config = config.unwrap_or_else(|_| Config::defaults(env));
            given(config, Err(e.to_string()))
        }
    }
}

/// Where the socket is that the verbs are told of.
fn run_dir_of(cli: &Cli) -> Option<PathBuf> {
    let from_env = || std::env::var_os("PINNACE_SOCKET").filter(|socket| !socket.is_empty()).map(PathBuf::from);
    cli.socket.clone().or_else(from_env)?.parent().map(Path::to_path_buf)
}

/// What the node that answers was started with: its flags and its environment, as the kernel has them. None: nobody answers,
/// or it is somebody else's, or of a release that has other flags.
fn running(at: &Config, given: &Where, session: bool) -> Option<Subject> {
    let pid = System.ask(&at.socket(), "/livez").ok()?.pid;
    let process = |name: &str| PathBuf::from(format!("/proc/{pid}/{name}"));
    let words = System.read(&process("cmdline")).ok()?;
    let words: Vec<&str> = words.split_terminator('\0').collect();
    let Verb::Node(args) = Cli::read(words.iter().map(OsString::from)).ok()?.verb else { return None };
    let variables = System.read(&process("environ")).ok()?;
    let env = |name: &str| {
        variables.split('\0').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('=')).map(String::from)
    };
    let base = std::fs::read_link(process("cwd")).ok()?;
    let there = |path: &Option<PathBuf>| path.as_ref().map(|path| base.join(path));
    let data_dir = given.data_dir.clone().or_else(|| there(&args.data_dir));
    let file = there(&args.config);
    // It answers at this run directory, whoever it belongs to.
    let flags = Flags { data_dir: text(data_dir.as_deref()), run_dir: text(Some(&at.run_dir)), ..flags(&args) };
    let config = Config::load(file.as_deref(), flags, env).ok()?;
    let file = file.unwrap_or_else(|| DEFAULT_FILE.into());
    let settings = if file.exists() { file } else { "no file".into() };
    let flags = words.iter().skip_while(|word| **word != "node").skip(1).map(|word| (*word).to_string()).collect();
    Some(Subject { config, settings: Ok(settings), running: Some(Running { pid, flags }), session })
}

fn examine(cli: &Cli, args: &DoctorArgs) -> ExitCode {
    let checks = doctor::examine(&System, &subject(cli, &args.at, args.session));
    let shown = if args.json { pretty(&doctor::json(&checks)) } else { doctor::text(&checks, cli::may_colour()) };
    let printed = print(&shown);
    if doctor::fails(&checks) { ExitCode::FAILURE } else { printed }
}

fn report(cli: &Cli, at: &Where) -> ExitCode {
    let subject = subject(cli, at, false);
    let checks = doctor::examine(&System, &subject);
    print(&pretty(&doctor::report(&System, &subject, &checks)))
}

fn make_ready(args: &InitArgs) -> ExitCode {
    if args.claim.is_some() {
        eprintln!(
            "error: --claim is not supported: enrolment over the broker needs a controller that this release does not have. \
             Without it, init prints a certificate request; have it signed and put the certificate beside the key."
        );
        return ExitCode::FAILURE;
    }
    let host = Config::defaults(env).name;
    let asks = io::stdin().is_terminal() && io::stderr().is_terminal();
    let ask = |given: &Option<String>, question: &str, default: &str| match given {
        Some(given) => given.clone(),
        None if asks => prompt(question, default),
        None => default.to_string(),
    };
    let some = |text: String| Some(text).filter(|text| !text.is_empty());
    let wish = Wish {
        dir: std::path::absolute(&args.dir).unwrap_or_else(|_| args.dir.clone()),
        name: ask(&args.name, "Name of this node", &host),
        broker: some(ask(&args.broker, "Broker (mqtts://HOST, mqtt://HOST, empty for none)", "")),
        fleet: some(ask(&args.fleet, "Fleet", "default")),
        force: args.force,
    };
    match init::init(&wish) {
        Ok(made) => {
            eprintln!("settings  {}", made.settings.display());
            eprintln!("key       {}{}", made.key.display(), if made.key_was_there { " (was there)" } else { "" });
            eprintln!("request   {}", made.request.display());
            if let Some(certificate) = &made.certificate {
                // Doctor looks at the default file by itself and at no other.
                let named = match made.settings.as_path() {
                    settings if settings == Path::new(DEFAULT_FILE) => String::new(),
                    settings => format!(" --config {}", settings.display()),
                };
                eprintln!(
                    "next      have the request signed, put the certificate at {}, then: pinnace doctor{named}",
                    certificate.display()
                );
            }
            print(&made.request_pem)
        }
        Err(e) => {
            eprintln!("error: {e}");
            ExitCode::FAILURE
        }
    }
}

/// What the person typed, or the default for an empty line.
fn prompt(question: &str, default: &str) -> String {
    let shown = if default.is_empty() { String::new() } else { format!(" [{default}]") };
    eprint!("{question}{shown}: ");
    let _ = io::stderr().flush();
    let mut line = String::new();
    let _ = io::stdin().lock().read_line(&mut line);
    let line = line.trim();
    if line.is_empty() { default.to_string() } else { line.to_string() }
}

fn pretty(value: &serde_json::Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_else(|_| value.to_string()) + "\n"
}

fn fail(why: &str) -> ExitCode {
    eprintln!("pinnace node: {why}");
    ExitCode::FAILURE
}
