//! `cordon`, `uncordon`, `drain` and `taint`: what the node may run.

use serde_json::{Value, json};

use crate::model::Kind;

use super::args::{CordonArgs, DrainArgs, DryRun, TaintArgs};
use super::fail::Fail;
use super::json::{bool_at, list_at, text_at};
use super::term::{Progress, say};
use super::{Session, target, watch};

/// The node by its name, or the only one.
async fn node(name: Option<&str>, s: &Session) -> Result<Value, Fail> {
    if let Some(name) = name {
        let name = name.strip_prefix("node/").or_else(|| name.strip_prefix("nodes/")).unwrap_or(name);
        return s.client.get(&target::object(Kind::Node, "", name)).await;
    }
    let list = s.client.get(&target::collection(Kind::Node, None)).await?;
    match list_at(&list, "/items") {
        [node] => Ok(node.clone()),
        [] => Err(Fail::other("the node has not registered itself yet; try again in a moment")),
        _ => Err(Fail::other("there are several nodes; say which")),
    }
}

pub async fn cordon(args: &CordonArgs, on: bool, s: &mut Session) -> Result<(), Fail> {
    let node = node(args.node.node.as_deref(), s).await?;
    let name = text_at(&node, "/metadata/name");
    let is = |field: &str| bool_at(&node, &format!("/spec/{field}")).unwrap_or(false);
    let done = if on { is("unschedulable") } else { !is("unschedulable") && !is("drained") };
    let word = if on { "cordoned" } else { "uncordoned" };
    let told = args.dry.run.told();
    if done {
        return s.out.line(&format!("node/{name} already {word}{told}"));
    }
    let spec = if on { json!({"unschedulable": true}) } else { json!({"unschedulable": null, "drained": null}) };
    change(name, &json!({"spec": spec}), args.dry.run, s).await?;
    s.out.line(&format!("node/{name} {word}{told}"))
}

async fn change(name: &str, patch: &Value, dry_run: DryRun, s: &Session) -> Result<(), Fail> {
    if dry_run == DryRun::Client {
        return Ok(());
    }
    s.client.patch(&target::query(&target::object(Kind::Node, "", name), dry_run.query()), patch).await.map(drop)
}

/// Ends all pods and waits until no container runs. What was asked stands, also when the wait is given up.
pub async fn drain(args: &DrainArgs, s: &mut Session) -> Result<(), Fail> {
    let limit = watch::limit(&args.timeout)?;
    let node = node(args.node.node.as_deref(), s).await?;
    let name = text_at(&node, "/metadata/name");
    let told = args.dry.run.told();
    if args.dry.run != DryRun::Client {
        s.client.post(&target::query("/apis/pinnace.dev/v1/drain", args.dry.run.query()), &json!({})).await?;
    }
    s.out.line(&format!("node/{name} cordoned{told}"))?;
    if args.dry.run != DryRun::None {
        let pods = s.client.get(&target::collection(Kind::Pod, None)).await?;
        for pod in list_at(&pods, "/items").iter().filter(|pod| is_live(pod)) {
            let (namespace, pod) = (text_at(pod, "/metadata/namespace"), text_at(pod, "/metadata/name"));
            say(&format!("evicting pod {namespace}/{pod}{told}"));
        }
        return s.out.line(&format!("node/{name} drained{told}"));
    }
    let progress = Progress::start("waiting for pods to end");
    let late =
        || Fail::other(format!("timed out waiting for the pods of node {name:?} to end; the node stays drained"));
    let mut announced: Vec<String> = Vec::new();
    let pods = target::collection(Kind::Pod, None);
    let ended = watch::until(&s.client, &pods, |seen| {
        let live: Vec<String> = seen
            .iter()
            .filter(|(_, pod)| is_live(pod))
            .map(|((namespace, name), _)| format!("{namespace}/{name}"))
            .collect();
        for pod in &live {
            if !announced.contains(pod) {
                progress.clear();
                say(&format!("evicting pod {pod}"));
                announced.push(pod.clone());
            }
        }
        progress.set(format!("waiting for {} to end", counted(live.len())));
        Ok(live.is_empty().then_some(()))
    });
    watch::within(limit, late, ended).await?;
    drop(progress);
    s.out.line(&format!("node/{name} drained"))
}

fn counted(pods: usize) -> String {
    if pods == 1 { "1 pod".into() } else { format!("{pods} pods") }
}

/// A container of it runs, as far as its status tells.
fn is_live(pod: &Value) -> bool {
    let statuses = ["/status/initContainerStatuses", "/status/containerStatuses"];
    statuses.iter().flat_map(|at| list_at(pod, at)).any(|c| c.pointer("/state/running").is_some())
}

/// One word of `taint`.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Change {
    Add {
        key: String,
        value: String,
        effect: String,
    },
    /// Of every effect when it has none.
    Remove {
        key: String,
        effect: Option<String>,
    },
}

pub async fn taint(args: &TaintArgs, s: &mut Session) -> Result<(), Fail> {
    let is_node = |word: &String| target::kind_of(word).is_ok_and(|kind| kind == Kind::Node);
    let (name, words) = match args.what.as_slice() {
        [kind, rest @ ..] if args.all && is_node(kind) => (None, rest),
        _ if args.all => return Err(Fail::other("--all goes with nodes: taint nodes --all key[=value]:Effect")),
        [kind, name, rest @ ..] if is_node(kind) => (Some(name.as_str()), rest),
        [name, rest @ ..] if name.starts_with("node/") || name.starts_with("nodes/") => (Some(name.as_str()), rest),
        all => (None, all),
    };
    if words.is_empty() {
        return Err(Fail::other("at least one taint update is required"));
    }
    let changes = words.iter().map(|word| Change::parse(word)).collect::<Result<Vec<_>, _>>()?;
    let node = node(name, s).await?;
    let name = text_at(&node, "/metadata/name");
    let mut taints = list_at(&node, "/spec/taints").to_vec();
    for change in &changes {
        change.apply(&mut taints, name, args.overwrite)?;
    }
    let patch = json!({"spec": {"taints": taints}});
    change(name, &patch, args.dry.run, s).await?;
    let only_removed = changes.iter().all(|c| matches!(c, Change::Remove { .. }));
    s.out.line(&format!("node/{name} {}{}", if only_removed { "untainted" } else { "tainted" }, args.dry.run.told()))
}

impl Change {
    /// `key=value:Effect`, `key:Effect`, `key:Effect-`, `key-`. Source: `kubectl/pkg/cmd/taint/utils.go`.
    fn parse(word: &str) -> Result<Change, Fail> {
        let bad = || Fail::other(format!("invalid taint spec: {word}, must be key[=value]:Effect or key[:Effect]-"));
        if let Some(rest) = word.strip_suffix('-') {
            let (key, effect) = rest.split_once(':').map_or((rest, None), |(key, effect)| (key, Some(effect)));
            let key = key.split('=').next().unwrap_or(key);
            if key.is_empty() {
                return Err(bad());
            }
            effect.map(|e| known_effect(e, word)).transpose()?;
            return Ok(Change::Remove { key: key.into(), effect: effect.map(Into::into) });
        }
        let (pair, effect) = word.split_once(':').ok_or_else(bad)?;
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        if key.is_empty() {
            return Err(bad());
        }
        known_effect(effect, word)?;
        Ok(Change::Add { key: key.into(), value: value.into(), effect: effect.into() })
    }

    fn apply(&self, taints: &mut Vec<Value>, node: &str, overwrite: bool) -> Result<(), Fail> {
        match self {
            Change::Add { key, value, effect } => {
                let taint = json!({"key": key, "value": value, "effect": effect});
                match taints.iter_mut().find(|t| text_at(t, "/key") == key && text_at(t, "/effect") == effect) {
                    None => taints.push(taint),
                    Some(old) if overwrite || text_at(old, "/value") == value => *old = taint,
                    Some(_) => {
                        return Err(Fail::other(format!(
                            "node {node} already has {key} taint(s) with same effect(s) and --overwrite is false"
                        )));
                    }
                }
            }
            Change::Remove { key, effect } => {
                let before = taints.len();
                taints.retain(|t| {
                    text_at(t, "/key") != key || effect.as_ref().is_some_and(|e| text_at(t, "/effect") != e)
                });
                if taints.len() == before {
                    let effect = effect.as_ref().map(|e| format!(":{e}")).unwrap_or_default();
                    return Err(Fail::other(format!("taint \"{key}{effect}\" not found")));
                }
            }
        }
        Ok(())
    }
}

fn known_effect(effect: &str, word: &str) -> Result<(), Fail> {
    const KNOWN: [&str; 3] = ["NoSchedule", "PreferNoSchedule", "NoExecute"];
    if KNOWN.contains(&effect) {
        return Ok(());
    }
    Err(Fail::other(format!(
        "invalid taint spec: {word}, unsupported taint effect {effect:?}, is one of {}",
        KNOWN.join(", ")
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(words: &str, before: Value, expected: Result<Value, &str>) {
        let mut taints = before.as_array().unwrap().clone();
        let done = words.split_whitespace().try_for_each(|word| Change::parse(word)?.apply(&mut taints, "n", false));
        match (done, expected) {
            (Ok(()), Ok(expected)) => assert_eq!(Value::Array(taints), expected, "{words}"),
            (Err(fail), Err(expected)) => assert!(fail.to_string().contains(expected), "{fail}"),
            (done, expected) => panic!("{words}: {done:?}, expected {expected:?}"),
        }
    }

    #[test]
    fn taints_come_and_go_as_with_kubectl() {
        let a = || json!({"key": "a", "value": "1", "effect": "NoSchedule"});
        let b = || json!({"key": "a", "value": "", "effect": "NoExecute"});
        check("a=1:NoSchedule a:NoExecute", json!([]), Ok(json!([a(), b()])));
        check("a=1:NoSchedule", json!([a()]), Ok(json!([a()])));
        check("a=2:NoSchedule", json!([a()]), Err("already has a taint(s) with same effect(s)"));
        check("a-", json!([a(), b()]), Ok(json!([])));
        check("a:NoSchedule-", json!([a(), b()]), Ok(json!([b()])));
        check("a=1:NoSchedule-", json!([a(), b()]), Ok(json!([b()])));
        check("b-", json!([a()]), Err("taint \"b\" not found"));
        check("b:NoExecute-", json!([a()]), Err("taint \"b:NoExecute\" not found"));
        for bad in ["a", "a=1", ":NoSchedule", "-", "=x:NoExecute", "a:Never", "a:", "a:No-"] {
            check(bad, json!([]), Err("invalid taint spec"));
        }
    }
}
