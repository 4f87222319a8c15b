//! `rollout history` and `undo`: the templates that a DaemonSet had, and going back to one of them.

use serde_json::Value;

use crate::model::Kind;
use crate::model::sorted;

use super::args::{RolloutHistory, RolloutUndo};
use super::fail::Fail;
use super::json::{int_at, list_at, map_mut, text_at};
use super::rollout::daemonsets;
use super::{Session, describe, table, target};

/// A template with its number.
struct Revision {
    number: i64,
    cause: String,
    template: Value,
}

pub async fn show(args: &RolloutHistory, s: &mut Session) -> Result<(), Fail> {
    let namespace = s.namespace(&args.target.at);
    for name in daemonsets(&args.target)? {
        let object = s.client.get(&target::object(Kind::DaemonSet, &namespace, &name)).await?;
        let revisions = revisions(&object, &namespace, s).await?;
        let text = if args.revision > 0 {
            let chosen = revisions
                .iter()
                .find(|r| r.number == args.revision)
                .ok_or_else(|| Fail::other("unable to find the specified revision"))?;
            let template = describe::pod_template(&chosen.template);
            format!("daemonset.apps/{name} with revision #{}\n{template}\n", chosen.number)
        } else {
            let lines: String = revisions.iter().map(|r| format!("{}\t{}\n", r.number, r.cause)).collect();
            format!("daemonset.apps/{name} \n{}\n", table::elastic(&format!("REVISION\tCHANGE-CAUSE\n{lines}"), 2))
        };
        s.out.text(&text)?;
    }
    Ok(())
}

pub async fn undo(args: &RolloutUndo, s: &mut Session) -> Result<(), Fail> {
    let namespace = s.namespace(&args.target.at);
    for name in daemonsets(&args.target)? {
        let path = target::object(Kind::DaemonSet, &namespace, &name);
        let mut object = s.client.get(&path).await?;
        let revisions = revisions(&object, &namespace, s).await?;
        let chosen = choose(&revisions, args.to_revision)?;
        if object.pointer("/spec/template") == Some(&chosen.template) {
            let number = chosen.number;
            s.out.line(&format!(
                "daemonset.apps/{name} skipped rollback (current template already matches revision {number})"
            ))?;
            continue;
        }
        // The whole template is put in place: a merge would keep what the older one did not have.
        map_mut(&mut object, &["spec"]).insert("template".into(), chosen.template.clone());
        s.client.put(&path, &object).await?;
        s.out.line(&format!("daemonset.apps/{name} rolled back"))?;
    }
    Ok(())
}

/// Zero is the one before the newest.
fn choose(revisions: &[Revision], number: i64) -> Result<&Revision, Fail> {
    match (number, revisions) {
        (..0, _) => Err(unknown(number)),
        (0, [.., before, _newest]) => Ok(before),
        (0, _) => Err(Fail::other("no last revision to roll back to")),
        (_, revisions) => revisions.iter().find(|r| r.number == number).ok_or_else(|| unknown(number)),
    }
}

fn unknown(number: i64) -> Fail {
    Fail::other(format!("unable to find specified revision {number} in history"))
}

/// The DaemonSet's own revisions, the oldest first.
async fn revisions(object: &Value, namespace: &str, s: &Session) -> Result<Vec<Revision>, Fail> {
    let uid = text_at(object, "/metadata/uid");
    let list = s.client.get(&target::collection(Kind::ControllerRevision, Some(namespace))).await?;
    let is_own = |r: &&Value| list_at(r, "/metadata/ownerReferences").iter().any(|o| text_at(o, "/uid") == uid);
    let mut revisions: Vec<Revision> = list_at(&list, "/items").iter().filter(is_own).map(read).collect();
    sorted::by_key(&mut revisions, |r| r.number);
    Ok(revisions)
}

fn read(revision: &Value) -> Revision {
    let mut template = revision.pointer("/data/spec/template").cloned().unwrap_or_default();
    if let Some(template) = template.as_object_mut() {
        template.shift_remove("$patch");
    }
    let cause = text_at(revision, "/metadata/annotations/kubernetes.io~1change-cause");
    Revision {
        number: int_at(revision, "/revision").unwrap_or(0),
        cause: if cause.is_empty() { "<none>".into() } else { cause.into() },
        template,
    }
}
