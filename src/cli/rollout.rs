//! `rollout status` and `restart`: following a DaemonSet to its newest template, and giving it a new one.

use serde_json::{Value, json};

use crate::model::Kind;

use super::args::{RolloutStatus, RolloutTarget};
use super::fail::Fail;
use super::json::{int_at, text_at};
use super::target::{self, Target};
use super::term::Progress;
use super::{Session, watch};

/// The names of the DaemonSets that are meant. Nothing else here has a rollout.
///
/// # Errors
/// Another kind, or no name.
pub fn daemonsets(target: &RolloutTarget) -> Result<Vec<String>, Fail> {
    match target::parse(&target.what)? {
        Target::Named(named) => named
            .into_iter()
            .map(|(kind, name)| match kind {
                Kind::DaemonSet => Ok(name),
                other => Err(Fail::other(format!(
                    "no rollout is implemented for {}: only a DaemonSet has one",
                    other.resource()
                ))),
            })
            .collect(),
        Target::Kinds { .. } => Err(Fail::other("required resource not specified: ds/NAME")),
    }
}

pub async fn status(args: &RolloutStatus, s: &mut Session) -> Result<(), Fail> {
    let limit = watch::limit(&args.timeout)?;
    let namespace = s.namespace(&args.target.at);
    for name in daemonsets(&args.target)? {
        let object = s.client.get(&target::object(Kind::DaemonSet, &namespace, &name)).await?;
        let (text, done) = progress(&object)?;
        if done || !args.watch {
            s.out.line(&text)?;
            continue;
        }
        let late = || Fail::other("timed out waiting for the condition");
        watch::within(limit, late, follow(&namespace, &name, s)).await?;
    }
    Ok(())
}

/// Prints each stage once, until the last.
async fn follow(namespace: &str, name: &str, s: &mut Session) -> Result<(), Fail> {
    let _progress = Progress::start(format!("daemon set {name:?} is rolling out"));
    let path = watch::only(&target::collection(Kind::DaemonSet, Some(namespace)), name);
    let client = s.client.clone();
    let mut last = String::new();
    watch::until(&client, &path, |seen| {
        let Some(object) = seen.values().next() else {
            return Err(Fail::other("object has been deleted"));
        };
        let (text, done) = progress(object)?;
        if text != last {
            _progress.clear();
            s.out.line(&text)?;
            last = text;
        }
        Ok(done.then_some(()))
    })
    .await
}

/// What to say of a DaemonSet, and whether it is all there is to say.
/// Source: `kubectl/pkg/polymorphichelpers/rollout_status.go`.
fn progress(object: &Value) -> Result<(String, bool), Fail> {
    let strategy = text_at(object, "/spec/updateStrategy/type");
    if !strategy.is_empty() && strategy != "RollingUpdate" {
        return Err(Fail::other("rollout status is only available for RollingUpdate strategy type"));
    }
    let name = text_at(object, "/metadata/name");
    let number = |pointer: &str| int_at(object, pointer).unwrap_or(0);
    let desired = number("/status/desiredNumberScheduled");
    let (updated, available) = (number("/status/updatedNumberScheduled"), number("/status/numberAvailable"));
    if number("/metadata/generation") > number("/status/observedGeneration") {
        return Ok(("Waiting for daemon set spec update to be observed...".into(), false));
    }
    let waiting = format!("Waiting for daemon set {name:?} rollout to finish:");
    if updated < desired {
        return Ok((format!("{waiting} {updated} out of {desired} new pods have been updated..."), false));
    }
    if available < desired {
        return Ok((format!("{waiting} {available} of {desired} updated pods are available..."), false));
    }
    Ok((format!("daemon set {name:?} successfully rolled out"), true))
}

/// A new annotation in the template makes a new revision, which replaces the pods.
pub async fn restart(args: &RolloutTarget, s: &mut Session) -> Result<(), Fail> {
    let namespace = s.namespace(&args.at);
    for name in daemonsets(args)? {
        let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let annotations = json!({"kubectl.kubernetes.io/restartedAt": now});
        let patch = json!({"spec": {"template": {"metadata": {"annotations": annotations}}}});
        match s.client.patch(&target::object(Kind::DaemonSet, &namespace, &name), &patch).await {
            Ok(_) => s.out.line(&format!("daemonset.apps/{name} restarted"))?,
            Err(fail @ Fail::Refused(_)) => s.report(&fail),
            Err(fail) => return Err(fail),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(generation: i64, observed: i64, updated: i64, available: i64, expected: &str) {
        let object = json!({
            "metadata": {"name": "x", "generation": generation},
            "spec": {"updateStrategy": {"type": "RollingUpdate"}},
            "status": {"observedGeneration": observed, "desiredNumberScheduled": 1,
                "updatedNumberScheduled": updated, "numberAvailable": available},
        });
        assert_eq!(progress(&object).unwrap().0, expected);
    }

    #[test]
    fn each_stage_has_kubectls_words() {
        check(2, 1, 1, 1, "Waiting for daemon set spec update to be observed...");
        check(2, 2, 0, 1, "Waiting for daemon set \"x\" rollout to finish: 0 out of 1 new pods have been updated...");
        check(2, 2, 1, 0, "Waiting for daemon set \"x\" rollout to finish: 0 of 1 updated pods are available...");
        check(2, 2, 1, 1, "daemon set \"x\" successfully rolled out");
        let on_delete = json!({"spec": {"updateStrategy": {"type": "OnDelete"}}});
        assert!(progress(&on_delete).unwrap_err().to_string().contains("only available for RollingUpdate"));
    }
}
