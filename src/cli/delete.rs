//! `delete`: objects by name, by label, all of a kind, or those that files name; and the wait until they are gone.

use serde_json::{Value, json};

use crate::model::Kind;

use super::args::{Cascade, DeleteArgs, DryRun};
use super::fail::Fail;
use super::json::{list_at, text_at};
use super::target::{self, Object, Target, singular};
use super::term::{Progress, warn};
use super::{Session, files, image, watch};

pub async fn run(args: &DeleteArgs, s: &mut Session) -> Result<(), Fail> {
    let limit = watch::limit(&args.timeout)?;
    let name_only = match args.output.as_deref() {
        None | Some("") => false,
        Some("name") => true,
        Some(_) => return Err(Fail::other("unexpected -o output mode, only name is supported: use '-o name'")),
    };
    if args.grace_period == 0 && args.force {
        warn("Immediate deletion kills the processes of a pod; they get no time to end by themselves.");
    }
    let victims = victims(args, s).await?;
    if victims.is_empty() && !s.failed {
        s.out.line("No resources found")?;
    }
    // What several were chosen from may end by itself before its turn comes.
    let may_be_gone = args.ignore_not_found.unwrap_or(args.all || args.selector.is_some());
    let mut gone_for = Vec::new();
    for victim in victims {
        match delete(&victim, args, s).await {
            Ok(answer) => {
                print(&victim, args, name_only, s)?;
                gone_for.push((uid(&answer), victim));
            }
            Err(fail) if fail.is_not_found() && may_be_gone => {}
            Err(fail @ Fail::Refused(_)) => s.report(&fail),
            Err(fail) => return Err(fail),
        }
    }
    if !args.wait || args.dry.run != DryRun::None {
        return Ok(());
    }
    let Some((_, last)) = gone_for.last() else { return Ok(()) };
    let late = watch::timed_out(last.kind, &last.name);
    watch::within(limit, || late, wait_until_gone(&gone_for, s)).await
}

async fn victims(args: &DeleteArgs, s: &mut Session) -> Result<Vec<Object>, Fail> {
    if !args.from.filename.is_empty() {
        return Ok(files::objects(&args.from, &args.at, s));
    }
    match target::parse(&args.what)? {
        Target::Named(_) if args.all || args.selector.is_some() => {
            Err(Fail::other("name cannot be provided when a selector is specified"))
        }
        Target::Named(_) if args.all_namespaces => {
            Err(Fail::other("a resource cannot be retrieved by name across all namespaces"))
        }
        Target::Named(named) => {
            let namespace = s.namespace(&args.at);
            let victim = |(kind, name)| Object { kind, namespace: namespace.clone(), name };
            Ok(image::resolve(named, s).await?.into_iter().map(victim).collect())
        }
        Target::Kinds { .. } if !args.all && args.selector.is_none() => {
            Err(Fail::other("resource(s) were provided, but no name was specified"))
        }
        Target::Kinds { kinds, .. } => chosen(args, &kinds, s).await,
    }
}

/// All objects of these kinds, or those with the labels.
async fn chosen(args: &DeleteArgs, kinds: &[Kind], s: &Session) -> Result<Vec<Object>, Fail> {
    let namespace = s.namespace(&args.at);
    let mut victims = Vec::new();
    for kind in kinds {
        let path = target::collection(*kind, (!args.all_namespaces).then_some(namespace.as_str()));
        let parameters: Vec<(&str, &str)> = args.selector.iter().map(|l| ("labelSelector", l.as_str())).collect();
        let list = s.client.get(&target::query(&path, &parameters)).await?;
        victims.extend(list_at(&list, "/items").iter().map(|item| Object {
            kind: *kind,
            namespace: text_at(item, "/metadata/namespace").to_string(),
            name: text_at(item, "/metadata/name").to_string(),
        }));
    }
    Ok(victims)
}

async fn delete(victim: &Object, args: &DeleteArgs, s: &Session) -> Result<Value, Fail> {
    let path = target::object(victim.kind, &victim.namespace, &victim.name);
    match args.dry.run {
        DryRun::Client => s.client.get(&path).await,
        DryRun::Server => s.client.delete(&target::query(&path, &[("dryRun", "All")]), &options(args)).await,
        DryRun::None => s.client.delete(&path, &options(args)).await,
    }
}

/// The body of the request. Source: `kubectl/pkg/cmd/delete/delete.go`: no grace without `--force` means one second.
fn options(args: &DeleteArgs) -> Value {
    let policy = match args.cascade {
        Cascade::Background => "Background",
        Cascade::Foreground => "Foreground",
        Cascade::Orphan => "Orphan",
    };
    let mut options = json!({"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": policy});
    let grace = match args.grace_period {
        _ if args.now => Some(1),
        0 if !args.force => Some(1),
        n if n < 0 && args.force => Some(0),
        n if n < 0 => None,
        n => Some(n),
    };
    if let Some(grace) = grace {
        options["gracePeriodSeconds"] = grace.into();
    }
    options
}

/// The uid of what is being deleted. The answer is the object, or a Status that tells it.
fn uid(answer: &Value) -> String {
    let own = text_at(answer, "/metadata/uid");
    let own = if own.is_empty() { text_at(answer, "/details/uid") } else { own };
    own.to_string()
}

fn print(victim: &Object, args: &DeleteArgs, name_only: bool, s: &mut Session) -> Result<(), Fail> {
    let kind = singular(victim.kind);
    if name_only {
        return s.out.line(&format!("{kind}/{}", victim.name));
    }
    let force = if args.force { "force " } else { "" };
    s.out.line(&format!("{kind} {:?} {force}deleted{}", victim.name, args.dry.run.told()))
}

/// Until each is gone, or another object has its name.
async fn wait_until_gone(gone_for: &[(String, Object)], s: &Session) -> Result<(), Fail> {
    let progress = Progress::start("");
    for (uid, victim) in gone_for {
        progress.set(format!("waiting for {}/{} to be gone", singular(victim.kind), victim.name));
        until_gone(victim, uid, s).await?;
    }
    Ok(())
}

/// # Errors
/// Those of the connection.
pub async fn until_gone(victim: &Object, uid: &str, s: &Session) -> Result<(), Fail> {
    let path = watch::only(&target::collection(victim.kind, Some(&victim.namespace)), &victim.name);
    watch::until(&s.client, &path, |seen| {
        let still = seen.values().any(|object| uid.is_empty() || text_at(object, "/metadata/uid") == uid);
        Ok((!still).then_some(()))
    })
    .await
}
