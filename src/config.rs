//! The node's own settings, read at the start and at SIGHUP: defaults, then the file, then the environment, then the flags; each
//! wins over the one before. Knows nothing of what the settings do. Each key is described in docs/configuration.md.

use std::fmt;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use nix::unistd;
use serde_json::{Map, Value};

use crate::manifest::read_settings;
use crate::model::update::UpdateKey;
use crate::model::{Broker, ImagesConfig, Labels, Mqtt, Protocol, RegistriesConfig, Settings};

pub mod keys;
mod read;
mod registries;

use read::{choice, flag, label_pairs, loopback, number, path, text, update_keys, word, words};

/// Read when no `--config` is given and it is there.
pub const DEFAULT_FILE: &str = "/etc/pinnace/config.yaml";
/// A larger file is no configuration.
const FILE_BYTES_MAX: u64 = 1 << 20;
const SOCKET: &str = "pinnace.sock";
/// Below the data directory: downloads that broke off.
const PARTIAL_DIR: &str = "images/partial";

/// Every key of the file. The environment's name of `mqtt.client_id` is `PINNACE_MQTT_CLIENT_ID`.
pub const KEYS: &[&str] = &[
    "data_dir",
    "run_dir",
    "name",
    "labels",
    "groups",
    "broker",
    "fleet",
    "limits",
    "cgroup_root",
    "stop_pods",
    "log_level",
    "metrics_address",
    "update_keys",
    "mqtt.client_id",
    "mqtt.username",
    "mqtt.password_file",
    "mqtt.keep_alive_s",
    "mqtt.protocol",
    "mqtt.ca_file",
    "mqtt.cert_file",
    "mqtt.key_file",
    "mqtt.set_bytes_max",
    "mqtt.reconnect_max_s",
    "mqtt.state_interval_s",
    "mqtt.topic_root",
    "bounds.pods_max",
    "bounds.finished_pods_max",
    "bounds.objects_max",
    "bounds.events_max",
    "bounds.event_ttl_s",
    "bounds.log_bytes_max",
    "bounds.log_files_max",
    "bounds.pod_pids_max",
    "images.pull",
    "images.bytes_max",
    "images.high_percent",
    "images.low_percent",
    "images.reserve_bytes",
    "images.image_bytes_max",
    "images.concurrency",
    "images.bandwidth_max",
    "images.docker_config",
    "images.registries",
];

#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    pub data_dir: PathBuf,
    pub run_dir: PathBuf,
    /// The node's name; a level of its topics.
    pub name: String,
    pub labels: Labels,
    pub groups: Vec<String>,
    pub fleet: String,
    /// None: the node runs alone.
    pub mqtt: Option<Mqtt>,
    /// The cgroup below which pods live; none: found from the daemon's own.
    pub cgroup_root: Option<PathBuf>,
    /// SIGTERM ends the pods too.
    pub stop_pods: bool,
    pub images: ImagesConfig,
    pub log_level: LogLevel,
    /// Serves `/metrics` there too; always a loopback address.
    pub metrics_address: Option<SocketAddr>,
    /// Whose signatures of new versions are believed; with any, every update needs one.
    pub update_keys: Vec<UpdateKey>,
    /// Bounds and choices of the core, `limits: required` and the fleet among them.
    pub settings: Settings,
}

/// The least important lines that the log has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogLevel {
    Error,
    Warn,
    #[default]
    Info,
    Debug,
    Trace,
}

/// What the command line of `pinnace node` gives, as text; none: not given.
#[derive(Debug, Clone, Default)]
pub struct Flags {
    pub data_dir: Option<String>,
    pub run_dir: Option<String>,
    pub name: Option<String>,
    /// `k=v,k=v`
    pub labels: Option<String>,
    /// `a,b`
    pub groups: Option<String>,
    pub broker: Option<String>,
    pub fleet: Option<String>,
    pub stop_pods: bool,
}

/// A setting that cannot be used: where it stands, and what it may be.
#[derive(Debug)]
pub struct ConfigError(String);

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ConfigError {}

impl Config {
    /// `file` none: `DEFAULT_FILE` where it exists.
    ///
    /// # Errors
    /// The file cannot be read, has a key that is unknown or given twice; a value is not one that its key may have.
    pub fn load(
        file: Option<&Path>,
        flags: Flags,
        env: impl Fn(&str) -> Option<String>,
    ) -> Result<Config, ConfigError> {
        let host = Host::of_this_process(&env);
        let given = match file {
            Some(file) => Some(read_file(file)?),
            None if Path::new(DEFAULT_FILE).exists() => Some(read_file(Path::new(DEFAULT_FILE))?),
            None => None,
        };
        let mut draft = Draft::new(&host);
        if let Some((source, keys)) = &given {
            for (key, value) in keys {
                draft.set(key, value).map_err(|e| ConfigError(format!("{source}: {key} {e}")))?;
            }
        }
        for key in KEYS {
            let name = env_name(key);
            // Set and empty is how a service file takes a setting back.
            if let Some(value) = env(&name).filter(|value| !value.is_empty()) {
                draft.set(key, &Value::String(value)).map_err(|e| ConfigError(format!("environment: {name} {e}")))?;
            }
        }
        for (key, value) in flags.given() {
            let name = key.replace('_', "-");
            draft.set(key, &value).map_err(|e| ConfigError(format!("--{name} {e}")))?;
        }
        draft.finish()
    }

    /// The data directory and no more, however little sense the rest of the settings makes: versions of this program lie in it, and
    /// one of them may understand what this one does not. `flag`: of `--data-dir`.
    pub fn data_dir(file: Option<&Path>, flag: Option<String>, env: impl Fn(&str) -> Option<String>) -> PathBuf {
        let in_file = || {
            let text = fs::read_to_string(file.unwrap_or(Path::new(DEFAULT_FILE))).ok()?;
            let document = read_settings(&text).ok()?;
            document.get("data_dir")?.as_str().map(String::from)
        };
        let in_env = || env(&env_name("data_dir")).filter(|value| !value.is_empty());
        let given = flag.or_else(in_env).or_else(in_file).and_then(|given| path(&Value::String(given)).ok());
        given.unwrap_or_else(|| Host::of_this_process(&env).data_dir)
    }

    /// What holds where nothing is set.
    pub fn defaults(env: impl Fn(&str) -> Option<String>) -> Config {
        Draft::new(&Host::of_this_process(&env)).config
    }

    /// These settings with all that `new` may change while the node runs, and the keys that differ and wait for a restart.
    #[must_use]
    pub fn renewed(&self, new: Config) -> (Config, Vec<&'static str>) {
        // Downloads that are under way share one meter and know of one another, so there is one such set in a life.
        let (ours, theirs) = (&self.images.registries, &new.images.registries);
        let logins = |of: &RegistriesConfig| (of.docker_config.clone(), of.docker_config_required);
        let differ = [
            ("data_dir", self.data_dir != new.data_dir),
            ("run_dir", self.run_dir != new.run_dir),
            ("name", self.name != new.name),
            ("fleet", self.fleet != new.fleet),
            ("cgroup_root", self.cgroup_root != new.cgroup_root),
            ("metrics_address", self.metrics_address != new.metrics_address),
            ("images.concurrency", ours.concurrency != theirs.concurrency),
            ("images.bandwidth_max", ours.bandwidth_max != theirs.bandwidth_max),
            ("images.docker_config", logins(ours) != logins(theirs)),
            ("images.registries", ours.hosts != theirs.hosts),
        ];
        let waiting = differ.into_iter().filter(|(_, differs)| *differs).map(|(key, _)| key).collect();
        let mut renewed = Config {
            data_dir: self.data_dir.clone(),
            run_dir: self.run_dir.clone(),
            name: self.name.clone(),
            fleet: self.fleet.clone(),
            cgroup_root: self.cgroup_root.clone(),
            metrics_address: self.metrics_address,
            images: ImagesConfig { registries: ours.clone(), ..new.images },
            ..new
        };
        renewed.settings.fleet.clone_from(&self.fleet);
        // Without a setting of its own the client id is the name, which stays.
        if let Some(mqtt) = renewed.mqtt.as_mut().filter(|mqtt| mqtt.client_id == new.name) {
            mqtt.client_id.clone_from(&self.name);
        }
        (renewed, waiting)
    }

    /// The local API.
    pub fn socket(&self) -> PathBuf {
        self.run_dir.join(SOCKET)
    }
}

/// Where a client looks for the node: this user's own socket, else the machine's where only that is there.
pub fn default_socket(env: impl Fn(&str) -> Option<String>) -> PathBuf {
    let own = Host::of_this_process(&env).run_dir.join(SOCKET);
    let machine = Path::new(ROOT_RUN_DIR).join(SOCKET);
    if !own.exists() && machine.exists() { machine } else { own }
}

const LEVELS: [(&str, LogLevel); 5] = [
    ("error", LogLevel::Error),
    ("warn", LogLevel::Warn),
    ("info", LogLevel::Info),
    ("debug", LogLevel::Debug),
    ("trace", LogLevel::Trace),
];

const ROOT_DATA_DIR: &str = "/var/lib/pinnace";
const ROOT_RUN_DIR: &str = "/run/pinnace";

/// What the defaults depend on.
#[derive(Debug)]
struct Host {
    data_dir: PathBuf,
    run_dir: PathBuf,
    name: String,
}

impl Host {
    fn of_this_process(env: &impl Fn(&str) -> Option<String>) -> Host {
        let hostname = unistd::gethostname().ok().and_then(|name| name.into_string().ok()).unwrap_or_default();
        Host::new(unistd::geteuid().as_raw(), &hostname, env)
    }

    fn new(uid: u32, hostname: &str, env: &impl Fn(&str) -> Option<String>) -> Host {
        let name = node_name(hostname);
        if uid == 0 {
            return Host { data_dir: ROOT_DATA_DIR.into(), run_dir: ROOT_RUN_DIR.into(), name };
        }
        let absolute = |name| env(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let temporary = || PathBuf::from(format!("/tmp/pinnace-{uid}"));
        let data = absolute("XDG_DATA_HOME").or_else(|| absolute("HOME").map(|home| home.join(".local/share")));
        Host {
            data_dir: data.map_or_else(|| temporary().join("data"), |dir| dir.join("pinnace")),
            run_dir: absolute("XDG_RUNTIME_DIR").map_or_else(temporary, |dir| dir.join("pinnace")),
            name,
        }
    }
}

/// The host's name as a node name: lower case, other characters as hyphens.
fn node_name(hostname: &str) -> String {
    let fits = |c: char| if c.is_ascii_alphanumeric() || c == '.' { c.to_ascii_lowercase() } else { '-' };
    let name: String = hostname.chars().take(read::WORD_MAX).map(fits).collect();
    let name = name.trim_matches(|c: char| !c.is_ascii_alphanumeric());
    if name.is_empty() { "localhost".into() } else { name.into() }
}

pub(crate) fn env_name(key: &str) -> String {
    format!("PINNACE_{}", key.replace('.', "_").to_ascii_uppercase())
}

impl Flags {
    fn given(self) -> Vec<(&'static str, Value)> {
        let texts = [
            ("data_dir", self.data_dir),
            ("run_dir", self.run_dir),
            ("name", self.name),
            ("labels", self.labels),
            ("groups", self.groups),
            ("broker", self.broker),
            ("fleet", self.fleet),
        ];
        let mut given: Vec<_> = texts.into_iter().filter_map(|(key, text)| Some((key, Value::String(text?)))).collect();
        given.extend(self.stop_pods.then_some(("stop_pods", Value::Bool(true))));
        given
    }
}

/// The file's keys, flat (`mqtt.client_id`), and how to call the file in an error.
fn read_file(file: &Path) -> Result<(String, Vec<(String, Value)>), ConfigError> {
    let source = format!("configuration {}", file.display());
    let wrong = |what: String| ConfigError(format!("{source}: {what}"));
    let too_large = || io::Error::other(format!("it is larger than {FILE_BYTES_MAX} bytes"));
    let text = fs::metadata(file)
        .and_then(|meta| if meta.len() > FILE_BYTES_MAX { Err(too_large()) } else { fs::read_to_string(file) })
        .map_err(|e| wrong(format!("cannot be read: {e}")))?;
    let keys = match read_settings(&text).map_err(wrong)? {
        Value::Null => Map::new(),
        Value::Object(keys) => keys,
        _ => return Err(wrong("must be a mapping of keys to values".into())),
    };
    let flat = flatten(keys).map_err(wrong)?;
    Ok((source, flat))
}

/// An error is told without the lines around its place: what draws them is larger than what reads them.
fn flatten(keys: Map<String, Value>) -> Result<Vec<(String, Value)>, String> {
    let mut flat = Vec::new();
    for (key, value) in keys {
        match value {
            // Written and left empty: the default holds.
            Value::Null if is_section(&key) || KEYS.contains(&key.as_str()) => {}
            Value::Object(inner) if is_section(&key) => {
                flat.extend(inner.into_iter().map(|(name, value)| (format!("{key}.{name}"), value)));
            }
            _ if is_section(&key) => return Err(format!("{key} must be a mapping of keys to values")),
            value => flat.push((key, value)),
        }
    }
    if let Some((key, _)) = flat.iter().find(|(key, _)| !KEYS.contains(&key.as_str())) {
        return Err(unknown(key));
    }
    Ok(flat)
}

fn is_section(key: &str) -> bool {
    KEYS.iter().any(|known| known.split_once('.').is_some_and(|(section, _)| section == key))
}

fn unknown(key: &str) -> String {
    // Two slips of the finger in a short word are another word.
    let near = KEYS.iter().map(|known| (strsim::damerau_levenshtein(key, known), known)).min();
    match near {
        Some((distance, known)) if distance <= 1 + key.len() / 4 => {
            format!("unknown key {key:?}, did you mean {known:?}?")
        }
        _ => format!("unknown key {key:?}; see docs/configuration.md for all of them"),
    }
}

/// Settings on their way to a configuration. The broker's are kept apart until it is known that there is one.
struct Draft {
    config: Config,
    broker: Option<Broker>,
    client_id: Option<String>,
    mqtt: Mqtt,
}

impl Draft {
    fn new(host: &Host) -> Draft {
        let nowhere = Broker { tls: false, host: String::new(), port: 0 };
        Draft {
            config: Config {
                data_dir: host.data_dir.clone(),
                run_dir: host.run_dir.clone(),
                name: host.name.clone(),
                labels: Labels::new(),
                groups: Vec::new(),
                fleet: Settings::default().fleet,
                mqtt: None,
                cgroup_root: None,
                stop_pods: false,
                images: ImagesConfig::new(host.data_dir.join(PARTIAL_DIR)),
                log_level: LogLevel::default(),
                metrics_address: None,
                update_keys: Vec::new(),
                settings: Settings::default(),
            },
            broker: None,
            client_id: None,
            mqtt: Mqtt::new(nowhere, ""),
        }
    }

    /// # Errors
    /// What the value must be; the caller says where it stands.
    fn set(&mut self, key: &str, value: &Value) -> Result<(), String> {
        let Draft { config: c, mqtt: m, .. } = self;
        let s = &mut c.settings;
        match key {
            "data_dir" => c.data_dir = path(value)?,
            "run_dir" => c.run_dir = path(value)?,
            "name" => c.name = word(value)?,
            "labels" => c.labels = label_pairs(value)?,
            "groups" => c.groups = words(value)?,
            "broker" => self.broker = Some(Broker::parse(&text(value)?)?),
            "fleet" => c.fleet = word(value)?,
            "limits" => s.limits_required = choice(value, &[("optional", false), ("required", true)])?,
            "cgroup_root" => c.cgroup_root = Some(path(value)?),
            "stop_pods" => c.stop_pods = flag(value)?,
            "log_level" => c.log_level = choice(value, &LEVELS)?,
            "metrics_address" => c.metrics_address = Some(loopback(value)?),
            "update_keys" => c.update_keys = update_keys(value)?,
            "mqtt.client_id" => self.client_id = Some(text(value)?),
            "mqtt.username" => m.username = Some(text(value)?),
            "mqtt.password_file" => m.password_file = Some(path(value)?),
            "mqtt.keep_alive_s" => m.keep_alive_s = number(value, 5, u64::from(u16::MAX))?,
            "mqtt.protocol" => {
                m.protocol = choice(value, &[("auto", Protocol::Auto), ("v5", Protocol::V5), ("v3", Protocol::V3)])?;
            }
            "mqtt.ca_file" => m.ca_file = Some(path(value)?),
            "mqtt.cert_file" => m.cert_file = Some(path(value)?),
            "mqtt.key_file" => m.key_file = Some(path(value)?),
            "mqtt.set_bytes_max" => m.set_bytes_max = number(value, 1024, 1 << 20)?,
            "mqtt.reconnect_max_s" => m.reconnect_max_s = number(value, 1, 86_400)?,
            "mqtt.state_interval_s" => m.state_interval_s = number(value, 1, 86_400)?,
            "mqtt.topic_root" => m.topic_root = word(value)?,
            "bounds.pods_max" => s.pods_max = number(value, 1, 100_000)?,
            "bounds.finished_pods_max" => s.finished_pods_max = number(value, 1, 100_000)?,
            "bounds.objects_max" => s.objects_max = number(value, 1, 1_000_000)?,
            "bounds.events_max" => s.events_max = number(value, 1, 1_000_000)?,
            "bounds.event_ttl_s" => s.event_ttl_s = number(value, 1, 31_536_000)?,
            "bounds.log_bytes_max" => s.log_bytes_max = number(value, 4096, 1 << 40)?,
            "bounds.log_files_max" => s.log_files_max = number(value, 1, 1000)?,
            "bounds.pod_pids_max" => s.pod_pids_max = Some(number(value, 1, 4_194_304)?),
            other => return self.set_images(other, value),
        }
        Ok(())
    }

    fn set_images(&mut self, key: &str, value: &Value) -> Result<(), String> {
        let (i, s) = (&mut self.config.images, &mut self.config.settings);
        match key {
            "images.pull" => s.images_pull = flag(value)?,
            "images.bytes_max" => s.images_bytes_max = Some(number(value, 1 << 20, 1 << 50)?),
            "images.high_percent" => s.images_high_percent = number(value, 1, 100)?,
            "images.low_percent" => s.images_low_percent = number(value, 0, 100)?,
            "images.reserve_bytes" => i.reserve_bytes = Some(number(value, 0, 1 << 50)?),
            "images.image_bytes_max" => i.image_bytes_max = number(value, 1 << 20, 1 << 50)?,
            "images.concurrency" => i.registries.concurrency = number(value, 1, 16)?,
            "images.bandwidth_max" => i.registries.bandwidth_max = number(value, 0, 1 << 40)?,
            "images.docker_config" => {
                i.registries.docker_config = path(value)?;
                i.registries.docker_config_required = true;
            }
            "images.registries" => i.registries.hosts = registries::hosts(value)?,
            other => return Err(format!("is no setting ({})", unknown(other))),
        }
        Ok(())
    }

    /// What only fits, or not, together.
    fn finish(self) -> Result<Config, ConfigError> {
        let Draft { mut config, broker, client_id, mqtt } = self;
        config.settings.fleet.clone_from(&config.fleet);
        config.images.registries.partial_dir = config.data_dir.join(PARTIAL_DIR);
        let Settings { images_high_percent: high, images_low_percent: low, .. } = config.settings;
        if low > high {
            return Err(ConfigError(format!(
                "images.low_percent ({low}) must not be above images.high_percent ({high}): images go from the high mark \
                 down to the low one"
            )));
        }
        if mqtt.cert_file.is_some() != mqtt.key_file.is_some() {
            return Err(ConfigError("mqtt.cert_file and mqtt.key_file go together: give both or none".into()));
        }
        if mqtt.password_file.is_some() && mqtt.username.is_none() {
            return Err(ConfigError("mqtt.password_file needs mqtt.username".into()));
        }
        let tls_wanted = mqtt.ca_file.is_some() || mqtt.cert_file.is_some();
        if tls_wanted && broker.as_ref().is_some_and(|broker| !broker.tls) {
            return Err(ConfigError(
                "mqtt.ca_file and mqtt.cert_file are for TLS: write the broker as mqtts://…".into(),
            ));
        }
        let client_id = client_id.unwrap_or_else(|| config.name.clone());
        config.mqtt = broker.map(|broker| Mqtt { broker, client_id, ..mqtt });
        Ok(config)
    }
}

#[cfg(test)]
mod tests;
