//! The environment of a container: from its image, the node, ConfigMaps, Secrets and the pod's own fields.
//! Source of every rule: `pkg/kubelet/kubelet_pods.go`, `makeEnvironmentVariables`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::core::draft::Draft;
use crate::model::node::Facts;
use crate::model::pod::{EnvFrom, EnvSource, KeyRef, ResourceFieldRef, SourceRef};
use crate::model::{ConfigMap, Container, Kind, Labels, Pod, Quantity, Secret};

use super::expand::expand;
use super::refusal::Refusal;
use super::resources;

const PATH_DEFAULT: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Variables in order, each name once.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Vars(Vec<(String, String)>);

impl Vars {
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    fn set(&mut self, name: impl Into<String>, value: impl Into<String>) {
        let (name, value) = (name.into(), value.into());
        match self.0.iter_mut().find(|(n, _)| *n == name) {
            Some(known) => known.1 = value,
            None => self.0.push((name, value)),
        }
    }

    /// These variables, where `defaults` has none of the name; those of `defaults` first.
    pub fn over(self, mut defaults: Vars) -> Vars {
        for (name, value) in self.0 {
            defaults.set(name, value);
        }
        defaults
    }

    pub fn into_pairs(self) -> Vec<(String, String)> {
        self.0
    }
}

/// What the runtime gives every container, and what its image adds. Not seen by `$(NAME)`. `home`: none where the image's own
/// `/etc/passwd` says it, which only the runtime can read.
pub fn defaults(pod: &Pod, image_env: &[String], home: Option<&str>) -> Vars {
    let mut vars = Vars::default();
    vars.set("PATH", PATH_DEFAULT);
    if let Some(home) = home {
        vars.set("HOME", home);
    }
    vars.set("HOSTNAME", pod.spec.hostname.as_ref().unwrap_or(&pod.meta.name).as_str());
    for line in image_env {
        let (name, value) = line.split_once('=').unwrap_or((line, ""));
        vars.set(name, value);
    }
    vars
}

/// What the manifest asks for, and the attempt's identity before it. Keys of `envFrom` that are no names of variables
/// are left out, and said in the second part, one sentence a source.
///
/// # Errors
/// What is missing, in the kubelet's words; the container waits until it is there.
pub fn declared(draft: &Draft, pod: &Pod, container: &Container, number: u32) -> Result<(Vars, Vec<String>), Refusal> {
    let mut vars = Vars::default();
    let mut skipped = Vec::new();
    vars.set("PINNACE_ATTEMPT", number.to_string());
    vars.set("PINNACE_POD_UID", pod.meta.uid.as_str());
    for source in &container.env_from {
        skipped.extend(take_all(draft, pod, source, &mut vars)?);
    }
    for var in &container.env {
        let value = match &var.value_from {
            None => Some(expand(&var.value, |name| vars.get(name))),
            Some(source) => resolve(draft, pod, container, source)?,
        };
        if let Some(value) = value {
            vars.set(&var.name, value);
        }
    }
    Ok((vars, skipped))
}

/// Every key of one ConfigMap or Secret. The sentence tells which keys were left out.
fn take_all(draft: &Draft, pod: &Pod, source: &EnvFrom, vars: &mut Vars) -> Result<Option<String>, Refusal> {
    let namespace = &pod.meta.namespace;
    let (entries, what, name) = if let Some(SourceRef { name, optional }) = &source.config_map_ref {
        let found = config_map(draft, namespace, name);
        (found.or_missing(*optional, "configmap", name)?.map(|m| m.spec.data.clone()), "configMap", name)
    } else if let Some(SourceRef { name, optional }) = &source.secret_ref {
        let found = secret(draft, namespace, name).or_missing(*optional, "secret", name)?;
        (found.map(|s| decode_all(s, namespace, name)).transpose()?, "secret", name)
    } else {
        return Ok(None);
    };
    let mut skipped = Vec::new();
    for (key, value) in entries.unwrap_or_default() {
        let variable = format!("{}{key}", source.prefix);
        if is_variable_name(&variable) {
            vars.set(variable, value);
        } else {
            skipped.push(variable);
        }
    }
    Ok((!skipped.is_empty()).then(|| {
        format!(
            "Keys [{}] from the EnvFrom {what} {namespace}/{name} were skipped since they are considered invalid environment variable names.",
            skipped.join(", ")
        )
    }))
}

/// Printable ASCII but `=` (`RelaxedEnvironmentVariableValidation`, on since 1.32).
fn is_variable_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| (b' '..=b'~').contains(&b) && b != b'=')
}

/// The value of a `valueFrom`; none when it is optional and missing.
fn resolve(draft: &Draft, pod: &Pod, container: &Container, source: &EnvSource) -> Result<Option<String>, Refusal> {
    let namespace = &pod.meta.namespace;
    let facts = draft.node().map(|n| &n.status.facts);
    if let Some(key) = &source.config_map_key_ref {
        let found = config_map(draft, namespace, &key.name).or_missing(key.optional, "configmap", &key.name)?;
        let Some(found) = found else { return Ok(None) };
        found.spec.data.get(&key.key).cloned().or_missing_key(key, "ConfigMap", namespace)
    } else if let Some(key) = &source.secret_key_ref {
        let found = secret(draft, namespace, &key.name).or_missing(key.optional, "secret", &key.name)?;
        let Some(found) = found else { return Ok(None) };
        let text = found.spec.data.get(&key.key).or_missing_key(key, "Secret", namespace)?;
        text.map(|text| decode(text, &key.key, namespace, &key.name)).transpose()
    } else if let Some(field) = &source.field_ref {
        let node = draft.node().map_or("", |n| &n.meta.name);
        pod_field(pod, node, facts, &field.field_path).map(Some)
    } else if let Some(field) = &source.resource_field_ref {
        resource_field(pod, container, facts, field).map(Some)
    } else {
        Ok(Some(String::new()))
    }
}

pub fn pod_field(pod: &Pod, node: &str, facts: Option<&Facts>, path: &str) -> Result<String, Refusal> {
    let address = facts.map_or("", |f| &f.internal_ip);
    Ok(match path {
        "metadata.name" => pod.meta.name.as_str(),
        "metadata.namespace" => pod.meta.namespace.as_str(),
        "metadata.uid" => pod.meta.uid.as_str(),
        "spec.nodeName" => node,
        "spec.serviceAccountName" => "default",
        "status.hostIP" | "status.hostIPs" | "status.podIP" | "status.podIPs" => address,
        other => {
            let (labels, key) = subscript(other, "metadata.labels")
                .map(|key| (&pod.meta.labels, key))
                .or_else(|| subscript(other, "metadata.annotations").map(|key| (&pod.meta.annotations, key)))
                .ok_or_else(|| Refusal::Config(format!("unsupported fieldPath: {other}")))?;
            labels.get(key).map_or("", String::as_str)
        }
    }
    .to_string())
}

/// The key in `metadata.labels['key']`.
fn subscript<'p>(path: &'p str, of: &str) -> Option<&'p str> {
    path.strip_prefix(of)?.strip_prefix("['")?.strip_suffix("']")
}

/// The quantity in units of the divisor, rounded up. A limit that is not set is what the node has.
/// Source: `pkg/api/v1/resource/helpers.go`, `ExtractContainerResourceValue`.
pub fn resource_field(
    pod: &Pod,
    container: &Container,
    facts: Option<&Facts>,
    field: &ResourceFieldRef,
) -> Result<String, Refusal> {
    let container = match field.container_name.as_str() {
        "" => container,
        name => pod.container(name).ok_or_else(|| Refusal::Config(format!("container {name} not found")))?,
    };
    let unsupported = || Refusal::Config(format!("unsupported container resource : {}", field.resource));
    let (which, resource) = field.resource.split_once('.').ok_or_else(unsupported)?;
    let quantity = match which {
        "limits" => resources::limit(&container.resources, resource),
        "requests" => resources::request(&container.resources, resource),
        _ => return Err(unsupported()),
    };
    let allocatable = |resource: &str| match (which, resource, facts) {
        ("limits", "cpu", Some(facts)) => i64::from(facts.cpus) * 1000,
        ("limits", "memory", Some(facts)) => i64::try_from(facts.memory_bytes).unwrap_or(i64::MAX),
        _ => 0,
    };
    // CPU is counted in thousandths on both sides, so that 250m in units of 1m is 250 and in units of 1 is 1.
    let unit: fn(&Quantity) -> i64 = if resource == "cpu" { Quantity::milli } else { Quantity::value };
    let amount = quantity.map_or_else(|| allocatable(resource), unit).max(0);
    let one = if resource == "cpu" { 1000 } else { 1 };
    let divisor = field.divisor.as_ref().map(unit).filter(|d| *d > 0).unwrap_or(one);
    Ok((amount / divisor + i64::from(amount % divisor != 0)).to_string())
}

pub fn config_map<'d>(draft: &'d Draft, namespace: &str, name: &str) -> Option<&'d ConfigMap> {
    draft.find(Kind::ConfigMap, namespace, name)?.as_config_map()
}

pub fn secret<'d>(draft: &'d Draft, namespace: &str, name: &str) -> Option<&'d Secret> {
    draft.find(Kind::Secret, namespace, name)?.as_secret()
}

fn decode_all(secret: &Secret, namespace: &str, name: &str) -> Result<Labels, Refusal> {
    let mut decoded = Labels::new();
    for (key, text) in &secret.spec.data {
        decoded.insert(key.clone(), decode(text, key, namespace, name)?);
    }
    Ok(decoded)
}

fn decode(text: &str, key: &str, namespace: &str, name: &str) -> Result<String, Refusal> {
    let refuse = |what: &str| Refusal::Config(format!("key {key} in Secret {namespace}/{name} {what}"));
    let bytes = BASE64.decode(text).map_err(|_| refuse("is not base64"))?;
    String::from_utf8(bytes).map_err(|_| refuse("is not UTF-8 text and cannot be the value of a variable"))
}

/// What is missing is an error, or nothing where the manifest says that it is optional.
trait Missing<T> {
    fn or_missing(self, optional: bool, what: &str, name: &str) -> Result<Option<T>, Refusal>;
    fn or_missing_key(self, key: &KeyRef, what: &str, namespace: &str) -> Result<Option<T>, Refusal>;
}

impl<T> Missing<T> for Option<T> {
    fn or_missing(self, optional: bool, what: &str, name: &str) -> Result<Option<T>, Refusal> {
        if self.is_none() && !optional {
            return Err(Refusal::Config(format!("{what} \"{name}\" not found")));
        }
        Ok(self)
    }

    fn or_missing_key(self, key: &KeyRef, what: &str, namespace: &str) -> Result<Option<T>, Refusal> {
        if self.is_none() && !key.optional {
            let KeyRef { name, key, .. } = key;
            return Err(Refusal::Config(format!("couldn't find key {key} in {what} {namespace}/{name}")));
        }
        Ok(self)
    }
}
