//! Every key with what there is to say of it: the one source of docs/configuration.md, of the JSON schema and of the file
//! that `pinnace init` writes. Tests hold it against what `Draft::set` takes.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

/// One key of the file.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    pub name: &'static str,
    /// Sentences, with code between backticks.
    pub meaning: &'static str,
    pub default: Default,
    pub shape: Shape,
    /// The flag of `pinnace node`, where it has one.
    pub flag: Option<&'static str>,
    /// Taken at SIGHUP; others wait for a restart.
    pub live: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Default {
    /// This value, as YAML.
    Is(&'static str),
    /// None of its own; in words.
    Words(&'static str),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    Text,
    Path,
    /// A level of a topic: `[a-z0-9.-]`, 63 at most.
    Word,
    Words,
    Labels,
    /// `mqtt://…` or `mqtts://…`.
    Broker,
    Address,
    /// Least and most.
    Number(u64, u64),
    Choice(&'static [&'static str]),
    Flag,
    /// Public keys, a line each.
    Keys,
    /// What is particular about each registry, by its host; as JSON in the environment.
    Registries,
}

const fn key(name: &'static str, shape: Shape, default: Default, meaning: &'static str) -> Key {
    Key { name, meaning, default, shape, flag: None, live: true }
}

impl Key {
    const fn flag(self, flag: &'static str) -> Key {
        Key { flag: Some(flag), ..self }
    }

    const fn fixed(self) -> Key {
        Key { live: false, ..self }
    }
}

use self::Default::{Is, Words as Says};
use Shape::{Address, Broker, Choice, Flag, Keys, Labels, Number, Path, Registries, Text, Word, Words};

/// In the order of the page.
pub const TABLE: &[Key] = &[
    key(
        "data_dir",
        Path,
        Says("root: `/var/lib/pinnace`; else `$XDG_DATA_HOME/pinnace` or `~/.local/share/pinnace`"),
        "Directory of the store, logs and volumes. It should be on a disk that survives a reboot.",
    )
    .flag("--data-dir")
    .fixed(),
    key(
        "run_dir",
        Path,
        Says("root: `/run/pinnace`; else `$XDG_RUNTIME_DIR/pinnace` or `/tmp/pinnace-UID`"),
        "Directory of the socket, `pinnace.sock`.",
    )
    .flag("--run-dir")
    .fixed(),
    key(
        "name",
        Word,
        Says("the host's name"),
        "Name of the node: lower case letters, digits, points, hyphens, up to 63.",
    )
    .flag("--name")
    .fixed(),
    key("labels", Labels, Says("none"), "Labels of the node, for `nodeSelector` and affinity.").flag("--labels k=v,…"),
    key("groups", Words, Says("none"), "Groups of the fleet that the node belongs to; written as `name`.").flag("--groups a,b"),
    key(
        "broker",
        Broker,
        Says("none: the node runs alone"),
        "`mqtt://HOST[:PORT]` (port 1883), or `mqtts://HOST[:PORT]` for TLS (port 8883).",
    )
    .flag("--broker"),
    key("fleet", Word, Is("default"), "Name of the fleet; written as `name`.").flag("--fleet").fixed(),
    key(
        "limits",
        Choice(&["optional", "required"]),
        Is("optional"),
        "`required`: a pod whose limits this host cannot enforce is refused. `optional`: it runs without them, and its events say so.",
    ),
    key(
        "cgroup_root",
        Path,
        Says("root: its own at the top, `pinnace-` and eight hex digits; else the one that is delegated to it"),
        "The cgroup below which pods live.",
    )
    .fixed(),
    key("stop_pods", Flag, Is("false"), "End the pods when the daemon is told to stop (SIGTERM).").flag("--stop-pods"),
    key(
        "log_level",
        Choice(&["error", "warn", "info", "debug", "trace"]),
        Is("info"),
        "The least important lines that the log of the daemon has.",
    ),
    key(
        "metrics_address",
        Address,
        Says("none: on the socket alone"),
        "Loopback address and port that serve `/metrics` over HTTP to everybody on this machine; `127.0.0.1:9464`. Other addresses are refused.",
    )
    .fixed(),
    key(
        "update_keys",
        Keys,
        Says("none"),
        "Public keys, lines as `ssh-ed25519 AAAA… COMMENT`, one of which must have signed what `pinnace update` brings. Without any no signature is asked for.",
    ),
    key("mqtt.client_id", Text, Says("the node's name"), "Client id; unique on the broker."),
    key("mqtt.username", Text, Says("none"), "User name."),
    key("mqtt.password_file", Path, Says("none"), "File whose first line is the password. Read at each connection."),
    key("mqtt.keep_alive_s", Number(5, 65535), Is("60"), "Seconds between signs of life; 5 to 65535."),
    key(
        "mqtt.protocol",
        Choice(&["auto", "v5", "v3"]),
        Is("auto"),
        "`v5`, `v3` (MQTT 3.1.1), or `auto`: 5, and 3.1.1 where the broker does not know it.",
    ),
    key(
        "mqtt.ca_file",
        Path,
        Says("the host's list"),
        "PEM file with the certificates that vouch for the broker. Read at each connection.",
    ),
    key("mqtt.cert_file", Path, Says("none"), "PEM file with this node's certificate. Read at each connection."),
    key("mqtt.key_file", Path, Says("none"), "PEM file with the key of that certificate."),
    key(
        "mqtt.set_bytes_max",
        Number(1024, 1 << 20),
        Is("1048576"),
        "Bytes of one set; a larger one is rejected. 1024 to 1048576.",
    ),
    key(
        "mqtt.reconnect_max_s",
        Number(1, 86_400),
        Is("300"),
        "The longest wait between two attempts to connect, in seconds; 1 to 86400.",
    ),
    key(
        "mqtt.state_interval_s",
        Number(1, 86_400),
        Is("5"),
        "Seconds between two publications of the node's state, at least; 1 to 86400.",
    ),
    key("mqtt.topic_root", Word, Is("pn"), "First level of every topic; written as `name`."),
    key("bounds.pods_max", Number(1, 100_000), Is("110"), "Pods that are not finished."),
    key(
        "bounds.finished_pods_max",
        Number(1, 100_000),
        Is("1000"),
        "Finished pods that are kept for `logs` and `describe`.",
    ),
    key("bounds.objects_max", Number(1, 1_000_000), Is("2000"), "Objects of all kinds but pods and events."),
    key("bounds.events_max", Number(1, 1_000_000), Is("1000"), "Events that are kept."),
    key("bounds.event_ttl_s", Number(1, 31_536_000), Is("3600"), "Seconds that an event is kept."),
    key(
        "bounds.log_bytes_max",
        Number(4096, 1 << 40),
        Is("10485760"),
        "Bytes of a container's log before it is rotated; 4096 or more.",
    ),
    key("bounds.log_files_max", Number(1, 1000), Is("5"), "Log files that are kept for a container."),
    key("bounds.pod_pids_max", Number(1, 4_194_304), Says("no bound"), "Processes in one pod."),
    key(
        "images.pull",
        Flag,
        Is("true"),
        "Whether this node ever asks a registry; `false`: images come by `pinnace image import` alone.",
    ),
    key(
        "images.bytes_max",
        Number(1 << 20, 1 << 50),
        Says("as the marks leave"),
        "Bytes that all unpacked images may take; 1048576 or more.",
    ),
    key(
        "images.high_percent",
        Number(1, 100),
        Is("85"),
        "When a new image leaves the disk fuller than this, images that nothing refers to go, the one unused for longest first; 1 to 100.",
    ),
    key(
        "images.low_percent",
        Number(0, 100),
        Is("80"),
        "They go until the disk is no fuller than this; 0 to `high_percent`.",
    ),
    key(
        "images.reserve_bytes",
        Number(0, 1 << 50),
        Says("a tenth of the disk, at most 1 GiB"),
        "Bytes that stay free on the disk; an image that would take them is not brought.",
    ),
    key(
        "images.image_bytes_max",
        Number(1 << 20, 1 << 50),
        Is("10737418240"),
        "Bytes that one image may unpack to; 1048576 or more.",
    ),
    key("images.concurrency", Number(1, 16), Is("2"), "Layers of an image that are fetched at once; 1 to 16.").fixed(),
    key(
        "images.bandwidth_max",
        Number(0, 1 << 40),
        Is("0"),
        "Bytes a second of all fetches together; 0: no bound.",
    )
    .fixed(),
    key(
        "images.docker_config",
        Path,
        Says("`/etc/pinnace/docker.json` where it is there"),
        "A docker `config.json` with the node's own logins. Read at each fetch.",
    )
    .fixed(),
    key(
        "images.registries",
        Registries,
        Says("none"),
        "What is particular about registries: `mirrors`, `insecure` and `ca_file` by `HOST[:PORT]`.",
    )
    .fixed(),
];

impl Key {
    /// The section that the key stands in, and its name there.
    fn place(&self) -> (Option<&'static str>, &'static str) {
        self.name.split_once('.').map_or((None, self.name), |(section, name)| (Some(section), name))
    }

    /// Its row of docs/configuration.md.
    pub fn row(&self) -> String {
        let flag = self.flag.map(|flag| format!(" (`{flag}`)")).unwrap_or_default();
        let restart = if self.live { "" } else { " *" };
        let default = match self.default {
            Is(value) => format!("`{value}`"),
            Says(words) => words.to_string(),
        };
        format!("| `{}`{restart} | {}{flag} | {default} |", self.name, self.meaning)
    }

    fn schema(&self) -> Value {
        let mut schema = match self.shape {
            Text | Path | Address => json!({ "type": "string", "minLength": 1 }),
            Word => word(),
            Words => json!({ "type": ["array", "string"], "items": word(), "maxItems": 100 }),
            Labels => json!({
                "type": ["object", "string"],
                "additionalProperties": { "type": ["string", "number", "boolean", "null"] },
                "maxProperties": 100,
            }),
            Broker => json!({ "type": "string", "pattern": "^mqtts?://[^@]+$" }),
            Number(least, most) => json!({ "type": "integer", "minimum": least, "maximum": most }),
            Choice(choices) => json!({ "type": "string", "enum": choices }),
            Flag => json!({ "type": "boolean" }),
            Keys => json!({
                "type": ["array", "string"],
                "items": { "type": "string", "pattern": "^ssh-ed25519 " },
                "maxItems": 100,
            }),
            Registries => json!({
                "type": ["object", "string"],
                "additionalProperties": registry(),
                "maxProperties": 100,
            }),
        };
        schema["description"] = self.meaning.into();
        if let Is(value) = self.default {
            schema["default"] = serde_json::from_str(value).unwrap_or_else(|_| value.into());
        }
        schema
    }
}

fn word() -> Value {
    json!({ "type": "string", "pattern": "^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$" })
}

fn registry() -> Value {
    json!({
        "type": ["object", "null"],
        "additionalProperties": false,
        "properties": {
            "mirrors": { "type": "array", "items": { "type": "string", "minLength": 1 }, "maxItems": 10 },
            "insecure": { "type": "boolean" },
            "ca_file": { "type": "string", "minLength": 1 },
        },
    })
}

/// The JSON schema (draft 2020-12) of the file, for editors and for a fleet's own checks.
pub fn schema() -> Value {
    let mut properties = Map::new();
    for key in TABLE {
        let (section, name) = key.place();
        let all = match section {
            None => &mut properties,
            Some(section) => {
                let new = || json!({ "type": ["object", "null"], "additionalProperties": false, "properties": {} });
                let section = properties.entry(section).or_insert_with(new);
                match section["properties"].as_object_mut() {
                    Some(inner) => inner,
                    // Made just above.
                    None => continue,
                }
            }
        };
        all.insert(name.to_string(), key.schema());
    }
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "pinnace node",
        "type": ["object", "null"],
        "additionalProperties": false,
        "properties": properties,
    })
}

/// The whole file with every key as a comment beside its default, but those that `given` has a value (as YAML) for.
pub fn sample(given: &[(&str, String)]) -> String {
    let mut out = String::from(
        "# Settings of the pinnace node on this device. Every key is here; those behind # have their default.\n\
         # Check it with `pinnace node --check-config`; `systemctl reload pinnace` takes most changes, those marked (restart)\n\
         # at the next start.\n",
    );
    let mut last = None;
    for key in TABLE {
        let (section, name) = key.place();
        let indent = if section.is_some() { "  " } else { "" };
        if section != last {
            let open = given.iter().any(|(given, _)| given.starts_with(&format!("{}.", section.unwrap_or_default())));
            let _ = writeln!(out, "\n{}{}:", if open { "" } else { "# " }, section.unwrap_or_default());
            last = section;
        }
        let restart = if key.live { "" } else { " (restart)" };
        let _ = writeln!(out, "\n{indent}# {}{restart}", key.meaning.replace('`', ""));
        let value = given.iter().find(|(given, _)| *given == key.name);
        let _ = match (value, key.default) {
            (Some((_, value)), _) => writeln!(out, "{indent}{name}: {value}"),
            (None, Is(default)) => writeln!(out, "# {indent}{name}: {default}"),
            (None, Says(words)) => writeln!(out, "# {indent}{name}:    # {}", words.replace('`', "")),
        };
    }
    out
}
